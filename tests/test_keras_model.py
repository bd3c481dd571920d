"""The Keras model of a fitted transformer: the same network, the same objective."""

import json
import random
import subprocess
import sys
from copy import deepcopy
from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.keras_model import ReconstructionLoss, SparseAutoencoder

# Ten iterations are enough for what is tested, and not meant to converge.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]

FEW = {"n_components": 4, "max_iter": 10, "rho": 0.2, "random_state": 0}
TRANSFORMERS = {
    "linear output, scaled": SparseAutoencoderTransformer(**FEW),
    "whitened": SparseAutoencoderTransformer(scale="whiten", **FEW),
    "sigmoid output": SparseAutoencoderTransformer(
        output_activation="sigmoid", solver="lbfgs", **FEW
    ),
    "log_loss": SparseAutoencoderTransformer(
        output_activation="sigmoid", loss="log_loss", **FEW
    ),
    "poisson": SparseAutoencoderTransformer(
        output_activation="exponential", loss="poisson", **FEW
    ),
    "huber": SparseAutoencoderTransformer(loss="huber", solver="lbfgs", **FEW),
    "tanh": SparseAutoencoderTransformer(activation="tanh", solver="lbfgs", **FEW),
    "relu": SparseAutoencoderTransformer(
        activation="relu", output_activation="relu", scale=False, **FEW
    ),
}
N_SAMPLES, N_FEATURES = 61, 6

# Keras warns of the layers of a model that it does not quantise.
QUANTIZES = pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize")
EVERY_NETWORK = pytest.mark.parametrize("name", TRANSFORMERS)


class Fitted(NamedTuple):
    transformer: SparseAutoencoderTransformer
    X: np.ndarray
    model: keras.Model


def make_data(name):
    X = np.random.RandomState(0).beta(2, 4, (N_SAMPLES, N_FEATURES))
    # In other units than the objective's, where it has its own.
    if name == "poisson":
        return np.floor(10 * X)
    if name == "huber":
        X[::7] *= 50
    own_units = "linear output, scaled", "tanh", "whitened"
    return 30 * X - 7 if name in own_units else X


@pytest.fixture(scope="module")
def networks():
    """Return a transformer of each kind with its data and its Keras model."""
    fitted = {}
    for name, transformer in TRANSFORMERS.items():
        X = make_data(name)
        model = transformer.fit(X).to_keras()
        fitted[name] = Fitted(transformer, X, model)
    return fitted


# ------------------------------------------------------------------- the same network


@EVERY_NETWORK
@pytest.mark.parametrize("batch_size", [7, 32, N_SAMPLES])
def test_evaluate_is_the_objective_at_every_batch_size(networks, name, batch_size):
    transformer, X, model = networks[name]
    loss = model.evaluate(X, X, batch_size=batch_size, verbose=0)
    assert isinstance(loss, float)
    assert_allclose(loss, transformer.objective_.total, rtol=1e-5)


@EVERY_NETWORK
def test_evaluate_is_the_objective_of_float32_data(networks, name):
    transformer, X, model = networks[name]
    X = X.astype(np.float32)
    loss = model.evaluate(X, X, verbose=0)
    assert_allclose(loss, transformer.objective_.total, rtol=1e-5)


@EVERY_NETWORK
def test_evaluate_is_the_objective_on_other_data(networks, name):
    transformer, X, model = networks[name]
    other = X[::-2] * 0.9
    loss = model.evaluate(other, other, batch_size=4, verbose=0)
    assert_allclose(loss, transformer.evaluate_objective(other).total, rtol=1e-5)


@EVERY_NETWORK
def test_predict_reconstructs(networks, name):
    transformer, X, model = networks[name]
    assert_allclose(
        model.predict(X, verbose=0), transformer.reconstruct(X), rtol=1e-4, atol=1e-5
    )


@EVERY_NETWORK
def test_output_of_the_encoder_is_the_code(networks, name):
    transformer, X, model = networks[name]
    encoder = keras.Model(model.input, model.get_layer("encoder").output)
    assert_allclose(
        encoder.predict(X, verbose=0), transformer.transform(X), rtol=1e-4, atol=1e-5
    )


@EVERY_NETWORK
def test_model_holds_the_fitted_arrays_in_float32(networks, name):
    transformer, _, model = networks[name]
    for i, layer in enumerate(["encoder", "decoder"]):
        W, b = model.get_layer(layer).get_weights()
        assert W.dtype == b.dtype == np.float32
        assert_array_equal(W, transformer.coefs_[i].astype(np.float32))
        assert_array_equal(b, transformer.intercepts_[i].astype(np.float32))


