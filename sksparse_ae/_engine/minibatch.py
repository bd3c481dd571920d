"""Epochs of mini-batches, whole ones inside one compiled TensorFlow program."""

import functools
from collections.abc import Sequence
from threading import Event
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from .._network.coordinates import Coordinates, with_unit_rows
from .._network.problem import Architecture, Problem
from .._network.reading import Rows, weights_of
from .._objective.objective import Coefficients, Losses
from .._objective.penalties import weight_penalty
from .chunking import worth_compiling
from .network import Network, with_gaps
from .optimizers import OptimizerSpec
from .programs import (
    Program,
    Run,
    even_batches,
    making_programs,
    values_of,
)
from .state import Engine, State
from .streams import Corruption, EpochStream

# The averaged weights are those of about the last tenth of the steps.
AVERAGED_POWER = 8

# The running mean averages over this many samples at the start. It follows the weights
# without lag (see ``epoch``), so that this need not be many; as the steps grow shorter
# it averages over more. Over the settings of bench_convergence.py, 100 to 300 end
# alike; from 500 on wide networks end higher by 1 %, from 1000 on by 5.
AVERAGING_WINDOW = 300

# The largest share of it that a batch has at the start.
LARGEST_SHARE = 0.5

# Two numbers of units, and as many features as neither, to tell the axes of units by.
PROBED_UNITS, PROBED_FEATURES = (5, 6), 2


class Pace(NamedTuple):
    """How fast a training goes, in numbers and arrays, or in tensors.

    ``rate`` and ``falls`` are scalars, or of several models (n_models,).
    """

    rate: Any  # learning rate at the start; None leaves it to the optimizer
    # The rate is divided by the root of one plus this for every batch taken; 0 if it
    # stays.
    falls: Any
    # So many rows take a step at the whole rate; a batch of fewer takes the root of its
    # share of it.
    whole: Any
    n_batches: Any  # batches taken before, in rows over the size that each had
    n_averaged: Any  # the same rows over the size that batches have now
    share: Any  # of the running mean that a batch has at the start; 1 for its own
    spread: Any  # unit of each coordinate of the output, (n_features,), or None
    # Share of a step that the encoder's weights take along each coordinate, or None.
    encoder_share: Any


class MiniBatches(NamedTuple):
    """A training by mini-batches, as the engine takes it."""

    X: Rows  # the data as given
    problem: Problem
    coordinates: Coordinates  # what the weights are moved in
    optimizer: OptimizerSpec
    batch_size: int
    # Whether the penalty acts on a running mean that follows the weights, and not on
    # the mean of each batch.
    follows: bool
    shuffle: bool
    falls: float  # how fast the learning rate falls: see ``Pace``
    whole: int  # rows of a step at the whole rate: see ``Pace``
    rng: np.random.RandomState  # of the order of the rows
    max_iter: int
    state: State  # to begin or to continue with
    corruption: Corruption | None = None  # of what the encoder reads

    @property
    def architecture(self) -> Architecture:
        """That of the program, which computes in float32."""
        architecture = self.problem.architecture
        n_axes = self.coordinates.n_axes(architecture.n_features)
        return architecture._replace(n_features=n_axes, dtype="float32")

    @property
    def batches_per_epoch(self) -> float:
        """Batches of an epoch, in rows over the batch size."""
        return self.X.shape[0] / self.batch_size


