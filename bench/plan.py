"""How many tiles the plan cuts a step into, and what that costs on two threads."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from rich.table import Table as RichTable

from bench import measure, quiet
from bench.measure import Summary
from bench.stepping import Training
from bench.tables import three_digits
from bench.workloads import Workload
from fastnet.execution import plan
from fastnet.execution.plan import Plan
from fastnet.execution.tables import Table

THREADS = 2
MOST_COST = 1.1  # of the plan, in multiples of the fastest one of two tiles
FEWEST_TILES = 8

PLAN = "plan"
TRIALS = 3  # of each two-tile plan, the best of which decides


@dataclass
class RowPlan:
    """The plan of one workload, and its time beside the fastest plan of two tiles.

    ``tiles`` by heavy phase; ``fastest`` names the two-tile plan that was compared, out of those
    in ``tried`` (seconds per step); ``seconds`` are the measurements in turn, ``ratio`` that of
    the plan to the other one.
    """

    workload: Workload
    tiles: dict[str, int]
    tried: dict[str, float]
    fastest: str
    seconds: dict[str, list[float]]
    ratio: Summary
    others: list[float] = field(default_factory=list)

    @property
    def is_met(self) -> bool:
        """Whether the plan costs no more than it may, and every phase has tiles enough."""
        return self.ratio.median <= MOST_COST and min(self.tiles.values()) >= FEWEST_TILES


def tiles_by_phase(table: Table, batch: int) -> dict[str, int]:
    """Return how many tiles every heavy phase of a step has."""
    made = plan.build(table, batch)
    if made.slots:
        return {"slots": made.slots}
    rows = min(batch, plan.capacity(table, batch))
    return {"rows": -(-rows // made.rows_per_tile), "parameters": len(made.tiles)}


@contextlib.contextmanager
def planned(**replaced: Any) -> Iterator[None]:
    """Put other constants or functions in the place of the plan's for the length of a block."""
    with mock.patch.multiple(plan, **replaced) if replaced else contextlib.nullcontext():
        yield


def two_tile_plans(batch: int) -> dict[str, dict[str, Any]]:
    """Return, by name, what has to be replaced for plans of two tiles per phase.

    ``constants``: the plan's own rules with TILES = 2. ``halves``: half of the rows, and half of
    every W. ``slots of N``: each thread streams blocks of N rows to a gradient of its own.
    """
    plans: dict[str, dict[str, Any]] = {
        "constants": {"TILES": 2},
        "halves": {
            "build": _halves,
            "capacity": lambda _table, batch: min(batch, plan.MOST_ROWS),
        },
    }
    block = plan.STREAM_ROWS
    sizes = {size for size in (block // 2, block, 2 * block, 4 * block) if 2 * size <= batch}
    for size in sorted({*sizes, min(-(-batch // 2), 8 * block)}):
        plans[f"slots of {size}"] = {
            "build": _two_slots,
            "capacity": lambda _table, _batch, size=size: size,
        }
    return plans


# The plan's own function, which stays what it is while another one stands in its place.
_own_build = plan.build


def _halves(table: Table, batch: int) -> Plan:
    """Return two tiles of rows, and two for each W."""
    tiles = []
    for half in range(2):
        for index in range(1, len(table.records) - 1):
            layer = table.records[index]
            inputs, outputs = int(layer["inputs"]), int(layer["outputs"])
            weights, biases = int(layer["weights"]), int(layer["biases"])
            first, last = inputs * half // 2, inputs * (half + 1) // 2
            end = biases + outputs if last == inputs else weights + last * outputs
            tiles.append((index, first, last, weights + first * outputs, end))
    rows = min(batch, plan.MOST_ROWS)
    own = _own_build(table, batch)
    return own._replace(rows_per_tile=-(-rows // 2), tiles=np.array(tiles, np.int64), slots=0)


def _two_slots(table: Table, batch: int) -> Plan:
    """Return two slots, and two ranges to sum them in."""
    borders = np.linspace(0, table.parameters, 3).astype(np.int64)
    ranges = np.stack([borders[:-1], borders[1:]], axis=1)
    return _own_build(table, batch)._replace(slots=2, ranges=ranges)


def measure_row(
    workload: Workload,
    seconds: float,
    repeats: int,
    folder: Path | None,
    say: Callable[[str], None],
) -> RowPlan:
    """Return the tiles of a workload's plan, and its time beside the fastest two-tile plan.

    Parameters
    ----------
    workload : Workload
    seconds : float
        How long one measurement should take.
    repeats : int
    folder : Path or None
        Where MNIST is.
    say : callable
        Told what goes on.
    """
    say(f"{workload.key}: compiling and warming up")
    training = Training(workload, seconds, folder, threads=THREADS)
    training.warm_up()
    plans = two_tile_plans(training.batch)

    def step(name: str) -> float:
        with planned(**plans.get(name, {})):
            return training.seconds_per_step()

    say(f"{workload.key}: looking for the fastest of {len(plans)} plans of two tiles")
    tried = {name: min(s) for name, s in measure.alternate(plans, TRIALS, step).items()}
    fastest = min(tried, key=lambda name: tried[name])
    say(f"{workload.key}: {repeats} repeats of the plan and of {fastest!r} in turn")
    others: list[float] = []
    taken = measure.alternate(
        [PLAN, fastest],
        repeats,
        step,
        rest=lambda: others.extend(quiet.pause(measure.PAUSE)),
    )
    return RowPlan(
        workload,
        tiles_by_phase(training.table, training.batch),
        tried,
        fastest,
        taken,
        measure.paired_ratio(taken[PLAN], taken[fastest]),
        others,
    )


def table_of_tiles(rows: list[RowPlan]) -> RichTable:
    """Return how many tiles every heavy phase has."""
    table = RichTable(title="Tiles of every heavy phase", title_justify="left")
    for heading in ("row", "network", "tiles", f"at least {FEWEST_TILES}"):
        table.add_column(heading)
    for row in rows:
        enough = min(row.tiles.values()) >= FEWEST_TILES
        table.add_row(
            row.workload.key,
            row.workload.title,
            ", ".join(f"{phase} {count}" for phase, count in row.tiles.items()),
            "met" if enough else "[bold]below[/bold]",
        )
    return table


def table_of_times(rows: list[RowPlan]) -> RichTable:
    """Return the plan's time per step beside that of the fastest two-tile plan."""
    table = RichTable(
        title=f"Microseconds per step on {THREADS} threads (medians in turn)", title_justify="left"
    )
    table.add_column("row")
    for heading in ("plan", "two tiles", "ratio", "range"):
        table.add_column(heading, justify="right")
    table.add_column("which")
    table.add_column(f"at most {MOST_COST:g}")
    for row in rows:
        times = {name: measure.summary(figures) for name, figures in row.seconds.items()}
        table.add_row(
            row.workload.key,
            three_digits(1e6 * times[PLAN].median),
            three_digits(1e6 * times[row.fastest].median),
            f"{row.ratio.median:.3f}",
            f"{row.ratio.low:.2f}-{row.ratio.high:.2f}",
            row.fastest,
            "met" if row.ratio.median <= MOST_COST else "[bold]above[/bold]",
        )
    return table


def to_dict(facts: dict[str, Any], rows: list[RowPlan], settings: dict[str, Any]) -> dict[str, Any]:
    """Return all of it as plain data."""
    return {
        "machine": facts,
        "settings": {**settings, "threads": THREADS},
        "rows": {row.workload.key: dataclasses.asdict(row) for row in rows},
    }
