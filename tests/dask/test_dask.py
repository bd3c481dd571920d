"""Fits over the rows of Dask collections, on a real cluster of processes."""

import asyncio
import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.model_selection import train_together

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")
pd = pytest.importorskip("pandas")

from sksparse_ae.dask import DaskSparseAutoencoderTransformer

pytestmark = pytest.mark.usefixtures("no_convergence_warning")

SETTINGS = {
    "n_components": 5,
    "solver": "lbfgs",
    "max_iter": 12,
    "tol": 1e-9,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def local(digits):
    return without_warning(SparseAutoencoderTransformer(**SETTINGS), digits)


@pytest.fixture(scope="module")
def fitted(client, digits):
    X = da.from_array(digits, chunks=(50, -1))
    return without_warning(DaskSparseAutoencoderTransformer(**SETTINGS), X)


def without_warning(estimator, X, **arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, **arguments)


def assert_same_fit(one, other):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            assert_array_equal(a, b)
    assert one.loss_curve_ == other.loss_curve_
    assert one.objective_ == other.objective_


def assert_near(one, other):
    """Assert what different chunkings must agree on."""
    assert_allclose(one.loss_curve_[:20], other.loss_curve_[:20], rtol=1e-10)
    assert_allclose(one.objective_.total, other.objective_.total, rtol=1e-4)
    assert_allclose(one.offset_, other.offset_, rtol=1e-12)
    assert_allclose(one.scale_, other.scale_, rtol=1e-12)


# ------------------------------------------------------------------------ the fit


@pytest.mark.parametrize(
    "chunks",
    [50, 2000, 20, (1, 150, 0, 100, 49)],
    ids=["even", "one", "more than groups", "uneven"],
)
def test_the_fit_is_that_of_the_local_estimator(client, digits, local, chunks):
    X = da.from_array(digits, chunks=(chunks, -1))
    assert_near(DaskSparseAutoencoderTransformer(**SETTINGS).fit(X), local)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "tanh"},
        {"output_activation": "sigmoid", "loss": "log_loss"},
        {"output_activation": "exponential", "loss": "poisson"},
        {"loss": "huber", "early_stopping": True},
        {"early_stopping": True},
        {"init": "uniform", "scale": False},
        {"scale": "whiten"},
    ],
    ids=str,
)
def test_settings_mean_what_they_mean_locally(client, digits, settings):
    X, settings = digits / 16, SETTINGS | settings
    fitted = DaskSparseAutoencoderTransformer(**settings).fit(
        da.from_array(X, chunks=(80, -1))
    )
    assert_near(fitted, SparseAutoencoderTransformer(**settings).fit(X))


def test_float32_stays(client, digits):
    X = digits.astype(np.float32)
    fitted = DaskSparseAutoencoderTransformer(**SETTINGS).fit(
        da.from_array(X, chunks=(80, -1))
    )
    expected = SparseAutoencoderTransformer(**SETTINGS).fit(X)
    assert fitted.coefs_[0].dtype == np.float32
    assert_allclose(fitted.loss_curve_[:5], expected.loss_curve_[:5], rtol=1e-5)


def as_csr(X):
    return da.from_array(X, chunks=(80, -1)).map_blocks(sparse.csr_matrix)


def as_frame(X):
    frame = pd.DataFrame(X, columns=[f"p{n}" for n in range(X.shape[1])])
    return dd.from_pandas(frame, npartitions=4)


@pytest.mark.parametrize(
    "collection",
    [
        as_csr,
        as_frame,
        lambda X: as_frame(X).to_dask_array(),
        lambda X: da.from_array(X, chunks=(80, 20)),
        lambda X: da.from_array(X.astype(int), chunks=(80, -1)),
        lambda X: da.from_array(X, chunks=(80, -1)).persist(),
        lambda X: da.from_array(X, chunks=(80, -1)).persist() * 1,
    ],
    ids=["CSR", "dataframe", "no lengths", "columns", "int", "held", "lazy of held"],
)
def test_collections_of_any_kind_give_the_same(client, digits, local, collection):
    fitted = DaskSparseAutoencoderTransformer(**SETTINGS).fit(collection(digits))
    assert_near(fitted, local)
    assert fitted.n_features_in_ == 64


def test_blocks_that_are_made_anew_give_the_same_bits(client, digits, monkeypatch):
    held = da.map_blocks(
        lambda block_id: np.full((100, 64), block_id[0]) + np.eye(100, 64),
        chunks=((100,) * 7, (64,)),
        dtype=float,
    )
    fitted = DaskSparseAutoencoderTransformer(**SETTINGS).fit(held)
    monkeypatch.setattr("sksparse_ae._dask.blocks.HELD_SHARE", 0)
    assert_same_fit(DaskSparseAutoencoderTransformer(**SETTINGS).fit(held), fitted)