# ----------------------------------------------------------------------- training it


@pytest.mark.parametrize(
    "name", ["linear output, scaled", "log_loss", "poisson", "huber", "relu"]
)
def test_fit_lowers_the_objective(networks, name):
    transformer, X, _ = networks[name]
    model = transformer.to_keras()
    # From weights that are far from trained, so that a fit has something to lower.
    model.set_weights([0.3 * w for w in model.get_weights()])
    before = model.evaluate(X, X, verbose=0)
    model.fit(X, X, batch_size=20, epochs=8, verbose=0)
    assert model.evaluate(X, X, verbose=0) < before
    # The transformer is not the model's to train.
    assert_allclose(
        transformer.evaluate_objective(X).total, transformer.objective_.total
    )


def test_loss_of_a_batch_of_everything_is_the_objective(networks):
    transformer, X, _ = networks["linear output, scaled"]
    model = transformer.to_keras()
    history = model.fit(X, X, batch_size=N_SAMPLES, verbose=0).history
    assert_allclose(history["loss"], [transformer.objective_.total], rtol=1e-5)


def test_validation_loss_is_the_objective_and_leaves_the_training_loss(networks):
    transformer, X, _ = networks["linear output, scaled"]
    held_out = X[:20] + 1
    model = transformer.to_keras()
    model.optimizer.learning_rate = 0.0
    history = model.fit(
        X,
        X,
        validation_data=(held_out, held_out),
        batch_size=N_SAMPLES,
        validation_batch_size=7,
        epochs=2,
        verbose=0,
    ).history
    expected = transformer.evaluate_objective(held_out).total
    assert_allclose(history["val_loss"], [expected] * 2, rtol=1e-5)
    assert_allclose(history["loss"], [transformer.objective_.total] * 2, rtol=1e-5)


def test_optimizer_is_that_of_the_estimator(networks):
    transformer, X, model = networks["tanh"]
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    solver = keras.optimizers.SGD(0.125, momentum=0.5)
    trained_by_sgd = clone(transformer).set_params(solver=solver, max_iter=1).fit(X)
    optimizer = trained_by_sgd.to_keras().optimizer
    assert isinstance(optimizer, keras.optimizers.SGD)
    assert optimizer is not solver
    assert optimizer.get_config()["learning_rate"] == 0.125
    assert optimizer.get_config()["momentum"] == 0.5


def test_the_schedule_of_an_optimizer_is_that_of_the_estimator(networks):
    transformer, _, _ = networks["tanh"]
    rate = keras.optimizers.schedules.ExponentialDecay(0.125, 10, 0.5)
    other = deepcopy(transformer).set_params(solver=keras.optimizers.SGD(rate))
    optimizer = other.to_keras().optimizer
    assert float(optimizer.learning_rate) == 0.125
    optimizer.iterations.assign(10)
    assert float(optimizer.learning_rate) == 0.0625


# --------------------------------------------------------------------- other settings


@pytest.mark.parametrize("batch_size", [7, N_SAMPLES])
def test_another_loss_gives_what_keras_makes_of_it(networks, batch_size):
    transformer, X, _ = networks["sigmoid output"]
    model = transformer.to_keras()
    model.compile(loss="mse")
    rho, beta = transformer.rho, transformer.beta_
    mse = np.mean((transformer.reconstruct(X) - X) ** 2)
    decay = (
        transformer.weight_decay_ / 2 * sum(np.sum(W**2) for W in transformer.coefs_)
    )
    # The penalty of each batch's own means, weighted by the batches' sizes.
    sparsity = 0.0
    for start in range(0, N_SAMPLES, batch_size):
        codes = transformer.transform(X[start : start + batch_size])
        q = codes.mean(axis=0)
        divergence = rho * np.log(rho / q) + (1 - rho) * np.log((1 - rho) / (1 - q))
        sparsity += beta * divergence.sum() * len(codes) / N_SAMPLES
    assert_allclose(
        model.evaluate(X, X, batch_size=batch_size, verbose=0),
        mse + decay + sparsity,
        rtol=1e-5,
        # Near rho the two terms of KL cancel, and float32 leaves their rounding.
        atol=beta * transformer.n_components * np.finfo(np.float32).eps,
    )


