"""Mini-batch training: whole epochs inside one compiled TensorFlow program."""

import functools
import math
import warnings
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ._checkpoint import Checkpoint
from ._monitor import Losses, Monitor
from ._network import Network
from ._objective import weight_penalty
from ._optimizers import OptimizerSpec
from ._problem import Penalties, Problem
from ._programs import Program, Run, copies, latest_programs, worth_compiling
from ._revival import Reviver
from ._streams import EpochStream

# The running rho_hat averages about this many samples. On Ng's patches the objective
# reached is within 0.3 % of L-BFGS's for batches of 32, 256 and 1000 alike; 500
# samples leave 1 %, and so does a lag of several epochs on small data.
RHO_HAT_WINDOW = 2000


class TrainingState(NamedTuple):
    """What continues a training besides the weights: NumPy arrays only."""

    optimizer_variables: list
    rho_hat: np.ndarray


class MiniBatchProgram(Program):
    """A network, an optimizer, and the epoch over them.

    With ``n_models`` it trains as many side by side on the same batches, and what it
    takes and returns has an axis of them first.
    """

    def __init__(self, architecture, optimizer_spec, batch_size, n_models=None):
        self.batch_size = batch_size
        self.network = Network(architecture, n_models)
        self._models = self.network.models
        self._rho_hat = tf.Variable(
            tf.zeros([*self._models, architecture.n_components])
        )
        weights = self.network.variables
        super().__init__(weights, optimizer_spec.build_for(weights), [self._rho_hat])

    def epoch_graph(self, chunk_rows, *, compiled):
        """Return ``epoch`` for chunks of so many rows as a graph, compiled or not."""
        architecture, rates = self.network.architecture, None
        of_models = functools.partial(tf.TensorSpec, dtype=tf.float32)
        scalar = of_models(self._models)
        if self._models:
            per_unit = of_models([*self._models, 1])
            penalties, momentum = Penalties(per_unit, scalar, scalar), per_unit
            rates = scalar
        else:
            penalties, momentum = Penalties(scalar, scalar, scalar), scalar
        return self.graph(
            self.epoch,
            of_models([chunk_rows, architecture.n_features]),
            tf.TensorSpec([], tf.int32),
            of_models([architecture.n_features]),
            penalties,
            momentum,
            rates,
            compiled=compiled,
        )

    def epoch(self, data, n_rows, offset, penalties, momentum, rates=None):
        """Step through the first ``n_rows`` rows in order.

        Parameters
        ----------
        data : tensor of shape (chunk_rows, n_features)
            Rows from ``n_rows`` on are padding.
        n_rows : scalar tensor, int32
        offset : tensor of shape (n_features,)
        penalties : Penalties
        momentum : scalar tensor
            Share of the running rho_hat that a step keeps; 0 for the batch's own.
        rates : tensor of shape (n_models,), optional
            What the step of an optimizer with a rate of 1 is multiplied by.

        Returns
        -------
        terms : tensor of shape (3,) or (3, n_models)
            ``DataTerms.reported`` of their batches, summed over the rows.
        """
        variables = [v.value for v in self.weights]

        def blend(rho_hat):
            return tf.stop_gradient(momentum * self._rho_hat + (1 - momentum) * rho_hat)

        def step(start, total):
            X = tf.slice(data, [start, 0], [self.batch_size, data.shape[1]])
            n_valid = tf.minimum(n_rows - start, self.batch_size)
            is_row = tf.cast(tf.range(self.batch_size) < n_valid, X.dtype)
            n_valid = tf.cast(n_valid, X.dtype)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                terms = self.network.data_terms(
                    X, offset, is_row / n_valid, penalties, blend
                )
                objective = terms.total + self.network.decay(penalties)
                scaled = self.optimizer.scale_loss(objective)
            gradients = tape.gradient(scaled, variables)
            if rates is None:
                self.optimizer.apply(gradients, self.weights)
            else:
                self._apply_at(rates, gradients)
            self._rho_hat.assign(terms.rho_hat)
            return start + self.batch_size, total + n_valid * terms.reported

        _, total = tf.while_loop(
            lambda start, total: start < n_rows,
            step,
            [0, tf.zeros([3, *self._models], data.dtype)],
            parallel_iterations=1,
        )
        return total

    def _apply_at(self, rates, gradients):
        """Take a step of an optimizer that is proportional to its rate."""
        before = [tf.identity(v.value) for v in self.weights]
        self.optimizer.apply(gradients, self.weights)
        for variable, old in zip(self.weights, before, strict=True):
            rate = tf.reshape(rates, [-1] + [1] * (len(old.shape) - 1))
            variable.assign(old + rate * (variable.value - old))


