"""A stack of encoders below a logistic regression, trained as one network."""

import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from .._network.coordinates import Coordinates
from .._network.scaling import Scaling
from .._objective.objective import Losses
from .._objective.penalties import weight_penalty
from .optimizers import OptimizerSpec
from .programs import (
    Program,
    Run,
    even_batches,
    latest_programs,
    values_of,
    worth_compiling,
)
from .streams import EpochStream


class StackArchitecture(NamedTuple):
    """What a network is compiled for; every other setting is passed at run time.

    Attributes
    ----------
    n_features : int
    encoders : tuple of (n_components, activation)
    n_outputs : int
        1 for two classes, whose network ends in the logit of the second.
    fit_intercept : bool
        Whether the logistic regression has an intercept.
    """

    n_features: int
    encoders: tuple
    n_outputs: int
    fit_intercept: bool


class StackObjective(NamedTuple):
    """What the objective depends on beside data and weights: arrays or tensors.

    Attributes
    ----------
    maps : list of (shift, factor)
        For each encoder the map, element by element, from its code to what the next
        layer reads: ``shift + factor * code``.
    decays : list of float
        For each layer the coefficient of half the sum of its squared weights.
    """

    maps: list
    decays: list


class StackNetwork:
    """Encoders and a linear last layer, and the objective of their classification."""

    def __init__(self, architecture):
        # Names and zeros: nothing here touches Keras' counters or random state.
        dense = functools.partial(
            keras.layers.Dense, kernel_initializer="zeros", dtype="float32"
        )
        self.layers = [
            dense(n_components, activation=activation, name=f"encoder_{i}")
            for i, (n_components, activation) in enumerate(architecture.encoders, 1)
        ]
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
        self.variables = [v for layer in self.layers for v in layer.trainable_variables]

    def cross_entropy(self, X, targets, row_weights, objective):
        """Return the cross-entropies of the rows, weighted and summed.

        Parameters
        ----------
        X : tensor of shape (n_rows, n_features)
        targets : tensor of shape (n_rows, n_outputs)
            One-hot rows, or for one output whether the row is of the second class.
        row_weights : tensor of shape (n_rows,)
        objective : StackObjective
        """
        for encoder, (shift, factor) in zip(
            self.layers[:-1], objective.maps, strict=True
        ):
            X = shift + factor * encoder(X)
        logits = self.layers[-1](X)
        if logits.shape[1] == 1:
            normalizer = ops.softplus(logits[:, 0])
        else:
            normalizer = ops.logsumexp(logits, axis=1)
        losses = normalizer - ops.sum(targets * logits, axis=1)
        return ops.sum(row_weights * losses)

    def decay(self, objective):
        """Return the penalty on the weights of all layers."""
        return sum(
            weight_penalty([layer.kernel], decay, ops)
            for layer, decay in zip(self.layers, objective.decays, strict=True)
        )


class StackProgram(Program):
    """A network, Adam, and the epoch over them."""

    def __init__(self, architecture, batch_size):
        self.batch_size, self._n_features = batch_size, architecture.n_features
        self.network = StackNetwork(architecture)
        spec, _ = OptimizerSpec.from_solver("adam")
        weights = self.network.variables
        super().__init__(weights, spec.build_for(weights))

    def epoch_graph(self, data, n_rows, objective, *, compiled):
        """Return ``epoch`` for arguments like these as a graph, compiled or not."""
        signature = tf.nest.map_structure(
            tf.TensorSpec.from_tensor, (data, n_rows, objective)
        )
        return self.graph(self.epoch, *signature, compiled=compiled)

    def cross_entropy_at(self, weights, rows, objective):
        """Return the summed cross-entropy of rows at weights, layer by layer."""
        with self._at(weights):
            return float(self.network.cross_entropy(*rows, objective))

    def decay_at(self, weights, objective):
        """Return the penalty on weights, layer by layer."""
        with self._at(weights):
            return float(self.network.decay(objective))

    def _at(self, weights):
        values = zip(self.weights, weights, strict=True)
        return keras.StatelessScope(state_mapping=list(values))

    def epoch(self, data, n_rows, objective):
        """Step through the first ``n_rows`` rows in order.

        Parameters
        ----------
        data : tensor of shape (chunk_rows, n_features + n_outputs + 1)
            Inputs, targets and weights, as ``joined_columns`` puts them; rows from
            ``n_rows`` on are padding.
        n_rows : scalar tensor, int32
        objective : StackObjective

        Returns
        -------
        loss : scalar tensor
            Sum over the rows of their cross-entropies.
        """
        variables = [v.value for v in self.weights]
        n_taken = min(self.batch_size, data.shape[0])
        n_steps, bounds = even_batches(n_rows, n_taken)

        def step(number, total):
            start, n_valid = bounds(number)
            rows = tf.slice(data, [start, 0], [n_taken, data.shape[1]])
            X, targets, weights = tf.split(rows, [self._n_features, -1, 1], axis=1)
            is_row = tf.cast(tf.range(n_taken) < n_valid, rows.dtype)
            n_valid = tf.cast(n_valid, rows.dtype)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                loss = self.network.cross_entropy(
                    X, targets, weights[:, 0] * is_row, objective
                )
                value = loss / n_valid + self.network.decay(objective)
            self.optimizer.apply(tape.gradient(value, variables), self.weights)
            return number + 1, total + loss

        _, total = tf.while_loop(
            lambda number, total: number < n_steps,
            step,
            [0, tf.zeros(())],
            parallel_iterations=1,
        )
        return total


