"""The commands of ``python -m bench``.

Exit codes: 0 done, 1 cannot be measured here, 2 misused, 130 interrupted. Tables go to stdout, what
goes on to stderr.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import checkout, machine, quiet, results, selection
from bench.checkout import CannotMeasureError
from bench.trainers import TRAINERS
from bench.workloads import ALL, Workload
from fastnet.execution import registry
from fastnet.exits import FAILED, INTERRUPTED, MISUSED, with_exit_codes

# Seconds of a measurement and repeats in a quick look, whose figures are not worth keeping.
QUICK_SECONDS, QUICK_REPEATS = 0.2, 2

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
        case CannotMeasureError() | ImportError() | OSError():
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
        help=f"The folder with the four files of MNIST; else {checkout.DATA_VARIABLE}, else "
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

    chosen = _workloads(rows, workloads.SHAPES if shapes else workloads.TABLE)
    names = selection.chosen("--trainers", trainers, TRAINERS) or list(TRAINERS)
    data_dir = _folder(chosen, data_dir)
    seconds, repeats = _effort(seconds, repeats, quick)
    with_accuracy = not (no_accuracy or quick)
    facts = machine.facts()
    run = CpuRun(
        facts,
        {
            "rows": [workload.key for workload in chosen],
            "trainers": names,
            "seconds": seconds,
            "repeats": repeats,
            "pause_seconds": measure.PAUSE,
            "quick": quick,
            "accuracy": accuracy.GOAL if with_accuracy else None,
        },
    )
    kind = "cpu-shapes" if shapes else "cpu"
    path = _path(kind, facts, output, quick)
    options = Options(seconds, facts["cores"], not quick, data_dir)
    work.measure_all(
        run,
        work.Plan(chosen, names, repeats, with_accuracy),
        options,
        say,
        lambda so_far: _write(path, so_far.to_dict()),
    )
    console = Console()
    for workload in chosen:
        console.print(f"{workload.key}: {workload.title}", highlight=False)
    console.print(tables.settings(run), tables.speeds(run))
    if any(row.ratios for row in run.rows.values()):
        console.print(tables.comparison(run))
    if run.time_to_accuracy is not None:
        console.print(tables.time_to_accuracy(run.time_to_accuracy))
    _warn({key: row.others for key, row in run.rows.items()})
    _say_where(path)


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
    data_dir = _folder(chosen, data_dir)
    seconds, repeats = _effort(seconds, repeats, quick)
    facts = machine.facts()
    path = _path("limits", facts, output, quick)
    peaks = work.measure_peaks(seconds, repeats, facts, say)
    measured = [work.measure_row(one, seconds, repeats, data_dir, say) for one in chosen]
    Console().print(work.table_of_peaks(peaks), work.table_of_rows(measured, peaks))
    _warn({row.workload.key: row.others for row in measured})
    _write(path, work.to_dict(facts, peaks, measured, {"seconds": seconds, "repeats": repeats}))
    _say_where(path)


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
    data_dir = _folder(chosen, data_dir)
    seconds, repeats = _effort(seconds, repeats, quick)
    if registry.usable_cores() < work.THREADS:
        raise CannotMeasureError(
            f"there is one core to run on, and the plans are compared on {work.THREADS}"
        )
    facts = machine.facts()
    path = _path("plan", facts, output, quick)
    measured = [work.measure_row(one, seconds, repeats, data_dir, say) for one in chosen]
    Console().print(work.table_of_tiles(measured), work.table_of_times(measured))
    _warn({row.workload.key: row.others for row in measured})
    _write(path, work.to_dict(facts, measured, {"seconds": seconds, "repeats": repeats}))
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

    keys = selection.chosen("--rows", rows, timing.ROWS) or list(timing.BY_VALUE)
    names = selection.chosen("--stages", stages, work.NAMES) or list(work.NAMES)
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
    return [ALL[key] for key in selection.chosen("--rows", rows, ALL)] or default


def _effort(seconds: float, repeats: int, quick: bool) -> tuple[float, int]:
    return (QUICK_SECONDS, QUICK_REPEATS) if quick else (seconds, repeats)


def _folder(chosen: list[Workload], data_dir: Path | None) -> Path | None:
    """Return where MNIST is, if it is needed; nothing is measured before it is known."""
    needed = any(workload.data == "mnist" for workload in chosen)
    return checkout.mnist_folder(data_dir) if needed else None


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
