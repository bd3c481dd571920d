"""A stack of encoders below a logistic regression, trained as one network."""

import functools
from collections.abc import Callable
from threading import Event
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from .._network.coordinates import Coordinates
from .._network.scaling import Scaling
from .._objective.objective import Losses
from .._objective.penalties import weight_penalty
from .._objective.selections import SELECTIONS, kept_in_row
from .chunking import worth_compiling
from .optimizers import OptimizerSpec
from .programs import (
    Program,
    Run,
    even_batches,
    making_programs,
    values_of,
)
from .state import Engine
from .streams import EpochStream


class StackArchitecture(NamedTuple):
    """What a network is compiled for; every other setting is passed at run time."""

    n_features: int
    # n_components, activation and sparsity of each.
    encoders: tuple[tuple[int, str, str], ...]
    n_outputs: int  # 1 for two classes: the output is the logit of the second
    fit_intercept: bool  # of the logistic regression


class StackObjective(NamedTuple):
    """What the objective depends on beside data and weights: arrays or tensors."""

    # (shift, factor) of each encoder. The next layer reads ``shift + factor * code``,
    # element by element.
    maps: list[tuple[Any, Any]]
    # What the codes of each encoder keep: the threshold, or rho where that says it.
    kept: list[Any]
    decays: list[Any]  # of each layer: coefficient of half the sum of squared weights


class StackProgram(Program):
    """Encoders and a linear last layer, Adam, and the epoch over them."""

    def __init__(self, architecture: StackArchitecture, batch_size: int) -> None:
        self.batch_size, self._n_features = batch_size, architecture.n_features
        # Every layer gets a name and starts at zeros. Keras then neither counts it nor
        # draws from its random state.
        dense = functools.partial(
            keras.layers.Dense, kernel_initializer="zeros", dtype="float32"
        )
        self.layers = [
            dense(n_components, activation=activation, name=f"encoder_{i}")
            for i, (n_components, activation, _) in enumerate(architecture.encoders, 1)
        ]
        self._sparsities = [sparsity for *_, sparsity in architecture.encoders]
        self.layers.append(
            dense(
                architecture.n_outputs,
                use_bias=architecture.fit_intercept,
                name="logistic_regression",
            )
        )
        n_inputs = architecture.n_features
        for layer in self.layers:
            layer.build((None, n_inputs))
            n_inputs = layer.units
        weights = [v for layer in self.layers for v in layer.trainable_variables]
        spec, _ = OptimizerSpec.from_solver("adam")
        super().__init__(weights, spec.build_for(weights))

    def cross_entropy(
        self, X: Any, targets: Any, row_weights: Any, objective: StackObjective
    ) -> Any:
        """Return the cross-entropies of the rows, weighted and summed.

        ``targets`` are one-hot rows, or for one output whether the row is of the second
        class.
        """
        for encoder, sparsity, (shift, factor), kept in zip(
            self.layers[:-1],
            self._sparsities,
            objective.maps,
            objective.kept,
            strict=True,
        ):
            codes = encoder(X)
            if sparsity in SELECTIONS:
                codes = kept_in_row(SELECTIONS[sparsity], codes, kept, ops)
            X = shift + factor * codes
        logits = self.layers[-1](X)
        if logits.shape[1] == 1:
            normalizer = ops.softplus(logits[:, 0])
        else:
            normalizer = ops.logsumexp(logits, axis=1)
        losses = normalizer - ops.sum(targets * logits, axis=1)
        return ops.sum(row_weights * losses)

    def decay(self, objective: StackObjective) -> Any:
        """Return the penalty on the weights of all layers."""
        return sum(
            weight_penalty([layer.kernel], decay, ops)
            for layer, decay in zip(self.layers, objective.decays, strict=True)
        )

    def at(self, weights: list[np.ndarray]) -> keras.StatelessScope:
        """Return a context in which the network has these weights, layer by layer."""
        values = zip(self.weights, weights, strict=True)
        return keras.StatelessScope(state_mapping=list(values))

    def epoch(self, data: Any, n_rows: Any, objective: StackObjective) -> Any:
        """Step through the first ``n_rows`` rows in order; sum their cross-entropies.

        The columns of ``data``, (chunk_rows, n_features + n_outputs + 1), are the
        inputs, the targets and the weight of each row. Rows from ``n_rows`` on are
        padding.
        """
        variables = [v.value for v in self.weights]
        n_taken = min(self.batch_size, data.shape[0])
        n_steps, bounds = even_batches(n_rows, n_taken)

        def step(number: Any, total: Any) -> tuple[Any, Any]:
            start, n_valid = bounds(number)
            rows = tf.slice(data, [start, 0], [n_taken, data.shape[1]])
            X, targets, weights = tf.split(rows, [self._n_features, -1, 1], axis=1)
            is_row = tf.cast(tf.range(n_taken) < n_valid, rows.dtype)
            n_valid = tf.cast(n_valid, rows.dtype)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                loss = self.cross_entropy(X, targets, weights[:, 0] * is_row, objective)
                value = loss / n_valid + self.decay(objective)
            self.optimizer.apply(tape.gradient(value, variables), self.weights)
            return number + 1, total + loss

        _, total = tf.while_loop(
            lambda number, total: number < n_steps,
            step,
            [0, tf.zeros(())],
            parallel_iterations=1,
        )
        return total


