"""The record of a training while it runs: curves, progress, and whether it stalls."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .._engine.startup import has_started
from .._network.validation import NotFinite
from .._objective.objective import Losses
from .callbacks import IterationTasks
from .checkpoint import Saved

# W1, b1, W2, b2, or the kernels and biases of a stack.
Weights: TypeAlias = list[np.ndarray]

# A look at the weights that finds an objective above the lowest one by more than this
# share of it sees a rise: averaged weights scatter by less.
RISE = 0.002


# A training that still gains something after this many epochs is slow. About as much as
# an epoch gains times the epochs so far is then left to gain. So the share that an
# epoch has to gain falls with their number: ``tol`` is that of so many epochs. Without
# it, of 104 trainings of bench_convergence.py with a limit of 1000 epochs, 16 were
# called converged more than 5 % above the lowest objective known.
EPOCHS_OF_TOL = 300

# An epoch of fewer steps than this gains less, and costs less: it has to gain ``tol``
# times its share of them. Without it trainings of one or two steps an epoch ended 1 to
# 2 % above the lowest objective known, and with it within 0.7 %.
STEPS_OF_TOL = 20


# A look that finds so many times what it asks for finds a training far from its end.
MUCH = 5


class HeldOut(NamedTuple):
    """What held-out rows say about weights."""

    objective: float
    score: float | None


class Monitor(Saved):
    """Record each iteration and notice when the training stops improving.

    An iteration has to improve the objective by a share of it, ``tol``. The training
    stalls after more than ``n_iter_no_change`` iterations in a row that do not. What
    has to improve is the objective that the iterations report, unless one of two
    functions is given. ``evaluate`` maps weights to HeldOut after every iteration; the
    best weights are then kept. ``look`` maps weights to their objective; it is asked
    after the first iteration and then every ``n_iter_no_change + 1``, and the objective
    has to improve by ``tol`` for each of them, by less after many iterations or where
    each has few steps, ``n_steps``. Differences of objectives below ``negligible`` are
    rounding.
    """

    def __init__(
        self,
        *,
        tol: float,
        n_iter_no_change: int,
        evaluate: Callable[[Weights], HeldOut] | None = None,
        look: Callable[[Weights], float] | None = None,
        n_steps: float = math.inf,
        negligible: float = 0.0,
        progress: "Progress | None" = None,
        tasks: IterationTasks | None = None,
    ) -> None:
        self._tol, self._patience = tol, n_iter_no_change
        self._evaluate, self._look, self._negligible = evaluate, look, negligible
        self._share = min(1.0, n_steps / STEPS_OF_TOL)
        self._progress, self._tasks = progress, tasks
        self._best, self._lowest, self._n_no_change = math.inf, math.inf, 0
        # How many iterations there were at the latest look, and what objective; and at
        # the look before that.
        self._seen: Any = None
        self._seen_before: Any = None
        self._lowest_seen = self._lowest_of_late = math.inf
        self._lowest_weights: Weights | None = None
        self._best_weights: Weights | None = None
        # Whether the latest look found that the iterations gain too little to go on.
        self._gains_nothing = False
        # Whether there was no look since the training went back, and none since its
        # rate was lowered.
        self._begins_anew = self._is_on_trial = False
        # By what share of itself the objective fell in an iteration between the latest
        # two looks; None if there were none.
        self._fall: float | None = None
        # The largest component of the gradient, from a solver that stops by it.
        self.slope: float | None = None
        self.losses: list[Losses] = []
        self.held_out: list[HeldOut] = []
        # Whether the latest iteration was looked at, and has improved enough, or by
        # much; whether its objective is the lowest, on rows held out or since the
        # monitor was last told to be patient; whether the training goes back to that.
        self.gains = self.gains_much = self.is_lowest = self.goes_back = False
        # Whether the training stalled because it rose; whether a callback has asked to
        # stop.
        self.rises = self.stop_requested = False
        # Set by the loop: whether the user has ended the training, and why the solver
        # cannot go on.
        self.interrupted = False
        self.failure: str | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nobody is told of the iterations."""
        return self._progress is None and self._tasks is None

    @property
    def best_weights(self) -> Weights | None:
        """The best weights on held-out rows; if the training rose, those before."""
        return self._lowest_weights if self.has_risen else self._best_weights

    @property
    def lowest(self) -> float:
        """The objective that it goes back to, where the latest one is the lowest."""
        return self._lowest if self._look is None else self._lowest_of_late

    @property
    def has_risen(self) -> bool:
        """Whether the latest look found an objective above the lowest one."""
        seen = self._seen
        return seen is not None and self._exceeds(seen[1], self._lowest_seen)

    @property
    def stalled(self) -> bool:
        """Whether the latest iterations did not improve."""
        return self._gains_nothing or self._n_no_change > self._patience

    def be_patient(self) -> None:
        """Forget the stall: the training goes on in another way."""
        self._n_no_change, self._seen, self._fall = 0, None, None
        self._seen_before, self._lowest_of_late = None, math.inf
        self.rises = self._gains_nothing = False
        self._begins_anew = self._is_on_trial = False

    def go_on(self) -> None:
        """Forget the stall, but not where it was: it is to be improved upon.

        The training goes back if the latest look found that it was lower before.
        """
        self._n_no_change, self._gains_nothing, self._seen_before = 0, False, None
        if self._seen is not None and self._seen[1] > self._lowest_of_late:
            self.go_back()
        self._is_on_trial = True

    def go_back(self) -> None:
        """Take note that the training goes back to its lowest objective of late."""
        lowest = self._lowest_of_late
        self.be_patient()
        self._lowest_of_late, self.goes_back = lowest, True
        if lowest < math.inf:
            self._seen, self._begins_anew = [len(self.losses), lowest], True
        self._is_on_trial = True

    def conclude(self, get_weights: Callable[[], Weights]) -> None:
        """Take a last look at a training that ran out of epochs.

        It is held against a look as many epochs ago as there are between others, at
        least. After fewer epochs there is no stall.
        """
        is_seen = self._seen is not None and self._seen[0] == len(self.losses)
        if self._look is None or is_seen:
            return
        since = self._seen_before or self._seen
        self._look_at(self._look, get_weights(), since)
        if since is not None and len(self.losses) - since[0] <= self._patience:
            self._gains_nothing = False

    def reason(self, estimator: Any) -> str:
        """Say why a training has not converged, and what to change."""
        if self.failure is not None:
            return self.failure
        before = ""
        if self.has_risen:
            before = f"from {self._lowest_seen:.6g} to {self._seen[1]:.6g}"
        if before and estimator.learning_rate != "auto":
            return (
                f"The objective rose, {before}: the steps are too long. The weights "
                "from before are returned. Lower "
                f"learning_rate={estimator.learning_rate!r}."
            )
        reached = (
            f"The training reached max_iter={estimator.max_iter} before it converged"
        )
        to_type = f"Raise max_iter to {2 * estimator.max_iter}"
        if before:
            return (
                f"{reached}: the objective had just risen, {before}. The weights from "
                f"before are returned. {to_type}."
            )
        if self._look is not None and (self._gains_nothing or self._is_on_trial):
            return f"{reached}: a lower learning rate was still to be tried. {to_type}."
        return (
            f"{reached}{self._distance(estimator.tol)}. {to_type}, or raise "
            f"tol={estimator.tol!r} if the objective is near enough."
        )

    def _distance(self, tol: float) -> str:
        """Say how far a training was from convergence when it ended, if that is known.

        Without looks, objectives are compared that are as many epochs apart as it takes
        to stall: single ones scatter.
        """
        if self.slope is not None:
            return f": the largest component of the gradient was still {self.slope:.2g}"
        fall, of_what = self._fall, "objective"
        if self._look is None:
            values = [losses.objective for losses in self.losses]
            if self._evaluate is not None:
                values = [held_out.objective for held_out in self.held_out]
                of_what += " on the rows held out"
            n = min(self._patience + 1, len(values) - 1)
            if n > 0 and values[-1]:
                fall = (values[-1 - n] - values[-1]) / n / abs(values[-1])
        if fall is None:
            return ""
        told, asked = f"tol is {100 * tol:.2g} %", tol
        if self._look is not None and (asked := self._asked(tol)) < tol:
            told += f", which here asks for {100 * asked:.2g} %"
        # As many digits as tell the two apart.
        digits = 2 if f"{fall:.2g}" != f"{asked:.2g}" else 4
        return (
            f": the {of_what} was still changing by {-100 * fall:+.{digits}g} % per "
            f"epoch, and {told}"
        )

    def _asked(self, tol: float) -> float:
        """Return the share of the objective that the latest epoch has to gain."""
        return self._share * tol * min(1.0, EPOCHS_OF_TOL / max(len(self.losses), 1))

    def outcome(self, converged: bool) -> str:
        """Say in a few words why a training has ended."""
        if self.interrupted:
            return "interrupted"
        if self.stop_requested:
            return "stopped by a callback"
        if self.failure is not None:
            return self.failure.rstrip(".")
        if self.has_risen:
            return "the objective rose, the weights from before are returned"
        if not converged:
            return "reached max_iter"
        return "converged" + (" on the rows held out" if self._evaluate else "")

    def _look_at(
        self, look: Callable[[Weights], float], weights: Weights, since: Any
    ) -> None:
        """Look at weights, and hold them against an earlier look."""
        objective, n_done = look(weights), len(self.losses)
        if since is not None:
            n_seen, before = since
            unit = (n_done - n_seen) * max(objective, self._negligible)
            least = self._asked(self._tol) * unit
            self._gains_nothing = before - objective <= least
            self._fall = (before - objective) / unit if unit else None
            self.gains = not self._gains_nothing
            self.gains_much = before - objective >= MUCH * least
        # After going back the first look may be above the lowest, but not the next one:
        # it could be on its way for a thousand epochs.
        if self._begins_anew:
            self._gains_nothing = self._begins_anew = False
        elif self._exceeds(objective, self._lowest_of_late):
            self._gains_nothing = True
        if objective < self._lowest_seen:
            self._lowest_seen, self._lowest_weights = objective, weights
        self.is_lowest = objective < self._lowest_of_late
        self._lowest_of_late = min(objective, self._lowest_of_late)
        self.rises = self._exceeds(objective, self._lowest_of_late)
        self._seen = [n_done, objective]

    def _exceeds(self, objective: float, lowest: float) -> bool:
        return objective - lowest > max(RISE * lowest, self._negligible)

    def begin_with(self, weights: Weights) -> None:
        """Take the weights of an earlier training for the best so far."""
        if self._evaluate is not None:
            objective = self._evaluate(weights).objective
            self._lowest, self._best_weights = objective, weights

    def begin_iteration(self, rate: float | None) -> None:
        """Take note that an iteration begins, unless one has, and of its rate."""
        if self._tasks is not None:
            self._tasks.begin()
        if self._progress is not None:
            self._progress.begin(rate)

    def update(self, losses: Losses, get_weights: Callable[[], Weights]) -> None:
        """Take note that an iteration has ended."""
        if not math.isfinite(losses.objective):
            raise NotFinite(
                f"The objective became {losses.objective} at iteration "
                f"{len(self.losses) + 1}: the training diverged."
            )
        self.losses.append(losses)
        self.gains = self.gains_much = self.is_lowest = self.goes_back = False
        watched = losses.objective
        if self._evaluate is not None:
            weights = get_weights()
            held_out = self._evaluate(weights)
            self.held_out.append(held_out)
            watched = held_out.objective
            if watched < self._lowest:
                self._lowest, self._best_weights = watched, weights
                self.is_lowest = True
        if self._progress is not None:
            self._progress.update(len(self.losses), losses.objective)
        if self._look is not None:
            if (len(self.losses) - 1) % (self._patience + 1) == 0:
                self._seen_before = self._seen
                self._look_at(self._look, get_weights(), since=self._seen)
                self._is_on_trial = False
        else:
            improved = watched < self._best - self._tol * abs(watched)
            self._n_no_change = 0 if improved else self._n_no_change + 1
            self._best = min(self._best, watched)
        if self._tasks is not None:
            self.stop_requested = self._tasks.end(
                lambda: self.best_weights or get_weights()
            )

    _saved = (
        "_best",
        "_lowest",
        "_n_no_change",
        "_seen",
        "_seen_before",
        "_lowest_seen",
        "_lowest_of_late",
        "_lowest_weights",
        "rises",
        "_gains_nothing",
        "_begins_anew",
        "_is_on_trial",
        "_fall",
        "_best_weights",
    )

    def state(self) -> dict:
        """Return what ``restore`` continues from."""
        curves = {"losses": [*self.losses], "held_out": [*self.held_out]}
        return super().state() | curves

    def restore(self, state: dict) -> None:
        """Continue from the state of another monitor."""
        super().restore(state)
        self.losses = [Losses(*losses) for losses in state["losses"]]
        self.held_out = [HeldOut(*held_out) for held_out in state["held_out"]]

    def tell_end(self, converged: bool) -> None:
        """Show why the training has ended, where its progress is shown."""
        if self._progress is not None:
            self._progress.close(self.outcome(converged))

    def close(self) -> None:
        """End what is shown of the progress, and an iteration that was not finished."""
        if self._progress is not None:
            self._progress.close()
        if self._tasks is not None:
            self._tasks.close()


