"""The penalty for Keras layers: its value, gradient, running mean and files."""

import inspect
import json
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal

from sksparse_ae.regularizers import KLDivergenceRegularizer, KLSparsity

BOTH_FORMS = pytest.mark.parametrize("form", [KLDivergenceRegularizer, KLSparsity])
SETTINGS = {"rho": 0.1, "beta": 6.0}
N_FEATURES, N_UNITS = 5, 3

# Seen on 2026-11-24: Keras 3.15 calls numpy.array on TensorFlow variables when it saves
# them, of which NumPy 2 complains.
SAVES = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


# ---------------------------------------------------------------------- the oracle


def kl(rho, rho_hat):
    """KL divergence of Bernoulli variables, in float64 and inside of its domain."""
    rho_hat = np.asarray(rho_hat, dtype=np.float64)
    return rho * np.log(rho / rho_hat) + (1 - rho) * np.log((1 - rho) / (1 - rho_hat))


def kl_slope(rho, rho_hat, step=1e-6):
    """Slope of KL at rho_hat, by central differences."""
    return (kl(rho, rho_hat + step) - kl(rho, rho_hat - step)) / (2 * step)


def unit_means(activations):
    activations = np.asarray(activations, dtype=np.float64)
    return activations.reshape(-1, activations.shape[-1]).mean(axis=0)


def penalty(activations, rho, beta):
    return beta * kl(rho, unit_means(activations)).sum()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def mean_over_batches(function, X, batch_size):
    """Average a function of a batch as Keras does: weighted by the batches' sizes."""
    batches = [X[i : i + batch_size] for i in range(0, len(X), batch_size)]
    return np.average(
        [function(batch) for batch in batches],
        weights=[len(batch) for batch in batches],
    )


def autoencoder_loss(model, X):
    """Mean squared error plus penalty of one batch, from the weights alone."""
    W1, b1, W2, b2 = (w.astype(np.float64) for w in dense_weights(model))
    codes = sigmoid(X @ W1 + b1)
    return np.mean((codes @ W2 + b2 - X) ** 2) + penalty(codes, **SETTINGS)


def dense_weights(model):
    return [
        weight
        for layer in model.layers
        if isinstance(layer, keras.layers.Dense)
        for weight in layer.get_weights()
    ]


# ------------------------------------------------------------------ what is tested


def penalised(form, activation="sigmoid", units=N_UNITS, **settings):
    """Return the layers of units whose activations are penalised, in either form."""
    if form is KLSparsity:
        return [keras.layers.Dense(units, activation), KLSparsity(**settings)]
    return [
        keras.layers.Dense(units, activation, activity_regularizer=form(**settings))
    ]


