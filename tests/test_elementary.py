"""exp, expm1 and tanh of compiled code against the C library, in units of the last place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastnet_kernels.cpu import elementary
from fastnet_kernels.cpu.compile import FAST_MATH
from numba import njit

exp, expm1, tanh = elementary.exp, elementary.expm1, elementary.tanh


@njit(fastmath=set(FAST_MATH), error_model="numpy")
def all_exp(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = exp(x[i])


@njit(fastmath=set(FAST_MATH), error_model="numpy")
def all_expm1(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = expm1(x[i])


@njit(fastmath=set(FAST_MATH), error_model="numpy")
def all_tanh(x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = tanh(x[i])


def arguments(dtype: str, largest: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.uniform(-largest, largest, 20_001)
    small = rng.uniform(-1, 1, 20_001) * 10.0 ** rng.uniform(-9, 0, 20_001)
    return np.concatenate([x, small, [0.0, -0.0, 0.25, -0.25, 0.5, -0.5]]).astype(dtype)


def worst(function: Any, reference: Any, x: np.ndarray) -> float:
    """Return the largest error in units of the last place of the result."""
    out = np.full_like(x, np.nan)
    function(x, out)
    exact = reference(x.astype(np.longdouble))
    assert np.isfinite(out).all()
    return float(np.max(np.abs(out - exact) / np.spacing(np.abs(exact).astype(x.dtype))))


@pytest.mark.parametrize(("dtype", "largest"), [("float32", 87.0), ("float64", 708.0)])
def test_exp(dtype: str, largest: float) -> None:
    assert worst(all_exp, np.exp, arguments(dtype, largest)) <= 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expm1_below_zero(dtype: str) -> None:
    assert worst(all_expm1, np.expm1, -np.abs(arguments(dtype, 40))) <= 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh(dtype: str) -> None:
    # Most beside 1/4, where 1 - 2 / (e^2x + 1) has lost two bits.
    assert worst(all_tanh, np.tanh, arguments(dtype, 30)) <= 8


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ends_of_the_range(dtype: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e4, -1e4, 0.0, -0.0], dtype)
    out = np.full_like(x, 7)
    all_exp(x, out)
    np.testing.assert_array_equal(out, np.array([np.nan, np.inf, 0, np.inf, 0, 1, 1], dtype))
    all_tanh(x, out)
    np.testing.assert_array_equal(out, np.array([np.nan, 1, -1, 1, -1, 0, 0], dtype))
    all_expm1(x[[2, 4, 5]], out[:3])
    np.testing.assert_array_equal(out[:3], np.array([-1, -1, 0], dtype))


def test_subnormal_results_are_gradual() -> None:
    x = np.array([-88.0, -95.0, -103.0], "float32")
    out = np.full_like(x, np.nan)
    all_exp(x, out)
    np.testing.assert_allclose(out, np.exp(x.astype(float)), rtol=0, atol=2e-45)
