"""A network over data: the terms of its objective, and what a fit reports of it."""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import Bunch

from .._objective.losses import Loss
from .._objective.objective import Losses
from .._objective.penalties import weight_penalty
from .autoencoder import Parameters
from .kept import Threshold
from .problem import Problem
from .reading import Rows, dense, missing, reduced, sum_of_rows, total_weight
from .scaling import Moments, explained_variance
from .statistics import explained_share, explained_share_of_loss
from .thresholds import completed
from .units import UnitStatistics
from .validation import NotFinite

# Fewer samples than this tell little of the units: those of earlier calls count with
# them, as this many at most.
ENOUGH_SAMPLES = 100

# The constants of least loss are found when a pass over the rows moves them by less
# than this, in the units of the training, and after so many passes at most. Each comes
# nearer by the share of the values that lie far out.
NEGLIGIBLE_MOVE, MOST_PASSES = 1e-4, 30


def evaluate(
    X: Rows, parameters: Parameters, problem: Problem, *, of_units: bool = False
) -> tuple[Losses, np.ndarray, Any]:
    """Evaluate the objective of a network on the data as given, in float64.

    Returned with it are what the penalty was evaluated at, (n_components,), and, if
    asked for, the ``UnitStatistics``.
    """
    n_samples, (architecture, coefficients, scaling) = total_weight(X), problem
    penalty = architecture.objective.penalty
    of_rows = partial(_sums, parameters, problem, of_units)
    reconstruction, error, total, units = reduced(
        X, of_rows, _joined_sums, len(parameters.b1), weighted=True
    )
    statistic = penalty.statistic(total / n_samples, architecture.objective.activation)
    # The weight decay is that of the same network in the training's units.
    W1, _, W2, _ = scaling.unfold(parameters.arrays)
    decayed = architecture.objective.decayed((W1, W2))
    terms = Losses(
        reconstruction=float(reconstruction / n_samples),
        sparsity=float(penalty.value(statistic, coefficients, np)),
        squared_error=float(error / n_samples),
        weight_decay=float(weight_penalty(decayed, coefficients.weight_decay, np)),
    )
    return terms, statistic, units


def _sums(
    parameters: Parameters,
    problem: Problem,
    of_units: bool,
    X: Rows,
    weights: np.ndarray | None,
) -> tuple:
    """Return the sums over rows of losses, squared errors and what is penalised."""
    objective, scaling = problem.architecture.objective, problem.scaling
    loss, penalty = objective.loss, objective.penalty
    codes = parameters.encode(X)
    expected: Any
    if loss.takes_inputs:
        linear = parameters._replace(output_activation="linear")
        expected, output = dense(X), linear.decode(codes)
        if scaling.exponential_output:
            expected = expected / scaling.scale
            output -= math.log(scaling.scale)
    else:
        # Errors are scaled before they are squared, as their squares may leave the
        # range of the dtype.
        error = parameters.decode(codes) - dense(X)
        expected, output = 0, scaling.of_differences(error)
    losses, observed = _sum_of_losses(loss, expected, output, X, weights)
    sum_of = partial(sum_of_rows, weights=weights)
    if observed is not None:
        expected, output = (np.where(observed, v, 0) for v in (expected, output))
    error = loss.mean_squared_error(expected, output, losses, sum_of, np, observed)
    total = sum_of(penalty.per_row(codes, np))
    units = UnitStatistics(codes, objective, weights) if of_units else None
    return losses, error, total, units


def _sum_of_losses(
    loss: Loss, expected: Any, output: Any, X: Rows, weights: np.ndarray | None
) -> tuple[Any, Any]:
    """Return the sum of the rows' losses, and what of ``X`` is observed if not all is.

    To look at that first would take a pass over all rows.
    """
    losses = sum_of_rows(loss.of_rows(expected, output, np), weights)
    if not np.isnan(losses):
        return losses, None
    observed = ~missing(dense(X))
    expected, output = (np.where(observed, v, 0) for v in (expected, output))
    losses = loss.of_rows(expected, output, np, observed)
    return sum_of_rows(losses, weights), observed