def make_autoencoder(form, learning_rate=0.0, jit_compile=False, run_eagerly=False):
    model = keras.Sequential(
        [
            keras.Input((N_FEATURES,)),
            *penalised(form, **SETTINGS),
            keras.layers.Dense(N_FEATURES),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.SGD(learning_rate),
        loss="mse",
        jit_compile=jit_compile,
        run_eagerly=run_eagerly,
    )
    return model


def make_data(n_samples, *shape):
    rng = np.random.RandomState(0)
    return rng.uniform(-1, 1, (n_samples, *(shape or (N_FEATURES,)))).astype("float32")


def penalty_layer(form, dtype="float32", **settings):
    """Return a layer that adds the penalty of its input to the losses."""
    if form is KLSparsity:
        return KLSparsity(dtype=dtype, **settings)
    return keras.layers.Activation(
        "linear", activity_regularizer=form(**settings), dtype=dtype
    )


def added_loss(layer, activations, **kwargs):
    layer(activations, **kwargs)
    (loss,) = layer.losses
    return loss


def loss_and_gradient(layer, activations, **kwargs):
    activations = tf.convert_to_tensor(activations)
    with tf.GradientTape() as tape:
        tape.watch(activations)
        loss = added_loss(layer, activations, **kwargs)
    return loss.numpy(), tape.gradient(loss, activations).numpy()


# ------------------------------------------------------------------------- the value


@BOTH_FORMS
@pytest.mark.parametrize(
    ("batch_size", "n_samples"), [(1, 12), (10, 103), (1000, 1003)]
)
def test_penalty_is_the_same_at_every_batch_size(form, batch_size, n_samples):
    model, X = make_autoencoder(form), make_data(n_samples)
    expected = mean_over_batches(
        lambda batch: autoencoder_loss(model, batch), X, batch_size
    )
    evaluated = model.evaluate(X, X, batch_size=batch_size, verbose=0)
    assert_allclose(evaluated, expected, rtol=1e-5)
    history = model.fit(X, X, batch_size=batch_size, shuffle=False, verbose=0).history
    assert_allclose(history["loss"], [expected], rtol=1e-5)


@BOTH_FORMS
@pytest.mark.parametrize(
    "mode", [{"jit_compile": True}, {"run_eagerly": True}], ids=["jit", "eager"]
)
def test_penalty_is_the_same_however_keras_runs(form, mode):
    model, X = make_autoencoder(form, **mode), make_data(23)
    expected = mean_over_batches(lambda batch: autoencoder_loss(model, batch), X, 10)
    assert_allclose(model.evaluate(X, X, batch_size=10, verbose=0), expected, rtol=1e-5)
    history = model.fit(X, X, batch_size=10, shuffle=False, verbose=0).history
    assert_allclose(history["loss"], [expected], rtol=1e-5)


@BOTH_FORMS
def test_training_brings_the_mean_activations_to_rho(form):
    model, X = make_autoencoder(form, learning_rate=0.1), make_data(200)
    before = autoencoder_loss(model, X)
    model.fit(X, X, batch_size=20, epochs=10, verbose=0)
    assert autoencoder_loss(model, X) < before
    W1, b1, *_ = dense_weights(model)
    assert_allclose(unit_means(sigmoid(X @ W1 + b1)), SETTINGS["rho"], atol=0.02)


@BOTH_FORMS
def test_two_identical_layers_both_count(form):
    X = make_data(40)
    model = keras.Sequential(
        [
            keras.Input((N_FEATURES,)),
            *penalised(form, **SETTINGS),
            *penalised(form, **SETTINGS),
        ]
    )
    model.compile(loss="mse")
    W1, b1, W2, b2 = dense_weights(model)
    first = sigmoid(X @ W1 + b1)
    second = sigmoid(first @ W2 + b2)
    assert_allclose(
        model.evaluate(X, second, batch_size=len(X), verbose=0),
        penalty(first, **SETTINGS) + penalty(second, **SETTINGS),
        rtol=1e-5,
    )


def test_one_regularizer_serves_two_layers():
    regularizer = KLDivergenceRegularizer(**SETTINGS)
    a = np.random.RandomState(0).uniform(0.1, 0.9, (20, N_UNITS)).astype("float32")
    layers = [
        keras.layers.Activation("linear", activity_regularizer=regularizer)
        for _ in range(2)
    ]
    losses = [added_loss(layer, a) for layer in layers]
    assert_allclose(losses, [penalty(a, **SETTINGS)] * 2, rtol=1e-5)


@BOTH_FORMS
def test_mean_is_taken_over_every_axis_but_the_last(form):
    X = make_data(14, 6, N_FEATURES)
    model = keras.Sequential(
        [keras.Input((6, N_FEATURES)), *penalised(form, **SETTINGS)]
    )
    model.compile(loss="mse")
    W, b = dense_weights(model)
    codes = sigmoid(X @ W + b)
    assert_allclose(
        model.evaluate(X, codes, batch_size=5, verbose=0),
        mean_over_batches(lambda batch: penalty(batch, **SETTINGS), codes, 5),
        rtol=1e-5,
    )


@BOTH_FORMS
def test_float64_activations_have_a_float64_penalty(form):
    a = np.random.RandomState(0).uniform(0.1, 0.9, (20, N_UNITS))
    loss = added_loss(penalty_layer(form, dtype="float64", **SETTINGS), a)
    assert loss.dtype == "float64"
    assert_allclose(loss, penalty(a, **SETTINGS), rtol=1e-13)


# ---------------------------------------------------------------------- the gradient


@BOTH_FORMS
def test_gradient_is_the_slope_of_kl_times_that_of_the_mean(form):
    a = np.random.RandomState(0).uniform(0.1, 0.9, (8, N_UNITS)).astype("float32")
    loss, gradient = loss_and_gradient(penalty_layer(form, **SETTINGS), a)
    expected = SETTINGS["beta"] * kl_slope(SETTINGS["rho"], unit_means(a)) / len(a)
    assert_allclose(loss, penalty(a, **SETTINGS), rtol=1e-5)
    assert_allclose(gradient, np.tile(expected, (len(a), 1)), rtol=1e-4)


@BOTH_FORMS
def test_activation_range_measures_tanh_units_on_the_unit_interval(form):
    a = np.random.RandomState(0).uniform(-0.9, 0.5, (8, N_UNITS)).astype("float32")
    layer = penalty_layer(form, activation_range=(-1, 1), **SETTINGS)
    loss, gradient = loss_and_gradient(layer, a)
    measured = (a + 1) / 2
    slope = kl_slope(SETTINGS["rho"], unit_means(measured))
    expected = SETTINGS["beta"] * slope / len(a) / 2
    assert_allclose(loss, penalty(measured, **SETTINGS), rtol=1e-5)
    assert_allclose(gradient, np.tile(expected, (len(a), 1)), rtol=1e-4)


@BOTH_FORMS
@pytest.mark.parametrize(
    ("mean", "points_to"),
    [(-0.4, "more"), (0.0, "more"), (1.0, "less"), (1.7, "less"), (40.0, "less")],
    ids=["negative", "dead", "saturated", "relu", "large relu"],
)
def test_units_outside_the_domain_of_kl_are_pulled_back(form, mean, points_to):
    a = np.full((10, 1), mean, dtype="float32")
    layer = penalty_layer(form, activation_range=(0, 1), **SETTINGS)
    loss, gradient = loss_and_gradient(layer, a)
    # KL goes on along its tangent at 1e-6 and 1 - 1e-6. Next to 1 float32 has steps
    # of 6e-8, 6 % of the distance.
    edge = 1e-6 if mean < 0.5 else 1 - 1e-6
    rho, beta = SETTINGS["rho"], SETTINGS["beta"]
    slope = kl_slope(rho, edge, step=1e-9)
    assert np.sign(slope) == (-1 if points_to == "more" else 1)
    assert_allclose(gradient * len(a), beta * slope, rtol=0.06)
    assert_allclose(loss, beta * (kl(rho, edge) + slope * (mean - edge)), rtol=0.06)


# --------------------------------------------------------------- half-precision units


@BOTH_FORMS
def test_mixed_precision_computes_the_penalty_in_float32(form):
    a = np.random.RandomState(0).uniform(0.02, 0.3, (500, N_UNITS)).astype("float32")
    loss, gradient = loss_and_gradient(
        penalty_layer(form, dtype="mixed_float16", **SETTINGS), a
    )
    assert loss.dtype == np.float32
    assert_allclose(loss, penalty(a, **SETTINGS), rtol=1e-3)
    assert np.isfinite(gradient).all()


@BOTH_FORMS
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("value", [0.0, 0.9995, 1.0])
def test_mixed_precision_stays_finite_at_the_ends(form, dtype, value):
    # 70 000 rows: more than float16 can count.
    a = np.full((70_000, 1), value, dtype="float32")
    loss = added_loss(penalty_layer(form, dtype=dtype, **SETTINGS), a)
    assert loss.dtype == "float32"
    assert np.isfinite(loss)
    assert loss > 0.1


@BOTH_FORMS
def test_a_mixed_precision_model_trains(form):
    X = make_data(40)
    model = keras.Sequential(
        [
            keras.Input((N_FEATURES,)),
            keras.layers.Dense(N_UNITS, "sigmoid", dtype="mixed_float16"),
            penalty_layer(form, dtype="mixed_float16", **SETTINGS),
            keras.layers.Dense(N_FEATURES),
        ]
    )
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    (loss,) = model.fit(X, X, batch_size=len(X), verbose=0).history["loss"]
    assert_allclose(loss, autoencoder_loss(model, X), rtol=1e-3)


def test_running_mean_is_kept_in_float32_under_mixed_precision():
    layer = KLSparsity(rho=0.5, momentum=0.9999, dtype="mixed_float16")
    for _ in range(50):
        layer(np.ones((4, 1), "float16"), training=True)
    assert layer.rho_hat.dtype == "float32"
    # Steps of 5e-5 would be lost in float16, whose values lie 5e-4 apart there.
    assert_allclose(layer.rho_hat, [1 - 0.5 * 0.9999**50], atol=1e-5)


# ------------------------------------------------------------------- the running mean


def make_running_model(momentum=0.8):
    model = keras.Sequential(
        [
            keras.Input((N_FEATURES,)),
            keras.layers.Dense(N_UNITS, "sigmoid"),
            KLSparsity(momentum=momentum, name="sparsity", **SETTINGS),
            keras.layers.Dense(N_FEATURES),
        ]
    )
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    return model


def test_running_mean_follows_the_batches_of_training():
    model, X = make_running_model(momentum=0.8), make_data(103)
    W1, b1, W2, b2 = dense_weights(model)
    codes = sigmoid(X @ W1 + b1)
    expected, losses = np.full(N_UNITS, SETTINGS["rho"]), []
    assert_allclose(model.get_layer("sparsity").rho_hat, expected)
    for start in range(0, len(X), 10):
        batch = slice(start, start + 10)
        expected = 0.8 * expected + 0.2 * unit_means(codes[batch])
        error = np.mean((codes[batch] @ W2 + b2 - X[batch]) ** 2)
        divergence = kl(SETTINGS["rho"], expected).sum()
        losses += [error + SETTINGS["beta"] * divergence] * len(X[batch])
    history = model.fit(X, X, batch_size=10, shuffle=False, verbose=0).history
    assert_allclose(model.get_layer("sparsity").rho_hat, expected, rtol=1e-5)
    assert_allclose(history["loss"], [np.mean(losses)], rtol=1e-5)


def test_running_mean_rests_in_inference():
    model, X = make_running_model(), make_data(30)
    model.fit(X, X, verbose=0)
    before = model.get_layer("sparsity").rho_hat.numpy()
    evaluated = model.evaluate(X, X, batch_size=10, verbose=0)
    model.predict(X, verbose=0)
    model(X)
    assert_array_equal(model.get_layer("sparsity").rho_hat, before)
    # There the penalty is that of each batch's own mean.
    expected = mean_over_batches(lambda batch: autoencoder_loss(model, batch), X, 10)
    assert_allclose(evaluated, expected, rtol=1e-5)


def test_running_mean_is_no_trainable_weight():
    model = make_running_model()
    assert len(model.trainable_weights) == 4
    assert [weight.name for weight in model.non_trainable_weights] == ["rho_hat"]


@pytest.mark.parametrize("activation_range", [(0, 1), (-1, 1)], ids=["sigmoid", "tanh"])
def test_gradient_is_the_slope_of_kl_at_the_running_mean(activation_range):
    low, high = activation_range
    rng = np.random.RandomState(0)
    a = (low + (high - low) * rng.uniform(0.4, 0.9, (8, N_UNITS))).astype("float32")
    layer = KLSparsity(momentum=0.9, activation_range=activation_range, **SETTINGS)
    loss, gradient = loss_and_gradient(layer, a, training=True)
    rho, beta = SETTINGS["rho"], SETTINGS["beta"]
    running = 0.9 * rho + 0.1 * (unit_means(a) - low) / (high - low)
    assert_allclose(layer.rho_hat, running, rtol=1e-6)
    assert_allclose(loss, beta * kl(rho, running).sum(), rtol=1e-4)
    # Undiminished: no factor 1 - momentum.
    expected = beta * kl_slope(rho, running) / (high - low) / len(a)
    assert_allclose(gradient, np.tile(expected, (len(a), 1)), rtol=1e-4)


def test_running_mean_without_memory_is_that_of_the_batch():
    a = np.random.RandomState(0).uniform(0.1, 0.9, (8, N_UNITS)).astype("float32")
    running = KLSparsity(momentum=0.0, **SETTINGS)
    of_batch = KLSparsity(**SETTINGS)
    for got, expected in zip(
        loss_and_gradient(running, a, training=True),
        loss_and_gradient(of_batch, a, training=True),
        strict=True,
    ):
        assert_allclose(got, expected, rtol=1e-6)


def test_running_mean_serves_float64_layers():
    a = np.full((4, 1), 0.9)
    layer = KLSparsity(rho=0.5, momentum=0.9, dtype="float64")
    assert added_loss(layer, a, training=True).dtype == "float64"
    assert_allclose(layer.rho_hat, [0.54], rtol=1e-6)


def test_layer_passes_its_input_on():
    a = np.random.RandomState(0).uniform(size=(4, 2, N_UNITS)).astype("float32")
    layer = KLSparsity(momentum=0.9)
    assert_array_equal(layer(a, training=True), a)
    assert layer.compute_output_shape((None, 2, N_UNITS)) == (None, 2, N_UNITS)


# --------------------------------------------------------------- configuration, files

CONFIGURATIONS = [
    (
        KLDivergenceRegularizer,
        {"rho": 0.2, "beta": 1.5, "activation_range": (-1.0, 1.0)},
    ),
    (
        KLSparsity,
        {
            "rho": 0.2,
            "beta": 1.5,
            "momentum": 0.75,
            "activation_range": (-1.0, 1.0),
            "name": "code_sparsity",
            "dtype": "float64",
        },
    ),
]


@pytest.mark.parametrize(("form", "arguments"), CONFIGURATIONS)
def test_configuration_names_every_argument_and_builds_the_same(form, arguments):
    original = form(**arguments)
    config = original.get_config()
    parameters = set(inspect.signature(form.__init__).parameters)
    assert parameters - {"self", "kwargs"} <= set(config)
    assert {name: config[name] for name in arguments if name != "dtype"} == {
        name: value for name, value in arguments.items() if name != "dtype"
    }
    assert form.from_config(config).get_config() == config

    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(original)))
    copy = keras.saving.deserialize_keras_object(serialized)
    assert type(copy) is form
    assert copy.get_config() == config


