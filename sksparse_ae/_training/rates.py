"""The learning rate of a training, as its epochs tell."""

import math
from typing import Any

import numpy as np
from scipy.linalg import eigvalsh

from .._network.coordinates import Coordinates
from .._network.initialization import SAMPLE_ROWS
from .._network.problem import Problem
from .._network.reading import Rows, evenly_spaced
from .._network.scaling import drawn_near
from .._objective.activations import ACTIVATIONS
from .._utils.threads import single_blas_thread
from .checkpoint import Saved
from .monitor import Monitor

# The rate of "sgd" for rows that others may follow, times an estimate of the curvature.
# With 1 trainings end 2 to 6 % higher; with 3 some of those on colour patches do not
# settle.
SGD_STEP = 2.0

# With an automatic rate for known rows "sgd" remembers the gradients of about 50 steps.
# Over the settings of bench_convergence.py trainings end 1 to 2 % lower than with the
# usual ten, and up to 10 % lower where an epoch is a step or two. 100 end alike.
SGD_MOMENTUM = 0.98

# A row moves the encoder of a unit in proportion to the unit's decoder weights, whose
# squares add up to about the variance of the data over the number of units. This times
# that, and the square of the steepest slope, is taken for the curvature, up to a limit.
# With 3 or 5 tanh units on data of low rank end up to twice as high; those on digits
# end alike. Without the limit few rows of 2000 columns learn too slowly.
SGD_OUTPUT, MOST_OF_OUTPUT = 10.0, 300.0

# Below this ``rho`` a batch has few rows for which a unit is on, and counts as one of
# rho / SGD_RARE times as many rows. Without it tanh units with a rho of .01 end up to
# half as high again.
SGD_RARE = 0.3

# An automatic rate of "adam" has fallen to 1 / sqrt(2) of its start after so many
# batches. SGD's stays: it is as large as the curvature lets it be, and its noise
# averages out.
ADAM_FALLS = 1 / 200

# An epoch whose objective is this many times that of the weights to go back to is lost:
# the training goes there at a quarter of its automatic rate, up to so many times.
LOST = 5
MOST_RETURNS = 8

# An automatic rate grows by this factor at each look that finds much gained. It grows
# by the root of that once it had to fall, and so on. So a rate that begins too small
# for the data finds its size: without it "adam" ended at 8 to 9 times the lowest
# objective known with 1000 relu units on iris or noise, and at 1.6 to 1.8 with it. With
# 1.1 or 1.5 trainings end alike.
GROWTH = 1.25

# An automatic rate that stalls is divided by this, to leave the noise that it makes; a
# training has converged if that gains nothing. Over the settings of
# bench_convergence.py it takes "adam" from 1.013 to 1.009 of what L-BFGS reaches in the
# median, for 15 % more epochs; "sgd" no longer stops in its own noise. A half and an
# eighth end alike.
STALL_FALL = 4

# The share of an annealed training in which the learning rate falls.
ANNEALED_SHARE = 0.3


class FixedRate(Saved):
    """A rate that stays, or None where there is none to set."""

    # Whether the training may have to go back to where its objective was lowest.
    may_go_back = False

    _saved: tuple[str, ...] = ("rate",)

    def __init__(self, rate: Any, *, ends_at_plateau: bool = True) -> None:
        self.rate, self._ends = rate, ends_at_plateau

    def at(self, epoch: int) -> Any:
        """Return the rate of an epoch, counted from 0."""
        return self.rate

    def answer(self, monitor: Monitor, n_epochs: int) -> bool:
        """Say, from what the monitor says after so many epochs, whether to end."""
        return self.has_converged(monitor)

    def has_converged(self, monitor: Monitor) -> bool:
        """Say whether the latest look, perhaps at ``max_iter``, shows convergence."""
        return self._ends and monitor.stalled


class AutomaticRate(FixedRate):
    """A rate that grows while much is gained, and falls where it proves too large.

    ``objective`` is that at the start, on some rows.
    """

    may_go_back = True
    _saved = ("rate", "_marked", "_n_returns", "_is_lowered", "_growth")

    def __init__(self, rate: float, objective: float) -> None:
        super().__init__(rate)
        self._marked = objective  # the objective where it would go back to
        self._n_returns, self._is_lowered = 0, False
        self._growth = GROWTH

    def loses(self, objective: float) -> bool:
        """Say whether an epoch is lost, and lower the rate if it is."""
        if self._n_returns == MOST_RETURNS:
            return False
        least = float(np.finfo(np.float32).tiny)
        if objective < LOST * max(self._marked, least):
            return False
        self._n_returns += 1
        self.rate /= 4
        return True

    def answer(self, monitor: Monitor, n_epochs: int) -> bool:
        """Change the rate by what a look has found, or end.

        At a plateau or a rise the training goes back to its lowest objective, with a
        lower rate. It ends where the rate was lowered for a plateau and gained nothing.
        """
        if monitor.is_lowest:
            # An epoch may end higher than it was in the mean.
            epoch = monitor.losses[-1].objective
            self._marked = max(epoch, monitor.lowest)
        if monitor.gains:
            self._is_lowered = False
        if not monitor.stalled:
            if monitor.gains_much:
                self.rate *= self._growth
            return False
        ends = self.has_converged(monitor)
        if monitor.rises:
            self._fall(2)
        elif not ends:
            self._fall(STALL_FALL)
            self._is_lowered = True
        monitor.go_on()
        return ends

    def has_converged(self, monitor: Monitor) -> bool:
        return self._is_lowered and monitor.stalled and not monitor.rises

    def _fall(self, divisor: float) -> None:
        self.rate, self._growth = self.rate / divisor, math.sqrt(self._growth)