# Seconds between two rewritings of a line on a terminal. Elsewhere each is a line of
# its own: they follow after a tenth of the time passed, within these limits.
ON_TERMINAL = 0.1
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 60.0


def announce(
    X: Any, n_units: list[int], name: str = "SparseAutoencoderTransformer"
) -> None:
    """Tell on standard error that a training of rows begins, before TensorFlow does."""
    n_rows, n_features = X.shape
    units = ", then ".join(map(str, n_units))
    start = "" if has_started() else ": starting TensorFlow, which takes some seconds"
    sys.stderr.write(
        f"[{name}] {n_rows} rows of {n_features} features, {units} units{start}\n"
    )
    sys.stderr.flush()


class Progress:
    """The progress of a training on standard error.

    On a terminal one line is rewritten as the training goes on. In a file or a
    notebook, lines follow one another.
    """

    def __init__(
        self, unit: str, n_total: int, name: str = "SparseAutoencoderTransformer"
    ) -> None:
        self._unit, self._n_total, self._name = unit, n_total, name
        is_terminal = getattr(sys.stderr, "isatty", None)
        self._rewrites = is_terminal is not None and is_terminal()
        self._start, self._shown, self._width = 0.0, -math.inf, 0
        # What was done and not yet shown; whether the end was shown.
        self._last: tuple[int, float] | None = None
        self._ended = False

    def begin(self, rate: float | None) -> None:
        """Show the learning rate of an iteration; the first one starts the clock."""
        self._start, self._rate = self._start or time.perf_counter(), rate

    def update(self, n_done: int, objective: float) -> None:
        """Show an iteration, unless another one was shown a moment ago."""
        self._last, now = (n_done, objective), time.perf_counter()
        pause = ON_TERMINAL
        if not self._rewrites:
            pause = min(max(SHORTEST_PAUSE, (now - self._start) / 10), LONGEST_PAUSE)
        if now - self._shown >= pause and n_done < self._n_total:
            self._shown = now
            self._show(end="" if self._rewrites else "\n")

    def close(self, outcome: str = "") -> None:
        """Show the last iteration, and why it is the last, and end the line."""
        if self._last is not None and not self._ended:
            self._ended = True
            self._show(f": {outcome}" if outcome else "", end="\n")

    def _show(self, outcome: str = "", *, end: str) -> None:
        assert self._last is not None
        n_done, objective = self._last
        rate = "" if self._rate is None else f", learning rate {self._rate:.2g}"
        elapsed = time.perf_counter() - self._start
        self._write(
            f"{self._unit} {n_done}/{self._n_total}, objective {objective:.6g}{rate}, "
            f"{elapsed:.1f} s{outcome}",
            end,
        )

    def _write(self, text: str, end: str) -> None:
        text = f"[{self._name}] {text}"
        if self._rewrites:
            # What stood there may have been longer.
            text, self._width = f"\r{text:<{self._width}}", 0 if end else len(text)
        sys.stderr.write(f"{text}{end}")
        sys.stderr.flush()
