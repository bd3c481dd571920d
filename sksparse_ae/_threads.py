"""Limits on the threads of the BLAS libraries."""

import contextlib
import threading

from threadpoolctl import threadpool_limits

_lock = threading.Lock()
_n_inside = 0
_limits = None


@contextlib.contextmanager
def single_blas_thread():
    """Hold the BLAS of NumPy and SciPy to one thread.

    The limit is one of the process: the first of overlapping blocks sets it, the last
    one lifts it.
    """
    global _n_inside, _limits
    with _lock:
        if _n_inside == 0:
            _limits = threadpool_limits(1, user_api="blas")
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                _limits.restore_original_limits()
                _limits = None
