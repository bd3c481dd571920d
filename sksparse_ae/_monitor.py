"""What a training tells while it runs: curves, progress, and when it stalls."""

import math
import sys
import time


class Monitor:
    """Record the loss of each iteration and notice when it stops improving.

    Parameters
    ----------
    tol : float
        An iteration improves if it is better than the best so far by more than this.
    n_iter_no_change : int
        Iterations without improvement after which the training stalls.
    evaluate : callable, optional
        Maps weights to the objective on held-out rows. If given, that is what has to
        improve, and the best weights are kept.
    progress : Progress, optional
    """

    def __init__(self, *, tol, n_iter_no_change, evaluate=None, progress=None):
        self._tol, self._patience = tol, n_iter_no_change
        self._evaluate, self._progress = evaluate, progress
        self._best, self._n_no_change = math.inf, 0
        self.loss_curve, self.validation_curve = [], []
        self.best_weights = None
        self._lowest = math.inf

    def start(self):
        """Start the clock of the progress: what was to be imported is imported."""
        if self._progress is not None:
            self._progress.start()

    def begin_with(self, weights):
        """Take the weights of an earlier training for the best so far."""
        if self._evaluate is not None:
            self._lowest, self.best_weights = self._evaluate(weights), weights

    def update(self, loss, get_weights):
        """Take note of an iteration; return whether the training stalls.

        Parameters
        ----------
        loss : float
        get_weights : callable
            Returns the weights after the iteration.
        """
        if not math.isfinite(loss):
            raise ValueError(
                f"The objective became {loss} at iteration {len(self.loss_curve) + 1}: "
                "the training diverged. Lower learning_rate, or scale the data "
                "(StandardScaler)."
            )
        self.loss_curve.append(loss)
        watched = loss
        if self._evaluate is not None:
            weights = get_weights()
            watched = self._evaluate(weights)
            self.validation_curve.append(watched)
            if watched < self._lowest:
                self._lowest, self.best_weights = watched, weights
        if self._progress is not None:
            self._progress.update(len(self.loss_curve), loss)
        self._n_no_change = (
            0 if watched < self._best - self._tol else self._n_no_change + 1
        )
        self._best = min(self._best, watched)
        return self._n_no_change >= self._patience

    def close(self):
        """End the line of progress."""
        if self._progress is not None:
            self._progress.close()


class Progress:
    """One line on standard error that is rewritten as the training goes on."""

    def __init__(self, unit, n_total, name="SparseAutoencoderTransformer"):
        self._unit, self._n_total, self._name = unit, n_total, name
        self._shown = -math.inf

    def start(self):
        """Start the clock."""
        self._start = time.perf_counter()

    def update(self, n_done, objective):
        """Show an iteration, ten times a second at most."""
        now = time.perf_counter()
        if now - self._shown < 0.1 and n_done < self._n_total:
            self._last = n_done, objective
            return
        self._shown = now
        self._write(n_done, objective)

    def _write(self, n_done, objective):
        self._last = n_done, objective
        elapsed = time.perf_counter() - self._start
        sys.stderr.write(
            f"\r[{self._name}] {self._unit} {n_done}/{self._n_total}, "
            f"objective {objective:.6g}, {elapsed:.1f} s"
        )
        sys.stderr.flush()

    def close(self):
        """Show the last iteration and end the line."""
        if self._shown > -math.inf:
            self._write(*self._last)
            sys.stderr.write("\n")
            sys.stderr.flush()
