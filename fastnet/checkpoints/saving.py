"""Writing a training's checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fastnet import atomic, tensorfile
from fastnet.callbacks import Callback
from fastnet.checkpoints.file import Parts, parts
from fastnet.checkpoints.folder import BEST, Checkpoints, found_in, name_of
from fastnet.checkpoints.identity import Identity
from fastnet.history import History

if TYPE_CHECKING:
    from fastnet.network import Network


class Saver:
    """Writes a training's checkpoints.

    Parameters
    ----------
    network : Network
    where : Checkpoints
    of : Identity
        Which training it is.
    callbacks : sequence of callables
    newest : Path or None
        The checkpoint that the training goes on from.

    Attributes
    ----------
    newest : Path or None
        The newest checkpoint that is whole.

    Raises
    ------
    OSError
        If the folder takes no file.
    ValueError
        If the network or a callback has what a checkpoint cannot keep.
    """

    def __init__(
        self,
        network: Network,
        where: Checkpoints,
        of: Identity,
        callbacks: Sequence[Callback],
        newest: Path | None,
    ) -> None:
        self.network, self.where, self.identity, self.callbacks = network, where, of, callbacks
        self.newest = newest
        where.path.mkdir(parents=True, exist_ok=True)
        # Before an hour of training, not after it:
        atomic.check(where.path / BEST)
        self._parts(History(1))
        # What was killed while it wrote may have written to a name that is never used again.
        atomic.sweep(where.path)
        self._mine = found_in(where.path)  # which the training goes on from, or none
        self._written = time.monotonic()

    def epoch_done(self, history: History, stop_reason: str | None, *, is_last: bool) -> None:
        """Write a checkpoint if one is due after this epoch."""
        every = self.where.every_epochs
        is_due = (
            is_last
            or (every is not None and len(history.seconds) % every == 0)
            or self._minutes_are_over()
        )
        is_best = self.where.keep_best and _is_best(history)
        if not (is_due or is_best):
            return
        self._refuse_company()
        made = self._parts(history, stop_reason=stop_reason)
        # The best first: whoever goes on from the newest does not come by this epoch again.
        if is_best:
            self._write(BEST, made)
        if is_due:
            self._write_newest(name_of(self.network.epoch), made, same_as=BEST if is_best else None)

    def within_epoch(self, history: History, steps: int, *, at_once: bool = False) -> None:
        """Write a checkpoint after so many steps of an epoch, if its minutes are over."""
        # A loss is looked at in every step, the parameters at the end of an epoch alone.
        if (at_once or self._minutes_are_over()) and self.network.is_finite():
            self._refuse_company()
            name = name_of(self.network.epoch, steps)
            self._write_newest(name, self._parts(history, steps))

    def _refuse_company(self) -> None:
        """Raise FileExistsError if another training has begun in the folder at the same time.

        Not to lose anything of either: which files are whose could not be told afterwards.
        """
        strange = [path for path in found_in(self.where.path) if path not in self._mine]
        if strange:
            kept = self.newest if self.newest is not None else "nothing"
            raise FileExistsError(
                f"{strange[-1]} was not written by this training: another one writes its "
                f"checkpoints into the same folder; {kept} is kept of this one. Give each a folder "
                f"of its own"
            )

    def _minutes_are_over(self) -> bool:
        minutes = self.where.every_minutes
        return minutes is not None and time.monotonic() - self._written >= 60 * minutes

    def _parts(self, history: History, steps: int = 0, stop_reason: str | None = None) -> Parts:
        return parts(self.network, self.identity, self.callbacks, history, steps, stop_reason)

    def _write_newest(self, name: str, made: Parts, same_as: str | None = None) -> None:
        self._write(name, made, same_as)
        self.newest = self.where.path / name
        self._written = time.monotonic()
        self._mine = [path for path in self._mine if path.name != name]
        self._mine.append(self.newest)
        for old in self._mine[: -self.where.keep]:
            old.unlink(missing_ok=True)
        del self._mine[: -self.where.keep]

    def _write(self, name: str, made: Parts, same_as: str | None = None) -> None:
        """Write a file, by a second name for one with the same content where there is one."""
        path = self.where.path / name
        try:
            if same_as is None or not atomic.link(self.where.path / same_as, path):
                tensorfile.write(path, *made)
        except OSError as error:
            is_there = self.newest is not None and self.newest.exists()
            kept = "there is none before it: mend the cause, and begin again"
            if is_there:
                kept = f"{self.newest} is whole: mend the cause and resume"
            raise OSError(
                error.errno,
                f"the checkpoint cannot be written ({error.strerror}); {kept}",
                str(path),
            ) from error


def _is_best(history: History) -> bool:
    losses = history["validation_loss" if "validation_loss" in history else "train_loss"]
    return losses.index(min(losses)) == len(losses) - 1
