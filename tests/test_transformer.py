"""At home in scikit-learn: outputs, names, formats, pipelines and searches."""

import builtins
import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import minimize_scalar
from scipy.special import huber
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.experimental import enable_halving_search_cv  # noqa: F401, it enables
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import d2_tweedie_score, mean_poisson_deviance, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_val_score,
)
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._network import reading, statistics
from sksparse_ae.datasets import load_natural_image_patches
from sksparse_ae.exceptions import UninformativeUnitsWarning
from sksparse_ae.metrics import variance_explained

# Trainings that are short on purpose stop at max_iter.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def few(**parameters):
    """A transformer of three units that trains for three epochs."""
    return SparseAutoencoderTransformer(3, max_iter=3, random_state=0, **parameters)


# ------------------------------------------------------------------ what comes out


def test_fit_transform_is_fit_then_transform(digits):
    assert_array_equal(few().fit_transform(digits), few().fit(digits).transform(digits))


def test_transform_is_the_formula_on_the_fitted_arrays(fitted, digits):
    codes = 1 / (1 + np.exp(-(digits @ fitted.coefs_[0] + fitted.intercepts_[0])))
    assert_allclose(fitted.transform(digits), codes)
    reconstructed = codes @ fitted.coefs_[1] + fitted.intercepts_[1]
    assert_allclose(fitted.inverse_transform(codes), reconstructed)
    assert_allclose(fitted.reconstruct(digits), reconstructed)


def test_rho_hat_is_the_mean_of_what_transform_returns(fitted, digits):
    assert_allclose(fitted.rho_hat_, fitted.transform(digits).mean(axis=0))


def test_fitted_attributes_have_their_shapes(fitted):
    assert [w.shape for w in fitted.coefs_] == [(64, 20), (20, 64)]
    assert [b.shape for b in fitted.intercepts_] == [(20,), (64,)]
    assert fitted.components_.shape == fitted.maximal_inputs_.shape == (20, 64)
    assert fitted.rho_hat_.shape == (20,)
    assert fitted.offset_.shape == (64,)
    assert fitted.n_iter_ == len(fitted.loss_curve_)
    assert fitted.objective_.total == pytest.approx(
        fitted.objective_.reconstruction
        + fitted.objective_.weight_decay
        + fitted.objective_.sparsity
    )


def test_no_input_of_norm_one_activates_a_unit_more_than_its_maximal_input(fitted):
    W1 = fitted.coefs_[0]
    maximal = fitted.maximal_inputs_
    assert_allclose(np.linalg.norm(maximal, axis=1), 1)
    others = np.random.default_rng(0).normal(size=(1000, 64))
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    assert ((others @ W1).max(axis=0) < np.diag(maximal @ W1)).all()


def test_score_is_the_variance_weighted_r2(fitted, digits):
    assert_allclose(
        fitted.score(digits),
        r2_score(digits, fitted.reconstruct(digits), multioutput="variance_weighted"),
    )


def test_score_is_free_of_the_penalties(fitted, digits):
    other = clone(fitted)
    other.__dict__.update(fitted.__dict__)
    other.set_params(rho=0.5, beta=100.0, weight_decay=1.0)
    assert other.score(digits) == fitted.score(digits)


def test_score_keeps_its_digits_far_from_zero(digits):
    far = digits + 1e8
    transformer = few(solver="lbfgs").set_params(max_iter=30).fit(far)
    expected = r2_score(
        digits, transformer.reconstruct(far) - 1e8, multioutput="variance_weighted"
    )
    assert_allclose(transformer.score(far), expected, rtol=1e-4)


@pytest.fixture(scope="module")
def counts():
    """Return counts that three factors explain, with a column of zeros."""
    rng = np.random.default_rng(0)
    rates = np.exp(rng.normal(size=(200, 3)) @ rng.normal(0, 0.5, (3, 8)))
    X = rng.poisson(5 * rates).astype(float)
    X[:, 4] = 0
    return X


def few_of_counts(**parameters):
    return few(loss="poisson", output_activation="exponential", **parameters)


