"""Epochs of mini-batches, whole ones inside one compiled TensorFlow program."""

import functools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from .._network.coordinates import Coordinates
from .._network.problem import Penalties
from .._objective.penalties import weight_penalty
from .network import Network
from .optimizers import unit_axes
from .programs import (
    Program,
    Run,
    even_batches,
    latest_programs,
    values_of,
)

# The slope of KL is taken no nearer to 0 and 1 than this share of rho and of 1 - rho:
# an estimate from some hundred samples does not know a mean that is smaller.
LEAST_SHARE = 1 / 64

# The averaged weights are those of about the last tenth of the steps.
AVERAGED_POWER = 8


class Pace(NamedTuple):
    """How fast a training goes, in numbers and arrays, or in tensors.

    Attributes
    ----------
    rate : float, array of shape (n_models,), or None
        Learning rate at the start. None leaves it to the optimizer.
    falls : float or array of shape (n_models,)
        The rate is divided by the root of one plus this for every batch taken; 0 if it
        stays.
    n_batches : float
        Batches taken by earlier calls, in rows over the batch size.
    share : float
        Share of the running rho_hat that a batch has at the start; 1 for its own.
    spread : array of shape (n_features,) or None
        Unit of each coordinate of the output.
    """

    rate: Any
    falls: Any
    n_batches: Any
    share: Any
    spread: Any


class MiniBatchState(NamedTuple):
    """What a training continues from: NumPy arrays and numbers only.

    Attributes
    ----------
    weights : list of ndarray
        W1, b1, W2, b2 of the latest step, in the units of the training.
    average : list of ndarray or None
        Their average over the latest steps; None for ``weights`` themselves.
    optimizer_variables : list of ndarray or None
        None for an optimizer that begins afresh.
    rho_hat : ndarray of shape (n_components,)
    n_batches : float
        Batches taken, in rows over the batch size.
    """

    weights: list
    average: list | None
    optimizer_variables: list | None
    rho_hat: np.ndarray
    n_batches: float = 0.0


