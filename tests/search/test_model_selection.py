"""Fits that are trained together give what they give alone."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401, it enables
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    ParameterGrid,
    learning_curve,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._search import at_once
from sksparse_ae._training.monitor import Monitor
from sksparse_ae.model_selection import train_together

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def sizes(monkeypatch):
    """Return a list that the numbers of models trained together are added to.

    Groups of models may train at the same time, and are then added in any order.
    """
    found = []
    plain = at_once.train_jointly

    def counted(trainings, stop=None):
        found.append(len(trainings))
        return plain(trainings, stop)

    monkeypatch.setattr(at_once, "train_jointly", counted)
    return found


def few(**settings):
    return SparseAutoencoderTransformer(
        5, **{"max_iter": 6, "batch_size": 50, "random_state": 0} | settings
    )


def fitted_together(transformers, X, **settings):
    with train_together(**settings):
        return Parallel()(delayed(clone(t).fit)(X) for t in transformers)


def assert_same_fits(together, transformers, X):
    for one, transformer in zip(together, transformers, strict=True):
        alone = clone(transformer).fit(X)
        assert one.n_iter_ == alone.n_iter_
        assert_allclose(one.loss_curve_, alone.loss_curve_, rtol=1e-4)
        for a, b in zip(
            one.coefs_ + one.intercepts_, alone.coefs_ + alone.intercepts_, strict=True
        ):
            assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


GRID = {"rho": [0.05, 0.2], "beta": [0.1, 3.0]}


@pytest.mark.parametrize(
    ("settings", "grid"),
    [
        ({}, GRID | {"weight_decay": [1e-4, 1e-2]}),
        ({"rho_hat": "batch"}, {"learning_rate": [0.003, "auto", 0.03]}),
        ({"activation": "tanh"}, GRID),
        ({"activation": "relu", "init": "uniform"}, GRID),
        ({"loss": "log_loss", "output_activation": "sigmoid"}, GRID),
        ({"loss": "poisson", "output_activation": "exponential"}, GRID),
        ({"loss": "huber"}, GRID),
        ({"shuffle": False, "scale": False}, GRID | {"max_iter": [3, 8]}),
        ({"max_iter": 40, "n_iter_no_change": 2}, {"tol": [0.1, 1.0, 100.0]}),
        ({"early_stopping": True}, GRID),
    ],
    ids=str,
)
def test_fits_trained_together_are_those_trained_alone(digits, sizes, settings, grid):
    transformers = [few(**settings, **point) for point in ParameterGrid(grid)]
    together = fitted_together(transformers, digits / 16)
    assert sizes == [len(transformers)]
    assert_same_fits(together, transformers, digits / 16)


@pytest.mark.parametrize("compiled", [False, True])
def test_compiled_or_not_they_are_the_same(digits, sizes, compiling, compiled):
    compiling(compiled)
    transformers = [few(**point) for point in ParameterGrid(GRID)]
    X = sparse.csr_matrix(digits)
    assert_same_fits(fitted_together(transformers, X), transformers, X)
    assert sizes == [4]


def test_a_search_over_a_pipeline_finds_the_same(digits, sizes):
    y = np.arange(len(digits)) % 3
    pipeline = make_pipeline(
        make_union(MinMaxScaler(), StandardScaler(), n_jobs=2),
        few(),
        LogisticRegression(),
    )
    grid = {f"{pipeline.steps[1][0]}__{name}": values for name, values in GRID.items()}
    search = GridSearchCV(pipeline, grid, cv=3)
    with train_together():
        together = clone(search).fit(digits, y)
    # Fold by fold, and the best one again on all rows, outside of joblib.
    assert sizes == [4, 4, 4]
    alone = clone(search).set_params(estimator__featureunion__n_jobs=None)
    alone.fit(digits, y)
    assert together.best_params_ == alone.best_params_
    assert_array_equal(
        together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )


def test_a_fixed_batch_size_serves_tools_that_fit_on_parts_of_the_data(digits):
    y = np.arange(len(digits)) % 3
    pipeline = make_pipeline(StandardScaler(), few(batch_size=150, max_iter=2))
    grid = {"sparseautoencodertransformer__rho": [0.05, 0.1, 0.2]}
    search = HalvingGridSearchCV(pipeline, grid, cv=2, min_resources=40, random_state=0)
    with train_together():
        search.fit(digits, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    _, _, scores = learning_curve(pipeline, digits, y, cv=2, train_sizes=[20, 100])
    assert np.isfinite(scores).all()


def test_what_is_trained_together_depends_on_the_calls_alone(digits, sizes):
    transformers = [few(**point) for point in ParameterGrid(GRID)] * 2
    once = fitted_together(transformers, digits, n_fits=6)
    again = fitted_together(transformers, digits, n_fits=6)
    assert sizes == [6, 2, 6, 2]
    for one, other in zip(once, again, strict=True):
        assert_array_equal(one.coefs_[0], other.coefs_[0])


def parts_of(digits):
    """Return data of three, of which each is trained on apart."""
    return digits[:100], digits[100:200], digits[200:]


def test_data_of_several_kinds_train_at_once(digits, sizes, monkeypatch):
    transformers = [few(rho=rho) for rho in (0.05, 0.2)]
    expected = [clone(t).fit(X) for X in parts_of(digits) for t in transformers]
    all_have_begun, update = threading.Barrier(3, timeout=60), Monitor.update
    have_waited = set()

    def waiting(self, *args):
        if threading.get_ident() not in have_waited:
            have_waited.add(threading.get_ident())
            all_have_begun.wait()
        update(self, *args)

    monkeypatch.setattr(at_once, "n_at_once", lambda groups: len(groups))
    calls = [delayed(clone(t).fit)(X) for X in parts_of(digits) for t in transformers]
    monkeypatch.setattr(Monitor, "update", waiting)
    with train_together():
        found = Parallel()(calls)
    assert sizes == [2, 2, 2]
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one.coefs_[0], other.coefs_[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("n_threads", "n_groups", "n_rows", "n_models", "expected"),
    [
        (2, 1, 50, 9, 1),
        (2, 3, 50, 9, 3),
        (2, 4, 50, 9, 2),  # rather than three, and then one alone
        (8, 5, 50, 9, 3),
        (2, 10, 50, 9, 3),
        (1, 3, 50, 9, 1),
        (2, 3, 100_000, 9, 1),
        (2, 3, 50, 400, 1),
    ],
)
def test_as_many_train_at_once_as_cores_and_memory_allow(
    monkeypatch, n_threads, n_groups, n_rows, n_models, expected
):
    weights = [np.broadcast_to(0.0, shape) for shape in ((784, 50), (50, 784))]
    X = np.broadcast_to(0.0, (n_rows, 784))
    minibatches = SimpleNamespace(X=X, state=SimpleNamespace(weights=weights))
    plan = SimpleNamespace(minibatches=minibatches)
    task = SimpleNamespace(training=SimpleNamespace(plan=plan))
    groups = [[task] * n_models] * n_groups
    for allowed, cores in ((n_threads, 9), (0, n_threads)):
        monkeypatch.setattr(
            "tensorflow.config.threading.get_intra_op_parallelism_threads",
            lambda allowed=allowed: allowed,
        )
        monkeypatch.setattr("joblib.cpu_count", lambda cores=cores: cores)
        assert at_once.n_at_once(groups) == expected


@pytest.mark.parametrize(
    "others",
    [
        {"random_state": [0, 1]},
        {"solver": ["adam", "sgd"]},
        {"solver": ["adam", "lbfgs"], "batch_size": ["auto"]},
        {"batch_size": [50, 100]},
        {"activation": ["sigmoid", "tanh"]},
        {"scale": ["auto", False]},
        {"shuffle": [False, True]},
        {"verbose": [0, 1]},
    ],
    ids=str,
)
def test_what_differs_in_more_is_trained_apart(digits, sizes, capsys, others):
    transformers = [few(**point) for point in ParameterGrid(others)]
    together = fitted_together(transformers, digits)
    assert set(sizes) <= {1}
    for one, transformer in zip(together, transformers, strict=True):
        assert_array_equal(one.coefs_[0], clone(transformer).fit(digits).coefs_[0])


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_matrix])
def test_only_equal_rows_in_the_same_order_are_trained_together(digits, sizes, convert):
    swapped = digits.copy()
    swapped[[1, 2]] = swapped[[2, 1]]
    with train_together():
        # Whole numbers and no scale: whatever the order, their means are the same.
        fitted = Parallel()(
            delayed(few(scale=False).fit)(convert(X))
            for X in (digits, swapped, digits.copy())
        )
    assert sorted(sizes) == [1, 2]
    assert not np.array_equal(fitted[0].coefs_[0], fitted[1].coefs_[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"warm_start": True},
        {"random_state": None},
        {"random_state": np.random.RandomState(0)},
    ],
    ids=["warm start", "no seed", "shared random state"],
)
def test_what_goes_on_or_shares_its_random_state_is_trained_alone(
    digits, sizes, settings
):
    transformers = [few(**settings, rho=rho) for rho in (0.05, 0.2)]
    np.random.seed(0)  # noqa: NPY002, the global state is meant
    together = fitted_together(transformers, digits)
    assert sizes == []
    np.random.seed(0)  # noqa: NPY002, the global state is meant
    for one, transformer in zip(together, transformers, strict=True):
        alone = clone(transformer).fit(digits)
        assert_array_equal(one.coefs_[0], alone.coefs_[0])


class Quiet(BaseEstimator):
    """Fits a transformer within a context, as a user's own estimator may."""

    def __init__(self, rho):
        self.rho = rho

    def fit(self, X):
        with warnings.catch_warnings(record=True) as self.caught_:
            warnings.simplefilter("always")
            self.transformer_ = few(rho=self.rho).fit(X)
        return self


