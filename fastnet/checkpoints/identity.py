"""Which training a checkpoint is of."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet.randomness import SeedProvider

if TYPE_CHECKING:
    from fastnet.data.targets import Codec
    from fastnet.fitting import Settings, Split
    from fastnet.network import Network

Array = np.ndarray[Any, np.dtype[Any]]
# What a training is, by name: two trainings are the same if all of it is.
Identity = dict[str, str]

LONGEST_SHOWN = 160  # characters


def identity(network: Network, split: Split, codec: Codec, settings: Settings) -> Identity:
    """Return what two trainings must have in common to come to the same bits.

    Parameters
    ----------
    network : Network
    split : Split
        The rows, before a preparation.
    codec : Codec
        What is known of their targets.
    settings : Settings
    """
    own = isinstance(network.provider, SeedProvider)
    layers = [
        f"{layer}, weights {layer.weights}, biases {layer.biases}" for layer in network.layers
    ]
    classes = "" if codec.classes is None else f", classes {_digest(codec.classes)}"
    of_rows, validation = {"rows": split.whole}, str(split.share)
    if split.held is not None and split.share is None:  # the rows of a share are of the whole
        of_rows["validation rows"], validation = split.held, "rows"
    found = {
        "layers": "; ".join(layers),
        "loss": str(network.loss),
        "dtype": network.dtype.name,
        "seed": str(network.seed) if own else type(network.provider).__name__,
        "input_scale": repr(network.input_scale),
        "preparation": str(network.preparation),
        "task": codec.task,
        "optimizer": str(settings.optimizer),
        "batch_size": str(settings.batch_size),
        "shuffle": str(settings.shuffle),
        "validation": validation,
    }
    if network.target_preparation is not None:  # of which older checkpoints know nothing
        found["target_preparation"] = str(network.target_preparation)
    for name, part in of_rows.items():
        features = network.executor.on_host(part.features)
        found[f"features of the {name}"] = _digest(features)
        found[f"targets of the {name}"] = _digest(part.targets) + classes
        found[f"weights of the {name}"] = "none" if part.weights is None else _digest(part.weights)
    return found


def _digest(array: Array) -> str:
    """Return shape, dtype and a hash of the content."""
    content = hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return f"{array.shape} {array.dtype}, SHA-256 {content.hexdigest()[:32]}"


def refuse_another(path: Path, saved: Identity, now: Identity) -> None:
    """Raise ValueError with what differs, if a checkpoint is of another training than this."""
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
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
