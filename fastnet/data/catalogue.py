"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable

from fastnet import naming
from fastnet.data.dataset import Dataset
from fastnet.data.digits import digits

KNOWN: dict[str, Callable[[], Dataset]] = {"digits": digits}


def by_name(name: str) -> Dataset:
    """Return the data set that a name stands for.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    names = sorted(KNOWN)
    if name not in KNOWN:
        raise ValueError(
            f"data is {name!r}, which is no data set{naming.suggestion(name, names)} "
            f"Expected {', '.join(map(repr, names))}, or your own arrays: train(X, y)"
        )
    return KNOWN[name]()