def test_each_call_keeps_its_own_state_of_warnings(digits, sizes):
    before = list(warnings.filters), warnings.showwarning
    fits = fitted_together([Quiet(rho) for rho in (0.05, 0.1, 0.2)], digits)
    assert sizes == [3]
    for one in fits:
        assert [w.category for w in one.caught_] == [ConvergenceWarning]
    assert (list(warnings.filters), warnings.showwarning) == before


def test_generators_within_one_block_do_not_mix(digits):
    calls = [delayed(few(rho=rho).fit)(digits) for rho in (0.05, 0.2)]
    expected = [few(rho=rho).fit(digits).coefs_[0] for rho in (0.05, 0.2)]
    with train_together():
        first = Parallel(return_as="generator")(calls)
        second = Parallel(return_as="generator")(calls)
        fits = [next(second), next(first), next(first), next(second)]
    for one, coefs in zip(fits, np.array(expected)[[0, 0, 1, 1]], strict=True):
        assert_allclose(one.coefs_[0], coefs, rtol=1e-3, atol=1e-4)


def test_one_that_diverges_leaves_the_others_as_they_are(digits, sizes):
    search = GridSearchCV(few(), {"learning_rate": [0.01, 1e30]}, cv=2, refit=False)
    with (
        train_together(),
        pytest.warns(FitFailedWarning, match="training diverged"),
        pytest.warns(UserWarning, match="scores are non-finite"),
    ):
        search.fit(digits)
    assert sizes == [2, 2]
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] > 0
    assert np.isnan(scores[1])


