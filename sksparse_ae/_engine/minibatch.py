"""Epochs of mini-batches, whole ones inside one compiled TensorFlow program."""

import functools
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from .._network.coordinates import Coordinates
from .._network.problem import Problem
from .._objective.objective import Coefficients, Losses
from .network import Network
from .optimizers import OptimizerSpec, unit_axes
from .programs import (
    Program,
    Run,
    even_batches,
    latest_programs,
    values_of,
    worth_compiling,
)
from .state import State
from .streams import EpochStream

# The averaged weights are those of about the last tenth of the steps.
AVERAGED_POWER = 8

# The running mean averages over this many samples at the start. It follows the weights
# without lag (see ``epoch``), so that this need not be many; as the steps grow shorter
# it averages over more. Over the settings of bench_convergence.py, 100 to 300 end
# alike; from 500 on wide networks end higher by 1 %, from 1000 on by 5.
AVERAGING_WINDOW = 300

# The largest share of it that a batch has at the start.
LARGEST_SHARE = 0.5


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
        Batches taken before, in rows over the batch size.
    share : float
        Share of the running mean that a batch has at the start; 1 for its own.
    spread : array of shape (n_features,) or None
        Unit of each coordinate of the output.
    """

    rate: Any
    falls: Any
    n_batches: Any
    share: Any
    spread: Any


class MiniBatches(NamedTuple):
    """A training by mini-batches, as the engine takes it.

    Attributes
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The data as given.
    problem : Problem
    coordinates : Coordinates
        What the weights are moved in.
    optimizer : OptimizerSpec
    batch_size : int
    follows : bool
        Whether the penalty acts on a running mean that follows the weights, and not on
        the mean of each batch.
    shuffle : bool
    falls : float
        How fast the learning rate falls: see ``Pace``.
    rng : RandomState
        Of the order of the rows.
    max_iter : int
        Epochs, at most.
    state : State
        To begin or to continue with.
    """

    X: Any
    problem: Problem
    coordinates: Coordinates
    optimizer: OptimizerSpec
    batch_size: int
    follows: bool
    shuffle: bool
    falls: float
    rng: np.random.RandomState
    max_iter: int
    state: State

    @property
    def architecture(self):
        """That of the program, which computes in float32."""
        given = self.problem.architecture
        n_axes = self.coordinates.n_axes(given.n_features)
        return given._replace(n_features=n_axes, dtype="float32")

    @property
    def batches_per_epoch(self):
        """Batches of an epoch, in rows over the batch size."""
        return self.X.shape[0] / self.batch_size

    @property
    def share(self):
        """The share of the running mean that a batch has at the start."""
        if not self.follows:
            return 1.0
        return min(self.batch_size / AVERAGING_WINDOW, LARGEST_SHARE)

    def is_worth_compiling(self, n_models):
        """Say whether as many models of this shape, in one program, are compiled."""
        n_values = self.batch_size * (
            self.architecture.n_features + self.architecture.n_components
        )
        n_steps = self.state.n_batches + self.max_iter * self.batches_per_epoch
        return worth_compiling(n_steps, n_models * n_values)


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
        Whether the running mean follows the steps of the weights, which takes a second
        look at every batch.
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
        self._statistic = tf.Variable(
            tf.zeros([*self._models, architecture.n_components])
        )
        weights, self._optimizer_spec = self.network.variables, optimizer_spec
        # What an optimizer of the user's own ends with is what is wanted of it.
        self._average = (
            [tf.Variable(tf.zeros_like(v.value)) for v in weights]
            if optimizer_spec.takes_rate
            else []
        )
        extra = [self._statistic, *self._average]
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
            Coefficients(per_unit, of_each, of_each),
            pace,
            compiled=compiled,
        )

    def epoch(self, data, n_rows, offset, coefficients, pace):
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
        coefficients : Coefficients
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

            def estimate_of(own):
                if self._follows:
                    running = self._statistic + share * (own - self._statistic)
                    penalty = self.network.objective.penalty
                    own = tf.clip_by_value(running, *penalty.bounds(coefficients))
                return tf.stop_gradient(own)

            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                terms = self.network.data_terms(
                    X, offset, row_weights, coefficients, estimate_of, pace.spread
                )
                objective = terms.total + self.network.decay(coefficients, pace.spread)
                scaled = self.optimizer.scale_loss(part * objective)
            gradients = tape.gradient(scaled, variables)
            self._apply(gradients, pace.rate, falling)
            self._note_statistic(X, row_weights, terms)
            n_batches += part
            self._note_average(part, n_batches)
            return number + 1, n_batches, total + n_valid * tf.stack(terms.reported)

        _, _, total = tf.while_loop(
            lambda number, n_batches, total: number < n_steps,
            step,
            [0, pace.n_batches, tf.zeros([3, *self._models], data.dtype)],
            parallel_iterations=1,
        )
        return total

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

    def _note_statistic(self, X, row_weights, terms):
        """Move the running mean to the new weights."""
        if not self._follows:
            self._statistic.assign(terms.own)
            return
        after = self.network.statistic(X, row_weights)
        self._statistic.assign(terms.estimate + after - terms.own)

    def _note_average(self, part, n_batches):
        """Take the new weights into the average.

        O. Shamir, T. Zhang, "Stochastic gradient descent for non-smooth optimization",
        ICML 2013: a mean whose weights grow with a power of the step.
        """
        share = (AVERAGED_POWER + 1) * part / (n_batches + AVERAGED_POWER)
        for mean, variable in zip(self._average, self.weights, strict=False):
            mean.assign_add(tf.minimum(share, 1.0) * (variable.value - mean))


# Each has variables for its weights and for what the optimizer keeps of them: 16 of one
# model, 2 of several.
@latest_programs(16)
def minibatch_program(architecture, optimizer, batch_size, follows, chunk_rows):
    """Return the program for chunks of ``chunk_rows``; the latest are kept."""
    return MiniBatchProgram(architecture, optimizer, batch_size, follows)


@latest_programs(2)
def joint_program(architecture, optimizer, batch_size, follows, chunk_rows, n_models):
    """Return the program of several models; the latest are kept."""
    return MiniBatchProgram(architecture, optimizer, batch_size, follows, n_models)


class MiniBatchEngine:
    """One training, or several side by side that take the same batches.

    Parameters
    ----------
    trainings : list of MiniBatches
        They differ in coefficients, ``falls`` and ``state`` alone. Several are trained
        by Adam.

    Attributes
    ----------
    n_batches : float
        Batches taken, in rows over the batch size.
    """

    # It ends when its epochs do, for no reason of its own.
    end = None

    def __init__(self, trainings):
        first, n_models = trainings[0], len(trainings)
        self._training, self._coordinates = first, first.coordinates
        self._has_models = n_models > 1
        self._stream = EpochStream(
            first.X,
            first.problem.scaling,
            first.coordinates,
            first.batch_size,
            first.rng if first.shuffle else None,
            first.max_iter,
        )
        key = (
            first.architecture,
            first.optimizer,
            first.batch_size,
            first.follows,
            self._stream.chunk_rows,
        )
        if self._has_models:
            self.program = joint_program(*key, n_models)
        else:
            self.program = minibatch_program(*key)
        longest = max(trainings, key=lambda training: training.max_iter)
        self._graph = self.program.epoch_graph(
            self._stream.chunk_rows,
            has_spread=self._coordinates.spread is not None,
            compiled=longest.is_worth_compiling(n_models),
        )
        constant = functools.partial(tf.constant, dtype=tf.float32)
        # Only a linear output has other coordinates than features, and then it is 0.
        offset = first.problem.scaling.reconstruction_offset
        self._offset = constant(offset[: first.architecture.n_features])
        self._coefficients = [training.problem.coefficients for training in trainings]
        rho, *others = np.transpose(self._coefficients).astype(np.float32)
        given = Coefficients(rho[:, None], *others)
        if not self._has_models:
            given = Coefficients(*self._coefficients[0])
        self._tensors = Coefficients(*map(constant, given))
        falls = [training.falls for training in trainings]
        self._falls = falls if self._has_models else falls[0]
        self.n_batches = first.state.n_batches
        self._run = self._begun([training.state for training in trainings])
        if self._has_models:
            self._run.set_learning_rate(1.0)

    def _begun(self, states):
        """Return the variables of a run that begins with states."""
        extra = [
            [s.statistic, *((s.average or s.weights) if self.program.averages else ())]
            for s in states
        ]
        if not self._has_models:
            (state,) = states
            variables = state.weights, state.optimizer_variables, extra[0]
        else:
            weights = [state.weights for state in states]
            variables = _stacked(weights), None, _stacked(extra)
        return Run(self.program, *variables)

    def set_learning_rate(self, rate):
        """Set the rate of an optimizer of the user's own that has no schedule."""
        self._run.set_learning_rate(rate)

    def rate_now(self, rate):
        """Return what a rate, that of the only training, has fallen to."""
        return float(rate / np.sqrt(1 + self._falls * self.n_batches))

    def epoch(self, rates, stop=None):
        """Step through all rows once.

        Parameters
        ----------
        rates : list of float or None
            Learning rate of each training at its start.
        stop : threading.Event, optional
            If it is set, KeyboardInterrupt is raised before the next chunk of rows.

        Returns
        -------
        losses : list of Losses
            Of each training: means over the batches, and the weight decay at the end.
        """
        constant = functools.partial(tf.constant, dtype=tf.float32)
        rate = rates if self._has_models else rates[0]
        if not self._training.optimizer.takes_rate:
            rate = None
        share, spread = self._training.share, self._coordinates.spread
        total = 0.0
        for data, n_rows in self._stream:
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            pace = Pace(rate, self._falls, self.n_batches, share, spread)
            pace = Pace(*(None if value is None else constant(value) for value in pace))
            n_valid = tf.constant(n_rows, dtype=tf.int32)
            (terms,) = self._run.call(
                self._graph, data, n_valid, self._offset, self._tensors, pace
            )
            total += terms.numpy().astype(np.float64)
            self.n_batches += n_rows / self._training.batch_size
        means = total / self._training.X.shape[0]
        if not self._has_models:
            return [self._losses(means, values_of(self._run.weights), 0)]
        weights = zip(*values_of(self._run.weights), strict=True)
        return [
            self._losses(means[:, number], arrays, number)
            for number, arrays in enumerate(weights)
        ]

    def _losses(self, means, weights, number):
        # A step needs only the gradient of the weight decay. Its value, a sum that XLA
        # does not vectorise, took a fifth of a step of 576 x 250 weights: it is taken
        # once in an epoch.
        W1, _, W2, _ = weights
        kernels = W1, self._coordinates.decoder_kernel(W2)
        objective = self.program.network.objective
        decay = objective.decay(kernels, self._coefficients[number], np)
        return Losses(*map(float, means), float(decay))

    def weights(self, number=0):
        """Return W1, b1, W2, b2 of a training: averages, where the program makes them.

        They are copies, in the training's units.
        """
        variables = self._run.extra[1:] or self._run.weights
        if self._has_models:
            variables = [variable[number] for variable in variables]
        # They are no more exact than float32, and so the same to the last bit whatever
        # the number of BLAS threads that turned them back.
        weights = self._coordinates.leave(values_of(variables))
        return [array.astype(np.float32) for array in weights]

    def finish(self):
        """Let the optimizer finish, which may put averaged weights in place."""
        if not self._has_models:
            self._run.call(self.program.graph(self.program.finalize))

    # What follows is for one training.

    def state(self):
        """Return a copy of the training's state."""
        run = self._run
        statistic, *average = values_of(run.extra)
        return State(
            values_of(run.weights),
            statistic,
            average or None,
            values_of(run.of_optimizer),
            self.n_batches,
        )

    def restore(self, state):
        """Go on from a state of this training."""
        values = (
            state.weights,
            state.optimizer_variables,
            [state.statistic, *(state.average or ())],
        )
        run = self._run
        for variables, arrays in zip(
            (run.weights, run.of_optimizer, run.extra), values, strict=True
        ):
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)
        self.n_batches = state.n_batches

    def check_units(self):
        """Raise ValueError if the optimizer's variables have no axis of units."""
        _ = self.program.unit_axes

    def replace_units(self, weights, units, statistic):
        """Take weights in which some units are new, and forget the old ones' history.

        Parameters
        ----------
        weights : list of ndarray
            W1, b1, W2, b2 in the training's units.
        units : ndarray of shape (n_components,), bool
            The new units.
        statistic : float
            Where their running mean begins.
        """
        values = self._coordinates.enter(weights)
        state = self.state()
        fresh_values = self.program.fresh_optimizer_values(values)
        for value, axes, fresh in zip(
            state.optimizer_variables, self.program.unit_axes, fresh_values, strict=True
        ):
            for axis in axes:
                np.moveaxis(value, axis, 0)[units] = np.moveaxis(fresh, axis, 0)[units]
        state.statistic[units] = statistic
        average = None if state.average is None else values
        self.restore(state._replace(weights=values, average=average))


def _stacked(arrays_of_models):
    """Return, for each array of the models, theirs with an axis of models first."""
    return [np.stack(arrays) for arrays in zip(*arrays_of_models, strict=True)]
