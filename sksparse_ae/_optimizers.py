"""The optimizers of mini-batch training, as values, and their learning rates."""

import functools
import json
import math
from numbers import Real
from typing import NamedTuple

import keras
import numpy as np

from ._initialization import SAMPLE_ROWS

# The share of an annealed training in which the learning rate falls.
ANNEALED_SHARE = 0.3


class OptimizerSpec(NamedTuple):
    """A Keras optimizer as a hashable value: its class and its configuration.

    Attributes
    ----------
    optimizer_class : type
    config : str
        JSON, without names, which Keras counts, and without a constant learning rate,
        which is set at run time.
    takes_rate : bool
        Whether the rate is to be chosen, rather than the optimizer's own.
    averages_weights : bool
        Whether the optimizer puts averaged weights in place at the end.
    """

    optimizer_class: type
    config: str
    takes_rate: bool
    averages_weights: bool

    @classmethod
    def from_solver(cls, solver):
        """Describe "adam", "sgd" or a Keras optimizer instance.

        Returns
        -------
        spec : OptimizerSpec
        rate : float or None
            The constant rate of an instance, or Keras' default for "adam" and "sgd".
            None for an instance with a schedule.
        """
        if solver in ("adam", "sgd"):
            return cls._from_name(solver)
        if not isinstance(solver, keras.optimizers.Optimizer):
            raise ValueError(
                "The 'solver' parameter must be 'adam', 'sgd', 'lbfgs' or an instance "
                f"of keras.optimizers.Optimizer; got {solver!r}."
            )
        return cls._from_instance(solver, takes_rate=False)

    @classmethod
    @functools.cache  # to build Keras' optimizers takes 20 ms
    def _from_name(cls, name):
        if name == "adam":
            solver = keras.optimizers.Adam()
        else:
            solver = keras.optimizers.SGD(momentum=0.9, nesterov=True)
        return cls._from_instance(solver, takes_rate=True)

    @classmethod
    def _from_instance(cls, solver, *, takes_rate):
        try:
            config = _without_names(solver.get_config())
            rate = config.get("learning_rate")
            if isinstance(rate, Real):
                config["learning_rate"], rate = 1.0, float(rate)
            else:
                rate = None
            config = json.dumps(config, sort_keys=True, default=float)
            averages = bool(getattr(solver, "use_ema", False))
            spec = cls(type(solver), config, takes_rate, averages)
            spec.build()
        except Exception as error:
            raise ValueError(
                f"solver={solver!r} cannot be rebuilt from its configuration, "
                "get_config(); register the classes that it uses with "
                "keras.saving.register_keras_serializable."
            ) from error
        return spec, rate

    def build(self):
        """Return a new optimizer of this description."""
        return self.optimizer_class.from_config(json.loads(self.config))

    def build_for(self, variables):
        """Return a new optimizer of the variables of a program, in one process."""
        optimizer = self.build()
        # To add up the gradients of one replica, Keras has TensorFlow register a
        # gradient for good, and with it the graph: 4 MB of each program ever made.
        optimizer._all_reduce_sum_gradients = lambda pairs: pairs
        optimizer.build(variables)
        return optimizer


def _without_names(config):
    """Give every part of a configuration the same name."""
    if not isinstance(config, dict):
        return config
    config = {key: _without_names(value) for key, value in config.items()}
    return {**config, "name": "optimizer"} if "name" in config else config


def automatic_rate(optimizer, X, scaling):
    """Return the rate that ``learning_rate="auto"`` starts at.

    A step of Adam moves every weight by about the rate, and the input of a unit by the
    sum over the features: wider data need smaller steps, up to 256 features not. The
    curvature that a step of SGD meets grows with the squared norm of the rows.
    """
    if optimizer.optimizer_class is keras.optimizers.SGD:
        rows = X[:: max(X.shape[0] // SAMPLE_ROWS, 1)]
        rows = scaling.standardize(rows, out=np.empty(rows.shape))
        return 1 / (4 + np.square(rows).sum(axis=1).mean())
    return 0.01 / math.sqrt(max(X.shape[1] / 256, 1))


class AnnealedRate:
    """A learning rate that holds, then falls by a half cosine to a hundredth.

    It falls over the last 30 % of ``max_iter``, or as soon as the training stalls,
    then over 30 % of what the training takes altogether.
    """

    def __init__(self, rate, max_iter):
        self._rate = rate
        self._hold = max_iter - math.floor(ANNEALED_SHARE * max_iter)
        self.end = max_iter

    def __call__(self, epoch):
        """Return the rate of an epoch, counted from 0."""
        if epoch < self._hold:
            return self._rate
        progress = (epoch - self._hold + 1) / (self.end - self._hold + 1)
        return self._rate * (0.505 + 0.495 * math.cos(math.pi * progress))

    @property
    def is_falling_from(self):
        """The epoch from which the rate falls."""
        return self._hold

    def state(self):
        """Return what ``restore`` continues from."""
        return [self._hold, self.end]

    def restore(self, state):
        """Continue from the state of another rate."""
        self._hold, self.end = state

    def on_stall(self, n_epochs):
        """Begin to fall, unless that has begun. Return whether to stop instead."""
        if n_epochs < self._hold:
            self._hold = n_epochs
            share = ANNEALED_SHARE / (1 - ANNEALED_SHARE)
            self.end = min(self._hold + math.ceil(share * self._hold), self.end)
        return False


class ConstantRate:
    """A learning rate that stays; None leaves it to the optimizer."""

    def __init__(self, rate, max_iter):
        self._rate = rate
        self.end = max_iter

    def __call__(self, epoch):
        """Return the rate of an epoch."""
        return self._rate

    @property
    def is_falling_from(self):
        """The epoch from which the rate falls: none, so the end."""
        return self.end

    def state(self):
        """Return what ``restore`` continues from: nothing changes."""
        return []

    def restore(self, state):
        """Continue from the state of another rate."""

    def on_stall(self, n_epochs):
        """Return that a stalled training is to stop."""
        return True
