"""Centring and scaling of the data for the training, and its inverse on the weights."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.linalg import norm

from .autoencoder import Parameters
from .reading import Rows, dense, evenly_spaced, reduced, row_chunks
from .statistics import explained_share, norms
from .validation import held_not_finite

# A column is constant if its standard deviation is at most this share of its mean: such
# a deviation is rounding.
CONSTANT_COLUMN = 1e-12

# Medians and quantiles are taken over at least so many rows, or all.
QUANTILE_ROWS = 2000

# This share of normal data lies within so many standard deviations. The median absolute
# deviation would bear more values that are broken, but is 0 for half of the pixels of
# digits. scikit-learn's GradientBoostingRegressor takes the same share as its alpha.
MOST, DEVIATIONS_OF_MOST = 0.9, 1.645

# Values are far out from so many deviations on: one in 370 of normal data.
FAR = 3.0

# Scales in this range, and offsets below its end, can be computed with in float32.
FLOAT32_RANGE = (1e-30, 1e30)


class Moments(NamedTuple):
    """Means and standard deviations of the columns of data, in float64."""

    offset: np.ndarray  # means
    deviations: np.ndarray
    n_samples: int

    @classmethod
    def of(cls, X: Rows) -> Self:
        """Compute the moments of all rows of ``X``."""
        n_samples = X.shape[0]
        offset = reduced(X, _column_sums, np.add) / n_samples
        if not np.isfinite(offset).all():
            raise ValueError(
                held_not_finite(X)
                or "The values of X are too large: their sum overflows float64. Scale "
                "the data (StandardScaler, MaxAbsScaler)."
            )
        norms = reduced(X, partial(_column_norms, offset), np.hypot)
        deviations = norms / np.sqrt(n_samples)
        # The mean of a constant column is rounded, so that the column deviates from it.
        constant = deviations <= CONSTANT_COLUMN * np.abs(offset)
        deviations[constant] = 0
        offset[constant] = dense(X[:1])[0, constant]
        moments = cls(offset, deviations, n_samples)
        if not np.isfinite(moments.deviation):
            raise ValueError(
                "The values of X are too large: their deviations from their mean "
                "overflow float64. Scale the data (MaxAbsScaler)."
            )
        return moments

    def robust(self, X: Rows) -> "Moments":
        """Return the medians of ``X`` and deviations that values far out do not move.

        Medians do not add up over blocks, so they are those of some rows, evenly
        spaced. A column of which nine in ten values are equal has a deviation of 0. If
        all columns are such, the standard deviations stay.
        """
        rows = dense(evenly_spaced(X, QUANTILE_ROWS)).astype(np.float64)
        medians = np.median(rows, axis=0)
        deviations = _deviations_of_most(rows - medians)
        deviations = deviations if deviations.any() else self.deviations
        return Moments(medians, deviations, self.n_samples)

    @property
    def deviation(self) -> float:
        """Root mean squared deviation of all values from the means of their columns."""
        return float(
            norm(self.deviations, check_finite=False) / np.sqrt(len(self.deviations))
        )

    @property
    def norm(self) -> float:
        """Norm of all deviations of values from the means of their columns."""
        return self.deviation * math.sqrt(self.n_samples * len(self.deviations))

    def joined_with(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of rows together.

        After T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise
        algorithm for computing sample variances", Stanford, 1979.
        """
        n_samples = self.n_samples + other.n_samples
        share, apart = other.n_samples / n_samples, other.offset - self.offset
        within = np.hypot(
            np.sqrt(1 - share) * self.deviations, np.sqrt(share) * other.deviations
        )
        between = np.sqrt(share * (1 - share)) * np.abs(apart)
        return Moments(
            self.offset + share * apart, np.hypot(within, between), n_samples
        )


def _deviations_of_most(rows: np.ndarray) -> np.ndarray:
    """Return the standard deviations of normal data of which most lie as near to 0."""
    return np.quantile(np.abs(rows), MOST, axis=0) / DEVIATIONS_OF_MOST


def drawn_near(rows: np.ndarray) -> np.ndarray:
    """Return rows less their medians, with values far out drawn to where that begins.

    Nothing is far out that is not so in the mean column.
    """
    deviations = _deviations_of_most(rows)
    least = np.sqrt(np.square(deviations).mean())
    limits = FAR * np.maximum(deviations, least) if least > 0 else np.inf
    return np.clip(rows, -limits, limits)


def _column_sums(X: Rows) -> np.ndarray:
    return np.asarray(X.sum(axis=0, dtype=np.float64)).ravel()


