"""Checkpoints of a training: files that are whole, or are not read."""

import contextlib
import hashlib
import json
import os
import struct
import time
import warnings
from pathlib import Path

import joblib
import numpy as np

from .._utils.files import remove_parts, replacing

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Writing takes at most about this share of a training's time.
WRITING_SHARE = 0.05
# Seconds after which what was appended to a log is forced to the disk.
SYNC_INTERVAL = 1.0


def fingerprint(*parts):
    """Return a name for a training: equal parts, to the bit, have equal names."""
    return joblib.hash(parts, coerce_mmap=True)


class _Files:
    """Where the files of one training are kept."""

    def __init__(self, folder, name):
        self._folder, self._name = Path(folder), name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise NotADirectoryError(
                f"checkpoint_dir={str(folder)!r} is, or is in, a file, not a folder."
            ) from error

    def _path(self, suffix):
        return self._folder / f"sksparse_ae-{self._name}.{suffix}"

    @contextlib.contextmanager
    def _written(self):
        """Let the body write; where it cannot, the training goes on without."""
        try:
            yield
        except OSError as error:
            warnings.warn(
                f"The training goes on without a new checkpoint: {error}", stacklevel=4
            )


class Checkpoint(_Files):
    """The latest state of a training, in a file that replaces the one before.

    Parameters
    ----------
    folder : path-like
        Made if it does not exist.
    name : str
        The ``fingerprint`` of the training.
    """

    def __init__(self, folder, name):
        super().__init__(folder, name)
        self._file = self._path("checkpoint.npz")
        self._writing, self._written_at = 0.0, -np.inf

    @contextlib.contextmanager
    def reading(self, like):
        """Yield the latest state, or None, to the body, which continues from it.

        Parameters
        ----------
        like : dict
            A state of the training, such as that at its start.

        Raises
        ------
        ValueError
            If there is no reading the file, if what it holds has another form than
            ``like``, or if the body cannot continue from it.
        """
        remove_parts(self._file)
        try:
            state = self._load()
            if state is not None:
                _check_form(state, like, "state")
            yield state
        except Exception as error:
            raise ValueError(
                f"{self._file} cannot be read as a checkpoint of this training: "
                f"{error} Remove it to train from the start."
            ) from error

    def _load(self):
        try:
            with (
                self._file.open("rb") as file,
                np.load(file, allow_pickle=False) as archive,
            ):
                arrays = [archive[f"a{i}"] for i in range(len(archive.files) - 1)]
                return _with_arrays(json.loads(str(archive["state"])), arrays)
        except FileNotFoundError:
            return None

    def save(self, get_state):
        """Write the state that a function returns, unless it is too soon."""
        start = time.perf_counter()
        if start - self._written_at < self._writing * (1 / WRITING_SHARE - 1):
            return
        arrays = []
        state = json.dumps(_without_arrays(get_state(), arrays))
        named = {f"a{i}": array for i, array in enumerate(arrays)}
        with self._written():
            try:
                with replacing(self._file) as file:
                    np.savez(file, state=np.array(state), **named)
            except FileNotFoundError:
                # An equal training beside this one may have taken it for a left-over.
                if not self._folder.is_dir():
                    raise
        self._written_at = time.perf_counter()
        self._writing = self._written_at - start

    def remove(self):
        """Delete the file: the training has ended."""
        self._file.unlink(missing_ok=True)


