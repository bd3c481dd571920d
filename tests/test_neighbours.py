"""The transformer beside other libraries, each the real one."""

import imblearn.pipeline
import joblib
import mlflow
import numpy as np
import optuna
import pandas as pd
import polars as pl
import pytest
from imblearn.over_sampling import RandomOverSampler
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer

# Trainings that are short on purpose stop at max_iter.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NAMES = [f"pixel{i}" for i in range(64)]
CODE_NAMES = [f"sparseautoencodertransformer{i}" for i in range(6)]


def autoencoder(n_components=6, **parameters):
    return SparseAutoencoderTransformer(
        n_components,
        **{"solver": "lbfgs", "max_iter": 10, "random_state": 0, **parameters},
    )


@pytest.fixture(scope="module")
def data():
    """150 digits 0 and 1, and their labels."""
    X, y = load_digits(n_class=2, return_X_y=True)
    return X[:150], y[:150]


@pytest.fixture(scope="module")
def small(data):
    """A transformer fitted to the data; not to be changed."""
    return autoencoder().fit(data[0])


@pytest.fixture(scope="module")
def classifier(data):
    """A fitted pipeline; not to be changed."""
    return make_pipeline(autoencoder(), StandardScaler(), LogisticRegression()).fit(
        *data
    )


# ------------------------------------------------------------ pandas and polars


@pytest.mark.parametrize(
    ("library", "frame_class"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)]
)
def test_frames_go_in_and_come_out(library, frame_class, data):
    X, _ = data
    frame = (
        frame_class(X, columns=NAMES)
        if library == "pandas"
        else pl.DataFrame(X, schema=NAMES)
    )
    transformer = autoencoder().set_output(transform=library)
    codes = transformer.fit_transform(frame)
    assert isinstance(codes, frame_class)
    assert list(codes.columns) == CODE_NAMES
    assert list(transformer.feature_names_in_) == NAMES
    assert_allclose(codes.to_numpy(), autoencoder().fit(X).transform(X), rtol=1e-12)


def test_columns_of_another_frame_must_be_those_of_the_training(data):
    frame = pd.DataFrame(data[0], columns=NAMES)
    transformer = autoencoder().fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        transformer.transform(frame[NAMES[::-1]])


# ------------------------------------------------------------ imbalanced-learn


def test_imbalanced_learn_resamples_before_the_transformer(data):
    X, y = data
    rare = np.flatnonzero(y == 1)[:10]
    rows = np.concatenate([np.flatnonzero(y == 0), rare])
    pipeline = imblearn.pipeline.make_pipeline(
        RandomOverSampler(random_state=0),
        autoencoder(),
        LogisticRegression(),
    ).fit(X[rows], y[rows])
    resampled, labels = RandomOverSampler(random_state=0).fit_resample(X[rows], y[rows])
    expected = autoencoder().fit(resampled)
    assert len(labels) == 2 * (y == 0).sum()
    assert_array_equal(pipeline[1].coefs_[0], expected.coefs_[0])
    # Resampling is for the training alone.
    assert len(pipeline.predict(X[rows])) == len(rows)
    assert pipeline.score(X, y) > 0.9


# ------------------------------------------------------------ Optuna


@pytest.fixture
def quiet_optuna():
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(verbosity)


