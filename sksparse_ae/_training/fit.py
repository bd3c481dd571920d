"""A training, from its plan to weights and curves.

The functions read the settings from an estimator and never change it: what they find
is what they return.
"""

import contextlib
import copy
import functools
import math
import numbers
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from .._engine.startup import starting_tensorflow
from .._network.blocks import Blocks
from .._network.evaluation import evaluate, fitted_attributes, least_loss
from .._network.problem import Problem
from .._network.reading import Rows, at_most, is_streamed, unweighted, weights_of
from .._network.remote import RemoteRows
from .._network.scaling import Moments
from .._network.statistics import explained_share, explained_share_of_loss
from .._network.thresholds import on_rows
from .._objective.objective import Losses
from .._utils.threads import single_blas_thread
from .._utils.versions import version_of
from .callbacks import IterationTasks
from .checkpoint import Checkpoint, fingerprint
from .executor import installed
from .loop import Course, run
from .monitor import HeldOut, Monitor, Progress, Weights
from .plan import EarlierFit, Plan
from .revival import Reviver
from .stream import Continuation

# Fitted curves that a continued training goes on with, if it has them.
CURVES = "loss_curve_", "validation_loss_curve_", "validation_scores_", "train_scores_"

# Rows, evenly spaced, on which a training looks whether its averaged weights improve.
WATCHED_ROWS = 10_000

# Rounding in float32 leaves this of the penalty, times beta and the number of units.
ROUNDED_PENALTY = 1e-7

# Rows of a call of ``partial_fit``, evenly spaced, that it is evaluated on.
PARTIALLY_EVALUATED_ROWS = 5_000

# Multiplications up to which that evaluation is left to one BLAS thread. The threads of
# OpenBLAS wait for more by spinning, 0.1 s into the next call: that is as much as one
# thread takes for these.
SINGLE_THREAD_PRODUCTS = 5e9


def find_checkpoint(estimator: Any, X: Rows, earlier: EarlierFit | None) -> Checkpoint:
    """Return where this training is saved, under a name that is its own."""
    values = estimator.get_params()
    # These change nothing of the training.
    for name in ("verbose", "checkpoint_dir", "client"):
        values.pop(name, None)
    if not isinstance(estimator.solver, str):
        with starting_tensorflow(to_train=True):
            from .._engine.optimizers import OptimizerSpec

        values["solver"] = repr(OptimizerSpec.from_solver(estimator.solver))
    from .. import __version__

    packages = ("tensorflow", "keras", "scikit-learn", "scipy", "numpy")
    versions = [*map(version_of, packages), __version__]
    state = [*earlier.parameters, earlier.continuation] if earlier else None
    # Rows that stream are held out and shuffled in another way.
    rows = unweighted(X)
    rows = rows.content() if isinstance(rows, Blocks | RemoteRows) else rows
    name = fingerprint(versions, values, rows, weights_of(X), is_streamed(X), state)
    return Checkpoint(estimator.checkpoint_dir, name)


def make_monitor(plan: Plan, estimator: Any, tasks: IterationTasks | None) -> Monitor:
    """Return what watches a training and tells the callbacks' tasks of it."""
    evaluate_held_out = look = progress = None
    if plan.X_held_out is not None:
        evaluate_held_out = _held_out_evaluation(plan)
    elif estimator.solver in ("adam", "sgd") and not plan.partial:
        look = functools.partial(plan.objective_of, n_rows=WATCHED_ROWS)
    if estimator.verbose and not plan.partial:
        progress = Progress(plan.step, plan.max_iter)
    architecture, coefficients, _ = plan.problem
    return Monitor(
        tol=estimator.tol,
        n_iter_no_change=estimator.n_iter_no_change,
        evaluate=evaluate_held_out,
        look=look,
        n_steps=plan.minibatches.batches_per_epoch if look else math.inf,
        negligible=ROUNDED_PENALTY * coefficients.beta * architecture.n_components,
        progress=progress,
        tasks=tasks,
    )


