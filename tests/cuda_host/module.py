"""CUDA kernels compiled for the CPU and launched on NumPy's memory.

A kernel's file is compiled as it is, behind a header that stands in for CUDA (``cuda_host.hpp``),
so that tests run the very text that a GPU runs, on machines without one. Every edit of a text, as
made by tests that plant bugs, is another library: a folder's name is a hash of all it is made from.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import fastnet_kernels.cuda as cuda
import numpy as np
from fastnet_kernels.cuda import Kernel

from fastnet import folders

HEADER = Path(__file__).with_name("cuda_host.hpp")

# More flags for every module of a process: the sanitizers are switched on by it.
FLAGS_VARIABLE = "FASTNET_CUDA_HOST_FLAGS"
FOLDER_VARIABLE = "FASTNET_CUDA_HOST_FOLDER"  # where a parent process keeps its libraries

# Nothing that changes results: no contraction to fma, no assumption that a test could break.
FLAGS = (
    *("-std=c++17", "-O1", "-fPIC", "-shared", "-U_FORTIFY_SOURCE"),
    *("-fvisibility=hidden", "-Wl,-Bsymbolic"),  # several are loaded at once
    *("-ffp-contract=off", "-fno-strict-aliasing", "-fno-math-errno"),
    "-Werror=frame-larger-than=32768",  # of 64 KiB of stack
    *("-Wall", "-Wextra"),
    "-Wno-unknown-pragmas",  # CUDA's, such as unroll
    "-Wno-unused-function",  # a file need not use all that it includes
    "-Wno-unused-parameter",  # kernels of one family have one signature
    "-Wno-sign-compare",  # threadIdx is unsigned, and counts are not
)

_KERNEL = re.compile(
    r'(?:\bKERNEL|extern\s+"C"\s+__global__\s+(?:__launch_bounds__\([^)]*\)\s*)?void)\s+'
    r"(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\("
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)

# A library has one set of fibers and one shared memory, and two modules can be of one library.
_launching = threading.Lock()


class HostKernelError(RuntimeError):
    """A kernel did what it must not, or a launch was none that a GPU takes."""


def has_compiler() -> bool:
    """Return whether kernels can be compiled here: on Linux, whose linker finds shared memory."""
    return sys.platform == "linux" and bool(compiler())


@cache
def compiler() -> tuple[str, ...]:
    """Return the command of the C++ compiler, from CXX or from the path; empty if there is none."""
    for command in (os.environ.get("CXX", ""), "g++", "c++"):
        words = shlex.split(command)
        if words and shutil.which(words[0]):
            return tuple(words)
    return ()


@cache
def _compiler_version() -> str:
    return subprocess.run(
        [*compiler(), "--version"], capture_output=True, text=True, check=True
    ).stdout


def signature(kernel: Kernel, real: str) -> str:
    """Return the signature of a kernel as its text declares it, to compare with the compiler's."""
    words = [
        ("const " if parameter.is_constant and parameter.is_pointer else "")
        + {"real": _REAL[real]}.get(parameter.dtype, parameter.dtype)
        + ("*" if parameter.is_pointer else "")
        for parameter in kernel.parameters
    ]
    return ", ".join(words)


_REAL = {"float": "f4", "double": "f8"}


