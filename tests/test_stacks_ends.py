"""Fine-tuning that ends before its time gives the best of what it has reached."""

import io
import re
import sys

import numpy as np
import pytest
from numpy.random import RandomState
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.stacks import fine_tune


@pytest.fixture(scope="module")
def data():
    """Few digits, of which a fifth bear another's label: they are soon overfitted."""
    X, y = load_digits(n_class=4, return_X_y=True)
    X, y, rng = X[:200], y[:200].copy(), RandomState(0)
    wrong = rng.random_sample(200) < 0.2
    y[wrong] = rng.randint(4, size=wrong.sum())
    return X, y


@pytest.fixture(scope="module")
def stack(data):
    """A fitted stack; not to be changed."""
    autoencoder = SparseAutoencoderTransformer(
        20, solver="lbfgs", max_iter=200, tol=0.1, random_state=0
    )
    return make_pipeline(autoencoder, LogisticRegression(max_iter=500)).fit(*data)


OVERFITTING = {"learning_rate": 0.01, "weight_decay": 0, "random_state": 0}
HELD_OUT = {"early_stopping": True, "validation_fraction": 0.3}


def loss_on_held_out(tuned, X, y):
    """Cross-entropy of the samples of a stratified split by the same seed."""
    _, held_out = train_test_split(
        np.arange(len(y)), test_size=0.3, stratify=y, random_state=RandomState(0)
    )
    return log_loss(y[held_out], tuned.predict_proba(X[held_out]))


def test_early_stopping_returns_weights_from_before_the_rise(stack, data):
    tuned = fine_tune(stack, *data, max_iter=200, **OVERFITTING, **HELD_OUT)
    curve = tuned.fine_tuning_.validation_loss_curve
    assert tuned.fine_tuning_.n_iter < 200
    assert min(curve) < curve[0]
    assert curve[-1] > 1.05 * min(curve)
    assert loss_on_held_out(tuned, *data) == pytest.approx(min(curve), rel=1e-4)


class Interrupting(io.StringIO):
    """A standard error on which Ctrl-C comes, once, when an epoch is shown."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.is_due = epoch, True

    def write(self, text):
        shown = re.search(r"epoch (\d+)/", text)
        if self.is_due and shown and int(shown[1]) >= self.epoch:
            self.is_due = False
            raise KeyboardInterrupt
        return super().write(text)


def interrupted(monkeypatch, stack, data, epoch, **settings):
    """Return the outcome of a fine-tuning that is interrupted from an epoch on."""
    monkeypatch.setattr(sys, "stderr", Interrupting(epoch))
    with pytest.warns(UserWarning, match="interrupted by user"):
        tuned = fine_tune(
            stack,
            *data,
            max_iter=100_000,
            tol=0,
            n_iter_no_change=100_000,
            verbose=1,
            **OVERFITTING,
            **settings,
        )
    assert epoch <= tuned.fine_tuning_.n_iter < 100_000
    assert len(tuned.fine_tuning_.loss_curve) == tuned.fine_tuning_.n_iter
    return tuned


def test_ctrl_c_with_early_stopping_keeps_the_best_weights_so_far(
    stack, data, monkeypatch
):
    before = stack[0].coefs_[0].copy()
    tuned = interrupted(monkeypatch, stack, data, 60, **HELD_OUT)
    curve = tuned.fine_tuning_.validation_loss_curve
    assert len(curve) == tuned.fine_tuning_.n_iter
    assert curve[-1] > 1.05 * min(curve)
    assert loss_on_held_out(tuned, *data) == pytest.approx(min(curve), rel=1e-4)
    assert_array_equal(stack[0].coefs_[0], before)


def test_ctrl_c_keeps_what_was_reached(stack, data, monkeypatch):
    X, y = data
    tuned = interrupted(monkeypatch, stack, data, 20)
    curve = tuned.fine_tuning_.loss_curve
    classifier = tuned[-1]
    l2 = np.sum(classifier.coef_**2) / (2 * classifier.C * len(y))
    reached = log_loss(y, tuned.predict_proba(X)) + l2
    assert curve[-1] < 0.9 * curve[0]
    # The curve is of the mini-batches' objectives, while the weights move.
    assert reached == pytest.approx(curve[-1], rel=0.1)
