"""Saving networks and loading them: docs/model-format.md describes the file.

A model file is a safetensors file (`tensorfile`): the parameters layer by layer, the numbers of the
preparation, and one text of metadata, a JSON object with all that is no array. It holds no code.

A file may come from anyone. The metadata is judged as a whole before an array is read, and what it
says together with the arrays before a network is made of them; `save` has its own file judged so,
too, so that what cannot be loaded is not written.
"""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastnet import activations, checks, initializers, losses, tensorfile
from fastnet.activations import Softmax
from fastnet.data.columns import Column, Layout
from fastnet.data.preparation import KINDS, Preparation
from fastnet.data.targets import TASKS, Codec
from fastnet.errors import ModelFileError
from fastnet.execution import registry
from fastnet.layers import MOST_UNITS, Dense, check_network
from fastnet.losses import Loss
from fastnet.network import Network
from fastnet.randomness import MASK, SeedProvider
from fastnet.version import __version__

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

# The version of what stands in the file; it grows with every change, since readers refuse what
# they do not know.
FORMAT = 2
KEY = "fastnet"
LIMITS = tensorfile.Limits(2 << 20, 400_000, 8, "classes or columns")
# Of all class labels together, each as long as the longest: so they lie in an array.
MOST_CHARACTERS = 4 << 20
# The arrays of the preparations of features and of targets; in format 1 there is none of targets.
OF_FEATURES = "preparation.shift", "preparation.scale"
OF_TARGETS = "target_preparation.shift", "target_preparation.scale"
# How the names of arrays begin that are no part of the network: those of checkpoints.
BESIDE = "training."
DTYPES = ("float32", "float64")
LABEL_TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("text", "bytes"),
)


# -- saving ---------------------------------------------------------------------------------------


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network into a file; see `Network.save`."""
    tensorfile.write(path, *parts(network))


def parts(network: Network) -> tuple[dict[str, Array], dict[str, str]]:
    """Return what stands of a network in a file: its arrays and its metadata.

    Raises
    ------
    ValueError
        If it has parts that are not fastnet's own, or what could not be loaded again.
    """
    entries = _entries(network)
    try:
        text = json.dumps(entries, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"the network cannot be written as JSON ({error}); its summary of the training is "
            f"{reprlib.repr(network.training)}, expected texts and finite numbers, or None"
        ) from None
    tensors, metadata = network.state_dict(), {KEY: text}
    for names, prepared in (
        (OF_FEATURES, network.preparation),
        (OF_TARGETS, network.target_preparation),
    ):
        if prepared is not None and prepared.is_learned:
            numbers = (np.asarray(one, np.float64) for one in prepared.numbers)
            tensors |= zip(names, numbers, strict=True)
    _check_arrays(tensors, _described(metadata, "the network"), "the network")
    return tensors, metadata


def _entries(network: Network) -> dict[str, Any]:
    codec, of_targets = network.known_codec, network.target_preparation
    return {
        "format": FORMAT,
        "fastnet_version": __version__,
        "dtype": network.dtype.name,
        "layers": [
            {
                "kind": "dense",
                "inputs": layer.inputs,
                "outputs": layer.outputs,
                "activation": _named(layer.activation, activations.ACTIVATIONS),
                "weights": _named(layer.weights, initializers.INITIALIZERS),
                "biases": _named(layer.biases, initializers.INITIALIZERS),
            }
            for layer in network.layers
        ],
        "loss": _named(network.loss, losses.LOSSES),
        "task": network.task,
        "input_scale": network.input_scale,
        "seed": network.seed,
        "epoch": network.epoch,
        "preparation": None if network.preparation is None else network.preparation.kind,
        "target_preparation": None if of_targets is None else of_targets.kind,
        "targets": None if codec is None else _of_codec(codec),
        "columns": [
            {"name": column.name, "categories": list(column.categories)}
            for column in network.layout.columns
        ],
        "label": network.layout.label,
        "training": network.training,
    }


def _named(thing: Any, known: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Return name and settings of an activation, a loss or an initializer."""
    if type(thing) not in known.values():
        raise ModelFileError(
            f"the network has {thing!r}, which only the program knows that made it; expected one "
            f"of: {', '.join(known)}"
        )
    settings = {name: float(getattr(thing, name)) for name in _settings(type(thing))}
    return {"name": thing.name} | settings


def _settings(kind: type[Any]) -> list[str]:
    return [field.name for field in fields(kind) if field.init] if is_dataclass(kind) else []


