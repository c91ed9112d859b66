"""The rows of a workload, as they came: bytes with a scale, or float32 quantities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench import checkout
from bench.workloads import Workload
from fastnet.data.dataset import Dataset
from fastnet.data.digits import digits
from fastnet.data.images import MNIST
from fastnet.data.images import load as load_images

Array = np.ndarray[Any, np.dtype[Any]]

SYNTHETIC_TEST_ROWS = 1000
NOISE = 0.1


def load(workload: Workload, folder: Path | None) -> Dataset:
    """Return the data set of a workload, cut to its rows.

    Parameters
    ----------
    workload : Workload
    folder : Path or None
        Where MNIST is; see `checkout.mnist_folder`.

    Returns
    -------
    Dataset
        Images as uint8 with their scale; quantities as float32 with the scale 1.

    Raises
    ------
    CannotMeasureError
        If MNIST is needed and not there.
    ValueError
        If a file of it is damaged.
    """
    if workload.data == "digits":
        data = digits()
    elif workload.data == "mnist":
        data = load_images(MNIST, checkout.mnist_folder(folder))
    else:
        data = _synthetic(workload.layers[0], workload.layers[-1], workload.rows or 10_000)
    if workload.rows is None:
        return data
    return data._replace(
        X_train=data.X_train[: workload.rows], y_train=data.y_train[: workload.rows]
    )


def in_float32(data: Dataset) -> Dataset:
    """Return the same rows as every other trainer takes them: scaled, in float32."""
    scale = np.float32(data.input_scale)
    return data._replace(
        X_train=data.X_train.astype(np.float32) * scale,
        X_test=data.X_test.astype(np.float32) * scale,
        input_scale=1.0,
    )


def _synthetic(inputs: int, outputs: int, rows: int) -> Dataset:
    """y = tanh(x A) B + noise, with random A and B: smooth, and learnable by a small network."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows + SYNTHETIC_TEST_ROWS, inputs))
    a = random.normal(size=(inputs, 16)) / np.sqrt(inputs)
    b = random.normal(size=(16, outputs)) / 4
    y = np.tanh(x @ a) @ b + NOISE * random.normal(size=(len(x), outputs))
    x, y = x.astype(np.float32), y.astype(np.float32)
    return Dataset("synthetic", x[:rows], y[:rows], x[rows:], y[rows:], input_scale=1.0)
