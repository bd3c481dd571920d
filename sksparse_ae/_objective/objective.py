"""The objective: a loss, a penalty on activations, and weight decay, as one value."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .activations import ACTIVATIONS
from .losses import LOSSES
from .penalties import PENALTIES, NoPenalty, straight_through
from .selections import SELECTIONS, largest

# What activation="auto" stands for with a penalty, and with a selection, which needs
# units that are 0 when they are off and have no upper end.
PENALISED_ACTIVATION, SELECTED_ACTIVATION = "sigmoid", "relu"


def units_of(activation: str, sparsity: str) -> str:
    """Return the activation of units, which may be given as "auto"."""
    if activation != "auto":
        return activation
    return SELECTED_ACTIVATION if sparsity in SELECTIONS else PENALISED_ACTIVATION


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
    def objective(self) -> float:
        """The sum of the three terms."""
        return self.reconstruction + self.weight_decay + self.sparsity

    @property
    def terms(self) -> dict[str, float]:
        """The three terms by their names, in the order of the formula."""
        names = "reconstruction", "weight_decay", "sparsity"
        return {name: getattr(self, name) for name in names}


class DataTerms(NamedTuple):
    """The objective of some rows but for the weight decay, as tensors.

    The first three, with which ``Losses`` begins too, have the shape () or (n_models,),
    the others (..., n_components).
    """

    reconstruction: Any
    sparsity: Any
    squared_error: Any  # weighted mean of the rows' squared errors, whatever the loss
    estimate: Any  # the statistic that the penalty was evaluated at
    own_statistic: Any  # that of these rows alone

    @property
    def total(self) -> Any:
        """The sum of the two terms."""
        return self.reconstruction + self.sparsity


class Objective:
    """What a network minimises whose ``Architecture`` names the functions."""

    def __init__(self, architecture: Any) -> None:
        self.activation = ACTIVATIONS[architecture.activation]
        self.loss = LOSSES[architecture.loss]
        # Codes are sparse by a penalty, or by a selection.
        self.penalty = PENALTIES.get(architecture.sparsity, NoPenalty())
        self.selection = SELECTIONS.get(architecture.sparsity)

    def selected(
        self, activations: Any, row_weights: Any, coefficients: Coefficients, xp: Any
    ) -> Any:
        """Return the codes of rows that are trained on, from their activations.

        For the parameters see ``data_terms``.
        """
        if self.selection is None:
            return activations
        rho = coefficients.rho
        codes, _ = largest(self.selection, activations, rho, row_weights, xp)
        return codes

    def decayed(self, kernels: Sequence[Any]) -> Sequence[Any]:
        """Return which of the kernels of encoder and decoder the weight decay is of.

        With a selection the decoder's rows have norm one: there is nothing to decay.
        """
        return kernels if self.selection is None else kernels[:1]

    def data_terms(
        self,
        target: Any,
        output: Any,
        codes: Any,
        row_weights: Any,
        coefficients: Coefficients,
        xp: Any,
        estimate_of: Callable[[Any], Any] = lambda own: own,
        observed: Any = None,
    ) -> DataTerms:
        """Return the terms of weighted rows.

        ``target`` is (n_rows, n_features). ``output``, as ``loss.of_rows`` takes it,
        and ``codes`` may have an axis of models before their rows. The row weights,
        (n_rows,), add up to one: 1 / m for Ng's mean over m samples, 0 for padding.

        ``estimate_of`` turns the rows' own statistic into the estimate that the penalty
        is evaluated at. The gradient is still that of the rows' own. ``observed`` is as
        for ``Loss.of_rows``.
        """
        reconstruction, squared = self.reconstruction(
            target, output, row_weights, xp, observed
        )
        own_statistic = self.statistic(codes, row_weights, xp)
        estimate = estimate_of(own_statistic)
        statistic = straight_through(estimate, own_statistic, xp)
        sparsity = self.penalty.value(statistic, coefficients, xp)
        return DataTerms(reconstruction, sparsity, squared, estimate, own_statistic)

    def reconstruction(
        self, target: Any, output: Any, row_weights: Any, xp: Any, observed: Any = None
    ) -> tuple[Any, Any]:
        """Return the weighted sums of the rows' losses and squared errors."""

        def mean(values: Any) -> Any:
            return xp.sum(row_weights * values, axis=-1)

        given = target, output
        loss = mean(self.loss.of_rows(*given, xp, observed))
        return loss, self.loss.mean_squared_error(*given, loss, mean, xp, observed)

    def sum_over_rows(self, codes: Any, row_weights: Any, xp: Any) -> Any:
        """Return the weighted sum of what the penalty averages over the rows."""
        return xp.matmul(row_weights, self.penalty.per_row(codes, xp))

    def statistic(self, codes: Any, row_weights: Any, xp: Any) -> Any:
        """Return the statistic of rows whose weights add up to one."""
        mean = self.sum_over_rows(codes, row_weights, xp)
        return self.penalty.statistic(mean, self.activation)