class HostModule:
    """The kernels of one file, compiled for the CPU.

    Parameters
    ----------
    file : str
        Name of the file, such as ``gather.cu``.
    real : str
        What REAL is: ``float`` or ``double``.
    sources : mapping, optional
        Text of every file by its name; those of the package by default.
    flags : sequence of str, optional
        More flags for the compiler.

    Attributes
    ----------
    kernels : dict
        Signature of every kernel by its name, from the compiler: ``const f4*, f4*, i4``.
    warnings : str
        What the compiler had to say.

    Raises
    ------
    HostKernelError
        If the text does not compile.
    """

    def __init__(
        self,
        file: str,
        real: str,
        *,
        sources: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        texts = dict(cuda.sources() if sources is None else sources)
        names = _KERNEL.findall(_COMMENT.sub(" ", texts[file]))
        if not names:
            raise ValueError(f"{file} has no kernel")
        texts["host.cpp"] = _host_text(file, names)
        more = os.environ.get(FLAGS_VARIABLE, "").split()
        folder = _compile(texts, (*FLAGS, f"-DREAL={real}", *more, *flags))
        self.warnings = (folder / "warnings.txt").read_text(encoding="utf-8")
        self._library = ctypes.CDLL(str(folder / "kernels.so"))
        self._library.fastnet_host_message.restype = ctypes.c_char_p
        self.kernels = {name: self._signature(name) for name in names}

    def _signature(self, name: str) -> str:
        function = self._library[f"fastnet_host_signature_{name}"]
        function.restype = ctypes.c_char_p
        return str(function().decode()).removesuffix(", ")

    def launch(
        self,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        values: Sequence[np.generic],
        *,
        seed: int = 0,
        poison: bool = True,
        cooperative: bool = False,
    ) -> None:
        """Run a kernel to its end.

        Parameters
        ----------
        name : str
            Name of the kernel.
        grid, block : tuple of int
            Blocks, and threads of a block, along up to three axes.
        values : sequence of NumPy scalars
            The arguments, of exactly the kernel's types; pointers are addresses, as uint64. What
            they point to is not checked: a wrong address ends the process, as in C.
        seed : int, optional
            Order of threads, warps and blocks; 0 is by their number.
        poison : bool, optional
            Whether shared memory begins as 0xFF, which is NaN, rather than 0.
        cooperative : bool, optional
            Whether all blocks are there at the same time and may meet at ``grid_sync``.

        Raises
        ------
        TypeError
            If the arguments do not fit the signature.
        HostKernelError
            If the kernel does what it must not, such as waiting for ever.
        """
        cells = _cells(name, self.kernels[name], values)
        addresses = (ctypes.c_void_p * len(values))(
            *(ctypes.addressof(cells) + 8 * i for i in range(len(values)))
        )
        launch = self._library[f"fastnet_host_launch_{name}"]
        with _launching:
            failed = launch(
                _extents(grid),
                _extents(block),
                addresses,
                int(cooperative),
                ctypes.c_ulonglong(seed),
                int(poison),
            )
            if failed:
                message = self._library.fastnet_host_message().decode()
                raise HostKernelError(f"{name}: {message}")


def _extents(extents: tuple[int, ...]) -> ctypes.Array[ctypes.c_uint]:
    if not 1 <= len(extents) <= 3 or min(extents) < 0:
        raise ValueError(f"one to three extents are expected, not {extents}")
    return (ctypes.c_uint * 3)(*extents, *(1,) * (3 - len(extents)))


def _cells(name: str, expected: str, values: Sequence[np.generic]) -> ctypes.Array[ctypes.c_char]:
    """Return the arguments' bytes, eight for each, or say which one does not fit."""
    types = expected.split(", ") if expected else []
    if len(values) != len(types):
        raise TypeError(f"{name} takes {len(types)} arguments ({expected}), not {len(values)}")
    for i, (value, kind) in enumerate(zip(values, types, strict=True)):
        wanted = "u8" if kind.endswith("*") else kind
        given = value.dtype.str[1:] if isinstance(value, np.generic) else type(value).__name__
        if given != wanted:
            raise TypeError(f"argument {i} of {name} is {kind}: expected {wanted}, not {given}")
    return ctypes.create_string_buffer(
        b"".join(value.tobytes().ljust(8, b"\0") for value in values), 8 * len(values) + 8
    )


def _host_text(file: str, names: Sequence[str]) -> str:
    lines = [
        '#include "cuda_host.hpp"',
        "namespace {",
        f'#include "{file}"',
        "}",
        *(f"FASTNET_HOST_EXPORT({name})" for name in names),
    ]
    return "\n".join(lines) + "\n"


def _compile(texts: Mapping[str, str], flags: Sequence[str]) -> Path:
    """Return the folder of a library, which is made unless it is there."""
    texts = {**texts, HEADER.name: HEADER.read_text(encoding="utf-8")}
    facts = [*compiler(), _compiler_version(), *flags]
    facts += [part for name in sorted(texts) for part in (name, texts[name])]
    digest = hashlib.sha256("\0".join(facts).encode()).hexdigest()[:20]
    folder = base_folder() / f"compiled-cuda-host-{digest}"
    if folder.is_dir():
        os.utime(folder)  # what has not been used for long is removed
        return folder
    making = Path(tempfile.mkdtemp(prefix="compiling-", dir=folder.parent))
    try:
        _compile_in(making, texts, (*flags, f"-fdebug-prefix-map={making}={folder}"))
        # Another process may have been first, with the same library.
        with contextlib.suppress(OSError):
            making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _compile_in(folder: Path, texts: Mapping[str, str], flags: Sequence[str]) -> None:
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [*compiler(), *flags, "host.cpp", "-o", "kernels.so"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HostKernelError(f"the kernels do not compile:\n{done.stderr}")
    (folder / "warnings.txt").write_text(done.stderr, encoding="utf-8")


@cache
def base_folder() -> Path:
    """Return where fastnet keeps compiled code; where it cannot be written, a temporary folder."""
    chosen = os.environ.get(FOLDER_VARIABLE, "")
    if chosen:
        return Path(chosen)
    try:
        base = folders.base_folder()
        base.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=base):
            return base.resolve()
    except (OSError, RuntimeError):  # RuntimeError: no home folder is known
        from fastnet.execution import compiled  # takes Numba along

        return compiled._temporary_folder("cuda-host")


def compile_at_once(wanted: Iterable[tuple[str, str, Mapping[str, str] | None]]) -> None:
    """Compile modules of ``(file, real, sources)`` on all cores, for those who ask for them later.

    What does not compile is left to whoever asks for it.
    """

    def compile_one(one: tuple[str, str, Mapping[str, str] | None]) -> None:
        file, real, sources = one
        with contextlib.suppress(HostKernelError):
            HostModule(file, real, sources=sources)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(compile_one, wanted))
