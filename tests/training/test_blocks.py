"""Rows in many blocks train as the rows of one array do."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from _helpers import assert_same_fit
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine import chunking
from sksparse_ae._network import reading
from sksparse_ae._network.blocks import Blocks
from sksparse_ae._training.monitor import Monitor
from sksparse_ae.model_selection import train_together

# Trainings that are short on purpose stop at max_iter and explain little.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]

# One row, an empty block, and lengths that no batch divides.
CUTS = [0, 1, 100, 187, 187, 300]
NAMES = [f"pixel{i}" for i in range(64)]


class FromDisk(Sequence):
    """Blocks that are made when they are asked for."""

    def __init__(self, paths):
        self._paths, self.n_asked = paths, 0

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, number):
        self.n_asked += 1
        return np.load(self._paths[number])


def parts_of(X):
    return [X[start:stop] for start, stop in itertools.pairwise(CUTS)]


def saved(X, folder):
    paths = [folder / f"{number}.npy" for number in range(len(CUTS) - 1)]
    for path, part in zip(paths, parts_of(X), strict=True):
        np.save(path, part)
    return paths


FORMS = {
    "arrays": lambda X, folder: parts_of(X),
    "tuple": lambda X, folder: tuple(parts_of(X)),
    "paths": saved,
    "names": lambda X, folder: [str(path) for path in saved(X, folder)],
    "maps": lambda X, folder: [np.load(p, mmap_mode="r") for p in saved(X, folder)],
    "frames": lambda X, folder: [pd.DataFrame(p, columns=NAMES) for p in parts_of(X)],
    "sequence": lambda X, folder: FromDisk(saved(X, folder)),
}


def few(**settings):
    return SparseAutoencoderTransformer(
        **{"n_components": 5, "max_iter": 4, "random_state": 0, **settings}
    )


@pytest.fixture(scope="module")
def wholes(digits):
    """Fits to one array, by solver and form."""
    return {
        (solver, as_csr): few(solver=solver).fit(
            sparse.csr_matrix(digits) if as_csr else digits
        )
        for solver in ("adam", "lbfgs")
        for as_csr in (False, True)
    }


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("form", FORMS)
def test_blocks_are_fitted_to_the_bit_as_one_array(
    digits, wholes, tmp_path, form, solver
):
    whole, blocks = wholes[solver, False], FORMS[form](digits, tmp_path)
    fitted = few(solver=solver).fit(blocks)
    assert_same_fit(fitted, whole)
    assert_array_equal(fitted.transform(blocks), whole.transform(digits))
    assert_array_equal(fitted.reconstruct(blocks), whole.reconstruct(digits))
    assert_array_equal(fitted.score_samples(blocks), whole.score_samples(digits))
    assert fitted.score(blocks) == whole.score(digits)
    assert fitted.evaluate_objective(blocks) == whole.evaluate_objective(digits)
    assert fitted.unit_report(blocks).equals(whole.unit_report(digits))
    assert (form == "frames") == hasattr(fitted, "feature_names_in_")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_csr_blocks_are_fitted_as_one_csr_matrix(digits, wholes, solver):
    blocks = [sparse.csr_matrix(part) for part in parts_of(digits)]
    assert_same_fit(few(solver=solver).fit(blocks), wholes[solver, True])
    # Entries in parts are added up, as in one matrix.
    twice = [sparse.coo_matrix((p + p.multiply(0.5)) / 1.5) for p in blocks]
    assert_same_fit(few(solver=solver).fit(twice), wholes[solver, True])


def test_blocks_of_one_kind_may_be_given_in_many_forms(digits, wholes):
    first, *others = parts_of(digits)
    masked = np.ma.masked_array(first, mask=np.zeros(first.shape, bool))
    empty = np.empty((0, 64), np.float32)
    whole = wholes["adam", False]
    assert_same_fit(few().fit([empty, masked, *others]), whole)
    frame = pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(first))
    assert_same_fit(
        few().fit([frame, *map(sparse.csr_matrix, others)]), wholes["adam", True]
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"early_stopping": True},
        {"loss": "log_loss", "output_activation": "sigmoid"},
        {"output_activation": "exponential", "loss": "poisson", "early_stopping": True},
        {"solver": "lbfgs", "loss": "huber", "early_stopping": True},
        {"scale": False, "init": "uniform"},
        {"solver": "sgd", "shuffle": False},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_act_on_rows_numbered_through_all_blocks(digits, tmp_path, settings):
    X = digits / 16
    blocks = saved(X, tmp_path)
    assert_same_fit(few(**settings).fit(blocks), few(**settings).fit(X))


def test_float16_is_cast_where_it_is_read(digits, tmp_path):
    half = digits.astype(np.float16)
    fitted = few().fit(saved(half, tmp_path))
    assert_same_fit(fitted, few().fit(half))
    assert fitted.coefs_[0].dtype == np.float64


def test_partial_fit_takes_blocks_as_one_piece(digits, tmp_path):
    one, other = few(), few()
    for _ in range(2):
        one.partial_fit(saved(digits, tmp_path))
        other.partial_fit(digits)
    assert_same_fit(one, other)


@pytest.fixture
def small_memory(monkeypatch):
    """Hold at most 90 rows of digits in float32, and pass a program at most 50."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", 4 * 64 * 90)
    monkeypatch.setattr(chunking, "CHUNK_BYTES", 4 * 64 * 50)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_files_stream_as_one_memory_map_does(
    digits, tmp_path, small_memory, solver, early_stopping
):
    X = digits.astype(np.float32)
    np.save(tmp_path / "whole.npy", X)
    estimator = few(solver=solver, early_stopping=early_stopping)
    whole = clone(estimator).fit(np.load(tmp_path / "whole.npy", mmap_mode="r"))
    assert_same_fit(clone(estimator).fit(saved(X, tmp_path)), whole)


