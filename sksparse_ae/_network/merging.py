"""Equal rows as one row with a weight."""

from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse

from .blocks import is_held
from .weighting import WeightedRows

# Rows up to which equal ones are looked for.
MOST_MERGED = 1000


def n_repeated(X: Any) -> int:
    """Return the number of rows, each as often as its weight says."""
    return X.n_shares if isinstance(X, WeightedRows) else X.shape[0]


def merged(X: Any) -> Any:
    """Return few rows in an order of their own, equal ones once, with their weights.

    So rows with weights, and the same rows repeated, are the same data to the bit. Rows
    of which none is weighted or equal to another stay as they are.
    """
    is_weighted = isinstance(X, WeightedRows)
    rows = X.rows if is_weighted else X
    if n_repeated(X) > MOST_MERGED or not is_held(rows):
        return X
    weights = X.weights if is_weighted else np.ones(X.shape[0])
    first: dict[bytes, int] = {}
    weight_of: dict[bytes, float] = {}
    for number, (key, weight) in enumerate(zip(_keys(rows), weights, strict=True)):
        first.setdefault(key, number)
        weight_of[key] = weight_of.get(key, 0.0) + weight
    if len(first) == 1 or (not is_weighted and len(first) == X.shape[0]):
        return X
    keys = sorted(first)
    rows = rows[[first[key] for key in keys]]
    weights = np.array([weight_of[key] for key in keys])
    return rows if weights.min() == weights.max() else WeightedRows(rows, weights)


def _keys(rows: Any) -> list[bytes]:
    """Return bytes that are the same for equal rows alone."""
    if not sparse.issparse(rows):
        return [row.tobytes() for row in rows + 0.0]  # which turns -0.0 into 0.0
    parts = [slice(*ends) for ends in pairwise(rows.indptr)]
    return [rows.indices[p].tobytes() + rows.data[p].tobytes() for p in parts]
