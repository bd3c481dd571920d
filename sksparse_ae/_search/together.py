"""A joblib backend that suspends each fit at its training, to run many as one."""

import contextlib
import contextvars
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from joblib.parallel import FallbackToBackend, ParallelBackendBase, SequentialBackend

from .._engine.startup import starting_tensorflow
from .._training.executor import installed
from .._training.monitor import Monitor, Weights
from .._training.plan import Plan
from .._utils.threads import interrupt

# What warnings.catch_warnings() puts back; a call may wait within it.
_STATE_OF_WARNINGS = ("filters", "showwarning", "_showwarnmsg_impl")

# What a call has returned, and the exception that ended it, or None.
Outcome = tuple[Any, BaseException | None]


class Training(NamedTuple):
    """What a call waits for: a training, and what watches it."""

    plan: Plan
    monitor: Monitor


class Cancelled(BaseException):
    """Ends a call whose result nobody waits for any more."""


class Task(threading.Thread):
    """A call in a thread of its own that runs only while ``resume`` waits for it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call, self._context = call, contextvars.copy_context()
        self._turn, self._pause = threading.Semaphore(0), threading.Semaphore(0)
        self._cancelled = False
        self._warnings = [getattr(warnings, name) for name in _STATE_OF_WARNINGS]
        # The Training that the call waits for, or None, and what it is to go on with:
        # the weights and whether they converged, or what ended the training.
        self.training: Any = None
        self.trained: Any = None
        self.outcome: Outcome | None = None

    def run(self) -> None:
        """Take the first turn when it comes."""
        try:
            self._wait()
            with installed(self):
                self.outcome = self._context.run(self._call), None
        except BaseException as error:
            self.outcome = None, error
        self._pause.release()

    def _wait(self) -> None:
        if not self._cancelled:
            self._turn.acquire()
        if self._cancelled:
            raise Cancelled

    def resume(self) -> None:
        """Let the call run until it ends or waits for a training."""
        outside = _exchange_warnings(self._warnings)
        try:
            self._turn.release()
            try:
                self._pause.acquire()
            except KeyboardInterrupt:
                interrupt(self)  # which would have got it on its own
                self._pause.acquire()
        finally:
            self._warnings = _exchange_warnings(outside)

    def cancel(self) -> None:
        """End the call where it waits, now or next."""
        self._cancelled = True
        self._turn.release()

    def train(self, plan: Plan, monitor: Monitor) -> tuple[Weights, bool]:
        """Wait for a training; return its weights and whether it converged.

        For the call's own thread; raises what ended the training.
        """
        self.training = Training(plan, monitor)
        self._pause.release()
        self._wait()
        self.training, trained, self.trained = None, self.trained, None
        if isinstance(trained, BaseException):
            raise trained
        return trained


def _exchange_warnings(state: list) -> list:
    """Set the state of warnings; return the one before."""
    before = [getattr(warnings, name) for name in _STATE_OF_WARNINGS]
    for name, value in zip(_STATE_OF_WARNINGS, state, strict=True):
        setattr(warnings, name, value)
    with warnings.catch_warnings():
        pass  # leaving it tells the module that its filters have changed
    return before


def run_together(
    calls: Iterable[Callable[[], Any]],
) -> Iterator[tuple[int, Outcome]]:
    """Run calls in turns, and train together what can be; yield which one has ended.

    All go as far as they can in their order; then those that wait for a training get
    it. So what is trained together depends on the calls alone, and not on time.
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
            if waiting := [t for t in tasks.values() if t.training is not None]:
                with starting_tensorflow(to_train=True):
                    from .at_once import train_all

                train_all(waiting)
    finally:
        for task in tasks.values():
            task.cancel()


class TogetherBackend(ParallelBackendBase):
    """A backend of joblib that has ``n_fits`` calls under way: see ``run_together``.

    Each Parallel gets one of its own, as it holds what was submitted.
    """

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True

    def __init__(self, n_fits: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._n_fits = n_fits
        self._submitted: Any = None  # the calls of one Parallel, with their callbacks

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return half the calls at once: joblib submits two for each job."""
        return -(-self._n_fits // 2)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **settings: Any) -> int:
        """Return the number of jobs, unless a Parallel is to get its own backend."""
        if self._submitted is None:
            own = TogetherBackend(self._n_fits, nesting_level=self.nesting_level)
            own._submitted = []
            raise FallbackToBackend(own)
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(self, func: Callable, callback: Any = None) -> None:
        """Note a call, which runs once joblib has submitted what it will."""
        self._submitted.append((func, callback))

    # Its name before joblib 1.4.
    apply_async = submit

    @contextlib.contextmanager
    def retrieval_context(self) -> Iterator[None]:
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

    def retrieve_result_callback(self, out: Outcome) -> Any:
        """Return what a call has returned, or raise what ended it."""
        result, error = out
        if error is not None:
            raise error
        return result

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Forget what has not begun."""
        self._submitted = []

    def get_nested_backend(self) -> tuple[SequentialBackend, None]:
        """Return the backend of calls within calls: one after the other."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None
