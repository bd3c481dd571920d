"""The objective is Ng's, against an oracle that shares no code with the package."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize
from sklearn.metrics import log_loss, mean_poisson_deviance

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine.full_batch import N_TERMS, full_batch_program
from sksparse_ae._network.problem import Architecture
from sksparse_ae._objective.losses import LOSSES
from sksparse_ae._objective.objective import Coefficients
from sksparse_ae._objective.penalties import KL_MARGIN, kl_divergence

N_SAMPLES, N_FEATURES, N_COMPONENTS = 40, 6, 4
RHO, BETA, WEIGHT_DECAY = 0.1, 3.0, 1e-2

# Trainings that are short on purpose explain little.
pytestmark = pytest.mark.filterwarnings(
    "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
)

ACTIVATIONS = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.where(z > 0, z, 0),
    "linear": lambda z: z,
    "exponential": np.exp,
}
SETTINGS = [
    *itertools.product(
        ["sigmoid", "tanh", "relu"],
        ["linear", "sigmoid", "tanh", "relu", "exponential"],
        ["squared_error"],
    ),
    *itertools.product(["sigmoid", "tanh", "relu"], ["sigmoid"], ["log_loss"]),
    *itertools.product(["sigmoid", "tanh", "relu"], ["exponential"], ["poisson"]),
    *itertools.product(["sigmoid", "tanh", "relu"], ["linear"], ["huber"]),
]


def data_for(loss, rng, n_features=N_FEATURES):
    """Return data that the loss takes, on both sides of where it changes its form."""
    X = rng.uniform(0.05, 0.95, (N_SAMPLES, n_features))
    if loss == "huber":
        # Not near the threshold: differences would see that the curvature ends there.
        return np.where(X > 0.5, 4 + X, X)
    return 4 * X if loss == "poisson" else X


def oracle_kl(rho, rho_hat):
    """Ng's divergence, and its tangent beyond 2^-20 from 0 and 1, unit by unit."""

    def kl(r):
        return rho * np.log(rho / r) + (1 - rho) * np.log((1 - rho) / (1 - r))

    values = []
    for r in np.atleast_1d(rho_hat):
        end = min(max(r, 2**-20), 1 - 2**-20)
        slope = -rho / end + (1 - rho) / (1 - end)
        values.append(kl(end) + slope * (r - end))
    return np.array(values)


def oracle_terms(X, weights, activation, output_activation, loss):
    """Return reconstruction, weight decay and sparsity, written sample by sample."""
    W1, b1, W2, b2 = weights
    reconstruction, activations = 0.0, []
    for x in X:
        a = ACTIVATIONS[activation](x @ W1 + b1)
        h = ACTIVATIONS[output_activation](a @ W2 + b2)
        if loss == "log_loss":
            reconstruction -= sum(x * np.log(h) + (1 - x) * np.log(1 - h))
        elif loss == "poisson":
            reconstruction += sum(h - x + x * np.log(x / h))
        elif loss == "huber":
            reconstruction += sum(
                0.5 * e**2 if abs(e) <= 1.35 else 1.35 * (abs(e) - 0.5 * 1.35)
                for e in h - x
            )
        else:
            reconstruction += 0.5 * sum((h - x) ** 2)
        activations.append(a)
    rho_hat = np.mean(activations, axis=0)
    if activation == "tanh":
        rho_hat = (rho_hat + 1) / 2
    return (
        reconstruction / len(X),
        WEIGHT_DECAY / 2 * ((W1**2).sum() + (W2**2).sum()),
        BETA * oracle_kl(RHO, rho_hat).sum(),
    )


def random_weights(rng, n_features=N_FEATURES, n_components=N_COMPONENTS):
    shapes = [
        (n_features, n_components),
        (n_components,),
        (n_components, n_features),
        (n_features,),
    ]
    r = np.sqrt(6 / (n_features + n_components + 1))
    return [rng.uniform(-r, r, shape) for shape in shapes]


