"""Checkpoints of a training: files that are whole, or are not read."""

import contextlib
import json
import os
import struct
import time
import uuid
import zlib
from pathlib import Path

import joblib
import numpy as np

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
        self._folder.mkdir(parents=True, exist_ok=True)

    def _path(self, suffix):
        return self._folder / f"sksparse_ae-{self._name}.{suffix}"

    def _sync_folder(self):
        # A renamed file is safe from a loss of power once its folder is written.
        with contextlib.suppress(OSError):  # Windows opens no folders
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


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

    def load(self):
        """Return the latest state, or None."""
        for left_over in self._folder.glob(f"{self._file.name}.*.part"):
            left_over.unlink(missing_ok=True)
        try:
            with (
                self._file.open("rb") as file,
                np.load(file, allow_pickle=False) as archive,
            ):
                arrays = [archive[f"a{i}"] for i in range(len(archive.files) - 1)]
                return _with_arrays(json.loads(str(archive["state"])), arrays)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise ValueError(
                f"{self._file} cannot be read as a checkpoint; remove it to train "
                "from the start."
            ) from error

    def save(self, get_state):
        """Write the state that a function returns, unless it is too soon."""
        start = time.perf_counter()
        if start - self._written_at < self._writing * (1 / WRITING_SHARE - 1):
            return
        arrays = []
        state = json.dumps(_without_arrays(get_state(), arrays))
        part = Path(f"{self._file}.{uuid.uuid4().hex}.part")
        with part.open("xb") as file:
            named = {f"a{i}": array for i, array in enumerate(arrays)}
            np.savez(file, state=np.array(state), **named)
            file.flush()
            os.fsync(file.fileno())
        # An equal training beside this one may have taken the part for a left-over.
        with contextlib.suppress(FileNotFoundError):
            os.replace(part, self._file)
            self._sync_folder()
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


class EvaluationLog(_Files):
    """The evaluations of a deterministic solver whose own state cannot be saved.

    Run again, the solver asks for the same points in the same order: what the log
    holds is answered from it, and the rest is computed and appended.

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
        self._log = None
        self._synced_at = 0.0

    def replaying(self, evaluate, n_scalars, n_values, dtype):
        """Return ``evaluate`` with a memory that outlives the process.

        Parameters
        ----------
        evaluate : callable
            Maps a point to a list of ``n_scalars`` floats and an array of
            ``n_values`` of ``dtype``.
        """
        scalars = struct.Struct(f"<{n_scalars}d")
        n_bytes = n_values * np.dtype(dtype).itemsize
        record = scalars.size + n_bytes + 4
        self._log = self._file.open("a+b")
        self._log.seek(0)

        def remembered(point):
            if known := self._log.read(record):
                content, check = known[:-4], known[-4:]
                if len(known) == record and check == _check(content):
                    values = np.frombuffer(content, dtype, offset=scalars.size)
                    return list(scalars.unpack_from(content)), values.copy()
                # Cut off while it was written: it and what follows is written anew.
                self._log.truncate(self._log.tell() - len(known))
            numbers, values = evaluate(point)
            content = scalars.pack(*numbers) + values.tobytes()
            self._log.write(content + _check(content))
            self._log.flush()
            now = time.perf_counter()
            if now - self._synced_at > SYNC_INTERVAL:
                os.fsync(self._log.fileno())
                self._synced_at = now
            return numbers, values

        return remembered

    def close(self):
        """Close the file, and keep it."""
        if self._log is not None:
            self._log.close()

    def remove(self):
        """Delete the file: the training has ended."""
        self.close()
        self._file.unlink(missing_ok=True)


def _check(content):
    return struct.pack("<I", zlib.crc32(content))