def _of_codec(codec: Codec) -> dict[str, Any]:
    return {
        "task": codec.task,
        "multilabel": codec.multilabel,
        "vector": codec.vector,
        "classes": None if codec.classes is None else _of_labels(codec.classes),
    }


def _of_labels(labels: Array) -> dict[str, Any]:
    match labels.dtype.kind:
        case "U":
            return {"dtype": "text", "values": labels.tolist()}
        case "S":
            return {"dtype": "bytes", "values": [one.decode("latin-1") for one in labels.tolist()]}
    return {"dtype": labels.dtype.name, "values": labels.tolist()}


# -- loading --------------------------------------------------------------------------------------


def load(
    path: str | os.PathLike[str],
    *,
    backend: str = "auto",
    dtype: Any = None,
    threads: int | None = None,
    precision: str | None = None,
    allow_nan: bool = False,
) -> Network:
    """Return the network in a model file.

    Nothing in the file is run, whoever it comes from.

    Parameters
    ----------
    path : str or path
        What `Network.save` wrote.
    backend, threads, precision
        As in `Network`; the file may come from another backend.
    dtype : str or dtype, optional
        By default that of the saved network.
    allow_nan : bool, default False
        Whether parameters may be NaN or infinite.

    Returns
    -------
    Network
        With the epochs counted on, and an optimizer that starts anew.

    Raises
    ------
    ModelFileError
        If it is no model file, if it is damaged, or of a later version.
    OSError
        If it cannot be read.
    TypeError, ValueError
        If an argument is off, or if the network does not fit ``dtype``.
    BackendUnavailableError
        If the named backend cannot run here.

    Examples
    --------
    >>> run.network.save("digits.safetensors")
    >>> net = fastnet.load("digits.safetensors", backend="numpy")
    """
    registry.choose(backend)
    checks.truth(allow_nan, "allow_nan")
    # A file of a later format may have arrays that cannot be read.
    _described(tensorfile.read_texts(path), str(Path(path)))
    tensors, metadata = tensorfile.read(path)
    return network_of(
        path,
        tensors,
        metadata,
        backend=backend,
        dtype=dtype,
        threads=threads,
        precision=precision,
        allow_nan=allow_nan,
    )


def network_of(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str],
    *,
    backend: str = "auto",
    dtype: Any = None,
    threads: int | None = None,
    precision: str | None = None,
    allow_nan: bool = False,
) -> Network:
    """Return the network in arrays and metadata that were read from a file; see `load`."""
    where = str(Path(path))
    described = _described(metadata, where)
    _check_arrays(tensors, described, where)
    theta = np.concatenate([tensors[name].ravel() for name in _shapes(described.layers)])
    if not allow_nan and not np.isfinite(theta).all():
        raise ModelFileError(
            f"{where}: parameters are NaN or infinite; expected finite ones, or allow_nan=True to "
            f"load them all the same"
        )
    network = Network(
        described.layers,
        loss=described.loss,
        backend=backend,
        dtype=described.dtype if dtype is None else dtype,
        seed=_Nothing(),
        threads=threads,
        precision=precision,
        input_scale=described.input_scale,
        preparation=_preparation(tensors, described.preparation, OF_FEATURES),
        target_preparation=_preparation(tensors, described.target_preparation, OF_TARGETS),
        task=described.task,
    )
    with np.errstate(all="ignore"):
        converted = theta.astype(network.dtype, copy=False)
    if (np.isfinite(theta) != np.isfinite(converted)).any():
        raise ValueError(
            f"{where}: parameters do not fit {network.dtype}; load it with dtype='float64'"
        )
    network.executor.theta = converted
    network.provider = SeedProvider(described.seed)
    network.epoch = described.epoch
    network.layout = described.layout
    network.training = described.training
    if described.codec is not None:
        network.know(described.codec)
    return network


class _Nothing:
    """A provider for a network whose first parameters are never used: zeros cost nothing."""

    def parameters(self, layers: Sequence[Dense]) -> Array:
        return np.zeros(sum(layer.parameter_count for layer in layers))

    def order(self, epoch: int, rows: int) -> Array:
        raise NotImplementedError


class _Described(NamedTuple):
    """What the metadata says of a network: every entry is right, and none contradicts another."""

    dtype: str
    layers: tuple[Dense, ...]
    loss: Loss
    task: str
    input_scale: float
    seed: int
    epoch: int
    preparation: str | None
    target_preparation: str | None
    codec: Codec | None
    layout: Layout
    training: dict[str, Any] | None


