"""Losses of a reconstruction, each summed over the features of a row."""

import numpy as np


class SquaredError:
    """Half the squared norm of the error.

    Attributes
    ----------
    interval : tuple of two floats
        Of the data that it takes.
    output_activation : str or None
        The only one that it goes with; None for any.
    takes_inputs : bool
        Whether it takes the inputs of the output's activation, as logits are, and not
        its values.
    """

    interval = -np.inf, np.inf
    output_activation = None
    takes_inputs = False

    def of_rows(self, X, output, xp):
        """Return the loss of each row.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
        output : array of shape (n_samples, n_features)
            The reconstruction, or what its activation is applied to: ``takes_inputs``.
        xp : namespace
        """
        return 0.5 * _sum_of_features(xp.square(output - X), xp)

    def mean_squared_error(self, X, output, mean_loss, mean, xp):
        """Return the mean over the rows of their squared errors.

        Parameters
        ----------
        X, output : array of shape (n_samples, n_features)
            As ``of_rows`` took them.
        mean_loss : scalar
            The mean of what it returned.
        mean : callable
            Averages a value of each row, or sums them, as ``mean_loss`` was.
        xp : namespace
        """
        return 2 * mean_loss

    def curvature(self, mean):
        """Return the second derivative in the reconstruction, at the data's mean."""
        return np.ones_like(mean)


class LogLoss:
    """The cross-entropy of Bernoulli variables; for more see ``SquaredError``."""

    interval = 0.0, 1.0
    output_activation = "sigmoid"
    takes_inputs = True

    def of_rows(self, X, output, xp):
        """Return the loss of each row: see ``SquaredError``."""
        # log(1 + exp(z)) - x z, in the form that does not overflow.
        softplus = xp.maximum(output, 0) + xp.log1p(xp.exp(-xp.abs(output)))
        return _sum_of_features(softplus - X * output, xp)

    def mean_squared_error(self, X, output, mean_loss, mean, xp):
        """Return the mean of the squared errors: see ``SquaredError``."""
        return mean(_sum_of_features(xp.square(1 / (1 + xp.exp(-output)) - X), xp))

    def curvature(self, mean):
        """Return the second derivative: see ``SquaredError``."""
        mean = np.clip(mean, 1e-3, 1 - 1e-3)
        return 1 / (mean * (1 - mean))


LOSSES = {"squared_error": SquaredError(), "log_loss": LogLoss()}


def _sum_of_features(values, xp):
    """Sum the last axis, as a product: XLA on the CPU does not vectorise sums."""
    return xp.matmul(values, xp.ones(values.shape[-1:], values.dtype))
