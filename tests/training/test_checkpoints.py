"""A training that dies goes on where it was, and ends as if it had not died."""

import os
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from _helpers import assert_same_fit
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._training.checkpoint import Checkpoint
from sksparse_ae._training.monitor import Monitor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Died(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def dying(monkeypatch):
    """Return a function that makes trainings die after so many iterations."""
    update = Monitor.update

    def die_after(n_iter):
        def dying_update(self, *args):
            if len(self.losses) == n_iter:
                raise Died
            update(self, *args)

        monkeypatch.setattr(Monitor, "update", dying_update)

    yield die_after
    monkeypatch.setattr(Monitor, "update", update)


def read(checkpoint, like=None):
    with checkpoint.reading(like) as state:
        return state


TRAININGS = {
    "adam": {},
    "denoising": {"corruption": 0.3, "corruption_kind": "swap"},
    "early stopping": {"early_stopping": True},
    "stalling": {"tol": 10.0, "n_iter_no_change": 3},
    "reviving": {"revive": True, "activation": "relu", "max_iter": 15},
    "schedule": {
        "solver": keras.optimizers.SGD(
            keras.optimizers.schedules.ExponentialDecay(0.01, 50, 0.9), momentum=0.5
        )
    },
    "lbfgs": {"solver": "lbfgs"},
    "lbfgs, early stopping": {"solver": "lbfgs", "early_stopping": True},
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_that_died_ends_as_one_that_did_not(digits, dying, tmp_path, name):
    settings = {"n_components": 5, "max_iter": 8, "random_state": 0}
    undisturbed = SparseAutoencoderTransformer(**settings | TRAININGS[name])
    survivor = clone(undisturbed).set_params(checkpoint_dir=tmp_path)
    undisturbed.fit(digits)
    for n_iter in (2, 4):
        dying(n_iter)
        with pytest.raises(Died):
            clone(survivor).fit(digits)
        assert len(list(tmp_path.iterdir())) == 1
    dying(None)
    survivor.fit(digits)
    assert_same_fit(survivor, undisturbed)
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_training_does_not_repeat_its_epochs(digits, dying, tmp_path):
    dying(8)
    few = SparseAutoencoderTransformer(
        3, max_iter=10, random_state=0, checkpoint_dir=tmp_path
    )
    with pytest.raises(Died):
        clone(few).fit(digits)
    (file,) = tmp_path.iterdir()
    saved = read(Checkpoint(tmp_path, file.name.split("-")[1].split(".")[0]))
    assert 1 <= saved["n_iter"] <= 8
    assert len(saved["monitor"]["losses"]) == saved["n_iter"]


def test_trainings_share_a_folder(digits, dying, tmp_path):
    dying(3)
    few = SparseAutoencoderTransformer(
        3, max_iter=5, random_state=0, checkpoint_dir=tmp_path
    )
    for settings in ({}, {"rho": 0.1}, {"random_state": 1}, {"solver": "sgd"}):
        with pytest.raises(Died):
            clone(few).set_params(**settings).fit(digits)
    with pytest.raises(Died):
        clone(few).fit(digits[:200])
    assert len(list(tmp_path.iterdir())) == 5
    with pytest.raises(Died):
        clone(few).set_params(verbose=1).fit(digits)
    assert len(list(tmp_path.iterdir())) == 5


def test_an_interrupted_training_keeps_its_checkpoint(digits, monkeypatch, tmp_path):
    update = Monitor.update

    def interrupted(self, *args):
        if len(self.losses) == 3:
            raise KeyboardInterrupt
        update(self, *args)

    settings = {"n_components": 3, "max_iter": 6, "random_state": 0}
    undisturbed = SparseAutoencoderTransformer(**settings).fit(digits)
    monkeypatch.setattr(Monitor, "update", interrupted)
    stopped = SparseAutoencoderTransformer(**settings, checkpoint_dir=tmp_path)
    with pytest.warns(UserWarning, match="interrupted"):
        stopped.fit(digits)
    monkeypatch.setattr(Monitor, "update", update)
    assert_same_fit(clone(stopped).fit(digits), undisturbed)


def test_warm_starts_are_other_trainings(digits, dying, tmp_path):
    settings = {
        "n_components": 3,
        "max_iter": 5,
        "random_state": 0,
        "warm_start": True,
    }
    undisturbed = SparseAutoencoderTransformer(**settings).fit(digits).fit(digits)
    survivor = SparseAutoencoderTransformer(**settings, checkpoint_dir=tmp_path)
    survivor.fit(digits)
    dying(2)
    with pytest.raises(Died):
        survivor.fit(digits)
    dying(None)
    assert_same_fit(survivor.fit(digits), undisturbed)


def test_an_unreadable_checkpoint_is_named(tmp_path):
    checkpoint = Checkpoint(tmp_path, "training")
    checkpoint.save(lambda: {"weights": [np.arange(1000.0)]})
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cannot be read .* Remove it to"):
        read(Checkpoint(tmp_path, "training"))


def without(state, key):
    del state[key]


def with_entry(state, *keys_and_value):
    *keys, last, value = keys_and_value
    for key in keys:
        state = state[key]
    state[last] = value


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: without(s, "engine"), "should have the keys"),
        (lambda s: without(s["monitor"], "_best"), "should have the keys"),
        (lambda s: with_entry(s, "other", 1), "should have the keys"),
        (
            lambda s: with_entry(s, "n_iter", -5),
            "n_iter.* should be a count; it is -5",
        ),
        (lambda s: with_entry(s, "n_iter", 10**6), "does not fit its curve"),
        (lambda s: with_entry(s, "n_iter", 1.5), "should be a count"),
        (lambda s: with_entry(s, "engine", 4, "many"), "should be a number"),
        (
            lambda s: with_entry(s, "engine", 0, 0, np.zeros((2, 2))),
            "array of shape .3, ",
        ),
        (lambda s: s["engine"][0].pop(), "should have .* items"),
        (lambda s: s["random"].clear(), "zip"),
        (lambda s: with_entry(s, "monitor", "losses", 0, [1.0]), "missing"),
    ],
)
def test_a_checkpoint_of_another_form_is_refused(
    digits, dying, tmp_path, spoil, message
):
    few = SparseAutoencoderTransformer(
        3, max_iter=9, batch_size=100, random_state=0, checkpoint_dir=tmp_path
    )
    dying(2)
    with pytest.raises(Died):
        clone(few).fit(digits)
    dying(None)
    (file,) = tmp_path.iterdir()
    checkpoint = Checkpoint(tmp_path, file.name.split("-")[1].split(".")[0])
    state = read(checkpoint)
    spoil(state)
    checkpoint.save(lambda: state)
    with pytest.raises(ValueError, match=message) as error:
        few.fit(digits)
    assert str(file) in str(error.value)
    assert "Remove it to train from the start" in str(error.value)
    assert not hasattr(few, "coefs_")


