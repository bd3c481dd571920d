"""The defaults end near the minimum, at any width and in a stream, or say so."""

import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_linnerud,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine.programs import even_batches
from sksparse_ae._network.coordinates import Coordinates, in_kernel_layout
from sksparse_ae._network.scaling import Moments, Scaling
from sksparse_ae._training.plan import make_plan
from sksparse_ae._training.settings import with_python_parameters

pytestmark = pytest.mark.slow

NAMES = {"digits": load_digits, "cancer": load_breast_cancer, "iris": load_iris}


def data_of(name):
    X = NAMES[name]().data
    return X if name == "digits" else StandardScaler().fit_transform(X)


def objective(X, **settings):
    estimator = SparseAutoencoderTransformer(random_state=0, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X).objective_.total


# ------------------------------------------------------------------- near the minimum


# What L-BFGS reaches in 2000 iterations; with 1000 units that takes two minutes.
@pytest.mark.parametrize(
    ("name", "settings", "reached"),
    [
        ("digits", {"n_components": 1000}, 2.153),
        ("cancer", {}, 1.111),
        ("iris", {"n_components": 25}, 0.2538),
        ("iris", {"n_components": 25, "activation": "tanh"}, None),
        ("cancer", {"solver": "sgd"}, 1.111),
        ("iris", {"n_components": 25, "solver": "sgd"}, 0.2538),
    ],
)
def test_the_defaults_end_within_a_twentieth_of_lbfgs(name, settings, reached):
    X = data_of(name)
    if reached is None:
        reached = objective(X, solver="lbfgs", max_iter=2000, tol=1e-6, **settings)
    # An error would be raised here for a warning, too: each says that it converged.
    ours = SparseAutoencoderTransformer(random_state=0, **settings).fit(X)
    assert ours.objective_.total < 1.05 * reached


@pytest.mark.parametrize(
    ("settings", "reached", "above"),
    [
        # Two steps an epoch; 1.3 % above, if an epoch has to gain as much as one of 57.
        ({"batch_size": 1000}, 8.538, 1.01),
        # At most one row of each batch has a unit on.
        ({"rho": 0.01, "activation": "tanh", "solver": "sgd"}, 7.507, 1.05),
    ],
)
def test_few_steps_and_rare_units_end_as_low(settings, reached, above):
    total = objective(load_digits().data, n_components=25, **settings)
    assert total < above * reached  # by L-BFGS in 2000 iterations


def test_a_batch_of_all_rows_ends_as_low():
    settings = {"n_components": 40, "activation": "tanh"}
    X = load_linnerud().data
    lbfgs = objective(X, solver="lbfgs", max_iter=2000, **settings)
    assert objective(X, **settings) < 1.02 * lbfgs  # 1.23 with a running mean


def thermometers_of_a_room():
    rng = np.random.default_rng(0)
    room = np.cumsum(rng.normal(size=1000))[:, np.newaxis]
    return 20 + 0.1 * room + 0.1 * rng.normal(size=(1000, 50))


def test_a_common_factor_does_not_make_the_training_swing():
    X = thermometers_of_a_room()
    ours = SparseAutoencoderTransformer(100, random_state=0).fit(X)
    curve = np.array(ours.loss_curve_)
    assert curve[-5:].mean() < 1.2 * curve.min()
    assert ours.objective_.total < 1.0  # 21.6 without following the weights
    assert ours.score(X) > 0.95


def test_one_direction_that_dominates_does_not_set_the_steps_of_sgd():
    X = thermometers_of_a_room()
    adam, sgd = (objective(X, n_components=100, solver=s) for s in ("adam", "sgd"))
    assert sgd < 1.2 * adam  # 46 times it, if all directions take the same steps


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_rate_that_begins_too_small_finds_its_size(solver):
    X = StandardScaler().fit_transform(load_iris().data)
    wide = {"n_components": 1000, "rho": 0.2, "activation": "relu"}
    lbfgs = objective(X, solver="lbfgs", max_iter=200, **wide)
    # At the rate that it begins with, "adam" ends 8 times as high.
    assert objective(X, solver=solver, max_iter=500, **wide) < 2 * lbfgs


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_sgd_survives_every_activation_on_small_data(activation):
    X = StandardScaler().fit_transform(np.random.RandomState(0).normal(size=(20, 3)))
    total = objective(
        X, n_components=5, solver="sgd", batch_size=7, activation=activation
    )
    assert total < 1.5  # half the squared norm of the rows, if nothing is learnt