RELOAD = """
import json
import sys

import keras
import numpy as np

import sksparse_ae.regularizers

X = np.load(sys.argv[1])
results = []
for path in sys.argv[2:]:
    model = keras.models.load_model(path)
    loss = float(model.evaluate(X, X, batch_size=10, verbose=0))
    running = [w.numpy().tolist() for w in model.non_trainable_weights]
    results.append([loss, running])
print(json.dumps(results))
"""


@pytest.mark.slow
@SAVES
def test_saved_models_evaluate_to_the_same_in_a_fresh_process(tmp_path):
    X = make_data(33)
    regularized = keras.layers.Dense(
        N_UNITS,
        activation="sigmoid",
        activity_regularizer=KLDivergenceRegularizer(**SETTINGS),
    )
    models = [
        keras.Sequential(
            [keras.Input((N_FEATURES,)), regularized, keras.layers.Dense(N_FEATURES)]
        ),
        make_autoencoder(KLSparsity),
        make_running_model(),
    ]
    models[0].compile(loss="mse")
    paths = [str(tmp_path / f"{i}.keras") for i in range(len(models))]
    expected = []
    for model, path in zip(models, paths, strict=True):
        model.fit(X, X, verbose=0)
        model.save(path)
        loss = model.evaluate(X, X, batch_size=10, verbose=0)
        expected.append([loss, [w.numpy() for w in model.non_trainable_weights]])
    np.save(tmp_path / "X.npy", X)
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, str(tmp_path / "X.npy"), *paths],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    reloaded = json.loads(done.stdout.splitlines()[-1])
    for (loss, running), (reloaded_loss, reloaded_running) in zip(
        expected, reloaded, strict=True
    ):
        assert_allclose(reloaded_loss, loss, rtol=1e-6)
        assert_array_equal(reloaded_running, running)
    # The running mean has left its start, so that it was read and not made anew.
    (running,) = expected[-1][1]
    assert np.all(np.abs(running - SETTINGS["rho"]) > 0.01)


