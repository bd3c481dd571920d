"""The defaults end near the minimum, at any width and in a stream, or say so."""

import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine.programs import even_batches, values_of
from sksparse_ae._network.coordinates import Coordinates, in_kernel_layout
from sksparse_ae._network.scaling import Moments, Scaling
from sksparse_ae._objective.objective import Losses
from sksparse_ae._training.monitor import Monitor
from sksparse_ae._training.plan import make_plan
from sksparse_ae._training.settings import with_python_parameters
from sksparse_ae.exceptions import UninformativeUnitsWarning

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


def test_a_stream_turns_to_the_axes_of_its_rows_until_there_are_enough(
    shuffled, monkeypatch
):
    X, _ = shuffled
    monkeypatch.setattr(sksparse_ae._network.coordinates, "AXES_ROWS", 300)
    stream = SparseAutoencoderTransformer(10, random_state=0)
    of_calls = []
    for start in range(0, 500, 50):
        stream.partial_fit(X[start : start + 50])
        of_calls.append(stream._continuation)
    axes = [past.axes for past in of_calls]
    turned = [
        after * 50 + 50
        for after in range(1, 10)
        if not np.array_equal(axes[after], axes[after - 1])
    ]
    # The rows have passed a power of two, or are enough.
    assert turned == [100, 150, 300]
    assert [past.covariance is None for past in of_calls] == 6 * [False] + 4 * [True]
    _, of_rows = coordinates_of(X[:300], may_drop=False)
    along = np.abs(np.einsum("ij,ij->j", axes[-1], of_rows.axes))
    assert_allclose(along[-20:], 1, atol=1e-4)


def test_a_stream_counts_its_rows_whatever_its_batches(shuffled):
    X, _ = shuffled
    stream = SparseAutoencoderTransformer(10, random_state=0)
    for _ in range(5):
        stream.partial_fit(X)
    past = stream._continuation
    assert past.n_rows == 5 * len(X)
    # Its batches have grown.
    assert past.n_batches > 1.2 * past.n_rows / 64


def first_plan(X, **settings):
    estimator = SparseAutoencoderTransformer(10, random_state=0, **settings)
    return make_plan(with_python_parameters(estimator), X, None, partial=True)


@pytest.mark.parametrize(
    ("settings", "whole"),
    [
        ({}, 32),
        ({"batch_size": 64}, 64),
        # However large a batch may be, 128 rows take the whole rate.
        ({"batch_size": 10**6}, 128),
        ({"solver": "sgd"}, 1),
        ({"learning_rate": 0.01}, 1),
    ],
)
def test_few_rows_take_short_steps_at_an_automatic_rate(digits, settings, whole):
    minibatches = first_plan(digits[:100], **settings).minibatches
    assert minibatches.whole == whole


def test_a_short_batch_takes_the_root_of_its_share_of_the_rate(engine_of):
    weights = [np.zeros((3, 2)), np.ones(2), np.zeros((2, 3)), np.zeros(3)]
    moves = []
    for whole in (1, 50, 200):  # the batch has 50 rows
        engine = engine_of("adam", weights)
        engine._training = engine._training._replace(whole=whole)
        engine.epoch([0.1])
        before, after = weights[1], values_of(engine._run.weights)[1]
        moves.append(np.abs(after - before).max())
    assert moves[0] == moves[1] > 0
    assert moves[2] == pytest.approx(moves[0] / 2, rel=1e-5)


def test_the_rate_of_a_stream_is_lower_along_the_axes_of_few_rows(digits):
    rates = [
        first_plan(digits[:200], corruption=corruption).rate.rate
        for corruption in (0.0, 0.1)
    ]
    fitted = [
        make_plan(
            with_python_parameters(
                SparseAutoencoderTransformer(
                    10, random_state=0, corruption=corruption, batch_size=32
                )
            ),
            digits[:200],
            None,
            partial=False,
        ).rate.rate
        for corruption in (0.0, 0.1)
    ]
    assert_allclose(rates, [0.75 * fitted[0], fitted[1]], rtol=1e-6)


def test_moments_of_parts_are_those_of_the_whole(digits):
    X = digits + 100
    joined = Moments.of(X[:70]).joined_with(Moments.of(X[70:]))
    whole = Moments.of(X)
    assert_allclose(joined.offset, whole.offset)
    assert joined.deviation == pytest.approx(whole.deviation)
    assert joined.n_samples == 300


def test_a_first_file_of_another_scale_is_made_good():
    X = load_digits().data
    X = X[np.random.RandomState(1).permutation(1797)]
    for factor in (0.1, 0.0):
        stream = SparseAutoencoderTransformer(50, random_state=0)
        stream.partial_fit(factor * X[:400])
        for _ in range(10):
            stream.partial_fit(X[400:])
        assert stream.score(X[400:]) > 0.85
    assert stream.scale_ == pytest.approx(Moments.of(X).deviation, rel=0.1)


