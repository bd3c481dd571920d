"""Checkpoints of a training: files that are whole, or are not read."""

import contextlib
import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from .._utils.files import FilePath, remove_parts, replacing

# Writing takes at most about this share of a training's time.
WRITING_SHARE = 0.05


def fingerprint(*parts: Any) -> str:
    """Return a name for a training: equal parts, to the bit, have equal names."""
    return joblib.hash(parts, coerce_mmap=True)


class Saved:
    """What is saved by the names of its attributes, plain values and arrays."""

    _saved: tuple[str, ...] = ()

    def state(self) -> dict:
        """Return what ``restore`` continues from, to the bit."""
        return {name: getattr(self, name) for name in self._saved}

    def restore(self, state: dict) -> None:
        """Continue from the state of an equal one."""
        vars(self).update({name: state[name] for name in self._saved})


class Checkpoint:
    """The latest state of a training, in a file that replaces the one before.

    The folder is made if it does not exist; the name is the training's ``fingerprint``.
    """

    def __init__(self, folder: FilePath, name: str) -> None:
        self._folder = Path(folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise NotADirectoryError(
                f"checkpoint_dir={str(folder)!r} is, or is in, a file, not a folder."
            ) from error
        self._file = self._folder / f"sksparse_ae-{name}.checkpoint.npz"
        self._writing, self._written_at = 0.0, -np.inf

    @contextlib.contextmanager
    def reading(self, like: dict) -> Iterator[dict | None]:
        """Yield the latest state, or None, to the body, which continues from it.

        ``like`` is any state of the training: a tree of dicts, lists, NamedTuples,
        arrays and plain values. ValueError is raised if the file cannot be read, if it
        holds a tree of another form, or if the body cannot continue from it.
        """
        remove_parts(self._file)
        state = None
        try:
            with (
                contextlib.suppress(FileNotFoundError),
                self._file.open("rb") as file,
                np.load(file, allow_pickle=False) as archive,
            ):

                def with_array(value: dict) -> Any:
                    is_array = value.keys() == {"array"}
                    return archive[value["array"]] if is_array else value

                tree = json.loads(str(archive["state"]), object_hook=with_array)
                state = _in_form(tree, like, "state")
            yield state
        except Exception as error:
            raise ValueError(
                f"{self._file} cannot be read as a checkpoint of this training: "
                f"{error} Remove it to train from the start."
            ) from error

    def save(self, get_state: Callable[[], dict]) -> None:
        """Write the state that a function returns, unless it is too soon."""
        start = time.perf_counter()
        if start - self._written_at < self._writing * (1 / WRITING_SHARE - 1):
            return
        arrays: dict[str, Any] = {}

        def without_array(array: np.ndarray) -> dict[str, str]:
            name = f"a{len(arrays)}"
            arrays[name] = array
            return {"array": name}

        arrays["state"] = np.array(json.dumps(get_state(), default=without_array))
        try:
            with replacing(self._file) as file:
                np.savez(file, **arrays)
        except OSError as error:
            # An equal training beside this one may have taken the file for a left-over.
            if not isinstance(error, FileNotFoundError) or not self._folder.is_dir():
                warnings.warn(
                    f"The training goes on without a new checkpoint: {error}",
                    stacklevel=2,
                )
        self._written_at = time.perf_counter()
        self._writing = self._written_at - start

    def remove(self) -> None:
        """Delete the file: the training has ended."""
        self._file.unlink(missing_ok=True)


def _in_form(value: Any, like: Any, name: str) -> Any:
    """Return a tree in the form of another; raise ValueError where it has another one.

    The form is the keys, the lengths of lists with arrays, and the shapes and kinds of
    values. Where the other tree has nothing yet, None or an empty list, nothing is
    known.
    """
    if hasattr(like, "_asdict"):  # JSON makes a list of a NamedTuple
        value = dict(zip(like._fields, value, strict=True))
        return type(like)(**_in_form(value, like._asdict(), name))
    if isinstance(like, dict):
        if not isinstance(value, dict) or value.keys() != like.keys():
            raise ValueError(f"{name} should have the keys {sorted(like)}.")
        return {
            key: _in_form(value[key], like[key], f"{name}[{key!r}]") for key in like
        }
    if isinstance(like, list):
        if not isinstance(value, list):
            raise ValueError(f"{name} should be a list.")
        if any(isinstance(item, np.ndarray) for item in like):
            if len(value) != len(like):
                raise ValueError(f"{name} should have {len(like)} items.")
            pairs = enumerate(zip(value, like, strict=True))
            return [_in_form(own, item, f"{name}[{i}]") for i, (own, item) in pairs]
    elif isinstance(like, np.ndarray):
        form = like.shape, like.dtype.kind
        if not isinstance(value, np.ndarray) or (value.shape, value.dtype.kind) != form:
            raise ValueError(f"{name} should be an array of shape {like.shape}.")
    elif isinstance(like, bool | str):
        if type(value) is not type(like):
            raise ValueError(f"{name} should be a {type(like).__name__}.")
    elif isinstance(like, int):  # all of them are counts
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} should be a count; it is {value!r}.")
    elif isinstance(like, float) and type(value) not in (int, float):
        raise ValueError(f"{name} should be a number; it is {value!r}.")
    return value
