"""Groups of trainings, of which several are under way at the same time."""

import contextlib
import contextvars
import math
import queue
import threading

import numpy as np

from .._engine.devices import current_device, n_threads, on_device
from .._network import reading
from .._utils.threads import interrupt
from .joint import joint_groups, train_jointly

# Groups that train at once. On two cores, three folds of 25 models of 64 -> 25 took 0.9
# of the time with two groups at once and 0.85 with three; of nine of 64 -> 100, in
# batches of 50, 0.8 and 0.7; of nine of 784 -> 196 0.97 with either.
AT_ONCE = 3


def train_all(tasks):
    """Train what tasks wait for: together what can be, and at once what cannot.

    Ctrl-C ends the trainings that are under way; those of other groups follow.

    Parameters
    ----------
    tasks : list of Task
        They get what their trainings end with.
    """
    groups = joint_groups(tasks)
    waiting = queue.SimpleQueue()
    for group in groups:
        waiting.put(group)
    n_trainers = n_at_once(groups)
    trainers = [_Trainer(waiting) for _ in range(n_trainers)]
    if n_trainers == 1:
        trainers[0].run()  # in this thread, which gets Ctrl-C itself
    else:
        _run_at_once(trainers, waiting)
    for task in tasks:
        if task.trained is None:  # Ctrl-C came between two groups
            task.trained = KeyboardInterrupt()


def _run_at_once(trainers, waiting):
    try:
        for trainer in trainers:
            trainer.start()
        while True:
            try:
                for trainer in trainers:
                    trainer.wait()
                return
            except KeyboardInterrupt:
                for trainer in trainers:
                    trainer.interrupt()
    finally:
        # Where anything else ends the wait, Ctrl-C again perhaps, nothing goes on.
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.get_nowait()
        for trainer in trainers:
            trainer.interrupt()


def n_at_once(groups):
    """Return how many groups to train at once: some, among which they divide evenly.

    A step of small networks is short operations of few threads, with waits between
    them, which those of other groups fill. Large ones leave none: what several hold is
    to be no more than one training may hold of rows.
    """
    if n_threads() == 1:
        return 1
    largest = max(map(_held_bytes, groups))
    limit = min(max(reading.BLOCK_BYTES // largest, 1), AT_ONCE)
    n_rounds = -(-len(groups) // limit)
    return -(-len(groups) // n_rounds)


def _held_bytes(group):
    """Return the bytes of a group's rows, weights, averages and moments in Adam."""
    training = group[0].training
    n_weights = sum(values.size for values in training.state.weights)
    return 4 * (math.prod(training.X.shape) + 4 * len(group) * n_weights)


class _Trainer(threading.Thread):
    """Trains groups, one after the other, while others train others.

    What TensorFlow and NumPy keep of the thread that makes it holds in it, too.

    Parameters
    ----------
    waiting : queue.SimpleQueue of list of Task
        Shared; each group is taken by one.
    """

    def __init__(self, waiting):
        super().__init__(daemon=True)
        self._waiting = waiting
        self._context, self._device = contextvars.copy_context(), current_device()
        # A thread's own join() and is_alive() are wrong after an interrupt of join()
        # (Python 3.11 and 3.12), and its number may be another's once it has ended.
        self._ended = threading.Event()
        self._lock, self._is_training = threading.Lock(), False

    def run(self):
        """Train as long as there are groups."""
        try:
            with np.errstate(all="ignore"), on_device(self._device):
                while True:
                    self._context.run(self._train, self._waiting.get_nowait())
        except queue.Empty:
            pass
        finally:
            self._ended.set()

    def _train(self, group):
        results = None
        try:
            with self._lock:
                self._is_training = True
            try:
                results = train_jointly([task.training for task in group])
            finally:
                with self._lock:
                    self._is_training = False
        except BaseException as error:
            # Of none in particular: memory that ran out, or Ctrl-C before the first
            # step or after the last.
            results = results or [error] * len(group)
        for task, result in zip(group, results, strict=True):
            task.trained = result

    def wait(self):
        """Wait until there are no more groups.

        In short waits: only between two of them does an interrupt reach a thread that
        is not the main one, and on Windows that one, too.
        """
        while not self._ended.wait(0.1):
            pass

    def interrupt(self):
        """Hand Ctrl-C on to the training that is under way, if there is one."""
        with self._lock:
            if self._is_training:
                interrupt(self)
