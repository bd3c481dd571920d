"""Files that are replaced completely or not at all."""

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FilePath = str | os.PathLike[str]

# The name of a temporary file starts with at most so many characters of the final name,
# as a file name may have no more than 255 bytes.
NAME_LENGTH = 50


def check_folder(path: FilePath) -> Path:
    """Return the path of a file to write; raise if its folder does not exist."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write to.")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder, not a file to write.")
    return path


@contextlib.contextmanager
def replacing(path: FilePath) -> Iterator[BinaryIO]:
    """Open a binary file that replaces the one at ``path`` when the block ends.

    The new file is written in the same folder and then renamed. If the block raises, or
    the disk is full, the old file stays as it was. Links are followed. A path that is
    not an ordinary file, such as a pipe, is written to directly.
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
    # A renamed file survives a loss of power once its folder is on the disk.
    with contextlib.suppress(OSError):  # Windows cannot open folders
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_parts(path: FilePath) -> None:
    """Delete the temporary files of processes that died while they wrote ``path``."""
    path = Path(os.path.realpath(path))
    for part in path.parent.glob(f"{glob.escape(path.name[:NAME_LENGTH])}.*.part"):
        part.unlink(missing_ok=True)
