"""A network over data: the terms of its objective, and what a fit reports of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import Bunch

from .._objective.objective import Losses
from .._objective.penalties import weight_penalty
from .autoencoder import Parameters
from .problem import Problem
from .reading import Rows, dense, row_chunks
from .units import UnitStatistics
from .validation import NotFinite

# Fewer samples than this tell little of the units: those of earlier calls count with
# them, as this many at most.
ENOUGH_SAMPLES = 100


def evaluate(
    X: Rows,
    parameters: Parameters,
    problem: Problem,
    on_codes: Callable[[np.ndarray], None] | None = None,
) -> tuple[Losses, np.ndarray]:
    """Evaluate the objective of a network on the data as given, in float64.

    Returned with it is what the penalty was evaluated at, (n_components,). ``on_codes``
    is shown the codes of each chunk of rows.
    """
    n_samples, n_components = X.shape[0], parameters.b1.shape[0]
    architecture, coefficients, scaling = problem
    objective = architecture.objective
    loss, penalty = objective.loss, objective.penalty
    reconstruction, error, total = 0.0, 0.0, np.zeros(n_components)
    for rows in row_chunks(X, n_components):
        codes = parameters.encode(X[rows])
        total += penalty.per_row(codes, np).sum(axis=0, dtype=np.float64)
        if on_codes is not None:
            on_codes(codes)
        expected: Any
        if loss.takes_inputs:
            linear = parameters._replace(output_activation="linear")
            expected, output = dense(X[rows]), linear.decode(codes)
        else:
            # Errors are scaled before they are squared, as their squares may leave the
            # range of the dtype.
            expected, output = 0, parameters.decode(codes) - dense(X[rows])
            output /= scaling.scale
        losses = _sum(loss.of_rows(expected, output, np))
        reconstruction += losses
        error += loss.mean_squared_error(expected, output, losses, _sum, np)
    statistic = penalty.statistic(total / n_samples, objective.activation)
    # The weight decay is that of the same network in the training's units.
    W1, _, W2, _ = scaling.unfold(parameters.arrays)
    terms = Losses(
        reconstruction=float(reconstruction / n_samples),
        sparsity=float(penalty.value(statistic, coefficients, np)),
        squared_error=float(error / n_samples),
        weight_decay=float(weight_penalty((W1, W2), coefficients.weight_decay, np)),
    )
    return terms, statistic


def _sum(values: np.ndarray) -> Any:
    return values.sum(dtype=np.float64)


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
    units = UnitStatistics(len(parameters.b1), parameters.activation)
    losses, statistic = evaluate(X, parameters, problem, units.update)
    losses, recent = _joined(recent, units, losses, statistic, problem)
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
