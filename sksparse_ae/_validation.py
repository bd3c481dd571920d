"""What scikit-learn's validation of arrays leaves to be checked."""

import contextlib

import numpy as np
from scipy import sparse


@contextlib.contextmanager
def strict_validation():
    """Let a validation fail by ValueError and TypeError alone, without warnings.

    A Python integer beyond float64 would raise an OverflowError, and inf - inf in the
    sum by which scikit-learn looks for infinity a RuntimeWarning.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except OverflowError as error:
        raise ValueError(
            f"X holds numbers beyond the range of float64: {error}."
        ) from error


def check_range(X, loss):
    """Raise if the loss does not take values of ``X``."""
    if loss != "log_loss":
        return
    values = X.data if sparse.issparse(X) else X
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 1:
        raise ValueError(
            f"loss='log_loss' needs data in [0, 1]; X has values from {low:.6g} to "
            f"{high:.6g}. Scale it, e.g. with MinMaxScaler, or use "
            "loss='squared_error'."
        )


def finite(result, what):
    """Return ``result`` if it is finite; else raise, for ``what`` overflows."""
    with np.errstate(all="ignore"):
        # A sum allocates nothing; it may overflow by itself.
        is_finite = np.isfinite(np.sum(result)) or np.isfinite(result).all()
    if not is_finite:
        raise ValueError(
            f"{what} overflows the range of its dtype: the values of X are too large. "
            "Scale the data, or pass float64."
        )
    return result