def test_a_checkpoint_of_another_version_is_another_training(
    digits, dying, tmp_path, monkeypatch
):
    few = SparseAutoencoderTransformer(
        3, max_iter=5, random_state=0, checkpoint_dir=tmp_path
    )
    dying(2)
    for n_files, version in enumerate(["0.0.1", "0.0.2"], start=1):
        monkeypatch.setattr(sksparse_ae, "__version__", version)
        with pytest.raises(Died):
            clone(few).fit(digits)
        assert len(list(tmp_path.iterdir())) == n_files


def test_a_checkpoint_returns_what_it_was_given(tmp_path):
    state = {
        "weights": [np.arange(3, dtype=np.float32), np.zeros((2, 0))],
        "numbers": [1, 0.1 + 0.2, float("inf"), None, True, "word"],
        "nested": {"array": np.array(7, dtype=np.uint32), "other": []},
    }
    Checkpoint(tmp_path, "a").save(lambda: state)
    found = read(Checkpoint(tmp_path, "a"), like=state)
    assert found["numbers"] == state["numbers"]
    assert found["nested"]["other"] == []
    for a, b in (
        *zip(found["weights"], state["weights"], strict=True),
        (found["nested"]["array"], state["nested"]["array"]),
    ):
        assert_array_equal(a, b)
        assert a.dtype == b.dtype
    assert read(Checkpoint(tmp_path, "b"), like=state) is None


