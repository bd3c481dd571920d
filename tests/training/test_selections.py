"""Codes that are selected: what stays, the thresholds, and every public way."""

import importlib.util
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from _helpers import assert_same_fit
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine.minibatch import MiniBatchEngine
from sksparse_ae._network import thresholds
from sksparse_ae._network.csr import CsrRows
from sksparse_ae._objective.selections import SELECTIONS, largest
from sksparse_ae._training.plan import make_plan
from sksparse_ae._training.revival import Reviver
from sksparse_ae.exceptions import UninformativeUnitsWarning
from sksparse_ae.inspection import ActivationDisplay, ComponentsDisplay
from sksparse_ae.model_selection import train_together
from sksparse_ae.stacks import fine_tune

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings(
        "ignore::sksparse_ae.exceptions.UninformativeUnitsWarning"
    ),
]

# So many epochs that dead units are looked for once.
FEW = {"n_components": 30, "rho": 0.1, "max_iter": 16, "random_state": 0}
SPARSITIES = list(SELECTIONS)


@pytest.fixture(scope="module", params=SPARSITIES)
def selected(request, digits):
    """A transformer of each selection, fitted to the digits; not to be changed."""
    return _quiet_fit(
        SparseAutoencoderTransformer(sparsity=request.param, **FEW), digits
    )


def _quiet_fit(estimator, X, **arguments):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UninformativeUnitsWarning)
        return estimator.fit(X, **arguments)


def _tensors(*arrays):
    return [keras.ops.convert_to_tensor(a, dtype="float32") for a in arrays]


def _chosen(name, activations, rho, weights):
    """Return the selection of NumPy, for weights that count rows."""
    n_rows, n_units = activations.shape
    rows = np.repeat(np.arange(n_rows), weights)
    values = activations[rows]
    if name == "topk":
        k = max(int(rho * n_units + 0.5), 1)
        least = np.sort(values, axis=1)[:, [-k]]
    elif name == "batchtopk":
        least = np.sort(values, axis=None)[-int(np.ceil(rho * values.size - 1e-4))]
    else:
        n_on = max(int(np.ceil(rho * len(values) - 1e-4)), 1)
        least = np.sort(values, axis=0)[[-n_on]]
    kept = np.where(values >= least, values, 0)
    return kept[np.unique(rows, return_index=True)[1]]


