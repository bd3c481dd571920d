"""A row of weight 2 stands twice, and one of weight 0 is not there."""

import copy

import keras
import numpy as np
import pandas as pd
import pytest
import sklearn
from _helpers import assert_same_fit
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.model_selection import train_together

# Trainings that are short on purpose stop at max_iter and explain little.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]

N_ROWS, N_FEATURES = 300, 6


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N_ROWS, 3)) @ rng.normal(size=(3, N_FEATURES))


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(1).integers(0, 4, N_ROWS)


def transformer(**settings):
    defaults = {"n_components": 4, "max_iter": 10, "random_state": 0}
    return SparseAutoencoderTransformer(**{**defaults, **settings})


def to_csr(X):
    return sparse.csr_matrix(X)


def to_blocks(X):
    return [X[:100], X[100:]]


@pytest.mark.parametrize("given", [np.asarray, to_csr, to_blocks])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lbfgs_fits_weights_as_repeated_rows(given, dtype, rows, weights):
    X = rows.astype(dtype)
    settings = {"solver": "lbfgs", "max_iter": 4, "beta": 1.0}
    one = transformer(**settings).fit(given(X), sample_weight=weights)
    other = transformer(**settings).fit(np.repeat(X, weights, axis=0))
    tolerance = 1e-10 if dtype == np.float64 else 1e-3
    for a, b in zip(one.coefs_, other.coefs_, strict=True):
        assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert one.objective_.total == pytest.approx(other.objective_.total, rel=tolerance)
    assert one.sparseness_ == pytest.approx(other.sparseness_, rel=tolerance)
    assert_allclose(one.offset_, other.offset_, rtol=tolerance, atol=tolerance)
    assert_array_equal(one.unit_states_, other.unit_states_)


