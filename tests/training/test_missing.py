"""What is missing counts in no sum, and the encoder reads the mean instead."""

import copy

import keras
import numpy as np
import pytest
from _helpers import assert_same_fit
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.keras_model import SparseAutoencoder
from sksparse_ae.model_selection import train_together
from sksparse_ae.stacks import fine_tune

# Trainings that are short on purpose stop at max_iter and explain little.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]

N_ROWS, N_FEATURES = 300, 6


@pytest.fixture(scope="module")
def whole():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 3)) @ rng.normal(size=(3, N_FEATURES))
    return expit(X + rng.normal(size=N_FEATURES))


@pytest.fixture(scope="module")
def rows(whole):
    """A fifth of the values is missing, all of one row, and none of one column."""
    X = whole.copy()
    gaps = np.random.default_rng(1).random(X.shape) < 0.2
    gaps[7], gaps[:, 2] = True, False
    X[gaps] = np.nan
    X[7] = np.nan
    return X


def transformer(**settings):
    defaults = {"n_components": 4, "max_iter": 10, "random_state": 0}
    return SparseAutoencoderTransformer(**{**defaults, **settings})


def objective_of(weights, X, fitted):
    """Return the objective of W1, b1, W2, b2 on the data as given, in plain NumPy."""
    W1, b1, W2, b2 = weights
    observed, scale = ~np.isnan(X), fitted.scale_
    codes = expit(seen(X, fitted) @ W1 + b1)
    output = codes @ W2 + b2
    if fitted.loss == "log_loss":
        h = expit(output)
        losses = -X * np.log(h) - (1 - X) * np.log(1 - h)
    else:
        losses = 0.5 * ((output - X) / scale) ** 2
    rho, rho_hat = fitted.rho, codes.mean(axis=0)
    kl = rho * np.log(rho / rho_hat) + (1 - rho) * np.log((1 - rho) / (1 - rho_hat))
    squares = np.sum(W1**2) * scale**2 + np.sum(W2**2) / scale**2
    return (
        np.where(observed, losses, 0).sum() / len(X)
        + fitted.beta_ * kl.sum()
        + fitted.weight_decay_ / 2 * squares
    )


def seen(X, fitted):
    """Return rows as the encoder reads them, one by one."""
    X = X.copy()
    for row in X:
        there = ~np.isnan(row)
        row[~there] = fitted.offset_[~there]
        if there.any():
            row[there] -= fitted.offset_[there]
            row[there] *= len(row) / there.sum()
            row[there] += fitted.offset_[there]
    return X


LOSSES = [{}, {"loss": "log_loss", "output_activation": "sigmoid"}]


@pytest.mark.parametrize("settings", LOSSES, ids=["squared_error", "log_loss"])
def test_objective_is_that_of_the_observed_values(settings, rows):
    fitted = transformer(solver="lbfgs", max_iter=3, **settings).fit(rows)
    (W1, W2), (b1, b2) = fitted.coefs_, fitted.intercepts_
    expected = objective_of((W1, b1, W2, b2), rows, fitted)
    assert fitted.objective_.total == pytest.approx(expected, rel=1e-12)
    assert fitted.loss_curve_[-1] == pytest.approx(expected, rel=1e-12)
    assert fitted.evaluate_objective(rows).total == pytest.approx(expected, rel=1e-12)
    assert_allclose(fitted.offset_, np.nanmean(rows, axis=0), rtol=1e-12)
    assert_allclose(fitted.observed_share_, 1 - np.isnan(rows).mean(axis=0))


@pytest.mark.parametrize("settings", LOSSES, ids=["squared_error", "log_loss"])
def test_lbfgs_ends_where_the_gradient_is_0(settings, rows):
    fitted = transformer(solver="lbfgs", max_iter=1000, tol=1e-8, **settings).fit(rows)
    weights = [*fitted.coefs_[:1], fitted.intercepts_[0]]
    weights += [fitted.coefs_[1], fitted.intercepts_[1]]
    rng = np.random.default_rng(0)
    for _ in range(5):
        steps = [3e-3 * rng.normal(size=w.shape) for w in weights]
        pairs = list(zip(weights, steps, strict=True))
        up = objective_of([w + s for w, s in pairs], rows, fitted)
        down = objective_of([w - s for w, s in pairs], rows, fitted)
        at = objective_of(weights, rows, fitted)
        # The second difference is what a step of this length costs at the minimum, near
        # which L-BFGS ends. A gap that counted would make the first a hundred times it.
        assert abs(up - down) < 0.2 * (up + down - 2 * at)


