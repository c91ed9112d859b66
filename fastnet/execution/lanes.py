"""Which work of a captured step may run at the same time: its order follows from its data.

A step is recorded as pieces of work, each with the memory that it reads and writes. Two of them
keep their order if one writes what the other one reads or writes; all others may overlap. On a GPU
a step of a small network is a chain of launches that each take longer to start than to run, so what
counts is how long the longest chain is: the gradients of the biases, say, need not stand in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

# Lanes that work is spread over. More have nothing to do: the widest place of a step is where the
# gradients of a layer meet the delta of the one before and the sums of the loss.
LANES = 4

Span = tuple[int, int]  # from an address to the one behind


class Work(NamedTuple):
    """A piece of work: what it reads and writes, and how to ask a lane for it.

    ``keeps`` are the arrays behind the spans: whoever holds the work keeps their memory. ``what``
    says what is asked for, where a program can do the same; see ``programs.py``.
    """

    name: str
    reads: tuple[Span, ...]
    writes: tuple[Span, ...]
    ask: Callable[[int], None]
    keeps: tuple[Any, ...] = ()
    what: Any = None


class Place(NamedTuple):
    """Where a piece of work stands: its lane, and the earlier ones on other lanes it waits for."""

    lane: int
    waits: tuple[int, ...]


def overlap(some: tuple[Span, ...], others: tuple[Span, ...]) -> bool:
    """Whether some memory is in both."""
    return any(a < d and c < b for a, b in some for c, d in others)


class Touching(Protocol):
    """What reads and writes memory: a piece of work, or another name for one."""

    @property
    def reads(self) -> tuple[Span, ...]: ...  # noqa: D102

    @property
    def writes(self) -> tuple[Span, ...]: ...  # noqa: D102


def keeps_order(earlier: Touching, later: Touching) -> bool:
    """Whether ``later`` must not begin before ``earlier`` has ended."""
    return (
        overlap(earlier.writes, later.reads)
        or overlap(earlier.writes, later.writes)
        or overlap(earlier.reads, later.writes)
    )


def dependencies(works: Sequence[Touching]) -> list[list[int]]:
    """Return for each piece of work those that it must wait for, without those implied by others.

    The latest comes first.
    """
    before: list[int] = []  # everything that must end before, as bits
    result: list[list[int]] = []
    for j, work in enumerate(works):
        direct: list[int] = []
        known = 0
        for i in range(j - 1, -1, -1):
            if not known >> i & 1 and keeps_order(works[i], work):
                direct.append(i)
                known |= before[i] | 1 << i
        before.append(known)
        result.append(direct)
    return result


def places(works: Sequence[Work], lanes: int = LANES) -> list[Place]:
    """Return the lane of each piece of work; the work of one lane runs in order.

    Work goes on where the latest of those that it waits for was the last one; otherwise to a lane
    that is empty, or whose last work is the longest ago.
    """
    last: list[int] = [-1] * lanes
    result: list[Place] = []
    for j, direct in enumerate(dependencies(works)):
        behind = [result[i].lane for i in direct if last[result[i].lane] == i]
        lane = behind[0] if behind else min(range(lanes), key=lambda place: (last[place], place))
        waits = tuple(i for i in direct if result[i].lane != lane)
        last[lane] = j
        result.append(Place(lane, waits))
    return result
