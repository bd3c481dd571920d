"""Both solvers reach Ng's objective, and the fast path is the plain path."""

import copy
import io
import subprocess
import sys

import keras
import numpy as np
import pytest
from _helpers import NGS_EXERCISE
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_info, threadpool_limits

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._network.autoencoder import Parameters
from sksparse_ae._network.coordinates import Coordinates
from sksparse_ae._network.initialization import balanced_weights
from sksparse_ae._network.problem import Architecture, Problem
from sksparse_ae._network.scaling import Moments, Scaling
from sksparse_ae._objective.objective import Coefficients
from sksparse_ae._training import fit as fit_module
from sksparse_ae._training import monitor as monitor_module
from sksparse_ae._training.monitor import Monitor, Progress
from sksparse_ae._training.plan import hold_out
from sksparse_ae._training.revival import Reviver
from sksparse_ae._training.settings import FittedSettings, revives
from sksparse_ae._utils.threads import single_blas_thread
from sksparse_ae.exceptions import UninformativeUnitsWarning

# Trainings that are short on purpose explain little.
pytestmark = pytest.mark.filterwarnings(
    "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
)

FEATURES = Coordinates.of_features("sigmoid")


@pytest.fixture(scope="module")
def lbfgs_objective(patches):
    exercise = SparseAutoencoderTransformer(
        **NGS_EXERCISE, solver="lbfgs", max_iter=400, random_state=0
    )
    return exercise.fit(patches).objective_.total


# ------------------------------------------------------------- the objective reached


@pytest.mark.parametrize("seed", range(5))
def test_lbfgs_reaches_the_objective_of_ngs_exercise(patches, seed):
    exercise = SparseAutoencoderTransformer(
        **NGS_EXERCISE, solver="lbfgs", max_iter=400, random_state=seed
    ).fit(patches)
    assert 0.335 < exercise.objective_.total < 0.350
    assert_allclose(exercise.rho_hat_, 0.01, atol=0.003)
    assert (exercise.unit_report(patches)["state"] == "active").all()


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [32, 256, 1000])
def test_adam_reaches_the_objective_of_lbfgs_at_every_batch_size(
    patches, lbfgs_objective, batch_size
):
    exercise = SparseAutoencoderTransformer(
        **NGS_EXERCISE, batch_size=batch_size, random_state=0
    ).fit(patches)
    assert exercise.objective_.total < 1.05 * lbfgs_objective


@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
@pytest.mark.slow
def test_running_rho_hat_removes_the_bias_of_small_batches(
    patches, no_convergence_warning
):
    exercise = SparseAutoencoderTransformer(
        **NGS_EXERCISE, batch_size=32, max_iter=20, n_iter_no_change=99, random_state=0
    )
    running = exercise.fit(patches).objective_
    batch = exercise.set_params(rho_hat="batch").fit(patches).objective_
    assert running.total < 0.95 * batch.total


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("settings", "are_the_same"),
    [({}, True), ({"corruption": 0.2}, False), ({"batch_size": 20}, False)],
)
def test_a_batch_of_all_rows_has_the_mean_of_all(digits, settings, are_the_same):
    few = SparseAutoencoderTransformer(10, max_iter=5, random_state=0, **settings)
    running = few.fit(digits[:30]).coefs_[0]
    batch = few.set_params(rho_hat="batch").fit(digits[:30]).coefs_[0]
    assert np.array_equal(running, batch) is are_the_same


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize(
    "name",
    [
        "noise",
        "five columns",
        "wide",
        "binary",
        "offset",
        "huge",
        "tiny",
        "time stamp",
    ],
)
@pytest.mark.slow
def test_defaults_explain_variance_on_all_kinds_of_data(
    name, solver, no_convergence_warning
):
    rng = np.random.default_rng(0)
    X = {
        "noise": lambda: rng.normal(size=(200, 20)),
        "five columns": lambda: rng.normal(size=(200, 5)),
        "wide": lambda: rng.normal(size=(100, 3)) @ rng.normal(size=(3, 2000)),
        "binary": lambda: (rng.random((200, 30)) < 0.1).astype(float),
        "offset": lambda: 1e6 + 1e-3 * rng.normal(size=(200, 10)),
        "huge": lambda: 1e100 * rng.normal(size=(200, 10)),
        "tiny": lambda: 1e-100 * rng.normal(size=(200, 10)),
        "time stamp": lambda: np.c_[
            np.full(200, 1.7e9), 1e-4 * rng.normal(size=(200, 10))
        ],
    }[name]()
    transformer = SparseAutoencoderTransformer(
        40, solver=solver, max_iter=40 if solver == "lbfgs" else 200, random_state=0
    )
    codes = transformer.fit(X).transform(X)
    assert np.isfinite(codes).all()
    assert transformer.score(X) > 0.5
    assert transformer.objective_.total < transformer.loss_curve_[0]


