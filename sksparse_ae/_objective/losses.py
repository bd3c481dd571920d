"""Losses of a reconstruction, each summed over the features of a row."""

from typing import Any, Protocol

import numpy as np

# Where Huber's loss turns from squares to lines, in standard deviations of normal data:
# there it has 95 % of the efficiency of squares. P. J. Huber, "Robust statistics",
# Wiley, 1981; scikit-learn's HuberRegressor has it as epsilon=1.35.
HUBER_THRESHOLD = 1.35

# What stands for 0 in a logarithm: the least number that float32 holds in full.
TINY = float(np.finfo(np.float32).tiny)


class Loss(Protocol):
    """What a loss has to offer; ``LOSSES`` holds one instance of each."""

    interval: tuple[float, float] = -np.inf, np.inf  # of the data that the loss takes
    output_activation: str | None = None  # the only one that it goes with; None for any
    # Whether ``output`` is what the output's activation is applied to, as logits are.
    # Otherwise it is the reconstruction.
    takes_inputs: bool = False
    # What ``score`` is the explained share of: the variance, or else what the constants
    # of lowest loss, one for each column, leave of the loss.
    explains: str = "variance"
    # Whether a rotation of data and reconstruction leaves the loss as it is.
    is_rotation_invariant: bool = False
    # Whether values far out are to have a bounded say. The data are then centred by
    # their medians and scaled by where most of them lie, and the constants of lowest
    # loss are no means.
    is_robust: bool = False

    @property
    def takes_counts(self) -> bool:
        """Whether the data are numbers of 0 or more, without an upper end."""
        return self.interval == (0.0, np.inf)

    def of_values(self, X: Any, output: Any, xp: Any) -> Any:
        """Return the loss of each value of ``X``, (n_samples, n_features)."""

    def of_rows(self, X: Any, output: Any, xp: Any, observed: Any = None) -> Any:
        """Return the loss of each row, summed over the values that are observed.

        ``observed`` tells which are, by a bool for each; None for all. ``X`` holds any
        number where they are not.
        """
        return sum_of_features(self.of_values(X, output, xp), observed, xp)

    def mean_squared_error(
        self,
        X: Any,
        output: Any,
        mean_loss: Any,
        mean: Any,
        xp: Any,
        observed: Any = None,
    ) -> Any:
        """Return the mean over the rows of their squared errors.

        ``X``, ``output`` and ``observed`` are what ``of_rows`` took, and ``mean_loss``
        is the mean of what it returned. ``mean`` is a function that averages a value of
        each row, or sums them, as was done for ``mean_loss``.
        """
        squares = xp.square(self.reconstruction(output, xp) - X)
        return mean(sum_of_features(squares, observed, xp))

    def reconstruction(self, output: Any, xp: Any) -> Any:
        """Return the reconstruction from the output that ``of_rows`` takes."""
        return output

    def curvature(self, mean: np.ndarray) -> np.ndarray:
        """Return the second derivative in the reconstruction, at the data's mean."""

    def influence(self, error: np.ndarray) -> np.ndarray:
        """Return the error of each value as the gradient of the loss has it."""
        return error

    def output_of(self, reconstruction: Any, epsilon: float, xp: Any) -> Any:
        """Return what ``of_rows`` takes from a reconstruction, by values of it alone.

        ``epsilon`` is how near to the ends of an interval they can be told apart.
        """
        return reconstruction


class SquaredError(Loss):
    """Half the squared norm of the error."""

    is_rotation_invariant = True

    def of_values(self, X: Any, output: Any, xp: Any) -> Any:
        return xp.square(output - X)

    def of_rows(self, X: Any, output: Any, xp: Any, observed: Any = None) -> Any:
        # Halved once for each row.
        return 0.5 * super().of_rows(X, output, xp, observed)

    def mean_squared_error(
        self,
        X: Any,
        output: Any,
        mean_loss: Any,
        mean: Any,
        xp: Any,
        observed: Any = None,
    ) -> Any:
        return 2 * mean_loss

    def curvature(self, mean: np.ndarray) -> np.ndarray:
        return np.ones_like(mean)


