"""The centring and scaling that training runs in, and the way back."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from scipy.linalg import norm

from .autoencoder import Parameters
from .reading import Rows, dense, row_chunks
from .statistics import column_means, explained_share, residual_norm
from .validation import held_not_finite

# What is below this share of the mean of a column is rounding: one that deviates by as
# little does not vary.
CONSTANT_COLUMN = 1e-12

# Of a scale and an offset, for float32 to hold what is computed from them.
FLOAT32_RANGE = (1e-30, 1e30)


class Moments(NamedTuple):
    """What data are scaled by.

    Attributes
    ----------
    offset : ndarray of shape (n_features,), float64
        Mean of each column.
    deviations : ndarray of shape (n_features,), float64
        Standard deviation of each column.
    n_samples : int
    """

    offset: np.ndarray
    deviations: np.ndarray
    n_samples: int

    @classmethod
    def of(cls, X: Rows) -> Self:
        """Compute them of all rows of ``X``."""
        n_samples, n_features = X.shape
        offset = column_means(X)
        if not np.isfinite(offset).all():
            raise ValueError(
                held_not_finite(X)
                or "The values of X are too large: their sum overflows float64. Scale "
                "the data (StandardScaler, MaxAbsScaler)."
            )
        norms = np.zeros(n_features)
        for rows in row_chunks(X):
            norms = np.hypot(norms, _column_norms(dense(X[rows]) - offset))
        deviations = norms / np.sqrt(n_samples)
        # Rounding leaves a constant column a deviation from its mean.
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

    @property
    def deviation(self) -> float:
        """Root mean squared deviation of all values from the means of their columns."""
        return float(
            norm(self.deviations, check_finite=False) / np.sqrt(len(self.deviations))
        )

    @property
    def norm(self) -> float:
        """Root of the summed squares of all values less the means of their columns."""
        return self.deviation * math.sqrt(self.n_samples * len(self.deviations))

    def joined_with(self, other: "Moments") -> "Moments":
        """Return those of the rows of both.

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


def explained_variance(X: Rows, parameters: Parameters) -> float:
    """Return 1 - squared errors over squared deviations from the column means."""
    return explained_share(residual_norm(X, parameters), Moments.of(X).norm)


class Scaling(NamedTuple):
    """The affine map from the data as given to the units of the training.

    Attributes
    ----------
    offset : ndarray of shape (n_features,), float64
    scale : float
    linear_output : bool
        Whether the reconstruction can be shifted and scaled by the weights. If not,
        ``scale`` is 1 and the training reconstructs the data as given.
    """

    offset: np.ndarray
    scale: float
    linear_output: bool

    @classmethod
    def from_moments(
        cls, moments: Moments, *, scale: str | bool, linear_output: bool
    ) -> Self:
        """Centre rows and, if asked, give them a mean squared norm of n_features.

        Without ``scale``, or where the output is not linear, the scale is 1.
        """
        if not (scale and linear_output):
            return cls(moments.offset, 1.0, linear_output)
        # Rows that are all equal are in the units of their values.
        size = moments.deviation or float(np.abs(moments.offset).max()) or 1.0
        return cls(moments.offset, size, linear_output)

    def equals(self, other: "Scaling") -> bool:
        """Say whether another one is the same map."""
        same = self.scale == other.scale and self.linear_output == other.linear_output
        return same and np.array_equal(self.offset, other.offset)

    @property
    def rounding(self) -> float:
        """What rounding leaves, in the units of the training, where nothing varies."""
        return CONSTANT_COLUMN * float(np.abs(self.offset).max()) / self.scale

    @property
    def reconstruction_offset(self) -> np.ndarray:
        """What is added to the training's rows to get what they reconstruct."""
        return np.zeros_like(self.offset) if self.linear_output else self.offset

    def standardize(self, X: Rows, out: np.ndarray) -> np.ndarray:
        """Write (X - offset) / scale to ``out``, in its dtype."""
        if X.dtype == out.dtype == np.float32 and self._fits_float32:
            return self._standardize_float32(X, out)
        for rows in row_chunks(X):
            out[rows] = (dense(X[rows]) - self.offset) / self.scale
        return out

    @property
    def _fits_float32(self) -> bool:
        low, high = FLOAT32_RANGE
        return low < self.scale < high and np.abs(self.offset).max() < high

    def _standardize_float32(self, X: Rows, out: np.ndarray) -> np.ndarray:
        """Write it without arrays of float64, in a third of the time."""
        # Of a mean that is large beside the scale, one float32 would lose too much.
        offset = self.offset.astype(np.float32)
        rest = (self.offset - offset).astype(np.float32)
        for rows in row_chunks(X):
            values = out[rows]
            np.subtract(dense(X[rows]), offset, out=values)
            values -= rest
            values /= np.float32(self.scale)
        return out

    def fold(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the weights of the same network on the data as given, in float64."""
        W1, b1, W2, b2 = (np.asarray(w, dtype=np.float64) for w in weights[:4])
        W1 = W1 / self.scale
        b1 = b1 - self.offset @ W1
        if self.linear_output:
            W2, b2 = W2 * self.scale, b2 * self.scale + self.offset
        return [W1, b1, W2, b2]

    def unfold(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Undo ``fold``."""
        W1, b1, W2, b2 = (np.asarray(w, dtype=np.float64) for w in weights[:4])
        b1 = b1 + self.offset @ W1
        W1 = W1 * self.scale
        if self.linear_output:
            W2, b2 = W2 / self.scale, (b2 - self.offset) / self.scale
        return [W1, b1, W2, b2]


def _column_norms(X: np.ndarray) -> np.ndarray:
    """Return the norm of each column, of values whose squares may overflow.

    They are right beside the largest: of far smaller columns nothing may be left.
    """
    largest = np.abs(X).max()
    if largest == 0:
        return np.zeros(X.shape[1])
    X = X / largest
    return largest * np.sqrt(np.einsum("ij,ij->j", X, X))
