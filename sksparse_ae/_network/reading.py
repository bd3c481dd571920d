"""Reading of rows as dense arrays, in small chunks."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from .blocks import Blocks, is_mapped
from .remote import RemoteRows

# An ndarray, a CSR matrix, Blocks or RemoteRows: mypy knows no types of SciPy.
Rows: TypeAlias = Any

# A training holds data of at most this size as one float32 block, and streams larger
# data.
BLOCK_BYTES = 1 << 28

# Number of values in the widest array of a chunk, 8 MB in float64. Much smaller chunks
# stay in the cache, but their products lose more by threads that wait for each other.
CHUNK_VALUES = 1 << 20


def dense(X: Rows) -> np.ndarray:
    """Return ``X`` as an array."""
    return X.toarray() if sparse.issparse(X) or isinstance(X, RemoteRows) else X


def fetched(X: Rows) -> Rows:
    """Return rows of which there are few, here if they lie elsewhere."""
    return X.toarray() if isinstance(X, RemoteRows) else X


def is_streamed(X: Rows) -> bool:
    """Return whether the rows are read from files, and more than a training holds."""
    if 4 * X.shape[0] * X.shape[1] <= BLOCK_BYTES:
        return False
    if isinstance(X, Blocks):
        return not X.is_in_memory
    return isinstance(X, RemoteRows) or is_mapped(X)


def part(X: Rows, start: int, stop: int) -> Rows:
    """Return a range of rows, without reading those of Blocks."""
    return X.part(start, stop) if isinstance(X, Blocks) else X[start:stop]


def reduced(
    X: Rows,
    of_rows: Callable[[Any], Any],
    joined: Callable[[Any, Any], Any],
    n_columns: int = 0,
) -> Any:
    """Return what ``of_rows`` finds in all rows, joined from chunk to chunk.

    The chunks leave room for temporaries of ``n_columns``. Rows that lie elsewhere are
    read there, so ``of_rows`` and ``joined`` must be what pickle can send.
    """
    if isinstance(X, RemoteRows):
        of_block = functools.partial(
            reduced, of_rows=of_rows, joined=joined, n_columns=n_columns
        )
        return X.reduced(of_block, joined)
    chunks = row_chunks(X, n_columns)
    return functools.reduce(joined, (of_rows(X[rows]) for rows in chunks))


def stored(X: Rows) -> np.ndarray:
    """Return the values that ``X`` holds; zeros of CSR rows are left out."""
    return X.data if sparse.issparse(X) else X


def extent(X: Rows) -> tuple[float, float]:
    """Return the least and the largest value, of which those not stored are 0."""
    return reduced(X, _extent, _joined_extents)


def _extent(X: Rows) -> tuple[float, float]:
    values = stored(X)
    least, largest = (
        float(values.min(initial=np.inf)),
        float(values.max(initial=-np.inf)),
    )
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
    """Return about ``n_rows`` rows, evenly spaced, or twice as many at most."""
    return fetched(X[:: max(X.shape[0] // n_rows, 1)])


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
    if sparse.issparse(X):
        width *= 2  # each chunk is copied twice: sparse, then dense
    return batches(X.shape[0], max(CHUNK_VALUES // width, 1))