def _joined_sums(one: tuple, other: tuple) -> tuple:
    *sums, units = one
    *others, other_units = other
    joined = units and units.joined_with(other_units)
    return *(a + b for a, b in zip(sums, others, strict=True)), joined


def explained(
    X: Rows, parameters: Parameters, problem: Problem, of: str | None = None
) -> float:
    """Return the share of the data as given that a network explains.

    ``of`` is what is explained, the variance or what the loss leaves of constants; None
    stands for what suits the loss.
    """
    if (of or problem.architecture.objective.loss.explains) == "variance":
        return explained_variance(X, parameters)
    losses, *_ = evaluate(X, parameters, problem)
    return explained_share_of_loss(losses.reconstruction, least_loss(X, problem))


def least_loss(X: Rows, problem: Problem) -> float:
    """Return the mean loss of the constants, one a column, for which it is lowest."""
    moments = Moments.of(X)
    if moments.deviation == 0:
        return 0.0
    constants = moments.offset
    if problem.architecture.objective.loss.is_robust:
        constants = _robust_constants(X, constants, problem)
    of_rows = partial(_loss_of_constants, constants, problem)
    return float(reduced(X, of_rows, np.add, weighted=True) / total_weight(X))


def _loss_of_constants(
    constants: np.ndarray, problem: Problem, X: Rows, weights: np.ndarray | None
) -> Any:
    loss, scale = problem.architecture.objective.loss, problem.scaling.scale
    expected: Any
    if loss.takes_inputs:
        epsilon = float(np.finfo(np.float64).eps)
        expected, output = dense(X) / scale, constants / scale
        output = loss.output_of(output, epsilon, np)
    else:
        expected, output = 0, (constants - dense(X)) / scale
    losses, _ = _sum_of_losses(loss, expected, output, X, weights)
    return losses


def _robust_constants(X: Rows, constants: np.ndarray, problem: Problem) -> np.ndarray:
    """Return the constants at which the influences of the rows add up to 0.

    Each pass takes a mean in which a value counts by its influence over its error:
    iteratively reweighted least squares, which never raises the loss. From a mean that
    a few values have taken far away, the first pass leads back to the others.
    """
    for _ in range(MOST_PASSES):
        of_rows = partial(_influences, constants, problem)
        influence, weight = reduced(X, of_rows, np.add, weighted=True)
        move = influence / weight
        constants = constants + problem.scaling.scale * move
        if np.abs(move).max() < NEGLIGIBLE_MOVE:
            break
    return constants


def _influences(
    constants: np.ndarray, problem: Problem, X: Rows, weights: np.ndarray | None
) -> np.ndarray:
    """Return the sums over rows of influences and of weights: (2, n_features)."""
    errors = (dense(X) - constants) / problem.scaling.scale
    influences = problem.architecture.objective.loss.influence(errors)
    shares = np.divide(influences, errors, out=np.ones_like(errors), where=errors != 0)
    found: Any = influences, shares
    if np.isnan(errors).any():  # of what is missing
        found = tuple(np.where(np.isnan(errors), 0, values) for values in found)
    return np.stack([sum_of_rows(values, weights) for values in found])


class Recent(NamedTuple):
    """The samples that the fitted attributes tell of."""

    n_samples: float
    reconstruction: float  # mean loss
    statistic: np.ndarray  # what the penalty is evaluated at, (n_components,)
    units: np.ndarray  # ``UnitStatistics.table``
    threshold: np.ndarray | None  # of the codes

    def counting(self, n_samples: float) -> float:
        """Return how many of them count beside so many samples of a call."""
        if n_samples >= ENOUGH_SAMPLES:
            return 0.0
        return min(self.n_samples, float(ENOUGH_SAMPLES))