@latest_programs(8)
def stack_program(architecture, batch_size):
    """Return the program of a shape; the latest 8 are kept."""
    return StackProgram(architecture, batch_size)


def joined_columns(inputs, targets, weights):
    """Return inputs, targets and weights as the columns of one array, in float32."""
    return np.hstack([inputs, targets, weights[:, None]], dtype=np.float32)


def _tensors(arrays):
    return tuple(tf.constant(array, dtype=tf.float32) for array in arrays)


class StackEngine:
    """One training of a stack, epoch by epoch.

    Parameters
    ----------
    rows : tuple of ndarrays
        Inputs (n_samples, n_features), targets (n_samples, n_outputs), and weights
        (n_samples,) with a mean of 1.
    weights : list of ndarray
        Kernel and bias of every layer, to start from.
    architecture : StackArchitecture
    objective : StackObjective
        Of arrays.
    batch_size : int
    rng : RandomState
        Of the order of the rows.
    max_iter : int
        Epochs, at most.
    """

    end = None

    def __init__(
        self, rows, weights, architecture, objective, batch_size, rng, max_iter
    ):
        self._program = stack_program(architecture, batch_size)
        self._run = Run(self._program, weights)
        data = joined_columns(*rows)
        self._n_samples, n_columns = data.shape
        as_given = Scaling(np.zeros(n_columns), 1.0, linear_output=False)
        features = Coordinates(None, None, 0.0)
        self._stream = EpochStream(data, as_given, features, batch_size, rng, max_iter)
        self._objective = StackObjective(
            [_tensors(pair) for pair in objective.maps],
            list(_tensors(objective.decays)),
        )
        n_outputs = sum(layer.units for layer in self._program.network.layers)
        n_steps = max_iter * self._n_samples / batch_size
        self._graph = self._program.epoch_graph(
            tf.zeros([self._stream.chunk_rows, n_columns]),
            tf.constant(0),
            self._objective,
            compiled=worth_compiling(n_steps, batch_size * n_outputs),
        )

    def epoch(self, rates, stop=None):
        """Step through all rows once; see ``MiniBatchEngine.epoch``."""
        self._run.set_learning_rate(rates[0])
        total = 0.0
        for data, n_rows in self._stream:
            arguments = data, tf.constant(n_rows), self._objective
            (loss,) = self._run.call(self._graph, *arguments)
            total += float(loss)
        decay = self._program.decay_at(self.weights(), self._objective)
        return [Losses(total / self._n_samples, 0.0, np.nan, decay)]

    def rate_now(self, rate):
        """Return the rate, which does not fall within an epoch."""
        return rate

    def weights(self, number=0):
        """Return copies of the kernel and the bias of every layer."""
        return values_of(self._run.weights)

    def finish(self):
        """Do nothing: Adam has nothing to finish."""

    def watching(self, rows):
        """Return a function from weights to the mean cross-entropy of other rows."""
        tensors, n_rows = _tensors(rows), len(rows[0])

        def mean_cross_entropy(weights):
            loss = self._program.cross_entropy_at(weights, tensors, self._objective)
            return loss / n_rows

        return mean_cross_entropy
