"""A training, from a start on data to weights and curves.

The functions read the settings from an estimator and never change it: what they find
is what they return.
"""

import contextlib
import copy
import importlib.metadata
import math
import numbers
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch, check_random_state

from .._engine.startup import starting_tensorflow
from .._network import reading
from .._network.autoencoder import Parameters
from .._network.coordinates import Coordinates
from .._network.evaluation import Recent, evaluate, fitted_attributes
from .._network.initialization import SAMPLE_ROWS, standardized_sample, starting_weights
from .._network.problem import Architecture, Penalties, Problem, automatic_penalties
from .._network.reading import is_streamed
from .._network.scaling import Moments, Scaling
from .._network.statistics import explained_share
from .._utils.threads import single_blas_thread
from .checkpoint import Checkpoint, EvaluationLog, fingerprint
from .executor import suspended
from .monitor import HeldOut, Monitor, Progress
from .revival import Reviver
from .settings import FittedSettings, n_held_out, rows_of_a_batch

# Fitted curves that a continued training goes on with, if it has them.
CURVES = (
    "loss_curve_",
    "validation_loss_curve_",
    "validation_scores_",
    "train_scores_",
)

# A stream may be one set of rows, again and again: batches grow with the rows that have
# come over so many passes.
STREAMED_PASSES = 4

# A batch of a stream may be as large as the power of two above all rows that have come,
# and as this: few sizes, as each makes a program of its own.
LEAST_STREAMED_BATCH = 32

# Rows, evenly spaced, on which a training looks whether its averaged weights improve.
WATCHED_ROWS = 10_000

# Times beta and the number of units: what rounding in float32 leaves of the penalty.
ROUNDED_PENALTY = 1e-7

# Rows of a call of ``partial_fit``, evenly spaced, that it is evaluated on.
PARTIALLY_EVALUATED_ROWS = 5_000

# Multiplications up to which that evaluation is left to one BLAS thread. The threads of
# OpenBLAS wait for more by spinning, 0.1 s into the next call: that is as much as one
# thread takes for these.
SINGLE_THREAD_PRODUCTS = 5e9

# How many times as far as before all rows of a stream may spread after another call. In
# units that grow by more, the inputs of the units are so large that they are always on
# or always off.
MOST_GROWTH = 2

# Fewer rows than this share of those before do not show that it is so.
LEAST_EVIDENCE = 1 / 20

# Parameters that do not change what a training computes.
NOT_OF_THE_TRAINING = ("verbose", "checkpoint_dir")


class Continuation(NamedTuple):
    """What continues a training by mini-batches, beside the fitted attributes.

    After a ``fit`` without ``warm_start`` it is a few numbers, and the arrays and the
    random state are None.

    Attributes
    ----------
    optimizer : str
    weights : list of ndarray
        W1, b1, W2, b2 of the latest step, in the units of the training; the fitted
        ones are their average.
    optimizer_variables : list of ndarray
    rho_hat : ndarray of shape (n_components,)
    n_batches : float
    rate : float or None
        At which an automatic rate started.
    axes, spread : ndarray or None
        The ``Coordinates`` of the optimizer's variables.
    random_state : RandomState
    n_samples_seen : int
        Rows of all calls of ``partial_fit``.
    deviations : ndarray of shape (n_features,)
        Standard deviations of their columns.
    """

    optimizer: str
    weights: list
    optimizer_variables: list
    rho_hat: np.ndarray
    n_batches: float
    rate: float | None
    axes: np.ndarray | None
    spread: np.ndarray | None
    random_state: np.random.RandomState
    n_samples_seen: int
    deviations: np.ndarray

    def without_weights(self):
        """Return what is left for weights that this training has not led to."""
        return self._replace(
            weights=None,
            optimizer_variables=None,
            rho_hat=None,
            axes=None,
            spread=None,
            random_state=None,
        )


