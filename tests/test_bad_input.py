"""Bad input is refused by name before any training, and changes nothing."""

import copy
import pickle

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import MinMaxScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._training import fit

GOOD = np.random.default_rng(0).uniform(0, 1, (30, 4))


def with_value(value):
    X = GOOD.copy()
    X[3, 2] = value
    return X


@pytest.fixture(autouse=True)
def no_training(monkeypatch, request):
    """Fail if a training begins, unless the test asks for one."""
    if "trains" not in request.keywords:
        monkeypatch.setattr(fit, "run", None)


LOG_LOSS = {"loss": "log_loss", "output_activation": "sigmoid"}
POISSON = {"loss": "poisson", "output_activation": "exponential"}

BAD_PARAMETERS = [
    ({"rho": 0}, "'rho' parameter.* in the range \\(0.0, 1.0\\)"),
    ({"rho": 1}, "'rho' parameter.* in the range \\(0.0, 1.0\\)"),
    ({"rho": "a"}, "'rho' parameter.* Got 'a'"),
    ({"rho": float("nan")}, "'rho' parameter"),
    ({"rho": 1e-7}, "rho=1e-07 is closer than 2\\*\\*-20 to 0 or 1"),
    ({"beta": -1.0}, "'beta' parameter.* in the range \\[0"),
    ({"weight_decay": -1e-4}, "'weight_decay' parameter"),
    ({"solver": "newton"}, "'solver' parameter.*'newton'"),
    ({"solver": None}, "'solver' parameter"),
    ({"activation": "gelu"}, "'activation' parameter.*'relu'.*'gelu'"),
    ({"output_activation": "softmax"}, "'output_activation' parameter"),
    ({"loss": "mse"}, "'loss' parameter.*'squared_error'.*'mse'"),
    ({"n_components": 0}, "'n_components' parameter.*\\[1, inf\\)"),
    ({"n_components": 2.5}, "'n_components' parameter"),
    ({"learning_rate": 0.0}, "'learning_rate' parameter"),
    ({"batch_size": 0}, "'batch_size' parameter"),
    ({"max_iter": 0}, "'max_iter' parameter"),
    ({"validation_fraction": 1.0}, "'validation_fraction' parameter"),
    (
        {"early_stopping": True, "validation_fraction": 0.99},
        "validation_fraction=0.99 of 30 samples",
    ),
    ({"rho_hat": "mean"}, "'rho_hat' parameter"),
    ({"init": "glorot"}, "'init' parameter"),
    ({"scale": True}, "'scale' parameter"),
    ({"random_state": "seed"}, "'random_state' parameter"),
    (
        {"loss": "log_loss"},
        "loss='log_loss' needs output_activation='sigmoid'; got .*'linear'",
    ),
    (
        {"loss": "poisson"},
        "loss='poisson' needs output_activation='exponential'; got .*'linear'",
    ),
    (
        {"loss": "huber", "output_activation": "relu"},
        "loss='huber' needs output_activation='linear'; got .*'relu'",
    ),
]

