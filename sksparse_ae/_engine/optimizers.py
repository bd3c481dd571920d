"""The optimizers of mini-batch training, as values."""

import functools
import json
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple, Self

import keras
import numpy as np


class OptimizerSpec(NamedTuple):
    """A Keras optimizer as a hashable value: its class and its configuration."""

    optimizer_class: type[Any]
    # JSON, without names, which Keras counts, and without a constant learning rate,
    # which is set at run time.
    config: str
    takes_rate: bool  # whether the rate is to be chosen, rather than the optimizer's
    averages_weights: bool  # whether the optimizer puts averages in place at the end

    @classmethod
    def from_solver(cls, solver: Any) -> tuple[Self, float | None]:
        """Describe "adam", "sgd" or a Keras optimizer; return its constant rate too.

        The rate of "adam" and "sgd" is Keras' default. That of an optimizer with a
        schedule is None.
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
    def _from_name(cls, name: str) -> tuple[Self, float | None]:
        if name == "adam":
            # Shorter memories of the squares suit rates that fall; longer ones of the
            # gradients suit small batches.
            solver = keras.optimizers.Adam(beta_1=0.95, beta_2=0.99)
        else:
            solver = keras.optimizers.SGD(momentum=0.9, nesterov=True)
        return cls._from_instance(solver, takes_rate=True)

    @classmethod
    def _from_instance(
        cls, solver: Any, *, takes_rate: bool
    ) -> tuple[Self, float | None]:
        refuse_unconfigured(solver)
        try:
            config = _without_names(solver.get_config())
            rate = config.get("learning_rate")
            if isinstance(rate, Real):
                config["learning_rate"], rate = 1.0, float(rate)
            else:
                rate = None
            # NumPy's scalars, arrays and tensors become Python's numbers.
            config = json.dumps(
                config, sort_keys=True, default=lambda value: np.asarray(value).tolist()
            )
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
    def kind(self) -> str:
        """Name what a training may continue with the state of another of the same."""
        return self.optimizer_class.__name__ if self.takes_rate else repr(self)

    def with_momentum(self, momentum: float) -> Self:
        """Return the description of an optimizer that differs in its momentum."""
        config = json.loads(self.config) | {"momentum": momentum}
        return self._replace(config=json.dumps(config, sort_keys=True))

    def build(self) -> Any:
        """Return a new optimizer of this description."""
        return self.optimizer_class.from_config(json.loads(self.config))

    def build_for(self, variables: list[Any]) -> Any:
        """Return a new optimizer of the variables of a program, in one process."""
        optimizer = self.build()
        # To add up the gradients of one replica, Keras has TensorFlow register a
        # gradient for good, and with it the graph: 4 MB of each program ever made.
        optimizer._all_reduce_sum_gradients = lambda pairs: pairs
        optimizer.build(variables)
        return optimizer

    @staticmethod
    def with_moments(
        variables: list[np.ndarray],
        of_means: Callable[[list[np.ndarray]], list[np.ndarray]],
        of_squares: Callable[[list[np.ndarray]], list[np.ndarray]],
    ) -> list[np.ndarray]:
        """Return variables of "adam" with functions of what it keeps of the gradients.

        It keeps a running mean of the gradient by each weight and one of its square,
        side by side, after two numbers.
        """
        means, squares = of_means(variables[2::2]), of_squares(variables[3::2])
        kept = [array for pair in zip(means, squares, strict=True) for array in pair]
        return [*variables[:2], *(array.astype(np.float32) for array in kept)]


def refuse_unconfigured(solver: Any) -> None:
    """Raise if an optimizer has settings that ``get_config`` does not hold.

    What is rebuilt from the configuration, Keras' own copies too, goes without them.
    """
    try:
        copy = type(solver).from_config(_without_names(solver.get_config()))
    except Exception:  # ``from_solver`` will raise it and tell more
        return
    if names := _unconfigured(solver, copy):
        raise ValueError(
            f"solver={solver!r} has settings that its get_config() does not hold, so "
            f"that copies of it, in clone and fit, lose them: {', '.join(names)}. Make "
            "them in the __init__ of a subclass, or add them to its get_config()."
        )


def _unconfigured(solver: Any, copy: Any) -> list[str]:
    """Return the names of the settings in which a copy differs."""
    names = []
    # These attributes keep what exclude_from_weight_decay() was told.
    attributes = "_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"
    if any(
        (getattr(solver, n, ()) or ()) != (getattr(copy, n, ()) or ())
        for n in attributes
    ):
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


def _without_names(config: Any) -> Any:
    """Give every part of a configuration the same name."""
    if not isinstance(config, dict):
        return config
    config = {key: _without_names(value) for key, value in config.items()}
    return {**config, "name": "optimizer"} if "name" in config else config
