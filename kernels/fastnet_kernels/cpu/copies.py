"""Copies of parts of matrices, into the order in which a microkernel reads them.

Addresses are integers, steps count elements. A panel is some columns of a matrix: (rows, width),
whole rows of vectors.
"""

from __future__ import annotations

from typing import Any

from fastnet_kernels.cpu.compile import piece
from fastnet_kernels.cpu.memory import copy_number, copy_vector, lanes_of, size_of
from fastnet_kernels.cpu.transpose import transpose


@piece
def copy_panels(
    real: Any, out: int, source: int, step: int, rows: int, columns: int, width: int
) -> None:
    """Copy a matrix into panels of ``width`` columns, one after the other; the last may be part.

    Each panel is (rows, width), and the width is a multiple of a vector. Steps count elements.
    """
    size, vector = size_of(real), lanes_of(real)
    whole = columns - columns % width
    for i in range(rows):
        here, to = source + i * step * size, out + i * width * size
        for j in range(0, whole, width):
            for l in range(0, width, vector):
                copy_vector(real, to + l * size, here + (j + l) * size)
            to += rows * width * size
        for j in range(whole, columns):
            copy_number(real, to + (j - whole) * size, here + j * size)


@piece
def copy_columns(
    real: Any, out: int, width: int, source: int, step: int, rows: int, columns: int, readable: int
) -> None:
    """Copy ``columns`` columns of a matrix to rows of ``width``, a multiple of a vector.

    In whole vectors where ``readable`` columns are there for them; what is copied too much is
    never read.
    """
    size, vector = size_of(real), lanes_of(real)
    for i in range(rows):
        to, here = out + i * width * size, source + i * step * size
        if readable >= width:
            for j in range(0, width, vector):
                copy_vector(real, to + j * size, here + j * size)
        else:
            for j in range(columns):
                copy_number(real, to + j * size, here + j * size)


@piece
def copy_transposed(
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
