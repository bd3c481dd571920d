"""A stack of encoders below a logistic regression, trained as one network."""

import contextlib

from .._engine.classifier import StackEngine
from .._network.validation import NotFinite
from .diagnosis import OUTWEIGHS
from .loop import Course, run
from .monitor import HeldOut
from .rates import AnnealedRate


def train_stack(
    rows,
    weights,
    *,
    held_out,
    architecture,
    objective,
    batch_size,
    learning_rate,
    max_iter,
    rng,
    make_monitor,
):
    """Minimise mean cross-entropy plus weight penalties by mini-batches.

    Parameters
    ----------
    rows : tuple of ndarrays
        Inputs (n_samples, n_features), targets (n_samples, n_outputs), and weights
        (n_samples,) with a mean of 1.
    weights : list of ndarray
        Kernel and bias of every layer, to start from.
    held_out : tuple of ndarrays or None
        Like ``rows``; their mean cross-entropy is what is watched.
    architecture : StackArchitecture
    objective : StackObjective
    batch_size : int
    learning_rate : float
        At the start.
    max_iter : int
    rng : RandomState
    make_monitor : callable
        Maps None, or a function from weights to what is to be watched, to a Monitor.

    Returns
    -------
    weights : list of ndarray
    monitor : Monitor
    """
    engine = StackEngine(
        rows, weights, architecture, objective, batch_size, rng, max_iter
    )
    watch = None
    if held_out is not None:
        cross_entropy = engine.watching(held_out)

        def watch(weights):
            return HeldOut(cross_entropy(weights), None)

    monitor = make_monitor(watch)
    monitor.begin_with(weights)
    course = Course(monitor, AnnealedRate(learning_rate, max_iter), max_iter)
    try:
        with contextlib.closing(monitor):
            run([course], engine)
    except NotFinite as error:
        change = f"Lower learning_rate={learning_rate:.3g}, or scale the data."
        if max(objective.decays) > OUTWEIGHS:
            change = "Lower weight_decay, or raise C of the LogisticRegression."
        raise ValueError(f"{error} {change}") from error
    return monitor.best_weights or course.weights, monitor
