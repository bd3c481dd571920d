"""Rows of which each has a weight."""

from typing import Any

import numpy as np

# Weights that are no whole numbers stand for at least so many equal shares of them all.
LEAST_SHARES = 1000


class WeightedRows:
    """Rows of any kind, each with a weight of at least 0.

    A slice of rows, or their numbers, give WeightedRows again. ``reading`` has the
    functions that tell rows and weights apart.
    """

    ndim = 2

    def __init__(self, rows: Any, weights: np.ndarray) -> None:
        self.rows, self.weights = rows, weights

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self.rows.shape

    @property
    def dtype(self) -> np.dtype:
        """That of the rows."""
        return self.rows.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> "WeightedRows":
        return WeightedRows(self.rows[rows], self.weights[rows])

    def astype(self, dtype: Any, copy: bool = False) -> "WeightedRows":
        """Return it with the rows in a dtype."""
        return WeightedRows(self.rows.astype(dtype, copy=copy), self.weights)

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return float(self.weights.sum())

    @property
    def n_shares(self) -> int:
        """Number of equal shares of the total that a sample is drawn from.

        A weight that is a whole number stands for as many rows, so it is that of the
        rows that stand there.
        """
        total = self.total
        if total < 2**53 and (self.weights == np.floor(self.weights)).all():
            return int(total)
        return max(len(self), LEAST_SHARES)

    def of_shares(self, numbers: Any) -> Any:
        """Return the rows that shares, given by their numbers, belong to."""
        ends = np.cumsum(self.weights)
        middles = (np.asarray(numbers) + 0.5) * (ends[-1] / self.n_shares)
        last = np.flatnonzero(self.weights)[-1]
        return self.rows[np.minimum(np.searchsorted(ends, middles, "right"), last)]
