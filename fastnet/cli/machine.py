"""``fastnet warmup``, ``bench`` and ``doctor``: what this machine has, and how fast it is."""

from __future__ import annotations

from typing import Annotated, Any

from rich.console import Console

from fastnet.cli import options, screen
from fastnet.cli.app import app, guarded


@app.command(epilog="Example: fastnet warmup --dtype both")
@guarded
def warmup(
    dtype: Annotated[str, options.Option(help="float32, float64 or both.")] = "float32",
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Compile ahead what the first training with numba would wait for; once per machine."""
    from fastnet import warming
    from fastnet.execution import compiled

    seconds = {}
    progress = Console(stderr=True, quiet=quiet)
    for name in ("float32", "float64") if dtype == "both" else (dtype,):
        with progress.status(f"compiling for {name}, or finding what is compiled"):
            seconds[name] = warming.warmup(name)
    if json:
        screen.print_json({"seconds": seconds, "compiled_code": str(compiled.folder())})
    elif not quiet:
        for name, took in seconds.items():
            screen.say(f"{name}: ready after {took:.1f} s")
        screen.say(f"compiled code is kept in {compiled.folder()}")


@app.command(
    epilog="Example: fastnet bench mnist --hidden 128 --batch-size 128\n\n"
    "Beside scikit-learn, PyTorch and JAX: python -m bench cpu, in a checkout"
)
@guarded
def bench(
    data: options.TrainingData = "digits",
    label: options.LabelOption = None,
    one_hot: options.OneHotOption = "",
    header: options.HeaderOption = None,
    data_dir: options.DataDirOption = None,
    hidden: options.HiddenOption = "128",
    preparation: options.PreparationOption = None,
    task: options.TaskOption = "auto",
    batch_size: Annotated[str, options.Option(help="Rows per step, or 'all'.")] = "128",
    backends: Annotated[
        str,
        options.Option(help="Which, such as numpy,numba.", show_default="all that can run here"),
    ] = "",
    seconds: Annotated[
        float, options.Option(min=0.01, help="How long one measurement takes, at least.")
    ] = 1.0,
    repeats: Annotated[int, options.Option(min=1, help="Measurements of each, in turn.")] = 5,
    dtype: options.DtypeOption = "float32",
    threads: options.ThreadsOption = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Train the same network on every backend in turn, and say how fast each is."""
    from fastnet import speed
    from fastnet.data import loading

    rows = loading.load_data(
        data,
        label=options.column(label),
        one_hot=options.columns(one_hot),
        header=header,
        data_dir=data_dir,
    )
    found = speed.compare(
        rows,
        hidden=options.sizes(hidden),
        preparation=preparation,
        task=task,
        batch_size=options.batch_size(batch_size),
        backends=[name.strip() for name in backends.split(",") if name.strip()],
        seconds=seconds,
        repeats=repeats,
        dtype=dtype,
        threads=threads,
        say=None if quiet else screen.note,
    )
    if json:
        screen.print_json(found.to_dict())
        return
    headings = ("backend", "samples/s", "slowest", "fastest", "times the slowest backend")
    lines = [
        (r.backend, f"{r.median:,.0f}", f"{r.lowest:,.0f}", f"{r.highest:,.0f}", f"{r.ratio:.1f}")
        for r in found.rows
    ]
    screen.show_table(found.title, headings, lines, right=headings[1:])


@app.command(epilog="Example: fastnet doctor --json")
@guarded
def doctor(json: options.JsonOption = False, quiet: options.QuietOption = False) -> None:
    """Show versions, processor, backends and what they lack, the GPU, the BLAS, and the cache."""
    from fastnet import doctor as facts

    found = facts.examine()
    if json:
        screen.print_json(found)
        return
    if quiet:
        print("\n".join(name for name, one in found["backends"].items() if one["available"]))
        return
    # What is missing is shown among the backends already, with what to do about it.
    found["cuda"] = {r["name"]: r["detail"] if r["passed"] else r["cause"] for r in found["cuda"]}
    screen.show_table("fastnet doctor", ("", ""), _flat(found))


def _flat(facts: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested facts as lines, empty ones left out."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{prefix}{name} ")
        elif value != "" and name != "name":
            lines.append((prefix + name, f"{value:,}" if type(value) is int else str(value)))
    return lines
