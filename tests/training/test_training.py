"""Both solvers reach Ng's objective, and the fast path is the plain path."""

import copy
import gc
import math
import pickle
import queue
import sys
import threading
import types
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_info, threadpool_limits

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine import full_batch, minibatch, optimizers, streams
from sksparse_ae._network import reading
from sksparse_ae._network.autoencoder import Parameters
from sksparse_ae._network.coordinates import Coordinates
from sksparse_ae._network.initialization import balanced_weights
from sksparse_ae._network.problem import Architecture
from sksparse_ae._network.scaling import Moments, Scaling
from sksparse_ae._training import fit as fit_module
from sksparse_ae._training import minibatch as minibatch_training
from sksparse_ae._training.fit import hold_out
from sksparse_ae._training.monitor import Monitor
from sksparse_ae._training.revival import Reviver
from sksparse_ae._utils.threads import single_blas_thread

# Trainings that are short on purpose explain little.
pytestmark = pytest.mark.filterwarnings(
    "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
)

NGS_EXERCISE = {
    "n_components": 25,
    "rho": 0.01,
    "beta": 3.0,
    "weight_decay": 1e-4,
    "output_activation": "sigmoid",
}


FEATURES = Coordinates.of_features("sigmoid")


@pytest.fixture(scope="module")
def lbfgs_objective(patches):
    exercise = SparseAutoencoderTransformer(
        **NGS_EXERCISE, solver="lbfgs", max_iter=400, random_state=0
    )
    return exercise.fit(patches).objective_.total


@pytest.fixture
def compiling(monkeypatch):
    """Return a function that decides whether trainings compile."""

    def decide(answer):
        for module in (minibatch_training, full_batch):
            monkeypatch.setattr(module, "worth_compiling", lambda *_: answer)

    return decide


@pytest.fixture
def no_convergence_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


# ------------------------------------------------------------- the objective reached


@pytest.mark.parametrize("seed", range(5))
def test_lbfgs_reaches_the_objective_of_ngs_exercise(patches, seed):
    exercise = SparseAutoencoderTransformer(
        **NGS_EXERCISE, solver="lbfgs", max_iter=400, random_state=seed
    ).fit(patches)
    assert 0.335 < exercise.objective_.total < 0.350
    assert_allclose(exercise.rho_hat_, 0.01, atol=0.003)
    assert (exercise.unit_report(patches)["state"] == "active").all()


@pytest.mark.parametrize("batch_size", [32, 256, 1000])
def test_adam_reaches_the_objective_of_lbfgs_at_every_batch_size(
    patches, lbfgs_objective, batch_size
):
    exercise = SparseAutoencoderTransformer(
        **NGS_EXERCISE, batch_size=batch_size, random_state=0
    ).fit(patches)
    assert exercise.objective_.total < 1.05 * lbfgs_objective


@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
def test_running_rho_hat_removes_the_bias_of_small_batches(
    patches, no_convergence_warning
):
    exercise = SparseAutoencoderTransformer(
        **NGS_EXERCISE, batch_size=32, max_iter=20, n_iter_no_change=99, random_state=0
    )
    running = exercise.fit(patches).objective_
    batch = exercise.set_params(rho_hat="batch").fit(patches).objective_
    assert running.total < 0.95 * batch.total


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


@pytest.mark.parametrize("rho_hat", ["running", "batch"])
def test_compiled_epochs_equal_the_same_epochs_not_compiled(
    digits, compiling, no_convergence_warning, rho_hat
):
    few = SparseAutoencoderTransformer(
        10, batch_size=64, max_iter=4, rho_hat=rho_hat, random_state=0
    )
    compiling(True)
    fast = clone(few).fit(digits)
    compiling(False)
    plain = clone(few).fit(digits)
    for a, b in zip(
        fast.coefs_ + fast.intercepts_, plain.coefs_ + plain.intercepts_, strict=True
    ):
        assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert_allclose(fast.loss_curve_, plain.loss_curve_, rtol=1e-5)


