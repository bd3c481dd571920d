"""Scorers measure what the autoencoder does, alone and inside a Pipeline."""

import pickle

import numpy as np
import pytest
from _helpers import BRIEFLY
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, PCA, FastICA, MiniBatchDictionaryLearning
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import make_sparse_codes
from sksparse_ae.metrics import (
    SparsestWithin,
    active_units,
    get_scorers,
    hoyer_sparseness,
    match_units,
    neg_active_codes,
    neg_mean_kl,
    random_baseline,
    recovery_score,
    stability,
    variance_explained,
)


@pytest.fixture(scope="module")
def pipeline(digits):
    return make_pipeline(
        StandardScaler(with_std=False),
        "passthrough",
        make_pipeline(SparseAutoencoderTransformer(8, **BRIEFLY)),
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
    first, second = (SparseAutoencoderTransformer(n, **BRIEFLY) for n in (6, 4))
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
        "neg_active_codes",
    ]
    assert get_scorers("neg_mean_kl") == {"neg_mean_kl": neg_mean_kl}
    with pytest.raises(ValueError, match=r"Unknown scorers: 'kl'.*'neg_mean_kl'"):
        get_scorers("kl", "active_units")


def test_a_search_over_a_pipeline_without_y_refits_the_sparsest_within_tolerance(
    digits,
):
    pipeline = make_pipeline(
        StandardScaler(with_std=False),
        SparseAutoencoderTransformer(8, **BRIEFLY),
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
    autoencoder = SparseAutoencoderTransformer(5, **BRIEFLY)
    default = cross_val_score(autoencoder, digits, cv=2)
    assert_allclose(
        cross_val_score(autoencoder, digits, scoring=variance_explained, cv=2), default
    )


@pytest.mark.parametrize("scorer", get_scorers().values())
def test_a_search_is_scored_by_what_it_has_chosen(scorer, digits):
    autoencoder = SparseAutoencoderTransformer(4, **BRIEFLY)
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
    autoencoder = SparseAutoencoderTransformer(20, **BRIEFLY)
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


# ------------------------------------------------------------------- active codes


@pytest.mark.parametrize(
    ("activation", "least"), [("sigmoid", 0.1), ("tanh", -0.8), ("relu", 0.0)]
)
def test_codes_count_as_active_above_what_their_activation_says(
    activation, least, digits
):
    autoencoder = SparseAutoencoderTransformer(
        12, activation=activation, tol=0.1, random_state=0
    ).fit(digits)
    n_active = (autoencoder.transform(digits) > least).sum(axis=1).mean()
    assert 0 < n_active < 12
    assert_allclose(neg_active_codes(autoencoder, digits), -n_active)


def test_codes_of_other_transformers_are_active_if_they_are_not_zero(digits):
    nmf = NMF(8, init="nndsvd", max_iter=1000, random_state=0).fit(digits)
    n_active = np.count_nonzero(nmf.transform(digits)) / len(digits)
    assert 1 < n_active < 8
    assert neg_active_codes(nmf, digits) == -n_active
    as_csr = make_pipeline(nmf, FunctionTransformer(sparse.csr_matrix)).fit(digits)
    assert neg_active_codes(as_csr, digits) == -n_active


# ------------------------------------------------------------------ matched units


def test_units_in_another_order_and_scale_are_found_with_cosine_one(fitted):
    rows = fitted.coefs_[1]
    order = np.random.default_rng(0).permutation(len(rows))
    lengths = np.linspace(0.1, 9, len(rows))[:, None]
    match = match_units(fitted, lengths * rows[order])
    assert_allclose(match.cosines, 1)
    assert list(order[match.b]) == list(match.a) == list(range(len(rows)))


def test_pairs_have_the_largest_sum_of_cosines_not_the_best_partner_each():
    """Unit 0 gives way to unit 1, whose second best is far worse."""
    a = [[1.0, 0.0], [np.cos(0.5), np.sin(0.5)]]
    b = [[np.cos(0.1), np.sin(0.1)], [np.cos(-1.2), np.sin(-1.2)]]
    match = match_units(a, b)
    assert list(match.b) == [1, 0]
    assert_allclose(match.cosines, np.cos([1.2, 0.4]))


def test_the_sign_counts_unless_it_is_told_not_to():
    a = np.eye(3)
    assert_allclose(match_units(a, -a).cosines.max(), 0)
    assert_allclose(match_units(a, -a, signed=False).cosines, 1)
    assert stability([a, -a]) == 0
    assert stability([a, -a], signed=False) == 1


def test_a_unit_of_zeros_matches_nothing():
    match = match_units([[0.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [1.0, 0.0]])
    assert sorted(match.cosines) == [0, 1]


def test_as_many_pairs_as_the_smaller_of_two_dictionaries_has_units():
    match = match_units(np.eye(5), np.eye(5)[[3, 1]])
    assert list(match.a) == [1, 3]
    assert list(match.b) == [1, 0]
    assert_allclose(match.cosines, 1)
    # Two of two are found in the other, and two of five.
    assert_allclose(stability([np.eye(5), np.eye(5)[:2]]), (2 / 2 + 2 / 5) / 2)


def test_what_an_estimator_writes_is_compared(digits, pipeline):
    centred = digits - digits.mean(axis=0)
    ica = FastICA(4, random_state=0, max_iter=1000, tol=0.01).fit(digits)
    dictionary = MiniBatchDictionaryLearning(4, max_iter=3, random_state=0)
    for estimator, rows in (
        (PCA(4).fit(digits), None),
        (ica, ica.mixing_.T),
        (dictionary.fit(centred), None),
        (pipeline, pipeline[2][0].coefs_[1]),
    ):
        rows = estimator.components_ if rows is None else rows
        assert_allclose(match_units(estimator, rows).cosines, 1)


def test_stability_is_the_mean_over_pairs_and_directions():
    a = np.eye(4)
    b, c = a.copy(), a.copy()
    b[0] = [0, 1, 0, 0]  # three of four units are those of a
    c[:2] = [[0.8, 0, 0.6, 0], [0, 0.8, 0, 0.6]]  # two of them alike at 0.8
    assert_allclose(stability([a, b], threshold=0.9), 3 / 4)
    assert_allclose(stability([a, c], threshold=0.9), 2 / 4)
    assert_allclose(stability([a, c], threshold=0.79), 1)
    assert_allclose(stability([a, c], threshold=None), (2 * 0.8 + 2) / 4)
    pairs = [stability([a, b]), stability([a, c]), stability([b, c])]
    assert_allclose(stability([a, b, c]), np.mean(pairs))


@pytest.mark.parametrize("given", [[np.eye(2)], PCA()])
def test_stability_of_a_single_fit_is_refused(given):
    with pytest.raises(ValueError, match="pass two or more"):
        stability(given)


@pytest.mark.parametrize("threshold", [0, 1, "0.9", np.nan])
def test_a_threshold_that_is_no_cosine_is_named(threshold):
    with pytest.raises(ValueError, match="threshold must be None or between 0 and 1"):
        stability([np.eye(2), np.eye(2)], threshold=threshold)


def test_units_of_other_features_are_no_match(fitted):
    with pytest.raises(ValueError, match="a has 64 features and b has 3"):
        match_units(fitted, np.eye(3))
    with pytest.raises(TypeError, match="got StandardScaler without coefs_"):
        match_units(StandardScaler().fit(np.eye(3)), np.eye(3))
    with pytest.raises(ValueError, match="NaN"):
        match_units(np.full((2, 2), np.nan), np.eye(2))


# -------------------------------------------------------------------- known features


def test_features_without_a_unit_count_as_not_found():
    assert_allclose(recovery_score(np.eye(4)[:3], np.eye(4)), 3 / 4)
    features = np.array([[1.0, 0.0], [0.0, 1.0]])
    units = [[1.0, 0.0], [1.0, 1.0]]
    assert_allclose(recovery_score(units, features), (1 + np.sqrt(0.5)) / 2)
    assert recovery_score(units, features, threshold=0.9) == 0.5


@pytest.mark.slow
def test_an_autoencoder_finds_the_features_that_data_are_made_of():
    X, dictionary, _ = make_sparse_codes(
        4000, n_features=20, n_components=30, n_active=2, random_state=0
    )
    autoencoder = SparseAutoencoderTransformer(30, random_state=0).fit(X)
    baseline = random_baseline(autoencoder, X)
    assert recovery_score(autoencoder, dictionary, threshold=0.9) > 0.9
    assert recovery_score(baseline, dictionary, threshold=0.9) < 0.1


# ------------------------------------------------------------------------- baseline


@pytest.fixture(scope="module")
def baseline(fitted, digits):
    return random_baseline(fitted, digits)


def test_the_decoder_of_the_baseline_is_the_least_squares_solution(baseline, digits):
    codes = np.column_stack([baseline.transform(digits), np.ones(len(digits))])
    best = codes @ np.linalg.lstsq(codes, digits, rcond=None)[0]
    assert_allclose(baseline.reconstruct(digits), best, atol=0.02)
    deviation = np.square(digits - digits.mean(axis=0)).sum()
    explained = 1 - np.square(digits - best).sum() / deviation
    assert_allclose(baseline.score(digits), explained, atol=1e-5)


def test_the_baseline_is_as_active_as_a_training_asks_and_its_encoder_random(
    baseline, fitted, digits
):
    codes = baseline.transform(digits)
    assert_allclose(codes.mean(axis=0), fitted.rho, rtol=1e-3)
    assert match_units(baseline.components_, fitted.components_).cosines.mean() < 0.5
    other = random_baseline(fitted, digits, random_state=1)
    assert match_units(baseline.components_, other.components_).cosines.mean() < 0.5


def test_the_baseline_has_the_parameters_and_leaves_the_estimator_alone(
    baseline, fitted, digits
):
    assert baseline.get_params() == fitted.get_params()
    given = SparseAutoencoderTransformer(5, solver="lbfgs", warm_start=True)
    again = random_baseline(given, digits, random_state=3)
    assert again.get_params() == given.set_params(random_state=3).get_params()
    assert not hasattr(given, "coefs_")
    assert again.objective_ == again.evaluate_objective(digits)


def test_the_baseline_of_sparse_rows_is_that_of_dense_ones(fitted, digits):
    rows = sparse.csr_matrix(digits)
    one, other = random_baseline(fitted, rows), random_baseline(fitted, digits)
    assert_allclose(one.coefs_[1], other.coefs_[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sparsity", ["topk", "lifetime"])
def test_the_baseline_of_a_selection_keeps_its_share_of_random_directions(
    sparsity, digits
):
    selecting = SparseAutoencoderTransformer(
        20, sparsity=sparsity, rho=0.1, random_state=0
    )
    baseline = random_baseline(selecting, digits)
    codes = baseline.transform(digits)
    axis = 0 if sparsity == "lifetime" else None
    assert_allclose((codes > 0).mean(axis=axis), 0.1, atol=1 / len(digits))
    # The encoder of a training starts along rows of the data: this one does not.
    assert_allclose(np.linalg.norm(baseline.components_, axis=1), 1, rtol=1e-5)
    centred = digits - digits.mean(axis=0)
    assert match_units(baseline.components_, centred).cosines.max() < 0.7
    csr = baseline.set_params(sparse_output=True).transform(digits)
    assert sparse.issparse(csr)
    assert neg_active_codes(baseline, digits) == -np.count_nonzero(codes) / len(digits)


def test_what_has_no_baseline_is_named(digits):
    with pytest.raises(TypeError, match=r"got PCA\. Of a Pipeline, pass the step"):
        random_baseline(PCA(), digits)
    sigmoid = SparseAutoencoderTransformer(output_activation="sigmoid")
    with pytest.raises(ValueError, match="needs output_activation='linear'"):
        random_baseline(sigmoid, digits / 16)
    gap = digits.copy()
    gap[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        random_baseline(SparseAutoencoderTransformer(), gap)