def raise_error():
    raise ZeroDivisionError("of one call")


def test_an_error_of_one_call_ends_all_and_leaves_no_thread(digits):
    before = threading.active_count()
    calls = [delayed(few().fit)(digits), delayed(raise_error)()]
    with pytest.raises(ZeroDivisionError, match="of one call"), train_together():
        Parallel()(calls)
    for thread in threading.enumerate():
        if type(thread).__name__ == "Task":
            thread.join(10)
    assert threading.active_count() == before
    with train_together():
        (one,) = Parallel()([delayed(few().fit)(digits)])
    assert_array_equal(one.coefs_[0], few().fit(digits).coefs_[0])


def test_others_that_call_joblib_are_served(digits):
    y = np.arange(len(digits)) % 3
    forest = RandomForestClassifier(5, random_state=0)
    expected = forest.fit(digits, y).predict_proba(digits)
    with train_together():
        found = clone(forest).fit(digits, y).predict_proba(digits)
    assert_array_equal(found, expected)


def test_an_interrupt_leaves_fitted_estimators(digits, sizes, monkeypatch):
    update = Monitor.update

    def interrupted(self, *args):
        if len(self.losses) == 3:
            raise KeyboardInterrupt
        update(self, *args)

    monkeypatch.setattr(Monitor, "update", interrupted)
    transformers = [few(rho=rho) for rho in (0.05, 0.2)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        together = fitted_together(transformers, digits)
    assert sizes == [2]
    assert "interrupted" in str(caught[0].message)
    for one in together:
        assert one.n_iter_ == 3
        assert np.isfinite(one.transform(digits)).all()


@pytest.fixture
def heeding_ctrl_c():
    """Have SIGINT raise KeyboardInterrupt; shells ignore it in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_reaches_the_call_that_runs(digits, monkeypatch, heeding_ctrl_c):
    update = Monitor.update

    def interrupting(self, *args):
        update(self, *args)
        if len(self.losses) == 3:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            for _ in range(1000):  # the main thread hands it on
                time.sleep(0.01)

    monkeypatch.setattr(Monitor, "update", interrupting)
    transformer = few(solver="lbfgs", batch_size="auto", max_iter=20)
    with pytest.warns(UserWarning, match="interrupted by user"):
        (one,) = fitted_together([transformer], digits)
    assert one.n_iter_ == 3


def interrupt_in_the_third_epoch(monkeypatch):
    """Have three trainings meet in their third epoch, where one sends a Ctrl-C."""
    all_wait, update = threading.Barrier(3, timeout=60), Monitor.update
    train, have_met, stops = at_once._train, [], []

    def noting(group, stop):
        stops.append(stop)
        return train(group, stop)

    def waiting(self, *args):
        update(self, *args)
        if len(self.losses) == 3:
            is_sender = all_wait.wait() == 0
            have_met.append(self)
            if is_sender:
                # An interrupt within the barrier would find its lock in any state.
                while len(have_met) < 3:
                    time.sleep(0.01)
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(1)  # an operation that no interrupt ends
            deadline = time.monotonic() + 60
            # The main thread hands it on, late if all is busy.
            while not all(stop.is_set() for stop in stops[:3]):
                assert time.monotonic() < deadline
                time.sleep(0.01)

    monkeypatch.setattr(at_once, "_train", noting)
    monkeypatch.setattr(Monitor, "update", waiting)


def test_ctrl_c_reaches_all_that_train_at_once(digits, monkeypatch, heeding_ctrl_c):
    monkeypatch.setattr(at_once, "n_at_once", lambda groups: len(groups))
    interrupt_in_the_third_epoch(monkeypatch)
    with (
        pytest.warns(UserWarning, match="interrupted by user"),
        train_together(),
    ):
        fits = Parallel()(delayed(few().fit)(X) for X in parts_of(digits))
    for one in fits:
        assert one.n_iter_ == 3
        assert np.isfinite(one.transform(digits)).all()


@pytest.mark.slow
def test_another_ctrl_c_ends_all(digits, monkeypatch, heeding_ctrl_c):
    wait_for, waits = at_once._wait_for, []

    def interrupted(*args):
        waits.append(wait_for(*args))  # until the first, which is handed on
        raise KeyboardInterrupt

    monkeypatch.setattr(at_once, "n_at_once", lambda groups: 3)
    monkeypatch.setattr(at_once, "_wait_for", interrupted)
    interrupt_in_the_third_epoch(monkeypatch)
    before = set(threading.enumerate())
    parts = [*parts_of(digits), digits[50:150], digits[150:250]]
    with pytest.raises(KeyboardInterrupt), train_together():
        Parallel()(delayed(few(max_iter=100_000, tol=0).fit)(X) for X in parts)
    assert waits == [True]
    names = {t.name for t in set(threading.enumerate()) - before}
    assert not [name for name in names if name.startswith("ThreadPoolExecutor")]


DEVICES = """
    import warnings
    import numpy as np
    import tensorflow as tf
    from joblib import Parallel, delayed
    from sksparse_ae import SparseAutoencoderTransformer
    from sksparse_ae._search import at_once
    from sksparse_ae.model_selection import train_together

    warnings.simplefilter("ignore")
    (cpu,) = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    train = at_once.train_jointly
    devices = []

    def noted(trainings, stop):
        devices.append(tf.zeros(()).device[-5:])
        return train(trainings, stop)

    at_once.train_jointly = noted
    at_once.n_at_once = len
    few = SparseAutoencoderTransformer(3, max_iter=2, random_state=0)
    with tf.device("CPU:1"), train_together():
        Parallel()(delayed(few.fit)(np.eye(n)) for n in (8, 9))
    print(*devices)
"""


@pytest.mark.slow
def test_all_train_on_the_device_of_the_caller(tmp_path):
    script = tmp_path / "devices.py"
    script.write_text(textwrap.dedent(DEVICES))
    found = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120
    )
    assert found.stdout.split() == ["CPU:1", "CPU:1"]


@pytest.mark.parametrize("n_fits", [3, 4.5, "all"])
def test_a_bad_number_of_fits_is_named(n_fits):
    with pytest.raises(ValueError, match="n_fits must be an integer from 4 on"):
        train_together(n_fits).__enter__()
