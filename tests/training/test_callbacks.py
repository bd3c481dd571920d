"""scikit-learn's callbacks see every iteration, and may stop the training."""

from contextlib import nullcontext

import numpy as np
import pytest
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sksparse_ae import SparseAutoencoderTransformer
from sksparse_ae.model_selection import train_together

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FEW = SparseAutoencoderTransformer(3, max_iter=4, random_state=0)


class Recorder:
    """A callback that writes down its hooks, and does what it is told to."""

    def __init__(self, stop_at=None, raise_at=None, error=None):
        self.stop_at, self.raise_at = stop_at, raise_at
        self.error = error or RuntimeError("of a callback")
        self.hooks, self.scores, self.n_set_up = [], [], 0

    def setup(self, estimator, context):
        self.n_set_up += 1

    def teardown(self, estimator, context):
        self.n_set_up -= 1

    def on_fit_task_begin(self, estimator, context):
        self.hooks.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, fitted_estimator=None
    ):
        self.hooks.append(("end", context.task_name, context.task_id))
        if context.parent is None or fitted_estimator is None:
            return False
        self.scores.append(fitted_estimator.score(X, y))
        self.latest = fitted_estimator
        if context.task_id == self.raise_at:
            raise self.error
        return context.task_id == self.stop_at


@pytest.mark.parametrize(
    ("solver", "name"), [("adam", "epoch"), ("sgd", "epoch"), ("lbfgs", "iteration")]
)
def test_every_iteration_is_a_task(digits, solver, name):
    recorder = Recorder()
    few = clone(FEW).set_params(solver=solver).set_callbacks(recorder).fit(digits)
    pairs = [(hook, name, i) for i in range(4) for hook in ("begin", "end")]
    assert recorder.hooks == [("begin", "fit", 0), *pairs, ("end", "fit", 0)]
    assert recorder.n_set_up == 0
    assert recorder.scores == sorted(recorder.scores)
    assert_allclose(recorder.scores[-1], few.score(digits), rtol=1e-6)
    assert_array_equal(recorder.latest.coefs_[0], few.coefs_[0])
    assert recorder.latest.objective_ == few.objective_


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_can_stop_the_training(digits, solver):
    recorder = Recorder(stop_at=1)
    few = clone(FEW).set_params(solver=solver).set_callbacks(recorder).fit(digits)
    assert few.n_iter_ == 2
    assert recorder.hooks[-1] == ("end", "fit", 0)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_error_of_a_callback_tears_down_and_changes_nothing(digits, solver):
    few = clone(FEW).set_params(solver=solver).fit(digits)
    before = vars(few).copy()
    recorder = Recorder(raise_at=2)
    few.set_callbacks(recorder)
    with pytest.raises(RuntimeError, match="of a callback"):
        few.fit(digits)
    assert recorder.n_set_up == 0
    few.set_callbacks()
    assert vars(few) == before


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interrupt_in_a_callback_ends_the_training(digits, solver):
    recorder = Recorder(raise_at=2, error=KeyboardInterrupt())
    few = clone(FEW).set_params(solver=solver).set_callbacks(recorder)
    with pytest.warns(UserWarning, match="interrupted"):
        few.fit(digits)
    assert recorder.n_set_up == 0
    assert few.n_iter_ == 3
    assert_allclose(few.score(digits), recorder.scores[-1], rtol=1e-6)


def test_bad_data_are_refused_and_the_callbacks_torn_down(digits):
    recorder = Recorder()
    with pytest.raises(ValueError, match="infinity"):
        clone(FEW).set_callbacks(recorder).fit(np.full((5, 3), np.inf))
    assert recorder.n_set_up == 0


def test_callbacks_do_not_change_the_training(digits):
    plain = clone(FEW).fit(digits)
    watched = clone(FEW).set_callbacks(Recorder()).fit(digits)
    assert_array_equal(plain.coefs_[0], watched.coefs_[0])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_scoring_monitor_records_every_epoch(digits, early_stopping):
    monitor = ScoringMonitor(scoring={"explained": lambda est, X, y: est.score(X, y)})
    few = clone(FEW).set_params(early_stopping=early_stopping)
    few.set_callbacks(monitor).fit(digits)
    log = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert [row["task_id"] for row in log] == [0, 1, 2, 3]
    assert_allclose(log[-1]["explained"], few.score(digits), rtol=1e-6)


@pytest.mark.parametrize("n_jobs", [None, 1, 2])
def test_a_progress_bar_shows_the_epochs_wherever_the_transformer_is(
    digits, capsys, n_jobs
):
    bar = ProgressBar(max_propagation_depth=None)
    pipeline = make_pipeline(StandardScaler(), clone(FEW))
    if n_jobs is None:
        pipeline.set_callbacks(bar).fit(digits)
    else:
        grid = {"sparseautoencodertransformer__rho": [0.05, 0.1]}
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs)
        search.set_callbacks(bar).fit(digits)
    shown = capsys.readouterr().out
    # The name may be cut at the width of the terminal.
    assert shown.count("Pipeline - fit-final-estimator") == (5 if n_jobs else 1)
    assert "100%" in shown or n_jobs


@pytest.mark.parametrize("context", [nullcontext, train_together])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_callback_may_fit(digits, solver, context):
    class Refitting(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.parent is not None:
                refit = clone(estimator).set_callbacks().fit(digits)
                self.scores.append(refit.score(digits))

    recorder = Refitting()
    few = clone(FEW).set_params(solver=solver, max_iter=2).set_callbacks(recorder)
    with context():
        few, _ = Parallel()(delayed(f.fit)(digits) for f in (few, clone(FEW)))
    assert_allclose(recorder.scores, [few.score(digits)] * 2)


def test_an_error_at_the_end_of_a_fit_changes_nothing_either(digits):
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.parent is None:
                raise RuntimeError("at the end")

    few = clone(FEW).set_callbacks(Failing())
    with pytest.raises(RuntimeError, match="at the end"):
        few.fit(digits)
    assert not hasattr(few, "coefs_")


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_resumed_training_does_only_the_epochs_that_are_left(
    digits, tmp_path, early_stopping
):
    few = clone(FEW).set_params(
        max_iter=10, early_stopping=early_stopping, checkpoint_dir=tmp_path
    )
    died = Recorder(raise_at=7)
    with pytest.raises(RuntimeError, match="of a callback"):
        clone(few).set_callbacks(died).fit(digits)
    assert ("end", "epoch", 7) in died.hooks
    resumed = Recorder()
    few.set_callbacks(resumed).fit(digits)
    # Each writing takes a share of the time: not every epoch is saved, but the first.
    n_left = sum(hook[:2] == ("end", "epoch") for hook in resumed.hooks)
    assert 3 <= n_left <= 9
    assert few.n_iter_ == len(few.loss_curve_) == 10
    assert list(tmp_path.iterdir()) == []