class MiniBatchRun(Run):
    """The variables of one training of a ``MiniBatchProgram``.

    Parameters
    ----------
    program : MiniBatchProgram
    weights : list of ndarray
        W1, b1, W2, b2.
    state : TrainingState
        To continue from, or a fresh one.
    """

    def __init__(self, program, weights, state):
        self._network = program.network
        super().__init__(
            program,
            self._network.turned(weights),
            state.optimizer_variables,
            [state.rho_hat],
        )

    def get_weights(self):
        """Return copies of W1, b1, W2, b2."""
        return self._network.turned(super().get_weights())

    def state(self):
        """Return a copy of the training's state."""
        (rho_hat,) = copies(self.others)
        return TrainingState(copies(self.of_optimizer), rho_hat)

    def replace_units(self, weights, units, rho):
        """Take weights in which some units are new, and forget the old ones' history.

        Parameters
        ----------
        weights : list of ndarray
        units : ndarray of shape (n_components,), bool
            The new units; their running rho_hat begins at ``rho``.
        """
        values = self._network.turned(weights)
        for variable, value in zip(self.weights, values, strict=True):
            variable.assign(value.astype(np.float32))
        # Keras names what an optimizer keeps for a variable after that variable; all of
        # these have the units on their first axis.
        of_units = "encoder_kernel", "encoder_bias", "decoder_kernel"
        for variable, fresh in zip(
            self.of_optimizer, self.program.optimizer.variables, strict=True
        ):
            path = fresh.path.replace("/", "_")
            if fresh.shape and any(name in path for name in of_units):
                (value,) = copies([variable])
                value[units] = fresh.numpy()[units]
                variable.assign(value)
        (rho_hat,) = copies(self.others)
        rho_hat[units] = rho
        self.others[0].assign(rho_hat)

    def decay(self, weight_decay):
        """Return the weight-decay term, an array of shape () or (n_models,).

        A step needs only its gradient. The value, a sum that XLA does not vectorise,
        took a fifth of a step of 576 x 250 weights: it is taken once in an epoch.
        """
        W1, _, W2, _ = copies(self.weights)
        return weight_penalty((W1, W2), weight_decay, np)


@latest_programs(16)
def minibatch_program(architecture, optimizer, batch_size, chunk_rows):
    """Return the program for chunks of ``chunk_rows``; the latest 16 are kept."""
    return MiniBatchProgram(architecture, optimizer, batch_size)


class MiniBatchTraining(NamedTuple):
    """What ``train`` is to do.

    Attributes
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The data as given.
    weights : list of ndarray
        W1, b1, W2, b2 in the training's units, to start from.
    problem : Problem
    optimizer : OptimizerSpec
    batch_size : int
    rate : AnnealedRate or ConstantRate
    rho_hat : {"running", "batch"}
    shuffle : bool
    rng : RandomState
    monitor : Monitor
        Told of every epoch; says when the training stalls.
    state : TrainingState
        To continue from. Without optimizer variables the optimizer starts afresh.
    n_steps : int
        Steps that earlier calls have taken, for the decision to compile.
    n_samples_seen : int
        Samples of this call and those that it continues; the running mean takes no
        more.
    reviver : Reviver or None
        Looks after inactive units as long as the learning rate holds.
    checkpoint : Checkpoint or None
        Where to continue from, and to save the training after an epoch.
    """

    X: np.ndarray
    weights: list
    problem: Problem
    optimizer: OptimizerSpec
    batch_size: int
    rate: Any
    rho_hat: str
    shuffle: bool
    rng: np.random.RandomState
    monitor: Monitor
    state: TrainingState
    n_steps: int
    n_samples_seen: int
    reviver: Reviver | None
    checkpoint: Checkpoint | None

    @property
    def architecture(self):
        """That of the program, which computes in float32."""
        return self.problem.architecture._replace(dtype="float32")

    @property
    def steps_per_epoch(self):
        """Batches of an epoch, the last one as small as it may be."""
        return math.ceil(self.X.shape[0] / self.batch_size)

    @property
    def momentum(self):
        """The share of the running rho_hat that a step keeps."""
        window = min(RHO_HAT_WINDOW, self.n_samples_seen)
        return max(1 - self.batch_size / window, 0) if self.rho_hat == "running" else 0

    def is_worth_compiling(self, n_models=1):
        """Say whether as many models of this shape, in one program, are compiled."""
        _, n_features = self.X.shape
        n_values = self.batch_size * (
            n_features + self.problem.architecture.n_components
        )
        n_steps = self.n_steps + self.rate.end * self.steps_per_epoch
        return worth_compiling(n_steps, n_models * n_values)

    def rows(self):
        """Return the rows as a program takes them."""
        return EpochStream(
            self.X,
            self.problem.scaling,
            self.batch_size,
            self.shuffle,
            self.rng,
            n_epochs=self.rate.end,
        )


