"""Centring, scaling and whitening for the training, and the inverse on the weights."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.linalg import eigh, norm, solve

from .._utils.threads import single_blas_thread
from .autoencoder import Parameters
from .reading import (
    Rows,
    as_seen,
    dense,
    evenly_spaced,
    reduced,
    row_chunks,
    sum_of_rows,
    total_weight,
)
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

# What whitening adds to the variance along each axis, as a share of the largest one.
WHITENING_FLOOR = 1e-2


class Moments(NamedTuple):
    """Means and standard deviations of the columns of data, in float64.

    Both are 0 for a column of which no value is observed.
    """

    offset: np.ndarray  # means
    deviations: np.ndarray
    n_samples: float  # the sum of their weights, of rows that have weights
    # The same of the values of each column that are observed; None if all are.
    n_observed: np.ndarray | None = None
    # Covariances of the columns over the square of ``deviation``, if they are wanted.
    covariance: Any = None

    @classmethod
    def of(cls, X: Rows) -> Self:
        """Compute the moments of all rows of ``X``, without the covariance."""
        n_samples, n_observed = total_weight(X), None
        sums = reduced(X, _column_sums, np.add, weighted=True)
        if np.isnan(sums).any():
            found = reduced(X, _observed_sums, np.add, weighted=True)
            if found[2].any():  # in rows of weight 0, too: they are read with others
                sums, n_observed, _ = found
        n_values: Any = n_samples
        if n_observed is not None:
            if not n_observed.any():
                raise ValueError(
                    f"No value is observed in any of {X.shape[0]} rows: all are NaN."
                )
            n_values = np.where(n_observed > 0, n_observed, 1)
        offset = sums / n_values
        if not np.isfinite(offset).all():
            raise ValueError(
                held_not_finite(X)
                or "The values of X are too large: their sum overflows float64. Scale "
                "the data (StandardScaler, MaxAbsScaler)."
            )
        norms = reduced(X, partial(_column_norms, offset), np.hypot, weighted=True)
        deviations = norms / np.sqrt(n_values)
        # The mean of a constant column is rounded, so that the column deviates from it.
        constant = deviations <= CONSTANT_COLUMN * np.abs(offset)
        deviations[constant] = 0
        first = dense(X[:1])[0]
        # Not where it is missing, or has next to no weight and is another value.
        limit = CONSTANT_COLUMN * math.sqrt(X.shape[0]) * np.abs(offset)
        constant &= np.abs(first - offset) <= limit
        offset[constant] = first[constant]
        moments = cls(offset, deviations, n_samples, n_observed)
        if not np.isfinite(moments.deviation):
            raise ValueError(
                "The values of X are too large: their deviations from their mean "
                "overflow float64. Scale the data (MaxAbsScaler)."
            )
        return moments

    def with_covariance(self, X: Rows) -> Self:
        """Return the moments of ``X`` with its covariance; no value may be missing."""
        of_rows = partial(_products, self.offset, self.deviation or 1.0)
        covariance = reduced(X, of_rows, np.add, weighted=True) / self.n_samples
        is_constant = self.deviations == 0
        covariance[is_constant] = covariance[:, is_constant] = 0
        return self._replace(covariance=covariance)

    def check_observed(self) -> None:
        """Raise if there is a column of which no value is observed."""
        share = np.broadcast_to(self.observed_share, self.offset.shape)
        columns = np.flatnonzero(share == 0)
        if len(columns):
            raise ValueError(
                f"No value is observed in {len(columns)} of {len(self.offset)} columns "
                f"of X, counted from 0: {', '.join(map(str, columns[:10]))}. Leave "
                "them out."
            )

    def robust(self, X: Rows) -> "Moments":
        """Return the medians of ``X`` and deviations that values far out do not move.

        Medians do not add up over blocks, so they are those of some rows, evenly
        spaced. A column of which nine in ten values are equal has a deviation of 0. If
        all columns are such, the standard deviations stay.
        """
        rows = dense(evenly_spaced(X, QUANTILE_ROWS)).astype(np.float64)
        # A column of which none of these rows has a value keeps its mean.
        unknown = np.isnan(rows).all(axis=0)
        rows[:, unknown] = self.offset[unknown]
        medians = np.nanmedian(rows, axis=0)
        deviations = _deviations_of_most(rows - medians)
        deviations = deviations if deviations.any() else self.deviations
        return self._replace(offset=medians, deviations=deviations)

    @property
    def deviation(self) -> float:
        """Root mean squared deviation of all values from the means of their columns."""
        deviations = np.sqrt(self.observed_share) * self.deviations
        share = np.sum(np.broadcast_to(self.observed_share, deviations.shape))
        return float(norm(deviations, check_finite=False) / np.sqrt(share))

    @property
    def observed_share(self) -> Any:
        """The share of the values of each column that are observed; 1 if all are."""
        return 1.0 if self.n_observed is None else self.n_observed / self.n_samples

    @property
    def norm(self) -> float:
        """Norm of all deviations of values from the means of their columns."""
        share = np.broadcast_to(self.observed_share, self.deviations.shape).sum()
        return self.deviation * math.sqrt(self.n_samples * share)

    def joined_with(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of rows together.

        After T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise
        algorithm for computing sample variances", Stanford, 1979.
        """
        n_samples, n_observed = self.n_samples + other.n_samples, None
        share: Any = other.n_samples / n_samples
        if self.n_observed is not None or other.n_observed is not None:
            own = np.broadcast_to(self.observed_share, self.offset.shape)
            others = np.broadcast_to(other.observed_share, self.offset.shape)
            others = others * other.n_samples
            n_observed = own * self.n_samples + others
            share = others / n_observed
        apart = other.offset - self.offset
        within = np.hypot(
            np.sqrt(1 - share) * self.deviations, np.sqrt(share) * other.deviations
        )
        between = np.sqrt(share * (1 - share)) * np.abs(apart)
        joined = Moments(
            self.offset + share * apart,
            np.hypot(within, between),
            n_samples,
            n_observed,
        )
        if self.covariance is None or other.covariance is None:
            return joined
        unit = joined.deviation or 1.0
        covariance = (
            (1 - share) * (self.deviation / unit) ** 2 * self.covariance
            + share * (other.deviation / unit) ** 2 * other.covariance
            + share * (1 - share) * np.outer(apart / unit, apart / unit)
        )
        return joined._replace(covariance=covariance)


