"""The fitted network as a compiled Keras model, and the optimizer of that model."""

from .._engine.optimizers import OptimizerSpec
from ..keras_model import ReconstructionLoss, SparseAutoencoder


def compiled_model(parameters, penalties, loss, scale, optimizer):
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


def optimizer_of(solver, learning_rate):
    """Return a new optimizer with the settings of the solver; Adam for "lbfgs"."""
    spec, rate = OptimizerSpec.from_solver("adam" if solver == "lbfgs" else solver)
    optimizer = spec.build()
    if learning_rate != "auto" and isinstance(solver, str):
        rate = learning_rate
    if rate is not None:
        optimizer.learning_rate = rate
    return optimizer
