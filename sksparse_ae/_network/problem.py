"""What a training minimises, as plain values; imports nothing heavy."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from .._objective.activations import ACTIVATIONS, OUTPUT_ACTIVATIONS
from .._objective.losses import LOSSES
from .._objective.objective import Coefficients, Objective
from .._objective.selections import SELECTIONS
from .autoencoder import Parameters
from .kept import Threshold, kept_of_row
from .scaling import Moments, Scaling


class Architecture(NamedTuple):
    """What a network is compiled for; every other setting is passed at run time."""

    n_features: int
    n_components: int
    activation: str
    output_activation: str
    loss: str
    sparsity: str  # among ``PENALTIES`` and ``SELECTIONS``
    dtype: str
    has_missing: bool = False  # whether NaN may stand in the data

    @classmethod
    def of(
        cls, settings: Any, n_features: int, dtype: np.dtype, has_missing: bool = False
    ) -> Self:
        """Return the architecture of a network with ``FittedSettings`` on such data."""
        named = {name: getattr(settings, name) for name in cls._fields[1:-2]}
        return cls(
            n_features=n_features, dtype=dtype.name, has_missing=has_missing, **named
        )

    @property
    def objective(self) -> Objective:
        """What such a network minimises."""
        return Objective(self)


# What the coefficients are where they are "auto", for sigmoid units with rho = 0.05, a
# linear output and scaled data of 64 features: measured on digits, see the user guide.
USUAL_WEIGHT_DECAY, USUAL_RHO = 3e-3, 0.05
USUAL_BETA, USUAL_VARIANCE = 3.0, 64


def coefficients_of(estimator: Any, moments: Moments, scaling: Scaling) -> Coefficients:
    """Return the coefficients of the objective, and choose those that are "auto"."""
    beta, decay = estimator.beta, estimator.weight_decay
    if estimator.sparsity in SELECTIONS:
        # There is no penalty. A weight decay of 1e-4 of the encoder left 40 % of 100
        # units of digits dead.
        return Coefficients(estimator.rho, 0.0, 0.0 if decay == "auto" else decay)
    # What is not observed is not explained.
    variances = scaling.variances(moments) * moments.observed_share
    mean = moments.offset / scaling.scale
    if beta == "auto":
        beta = _automatic_beta(variances, mean, estimator.loss)
    if decay == "auto":
        decay = _automatic_weight_decay(variances, mean, estimator)
    return Coefficients(estimator.rho, beta, decay)


def _automatic_beta(variances: np.ndarray, mean: np.ndarray, loss: str) -> float:
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


def _automatic_weight_decay(
    variances: np.ndarray, mean: np.ndarray, estimator: Any
) -> float:
    r"""Return what ``weight_decay="auto"`` is.

    A unit grows out of a constant while the weight decay is below the slope of the unit
    at rho times what it finds of :math:`G C`, the covariance of the data seen through
    the slope of the output (``weight_decay_limit``). So the decay that is right
    in one setting is right in another in proportion to both: the slope, rho (1 - rho)
    but for relu units, and the mean of the diagonal of :math:`G C`, which is 1 for a
    linear output on scaled data.
    """
    activation = ACTIVATIONS[estimator.activation]
    usual, own = map(activation.value_at, (USUAL_RHO, estimator.rho))
    share = float(activation.slope(own) / activation.slope(usual))
    slopes = output_slopes(mean, estimator.output_activation, estimator.loss)
    found = float((slopes * variances).mean())
    return USUAL_WEIGHT_DECAY * share * found if found > 0 else USUAL_WEIGHT_DECAY


def output_slopes(mean: np.ndarray, output_activation: str, loss: str) -> np.ndarray:
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

    def folded(self, weights: Sequence[np.ndarray]) -> Parameters:
        """Return weights in the training's units as a network on the data as given."""
        return self.network(self.scaling.fold(weights))

    def network(
        self, arrays: Sequence[np.ndarray], threshold: np.ndarray | None = None
    ) -> Parameters:
        """Return a network on the data as given, with a threshold if it has one."""
        W1, b1, W2, b2 = arrays
        _, n_units, activation, output_activation, _, sparsity, *_ = self.architecture
        kept = kept_of_row(sparsity, self.coefficients.rho, n_units)
        if threshold is not None:
            kept = Threshold(threshold)
        means = self.scaling.offset
        return Parameters(W1, b1, W2, b2, activation, output_activation, means, kept)
