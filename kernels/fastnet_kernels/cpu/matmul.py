"""matmul_nn, matmul_tn and matmul_nt through a private BLAS, one thread a call.

``fastnet.execution.blas`` loads the library and registers its two functions under the names used
here before anything is compiled or loaded from the cache; a call by registered name can be cached,
one through a ctypes object cannot.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import overload

from fastnet_kernels.cpu.compile import kernel

ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112


def _gemm_of(name: str, real: Any) -> Any:
    """cblas_?gemm(order, trans a, trans b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)."""
    i4, pointer = types.int32, types.uintp
    return types.ExternalFunction(
        name,
        types.void(i4, i4, i4, i4, i4, i4, real, pointer, i4, pointer, i4, real, pointer, i4),
    )


_sgemm = _gemm_of("fastnet_cblas_sgemm", types.float32)
_dgemm = _gemm_of("fastnet_cblas_dgemm", types.float64)


def _gemm(
    trans_a: int, trans_b: int, out: Any, k: int, a: int, lda: int, b: int, ldb: int, beta: int
) -> None:
    raise NotImplementedError("compiled code only")


@overload(_gemm)
def _gemm_of_dtype(
    trans_a: Any, trans_b: Any, out: Any, k: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any
) -> Any:
    gemm = _sgemm if out.dtype == types.float32 else _dgemm

    def call(
        trans_a: Any, trans_b: Any, out: Any, k: Any, a: Any, lda: Any, b: Any, ldb: Any, beta: Any
    ) -> None:
        m, n = out.shape
        one, c = out.dtype.type(1), out.dtype.type(beta)
        if m > 0 and n > 0:
            gemm(ROW_MAJOR, trans_a, trans_b, m, n, k, one, a, lda, b, ldb, c, out.ctypes.data, n)

    return call


@kernel
def matmul_nn(out: Any, a: Any, b: Any, beta: int) -> None:
    """Compute out = a b + beta out."""
    k, n = b.shape
    _gemm(PLAIN, PLAIN, out, k, a.ctypes.data, k, b.ctypes.data, n, beta)


@kernel
def matmul_tn(out: Any, a: Any, b: Any, first: int, beta: int) -> None:
    """Compute out = a[:, first:first+m]^T b + beta out."""
    k, columns = a.shape
    n = b.shape[1]
    start = a.ctypes.data + first * a.itemsize
    _gemm(TRANSPOSED, PLAIN, out, k, start, columns, b.ctypes.data, n, beta)


@kernel
def matmul_nt(out: Any, a: Any, b: Any, beta: int) -> None:
    """Compute out = a b^T + beta out."""
    k = a.shape[1]
    _gemm(PLAIN, TRANSPOSED, out, k, a.ctypes.data, k, b.ctypes.data, k, beta)
