"""A matrix product block by block, over the microkernel.

Small operands are read where they lie; large ones are copied, see ``large_product.py``. The sum
over k is cut into stretches, each of which is added to C. How it is cut follows from k and n alone,
so an element's bits depend on its row of A and its column of B, never on how many rows are computed
together: rows may be shared out among any number of threads.

The product is a C function that callers know by a registered name, as they know the BLAS: compiled
code takes along a copy of all that it calls, to every level of callers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types

from fastnet.execution import compiled
from fastnet_kernels.cpu.compile import piece
from fastnet_kernels.cpu.copies import copy_transposed
from fastnet_kernels.cpu.large_product import large_product, longest_stretch
from fastnet_kernels.cpu.memory import (
    add_number,
    constant,
    copy_number,
    lanes_of,
    room,
    size_of,
)
from fastnet_kernels.cpu.microkernel import FAR, lanes, microkernel, tallest

# The longest stretch of k where B is narrow and is read in place: two vectors per k are then 32 KB
# at most, and stay in the first-level cache.
STRETCH = 256
# The most rows of A taken through all columns at once: a stretch of them stays in the second-level
# cache.
MOST_ROWS = 140
# From so many rows on copies pay where B is wide: they are read that often.
ROWS_PER_COPY = 48

SIGNATURE, NARROW_SIGNATURE = (types.void(*[types.int64] * count) for count in (12, 8))
# What callers compile a call to, by the bits of the dtype.
EXTERNAL = {
    bits: types.ExternalFunction(f"fastnet_product_f{bits}", SIGNATURE) for bits in (32, 64)
}
EXTERNAL_NARROW = {
    bits: types.ExternalFunction(f"fastnet_narrow_f{bits}", NARROW_SIGNATURE) for bits in (32, 64)
}
# The most columns of a narrow product.
NARROW = 28
_TALLEST = tallest()
_longest_of_wide = constant(longest_stretch)
_room_for_panel = room(lambda real: max(STRETCH, longest_stretch(real)) * 2 * lanes(real))
_room_for_c = room(lambda real: NARROW * 2 * lanes(real))


@cache
def load(bits: int) -> Any:
    """Make the products of a dtype known by name: before code that calls them compiles or loads."""
    whole, narrow = (product_f32, narrow_f32) if bits == 32 else (product_f64, narrow_f64)
    return (
        compiled.c_function(SIGNATURE, f"fastnet_product_f{bits}", whole),
        compiled.c_function(NARROW_SIGNATURE, f"fastnet_narrow_f{bits}", narrow),
    )


@piece
def _longest(k: int, limit: int) -> int:
    """Return the longest of as few stretches of k as the limit allows, of nearly equal length."""
    stretches = (k + limit - 1) // limit
    return (k + stretches - 1) // stretches


@piece
def _product(
    real: Any, m: int, n: int, k: int, a: int, a_row: int, a_k: int, b: int, b_k: int,
    b_column: int, c: int, c_row: int, beta: int,
) -> None:  # fmt: skip
    """Compute C; A is read through the steps a_row and a_k, B through b_k and b_column.

    One step of each is 1: that of a matrix as it is, or that of its transpose.
    """
    if n * size_of(real) < FAR:
        longest = _longest(k, STRETCH)
    else:
        longest = _longest(k, _longest_of_wide(real))
        if m >= ROWS_PER_COPY and large_product(
            real, m, n, k, a, a_row, a_k, b, b_k, b_column, c, c_row, beta, longest
        ):  # fmt: skip
            return
    _in_place(real, m, n, k, a, a_row, a_k, b, b_k, b_column, c, c_row, beta, longest)


@piece
def _in_place(
    real: Any, m: int, n: int, k: int, a: int, a_row: int, a_k: int, b: int, b_k: int,
    b_column: int, c: int, c_row: int, beta: int, longest: int,
) -> None:  # fmt: skip
    """Compute C in stretches of up to ``longest`` k; only a transposed B is copied, in panels."""
    size, pair = size_of(real), 2 * lanes_of(real)
    panel = _room_for_panel(real)
    parts = (m + MOST_ROWS - 1) // MOST_ROWS
    rows = (m + parts - 1) // parts
    for begin in range(0, m, rows):
        part = min(rows, m - begin)
        blocks = (part + _TALLEST - 1) // _TALLEST
        height, taller = part // blocks, part % blocks
        for first in range(0, k, longest):
            length = min(longest, k - first)
            a_here = a + (begin * a_row + first * a_k) * size
            for j in range(0, n, pair):
                width, ahead = min(pair, n - j), 0
                b_here, b_step = b + (first * b_k + j * b_column) * size, b_k
                if b_column != 1:
                    copy_transposed(real, panel, pair, b_here, b_column, width, length)
                    b_here, b_step = panel, pair
                elif a_k == 1:
                    # While the first block of rows computes, it asks for the columns that come
                    # next: another thread has just updated them, or they are long out of cache.
                    ahead = (pair if j + pair < n else length * b_k - j) * size
                i = 0
                for block in range(blocks):  # of nearly equal height
                    high = height + (1 if block < taller else 0)
                    microkernel(
                        real, high, width, a_here + i * a_row * size, a_row, a_k, b_here, b_step,
                        c + ((begin + i) * c_row + j) * size, c_row, length,
                        1 if first > 0 else beta, ahead,
                    )  # fmt: skip
                    i, ahead = i + high, 0


@piece
def _narrow(real: Any, m: int, n: int, k: int, a: int, a_k: int, b: int, c: int, beta: int) -> None:
    """Compute C = A^T B + beta C for up to NARROW columns: as (B^T A)^T.

    So the vectors run along the rows of A, and are full; those along the rows of B would not be.
    """
    size, pair = size_of(real), 2 * lanes_of(real)
    transposed = _room_for_c(real)
    blocks = (n + _TALLEST - 1) // _TALLEST
    height, taller = n // blocks, n % blocks
    for j in range(0, m, pair):
        width, ahead = min(pair, m - j), pair * size
        i = 0
        for block in range(blocks):
            high = height + (1 if block < taller else 0)
            microkernel(
                real, high, width, b + i * size, 1, n, a + j * size, a_k,
                transposed + i * pair * size, pair, k, 0, ahead,
            )  # fmt: skip
            i, ahead = i + high, 0
        for row in range(width):
            out, source = c + (j + row) * n * size, transposed + row * size
            if beta == 0:
                for i in range(n):
                    copy_number(real, out + i * size, source + i * pair * size)
            else:
                for i in range(n):
                    add_number(real, out + i * size, source + i * pair * size)


def narrow_f32(m, n, k, a, a_k, b, c, beta):  # type: ignore[no-untyped-def]
    """C[i, j] = sum_k A[k, i] B[k, j] + beta C[i, j] in float32, from addresses; see `_narrow`."""
    _narrow(np.float32(0), m, n, k, a, a_k, b, c, beta)


def narrow_f64(m, n, k, a, a_k, b, c, beta):  # type: ignore[no-untyped-def]
    """C[i, j] = sum_k A[k, i] B[k, j] + beta C[i, j] in float64, from addresses; see `_narrow`."""
    _narrow(np.float64(0), m, n, k, a, a_k, b, c, beta)


def product_f32(m, n, k, a, a_row, a_k, b, b_k, b_column, c, c_row, beta):  # type: ignore[no-untyped-def]
    """C[i, j] = sum_k A[i, k] B[k, j] + beta C[i, j] in float32, from addresses; see `_product`."""
    _product(np.float32(0), m, n, k, a, a_row, a_k, b, b_k, b_column, c, c_row, beta)


def product_f64(m, n, k, a, a_row, a_k, b, b_k, b_column, c, c_row, beta):  # type: ignore[no-untyped-def]
    """C[i, j] = sum_k A[i, k] B[k, j] + beta C[i, j] in float64, from addresses; see `_product`."""
    _product(np.float64(0), m, n, k, a, a_row, a_k, b, b_k, b_column, c, c_row, beta)
