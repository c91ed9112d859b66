"""Ctrl-C and SIGTERM while training: the step in progress ends first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM, where `terminable` has made an exception of it."""


class Interrupt:
    """Whether somebody wants an end."""

    def __init__(self) -> None:
        self.number: int | None = None

    @property
    def requested(self) -> bool:
        """Whether there was a signal."""
        return self.number is not None

    def error(self) -> KeyboardInterrupt:
        """Return what the signal would have raised."""
        return Terminated() if self.number == signal.SIGTERM else KeyboardInterrupt()


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise Terminated


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM raise `Terminated`, so that what has begun is put in order as after Ctrl-C.

    For programs of our own: a library leaves the signal to the program it is in.
    """
    is_default = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )
    if not is_default:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def deferred() -> Iterator[Interrupt]:
    """Turn the first signal into a flag; the second one acts at once.

    Only in the main thread, and only where Python's own handler of Ctrl-C or that of `terminable`
    is in place: a program that handles a signal itself keeps doing so.
    """
    interrupt = Interrupt()
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    is_main = threading.current_thread() is threading.main_thread()
    ours = {n: h for n, h in handlers.items() if is_main and signal.getsignal(n) is h}

    def handle(number: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            handlers[signal.Signals(number)](number, frame)
        interrupt.number = number

    for number in ours:
        signal.signal(number, handle)
    try:
        yield interrupt
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
