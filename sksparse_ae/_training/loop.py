"""The loop over the epochs of a training, or of several side by side.

It knows no TensorFlow. An Engine takes the steps.
"""

import threading
import warnings
from typing import Any

import numpy as np

from .._engine.state import Engine
from .._network.validation import NotFinite
from .._objective.objective import Losses
from .checkpoint import Checkpoint
from .monitor import Monitor, Weights
from .rates import FixedRate
from .revival import Reviver


class Course:
    """One training: what its epochs lead to, and when it ends.

    The monitor is told of every epoch, and says when the training stalls. ``rng`` gives
    the order of the rows: its state is part of a checkpoint. The reviver looks after
    inactive units in the first part of the training.
    """

    def __init__(
        self,
        monitor: Monitor,
        rate: FixedRate,
        max_iter: int,
        *,
        rng: np.random.RandomState | None = None,
        reviver: Reviver | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.monitor, self._max_iter = monitor, max_iter
        self._rate: Any = rate
        self._reviver, self._checkpoint = reviver, checkpoint
        generators = rng, None if reviver is None else reviver.rng
        self._generators = [g for g in generators if g is not None]
        # It has converged if it ended, or was stopped, before it ran out of epochs.
        self.n_iter, self.ended, self.converged = 0, False, False
        # What ended it while others train beside it.
        self.error: NotFinite | None = None
        self.weights: Any = None  # what it has ended with

    def begin(self, engine: Any, number: int, n_models: int) -> None:
        """Take the place of a model in an engine; continue from a checkpoint."""
        self._engine, self._number, self._is_alone = engine, number, n_models == 1
        # Where its objective was lowest, of what was looked at: there it goes back to.
        self._lowest = engine.mark(number) if self._rate.may_go_back else None
        if self._checkpoint is not None:
            with self._checkpoint.reading(like=self.state()) as saved:
                if saved is not None:
                    self.restore(saved)
        self._end_if_due()

    @property
    def goes_on(self) -> bool:
        """Whether there are epochs to come."""
        return not (self.ended or self.error)

    @property
    def rate(self) -> Any:
        """The learning rate of the epoch to come, 0 for none."""
        return self._rate.at(self.n_iter) if self.goes_on else 0.0

    def before_epoch(self) -> None:
        """Take note that an epoch begins."""
        has_rate = self._is_alone and self.rate is not None
        rate = self._engine.rate_now(self.rate) if has_rate else None
        self.monitor.begin_iteration(rate)

    def after_epoch(self, losses: Losses | None) -> None:
        """Take note of an epoch; None stands for an engine that found no step."""
        if losses is None:
            self._end_if_due()
            return
        monitor = self.monitor
        if self._rate.may_go_back and self._rate.loses(losses.objective):
            self._engine.go_back(self._lowest, self._number)
            monitor.go_back()
            return
        self.n_iter += 1
        monitor.update(losses, self._weights)
        if self._rate.answer(monitor, self.n_iter):
            self.ended, self.converged = True, not monitor.has_risen
        if self._rate.may_go_back and monitor.is_lowest:
            self._lowest = self._engine.mark(self._number)
        elif monitor.goes_back:
            self._engine.go_back(self._lowest, self._number)
        if monitor.stop_requested:
            self.ended = self.converged = True
        reviver = self._reviver
        if not self.ended and reviver and reviver.is_due(self.n_iter, self._max_iter):
            weights, units = reviver.revive(self._weights())
            if units.any():
                monitor.be_patient()
                engine, number = self._engine, self._number
                engine.replace_units(weights, units, reviver.rho, number)
        if self._checkpoint is not None:
            self._checkpoint.save(self.state)
        self._end_if_due()

    def _weights(self) -> Weights:
        return self._engine.weights(self._number)

    def _end_if_due(self) -> None:
        """End if the engine has, or if there are no more epochs."""
        end = self._engine.end
        if self.ended:
            pass
        elif end is not None:
            self.ended, self.converged = True, not end
            self.monitor.failure = end or None
        elif self.n_iter >= self._max_iter:
            monitor = self.monitor
            monitor.conclude(self._weights)
            has_converged = self._rate.has_converged(monitor)
            self.ended, self.converged = True, has_converged and not monitor.has_risen
        if self.ended and not self._is_alone:
            self.weights = self._weights()

    def interrupt(self) -> None:
        """End because the user has asked for it."""
        self.monitor.interrupted = self.ended = self.converged = True

    def finish(self) -> None:
        """Take the weights, if there are any to take."""
        if self.ended and self.weights is None:
            self._engine.finish()
            self.weights = self._weights()

    def state(self) -> dict:
        """Return the state of the training, a tree of arrays and plain values."""
        return {
            "engine": self._engine.state(),
            "lowest": self._lowest,
            "n_iter": self.n_iter,
            "ended": self.ended,
            "converged": self.converged,
            "rate": self._rate.state(),
            "random": [g.get_state(legacy=False) for g in self._generators],
            "monitor": self.monitor.state(),
        }

    def restore(self, saved: dict) -> None:
        """Continue from the state of an equal training."""
        self._engine.restore(saved["engine"])
        self._lowest, self.n_iter = saved["lowest"], saved["n_iter"]
        self.ended, self.converged = saved["ended"], saved["converged"]
        self._rate.restore(saved["rate"])
        for generator, state in zip(self._generators, saved["random"], strict=True):
            generator.set_state(state)
        self.monitor.restore(saved["monitor"])
        if not len(self.monitor.losses) == self.n_iter <= self._max_iter:
            raise ValueError(f"n_iter={self.n_iter} does not fit its curve.")


def run(
    courses: list[Course], engine: Engine, stop: threading.Event | None = None
) -> None:
    """Take epochs until every training has ended; each is of one model of the engine.

    ``stop`` ends the trainings as Ctrl-C does, which other threads do not get.
    """
    for number, course in enumerate(courses):
        course.begin(engine, number, len(courses))
    try:
        while any(course.goes_on for course in courses):
            for course in courses:
                if course.goes_on:
                    course.before_epoch()
            losses = engine.epoch([course.rate for course in courses], stop)
            for course, own in zip(courses, losses, strict=True):
                if not course.goes_on:
                    continue
                try:
                    course.after_epoch(own)
                except NotFinite as error:
                    if len(courses) == 1:
                        raise
                    course.error = error
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
        for course in courses:
            if not (course.ended or course.error):
                course.interrupt()
    for course in courses:
        course.finish()
