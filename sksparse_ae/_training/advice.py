"""What to change in a training whose units carry nothing."""

from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from .._network.evaluation import explained
from .._network.initialization import SAMPLE_ROWS
from .._network.problem import output_slopes
from .._network.reading import Rows, dense, evenly_spaced, extent, reduced
from .._network.scaling import Moments, Scaling, drawn_near
from .._network.units import STATES
from .._objective.activations import ACTIVATIONS, OUTPUT_ACTIVATIONS
from .._objective.losses import LOSSES
from .._objective.objective import units_of
from .._objective.selections import SELECTIONS
from .diagnosis import OUTWEIGHS, scaler_for
from .settings import revives

# fit warns if more than this share of the units is not active.
TOLERATED_SHARE = 0.1

# Above this share of ``weight_decay_limit`` the weight decay is taken for the cause:
# the weakest of many units find a hundredth of the variance that the first one finds.
LARGE_SHARE_OF_LIMIT = 0.01

# Advised are values from that share of the limit to this one, and at most a third of
# what failed. At a quarter of the limit all units of the patches, with Ng's settings,
# and of standardised digits are active; at half of it a quarter of these is not.
ADVISED_SHARE_OF_LIMIT, ADVISED_SHARE_OF_FAILED = 0.2, 0.3

# A fit that explains less of the variance than this, or than the share of it that its
# units are of the features, says so.
LEAST_SCORE = 0.1

# A training that lowers its objective by less than this share of it has not moved.
STANDSTILL = 1e-3

# A warning is due if so much of the variance is in so few columns, and no more than a
# tenth of all, or in a single one.
DOMINANT_SHARE, DOMINANT_COLUMNS = 0.95, 3

# A warning is due if so much of the variance is in this share of the rows, or in one of
# at least so many. The rows of the bundled data sets and of images hold at most 0.15;
# 1000 x 20 Cauchy values, 0.91.
ROWS_SHARE, DOMINANT_ROWS, LEAST_ROWS = 0.75, 0.01, 20

# Of so many rows at most the shares are kept, largest first.
MOST_LISTED = 100_000

# The number of rows, the numbers of those that are listed, and their shares.
Largest = tuple[int, np.ndarray, np.ndarray]

# A warning is due if more than this share of the values is outside of what the output
# can give, by more than this share of its interval.
OUTSIDE_SHARE, OUTSIDE_MARGIN = 0.01, 1e-3


def warning_about_fit(
    estimator: Any, X: Rows, moments: Moments, converged: bool
) -> str | None:
    """Return what to warn of after a training on ``X``: the first that there is."""
    if moments.deviation == 0:
        return "The rows of X are all equal: there is nothing to learn from them."
    return (
        _warning_about_range(estimator, X)
        or _warning_about_rows(estimator, X, moments)
        or _warning_about_columns(estimator, moments.deviations)
        or _warning_about_units(estimator, X, converged)
    )


def _warning_about_range(estimator: Any, X: Rows) -> str | None:
    """Return what to say of values that the output cannot reach, or None."""
    output = estimator.output_activation
    if output == "linear":
        return None
    low, high = OUTPUT_ACTIVATIONS[output].interval
    values = evenly_spaced(X, SAMPLE_ROWS)
    values = values.data if sparse.issparse(values) else values
    values = values[~np.isnan(values)]
    if not len(values):  # these rows have none
        return None
    margin = OUTSIDE_MARGIN * min(high - low, 1.0)
    outside = np.mean((values < low - margin) | (values > high + margin))
    if outside <= OUTSIDE_SHARE:
        return None
    remedy = ""
    if OUTPUT_ACTIVATIONS[output].is_bounded:
        remedy = f"MinMaxScaler(({low:g}, {high:g})), or "
    return (
        f"{outside:.0%} of the values of X, from {values.min():.3g} to "
        f"{values.max():.3g}, are outside of what output_activation={output!r} can "
        f"give, {low:g} to {high:g}: use {remedy}output_activation='linear'."
    )