def _without_arrays(value, arrays):
    """Return a tree with its arrays moved to a list, and their places in it."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        return {k: _without_arrays(v, arrays) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_arrays(v, arrays) for v in value]
    return value


def _with_arrays(value, arrays):
    """Undo ``_without_arrays``."""
    if isinstance(value, dict):
        if set(value) == {"array"}:
            return arrays[value["array"]]
        return {k: _with_arrays(v, arrays) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_arrays(v, arrays) for v in value]
    return value


def _check_form(value, like, name):
    """Raise unless a tree has the keys, the shapes and the kinds of another.

    Where that has nothing yet, None or an empty list, nothing is known.
    """
    if isinstance(like, dict):
        if not isinstance(value, dict) or value.keys() != like.keys():
            raise ValueError(f"{name} should have the keys {sorted(like)}.")
        for key in like:
            _check_form(value[key], like[key], f"{name}[{key!r}]")
    elif isinstance(like, np.ndarray):
        is_array = isinstance(value, np.ndarray)
        if not is_array or (value.shape, value.dtype.kind) != (
            like.shape,
            like.dtype.kind,
        ):
            raise ValueError(f"{name} should be an array of shape {like.shape}.")
    elif isinstance(like, list | tuple):
        if not isinstance(value, list):
            raise ValueError(f"{name} should be a list.")
        if any(isinstance(item, np.ndarray) for item in like):
            if len(value) != len(like):
                raise ValueError(f"{name} should have {len(like)} items.")
            for i, item in enumerate(like):
                _check_form(value[i], item, f"{name}[{i}]")
    elif isinstance(like, bool | str):
        if type(value) is not type(like):
            raise ValueError(f"{name} should be a {type(like).__name__}.")
    elif isinstance(like, int):  # all of them are counts
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} should be a count; it is {value!r}.")
    elif isinstance(like, float) and type(value) not in (int, float):
        raise ValueError(f"{name} should be a number; it is {value!r}.")


class EvaluationLog(_Files):
    """The evaluations of a deterministic solver whose own state cannot be saved.

    Run again, the solver asks for the same points in the same order: what the log
    holds is answered from it, and the rest is computed and appended. A record names its
    point: one of another point, or that was cut off, ends what is answered. Of equal
    trainings at once one has the log, and the others go without.

    Parameters
    ----------
    folder : path-like
        Made if it does not exist.
    name : str
        The ``fingerprint`` of the training.
    """

    def __init__(self, folder, name):
        super().__init__(folder, name)
        self._file = self._path("evaluations")
        self._log, self._is_ours = None, False
        self._synced_at = 0.0

    def replaying(self, evaluate, n_scalars, n_values, dtype):
        """Return ``evaluate`` with a memory that outlives the process.

        Parameters
        ----------
        evaluate : callable
            Maps a point, an array, to a list of ``n_scalars`` floats and an array of
            ``n_values`` of ``dtype``.
        """
        scalars = struct.Struct(f"<{n_scalars}d")
        size = scalars.size + n_values * np.dtype(dtype).itemsize
        with self._written():
            self._open()
        if self._log is None:
            return evaluate

        def remembered(point):
            log = self._log
            if log is None:
                return evaluate(point)
            if known := log.read(size + DIGEST_SIZE):
                content, digest = known[:size], known[size:]
                if digest == _digest(point, content):
                    values = np.frombuffer(content, dtype, offset=scalars.size)
                    return list(scalars.unpack_from(content)), values.copy()
                log.truncate(log.tell() - len(known))
                log.seek(0, os.SEEK_END)
            numbers, values = evaluate(point)
            content = scalars.pack(*numbers) + values.tobytes()
            with self._written():
                self._append(content + _digest(point, content))
            return numbers, values

        return remembered

    def _open(self):
        log = self._file.open("a+b")
        if not _locked(log):
            log.close()
            return
        self._log, self._is_ours = log, True
        log.seek(0)

    def _append(self, record):
        try:
            self._log.write(record)
            self._log.flush()
            now = time.perf_counter()
            if now - self._synced_at > SYNC_INTERVAL:
                os.fsync(self._log.fileno())
                self._synced_at = now
        except OSError:
            # Without this record, those after it would not be found.
            self.close()
            raise

    def close(self):
        """Close the file, and keep it."""
        log, self._log = self._log, None
        if log is not None:
            with contextlib.suppress(OSError):  # of what could not be written
                log.close()

    def remove(self):
        """Delete the file, if this training had it: it has ended."""
        self.close()
        if self._is_ours:
            self._file.unlink(missing_ok=True)


DIGEST_SIZE = 16


def _digest(point, content):
    digest = hashlib.blake2b(np.ascontiguousarray(point), digest_size=DIGEST_SIZE)
    digest.update(content)
    return digest.digest()


def _locked(file):
    """Lock a file until it is closed, or the process ends; return whether it could."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
