"""A network over data: the terms of its objective, and what a fit reports of it."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import Bunch

from .._objective.objective import Losses
from .._objective.penalties import weight_penalty
from .autoencoder import Parameters
from .problem import Problem
from .reading import Rows, dense, reduced
from .units import UnitStatistics
from .validation import NotFinite

# Fewer samples than this tell little of the units: those of earlier calls count with
# them, as this many at most.
ENOUGH_SAMPLES = 100


def evaluate(
    X: Rows, parameters: Parameters, problem: Problem, *, of_units: bool = False
) -> tuple[Losses, np.ndarray, Any]:
    """Evaluate the objective of a network on the data as given, in float64.

    Returned with it are what the penalty was evaluated at, (n_components,), and, if
    asked for, the ``UnitStatistics``.
    """
    n_samples, (architecture, coefficients, scaling) = X.shape[0], problem
    penalty = architecture.objective.penalty
    of_rows = partial(_sums, parameters, problem, of_units)
    reconstruction, error, total, units = reduced(
        X, of_rows, _joined_sums, len(parameters.b1)
    )
    statistic = penalty.statistic(total / n_samples, architecture.objective.activation)
    # The weight decay is that of the same network in the training's units.
    W1, _, W2, _ = scaling.unfold(parameters.arrays)
    terms = Losses(
        reconstruction=float(reconstruction / n_samples),
        sparsity=float(penalty.value(statistic, coefficients, np)),
        squared_error=float(error / n_samples),
        weight_decay=float(weight_penalty((W1, W2), coefficients.weight_decay, np)),
    )
    return terms, statistic, units


def _sums(parameters: Parameters, problem: Problem, of_units: bool, X: Rows) -> tuple:
    """Return the sums over rows of losses, squared errors and what is penalised."""
    objective = problem.architecture.objective
    loss, penalty = objective.loss, objective.penalty
    codes = parameters.encode(X)
    expected: Any
    if loss.takes_inputs:
        linear = parameters._replace(output_activation="linear")
        expected, output = dense(X), linear.decode(codes)
    else:
        # Errors are scaled before they are squared, as their squares may leave the
        # range of the dtype.
        error = parameters.decode(codes) - dense(X)
        expected, output = 0, problem.scaling.of_differences(error)
    losses = _sum(loss.of_rows(expected, output, np))
    error = loss.mean_squared_error(expected, output, losses, _sum, np)
    total = penalty.per_row(codes, np).sum(axis=0, dtype=np.float64)
    units = UnitStatistics(codes, parameters.activation) if of_units else None
    return losses, error, total, units


def _sum(values: np.ndarray) -> Any:
    return values.sum(dtype=np.float64)


def _joined_sums(one: tuple, other: tuple) -> tuple:
    *sums, units = one
    *others, other_units = other
    joined = units and units.joined_with(other_units)
    return *(a + b for a, b in zip(sums, others, strict=True)), joined


class Recent(NamedTuple):
    """The samples that the fitted attributes tell of."""

    n_samples: float
    reconstruction: float  # mean loss
    statistic: np.ndarray  # what the penalty is evaluated at, (n_components,)
    units: np.ndarray  # ``UnitStatistics.table``


def _joined(
    earlier: Recent | None,
    units: UnitStatistics,
    losses: Losses,
    statistic: np.ndarray,
    problem: Problem,
) -> tuple[Losses, Recent]:
    """Let samples of earlier calls count with those of a call that has too few.

    All but ``earlier`` are of the call. ``units`` takes in the earlier units, and what
    is returned tells of all these samples.
    """
    if earlier is not None and units.n_samples < ENOUGH_SAMPLES:
        n_own = units.n_samples
        share = min(1.0, ENOUGH_SAMPLES / earlier.n_samples)
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
        float(units.n_samples), losses.reconstruction, statistic, units.table
    )
    return losses, recent


def fitted_attributes(
    X: Rows, parameters: Parameters, problem: Problem, recent: Recent | None = None
) -> dict[str, Any]:
    """Return the attributes of an estimator with this network, trained on ``X``.

    The network is cast to the dtype of ``X``. The attributes tell of ``recent`` samples
    of earlier calls, too, if ``X`` has too few.
    """
    parameters = parameters.astype(X.dtype)
    if not all(np.isfinite(array).all() for array in parameters.arrays):
        raise NotFinite(
            "The training produced weights that are not finite, or that leave the "
            f"range of {X.dtype} in the units of the data."
        )
    _, coefficients, scaling = problem
    losses, statistic, units = evaluate(X, parameters, problem, of_units=True)
    losses, recent = _joined(recent, units, losses, statistic, problem)
    if not np.isfinite(losses.objective):
        raise NotFinite("The objective of the trained network is not finite.")
    return {
        "coefs_": [parameters.W1, parameters.W2],
        "intercepts_": [parameters.b1, parameters.b2],
        "offset_": scaling.offset,
        "scale_": scaling.scale,
        **({} if scaling.whitening is None else {"whitening_": scaling.whitening}),
        "beta_": float(coefficients.beta),
        "weight_decay_": float(coefficients.weight_decay),
        "objective_": Bunch(total=losses.objective, **losses.terms),
        "rho_hat_": units.rho_hat,
        "unit_states_": units.states(coefficients.rho),
        "sparseness_": float(units.sparseness.mean()),
        "_recent": recent,
    }
