"""Full-batch training: SciPy's L-BFGS over one compiled value and gradient."""

import math
import warnings

import numpy as np
from scipy.optimize import minimize

from .._engine.full_batch import N_TERMS, FullBatchObjective
from .._network.validation import NotFinite
from .._utils.threads import single_blas_thread
from .monitor import Losses

# The course keeps 100. SciPy's own work for a step grows with their number: on digits
# with 200 units, 50 take 1.9 times as long as 10 and end 0.3 % lower after 200 steps.
N_CORRECTIONS = 10


def minimize_objective(
    X, weights, *, problem, max_iter, tol, monitor, stop_on_stall, log
):
    """Minimise the objective by L-BFGS.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The data as given; its dtype is that of the computation.
    weights : list of ndarray
        W1, b1, W2, b2 in the training's units, to start from.
    problem : Problem
    max_iter : int
    tol : float
        The largest component of the gradient at which to stop.
    monitor : Monitor
        Told of every iteration.
    stop_on_stall : bool
        Whether to stop where the monitor sees no improvement.
    log : EvaluationLog or None
        What earlier attempts at this training have evaluated.

    Returns
    -------
    weights : list of ndarray
    converged : bool
        Whether the training ended for another reason than the number of iterations.
    """
    evaluate_at = objective = FullBatchObjective(X, problem, max_iter)
    program, start = objective.program, objective.program.flatten(weights)
    if log is not None:
        evaluate_at = log.replaying(objective, N_TERMS, start.size, X.dtype)
    last, losses_at = start, {}  # of the latest iteration: a line search takes several

    def function(vector):
        monitor.begin_iteration()
        (*terms, decay), gradient = evaluate_at(vector)
        losses = Losses.from_terms(terms, decay)
        losses_at[losses.objective] = losses
        return losses.objective, gradient.astype(np.float64)

    def on_iteration(intermediate_result):
        nonlocal last
        last = intermediate_result.x.copy()
        value = float(intermediate_result.fun)
        losses = losses_at.get(value) or Losses(value, 0.0, 0.0, math.nan)  # not finite
        losses_at.clear()
        monitor.update(losses, lambda: program.split(last))
        if monitor.stop_requested or (stop_on_stall and monitor.stalled):
            raise StopIteration

    # L-BFGS's own products are small; more threads would wait for them by spinning, and
    # take the cores from the network: an evaluation then takes a third longer.
    with single_blas_thread():
        monitor.start()
        try:
            result = minimize(
                function,
                start,
                jac=True,
                method="L-BFGS-B",
                callback=on_iteration,
                options={
                    "maxiter": max_iter,
                    "maxfun": np.inf,
                    "maxcor": N_CORRECTIONS,
                    "gtol": tol,
                },
            )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=2)
            monitor.interrupted = True
            return program.split(last), True
        finally:
            if log is not None:
                log.close()
    if not np.isfinite(result.fun):
        raise NotFinite("The objective is not finite at the start of the training.")
    if result.status == 2:
        monitor.failure = f"L-BFGS ended early: {result.message}."
    # Status 1 is the limit of iterations; 99 a stop that the monitor asked for.
    return program.split(result.x), result.status not in (1, 2)
