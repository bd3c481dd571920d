"""Thresholds that give the codes of a fitted network their share of active units."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .._objective.selections import SELECTIONS
from .autoencoder import Parameters
from .kept import Threshold
from .problem import Problem
from .reading import Rows, evenly_spaced, reduced, total_weight

# Rows, evenly spaced, that tell about where the thresholds lie. A pass over all rows
# then looks at the activations near these alone.
SAMPLE_ROWS = 5000

# How far from the share that is wanted that of the sample may be, in standard
# deviations of as many independent rows.
MARGIN = 4.0


def on_rows(
    weights: Sequence[np.ndarray], problem: Problem, X: Rows, n_rows: int = SAMPLE_ROWS
) -> Parameters:
    """Return weights of a training as a network on the data as given.

    If its codes need thresholds, these are those of about so many of the rows.
    """
    parameters, (architecture, coefficients, _) = problem.folded(weights), problem
    if not _lacks_threshold(parameters, architecture.sparsity):
        return parameters
    sample = evenly_spaced(X, n_rows)
    with np.errstate(all="ignore"):
        return completed(parameters, sample, architecture.sparsity, coefficients.rho)


def completed(parameters: Parameters, X: Rows, sparsity: str, rho: float) -> Parameters:
    """Return the network with the thresholds of rows, if it needs some and has none."""
    if not _lacks_threshold(parameters, sparsity):
        return parameters
    found = thresholds(X, parameters, sparsity, rho)
    return parameters._replace(kept=Threshold(found))


def _lacks_threshold(parameters: Parameters, sparsity: str) -> bool:
    return sparsity in SELECTIONS and parameters.kept is None


def thresholds(
    X: Rows, parameters: Parameters, sparsity: str, rho: float
) -> np.ndarray:
    """Return the value that so many activations of rows reach as are to stay.

    The share of the activations that are as large, of all rows by their weights, is the
    one that the selection wants, or the least above it that there is. The value is in
    the middle between the last activation that stays and the first that does not, so
    that rounding in other products changes no code; it is 0 if not so many are above
    0. The array has no axis, or one of units for a selection of each.
    """
    selection, n_units = SELECTIONS[sparsity], len(parameters.b1)
    share = float(selection.wanted_share(rho, n_units, np))
    wanted = share * total_weight(X) * (1 if selection.is_per_unit else n_units)
    find = partial(_find, parameters._replace(kept=None), selection.is_per_unit)
    if X.shape[0] <= SAMPLE_ROWS:
        found = find(X, *_everything(selection.is_per_unit, n_units))
        return found.between(wanted, 0.0)[0].astype(parameters.b1.dtype)
    sample = evenly_spaced(X, SAMPLE_ROWS)
    of_sample = find(sample, *_everything(selection.is_per_unit, n_units))
    n_seen = sample.shape[0]
    n_wanted = share * n_seen * (1 if selection.is_per_unit else n_units)
    margin = MARGIN / np.sqrt(min(n_wanted, n_seen))
    while True:
        low, enough = of_sample.between(n_wanted * (1 + margin), 0.0)
        high, _ = of_sample.between(n_wanted * max(1 - margin, 0.0), 0.0)
        if margin >= 1:
            high[...] = np.inf
        low[~enough] = 0.0
        result, enough = find(X, low, high).between(wanted, low)
        if (enough | (low == 0)).all() and (result <= high).all():
            return result.astype(parameters.b1.dtype)
        margin *= 4


def _everything(per_unit: bool, n_units: int) -> tuple[np.ndarray, np.ndarray]:
    low = np.zeros(n_units if per_unit else ())
    return low, np.full_like(low, np.inf)


class _Found(NamedTuple):
    """Activations within intervals, one for all units or one for each."""

    above: np.ndarray  # weight of the activations above each interval
    # Of chunks of rows: the activations within, their weights and their units.
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]

    def between(self, wanted: float, low: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return values that activations of so much weight reach, and the others not.

        ``low`` is where the intervals begin. With them comes whether the intervals hold
        both; the value is 0 where there is not as much, and infinite where more than
        that is above the interval.
        """
        values, weights, units = (
            np.concatenate(arrays) for arrays in zip(*self.parts, strict=True)
        )
        above = np.atleast_1d(self.above)
        if len(above) == 1:
            matter = _largest(values, weights, wanted)
            values, weights, units = values[matter], weights[matter], units[matter]
        order = np.lexsort((-values, units))
        values, weights, units = values[order], weights[order], units[order]
        lows = np.broadcast_to(low, above.shape)
        ends = np.searchsorted(units, np.arange(len(above) + 1))
        result, enough = np.zeros(len(above)), np.zeros(len(above), bool)
        # Weights that are added up are rounded.
        wanted *= 1 - 1e-12
        for number, (start, stop) in enumerate(itertools.pairwise(ends)):
            if above[number] >= wanted > 0:
                result[number], enough[number] = np.inf, True
                continue
            reached = above[number] + np.cumsum(weights[start:stop])
            place = int(np.searchsorted(reached, wanted))
            if place < stop - start:
                last = values[start + place]
                following = values[start:stop][values[start:stop] < last]
                first = following[0] if len(following) else 0.0
                result[number] = 0.5 * last + 0.5 * first
                enough[number] = len(following) > 0 or lows[number] == 0
        shape = self.above.shape
        return result.reshape(shape), enough.reshape(shape)


def _largest(values: np.ndarray, weights: np.ndarray, wanted: float) -> np.ndarray:
    """Return the places of the largest values of so much weight, and of the next.

    These alone are sorted: all activations of 2000 rows and 4096 units took four
    seconds instead of 0.2.
    """
    least = weights.min(initial=np.inf)
    if not wanted < least * (len(values) - 2):
        return np.arange(len(values))
    place = len(values) - 2 - int(wanted / least)
    last = np.partition(values, place)[place]
    matters = values >= last
    following = np.max(values, where=~matters, initial=-np.inf)
    return np.flatnonzero(matters | (values == following))


def _find(
    parameters: Parameters, per_unit: bool, X: Rows, low: np.ndarray, high: np.ndarray
) -> _Found:
    of_rows = partial(_found_in, parameters, per_unit, low, high)
    return reduced(X, of_rows, _joined, len(parameters.b1), weighted=True)


def _found_in(
    parameters: Parameters,
    per_unit: bool,
    low: np.ndarray,
    high: np.ndarray,
    X: Rows,
    weights: np.ndarray | None,
) -> _Found:
    codes = parameters.encode(X)
    weights = np.ones(len(codes)) if weights is None else weights
    codes, weights = codes[weights > 0], weights[weights > 0]
    above = weights @ (codes > high)
    rows, units = np.nonzero((codes > 0) & (codes >= low) & (codes <= high))
    values = codes[rows, units]
    if not per_unit:
        above, units = above.sum(), np.zeros_like(units)
    return _Found(np.asarray(above), [(values, weights[rows], units)])


def _joined(one: _Found, other: _Found) -> _Found:
    return _Found(one.above + other.above, one.parts + other.parts)
