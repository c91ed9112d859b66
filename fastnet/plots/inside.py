"""A look inside: the weights of the first layer, and what the network makes of one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.data import arrays, placement
from fastnet.plots import drawing

# Values written into more pixels than this could not be read.
MOST_WRITTEN = 32 * 32
# Bars for more classes than this would be too thin.
MOST_BARS = 20


def first_weights(network: Any, shape: Sequence[int] | None = None, units: int = 64) -> Any:
    """Draw the weights from the inputs to each unit of the first layer, as images.

    Red pixels speak for the unit, blue ones against it, white ones do not matter to it. All
    images share one scale that is symmetric around 0, so that they can be compared.

    Parameters
    ----------
    network : Network
    shape : (int, int), optional
        Height and width of an image in pixels; by default a square.
    units : int, default 64
        At most so many units are drawn, from the first on.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument is off.
    ImportError
        If matplotlib is not installed.
    """
    network = drawing.check_network(network)
    units = checks.whole_number(units, "units", at_least=1)
    first = network.layers[0]
    height, width = drawing.image_shape(shape, first.inputs)
    W = network.state_dict()["layer_1.weights"]
    shown = min(units, first.outputs)
    columns = math.ceil(math.sqrt(shown))
    rows = -(-shown // columns)
    figure = drawing.new_figure("first_weights", max(0.95 * columns + 1, 5), 1.05 * rows + 0.7)
    figure.suptitle(
        "weights of the first layer, "
        + (f"{shown} of {first.outputs} units" if shown < first.outputs else f"{shown} units")
    )
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    limit = float(np.abs(W).max()) or 1.0  # weights that are all 0 are white
    for unit, axes in enumerate(grid):
        if unit >= shown:
            axes.set_axis_off()
            continue
        image = axes.imshow(
            W[:, unit].reshape(height, width), cmap="RdBu_r", vmin=-limit, vmax=limit
        )
        drawing.bare(axes)
        axes.set_title(unit + 1, fontsize=7, pad=2)
    figure.colorbar(image, ax=grid.tolist(), label="weight", aspect=30)
    return figure


def digit(network: Any, x: Any, shape: Sequence[int] | None = None) -> Any:
    """Draw one image with its pixels' values, and beside it the probability of every class.

    The values are left out above 32 x 32 pixels, where they could not be read; of more than 20
    classes the most probable 20 are drawn.

    Parameters
    ----------
    network : Network
        One that gives probabilities; see `Network.predict_proba`.
    x : array_like
        (height * width,) or (1, height * width) pixels.
    shape : (int, int), optional
        Height and width of the image in pixels; by default a square.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument is off, or if the network gives no probabilities.
    ImportError
        If matplotlib is not installed.
    """
    network = drawing.check_network(network)
    row = network.executor.fetch(x, "x") if placement.is_on_gpu(x) else arrays.as_array(x, "x")
    if row.ndim not in (1, 2) or (row.ndim == 2 and len(row) != 1):
        raise ValueError(
            f"x has shape {row.shape}; expected the pixels of one image, shape "
            f"({network.layers[0].inputs},), as in X[0]"
        )
    row = arrays.features(
        row.reshape(1, -1), network.dtype, inputs=network.layers[0].inputs, name="x"
    )
    height, width = drawing.image_shape(shape, row.shape[1])
    probabilities = network.predict_proba(row)[0]
    image = row.reshape(height, width)
    is_large = row.size > 144
    figure = drawing.new_figure("digit", 12 if is_large else 8, 7.5 if is_large else 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2) if is_large else (1, 1))
    left.imshow(image, cmap="gray_r")
    drawing.bare(left)
    left.set_title(f"{height} by {width} pixels")
    if row.size <= MOST_WRITTEN:
        _write_values(left, image, inches=6.5 if is_large else 3.6)
    _draw_bars(right, network.classes, probabilities)
    return figure


def _write_values(axes: Any, image: drawing.Array, inches: float) -> None:
    texts = [f"{value:g}" if float(value).is_integer() else f"{value:.2g}" for value in image.flat]
    cell = 72 * inches / max(image.shape)  # points
    size = min(cell / (0.75 * max(3, *map(len, texts))), 11)
    low, middle = float(image.min()), (float(image.min()) + float(image.max())) / 2
    for position, (value, text) in enumerate(zip(image.flat, texts, strict=True)):
        row, column = divmod(position, image.shape[1])
        # Light on dark and dark on light; the background's values step back.
        color = "white" if value > middle else "0.55" if value == low else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)


def _draw_bars(axes: Any, classes: drawing.Array | None, probabilities: drawing.Array) -> None:
    names = (
        [f"label {k + 1}" for k in range(len(probabilities))]  # several at once have no names
        if classes is None
        else [drawing.label(value) for value in classes]
    )
    kept = np.sort(np.argsort(-probabilities, kind="stable")[:MOST_BARS])
    bars = axes.barh(range(len(kept)), probabilities[kept])
    axes.bar_label(bars, [f"{p:.1%}" for p in probabilities[kept]], padding=3, fontsize=9)
    axes.set_yticks(range(len(kept)), [names[k] for k in kept])
    axes.invert_yaxis()  # the first class on top, as one reads
    axes.set_xlim(0, 1.2)  # room for the figure beside a full bar
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel("probability")
    if classes is not None:
        best = int(probabilities.argmax())
        axes.set_title(f"prediction: {names[best]}")
        bars[int(np.flatnonzero(kept == best)[0])].set(hatch="//", edgecolor="white")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
