"""Fine-tuning a stack is training one network, and gives back the same pipeline."""

import random

import joblib
import keras
import numpy as np
import pandas as pd
import pytest
import sklearn
import tensorflow as tf
from numpy.random import RandomState
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.optimize import approx_fprime
from scipy.special import log_expit, log_softmax
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    RidgeClassifier,
)
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.fixes import parse_version

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.stacks import fine_tune

# Trainings that are short on purpose stop at max_iter.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Since scikit-learn 1.8 l1_ratio alone chooses the penalty.
OLD = parse_version(sklearn.__version__) < parse_version("1.8")
CV = {"cv": 2, "Cs": 2, "max_iter": 500, "scoring": "accuracy"}
CV |= {} if OLD else {"l1_ratios": (0,), "use_legacy_attributes": False}
L1 = {"penalty": "l1"} if OLD else {"l1_ratio": 1}


def autoencoder(n_components, **parameters):
    return SparseAutoencoderTransformer(
        n_components,
        **{"solver": "lbfgs", "max_iter": 15, "random_state": 0, **parameters},
    )


def make_stack(*steps, n_components=(20, 12), **classifier):
    """Return an unfitted pipeline of two autoencoders, the steps, and the last one."""
    return make_pipeline(
        *(autoencoder(n) for n in n_components),
        *(steps or [StandardScaler()]),
        LogisticRegression(**classifier),
    )


@pytest.fixture(scope="module")
def data():
    """Digits 0 to 4: 300 to train on, the others to test on."""
    X, y = load_digits(n_class=5, return_X_y=True)
    return X[:300], y[:300], X[300:], y[300:]


@pytest.fixture(scope="module")
def stack(data):
    """A fitted stack; not to be changed."""
    return make_stack().fit(data[0], data[1])


@pytest.fixture(scope="module")
def tuned(stack, data):
    return fine_tune(stack, data[0], data[1], random_state=0)


def objective(pipeline, X, y, weight_decay):
    """Objective of fine-tuning in NumPy, from the public attributes of the steps."""
    classifier = pipeline[-1]
    logits = pipeline.decision_function(X)
    if logits.ndim == 1:
        log_p = log_expit(np.where(y == classifier.classes_[1], logits, -logits))
    else:
        numbers = np.searchsorted(classifier.classes_, y)
        log_p = log_softmax(logits, axis=1)[np.arange(len(y)), numbers]
    weights = compute_sample_weight(classifier.class_weight, y)
    encoders = [s for s in pipeline if isinstance(s, SparseAutoencoderTransformer)]
    kernels = [e.scale_ * e.coefs_[0] for e in encoders]
    if hasattr(encoders[0], "whitening_"):
        kernels[0] = np.linalg.solve(encoders[0].whitening_, kernels[0])
    decay = sum(np.sum(W**2) for W in kernels)
    l2 = np.sum(classifier.coef_**2) / (classifier.C * weights.sum())
    return -np.average(log_p, weights=weights) + 0.5 * l2 + 0.5 * weight_decay * decay


# ------------------------------------------------------------ the point


def test_fine_tuning_helps_on_samples_not_seen(stack, tuned, data):
    X, y, X_test, y_test = data
    assert tuned.score(X, y) == 1
    assert tuned.score(X_test, y_test) > stack.score(X_test, y_test)
    before, after = (log_loss(y_test, p.predict_proba(X_test)) for p in (stack, tuned))
    assert after < 0.7 * before


def test_fine_tuning_lowers_the_objective_that_it_states(stack, tuned, data):
    X, y, *_ = data
    before, after = (objective(p, X, y, 1e-3) for p in (stack, tuned))
    assert after < 0.5 * before
    # The curve is of the mini-batches' objectives, while the weights move.
    assert tuned.fine_tuning_.loss_curve[-1] == pytest.approx(after, rel=0.05)
    assert tuned.fine_tuning_.n_iter == len(tuned.fine_tuning_.loss_curve)


# ------------------------------------------------------------ the objective

# One full batch at no learning rate to speak of: the objective at the weights given.
AT_REST = {"learning_rate": 1e-12, "max_iter": 1, "random_state": 0}


