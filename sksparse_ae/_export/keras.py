"""The fitted network as a compiled Keras model, and the optimizer of that model."""

from typing import Any

from .._engine.optimizers import OptimizerSpec
from .._network.autoencoder import Parameters
from .._network.kept import Threshold
from .._network.problem import Problem
from ..keras_model import ReconstructionLoss, SparseAutoencoder


def compiled_model(
    parameters: Parameters, problem: Problem, optimizer: Any
) -> SparseAutoencoder:
    """Return the model that ``SparseAutoencoderTransformer.to_keras`` describes.

    ``parameters`` are those of the network on the data as given, with the means of the
    features if it is to take rows with gaps.
    """
    architecture, coefficients, scaling = problem
    model = SparseAutoencoder(
        architecture.n_features,
        architecture.n_components,
        sparsity=architecture.sparsity,
        **coefficients._asdict(),
        activation=architecture.activation,
        output_activation=architecture.output_activation,
        scale=scaling.scale,
        whitening=scaling.whitening,
        means=parameters.means,
    )
    W1, b1, W2, b2, *_, kept = parameters.in_float32()
    model.get_layer("encoder").set_weights([W1, b1])
    model.get_layer("decoder").set_weights([W2, b2])
    if isinstance(kept, Threshold):
        model.get_layer("sparsity")._start_at(kept.array)
    loss = ReconstructionLoss(
        architecture.loss, scaling.scale, whitening=scaling.whitening
    )
    model.compile(optimizer=optimizer, loss=loss)
    # Built, it is saved with the model; Keras warns of one that is not.
    model.optimizer.build(model.trainable_variables)
    return model


def optimizer_of(solver: Any, learning_rate: float | str) -> Any:
    """Return a new optimizer with the settings of the solver; Adam for "lbfgs"."""
    spec, rate = OptimizerSpec.from_solver("adam" if solver == "lbfgs" else solver)
    optimizer = spec.build()
    if learning_rate != "auto" and isinstance(solver, str):
        optimizer.learning_rate = learning_rate
    elif rate is not None:
        optimizer.learning_rate = rate
    return optimizer
