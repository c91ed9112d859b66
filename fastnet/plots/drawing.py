"""What the pictures share: a figure without a display, the shape of images, rows with classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.network import Network

Array = np.ndarray[Any, np.dtype[Any]]
# (height, width) in pixels
Shape = tuple[int, int]

# Labels longer than this would run into their neighbours.
LONGEST_LABEL = 12


def new_figure(picture: str, width: float, height: float) -> Any:
    """Return an empty figure of this size in inches.

    Raises
    ------
    ImportError
        If matplotlib is not installed; ``picture`` is what the message calls the caller.
    """
    try:
        # pyplot would choose a backend, which may need a display, and keep the figure alive.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"plots.{picture} needs matplotlib, which is not installed: "
            f"python -m pip install 'fastnet-nn[plot]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def image_shape(shape: Sequence[int] | None, pixels: int) -> Shape:
    """Return (height, width) of images with so many pixels; None stands for a square.

    Raises
    ------
    TypeError
        If ``shape`` is not a pair of whole numbers.
    ValueError
        If it has not as many pixels as a row, or if None is given and there is no such square.
    """
    if shape is None:
        side = math.isqrt(pixels)
        if side * side != pixels:
            raise ValueError(
                f"a row has {pixels} pixels, which make no square: pass shape=(height, width)"
            )
        return side, side
    if not isinstance(shape, Sequence) or len(shape) != 2:
        raise TypeError(
            f"shape is {shape!r}; expected (height, width) in pixels, or None for a square"
        )
    height = checks.whole_number(shape[0], "the height in shape", at_least=1)
    width = checks.whole_number(shape[1], "the width in shape", at_least=1)
    if height * width != pixels:
        raise ValueError(
            f"shape is ({height}, {width}), that is {height * width} pixels, and a row has "
            f"{pixels}; expected height * width = {pixels}"
        )
    return height, width


def check_network(network: Any) -> Network:
    """Return ``network`` if it is one."""
    if isinstance(network, Network):
        return network
    hint = ": pass result.network" if hasattr(network, "network") else ""
    raise TypeError(f"network is of type {type(network).__name__}; expected a Network{hint}")


def classified(network: Network, X: Any, y: Any) -> tuple[Array, Array, Array]:
    """Return features, and the position of each row's true class in ``network.classes``.

    Returns
    -------
    features : array
        (rows, inputs) on the host.
    truth : array
        (rows,) from 0 on.
    classes : array
        (classes,) labels.

    Raises
    ------
    TypeError, ValueError
        If X or y do not fit the network, or if the network does not give each row one class.
    """
    if network.classes is None:
        what = "several labels at once" if network.codec.multilabel else "quantities"
        raise ValueError(
            f"network predicts {what}, and this picture shows classes: expected a network that "
            f"gives every row one class"
        )
    # The codec of an untrained network would follow y; its predictions do not.
    rows, _ = network.rows(X, y, codec=network.codec, training=False)
    if rows.targets.ndim == 2:
        several = np.count_nonzero(rows.targets > 0.5, axis=1) > 1
        if several.any():
            raise ValueError(
                f"y has several labels at once in row {int(several.argmax())} (counted from 0), "
                f"and this picture shows classes: expected one per row"
            )
    truth = network.codec.strata(rows.targets).astype(np.intp)
    return network.executor.on_host(rows.features), truth, network.classes


def predicted(network: Network, features: Array, classes: Array) -> Array:
    """Return the position of each row's predicted class in ``classes``, which are sorted."""
    return np.searchsorted(classes, network.predict(features).ravel())


def label(value: Any) -> str:
    """Return a class label as a picture shows it: short, and free of matplotlib's formulas."""
    text = str(value)
    if len(text) > LONGEST_LABEL:
        text = text[: LONGEST_LABEL - 1] + "…"
    return text.replace("$", r"\$")


def bare(axes: Any) -> None:
    """Take away ticks, which say nothing beside an image."""
    axes.set_xticks([])
    axes.set_yticks([])