@pytest.mark.parametrize("weights", [[1] * 16, [1, 2] * 8])
@pytest.mark.parametrize("rho", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("name", SPARSITIES)
def test_a_selection_keeps_the_largest(name, rho, weights):
    rng = np.random.default_rng(0)
    activations = rng.gamma(0.3, size=(16, 40)).astype(np.float32)
    given = _tensors(activations, rho, np.divide(weights, np.sum(weights)))
    codes, _ = largest(SELECTIONS[name], *given, keras.ops)
    assert_array_equal(np.asarray(codes), _chosen(name, activations, rho, weights))


@pytest.mark.parametrize("name", SPARSITIES)
def test_models_side_by_side_select_each_by_its_rho(name):
    rng = np.random.default_rng(0)
    activations = rng.gamma(0.3, size=(3, 16, 40)).astype(np.float32)
    rho = np.array([[0.02], [0.1], [0.5]])
    given = _tensors(activations, rho, np.full(16, 1 / 16))
    codes, _ = largest(SELECTIONS[name], *given, keras.ops)
    for own, expected, share in zip(np.asarray(codes), activations, rho, strict=True):
        assert_array_equal(own, _chosen(name, expected, share[0], [1] * 16))


def test_units_that_are_off_stay_off_where_too_few_are_on():
    activations, rho, weights = _tensors(np.eye(4), 0.9, np.full(4, 0.25))
    for selection in SELECTIONS.values():
        codes, _ = largest(selection, activations, rho, weights, keras.ops)
        assert_array_equal(np.asarray(codes), np.eye(4))


def test_the_share_of_codes_on_the_training_rows_is_rho(selected, digits):
    on = selected.transform(digits) > 0
    assert on.mean() == pytest.approx(0.1, abs=1 / on.size)
    if selected.sparsity == "topk":
        assert_array_equal(on.sum(axis=1), 3)
        assert not hasattr(selected, "threshold_")
    elif selected.sparsity == "lifetime":
        assert selected.threshold_.shape == (30,)
        assert_allclose(on.mean(axis=0), 0.1, atol=1 / len(on))
    else:
        assert selected.threshold_.shape == ()
    assert_allclose(selected.rho_hat_, on.mean(axis=0), rtol=1e-12)
    assert selected.beta_ == selected.objective_.sparsity == 0


def test_a_code_depends_on_no_other_row(selected, digits):
    alone = np.vstack([selected.transform(digits[[i]]) for i in range(0, 300, 30)])
    assert_allclose(alone, selected.transform(digits)[::30], rtol=1e-10)


def test_decoder_rows_have_norm_one_in_the_units_of_the_training(selected):
    lengths = np.linalg.norm(selected.coefs_[1], axis=1) / selected.scale_
    assert_allclose(lengths, 1, rtol=1e-6)


def test_the_objective_is_that_of_the_codes(selected, digits):
    error = selected.reconstruction_error(digits).mean() / selected.scale_**2 / 2
    assert selected.objective_.total == pytest.approx(error, rel=1e-10)
    assert selected.evaluate_objective(digits).total == selected.objective_.total
    assert selected.score(digits) > 0.5


def test_weight_decay_is_of_the_encoder_alone(digits):
    autoencoder = SparseAutoencoderTransformer(
        sparsity="topk", weight_decay=1e-3, **FEW
    ).fit(digits)
    W1 = autoencoder.coefs_[0] * autoencoder.scale_
    expected = 0.5e-3 * np.square(W1).sum()
    assert autoencoder.objective_.weight_decay == pytest.approx(expected, rel=1e-9)
    last = autoencoder.loss_terms_.weight_decay[-1]
    assert last == pytest.approx(expected, rel=0.2)


# ------------------------------------------------------------------ thresholds


@pytest.mark.parametrize("weights", [None, "drawn"])
def test_thresholds_are_exact_where_a_sample_only_brackets_them(
    selected, digits, weights, monkeypatch
):
    if not hasattr(selected, "threshold_"):
        # Of a row, in which other rows do not count.
        codes = selected.transform(digits)
        every = selected._parameters._replace(kept=None).encode(digits)
        assert_array_equal(codes, _chosen("topk", every, 0.1, [1] * 300))
        return
    if weights is not None:
        weights = np.random.default_rng(0).integers(0, 4, len(digits))
    rows, counts = digits, np.ones(len(digits), int)
    if weights is not None:
        rows, counts = thresholds_rows(digits, weights), weights
    network = selected._parameters._replace(kept=None)
    values = np.repeat(network.encode(digits), counts, axis=0)
    axis = 0 if selected.sparsity == "lifetime" else None
    n_values = values.shape[0] if axis == 0 else values.size
    place = -int(np.ceil(0.1 * n_values - 1e-6))
    last = np.sort(values, axis=axis)[place]
    below = np.where(values < last, values, 0).max(axis=axis)
    for n_rows in (10_000, 40):
        monkeypatch.setattr(thresholds, "SAMPLE_ROWS", n_rows)
        found = thresholds.thresholds(rows, network, selected.sparsity, 0.1)
        assert_allclose(found, (below + last) / 2, rtol=1e-12)


def thresholds_rows(X, weights):
    from sksparse_ae._network.weighting import WeightedRows

    return WeightedRows(X, weights.astype(float))


@pytest.mark.parametrize("seed", range(10))
def test_a_threshold_lies_below_values_that_are_tied(seed):
    rng = np.random.default_rng(seed)
    values, counts = rng.integers(1, 6, 60) / 8, rng.integers(1, 2 + seed % 2, 60)
    wanted = int(rng.integers(1, counts.sum() + 1))
    units = np.zeros(60, int)
    found = thresholds._Found(np.zeros(()), [(values, counts.astype(float), units)])
    result, enough = found.between(wanted, 0.0)
    repeated = np.sort(np.repeat(values, counts))[::-1]
    last = repeated[wanted - 1]
    assert result == (last + repeated[repeated < last].max(initial=0)) / 2
    assert enough


def test_a_threshold_is_0_where_too_few_units_are_ever_on(digits):
    autoencoder = SparseAutoencoderTransformer(
        sparsity="batchtopk", **{**FEW, "rho": 0.99, "max_iter": 2}
    ).fit(digits)
    assert autoencoder.threshold_ == 0
    assert 0 < (autoencoder.transform(digits) > 0).mean() < 0.99


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.slow
def test_units_that_are_alike_do_not_add_up_at_the_start(sparsity):
    # Of 100 units on two columns, the five that are on in a row are nearly the same.
    X = np.random.default_rng(0).normal(size=(300, 2))
    settings = {"sparsity": sparsity, "rho": 0.05, "random_state": 0}
    start = SparseAutoencoderTransformer(100, **settings)
    start.set_params(solver="sgd", learning_rate=1e-30, max_iter=1, revive=False)
    assert start.fit(X).score(X) > 0.3
    trained = SparseAutoencoderTransformer(100, max_iter=60, **settings).fit(X)
    assert trained.score(X) > max(0.5, start.score(X))


def test_new_units_do_no_more_harm_than_the_error_allows():
    # Two hundred new units along the errors of two columns are all alike.
    X = np.random.default_rng(0).normal(size=(300, 2))
    fitted = SparseAutoencoderTransformer(
        200,
        sparsity="batchtopk",
        activation="relu",
        max_iter=9,
        revive=False,
        random_state=0,
    ).fit(X)
    plan = make_plan(fitted, X, None, partial=False)
    reviver = Reviver(X, plan.problem, np.random.RandomState(0))
    weights = plan.problem.scaling.unfold([*_arrays(fitted)])
    before = fitted.reconstruction_error(X).mean()
    weights, revived = reviver.revive(weights)
    assert 0 < revived.sum() < (fitted.unit_states_ == "dead").sum()
    W1, b1, W2, b2 = plan.problem.scaling.fold(weights)
    fitted.coefs_, fitted.intercepts_ = [W1, W2], [b1, b2]
    assert fitted.reconstruction_error(X).mean() < 2.1 * before


def _arrays(fitted):
    (W1, W2), (b1, b2) = fitted.coefs_, fitted.intercepts_
    return W1, b1, W2, b2


@pytest.mark.parametrize(("sparsity", "n_rows"), [("batchtopk", 1), ("lifetime", 10)])
def test_small_pieces_of_a_stream_share_their_threshold(digits, sparsity, n_rows):
    stream = SparseAutoencoderTransformer(sparsity=sparsity, **FEW)
    stream.partial_fit(digits[:100])
    for start in range(100, 200, n_rows):
        stream.partial_fit(digits[start : start + n_rows])
    share = (stream.transform(digits[100:200]) > 0).mean()
    # A single row tells little of the share: the mean of such thresholds is near it.
    assert_allclose([share, stream.rho_hat_.mean()], 0.1, atol=0.04)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "lbfgs"}, "use solver='adam'"),
        ({"activation": "sigmoid"}, "use activation='relu'"),
        ({"output_activation": "sigmoid"}, "use output_activation='linear'"),
    ],
)
def test_what_a_selection_does_not_go_with_is_named(
    digits, sparsity, settings, message
):
    autoencoder = SparseAutoencoderTransformer(sparsity=sparsity, **settings)
    with pytest.raises(ValueError, match=message):
        autoencoder.fit(digits)
    assert not hasattr(autoencoder, "coefs_")