def test_metrics_stand_beside_the_objective(networks):
    transformer, X, _ = networks["linear output, scaled"]
    model = transformer.to_keras()
    model.compile(
        loss=ReconstructionLoss("squared_error", transformer.scale_), metrics=["mae"]
    )
    results = model.evaluate(X, X, batch_size=7, return_dict=True, verbose=0)
    assert set(results) == {"loss", "mae"}
    assert_allclose(results["loss"], transformer.objective_.total, rtol=1e-5)
    error = np.mean(np.abs(transformer.reconstruct(X) - X))
    assert_allclose(results["mae"], error, rtol=1e-5)


@pytest.mark.parametrize(
    "mode", [{"jit_compile": True}, {"run_eagerly": True}], ids=["jit", "eager"]
)
def test_evaluate_is_the_objective_however_keras_runs(networks, mode):
    transformer, X, _ = networks["log_loss"]
    model = transformer.to_keras()
    model.compile(loss=ReconstructionLoss("log_loss"), **mode)
    loss = model.evaluate(X, X, batch_size=25, verbose=0)
    assert isinstance(loss, float)
    assert_allclose(loss, transformer.objective_.total, rtol=1e-5)


# ------------------------------------------------------------------------------ files

RELOAD = """
import json
import sys

import keras
import numpy as np

import sksparse_ae.keras_model

losses = []
for path in sys.argv[1:]:
    X = np.load(path + ".npy")
    model = keras.models.load_model(path)
    losses.append(float(model.evaluate(X, X, batch_size=7, verbose=0)))
print(json.dumps(losses))
"""


# Seen on 2026-11-24: Keras 3.15 calls numpy.array on TensorFlow variables when it saves
# them, of which NumPy 2 complains.
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
def test_saved_models_evaluate_to_the_objective_in_a_fresh_process(networks, tmp_path):
    paths = [str(tmp_path / f"{i}.keras") for i in range(len(networks))]
    for path, network in zip(paths, networks.values(), strict=True):
        network.model.save(path)
        np.save(f"{path}.npy", network.X)
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, *paths],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    losses = json.loads(done.stdout.splitlines()[-1])
    expected = [network.transformer.objective_.total for network in networks.values()]
    assert_allclose(losses, expected, rtol=1e-5)


# Seen on 2026-11-24, as above.
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
@EVERY_NETWORK
def test_saved_model_gives_the_same_bits(networks, tmp_path, name):
    _, X, model = networks[name]
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert_array_equal(loaded(X), model(X))
    assert_array_equal(loaded.get_layer("encoder")(X), model.get_layer("encoder")(X))


# Seen on 2026-11-24, as above.
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
def test_saved_model_trains_on_as_if_never_saved(networks, tmp_path):
    transformer, X, _ = networks["linear output, scaled"]
    model = transformer.to_keras()
    training = {"batch_size": 20, "shuffle": False, "verbose": 0}
    model.fit(X, X, **training)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    losses = [m.fit(X, X, **training).history["loss"] for m in (loaded, model)]
    assert_array_equal(*losses)
    for ours, kept in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert_array_equal(ours, kept)


@EVERY_NETWORK
def test_configuration_builds_the_same_model(networks, name):
    _, X, model = networks[name]
    copy = type(model).from_config(json.loads(json.dumps(model.get_config())))
    assert copy.get_config() == model.get_config()
    copy.set_weights(model.get_weights())
    assert_array_equal(copy(X), model(X))
    assert_allclose(
        [float(loss) for loss in copy.losses], [float(loss) for loss in model.losses]
    )


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
@QUANTIZES
@pytest.mark.parametrize("changed", ["frozen", "int8", "LoRA", "dtype"])
def test_what_is_set_on_the_layers_is_saved(tmp_path, changed):
    X = make_data("log_loss").astype(np.float32)
    model = SparseAutoencoder(N_FEATURES, 4)
    model.compile(loss=ReconstructionLoss())
    encoder = model.get_layer("encoder")
    if changed == "frozen":
        encoder.trainable = False
    elif changed == "LoRA":
        encoder.enable_lora(2)
    elif changed == "dtype":
        encoder.dtype_policy = "mixed_float16"
    else:
        model.quantize(changed)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    for layer in loaded.layers:
        original = model.get_layer(layer.name)
        assert layer.trainable == original.trainable
        assert layer.dtype_policy.name == original.dtype_policy.name
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    assert_array_equal(loaded(X), model(X))
    losses = [m.evaluate(X, X, verbose=0) for m in (loaded, model)]
    assert losses[0] == losses[1]