# ----------------------------------------------------------- every row counts the same


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("n_rows", [257, 300])
def test_rows_that_are_left_over_do_no_harm(solver, n_rows):
    X = load_digits().data
    settings = {"n_components": 25, "solver": solver, "batch_size": 256, "max_iter": 60}
    even = objective(X[:256], **settings)
    assert objective(X[:n_rows], **settings) < 1.1 * even


@pytest.mark.parametrize(
    ("n_rows", "size"), [(1, 7), (7, 7), (8, 7), (97, 32), (96, 32)]
)
def test_batches_are_even_and_take_every_row_once(n_rows, size):
    n_steps, bounds = even_batches(tf.constant(n_rows), size)
    pairs = [tuple(map(int, bounds(number))) for number in range(int(n_steps))]
    taken = [row for start, n in pairs for row in range(start, start + n)]
    assert taken == list(range(n_rows))
    assert len(pairs) == math.ceil(n_rows / size)
    sizes = [n for _, n in pairs]
    assert max(sizes) - min(sizes) <= 1
    assert all(start + size <= len(pairs) * size for start, _ in pairs)


# ------------------------------------------------------------------------- coordinates


def coordinates_of(X, activation="sigmoid", may_drop=True):
    scaling = Scaling.from_moments(Moments.of(X), scale=True, linear_output=True)
    return scaling, Coordinates.along_axes(X, scaling, activation, may_drop=may_drop)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_coordinates_change_neither_the_network_nor_its_weight_decay(activation):
    X = load_digits().data
    scaling, coordinates = coordinates_of(X, activation, may_drop=False)
    rng = np.random.RandomState(0)
    weights = [rng.normal(size=s) for s in ((64, 9), (9,), (9, 64), (64,))]
    entered = coordinates.enter(weights)
    for left, given in zip(coordinates.leave(entered), weights, strict=True):
        assert_allclose(left, given, atol=1e-12)
    W1, b1, V2, b2 = in_kernel_layout(entered)
    assert_allclose(np.linalg.norm(W1), np.linalg.norm(weights[0]))
    W2 = V2 * coordinates.spread
    assert_allclose(np.linalg.norm(W2), np.linalg.norm(weights[2]))
    rows = scaling.standardize(X[:50])
    turned = rows @ coordinates.axes
    assert_allclose(turned @ W1 + b1, rows @ weights[0] + weights[1], atol=1e-12)
    codes = np.tanh(turned @ W1 + b1)
    output = ((codes - coordinates.low) @ V2 + b2) * coordinates.spread
    expected = codes @ weights[2] + weights[3]
    assert_allclose(output @ coordinates.axes.T, expected, atol=1e-12)


@pytest.fixture
def two_coordinates():
    """Coordinates along the axes of 100 digits, and along those of all."""
    X = load_digits().data
    return [coordinates_of(rows, may_drop=False)[1] for rows in (X[:100], X)]


def test_gradients_go_with_the_weights_to_other_coordinates(two_coordinates):
    few, all_axes = two_coordinates
    rng = np.random.RandomState(0)
    change = [rng.normal(size=shape) for shape in ((64, 5), 5, (5, 64), 64)]
    before, after = few.enter(change), all_axes.enter(change)
    gradients = [rng.normal(size=array.shape) for array in before]
    turned = all_axes.turned_gradients(gradients, few)

    def falls(gradients, change):
        pairs = zip(gradients, change, strict=True)
        return sum(np.vdot(gradient, moved) for gradient, moved in pairs)

    assert falls(turned, after) == pytest.approx(falls(gradients, before))


def test_squares_of_gradients_go_along_where_axes_change_places(two_coordinates):
    few, _ = two_coordinates
    order = np.random.RandomState(0).permutation(64)
    others = few._replace(axes=-few.axes[:, order], spread=few.spread[order] + 1)
    gradients = [np.random.RandomState(1).normal(size=s) for s in ((5, 64), 5, (5, 64))]
    gradients.append(gradients[0][0])
    for turned, square in zip(
        others.turned_gradients(gradients, few),
        others.turned_squares([np.square(g) for g in gradients], few),
        strict=True,
    ):
        assert_allclose(square, np.square(turned), atol=1e-12)


