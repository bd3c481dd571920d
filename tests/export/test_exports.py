"""Fitted networks that leave the package: ONNX, skops, a module of NumPy alone."""

import ast
import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
import skops.io
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer

# Ten iterations are enough for what is tested, and not meant to converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FEW = {"n_components": 12, "solver": "lbfgs", "max_iter": 10, "random_state": 0}
# Every activation of the units and of the output.
SETTINGS = {
    "sigmoid, linear": {},
    "tanh, tanh": {"activation": "tanh", "output_activation": "tanh"},
    "relu, relu": {"activation": "relu", "output_activation": "relu"},
    "log_loss": {"output_activation": "sigmoid", "loss": "log_loss"},
    "poisson": {"output_activation": "exponential", "loss": "poisson"},
    "huber": {"loss": "huber"},
}
EVERY_NETWORK = pytest.mark.parametrize("name", SETTINGS)
EVERY_DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])
CLASS = "sksparse_ae._transformer.SparseAutoencoderTransformer"


@pytest.fixture(scope="module")
def X(digits):
    return digits / 16


@pytest.fixture(scope="module")
def y():
    return np.arange(300) % 3


@pytest.fixture(scope="module")
def networks(X):
    """Return a fitted transformer of each kind and dtype, not to be changed."""
    return {
        (name, dtype): SparseAutoencoderTransformer(**FEW, **settings).fit(
            X.astype(dtype)
        )
        for name, settings in SETTINGS.items()
        for dtype in (np.float32, np.float64)
    }


def in_fresh_process(code, *arguments, options=()):
    """Run Python code with warnings as errors; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def run(model, X, outputs=None):
    """Return the outputs of an ONNX model."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(outputs, {session.get_inputs()[0].name: X})


# ------------------------------------------------------------------------------- ONNX