@pytest.mark.parametrize(
    ("n_classes", "settings"),
    [
        (3, {}),
        (2, {}),
        (3, {"C": 0.01, "class_weight": "balanced"}),
        (2, {"C": 0.1, "class_weight": {0: 1, 1: 5}, "fit_intercept": False}),
        (3, {"C": np.inf}),
    ],
)
def test_objective_is_that_of_the_logistic_regression_plus_weight_decay(
    n_classes, settings
):
    X, y = load_digits(n_class=n_classes, return_X_y=True)
    X, y = X[:100], y[:100]
    settings = {"max_iter": 1000, "tol": 1e-8, **settings}
    stack = make_stack(n_components=(8, 4), **settings).fit(X, y)
    for weight_decay in (0, 1e-2):
        tuned = fine_tune(
            stack, X, y, batch_size=100, weight_decay=weight_decay, **AT_REST
        )
        expected = objective(stack, X, y, weight_decay)
        assert tuned.fine_tuning_.loss_curve == [
            pytest.approx(expected, rel=1e-4, abs=1e-6)
        ]
    # And scikit-learn has indeed found a minimum of it, over the last layer.
    classifier, start = stack[-1], stack[-1].coef_

    def objective_at(coef):
        classifier.coef_ = coef.reshape(start.shape)
        return objective(stack, X, y, 0)

    gradient = approx_fprime(start.ravel(), objective_at, 1e-6)
    assert abs(gradient).max() < 1e-4


@pytest.mark.parametrize(
    ("scaler", "activation"),
    [
        (StandardScaler(), "sigmoid"),
        (StandardScaler(with_mean=False), "tanh"),
        (StandardScaler(with_std=False), "relu"),
        (MinMaxScaler((-1, 3)), "tanh"),
        (MaxAbsScaler(), "sigmoid"),
        (RobustScaler(), "relu"),
        (RobustScaler(with_centering=False, with_scaling=False), "sigmoid"),
        ("passthrough", "tanh"),
    ],
    ids=str,
)
def test_network_computes_what_the_pipeline_does(scaler, activation, data):
    X, y, *_ = data
    X, y = 1000 * X[:60] + 50, y[:60]
    stack = make_pipeline(
        MinMaxScaler(),
        autoencoder(9, activation=activation),
        scaler,
        StandardScaler(),
        autoencoder(7, scale=False),
        clone(scaler) if scaler != "passthrough" else scaler,
        LogisticRegression(max_iter=50, C=0.1),
    ).fit(X, y)
    tuned = fine_tune(stack, X, y, batch_size=60, weight_decay=0.1, **AT_REST)
    assert tuned.fine_tuning_.loss_curve == [
        pytest.approx(objective(stack, X, y, 0.1), rel=1e-4)
    ]
    assert_allclose(tuned.predict_proba(X), stack.predict_proba(X), rtol=1e-4)


def test_whitening_is_part_of_the_network(data):
    X, y, *_ = data
    X, y = 1000 * X[:60] + 50, y[:60]
    stack = make_pipeline(
        autoencoder(9, scale="whiten"),
        StandardScaler(),
        autoencoder(7, scale="whiten"),
        LogisticRegression(max_iter=50, C=0.1),
    ).fit(X, y)
    tuned = fine_tune(stack, X, y, batch_size=60, weight_decay=0.1, **AT_REST)
    assert tuned.fine_tuning_.loss_curve == [
        pytest.approx(objective(stack, X, y, 0.1), rel=1e-4)
    ]
    assert_allclose(tuned.predict_proba(X), stack.predict_proba(X), rtol=1e-4)


# ------------------------------------------------------------ what it gives


def test_pipeline_given_is_left_as_it_was(data):
    X, y, *_ = data
    stack = make_stack().fit(X, y)
    before = joblib.hash(stack)
    fine_tune(stack, X, y, max_iter=2, random_state=0)
    assert joblib.hash(stack) == before


def test_result_has_the_same_steps_with_other_weights(stack, tuned):
    assert [name for name, _ in tuned.steps] == [name for name, _ in stack.steps]
    for ours, theirs in zip(tuned, stack, strict=True):
        assert type(ours) is type(theirs)
        assert ours.get_params() == theirs.get_params()
    assert_array_equal(tuned["standardscaler"].mean_, stack["standardscaler"].mean_)
    for i in (0, 1):
        assert (tuned[i].coefs_[0] != stack[i].coefs_[0]).all()
        assert (tuned[i].intercepts_[0] != stack[i].intercepts_[0]).all()
        assert tuned[i].coefs_[0].dtype == stack[i].coefs_[0].dtype
        assert_array_equal(tuned[i].coefs_[1], stack[i].coefs_[1])  # the decoders
    assert tuned[-1].coef_.shape == stack[-1].coef_.shape


