"""How the command lines end: errors become a message on stderr and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")

FAILED, MISUSED, NO_BACKEND, INTERRUPTED = 1, 2, 3, 130
UNREAD = 141  # as shells say that SIGPIPE has ended a program


def with_exit_codes(
    program: str, meaning: Callable[[BaseException], tuple[int, object] | None]
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Return a decorator for the commands of a program.

    Parameters
    ----------
    program : str
        What messages begin with.
    meaning : callable
        From an exception to an exit code and a message; None for one that is a defect, which is
        raised on.
    """

    def decorate(command: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(command)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                command(*args, **kwargs)
                if sys.stdout is not None:
                    sys.stdout.flush()  # here, where it is known what to do if it fails
            except BrokenPipeError:
                _let_go_of_stdout()
                raise SystemExit(UNREAD) from None
            except (Exception, KeyboardInterrupt) as error:
                known = meaning(error)
                if known is None:
                    raise
                from rich.console import Console

                code, message = known
                console = Console(stderr=True, highlight=False)
                console.print(f"{program}: {message}", markup=False, soft_wrap=True)
                _end_beside_the_compiler(code)
                raise SystemExit(code) from error

        return wrapped

    return decorate


def _let_go_of_stdout() -> None:
    """Have what is not written yet go nowhere; at its end Python would try once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_beside_the_compiler(code: int) -> None:
    """End the process without clearing up, if a compiler still runs in it (nothing else may)."""
    compiling = sys.modules.get("fastnet.execution.compiler_thread")  # without it, nothing compiles
    if compiling is not None:
        compiling.end_process(code)