@pytest.mark.slow
def test_the_number_of_workers_changes_no_bit(cluster, client, digits, fitted):
    X = da.from_array(digits, chunks=(50, -1))
    try:
        cluster.scale(3)  # before, there were two
        client.wait_for_workers(3, timeout=120)
        again = DaskSparseAutoencoderTransformer(**SETTINGS).fit(X)
        assert_same_fit(again, fitted)
    finally:
        cluster.scale(2)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_mini_batches_are_those_of_a_list_of_blocks(client, digits, solver):
    settings = SETTINGS | {"solver": solver, "max_iter": 3}
    X = da.from_array(digits, chunks=(80, -1))
    blocks = np.split(digits, [80, 160, 240])
    fitted = DaskSparseAutoencoderTransformer(**settings).fit(X)
    assert_same_fit(fitted, SparseAutoencoderTransformer(**settings).fit(blocks))
    fitted.partial_fit(X)
    expected = SparseAutoencoderTransformer(**settings).fit(blocks).partial_fit(blocks)
    assert_same_fit(fitted, expected)


def test_a_warm_start_continues(client, digits):
    X = da.from_array(digits, chunks=(80, -1))
    warm = DaskSparseAutoencoderTransformer(**SETTINGS, warm_start=True).fit(X)
    first = warm.objective_.total
    assert warm.fit(X).objective_.total < first
    assert warm.n_iter_ == 2 * SETTINGS["max_iter"]


# ------------------------------------------------------------- what comes after it


def test_values_of_the_whole_are_computed(client, digits, fitted, local):
    X = da.from_array(digits, chunks=(50, -1))
    assert_allclose(fitted.score(X), fitted.to_local().score(digits), rtol=1e-12)
    objective = fitted.evaluate_objective(X)
    assert_allclose(objective.total, fitted.objective_.total, rtol=1e-12)
    report = fitted.unit_report(X)
    expected = fitted.to_local().unit_report(digits)
    assert_array_equal(report["state"], expected["state"])
    assert_allclose(report.iloc[:, :-1], expected.iloc[:, :-1], rtol=1e-10)


METHODS = ["transform", "reconstruct", "reconstruction_error", "score_samples"]


