"""Whatever comes in, a right result or a clear ValueError or TypeError comes out.

Hypothesis draws the inputs. ``benchmarks/soak.py`` runs the same tests for longer.
"""

import collections
import functools
import os
import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.datasets import load_natural_image_patches, normalize_patches
from sksparse_ae.exceptions import UninformativeUnitsWarning
from sksparse_ae.regularizers import KLDivergenceRegularizer

pytestmark = pytest.mark.slow

# Inputs tried, by what they were given to and what came out; benchmarks/soak.py prints
# them.
TRIED = collections.Counter()

N_FEATURES, N_UNITS = 4, 3

# Set by benchmarks/soak.py: how many inputs each test gets, instead of the same few.
SOAK_EXAMPLES = int(os.environ.get("SKSPARSE_AE_SOAK_EXAMPLES", "0"))


def inputs(n_everyday, *strategies):
    """Decorate a test with inputs: ``n_everyday`` that stay the same, or many."""
    budget = settings(
        max_examples=SOAK_EXAMPLES or n_everyday,
        derandomize=not SOAK_EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    return lambda test: budget(given(*strategies)(test))


# ------------------------------------------------------------------------- the inputs

NUMBERS = [
    "?",
    *("b", "B", "h", "H", "i", "I", "q", "Q"),
    *("e", "f", "d", "g"),
]
OTHERS = ["F", "D", "O", "U3", "S3", "M8[s]", "m8[s]", "V5", [("a", "f8"), ("b", "i4")]]

# Magnitudes at which squares, sums or conversions leave a dtype at either end.
SCALES = [
    *(0.0, 5e-324, 1e-310, 1e-200, 1e-154, 1e-60, 1e-45, 1e-20, 1e-8),
    *(1.0, 1.0, 1.0, 1.0, 1e4, 1e8, 6e4, 1e18, 1e20, 1e38, 1e39),
    *(1e100, 1e154, 1e200, 1e290, 1e306, 1.7e308),
]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 5e-324, 1e-40, 3e38, 1e300, -1.7e308]
NOT_FINITE = [np.nan, np.inf, -np.inf]


@st.composite
def shapes(draw, n_columns):
    """Mostly two axes of the width that is wanted."""
    kind = draw(st.integers(0, 15))
    if kind == 0:
        return draw(hnp.array_shapes(min_dims=0, min_side=0, max_dims=4))
    if kind == 1:
        return draw(st.tuples(st.integers(0, 3), st.integers(0, n_columns + 1)))
    return draw(st.integers(1, 7)), n_columns


