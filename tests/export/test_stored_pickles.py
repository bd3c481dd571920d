"""Files of earlier versions are read, and those of newer ones are told."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.exceptions import InconsistentVersionWarning

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer

DATA = Path(__file__).parent / "data"
STORED = sorted(DATA.glob("transformers-*.pickle"))
NAMES = ["adam", "float32", "lbfgs", "optimizer", "stream"]


def stored(path):
    """Return the transformers of a file, and what they computed where it was written.

    data/write_transformers.py has written both.
    """
    with np.load(path.with_suffix(".npz")) as values:
        return pickle.loads(path.read_bytes()), dict(values)


def test_there_is_a_small_file_of_each_kind_of_fit():
    assert STORED
    for path in STORED:
        assert path.stat().st_size < 20_000
        assert sorted(stored(path)[0]) == NAMES


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", NAMES)
def test_a_stored_transformer_computes_what_it_did(path, name):
    fitted, values = stored(path)
    transformer, X = fitted[name], values["X"]
    for method in ("transform", "reconstruct"):
        found = getattr(transformer, method)(X[:5])
        assert_allclose(found, values[f"{name}.{method}"], rtol=1e-12)
    assert list(transformer.objective_.values()) == list(values[f"{name}.objective"])
    assert transformer.n_iter_ == len(transformer.loss_curve_)
    assert len(transformer.unit_report(X)) == 3
    assert transformer.get_params()["max_iter"] == 5


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_training_goes_on(path):
    fitted, values = stored(path)
    stream, X = fitted["stream"], values["X"]
    codes = stream.partial_fit(X).transform(X[:5])
    assert_allclose(codes, values["stream.continued"], rtol=1e-5)
    assert stream.n_iter_ == 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_solver_of_keras_trains(path):
    fitted, values = stored(path)
    codes = fitted["optimizer"].fit(values["X"]).transform(values["X"][:5])
    assert_allclose(codes, values["optimizer.transform"], rtol=1e-4)


def saved_by(version, monkeypatch, **others):
    """Return a pickle of a transformer that another version has written."""
    transformer = SparseAutoencoderTransformer(3, max_iter=1, random_state=0)
    vars(transformer).update(others)
    with monkeypatch.context() as patched:
        patched.setattr(sksparse_ae, "__version__", version)
        return pickle.dumps(transformer)


def test_a_file_of_a_newer_version_says_so(monkeypatch):
    file = saved_by("1000.0", monkeypatch)
    with pytest.warns(InconsistentVersionWarning, match=r"version 1000\.0 w") as told:
        transformer = pickle.loads(file)
    assert transformer.n_components == 3
    assert told[0].filename == __file__


def test_a_file_that_only_a_newer_version_reads_says_so(monkeypatch):
    # As if a release to come had added a term to what it keeps of the settings.
    file = saved_by("1000.0", monkeypatch, _fitted_settings={"of_a_later_day": 1})
    with pytest.raises(ValueError, match=r"1000\.0, newer .* which cannot read it"):
        pickle.loads(file)


@pytest.mark.parametrize("version", [sksparse_ae.__version__, "0.0.1"])
def test_a_file_that_is_no_newer_says_nothing(monkeypatch, version):
    transformer = pickle.loads(saved_by(version, monkeypatch))
    # Nor does it leave a trace: saved again, it is of the version that saves it.
    assert vars(transformer).keys() == vars(SparseAutoencoderTransformer()).keys()