@EVERY_DTYPE
@EVERY_NETWORK
def test_onnx_gives_the_codes_and_the_reconstruction_to_1e_6(networks, X, name, dtype):
    transformer, X = networks[name, dtype], X.astype(np.float32)
    codes, reconstruction = run(transformer.to_onnx(reconstruct=True), X)
    assert codes.dtype == reconstruction.dtype == np.float32
    # The test is of different codes: they are not all alike.
    assert transformer.transform(X).std() > 0.01
    assert_allclose(codes, transformer.transform(X), rtol=0, atol=1e-6)
    assert_allclose(reconstruction, transformer.reconstruct(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_samples", [0, 1, 7, 300])
def test_onnx_takes_any_number_of_rows(networks, X, n_samples):
    transformer = networks["sigmoid, linear", np.float64]
    X = X[:n_samples].astype(np.float32)
    (codes,) = run(transformer.to_onnx(), X)
    assert codes.shape == (n_samples, 12)


def test_onnx_refuses_another_number_of_features(networks, X):
    model = networks["sigmoid, linear", np.float64].to_onnx()
    with pytest.raises(Exception, match="Got: 63 Expected: 64"):
        run(model, X[:, 1:].astype(np.float32))


@EVERY_NETWORK
def test_onnx_file_is_valid_and_holds_the_weights_once(networks, tmp_path, name):
    transformer = networks[name, np.float64]
    path = tmp_path / "network.onnx"
    model = transformer.to_onnx(path, reconstruct=True)
    assert onnx.load(path) == model
    onnx.checker.check_model(model, full_check=True)
    weights = sum(w.size for w in transformer.coefs_ + transformer.intercepts_)
    assert path.stat().st_size < 4 * weights + 2000


def test_onnx_model_is_read_by_runtimes_of_2020(networks):
    model = networks["sigmoid, linear", np.float64].to_onnx()
    # The versions that onnxruntime 1.6 supports, by its compatibility table.
    assert model.ir_version <= 7
    assert [(o.domain, o.version <= 13) for o in model.opset_import] == [("", True)]


@EVERY_NETWORK
def test_skl2onnx_converts_a_pipeline_without_being_told(X, y, name):
    X = X.astype(np.float32)
    # Data that every network takes: in [0, 1], after the scaler.
    scaler = StandardScaler(with_mean=False, with_std=False)
    transformer = SparseAutoencoderTransformer(**FEW, **SETTINGS[name])
    pipeline = make_pipeline(scaler, transformer, LogisticRegression()).fit(X, y)
    for steps, expected in (
        (pipeline[:-1], pipeline[:-1].transform(X)),
        (pipeline, pipeline.predict_proba(X)),
    ):
        options = {"zipmap": False} if steps is pipeline else None
        model = skl2onnx.to_onnx(steps, X[:1], options=options)
        onnx.checker.check_model(model, full_check=True)
        assert_allclose(run(model, X)[-1], expected, rtol=0, atol=1e-6)
        assert_allclose(run(model, X[:3])[-1], expected[:3], rtol=0, atol=1e-6)


def test_skl2onnx_converts_standardised_data_and_a_classifier(digits, y):
    X = digits.astype(np.float32)
    pipeline = make_pipeline(
        StandardScaler(), SparseAutoencoderTransformer(**FEW), LogisticRegression()
    ).fit(X, y)
    model = skl2onnx.to_onnx(pipeline, X[:1], options={"zipmap": False})
    labels, probabilities = run(model, X)
    assert_array_equal(labels, pipeline.predict(X))
    assert_allclose(probabilities, pipeline.predict_proba(X), rtol=0, atol=1e-6)


def test_skl2onnx_converts_two_transformers_and_subclasses(X):
    class Subclass(SparseAutoencoderTransformer):
        pass

    X = X.astype(np.float32)
    stack = make_pipeline(
        SparseAutoencoderTransformer(**FEW), Subclass(**{**FEW, "n_components": 5})
    ).fit(X)
    (codes,) = run(skl2onnx.to_onnx(stack, X[:1]), X)
    assert codes.shape == (300, 5)
    assert_allclose(codes, stack.transform(X), rtol=0, atol=1e-6)


@EVERY_NETWORK
def test_skl2onnx_keeps_double_precision(networks, X, name):
    transformer = networks[name, np.float64]
    (codes,) = run(skl2onnx.to_onnx(transformer, X[:1]), X)
    assert codes.dtype == np.float64
    assert_allclose(codes, transformer.transform(X), rtol=0, atol=1e-14)


def test_skl2onnx_takes_integers(digits):
    X = digits.astype(np.int64)
    transformer = SparseAutoencoderTransformer(**FEW).fit(digits)
    (codes,) = run(skl2onnx.to_onnx(transformer, X[:1]), X)
    assert_allclose(codes, transformer.transform(X.astype(np.float32)), atol=1e-6)


def test_exporting_to_onnx_needs_no_tensorflow(networks, tmp_path):
    skops.io.dump(networks["sigmoid, linear", np.float64], tmp_path / "file")
    in_fresh_process(
        "import sys, numpy as np, skops.io\n"
        f"t = skops.io.load(sys.argv[1], trusted=['{CLASS}'])\n"
        "t.to_onnx(sys.argv[1] + '.onnx')\n"
        "t.generate_function(sys.argv[1] + '.py')\n"
        "import skl2onnx\n"
        "skl2onnx.to_onnx(t, np.zeros((1, 64), 'float32'))\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n",
        tmp_path / "file",
    )


def test_without_onnx_the_error_names_the_extra(networks, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'sksparse_ae\[onnx\]'"):
        networks["sigmoid, linear", np.float64].to_onnx()


# ------------------------------------------------------------------------------ skops


def pipelines():
    warm = SparseAutoencoderTransformer(4, max_iter=2, warm_start=True)
    optimizer = keras.optimizers.Adam(0.125, beta_1=0.75)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.1, 0.01])
    few = {"n_components": 4, "max_iter": 2}
    return {
        "adam": SparseAutoencoderTransformer(**few),
        "lbfgs": SparseAutoencoderTransformer(**few, solver="lbfgs"),
        "early stopping": SparseAutoencoderTransformer(**few, early_stopping=True),
        "warm start": warm,
        "RandomState": SparseAutoencoderTransformer(
            **few, random_state=np.random.RandomState(0)
        ),
        "pandas out": SparseAutoencoderTransformer(**few).set_output(
            transform="pandas"
        ),
        "optimizer": SparseAutoencoderTransformer(**few, solver=optimizer),
        "schedule": SparseAutoencoderTransformer(
            **few, solver=keras.optimizers.SGD(schedule, momentum=0.5)
        ),
        "optimizer in another": SparseAutoencoderTransformer(
            **few, solver=keras.optimizers.LossScaleOptimizer(optimizer)
        ),
    }


@pytest.mark.parametrize("name", pipelines())
def test_skops_is_to_trust_the_transformer_and_nothing_else(X, y, name):
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"),
        pipelines()[name],
        LogisticRegression(),
    ).fit(frame, y)
    file = skops.io.dumps(pipeline)
    assert skops.io.get_untrusted_types(data=file) == [CLASS]
    loaded = skops.io.loads(file, trusted=[CLASS])
    kept, copy = pipeline[1], loaded[1]
    assert_array_equal(loaded.predict_proba(frame), pipeline.predict_proba(frame))
    assert_array_equal(loaded[:-1].transform(frame), pipeline[:-1].transform(frame))
    assert copy.objective_.total == kept.objective_.total
    assert copy.objective_ == kept.objective_
    assert copy.loss_curve_ == kept.loss_curve_
    assert copy.loss_terms_ == kept.loss_terms_
    assert_array_equal(copy.feature_names_in_, kept.feature_names_in_)
    assert {n: type(v) for n, v in vars(copy).items()} == {
        n: type(v) for n, v in vars(kept).items()
    }


