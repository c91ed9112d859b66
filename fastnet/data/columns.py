"""The columns of a table, as a network has learned them: their names, and what text stands for."""

from __future__ import annotations

from typing import Any, NamedTuple


class Column(NamedTuple):
    """A column of a table.

    Attributes
    ----------
    name : str
        Its heading; empty where the table has none.
    categories : tuple of str
        The texts in it, sorted; each becomes a feature that is 1 where it stands and else 0.
        Empty for a column of numbers, which is a feature itself.
    """

    name: str
    categories: tuple[str, ...] = ()

    @property
    def features(self) -> int:
        """How many features it becomes."""
        return len(self.categories) or 1


class Layout(NamedTuple):
    """How tables become features and targets.

    Attributes
    ----------
    columns : tuple of Column
        In the order of the features; empty where rows came as arrays.
    label : str
        The heading of the labels' column; empty where there is none.
    """

    columns: tuple[Column, ...] = ()
    label: str = ""

    @property
    def is_named(self) -> bool:
        """Whether columns are found by their names, all different, in whatever order they stand."""
        names = {column.name for column in self.columns}
        return bool(names) and "" not in names and len(names) == len(self.columns)

    @property
    def has_names(self) -> bool:
        """Whether columns had headings in training, whatever these were."""
        return any(column.name for column in self.columns)

    @property
    def has_text(self) -> bool:
        """Whether some column has text."""
        return any(column.categories for column in self.columns)


def is_frame(X: object) -> bool:
    """Whether it is a pandas data frame; found out without importing pandas."""
    return all(hasattr(X, name) for name in ("columns", "dtypes", "set_axis"))


def layout_of(X: Any) -> Layout:
    """Return the names of a data frame's columns; an empty layout for what has none of its own."""
    names = list(X.columns) if is_frame(X) else []
    if len({*names}) < len(names) or not all(isinstance(name, str) and name for name in names):
        return Layout()
    return Layout(tuple(Column(name) for name in names))
