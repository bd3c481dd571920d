"""Mini-batch training: from a start to averaged weights, epoch by epoch."""

import math
import warnings
from typing import NamedTuple

import numpy as np

from .._engine.minibatch import MiniBatchRun, MiniBatchState, Pace, minibatch_program
from .._engine.optimizers import OptimizerSpec
from .._engine.programs import worth_compiling
from .._engine.streams import EpochStream
from .._network.coordinates import Coordinates
from .._network.problem import Problem
from .checkpoint import Checkpoint
from .course import Course
from .monitor import Losses, Monitor
from .revival import Reviver

# The running rho_hat averages over this many samples at the start. It follows the
# weights without lag (see ``epoch``), so that this need not be many; as the steps grow
# shorter it averages over more. Over the settings of bench_convergence.py, 100 to 300
# end alike; from 500 on wide networks end higher by 1 %, from 1000 on by 5.
RHO_HAT_WINDOW = 300

# The largest share of it that a batch has at the start.
LARGEST_SHARE = 0.5

# The weights to return to, should an epoch be lost, are kept at each so many epochs.
SAFE_EPOCHS = 10


class MiniBatchTraining(NamedTuple):
    """What ``train`` is to do.

    Attributes
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The data as given.
    problem : Problem
    coordinates : Coordinates
        What the weights are moved in.
    optimizer : OptimizerSpec
    batch_size : int
    rate : float or None
        Learning rate at the start; None leaves it to the optimizer.
    automatic : bool
        Whether the rate may be changed.
    max_iter : int
    rho_hat : {"running", "batch"}
    shuffle : bool
    rng : RandomState
    monitor : Monitor
        Told of every epoch; says when the training stalls.
    state : MiniBatchState
        To start or to continue from.
    start_objective : float
        The objective there, on some rows.
    reviver : Reviver or None
        Looks after inactive units in the first part of the training.
    checkpoint : Checkpoint or None
        Where to continue from, and to save the training after an epoch.
    """

    X: np.ndarray
    problem: Problem
    coordinates: Coordinates
    optimizer: OptimizerSpec
    batch_size: int
    rate: float | None
    automatic: bool
    max_iter: int
    rho_hat: str
    shuffle: bool
    rng: np.random.RandomState
    monitor: Monitor
    state: MiniBatchState
    start_objective: float
    reviver: Reviver | None
    checkpoint: Checkpoint | None

    @property
    def architecture(self):
        """That of the program, which computes in float32."""
        given = self.problem.architecture
        n_axes = self.coordinates.n_axes(given.n_features)
        return given._replace(n_features=n_axes, dtype="float32")

    @property
    def follows(self):
        """Whether the mean activations are a running mean."""
        return self.rho_hat == "running"

    @property
    def batches_per_epoch(self):
        """Batches of an epoch, in rows over the batch size."""
        return self.X.shape[0] / self.batch_size

    @property
    def share(self):
        """The share of the running rho_hat that a batch has at the start."""
        if not self.follows:
            return 1.0
        return min(self.batch_size / RHO_HAT_WINDOW, LARGEST_SHARE)

    @property
    def falls(self):
        """How fast the rate falls: see ``Pace``."""
        return self.optimizer.falls if self.automatic else 0.0

    def course(self):
        """Return what the training goes by."""
        return Course(self.monitor, self.rate, self.automatic, self.start_objective)

    def pace(self, rate, falls):
        """Return the pace, before the first batch, at a rate that falls."""
        if not self.optimizer.takes_rate:
            rate = None
        return Pace(rate, falls, 0.0, self.share, self.coordinates.spread)

    def is_worth_compiling(self, n_models=1):
        """Say whether as many models of this shape, in one program, are compiled."""
        n_values = self.batch_size * (
            self.architecture.n_features + self.architecture.n_components
        )
        n_steps = self.state.n_batches + self.max_iter * self.batches_per_epoch
        return worth_compiling(n_steps, n_models * n_values)

    def rows(self):
        """Return the rows as a program takes them."""
        return EpochStream(
            self.X,
            self.problem.scaling,
            self.coordinates,
            self.batch_size,
            self.shuffle,
            self.rng,
            n_epochs=self.max_iter,
        )

    def offset(self):
        """Return what is added to the program's rows to get what they reconstruct."""
        offset = self.problem.scaling.reconstruction_offset
        n_features = self.architecture.n_features
        # Only a linear output has other coordinates than features, and then it is 0.
        return offset[:n_features]


