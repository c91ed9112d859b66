"""How every kernel is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit, types

# What the compiler may assume about floats. Without "nnan" and "ninf", which would let it drop
# the very NaN that tells a diverged training; "reassoc" lets sums run in vector lanes, in an order
# that the code alone decides.
FAST_MATH = frozenset({"nsz", "arcp", "contract", "afn", "reassoc"})

# For code whose order of operations is the point, such as the reduction in ``exp``.
STRICT_MATH = frozenset({"nsz", "contract"})


# Division as in NumPy, the GIL released, and no counting of references: compiled code makes no
# arrays and keeps none, and the counts of views, atomic ones, took 0.3 of a small step.
OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel with fast math as above."""
    return by_type_alone(njit(fastmath=set(FAST_MATH), **OPTIONS)(function))


def exact(function: Callable[..., Any]) -> Any:
    """Compile a kernel without fast math, where a NaN must be seen or nothing is computed."""
    return by_type_alone(njit(**OPTIONS)(function))


def by_type_alone(dispatcher: Any) -> Any:
    """Let a compiled function be compiled once per types of its arguments, whatever their values.

    Numba otherwise compiles a function anew for every constant that some caller writes in a call,
    a 0 here and a 1 there, and all that it calls along with it: twice the time of a first start.
    """
    resolve = dispatcher.get_call_template

    def resolve_without_values(args: Any, kws: Any) -> Any:
        return resolve(
            [types.unliteral(arg) for arg in args],
            {name: types.unliteral(arg) for name, arg in kws.items()},
        )

    dispatcher.get_call_template = resolve_without_values
    return dispatcher


def of_strict_math() -> dict[str, Any]:
    """Return the options for an overload whose operations must stay in order."""
    return {"fastmath": set(STRICT_MATH), **OPTIONS}


def of_fast_math() -> dict[str, Any]:
    """Return the options for an overload that is a kernel like others."""
    return {"fastmath": set(FAST_MATH), **OPTIONS}


def piece(function: Callable[..., Any]) -> Any:
    """Compile a part of a kernel into the kernel itself, not as a function of its own."""
    return njit(fastmath=set(FAST_MATH), inline="always", **OPTIONS)(function)
