"""Training rows as tensors, standardized, in memory that is bounded."""

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from .._network import reading
from .._network.coordinates import Coordinates
from .._network.reading import Rows
from .._network.scaling import Scaling
from . import chunking
from .chunking import Chunking, padded_rows


class Chunk(NamedTuple):
    """Rows that one call of a compiled epoch takes; all but a number are tensors."""

    data: Any  # (chunk_rows, n_features), padded
    n_rows: int  # in use
    weights: Any = None  # (chunk_rows,), if rows have any
    inputs: Any = None  # what the encoder reads, if that is not the data


class Corruption(NamedTuple):
    """What is done to the values that the encoder reads in training."""

    share: float  # of them
    kind: str  # "mask" for NaN, a missing value, "swap" for that of another row

    def of(self, data: np.ndarray, n_rows: int, rng: np.random.Generator) -> np.ndarray:
        """Return the first rows of standardized data with a share of values replaced.

        Those that are to take their place are of the same rows, at random.
        """
        # A random byte or two for each value cost a sixth of a uniform number.
        drawn = rng.integers(0, 1 << 16, (n_rows, data.shape[1]), dtype=np.uint16)
        replaced = drawn < self.share * (1 << 16)
        inputs = data.copy()
        if self.kind == "mask":
            inputs[:n_rows][replaced] = np.nan
        else:
            _, columns = places = np.nonzero(replaced)
            inputs[places] = data[rng.integers(0, n_rows, len(columns)), columns]
        return inputs


class EpochStream:
    """Training rows as float32 tensors, in the order in which an epoch takes them.

    They come in chunks of rows in this order, from which the compiled program slices
    its batches. To gather the rows there, element by element, took a fifth of a step of
    64 -> 25 units.

    Rows that are taken in several epochs are held standardized where they are at most
    ``reading.BLOCK_BYTES``. Others are standardized anew for each chunk: in an order
    shuffled over all rows, or, from a memory map, in contiguous runs in random order
    that are read one at a time and shuffled within.

    ``rng`` gives the order of the rows; without ``shuffle`` it is theirs. ``n_epochs``
    is how often the rows are to be taken, at most. Weights of rows come in the same
    order, with a mean of 1. A ``corruption`` is drawn anew in each epoch.
    """

    def __init__(
        self,
        X: Rows,
        scaling: Scaling,
        coordinates: Coordinates,
        batch_size: int,
        rng: np.random.RandomState,
        n_epochs: int,
        corruption: Corruption | None = None,
        *,
        shuffle: bool = True,
    ) -> None:
        self._corruption, self._noise = corruption, rng
        weights = reading.weights_of(X)
        self._weights = None
        if weights is not None:
            self._weights = (weights / weights.mean()).astype(np.float32)
        X = reading.unweighted(X)
        self._X, self._scaling, self._coordinates = X, scaling, coordinates
        self._rng = rng if shuffle else None
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

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks of one epoch."""
        if self._corruption is None:
            yield from self._clean()
            return
        # Another thread draws the order of the rows while the chunks are taken.
        rng = np.random.default_rng(self._noise.randint(1 << 31))
        for chunk in self._clean():
            inputs = self._corruption.of(chunk.data.numpy(), chunk.n_rows, rng)
            yield chunk._replace(inputs=tf.constant(inputs))

    def _clean(self) -> Iterator[Chunk]:
        if self._block is not None:
            # To gather these chunks ahead as well took no less time, and made it vary.
            for _, _, numbers in self._parts():
                padded = np.zeros(self.chunk_rows, dtype=np.int32)
                padded[: len(numbers)] = numbers
                data = tf.gather(self._block, padded)
                yield Chunk(data, len(numbers), self._weights_of(numbers))
            return
        chunks = self._standardized_chunks()
        if self._X.shape[0] > self.chunk_rows:
            chunks = _one_ahead(chunks)
        for chunk, numbers in chunks:
            data = tf.constant(chunk)  # a copy
            yield Chunk(data, len(numbers), self._weights_of(numbers))

    def _weights_of(self, numbers: np.ndarray) -> Any:
        """Return the weights of a chunk of rows, given by their numbers."""
        if self._weights is None:
            return None
        weights = np.zeros(self.chunk_rows, np.float32)
        weights[: len(numbers)] = self._weights[numbers]
        return tf.constant(weights)

    def _parts(self) -> Iterator[tuple[Rows, np.ndarray, np.ndarray]]:
        """Yield, for each chunk of an epoch, what to take rows of, and which.

        The numbers are those in what is taken from, and those in all rows.
        """
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
                taken = order[rows]
                is_run = source is not self._X
                yield source, taken, start + taken if is_run else taken

    def _standardized_chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the chunks of an epoch, and the numbers of their rows.

        The arrays of the chunks are overwritten after the next one.

        All but the first are filled in a thread of ``_one_ahead``. The C library keeps
        the memory that this thread allocates and frees, for other threads: 300 MB of a
        long training if each chunk is a new one. So there are two, allocated with the
        first.
        """
        shape = self.chunk_rows, self._n_axes
        chunks = itertools.cycle([np.empty(shape, np.float32) for _ in range(2)])
        for (source, taken, numbers), chunk in zip(self._parts(), chunks, strict=False):
            at, buffer = 0, chunk if self._coordinates.axes is None else None
            with np.errstate(all="ignore"):  # which a thread does not inherit
                for X in reading.dense_chunks(source, taken, buffer):
                    self._write(X, chunk[at : at + len(X)])
                    at += len(X)
            chunk[at:] = 0
            yield chunk, numbers

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

    The weights add up to 1 over all rows; those of padding are 0.
    """
    (n_rows, n_features), scaling = X.shape, how.problem.scaling
    offset = tf.constant(scaling.reconstruction_offset, X.dtype)
    data = np.empty((how.chunk_rows, n_features), X.dtype)
    row_weights = np.full(how.chunk_rows, 1 / how.total_weight, X.dtype)
    for rows in reading.batches(n_rows, how.chunk_rows):
        n_used = rows.stop - rows.start
        with np.errstate(all="ignore"):  # which a thread does not inherit
            chunk = X[rows]
            scaling.standardize(chunk, out=data[:n_used])
        weights = reading.weights_of(chunk)
        if weights is not None:
            row_weights[:n_used] = weights / how.total_weight
        data[n_used:] = row_weights[n_used:] = 0
        yield tf.constant(data), offset, tf.constant(row_weights)  # copies
