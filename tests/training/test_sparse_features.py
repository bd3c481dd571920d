"""Units that carry nothing are counted, and fit warns of them and says what to do."""

import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._network import autoencoder, reading
from sksparse_ae._network.scaling import Moments, Scaling
from sksparse_ae._network.units import STATES, UnitStatistics
from sksparse_ae._objective.objective import Objective
from sksparse_ae._training.advice import (
    LEAST_SCORE,
    TOLERATED_SHARE,
    weight_decay_limit,
)
from sksparse_ae._training.monitor import Monitor
from sksparse_ae.exceptions import UninformativeUnitsWarning
from sksparse_ae.inspection._activation import STATE_STYLES

# Trainings that are short on purpose stop at max_iter.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NGS_SETTING = {
    "n_components": 25,
    "rho": 0.01,
    "beta": 3.0,
    "weight_decay": 1e-4,
    "output_activation": "sigmoid",
    "solver": "lbfgs",
    "max_iter": 400,
    "random_state": 0,
}
FEW = {"n_components": 10, "max_iter": 40, "random_state": 0}


@pytest.fixture(scope="module")
def standardised_digits():
    return StandardScaler().fit_transform(load_digits().data).astype(np.float32)


def warning_of(estimator, X):
    """Fit; return the one warning of inactive units, with its category and place."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always", UninformativeUnitsWarning)
        estimator.fit(X)
    (warning,) = record
    assert warning.category is UninformativeUnitsWarning
    return warning


def counted(states):
    return {state: int((states == state).sum()) for state in set(states)}


# ---------------------------------------------------------- where the warning is due


def test_weight_decay_that_collapses_ngs_patches_is_named(patches):
    estimator = SparseAutoencoderTransformer(**NGS_SETTING)
    estimator.set_params(weight_decay=1e-3)
    warning = warning_of(estimator, patches)
    message = str(warning.message)
    assert "25 of 25 units are not active" in message
    assert "25 collapsed (constant)" in message
    assert "weight_decay=0.001 is too large for these data" in message
    # The exercise's own value, 1e-4, is near the upper one.
    assert "Try 4e-06 to 7e-05, or raise rho=0.01, or use a linear" in message
    assert warning.filename == __file__
    # What nobody's tool reports: the mean activations look perfect.
    assert_allclose(estimator.rho_hat_, 0.01, rtol=1e-2)
    assert estimator.sparseness_ < 0.01


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"rho_hat": "batch"}, "or set rho_hat='running'."),
        (
            {"init": "uniform", "output_activation": "sigmoid"},
            "or set init='auto', or set revive=True.",
        ),
    ],
)
@pytest.mark.slow
def test_an_absurd_beta_on_digits_is_named(settings, remedy):
    X = load_digits().data / 16
    estimator = SparseAutoencoderTransformer(
        beta=1e5, weight_decay=1e-5, random_state=0, **settings
    )
    message = str(warning_of(estimator, X).message)
    assert "Lower beta=1e+05" in message
    assert remedy in message


@pytest.mark.slow
def test_an_absurd_beta_whose_units_vary_in_vain_is_named(standardised_digits):
    estimator = SparseAutoencoderTransformer(beta=1e5, rho_hat="batch", random_state=0)
    message = str(warning_of(estimator, standardised_digits).message)
    assert re.search("together they explain .* of the variance", message)
    assert "Lower beta=1e+05, which leaves the reconstruction no say" in message
    assert estimator.score(standardised_digits) < LEAST_SCORE
    assert counted(estimator.unit_states_)["active"] > 180


@pytest.mark.parametrize("beta", [1e12, 1e30])
def test_an_absurd_beta_is_named_where_the_penalty_has_vanished(digits, beta):
    estimator = SparseAutoencoderTransformer(
        10, beta=beta, solver="lbfgs", max_iter=60, random_state=0
    )
    message = str(warning_of(estimator, digits[:300].astype(np.float64)).message)
    assert f"Lower beta={beta:.3g}" in message


@pytest.mark.slow
def test_the_running_mean_bears_an_absurd_beta(standardised_digits):
    estimator = SparseAutoencoderTransformer(beta=1e4, random_state=0)
    assert estimator.fit(standardised_digits).score(standardised_digits) > 0.6
    assert_allclose(estimator.rho_hat_, 0.05, rtol=0.05)


def test_ngs_own_setting_is_silent(patches):
    estimator = SparseAutoencoderTransformer(**NGS_SETTING).fit(patches)
    assert counted(estimator.unit_states_) == {"active": 25}
    assert estimator.sparseness_ > 0.75


def test_the_defaults_are_silent_and_sparse_on_standardised_digits(standardised_digits):
    estimator = SparseAutoencoderTransformer(random_state=0).fit(standardised_digits)
    assert counted(estimator.unit_states_) == {"active": 200}
    assert estimator.sparseness_ > 0.5
    assert estimator.score(standardised_digits) > 0.9


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (
            {"weight_decay": 1.0},
            "weight_decay=1 is too .* Try .*, or raise rho=0.05\\.",
        ),
        (
            {"rho": 1e-5, "weight_decay": 3e-3},
            "weight_decay=0.003 is too .* Try .*, or raise rho=1e-05\\.",
        ),
        ({"weight_decay": 20.0, "scale": False}, "or set scale='auto'\\."),
        (
            {"weight_decay": 20.0, "output_activation": "relu"},
            "or use a linear output, which scale='auto' applies to\\.",
        ),
    ],
)
def test_the_warning_says_what_to_change(digits, settings, remedy):
    estimator = SparseAutoencoderTransformer(**FEW, **settings)
    assert re.search(remedy, str(warning_of(estimator, digits).message))


def test_a_search_that_expects_such_settings_silences_them_alone(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UninformativeUnitsWarning)
        SparseAutoencoderTransformer(**FEW, weight_decay=1.0).fit(digits)
    assert not issubclass(UninformativeUnitsWarning, ConvergenceWarning)


def test_partial_fit_counts_but_does_not_warn(digits):
    estimator = SparseAutoencoderTransformer(**FEW, weight_decay=1.0)
    warning_of(estimator, digits)
    estimator.partial_fit(digits[:200])
    assert counted(estimator.unit_states_) == {"collapsed": 10}
    assert estimator.sparseness_ == pytest.approx(
        estimator.unit_report(digits[:200])["sparseness"].mean(), abs=1e-6
    )


@pytest.fixture
def biased(monkeypatch):
    """Return a function that makes trainings end with some units' biases as given."""
    real_fold = Scaling.fold

    def decide(n_units, bias):
        def fold(scaling, weights):
            W1, b1, W2, b2 = real_fold(scaling, weights)
            b1[:n_units] = bias
            return [W1, b1, W2, b2]

        monkeypatch.setattr(Scaling, "fold", fold)

    return decide