@pytest.mark.parametrize(
    "setting", [{"beta": 1.0}, {"rho_hat": "batch"}, {"init": "uniform"}]
)
def test_parameters_of_the_penalty_have_no_effect_and_say_so(digits, setting):
    autoencoder = SparseAutoencoderTransformer(
        sparsity="topk", **setting, **{**FEW, "max_iter": 1}
    )
    with pytest.warns(UserWarning, match="has no effect with sparsity='topk'"):
        autoencoder.fit(digits)


def test_another_sparsity_does_not_continue_a_training(digits, selected):
    other = clone(selected).set_params(warm_start=True).fit(digits)
    other.set_params(sparsity="kl")
    with pytest.raises(ValueError, match="sparsity='kl' differs"):
        other.fit(digits)


def test_dead_units_are_told_of_with_what_to_change(digits):
    autoencoder = SparseAutoencoderTransformer(
        200, sparsity="topk", rho=0.005, max_iter=3, revive=False, random_state=0
    )
    with pytest.warns(UninformativeUnitsWarning, match="Set revive=True") as caught:
        autoencoder.fit(digits)
    assert len(caught) == 1
    on = (autoencoder.transform(digits) > 0).any(axis=0)
    assert_array_equal(autoencoder.unit_states_ == "dead", ~on)