@SAVES
def test_running_mean_survives_a_round_trip_of_the_weights(tmp_path):
    model, X = make_running_model(), make_data(30)
    model.fit(X, X, verbose=0)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    other = make_running_model()
    other.load_weights(path)
    assert_array_equal(
        other.get_layer("sparsity").rho_hat, model.get_layer("sparsity").rho_hat
    )


# ------------------------------------------------------------------------- arguments


@BOTH_FORMS
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("rho", value) for value in [0, 1, -0.1, 1.5, np.nan, None, "0.1", [0.1]]),
        *(("beta", value) for value in [-1, np.nan, np.inf, None, "3"]),
        *(
            ("activation_range", value)
            for value in [(1, 0), (0, 0), (0, 1, 2), 1, (0, np.inf), ("a", "b")]
        ),
    ],
)
def test_unusable_argument_is_refused_by_name(form, name, value):
    with pytest.raises(ValueError, match=rf"^{name} must .* got {name}="):
        form(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1, 1.5, np.nan, "0.9"])
def test_unusable_momentum_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^momentum must .* got momentum="):
        KLSparsity(momentum=value)


@BOTH_FORMS
def test_numbers_of_any_kind_are_accepted(form):
    config = form(rho=np.float32(0.25), beta=np.int64(0)).get_config()
    assert (config["rho"], config["beta"]) == (0.25, 0.0)
    assert json.dumps(config)


