"""Sums over rows that are read in chunks of one shape; imports no TensorFlow."""

from typing import NamedTuple, Self

import numpy as np

from .._network.problem import Problem
from .._network.reading import Rows, total_weight, unweighted
from .._network.remote import RemoteRows
from .startup import starting_tensorflow

# Rows that one call of a compiled program takes. Data of more than this share one
# compiled shape, and what a call needs beside them does not grow with the data.
# Evaluations of all rows of 64 features are slower in chunks of fewer than 10^4 rows:
# 1.4 times in chunks of 5000. At 784 features they are as fast. A step of 784 -> 196
# took a twentieth longer with half of this size, and as long with twice as much.
CHUNK_BYTES = 1 << 24


class Chunking(NamedTuple):
    """How the rows of a problem are read: what processes agree on."""

    problem: Problem  # its architecture has the dtype of the rows
    chunk_rows: int
    total_weight: float  # of all rows: their number, unless they have weights
    compiled: bool

    @classmethod
    def of(cls, X: Rows, problem: Problem, max_iter: int) -> Self:
        """Return it for evaluations of all rows; ``max_iter`` says about how many."""
        (n_rows, n_features), rows = X.shape, unweighted(X)
        lengths = rows.lengths if isinstance(rows, RemoteRows) else [n_rows]
        row_bytes = X.dtype.itemsize * n_features
        chunk_rows = min(padded_rows(max(lengths)), max(CHUNK_BYTES // row_bytes, 1))
        n_chunks = sum(-(-length // chunk_rows) for length in lengths)
        n_values = min(n_rows, chunk_rows) * (
            n_features + problem.architecture.n_components
        )
        architecture = problem.architecture._replace(dtype=X.dtype.name)
        compiled = worth_compiling(max_iter * n_chunks, n_values)
        return cls(
            problem._replace(architecture=architecture),
            chunk_rows,
            total_weight(X),
            compiled,
        )


def block_sums(chunking: Chunking, vector: np.ndarray, rows: Rows) -> np.ndarray:
    """Return what the rows of a block add to the objective and its gradient.

    One thread computes it, which gives the same sums on every machine of a kind, and
    leaves the other cores to other blocks.
    """
    with starting_tensorflow(to_train=True, n_threads=1):
        from .full_batch import program_of
        from .streams import read_chunks

    return program_of(chunking).sums(chunking, read_chunks(rows, chunking), vector)


def worth_compiling(n_calls: float, n_values: int) -> bool:
    """Say whether XLA saves more time over all calls of a graph than it takes.

    It takes one or two seconds to compile, and leaves 6 MB in the process. A call then
    takes 0.15 ms less, and 20 ns less for each of ``n_values``, the outputs of both
    layers for the rows of one call. One fit need gain a quarter of a second only: in
    folds and searches it has others of its shape. The answer must not depend on what is
    compiled already, or results would differ in the last digit with the history of the
    process.

    ``n_calls`` counts the steps or evaluations that the training may take.
    """
    return n_calls * (0.15e-3 + 20e-9 * n_values) >= 0.25


def padded_rows(n_rows: int) -> int:
    """Round a row count up, so that near counts share one compiled shape.

    Eight sizes to every doubling: at most an eighth of the rows is padding.
    """
    step = 1 << max(n_rows.bit_length() - 4, 0)
    return -(-n_rows // step) * step
