"""Trainings that can be one, side by side in one program, and several such at once."""

import contextvars
import copy
import math
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from scipy import sparse

from .._engine.devices import current_device, n_threads, on_device
from .._engine.minibatch import MiniBatchEngine
from .._network import reading
from .._network.blocks import Blocks
from .._network.reading import Rows, unweighted, weights_of
from .._network.validation import NotFinite
from .._training.checkpoint import fingerprint
from .._training.fit import reviver_of, train
from .._training.loop import Course, run
from .._training.monitor import Monitor, Weights
from .._training.plan import Plan
from .together import Task, Training

# The weights and whether the training converged, or what ended it.
Trained = tuple[Weights, bool] | Exception

# Groups that train at once. On two cores, three folds of 25 models of 64 -> 25 took 0.9
# of the time with two groups at once and 0.85 with three; of nine of 64 -> 100, in
# batches of 50, 0.8 and 0.7; of nine of 784 -> 196 0.97 with either.
AT_ONCE = 3


def joint_groups(tasks: list[Task]) -> list[list[Task]]:
    """Group the tasks whose trainings can be one.

    These see the same rows in the same order. What they minimise, where they start and
    how fast and how long they go may differ.
    """
    of_keys: dict[str, list[list[Task]]] = {}
    for task in tasks:
        plan = task.training.plan
        groups = of_keys.setdefault(_key(plan.minibatches), [])
        for group in groups:
            if _equal(plan.X, group[0].training.plan.X):
                group.append(task)
                break
        else:
            groups.append([task])
    return [group for groups in of_keys.values() for group in groups]


def _key(minibatches: Any) -> str:
    """Return a name that trainings share if they can be one, but for their rows.

    The scaling, which has the means of the columns, tells nearly all data apart. To
    hash the rows took a twentieth of a search; to compare them takes a tenth of that.
    """
    return fingerprint(
        type(unweighted(minibatches.X)),
        weights_of(minibatches.X),
        minibatches.X.shape,
        minibatches.problem.architecture,
        tuple(minibatches.problem.scaling),
        repr(minibatches.optimizer),
        minibatches.batch_size,
        minibatches.follows,
        minibatches.shuffle,
        minibatches.corruption,
        minibatches.rng.get_state(legacy=False),
    )


def _equal(X: Rows, other: Rows) -> bool:
    """Say whether data of one type and shape are equal."""
    if X is other:
        return True
    X, other = unweighted(X), unweighted(other)  # the weights are part of the key
    if isinstance(X, Blocks):
        # Another cut into blocks has other rows at each number, or is read otherwise.
        return X.content() == other.content()
    if sparse.issparse(X):
        parts = "indptr", "indices", "data"
        return all(_alike(getattr(X, p), getattr(other, p)) for p in parts)
    return _alike(X, other)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    # To look at NaN takes several times as long.
    return np.array_equal(one, other) or (
        one.dtype.kind == "f" and np.array_equal(one, other, equal_nan=True)
    )


def train_jointly(
    trainings: list[Training], stop: threading.Event | None = None
) -> list[Trained]:
    """Minimise objectives that differ in coefficients, start and rate, as one.

    The trainings are one of the ``joint_groups``, by Adam, and begin afresh. ``stop``
    ends them as Ctrl-C does. The results equal those of ``train`` to float32 rounding:
    products are summed in another order. In a long training that may decide whether a
    rate falls.
    """
    if len(trainings) == 1:
        return [_train_alone(*trainings[0], stop)]
    courses = [
        Course(monitor, copy.copy(plan.rate), plan.max_iter, reviver=reviver_of(plan))
        for plan, monitor in trainings
    ]
    plans = [training.plan for training in trainings]
    run(courses, MiniBatchEngine([plan.minibatches for plan in plans]), stop)
    return [course.error or (course.weights, course.converged) for course in courses]


def _train_alone(plan: Plan, monitor: Monitor, stop: threading.Event | None) -> Trained:
    try:
        course, _ = train(plan, monitor, stop=stop)
    except NotFinite as error:
        return error
    return course.weights, course.converged


def train_all(tasks: list[Task]) -> None:
    """Train what tasks wait for: together what can be, and at once what cannot.

    The tasks get what their trainings end with. Ctrl-C ends the trainings that are
    under way; those of other groups follow.
    """
    groups = joint_groups(tasks)
    n_trainers = n_at_once(groups)
    if n_trainers == 1:
        for group in groups:
            _train(group)  # in this thread, which gets Ctrl-C itself
        return
    running: set[threading.Event] = set()
    device = current_device()

    def train_group(group: list[Task]) -> None:
        stop = threading.Event()
        running.add(stop)
        try:
            with np.errstate(all="ignore"), on_device(device):
                _train(group, stop)
        finally:
            running.discard(stop)

    with ThreadPoolExecutor(n_trainers) as trainers:
        futures = []
        try:
            for group in groups:
                context = contextvars.copy_context()
                futures.append(trainers.submit(context.run, train_group, group))
            while _wait_for(futures, running):
                pass
        finally:
            # Where anything else ends the wait, Ctrl-C again perhaps, nothing goes on.
            for future in futures:
                future.cancel()
            for stop in running.copy():
                stop.set()


def _wait_for(futures: list[Future], running: set[threading.Event]) -> bool:
    """Wait; where Ctrl-C comes, end what is running. Say whether to wait on."""
    try:
        # In short waits: only between two of them does an interrupt reach a thread that
        # is not the main one, and on Windows that one, too.
        while wait(futures, timeout=0.1).not_done:
            pass
    except KeyboardInterrupt:
        for stop in running.copy():
            stop.set()
        return True
    return False


def _train(group: list[Task], stop: threading.Event | None = None) -> None:
    """Give each task of a group what its training ends with."""
    try:
        results: list = train_jointly([task.training for task in group], stop)
    except BaseException as error:
        # Of none in particular: memory that ran out, or Ctrl-C before the first step or
        # after the last.
        results = [error] * len(group)
    for task, result in zip(group, results, strict=True):
        task.trained = result


def n_at_once(groups: list[list[Task]]) -> int:
    """Return how many groups to train at once: some, among which they divide evenly.

    A step of small networks is short operations of few threads, with waits between
    them, which those of other groups fill. Large networks leave no waits: the groups
    are to hold together no more than one training may hold of rows.
    """
    if n_threads() == 1:
        return 1
    largest = 0
    for group in groups:  # bytes of its rows, weights, averages and moments in Adam
        minibatches = group[0].training.plan.minibatches
        n_weights = sum(values.size for values in minibatches.state.weights)
        n_values = math.prod(minibatches.X.shape) + 4 * len(group) * n_weights
        largest = max(largest, 4 * n_values)
    limit = min(max(reading.BLOCK_BYTES // largest, 1), AT_ONCE)
    n_rounds = -(-len(groups) // limit)
    return -(-len(groups) // n_rounds)
