"""Training rows as tensors, standardized, in memory that is bounded."""

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from .._network import reading
from .._network.coordinates import Coordinates
from .._network.reading import Rows
from .._network.scaling import Scaling
from . import chunking
from .chunking import Chunking, padded_rows


class EpochStream:
    """Training rows as float32 tensors, in the order in which an epoch takes them.

    They come in chunks of rows in this order, from which the compiled program slices
    its batches. To gather the rows there, element by element, took a fifth of a step of
    64 -> 25 units.

    Rows that are taken in several epochs are held standardized where they are at most
    ``reading.BLOCK_BYTES``. Others are standardized anew for each chunk: in an order
    shuffled over all rows, or, from a memory map, in contiguous runs in random order
    that are read one at a time and shuffled within.

    ``rng`` gives the order of the rows; None keeps theirs. ``n_epochs`` is how often
    the rows are to be taken, at most.
    """

    def __init__(
        self,
        X: Rows,
        scaling: Scaling,
        coordinates: Coordinates,
        batch_size: int,
        rng: np.random.RandomState | None,
        n_epochs: int,
    ) -> None:
        self._X, self._scaling, self._coordinates = X, scaling, coordinates
        self._rng = rng
        n_rows, n_columns = X.shape
        self._n_axes = n_features = coordinates.n_axes(n_columns)
        if coordinates.axes is not None:
            self._axes = coordinates.axes.astype(np.float32)

        def rows_of(n_bytes: int, itemsize: int = 4) -> int:
            batches = max(n_bytes // (itemsize * n_features * batch_size), 1)
            return batches * batch_size

        whole = math.ceil(padded_rows(n_rows) / batch_size) * batch_size
        # A batch of a stream may be larger than a call's rows, which then are padded.
        enough = max(padded_rows(n_rows), chunking.CHUNK_BYTES // (4 * n_features))
        # The rows of every chunk: a multiple of the batch size, or less than a batch.
        self.chunk_rows = min(rows_of(chunking.CHUNK_BYTES), whole, enough)
        self._block, self._run, self._run_rows = None, None, n_rows
        if reading.is_streamed(X):
            self._run_rows = rows_of(reading.BLOCK_BYTES, X.dtype.itemsize)
            self._run = np.empty((self._run_rows, n_columns), X.dtype)
        elif n_epochs > 1 and 4 * n_rows * n_features <= reading.BLOCK_BYTES:
            self._block = self._standardized_block()

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        """Yield the chunks of one epoch, each with the number of its rows in use."""
        if self._block is not None:
            # To gather these chunks ahead as well took no less time, and made it vary.
            for _, numbers in self._parts():
                padded = np.zeros(self.chunk_rows, dtype=np.int32)
                padded[: len(numbers)] = numbers
                yield tf.gather(self._block, padded), len(numbers)
            return
        chunks = self._standardized_chunks()
        if self._X.shape[0] > self.chunk_rows:
            chunks = _one_ahead(chunks)
        for chunk, n_rows in chunks:
            yield tf.constant(chunk), n_rows  # a copy

    def _parts(self) -> Iterator[tuple[Rows, np.ndarray]]:
        """Yield, for each chunk of an epoch, the rows to take and their numbers."""
        n_rows = self._X.shape[0]
        starts = np.arange(0, n_rows, self._run_rows)
        if self._rng is not None:
            self._rng.shuffle(starts)
        for start in starts:
            n_run = min(self._run_rows, n_rows - start)
            source = self._X
            if self._run is not None:
                source = self._run[:n_run]
                for rows in reading.row_chunks(source):
                    part = slice(start + rows.start, start + rows.stop)
                    source[rows] = self._X[part]
            order = np.arange(n_run)
            if self._rng is not None:
                order = self._rng.permutation(n_run)
            for rows in reading.batches(n_run, self.chunk_rows):
                yield source, order[rows]

    def _standardized_chunks(self) -> Iterator[tuple[np.ndarray, int]]:
        """Yield the chunks of an epoch as arrays that are overwritten after the next.

        All but the first are filled in a thread of ``_one_ahead``. The C library keeps
        the memory that this thread allocates and frees, for other threads: 300 MB of a
        long training if each chunk is a new one. So there are two, allocated with the
        first.
        """
        shape = self.chunk_rows, self._n_axes
        chunks = itertools.cycle([np.empty(shape, np.float32) for _ in range(2)])
        for (source, numbers), chunk in zip(self._parts(), chunks, strict=False):
            at, buffer = 0, chunk if self._coordinates.axes is None else None
            with np.errstate(all="ignore"):  # which a thread does not inherit
                for X in reading.dense_chunks(source, numbers, buffer):
                    self._write(X, chunk[at : at + len(X)])
                    at += len(X)
            chunk[at:] = 0
            yield chunk, at

    def _write(self, X: np.ndarray, out: np.ndarray) -> None:
        """Write rows, standardized and in the coordinates of the training."""
        if self._coordinates.axes is None:
            self._scaling.standardize(X, out=out)
        else:
            standardized = np.empty(X.shape, dtype=np.float32)
            self._scaling.standardize(X, out=standardized)
            np.matmul(standardized, self._axes, out=out)

    def _standardized_block(self) -> Any:
        """Return all rows as a variable, filled without another copy of them."""
        # A tensor would need the array beside it.
        n_rows, n_columns = self._X.shape
        block = tf.Variable(tf.zeros([n_rows, self._n_axes]))
        n_chunk = max(reading.CHUNK_VALUES // n_columns, 1)
        for rows in reading.batches(n_rows, n_chunk):
            values = np.empty([rows.stop - rows.start, self._n_axes], dtype=np.float32)
            self._write(reading.dense(self._X[rows]), values)
            # This assigns in place. Python's assignment to a slice would first read the
            # whole block into a copy.
            tf.raw_ops.ResourceStridedSliceAssign(
                ref=block.handle,
                begin=[rows.start],
                end=[rows.stop],
                strides=[1],
                value=values,
            )
        return block


def _one_ahead(items: Iterator[Any]) -> Iterator[Any]:
    """Yield what an iterator yields, while a thread makes each item but the first."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        item = next(items, end)
        while item is not end:
            upcoming = thread.submit(next, items, end)
            yield item
            try:
                item = upcoming.result()
            finally:
                del upcoming  # an error of its own would keep it, and X with it


class ChunkedRows:
    """All training rows in order, as tensors of one shape, for evaluations of them all.

    Up to ``reading.BLOCK_BYTES`` of standardized rows are held. More are read and
    standardized anew for each pass. The tensors have the dtype of ``X``.
    """

    def __init__(self, X: Rows, how: Chunking) -> None:
        self._X, self._how = X, how
        is_held = X.dtype.itemsize * math.prod(X.shape) <= reading.BLOCK_BYTES
        self._chunks = list(read_chunks(X, how)) if is_held else None

    def __len__(self) -> int:
        """Return the number of chunks."""
        return math.ceil(self._X.shape[0] / self._how.chunk_rows)

    def __iter__(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield the chunks as ``read_chunks`` does."""
        if self._chunks is not None:
            return iter(self._chunks)
        return _one_ahead(read_chunks(self._X, self._how))


def read_chunks(X: Rows, how: Chunking) -> Iterator[tuple[Any, Any, Any]]:
    """Yield chunks of rows, the offset to what they reconstruct, and their weights.

    The weight of a row is 1 / n_rows, or 0 for padding.
    """
    (n_rows, n_features), scaling = X.shape, how.problem.scaling
    offset = tf.constant(scaling.reconstruction_offset, X.dtype)
    data = np.empty((how.chunk_rows, n_features), X.dtype)
    row_weights = np.full(how.chunk_rows, 1 / how.n_rows, X.dtype)
    for rows in reading.batches(n_rows, how.chunk_rows):
        n_used = rows.stop - rows.start
        with np.errstate(all="ignore"):  # which a thread does not inherit
            scaling.standardize(X[rows], out=data[:n_used])
        data[n_used:] = row_weights[n_used:] = 0
        yield tf.constant(data), offset, tf.constant(row_weights)  # copies
