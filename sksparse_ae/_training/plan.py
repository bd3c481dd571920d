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
from .._network.coordinates import Coordinates
from .._network.evaluation import Recent, evaluate
from .._network.initialization import SAMPLE_ROWS, starting_weights
from .._network.problem import Architecture, Problem, coefficients_of
from .._network.reading import is_streamed
from .._network.scaling import Moments, Scaling
from .rates import ADAM_FALLS, AutomaticRate, FixedRate, automatic_rate
from .settings import FittedSettings, n_held_out, rows_of_a_batch

# A stream may be one set of rows, again and again: batches grow with the rows that have
# come over so many passes.
STREAMED_PASSES = 4

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

    Attributes
    ----------
    optimizer : str
    rate : float or None
        At which an automatic rate started.
    n_samples_seen : int
        Rows of all calls of ``partial_fit``.
    deviations : ndarray of shape (n_features,)
        Standard deviations of their columns.
    n_batches, weights, statistic, average, optimizer_variables
        The ``State``.
    axes, spread : ndarray or None
        The ``Coordinates`` that it is in.
    random_state : RandomState
        Of the order of the rows.
    """

    optimizer: str
    rate: float | None
    n_samples_seen: int
    deviations: np.ndarray
    n_batches: float
    weights: list | None = None
    statistic: np.ndarray | None = None
    average: list | None = None
    optimizer_variables: list | None = None
    axes: np.ndarray | None = None
    spread: np.ndarray | None = None
    random_state: np.random.RandomState | None = None

    @property
    def state(self):
        """The state of the training."""
        return State(*(getattr(self, name) for name in State._fields))

    def without_weights(self):
        """Return what is left for weights that this training has not led to."""
        return Continuation(*self[: self._fields.index("weights")])


class EarlierFit(NamedTuple):
    """The fit that a training continues.

    Attributes
    ----------
    parameters : Parameters
    problem : Problem
    recent : Recent
    rho_hat : ndarray of shape (n_components,)
    continuation : Continuation or None
        None if only the weights were kept.
    """

    parameters: Parameters
    problem: Problem
    recent: Recent
    rho_hat: np.ndarray
    continuation: Continuation | None

    @property
    def can_go_on(self):
        """Whether the state of the training was kept, too."""
        return self.continuation is not None and self.continuation.weights is not None

    @property
    def moments(self):
        """Those of all rows that ``partial_fit`` has seen."""
        seen = self.continuation
        offset = self.problem.scaling.offset
        return Moments(offset, seen.deviations, seen.n_samples_seen)


class Plan(NamedTuple):
    """What a call of ``fit`` or ``partial_fit`` has decided before its first step.

    Attributes
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The rows to train on.
    X_held_out : {ndarray, CSR matrix} or None
    moments : Moments
        Of all rows that the training goes by.
    problem : Problem
    weights : list of ndarray
        To start from, in the training's units.
    rng : RandomState
    earlier : EarlierFit or None
        The fit that is continued.
    partial : bool
        Whether it is one epoch of ``partial_fit``.
    step : {"epoch", "iteration"}
        What the monitor is told of.
    max_iter : int
    minibatches : MiniBatches or None
        How the engine takes mini-batches; None for "lbfgs".
    rate : FixedRate or AutomaticRate
        At its start; see ``new_rate``.
    """

    X: Any
    X_held_out: Any
    moments: Moments
    problem: Problem
    weights: list
    rng: np.random.RandomState
    earlier: EarlierFit | None
    partial: bool
    step: str
    max_iter: int
    minibatches: Any
    rate: FixedRate

    def new_rate(self):
        """Return the rate of a training that begins."""
        return copy.copy(self.rate)

    def objective_of(self, weights, n_rows):
        """Return the objective of weights on so many rows, evenly spaced, at most."""
        rows = self.X[:: -(-self.X.shape[0] // n_rows)]
        folded = self.problem.folded(weights)
        return evaluate(rows, folded, self.problem).losses.objective


def make_plan(settings, X, earlier, *, partial):
    """Decide everything that comes before the first step.

    Parameters
    ----------
    settings : SparseAutoencoderTransformer
        Whose parameters are read.
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
    earlier : EarlierFit or None
    partial : bool
        Whether the training is one epoch of ``partial_fit``.

    Returns
    -------
    plan : Plan
    """
    # A copy: a training that fails leaves the state to continue from as it was.
    rng = (
        copy.deepcopy(earlier.continuation.random_state)
        if earlier and earlier.can_go_on
        else check_random_state(settings.random_state)
    )
    X_held_out = None
    if settings.early_stopping and not partial:
        # With a fixed seed, the samples that an earlier call has held out.
        split = check_random_state(settings.random_state) if earlier else rng
        X, X_held_out = hold_out(X, settings.validation_fraction, split)
    moments = Moments.of(X)
    follows = partial and earlier and earlier.continuation
    if follows:
        moments, earlier = _moments_of_stream(moments, earlier)
    scaling = earlier.problem.scaling if earlier else None
    if scaling is None or follows:
        # A stream is scaled by all of it that has been seen: a first piece may differ.
        scaling = Scaling.from_moments(
            moments,
            scale=settings.scale == "auto",
            linear_output=settings.output_activation == "linear",
        )
    if earlier:
        rho_hat, weights = earlier.rho_hat, scaling.unfold(earlier.parameters)
    else:
        weights, rho_hat = starting_weights(X, scaling, settings, rng)
    fitted = FittedSettings.of(settings)
    problem = Problem(
        Architecture.of(fitted, X.shape[1], X.dtype),
        coefficients_of(
            settings, moments, scaling, earlier and earlier.problem.coefficients
        ),
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
        max_iter=1 if partial else int(settings.max_iter),
        minibatches=None,
        rate=FixedRate(None, ends_at_plateau=settings.early_stopping),
    )
    if settings.solver == "lbfgs":
        return plan
    return _with_minibatches(plan, settings, rho_hat)


def hold_out(X, validation_fraction, rng):
    """Split the rows into those to train on and those to validate on."""
    n_training = X.shape[0] - n_held_out(validation_fraction, X.shape[0])
    if is_streamed(X):
        return X[:n_training], X[n_training:]
    order = rng.permutation(X.shape[0])
    return X[np.sort(order[:n_training])], X[np.sort(order[n_training:])]


def _moments_of_stream(own, earlier):
    """Return the moments of a stream with another call, and what the call continues.

    Rows that spread far more than those before are taken in the units of those if they
    are few; if not, training starts afresh.
    """
    past, moments = earlier.moments, earlier.moments.joined_with(own)
    if moments.deviation <= MOST_GROWTH * past.deviation:
        return moments, earlier
    if own.n_samples < LEAST_EVIDENCE * past.n_samples:
        moments, consequence = past, "they are taken in the units of those"
    else:
        earlier, consequence = None, "training starts afresh"
    if own.n_samples < past.n_samples and past.deviation > 0:
        distance = np.linalg.norm(own.offset - past.offset) / math.sqrt(len(own.offset))
        times = math.hypot(own.deviation, distance) / past.deviation
        warnings.warn(
            f"The rows of this call lie {times:.3g} times as far from the mean as the "
            f"{past.n_samples} before: {consequence}. Scale all parts alike "
            "(StandardScaler), or leave out rows that are broken.",
            stacklevel=6,
        )
    return moments, earlier


def _with_minibatches(plan, settings, rho_hat):
    """Return a plan with how the engine is to take mini-batches, and the rate."""
    with starting_tensorflow(to_train=True):
        from .._engine.minibatch import MiniBatches
        from .._engine.optimizers import OptimizerSpec

    X, problem, partial = plan.X, plan.problem, plan.partial
    optimizer, rate = OptimizerSpec.from_solver(settings.solver)
    if optimizer.averages_weights and (
        partial or settings.warm_start or settings.early_stopping or settings.revive
    ):
        raise ValueError(
            "A solver with use_ema=True cannot be combined with partial_fit, "
            "warm_start, early_stopping or revive: the averages replace the "
            "weights at the end. Set use_ema=False."
        )
    past = plan.earlier and plan.earlier.continuation
    if past is not None and past.optimizer != repr(optimizer):
        past = None
    kept = past if past is not None and past.weights is not None else None
    coordinates = _coordinates(plan, settings, kept)
    automatic = optimizer.takes_rate and settings.learning_rate == "auto"
    if automatic:
        rate = past and past.rate
        rate = rate or automatic_rate(X, problem, coordinates, is_sgd=optimizer.is_sgd)
    elif optimizer.takes_rate:
        rate = float(settings.learning_rate)
    n_rows = most = X.shape[0]
    if partial:
        n_seen = plan.moments.n_samples
        n_rows = n_seen // STREAMED_PASSES
        # Rows of a stream count alike in pieces of any size, smaller ones, too.
        most = max(1 << (n_seen - 1).bit_length(), LEAST_STREAMED_BATCH)
    minibatches = MiniBatches(
        X=X,
        problem=problem,
        coordinates=coordinates,
        optimizer=optimizer,
        batch_size=min(rows_of_a_batch(settings.batch_size, n_rows), most),
        follows=settings.rho_hat == "running",
        shuffle=settings.shuffle,
        falls=0.0 if optimizer.is_sgd or not automatic else ADAM_FALLS,
        rng=plan.rng,
        max_iter=plan.max_iter,
        state=_starting_state(plan, coordinates, kept, rho_hat, past),
    )
    if automatic:
        rate = AutomaticRate(rate, plan.objective_of(plan.weights, SAMPLE_ROWS))
    else:
        rate = FixedRate(rate)
    return plan._replace(minibatches=minibatches, rate=rate)


def _coordinates(plan, settings, kept):
    """Return what the weights are moved in: for "adam", principal axes if they pay."""
    X, (architecture, _, scaling) = plan.X, plan.problem
    features = Coordinates.of_features(architecture.activation)
    if kept is not None:
        return features._replace(axes=kept.axes, spread=kept.spread)
    if settings.solver != "adam" or not scaling.linear_output:
        return features
    continues = plan.partial or settings.warm_start
    # Rows that are not held would be turned anew in each epoch.
    if plan.max_iter > 1 and 4 * math.prod(X.shape) > reading.BLOCK_BYTES:
        return features
    return Coordinates.along_axes(
        X, scaling, architecture.activation, may_drop=not continues
    )


def _starting_state(plan, coordinates, kept, rho_hat, past):
    """Return the state to begin or to continue with."""
    if kept is None:
        weights = plan.weights
        if plan.earlier is None:
            weights = coordinates.restricted(weights)
        n_batches = 0.0 if past is None else past.n_batches
        return State(coordinates.enter(weights), rho_hat, n_batches=n_batches)
    state, scaling = kept.state, plan.problem.scaling
    before = plan.earlier.problem.scaling
    if scaling.equals(before):
        return state

    def restated(weights):
        weights = scaling.unfold(before.fold(coordinates.leave(weights)))
        return coordinates.enter(weights)

    average = state.average and restated(state.average)
    return state._replace(weights=restated(state.weights), average=average)
