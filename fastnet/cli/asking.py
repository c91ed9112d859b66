"""``fastnet evaluate``, ``predict`` and ``export``: what is done with a saved network."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastnet.cli import options, screen
from fastnet.cli.app import app, guarded
from fastnet.data.loading import KNOWN
from fastnet.execution.registry import BACKEND_VARIABLE
from fastnet.predictions import DEFAULT, WRITERS

if TYPE_CHECKING:
    import numpy as np

    from fastnet.data.batches import Source
    from fastnet.data.tabular import Wanted
    from fastnet.network import Network
    from fastnet.predictions import Headings

    Array = np.ndarray[Any, np.dtype[Any]]

STDOUT = Path("-")

ModelFile = Annotated[str, typer.Argument(metavar="MODEL", help="What fastnet train --save wrote.")]
Rows = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A .csv, .parquet, .npy, .npz or IDX file, - for CSV on stdin, or a data set's name.",
        autocompletion=lambda: list(KNOWN),
    ),
]
AskedBackend = Annotated[
    str | None,
    options.Option(
        help="auto, numpy, numba or cupy; numpy needs no compiling.",
        show_default=f"{BACKEND_VARIABLE}, else numpy",
        autocompletion=lambda: options.BACKENDS,
    ),
]
AskedLabel = Annotated[
    str | None,
    options.Option(
        help="The label column: its name, or its position from 0.",
        show_default="that of the training",
    ),
]


@app.command(epilog="Example: fastnet evaluate digits.safetensors held_out.csv")
@guarded
def evaluate(
    model: ModelFile,
    data: Rows,
    label: AskedLabel = None,
    header: options.HeaderOption = None,
    data_dir: options.DataDirOption = None,
    backend: AskedBackend = None,
    threads: options.ThreadsOption = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Compare what a saved network says of rows with their labels; all rows are held in memory."""
    import numpy as np

    from fastnet.data import batches

    network = _load(model, backend, threads)
    with batches.opened(
        data, _wanted(network, label, header, needs_label=True), data_dir
    ) as source:
        parts = [part for part in source.batches if part.y is not None]
        X = np.concatenate([part.X for part in parts])
        y = np.concatenate([part.y for part in parts if part.y is not None])
    classes = network.classes
    if classes is not None and classes.dtype.kind == "S" and y.dtype.kind == "U":
        y = np.char.encode(y, "latin-1")  # as predict writes them
    found = network.evaluate(X, y)
    if json:
        screen.print_json({**found, "rows": len(X), "backend": network.backend})
        return
    screen.say(screen.scores(found))
    if not quiet:
        screen.say(f"on {len(X):,} rows of {source.name}, by the backend {network.backend}")