@st.composite
def arrays(draw, n_columns, dtypes=NUMBERS * 3 + OTHERS):
    """Arrays of any dtype, magnitude, order, stride, byte order and writability."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = draw(shapes(n_columns))
    if dtype.kind == "f":
        rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        X = rng.uniform(-1, 1, shape) * draw(st.sampled_from(SCALES))
        pool = st.sampled_from(SPECIAL * 2 + NOT_FINITE)
        for _ in range(draw(st.sampled_from([0] * 12 + [1, 2, 5]))):
            if X.size:
                X = np.array(X)
                X.reshape(-1)[draw(st.integers(0, X.size - 1))] = draw(pool)
        with np.errstate(all="ignore"):
            X = np.asarray(X).astype(dtype)
    elif dtype.kind == "O":
        entry = st.sampled_from([1, 2.5, None, "a", np.nan, True, 10**400, [1], 1j])
        X = draw(hnp.arrays(dtype, shape, elements=entry))
    elif dtype.kind == "V":
        X = np.zeros(shape, dtype)
    else:
        X = draw(hnp.arrays(dtype, shape))
    return laid_out(X, draw(st.sampled_from(LAYOUTS)))


LAYOUTS = ["C", "F", "strided", "reversed", "swapped", "read-only", "unaligned", "view"]


def laid_out(X, layout):
    """Return the same values, arranged otherwise in memory."""
    if layout == "F":
        return np.asfortranarray(X)
    if layout == "strided" and X.ndim == 2:
        wide = np.zeros((2 * X.shape[0], 3 * X.shape[1]), dtype=X.dtype)
        wide[::2, ::3] = X
        return wide[::2, ::3]
    if layout == "reversed" and X.ndim:
        return np.array(X[::-1])[::-1]
    if layout == "swapped" and X.dtype.kind not in "OVSU":
        return X.astype(X.dtype.newbyteorder())
    if layout == "read-only":
        X = np.array(X)
        X.setflags(write=False)
    if layout == "unaligned" and not X.dtype.hasobject and X.size:
        buffer = bytearray(X.nbytes + 1)
        copy = np.frombuffer(buffer, X.dtype, offset=1).reshape(X.shape)
        copy[...] = X
        return copy
    if layout == "view" and X.ndim == 2 and X.shape[0]:
        return np.broadcast_to(X[:1], X.shape)
    return X


def contained(X, container):
    """Return an array in another container; unchanged where that cannot be."""
    if X.ndim != 2 or not (X.dtype.kind in "biuf" or container == "list"):
        return X
    native = X.astype(X.dtype.newbyteorder("="))
    if container == "list":
        return X.tolist()
    if container == "pandas":
        return pd.DataFrame(native)
    if container == "polars" and X.dtype.char in "?bhiqBHIQfd":
        return pl.DataFrame(np.ascontiguousarray(native))
    if container == "masked":
        return np.ma.masked_array(X, mask=np.zeros(X.shape, dtype=bool))
    if container in SPARSE and X.dtype.char in "?bhiqBHIQfd":
        return SPARSE[container](native)
    return X


SPARSE = {
    "csr": sparse.csr_matrix,
    "csr_array": sparse.csr_array,
    "csc": sparse.csc_matrix,
    "coo_array": sparse.coo_array,
    "lil": sparse.lil_matrix,
    "dok": sparse.dok_matrix,
    "bsr": sparse.bsr_matrix,
}
CONTAINERS = ["array"] * 8 + ["list", "pandas", "polars", "masked", *SPARSE]

NO_DATA = [None, 3, "text", b"bytes", {}, object(), [], [[]], [[1], [1, 2]], iter([])]


@st.composite
def data(draw, n_columns, **kwargs):
    """An input and, where it is numbers in two axes, the array that it stands for."""
    if draw(st.integers(0, 39)) == 0:
        return draw(st.sampled_from(NO_DATA)), None
    X = draw(arrays(n_columns, **kwargs))
    container = draw(st.sampled_from(CONTAINERS))
    values = None
    if X.ndim == 2 and X.dtype.kind in "biuf":
        values = np.array(X, dtype=X.dtype.newbyteorder("="))
    return contained(X, container), values


def is_moderate(values, n_columns, n_rows):
    """Say whether an input is to be accepted whatever it is used for."""
    return (
        values is not None
        and values.shape[0] >= n_rows
        and values.shape[1] == n_columns
        and bool((np.abs(values.astype(np.longdouble)) < 1e8).all())
    )


# ------------------------------------------------------------------------ the outcome


def outcome(function, *args, **kwargs):
    """Return what a call returns, or the error that it may raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Few iterations, and random data: neither is what is looked for here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UninformativeUnitsWarning)
        # scikit-learn's, of frames: the networks were fitted to arrays.
        warnings.filterwarnings("ignore", "X has feature names")
        # Ours, of settings that go unused, and of a stream whose scale changes.
        warnings.filterwarnings("ignore", ".* has no effect with")
        warnings.filterwarnings("ignore", "The rows of this call lie")
        try:
            result = function(*args, **kwargs)
        except (ValueError, TypeError) as error:
            result = error
    name = "right result"
    if isinstance(result, Exception):
        name = "refused"
        assert len(str(result)) > 10
    TRIED[getattr(function, "__name__", "penalty"), name] += 1
    event(name)
    return result


