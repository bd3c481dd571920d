"""The plan of a training: all that is decided before its first step."""

import copy
import math
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from .._engine.startup import starting_tensorflow
from .._engine.state import State
from .._network import reading
from .._network.autoencoder import Parameters
from .._network.coordinates import Coordinates, are_few_rows, may_turn, with_unit_rows
from .._network.evaluation import Recent, evaluate
from .._network.initialization import SAMPLE_ROWS, starting_weights
from .._network.merging import merged, n_repeated
from .._network.problem import Architecture, Problem, coefficients_of
from .._network.reading import Rows, is_streamed, part
from .._network.remote import RemoteRows
from .._network.scaling import Moments, Scaling
from .._network.thresholds import on_rows
from .._network.weighting import WeightedRows
from .._objective.losses import LOSSES
from .._objective.selections import SELECTIONS
from .monitor import Weights
from .rates import (
    ADAM_FALLS,
    SGD_MOMENTUM,
    AutomaticRate,
    FixedRate,
    automatic_rate,
    sampled_rows,
)
from .settings import FittedSettings, n_held_out, revives, rows_of_a_batch
from .stream import (
    LARGEST_STREAMED_BATCH,
    STREAMED_RATE,
    Continuation,
    has_new_axes,
    moments_of_stream,
    seeks_axes,
    stream_batch_size,
)


class EarlierFit(NamedTuple):
    """The fit that a training continues."""

    parameters: Parameters
    problem: Problem
    recent: Recent
    rho_hat: np.ndarray
    continuation: Continuation | None  # None if only the weights were kept


class Plan(NamedTuple):
    """What a call of ``fit`` or ``partial_fit`` has decided before its first step."""

    X: Rows  # to train on
    X_held_out: Rows | None
    moments: Moments  # of all rows that the training goes by
    problem: Problem
    weights: Weights  # to start from, in the training's units
    rng: np.random.RandomState
    earlier: EarlierFit | None
    partial: bool  # one epoch of ``partial_fit``
    step: str  # what the monitor is told of: "epoch" or "iteration"
    max_iter: int
    rate: FixedRate  # at its start: each training goes on with a copy
    revives: bool  # whether inactive units are started anew
    minibatches: Any = None  # MiniBatches, or None for "lbfgs"

    def objective_of(self, weights: Weights, n_rows: int) -> float:
        """Return the objective of weights on so many rows, evenly spaced, at most."""
        rows = reading.at_most(self.X, n_rows)
        network = on_rows(weights, self.problem, rows)
        losses, *_ = evaluate(rows, network, self.problem)
        return losses.objective

    def in_row_space(self) -> tuple[Rows, Problem, Coordinates | None]:
        """Return what "lbfgs" minimises, in the space of the rows if these are few.

        200 rows of 20 000 features are so 200 x 200. It needs what principal axes need
        (``_coordinates``), and weights that no other rows have left.
        """
        X, (architecture, coefficients, scaling) = self.X, self.problem
        if (
            self.earlier
            or architecture.has_missing
            or not _may_turn(self.problem)
            or not are_few_rows(X)
            or not _are_held(X)
            or isinstance(reading.unweighted(X), RemoteRows)
        ):
            return X, self.problem, None
        coordinates, rows = Coordinates.of_few_rows(X, scaling)
        rows, weights = rows.astype(X.dtype), reading.weights_of(X)
        n_axes = rows.shape[1]
        problem = Problem(
            architecture._replace(n_features=n_axes),
            coefficients,
            Scaling(np.zeros(n_axes), 1.0, linear_output=True),
        )
        given = rows if weights is None else WeightedRows(rows, weights)
        return given, problem, coordinates


