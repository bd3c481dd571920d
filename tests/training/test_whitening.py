"""A training on whitened data is that of data that were whitened before."""

import pickle

import numpy as np
import pytest
from _helpers import assert_same_fit
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._network.scaling import Moments, Scaling
from sksparse_ae._training import settings
from sksparse_ae._training.plan import hold_out
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.model_selection import train_together
from sksparse_ae.remote import RemoteBlocks

# Trainings that are short on purpose stop at max_iter and explain little.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]


class InThreads(RemoteBlocks):
    """Blocks that another thread reads."""

    def __init__(self, blocks):
        self._blocks = blocks

    def __len__(self):
        return len(self._blocks)

    def map(self, function, numbers):
        calls = (delayed(function)(n, self._blocks[n]) for n in numbers)
        return Parallel(n_jobs=2, backend="threading")(calls)


@pytest.fixture(scope="module")
def X():
    """Colours of 400 patches of 3x3 pixels, from 0 to 255."""
    return load_natural_image_patches(
        400, patch_size=3, color=True, normalize=False, random_state=0
    )


def few(solver="lbfgs", **parameters):
    return SparseAutoencoderTransformer(
        6,
        **{"scale": "whiten", "solver": solver, "max_iter": 20, "random_state": 0}
        | parameters,
    )


def whitening_of(rows):
    """Return the matrix of the user guide's formula for centred and scaled rows."""
    U, variances, _ = np.linalg.svd(rows.T @ rows / len(rows))
    matrix = U @ np.diag(1 / np.sqrt(variances + 0.01 * variances[0])) @ U.T
    return matrix / np.sqrt(np.square(rows @ matrix).mean())


def whitened(X):
    """Return whitened rows, and the scale and the matrix that have made them."""
    rows = X - X.mean(axis=0)
    scale = np.sqrt(np.square(rows).mean())
    matrix = whitening_of(rows / scale)
    return rows / scale @ matrix, scale, matrix


def objective(transformer, X):
    """Return the terms of the objective in NumPy, from public attributes."""
    scale, matrix = transformer.scale_, transformer.whitening_
    error = (transformer.reconstruct(X) - X) / scale @ matrix
    r, rho = transformer.transform(X).mean(axis=0), transformer.rho
    kl = rho * np.log(rho / r) + (1 - rho) * np.log((1 - rho) / (1 - r))
    W1, W2 = transformer.coefs_
    kernels = scale * np.linalg.solve(matrix, W1), W2 @ matrix / scale
    squares = sum(np.square(kernel).sum() for kernel in kernels)
    return [
        np.square(error).sum() / len(X) / 2,
        transformer.weight_decay_ / 2 * squares,
        transformer.beta_ * kl.sum(),
    ]


# ------------------------------------------------------------- the same as by hand


# "adam" computes in float32, in which its steps are rounded in another way.
@pytest.mark.parametrize(("solver", "rtol"), [("lbfgs", 1e-8), ("adam", 1e-3)])
def test_a_fit_is_that_of_rows_whitened_before(X, solver, rtol):
    rows, scale, matrix = whitened(X)
    fitted = few(solver).fit(X)
    expected = few(solver, scale=False).fit(rows)
    assert_allclose(fitted.whitening_, matrix, rtol=1e-8, atol=1e-10)
    assert fitted.scale_ == pytest.approx(scale)
    assert fitted.beta_ == pytest.approx(expected.beta_)
    assert fitted.weight_decay_ == pytest.approx(expected.weight_decay_)
    assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=rtol)
    assert_allclose(
        list(fitted.objective_.values()), list(expected.objective_.values()), rtol=rtol
    )
    assert_allclose(fitted.transform(X), expected.transform(rows), atol=10 * rtol)