def _warning_about_columns(estimator: Any, deviations: np.ndarray) -> str | None:
    """Return what to say of a few columns that hold the variance, or None."""
    n_features, loss = len(deviations), LOSSES[estimator.loss]
    # Large counts vary more than small ones by their nature, and are scaled by nothing.
    if n_features == 1 or loss.takes_counts:
        return None
    shares = np.square(deviations / deviations.max())
    shares /= shares.sum()
    order = np.argsort(shares)[::-1]
    n_columns = 1 + int(np.searchsorted(np.cumsum(shares[order]), DOMINANT_SHARE))
    if n_columns > 1 and n_columns > min(DOMINANT_COLUMNS, n_features // 10):
        return None
    names = getattr(estimator, "feature_names_in_", None)
    columns = ", ".join(
        str(n) if names is None else repr(str(names[n])) for n in order[:n_columns]
    )
    return (
        f"{shares[order[:n_columns]].sum():.1%} of the variance of X is in "
        f"{'column' if n_columns == 1 else 'columns'} {columns}, and next to none in "
        "the others. Give all columns one spread first: "
        f"{'RobustScaler' if loss.is_robust else 'StandardScaler'}."
    )


def _warning_about_rows(estimator: Any, X: Rows, moments: Moments) -> str | None:
    """Return what to say of a few rows that hold the variance, or None."""
    n_samples = X.shape[0]
    # Other losses than those of the variance give such rows no such say.
    if n_samples < LEAST_ROWS or LOSSES[estimator.loss].explains != "variance":
        return None
    most = min(int(max(DOMINANT_ROWS * n_samples, 1)), MOST_LISTED)
    of_rows, joined = partial(_largest, moments, most), partial(_joined_largest, most)
    _, order, squares = reduced(X, of_rows, joined, weighted=True)
    shares = np.cumsum(squares)
    n_rows = 1 + int(np.searchsorted(shares, ROWS_SHARE))
    if n_rows > len(shares):
        return None
    remedy = "log1p" if extent(X)[0] >= 0 else "QuantileTransformer"
    if estimator.output_activation == "linear":
        remedy += ", or use loss='huber'"
    return (
        f"{shares[n_rows - 1]:.1%} of the variance of X is in {n_rows} of its "
        f"{n_samples} rows, row {order[0]} first, and next to none in the others. "
        f"Leave such rows out if they are broken, or draw them nearer first: {remedy}."
    )


def _largest(
    moments: Moments, n_listed: int, X: Rows, weights: np.ndarray | None
) -> Largest:
    """Return the rows that hold the most of the variance, and the share of each."""
    deviations = (dense(X) - moments.offset) / moments.norm
    deviations = np.where(np.isnan(deviations), 0, deviations)
    if weights is not None:
        deviations *= np.sqrt(weights)[:, None]
    squares = np.square(np.linalg.norm(deviations, axis=1))
    order = np.argsort(squares)[::-1][:n_listed]
    return X.shape[0], order, squares[order]


def _joined_largest(n_listed: int, one: Largest, other: Largest) -> Largest:
    numbers = np.concatenate([one[1], one[0] + other[1]])
    squares = np.concatenate([one[2], other[2]])
    order = np.argsort(squares)[::-1][:n_listed]
    return one[0] + other[0], numbers[order], squares[order]


def little_explained(estimator: Any, X: Rows) -> str:
    """Return a sentence if little of the variance of ``X`` is explained, or nothing."""
    score = _score(estimator, X)
    if score >= LEAST_SCORE:
        return ""
    explains = LOSSES[estimator.loss].explains
    return f" So far {score:.1%} of the {explains} is explained."


def _score(estimator: Any, X: Rows) -> float:
    """Return the share that is explained of a sample of ``X``, as ``score`` is."""
    parameters = estimator._parameters.astype(X.dtype)
    sample = dense(evenly_spaced(X, SAMPLE_ROWS))
    if LOSSES[estimator.loss].is_robust:
        # What nothing can explain is no fault of the fit.
        offset, scale, *_ = estimator._scaling
        sample = offset + scale * drawn_near((sample - offset) / scale)
        sample = sample.astype(X.dtype)
    return explained(sample, parameters, estimator._problem)


def _warning_about_units(estimator: Any, X: Rows, converged: bool) -> str | None:
    """Return what to say of units that carry nothing, or None."""
    states, objective = estimator.unit_states_, estimator.objective_
    counts = {state: int((states == state).sum()) for state in STATES[1:]}
    n_inactive = sum(counts.values())
    if n_inactive <= TOLERATED_SHARE * len(states):
        score = _score(estimator, X)
        # At its minimum an absurd beta leaves no divergence but that of rounding.
        is_absurd = estimator.beta_ > OUTWEIGHS
        dominated = is_absurd or objective.sparsity > objective.reconstruction
        share_of_units = min(len(states) / X.shape[1], 1.0)
        # What an absurd beta leaves to learn is little after any number of epochs.
        least = LEAST_SCORE * share_of_units if converged or is_absurd else 0.0
        if score > least or not (converged or dominated):
            return None
        changes = ["Raise n_components"]
        if standstill := _standstill(estimator, converged):
            changes = [standstill]
        elif dominated:
            # Each varies, at random or all of them alike: only rho_hat was trained.
            changes = _changes_of_dominant_beta(estimator)
        elif objective.weight_decay > objective.reconstruction / 10:
            changes.insert(0, f"Lower weight_decay={estimator.weight_decay_:.3g}")
        return (
            f"{len(states) - n_inactive} of {len(states)} units are active, but "
            f"together they explain {score:.1%} of the "
            f"{LOSSES[estimator.loss].explains} of the training set. "
            f"{_alternatives(changes)}"
        )
    advice = _advice(max(counts, key=counts.__getitem__), estimator, X)
    return (
        f"{n_inactive} of {len(states)} units are not active on the training set: "
        f"{_told_counts(counts, estimator)}. {advice} "
        "unit_report(X) describes each unit."
    )


def _told_counts(counts: dict[str, int], estimator: Any) -> str:
    """Say how many of the inactive units are in which state, and what it means."""
    dead, saturated = counts["dead"], counts["saturated"]
    if estimator.sparsity in SELECTIONS:
        return f"{dead} dead (never on), {saturated} saturated (on most of the time)"
    return (
        f"{dead} dead (never near on), {saturated} saturated (never off), "
        f"{counts['collapsed']} collapsed (constant)"
    )


def _advice(state: str, estimator: Any, X: Rows) -> str:
    """Say what to change if most of the inactive units are in ``state``."""
    if estimator.sparsity in SELECTIONS:
        return _advice_on_selection(state, estimator)
    weight_decay, scaling = estimator.weight_decay_, estimator._scaling
    sample = scaling.seen(evenly_spaced(X, SAMPLE_ROWS))
    limit = weight_decay_limit(sample, scaling, estimator)
    unscaled = not (scaling.scales_output and estimator.scale)
    if state != "saturated" and weight_decay > LARGE_SHARE_OF_LIMIT * limit:
        rescaling = ""
        if scaling.scales_output and unscaled:
            rescaling = ", or set scale='auto'"
        elif estimator.loss == "squared_error" and unscaled:
            rescaling = ", or use a linear output, which scale='auto' applies to"
        return (
            f"{_told_weight_decay(estimator, limit)}, or raise "
            f"rho={estimator.rho:.3g}{rescaling}."
        )
    objective = estimator.objective_
    if state == "collapsed":
        changes = _changes_of_dominant_beta(estimator)
    elif objective.sparsity > objective.reconstruction:
        changes = [f"Lower beta={estimator.beta_:.3g}, whose pull overshoots"]
        if estimator.solver != "lbfgs":
            changes.insert(0, "Lower learning_rate")
    else:
        changes = [
            f"Raise beta={estimator.beta_:.3g}, which is to bring such units back"
        ]
        if state == "dead":
            changes.append(f"raise rho={estimator.rho:.3g}")
    if estimator.solver != "lbfgs" and not revives(estimator):
        changes.append("set revive=True")
    if state != "collapsed" and unscaled and np.square(sample).mean() > 10:
        changes.append(f"scale the data ({scaler_for(estimator.loss)})")
    return _alternatives(changes)


def _told_weight_decay(estimator: Any, limit: float) -> str:
    """Say that the weight decay is too large, from where on, and which is not."""
    failed = estimator.weight_decay_
    if (estimator.unit_states_ != "active").all():
        limit = min(limit, failed)  # no unit has withstood it
    least = LARGE_SHARE_OF_LIMIT * limit
    most = min(ADVISED_SHARE_OF_LIMIT * limit, ADVISED_SHARE_OF_FAILED * failed)
    advised = f"{least:.1g}"
    if most > 2 * least:
        advised += f" to {most:.1g}"
    return (
        f"weight_decay={failed:.3g} is too large for these data: from about "
        f"{limit:.2g} on even the strongest unit becomes constant, and weak ones do "
        f"far below. Try {advised}"
    )


def _advice_on_selection(state: str, estimator: Any) -> str:
    """Say what to change if most of the inactive units of a selection are so."""
    if state == "dead":
        changes = [f"Lower n_components={estimator.n_components}"]
        changes.append(f"raise rho={estimator.rho:.3g}")
        if not revives(estimator):
            changes.insert(0, "Set revive=True")
        if estimator.weight_decay_ > 0:
            changes.insert(0, f"Lower weight_decay={estimator.weight_decay_:.3g}")
    else:  # one unit of each row stays, whatever rho
        changes = [f"Raise n_components={estimator.n_components}"]
        changes.append(f"lower rho={estimator.rho:.3g}")
    return _alternatives(changes)


def _standstill(estimator: Any, converged: bool) -> str:
    """Say what to change if the objective is still that of the start, or nothing."""
    if estimator.solver == "lbfgs":
        if estimator.n_iter_ > 0 or not converged:
            return ""
        return f"Lower tol={estimator.tol:.3g}, at which the start has converged"
    curve = estimator.loss_curve_
    # Of one epoch, or of none before Ctrl-C, there is nothing to compare.
    if len(curve) < 2 or curve[0] - curve[-1] > STANDSTILL * abs(curve[0]):
        return ""
    if not isinstance(estimator.solver, str):
        return f"Raise the learning rate of solver={estimator.solver!r}"
    if estimator.learning_rate == "auto":
        return ""
    return f"Raise learning_rate={estimator.learning_rate:.3g}"


def _changes_of_dominant_beta(estimator: Any) -> list[str]:
    changes = [
        f"Lower beta={estimator.beta_:.3g}, which leaves the reconstruction no say"
    ]
    if estimator.solver != "lbfgs" and estimator.rho_hat == "batch":
        changes.append("set rho_hat='running'")
    if estimator.init != "auto":
        changes.append("set init='auto'")
    return changes


def _alternatives(changes: list[str]) -> str:
    first, *others = changes
    return ", or ".join([first, *(c[0].lower() + c[1:] for c in others)]) + "."


def weight_decay_limit(sample: np.ndarray, scaling: Scaling, estimator: Any) -> float:
    """Return the weight decay above which weak units vanish.

    Near a unit that is constant at rho and has no weights, w1 and w2, the objective is

        lambda / 2 (|w1|^2 + |w2|^2) - f' w2^T G C w1

    to second order, where C is the covariance of the data, f' the slope of the unit
    at rho and G, diagonal, that of the loss in the input of the output. The unit grows
    out of 0 if lambda is below f' times the largest singular value of G C. It is the
    limit of the first unit; later ones find less of C to explain.

    The sample holds rows less their mean, in the units of the training.
    """
    unit = ACTIVATIONS[units_of(estimator.activation, estimator.sparsity)]
    unit_slope = unit.slope(unit.value_at(estimator.rho))
    output_slope = output_slopes(
        scaling.reconstruction_offset, estimator.output_activation, estimator.loss
    )
    # The largest singular value, by power iteration: 1 % is more than is needed.
    gain, direction = 0.0, np.sqrt(np.square(sample).mean(axis=0))
    for _ in range(30):
        norm = np.linalg.norm(direction)
        if norm == 0:
            return 0.0
        image = output_slope * (sample.T @ (sample @ (direction / norm))) / len(sample)
        gain = float(np.linalg.norm(image))
        direction = sample.T @ (sample @ (output_slope * image))
    return float(unit_slope * gain)