def make_plan(
    estimator: Any, X: Rows, earlier: EarlierFit | None, *, partial: bool
) -> Plan:
    """Decide everything that comes before the first step."""
    past = earlier and earlier.continuation
    # A copy: a training that fails leaves the state to continue from as it was.
    rng = copy.deepcopy(past and past.random_state)
    rng = rng or check_random_state(estimator.random_state)
    X_held_out = None
    if not partial:
        X = _in_own_order(X, estimator)
    if estimator.early_stopping and not partial:
        # With a fixed seed, the samples that an earlier call has held out.
        split = check_random_state(estimator.random_state) if earlier else rng
        X, X_held_out = hold_out(X, estimator.validation_fraction, split)
    moments = Moments.of(X)
    moments.check_observed()
    has_missing, whitens = moments.n_observed is not None, estimator.scale == "whiten"
    if whitens and has_missing:
        raise ValueError(
            "scale='whiten' needs rows without missing values, as it mixes the "
            "features. X contains NaN: impute them, or use scale='auto'."
        )
    if whitens or (partial and not has_missing and seeks_axes(estimator, X, past)):
        moments = moments.with_covariance(X)
    if LOSSES[estimator.loss].is_robust:
        moments = moments.robust(X)
    follows = partial and past
    if earlier and past and partial:
        seen = Moments(
            earlier.problem.scaling.offset,
            past.deviations,
            past.n_samples_seen,
            past.n_observed,
            past.covariance,
        )
        moments, starts_afresh = moments_of_stream(moments, seen)
        earlier = None if starts_afresh else earlier
    # A stream is scaled by all of it that has been seen: a first piece may differ.
    own_scaling = scaling = Scaling.from_moments(
        moments,
        scale=estimator.scale,
        linear_output=estimator.output_activation == "linear",
        exponential_output=estimator.output_activation == "exponential",
    )
    if earlier and not follows:
        scaling = earlier.problem.scaling
    if earlier:
        rho_hat, weights = earlier.rho_hat, scaling.unfold(earlier.parameters.arrays)
        if estimator.sparsity in SELECTIONS:  # the scale may be another one
            weights = with_unit_rows(weights)
    else:
        weights, rho_hat = starting_weights(X, scaling, estimator, rng)
    fitted = FittedSettings.of(estimator)
    problem = Problem(
        Architecture.of(fitted, X.shape[1], X.dtype, has_missing),
        # In units of their own: data of another scale are no reason for another decay.
        coefficients_of(estimator, moments, own_scaling),
        scaling,
    )
    plan = Plan(
        X=X,
        X_held_out=X_held_out,
        moments=moments,
        problem=problem,
        weights=weights,
        rng=rng,
        earlier=earlier,
        partial=partial,
        step=fitted.step,
        max_iter=1 if partial else int(estimator.max_iter),
        rate=FixedRate(None, ends_at_plateau=estimator.early_stopping),
        revives=revives(estimator) and not partial and estimator.solver != "lbfgs",
    )
    if estimator.solver == "lbfgs":
        return plan
    return _with_minibatches(plan, estimator, rho_hat)


def _in_own_order(X: Rows, estimator: Any) -> Rows:
    """Return rows ``merged`` where no step takes some of them alone.

    Adam amplifies rounding. So a training on weighted rows is that on repeated rows
    only if it is so to the bit.
    """
    n_rows = n_repeated(X)
    whole = estimator.solver == "lbfgs" or n_rows <= rows_of_a_batch(
        estimator.batch_size, n_rows
    )
    return merged(X) if whole else X


def hold_out(
    X: Rows, validation_fraction: float, rng: np.random.RandomState
) -> tuple[Rows, Rows]:
    """Split the rows into those to train on and those to validate on."""
    # Of few distinct rows, one is left to train on.
    n_training = max(X.shape[0] - n_held_out(validation_fraction, X.shape[0]), 1)
    if is_streamed(X):
        return part(X, 0, n_training), part(X, n_training, X.shape[0])
    order = rng.permutation(X.shape[0])
    return X[np.sort(order[:n_training])], X[np.sort(order[n_training:])]


def _with_minibatches(plan: Plan, estimator: Any, rho_hat: np.ndarray) -> Plan:
    """Return a plan with how the engine is to take mini-batches, and the rate."""
    with starting_tensorflow(to_train=True):
        from .._engine.minibatch import MiniBatches
        from .._engine.optimizers import OptimizerSpec

    X, problem, partial = plan.X, plan.problem, plan.partial
    optimizer, own_rate = OptimizerSpec.from_solver(estimator.solver)
    if optimizer.averages_weights and (
        partial or estimator.warm_start or estimator.early_stopping or plan.revives
    ):
        raise ValueError(
            "A solver with use_ema=True cannot be combined with partial_fit, "
            "warm_start, early_stopping or revive, which a selection has by default: "
            "the averages replace the weights at the end. Set use_ema=False."
        )
    past = plan.earlier and plan.earlier.continuation
    if past is not None and past.optimizer != optimizer.kind:
        past = None
    n_rows = X.shape[0]
    if partial:
        # Weights count as repeated rows, but not as more than there are.
        n_rows += 0 if past is None else past.n_rows
        n_seen = min(math.ceil(plan.moments.n_samples), n_rows)
        batch_size = stream_batch_size(estimator.batch_size, n_seen)
    else:
        batch_size = min(rows_of_a_batch(estimator.batch_size, n_rows), n_rows)
    automatic = optimizer.takes_rate and estimator.learning_rate == "auto"
    is_sgd = estimator.solver == "sgd"
    start: Any = past and past.rate
    if is_sgd and past and past.weights is None:
        start = None  # that of a fit, which knew its rows
    rows = sampled_rows(X, problem) if automatic and not start else None
    # Rows that may yet come can vary along directions in which these do not.
    are_all = not (partial or estimator.warm_start)
    of_gradient = rows if is_sgd and are_all else None
    coordinates = _coordinates(plan, estimator, past, of_gradient)
    if of_gradient is not None and _bears_momentum(problem, estimator):
        optimizer = optimizer.with_momentum(SGD_MOMENTUM)
    if rows is not None:
        start = automatic_rate(rows, problem, coordinates, batch_size, is_sgd=is_sgd)
        start *= STREAMED_RATE if partial and coordinates.axes is not None else 1.0
    if automatic:
        objective = plan.objective_of(plan.weights, SAMPLE_ROWS)
        rate: FixedRate = AutomaticRate(start, objective)
    else:
        given = float(estimator.learning_rate) if optimizer.takes_rate else own_rate
        rate = FixedRate(given)
    is_adam = automatic and not is_sgd
    # A batch of all rows as they are has the mean itself. With a running one instead,
    # 40 tanh units on 20 rows were called converged 23 % above L-BFGS, as it had to
    # find the weights anew after each return of the training.
    knows_mean = not (partial or estimator.corruption) and batch_size == n_rows
    minibatches = MiniBatches(
        X=X,
        problem=problem,
        coordinates=coordinates,
        optimizer=optimizer,
        batch_size=batch_size,
        follows=problem.architecture.objective.penalty.acts
        and estimator.rho_hat == "running"
        and not knows_mean,
        shuffle=estimator.shuffle,
        falls=ADAM_FALLS if is_adam else 0.0,
        whole=min(batch_size, LARGEST_STREAMED_BATCH) if partial and is_adam else 1,
        rng=plan.rng,
        max_iter=plan.max_iter,
        state=_starting_state(plan, optimizer, coordinates, past, rho_hat),
        corruption=_corruption(estimator),
    )
    return plan._replace(minibatches=minibatches, rate=rate)


