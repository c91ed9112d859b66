"""A matrix product block by block, over the microkernel.

Operands are read where they lie, but for parts that lie badly: those are copied first, to where
their rows are close together. The sum over k is cut into stretches, whose part of B stays in the
first-level cache, and each stretch is added to C. How it is cut follows from k alone, so an
element's bits depend on its row of A and its column of B, never on how many rows are computed
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
from fastnet_kernels.cpu.memory import (
    LINE,
    add_number,
    copy_number,
    copy_vector,
    lanes_of,
    prefetch,
    room,
    size_of,
)
from fastnet_kernels.cpu.microkernel import lanes, microkernel, tallest
from fastnet_kernels.cpu.transpose import transpose

# The longest stretch of k: two vectors per k are then 32 KB.
STRETCH = 256
# The most rows of A taken through all columns at once: a stretch of them stays in the second-level
# cache.
MOST_ROWS = 140
# Bytes between a matrix's rows from which on they lie badly: each on a memory page of its own, or
# several in the same few places of the cache.
FAR = 1024
# Copying pays where the copy is read often enough: B by so many rows, A by so many columns.
ROWS_PER_COPY, COLUMNS_PER_COPY = 48, 256

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
_room_for_b = room(lambda real: STRETCH * 2 * lanes(real))
_room_for_a = room(lambda real: STRETCH * MOST_ROWS)
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
def _copy_rows(
    real: Any, out: int, out_step: int, source: int, step: int, rows: int, columns: int
) -> None:
    """Copy a matrix; steps count elements."""
    size, vector = size_of(real), lanes_of(real)
    whole = columns - columns % vector
    for i in range(rows):
        to, here = out + i * out_step * size, source + i * step * size
        for j in range(0, whole, vector):
            copy_vector(real, to + j * size, here + j * size)
        for line in range(0, columns * size, LINE):  # the columns beside these come next
            prefetch(here + columns * size + line)
        for j in range(whole, columns):
            copy_number(real, to + j * size, here + j * size)


@piece
def _copy_transposed(
    real: Any, out: int, out_step: int, source: int, step: int, rows: int, columns: int
) -> None:
    """Copy the transpose of a matrix: rows of the source become columns of the copy."""
    size, vector = size_of(real), lanes_of(real)
    in_squares, whole = rows - rows % vector, columns - columns % vector
    for j in range(0, in_squares, vector):
        for l in range(0, whole, vector):
            here = source + (j * step + l) * size
            transpose(real, out + (l * out_step + j) * size, out_step, here, step)
    for j in range(rows):
        for l in range(whole if j < in_squares else 0, columns):
            copy_number(real, out + (l * out_step + j) * size, source + (j * step + l) * size)


@piece
def _product(
    real: Any, m: int, n: int, k: int, a: int, a_row: int, a_k: int, b: int, b_k: int,
    b_column: int, c: int, c_row: int, beta: int,
) -> None:  # fmt: skip
    """Compute C; A is read through the steps a_row and a_k, B through b_k and b_column.

    One step of each is 1: that of a matrix as it is, or that of its transpose.
    """
    size, pair = size_of(real), 2 * lanes_of(real)
    copy_of_a, copy_of_b = _room_for_a(real), _room_for_b(real)
    copies_a = a_k * size >= FAR and n >= COLUMNS_PER_COPY
    stretches = (k + STRETCH - 1) // STRETCH
    longest = (k + stretches - 1) // stretches
    parts = (m + MOST_ROWS - 1) // MOST_ROWS
    rows = (m + parts - 1) // parts
    for begin in range(0, m, rows):
        part = min(rows, m - begin)
        blocks = (part + _TALLEST - 1) // _TALLEST
        height, taller = part // blocks, part % blocks
        copies_b = n * size >= FAR and part >= ROWS_PER_COPY
        for first in range(0, k, longest):
            length = min(longest, k - first)
            a_here, a_step = a + (begin * a_row + first * a_k) * size, a_k
            if copies_a:
                _copy_rows(real, copy_of_a, MOST_ROWS, a_here, a_k, length, part)
                a_here, a_step = copy_of_a, MOST_ROWS
            for j in range(0, n, pair):
                width, ahead = min(pair, n - j), 0
                b_here, b_step = b + (first * b_k + j * b_column) * size, b_k
                if b_column != 1:
                    _copy_transposed(real, copy_of_b, pair, b_here, b_column, width, length)
                    b_here, b_step = copy_of_b, pair
                elif copies_b and width == pair:
                    _copy_rows(real, copy_of_b, pair, b_here, b_k, length, pair)
                    b_here, b_step = copy_of_b, pair
                elif a_k == 1:
                    # While the first block of rows computes, it asks for the columns that come
                    # next: another thread has just updated them, or they are long out of cache.
                    ahead = (pair if j + pair < n else length * b_k - j) * size
                i = 0
                for block in range(blocks):  # of nearly equal height
                    high = height + (1 if block < taller else 0)
                    microkernel(
                        real, high, width, a_here + i * a_row * size, a_row, a_step, b_here, b_step,
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
