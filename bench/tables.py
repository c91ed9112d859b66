"""Results of ``python -m bench cpu`` as tables."""

from __future__ import annotations

from rich.table import Table

from bench.measure import Summary
from bench.ratios import BEST, FAMILIES
from bench.results import MEASURED, CpuRun, Ratio, RowRecord, TimeToAccuracy, TrainerRecord
from bench.trainers import OURS


def speeds(run: CpuRun) -> Table:
    """Return thousand samples per second: the median, and the range of its quartiles."""
    names = list(dict.fromkeys(name for row in run.rows.values() for name in row.trainers))
    table = Table(
        title="Thousand samples per second (median, range between the quartiles in % of it)",
        title_justify="left",
    )
    table.add_column("row")
    for name in names:
        table.add_column(name.replace("-", "\n"), justify="right")
    for key, row in run.rows.items():
        table.add_row(key, *(_speed(row.trainers.get(name)) for name in names))
    return table


def _speed(record: TrainerRecord | None) -> str:
    if record is None:
        return ""
    if record.state != MEASURED or record.speed is None:
        return record.state
    speed = record.speed
    return f"{three_digits(speed.median / 1000)}\n[dim]{speed.spread_percent:.0f} %[/dim]"


def three_digits(value: float) -> str:
    """Return a number with three digits, or with all digits before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def comparison(run: CpuRun) -> Table:
    """Return fastnet's speed in multiples of others', row by row."""
    table = Table(
        title=f"{OURS} : the others (median of the ratios in each repeat, and their range)",
        title_justify="left",
    )
    for heading in ("row", "against"):
        table.add_column(heading)
    for heading in ("ratio", "range", "floor", ""):
        table.add_column(heading, justify="right")
    for key, row in run.rows.items():
        for index, group in enumerate(_groups(row)):
            ratio = row.ratios[group]
            who = group if ratio.peer == group else f"{group}: {ratio.peer}"
            table.add_row(key if index == 0 else "", who, *_figures(ratio))
        table.add_section()
    return table


def _groups(row: RowRecord) -> list[str]:
    """Best and families first; then single trainers, where a family has several."""
    alone = {members[0] for members in FAMILIES.values() if len(members) == 1}
    groups = [name for name in (BEST, *FAMILIES) if name in row.ratios]
    return [*groups, *(name for name in row.ratios if name not in {*groups, *alone})]


def _figures(ratio: Ratio) -> tuple[str, str, str, str]:
    floor = "" if ratio.floor is None else f"{ratio.floor:g}"
    verdict = {None: "", True: "met", False: "[bold]below[/bold]"}[ratio.is_met]
    return f"{ratio.ratio.median:.2f}", span(ratio.ratio), floor, verdict


def span(figures: Summary) -> str:
    """Return the lowest and the highest of some ratios."""
    return f"{figures.low:.2f} to {figures.high:.2f}"


def settings(run: CpuRun) -> Table:
    """Return what calibration chose, and how long the first epoch took."""
    table = Table(title="Settings that calibration chose", title_justify="left")
    for heading in ("row", "trainer", "settings"):
        table.add_column(heading)
    for heading in ("first epoch (s)", "epochs", "loss", "test score"):
        table.add_column(heading, justify="right")
    for key, row in run.rows.items():
        for index, (name, record) in enumerate(row.trainers.items()):
            chosen = ", ".join(f"{k} {v}" for k, v in record.settings.items())
            table.add_row(
                key if index == 0 else "",
                name,
                record.reason or chosen,
                f"{record.first_call_seconds:.2f}" if record.epochs else "",
                str(record.epochs or ""),
                "" if record.loss is None else f"{record.loss:.3g}",
                "" if record.accuracy is None else f"{record.accuracy:.4f}",
            )
        table.add_section()
    return table


def time_to_accuracy(result: TimeToAccuracy) -> Table:
    """Return the seconds of training until the accuracy was reached."""
    table = Table(
        title=f"Seconds of training, evaluation not counted, until {result.accuracy:.1%} of the "
        f"test rows are right ({result.workload.title}; {len(result.seeds)} seeds)",
        title_justify="left",
    )
    table.add_column("trainer")
    for heading in ("median", "each seed", "epochs"):
        table.add_column(heading, justify="right")
    for name, record in result.trainers.items():
        median = record.median_seconds
        table.add_row(
            name,
            f"{median:.2f}" if median is not None else record.reason or "not reached",
            ", ".join("-" if s is None else f"{s:.2f}" for s in record.seconds),
            ", ".join("-" if n is None else str(n) for n in record.epochs),
        )
    return table
