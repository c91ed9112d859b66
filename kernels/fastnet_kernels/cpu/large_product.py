"""A product of large matrices: of both operands, a part at a time is copied into one piece.

B in panels as wide as a block, A in blocks as high as one (Goto, van de Geijn, "Anatomy of
high-performance matrix multiplication", 2008). A block of A stays in the first-level cache while a
group of panels passes by, and the group stays in the second-level cache while all blocks of A take
their turn. So C is written along its rows; down its columns, rows whose distance is a multiple of a
memory page would drive each other, and all else, out of the cache.
"""

from __future__ import annotations

from typing import Any

from fastnet_kernels.cpu.compile import kernel, piece
from fastnet_kernels.cpu.copies import copy_columns, copy_panels, copy_transposed
from fastnet_kernels.cpu.memory import LINE, allocate, constant, lanes_of, release, size_of
from fastnet_kernels.cpu.microkernel import lanes, microkernel, tallest, vector_bytes

# Bytes of a block of A: half of the first-level cache, which is larger beside wide vectors.
BLOCK_BYTES = 24 << 10 if vector_bytes() == 64 else 16 << 10
# The most rows of A taken through all columns at once, in float32 (half as many in float64): a
# stretch of them stays in the second-level cache, and B is copied once for all of them.
MOST_ROWS = 258
# Panels in a group: 256 KB, or 384 KB of wide vectors.
PANELS = 8

_TALLEST = tallest()


def block_step(real: Any) -> int:
    """Return how far apart the columns of a copied block of A are: whole vectors."""
    return -(-tallest() // lanes(real)) * lanes(real)


def longest_stretch(real: Any) -> int:
    """Return how long a stretch of k may be."""
    return int(BLOCK_BYTES // (block_step(real) * real.bitwidth // 8))


_block_step = constant(block_step)


@piece
def _parts(count: int, largest: int) -> int:
    return (count + largest - 1) // largest


@kernel
def large_product(
    real: Any, m: int, n: int, k: int, a: int, a_row: int, a_k: int, b: int, b_k: int,
    b_column: int, c: int, c_row: int, beta: int, longest: int,
) -> bool:  # fmt: skip
    """Compute C in stretches of up to ``longest`` k; return False where memory was missing.

    A is read through the steps a_row and a_k, B through b_k and b_column; one of each is 1.
    """
    size, pair, apart = size_of(real), 2 * lanes_of(real), _block_step(real)
    rows = _parts(m, _parts(m, MOST_ROWS * 4 // size))
    size_of_a = (_parts(rows, _TALLEST) + 1) * longest * apart * size
    memory = allocate(size_of_a + PANELS * pair * longest * size + LINE)
    if memory == 0:
        return False
    copy_of_a = (memory + LINE - 1) // LINE * LINE
    copy_of_b = copy_of_a + size_of_a
    for begin in range(0, m, rows):
        part = min(rows, m - begin)
        blocks = _parts(part, _TALLEST)
        height, taller = part // blocks, part % blocks  # blocks of nearly equal height
        for first in range(0, k, longest):
            length = min(longest, k - first)
            i = begin
            for block in range(blocks):
                high, readable = height + (1 if block < taller else 0), m - i
                to = copy_of_a + block * length * apart * size
                here = a + (i * a_row + first * a_k) * size
                if a_row == 1:
                    copy_columns(real, to, apart, here, a_k, length, high, readable)
                else:
                    copied = apart if readable >= apart else high
                    copy_transposed(real, to, apart, here, a_row, copied, length)
                i += high
            for left in range(0, n, PANELS * pair):
                columns = min(PANELS * pair, n - left)
                here = b + (first * b_k + left * b_column) * size
                if b_column == 1:
                    copy_panels(real, copy_of_b, here, b_k, length, columns, pair)
                else:
                    for j in range(0, columns, pair):
                        copy_transposed(
                            real, copy_of_b + j * length * size, pair, here + j * b_column * size,
                            b_column, min(pair, columns - j), length,
                        )  # fmt: skip
                i = begin
                for block in range(blocks):
                    high = height + (1 if block < taller else 0)
                    for j in range(0, columns, pair):
                        microkernel(
                            real, high, min(pair, columns - j),
                            copy_of_a + block * length * apart * size, 1, apart,
                            copy_of_b + j * length * size, pair,
                            c + (i * c_row + left + j) * size, c_row,
                            length, 1 if first > 0 else beta, 0,
                        )  # fmt: skip
                    i += high
    release(memory)
    return True