class Trained(NamedTuple):
    """What a training ends with.

    Attributes
    ----------
    weights : list of ndarray
    state : MiniBatchState
    converged : bool
        Whether the training stalled, or was stopped, before it ran out of epochs.
    """

    weights: list
    state: MiniBatchState
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
    rng, monitor = training.rng, training.monitor
    reviver, checkpoint = training.reviver, training.checkpoint
    stream = training.rows()
    program = minibatch_program(
        training.architecture,
        training.optimizer,
        training.batch_size,
        training.follows,
        stream.chunk_rows,
    )
    run = MiniBatchRun(program, training.coordinates, training.state)
    run_epoch = program.epoch_graph(
        stream.chunk_rows,
        has_spread=training.coordinates.spread is not None,
        compiled=training.is_worth_compiling(),
    )
    if reviver is not None:
        _ = program.unit_axes  # raises before the training what it would within
    penalties, offset = training.problem.penalties, training.offset()
    course = training.course()
    if course.rate is not None and not training.optimizer.takes_rate:
        run.set_learning_rate(course.rate)

    epoch = 0
    # Where an automatic rate proves too large for the data, the training returns here.
    safe = {"values": run.values(), "n_batches": run.n_batches}
    generators = [rng, reviver.rng] if reviver else [rng]

    def save():
        return {
            "values": run.values(),
            "epoch": epoch,
            "n_batches": run.n_batches,
            "safe": safe,
            "course": course.state(),
            "random": [g.get_state(legacy=False) for g in generators],
            "monitor": monitor.state(),
        }

    monitor.start()

    def restore(saved):
        nonlocal epoch, safe
        run.restore(saved["values"])
        epoch, run.n_batches = saved["epoch"], saved["n_batches"]
        safe = saved["safe"]
        course.restore(saved["course"])
        for generator, random_state in zip(generators, saved["random"], strict=True):
            generator.set_state(random_state)
        monitor.restore(saved["monitor"])
        if not len(monitor.losses) == epoch <= training.max_iter:
            raise ValueError(f"epoch={epoch} does not fit its curve.")

    if checkpoint is not None:
        with checkpoint.reading(like=save()) as saved:
            if saved is not None:
                restore(saved)
    try:
        while epoch < training.max_iter and not course.ended:
            monitor.begin_iteration()
            rate, before = course.rate, None
            if epoch % SAFE_EPOCHS == 0:
                before = {"values": run.values(), "n_batches": run.n_batches}
            if rate is not None:
                monitor.note_rate(rate / math.sqrt(1 + training.falls * run.n_batches))
            pace = training.pace(rate, training.falls)
            total = run.epoch(run_epoch, stream, offset, penalties, pace)
            decay = run.decay(penalties.weight_decay)
            losses = Losses.from_terms(total / training.X.shape[0], decay)
            if course.loses(losses.objective):
                run.restore(safe["values"])
                run.n_batches = safe["n_batches"]
                continue
            # Where an epoch has gone well its start is safe; its end need not be.
            if before is not None and course.is_lowest(losses.objective):
                safe = before
            epoch += 1
            course.update(losses, run.get_weights)
            if (
                reviver
                and not course.ended
                and reviver.is_due(epoch, training.max_iter)
            ):
                new_weights, units = reviver.revive(run.get_weights())
                if units.any():
                    monitor.be_patient()
                    run.replace_units(new_weights, units, penalties.rho)
            if checkpoint is not None:
                checkpoint.save(save)
        course.conclude(run.get_weights)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
        course.interrupt()
    run.finalize()
    return Trained(run.get_weights(), run.state(), course.converged)