def test_compiled_lbfgs_equals_the_same_iterations_not_compiled(
    digits, compiling, no_convergence_warning
):
    few = SparseAutoencoderTransformer(10, solver="lbfgs", max_iter=10, random_state=0)
    compiling(True)
    fast = clone(few).fit(digits)
    compiling(False)
    plain = clone(few).fit(digits)
    assert_allclose(fast.coefs_[0], plain.coefs_[0], rtol=1e-6, atol=1e-9)
    assert_allclose(fast.loss_curve_, plain.loss_curve_, rtol=1e-9)


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


# ---------------------------------------------------------------- compiled only once


def count_traces(monkeypatch, cached, method):
    """Return a list that grows whenever a program is traced."""
    traces = []
    plain = getattr(cached, method)

    def traced(self, *args):
        traces.append(method)
        return plain(self, *args)

    monkeypatch.setattr(cached, method, traced)
    return traces


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "optimizer"])
def test_other_hyper_parameters_and_seven_percent_fewer_rows_compile_nothing(
    patches, compiling, monkeypatch, no_convergence_warning, solver
):
    compiling(True)
    minibatch.minibatch_program.cache_clear()
    full_batch.full_batch_program.cache_clear()
    traces = count_traces(
        monkeypatch,
        *(
            (full_batch.FullBatchProgram, "gradient_and_terms")
            if solver == "lbfgs"
            else (minibatch.MiniBatchProgram, "epoch")
        ),
    )

    def optimizer(rate):
        return keras.optimizers.RMSprop(rate) if solver == "optimizer" else solver

    transformer = SparseAutoencoderTransformer(
        **NGS_EXERCISE, max_iter=2, solver=optimizer(1e-3), random_state=0
    )
    transformer.fit(patches)
    assert len(traces) == 1
    transformer.set_params(
        rho=0.05,
        beta=1.0,
        weight_decay=1e-3,
        max_iter=3,
        solver=optimizer(1e-2),
        random_state=1,
    )
    if solver == "adam":
        transformer.set_params(learning_rate=1e-3)
    transformer.fit(patches[:9300])
    assert len(traces) == 1


def test_the_cache_of_programs_is_bounded():
    minibatch.minibatch_program.cache_clear()
    adam, _ = optimizers.OptimizerSpec.from_solver("adam")
    for n_features in range(2, 30):
        architecture = Architecture(
            n_features, 2, "sigmoid", "linear", "squared_error", "float32"
        )
        minibatch.minibatch_program(architecture, adam, 8, True, 16)
    assert minibatch.minibatch_program.cache_info().currsize == 16


def graphs_in_memory():
    gc.collect()
    return {id(o) for o in gc.get_objects() if isinstance(o, tf.Graph)}


def test_a_program_that_is_no_longer_kept_leaves_no_graph():
    before = graphs_in_memory()
    architecture = Architecture(3, 2, "sigmoid", "linear", "squared_error", "float32")
    adam, _ = optimizers.OptimizerSpec.from_solver("adam")
    program = minibatch.MiniBatchProgram(architecture, adam, 8, True)
    program.epoch_graph(16, has_spread=True, compiled=False)
    assert graphs_in_memory() > before
    del program
    assert graphs_in_memory() == before


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


def test_equal_optimizers_share_a_program_whatever_their_names_and_rates():
    specs = {
        optimizers.OptimizerSpec.from_solver(solver)[0]
        for solver in (
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(rate, name=name))
            for rate, name in ((1e-2, "a"), (1e-2, "b"))
        )
    }
    assert len(specs) == 1
    rates = {
        optimizers.OptimizerSpec.from_solver(keras.optimizers.Adam(rate))
        for rate in (1e-2, 1e-3)
    }
    assert len({spec for spec, _ in rates}) == 1
    assert_allclose(sorted(rate for _, rate in rates), [1e-3, 1e-2])


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