def test_attributes_of_the_autoencoders_are_those_of_the_new_weights(tuned, data):
    X, *_ = data
    for i in (0, 1):
        codes = tuned[i].transform(X)
        assert_allclose(tuned[i].rho_hat_, codes.mean(axis=0))
        assert tuned[i].objective_ == tuned[i].evaluate_objective(X)
        X = codes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_any_labels_in_any_order(n_classes, data):
    X, y, *_ = data
    X, y = X[y < n_classes][:150], y[y < n_classes][:150]
    names = np.array(["zebra", "Ape", "mole"])[y]
    numbers = np.array([7.0, -1.0, 3.0])[y]
    probabilities = []
    for labels in (names, pd.Series(names, dtype="category"), numbers, list(names)):
        stack = make_stack(n_components=(8,)).fit(X, labels)
        tuned = fine_tune(stack, X, labels, max_iter=3, random_state=0)
        assert_array_equal(tuned.classes_, stack.classes_)
        assert tuned.score(X, labels) > 0.9
        probabilities.append(tuned.predict_proba(X))
    for other in probabilities[1:]:
        # The columns of the numbers -1, 3, 7 and of "Ape", "mole", "zebra" agree.
        assert_allclose(other, probabilities[0], rtol=1e-3, atol=1e-4)


def test_input_may_be_sparse_or_a_frame(data):
    X, y, *_ = data
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    frames = make_stack().set_output(transform="pandas").fit(frame, y)
    results = [
        fine_tune(make_stack().fit(X, y), X, y, max_iter=3, random_state=0),
        fine_tune(frames, frame, y, max_iter=3, random_state=0),
        fine_tune(
            make_stack().fit(sparse.csr_array(X), y),
            sparse.csr_array(X),
            y,
            max_iter=3,
            random_state=0,
        ),
    ]
    for result, values in zip(results, (X, frame, sparse.csr_array(X)), strict=True):
        assert_allclose(
            result.predict_proba(values), results[0].predict_proba(X), atol=1e-3
        )


def test_what_stands_before_the_first_autoencoder_is_only_applied(data):
    X, y, *_ = data
    steps = PCA(20), FunctionTransformer(np.cbrt), Normalizer()
    stack = make_pipeline(*steps, *make_stack(n_components=(8,))).fit(X, y)
    tuned = fine_tune(stack, X, y, max_iter=20, random_state=0)
    assert_array_equal(tuned["pca"].components_, stack["pca"].components_)
    assert objective(tuned, X, y, 1e-3) < objective(stack, X, y, 1e-3)


# ------------------------------------------------------------ early stopping


def test_steps_may_be_pipelines(data):
    first, second, scaler, classifier = (step for _, step in make_stack().steps)
    flat = make_pipeline(first, second, scaler, classifier).fit(*data[:2])
    nested = make_pipeline(
        make_pipeline(clone(first)),
        "passthrough",
        make_pipeline(clone(second), make_pipeline(clone(scaler), clone(classifier))),
    ).fit(*data[:2])
    before = nested.predict_proba(data[2])
    one, other = (
        fine_tune(pipeline, *data[:2], max_iter=2, random_state=0)
        for pipeline in (flat, nested)
    )
    assert_array_equal(one.predict_proba(data[2]), other.predict_proba(data[2]))
    assert other[-1][0].objective_ == one[1].objective_
    assert_array_equal(nested.predict_proba(data[2]), before)


