"""What a network scores that has learned nothing but its output."""

import warnings

import numpy as np
from scipy import linalg
from sklearn.base import clone
from sklearn.utils import check_array, check_random_state

from .._network.reading import dense
from .._network.statistics import of_norm_one
from .._network.validation import strict_validation
from .._objective.selections import SELECTIONS
from .._utils.threads import single_blas_thread

# One epoch of steps so small that they change no weight: a fit ends where it starts.
NO_TRAINING = {
    "solver": "sgd",
    "learning_rate": 1e-30,
    "max_iter": 1,
    "early_stopping": False,
    "corruption": 0.0,
    "revive": False,
    "checkpoint_dir": None,
    "warm_start": False,
    "verbose": 0,
}

# Added to the diagonal of the normal equations, as a share of its mean: codes of fewer
# rows than units do not determine the decoder.
RIDGE = 1e-6

# Rows on which the threshold of a selection is found, evenly spaced.
SAMPLE_ROWS = 5000


def random_baseline(estimator, X, *, random_state=None):
    """Return an autoencoder whose encoder is random and whose decoder fits the data.

    Scores of a sparse autoencoder mean little alone: random features, with a decoder
    fitted to them, explain variance, separate classes and look selective, too [1]_.
    Score this baseline in the same way, and read the difference.

    Parameters
    ----------
    estimator : estimator instance
        :class:`~sksparse_ae.SparseAutoencoderTransformer` with a linear output, fitted
        or not, whose parameters the baseline has. It is not changed. Of a Pipeline,
        pass the step.

    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Training data.

    random_state : int, RandomState instance or None, default=None
        Determines the encoder. None for that of `estimator`.

    Returns
    -------
    baseline : SparseAutoencoderTransformer
        Fitted, and good for all that a fitted one is good for. The encoder has random
        directions. With the penalty its biases give mean activations of `rho`; with a
        selection the data are centred, and the share `rho` of the codes stays. The
        decoder is the least-squares solution for its codes of `X`.

    Raises
    ------
    ValueError
        If the output is not linear.

    See Also
    --------
    stability : Share of units that are found again.

    Notes
    -----
    The other baseline of [1]_, a random decoder, needs codes that suit it.
    scikit-learn finds them: `SparseCoder(directions, transform_algorithm="omp",
    transform_n_nonzero_coefs=k)` reconstructs centred data by at most `k` random
    directions in each row, better than an encoder would.

    References
    ----------
    .. [1] Korznikov, A. et al. "Sanity checks for sparse autoencoders: do SAEs beat
       random baselines?", arXiv:2602.14111, 2026.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksparse_ae import SparseAutoencoderTransformer
    >>> from sksparse_ae.metrics import random_baseline
    >>> X, _ = load_digits(return_X_y=True)
    >>> autoencoder = SparseAutoencoderTransformer(25, tol=0.01, random_state=0).fit(X)
    >>> baseline = random_baseline(autoencoder, X)
    >>> 0.3 < baseline.score(X) < autoencoder.score(X)
    True
    """
    _check_output(estimator)
    with strict_validation():
        X_checked = check_array(X, accept_sparse="csr", dtype=[np.float64, np.float32])
    start = clone(estimator)
    if random_state is not None:
        start.set_params(random_state=random_state)
    baseline = clone(start).set_params(**NO_TRAINING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as that it has not converged
        baseline.fit(X)
    baseline.set_params(**start.get_params())
    if baseline.sparsity in SELECTIONS:  # its units start along rows of the data
        _set_random_directions(baseline, X_checked)
    decoder, intercept = _least_squares(baseline.transform(X), X_checked)
    dtype = baseline.coefs_[1].dtype
    baseline.coefs_[1] = decoder.astype(dtype)
    baseline.intercepts_[1] = intercept.astype(dtype)
    baseline._evaluate_again(X)
    return baseline


def _check_output(estimator):
    output = getattr(estimator, "output_activation", None)
    if output is None:
        raise TypeError(
            "Expected a SparseAutoencoderTransformer; got "
            f"{type(estimator).__name__}. Of a Pipeline, pass the step and the data "
            "that reach it."
        )
    if output != "linear":
        raise ValueError(
            "The decoder of the baseline is a least-squares solution, which needs "
            f"output_activation='linear'; got {output!r}."
        )


def _set_random_directions(baseline, X):
    """Give relu units random directions, on centred data, and a threshold to them."""
    rng = check_random_state(baseline.random_state)
    directions = of_norm_one(rng.standard_normal(baseline.components_.shape)).T
    shift = -np.asarray(X.mean(axis=0), np.float64).ravel() @ directions
    of_sample = np.linspace(0, X.shape[0] - 1, min(X.shape[0], SAMPLE_ROWS)).astype(int)
    activations = np.maximum(X[of_sample] @ directions + shift, 0)
    dtype = baseline.coefs_[0].dtype
    baseline.coefs_[0] = directions.astype(dtype)
    baseline.intercepts_[0] = shift.astype(dtype)
    if hasattr(baseline, "threshold_"):
        axis = 0 if np.ndim(baseline.threshold_) else None
        threshold = np.quantile(activations, 1 - baseline.rho, axis=axis)
        baseline.threshold_ = np.asarray(threshold, dtype)


def _least_squares(codes, X):
    """Return the weights and the intercept that give ``X`` from ``codes``."""
    n_rows = X.shape[0]
    offset = np.asarray(X.mean(axis=0), np.float64).ravel()
    mean = np.asarray(codes.mean(axis=0), np.float64).ravel()
    gram = dense(codes.T @ codes).astype(np.float64) / n_rows - np.outer(mean, mean)
    cross = dense(codes.T @ X).astype(np.float64) / n_rows - np.outer(mean, offset)
    ridge = RIDGE * np.trace(gram) / len(gram)
    gram[np.diag_indices_from(gram)] += ridge or 1.0  # of codes that are constant
    with single_blas_thread():
        decoder = linalg.solve(gram, cross, assume_a="pos")
    return decoder, offset - mean @ decoder