def assert_finite(result):
    """Assert that a result holds no NaN and no infinity."""
    if isinstance(result, pd.DataFrame):
        result = result.drop(columns="state").to_numpy()
    elif isinstance(result, dict):
        result = list(result.values())
    elif sparse.issparse(result):
        result = result.data
    assert np.isfinite(np.asarray(result, dtype=np.float64)).all()


NETWORKS = [
    ("sigmoid", "linear", np.float64, {}),
    ("sigmoid", "linear", np.float32, {}),
    ("tanh", "sigmoid", np.float64, {}),
    ("relu", "linear", np.float64, {"scale": False}),
    ("relu", "relu", np.float32, {}),
    ("sigmoid", "sigmoid", np.float64, {"loss": "log_loss"}),
    ("sigmoid", "tanh", np.float32, {"solver": "lbfgs"}),
    ("sigmoid", "exponential", np.float32, {"loss": "poisson"}),
    ("tanh", "linear", np.float64, {"loss": "huber"}),
    ("relu", "linear", np.float64, {"sparsity": "topk", "rho": 0.6}),
    ("relu", "linear", np.float32, {"sparsity": "topk", "sparse_output": True}),
    ("relu", "linear", np.float32, {"sparsity": "batchtopk", "rho": 0.5}),
    ("relu", "linear", np.float64, {"sparsity": "lifetime", "rho": 0.3}),
]


@functools.cache
def network(index):
    """Return a fitted network with weights of a useful size."""
    activation, output_activation, dtype, other = NETWORKS[index]
    X = np.random.default_rng(0).uniform(0, 1, (20, N_FEATURES)).astype(dtype)
    estimator = SparseAutoencoderTransformer(
        N_UNITS,
        activation=activation,
        output_activation=output_activation,
        max_iter=2,
        random_state=0,
        **other,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X)


networks = st.integers(0, len(NETWORKS) - 1).map(network)

ACTIVATIONS = {
    "sigmoid": expit,
    "tanh": np.tanh,
    "relu": lambda Z: np.maximum(Z, 0),
    "linear": lambda Z: Z,
    "exponential": np.exp,
}


def layer(X, W, b, activation):
    """Return a layer in extended precision, with the size of what was added up."""
    X, W = np.asarray(X, np.longdouble), np.asarray(W, np.longdouble)
    size = (np.abs(X) @ np.abs(W)).max(initial=0) + np.abs(b).max()
    with np.errstate(all="ignore"):
        return ACTIVATIONS[activation](X @ W + b), size


def dense(result):
    """Return codes, which may be CSR, as an array."""
    return result.toarray() if sparse.issparse(result) else result


def assert_selected(codes, activations, estimator, tolerance):
    """Assert that codes are the activations that the selection of a network keeps."""
    if estimator.sparsity == "topk":
        n_kept = max(round(estimator.rho * N_UNITS), 1)
        least = np.sort(activations, axis=1)[:, -n_kept, None]
    else:
        least = estimator.threshold_
    difference = np.abs(codes - activations)
    stays = difference <= tolerance + 1e-5 * np.abs(activations)
    slack = tolerance + 1e-5 * np.abs(least)
    assert (stays | (codes == 0)).all()
    assert (stays | (activations <= least + slack)).all()
    assert ((codes == 0) | (activations >= least - slack)).all()


# --------------------------------------------------------------------------- the tests


@inputs(75, networks, data(N_FEATURES))
def test_codes_are_right_or_refused(estimator, given_data):
    X, values = given_data
    codes = outcome(estimator.transform, X)
    if isinstance(codes, Exception):
        assert not is_moderate(values, N_FEATURES, n_rows=1), codes
        return
    codes = dense(codes)
    assert_finite(codes)
    assert codes.dtype in (np.float64, np.float32)
    if values is None:
        return
    assert codes.shape == (values.shape[0], N_UNITS)
    expected, size = layer(
        values, estimator.coefs_[0], estimator.intercepts_[0], estimator.activation
    )
    # A sum is known to the last digits of its largest term.
    tolerance = float(100 * np.finfo(codes.dtype).eps * max(size, 1))
    if estimator.sparsity != "kl":
        assert_selected(codes, expected, estimator, tolerance)
        return
    assert_allclose(codes, expected.astype(codes.dtype), rtol=1e-5, atol=tolerance)


