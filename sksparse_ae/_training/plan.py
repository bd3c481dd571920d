"""The plan of a training: all that is decided before its first step."""

import copy
import math
import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from .._engine.startup import starting_tensorflow
from .._engine.state import State
from .._network import reading
from .._network.autoencoder import Parameters
from .._network.coordinates import Coordinates, are_few_rows, with_unit_rows
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
    AutomaticRate,
    FixedRate,
    automatic_rate,
    sampled_rows,
)
from .settings import (
    LARGEST_BATCH,
    FittedSettings,
    n_held_out,
    revives,
    rows_of_a_batch,
)

# A stream may be one set of rows, again and again: batches grow with the rows that have
# come over so many passes, up to a size. With 256 rows, eight passes over 10 000
# patches ended 4 to 5 % above a fit of eight epochs, whose batches have 128 rows; with
# 128 it is 1 to 2.5 %. Over 8 passes instead of 4, digits in pieces of 100 rows ended
# 2 % above it instead of at it.
STREAMED_PASSES = 4
LARGEST_STREAMED_BATCH = 128

# A batch of a stream may be as large as the power of two above all rows that have come,
# and as this: few sizes, as each makes a program of its own.
LEAST_STREAMED_BATCH = 32

# How many times as far as before all rows of a stream may spread after another call. In
# units that grow by more, the inputs of the units are so large that they are always on
# or always off.
MOST_GROWTH = 2

# Fewer rows than this share of those before do not show that it is so.
LEAST_EVIDENCE = 1 / 20


class Continuation(NamedTuple):
    """What continues a training by mini-batches, beside the fitted attributes.

    After a ``fit`` without ``warm_start`` it is a few numbers, and all from ``weights``
    on is None.
    """

    optimizer: str
    rate: float | None  # at which an automatic rate started
    # Rows of all calls of ``partial_fit``, and standard deviations of their columns.
    n_samples_seen: float
    deviations: np.ndarray
    # The ``State``, the ``Coordinates`` that it is in, and the order of the rows.
    n_batches: float
    n_observed: np.ndarray | None = None  # of those rows, as ``Moments`` have it
    covariance: np.ndarray | None = None  # of these rows, with scale="whiten"
    weights: Weights | None = None
    statistic: np.ndarray | None = None
    average: Weights | None = None
    optimizer_variables: list | None = None
    axes: np.ndarray | None = None
    spread: np.ndarray | None = None
    random_state: np.random.RandomState | None = None

    def without_weights(self) -> "Continuation":
        """Return it without the state, for weights that come from elsewhere."""
        given: Any = self[: self._fields.index("weights")]
        return Continuation(*given)


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
    moments = Moments.of(X, with_covariance=estimator.scale == "whiten")
    moments.check_observed()
    has_missing = moments.n_observed is not None
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
        moments, starts_afresh = _moments_of_stream(moments, seen)
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


def _moments_of_stream(own: Moments, past: Moments) -> tuple[Moments, bool]:
    """Return the moments of a stream with another call, and whether that starts afresh.

    Rows that spread far more than those before are taken in the units of those if they
    are few; if not, training starts afresh.
    """
    moments = past.joined_with(own)
    if moments.deviation <= MOST_GROWTH * past.deviation:
        return moments, False
    starts_afresh, consequence = True, "training starts afresh"
    if own.n_samples < LEAST_EVIDENCE * past.n_samples:
        moments, starts_afresh = past, False
        consequence = "they are taken in the units of those"
    if own.n_samples < past.n_samples and past.deviation > 0:
        distance = np.linalg.norm(own.offset - past.offset) / math.sqrt(len(own.offset))
        times = math.hypot(own.deviation, distance) / past.deviation
        warnings.warn(
            f"The rows of this call lie {times:.3g} times as far from the mean as the "
            f"{past.n_samples} before: {consequence}. Scale all parts alike "
            "(StandardScaler), or leave out rows that are broken.",
            stacklevel=6,
        )
    return moments, starts_afresh


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
    if past is not None and past.optimizer != repr(optimizer):
        past = None
    batch_size = _batch_size(plan, estimator)
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
    if rows is not None:
        start = automatic_rate(rows, problem, coordinates, batch_size, is_sgd=is_sgd)
    if automatic:
        lowest = plan.objective_of(plan.weights, SAMPLE_ROWS)
        rate: FixedRate = AutomaticRate(start, lowest)
    else:
        given = float(estimator.learning_rate) if optimizer.takes_rate else own_rate
        rate = FixedRate(given)
    minibatches = MiniBatches(
        X=X,
        problem=problem,
        coordinates=coordinates,
        optimizer=optimizer,
        batch_size=batch_size,
        follows=problem.architecture.objective.penalty.acts
        and estimator.rho_hat == "running",
        shuffle=estimator.shuffle,
        falls=ADAM_FALLS if automatic and not is_sgd else 0.0,
        rng=plan.rng,
        max_iter=plan.max_iter,
        state=_starting_state(plan, coordinates, past, rho_hat),
        corruption=_corruption(estimator),
    )
    return plan._replace(minibatches=minibatches, rate=rate)