def explained_variance(X: Rows, parameters: Parameters) -> float:
    """Return 1 - squared errors over squared deviations from the column means."""
    n_components = parameters.b1.shape[0]
    # The norm's square may overflow.
    residual = reduced(X, partial(_error_norm, parameters), np.hypot, n_components)
    return explained_share(float(residual), Moments.of(X).norm)


def _error_norm(parameters: Parameters, X: Rows) -> Any:
    return norms(parameters.reconstruct(X).astype(np.float64) - dense(X))


class Scaling(NamedTuple):
    """The affine map from the data as given to the units of the training."""

    offset: np.ndarray  # of shape (n_features,), float64
    scale: float
    # Whether the reconstruction can be shifted and scaled by the weights.
    linear_output: bool
    # Whether it can be scaled by the biases. The training then reconstructs the data
    # over ``scale``. With any other output that is 1.
    exponential_output: bool = False

    @classmethod
    def from_moments(
        cls,
        moments: Moments,
        *,
        scale: str | bool,
        linear_output: bool,
        exponential_output: bool = False,
    ) -> Self:
        """Centre rows and, if asked, give them a mean squared norm of n_features.

        Without ``scale``, or where the output cannot be scaled, the scale is 1.
        """
        outputs = linear_output, exponential_output
        if not (scale and any(outputs)):
            return cls(moments.offset, 1.0, *outputs)
        # If all rows are equal, the scale is their largest absolute value.
        size = moments.deviation or float(np.abs(moments.offset).max()) or 1.0
        return cls(moments.offset, size, *outputs)

    @property
    def scales_output(self) -> bool:
        """Whether the output can be scaled."""
        return self.linear_output or self.exponential_output

    @property
    def rounding(self) -> float:
        """Largest rounding error of a constant column, in the units of the training."""
        return CONSTANT_COLUMN * float(np.abs(self.offset).max()) / self.scale

    @property
    def reconstruction_offset(self) -> np.ndarray:
        """Offset from the training's rows to the rows that the output reconstructs."""
        if self.linear_output:
            return np.zeros_like(self.offset)
        return self.offset / self.scale

    def standardize(self, X: Rows, out: np.ndarray | None = None) -> np.ndarray:
        """Write (X - offset) / scale to ``out``, in its dtype, or to a new array."""
        out = np.empty(X.shape) if out is None else out
        low, high = FLOAT32_RANGE
        fits = low < self.scale < high and np.abs(self.offset).max() < high
        if fits and X.dtype == out.dtype == np.float32:
            # This makes no arrays of float64 and takes a third of the time. A mean that
            # is large beside the scale needs more digits than one float32 has.
            offset = self.offset.astype(np.float32)
            rest = (self.offset - offset).astype(np.float32)
            for rows in row_chunks(X):
                values = out[rows]
                np.subtract(dense(X[rows]), offset, out=values)
                values -= rest
                values /= np.float32(self.scale)
        else:
            for rows in row_chunks(X):
                out[rows] = (dense(X[rows]) - self.offset) / self.scale
        return out

    def fold(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the weights of the same network on the data as given, in float64."""
        W1, b1, W2, b2 = (np.asarray(w, dtype=np.float64) for w in weights[:4])
        W1 = W1 / self.scale
        b1 = b1 - self.offset @ W1
        if self.linear_output:
            W2, b2 = W2 * self.scale, b2 * self.scale + self.offset
        elif self.exponential_output:
            b2 = b2 + math.log(self.scale)
        return [W1, b1, W2, b2]

    def unfold(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Undo ``fold``."""
        W1, b1, W2, b2 = (np.asarray(w, dtype=np.float64) for w in weights[:4])
        b1 = b1 + self.offset @ W1
        W1 = W1 * self.scale
        if self.linear_output:
            W2, b2 = W2 / self.scale, (b2 - self.offset) / self.scale
        elif self.exponential_output:
            b2 = b2 - math.log(self.scale)
        return [W1, b1, W2, b2]


def _column_norms(offset: np.ndarray, X: Rows) -> np.ndarray:
    """Return the norm of each column less its offset, even if squares overflow.

    The norms are exact relative to the largest value of all columns: the norm of a far
    smaller column may come out as 0.
    """
    deviations = dense(X) - offset
    largest = np.abs(deviations).max()
    if largest == 0:
        return np.zeros(X.shape[1])
    deviations = deviations / largest
    return largest * np.sqrt(np.einsum("ij,ij->j", deviations, deviations))
