"""Statistics over rows and weights, in chunks of rows."""

from typing import NamedTuple

import numpy as np

from .._objective.activations import ACTIVATIONS, mean_to_rho_hat
from .._objective.losses import LOSSES
from .reading import dense, row_chunks


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
    loss : str
        Among ``LOSSES``.
    scale : float, default=1.0
        Unit of the squared error.
    on_codes : callable, optional
        Is shown the codes of each chunk of rows, to save it a pass of its own.
    """
    n_samples, loss = X.shape[0], LOSSES[loss]
    total, error, activation = 0.0, 0.0, np.zeros(parameters.b1.shape[0])
    for rows in row_chunks(X, parameters.b1.shape[0]):
        codes = parameters.encode(X[rows])
        activation += codes.sum(axis=0, dtype=np.float64)
        if on_codes is not None:
            on_codes(codes)
        if loss.takes_inputs:
            expected, output = dense(X[rows]), parameters.decoder_inputs(codes)
        else:
            # Scaled before it is squared, which may leave the range of the dtype.
            expected, output = 0, parameters.decode(codes) - dense(X[rows])
            output /= scale
        losses = _sum(loss.of_rows(expected, output, np))
        total += losses
        error += loss.mean_squared_error(expected, output, losses, _sum, np)
    rho_hat = mean_to_rho_hat(
        activation / n_samples, ACTIVATIONS[parameters.activation].unit_range
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
