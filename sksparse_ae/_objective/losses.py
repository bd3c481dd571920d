"""Losses of a reconstruction, each summed over the features of a row."""

from typing import Any, Protocol

import numpy as np


class Loss(Protocol):
    """What a loss has to offer; ``LOSSES`` holds one instance of each."""

    interval: tuple[float, float] = -np.inf, np.inf  # of the data that the loss takes
    output_activation: str | None = None  # the only one that it goes with; None for any
    # Whether ``output`` is what the output's activation is applied to, as logits are.
    # Otherwise it is the reconstruction.
    takes_inputs: bool = False

    def of_rows(self, X: Any, output: Any, xp: Any) -> Any:
        """Return the loss of each row of ``X``, (n_samples, n_features)."""

    def mean_squared_error(
        self, X: Any, output: Any, mean_loss: Any, mean: Any, xp: Any
    ) -> Any:
        """Return the mean over the rows of their squared errors.

        ``X`` and ``output`` are what ``of_rows`` took, and ``mean_loss`` is the mean of
        what it returned. ``mean`` is a function that averages a value of each row, or
        sums them, as was done for ``mean_loss``.
        """

    def curvature(self, mean: np.ndarray) -> np.ndarray:
        """Return the second derivative in the reconstruction, at the data's mean."""


class SquaredError(Loss):
    """Half the squared norm of the error."""

    def of_rows(self, X: Any, output: Any, xp: Any) -> Any:
        return 0.5 * _sum_of_features(xp.square(output - X), xp)

    def mean_squared_error(
        self, X: Any, output: Any, mean_loss: Any, mean: Any, xp: Any
    ) -> Any:
        return 2 * mean_loss

    def curvature(self, mean: np.ndarray) -> np.ndarray:
        return np.ones_like(mean)


class LogLoss(Loss):
    """The cross-entropy of Bernoulli variables."""

    interval = 0.0, 1.0
    output_activation = "sigmoid"
    takes_inputs = True

    def of_rows(self, X: Any, output: Any, xp: Any) -> Any:
        # log(1 + exp(z)) - x z, in the form that does not overflow.
        softplus = xp.maximum(output, 0) + xp.log1p(xp.exp(-xp.abs(output)))
        return _sum_of_features(softplus - X * output, xp)

    def mean_squared_error(
        self, X: Any, output: Any, mean_loss: Any, mean: Any, xp: Any
    ) -> Any:
        return mean(_sum_of_features(xp.square(1 / (1 + xp.exp(-output)) - X), xp))

    def curvature(self, mean: np.ndarray) -> np.ndarray:
        mean = np.clip(mean, 1e-3, 1 - 1e-3)
        return 1 / (mean * (1 - mean))


LOSSES: dict[str, Loss] = {"squared_error": SquaredError(), "log_loss": LogLoss()}


def _sum_of_features(values: Any, xp: Any) -> Any:
    """Sum the last axis, as a product: XLA on the CPU does not vectorise sums."""
    return xp.matmul(values, xp.ones(values.shape[-1:], values.dtype))
