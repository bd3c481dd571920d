"""Who runs a training: the fit itself, or what has been installed to run it."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

_of_thread = threading.local()


@contextlib.contextmanager
def installed(executor: Any) -> Iterator[Any]:
    """Let fits of this thread ask an executor for their trainings within the block.

    Its ``train`` takes a Plan and a Monitor. It returns the weights and whether the
    training converged, or raises what ended it. With None, each fit runs its own.
    Yielded is what was installed before.
    """
    before = getattr(_of_thread, "executor", None)
    _of_thread.executor = executor
    try:
        yield before
    finally:
        _of_thread.executor = before
