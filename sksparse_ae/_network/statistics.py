"""Statistics over rows and weights, in chunks of rows."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from .autoencoder import Parameters
from .reading import Rows, dense, missing, row_chunks


def squared_errors(
    X: Rows, parameters: Parameters, per_feature: bool, scale: float
) -> np.ndarray:
    """Return the squared error of each row, or of each value.

    ``scale`` is the unit of the errors. They are in the dtype of ``X``, or in float64
    where that dtype does not hold the square of ``scale``. That of a missing value is
    NaN, and that of a row is summed over the values that are observed.
    """
    limits = np.finfo(X.dtype)
    low, high = np.sqrt(limits.tiny / limits.eps), np.sqrt(limits.max * limits.eps)
    # With a range about the square of ``scale``.
    dtype = X.dtype if float(low) < scale < float(high) else np.float64
    errors = np.empty(X.shape if per_feature else X.shape[0], dtype=dtype)
    for rows in row_chunks(X, parameters.b1.shape[0]):
        residual = parameters.reconstruct(X[rows])
        residual -= dense(X[rows])
        residual = residual.astype(dtype, copy=False)
        squared = np.square(residual, out=residual)
        if per_feature:
            errors[rows] = squared
            continue
        errors[rows] = squared.sum(axis=1)
        if np.isnan(errors[rows].sum()):  # of observed values alone
            errors[rows] = np.where(np.isnan(squared), 0, squared).sum(axis=1)
    return errors


def imputed(X: Rows, parameters: Parameters, out: np.ndarray | None = None) -> Rows:
    """Return rows with reconstructions for what is missing; CSR rows as such."""
    if sparse.issparse(X):
        X = X.copy()
        # The row of each value that is stored.
        numbers = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        for rows in row_chunks(X, parameters.b1.shape[0]):
            own = slice(X.indptr[rows.start], X.indptr[rows.stop])
            gaps = own.start + np.flatnonzero(np.isnan(X.data[own]))
            if len(gaps):
                reconstruction = parameters.reconstruct(X[rows])
                places = numbers[gaps] - rows.start, X.indices[gaps]
                X.data[gaps] = reconstruction[places]
        return X
    out = np.empty(X.shape, X.dtype) if out is None else out
    for rows in row_chunks(X, parameters.b1.shape[0]):
        values = X[rows]
        gaps = missing(values)
        reconstruction = parameters.reconstruct(values) if gaps.any() else values
        out[rows] = np.where(gaps, reconstruction, values)
    return out


def norms(values: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Any:
    """Return the Euclidean norms along an axis, or of all values, in float64.

    The values may be of any size: they are divided by a power of two, which is exact,
    before they are squared.
    """
    values = np.asarray(values, dtype=np.float64)
    largest = np.abs(values).max(axis=axis, keepdims=True, initial=0)
    # Beyond these exponents a power of two, or its inverse, is no number any more.
    unit = np.ldexp(1.0, np.clip(np.frexp(largest)[1], -1000, 1000))
    result = unit * np.linalg.norm(values / unit, axis=axis, keepdims=True)
    return result if keepdims else result.squeeze(axis)


def of_norm_one(weights: np.ndarray) -> np.ndarray:
    """Return each row divided by its norm, in its dtype; rows of 0 stay."""
    norm = norms(weights, axis=1, keepdims=True)
    scaled = np.divide(weights, norm, out=np.zeros(weights.shape), where=norm > 0)
    return scaled.astype(weights.dtype)


def explained_share(residual: float, deviation: float) -> float:
    """Return the share of the variance explained, from two norms.

    Without variance it is 1 for a perfect reconstruction and 0 for any other.
    """
    if deviation == 0:
        return float(residual == 0)
    ratio = residual / deviation
    return 1 - ratio * ratio  # ratio**2 would raise an OverflowError


def explained_share_of_loss(loss: float, least: float) -> float:
    """Return the share explained of a loss, given the least loss of constants.

    Where that is 0, it is 1 for a perfect reconstruction and 0 for any other.
    """
    return 1 - loss / least if least > 0 else float(loss <= 0)