def _joined(
    earlier: Recent | None,
    units: UnitStatistics,
    losses: Losses,
    statistic: np.ndarray,
    threshold: np.ndarray | None,
    problem: Problem,
) -> tuple[Losses, Recent]:
    """Let samples of earlier calls count with those of a call that has too few.

    All but ``earlier`` and the threshold, which tells of both, are of the call.
    ``units`` takes in the earlier units, and what is returned tells of all these
    samples.
    """
    n_own = units.n_samples
    n_earlier = 0.0 if earlier is None else earlier.counting(n_own)
    if earlier is not None and n_earlier:
        share = n_earlier / earlier.n_samples
        units.take_in(earlier.units, earlier.n_samples, share)
        own_share = n_own / units.n_samples
        statistic = own_share * statistic + (1 - own_share) * earlier.statistic
        penalty = problem.architecture.objective.penalty
        losses = losses._replace(
            reconstruction=own_share * losses.reconstruction
            + (1 - own_share) * earlier.reconstruction,
            sparsity=float(penalty.value(statistic, problem.coefficients, np)),
        )
    recent = Recent(
        float(units.n_samples), losses.reconstruction, statistic, units.table, threshold
    )
    return losses, recent


def fitted_attributes(
    X: Rows,
    parameters: Parameters,
    problem: Problem,
    recent: Recent | None = None,
    spread: float | None = None,
) -> dict[str, Any]:
    """Return the attributes of an estimator with this network, trained on ``X``.

    The network is cast to the dtype of ``X``, and gets the thresholds of ``X`` if it
    needs some and has none. The attributes tell of ``recent`` samples of earlier calls,
    too, if ``X`` has too few. With the ``spread`` of the rows, in the units of the
    training, they tell how much of the variance is explained.
    """
    parameters = parameters.astype(X.dtype)
    if not all(np.isfinite(array).all() for array in parameters.arrays):
        raise NotFinite(
            "The training produced weights that are not finite, or that leave the "
            f"range of {X.dtype} in the units of the data."
        )
    _, coefficients, scaling = problem
    parameters = _with_threshold(X, parameters, problem, recent)
    threshold = None
    if isinstance(parameters.kept, Threshold):
        threshold = parameters.kept.array
    losses, statistic, units = evaluate(X, parameters, problem, of_units=True)
    losses, recent = _joined(recent, units, losses, statistic, threshold, problem)
    if not np.isfinite(losses.objective):
        raise NotFinite("The objective of the trained network is not finite.")
    variance_explained = None
    if spread is not None:
        residual = math.sqrt(losses.squared_error)
        variance_explained = float(explained_share(residual, spread))
    return {
        "coefs_": [parameters.W1, parameters.W2],
        "intercepts_": [parameters.b1, parameters.b2],
        "offset_": scaling.offset,
        "scale_": scaling.scale,
        **({} if scaling.whitening is None else {"whitening_": scaling.whitening}),
        **({} if threshold is None else {"threshold_": threshold}),
        "beta_": float(coefficients.beta),
        "weight_decay_": float(coefficients.weight_decay),
        "objective_": Bunch(total=losses.objective, **losses.terms),
        "rho_hat_": units.rho_hat,
        "unit_states_": units.states(coefficients.rho),
        "sparseness_": float(units.sparseness.mean()),
        "_recent": recent,
        "_variance_explained": variance_explained,
    }


def _with_threshold(
    X: Rows, parameters: Parameters, problem: Problem, earlier: Recent | None
) -> Parameters:
    """Return the network with the thresholds of ``X``, if it needs some and has none.

    Where earlier samples count, it is the mean of theirs and of that of ``X``.
    """
    if parameters.kept is not None:
        return parameters
    architecture, coefficients, _ = problem
    parameters = completed(parameters, X, architecture.sparsity, coefficients.rho)
    found = parameters.kept
    if found is None or earlier is None or earlier.threshold is None:
        return parameters
    n_own = total_weight(X)
    n_earlier = earlier.counting(n_own)
    mean = (n_own * found.array + n_earlier * earlier.threshold) / (n_own + n_earlier)
    return parameters._replace(kept=Threshold(mean.astype(X.dtype)))