# --------------------------------------------------------------- one path as the other


def test_a_step_is_that_of_keras_own_training_loop(digits):
    X = digits - digits.mean(axis=0)
    start = SparseAutoencoderTransformer(
        10,
        solver=keras.optimizers.SGD(1e-3),
        scale=False,
        rho_hat="batch",
        batch_size=100,
        shuffle=False,
        random_state=0,
    ).partial_fit(X)
    model = start.to_keras()
    model.fit(X, X, batch_size=100, epochs=1, shuffle=False, verbose=0)
    start.partial_fit(X)
    kernel, bias = model.get_layer("encoder").get_weights()
    assert_allclose(start.coefs_[0], kernel, rtol=1e-4, atol=1e-6)
    assert_allclose(start.intercepts_[0], bias, rtol=1e-4, atol=1e-6)


def test_same_random_state_gives_the_same_bits(digits, no_convergence_warning):
    few = SparseAutoencoderTransformer(10, max_iter=3, random_state=3)
    first, other, again = (
        clone(few).set_params(random_state=seed).fit_transform(digits)
        for seed in (3, 4, 3)
    )
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# ------------------------------------------------------------- continued trainings


def test_two_partial_fits_are_two_epochs_of_fit(digits):
    few = SparseAutoencoderTransformer(
        10,
        learning_rate=0.01,
        max_iter=2,
        rho_hat="batch",
        shuffle=False,
        random_state=0,
    )
    # warm_start keeps the axes along which nothing varies, as partial_fit does.
    whole, parts = clone(few).set_params(warm_start=True), clone(few)
    with pytest.warns(ConvergenceWarning):
        whole.fit(digits)
    parts.partial_fit(digits).partial_fit(digits)
    # But for the rounding of the weights, which are given in the units of the data.
    assert_allclose(parts.coefs_[0], whole.coefs_[0], rtol=1e-4, atol=1e-6)
    assert_allclose(parts.intercepts_[1], whole.intercepts_[1], rtol=1e-4)
    assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-6)
    assert parts.n_iter_ == whole.n_iter_ == 2


def test_partial_fit_on_single_batches_averages_rho_hat_over_calls(digits):
    codes = []
    for rho_hat in ("running", "batch"):
        transformer = SparseAutoencoderTransformer(
            10, batch_size=30, rho_hat=rho_hat, random_state=0
        )
        for rows in np.array_split(np.arange(300), 10):
            transformer.partial_fit(digits[rows])
        codes.append(transformer.transform(digits))
    assert not np.allclose(*codes)


@pytest.mark.parametrize("n_evaluated", [75, 299, 300])
def test_partial_fit_is_evaluated_on_some_of_many_rows(
    digits, monkeypatch, n_evaluated, no_convergence_warning
):
    monkeypatch.setattr(fit_module, "PARTIALLY_EVALUATED_ROWS", n_evaluated)
    few = SparseAutoencoderTransformer(5, scale=False, random_state=0)
    few.partial_fit(digits)
    rows = digits[:: {75: 4, 299: 2, 300: 1}[n_evaluated]]
    assert few.objective_ == pytest.approx(few.evaluate_objective(rows))
    assert_allclose(few.rho_hat_, few.transform(rows).mean(axis=0))
    whole = few.set_params(max_iter=2).fit(digits).objective_
    assert whole == pytest.approx(few.evaluate_objective(digits))


def test_partial_fit_takes_a_single_sample_once_it_has_begun(digits):
    transformer = SparseAutoencoderTransformer(10, random_state=0)
    with pytest.raises(ValueError, match="minimum of 2"):
        transformer.partial_fit(digits[:1])
    transformer.partial_fit(digits).partial_fit(digits[:1])
    assert transformer.n_iter_ == 2