@pytest.mark.parametrize("optimizer", ["adam", keras.optimizers.Adam(0.125)])
def test_a_training_goes_on_after_skops_as_if_never_saved(X, optimizer):
    kept = SparseAutoencoderTransformer(4, solver=optimizer, random_state=0)
    file = skops.io.dumps(kept.partial_fit(X))
    loaded = skops.io.loads(file, trusted=[CLASS])
    assert_array_equal(loaded.coefs_[0], kept.coefs_[0])
    loaded.partial_fit(X)
    assert not np.array_equal(loaded.coefs_[0], kept.coefs_[0])
    assert_array_equal(loaded.coefs_[0], kept.partial_fit(X).coefs_[0])


@pytest.mark.parametrize("load", [pickle.dumps, skops.io.dumps])
def test_an_optimizer_is_saved_as_its_configuration(load):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.75)
    solver = keras.optimizers.SGD(schedule, momentum=0.5, name="mine")
    transformer = SparseAutoencoderTransformer(solver=solver)
    if load is pickle.dumps:
        copy = pickle.loads(pickle.dumps(transformer)).solver
    else:
        file = skops.io.dumps(transformer)
        copy = skops.io.loads(file, trusted=[CLASS]).solver
    assert type(copy) is keras.optimizers.SGD
    assert copy is not solver
    assert copy.get_config() == solver.get_config()
    # The transformer that was saved is as it was.
    assert transformer.solver is solver


@keras.saving.register_keras_serializable(package="tests")
class Registered(keras.optimizers.SGD):
    """An optimizer that files may name."""


def test_a_registered_optimizer_is_saved_and_found_again():
    file = skops.io.dumps(SparseAutoencoderTransformer(solver=Registered(0.25)))
    copy = skops.io.loads(file, trusted=[CLASS]).solver
    assert type(copy) is Registered
    assert copy.get_config()["learning_rate"] == 0.25


@pytest.mark.parametrize("name", ["Unregistered", "SGD"])
def test_an_optimizer_that_cannot_be_described_stays_as_it_is(name):
    # Not even by the name of one of Keras', which must not take its place.
    solver = type(name, (keras.optimizers.SGD,), {})()
    state = SparseAutoencoderTransformer(solver=solver).__getstate__()
    assert state["solver"] is solver