def test_a_stream_reads_each_block_about_once_an_epoch(digits, tmp_path, small_memory):
    blocks = FromDisk(saved(digits, tmp_path))
    estimator = few(shuffle=False, batch_size=20).partial_fit(blocks)
    blocks.n_asked = 0
    estimator.partial_fit(blocks)
    # For the validation, the moments (twice), the covariance of the first rows of a
    # stream, the rate's sample, the start's objective, the training and the evaluation;
    # where a run of rows ends, a block is read again.
    assert blocks.n_asked <= 8 * len(blocks)


def test_blocks_in_memory_are_shuffled_over_all_rows(digits, small_memory):
    estimator = few(batch_size=20)
    assert_same_fit(
        clone(estimator).fit(parts_of(digits)), clone(estimator).fit(digits)
    )


@pytest.mark.parametrize("method", ["transform", "reconstruct"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_can_be_written_to_a_memory_map(
    digits, wholes, tmp_path, method, dtype
):
    whole = wholes["adam", False]
    expected = getattr(whole, method)(digits)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", dtype, expected.shape)
    assert getattr(whole, method)(saved(digits, tmp_path), out=out) is out
    assert_allclose(out, expected, rtol=1e-6, atol=1e-6)
    if dtype == np.float64:
        assert_array_equal(out, expected)


@pytest.mark.parametrize(
    "out",
    [np.empty((300, 4)), np.empty((300, 5), np.int64), [0], np.empty((300, 5)).T],
    ids=["columns", "integers", "list", "turned"],
)
def test_a_place_for_results_that_does_not_fit_is_named(digits, wholes, out):
    with pytest.raises(ValueError, match=r"out must be .* of shape \(300, 5\)"):
        wholes["adam", False].transform(digits, out=out)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda b: b[1][:, :5], r"Block 1 of X: X has 5 features, but .* expecting 64"),
        (lambda b: b[1].astype(np.float32), "Block 1 of X is dense float32, and the f"),
        (lambda b: sparse.csr_matrix(b[1]), "Block 1 of X is sparse float64, and the"),
        (
            lambda b: np.where(b[1] > 1, np.inf, b[1]),
            "Block 1 of X: Input X contains",
        ),
        (lambda b: b[1][0], "Block 1 of X: .*2D array, got 1D array"),
        (lambda b: b[1].astype(str), "Block 1 of X: "),
        (lambda b: "no.npy", r"Block 1 of X \(no\.npy\): .*No such file"),
    ],
    ids=["width", "dtype", "sparse", "infinity", "vector", "text", "path"],
)
@pytest.mark.parametrize("fits", [True, False])
def test_an_error_names_the_block(digits, wholes, spoil, message, fits):
    blocks = parts_of(digits)
    blocks[1] = spoil(blocks)
    estimator = few() if fits else wholes["adam", False]
    with pytest.raises(ValueError, match=message):
        (estimator.fit if fits else estimator.transform)(blocks)
    assert not fits or not hasattr(estimator, "coefs_")