class EarlierFit(NamedTuple):
    """The fit that a training continues.

    Attributes
    ----------
    parameters : Parameters
    scaling : Scaling
    rho_hat : ndarray of shape (n_components,)
    penalties : Penalties
    recent : Recent
    continuation : Continuation or None
        None if only the weights were kept.
    """

    parameters: Parameters
    scaling: Scaling
    rho_hat: np.ndarray
    penalties: Penalties
    recent: Recent
    continuation: Continuation | None

    @property
    def can_go_on(self):
        """Whether the state of the training was kept, too."""
        return self.continuation is not None and self.continuation.weights is not None

    @property
    def moments(self):
        """Those of all rows that ``partial_fit`` has seen."""
        seen = self.continuation
        return Moments(self.scaling.offset, seen.deviations, seen.n_samples_seen)


class Training(NamedTuple):
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
    rho_hat : ndarray of shape (n_components,)
        Mean activations at the start.
    rng : RandomState
    earlier : EarlierFit or None
        The fit that is continued.
    partial : bool
        Whether it is one epoch of ``partial_fit``.
    unit : {"epoch", "iteration"}
        What an iteration is called.
    max_iter : int
    """

    X: np.ndarray
    X_held_out: np.ndarray | None
    moments: Moments
    problem: Problem
    weights: list
    rho_hat: np.ndarray
    rng: np.random.RandomState
    earlier: EarlierFit | None
    partial: bool
    unit: str
    max_iter: int

    @property
    def continuation(self):
        """What continues the state of an earlier training, or None."""
        return self.earlier and self.earlier.continuation

    def fitted_attributes(self, weights):
        """Return the attributes of an estimator fitted to ``X`` with the weights.

        To evaluate all rows takes half as long as an epoch over them. After one, which
        is followed by others, some tell enough.
        """
        (architecture, penalties, scaling), X = self.problem, self.X
        parameters = self.problem.folded(weights)
        with contextlib.ExitStack() as limits:
            if self.partial:
                X = X[:: -(-X.shape[0] // PARTIALLY_EVALUATED_ROWS)]
                n_products = 2 * X.shape[0] * parameters.W1.size
                if n_products <= SINGLE_THREAD_PRODUCTS:
                    limits.enter_context(single_blas_thread())
            recent = self.earlier.recent if self.partial and self.earlier else None
            return fitted_attributes(
                X, parameters, architecture.loss, penalties, scaling, recent
            )


def prepare(settings, X, earlier, *, partial):
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
    training : Training
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
    moments = own = Moments.of(X)
    follows = partial and earlier and earlier.continuation
    if follows:
        past, moments = earlier.moments, earlier.moments.joined_with(own)
        if moments.deviation > MOST_GROWTH * past.deviation:
            if own.n_samples < LEAST_EVIDENCE * past.n_samples:
                moments, consequence = past, "they are taken in the units of those"
            else:
                earlier, consequence = None, "training starts afresh"
            if own.n_samples < past.n_samples and past.deviation > 0:
                _warn_of_growth(own, past, consequence)
    if earlier:
        # A stream is scaled by all of it that has been seen: a first piece may differ.
        scaling = _scaling(moments, settings) if follows else earlier.scaling
        rho_hat, weights = earlier.rho_hat, scaling.unfold(earlier.parameters)
    else:
        scaling = _scaling(moments, settings)
        weights, rho_hat = starting_weights(X, scaling, settings, rng)
    architecture = Architecture(
        X.shape[1],
        int(settings.n_components),
        settings.activation,
        settings.output_activation,
        settings.loss,
        X.dtype.name,
    )
    penalties = Penalties.of(
        settings,
        lambda: (
            earlier.penalties
            if earlier
            else automatic_penalties(moments, scaling, settings)
        ),
    )
    return Training(
        X=X,
        X_held_out=X_held_out,
        moments=moments,
        problem=Problem(architecture, penalties, scaling),
        weights=weights,
        rho_hat=rho_hat,
        rng=rng,
        earlier=earlier,
        partial=partial,
        unit=FittedSettings.of(settings).step,
        max_iter=1 if partial else int(settings.max_iter),
    )


def _warn_of_growth(own, past, consequence):
    distance = np.linalg.norm(own.offset - past.offset) / math.sqrt(len(own.offset))
    times = math.hypot(own.deviation, distance) / past.deviation
    warnings.warn(
        f"The rows of this call lie {times:.3g} times as far from the mean as the "
        f"{past.n_samples} before: {consequence}. Scale all parts alike "
        "(StandardScaler), or leave out rows that are broken.",
        stacklevel=6,
    )


def _scaling(moments, settings):
    return Scaling.from_moments(
        moments,
        scale=settings.scale == "auto",
        linear_output=settings.output_activation == "linear",
    )


def hold_out(X, validation_fraction, rng):
    """Split the rows into those to train on and those to validate on."""
    n_training = X.shape[0] - n_held_out(validation_fraction, X.shape[0])
    if is_streamed(X):
        return X[:n_training], X[n_training:]
    order = rng.permutation(X.shape[0])
    return X[np.sort(order[:n_training])], X[np.sort(order[n_training:])]


def find_checkpoint(settings, X, earlier):
    """Return where this training is saved, under a name that is its own."""
    values = {
        name: repr(value) if name == "solver" else value
        for name, value in settings.get_params().items()
        if name not in NOT_OF_THE_TRAINING
    }
    if not isinstance(settings.solver, str):
        with starting_tensorflow(to_train=True):
            from .._engine.optimizers import OptimizerSpec

        values["solver"] = repr(OptimizerSpec.from_solver(settings.solver))
    from .. import __version__

    packages = ("tensorflow", "keras", "scikit-learn", "scipy", "numpy")
    versions = [importlib.metadata.version(package) for package in packages]
    versions.append(__version__)
    state = [*earlier.parameters, earlier.continuation] if earlier else None
    # Rows that stream are held out and shuffled in another way.
    name = fingerprint(versions, values, X, is_streamed(X), state)
    kind = EvaluationLog if settings.solver == "lbfgs" else Checkpoint
    return kind(settings.checkpoint_dir, name)


def make_monitor(training, settings, tasks):
    """Return what watches the training; ``tasks`` are its callbacks, or None."""
    evaluate_held_out, look, progress = None, None, None
    if training.X_held_out is not None:
        evaluate_held_out = _held_out_evaluation(training)
    elif settings.solver in ("adam", "sgd") and not training.partial:
        look = _objective_on(training, WATCHED_ROWS)
    if settings.verbose and not training.partial:
        progress = Progress(training.unit, training.max_iter)
    return Monitor(
        tol=settings.tol,
        n_iter_no_change=settings.n_iter_no_change,
        evaluate=evaluate_held_out,
        look=look,
        negligible=(
            ROUNDED_PENALTY
            * training.problem.penalties.beta
            * training.problem.architecture.n_components
        ),
        progress=progress,
        tasks=tasks,
    )


def _objective_on(training, n_rows):
    """Return what tells the objective of weights on so many rows at most."""
    X, (architecture, penalties, scaling) = training.X, training.problem
    X = X[:: -(-X.shape[0] // n_rows)]

    def objective_of(weights):
        parameters = training.problem.folded(weights)
        objective, _ = evaluate(X, parameters, architecture.loss, penalties, scaling)
        return objective.total

    return objective_of


def _held_out_evaluation(training):
    X, problem = training.X_held_out, training.problem
    architecture, penalties, scaling = problem
    spread = _spread(Moments.of(X), scaling)

    def evaluate_held_out(weights):
        objective, moments = evaluate(
            X, problem.folded(weights), architecture.loss, penalties, scaling
        )
        score = explained_share(math.sqrt(moments.squared_error), spread)
        return HeldOut(objective.total, score)

    return evaluate_held_out


def _spread(moments, scaling):
    """Return the root mean squared deviation of a row, in the training's units."""
    return moments.norm / math.sqrt(moments.n_samples) / scaling.scale


