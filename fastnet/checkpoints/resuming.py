"""How a training with checkpoints begins: with the newest one, or with none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastnet.callbacks import Callback
from fastnet.checkpoints.file import Saved, read
from fastnet.checkpoints.folder import BEST, Checkpoints, chosen, found_in
from fastnet.checkpoints.identity import Identity, identity
from fastnet.checkpoints.saving import Saver
from fastnet.errors import ModelFileError

if TYPE_CHECKING:
    from fastnet.data.targets import Codec
    from fastnet.fitting import Settings, Split
    from fastnet.network import Network


def opened(
    network: Network, checkpoint: Any, resume: Any, split: Split, codec: Codec, settings: Settings
) -> tuple[Saved | None, Saver | None]:
    """Return what a training goes on from, and what writes its checkpoints.

    Parameters
    ----------
    network, split, codec, settings
        As in `identity`.
    checkpoint, resume
        As in `Network.fit`.

    Raises
    ------
    OSError, TypeError, ValueError
        As `chosen`, `read` and `Saver` do, and if the callbacks are not those of then.
    """
    where = checkpoint
    if checkpoint is not None and not isinstance(checkpoint, Checkpoints):
        where = Checkpoints(checkpoint)
    path = chosen(where, resume)
    if where is None and path is None:
        return None, None
    of = identity(network, split, codec, settings)
    saved = None if path is None else _read(path, of, where)
    if saved is None and where is not None and where.keep_best:
        _refuse_to_replace(where.path / BEST, of)
    if saved is not None:
        slots, most = settings.optimizer.slots, settings.steps(len(split.training))
        if len(saved.state) != slots or saved.position.batch > most:
            raise ModelFileError(
                f"{path}: {len(saved.state)} vectors of the optimizer and {saved.position.batch} "
                f"steps of an epoch; expected {slots}, and {most} at most"
            )
        _give_back(settings.callbacks, saved)
    return saved, None if where is None else Saver(network, where, of, settings.callbacks, path)


def _refuse_to_replace(best: Path, of: Identity) -> None:
    """Raise FileExistsError if the best network in the folder is that of another training."""
    if not best.exists():
        return
    try:
        read(best, of)  # this one's, which was ended before its first checkpoint
    except ValueError:
        raise FileExistsError(
            f"{best} is there already, of another training, and would be replaced; take it away, "
            f"or choose another folder"
        ) from None


def _read(path: Path, of: Identity, where: Checkpoints | None) -> Saved:
    try:
        return read(path, of)
    except ModelFileError as error:
        others = [] if where is None else [one for one in found_in(where.path) if one != path]
        if not others:
            raise
        raise ModelFileError(
            f"{error}. If it is damaged, remove it to go on from {others[-1].name} beside it"
        ) from None


def _give_back(callbacks: Sequence[Callback], saved: Saved) -> None:
    """Have callbacks remember what they did when the checkpoint was written."""
    with_state: list[Any] = [one for one in callbacks if hasattr(one, "load_state_dict")]
    then, now = [c["class"] for c in saved.callbacks], [type(c).__name__ for c in with_state]
    if then != now:
        raise ValueError(
            f"{saved.path} has what the callbacks {', '.join(then) or 'none'} remember, and there "
            f"are {', '.join(now) or 'none'}; pass the same ones (EarlyStopping is the command's "
            f"--patience)"
        )
    for callback, remembered in zip(with_state, saved.callbacks, strict=True):
        # What a callback remembers may mean nothing under other settings than it was found with.
        found, mine = (one.get("settings") for one in (remembered["state"], callback.state_dict()))
        if found != mine:
            raise ValueError(
                f"{saved.path} is of another training: the settings of {remembered['class']} were "
                f"{found} and are {mine}; resume with what they were"
            )
        try:
            callback.load_state_dict(remembered["state"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"{saved.path}: the callback {remembered['class']} cannot use its state: {error!r}"
            ) from error
