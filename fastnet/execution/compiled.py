"""Compiling, and finding what was compiled before.

Numba keeps compiled functions on disk, beside the source or in one folder for everything, and knows
a change of a function's own file only. Neither will do: an installed package may be read-only, and
a function compiled over another file's kernels would keep the old kernels after an edit of that
file, silently. So the folder is fastnet's own, and its name is made from everything that compiled
code depends on: all sources of math and kernels, the versions, and the processor.
"""

from __future__ import annotations

import _thread
import contextlib
import hashlib
import os
import platform
import shutil
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
import numpy as np
from fastnet_kernels.cpu.compile import OPTIONS, by_type_alone
from numba.core.compiler_lock import global_compiler_lock

from fastnet.execution import compiler_thread
from fastnet.folders import base_folder
from fastnet.version import __version__

T = TypeVar("T")

# Code compiled from other sources or by other versions is removed when nothing has used it so long.
UNUSED_DAYS = 30


@cache
def sources() -> list[Path]:
    """Return every file that compiled code is made from."""
    import fastnet_kernels

    import fastnet

    package, kernels = Path(fastnet.__file__).parent, Path(fastnet_kernels.__file__).parent
    return sorted(
        [package / "backprop.py", *(package / "execution").glob("*.py"), *kernels.rglob("*.py")]
    )


@cache
def fingerprint() -> str:
    """Return a hash of everything that compiled code depends on."""
    digest = hashlib.sha256()
    for path in sources():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for fact in (
        __version__,
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        sys.version,
        platform.machine(),
        llvmlite.binding.get_host_cpu_name(),
        llvmlite.binding.get_host_cpu_features().flatten(),
    ):
        digest.update(fact.encode() + b"\0")
    return digest.hexdigest()[:20]


@cache
def folder() -> Path:
    """Return the folder of compiled code; where it cannot be written, a temporary one."""
    name = f"compiled-{fingerprint()}"
    try:
        wanted = base_folder() / name
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            _forget_unused(wanted)
            return wanted
    except (OSError, RuntimeError):  # RuntimeError: no home folder is known
        return _temporary_folder(name)


def _forget_unused(current: Path) -> None:
    """Mark this folder as used, and remove those of other versions not used for long."""
    with contextlib.suppress(OSError):
        os.utime(current)
        for other in current.parent.glob("compiled-*"):
            if time.time() - other.stat().st_mtime > UNUSED_DAYS * 86400:
                shutil.rmtree(other, ignore_errors=True)


def _temporary_folder(name: str) -> Path:
    """Return a folder under the system's temporary one that nobody else can write.

    Compiled code is loaded from it, so a folder that somebody else has made is not taken.
    """
    user = getattr(os, "getuid", lambda: 0)()
    shared = Path(tempfile.gettempdir()) / f"fastnet-{user}"
    with contextlib.suppress(OSError):
        shared.mkdir(mode=0o700, exist_ok=True)
        state = shared.lstat()
        if stat.S_ISDIR(state.st_mode) and (os.name == "nt" or _is_ours_alone(state, user)):
            wanted = shared / name
            wanted.mkdir(exist_ok=True)
            return wanted
    return Path(tempfile.mkdtemp(prefix="fastnet-"))


def _is_ours_alone(state: os.stat_result, user: int) -> bool:
    return state.st_uid == user and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@contextlib.contextmanager
def _own_folder() -> Iterator[None]:
    """Let Numba put what it wraps meanwhile into fastnet's folder; it looks when it wraps."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder())
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


def function(python: Callable[..., Any]) -> Any:
    """Compile a function of a module at its first call, or load what an earlier process made."""
    with _own_folder():
        dispatcher = by_type_alone(numba.njit(cache=True, **OPTIONS)(python))
    compile_types = dispatcher.compile
    dispatcher.compile = lambda signature: _interruptibly(lambda: compile_types(signature))
    return dispatcher


def _interruptibly(work: Callable[[], T]) -> T:
    """Do ``work``, which compiles: on another thread, where this one is that which Ctrl-C reaches.

    One that holds the compiler's lock does it itself: another would wait for the lock for ever.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if global_compiler_lock.is_locked() or not is_main:
        return _locked(work)
    return compiler_thread.interruptibly(lambda: _locked(work))


def _locked(work: Callable[[], T]) -> T:
    """Do ``work`` under the compiler's lock from beginning to end; Numba itself takes it in parts.

    LLVM has a lock of its own, which is then taken under this one only.
    """
    with global_compiler_lock:
        return work()


def c_function(signature: Any, name: str, python: Callable[..., Any]) -> Any:
    """Compile a function now, or load it, and let compiled code call it by ``name``.

    Returns
    -------
    object
        What keeps the function in memory.
    """
    with _own_folder():
        made = numba.cfunc(signature, cache=True, error_model="numpy", _nrt=False)
        result = _interruptibly(lambda: made(python))
    _locked(lambda: llvmlite.binding.add_symbol(name, result.address))
    return result


def _hold_compiler() -> None:
    """Take the compiler's lock, whoever has it now; a Ctrl-C meanwhile is delivered afterwards.

    A compiler in the background is waited for to its very end, where it still frees what is LLVM's.
    """
    interrupted = False
    while True:
        try:
            if not global_compiler_lock.is_locked():
                compiler_thread.wait()
            global_compiler_lock.acquire()
            break
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        _thread.interrupt_main()


# A fork while another thread compiles would leave its child a lock that nobody ever lets go of.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_hold_compiler,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )
