"""exp, expm1 and tanh as plain arithmetic, so that loops over them run in vector lanes.

The C library computes these one number at a time, several times slower, and beside the matrix
products of a sigmoid or tanh layer that is most of the time. Errors are within 2 (exp) to 8 (tanh)
units in the last place; ``tests/test_elementary.py`` measures them. In compiled code alone: each is
chosen by the dtype of its argument.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fastnet_kernels.cpu.compile import of_strict_math

f4, f8, i4, i8 = np.float32, np.float64, np.int32, np.int64

# log 2 in two parts: n times the first is exact, the second brings the rest.
LOG2_HIGH_32, LOG2_LOW_32 = f4(0.693359375), f4(-2.12194440e-4)
LOG2_HIGH_64, LOG2_LOW_64 = f8(6.93147180369123816490e-01), f8(1.90821492927058770002e-10)
PER_LOG2 = 1.4426950408889634


def exp(x: Any) -> Any:
    """e^x: 0 or subnormal far below, infinity far above, NaN for NaN.

    x = n log 2 + r with |r| <= log(2) / 2, so e^x = 2^n e^r, with e^r by its Taylor polynomial
    and 2^n as two powers of two put together from their exponent bits: one alone would not reach
    the ends of the range.
    """
    raise NotImplementedError("compiled code only")


@overload(exp, jit_options=of_strict_math())
def _exp(x: Any) -> Any:
    if x == types.float32:

        def exp_32(x: Any) -> Any:
            c = min(max(x, f4(-104)), f4(89))
            n = np.floor(c * f4(PER_LOG2) + f4(0.5))
            r = c - n * LOG2_HIGH_32
            r = r - n * LOG2_LOW_32
            p = f4(1 / 5040)
            p = p * r + f4(1 / 720)
            p = p * r + f4(1 / 120)
            p = p * r + f4(1 / 24)
            p = p * r + f4(1 / 6)
            p = p * r + f4(1 / 2)
            p = p * r + f4(1)
            p = p * r + f4(1)
            half = i4(n) >> i4(1)
            rest = i4(n) - half
            p *= i4((half + i4(127)) << i4(23)).view(np.float32)
            p *= i4((rest + i4(127)) << i4(23)).view(np.float32)
            return p if x == x else x  # NaN is not equal to itself

        return exp_32

    def exp_64(x: Any) -> Any:
        c = min(max(x, f8(-746)), f8(710))
        n = np.floor(c * PER_LOG2 + 0.5)
        r = c - n * LOG2_HIGH_64
        r = r - n * LOG2_LOW_64
        p = f8(1 / 6227020800)
        p = p * r + 1 / 479001600
        p = p * r + 1 / 39916800
        p = p * r + 1 / 3628800
        p = p * r + 1 / 362880
        p = p * r + 1 / 40320
        p = p * r + 1 / 5040
        p = p * r + 1 / 720
        p = p * r + 1 / 120
        p = p * r + 1 / 24
        p = p * r + 1 / 6
        p = p * r + 1 / 2
        p = p * r + 1
        p = p * r + 1
        half = i8(n) >> i8(1)
        rest = i8(n) - half
        p *= i8((half + i8(1023)) << i8(52)).view(np.float64)
        p *= i8((rest + i8(1023)) << i8(52)).view(np.float64)
        return p if x == x else x  # NaN is not equal to itself

    return exp_64


def tanh_near_zero(x: Any) -> Any:
    """Compute tanh x for |x| <= 1/4, to the last place.

    Lambert's continued fraction x / (1 + x^2 / (3 + x^2 / (5 + ...))), 1761, cut off where the
    dtype no longer sees the rest and multiplied out.
    """
    raise NotImplementedError("compiled code only")


@overload(tanh_near_zero, jit_options=of_strict_math())
def _tanh_near_zero(x: Any) -> Any:
    if x == types.float32:

        def tanh_near_zero_32(x: Any) -> Any:
            s = x * x
            return x * (f4(105) + f4(10) * s) / (f4(105) + s * (f4(45) + s))

        return tanh_near_zero_32

    def tanh_near_zero_64(x: Any) -> Any:
        s = x * x
        return x * (10395 + s * (1260 + s * 21)) / (10395 + s * (4725 + s * (210 + s)))

    return tanh_near_zero_64


def tanh(x: Any) -> Any:
    """Compute tanh x = 1 - 2 / (e^2x + 1), and near 0, where that cancels, the fraction above."""
    raise NotImplementedError("compiled code only")


@overload(tanh, jit_options=of_strict_math())
def _tanh(x: Any) -> Any:
    real = f4 if x == types.float32 else f8

    def tanh_any(x: Any) -> Any:
        far = real(1) - real(2) / (exp(x + x) + real(1))
        return tanh_near_zero(x) if abs(x) < real(0.25) else far

    return tanh_any


def expm1(x: Any) -> Any:
    """e^x - 1 for x <= 0; near 0, where that cancels, 2 t / (1 - t) with t = tanh(x / 2)."""
    raise NotImplementedError("compiled code only")


@overload(expm1, jit_options=of_strict_math())
def _expm1(x: Any) -> Any:
    real = f4 if x == types.float32 else f8

    def expm1_any(x: Any) -> Any:
        t = tanh_near_zero(x * real(0.5))
        near = (t + t) / (real(1) - t)
        return near if x > real(-0.5) else exp(x) - real(1)

    return expm1_any