class MiniBatchProgram(Program):
    """A network, an optimizer, and the epoch over them.

    With ``n_models`` it trains as many side by side on the same batches, and what it
    takes and returns has an axis of them first. If the running mean ``follows`` the
    steps of the weights, each step takes a second look at its batch.
    """

    def __init__(
        self,
        architecture: Architecture,
        optimizer_spec: OptimizerSpec,
        batch_size: int,
        follows: bool,
        n_models: int | None = None,
    ) -> None:
        self.batch_size, self._follows = batch_size, follows
        origin = Coordinates.of_features(architecture.activation).low
        self.network = Network(architecture, n_models, origin=origin)
        self._models, self._optimizer_spec = self.network.models, optimizer_spec
        self._statistic = tf.Variable(
            tf.zeros([*self._models, architecture.n_components])
        )
        weights = self.network.variables
        # An optimizer of the user's own is wanted for what it ends with: nothing is
        # averaged.
        self._average = (
            [tf.Variable(tf.zeros_like(v.value)) for v in weights]
            if optimizer_spec.takes_rate
            else []
        )
        extra = [self._statistic, *self._average]
        super().__init__(weights, optimizer_spec.build_for(weights), extra)

    def fresh_optimizer_values(self, weights: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self._optimizer_spec.takes_rate:
            return super().fresh_optimizer_values(weights)
        variables = Network(self.network.architecture).variables
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)
        optimizer = self._optimizer_spec.build_for(variables)
        return [variable.numpy() for variable in optimizer.variables]

    @functools.cached_property
    def unit_axes(self) -> list[list[int]]:
        """The axes of units of each variable that the optimizer keeps.

        They are those that grow with the number of units, by as many. What a variable
        is called, and whether there are as many features as units, does not matter. A
        ValueError tells of a variable that grows in another way: units cannot be told
        apart in it.
        """

        def kept_for(n_units: int) -> list[Any]:
            architecture = self.network.architecture._replace(
                n_features=PROBED_FEATURES, n_components=n_units
            )
            variables = Network(architecture).variables
            return self._optimizer_spec.build_for(variables).variables

        axes: list[list[int]] = []
        for variable, larger in zip(*map(kept_for, PROBED_UNITS), strict=True):
            sizes = list(zip(variable.shape, larger.shape, strict=True))
            axes.append([axis for axis, (few, many) in enumerate(sizes) if few != many])
            if any(sizes[axis] != PROBED_UNITS for axis in axes[-1]):
                raise ValueError(
                    f"revive=True cannot start units anew in {variable.path}, of shape "
                    f"{tuple(variable.shape)} for {PROBED_UNITS[0]} units, that the "
                    "solver keeps: no axis of it is that of the units. Set "
                    "revive=False."
                )
        return axes

    def epoch(
        self,
        data: Any,
        n_rows: Any,
        weights: Any,
        inputs: Any,
        offset: Any,
        coefficients: Coefficients,
        pace: Pace,
    ) -> Any:
        """Step through the first ``n_rows`` rows in order.

        Returned are the first three ``DataTerms`` of their batches, summed over the
        rows: a tensor of shape (3,) or (3, n_models). Rows of ``data`` from ``n_rows``
        on are padding.

        The rows are split into batches whose sizes differ by one row at most. Every row
        has the same say in a step: its gradient over the batch size, times its weight,
        of ``weights``, (chunk_rows,) with a mean of 1, or None for weights of 1. The
        encoder reads ``inputs``, or the data for None.

        KL is convex: at the mean of one batch it is too large. So its slope is taken at
        a running mean. A mean of past codes alone would lag behind the weights. As each
        step answers to it, the two would then swing ever higher in a wide network. So
        the mean is moved by what each step has changed in the batch that it was made
        for:

            rho_hat <- (1 - share) rho_hat + share mean(a) + (mean(a') - mean(a))

        with the batch's codes a before and a' after the step. This is the estimator of
        T. Chen, Y. Sun, W. Yin, "Solving stochastic compositional optimization is
        nearly as easy as solving stochastic optimization", IEEE Transactions on Signal
        Processing 69, 2021.
        """
        variables = [v.value for v in self.weights]
        # A batch of a stream may be larger than a call's rows.
        n_taken = min(self.batch_size, data.shape[0])
        n_steps, bounds = even_batches(n_rows, n_taken)

        def step(number: Any, n_batches: Any, n_averaged: Any, total: Any) -> Any:
            start, n_valid = bounds(number)
            shape = [n_taken, data.shape[1]]
            X = tf.slice(data, [start, 0], shape)
            if inputs is None:
                seen = self.network.seen(X)
            else:
                seen = with_gaps(tf.slice(inputs, [start, 0], shape))
            is_row = tf.cast(tf.range(n_taken) < n_valid, X.dtype)
            weight = tf.cast(n_valid, X.dtype)
            row_weights, of_rows = is_row / weight, weight / self.batch_size
            part = of_rows
            if weights is not None:
                own = is_row * tf.slice(weights, [start], [n_taken])
                weight = tf.reduce_sum(own)
                # Where no row has a weight, nothing is learnt.
                row_weights = tf.math.divide_no_nan(own, weight)
                part = weight / self.batch_size
            falling = tf.math.rsqrt(1 + pace.falls * n_batches)
            # A batch's share of the running mean falls with the length of the steps.
            share = part * pace.share * falling
            if self._models:
                share = share[:, None]

            def estimate_of(own: Any) -> Any:
                if self._follows:
                    running = self._statistic + share * (own - self._statistic)
                    penalty = self.network.objective.penalty
                    own = tf.clip_by_value(running, *penalty.bounds(coefficients))
                return tf.stop_gradient(own)

            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                terms = self.network.data_terms(
                    X, offset, row_weights, coefficients, estimate_of, pace.spread, seen
                )
                objective = terms.total + self.network.decay(coefficients, pace.spread)
                scaled = self.optimizer.scale_loss(part * objective)
            gradients = tape.gradient(scaled, variables)
            if pace.encoder_share is not None:
                gradients[0] *= pace.encoder_share
            # A step of Adam is as long for few rows as for many. So many steps of few
            # rows make as much noise as one of all. Without this, patches in pieces of
            # 32 rows ended 7 to 13 % above fit, and digits in pieces of 8 rows 27 %.
            of_whole = tf.minimum(tf.cast(n_valid, X.dtype) / pace.whole, 1.0)
            self._apply(gradients, pace.rate, falling * tf.sqrt(of_whole))
            self.network.restrict(pace.spread)
            if self._follows:  # move the running mean to the new weights
                after = self.network.statistic(seen, row_weights)
                self._statistic.assign(terms.estimate + after - terms.own_statistic)
            else:
                self._statistic.assign(terms.own_statistic)
            n_batches, n_averaged = n_batches + of_rows, n_averaged + of_rows
            self._note_average(of_rows, n_averaged)
            total += weight * tf.stack(terms[:3])
            return number + 1, n_batches, n_averaged, total

        total = tf.zeros([3, *self._models], data.dtype)
        *_, total = tf.while_loop(
            lambda number, *_: number < n_steps,
            step,
            [0, pace.n_batches, pace.n_averaged, total],
            parallel_iterations=1,
        )
        return total

    def _apply(self, gradients: list[Any], rate: Any, share: Any) -> None:
        """Take a step, at a share of a rate, or as the optimizer does for None."""
        if rate is None:
            self.optimizer.apply(gradients, self.weights)
        elif not self._models:
            self.optimizer.learning_rate.assign(rate * share)
            self.optimizer.apply(gradients, self.weights)
        else:
            # The optimizer takes a step at a rate of 1, to which its length is
            # proportional.
            before = [tf.identity(v.value) for v in self.weights]
            self.optimizer.apply(gradients, self.weights)
            for variable, old in zip(self.weights, before, strict=True):
                shape = [-1] + [1] * (len(old.shape) - 1)
                change = tf.reshape(rate * share, shape) * (variable.value - old)
                variable.assign(old + change)

    def _note_average(self, part: Any, n_averaged: Any) -> None:
        """Take the new weights into the average.

        O. Shamir, T. Zhang, "Stochastic gradient descent for non-smooth optimization",
        ICML 2013: a mean whose weights grow with a power of the step.
        """
        share = (AVERAGED_POWER + 1) * part / (n_averaged + AVERAGED_POWER)
        for mean, variable in zip(self._average, self.weights, strict=False):
            mean.assign_add(tf.minimum(share, 1.0) * (variable.value - mean))