def test_the_weights_are_those_on_the_data_as_given(X):
    rows, scale, matrix = whitened(X)
    fitted, expected = few().fit(X), few(scale=False).fit(rows)
    (W1, W2), (own_W1, own_W2) = expected.coefs_, fitted.coefs_
    assert_allclose(own_W1, matrix @ W1 / scale, rtol=1e-6, atol=1e-9)
    assert_allclose(own_W2, W2 @ np.linalg.inv(matrix) * scale, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_the_objective_is_measured_on_whitened_rows(X, solver, dtype):
    X = X.astype(dtype)
    fitted = few(solver).fit(X)
    assert fitted.coefs_[0].dtype == dtype
    rtol = 1e-4 if dtype == np.float32 else 1e-8
    assert_allclose(list(fitted.objective_.values())[1:], objective(fitted, X), rtol)
    other = X[:90] + 3
    found = fitted.evaluate_objective(other)
    assert_allclose(list(found.values())[1:], objective(fitted, other), rtol)


def test_score_is_the_share_of_the_variance_of_the_data_as_given(X):
    fitted = few(max_iter=100).fit(X)
    error = np.square(fitted.reconstruct(X) - X).sum()
    share = 1 - error / np.square(X - X.mean(axis=0)).sum()
    assert fitted.score(X) == pytest.approx(share)
    assert share > 0.3


# ------------------------------------------------------------- every kind of rows


def test_rows_of_every_kind_are_whitened_alike(X, tmp_path):
    np.save(tmp_path / "rows.npy", X)
    expected = few().fit(X)
    for rows in (
        sparse.csr_matrix(X),
        [X[:150], X[150:]],
        np.load(tmp_path / "rows.npy", mmap_mode="r"),
        InThreads([X[:150], X[150:151], X[151:]]),
    ):
        fitted = few().fit(rows)
        assert_allclose(fitted.whitening_, expected.whitening_, rtol=1e-8, atol=1e-10)
        assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-8)


def test_the_map_is_learnt_on_the_rows_that_are_not_held_out(X):
    fitted = few(early_stopping=True).fit(X)
    rows, held_out = hold_out(X, 0.1, np.random.RandomState(0))
    _, scale, matrix = whitened(rows)
    assert_allclose(fitted.whitening_, matrix, rtol=1e-8, atol=1e-10)
    # The curves of scores are of the whitened data.
    own = (held_out - held_out.mean(axis=0)) / scale @ matrix
    error = (fitted.reconstruct(held_out) - held_out) / scale @ matrix
    share = 1 - np.square(error).sum() / np.square(own).sum()
    best = np.argmin(fitted.validation_loss_curve_)
    assert fitted.validation_scores_[best] == pytest.approx(share)


def test_moments_of_parts_have_the_covariance_of_the_whole(X):
    one, other, whole = (
        Moments.of(rows).with_covariance(rows) for rows in (X[:70], 2 * X[70:], X)
    )
    rows = np.concatenate([X[:70], 2 * X[70:]])
    whole = Moments.of(rows).with_covariance(rows)
    assert_allclose(one.joined_with(other).covariance, whole.covariance, rtol=1e-10)
    assert np.trace(whole.covariance) == pytest.approx(X.shape[1])


def test_a_stream_is_whitened_by_all_rows_so_far(X):
    stream = few("adam", learning_rate=1e-9)
    stream.partial_fit(X[:100])
    codes, first = stream.transform(X), stream.whitening_
    stream.partial_fit(X[100:])
    # The weights are restated for the new map, and compute what they did.
    assert np.abs(stream.whitening_ - first).max() > 0.01
    assert_allclose(stream.transform(X), codes, atol=1e-4)
    assert_allclose(stream.whitening_, whitened(X)[2], rtol=1e-8, atol=1e-10)


def test_candidates_that_train_together_are_whitened(X):
    grid = {"rho": [0.05, 0.2]}
    alone = GridSearchCV(few("adam", max_iter=5), grid, cv=2).fit(X)
    with train_together():
        together = GridSearchCV(few("adam", max_iter=5), grid, cv=2).fit(X)
    assert_allclose(
        together.cv_results_["mean_test_score"],
        alone.cv_results_["mean_test_score"],
        rtol=1e-3,
    )
    assert_array_equal(
        together.best_estimator_.whitening_, alone.best_estimator_.whitening_
    )


# ------------------------------------------------------------- hard data


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_constant_columns_are_given_back(X, solver):
    constant = np.column_stack([X[:, :5], np.full(len(X), 0.1), X[:, 5:]])
    fitted = few(solver).fit(constant)
    given_back = fitted.reconstruct(constant)[:, 5]
    assert_allclose(given_back, 0.1, atol=0.1 * fitted.scale_)
    # They stay apart: the other columns are whitened as without them.
    others = np.delete(np.arange(28), 5)
    plain, ratio = few().fit(X), np.sqrt(27 / 28)
    own = fitted.whitening_[np.ix_(others, others)]
    assert_allclose(own, plain.whitening_, rtol=1e-6, atol=1e-9)
    assert fitted.scale_ == pytest.approx(ratio * plain.scale_)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e30])
