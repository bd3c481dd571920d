"""A stream of calls learns from all of its rows, in their axes, scale and number."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

import sksparse_ae
from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._engine.programs import values_of
from sksparse_ae._network.coordinates import Coordinates
from sksparse_ae._network.scaling import Moments, Scaling
from sksparse_ae._training.plan import make_plan
from sksparse_ae._training.settings import with_python_parameters


@pytest.fixture(scope="module")
def shuffled():
    """All digits in random order."""
    return load_digits().data[np.random.RandomState(1).permutation(1797)]


def test_a_stream_turns_to_the_axes_of_its_rows_until_there_are_enough(
    shuffled, monkeypatch
):
    X = shuffled
    monkeypatch.setattr(sksparse_ae._network.coordinates, "AXES_ROWS", 300)
    stream = SparseAutoencoderTransformer(10, random_state=0)
    of_calls = []
    for start in range(0, 500, 50):
        stream.partial_fit(X[start : start + 50])
        of_calls.append(stream._continuation)
    axes = [past.axes for past in of_calls]
    turned = [
        after * 50 + 50
        for after in range(1, 10)
        if not np.array_equal(axes[after], axes[after - 1])
    ]
    # The rows have passed a power of two, or are enough.
    assert turned == [100, 150, 300]
    assert [past.covariance is None for past in of_calls] == 6 * [False] + 4 * [True]
    scaling = Scaling.from_moments(Moments.of(X[:300]), scale=True, linear_output=True)
    of_rows = Coordinates.along_axes(X[:300], scaling, "sigmoid", may_drop=False)
    along = np.abs(np.einsum("ij,ij->j", axes[-1], of_rows.axes))
    assert_allclose(along[-20:], 1, atol=1e-4)


def test_a_stream_counts_its_rows_whatever_its_batches(shuffled):
    X = shuffled
    stream = SparseAutoencoderTransformer(10, random_state=0)
    for _ in range(5):
        stream.partial_fit(X)
    past = stream._continuation
    assert past.n_rows == 5 * len(X)
    # Its batches have grown.
    assert past.n_batches > 1.2 * past.n_rows / 64


def first_plan(X, **settings):
    estimator = SparseAutoencoderTransformer(10, random_state=0, **settings)
    return make_plan(with_python_parameters(estimator), X, None, partial=True)


@pytest.mark.parametrize(
    ("settings", "whole"),
    [
        ({}, 32),
        ({"batch_size": 64}, 64),
        # However large a batch may be, 128 rows take the whole rate.
        ({"batch_size": 10**6}, 128),
        ({"solver": "sgd"}, 1),
        ({"learning_rate": 0.01}, 1),
    ],
)
def test_few_rows_take_short_steps_at_an_automatic_rate(digits, settings, whole):
    minibatches = first_plan(digits[:100], **settings).minibatches
    assert minibatches.whole == whole


def test_a_short_batch_takes_the_root_of_its_share_of_the_rate(engine_of):
    weights = [np.zeros((3, 2)), np.ones(2), np.zeros((2, 3)), np.zeros(3)]
    moves = []
    for whole in (1, 50, 200):  # the batch has 50 rows
        engine = engine_of("adam", weights)
        engine._training = engine._training._replace(whole=whole)
        engine.epoch([0.1])
        before, after = weights[1], values_of(engine._run.weights)[1]
        moves.append(np.abs(after - before).max())
    assert moves[0] == moves[1] > 0
    assert moves[2] == pytest.approx(moves[0] / 2, rel=1e-5)


def test_the_rate_of_a_stream_is_lower_along_the_axes_of_few_rows(digits):
    rates = [
        first_plan(digits[:200], corruption=corruption).rate.rate
        for corruption in (0.0, 0.1)
    ]
    fitted = [
        make_plan(
            with_python_parameters(
                SparseAutoencoderTransformer(
                    10, random_state=0, corruption=corruption, batch_size=32
                )
            ),
            digits[:200],
            None,
            partial=False,
        ).rate.rate
        for corruption in (0.0, 0.1)
    ]
    assert_allclose(rates, [0.75 * fitted[0], fitted[1]], rtol=1e-6)


def test_moments_of_parts_are_those_of_the_whole(digits):
    X = digits + 100
    joined = Moments.of(X[:70]).joined_with(Moments.of(X[70:]))
    whole = Moments.of(X)
    assert_allclose(joined.offset, whole.offset)
    assert joined.deviation == pytest.approx(whole.deviation)
    assert joined.n_samples == 300


def test_a_first_file_of_another_scale_is_made_good():
    X = load_digits().data
    X = X[np.random.RandomState(1).permutation(1797)]
    for factor in (0.1, 0.0):
        stream = SparseAutoencoderTransformer(50, random_state=0)
        stream.partial_fit(factor * X[:400])
        for _ in range(10):
            stream.partial_fit(X[400:])
        assert stream.score(X[400:]) > 0.85
    assert stream.scale_ == pytest.approx(Moments.of(X).deviation, rel=0.1)


def test_rows_far_from_all_before_are_named(digits):
    stream = SparseAutoencoderTransformer(10, random_state=0).partial_fit(digits)
    scale = stream.scale_
    with pytest.warns(UserWarning, match="in the units of those. Scale all parts"):
        stream.partial_fit(1e4 * digits[:1])
    assert stream.scale_ == scale
    with pytest.warns(UserWarning, match="training starts afresh. Scale all parts"):
        stream.partial_fit(100 * digits[:150])
    assert stream.scale_ > 10 * scale


def test_the_scale_of_a_stream_is_that_of_all_rows_so_far(digits):
    stream = SparseAutoencoderTransformer(10, random_state=0)
    stream.partial_fit(digits[:100]).partial_fit(1.5 * digits[100:])
    moments = Moments.of(np.concatenate([digits[:100], 1.5 * digits[100:]]))
    assert_allclose(stream.offset_, moments.offset)
    assert stream.scale_ == pytest.approx(moments.deviation)