def test_more_rows_than_are_merged_count_by_their_weights_too(rows, weights):
    X, w = np.tile(rows, (4, 1)), np.tile(weights, 4)
    X += 1e-3 * np.random.default_rng(2).normal(size=X.shape)
    settings = {"solver": "lbfgs", "max_iter": 4, "beta": 1.0}
    one = transformer(**settings).fit(X, sample_weight=w)
    other = transformer(**settings).fit(np.repeat(X, w, axis=0))
    for a, b in zip(one.coefs_, other.coefs_, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_rows_of_a_file_count_by_their_weights(rows, weights, tmp_path, monkeypatch):
    # Rows of weight 0 are read, and count for nothing.
    monkeypatch.setattr(sksparse_ae._network.reading, "BLOCK_BYTES", 1 << 10)
    np.save(tmp_path / "rows.npy", rows)
    X = np.load(tmp_path / "rows.npy", mmap_mode="r")
    settings = {"solver": "lbfgs", "max_iter": 4, "beta": 1.0}
    one = transformer(**settings).fit(X, sample_weight=weights)
    other = transformer(**settings).fit(np.repeat(rows, weights, axis=0))
    for a, b in zip(one.coefs_, other.coefs_, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert_array_equal(one.unit_states_, other.unit_states_)
    # Of mini-batches the order differs: they end near each other.
    settings = {"max_iter": 30, "batch_size": 32}
    one = transformer(**settings).fit(X, sample_weight=weights)
    other = transformer(**settings).fit(np.repeat(rows, weights, axis=0))
    assert one.objective_.total == pytest.approx(other.objective_.total, rel=0.05)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_weights_that_are_equal_are_none(solver, rows):
    plain = transformer(solver=solver).fit(rows)
    assert_same_fit(
        transformer(solver=solver).fit(rows, sample_weight=np.full(N_ROWS, 3.5)), plain
    )
    assert_same_fit(transformer(solver=solver).fit(rows, sample_weight=2), plain)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_rows_of_weight_0_are_left_out(solver, rows):
    kept = np.arange(N_ROWS) % 3 > 0
    X = np.where(kept[:, None], rows, 1e6)
    one = transformer(solver=solver).fit(X, sample_weight=kept)
    assert_same_fit(one, transformer(solver=solver).fit(rows[kept]))


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_one_batch_of_weighted_rows_is_one_of_repeated_rows(
    solver, early_stopping, rows, weights
):
    settings = {
        "solver": solver,
        "batch_size": 2 * N_ROWS,
        "early_stopping": early_stopping,
    }
    one = transformer(**settings).fit(rows, sample_weight=weights)
    repeated = np.repeat(rows, weights, axis=0)
    repeated = np.random.default_rng(0).permutation(repeated)
    assert_same_fit(one, transformer(**settings).fit(repeated))


def test_steps_of_weighted_rows_are_those_of_repeated_rows_in_sum(rows, weights):
    # At a rate so low that the order of the steps does not matter, an epoch moves the
    # weights along the gradient of the objective: by the same for each row.
    X, w = rows[weights > 0], weights[weights > 0]
    start = transformer(
        solver="lbfgs", max_iter=1, warm_start=True, beta=0.0, scale=False
    )
    start.fit(X, sample_weight=w)

    def moved(X, w):
        optimizer = keras.optimizers.SGD(1e-3)
        own = copy.deepcopy(start)
        own.set_params(solver=optimizer, batch_size=32).fit(X, sample_weight=w)
        return (own.coefs_[1] - start.coefs_[1]) / len(X)

    one, other = moved(X, w), moved(np.repeat(X, w, axis=0), None)
    assert_allclose(one, other, rtol=0.02, atol=0.02 * np.abs(other).max())
    unweighted = moved(X, None)
    assert np.abs(unweighted - other).max() > 0.05 * np.abs(other).max()


def test_results_on_weighted_rows_are_those_on_repeated_rows(rows, weights):
    fitted = transformer().fit(rows)
    repeated = np.repeat(rows, weights, axis=0)
    score = fitted.score(rows, sample_weight=weights)
    assert score == pytest.approx(fitted.score(repeated), rel=1e-12)
    objective = fitted.evaluate_objective(rows, sample_weight=weights)
    for name, value in fitted.evaluate_objective(repeated).items():
        assert objective[name] == pytest.approx(value, rel=1e-12)
    report = fitted.unit_report(rows, sample_weight=weights)
    pd.testing.assert_frame_equal(report, fitted.unit_report(repeated), rtol=1e-9)
    # Of weights that are no whole numbers, too.
    own = np.random.default_rng(0).random(N_ROWS)
    mean = np.average(rows, axis=0, weights=own)
    residual = np.square(fitted.reconstruct(rows) - rows).sum(axis=1) @ own
    expected = 1 - residual / (np.square(rows - mean).sum(axis=1) @ own)
    assert fitted.score(rows, sample_weight=own) == pytest.approx(expected, rel=1e-12)
    shares = np.square(rows - mean).T @ own
    by_column = r2_score(
        rows, fitted.reconstruct(rows), sample_weight=own, multioutput="raw_values"
    )
    assert fitted.score(rows, sample_weight=own) == pytest.approx(
        np.average(by_column, weights=shares)
    )


def test_size_of_weights_does_not_matter(rows):
    w = np.random.default_rng(0).random(N_ROWS)
    plain = transformer().fit(rows, sample_weight=w)
    for factor in (2.0**-1000, 2.0**-20, 2.0**1000):
        other = transformer().fit(rows, sample_weight=factor * w)
        assert_same_fit(other, plain)
        assert other.sparseness_ == plain.sparseness_
    # Weights beyond the range of float32, beside others.
    w[:100] = 1e-300
    few = transformer(solver="lbfgs").fit(rows, sample_weight=w)
    kept = transformer(solver="lbfgs").fit(rows[100:], sample_weight=w[100:])
    assert few.objective_.total == pytest.approx(kept.objective_.total, rel=1e-3)
    transformer(batch_size=16).fit(rows, sample_weight=w)


def test_held_out_rows_keep_their_weights(rows, weights):
    settings = {"early_stopping": True, "solver": "lbfgs", "validation_fraction": 0.5}
    fitted = transformer(**settings).fit(rows, sample_weight=weights)
    repeated = np.repeat(rows, weights, axis=0)
    other = transformer(**settings).fit(repeated)
    assert fitted.validation_loss_curve_ == other.validation_loss_curve_
    assert fitted.validation_scores_ == other.validation_scores_


def test_stream_counts_rows_by_their_weights(rows, weights):
    one, other = transformer(batch_size=64), transformer(batch_size=64)
    # Those of the last call are equal.
    for part in (slice(0, 100), slice(100, 300), np.flatnonzero(weights == 3)):
        X, w = rows[part], weights[part]
        one.partial_fit(X, sample_weight=w)
        other.partial_fit(np.repeat(X, w, axis=0))
    assert_allclose(one.offset_, other.offset_, rtol=1e-12)
    assert one.scale_ == pytest.approx(other.scale_, rel=1e-12)


def test_weights_are_part_of_a_search(rows, weights):
    with sklearn.config_context(enable_metadata_routing=True):
        autoencoder = transformer(solver="lbfgs")
        autoencoder.set_fit_request(sample_weight=True)
        autoencoder.set_score_request(sample_weight=True)
        search = GridSearchCV(autoencoder, {"rho": [0.05, 0.2]}, cv=2)
        search.fit(rows, sample_weight=weights)
        best = clone(autoencoder).set_params(**search.best_params_)
        best.fit(rows, sample_weight=weights)
        assert_same_fit(search.best_estimator_, best)
        plain = cross_validate(autoencoder, rows, cv=2, params={})
        own = cross_validate(autoencoder, rows, cv=2, params={"sample_weight": weights})
        assert (own["test_score"] != plain["test_score"]).all()
        # In a pipeline beside a step that is weighted, too.
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler, clone(autoencoder))
        pipeline.fit(rows, sample_weight=weights)
        best = clone(autoencoder).fit(
            StandardScaler().fit(rows, sample_weight=weights).transform(rows),
            sample_weight=weights,
        )
        assert_same_fit(pipeline[-1], best)


def test_joint_training_weighs_rows(rows, weights):
    search = GridSearchCV(
        transformer(batch_size=64), {"rho": [0.05, 0.1]}, cv=2, refit=False
    )
    alone = clone(search).fit(rows, sample_weight=weights).cv_results_
    with train_together():
        together = clone(search).fit(rows, sample_weight=weights).cv_results_
    name = "mean_test_score"
    assert_allclose(together[name], alone[name], rtol=1e-3)
    plain = clone(search).fit(rows).cv_results_
    assert np.abs(plain[name] - alone[name]).min() > 1e-3


@pytest.mark.parametrize(
    ("sample_weight", "message"),
    [
        (np.full(N_ROWS, -1.0), r"contains -1, and weights must not be negative"),
        (np.full(N_ROWS, np.nan), "contains NaN"),
        (np.full(N_ROWS, np.inf), "contains infinity"),
        (np.zeros(N_ROWS), "zero for 300 of 300 rows; at least 2 must have"),
        (np.eye(N_ROWS)[0], "zero for 299 of 300 rows"),
        (np.ones(5), r"has the shape \(5,\); X has 300 rows"),
        (np.ones((N_ROWS, 1)), r"has the shape \(300, 1\)"),
        (["a"] * N_ROWS, "must be a number for each row"),
    ],
)
def test_weights_that_mean_nothing_are_refused(sample_weight, message, rows):
    fitted = transformer().fit(rows)
    before = vars(fitted).copy()
    with pytest.raises(ValueError, match=message):
        fitted.fit(rows, sample_weight=sample_weight)
    assert vars(fitted) == before


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_rows_of_a_file_that_have_no_weight_may_have_gaps(
    solver, rows, weights, tmp_path
):
    X = rows[:40].copy()
    X[0], X[1, 2] = np.nan, np.nan
    given = np.where(np.arange(40) < 2, 0, weights[:40])
    np.save(tmp_path / "rows.npy", X)
    of_file = transformer(solver=solver).fit(
        [tmp_path / "rows.npy"], sample_weight=given
    )
    assert_allclose(of_file.offset_, np.average(X[2:], axis=0, weights=given[2:]))
    assert_array_equal(of_file.observed_share_, 1)
    assert np.isfinite(of_file.objective_.total)


def test_constant_column_is_what_rows_of_weight_hold(rows):
    X = rows[:20].copy()
    X[:, 1], X[0, 1] = 3, 7
    given = np.where(np.arange(20) < 1, 1e-300, 1.0)
    assert transformer().fit(X, sample_weight=given).offset_[1] == 3


def test_weights_too_small_beside_the_largest_are_0(rows):
    given = np.full(20, 1e-300)
    given[0] = 1e300
    with pytest.raises(ValueError, match="zero beside the largest weight for 19 of 20"):
        transformer().fit(rows[:20], sample_weight=given)


def test_far_row_of_little_weight_is_named_where_it_cannot_be_computed_with(rows):
    X = rows[:20].copy()
    X[3, 1] = 1e100
    given = np.where(np.arange(20) == 3, 1e-300, 1.0)
    assert transformer(solver="lbfgs").fit(X, sample_weight=given).scale_ < 10
    with pytest.raises(ValueError, match=r"up to 1e\+100, are too large for float32"):
        transformer().fit(X, sample_weight=given)


def test_checkpoint_knows_the_weights(rows, weights, tmp_path, monkeypatch):
    names = []
    make = sksparse_ae._training.fit.Checkpoint

    def noting(folder, name):
        names.append(name)
        return make(folder, name)

    monkeypatch.setattr(sksparse_ae._training.fit, "Checkpoint", noting)
    for w in (None, weights, weights + 1, weights):
        transformer(checkpoint_dir=tmp_path, max_iter=2).fit(rows, sample_weight=w)
    assert len(set(names)) == 3
    assert names[1] == names[3]


def test_rows_that_are_often_equal_are_stepped_through_as_ever(rows):
    # 1000 rows of eight kinds are many batches, not one of eight rows.
    X = np.random.default_rng(0).integers(0, 2, (1000, 3)).astype(float)
    fitted = transformer(max_iter=5).fit(X)
    expected = transformer(max_iter=5).fit(
        X + 1e-12 * rows[:, :1].repeat(4)[:1000, None]
    )
    assert fitted.objective_.total == pytest.approx(expected.objective_.total, rel=1e-2)


def test_early_stopping_leaves_a_row_of_few_distinct_ones(rows):
    X = np.repeat(rows[:3], 50, axis=0)
    settings = {"early_stopping": True, "validation_fraction": 0.9, "solver": "lbfgs"}
    fitted = transformer(**settings).fit(X)
    assert len(fitted.validation_loss_curve_) == fitted.n_iter_
