"""Seconds of training until a test accuracy is reached."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from bench import measure, trainers
from bench.calibration import Options
from bench.results import FAILED, MEASURED, AccuracyRecord, RowRecord, TimeToAccuracy
from bench.worker import Worker, WorkerError
from bench.workloads import ALL, Workload

WORKLOAD = ALL["C"]
GOAL = 0.975
SEEDS = (0, 1, 2)
MOST_EPOCHS = 40


def time_to_accuracy(
    row: RowRecord,
    options: Options,
    say: Callable[[str], None],
    *,
    goal: float = GOAL,
    seeds: tuple[int, ...] = SEEDS,
    most_epochs: int = MOST_EPOCHS,
) -> TimeToAccuracy:
    """Train every trainer of a row until its test accuracy reaches the goal, once per seed.

    A trainer runs with the settings that calibration chose for the row; one epoch beforehand, not
    counted, compiles. Seconds are those of training: the evaluation after each epoch is not in
    them.

    Parameters
    ----------
    row : RowRecord
        The trainers that were measured on a workload.
    options : Options
    say : callable
        Told what goes on.
    goal : float
    seeds : tuple of int
        Of first weights and of the order of rows.
    most_epochs : int
        After how many a seed is given up.

    Returns
    -------
    TimeToAccuracy
    """
    result = TimeToAccuracy(row.workload, goal, list(seeds))
    workers: dict[str, Worker] = {}
    try:
        for name, measured in row.trainers.items():
            if measured.state != MEASURED:
                continue
            place = trainers.TRAINERS[name]
            settings = {**measured.settings, **trainers.trainer_class(place).resuming}
            record = result.trainers[name] = AccuracyRecord(settings=settings)
            say(f"{row.workload.key}, time to {goal:.1%}: starting {name}")
            worker = Worker(name, place)
            try:
                workers[name] = worker
                worker.prepare(row.workload, settings, seeds[0], options.folder)
                worker.train(1)
            except WorkerError as error:
                record.state, record.reason = FAILED, str(error)
        for turn, seed in enumerate(seeds):
            for name in measure.rotated(list(workers), turn):
                record = result.trainers[name]
                if record.state == FAILED:
                    continue
                say(f"{row.workload.key}, time to {goal:.1%}: {name}, seed {seed}")
                try:
                    _one_seed(workers[name], record, seed, goal, most_epochs)
                except WorkerError as error:
                    record.state, record.reason = FAILED, str(error)
    finally:
        for worker in workers.values():
            worker.stop()
    for record in result.trainers.values():
        reached = [seconds for seconds in record.seconds if seconds is not None]
        if record.seconds and len(reached) == len(record.seconds):
            record.median_seconds = statistics.median(reached)
    return result


def _one_seed(
    worker: Worker, record: AccuracyRecord, seed: int, goal: float, most_epochs: int
) -> None:
    worker.reset(seed)
    seconds, curve = 0.0, []
    for _ in range(most_epochs):
        seconds += worker.train(1)
        curve.append([seconds, worker.accuracy()])
        if curve[-1][1] >= goal:
            break
    reached = curve[-1][1] >= goal
    record.seconds.append(seconds if reached else None)
    record.epochs.append(len(curve) if reached else None)
    record.curves.append(curve)


def belongs_to(workload: Workload) -> bool:
    """Whether this is the workload whose time to an accuracy is measured."""
    return workload.key == WORKLOAD.key
