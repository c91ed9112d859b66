"""Stages one after the other: each is recorded as it ends, and none takes the others along."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.worker import described

SCHEMA = 1

DONE, FAILED, RAISED, LEFT_OUT = "done", "failed", "raised", "left out"


class Stage(NamedTuple):
    """One thing to find out.

    Attributes
    ----------
    name : str
    seconds : float
        About how long it takes; it is left out if less of the budget remains.
    work : callable
        Returns what was found as plain data; ``passed`` in it says whether it is right, and
        ``summary`` is what the line about it says.
    is_parity : bool
        Whether the run counts as failed unless this passes.
    """

    name: str
    seconds: float
    work: Callable[[], dict[str, Any]]
    is_parity: bool = False


@dataclass
class StageRecord:
    """How a stage ended: ``done``, ``failed`` (not passed), ``raised``, or ``left out``."""

    state: str
    is_parity: bool
    seconds: float = 0.0
    reason: str = ""
    error: dict[str, Any] | None = None
    result: dict[str, Any] = field(default_factory=dict)


@dataclass
class GpuRun:
    """All that ``python -m bench gpu`` found; ``complete`` is False while it goes on."""

    device: str
    settings: dict[str, Any]
    stages: dict[str, StageRecord] = field(default_factory=dict)
    seconds: float = 0.0
    complete: bool = False
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return asdict(self)

    @property
    def wrong(self) -> list[str]:
        """The parity stages that did not pass; one that was left out says nothing."""
        return [
            name
            for name, record in self.stages.items()
            if record.is_parity and record.state in (FAILED, RAISED)
        ]


def run_all(
    run: GpuRun,
    stages: Iterable[Stage],
    budget: float,
    say: Callable[[str], None],
    after_stage: Callable[[GpuRun], None] = lambda _run: None,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Run stages in order and put each into ``run``.

    Parameters
    ----------
    run : GpuRun
        Filled in; ``complete`` at the end.
    stages : iterable of Stage
    budget : float
        Seconds for all of them. A stage that would not fit is left out, not cut off.
    say : callable
        Told one line per stage.
    after_stage : callable
        Called after every stage, so that a run that is cut off keeps what it has.
    clock : callable
        Returns seconds.
    """
    began = clock()
    for stage in stages:
        left = budget - (clock() - began)
        if left < stage.seconds:
            reason = (
                f"{max(left, 0):.0f} s of {budget:g} s are left; about {stage.seconds:g} needed"
            )
            record = StageRecord(LEFT_OUT, stage.is_parity, reason=reason)
        else:
            record = _run(stage, clock)
        run.stages[stage.name] = record
        run.seconds = clock() - began
        say(_line(stage.name, record))
        after_stage(run)
    run.complete = True
    after_stage(run)


def _run(stage: Stage, clock: Callable[[], float]) -> StageRecord:
    record, began = StageRecord(DONE, stage.is_parity), clock()
    try:
        record.result = _plain(stage.work())
    except Exception as error:
        record.state, record.reason = RAISED, described(error)
        record.error = {
            "type": type(error).__name__,
            "message": described(error),
            "where": _where(error),
        }
    else:
        if not record.result.get("passed", True):
            record.state = FAILED
    record.seconds = clock() - began
    return record


def _plain(value: Any) -> Any:
    """Return plain data; JSON has no word for NaN and infinity, so that they become text."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _where(error: Exception) -> list[str]:
    """Return the innermost calls, without folders: results are published."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def _line(name: str, record: StageRecord) -> str:
    said = record.reason or record.result.get("summary", "")
    return f"{name}: {record.state} in {record.seconds:.1f} s{': ' if said else ''}{said}"
