"""Calls that take turns, so that trainings which they come to can be one."""

import contextlib
import threading

from joblib.parallel import ParallelBackendBase, SequentialBackend

from ._startup import starting_tensorflow

_local = threading.local()


class Cancelled(BaseException):
    """Ends a call whose result nobody waits for any more."""


class Task(threading.Thread):
    """A call in a thread of its own that runs only while ``resume`` waits for it.

    Parameters
    ----------
    call : callable

    Attributes
    ----------
    training : MiniBatchTraining or None
        What the call waits for.
    trained : Trained or Exception
        What it is to go on with.
    outcome : tuple or None
        What the call has returned, and the exception that ended it.
    """

    def __init__(self, call):
        super().__init__(daemon=True)
        self._call = call
        self._turn, self._pause = threading.Semaphore(0), threading.Semaphore(0)
        self._cancelled = False
        self.training = self.trained = self.outcome = None

    @staticmethod
    def current():
        """Return the task that this thread runs, or None."""
        return getattr(_local, "task", None)

    def run(self):
        """Take the first turn when it comes."""
        _local.task = self
        try:
            self._wait()
            self.outcome = self._call(), None
        except BaseException as error:
            self.outcome = None, error
        self._pause.release()

    def _wait(self):
        self._turn.acquire()
        if self._cancelled:
            raise Cancelled

    def resume(self):
        """Let the call run until it ends or waits for a training."""
        self._turn.release()
        self._pause.acquire()

    def cancel(self):
        """End the call where it waits, now or next."""
        self._cancelled = True
        self._turn.release()

    def train(self, training):
        """Wait for a training, and return what it ended with: for the call's thread."""
        self.training = training
        self._pause.release()
        self._wait()
        self.training, trained, self.trained = None, self.trained, None
        if isinstance(trained, BaseException):
            raise trained
        return trained


def run_together(calls):
    """Run calls, in turns, and train together what of them can be.

    All go as far as they can in their order; then those that wait for a training get
    it. So what is trained together depends on the calls alone, and not on time.

    Parameters
    ----------
    calls : list of callable

    Yields
    ------
    number : int
        Of a call that has ended.
    outcome : tuple
        What it has returned, and the exception that ended it, or None.
    """
    tasks = dict(enumerate(map(Task, calls)))
    try:
        for task in tasks.values():
            task.start()
        while tasks:
            for number, task in list(tasks.items()):
                task.resume()
                if task.outcome is not None:
                    del tasks[number]
                    yield number, task.outcome
            _train([task for task in tasks.values() if task.training is not None])
    finally:
        for task in tasks.values():
            task.cancel()


def _train(tasks):
    if not tasks:
        return
    with starting_tensorflow():
        from ._stacked import shared_key, train_together

    groups = {}
    for task in tasks:
        groups.setdefault(shared_key(task.training), []).append(task)
    for group in groups.values():
        results = train_together([task.training for task in group])
        for task, result in zip(group, results, strict=True):
            task.trained = result


class TogetherBackend(ParallelBackendBase):
    """A backend of joblib that runs calls in turns: see ``run_together``.

    Parameters
    ----------
    n_fits : int
        Calls that are under way at once.
    """

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True

    def __init__(self, n_fits, **settings):
        super().__init__(**settings)
        self._n_fits = n_fits
        self._submitted = []

    def effective_n_jobs(self, n_jobs):
        """Return half the calls at once: joblib submits two for each job."""
        return -(-self._n_fits // 2)

    def submit(self, func, callback=None):
        """Note a call, which runs once joblib has submitted what it will."""
        self._submitted.append((func, callback))

    # Its name before joblib 1.4.
    apply_async = submit

    @contextlib.contextmanager
    def retrieval_context(self):
        """Run what was submitted, and what is submitted as it ends."""
        while self._submitted:
            batch, self._submitted = self._submitted, []
            calls, callbacks = zip(*batch, strict=True)
            for number, outcome in run_together(calls):
                callbacks[number](outcome)
                _, error = outcome
                if error is not None:  # joblib raises it
                    self._submitted = []
                    break
        yield

    def retrieve_result_callback(self, out):
        """Return what a call has returned, or raise what ended it."""
        result, error = out
        if error is not None:
            raise error
        return result

    def abort_everything(self, ensure_ready=True):
        """Forget what has not begun."""
        self._submitted = []

    def get_nested_backend(self):
        """Return the backend of calls within calls: one after the other."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None
