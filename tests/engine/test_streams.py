"""Rows on their way to a compiled program."""

import pickle
import queue
import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine import chunking, full_batch, streams
from sksparse_ae._network import reading
from sksparse_ae._network.coordinates import Coordinates
from sksparse_ae._network.problem import Architecture, Problem
from sksparse_ae._network.scaling import Moments, Scaling
from sksparse_ae._objective.objective import Coefficients

FEATURES = Coordinates.of_features("sigmoid")


def in_format(X, kind, folder):
    """Return rows as an array of either precision, as CSR or as a memory map."""
    if kind == "csr":
        return sparse.csr_matrix(X)
    if kind == "memmap":
        np.save(folder / "X.npy", X)
        return np.load(folder / "X.npy", mmap_mode="r")
    if kind == "by columns":
        return np.asfortranarray(X, dtype=np.float32)
    return X.astype(kind)


FORMATS = ["float32", "float64", "by columns", "csr", "memmap"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Hold at most 90 rows of digits, and pass a program at most 50."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", 4 * 64 * 90)
    monkeypatch.setattr(chunking, "CHUNK_BYTES", 4 * 64 * 50)


@pytest.fixture(scope="module")
def held(digits):
    """A fit of rows that are held in memory; not to be changed."""
    few = SparseAutoencoderTransformer(
        20, batch_size=20, max_iter=60, tol=0, random_state=0
    )
    with pytest.warns(ConvergenceWarning):
        return few.fit(digits)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_rows_that_are_not_held_train_as_well(
    digits, held, small_blocks, tmp_path, kind, no_convergence_warning
):
    anew = clone(held).fit(in_format(digits, kind, tmp_path))
    assert_allclose(anew.objective_.total, held.objective_.total, rtol=0.05)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("is_small", "n_epochs", "is_held"),
    [(True, 2, True), (True, 1, False), (False, 2, False)],
)
def test_an_epoch_takes_every_row_once_and_in_a_new_order(
    digits, request, monkeypatch, tmp_path, kind, is_small, n_epochs, is_held
):
    scaling = Scaling.from_moments(Moments.of(digits), scale=True, linear_output=True)
    expected = scaling.standardize(digits, out=np.empty(digits.shape, np.float32))
    if not is_small:
        request.getfixturevalue("small_blocks")
    X = in_format(digits, kind, tmp_path)
    standardized = []
    standardize = Scaling.standardize

    def counted(self, X, out):
        standardized.append(len(out))
        return standardize(self, X, out)

    monkeypatch.setattr(Scaling, "standardize", counted)
    rng = np.random.RandomState(0)
    stream = streams.EpochStream(X, scaling, FEATURES, 20, rng, n_epochs)
    assert sum(standardized) == (300 if is_held else 0)

    def epoch():
        # All chunks at once: none may be the memory of the next.
        chunks = list(stream)
        assert {len(chunk.data) for chunk in chunks} == {stream.chunk_rows}
        return np.concatenate([chunk.data[: chunk.n_rows] for chunk in chunks])

    first, second = epoch(), epoch()
    assert sum(standardized) == (300 if is_held else 600)
    assert not np.array_equal(first, second)
    for rows in (first, second):
        assert_allclose(
            np.sort(rows, axis=0), np.sort(expected, axis=0), rtol=1e-6, atol=1e-6
        )


def test_rows_of_a_memory_map_are_read_in_runs(digits, tmp_path, small_blocks):
    numbered = np.repeat(np.arange(300.0)[:, np.newaxis], 64, axis=1)
    X = in_format(numbered, "memmap", tmp_path)
    unscaled = Scaling(np.zeros(64), 1.0, True)
    stream = streams.EpochStream(X, unscaled, FEATURES, 20, np.random.RandomState(0), 9)
    # In float64, 90 rows of float32 are 45, of which two batches are read.
    assert stream.chunk_rows == 40
    runs = [np.sort(chunk.data[: chunk.n_rows, 0]) for chunk in stream]
    starts = [int(run[0]) for run in runs]
    assert starts != sorted(starts)
    assert sorted(starts) == list(range(0, 300, 40))
    for run, start in zip(runs, starts, strict=True):
        assert_array_equal(run, np.arange(start, min(start + 40, 300)))


def test_a_stream_of_pieces_smaller_than_a_batch_takes_no_memory_for_it(digits):
    few = SparseAutoencoderTransformer(3, batch_size=10**30, random_state=0)
    for piece in 2 * np.split(digits, 3):
        few.partial_fit(piece)
    # Those of the same rows.
    assert few.loss_curve_[3] < few.loss_curve_[0]
    unscaled = Scaling(np.zeros(64), 1.0, linear_output=True)
    stream = streams.EpochStream(
        digits, unscaled, FEATURES, 2**30, np.random.RandomState(0), 1
    )
    assert stream.chunk_rows <= chunking.CHUNK_BYTES // (4 * 64)
    (chunk,) = stream
    assert chunk.n_rows == 300


def test_rows_taken_once_are_the_batches_of_rows_that_are_held(digits):
    X = digits.astype(np.float32)
    scaling = Scaling.from_moments(Moments.of(X), scale=True, linear_output=True)

    def epoch(n_epochs):
        rng = np.random.RandomState(0)
        stream = streams.EpochStream(X, scaling, FEATURES, 20, rng, n_epochs)
        return [(chunk.data.numpy(), chunk.n_rows) for chunk in stream]

    for once, held in zip(epoch(1), epoch(2), strict=True):
        assert once[1] == held[1]
        assert_array_equal(once[0][: once[1]], held[0][: held[1]])


