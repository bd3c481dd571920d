"""Who runs a training: the fit itself, or what has been installed to run it."""

import contextlib
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

_installed: Any = contextvars.ContextVar("executor", default=(None, None))


@contextlib.contextmanager
def installed(executor: Any) -> Iterator[None]:
    """Let fits of this thread ask an executor for their trainings within the block.

    Its ``train`` takes a Plan and a Monitor. It returns the weights and whether the
    training converged, or raises what ended it.
    """
    token = _installed.set((executor, threading.get_ident()))
    try:
        yield
    finally:
        _installed.reset(token)


@contextlib.contextmanager
def suspended() -> Iterator[Any]:
    """Yield the executor of this thread, or None, and have none within the block.

    A fit within the block, by a callback perhaps, must not wait for others.
    """
    executor, thread = _installed.get()
    # Threads that inherit the context, as they may from Python 3.14 on, are others.
    if thread != threading.get_ident():
        executor = None
    token = _installed.set((None, None))
    try:
        yield executor
    finally:
        _installed.reset(token)
