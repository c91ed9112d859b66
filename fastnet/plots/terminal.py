"""Pictures made of characters, for a terminal; they need no matplotlib."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.data import arrays
from fastnet.plots import drawing

# From an empty cell to a full one, in eighths from below.
BLOCKS = " ▁▂▃▄▅▆▇█"
# The same, where the encoding lacks these characters: a cell is empty, begun, half full, or full.
PLAIN_BLOCKS = " ...:::##"
# From paper to ink.
SHADES = " ░▒▓█"
PLAIN_SHADES = " .:-=+*#%@"


def text_curve(values: Any, width: int = 60, height: int = 10, encoding: str | None = None) -> str:
    """Draw a curve with characters, such as a loss over the epochs.

    Parameters
    ----------
    values : array_like
        (n,) finite numbers, in order. More than ``width`` of them are averaged in groups.
    width, height : int, default 60 and 10
        Columns and lines of the curve, without the numbers beside and below it.
    encoding : str, optional
        What the text is meant for, such as ``"ascii"``; by default the encoding of stdout.
        Without block characters in it, plain ones are used.

    Returns
    -------
    str
        Lines without a line break at the end: largest and smallest value stand at the left, the
        first and the last position below.

    Raises
    ------
    TypeError, ValueError
        If an argument is off.

    Examples
    --------
    >>> print(plots.text_curve(run.history["train_loss"]))
    """
    width = checks.whole_number(width, "width", at_least=1)
    height = checks.whole_number(height, "height", at_least=1)
    points = arrays.as_array(values, "values")
    if points.ndim != 1 or points.size == 0:
        raise ValueError(
            f"values has shape {points.shape}; expected one number after the other, shape (n,), "
            f"at least one"
        )
    arrays.require_finite(points, "values")
    points = points.astype(np.float64)
    low, high = float(points.min()), float(points.max())
    # By the largest magnitude first: a difference of two huge numbers may not be finite.
    size = max(abs(low), abs(high)) or 1.0
    span = high / size - low / size
    # A constant has no height; it is drawn half way up.
    share = (points / size - low / size) / span if span else np.full(len(points), 0.5)
    # The lowest value still fills an eighth: a column that is empty would be no value.
    levels = 1 + np.rint(_spread(share, width) * (8 * height - 1)).astype(np.int64)
    characters = _characters(BLOCKS, PLAIN_BLOCKS, encoding)
    lines = []
    for line in range(height):
        filled = np.clip(levels - 8 * (height - 1 - line), 0, 8)
        lines.append("".join(characters[k] for k in filled))
    marks = [""] * height
    marks[-1], marks[0] = f"{low:.4g}", f"{high:.4g}"  # one line has room for the largest alone
    margin = max(map(len, marks))
    last = str(len(points))
    axis = "1" + last.rjust(width - 1) if len(points) > 1 and width > len(last) else "1"
    return "\n".join(
        [
            *(
                f"{mark:>{margin}} |{line}".rstrip()
                for mark, line in zip(marks, lines, strict=True)
            ),
            " " * margin + " +" + "-" * width,
            " " * margin + "  " + axis,
        ]
    )


def _spread(share: drawing.Array, width: int) -> drawing.Array:
    """Return one value per column: means of groups, or values between two where they are few."""
    if len(share) >= width:
        return np.array([part.mean() for part in np.array_split(share, width)])
    return np.interp(np.linspace(0, len(share) - 1, width), np.arange(len(share)), share)


def text_image(row: Any, shape: Sequence[int] | None = None, encoding: str | None = None) -> str:
    """Draw an image with characters, two for each pixel, the darker the larger its value.

    Parameters
    ----------
    row : array_like
        (height * width,) pixels.
    shape : (int, int), optional
        Height and width in pixels; by default a square.
    encoding : str, optional
        As in `text_curve`.

    Returns
    -------
    str
        A line for each line of pixels, without a line break at the end.

    Raises
    ------
    TypeError, ValueError
        If an argument is off.
    """
    pixels = arrays.as_array(row, "row")
    if pixels.ndim == 2 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim != 1 or pixels.size == 0:
        raise ValueError(
            f"row has shape {pixels.shape}; expected the pixels of one image, shape "
            f"(height * width,), as in X[0]"
        )
    arrays.require_finite(pixels, "row")
    height, width = drawing.image_shape(shape, len(pixels))
    image = pixels.astype(np.float64).reshape(height, width)
    low, high = float(image.min()), float(image.max())
    size = max(abs(low), abs(high)) or 1.0
    span = high / size - low / size
    # An image of one value is empty paper.
    share = (image / size - low / size) / span if span else np.zeros_like(image)
    characters = _characters(SHADES, PLAIN_SHADES, encoding)
    # Equal shares of the scale for each character; the largest value belongs to the last.
    steps = np.minimum((share * len(characters)).astype(np.int64), len(characters) - 1)
    return "\n".join("".join(2 * characters[k] for k in line).rstrip() for line in steps)


def _characters(wanted: str, plain: str, encoding: str | None) -> str:
    """Return the characters that the encoding can take."""
    if encoding is None:
        # There is no stdout in a program without a console.
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    elif not isinstance(encoding, str):
        raise TypeError(f"encoding is {encoding!r}; expected the name of one, such as 'utf-8'")
    try:
        wanted.encode(encoding)
    except UnicodeEncodeError:
        return plain
    except LookupError:
        raise ValueError(
            f"encoding is {encoding!r}, which Python does not know; expected the name of one, "
            f"such as 'utf-8' or 'ascii'"
        ) from None
    return wanted