@inputs(150, networks, data(N_UNITS))
def test_decoded_codes_are_right_or_refused(estimator, given_data):
    X, values = given_data
    decoded = outcome(estimator.inverse_transform, X)
    if isinstance(decoded, Exception):
        refused = sparse.issparse(X) or "its logarithm is more" in str(decoded)
        assert refused or not is_moderate(values, N_UNITS, n_rows=1), decoded
        return
    assert_finite(decoded)
    if values is None:
        return
    assert decoded.shape == (values.shape[0], N_FEATURES)
    expected, size = layer(
        values,
        estimator.coefs_[1],
        estimator.intercepts_[1],
        estimator.output_activation,
    )
    tolerance = float(100 * np.finfo(decoded.dtype).eps * max(size, 1))
    # An error of the input is a share of its exponential.
    of_input = tolerance if estimator.output_activation == "exponential" else 0.0
    rtol = max(1e-5, of_input)
    assert_allclose(decoded, expected.astype(decoded.dtype), rtol=rtol, atol=tolerance)


METHODS = [
    "reconstruct",
    "reconstruction_error",
    "score_samples",
    "score",
    "evaluate_objective",
    "unit_report",
]


@inputs(150, networks, data(N_FEATURES), st.sampled_from(METHODS), st.booleans())
def test_what_is_evaluated_is_finite_or_refused(
    estimator, given_data, method, per_feature
):
    X, values = given_data
    options = {"per_feature": per_feature} if method == "reconstruction_error" else {}
    result = outcome(getattr(estimator, method), X, **options)
    if isinstance(result, Exception):
        outside = estimator.loss == "log_loss" and method == "evaluate_objective"
        outside = outside or (
            estimator.loss == "poisson" and "needs data of 0 or more" in str(result)
        )
        # Rows that differ by 1e-200 are reconstructed 1e400 times worse than that.
        outside = outside or (method == "score" and "varies too little" in str(result))
        assert outside or not is_moderate(values, N_FEATURES, n_rows=1), result
        return
    assert_finite(result)
    if method == "score" and values is not None:
        assert result <= 1
    if method == "reconstruction_error" and values is not None:
        assert (result >= 0).all()
        if is_moderate(values, N_FEATURES, n_rows=1):
            squared = np.square(
                estimator.reconstruct(values) - values.astype(np.float64)
            )
            expected = squared if per_feature else squared.sum(axis=1)
            scale = float(np.abs(values).max(initial=1)) ** 2
            assert_allclose(result, expected, rtol=1e-3, atol=1e-4 * scale)


@inputs(150, st.sampled_from(["C", *LAYOUTS]), st.sampled_from(CONTAINERS), networks)
def test_the_arrangement_of_the_data_changes_nothing(layout, container, estimator):
    X = np.random.default_rng(1).uniform(0, 1, (6, N_FEATURES))
    X = laid_out(X, layout)
    plain = np.array(X)
    arranged = contained(X, container)
    for method in ["transform", *METHODS]:
        expected = outcome(getattr(estimator, method), plain)
        result = outcome(getattr(estimator, method), arranged)
        if method == "unit_report":
            pd.testing.assert_frame_equal(result, expected)
        elif method == "evaluate_objective":
            assert_allclose(list(result.values()), list(expected.values()))
        else:
            assert_allclose(dense(result), dense(expected), rtol=1e-10, atol=1e-12)


ODD = [
    None,
    "auto",
    "no",
    True,
    False,
    -1,
    0,
    1,
    0.5,
    np.nan,
    np.inf,
    -np.inf,
    1j,
    [],
    {},
]


def ends(*values):
    """Mostly the ends of a range; now and then what is no value of it at all."""
    return st.integers(0, 15).flatmap(
        lambda kind: st.sampled_from(values if kind else ODD)
    )


