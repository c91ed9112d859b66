"""What a command shows: tables and results on stdout, all else on stderr."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

# From here on four decimals say nothing more, as of the squares of prices.
LARGE_LOSS = 1e4


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise the error on: Rich would exit with 1, and `exits` knows better."""
        raise


def is_terminal() -> bool:
    """Whether a person sees stdout."""
    return sys.stdout is not None and sys.stdout.isatty()


def is_plain() -> bool:
    """Whether stdout is no place for frames and drawings: read by a program, or read aloud."""
    return not is_terminal() or os.environ.get("TERM") == "dumb" or "NO_COLOR" in os.environ


def print_json(found: Any) -> None:
    """Print one object, and nothing else, on stdout; null for numbers that are not finite."""
    print(json.dumps(_with_nulls(found), allow_nan=False))


def _with_nulls(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: _with_nulls(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [_with_nulls(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def note(text: str) -> None:
    """Tell on stderr what goes on."""
    with contextlib.suppress(OSError):  # that it cannot be told is no reason to fail
        _Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a result on stdout."""
    _Console(highlight=False).print(text, markup=False, soft_wrap=True)


def scores(found: Mapping[str, float], of: str = "") -> str:
    """Return what `Network.evaluate` has found as a line of text.

    Parameters
    ----------
    found : mapping of str to float
        ``loss``, and ``accuracy`` or ``r2``.
    of : str
        What stands before each, such as ``test`` with a blank.
    """
    loss = found["loss"]
    shown = f"{loss:.4f}" if loss < LARGE_LOSS else f"{loss:.4g}"
    if "accuracy" in found:
        return f"{of}accuracy {found['accuracy']:.2%}, {of}loss {shown}"
    return f"{of}R² {found['r2']:.4f}, {of}loss {shown}"


def show_table(
    title: str,
    headings: Iterable[str],
    lines: Iterable[Iterable[Any]],
    *,
    right: Iterable[str] = (),
    whole: Iterable[str] = (),
) -> None:
    """Print a table on stdout; without a frame where that is no help.

    Parameters
    ----------
    title : str
    headings : iterable of str
    lines : iterable of iterables
        The cells, as text.
    right : iterable of str
        Headings of the columns whose cells stand at the right, as numbers do.
    whole : iterable of str
        Headings of the columns whose cells are not cut.
    """
    plain = is_plain()
    headings = list(headings)
    table = Table(title=title, title_justify="left", show_header=any(headings))
    if plain:
        say(title)
        table.title, table.box, table.pad_edge = None, None, False
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in {*right} else "left",
            no_wrap=heading in {*whole},
            overflow="fold",
        )
    for line in lines:
        table.add_row(*map(_literally, line))
    # What a program reads is not folded to the width of a terminal that there is not.
    _Console(width=None if is_terminal() else 10_000).print(table)


def _literally(cell: Any) -> Any:
    from rich.text import Text

    return Text(str(cell))  # to markup, fastnet-nn[cuda13] is a tag