def test_warm_start_continues_the_weights_and_the_optimizer(
    digits, no_convergence_warning
):
    few = SparseAutoencoderTransformer(
        10, learning_rate=0.01, shuffle=False, random_state=0, max_iter=4
    )
    whole = clone(few).set_params(warm_start=True).fit(digits)
    halves = clone(few).set_params(max_iter=2, warm_start=True)
    halves.fit(digits).fit(digits)
    # But for the rounding of the weights, which are given in the units of the data.
    assert_allclose(halves.coefs_[0], whole.coefs_[0], rtol=1e-4, atol=1e-6)
    assert_allclose(halves.loss_curve_, whole.loss_curve_, rtol=1e-6)
    again = clone(few).set_params(max_iter=2)
    again.fit(digits).fit(digits)
    assert again.n_iter_ == 2


def test_warm_start_of_lbfgs_starts_where_the_last_fit_ended(
    digits, no_convergence_warning
):
    transformer = SparseAutoencoderTransformer(
        10, solver="lbfgs", max_iter=20, warm_start=True, random_state=0
    ).fit(digits)
    first = transformer.objective_.total
    transformer.set_params(max_iter=1).fit(digits)
    assert transformer.objective_.total <= first
    assert transformer.n_iter_ == 21


@pytest.mark.slow
def test_partial_fit_over_chunks_learns_like_fit(digits):
    chunks = SparseAutoencoderTransformer(20, batch_size=30, random_state=0)
    for _ in range(30):
        for rows in np.array_split(np.arange(300), 3):
            chunks.partial_fit(digits[rows])
    assert chunks.score(digits) > 0.7
    assert chunks.n_iter_ == 90


def test_lbfgs_offers_no_partial_fit():
    transformer = SparseAutoencoderTransformer(solver="lbfgs")
    assert not hasattr(transformer, "partial_fit")
    with pytest.raises(AttributeError) as raised:
        transformer.partial_fit([[0.0]])
    assert "set solver to 'adam'" in str(raised.value.__cause__)


def test_a_keras_optimizer_is_used_and_never_changed(digits, no_convergence_warning):
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(1e-2, 100, 0.9)
    )
    before = optimizer.get_config()
    transformer = SparseAutoencoderTransformer(
        10, solver=optimizer, max_iter=30, random_state=0
    ).fit(digits)
    assert transformer.solver is optimizer
    assert optimizer.get_config() == before
    assert optimizer.iterations.numpy() == 0
    assert transformer.loss_curve_[-1] < 0.8 * transformer.loss_curve_[0]


@pytest.mark.parametrize(
    ("optimizer", "like"),
    [
        (
            lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3)),
            lambda: keras.optimizers.SGD(1e-3),
        ),
    ],
)
def test_optimizers_that_should_agree_do(
    digits, no_convergence_warning, optimizer, like
):
    codes = [
        SparseAutoencoderTransformer(
            10, solver=solver, max_iter=3, random_state=0
        ).fit_transform(digits)
        for solver in (optimizer(), like())
    ]
    assert_allclose(*codes, atol=1e-5)


# ----------------------------------------------------------- stopping and watching


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_early_stopping_keeps_the_best_weights_on_held_out_samples(
    solver, no_convergence_warning
):
    X = np.random.default_rng(0).normal(size=(60, 30))
    transformer = SparseAutoencoderTransformer(
        60,
        solver=solver,
        weight_decay=0,
        early_stopping=True,
        validation_fraction=0.25,
        n_iter_no_change=5,
        random_state=0,
    ).fit(X)
    curve = transformer.validation_loss_curve_
    assert len(curve) == len(transformer.loss_curve_) == transformer.n_iter_ < 200
    rng = np.random.RandomState(0)
    held_out = X[np.sort(rng.permutation(60)[45:])]
    assert_allclose(
        transformer.evaluate_objective(held_out).total, min(curve), rtol=1e-5
    )
    assert curve[-1] > min(curve)


