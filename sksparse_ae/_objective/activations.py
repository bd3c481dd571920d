"""Activations of units and outputs: all that is known of each, in one row."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit


@dataclass(frozen=True, kw_only=True)
class Activation:
    """An activation of outputs, under the name by which Keras knows it.

    It is pickled by its name.
    """

    name: str
    forward: Callable[..., np.ndarray]  # of an array and ``out``, which it may fill
    inverse: Callable[..., Any]  # the input at which a value is reached
    slope: Callable[..., Any]  # the derivative, as a function of the value
    interval: tuple[float, float]  # of the values
    # An output is to start within this interval, so that its slope is not lost.
    starts: tuple[float, float]
    onnx_operator: str
    source: str  # the body of a function of ``Z`` in a generated module of NumPy
    overflows: bool = False  # whether finite inputs may give infinite values

    @property
    def is_bounded(self) -> bool:
        """Whether its values have an upper end."""
        return self.interval[1] < np.inf

    def __reduce__(self) -> tuple:
        return _of_name, (self.name,)


@dataclass(frozen=True, kw_only=True)
class UnitActivation(Activation):
    """An activation that units may have, too."""

    # The mean activation of a unit is measured on this interval: rho_hat is 0 and 1 at
    # its ends. relu has no upper end: its mean is taken as it is.
    unit_range: tuple[float, float]
    # What a step of "adam" may move a unit's input by at the start. Over the settings
    # of bench_convergence.py, sigmoid and tanh units end within 1 % of each other with
    # 0.4 to 0.8. Units with relu die at more than 0.3.
    adam_step: float
    steepest: float  # the largest slope
    # The rate of "sgd" for known rows, times an estimate of the curvature. On the
    # settings of bench_convergence.py sigmoid units end 1 % lower with 1 than with .5;
    # tanh units, whose slopes are steeper, end up to 30 % higher.
    sgd_step: float

    def value_at(self, rho_hat: float) -> float:
        """Return the mean activation at which ``rho_hat`` is measured."""
        low, high = self.unit_range
        return low + rho_hat * (high - low)


def _of_name(name: str) -> Activation:
    return OUTPUT_ACTIVATIONS[name]


def _sigmoid(Z: np.ndarray, out: np.ndarray) -> np.ndarray:
    # NumPy's functions are vectorized; SciPy's expit takes two to four times as long.
    # In float32 the result is exact to two units in the last place; below -88 it is 0.
    np.negative(Z, out=out)
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


_OF_UNITS = (
    UnitActivation(
        name="sigmoid",
        forward=_sigmoid,
        inverse=logit,
        slope=lambda values: values * (1 - values),
        interval=(0.0, 1.0),
        starts=(0.01, 0.99),
        unit_range=(0.0, 1.0),
        adam_step=0.6,
        steepest=0.25,
        sgd_step=1.0,
        onnx_operator="Sigmoid",
        source="""\
    # Where the exponential overflows, the activation is 0.
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-Z))
""",
    ),
    UnitActivation(
        name="tanh",
        forward=np.tanh,
        inverse=np.arctanh,
        slope=lambda values: 1 - values**2,
        interval=(-1.0, 1.0),
        starts=(-0.99, 0.99),
        unit_range=(-1.0, 1.0),
        adam_step=0.6,
        steepest=1.0,
        sgd_step=0.5,
        onnx_operator="Tanh",
        source="    return np.tanh(Z)\n",
    ),
    UnitActivation(
        name="relu",
        forward=lambda Z, out: np.maximum(Z, 0, out=out),
        inverse=np.positive,
        slope=np.ones_like,
        interval=(0.0, np.inf),
        starts=(0.01, np.inf),
        unit_range=(0.0, 1.0),
        adam_step=0.2,
        steepest=1.0,
        sgd_step=0.5,
        onnx_operator="Relu",
        source="    return np.maximum(Z, 0)\n",
    ),
)

# Units are neither linear, because they need values of which rho can be the mean, nor
# exponential, whose sums explode.
_OF_OUTPUTS_ALONE = (
    Activation(
        name="linear",
        forward=lambda Z, out: Z,
        inverse=np.positive,
        slope=np.ones_like,
        interval=(-np.inf, np.inf),
        starts=(-np.inf, np.inf),
        onnx_operator="Identity",
        source="    return Z\n",
    ),
    Activation(
        name="exponential",
        forward=np.exp,
        inverse=np.log,
        slope=np.positive,
        interval=(0.0, np.inf),
        # Columns of rare counts have such means; one of zeros has no logarithm.
        starts=(1e-6, np.inf),
        onnx_operator="Exp",
        source="    return np.exp(Z)\n",
        overflows=True,
    ),
)

ACTIVATIONS = {activation.name: activation for activation in _OF_UNITS}
OUTPUT_ACTIVATIONS: dict[str, Activation] = {
    **{activation.name: activation for activation in _OF_OUTPUTS_ALONE},
    **ACTIVATIONS,
}


def mean_to_rho_hat(mean_activation: Any, unit_range: tuple[float, float]) -> Any:
    """Measure a mean activation on its interval, e.g. (mean + 1) / 2 for tanh."""
    low, high = unit_range
    return (mean_activation - low) / (high - low)
