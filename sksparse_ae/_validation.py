"""What scikit-learn's validation of arrays leaves to be said."""

import contextlib

import numpy as np


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
