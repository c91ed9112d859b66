"""fastnet and its peers on one workload after the other, in turn, on one GPU.

A trainer keeps its process for all workloads: on a GPU, starting one takes longer than measuring.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bench import accuracy, calibration, measure, trainers, worker
from bench.gpu.places import Place
from bench.trainers.base import Settings, Trainer
from bench.worker import Worker, WorkerError
from bench.workloads import ALL, TABLE, Workload

LARGE = Workload("large", (784, 2048, 2048, 2048, 2048, 10), "mnist", 8192, "adam", 1e-3)
ROWS = {**{workload.key: workload for workload in TABLE}, LARGE.key: LARGE}
# The order in which they are measured, should time run out.
BY_VALUE = ("C", "F", "large", "D", "A", "B", "E")
# What TF32 is for: products that take most of the time.
TF32_ROWS = ("large", "F")
ON_HOST = Workload("tiny", (64, 8, 10), "digits", 32, "adam", 1e-2, rows=70)

OURS, PROGRAMS = "fastnet", "fastnet-programs"
# Parameters up to which steps are also run as programs, whose products are made for small networks.
MOST_IN_PROGRAMS = 1 << 20
FAMILIES = {
    "PyTorch": ("torch", "torch-step", "torch-epoch", "torch-compile"),
    "PyTorch eager": ("torch",),
    "PyTorch graphs": ("torch-step", "torch-epoch", "torch-compile"),
    "JAX": ("jax", "jax-unrolled"),
}

SECONDS, REPEATS, PAUSE = 0.3, 5, 0.02
QUICK_SECONDS, QUICK_REPEATS = 0.02, 2


# How long one answer may take: a trainer that hangs must not take the budget of all others.
PATIENCE = 90.0


class Entry(NamedTuple):
    """A trainer: where its class is, and its settings."""

    place: str
    settings: Settings


TRAINERS = {
    OURS: Entry("bench.gpu.ours:CupyTrainer", {"rows": "device"}),
    PROGRAMS: Entry("bench.gpu.ours:CupyTrainer", {"rows": "device", "steps": "programs"}),
    "torch": Entry("bench.gpu.peers_torch:EagerTrainer", {}),
    "torch-step": Entry("bench.gpu.peers_torch:StepGraphTrainer", {}),
    "torch-epoch": Entry("bench.gpu.peers_torch:EpochGraphTrainer", {}),
    "torch-compile": Entry("bench.gpu.peers_torch:CompiledTrainer", {}),
    "jax": Entry("bench.gpu.peers_jax:ScanTrainer", {"unroll": 1}),
    "jax-unrolled": Entry("bench.gpu.peers_jax:ScanTrainer", {"unroll": 4}),
}
# Compiling takes PyTorch long, so that it has a stage of its own, in the end.
LATE = ("torch-compile",)
MAIN = tuple(name for name in TRAINERS if name not in LATE)
WITH_TF32 = tuple(name for name in MAIN if name != PROGRAMS)  # whose products are float32's


def of_size(names: Sequence[str], workload: Workload) -> tuple[str, ...]:
    """Return the trainers that are meant for a network of this size."""
    layers = workload.layers
    parameters = sum((i + 1) * o for i, o in itertools.pairwise(layers))
    return tuple(name for name in names if name != PROGRAMS or parameters <= MOST_IN_PROGRAMS)


class Runner(Protocol):
    """What `Worker` is to its caller."""

    loss: float | None

    def prepare(
        self, workload: Workload, settings: Settings, seed: int, folder: Path | None
    ) -> dict[str, Any]:
        """Load rows and library."""

    def reset(self, seed: int) -> None:
        """Begin anew."""

    def train(self, epochs: int) -> float:
        """Train and return the seconds."""

    def accuracy(self) -> float:
        """Return the accuracy on the test rows."""

    def stop(self) -> None:
        """End it."""


class PatientWorker(Worker):
    """A worker whose process is ended if an answer takes too long."""

    def _ask(self, what: str, *arguments: Any) -> Any:
        timer = threading.Timer(PATIENCE, self._process.kill)
        timer.start()
        try:
            return super()._ask(what, *arguments)
        except WorkerError as error:
            if timer.finished.is_set():
                raise WorkerError(f"{self.name}: {what} took over {PATIENCE:g} s") from error
            raise
        finally:
            timer.cancel()


class InProcess:
    """A trainer in this process, where the GPU backend runs on the host."""

    def __init__(self, place: str) -> None:
        self.trainer: Trainer = trainers.trainer_class(place)()
        self.loss: float | None = None

    def prepare(
        self, workload: Workload, settings: Settings, seed: int, folder: Path | None
    ) -> dict[str, Any]:
        """Load the rows."""
        return worker._prepare(self.trainer, workload, settings, seed, folder)

    def reset(self, seed: int) -> None:
        """Begin anew."""
        self.trainer.reset(seed)

    def train(self, epochs: int) -> float:
        """Train and return the seconds."""
        seconds, self.loss = worker._train(self.trainer, epochs)
        return seconds

    def accuracy(self) -> float:
        """Return the accuracy on the test rows."""
        return self.trainer.accuracy()

    def stop(self) -> None:
        """There is nothing to end."""


class Effort(NamedTuple):
    """How long one measurement should take, how many there are, and where MNIST is."""

    seconds: float
    repeats: int
    folder: Path | None


class Pool:
    """The trainers' processes, each begun when it is first asked for."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.missing: dict[str, str] = {}
        self._runners: dict[str, Runner] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for runner in self._runners.values():
            runner.stop()
        self._runners.clear()

    def names(self, wanted: Sequence[str]) -> list[str]:
        """Return those whose libraries are installed; on the host, fastnet alone."""
        found = []
        for name in wanted:
            kind = trainers.trainer_class(TRAINERS[name].place)
            lacking = [] if self.place.is_host else trainers.missing_packages(kind)
            if lacking:
                self.missing[name] = f"not installed: {', '.join(lacking)}"
            elif name in (OURS, PROGRAMS) or not self.place.is_host:
                found.append(name)
        return found

    def runner(self, name: str) -> Runner:
        """Return a trainer's process."""
        with self._lock:
            if name not in self._runners:
                entry = TRAINERS[name]
                self._runners[name] = (
                    InProcess(entry.place)
                    if self.place.is_host
                    else PatientWorker(name, entry.place)
                )
            return self._runners[name]

    def forget(self, name: str) -> None:
        """End a process that failed: the next workload gets a new one."""
        with self._lock:
            runner = self._runners.pop(name, None)
        if runner is not None:
            runner.stop()

    def settings(self, name: str, precision: str | None) -> Settings:
        """Return what a trainer is prepared with."""
        settings = dict(TRAINERS[name].settings)
        if precision is not None:
            settings["precision"] = precision
        if self.place.is_host:
            settings["rows"] = "host"
        return settings