@pytest.mark.parametrize("method", [*METHODS, "inverse_transform"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_give_lazy_arrays(client, digits, fitted, method, dtype):
    local = fitted.to_local()
    given = local.transform(digits) if method == "inverse_transform" else digits
    given = given.astype(dtype)
    found = getattr(fitted, method)(da.from_array(given, chunks=(50, 5)))
    expected = getattr(local, method)(given)
    assert isinstance(found, da.Array)
    assert found.dtype == found._meta.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.chunks[0] == (50,) * 6
    computed = found.compute()
    assert computed.dtype == expected.dtype
    rounding = 1e-6 if dtype == np.float32 else 1e-14
    assert_allclose(computed, expected, atol=rounding * np.abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_dataframes_give_lazy_dataframes_with_names(client, digits, method):
    X = as_frame(digits)
    X.index = X.index + 100
    fitted = DaskSparseAutoencoderTransformer(**SETTINGS).fit(X)
    found = getattr(fitted, method)(X)
    computed = found.compute()
    local = fitted.to_local()
    expected = getattr(local, method)(X.compute())
    assert_allclose(computed, expected, rtol=1e-12)
    assert_array_equal(computed.index, np.arange(len(digits)) + 100)
    if expected.ndim == 1:
        assert computed.dtype == found.dtype
        return
    names = local.get_feature_names_out() if method == "transform" else X.columns
    assert list(found.columns) == list(computed.columns) == list(names)
    assert list(found.dtypes) == list(computed.dtypes)


def test_the_errors_of_values_and_codes_of_frames(client, digits, fitted):
    X = da.from_array(digits, chunks=(50, -1))
    errors = fitted.reconstruction_error(X, per_feature=True)
    assert errors.shape == digits.shape
    assert_allclose(errors.sum(axis=1), fitted.reconstruction_error(X), rtol=1e-12)
    frame = DaskSparseAutoencoderTransformer(**SETTINGS).fit(as_frame(digits))
    back = frame.inverse_transform(frame.transform(as_frame(digits)))
    assert list(back.columns) == list(frame.feature_names_in_)


def test_rows_of_this_machine_are_transformed_at_once(digits, fitted):
    assert_array_equal(fitted.transform(digits), fitted.to_local().transform(digits))
    assert_array_equal(
        fitted.score_samples(digits), fitted.to_local().score_samples(digits)
    )


def test_the_local_estimator_is_loaded_without_dask(fitted, digits, tmp_path):
    local = fitted.to_local()
    assert type(local) is SparseAutoencoderTransformer
    assert not hasattr(local, "client")
    path = tmp_path / "local.joblib"
    joblib.dump(local, path)
    program = f"""
import sys
sys.modules["dask"] = sys.modules["distributed"] = None
import joblib, numpy as np
np.save({str(tmp_path / "codes.npy")!r}, joblib.load({str(path)!r}).transform(
    np.load({str(tmp_path / "X.npy")!r})))
"""
    np.save(tmp_path / "X.npy", digits)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    assert_array_equal(np.load(tmp_path / "codes.npy"), local.transform(digits))


# ---------------------------------------------------------------------- the client


def test_clones_share_the_client_and_pickles_drop_it(client, fitted):
    estimator = DaskSparseAutoencoderTransformer(7, rho=0.2, client=client)
    copied = clone(estimator)
    assert copied.client is client
    assert copied.rho == 0.2
    assert pickle.loads(pickle.dumps(estimator)).client is None
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_same_fit(loaded, fitted)
    assert loaded.client_ is distributed.default_client()


def test_without_a_client_it_says_what_to_do(digits):
    program = """
import dask.array as da
from sksparse_ae.dask import DaskSparseAutoencoderTransformer
try:
    DaskSparseAutoencoderTransformer().fit(da.ones((10, 3)))
except ValueError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert "There is no Dask client. Make one before fit" in done.stdout


def test_the_client_of_a_task_is_found(client, digits):
    def fit_within(X):
        X = da.from_array(X, chunks=(150, -1))
        with distributed.worker_client():
            fitted = DaskSparseAutoencoderTransformer(**SETTINGS).fit(X)
        return fitted.to_local()

    found = client.submit(fit_within, digits, pure=False).result(timeout=120)
    expected = DaskSparseAutoencoderTransformer(**SETTINGS).fit(
        da.from_array(digits, chunks=(150, -1))
    )
    assert_same_fit(found, expected)


def test_an_asynchronous_client_is_refused(cluster):
    async def fit():
        address = cluster.scheduler_address
        async with distributed.Client(address, asynchronous=True) as client:
            DaskSparseAutoencoderTransformer(client=client).fit(da.ones((10, 3)))

    with pytest.raises(TypeError, match="asynchronous client is not supported"):
        asyncio.run(fit())


# ----------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("collection", "error", "message"),
    [
        (np.ones((10, 3)), TypeError, "X must be a Dask array or dataframe"),
        (da.ones(10), ValueError, "X must have two dimensions"),
        (da.ones((10, 3, 3)), ValueError, "X must have two dimensions"),
        (
            da.concatenate([da.ones((5, 3)), da.full((5, 3), np.inf)]),
            ValueError,
            "Block 1 of X: Input X contains infinity",
        ),
        (da.ones((1, 3)), ValueError, "minimum of 2 is required"),
    ],
    ids=["array", "1-D", "3-D", "infinity", "one row"],
)
def test_bad_input_is_named(client, collection, error, message):
    estimator = DaskSparseAutoencoderTransformer(**SETTINGS)
    with pytest.raises(error, match=message):
        estimator.fit(collection)
    assert not hasattr(estimator, "coefs_")


def test_other_columns_are_refused_before_anything_is_computed(client, digits):
    X = as_frame(digits)
    fitted = DaskSparseAutoencoderTransformer(**SETTINGS).fit(X)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(X.rename(columns={"p0": "other"}))
    with (
        pytest.warns(UserWarning, match="does not have valid feature names"),
        pytest.raises(ValueError, match="60 features"),
    ):
        fitted.transform(da.ones((10, 60)))


def test_an_output_is_not_left_aside_in_silence(client, digits, fitted):
    X = da.from_array(digits, chunks=(50, -1))
    for method in (fitted.transform, fitted.reconstruct):
        with pytest.raises(ValueError, match="out is for rows on this machine"):
            method(X, out=np.empty((len(digits), 5)))


def test_other_containers_are_refused(fitted):
    with pytest.raises(ValueError, match="transform='pandas' is not available"):
        clone(fitted).set_output(transform="pandas")


# ------------------------------------------------------------------------ searches


def test_a_search_on_the_cluster_finds_what_it_finds_here(client, digits):
    X, grid = digits, {"rho": [0.05, 0.2], "beta": [0.1, 3.0]}
    estimator = SparseAutoencoderTransformer(**SETTINGS | {"solver": "adam"})
    search = GridSearchCV(estimator, grid, cv=2)
    with joblib.parallel_backend("dask", scatter=[X]):
        there = clone(search).fit(X)
    here = clone(search).fit(X)
    assert_allclose(
        there.cv_results_["mean_test_score"],
        here.cv_results_["mean_test_score"],
        rtol=1e-6,
    )
    assert there.best_params_ == here.best_params_


def test_candidates_train_together_within_a_worker(client, digits):
    def search(X):
        estimator = SparseAutoencoderTransformer(5, max_iter=5, random_state=0)
        search = GridSearchCV(estimator, {"rho": [0.05, 0.2]}, cv=2)
        with train_together():
            return search.fit(X).cv_results_["mean_test_score"]

    scores = client.submit(search, digits, pure=False).result(timeout=120)
    assert_allclose(scores, search(digits), rtol=1e-3)


@pytest.fixture(scope="module")
def weights(digits):
    return np.random.default_rng(0).integers(0, 3, len(digits)).astype(float)


@pytest.mark.parametrize("kind", ["array", "other chunks", "here", "dataframe"])
def test_weights_of_rows_stay_with_them(client, digits, weights, kind):
    expected = without_warning(
        SparseAutoencoderTransformer(**SETTINGS), digits, sample_weight=weights
    )
    X, own = da.from_array(digits, chunks=(50, -1)), weights
    if kind == "array":
        own = da.from_array(weights, chunks=50)
    elif kind == "other chunks":
        own = da.from_array(weights, chunks=70)
    elif kind == "dataframe":
        frame = pd.DataFrame(digits, columns=[f"p{i}" for i in range(64)])
        frame["w"] = weights
        frame = dd.from_pandas(frame, npartitions=4)
        X, own = frame[[f"p{i}" for i in range(64)]], frame["w"]
    fitted = without_warning(
        DaskSparseAutoencoderTransformer(**SETTINGS), X, sample_weight=own
    )
    assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-6)
    here, local = X.compute(), fitted.to_local()
    score = fitted.score(X, sample_weight=own)
    assert score == pytest.approx(local.score(here, sample_weight=weights))
    objective = fitted.evaluate_objective(X, sample_weight=own)
    expected = local.evaluate_objective(here, sample_weight=weights)
    assert objective.total == pytest.approx(expected.total, rel=1e-10)


def test_mini_batches_of_a_cluster_weigh_rows(client, digits, weights):
    settings = {**SETTINGS, "solver": "adam", "max_iter": 3, "shuffle": False}
    X = da.from_array(digits, chunks=(50, -1))
    fitted = without_warning(
        DaskSparseAutoencoderTransformer(**settings), X, sample_weight=weights
    )
    plain = without_warning(DaskSparseAutoencoderTransformer(**settings), X)
    local = fitted.to_local()
    assert fitted.objective_.total == pytest.approx(
        local.evaluate_objective(digits, sample_weight=weights).total, rel=1e-6
    )
    assert fitted.objective_.total != plain.objective_.total


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda w: w[:5], ValueError, "sample_weight"),
        (lambda w: da.from_array(w[:200], chunks=50), ValueError, "sample_weight"),
        (lambda w: da.from_array(w[:, None], chunks=50), ValueError, "2 dimensions"),
        (lambda w: -1 - w, ValueError, "contains -3, and weights must not be"),
    ],
    ids=["short", "short array", "two dimensions", "negative"],
)
def test_weights_that_do_not_fit_are_refused(
    client, digits, weights, make, error, message
):
    X = da.from_array(digits, chunks=(50, -1))
    with pytest.raises(error, match=message):
        DaskSparseAutoencoderTransformer(**SETTINGS).fit(X, sample_weight=make(weights))


def test_lengths_that_are_not_known_need_weights_in_parts(client, digits, weights):
    frame = dd.from_pandas(pd.DataFrame(digits), npartitions=3)
    with pytest.raises(TypeError, match="Dask series or array with a part for each"):
        DaskSparseAutoencoderTransformer(**SETTINGS).fit(frame, sample_weight=weights)


def test_gaps_are_left_out_where_rows_are(client, digits):
    gaps = np.random.default_rng(0).random(digits.shape) < 0.2
    incomplete = np.where(gaps & (digits.std(axis=0) > 0), np.nan, digits)
    X = da.from_array(incomplete, chunks=(50, -1))
    fitted = without_warning(DaskSparseAutoencoderTransformer(**SETTINGS), X)
    expected = without_warning(SparseAutoencoderTransformer(**SETTINGS), incomplete)
    assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-9)
    assert_allclose(fitted.observed_share_, expected.observed_share_)
    filled = fitted.impute(X)
    assert filled.chunks == X.chunks
    assert_array_equal(filled.compute(), fitted.to_local().impute(incomplete))
