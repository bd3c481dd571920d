"""Limits on the threads of the BLAS libraries, and interrupts of our own threads."""

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_n_inside = 0
_limits: Any = None


@functools.cache  # to look through all that a process has loaded takes 4 ms
def _blas_libraries() -> ThreadpoolController:
    # Selected, as the limits of all that a controller knows are restored.
    return ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def single_blas_thread() -> Iterator[None]:
    """Hold the BLAS of NumPy and SciPy to one thread.

    The limit is one of the process: the first of overlapping blocks sets it, the last
    one lifts it.
    """
    global _n_inside, _limits
    with _lock:
        if _n_inside == 0:
            _limits = _blas_libraries().limit(limits=1)
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                _limits.restore_original_limits()
                _limits = None


def interrupt(thread: threading.Thread) -> None:
    """Raise KeyboardInterrupt in a thread that runs, once it executes Python again."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident),  # type: ignore[arg-type]
        ctypes.py_object(KeyboardInterrupt),
    )
