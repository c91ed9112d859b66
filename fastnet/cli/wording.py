"""What Python says of its arguments, in the words of the command line.

Errors come from functions that people call from Python, too, and name arguments as these do:
``task='regression'``, ``header=False``, ``batch_size is 0``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any, get_type_hints

import typer.models

# Left as it is: what is called, with all that stands in the parentheses, and what is in quotes, of
# which no opening one follows a letter, as an apostrophe does.
CODE = r"[\w.]+\((?:[^()]|\([^()]*\))*\)"
QUOTED = r"""(?<!\w)(?P<quote>['"])(?:(?!(?P=quote)).)*(?P=quote)"""
VALUE = r"""'[^']*'|"[^"]*"|[\w./+-]*[\w/]|"""


def with_options(message: str, command: Callable[..., Any]) -> str:
    """Return a message in which a command's options are called by their names.

    Parameters
    ----------
    message : str
    command : function
        What Typer calls; its options are those that are looked for.
    """
    hints = get_type_hints(command, include_extras=True)
    options = [
        name
        for name, hint in hints.items()
        if any(
            isinstance(one, typer.models.OptionInfo) for one in getattr(hint, "__metadata__", ())
        )
    ]
    if not options:
        return message
    names = "|".join(map(re.escape, options))
    of_two_words = "|".join(name for name in options if "_" in name) or "(?!)"
    pattern = (
        rf"{CODE}|(?P<first>^(?:{names}))(?= is )"
        rf"|(?<![\w.-])(?P<name>{names})=(?P<value>{VALUE})"
        rf"|{QUOTED}|(?<![\w./-])(?P<alone>{of_two_words})(?![\w./-])"
    )
    return re.sub(pattern, _worded, message)


def _worded(found: re.Match[str]) -> str:
    parts = found.groupdict()
    name, value = parts["first"] or parts["alone"] or parts["name"], parts["value"] or ""
    if name is None:
        return found[0]
    words = name.replace("_", "-")
    if value in ("True", "False"):
        return f"--{words}" if value == "True" else f"--no-{words}"
    if value[:1] in ("'", '"'):
        value = shlex.quote(value[1:-1])
    return f"--{words} {value}".rstrip()
