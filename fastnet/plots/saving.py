"""The pictures of a training as files in a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastnet import atomic
from fastnet.history import History
from fastnet.plots import drawing
from fastnet.plots.inside import first_weights
from fastnet.plots.results import confusion, curves, predictions
from fastnet.training import TrainResult

# A square of fewer features (4, 9 or 16 of a table) is a chance, not an image.
SMALLEST_IMAGE = 5 * 5


def save_all(
    trained: Any,
    folder: str | os.PathLike[str],
    X: Any = None,
    y: Any = None,
    *,
    history: History | None = None,
    shape: Sequence[int] | None = None,
) -> list[Path]:
    """Write the pictures that suit a training into a folder.

    ``curves.png`` where there is a history, ``weights.png`` where rows are images, and, with X and
    y, ``confusion.png`` for classes and ``predictions.png`` for images of classes. Without
    ``shape``, rows are images if their pixels make a square of 5 x 5 or more. Each file appears
    whole or not at all, and replaces one of its name.

    Parameters
    ----------
    trained : TrainResult or Network
        What was trained.
    folder : str or path
        Where to; it is made if it is not there.
    X, y : array_like, optional
        Rows that the network is shown, best such that it was not trained on:
        (rows, inputs), and labels as in `Network.fit`.
    history : History, optional
        What ``fit`` returned, beside a Network; a TrainResult has its own.
    shape : (int, int), optional
        Height and width of an image in pixels.

    Returns
    -------
    list of pathlib.Path
        The files that were written.

    Raises
    ------
    TypeError, ValueError
        If an argument is off, or if there is nothing to draw. Nothing is written then.
    NotADirectoryError
        If ``folder``, or what it would lie in, is a file.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> data = fastnet.load_data("digits")
    >>> run = fastnet.train(data)
    >>> plots.save_all(run, "pictures", data.X_test, data.y_test)
    """
    if isinstance(trained, TrainResult):
        network, history = trained.network, trained.history if history is None else history
    elif hasattr(trained, "layers"):
        network = drawing.check_network(trained)
    else:
        raise TypeError(
            f"trained is of type {type(trained).__name__}; expected the TrainResult of "
            f"fastnet.train, or a Network"
        )
    if (X is None) != (y is None):
        missing, given = ("X", "y") if X is None else ("y", "X")
        raise ValueError(f"{missing} is missing: {given} was given, and pictures need both")
    path = check_folder(folder)
    figures = _figures(network, history, X, y, shape)  # all of them, before anything is written
    if not figures:
        raise ValueError(
            "there is nothing to draw: the rows are no square images and there is no history; "
            "pass history=..., shape=(height, width), or X and y of a classification"
        )
    path.mkdir(parents=True, exist_ok=True)
    return [_save(figure, path / f"{name}.png") for name, figure in figures.items()]


def _figures(
    network: Any, history: History | None, X: Any, y: Any, shape: Sequence[int] | None
) -> dict[str, Any]:
    figures = {}
    if history is not None:
        figures["curves"] = curves(history)
    images = shape is not None or _is_image(network.layers[0].inputs)
    if X is not None and network.classes is not None:
        if images:
            figures["predictions"] = predictions(network, X, y, shape)
        figures["confusion"] = confusion(network, X, y)
    if images:
        figures["weights"] = first_weights(network, shape)
    return figures


def _is_image(pixels: int) -> bool:
    try:
        drawing.image_shape(None, pixels)
    except ValueError:
        return False
    return pixels >= SMALLEST_IMAGE


def check_folder(folder: str | os.PathLike[str]) -> Path:
    """Return the folder's path, or raise what `save_all` would, before there is anything to draw.

    Parameters
    ----------
    folder : str or path

    Returns
    -------
    pathlib.Path

    Raises
    ------
    TypeError
        If it is no path.
    NotADirectoryError
        If it, or what it would lie in, is a file.
    ImportError
        If matplotlib is not installed.
    """
    drawing.new_figure("a picture", 1, 1)
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise TypeError(f"folder is {folder!r}; expected the path of a folder, such as 'pictures'")
    path = Path(folder).expanduser()
    nearest = next((place for place in (path, *path.parents) if place.exists()), path)
    if nearest.exists() and not nearest.is_dir():
        raise NotADirectoryError(
            f"folder is {str(path)!r}, and {str(nearest)!r} is a file; expected a folder, or a "
            f"name that is free"
        )
    return path


def _save(figure: Any, path: Path) -> Path:
    with atomic.replacing(path) as file:
        figure.savefig(Path(file.name), format="png")
    return path
