"""What an option of the command line picks out by name."""

from __future__ import annotations

from collections.abc import Iterable


def chosen(
    option: str, text: str, known: Iterable[str], default: Iterable[str] | None = None
) -> list[str]:
    """Return the names in a text such as ``torch,jax``.

    Where it is empty, they are those of ``default``, and without it all that are known.

    Raises
    ------
    ValueError
        If one is not known.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{option} has {', '.join(unknown)}; expected some of {', '.join(known)}")
    return names or list(known if default is None else default)
