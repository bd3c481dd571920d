"""The blocks of a Dask collection, and functions that are called where they are."""

import contextlib
import functools
import itertools
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import dask
import distributed
import numpy as np
from dask.optimization import cull
from distributed.protocol.pickle import dumps, loads

from .._network.remote import Joining, RemoteBlocks, joined_in_tree, joined_pairs
from .._network.weighting import WeightedRows
from .clients import asking, memory_of_workers, number_of_threads, result_of

# How many results one task joins, a power of two, and how many the client joins. Each
# tier of tasks takes 10 ms.
FAN_IN = 8

# The workers hold the blocks during a fit if all take at most this share of their
# memory.
HELD_SHARE = 0.4

# Bytes that may be sent along with a task. Blocks whose recipes take more, such as
# arrays of the client's, are held.
LARGEST_MESSAGE = 1 << 16

# Bytes that the functions of all tasks may take. Beyond, the function is sent once, by
# a task of its own.
LARGEST_MESSAGES = 1 << 23

OfBlock = Callable[[int, Any], Any]


class DaskBlocks(RemoteBlocks):
    """The blocks of a Dask array or dataframe, perhaps with weights of their rows.

    Functions are called by tasks without state, each on a group of neighbouring blocks.
    So a worker may die, come or go at any time: Dask runs again what was lost. Results
    are joined in the tree of ``RemoteBlocks``, whatever the groups.

    A block is made anew by each call, unless the workers hold it: see ``hold``.
    """

    def __init__(self, collection: Any, client: Any, weights: Any = None) -> None:
        self._client = client
        self._are_weighted = weights is not None
        blocks = collection.to_delayed()
        blocks = list(blocks[:, 0]) if getattr(blocks, "ndim", 1) == 2 else list(blocks)
        parts = [blocks]
        if weights is not None:
            parts.append(list(weights.to_delayed()))
        # Of each block the rows and, if there are any, their weights.
        self._blocks = list(zip(*parts, strict=True))
        self._n_blocks = len(blocks)
        # A group is a node of the tree: 2 ** level blocks, fewer in the last one. There
        # are one to two groups for each thread. More would even out the work further,
        # and each has a sum to send: with sums of 3.7 MB, on two workers, an evaluation
        # took 24 ms over its work with one, and some 20 more with each other one.
        blocks_of_a_thread = self._n_blocks / number_of_threads(client)
        self._level = max(math.floor(math.log2(blocks_of_a_thread)), 0)
        self._must_hold = bool(distributed.futures_of(collection))
        if not self._must_hold:
            recipes = list(zip(*map(_recipes, parts), strict=True))
            n_bytes = max(sum(map(len, recipe)) for recipe in recipes)
            self._must_hold = n_bytes > LARGEST_MESSAGE
        if self._must_hold:
            self._hold()
        else:
            # They are sent with each task. A task that depends on nothing runs where
            # least is to be done; recipes that the workers kept led the tasks of two
            # workers to the same one in every second fit.
            self._groups = [
                _Recipes(recipes[own.start : own.stop], own.start)
                for own in self._ranges()
            ]

    def __len__(self) -> int:
        return self._n_blocks

    def _ranges(self) -> Iterator[range]:
        """Yield the numbers of the blocks of each group."""
        size = 1 << self._level
        for start in range(0, self._n_blocks, size):
            yield range(start, min(start + size, self._n_blocks))

    def hold(self, n_bytes: int) -> None:
        """Let the workers hold the blocks, if they have the memory for so much."""
        if not self._must_hold and n_bytes <= HELD_SHARE * memory_of_workers(
            self._client
        ):
            self._hold()

    def _hold(self) -> None:
        held = dask.delayed(_Held, pure=False)
        groups = [
            held(self._blocks[own.start : own.stop], own.start)
            for own in self._ranges()
        ]
        with asking(self._client):
            self._groups = self._client.compute(groups)

    def map(self, function: OfBlock, numbers: Iterable[int]) -> list:
        """Return ``function(number, block)`` for the blocks of these numbers."""
        with self._asking() as client:
            groups = self._of_groups(numbers)
            parts = client.map(
                _on_group,
                [self._groups[n] for n in groups],
                list(groups.values()),
                self._sent((function, None), len(groups)),
                key=_key("blocks"),
                pure=False,
            )
        return [result for part in parts for result in result_of(client, part)]

    def reduce(self, function: OfBlock, joined: Joining, numbers: Sequence[int]) -> Any:
        """Join what a function returns for blocks, in the tree of their numbers."""
        with self._asking() as client:
            groups = self._of_groups(numbers)
            parts = client.map(
                _sum_of_group,
                [self._groups[n] for n in groups],
                list(groups.values()),
                self._sent((function, joined), len(groups)),
                level=self._level,
                key=_key("block-sums"),
                pure=False,
            )
            # A client lets 10 ms pass from one message to the next, and to let go of
            # results is a message: those before are let go with this one.
            self._latest = parts
            nodes = dict(zip(groups, parts, strict=True))
            while len(nodes) > FAN_IN:
                above: dict[int, list] = {}
                for number in nodes:
                    above.setdefault(number // FAN_IN, []).append(number)
                sums = client.map(
                    _sum_of_nodes,
                    list(above.values()),
                    [[nodes[n] for n in own] for own in above.values()],
                    joined=joined,
                    key=_key("sums"),
                    pure=False,
                )
                nodes = dict(zip(above, sums, strict=True))
        parts = {number: result_of(client, node) for number, node in nodes.items()}
        return joined_in_tree(parts, joined)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Any]:
        """Yield the client, which may send the recipes of all blocks."""
        bound = {"distributed.admin.large-graph-warning-threshold": "1 GiB"}
        with asking(self._client), dask.config.set(bound):
            yield self._client

    def _sent(self, job: tuple, n_tasks: int) -> list:
        """Return a function, and what joins its results, as each task takes them."""
        sent = _as_array(job)
        if len(sent) * n_tasks > LARGEST_MESSAGES:
            sent = self._client.submit(_given, sent, key=_key("job"), pure=False)
        return [sent] * n_tasks

    def _of_groups(self, numbers: Iterable[int]) -> dict[int, list[int]]:
        """Return the numbers that each group has, by the number of the group."""
        groups: dict[int, list[int]] = {}
        for number in numbers:
            groups.setdefault(number >> self._level, []).append(number)
        return groups


