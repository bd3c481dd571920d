"""The Keras network that the solvers train, and its objective on one batch."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from .._objective.activations import ACTIVATIONS, mean_to_rho_hat
from .._objective.losses import LOSSES
from .._objective.penalties import sparsity_penalty, straight_through, weight_penalty


class DataTerms(NamedTuple):
    """The objective of some rows but for the weight decay, as tensors.

    Attributes
    ----------
    reconstruction, sparsity : scalar tensors
    squared_error : scalar tensor
        Weighted mean of the rows' squared errors, whatever the loss.
    rho_hat : tensor of shape (n_components,)
        The estimate that KL was evaluated at.
    own_rho_hat : tensor of shape (n_components,)
        That of the rows alone.
    """

    reconstruction: Any
    sparsity: Any
    squared_error: Any
    rho_hat: Any
    own_rho_hat: Any

    @property
    def total(self):
        """The sum of the two terms."""
        return self.reconstruction + self.sparsity

    @property
    def reported(self):
        """The scalars as one tensor, in the order of ``Losses.from_terms``."""
        return ops.stack([self.reconstruction, self.sparsity, self.squared_error])


class _Layer(keras.layers.Layer):
    """A dense layer of one model, or of several side by side.

    What it holds begins with the axes ``models``: () or (n_models,). Names and zeros:
    nothing here touches Keras' counters or random state.
    """

    def __init__(self, units, models, activation, **settings):
        super().__init__(**settings)
        self._units, self._models = units, models
        self._activation = keras.activations.get(activation)

    def _add_weights(self, *kernel_shape):
        self.kernel = self.add_weight(
            shape=(*self._models, *kernel_shape), initializer="zeros", name="kernel"
        )
        self.bias = self.add_weight(
            shape=(*self._models, self._units), initializer="zeros", name="bias"
        )


class Encoder(_Layer):
    """The layer from (n_rows, n_inputs), which models share, to codes.

    Its kernel is (*models, units, n_inputs), the other way round than Keras': in that
    form XLA makes the gradient of 784 x 196 weights from 256 rows in two thirds of the
    time. Rows and the kernels of several models make one wide product: as narrow ones
    it takes up to twice the time.
    """

    def build(self, input_shape):
        self._add_weights(self._units, input_shape[-1])

    def call(self, X):
        kernels = ops.reshape(self.kernel, (-1, X.shape[-1]))
        codes = ops.matmul(X, ops.transpose(kernels))
        codes = self._activation(ops.add(codes, ops.reshape(self.bias, (-1,))))
        if not self._models:
            return codes
        codes = ops.reshape(codes, (-1, *self._models, self._units))
        return ops.transpose(codes, (1, 0, 2))


class Decoder(_Layer):
    """The layer from codes, (*models, n_rows, n_inputs), to what each model gives."""

    def build(self, input_shape):
        self._add_weights(input_shape[-1], self._units)

    def call(self, codes):
        bias = self.bias[:, None] if self._models else self.bias
        return self._activation(ops.add(ops.matmul(codes, self.kernel), bias))


class Network:
    """Encoder and decoder layers of one architecture, and their objective.

    It reads rows from which ``offset`` has been subtracted and reconstructs the rows
    themselves. As the biases carry no weight decay, that leaves the objective as it
    was and conditions the problem far better: the penalty no longer drives every
    weight along the direction of the mean row. On Ng's patches Adam then ends 0.2 %
    above L-BFGS, at any learning rate from 3e-3 to 3e-2; without it 2 to 7 % above.

    With ``n_models`` it is as many networks side by side: all that it holds and returns
    has an axis of them first, and of the penalties rho is (n_models, 1) and the others
    (n_models,).

    Parameters
    ----------
    architecture : Architecture
    n_models : int, optional
    origin : float, default=0.0
        What the decoder subtracts from codes.

    Attributes
    ----------
    variables : list of keras.Variable
        W1 transposed, b1, W2, b2: see ``in_kernel_layout``.
    models : tuple of int
        Their number, if there are several, or nothing.
    """

    def __init__(self, architecture, n_models=None, *, origin=0.0):
        self.architecture, self._origin = architecture, origin
        self._loss = LOSSES[architecture.loss]
        self.models = () if n_models is None else (n_models,)
        self.encoder = Encoder(
            architecture.n_components,
            self.models,
            architecture.activation,
            dtype=architecture.dtype,
            name="encoder",
        )
        self.decoder = Decoder(
            architecture.n_features,
            self.models,
            None if self._loss.takes_inputs else architecture.output_activation,
            dtype=architecture.dtype,
            name="decoder",
        )
        self.encoder.build((None, architecture.n_features))
        self.decoder.build((*self.models, None, architecture.n_components))
        self.variables = [
            self.encoder.kernel,
            self.encoder.bias,
            self.decoder.kernel,
            self.decoder.bias,
        ]

    @staticmethod
    def in_kernel_layout(weights):
        """Return W1, b1, W2, b2 as ``variables`` hold them, or the other way round."""
        W1, *others = weights
        return [np.ascontiguousarray(np.swapaxes(W1, -1, -2)), *others]

    def data_terms(
        self,
        X,
        offset,
        row_weights,
        penalties,
        estimate_of=lambda rho_hat: rho_hat,
        spread=None,
    ):
        """Return the DataTerms of weighted rows.

        Parameters
        ----------
        X : tensor of shape (n_rows, n_features)
            Rows less ``offset``.
        offset : tensor of shape (n_features,)
        row_weights : tensor of shape (n_rows,)
            Adding up to one: 1 / m for Ng's mean over m samples, 0 for padding.
        penalties : Penalties
        estimate_of : callable
            Turns the rows' own rho_hat into the estimate that KL is evaluated at.
        spread : tensor of shape (n_features,), optional
            What a linear output is multiplied by.
        """
        code = self.encoder(X)
        target, output = X + offset, self.output(code, spread)

        def mean(values):
            return ops.sum(row_weights * values, axis=-1)

        reconstruction = mean(self._loss.of_rows(target, output, ops))
        rho_hat = self.mean_rho_hat(code, row_weights)
        estimate = estimate_of(rho_hat)
        sparsity = sparsity_penalty(
            straight_through(estimate, rho_hat, ops),
            penalties.rho,
            penalties.beta,
            ops,
        )
        squared = self._loss.mean_squared_error(
            target, output, reconstruction, mean, ops
        )
        return DataTerms(reconstruction, sparsity, squared, estimate, rho_hat)

    def output(self, code, spread=None):
        """Return what the decoder makes of codes."""
        output = self.decoder(code - self._origin if self._origin else code)
        return output if spread is None else spread * output

    def mean_rho_hat(self, code, row_weights):
        """Return the weighted mean activations, measured on their interval."""
        return mean_to_rho_hat(
            ops.matmul(row_weights, code),
            ACTIVATIONS[self.architecture.activation].unit_range,
        )

    def decay(self, penalties, spread=None):
        """Return the weight-decay term."""
        decoder = self.decoder.kernel
        kernels = self.encoder.kernel, decoder if spread is None else spread * decoder
        return weight_penalty(kernels, penalties.weight_decay, ops)
