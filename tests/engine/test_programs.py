"""Compiled programs, and the optimizers in them."""

import functools
import gc
import math
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from _helpers import NGS_EXERCISE
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine import full_batch, minibatch, optimizers
from sksparse_ae._network.coordinates import Coordinates
from sksparse_ae._network.problem import Architecture
from sksparse_ae._objective.objective import Coefficients

FEATURES = Coordinates.of_features("sigmoid")


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


def count_traces(monkeypatch, cached, method):
    """Return a list that grows whenever a program is traced."""
    traces = []
    plain = getattr(cached, method)

    def traced(self, *args):
        traces.append(method)
        return plain(self, *args)

    monkeypatch.setattr(cached, method, traced)
    return traces


# Three epochs, so that an optimizer of one's own explains little.
@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
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
            (full_batch.FullBatchProgram, "whole")
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
            n_features, 2, "sigmoid", "linear", "squared_error", "kl", "float32"
        )
        minibatch.minibatch_program(architecture, adam, 8, True, 16)
    assert minibatch.minibatch_program.cache_info().currsize == 16


def test_adam_keeps_two_means_of_each_weight_side_by_side():
    adam, _ = optimizers.OptimizerSpec.from_solver("adam")
    variables = [keras.Variable(np.zeros(shape)) for shape in ((2, 3), 2, 4)]
    kept = adam.build_for(variables).variables
    for moments, name in ((kept[2::2], "momentum"), (kept[3::2], "velocity")):
        assert [variable.shape for variable in moments] == [(2, 3), (2,), (4,)]
        assert all(name in variable.path for variable in moments)
    values = [np.full(variable.shape, 2.0) for variable in kept]
    turned = adam.with_moments(
        values,
        lambda means: [3 * mean for mean in means],
        lambda squares: [5 * square for square in squares],
    )
    assert [float(array.flat[0]) for array in turned] == [2, 2, 6, 10, 6, 10, 6, 10]


def graphs_in_memory():
    gc.collect()
    return {id(o) for o in gc.get_objects() if isinstance(o, tf.Graph)}


@pytest.mark.slow
def test_a_program_that_is_no_longer_kept_leaves_no_graph():
    before = graphs_in_memory()
    architecture = Architecture(
        3, 2, "sigmoid", "linear", "squared_error", "kl", "float32"
    )
    adam, _ = optimizers.OptimizerSpec.from_solver("adam")
    program = minibatch.MiniBatchProgram(architecture, adam, 8, True)
    spec = functools.partial(tf.TensorSpec, dtype=tf.float32)
    pace = minibatch.Pace(*[spec([])] * 6, *[spec([3])] * 2)
    coefficients = Coefficients(*[spec([])] * 3)
    signature = spec([16, 3]), tf.TensorSpec([], tf.int32), None, None, spec([3])
    program.graph(program.epoch, *signature, coefficients, pace)
    assert graphs_in_memory() > before
    del program
    assert graphs_in_memory() == before


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


@pytest.mark.slow
@OF_KERAS
def test_no_optimizer_keeps_the_history_of_a_unit_that_starts_anew(
    optimizer, engine_of
):
    # As many features as units: their axes cannot be told apart by their length.
    rng, units = np.random.RandomState(0), np.array([False, True, False, True])
    weights = [rng.normal(size=shape) for shape in ((4, 4), 4, (4, 4), 4)]
    new = [w.copy() for w in weights]
    new[0][:, units], new[1][units], new[2][units] = 1, 2, 3
    engine = engine_of(optimizer, weights)
    state = engine.state()
    sevens = [np.full_like(value, 7) for value in state.optimizer_variables]
    engine.restore(state._replace(optimizer_variables=sevens))
    engine.replace_units(new, units, 0.1)
    values = engine.state().optimizer_variables
    fresh = engine_of(optimizer, new).state().optimizer_variables
    n_of_units = 0
    for value, begins, axes in zip(
        values, fresh, engine.program.unit_axes, strict=True
    ):
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
def test_every_optimizer_begins_at_the_weights_as_under_keras(optimizer, engine_of):
    weights = [np.full(shape, 0.25) for shape in ((4, 4), 4, (4, 4), 4)]
    values = engine_of(optimizer, weights).state().optimizer_variables
    variables = [keras.Variable(w, dtype="float32") for w in weights]
    # Keras' names for them decide what Muon takes for a matrix: not these.
    alone = optimizers.OptimizerSpec.from_solver(optimizer)[0].build()
    alone.build(variables)
    if not hasattr(alone, "optimizers"):  # which goes by the names of the layers
        for ours, theirs in zip(values, alone.variables, strict=True):
            assert_array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_training_goes_back_to_its_average_without_momentum(solver, engine_of):
    rng = np.random.RandomState(0)
    engine = engine_of(solver, [rng.normal(size=s) for s in ((4, 4), 4, (4, 4), 4)])
    engine.epoch([0.1])
    mark, before = engine.mark(), engine.state()
    engine.epoch([0.1])
    moved = engine.state()
    assert moved.weights[0].tolist() != before.weights[0].tolist()
    engine.go_back(mark)
    now = engine.state()
    assert_array_equal(now.statistic, before.statistic)
    for arrays in now.weights, now.average:
        for a, b in zip(arrays, before.average, strict=True):
            assert_array_equal(a, b)
    # What has passed has passed.
    assert now.n_rows == moved.n_rows
    for variable, value, kept in zip(
        engine.program.optimizer.variables,
        now.optimizer_variables,
        before.optimizer_variables,
        strict=True,
    ):
        if "momentum" in variable.path:
            assert kept.any()
            assert not value.any()
        elif np.ndim(value):
            assert "velocity" in variable.path
            assert_array_equal(value, kept)


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


# With such a tol L-BFGS ends at once, and explains little.
@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_fit_passes_over_what_only_claims_to_be_a_module(solver, digits, monkeypatch):
    imposter = _LikeAModule()
    assert isinstance(imposter, types.ModuleType)
    monkeypatch.setitem(sys.modules, "imposter", imposter)
    # A shape of its own: programs that exist already would trace nothing.
    SparseAutoencoderTransformer(
        7, solver=solver, max_iter=60, tol=1e3, random_state=0
    ).fit(digits[:, :63])