UNIT_INTERVAL = [
    *(0.05, 0.5, np.float32(0.1), 2.0**-20, 1 - 2.0**-20),
    *(5e-324, 1e-7, 1 - 1e-16, 0.0, 1.0, 1),
]
NOT_NEGATIVE = [0, 0.0, 5e-324, 1e-300, 1e-3, np.float16(3), 3, 1e6, 1e30, 1e39, 1e300]

PARAMETERS = {
    "n_components": ends(1, 2, np.uint64(2), np.int8(3), np.int8(124)),
    "rho": ends(*UNIT_INTERVAL),
    "beta": ends(*NOT_NEGATIVE),
    "weight_decay": ends(*NOT_NEGATIVE),
    "activation": st.sampled_from(["auto", "sigmoid", "tanh", "relu"]),
    "output_activation": st.sampled_from(
        ["linear", "sigmoid", "tanh", "relu", "exponential"]
    ),
    "loss": st.sampled_from(["squared_error"] * 3 + ["log_loss", "poisson", "huber"]),
    "solver": ends("adam", "adam", "sgd", "lbfgs", np.str_("sgd")),
    "learning_rate": ends("auto", "auto", 5e-324, 1e-46, 1e-3, 1, 1e30, 1e39, 1e308),
    "batch_size": ends("auto", "auto", 1, 2, np.int16(3), 10**6, 10**30),
    "shuffle": st.booleans(),
    "tol": ends(0, 5e-324, 1e-4, 1e300),
    "n_iter_no_change": ends(1, 2, np.int8(127), 10**18, 10**30),
    "early_stopping": st.sampled_from([False, False, True, np.True_]),
    "validation_fraction": ends(0.1, 0.5, 5e-324, 1 - 1e-16, 0.99),
    "rho_hat": st.sampled_from(["running", "batch"]),
    "init": st.sampled_from(["auto", "uniform"]),
    "scale": st.sampled_from(["auto", "whiten", False, np.False_, np.str_("auto")]),
    "revive": st.sampled_from([False, True, "auto"]),
    "sparse_output": st.booleans(),
    "warm_start": st.booleans(),
    "random_state": ends(0, 2**32 - 1, 2**32, np.int64(3)),
}


def settings_of_estimators():
    """A sparsity and a few parameters that are not defaults, for few iterations."""
    changed = st.lists(
        st.sampled_from(sorted(PARAMETERS)), max_size=5, unique=True
    ).flatmap(lambda names: st.fixed_dictionaries({n: PARAMETERS[n] for n in names}))
    sparsity = st.sampled_from(["kl"] * 3 + ["topk", "batchtopk", "lifetime"])
    # With more than ten epochs a selection looks for dead units.
    max_iter = st.sampled_from([1, 2, 3, 16])
    return st.tuples(max_iter, sparsity, changed).map(
        lambda drawn: {
            "n_components": 2,
            "max_iter": drawn[0],
            "sparsity": drawn[1],
            **drawn[2],
        }
    )


def fitted_arrays(estimator):
    """Return what a fit leaves that has to be finite."""
    return [
        *estimator.coefs_,
        *estimator.intercepts_,
        estimator.rho_hat_,
        estimator.offset_,
        estimator.scale_,
        estimator.sparseness_,
        list(estimator.objective_.values()),
        estimator.loss_curve_,
    ]


@inputs(60, settings_of_estimators(), data(N_FEATURES, dtypes=NUMBERS), st.data())
def test_a_training_gives_finite_weights_or_is_refused(parameters, given_data, more):
    X, values = given_data
    estimator = SparseAutoencoderTransformer(**parameters)
    methods = ["fit", "fit_transform"]
    if parameters.get("solver") != "lbfgs":
        methods.append("partial_fit")
    method = more.draw(st.sampled_from(methods))
    before = vars(estimator).copy()
    result = outcome(getattr(estimator, method), X)
    if isinstance(result, Exception):
        after = vars(estimator)
        assert before.keys() == after.keys()
        assert all(after[name] is before[name] for name in before)
        return
    for array in fitted_arrays(estimator):
        assert_finite(array)
    codes = outcome(estimator.transform, X)
    if isinstance(codes, Exception):
        # Only rows that were scaled down for the training overflow without it.
        assert np.abs(values.astype(np.float64)).max() > 1e30, codes
    else:
        assert_finite(codes)
        if method == "fit_transform":
            assert_allclose(dense(result), dense(codes), rtol=1e-5, atol=1e-6)


