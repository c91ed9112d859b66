"""The commands of ``python -m bench``.

Exit codes: 0 done, 1 cannot be measured here, 2 misused, 130 interrupted. Tables go to stdout, what
goes on to stderr.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import typer
from rich.console import Console

from bench import checkout, machine, quiet, results, selection
from bench.checkout import CannotMeasureError
from bench.trainers import TRAINERS
from bench.workloads import ALL, Workload
from fastnet.data.images import DATA_VARIABLE
from fastnet.errors import DivergenceError
from fastnet.execution import registry
from fastnet.exits import FAILED, INTERRUPTED, MISUSED, with_exit_codes

# Seconds of a measurement and repeats in a quick look, whose figures are not worth keeping.
QUICK_SECONDS, QUICK_REPEATS = 0.2, 2

T = TypeVar("T")

app = typer.Typer(
    name="bench",
    help="Measure fastnet beside other trainers, op by op, and beside this machine's limits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _meaning(error: BaseException) -> tuple[int, object] | None:
    """Return the exit code and message of an error that is no defect."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED, "interrupted"
        case CannotMeasureError() | DivergenceError() | ImportError() | OSError():
            return FAILED, error
        case ValueError():
            return MISUSED, error
    return None


_with_exit_codes = with_exit_codes("bench", _meaning)


def say(text: str) -> None:
    """Tell on stderr what goes on."""
    Console(stderr=True, highlight=False).print(text, markup=False, style="dim", soft_wrap=True)


RowsOption = Annotated[str, typer.Option("--rows", help="Which rows, such as A,C; or shapes.")]
TableRowsOption = Annotated[str, typer.Option("--rows", help="Which rows, such as C,D.")]
SecondsOption = Annotated[
    float, typer.Option(min=0.001, help="How long one measurement should take.")
]
RepeatsOption = Annotated[int, typer.Option(min=1, help="Measurements of each, in turn.")]
QuickOption = Annotated[
    bool, typer.Option("--quick", help="A look at whether everything runs; nothing is written.")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help=f"The folder with the four files of MNIST; else {DATA_VARIABLE}, else "
        f"shared/data/mnist beside the checkout.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(help="The results file; by default bench/results/KIND-PROCESSOR-DATE.json."),
]


