"""The digits inside the package: 1,797 images of 8 by 8 pixels; their source is in DIGITS.md."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np

from fastnet.data.dataset import Dataset
from fastnet.data.splits import TEST_FRACTION, stratified_split

# The split is part of the data set: the same whatever seed a training uses, so that test results
# can be compared.
SPLIT_SEED = 42

Array = np.ndarray[Any, np.dtype[Any]]


def stored() -> tuple[Array, Array]:
    """Return all 1,797 images (rows, 64), bytes from 0 to 16, and their labels, in file order."""
    with (files("fastnet.data") / "digits.npz").open("rb") as file, np.load(file) as archive:
        return archive["images"], archive["labels"].astype(np.int64)


def digits() -> Dataset:
    """Return the digits: 1,437 images to train on and 360 to test on, bytes from 0 to 16."""
    images, labels = stored()
    train, test = stratified_split(labels, TEST_FRACTION, SPLIT_SEED)
    return Dataset(
        "digits", images[train], labels[train], images[test], labels[test], input_scale=1 / 16
    )
