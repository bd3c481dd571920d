"""The fitted network's arithmetic, in NumPy and in chunks of rows."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import safe_sparse_dot

from ._objective import (
    ACTIVATION_RANGES,
    mean_squared_error,
    mean_to_rho_hat,
    reconstruction_loss,
)
from ._validation import held_not_finite

# Rows that a training holds as one float32 block; data beyond that stream through.
BLOCK_BYTES = 1 << 28

# Values of one chunk's widest array: 8 MB in float64. In much smaller chunks the
# threads of a product wait for each other more than they gain by what stays in cache.
CHUNK_VALUES = 1 << 20

# With fewer rows a product spends its time on reading the weights.
MIN_PRODUCT_ROWS = 128


def _sigmoid(Z, out):
    # Of NumPy's vectorized functions: SciPy's expit takes two to four times as long. In
    # float32 it is exact to two units in the last place; below -88 it is 0.
    np.negative(Z, out=out)
    np.exp(out, out=out)
    out += 1
    return np.reciprocal(out, out=out)


def _relu(Z, out):
    return np.maximum(Z, 0, out=out)


def _identity(Z, out):
    return Z


ACTIVATIONS = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "relu": _relu,
    "linear": _identity,
}


class Parameters(NamedTuple):
    """Weights, biases and activations of an encoder and its decoder."""

    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray
    activation: str
    output_activation: str

    @property
    def arrays(self):
        """W1, b1, W2, b2."""
        return self[:4]

    def astype(self, dtype):
        """Return the parameters in ``dtype``, without a copy where they have it."""
        if all(array.dtype == dtype for array in self.arrays):
            return self
        arrays = (np.asarray(array, dtype=dtype) for array in self.arrays)
        return Parameters(*arrays, self.activation, self.output_activation)

    @property
    def _encoder(self):
        return self.W1, self.b1, self.activation

    @property
    def _decoder(self):
        return self.W2, self.b2, self.output_activation

    def encode(self, X):
        """Return the activations of the hidden units, (n_rows, n_components)."""
        return _through_layers(X, self._encoder)

    def decode(self, codes):
        """Return the reconstruction from codes, (n_rows, n_features)."""
        return _through_layers(codes, self._decoder)

    def reconstruct(self, X):
        """Return the reconstruction of ``X``; codes are held a chunk at a time."""
        return _through_layers(X, self._encoder, self._decoder)

    def logits(self, codes):
        """Return what ``decode`` applies the output activation to."""
        return _through_layers(codes, (self.W2, self.b2, "linear"))

    def mean_rho_hat(self, X):
        """Return the mean activation of each unit on the interval it lives in."""
        return mean_to_rho_hat(
            self.encode(X).mean(axis=0), ACTIVATION_RANGES[self.activation]
        )


def _through_layers(X, *layers):
    """Return what layers, each (weights, bias, activation), make of the rows of ``X``.

    The output is written in place, chunk by chunk: beside it there is never more than
    one chunk of what lies between the layers, and of products with CSR rows.
    """
    n_rows = X.shape[0]
    n_chunk = _rows_of_products(X, layers)
    *widths, n_outputs = (W.shape[1] for W, _, _ in layers)
    dtype = np.result_type(X.dtype, layers[0][0].dtype)
    between = [np.empty((min(n_chunk, n_rows), width), dtype) for width in widths]
    output = np.empty((n_rows, n_outputs), dtype)
    with np.errstate(all="ignore"):
        for rows in _batches(n_rows, n_chunk):
            values = X if n_rows <= n_chunk else X[rows]
            targets = (array[: values.shape[0]] for array in between)
            for layer, target in zip(layers, (*targets, output[rows]), strict=True):
                _layer(values, *layer, out=target)
                values = target
    return output


def _rows_of_products(X, layers):
    """Return how many rows make a chunk; those of a dense ``X`` need no memory."""
    width = max(W.shape[1] for W, _, _ in layers)
    if sparse.issparse(X):
        width = max(width, X.nnz // max(X.shape[0], 1))
    return max(CHUNK_VALUES // width, MIN_PRODUCT_ROWS)


def _layer(X, W, b, activation, out):
    """Write the activations of a layer for the rows of ``X`` into ``out``."""
    if sparse.issparse(X):
        np.add(safe_sparse_dot(X, W), b, out=out)
    else:
        np.matmul(X, W, out=out)
        out += b
    # A sum is a pass that allocates nothing; it may overflow by itself.
    if not (np.isfinite(out.sum()) or np.isfinite(out).all()):
        raise ValueError(
            held_not_finite(X)
            or f"The values of X, up to {abs(X).max():.3g} in magnitude, are too "
            f"large: their products with the weights overflow {out.dtype}. Scale X "
            "as the training data were scaled."
        )
    ACTIVATIONS[activation](out, out=out)


def dense(X):
    """Return ``X`` as an array."""
    return X.toarray() if sparse.issparse(X) else X


def is_streamed(X):
    """Say whether ``X`` is a memory map, or a view of one, of more than one block."""
    if 4 * X.shape[0] * X.shape[1] <= BLOCK_BYTES:
        return False
    while X is not None and not isinstance(X, np.memmap):
        X = getattr(X, "base", None)
    return X is not None


def _batches(n_rows, n_chunk):
    """Yield slices of ``n_chunk`` rows; gen_batches, which validates, takes longer."""
    for start in range(0, n_rows, n_chunk):
        yield slice(start, min(start + n_chunk, n_rows))


def dense_chunks(X, rows, buffer=None):
    """Yield the rows of ``X``, a slice or their numbers, as small dense arrays.

    With a buffer for all of them, rows that are taken by numbers are yielded as parts
    of it where that needs no other array.
    """
    by_number = not isinstance(rows, slice)
    first, n_rows = (
        (0, len(rows)) if by_number else (rows.start, rows.stop - rows.start)
    )
    takes = (
        by_number
        and buffer is not None
        and not sparse.issparse(X)
        and X.dtype == buffer.dtype
        and X.flags.c_contiguous
        and X.flags.aligned
    )
    for part in _batches(n_rows, max(CHUNK_VALUES // X.shape[1], 1)):
        if takes:
            # In the mode that raises errors, NumPy would fill a copy of the part first.
            yield np.take(X, rows[part], axis=0, out=buffer[part], mode="clip")
        elif by_number:
            yield dense(X[rows[part]])
        else:
            yield dense(X[first + part.start : first + part.stop])


def row_chunks(X, n_columns=0):
    """Return slices of rows, small enough for dense temporaries of their shape."""
    width = max(X.shape[1], n_columns, 1)
    if sparse.issparse(X):
        width *= 2  # a chunk is copied twice, as it is and as an array
    return _batches(X.shape[0], max(CHUNK_VALUES // width, 1))


class CodeMoments(NamedTuple):
    """Means over the rows of what the objective is made of, in float64.

    Attributes
    ----------
    reconstruction : float
        Mean loss of a row.
    rho_hat : ndarray of shape (n_components,)
        Mean activation of each unit on the interval it lives in.
    squared_error : float
        Mean squared error of a row, summed over the features, in units of ``scale``.
    """

    reconstruction: float
    rho_hat: np.ndarray
    squared_error: float


def _sum(values):
    return values.sum(dtype=np.float64)


def code_moments(X, parameters, loss, scale=1.0, on_codes=None):
    """Average the reconstruction loss and the activations over the rows of ``X``.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
    parameters : Parameters
    loss : {"squared_error", "log_loss"}
    scale : float, default=1.0
        Unit of the squared error.
    on_codes : callable, optional
        Is shown the codes of each chunk of rows, to save it a pass of its own.
    """
    n_samples = X.shape[0]
    total, error, activation = 0.0, 0.0, np.zeros(parameters.b1.shape[0])
    for rows in row_chunks(X, parameters.b1.shape[0]):
        codes = parameters.encode(X[rows])
        activation += codes.sum(axis=0, dtype=np.float64)
        if on_codes is not None:
            on_codes(codes)
        if loss == "log_loss":
            expected, output = dense(X[rows]), parameters.logits(codes)
        else:
            # Scaled before it is squared, which may leave the range of the dtype.
            expected, output = 0, parameters.decode(codes) - dense(X[rows])
            output /= scale
        losses = _sum(reconstruction_loss(expected, output, loss, np))
        total += losses
        error += mean_squared_error(expected, output, losses, _sum, loss, np)
    rho_hat = mean_to_rho_hat(
        activation / n_samples, ACTIVATION_RANGES[parameters.activation]
    )
    return CodeMoments(total / n_samples, rho_hat, error / n_samples)


def squared_errors(X, parameters, per_feature, scale):
    """Return the squared error of each row, or of each value.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
    parameters : Parameters
    per_feature : bool
    scale : float
        Unit of the errors. They are in the dtype of ``X``, or, where that does not hold
        the square of this, in float64.
    """
    dtype = X.dtype if holds_square(scale, X.dtype) else np.float64
    errors = np.empty(X.shape if per_feature else X.shape[0], dtype=dtype)
    for rows in row_chunks(X, parameters.b1.shape[0]):
        residual = parameters.reconstruct(X[rows])
        residual -= dense(X[rows])
        residual = residual.astype(dtype, copy=False)
        squared = np.square(residual, out=residual)
        errors[rows] = squared if per_feature else squared.sum(axis=1)
    return errors


def holds_square(scale, dtype):
    """Say whether a dtype holds the square of a number with a range about it."""
    limits = np.finfo(dtype)
    low, high = limits.tiny / limits.eps, limits.max * limits.eps
    return float(np.sqrt(low)) < scale < float(np.sqrt(high))


def norms(values, axis=None, keepdims=False):
    """Return the Euclidean norms along an axis, or of all values, in float64.

    The values may be of any size: they are divided by a power of two, which is exact,
    before they are squared.
    """
    values = np.asarray(values, dtype=np.float64)
    largest = np.abs(values).max(axis=axis, keepdims=True, initial=0)
    # Farther than this a power of two, or its inverse, is no number any more.
    unit = np.ldexp(1.0, np.clip(np.frexp(largest)[1], -1000, 1000))
    result = unit * np.linalg.norm(values / unit, axis=axis, keepdims=True)
    return result if keepdims else result.squeeze(axis)


def of_norm_one(weights):
    """Return each row divided by its norm, in its dtype; rows of 0 stay."""
    norm = norms(weights, axis=1, keepdims=True)
    scaled = np.divide(weights, norm, out=np.zeros(weights.shape), where=norm > 0)
    return scaled.astype(weights.dtype)


def column_means(X):
    """Return the mean of each column, in float64."""
    total = np.zeros(X.shape[1])
    for rows in row_chunks(X):
        total += np.asarray(X[rows].sum(axis=0, dtype=np.float64)).ravel()
    return total / X.shape[0]


def frobenius_norm(chunks):
    """Return the root of the summed squares, which may overflow, of arrays."""
    total = 0.0
    for chunk in chunks:
        total = np.hypot(total, norms(chunk))
    return float(total)


def residual_norm(X, parameters):
    """Return the root of the summed squared errors, in the range of the data."""
    return frobenius_norm(
        parameters.reconstruct(X[rows]).astype(np.float64) - dense(X[rows])
        for rows in row_chunks(X, parameters.b1.shape[0])
    )


def explained_share(residual, deviation):
    """Return the share of the variance explained, from two norms.

    Without variance it is 1 for a perfect reconstruction and 0 for any other.
    """
    if deviation == 0:
        return float(residual == 0)
    ratio = residual / deviation
    return 1 - ratio * ratio  # ratio**2 would raise an OverflowError
