"""Groups of trainings, of which several are under way at the same time."""

import contextvars
import math
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np

from .._engine.devices import current_device, n_threads, on_device
from .._network import reading
from .joint import joint_groups, train_jointly
from .together import Task

# Groups that train at once. On two cores, three folds of 25 models of 64 -> 25 took 0.9
# of the time with two groups at once and 0.85 with three; of nine of 64 -> 100, in
# batches of 50, 0.8 and 0.7; of nine of 784 -> 196 0.97 with either.
AT_ONCE = 3


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

    def train(group: list[Task]) -> None:
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
                futures.append(trainers.submit(context.run, train, group))
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
