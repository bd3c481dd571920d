"""TensorFlow's start, without what it writes to the terminal."""

import contextlib
import os
import sys

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@contextlib.contextmanager
def quiet_start():
    """Start TensorFlow in the body's imports, with its messages held back.

    On every start it reports its build, missing GPUs and a library that logs too
    early, straight to the process's standard error. Where TF_CPP_MIN_LOG_LEVEL is set
    it was asked to speak or not to; where TensorFlow is imported already there is
    nothing to hold back. The environment is left as it was found; TensorFlow keeps
    level 2, errors, for the rest of the process.
    """
    if "tensorflow" in sys.modules or LOG_LEVEL in os.environ:
        yield
        return
    sys.stderr.flush()
    standard_error = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.environ[LOG_LEVEL] = "2"
    try:
        yield
        # The devices are looked for at the first operation, with more messages.
        sys.modules["tensorflow"].config.list_logical_devices()
    finally:
        del os.environ[LOG_LEVEL]
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)
