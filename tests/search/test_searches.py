"""Searches of every kind find within ``train_together`` what they find without."""

import keras
import numpy as np
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401, it enables
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_validate,
)

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.model_selection import train_together

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GRID = {"rho": [0.05, 0.2], "beta": [0.1, 3.0]}


@pytest.fixture(scope="module")
def X(digits):
    """Part of the digits."""
    return digits[:120, 20:40]


# Several batches in an epoch of any part of the rows: the decoder's bias starts where
# all rows together leave it no gradient, of which Adam would make steps by rounding.
def few(**settings):
    return SparseAutoencoderTransformer(
        3, **{"max_iter": 6, "batch_size": 20, "random_state": 0} | settings
    )


def assert_same_search(together, alone, rtol=1e-4):
    assert together.best_params_ == alone.best_params_
    scores = [search.cv_results_["mean_test_score"] for search in (together, alone)]
    assert_allclose(*scores, rtol=rtol)
    # Of candidates that are told apart.
    assert np.ptp(scores[1]) > 100 * rtol * np.abs(scores[1]).max()
    weights = [search.best_estimator_.coefs_[0] for search in (together, alone)]
    assert_allclose(*weights, rtol=1e-3, atol=1e-4 * np.abs(weights[1]).max())


@pytest.mark.slow
def test_a_search_within_folds_finds_the_same(X):
    search = GridSearchCV(few(), GRID, cv=2)
    settings = {"cv": 2, "return_estimator": True}
    alone = cross_validate(search, X, **settings)
    with train_together():
        together = cross_validate(search, X, **settings)
    assert_allclose(together["test_score"], alone["test_score"], rtol=1e-4)
    for one, other in zip(together["estimator"], alone["estimator"], strict=True):
        assert_same_search(one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"resource": "max_iter", "max_resources": 8}, {"min_resources": 60}],
    ids=["epochs", "rows"],
)
def test_a_halving_search_finds_the_same(X, settings):
    search = HalvingGridSearchCV(
        few(), GRID, cv=2, factor=2, random_state=0, **settings
    )
    alone = clone(search).fit(X)
    with train_together():
        together = clone(search).fit(X)
    assert alone.n_candidates_[:2] == [4, 2]
    for name in ("iter", "n_resources", "rank_test_score"):
        assert_array_equal(together.cv_results_[name], alone.cv_results_[name])
    assert_same_search(together, alone)


def test_a_search_with_a_keras_optimizer_is_the_same_to_the_bit(X):
    optimizer = keras.optimizers.RMSprop(
        keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    )
    search = GridSearchCV(few(solver=optimizer), GRID, cv=2)
    alone = clone(search).fit(X)
    with train_together():
        together = clone(search).fit(X)
    assert_same_search(together, alone)
    assert_array_equal(
        together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )


def test_keras_optimizers_and_names_go_side_by_side(X):
    grid = {"solver": ["adam", keras.optimizers.Adam(0.03)], "rho": [0.05, 0.2]}
    search = GridSearchCV(few(), grid, cv=2)
    alone = clone(search).fit(X)
    with train_together():
        together = clone(search).fit(X)
    scores = [search.cv_results_["mean_test_score"] for search in (together, alone)]
    assert_allclose(*scores, rtol=1e-4)
    assert together.best_index_ == alone.best_index_


def test_one_keras_optimizer_is_shared_by_fits_and_never_changed(X):
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    transformers = [few(solver=optimizer, rho=rho) for rho in (0.05, 0.2)]
    expected = [clone(t).fit(X).coefs_[0] for t in transformers]
    with train_together():
        # Not clones: both hold the very same optimizer.
        found = Parallel()(delayed(t.fit)(X) for t in transformers)
    for one, coefs in zip(found, expected, strict=True):
        assert one.solver is optimizer
        assert_array_equal(one.coefs_[0], coefs)
    assert optimizer.iterations.numpy() == 0
