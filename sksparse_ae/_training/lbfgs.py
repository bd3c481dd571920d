"""L-BFGS over a compiled value and gradient, with a state of a few arrays."""

import math
import threading
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.blas import get_blas_funcs

from .._engine.state import Engine
from .._network.coordinates import Coordinates, in_kernel_layout
from .._network.validation import NotFinite
from .._objective.objective import Losses
from .checkpoint import Saved
from .monitor import Weights

# Steps, with the changes of the gradient, that the Hessian is estimated from. On digits
# with 200 units, 50 of them take longer than 10 and end 0.3 % lower after 200 steps.
N_CORRECTIONS = 10

# The training has converged if an iteration lowers the objective by less than this
# share of it, as in SciPy's own L-BFGS-B.
LEAST_GAIN = 1e7 * np.finfo(np.float64).eps

# Constants of the strong Wolfe conditions, and the most steps that a search tries.
SUFFICIENT_DECREASE, CURVATURE, MOST_TRIALS = 1e-4, 0.9, 20


class Trial(NamedTuple):
    """A step that a line search has tried."""

    point: np.ndarray
    losses: Losses
    gradient: np.ndarray
    length: float  # along the direction of the search
    value: float
    slope: float  # of the value in the length


def _lowest_of_cubic(one: Trial, other: Trial) -> float:
    """Return the length at which the cubic through two trials is lowest.

    It lies between them, a tenth from both ends at least: the middle where no such
    length is known.
    """
    span = other.length - one.length
    middle = one.length + span / 2
    if not math.isfinite(other.value):
        return middle
    # Equation (3.59) of Nocedal and Wright.
    mean = one.slope + other.slope - 3 * (other.value - one.value) / span
    square = mean**2 - one.slope * other.slope
    if square < 0:
        return middle
    root = math.copysign(math.sqrt(square), span)
    below = other.slope - one.slope + 2 * root
    if below == 0:
        return middle
    length = other.length - span * (other.slope + root - mean) / below
    share = (length - one.length) / span
    return length if 0.1 <= share <= 0.9 else middle