def test_parts_of_an_unfinished_writing_are_not_read_and_go_away(tmp_path):
    checkpoint = Checkpoint(tmp_path, "training")
    checkpoint.save(lambda: {"epoch": 1})
    (file,) = tmp_path.iterdir()
    (tmp_path / f"{file.name}.0.part").write_bytes(b"half")
    assert read(Checkpoint(tmp_path, "training")) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_equal_trainings_at_once_share_a_folder_without_harm(digits, tmp_path, solver):
    few = SparseAutoencoderTransformer(5, solver=solver, max_iter=8, random_state=0)
    alone = clone(few).fit(digits)
    few.set_params(checkpoint_dir=tmp_path)
    with ThreadPoolExecutor(4) as pool:
        for one in pool.map(lambda _: clone(few).fit(digits), range(8)):
            assert_same_fit(one, alone)
    # One that has gone without the log leaves that of another to it.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_equal_trainings_in_processes_share_a_folder_without_harm(digits, tmp_path):
    few = SparseAutoencoderTransformer(
        5, solver="lbfgs", max_iter=30, random_state=0, checkpoint_dir=tmp_path
    )
    fits = Parallel(2)(delayed(clone(few).fit)(digits) for _ in range(4))
    few.set_params(checkpoint_dir=None).fit(digits)
    for one in fits:
        assert_same_fit(one, few)


def test_a_checkpoint_needs_a_random_state(digits, tmp_path):
    few = SparseAutoencoderTransformer(3, max_iter=2, checkpoint_dir=tmp_path / "new")
    with pytest.raises(ValueError, match="checkpoint_dir needs a random_state"):
        few.fit(digits)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    digits, monkeypatch, tmp_path, solver
):
    def full(file, **arrays):
        file.write(b"some")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    few = SparseAutoencoderTransformer(3, solver=solver, max_iter=2, random_state=0)
    undisturbed = clone(few).fit(digits)
    few.set_params(checkpoint_dir=tmp_path)
    with pytest.warns(UserWarning, match="without a new checkpoint: No space left"):
        few.fit(digits)
    assert_same_fit(few, undisturbed)
    assert list(tmp_path.iterdir()) == []


def test_a_fit_that_a_warning_ends_keeps_its_checkpoint(digits, tmp_path):
    few = SparseAutoencoderTransformer(
        3, max_iter=2, random_state=0, checkpoint_dir=tmp_path
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            few.fit(digits)
    assert len(list(tmp_path.iterdir())) == 1
    assert not hasattr(few, "coefs_")


PROGRAM = """
import sys
from sklearn.datasets import load_digits
from sksparse_ae import SparseAutoencoderTransformer

print("started", flush=True)
autoencoder = SparseAutoencoderTransformer(
    5, max_iter=60, solver=sys.argv[1], random_state=0, checkpoint_dir=sys.argv[2]
)
autoencoder.fit(load_digits().data[:300])
"""


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_killed_process_loses_nothing(digits, tmp_path, solver):
    folder = tmp_path / "checkpoints"
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, solver, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        # Killed as soon as there is something to lose.
        while process.poll() is None and not list(folder.glob("*")):
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    undisturbed = SparseAutoencoderTransformer(
        5, max_iter=60, solver=solver, random_state=0
    )
    survivor = clone(undisturbed).set_params(checkpoint_dir=folder)
    assert_same_fit(survivor.fit(digits), undisturbed.fit(digits))
    assert os.listdir(folder) == []


@pytest.mark.parametrize("below", ["", "folder"])
def test_a_file_in_place_of_the_folder_is_named(digits, tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"checkpoint_dir=.* is, or is in, a"):
        SparseAutoencoderTransformer(
            3, checkpoint_dir=tmp_path / "file" / below, random_state=0
        ).fit(digits)