def test_rows_far_from_all_before_are_named(digits):
    stream = SparseAutoencoderTransformer(10, random_state=0).partial_fit(digits)
    scale = stream.scale_
    with pytest.warns(UserWarning, match="in the units of those. Scale all parts"):
        stream.partial_fit(1e4 * digits[:1])
    assert stream.scale_ == scale
    with pytest.warns(UserWarning, match="training starts afresh. Scale all parts"):
        stream.partial_fit(100 * digits[:150])
    assert stream.scale_ > 10 * scale


def test_the_scale_of_a_stream_is_that_of_all_rows_so_far(digits):
    stream = SparseAutoencoderTransformer(10, random_state=0)
    stream.partial_fit(digits[:100]).partial_fit(1.5 * digits[100:])
    moments = Moments.of(np.concatenate([digits[:100], 1.5 * digits[100:]]))
    assert_allclose(stream.offset_, moments.offset)
    assert stream.scale_ == pytest.approx(moments.deviation)


# --------------------------------------------------------------- what the end is called


def watched(objectives, n_iter_no_change=2, tol=1e-2, **settings):
    """Return a monitor after looks at averaged weights of these objectives.

    The weights are the objective that they have.
    """
    monitor = Monitor(
        tol=tol,
        n_iter_no_change=n_iter_no_change,
        look=lambda weights: weights[0],
        **settings,
    )
    look_on(monitor, objectives[:1], n_epochs=1)
    look_on(monitor, objectives[1:], n_epochs=n_iter_no_change + 1)
    return monitor


def look_on(monitor, objectives, n_epochs=3):
    """Let so many epochs lead to each of these objectives, at which it looks."""
    for objective in objectives:
        for _ in range(n_epochs):
            monitor.update(Losses(1.0, 0.0, 1.0, 0.0), lambda o=objective: [o])


def test_a_fall_is_no_stall_a_level_is_one_and_a_rise_is_told_apart():
    falls = watched([10.0, 9.0, 8.0])
    assert not falls.stalled
    level = watched([10.0, 9.0, 8.9])
    assert level.stalled
    assert not level.rises
    rises = watched([10.0, 5.0, 6.0])
    assert rises.stalled
    assert rises.rises
    rises.be_patient()
    assert not rises.stalled


def test_a_training_may_fall_again_after_a_rise_and_ends_where_it_was_lowest():
    monitor = watched([10.0, 5.0, 8.0])
    assert monitor.rises
    assert monitor.best_weights == [5.0]
    monitor.be_patient()
    look_on(monitor, [7.0, 6.0])
    # Above the lowest, but on its way: no reason for smaller steps.
    assert not monitor.rises
    assert not monitor.stalled
    assert monitor.best_weights == [5.0]
    look_on(monitor, [6.0])
    assert monitor.stalled
    assert monitor.has_risen
    look_on(monitor, [4.0])
    assert not monitor.has_risen
    assert monitor.best_weights is None  # the latest


def test_a_training_that_goes_back_has_to_fall_below_where_it_was_lowest():
    monitor = watched([10.0, 5.0, 8.0])
    monitor.go_on()
    assert monitor.goes_back
    assert not monitor.stalled
    assert not monitor.has_risen
    look_on(monitor, [5.5])
    assert not monitor.goes_back
    assert not monitor.is_lowest
    assert monitor.rises
    assert not monitor.stalled
    look_on(monitor, [4.0])
    assert monitor.is_lowest
    assert monitor.gains_much
    # From where it is lowest it goes on.
    look_on(monitor, [3.99])
    assert monitor.stalled
    assert not monitor.gains_much
    monitor.go_on()
    assert not monitor.stalled
    assert not monitor.goes_back
    # To come down for long from above the lowest is no gain.
    monitor.go_back()
    look_on(monitor, [6.0, 5.0])
    assert monitor.rises
    assert monitor.stalled


def test_what_comes_after_the_last_lowering_of_the_rate_may_be_above_the_lowest():
    monitor = watched([10.0, 5.0, 8.0])
    monitor.be_patient()
    monitor.conclude(lambda: [8.0])
    assert monitor.has_risen
    assert monitor.best_weights == [5.0]


def test_an_epoch_of_few_steps_has_to_gain_less_to_go_on():
    # By two thirds of the hundredth that is asked for.
    slow = 0.98 ** np.arange(5)
    assert watched(slow).stalled
    assert watched(slow, n_steps=20).stalled
    assert not watched(slow, n_steps=10).stalled


def out_of_epochs(monitor, objective, n_epochs):
    """Let a training end so many epochs after a look; return what is said of it."""
    for _ in range(n_epochs):
        monitor.update(Losses(1.0, 0.0, 1.0, 0.0), lambda: [objective])
    monitor.conclude(lambda: [objective])
    return monitor.reason(SparseAutoencoderTransformer(random_state=0))


