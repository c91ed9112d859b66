"""A data set: rows to train on, and rows to test on where it has its own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnet.data.columns import Layout

Array = np.ndarray[Any, np.dtype[Any]]


class Dataset(NamedTuple):
    """Features and targets.

    Attributes
    ----------
    name : str
    X_train, y_train : array
        (rows, features) and one target per row.
    X_test, y_test : array or None
        Rows of the set's own to test on; None where it has none.
    input_scale : float
        The factor that brings the features to about 0 .. 1; the network applies it.
    layout : Layout
        What the columns of a table are.
    """

    name: str
    X_train: Array
    y_train: Array
    X_test: Array | None
    y_test: Array | None
    input_scale: float = 1.0
    layout: Layout = Layout()

    @property
    def columns(self) -> tuple[str, ...]:
        """The headings of the features' columns, where there are some."""
        return tuple(column.name for column in self.layout.columns if column.name)