BAD_DATA = [
    ({}, with_value(np.inf), "Input X contains infinity"),
    (
        {},
        np.where([[1, 0, 1, 0]], GOOD, np.nan),
        "2 of 4 columns of X, counted from 0: 1, 3",
    ),
    ({}, np.full_like(GOOD, np.nan), "No value is observed in any of"),
    ({}, [["a", "b"], ["c", "d"]], "could not convert string to float"),
    ({}, np.empty((0, 4)), "0 sample"),
    ({}, np.empty((4, 0)), "0 feature"),
    ({}, GOOD[:1], "1 sample.* minimum of 2"),
    ({}, GOOD[0], "Expected 2D array, got 1D array"),
    ({}, GOOD[None], "dim 3.* pass X.reshape\\(len\\(X\\), -1\\)"),
    ({}, GOOD + 1j, "Complex data"),
    ({}, [[10**400, 1], [2, 3]], "numbers beyond the range of float64: int too large"),
    ({}, np.tile([[1e308], [-1e308]], (10, 4)), "deviations from their mean overflow"),
    (LOG_LOSS, GOOD + 0.5, "needs data in \\[0, 1\\]; X has values from"),
    (LOG_LOSS, -GOOD, "needs data in \\[0, 1\\]; X has values from -"),
    (LOG_LOSS, sparse.csr_matrix(GOOD * 3), "needs data in \\[0, 1\\]"),
    (POISSON, GOOD - 0.5, "needs data of 0 or more; X has values from -.*as counted"),
    (POISSON, sparse.csr_matrix(-GOOD), "needs data of 0 or more"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD_PARAMETERS)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_a_bad_parameter_is_named(parameters, message, method):
    transformer = SparseAutoencoderTransformer(**parameters)
    with pytest.raises(ValueError, match=message):
        getattr(transformer, method)(GOOD)
    assert not [name for name in vars(transformer) if name.endswith("_")]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (parameters, message)
        for parameters, message in BAD_PARAMETERS
        if not {"early_stopping"} & parameters.keys()
    ],
)
def test_partial_fit_names_a_bad_parameter_in_later_calls_too(
    fitted, parameters, message
):
    started = copy.deepcopy(fitted).set_params(**parameters)
    X = np.tile(GOOD, 16)
    with pytest.raises(ValueError, match=message):
        started.partial_fit(X)
    with pytest.raises(ValueError, match=message):
        SparseAutoencoderTransformer(**parameters).partial_fit(GOOD)


@pytest.mark.parametrize(("parameters", "X", "message"), BAD_DATA)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_bad_data_are_named(parameters, X, message, solver):
    transformer = SparseAutoencoderTransformer(solver=solver, **parameters)
    with pytest.raises(ValueError, match=message):
        transformer.fit(X)
    assert not [name for name in vars(transformer) if name.endswith("_")]


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (keras.optimizers.Adam, "must be 'adam', 'sgd', 'lbfgs' or an instance"),
        (keras.optimizers.Adam(lambda: 1e-3), "cannot be rebuilt"),
    ],
)
def test_a_solver_that_is_no_usable_optimizer_is_named(solver, message):
    with pytest.raises(ValueError, match=message):
        SparseAutoencoderTransformer(solver=solver).fit(GOOD)