# --------------------------------------------------------------- ways of training


def test_a_warm_start_goes_on(digits):
    autoencoder = SparseAutoencoderTransformer(sparsity="topk", warm_start=True, **FEW)
    autoencoder.fit(digits)
    before = autoencoder.objective_.total
    autoencoder.fit(digits)
    assert autoencoder.n_iter_ == 32
    assert autoencoder.objective_.total < before


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.slow
def test_a_stream_of_pieces_ends_near_a_fit(digits, sparsity):
    settings = {**FEW, "max_iter": 30}
    whole = SparseAutoencoderTransformer(sparsity=sparsity, **settings).fit(digits)
    stream = SparseAutoencoderTransformer(sparsity=sparsity, **settings)
    for _ in range(30):
        for start in range(0, 300, 100):
            stream.partial_fit(digits[start : start + 100])
    assert stream.score(digits) > whole.score(digits) - 0.05
    lengths = np.linalg.norm(stream.coefs_[1], axis=1) / stream.scale_
    assert_allclose(lengths, 1, rtol=1e-6)


def test_a_stream_whose_scale_moves_keeps_unit_rows(digits):
    stream = SparseAutoencoderTransformer(sparsity="topk", **FEW)
    stream.partial_fit(digits[:150]).partial_fit(1.5 * digits[150:])
    lengths = np.linalg.norm(stream.coefs_[1], axis=1) / stream.scale_
    assert_allclose(lengths, 1, rtol=1e-6)


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_a_list_of_blocks_and_weights_of_one_train_alike(digits, sparsity):
    autoencoder = SparseAutoencoderTransformer(sparsity=sparsity, **FEW)
    blocks = clone(autoencoder).fit([digits[:100], digits[100:]])
    weighted = clone(autoencoder).fit(digits, sample_weight=np.ones(300))
    autoencoder.fit(digits)
    assert_allclose(blocks.transform(digits), autoencoder.transform(digits), rtol=1e-9)
    assert_allclose(blocks.coefs_[0], autoencoder.coefs_[0], rtol=1e-10)
    assert_allclose(weighted.coefs_[0], autoencoder.coefs_[0], rtol=1e-4, atol=1e-6)


def test_whole_weights_are_repeated_rows(digits):
    weights = np.random.default_rng(0).integers(0, 3, 300)
    settings = {**FEW, "batch_size": 1000}
    for sparsity in SPARSITIES:
        one = SparseAutoencoderTransformer(sparsity=sparsity, **settings)
        other = clone(one).fit(np.repeat(digits, weights, axis=0))
        one.fit(digits, sample_weight=weights)
        assert_same_fit(one, other)
        assert_array_equal(one.transform(digits), other.transform(digits))


def test_missing_values_are_left_out(digits):
    X = digits.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    autoencoder = SparseAutoencoderTransformer(sparsity="topk", **FEW).fit(X)
    assert autoencoder.score(X) > 0.4
    filled = autoencoder.impute(X)
    error = np.square(filled - digits)[np.isnan(X)].mean()
    assert error < np.square(np.nanmean(X, axis=0) - digits)[np.isnan(X)].mean()


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_candidates_that_differ_in_rho_train_together(digits, sparsity, monkeypatch):
    search = GridSearchCV(
        SparseAutoencoderTransformer(sparsity=sparsity, **FEW),
        {"rho": [0.03, 0.1, 0.3]},
        cv=2,
        refit=False,
    )
    alone = clone(search).fit(digits)
    revived = []
    replace = MiniBatchEngine.replace_units

    def replace_and_count(engine, weights, units, statistic, number=0):
        revived.append((number, units.sum()))
        replace(engine, weights, units, statistic, number)

    monkeypatch.setattr(MiniBatchEngine, "replace_units", replace_and_count)
    with train_together():
        search.fit(digits)
    assert {number for number, _ in revived} <= {0, 1, 2}
    if sparsity != "lifetime":
        assert revived  # units of the first candidate had died
    # Products of models side by side are summed in another order, and where two
    # activations are nearly equal that may choose the other one.
    key = "mean_test_score"
    assert_allclose(search.cv_results_[key], alone.cv_results_[key], atol=0.02)
    assert np.ptp(alone.cv_results_[key]) > 0.05


