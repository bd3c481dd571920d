"""Files that the package writes take the place of others as a whole, or not at all."""

import errno
import os
import stat
import threading

import pytest

from sksparse_ae._training.checkpoint import Checkpoint
from sksparse_ae._utils import files
from sksparse_ae._utils.files import replacing


def write_checkpoint(fitted, X, path):
    checkpoint = Checkpoint(path.parent, "training")
    checkpoint._file = path
    checkpoint.save(lambda: {"epoch": 1})


WRITERS = {
    "report": lambda fitted, X, path: fitted.report(X, path),
    "to_onnx": lambda fitted, X, path: fitted.to_onnx(path),
    "generate_function": lambda fitted, X, path: fitted.generate_function(path),
    "checkpoint": write_checkpoint,
}


@pytest.mark.filterwarnings("ignore:The training goes on without a new checkpoint")
@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_is_full_leaves_the_earlier_file(
    writer, fitted, digits, tmp_path, monkeypatch
):
    path = tmp_path / "written.py"
    path.write_bytes(b"earlier")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        if writer == "checkpoint":
            WRITERS[writer](fitted, digits, path)
        else:
            with pytest.raises(OSError, match="No space left"):
                WRITERS[writer](fitted, digits, path)
    assert path.read_bytes() == b"earlier"
    WRITERS[writer](fitted, digits, path)
    assert path.read_bytes() != b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("writer", ["report", "to_onnx", "generate_function"])
def test_a_folder_that_is_missing_or_in_the_place_of_the_file_is_named(
    writer, fitted, digits, tmp_path
):
    with pytest.raises(FileNotFoundError, match=r"There is no folder '.*absent'"):
        WRITERS[writer](fitted, digits, tmp_path / "absent" / "written.py")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder\.py' is a folder"):
        WRITERS[writer](fitted, digits, tmp_path / "folder.py")


def test_links_are_followed_and_permissions_kept(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"earlier")
    target.chmod(0o640)
    link.symlink_to(target)
    with replacing(link) as file:
        file.write(b"later")
    assert link.is_symlink()
    assert target.read_bytes() == b"later"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("ä" * 127)
    with replacing(path) as file:
        file.write(b"written")
    assert path.read_bytes() == b"written"


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    with replacing(path) as file:
        file.write(b"written")
    reader.join()
    assert read == [b"written"]
