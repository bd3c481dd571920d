"""The coordinates in which "adam" trains: the principal axes of the data."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from scipy.linalg import eigh

from .._objective.activations import ACTIVATIONS
from .reading import Rows
from .scaling import Scaling

# Most features, or rows where there are fewer of them, whose axes are found: those of
# 784 take 0.2 s, those of 1024 half a second.
MOST_AXES = 1024

# Most rows that are so few beside the features that to train along their axes takes a
# fraction of the time: to find those of 2048 takes 3 s.
MOST_FEW_ROWS, FEW_ROWS = 2048, 1 / 4

# Rows that the axes are found from: so many, or four for each feature if that is more.
AXES_ROWS = 2000

# Along axes with less than this share of the largest variance the data do not vary.
NEGLIGIBLE_VARIANCE = 1e-9


class Coordinates(NamedTuple):
    """A map of the weights, in the units of the training, to what an optimizer moves.

    Adam gives every coordinate of a weight a step of its own. Where features vary
    together, a step of all of them adds up: fifty thermometers in one room move a unit
    fifty times as far as one. Along the principal axes of the data nothing adds up, and
    weak directions, which a common step size leaves behind, keep pace. A rotation
    leaves the squared errors and the squared weights, and so Ng's objective, as they
    are; it needs a linear output.

    The decoder's weights are measured in ``spread``: a direction in which the data
    reach farther is covered in as many steps.

    Attributes
    ----------
    axes : ndarray of shape (n_features, n_axes) or None
        Orthonormal columns; None for the features themselves.
    spread : ndarray of shape (n_axes,) or None
        Unit of each coordinate of the output; None for 1.
    low : float
        Lower end of the interval of the activation. The decoder reads codes above it: a
        tanh unit that is off then adds nothing to the output, as a sigmoid unit does.
    n_unreached : int
        Number of the first axes, along which the data do not vary.
    """

    axes: np.ndarray | None
    spread: np.ndarray | None
    low: float
    n_unreached: int = 0

    @classmethod
    def of_features(cls, activation: str) -> Self:
        """Return those in which a coordinate is a feature."""
        return cls(None, None, float(ACTIVATIONS[activation].unit_range[0]))

    @classmethod
    def along_axes(
        cls, X: Rows, scaling: Scaling, activation: str, *, may_drop: bool
    ) -> Self:
        """Return those along the principal axes, or of features if there are too many.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_samples, n_features)
            The data as given.
        scaling : Scaling
            With a linear output.
        activation : str
        may_drop : bool
            Whether axes along which ``X`` does not vary may be left out: the weights
            along them are 0 where the objective is lowest.
        """
        plain = cls.of_features(activation)
        n_samples, n_features = X.shape
        if n_features <= MOST_AXES:
            rows = _standardized(X, scaling, max(AXES_ROWS, 4 * n_features))
            products = rows.T @ rows / len(rows)
            may_drop = may_drop and len(rows) == n_samples
        elif may_drop and n_samples <= max(
            MOST_AXES, min(FEW_ROWS * n_features, MOST_FEW_ROWS)
        ):
            rows = _standardized(X, scaling, n_samples)
            products = rows @ rows.T / n_samples
        else:
            return plain
        if not np.isfinite(products).all():
            return plain
        variances, axes = eigh(products)
        least = max(NEGLIGIBLE_VARIANCE * variances[-1], scaling.rounding**2)
        reached = variances > least
        if not reached.any():
            return plain
        if may_drop:
            variances, axes = variances[reached], axes[:, reached]
            reached = reached[reached]
        if len(axes) != n_features:  # of the rows, not of the features
            axes = rows.T @ (axes / np.sqrt(n_samples * variances))
        spread = np.sqrt(np.maximum(variances, 1.0))
        n_unreached = int((~reached).sum())
        return cls(np.ascontiguousarray(axes), spread, plain.low, n_unreached)

    def restricted(self, weights: list[np.ndarray]) -> list[np.ndarray]:
        """Return weights without what is along axes that no row reaches.

        A training starts there at 0, where the objective is lowest, and stays there as
        long as no row has anything to say.
        """
        if self.axes is None or not self.n_unreached:
            return weights
        W1, b1, W2, b2 = weights
        axes = self.axes[:, : self.n_unreached]
        return [W1 - axes @ (axes.T @ W1), b1, W2 - (W2 @ axes) @ axes.T, b2]

    def n_axes(self, n_features: int) -> int:
        """Return how many coordinates rows of so many features have."""
        return n_features if self.axes is None else self.axes.shape[1]

    def enter(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return W1, b1, W2, b2 in these coordinates, in float64."""
        W1, b1, W2, b2 = (np.asarray(w, dtype=np.float64) for w in weights)
        b2 = b2 + self.low * W2.sum(axis=0)
        if self.axes is not None:
            W1 = self.axes.T @ W1
            W2, b2 = W2 @ self.axes / self.spread, b2 @ self.axes / self.spread
        return [W1, b1, W2, b2]

    def leave(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Undo ``enter``."""
        W1, b1, W2, b2 = (np.asarray(w, dtype=np.float64) for w in weights)
        if self.axes is not None:
            W1 = self.axes @ W1
            # The spread comes with the axes.
            W2 = (W2 * self.spread) @ self.axes.T  # type: ignore[operator]
            b2 = (b2 * self.spread) @ self.axes.T  # type: ignore[operator]
        return [W1, b1, W2, b2 - self.low * W2.sum(axis=0)]


def _standardized(X: Rows, scaling: Scaling, n_rows: int) -> np.ndarray:
    """Return at most about ``n_rows`` standardized rows of ``X``, evenly spaced."""
    X = X[:: max(X.shape[0] // n_rows, 1)]
    return scaling.standardize(X, out=np.empty(X.shape))