@pytest.mark.parametrize(
    "name", ["os.system", "system", "get", "schedules", "Dense", "keras.Model"]
)
def test_a_file_cannot_name_anything_but_an_optimizer(name):
    file = io.BytesIO(skops.io.dumps(SparseAutoencoderTransformer(solver=Registered())))
    forged = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(forged, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            assert b"tests>Registered" in content
            new.writestr(entry, content.replace(b"tests>Registered", name.encode()))
    with pytest.raises(ValueError, match="optimizer or a schedule named"):
        skops.io.loads(forged.getvalue(), trusted=[CLASS])


def test_a_path_is_saved_as_a_string(tmp_path):
    file = skops.io.dumps(SparseAutoencoderTransformer(checkpoint_dir=tmp_path))
    assert skops.io.get_untrusted_types(data=file) == [CLASS]
    assert skops.io.loads(file, trusted=[CLASS]).checkpoint_dir == str(tmp_path)


def test_an_unfitted_transformer_is_saved_too():
    file = skops.io.dumps(SparseAutoencoderTransformer(7, rho=0.125))
    loaded = skops.io.loads(file, trusted=[CLASS])
    assert (
        loaded.get_params() == SparseAutoencoderTransformer(7, rho=0.125).get_params()
    )
    assert not [name for name in vars(loaded) if name.endswith("_")]


# ------------------------------------------------------------- a module of NumPy alone

# -I and -S: no variables of the environment, no site-packages. What is put on the path
# is the folder of the module and one that holds nothing but NumPy.
USE_MODULE = """
import importlib.util
import sys

sys.path += [sys.argv[1], sys.argv[2]]
import numpy as np

import network

for absent in ("sksparse_ae", "scipy", "sklearn", "keras", "tensorflow"):
    assert importlib.util.find_spec(absent) is None, absent
assert network.__file__.startswith(sys.argv[1])
for dtype in ("float32", "float64"):
    X = np.load(f"{sys.argv[1]}/X.npy").astype(dtype)
    codes = network.encode(X)
    X_decoded, X_reconstructed = network.decode(codes), network.reconstruct(X)
    one = network.encode(X[0])
    np.savez(f"{sys.argv[1]}/{dtype}.npz", codes, X_decoded, X_reconstructed, one)
weights = ("ENCODER_WEIGHTS", "DECODER_WEIGHTS", "ENCODER_BIASES", "DECODER_BIASES")
np.savez(f"{sys.argv[1]}/weights.npz", *(getattr(network, name) for name in weights))
"""


@pytest.fixture(scope="module")
def numpy_alone(tmp_path_factory):
    """A folder with NumPy, and the libraries that it comes with, in it."""
    folder = tmp_path_factory.mktemp("site")
    for entry in Path(np.__file__).parents[1].glob("numpy*"):
        if entry.name in {"numpy", "numpy.libs"}:
            (folder / entry.name).symlink_to(entry, target_is_directory=True)
    return folder


@EVERY_DTYPE
@EVERY_NETWORK
def test_generated_module_gives_what_the_transformer_gives(
    networks, X, numpy_alone, tmp_path, name, dtype
):
    transformer = networks[name, dtype]
    transformer.generate_function(tmp_path / "network.py")
    np.save(tmp_path / "X.npy", X)
    options = ["-I", "-S", "-B"]
    in_fresh_process(USE_MODULE, tmp_path, numpy_alone, options=options)

    weights = np.load(tmp_path / "weights.npz").values()
    expected = transformer.coefs_ + transformer.intercepts_
    for array, fitted in zip(weights, expected, strict=True):
        assert array.dtype == fitted.dtype == dtype
        assert_array_equal(array, fitted)
    for precision in (np.float32, np.float64):
        data = X.astype(precision)
        codes = transformer.transform(data)
        results = np.load(tmp_path / f"{np.dtype(precision).name}.npz").values()
        for array, fitted in zip(
            results,
            (
                codes,
                transformer.inverse_transform(codes),
                transformer.reconstruct(data),
                codes[0],
            ),
            strict=True,
        ):
            assert array.dtype == precision
            tolerance = 8 * np.finfo(precision).eps
            assert_allclose(array, fitted, rtol=tolerance, atol=tolerance)


def generated(transformer, path):
    """Return the names that the generated module defines."""
    transformer.generate_function(path)
    namespace = {}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), namespace)
    return namespace


def test_generated_sigmoid_is_exact_and_silent_far_from_0(X, tmp_path):
    transformer = SparseAutoencoderTransformer(**{**FEW, "n_components": 1}).fit(X)
    transformer.coefs_[0][:] = 1 / 64
    transformer.intercepts_[0][:] = 0
    inputs = np.array([-1000.0, -700.0, -40.0, 0.0, 40.0, 1000.0])
    data = np.repeat(inputs[:, None], 64, axis=1)
    codes = generated(transformer, tmp_path / "network.py")["encode"](data)
    assert_allclose(codes, transformer.transform(data), rtol=1e-13, atol=0)
    assert codes[1, 0] > 0


