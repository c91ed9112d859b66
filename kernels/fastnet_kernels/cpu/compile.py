"""How every kernel is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

# What the compiler may assume about floats. Without "nnan" and "ninf", which would let it drop
# the very NaN that tells a diverged training; "reassoc" lets sums run in vector lanes, in an order
# that the code alone decides.
FAST_MATH = frozenset({"nsz", "arcp", "contract", "afn", "reassoc"})

# For code whose order of operations is the point, such as the reduction in ``exp``.
STRICT_MATH = frozenset({"nsz", "contract"})


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel: fast math as above, division as in NumPy, the GIL released."""
    return njit(fastmath=set(FAST_MATH), error_model="numpy", nogil=True)(function)


def of_strict_math() -> dict[str, Any]:
    """Return the options for an overload whose operations must stay in order."""
    return {"fastmath": set(STRICT_MATH), "error_model": "numpy"}
