"""A warm start goes on from where it was, for what is asked of it now."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sksparse_ae import SparseAutoencoderTransformer

# Trainings that are short on purpose stop at max_iter and explain little.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]

N_ROWS = 60

# One batch of all rows: the terms of an epoch are those at the weights before it.
BY_BATCHES = {"batch_size": N_ROWS, "rho_hat": "batch", "shuffle": False}
SOLVERS = {
    "adam": {"solver": "adam", "learning_rate": 0.01, **BY_BATCHES},
    "sgd": {"solver": "sgd", "learning_rate": 0.01, **BY_BATCHES},
    "optimizer": {
        "solver": keras.optimizers.RMSprop(0.01),
        "learning_rate": "auto",
        **BY_BATCHES,
    },
    "lbfgs": {
        "solver": "lbfgs",
        "learning_rate": "auto",
        "batch_size": "auto",
        "rho_hat": "running",
        "shuffle": True,
    },
}


@pytest.fixture(scope="module")
def X():
    """Rows that vary in every direction, most of them in a few."""
    rng = np.random.RandomState(0)
    return rng.normal(2, 1, (N_ROWS, 3)) @ rng.normal(size=(3, 8)) + rng.normal(
        scale=0.3, size=(N_ROWS, 8)
    )


def few(solver, **settings):
    return SparseAutoencoderTransformer(
        4,
        **SOLVERS[solver],
        **{
            "rho": 0.1,
            "beta": 1.0,
            "weight_decay": 1e-3,
            # Far from rho, so that the penalty tells.
            "init": "uniform",
            "max_iter": 4,
            "warm_start": True,
            "random_state": 0,
        }
        | settings,
    )


def objective(transformer, X, rho, beta, weight_decay):
    """The terms of the objective in NumPy, from public attributes."""
    offset, scale = transformer.offset_, transformer.scale_
    error = (transformer.reconstruct(X) - X) / scale
    r = transformer.transform(X).mean(axis=0)
    kl = rho * np.log(rho / r) + (1 - rho) * np.log((1 - rho) / (1 - r))
    W1, W2 = transformer.coefs_
    assert_allclose(offset, X.mean(axis=0))
    squares = np.sum((scale * W1) ** 2) + np.sum((W2 / scale) ** 2)
    return {
        "reconstruction": np.sum(error**2) / len(X) / 2,
        "weight_decay": weight_decay / 2 * squares,
        "sparsity": beta * kl.sum(),
    }


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(
    "changed", [{"rho": 0.4}, {"beta": 5.0}, {"weight_decay": 0.1}], ids=str
)
def test_a_warm_start_takes_the_penalties_of_now(X, solver, changed):
    # After a single epoch the weights that are returned are those of the latest step.
    transformer = few(solver, max_iter=1).fit(X)
    penalties = {"rho": 0.1, "beta": 1.0, "weight_decay": 1e-3} | changed
    start = objective(transformer, X, **penalties)
    others = {"max_iter": 60} if solver == "lbfgs" else {"learning_rate": 1e-9}
    transformer.set_params(**changed, **others).fit(X)
    assert transformer.beta_ == penalties["beta"]
    assert transformer.weight_decay_ == penalties["weight_decay"]
    end = objective(transformer, X, **penalties)
    for name, value in end.items():
        assert_allclose(transformer.objective_[name], value, rtol=1e-6)
    if solver == "lbfgs":
        # It has gone down in the objective of now, to where one without a past does.
        afresh = few(solver, max_iter=60, **changed).fit(X)
        assert sum(end.values()) < sum(start.values())
        assert_allclose(sum(end.values()), afresh.objective_.total, rtol=0.05)
    else:
        terms = {name: curve[1] for name, curve in transformer.loss_terms_.items()}
        for name in ("reconstruction", "sparsity"):
            assert_allclose(terms[name], start[name], rtol=1e-5)
        # That at the end of the epoch, which has moved by the momentum of "sgd" alone.
        assert_allclose(terms["weight_decay"], start["weight_decay"], rtol=0.01)


def test_a_warm_start_leads_the_mean_activations_to_the_rho_of_now(X):
    transformer = few("adam", beta=10.0, max_iter=100).set_params(learning_rate=0.05)
    transformer.fit(X)
    assert_allclose(transformer.rho_hat_, 0.1, atol=0.05)
    transformer.set_params(rho=0.4).fit(X)
    assert_allclose(transformer.rho_hat_, 0.4, atol=0.05)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("adam", "sgd"),
        ("adam", "optimizer"),
        ("adam", "lbfgs"),
        ("sgd", "adam"),
        ("optimizer", "adam"),
        ("lbfgs", "adam"),
    ],
)
def test_another_solver_starts_at_the_weights_and_with_nothing_of_the_first(
    X, first, second
):
    transformer = few(first).fit(X)
    # Without a state to go on with there are the weights alone.
    bare = few(first, warm_start=False).fit(X)
    assert_array_equal(transformer.coefs_[0], bare.coefs_[0])
    before = bare.objective_
    for one in (transformer, bare):
        one.set_params(**SOLVERS[second], warm_start=True).fit(X)
        assert one.n_iter_ == len(one.loss_curve_) == 8
    for a, b in zip(
        transformer.coefs_ + transformer.intercepts_,
        bare.coefs_ + bare.intercepts_,
        strict=True,
    ):
        assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert_allclose(transformer.loss_curve_, bare.loss_curve_, rtol=1e-6)
    if second == "lbfgs":
        assert transformer.loss_curve_[4] < before.total
    else:
        for name in ("reconstruction", "sparsity"):
            value = transformer.loss_terms_[name][4]
            assert_allclose(value, before[name], rtol=1e-5)


@pytest.mark.parametrize("continued", ["warm_start", "partial_fit"])
def test_auto_is_chosen_for_the_settings_of_now(continued):
    X = np.random.RandomState(0).normal(size=(N_ROWS, 20))
    few = SparseAutoencoderTransformer(4, max_iter=2, random_state=0)
    of_now = few.set_params(rho=0.2).partial_fit(X)
    expected = of_now.beta_, of_now.weight_decay_
    earlier = SparseAutoencoderTransformer(
        4,
        max_iter=2,
        beta=10.0,
        weight_decay=0.5,
        warm_start=continued == "warm_start",
        random_state=0,
    )
    fit = earlier.fit if continued == "warm_start" else earlier.partial_fit
    fit(X)
    earlier.set_params(rho=0.2, beta="auto", weight_decay="auto")
    # The units of a warm start are those of the first data.
    fit(1000 * X if continued == "warm_start" else X)
    assert_allclose((earlier.beta_, earlier.weight_decay_), expected, rtol=1e-12)
