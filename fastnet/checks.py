"""Checks of single arguments: each error says what came, what was expected and what to do."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np


def whole_number(value: Any, argument: str, *, at_least: int, at_most: int | None = None) -> int:
    """Return ``value`` as an int; refuse booleans, fractions and numbers out of range."""
    limits = f"a whole number, {at_least} or larger"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{argument} is {value!r} ({type(value).__name__}); expected {limits}")
    number = int(value)
    if at_most is not None and number > at_most:
        limits = f"a whole number from {at_least} to {at_most}"
    if number < at_least or (at_most is not None and number > at_most):
        raise ValueError(f"{argument} is {_shown(number)}; expected {limits}")
    return number


def real_number(
    value: Any,
    argument: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
) -> float:
    """Return ``value`` as a finite float within the open or closed bounds given."""
    bounds = [
        *([f"above {above:g}"] if above is not None else []),
        *([f"{at_least:g} or larger"] if at_least is not None else []),
        *([f"below {below:g}"] if below is not None else []),
    ]
    expected = "a finite number" + (", " + " and ".join(bounds) if bounds else "")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument} is {value!r} ({type(value).__name__}); expected {expected}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond every float
        number = math.inf
    if (
        not math.isfinite(number)
        or (above is not None and number <= above)
        or (at_least is not None and number < at_least)
        or (below is not None and number >= below)
    ):
        raise ValueError(f"{argument} is {_shown(value)}; expected {expected}")
    return number


def fits(number: float, argument: str, dtype: np.dtype[Any]) -> float:
    """Return a positive number that the dtype can hold, neither 0 nor subnormal nor infinite."""
    smallest, largest = float(np.finfo(dtype).tiny), float(np.finfo(dtype).max)
    if not smallest <= number <= largest:
        raise ValueError(
            f"{argument} is {number:g}, which does not fit {dtype}; expected {smallest:.2g} to "
            f"{largest:.2g}, or use dtype='float64'"
        )
    return number


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, np.generic) else repr(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} digits)"


def truth(value: Any, argument: str, *, or_none: str = "") -> Any:
    """Return ``value`` if it is True or False, or None where ``or_none`` says what that means."""
    if isinstance(value, bool) or (value is None and or_none):
        return value
    expected = "True or False" + (f", or None for {or_none}" if or_none else "")
    raise TypeError(f"{argument} is {value!r} ({type(value).__name__}); expected {expected}")