@keras.saving.register_keras_serializable("sksparse_ae_tests")
class HiddenMomentum(keras.optimizers.SGD):
    """Keeps its momentum where Keras does not see it."""

    def build(self, variables):
        super().build(variables)
        self.moments = [tf.Variable(tf.zeros(v.shape), name="mine") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        moment = self.moments[self._get_variable_index(variable)]
        moment.assign(0.9 * moment + gradient)
        self.assign_sub(variable, learning_rate * moment)


def test_a_solver_whose_state_fits_would_share_is_refused(digits):
    transformer = SparseAutoencoderTransformer(3, solver=HiddenMomentum(0.01))
    with pytest.raises(ValueError, match=r"not among its `variables`: mine:0\. Fits"):
        transformer.fit(digits)
    assert not hasattr(transformer, "coefs_")


def test_the_automatic_rate_holds_and_then_falls_to_a_hundredth():
    rate = optimizers.AnnealedRate(1.0, 100)
    rates = [rate(epoch) for epoch in range(100)]
    assert rates[:70] == [1.0] * 70
    assert (np.diff(rates[69:]) < 0).all()
    assert 0.01 < rates[-1] < 0.02
    stalled = optimizers.AnnealedRate(1.0, 100)
    assert not stalled.on_stall(14)
    assert stalled.end == 20
    assert 0.01 < stalled(19) < 0.1


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_verbose_rewrites_one_line_with_the_objective(
    digits, capsys, no_convergence_warning, solver
):
    SparseAutoencoderTransformer(
        5, solver=solver, max_iter=3, verbose=1, random_state=0
    ).fit(digits)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line for line in captured.err.split("\n") if "SparseAuto" in line]
    assert len(lines) == 1
    assert " 3/3, objective " in lines[0].split("\r")[-1]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interrupt_leaves_a_fitted_transformer_and_a_warning(
    digits, monkeypatch, solver
):
    update = Monitor.update

    def interrupted(self, loss, get_weights):
        if len(self.losses) == 3:
            raise KeyboardInterrupt
        return update(self, loss, get_weights)

    monkeypatch.setattr(Monitor, "update", interrupted)
    transformer = SparseAutoencoderTransformer(5, solver=solver, random_state=0)
    with pytest.warns(UserWarning, match="interrupted"):
        transformer.fit(digits)
    assert transformer.n_iter_ == 3
    assert transformer.score(digits) > 0


# ------------------------------------------------------------------ data in blocks


def test_a_memory_map_trains_like_the_array(digits, tmp_path, no_convergence_warning):
    np.save(tmp_path / "X.npy", digits)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    few = SparseAutoencoderTransformer(5, max_iter=3, random_state=0)
    assert_array_equal(
        clone(few).fit(mapped).coefs_[0], clone(few).fit(digits).coefs_[0]
    )


def in_format(X, kind, folder):
    """Return rows as an array of either precision, as CSR or as a memory map."""
    if kind == "csr":
        return sparse.csr_matrix(X)
    if kind == "memmap":
        np.save(folder / "X.npy", X)
        return np.load(folder / "X.npy", mmap_mode="r")
    if kind == "by columns":
        return np.asfortranarray(X, dtype=np.float32)
    return X.astype(kind)


FORMATS = ["float32", "float64", "by columns", "csr", "memmap"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Hold at most 90 rows of digits, and pass a program at most 50."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", 4 * 64 * 90)
    monkeypatch.setattr(streams, "CHUNK_BYTES", 4 * 64 * 50)


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_that_are_not_held_train_as_well(
    digits, request, tmp_path, kind, no_convergence_warning
):
    few = SparseAutoencoderTransformer(20, batch_size=20, random_state=0)
    held = clone(few).fit(digits)
    request.getfixturevalue("small_blocks")
    anew = clone(few).fit(in_format(digits, kind, tmp_path))
    assert_allclose(anew.objective_.total, held.objective_.total, rtol=0.05)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("is_small", "n_epochs", "is_held"),
    [(True, 2, True), (True, 1, False), (False, 2, False)],
)
def test_an_epoch_takes_every_row_once_and_in_a_new_order(
    digits, request, monkeypatch, tmp_path, kind, is_small, n_epochs, is_held
):
    scaling = Scaling.from_moments(Moments.of(digits), scale=True, linear_output=True)
    expected = scaling.standardize(digits, out=np.empty(digits.shape, np.float32))
    if not is_small:
        request.getfixturevalue("small_blocks")
    X = in_format(digits, kind, tmp_path)
    standardized = []
    standardize = Scaling.standardize

    def counted(self, X, out):
        standardized.append(len(out))
        return standardize(self, X, out)

    monkeypatch.setattr(Scaling, "standardize", counted)
    rng = np.random.RandomState(0)
    stream = streams.EpochStream(X, scaling, FEATURES, 20, True, rng, n_epochs)
    assert sum(standardized) == (300 if is_held else 0)

    def epoch():
        # All chunks at once: none may be the memory of the next.
        chunks = list(stream)
        assert {len(data) for data, _ in chunks} == {stream.chunk_rows}
        return np.concatenate([data[:n_used] for data, n_used in chunks])

    first, second = epoch(), epoch()
    assert sum(standardized) == (300 if is_held else 600)
    assert not np.array_equal(first, second)
    for rows in (first, second):
        assert_allclose(
            np.sort(rows, axis=0), np.sort(expected, axis=0), rtol=1e-6, atol=1e-6
        )


