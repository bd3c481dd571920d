"""Checks of the arguments of public classes and functions."""

import math
from collections.abc import Callable, Collection
from numbers import Integral, Real
from typing import Any


def one_of(name: str, value: Any, options: Collection[str]) -> str:
    """Return the value, or raise a ValueError that lists the options."""
    if not (isinstance(value, str) and value in options):
        listed = ", ".join(map(repr, options))
        raise ValueError(f"{name} must be one of {listed}; got {name}={value!r}.")
    return value


def number(name: str, value: Any, is_valid: Callable[[Any], bool], what: str) -> float:
    """Return a finite number as a float, or raise a ValueError.

    ``is_valid`` tells whether a number is in the range, which ``what`` describes.
    """
    if not (isinstance(value, Real) and math.isfinite(value) and is_valid(value)):
        raise ValueError(f"{name} must {what}; got {name}={value!r}.")
    return float(value)


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0 as a float, or raise a ValueError."""
    return number(name, value, lambda v: v > 0, "be finite and larger than 0")


def not_negative(name: str, value: Any) -> float:
    """Return a finite number of 0 or more as a float, or raise a ValueError."""
    return number(name, value, lambda v: v >= 0, "be finite and 0 or larger")


def count(name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of at least ``least`` as an int, or raise a ValueError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(
            f"{name} must be a whole number of {least} or more; got {name}={value!r}."
        )
    return int(value)
