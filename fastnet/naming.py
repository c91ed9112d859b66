"""From a name such as ``"relu"`` or ``"normal(1)"`` to the object it stands for."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def suggestion(name: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or a full stop."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else "."


def resolve(spec: Any, known: Mapping[str, type[T]], base: type[T], argument: str) -> T:
    """Return the object that ``spec`` names, with arguments in parentheses if it has any.

    Parameters
    ----------
    spec : str or object
        An instance of ``base``, or a name out of ``known``, such as ``"relu"``, ``"ReLU"`` or
        ``"uniform(-0.5, 0.5)"``.
    known : mapping
        Classes by name.
    base : type
        The class all of them share.
    argument : str
        The name of the caller's argument, for the messages.

    Raises
    ------
    TypeError
        If ``spec`` is neither a string nor an instance of ``base``, or of a class of the caller's
        own that backends would have to know.
    ValueError
        If the name is not known or its arguments are not numbers that it takes.
    """
    if isinstance(spec, base):
        if hasattr(spec, "code") and type(spec) not in known.values():
            raise TypeError(
                f"{argument} is of the class {type(spec).__name__}, which no backend has code for; "
                f"expected one of {', '.join(sorted(known))}; docs/math.md says how to add one"
            )
        return spec
    names = ", ".join(sorted(known))
    if not isinstance(spec, str):
        raise TypeError(
            f"{argument} is {spec!r} ({type(spec).__name__}); expected one of {names}, "
            f"or an object of the class {base.__name__}"
        )
    name, bracket, rest = spec.strip().partition("(")
    cls = known.get(name.strip().lower())
    if cls is None:
        raise ValueError(
            f"{argument} is {spec!r}, which is not known"
            f"{suggestion(name.strip(), sorted(known))} Expected one of: {names}"
        )
    if not bracket:
        return cls()
    if not rest.endswith(")"):
        raise ValueError(f"{argument} is {spec!r}: the closing parenthesis is missing")
    inner = rest[:-1].strip()
    try:
        numbers = [float(part) for part in inner.split(",")] if inner else []
    except ValueError:
        raise ValueError(
            f"{argument} is {spec!r}: expected numbers between the parentheses, "
            f"such as 'leaky_relu(0.1)' or 'uniform(-0.5, 0.5)'"
        ) from None
    try:
        return cls(*numbers)
    except TypeError:
        taken = (
            [f.name for f in dataclasses.fields(cls) if f.init]
            if (dataclasses.is_dataclass(cls))
            else []
        )
        raise ValueError(
            f"{argument} is {spec!r}; expected {name.strip().lower()!r} with "
            + (f"at most {len(taken)} number(s): {', '.join(taken)}" if taken else "no arguments")
        ) from None
