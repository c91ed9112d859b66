"""NVRTC, called through ctypes: CUDA's compiler as a library, which needs neither GPU nor driver.

The tests compile every kernel with it and read what the assembler says of registers and spills.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


class Usage(NamedTuple):
    """What one kernel takes: registers per thread, and bytes that do not fit into them."""

    registers: int
    spilled: int
    stack: int


class Compiled(NamedTuple):
    """What came of a compilation: the machine code, or nothing, and what was said about it."""

    binary: bytes
    log: str

    @property
    def usage(self) -> dict[str, Usage]:
        """Every kernel by its name, as ``--ptxas-options=-v`` tells."""
        return usage_in(self.log)

    @property
    def warnings(self) -> list[str]:
        """The lines of the log with warnings, of the compiler or of the assembler."""
        return [
            line for line in self.log.splitlines() if re.search(r"\): warning|ptxas warning", line)
        ]


def usage_in(log: str) -> dict[str, Usage]:
    """Read the assembler's log: one paragraph per kernel, from ``Compiling entry function``."""
    found = {}
    for part in log.split("Compiling entry function")[1:]:
        [name] = re.findall(r"^ '(\w+)'", part)
        [registers] = re.findall(r"Used (\d+) registers", part)
        [properties] = re.findall(
            rf"Function properties for {name}\n\D*(\d+) bytes stack frame, "
            r"(\d+) bytes spill stores, (\d+) bytes spill loads",
            part,
        )
        stack, stored, loaded = map(int, properties)
        found[name] = Usage(int(registers), stored + loaded, stack)
    return found


def _places() -> Iterator[Path | str]:
    for entry in sys.path:
        yield from sorted(Path(entry).glob("nvidia/*/lib/libnvrtc.so.*"), reverse=True)
    try:
        from cuda import pathfinder

        yield pathfinder.load_nvidia_dynamic_lib("nvrtc").abs_path
    except (ImportError, OSError, RuntimeError):
        pass
    yield "libnvrtc.so"


@cache
def library() -> Any:
    """Return NVRTC, or None where it is not installed."""
    for place in _places():
        try:
            return ctypes.CDLL(str(place))
        except OSError:
            continue
    return None


@cache
def architectures() -> tuple[int, ...]:
    """Return the architectures that this NVRTC compiles for: 75, 80 and so on."""
    nvrtc, count = library(), ctypes.c_int()
    nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    known = (ctypes.c_int * count.value)()
    nvrtc.nvrtcGetSupportedArchs(known)
    return tuple(known)


def compile_text(
    text: str, name: str, headers: Mapping[str, str], options: Sequence[str]
) -> Compiled:
    """Compile one file for the architecture that the options name; headers come from memory."""
    nvrtc, program = library(), ctypes.c_void_p()
    made = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program),
        text.encode(),
        name.encode(),
        len(headers),
        _strings(headers.values()),
        _strings(headers),
    )
    assert made == 0, f"NVRTC takes no program: error {made}"
    try:
        failed = nvrtc.nvrtcCompileProgram(program, len(options), _strings(options))
        log = _text(program, "ProgramLog").decode(errors="replace").rstrip("\0")
        return Compiled(b"" if failed else _text(program, "CUBIN"), log)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _strings(texts: Any) -> Any:
    encoded = [text.encode() for text in texts]
    return (ctypes.c_char_p * len(encoded))(*encoded)


def _text(program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    getattr(library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library(), f"nvrtcGet{what}")(program, buffer)
    return buffer.raw