def _program(
    architecture: Architecture,
    optimizer: OptimizerSpec,
    batch_size: int,
    follows: bool,
    chunk_rows: int,
    n_models: int | None = None,
) -> MiniBatchProgram:
    """Return the program for chunks of ``chunk_rows``."""
    return MiniBatchProgram(architecture, optimizer, batch_size, follows, n_models)


# Each program has variables for its weights and for what the optimizer keeps of them.
# So only the latest 16 of one model are kept, and the latest 2 of several.
minibatch_program = functools.lru_cache(maxsize=16)(_program)
joint_program = functools.lru_cache(maxsize=2)(_program)


class MiniBatchEngine(Engine):
    """One training, or several side by side that take the same batches.

    The trainings differ in coefficients, ``falls`` and ``state`` alone. Several are
    trained by Adam.
    """

    def __init__(self, trainings: list[MiniBatches]) -> None:
        first, n_models = trainings[0], len(trainings)
        self._training, self._coordinates = first, first.coordinates
        self._has_models = n_models > 1
        self._stream = EpochStream(
            first.X,
            first.problem.scaling,
            first.coordinates,
            first.batch_size,
            first.rng,
            first.max_iter,
            first.corruption,
            shuffle=first.shuffle,
        )
        architecture = first.architecture
        key = (
            architecture,
            first.optimizer,
            first.batch_size,
            first.follows,
            self._stream.chunk_rows,
        )
        with making_programs:
            if self._has_models:
                self.program = joint_program(*key, n_models)
            else:
                self.program = minibatch_program(*key)
        constant = functools.partial(tf.constant, dtype=tf.float32)
        # Only a linear output has other coordinates than features, and then it is 0.
        offset = first.problem.scaling.reconstruction_offset
        offset = constant(offset[: architecture.n_features])
        self._coefficients = [training.problem.coefficients for training in trainings]
        coefficients = self._coefficients[0]
        self._falls: Any = first.falls
        if self._has_models:
            coefficients = Coefficients(*np.transpose(self._coefficients))
            coefficients = coefficients._replace(rho=coefficients.rho[:, None])
            self._falls = [training.falls for training in trainings]
        self._tensors = offset, Coefficients(*map(constant, coefficients))
        self.n_batches, self.n_rows = first.state.n_batches, first.state.n_rows
        n_steps = first.state.n_batches + first.batches_per_epoch * max(
            training.max_iter for training in trainings
        )
        n_values = first.batch_size * (
            architecture.n_features + architecture.n_components
        )
        spec = functools.partial(tf.TensorSpec, dtype=tf.float32)
        of_data = spec([self._stream.chunk_rows, architecture.n_features])
        self._graph = self.program.graph(
            self.program.epoch,
            of_data,
            tf.TensorSpec([], tf.int32),
            None if weights_of(first.X) is None else spec([self._stream.chunk_rows]),
            None if first.corruption is None else of_data,
            *tf.nest.map_structure(
                lambda tensor: None if tensor is None else spec(tensor.shape),
                (*self._tensors, self._pace([0.0] * n_models)),
            ),
            compiled=worth_compiling(n_steps, n_models * n_values),
        )
        averages = first.optimizer.takes_rate
        states = [training.state for training in trainings]
        weights = [state.weights for state in states]
        extra = [
            [state.statistic, *((state.average or state.weights) if averages else ())]
            for state in states
        ]
        if self._has_models:
            self._run = Run(self.program, _stacked(weights), None, _stacked(extra))
            self._run.set_learning_rate(1.0)
        else:
            kept_values = states[0].optimizer_variables
            self._run = Run(self.program, weights[0], kept_values, extra[0])

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of an optimizer of the user's own that has no schedule."""
        self._run.set_learning_rate(rate)

    def rate_now(self, rate: float) -> float:
        """Return what a rate, that of the only training, has fallen to."""
        return float(rate / np.sqrt(1 + self._falls * self.n_batches))

    def _pace(self, rates: list[float] | list[None]) -> Pace:
        """Return the Pace of the rows to come, as tensors."""
        rate: Any = rates if self._has_models else rates[0]
        if not self._training.optimizer.takes_rate:
            rate = None
        share = min(self._training.batch_size / AVERAGING_WINDOW, LARGEST_SHARE)
        if not self._training.follows:
            share = 1.0
        coordinates = self._coordinates
        units = coordinates.spread, coordinates.encoder_share
        n_averaged = self.n_rows / self._training.batch_size
        counts = self.n_batches, n_averaged
        whole = self._training.whole
        pace = Pace(rate, self._falls, whole, *counts, share, *units)
        return Pace(*(None if v is None else tf.constant(v, tf.float32) for v in pace))

    def epoch(
        self, rates: list[float] | list[None], stop: Event | None = None
    ) -> list[Losses]:
        """Step through all rows once, from the rate of each training at its start.

        The losses are means over the batches, and the weight decay at the end. ``stop``
        is heeded before each chunk of rows.
        """
        total = 0.0
        for data, n_rows, weights, inputs in self._stream:
            if stop is not None and stop.is_set():
                raise KeyboardInterrupt
            n_valid = tf.constant(n_rows, dtype=tf.int32)
            (terms,) = self._run.call(
                self._graph,
                data,
                n_valid,
                weights,
                inputs,
                *self._tensors,
                self._pace(rates),
            )
            total += terms.numpy().astype(np.float64)
            self.n_batches += n_rows / self._training.batch_size
            self.n_rows += n_rows
        means = total / self._training.X.shape[0]
        weights = values_of(self._run.weights)
        models = zip(*weights, strict=True) if self._has_models else [weights]
        return [
            self._losses(own, arrays, number)
            for number, (own, arrays) in enumerate(
                zip(means.reshape(3, -1).T, models, strict=True)
            )
        ]

    def _losses(
        self, means: np.ndarray, weights: Sequence[np.ndarray], number: int
    ) -> Losses:
        # A step needs only the gradient of the weight decay. XLA does not vectorise its
        # value, a sum, which took a fifth of a step of 576 x 250 weights. The value is
        # therefore computed once in an epoch.
        W1, _, W2, _ = weights
        spread = self._coordinates.spread
        kernels = W1, W2 if spread is None else W2 * spread.astype(W2.dtype)
        decayed = self.program.network.objective.decayed(kernels)
        decay = weight_penalty(decayed, self._coefficients[number].weight_decay, np)
        return Losses(*map(float, [*means, decay]))

    def weights(self, number: int = 0) -> list[np.ndarray]:
        """Return copies of W1, b1, W2, b2 of a model, in the training's units.

        They are averages, where the program makes them.
        """
        variables = self._run.extra[1:] or self._run.weights
        if self._has_models:
            variables = [variable[number] for variable in variables]
        # They are no more exact than float32. Rounded to it, they are the same to the
        # last bit, however many BLAS threads have multiplied by the axes.
        weights = self._coordinates.leave(values_of(variables))
        if self.program.network.objective.selection is not None:
            # An average of vectors of norm one is shorter.
            weights = with_unit_rows(weights)
        return [array.astype(np.float32) for array in weights]

    def finish(self) -> None:
        """Let the optimizer finish, which may put averaged weights in place."""
        if not self._has_models:
            self._run.call(self.program.graph(self.program.finalize))

    def check_units(self) -> None:
        """Raise ValueError if the optimizer's variables have no axis of units."""
        _ = self.program.unit_axes

    def replace_units(
        self,
        weights: list[np.ndarray],
        units: np.ndarray,
        statistic: float,
        number: int = 0,
    ) -> None:
        """Take weights in which some units are new, and forget the old ones' history.

        The weights are those of a model, in the training's units. ``units`` tells which
        units are new, by a bool for each, and ``statistic`` is where their running mean
        begins.
        """
        values = self._coordinates.enter(weights)
        run = self._run
        self._set(run.weights, values, number)
        if len(run.extra) > 1:
            self._set(run.extra[1:], values, number)
        kept_values = values_of(run.optimizer_variables)
        fresh_values = self.program.fresh_optimizer_values(values)
        for kept, axes, fresh in zip(
            kept_values, self.program.unit_axes, fresh_values, strict=True
        ):
            if axes and self._has_models:
                kept, fresh = kept[number], fresh[number]
            for axis in axes:
                np.moveaxis(kept, axis, 0)[units] = np.moveaxis(fresh, axis, 0)[units]
        for variable, kept in zip(run.optimizer_variables, kept_values, strict=True):
            variable.assign(kept)
        means = values_of(run.extra[:1])[0]
        (means[number] if self._has_models else means)[units] = statistic
        run.extra[0].assign(means)

    def _set(self, variables: list[Any], values: list[np.ndarray], number: int) -> None:
        """Give variables the values of a model."""
        for variable, value in zip(variables, values, strict=True):
            if self._has_models:
                of_all = np.array(variable.numpy())
                of_all[number], value = value, of_all
            variable.assign(value)

    def mark(self, number: int = 0) -> list[np.ndarray]:
        """Return copies of what ``go_back`` needs of a model."""
        statistic, *average = self._run.extra
        variables = [*average, statistic, *self._run.optimizer_variables[2:]]
        if self._has_models:
            variables = [variable[number] for variable in variables]
        return values_of(variables)

    def go_back(self, mark: list[np.ndarray], number: int = 0) -> None:
        """Put a model where its average was when it was marked, without its momentum.

        A single step may have been far from the average. The trainings are by "adam" or
        "sgd", which keep two numbers, and then arrays for each weight: first its
        momentum.
        """
        run = self._run
        n_weights = len(run.weights)
        average, (statistic, *kept) = mark[:n_weights], mark[n_weights:]
        n_each = len(kept) // n_weights
        kept = [a if i % n_each else np.zeros_like(a) for i, a in enumerate(kept)]
        self._set(run.weights, average, number)
        self._set(run.extra, [statistic, *average], number)
        self._set(run.optimizer_variables[2:], kept, number)

    # What follows is for one training.

    def state(self) -> State:
        """Return a copy of the training's state."""
        run = self._run
        statistic, *average = values_of(run.extra)
        weights, kept_values = map(values_of, (run.weights, run.optimizer_variables))
        counts = self.n_batches, self.n_rows
        return State(weights, statistic, average or None, kept_values, *counts)

    def restore(self, state: State) -> None:
        """Go on from a state that ``state`` has returned."""
        run = self._run
        values = [*state.weights, *(state.optimizer_variables or ())]
        values += [state.statistic, *(state.average or ())]
        variables = [*run.weights, *run.optimizer_variables, *run.extra]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.n_batches, self.n_rows = state.n_batches, state.n_rows


def _stacked(arrays_of_models: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Return, for each array of the models, theirs with an axis of models first."""
    return [np.stack(arrays) for arrays in zip(*arrays_of_models, strict=True)]
