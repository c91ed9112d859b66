"""Ctrl-C and SIGTERM: while training, the step in progress ends first."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fastnet.exits import INTERRUPTED


class Terminated(KeyboardInterrupt):
    """SIGTERM, where `terminable` has made an exception of it."""


class Interrupt:
    """Whether somebody wants an end: the first signal waits, the second acts at once.

    A third and later ones do nothing: what the second one has ended is being put in order.
    """

    def __init__(self) -> None:
        self._first: int | None = None
        self._second: int | None = None
        self._is_undivided = self._has_acted = False

    @property
    def requested(self) -> bool:
        """Whether there was a signal."""
        return self._first is not None

    def error(self) -> KeyboardInterrupt:
        """Return what the signal would have raised."""
        return _error(self._first)

    @contextmanager
    def undivided(self) -> Iterator[None]:
        """Let a second signal wait for the end of the block, too."""
        self._is_undivided = True
        try:
            yield
        finally:
            self._is_undivided = False
        self._act()

    def take(self, number: int) -> None:
        """Take note of a signal."""
        if self._first is None:
            self._first = number
            return
        self._second = number
        self._act()

    def _act(self) -> None:
        if self._second is None or self._is_undivided or self._has_acted:
            return
        self._has_acted = True
        raise _error(self._second)


def _error(number: int | None) -> KeyboardInterrupt:
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


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


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os._exit(INTERRUPTED)


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Have Ctrl-C end the process, without an exception: while nothing has begun.

    For the imports of programs of our own. An exception would come out of whatever is imported as
    a traceback, or not at all: compiled modules print theirs and go on.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # it is ignored, say
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def deferred() -> Iterator[Interrupt]:
    """Turn the first signal into a flag; see `Interrupt` for those after it.

    Only in the main thread, and only where Python's own handler of Ctrl-C or that of `terminable`
    is in place: a program that handles a signal itself keeps doing so.
    """
    interrupt = Interrupt()
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    is_main = threading.current_thread() is threading.main_thread()
    ours = {n: h for n, h in handlers.items() if is_main and signal.getsignal(n) is h}

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        interrupt.take(number)

    for number in ours:
        signal.signal(number, handle)
    try:
        yield interrupt
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