def test_fewer_rows_than_features_are_whitened(X, solver, factor):
    fitted, plain = (few(solver).fit(f * X[:9]) for f in (factor, 1.0))
    assert np.linalg.cond(fitted.whitening_) == pytest.approx(np.sqrt(101))
    assert_allclose(fitted.transform(factor * X), plain.transform(X), atol=1e-3)


def test_rows_that_are_all_equal_are_left_as_they_are():
    fitted = few().fit(np.full((20, 4), 3.0))
    assert_array_equal(fitted.whitening_, np.eye(4))
    assert_allclose(fitted.reconstruct(np.full((2, 4), 3.0)), 3.0, rtol=1e-4)


def test_data_that_vary_alike_in_all_directions_are_only_scaled():
    rows = (
        np.random.default_rng(0).normal(size=(5000, 3))
        @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    )
    moments = Moments.of(rows).with_covariance(rows)
    scaling = Scaling.from_moments(moments, scale="whiten", linear_output=True)
    assert_allclose(scaling.standardize(rows), rows / rows.std(), atol=0.15)


# ------------------------------------------------------------- one fit after another


def test_a_warm_start_keeps_the_map(X):
    fitted = few("adam", warm_start=True).fit(X)
    matrix = fitted.whitening_
    other = pickle.loads(pickle.dumps(fitted))
    for transformer in (fitted, other):
        transformer.fit(X[:200])
        assert_array_equal(transformer.whitening_, matrix)
    assert_same_fit(fitted, other)
    with pytest.raises(ValueError, match="scale='auto' differs from the 'whiten'"):
        fitted.set_params(scale="auto").fit(X)


def test_a_fit_without_whitening_leaves_no_map(X):
    fitted = few().fit(X).set_params(scale="auto").fit(X)
    assert not hasattr(fitted, "whitening_")
    assert_same_fit(fitted, few(scale="auto").fit(X))


def test_what_cannot_be_whitened_is_refused_before_any_change(X, monkeypatch):
    fitted = few().fit(X)
    before = vars(fitted).copy()
    for output in ("sigmoid", "tanh", "relu"):
        fitted.set_params(output_activation=output)
        with pytest.raises(ValueError, match="needs output_activation='linear'"):
            fitted.fit(X)
    fitted.set_params(output_activation="linear")
    monkeypatch.setattr(settings, "MOST_WHITENED", 26)
    with pytest.raises(ValueError, match=r"at most 26; X has 27\. Put a PCA"):
        fitted.fit(X)
    assert vars(fitted) == before
    unfitted = clone(fitted)
    with pytest.raises(ValueError, match="at most 26"):
        unfitted.set_params(solver="adam").partial_fit(X)
    assert not hasattr(unfitted, "coefs_")


# ------------------------------------------------------------- Ng's exercise


def roughness(images):
    """Return squared differences of neighbours over squared pixels: 1.75 for noise."""
    grey = images.reshape(-1, 8, 8, 3).mean(axis=3)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    differences = sum(
        np.square(np.diff(grey, axis=axis)).sum(axis=(1, 2)) for axis in (1, 2)
    )
    return differences / np.square(grey).sum(axis=(1, 2))


@pytest.mark.slow
def test_colour_patches_give_sparse_units_that_are_images():
    patches = load_natural_image_patches(
        2000, patch_size=8, color=True, normalize=False, random_state=0
    ).astype(np.float32)
    exercise = {"rho": 0.035, "beta": 5.0, "weight_decay": 0.1}
    plain, white = (
        SparseAutoencoderTransformer(
            25, **exercise, scale=scale, max_iter=25, random_state=0
        ).fit(patches)
        for scale in ("auto", "whiten")
    )
    assert (white.unit_states_ == "active").all()
    assert white.sparseness_ > max(plain.sparseness_ + 0.05, 0.55)
    # Neighbouring pixels go together, if less than in units of brightness alone.
    assert np.median(roughness(white.components_)) < 1.3
    assert np.median(roughness(white.coefs_[1])) < 0.8
