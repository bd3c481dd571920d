"""The fitted network as a compiled Keras model, and the optimizer it comes with."""

from typing import Any

from .._engine.optimizers import OptimizerSpec
from .._network.autoencoder import Parameters
from .._network.problem import Penalties
from ..keras_model import ReconstructionLoss, SparseAutoencoder


def compiled_model(
    parameters: Parameters,
    penalties: Penalties,
    loss: str,
    scale: float,
    optimizer: Any,
) -> SparseAutoencoder:
    """Return the model that ``SparseAutoencoderTransformer.to_keras`` describes.

    Parameters
    ----------
    parameters : Parameters
        The network on the data as given.
    penalties : Penalties
    loss : {"squared_error", "log_loss"}
    scale : float
        Unit of the objective.
    optimizer : keras.optimizers.Optimizer
    """
    n_features, n_components = parameters.W1.shape
    model = SparseAutoencoder(
        n_features,
        n_components,
        **penalties._asdict(),
        activation=parameters.activation,
        output_activation=parameters.output_activation,
        scale=scale,
    )
    model.set_weights([*parameters.in_float32().arrays])
    model.compile(optimizer=optimizer, loss=ReconstructionLoss(loss, scale))
    # Built, it is saved with the model; Keras warns of one that is not.
    model.optimizer.build(model.trainable_variables)
    return model


def optimizer_of(solver: Any, learning_rate: float | str) -> Any:
    """Return a new optimizer like that of the parameters; Adam for "lbfgs"."""
    spec, rate = OptimizerSpec.from_solver("adam" if solver == "lbfgs" else solver)
    optimizer = spec.build()
    if learning_rate != "auto" and isinstance(solver, str):
        rate = learning_rate
    if rate is not None:
        optimizer.learning_rate = rate
    return optimizer
