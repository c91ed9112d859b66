"""How the command lines end: errors become a message on stderr and an exit code."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

P = ParamSpec("P")

FAILED, MISUSED, NO_BACKEND = 1, 2, 3
# As shells say that a program was ended by SIGINT, SIGPIPE and SIGTERM.
INTERRUPTED, UNREAD, TERMINATED = 130, 141, 143


def with_exit_codes(
    program: str,
    meaning: Callable[[BaseException], tuple[int, object] | None],
    wording: Callable[[str, Callable[..., None]], str] = lambda message, command: message,  # noqa: ARG005
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Return a decorator for the commands of a program, and for the program as a whole.

    Parameters
    ----------
    program : str
        What messages begin with.
    meaning : callable
        From an exception to an exit code and a message; None for one that is a defect, which is
        raised on.
    wording : callable
        From a message and the command that has ended with it to what is told.
    """

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                try:
                    command(*args, **kwargs)
                finally:
                    if sys.stdout is not None:
                        sys.stdout.flush()  # here, where it is known what to do if it fails
            except BrokenPipeError:
                _let_go_of_what_cannot_be_written()
                raise SystemExit(UNREAD) from None
            except SystemExit as end:
                _let_go_of_what_cannot_be_written()
                if isinstance(end.__context__, BrokenPipeError):  # Typer's and Rich's own way
                    raise SystemExit(UNREAD) from None
                raise
            except (Exception, KeyboardInterrupt) as error:
                if isinstance(error, MemoryError):
                    let_go(error)
                known = meaning(error)
                if known is None:
                    raise
                code, message = known
                _tell(f"{program}: {wording(str(message), command)}")
                _let_go_of_what_cannot_be_written()
                _end_beside_the_compiler(code)
                raise SystemExit(code) from error

        return wrapped

    return decorate


def prepare_streams() -> None:
    """Make stdin, stdout and stderr safe to use, however a program was started.

    A stream that was closed leaves its number to the next file that is opened, and whatever writes
    to stdout or stderr by number would write into it: the null device takes the place. Characters
    that a stream's encoding lacks are escaped, as Python does on stderr alone.
    """
    descriptor = 0
    while descriptor <= 2:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    if sys.stderr is None:  # Typer would write on stdout instead
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def let_go(error: BaseException) -> None:
    """Free what the functions hold that an error came through.

    Where memory has run out, what follows needs some: to save what is finished, and to tell.
    """
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__


def _tell(message: str) -> None:
    with contextlib.suppress(OSError):  # the exit code says it still
        try:
            from rich.console import Console

            Console(stderr=True, highlight=False).print(message, markup=False, soft_wrap=True)
        except MemoryError:
            print(message, file=sys.stderr)


def _let_go_of_what_cannot_be_written() -> None:
    """Have it go nowhere; at its end Python would try once more and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):  # it is no file
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _end_beside_the_compiler(code: int) -> None:
    """End the process without clearing up, if a compiler still runs in it (nothing else may)."""
    compiling = sys.modules.get("fastnet.execution.compiler_thread")  # without it, nothing compiles
    if compiling is not None:
        compiling.end_process(code)
