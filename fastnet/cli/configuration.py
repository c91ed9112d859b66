"""Options from a TOML file: a table for each command, its keys the options' names.

[train]
hidden = [128, 64]
learning-rate = 0.01

[recipes.run]
backend = "numba"
"""

from __future__ import annotations

import csv
import io
import os
import tomllib
from pathlib import Path
from typing import Any

import typer

from fastnet import naming
from fastnet.data.images import DATA_VARIABLE
from fastnet.execution.registry import BACKEND_VARIABLE

# Variables that fastnet reads where an option is not given; they count before the file.
READ_LATER = {
    "backend": BACKEND_VARIABLE,
    "data_dir": DATA_VARIABLE,
    "threads": "FASTNET_NUM_THREADS",
}
# Options whose texts may have commas between; and those whose parts may have commas in them.
LISTS = ("backends", "data", "hidden", "one_hot")
QUOTED = ("one_hot",)


def read(path: Path, context: typer.Context) -> dict[str, Any]:
    """Return the options in a file, as the context of the application takes them.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no TOML, or has what no command takes.
    """
    try:
        found = tomllib.loads(path.expanduser().read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {path}: no TOML: {error}") from None
    return _of_group(found, context, context.command, f"--config {path}: ")


def _of_group(
    found: dict[str, Any], context: typer.Context, group: Any, where: str
) -> dict[str, Any]:
    """Return the tables of a group's commands."""
    result = {}
    for name, table in found.items():
        command = group.commands.get(name)
        if command is None or not isinstance(table, dict):
            known = sorted(group.commands)
            near = naming.suggestion(name, known) if command is None else "."
            raise ValueError(
                f"{where}{name!r} is no table of a command{near} Expected tables such as "
                f"[{known[0]}], of: {', '.join(known)}"
            )
        inner = f"{where}{name}: "
        read_table = _of_group if hasattr(command, "commands") else _of
        result[name] = read_table(table, context, command, inner)
    return result


def _of(table: dict[str, Any], context: typer.Context, command: Any, where: str) -> dict[str, Any]:
    """Return the options of one command by the names of its parameters."""
    parameters = {parameter.name: parameter for parameter in command.params}
    result: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        parameter = parameters.get(name)
        if parameter is None:
            known = sorted(one.replace("_", "-") for one in parameters)
            raise ValueError(
                f"{where}{key!r} is no option{naming.suggestion(key, known)} Expected some of: "
                f"{', '.join(known)}"
            )
        if name in seen:
            raise ValueError(f"{where}{key!r} stands there twice: as {seen[name]!r}, too")
        seen[name] = key
        is_flag = getattr(parameter, "is_flag", False)
        if not os.environ.get(READ_LATER.get(name, ""), "").strip():
            text = _text(value, name, f"{where}{key}", is_flag=is_flag)
            try:
                parameter.process_value(context, text)
            except typer.BadParameter as error:
                raise ValueError(f"{where}{key} is {value!r}: {error.message}") from None
            result[name] = text
    return result


def _text(value: Any, name: str, where: str, *, is_flag: bool) -> Any:
    """Return an option's value as the command line would have it."""
    if is_flag and isinstance(value, bool):
        return value
    is_list = name in LISTS
    values = value if is_list and isinstance(value, list) else [value]
    if is_flag or not all(type(one) in (str, int, float) for one in values):
        expected = "a text or a number" + (", or a list of them" if is_list else "")
        raise ValueError(
            f"{where} is {value!r}; expected {'true or false' if is_flag else expected}"
        )
    if name in QUOTED and isinstance(value, list):  # each entry is one name, whatever is in it
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(values)
        return line.getvalue()
    return ",".join(map(str, values))
