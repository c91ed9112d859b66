"""Before anything counts: compile, choose each trainer's fastest settings, and fix the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from bench import trainers
from bench.results import FAILED, MISSING, TrainerRecord
from bench.trainers.base import Settings
from bench.worker import Worker, WorkerError
from bench.workloads import Workload

# A first estimate of an epoch's time is taken again if it took less than this share of the time
# that a measurement should take.
STABLE_SHARE = 0.2
# What takes less than so many seconds is measured twice, and the better one counts: settings must
# not be chosen by what another program did at one moment.
LONG = 3.0


class Options(NamedTuple):
    """What calibration needs to know.

    ``seconds``: how long one measurement should take; ``cores``: how many threads there can be;
    ``every_variant``: whether to try all settings or only the first; ``folder``: where MNIST is.
    """

    seconds: float
    cores: int
    every_variant: bool
    folder: Path | None


class Tried(NamedTuple):
    """A worker that is ready, and what was seen of it."""

    worker: Worker
    settings: Settings
    epochs: int
    first_call_seconds: float
    samples_per_second: float
    facts: dict[str, Any]


def calibrate(
    name: str, workload: Workload, options: Options, seed: int = 0
) -> tuple[Worker | None, TrainerRecord]:
    """Return a prepared and warm worker with the fastest settings, and what was tried.

    Each variant gets a process of its own, one after the other; that of the fastest is kept.

    Returns
    -------
    worker : Worker or None
        None if the trainer cannot run here or failed with all settings; the record says why.
    record : TrainerRecord
    """
    place = trainers.TRAINERS[name]
    kind = trainers.trainer_class(place)
    missing = trainers.missing_packages(kind)
    if missing:
        reason = f"not installed: {', '.join(missing)}"
        return None, TrainerRecord(state=MISSING, reason=reason)
    variants = kind.variants(workload, options.cores)
    best: Tried | None = None
    tried: list[dict[str, Any]] = []
    try:
        for settings in variants if options.every_variant else variants[:1]:
            try:
                found = _try(name, place, workload, settings, options, seed)
            except WorkerError as error:
                tried.append({"settings": settings, "error": str(error)})
                continue
            tried.append(
                {
                    "settings": settings,
                    "samples_per_second": found.samples_per_second,
                    "first_call_seconds": found.first_call_seconds,
                }
            )
            if best is not None and best.samples_per_second >= found.samples_per_second:
                found.worker.stop()
                continue
            if best is not None:
                best.worker.stop()
            best = found
    except BaseException:
        if best is not None:
            best.worker.stop()
        raise
    if best is None:
        return None, TrainerRecord(state=FAILED, reason=tried[0]["error"], tried=tried)
    record = TrainerRecord(
        settings=best.settings,
        tried=tried,
        versions=best.facts["versions"],
        rows_per_epoch=best.facts["rows_per_epoch"],
        epochs=best.epochs,
        first_call_seconds=best.first_call_seconds,
    )
    return best.worker, record


def _try(
    name: str, place: str, workload: Workload, settings: Settings, options: Options, seed: int
) -> Tried:
    worker = Worker(name, place)
    try:
        facts = worker.prepare(workload, settings, seed, options.folder)
        first = worker.train(1)
        epochs, taken = 1, worker.train(1)
        if taken < STABLE_SHARE * options.seconds:
            epochs = epochs_for(options.seconds / 2, taken)
            taken = worker.train(epochs)
        if taken < LONG:
            taken = min(taken, worker.train(epochs))
    except BaseException:
        worker.stop()
        raise
    return Tried(
        worker,
        settings,
        epochs_for(options.seconds, taken / epochs),
        first,
        facts["rows_per_epoch"] * epochs / taken,
        facts,
    )


def epochs_for(seconds: float, epoch_seconds: float) -> int:
    """Return how many epochs take about so many seconds; at least one."""
    return max(1, round(seconds / epoch_seconds))