def test_rows_are_prepared_one_item_ahead():
    begun = queue.Queue()

    def items():
        for i in range(4):
            begun.put((i, threading.current_thread()))
            yield i

    ahead = streams._one_ahead(items())
    assert begun.empty()
    assert next(ahead) == 0
    assert begun.get(timeout=60) == (0, threading.main_thread())
    # Not asked for, but made; and only when it is asked for, the one after it.
    second, thread = begun.get(timeout=60)
    assert second == 1
    assert thread is not threading.main_thread()
    assert begun.empty()
    assert next(ahead) == 1
    assert begun.get(timeout=60) == (2, thread)
    ahead.close()
    assert not thread.is_alive()
    assert list(streams._one_ahead(items())) == [0, 1, 2, 3]


def test_an_error_while_rows_are_prepared_ends_the_training(digits, monkeypatch):
    X = digits.astype(np.float32)
    transformer = SparseAutoencoderTransformer(5, batch_size=20, random_state=0)
    transformer.partial_fit(X)
    before = pickle.dumps(vars(transformer))
    n_threads = threading.active_count()
    prepared = []
    standardize = Scaling.standardize

    def failing(self, X, out):
        prepared.append(len(out))
        if len(prepared) == 3:
            raise OSError("the file is gone")
        return standardize(self, X, out)

    monkeypatch.setattr(Scaling, "standardize", failing)
    monkeypatch.setattr(chunking, "CHUNK_BYTES", 4 * 64 * 50)
    with pytest.raises(OSError, match="the file is gone"):
        transformer.partial_fit(X)
    assert prepared == [40, 40, 40]
    assert threading.active_count() == n_threads
    assert pickle.dumps(vars(transformer)) == before


@pytest.mark.parametrize("offset", [0, 1, 1e3, 1e6])
def test_float32_rows_are_standardized_as_exactly_as_float32_holds_them(offset):
    rng = np.random.RandomState(0)
    X = (offset + rng.normal(size=(1000, 3))).astype(np.float32)
    scaling = Scaling.from_moments(Moments.of(X), scale=True, linear_output=True)
    standardized = scaling.standardize(X, out=np.empty_like(X))
    exact = (X.astype(np.float64) - scaling.offset) / scaling.scale
    assert_allclose(standardized, exact, rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("kind", ["float32", "csr", "memmap"])
def test_lbfgs_by_chunks_of_rows_finds_what_it_finds_on_them_at_once(
    digits,
    monkeypatch,
    tmp_path,
    compiling,
    kind,
    held,
    compiled,
    no_convergence_warning,
):
    few = SparseAutoencoderTransformer(
        5, solver="lbfgs", max_iter=10, activation="tanh", random_state=0
    )
    compiling(compiled)
    X = in_format(digits, kind, tmp_path)
    tolerance = 1e-3 if kind == "float32" else 1e-9
    whole = clone(few).fit(X)
    monkeypatch.setattr(chunking, "CHUNK_BYTES", X.dtype.itemsize * 64 * 70)
    if not held:
        monkeypatch.setattr(reading, "BLOCK_BYTES", 0)
    rows = []
    standardize = Scaling.standardize

    def counted(self, X, out=None):
        rows.append(X.shape[0])
        return standardize(self, X, out)

    monkeypatch.setattr(Scaling, "standardize", counted)
    chunks = clone(few).fit(X)
    assert rows[-5:] == [70, 70, 70, 70, 20]
    assert (len(rows) > 10) == (not held)
    assert_allclose(chunks.loss_curve_, whole.loss_curve_, rtol=tolerance)
    assert_allclose(chunks.coefs_[0], whole.coefs_[0], rtol=tolerance, atol=tolerance)


def test_csr_and_dense_rows_that_are_not_held_train_alike(
    digits, small_blocks, no_convergence_warning
):
    few = SparseAutoencoderTransformer(5, max_iter=3, batch_size=20, random_state=0)
    dense = clone(few).fit(digits)
    compressed = clone(few).fit(sparse.csr_matrix(digits))
    assert_allclose(dense.coefs_[0], compressed.coefs_[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "output_activation", "loss"),
    [
        ("sigmoid", "linear", "squared_error"),
        ("tanh", "linear", "squared_error"),
        ("relu", "sigmoid", "squared_error"),
        ("sigmoid", "sigmoid", "log_loss"),
        ("sigmoid", "exponential", "poisson"),
        ("relu", "linear", "huber"),
    ],
)
def test_one_pass_over_chunks_gives_the_gradient_of_all_rows(
    digits, monkeypatch, activation, output_activation, loss
):
    X, n_units = digits / 16, 5
    problem = Problem(
        Architecture(64, n_units, activation, output_activation, loss, "kl", "float64"),
        Coefficients(0.1, 3.0, 1e-3),
        Scaling(X.mean(axis=0), 1.0, output_activation == "linear"),
    )
    whole = full_batch.FullBatchObjective(X, problem, 10)
    monkeypatch.setattr(chunking, "CHUNK_BYTES", 8 * 64 * 70)
    chunks = full_batch.FullBatchObjective(X, problem, 10)
    vector = np.random.RandomState(0).normal(size=2 * 64 * n_units + n_units + 64)
    (losses, gradient), (of_all, expected) = chunks(vector), whole(vector)
    assert_allclose(losses, of_all, rtol=1e-12)
    assert_allclose(gradient, expected, rtol=1e-12, atol=1e-12)