def test_early_stopping_of_a_warm_start_keeps_the_best_of_all_calls():
    X = np.random.default_rng(0).normal(size=(60, 30))
    transformer = SparseAutoencoderTransformer(
        60,
        weight_decay=0,
        early_stopping=True,
        validation_fraction=0.25,
        n_iter_no_change=3,
        warm_start=True,
        random_state=0,
    )
    rng = np.random.RandomState(0)
    held_out = X[np.sort(rng.permutation(60)[45:])]
    objectives = [
        transformer.fit(X).evaluate_objective(held_out).total for _ in range(3)
    ]
    assert objectives[0] >= objectives[1] * (1 - 1e-12)
    assert objectives[1] >= objectives[2] * (1 - 1e-12)
    assert len(transformer.validation_loss_curve_) == transformer.n_iter_


def test_early_stopping_holds_out_the_same_samples_of_a_memory_map(
    digits, tmp_path, no_convergence_warning
):
    np.save(tmp_path / "X.npy", digits)
    few = SparseAutoencoderTransformer(
        5, max_iter=3, early_stopping=True, random_state=0
    )
    mapped = clone(few).fit(np.load(tmp_path / "X.npy", mmap_mode="r"))
    assert_array_equal(mapped.coefs_[0], clone(few).fit(digits).coefs_[0])


def test_reaching_max_iter_warns_and_converging_does_not(digits):
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        SparseAutoencoderTransformer(5, max_iter=2, random_state=0).fit(digits)
    stalls = SparseAutoencoderTransformer(5, max_iter=60, tol=1e3, random_state=0)
    assert stalls.fit(digits).n_iter_ < 60


def test_a_constant_learning_rate_stops_when_the_mlp_of_scikit_learn_would(digits):
    stalls = SparseAutoencoderTransformer(
        5, learning_rate=1e-3, tol=1e3, n_iter_no_change=3, random_state=0
    )
    peer = MLPRegressor(tol=1e3, n_iter_no_change=3, random_state=0)
    assert stalls.fit(digits).n_iter_ == peer.fit(digits, digits).n_iter_


class Terminal(io.StringIO):
    """Stands for a standard error that is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_verbose_rewrites_one_line_on_a_terminal(
    digits, monkeypatch, no_convergence_warning, solver
):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    SparseAutoencoderTransformer(
        5, solver=solver, max_iter=3, verbose=1, random_state=0
    ).fit(digits)
    first, line, nothing = terminal.getvalue().split("\n")
    assert nothing == ""
    name = "[SparseAutoencoderTransformer] "
    assert first == f"{name}300 rows of 64 features, 5 units"
    empty, *shown = line.split("\r")
    assert empty == ""
    assert all(text.startswith(name) for text in shown)
    assert " 3/3, objective " in shown[-1]
    assert shown[-1].rstrip().endswith(" s: reached max_iter")


def test_what_is_rewritten_leaves_nothing_of_a_longer_text(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(monitor_module, "ON_TERMINAL", 0)
    progress = Progress("epoch", 9)
    progress.begin(None)
    progress.update(1, 0.123456)
    progress.update(2, 0.5)
    longer, shorter = terminal.getvalue().split("\r")[1:]
    assert len(shorter) == len(longer)
    assert shorter.rstrip() != shorter


def test_verbose_writes_line_by_line_to_a_file(digits, capsys, no_convergence_warning):
    SparseAutoencoderTransformer(5, max_iter=3, verbose=1, random_state=0).fit(digits)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\r" not in captured.err
    lines = captured.err.splitlines()
    assert " epoch 1/3, objective " in lines[1]
    assert " epoch 3/3, objective " in lines[-1]


def test_lines_in_a_file_become_rarer(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(monitor_module.time, "perf_counter", lambda: now)
    progress = Progress("epoch", 10**6)
    times = []
    for n in range(1, 40_000):  # of a tenth of a second, more than an hour
        now = 100 + n / 10
        progress.begin(None)
        progress.update(n, 1.0)
        if capsys.readouterr().err:
            times.append(now - 100)
    pauses = np.diff(times)
    assert pauses[:5].min() > 0.9
    assert pauses.max() < 60.2
    assert 60 < len(times) < 130


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"tol": 1e3}, "converged"),
        (
            {"tol": 1e3, "early_stopping": True, "n_iter_no_change": 1},
            "converged on the rows held out",
        ),
        ({"solver": "lbfgs", "tol": 1e3}, "converged"),
        ({"max_iter": 2}, "reached max_iter"),
        (
            {"learning_rate": 0.3, "n_components": 20, "n_iter_no_change": 3},
            "the objective rose, the weights from before are returned",
        ),
    ],
)
def test_verbose_says_why_a_training_ended(
    digits, capsys, no_convergence_warning, settings, outcome
):
    settings = {"n_components": 5, "verbose": 1, "random_state": 0, **settings}
    fitted = SparseAutoencoderTransformer(**settings).fit(digits)
    if fitted.n_iter_:
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.endswith(f" s: {outcome}")
        assert f" {fitted.n_iter_}/" in last


@pytest.mark.slow
def test_verbose_says_something_before_tensorflow_has_started():
    code = """
