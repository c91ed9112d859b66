"""The command line: ``fastnet train``, ``recipes``, ``gradcheck``, ``parity`` and ``doctor``.

Exit codes: 0 done, 1 failed, 2 misused, 3 backend not available, 130 interrupted. Results go to
stdout, progress and errors to stderr.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastnet.errors import BackendUnavailableError, TrainingInterrupted
from fastnet.exits import FAILED, INTERRUPTED, MISUSED, NO_BACKEND, with_exit_codes

try:
    import typer
    from rich.console import Console
    from rich.table import Table
except ImportError as error:  # fastnet itself runs without them
    raise SystemExit(
        f"the fastnet command needs the package {error.name}, which is not installed: "
        f"python -m pip install typer rich"
    ) from error

if TYPE_CHECKING:
    from fastnet.checking import GradientCheck
    from fastnet.comparing import Parity
    from fastnet.network import Network
    from fastnet.training import TrainResult

app = typer.Typer(
    name="fastnet",
    help="Train neural networks whose gradients are derived by hand.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _meaning(error: BaseException) -> tuple[int, object] | None:
    """Return the exit code and message of an error that is no defect."""
    match error:
        case TrainingInterrupted():
            from fastnet.progress import describe

            last = {name: values[-1] for name, values in error.history.items()}
            figures = f" with {describe(last)}" if last else ""
            epochs = error.network.epoch
            return INTERRUPTED, f"interrupted after {epochs} finished epoch(s){figures}"
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted"
        case BackendUnavailableError():
            return NO_BACKEND, error
        case ArithmeticError():  # a divergence, or kinks that cannot be avoided
            return FAILED, error
        case MemoryError() | OSError():
            return FAILED, f"{type(error).__name__}: {error}"
        case ValueError() | TypeError():
            return MISUSED, error
    return None


_with_exit_codes = with_exit_codes("fastnet", _meaning)


def _version(wanted: bool) -> None:
    if wanted:
        from fastnet.version import __version__

        print(f"fastnet {__version__}")
        raise typer.Exit


@app.callback()
def _fastnet(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Train neural networks whose gradients are derived by hand."""


def _sizes(text: str) -> tuple[int, ...]:
    """Return the layer sizes in a text such as ``128,64``; an empty text has none."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise ValueError(
            f"--hidden is {text!r}; expected sizes with commas between, such as 128,64, "
            f"or '' for no hidden layer"
        ) from None


def _batch_size(text: str) -> int | None:
    """Return the batch size in a text: a number, or ``all``."""
    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--batch-size is {text!r}; expected a number, or 'all'") from None


def _label(text: str | None) -> str | int | None:
    """Return the label column in a text: a position if it is a whole number, else a name."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return text


Hidden = Annotated[str, typer.Option(help="Units of the hidden layers, such as 128,64.")]
ActivationOption = Annotated[
    str, typer.Option(help="linear, sigmoid, tanh, relu, leaky_relu(0.01) or elu(1).")
]
LossOption = Annotated[
    str | None,
    typer.Option(
        help="mse, mae, log_loss or categorical_crossentropy.",
        show_default="what fits the targets",
    ),
]
FixedLossOption = Annotated[
    str, typer.Option(help="mse, mae, log_loss or categorical_crossentropy.")
]
OutputOption = Annotated[str, typer.Option(help="Activation of the last layer.")]
RowsOption = Annotated[int, typer.Option(help="How many digits to compare on.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        help="The folder with the files of mnist or fashion_mnist.",
        show_default="FASTNET_DATA_DIR; without it they are downloaded once",
    ),
]
BackendOption = Annotated[str, typer.Option(help="auto, numpy, numba or cupy.")]
SeedOption = Annotated[int, typer.Option(help="Decides first weights, row order and splits.")]


