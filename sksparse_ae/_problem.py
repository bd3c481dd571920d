"""What a training minimises, as plain values; imports nothing heavy."""

from typing import NamedTuple

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
    def of(cls, estimator):
        """Take them from the parameters of an estimator."""
        return cls(estimator.rho, estimator.beta, estimator.weight_decay)


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
