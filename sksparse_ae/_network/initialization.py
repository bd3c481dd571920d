"""The weights that a training starts from."""

import numpy as np

from .._objective.activations import ACTIVATIONS, OUTPUT_ACTIVATIONS
from .autoencoder import Parameters

# Rows that the data-dependent start looks at.
SAMPLE_ROWS = 1000


def starting_weights(X, scaling, settings, rng):
    """Draw the weights that a training starts from.

    Parameters
    ----------
    X : {ndarray, CSR matrix} of shape (n_samples, n_features)
        The data as given.
    scaling : Scaling
    settings : SparseAutoencoderTransformer
        Whose parameters are read.
    rng : RandomState

    Returns
    -------
    weights : list of ndarray
        W1, b1, W2, b2, in the training's units.
    rho_hat : ndarray of shape (n_components,)
        Mean activations with them, on some rows.
    """
    sample = standardized_sample(X, scaling, rng)
    activations = settings.activation, settings.output_activation
    n_components = int(settings.n_components)  # a numpy.int8 would overflow in sums
    if settings.init == "auto":
        weights = balanced_weights(
            sample,
            n_components,
            settings.rho,
            *activations,
            scaling.reconstruction_offset,
            scaling.rounding,
            rng,
        )
    else:
        weights = uniform_weights(X.shape[1], n_components, rng)
        if settings.scale != "auto" or not scaling.linear_output:
            # Ng's biases are 0 for the data as given, before it is centred.
            weights = scaling.unfold(weights)
    return weights, Parameters(*weights, *activations).mean_rho_hat(sample)


def standardized_sample(X, scaling, rng):
    """Return some rows as the training sees them."""
    if X.shape[0] > SAMPLE_ROWS:
        X = X[np.sort(rng.choice(X.shape[0], SAMPLE_ROWS, replace=False))]
    return scaling.standardize(X, out=np.empty(X.shape))


def uniform_weights(n_features, n_components, rng):
    """Draw Ng's start: U[-r, r] with r = sqrt(6 / (D + s + 1)), and biases of 0."""
    r = np.sqrt(6 / (n_features + n_components + 1))
    W1 = rng.uniform(-r, r, (n_features, n_components))
    W2 = rng.uniform(-r, r, (n_components, n_features))
    return [W1, np.zeros(n_components), W2, np.zeros(n_features)]


def balanced_weights(
    sample, n_components, rho, activation, output_activation, mean, rounding, rng
):
    """Draw weights whose units start at rho_hat = rho and differ between samples.

    Each unit's weights, drawn as Ng's, are scaled so that its input has unit variance
    over the sample, and its bias is set so that its rho_hat is rho. The output starts
    at the mean of the data.

    Parameters
    ----------
    sample : ndarray of shape (n_rows, n_features)
        Rows less their mean, in the units of the training.
    n_components : int
    rho : float
    activation, output_activation : str
    mean : ndarray of shape (n_features,)
        Mean of what the output reconstructs, in the units of the training.
    rounding : float
        Spread of an input that comes from rounding alone.
    rng : RandomState

    Returns
    -------
    weights : list of ndarray
        W1, b1, W2, b2.
    """
    W1, _, W2, _ = uniform_weights(sample.shape[1], n_components, rng)
    spread = (sample @ W1).std(axis=0)
    W1 /= np.where(spread > rounding * np.linalg.norm(W1, axis=0), spread, 1.0)
    Z = sample @ W1
    b1 = bias_for_mean_activation(Z, rho, activation)
    codes = Parameters(W1, b1, W2, None, activation, None).encode(sample)
    # With a gradient, for every sample.
    output = OUTPUT_ACTIVATIONS[output_activation]
    start = output.inverse(np.clip(mean, *output.starts))
    b2 = start - codes.mean(axis=0) @ W2
    return [W1, b1, W2, b2]


def bias_for_mean_activation(Z, rho, activation):
    """Return b with rho_hat of act(Z + b) equal to rho, to some millionths.

    By regula falsi in the Illinois form: the input at which the activation is its mean
    over the rows is nearly a line in b, so that it takes six to ten evaluations for
    sigmoid and tanh where bisection took thirty.
    """
    activation = ACTIVATIONS[activation]
    low, target = activation.unit_range[0], activation.value_at(rho)
    activate, invert = activation.forward, activation.inverse
    goal = invert(target)

    def mean_activation(bias):
        shifted = Z + bias
        return activate(shifted, out=shifted).mean(axis=0)

    # With these the largest and the smallest input of each unit are at the target.
    lower, upper = goal - Z.max(axis=0), goal - Z.min(axis=0)
    below, above = (invert(mean_activation(end)) - goal for end in (lower, upper))
    was_high = np.full(Z.shape[1], -1)  # neither
    for _ in range(30):
        span = above - below
        share = np.divide(-below, span, out=np.full_like(span, 0.5), where=span > 0)
        bias = lower + share * (upper - lower)
        mean = mean_activation(bias)
        if (np.abs(mean - target) <= 1e-6 * (target - low)).all():
            break
        excess = invert(mean) - goal
        is_high = excess > 0
        # An end that stays for a second time would stay for good: it is weighed less.
        stays = np.where(is_high == was_high, 0.5, 1.0)
        below = np.where(is_high, stays * below, excess)
        above = np.where(is_high, excess, stays * above)
        lower = np.where(is_high, lower, bias)
        upper = np.where(is_high, bias, upper)
        was_high = is_high
    return bias