def test_a_search_is_what_it_has_chosen_unless_it_is_frozen(data):
    first = autoencoder(8)
    search = GridSearchCV(first, {"rho": [0.1, 0.2]}, cv=2)
    frozen = FrozenEstimator(clone(search).fit(data[0]))
    for step, changes in ((search, True), (frozen, False)):
        last = GridSearchCV(LogisticRegression(max_iter=500), {"C": [1.0, 2.0]}, cv=2)
        stack = make_pipeline(step, autoencoder(5), last).fit(*data[:2])
        tuned = fine_tune(stack, *data[:2], max_iter=2, random_state=0)
        weights = [p[0].best_estimator_.coefs_[0] for p in (stack, tuned)]
        assert np.array_equal(*weights) != changes
        weights = [p[-1].best_estimator_.coef_ for p in (stack, tuned)]
        assert not np.array_equal(*weights)


def test_early_stopping_keeps_the_best_weights_for_samples_held_out(stack, data):
    X, y, *_ = data
    tuned = fine_tune(
        stack, X, y, early_stopping=True, validation_fraction=0.3, random_state=0
    )
    curve = tuned.fine_tuning_.validation_loss_curve
    assert len(curve) == tuned.fine_tuning_.n_iter
    # The samples held out are those of a stratified split by the same seed.
    _, held_out = train_test_split(
        np.arange(len(y)), test_size=0.3, stratify=y, random_state=RandomState(0)
    )
    loss = log_loss(y[held_out], tuned.predict_proba(X[held_out]))
    assert loss == pytest.approx(min(curve), rel=1e-3)
    # They were not in the logistic regression that training starts from.
    assert curve[0] > log_loss(y[held_out], stack.predict_proba(X[held_out]))


# ------------------------------------------------------------ random state, global


def test_a_batch_larger_than_the_data_is_one_batch_of_them(stack, data):
    X, y, *_ = data
    whole, larger = (
        fine_tune(stack, X, y, batch_size=n, max_iter=2, random_state=0)
        for n in (len(X), 10**30)
    )
    assert_array_equal(larger[-1].coef_, whole[-1].coef_)


def test_numpy_scalars_are_the_numbers_that_they_stand_for(stack, data):
    X, y, *_ = data
    given = {
        "weight_decay": np.float16(1e-3),
        "learning_rate": np.float16(1e-2),
        "batch_size": np.uint8(200),
        "max_iter": np.uint8(3),
        "n_iter_no_change": np.int8(127),
        "early_stopping": np.False_,
        "random_state": np.int64(0),
    }
    tuned = fine_tune(stack, X, y, **given)
    expected = fine_tune(stack, X, y, **{k: v.item() for k, v in given.items()})
    assert_array_equal(tuned[-1].coef_, expected[-1].coef_)


def test_same_seed_gives_the_same_bits_and_another_seed_others(stack, tuned, data):
    X, y, *_ = data
    again, other = (fine_tune(stack, X, y, random_state=seed) for seed in (0, 1))
    assert_array_equal(again[0].coefs_[0], tuned[0].coefs_[0])
    assert_array_equal(again[-1].coef_, tuned[-1].coef_)
    assert (other[-1].coef_ != tuned[-1].coef_).any()


def test_global_state_is_left_as_it_was(stack, data):
    def state():
        return (
            random.getstate(),
            repr(np.random.get_state()),  # noqa: NPY002, the global state is meant
            tf.random.get_global_generator().state.numpy().tolist(),
            keras.config.floatx(),
            keras.config.dtype_policy().name,
        )

    X, y, *_ = data
    tf.random.set_seed(0)
    expected = tf.random.uniform((3,)).numpy()
    before, count = state(), keras_counter()
    tf.random.set_seed(0)
    fine_tune(stack, X, y, max_iter=2, batch_size=50, random_state=0)
    assert_array_equal(tf.random.uniform((3,)), expected)
    assert keras_counter() == count + 1  # the count of asking
    assert state() == before


def keras_counter():
    """Number in the name that Keras gives to the next layer of a kind."""
    return int(
        keras.layers.Dense(1, kernel_initializer="zeros")
        .name.removeprefix("dense")
        .strip("_")
        or 0
    )


def test_progress_is_shown_line_by_line(stack, data, capsys):
    X, y, *_ = data
    fine_tune(stack, X, y, max_iter=3, verbose=1, random_state=0)
    first, *_, last = capsys.readouterr().err.splitlines()
    n_units = [encoder.n_components for encoder in stack[:2]]
    assert first.startswith(f"[fine_tune] {len(X)} rows of {X.shape[1]} features, ")
    assert f"{n_units[0]}, then {n_units[1]} units" in first
    assert last.startswith("[fine_tune] epoch 3/3, objective")
    assert last.endswith(" s: reached max_iter")


