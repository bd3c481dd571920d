"""The start of TensorFlow: one thread at a time, and without its messages."""

import contextlib
import importlib
import os
import sys
import threading

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"

# Importing TensorFlow from several threads at once leaves half-made modules behind.
_lock = threading.Lock()


@contextlib.contextmanager
def starting_tensorflow():
    """Let the body import what needs TensorFlow.

    On its first start TensorFlow reports its build, missing GPUs and a library that
    logs too early, straight to the process's standard error; that is held back, for
    the few seconds of the import, unless TF_CPP_MIN_LOG_LEVEL is set. TensorFlow keeps
    level 2, errors, for the rest of the process. The environment is left as it was
    found: TensorFlow and h5py set variables of theirs, which children would inherit.
    """
    with _lock, _environment_restored():
        if "tensorflow" in sys.modules or LOG_LEVEL in os.environ:
            importlib.import_module("keras")
        else:
            os.environ[LOG_LEVEL] = "2"
            with _standard_error_to_nowhere():
                importlib.import_module("keras")
                # Devices are looked for at the first operation, with more messages.
                sys.modules["tensorflow"].config.list_logical_devices()
        yield


@contextlib.contextmanager
def _environment_restored():
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _standard_error_to_nowhere():
    try:
        standard_error = os.dup(2)
    except OSError:  # closed, as in some services: nothing can be written to it
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        os.close(nowhere)
