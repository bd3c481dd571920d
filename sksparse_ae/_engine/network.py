"""The Keras network that the solvers train, and its objective on one batch."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from .._network.problem import Architecture
from .._objective.losses import TINY
from .._objective.objective import Coefficients, DataTerms
from .._objective.penalties import weight_penalty


class _Layer(keras.layers.Layer):
    """A dense layer of one model, or of several side by side.

    What it holds begins with the axes ``models``: () or (n_models,). It has a name and
    starts at zeros, so that Keras' counters and its random state stay as they are.
    """

    def __init__(
        self,
        kernel_shape: tuple[int, int],
        units: int,
        models: tuple[int, ...],
        activation: str | None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._units, self._models = units, models
        self._activation = keras.activations.get(activation)
        shape = *models, *kernel_shape
        self.kernel = self.add_weight(shape, initializer="zeros", name="kernel")
        self.bias = self.add_weight((*models, units), initializer="zeros", name="bias")
        self.built = True


class Encoder(_Layer):
    """The layer from (n_rows, n_inputs), which models share, to codes.

    Its kernel is (*models, units, n_inputs), Keras' kernel transposed. In this form XLA
    makes the gradient of 784 x 196 weights from 256 rows in two thirds of the time. The
    kernels of several models make one wide product with the rows: narrow products take
    up to twice the time.
    """

    def call(self, X: Any) -> Any:
        kernels = ops.reshape(self.kernel, (-1, X.shape[-1]))
        codes = ops.matmul(X, ops.transpose(kernels))
        codes = self._activation(ops.add(codes, ops.reshape(self.bias, (-1,))))
        if not self._models:
            return codes
        codes = ops.reshape(codes, (-1, *self._models, self._units))
        return ops.transpose(codes, (1, 0, 2))


class Decoder(_Layer):
    """The layer from codes, (*models, n_rows, n_inputs), to what each model gives."""

    def call(self, codes: Any) -> Any:
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
    has an axis of them first. Of the coefficients, rho is then (n_models, 1) and the
    others are (n_models,).
    """

    def __init__(
        self,
        architecture: Architecture,
        n_models: int | None = None,
        *,
        origin: float = 0.0,
    ) -> None:
        self.architecture = architecture
        self._origin = origin  # the decoder subtracts it from codes
        self.objective = architecture.objective
        self.models: tuple[int, ...] = () if n_models is None else (n_models,)
        n_features, n_components = architecture.n_features, architecture.n_components
        takes_inputs = self.objective.loss.takes_inputs
        output_activation = None if takes_inputs else architecture.output_activation
        shape = n_components, n_features  # of both kernels
        settings: Any = {"models": self.models, "dtype": architecture.dtype}
        self.encoder = Encoder(
            shape,
            n_components,
            activation=architecture.activation,
            name="encoder",
            **settings,
        )
        self.decoder = Decoder(
            shape, n_features, activation=output_activation, name="decoder", **settings
        )
        layers = self.encoder, self.decoder
        # W1, b1, W2, b2 in the kernel layout.
        self.variables = [v for layer in layers for v in (layer.kernel, layer.bias)]

    def data_terms(
        self,
        X: Any,
        offset: Any,
        row_weights: Any,
        coefficients: Coefficients,
        estimate_of: Callable[[Any], Any] = lambda own: own,
        spread: Any = None,
        seen: Any = None,
    ) -> DataTerms:
        """Return the terms of weighted rows, which ``X`` holds less ``offset``.

        A linear output is multiplied by ``spread``, (n_features,). The encoder reads
        ``seen``; None stands for ``self.seen(X)``. For the other parameters see
        ``Objective.data_terms``.
        """
        codes = self.encoder(self.seen(X) if seen is None else seen)
        codes = self.objective.selected(codes, row_weights, coefficients, ops)
        output = self.decoder(codes - self._origin if self._origin else codes)
        if spread is not None:
            output = spread * output
        target, observed = self.observed(X)
        return self.objective.data_terms(
            target + offset,
            output,
            codes,
            row_weights,
            coefficients,
            ops,
            estimate_of,
            observed,
        )

    def seen(self, X: Any) -> Any:
        """Return rows as the encoder reads them."""
        return with_gaps(X) if self.architecture.has_missing else X

    def observed(self, X: Any) -> tuple[Any, Any]:
        """Return rows with any number for what is missing, and what is not missing.

        The latter is None for an architecture without missing values.
        """
        if not self.architecture.has_missing:
            return X, None
        observed = ops.logical_not(ops.isnan(X))
        return ops.where(observed, X, ops.zeros_like(X)), observed

    def statistic(self, X: Any, row_weights: Any) -> Any:
        """Return what the penalty acts on, of weighted rows that the encoder reads."""
        return self.objective.statistic(self.encoder(X), row_weights, ops)

    def decay(self, coefficients: Coefficients, spread: Any = None) -> Any:
        """Return the weight-decay term."""
        decoder = self.decoder.kernel
        kernels = self.encoder.kernel, decoder if spread is None else spread * decoder
        decayed = self.objective.decayed(kernels)
        return weight_penalty(decayed, coefficients.weight_decay, ops)

    def restrict(self, spread: Any = None) -> None:
        """Give the rows of the decoder norm one, if the codes are selected."""
        if self.objective.selection is None:
            return
        kernel = self.decoder.kernel
        rows = kernel if spread is None else spread * kernel
        # A product: XLA on the CPU does not vectorise sums.
        ones = ops.ones((rows.shape[-1], 1), rows.dtype)
        squares = ops.matmul(ops.square(rows), ones)
        kernel.assign(kernel * ops.rsqrt(ops.maximum(squares, TINY)))


def with_gaps(X: Any) -> Any:
    """Return centred rows as an encoder reads them that have NaN for what is missing.

    ``reading.as_seen`` says why.
    """
    is_missing = ops.isnan(X)
    n_features = X.shape[-1]
    n_missing = ops.sum(ops.cast(is_missing, X.dtype), axis=-1, keepdims=True)
    factor = n_features / ops.maximum(n_features - n_missing, 1)
    return ops.where(is_missing, ops.zeros_like(X), factor * X)
