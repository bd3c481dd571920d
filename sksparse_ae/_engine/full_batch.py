"""The objective over all rows and its gradient, compiled."""

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from .._network.coordinates import in_kernel_layout
from .._network.problem import Architecture, Problem
from .._network.reading import Rows, unweighted
from .._network.remote import RemoteRows
from .._objective.objective import Coefficients, Losses
from .chunking import Chunking, block_sums
from .network import Network
from .programs import as_graph, making_programs
from .streams import ChunkedRows

# An evaluation of all rows returns, besides the gradient, the fields of ``Losses``.
N_TERMS = len(Losses._fields)


class FullBatchProgram:
    """A network with its objective and gradient as functions of one flat vector.

    One program serves every fit of its architecture, also at the same time.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self._network = Network(architecture)
        self._shapes = [tuple(v.shape) for v in self._network.variables]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self.size = sum(self._sizes)
        functions = self.whole, self.chunk, self.penalties
        self.graphs = {
            compiled: [as_graph(function, compiled=compiled) for function in functions]
            for compiled in (False, True)
        }

    def flatten(self, weights: Sequence[np.ndarray]) -> np.ndarray:
        """Join W1, b1, W2, b2 to the vector that L-BFGS moves."""
        return np.concatenate([np.ravel(w) for w in in_kernel_layout(weights)])

    def split(self, vector: np.ndarray) -> list[np.ndarray]:
        """Undo ``flatten``."""
        parts = np.split(vector, np.cumsum(self._sizes)[:-1])
        return in_kernel_layout(
            [p.reshape(s) for p, s in zip(parts, self._shapes, strict=True)]
        )

    # Each of these returns one tensor, because each one that is read costs 0.1 ms.

    def whole(
        self,
        vector: Any,
        X: Any,
        offset: Any,
        row_weights: Any,
        coefficients: Coefficients,
    ) -> Any:
        """Return the gradient of the objective on all rows, and its ``Losses``."""
        with self._at(vector) as weights, _tape() as tape:
            tape.watch(weights)
            terms = self._network.data_terms(X, offset, row_weights, coefficients)
            decay = self._network.decay(coefficients)
            objective = terms.total + decay
        return _joined(*tape.gradient(objective, weights), *terms[:3], decay)

    def chunk(self, vector: Any, X: Any, offset: Any, row_weights: Any) -> Any:
        """Return what some of the rows add to the objective and its gradient.

        The penalty depends on the encoder through one mean for each unit alone. So its
        gradient is that of the mean, which adds up over the rows, times one number for
        each unit, which is known when all rows have been read, once.

        Returned are the gradient of the reconstruction term, those of the means in W1
        and b1, the means, the reconstruction term and the squared error.
        """
        network = self._network
        with self._at(vector) as weights, _tape(persistent=True) as tape:
            tape.watch(weights)
            codes = network.encoder(network.seen(X))
            target, observed = network.observed(X)
            reconstruction, squared = network.objective.reconstruction(
                target + offset, network.decoder(codes), row_weights, ops, observed
            )
            means = network.objective.sum_over_rows(codes, row_weights, ops)
        gradients = tape.gradient(reconstruction, weights)
        of_means = tape.gradient(means, weights[:2])
        return _joined(*gradients, *of_means, means, reconstruction, squared)

    def penalties(self, vector: Any, means: Any, coefficients: Coefficients) -> Any:
        """Return what the penalties add to what ``chunk`` has summed.

        It is the gradient of the weight decay, that of the penalty in the means, and
        both.
        """
        objective = self._network.objective
        with self._at(vector) as weights, _tape(persistent=True) as tape:
            tape.watch([*weights, means])
            statistic = objective.penalty.statistic(means, objective.activation)
            sparsity = objective.penalty.value(statistic, coefficients, ops)
            decay = self._network.decay(coefficients)
        gradients = tape.gradient(
            decay, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return _joined(*gradients, tape.gradient(sparsity, means), sparsity, decay)

    def sums(self, chunking: Chunking, chunks: Any, vector: np.ndarray) -> np.ndarray:
        """Return what ``chunk`` gives of several chunks, added up in float64."""
        dtype = chunking.problem.architecture.dtype
        _, chunk, _ = self.graphs[chunking.compiled]
        of_chunk = chunk.get_concrete_function(
            tf.TensorSpec([self.size], dtype), *self.specs_of_rows(chunking)
        )
        point, total = tf.constant(vector, dtype), np.zeros(())
        for rows in chunks:
            total = total + of_chunk(point, *rows).numpy().astype(np.float64)
        return total

    @staticmethod
    def specs_of_rows(chunking: Chunking) -> Any:
        """Return the specs of what ``ChunkedRows`` yields."""
        architecture, n_rows = chunking.problem.architecture, chunking.chunk_rows
        shapes = [n_rows, architecture.n_features], [architecture.n_features], [n_rows]
        return [tf.TensorSpec(shape, architecture.dtype) for shape in shapes]

    @contextlib.contextmanager
    def _at(self, vector: Any) -> Iterator[list[Any]]:
        """Yield the weights of a vector; the network has them within the block."""
        parts = zip(tf.split(vector, self._sizes), self._shapes, strict=True)
        weights = [tf.reshape(part, shape) for part, shape in parts]
        values = zip(self._network.variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=list(values)):
            yield weights


def _tape(persistent: bool = False) -> tf.GradientTape:
    return tf.GradientTape(persistent=persistent, watch_accessed_variables=False)


def _joined(*tensors: Any) -> Any:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)


def program_of(chunking: Chunking) -> FullBatchProgram:
    """Return the program that sums up chunks."""
    with making_programs:
        return full_batch_program(chunking.problem.architecture, chunking.chunk_rows)


@functools.lru_cache(maxsize=16)
def full_batch_program(architecture: Architecture, chunk_rows: int) -> FullBatchProgram:
    """Return the program for chunks of ``chunk_rows``."""
    return FullBatchProgram(architecture)


class FullBatchObjective:
    """The objective over all rows as a function of one flat vector.

    It computes in the dtype of ``X``, the data as given, in one pass over the rows, and
    where they are. ``max_iter`` counts only for the decision whether to compile.
    """

    def __init__(self, X: Rows, problem: Problem, max_iter: int) -> None:
        chunking = Chunking.of(X, problem, max_iter)
        self.program = program_of(chunking)
        architecture, coefficients, _ = problem
        self._n_units = architecture.n_components
        self._constant = functools.partial(tf.constant, dtype=X.dtype)
        self._coefficients = Coefficients(*map(self._constant, coefficients))
        # The graphs are looked up once: at every call it would cost 0.15 ms.
        spec = functools.partial(tf.TensorSpec, dtype=X.dtype)
        vector = spec([self.program.size])
        of_coefficients = Coefficients(*[spec([])] * 3)
        whole, _, penalties = self.program.graphs[chunking.compiled]
        self._whole: Any = None
        if isinstance(unweighted(X), RemoteRows):
            self._sums = functools.partial(_sums_elsewhere, unweighted(X), chunking)
        else:
            rows = ChunkedRows(X, chunking)
            self._sums = functools.partial(self.program.sums, chunking, rows)
            if len(rows) == 1:
                (self._chunk,) = rows
                specs = self.program.specs_of_rows(chunking)
                self._whole = whole.get_concrete_function(
                    vector, *specs, of_coefficients
                )
                return
        self._penalties = penalties.get_concrete_function(
            vector, spec([self._n_units]), of_coefficients
        )

    def __call__(self, vector: np.ndarray) -> tuple[Losses, np.ndarray]:
        """Return the Losses and the gradient, an array of the data's dtype."""
        point = self._constant(vector)
        if self._whole is None:
            losses, gradient = self._with_penalties(point, self._sums(vector))
            return losses, gradient.astype(point.dtype.as_numpy_dtype)
        result = self._whole(point, *self._chunk, self._coefficients)
        gradient, terms = np.split(result.numpy(), [-N_TERMS])
        return Losses(*terms.astype(np.float64).tolist()), gradient

    def _with_penalties(
        self, point: Any, sums: np.ndarray
    ) -> tuple[Losses, np.ndarray]:
        """Return the Losses and the gradient from what ``chunk`` gave of all rows."""
        size, n_units = self.program.size, self._n_units
        gradient, of_means, means, (reconstruction, squared) = np.split(
            sums, [size, sums.size - 2 - n_units, sums.size - 2]
        )
        result = self._penalties(point, self._constant(means), self._coefficients)
        of_decay, slopes, (sparsity, decay) = np.split(
            result.numpy().astype(np.float64), [size, size + n_units]
        )
        gradient = gradient + of_decay
        # W1, in the kernel layout, and b1: the slope of the penalty times each mean's.
        of_kernel = of_means[:-n_units].reshape(n_units, -1)
        gradient[: of_kernel.size] += (slopes[:, None] * of_kernel).ravel()
        gradient[of_kernel.size :][:n_units] += slopes * of_means[-n_units:]
        terms = map(float, (reconstruction, sparsity, squared, decay))
        return Losses(*terms), gradient


def _sums_elsewhere(X: RemoteRows, chunking: Chunking, vector: np.ndarray) -> Any:
    # A block is read in chunks of its own.
    vector = vector.astype(X.dtype)
    return X.reduced(functools.partial(block_sums, chunking, vector), np.add)
