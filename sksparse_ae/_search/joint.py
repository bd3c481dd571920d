"""Mini-batch training of several models side by side, in one program."""

import functools
import warnings

import numpy as np
from scipy import sparse

from .._engine.minibatch import MiniBatchProgram, MiniBatchRun, MiniBatchState
from .._engine.programs import latest_programs
from .._network.problem import Penalties
from .._training.checkpoint import fingerprint
from .._training.minibatch import train
from .._training.monitor import Losses


def joint_groups(tasks):
    """Group the tasks whose trainings can be one.

    These see the same rows in the same order. What they minimise, where they start and
    how fast and how long they go may differ.

    Parameters
    ----------
    tasks : iterable of Task

    Returns
    -------
    groups : list of list of Task
    """
    of_keys = {}
    for task in tasks:
        groups = of_keys.setdefault(_key(task.training), [])
        for group in groups:
            if _equal(task.training.X, group[0].training.X):
                group.append(task)
                break
        else:
            groups.append([task])
    return [group for groups in of_keys.values() for group in groups]


def _key(training):
    """Return what trainings have in common that can be one, but for their rows.

    The scaling, which has the means of the columns, tells nearly all data apart. To
    hash the rows took a twentieth of a search; to compare them takes a tenth of that.
    """
    return fingerprint(
        type(training.X),
        training.X.shape,
        training.problem.architecture,
        tuple(training.problem.scaling),
        repr(training.optimizer),
        training.batch_size,
        training.follows,
        training.shuffle,
        training.rng.get_state(legacy=False),
    )


def _equal(X, other):
    """Say whether data of one type and shape are equal."""
    if X is other:
        return True
    if sparse.issparse(X):
        parts = "indptr", "indices", "data"
        return all(np.array_equal(getattr(X, p), getattr(other, p)) for p in parts)
    return np.array_equal(X, other)


class _Model:
    """One of the models, as long as it trains and after.

    Attributes
    ----------
    course : Course
    result : tuple, Exception or None
        What the training ended with: weights, and whether it converged, or the
        exception that ended it. None as long as it goes on.
    is_lost : bool
        Whether its rate proves too large, so that it has to begin again by itself.
    """

    def __init__(self, training):
        self.training, self.course = training, training.course()
        self.result, self.is_lost = None, False
        self._start = training.rng.get_state(legacy=False), training.monitor.state()

    @property
    def trains(self):
        """Whether it goes on beside the others."""
        return self.result is None and not self.is_lost

    @property
    def rate(self):
        """The learning rate at the start, 0 after the training has ended."""
        return self.course.rate if self.trains else 0.0

    def update(self, n_epochs, losses, get_weights):
        """Take note of an epoch; end the training if it was the last one."""
        if self.course.loses(losses.objective):
            self.is_lost = True
            return
        try:
            self.course.update(losses, get_weights)
        except ValueError as error:  # diverged
            self.result = error
            return
        if n_epochs >= self.training.max_iter:
            self.course.conclude(get_weights)
        if self.course.ended:
            self.end(get_weights)

    def interrupt(self, get_weights):
        """End the training because the user has asked for it."""
        self.course.interrupt()
        self.end(get_weights)

    def end(self, get_weights):
        """End the training with what it has reached."""
        self.result = get_weights(), self.course.converged

    def train_alone(self):
        """Train from the start, where returns to earlier weights are made."""
        random_state, monitor_state = self._start
        self.training.rng.set_state(random_state)
        self.training.monitor.restore(monitor_state)
        try:
            trained = train(self.training)
        except ValueError as error:  # diverged
            self.result = error
        else:
            self.result = trained.weights, trained.converged


class _Snapshot:
    """The weights of all models after an epoch, copied when asked for."""

    def __init__(self, run):
        self._weights = functools.cache(run.get_weights)

    def of(self, number):
        """Return the function that returns one model's weights."""
        return lambda: [stacked[number].copy() for stacked in self._weights()]


# Each has variables for its models' weights and what Adam keeps of them: few are kept.
@latest_programs(2)
def joint_program(architecture, optimizer, batch_size, follows, chunk_rows, n_models):
    """Return the program of several models; the latest 2 are kept."""
    return MiniBatchProgram(architecture, optimizer, batch_size, follows, n_models)


def train_jointly(trainings):
    """Minimise objectives that differ in coefficients, start and rate, as one.

    The results equal those of ``train`` to float32 rounding: products are summed in
    another order.

    Parameters
    ----------
    trainings : list of MiniBatchTraining
        One of the ``joint_groups``, by Adam, that begin afresh.

    Returns
    -------
    results : list of tuple or Exception
        Of each training its weights, and whether it converged, or what ended it.
    """
    if len(trainings) == 1:
        trained = train(trainings[0])
        return [(trained.weights, trained.converged)]
    first, n_models = trainings[0], len(trainings)
    models = [_Model(training) for training in trainings]
    stream = first.rows()
    program = joint_program(
        first.architecture,
        first.optimizer,
        first.batch_size,
        first.follows,
        stream.chunk_rows,
        n_models,
    )
    longest = max(trainings, key=lambda training: training.max_iter)
    compiled = longest.is_worth_compiling(n_models)
    run_epoch = program.epoch_graph(
        stream.chunk_rows,
        has_spread=first.coordinates.spread is not None,
        compiled=compiled,
    )
    offset = first.offset()
    penalties = [training.problem.penalties for training in trainings]
    rho, beta, weight_decay = np.transpose(penalties).astype(np.float32)
    coefficients = Penalties(rho[:, None], beta, weight_decay)

    starts = [training.state for training in trainings]
    stacked = zip(*(start.weights for start in starts), strict=True)
    rho_hat = np.stack([start.rho_hat for start in starts])
    state = MiniBatchState(list(map(np.stack, stacked)), None, None, rho_hat)
    run = MiniBatchRun(program, first.coordinates, state)
    run.set_learning_rate(1.0)
    falls = [training.falls for training in trainings]
    n_epochs, snapshot = 0, _Snapshot(run)
    try:
        while any(model.trains for model in models):
            pace = first.pace([model.rate for model in models], falls)
            total = run.epoch(run_epoch, stream, offset, coefficients, pace)
            n_epochs, snapshot = n_epochs + 1, _Snapshot(run)
            means, decays = total.T / first.X.shape[0], run.decay(weight_decay)
            for number, model in enumerate(models):
                if model.trains:
                    losses = Losses.from_terms(means[number], decays[number])
                    model.update(n_epochs, losses, snapshot.of(number))
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
        for number, model in enumerate(models):
            if model.trains or model.is_lost:
                model.interrupt(snapshot.of(number))
    for model in models:
        if model.result is None:
            model.train_alone()
    return [model.result for model in models]
