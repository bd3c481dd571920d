"""A stack of encoders below a logistic regression, trained as one network."""

import contextlib
from collections.abc import Callable

import numpy as np

from .._engine.classifier import StackArchitecture, StackEngine, StackObjective
from .._network.validation import NotFinite
from .diagnosis import OUTWEIGHS
from .loop import Course, run
from .monitor import HeldOut, Monitor, Weights
from .rates import AnnealedRate

# Inputs (n_samples, n_features), targets (n_samples, n_outputs), and weights
# (n_samples,) with a mean of 1.
Labelled = tuple[np.ndarray, np.ndarray, np.ndarray]


def train_stack(
    rows: Labelled,
    weights: Weights,
    *,
    held_out: Labelled | None,
    architecture: StackArchitecture,
    objective: StackObjective,
    batch_size: int,
    learning_rate: float,
    max_iter: int,
    rng: np.random.RandomState,
    make_monitor: Callable[[Callable | None], Monitor],
) -> tuple[Weights, Monitor]:
    """Minimise mean cross-entropy plus weight penalties by mini-batches.

    The weights are the kernel and the bias of every layer. The monitor, which is made
    of a function from weights to HeldOut, watches the mean cross-entropy of the rows
    held out; without these it is made of None.
    """
    engine = StackEngine(
        rows, weights, architecture, objective, batch_size, rng, max_iter
    )
    if held_out is None:
        monitor = make_monitor(None)
    else:
        cross_entropy = engine.watching(held_out)
        monitor = make_monitor(lambda weights: HeldOut(cross_entropy(weights), None))
    monitor.begin_with(weights)
    course = Course(monitor, AnnealedRate(learning_rate, max_iter), max_iter)
    try:
        with contextlib.closing(monitor):
            run([course], engine)
            monitor.tell_end(course.n_iter < max_iter)
    except NotFinite as error:
        change = f"Lower learning_rate={learning_rate:.3g}, or scale the data."
        if max(objective.decays) > OUTWEIGHS:
            change = "Lower weight_decay, or raise C of the LogisticRegression."
        raise ValueError(f"{error} {change}") from error
    return monitor.best_weights or course.weights, monitor
