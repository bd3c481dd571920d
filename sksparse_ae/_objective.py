"""Ng's sparse-autoencoder objective, stated once.

Every function takes ``xp``, the namespace that holds the operations: ``keras.ops``
inside the solvers, the Keras layers and the networks that ``to_keras`` returns,
``numpy`` where the fitted arrays are evaluated. Both offer the NumPy API, so the
formulas below are the only ones in the package. What they sum over are the last axes:
arrays may have others before them, of models trained side by side.

The notation is that of the CS294A lecture notes "Sparse autoencoder" (Ng, 2011).
"""

import numpy

# KL is the true divergence for rho_hat in [KL_MARGIN, 1 - KL_MARGIN] and its own
# tangent beyond. A power of two: float32 then holds both ends exactly, and with them
# the slope, which 1 - 1e-6 rounded to float32 would change by 6 %.
KL_MARGIN = 2.0**-20

# The interval that a unit's activation lives in; rho_hat is the mean activation
# measured on it. relu has no upper end: its mean is taken as it is.
ACTIVATION_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, 1.0)}

# The interval that an output can give; a linear one gives all.
OUTPUT_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, numpy.inf)}


def mean_to_rho_hat(mean_activation, activation_range):
    """Measure a mean activation on its interval, e.g. (mean + 1) / 2 for tanh."""
    low, high = activation_range
    return (mean_activation - low) / (high - low)


def kl_divergence(rho, rho_hat, xp, *, once=True):
    """KL(rho || rho_hat) of Bernoulli variables, element by element.

    Outside ``[KL_MARGIN, 1 - KL_MARGIN]`` it goes on along the tangent, so that the
    value and its slope stay finite for dead and saturated units and for means that
    are no probabilities at all (relu), and still point back. What reaches the weights
    is the slope times that of the activation: a relu unit that is off for every
    sample stays off.

    ``once`` says that only first derivatives are taken of it.
    """
    inside = xp.clip(rho_hat, KL_MARGIN, 1 - KL_MARGIN)
    if once:
        # The slope below is the derivative, inside and out, so that nothing else needs
        # one: differentiating each operation cost a small network's step six passes.
        inside = _held_constant(inside, xp)
    divergence = rho * xp.log(rho / inside) + (1 - rho) * xp.log(
        (1 - rho) / (1 - inside)
    )
    slope = (1 - rho) / (1 - inside) - rho / inside
    return divergence + slope * (rho_hat - inside)


def _held_constant(value, xp):
    """Return ``value``, of which no gradient is taken; NumPy takes none."""
    return value if xp is numpy else xp.stop_gradient(value)


def reconstruction_loss(X, output, loss, xp):
    """Loss of each row, summed over the features.

    Parameters
    ----------
    X : array of shape (n_samples, n_features)
    output : array of shape (n_samples, n_features)
        The reconstruction for ``loss="squared_error"``; its logits, before the
        sigmoid, for ``loss="log_loss"``.
    loss : {"squared_error", "log_loss"}
    xp : namespace
    """
    if loss == "squared_error":
        return 0.5 * _sum_of_features(xp.square(output - X), xp)
    # log(1 + exp(z)) - x z, in the form that does not overflow.
    softplus = xp.maximum(output, 0) + xp.log1p(xp.exp(-xp.abs(output)))
    return _sum_of_features(softplus - X * output, xp)


def _sum_of_features(values, xp):
    """Sum the last axis, as a product: XLA on the CPU does not vectorise sums."""
    return xp.matmul(values, xp.ones(values.shape[-1:], values.dtype))


def mean_squared_error(X, output, mean_loss, mean, loss, xp):
    """Return the mean over the rows of their squared errors, summed over the features.

    Parameters
    ----------
    X, output : array of shape (n_samples, n_features)
        As ``reconstruction_loss`` took them.
    mean_loss : scalar
        The mean of what it returned.
    mean : callable
        Averages a value of each row, or sums them, as ``mean_loss`` was.
    loss : {"squared_error", "log_loss"}
    xp : namespace
    """
    if loss == "squared_error":
        return 2 * mean_loss
    return mean(_sum_of_features(xp.square(1 / (1 + xp.exp(-output)) - X), xp))


def weight_penalty(weights, weight_decay, xp):
    """Return lambda / 2 times the sum of the squared weights; biases are exempt."""
    return (
        0.5 * weight_decay * sum(xp.sum(xp.square(W), axis=(-2, -1)) for W in weights)
    )


def sparsity_penalty(rho_hat, rho, beta, xp, *, once=True):
    """Return beta times the KL divergence summed over the units."""
    return beta * xp.sum(kl_divergence(rho, rho_hat, xp, once=once), axis=-1)


def straight_through(value, gradient_of, xp):
    """Return ``value``, differentiated as if it were ``gradient_of``.

    With the running mean as the value and the batch mean as the source of the
    gradient, the penalty's slope is that of KL at the running mean, undiminished by
    the small share that one batch has in it.
    """
    return gradient_of + xp.stop_gradient(value - gradient_of)