def test_a_frozen_model_stays_frozen():
    model = SparseAutoencoder(N_FEATURES, 4)
    model.trainable = False
    copy = SparseAutoencoder.from_config(model.get_config())
    assert not copy.trainable
    assert not copy.trainable_weights
    assert not copy.get_layer("encoder").trainable


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
@QUANTIZES
def test_evaluate_counts_no_decay_of_weights_rounded_to_integers():
    X = make_data("log_loss").astype(np.float32)
    losses = []
    for weight_decay in (0.0, 1.0):
        model = SparseAutoencoder(N_FEATURES, 4, weight_decay=weight_decay)
        model.compile(loss=ReconstructionLoss())
        exact = model.evaluate(X, X, verbose=0)
        model.quantize("int8")
        losses.append(model.evaluate(X, X, verbose=0))
        if not weight_decay:
            assert_allclose(losses[0], exact, rtol=0.02)
    assert losses[0] == losses[1]


def test_layers_in_a_configuration_are_named():
    for layers in ({"hidden": {}}, ["encoder"]):
        with pytest.raises(ValueError, match="layers must be None or a dict"):
            SparseAutoencoder(4, 3, layers=layers)


@pytest.mark.parametrize("width", [(), (1,), (N_FEATURES - 1,)])
def test_targets_of_another_shape_are_refused(width):
    y_pred = np.zeros((3, N_FEATURES), "float32")
    with pytest.raises(ValueError, match="The targets of an autoencoder are its inp"):
        ReconstructionLoss()(np.zeros((3, *width), "float32"), y_pred)


def test_rows_may_come_by_the_name_of_the_input(networks):
    transformer, X, _ = networks["linear output, scaled"]
    objective = transformer.to_keras().evaluate({"X": X}, X, verbose=0)
    assert_allclose(objective, transformer.objective_.total, rtol=1e-5)


def test_evaluate_knows_another_reduction():
    X = make_data("log_loss")
    model = SparseAutoencoder(N_FEATURES, 4, beta=0.0, weight_decay=0.0)
    model.compile(loss=ReconstructionLoss())
    mean = model.evaluate(X, X, batch_size=len(X), verbose=0)
    model.compile(loss=ReconstructionLoss(reduction="sum"))
    total = model.evaluate(X, X, batch_size=len(X), verbose=0)
    assert_allclose(total, len(X) * mean, rtol=1e-5)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_jax_is_named_where_it_cannot_train(monkeypatch, method):
    X = make_data("log_loss")
    model = SparseAutoencoder(N_FEATURES, 4)
    model.compile(loss=ReconstructionLoss())
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    with pytest.raises(RuntimeError, match="with the 'jax' backend"):
        getattr(model, method)(X, X, verbose=0)


# ----------------------------------------------------------------------- global state


def global_state():
    return {
        "floatx": keras.config.floatx(),
        "dtype policy": keras.config.dtype_policy().name,
        "random": random.getstate(),
        "numpy.random": repr(np.random.get_state()),  # noqa: NPY002, the global state is meant
        "tensorflow": tf.random.get_global_generator().state.numpy().tolist(),
    }


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_fit_and_to_keras_leave_the_global_state(solver):
    X = make_data("linear output, scaled")
    before = global_state()
    tf.random.set_seed(0)
    expected = tf.random.uniform((3,)).numpy()
    tf.random.set_seed(0)
    SparseAutoencoderTransformer(**{**FEW, "max_iter": 2, "solver": solver}).fit(
        X
    ).to_keras()
    assert_array_equal(tf.random.uniform((3,)), expected)
    assert global_state() == before


@pytest.mark.parametrize("floatx", ["float64", "float16", "bfloat16"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras', of a small epsilon
def test_model_is_in_float32_under_another_floatx(networks, floatx):
    transformer, X, _ = networks["linear output, scaled"]
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        model = transformer.to_keras()
        objective = model.evaluate(X, X, verbose=0)
        history = model.fit(X, X, batch_size=len(X), verbose=0)
    finally:
        keras.config.set_floatx(before)
    expected = transformer.objective_.total
    # Keras adds up three terms in floatx, each of which is rounded.
    rtol = {"float64": 1e-5, "float16": 3 * 2**-11, "bfloat16": 3 * 2**-8}[floatx]
    assert_allclose(objective, expected, rtol=rtol)
    assert_allclose(history.history["loss"][0], expected, rtol=rtol)


def test_model_is_in_float32_under_another_policy(networks):
    transformer, X, _ = networks["linear output, scaled"]
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = transformer.to_keras()
        assert model.predict(X, verbose=0).dtype == np.float32
        assert_allclose(
            model.evaluate(X, X, verbose=0), transformer.objective_.total, rtol=1e-5
        )
    finally:
        keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, 1e-3),
        ({"solver": "sgd"}, 1e-2),
        ({"learning_rate": 0.25}, 0.25),
        ({"solver": keras.optimizers.Adam(0.125)}, 0.125),
        ({"solver": "lbfgs", "max_iter": 1}, 1e-3),
    ],
)
def test_the_optimizer_has_the_learning_rate_of_the_estimator(parameters, expected):
    X = np.random.default_rng(0).uniform(size=(20, 4))
    parameters = {"max_iter": 2, "random_state": 0, **parameters}
    model = SparseAutoencoderTransformer(2, **parameters).fit(X).to_keras()
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(expected)


