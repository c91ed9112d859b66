"""What a training reports, epoch by epoch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class History(Mapping[str, list[float]]):
    """One list per quantity, one element per finished epoch.

    ``history["train_loss"]``, and so on for ``epoch``, ``train_accuracy`` (classification),
    ``validation_loss`` and ``validation_accuracy`` or ``validation_r2`` (with validation rows).
    The training figures are means over the epoch while the parameters were changing; the
    validation figures are taken at its end. Nothing in it depends on the clock: the same seed
    gives the same history.

    Attributes
    ----------
    rows : int
        How many rows each epoch trained on.
    seconds : list of float
        How long each epoch's steps took, beside the results and not part of them.
    """

    def __init__(self, rows: int = 0) -> None:
        self._columns: dict[str, list[float]] = {}
        self.rows = rows
        self.seconds: list[float] = []

    def append(self, row: Mapping[str, float], seconds: float) -> None:
        """Add the figures of one finished epoch."""
        for key, value in row.items():
            self._columns.setdefault(key, []).append(value)
        self.seconds.append(seconds)

    def extend(self, columns: Mapping[str, list[float]], seconds: list[float]) -> None:
        """Add the figures of several finished epochs."""
        for key, values in columns.items():
            self._columns.setdefault(key, []).extend(values)
        self.seconds.extend(seconds)

    def __getitem__(self, key: str) -> list[float]:
        if key not in self._columns:
            known = ", ".join(self._columns) or "nothing yet"
            raise KeyError(f"{key!r} is not in this history; it has {known}")
        return self._columns[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"History({len(self.seconds)} epochs: {', '.join(self._columns)})"

    def to_dict(self) -> dict[str, list[float]]:
        """Return the lists by name, as copies."""
        return {key: list(values) for key, values in self._columns.items()}

    def to_json(self, **options: Any) -> str:
        """Return the lists as JSON; ``options`` go to ``json.dumps``."""
        return json.dumps(self.to_dict(), allow_nan=False, **options)

    def plot(self) -> Any:
        """Draw loss and accuracy (or R2) of training and validation; see `plots.curves`.

        Returns
        -------
        matplotlib.figure.Figure
            Save it with ``figure.savefig("curves.png")``; no display is needed.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from fastnet import plots  # which imports this module

        return plots.curves(self)
