"""Checks of single arguments: each error says what came, what was expected and what to do."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any


def whole_number(value: Any, argument: str, *, at_least: int, at_most: int | None = None) -> int:
    """Return ``value`` as an int; refuse booleans, fractions and numbers out of range."""
    limits = f"a whole number, {at_least} or larger"
    if at_most is not None:
        limits = f"a whole number from {at_least} to {at_most}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{argument} is {value!r} ({type(value).__name__}); expected {limits}")
    number = int(value)
    if number < at_least or (at_most is not None and number > at_most):
        raise ValueError(f"{argument} is {number}; expected {limits}")
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
    number = float(value)
    if (
        not math.isfinite(number)
        or (above is not None and number <= above)
        or (at_least is not None and number < at_least)
        or (below is not None and number >= below)
    ):
        raise ValueError(f"{argument} is {value!r}; expected {expected}")
    return number


def truth(value: Any, argument: str) -> bool:
    """Return ``value`` as a bool; refuse everything but True and False."""
    if not isinstance(value, bool):
        raise TypeError(f"{argument} is {value!r} ({type(value).__name__}); expected True or False")
    return value