def _held_out_evaluation(plan: Plan) -> Callable[[Weights], HeldOut]:
    X, problem = plan.X_held_out, plan.problem
    score = _scoring(X, problem)

    def evaluate_held_out(weights: Weights) -> HeldOut:
        losses, *_ = evaluate(X, on_rows(weights, problem, plan.X), problem)
        return HeldOut(losses.objective, score(losses))

    return evaluate_held_out


def _scoring(
    X: Rows, problem: Problem, moments: Moments | None = None
) -> Callable[[Losses], float]:
    """Return how the losses on rows are scored, as ``score`` does it.

    ``moments`` are those of the rows, where they are known.
    """
    if problem.architecture.objective.loss.explains != "variance":
        least = least_loss(X, problem)
        return lambda losses: explained_share_of_loss(losses.reconstruction, least)
    whitens = problem.scaling.whitening is not None
    if moments is None:
        moments = Moments.of(X)
        if whitens:
            moments = moments.with_covariance(X)
    spread = problem.scaling.spread(moments)
    return lambda losses: explained_share(math.sqrt(losses.squared_error), spread)


def minimize(
    plan: Plan, estimator: Any, monitor: Monitor, checkpoint: Checkpoint | None
) -> tuple[Weights, bool, Continuation | None]:
    """Run the solver; return the weights, whether it converged, and what continues it.

    The weights are in the training's units; with held-out rows, the best on them.
    """
    if plan.earlier:
        monitor.begin_with(plan.weights)
    # A fit within this one, by a callback perhaps, must not wait for others.
    with contextlib.closing(monitor), installed(None) as executor:
        if executor is not None and _is_shareable(plan, estimator, monitor, checkpoint):
            weights, converged = executor.train(plan, monitor)
            engine = None
        else:
            course, engine = train(plan, monitor, checkpoint, estimator.tol)
            weights, converged = course.weights, course.converged
        monitor.tell_end(converged)
    continuation = None
    if plan.minibatches:
        keeps_state = plan.partial or estimator.warm_start
        continuation = _continuation(plan, monitor, engine, keeps_state)
    return monitor.best_weights or weights, converged, continuation


def train(
    plan: Plan,
    monitor: Monitor,
    checkpoint: Checkpoint | None = None,
    tol: Any = None,
    stop: threading.Event | None = None,
) -> tuple[Course, Any]:
    """Run one training; return its Course and the engine that took its steps.

    ``tol`` is that of "lbfgs", where the gradient ends a training; ``stop`` is as for
    ``run``.
    """
    reviver = reviver_of(plan)
    course = Course(
        monitor,
        copy.copy(plan.rate),
        plan.max_iter,
        rng=plan.minibatches and plan.rng,
        reviver=reviver,
        checkpoint=checkpoint,
    )
    # The solvers are imported where they are called: nothing else needs TensorFlow.
    with starting_tensorflow(to_train=True):
        if plan.minibatches:
            from .._engine.minibatch import MiniBatchEngine
        else:
            from .._engine.full_batch import FullBatchObjective
            from .lbfgs import LBFGS

    if plan.minibatches:
        engine = MiniBatchEngine([plan.minibatches])
        if reviver is not None:
            engine.check_units()
        if not plan.minibatches.optimizer.takes_rate and course.rate is not None:
            engine.set_learning_rate(course.rate)
        run([course], engine, stop)
        return course, engine
    # The products of L-BFGS itself are small. More threads would wait for them by
    # spinning and take the cores from the network: an evaluation then takes a third
    # longer.
    with single_blas_thread():
        X, problem, coordinates = plan.in_row_space()
        objective = FullBatchObjective(X, problem, plan.max_iter)
        minimisation = LBFGS(objective, plan.weights, tol, coordinates)
        run([course], minimisation, stop)
    monitor.slope = minimisation.largest_slope
    return course, minimisation