# -- the metadata ---------------------------------------------------------------------------------


def _described(metadata: Mapping[str, str], where: str) -> _Described:
    """Return what the metadata says, or raise ModelFileError."""
    if KEY not in metadata:
        raise ModelFileError(
            f"{where}: there is no network in it, since the metadata {KEY!r} is missing; expected "
            f"what Network.save writes"
        )
    where = f"{where}: the metadata"
    header = Header(where, parsed(metadata[KEY], where))
    written_in = header.check_format(FORMAT)
    header.of("fastnet_version", str)
    dtype = header.text("dtype", DTYPES)
    loss = header.thing("loss", losses.LOSSES)
    layers = header.made(check_network, [_layer(one) for one in header.objects("layers")], loss)
    task = header.text("task", TASKS)
    scale = header.made(checks.real_number, header.number("input_scale"), "'input_scale'", above=0)
    header.made(checks.fits, scale, "'input_scale'", np.dtype(dtype))
    preparation = None if header.is_null("preparation") else header.text("preparation", KINDS)
    if preparation is not None and scale != 1:
        raise header.error(f"'input_scale' is {scale}; expected 1 beside a 'preparation'")
    seed = header.whole("seed", at_least=0, at_most=MASK)
    epoch = header.whole("epoch", at_least=0)
    codec = None if header.is_null("targets") else _codec(header.object("targets"), layers, task)
    of_targets = _target_preparation(header, loss, task, codec) if written_in >= 2 else None
    layout = _layout(header, layers[0].inputs)
    training = header.of("training", dict, or_none=True)
    header.end()
    return _Described(
        dtype,
        layers,
        loss,
        task,
        scale,
        seed,
        epoch,
        preparation,
        of_targets,
        codec,
        layout,
        training,
    )


def parsed(text: str, where: str) -> Any:
    """Return the value of a JSON text, which may come from anyone, or raise ModelFileError."""
    try:
        found = tensorfile.parsed(text.encode(), where, LIMITS, reals=True)
        # Escapes can stand for halves of characters, which nobody could write or show.
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ModelFileError(f"{where} has half a character; expected valid Unicode") from None
    return found


class Header:
    """An object of the metadata, whose entries are checked as they are read.

    Parameters
    ----------
    where : str
        What to call it in messages.
    entries : object
        What stands there.

    Raises
    ------
    ModelFileError
        If it is no object; and by the methods, if an entry is not what they return.
    """

    NAMES: Mapping[type, str] = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }

    def __init__(self, where: str, entries: Any) -> None:
        if not isinstance(entries, dict):
            raise ModelFileError(f"{where} is {reprlib.repr(entries)}; expected an object")
        self.entries, self.where = entries, where
        self.unread = {*entries}
        self.nullable: set[str] = set()

    def error(self, what: str) -> ModelFileError:
        """Return an error that says where it is."""
        return ModelFileError(f"{self.where}: {what}")

    def check_format(self, known: int) -> int:
        """Return the format it is written in; refuse what a later version has written."""
        found = self.whole("format", at_least=1)
        if found > known:
            version = reprlib.repr(self.entries.get("fastnet_version", "of a later version"))
            raise self.error(
                f"written in format {found} by fastnet {version}; fastnet {__version__} reads up "
                f"to format {known}: upgrade it"
            )
        return found

    def end(self) -> None:
        """Refuse entries that nobody has asked for."""
        if self.unread:
            known = ", ".join(name for name in self.entries if name not in self.unread)
            raise self.error(
                f"{reprlib.repr(min(self.unread))} is not known in this format; expected {known}"
            )

    def of(self, name: str, *kinds: type, or_none: bool = False) -> Any:
        """Return an entry of one of these types, the first of which is named in messages."""
        if or_none and self.is_null(name):
            return None
        expected = self.NAMES[kinds[0]] + (", or null" if name in self.nullable else "")
        if name not in self.entries:
            raise self.error(f"{name!r} is missing; expected {expected}")
        value = self.entries[name]
        if type(value) not in kinds:
            raise self.error(f"{name!r} is {reprlib.repr(value)}; expected {expected}")
        self.unread.discard(name)
        return value

    def is_null(self, name: str) -> bool:
        """Whether an entry that may be null is there and is."""
        self.nullable.add(name)
        if name in self.entries and self.entries[name] is None:
            self.unread.discard(name)
            return True
        return False

    def text(self, name: str, known: Iterable[str]) -> str:
        """Return one of the known texts."""
        found: str = self.of(name, str)
        if found not in known:
            names = ", ".join(known)
            raise self.error(f"{name!r} is {reprlib.repr(found)}; expected one of: {names}")
        return found

    def whole(self, name: str, *, at_least: int, at_most: int = 2**63 - 1) -> int:
        """Return an integer."""
        found: int = self.of(name, int)
        if not at_least <= found <= at_most:
            raise self.error(
                f"{name!r} is {found}; expected a whole number from {at_least} to {at_most}"
            )
        return found

    def number(self, name: str) -> float:
        """Return a number."""
        return float(self.of(name, float, int))

    def object(self, name: str) -> Header:
        """Return an object within."""
        return Header(f"{self.where}: {name!r}", self.of(name, dict))

    def objects(self, name: str) -> list[Header]:
        """Return the objects in a list."""
        return [
            Header(f"{self.where}: {name!r}, number {number}", one)
            for number, one in enumerate(self.of(name, list), 1)
        ]

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        found: list[str] = self.of(name, list)
        if not all(isinstance(one, str) for one in found):
            raise self.error(f"{name!r} is {reprlib.repr(found)}; expected a list of texts")
        return found

    def thing(self, name: str, known: Mapping[str, type[T]]) -> T:
        """Return what stands as its name and settings."""
        entry = self.object(name)
        kind = known[entry.text("name", known)]
        found = entry.made(kind, **{setting: entry.number(setting) for setting in _settings(kind)})
        entry.end()
        return found

    def made(self, maker: Callable[..., T], *arguments: Any, **settings: Any) -> T:
        """Return what is made of entries, whose maker knows what they may be."""
        try:
            return maker(*arguments, **settings)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.error(str(error)) from None


