"""The objective of a training over its wall time."""

import importlib
import math
import time
from unittest import mock

from _peers import import_keras

from sksparse_ae._training.callbacks import IterationTasks

# The objective is computed again when the training has gone on for one of these shares:
# of its time so far, or of the time that it may take at most.
RECORDING_GROWTH = 0.1
RECORDING_STEP = 1 / 150


class Trace:
    """The objective over the time of a training; the clock stops while it is computed.

    Parameters
    ----------
    objective : callable
        Maps weights to the objective over all rows.
    limit : float
        Seconds after which ``record`` asks to stop.
    target : float, optional
        The objective at which ``record`` asks to stop; it is then computed every time.

    Attributes
    ----------
    points : list of (float, float)
        Seconds and objective.
    """

    def __init__(self, objective, limit, target=None):
        self._objective, self._limit, self._target = objective, limit, target
        self.points = []
        self._next = 0.0
        self._start = time.perf_counter()

    def restart(self):
        """Set the clock to zero."""
        self._start = time.perf_counter()

    def record(self, get_weights):
        """Record the objective, unless it is too early; return whether to stop."""
        now = time.perf_counter()
        elapsed = now - self._start
        stop = elapsed >= self._limit
        if stop or elapsed >= self._next or self._target is not None:
            self._next = elapsed + min(
                RECORDING_GROWTH * elapsed, RECORDING_STEP * self._limit
            )
            objective = self._objective(get_weights())
            self.points.append((elapsed, objective))
            stop |= self._target is not None and objective <= self._target
            self._start += time.perf_counter() - now
        return stop

    def finish(self, get_weights):
        """Record the objective at the end."""
        self._next = 0.0
        self.record(get_weights)

    def keras_callback(self):
        """Return a Keras callback that calls ``record`` after every epoch."""
        import keras

        trace = self

        class Recorder(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if trace.record(self.model.get_weights):
                    self.model.stop_training = True

        return Recorder()


def time_to(points, target):
    """Return the first time at which the target is reached; infinity if never."""
    return min((t for t, objective in points if objective <= target), default=math.inf)


class Idle:
    """A callback that does nothing. With a callback, a fit runs its tasks."""

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context):
        """Do nothing."""


def weights_of(attributes):
    """Return W1, b1, W2, b2 of fitted attributes."""
    (W1, W2), (b1, b2) = attributes["coefs_"], attributes["intercepts_"]
    return [W1, b1, W2, b2]


def follow_ours(transformer, X, trace):
    """Fit a transformer and record its trace, with the clock starting at the fit.

    The weights are taken by a patch where a task ends. A callback would get a complete
    fitted estimator, which takes time to make while the clock runs.
    """
    import_keras()
    # What is imported here is not timed.
    for solver in ("full_batch", "minibatch"):
        importlib.import_module(f"sksparse_ae._engine.{solver}")

    end = IterationTasks.end

    def recorded_end(tasks, get_weights):
        stop = trace.record(lambda: weights_of(tasks.fitted_attributes(get_weights())))
        return end(tasks, get_weights) or stop

    transformer.set_callbacks(Idle())
    with mock.patch.object(IterationTasks, "end", recorded_end):
        trace.restart()
        transformer.fit(X)
    trace.finish(lambda: weights_of(vars(transformer)))
