"""The start of TensorFlow: one at a time, without messages, on its share of cores."""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import ModuleType

LOG_LEVEL, OWN_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL", "2"

# Variables of the environment that TensorFlow, and h5py under it, set when imported.
SET_BY_IMPORT = (
    "ENABLE_RUNTIME_UPTIME_TELEMETRY",
    "HDF5_PLUGIN_PATH",
    "TF2_BEHAVIOR",
    "TPU_ML_PLATFORM",
    "TPU_ML_PLATFORM_VERSION",
)

# TensorFlow's pools of threads, and the variable with which users set each.
THREAD_POOLS = {
    "intra_op": "TF_NUM_INTRAOP_THREADS",
    "inter_op": "TF_NUM_INTEROP_THREADS",
}

# Importing TensorFlow from several threads at once leaves half-made modules behind.
_lock = threading.Lock()

# TensorFlow's threads do not follow into a forked process: what needs them waits there
# for ever.
_forked_after_tensorflow = False


def _note_fork() -> None:
    global _forked_after_tensorflow
    _forked_after_tensorflow = "tensorflow" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def has_started() -> bool:
    """Return whether this process has imported TensorFlow."""
    return "tensorflow" in sys.modules


def check_installed() -> None:
    """Raise an ImportError if TensorFlow or Keras is not installed.

    A fitted estimator works without them, and serves where they are left out.
    """
    names = {"tensorflow": "TensorFlow", "keras": "Keras"}
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise ImportError(
            "Training needs TensorFlow and Keras, as do Keras models; "
            f"{' and '.join(names[name] for name in missing)} {are} not installed. "
            f"Install with: python -m pip install {' '.join(missing)}"
        )


@contextlib.contextmanager
def starting_tensorflow(
    *, to_train: bool = False, n_threads: int | None = None
) -> Iterator[None]:
    """Let the body import what needs TensorFlow, to train or only to build a model.

    On its first start TensorFlow reports its build, missing GPUs and a library that
    logs too early, straight to the process's standard error. That is dropped, unless
    TF_CPP_MIN_LOG_LEVEL is set. What others write there in the few seconds of the
    import appears after it. TensorFlow keeps level 2, errors, for the rest of the
    process. The variables of the environment that TensorFlow and h5py set, and which
    children would inherit, are unset; others are left to who has set them.

    On that start TensorFlow is also held to OMP_NUM_THREADS, which it reads for none of
    its pools of threads. joblib sets it in its workers, to their share of the cores.
    ``n_threads`` comes before that variable.

    An ImportError tells of packages, or a backend of Keras, that are not installed. A
    RuntimeError
    tells of another backend, of a process forked from one that had imported TensorFlow,
    and, to train, of a mode of TensorFlow in which nothing can.
    """
    if _forked_after_tensorflow:
        raise RuntimeError(
            "This process was forked from one in which TensorFlow had been imported, "
            "and would hang. Train in the parent, or start processes afresh: with "
            "joblib's backend 'loky', its default, or multiprocessing's start method "
            "'spawn' or 'forkserver'."
        )
    check_installed()
    with _lock, _variables_of_import_unset():
        if has_started():
            _import_keras()
        elif LOG_LEVEL in os.environ:
            _import_on_share_of_cores(n_threads)
        else:
            os.environ[LOG_LEVEL] = OWN_LOG_LEVEL
            try:
                with _messages_dropped():
                    tensorflow = _import_on_share_of_cores(n_threads)
                    # Devices are looked for at the first operation, with more messages.
                    tensorflow.config.list_logical_devices()
            finally:
                if os.environ.get(LOG_LEVEL) == OWN_LOG_LEVEL:
                    del os.environ[LOG_LEVEL]
        _check_backend()
        if to_train:
            _check_mode(sys.modules["tensorflow"])
        yield


def _import_keras() -> None:
    try:
        importlib.import_module("keras")
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND", "tensorflow")
        if backend in ("", "tensorflow"):
            raise
        raise ImportError(
            f"keras cannot be imported with KERAS_BACKEND={backend}: {error}. "
            "sksparse_ae trains with Keras on TensorFlow: set "
            "KERAS_BACKEND=tensorflow, or unset it."
        ) from error


def _check_backend() -> None:
    backend = sys.modules["keras"].config.backend()
    if backend != "tensorflow":
        raise RuntimeError(
            "sksparse_ae trains with Keras on TensorFlow, but keras was imported with "
            f"the {backend!r} backend. Set KERAS_BACKEND=tensorflow, or unset it, "
            "before keras is imported."
        )


def _check_mode(tensorflow: ModuleType) -> None:
    """Raise where what was called around the training keeps it from running."""
    if not tensorflow.executing_eagerly():
        raise RuntimeError(
            "TensorFlow executes nothing eagerly here: the training was called within "
            "a tf.function or a graph, or after tf.compat.v1.disable_eager_execution. "
            "Call it outside, or in a process of its own."
        )
    if tensorflow.distribute.has_strategy():
        raise RuntimeError(
            "The training was called within the scope of a tf.distribute strategy, "
            "but runs on one device. Call it outside of the scope; to_keras() works "
            "within."
        )


def _import_on_share_of_cores(n_threads: int | None) -> ModuleType:
    """Import Keras and TensorFlow, whose threads can be set until it has run."""
    _import_keras()
    tensorflow = importlib.import_module("tensorflow")
    n_threads = n_threads or _share_of_cores()
    if n_threads is not None:
        threading_config = tensorflow.config.threading
        for pool, variable in THREAD_POOLS.items():
            unset = getattr(threading_config, f"get_{pool}_parallelism_threads")() == 0
            if unset and variable not in os.environ:
                getattr(threading_config, f"set_{pool}_parallelism_threads")(n_threads)
    return tensorflow


def _share_of_cores() -> int | None:
    """Return what OMP_NUM_THREADS allows, the outermost level of a list, or None."""
    outermost = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(outermost) if outermost.isdecimal() and int(outermost) > 0 else None


@contextlib.contextmanager
def _variables_of_import_unset() -> Iterator[None]:
    # Only these names are touched: threads of users may set others meanwhile.
    absent = [name for name in SET_BY_IMPORT if name not in os.environ]
    try:
        yield
    finally:
        for name in absent:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _messages_dropped() -> Iterator[None]:
    """Keep what TensorFlow writes in the body from the process's standard error.

    Other threads write there as well: their lines are written again afterwards.
    """
    try:
        standard_error = os.dup(2)
    except OSError:  # closed, as in some services: nothing can be written to it
        yield
        return
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            # Another thread may meanwhile have replaced the standard error as well.
            if os.path.sameopenfile(2, written.fileno()):
                os.dup2(standard_error, 2)
            written.seek(0)
            # absl's form, the one that TensorFlow had before, and two lines of prose.
            message = re.compile(
                rb"[IWEF]\d{4} [\d:.]+ +%d |"
                rb"\d{4}-\d\d-\d\d [\d:.]+: [IWEF] (tensorflow|external|xla)/|"
                rb"WARNING: All log messages before absl::InitializeLog\(\) is called|"
                rb"To enable the following instructions: " % threading.get_native_id()
            )
            lines = [line for line in written if not message.match(line)]
            with (
                contextlib.suppress(OSError),
                os.fdopen(standard_error, "wb") as file,
            ):
                file.writelines(lines)