def test_rows_of_a_memory_map_are_read_in_runs(digits, tmp_path, small_blocks):
    numbered = np.repeat(np.arange(300.0)[:, np.newaxis], 64, axis=1)
    X = in_format(numbered, "memmap", tmp_path)
    unscaled = Scaling(np.zeros(64), 1.0, True)
    stream = streams.EpochStream(
        X, unscaled, FEATURES, 20, True, np.random.RandomState(0), 9
    )
    # In float64, 90 rows of float32 are 45, of which two batches are read.
    assert stream.chunk_rows == 40
    runs = [np.sort(data[:n_used, 0]) for data, n_used in stream]
    starts = [int(run[0]) for run in runs]
    assert starts != sorted(starts)
    assert sorted(starts) == list(range(0, 300, 40))
    for run, start in zip(runs, starts, strict=True):
        assert_array_equal(run, np.arange(start, min(start + 40, 300)))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}])
def test_a_batch_larger_than_the_data_is_one_batch_of_them(digits, settings):
    few = SparseAutoencoderTransformer(3, max_iter=3, random_state=0, **settings)
    n_rows = 270 if settings else 300
    whole = clone(few).set_params(batch_size=n_rows).fit(digits)
    for batch_size in (n_rows + 1, 10**30):
        larger = clone(few).set_params(batch_size=batch_size).fit(digits)
        assert_array_equal(larger.coefs_[0], whole.coefs_[0])


def test_a_stream_of_pieces_smaller_than_a_batch_takes_no_memory_for_it(digits):
    few = SparseAutoencoderTransformer(3, batch_size=10**30, random_state=0)
    for piece in np.split(digits, 3):
        few.partial_fit(piece)
    assert few.loss_curve_[2] < few.loss_curve_[0]
    unscaled = Scaling(np.zeros(64), 1.0, linear_output=True)
    stream = streams.EpochStream(
        digits, unscaled, FEATURES, 2**30, True, np.random.RandomState(0), 1
    )
    assert stream.chunk_rows <= streams.CHUNK_BYTES // (4 * 64)
    ((_, n_used),) = stream
    assert n_used == 300


def test_rows_taken_once_are_the_batches_of_rows_that_are_held(digits):
    X = digits.astype(np.float32)
    scaling = Scaling.from_moments(Moments.of(X), scale=True, linear_output=True)

    def epoch(n_epochs):
        rng = np.random.RandomState(0)
        stream = streams.EpochStream(X, scaling, FEATURES, 20, True, rng, n_epochs)
        return [(data.numpy(), n_used) for data, n_used in stream]

    for once, held in zip(epoch(1), epoch(2), strict=True):
        assert once[1] == held[1]
        assert_array_equal(once[0][: once[1]], held[0][: held[1]])


def test_rows_are_prepared_one_item_ahead():
    begun = queue.Queue()

    def items():
        for i in range(4):
            begun.put((i, threading.current_thread()))
            yield i

    ahead = streams._one_ahead(items())
    assert begun.empty()
    assert next(ahead) == 0
    assert begun.get(timeout=60) == (0, threading.main_thread())
    # Not asked for, but made; and only when it is asked for, the one after it.
    second, thread = begun.get(timeout=60)
    assert second == 1
    assert thread is not threading.main_thread()
    assert begun.empty()
    assert next(ahead) == 1
    assert begun.get(timeout=60) == (2, thread)
    ahead.close()
    assert not thread.is_alive()
    assert list(streams._one_ahead(items())) == [0, 1, 2, 3]