# ----------------------------------------------------------------- options, replicas


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "mse"}, "loss must be one of 'squared_error', 'log_loss', 'poisson'"),
        ({"loss": None}, "loss must be one of"),
        ({"scale": 0.0}, "scale must be finite and larger than 0"),
        ({"scale": "auto"}, "scale must be finite"),
    ],
)
def test_a_loss_names_options_that_it_does_not_have(settings, message):
    with pytest.raises(ValueError, match=message):
        ReconstructionLoss(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"activation": "gelu"},
            "activation must be one of 'auto', 'sigmoid', 'tanh', 'relu'",
        ),
        ({"output_activation": "softmax"}, "output_activation must be one of 'linear'"),
        ({"n_components": 0}, "n_components must be a whole number of 1 or more"),
        ({"n_features": 2.5}, "n_features must be a whole number"),
        ({"weight_decay": -1}, "weight_decay must be finite and 0 or larger"),
        ({"scale": -1}, "scale must be finite and larger than 0"),
        ({"rho": 1}, "rho must lie between 0 and 1"),
        ({"beta": np.inf}, "beta must be finite and 0 or larger"),
    ],
)
def test_a_model_names_options_that_it_does_not_have(settings, message):
    with pytest.raises(ValueError, match=message):
        SparseAutoencoder(**{"n_features": 4, "n_components": 3} | settings)


REPLICAS = """
import keras, numpy as np, tensorflow as tf
from sksparse_ae.keras_model import ReconstructionLoss, SparseAutoencoder

devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(
    devices[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
X = np.random.default_rng(0).normal(size=(61, 6)).astype("float32")


def objective():
    model = SparseAutoencoder(6, 4)
    model.compile(optimizer="adam", loss=ReconstructionLoss())
    return model.evaluate(X, X, batch_size=20, verbose=0)


alone = objective()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    together = objective()
np.testing.assert_allclose(together, alone, rtol=1e-5)
"""


# Keras 3.4.1 computes the result in each replica and averages: 10.483 for 10.450.
@pytest.mark.slow
@pytest.mark.skipif(
    keras.__version__.startswith("3.4."), reason="results are averaged over replicas"
)
def test_the_objective_adds_up_over_replicas():
    done = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 2, 3)])
def test_all_axes_but_the_samples_are_features(shape):
    loss = ReconstructionLoss()(np.zeros((5, *shape), "f"), np.ones((5, *shape), "f"))
    assert_allclose(loss, np.prod(shape) / 2)


@pytest.mark.parametrize("floatx", ["float16", "bfloat16"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras', of a small epsilon
def test_log_loss_of_certain_outputs_is_finite_in_half_precision(floatx):
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        ones = np.ones((2, 3), "float32")
        loss = float(ReconstructionLoss("log_loss")(ones, ones))
    finally:
        keras.config.set_floatx(before)
    assert 0 <= loss < 1e-4


def test_evaluate_knows_weights_of_losses():
    X = make_data("log_loss")
    model = SparseAutoencoder(N_FEATURES, 4, beta=0.0, weight_decay=0.0)
    model.compile(loss=ReconstructionLoss())
    whole = model.evaluate(X, X, verbose=0)
    model.compile(loss=ReconstructionLoss(), loss_weights=0.5)
    assert_allclose(model.evaluate(X, X, verbose=0), whole / 2, rtol=1e-5)


def test_evaluate_without_targets_says_what_they_are():
    model = SparseAutoencoder(N_FEATURES, 4)
    model.compile(loss=ReconstructionLoss())
    with pytest.raises(ValueError, match=r"evaluate\(X, X\)"):
        model.evaluate(make_data("log_loss"), verbose=0)
