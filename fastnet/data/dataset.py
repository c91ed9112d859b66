"""A data set: rows to train on and rows to test on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

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