# ------------------------------------------- axes, masks, nothing, higher derivatives


def loss_of(form, x, **settings):
    """Return what a form adds to the loss of a batch."""
    if form is KLSparsity:
        layer = KLSparsity(**SETTINGS | settings)
        layer(x)
        return float(layer.losses[0])
    identity = keras.layers.Activation(
        "linear", activity_regularizer=KLDivergenceRegularizer(**SETTINGS | settings)
    )
    identity(x)
    return float(identity.losses[0])


@BOTH_FORMS
def test_units_may_be_along_another_axis(form):
    x = np.random.default_rng(0).uniform(0.1, 0.4, (4, N_UNITS, 5, 6)).astype("f")
    expected = 6 * kl(0.1, x.mean(axis=(0, 2, 3))).sum()
    assert_allclose(loss_of(form, x, axis=1), expected, rtol=1e-5)
    last = np.moveaxis(x, 1, -1)
    assert_allclose(loss_of(form, last), expected, rtol=1e-5)
    assert form(axis=1).get_config()["axis"] == 1
    for axis in (0, 1.5, None, True):
        with pytest.raises(ValueError, match="axis must be that of the units"):
            form(axis=axis)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_masked_steps_do_not_count(momentum):
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.4, (4, 7, N_UNITS)).astype("float32")
    mask = rng.uniform(size=(4, 7)) < 0.6
    layer = KLSparsity(**SETTINGS, momentum=momentum)
    padded = np.where(mask[..., None], x, np.nan).astype("float32")
    layer(padded, mask=mask, training=True)
    mean = x[mask].mean(axis=0)
    if momentum:
        mean = 0.9 * 0.1 + 0.1 * mean
        assert_allclose(layer.rho_hat.numpy(), mean, rtol=1e-5)
    assert_allclose(float(layer.losses[0]), 6 * kl(0.1, mean).sum(), rtol=1e-4)


