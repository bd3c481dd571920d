"""Selections: the largest activations stay, the others become 0."""

from typing import Any, Protocol

# The most halvings of the interval in which a threshold lies. In float32 it is then
# exact for values down to a 256th of the largest one, and to rounding for smaller ones.
HALVINGS = 32

# Shares of weighted rows are sums of float32: one that is less by so much is enough.
ROUNDED_SHARE = 1e-6


class Selection(Protocol):
    """Which activations of a mini-batch stay; ``SELECTIONS`` holds one of each.

    Each has thresholds such that a share of the activations is as large, and keeps
    these. ``selections.LAYERS_OF_SELECTIONS`` has its layer for Keras.
    """

    # Whether other rows of the batch count: a fitted network then has fixed thresholds
    # instead, which give the same share on all its training rows.
    needs_threshold: bool = True
    # Whether there is a threshold for each unit, or one for all.
    is_per_unit: bool = False

    def share(self, on: Any, row_weights: Any, xp: Any) -> Any:
        """Return the share of ones for each threshold.

        ``on`` is 0 or 1 for each activation, (..., n_rows, n_units). The row weights,
        (n_rows,), add up to one.
        """

    def least_share(self, n_units: int, row_weights: Any, xp: Any) -> Any:
        """Return the least share that a single activation has."""

    def spread_out(self, values: Any) -> Any:
        """Return values for the thresholds in a shape that activations broadcast to."""

    def axes(self) -> tuple[int, ...]:
        """Return the axes of activations that share a threshold."""

    def wanted_share(self, rho: Any, n_units: int, xp: Any) -> Any:
        """Return the share of activations that stays."""
        return rho


class TopK(Selection):
    """In each row the rho * n_units largest activations stay, and at least one."""

    needs_threshold = False

    def share(self, on: Any, row_weights: Any, xp: Any) -> Any:
        # A product: XLA on the CPU does not vectorise sums.
        n_units = on.shape[-1]
        return xp.matmul(on, xp.full((n_units,), 1 / n_units, on.dtype))

    def least_share(self, n_units: int, row_weights: Any, xp: Any) -> Any:
        return 1 / n_units

    def spread_out(self, values: Any) -> Any:
        return values[..., None]

    def axes(self) -> tuple[int, ...]:
        return (-1,)

    def wanted_share(self, rho: Any, n_units: int, xp: Any) -> Any:
        return xp.maximum(xp.floor(rho * n_units + 0.5), 1) / n_units


class BatchTopK(TopK):
    """As many stay, rho * n_units, on average over the rows.

    B. Bussmann, P. Leask, N. Nanda, "BatchTopK sparse autoencoders", 2024.
    """

    needs_threshold = True

    def share(self, on: Any, row_weights: Any, xp: Any) -> Any:
        return xp.matmul(super().share(on, row_weights, xp), row_weights)

    def least_share(self, n_units: int, row_weights: Any, xp: Any) -> Any:
        return _least_weight(row_weights, xp) / n_units

    def spread_out(self, values: Any) -> Any:
        return values[..., None, None]

    def axes(self) -> tuple[int, ...]:
        return (-2, -1)

    def wanted_share(self, rho: Any, n_units: int, xp: Any) -> Any:
        return rho


class Lifetime(Selection):
    """Each unit stays on for the share rho of the rows, and at least for one.

    A. Makhzani, B. Frey, "Winner-take-all autoencoders", NIPS 2015.
    """

    is_per_unit = True

    def share(self, on: Any, row_weights: Any, xp: Any) -> Any:
        # A sum over rows, which XLA vectorises: a product takes nine times the time.
        return xp.sum(row_weights[:, None] * on, axis=-2)

    def least_share(self, n_units: int, row_weights: Any, xp: Any) -> Any:
        return _least_weight(row_weights, xp)

    def spread_out(self, values: Any) -> Any:
        return values[..., None, :]

    def axes(self) -> tuple[int, ...]:
        return (-2,)


def _least_weight(row_weights: Any, xp: Any) -> Any:
    """Return the least of the row weights that are above 0."""
    return xp.min(xp.where(row_weights > 0, row_weights, xp.ones_like(row_weights)))


# A. Makhzani, B. Frey, "k-sparse autoencoders", ICLR 2014, has the first of them.
SELECTIONS: dict[str, Selection] = {
    "topk": TopK(),
    "batchtopk": BatchTopK(),
    "lifetime": Lifetime(),
}


def largest(
    selection: Selection, activations: Any, rho: Any, row_weights: Any, xp: Any
) -> tuple[Any, Any]:
    """Return the activations with 0 for those that do not stay, and the thresholds.

    They are 0 or more, (..., n_rows, n_units); ``xp`` is ``keras.ops``. ``rho`` is a
    number, or (n_models, 1) for as many models. Where activations are equal to the
    threshold, all of them stay.

    The thresholds are found by halving an interval, in which each step counts what is
    above its middle, until no activation could be left out. It takes any share, also
    one that models do not have in common. For 256 rows of 4096 units, 32 of them to
    stay, that is 14 to 17 steps. They take a third to a half of the time of the product
    that makes them from 784 features. ``top_k`` takes a third, but within XLA, which
    compiles a step, five times as long as the product.
    """
    values, n_units = xp.stop_gradient(activations), activations.shape[-1]
    wanted = selection.wanted_share(rho, n_units, xp) - ROUNDED_SHARE
    most = wanted + selection.least_share(n_units, row_weights, xp)

    def share_of(on: Any) -> Any:
        return selection.share(xp.cast(on, values.dtype), row_weights, xp)

    def is_above(thresholds: Any) -> Any:
        return values >= selection.spread_out(thresholds)

    high = xp.max(values, axis=selection.axes())
    if len(wanted.shape) > len(high.shape):
        wanted, most = wanted[..., 0], most[..., 0]

    def goes_on(low: Any, high: Any, shares: Any) -> Any:
        return xp.any(shares >= most)

    def halve(low: Any, high: Any, shares: Any) -> tuple[Any, Any, Any]:
        middle = 0.5 * (low + high)
        above = share_of(is_above(middle))
        # Where the interval is a point, 0, there is nothing to leave out.
        enough = xp.logical_and(above >= wanted, middle > low)
        return (
            xp.where(enough, middle, low),
            xp.where(enough, high, middle),
            xp.where(enough, above, shares),
        )

    start = xp.zeros_like(high), high, share_of(values > 0)
    low, *_ = xp.while_loop(goes_on, halve, start, maximum_iterations=HALVINGS)
    return activations * xp.cast(is_above(low), values.dtype), low


def kept_in_row(selection: Selection, activations: Any, given: Any, xp: Any) -> Any:
    """Return the codes of a fitted network, in which other rows do not count.

    ``given`` is the threshold if the selection needs one, and ``rho`` if it does not.
    The activations are (n_rows, n_units), and may be negative.
    """
    positive = xp.maximum(activations, 0)
    if not selection.needs_threshold:
        codes, _ = largest(selection, positive, given, None, xp)
        return codes
    return xp.where(activations >= given, positive, xp.zeros_like(positive))
