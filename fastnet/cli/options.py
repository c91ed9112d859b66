"""Options that several commands have, and what their texts stand for."""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import Annotated

import typer

from fastnet import activations, losses, optimizers
from fastnet.data.loading import KNOWN
from fastnet.data.preparation import KINDS
from fastnet.execution.registry import AUTOMATIC

# Variables are explained once, not beside every option.
Option = functools.partial(typer.Option, show_envvar=False)

BACKENDS = ["auto", *AUTOMATIC]


HiddenOption = Annotated[str, Option(help="Units of the hidden layers, such as 128,64.")]
ActivationOption = Annotated[
    str,
    Option(
        help="linear, sigmoid, tanh, relu, leaky_relu(0.01) or elu(1).",
        autocompletion=lambda: list(activations.ACTIVATIONS),
    ),
]
LossOption = Annotated[
    str | None,
    Option(
        help="mse, mae, log_loss or categorical_crossentropy.",
        show_default="what fits the targets",
        autocompletion=lambda: list(losses.LOSSES),
    ),
]
FixedLossOption = Annotated[
    str,
    Option(
        help="mse, mae, log_loss or categorical_crossentropy.",
        autocompletion=lambda: list(losses.LOSSES),
    ),
]
OutputOption = Annotated[str, Option(help="Activation of the last layer.")]
OptimizerOption = Annotated[
    str,
    Option(
        help="sgd or adam; sgd(0.1, 0.9) has rate and momentum of its own.",
        autocompletion=lambda: list(optimizers.OPTIMIZERS),
    ),
]
PreparationOption = Annotated[
    str | None,
    Option(
        help="min_max or standard: scale every column by what the training rows have in it.",
        show_default="none",
        autocompletion=lambda: list(KINDS),
    ),
]
TargetPreparationOption = Annotated[
    str | None,
    Option(
        help="The same for the quantities of a regression; predictions are in their own unit.",
        show_default="none",
        autocompletion=lambda: list(KINDS),
    ),
]
ScaleOption = Annotated[
    str | None,
    Option(
        help="Multiply all features by it, such as 1/255 for bytes.",
        show_default="1; 1/255 for mnist, 1/16 for digits",
    ),
]
BackendOption = Annotated[
    str,
    Option(help="auto, numpy, numba or cupy.", autocompletion=lambda: BACKENDS),
]
DtypeOption = Annotated[
    str,
    Option(help="float32 or float64.", autocompletion=lambda: ["float32", "float64"]),
]
ThreadsOption = Annotated[
    int | None,
    Option(
        help="How many threads a backend may use.",
        show_default="FASTNET_NUM_THREADS, else all cores",
    ),
]
SeedOption = Annotated[int, Option(help="Decides first weights, row order and splits.")]
OneHotOption = Annotated[
    str,
    Option(
        help="Columns of text, such as city,colour: each text becomes a feature.",
        show_default="none",
    ),
]
TaskOption = Annotated[
    str, Option(help="classification, regression, or auto: what the targets look like.")
]
DataDirOption = Annotated[
    Path | None,
    Option(
        help="The folder with the files of mnist or fashion_mnist.",
        show_default="FASTNET_DATA_DIR; without it they are downloaded once",
    ),
]
LabelOption = Annotated[
    str | None,
    Option(
        help="The label column of a table: its name, or its position from 0.",
        show_default="label, target, class or y",
    ),
]
HeaderOption = Annotated[
    bool | None,
    Option(
        "--header/--no-header",
        help="Whether the first line of a CSV file has the columns' names.",
        show_default="found out: numbers alone are a row",
    ),
]
TrainingData = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="digits, mnist or fashion_mnist; a .csv, .parquet or .npz file; or two files of "
        "features and targets, .npy or IDX, with a comma between.",
        autocompletion=lambda: list(KNOWN),
    ),
]
RowsOption = Annotated[int, Option(help="How many digits to compare on.")]
JsonOption = Annotated[
    bool, Option("--json", help="Print one JSON object on stdout, nothing else.")
]
QuietOption = Annotated[
    bool, Option("--quiet", "-q", help="Print the result alone: no tables, no progress.")
]
ForceOption = Annotated[bool, Option("--force", help="Replace files that are there.")]


def sizes(text: str) -> tuple[int, ...]:
    """Return the layer sizes in a text such as ``128,64``; an empty text has none."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise ValueError(
            f"--hidden is {text!r}; expected sizes with commas between, such as 128,64, "
            f"or '' for no hidden layer"
        ) from None


def batch_size(text: str) -> int | None:
    """Return the batch size in a text: a number, or ``all``."""
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--batch-size is {text!r}; expected a number, or 'all'") from None


def scale(text: str | None) -> float | None:
    """Return the factor in a text: a number, or a fraction such as ``1/255``."""
    if text is None:
        return None
    above, stroke, below = text.partition("/")
    try:
        return float(above) / float(below if stroke else 1)
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"--input-scale is {text!r}; expected a number, or a fraction such as 1/255"
        ) from None


def column(text: str | None) -> str | None:
    """Return the column in a text: its name, or its position if no column is called so."""
    return text


def columns(text: str) -> list[str]:
    """Return the columns in a text with commas between; quotes are as in CSV: ``"a,b",c``."""
    try:
        rows = list(csv.reader(text.splitlines(keepends=True), skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(
            f"--one-hot is {text!r}: {error}; expected columns with commas between, and in quotes "
            f"those whose names have commas or quotes, as in CSV"
        ) from None
    return [part.strip() for row in rows for part in row if part.strip()]


def output_file(path: Path, option: str, *, force: bool) -> Path:
    """Return where a file may be written, or raise what would stand in its way."""
    from fastnet import atomic

    target = atomic.check(path)
    if target.exists() and not force:
        raise FileExistsError(
            f"{option} is {str(path)!r}, which is there already; choose another name, or replace "
            f"it with --force"
        )
    return target
