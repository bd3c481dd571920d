"""Statistics and states of the units of a fitted network on data."""

import copy
from functools import partial
from typing import Any

import numpy as np

from .._objective.activations import mean_to_rho_hat
from .._objective.objective import Objective
from .._objective.penalties import kl_divergence
from .autoencoder import Parameters
from .reading import Rows, reduced, sum_of_rows
from .statistics import norms

# The states of units, in the order in which every table and message lists them.
STATES = ("active", "dead", "saturated", "collapsed")

# A unit has collapsed if its standard deviation is below this share of that of a
# perfect on/off code, sqrt(rho (1 - rho)).
NEGLIGIBLE_SPREAD = 0.05


class UnitStatistics:
    """Sums over rows of the activations of each unit, measured on [0, 1].

    Those of codes that are selected have no upper end, and are taken as they are. What
    rho is compared with is then the share of rows on which a unit is on.
    """

    def __init__(
        self,
        codes: np.ndarray,
        objective: Objective,
        weights: np.ndarray | None = None,
    ) -> None:
        codes, penalty = codes.astype(np.float64), objective.penalty
        self._is_selected = objective.selection is not None
        compared = penalty.statistic(penalty.per_row(codes, np), objective.activation)
        codes = mean_to_rho_hat(codes, objective.activation.unit_range)
        # The sum of their weights, which is their number if they have none.
        self.n_samples: float = len(codes) if weights is None else weights.sum()
        self._n_rows: float = len(codes)
        used = codes if weights is None else codes[weights > 0]
        extremes = used.min(axis=0, initial=np.inf), used.max(axis=0, initial=-np.inf)
        sums = sum_of_rows(compared, weights), sum_of_rows(np.abs(codes), weights)
        squares = sum_of_rows(np.square(codes, out=codes), weights)
        # Sums of what rho is compared with, of absolute values, which on [0, 1] are the
        # values, and of squares; least and largest values.
        self.table = np.array([*sums, squares, *extremes])

    def joined_with(self, other: "UnitStatistics") -> "UnitStatistics":
        """Return the statistics of both sets of rows together."""
        joined = copy.copy(self)
        joined.table = self.table.copy()
        joined.take_in(other.table, other.n_samples, share=1)
        joined._n_rows = self._n_rows + other._n_rows
        return joined

    def take_in(self, table: np.ndarray, n_samples: float, share: float) -> None:
        """Add the ``table`` of other statistics, with a share of their samples."""
        self.n_samples += share * n_samples
        self.table[:3] += share * table[:3]
        np.minimum(self.table[3], table[3], out=self.table[3])
        np.maximum(self.table[4], table[4], out=self.table[4])

    @property
    def rho_hat(self) -> np.ndarray:
        """Mean activation, or share of the rows on which a unit is on."""
        return self.table[0] / self.n_samples

    @property
    def std(self) -> np.ndarray:
        """Standard deviation over the samples."""
        mean, mean_square = self.table[1:3] / self.n_samples
        least, largest = self.table[3:]
        variance = mean_square - mean**2
        # Of a constant the difference is rounding alone, whose root is not small. What
        # has overflowed stays so, and is told of.
        variance[(least == largest) & np.isfinite(variance)] = 0
        return np.sqrt(np.maximum(variance, 0))

    @property
    def sparseness(self) -> np.ndarray:
        """Hoyer's lifetime sparseness."""
        # It goes by a number of rows: weights below 1 on average count as shares of it.
        factor = max(self._n_rows / self.n_samples, 1.0)
        absolute, square = factor * self.table[1:3]
        return hoyer_sparseness(absolute, square, factor * self.n_samples)

    def states(self, rho: float) -> np.ndarray:
        """Return the state of each unit, one of ``STATES``."""
        least, largest = self.table[3:]
        if self._is_selected:
            dead, always_on = largest == 0, self.rho_hat > (1 + rho) / 2
            return np.select([dead, always_on], STATES[1:3], STATES[0])
        constant = self.std < NEGLIGIBLE_SPREAD * np.sqrt(rho * (1 - rho))
        at_rho = np.abs(self.rho_hat - rho) <= 0.5 * rho
        dead, saturated = largest < rho, least > 0.5
        # A unit that is constant just below rho has collapsed to it, not died.
        elsewhere = ~(constant & at_rho)
        found = [dead & elsewhere, saturated & elsewhere, constant]
        return np.select(found, STATES[1:], STATES[0])


def unit_table(
    X: Rows, parameters: Parameters, objective: Objective, rho: float
) -> Any:
    """Return the table that ``SparseAutoencoderTransformer.unit_report`` documents."""
    n_units = parameters.b1.shape[0]
    of_rows = partial(_statistics, parameters, objective)
    joined = UnitStatistics.joined_with
    statistics = reduced(X, of_rows, joined, n_units, weighted=True)
    columns = {
        "rho_hat": statistics.rho_hat,
        "std": statistics.std,
        "kl": kl_divergence(rho, statistics.rho_hat, np),
        "maximum": statistics.table[-1],
        "sparseness": statistics.sparseness,
        "encoder_norm": norms(parameters.W1, axis=0),
        "decoder_norm": norms(parameters.W2, axis=1),
    }
    if not all(np.isfinite(column).all() for column in columns.values()):
        raise ValueError(
            "The squared activations overflow float64: the values of X are too large. "
            "Scale X as the training data were scaled."
        )
    columns["state"] = statistics.states(rho)
    try:
        import pandas as pd
    except ImportError:
        table = np.empty(n_units, dtype=[(k, v.dtype) for k, v in columns.items()])
        for name, values in columns.items():
            table[name] = values
        return table
    return pd.DataFrame(columns)


def _statistics(
    parameters: Parameters, objective: Objective, X: Rows, weights: np.ndarray | None
) -> UnitStatistics:
    return UnitStatistics(parameters.encode(X), objective, weights)


def hoyer_sparseness(
    absolute: np.ndarray, square: np.ndarray, n_samples: float
) -> np.ndarray:
    """Return Hoyer's sparseness from sums of absolute values and of squares.

    For activations a over n samples it is (sqrt(n) - ||a||_1 / ||a||_2) / (sqrt(n) - 1)
    (P. O. Hoyer, JMLR 5, 2004). Units that are never active have 0. So has a single
    sample, for which the sparseness is not defined.
    """
    if n_samples == 1:
        return np.zeros_like(square)
    norm = np.sqrt(square)
    ratio = np.divide(
        absolute, norm, out=np.full_like(norm, np.sqrt(n_samples)), where=norm > 0
    )
    return (np.sqrt(n_samples) - ratio) / (np.sqrt(n_samples) - 1)