def _recipes(blocks: list) -> Iterator[bytes]:
    """Yield the graph of each block, without the tasks of others, as bytes."""
    graph = dict(blocks[0].dask)  # one graph has the tasks of all blocks
    for block in blocks:
        own, _ = cull(graph, [block.key])
        yield dumps((own, block.key))


def _key(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex}"


def _as_array(value: Any) -> np.ndarray:
    """Return a value as an array of bytes, which Dask sends without copies.

    For two tasks to have 1.2 MB of bytes took 6 ms longer.
    """
    return np.frombuffer(dumps(value), np.uint8)


# What follows runs on the workers.


class _Held:
    """Neighbouring blocks that a worker holds."""

    def __init__(self, blocks: list[Sequence[Any]], start: int) -> None:
        self._blocks, self._start = blocks, start

    def block(self, number: int) -> Any:
        return _joined(self._blocks[number - self._start])

    def __sizeof__(self) -> int:
        # By which Dask keeps to the memory of a worker.
        parts = itertools.chain.from_iterable(self._blocks)
        return object.__sizeof__(self) + sum(map(dask.sizeof.sizeof, parts))


class _Recipes:
    """How neighbouring blocks are made, each when it is asked for."""

    def __init__(self, recipes: list[tuple[bytes, ...]], start: int) -> None:
        self._sent, self._start = _as_array(recipes), start

    @functools.cached_property
    def _recipes(self) -> list[tuple[bytes, ...]]:
        return loads(self._sent)

    def block(self, number: int) -> Any:
        recipes = map(loads, self._recipes[number - self._start])
        return _joined([dask.get(graph, key) for graph, key in recipes])


def _joined(parts: Sequence[Any]) -> Any:
    """Return rows, or rows and weights, as a block."""
    return parts[0] if len(parts) == 1 else WeightedRows(*parts)


def _given(value: Any) -> Any:
    return value


def _on_group(group: Any, numbers: list[int], job: np.ndarray) -> list:
    function, _ = loads(job)
    return [function(number, group.block(number)) for number in numbers]


def _sum_of_group(
    group: Any, numbers: list[int], job: np.ndarray, *, level: int
) -> Any:
    """Return the node of the tree that a group is; no more than ``level`` are held."""
    wanted, (function, joined) = set(numbers), loads(job)

    def node(level: int, index: int) -> Any:
        if level == 0:
            return function(index, group.block(index)) if index in wanted else None
        left = node(level - 1, 2 * index)
        right = node(level - 1, 2 * index + 1)
        if left is None or right is None:
            return right if left is None else left
        return joined(left, right)

    return node(level, numbers[0] >> level)


def _sum_of_nodes(numbers: list[int], nodes: list, *, joined: Joining) -> Any:
    parts = dict(zip(numbers, nodes, strict=True))
    for _ in range(int(np.log2(FAN_IN))):
        parts = joined_pairs(parts, joined)
    (node,) = parts.values()
    return node
