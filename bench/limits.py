"""What this machine can do at most, and how near to it training comes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table as RichTable

from bench import loops, measure, quiet
from bench.loops import FORWARD, PIECE_SIZE
from bench.machine import last_level_cache_bytes, memory_bytes
from bench.measure import Summary
from bench.pieces import Bench, Pieces, as_planned, update, whole
from bench.stepping import Training
from bench.tables import three_digits
from bench.workloads import Workload
from fastnet.execution import plan, registry

SQUARE = 2048  # rows and columns of the products that show the peak
# The array that is read must be so many times larger than the caches, within a part of the memory.
CACHES, SHARE_OF_MEMORY = 4, 0.2
LEAST_BYTES = 256 << 20

TRAINING, PLANNED, WHOLE, UPDATE, READ = "training", "planned", "whole", "update", "read"

# What training may cost at most, in multiples of its limit.
SUM, LARGER = "sum", "larger"
BOUNDS = {"D": (SUM, 1.12), "E": (LARGER, 1.8), "F": (SUM, 1.12)}


@dataclass
class Peaks:
    """The machine's own limits, all cores busy, one thread per call."""

    threads: int
    gflops: Summary
    read_gb_per_second: Summary
    copy_gb_per_second: Summary
    array_bytes: int


@dataclass
class RowLimits:
    """Seconds per step of training and of its pieces, measured in turn.

    ``seconds`` by piece: every measurement; ``products`` says which of the two ways of cutting the
    products was the faster one and is used in the limit.
    """

    workload: Workload
    operations: int
    bytes_read: int
    seconds: dict[str, list[float]]
    times: dict[str, Summary]
    products: str
    limit: str
    ratio: Summary
    bound: float | None
    others: list[float] = field(default_factory=list)

    @property
    def is_met(self) -> bool | None:
        """Whether training stays within its bound; None where there is none."""
        return None if self.bound is None else self.ratio.median <= self.bound