def minimize(training, settings, monitor, checkpoint):
    """Run the solver.

    Parameters
    ----------
    training : Training
    settings : SparseAutoencoderTransformer
        Whose parameters are read.
    monitor : Monitor
    checkpoint : Checkpoint, EvaluationLog or None

    Returns
    -------
    weights : list of ndarray
        In the training's units; with held-out rows, the best ones on them.
    converged : bool
    continuation : Continuation or None
    """
    if training.earlier:
        monitor.begin_with(training.weights)
    with contextlib.closing(monitor), suspended() as executor:
        if settings.solver == "lbfgs":
            solved = _minimize_full_batch(training, settings, monitor, checkpoint)
        else:
            solved = _minimize_mini_batches(
                training, settings, monitor, checkpoint, executor
            )
    weights, converged, continuation = solved
    return monitor.best_weights or weights, converged, continuation


# The solvers are imported where they are called: nothing else needs TensorFlow.


def _minimize_full_batch(training, settings, monitor, log):
    with starting_tensorflow(to_train=True):
        from .lbfgs import minimize_objective

    weights, converged = minimize_objective(
        training.X,
        training.weights,
        problem=training.problem,
        max_iter=training.max_iter,
        tol=settings.tol,
        monitor=monitor,
        stop_on_stall=settings.early_stopping,
        log=log,
    )
    return weights, converged, None