def solver_objective(
    X, offset, weights, activation, output_activation, loss, compiled=False
):
    """Value and gradient as L-BFGS computes them, on rows less `offset`."""
    dtype, (n_features, n_components) = X.dtype.name, weights[0].shape
    architecture = Architecture(
        n_features, n_components, activation, output_activation, loss, "kl", dtype
    )
    program = full_batch_program(architecture, len(X))
    function, *_ = program.graphs[compiled]
    result = function(
        program.flatten(weights).astype(dtype),
        X - offset.astype(dtype),
        offset.astype(dtype),
        np.full(len(X), 1 / len(X), dtype),
        Coefficients(*np.array([RHO, BETA, WEIGHT_DECAY], dtype)),
    )
    gradient, terms = np.split(result.numpy(), [-N_TERMS])
    reconstruction, sparsity, _, decay = terms
    gradient = np.concatenate([part.ravel() for part in program.split(gradient)])
    return reconstruction + sparsity + decay, gradient


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("activation", "output_activation", "loss"), SETTINGS)
def test_solvers_minimise_the_objective_of_the_oracle(
    activation, output_activation, loss, dtype
):
    rng = np.random.default_rng(0)
    X = data_for(loss, rng)
    weights = random_weights(rng)
    expected = sum(oracle_terms(X, weights, activation, output_activation, loss))
    offset = X.mean(axis=0)
    centred = [weights[0], weights[1] + offset @ weights[0], *weights[2:]]
    value, _ = solver_objective(
        X.astype(dtype), offset, centred, activation, output_activation, loss
    )
    assert_allclose(value, expected, rtol=1e-10 if dtype == "float64" else 1e-5)


def transformer_with(weights, X, activation, output_activation, loss):
    """Return a transformer that holds the given weights, as if fitted."""
    W1, b1, W2, b2 = weights
    transformer = SparseAutoencoderTransformer(
        N_COMPONENTS,
        rho=RHO,
        beta=BETA,
        weight_decay=WEIGHT_DECAY,
        activation=activation,
        output_activation=output_activation,
        loss=loss,
        scale=False,
        solver="lbfgs",
        max_iter=1,
        tol=1e3,
        random_state=0,
    ).fit(X)
    transformer.coefs_ = [W1.astype(X.dtype), W2.astype(X.dtype)]
    transformer.intercepts_ = [b1.astype(X.dtype), b2.astype(X.dtype)]
    return transformer


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("activation", "output_activation", "loss"), SETTINGS)
def test_each_reported_term_is_that_of_the_oracle(
    activation, output_activation, loss, dtype
):
    rng = np.random.default_rng(1)
    X = data_for(loss, rng)
    weights = random_weights(rng)
    expected = oracle_terms(X, weights, activation, output_activation, loss)
    transformer = transformer_with(
        weights, X.astype(dtype), activation, output_activation, loss
    )
    objective = transformer.evaluate_objective(X.astype(dtype))
    rtol = 1e-10 if dtype == "float64" else 1e-5
    assert_allclose(
        [objective.reconstruction, objective.weight_decay, objective.sparsity],
        expected,
        rtol=rtol,
    )
    assert_allclose(objective.total, sum(expected), rtol=rtol)


def test_reported_terms_do_not_depend_on_the_number_of_chunks(monkeypatch):
    rng = np.random.default_rng(1)
    X = rng.uniform(0.05, 0.95, (N_SAMPLES, N_FEATURES))
    weights = random_weights(rng)
    transformer = transformer_with(weights, X, "sigmoid", "linear", "squared_error")
    whole = transformer.evaluate_objective(X)
    monkeypatch.setattr("sksparse_ae._network.reading.CHUNK_VALUES", 7 * N_FEATURES)
    assert_allclose(
        list(transformer.evaluate_objective(X).values()), list(whole.values()), 1e-12
    )


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize(
    ("output_activation", "loss"),
    [
        ("linear", "squared_error"),
        ("sigmoid", "squared_error"),
        ("tanh", "squared_error"),
        ("exponential", "squared_error"),
        ("sigmoid", "log_loss"),
        ("exponential", "poisson"),
        ("linear", "huber"),
    ],
)
def test_gradient_agrees_with_central_differences(activation, output_activation, loss):
    rng = np.random.default_rng(2)
    X = data_for(loss, rng, 15)
    offset = X.mean(axis=0)
    weights = random_weights(rng, n_features=15, n_components=6)
    weights[1][:] = weights[3][:] = 0  # the course's start
    settings = (activation, output_activation, loss, True)
    _, gradient = solver_objective(X, offset, weights, *settings)

    start = np.concatenate([w.ravel() for w in weights])
    ends = np.cumsum([w.size for w in weights])[:-1]
    numerical = np.empty_like(start)
    for i in range(start.size):
        values = []
        for step in (3e-5, -3e-5):
            moved = start.copy()
            moved[i] += step
            parts = [
                p.reshape(w.shape)
                for p, w in zip(np.split(moved, ends), weights, strict=True)
            ]
            values.append(solver_objective(X, offset, parts, *settings)[0])
        numerical[i] = (values[0] - values[1]) / 6e-5
    difference = np.linalg.norm(numerical - gradient)
    assert difference / np.linalg.norm(numerical + gradient) < 1e-9