@inputs(
    30,
    st.sampled_from([np.float32, np.float64]),
    st.sampled_from(["adam", "lbfgs"]),
    hnp.arrays(float, (5, N_FEATURES), elements=st.floats(-6e4, 6e4, width=16)),
)
def test_data_of_moderate_size_are_trained_on(dtype, solver, X):
    estimator = SparseAutoencoderTransformer(2, solver=solver, max_iter=2)
    result = outcome(estimator.fit, X.astype(dtype))
    assert result is estimator, result


@inputs(25, networks, data(N_FEATURES, dtypes=NUMBERS))
def test_training_that_goes_on_stays_finite_or_changes_nothing(estimator, given_data):
    X, _ = given_data
    if estimator.solver == "lbfgs":
        estimator = network(0)
    state = vars(estimator).copy()
    try:
        result = outcome(estimator.partial_fit, X)
        if isinstance(result, Exception):
            assert all(vars(estimator)[name] is state[name] for name in state)
        else:
            for array in fitted_arrays(estimator):
                assert_finite(array)
    finally:
        vars(estimator).clear()
        vars(estimator).update(state)


GAPS = {
    "none": (),
    "a value": (0, 1),
    "a column": (slice(None), 1),
    "a column but for a row": (slice(1, None), 1),
    "a row": 2,
    "the first rows": slice(0, 3),
    "all rows but one": slice(1, None),
    "all": slice(None),
}
TABLE_ROWS = 6
WEIGHTS = [0.0, 5e-324, 1e-300, 1e-100, 1e-10, 0.5, 1.0, 1.0, 1.0, 3.0, 1e100, 1e300]
TRAININGS = [
    {"solver": "adam"},
    {"solver": "lbfgs"},
    {"solver": "adam", "loss": "huber"},
    {"solver": "adam", "corruption": 0.3, "corruption_kind": "swap"},
    {"solver": "adam", "scale": "whiten"},
    {"solver": "sgd", "revive": True, "batch_size": 2},
    {"solver": "adam", "sparsity": "topk"},
    {"solver": "adam", "sparsity": "batchtopk", "sparse_output": True},
    {"solver": "adam", "sparsity": "lifetime", "rho": 0.3},
]


@st.composite
def tables(draw):
    """Rows with gaps, infinity now and then, and a weight for each row, or none."""
    X = np.random.default_rng(draw(st.integers(0, 9))).uniform(1, 2, (TABLE_ROWS, 4))
    kinds = draw(st.lists(st.sampled_from(sorted(GAPS)), max_size=2))
    for kind in kinds:
        if kind != "none":
            X[GAPS[kind]] = np.nan
    if draw(st.integers(0, 7)) == 0:
        X[draw(st.integers(0, TABLE_ROWS - 1)), 3] = draw(st.sampled_from(NOT_FINITE))
    weights = st.sampled_from(WEIGHTS)
    row_weights = st.one_of(
        st.none(),
        weights.map(lambda weight: np.full(TABLE_ROWS, weight)),
        st.lists(weights, min_size=TABLE_ROWS, max_size=TABLE_ROWS).map(np.array),
    )
    return X, draw(row_weights)


def is_refused(X, weights, *, whitens):
    """Say whether a training on a table is to be refused."""
    if np.isinf(X).any() or not weights.any():
        return True
    # Far below the largest weight float64 has nothing but 0.
    rows = X[weights / weights.max() > 0]
    gaps = np.isnan(rows)
    return len(rows) < 2 or gaps.all(axis=0).any() or (whitens and gaps.any())


