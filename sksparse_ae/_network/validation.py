"""Checks of arrays beyond scikit-learn's validation."""

import contextlib
import math
from collections.abc import Iterator
from operator import add
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import validate_data

from .._objective.activations import OUTPUT_ACTIVATIONS
from .._objective.losses import LOSSES
from .blocks import Blocks, is_blocks, is_held, is_path, opened
from .reading import Rows, extent, reduced, stored
from .remote import RemoteBlocks, RemoteRows
from .weighting import WeightedRows

# Scaled data may leave their interval by so much, because a scaler rounds. It may have
# rounded in float32 before a cast to float64.
ROUNDING = 8 * float(np.finfo(np.float32).eps)

# Largest exponent of two of weights that are taken as they are.
LARGEST_EXPONENT = 300


@contextlib.contextmanager
def strict_validation() -> Iterator[None]:
    """Let a validation raise only ValueError or TypeError, and give no warnings.

    A Python integer beyond float64 would raise an OverflowError. scikit-learn looks for
    infinity by a sum, in which inf - inf would give a RuntimeWarning.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except OverflowError as error:
        raise ValueError(
            f"X holds numbers beyond the range of float64: {error}."
        ) from error
    except ValueError as error:
        if not str(error).startswith("Found array with dim"):
            raise
        raise ValueError(
            f"{error} A sample is one row: pass X.reshape(len(X), -1)."
        ) from error


def validated(
    estimator: Any, X: Any, *, reset: bool, ensure_min_samples: int = 1
) -> Rows:
    """Validate rows for an estimator; return an array, a CSR matrix, or Blocks.

    Duplicate entries of a sparse matrix are added up in a copy, so that all checks of
    values see the sums.
    """
    if is_blocks(X) or isinstance(X, RemoteBlocks | RemoteRows):
        return _validated_blocks(estimator, X, reset, ensure_min_samples)
    with strict_validation():
        X = validate_data(
            estimator,
            X,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            ensure_min_samples=ensure_min_samples,
            reset=reset,
        )
        if sparse.issparse(X) and not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
            assert_all_finite(X, allow_nan=True, input_name="X")
        return X


class Found(NamedTuple):
    """What is found in a block: its head, without rows, and what it holds."""

    head: Any
    n_rows: int
    dtype: str  # to compute in
    is_sparse: bool

    @property
    def kind(self) -> str:
        """What the blocks have in common."""
        return f"{'sparse' if self.is_sparse else 'dense'} {self.dtype}"


def _found(block: Any) -> Found:
    """Check a block as scikit-learn checks arrays, of any dtype of numbers."""
    if isinstance(block, WeightedRows):
        found, n_weights = _found(block.rows), len(block.weights)
        if n_weights != found.n_rows:
            raise ValueError(
                f"It has {found.n_rows} rows, and {n_weights} in sample_weight. Cut "
                "both into the same blocks."
            )
        return found
    # A frame's head keeps the names of its columns.
    is_frame = hasattr(block, "columns")
    block = block if is_frame else opened(block)
    with strict_validation():
        checked = check_array(
            block,
            accept_sparse="csr",
            dtype="numeric",
            ensure_all_finite="allow-nan",
            ensure_min_samples=0,
            input_name="X",
        )
    # They are cast where they are read.
    head = block[:0] if is_frame else np.empty((0, checked.shape[1]))
    # As for one array: float32 stays, and all other numbers become float64.
    dtype = "float32" if checked.dtype == np.float32 else "float64"
    return Found(head, checked.shape[0], dtype, sparse.issparse(checked))


def _found_or_error(number: int, block: Any) -> Found | str:
    try:
        return _found(block)
    except (OSError, ValueError, TypeError) as error:
        return str(error)


def _validated_blocks(estimator: Any, source: Any, reset: bool, least: int) -> Rows:
    """Validate blocks one by one; an error names the block and its number from 0."""
    if isinstance(source, Blocks | RemoteRows):
        return source
    n_blocks = len(source)
    found: Any
    if isinstance(source, RemoteBlocks):
        found = source.map(_found_or_error, range(n_blocks))
    else:
        found = (_found_or_error(n, source[n]) for n in range(n_blocks))
    lengths: list[int] = []
    kind, dtype, n_columns = "", "float64", 0
    for number, own in enumerate(found):
        if isinstance(own, str):
            raise ValueError(f"{_name_of(source, number)}: {own}")
        try:
            checked = validate_data(
                estimator,
                own.head,
                accept_sparse="csr",
                ensure_all_finite="allow-nan",
                reset=reset and number == 0,
                ensure_min_samples=0,
            )
        except ValueError as error:
            raise ValueError(f"{_name_of(source, number)}: {error}") from error
        lengths.append(own.n_rows)
        n_columns = checked.shape[1]
        if not own.n_rows:
            continue  # of a block without rows the kind is nothing
        if kind and own.kind != kind:
            raise ValueError(
                f"{_name_of(source, number)} is {own.kind}, and the first block is "
                f"{kind}. Convert the blocks to one kind."
            )
        kind = own.kind
        dtype = own.dtype
    if sum(lengths) < least:
        raise ValueError(
            f"Found {sum(lengths)} sample(s) in {len(lengths)} blocks while a minimum "
            f"of {least} is required."
        )
    rows = RemoteRows if isinstance(source, RemoteBlocks) else Blocks
    return rows(source, lengths, n_columns, np.dtype(dtype))


def _name_of(source: Any, number: int) -> str:
    is_named = not isinstance(source, RemoteBlocks) and is_path(source[number])
    path = f" ({source[number]})" if is_named else ""
    return f"Block {number} of X{path}"


def weighted(
    X: Rows, sample_weight: Any, *, least: int = 1, in_stream: bool = False
) -> Rows:
    """Return rows with weights, which are checked, or as they are for None.

    Rows of weight 0 are left out where that takes no file to be read. Equal weights are
    none at all, but in a stream, whose other calls may have other ones.
    """
    if sample_weight is None:
        return X
    weights = _checked_weights(sample_weight, X.shape[0])
    # By a power of two, which keeps their ratios, where sums might leave the range.
    exponent = int(np.frexp(weights.max())[1])
    if abs(exponent) > LARGEST_EXPONENT:
        weights = np.ldexp(weights, -exponent)
    n_used = np.count_nonzero(weights)
    if n_used < least:
        n_rows = len(weights)
        rounded = n_used < np.count_nonzero(sample_weight)
        beside = " beside the largest weight" if rounded else ""
        raise ValueError(
            f"sample_weight is zero{beside} for {n_rows - n_used} of {n_rows} rows; at "
            f"least {least} must have a weight."
        )
    if isinstance(X, RemoteRows):
        if not X.is_weighted:
            raise TypeError(
                "sample_weight is for rows on this machine, and on a Dask cluster by "
                "DaskSparseAutoencoderTransformer; RemoteBlocks have none."
            )
        return WeightedRows(X, weights)
    if n_used < len(weights) and is_held(X):
        X, weights = X[weights > 0], weights[weights > 0]
    if weights.min() == weights.max() and (not in_stream or weights[0] == 1):
        return X
    return WeightedRows(X, weights)


def _checked_weights(sample_weight: Any, n_rows: int) -> np.ndarray:
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"sample_weight must be a number for each row: {error}."
        ) from error
    if weights.ndim == 0:
        weights = np.full(n_rows, weights)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight has the shape {weights.shape}; X has {n_rows} rows. Give "
            "one weight for each row."
        )
    if not np.isfinite(weights).all():
        kind = "NaN" if np.isnan(weights).any() else "infinity"
        raise ValueError(f"sample_weight contains {kind}; weights must be finite.")
    if weights.min() < 0:
        raise ValueError(
            f"sample_weight contains {weights.min():.6g}, and weights must not be "
            "negative. A weight of 0 leaves a row out."
        )
    return weights


def check_range(X: Rows, loss: str, output_activation: str = "linear") -> None:
    """Raise if the loss cannot take all values of ``X``, or the output give any."""
    low, high = LOSSES[loss].interval
    outputs = OUTPUT_ACTIVATIONS[output_activation].interval
    if (low, high, *outputs) == 2 * (-math.inf, math.inf):
        return  # to look at all values takes a pass over them
    least, largest = extent(X)
    if least < low - ROUNDING and LOSSES[loss].takes_counts:
        raise ValueError(
            # scikit-learn's checks of positive_only ask for these first words.
            f"Negative values in data: loss={loss!r} needs data of {low:g} or more; X "
            f"has values from {least:.6g} to {largest:.6g}. Pass the data as counted, "
            "neither centred nor standardised, or use loss='squared_error'."
        )
    if least < low - ROUNDING or largest > high + ROUNDING:
        raise ValueError(
            f"loss={loss!r} needs data in [{low:g}, {high:g}]; X has values from "
            f"{least:.6g} to {largest:.6g}. Scale it, e.g. with MinMaxScaler, or "
            "use loss='squared_error'."
        )
    low, high = outputs
    if largest < low - ROUNDING or least > high + ROUNDING:
        raise ValueError(
            f"No value of X, from {least:.6g} to {largest:.6g}, is among what "
            f"output_activation={output_activation!r} can give, {low:g} to "
            f"{high:g}. Scale X, e.g. with MinMaxScaler, or use "
            "output_activation='linear'."
        )


def check_out(out: Any, shape: tuple[int, int]) -> None:
    """Raise unless an array, if there is one, can hold rows of this shape."""
    if out is None:
        return
    if (
        not isinstance(out, np.ndarray)
        or out.shape != shape
        or out.dtype not in (np.float32, np.float64)
        or not out.flags.writeable
    ):
        found = f"{out.shape} {out.dtype}" if isinstance(out, np.ndarray) else repr(out)
        raise ValueError(
            f"out must be an array or a memory map of shape {shape}, of float32 or "
            f"float64, that can be written to; got {found}."
        )


Result = TypeVar("Result", float, np.ndarray)


class NotFinite(ValueError):
    """A training became NaN or infinite; its caller looks for the cause."""


def held_not_finite(X: Rows) -> str:
    """Return a message about infinity in ``X``, or "" if there is none."""
    if n_values := reduced(X, _n_infinite, add):
        return (
            f"X contains infinity, in {n_values} of its values, which "
            "assume_finite=True of scikit-learn lets pass. Impute them, or leave out "
            "their rows."
        )
    return ""


def _n_infinite(X: Rows) -> Any:
    return np.count_nonzero(np.isinf(stored(X)))


def finite(result: Result, what: str) -> Result:
    """Return ``result`` if it is finite; else raise an error that names ``what``."""
    with np.errstate(all="ignore"):
        # The sum allocates no array. It may overflow where no value does.
        is_finite = np.isfinite(np.sum(result)) or np.isfinite(result).all()
    if not is_finite:
        raise ValueError(
            f"{what} overflows the range of its dtype: the values of X are too large. "
            "Scale the data, or pass float64."
        )
    return result