def test_kl_is_ngs_on_the_open_interval():
    rho_hat = np.array([2**-20, 1e-3, 0.05, 0.3, 0.5, 0.999, 1 - 2**-20])
    for rho in (0.01, 0.05, 0.5, 0.9):
        assert_allclose(
            kl_divergence(rho, rho_hat, np),
            [
                log_loss([0, 1], [r, r], sample_weight=[1 - rho, rho])
                - log_loss([0, 1], [rho, rho], sample_weight=[1 - rho, rho])
                for r in rho_hat
            ],
            rtol=1e-7,
            atol=1e-15,
        )


@pytest.mark.parametrize("end", [KL_MARGIN, 1 - KL_MARGIN])
def test_kl_and_its_slope_are_continuous_where_the_tangent_begins(end):
    step = KL_MARGIN * 1e-3
    before, at, after = kl_divergence(0.05, end + step * np.array([-1, 0, 1]), np)
    assert_allclose([before, after], at, rtol=1e-3)
    assert_allclose(at - before, after - at, rtol=2e-3)


@pytest.mark.parametrize("rho_hat", [-2.0, 0.0, 1.0, 40.0])
def test_kl_outside_the_interval_is_finite_and_pulls_back(rho_hat):
    value, closer = kl_divergence(
        0.05, np.array([rho_hat, rho_hat + 0.01 * np.sign(0.5 - rho_hat)]), np
    )
    assert np.isfinite(value)
    assert closer < value


@pytest.mark.parametrize(
    ("activation", "bias"), [("sigmoid", 200.0), ("relu", 30.0), ("tanh", -200.0)]
)
def test_saturated_and_dead_units_have_a_finite_objective_and_gradient(
    activation, bias
):
    rng = np.random.default_rng(3)
    X = rng.uniform(0, 1, (N_SAMPLES, N_FEATURES)).astype(np.float32)
    weights = random_weights(rng)
    weights[1][:] = bias
    value, gradient = solver_objective(
        X, X.mean(axis=0), weights, activation, "linear", "squared_error"
    )
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    if activation == "relu":
        slope_of_encoder_bias = gradient[N_FEATURES * N_COMPONENTS :][:N_COMPONENTS]
        assert (slope_of_encoder_bias > 0).all()


def test_log_loss_is_finite_where_the_reconstruction_is_certain():
    rng = np.random.default_rng(4)
    X = rng.integers(0, 2, (N_SAMPLES, N_FEATURES)).astype(np.float32)
    weights = random_weights(rng)
    weights[3][:] = 300.0
    value, _ = solver_objective(
        X, np.zeros(N_FEATURES), weights, "sigmoid", "sigmoid", "log_loss"
    )
    assert_allclose(value, 300 * (1 - X).sum(axis=1).mean(), rtol=0.05)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3, 1e6])
def test_the_poisson_deviance_keeps_its_digits_for_counts_of_any_size(size, dtype):
    counts = np.random.default_rng(6).poisson(size, (50, 8)).astype(dtype)
    means = np.full_like(counts, 1.1 * size + np.sqrt(size))
    loss = LOSSES["poisson"].of_rows(counts, np.log(means), np)
    expected = 8 * mean_poisson_deviance(
        counts.ravel().astype(float), means.ravel().astype(float)
    )
    # In float32 the logarithm of the mean has seven digits, whatever the formula.
    rtol = 1e-9 if dtype == np.float64 else 2e-5
    assert_allclose(loss.mean(dtype=float), expected / 2, rtol=rtol)
    exact = LOSSES["poisson"].of_rows(counts, np.log(np.maximum(counts, 1e-30)), np)
    assert_allclose(exact, 0, atol=1e-6)


def test_the_poisson_loss_takes_rounding_below_zero_for_zero():
    counts = np.array([[0.0, 3.0]])
    rounded = counts - [[1e-7, 0.0]]
    logarithms = np.array([[-5.0, 1.0]])
    assert_array_equal(
        *(LOSSES["poisson"].of_rows(X, logarithms, np) for X in (counts, rounded))
    )


