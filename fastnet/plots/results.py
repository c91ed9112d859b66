"""What came out of a training: its curves, some predictions, and what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.history import History
from fastnet.plots import drawing
from fastnet.training import TrainResult

# As drawn, the counts of more classes could not be read.
MOST_COUNTED = 40


def curves(history: History | TrainResult) -> Any:
    """Draw loss and accuracy (or R2) of training and validation, epoch by epoch.

    Parameters
    ----------
    history : History or TrainResult
        What ``fit`` or `fastnet.train` has returned.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError
        If it is neither.
    ImportError
        If matplotlib is not installed.
    """
    found = history.history if isinstance(history, TrainResult) else history
    if not isinstance(found, History):
        raise TypeError(
            f"history is of type {type(found).__name__}; expected the History that fit returns, "
            f"or the TrainResult of fastnet.train"
        )
    scores = [name for name in ("accuracy", "r2") if any(k.endswith(name) for k in found)]
    panels = ["loss", *scores]
    figure = drawing.new_figure("curves", 5 * len(panels), 4)
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, quantity in zip(row, panels, strict=True):
        for part in ("train", "validation"):
            if f"{part}_{quantity}" in found:
                axes.plot(found["epoch"], found[f"{part}_{quantity}"], label=part, marker=".")
        axes.set_xlabel("epoch")
        axes.set_ylabel({"r2": "R²"}.get(quantity, quantity))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    return figure


def predictions(
    network: Any,
    X: Any,
    y: Any,
    shape: Sequence[int] | None = None,
    rows: int = 5,
    columns: int = 5,
) -> Any:
    """Draw the first images with what the network takes them for.

    A right one has its class above it. A wrong one has a cross, a thick frame, and both classes.

    Parameters
    ----------
    network : Network
        One that gives every row one class.
    X : array_like
        (images, height * width), as in `Network.predict`.
    y : array_like
        (images,) labels, or (images, classes) one-hot.
    shape : (int, int), optional
        Height and width of an image in pixels; by default a square.
    rows, columns : int, default 5
        At most rows * columns images are drawn.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument is off, or if the network does not predict classes.
    ImportError
        If matplotlib is not installed.
    """
    network = drawing.check_network(network)
    rows = checks.whole_number(rows, "rows", at_least=1)
    columns = checks.whole_number(columns, "columns", at_least=1)
    features, truth, classes = drawing.classified(network, X, y)
    height, width = drawing.image_shape(shape, features.shape[1])
    count = min(rows * columns, len(features))
    said = drawing.predicted(network, features[:count], classes)
    images = features[:count].reshape(count, height, width)
    columns = min(columns, count)
    rows = -(-count // columns)  # rounded up: no empty rows below the last image
    figure = drawing.new_figure(
        "predictions", max(1.3 * columns, 4), (1.3 * min(height / width, 3) + 0.3) * rows + 0.6
    )
    wrong = int(np.count_nonzero(said != truth[:count]))
    figure.suptitle(f"{count - wrong} of {count} right" + ("  (✗ is wrong)" if wrong else ""))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    # One scale for all of them: a pale image is to look pale.
    low, high = images.min(), images.max()
    for position, axes in enumerate(grid):
        if position >= count:
            axes.set_axis_off()
            continue
        axes.imshow(images[position], cmap="gray_r", vmin=low, vmax=high)
        drawing.bare(axes)
        answer, right = (drawing.label(classes[k]) for k in (said[position], truth[position]))
        if said[position] == truth[position]:
            axes.set_title(answer, fontsize=_fitting(answer))
            continue
        short = len(answer) + len(right) <= 4
        text = f"✗ {answer}, is {right}" if short else f"✗ {answer},\nis {right}"
        axes.set_title(text, fontsize=_fitting(text), color="darkred", fontweight="bold")
        for spine in axes.spines.values():
            spine.set(linewidth=3, color="darkred")
    return figure


def _fitting(title: str) -> float:
    """Return the size in points at which a title is no wider than its image."""
    return 10 if max(map(len, title.split("\n"))) <= 11 else 7.5


def confusion(network: Any, X: Any, y: Any) -> Any:
    """Draw the confusion matrix: how often each class was taken for which.

    The rows are the true classes, the columns the predicted ones; the diagonal is what was right.
    A cell is the darker the larger its share of the row. Counts are written for up to 40 classes.

    Parameters
    ----------
    network : Network
        One that gives every row one class.
    X : array_like
        (rows, inputs), as in `Network.predict`.
    y : array_like
        (rows,) labels, or (rows, classes) one-hot.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument is off, or if the network does not predict classes.
    ImportError
        If matplotlib is not installed.
    """
    network = drawing.check_network(network)
    features, truth, classes = drawing.classified(network, X, y)
    said = drawing.predicted(network, features, classes)
    n = len(classes)
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (truth, said), 1)
    # A class without rows has shares of 0, not 0 / 0.
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(2.5 + 0.45 * n, 14)
    figure = drawing.new_figure("confusion", max(side, 4), side)
    axes = figure.subplots()
    # The root of the share: a few errors beside many hits are to be seen.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    right = int(np.trace(counts))
    axes.set_title(f"{right:,} of {len(truth):,} right ({right / len(truth):.1%})")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    ticks = range(0, n, -(-n // MOST_COUNTED))  # every second or third label where they are many
    names = [drawing.label(classes[tick]) for tick in ticks]
    long = max(map(len, names)) > 3
    axes.set_xticks(ticks, names, rotation=90 if long else 0)
    axes.set_yticks(ticks, names)
    if n <= MOST_COUNTED:
        # What fits a cell: counts of four digits in ten classes take most of it.
        size = 72 * (side - 1.5) / n / (0.75 * max(len(str(counts.max())), 3))
        for (row, column), times in np.ndenumerate(counts):
            pale = "white" if shares[row, column] > 0.3 else "black"
            color = pale if times else "0.75"
            axes.text(
                column, row, times, ha="center", va="center", color=color, fontsize=min(size, 11)
            )
    return figure