def reviver_of(plan: Plan) -> Reviver | None:
    """Return what looks after inactive units, if the plan wants it."""
    if not plan.revives:
        return None
    # With a copy, a training is as without where nothing is revived.
    return Reviver(plan.X, plan.problem, copy.deepcopy(plan.rng))


def _is_shareable(
    plan: Plan, estimator: Any, monitor: Monitor, checkpoint: Checkpoint | None
) -> bool:
    """Say whether a training by Adam is to give nothing but its weights.

    Its random state must be its own: others of the same seed take its place.
    """
    return (
        estimator.solver == "adam"
        and isinstance(estimator.random_state, numbers.Integral)
        and not (plan.partial or estimator.warm_start)
        and checkpoint is None
        and monitor.is_silent
    )


def _continuation(
    plan: Plan, monitor: Monitor, engine: Any, keeps_state: bool
) -> Continuation:
    """Return what a later training continues from; the state only if it is kept."""
    minibatches, n_epochs = plan.minibatches, len(monitor.losses)
    if engine is None:  # trained beside others, from the start
        n_batches = n_epochs * minibatches.batches_per_epoch
        n_rows = n_epochs * plan.X.shape[0]
    else:
        n_batches, n_rows = engine.n_batches, engine.n_rows
    continuation = Continuation(
        optimizer=minibatches.optimizer.kind,
        rate=plan.rate.rate if plan.rate.may_go_back else None,
        n_samples_seen=plan.moments.n_samples,
        deviations=plan.moments.deviations,
        n_batches=n_batches,
        n_rows=n_rows,
        n_observed=plan.moments.n_observed,
        covariance=plan.moments.covariance,
    )
    if not keeps_state:
        return continuation
    coordinates = minibatches.coordinates
    axes, spread = (
        None if array is None else array.astype(np.float32)
        for array in (coordinates.axes, coordinates.spread)
    )
    state = engine.state()._asdict()
    return continuation._replace(
        **state, axes=axes, spread=spread, random_state=plan.rng
    )


def attributes_of(plan: Plan, weights: Weights) -> dict:
    """Return the attributes of an estimator that a training has led to these weights.

    To evaluate all rows takes half as long as an epoch over them. After a call of
    ``partial_fit``, which others follow, some of the rows are enough.
    """
    X, parameters = plan.X, plan.problem.folded(weights)
    spread = None
    # The moments of values far out are no variance.
    if not (plan.partial or plan.problem.architecture.objective.loss.is_robust):
        spread = plan.problem.scaling.spread(plan.moments)
    with contextlib.ExitStack() as limits:
        recent = None
        if plan.partial:
            X = at_most(X, PARTIALLY_EVALUATED_ROWS)
            n_products = 2 * X.shape[0] * parameters.W1.size
            if n_products <= SINGLE_THREAD_PRODUCTS:
                limits.enter_context(single_blas_thread())
            recent = plan.earlier and plan.earlier.recent
        fitted = fitted_attributes(X, parameters, plan.problem, recent, spread)
    share = np.broadcast_to(plan.moments.observed_share, X.shape[1:])
    return {**fitted, "observed_share_": np.array(share)}


def training_curves(plan: Plan, monitor: Monitor) -> tuple[dict[str, list], Bunch]:
    """Return the curves by their names, and the terms that ``loss_curve_`` adds up."""
    losses = monitor.losses
    curves: dict[str, list] = {"loss_curve_": [own.objective for own in losses]}
    if plan.X_held_out is not None:
        score = _scoring(plan.X, plan.problem, plan.moments)
        curves |= {
            "validation_loss_curve_": [h.objective for h in monitor.held_out],
            "validation_scores_": [h.score for h in monitor.held_out],
            "train_scores_": [score(own) for own in losses],
        }
    names = ("reconstruction", "weight_decay", "sparsity")
    terms = {name: [getattr(own, name) for own in losses] for name in names}
    return curves, Bunch(**terms)