def test_an_error_while_rows_are_prepared_ends_the_training(digits, monkeypatch):
    X = digits.astype(np.float32)
    transformer = SparseAutoencoderTransformer(5, batch_size=20, random_state=0)
    transformer.partial_fit(X)
    before = pickle.dumps(vars(transformer))
    n_threads = threading.active_count()
    prepared = []
    standardize = Scaling.standardize

    def failing(self, X, out):
        prepared.append(len(out))
        if len(prepared) == 3:
            raise OSError("the file is gone")
        return standardize(self, X, out)

    monkeypatch.setattr(Scaling, "standardize", failing)
    monkeypatch.setattr(streams, "CHUNK_BYTES", 4 * 64 * 50)
    with pytest.raises(OSError, match="the file is gone"):
        transformer.partial_fit(X)
    assert prepared == [40, 40, 40]
    assert threading.active_count() == n_threads
    assert pickle.dumps(vars(transformer)) == before


@pytest.mark.parametrize("offset", [0, 1, 1e3, 1e6])
def test_float32_rows_are_standardized_as_exactly_as_float32_holds_them(offset):
    rng = np.random.RandomState(0)
    X = (offset + rng.normal(size=(1000, 3))).astype(np.float32)
    scaling = Scaling.from_moments(Moments.of(X), scale=True, linear_output=True)
    standardized = scaling.standardize(X, out=np.empty_like(X))
    exact = (X.astype(np.float64) - scaling.offset) / scaling.scale
    assert_allclose(standardized, exact, rtol=3e-7, atol=3e-7)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("kind", ["float32", "csr", "memmap"])
def test_lbfgs_by_chunks_of_rows_finds_what_it_finds_on_them_at_once(
    digits,
    monkeypatch,
    tmp_path,
    compiling,
    kind,
    held,
    compiled,
    no_convergence_warning,
):
    few = SparseAutoencoderTransformer(
        5, solver="lbfgs", max_iter=10, activation="tanh", random_state=0
    )
    compiling(compiled)
    X = in_format(digits, kind, tmp_path)
    tolerance = 1e-3 if kind == "float32" else 1e-9
    whole = clone(few).fit(X)
    monkeypatch.setattr(streams, "CHUNK_BYTES", X.dtype.itemsize * 64 * 70)
    if not held:
        monkeypatch.setattr(reading, "BLOCK_BYTES", 0)
    rows = []
    standardize = Scaling.standardize

    def counted(self, X, out):
        rows.append(len(out))
        return standardize(self, X, out)

    monkeypatch.setattr(Scaling, "standardize", counted)
    chunks = clone(few).fit(X)
    assert rows[-5:] == [70, 70, 70, 70, 20]
    assert (len(rows) > 10) == (not held)
    assert_allclose(chunks.loss_curve_, whole.loss_curve_, rtol=tolerance)
    assert_allclose(chunks.coefs_[0], whole.coefs_[0], rtol=tolerance, atol=tolerance)


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


def test_csr_and_dense_rows_that_are_not_held_train_alike(
    digits, small_blocks, no_convergence_warning
):
    few = SparseAutoencoderTransformer(5, max_iter=3, batch_size=20, random_state=0)
    dense = clone(few).fit(digits)
    compressed = clone(few).fit(sparse.csr_matrix(digits))
    assert_allclose(dense.coefs_[0], compressed.coefs_[0], rtol=1e-6)


