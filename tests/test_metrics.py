"""Scorers measure what the autoencoder does, alone and inside a Pipeline."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.metrics import (
    SparsestWithin,
    active_units,
    get_scorers,
    hoyer_sparseness,
    neg_mean_kl,
    variance_explained,
)


@pytest.fixture(scope="module")
def pipeline(digits):
    return make_pipeline(
        StandardScaler(with_std=False),
        "passthrough",
        make_pipeline(
            SparseAutoencoderTransformer(8, max_iter=30, tol=1, random_state=0)
        ),
        StandardScaler(),
        KMeans(3, n_init=1, random_state=0),
    ).fit(digits)


def test_scores_of_a_transformer_are_those_of_their_definitions(fitted, digits):
    codes, reconstruction = fitted.transform(digits), fitted.reconstruct(digits)
    rho, rho_hat = fitted.rho, codes.mean(axis=0)
    n = len(digits)

    squared_error = np.square(digits - reconstruction).sum()
    deviation = np.square(digits - digits.mean(axis=0)).sum()
    assert_allclose(variance_explained(fitted, digits), 1 - squared_error / deviation)

    kl = rho * np.log(rho / rho_hat) + (1 - rho) * np.log((1 - rho) / (1 - rho_hat))
    assert_allclose(neg_mean_kl(fitted, digits), -kl.mean())

    ratio = np.abs(codes).sum(axis=0) / np.sqrt(np.square(codes).sum(axis=0))
    sparseness = (np.sqrt(n) - ratio) / (np.sqrt(n) - 1)
    assert_allclose(hoyer_sparseness(fitted, digits), sparseness.mean())


def test_share_of_active_units_leaves_out_dead_and_collapsed_ones(fitted, digits):
    assert active_units(fitted, digits) == 1
    broken = clone(fitted).fit(digits)
    broken.intercepts_[0][:3] = -1e3
    broken.coefs_[0][:, 3:5] = 0
    assert active_units(broken, digits) == 15 / 20


@pytest.mark.parametrize("name", get_scorers())
def test_in_a_pipeline_the_data_that_reach_the_autoencoder_are_scored(
    name, pipeline, digits
):
    scorer = get_scorers()[name]
    autoencoder = pipeline[2][0]
    centred = digits - digits.mean(axis=0)
    assert_allclose(scorer(pipeline, digits), scorer(autoencoder, centred))


def test_the_last_of_two_autoencoders_is_scored(digits):
    first, second = (
        SparseAutoencoderTransformer(
            n, max_iter=20, n_iter_no_change=1, tol=1e6, random_state=0
        )
        for n in (6, 4)
    )
    stack = make_pipeline(first, second).fit(digits)
    codes = first.transform(digits)
    assert variance_explained(stack, digits) == second.score(codes)
    assert variance_explained(stack[:1], digits) == first.score(digits)


def test_an_estimator_without_the_attributes_is_named(digits):
    with pytest.raises(TypeError, match="got PCA without unit_report"):
        variance_explained(PCA(2).fit(digits), digits)
    with pytest.raises(TypeError, match="got a Pipeline of StandardScaler, PCA"):
        hoyer_sparseness(make_pipeline(StandardScaler(), PCA(2)).fit(digits), digits)


def test_scorers_come_by_name_and_unknown_names_are_told():
    assert list(get_scorers()) == [
        "variance_explained",
        "active_units",
        "neg_mean_kl",
        "hoyer_sparseness",
    ]
    assert get_scorers("neg_mean_kl") == {"neg_mean_kl": neg_mean_kl}
    with pytest.raises(ValueError, match=r"Unknown scorers: 'kl'.*'neg_mean_kl'"):
        get_scorers("kl", "active_units")


def test_a_search_over_a_pipeline_without_y_refits_the_sparsest_within_tolerance(
    digits,
):
    pipeline = make_pipeline(
        StandardScaler(with_std=False),
        SparseAutoencoderTransformer(8, tol=0.1, random_state=0),
    )
    grid = {"sparseautoencodertransformer__beta": [0.01, 3.0]}

    def search(tolerance):
        refit = SparsestWithin(tolerance=tolerance)
        return GridSearchCV(pipeline, grid, scoring=get_scorers(), refit=refit, cv=2)

    strict, lenient = search(0).fit(digits), search(10).fit(digits)
    results = lenient.cv_results_
    assert np.argmax(results["mean_test_variance_explained"]) == strict.best_index_ == 0
    assert np.argmax(results["mean_test_hoyer_sparseness"]) == lenient.best_index_ == 1
    assert lenient.best_estimator_[-1].beta == 3


def test_a_scorer_is_scoring_of_cross_val_score(digits):
    autoencoder = SparseAutoencoderTransformer(
        5, max_iter=20, n_iter_no_change=1, tol=1e6, random_state=0
    )
    default = cross_val_score(autoencoder, digits, cv=2)
    assert_allclose(
        cross_val_score(autoencoder, digits, scoring=variance_explained, cv=2), default
    )


@pytest.mark.parametrize("scorer", get_scorers().values())
def test_a_search_is_scored_by_what_it_has_chosen(scorer, digits):
    autoencoder = SparseAutoencoderTransformer(4, tol=100, random_state=0)
    pipeline = make_pipeline(StandardScaler(with_std=False), autoencoder)
    grid = {"sparseautoencodertransformer__rho": [0.1, 0.3]}
    search = GridSearchCV(pipeline, grid, cv=2)
    nested = cross_validate(
        search, digits, scoring=scorer, cv=2, return_estimator=True, return_indices=True
    )
    for score, fitted_search, rows in zip(
        nested["test_score"],
        nested["estimator"],
        nested["indices"]["test"],
        strict=True,
    ):
        assert score == scorer(fitted_search.best_estimator_, digits[rows])


def test_errors_out_of_sample_are_those_of_the_other_folds(digits):
    """The recipe of the user guide."""
    autoencoder = SparseAutoencoderTransformer(20, tol=1, random_state=0)
    folds = cross_validate(
        autoencoder, digits, cv=3, return_estimator=True, return_indices=True
    )
    scores = np.empty(len(digits))
    for fitted, rows in zip(folds["estimator"], folds["indices"]["test"], strict=True):
        scores[rows] = fitted.score_samples(digits[rows])
    others = clone(autoencoder).fit(digits[:200])
    assert_allclose(scores[200:], others.score_samples(digits[200:]))
    # Rows trained on are reconstructed better than new ones.
    assert scores.mean() < clone(autoencoder).fit(digits).score_samples(digits).mean()


def results(explained, sparseness):
    return {
        "mean_test_variance_explained": np.array(explained),
        "mean_test_hoyer_sparseness": np.array(sparseness),
    }


@pytest.mark.parametrize(
    ("tolerance", "chosen"),
    [(0, 0), (0.04, 0), (0.05, 1), (0.2, 1), (0.5, 2)],
)
def test_the_sparsest_of_those_within_the_tolerance_is_chosen(tolerance, chosen):
    scores = results([0.75, 0.70, 0.25, 0.60], [0.1, 0.3, 0.9, 0.2])
    tolerance += 1e-12  # 0.75 - 0.05 in binary
    assert SparsestWithin(tolerance=tolerance)(scores) == chosen


def test_equal_sparseness_is_decided_by_the_reconstruction_then_by_order():
    assert SparsestWithin(1)(results([0.4, 0.5, 0.5], [0.3, 0.3, 0.3])) == 1


def test_candidates_that_failed_are_passed_over():
    scores = results([np.nan, 0.5, 0.6], [0.9, np.nan, 0.1])
    assert SparsestWithin(1)(scores) == 2
    with pytest.raises(ValueError, match="No candidate has finite means"):
        SparsestWithin()(results([np.nan], [0.9]))


def test_sparsest_within_takes_other_scores_and_says_which_are_missing():
    scores = {"mean_test_r": [0.5, 0.4], "mean_test_s": [0.1, 0.2]}
    assert SparsestWithin(0.2, reconstruction="r", sparseness="s")(scores) == 1
    with pytest.raises(ValueError, match="no score 'variance_explained', only 'r'"):
        SparsestWithin()(scores)


@pytest.mark.parametrize("tolerance", [-0.1, np.inf, np.nan])
def test_a_tolerance_that_is_no_distance_is_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance must be"):
        SparsestWithin(tolerance=tolerance)


def test_the_rule_is_copied_and_saved_with_the_search():
    rule = SparsestWithin(tolerance=0.1)
    assert pickle.loads(pickle.dumps(rule)) == rule
    search = clone(GridSearchCV(PCA(), {}, refit=rule))
    assert search.refit == rule


@pytest.mark.parametrize("scorer", [active_units, hoyer_sparseness, variance_explained])
def test_a_single_sample_has_no_score_of_what_varies(fitted, digits, scorer):
    with pytest.warns(UndefinedMetricWarning, match="not defined on"):
        assert np.isnan(scorer(fitted, digits[:1]))


@pytest.mark.parametrize("tolerance", ["0.1", None, np.nan, -1])
def test_a_tolerance_that_is_no_number_is_named(tolerance):
    with pytest.raises(ValueError, match="tolerance must be a finite number"):
        SparsestWithin(tolerance)


def test_a_list_of_names_is_told_from_names():
    with pytest.raises(ValueError, match=r"Unknown scorers: \['active_units'\]"):
        get_scorers(["active_units"])
