"""A matrix product block by block, over microkernels that are compiled once and called by name.

Compiled code takes along a copy of all that it calls, to every level of callers, and the
microkernels are much of it. So they stand alone, as C functions that callers know by a registered
name, as they know the BLAS.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fastnet.execution import compiled
from fastnet_kernels.cpu.microkernel import heights, lanes, microkernel, tallest

_BLOCK = types.void(*[types.int64] * 11)
_block_32, _block_64 = microkernel(types.float32), microkernel(types.float64)
_TALLEST = tallest()


def block_f32(height, width, a, row_step, k_step, b, b_step, c, c_step, k, beta):  # type: ignore[no-untyped-def]
    """Compute one block in float32; see `microkernel`."""
    _block_32(height, width, a, row_step, k_step, b, b_step, c, c_step, k, beta)


def block_f64(height, width, a, row_step, k_step, b, b_step, c, c_step, k, beta):  # type: ignore[no-untyped-def]
    """Compute one block in float64; see `microkernel`."""
    _block_64(height, width, a, row_step, k_step, b, b_step, c, c_step, k, beta)


_EXTERNAL = {
    32: types.ExternalFunction("fastnet_block_f32", _BLOCK),
    64: types.ExternalFunction("fastnet_block_f64", _BLOCK),
}


@cache
def load(bits: int) -> Any:
    """Make the blocks of a dtype known by name: before code that calls them compiles or loads."""
    python = block_f32 if bits == 32 else block_f64
    return compiled.c_function(_BLOCK, f"fastnet_block_f{bits}", python)


def blocks(
    out: Any, n: int, k: int, a: int, row_step: int, k_step: int, b: int, b_step: int,
    beta: int,
) -> None:  # fmt: skip
    """Compute out[i, j] = sum_k A[i, k] B[k, j] + beta out[i, j], with k at least 1.

    ``a`` and ``b`` are the addresses of A[0, 0] and B[0, 0], steps count elements, beta is 0 or 1.
    """
    raise NotImplementedError("compiled code only")


@overload(blocks)
def _blocks_of_dtype(
    out: Any, n: Any, k: Any, a: Any, row_step: Any, k_step: Any, b: Any, b_step: Any,
    beta: Any,
) -> Any:  # fmt: skip
    real = out.dtype
    load(real.bitwidth)
    block, vector, size = _EXTERNAL[real.bitwidth], lanes(real), real.bitwidth // 8
    narrow_heights = np.array(heights(real, 1)[::-1])

    def walk(
        out: Any, n: Any, k: Any, a: Any, row_step: Any, k_step: Any, b: Any,
        b_step: Any, beta: Any,
    ) -> None:  # fmt: skip
        m, columns = out.shape
        c = out.ctypes.data
        count = (m + _TALLEST - 1) // _TALLEST
        base, extra = m // count, m % count
        j = 0
        while j < n:
            width = 2 * vector
            while width > n - j:
                width //= 2
            i = 0
            if width >= vector:  # rows in blocks of nearly equal height
                for index in range(count):
                    height = base + (1 if index < extra else 0)
                    block(
                        height, width, a + i * row_step * size, row_step, k_step, b + j * size,
                        b_step, c + (i * columns + j) * size, columns, k, beta,
                    )  # fmt: skip
                    i += height
            else:
                for height in narrow_heights:
                    while m - i >= height:
                        block(
                            height, width, a + i * row_step * size, row_step, k_step,
                            b + j * size, b_step, c + (i * columns + j) * size, columns, k, beta,
                        )  # fmt: skip
                        i += height
            j += width

    return walk
