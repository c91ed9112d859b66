"""A data set: rows to train on and rows to test on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnet import naming

Array = np.ndarray[Any, np.dtype[Any]]


class Dataset(NamedTuple):
    """Features and targets, split into training and test rows.

    ``input_scale`` is the factor that brings the features to about 0 .. 1; the network applies it.
    """

    name: str
    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array
    input_scale: float


def by_name(name: str) -> Dataset:
    """Return the data set that a name stands for.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    from fastnet.data.digits import digits  # digits imports this module

    known = {"digits": digits}
    if name not in known:
        raise ValueError(
            f"data is {name!r}, which is no data set{naming.suggestion(name, sorted(known))} "
            f"Expected {', '.join(map(repr, sorted(known)))}, or your own arrays: train(X, y)"
        )
    return known[name]()
