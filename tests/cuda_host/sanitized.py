"""CUDA kernels on the CPU under the compiler's sanitizers, in a process of their own.

AddressSanitizer replaces malloc, which cannot be done to a Python that already runs. So a script
runs in a new one, in which every kernel is compiled with the sanitizers. The first bad access ends
that process with a report on its standard error, which names the kernel's line.

A read beyond an array is seen where its memory ends with the array: NumPy hands out memory of small
arrays again, in larger pieces, so a script takes what its kernels use from ``exact``.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cuda_host.module import FLAGS_VARIABLE, FOLDER_VARIABLE, base_folder, compiler, has_compiler

ROOT = Path(__file__).parents[2]

FLAGS = (
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fsanitize-sections=fastnet_shared",  # shared variables too
    *("-fno-omit-frame-pointer", "-g"),
)

# Leaks would be Python's own. Fibers leave their stacks in ways that the fake stacks of
# use-after-return do not know.
OPTIONS = "detect_leaks=0:detect_stack_use_after_return=0"


@cache
def _library() -> str:
    """Return AddressSanitizer's library, which has to be loaded before Python; empty if unknown."""
    done = subprocess.run(
        [*compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=False
    )
    path = Path(done.stdout.strip())
    return str(path.resolve()) if path.is_absolute() and path.exists() else ""


def has_sanitizers() -> bool:
    """Return whether scripts can be run under the sanitizers here."""
    return has_compiler() and bool(_library())


def run_sanitized(script: str, *, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a script whose kernels are compiled with the sanitizers.

    Parameters
    ----------
    script : str
        Python, which imports what it needs; fastnet, its kernels and the tests' modules are there.
    timeout : float, optional
        Seconds after which it is ended.

    Returns
    -------
    CompletedProcess
        The return code is not 0 if a kernel went wrong; ``stderr`` has the sanitizer's report.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "kernels", "tests")),
        "LD_PRELOAD": _library(),
        "ASAN_OPTIONS": OPTIONS,
        "UBSAN_OPTIONS": "print_stacktrace=1",
        FLAGS_VARIABLE: " ".join(FLAGS),
        FOLDER_VARIABLE: str(base_folder()),
    }
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def exact(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a copy in memory of its own that ends where the array ends, to the byte."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    address = libc.malloc(max(array.nbytes, 1))
    memory = (ctypes.c_char * array.nbytes).from_address(address)
    weakref.finalize(memory, libc.free, address)  # when no array uses it any longer
    copy: np.ndarray[Any, Any] = np.ndarray(array.shape, array.dtype, memoryview(memory))
    copy[...] = array
    return copy
