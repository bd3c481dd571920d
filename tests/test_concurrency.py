"""Threads and processes at once give what one after the other gives."""

import json
import os
import random
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf
from joblib import Parallel, delayed
from numpy.testing import assert_array_equal
from sklearn.base import clone
from threadpoolctl import threadpool_info

from sksparse_ae import SparseAutoencoderTransformer, _startup

pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning",
)

MIXED = [
    SparseAutoencoderTransformer(
        n_components, solver=solver, max_iter=4, batch_size=100, random_state=seed
    )
    for n_components in (3, 4)
    for solver in ("adam", "lbfgs")
    for seed in (0, 1)
]


def codes(transformer, X):
    return clone(transformer).fit(X).transform(X)


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


def test_threads_share_a_fitted_transformer(fitted, digits):
    expected = fitted.transform(digits)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(fitted.transform, [digits] * 32):
            assert_array_equal(result, expected)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_backends_of_joblib_give_the_same(digits, backend):
    expected = [codes(task, digits) for task in MIXED[:2]]
    results = Parallel(n_jobs=2, backend=backend)(
        delayed(codes)(task, digits) for task in MIXED[:2]
    )
    for one, other in zip(expected, results, strict=True):
        assert_array_equal(one, other)


FORKING = """
    import sys, warnings
    import numpy as np
    from joblib import Parallel, delayed
    from sklearn.base import clone
    from sksparse_ae import SparseAutoencoderTransformer

    def main():
        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).normal(size=(2000, 32))
        few = SparseAutoencoderTransformer(8, max_iter=2, random_state=0)
        if sys.argv[1] == "after":
            fitted = clone(few).fit(X)
            tasks = [delayed(fitted.transform)(X)] * 2
            Parallel(n_jobs=2, backend="multiprocessing")(tasks)
            print("transformed", flush=True)
        tasks = [delayed(clone(few).fit)(X) for _ in range(2)]
        one, other = Parallel(n_jobs=2, backend="multiprocessing")(tasks)
        assert np.array_equal(one.coefs_[0], other.coefs_[0])
        print("fitted")

    main()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_forked_processes_train_or_say_why_not(tmp_path, when):
    script = tmp_path / "forking.py"
    script.write_text(textwrap.dedent(FORKING))
    result = subprocess.run(
        [sys.executable, script, when], capture_output=True, text=True, timeout=120
    )
    if when == "before":
        assert result.stdout == "fitted\n"
        assert result.returncode == 0
    else:
        assert result.stdout == "transformed\n"
        assert result.returncode == 1
        assert (
            "RuntimeError: This process was forked from one in which" in result.stderr
        )


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
    assert _startup._share_of_cores() == share


SHARING = """
    import json, os, sys, warnings
    import numpy as np
    from joblib import Parallel, delayed
    from sksparse_ae import SparseAutoencoderTransformer

    def threads():
        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).normal(size=(20, 3))
        SparseAutoencoderTransformer(2, max_iter=2).fit(X)
        import tensorflow as tf
        return [
            os.environ.get("OMP_NUM_THREADS"),
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        ]

    if sys.argv[2:]:
        __import__(sys.argv[2])
    n_jobs = int(sys.argv[1])
    print(json.dumps(Parallel(n_jobs)([delayed(threads)()] * n_jobs)))
"""


def tensorflow_threads(folder, *arguments, **settings):
    """Run ``SHARING`` with nothing in the environment that sets threads but this."""
    script = folder / "sharing.py"
    script.write_text(textwrap.dedent(SHARING))
    names = {"OMP_NUM_THREADS", *_startup.THREAD_POOLS.values()}
    kept = {name: value for name, value in os.environ.items() if name not in names}
    result = subprocess.run(
        [sys.executable, script, *arguments],
        env=kept | settings,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return json.loads(result.stdout)


def test_tensorflow_keeps_to_the_share_of_a_worker(tmp_path):
    for share, *pools in tensorflow_threads(tmp_path, "2"):
        assert pools == [int(share)] * 2


@pytest.mark.parametrize(
    ("settings", "imported", "pools"),
    [
        ({}, [], [0, 0]),
        ({"OMP_NUM_THREADS": "1"}, ["tensorflow"], [0, 0]),
        (
            {
                "OMP_NUM_THREADS": "1",
                "TF_NUM_INTRAOP_THREADS": "2",
                "TF_CPP_MIN_LOG_LEVEL": "2",
            },
            [],
            [0, 1],
        ),
    ],
    ids=["nothing set", "TensorFlow imported before", "a variable of TensorFlow's"],
)
def test_threads_that_the_user_chose_stay(tmp_path, settings, imported, pools):
    [[_, *found]] = tensorflow_threads(tmp_path, "1", *imported, **settings)
    assert found == pools


def global_state():
    """What a fit has to leave as it is."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
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
        "tf threads": (
            tf.config.threading.get_intra_op_parallelism_threads(),
            tf.config.threading.get_inter_op_parallelism_threads(),
        ),
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