def measure_row(
    pool: Pool,
    workload: Workload,
    wanted: Sequence[str],
    effort: Effort,
    precision: str | None = None,
) -> dict[str, Any]:
    """Return every trainer's microseconds per step and samples per second, and the ratios.

    A trainer that fails is recorded with its error; the others go on.
    """
    names = pool.names(wanted)
    found: dict[str, dict[str, Any]] = {
        name: {"state": "missing", "reason": pool.missing[name]}
        for name in wanted
        if name in pool.missing
    }

    def failed(name: str, error: Exception) -> None:
        found[name] = {**found.get(name, {}), "state": "failed", "reason": worker.described(error)}
        pool.forget(name)

    _prepare(pool, names, workload, effort, precision, found, failed)
    ready = [name for name in names if found[name]["state"] == "measured"]
    # One at a time from here on: XLA, too, chooses its products by timing them.
    for name in list(ready):
        try:
            _warm_up(pool.runner(name), found[name], effort)
        except Exception as error:
            failed(name, error)
            ready.remove(name)
    seconds = measure.alternate(
        ready,
        effort.repeats,
        lambda name: pool.runner(name).train(found[name]["epochs"]),
        failures=(Exception,),
        on_failure=failed,
        rest=lambda: time.sleep(PAUSE),
    )
    for name, figures in seconds.items():
        if found[name]["state"] == "measured":
            _sum_up(pool.runner(name), found[name], figures, workload)
    result = {
        "workload": {"key": workload.key, "title": workload.title, "layers": workload.layers},
        "precision": precision or "float32",
        "repeats": effort.repeats,
        "trainers": found,
        "ratios": ratios(found),
    }
    return {**result, "summary": _said(result)}


def _prepare(
    pool: Pool,
    names: Sequence[str],
    workload: Workload,
    effort: Effort,
    precision: str | None,
    found: dict[str, dict[str, Any]],
    failed: Callable[[str, Exception], None],
) -> None:
    """Load rows and libraries, all trainers at once: nothing is measured yet."""

    def one(name: str) -> dict[str, Any]:
        settings = pool.settings(name, precision)
        facts = pool.runner(name).prepare(workload, settings, 0, effort.folder)
        return {"state": "measured", "settings": settings, **facts}

    with ThreadPoolExecutor(max(len(names), 1)) as threads:
        for name, future in {name: threads.submit(one, name) for name in names}.items():
            try:
                found[name] = future.result()
            except Exception as error:
                failed(name, error)


