"""What to change in a training whose units carry nothing."""

import numpy as np

from ._forward import explained_variance
from ._initialization import SAMPLE_ROWS

# fit warns if more than this share of the units is not active.
TOLERATED_SHARE = 0.1

# Above this share of ``weight_decay_limit`` the weight decay is taken for the cause:
# the weakest of many units find a hundredth of the variance that the first one finds.
LARGE_SHARE_OF_LIMIT = 0.01


def warning_about_units(estimator, X, parameters, scaling):
    """Return what to warn of after a training, or None.

    Parameters
    ----------
    estimator : SparseAutoencoderTransformer
        Fitted. Its parameters, `unit_states_` and `objective_` are read.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The training set.
    parameters : Parameters
        The fitted network.
    scaling : Scaling
    """
    states, objective = estimator.unit_states_, estimator.objective_
    sample = X[:: max(X.shape[0] // SAMPLE_ROWS, 1)]
    counts = {
        state: int((states == state).sum())
        for state in ("dead", "saturated", "collapsed")
    }
    n_inactive = sum(counts.values())
    if n_inactive <= TOLERATED_SHARE * len(states):
        if (
            objective.sparsity < objective.reconstruction
            or explained_variance(sample, parameters.astype(X.dtype)) > 0
        ):
            return None
        # Each varies, at random or for all of them alike: only rho_hat was trained.
        return (
            f"{len(states) - n_inactive} of {len(states)} units are active, but "
            "together they reconstruct the training set no better than its mean. "
            f"{_alternatives(_changes_of_dominant_beta(estimator))}"
        )
    sample = scaling.standardize(sample, out=np.empty(sample.shape))
    advice = _advice(max(counts, key=counts.get), estimator, objective, scaling, sample)
    return (
        f"{n_inactive} of {len(states)} units are not active on the training set: "
        f"{counts['dead']} dead (never near on), {counts['saturated']} saturated "
        f"(never off), {counts['collapsed']} collapsed (constant). {advice} "
        "unit_report(X) describes each unit."
    )


def _advice(state, estimator, objective, scaling, sample):
    """Say what to change if most of the inactive units are in ``state``."""
    weight_decay, beta = estimator.weight_decay, estimator.beta
    limit = weight_decay_limit(
        sample,
        scaling.reconstruction_offset,
        estimator.rho,
        estimator.activation,
        estimator.output_activation,
        estimator.loss,
    )
    if limit == 0:
        return "The data do not vary, so there is nothing to learn from them."
    unscaled = not (scaling.linear_output and estimator.scale == "auto")
    if state != "saturated" and weight_decay > LARGE_SHARE_OF_LIMIT * limit:
        rescaling = ""
        if scaling.linear_output and unscaled:
            rescaling = ", or set scale='auto'"
        elif estimator.loss == "squared_error" and unscaled:
            rescaling = ", or use a linear output, which scale='auto' applies to"
        return (
            f"Lower weight_decay={weight_decay:.3g}: on these data even the strongest "
            f"unit fades out from about {limit:.2g}, and weak ones far below; or raise "
            f"rho={estimator.rho:.3g}{rescaling}."
        )
    if state == "collapsed":
        changes = _changes_of_dominant_beta(estimator)
        if estimator.solver != "lbfgs" and not estimator.revive:
            changes.append("set revive=True")
        return _alternatives(changes)
    if objective.sparsity > objective.reconstruction:
        changes = [f"Lower beta={beta:.3g}, whose pull overshoots"]
        if estimator.solver != "lbfgs":
            changes.insert(0, "Lower learning_rate")
    else:
        changes = [f"Raise beta={beta:.3g}, which is to bring such units back"]
        if state == "dead":
            changes.append(f"raise rho={estimator.rho:.3g}")
    if estimator.solver != "lbfgs" and not estimator.revive:
        changes.append("set revive=True")
    if unscaled and np.square(sample).mean() > 10:
        changes.append("scale the data (StandardScaler)")
    return _alternatives(changes)


def _changes_of_dominant_beta(estimator):
    changes = [
        f"Lower beta={estimator.beta:.3g}, which leaves the reconstruction no say"
    ]
    if estimator.solver != "lbfgs" and estimator.rho_hat == "batch":
        changes.append("set rho_hat='running'")
    if estimator.init != "auto":
        changes.append("set init='auto'")
    return changes


def _alternatives(changes):
    first, *others = changes
    return ", or ".join([first, *(c[0].lower() + c[1:] for c in others)]) + "."


def weight_decay_limit(sample, mean, rho, activation, output_activation, loss):
    r"""Return the weight decay above which weak units vanish.

    Near a unit that is constant at rho and has no weights, w1 and w2, the objective is

        lambda / 2 (|w1|^2 + |w2|^2) - f' w2^T G C w1

    to second order, where C is the covariance of the data, f' the slope of the unit
    at rho and G, diagonal, that of the loss in the input of the output. The unit grows
    out of 0 if lambda is below f' times the largest singular value of G C. It is the
    limit of the first unit; later ones find less of C to explain.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_features)
        Rows less their mean, in the units of the training.
    mean : ndarray of shape (n_features,)
        Mean of what the output reconstructs, in the units of the training.
    rho : float
    activation, output_activation, loss : str
    """
    unit_slope = {"sigmoid": rho * (1 - rho), "tanh": 4 * rho * (1 - rho), "relu": 1}
    output_slope = np.ones_like(mean)
    if output_activation == "sigmoid" and loss == "squared_error":
        output_slope = mean * (1 - mean)
    elif output_activation == "tanh":
        output_slope = 1 - mean**2
    # The largest singular value, by power iteration: 1 % is more than is needed.
    gain, direction = 0.0, np.sqrt(np.square(sample).mean(axis=0))
    for _ in range(30):
        norm = np.linalg.norm(direction)
        if norm == 0:
            return 0.0
        image = output_slope * (sample.T @ (sample @ (direction / norm))) / len(sample)
        gain = np.linalg.norm(image)
        direction = sample.T @ (sample @ (output_slope * image))
    return float(unit_slope[activation] * gain)
