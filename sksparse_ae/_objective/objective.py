"""The objective: a loss, a penalty on activations, and weight decay, as one value."""

import math
from typing import Any, NamedTuple

from .activations import ACTIVATIONS, OUTPUT_ACTIVATIONS
from .losses import LOSSES
from .penalties import PENALTIES, straight_through, weight_penalty


class Coefficients(NamedTuple):
    """The coefficients of the objective, as numbers, arrays or tensors."""

    rho: Any
    beta: Any
    weight_decay: Any


class Losses(NamedTuple):
    """The terms of the objective, and the mean squared error of a row."""

    reconstruction: float
    sparsity: float
    squared_error: float
    weight_decay: float

    @property
    def objective(self):
        """The sum of the three terms."""
        return self.reconstruction + self.weight_decay + self.sparsity

    @property
    def terms(self):
        """The three terms by their names, in the order of the formula."""
        names = "reconstruction", "weight_decay", "sparsity"
        return {name: getattr(self, name) for name in names}

    @classmethod
    def unknown(cls):
        """Return what stands for losses that nobody has computed."""
        return cls(*[math.nan] * 4)


class DataTerms(NamedTuple):
    """The objective of some rows but for the weight decay, as tensors.

    Attributes
    ----------
    reconstruction, sparsity : tensors of shape () or (n_models,)
    squared_error : tensor of shape () or (n_models,)
        Weighted mean of the rows' squared errors, whatever the loss.
    estimate : tensor of shape (..., n_components)
        The statistic that the penalty was evaluated at.
    own : tensor of shape (..., n_components)
        The statistic of these rows alone.
    """

    reconstruction: Any
    sparsity: Any
    squared_error: Any
    estimate: Any
    own: Any

    @property
    def total(self):
        """The sum of the two terms."""
        return self.reconstruction + self.sparsity

    @property
    def reported(self):
        """The first three, in the order in which ``Losses`` begins."""
        return self[:3]


class Objective:
    """What a network of an architecture minimises.

    Parameters
    ----------
    architecture : Architecture
        Its names of the activations, the loss and the penalty.

    Attributes
    ----------
    activation, output_activation : Activation
    loss : SquaredError or LogLoss
    penalty : KullbackLeibler
    """

    def __init__(self, architecture):
        self.activation = ACTIVATIONS[architecture.activation]
        self.output_activation = OUTPUT_ACTIVATIONS[architecture.output_activation]
        self.loss = LOSSES[architecture.loss]
        self.penalty = PENALTIES[architecture.penalty]

    def data_terms(
        self,
        target,
        output,
        codes,
        row_weights,
        coefficients,
        xp,
        estimate_of=lambda own: own,
    ):
        """Return the DataTerms of weighted rows.

        Parameters
        ----------
        target : tensor of shape (n_rows, n_features)
        output : tensor of shape (..., n_rows, n_features)
            As ``loss.of_rows`` takes it.
        codes : tensor of shape (..., n_rows, n_components)
        row_weights : tensor of shape (n_rows,)
            Adding up to one: 1 / m for Ng's mean over m samples, 0 for padding.
        coefficients : Coefficients
        xp : namespace
        estimate_of : callable
            Turns the rows' own statistic into the estimate that the penalty is
            evaluated at. The gradient is still that of the rows' own.
        """

        def mean(values):
            return xp.sum(row_weights * values, axis=-1)

        reconstruction = mean(self.loss.of_rows(target, output, xp))
        own = self.statistic(codes, row_weights, xp)
        estimate = estimate_of(own)
        at = straight_through(estimate, own, xp)
        sparsity = self.penalty.value(at, coefficients, xp)
        squared = self.loss.mean_squared_error(target, output, reconstruction, mean, xp)
        return DataTerms(reconstruction, sparsity, squared, estimate, own)

    def sum_over_rows(self, codes, row_weights, xp):
        """Return the weighted sum of what the penalty averages over the rows."""
        return xp.matmul(row_weights, self.penalty.per_row(codes, xp))

    def statistic(self, codes, row_weights, xp):
        """Return the statistic of rows whose weights add up to one."""
        mean = self.sum_over_rows(codes, row_weights, xp)
        return self.penalty.statistic(mean, self.activation)

    def decay(self, kernels, coefficients, xp):
        """Return the weight-decay term."""
        return weight_penalty(kernels, coefficients.weight_decay, xp)
