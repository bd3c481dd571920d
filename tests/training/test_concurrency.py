"""Threads and processes at once give what one after the other gives."""

import os
import random
import subprocess
import sys
import textwrap
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from threadpoolctl import threadpool_info

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine import minibatch, startup

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning",
)

MIXED = [
    SparseAutoencoderTransformer(
        n_components, solver=solver, max_iter=4, random_state=seed
    )
    for n_components in (3, 4)
    for solver in ("adam", "lbfgs")
    for seed in (0, 1)
]


def codes(transformer, X):
    return clone(transformer).fit(X).transform(X)


@pytest.mark.slow
@pytest.mark.parametrize("compiles", [False, True])
def test_eight_threads_at_once_give_the_codes_of_one(digits, compiles):
    tasks = MIXED
    if compiles:
        tasks = [clone(t).set_params(max_iter=90, tol=0) for t in MIXED[:2]] * 4
    expected = [codes(task, digits) for task in tasks]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(codes, tasks, [digits] * 8))
    for one, other in zip(expected, at_once, strict=True):
        assert_array_equal(one, other)


def test_threads_at_once_compile_one_shape_once(digits, compiling, monkeypatch):
    traces, epoch = [], minibatch.MiniBatchProgram.epoch

    def traced(self, *args):
        traces.append(threading.get_ident())
        return epoch(self, *args)

    monkeypatch.setattr(minibatch.MiniBatchProgram, "epoch", traced)
    compiling(True)
    minibatch.minibatch_program.cache_clear()
    tasks = [clone(MIXED[0]).set_params(rho=rho) for rho in (0.05, 0.1, 0.2, 0.3)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(codes, tasks, [digits] * 4))
    for one, task in zip(at_once, tasks, strict=True):
        assert_array_equal(one, codes(task, digits))
    assert len(traces) == 1


def test_threads_share_a_fitted_transformer(fitted, digits):
    expected = fitted.transform(digits)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(fitted.transform, [digits] * 32):
            assert_array_equal(result, expected)


def tensorflow_threads():
    """Return the sizes of TensorFlow's pools of threads; 0 is one for each core."""
    return [
        tf.config.threading.get_intra_op_parallelism_threads(),
        tf.config.threading.get_inter_op_parallelism_threads(),
    ]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_backends_of_joblib_give_the_same_on_their_share_of_cores(digits, backend):
    # Pickled by value: a worker that imported this module would import TensorFlow.
    def codes_and_threads(transformer, X):
        found = clone(transformer).fit(X).transform(X)
        threading = sys.modules["tensorflow"].config.threading
        threads = threading.get_intra_op_parallelism_threads()
        if threads == 0:  # where the variable says it
            threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0))
        return found, os.environ.get("OMP_NUM_THREADS"), threads

    expected = [codes(task, digits) for task in MIXED[:2]]
    results = Parallel(n_jobs=2, backend=backend)(
        delayed(codes_and_threads)(task, digits) for task in MIXED[:2]
    )
    for one, (other, share, threads) in zip(expected, results, strict=True):
        if backend == "loky":
            # On some processors TensorFlow sums in another order on fewer threads.
            assert_allclose(other, one, rtol=1e-4)
            assert threads == int(share)
        else:
            assert_array_equal(other, one)


FORKING = """
    import warnings
    import numpy as np
    from joblib import Parallel, delayed
    from sklearn.base import clone
    from sksparse_ae import SparseAutoencoderTransformer

    warnings.simplefilter("ignore")
    X = np.random.default_rng(0).normal(size=(2000, 32))
    few = SparseAutoencoderTransformer(8, max_iter=2, random_state=0)
    in_forked = Parallel(n_jobs=2, backend="multiprocessing")

    before = in_forked(delayed(clone(few).fit)(X) for _ in range(2))
    here = clone(few).fit(X)
    for there in before:
        assert np.array_equal(there.coefs_[0], here.coefs_[0])
    print("fitted")

    codes = in_forked(delayed(here.transform)(X) for _ in range(2))
    assert np.array_equal(codes[0], here.transform(X))
    print("transformed")

    import tensorflow as tf
    print(
        tf.config.threading.get_intra_op_parallelism_threads(),
        tf.config.threading.get_inter_op_parallelism_threads(),
        flush=True,
    )
    in_forked(delayed(clone(few).fit)(X) for _ in range(2))
"""


