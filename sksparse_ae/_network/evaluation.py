"""A network over data: the terms of its objective, and what a fit reports of it."""

from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch

from .._objective.objective import Losses
from .reading import dense, row_chunks
from .units import UnitStatistics
from .validation import NotFinite

# Fewer samples than this tell little of the units: those of earlier calls count with
# them, as this many at most.
ENOUGH_SAMPLES = 100


class Evaluation(NamedTuple):
    """What all rows say of a network.

    Attributes
    ----------
    losses : Losses
        In float64.
    statistic : ndarray of shape (n_components,)
        What the penalty was evaluated at.
    """

    losses: Losses
    statistic: np.ndarray


def evaluate(X, parameters, problem, on_codes=None):
    """Evaluate the objective on ``X``.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The data as given.
    parameters : Parameters
        The network on the data as given.
    problem : Problem
    on_codes : callable, optional
        Is shown the codes of each chunk of rows.

    Returns
    -------
    evaluation : Evaluation
    """
    n_samples, n_components = X.shape[0], parameters.b1.shape[0]
    objective, scaling = problem.architecture.objective, problem.scaling
    loss, penalty = objective.loss, objective.penalty
    reconstruction, error, total = 0.0, 0.0, np.zeros(n_components)
    for rows in row_chunks(X, n_components):
        codes = parameters.encode(X[rows])
        total += penalty.per_row(codes, np).sum(axis=0, dtype=np.float64)
        if on_codes is not None:
            on_codes(codes)
        if loss.takes_inputs:
            expected, output = dense(X[rows]), parameters.decoder_inputs(codes)
        else:
            # Scaled before it is squared, which may leave the range of the dtype.
            expected, output = 0, parameters.decode(codes) - dense(X[rows])
            output /= scaling.scale
        losses = _sum(loss.of_rows(expected, output, np))
        reconstruction += losses
        error += loss.mean_squared_error(expected, output, losses, _sum, np)
    statistic = penalty.statistic(total / n_samples, objective.activation)
    # The same network in the training's units: what is penalised is its weights.
    W1, _, W2, _ = scaling.unfold(parameters)
    terms = Losses(
        reconstruction=float(reconstruction / n_samples),
        sparsity=float(penalty.value(statistic, problem.coefficients, np)),
        squared_error=float(error / n_samples),
        weight_decay=float(objective.decay((W1, W2), problem.coefficients, np)),
    )
    return Evaluation(terms, statistic)


def _sum(values):
    return values.sum(dtype=np.float64)


class Recent(NamedTuple):
    """The samples that the fitted attributes tell of.

    Attributes
    ----------
    n_samples : float
    reconstruction : float
        Their mean loss.
    statistic : ndarray of shape (n_components,)
        What the penalty is evaluated at.
    units : ndarray
        ``UnitStatistics.table``.
    """

    n_samples: float
    reconstruction: float
    statistic: np.ndarray
    units: np.ndarray


def _joined(earlier, units, evaluation, problem):
    """Let samples of earlier calls count with those of a call that has too few.

    Parameters
    ----------
    earlier : Recent or None
    units : UnitStatistics
        Of the call; takes in those of the earlier ones.
    evaluation : Evaluation
        Of the call.
    problem : Problem

    Returns
    -------
    evaluation : Evaluation
        Of all these samples.
    recent : Recent
    """
    losses, statistic = evaluation
    if earlier is not None and units.n_samples < ENOUGH_SAMPLES:
        n_own = units.n_samples
        share = min(1.0, ENOUGH_SAMPLES / earlier.n_samples)
        units.take_in(earlier.units, earlier.n_samples, share)
        own = n_own / units.n_samples
        statistic = own * statistic + (1 - own) * earlier.statistic
        penalty = problem.architecture.objective.penalty
        losses = losses._replace(
            reconstruction=own * losses.reconstruction
            + (1 - own) * earlier.reconstruction,
            sparsity=float(penalty.value(statistic, problem.coefficients, np)),
        )
    recent = Recent(
        float(units.n_samples), losses.reconstruction, statistic, units.table
    )
    return Evaluation(losses, statistic), recent


def fitted_attributes(X, parameters, problem, recent=None):
    """Return the attributes of an estimator with this network, trained on ``X``.

    The parameters are those of ``evaluate``; the network is cast to the dtype of ``X``.
    They tell of ``recent`` samples of earlier calls, too, if ``X`` has too few.
    """
    parameters = parameters.astype(X.dtype)
    if not all(np.isfinite(array).all() for array in parameters.arrays):
        raise NotFinite(
            "The training produced weights that are not finite, or that leave the "
            f"range of {X.dtype} in the units of the data."
        )
    _, coefficients, scaling = problem
    units = UnitStatistics(len(parameters.b1), parameters.activation)
    evaluation = evaluate(X, parameters, problem, units.update)
    (losses, _), recent = _joined(recent, units, evaluation, problem)
    if not np.isfinite(losses.objective):
        raise NotFinite("The objective of the trained network is not finite.")
    return {
        "coefs_": [parameters.W1, parameters.W2],
        "intercepts_": [parameters.b1, parameters.b2],
        "offset_": scaling.offset,
        "scale_": scaling.scale,
        "beta_": float(coefficients.beta),
        "weight_decay_": float(coefficients.weight_decay),
        "objective_": Bunch(total=losses.objective, **losses.terms),
        "rho_hat_": units.rho_hat,
        "unit_states_": units.states(coefficients.rho),
        "sparseness_": float(units.sparseness.mean()),
        "_recent": recent,
    }