def test_a_model_hands_its_mask_on():
    model = keras.Sequential(
        [
            keras.Input((None,)),
            keras.layers.Embedding(9, N_UNITS, mask_zero=True),
            keras.layers.Activation("sigmoid"),
            KLSparsity(**SETTINGS),
        ]
    )
    tokens = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 0, 0]])
    codes = np.asarray(model(tokens))
    expected = 6 * kl(0.1, codes[tokens > 0].mean(axis=0)).sum()
    assert_allclose(float(model.losses[0]), expected, rtol=1e-5)


@BOTH_FORMS
def test_a_batch_without_samples_has_no_penalty(form):
    assert loss_of(form, np.zeros((0, N_UNITS), "float32")) == 0


def test_a_batch_without_samples_leaves_the_running_mean():
    layer = KLSparsity(**SETTINGS, momentum=0.9)
    layer(np.full((5, N_UNITS), 0.3, "float32"), training=True)
    before = layer.rho_hat.numpy()
    x = tf.zeros((0, N_UNITS))
    with tf.GradientTape() as tape:
        tape.watch(x)
        layer(x, training=True)
        loss = layer.losses[0]
    assert float(loss) == 0
    assert np.isfinite(tape.gradient(loss, x)).all()
    assert_array_equal(layer.rho_hat.numpy(), before)