def measure_peaks(
    seconds: float, repeats: int, facts: dict[str, Any], say: Callable[[str], None]
) -> Peaks:
    """Return the speed of large products, and of reading and copying a large array.

    Parameters
    ----------
    seconds : float
        How long one measurement should take.
    repeats : int
    facts : dict
        Of `machine.facts`: the number of cores.
    say : callable
        Told what goes on.
    """
    threads = int(facts["cores"])
    say("peaks: products, reading, copying")
    square = _Square(threads)
    size = array_bytes()
    words = np.ones(size // 8, np.int64)
    out, sums = np.zeros_like(words), np.zeros(threads, np.int64)
    runs: dict[str, Callable[[int], float]] = {
        "products": square.seconds,
        "read": lambda n: loops.seconds_on_threads(threads, loops.read_words, n, words, sums),
        "copy": lambda n: loops.seconds_on_threads(threads, loops.copy_words, n, out, words),
    }
    rounds = {name: loops.rounds_for(seconds, run) for name, run in runs.items()}
    taken = measure.alternate(runs, repeats, lambda name: runs[name](rounds[name]) / rounds[name])
    return Peaks(
        threads,
        measure.summary([threads * 2 * SQUARE**3 / s / 1e9 for s in taken["products"]]),
        measure.summary([words.nbytes / s / 1e9 for s in taken["read"]]),
        measure.summary([2 * words.nbytes / s / 1e9 for s in taken["copy"]]),
        words.nbytes,
    )


def array_bytes() -> int:
    """Return the size of an array that no cache holds, in a part of the memory."""
    wanted = max(LEAST_BYTES, CACHES * (last_level_cache_bytes() or 0))
    memory = memory_bytes()
    return wanted if memory is None else min(wanted, int(SHARE_OF_MEMORY * memory))


class _Square(Bench):
    """One large product per thread, each on matrices of its own."""

    def __init__(self, threads: int) -> None:
        size = SQUARE * SQUARE
        pieces = np.zeros((threads, PIECE_SIZE), np.int64)
        for thread, piece in enumerate(pieces):
            piece[loops.KIND] = FORWARD
            piece[loops.OUT], piece[loops.A] = 2 * thread * size, (2 * thread + 1) * size
            piece[loops.B] = thread * size
            piece[loops.M : loops.K + 1] = SQUARE
        random = np.random.default_rng(0)
        empty = np.zeros(0, np.float32)
        values = random.standard_normal(2 * threads * size, np.float32)
        theta = random.standard_normal(threads * size, np.float32)
        self.threads, self.pieces = threads, pieces
        tiles = np.arange(threads)
        self.tiles = np.stack([tiles, tiles + 1], axis=1)
        self.phases, self.shares = np.array([[0, threads]]), np.arange(threads + 1)[None]
        self.scalars, self.clock = np.zeros(1), np.zeros(1, np.int64)
        self.buffers = (values, empty, theta, empty, empty.reshape(2, 0))


def measure_row(
    workload: Workload,
    seconds: float,
    repeats: int,
    folder: Path | None,
    say: Callable[[str], None],
) -> RowLimits:
    """Return training beside its own products, its update and one read of its bytes.

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
    training = Training(workload, seconds, folder)
    training.warm_up()
    table, batch = training.table, training.batch
    planned = as_planned(table, batch, registry.usable_cores())
    threads = planned.threads
    words = np.ones(batch * training.data.X_train[0].nbytes // 8, np.int64)
    sums = np.zeros(threads, np.int64)
    runs: dict[str, Callable[[int], float]] = {
        PLANNED: Bench(table, planned).seconds,
        WHOLE: Bench(table, whole(table, batch, threads)).seconds,
        UPDATE: Bench(table, update(table, workload.optimizer, plan.TILES, threads)).seconds,
        READ: lambda n: loops.seconds_on_threads(threads, loops.read_words, n, words, sums),
    }
    rounds = {name: loops.rounds_for(seconds, run) for name, run in runs.items()}

    def once(name: str) -> float:
        if name == TRAINING:
            return training.seconds_per_step()
        return runs[name](rounds[name]) / rounds[name]

    say(f"{workload.key}: {repeats} repeats of training and its pieces in turn")
    others: list[float] = []
    taken = measure.alternate(
        [TRAINING, *runs], repeats, once, rest=lambda: others.extend(quiet.pause(measure.PAUSE))
    )
    return summed_up(workload, planned, words.nbytes, taken, others)


def summed_up(
    workload: Workload,
    planned: Pieces,
    bytes_read: int,
    taken: dict[str, list[float]],
    others: list[float],
) -> RowLimits:
    """Return what one row's measurements say: the faster products, the limit, the ratio to it."""
    times = {name: measure.summary(figures) for name, figures in taken.items()}
    products = min((PLANNED, WHOLE), key=lambda name: times[name].median)
    kind, bound = BOUNDS.get(workload.key, (SUM, None))
    if kind == SUM:
        limits = [p + u for p, u in zip(taken[products], taken[UPDATE], strict=True)]
    else:
        limits = [max(p, r) for p, r in zip(taken[products], taken[READ], strict=True)]
    return RowLimits(
        workload,
        planned.operations,
        bytes_read,
        taken,
        times,
        products,
        kind,
        measure.paired_ratio(taken[TRAINING], limits),
        bound,
        others,
    )


def table_of_peaks(peaks: Peaks) -> RichTable:
    """Return the machine's limits as a table."""
    table = RichTable(
        title=f"This machine, {peaks.threads} threads (median of repeats, best)",
        title_justify="left",
    )
    table.add_column("what")
    table.add_column("median", justify="right")
    table.add_column("best", justify="right")
    size = f"{peaks.array_bytes / (1 << 20):,.0f} MB"
    for what, figures in (
        (f"products {SQUARE} x {SQUARE} x {SQUARE} (GFLOP/s)", peaks.gflops),
        (f"reading {size} (GB/s)", peaks.read_gb_per_second),
        (f"copying {size}, read + written (GB/s)", peaks.copy_gb_per_second),
    ):
        table.add_row(what, f"{figures.median:,.1f}", f"{figures.high:,.1f}")
    return table


def table_of_rows(rows: list[RowLimits], peaks: Peaks) -> RichTable:
    """Return every row beside its limit: milliseconds per step, median (best)."""
    table = RichTable(
        title="Microseconds per step, median (best)",
        title_justify="left",
        caption="Products: in the plan's tiles, or whole, whichever is faster. Ratio: training to "
        "the sum of products and update, or to the larger of products and read.",
        caption_justify="left",
    )
    table.add_column("row")
    for heading in ("training", "products", "of\npeak", "update", "read", "ratio", "limit"):
        table.add_column(heading, justify="right")
    for row in rows:
        products = row.times[row.products]
        share = row.operations / products.median / 1e9 / peaks.gflops.median
        verdict = {None: "", True: "met", False: "[bold]above[/bold]"}[row.is_met]
        table.add_row(
            row.workload.key,
            _microseconds(row.times[TRAINING]),
            f"{_microseconds(products)}\n{row.products}",
            f"{share:.0%}",
            _microseconds(row.times[UPDATE]),
            _microseconds(row.times[READ]),
            f"{row.ratio.median:.3f}\n{row.ratio.low:.2f}-{row.ratio.high:.2f}",
            row.limit if row.bound is None else f"{row.limit} {row.bound:g}\n{verdict}",
        )
    return table


def _microseconds(figures: Summary) -> str:
    return f"{three_digits(1e6 * figures.median)}\n({three_digits(1e6 * figures.low)})"


def to_dict(
    facts: dict[str, Any], peaks: Peaks, rows: list[RowLimits], settings: dict[str, Any]
) -> dict[str, Any]:
    """Return all of it as plain data."""
    return {
        "machine": facts,
        "settings": settings,
        "peaks": dataclasses.asdict(peaks),
        "rows": {row.workload.key: dataclasses.asdict(row) for row in rows},
    }
