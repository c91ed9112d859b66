"""matmul_nn, matmul_tn and matmul_nt: blocks of our own, and a BLAS beyond a size.

The blocks are as fast as OpenBLAS where docs/performance.md compares them, and a row's bits do not
depend on the rows beside it there. Larger sides than those compared are left to the BLAS.

The BLAS is called by a registered name, which compiled code can be cached with; see
``fastnet.execution.blas``, which loads and registers it.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import overload

from fastnet_kernels.cpu.compile import kernel, piece
from fastnet_kernels.cpu.product import EXTERNAL, EXTERNAL_NARROW, NARROW, load

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112

# a b and a b^T whose B has no side beyond this are computed in blocks, whatever the number of rows:
# so that rows may be shared out in any way and keep their bits.
LARGEST_SIDE = 4096
# a^T b of up to this many columns is computed in blocks.
MOST_COLUMNS = 4096


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


def _blocks(
    out: Any, k: int, a: int, a_row: int, a_k: int, b: int, b_k: int, b_column: int, beta: int
) -> None:
    raise NotImplementedError("compiled code only")


@overload(_blocks)
def _blocks_of_dtype(
    out: Any, k: Any, a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, b_column: Any, beta: Any
) -> Any:
    load(out.dtype.bitwidth)
    product = EXTERNAL[out.dtype.bitwidth]

    def call(
        out: Any, k: Any, a: Any, a_row: Any, a_k: Any, b: Any, b_k: Any, b_column: Any, beta: Any
    ) -> None:
        m, n = out.shape
        product(m, n, k, a, a_row, a_k, b, b_k, b_column, out.ctypes.data, n, beta)

    return call


def _narrow_blocks(out: Any, k: int, a: int, a_k: int, b: int, beta: int) -> None:
    raise NotImplementedError("compiled code only")


@overload(_narrow_blocks)
def _narrow_blocks_of_dtype(out: Any, k: Any, a: Any, a_k: Any, b: Any, beta: Any) -> Any:
    load(out.dtype.bitwidth)
    narrow = EXTERNAL_NARROW[out.dtype.bitwidth]

    def call(out: Any, k: Any, a: Any, a_k: Any, b: Any, beta: Any) -> None:
        m, n = out.shape
        narrow(m, n, k, a, a_k, b, out.ctypes.data, beta)

    return call


def in_blocks(k: int, n: int) -> bool:
    """Whether a product with a B, or B^T, of (k, n) is computed in blocks."""
    return 0 < k <= LARGEST_SIDE and n <= LARGEST_SIDE


def transposed_in_blocks(n: int) -> bool:
    """Whether a^T b with n columns is computed in blocks."""
    return n <= MOST_COLUMNS


_in_blocks, _transposed_in_blocks = piece(in_blocks), piece(transposed_in_blocks)


@kernel
def matmul_nn(out: Any, a: Any, b: Any, beta: int) -> None:
    """Compute out = a b + beta out."""
    k, n = b.shape
    if out.shape[0] > 0 and _in_blocks(k, n):
        _blocks(out, k, a.ctypes.data, k, 1, b.ctypes.data, n, 1, beta)
    elif out.shape[0] > 0:
        _blas(PLAIN, PLAIN, out, k, a.ctypes.data, k, b.ctypes.data, n, beta)


@kernel
def matmul_tn(out: Any, a: Any, b: Any, first: int, beta: int) -> None:
    """Compute out = a[:, first:first+m]^T b + beta out."""
    n = out.shape[1]
    k, columns = a.shape
    start = a.ctypes.data + first * a.itemsize
    if k > 0 and n <= NARROW:
        _narrow_blocks(out, k, start, columns, b.ctypes.data, beta)
    elif k > 0 and _transposed_in_blocks(n):
        _blocks(out, k, start, 1, columns, b.ctypes.data, n, 1, beta)
    elif k > 0:
        _blas(TRANSPOSED, PLAIN, out, k, start, columns, b.ctypes.data, n, beta)
    elif beta == 0:
        out[:, :] = 0


@kernel
def matmul_nt(out: Any, a: Any, b: Any, beta: int) -> None:
    """Compute out = a b^T + beta out."""
    n, k = b.shape
    if out.shape[0] > 0 and _in_blocks(k, n):
        _blocks(out, k, a.ctypes.data, k, 1, b.ctypes.data, 1, k, beta)
    elif out.shape[0] > 0:
        _blas(PLAIN, TRANSPOSED, out, k, a.ctypes.data, k, b.ctypes.data, k, beta)