@pytest.mark.parametrize("n_inactive", [1, 2])
def test_more_than_a_tenth_of_the_units_is_too_many(digits, biased, n_inactive):
    biased(n_inactive, -1e3)
    estimator = SparseAutoencoderTransformer(**FEW)
    if n_inactive > TOLERATED_SHARE * FEW["n_components"]:
        message = str(warning_of(estimator, digits).message)
        assert "2 of 10 units are not active" in message
        assert "2 dead (never near on), 0 saturated (never off), 0 coll" in message
    else:
        estimator.fit(digits)
    assert (estimator.unit_states_ == "dead").sum() == n_inactive


@pytest.mark.parametrize(
    ("bias", "settings", "remedy"),
    [
        (
            -1e3,
            {"beta": 100.0},
            "Lower learning_rate, or lower beta=100,.* or set revive=True",
        ),
        (-1e3, {"beta": 0.1}, "Raise beta=0.1, .*, or raise rho=0.05,"),
        (1e3, {"beta": 100.0, "solver": "lbfgs"}, " Lower beta=100, .* overshoots\\."),
        (1e3, {"beta": 0.1}, "Raise beta=0.1, .* back, or set revive"),
        (1e3, {"beta": 0.1, "scale": False}, "or scale the data \\(StandardScaler"),
    ],
)
def test_units_that_went_off_or_on_for_good_call_for_another_beta(
    digits, biased, bias, settings, remedy
):
    biased(2, bias)
    estimator = SparseAutoencoderTransformer(**FEW, **settings)
    assert re.search(remedy, str(warning_of(estimator, digits).message))


