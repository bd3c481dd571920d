"""What a training minimises, as plain values; imports nothing heavy."""

from typing import NamedTuple

import numpy as np

from ._forward import Parameters
from ._scaling import Scaling


class Architecture(NamedTuple):
    """What a network is compiled for; every other setting is passed at run time."""

    n_features: int
    n_components: int
    activation: str
    output_activation: str
    loss: str
    dtype: str


class Penalties(NamedTuple):
    """The coefficients of the objective, as numbers or as tensors."""

    rho: float
    beta: float
    weight_decay: float

    @classmethod
    def of(cls, estimator, automatic_weight_decay):
        """Take them from the parameters of an estimator.

        Parameters
        ----------
        estimator : SparseAutoencoderTransformer
        automatic_weight_decay : callable
            Returns what ``weight_decay="auto"`` is.
        """
        weight_decay = estimator.weight_decay
        if weight_decay == "auto":
            weight_decay = automatic_weight_decay()
        return cls(estimator.rho, estimator.beta, weight_decay)


# What ``weight_decay="auto"`` is for sigmoid units with rho = 0.05, a linear output and
# scaled data: measured on digits, see the user guide.
USUAL_WEIGHT_DECAY, USUAL_RHO = 3e-3, 0.05


def automatic_weight_decay(moments, scaling, settings):
    r"""Return what ``weight_decay="auto"`` is.

    A unit grows out of a constant while the weight decay is below the slope of the unit
    at rho times what it finds of :math:`G C`, the covariance of the data seen through
    the slope of the output (``_advice.weight_decay_limit``). So the decay that is right
    in one setting is right in another in proportion to both: the slope, rho (1 - rho)
    but for relu units, and the mean of the diagonal of :math:`G C`, which is 1 for a
    linear output on scaled data.

    Parameters
    ----------
    moments : Moments
    scaling : Scaling
    settings : SparseAutoencoderTransformer
        Whose parameters are read.
    """
    share = 1.0
    if settings.activation != "relu":
        share = settings.rho * (1 - settings.rho) / (USUAL_RHO * (1 - USUAL_RHO))
    slopes, mean = np.ones_like(moments.offset), moments.offset
    if settings.output_activation == "sigmoid" and settings.loss == "squared_error":
        slopes = np.clip(mean, 0, 1) * (1 - np.clip(mean, 0, 1))
    elif settings.output_activation == "tanh":
        slopes = 1 - np.clip(mean, -1, 1) ** 2
    variances = np.square(moments.deviations / scaling.scale)
    found = float((slopes * variances).mean())
    return USUAL_WEIGHT_DECAY * share * found if found > 0 else USUAL_WEIGHT_DECAY


class Problem(NamedTuple):
    """A network, the coefficients of its objective, and the units it is trained in."""

    architecture: Architecture
    penalties: Penalties
    scaling: Scaling

    def folded(self, weights):
        """Return weights in the training's units as a network on the data as given."""
        return Parameters(
            *self.scaling.fold(weights),
            self.architecture.activation,
            self.architecture.output_activation,
        )