def test_steps_by_the_gradient_are_divided_by_the_variance():
    X = load_digits().data
    scaling, along_axes = coordinates_of(X, may_drop=False)
    rows = scaling.standardize(X)
    for coordinates in (along_axes, Coordinates.of_features("sigmoid")):
        own = coordinates.for_gradients(rows)
        variances = np.square(coordinates.turned(rows)).mean(axis=0)
        assert variances.max() > 1 > variances.min()
        assert_allclose(own.encoder_share, 1 / np.maximum(variances, 1.0))
        # The weights stay in the units of the training.
        W1, *_ = own.enter([np.eye(64), np.zeros(64), np.eye(64), np.zeros(64)])
        expected = np.eye(64) if own.axes is None else own.axes
        assert_allclose(W1, expected, atol=1e-12)


def test_a_rate_that_is_given_to_sgd_is_that_of_plain_gradient_descent():
    X = load_digits().data[:200]
    plans = [
        make_plan(
            with_python_parameters(
                SparseAutoencoderTransformer(solver="sgd", learning_rate=rate)
            ),
            X,
            None,
            partial=False,
        ).minibatches
        for rate in (0.01, "auto")
    ]
    assert [plan.optimizer.build().momentum for plan in plans] == [0.9, 0.98]
    given, automatic = (plan.coordinates for plan in plans)
    assert given == Coordinates.of_features("sigmoid")
    assert automatic.axes is not None
    assert automatic.encoder_share.min() < 1


@pytest.mark.parametrize(
    ("settings", "momentum"),
    [
        ({}, 0.98),
        ({"sparsity": "topk", "activation": "relu"}, 0.98),
        ({"batch_size": 1000}, 0.98),
        ({"beta": 0.0}, 0.9),
        ({"early_stopping": True}, 0.9),
        ({"warm_start": True}, 0.9),
    ],
)
def test_sgd_has_the_momentum_that_its_units_bear(settings, momentum):
    estimator = SparseAutoencoderTransformer(solver="sgd", **settings)
    X = load_digits().data[:200]
    plan = make_plan(with_python_parameters(estimator), X, None, partial=False)
    assert plan.minibatches.optimizer.build().momentum == pytest.approx(momentum)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stream_goes_on_where_its_rate_is_given_later(solver):
    X = load_digits().data[:200]
    stream = SparseAutoencoderTransformer(5, solver=solver, random_state=0)
    stream.partial_fit(X).set_params(learning_rate=0.01).partial_fit(X)
    assert stream._continuation.n_rows == 400
    # The state of another optimizer is of no use.
    stream.set_params(solver=keras.optimizers.RMSprop(0.01)).partial_fit(X)
    assert stream._continuation.n_rows == 200


