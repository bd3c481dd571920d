"""What one call of ``partial_fit`` leaves to the next, and how a stream goes on."""

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from .._network.coordinates import MOST_AXES, may_turn, rows_for_axes
from .._network.reading import Rows
from .._network.scaling import Moments
from .._objective.losses import LOSSES
from .monitor import Weights
from .settings import rows_of_a_batch

# A stream may be one set of rows, again and again: batches grow with the rows that have
# come over so many passes, up to a size. With 256 rows, eight passes over 10 000
# patches ended 2 to 3 % higher than with 128, which a fit of eight epochs takes. Over 8
# passes instead of 4, digits in pieces of 100 rows ended 2 % higher.
STREAMED_PASSES = 4
LARGEST_STREAMED_BATCH = 128

# A batch of a stream may be as large as the power of two above all rows that have come,
# and as this: few sizes, as each makes a program of its own.
LEAST_STREAMED_BATCH = 32

# The share that the automatic rate has in a stream that is trained along principal
# axes. Axes and rate go by the same few rows, which are uncorrelated along these axes;
# those to come are not, and move a unit farther. Eight passes over 10 000 images of
# Fashion-MNIST end 2 to 3 % lower than with 1, one pass over patches 10 %. Without axes
# it loses 2 to 3 %.
STREAMED_RATE = 0.75

# How many times as far as before all rows of a stream may spread after another call. In
# units that grow by more, the inputs of the units are so large that they are always on
# or always off.
MOST_GROWTH = 2

# Fewer rows than this share of those before do not show that it is so.
LEAST_EVIDENCE = 1 / 20


class Continuation(NamedTuple):
    """What continues a training by mini-batches, beside the fitted attributes.

    After a ``fit`` without ``warm_start`` it is a few numbers, and all from ``weights``
    on is None.
    """

    optimizer: str
    rate: float | None  # at which an automatic rate started
    # Rows of all calls of ``partial_fit``, and standard deviations of their columns.
    n_samples_seen: float
    deviations: np.ndarray
    n_batches: float  # as ``State`` has them, all epochs of a fit included
    n_rows: int
    n_observed: np.ndarray | None = None  # of the stream, as ``Moments`` have it
    # Of the stream: with scale="whiten", or while it has too few rows for its axes.
    covariance: np.ndarray | None = None
    # The rest of the ``State``, the ``Coordinates`` that it is in, and the order of the
    # rows.
    weights: Weights | None = None
    statistic: np.ndarray | None = None
    average: Weights | None = None
    optimizer_variables: list | None = None
    axes: np.ndarray | None = None
    spread: np.ndarray | None = None
    random_state: np.random.RandomState | None = None

    def without_weights(self) -> "Continuation":
        """Return it without the state, for weights that come from elsewhere."""
        given: Any = self[: self._fields.index("weights")]
        return Continuation(*given)


def moments_of_stream(own: Moments, past: Moments) -> tuple[Moments, bool]:
    """Return the moments of a stream with another call, and whether that starts afresh.

    Rows that spread far more than those before are taken in the units of those if they
    are few; if not, training starts afresh.
    """
    moments = past.joined_with(own)
    if moments.deviation <= MOST_GROWTH * past.deviation:
        return moments, False
    starts_afresh, consequence = True, "training starts afresh"
    if own.n_samples < LEAST_EVIDENCE * past.n_samples:
        moments, starts_afresh = past, False
        consequence = "they are taken in the units of those"
    if own.n_samples < past.n_samples and past.deviation > 0:
        distance = np.linalg.norm(own.offset - past.offset) / math.sqrt(len(own.offset))
        times = math.hypot(own.deviation, distance) / past.deviation
        warnings.warn(
            f"The rows of this call lie {times:.3g} times as far from the mean as the "
            f"{past.n_samples} before: {consequence}. Scale all parts alike "
            "(StandardScaler), or leave out rows that are broken.",
            stacklevel=6,
        )
    return moments, starts_afresh


def stream_batch_size(batch_size: int | str, n_seen: int) -> int:
    """Return how many rows a batch has, by the rows of the stream that have come."""
    n_rows = n_seen // STREAMED_PASSES
    size = rows_of_a_batch(batch_size, n_rows, LARGEST_STREAMED_BATCH)
    # Rows of a stream count alike in pieces of any size, smaller ones, too.
    return min(size, max(1 << (n_seen - 1).bit_length(), LEAST_STREAMED_BATCH))


def seeks_axes(estimator: Any, X: Rows, past: Continuation | None) -> bool:
    """Return whether a stream needs the covariance of its rows, to turn to their axes.

    It does until enough rows have come. Few rows that come first may vary along other
    directions than all do. After a ``fit`` it does not: the axes of its rows are gone.
    """
    n_features, is_linear = X.shape[1], estimator.output_activation == "linear"
    if (
        estimator.solver != "adam"
        or estimator.corruption
        or not may_turn(LOSSES[estimator.loss], linear_output=is_linear)
        or n_features > MOST_AXES
    ):
        return False
    if past is None:
        return X.shape[0] < rows_for_axes(n_features)
    return past.covariance is not None and past.n_rows < rows_for_axes(n_features)


def has_new_axes(n_rows: int, moments: Moments, past: Continuation) -> bool:
    """Return whether a stream turns to new axes with the ``n_rows`` of a call.

    It does whenever its rows pass a power of two, until there are enough of them. They
    are those since it began, or began afresh.
    """
    enough = rows_for_axes(len(moments.offset))
    if moments.covariance is None or past.n_rows >= enough:
        return False
    total = past.n_rows + n_rows
    return total >= enough or total.bit_length() > past.n_rows.bit_length()
