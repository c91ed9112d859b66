"""Measurements in turn, their middle and spread, and ratios of what ran side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

# Seconds between two measurements: thread pools that spin after their last task go to sleep, and
# what other programs do meanwhile can be seen.
PAUSE = 0.2


@dataclass(frozen=True)
class Summary:
    """The middle of some figures and how far they spread."""

    median: float
    low: float
    high: float
    quartile_1: float
    quartile_3: float
    count: int

    @property
    def spread_percent(self) -> float:
        """The range between the quartiles, in percent of the median."""
        return 100 * (self.quartile_3 - self.quartile_1) / self.median


def summary(values: Sequence[float]) -> Summary:
    """Return median, range and quartiles.

    Parameters
    ----------
    values : sequence of float
        At least one; the quartiles of a single one are itself.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not values:
        raise ValueError("there is nothing to sum up; expected at least one figure")
    if len(values) == 1:
        first = third = values[0]
    else:
        first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(statistics.median(values), min(values), max(values), first, third, len(values))


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Summary:
    """Return the summary of ours / theirs, each pair out of one repeat.

    Neighbours in time share the machine's mood, so their ratio spreads less than the figures do.

    Raises
    ------
    ValueError
        If one has more figures than the other.
    """
    return summary([a / b for a, b in zip(ours, theirs, strict=True)])


def rotated(names: Sequence[T], turn: int) -> list[T]:
    """Return the names in order, beginning ``turn`` places further on."""
    if not names:
        return []
    start = turn % len(names)
    return [*names[start:], *names[:start]]


def alternate(
    names: Iterable[str],
    repeats: int,
    measure: Callable[[str], float],
    *,
    failures: tuple[type[Exception], ...] = (),
    on_failure: Callable[[str, Exception], None] = lambda _name, _error: None,
    rest: Callable[[], None] = lambda: time.sleep(PAUSE),
) -> dict[str, list[float]]:
    """Measure every name once per repeat, never two at once, in an order that moves on.

    Parameters
    ----------
    names : iterable of str
    repeats : int
    measure : callable
        From a name to a figure.
    failures : tuple of exception classes
        What a measurement may raise; the name is then left out from there on.
    on_failure : callable
        Told of the name and the error.
    rest : callable
        Called before each measurement, while nothing is measured.

    Returns
    -------
    dict of str to list of float
        One figure per repeat; of a name that failed, those before.
    """
    figures: dict[str, list[float]] = {name: [] for name in names}
    alive = list(figures)
    for repeat in range(repeats):
        for name in rotated(list(figures), repeat):
            if name not in alive:
                continue
            rest()
            try:
                figures[name].append(measure(name))
            except failures as error:
                alive.remove(name)
                on_failure(name, error)
    return figures
