"""Why a training or a result is not finite, as its values tell."""

from functools import partial
from typing import Any

import numpy as np

from .._network.evaluation import evaluate
from .._network.initialization import SAMPLE_ROWS
from .._network.reading import (
    Rows,
    dense,
    evenly_spaced,
    largest_magnitude,
    reduced,
)
from .._network.thresholds import on_rows
from .._network.validation import NotFinite, held_not_finite
from .._objective.losses import LOSSES
from .plan import Plan

# A penalty with a coefficient of more than this, that at the start is this many times
# all else, is taken for the cause.
OUTWEIGHS = 1e3


def scaler_for(loss: str) -> str:
    """Return the name of a scaler of data that the loss takes."""
    low, _ = LOSSES[loss].interval
    return "MaxAbsScaler" if low == 0 else "StandardScaler"


def diagnosis(error: NotFinite, plan: Plan, estimator: Any) -> str:
    """Say why a training is not finite, and what to change."""
    X, (_, coefficients, scaling) = plan.X, plan.problem
    if cause := held_not_finite(X):
        return f"{error} {cause}"
    dtype = X.dtype if estimator.solver == "lbfgs" else np.dtype(np.float32)
    sample, scaler = evenly_spaced(X, SAMPLE_ROWS), scaler_for(estimator.loss)
    with np.errstate(all="ignore"):
        rows = scaling.seen(sample)
        # Of rows with weights the sample leaves out those of next to none.
        farthest = reduced(X, partial(_farthest, scaling.offset), max) / scaling.scale
        offset = np.abs(scaling.reconstruction_offset).max()
        largest = max(np.abs(rows).max(), farthest, offset)
        # Gradients hold squares of the values, and the steps squares of gradients.
        if not largest < np.finfo(dtype).max ** 0.25:
            return (
                f"{error} The values of X, up to {largest_magnitude(X):.3g}, are too "
                f"large for {dtype}. Scale the data ({scaler}), or leave out rows that "
                "lie far from the others."
            )
        for name in ("beta", "weight_decay"):
            coefficient = getattr(coefficients, name)
            if coefficient > OUTWEIGHS and _outweighs(name, sample, plan):
                return f"{error} {name}={coefficient:.3g} outweighs all else: lower it."
    if estimator.solver == "lbfgs":
        remedy = f"Scale the data ({scaler}), pass float64, or use solver='adam'."
        return f"{error} {remedy}"
    if not isinstance(estimator.solver, str):
        change = f"Lower the learning rate of solver={estimator.solver!r}"
    elif estimator.learning_rate == "auto":
        change = "Set learning_rate to a small number, such as 1e-4"
    else:
        change = f"Lower learning_rate={estimator.learning_rate:.3g}"
    return f"{error} The steps are too long. {change}, or scale the data ({scaler})."


def _farthest(offset: np.ndarray, X: Rows) -> Any:
    return np.nanmax(np.abs(dense(X) - offset), initial=0)


def _outweighs(name: str, sample: Rows, plan: Plan) -> bool:
    """Say whether a penalty is next to all of the objective at the start."""
    try:
        network = on_rows(plan.weights, plan.problem, sample)
        losses, *_ = evaluate(sample, network, plan.problem)
    except ValueError:  # its codes overflow
        return True
    term = losses.terms["sparsity" if name == "beta" else name]
    return not abs(term) < OUTWEIGHS * abs(losses.objective - term)
