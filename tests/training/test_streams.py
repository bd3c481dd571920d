"""What does not fit in memory, or comes in another precision, is trained on alike."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine import chunking
from sksparse_ae._network import reading

# Trainings that are short on purpose stop at max_iter and explain little.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]


def assert_same_weights(one, other, tolerance):
    """Compare arrays, each to a share of its largest value."""
    for a, b in zip(
        one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True
    ):
        assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize(
    "settings",
    [{"learning_rate": 0.01, "batch_size": 8}, {"solver": "lbfgs"}],
    ids=["adam", "lbfgs"],
)
def test_early_stopping_of_a_stream_keeps_the_best_weights_for_its_last_rows(
    tmp_path, monkeypatch, settings
):
    X = np.random.default_rng(0).normal(size=(60, 30))
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    # Room for 20 rows, of the 45 that are trained on.
    monkeypatch.setattr(reading, "BLOCK_BYTES", 4 * 30 * 20)
    whole = SparseAutoencoderTransformer(60, weight_decay=0, random_state=0, **settings)
    stopped = clone(whole).set_params(
        early_stopping=True, validation_fraction=0.25, n_iter_no_change=5
    )
    stopped.fit(mapped)
    curve = stopped.validation_loss_curve_
    assert len(curve) == stopped.n_iter_ < 200
    assert curve[-1] > min(curve)
    assert_allclose(stopped.offset_, X[:45].mean(axis=0))
    assert_allclose(stopped.evaluate_objective(X[45:]).total, min(curve), rtol=1e-5)
    best = int(np.argmin(curve)) + 1
    assert best > 1
    whole.set_params(max_iter=best).fit(mapped[:45])
    assert_same_weights(stopped, whole, 1e-5)


@pytest.mark.parametrize(
    ("activation", "output_activation", "loss"),
    [
        ("sigmoid", "linear", "squared_error"),
        ("sigmoid", "sigmoid", "squared_error"),
        ("sigmoid", "sigmoid", "log_loss"),
        ("relu", "linear", "squared_error"),
        ("relu", "relu", "squared_error"),
        ("relu", "sigmoid", "log_loss"),
        ("sigmoid", "exponential", "poisson"),
        ("tanh", "linear", "huber"),
    ],
)
def test_lbfgs_by_chunks_of_rows_is_lbfgs_for_every_objective(
    digits, monkeypatch, activation, output_activation, loss
):
    X = digits[:, 20:40] / 16
    few = SparseAutoencoderTransformer(
        5,
        activation=activation,
        output_activation=output_activation,
        loss=loss,
        solver="lbfgs",
        max_iter=10,
        random_state=0,
    )
    whole = clone(few).fit(X)
    # 300 rows in four chunks of 70 and one of 20, which is padded.
    monkeypatch.setattr(chunking, "CHUNK_BYTES", 8 * 20 * 70)
    chunks = few.fit(X)
    assert whole.n_iter_ == 10
    for name, curve in whole.loss_terms_.items():
        assert_allclose(chunks.loss_terms_[name], curve, rtol=1e-8)
    assert_same_weights(chunks, whole, 1e-8)


@pytest.mark.parametrize(
    "solver",
    ["adam", "sgd", "lbfgs", keras.optimizers.RMSprop(1e-3)],
    ids=["adam", "sgd", "lbfgs", "optimizer"],
)
def test_float32_and_float64_rows_train_alike(digits, solver):
    # Float32 holds whole numbers exactly: the rows are the same, and only what is
    # computed from them is rounded.
    few = SparseAutoencoderTransformer(5, solver=solver, max_iter=5, random_state=0)
    double = clone(few).fit(digits)
    single = clone(few).fit(digits.astype(np.float32))
    assert (double.coefs_[0].dtype, single.coefs_[0].dtype) == (np.float64, np.float32)
    assert_allclose(single.loss_curve_, double.loss_curve_, rtol=1e-5)
    assert_allclose(single.rho_hat_, double.rho_hat_, rtol=1e-4)
    assert_same_weights(single, double, 1e-4)
