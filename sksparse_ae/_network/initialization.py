"""The weights that a training starts from."""

import numpy as np

from .._objective.activations import ACTIVATIONS, OUTPUT_ACTIVATIONS
from .autoencoder import Parameters

# Rows that the data-dependent start looks at.
SAMPLE_ROWS = 1000

# How often the interval of a starting bias, of some tens at first, is halved.
BISECTIONS = 35


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
    """Return b with rho_hat of act(Z + b) equal to rho, to some billionths."""
    activation = ACTIVATIONS[activation]
    target = activation.value_at(rho)
    # With these the largest and the smallest input of each unit are at the target.
    goal = activation.inverse(target)
    low, high = goal - Z.max(axis=0), goal - Z.min(axis=0)
    for _ in range(BISECTIONS):
        bias = (low + high) / 2
        shifted = Z + bias
        is_high = activation.forward(shifted, out=shifted).mean(axis=0) > target
        low, high = np.where(is_high, low, bias), np.where(is_high, bias, high)
    return (low + high) / 2
