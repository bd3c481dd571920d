"""Denoising: the encoder reads a part of the values, the output is to give all."""

import numpy as np
import pytest
from _helpers import assert_same_fit
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine.streams import Corruption
from sksparse_ae.model_selection import train_together

# Trainings that are short on purpose stop at max_iter and explain little.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]


def transformer(**settings):
    defaults = {"n_components": 20, "max_iter": 20, "random_state": 0}
    return SparseAutoencoderTransformer(**{**defaults, **settings})


@pytest.mark.parametrize("kind", ["mask", "swap"])
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_share_of_the_values_is_replaced(kind, share):
    rng = np.random.default_rng(0)
    # Each column has values of its own, so that one tells where it is from.
    data = np.arange(1, 1 + 500 * 40, dtype=np.float32).reshape(500, 40)
    inputs = Corruption(share, kind).of(data, 400, rng)
    replaced = inputs[:400] != data[:400]
    assert replaced.mean() == pytest.approx(share, abs=0.02)
    assert replaced.mean(axis=0).min() > share / 2
    assert_array_equal(inputs[400:], data[400:])  # padding
    if kind == "mask":
        assert np.isnan(inputs[:400][replaced]).all()
    else:
        _, columns = np.nonzero(replaced)
        values = inputs[:400][replaced]
        assert ((values - 1) % 40 == columns).all()
        assert values.max() <= data[399].max()


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", ["mask", "swap"])
def test_what_is_hidden_is_given_better(solver, kind, digits):
    rng = np.random.default_rng(0)
    hidden = rng.random(digits.shape) < 0.4
    settings = {"solver": solver, "max_iter": 60, "beta": 1.0}

    def error(**corruption):
        fitted = transformer(**settings, **corruption).fit(digits)
        read = np.where(hidden, np.nan, digits)
        return np.square((fitted.reconstruct(read) - digits)[hidden]).mean()

    assert error(corruption=0.4, corruption_kind=kind) < error()


def test_objective_is_that_of_the_clean_data(digits):
    fitted = transformer(corruption=0.5).fit(digits)
    objective = fitted.evaluate_objective(digits).total
    assert fitted.objective_.total == pytest.approx(objective)
    assert fitted.loss_curve_[-1] > 1.1 * objective
    assert fitted.rho_hat_.mean() < 0.1  # not of rows that are half hidden alone


def test_corruption_is_that_of_the_random_state(digits):
    settings = {"corruption": 0.3, "max_iter": 3}
    one, other = (transformer(**settings).fit(digits) for _ in range(2))
    assert_same_fit(one, other)
    third = transformer(**settings, random_state=1).fit(digits)
    assert third.loss_curve_ != one.loss_curve_
    # None of it leaves the training as it was.
    assert_same_fit(
        transformer(max_iter=3, corruption=0.0).fit(digits),
        transformer(max_iter=3).fit(digits),
    )


def test_streams_and_searches_take_it(digits):
    stream = transformer(corruption=0.3)
    for _ in range(3):
        stream.partial_fit(digits)
    assert stream.loss_curve_[-1] < stream.loss_curve_[0]
    search = GridSearchCV(
        transformer(corruption=0.3), {"rho": [0.05, 0.1]}, cv=2, refit=False
    )
    alone = clone(search).fit(digits).cv_results_["mean_test_score"]
    with train_together():
        together = clone(search).fit(digits).cv_results_["mean_test_score"]
    np.testing.assert_allclose(together, alone, rtol=1e-2)


def test_settings_without_sense_are_refused(digits):
    with pytest.raises(ValueError, match=r"corruption=0\.3 is drawn anew.*'adam'"):
        transformer(corruption=0.3, solver="lbfgs").fit(digits)
    with pytest.warns(UserWarning, match="corruption_kind='swap' has no effect"):
        transformer(corruption_kind="swap", max_iter=1).fit(digits)
    for bad in (1.0, -0.1, "mask"):
        with pytest.raises(ValueError, match="'corruption' parameter"):
            transformer(corruption=bad).fit(digits)
