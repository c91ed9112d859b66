"""What Python says of its arguments, in the words of the command line.

Errors come from functions that people call from Python, too, and name arguments as these do:
``task='regression'``, ``header=False``, ``batch_size is 0``. Messages have paths and data in them,
too: only what can hardly be anything else is put into other words, and the rest is understood.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import typer.models

# Left as it is: what is called, with all that stands in the parentheses, and what is in quotes, of
# which no opening one follows a letter, as an apostrophe does.
CODE = r"[\w.]+\((?:[^()]|\([^()]*\))*\)"
TEXT = r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\""""
VALUE = rf"{TEXT}|True|False|[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
# Behind it a path could go on: label=3.csv, label=3/x.csv.
END = r"(?=[\s),;]|$)"


def with_options(message: str, command: Callable[..., Any]) -> str:
    """Return a message in which a command's options are called by their names.

    Parameters
    ----------
    message : str
    command : function
        What Typer calls; its options are those that are looked for.
    """
    hints = get_type_hints(command, include_extras=True)
    options = {
        name: (hint, one)
        for name, hint in hints.items()
        for one in getattr(hint, "__metadata__", ())
        if isinstance(one, typer.models.OptionInfo)
    }
    if not options:
        return message
    names = "|".join(map(re.escape, options))
    pattern = (
        rf"{CODE}|^(?P<first>{names})(?= is )"
        rf"|(?<![^\s(])(?P<name>{names})=(?P<value>{VALUE}){END}|(?<!\w)(?:{TEXT})"
    )

    def worded(found: re.Match[str]) -> str:
        name = found["first"] or found["name"]
        if name is None:
            return found[0]
        hint, option = options[name]
        # Within Annotated, Typer has the first form for a default until the command is made.
        given = [str(one) for one in (option.default, *(option.param_decls or ()))]
        forms = next((one for one in given if one.startswith("--")), "")
        yes, _, no = (forms or f"--{name.replace('_', '-')}").partition("/")
        if found["first"]:
            return yes
        value = ast.literal_eval(found["value"])
        if bool in (hint.__origin__, *get_args(hint.__origin__)):
            # Such options take no value, and not all of them have a form that says no.
            is_yes = value is True or value == "auto"
            return yes if is_yes else no if value is False and no else found[0]
        if isinstance(value, bool):
            return found[0]
        return f"{yes} {shlex.quote(value) if isinstance(value, str) else found['value']}"

    return re.sub(pattern, worded, message)