def _deviations_of_most(rows: np.ndarray) -> np.ndarray:
    """Return the standard deviations of normal data of which most lie as near to 0.

    Where no row has a value it is 0.
    """
    known = ~np.isnan(rows).all(axis=0)
    deviations = np.zeros(rows.shape[1])
    of_most = np.nanquantile(np.abs(rows[:, known]), MOST, axis=0)
    deviations[known] = of_most / DEVIATIONS_OF_MOST
    return deviations


def drawn_near(rows: np.ndarray) -> np.ndarray:
    """Return rows less their medians, with values far out drawn to where that begins.

    Nothing is far out that is not so in the mean column.
    """
    deviations = _deviations_of_most(rows)
    least = np.sqrt(np.square(deviations).mean())
    limits = FAR * np.maximum(deviations, least) if least > 0 else np.inf
    return np.clip(rows, -limits, limits)


def _column_sums(X: Rows, weights: np.ndarray | None) -> np.ndarray:
    if weights is not None:
        return weights @ dense(X).astype(np.float64, copy=False)
    return np.asarray(X.sum(axis=0, dtype=np.float64)).ravel()


def _observed_sums(X: Rows, weights: np.ndarray | None) -> np.ndarray:
    """Return the sum of each column's observed values, their weight, and their gaps.

    The weight of a value without one is 1.
    """
    X = dense(X)
    gaps = np.isnan(X)
    counted = np.where(gaps, 0, X), ~gaps
    sums = [sum_of_rows(values, weights) for values in counted]
    return np.array([*sums, gaps.sum(axis=0)])