import sys
from sksparse_ae import SparseAutoencoderTransformer
from sklearn.datasets import load_digits

class Recorder:
    first = None

    def write(self, text):
        self.first = self.first or (text, "tensorflow" in sys.modules)

    def flush(self):
        pass

sys.stderr = Recorder()
X = load_digits().data[:100]
few = SparseAutoencoderTransformer(3, tol=1e3, verbose=1, random_state=0).fit(X)
print(*sys.stderr.first)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "100 rows of 64 features, 3 units: starting TensorFlow" in run.stdout
    assert run.stdout.split()[-1] == "False"


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interrupt_leaves_a_fitted_transformer_and_a_warning(
    digits, monkeypatch, capsys, solver
):
    update = Monitor.update

    def interrupted(self, loss, get_weights):
        if len(self.losses) == 3:
            raise KeyboardInterrupt
        return update(self, loss, get_weights)

    monkeypatch.setattr(Monitor, "update", interrupted)
    transformer = SparseAutoencoderTransformer(5, solver=solver, random_state=0)
    transformer.set_params(verbose=1)
    with pytest.warns(UserWarning, match="interrupted"):
        transformer.fit(digits)
    assert transformer.n_iter_ == 3
    assert transformer.score(digits) > 0
    assert capsys.readouterr().err.endswith(" s: interrupted\n")


# ------------------------------------------------------------------ data in blocks


def test_a_memory_map_trains_like_the_array(digits, tmp_path, no_convergence_warning):
    np.save(tmp_path / "X.npy", digits)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    few = SparseAutoencoderTransformer(5, max_iter=3, random_state=0)
    assert_array_equal(
        clone(few).fit(mapped).coefs_[0], clone(few).fit(digits).coefs_[0]
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}])
def test_a_batch_larger_than_the_data_is_one_batch_of_them(digits, settings):
    few = SparseAutoencoderTransformer(3, max_iter=3, random_state=0, **settings)
    n_rows = 270 if settings else 300
    whole = clone(few).set_params(batch_size=n_rows).fit(digits)
    for batch_size in (n_rows + 1, 10**30):
        larger = clone(few).set_params(batch_size=batch_size).fit(digits)
        assert_array_equal(larger.coefs_[0], whole.coefs_[0])


def blas_threads():
    return [
        library["num_threads"]
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]


def test_partial_fit_is_evaluated_by_one_blas_thread_while_that_is_fast(
    digits, monkeypatch
):
    seen = []
    evaluate = fit_module.fitted_attributes

    def seeing(X, *others):
        seen.append(set(blas_threads()))
        return evaluate(X, *others)

    monkeypatch.setattr(fit_module, "fitted_attributes", seeing)
    few = SparseAutoencoderTransformer(5, random_state=0)
    with threadpool_limits(2, user_api="blas"):
        few.partial_fit(digits)
        monkeypatch.setattr(fit_module, "SINGLE_THREAD_PRODUCTS", 2 * 300 * 64 * 5 - 1)
        few.partial_fit(digits)
        assert set(blas_threads()) == {2}
    assert seen == [{1}, {2}]


def test_overlapping_limits_of_blas_threads_leave_the_process_as_it_was():
    with threadpool_limits(2, user_api="blas"):
        assert set(blas_threads()) == {2}
        first, second = single_blas_thread(), single_blas_thread()
        with first:
            second.__enter__()
        assert set(blas_threads()) == {1}
        second.__exit__(None, None, None)
        assert set(blas_threads()) == {2}