def test_a_checkpoint_continues_to_the_bit(digits, tmp_path):
    settings = {**FEW, "sparsity": "lifetime", "revive": True, "max_iter": 22}
    digits = np.ascontiguousarray(digits)
    np.save(tmp_path / "digits.npy", digits)
    dying = f"""
import os, signal, numpy as np
from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._training.checkpoint import Checkpoint
save = Checkpoint.save
def save_and_die(self, get_state):
    save(self, get_state)
    if get_state()["n_iter"] == 15:
        os.kill(os.getpid(), signal.SIGKILL)
Checkpoint.save = save_and_die
X = np.load({str(tmp_path / "digits.npy")!r})
SparseAutoencoderTransformer(checkpoint_dir={str(tmp_path)!r}, **{settings}).fit(X)
"""
    run = subprocess.run([sys.executable, "-c", dying], env=os.environ, check=False)
    assert run.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("*.checkpoint.npz"))
    resumed = SparseAutoencoderTransformer(checkpoint_dir=tmp_path, **settings)
    assert_same_fit(
        resumed.fit(digits), SparseAutoencoderTransformer(**settings).fit(digits)
    )
    assert not list(tmp_path.glob("*.checkpoint.npz"))


@pytest.mark.parametrize("sparsity", SPARSITIES)
def test_units_that_died_are_revived(digits, sparsity):
    settings = {**FEW, "sparsity": sparsity, "n_components": 60, "rho": 0.05}
    settings["max_iter"] = 40
    n_dead = {}
    for revive in (False, True):
        autoencoder = SparseAutoencoderTransformer(revive=revive, **settings)
        states = autoencoder.fit(digits).unit_states_
        n_dead[revive] = (states == "dead").sum()
    assert n_dead[True] <= n_dead[False]


def test_fine_tuning_goes_through_the_selection(selected, digits):
    y = np.arange(300) % 2
    stack = make_pipeline(clone(selected), LogisticRegression()).fit(digits, y)
    tuned = fine_tune(stack, digits, y, max_iter=40, random_state=0)
    if hasattr(selected, "threshold_"):
        assert_array_equal(tuned[0].threshold_, stack[0].threshold_)
    assert tuned.score(digits, y) > stack.score(digits, y)
    loss = log_loss(y, tuned.predict_proba(digits))
    last = tuned.fine_tuning_.loss_curve[-1]
    assert loss < last < 1.3 * loss  # an objective of mini-batches, with weight decay


# ------------------------------------------------------------------------ exports


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
def test_the_keras_model_gives_the_codes(selected, digits, tmp_path):
    X = digits.astype(np.float32)
    model = selected.to_keras()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for own in (model, loaded):
        encoder = keras.Model(own.inputs, own.get_layer("sparsity").output)
        assert_allclose(encoder.predict(X, verbose=0), selected.transform(X), atol=1e-5)
        value = own.evaluate(X, X, verbose=0)
        assert value == pytest.approx(selected.objective_.total, rel=1e-5)


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
def test_the_keras_model_trains_on_with_unit_rows(selected, digits):
    model = selected.to_keras()
    before = model.evaluate(digits, digits, verbose=0)
    model.optimizer.learning_rate = 1e-4
    model.fit(digits, digits, epochs=3, verbose=0)
    lengths = np.linalg.norm(model.get_layer("decoder").kernel, axis=1)
    assert_allclose(lengths, selected.scale_, rtol=1e-5)
    assert model.evaluate(digits, digits, verbose=0) < 1.05 * before