def test_score_of_counts_is_the_share_of_the_deviance(counts):
    transformer = few_of_counts(solver="lbfgs").set_params(max_iter=50).fit(counts)
    reconstruction, n_rows = transformer.reconstruct(counts), len(counts)
    assert (reconstruction > 0).all()
    means = np.tile(np.maximum(counts.mean(axis=0), 1e-300), (n_rows, 1))
    deviance, least = (
        mean_poisson_deviance(counts.ravel(), prediction.ravel())
        for prediction in (reconstruction, means)
    )
    score = transformer.score(counts)
    assert score > 0.2
    assert_allclose(score, 1 - deviance / least)
    loss = transformer.objective_.reconstruction
    assert_allclose(loss, deviance * 8 / 2 / transformer.scale_)
    # The share of the variance is another one, of which the scorer keeps the name.
    variance = r2_score(counts, reconstruction, multioutput="variance_weighted")
    assert_allclose(variance_explained(transformer, counts), variance)
    # Of one column it is the score of scikit-learn.
    single = few_of_counts(solver="lbfgs").fit(counts[:, :1])
    assert_allclose(
        single.score(counts[:, :1]),
        d2_tweedie_score(
            counts[:, 0], single.reconstruct(counts[:, :1])[:, 0], power=1
        ),
    )
    with pytest.raises(ValueError, match="Negative values in data: loss='poisson'"):
        transformer.score(-counts)


@pytest.mark.parametrize("scale", ["auto", False])
def test_score_with_huber_is_the_share_of_the_loss_of_the_best_constants(scale):
    rng = np.random.default_rng(0)
    X = rng.standard_t(2, (200, 5)) @ rng.normal(size=(5, 6)) + 3
    X[7, 2] = 1e6
    transformer = few(loss="huber", solver="lbfgs", scale=scale)
    transformer.set_params(max_iter=50).fit(X)
    threshold = 1.35 * transformer.scale_

    def loss_of(errors):
        return huber(threshold, errors).sum()

    least = sum(
        minimize_scalar(lambda c, x=x: loss_of(x - c), (-5, 5)).fun for x in X.T
    )
    loss = loss_of(X - transformer.reconstruct(X))
    assert_allclose(transformer.score(X), 1 - loss / least, rtol=1e-6)
    assert_allclose(
        transformer.objective_.reconstruction,
        loss / transformer.scale_**2 / len(X),
    )


def test_values_far_out_move_neither_the_units_nor_the_codes_of_huber(digits):
    X = digits.copy()
    X[::50, ::9] = 1e5
    clean, broken = (
        few(loss="huber", solver="lbfgs").set_params(max_iter=100, tol=1e-3).fit(rows)
        for rows in (digits, X)
    )
    assert_allclose(broken.scale_, clean.scale_, rtol=0.02)
    assert_allclose(broken.offset_, np.median(X, axis=0))
    others = np.arange(len(digits)) % 50 != 0
    scores = [
        variance_explained(transformer, digits[others])
        for transformer in (clean, broken)
    ]
    assert_allclose(*scores, atol=0.05)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_sparse_matrix_of_counts_is_fitted_as_its_array(counts, solver):
    dense = few_of_counts(solver=solver).fit(counts)
    compressed = few_of_counts(solver=solver).fit(sparse.csr_matrix(counts))
    assert_allclose(dense.coefs_[0], compressed.coefs_[0], rtol=1e-5)
    assert_allclose(dense.score(counts), compressed.score(sparse.csr_matrix(counts)))


def test_counts_of_any_size_are_fitted_alike(counts):
    one, other = (
        few_of_counts(solver="lbfgs").fit(factor * counts) for factor in (1, 1024)
    )
    assert_allclose(other.scale_, 1024 * one.scale_)
    assert_allclose(other.objective_.total, one.objective_.total)
    assert_allclose(other.score(1024 * counts), one.score(counts))
    assert_allclose(other.reconstruct(1024 * counts), 1024 * one.reconstruct(counts))
    # The deviance of counts over a number is that of the counts over the number.
    plain = few_of_counts(solver="lbfgs", scale=False).fit(counts / one.scale_)
    assert_allclose(plain.objective_.total, one.objective_.total)
    assert_allclose(plain.scale_, 1)


@pytest.mark.parametrize("loss", ["poisson", "huber"])
def test_a_stream_of_pieces_lowers_the_loss(counts, loss):
    settings = {} if loss == "huber" else {"output_activation": "exponential"}
    transformer = few(loss=loss, **settings)
    for piece in np.array_split(np.tile(counts, (10, 1)), 40):
        transformer.partial_fit(piece)
    after = transformer.evaluate_objective(counts).total
    assert after < 0.8 * few(loss=loss, **settings).fit(counts).loss_curve_[0]
    if loss == "huber":
        assert_allclose(transformer.offset_, np.median(counts, axis=0), atol=1)
    else:
        assert_allclose(transformer.offset_, counts.mean(axis=0))