@pytest.mark.parametrize("fails", [False, True])
def test_lbfgs_restores_the_blas_threads(digits, fails, no_convergence_warning):
    few = SparseAutoencoderTransformer(3, solver="lbfgs", max_iter=2, random_state=0)
    with threadpool_limits(2, user_api="blas"):
        if fails:
            with pytest.raises(ValueError, match="not finite"):
                few.set_params(scale=False).fit(1e30 * digits.astype(np.float32))
        else:
            few.fit(digits)
        assert set(blas_threads()) == {2}


EVERY_LOSS = pytest.mark.parametrize(
    ("loss", "output_activation"),
    [
        ("squared_error", "sigmoid"),
        ("log_loss", "sigmoid"),
        ("poisson", "exponential"),
        ("huber", "linear"),
    ],
)


def one_batch(n_rows):
    """Return settings with which the batches of an epoch report the objective."""
    return {"batch_size": n_rows, "learning_rate": 1e-6}


@EVERY_LOSS
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_curves_of_the_terms_add_up_and_end_at_the_objective(
    digits, solver, loss, output_activation, no_convergence_warning
):
    few = SparseAutoencoderTransformer(
        5,
        output_activation=output_activation,
        loss=loss,
        solver=solver,
        max_iter=8,
        random_state=0,
        **(one_batch(len(digits)) if solver == "adam" else {}),
    ).fit(digits / 16)
    terms = few.loss_terms_
    assert list(terms) == ["reconstruction", "weight_decay", "sparsity"]
    assert_allclose(np.sum(list(terms.values()), axis=0), few.loss_curve_)
    for name, curve in terms.items():
        assert_allclose(curve[-1], few.objective_[name], rtol=1e-3, atol=1e-6)


@EVERY_LOSS
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scores_of_both_parts_are_kept_with_early_stopping(
    digits, solver, loss, output_activation, no_convergence_warning
):
    few = SparseAutoencoderTransformer(
        5,
        output_activation=output_activation,
        loss=loss,
        solver=solver,
        max_iter=8,
        early_stopping=True,
        random_state=0,
        **(one_batch(len(digits) * 9 // 10) if solver == "adam" else {}),
    ).fit(digits / 16)
    X, X_held_out = hold_out(digits / 16, 0.1, np.random.RandomState(0))
    best = np.argmin(few.validation_loss_curve_)
    assert_allclose(few.validation_scores_[best], few.score(X_held_out), rtol=1e-6)
    assert_allclose(few.train_scores_[best], few.score(X), rtol=1e-3)
    assert len(few.train_scores_) == len(few.validation_scores_) == few.n_iter_
    assert not hasattr(
        few.set_params(early_stopping=False).fit(digits / 16), "train_scores_"
    )


@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
def test_units_that_died_come_back_if_asked(digits, no_convergence_warning):
    # So large a rate leaves most relu units at zero for every sample, where nothing
    # has a gradient.
    died = SparseAutoencoderTransformer(
        50,
        activation="relu",
        learning_rate=1.0,
        max_iter=15,
        warm_start=True,
        random_state=0,
    ).fit(digits)

    def inactive(transformer):
        return np.sum(transformer.unit_report(digits)["state"] != "active")

    assert inactive(died) > 25
    left, revived = (
        copy.deepcopy(died)
        .set_params(learning_rate="auto", max_iter=100, revive=revive)
        .fit(digits)
        for revive in (False, True)
    )
    assert inactive(left) > 25
    assert inactive(revived) <= 3
    assert revived.objective_.total < left.objective_.total / 2


def test_relu_units_that_a_penalty_kills_come_back_by_default(
    digits, no_convergence_warning
):
    relu = SparseAutoencoderTransformer(
        60, activation="relu", rho=0.01, max_iter=40, random_state=0
    ).fit(digits)
    assert (relu.unit_states_ == "active").all()
    with pytest.warns(UninformativeUnitsWarning, match="or set revive=True"):
        left = clone(relu).set_params(revive=False).fit(digits)
    assert (left.unit_states_ == "dead").sum() > 5
    assert relu.objective_.total < 0.8 * left.objective_.total


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, False),
        ({"activation": "tanh"}, False),
        ({"activation": "relu"}, True),
        ({"activation": "relu", "solver": "sgd"}, True),
        ({"activation": "relu", "solver": "lbfgs"}, False),
        ({"activation": "relu", "solver": "a Keras optimizer"}, False),
        ({"activation": "relu", "beta": 0}, False),
        ({"activation": "relu", "revive": False}, False),
        ({"sparsity": "topk", "beta": 0}, True),
        ({"revive": True}, True),
    ],
    ids=str,
)
def test_units_start_anew_by_default_where_they_die(settings, expected):
    if settings.get("solver") == "a Keras optimizer":
        settings = settings | {"solver": keras.optimizers.Adam()}
    assert revives(SparseAutoencoderTransformer(**settings)) == expected


