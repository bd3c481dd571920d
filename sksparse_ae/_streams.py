"""Training rows as tensors, standardized, in memory that is bounded."""

import math

import numpy as np
import tensorflow as tf
from sklearn.utils import gen_batches

from . import _forward
from ._network import padded_rows

# Rows that one call of a compiled program takes. Data of more than this share one
# compiled shape, and what a call needs beside them does not grow with the data.
# Evaluations of all rows are slower by chunks below 10^4 rows of 64 features (of 5000:
# 1.4 times), and as fast at 784 features. With half of it a step of 784 -> 196 took a
# twentieth longer, with twice as much as long.
CHUNK_BYTES = 1 << 24


class BlockStream:
    """Training rows as float32 tensors, in the order in which an epoch takes them.

    The rows are held standardized in blocks of at most ``_forward.BLOCK_BYTES``. One
    block stays where it is between epochs. Several are read anew each time: in an
    order shuffled over all rows, or, from a memory map, as contiguous runs in random
    order whose rows are shuffled within.

    A block is handed out in chunks, so that the compiled program slices its batches
    from rows that lie in order: gathering them there, element by element, took a
    fifth of a step of 64 -> 25 units.

    Attributes
    ----------
    chunk_rows : int
        Rows of every chunk, a multiple of the batch size.
    """

    def __init__(self, X, scaling, batch_size, shuffle, rng):
        self._X, self._scaling = X, scaling
        self._shuffle, self._rng = shuffle, rng
        n_rows, n_features = X.shape

        def rows_of(n_bytes):
            batches = max(n_bytes // (4 * n_features * batch_size), 1)
            return batches * batch_size

        self._block_rows = min(rows_of(_forward.BLOCK_BYTES), n_rows)
        whole = math.ceil(padded_rows(n_rows) / batch_size) * batch_size
        self.chunk_rows = min(rows_of(CHUNK_BYTES), whole)
        # A variable is filled in place; a tensor would need the array beside it.
        self._block = tf.Variable(tf.zeros((self._block_rows, n_features)))
        if self._block_rows == n_rows:
            self._fill(slice(0, n_rows))

    def __iter__(self):
        """Yield the chunks of one epoch, each with the number of its rows in use."""
        n_rows = self._X.shape[0]
        if self._block_rows == n_rows:
            yield from self._chunks(n_rows, self._shuffle)
            return
        starts = np.arange(0, n_rows, self._block_rows)
        contiguous = not self._shuffle or _forward.is_streamed(self._X)
        if self._shuffle and contiguous:
            self._rng.shuffle(starts)
        elif self._shuffle:
            order = self._rng.permutation(n_rows)
        for start in starts:
            rows = slice(start, min(start + self._block_rows, n_rows))
            self._fill(rows if contiguous else order[rows])
            yield from self._chunks(
                rows.stop - rows.start, self._shuffle and contiguous
            )

    def _fill(self, rows):
        """Standardize rows of the data, a slice or their numbers, into the block."""
        at = 0
        for X in _forward.dense_chunks(self._X, rows):
            standardized = np.empty(X.shape, dtype=np.float32)
            self._scaling.standardize(X, out=standardized)
            # In place: an assignment to a slice, as Python writes it, reads the whole
            # block before, into a copy.
            tf.raw_ops.ResourceStridedSliceAssign(
                ref=self._block.handle,
                begin=[at],
                end=[at + len(X)],
                strides=[1],
                value=standardized,
            )
            at += len(X)

    def _chunks(self, n_rows, shuffle):
        order = self._rng.permutation(n_rows) if shuffle else np.arange(n_rows)
        for rows in gen_batches(n_rows, self.chunk_rows):
            numbers = np.zeros(self.chunk_rows, dtype=np.int32)
            n_used = rows.stop - rows.start
            numbers[:n_used] = order[rows]
            yield tf.gather(self._block, numbers), n_used


class ChunkedRows:
    """All training rows in order, as tensors of one shape, for evaluations of them all.

    Up to ``_forward.BLOCK_BYTES`` of standardized rows are held. More are read and
    standardized anew for each pass.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The data as given; its dtype is that of the tensors.
    scaling : Scaling

    Attributes
    ----------
    chunk_rows : int
        Rows of every chunk.
    """

    def __init__(self, X, scaling):
        self._X, self._scaling = X, scaling
        n_rows, n_features = X.shape
        row_bytes = X.dtype.itemsize * n_features
        self.chunk_rows = min(padded_rows(n_rows), max(CHUNK_BYTES // row_bytes, 1))
        is_held = row_bytes * n_rows <= _forward.BLOCK_BYTES
        self._chunks = list(self._read()) if is_held else None

    def __len__(self):
        """Return the number of chunks."""
        return math.ceil(self._X.shape[0] / self.chunk_rows)

    def __iter__(self):
        """Yield each chunk and its rows' weights: 1 / n_samples, or 0 for padding."""
        return iter(self._chunks or self._read())

    def _read(self):
        n_rows, n_features = self._X.shape
        for rows in gen_batches(n_rows, self.chunk_rows):
            n_used = rows.stop - rows.start
            data = np.zeros((self.chunk_rows, n_features), self._X.dtype)
            self._scaling.standardize(self._X[rows], out=data[:n_used])
            row_weights = np.zeros(self.chunk_rows, self._X.dtype)
            row_weights[:n_used] = 1 / n_rows
            yield tf.constant(data), tf.constant(row_weights)