class LogLoss(Loss):
    """The cross-entropy of Bernoulli variables."""

    interval = 0.0, 1.0
    output_activation = "sigmoid"
    takes_inputs = True

    def of_values(self, X: Any, output: Any, xp: Any) -> Any:
        # log(1 + exp(z)) - x z, in the form that does not overflow.
        softplus = xp.maximum(output, 0) + xp.log1p(xp.exp(-xp.abs(output)))
        return softplus - X * output

    def reconstruction(self, output: Any, xp: Any) -> Any:
        return 1 / (1 + xp.exp(-output))

    def curvature(self, mean: np.ndarray) -> np.ndarray:
        mean = np.clip(mean, 1e-3, 1 - 1e-3)
        return 1 / (mean * (1 - mean))

    def output_of(self, reconstruction: Any, epsilon: float, xp: Any) -> Any:
        # In float32 the sigmoid rounds to 1 beyond a logit of 16, so that larger logits
        # cannot be recovered.
        h = xp.clip(reconstruction, epsilon, 1 - epsilon)
        return xp.log(h) - xp.log1p(-h)


class Poisson(Loss):
    """Half the deviance of Poisson variables.

    For a count x and a mean exp(z) it is exp(z) - x z + x log(x) - x: the negative
    log-likelihood, less that of a mean that is the count itself. So it is 0 for a
    perfect reconstruction and positive for any other. Counts may be fractions.
    """

    interval = 0.0, np.inf
    output_activation = "exponential"
    takes_inputs = True
    explains = "deviance"

    def of_values(self, X: Any, output: Any, xp: Any) -> Any:
        # With t = z - log(x) it is x (exp(t) - 1 - t), in which nothing cancels: in
        # float32 the terms of the form above cost a count of 10^5 all digits. Below 1,
        # where x would overflow exp(t), 1 takes its place in t. Zeros may have been
        # rounded, when the mean was taken from the rows and added again.
        X = xp.maximum(X, 0)
        log = xp.log(xp.maximum(X, TINY))
        difference = output - xp.maximum(log, 0)
        below_one = xp.minimum(X, 1)
        return (
            xp.maximum(X, 1) * xp.expm1(difference)
            - X * difference
            + (1 - below_one + below_one * xp.minimum(log, 0))
        )

    def reconstruction(self, output: Any, xp: Any) -> Any:
        return xp.exp(output)

    def curvature(self, mean: np.ndarray) -> np.ndarray:
        return 1 / np.maximum(mean, 1e-3)

    def output_of(self, reconstruction: Any, epsilon: float, xp: Any) -> Any:
        return xp.log(xp.maximum(reconstruction, TINY))


class Huber(Loss):
    """Half the squares of errors up to a threshold, and straight lines beyond.

    The threshold is a number of units of the training. With ``scale="auto"`` these are
    standard deviations, as the bulk of the data has them: ``is_robust``. The loss is
    for a linear output: others have no scale, and those with an upper end no far
    errors.
    """

    output_activation = "linear"
    explains = "Huber loss"
    is_robust = True

    def of_values(self, X: Any, output: Any, xp: Any) -> Any:
        sizes = xp.abs(output - X)
        inside = xp.minimum(sizes, HUBER_THRESHOLD)
        return inside * (sizes - 0.5 * inside)

    def curvature(self, mean: np.ndarray) -> np.ndarray:
        return np.ones_like(mean)

    def influence(self, error: np.ndarray) -> np.ndarray:
        return np.clip(error, -HUBER_THRESHOLD, HUBER_THRESHOLD)


LOSSES: dict[str, Loss] = {
    "squared_error": SquaredError(),
    "log_loss": LogLoss(),
    "poisson": Poisson(),
    "huber": Huber(),
}


def sum_of_features(values: Any, observed: Any, xp: Any) -> Any:
    """Sum what is observed along the last axis, as a product.

    XLA on the CPU does not vectorise sums.
    """
    if observed is not None:
        values = xp.where(observed, values, xp.zeros_like(values))
    return xp.matmul(values, xp.ones(values.shape[-1:], values.dtype))