@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
def test_nothing_is_revived_after_the_last_epoch(digits):
    # It stalls after 10 epochs, when a look at the units would be due.
    stalls = SparseAutoencoderTransformer(
        50,
        activation="relu",
        learning_rate=0.3,
        tol=1e9,
        n_iter_no_change=8,
        revive=False,
        random_state=0,
    )
    revived = clone(stalls).set_params(revive=True).fit(digits)
    assert revived.n_iter_ == 10
    assert_array_equal(revived.coefs_[0], stalls.fit(digits).coefs_[0])


@pytest.mark.parametrize(("max_iter", "last"), [(15, 10), (100, 60), (1000, 130)])
def test_units_start_anew_early_enough_to_learn(digits, max_iter, last):
    rng = np.random.RandomState(0)
    X = digits[:50]
    scaling = Scaling.from_moments(Moments.of(X), scale="auto", linear_output=True)
    few = SparseAutoencoderTransformer(4, activation="sigmoid")
    architecture = Architecture.of(FittedSettings.of(few), 64, X.dtype)
    reviver = Reviver(X, Problem(architecture, Coefficients(0.1, 1, 0), scaling), rng)
    due = [n for n in range(1, max_iter) if reviver.is_due(n, max_iter)]
    assert due == [*range(10, last + 1, 10)]


def test_revival_changes_nothing_where_all_units_are_active(
    digits, no_convergence_warning
):
    few = SparseAutoencoderTransformer(10, max_iter=25, random_state=0)
    assert_array_equal(
        clone(few).set_params(revive=True).fit(digits).coefs_[0],
        clone(few).fit(digits).coefs_[0],
    )


@pytest.mark.parametrize("output_activation", ["linear", "sigmoid"])
def test_a_new_unit_begins_at_rho_and_without_history(
    digits, engine_of, output_activation
):
    X = digits / 16
    scaling = Scaling.from_moments(Moments.of(X), scale=False, linear_output=False)
    sample = scaling.standardize(X)
    rng = np.random.RandomState(0)
    few = SparseAutoencoderTransformer(
        4, rho=0.1, activation="sigmoid", output_activation=output_activation
    )
    weights = balanced_weights(sample, scaling, few, rng)
    weights[0][:, 1] = 0  # constant
    weights[1][3] = -30  # dead
    architecture = Architecture.of(FittedSettings.of(few), 64, X.dtype)
    problem = Problem(architecture, Coefficients(0.1, 3.0, 1e-3), scaling)
    reviver = Reviver(X, problem, rng)
    new, units = reviver.revive(weights)
    assert units.tolist() == [False, True, False, True]
    codes = Parameters(*new, "sigmoid", output_activation).encode(sample)
    assert_allclose(codes.mean(axis=0), 0.1, atol=1e-6)
    assert_allclose((sample @ new[0]).std(axis=0)[units], 1)
    for old, changed in ((weights[0].T, new[0].T), (weights[2], new[2])):
        assert_array_equal(old[~units], changed[~units])

    engine = engine_of("adam", weights, output_activation)
    state = engine.state()
    kept = [np.ones_like(v) for v in state.optimizer_variables]
    engine.restore(state._replace(optimizer_variables=kept))
    engine.replace_units(new, units, 0.1)
    state = engine.state()
    for ours, wanted in zip(engine.weights(), new, strict=True):
        assert_allclose(ours, wanted, rtol=1e-6)
    assert_allclose(state.statistic, [0.5, 0.1, 0.5, 0.1])
    for moment in state.optimizer_variables:
        if moment.shape and moment.shape[0] == 4:
            assert (moment[units] == 0).all()
            assert (moment[~units] == 1).all()
        else:
            assert (moment == 1).all()