class AnnealedRate(FixedRate):
    """A rate that holds, then falls by a half cosine to a hundredth.

    It falls over the last 30 % of ``max_iter``, or as soon as the training stalls,
    then over 30 % of what the training takes altogether.
    """

    _saved = ("rate", "_hold", "_end")

    def __init__(self, rate: float, max_iter: int) -> None:
        super().__init__(rate)
        self._hold = max_iter - math.floor(ANNEALED_SHARE * max_iter)
        self._end = max_iter

    def at(self, epoch: int) -> float:
        if epoch < self._hold:
            return self.rate
        progress = (epoch - self._hold + 1) / (self._end - self._hold + 1)
        return self.rate * (0.505 + 0.495 * math.cos(math.pi * progress))

    def answer(self, monitor: Monitor, n_epochs: int) -> bool:
        """Begin to fall at a plateau, unless that has begun; end when it has fallen."""
        if monitor.stalled and n_epochs < self._hold:
            self._hold = n_epochs
            share = ANNEALED_SHARE / (1 - ANNEALED_SHARE)
            self._end = min(self._hold + math.ceil(share * self._hold), self._end)
        return n_epochs >= self._end


def automatic_rate(
    rows: np.ndarray,
    problem: Problem,
    coordinates: Coordinates,
    batch_size: int,
    *,
    is_sgd: bool,
) -> float:
    """Return the rate that ``learning_rate="auto"`` starts at, from ``sampled_rows``.

    A step of Adam moves every weight by the rate, up or down. It moves the input of a
    unit farthest, in mean square over the rows, where the steps have the signs for
    which the features add up most. It moves the output the farther, the larger the sum
    of the codes is, about n_components rho. Both moves are held to a share of one.

    The curvature that a step of SGD meets grows with the square of how far the rows
    reach along one direction. In a batch of few rows that is more: each row reaches as
    far as it is long, and long rows count by their squares. It grows also with how far
    a unit moves the output. Where rows may yet come that reach elsewhere, the lengths
    of the rows are what counts.
    """
    architecture, coefficients, _ = problem
    rows = coordinates.turned(rows)
    # The square of what a step of the bias moves a unit by, as KL sees it: of a unit
    # without an upper end, the curvature of KL, which the slope of other units lessens.
    of_bias, objective = 1.0, architecture.objective
    if objective.penalty.acts and not objective.activation.is_bounded:
        of_bias = objective.penalty.curvature(coefficients.rho)
    activation = ACTIVATIONS[architecture.activation]
    if not is_sgd:
        codes = architecture.n_components * coefficients.rho
        moves = of_bias + _largest_move(rows) + codes**2
        return activation.adam_step / math.sqrt(moves)
    codes = architecture.n_components * coefficients.rho**2
    others = 4 + codes + coefficients.beta * of_bias
    share = coordinates.encoder_share
    if share is None:
        return SGD_STEP / (others + _mean_square_norm(rows))
    of_output = float(np.square(rows).sum(axis=1).mean()) / architecture.n_components
    others += min(SGD_OUTPUT * activation.steepest**2 * of_output, MOST_OF_OUTPUT)
    rows = rows * np.sqrt(share)
    n_on = batch_size * min(1.0, coefficients.rho / SGD_RARE)
    reach = math.sqrt(_largest_variance(rows))
    reach += math.sqrt(_mean_square_norm(rows) / n_on)
    return activation.sgd_step / (others + reach**2)


def sampled_rows(X: Rows, problem: Problem) -> np.ndarray:
    """Return some rows as the training sees them, for what is chosen by them."""
    rows = problem.scaling.seen(evenly_spaced(X, SAMPLE_ROWS))
    is_robust = problem.architecture.objective.loss.is_robust
    return drawn_near(rows) if is_robust else rows


def _mean_square_norm(rows: np.ndarray) -> float:
    """Return the mean square norm of rows, each weighed by its own."""
    squares = np.square(rows).sum(axis=1)
    total = squares.sum()
    return float(np.square(squares).sum() / total) if total > 0 else 0.0


def _largest_variance(rows: np.ndarray) -> float:
    """Return the mean square of rows along the direction in which it is largest."""
    n_rows, n_features = rows.shape
    products = (rows.T @ rows if n_features <= n_rows else rows @ rows.T) / n_rows
    if not np.isfinite(products).all():
        return math.inf
    last = len(products) - 1
    with single_blas_thread():
        (largest,) = eigvalsh(products, subset_by_index=[last, last])
    return max(float(largest), 0.0)


def _largest_move(rows: np.ndarray) -> float:
    """Return the mean square of rows @ s for the signs s that make it large."""
    signs = np.ones(rows.shape[1])
    for _ in range(10):
        signs = np.where(rows.T @ (rows @ signs) >= 0, 1.0, -1.0)
    return float(np.square(rows @ signs).mean())
