"""The optimizers of mini-batch training, as values."""

import functools
import json
from numbers import Real
from typing import NamedTuple

import keras
import numpy as np


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
            # Shorter memories of the squares suit rates that fall; longer ones of the
            # gradients suit small batches.
            solver = keras.optimizers.Adam(beta_1=0.95, beta_2=0.99)
        else:
            solver = keras.optimizers.SGD(momentum=0.9, nesterov=True)
        return cls._from_instance(solver, takes_rate=True)

    @classmethod
    def _from_instance(cls, solver, *, takes_rate):
        refuse_unconfigured(solver)
        try:
            config = _without_names(solver.get_config())
            rate = config.get("learning_rate")
            if isinstance(rate, Real):
                config["learning_rate"], rate = 1.0, float(rate)
            else:
                rate = None
            config = json.dumps(config, sort_keys=True, default=_as_json)
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

    @property
    def is_sgd(self):
        """Whether it is Keras' SGD."""
        return self.optimizer_class is keras.optimizers.SGD

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


def _as_json(value):
    """Return a NumPy scalar, an array or a tensor as Python's numbers."""
    return np.asarray(value).tolist()


# Two numbers of units, and as many features as neither, to tell the axes of units by.
PROBED_UNITS, PROBED_FEATURES = (5, 6), 2


def unit_axes(spec, variables_of):
    """Return, for each variable that an optimizer keeps, the axes of units.

    They are those that grow with the number of units, by as many: what a variable is
    called, and whether there are as many features as units, does not matter.

    Parameters
    ----------
    spec : OptimizerSpec
    variables_of : callable
        Maps numbers of units and features to the variables of such a network.

    Raises
    ------
    ValueError
        If a variable grows in another way, and units cannot be told apart in it.
    """
    fewer, more = (
        spec.build_for(variables_of(n_units, PROBED_FEATURES)).variables
        for n_units in PROBED_UNITS
    )
    axes = []
    for variable, larger in zip(fewer, more, strict=True):
        sizes = list(zip(variable.shape, larger.shape, strict=True))
        axes.append([axis for axis, (few, many) in enumerate(sizes) if few != many])
        if any(sizes[axis] != PROBED_UNITS for axis in axes[-1]):
            raise ValueError(
                f"revive=True cannot start units anew in {variable.path}, of shape "
                f"{tuple(variable.shape)} for {PROBED_UNITS[0]} units, that the solver "
                "keeps: no axis of it is that of the units. Set revive=False."
            )
    return axes


def refuse_unconfigured(solver):
    """Raise if an optimizer has settings that ``get_config`` does not hold.

    What is rebuilt from the configuration, Keras' own copies too, goes without them.
    """
    try:
        copy = type(solver).from_config(_without_names(solver.get_config()))
    except Exception:  # of which ``from_solver`` tells more
        return
    if names := _unconfigured(solver, copy):
        raise ValueError(
            f"solver={solver!r} has settings that its get_config() does not hold, so "
            f"that copies of it, in clone and fit, lose them: {', '.join(names)}. Make "
            "them in the __init__ of a subclass, or add them to its get_config()."
        )


def _unconfigured(solver, copy):
    """Return the names of the settings in which a copy differs."""
    names = []
    # What exclude_from_weight_decay() has kept.
    of_exclusion = "_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"
    kept, copied = (
        [getattr(optimizer, name, None) or None for name in of_exclusion]
        for optimizer in (solver, copy)
    )
    if kept != copied:
        names.append("exclude_from_weight_decay")
    simple = str, bool, Real, type(None)
    names += [
        f"{name}={value!r}"
        for name, value in vars(solver).items()
        if not (name.startswith("_") or name in ("built", "name"))
        and isinstance(value, simple)
        and value != getattr(copy, name, None)
    ]
    inner = [
        [getattr(o, "inner_optimizer", None), *getattr(o, "optimizers", ())]
        for o in (solver, copy)
    ]
    for pair in zip(*inner, strict=False):
        if None not in pair:
            names += _unconfigured(*pair)
    return names


def _without_names(config):
    """Give every part of a configuration the same name."""
    if not isinstance(config, dict):
        return config
    config = {key: _without_names(value) for key, value in config.items()}
    return {**config, "name": "optimizer"} if "name" in config else config
