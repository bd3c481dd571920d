"""Full-batch training: SciPy's L-BFGS over one compiled value and gradient."""

import functools
import math
import warnings

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from ._monitor import Losses
from ._network import Network, ProgramLock, padded_rows, worth_compiling
from ._problem import Penalties
from ._threads import single_blas_thread

# The course keeps 100. SciPy's own work for a step grows with their number: on digits
# with 200 units, 50 take 1.9 times as long as 10 and end 0.3 % lower after 200 steps.
N_CORRECTIONS = 10

# What an evaluation returns besides the gradient: the objective and its terms.
N_SCALARS = 5


class FullBatchProgram:
    """A network with its objective and gradient as a function of one flat vector.

    One program serves every fit of its architecture, one at a time: hold ``lock``.
    """

    def __init__(self, architecture):
        self.lock = ProgramLock()
        self._network = Network(architecture)
        self._shapes = [tuple(v.shape) for v in self._network.variables]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self.compiled = tf.function(self.value_and_gradient, jit_compile=True)

    def flatten(self, weights):
        """Join W1, b1, W2, b2 to the vector that L-BFGS moves."""
        return np.concatenate([np.ravel(w) for w in weights])

    def split(self, vector):
        """Undo ``flatten``."""
        parts = np.split(vector, np.cumsum(self._sizes)[:-1])
        return [p.reshape(s) for p, s in zip(parts, self._shapes, strict=True)]

    def value_and_gradient(self, vector, X, offset, row_weights, penalties):
        """Return the gradient at ``vector``, followed by N_SCALARS scalars.

        The scalars are the objective, ``DataTerms.reported`` and the weight decay. One
        tensor holds them all: each that is read costs another 0.1 ms.
        """
        for variable, part, shape in zip(
            self._network.variables,
            tf.split(vector, self._sizes),
            self._shapes,
            strict=True,
        ):
            variable.assign(tf.reshape(part, shape))
        variables = [v.value for v in self._network.variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            terms = self._network.data_terms(X, offset, row_weights, penalties)
            decay = self._network.decay(penalties)
            objective = terms.total + decay
        gradients = tape.gradient(objective, variables)
        parts = [*gradients, objective, terms.reported, decay]
        return tf.concat([tf.reshape(part, [-1]) for part in parts], axis=0)

    @staticmethod
    def unpack(result):
        """Return the scalars of ``value_and_gradient``, a list, and the gradient."""
        result = result.numpy()
        return result[-N_SCALARS:].tolist(), result[:-N_SCALARS]


@functools.lru_cache(maxsize=16)
def full_batch_program(architecture, n_padded):
    """Return the program for data of ``n_padded`` rows; the latest 16 are kept."""
    return FullBatchProgram(architecture)


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
    n_samples, n_features = X.shape
    dtype = X.dtype.name
    n_padded = padded_rows(n_samples)
    architecture = problem.architecture._replace(dtype=dtype)
    program = full_batch_program(architecture, n_padded)
    if program.lock.is_held_here:
        program = FullBatchProgram(architecture)
    n_values = n_samples * (n_features + problem.architecture.n_components)
    compiled = worth_compiling(max_iter, n_values)
    data = np.zeros((n_padded, n_features), dtype=dtype)
    problem.scaling.standardize(X, out=data[:n_samples])
    row_weights = np.zeros(len(data), dtype=dtype)
    row_weights[:n_samples] = 1 / n_samples
    data, row_weights = tf.constant(data), tf.constant(row_weights)
    offset = tf.constant(problem.scaling.reconstruction_offset, dtype=dtype)
    penalties = Penalties(*(tf.constant(p, dtype) for p in problem.penalties))
    start = program.flatten(weights)
    inputs = (data, offset, row_weights, penalties)
    evaluate = program.value_and_gradient
    if compiled:
        # Looked up once: at every call it would cost 0.15 ms.
        evaluate = program.compiled.get_concrete_function(
            tf.TensorSpec(start.shape, dtype), *inputs
        )

    def evaluate_at(vector):
        return program.unpack(evaluate(tf.constant(vector, dtype=dtype), *inputs))

    if log is not None:
        evaluate_at = log.replaying(evaluate_at, N_SCALARS, start.size, dtype)
    last, losses_at = start, {}  # of the latest iteration: a line search takes several

    def function(vector):
        monitor.begin_iteration()
        (value, *terms, decay), gradient = evaluate_at(vector)
        losses_at[value] = Losses.from_terms(terms, decay)
        return value, gradient.astype(np.float64)

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
    with program.lock, single_blas_thread():
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
        raise ValueError(
            "The objective is not finite at the start of the training: the data are "
            "too large for their dtype. Scale them (StandardScaler)."
        )
    if result.status == 2:
        warnings.warn(
            f"L-BFGS ended early: {result.message}", ConvergenceWarning, stacklevel=2
        )
    # Status 1 is the limit of iterations; 99 a stop that the monitor asked for.
    return program.split(result.x), result.status != 1
