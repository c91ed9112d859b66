"""matmul_nn, matmul_tn and matmul_nt: a BLAS, and microkernels for products of medium size.

Which of the two is faster depends on the shape alone; docs/performance.md has the measurements
behind the borders below. OpenBLAS has code of its own for small products and copies the operands of
large ones into the order it needs. In between the copying costs more than it gains, and the
microkernel, which reads the operands where they lie, is ahead, until the rows of B are so long and
many that each piece of one lies on a memory page of its own.

The BLAS is called by a registered name, which compiled code can be cached with; see
``fastnet.execution.blas``, which loads and registers it.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import overload

from fastnet_kernels.cpu.blocks import blocks
from fastnet_kernels.cpu.compile import kernel, piece

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112

# Products of up to this many multiplications go to the small code of the BLAS.
SMALL = 1_000_000
# Fewer columns of C than this leave the vectors of a microkernel half empty.
FEWEST_COLUMNS = 32
# Up to NARROW columns, microkernels for any number of rows of C; up to WIDE columns, for FEW_ROWS.
NARROW, WIDE = 256, 512
FEW_ROWS_NN, FEW_ROWS_TN = 32, 112


def _gemm_of(name: str, real: Any) -> Any:
    """cblas_?gemm(order, trans a, trans b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)."""
    i4, pointer = types.int32, types.uintp
    return types.ExternalFunction(
        name,
        types.void(i4, i4, i4, i4, i4, i4, real, pointer, i4, pointer, i4, real, pointer, i4),
    )


_sgemm = _gemm_of("fastnet_cblas_sgemm", types.float32)
_dgemm = _gemm_of("fastnet_cblas_dgemm", types.float64)


def _blas(
    trans_a: int, trans_b: int, out: Any, k: int, a: int, lda: int, b: int, ldb: int, beta: int
) -> None:
    raise NotImplementedError("compiled code only")


@overload(_blas)
def _blas_of_dtype(
    trans_a: Any, trans_b: Any, out: Any, k: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any
) -> Any:
    gemm = _sgemm if out.dtype == types.float32 else _dgemm

    def call(
        trans_a: Any, trans_b: Any, out: Any, k: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any
    ) -> None:
        m, n = out.shape
        one, c = out.dtype.type(1), out.dtype.type(beta)
        gemm(ROW_MAJOR, trans_a, trans_b, m, n, k, one, a, lda, b, ldb, c, out.ctypes.data, n)

    return call


@piece
def _is_medium(m: int, n: int, k: int, few_rows: int) -> bool:
    """Whether microkernels are faster for this shape than the BLAS."""
    if m * n * k <= SMALL or n < FEWEST_COLUMNS:
        return False
    return n <= NARROW or (n <= WIDE and m <= few_rows)


@kernel
def matmul_nn(out: Any, a: Any, b: Any, beta: int) -> None:
    """Compute out = a b + beta out."""
    m = out.shape[0]
    k, n = b.shape
    if _is_medium(m, n, k, FEW_ROWS_NN):
        blocks(out, n, k, a.ctypes.data, k, 1, b.ctypes.data, n, beta)
    elif m > 0:
        _blas(PLAIN, PLAIN, out, k, a.ctypes.data, k, b.ctypes.data, n, beta)


@kernel
def matmul_tn(out: Any, a: Any, b: Any, first: int, beta: int) -> None:
    """Compute out = a[:, first:first+m]^T b + beta out."""
    m, n = out.shape
    k, columns = a.shape
    start = a.ctypes.data + first * a.itemsize
    if _is_medium(m, n, k, FEW_ROWS_TN):
        blocks(out, n, k, start, 1, columns, b.ctypes.data, n, beta)
    elif k > 0:
        _blas(TRANSPOSED, PLAIN, out, k, start, columns, b.ctypes.data, n, beta)
    elif beta == 0:
        out[:, :] = 0


@kernel
def matmul_nt(out: Any, a: Any, b: Any, beta: int) -> None:
    """Compute out = a b^T + beta out."""
    k = a.shape[1]
    if out.shape[0] > 0:
        _blas(PLAIN, TRANSPOSED, out, k, a.ctypes.data, k, b.ctypes.data, k, beta)
