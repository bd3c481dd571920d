"""Rows that lie elsewhere: functions go to them, and nothing but sums comes back."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._network.remote import RemoteRows, joined_pairs
from sksparse_ae.remote import RemoteBlocks

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

SETTINGS = {
    "n_components": 5,
    "solver": "lbfgs",
    "max_iter": 20,
    "tol": 1e-9,
    "random_state": 0,
}


class Elsewhere(RemoteBlocks):
    """Blocks that functions reach by pickle alone; the sizes of results are noted."""

    def __init__(self, blocks):
        self._blocks, self.n_bytes = blocks, []

    def __len__(self):
        return len(self._blocks)

    def map(self, function, numbers):
        function = pickle.dumps(function)
        results = [
            pickle.dumps(pickle.loads(function)(n, self._blocks[n])) for n in numbers
        ]
        self.n_bytes += map(len, results)
        return [pickle.loads(result) for result in results]


@pytest.fixture
def blocks(digits):
    return Elsewhere(np.split(digits, [40, 40, 130, 250]))


@pytest.fixture(scope="module")
def rows():
    X = np.arange(60.0).reshape(20, 3)
    source = Elsewhere([X[:3], X[3:3], X[3:11], X[11:]])
    return RemoteRows(source, [3, 0, 8, 9], 3, np.dtype(float)), X


def test_a_fit_is_that_of_the_rows_joined(digits, blocks):
    fitted = SparseAutoencoderTransformer(**SETTINGS).fit(blocks)
    expected = SparseAutoencoderTransformer(**SETTINGS).fit(digits)
    assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-9)
    assert_allclose(fitted.rho_hat_, expected.rho_hat_, rtol=1e-6)


def test_rows_stay_where_they_are(digits):
    # 1000 rows are fetched as a sample; the others are only summed up.
    X = np.tile(digits, (20, 1))
    blocks = Elsewhere(np.split(X, 20))
    SparseAutoencoderTransformer(**SETTINGS | {"max_iter": 2}).fit(blocks)
    assert max(blocks.n_bytes) < digits.nbytes / 4


def test_what_is_said_of_the_whole_is_that_of_the_rows_joined(digits, blocks):
    fitted = SparseAutoencoderTransformer(**SETTINGS).fit(digits)
    assert_allclose(fitted.score(blocks), fitted.score(digits), rtol=1e-12)
    assert_allclose(
        fitted.evaluate_objective(blocks).total, fitted.objective_.total, rtol=1e-12
    )
    assert_array_equal(
        fitted.unit_report(blocks)["state"], fitted.unit_report(digits)["state"]
    )


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_mini_batches_take_one_block_after_the_other(digits, blocks, solver):
    settings = SETTINGS | {"solver": solver, "max_iter": 2}
    fitted = SparseAutoencoderTransformer(**settings).fit(blocks)
    expected = SparseAutoencoderTransformer(**settings).fit(digits)
    assert_array_equal(fitted.coefs_[0], expected.coefs_[0])


def test_sparse_blocks_are_summed_up_as_they_are(digits):
    blocks = Elsewhere(
        [sparse.csr_matrix(digits[:100]), sparse.csr_matrix(digits[100:])]
    )
    fitted = SparseAutoencoderTransformer(**SETTINGS).fit(blocks)
    expected = SparseAutoencoderTransformer(**SETTINGS).fit(sparse.csr_matrix(digits))
    assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("method", ["transform", "reconstruct", "score_samples"])
def test_what_is_said_of_each_row_is_refused(digits, blocks, method):
    fitted = SparseAutoencoderTransformer(**SETTINGS).fit(digits)
    with pytest.raises(TypeError, match="call the method there, on each block"):
        getattr(fitted, method)(blocks)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((3, 64), np.inf), "Block 1 of X: Input X contains infinity"),
        (np.ones((3, 60)), "Block 1 of X: X has 60 features"),
        (np.ones((3, 64), np.float32), "Block 1 of X is dense float32, and the first"),
        (np.ones(64), "Block 1 of X: Expected 2D array"),
    ],
    ids=["infinity", "columns", "dtype", "1-D"],
)
def test_a_bad_block_is_named(digits, bad, message):
    estimator = SparseAutoencoderTransformer(**SETTINGS)
    with pytest.raises(ValueError, match=message):
        estimator.fit(Elsewhere([digits, bad]))


@pytest.mark.parametrize(
    "selection",
    [
        [slice(None)],
        [slice(2, 13)],
        [slice(None, None, 4)],
        [slice(5, 19), slice(1, None, 3)],
        [np.array([0, 2, 3, 10, 19])],
        [slice(1, None, 2), np.array([0, 4, 9])],
        [np.array([1, 5, 6, 12]), slice(1, 3)],
        [slice(4, 4)],
    ],
    ids=str,
)
def test_rows_are_chosen_before_they_are_fetched(rows, selection):
    chosen, expected = rows
    for selected in selection:
        chosen, expected = chosen[selected], expected[selected]
    assert chosen.shape == expected.shape
    assert_array_equal(chosen.toarray(), expected)


def test_the_order_of_a_sum_is_that_of_the_numbers():
    parts = {0: "a", 1: "b", 2: "c", 5: "f", 6: "g"}
    levels = []
    while len(parts) > 1:
        parts = joined_pairs(parts, lambda one, other: f"({one}{other})")
        levels.append(dict(parts))
    assert levels == [
        {0: "(ab)", 1: "c", 2: "f", 3: "g"},
        {0: "((ab)c)", 1: "(fg)"},
        {0: "(((ab)c)(fg))"},
    ]


def test_weights_are_refused_for_rows_that_lie_elsewhere(digits, blocks):
    with pytest.raises(TypeError, match="RemoteBlocks have none"):
        SparseAutoencoderTransformer(**SETTINGS).fit(
            blocks, sample_weight=np.arange(len(digits))
        )