def _products(
    offset: np.ndarray, unit: float, X: Rows, weights: np.ndarray | None
) -> np.ndarray:
    """Return the sums over rows of the products of columns, less their offset."""
    deviations = (dense(X) - offset) / unit
    if weights is not None:
        deviations *= np.sqrt(weights)[:, None]
    # The sums of several threads may be rounded in another way on each machine.
    with single_blas_thread():
        return deviations.T @ deviations


def explained_variance(X: Rows, parameters: Parameters) -> float:
    """Return 1 - squared errors over squared deviations from the column means."""
    n_components = parameters.b1.shape[0]
    # The norm's square may overflow.
    residual = reduced(
        X, partial(_error_norm, parameters), np.hypot, n_components, weighted=True
    )
    return explained_share(float(residual), Moments.of(X).norm)


def _error_norm(parameters: Parameters, X: Rows, weights: np.ndarray | None) -> Any:
    residual = parameters.reconstruct(X).astype(np.float64) - dense(X)
    if weights is not None:
        residual *= np.sqrt(weights)[:, None]
    error = norms(residual)
    return (
        norms(np.where(np.isnan(residual), 0, residual)) if np.isnan(error) else error
    )


def whitening_of(covariance: np.ndarray) -> np.ndarray:
    r"""Return the symmetric map that gives rows one variance along their strong axes.

    With the principal axes U of the rows and the variances v along them it is
    :math:`c U diag(1 / sqrt(v + floor)) U^T`. Of all maps that whiten, the symmetric
    one changes the rows least: a feature stays where it was, and a patch looks like a
    patch (A. J. Bell, T. J. Sejnowski, "The 'independent components' of natural scenes
    are edge filters", Vision Research 37, 1997).

    The floor keeps what is weak from counting as much as what is strong: noise, and
    axes along which too few rows vary. It is a share of the largest variance. So it
    goes with the units of the data, leaves alone what varies alike in all directions,
    and bounds the condition number of the map by sqrt(1 + 1 / share), 10, which float32
    and the way back need. On Ng's colour patches, in [0, 1], it is about the 0.1 that
    he adds.

    What is whitened has lost variance to the floor: 24 in 25 of patches of colours. The
    factor c gives features a mean variance of 1 again, so that beta and the weight
    decay mean what they mean for data that are scaled. Without it such patches gave
    less sparse codes than with no whitening.
    """
    with single_blas_thread():
        variances, axes = eigh(covariance)
    variances = np.maximum(variances, 0)
    if variances[-1] == 0:  # all rows are equal
        return np.eye(len(covariance))
    raised = variances + WHITENING_FLOOR * variances[-1]
    halves = axes * (raised * np.mean(variances / raised)) ** -0.25
    return halves @ halves.T


