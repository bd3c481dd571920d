"""Penalties on the mean activations and on the weights."""

import numpy

# KL is the true divergence for rho_hat in [KL_MARGIN, 1 - KL_MARGIN] and its own
# tangent beyond. A power of two: float32 then holds both ends exactly, and with them
# the slope, which 1 - 1e-6 rounded to float32 would change by 6 %.
KL_MARGIN = 2.0**-20


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


def sparsity_penalty(rho_hat, rho, beta, xp, *, once=True):
    """Return beta times the KL divergence summed over the units."""
    return beta * xp.sum(kl_divergence(rho, rho_hat, xp, once=once), axis=-1)


def weight_penalty(weights, weight_decay, xp):
    """Return lambda / 2 times the sum of the squared weights; biases are exempt."""
    return (
        0.5 * weight_decay * sum(xp.sum(xp.square(W), axis=(-2, -1)) for W in weights)
    )


def straight_through(value, gradient_of, xp):
    """Return ``value``, differentiated as if it were ``gradient_of``.

    With the running mean as the value and the batch mean as the source of the
    gradient, the penalty's slope is that of KL at the running mean, undiminished by
    the small share that one batch has in it.
    """
    return gradient_of + xp.stop_gradient(value - gradient_of)