@pytest.mark.usefixtures("quiet_optuna")
def test_optuna_searches_rho_and_beta_and_prunes_between_epochs(data):
    X, X_held_out = data[0][:100], data[0][100:]

    def objective(trial):
        transformer = SparseAutoencoderTransformer(
            6,
            rho=trial.suggest_float("rho", 0.01, 0.3, log=True),
            beta=trial.suggest_float("beta", 0.1, 300.0, log=True),
            random_state=0,
        )
        for epoch in range(6):
            transformer.partial_fit(X)
            trial.report(transformer.score(X_held_out), epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("epochs", transformer.n_iter_)
        return transformer.score(X_held_out)

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2),
    )
    study.optimize(objective, n_trials=10)
    complete, pruned = (
        [t for t in study.trials if t.state == state]
        for state in (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    )
    assert len(complete) + len(pruned) == 10
    assert pruned
    assert all(2 <= len(t.intermediate_values) < 6 for t in pruned)
    assert all(t.user_attrs["epochs"] == 6 for t in complete)
    assert study.best_value == max(t.value for t in complete)
    # The parameters found are those of an estimator.
    best = autoencoder(**study.best_params).fit(X)
    assert (best.rho, best.beta) == tuple(study.best_params.values())


# ------------------------------------------------------------ MLflow


@pytest.fixture
def tracking(tmp_path):
    """Runs in a database and files under a folder of their own."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    previous = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("test", (tmp_path / "artifacts").as_uri())
    yield experiment
    mlflow.set_tracking_uri(previous)


# MLflow uses what SQLAlchemy 2.1 has deprecated, and warns of its own type hints.
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_mlflow_logs_and_loads_a_fitted_pipeline(classifier, data, tracking):
    X, _ = data
    with mlflow.start_run(experiment_id=tracking):
        mlflow.log_params(classifier[0].get_params())
        mlflow.log_metrics(dict(classifier[0].objective_))
        info = mlflow.sklearn.log_model(
            classifier,
            name="model",
            serialization_format="cloudpickle",
            pip_requirements=["sksparse_ae"],
        )
    loaded = mlflow.sklearn.load_model(info.model_uri)
    assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    assert_array_equal(
        mlflow.pyfunc.load_model(info.model_uri).predict(X), loaded.predict(X)
    )
    [run] = mlflow.search_runs([tracking], output_format="list")
    assert run.data.params["rho"] == "0.05"
    assert run.data.metrics["total"] == classifier[0].objective_.total


# ------------------------------------------------------------ joblib


def test_memory_spares_the_second_fit_of_the_transformer(data, tmp_path):
    X, y = data
    memory = joblib.Memory(tmp_path, verbose=0)
    first, second = (
        make_pipeline(autoencoder(), LogisticRegression(C=C), memory=memory).fit(X, y)
        for C in (1, 0.1)
    )
    cached = list(tmp_path.rglob("output.pkl"))
    assert len(cached) == 1
    assert_array_equal(first[0].coefs_[0], second[0].coefs_[0])
    assert_array_equal(first[0].coefs_[0], autoencoder().fit(X).coefs_[0])
    make_pipeline(autoencoder(rho=0.1), LogisticRegression(), memory=memory).fit(X, y)
    assert len(list(tmp_path.rglob("output.pkl"))) == 2


# ------------------------------------------------------------ scikit-learn


def test_frozen_transformer_is_not_fitted_again(small, data):
    X, y = data
    pipeline = make_pipeline(FrozenEstimator(small), LogisticRegression())
    pipeline = clone(pipeline).fit(X[:50], y[:50])
    assert_array_equal(pipeline[0].transform(X), small.transform(X))


def test_column_transformer_encodes_some_columns(data):
    X, _ = data
    frame = pd.DataFrame(X, columns=NAMES)
    transformer = make_column_transformer(
        (autoencoder(), NAMES[:32]), ("passthrough", ["pixel60"])
    ).set_output(transform="pandas")
    codes = transformer.fit_transform(frame)
    assert list(codes.columns) == [
        *(f"sparseautoencodertransformer__{name}" for name in CODE_NAMES),
        "passthrough__pixel60",
    ]
    expected = autoencoder().fit_transform(frame[NAMES[:32]])
    assert_allclose(codes.iloc[:, :6], expected, rtol=1e-12)


def test_unions_set_codes_beside_other_features(data):
    X, _ = data
    union = make_union(autoencoder(), PCA(3, random_state=0))
    features = union.fit_transform(X)
    assert features.shape == (150, 9)
    assert_array_equal(features[:, :6], autoencoder().fit_transform(X))
    two = FeatureUnion(
        [("few", autoencoder(4)), ("many", autoencoder(8, activation="tanh"))]
    ).fit(X)
    assert list(two.get_feature_names_out()) == [
        *(f"few__sparseautoencodertransformer{i}" for i in range(4)),
        *(f"many__sparseautoencodertransformer{i}" for i in range(8)),
    ]


def test_calibration_fits_the_transformer_anew_in_each_fold(data):
    X, y = data
    calibrated = CalibratedClassifierCV(
        make_pipeline(autoencoder(), LogisticRegression()), cv=3
    ).fit(X, y)
    encoders = [c.estimator[0].coefs_[0] for c in calibrated.calibrated_classifiers_]
    assert len(encoders) == 3
    assert (encoders[0] != encoders[1]).any()
    assert log_loss(y, calibrated.predict_proba(X)) < 0.3


def test_permutation_importance_finds_the_pixels_that_vary(classifier, data):
    X, y = data
    result = permutation_importance(
        classifier, X, y, n_repeats=2, scoring="neg_log_loss", random_state=0
    )
    constant = X.std(axis=0) == 0
    assert_array_equal(result.importances_mean[constant], 0)
    importances = np.abs(result.importances_mean)
    assert result.importances_mean.max() > 10 * np.median(importances)
    assert X.std(axis=0)[result.importances_mean.argmax()] > 2