def test_objective_in_scaled_units_is_that_of_the_standardised_data():
    rng = np.random.default_rng(5)
    X = rng.normal(30, 7, (N_SAMPLES, N_FEATURES))
    few = {"n_components": 3, "solver": "lbfgs", "max_iter": 1, "tol": 1e3}
    scaled = SparseAutoencoderTransformer(**few, random_state=0).fit(X)
    standardised = (X - scaled.offset_) / scaled.scale_
    assert_allclose((standardised**2).sum(axis=1).mean(), N_FEATURES)
    plain = SparseAutoencoderTransformer(**few, scale=False, random_state=0)
    plain.fit(standardised)
    assert_allclose(scaled.transform(X), plain.transform(standardised), atol=1e-10)
    assert_allclose(
        list(scaled.evaluate_objective(X[:9]).values()),
        list(plain.evaluate_objective(standardised[:9]).values()),
    )


# ------------------------------------------------------------------------ beta = 0


def plain_objective(vector, X, decay):
    """A sigmoid autoencoder without a penalty on its codes: value and gradient."""
    n_weights = N_FEATURES * N_COMPONENTS
    W1, b1, W2, b2 = np.split(
        vector, [n_weights, n_weights + N_COMPONENTS, 2 * n_weights + N_COMPONENTS]
    )
    W1, W2 = W1.reshape(N_COMPONENTS, -1).T, W2.reshape(N_COMPONENTS, -1)
    codes = 1 / (1 + np.exp(-(X @ W1 + b1)))
    error = codes @ W2 + b2 - X
    value = np.sum(error**2) / len(X) / 2 + decay / 2 * np.sum(W1**2)
    d_input = error @ W2.T * codes * (1 - codes) / len(X)
    gradient = [
        (X.T @ d_input + decay * W1).T,
        d_input.sum(axis=0),
        codes.T @ error / len(X) + decay * W2,
        error.sum(axis=0) / len(X),
    ]
    flat = np.concatenate([part.ravel() for part in gradient])
    return value + decay / 2 * np.sum(W2**2), flat


def test_lbfgs_without_a_penalty_ends_at_a_minimum_of_a_plain_autoencoder():
    X = np.random.default_rng(6).normal(1, 1, (N_SAMPLES, N_FEATURES))
    transformer = SparseAutoencoderTransformer(
        N_COMPONENTS,
        beta=0,
        weight_decay=WEIGHT_DECAY,
        solver="lbfgs",
        scale=False,
        max_iter=5000,
        tol=1e-6,
        random_state=0,
    ).fit(X)
    (W1, W2), (b1, b2) = transformer.coefs_, transformer.intercepts_
    # The training takes centred rows: the biases take up the mean.
    mean = X.mean(axis=0)
    end = np.concatenate([W1.T.ravel(), b1 + mean @ W1, W2.ravel(), b2 - mean])
    value, gradient = plain_objective(end, X - mean, WEIGHT_DECAY)
    assert_allclose(value, transformer.objective_.total, rtol=1e-12)
    assert_allclose(value, transformer.loss_curve_[-1], rtol=1e-12)
    assert np.abs(gradient).max() < 1e-3
    further = minimize(
        plain_objective, end, args=(X - mean, WEIGHT_DECAY), jac=True, method="L-BFGS-B"
    )
    assert_allclose(further.fun, value, rtol=1e-5)


# The automatic rate goes by rho, which is where the units of the default start are.
@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "adam", "learning_rate": 0.01},
        {"solver": "sgd", "learning_rate": 0.01},
        {"solver": "lbfgs"},
    ],
    ids=lambda solver: solver["solver"],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_without_a_penalty_nothing_depends_on_rho(solver):
    X = np.random.default_rng(7).normal(size=(N_SAMPLES, N_FEATURES))
    one, other = (
        SparseAutoencoderTransformer(
            N_COMPONENTS,
            rho=rho,
            beta=0,
            weight_decay=WEIGHT_DECAY,
            init="uniform",
            max_iter=5,
            random_state=0,
            **solver,
        ).fit(X)
        for rho in (0.01, 0.6)
    )
    assert_array_equal(one.coefs_[0], other.coefs_[0])
    assert_array_equal(one.coefs_[1], other.coefs_[1])
    terms = one.objective_
    assert terms.sparsity == one.evaluate_objective(X).sparsity == 0
    assert terms.total == terms.reconstruction + terms.weight_decay
    assert one.loss_terms_["sparsity"] == [0] * 5
    assert one.loss_curve_ == other.loss_curve_