@functools.lru_cache(maxsize=8)
def stack_program(architecture: StackArchitecture, batch_size: int) -> StackProgram:
    """Return the program of a shape."""
    return StackProgram(architecture, batch_size)


def _tensors(arrays: Any) -> Any:
    """Return a structure of arrays as one of tensors."""
    return tf.nest.map_structure(lambda a: tf.constant(a, dtype=tf.float32), arrays)


class StackEngine(Engine):
    """One training of a stack, epoch by epoch.

    ``rows`` are inputs (n_samples, n_features), targets (n_samples, n_outputs), and
    weights (n_samples,) with a mean of 1. ``weights``, the kernel and the bias of every
    layer, are those to start from. ``rng`` gives the order of the rows.
    """

    def __init__(
        self,
        rows: tuple[np.ndarray, np.ndarray, np.ndarray],
        weights: list[np.ndarray],
        architecture: StackArchitecture,
        objective: StackObjective,
        batch_size: int,
        rng: np.random.RandomState,
        max_iter: int,
    ) -> None:
        with making_programs:
            self._program = stack_program(architecture, batch_size)
        self._run = Run(self._program, weights)
        inputs, targets, row_weights = rows
        columns = [inputs, targets, row_weights[:, None]]
        data = np.hstack(columns, dtype=np.float32)
        self._n_samples, n_columns = data.shape
        no_scaling = Scaling(np.zeros(n_columns), 1.0, linear_output=False)
        no_axes = Coordinates(None, None, 0.0)
        self._stream = EpochStream(data, no_scaling, no_axes, batch_size, rng, max_iter)
        self._objective = _tensors(objective)
        n_outputs = sum(layer.units for layer in self._program.layers)
        n_steps = max_iter * self._n_samples / batch_size
        chunk = tf.zeros([self._stream.chunk_rows, n_columns])
        self._graph = self._program.graph(
            self._program.epoch,
            *tf.nest.map_structure(
                tf.TensorSpec.from_tensor, (chunk, tf.constant(0), self._objective)
            ),
            compiled=worth_compiling(n_steps, batch_size * n_outputs),
        )

    def epoch(self, rates: list[float], stop: Event | None = None) -> list[Losses]:
        """Step through all rows once; see ``MiniBatchEngine.epoch``."""
        self._run.set_learning_rate(rates[0])
        total = 0.0
        for data, n_rows, *_ in self._stream:
            arguments = data, tf.constant(n_rows), self._objective
            (loss,) = self._run.call(self._graph, *arguments)
            total += float(loss)
        with self._program.at(self.weights()):
            decay = float(self._program.decay(self._objective))
        return [Losses(total / self._n_samples, 0.0, np.nan, decay)]

    def weights(self, number: int = 0) -> list[np.ndarray]:
        """Return copies of the kernel and the bias of every layer."""
        return values_of(self._run.weights)

    def watching(
        self, rows: tuple[np.ndarray, ...]
    ) -> Callable[[list[np.ndarray]], float]:
        """Return a function from weights to the mean cross-entropy of other rows."""
        X, targets, row_weights = _tensors(rows)
        program, objective = self._program, self._objective

        def mean_cross_entropy(weights: list[np.ndarray]) -> float:
            with program.at(weights):
                loss = program.cross_entropy(X, targets, row_weights, objective)
            return float(loss) / X.shape[0]

        return mean_cross_entropy