# ------------------------------------------------------------ errors


class Doubled(SparseAutoencoderTransformer):
    """An autoencoder with a transform of its own."""

    def transform(self, X):
        return 2 * super().transform(X)


def fitted_to(data, *steps):
    return make_pipeline(*steps).fit(data[0][:100], data[1][:100])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            (autoencoder(5), PCA(3), LogisticRegression()),
            r"step 'pca' \(PCA\) cannot be fine-tuned through",
        ),
        (
            (autoencoder(5), MinMaxScaler(clip=True), LogisticRegression()),
            r"step 'minmaxscaler' \(MinMaxScaler\) has clip=True",
        ),
        (
            (autoencoder(5), RidgeClassifier()),
            "last step .* 'ridgeclassifier' is a RidgeClassifier",
        ),
        (
            (autoencoder(5), LogisticRegressionCV(**CV)),
            "last step .* 'logisticregressioncv' is a LogisticRegressionCV",
        ),
        (
            (autoencoder(5), Doubled(5, max_iter=5), LogisticRegression()),
            r"step 'doubled' \(Doubled\) cannot be fine-tuned through",
        ),
        (
            (StandardScaler(), LogisticRegression(max_iter=500)),
            r"no SparseAutoencoderTransformer .* .*'standardscaler', 'logisticreg",
        ),
        (
            (autoencoder(5), LogisticRegression(solver="saga", **L1)),
            r"step 'logisticregression' \(LogisticRegression\) has an L1 penalty",
        ),
    ],
)
def test_step_that_cannot_be_trained_is_named(steps, message, data):
    with pytest.raises(ValueError, match=message):
        fine_tune(fitted_to(data, *steps), data[0], data[1])


def test_liblinear_is_refused_as_it_penalises_the_intercept(data):
    X, y, *_ = data
    X, y = X[y < 2], y[y < 2]
    stack = make_pipeline(autoencoder(5), LogisticRegression(solver="liblinear"))
    with pytest.raises(ValueError, match=r"solver='liblinear', which"):
        fine_tune(stack.fit(X, y), X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"learning_rate": 0}, "'learning_rate' parameter of fine_tune"),
        ({"max_iter": 0}, "'max_iter' parameter of fine_tune"),
        ({"weight_decay": -1}, "'weight_decay' parameter of fine_tune"),
        ({"validation_fraction": 1}, "'validation_fraction' parameter of fine_tune"),
    ],
)
def test_bad_parameters_are_named(parameters, message, stack, data):
    with pytest.raises(ValueError, match=message):
        fine_tune(stack, data[0], data[1], **parameters)


def test_bad_input_is_named(stack, data):
    X, y, *_ = data
    with pytest.raises(ValueError, match=r"not fitted with, \[9\]; its classes are"):
        fine_tune(stack, X, np.where(y == 4, 9, y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        fine_tune(stack, X, y[:-1])
    with pytest.raises(ValueError, match="64 features"):
        fine_tune(stack, X[:, :10], y)
    with pytest.raises(ValueError, match="infinity"):
        fine_tune(stack, np.where(X == 3, np.inf, X), y)
    with pytest.raises(NotFittedError):
        fine_tune(make_stack(), X, y)
    with pytest.raises(ValueError, match="'pipeline' parameter of fine_tune"):
        fine_tune(LogisticRegression(), X, y)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_training_goes_on_from_the_tuned_weights(method):
    X, y = load_digits(return_X_y=True)
    X, y = X[:200], y[:200]
    encoder = SparseAutoencoderTransformer(
        5, max_iter=20, learning_rate=1e-3, warm_start=True, random_state=0
    )
    getattr(encoder, method)(X)
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=200))
    pipeline.steps[-1][1].fit(encoder.transform(X), y)
    tuned = fine_tune(pipeline, X, y, max_iter=10, learning_rate=0.05, random_state=0)
    weights = tuned[0].coefs_[0].copy()
    assert np.abs(weights - encoder.coefs_[0]).max() > 0.01
    getattr(tuned[0].set_params(learning_rate=1e-7), method)(X)
    assert_allclose(tuned[0].coefs_[0], weights, atol=1e-4)