class Trained(NamedTuple):
    """What a training ends with.

    Attributes
    ----------
    weights : list of ndarray
    state : TrainingState
    n_steps : int
        Steps taken altogether.
    converged : bool
        Whether the training stalled, or was stopped, before it ran out of epochs.
    """

    weights: list
    state: TrainingState
    n_steps: int
    converged: bool


def train(training):
    """Minimise the objective by mini-batches.

    Parameters
    ----------
    training : MiniBatchTraining

    Returns
    -------
    trained : Trained
    """
    rate, rng, monitor = training.rate, training.rng, training.monitor
    reviver, checkpoint = training.reviver, training.checkpoint
    stream = training.rows()
    shape = training.architecture, training.optimizer, training.batch_size
    program = minibatch_program(*shape, stream.chunk_rows)
    run = MiniBatchRun(program, training.weights, training.state)
    run_epoch = program.epoch_graph(
        stream.chunk_rows, compiled=training.is_worth_compiling()
    )
    scaling, penalties = training.problem.scaling, training.problem.penalties
    offset = tf.constant(scaling.reconstruction_offset, dtype=tf.float32)
    coefficients = Penalties(*(tf.constant(p, tf.float32) for p in penalties))
    momentum = tf.constant(training.momentum, dtype=tf.float32)

    epoch, converged, ended = 0, False, False

    def save():
        generators = [rng, reviver.rng] if reviver else [rng]
        return {
            "weights": run.get_weights(),
            "state": list(run.state()),
            "epoch": epoch,
            "converged": converged,
            "ended": ended,
            "rate": rate.state(),
            "random": [g.get_state(legacy=False) for g in generators],
            "monitor": monitor.state(),
        }

    monitor.start()
    if checkpoint is not None and (saved := checkpoint.load()):
        run = MiniBatchRun(program, saved["weights"], TrainingState(*saved["state"]))
        epoch, converged = saved["epoch"], saved["converged"]
        ended = saved["ended"]
        rate.restore(saved["rate"])
        for generator, random_state in zip(
            [rng, reviver.rng] if reviver else [rng], saved["random"], strict=True
        ):
            generator.set_state(random_state)
        monitor.restore(saved["monitor"])
    try:
        while epoch < rate.end and not ended:
            monitor.begin_iteration()
            if rate(epoch) is not None:
                run.set_learning_rate(rate(epoch))
            total = np.zeros(3)
            for data, n_rows in stream:
                n_rows = tf.constant(n_rows, dtype=tf.int32)
                (terms,) = run.call(
                    run_epoch, data, n_rows, offset, coefficients, momentum, None
                )
                total += terms.numpy()
            epoch += 1
            decay = run.decay(penalties.weight_decay)
            losses = Losses.from_terms(total / training.X.shape[0], decay)
            monitor.update(losses, run.get_weights)
            if monitor.stalled:
                converged, ended = True, rate.on_stall(epoch)
            if monitor.stop_requested:
                converged = ended = True
            holds = not ended and epoch < rate.is_falling_from
            if reviver and holds and reviver.is_due(epoch):
                new_weights, units = reviver.revive(run.get_weights())
                if units.any():
                    run.replace_units(new_weights, units, penalties.rho)
            if checkpoint is not None:
                checkpoint.save(save)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
        monitor.interrupted = True
        converged = True
    run.finalize()
    n_steps = training.n_steps + epoch * training.steps_per_epoch
    return Trained(run.get_weights(), run.state(), n_steps, converged)
