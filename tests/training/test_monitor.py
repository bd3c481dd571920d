"""A training ends when it has converged, and what is said of one that has not."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae._objective.objective import Losses
from sksparse_ae._training.monitor import Monitor


def watched(objectives, n_iter_no_change=2, tol=1e-2, **settings):
    """Return a monitor after looks at averaged weights of these objectives.

    The weights are the objective that they have.
    """
    monitor = Monitor(
        tol=tol,
        n_iter_no_change=n_iter_no_change,
        look=lambda weights: weights[0],
        **settings,
    )
    look_on(monitor, objectives[:1], n_epochs=1)
    look_on(monitor, objectives[1:], n_epochs=n_iter_no_change + 1)
    return monitor


def look_on(monitor, objectives, n_epochs=3):
    """Let so many epochs lead to each of these objectives, at which it looks."""
    for objective in objectives:
        for _ in range(n_epochs):
            monitor.update(Losses(1.0, 0.0, 1.0, 0.0), lambda o=objective: [o])


def test_a_fall_is_no_stall_a_level_is_one_and_a_rise_is_told_apart():
    falls = watched([10.0, 9.0, 8.0])
    assert not falls.stalled
    level = watched([10.0, 9.0, 8.9])
    assert level.stalled
    assert not level.rises
    rises = watched([10.0, 5.0, 6.0])
    assert rises.stalled
    assert rises.rises
    rises.be_patient()
    assert not rises.stalled


def test_a_training_may_fall_again_after_a_rise_and_ends_where_it_was_lowest():
    monitor = watched([10.0, 5.0, 8.0])
    assert monitor.rises
    assert monitor.best_weights == [5.0]
    monitor.be_patient()
    look_on(monitor, [7.0, 6.0])
    # Above the lowest, but on its way: no reason for smaller steps.
    assert not monitor.rises
    assert not monitor.stalled
    assert monitor.best_weights == [5.0]
    look_on(monitor, [6.0])
    assert monitor.stalled
    assert monitor.has_risen
    look_on(monitor, [4.0])
    assert not monitor.has_risen
    assert monitor.best_weights is None  # the latest


def test_a_training_that_goes_back_has_to_fall_below_where_it_was_lowest():
    monitor = watched([10.0, 5.0, 8.0])
    monitor.go_on()
    assert monitor.goes_back
    assert not monitor.stalled
    assert not monitor.has_risen
    look_on(monitor, [5.5])
    assert not monitor.goes_back
    assert not monitor.is_lowest
    assert monitor.rises
    assert not monitor.stalled
    look_on(monitor, [4.0])
    assert monitor.is_lowest
    assert monitor.gains_much
    # From where it is lowest it goes on.
    look_on(monitor, [3.99])
    assert monitor.stalled
    assert not monitor.gains_much
    monitor.go_on()
    assert not monitor.stalled
    assert not monitor.goes_back
    # To come down for long from above the lowest is no gain.
    monitor.go_back()
    look_on(monitor, [6.0, 5.0])
    assert monitor.rises
    assert monitor.stalled


def test_what_comes_after_the_last_lowering_of_the_rate_may_be_above_the_lowest():
    monitor = watched([10.0, 5.0, 8.0])
    monitor.be_patient()
    monitor.conclude(lambda: [8.0])
    assert monitor.has_risen
    assert monitor.best_weights == [5.0]


def test_an_epoch_of_few_steps_has_to_gain_less_to_go_on():
    # By two thirds of the hundredth that is asked for.
    slow = 0.98 ** np.arange(5)
    assert watched(slow).stalled
    assert watched(slow, n_steps=20).stalled
    assert not watched(slow, n_steps=10).stalled


def out_of_epochs(monitor, objective, n_epochs):
    """Let a training end so many epochs after a look; return what is said of it."""
    for _ in range(n_epochs):
        monitor.update(Losses(1.0, 0.0, 1.0, 0.0), lambda: [objective])
    monitor.conclude(lambda: [objective])
    return monitor.reason(SparseAutoencoderTransformer(random_state=0))


def test_a_single_epoch_at_the_end_is_no_level():
    # It is held against the look before the latest one.
    falls = watched([10.0, 8.0])
    assert "still changing by -6.2 % per epoch" in out_of_epochs(falls, 8.0, 1)
    assert not falls.stalled
    only_one = watched([8.0])
    out_of_epochs(only_one, 8.0, 2)
    assert not only_one.stalled
    level = watched([10.0, 8.0, 7.7])
    assert not level.stalled
    out_of_epochs(level, 7.7, 2)
    assert level.stalled


def test_a_rate_that_was_not_tried_is_no_end():
    monitor = watched([10.0, 8.0, 8.0])
    assert monitor.stalled
    monitor.go_on()
    said = out_of_epochs(monitor, 8.0, 2)
    assert "a lower learning rate was still to be tried. Raise max_iter to" in said
    assert not monitor.stalled
    look_on(monitor, [8.0])
    assert monitor.stalled


def test_a_rise_that_max_iter_cuts_short_says_so():
    said = out_of_epochs(watched([10.0, 8.0]), 9.0, 2)
    assert "before it converged: the objective had just risen, from 8 to 9. The" in said
    assert "Raise max_iter to 2000." in said


def test_what_falls_slowly_for_long_is_no_stall():
    # An epoch gains less than the hundredth that is asked for in the first 300 epochs.
    n, slow = 200, 0.98
    assert watched(slow ** np.arange(n // 3)).stalled
    assert not watched(slow ** np.arange(3 * n)).stalled
    assert watched(0.9999 ** np.arange(3 * n)).stalled


def test_a_rise_is_never_called_converged():
    X = load_digits().data
    steep = SparseAutoencoderTransformer(
        100, learning_rate=0.3, max_iter=60, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="The objective rose, from .* Lower"):
        steep.fit(X)


def test_the_warning_of_max_iter_names_a_value_to_type(digits):
    with pytest.warns(ConvergenceWarning, match="Raise max_iter to 10, or raise tol="):
        SparseAutoencoderTransformer(5, max_iter=5, random_state=0).fit(digits)


@pytest.mark.parametrize(
    ("settings", "distance"),
    [
        ({}, r"the objective was still changing by -[\d.]+ % per epoch"),
        (
            {"early_stopping": True},
            r"the objective on the rows held out was still changing by -[\d.]+ % per",
        ),
        ({"solver": "lbfgs"}, r"largest component of the gradient was still [\d.]+\."),
    ],
)
def test_the_warning_of_max_iter_says_how_far_it_was(digits, settings, distance):
    with pytest.warns(ConvergenceWarning, match=f"before it converged: .*{distance}"):
        SparseAutoencoderTransformer(5, max_iter=4, random_state=0, **settings).fit(
            digits
        )


def test_the_warning_after_many_epochs_says_what_is_asked_by_then():
    few = SparseAutoencoderTransformer(random_state=0)
    early, late = (watched(0.9 ** np.arange(n)).reason(few) for n in (2, 401))
    assert "and tol is 0.01 %. Raise" in early
    assert "and tol is 0.01 %, which here asks for 0.0025 %. Raise" in late


def test_the_change_in_the_warning_is_that_of_the_averaged_weights(digits):
    def message_and_objective(max_iter):
        few = SparseAutoencoderTransformer(
            5, max_iter=max_iter, n_iter_no_change=3, random_state=0
        )
        with pytest.warns(ConvergenceWarning) as caught:
            few.fit(digits)
        return str(caught[0].message), few.objective_.total

    # Looks are after epochs 1 and 5, and at the end, which is held against the first.
    _, before = message_and_objective(1)
    message, after = message_and_objective(7)
    change = 100 * (after - before) / 6 / after
    told = float(message.split("changing by ")[1].split(" %")[0])
    assert told == pytest.approx(change, rel=0.06)  # two digits


def test_a_warning_names_the_candidate_of_a_search(digits):
    grid = {"rho": [0.05, 0.1], "activation": ["tanh"]}
    search = GridSearchCV(
        SparseAutoencoderTransformer(5, max_iter=2),
        grid,
        cv=2,
        refit=False,
    )
    search.set_params(estimator__random_state=np.random.RandomState(0))
    with pytest.warns(ConvergenceWarning) as caught:
        search.fit(digits)
    ends = {str(warning.message).split("Settings: ")[1] for warning in caught}
    told = "activation='tanh', max_iter=2, random_state=RandomState(...)."
    assert ends == {
        f"n_components=5, {told}",
        f"n_components=5, rho=0.1, {told}",
    }


def test_a_rate_that_is_too_large_returns_the_weights_before_the_rise(digits):
    estimator = SparseAutoencoderTransformer(
        20, learning_rate=0.3, n_iter_no_change=3, random_state=0
    )
    with pytest.warns(ConvergenceWarning, match="The objective rose, from") as caught:
        estimator.fit(digits)
    lowest = float(str(caught[0].message).split()[4])
    assert_allclose(estimator.objective_.total, lowest, rtol=1e-5)