class LBFGS(Engine, Saved):
    """A minimisation whose epochs are iterations of L-BFGS.

    The two-loop recursion, the starting step and the line search are algorithms 7.4,
    7.5, 3.5 and 3.6 of J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd edition,
    Springer 2006.

    SciPy's own driver cannot be saved half-way, and its public line search warns, which
    nothing can suppress without changing the filters of other threads. On digits and
    patches this driver reaches SciPy's objectives in as many evaluations.

    The objective is a FullBatchObjective, in ``coordinates`` if these are given. The
    minimisation stops where the largest component of the gradient is at most ``tol``.
    """

    _saved = (
        "_point",
        "_losses",
        "_gradient",
        "_steps",
        "_changes",
        "_products",
        "_n_pairs",
        "_n_kept",
        "end",
    )

    def __init__(
        self,
        objective: Any,
        weights: Weights,
        tol: float,
        coordinates: Coordinates | None = None,
    ) -> None:
        self._objective, self._program, self._tol = objective, objective.program, tol
        self._coordinates = coordinates
        if coordinates is not None:
            weights = in_kernel_layout(coordinates.enter(weights))
        self._point = self._program.flatten(weights).astype(np.float64)
        start = self._trial(0.0, np.zeros_like(self._point))
        self._losses, self._gradient = start.losses, start.gradient
        with np.errstate(over="ignore"):
            norm = np.linalg.norm(self._gradient)
        if not math.isfinite(self._losses.objective + norm):
            raise NotFinite(
                "The objective, or its gradient, is not finite at the start of the "
                "training."
            )
        # A ring: the pair of iteration n is at n modulo their number.
        shape = N_CORRECTIONS, self._point.size
        self._steps, self._changes = np.zeros(shape), np.zeros(shape)
        self._products = np.ones(N_CORRECTIONS)  # of each step with its change
        self._n_pairs = self._n_kept = 0
        self._axpy = get_blas_funcs("axpy", (self._point,))
        if self.largest_slope <= self._tol:
            self.end = ""

    @property
    def largest_slope(self) -> float:
        """The largest component of the gradient, by its size."""
        return float(np.abs(self._gradient).max())

    def epoch(
        self, rates: Any = None, stop: threading.Event | None = None
    ) -> list[Losses | None]:
        """Take a step; return its Losses in a list, as engines of epochs do."""
        found = self._line_search()
        if found is None and self._n_kept:
            # The estimate of the Hessian is at fault, or rounding: begin it afresh.
            self._n_kept = 0
            found = self._line_search()
        if found is None:
            self.end = (
                "L-BFGS ended early: no step along the gradient lowers the objective."
            )
            return [None]
        step, change = found.point - self._point, found.gradient - self._gradient
        product = step @ change
        # The objective curves upwards: the pair tells of the Hessian.
        if product > np.finfo(np.float64).eps * (change @ change):
            place = self._n_pairs % N_CORRECTIONS
            self._steps[place], self._changes[place] = step, change
            self._products[place] = product
            self._n_pairs += 1
            self._n_kept = min(self._n_kept + 1, N_CORRECTIONS)
        before, after = self._losses.objective, found.losses.objective
        self._point, self._losses, self._gradient = found[:3]
        has_stalled = before - after <= LEAST_GAIN * max(abs(before), abs(after), 1.0)
        if has_stalled or self.largest_slope <= self._tol:
            self.end = ""
        return [self._losses]

    def _trial(self, length: float, direction: np.ndarray) -> "Trial":
        """Evaluate a step of a length along a direction."""
        point = self._point + length * direction
        losses, gradient = self._objective(point)
        gradient = gradient.astype(np.float64)
        value, slope = losses.objective, float(gradient @ direction)
        if not math.isfinite(value + slope):
            value = math.inf
        return Trial(point, losses, gradient, length, value, slope)

    def _line_search(self) -> "Trial | None":
        """Return a step that meets the strong Wolfe conditions, or None.

        Lengths are doubled until two of them have such a step between them.
        """
        direction = self._direction()
        slope = self._gradient @ direction
        if not slope < 0:
            return None
        now = self._point, self._losses, self._gradient
        start = low = Trial(*now, 0.0, self._losses.objective, slope)
        length = 1.0
        for _ in range(MOST_TRIALS):
            trial = self._trial(length, direction)
            if not self._is_low(trial, start, low):
                return self._search_between(low, trial, start, direction)
            if abs(trial.slope) <= -CURVATURE * slope:
                return trial
            if trial.slope >= 0:
                return self._search_between(trial, low, start, direction)
            low, length = trial, 2 * length
        return low

    @staticmethod
    def _is_low(trial: "Trial", start: "Trial", low: "Trial") -> bool:
        """Return whether a trial lowers the objective enough, and below another one."""
        enough = start.value + SUFFICIENT_DECREASE * trial.length * start.slope
        return trial.value <= enough and (low is start or trial.value < low.value)

    def _search_between(
        self, low: "Trial", high: "Trial", start: "Trial", direction: np.ndarray
    ) -> "Trial | None":
        """Return such a step between a low end, which is low enough, and a high one."""
        for _ in range(MOST_TRIALS):
            length = _lowest_of_cubic(low, high)
            trial = self._trial(length, direction)
            if not self._is_low(trial, start, low):
                high = trial
                continue
            if abs(trial.slope) <= -CURVATURE * start.slope:
                return trial
            if trial.slope * (high.length - low.length) >= 0:
                high = low
            low = trial
        return None if low is start else low

    def _direction(self) -> np.ndarray:
        """Return minus the gradient times the estimate of the inverse Hessian."""
        direction, shares = -self._gradient, []
        if not self._n_kept:
            return direction / np.linalg.norm(direction)
        newest = self._n_pairs - 1
        places = [(newest - n) % N_CORRECTIONS for n in range(self._n_kept)]
        for place in places:
            share = (self._steps[place] @ direction) / self._products[place]
            shares.append(share)
            direction = self._axpy(self._changes[place], direction, a=-share)
        change = self._changes[places[0]]
        direction *= self._products[places[0]] / (change @ change)
        for place, share in zip(reversed(places), reversed(shares), strict=True):
            rest = share - (self._changes[place] @ direction) / self._products[place]
            direction = self._axpy(self._steps[place], direction, a=rest)
        return direction

    def weights(self, number: int = 0) -> Weights:
        """Return W1, b1, W2, b2 in the training's units."""
        weights = self._program.split(self._point)
        if self._coordinates is None:
            return weights
        return self._coordinates.leave(in_kernel_layout(weights))
