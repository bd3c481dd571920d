"""Options of the public Keras classes, checked where they are given."""

import math
from collections.abc import Callable, Collection
from numbers import Integral, Real
from typing import Any


def one_of(name: str, value: Any, options: Collection[str]) -> str:
    """Return an option, or raise a ValueError that lists those there are."""
    if not (isinstance(value, str) and value in options):
        listed = ", ".join(map(repr, options))
        raise ValueError(f"{name} must be one of {listed}; got {name}={value!r}.")
    return value


def number(name: str, value: Any, is_valid: Callable[[Any], bool], what: str) -> float:
    """Return a finite number as a float, or raise a ValueError.

    Parameters
    ----------
    name : str
    value : object
    is_valid : callable
        Says of a number whether it is in the range.
    what : str
        The range, in words.
    """
    if not (isinstance(value, Real) and math.isfinite(value) and is_valid(value)):
        raise ValueError(f"{name} must {what}; got {name}={value!r}.")
    return float(value)


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0 as a float, or raise a ValueError."""
    return number(name, value, lambda v: v > 0, "be finite and larger than 0")


def not_negative(name: str, value: Any) -> float:
    """Return a finite number from 0 on as a float, or raise a ValueError."""
    return number(name, value, lambda v: v >= 0, "be finite and 0 or larger")


def count(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of at least so many as an int, or raise a ValueError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(
            f"{name} must be a whole number of {least} or more; got {name}={value!r}."
        )
    return int(value)
