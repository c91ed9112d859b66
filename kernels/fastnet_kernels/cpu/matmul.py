"""matmul_nn, matmul_tn and matmul_nt: microkernels for most products, a BLAS for the large ones.

Which of the two is faster depends on the shape alone; the borders below were measured (see
docs/performance.md). The microkernel reads B as it lies in memory. Once the rows of B are long and
many, each piece of a row lies on a memory page of its own, and a BLAS, which copies B into one
piece first, is ahead.

The BLAS is called by a registered name, which compiled code can be cached with; see
``fastnet.execution.blas``, which loads and registers it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic, overload

from fastnet_kernels.cpu.compile import kernel
from fastnet_kernels.cpu.blocks import blocks

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112

# Up to this many columns of C, microkernels for any number of rows ...
NARROW = 256
# ... and beyond it, up to this many rows (a b and a^T b; the latter has few enough rows of B).
FEW_ROWS_NN, FEW_ROWS_TN, WIDE_TN = 32, 112, 512
# Up to this many terms per sum, a b^T by microkernels, with b^T copied into a buffer on the stack.
SHORT_SUMS = 64
BUFFER_COLUMNS = 32


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


@intrinsic
def _stack_memory(typing_context: Any, like: Any) -> Any:
    """Return a pointer to SHORT_SUMS x BUFFER_COLUMNS numbers of ``like``'s dtype, on the stack."""

    def allocate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        element = context.get_data_type(like.dtype)
        with builder.goto_entry_block():  # once per call, not once per turn of a loop
            memory = builder.alloca(ir.ArrayType(element, SHORT_SUMS * BUFFER_COLUMNS))
            memory.align = 64
        return builder.bitcast(memory, element.as_pointer())

    return types.CPointer(like.dtype)(like), allocate


@kernel
def matmul_nn(out: Any, a: Any, b: Any, beta: int) -> None:
    """Compute out = a b + beta out."""
    m = out.shape[0]
    k, n = b.shape
    if m == 0:
        return
    if n <= NARROW or m <= FEW_ROWS_NN:
        blocks(out, 0, n, k, a.ctypes.data, k, 1, b.ctypes.data, n, beta)
    else:
        _blas(PLAIN, PLAIN, out, k, a.ctypes.data, k, b.ctypes.data, n, beta)


@kernel
def matmul_tn(out: Any, a: Any, b: Any, first: int, beta: int) -> None:
    """Compute out = a[:, first:first+m]^T b + beta out."""
    m, n = out.shape
    k, columns = a.shape
    if k == 0:
        if beta == 0:
            out[:, :] = 0
        return
    start = a.ctypes.data + first * a.itemsize
    if n <= NARROW or (m <= FEW_ROWS_TN and n <= WIDE_TN):
        blocks(out, 0, n, k, start, 1, columns, b.ctypes.data, n, beta)
    else:
        _blas(TRANSPOSED, PLAIN, out, k, start, columns, b.ctypes.data, n, beta)


@kernel
def matmul_nt(out: Any, a: Any, b: Any, beta: int) -> None:
    """Compute out = a b^T + beta out."""
    k = a.shape[1]
    if out.shape[0] == 0:
        return
    if k <= SHORT_SUMS:
        _by_copied_columns(out, a, b, beta)
    else:
        _blas(PLAIN, TRANSPOSED, out, k, a.ctypes.data, k, b.ctypes.data, k, beta)


@kernel
def _by_copied_columns(out: Any, a: Any, b: Any, beta: int) -> None:
    """Compute a b^T a few columns at a time, each few rows of b turned into columns first."""
    n, k = b.shape
    buffer = carray(_stack_memory(out), (SHORT_SUMS, BUFFER_COLUMNS))
    for first in range(0, n, BUFFER_COLUMNS):
        count = min(BUFFER_COLUMNS, n - first)
        for j in range(count):
            for l in range(k):
                buffer[l, j] = b[first + j, l]
        blocks(out, first, count, k, a.ctypes.data, k, 1, buffer.ctypes.data, BUFFER_COLUMNS, beta)
