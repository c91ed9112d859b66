"""The folder of a training's checkpoints: what lies in it, and which of it to go on from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastnet import checks

BEST = "best.safetensors"
NAME = re.compile(r"epoch-(\d{6,})(?:-step-(\d{6,}))?\.safetensors")
AUTO = "auto"


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a training writes checkpoints.

    Parameters
    ----------
    folder : str or path
        It is made if it is not there.
    every_epochs : int or None, default 1
        Write one after so many epochs; None for none but the last.
    every_minutes : float or None, default None
        Write one after so many minutes, also within an epoch.
    keep : int, default 3
        How many of the newest remain.
    keep_best : bool, default True
        Whether ``best.safetensors`` has the network after the epoch with the smallest validation
        loss (training loss, where there are no validation rows). It may be a second name of that
        epoch's checkpoint: to change it, copy it first.

    Raises
    ------
    TypeError, ValueError
        If an argument is off.
    """

    folder: str | os.PathLike[str]
    every_epochs: int | None = 1
    every_minutes: float | None = None
    keep: int = 3
    keep_best: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | os.PathLike) or not os.fspath(self.folder):
            raise TypeError(f"checkpoint is {self.folder!r}; expected a folder")
        if self.every_epochs is not None:
            checks.whole_number(self.every_epochs, "every_epochs", at_least=1)
        if self.every_minutes is not None:
            checks.real_number(self.every_minutes, "every_minutes", above=0)
        checks.whole_number(self.keep, "keep", at_least=1)
        checks.truth(self.keep_best, "keep_best")

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder).expanduser()


def name_of(epoch: int, steps: int = 0) -> str:
    """Return the name of a checkpoint after so many epochs and steps of the next one."""
    within = f"-step-{steps:06d}" if steps else ""
    return f"epoch-{epoch:06d}{within}.safetensors"


def found_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest last."""
    if not folder.is_dir():
        return []
    numbered = [(NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    places = [
        ((int(m[1]), int(m[2] or 0)), path)
        for m, path in numbered
        if m is not None and path.is_file()
    ]
    return [path for _, path in sorted(places)]


def chosen(checkpoint: Checkpoints | None, resume: Any) -> Path | None:
    """Return the checkpoint to go on from, or None to begin anew.

    Raises
    ------
    FileExistsError
        If the folder has checkpoints that would be mixed with those of a new training.
    FileNotFoundError
        If a checkpoint is named that is not there.
    NotADirectoryError
        If the folder is a file.
    TypeError, ValueError
        If an argument is off.
    """
    if resume is not None and not isinstance(resume, str | os.PathLike):
        raise TypeError(f"resume is {resume!r}; expected 'auto', a checkpoint's file, or None")
    if checkpoint is not None and checkpoint.path.exists() and not checkpoint.path.is_dir():
        raise NotADirectoryError(
            f"checkpoint is {str(checkpoint.path)!r}, a file; expected a folder"
        )
    known = [] if checkpoint is None else found_in(checkpoint.path)
    path = None if resume is None else _named(checkpoint, resume, known)
    if known and (path is None or path.resolve() != known[-1].resolve()):
        raise FileExistsError(
            f"{known[-1].parent} has checkpoints of an earlier training, up to {known[-1].name}, "
            f"which would be mixed with new ones; go on from that one with resume='auto', or "
            f"choose another folder"
        )
    return path


def _named(checkpoint: Checkpoints | None, resume: Any, known: list[Path]) -> Path | None:
    if resume == AUTO:
        if checkpoint is None:
            raise ValueError(
                "resume is 'auto' and there is no checkpoint folder to look in; pass "
                "checkpoint='folder', or name a checkpoint's file"
            )
        return known[-1] if known else None
    path = Path(resume).expanduser()
    if path.is_dir():
        inside = found_in(path)
        if not inside:
            raise FileNotFoundError(
                f"resume is {os.fspath(resume)!r}, a folder without checkpoints"
            )
        return inside[-1]
    if not path.is_file():
        raise FileNotFoundError(f"resume is {os.fspath(resume)!r}, and there is no such file")
    return path
