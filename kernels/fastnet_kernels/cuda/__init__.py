"""CUDA kernels as source text, and what can be read from it without a compiler.

Every ``.cu`` file compiles by itself: with NVRTC at first use, with nvcc, and with a C++ compiler
for the host, where the tests run it. ``REAL`` is the floating type, float unless defined; what
``KERNEL`` stands for is said in ``kernel.cuh``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent

# What runs the kernels as functions, and the calls of them in it.
PROGRAM, CALLS = "program.cu", "calls.cuh"

# NumPy's codes of the types that kernels take; REAL is the network's dtype.
TYPES = {
    "REAL": "real",
    "double": "f8",
    "int": "i4",
    "long long": "i8",
    "unsigned char": "u1",
}

_KERNEL = re.compile(r"^KERNEL\s+(\w+)\s*\(([^)]*)\)", re.MULTILINE)
_INCLUDE = re.compile(r'^#include "([^"]+)"[^\n]*$', re.MULTILINE)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


class Parameter(NamedTuple):
    """One parameter of a kernel: a pointer or a scalar."""

    name: str
    dtype: str
    is_pointer: bool
    is_constant: bool


class Kernel(NamedTuple):
    """A kernel's name, the file that it stands in, and its parameters."""

    name: str
    file: str
    parameters: tuple[Parameter, ...]


@cache
def sources() -> dict[str, str]:
    """Return the text of every file by its name, kernels and what they include."""
    paths = sorted([*FOLDER.glob("*.cu"), *FOLDER.glob("*.cuh")])
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    return texts | {CALLS: calls(texts)}


def calls(texts: Mapping[str, str]) -> str:
    """Return the text of ``call``, a function that calls a kernel by its number.

    The number is the kernel's place in `kernels_of`; its arguments are eight bytes each.
    """
    found = kernels_of(texts).values()
    cases = [
        f"    case {number}: return {kernel.name}("
        + ", ".join(_cell(i, one) for i, one in enumerate(kernel.parameters))
        + ");"
        for number, kernel in enumerate(found)
    ]
    lines = [
        "// Made from the declarations of the kernels.",
        *(f'#include "{file}"' for file in sorted({kernel.file for kernel in found})),
        "__device__ __forceinline__ void call(int kernel, const long long* cells) {",
        "  switch (kernel) {",
        *cases,
        "  }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _cell(number: int, parameter: Parameter) -> str:
    """Return an argument as it is taken out of its eight bytes."""
    cell = f"cells[{number}]"
    if parameter.is_pointer:
        names = {code: name for name, code in TYPES.items()}
        return f"({'const ' * parameter.is_constant}{names[parameter.dtype]}*){cell}"
    return {"i4": f"int({cell})", "i8": cell, "f8": f"__longlong_as_double({cell})"}[
        parameter.dtype
    ]


@cache
def kernels() -> dict[str, Kernel]:
    """Return every kernel by its name."""
    return kernels_of(sources())


def kernels_of(texts: Mapping[str, str]) -> dict[str, Kernel]:
    """Return every kernel of some files by its name."""
    return {
        kernel.name: kernel
        for file, text in texts.items()
        if file.endswith(".cu")
        for kernel in kernels_in(file, text)
    }


def kernels_in(file: str, text: str) -> list[Kernel]:
    """Return the kernels that a file's text declares.

    Raises
    ------
    ValueError
        If a parameter's type is not one of TYPES.
    """
    found = _KERNEL.findall(_COMMENT.sub(" ", text))
    return [
        Kernel(name, file, tuple(_parameter(part, name) for part in listed.split(",")))
        for name, listed in found
    ]


def _parameter(text: str, kernel: str) -> Parameter:
    words = text.replace("*", " * ").replace("__restrict__", " ").split()
    *type_words, name = [word for word in words if word not in ("*", "const")]
    kind = " ".join(type_words)
    if kind not in TYPES:
        raise ValueError(
            f"{kernel} takes {text.strip()!r}; expected one of the types {', '.join(TYPES)}"
        )
    return Parameter(name, TYPES[kind], "*" in words, "const" in words)


def flattened(file: str) -> str:
    """Return a file's text with the text of what it includes in place of each ``#include``.

    NVRTC needs no folder to look in then, and whoever keeps compiled code by its text, as CuPy
    does, sees a change in a header.
    """
    done: set[str] = set()

    def expanded(name: str) -> str:
        if name in done:
            return ""
        done.add(name)
        return _INCLUDE.sub(lambda found: expanded(found[1]), sources()[name])

    return expanded(file).replace("#pragma once", "")