def without_decay_of_biases(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


class KeepsLessThanItIsGiven(keras.optimizers.SGD):
    """Has a setting that its configuration lacks."""

    def __init__(self, *args, clip_units=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.clip_units = clip_units


@keras.saving.register_keras_serializable("sksparse_ae_tests")
class WithoutDecayOfBiases(keras.optimizers.AdamW):
    """Excludes them as often as it is made."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.exclude_from_weight_decay(var_names=["bias"])


@pytest.mark.parametrize(
    ("solver", "name"),
    [
        (without_decay_of_biases(keras.optimizers.AdamW()), "exclude_from_weight"),
        (
            keras.optimizers.LossScaleOptimizer(
                without_decay_of_biases(keras.optimizers.Lion(weight_decay=0.1))
            ),
            "exclude_from_weight_decay",
        ),
        (KeepsLessThanItIsGiven(0.1, clip_units=2.0), "clip_units=2.0"),
    ],
    ids=["excluded", "excluded within another", "a subclass"],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda transformer: transformer.fit(GOOD),
        lambda transformer: transformer.partial_fit(GOOD),
        clone,
        pickle.dumps,
    ],
    ids=["fit", "partial_fit", "clone", "pickle"],
)
def test_what_a_copy_of_an_optimizer_would_lose_is_named(solver, name, use):
    transformer = SparseAutoencoderTransformer(2, max_iter=2, solver=solver)
    with pytest.raises(ValueError, match=f"does not hold.* lose them: {name}"):
        use(transformer)
    assert transformer.solver is solver


# Few epochs of few units, on purpose: they neither converge nor explain much.
@pytest.mark.trains
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
def test_what_a_subclass_sets_itself_is_kept():
    solver = WithoutDecayOfBiases(0.1, weight_decay=0.5)
    few = SparseAutoencoderTransformer(2, max_iter=5, solver=solver, random_state=0)
    decayed = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    other = clone(few).set_params(solver=decayed).fit(GOOD)
    assert np.abs(few.fit(GOOD).intercepts_[0] - other.intercepts_[0]).max() > 1e-3


@pytest.mark.parametrize("parameters", [{"warm_start": True}, {"early_stopping": True}])
def test_averaged_weights_are_refused_where_they_would_be_lost(parameters):
    solver = keras.optimizers.Adam(1e-3, use_ema=True)
    with pytest.raises(ValueError, match="use_ema=True cannot be combined"):
        SparseAutoencoderTransformer(solver=solver, **parameters).fit(GOOD)
    with pytest.raises(ValueError, match="use_ema=True cannot be combined"):
        SparseAutoencoderTransformer(solver=solver).partial_fit(GOOD)


def in_parts(X):
    """Return a CSR matrix that holds each entry of X as two that add up to it."""
    halves = sparse.csr_array(np.repeat(X / 2, 2, axis=1))
    indices = halves.indices // 2
    return sparse.csr_array((halves.data, indices, halves.indptr), shape=X.shape)


# Few epochs of few units, on purpose: they neither converge nor explain much.
@pytest.mark.trains
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
@pytest.mark.parametrize("scaled", [np.float64, np.float32])
def test_what_a_scaler_rounds_to_a_little_more_than_1_is_in_the_range(scaled):
    X = MinMaxScaler().fit_transform(load_breast_cancer().data.astype(scaled))
    X = X.astype(np.float64)
    assert X.max() > 1
    SparseAutoencoderTransformer(2, max_iter=1, random_state=0, **LOG_LOSS).fit(X)
    with pytest.raises(ValueError, match=r"in \[0, 1\]; X has values from 0 to 1.001"):
        SparseAutoencoderTransformer(2, **LOG_LOSS).fit(X * 1.001)


# Few epochs of few units, on purpose: they neither converge nor explain much.
@pytest.mark.trains
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
def test_sparse_entries_in_parts_are_judged_and_used_as_their_sum():
    few = SparseAutoencoderTransformer(2, max_iter=2, random_state=0, **LOG_LOSS)
    parts = in_parts(4 * GOOD)
    with pytest.raises(ValueError, match=r"\[0, 1\]; X has values from 0.01.* to 3.9"):
        few.fit(parts)
    parts.data[::2] -= 3 * GOOD.ravel()  # each outside of [0, 1], together within
    assert parts.nnz == 2 * GOOD.size
    coef = clone(few).fit(sparse.csr_array(GOOD)).coefs_[0]
    assert_allclose(few.fit(parts).coefs_[0], coef, rtol=1e-4)
    few.evaluate_objective(parts)
    assert parts.nnz == 2 * GOOD.size
    parts.data[:2] = 1e308
    with pytest.raises(ValueError, match="infinity"):
        few.transform(parts)


METHODS = [
    "transform",
    "inverse_transform",
    "reconstruct",
    "reconstruction_error",
    "score_samples",
    "score",
    "evaluate_objective",
    "unit_report",
]


@pytest.mark.parametrize("method", METHODS)
def test_an_unfitted_transformer_says_so(method):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(SparseAutoencoderTransformer(), method)(GOOD)


def test_to_keras_of_an_unfitted_transformer_says_so():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        SparseAutoencoderTransformer().to_keras()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((5, 7)), "7 (features|columns).*(64 features|20 components)"),
        (np.full((5, 64), np.inf), "contains infinity"),
        (np.ones(64), "Expected 2D array"),
    ],
)
def test_fitted_methods_refuse_what_does_not_fit(fitted, method, X, message):
    with pytest.raises(ValueError, match=message):
        getattr(fitted, method)(X)


# Trainings that are short on purpose stop at max_iter.
@pytest.mark.trains
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("parameters", "X", "message"),
    [
        ({"rho": 2.0}, GOOD, "'rho' parameter"),
        ({}, with_value(np.inf), "contains infinity"),
        ({"batch_size": -1}, GOOD, "'batch_size' parameter"),
        ({"n_components": 9, "warm_start": True}, GOOD, "n_components=9 differs"),
        ({"activation": "tanh", "warm_start": True}, GOOD, "activation='tanh' differs"),
        ({"scale": False, "warm_start": True}, GOOD, "scale=False differs"),
        ({"warm_start": True}, GOOD[:, :3], "3 features"),
        ({"solver": "sgd", "learning_rate": 1e9}, GOOD, "Lower learning_rate"),
    ],
)
def test_a_failed_fit_leaves_the_earlier_one_usable(parameters, X, message):
    transformer = SparseAutoencoderTransformer(
        3, max_iter=20, activation="relu", random_state=0
    )
    codes = transformer.fit(GOOD).transform(GOOD)
    before = {k: v for k, v in vars(transformer).items() if k.endswith("_")}
    transformer.set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        transformer.fit(X)
    after = {k: v for k, v in vars(transformer).items() if k.endswith("_")}
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    assert_array_equal(transformer.transform(GOOD), codes)


SOLVERS = "adam", "sgd", "lbfgs"
LARGE = 1e200 * (GOOD - GOOD.mean(axis=0))
LONG_STEPS = {"activation": "relu", "scale": False}


@pytest.mark.trains
@pytest.mark.parametrize(
    ("parameters", "X", "message"),
    [
        *(({"solver": s, "beta": 1e300}, GOOD, "beta=1e.300 out") for s in SOLVERS),
        *(
            ({"solver": s, "weight_decay": 1e300}, GOOD, "weight_decay=1e.300 out")
            for s in SOLVERS
        ),
        *(
            ({"solver": s, "scale": False}, LARGE, r"X, up to .*e\+199, .*StandardSc")
            for s in SOLVERS
        ),
        (
            {"solver": "lbfgs", "scale": False},
            (GOOD * 1e30).astype(np.float32),
            "too large for float32",
        ),
        ({"solver": "sgd", "learning_rate": 1e9} | LONG_STEPS, GOOD, "Lower learning_"),
        (
            {"solver": keras.optimizers.SGD(1e9)} | LONG_STEPS,
            GOOD,
            "Lower the learning rate of solver=<",
        ),
    ],
)
def test_a_training_that_diverges_says_why_and_what_to_change(parameters, X, message):
    transformer = SparseAutoencoderTransformer(3, random_state=0, **parameters)
    with pytest.raises(ValueError, match=message) as raised:
        transformer.fit(X)
    assert raised.type is ValueError


@pytest.mark.parametrize("solver", SOLVERS)
def test_infinity_is_named_where_values_are_assumed_to_be_finite(solver):
    transformer = SparseAutoencoderTransformer(3, solver=solver)
    with (
        config_context(assume_finite=True),
        pytest.raises(ValueError, match="X contains infinity, in 1 of its values"),
    ):
        transformer.fit(with_value(np.inf))


@pytest.mark.parametrize("method", METHODS)
def test_fitted_methods_name_values_that_are_assumed_to_be_finite(fitted, method):
    X = np.zeros((5, fitted.n_features_in_))
    if method == "inverse_transform":
        X = np.zeros((5, fitted.n_components))
    X[3, 2] = np.inf
    with (
        config_context(assume_finite=True),
        pytest.raises(ValueError, match="X contains infinity, in 1 of its values"),
    ):
        getattr(fitted, method)(X)


def test_results_beyond_the_range_of_their_dtype_are_named(fitted):
    with pytest.raises(ValueError, match="A squared error overflows the range"):
        fitted.reconstruction_error(np.full((2, 64), 1e200))
    nearly_constant = np.zeros((2, 64))
    nearly_constant[0] = 1e-200
    with pytest.raises(ValueError, match=r"score of X leaves .*: X varies too little"):
        fitted.score(nearly_constant)


def test_a_penalty_that_overflows_is_named(fitted):
    X = np.zeros((5, fitted.n_features_in_))
    for name in ("beta", "weight_decay"):
        large = copy.deepcopy(fitted)
        setattr(large, f"{name}_", 1e308)
        with pytest.raises(ValueError, match=f"term of {name}=1e.308 .* lower {name}"):
            large.evaluate_objective(X * 0 + 1e3)


@pytest.mark.trains
@pytest.mark.parametrize(
    "parameters", [{"early_stopping": True}, {"revive": True}], ids=str
)
def test_partial_fit_tells_what_it_does_not_do(digits, parameters):
    few = SparseAutoencoderTransformer(3, random_state=0, **parameters)
    with pytest.warns(UserWarning, match="=True has no effect with partial_fit"):
        few.partial_fit(digits)
    few.partial_fit(digits)  # once
