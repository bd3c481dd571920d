"""Files that are replaced as a whole, or stay as they were."""

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FilePath = str | os.PathLike[str]

# Characters of its name that a file's part bears: a name may have 255 bytes.
NAME_LENGTH = 50


def check_folder(path: FilePath) -> Path:
    """Raise if there is no folder to write a file to; return the file's path."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write to.")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder, not a file to write.")
    return path


@contextlib.contextmanager
def replacing(path: FilePath) -> Iterator[BinaryIO]:
    """Open a file that takes the place of another one when the block ends.

    It is written beside that one and then renamed. If the block raises, or the disk is
    full, what stood at ``path`` is left as it was.

    Parameters
    ----------
    path : str or path-like
        A link is followed. What is no ordinary file, as a pipe, is written to.

    Yields
    ------
    file : binary file
    """
    path = Path(os.path.realpath(check_folder(path)))
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    part = path.with_name(f"{path.name[:NAME_LENGTH]}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):
            shutil.copymode(path, part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_parts(path: FilePath) -> None:
    """Delete what was left over where a process died while it wrote ``path``."""
    path = Path(os.path.realpath(path))
    for part in path.parent.glob(f"{glob.escape(path.name[:NAME_LENGTH])}.*.part"):
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # A renamed file is safe from a loss of power once its folder is written.
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
