"""Results as files: what stands in them, written whole or not at all."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from bench.checkout import RESULTS
from bench.measure import Summary
from bench.trainers.base import Settings
from bench.workloads import Workload

SCHEMA = 1

MEASURED, MISSING, FAILED = "measured", "missing", "failed"


@dataclass
class TrainerRecord:
    """How one trainer did on one workload.

    Attributes
    ----------
    state : str
        ``measured``; ``missing``, its packages are not installed; or ``failed``.
    reason : str
        Why it was not measured, or not to the end.
    settings : dict
        What calibration chose.
    tried : list of dict
        What it chose from: settings with ``samples_per_second`` and ``first_call_seconds``, or
        with ``error``.
    versions : dict
    rows_per_epoch : int
        Rows that an epoch trained on.
    epochs : int
        Epochs of one measurement.
    first_call_seconds : float
        The first epoch, with all that is compiled or loaded for it; in no other figure.
    seconds : list of float
        Every measurement.
    samples_per_second : list of float
        rows_per_epoch * epochs / seconds.
    speed : Summary or None
        Of ``samples_per_second``.
    accuracy : float or None
        On the test rows after the last measurement; R2 for quantities.
    loss : float or None
        The mean training loss of the last epoch, as the trainer reported it.
    """

    state: str = MEASURED
    reason: str = ""
    settings: Settings = field(default_factory=dict)
    tried: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    rows_per_epoch: int = 0
    epochs: int = 0
    first_call_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)
    speed: Summary | None = None
    accuracy: float | None = None
    loss: float | None = None


@dataclass
class Ratio:
    """fastnet's speed in multiples of a peer's, and what it must be."""

    peer: str
    ratio: Summary
    floor: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the median reaches the floor; None where there is none."""
        return None if self.floor is None else self.ratio.median >= self.floor


@dataclass
class RowRecord:
    """One workload and all trainers on it; ``ratios`` by family and by trainer.

    ``others`` are the shares of all processors that other programs used in the pauses between
    measurements; empty where the system does not tell.
    """

    workload: Workload
    repeats: int = 0
    others: list[float] = field(default_factory=list)
    trainers: dict[str, TrainerRecord] = field(default_factory=dict)
    ratios: dict[str, Ratio] = field(default_factory=dict)


@dataclass
class AccuracyRecord:
    """Training until a test accuracy is reached, epoch by epoch.

    ``seconds`` and ``epochs`` hold one figure per seed, None where the accuracy was not reached;
    ``curves`` hold, per seed, [seconds of training so far, accuracy] after every epoch. The
    seconds are those of training alone: compiling and evaluation are not in them.
    """

    state: str = MEASURED
    reason: str = ""
    settings: Settings = field(default_factory=dict)
    seconds: list[float | None] = field(default_factory=list)
    epochs: list[int | None] = field(default_factory=list)
    curves: list[list[list[float]]] = field(default_factory=list)
    median_seconds: float | None = None


@dataclass
class TimeToAccuracy:
    """All trainers on the way to one accuracy."""

    workload: Workload
    accuracy: float
    seeds: list[int]
    trainers: dict[str, AccuracyRecord] = field(default_factory=dict)


@dataclass
class CpuRun:
    """All that ``python -m bench cpu`` measured.

    ``complete`` is False while the run goes on, and stays so if it is interrupted.
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    rows: dict[str, RowRecord] = field(default_factory=dict)
    time_to_accuracy: TimeToAccuracy | None = None
    complete: bool = False
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> CpuRun:
        """Return the run that `to_dict` made plain.

        Raises
        ------
        ValueError
            If it was written in another schema.
        """
        if plain.get("schema") != SCHEMA:
            raise ValueError(f"schema is {plain.get('schema')!r}; expected {SCHEMA}")
        reached = plain["time_to_accuracy"]
        return cls(
            **{
                **plain,
                "rows": {key: _row(row) for key, row in plain["rows"].items()},
                "time_to_accuracy": None if reached is None else _time_to_accuracy(reached),
            }
        )


def _workload(plain: dict[str, Any]) -> Workload:
    return Workload(**{**plain, "layers": tuple(plain["layers"])})


def _row(plain: dict[str, Any]) -> RowRecord:
    return RowRecord(
        _workload(plain["workload"]),
        plain["repeats"],
        plain["others"],
        {name: _trainer(record) for name, record in plain["trainers"].items()},
        {
            family: Ratio(**{**ratio, "ratio": Summary(**ratio["ratio"])})
            for family, ratio in plain["ratios"].items()
        },
    )


def _trainer(plain: dict[str, Any]) -> TrainerRecord:
    speed = plain["speed"]
    return TrainerRecord(**{**plain, "speed": None if speed is None else Summary(**speed)})


def _time_to_accuracy(plain: dict[str, Any]) -> TimeToAccuracy:
    trainers = {name: AccuracyRecord(**record) for name, record in plain["trainers"].items()}
    return TimeToAccuracy(
        **{**plain, "workload": _workload(plain["workload"]), "trainers": trainers}
    )


def default_path(kind: str, facts: dict[str, Any]) -> Path:
    """Return where results of a kind go: kind, processor and date, and a number if it is taken."""
    name = f"{kind}-{machine.slug(facts['processor'])}-{facts['date'][:10]}"
    for number in itertools.count(1):
        path = RESULTS / (f"{name}.json" if number == 1 else f"{name}-{number}.json")
        if not path.exists():
            return path
    raise AssertionError("there is always a next number")


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole: who reads it finds the old one or the new one.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)  # noqa: PTH105 - of two names in one folder
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