@pytest.mark.parametrize("loss", ["poisson", "huber"])
def test_a_warm_start_goes_on_where_the_fit_ended(counts, loss):
    settings = {} if loss == "huber" else {"output_activation": "exponential"}
    transformer = few(loss=loss, warm_start=True, **settings).fit(counts)
    before = transformer.objective_.total
    transformer.set_params(max_iter=20).fit(counts)
    assert transformer.objective_.total < before
    assert transformer.n_iter_ == 23


def test_a_reconstruction_that_overflows_is_told(counts):
    transformer = few_of_counts(activation="relu").fit(counts)
    transformer.coefs_[1] = np.abs(transformer.coefs_[1]) + 1
    transformer.intercepts_[0] = np.abs(transformer.intercepts_[0])
    transformer.coefs_[0] = np.abs(transformer.coefs_[0])
    with pytest.raises(ValueError, match="overflows float64: its logarithm is more"):
        transformer.reconstruct(1e6 + counts)


def test_errors_by_row_add_up_those_by_feature(fitted, digits):
    by_feature = fitted.reconstruction_error(digits, per_feature=True)
    assert_allclose(by_feature, (fitted.reconstruct(digits) - digits) ** 2, atol=1e-12)
    assert_allclose(fitted.reconstruction_error(digits), by_feature.sum(axis=1))
    assert_array_equal(
        fitted.score_samples(digits), -fitted.reconstruction_error(digits)
    )


def test_score_samples_tells_noise_from_digits(fitted, digits):
    noise = np.random.default_rng(0).permuted(digits, axis=1)
    normal, strange = fitted.score_samples(digits), fitted.score_samples(noise)
    assert np.quantile(strange, 0.9) < np.quantile(normal, 0.1)


def test_evaluate_objective_on_the_training_set_is_the_fitted_objective(fitted, digits):
    assert fitted.evaluate_objective(digits) == fitted.objective_


def test_unit_report_tells_dead_saturated_and_collapsed_units(fitted, digits):
    edited = clone(fitted).fit(digits)
    W1, b1 = edited.coefs_[0], edited.intercepts_[0]
    b1[:2] = [-1e3, 1e3]
    W1[:, 2], b1[2] = 1e-6, np.log(0.05 / 0.95)
    report = edited.unit_report(digits)
    assert report["state"].tolist()[:3] == ["dead", "saturated", "collapsed"]
    assert (report["state"][3:] == "active").all()
    codes = edited.transform(digits)
    assert_allclose(report["rho_hat"], codes.mean(axis=0))
    assert_allclose(report["std"], codes.std(axis=0), atol=1e-8)
    assert_allclose(report["maximum"], codes.max(axis=0))
    ratio = codes[:, 5].sum() / np.linalg.norm(codes[:, 5])
    assert_allclose(
        report["sparseness"][5], (np.sqrt(300) - ratio) / (np.sqrt(300) - 1)
    )
    assert report["sparseness"][2] == pytest.approx(0, abs=1e-6)