def test_generated_module_states_the_names_of_the_features(X, tmp_path):
    # Names that would end a string, or a docstring, if they were not quoted.
    names = [f"pixel {i}" for i in range(62)] + ["quote \" and '", '""" \\ \n ρ']
    frame = pd.DataFrame(X, columns=names)
    transformer = clone(SparseAutoencoderTransformer(**FEW)).fit(frame)
    namespace = generated(transformer, tmp_path / "network.py")
    assert namespace["FEATURE_NAMES"] == names
    assert_allclose(namespace["encode"](frame), transformer.transform(frame))


def test_generated_module_imports_numpy_and_the_standard_library(networks, tmp_path):
    for transformer in networks.values():
        path = tmp_path / "network.py"
        transformer.generate_function(path)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        assert imported == {"base64", "numpy"}
        assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]


def test_generated_module_refuses_another_number_of_features(networks, X, tmp_path):
    transformer = networks["sigmoid, linear", np.float64]
    namespace = generated(transformer, tmp_path / "network.py")
    with pytest.raises(ValueError, match=r"expected 64 values .* shape \(300, 63\)"):
        namespace["encode"](X[:, 1:])
    with pytest.raises(ValueError, match=r"expected 12 values .* shape \(300, 64\)"):
        namespace["decode"](X)
    with pytest.raises(ValueError, match=r"expected 64 values .* shape \(\)"):
        namespace["encode"](1.0)


@pytest.mark.parametrize(
    "name", ["network", "net-work.py", "1.py", "class.py", "n.txt"]
)
def test_generated_module_is_to_have_a_name_that_can_be_imported(
    networks, tmp_path, name
):
    with pytest.raises(ValueError, match="does not name a module"):
        networks["sigmoid, linear", np.float64].generate_function(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["numpy.py", "base64.py", "random.py"])
def test_generated_module_is_not_to_hide_one_that_is_imported(networks, tmp_path, name):
    with pytest.raises(ValueError, match=f"{name}' has the name of a module that"):
        networks["sigmoid, linear", np.float64].generate_function(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "export",
    [
        lambda transformer, path: transformer.to_onnx(path),
        lambda transformer, path: transformer.generate_function(path),
        lambda transformer, path: transformer.onnx_converter(),
    ],
)
def test_what_is_not_fitted_cannot_be_exported(export, tmp_path):
    with pytest.raises(NotFittedError):
        export(SparseAutoencoderTransformer(), tmp_path / "network.py")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [1e-60, 1e60])
@pytest.mark.parametrize("way", ["to_onnx", "to_keras"])
def test_weights_that_float32_does_not_hold_are_refused(digits, size, way):
    network = SparseAutoencoderTransformer(3, max_iter=1, tol=1, random_state=0)
    with pytest.raises(ValueError, match="which float32 does not hold"):
        getattr(network.fit(digits * size), way)()


@EVERY_DTYPE
def test_onnx_takes_the_gaps_of_a_training_that_had_some(digits, y, dtype):
    gaps = np.random.default_rng(0).random(digits.shape) < 0.2
    gaps[3] = True
    X = np.where(gaps & (digits.std(axis=0) > 0), np.nan, digits).astype(dtype)
    transformer = SparseAutoencoderTransformer(**FEW).fit(X)
    X = X.astype(np.float32)
    codes, reconstruction = run(transformer.to_onnx(reconstruct=True), X)
    assert_allclose(codes, transformer.transform(X), rtol=0, atol=2e-6)
    assert_allclose(reconstruction, transformer.reconstruct(X), rtol=1e-5, atol=1e-5)
    pipeline = make_pipeline(
        SparseAutoencoderTransformer(**FEW), LogisticRegression()
    ).fit(X, y)
    model = skl2onnx.to_onnx(pipeline, X[:1], options={"zipmap": False})
    onnx.checker.check_model(model, full_check=True)
    _, probabilities = run(model, X)
    assert_allclose(probabilities, pipeline.predict_proba(X), rtol=0, atol=1e-5)
    # A network of complete rows has no such nodes.
    complete = SparseAutoencoderTransformer(**FEW).fit(digits)
    assert len(complete.to_onnx().graph.node) == 2