@BOTH_FORMS
@pytest.mark.parametrize("mean", [0.3, 0.05, 1e-9])
def test_second_derivatives_are_those_of_the_penalty(form, mean):
    x = tf.fill((1, 1), mean)
    options = form(0.1, 1.0)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            if form is KLSparsity:
                options(x)
                penalty = options.losses[0]
            else:
                penalty = options(x)
        slope = inner.gradient(penalty, x)
    second = outer.gradient(slope, x, unconnected_gradients="zero")
    # Beyond 2**-20 the divergence goes on as a line.
    expected = 0.1 / mean**2 + 0.9 / (1 - mean) ** 2 if mean > 1e-6 else 0
    assert_allclose(second, [[expected]], rtol=1e-4)
    if mean > 1e-6:
        assert_allclose(slope, [[kl_slope(0.1, mean)]], rtol=1e-3)


@pytest.mark.parametrize("floatx", ["float16", "bfloat16", "float64"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras', of a small epsilon
def test_a_model_of_one_dtype_trains(floatx):
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        model = keras.Sequential(
            [
                keras.Input((N_FEATURES,)),
                keras.layers.Dense(
                    N_UNITS,
                    "sigmoid",
                    activity_regularizer=KLDivergenceRegularizer(0.1, 0.1),
                ),
                KLSparsity(0.1, 0.1),
                keras.layers.Dense(N_FEATURES),
            ]
        )
        model.compile("sgd", "mse")
        X = np.random.default_rng(0).normal(size=(32, N_FEATURES))
        history = model.fit(X, X, epochs=2, batch_size=16, verbose=0)
    finally:
        keras.config.set_floatx(before)
    assert all(np.isfinite(float(loss)) for loss in history.history["loss"])


# --------------------------------------------------------- units beyond the usual range


def counted_warnings(function, *arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function(*arguments, **options)
    return sum("Set activation_range" in str(warning.message) for warning in caught)


def model_of(form, activation, activation_range):
    penalty = form(activation_range=activation_range, **SETTINGS)
    units = keras.layers.Dense(N_UNITS, activation)
    if form is KLDivergenceRegularizer:
        units.activity_regularizer = penalty
    else:
        units = keras.Sequential([units, penalty])
    model = keras.Sequential(
        [keras.Input((N_FEATURES,)), units, keras.layers.Dense(N_FEATURES)]
    )
    model.compile("sgd", "mse")
    return model


@BOTH_FORMS
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_units_that_leave_the_usual_range_are_told_of_once(form, activation):
    X = np.ones((8, N_FEATURES))

    def train_twice(activation_range):
        model = model_of(form, activation, activation_range)
        model.fit(X, X, verbose=0)
        model.evaluate(X, X, verbose=0)

    assert counted_warnings(train_twice, None) == (activation != "sigmoid")
    assert counted_warnings(train_twice, (-1, 1)) == 0


@BOTH_FORMS
@pytest.mark.parametrize(("value", "expected"), [(-0.4, 1), (0.0, 0), (1.0, 0), (2, 1)])
def test_values_beyond_the_usual_range_are_told_of_once(form, value, expected):
    layer = penalty_layer(form, **SETTINGS)
    a = np.full((10, 1), value, dtype="float32")

    def call_twice():
        layer(a)
        layer(a)

    assert counted_warnings(call_twice) == expected


def test_the_penalty_of_steps_is_an_argument_of_time_distributed():
    X = np.random.default_rng(0).random((4, 5, 3)).astype("float32")
    dense = keras.layers.Dense(2, "sigmoid")
    within = keras.layers.TimeDistributed(
        keras.layers.Dense(
            2, "sigmoid", activity_regularizer=KLDivergenceRegularizer(0.1, 2.0)
        )
    )
    around = keras.layers.TimeDistributed(
        dense, activity_regularizer=KLDivergenceRegularizer(0.1, 2.0)
    )
    within(X)
    around(X)
    assert sum(map(float, within.losses)) == 0  # as the docstring tells
    mean = np.asarray(dense(X)).reshape(-1, 2).mean(axis=0)
    expected = 2 * kl(0.1, mean).sum()
    assert_allclose(sum(map(float, around.losses)), expected, rtol=1e-5)


@BOTH_FORMS
@pytest.mark.parametrize("axis", [2, -2])
def test_an_axis_that_the_activations_lack_is_named(form, axis):
    layer = penalty_layer(form, axis=axis, **SETTINGS)
    with pytest.raises(ValueError, match=rf"axis={axis} is not an axis of units"):
        layer(np.ones((4, 3), "float32"))


def test_lists_are_taken_for_arrays():
    assert_allclose(
        KLDivergenceRegularizer(**SETTINGS)([[0.2, 0.4], [0.4, 0.2]]),
        KLDivergenceRegularizer(**SETTINGS)(np.array([[0.2, 0.4], [0.4, 0.2]])),
        rtol=1e-6,
    )


@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 4), (2, 3, 4, 1)])
def test_a_mask_of_another_shape_is_named(shape):
    with pytest.raises(ValueError, match="mask has the shape"):
        KLSparsity()(np.full((2, 3, 4), 0.5, "float32"), mask=np.ones(shape, bool))


def test_a_running_mean_of_units_that_are_not_there_is_refused():
    with pytest.raises(ValueError, match="axis=3 is not an axis of units"):
        KLSparsity(momentum=0.9, axis=3)(np.ones((4, 3), "float32"))
    with pytest.raises(ValueError, match="the size of axis=1 must be known"):
        KLSparsity(momentum=0.9, axis=1)(keras.Input((None, 3)))


def test_a_regularizer_shows_its_coefficients():
    shown = repr(KLDivergenceRegularizer(0.1, beta=2.0))
    assert shown == "KLDivergenceRegularizer(rho=0.1, beta=2.0)"