@pytest.mark.parametrize("begins", ["partial_fit", "fit"])
def test_a_first_piece_that_varies_elsewhere_does_not_upset_sgd(begins):
    X = thermometers_of_a_room()[np.random.RandomState(0).permutation(1000)]
    first = np.random.RandomState(1).normal(20, 1, size=(20, 50))
    sgd = SparseAutoencoderTransformer(50, solver="sgd", max_iter=30, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(sgd, begins)(first)
        for _ in range(6):
            for piece in np.array_split(X, 5):
                sgd.partial_fit(piece)
    assert sgd.score(X) > 0.9


def test_axes_that_no_row_reaches_are_left_out():
    rng = np.random.RandomState(0)
    few = rng.normal(size=(30, 2000))
    scaling, coordinates = coordinates_of(few)
    assert coordinates.n_axes(2000) == 29  # one is the mean
    rows = scaling.standardize(few)
    axes = coordinates.axes
    assert_allclose(axes.T @ axes, np.eye(29), atol=1e-9)
    assert_allclose(rows @ axes @ axes.T, rows, atol=1e-9)
    _, stays = coordinates_of(few, may_drop=False)
    assert stays.axes is None


def test_wide_data_of_few_rows_are_trained_in_the_space_of_the_rows():
    X = np.random.RandomState(0).normal(size=(40, 5000))
    fitted = SparseAutoencoderTransformer(10, max_iter=30, tol=1e-3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted.fit(X)
    assert fitted.coefs_[0].shape == (5000, 10)
    assert fitted.evaluate_objective(X).total == pytest.approx(fitted.objective_.total)


@pytest.mark.parametrize("scale", ["auto", "whiten", False])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_lbfgs_finds_the_same_minimum_in_the_space_of_few_rows(
    activation, scale, monkeypatch
):
    rng = np.random.RandomState(0)
    X = 1 + rng.normal(size=(30, 3)) @ rng.normal(size=(3, 130))
    weights = rng.randint(0, 3, 30)
    lbfgs = SparseAutoencoderTransformer(
        2,
        beta=0.1,
        weight_decay=1.0,
        activation=activation,
        scale=scale,
        solver="lbfgs",
        max_iter=1000,
        tol=1e-6,
        random_state=0,
    )
    fits, evaluated = [], []
    for few in (1 / 4, 0):
        monkeypatch.setattr(sksparse_ae._network.coordinates, "FEW_ROWS", few)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fits.append(clone(lbfgs).fit(X, sample_weight=weights))
        evaluated.append(fits[-1].evaluate_objective(X, sample_weight=weights).total)
    in_rows, in_features = fits
    assert in_rows.coefs_[0].shape == (130, 2)
    assert_allclose(evaluated, in_features.objective_.total, rtol=1e-7)
    assert_allclose(in_rows.loss_curve_[-1], in_rows.objective_.total, rtol=1e-9)


def test_space_of_few_rows_holds_the_rows():
    X = np.random.RandomState(0).normal(size=(8, 50))
    scaling = Scaling.from_moments(Moments.of(X), scale="auto", linear_output=True)
    coordinates, rows = Coordinates.of_few_rows(X, scaling)
    axes = coordinates.axes
    assert_allclose(axes.T @ axes, np.eye(8), atol=1e-12)
    assert_allclose(rows @ axes.T, scaling.standardize(X), atol=1e-12)
    # Weights in their span come back; what is orthogonal to it is left out.
    W1, W2 = axes @ np.ones((8, 3)), np.ones((3, 8)) @ axes.T
    weights = [W1, np.arange(3.0), W2, axes @ np.ones(8)]
    for own, left in zip(
        weights, coordinates.leave(coordinates.enter(weights)), strict=True
    ):
        assert_allclose(left, own, atol=1e-12)


# ---------------------------------------------------------------------------- averages


def test_max_iter_is_a_limit_and_no_plan(digits):
    settings = {"n_components": 10, "random_state": 0, "tol": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        short, long = (
            SparseAutoencoderTransformer(max_iter=n, **settings).fit(digits)
            for n in (20, 40)
        )
    assert_allclose(short.loss_curve_, long.loss_curve_[:20], rtol=1e-6)


def test_averaged_weights_lie_below_the_steps():
    X = load_digits().data
    fitted = SparseAutoencoderTransformer(random_state=0).fit(X)
    assert fitted.objective_.total < min(fitted.loss_curve_)


# ------------------------------------------------------------------------ in a stream


@pytest.fixture(scope="module")
def shuffled():
    """All digits in random order, and the objective of a fit of eight epochs."""
    X = load_digits().data[np.random.RandomState(1).permutation(1797)]
    return X, objective(X, n_components=100, max_iter=8)


@pytest.mark.parametrize("size", [100, 500, 1797])
def test_passes_of_partial_fit_end_where_fit_ends(shuffled, size):
    passes_end_where_fit_ends(*shuffled, size)


@pytest.mark.parametrize("size", [8, 100])
def test_passes_in_small_pieces_end_where_fit_ends(size):
    X = data_of("cancer")
    passes_end_where_fit_ends(X, objective(X, n_components=100, max_iter=8), size)


def passes_end_where_fit_ends(X, whole, size):
    stream = SparseAutoencoderTransformer(100, random_state=0)
    for _ in range(8):
        for start in range(0, len(X), size):
            stream.partial_fit(X[start : start + size])
    assert stream.evaluate_objective(X).total < 1.02 * whole
