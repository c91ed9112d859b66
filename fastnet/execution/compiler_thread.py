"""Compiling on another thread, so that Ctrl-C need not wait, and what that asks of the exit.

The compiler runs for seconds without looking at signals, and cannot be stopped. Interrupted, it
goes on in the background: what it makes is kept and is there for the next call, or the process ends
without it. It must then not end in the common way, which takes LLVM's own tables away from under
the running compiler and crashes.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

from fastnet.exits import INTERRUPTED

T = TypeVar("T")

# How long a wait for the compiler lasts at a time: on Windows, Ctrl-C is seen between two waits.
SECONDS_PER_LOOK = 0.1

_running: set[threading.Thread] = set()


def interruptibly(work: Callable[[], T]) -> T:
    """Return what ``work`` does on another thread; Ctrl-C leaves it running in the background."""
    done: futures.Future[T] = futures.Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    _running.intersection_update(threading.enumerate())
    compiler = threading.Thread(target=run, name="fastnet compiler", daemon=True)
    _running.add(compiler)
    compiler.start()
    while not futures.wait([done], SECONDS_PER_LOOK).done:
        pass
    return done.result()


def is_running() -> bool:
    """Return whether something is being compiled in the background."""
    return any(compiler.is_alive() for compiler in tuple(_running))


def wait() -> None:
    """Wait until nothing is compiled in the background, and what was LLVM's is freed.

    Not by ``Thread.join``: interrupted by Ctrl-C it takes the thread for dead (before Python 3.13).
    """
    for compiler in tuple(_running - {threading.current_thread()}):
        while compiler.is_alive():
            time.sleep(SECONDS_PER_LOOK)


def end_process(code: int) -> None:
    """End the process at once with this exit code if the compiler still runs, else do nothing."""
    if is_running():
        _flush()
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _before_exit() -> None:
    """Let the compiler finish, unless Ctrl-C ends the process: then end as Python would, now.

    What was registered with ``atexit`` before this module was imported is skipped then; the other
    choice is a crash.
    """
    try:
        if not _is_ending_by_ctrl_c():
            wait()
    except KeyboardInterrupt:
        pass
    if is_running():
        _flush()
        if os.name == "posix":  # a shell that sees the signal stops its loop too
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(INTERRUPTED)


def _is_ending_by_ctrl_c() -> bool:
    """Return whether an uncaught KeyboardInterrupt has just been reported."""
    kind: Any = getattr(sys, "last_type", None)
    is_interactive = bool(sys.flags.interactive) or hasattr(sys, "ps1")
    return isinstance(kind, type) and issubclass(kind, KeyboardInterrupt) and not is_interactive


atexit.register(_before_exit)
