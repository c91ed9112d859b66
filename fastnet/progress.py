"""The progress display: on stderr, live on a terminal, a line per epoch elsewhere if asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any


class Silent(AbstractContextManager["Silent"]):
    """No display; also the interface of the others."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to close."""

    def say(self, text: str) -> None:
        """Show what is going on before the first step."""

    def go_to(self, epochs: int, steps: int) -> None:
        """So many epochs, and steps of the next one, were done before."""

    def steps_done(self, count: int) -> None:
        """``count`` more steps are done."""

    def epoch_done(self, row: Mapping[str, float]) -> None:
        """Another epoch is finished, with these figures."""


class Lines(Silent):
    """A plain line per epoch."""

    def __init__(self, epochs: int) -> None:
        self._epochs, self._finished = epochs, 0

    def go_to(self, epochs: int, steps: int) -> None:  # noqa: ARG002 - a line is an epoch
        """Count on from the epochs that were done before."""
        self._finished = epochs

    def epoch_done(self, row: Mapping[str, float]) -> None:
        """Print the epoch's figures."""
        self._finished += 1
        print(f"epoch {self._finished}/{self._epochs}  {describe(row)}", file=sys.stderr)


class Bar(Silent):
    """A live bar over all steps, with the figures of the last finished epoch."""

    def __init__(self, epochs: int, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        def whole() -> Column:
            return Column(no_wrap=True)

        self._epochs, self._steps, self._finished = epochs, steps, 0
        self._said_after = -1
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}", table_column=whole()),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=6)),
            TextColumn("{task.fields[figures]}", table_column=whole()),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(stderr=True),
            expand=True,
        )
        self._task = self._progress.add_task(
            "training", total=epochs * steps, epoch=0, epochs=epochs, figures=""
        )

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *details: Any) -> None:
        """Leave the last state on the screen."""
        self._progress.stop()

    def go_to(self, epochs: int, steps: int) -> None:
        """Begin where a training was left."""
        self._finished = epochs
        done = epochs * self._steps + steps
        self._progress.update(self._task, completed=done, epoch=epochs)

    def say(self, text: str) -> None:
        """Show the text in the place of figures."""
        self._said_after = self._finished
        self._progress.update(self._task, figures=text)

    def steps_done(self, count: int) -> None:
        """Move the bar on; what was said before the first step is over."""
        if self._finished == self._said_after:
            self._progress.update(self._task, figures="")
            self._said_after = -1
        self._progress.advance(self._task, count)

    def epoch_done(self, row: Mapping[str, float]) -> None:
        """Show the epoch's figures."""
        self._finished += 1
        self._progress.update(self._task, epoch=self._finished, figures=describe(row))


SHORT = {
    "train_loss": "loss",
    "train_accuracy": "accuracy",
    "validation_accuracy": "validation",
    "validation_r2": "validation R²",
}


def describe(row: Mapping[str, float]) -> str:
    """Return the figures of an epoch as a line of text; accuracies in percent."""
    return "  ".join(
        f"{SHORT[key]} {row[key]:.1%}" if "accuracy" in key else f"{SHORT[key]} {row[key]:.3g}"
        for key in SHORT
        if key in row
    )


def display(wanted: bool | None, epochs: int, steps: int) -> Silent:
    """Return the display for a training.

    Parameters
    ----------
    wanted : bool or None
        False for none, True for one in any case, None for one if stderr is a terminal.
    epochs, steps : int
        Epochs to train, and steps in each.

    Raises
    ------
    ImportError
        If a live display was asked for and rich is not installed.
    """
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    if wanted is False or (wanted is None and not on_terminal):
        return Silent()
    if not on_terminal:
        return Lines(epochs)
    try:
        return Bar(epochs, steps)
    except ImportError as error:
        if wanted is None:
            return Silent()
        raise ImportError(
            "progress=True needs the package rich, which is not installed: "
            "python -m pip install rich"
        ) from error
