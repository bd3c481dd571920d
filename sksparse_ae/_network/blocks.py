"""Rows that lie in many blocks: files, arrays and frames, numbered through."""

import copy
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import joblib
import numpy as np
from scipy import sparse

from .weighting import WeightedRows


def is_blocks(X: Any) -> bool:
    """Return whether ``X`` is a sequence of blocks, and not one array or a table.

    A list of rows, each a list or a vector, is an array to scikit-learn.
    """
    if isinstance(X, Blocks):
        return True
    if isinstance(X, str | bytes) or hasattr(X, "shape") or hasattr(X, "__array__"):
        return False
    if not isinstance(X, Sequence) or not len(X):
        return False
    return is_path(X[0]) or len(getattr(X[0], "shape", ())) == 2


def is_path(block: Any) -> bool:
    """Return whether a block is named by the path of its file."""
    return isinstance(block, str | os.PathLike)


def opened(block: Any) -> Any:
    """Return a block as an array, a memory map of its file, or a CSR matrix."""
    if is_path(block):
        return np.load(block, mmap_mode="r", allow_pickle=False)
    if isinstance(block, WeightedRows):
        return WeightedRows(opened(block.rows), opened(block.weights))
    if sparse.issparse(block):
        block = block.tocsr()
        if not block.has_canonical_format:
            block = block.copy()
            block.sum_duplicates()
        return block
    if hasattr(block, "sparse"):  # a frame of sparse columns alone
        return block.sparse.to_coo().tocsr()
    return np.asarray(block)


class Blocks:
    """The rows of many blocks.

    To code that reads rows it is an array: a slice of rows, or their numbers, give an
    array or a CSR matrix of its dtype. ``part`` gives a range of rows without reading
    it. Wherever rows are read, their block is asked of the sequence; only the latest
    block is held.
    """

    ndim = 2

    def __init__(
        self,
        source: Sequence[Any],
        lengths: Iterable[int],
        n_columns: int,
        dtype: np.dtype,
    ) -> None:
        self._source, self._n_columns, self.dtype = source, n_columns, dtype
        # The number of the first row of each block, and of the row after the last one.
        self._starts = np.cumsum([0, *lengths])
        self._first, self._stop = 0, int(self._starts[-1])
        self._latest: tuple[int, Any] = -1, None

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self._stop - self._first, self._n_columns

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def is_in_memory(self) -> bool:
        """Whether every block is an array or a matrix that is held anyway."""
        return isinstance(self._source, list | tuple) and not any(
            is_path(block) or is_mapped(block) for block in self._source
        )

    def part(self, start: int, stop: int) -> "Blocks":
        """Return a range of rows, none of which is read."""
        part = copy.copy(self)
        part._first, part._stop = self._first + start, self._first + stop
        return part

    def content(self) -> list[str]:
        """Return what the blocks hold as hashes, which other processes find too."""
        hashes = [
            joblib.hash(opened(block), coerce_mmap=True) for block in self._source
        ]
        return [*hashes, str(self._first), str(self._stop)]

    def __getitem__(self, rows: Any) -> Any:
        """Return a slice of rows, or rows by their numbers."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._range(self._first + start, self._first + stop)
            rows = np.arange(start, stop, step)
        return self._numbered(self._first + np.asarray(rows))

    def _range(self, start: int, stop: int) -> Any:
        return self._joined(
            [
                self._rows(number, slice(max(start - first, 0), stop - first))
                for number, (first, end) in enumerate(pairwise(self._starts))
                if first < stop and end > start
            ]
        )

    def _numbered(self, rows: np.ndarray) -> Any:
        # Block by block, and then back to the order asked for.
        blocks = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(blocks, kind="stable")
        pieces = [
            self._rows(number, rows[blocks == number] - self._starts[number])
            for number in np.unique(blocks)
        ]
        return self._joined(pieces)[np.argsort(order)]

    def _rows(self, number: int, rows: Any) -> Any:
        latest = self._latest
        if latest[0] != number:
            latest = self._latest = number, opened(self._source[number])
        return latest[1][rows].astype(self.dtype, copy=False)

    def _joined(self, pieces: list[Any]) -> Any:
        if not pieces:
            return np.empty((0, self._n_columns), self.dtype)
        if len(pieces) == 1:
            return pieces[0]
        if sparse.issparse(pieces[0]):
            return sparse.vstack(pieces, format="csr")
        return np.concatenate(pieces)


def is_held(X: Any) -> bool:
    """Return whether rows are an array or a matrix in memory."""
    return sparse.issparse(X) or (isinstance(X, np.ndarray) and not is_mapped(X))


def is_mapped(array: Any) -> bool:
    """Return whether an array is a memory map, or a view of one."""
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None
