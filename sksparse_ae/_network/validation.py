"""Checks of arrays beyond scikit-learn's validation."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data

from .._objective.activations import OUTPUT_ACTIVATIONS
from .._objective.losses import LOSSES
from .reading import Rows

# Scaled data may leave their interval by so much, because a scaler rounds. It may have
# rounded in float32 before a cast to float64.
ROUNDING = 8 * float(np.finfo(np.float32).eps)


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


def validated(estimator: Any, X: Any, **settings: Any) -> Rows:
    """Validate rows for an estimator; return them as an array or a CSR matrix.

    Duplicate entries of a sparse matrix are added up in a copy, so that all checks of
    values see the sums.
    """
    with strict_validation():
        X = validate_data(
            estimator,
            X,
            accept_sparse="csr",
            dtype=[np.float64, np.float32],
            **settings,
        )
        if sparse.issparse(X) and not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
            assert_all_finite(X, input_name="X")
        return X


def check_range(X: Rows, loss: str, output_activation: str | None = None) -> None:
    """Raise if the loss cannot take all values of ``X``, or the output give any."""
    values = X.data if sparse.issparse(X) else X
    low, high = LOSSES[loss].interval
    if math.isfinite(high - low):
        least, largest = values.min(initial=0), values.max(initial=0)
        if least < low - ROUNDING or largest > high + ROUNDING:
            raise ValueError(
                f"loss={loss!r} needs data in [{low:g}, {high:g}]; X has values from "
                f"{least:.6g} to {largest:.6g}. Scale it, e.g. with MinMaxScaler, or "
                "use loss='squared_error'."
            )
    if output_activation not in (None, "linear") and values.size == math.prod(X.shape):
        low, high = OUTPUT_ACTIVATIONS[output_activation].interval
        least, largest = values.min(), values.max()
        if largest < low - ROUNDING or least > high + ROUNDING:
            raise ValueError(
                f"No value of X, from {least:.6g} to {largest:.6g}, is among what "
                f"output_activation={output_activation!r} can give, {low:g} to "
                f"{high:g}. Scale X, e.g. with MinMaxScaler, or use "
                "output_activation='linear'."
            )


Result = TypeVar("Result", float, np.ndarray)


class NotFinite(ValueError):
    """A training became NaN or infinite; its caller looks for the cause."""


def held_not_finite(X: Rows) -> str:
    """Return a message about NaN or infinity in ``X``, or "" if there is none."""
    values = X.data if sparse.issparse(X) else X
    for is_it, kind in ((np.isnan, "NaN"), (np.isinf, "infinity")):
        if n_values := np.count_nonzero(is_it(values)):
            return (
                f"X contains {kind}, in {n_values} of its values, which "
                "assume_finite=True of scikit-learn lets pass. Impute them, or leave "
                "out their rows."
            )
    return ""


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