@pytest.mark.slow
def test_forked_processes_train_or_say_why_not_and_keep_the_users_threads(tmp_path):
    script = tmp_path / "forking.py"
    script.write_text(textwrap.dedent(FORKING))
    settings = {
        "OMP_NUM_THREADS": "1",
        startup.THREAD_POOLS["intra_op"]: "2",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    result = subprocess.run(
        [sys.executable, script],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=120,
    )
    # TensorFlow reads its own variable by itself; the other pool gets the share.
    assert result.stdout.splitlines() == ["fitted", "transformed", "0 1"]
    assert result.returncode == 1
    assert "RuntimeError: This process was forked from one in which" in result.stderr


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ("3", 3),
        ("4,2", 4),
        (" 2 ", 2),
        ("", None),
        ("0", None),
        ("-1", None),
        ("2.5", None),
        ("all", None),
        (None, None),
    ],
)
def test_the_share_of_cores_is_what_openmp_is_told(monkeypatch, value, share):
    if value is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert startup._share_of_cores() == share


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_another_backend_of_keras_is_refused(digits, monkeypatch, solver):
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    transformer = clone(MIXED[0]).set_params(solver=solver)
    with pytest.raises(RuntimeError, match="with the 'jax' backend"):
        transformer.fit(digits)


def test_a_backend_that_is_not_installed_is_named():
    fit = (
        "import numpy; from sksparse_ae import SparseAutoencoderTransformer as S; "
        "S(2).fit(numpy.eye(4))"
    )
    done = subprocess.run(
        [sys.executable, "-c", fit],
        env={**os.environ, "KERAS_BACKEND": "absent"},
        capture_output=True,
        text=True,
    )
    assert "ImportError: keras cannot be imported with KERAS_BACKEND=absent" in (
        done.stderr
    )
    assert "set KERAS_BACKEND=tensorflow, or unset it" in done.stderr


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_mode_of_tensorflow_that_cannot_train_is_named(digits, solver):
    transformer = clone(MIXED[0]).set_params(solver=solver)
    with (
        tf.distribute.MirroredStrategy(["CPU:0"]).scope(),
        pytest.raises(RuntimeError, match="within the scope of a"),
    ):
        transformer.fit(digits)
    for graph in (tf.Graph().as_default(), tf.compat.v1.Graph().as_default()):
        with graph, pytest.raises(RuntimeError, match="executes nothing eagerly here"):
            transformer.fit(digits)
    assert not hasattr(transformer, "coefs_")
    with tf.GradientTape():
        transformer.fit(digits)


def test_threads_stay_where_tensorflow_has_been_imported(digits, monkeypatch):
    before = tensorflow_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(before[0] + 1))
    clone(MIXED[0]).fit(digits)
    assert tensorflow_threads() == before


def global_state():
    """What a fit has to leave as it is."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002, the global state is meant
    return {
        "numpy": numpy_state["state"]["key"].tolist(),
        "python": random.getstate(),
        "tensorflow": tf.random.get_global_generator().state.numpy().tolist(),
        "floatx": keras.config.floatx(),
        "policy": keras.config.dtype_policy().name,
        "filters": list(warnings.filters),
        "errors": np.geterr(),
        "threads": [
            (lib["prefix"], lib["num_threads"])
            for lib in threadpool_info()
            if lib["user_api"] == "blas"
        ],
        "tf threads": tensorflow_threads(),
        "environment": dict(os.environ),
    }


@pytest.mark.parametrize("solver", ["adam", "lbfgs", keras.optimizers.RMSprop()])
def test_a_fit_leaves_the_state_of_the_process_as_it_was(digits, solver):
    transformer = SparseAutoencoderTransformer(3, solver=solver, max_iter=2)
    before = global_state()
    tf_before = tf.random.uniform([], seed=1).numpy()
    tf.random.set_seed(0)
    drawn = tf.random.uniform([3]).numpy()
    tf.random.set_seed(0)
    transformer.set_params(random_state=0).fit(digits).transform(digits)
    assert_array_equal(tf.random.uniform([3]).numpy(), drawn)
    assert np.isfinite(tf_before)
    after = global_state()
    for name in before:
        assert after[name] == before[name], name


def test_a_keras_model_trained_beside_it_is_undisturbed(digits):
    def trained(beside):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(5)])
        model.compile("adam", "mse")
        for _ in range(2):
            model.fit(digits, digits[:, :5], epochs=1, verbose=0)
            if beside:
                clone(MIXED[0]).fit(digits)
        return model.get_weights(), model.layers[0].name

    (alone, _), (beside, _) = trained(False), trained(True)
    for one, other in zip(alone, beside, strict=True):
        assert_array_equal(one, other)
