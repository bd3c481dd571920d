"""What a training minimises, as plain values; imports nothing heavy."""

from typing import NamedTuple

import numpy as np

from .._objective.activations import ACTIVATIONS, OUTPUT_ACTIVATIONS
from .._objective.losses import LOSSES
from .._objective.objective import Coefficients, Objective
from .autoencoder import Parameters
from .scaling import Scaling


class Architecture(NamedTuple):
    """What a network is compiled for; every other setting is passed at run time."""

    n_features: int
    n_components: int
    activation: str
    output_activation: str
    loss: str
    penalty: str
    dtype: str

    @classmethod
    def of(cls, settings, n_features, dtype):
        """Return that of a network with the FittedSettings on such data."""
        named = [getattr(settings, name) for name in cls._fields[1:-1]]
        return cls(n_features, *named, dtype.name)

    @property
    def objective(self):
        """The Objective of such a network."""
        return Objective(self)


# What the coefficients are where they are "auto", for sigmoid units with rho = 0.05, a
# linear output and scaled data of 64 features: measured on digits, see the user guide.
USUAL_WEIGHT_DECAY, USUAL_RHO = 3e-3, 0.05
USUAL_BETA, USUAL_VARIANCE = 3.0, 64


def coefficients_of(settings, moments, scaling, earlier=None):
    """Return the coefficients of the objective, those that are "auto" chosen.

    Parameters
    ----------
    settings : SparseAutoencoderTransformer
        Whose parameters are read.
    moments : Moments
    scaling : Scaling
    earlier : Coefficients, optional
        Of a training that is continued, which goes on with what was chosen for it.
    """
    given = Coefficients(settings.rho, settings.beta, settings.weight_decay)
    if "auto" not in given:
        return given
    chosen = earlier
    if chosen is None:
        variances = np.square(moments.deviations / scaling.scale)
        beta = _automatic_beta(variances, moments.offset, settings.loss)
        decay = _automatic_weight_decay(variances, moments.offset, settings)
        chosen = Coefficients(settings.rho, beta, decay)
    pairs = zip(given, chosen, strict=True)
    return Coefficients(*(auto if value == "auto" else value for value, auto in pairs))


def _automatic_beta(variances, mean, loss):
    """Return what ``beta="auto"`` is.

    The reconstruction term, of which sparse codes cost a share, grows with the number
    of features; the penalty does not. With one beta, units of 3000 features are active
    four times as often as rho asks, at the minimum of the objective. So beta goes with
    what there is to explain, the loss of a reconstruction by the mean: from 64 to 3000
    features, of squared error and of log loss, half of the units then have a mean of at
    most 1.25 rho. Of fewer features it stays at Ng's 3, which is as good for the codes
    and sooner at the minimum.
    """
    variances = variances * LOSSES[loss].curvature(mean)
    return USUAL_BETA * max(float(variances.sum()) / USUAL_VARIANCE, 1.0)


def _automatic_weight_decay(variances, mean, settings):
    r"""Return what ``weight_decay="auto"`` is.

    A unit grows out of a constant while the weight decay is below the slope of the unit
    at rho times what it finds of :math:`G C`, the covariance of the data seen through
    the slope of the output (``weight_decay_limit``). So the decay that is right
    in one setting is right in another in proportion to both: the slope, rho (1 - rho)
    but for relu units, and the mean of the diagonal of :math:`G C`, which is 1 for a
    linear output on scaled data.
    """
    activation = ACTIVATIONS[settings.activation]
    usual, own = map(activation.value_at, (USUAL_RHO, settings.rho))
    share = float(activation.slope(own) / activation.slope(usual))
    slopes = output_slopes(mean, settings.output_activation, settings.loss)
    found = float((slopes * variances).mean())
    return USUAL_WEIGHT_DECAY * share * found if found > 0 else USUAL_WEIGHT_DECAY


def output_slopes(mean, output_activation, loss):
    """Return the slope of each output at a mean, as the gradient of the loss has it."""
    if LOSSES[loss].takes_inputs:
        return np.ones_like(mean)
    activation = OUTPUT_ACTIVATIONS[output_activation]
    return activation.slope(np.clip(mean, *activation.interval))


class Problem(NamedTuple):
    """A network, the coefficients of its objective, and the units it is trained in."""

    architecture: Architecture
    coefficients: Coefficients
    scaling: Scaling

    def folded(self, weights):
        """Return weights in the training's units as a network on the data as given."""
        return Parameters(
            *self.scaling.fold(weights),
            self.architecture.activation,
            self.architecture.output_activation,
        )