class Scaling(NamedTuple):
    """The affine map from the data as given to the units of the training."""

    offset: np.ndarray  # of shape (n_features,), float64
    scale: float
    # Whether the reconstruction can be shifted and scaled by the weights.
    linear_output: bool
    # Whether it can be scaled by the biases. The training then reconstructs the data
    # over ``scale``. With any other output that is 1.
    exponential_output: bool = False
    # What scaled rows are multiplied by: symmetric, (n_features, n_features).
    whitening: np.ndarray | None = None

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

        Without ``scale``, or where the output cannot be scaled, the scale is 1. With
        ``scale="whiten"`` the rows are whitened after that.
        """
        outputs = linear_output, exponential_output
        if not (scale and any(outputs)):
            return cls(moments.offset, 1.0, *outputs)
        # If all rows are equal, the scale is their largest absolute value.
        size = moments.deviation or float(np.abs(moments.offset).max()) or 1.0
        whitening = None
        if scale == "whiten":
            whitening = whitening_of(moments.covariance)
        return cls(moments.offset, size, *outputs, whitening)

    @property
    def scales_output(self) -> bool:
        """Whether the output can be scaled."""
        return self.linear_output or self.exponential_output

    @property
    def rounding(self) -> float:
        """Largest rounding error of a constant column, in the units of the training."""
        rounding = CONSTANT_COLUMN * float(np.abs(self.offset).max()) / self.scale
        if self.whitening is not None:
            # The largest sum of a row bounds what the map can lengthen a row by.
            rounding *= float(np.abs(self.whitening).sum(axis=0).max())
        return rounding

    def is_same(self, other: "Scaling") -> bool:
        """Return whether two scalings of one kind are the same."""
        same = self.scale == other.scale and bool((self.offset == other.offset).all())
        if self.whitening is None or other.whitening is None:
            return same
        return same and np.array_equal(self.whitening, other.whitening)

    def variances(self, moments: Moments) -> np.ndarray:
        """Return the variances of the columns in the units of the training."""
        if self.whitening is None:
            return np.square(moments.deviations / self.scale)
        unit = moments.deviation / self.scale
        product = moments.covariance @ self.whitening
        return unit**2 * np.einsum("ij,ij->j", self.whitening, product)

    def covariance(self, moments: Moments) -> np.ndarray:
        """Return the covariance of the columns in the units of the training."""
        covariance = (moments.deviation / self.scale) ** 2 * moments.covariance
        if self.whitening is None:
            return covariance
        with single_blas_thread():
            return self.whitening @ covariance @ self.whitening

    def spread(self, moments: Moments) -> float:
        """Return the root mean square of the norms of centred rows in these units."""
        if self.whitening is None:
            return moments.norm / math.sqrt(moments.n_samples) / self.scale
        return math.sqrt(self.variances(moments).sum())

    def of_differences(self, values: np.ndarray) -> np.ndarray:
        """Return differences of rows in the units of the training.

        ``values`` is overwritten.
        """
        values /= self.scale
        if self.whitening is None:
            return values
        return values @ self.whitening.astype(values.dtype, copy=False)

    @property
    def reconstruction_offset(self) -> np.ndarray:
        """Offset from the training's rows to the rows that the output reconstructs."""
        if self.linear_output:
            return np.zeros_like(self.offset)
        return self.offset / self.scale

    def standardize(self, X: Rows, out: np.ndarray | None = None) -> np.ndarray:
        """Write rows in these units to ``out``, in its dtype, or to a new array.

        They are (X - offset) / scale, times the whitening if there is one.
        """
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
        if self.whitening is not None:
            matrix = self.whitening.astype(out.dtype, copy=False)
            with single_blas_thread():  # as in _products
                for rows in row_chunks(out):
                    out[rows] = out[rows] @ matrix
        return out

    def seen(self, X: Rows) -> np.ndarray:
        """Return rows as the encoder reads them, in the units of the training."""
        return as_seen(self.standardize(X))

    def fold(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the weights of the same network on the data as given, in float64."""
        W1, b1, W2, b2 = (np.asarray(w, dtype=np.float64) for w in weights[:4])
        if self.whitening is not None:
            W1, decoder = self.whitening @ W1, self._unwhitened(np.vstack([W2, b2]))
            W2, b2 = decoder[:-1], decoder[-1]
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
        if self.whitening is not None:
            W1 = np.ascontiguousarray(self._unwhitened(W1.T).T)
            W2, b2 = W2 @ self.whitening, b2 @ self.whitening
        return [W1, b1, W2, b2]

    def _unwhitened(self, rows: np.ndarray) -> np.ndarray:
        """Return rows multiplied by the inverse of the whitening."""
        columns = solve(self.whitening, rows.T, assume_a="pos", check_finite=False)
        return np.ascontiguousarray(columns.T)


def _column_norms(
    offset: np.ndarray, X: Rows, weights: np.ndarray | None
) -> np.ndarray:
    """Return the norm of each column less its offset, even if squares overflow.

    The norms are exact relative to the largest value of all columns: the norm of a far
    smaller column may come out as 0.
    """
    deviations = dense(X) - offset
    if weights is not None:
        deviations *= np.sqrt(weights)[:, None]
    largest = np.abs(deviations).max()
    if np.isnan(largest):
        deviations = np.where(np.isnan(deviations), 0, deviations)
        largest = np.abs(deviations).max()
    if largest == 0:
        return np.zeros(X.shape[1])
    deviations = deviations / largest
    return largest * np.sqrt(np.einsum("ij,ij->j", deviations, deviations))