def test_unit_report_without_pandas_is_a_structured_array(fitted, digits, monkeypatch):
    frame = fitted.unit_report(digits)
    real_import = builtins.__import__

    def no_pandas(name, namespace=None, *args):
        if name == "pandas" and namespace["__name__"] == "sksparse_ae._network.units":
            raise ImportError(name)
        return real_import(name, namespace, *args)

    monkeypatch.setattr(builtins, "__import__", no_pandas)
    table = fitted.unit_report(digits)
    assert table.dtype.names == tuple(frame.columns)
    for name in frame.columns:
        assert_array_equal(table[name], frame[name].to_numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_many_rows_take_little_memory_beside_the_output(
    fitted, digits, container, dtype, monkeypatch
):
    monkeypatch.setattr(reading, "CHUNK_VALUES", 1 << 14)
    X = container(np.tile(digits.astype(dtype), (30, 1)))
    codes = fitted.transform(X)
    for method, given in (
        (fitted.transform, X),
        (fitted.inverse_transform, codes),
        (fitted.reconstruct, X),
        (fitted.score_samples, X),
    ):
        tracemalloc.start()
        try:
            output = method(given)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # Chunks of the output, of the codes and of the rows as an array, where X and
        # its reconstruction take 35; and what Python itself allocates.
        chunk = reading.CHUNK_VALUES * output.itemsize
        assert peak - output.nbytes < 3 * chunk + 50_000, method.__name__


# -------------------------------------------------------------------- what goes in


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_csr_in_equals_dense_in(digits, solver):
    dense = few(solver=solver).fit(digits)
    X = sparse.csr_matrix(digits)
    compressed = few(solver=solver).fit(X)
    assert_allclose(compressed.coefs_[0], dense.coefs_[0], rtol=1e-6, atol=1e-12)
    for method in ("transform", "reconstruct", "score_samples", "score"):
        assert_allclose(
            getattr(compressed, method)(X), getattr(dense, method)(digits), rtol=1e-5
        )


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_comes_out_has_the_dtype_of_what_goes_in(digits, solver, dtype):
    X = digits.astype(dtype)
    transformer = few(solver=solver).fit(X)
    assert all(w.dtype == dtype for w in transformer.coefs_ + transformer.intercepts_)
    for other in (np.float32, np.float64):
        codes = transformer.transform(X.astype(other))
        assert codes.dtype == other
        assert transformer.inverse_transform(codes).dtype == other
        assert transformer.score_samples(X.astype(other)).dtype == other


def test_integers_train_like_floats(digits):
    codes = few().fit_transform(digits.astype(int))
    assert_array_equal(codes, few().fit_transform(digits))


def test_codes_depend_on_neither_order_nor_company(fitted, digits):
    order = np.random.default_rng(0).permutation(300)
    codes = fitted.transform(digits)
    assert_allclose(fitted.transform(digits[order]), codes[order], rtol=1e-12)
    assert_allclose(fitted.transform(digits[7:8]), codes[7:8], rtol=1e-12)


def test_constant_columns_are_learnt_as_they_are(digits):
    X = digits.copy()
    X[:, :5] = 7.0
    transformer = few().fit(X)
    assert_allclose(transformer.reconstruct(X)[:, :5], 7.0, atol=0.2)
    with pytest.warns(
        UninformativeUnitsWarning,
        match=r"are all equal: there is nothing to learn from them. Settings",
    ):
        codes = few().fit_transform(np.full((20, 4), 3.0))
    assert np.isfinite(codes).all()


# ---------------------------------------------------------------- frames and names


def test_a_frame_scores_as_its_values_do_without_a_warning(digits):
    frame = pd.DataFrame(digits, columns=[f"pixel {i}" for i in range(64)])
    transformer = few().fit(frame)
    assert_allclose(transformer.score(frame), few().fit(digits).score(digits))


def test_set_output_gives_named_frames(digits):
    names = [f"sparseautoencodertransformer{i}" for i in range(3)]
    transformer = few().fit(digits)
    codes = transformer.transform(digits)
    for output, kind in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        frame = transformer.set_output(transform=output).transform(digits)
        assert isinstance(frame, kind)
        assert list(frame.columns) == names
        assert_array_equal(frame.to_numpy(), codes)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_in_leave_their_feature_names(digits, frame):
    names = [f"pixel{i}" for i in range(64)]
    X = frame(dict(zip(names, digits.T, strict=True)))
    transformer = few().fit(X)
    assert transformer.feature_names_in_.tolist() == names
    assert_allclose(transformer.transform(X), few().fit(digits).transform(digits))
    with pytest.raises(ValueError, match="feature names"):
        transformer.transform(X[names[::-1]])


def test_names_go_through_column_transformer_and_feature_union(digits):
    X = pd.DataFrame(digits, columns=[f"pixel{i}" for i in range(64)])
    columns = ColumnTransformer(
        [("codes", few(), [f"pixel{i}" for i in range(32)])], remainder="drop"
    ).fit(X)
    assert columns.get_feature_names_out().tolist() == [
        f"codes__sparseautoencodertransformer{i}" for i in range(3)
    ]
    union = FeatureUnion([("ae", few()), ("pca", PCA(2))]).fit(X)
    assert union.get_feature_names_out().tolist() == [
        *(f"ae__sparseautoencodertransformer{i}" for i in range(3)),
        "pca__pca0",
        "pca__pca1",
    ]


# ---------------------------------------------------------- pipelines and searches


def test_clone_keeps_every_parameter():
    changed = SparseAutoencoderTransformer(
        7,
        sparsity="topk",
        rho=0.2,
        beta=1.0,
        weight_decay=0.0,
        activation="tanh",
        output_activation="sigmoid",
        loss="log_loss",
        solver="sgd",
        learning_rate=0.1,
        batch_size=9,
        max_iter=2,
        shuffle=False,
        tol=0.1,
        n_iter_no_change=3,
        early_stopping=True,
        validation_fraction=0.3,
        rho_hat="batch",
        corruption=0.1,
        corruption_kind="swap",
        init="uniform",
        scale=False,
        revive=True,
        sparse_output=True,
        checkpoint_dir="checkpoints",
        warm_start=True,
        verbose=2,
        random_state=5,
    )
    default = SparseAutoencoderTransformer().get_params()
    parameters = clone(changed).get_params()
    assert parameters == changed.get_params()
    assert all(parameters[name] != default[name] for name in default)


NUMPY_SCALARS = {
    "n_components": np.uint8(3),
    "sparsity": np.str_("kl"),
    "rho": np.float16(0.1),
    "beta": np.float32(2.7),
    "weight_decay": np.float32(1e-3),
    "activation": np.str_("tanh"),
    "output_activation": np.str_("relu"),
    "loss": np.str_("squared_error"),
    "solver": np.str_("sgd"),
    "learning_rate": np.float32(1e-3),
    "batch_size": np.uint8(100),
    "max_iter": np.uint8(3),
    "shuffle": np.False_,
    "tol": np.float32(1e-3),
    "n_iter_no_change": np.int8(127),
    "early_stopping": np.True_,
    "validation_fraction": np.float16(0.2),
    "rho_hat": np.str_("batch"),
    "corruption": np.float32(0.25),
    "corruption_kind": np.str_("mask"),
    "init": np.str_("uniform"),
    "scale": np.False_,
    "revive": np.True_,
    "sparse_output": np.False_,
    "warm_start": np.False_,
    "verbose": np.int64(0),
    "random_state": np.int64(1),
}


def test_every_parameter_has_its_numpy_scalar_here():
    plain = {"checkpoint_dir"}
    assert NUMPY_SCALARS.keys() == few().get_params().keys() - plain


@pytest.mark.filterwarnings("ignore::sksparse_ae.exceptions.UninformativeUnitsWarning")
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
@pytest.mark.parametrize("name", [*NUMPY_SCALARS, "all"])
def test_a_numpy_scalar_is_the_number_that_it_stands_for(digits, name, tmp_path):
    given = NUMPY_SCALARS if name == "all" else {name: NUMPY_SCALARS[name]}
    if name == "validation_fraction":  # without effect by itself
        given["early_stopping"] = np.True_
    python = {key: value.item() for key, value in given.items()}
    fitted, expected = (few().set_params(**p).fit(digits) for p in (given, python))
    assert_array_equal(fitted.coefs_[0], expected.coefs_[0])
    assert fitted.objective_ == expected.objective_
    assert fitted.evaluate_objective(digits) == expected.evaluate_objective(digits)
    if name != "all":
        return
    model = fitted.to_keras()
    model.save(tmp_path / "model.keras")
    reports = fitted.unit_report(digits), expected.unit_report(digits)
    pd.testing.assert_frame_equal(*reports)


def test_y_is_ignored_everywhere(digits):
    y = np.array(["a", "b", None] * 100, dtype=object)
    codes = few().fit(digits).transform(digits)
    assert_array_equal(few().fit(digits, y).transform(digits), codes)
    assert_array_equal(few().fit_transform(digits, y), codes)
    transformer = few().partial_fit(digits, y)
    assert transformer.score(digits, y) == transformer.score(digits)


@pytest.fixture(scope="module")
def labelled_digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


def classifier(**parameters):
    return make_pipeline(
        SparseAutoencoderTransformer(30, random_state=0, **parameters),
        StandardScaler(),
        LogisticRegression(),
    )


def test_a_classifier_behind_the_transformer_reads_digits(labelled_digits):
    X, y = labelled_digits
    folds = KFold(2, shuffle=True, random_state=0)
    scores = cross_val_score(classifier(max_iter=100), X, y, cv=folds)
    assert scores.mean() > 0.9


def test_grid_search_gives_the_same_scores_in_one_process_and_in_two(labelled_digits):
    X, y = labelled_digits
    grid = {"sparseautoencodertransformer__rho": [0.05, 0.2]}
    scores = []
    for n_jobs in (1, 2):
        few_epochs = classifier(max_iter=5, batch_size=100)
        search = GridSearchCV(few_epochs, grid, cv=2, n_jobs=n_jobs, refit=False)
        scores.append(search.fit(X, y).cv_results_["mean_test_score"])
    assert_array_equal(*scores)
    assert len(set(scores[0])) > 1


def test_searches_nest_and_halve_and_take_the_transformers_own_score(labelled_digits):
    X, _ = labelled_digits
    grid = {"rho": [0.05, 0.2], "beta": [0.1, 3.0]}
    nested = cross_val_score(GridSearchCV(few(), grid, cv=2), X, cv=2)
    assert np.isfinite(nested).all()
    halving = HalvingGridSearchCV(
        few(), grid, cv=2, resource="max_iter", max_resources=4, random_state=0
    ).fit(X)
    assert halving.best_params_.keys() == {"rho", "beta", "max_iter"}
    assert halving.best_score_ > 0


def test_callbacks_can_be_set_where_scikit_learn_has_them(fitted, has_callbacks):
    assert hasattr(fitted, "set_callbacks") == has_callbacks


@pytest.mark.parametrize("setting", [{"activation": "tanh"}, {"weight_decay": 1.0}])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_what_is_said_of_a_fit_is_not_changed_by_parameters_set_since(
    setting, solver, digits
):
    autoencoder = few(solver=solver).fit(digits)

    def said():
        return (
            autoencoder.transform(digits[:5]),
            autoencoder.unit_report(digits).drop(columns="state"),
            list(autoencoder.evaluate_objective(digits).values()),
            autoencoder.to_keras().evaluate(digits, digits, verbose=0),
            [len(autoencoder._repr_html_().split("<p style")[1])],
        )

    before = said()
    autoencoder.set_params(rho=0.3, beta=9.0, **setting)
    for after, expected in zip(said(), before, strict=True):
        assert_allclose(after, expected, rtol=1e-6)


def test_patches_are_at_most_as_many_as_there_are_places():
    with pytest.raises(ValueError, match=r"n_patches=429 is more than .*=427, 428\."):
        load_natural_image_patches(429, patch_size=427)


@pytest.mark.parametrize("size", [1e-25, 1e-20, 1e20, 1e30])
def test_what_is_said_of_data_of_any_size_is_what_is_said_of_them_in_other_units(
    size, digits
):
    X = digits.astype(np.float32) / 16
    small = np.float32(size) * X
    known, other = few(solver="lbfgs").fit(X), few(solver="lbfgs").fit(small)
    # The same network in other units, not one that rounding has led elsewhere.
    (W1, W2), (b1, b2) = known.coefs_, known.intercepts_
    unit = np.float32(size)
    other.coefs_, other.intercepts_ = [W1 / unit, W2 * unit], [b1, b2 * unit]
    other.scale_, other.offset_ = known.scale_ * size, known.offset_ * size

    assert_allclose(other.maximal_inputs_, known.maximal_inputs_, atol=1e-6)
    expected, report = known.unit_report(X), other.unit_report(small)
    assert_allclose(report["encoder_norm"], expected["encoder_norm"] / size, rtol=1e-5)
    assert_allclose(report["decoder_norm"], expected["decoder_norm"] * size, rtol=1e-5)
    scores = other.score_samples(small)
    assert_allclose(scores / size**2, known.score_samples(X), rtol=1e-4)
    errors = other.reconstruction_error(small, per_feature=True)
    assert_allclose(errors.sum(axis=1), -scores, rtol=1e-5)
    total = known.evaluate_objective(X).total
    assert_allclose(other.evaluate_objective(small).total, total, rtol=1e-5)
    loss = other.to_keras().evaluate(small, small, verbose=0)
    assert_allclose(loss, total, rtol=1e-5)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("size", [1e-300, 1e-320, 1.0, 1e300])
def test_norms_of_numbers_of_any_size(axis, size):
    values = size * np.array([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]])
    expected = {None: np.sqrt(125), 0: np.sqrt([45, 80]), 1: [5, 0, 10]}[axis]
    # Numbers near 1e-320 have three digits.
    rtol = 1e-3 if size < 1e-308 else 1e-14
    assert_allclose(statistics.norms(values, axis) / size, expected, rtol=rtol)
