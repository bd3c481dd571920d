"""Reading of rows as dense arrays, in small chunks."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from .blocks import Blocks, is_mapped
from .remote import RemoteRows
from .weighting import WeightedRows

# An ndarray, a CSR matrix, Blocks, RemoteRows, or WeightedRows of these: mypy knows no
# types of SciPy.
Rows: TypeAlias = Any

# A training holds data of at most this size as one float32 block, and streams larger
# data.
BLOCK_BYTES = 1 << 28

# Number of values in the widest array of a chunk, 8 MB in float64. Much smaller chunks
# stay in the cache, but their products lose more by threads that wait for each other.
CHUNK_VALUES = 1 << 20


def unweighted(X: Rows) -> Rows:
    """Return the rows without their weights."""
    return X.rows if isinstance(X, WeightedRows) else X


def weights_of(X: Rows) -> np.ndarray | None:
    """Return the weights of the rows, if they have any."""
    return X.weights if isinstance(X, WeightedRows) else None


def total_weight(X: Rows) -> float:
    """Return the sum of the weights: without any, the number of rows."""
    return X.total if isinstance(X, WeightedRows) else X.shape[0]


def dense(X: Rows) -> np.ndarray:
    """Return ``X`` as an array."""
    X = unweighted(X)
    return X.toarray() if sparse.issparse(X) or isinstance(X, RemoteRows) else X


def fetched(X: Rows) -> Rows:
    """Return rows of which there are few, here if they lie elsewhere."""
    return X.toarray() if isinstance(X, RemoteRows) else X


def is_streamed(X: Rows) -> bool:
    """Return whether the rows are read from files, and more than a training holds."""
    X = unweighted(X)
    if 4 * X.shape[0] * X.shape[1] <= BLOCK_BYTES:
        return False
    if isinstance(X, Blocks):
        return not X.is_in_memory
    return isinstance(X, RemoteRows) or is_mapped(X)


def part(X: Rows, start: int, stop: int) -> Rows:
    """Return a range of rows, without reading those of Blocks."""
    if isinstance(X, WeightedRows):
        return WeightedRows(part(X.rows, start, stop), X.weights[start:stop])
    return X.part(start, stop) if isinstance(X, Blocks) else X[start:stop]


def reduced(
    X: Rows,
    of_rows: Callable[..., Any],
    joined: Callable[[Any, Any], Any],
    n_columns: int = 0,
    *,
    weighted: bool = False,
) -> Any:
    """Return what ``of_rows`` finds in all rows, joined from chunk to chunk.

    It takes some rows, and if asked for their weights, an array or None. The chunks
    leave room for temporaries of ``n_columns``. Rows that lie elsewhere are read there,
    so ``of_rows`` and ``joined`` must be what pickle can send.
    """
    if isinstance(unweighted(X), RemoteRows):
        of_block = functools.partial(
            reduced,
            of_rows=of_rows,
            joined=joined,
            n_columns=n_columns,
            weighted=weighted,
        )
        return unweighted(X).reduced(of_block, joined)

    def of_chunk(rows: Rows) -> Any:
        weights = (weights_of(rows),) if weighted else ()
        return of_rows(unweighted(rows), *weights)

    chunks = row_chunks(X, n_columns)
    return functools.reduce(joined, (of_chunk(X[rows]) for rows in chunks))


def sum_of_rows(values: np.ndarray, weights: np.ndarray | None) -> Any:
    """Return the weighted sum of values of rows, the first axis, in float64."""
    if weights is None:
        return values.sum(axis=0, dtype=np.float64)
    return weights @ values.astype(np.float64, copy=False)


def stored(X: Rows) -> np.ndarray:
    """Return the values that ``X`` holds; zeros of CSR rows are left out."""
    return X.data if sparse.issparse(X) else X


def missing(X: Rows) -> np.ndarray:
    """Return which of the values that ``X`` holds are NaN, in their shape."""
    return np.isnan(stored(X))


def as_seen(X: Rows, means: np.ndarray | float = 0.0) -> Rows:
    """Return rows as the encoder reads them.

    A missing value is the mean of its column. The others of its row are farther from
    their means by the number of all columns over that of the observed ones. So the
    input of a unit is as large, on average, as that of a complete row. Without that,
    the gaps of 30 % of the digits' pixels are filled with an error of .76 of the
    spread, with it of .74; masks of 30 % (``corruption``) leave units a mean of .095
    for a rho of .05 on complete rows, with it of .059, and a score of .80 beside .825.
    """
    if not missing(X).any():
        return X
    X = dense(X).copy()
    gaps = np.isnan(X)
    rows = gaps.any(axis=1)
    gaps, n_columns = gaps[rows], X.shape[1]
    factor = n_columns / np.maximum(n_columns - gaps.sum(axis=1, keepdims=True), 1)
    X[rows] = means + np.where(gaps, 0, factor * (X[rows] - means))
    return X


def extent(X: Rows) -> tuple[float, float]:
    """Return the least and the largest value, of which those not stored are 0."""
    return reduced(X, _extent, _joined_extents)


def _extent(X: Rows) -> tuple[float, float]:
    values = stored(X)
    least, largest = (
        float(values.min(initial=np.inf)),
        float(values.max(initial=-np.inf)),
    )
    if np.isnan(least):
        values = values[~np.isnan(values)]
        least = float(values.min(initial=np.inf))
        largest = float(values.max(initial=-np.inf))
    if values.size < X.shape[0] * X.shape[1]:
        return min(least, 0.0), max(largest, 0.0)
    return least, largest


def _joined_extents(
    one: tuple[float, float], other: tuple[float, float]
) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])


def largest_magnitude(X: Rows) -> float:
    """Return the largest absolute value."""
    least, largest = extent(X)
    return max(-least, largest)


def evenly_spaced(X: Rows, n_rows: int) -> Rows:
    """Return about ``n_rows`` rows, evenly spaced, or twice as many at most.

    Of rows with weights they are as many of equal shares of the weight. So they have
    none, and a row may stand there more than once.
    """
    if isinstance(X, WeightedRows):
        shares = range(0, X.n_shares, max(X.n_shares // n_rows, 1))
        return fetched(X.of_shares(shares))
    return fetched(X[:: max(X.shape[0] // n_rows, 1)])


def at_most(X: Rows, n_rows: int) -> Rows:
    """Return all rows if these are few, or so many of them at most, evenly spaced."""
    if X.shape[0] <= n_rows:
        return X
    if isinstance(X, WeightedRows):
        return X.of_shares(range(0, X.n_shares, -(-X.n_shares // n_rows)))
    return X[:: -(-X.shape[0] // n_rows)]


def batches(n_rows: int, n_chunk: int) -> Iterator[slice]:
    """Yield slices of ``n_chunk`` rows, without the validation of gen_batches."""
    for start in range(0, n_rows, n_chunk):
        yield slice(start, min(start + n_chunk, n_rows))


def dense_chunks(
    X: Rows, rows: np.ndarray, buffer: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield rows of ``X``, given by their numbers, as small dense arrays.

    ``buffer`` may be an array for all rows. They are then written to it and yielded as
    views, if ``X`` allows that without another array.
    """
    X = unweighted(X)
    takes = (
        buffer is not None
        and isinstance(X, np.ndarray)
        and X.dtype == buffer.dtype
        and X.flags.c_contiguous
        and X.flags.aligned
    )
    for part in batches(len(rows), max(CHUNK_VALUES // X.shape[1], 1)):
        if takes and buffer is not None:
            # With mode="raise" NumPy would write to a copy of the part first.
            yield np.take(X, rows[part], axis=0, out=buffer[part], mode="clip")
        else:
            yield dense(X[rows[part]])


def row_chunks(X: Rows, n_columns: int = 0) -> Iterator[slice]:
    """Return slices of rows that leave room for dense temporaries of their shape."""
    width = max(X.shape[1], n_columns, 1)
    if sparse.issparse(unweighted(X)):
        width *= 2  # each chunk is copied twice: sparse, then dense
    return batches(X.shape[0], max(CHUNK_VALUES // width, 1))