@app.command(
    epilog="Examples: fastnet predict digits.safetensors new.csv --output labels.csv\n\n"
    "cat new.csv | fastnet predict digits.safetensors - --format json | head"
)
@guarded
def predict(
    model: ModelFile,
    data: Rows,
    output: Annotated[
        Path | None,
        options.Option(
            "--output",
            "-o",
            help="The file to write, - for stdout; its ending names the format.",
            show_default="stdout",
        ),
    ] = None,
    format: Annotated[  # noqa: A002
        str | None,
        options.Option(
            help=f"{', '.join(WRITERS)}.",
            show_default=f"what --output ends in; {DEFAULT.name} on stdout",
            autocompletion=lambda: [*WRITERS],
        ),
    ] = None,
    json: Annotated[bool, options.Option("--json", help="The same as --format json.")] = False,
    probabilities: Annotated[
        bool, options.Option("--probabilities", help="Write the probability of every class, too.")
    ] = False,
    name: Annotated[str, options.Option(help="The heading of the predictions.")] = "prediction",
    numbers: Annotated[
        str,
        options.Option(help="Number the rows from 1, under this heading.", show_default="none"),
    ] = "",
    label: Annotated[
        str | None,
        options.Option(
            help="A column that is no feature: its name, or its position from 0.",
            show_default="that of the training",
        ),
    ] = None,
    header: options.HeaderOption = None,
    data_dir: options.DataDirOption = None,
    backend: AskedBackend = None,
    threads: options.ThreadsOption = None,
    force: options.ForceOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Write what a saved network says of rows, batch by batch: they may be more than memory has."""
    from fastnet import predictions
    from fastnet.data import batches

    if output == STDOUT:
        output = None
    if not name:
        raise ValueError("--name is empty; expected the heading of the predictions")
    if json and format not in (None, "json"):
        raise ValueError(f"--json and --format {format} contradict each other; give one")
    writer = predictions.writer_for(output, "json" if json else format)
    if output is not None:
        output = options.output_file(output, "--output", force=force)
    network = _load(model, backend, threads)
    headings = _headings(network, name, numbers, probabilities=probabilities)
    outputs = network.layers[-1].outputs
    wanted = _wanted(network, label, header)
    with batches.opened(data, wanted, data_dir, outputs=outputs) as source:
        if source.unused and not quiet:
            screen.note(f"columns that the network does not use: {', '.join(source.unused)}")
        answers = _answers(network, source, probabilities=probabilities)
        first = next(answers)  # what is wrong with all rows is known before anything is written
        with predictions.opened(output, writer, headings) as file:
            for answer in itertools.chain([first], answers):
                file.write(*answer)
    if output is not None and not quiet:
        screen.note(f"wrote {file.rows:,} predictions to {output}")


def _load(model: str, backend: str | None, threads: int | None) -> Network:
    from fastnet import modelfile

    # Asked once, a network need not wait for a compiler.
    chosen = backend or os.environ.get(BACKEND_VARIABLE, "").strip() or "numpy"
    return modelfile.load(model, backend=chosen, threads=threads)


def _wanted(
    network: Network, label: str | None, header: bool | None, *, needs_label: bool = False
) -> Wanted:
    from fastnet.data.tabular import Wanted

    classes = network.classes
    return Wanted(
        network.layout,
        network.layers[0].inputs,
        options.column(label),
        needs_label,
        text_labels=classes is not None and classes.dtype.kind in "US",
        header=header,
    )


def _answers(
    network: Network, source: Source, *, probabilities: bool
) -> Iterator[tuple[Array, Array | None]]:
    """Yield what the network says of each batch, at least of one, and the probabilities."""
    rows = 0
    for X, _ in source.batches:
        try:
            answer = network.predict_both(X) if probabilities else (network.predict(X), None)
        except ValueError as error:
            if not rows:
                raise
            raise ValueError(f"{source.name}, where X begins at row {rows}: {error}") from error
        yield answer
        rows += len(X)


def _headings(network: Network, name: str, numbers: str, *, probabilities: bool) -> Headings:
    from fastnet.predictions import Headings, texts

    outputs, classes = network.layers[-1].outputs, network.classes
    is_several = classes is None and outputs > 1
    names = tuple(f"{name}_{j}" for j in range(1, outputs + 1)) if is_several else (name,)
    if not probabilities:
        return Headings(names, (), numbers)
    if network.task_in_use != "classification":
        raise ValueError("--probabilities: the network predicts quantities; leave it out")
    last = network.layers[-1].activation
    if last.name not in ("sigmoid", "softmax"):
        raise ValueError(f"--probabilities: the last activation, {last}, gives none; leave it out")
    shares = range(1, outputs + 1) if classes is None else texts(classes)
    return Headings(names, tuple(map(str, shares)), numbers)


@app.command(epilog="Example: fastnet export digits.safetensors digits.onnx")
@guarded
def export(
    model: ModelFile,
    output: Annotated[
        Path, typer.Argument(metavar="FILE", help="The ONNX file to write.", show_default=False)
    ],
    force: options.ForceOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Write a saved network as ONNX, compared with onnxruntime first."""
    from fastnet import modelfile, onnxfile

    target = options.output_file(output, "FILE", force=force)
    network = modelfile.load(model, backend="numpy")
    error = onnxfile.export(network, target)
    if json:
        screen.print_json({"file": str(target), "largest_difference": error})
    elif not quiet:
        screen.say(f"wrote {target}; onnxruntime's outputs differ by {error:.1e} at most")