def test_a_single_epoch_at_the_end_is_no_level():
    # It is held against the look before the latest one.
    falls = watched([10.0, 8.0])
    assert "still changing by -6.2 % per epoch" in out_of_epochs(falls, 8.0, 1)
    assert not falls.stalled
    only_one = watched([8.0])
    out_of_epochs(only_one, 8.0, 2)
    assert not only_one.stalled
    level = watched([10.0, 8.0, 7.7])
    assert not level.stalled
    out_of_epochs(level, 7.7, 2)
    assert level.stalled


def test_a_rate_that_was_not_tried_is_no_end():
    monitor = watched([10.0, 8.0, 8.0])
    assert monitor.stalled
    monitor.go_on()
    said = out_of_epochs(monitor, 8.0, 2)
    assert "a lower learning rate was still to be tried. Raise max_iter to" in said
    assert not monitor.stalled
    look_on(monitor, [8.0])
    assert monitor.stalled


def test_a_rise_that_max_iter_cuts_short_says_so():
    said = out_of_epochs(watched([10.0, 8.0]), 9.0, 2)
    assert "before it converged: the objective had just risen, from 8 to 9. The" in said
    assert "Raise max_iter to 2000." in said


def test_what_falls_slowly_for_long_is_no_stall():
    # An epoch gains less than the hundredth that is asked for in the first 300 epochs.
    n, slow = 200, 0.98
    assert watched(slow ** np.arange(n // 3)).stalled
    assert not watched(slow ** np.arange(3 * n)).stalled
    assert watched(0.9999 ** np.arange(3 * n)).stalled


def test_a_rise_is_never_called_converged():
    X = load_digits().data
    steep = SparseAutoencoderTransformer(
        100, learning_rate=0.3, max_iter=60, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="The objective rose, from .* Lower"):
        steep.fit(X)


def test_the_warning_of_max_iter_names_a_value_to_type(digits):
    with pytest.warns(ConvergenceWarning, match="Raise max_iter to 10, or raise tol="):
        SparseAutoencoderTransformer(5, max_iter=5, random_state=0).fit(digits)


@pytest.mark.parametrize(
    ("settings", "distance"),
    [
        ({}, r"the objective was still changing by -[\d.]+ % per epoch"),
        (
            {"early_stopping": True},
            r"the objective on the rows held out was still changing by -[\d.]+ % per",
        ),
        ({"solver": "lbfgs"}, r"largest component of the gradient was still [\d.]+\."),
    ],
)
def test_the_warning_of_max_iter_says_how_far_it_was(digits, settings, distance):
    with pytest.warns(ConvergenceWarning, match=f"before it converged: .*{distance}"):
        SparseAutoencoderTransformer(5, max_iter=4, random_state=0, **settings).fit(
            digits
        )


def test_the_warning_after_many_epochs_says_what_is_asked_by_then():
    few = SparseAutoencoderTransformer(random_state=0)
    early, late = (watched(0.9 ** np.arange(n)).reason(few) for n in (2, 401))
    assert "and tol is 0.01 %. Raise" in early
    assert "and tol is 0.01 %, which here asks for 0.0025 %. Raise" in late


def test_the_change_in_the_warning_is_that_of_the_averaged_weights(digits):
    def message_and_objective(max_iter):
        few = SparseAutoencoderTransformer(
            5, max_iter=max_iter, n_iter_no_change=3, random_state=0
        )
        with pytest.warns(ConvergenceWarning) as caught:
            few.fit(digits)
        return str(caught[0].message), few.objective_.total

    # Looks are after epochs 1, 5 and 9, and at the end.
    _, before = message_and_objective(5)
    message, after = message_and_objective(7)
    change = 100 * (after - before) / 2 / after
    told = float(message.split("changing by ")[1].split(" %")[0])
    assert told == pytest.approx(change, rel=0.06)  # two digits


def test_a_warning_names_the_candidate_of_a_search(digits):
    grid = {"rho": [0.05, 0.1], "activation": ["tanh"]}
    search = GridSearchCV(
        SparseAutoencoderTransformer(5, max_iter=2),
        grid,
        cv=2,
        refit=False,
    )
    search.set_params(estimator__random_state=np.random.RandomState(0))
    with pytest.warns(ConvergenceWarning) as caught:
        search.fit(digits)
    ends = {str(warning.message).split("Settings: ")[1] for warning in caught}
    told = "activation='tanh', max_iter=2, random_state=RandomState(...)."
    assert ends == {
        f"n_components=5, {told}",
        f"n_components=5, rho=0.1, {told}",
    }


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
    estimator = SparseAutoencoderTransformer(20, max_iter=30, tol=0.1, random_state=0)
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
        estimator = SparseAutoencoderTransformer(10, max_iter=1, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a single epoch
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


# ------------------------------------------------------------------ stalls and rates


def test_a_rate_that_is_too_large_returns_the_weights_before_the_rise(digits):
    estimator = SparseAutoencoderTransformer(
        20, learning_rate=0.3, n_iter_no_change=3, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="The objective rose, from") as caught:
        estimator.fit(digits)
    lowest = float(str(caught[0].message).split()[4])
    assert_allclose(estimator.objective_.total, lowest, rtol=1e-5)