def _layer(entry: Header) -> Dense:
    entry.text("kind", ("dense",))
    layer = Dense(
        entry.whole("inputs", at_least=1, at_most=MOST_UNITS),
        entry.whole("outputs", at_least=1, at_most=MOST_UNITS),
        entry.thing("activation", activations.ACTIVATIONS),
        weights=entry.thing("weights", initializers.INITIALIZERS),
        biases=entry.thing("biases", initializers.INITIALIZERS),
    )
    entry.end()
    return layer


def _layout(header: Header, inputs: int) -> Layout:
    columns = []
    for entry in header.objects("columns"):
        categories = entry.texts("categories")
        if categories != sorted({*categories}):
            raise entry.error(
                f"'categories' is {reprlib.repr(categories)}; expected texts that ascend, none "
                f"twice"
            )
        columns.append(Column(entry.of("name", str), tuple(categories)))
        entry.end()
    features = sum(column.features for column in columns)
    if columns and features != inputs:
        raise header.error(f"'columns' make {features} feature(s); expected {inputs}, or no column")
    return Layout(tuple(columns), header.of("label", str))


def _codec(entry: Header, layers: Sequence[Dense], task: str) -> Codec:
    last = layers[-1]
    found = entry.text("task", TASKS[1:] if task == "auto" else (task,))
    multilabel = entry.of("multilabel", bool)
    can_be_several = last.outputs > 1 and not isinstance(last.activation, Softmax)
    if multilabel and not (found == "classification" and can_be_several):
        raise entry.error(
            f"'multilabel' is true, with the task {found} and the last layer {last}; expected "
            f"false, as of quantities, of one output and of softmax"
        )
    if found == "regression" or multilabel:
        if entry.of("classes", dict, or_none=True) is not None:
            raise entry.error("'classes' are given; expected null for quantities and multilabel")
        classes = None
    else:
        classes = _labels(entry.object("classes"), max(last.outputs, 2))
    codec = Codec(found, classes, multilabel, entry.of("vector", bool))  # type: ignore[arg-type]
    entry.end()
    return codec


def _target_preparation(header: Header, loss: Loss, task: str, codec: Codec | None) -> str | None:
    if header.is_null("target_preparation"):
        return None
    kind = header.text("target_preparation", KINDS)
    found = task if codec is None else codec.task
    if found == "classification" or not loss.elementwise:
        raise header.error(
            f"'target_preparation' is {kind!r}, with the task {found} and the loss {loss}; "
            f"expected null, as of classes and of losses of probabilities"
        )
    return kind