def _minimize_mini_batches(training, settings, monitor, checkpoint, executor):
    with starting_tensorflow(to_train=True):
        from .._engine.optimizers import OptimizerSpec, automatic_rate
        from .minibatch import MiniBatchTraining, train

    X, problem, partial = training.X, training.problem, training.partial
    optimizer, rate = OptimizerSpec.from_solver(settings.solver)
    if optimizer.averages_weights and (
        partial or settings.warm_start or settings.early_stopping or settings.revive
    ):
        raise ValueError(
            "A solver with use_ema=True cannot be combined with partial_fit, "
            "warm_start, early_stopping or revive: the averages replace the "
            "weights at the end. Set use_ema=False."
        )
    past = training.continuation
    goes_on = past is not None and past.optimizer == repr(optimizer)
    earlier = past if goes_on and past.weights is not None else None
    coordinates = _coordinates(training, settings, earlier)
    automatic = optimizer.takes_rate and settings.learning_rate == "auto"
    if automatic:
        rate = past.rate if goes_on else None
        rate = rate or automatic_rate(optimizer, X, problem, coordinates)
    elif optimizer.takes_rate:
        rate = float(settings.learning_rate)
    n_rows = most = X.shape[0]
    if partial:
        n_seen = training.moments.n_samples
        n_rows = n_seen // STREAMED_PASSES
        # Rows of a stream count alike in pieces of any size, smaller ones, too.
        most = max(1 << (n_seen - 1).bit_length(), LEAST_STREAMED_BATCH)
    batch_size = min(rows_of_a_batch(settings.batch_size, n_rows), most)
    this = MiniBatchTraining(
        X=X,
        problem=problem,
        coordinates=coordinates,
        optimizer=optimizer,
        batch_size=batch_size,
        rate=rate,
        automatic=automatic,
        max_iter=training.max_iter,
        rho_hat=settings.rho_hat,
        shuffle=settings.shuffle,
        rng=training.rng,
        monitor=monitor,
        state=_starting_state(
            training, coordinates, earlier, past.n_batches if goes_on else 0.0
        ),
        start_objective=(
            _objective_on(training, SAMPLE_ROWS)(training.weights)
            if automatic
            else math.inf
        ),
        reviver=_reviver(training) if settings.revive and not partial else None,
        checkpoint=checkpoint,
    )
    moments = training.moments
    continuation = Continuation(
        optimizer=repr(optimizer),
        weights=None,
        optimizer_variables=None,
        rho_hat=None,
        n_batches=None,
        rate=rate if automatic else None,
        axes=None,
        spread=None,
        random_state=None,
        n_samples_seen=moments.n_samples,
        deviations=moments.deviations,
    )
    if executor is not None and _can_be_shared(settings, this, partial):
        weights, converged = executor.train(this)
        n_batches = len(monitor.losses) * this.batches_per_epoch
        return weights, converged, continuation._replace(n_batches=n_batches)
    trained = train(this)
    state = trained.state
    continuation = continuation._replace(n_batches=state.n_batches)
    if partial or settings.warm_start:
        continuation = continuation._replace(
            weights=[np.asarray(w, np.float32) for w in state.weights],
            optimizer_variables=state.optimizer_variables,
            rho_hat=state.rho_hat,
            axes=_in_float32(coordinates.axes),
            spread=_in_float32(coordinates.spread),
            random_state=training.rng,
        )
    return trained.weights, trained.converged, continuation