def test_objective_in_chunks_is_that_of_the_whole(rows, monkeypatch):
    whole = transformer(solver="lbfgs", max_iter=5).fit(rows)
    monkeypatch.setattr(sksparse_ae._engine.chunking, "CHUNK_BYTES", 1 << 11)
    parts = transformer(solver="lbfgs", max_iter=5).fit(rows)
    for a, b in zip(whole.coefs_, parts.coefs_, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_may_lie_anywhere(solver, dtype, rows, tmp_path):
    X = rows.astype(dtype)
    dense = transformer(solver=solver).fit(X)
    np.save(tmp_path / "rows.npy", X)
    assert_same_fit(transformer(solver=solver).fit([X[:50], X[50:]]), dense)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert_same_fit(transformer(solver=solver).fit(mapped), dense)
    csr = transformer(solver=solver).fit(sparse.csr_matrix(X))
    assert_allclose(csr.coefs_[0], dense.coefs_[0], rtol=1e-3, atol=1e-4)
    given = sparse.csr_matrix(X)
    for method in ("transform", "reconstruct", "reconstruction_error"):
        expected = getattr(csr, method)(X)
        assert_allclose(getattr(csr, method)(given), expected, rtol=1e-5, atol=1e-6)
    filled = csr.impute(given)
    assert_allclose(filled.toarray(), csr.impute(X), rtol=1e-5)
    assert filled.nnz == given.nnz
    assert np.isnan(given.data).any()


def test_a_file_that_streams_may_have_gaps(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(sksparse_ae._network.reading, "BLOCK_BYTES", 1 << 10)
    np.save(tmp_path / "rows.npy", rows)
    X = np.load(tmp_path / "rows.npy", mmap_mode="r")
    settings = {"max_iter": 30, "shuffle": False}
    fitted = transformer(**settings).fit(X)
    monkeypatch.undo()
    held = transformer(**settings).fit(rows)
    # Its last batch of each epoch is a smaller one.
    assert fitted.objective_.total == pytest.approx(held.objective_.total, rel=2e-2)
    out = np.empty_like(rows)
    fitted.impute(X, out)
    assert_array_equal(out, fitted.impute(rows))


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_gaps_are_filled_better_than_by_the_mean(solver, digits):
    rng = np.random.default_rng(0)
    gaps = rng.random(digits.shape) < 0.3
    X = np.where(gaps, np.nan, digits)
    X = X[:, (~np.isnan(X)).sum(axis=0) > 0]
    truth, gaps = digits[:, : X.shape[1]], np.isnan(X)
    settings = {"n_components": 30, "max_iter": 100, "beta": 0.5}
    filled = transformer(solver=solver, **settings).fit(X).impute(X)
    assert_array_equal(filled[~gaps], truth[~gaps])
    means = SimpleImputer().fit_transform(X)

    def error(found):
        return np.square(found[gaps] - truth[gaps]).mean()

    assert error(filled) < 0.6 * error(means)


def test_results_leave_out_what_is_missing(rows, whole):
    fitted = transformer(solver="lbfgs").fit(rows)
    gaps = np.isnan(rows)
    read = seen(rows, fitted)
    assert_allclose(fitted.transform(rows), fitted.transform(read), rtol=1e-12)
    reconstruction = fitted.reconstruct(rows)
    assert_allclose(reconstruction, fitted.reconstruct(read), rtol=1e-12)
    assert_array_equal(fitted.impute(rows), np.where(gaps, reconstruction, rows))
    squares = np.square(reconstruction - rows)
    errors = fitted.reconstruction_error(rows)
    assert_allclose(errors, np.nansum(squares, axis=1), rtol=1e-12)
    by_value = fitted.reconstruction_error(rows, per_feature=True)
    assert_allclose(by_value, squares, rtol=1e-12)
    deviations = np.square(rows - np.nanmean(rows, axis=0))
    expected = 1 - np.nansum(squares) / np.nansum(deviations)
    assert fitted.score(rows) == pytest.approx(expected, rel=1e-12)
    assert errors[7] == 0  # of a row of which nothing is known
    # A fit on complete rows reads rows with gaps, too.
    complete = transformer(solver="lbfgs").fit(whole)
    read = seen(rows, complete)
    assert_allclose(complete.transform(rows), complete.transform(read), rtol=1e-12)


def test_data_without_gaps_are_fitted_as_ever(whole):
    # What is compiled for them knows of no gaps.
    fitted = transformer().fit(whole)
    assert not fitted._problem.architecture.has_missing
    assert (fitted.observed_share_ == 1).all()
    assert_array_equal(fitted.impute(whole), whole)


def test_a_stream_may_have_gaps_from_a_later_call_on(rows, whole):
    fitted = transformer(batch_size=32).partial_fit(whole)
    before = fitted.evaluate_objective(rows).total
    for _ in range(20):
        fitted.partial_fit(rows)
    assert fitted.evaluate_objective(rows).total < before
    n_observed = N_ROWS + 20 * (~np.isnan(rows)).sum(axis=0)
    assert_allclose(fitted.observed_share_, n_observed / (21 * N_ROWS))
    sums = whole.sum(axis=0) + 20 * np.nansum(rows, axis=0)
    assert_allclose(fitted.offset_, sums / n_observed, rtol=1e-9)
    everything = np.concatenate([whole, *[rows] * 20])
    scale = np.sqrt(np.nanmean((everything - fitted.offset_) ** 2))
    assert fitted.scale_ == pytest.approx(scale, rel=1e-9)
    fitted.partial_fit(whole)
    assert np.isfinite(fitted.coefs_[0]).all()


def test_a_fit_goes_on_where_gaps_appear(rows, whole):
    fitted = transformer(warm_start=True, max_iter=40).fit(whole)
    before = fitted.evaluate_objective(rows).total
    fitted.fit(rows)
    assert fitted.evaluate_objective(rows).total < before + 1e-3


def test_joint_training_has_the_gaps(rows):
    search = GridSearchCV(
        transformer(batch_size=64), {"rho": [0.05, 0.1]}, cv=2, refit=False
    )
    alone = clone(search).fit(rows).cv_results_["mean_test_score"]
    with train_together():
        together = clone(search).fit(rows).cv_results_["mean_test_score"]
    assert_allclose(together, alone, rtol=1e-3)


def test_weights_and_gaps_go_together(rows):
    weights = np.random.default_rng(1).integers(1, 4, N_ROWS)
    settings = {"solver": "lbfgs", "max_iter": 4, "beta": 1.0}
    one = transformer(**settings).fit(rows, sample_weight=weights)
    other = transformer(**settings).fit(np.repeat(rows, weights, axis=0))
    for a, b in zip(one.coefs_, other.coefs_, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert_allclose(one.observed_share_, other.observed_share_)


@pytest.mark.parametrize("settings", [{"early_stopping": True}, {"revive": True}])
def test_other_ways_to_train_take_gaps(settings, rows):
    fitted = transformer(max_iter=25, **settings).fit(rows)
    assert fitted.score(rows) > 0.2
    assert np.isfinite(fitted.loss_curve_).all()


def test_exports_fill_gaps(rows, whole, tmp_path):
    fitted = transformer(solver="lbfgs").fit(rows)
    fitted.generate_function(tmp_path / "encoder.py")
    names = {}
    exec((tmp_path / "encoder.py").read_text(), names)
    assert_allclose(names["encode"](rows), fitted.transform(rows), rtol=1e-12)
    assert_allclose(names["reconstruct"](rows[0]), fitted.reconstruct(rows)[0])
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        names["encode"](np.ones((2, 3)))
    # That of complete rows has no such code.
    transformer(solver="lbfgs", max_iter=1).fit(whole).generate_function(
        tmp_path / "plain.py"
    )
    assert "isnan" not in (tmp_path / "plain.py").read_text()
    again = copy.deepcopy(fitted)
    assert_array_equal(again.transform(rows), fitted.transform(rows))


# Keras writes variables by np.array, of which NumPy 2 complains.
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
@pytest.mark.parametrize("settings", [{}, {"loss": "huber"}])
def test_keras_model_takes_gaps(settings, rows, whole, tmp_path):
    fitted = transformer(solver="lbfgs", **settings).fit(rows)
    fitted.to_keras().save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    reconstruction = fitted.reconstruct(rows)
    predicted = model.predict(rows, verbose=0)
    assert_allclose(predicted, reconstruction, rtol=1e-4, atol=1e-6)
    for X in (rows, whole):
        total = fitted.evaluate_objective(X).total
        assert model.evaluate(X, X, verbose=0) == pytest.approx(total, rel=1e-5)
    assert np.isfinite(model.fit(rows, rows, verbose=0).history["loss"]).all()
    weights = model.get_weights()
    assert all(np.isfinite(array).all() for array in weights)


@pytest.mark.parametrize("means", [[1.0, 2.0], [np.nan] * N_FEATURES, [[0.0]]])
def test_means_that_are_none_of_the_features_are_refused(means):
    with pytest.raises(ValueError, match="means must be a finite number for each"):
        SparseAutoencoder(N_FEATURES, 4, means=means)


def test_a_stack_is_tuned_on_rows_with_gaps(digits):
    y = load_digits().target[: len(digits)]
    gaps = np.random.default_rng(0).random(digits.shape) < 0.1
    X = np.where(gaps & (digits.std(axis=0) > 0), np.nan, digits)
    stack = make_pipeline(transformer(n_components=20), LogisticRegression()).fit(X, y)
    tuned = fine_tune(stack, X, y, max_iter=20, random_state=0)
    assert tuned.score(X, y) > stack.score(X, y)


@pytest.mark.parametrize("settings", [{}, {"loss": "huber"}])
def test_a_feature_may_be_observed_in_few_rows(settings, whole):
    X = np.tile(whole, (8, 1))
    X[:, 2] = np.nan
    X[1, 2] = 0.5  # not among the rows that a warning looks at
    fitted = transformer(max_iter=2, **settings).fit(X)
    assert fitted.offset_[2] == 0.5
    # A feature without a value adds nothing to the sums.
    others = np.delete(np.arange(N_FEATURES), 2)
    residual = (fitted.reconstruct(X[2:]) - X[2:])[:, others]
    deviations = X[2:, others] - X[2:, others].mean(axis=0)
    if not settings:
        expected = 1 - np.square(residual).sum() / np.square(deviations).sum()
        assert fitted.score(X[2:]) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="No value is observed in any of 2 rows"):
        fitted.score(np.full((2, N_FEATURES), np.nan))


def test_whitening_asks_for_complete_rows(rows):
    with pytest.raises(ValueError, match="needs rows without missing values"):
        transformer(scale="whiten").fit(rows)


@pytest.mark.parametrize(
    "settings",
    [{"loss": "poisson", "output_activation": "exponential"}, {"loss": "huber"}],
    ids=["poisson", "huber"],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_other_losses_leave_out_what_is_missing(settings, solver, rows):
    weights = np.random.default_rng(0).integers(1, 3, N_ROWS)
    fitted = transformer(solver=solver, max_iter=30, **settings).fit(
        rows, sample_weight=weights
    )
    repeated = np.repeat(rows, weights, axis=0)
    score = fitted.score(rows, sample_weight=weights)
    assert score == pytest.approx(fitted.score(repeated), rel=1e-9)
    assert 0 < score < 1
    objective = fitted.evaluate_objective(rows, sample_weight=weights).total
    assert objective == pytest.approx(fitted.evaluate_objective(repeated).total)
    # What stands in place of a gap does not matter: there is no loss.
    error = fitted.reconstruction_error(rows[7:8])
    assert error == 0
