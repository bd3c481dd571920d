"""Penalties on the activations of units and on the weights."""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy

from .activations import UnitActivation, mean_to_rho_hat

# KL is the true divergence for rho_hat in [KL_MARGIN, 1 - KL_MARGIN] and its own
# tangent beyond. It is a power of two, so that float32 holds both ends exactly, and
# with them the slope: 1 - 1e-6, rounded to float32, would change the slope by 6 %.
KL_MARGIN = 2.0**-20

# A running mean is taken no nearer to 0 and 1 than this share of rho and of 1 - rho: an
# estimate from some hundred samples cannot tell a mean that is smaller.
LEAST_SHARE = 1 / 64


class Penalty(Protocol):
    """What a penalty on activations has to offer; ``PENALTIES`` holds one of each.

    A penalty acts on one mean over the rows for each unit. What it needs of the rows
    therefore adds up: over batches, chunks, processes and machines.
    ``regularizers.LAYERS_OF_PENALTIES`` has its layer for Keras.
    """

    # Whether the value depends on the codes, so that a training has to know the mean.
    acts: bool = True

    def check(self, rho: float) -> None:
        """Raise ValueError for a rho that the penalty cannot ask for."""

    def per_row(self, codes: Any, xp: Any) -> Any:
        """Return what is averaged over the rows, in the shape of the codes."""

    def statistic(self, mean: Any, activation: UnitActivation) -> Any:
        """Return what ``value`` takes: an affine map of the mean over the rows."""

    def value(self, statistic: Any, coefficients: Any, xp: Any) -> Any:
        """Return the penalty, summed over the units."""

    def curvature(self, rho: float) -> float:
        """Return the second derivative of a unit's penalty at rho, for a beta of 1."""

    def bounds(self, coefficients: Any) -> tuple[Any, Any]:
        """Return the least and the largest running mean that is believed."""


class KullbackLeibler(Penalty):
    """Ng's penalty: beta times the sum over the units of KL(rho || rho_hat).

    Its statistic, rho_hat, is the mean on the interval of the activation.
    """

    def check(self, rho: float) -> None:
        if not KL_MARGIN <= rho <= 1 - KL_MARGIN:
            raise ValueError(
                f"rho={rho!r} is closer than 2**-20 to 0 or 1, where the "
                "divergence is continued by its tangent; use a rho in between."
            )

    def per_row(self, codes: Any, xp: Any) -> Any:
        return codes

    def statistic(self, mean: Any, activation: UnitActivation) -> Any:
        return mean_to_rho_hat(mean, activation.unit_range)

    def value(self, statistic: Any, coefficients: Any, xp: Any) -> Any:
        return sparsity_penalty(statistic, coefficients.rho, coefficients.beta, xp)

    def curvature(self, rho: float) -> float:
        return 1 / (rho * (1 - rho))

    def bounds(self, coefficients: Any) -> tuple[Any, Any]:
        rho = coefficients.rho
        return LEAST_SHARE * rho, 1 - LEAST_SHARE * (1 - rho)


class NoPenalty(Penalty):
    """Nothing to add to the objective: what is sparse is so by a selection.

    Its statistic is the share of the rows on which a unit is on.
    """

    acts = False

    def check(self, rho: float) -> None:
        return

    def per_row(self, codes: Any, xp: Any) -> Any:
        return xp.where(codes > 0, xp.ones_like(codes), xp.zeros_like(codes))

    def statistic(self, mean: Any, activation: UnitActivation) -> Any:
        return mean

    def value(self, statistic: Any, coefficients: Any, xp: Any) -> Any:
        return 0.0 * xp.sum(statistic, axis=-1)

    def curvature(self, rho: float) -> float:
        return 0.0

    def bounds(self, coefficients: Any) -> tuple[Any, Any]:
        return 0.0, 1.0


PENALTIES: dict[str, Penalty] = {"kl": KullbackLeibler()}


def kl_divergence(rho: Any, rho_hat: Any, xp: Any, *, once: bool = True) -> Any:
    """Return KL(rho || rho_hat) of Bernoulli variables, element by element.

    Outside ``[KL_MARGIN, 1 - KL_MARGIN]`` it goes on along the tangent. The value and
    its slope so stay finite, and point back, for dead and saturated units and for means
    that are no probabilities at all (relu). What reaches the weights is the slope times
    that of the activation: a relu unit that is off for every sample stays off.

    ``once`` says that only first derivatives are taken of it.
    """
    inside = xp.clip(rho_hat, KL_MARGIN, 1 - KL_MARGIN)
    if once and xp is not numpy:
        # The slope below is the derivative everywhere, so that nothing else needs one.
        # To differentiate each operation cost a small network's step six passes.
        inside = xp.stop_gradient(inside)
    divergence = rho * xp.log(rho / inside) + (1 - rho) * xp.log(
        (1 - rho) / (1 - inside)
    )
    slope = (1 - rho) / (1 - inside) - rho / inside
    return divergence + slope * (rho_hat - inside)


def sparsity_penalty(
    rho_hat: Any, rho: Any, beta: Any, xp: Any, *, once: bool = True
) -> Any:
    """Return beta times the KL divergence summed over the units."""
    return beta * xp.sum(kl_divergence(rho, rho_hat, xp, once=once), axis=-1)


def weight_penalty(weights: Iterable[Any], weight_decay: Any, xp: Any) -> Any:
    """Return lambda / 2 times the sum of the squared weights; biases are exempt."""
    return (
        0.5 * weight_decay * sum(xp.sum(xp.square(W), axis=(-2, -1)) for W in weights)
    )


def straight_through(value: Any, gradient_of: Any, xp: Any) -> Any:
    """Return ``value``, differentiated as if it were ``gradient_of``.

    With the running mean as the value and the batch mean as the source of the
    gradient, the penalty's slope is that of KL at the running mean, undiminished by
    the small share that one batch has in it.
    """
    return gradient_of + xp.stop_gradient(value - gradient_of)