@app.command()
@_with_exit_codes
def train(
    data: Annotated[
        str,
        typer.Argument(
            help="digits, mnist or fashion_mnist; a .csv, .parquet or .npz file; or two files of "
            "features and targets, .npy or IDX, with a comma between."
        ),
    ] = "digits",
    label: Annotated[
        str | None,
        typer.Option(
            help="The label column of a table: its name, or its position from 0.",
            show_default="label, target, class or y",
        ),
    ] = None,
    data_dir: DataDirOption = None,
    hidden: Hidden = "128",
    activation: ActivationOption = "relu",
    loss: LossOption = None,
    optimizer: Annotated[str, typer.Option(help="sgd or adam.")] = "adam",
    learning_rate: Annotated[float | None, typer.Option(show_default="the optimizer's own")] = None,
    batch_size: Annotated[str, typer.Option(help="Rows per step, or 'all'.")] = "32",
    epochs: Annotated[int, typer.Option(help="Passes over the training rows.")] = 30,
    validation: Annotated[
        float, typer.Option(help="Share of the training rows to validate on; 0 for none.")
    ] = 0.1,
    backend: BackendOption = "auto",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    seed: SeedOption = 0,
    plot: Annotated[
        Path | None,
        typer.Option(help="Write pictures of the training into this folder.", show_default="none"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, nothing else.")
    ] = False,
) -> None:
    """Train a network and test it on rows that it has never seen."""
    from fastnet import checks, training
    from fastnet.data import loading
    from fastnet.fitting import Settings

    console = Console()
    settings: dict[str, Any] = {
        "optimizer": training.resolve_optimizer(optimizer, learning_rate),
        "batch_size": _batch_size(batch_size),
        "epochs": epochs,
    }
    Settings.checked(**settings)  # before anything is shown
    if validation != 0:
        checks.real_number(validation, "validation (0 for none)", above=0, below=1)
    if plot is not None:
        from fastnet import plots

        plots.check_folder(plot)  # and matplotlib: before an hour of training, not after it
    prepared = training.prepare(
        loading.load_data(data, label=_label(label), data_dir=data_dir),
        None,
        hidden=_sizes(hidden),
        activation=activation,
        loss=loss,
        sample_weight=None,
        backend=backend,
        dtype=dtype,
        seed=seed,
        task="auto",
        input_scale=None,
    )
    if not as_json:
        _show_network(console, prepared.network, data)
    result = training.run(
        prepared,
        **settings,
        validation=validation or None,
    )
    if as_json:
        print(json.dumps(result.to_dict(), allow_nan=False))
    else:
        _show_result(console, result)
    if plot is not None:
        for path in plots.save_all(result, plot, prepared.X_test, prepared.y_test):
            Console(stderr=True).print(f"wrote {path}", markup=False, soft_wrap=True)


def _show_network(console: Console, network: Network, data: str) -> None:
    table = Table(title=f"Network for {data}", title_justify="left")
    for heading, justify in (
        ("layer", "right"),
        ("inputs", "right"),
        ("outputs", "right"),
        ("activation", "left"),
        ("first weights", "left"),
        ("parameters", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for number, layer in enumerate(network.layers, 1):
        table.add_row(
            str(number),
            f"{layer.inputs:,}",
            f"{layer.outputs:,}",
            str(layer.activation),
            str(layer.weights),
            f"{layer.parameter_count:,}",
        )
    console.print(table)
    console.print(
        f"{network.parameter_count:,} parameters in {network.dtype.name}, loss {network.loss}"
    )
    console.print(f"backend {network.backend}: {network.backend_reason}")


def _show_result(console: Console, result: TrainResult) -> None:
    report, test = result.report, result.test
    if "accuracy" in test:
        headline = f"test accuracy {test['accuracy']:.2%}"
    else:
        headline = f"test R² {test['r2']:.4f}"
    console.print(f"[bold]{headline}[/bold], test loss {test['loss']:.4f}")
    console.print(
        f"{report.epochs} epochs of {report.rows:,} rows in {report.seconds:.2f} s: "
        f"{report.samples_per_second:,.0f} samples per second"
    )


recipes_app = typer.Typer(
    help="Train networks of known tutorials: what they reported, and what is right.",
    no_args_is_help=True,
)
app.add_typer(recipes_app, name="recipes")
RecipeName = Annotated[str, typer.Argument(metavar="NAME", help="See fastnet recipes list.")]


@recipes_app.command("list")
@_with_exit_codes
def list_recipes(as_json: JsonOption = False) -> None:
    """List the recipes."""
    from fastnet import recipes

    found = [recipes.get(name) for name in recipes.names()]
    if as_json:
        print(json.dumps([{"name": r.name, "title": r.title, "mark": r.mark} for r in found]))
        return
    table = Table(title="Recipes", title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("title")
    table.add_column("mark")
    for recipe in found:
        table.add_row(recipe.name, recipe.title, recipe.mark)
    Console().print(table)


@recipes_app.command("show")
@_with_exit_codes
def show_recipe(name: RecipeName) -> None:
    """Describe a recipe: network, training, data, what was reported, wrong, and is done instead."""
    from fastnet import recipes

    print(recipes.get(name))


@recipes_app.command("run")
@_with_exit_codes
def run_recipe(
    name: RecipeName,
    backend: BackendOption = "auto",
    seed: Annotated[
        int | None, typer.Option(help="Run this seed alone.", show_default="each of the recipe's")
    ] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a recipe and test it on rows that it has never seen; exit with 1 below its mark."""
    from fastnet import recipes

    recipe = recipes.get(name)
    result = recipe.run(backend, seed, data_dir)
    if as_json:
        print(json.dumps(result.to_dict(), allow_nan=False))
    else:
        print(result)
    if result.reached is False:
        raise typer.Exit(FAILED)


@app.command()
@_with_exit_codes
def gradcheck(
    hidden: Hidden = "16",
    activation: ActivationOption = "tanh",
    output: OutputOption = "softmax",
    loss: FixedLossOption = "categorical_crossentropy",
    rows: RowsOption = 5,
    backend: BackendOption = "auto",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare the hand-derived gradients with central differences on a few digits."""
    from fastnet.checking import gradcheck as check

    network, X, y = _on_digits(hidden, activation, output, loss, rows, backend, "float64", seed)
    result = check(network, X, y)
    lines = [(r.block, str(r.shape), f"{r.checked:,}", f"{r.error:.2e}") for r in result.rows]
    headings = ("block", "shape", "checked", "error")
    _show_check(result, f"Gradient check of {network}", headings, lines, as_json)


@app.command()
@_with_exit_codes
def parity(
    hidden: Hidden = "64",
    activation: ActivationOption = "relu",
    output: OutputOption = "softmax",
    loss: FixedLossOption = "categorical_crossentropy",
    rows: RowsOption = 200,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare every backend that can run here with a float64 oracle, on a few digits."""
    from fastnet.comparing import parity as compare

    network, X, y = _on_digits(hidden, activation, output, loss, rows, "numpy", dtype, seed)
    result = compare(network, X, y)
    lines = [(r.backend, r.quantity, f"{r.error:.2e}", f"{r.allowed:.2e}") for r in result.rows]
    headings = ("backend", "quantity", "error", "allowed")
    _show_check(result, f"Parity of {network}", headings, lines, as_json)


def _show_check(
    result: GradientCheck | Parity,
    title: str,
    headings: tuple[str, ...],
    lines: Sequence[tuple[str, ...]],
    as_json: bool,
) -> None:
    """Print a check as a table with its verdict, or as JSON; exit with FAILED if it failed."""
    if as_json:
        print(json.dumps(result.to_dict()))
    else:
        console = Console()
        table = Table(title=title, title_justify="left")
        for heading in headings:
            is_text = heading in ("block", "backend", "quantity")
            table.add_column(heading, justify="left" if is_text else "right")
        for line in lines:
            table.add_row(*line)
        console.print(table)
        console.print(result.verdict)
    if not result.passed:
        raise typer.Exit(FAILED)


@app.command()
@_with_exit_codes
def warmup(
    dtype: Annotated[str, typer.Option(help="float32, float64 or both.")] = "float32",
    as_json: JsonOption = False,
) -> None:
    """Compile ahead what the first training with numba would wait for; once per machine."""
    from fastnet import warming
    from fastnet.execution import compiled

    seconds = {}
    progress = Console(stderr=True)
    for name in ("float32", "float64") if dtype == "both" else (dtype,):
        with progress.status(f"compiling for {name}, or finding what is compiled"):
            seconds[name] = warming.warmup(name)
    if as_json:
        print(json.dumps({"seconds": seconds, "compiled_code": str(compiled.folder())}))
        return
    console = Console()
    for name, took in seconds.items():
        console.print(f"{name}: ready after {took:.1f} s")
    console.print(f"compiled code is kept in {compiled.folder()}", soft_wrap=True)


@app.command()
@_with_exit_codes
def doctor(as_json: JsonOption = False) -> None:
    """Show versions, processor, backends and what they lack, the GPU, the BLAS, and the cache."""
    from rich.text import Text

    from fastnet import doctor as facts

    found = facts.examine()
    if as_json:
        print(json.dumps(found))
        return
    console = Console()
    table = Table(title="fastnet doctor", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    # What is missing is shown among the backends already, with what to do about it.
    found["cuda"] = {r["name"]: r["detail"] if r["passed"] else r["cause"] for r in found["cuda"]}
    for name, value in _flat(found):
        table.add_row(name, Text(value))  # as it stands: to markup, fastnet-nn[cuda13] is a tag
    console.print(table)


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested facts as lines, empty ones left out."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{prefix}{name} ")
        elif value != "" and name != "name":
            lines.append((prefix + name, f"{value:,}" if type(value) is int else str(value)))
    return lines


def _on_digits(
    hidden: str,
    activation: str,
    output: str,
    loss: str,
    rows: int,
    backend: str,
    dtype: str,
    seed: int,
) -> tuple[Network, Any, Any]:
    """Return a network for the digits and some of their rows."""
    from fastnet import checks
    from fastnet.data.digits import digits
    from fastnet.layers import Dense
    from fastnet.network import Network

    data = digits()
    rows = checks.whole_number(rows, "rows", at_least=1, at_most=len(data.X_train))
    sizes = [data.X_train.shape[1], *_sizes(hidden)]
    layers = [Dense(i, o, activation) for i, o in itertools.pairwise(sizes)]
    network = Network(
        [*layers, Dense(sizes[-1], 10, output)],
        loss=loss,
        backend=backend,
        dtype=dtype,
        seed=seed,
        input_scale=data.input_scale,
        task="classification",
    )
    return network, data.X_train[:rows], data.y_train[:rows]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never returns."""
    app(args=arguments, prog_name="fastnet")
