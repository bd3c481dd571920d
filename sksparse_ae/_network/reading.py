"""How rows are read: as dense arrays, in chunks that are small."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

# An ndarray or a CSR matrix; of what it imports from SciPy mypy knows no types.
Rows: TypeAlias = Any

# Rows that a training holds as one float32 block; data beyond that stream through.
BLOCK_BYTES = 1 << 28

# Values of one chunk's widest array: 8 MB in float64. In much smaller chunks the
# threads of a product wait for each other more than they gain by what stays in cache.
CHUNK_VALUES = 1 << 20


def dense(X: Rows) -> np.ndarray:
    """Return ``X`` as an array."""
    return X.toarray() if sparse.issparse(X) else X


def is_streamed(X: Rows) -> bool:
    """Say whether ``X`` is a memory map, or a view of one, of more than one block."""
    if 4 * X.shape[0] * X.shape[1] <= BLOCK_BYTES:
        return False
    while X is not None and not isinstance(X, np.memmap):
        X = getattr(X, "base", None)
    return X is not None


def batches(n_rows: int, n_chunk: int) -> Iterator[slice]:
    """Yield slices of ``n_chunk`` rows; gen_batches, which validates, takes longer."""
    for start in range(0, n_rows, n_chunk):
        yield slice(start, min(start + n_chunk, n_rows))


def dense_chunks(X: Rows, rows: Any, buffer: Any = None) -> Iterator[np.ndarray]:
    """Yield the rows of ``X``, a slice or their numbers, as small dense arrays.

    With a buffer for all of them, rows that are taken by numbers are yielded as parts
    of it where that needs no other array.
    """
    by_number = not isinstance(rows, slice)
    first, n_rows = (
        (0, len(rows)) if by_number else (rows.start, rows.stop - rows.start)
    )
    takes = (
        by_number
        and buffer is not None
        and not sparse.issparse(X)
        and X.dtype == buffer.dtype
        and X.flags.c_contiguous
        and X.flags.aligned
    )
    for part in batches(n_rows, max(CHUNK_VALUES // X.shape[1], 1)):
        if takes:
            # In the mode that raises errors, NumPy would fill a copy of the part first.
            yield np.take(X, rows[part], axis=0, out=buffer[part], mode="clip")
        elif by_number:
            yield dense(X[rows[part]])
        else:
            yield dense(X[first + part.start : first + part.stop])


def row_chunks(X: Rows, n_columns: int = 0) -> Iterator[slice]:
    """Return slices of rows, small enough for dense temporaries of their shape."""
    width = max(X.shape[1], n_columns, 1)
    if sparse.issparse(X):
        width *= 2  # a chunk is copied twice, as it is and as an array
    return batches(X.shape[0], max(CHUNK_VALUES // width, 1))
