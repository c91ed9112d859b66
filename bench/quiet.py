"""Whether the machine is left alone while something is measured.

Trainers whose threads wait for each other in loops become many times slower, and not merely by its
share, as soon as another program wants a processor.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

# The first part of a pause, in which thread pools of the last measurement may still spin.
SETTLING = 0.5
# The share of all processors from which on figures are called disturbed.
MUCH = 0.2

_STAT = Path("/proc/stat")
IDLE, WAITING = 3, 4  # positions in the system's line of times


def pause(seconds: float) -> list[float]:
    """Wait, and return the share of all processors that was in use in the second part.

    Returns
    -------
    list of float
        One figure from 0 to 1; empty where the system does not tell.
    """
    time.sleep(seconds * SETTLING)
    before = _times()
    time.sleep(seconds * (1 - SETTLING))
    after = _times()
    if before is None or after is None or after[1] <= before[1]:
        return []
    idle, total = after[0] - before[0], after[1] - before[1]
    return [min(1.0, max(0.0, 1 - idle / total))]


def _times() -> tuple[int, int] | None:
    """Return idle and total time of all processors so far, in the system's ticks."""
    try:
        first = _STAT.read_text(encoding="ascii").splitlines()[0].split()[1:]
    except (OSError, IndexError):
        return None
    numbers = [int(text) for text in first]
    return numbers[IDLE] + numbers[WAITING], sum(numbers)


def warning(shares: list[float]) -> str:
    """Return a sentence about other programs, or nothing where they were quiet."""
    if not shares or statistics.fmean(shares) < MUCH:
        return ""
    return (
        f"other programs used {statistics.fmean(shares):.0%} of the processors in the pauses: "
        f"these figures are disturbed, measure again on a machine at rest"
    )
