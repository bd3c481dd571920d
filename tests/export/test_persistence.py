"""Fitted transformers are small files that need no TensorFlow to be used."""

import copy
import io
import pickle
import subprocess
import sys
import time

import joblib
import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer

KB = 1000


def in_fresh_process(code, *arguments):
    """Run Python code with warnings as errors; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


NO_TENSORFLOW = """
loaded = {"tensorflow", "keras"} & set(sys.modules)
assert not loaded, loaded
"""


def size_of_file(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file)
    return file.tell()


def size_of_weights(transformer):
    return sum(w.nbytes for w in transformer.coefs_ + transformer.intercepts_)


def copies(estimator, path):
    joblib.dump(estimator, path)
    return [
        joblib.load(path),
        pickle.loads(pickle.dumps(estimator)),
        copy.deepcopy(estimator),
    ]


def test_importing_building_cloning_and_setting_parameters_import_no_tensorflow():
    in_fresh_process(
        "import sys\n"
        "from sklearn.base import clone\n"
        "from sksparse_ae import SparseAutoencoderTransformer\n"
        "import sksparse_ae.datasets\n"
        "clone(SparseAutoencoderTransformer(5).set_params(rho=0.1))\n" + NO_TENSORFLOW
    )


def test_a_fitted_transformer_is_used_in_a_fresh_process_without_tensorflow(
    fitted, digits, tmp_path
):
    pipeline = make_pipeline(StandardScaler(with_std=False), fitted)
    pipeline[0].fit(digits)
    joblib.dump(([fitted, pipeline], digits), tmp_path / "fitted")
    in_fresh_process(
        "import sys, joblib, numpy as np\n"
        "estimators, X = joblib.load(sys.argv[1])\n"
        "codes = [estimator.transform(X) for estimator in estimators]\n"
        "for estimator, found in zip(estimators, codes):\n"
        "    estimator.inverse_transform(found)\n"
        "    estimator.score(X)\n"
        "np.save(sys.argv[2], codes)\n" + NO_TENSORFLOW,
        tmp_path / "fitted",
        tmp_path / "codes.npy",
    )
    expected = [estimator.transform(digits) for estimator in (fitted, pipeline)]
    assert_array_equal(np.load(tmp_path / "codes.npy"), expected)


def test_every_method_but_training_and_to_keras_works_without_tensorflow(
    fitted, digits, tmp_path
):
    joblib.dump((fitted, digits), tmp_path / "fitted")
    in_fresh_process(
        "import sys, joblib\n"
        "t, X = joblib.load(sys.argv[1])\n"
        "t.reconstruct(X), t.score_samples(X), t.reconstruction_error(X)\n"
        "t.evaluate_objective(X), t.unit_report(X), t.components_, t.maximal_inputs_\n"
        "t.get_feature_names_out(), repr(t), t._repr_html_()\n" + NO_TENSORFLOW,
        tmp_path / "fitted",
    )


def test_copies_of_a_fitted_transformer_give_the_same_bits(fitted, digits, tmp_path):
    pipeline = make_pipeline(StandardScaler(with_std=False).fit(digits), fitted)
    for estimator in (fitted, pipeline):
        for other in copies(estimator, tmp_path / "file"):
            assert_array_equal(other.transform(digits), estimator.transform(digits))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
# Trainings that are short on purpose stop at max_iter.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_file_of_a_fit_is_the_weights_and_little_more(digits, solver, dtype):
    transformer = SparseAutoencoderTransformer(
        200, solver=solver, max_iter=20, random_state=0
    ).fit(digits.astype(dtype))
    # Five statistics for each unit and others take 20 KB.
    assert size_of_file(transformer) < size_of_weights(transformer) + 24 * KB


# Trainings that are short on purpose stop at max_iter.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_file_of_a_training_that_can_go_on_holds_latest_weights_and_moments(
    digits,
):
    X = digits.astype(np.float32)
    parts = SparseAutoencoderTransformer(200, random_state=0).partial_fit(X)
    warm = SparseAutoencoderTransformer(
        200, max_iter=2, warm_start=True, random_state=0
    ).fit(X)
    for transformer in (parts, warm):
        weights = size_of_weights(transformer)
        # The fitted weights and, as the training has them, the latest ones, their
        # average and two moments; the axes, 64 x 64 values; five numbers for each unit.
        most = 5 * weights + 48 * KB
        if transformer is parts:
            # The covariance of a stream that has had too few rows for its axes.
            most += 8 * 64 * 64
        assert 5 * weights < size_of_file(transformer) < most


def optimizers():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.75)
    return {
        "Adam": keras.optimizers.Adam(0.01),
        "SGD": keras.optimizers.SGD(schedule, momentum=0.5),
        "named": keras.optimizers.RMSprop(0.01, name="mine"),
        "LossScale": keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(0.01)),
    }


@pytest.mark.parametrize("name", optimizers())
def test_equal_optimizers_hash_alike_whenever_they_were_made(monkeypatch, name):
    one, other = (
        SparseAutoencoderTransformer(3, solver=optimizers()[name]) for _ in range(2)
    )
    before = joblib.hash(one)
    # Keras' own pickle of an optimizer is an archive that holds the time.
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    assert joblib.hash(one) == joblib.hash(other) == joblib.hash(clone(one)) == before
    different = SparseAutoencoderTransformer(3, solver=keras.optimizers.Adam(0.02))
    assert joblib.hash(different) != before


# Trainings that are short on purpose stop at max_iter.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_cached_pipeline_that_is_built_again_is_not_trained_again(
    digits, tmp_path, monkeypatch
):
    def build():
        solver = keras.optimizers.Adam(0.01)
        few = SparseAutoencoderTransformer(3, solver=solver, max_iter=2, random_state=0)
        memory = joblib.Memory(tmp_path, verbose=0)
        return make_pipeline(few, StandardScaler(), memory=memory)

    first = build().fit(digits)
    monkeypatch.setattr(SparseAutoencoderTransformer, "_fit", None)
    again = build().fit(digits)
    assert_array_equal(again[0].coefs_[0], first[0].coefs_[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_partial_fit_goes_on_after_loading_as_if_never_saved(digits, tmp_path, dtype):
    X = digits.astype(dtype)
    kept = SparseAutoencoderTransformer(10, random_state=0).partial_fit(X)
    loaded = copies(kept, tmp_path / "file")
    kept.partial_fit(X).partial_fit(X)
    for other in loaded:
        other.partial_fit(X).partial_fit(X)
        assert_array_equal(other.coefs_[0], kept.coefs_[0])
        assert other.loss_curve_ == kept.loss_curve_


def test_partial_fit_goes_on_in_another_process(digits, tmp_path):
    kept = SparseAutoencoderTransformer(10, random_state=0).partial_fit(digits)
    joblib.dump((kept, digits), tmp_path / "half")
    kept.partial_fit(digits)
    in_fresh_process(
        "import sys, joblib\n"
        "import warnings; warnings.simplefilter('default')\n"
        "t, X = joblib.load(sys.argv[1])\n"
        "joblib.dump(t.partial_fit(X), sys.argv[2])\n",
        tmp_path / "half",
        tmp_path / "whole",
    )
    assert_array_equal(joblib.load(tmp_path / "whole").coefs_[0], kept.coefs_[0])


def test_a_fit_shows_no_messages_of_tensorflow_and_leaves_its_setting():
    code = (
        "import os, sys, numpy as np\n"
        "os.environ.pop('TF_CPP_MIN_LOG_LEVEL', None)\n"
        "from sksparse_ae import SparseAutoencoderTransformer\n"
        "X = np.random.default_rng(0).normal(size=(20, 3))\n"
        "few = SparseAutoencoderTransformer(2, max_iter=30, tol=1e3, random_state=0)\n"
        "few.fit(X)\n"
        "assert 'TF_CPP_MIN_LOG_LEVEL' not in os.environ\n"
        "print('to standard error', file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stderr == "to standard error\n"


@pytest.mark.slow
def test_what_other_threads_do_while_tensorflow_is_imported_stays():
    code = (
        "import importlib, os, subprocess, sys, threading, numpy as np\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "from sksparse_ae import SparseAutoencoderTransformer\n"
        "from sksparse_ae._engine import startup\n"
        "os.environ.pop('TF_CPP_MIN_LOG_LEVEL', None)\n"
        "os.environ['CHANGED'] = os.environ['REMOVED'] = 'before'\n"
        "start = startup._import_on_share_of_cores\n"
        "def act():\n"
        "    os.environ['NEW'] = os.environ['CHANGED'] = 'meanwhile'\n"
        "    del os.environ['REMOVED']\n"
        "    print('by a thread', file=sys.stderr, flush=True)\n"
        "    os.write(2, b'I0000 00:00:1.5    1 library.cc:1] by a library\\n')\n"
        "    subprocess.run([sys.executable, '-c', 'import os;'\n"
        "                    'os.write(2, b\"by a child\\\\n\")'], check=True)\n"
        "def start_meanwhile(n_threads):\n"
        "    thread = threading.Thread(target=act)\n"
        "    thread.start(); thread.join()\n"
        "    return start(n_threads)\n"
        "startup._import_on_share_of_cores = start_meanwhile\n"
        "before = set(os.environ) - {'REMOVED'}\n"
        "X = np.random.default_rng(0).normal(size=(20, 3))\n"
        "SparseAutoencoderTransformer(2, max_iter=1).fit(X)\n"
        "assert 'tensorflow' in sys.modules\n"
        "assert os.environ['CHANGED'] == 'meanwhile'\n"
        "assert set(os.environ) == before | {'NEW'}, set(os.environ) - before\n"
        "print('by this one', file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        "by a thread",
        "I0000 00:00:1.5    1 library.cc:1] by a library",
        "by a child",
        "by this one",
    ]


@pytest.mark.slow
def test_a_standard_error_that_is_replaced_meanwhile_stays(tmp_path):
    in_fresh_process(
        "import os, sys, warnings, numpy as np\n"
        "from sksparse_ae import SparseAutoencoderTransformer\n"
        "from sksparse_ae._engine import startup\n"
        "warnings.simplefilter('ignore')\n"
        "os.environ.pop('TF_CPP_MIN_LOG_LEVEL', None)\n"
        "start = startup._import_on_share_of_cores\n"
        "def start_elsewhere(n_threads):\n"
        "    os.dup2(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), 2)\n"
        "    return start(n_threads)\n"
        "startup._import_on_share_of_cores = start_elsewhere\n"
        "X = np.random.default_rng(0).normal(size=(20, 3))\n"
        "SparseAutoencoderTransformer(2, max_iter=1).fit(X)\n"
        "os.write(2, b'after')\n",
        tmp_path / "log",
    )
    assert (tmp_path / "log").read_text().endswith("after")


@pytest.mark.slow
def test_the_first_fits_of_a_process_may_be_in_several_threads():
    in_fresh_process(
        "import sys, threading, warnings, numpy as np\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from sksparse_ae import SparseAutoencoderTransformer\n"
        "warnings.simplefilter('ignore')\n"
        "sys.setswitchinterval(1e-5)\n"
        "X = np.random.default_rng(0).normal(size=(20, 3))\n"
        "barrier = threading.Barrier(8)\n"
        "def fit(i):\n"
        "    barrier.wait()\n"
        "    solver = ('adam', 'lbfgs')[i % 2]\n"
        "    SparseAutoencoderTransformer(2, solver=solver, max_iter=2).fit(X)\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    list(pool.map(fit, range(8)))\n"
    )


@pytest.mark.slow
def test_a_fit_needs_no_standard_error():
    in_fresh_process(
        "import os, sys, warnings, numpy as np\n"
        "from sksparse_ae import SparseAutoencoderTransformer\n"
        "warnings.simplefilter('ignore')\n"
        "os.environ.pop('TF_CPP_MIN_LOG_LEVEL', None)\n"
        "os.close(2); sys.stderr = None\n"
        "X = np.random.default_rng(0).normal(size=(20, 3))\n"
        "SparseAutoencoderTransformer(2, max_iter=2).fit(X)\n"
    )
