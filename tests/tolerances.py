"""How close is close: every tolerance of the tests stands here, by dtype.

Results are compared with a float64 oracle. Three rules make up the table:

``base``
    ``atol + rtol |expected|``, for what is computed element by element.
``sum_bound``
    ``2 (K + 2) u sum |terms|`` for a sum of K products or terms, with u the unit roundoff: the
    worst case of any order of summation, fused or not, on both sides of the comparison. It grows
    with K and with the size of what is summed, and not with what is left after cancellation.
``STEPS``
    the largest absolute difference of parameters after training steps in float64, where the
    terms are of size 1 and only their order differs.

What needs more room than that gets it from a function below that gives the reason.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastnet.tolerances import BASE

Array = npt.NDArray[Any]

UNIT_ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53}
STEPS = 1e-12  # float64 alone


def base(expected: npt.ArrayLike, dtype: npt.DTypeLike) -> Array:
    """Room for values that are computed element by element."""
    rtol, atol = BASE[np.dtype(dtype).name]
    return atol + rtol * np.abs(np.asarray(expected, np.float64))


def sum_bound(terms: int, magnitude: npt.ArrayLike, dtype: npt.DTypeLike) -> Array:
    """Room for sums of ``terms`` terms whose absolute values sum up to ``magnitude``."""
    return 2 * (terms + 2) * UNIT_ROUNDOFF[np.dtype(dtype).name] * np.asarray(magnitude, np.float64)


def base_and_sum(
    expected: npt.ArrayLike, terms: int, magnitude: npt.ArrayLike, dtype: npt.DTypeLike
) -> Array:
    """Room for a sum over ``terms`` values that are themselves rounded element by element."""
    return base(expected, dtype) + sum_bound(terms, magnitude, dtype)


def slope_bound(expected: npt.ArrayLike, d: npt.ArrayLike, dtype: npt.DTypeLike) -> Array:
    """Room for d f'(z) with f' taken from a.

    Looser than ``base`` because a is rounded: where f saturates, f' is a difference of numbers
    close to 1, whose rounding, 8 u at most, is multiplied by d.
    """
    return base(expected, dtype) + 8 * UNIT_ROUNDOFF[np.dtype(dtype).name] * np.abs(d)


def assert_close(
    actual: Any,
    expected: npt.ArrayLike,
    dtype: npt.DTypeLike,
    allowed: npt.ArrayLike | None = None,
) -> None:
    """Assert dtype, shape, memory order, finiteness, and values within ``allowed`` (``base``).

    NaN never passes, expected or not: what should be NaN is to be tested with ``np.isnan``.
    """
    __tracebackhide__ = True
    assert isinstance(actual, np.ndarray | np.generic), f"{type(actual).__name__} is no array"
    assert actual.dtype == np.dtype(dtype), f"dtype {actual.dtype}, expected {np.dtype(dtype)}"
    wanted = np.asarray(expected, np.float64)
    assert actual.shape == wanted.shape, f"shape {actual.shape}, expected {wanted.shape}"
    assert actual.flags.c_contiguous, "the result is not C-contiguous"
    assert np.isfinite(wanted).all(), "the expected values are not finite"
    bad = ~np.isfinite(actual)
    assert not bad.any(), f"{np.count_nonzero(bad)} of {bad.size} values are not finite"
    room = np.broadcast_to(base(wanted, dtype) if allowed is None else allowed, wanted.shape)
    error = np.abs(np.asarray(actual, np.float64) - wanted)
    wrong = ~(error <= room)
    if wrong.any():
        worst = np.unravel_index(int(np.argmax(np.where(wrong, error - room, -np.inf))), room.shape)
        raise AssertionError(
            f"{np.count_nonzero(wrong)} of {wrong.size} values are off; the worst, at "
            f"{tuple(int(i) for i in worst)}, is {np.asarray(actual)[worst]!r} where "
            f"{wanted[worst]!r} within {room[worst]:.3g} was expected"
        )