@inputs(
    20,
    tables(),
    st.sampled_from(TRAININGS),
    st.sampled_from([np.array, sparse.csr_matrix, lambda X: [X[:2], X[2:]]]),
    st.booleans(),
)
def test_gaps_and_weights_give_right_results_or_are_refused(
    table, parameters, container, partial
):
    (values, sample_weight), X = table, container(table[0])
    partial = partial and parameters["solver"] != "lbfgs"
    estimator = SparseAutoencoderTransformer(2, max_iter=2, **parameters)
    train = estimator.partial_fit if partial else estimator.fit
    result = outcome(train, X, sample_weight=sample_weight)
    weights = np.ones(TABLE_ROWS) if sample_weight is None else sample_weight
    whitens = "scale" in parameters
    if is_refused(values, weights, whitens=whitens):
        assert isinstance(result, ValueError)
        assert not hasattr(estimator, "coefs_")
        return
    assert result is estimator, result
    for array in [*fitted_arrays(estimator), estimator.observed_share_]:
        assert_finite(array)
    shares = np.where(np.isnan(values), 0, (weights / weights.max())[:, None])
    if "loss" not in parameters:
        means = (shares * np.nan_to_num(values)).sum(axis=0) / shares.sum(axis=0)
        assert_allclose(estimator.offset_, means, rtol=1e-9)
    filled = estimator.impute(X)
    if sparse.issparse(filled):
        filled = filled.toarray()
    observed = ~np.isnan(values)
    assert_array_equal(filled[observed], values[observed])
    assert_finite(filled)
    for method in ["transform", *METHODS]:
        assert_finite(outcome(getattr(estimator, method), X))
    for method in ["score", "evaluate_objective"]:
        result = outcome(getattr(estimator, method), X, sample_weight=sample_weight)
        # Beside one row the others may have next to no weight, and no variance is left.
        if not isinstance(result, Exception) or "varies too little" not in str(result):
            assert_finite(result)


@inputs(
    150,
    networks,
    st.one_of(
        st.none(),
        st.just([f"x{i}" for i in range(N_FEATURES)]),
        st.lists(st.text(max_size=3), max_size=5),
        arrays(N_FEATURES),
        st.sampled_from(NO_DATA),
    ),
)
def test_feature_names_out_are_units_or_refused(estimator, names):
    result = outcome(estimator.get_feature_names_out, names)
    if not isinstance(result, Exception):
        assert len(result) == N_UNITS


@inputs(150, data(N_FEATURES))
def test_normalised_patches_are_in_range_or_refused(given_data):
    patches, values = given_data
    result = outcome(normalize_patches, patches)
    if isinstance(result, Exception):
        is_sparse = sparse.issparse(patches)
        assert is_sparse or not is_moderate(values, N_FEATURES, n_rows=1), result
        return
    assert (result >= 0.1 - 1e-6).all()
    assert (result <= 0.9 + 1e-6).all()


@inputs(150, ends(1, 2, np.uint8(3)), ends(2, 3, 427, 428), st.booleans(), ends(0, 1))
def test_patches_are_drawn_or_refused(n_patches, patch_size, normalize, random_state):
    result = outcome(
        load_natural_image_patches,
        n_patches,
        patch_size=patch_size,
        normalize=normalize,
        random_state=random_state,
    )
    if not isinstance(result, Exception):
        assert_finite(result)
        assert result.shape == (n_patches, patch_size**2)


@inputs(
    150, ends(*UNIT_INTERVAL), ends(*NOT_NEGATIVE), arrays(N_UNITS, dtypes=["f", "d"])
)
def test_the_penalty_of_a_layer_is_a_number_or_refused(rho, beta, activations):
    regularizer = outcome(KLDivergenceRegularizer, rho=rho, beta=beta)
    if isinstance(regularizer, Exception):
        return
    assert regularizer.get_config()["rho"] == rho
    if activations.ndim == 2 and activations.size and float(beta) < 1e30:
        inside = np.clip(np.nan_to_num(activations), 0, 1)
        native = inside.astype(inside.dtype.newbyteorder("="))
        assert_finite(outcome(regularizer, native))