def test_the_warning_as_an_error_leaves_the_estimator_unfitted(digits):
    estimator = SparseAutoencoderTransformer(**FEW, weight_decay=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UninformativeUnitsWarning)
        with pytest.raises(UninformativeUnitsWarning):
            estimator.fit(digits)
    assert not hasattr(estimator, "coefs_")


# ------------------------------------------------------------- what the summary says


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_the_summary_is_that_of_unit_report_on_the_training_set(
    digits, monkeypatch, activation
):
    monkeypatch.setattr(reading, "CHUNK_VALUES", 64 * 70)  # 300 rows in 5 chunks
    estimator = SparseAutoencoderTransformer(**FEW, activation=activation)
    for X in (digits, sparse.csr_matrix(digits)):
        fitted = clone(estimator).fit(X)
        report = fitted.unit_report(X)
        assert_array_equal(fitted.unit_states_, report["state"])
        assert fitted.sparseness_ == pytest.approx(report["sparseness"].mean())


def test_the_summary_is_gathered_in_the_pass_that_the_objective_takes(
    digits, monkeypatch
):
    monkeypatch.setattr(reading, "CHUNK_VALUES", 64 * 70)
    encoded = []
    real_encode = autoencoder.Parameters.encode

    def encode(parameters, X):
        encoded.append(X.shape[0])
        return real_encode(parameters, X)

    estimator = SparseAutoencoderTransformer(**FEW)
    rows = [70, 70, 70, 70, 20]
    monkeypatch.setattr(autoencoder.Parameters, "encode", encode)
    estimator.fit(digits)
    # The start looks at all rows, to set the biases and to know its rho_hat; its
    # objective, and that of looks at the weights, take a pass each.
    looks = [*range(1, estimator.max_iter, 11), estimator.max_iter]
    assert encoded == [300, 300, *rows * (1 + len(looks) + 1)]


# --------------------------------------------------------------- why units fade out


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize(
    ("output_activation", "loss"),
    [
        ("linear", "squared_error"),
        ("sigmoid", "squared_error"),
        ("sigmoid", "log_loss"),
        ("tanh", "squared_error"),
        ("exponential", "poisson"),
        ("linear", "huber"),
    ],
)
def test_a_unit_grows_out_of_rho_below_the_limit_of_weight_decay_alone(
    activation, output_activation, loss
):
    rng = np.random.default_rng(0)
    X = 0.5 + 0.04 * rng.normal(size=(500, 3)) @ rng.normal(size=(3, 6))
    X = X.clip(0, 1)
    mean, rho = X.mean(axis=0), 0.3
    estimator = SparseAutoencoderTransformer(
        rho=rho, activation=activation, output_activation=output_activation, loss=loss
    )
    as_given = Scaling(mean, 1.0, linear_output=False)
    limit = weight_decay_limit(X - mean, as_given, estimator)

    def gain(weight_decay):
        """Return how far the objective falls as the strongest unit begins to grow."""
        slope = {"sigmoid": rho * (1 - rho), "tanh": 4 * rho * (1 - rho), "relu": 1}
        inner = {
            "linear": lambda Z: Z,
            "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
            "tanh": np.tanh,
            "exponential": np.exp,
        }[output_activation]
        start = {
            "linear": mean,
            "sigmoid": np.log(mean / (1 - mean)),
            "tanh": np.arctanh(mean),
            "exponential": np.log(mean),
        }[output_activation]

        def objective(w1, w2):
            # Its own spread leaves rho_hat at rho to first order: linearise the unit.
            deviation = slope[activation] * (X - mean) @ w1
            output = inner(start + np.outer(deviation, w2))
            if loss == "log_loss":
                error = -(X * np.log(output) + (1 - X) * np.log(1 - output))
            elif loss == "poisson":
                error = output - X * np.log(output)
            else:
                error = 0.5 * (output - X) ** 2
            decay = 0.5 * weight_decay * (w1 @ w1 + w2 @ w2)
            return error.sum(axis=1).mean() + decay

        cross = np.cov(X.T, bias=True)
        if output_activation == "sigmoid" and loss == "squared_error":
            cross = (mean * (1 - mean))[:, None] * cross
        elif output_activation == "tanh":
            cross = (1 - mean**2)[:, None] * cross
        U, _, Vt = np.linalg.svd(cross)
        step = 1e-2
        return objective(np.zeros(6), np.zeros(6)) - objective(
            step * Vt[0], step * U[:, 0]
        )

    assert gain(0.9 * limit) > 0 > gain(1.1 * limit)


