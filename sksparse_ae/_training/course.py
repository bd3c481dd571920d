"""How a training by mini-batches goes on: its rate, and when it ends."""

import numpy as np

# An epoch whose objective is this many times the lowest one is lost: the training
# returns to earlier weights at a quarter of its automatic rate, up to so many times.
LOST = 5
MOST_RETURNS = 8

# An automatic rate that stalls is divided by this, to leave the noise that it makes; a
# training has converged if that gains nothing. Over the settings of
# bench_convergence.py it takes "adam" from 1.013 to 1.009 of what L-BFGS reaches in the
# median, for 15 % more epochs; "sgd" no longer stops in its own noise. A half and an
# eighth end alike.
STALL_FALL = 4


class Course:
    """The rate of a training and whether it goes on, as its epochs tell.

    Parameters
    ----------
    monitor : Monitor
    rate : float or None
        At the start; None is left to the optimizer.
    automatic : bool
        Whether the rate may be changed.
    lowest : float
        The objective at the start, on some rows.

    Attributes
    ----------
    rate : float or None
    ended : bool
    converged : bool
        Whether it stalled, or was stopped.
    """

    # What ``state`` consists of.
    _STATE = ("rate", "ended", "converged", "_lowest", "_n_returns", "_is_lowered")

    def __init__(self, monitor, rate, automatic, lowest):
        self._monitor, self._automatic = monitor, automatic
        self.rate, self.ended, self.converged = rate, False, False
        self._lowest, self._n_returns, self._is_lowered = lowest, 0, False

    def loses(self, objective):
        """Say whether an epoch is lost, and lower the rate if it is."""
        if not self._automatic or self._n_returns == MOST_RETURNS:
            return False
        least = np.finfo(np.float32).tiny
        if objective < LOST * max(self._lowest, least):
            self._lowest = min(objective, self._lowest)
            return False
        self._n_returns += 1
        self.rate /= 4
        return True

    def is_lowest(self, objective):
        """Say whether an epoch that is not lost has the lowest objective so far."""
        return objective == self._lowest

    def update(self, losses, get_weights):
        """Take note of an epoch, as ``Monitor.update`` does, and of what follows."""
        monitor = self._monitor
        monitor.update(losses, get_weights)
        if monitor.gains:
            self._is_lowered = False
        if monitor.stalled and self._automatic and monitor.rises:
            self.rate /= 2
            monitor.be_patient()
        elif monitor.stalled and self._automatic and not self._is_lowered:
            self.rate, self._is_lowered = self.rate / STALL_FALL, True
            monitor.go_on()
        elif monitor.stalled:
            self.ended, self.converged = True, not monitor.rises
        if monitor.stop_requested:
            self.ended = self.converged = True

    def conclude(self, get_weights):
        """End a training that has run out of epochs."""
        if not self.ended:
            self.ended, self.converged = True, self._monitor.conclude(get_weights)

    def interrupt(self):
        """End the training because the user has asked for it."""
        self._monitor.interrupted = self.ended = self.converged = True

    def state(self):
        """Return what ``restore`` continues from, as plain values."""
        return {name: getattr(self, name) for name in self._STATE}

    def restore(self, state):
        """Continue from the state of another one."""
        vars(self).update(state)
