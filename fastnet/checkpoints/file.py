"""What stands in a checkpoint, out and in: docs/model-format.md describes it."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnet import modelfile, tensorfile
from fastnet.callbacks import Callback
from fastnet.checkpoints.identity import Identity, refuse_another
from fastnet.errors import ModelFileError
from fastnet.execution.executor import Position
from fastnet.history import History

if TYPE_CHECKING:
    from fastnet.network import Network

Array = np.ndarray[Any, np.dtype[Any]]
# The arrays and the metadata of a file.
Parts = tuple[dict[str, Array], dict[str, str]]

KEY = "fastnet.training"
FORMAT = 1
PREFIX = modelfile.BESIDE
STATE = f"{PREFIX}optimizer_state"
SECONDS = f"{PREFIX}seconds"
TOTALS = f"{PREFIX}totals"
HISTORY = f"{PREFIX}history."


class Saved(NamedTuple):
    """Where the training of a checkpoint stood.

    Attributes
    ----------
    path : Path
        The checkpoint's file.
    network : Network
        A network with the parameters.
    history : History
        The epochs that are finished.
    position : Position
        Where in the optimizer's steps and in the epoch it stands.
    state : array
        (slots, parameters) what the optimizer remembers.
    stop_reason : str or None
        Why the training had ended; None where it goes on.
    callbacks : list of dict
        Class name and state of every callback that has one.
    """

    path: Path
    network: Network
    history: History
    position: Position
    state: Array
    stop_reason: str | None
    callbacks: list[dict[str, Any]]


# -- out ------------------------------------------------------------------------------------------


def parts(
    network: Network,
    of: Identity,
    callbacks: Sequence[Callback],
    history: History,
    steps: int = 0,
    stop_reason: str | None = None,
) -> Parts:
    """Return what stands in the file, judged so that it can be read again.

    Parameters
    ----------
    network : Network
    of : Identity
        Which training it is.
    callbacks : sequence of callables
    history : History
        The epochs that are finished.
    steps : int, default 0
        Those of the next epoch that are done.
    stop_reason : str or None
        As in `Saved`.

    Raises
    ------
    ValueError
        If the network or a callback has what a file cannot keep.
    """
    position, state = network.executor.position(), network.executor.optimizer_state
    tensors, metadata = modelfile.parts(network)
    columns = history.to_dict()
    tensors |= {
        STATE: state,
        SECONDS: np.array(history.seconds),
        TOTALS: np.array([position.loss, position.hits]),
        **{HISTORY + name: np.array(values, float) for name, values in columns.items()},
    }
    remembered: list[dict[str, Any]] = []
    for callback in callbacks:
        if hasattr(callback, "state_dict"):
            plain, arrays = _parted(callback)
            prefix = _prefix(len(remembered))
            tensors |= {prefix + name: array for name, array in arrays.items()}
            remembered.append({"class": type(callback).__name__, "state": plain})
    header = {
        "format": FORMAT,
        "identity": of,
        "rows": history.rows,
        "optimizer_step": position.step,
        "steps": steps,
        "stop_reason": stop_reason,
        "history": list(columns),
        "callbacks": remembered,
    }
    text = json.dumps(header, allow_nan=False, ensure_ascii=False)
    modelfile.parsed(text, "the state of the callbacks")  # as `read` will
    return tensors, metadata | {KEY: text}


def _prefix(number: int) -> str:
    """Return how the names of a callback's arrays begin."""
    return f"{PREFIX}callback_{number}."


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


# -- in -------------------------------------------------------------------------------------------


def read(path: Path, now: Identity) -> Saved:
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
    of = header.of("identity", dict)
    refuse_another(path, {str(name): str(value) for name, value in of.items()}, now)
    network = modelfile.network_of(path, tensors, metadata, backend="numpy")
    state = tensors.get(STATE)
    if state is None or state.ndim != 2 or state.shape[1] != network.parameter_count:
        raise header.error(f"the array {STATE!r} is missing, or of another shape")
    seconds = _array(header, tensors, SECONDS)
    history = History(header.whole("rows", at_least=1))
    history.extend(_columns(header, tensors, len(seconds)), seconds.tolist())
    loss, hits = _array(header, tensors, TOTALS, 2).tolist()
    step, batch = (header.whole(name, at_least=0) for name in ("optimizer_step", "steps"))
    position = Position(step, batch, loss, hits)
    callbacks = []
    for number, entry in enumerate(header.objects("callbacks")):
        state_of, prefix = dict(entry.of("state", dict)), _prefix(number)
        arrays = {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}
        callbacks.append({"class": entry.of("class", str), "state": state_of | arrays})
    reason = header.of("stop_reason", str, or_none=True)
    return Saved(path, network, history, position, state, reason, callbacks)


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
