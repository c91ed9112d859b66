"""The command line: a file for each family of commands.

Exit codes: 0 done, 1 failed, 2 misused, 3 backend not available, 130 interrupted, 141 nobody reads
the output any more, 143 terminated. Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import importlib

try:
    import rich  # noqa: F401
    import typer  # noqa: F401
except ImportError as error:  # fastnet itself runs without them
    raise SystemExit(
        f"the fastnet command needs the package {error.name}, which is not installed: "
        f"python -m pip install typer rich"
    ) from error

from fastnet.cli.app import app, guarded
from fastnet.exits import prepare_streams
from fastnet.interrupts import terminable


@guarded
def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never returns."""
    prepare_streams()
    # Commands register themselves; in the order in which the help shows them.
    for name in ("training", "asking", "recipes", "checks", "machine"):
        importlib.import_module(f"fastnet.cli.{name}")
    with terminable():
        try:
            app(args=arguments, prog_name="fastnet")
        except SystemExit as end:
            # Of a signal that came between our functions Typer has made an exit, with no word.
            came = getattr(end.__context__, "__cause__", None)
            if end.__cause__ is None and isinstance(came, KeyboardInterrupt):
                raise came from None
            raise
