"""What a fit says of data and settings that leave little to learn."""

import warnings

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.exceptions import UninformativeUnitsWarning

# ----------------------------------------------------------------- data as they come


def message_of(X, **settings):
    """Fit; return the one warning that it gives, or an empty string."""
    estimator = SparseAutoencoderTransformer(20, max_iter=40, tol=0.01, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.set_params(**settings).fit(X)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) <= 1, messages
    return "".join(messages)


def test_the_default_weight_decay_travels_with_the_setting(digits):
    def default(X, **settings):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = SparseAutoencoderTransformer(5, max_iter=1, **settings).fit(X)
        return fitted.weight_decay_

    assert default(digits) == pytest.approx(3e-3)
    assert default(1000 * digits) == pytest.approx(3e-3)
    assert default(digits, rho=0.2) == pytest.approx(3e-3 * 0.16 / 0.0475)
    assert default(digits, rho=0.2, activation="relu") == pytest.approx(3e-3)
    assert default(digits, scale=False) == pytest.approx(
        3e-3 * digits.var(axis=0).mean()
    )
    mean, variance = (digits / 16).mean(axis=0), (digits / 16).var(axis=0)
    assert default(digits / 16, output_activation="sigmoid") == pytest.approx(
        3e-3 * (mean * (1 - mean) * variance).mean()
    )
    assert default(digits, weight_decay=0.1) == 0.1


@pytest.mark.slow
def test_images_with_a_sigmoid_output_are_learnt_by_default():
    X = load_digits().data / 16
    fitted = SparseAutoencoderTransformer(
        100, output_activation="sigmoid", random_state=0
    ).fit(X)
    assert fitted.score(X) > 0.9
    assert (fitted.unit_states_ == "active").all()


def test_values_that_the_output_cannot_give_are_named(digits):
    message = message_of(digits, output_activation="sigmoid")
    assert "of the values of X, from 0 to 16, are outside" in message
    assert "use MinMaxScaler((0, 1)), or output_activation='linear'" in message
    with pytest.raises(ValueError, match="No value of X, from 100 to 116, is among"):
        message_of(digits + 100, output_activation="sigmoid")


def test_a_column_that_holds_the_variance_is_named():
    X = np.random.RandomState(0).normal(size=(200, 10))
    X[:, 3] *= 50_000
    assert "100.0% of the variance of X is in column 3, and" in message_of(X)
    assert "is in column 0, and next to none" in message_of(X[:, 3:5])
    cancer = load_breast_cancer(as_frame=True).data
    message = message_of(cancer)
    assert "is in columns 'worst area', 'mean area', and next to none" in message
    assert "StandardScaler" in message
    assert message_of(StandardScaler().fit_transform(cancer)) == ""


def test_a_scaler_that_rounds_beyond_one_suits_log_loss():
    X = MinMaxScaler().fit_transform(load_breast_cancer().data)
    assert X.max() > 1
    message = message_of(X, loss="log_loss", output_activation="sigmoid")
    assert "needs data in" not in message


def test_a_fit_that_is_cut_off_says_how_little_it_explains():
    X = np.random.RandomState(0).normal(size=(100, 64))
    with pytest.warns(ConvergenceWarning, match=r"So far .*% of the variance is"):
        SparseAutoencoderTransformer(2, max_iter=1, random_state=0).fit(X)


# ------------------------------------------------------- what there is too little of


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [14.62, 1e20])
def test_rows_that_are_all_equal_are_told_and_nothing_else(value, dtype, solver):
    X = np.full((60, 7), value, dtype)
    X[0, 0] = np.nextafter(X[0, 0], np.inf, dtype=dtype)
    X = X if dtype == np.float64 else np.tile(X[1], (60, 1))
    estimator = SparseAutoencoderTransformer(5, solver=solver, random_state=0)
    with pytest.warns(UninformativeUnitsWarning, match="are all equal") as caught:
        estimator.fit(X)
    assert len(caught) == 1
    # Nothing but the penalty and the weight decay is left, which have 0 for a minimum.
    assert 0 <= estimator.objective_.total < 1e-5
    assert_allclose(estimator.reconstruct(X), X, rtol=1e-3)


