"""A stack of encoders below a logistic regression, trained as one network."""

import warnings
from typing import NamedTuple

from .._engine.classifier import StackRun
from .._network.validation import NotFinite
from .diagnosis import OUTWEIGHS


class Loss(NamedTuple):
    """What an epoch, or held-out rows, report to the monitor."""

    objective: float


def train_stack(
    rows,
    weights,
    *,
    held_out,
    architecture,
    objective,
    batch_size,
    rate,
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
    rate : AnnealedRate
    rng : RandomState
    make_monitor : callable
        Maps None, or a function from weights to the Loss to be watched, to a Monitor.

    Returns
    -------
    weights : list of ndarray
    monitor : Monitor
    """
    run = StackRun(rows, weights, architecture, objective, batch_size, rate.end)
    watch = None
    if held_out is not None:
        cross_entropy = run.watching(held_out)

        def watch(weights):
            return Loss(cross_entropy(weights))

    monitor = make_monitor(watch)
    monitor.begin_with(weights)
    monitor.start()
    epoch = 0
    try:
        while epoch < rate.end:
            loss = run.epoch(rate(epoch), rng.permutation(len(rows[0])))
            epoch += 1
            monitor.update(Loss(loss), run.get_weights)
            if monitor.stalled:
                rate.on_stall(epoch)
    except NotFinite as error:
        change = f"Lower learning_rate={rate(0):.3g}, or scale the data."
        if max(objective.decays) > OUTWEIGHS:
            change = "Lower weight_decay, or raise C of the LogisticRegression."
        raise ValueError(f"{error} {change}") from error
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    finally:
        monitor.close()
    return monitor.best_weights or run.get_weights(), monitor
