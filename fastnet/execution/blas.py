"""A BLAS of fastnet's own, for compiled code: private, with the processor's best kernels.

The library is OpenBLAS out of the wheel ``scipy-openblas32``, loaded through a handle of its own:
the user's NumPy and its threads stay as they are. Two things are settled at the moment of
loading, by environment variables that are put back at once:

- the kernels. OpenBLAS picks them by the processor's model and takes AVX2 kernels for processors
  that it does not know although they have AVX-512, at half the speed; wherever the processor has
  AVX-512, ``SKYLAKEX`` is asked for. Setting ``OPENBLAS_CORETYPE`` yourself wins.
- the threads: none of its own. fastnet splits the work and calls the BLAS from each of its threads.

Where the wheel is missing, SciPy's BLAS does the work.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

NAMES = {"float32": "fastnet_cblas_sgemm", "float64": "fastnet_cblas_dgemm"}

# What OpenBLAS's SKYLAKEX kernels need.
AVX512 = ("avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl")


@dataclass(frozen=True)
class Library:
    """The BLAS that compiled code calls.

    Attributes
    ----------
    source : str
        The package that it came out of.
    version : str
    core : str
        The processor family whose kernels it uses; empty if it does not tell.
    handle : object
        What keeps the code in memory.
    """

    source: str
    version: str
    core: str
    handle: Any


@cache
def load() -> Library:
    """Load the BLAS once and make its functions known to the compiler by name.

    Raises
    ------
    ImportError
        If neither scipy-openblas32 nor SciPy is installed.
    """
    try:
        import scipy_openblas32
    except ImportError:
        return _load_scipy()
    folder = Path(scipy_openblas32.get_lib_dir())
    [path] = [p for p in folder.iterdir() if p.name.startswith("libscipy_openblas.")]
    with _environment(OPENBLAS_NUM_THREADS="1", **_core_type()):
        handle = ctypes.CDLL(str(path))
    handle.scipy_openblas_set_num_threads(1)
    handle.scipy_openblas_get_corename.restype = ctypes.c_char_p
    core = handle.scipy_openblas_get_corename().decode()
    for letter, name in zip("sd", NAMES.values(), strict=True):
        function = getattr(handle, f"scipy_cblas_{letter}gemm")
        _register(name, ctypes.cast(function, ctypes.c_void_p).value)
    return Library("scipy-openblas32", scipy_openblas32.__version__, core, handle)


def _core_type() -> dict[str, str]:
    """Return the setting that asks for the best kernels, or nothing."""
    import llvmlite.binding

    features = llvmlite.binding.get_host_cpu_features()
    has_avx512 = all(features.get(name, False) for name in AVX512)
    if "OPENBLAS_CORETYPE" in os.environ or not has_avx512:
        return {}
    return {"OPENBLAS_CORETYPE": "SKYLAKEX"}


@contextmanager
def _environment(**settings: str) -> Iterator[None]:
    """Set environment variables for the length of a block."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _register(name: str, address: int | None) -> None:
    import llvmlite.binding

    llvmlite.binding.add_symbol(name, address)


def _load_scipy() -> Library:
    """Wrap SciPy's Fortran functions in the C interface that the kernels call."""
    try:
        import scipy
        from numba.extending import get_cython_function_address
    except ImportError as error:
        raise ImportError(
            "the numba backend needs a BLAS: python -m pip install scipy-openblas32"
        ) from error
    wrappers = [
        _row_major(letter, get_cython_function_address("scipy.linalg.cython_blas", f"{letter}gemm"))
        for letter in "sd"
    ]
    for name, wrapper in zip(NAMES.values(), wrappers, strict=True):
        _register(name, wrapper.address)
    return Library("scipy", scipy.__version__, "", wrappers)


def _row_major(letter: str, address: int) -> Any:
    """Return a C function with the interface of cblas_?gemm over a Fortran ?gemm.

    Fortran stores by columns: to it, a row-major C = A B reads C' = B' A'. So the operands change
    places, and nothing is copied.
    """
    import numpy as np
    from numba import cfunc, types

    real = types.float32 if letter == "s" else types.float64
    name = f"fastnet_fortran_{letter}gemm"
    _register(name, address)
    pointer = types.uintp
    fortran = types.ExternalFunction(name, types.void(*[pointer] * 13))
    i4 = types.int32

    @cfunc(types.void(i4, i4, i4, i4, i4, i4, real, pointer, i4, pointer, i4, real, pointer, i4))
    def gemm(  # type: ignore[no-untyped-def]
        _row_major, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
    ):
        letters = np.empty(2, np.uint8)
        letters[0] = ord("T") if trans_b == 112 else ord("N")
        letters[1] = ord("T") if trans_a == 112 else ord("N")
        sizes = np.array([n, m, k, ldb, lda, ldc], np.int32)
        factors = np.array([alpha, beta])
        at, size = letters.ctypes.data, sizes.ctypes.data
        factor, step = factors.ctypes.data, factors.itemsize
        fortran(
            at, at + 1, size, size + 4, size + 8, factor, b, size + 12, a, size + 16,
            factor + step, c, size + 20,
        )  # fmt: skip

    return gemm