def _batch_size(plan: Plan, estimator: Any) -> int:
    """Return how many rows a batch has; in a stream, by the rows that have come."""
    n_rows = most = plan.X.shape[0]
    largest = LARGEST_BATCH
    if plan.partial:
        n_seen = math.ceil(plan.moments.n_samples)
        n_rows, largest = n_seen // STREAMED_PASSES, LARGEST_STREAMED_BATCH
        # Rows of a stream count alike in pieces of any size, smaller ones, too.
        most = max(1 << (n_seen - 1).bit_length(), LEAST_STREAMED_BATCH)
    return min(rows_of_a_batch(estimator.batch_size, n_rows, largest), most)


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
    if is_complete and past is not None and past.weights is not None:
        return coordinates._replace(axes=past.axes, spread=past.spread)
    pays = estimator.solver == "adam" or of_gradient is not None
    # Rows that are not held would be turned anew in each epoch.
    is_cheap = plan.max_iter == 1 or _are_held(X)
    if is_complete and pays and is_cheap and _may_turn(plan.problem):
        may_drop = not (plan.partial or estimator.warm_start)
        coordinates = Coordinates.along_axes(
            X, scaling, architecture.activation, may_drop=may_drop
        )
    if of_gradient is None:
        return coordinates
    return coordinates.for_gradients(of_gradient)


def _may_turn(problem: Problem) -> bool:
    """Return whether a rotation leaves the objective as it is."""
    loss = problem.architecture.objective.loss
    return problem.scaling.linear_output and loss.is_rotation_invariant


def _are_held(X: Rows) -> bool:
    """Return whether a training holds the rows in memory."""
    return 4 * math.prod(X.shape) <= reading.BLOCK_BYTES


def _starting_state(
    plan: Plan, coordinates: Coordinates, past: Continuation | None, rho_hat: np.ndarray
) -> State:
    """Return the state to begin or to continue with."""
    earlier, weights = plan.earlier, plan.weights
    if earlier is None:
        weights = coordinates.restricted(weights)
    if earlier is None or past is None or past.weights is None:
        n_batches = 0.0 if past is None else past.n_batches
        return State(coordinates.enter(weights), rho_hat, n_batches=n_batches)
    state = State(*(getattr(past, name) for name in State._fields))
    before, scaling = earlier.problem.scaling, plan.problem.scaling
    is_along_axes = past.axes is not None
    stays = is_along_axes == (coordinates.axes is not None)
    if not stays:
        # What the optimizer keeps is of other coordinates.
        state = state._replace(optimizer_variables=None)
    elif scaling.is_same(before):
        return state
    left = coordinates._replace(axes=past.axes, spread=past.spread)

    def restated(weights: Weights) -> Weights:
        weights = scaling.unfold(before.fold(left.leave(weights)))
        if plan.problem.architecture.sparsity in SELECTIONS:
            weights = with_unit_rows(weights)
        return coordinates.enter(weights)

    average = state.average and restated(state.average)
    return state._replace(weights=restated(state.weights), average=average)
