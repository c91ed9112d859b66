"""Checkpoints: from the newest one a training that was ended goes on to the same bits.

A checkpoint is a model file (`modelfile`) that has beside the network what the training needs: the
optimizer's state and step, the history, where in the epoch it stands, and what callbacks remember.
The order of rows follows from seed and epoch and is not in it. It also says of which training it
is, so that no other one goes on from it: `Identity`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import reprlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnet import atomic, checks, modelfile, tensorfile
from fastnet.callbacks import Callback
from fastnet.errors import ModelFileError
from fastnet.execution.executor import Position
from fastnet.history import History
from fastnet.randomness import SeedProvider

if TYPE_CHECKING:
    from fastnet.data.targets import Codec
    from fastnet.fitting import Rows, Settings
    from fastnet.network import Network

Array = np.ndarray[Any, np.dtype[Any]]
# What a training is, by name: two trainings are the same if all of it is.
Identity = dict[str, str]

KEY = "fastnet.training"
FORMAT = 1
PREFIX = modelfile.BESIDE
STATE = f"{PREFIX}optimizer_state"
SECONDS = f"{PREFIX}seconds"
HISTORY = f"{PREFIX}history."
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
        loss (training loss, where there are no validation rows).

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


class Start(NamedTuple):
    """Where a training begins.

    Attributes
    ----------
    network : Network or None
        A network with the parameters to begin with; None for those that the network has.
    history : History
        The epochs that are finished.
    position : Position or None
        Where in the optimizer's steps and in the epoch it stands; None at the very beginning.
    state : array or None
        (slots, parameters) what the optimizer remembers.
    stop_reason : str or None
        Why the training had ended; None where it goes on.
    callbacks : list of dict
        Class name and state of every callback that has one.
    path : Path or None
        The checkpoint's file.
    """

    network: Network | None
    history: History
    position: Position | None
    state: Array | None
    stop_reason: str | None
    callbacks: list[dict[str, Any]]
    path: Path | None


# -- which training it is -------------------------------------------------------------------------


def identity(
    network: Network,
    rows: Rows,
    codec: Codec,
    validation: Any,
    held: Rows | None,
    settings: Settings,
) -> Identity:
    """Return what two trainings must have in common to come to the same bits.

    Parameters
    ----------
    network : Network
    rows : Rows
        All rows that ``fit`` was given, as they came.
    codec : Codec
        What is known of their targets.
    validation
        As ``fit`` was given it.
    held : Rows or None
        The validation rows.
    settings : Settings
    """
    own = isinstance(network.provider, SeedProvider)
    layers = [
        f"{layer}, weights {layer.weights}, biases {layer.biases}" for layer in network.layers
    ]
    classes = "" if codec.classes is None else f", classes {_digest(codec.classes)}"
    of_rows = (
        {"rows": rows}
        if held is None or _is_share(validation)
        else {"rows": rows, "validation rows": held}
    )
    found = {
        "layers": "; ".join(layers),
        "loss": str(network.loss),
        "dtype": network.dtype.name,
        "seed": str(network.seed) if own else type(network.provider).__name__,
        "input_scale": repr(network.input_scale),
        "preparation": str(network.preparation),
        "target_preparation": str(network.target_preparation),
        "task": codec.task,
        "optimizer": str(settings.optimizer),
        "batch_size": str(settings.batch_size),
        "shuffle": str(settings.shuffle),
        "validation": repr(validation) if validation is None or _is_share(validation) else "rows",
    }
    for name, part in of_rows.items():
        features = network.executor.on_host(part.features)
        found[f"features of the {name}"] = _digest(features)
        found[f"targets of the {name}"] = _digest(part.targets) + classes
        found[f"weights of the {name}"] = "none" if part.weights is None else _digest(part.weights)
    return found


def _is_share(validation: Any) -> bool:
    return not isinstance(validation, tuple | list)


def _digest(array: Array) -> str:
    """Return shape, dtype and a hash of the content."""
    content = hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return f"{array.shape} {array.dtype}, SHA-256 {content.hexdigest()[:32]}"


def _refuse_another(path: Path, saved: Identity, now: Identity) -> None:
    differences = [
        f"{name} was {_short(saved.get(name))} and is {_short(now.get(name))}"
        for name in dict.fromkeys([*saved, *now])
        if saved.get(name) != now.get(name)
    ]
    if differences:
        raise ValueError(
            f"{path} is of another training: {'; '.join(differences)}. Resume with what it had, or "
            f"begin anew in another folder"
        )


def _short(text: str | None) -> str:
    if text is None:
        return "not there"
    return text if len(text) <= 160 else f"{text[:160]}..."


# -- finding and reading --------------------------------------------------------------------------


def found_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest last."""
    if not folder.is_dir():
        return []
    numbered = [(NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    places = [((int(m[1]), int(m[2] or 0)), path) for m, path in numbered if m is not None]
    return [path for _, path in sorted(places)]


def beginning() -> Start:
    """Return the start of a training that begins anew."""
    return Start(None, History(), None, None, None, [], None)


def chosen(checkpoint: Checkpoints | None, resume: Any) -> Path | None:
    """Return the checkpoint to go on from, or None to begin anew.

    Raises
    ------
    FileExistsError
        If the folder has checkpoints that would be mixed with those of a new training.
    FileNotFoundError
        If a checkpoint is named that is not there.
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


def read(path: Path, now: Identity) -> Start:
    """Return where the training of a checkpoint stood.

    Raises
    ------
    ModelFileError
        If the file is damaged or no checkpoint.
    ValueError
        If it is of another training; the message names what differs.
    """
    tensors, metadata = tensorfile.read(path)
    if KEY not in metadata:
        raise ModelFileError(f"{path} is a model and no checkpoint; load it with fastnet.load")
    header = modelfile.Header(f"{path}: {KEY}", modelfile.parsed(metadata[KEY], f"{path}: {KEY}"))
    header.check_format(FORMAT)
    saved = header.of("identity", dict)
    _refuse_another(path, {str(name): str(value) for name, value in saved.items()}, now)
    network = modelfile.network_of(path, tensors, metadata, backend="numpy")
    state = tensors.get(STATE)
    if state is None or state.ndim != 2 or state.shape[1] != network.parameter_count:
        raise header.error(f"the array {STATE!r} is missing, or of another shape")
    seconds = _array(header, tensors, SECONDS)
    history = History(header.whole("rows", at_least=1))
    history.extend(_columns(header, tensors, len(seconds)), seconds.tolist())
    loss, hits = _array(header, tensors, f"{PREFIX}totals", 2).tolist()
    step, batch = (header.whole(name, at_least=0) for name in ("optimizer_step", "steps"))
    position = Position(step, batch, loss, hits)
    callbacks = []
    for number, entry in enumerate(header.objects("callbacks")):
        state_of = dict(entry.of("state", dict))
        prefix = f"{PREFIX}callback_{number}."
        arrays = {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}
        callbacks.append({"class": entry.of("class", str), "state": state_of | arrays})
    reason = header.of("stop_reason", str, or_none=True)
    return Start(network, history, position, state, reason, callbacks, path)


def _columns(
    header: modelfile.Header, tensors: dict[str, Array], epochs: int
) -> dict[str, list[float]]:
    """Return the history's columns; epochs are whole numbers again."""
    columns = {}
    for name in header.texts("history"):
        values = _array(header, tensors, HISTORY + name, epochs)
        columns[name] = values.astype(np.int64).tolist() if name == "epoch" else values.tolist()
    return columns


def _array(
    header: modelfile.Header, tensors: dict[str, Array], name: str, length: int | None = None
) -> Array:
    """Return a vector of finite numbers."""
    array = tensors.get(name)
    if array is None or array.ndim != 1 or length not in (None, len(array)):
        raise header.error(f"the array {name!r} is missing, or of another shape")
    if not np.isfinite(array).all():
        raise header.error(f"the array {name!r} has numbers that are NaN or infinite")
    return array


def opened(
    network: Network,
    checkpoint: Any,
    resume: Any,
    rows: Rows,
    codec: Codec,
    validation: Any,
    held: Rows | None,
    settings: Settings,
) -> tuple[Start, Saver | None]:
    """Return where a training begins, and what writes its checkpoints.

    Parameters
    ----------
    network, rows, codec, validation, held, settings
        As in `identity`.
    checkpoint, resume
        As in `Network.fit`.

    Raises
    ------
    OSError, TypeError, ValueError
        As `chosen`, `read` and `give_back` do.
    """
    where = checkpoint
    if checkpoint is not None and not isinstance(checkpoint, Checkpoints):
        where = Checkpoints(checkpoint)
    path = chosen(where, resume)
    if where is None and path is None:
        return beginning(), None
    of = identity(network, rows, codec, validation, held, settings)
    start = beginning() if path is None else _read(path, of, where)
    if start.state is not None and start.position is not None:
        batch = min(settings.batch_size or len(rows), len(rows))
        most = -(-len(rows) // batch)
        if len(start.state) != settings.optimizer.slots or start.position.batch > most:
            raise ModelFileError(
                f"{path}: {len(start.state)} vectors of the optimizer and {start.position.batch} "
                f"steps of an epoch; expected {settings.optimizer.slots}, and {most} at most"
            )
        give_back(settings.callbacks, start)
    if where is None:
        return start, None
    saver = Saver(network, where, of, settings.callbacks)
    saver.newest = path
    return start, saver


def _read(path: Path, of: Identity, where: Checkpoints | None) -> Start:
    try:
        return read(path, of)
    except ModelFileError as error:
        others = [] if where is None else [one for one in found_in(where.path) if one != path]
        if not others:
            raise
        raise ModelFileError(
            f"{error}. If it is damaged, remove it to go on from {others[-1].name} beside it"
        ) from None


def give_back(callbacks: Sequence[Callback], start: Start) -> None:
    """Have callbacks remember what they did when the checkpoint was written.

    Raises
    ------
    ValueError
        If these are not the callbacks of then.
    """
    with_state = [callback for callback in callbacks if hasattr(callback, "load_state_dict")]
    then, now = [c["class"] for c in start.callbacks], [type(c).__name__ for c in with_state]
    if then != now:
        raise ValueError(
            f"{start.path} has what the callbacks {', '.join(then) or 'none'} remember, and there "
            f"are {', '.join(now) or 'none'}; pass the same ones"
        )
    for callback, saved in zip(with_state, start.callbacks, strict=True):
        try:
            callback.load_state_dict(saved["state"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"{start.path}: the callback {saved['class']} cannot use its state: {error!r}"
            ) from error


# -- writing --------------------------------------------------------------------------------------


class Saver:
    """Writes a training's checkpoints.

    Parameters
    ----------
    network : Network
    where : Checkpoints
    of : Identity
        Which training it is.
    callbacks : sequence of callables
    """

    def __init__(
        self, network: Network, where: Checkpoints, of: Identity, callbacks: Sequence[Callback]
    ) -> None:
        self.network, self.where, self.identity, self.callbacks = network, where, of, callbacks
        where.path.mkdir(parents=True, exist_ok=True)
        # Before an hour of training, not after it:
        atomic.check(where.path / BEST)
        self._content(History(1), 0, None)
        self.newest: Path | None = None
        self._mine = found_in(where.path)  # which the training goes on from, or none
        self._written = time.monotonic()

    def epoch_done(self, history: History, stop_reason: str | None, *, is_last: bool) -> None:
        """Write a checkpoint if one is due after this epoch."""
        if self.where.keep_best and _is_best(history):
            self._write(self.where.path / BEST, history, 0, stop_reason)
        every = self.where.every_epochs
        is_due = every is not None and len(history.seconds) % every == 0
        if is_last or is_due or self._minutes_are_over():
            name = f"epoch-{self.network.epoch:06d}.safetensors"
            self._write_newest(name, history, 0, stop_reason)

    def within_epoch(self, history: History, steps: int, *, at_once: bool = False) -> None:
        """Write a checkpoint after so many steps of an epoch, if its minutes are over."""
        # A loss is looked at in every step, the parameters at the end of an epoch alone.
        if (at_once or self._minutes_are_over()) and self.network.is_finite():
            name = f"epoch-{self.network.epoch:06d}-step-{steps:06d}.safetensors"
            self._write_newest(name, history, steps, None)

    def _minutes_are_over(self) -> bool:
        minutes = self.where.every_minutes
        return minutes is not None and time.monotonic() - self._written >= 60 * minutes

    def _write_newest(
        self, name: str, history: History, steps: int, stop_reason: str | None
    ) -> None:
        self._write(self.where.path / name, history, steps, stop_reason)
        self.newest = self.where.path / name
        self._written = time.monotonic()
        # Of this training alone: another one may have begun in the same folder at the same time.
        self._mine = [path for path in self._mine if path.name != name]
        self._mine.append(self.newest)
        for old in self._mine[: -self.where.keep]:
            old.unlink(missing_ok=True)
        del self._mine[: -self.where.keep]

    def _write(self, path: Path, history: History, steps: int, stop_reason: str | None) -> None:
        content = self._content(history, steps, stop_reason)
        try:
            tensorfile.write(path, *content)
        except OSError as error:
            is_there = self.newest is not None and self.newest.exists()
            kept = f"{self.newest} is whole" if is_there else "there is none before it"
            raise OSError(
                error.errno,
                f"the checkpoint cannot be written ({error.strerror}); {kept}: mend the cause and "
                f"resume",
                str(path),
            ) from error

    def _content(
        self, history: History, steps: int, stop_reason: str | None
    ) -> tuple[dict[str, Array], dict[str, str]]:
        """Return the arrays and texts of a checkpoint, which could be read again."""
        network = self.network
        position, state = network.executor.position(), network.executor.optimizer_state
        tensors, metadata = modelfile.parts(network)
        columns = history.to_dict()
        tensors |= {
            STATE: state,
            SECONDS: np.array(history.seconds),
            f"{PREFIX}totals": np.array([position.loss, position.hits]),
            **{HISTORY + name: np.array(values, float) for name, values in columns.items()},
        }
        callbacks: list[dict[str, Any]] = []
        for callback in self.callbacks:
            if hasattr(callback, "state_dict"):
                plain, arrays = _parted(callback)
                prefix = f"{PREFIX}callback_{len(callbacks)}."
                tensors |= {prefix + name: array for name, array in arrays.items()}
                callbacks.append({"class": type(callback).__name__, "state": plain})
        header = {
            "format": FORMAT,
            "identity": self.identity,
            "rows": history.rows,
            "optimizer_step": position.step,
            "steps": steps,
            "stop_reason": stop_reason,
            "history": list(columns),
            "callbacks": callbacks,
        }
        text = json.dumps(header, allow_nan=False, ensure_ascii=False)
        modelfile.parsed(text, "the state of the callbacks")  # as `read` will
        return tensors, metadata | {KEY: text}


def _is_best(history: History) -> bool:
    losses = history["validation_loss" if "validation_loss" in history else "train_loss"]
    return losses[-1] <= min(losses) and losses.index(losses[-1]) == len(losses) - 1


def _parted(callback: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what of a callback's state is plain, and what is arrays."""
    plain: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for name, value in callback.state_dict().items():
        if isinstance(value, np.ndarray) and value.dtype in (np.float32, np.float64):
            arrays[name] = value
            continue
        plain[name] = value.item() if isinstance(value, np.generic) else value
        try:
            json.dumps(plain[name], allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"the callback {type(callback).__name__} remembers {name!r} as "
                f"{reprlib.repr(value)}, which a checkpoint cannot keep ({error}); expected finite "
                f"numbers, texts, None, and arrays of floats"
            ) from None
    return plain, arrays