def test_onnx_and_the_module_give_the_codes(selected, digits, tmp_path):
    import onnxruntime
    from skl2onnx import to_onnx

    X = digits.astype(np.float32)
    expected = selected.transform(X)
    pipeline = make_pipeline(selected)
    for model in (selected.to_onnx(), to_onnx(pipeline, X[:1])):
        session = onnxruntime.InferenceSession(model.SerializeToString())
        assert_allclose(session.run(None, {"X": X})[0], expected, atol=1e-5)
    path = tmp_path / "encoder_of_test.py"
    selected.generate_function(path)
    spec = importlib.util.spec_from_file_location("encoder_of_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert_allclose(module.encode(digits), selected.transform(digits), rtol=1e-12)


# --------------------------------------------------------------------- sparse codes


@pytest.fixture(scope="module")
def sparse_codes(digits):
    """A transformer whose codes are CSR, in chunks of few rows; not to be changed."""
    autoencoder = SparseAutoencoderTransformer(
        sparsity="topk", sparse_output=True, **FEW
    )
    return _quiet_fit(autoencoder, digits)


def test_sparse_codes_are_the_dense_ones(sparse_codes, digits, monkeypatch):
    monkeypatch.setattr("sksparse_ae._network.reading.CHUNK_VALUES", 64 * 70)
    codes = sparse_codes.transform(digits)
    assert sparse.issparse(codes)
    assert codes.format == "csr"
    assert codes.nnz == np.count_nonzero(codes.toarray())
    dense = clone(sparse_codes).set_params(sparse_output=False)
    vars(dense).update(
        {k: v for k, v in vars(sparse_codes).items() if k != "sparse_output"}
    )
    assert_allclose(codes.toarray(), dense.transform(digits), rtol=1e-12)
    assert_allclose(
        sparse_codes.inverse_transform(codes), sparse_codes.reconstruct(digits)
    )


def test_sparse_rows_grow_to_what_they_hold():
    rng = np.random.default_rng(0)
    # The later rows hold more than the first ones lead to expect, the last ones less.
    shares = np.repeat([0.0, 0.01, 0.5, 0.1], 25)[:, None]
    rows = np.where(rng.random((100, 40)) < shares, rng.normal(size=(100, 40)), 0)
    grown = CsrRows(rows.shape, np.float32)
    for start in range(0, 100, 7):
        grown.append(rows[start : start + 7].astype(np.float32))
    grown = grown.finished()
    expected = sparse.csr_matrix(rows.astype(np.float32))
    assert grown.has_canonical_format
    for name in ("data", "indices", "indptr"):
        array = getattr(grown, name)
        assert array.dtype == getattr(expected, name).dtype
        assert_array_equal(array, getattr(expected, name))


def test_sparse_codes_go_through_a_pipeline(sparse_codes, digits):
    y = np.arange(300) % 2
    pipeline = make_pipeline(clone(sparse_codes), LogisticRegression())
    assert pipeline.fit(digits, y).score(digits, y) > 0.5
    ActivationDisplay.from_estimator(sparse_codes, digits)


@pytest.mark.parametrize("activation", ["auto", "tanh"])
def test_sparse_output_is_for_codes_with_zeros(digits, activation):
    autoencoder = SparseAutoencoderTransformer(
        sparse_output=True, activation=activation, **FEW
    )
    with pytest.raises(ValueError, match="Use sparsity='topk'"):
        autoencoder.fit(digits)


def test_sparse_codes_are_not_written_to_an_array(sparse_codes, digits):
    with pytest.raises(ValueError, match="out is for dense codes"):
        sparse_codes.transform(digits, out=np.empty((300, 30)))


# ---------------------------------------------------------------------- what is told


def test_report_and_displays_tell_of_selected_codes(selected, digits, tmp_path):
    path = selected.report(digits, tmp_path / "report.html", image_shape=(8, 8))
    assert "Share of the samples" in path.read_text()
    table = selected.unit_report(digits)
    codes = selected.transform(digits)
    assert_allclose(table["rho_hat"], (codes > 0).mean(axis=0), rtol=1e-12)
    assert_allclose(table["std"], codes.std(axis=0), rtol=1e-6)
    assert_allclose(table["maximum"], codes.max(axis=0), rtol=1e-12)
    ActivationDisplay.from_estimator(selected, digits)
    ComponentsDisplay.from_estimator(selected)
