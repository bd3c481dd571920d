"""The loop over epochs, with an engine of a few lines of NumPy."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from sksparse_ae._network.validation import NotFinite
from sksparse_ae._objective.objective import Losses
from sksparse_ae._training.checkpoint import Checkpoint
from sksparse_ae._training.loop import Course, run
from sksparse_ae._training.monitor import Monitor
from sksparse_ae._training.rates import AnnealedRate, AutomaticRate, FixedRate


class Descent:
    """Gradient descent on curvature / 2 * w ** 2, for each of some models."""

    end = None

    def __init__(self, *curvatures, start=1.0):
        self._curvatures, self.n_epochs = np.array(curvatures), 0
        self._w = np.full(len(curvatures), start)

    def objectives(self):
        return 0.5 * self._curvatures * self._w**2

    def epoch(self, rates, stop=None):
        if stop is not None and stop.is_set():
            raise KeyboardInterrupt
        self.n_epochs += 1
        self._w -= np.array(rates) * self._curvatures * self._w
        return [Losses(value, 0.0, 0.0, 0.0) for value in self.objectives()]

    def rate_now(self, rate):
        return rate

    def weights(self, number=0):
        return [self._w[[number]]]

    def finish(self):
        pass

    def state(self):
        return {"w": self._w.copy()}

    def restore(self, state):
        self._w = state["w"].copy()

    def mark(self, number=0):
        return [np.array(self._w[number])]

    def go_back(self, mark, number=0):
        (self._w[number],) = mark


def course(rate=0.1, max_iter=5, **settings):
    monitor = Monitor(tol=0.0, n_iter_no_change=10**6)
    if not isinstance(rate, FixedRate):
        rate = FixedRate(rate)
    return Course(monitor, rate, max_iter, **settings)


def test_the_loop_needs_no_tensorflow():
    code = (
        "import sys; from sksparse_ae._training.loop import run; "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_training_takes_as_many_epochs_as_it_may():
    engine, only = Descent(1.0), course(rate=0.5, max_iter=3)
    run([only], engine)
    assert engine.n_epochs == only.n_iter == 3
    assert only.ended
    assert not only.converged
    assert_array_equal(only.weights[0], [0.125])
    objectives = [losses.objective for losses in only.monitor.losses]
    assert objectives == [0.125, 0.03125, 0.0078125]


def test_a_rate_that_is_much_too_large_begins_again_quartered():
    engine = Descent(1.0)
    only = course(AutomaticRate(40.0, objective=0.5), max_iter=2)
    run([only], engine)
    # Lost at 40 and at 10. At 2.5 one epoch grows by less than five times, two by more.
    assert engine.n_epochs == 5
    assert only.n_iter == 2
    # Nothing was looked at since the start: the last one began there.
    assert_array_equal(only.weights[0], [1 - 2.5 / 4])


def test_an_epoch_is_lost_that_is_much_higher_than_where_it_would_go_back_to():
    rate, monitor = AutomaticRate(1.0, objective=100.0), Told("lowest")
    assert not rate.loses(499.0)
    assert rate.loses(501.0)
    assert rate.rate == 1 / 4
    monitor.losses.append(Losses(50.0, 0.0, 0.0, 0.0))
    monitor.update(None, None)
    # The weights at the end of an epoch may be worse than in the mean.
    monitor.lowest = 60.0
    assert not rate.answer(monitor, 1)
    assert not rate.loses(299.0)
    assert rate.loses(301.0)


@pytest.mark.parametrize("rate", [None, 1e3])
def test_a_rate_that_is_given_stays(rate):
    engine = Descent(0.0 if rate is None else 1e-2)
    only = course(rate, max_iter=4)
    run([only], engine if rate else Constant())
    assert only.n_iter == 4


class Constant(Descent):
    """Whose epochs change nothing."""

    def __init__(self):
        super().__init__(1.0)

    def epoch(self, rates, stop=None):
        return super().epoch([0.0], stop)


class Told:
    """Stands for a monitor that says what it is told to say."""

    has_risen = stop_requested = interrupted = goes_back = False
    failure = None

    def __init__(self, *answers):
        self._answers = list(answers)
        self.losses = []

    def begin_iteration(self, rate):
        pass

    def update(self, losses, get_weights):
        told = self._answers.pop(0)
        self.rises, self.gains_much = told == "rise", told == "much"
        self.stalled = told in ("stall", "rise")
        self.gains, self.is_lowest = told in ("gain", "much"), told == "lowest"

    def go_on(self):
        self.stalled = False


@pytest.mark.parametrize(
    ("answers", "rates"),
    [
        (["", "stall", "", "stall"], [1, 0.25, 0.25, 0.25]),
        (["stall", "gain", "stall", "stall"], [0.25, 0.25, 0.0625, 0.0625]),
        # Rises lower it by less, and are no end.
        (["rise", "rise", "stall", "stall"], [0.5, 0.25, 0.0625, 0.0625]),
    ],
)
def test_a_plateau_lowers_an_automatic_rate_and_ends_where_that_gains_nothing(
    answers, rates
):
    rate, found = AutomaticRate(1.0, np.inf), []
    only = Course(Told(*answers), rate, 10**6)
    only.begin(Descent(1e-9), 0, 1)
    while only.goes_on:
        only.after_epoch(Losses(1.0, 0.0, 0.0, 0.0))
        found.append(rate.rate)
    assert only.converged
    assert found == rates


def test_a_rate_grows_while_much_is_gained_and_less_after_it_had_to_fall():
    rate = AutomaticRate(1.0, np.inf)
    only = Course(Told("much", "gain", "much", "rise", "much"), rate, 99)
    only.begin(Descent(1e-9), 0, 1)
    found = []
    for _ in range(5):
        before = rate.rate
        only.after_epoch(Losses(1.0, 0.0, 0.0, 0.0))
        found.append(rate.rate / before)
    assert found == [1.25, 1, 1.25, 0.5, pytest.approx(1.25**0.5)]


def growing(rate, max_iter):
    """Return a training that looks at the objective of Descent after each epoch."""
    monitor = Monitor(tol=1e-3, n_iter_no_change=0, look=lambda w: w[0].item() ** 2)
    return Course(monitor, AutomaticRate(rate, objective=np.inf), max_iter)


def test_a_rate_that_grows_too_large_goes_back_to_where_the_objective_was_lowest():
    # At the rate 1.9 it takes 1 to -0.9 and 0.81, at 1.25 times that to -1.11375, and
    # from 0.81 it goes on at half of that.
    first, second = growing(1.9, 4), growing(0.5, 4)
    run([first, second], Descent(1.0, 1.0))
    assert first.weights[0] == pytest.approx(0.81 * (1 - 1.9 * 1.25 / 2))
    # The one beside it goes its own way.
    for course, rate in (first, 1.9), (second, 0.5):
        alone = growing(rate, 4)
        run([alone], Descent(1.0))
        assert_array_equal(alone.weights[0], course.weights[0])


@pytest.mark.parametrize("ends", [True, False])
def test_a_plateau_at_a_given_rate_is_the_end_if_it_may_be(ends):
    rate = FixedRate(1.0, ends_at_plateau=ends)
    only = Course(Told("stall", "", ""), rate, 10**6)
    only.begin(Descent(1.0), 0, 1)
    only.after_epoch(Losses(1.0, 0.0, 0.0, 0.0))
    assert only.ended == only.converged == ends


def test_an_annealed_rate_holds_and_then_falls_to_a_hundredth():
    rate = AnnealedRate(1.0, 100)
    rates = [rate.at(epoch) for epoch in range(100)]
    assert rates[:70] == [1.0] * 70
    assert (np.diff(rates[69:]) < 0).all()
    assert 0.01 < rates[-1] < 0.02
    stalled = AnnealedRate(1.0, 100)
    monitor = Told("stall")
    monitor.update(None, None)
    assert not stalled.answer(monitor, 14)
    assert [n for n in (19, 20) if stalled.answer(monitor, n)] == [20]
    assert 0.01 < stalled.at(19) < 0.1


def test_models_side_by_side_end_when_each_of_them_does():
    engine = Descent(1.0, 2.0)
    first, second = course(0.25, 2), course(0.25, 4)
    run([first, second], engine)
    assert engine.n_epochs == 4
    assert (first.n_iter, second.n_iter) == (2, 4)
    assert_array_equal(first.weights[0], [0.75**2])
    assert_array_equal(second.weights[0], [0.5**4])


def test_a_model_that_diverges_or_begins_again_leaves_the_others_alone():
    engine = Descent(1.0, 1.0, np.inf)
    good = course(0.5, 3)
    fast = course(AutomaticRate(100.0, objective=0.5), 3)
    diverged = course(0.5, 3)
    with np.errstate(invalid="ignore"):
        run([good, fast, diverged], engine)
    assert good.n_iter == fast.n_iter == 3
    assert_array_equal(good.weights[0], [0.125])
    assert_array_equal(fast.weights[0], [(1 - 100 / 4**3) ** 3])
    assert isinstance(diverged.error, NotFinite)
    with pytest.raises(NotFinite, match="at iteration 1"):
        run([course(0.5, 3)], Descent(np.inf))


class Interrupted(Descent):
    """Gets Ctrl-C in its third epoch."""

    def epoch(self, rates, stop=None):
        if self.n_epochs == 2:
            raise KeyboardInterrupt
        return super().epoch(rates, stop)


def test_ctrl_c_ends_trainings_with_what_they_have_reached():
    short, long = course(0.5, 1), course(0.5, 9)
    with pytest.warns(UserWarning, match="interrupted by user"):
        run([short, long], Interrupted(1.0, 1.0))
    assert not short.monitor.interrupted
    assert_array_equal(short.weights[0], [0.5])
    assert long.monitor.interrupted
    assert long.converged
    assert_array_equal(long.weights[0], [0.25])


def test_an_event_ends_trainings_as_ctrl_c_does():
    stop, only = threading.Event(), course()
    stop.set()
    with pytest.warns(UserWarning, match="interrupted by user"):
        run([only], Descent(1.0), stop)
    assert only.n_iter == 0
    assert_array_equal(only.weights[0], [1.0])


class Ending(Descent):
    """Finds no step to take in its third epoch."""

    def __init__(self, failure):
        super().__init__(1.0)
        self._failure = failure

    def epoch(self, rates, stop=None):
        if self.n_epochs == 2:
            self.end = self._failure or ""
            return [None]
        return super().epoch(rates, stop)


@pytest.mark.parametrize("failure", [None, "no step"])
def test_a_training_ends_where_its_engine_does(failure):
    only = course(max_iter=9)
    run([only], Ending(failure))
    assert only.n_iter == len(only.monitor.losses) == 2
    assert only.converged == (failure is None)
    assert only.monitor.failure == failure


class Died(Exception):
    """Stands for the end of the process."""


class Dying(Descent):
    """Dies in its fourth epoch."""

    def epoch(self, rates, stop=None):
        if self.n_epochs == 3:
            raise Died
        return super().epoch(rates, stop)


@pytest.mark.parametrize("automatic", [False, True])
def test_a_resumed_training_takes_up_its_epochs(tmp_path, automatic):
    def resumable():
        rate = AutomaticRate(0.5, objective=0.5) if automatic else 0.5
        rng = np.random.RandomState(0)
        return course(rate, 5, rng=rng, checkpoint=Checkpoint(tmp_path, "training"))

    undisturbed = course(0.5, 5)
    run([undisturbed], Descent(1.0))
    Checkpoint.save, save = _always_saving, Checkpoint.save
    try:
        with pytest.raises(Died):
            run([resumable()], Dying(1.0))
        engine, resumed = Descent(1.0), resumable()
        run([resumed], engine)
    finally:
        Checkpoint.save = save
    assert engine.n_epochs == 2
    assert resumed.monitor.losses == undisturbed.monitor.losses
    assert_array_equal(resumed.weights[0], undisturbed.weights[0])
    # One that had ended takes none.
    again = Descent(1.0)
    run([resumable()], again)
    assert again.n_epochs == 0


def _always_saving(self, get_state, save=Checkpoint.save):
    self._written_at = -np.inf
    save(self, get_state)