def _in_float32(array):
    return None if array is None else array.astype(np.float32)


def _coordinates(training, settings, earlier):
    """Return what the weights are moved in: for "adam", principal axes if they pay."""
    X, (architecture, _, scaling) = training.X, training.problem
    features = Coordinates.of_features(architecture.activation)
    if earlier is not None:
        return features._replace(axes=earlier.axes, spread=earlier.spread)
    if settings.solver != "adam" or not scaling.linear_output:
        return features
    continues = training.partial or settings.warm_start
    # Rows that are not held would be turned anew in each epoch.
    if training.max_iter > 1 and 4 * math.prod(X.shape) > reading.BLOCK_BYTES:
        return features
    return Coordinates.along_axes(
        X, scaling, architecture.activation, may_drop=not continues
    )


def _starting_state(training, coordinates, earlier, n_batches):
    from .._engine.minibatch import MiniBatchState

    if earlier is None:
        weights = training.weights
        if training.earlier is None:
            weights = coordinates.restricted(weights)
        return MiniBatchState(weights, None, None, training.rho_hat, n_batches)
    weights, scaling = earlier.weights, training.problem.scaling
    if not scaling.equals(training.earlier.scaling):
        weights = scaling.unfold(training.earlier.scaling.fold(weights))
    return MiniBatchState(
        weights,
        training.weights,
        earlier.optimizer_variables,
        earlier.rho_hat,
        n_batches,
    )


def _can_be_shared(settings, training, partial):
    """Say whether nothing but its weights is wanted of a training by Adam.

    Its random state must be its own: others of the same seed take its place.
    """
    return (
        settings.solver == "adam"
        and isinstance(settings.random_state, numbers.Integral)
        and not (partial or settings.warm_start)
        and training.reviver is None
        and training.checkpoint is None
        and training.monitor.is_silent
    )


def _reviver(training):
    # A copy, so that the training is the same as without where nothing is revived.
    rng = copy.deepcopy(training.rng)
    architecture, penalties, scaling = training.problem
    return Reviver(
        standardized_sample(training.X, scaling, rng),
        scaling.reconstruction_offset,
        penalties.rho,
        architecture.activation,
        architecture.output_activation,
        rng,
    )


def training_curves(training, monitor):
    """Return what the iterations have reported.

    Returns
    -------
    curves : dict of str to list
        By their names in ``CURVES``.
    terms : Bunch of lists
        The terms that add up to ``loss_curve_``.
    """
    losses = monitor.losses
    curves = {"loss_curve_": [loss.objective for loss in losses]}
    if training.X_held_out is not None:
        spread = _spread(training.moments, training.problem.scaling)
        curves |= {
            "validation_loss_curve_": [h.objective for h in monitor.held_out],
            "validation_scores_": [h.score for h in monitor.held_out],
            "train_scores_": [
                explained_share(math.sqrt(loss.squared_error), spread)
                for loss in losses
            ],
        }
    terms = {
        name: [getattr(loss, name) for loss in losses]
        for name in ("reconstruction", "weight_decay", "sparsity")
    }
    return curves, Bunch(**terms)