def _labels(entry: Header, count: int) -> Array:
    kind, values = entry.text("dtype", LABEL_TYPES), entry.of("values", list)
    if len(values) != count:
        raise entry.error(f"'values' has {len(values)} label(s); expected {count}")
    labels = _of_texts(entry, kind) if kind in ("text", "bytes") else _of_numbers(entry, kind)
    if (labels[1:] <= labels[:-1]).any():
        raise entry.error(
            f"'values' is {reprlib.repr(values)}; expected labels that ascend, none twice"
        )
    entry.end()
    return labels


def _of_numbers(entry: Header, kind: str) -> Array:
    values = entry.of("values", list)
    lowest, highest = (0, 1) if kind == "bool" else (np.iinfo(kind).min, np.iinfo(kind).max)
    wanted = bool if kind == "bool" else int
    if not all(type(value) is wanted and lowest <= value <= highest for value in values):
        raise entry.error(f"'values' is {reprlib.repr(values)}; expected a list of {kind}")
    return np.array(values, kind)


def _of_texts(entry: Header, kind: str) -> Array:
    values = entry.texts("values")
    size = len(values) * max(map(len, values))
    if size > MOST_CHARACTERS:
        raise entry.error(
            f"'values' takes {size} characters when all are as long as the longest; expected at "
            f"most {MOST_CHARACTERS}: shorten them"
        )
    try:
        wanted = [one.encode("latin-1") for one in values] if kind == "bytes" else values
    except UnicodeEncodeError:
        raise entry.error(
            f"'values' is {reprlib.repr(values)}; expected a character from 0 to 255 for each byte"
        ) from None
    labels = np.array(wanted)
    if labels.tolist() != wanted:
        raise entry.error(
            f"'values' is {reprlib.repr(values)}; expected texts without a null at their end"
        )
    return labels


# -- the arrays -----------------------------------------------------------------------------------


def _shapes(layers: Sequence[Dense]) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the arrays of layers, as `Network.state_dict` has them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, layer in enumerate(layers, 1):
        shapes[f"layer_{number}.weights"] = (layer.inputs, layer.outputs)
        shapes[f"layer_{number}.biases"] = (layer.outputs,)
    return shapes


def _check_arrays(tensors: Mapping[str, Array], described: _Described, where: str) -> None:
    """Refuse arrays that are not those of the metadata; those of layers may have any values."""
    expected = {name: (described.dtype, shape) for name, shape in _shapes(described.layers).items()}
    # What is prepared is known only once there were rows.
    preparations = [
        (names, columns)
        for kind, names, columns in (
            (described.preparation, OF_FEATURES, described.layers[0].inputs),
            (described.target_preparation, OF_TARGETS, described.layers[-1].outputs),
        )
        if kind and (described.epoch or {*names} & tensors.keys())
    ]
    for names, columns in preparations:
        expected |= dict.fromkeys(names, ("float64", (columns,)))
    for name, (dtype, shape) in expected.items():
        if name not in tensors:
            raise ModelFileError(f"{where}: the array {name!r} is missing; expected {dtype}{shape}")
        found = tensors[name]
        if (found.dtype.name, found.shape) != (dtype, shape):
            raise ModelFileError(
                f"{where}: the array {name!r} is {found.dtype}{found.shape}; expected, by the "
                f"metadata, {dtype}{shape}"
            )
    if stray := {name for name in tensors.keys() - expected if not name.startswith(BESIDE)}:
        raise ModelFileError(
            f"{where}: the array {reprlib.repr(min(stray))} belongs to nothing in the metadata; "
            f"expected those of {len(described.layers)} layer(s)"
            + (f" and of {len(preparations)} preparation(s)" if preparations else "")
        )
    for names, _ in preparations:
        shift, scale = (tensors[name] for name in names)
        # What is done to features is never undone: 0 takes one out.
        enough = scale >= 0 if names is OF_FEATURES else scale >= np.finfo(np.float64).tiny
        if not (np.isfinite(shift).all() and np.isfinite(scale).all() and enough.all()):
            above = "from 0" if names is OF_FEATURES else "above 0"
            raise ModelFileError(
                f"{where}: {names[0]!r} or {names[1]!r} is off; expected finite numbers, scales "
                f"{above}"
            )


def _preparation(
    tensors: Mapping[str, Array], kind: str | None, names: tuple[str, str]
) -> Preparation | None:
    if kind is None:
        return None
    shift, scale = map(tensors.get, names)
    return Preparation(kind, shift, scale)  # type: ignore[arg-type]