def _warm_up(runner: Runner, record: dict[str, Any], effort: Effort) -> None:
    """Compile, and find out how many epochs a measurement takes."""
    record["first_epoch_seconds"] = runner.train(1)
    epochs, taken = 1, runner.train(1)
    if taken < calibration.STABLE_SHARE * effort.seconds:
        epochs = calibration.epochs_for(effort.seconds / 2, taken)
        taken = runner.train(epochs)
    record["epochs"] = calibration.epochs_for(effort.seconds, taken / epochs)


def _sum_up(
    runner: Runner, record: dict[str, Any], seconds: list[float], workload: Workload
) -> None:
    rows, epochs = record["rows_per_epoch"], record["epochs"]
    steps = -(-rows // workload.batch_of(rows)) * epochs
    speeds = [rows * epochs / s for s in seconds]
    per_step = [1e6 * s / steps for s in seconds]
    record |= {
        "steps": steps,
        "seconds": seconds,
        "samples_per_second": speeds,
        "speed": vars(measure.summary(speeds)),
        "microseconds_per_step": vars(measure.summary(per_step)),
        "loss": runner.loss,
        "accuracy": runner.accuracy(),
    }


def ratios(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return fastnet's speed in multiples of the best of every family, repeat by repeat.

    ``programs`` is that of its own steps as programs, in multiples of the captured ones.
    """
    measured = {name: one for name, one in found.items() if one["state"] == "measured"}
    if OURS not in measured:
        return {}
    ours = measured.pop(OURS)["samples_per_second"]
    result: dict[str, dict[str, Any]] = {}
    programs = measured.pop(PROGRAMS, None)
    if programs is not None:
        paired = measure.paired_ratio(programs["samples_per_second"], ours)
        result["programs"] = {"peer": OURS, "ratio": vars(paired)}
    for family, members in {"best": tuple(measured), **FAMILIES}.items():
        candidates = [name for name in members if name in measured]
        if candidates:
            peer = max(candidates, key=lambda name: measured[name]["speed"]["median"])
            paired = measure.paired_ratio(ours, measured[peer]["samples_per_second"])
            result[family] = {"peer": peer, "ratio": vars(paired)}
    return result


def _said(result: dict[str, Any]) -> str:
    parts = []
    for name, one in result["trainers"].items():
        if one["state"] == "measured":
            parts.append(f"{name} {one['microseconds_per_step']['median']:.1f}")
        else:
            parts.append(f"{name} {one['state']}")
    best = result["ratios"].get("best")
    said = f"; {best['ratio']['median']:.2f} times {best['peer']}" if best else ""
    return f"us/step: {', '.join(parts)}{said}"


def time_to_accuracy(pool: Pool, wanted: Sequence[str], effort: Effort) -> dict[str, Any]:
    """Return the seconds of training that row C takes to reach the accuracy, by seed.

    Seconds are those of training, epoch by epoch: compiling and evaluation are not in them.
    """
    workload, found = ALL["C"], {}
    names = pool.names(wanted)
    records: dict[str, dict[str, Any]] = {}

    def failed(name: str, error: Exception) -> None:
        records[name] = {"state": worker.described(error)}
        pool.forget(name)

    _prepare(pool, names, workload, effort, None, records, failed)
    for name in names:
        if records[name]["state"] != "measured":
            found[name] = {"reason": records[name]["state"]}
            continue
        try:
            runner = pool.runner(name)
            runner.train(1)
            by_seed = [_reach(runner, seed) for seed in accuracy.SEEDS]
        except WorkerError as error:
            found[name] = {"reason": str(error)}
            pool.forget(name)
            continue
        reached = [one[0] for one in by_seed if one[0] is not None]
        found[name] = {
            "seconds": [one[0] for one in by_seed],
            "epochs": [one[1] for one in by_seed],
            "median_seconds": statistics.median(reached) if len(reached) == len(by_seed) else None,
        }
    medians = {name: one.get("median_seconds") for name, one in found.items()}
    said = ", ".join(f"{name} {value:.2f} s" for name, value in medians.items() if value)
    return {"summary": said, "accuracy": accuracy.GOAL, "workload": "C", "trainers": found}


def _reach(runner: Runner, seed: int) -> tuple[float | None, int]:
    """Return seconds and epochs until the accuracy is reached; None if it is not."""
    runner.reset(seed)
    seconds = 0.0
    for epoch in range(1, accuracy.MOST_EPOCHS + 1):
        seconds += runner.train(1)
        if runner.accuracy() >= accuracy.GOAL:
            return seconds, epoch
    return None, accuracy.MOST_EPOCHS