@app.command()
@_with_exit_codes
def cpu(
    rows: RowsOption = "",
    shapes: Annotated[
        bool, typer.Option("--shapes", help="Other widths, depths, batches, functions and mse.")
    ] = False,
    trainers: Annotated[str, typer.Option(help="Which trainers, such as torch,jax.")] = "",
    seconds: SecondsOption = 1.0,
    repeats: RepeatsOption = 7,
    quick: QuickOption = False,
    no_accuracy: Annotated[
        bool, typer.Option("--no-accuracy", help="Leave out the time to 97.5 % on MNIST.")
    ] = False,
    data_dir: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Train the same networks with fastnet and every peer that is installed, in turn."""
    from bench import accuracy, measure, tables, workloads
    from bench import cpu as work
    from bench.calibration import Options
    from bench.results import CpuRun

    names = selection.chosen("--trainers", trainers, TRAINERS)
    asked = _asked(
        "cpu-shapes" if shapes else "cpu",
        _workloads(rows, workloads.SHAPES if shapes else workloads.TABLE),
        seconds,
        repeats,
        quick,
        data_dir,
        output,
    )
    with_accuracy = not (no_accuracy or quick)
    run = CpuRun(
        asked.facts,
        {
            "rows": [workload.key for workload in asked.workloads],
            "trainers": names,
            **asked.effort,
            "pause_seconds": measure.PAUSE,
            "quick": quick,
            "accuracy": accuracy.GOAL if with_accuracy else None,
        },
    )
    work.measure_all(
        run,
        work.Plan(asked.workloads, names, asked.repeats, with_accuracy),
        Options(asked.seconds, asked.facts["cores"], not quick, asked.folder),
        say,
        lambda so_far: _write(asked.path, so_far.to_dict()),
    )
    console = Console()
    for workload in asked.workloads:
        console.print(f"{workload.key}: {workload.title}", highlight=False)
    console.print(tables.settings(run), tables.speeds(run))
    if any(row.ratios for row in run.rows.values()):
        console.print(tables.comparison(run))
    if run.time_to_accuracy is not None:
        console.print(tables.time_to_accuracy(run.time_to_accuracy))
    _warn({key: row.others for key, row in run.rows.items()})
    _say_where(asked.path)


@app.command()
@_with_exit_codes
def ops(
    select: Annotated[str, typer.Option(help="Only ops whose name contains this.")] = "",
    quick: QuickOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the ratios as one JSON object, nothing else.")
    ] = False,
) -> None:
    """Time every op on Numba beside the same op on NumPy, one thread each."""
    from bench import ops as work

    found = work.measure_ops(select, quick=quick, show=not as_json)
    if as_json:
        print(json.dumps({"machine": machine.facts(), "ops": found}, allow_nan=False))
    else:
        Console().print(work.table(found))


@app.command()
@_with_exit_codes
def limits(
    rows: TableRowsOption = "",
    seconds: SecondsOption = 0.5,
    repeats: RepeatsOption = 7,
    quick: QuickOption = False,
    data_dir: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Measure what this machine can do at most, and put training beside it."""
    from bench import limits as work
    from bench import workloads

    chosen = _workloads(rows, workloads.TABLE)
    asked = _asked("limits", chosen, seconds, repeats, quick, data_dir, output)
    peaks = work.measure_peaks(asked.seconds, asked.repeats, asked.facts, say)
    measured = asked.rows(work.measure_row)
    Console().print(work.table_of_peaks(peaks), work.table_of_rows(measured, peaks))
    _warn({row.workload.key: row.others for row in measured})
    _write(asked.path, work.to_dict(asked.facts, peaks, measured, asked.effort))
    _say_where(asked.path)


@app.command()
@_with_exit_codes
def plan(
    rows: TableRowsOption = "C,D,E,F",
    seconds: SecondsOption = 0.5,
    repeats: RepeatsOption = 7,
    quick: QuickOption = False,
    data_dir: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Count the tiles of every phase, and time the plan beside the fastest one of two tiles."""
    from bench import plan as work
    from bench import workloads

    chosen = _workloads(rows, workloads.TABLE)
    if registry.usable_cores() < work.THREADS:
        raise CannotMeasureError(
            f"there is one core to run on, and the plans are compared on {work.THREADS}"
        )
    asked = _asked("plan", chosen, seconds, repeats, quick, data_dir, output)
    measured = asked.rows(work.measure_row)
    Console().print(work.table_of_tiles(measured), work.table_of_times(measured))
    _warn({row.workload.key: row.others for row in measured})
    _write(asked.path, work.to_dict(asked.facts, measured, asked.effort))
    _say_where(asked.path)


@app.command()
@_with_exit_codes
def recipes(
    recipes: Annotated[str, typer.Option(help="Which recipes, such as digits-adam.")] = "",
    backends: Annotated[
        str,
        typer.Option(
            help="Which backends, compared with the first of them; by default numpy,numba."
        ),
    ] = "",
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    quick: QuickOption = False,
    data_dir: DataOption = None,
    output: OutputOption = None,
) -> None:
    """Run the recipes with all of their seeds, and compare what the backends make of them."""
    from bench import recipes as work
    from fastnet.recipes import names

    choice = work.Choice(
        selection.chosen("--recipes", recipes, names()),
        selection.chosen("--backends", backends, registry.backends(), work.BACKENDS),
        dtype,
        quick,
    )
    if choice.needs_mnist:
        choice = choice._replace(folder=checkout.mnist_folder(data_dir))
    facts = machine.facts()
    path = _path("recipes", facts, output, quick)
    run = work.measure_all(facts, choice, say, lambda so_far: _write(path, so_far))
    Console().print(*work.tables(run))
    _say_where(path)


@app.command()
@_with_exit_codes
def gpu(
    rows: Annotated[str, typer.Option("--rows", help="Which rows, such as C,large.")] = "",
    stages: Annotated[
        str, typer.Option("--stages", help="Which stages, such as kernels,timings.")
    ] = "",
    quick: QuickOption = False,
    data_dir: DataOption = None,
    output: OutputOption = None,
    budget_seconds: Annotated[
        float, typer.Option(min=1, help="For all stages; what does not fit is left out.")
    ] = 480.0,
    device: Annotated[
        str,
        typer.Option(
            help="gpu; or host, a look at whether everything runs, on a machine without a GPU."
        ),
    ] = "gpu",
) -> None:
    """Compare the GPU backend with NumPy, to the bit with itself, and time it beside its peers."""
    from bench.gpu import environment, places, timing
    from bench.gpu import run as work
    from bench.gpu.stages import GpuRun

    keys = selection.chosen("--rows", rows, timing.ROWS, timing.BY_VALUE)
    names = selection.chosen("--stages", stages, work.NAMES)
    with places.place(device) as place:
        choice = work.Choice(names, keys, quick, data_dir, budget_seconds)
        if work.needs_mnist(choice, place):
            choice = choice._replace(folder=checkout.mnist_folder(data_dir))
        path = output
        if output is None and not (quick or place.is_host):
            facts = {**machine.facts(), "processor": environment.gpu_name()}
            path = results.default_path("gpu", facts)
        settings = {
            "stages": names,
            "rows": keys,
            "quick": quick,
            "budget_seconds": budget_seconds,
            "seconds": timing.SECONDS,
            "repeats": timing.REPEATS,
            "pause_seconds": timing.PAUSE,
        }
        run = GpuRun(place.name, settings)
        work.measure_all(run, choice, place, say, lambda so_far: _write(path, so_far.to_dict()))
    Console(highlight=False).print(f"parity: {', '.join(run.wrong) or 'nothing'} wrong")
    _say_where(path)
    if run.wrong:
        raise SystemExit(FAILED)


def _workloads(rows: str, default: list[Workload]) -> list[Workload]:
    keys = [workload.key for workload in default]
    return [ALL[key] for key in selection.chosen("--rows", rows, ALL, keys)]


class _Asked(NamedTuple):
    """What a command measures, how thoroughly, on what, and where the results go."""

    workloads: list[Workload]
    seconds: float
    repeats: int
    folder: Path | None
    facts: dict[str, Any]
    path: Path | None

    @property
    def effort(self) -> dict[str, Any]:
        """How thoroughly, as the results say it."""
        return {"seconds": self.seconds, "repeats": self.repeats}

    def rows(self, measure_row: Callable[..., T]) -> list[T]:
        """Return what is measured of each workload."""
        return [
            measure_row(workload, self.seconds, self.repeats, self.folder, say)
            for workload in self.workloads
        ]


def _asked(
    kind: str,
    chosen: list[Workload],
    seconds: float,
    repeats: int,
    quick: bool,
    data_dir: Path | None,
    output: Path | None,
) -> _Asked:
    """Look for MNIST, if it is needed, and at the machine; nothing is measured before."""
    needed = any(workload.data == "mnist" for workload in chosen)
    folder = checkout.mnist_folder(data_dir) if needed else None
    if quick:
        seconds, repeats = QUICK_SECONDS, QUICK_REPEATS
    facts = machine.facts()
    return _Asked(chosen, seconds, repeats, folder, facts, _path(kind, facts, output, quick))


def _path(kind: str, facts: dict[str, Any], output: Path | None, quick: bool) -> Path | None:
    """Return where results go; None for nowhere."""
    if output is not None:
        return output
    return None if quick else results.default_path(kind, facts)


def _warn(others: dict[str, list[float]]) -> None:
    """Say which rows were measured while other programs ran."""
    for key, shares in others.items():
        if quiet.warning(shares):
            Console(highlight=False).print(f"[bold]{key}[/bold]: {quiet.warning(shares)}")


def _write(path: Path | None, content: dict[str, Any]) -> None:
    if path is not None:
        results.write(path, content)


def _say_where(path: Path | None) -> None:
    say("nothing was written (--quick); --output says where to" if path is None else f"in {path}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never returns."""
    app(args=arguments, prog_name="python -m bench")
