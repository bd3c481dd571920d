"""Limits on the threads of the BLAS libraries."""

import contextlib
import functools
import threading

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_n_inside = 0
_limits = None


@functools.cache  # to look through all that a process has loaded takes 4 ms
def _libraries():
    return ThreadpoolController()


@contextlib.contextmanager
def single_blas_thread():
    """Hold the BLAS of NumPy and SciPy to one thread.

    The limit is one of the process: the first of overlapping blocks sets it, the last
    one lifts it.
    """
    global _n_inside, _limits
    with _lock:
        if _n_inside == 0:
            _limits = _libraries().limit(limits=1, user_api="blas")
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                _limits.restore_original_limits()
                _limits = None
