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
from .._network.reading import Rows
from .._objective.objective import Coefficients, Losses
from .network import Network
from .programs import as_graph, latest_programs, worth_compiling
from .streams import ChunkedRows

# What an evaluation returns besides the gradient: the fields of ``Losses``.
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
        functions = self.sum_over_rows, self.gradient_and_terms
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

    def sum_over_rows(self, vector: Any, X: Any, row_weights: Any) -> Any:
        """Return the weighted sum of what the penalty averages, (n_components,)."""
        with self._at(vector):
            codes = self._network.encoder(X)
        return self._network.objective.sum_over_rows(codes, row_weights, ops)

    def gradient_and_terms(
        self,
        vector: Any,
        X: Any,
        offset: Any,
        row_weights: Any,
        coefficients: Coefficients,
        statistic: Any = None,
    ) -> Any:
        """Return the gradient at ``vector``, followed by the fields of ``Losses``.

        One tensor holds them all, because each one that is read costs another 0.1 ms.

        Where the rows are only some of the data, ``statistic`` is that of all of it:
        the gradients of the parts then add up to that of the whole.
        """
        with (
            self._at(vector) as weights,
            tf.GradientTape(watch_accessed_variables=False) as tape,
        ):
            tape.watch(weights)
            terms = self._network.data_terms(
                X,
                offset,
                row_weights,
                coefficients,
                estimate_of=lambda own: own if statistic is None else statistic,
            )
            decay = self._network.decay(coefficients)
            objective = terms.total + decay
        gradients = tape.gradient(objective, weights)
        parts = [*gradients, *terms.reported, decay]
        return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)

    @contextlib.contextmanager
    def _at(self, vector: Any) -> Iterator[list[Any]]:
        """Yield the weights of a vector; the network has them within the block."""
        parts = zip(tf.split(vector, self._sizes), self._shapes, strict=True)
        weights = [tf.reshape(part, shape) for part, shape in parts]
        values = zip(self._network.variables, weights, strict=True)
        with keras.StatelessScope(state_mapping=list(values)):
            yield weights


@latest_programs(16)
def full_batch_program(architecture: Architecture, chunk_rows: int) -> FullBatchProgram:
    """Return the program for chunks of ``chunk_rows``; the latest 16 are kept."""
    return FullBatchProgram(architecture)


class FullBatchObjective:
    """The objective over all rows as a function of one flat vector.

    It computes in the dtype of ``X``, the data as given. ``max_iter`` counts only for
    the decision whether to compile.
    """

    def __init__(self, X: Rows, problem: Problem, max_iter: int) -> None:
        self._rows = ChunkedRows(X, problem.scaling)
        architecture = problem.architecture._replace(dtype=X.dtype.name)
        self.program = full_batch_program(architecture, self._rows.chunk_rows)
        self._constant = functools.partial(tf.constant, dtype=X.dtype)
        self._offset = self._constant(problem.scaling.reconstruction_offset)
        self._coefficients = Coefficients(*map(self._constant, problem.coefficients))
        n_features, n_components = architecture.n_features, architecture.n_components
        n_rows = self._rows.chunk_rows
        n_values = min(X.shape[0], n_rows) * (n_features + n_components)
        compiled = worth_compiling(max_iter * len(self._rows), n_values)
        sum_over_rows, gradient_and_terms = self.program.graphs[compiled]
        # The graphs are looked up once: at every call it would cost 0.15 ms.
        spec = functools.partial(tf.TensorSpec, dtype=X.dtype)
        vector, row_weights = spec([self.program.size]), spec([n_rows])
        rows, offset = spec([n_rows, n_features]), spec([n_features])
        coefficients, statistic = Coefficients(spec([]), spec([]), spec([])), None
        if len(self._rows) > 1:
            statistic = spec([n_components])
            self._sum_over_rows = sum_over_rows.get_concrete_function(
                vector, rows, row_weights
            )
        self._gradient_and_terms = gradient_and_terms.get_concrete_function(
            vector, rows, offset, row_weights, coefficients, statistic
        )

    def __call__(self, vector: np.ndarray) -> tuple[Losses, np.ndarray]:
        """Return the Losses and the gradient, an array of the data's dtype."""
        point = self._constant(vector)
        statistic = self._statistic(point) if len(self._rows) > 1 else None
        total, coefficients = np.zeros(self.program.size + N_TERMS), self._coefficients
        for X, row_weights in self._rows:
            inputs = X, self._offset, row_weights, coefficients, statistic
            result = self._gradient_and_terms(point, *inputs)
            total += result.numpy().astype(np.float64)
            # The weight decay is no sum over rows: it is taken once.
            coefficients = coefficients._replace(weight_decay=self._constant(0))
        losses = Losses(*total[-N_TERMS:].tolist())
        # Every chunk has evaluated the penalty of all rows.
        losses = losses._replace(sparsity=losses.sparsity / len(self._rows))
        return losses, total[:-N_TERMS].astype(point.dtype.as_numpy_dtype)

    def _statistic(self, vector: Any) -> Any:
        sums = (self._sum_over_rows(vector, *rows).numpy() for rows in self._rows)
        mean = sum(part.astype(np.float64) for part in sums)
        objective = self.program.architecture.objective
        return self._constant(objective.penalty.statistic(mean, objective.activation))
