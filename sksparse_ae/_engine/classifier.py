"""A stack of encoders below a logistic regression, trained as one network."""

import functools
import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from .._objective.penalties import weight_penalty
from .optimizers import OptimizerSpec
from .programs import (
    Program,
    Run,
    even_batches,
    latest_programs,
    padded_rows,
    worth_compiling,
)


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
        self.batch_size = batch_size
        self.network = StackNetwork(architecture)
        spec, _ = OptimizerSpec.from_solver("adam")
        weights = self.network.variables
        super().__init__(weights, spec.build_for(weights))

    def epoch_graph(self, rows, order, n_rows, objective, *, compiled):
        """Return ``epoch`` for arguments like these as a graph, compiled or not."""
        signature = tf.nest.map_structure(
            tf.TensorSpec.from_tensor, (rows, order, n_rows, objective)
        )
        return self.graph(self.epoch, *signature, compiled=compiled)

    def cross_entropy_at(self, weights, rows, objective):
        """Return the summed cross-entropy of rows at weights, layer by layer."""
        values = list(zip(self.weights, weights, strict=True))
        with keras.StatelessScope(state_mapping=values):
            return float(self.network.cross_entropy(*rows, objective))

    def epoch(self, rows, order, n_rows, objective):
        """Step through ``n_rows`` rows in the order given.

        Parameters
        ----------
        rows : tuple of tensors
            Inputs, targets, and weights with a mean of 1; there may be padding.
        order : tensor of shape (n_padded,), int32
            Numbers of the rows; what follows the first ``n_rows`` is padding.
        n_rows : scalar tensor, int32
        objective : StackObjective

        Returns
        -------
        loss : scalar tensor
            Sum over the rows of their batch's objective; the penalty on the weights in
            it is that at the end.
        """
        variables = [v.value for v in self.weights]

        n_steps, bounds = even_batches(n_rows, self.batch_size)

        def step(number, total):
            start, n_valid = bounds(number)
            numbers = tf.slice(order, [start], [self.batch_size])
            X, targets, weights = (tf.gather(values, numbers) for values in rows)
            weights *= tf.cast(tf.range(self.batch_size) < n_valid, weights.dtype)
            n_valid = tf.cast(n_valid, weights.dtype)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                loss = self.network.cross_entropy(X, targets, weights, objective)
                value = loss / n_valid + self.network.decay(objective)
            self.optimizer.apply(tape.gradient(value, variables), self.weights)
            return number + 1, total + loss

        _, total = tf.while_loop(
            lambda number, total: number < n_steps,
            step,
            [0, tf.zeros(())],
            parallel_iterations=1,
        )
        return total + tf.cast(n_rows, total.dtype) * self.network.decay(objective)


@latest_programs(8)
def stack_program(architecture, batch_size):
    """Return the program of a shape; the latest 8 are kept."""
    return StackProgram(architecture, batch_size)


def _tensors(arrays):
    return tuple(tf.constant(array, dtype=tf.float32) for array in arrays)


class StackRun(Run):
    """The variables of one training of a ``StackProgram``, and its rows.

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
    n_epochs : int
        At most.
    """

    def __init__(self, rows, weights, architecture, objective, batch_size, n_epochs):
        super().__init__(stack_program(architecture, batch_size), weights)
        self._n_samples = n_samples = rows[0].shape[0]
        padding = padded_rows(n_samples) - n_samples
        self._rows = _tensors(
            np.pad(values, [(0, padding)] + [(0, 0)] * (values.ndim - 1))
            for values in rows
        )
        self._objective = StackObjective(
            [_tensors(pair) for pair in objective.maps],
            list(_tensors(objective.decays)),
        )
        n_order = math.ceil(padded_rows(n_samples) / batch_size) * batch_size
        self._order = np.zeros(n_order, dtype=np.int32)
        n_outputs = sum(layer.units for layer in self.program.network.layers)
        n_steps = n_epochs * math.ceil(n_samples / batch_size)
        compiled = worth_compiling(n_steps, batch_size * n_outputs)
        self._epoch = self.program.epoch_graph(*self._arguments(), compiled=compiled)

    def _arguments(self):
        order, n_rows = tf.constant(self._order), tf.constant(self._n_samples)
        return self._rows, order, n_rows, self._objective

    def epoch(self, rate, order):
        """Step through all rows in an order; return their mean objective."""
        self.set_learning_rate(rate)
        self._order[: self._n_samples] = order
        (loss,) = self.call(self._epoch, *self._arguments())
        return float(loss) / self._n_samples

    def watching(self, rows):
        """Return a function from weights to the mean cross-entropy of other rows."""
        tensors, n_rows = _tensors(rows), len(rows[0])

        def mean_cross_entropy(weights):
            loss = self.program.cross_entropy_at(weights, tensors, self._objective)
            return loss / n_rows

        return mean_cross_entropy
