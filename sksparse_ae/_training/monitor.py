"""The record of a training while it runs: curves, progress, and whether it stalls."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .._network.validation import NotFinite
from .._objective.objective import Losses
from .callbacks import IterationTasks
from .checkpoint import Saved

# W1, b1, W2, b2, or the kernels and biases of a stack.
Weights: TypeAlias = list[np.ndarray]

# A look at the weights that finds an objective above the lowest one by more than this
# share of it sees a rise: averaged weights scatter by less.
RISE = 0.002


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
    has to improve by ``tol`` for each of them. Differences of objectives below
    ``negligible`` are rounding.
    """

    def __init__(
        self,
        *,
        tol: float,
        n_iter_no_change: int,
        evaluate: Callable[[Weights], HeldOut] | None = None,
        look: Callable[[Weights], float] | None = None,
        negligible: float = 0.0,
        progress: "Progress | None" = None,
        tasks: IterationTasks | None = None,
    ) -> None:
        self._tol, self._patience = tol, n_iter_no_change
        self._evaluate, self._look, self._negligible = evaluate, look, negligible
        self._progress, self._tasks = progress, tasks
        self._best, self._lowest, self._n_no_change = math.inf, math.inf, 0
        # How many iterations there were at the latest look, and what objective.
        self._seen: Any = None
        self._lowest_seen = math.inf
        self._lowest_weights: Weights | None = None
        self._best_weights: Weights | None = None
        self._gains_nothing = False
        self.losses: list[Losses] = []
        self.held_out: list[HeldOut] = []
        # Whether the latest iteration was looked at, and has improved enough; whether
        # the training stalled because it rose; whether a callback has asked to stop.
        self.gains = self.rises = self.stop_requested = False
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
        return self._lowest_weights if self.rises else self._best_weights

    @property
    def stalled(self) -> bool:
        """Whether the latest iterations did not improve."""
        return self._gains_nothing or self._n_no_change > self._patience

    def be_patient(self) -> None:
        """Forget the stall: the training goes on in another way."""
        self._n_no_change, self._seen = 0, None
        self.rises = self._gains_nothing = False

    def go_on(self) -> None:
        """Forget the stall, but not where it was: it is to be improved upon."""
        self._n_no_change, self._gains_nothing = 0, False

    def conclude(self, get_weights: Callable[[], Weights]) -> bool:
        """Say whether a training that ran out of epochs had stopped improving."""
        if self._look is None or self._seen is None:
            return False
        n_seen, _ = self._seen
        if n_seen < len(self.losses):
            self._look_at(self._look, get_weights())
        return self._gains_nothing and not self.rises

    def reason(self, estimator: Any) -> str:
        """Say why a training has not converged, and what to change."""
        if self.failure is not None:
            return self.failure
        if self.rises:
            return (
                f"The objective rose, from {self._lowest_seen:.6g} to "
                f"{self._seen[1]:.6g}: the steps are too long. The weights from "
                f"before are returned. Lower learning_rate={estimator.learning_rate!r}."
            )
        return (
            f"The training reached max_iter={estimator.max_iter} before it converged. "
            f"Raise max_iter to {2 * estimator.max_iter}, or raise "
            f"tol={estimator.tol!r} if the objective is near enough."
        )

    def _look_at(self, look: Callable[[Weights], float], weights: Weights) -> None:
        objective, n_done = look(weights), len(self.losses)
        if self._seen is not None:
            n_seen, before = self._seen
            least = self._tol * (n_done - n_seen) * max(objective, self._negligible)
            self._gains_nothing = before - objective <= least
            self.gains = not self._gains_nothing
        if objective < self._lowest_seen:
            self._lowest_seen, self._lowest_weights = objective, weights
        excess = objective - self._lowest_seen
        self.rises = excess > max(RISE * self._lowest_seen, self._negligible)
        self._seen = [n_done, objective]

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
        self.gains = False
        watched = losses.objective
        if self._evaluate is not None:
            weights = get_weights()
            held_out = self._evaluate(weights)
            self.held_out.append(held_out)
            watched = held_out.objective
            if watched < self._lowest:
                self._lowest, self._best_weights = watched, weights
        if self._progress is not None:
            self._progress.update(len(self.losses), losses.objective)
        if self._look is not None:
            if (len(self.losses) - 1) % (self._patience + 1) == 0:
                self._look_at(self._look, get_weights())
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
        "_lowest_seen",
        "_lowest_weights",
        "rises",
        "_gains_nothing",
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

    def close(self) -> None:
        """End the line of progress, and an iteration that was not finished."""
        if self._progress is not None:
            self._progress.close()
        if self._tasks is not None:
            self._tasks.close()


class Progress:
    """One line on standard error that is rewritten as the training goes on."""

    def __init__(
        self, unit: str, n_total: int, name: str = "SparseAutoencoderTransformer"
    ) -> None:
        self._unit, self._n_total, self._name = unit, n_total, name
        self._start, self._shown = 0.0, -math.inf

    def begin(self, rate: float | None) -> None:
        """Show the learning rate of an iteration; the first one starts the clock."""
        self._start, self._rate = self._start or time.perf_counter(), rate

    def update(self, n_done: int, objective: float) -> None:
        """Show an iteration, ten times a second at most."""
        self._last, now = (n_done, objective), time.perf_counter()
        if now - self._shown >= 0.1 or n_done >= self._n_total:
            self._shown = now
            self._write()

    def _write(self, end: str = "") -> None:
        n_done, objective = self._last
        rate = "" if self._rate is None else f", learning rate {self._rate:.2g}"
        elapsed = time.perf_counter() - self._start
        sys.stderr.write(
            f"\r[{self._name}] {self._unit} {n_done}/{self._n_total}, "
            f"objective {objective:.6g}{rate}, {elapsed:.1f} s{end}"
        )
        sys.stderr.flush()

    def close(self) -> None:
        """Show the last iteration and end the line."""
        if self._shown > -math.inf:
            self._write(end="\n")