def one_batch(n_rows):
    """Return settings with which the batches of an epoch report the objective."""
    return {"batch_size": n_rows, "learning_rate": 1e-6}


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_curves_of_the_terms_add_up_and_end_at_the_objective(
    digits, solver, loss, no_convergence_warning
):
    few = SparseAutoencoderTransformer(
        5,
        output_activation="sigmoid",
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


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_scores_of_both_parts_are_kept_with_early_stopping(
    digits, solver, loss, no_convergence_warning
):
    few = SparseAutoencoderTransformer(
        5,
        output_activation="sigmoid",
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


@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
def test_nothing_is_revived_after_the_last_epoch(digits):
    # It stalls after 10 epochs, when a look at the units would be due.
    stalls = SparseAutoencoderTransformer(
        50,
        activation="relu",
        learning_rate=0.3,
        tol=1e9,
        n_iter_no_change=8,
        random_state=0,
    )
    revived = clone(stalls).set_params(revive=True).fit(digits)
    assert revived.n_iter_ == 10
    assert_array_equal(revived.coefs_[0], stalls.fit(digits).coefs_[0])


def test_revival_changes_nothing_where_all_units_are_active(
    digits, no_convergence_warning
):
    few = SparseAutoencoderTransformer(10, max_iter=25, random_state=0)
    assert_array_equal(
        clone(few).set_params(revive=True).fit(digits).coefs_[0],
        clone(few).fit(digits).coefs_[0],
    )


@pytest.mark.parametrize("output_activation", ["linear", "sigmoid"])
def test_a_new_unit_begins_at_rho_and_without_history(digits, output_activation):
    X = digits / 16
    scaling = Scaling.from_moments(Moments.of(X), scale=False, linear_output=False)
    sample = scaling.standardize(X, out=np.empty(X.shape))
    rng = np.random.RandomState(0)
    weights = balanced_weights(
        sample, 4, 0.1, "sigmoid", output_activation, scaling.offset, 0.0, rng
    )
    weights[0][:, 1] = 0  # constant
    weights[1][3] = -30  # dead
    reviver = Reviver(sample, scaling.offset, 0.1, "sigmoid", output_activation, rng)
    new, units = reviver.revive(weights)
    assert units.tolist() == [False, True, False, True]
    codes = Parameters(*new, "sigmoid", output_activation).encode(sample)
    assert_allclose(codes.mean(axis=0), 0.1, atol=1e-6)
    assert_allclose((sample @ new[0]).std(axis=0)[units], 1)
    for old, changed in ((weights[0].T, new[0].T), (weights[2], new[2])):
        assert_array_equal(old[~units], changed[~units])

    program = minibatch.MiniBatchProgram(
        Architecture(64, 4, "sigmoid", output_activation, "squared_error", "float32"),
        optimizers.OptimizerSpec.from_solver("adam")[0],
        50,
        True,
    )
    kept = [np.ones_like(v) for v in program.optimizer.variables]
    run = minibatch.MiniBatchRun(
        program,
        FEATURES,
        minibatch.MiniBatchState(weights, weights, kept, np.full(4, 0.5)),
    )
    run.replace_units(new, units, 0.1)
    state = run.state()
    for ours, wanted in zip(state.average, new, strict=True):
        assert_allclose(ours, wanted, rtol=1e-6)
    assert_allclose(state.rho_hat, [0.5, 0.1, 0.5, 0.1])
    for moment in state.optimizer_variables:
        if moment.shape and moment.shape[0] == 4:
            assert (moment[units] == 0).all()
            assert (moment[~units] == 1).all()
        else:
            assert (moment == 1).all()


def _of_keras():
    """Return one of every optimizer that this version of Keras has."""
    classes = {
        c
        for c in vars(keras.optimizers).values()
        if isinstance(c, type) and issubclass(c, keras.optimizers.Optimizer)
    }
    classes.discard(keras.optimizers.Optimizer)
    made = []
    for optimizer in sorted(classes, key=lambda c: c.__name__):
        if optimizer.__name__ == "MultiOptimizer":
            parts = {"decoder/.*": keras.optimizers.Adafactor(0.01)}
            of_parts = keras.optimizers.OptimizerMap(keras.optimizers.Adam(0.01), parts)
            made.append(optimizer(of_parts))
        elif optimizer.__name__ == "LossScaleOptimizer":
            made.append(optimizer(keras.optimizers.Adafactor(0.01)))
        else:
            made.append(optimizer(0.01))
    return made


OF_KERAS = pytest.mark.parametrize(
    "optimizer", _of_keras(), ids=lambda optimizer: type(optimizer).__name__
)
SQUARE = Architecture(4, 4, "sigmoid", "linear", "squared_error", "float32")


@OF_KERAS
def test_no_optimizer_keeps_the_history_of_a_unit_that_starts_anew(optimizer):
    # As many features as units: their axes cannot be told apart by their length.
    spec, _ = optimizers.OptimizerSpec.from_solver(optimizer)
    program = minibatch.MiniBatchProgram(SQUARE, spec, 50, True)
    rng, units = np.random.RandomState(0), np.array([False, True, False, True])
    weights = [rng.normal(size=shape) for shape in ((4, 4), 4, (4, 4), 4)]
    new = [w.copy() for w in weights]
    new[0][:, units], new[1][units], new[2][units] = 1, 2, 3
    state = minibatch.MiniBatchState(weights, None, None, np.full(4, 0.5))
    run = minibatch.MiniBatchRun(program, FEATURES, state)
    for variable in run.of_optimizer:
        variable.assign(tf.fill(variable.shape, tf.cast(7, variable.dtype)))
    run.replace_units(new, units, 0.1)
    fresh_state = minibatch.MiniBatchState(new, None, None, np.full(4, 0.5))
    fresh = minibatch.MiniBatchRun(program, FEATURES, fresh_state).of_optimizer
    n_of_units = 0
    for variable, begins, axes in zip(
        run.of_optimizer, fresh, program.unit_axes, strict=True
    ):
        value, begins = variable.numpy(), begins.numpy()
        assert len(axes) <= 1
        if axes:
            n_of_units += 1
            value, begins = (np.moveaxis(v, axes[0], 0) for v in (value, begins))
            assert_array_equal(value[units], begins[units])
            value = value[~units]
        assert (value == 7).all()
    plain = isinstance(optimizer, keras.optimizers.SGD)
    assert n_of_units >= (0 if plain else 3)


@OF_KERAS
def test_every_optimizer_begins_at_the_weights_as_under_keras(optimizer):
    spec, _ = optimizers.OptimizerSpec.from_solver(optimizer)
    program = minibatch.MiniBatchProgram(SQUARE, spec, 50, True)
    weights = [np.full(shape, 0.25) for shape in ((4, 4), 4, (4, 4), 4)]
    state = minibatch.MiniBatchState(weights, None, None, np.full(4, 0.5))
    run = minibatch.MiniBatchRun(program, FEATURES, state)
    variables = [keras.Variable(w, dtype="float32") for w in weights]
    # Keras' names for them decide what Muon takes for a matrix: not these.
    alone = spec.build()
    alone.build(variables)
    if not hasattr(alone, "optimizers"):  # which goes by the names of the layers
        for ours, theirs in zip(run.of_optimizer, alone.variables, strict=True):
            assert_array_equal(ours.numpy(), theirs.numpy())


class _Flat(keras.optimizers.SGD):
    """Keeps one number for every weight of all, in a row."""

    def build(self, variables):
        super().build(variables)
        n_weights = sum(math.prod(v.shape) for v in variables)
        self.flat = self.add_variable((n_weights,), name="flat")


def test_revival_refuses_an_optimizer_in_which_units_cannot_be_told_apart(digits):
    few = SparseAutoencoderTransformer(3, solver=_Flat(0.01), max_iter=2, revive=True)
    with pytest.raises(ValueError, match=r"cannot start units anew in \S*flat"):
        few.fit(digits)


class _LikeAModule:
    """Stands in sys.modules and only claims to be a module, as cffi's libraries do."""

    @property
    def __class__(self):
        return types.ModuleType

    def __getattribute__(self, name):
        if name == "__class__":
            return types.ModuleType
        raise AttributeError(name)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_fit_passes_over_what_only_claims_to_be_a_module(solver, digits, monkeypatch):
    imposter = _LikeAModule()
    assert isinstance(imposter, types.ModuleType)
    monkeypatch.setitem(sys.modules, "imposter", imposter)
    # A shape of its own: programs that exist already would trace nothing.
    SparseAutoencoderTransformer(
        7, solver=solver, max_iter=60, tol=1e3, random_state=0
    ).fit(digits[:, :63])