def test_rows_that_hold_the_variance_are_told(digits):
    X = digits.copy()
    X[[5, 9]] *= 300
    message = message_of(X)
    assert f"is in 2 of its {len(X)} rows" in message
    assert "log1p" in message
    assert "QuantileTransformer" in message_of(X - 1)
    assert "of its" not in message_of(np.log1p(X))
    assert "of its" not in message_of(X, loss="huber")
    counts = {"loss": "poisson", "output_activation": "exponential"}
    assert "the variance" not in message_of(X, **counts)


def test_the_score_of_one_sample_is_not_defined(digits):
    estimator = SparseAutoencoderTransformer(5, max_iter=40, tol=0.1, random_state=0)
    estimator.fit(digits)
    with pytest.warns(UndefinedMetricWarning, match="fewer than two samples"):
        assert np.isnan(estimator.score(digits[:1]))
    assert estimator.score(digits[:2]) < 1


@pytest.mark.parametrize("first", ["fit", "partial_fit"])
def test_a_piece_of_one_row_tells_of_earlier_ones_too(digits, first):
    estimator = SparseAutoencoderTransformer(20, tol=0.1, random_state=0)
    getattr(estimator, first)(digits)
    before = estimator.objective_.total, estimator.sparseness_
    estimator.partial_fit(digits[:1])
    assert_allclose((estimator.objective_.total, estimator.sparseness_), before, 0.05)
    assert (estimator.unit_states_ == "active").all()
    terms = estimator.objective_
    assert_allclose(terms.total, sum(v for k, v in terms.items() if k != "total"))
    # From 100 rows on, a piece tells of itself.
    estimator.partial_fit(digits[:100])
    assert_allclose(
        estimator.rho_hat_, estimator.transform(digits[:100]).mean(axis=0), rtol=1e-6
    )


def test_beta_goes_with_what_there_is_to_explain(digits):
    def chosen(X, **settings):
        estimator = SparseAutoencoderTransformer(
            10, solver="lbfgs", max_iter=1, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a single iteration
            return estimator.set_params(**settings).fit(X).beta_

    assert chosen(digits) == chosen(digits[:, :20]) == chosen(1e6 * digits) == 3
    wide = np.hstack([digits] * 3)
    assert_allclose(chosen(wide), 9)
    assert chosen(wide, beta=2.5) == 2.5
    varies = np.var(wide, axis=0).sum()
    assert_allclose(chosen(wide, scale=False), 3 * varies / 64)
    unit = wide / 16
    means = np.clip(unit.mean(axis=0), 1e-3, 1 - 1e-3)
    curved = (unit.var(axis=0) / (means * (1 - means))).sum()
    bernoulli = {"loss": "log_loss", "output_activation": "sigmoid"}
    assert_allclose(chosen(unit, **bernoulli), max(3 * curved / 64, 3))
    unit = wide / np.sqrt(wide.var(axis=0).mean())
    curved = (unit.var(axis=0) / np.maximum(unit.mean(axis=0), 1e-3)).sum()
    poisson = {"loss": "poisson", "output_activation": "exponential"}
    assert_allclose(chosen(wide, **poisson), 3 * curved / 64)
    assert_allclose(chosen(7 * wide, **poisson), 3 * curved / 64)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "lbfgs", "batch_size": 50}, "batch_size=50 has no effect with sol"),
        ({"solver": "lbfgs", "revive": True}, "revive=True has no effect"),
        ({"solver": "lbfgs", "rho_hat": "batch"}, "rho_hat='batch' has no effect"),
        ({"solver": "lbfgs", "shuffle": False}, "shuffle=False has no effect"),
        ({"solver": "lbfgs", "learning_rate": 0.1}, "learning_rate=0.1 has no effect"),
        ({"solver": "lbfgs", "n_iter_no_change": 3}, "early_stopping=False"),
        ({"validation_fraction": 0.2}, "no effect with early_stopping=False"),
        (
            {"solver": keras.optimizers.RMSprop(), "learning_rate": 0.1},
            "learning_rate=0.1 has no effect with a Keras optimizer",
        ),
    ],
)
def test_settings_without_effect_are_told(digits, settings, message):
    estimator = SparseAutoencoderTransformer(5, max_iter=2, random_state=0, **settings)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(digits)
    (told,) = (str(w.message) for w in caught if "no effect" in str(w.message))
    assert message in told


def test_settings_with_an_effect_are_not_told(digits):
    SparseAutoencoderTransformer(
        5,
        solver="lbfgs",
        early_stopping=True,
        n_iter_no_change=3,
        validation_fraction=0.2,
        random_state=0,
    ).fit(digits)
