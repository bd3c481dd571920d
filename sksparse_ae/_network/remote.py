"""Rows in blocks that stay where they are: functions go to them, and sums come back."""

import abc
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import joblib
import numpy as np
from scipy import sparse

from .blocks import Blocks, opened
from .weighting import WeightedRows

# What finds something in the rows of a block, and what joins two such findings.
Finding = Callable[[Any], Any]
Joining = Callable[[Any, Any], Any]


class RemoteBlocks(abc.ABC):
    """Blocks of rows that lie elsewhere, such as on the workers of a cluster.

    :class:`~sksparse_ae.SparseAutoencoderTransformer` takes them as `X` in `fit`,
    `score`, `evaluate_objective` and `unit_report`. A subclass says how many blocks
    there are, and calls functions on them; the :ref:`user guide <remote_blocks>` has
    one for Ray and one for Spark.

    A block is what a list of blocks may hold: an array, a CSR matrix, a frame, or the
    path of a .npy file.

    See Also
    --------
    sksparse_ae.dask.DaskSparseAutoencoderTransformer : Rows on a Dask cluster.

    Examples
    --------
    >>> from joblib import Parallel, delayed
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.remote import RemoteBlocks
    >>> class JoblibBlocks(RemoteBlocks):
    ...     def __init__(self, blocks):
    ...         self._blocks = blocks
    ...
    ...     def __len__(self):
    ...         return len(self._blocks)
    ...
    ...     def map(self, function, numbers):
    ...         calls = (delayed(function)(n, self._blocks[n]) for n in numbers)
    ...         return Parallel(n_jobs=2, backend="threading")(calls)
    >>> X = load_digits().data
    >>> autoencoder = SparseAutoencoderTransformer(
    ...     n_components=20, solver="lbfgs", max_iter=200, tol=0.02, random_state=0
    ... ).fit(JoblibBlocks([X[:600], X[600:1200], X[1200:]]))
    >>> bool(autoencoder.score(X) > 0.5)
    True
    """

    _are_weighted = False  # whether the rows of the blocks have weights

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of blocks.

        Returns
        -------
        n_blocks : int
            At least one.
        """

    @abc.abstractmethod
    def map(self, function: Callable[[int, Any], Any], numbers: Iterable[int]) -> list:
        """Call a function on blocks, where they are.

        Parameters
        ----------
        function : callable
            Takes the number of a block and the block. It can be pickled, has no side
            effects and may be called again.

        numbers : iterable of int
            The blocks to call it on, counted from 0.

        Returns
        -------
        results : list
            What the function returns for each of these blocks, in their order.
        """

    # A hook that may stay as it is: rows that can hold nothing need not define it. B027
    # takes an empty method of an abstract class for a forgotten @abstractmethod.
    def hold(self, n_bytes: int) -> None:  # noqa: B027
        """Take note that all blocks will be read many times.

        Parameters
        ----------
        n_bytes : int
            The size of all blocks together, as dense arrays.
        """

    def reduce(
        self,
        function: Callable[[int, Any], Any],
        joined: Joining,
        numbers: Sequence[int],
    ) -> Any:
        """Join what a function returns for blocks.

        Override it to join nearer to the blocks, in the same tree: results 2 n and
        2 n + 1 are joined to result n of the next level, where there are both. Sums of
        floating-point numbers are then the same wherever they are computed.

        Parameters
        ----------
        function : callable
            As for `map`.

        joined : callable
            Takes two results and returns another one. It changes neither.

        numbers : sequence of int
            The blocks, in increasing order.

        Returns
        -------
        result : object
            That of all blocks.
        """
        parts = dict(zip(numbers, self.map(function, numbers), strict=True))
        return joined_in_tree(parts, joined)


def joined_in_tree(parts: dict[int, Any], joined: Joining) -> Any:
    """Join all parts, pair by pair of their numbers."""
    while len(parts) > 1:
        parts = joined_pairs(parts, joined)
    return next(iter(parts.values()))


def joined_pairs(parts: dict[int, Any], joined: Joining) -> dict[int, Any]:
    """Join parts 2 n and 2 n + 1 to part n, where there are both.

    The tree that follows depends on the numbers alone. So sums of floating-point
    numbers are the same wherever, and in whatever order, they are computed.
    """
    pairs: dict[int, Any] = {}
    for number in sorted(parts):
        above = number // 2
        part = parts[number]
        pairs[above] = joined(pairs[above], part) if above in pairs else part
    return pairs


class RemoteRows:
    """The rows of RemoteBlocks, numbered through, or some of these rows.

    A slice of rows, or increasing numbers of rows, give RemoteRows again; ``toarray``
    fetches them. ``reduced`` calls functions where the rows are.
    """

    ndim = 2

    def __init__(
        self,
        source: RemoteBlocks,
        lengths: Iterable[int],
        n_columns: int,
        dtype: np.dtype,
    ) -> None:
        self._source, self._n_columns, self.dtype = source, n_columns, dtype
        self.lengths = list(lengths)
        self._starts = np.cumsum([0, *self.lengths])
        self._numbers: Any = range(int(self._starts[-1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self._numbers), self._n_columns

    @property
    def is_weighted(self) -> bool:
        """Whether the rows have weights, which lie where they do."""
        return self._source._are_weighted

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return self.dtype.itemsize

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, rows: Any) -> "RemoteRows":
        """Return a slice of rows, or rows by increasing numbers, without reading."""
        part = object.__new__(RemoteRows)
        vars(part).update(vars(self))
        if isinstance(rows, slice) or not isinstance(self._numbers, range):
            part._numbers = self._numbers[rows]
        else:
            numbers = self._numbers
            part._numbers = numbers.start + numbers.step * np.asarray(rows)
        return part

    def reduced(self, of_block: Finding, joined: Joining) -> Any:
        """Join what ``of_block`` returns for the rows of each block."""
        selected = self._selected()
        function = functools.partial(_of_block, of_block, selected, self.dtype)
        return self._source.reduce(function, joined, sorted(selected))

    def _selected(self) -> dict[int, Any]:
        """Return which rows of each block are meant, of blocks that have any."""
        selected: dict[int, Any] = {}
        for number, (start, stop) in enumerate(
            zip(self._starts[:-1], self._starts[1:], strict=True)
        ):
            rows = _within(self._numbers, int(start), int(stop))
            if rows is not None:
                selected[number] = rows
        return selected

    def toarray(self) -> np.ndarray:
        """Fetch the rows."""
        if not len(self):
            return np.empty(self.shape, self.dtype)
        return self.reduced(_dense, _joined_rows)

    def content(self) -> list[str]:
        """Return what the blocks hold as hashes, which other processes find too."""
        hashes = self._source.map(_hash, range(len(self._source)))
        return [*hashes, joblib.hash(self._numbers)]

    def hold(self) -> None:
        """Say that the rows will be read many times."""
        self._source.hold(len(self) * self._n_columns * self.itemsize)

    def in_turn(self) -> Blocks:
        """Return the rows as Blocks, which fetch one block after the other."""
        return Blocks(_Fetched(self._source), self.lengths, self._n_columns, self.dtype)


def _within(numbers: Any, start: int, stop: int) -> Any:
    """Return which of the rows from start to stop are meant, counted from start.

    None stands for none of them.
    """
    if isinstance(numbers, range):
        first = max(-(-(start - numbers.start) // numbers.step), 0)
        last = min(-(-(stop - numbers.start) // numbers.step), len(numbers))
        if first >= last:
            return None
        own = numbers[first:last]
        return slice(own.start - start, own.stop - start, own.step)
    first, last = np.searchsorted(numbers, [start, stop])
    return None if first == last else numbers[first:last] - start


def _of_block(
    of_block: Finding,
    selected: dict[int, Any],
    dtype: np.dtype,
    number: int,
    block: Any,
) -> Any:
    rows, own = opened(block), selected[number]
    if not isinstance(own, slice) or own != slice(0, rows.shape[0], 1):
        rows = rows[own]
    with np.errstate(all="ignore"):
        return of_block(rows.astype(dtype, copy=False))


def _dense(rows: Any) -> np.ndarray:
    rows = rows.rows if isinstance(rows, WeightedRows) else rows
    return rows.toarray() if sparse.issparse(rows) else rows


def _joined_rows(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate([one, other])


def _hash(number: int, block: Any) -> str:
    return joblib.hash(opened(block))


def _itself(number: int, block: Any) -> Any:
    rows = opened(block)
    return rows.rows if isinstance(rows, WeightedRows) else rows


class _Fetched(Sequence):
    """Blocks that lie elsewhere as a sequence; each is fetched when it is asked for."""

    def __init__(self, source: RemoteBlocks) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, number: Any) -> Any:
        (block,) = self._source.map(_itself, [number])
        return block