def _bears_momentum(problem: Problem, estimator: Any) -> bool:
    """Return whether "sgd" may swing: something holds units on, and no swing ends it.

    Without a penalty or a selection up to half of the units of small data died.
    """
    holds_units = problem.coefficients.beta > 0 or estimator.sparsity in SELECTIONS
    return holds_units and not estimator.early_stopping


def _corruption(estimator: Any) -> Any:
    if not estimator.corruption:
        return None
    from .._engine.streams import Corruption

    return Corruption(float(estimator.corruption), estimator.corruption_kind)


def _coordinates(
    plan: Plan,
    estimator: Any,
    past: Continuation | None,
    of_gradient: np.ndarray | None,
) -> Coordinates:
    """Return what the weights are moved in: principal axes, if they pay.

    They do for "adam", and where weights are moved by the gradient at a rate that is
    chosen for the rows ``of_gradient``.
    """
    X, (architecture, _, scaling) = plan.X, plan.problem
    coordinates = Coordinates.of_features(architecture.activation)
    # A rotation would spread over all axes what befalls single values.
    is_complete = not (architecture.has_missing or estimator.corruption)
    if (
        is_complete
        and past is not None
        and past.weights is not None
        and not (plan.partial and has_new_axes(X.shape[0], plan.moments, past))
    ):
        return coordinates._replace(axes=past.axes, spread=past.spread)
    pays = estimator.solver == "adam" or of_gradient is not None
    # Rows that are not held would be turned anew in each epoch.
    is_cheap = plan.max_iter == 1 or _are_held(X)
    if is_complete and pays and is_cheap and _may_turn(plan.problem):
        may_drop = not (plan.partial or estimator.warm_start)
        covariance = None
        if plan.partial and plan.moments.covariance is not None:
            covariance = scaling.covariance(plan.moments)  # of all rows of the stream
        coordinates = Coordinates.along_axes(
            X,
            scaling,
            architecture.activation,
            may_drop=may_drop,
            covariance=covariance,
        )
    if of_gradient is None:
        return coordinates
    return coordinates.for_gradients(of_gradient)


def _may_turn(problem: Problem) -> bool:
    """Return whether a rotation leaves the objective as it is."""
    loss = problem.architecture.objective.loss
    return may_turn(loss, linear_output=problem.scaling.linear_output)


def _are_held(X: Rows) -> bool:
    """Return whether a training holds the rows in memory."""
    return 4 * math.prod(X.shape) <= reading.BLOCK_BYTES


def _starting_state(
    plan: Plan,
    optimizer: Any,
    coordinates: Coordinates,
    past: Continuation | None,
    rho_hat: np.ndarray,
) -> State:
    """Return the state to begin or to continue with."""
    earlier, weights = plan.earlier, plan.weights
    if earlier is None:
        weights = coordinates.restricted(weights)
    if earlier is None or past is None or past.weights is None:
        state = State(coordinates.enter(weights), rho_hat)
        if past is None:
            return state
        return state._replace(n_batches=past.n_batches, n_rows=past.n_rows)
    state = State(*(getattr(past, name) for name in State._fields))
    before, scaling = earlier.problem.scaling, plan.problem.scaling
    left = coordinates._replace(axes=past.axes, spread=past.spread)
    if coordinates.axes is past.axes:
        if scaling.is_same(before):
            return state
    elif state.optimizer_variables is not None:
        # What the optimizer keeps is of other coordinates. With axes it is "adam".
        turned = None
        if coordinates.axes is not None and past.axes is not None:
            turned = optimizer.with_moments(
                state.optimizer_variables,
                lambda means: coordinates.turned_gradients(means, left),
                lambda squares: coordinates.turned_squares(squares, left),
            )
        state = state._replace(optimizer_variables=turned)

    def restated(weights: Weights) -> Weights:
        weights = scaling.unfold(before.fold(left.leave(weights)))
        if plan.problem.architecture.sparsity in SELECTIONS:
            weights = with_unit_rows(weights)
        return coordinates.enter(weights)

    average = state.average and restated(state.average)
    return state._replace(weights=restated(state.weights), average=average)
