"""Which stages there are, in the order of their worth; the work behind ``python -m bench gpu``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.gpu import environment, kernels, limits, sanitizer, timing, training
from bench.gpu.places import Place
from bench.gpu.stages import GpuRun, Stage, run_all

NAMES = (
    *("environment", "kernels", "training", "replay", "repetition", "programs"),
    *("sanitizer", "limits", "timings", "tf32", "accuracy", "compiled"),
)
BUDGET = 480.0

# About how long a stage takes. Not yet measured on a GPU, and therefore generous.
SECONDS = {
    "environment": 5,
    "kernels": 40,
    "training": 30,
    "replay": 15,
    "repetition": 10,
    "programs": 40,
    "sanitizer": 120,  # at most: four tools that are ended after a while
    "limits": 10,
    "timings": 30,
    "tf32": 30,
    "accuracy": 30,
    "compiled": 40,
}


class Choice(NamedTuple):
    """What to do: stages and rows by name, and how thoroughly."""

    stages: Sequence[str]
    rows: Sequence[str]
    quick: bool
    folder: Path | None
    budget: float = BUDGET


def needs_mnist(choice: Choice, place: Place) -> bool:
    """Return whether MNIST has to be there."""
    if place.is_host:
        return False
    timed = {"timings", "tf32", "compiled"} & set(choice.stages)
    rows = any(timing.ROWS[key].data == "mnist" for key in choice.rows)
    return bool(timed and rows) or "accuracy" in choice.stages


def stages(choice: Choice, place: Place, pool: timing.Pool) -> list[Stage]:
    """Return the chosen stages; each row is timed in a stage of its own."""
    quick = choice.quick or place.is_host
    seconds, repeats = (
        (timing.QUICK_SECONDS, timing.QUICK_REPEATS) if quick else (timing.SECONDS, timing.REPEATS)
    )
    effort = timing.Effort(seconds, repeats, choice.folder)

    def row(group: str, key: str, names: Sequence[str], precision: str | None = None) -> Stage:
        workload = timing.ON_HOST if place.is_host else timing.ROWS[key]

        def work() -> dict[str, Any]:
            chosen = timing.of_size(names, workload)
            return timing.measure_row(pool, workload, chosen, effort, precision)

        return Stage(f"{group} {workload.key}", SECONDS[group], work)

    keys = [timing.ON_HOST.key] if place.is_host else list(choice.rows)
    late = (timing.OURS, *timing.LATE)
    tf32_keys = keys if place.is_host else [key for key in timing.TF32_ROWS if key in keys]
    found: dict[str, list[Stage]] = {
        "timings": [row("timings", key, timing.MAIN) for key in keys],
        "tf32": [row("tf32", key, timing.WITH_TF32, "tf32") for key in tf32_keys],
        "compiled": [row("compiled", key, late) for key in keys],
    }
    single: dict[str, Callable[[], dict[str, Any]]] = {
        "environment": lambda: environment.examine(place),
        "kernels": lambda: kernels.check(place, quick=quick),
        "training": lambda: training.check_parity(quick=quick),
        "replay": lambda: training.check_replay(quick=quick),
        "repetition": lambda: training.check_repetition(quick=quick),
        "programs": lambda: training.check_programs(quick=quick),
        "sanitizer": lambda: _sanitized(place),
        "limits": lambda: limits.examine(place),
        "accuracy": lambda: _accuracy(place, pool, effort),
    }
    parity = ("kernels", "training", "replay", "repetition", "programs")
    for name, work in single.items():
        found[name] = [Stage(name, SECONDS[name], work, name in parity)]
    # Figures are worth nothing without what they were measured on.
    chosen = {"environment", *choice.stages}
    return [stage for name in NAMES if name in chosen for stage in found[name]]


def _sanitized(place: Place) -> dict[str, Any]:
    if place.is_host:
        return {"summary": "compute-sanitizer is for a GPU"}
    return sanitizer.check()


def _accuracy(place: Place, pool: timing.Pool, effort: timing.Effort) -> dict[str, Any]:
    if place.is_host:
        return {"summary": "left to a GPU"}
    return timing.time_to_accuracy(pool, timing.MAIN, effort)


def measure_all(
    run: GpuRun,
    choice: Choice,
    place: Place,
    say: Callable[[str], None],
    after_stage: Callable[[GpuRun], None],
) -> None:
    """Run the chosen stages within the budget; processes of trainers end with them."""
    with timing.Pool(place) as pool:
        run_all(run, stages(choice, place, pool), choice.budget, say, after_stage)