class MiniBatchProgram(Program):
    """A network, an optimizer, and the epoch over them.

    With ``n_models`` it trains as many side by side on the same batches, and what it
    takes and returns has an axis of them first.

    Parameters
    ----------
    architecture : Architecture
    optimizer_spec : OptimizerSpec
    batch_size : int
    follows : bool
        Whether the running rho_hat follows the steps of the weights, which takes a
        second look at every batch.
    n_models : int or None
    """

    def __init__(
        self, architecture, optimizer_spec, batch_size, follows, n_models=None
    ):
        self.batch_size = batch_size
        origin = Coordinates.of_features(architecture.activation).low
        self.network = Network(architecture, n_models, origin=origin)
        self._models, self._follows = self.network.models, follows
        self._sets_rate = optimizer_spec.takes_rate
        self._rho_hat = tf.Variable(
            tf.zeros([*self._models, architecture.n_components])
        )
        weights, self._optimizer_spec = self.network.variables, optimizer_spec
        # What an optimizer of the user's own ends with is what is wanted of it.
        self._average = (
            [tf.Variable(tf.zeros_like(v.value)) for v in weights]
            if optimizer_spec.takes_rate
            else []
        )
        extra = [self._rho_hat, *self._average]
        super().__init__(weights, optimizer_spec.build_for(weights), extra)

    @property
    def averages(self):
        """Whether the program averages the weights."""
        return bool(self._average)

    def fresh_optimizer_values(self, weights):
        """Return what the optimizer keeps where a training begins at these weights."""
        if self._sets_rate:
            return super().fresh_optimizer_values(weights)
        variables = Network(self.network.architecture).variables
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
        optimizer = self._optimizer_spec.build_for(variables)
        return [variable.numpy() for variable in optimizer.variables]

    @functools.cached_property
    def unit_axes(self):
        """The axes of units of each variable of the optimizer: see ``unit_axes``."""

        def variables_of(n_components, n_features):
            sizes = {"n_components": n_components, "n_features": n_features}
            return Network(self.network.architecture._replace(**sizes)).variables

        return unit_axes(self._optimizer_spec, variables_of)

    def epoch_graph(self, chunk_rows, *, has_spread, compiled):
        """Return ``epoch`` for chunks of so many rows as a graph, compiled or not."""
        architecture = self.network.architecture
        of_models = functools.partial(tf.TensorSpec, dtype=tf.float32)
        scalar, of_each = of_models([]), of_models(self._models)
        per_unit = of_models([*self._models, 1] if self._models else [])
        of_features = of_models([architecture.n_features])
        pace = Pace(
            of_each if self._sets_rate else None,
            of_each,
            scalar,
            scalar,
            of_features if has_spread else None,
        )
        return self.graph(
            self.epoch,
            of_models([chunk_rows, architecture.n_features]),
            tf.TensorSpec([], tf.int32),
            of_features,
            Penalties(per_unit, of_each, of_each),
            pace,
            compiled=compiled,
        )

    def epoch(self, data, n_rows, offset, penalties, pace):
        """Step through the first ``n_rows`` rows in order.

        They are split into batches whose sizes differ by one row at most. Every row
        has the same say in a step: its gradient over the batch size.

        KL is convex: at the mean of one batch it is too large. So its slope is taken at
        a running mean. A mean of past codes alone would lag behind the weights, and as
        each step answers to it, the two would swing ever higher in a wide network. So
        it is moved by what each step has changed in the batch that it was made for:

            rho_hat <- (1 - share) rho_hat + share mean(a) + (mean(a') - mean(a))

        with the batch's codes a before and a' after the step: the estimator of
        T. Chen, Y. Sun, W. Yin, "Solving stochastic compositional optimization is
        nearly as easy as solving stochastic optimization", IEEE Transactions on Signal
        Processing 69, 2021.

        Parameters
        ----------
        data : tensor of shape (chunk_rows, n_features)
            Rows from ``n_rows`` on are padding.
        n_rows : scalar tensor, int32
        offset : tensor of shape (n_features,)
        penalties : Penalties
        pace : Pace

        Returns
        -------
        terms : tensor of shape (3,) or (3, n_models)
            ``DataTerms.reported`` of their batches, summed over the rows.
        """
        variables = [v.value for v in self.weights]
        # A batch of a stream may be larger than a call's rows.
        n_taken = min(self.batch_size, data.shape[0])
        n_steps, bounds = even_batches(n_rows, n_taken)

        def step(number, n_batches, total):
            start, n_valid = bounds(number)
            X = tf.slice(data, [start, 0], [n_taken, data.shape[1]])
            is_row = tf.cast(tf.range(n_taken) < n_valid, X.dtype)
            n_valid = tf.cast(n_valid, X.dtype)
            row_weights, part = is_row / n_valid, n_valid / self.batch_size
            falling = tf.math.rsqrt(1 + pace.falls * n_batches)
            # Of the batch's own mean all, whatever the rate; of the running one less
            # with every shorter step.
            share = pace.share if not self._follows else part * pace.share * falling
            if self._models and self._follows:
                share = share[:, None]

            def estimate_of(rho_hat):
                if self._follows:
                    running = self._rho_hat + share * (rho_hat - self._rho_hat)
                    rho_hat = self._within(running, penalties.rho)
                return tf.stop_gradient(rho_hat)

            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                terms = self.network.data_terms(
                    X, offset, row_weights, penalties, estimate_of, pace.spread
                )
                objective = terms.total + self.network.decay(penalties, pace.spread)
                scaled = self.optimizer.scale_loss(part * objective)
            gradients = tape.gradient(scaled, variables)
            self._apply(gradients, pace.rate, falling)
            self._note_rho_hat(X, row_weights, terms)
            n_batches += part
            self._note_average(part, n_batches)
            return number + 1, n_batches, total + n_valid * terms.reported

        _, _, total = tf.while_loop(
            lambda number, n_batches, total: number < n_steps,
            step,
            [0, pace.n_batches, tf.zeros([3, *self._models], data.dtype)],
            parallel_iterations=1,
        )
        return total

    @staticmethod
    def _within(rho_hat, rho):
        low, high = LEAST_SHARE * rho, 1 - LEAST_SHARE * (1 - rho)
        return tf.clip_by_value(rho_hat, low, high)

    def _apply(self, gradients, rate, falling):
        """Take a step, at a rate that is set here or left to the optimizer."""
        if rate is None:
            self.optimizer.apply(gradients, self.weights)
        elif not self._models:
            self.optimizer.learning_rate.assign(rate * falling)
            self.optimizer.apply(gradients, self.weights)
        else:
            # The step of an optimizer that is proportional to its rate, of 1.
            before = [tf.identity(v.value) for v in self.weights]
            self.optimizer.apply(gradients, self.weights)
            for variable, old in zip(self.weights, before, strict=True):
                shape = [-1] + [1] * (len(old.shape) - 1)
                change = tf.reshape(rate * falling, shape) * (variable.value - old)
                variable.assign(old + change)

    def _note_rho_hat(self, X, row_weights, terms):
        """Move the running mean to the new weights."""
        if not self._follows:
            self._rho_hat.assign(terms.own_rho_hat)
            return
        after = self.network.mean_rho_hat(self.network.encoder(X), row_weights)
        self._rho_hat.assign(terms.rho_hat + after - terms.own_rho_hat)

    def _note_average(self, part, n_batches):
        """Take the new weights into the average.

        O. Shamir, T. Zhang, "Stochastic gradient descent for non-smooth optimization",
        ICML 2013: a mean whose weights grow with a power of the step.
        """
        share = (AVERAGED_POWER + 1) * part / (n_batches + AVERAGED_POWER)
        for mean, variable in zip(self._average, self.weights, strict=False):
            mean.assign_add(tf.minimum(share, 1.0) * (variable.value - mean))