def test_weight_decay_well_above_the_limit_leaves_no_unit_and_well_below_leaves_all(
    digits,
):
    estimator = SparseAutoencoderTransformer(**(FEW | {"solver": "lbfgs"}))
    scaling = Scaling.from_moments(Moments.of(digits), scale=True, linear_output=True)
    sample = scaling.standardize(digits)
    limit = weight_decay_limit(sample, scaling, estimator)
    warning_of(estimator.set_params(weight_decay=3 * limit), digits)
    assert (estimator.unit_states_ != "active").all()
    estimator.set_params(weight_decay=limit / 30).fit(digits)
    assert (estimator.unit_states_ == "active").all()


@pytest.mark.parametrize("n_rows", [1, 5])
def test_activations_whose_squares_overflow_are_refused(digits, n_rows):
    X = digits[:n_rows]
    estimator = SparseAutoencoderTransformer(**FEW, activation="relu").fit(digits)
    with pytest.raises(ValueError, match="squared activations overflow"):
        estimator.unit_report(1e200 * X)


# ------------------------------------------------------------ one order of states

ROOT = Path(__file__).parents[2]
PACKAGE = Path(sksparse_ae.__file__).parent
LISTS = {
    "user guide": (ROOT / "docs/user_guide/sparse_features.rst", r"^ *- \*(\w+)\*: "),
    "unit_report": (SparseAutoencoderTransformer.unit_report, r'"(\w+)"\s+if'),
    "unit_states_": (SparseAutoencoderTransformer, r'"(\w+)"(?:,| or|\s+as `unit_r)'),
    "report": (
        PACKAGE / "_report/templates/page.html",
        r"\b(Active|Dead|Saturated|Collapsed): ",
    ),
}


@pytest.mark.parametrize("place", LISTS)
def test_states_are_listed_in_one_order(place):
    source, pattern = LISTS[place]
    text = source.read_text("utf-8") if isinstance(source, Path) else source.__doc__
    listed = [name.lower() for name in re.findall(pattern, text, re.MULTILINE)]
    named = [name for name in listed if name in STATES]
    assert named[-3:] == list(STATES[1:])
    assert named[:-3] in ([], [STATES[0]])


def test_states_are_told_by_their_definitions():
    on_off = np.repeat([[1.0], [0.0]], [5, 95], axis=0)
    always = np.full((100, 4), [0.0, 0.9, 0.3, 0.04])
    objective = Objective(
        SimpleNamespace(activation="sigmoid", loss="squared_error", sparsity="kl")
    )
    statistics = UnitStatistics(np.hstack([on_off, always]), objective)
    # The last is just below rho: it has collapsed to it.
    assert statistics.states(0.05).tolist() == [*STATES, "collapsed"]
    assert list(STATE_STYLES) == list(STATES)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"learning_rate": 1e-6}, "Raise learning_rate=1e-06"),
        ({"solver": "sgd", "learning_rate": 1e-7}, "Raise learning_rate=1e-07"),
        ({"solver": "lbfgs", "tol": 10.0}, "Lower tol=10, at which the start has"),
    ],
)
def test_a_training_that_has_not_moved_is_told_so(digits, settings, remedy):
    estimator = SparseAutoencoderTransformer(25, random_state=0, **settings)
    assert remedy in str(warning_of(estimator, digits).message)


def test_a_training_that_is_interrupted_at_once_has_no_curve_to_judge(
    digits, monkeypatch
):
    def interrupted(self, rate):
        raise KeyboardInterrupt

    monkeypatch.setattr(Monitor, "begin_iteration", interrupted)
    estimator = SparseAutoencoderTransformer(
        25, learning_rate=1e-6, beta=1e5, random_state=0
    )
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        estimator.fit(digits)
    assert estimator.loss_curve_ == []
    messages = [str(warning.message) for warning in record]
    assert any("interrupted" in message for message in messages)
    assert not any("Raise learning_rate" in message for message in messages)
