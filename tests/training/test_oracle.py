"""Epochs of mini-batches are those of an oracle that shares no code with the package.

It takes plain steps, in NumPy and float64, on centred rows.
"""

import math

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from sksparse_ae import SparseAutoencoderTransformer

# Trainings that are short on purpose stop at max_iter and explain little.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]

RHO, BETA, WEIGHT_DECAY, RATE = 0.1, 3.0, 1e-2, 0.02

# The activation, its slope from its value, and the ends of the interval that rho_hat
# is measured on; the decoder reads codes above the lower one.
ACTIVATIONS = {
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda a: a * (1 - a), 0, 1),
    "tanh": (np.tanh, lambda a: 1 - a**2, -1, 1),
    "relu": (lambda z: np.maximum(z, 0), lambda a: (a > 0) * 1.0, 0, 1),
}


def oracle_epoch(rows, weights, rho_hat, activation, batch_size, estimate):
    """Step through rows in their order; return the curve's value, weights, rho_hat."""
    forward, slope, low, high = ACTIVATIONS[activation]
    W1, b1, W2, b2 = weights
    data_terms = 0.0
    for X in np.array_split(rows, math.ceil(len(rows) / batch_size)):
        n, part = len(X), len(X) / batch_size
        missing = np.isnan(X)
        X = np.where(missing, 0, X)
        n_observed = np.maximum(X.shape[1] - missing.sum(axis=1, keepdims=True), 1)
        seen = X * X.shape[1] / n_observed
        codes = forward(seen @ W1 + b1)
        own = (codes.mean(axis=0) - low) / (high - low)
        at = own
        # A batch of all rows knows their mean.
        if estimate == "running" and n < len(rows):
            # 300 samples, but no more than half of it is of one batch; and nowhere
            # nearer to 0 and 1 than a 64th of the way from rho.
            share = part * min(batch_size / 300, 1 / 2)
            at = (1 - share) * rho_hat + share * own
            at = np.clip(at, RHO / 64, 1 - (1 - RHO) / 64)
        error = np.where(missing, 0, (codes - low) @ W2 + b2 - X)
        kl = RHO * np.log(RHO / at) + (1 - RHO) * np.log((1 - RHO) / (1 - at))
        data_terms += 0.5 * np.sum(error**2) + n * BETA * kl.sum()

        d_kl = BETA * (-RHO / at + (1 - RHO) / (1 - at)) / (high - low)
        d_input = (error @ W2.T + d_kl) * slope(codes) / n
        d_W1, d_b1 = seen.T @ d_input + WEIGHT_DECAY * W1, d_input.sum(axis=0)
        d_W2 = (codes - low).T @ error / n + WEIGHT_DECAY * W2
        d_b2 = error.sum(axis=0) / n
        W1, b1 = W1 - RATE * part * d_W1, b1 - RATE * part * d_b1
        W2, b2 = W2 - RATE * part * d_W2, b2 - RATE * part * d_b2
        after = (forward(seen @ W1 + b1).mean(axis=0) - low) / (high - low)
        rho_hat = at + after - own
    decay = WEIGHT_DECAY / 2 * (np.sum(W1**2) + np.sum(W2**2))
    return data_terms / len(rows) + decay, (W1, b1, W2, b2), rho_hat


def oracle_training(start, X, n_epochs, **settings):
    """Return the curve, and weights and biases on the data as given."""
    offset, (_, _, low, _) = start.offset_, ACTIVATIONS[start.activation]
    (W1, W2), (b1, b2) = start.coefs_, start.intercepts_
    # On rows less their offset, and for codes above the lower end.
    weights = W1, b1 + offset @ W1, W2, b2 - offset + low * W2.sum(axis=0)
    curve, rho_hat = [], start.rho_hat_
    for _ in range(n_epochs):
        value, weights, rho_hat = oracle_epoch(
            X - offset, weights, rho_hat, start.activation, **settings
        )
        curve.append(value)
    W1, b1, W2, b2 = weights
    b1, b2 = b1 - offset @ W1, b2 + offset - low * W2.sum(axis=0)
    return curve, [W1, W2], [b1, b2]


@pytest.mark.parametrize("share_missing", [0, 0.3])
@pytest.mark.parametrize(
    ("activation", "estimate", "n_rows", "batch_size"),
    [
        ("sigmoid", "running", 50, 16),
        ("tanh", "running", 50, 16),
        ("relu", "running", 50, 16),
        ("sigmoid", "batch", 50, 16),
        # Batches that are larger than what the running mean averages over.
        ("sigmoid", "running", 700, 400),
        ("tanh", "running", 602, 301),
        # Batches of all rows.
        ("tanh", "running", 60, 60),
        ("relu", "running", 30, 30),
    ],
)
def test_steps_are_those_of_the_oracle(
    activation, estimate, n_rows, batch_size, share_missing
):
    rng = np.random.RandomState(0)
    earlier, X = rng.normal(1, 1, (40, 4)), rng.normal(1.5, 1, (n_rows, 4))
    X[rng.random_sample(X.shape) < share_missing] = np.nan
    # Other rows, so that the running mean begins elsewhere than in the batches.
    transformer = SparseAutoencoderTransformer(
        3,
        rho=RHO,
        beta=BETA,
        weight_decay=WEIGHT_DECAY,
        activation=activation,
        scale=False,
        solver="lbfgs",
        max_iter=3,
        random_state=0,
    ).fit(earlier)
    expected = oracle_training(
        transformer, X, 3, batch_size=batch_size, estimate=estimate
    )
    transformer.set_params(
        solver=keras.optimizers.SGD(RATE),
        rho_hat=estimate,
        batch_size=batch_size,
        shuffle=False,
        warm_start=True,
    ).fit(X)
    curve, coefs, intercepts = expected
    assert_allclose(transformer.loss_curve_[3:], curve, rtol=1e-5)
    for found, wanted in zip(
        transformer.coefs_ + transformer.intercepts_, coefs + intercepts, strict=True
    ):
        assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
