"""All trainers on all workloads, in turn; the work behind ``python -m bench cpu``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench import accuracy, calibration, measure, quiet, ratios
from bench.calibration import Options
from bench.results import FAILED, CpuRun, RowRecord, TrainerRecord
from bench.worker import Worker, WorkerError
from bench.workloads import Workload

# Rows whose epoch takes longer than this many seconds are measured a few times only.
LONG_EPOCH = 5.0
FEW_REPEATS = 3


class Plan(NamedTuple):
    """What to measure: workloads, trainers by name, repeats, and the time to an accuracy."""

    workloads: list[Workload]
    trainers: list[str]
    repeats: int
    with_accuracy: bool


def measure_all(
    run: CpuRun,
    plan: Plan,
    options: Options,
    say: Callable[[str], None],
    after_row: Callable[[CpuRun], None] = lambda _run: None,
) -> None:
    """Measure what the plan says and put it into ``run``, row by row.

    Parameters
    ----------
    run : CpuRun
        Filled in; ``complete`` at the end.
    plan : Plan
    options : Options
    say : callable
        Told what goes on.
    after_row : callable
        Called after every row, so that nothing is lost to an interrupt.
    """
    for workload in plan.workloads:
        row = measure_row(workload, plan.trainers, plan.repeats, options, say)
        run.rows[workload.key] = row
        after_row(run)
        if plan.with_accuracy and accuracy.belongs_to(workload):
            run.time_to_accuracy = accuracy.time_to_accuracy(row, options, say)
            after_row(run)
    run.complete = True
    after_row(run)


def measure_row(
    workload: Workload,
    names: list[str],
    repeats: int,
    options: Options,
    say: Callable[[str], None],
) -> RowRecord:
    """Return every trainer's speed on one workload, and the ratios.

    A trainer that fails is recorded with its error; the others go on.
    """
    row = RowRecord(workload)
    workers: dict[str, Worker] = {}

    def failed(name: str, error: Exception) -> None:
        row.trainers[name].state, row.trainers[name].reason = FAILED, str(error)
        say(f"{workload.key}: {error}")

    try:
        for name in names:
            say(f"{workload.key}: calibrating {name}")
            worker, row.trainers[name] = calibration.calibrate(name, workload, options)
            if worker is None:
                say(f"{workload.key}: {name} {row.trainers[name].reason}")
            else:
                workers[name] = worker
        row.repeats = min(repeats, FEW_REPEATS) if _is_long(row) else repeats
        say(f"{workload.key}: {row.repeats} repeats of {len(workers)} trainers in turn")
        seconds = measure.alternate(
            workers,
            row.repeats,
            lambda name: workers[name].train(row.trainers[name].epochs),
            failures=(WorkerError,),
            on_failure=failed,
            rest=lambda: row.others.extend(quiet.pause(measure.PAUSE)),
        )
        for name, figures in seconds.items():
            _sum_up(row.trainers[name], figures)
            if row.trainers[name].state != FAILED:
                try:
                    row.trainers[name].accuracy = workers[name].accuracy()
                    row.trainers[name].loss = workers[name].loss
                except WorkerError as error:
                    failed(name, error)
    finally:
        for worker in workers.values():
            worker.stop()
    row.ratios = ratios.ratios(row.trainers, workload.floors)
    return row


def _is_long(row: RowRecord) -> bool:
    """Whether an epoch of some trainer takes long."""
    epochs = [
        record.rows_per_epoch / max(tried.get("samples_per_second", 0) for tried in record.tried)
        for record in row.trainers.values()
        if record.rows_per_epoch
    ]
    return bool(epochs) and max(epochs) > LONG_EPOCH


def _sum_up(record: TrainerRecord, seconds: list[float]) -> None:
    record.seconds = seconds
    record.samples_per_second = [record.rows_per_epoch * record.epochs / s for s in seconds]
    if record.state != FAILED:
        record.speed = measure.summary(record.samples_per_second)