class MiniBatchRun(Run):
    """The variables of one training of a ``MiniBatchProgram``.

    Parameters
    ----------
    program : MiniBatchProgram
    coordinates : Coordinates
        What the weights are moved in.
    state : MiniBatchState
        To continue from, or a fresh one.

    Attributes
    ----------
    n_batches : float
        Batches taken, in rows over the batch size.
    """

    def __init__(self, program, coordinates, state):
        self._network, self._coordinates = program.network, coordinates
        self.n_batches = state.n_batches
        weights = self._entered(state.weights)
        average = []
        if program.averages:
            average = weights if state.average is None else self._entered(state.average)
        super().__init__(
            program, weights, state.optimizer_variables, [state.rho_hat, *average]
        )

    def _entered(self, weights):
        if not self._network.models:
            return self._network.in_kernel_layout(self._coordinates.enter(weights))
        entered = map(self._coordinates.enter, zip(*weights, strict=True))
        return self._network.in_kernel_layout(
            list(map(np.stack, zip(*entered, strict=True)))
        )

    def _left(self, variables):
        weights = self._network.in_kernel_layout(values_of(variables))
        if not self._network.models:
            left = self._coordinates.leave(weights)
        else:
            parts = map(self._coordinates.leave, zip(*weights, strict=True))
            left = map(np.stack, zip(*parts, strict=True))
        # They are no more exact than float32, and so the same to the last bit whatever
        # the number of BLAS threads that turned them back.
        return [w.astype(np.float32) for w in left]

    def get_weights(self):
        """Return copies of W1, b1, W2, b2: averages, where the program makes them."""
        return self._left(self.extra[1:] or self.weights)

    def epoch(self, graph, stream, offset, penalties, pace):
        """Step through the rows of a stream once.

        Parameters
        ----------
        graph : callable
            The program's ``epoch_graph``.
        stream : iterable of (tensor, int)
            Chunks, each with the number of its rows in use.
        offset : ndarray of shape (n_features,)
            What is added to the rows to get what they reconstruct.
        penalties : Penalties
            Of numbers; of several models, of arrays with an axis of them first.
        pace : Pace
            Its ``n_batches`` is not read: the run counts its own.

        Returns
        -------
        total : ndarray of shape (3,) or (3, n_models)
            ``DataTerms.reported``, summed over the rows.
        """
        constant = functools.partial(tf.constant, dtype=tf.float32)
        offset, penalties = constant(offset), Penalties(*map(constant, penalties))
        total = np.zeros([3, *self._network.models])
        for data, n_rows in stream:
            now = pace._replace(n_batches=self.n_batches)
            now = Pace(*(None if value is None else constant(value) for value in now))
            n_valid = tf.constant(n_rows, dtype=tf.int32)
            (terms,) = self.call(graph, data, n_valid, offset, penalties, now)
            total += terms.numpy()
            self.n_batches += n_rows / self.program.batch_size
        return total

    def state(self):
        """Return a copy of the training's state."""
        average = self.extra[1:]
        (rho_hat,) = values_of(self.extra[:1])
        return MiniBatchState(
            self._left(self.weights),
            self._left(average) if average else None,
            values_of(self.of_optimizer),
            rho_hat,
            self.n_batches,
        )

    def values(self):
        """Return copies of all variables, as they are."""
        return values_of([*self.weights, *self.of_optimizer, *self.extra])

    def restore(self, values):
        """Take the values of another run."""
        variables = [*self.weights, *self.of_optimizer, *self.extra]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def replace_units(self, weights, units, rho):
        """Take weights in which some units are new, and forget the old ones' history.

        Parameters
        ----------
        weights : list of ndarray
        units : ndarray of shape (n_components,), bool
            The new units; their running rho_hat begins at ``rho``.
        """
        values = self._entered(weights)
        for variables in (self.weights, self.extra[1:]):
            for variable, value in zip(variables, values, strict=bool(variables)):
                variable.assign(value.astype(np.float32))
        fresh_values = self.program.fresh_optimizer_values(values)
        for variable, axes, fresh in zip(
            self.of_optimizer, self.program.unit_axes, fresh_values, strict=True
        ):
            (value,) = values_of([variable])
            for axis in axes:
                np.moveaxis(value, axis, 0)[units] = np.moveaxis(fresh, axis, 0)[units]
            variable.assign(value)
        (rho_hat,) = values_of(self.extra[:1])
        rho_hat[units] = rho
        self.extra[0].assign(rho_hat)

    def decay(self, weight_decay):
        """Return the weight-decay term of the latest step, of shape () or (n_models,).

        A step needs only its gradient. The value, a sum that XLA does not vectorise,
        took a fifth of a step of 576 x 250 weights: it is taken once in an epoch.
        """
        W1, _, W2, _ = values_of(self.weights)
        spread = self._coordinates.spread
        kernels = W1, W2 if spread is None else W2 * spread.astype(W2.dtype)
        return weight_penalty(kernels, weight_decay, np)


@latest_programs(16)
def minibatch_program(architecture, optimizer, batch_size, follows, chunk_rows):
    """Return the program for chunks of ``chunk_rows``; the latest 16 are kept."""
    return MiniBatchProgram(architecture, optimizer, batch_size, follows)
