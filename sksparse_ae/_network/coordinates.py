"""The coordinates that weights are moved in: principal axes, or the space of rows."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from scipy.linalg import eigh, qr

from .._objective.activations import ACTIVATIONS
from .._objective.losses import Loss
from .._utils.threads import single_blas_thread
from .reading import Rows, evenly_spaced, total_weight, weights_of
from .scaling import Scaling
from .statistics import norms

# The axes are computed for at most so many features, or rows if these are fewer. It
# takes 0.2 s for 784 and 0.5 s for 1024.
MOST_AXES = 1024

# So many rows, if they number at most a quarter of the features, are trained on in the
# space that they span: that takes a fraction of the time. The axes of 2048 rows take
# 3 s.
MOST_FEW_ROWS, FEW_ROWS = 2048, 1 / 4

# The axes are computed from this many rows, or from four per feature if that is more.
AXES_ROWS = 2000

# The data do not vary along axes with less than this share of the largest variance.
NEGLIGIBLE_VARIANCE = 1e-9


class Coordinates(NamedTuple):
    """A map from weights in the units of the training to what the optimizer moves.

    Adam gives every weight a step of its own. Where features vary together, such steps
    add up: fifty thermometers in one room move a unit fifty times as far as one does.
    Along the principal axes of the data nothing adds up, and weak directions, which a
    common step size leaves behind, keep pace. A rotation changes neither the squared
    errors nor the squared weights, and so leaves Ng's objective as it is. It needs a
    linear output, and a loss that ``is_rotation_invariant``.
    """

    axes: np.ndarray | None  # orthonormal columns; None for the features themselves
    # Unit of each coordinate of the output; None for 1. The decoder's weights are
    # measured in it, so that directions in which the data reach farther take no more
    # steps.
    spread: np.ndarray | None
    # Lower end of the interval of the activation. In these coordinates the decoder
    # reads the codes minus ``low``, so that a tanh unit that is off adds nothing to the
    # output, like a sigmoid unit.
    low: float
    n_unreached: int = 0  # the data do not vary along so many of the first axes
    # Share of a step that the encoder's weights take along each coordinate; None for
    # whole steps.
    encoder_share: np.ndarray | None = None

    @classmethod
    def of_features(cls, activation: str) -> Self:
        """Return the coordinates that are the features themselves."""
        return cls(None, None, float(ACTIVATIONS[activation].unit_range[0]))

    @classmethod
    def along_axes(
        cls,
        X: Rows,
        scaling: Scaling,
        activation: str,
        *,
        may_drop: bool,
        covariance: np.ndarray | None = None,
    ) -> Self:
        """Return the principal axes, or the features if there are too many of them.

        The output must be linear, and the loss one that a rotation leaves as it is.
        ``may_drop`` says whether axes along which ``X`` does not vary may be left out.
        The weights along them are 0 at the minimum of the objective. A ``covariance``,
        as the training sees it, is that of more rows than ``X``.
        """
        plain = cls.of_features(activation)
        n_samples, n_features = X.shape
        if covariance is not None and n_features <= MOST_AXES:
            products = covariance
        elif n_features <= MOST_AXES:
            n_rows = rows_for_axes(n_features)
            # As many as ``evenly_spaced`` takes all of.
            are_all = n_samples < 2 * n_rows
            rows = _scattered(X if are_all else evenly_spaced(X, n_rows), scaling)
            products = rows.T @ rows / len(rows)
            may_drop = may_drop and are_all
        elif may_drop and n_samples <= max(
            MOST_AXES, min(FEW_ROWS * n_features, MOST_FEW_ROWS)
        ):
            rows = _scattered(X, scaling)
            products = rows @ rows.T / n_samples
        else:
            return plain
        if not np.isfinite(products).all():
            return plain
        with single_blas_thread():
            variances, axes = eigh(products)
        least = max(NEGLIGIBLE_VARIANCE * variances[-1], scaling.rounding**2)
        reached = variances > least
        if not reached.any():
            return plain
        if may_drop:
            variances, axes = variances[reached], axes[:, reached]
            reached = reached[reached]
        if len(axes) != n_features:  # axes of the space of rows: map them to features
            axes = rows.T @ (axes / np.sqrt(n_samples * variances))
        spread = np.sqrt(np.maximum(variances, 1.0))
        n_unreached = int((~reached).sum())
        return cls(np.ascontiguousarray(axes), spread, plain.low, n_unreached)

    @classmethod
    def of_few_rows(cls, X: Rows, scaling: Scaling) -> tuple[Self, np.ndarray]:
        """Return an orthonormal basis of the space that the rows span, and the rows.

        These are in the units of the training and as long as their number. Weights that
        are orthogonal to all rows are 0 at the minimum of the objective, and are left
        out. L-BFGS takes the same steps in every such basis.
        """
        rows = scaling.standardize(X)
        with single_blas_thread():
            axes, triangle = qr(
                rows.T, mode="economic", overwrite_a=True, check_finite=False
            )
        return cls(axes, np.ones(len(rows)), 0.0), np.ascontiguousarray(triangle.T)

    def for_gradients(self, rows: np.ndarray) -> Self:
        """Return coordinates for steps along the gradient.

        ``rows`` are some of the data, as the training sees them. Along a coordinate the
        gradient of the encoder grows with the spread of the rows, and the curvature
        with its square. So the coordinate in which they vary most would set the step
        for all. Steps are therefore divided by the variance, as if each coordinate had
        its standard deviation for a unit.
        """
        rows = self.turned(rows)
        share = 1 / np.maximum(np.square(rows).mean(axis=0), 1.0)
        spread = None if self.axes is None else np.ones(self.axes.shape[1])
        return self._replace(spread=spread, encoder_share=share)

    def turned(self, rows: np.ndarray) -> np.ndarray:
        """Return rows, as the training sees them, in these coordinates."""
        return rows if self.axes is None else rows @ self.axes

    def restricted(self, weights: list[np.ndarray]) -> list[np.ndarray]:
        """Return weights whose parts along unreached axes are 0.

        The objective is lowest there, so that a training stays at 0 along these axes
        until rows reach them.
        """
        if self.axes is None or not self.n_unreached:
            return weights
        W1, b1, W2, b2 = weights
        axes = self.axes[:, : self.n_unreached]
        return [W1 - axes @ (axes.T @ W1), b1, W2 - (W2 @ axes) @ axes.T, b2]

    def n_axes(self, n_features: int) -> int:
        """Return the number of coordinates of rows with ``n_features`` features."""
        return n_features if self.axes is None else self.axes.shape[1]

    def enter(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return W1, b1, W2, b2 in these coordinates and in the kernel layout."""
        W1, b1, W2, b2 = (np.asarray(w, dtype=np.float64) for w in weights)
        b2 = b2 + self.low * W2.sum(axis=0)
        if self.axes is not None:
            W1 = self.axes.T @ W1
            W2, b2 = W2 @ self.axes / self.spread, b2 @ self.axes / self.spread
        return in_kernel_layout([W1, b1, W2, b2])

    def leave(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Undo ``enter``."""
        W1, b1, W2, b2 = (
            np.asarray(w, dtype=np.float64) for w in in_kernel_layout(weights)
        )
        if self.axes is not None and self.spread is not None:
            W1 = self.axes @ W1
            W2, b2 = (W2 * self.spread) @ self.axes.T, (b2 * self.spread) @ self.axes.T
        return [W1, b1, W2, b2 - self.low * W2.sum(axis=0)]

    def turned_gradients(
        self, gradients: Sequence[np.ndarray], earlier: "Coordinates"
    ) -> list[np.ndarray]:
        """Return gradients by the weights of ``earlier`` by those of these coordinates.

        Both are in the kernel layout; both coordinates are axes, in the same units.
        """
        W1, b1, W2, b2 = gradients
        turn, stretch = self._turned_from(earlier)
        return [W1 @ turn, b1, W2 @ stretch, b2 @ stretch]

    def turned_squares(
        self, squares: Sequence[np.ndarray], earlier: "Coordinates"
    ) -> list[np.ndarray]:
        """Return mean squares of gradients, as ``turned_gradients`` does gradients.

        Mean products of two gradients, which nobody keeps, count as 0.
        """
        W1, b1, W2, b2 = squares
        turn, stretch = map(np.square, self._turned_from(earlier))
        return [W1 @ turn, b1, W2 @ stretch, b2 @ stretch]

    def _turned_from(self, earlier: "Coordinates") -> tuple[np.ndarray, np.ndarray]:
        """Return what gradients of the encoder and of the decoder are multiplied by."""
        own, given = (
            [np.asarray(array, dtype=np.float64) for array in (c.axes, c.spread)]
            for c in (self, earlier)
        )
        turn = given[0].T @ own[0]
        return turn, turn * own[1] / given[1][:, None]


def with_unit_rows(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the same network of relu units with decoder rows of norm one.

    Rows of 0, which have no direction, stay as they are.
    """
    W1, b1, W2, b2 = weights
    lengths = norms(W2, axis=1)
    lengths[lengths == 0] = 1.0
    return [W1 * lengths, b1 * lengths, W2 / lengths[:, None], b2]


def may_turn(loss: Loss, *, linear_output: bool) -> bool:
    """Return whether a rotation leaves the objective as it is."""
    return linear_output and loss.is_rotation_invariant


def rows_for_axes(n_features: int) -> int:
    """Return the number of rows that the axes of so many features are computed from."""
    return max(AXES_ROWS, 4 * n_features)


def are_few_rows(X: Rows) -> bool:
    """Return whether the rows are so few that the space they span is worth using."""
    n_rows, n_features = X.shape
    return n_rows <= min(FEW_ROWS * n_features, MOST_FEW_ROWS)


def _scattered(X: Rows, scaling: Scaling) -> np.ndarray:
    """Return rows as the training sees them, longer where they have more weight.

    Their mean product with themselves is the covariance of the data.
    """
    rows, weights = scaling.standardize(X), weights_of(X)
    if weights is not None:
        rows *= np.sqrt(weights * (len(rows) / total_weight(X)))[:, None]
    return rows


def in_kernel_layout(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return W1, b1, W2, b2 with W1 transposed, as programs hold it, or the reverse."""
    W1, *other_arrays = weights
    return [np.ascontiguousarray(np.swapaxes(W1, -1, -2)), *other_arrays]