def test_blocks_with_too_few_rows_are_named(digits):
    with pytest.raises(ValueError, match=r"Found 1 sample\(s\) in 2 blocks"):
        few().fit([digits[:1], digits[:0]])


def test_fits_to_the_same_blocks_are_trained_together(digits, tmp_path):
    estimators = [few(rho=rho) for rho in (0.05, 0.1)]
    others = saved(digits / 2, tmp_path)
    calls = [delayed(clone(e).fit)(parts_of(digits)) for e in estimators]
    calls.append(delayed(clone(estimators[0]).fit)(others))
    with train_together():
        fits = Parallel()(calls)
    for fitted, alone in zip(
        fits,
        [
            *(clone(e).fit(digits) for e in estimators),
            clone(estimators[0]).fit(digits / 2),
        ],
        strict=True,
    ):
        assert_allclose(fitted.coefs_[0], alone.coefs_[0], rtol=1e-3, atol=1e-5)


def test_a_list_of_rows_is_still_one_array(digits):
    rows = list(digits[:40])
    assert_same_fit(few().fit(rows), few().fit(digits[:40]))
    lists = digits[:40].tolist()
    assert_same_fit(few().fit(lists), few().fit(digits[:40]))


def test_a_checkpoint_belongs_to_what_the_files_hold(digits, tmp_path, monkeypatch):
    folder, update = tmp_path / "checkpoints", Monitor.update
    paths, undisturbed = saved(digits, tmp_path), few().fit(digits)

    def dying(self, *args):
        if len(self.losses) == 2:
            raise KeyError("died")
        update(self, *args)

    def die():
        with pytest.raises(KeyError, match="died"):
            few(checkpoint_dir=folder).fit(paths)
        return len(list(folder.iterdir()))

    monkeypatch.setattr(Monitor, "update", dying)
    assert die() == die() == 1
    np.save(paths[2], digits[100:187] / 2)
    assert die() == 2
    np.save(paths[2], digits[100:187])
    monkeypatch.setattr(Monitor, "update", update)
    assert_same_fit(few(checkpoint_dir=folder).fit(paths), undisturbed)


def test_any_rows_can_be_taken_in_any_order(digits):
    blocks = Blocks(parts_of(digits), np.diff(CUTS), 64, np.dtype(np.float64))
    rng = np.random.RandomState(0)
    for rows in (
        slice(0, 300),
        slice(99, 101),
        slice(187, 187),
        slice(3, 290, 7),
        rng.permutation(300),
        rng.randint(0, 300, 50),
        np.array([], dtype=int),
    ):
        assert_array_equal(blocks[rows], digits[rows])
    part = blocks.part(90, 250)
    assert part.shape == (160, 64)
    assert_array_equal(part[5:140], digits[95:230])
    assert_array_equal(part.part(10, 20)[[3, 1]], digits[[103, 101]])
