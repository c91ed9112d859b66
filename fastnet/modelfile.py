"""Saving networks and loading them: docs/model-format.md describes the file.

A model file is a safetensors file (`tensorfile`): the parameters layer by layer, the numbers of the
preparation, and one text of metadata, a JSON object with all that is no array. It holds no code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

from fastnet import activations, initializers, losses, tensorfile
from fastnet.data.columns import Column, Layout
from fastnet.data.preparation import KINDS, Preparation
from fastnet.data.targets import TASKS, Codec
from fastnet.errors import ModelFileError
from fastnet.execution import registry
from fastnet.layers import Dense
from fastnet.network import Network
from fastnet.version import __version__

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

# The version of what stands in the metadata; it grows when older readers could not understand it.
FORMAT = 1
KEY = "fastnet"
# In characters: a list within it takes some twenty times the memory of the two that write it.
LONGEST = 1 << 21
SHIFT, SCALE = "preparation.shift", "preparation.scale"
# The dtypes of class labels; text and bytes have the length of the longest.
LABEL_TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("text", "bytes"),
)


# -- saving ---------------------------------------------------------------------------------------


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network into a file; see `Network.save`."""
    text = json.dumps(_described(network), allow_nan=False, ensure_ascii=False)
    if len(text) > LONGEST:
        raise ValueError(
            f"the network's classes and columns take {len(text):,} characters; expected at most "
            f"{LONGEST:,}: shorten their names"
        )
    tensorfile.write(path, _tensors(network), {KEY: text})


def _tensors(network: Network) -> dict[str, Array]:
    tensors = network.state_dict()
    prepared = network.preparation
    if prepared is not None and prepared.shift is not None and prepared.scale is not None:
        tensors |= {SHIFT: prepared.shift, SCALE: prepared.scale}
    return tensors


def _described(network: Network) -> dict[str, Any]:
    codec = network.known_codec
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
        "targets": None if codec is None else _of_codec(codec),
        "columns": [
            {"name": column.name}
            | ({"categories": list(column.categories)} if column.categories else {})
            for column in network.layout.columns
        ],
        "label": network.layout.label,
        "training": network.training,
    }


def _named(thing: Any, known: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Return name and settings of an activation, a loss or an initializer."""
    if type(thing) is not known.get(thing.name):
        raise ValueError(
            f"the network has {thing!r}, which only the program knows that made it; expected one "
            f"of: {', '.join(known)}"
        )
    settings = [f.name for f in fields(thing) if f.init] if is_dataclass(thing) else []
    return {"name": thing.name} | {name: getattr(thing, name) for name in settings}


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
        As in `Network`; the file does not say on which backend it was trained.
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
    BackendUnavailableError
        If the named backend cannot run here.

    Examples
    --------
    >>> run.network.save("digits.safetensors")
    >>> net = fastnet.load("digits.safetensors", backend="numpy")
    """
    registry.choose(backend)
    tensors, metadata = tensorfile.read(path)
    if KEY not in metadata:
        raise ModelFileError(
            f"{os.fspath(path)} has arrays, but no network: the metadata {KEY!r} is missing; "
            f"expected what Network.save writes"
        )
    header = _Header(f"{os.fspath(path)}: the metadata", _parsed(metadata[KEY], path))
    header.check_format()
    layers = [_layer(layer) for layer in header.objects("layers", at_least=1)]
    parameters = _parameters(tensors, layers, str(os.fspath(path)))
    prepared = _preparation(header, tensors, layers[0].inputs)
    stray = sorted(set(tensors) - {*_expected(layers), SHIFT, SCALE})
    if stray:
        raise header.error(f"{stray[0]!r} is an array of no layer")
    if not allow_nan and not np.isfinite(parameters).all():
        raise ModelFileError(
            f"{os.fspath(path)} has parameters that are NaN or infinite; pass allow_nan=True to "
            f"load it all the same"
        )
    network = header.made(
        Network,
        layers,
        loss=header.thing("loss", losses.LOSSES),
        backend=backend,
        dtype=header.text("dtype", ("float32", "float64")) if dtype is None else dtype,
        seed=header.whole("seed", at_least=0),
        threads=threads,
        precision=precision,
        input_scale=header.number("input_scale"),
        preparation=prepared,
        task=header.text("task", TASKS),
    )
    with np.errstate(over="ignore"):
        theta = parameters.astype(network.dtype)
    if np.isfinite(parameters).all() and not np.isfinite(theta).all():
        raise ValueError(
            f"{os.fspath(path)} has parameters that do not fit {network.dtype}; load it with "
            f"dtype='float64'"
        )
    network.executor.theta = theta
    network.epoch = header.whole("epoch", at_least=0)
    network.layout = _layout(header, layers[0].inputs)
    network.training = header.of("training", dict, or_none=True)
    codec = _codec(header, layers[-1].outputs)
    if codec is not None:
        network.know(codec)
    return network


def _parsed(text: str, path: Any) -> dict[str, Any]:
    where = f"{os.fspath(path)}: the metadata"
    if len(text) > LONGEST:
        raise ModelFileError(f"{where} has {len(text):,} characters; expected at most {LONGEST:,}")
    try:
        found = json.loads(text, object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{where} is no JSON that fastnet writes: {error}") from None
    if not isinstance(found, dict):
        raise ModelFileError(f"{where} is {type(found).__name__}; expected an object")
    return found


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


class _Header:
    """An object of the metadata, whose entries are checked as they are read."""

    def __init__(self, where: str, entries: Mapping[str, Any]) -> None:
        self.where, self.entries = where, entries

    def error(self, what: str) -> ModelFileError:
        return ModelFileError(f"{self.where}: {what}")

    def check_format(self) -> None:
        found = self.whole("format", at_least=1)
        if found > FORMAT:
            raise self.error(
                f"written in format {found} by fastnet {self.of('fastnet_version', str)}; fastnet "
                f"{__version__} reads up to format {FORMAT}: upgrade it"
            )

    def of(self, name: str, kind: type[T], *, or_none: bool = False) -> Any:
        if name not in self.entries:
            raise self.error(f"{name!r} is missing")
        value = self.entries[name]
        is_other = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if is_other and not (or_none and value is None):
            shown = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:60]}..."
            raise self.error(f"{name!r} is {shown}; expected {kind.__name__}")
        return value

    def text(self, name: str, known: tuple[str, ...]) -> str:
        found: str = self.of(name, str)
        if found not in known:
            raise self.error(f"{name!r} is {found[:60]!r}; expected one of: {', '.join(known)}")
        return found

    def whole(self, name: str, *, at_least: int) -> int:
        found: int = self.of(name, int)
        if not at_least <= found < 2**63:
            raise self.error(f"{name!r} is {found}; expected {at_least} or larger")
        return found

    def number(self, name: str) -> float:
        value = self.entries.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return float(self.whole(name, at_least=-(2**53)))
        number: float = self.of(name, float)
        return number

    def objects(self, name: str, *, at_least: int = 0) -> list[_Header]:
        found = self.of(name, list)
        if len(found) < at_least or not all(isinstance(one, dict) for one in found):
            raise self.error(f"{name!r} is no list of {at_least} or more objects")
        return [
            _Header(f"{self.where}: {name}, number {number}", one)
            for number, one in enumerate(found, 1)
        ]

    def object(self, name: str) -> _Header | None:
        found = self.of(name, dict, or_none=True)
        return None if found is None else _Header(f"{self.where}: {name}", found)

    def texts(self, name: str) -> list[str]:
        found: list[str] = self.of(name, list)
        if not all(isinstance(one, str) for one in found):
            raise self.error(f"{name!r} is no list of texts")
        return found

    def thing(self, name: str, known: Mapping[str, type[T]]) -> T:
        """Return an object that stands as its name and settings."""
        settings = dict(self.of(name, dict))
        kind = settings.pop("name", None)
        if not isinstance(kind, str) or kind not in known:
            raise self.error(f"{name!r} is {str(kind)[:60]!r}; expected one of: {', '.join(known)}")
        if any(isinstance(value, bool | str | list | dict) for value in settings.values()):
            raise self.error(f"{name!r} has settings that are no numbers")
        return self.made(known[kind], **settings)

    def made(self, maker: Callable[..., T], *arguments: Any, **settings: Any) -> T:
        """Return what is made of entries, whose maker knows what they may be."""
        try:
            return maker(*arguments, **settings)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.error(str(error)) from None


def _layer(entry: _Header) -> Dense:
    entry.text("kind", ("dense",))
    return entry.made(
        Dense,
        entry.whole("inputs", at_least=1),
        entry.whole("outputs", at_least=1),
        entry.thing("activation", activations.ACTIVATIONS),
        weights=entry.thing("weights", initializers.INITIALIZERS),
        biases=entry.thing("biases", initializers.INITIALIZERS),
    )


def _expected(layers: list[Dense]) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the arrays of layers, as `Network.state_dict` has them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, layer in enumerate(layers, 1):
        shapes[f"layer_{number}.weights"] = (layer.inputs, layer.outputs)
        shapes[f"layer_{number}.biases"] = (layer.outputs,)
    return shapes


def _parameters(tensors: Mapping[str, Array], layers: list[Dense], path: str) -> Array:
    """Return the flat parameters; the arrays must have the layers' shapes before any is made."""
    parts = [_array(tensors, name, shape, path) for name, shape in _expected(layers).items()]
    return np.concatenate([part.ravel() for part in parts])


def _array(tensors: Mapping[str, Array], name: str, shape: tuple[int, ...], path: str) -> Array:
    if name not in tensors:
        raise ModelFileError(f"{path}: the array {name!r} is missing")
    if tensors[name].shape != shape:
        raise ModelFileError(
            f"{path}: the array {name!r} has shape {tensors[name].shape}; expected {shape}"
        )
    return tensors[name]


def _preparation(header: _Header, tensors: Mapping[str, Array], inputs: int) -> Preparation | None:
    kind = header.of("preparation", str, or_none=True)
    has_numbers = SHIFT in tensors or SCALE in tensors
    if kind is None:
        if has_numbers:
            raise header.error("there are numbers of a preparation, and none is named")
        return None
    empty = Preparation(header.text("preparation", KINDS))  # type: ignore[arg-type]
    if not has_numbers:
        return empty
    shift, scale = (_array(tensors, name, (inputs,), header.where) for name in (SHIFT, SCALE))
    if not (np.isfinite(shift).all() and np.isfinite(scale).all()):
        raise header.error("the preparation has numbers that are NaN or infinite")
    return Preparation(empty.kind, shift.astype(np.float64), scale.astype(np.float64))


def _layout(header: _Header, inputs: int) -> Layout:
    columns = []
    for entry in header.objects("columns"):
        categories = tuple(entry.texts("categories")) if "categories" in entry.entries else ()
        if list(categories) != sorted({*categories}):
            raise entry.error("'categories' is not sorted, or has a text twice")
        columns.append(Column(entry.of("name", str), categories))
    if columns and sum(column.features for column in columns) != inputs:
        raise header.error(f"'columns' makes another number of features than {inputs}")
    return Layout(tuple(columns), header.of("label", str))


def _codec(header: _Header, outputs: int) -> Codec | None:
    entry = header.object("targets")
    if entry is None:
        return None
    task, multilabel = entry.text("task", TASKS[1:]), entry.of("multilabel", bool)
    labels = entry.object("classes")
    classes = None if labels is None else _labels(labels)
    has_classes = task == "classification" and not multilabel
    if has_classes != (classes is not None):
        raise entry.error("task, multilabel and classes contradict each other")
    if classes is not None and len(classes) != max(outputs, 2):
        raise entry.error(
            f"there are {len(classes)} classes, and the network has {outputs} output(s)"
        )
    return Codec(task, classes, multilabel, entry.of("vector", bool))  # type: ignore[arg-type]


def _labels(entry: _Header) -> Array:
    kind, values = entry.text("dtype", LABEL_TYPES), entry.of("values", list)
    if kind in ("text", "bytes"):
        texts = entry.texts("values")
        try:
            labels = np.array([t.encode("latin-1") for t in texts] if kind == "bytes" else texts)
        except UnicodeEncodeError:
            raise entry.error("'values' has texts that are no bytes") from None
    elif not all(type(value) is (bool if kind == "bool" else int) for value in values):
        raise entry.error(f"'values' is no list of {kind}")
    else:
        labels = entry.made(np.array, values, dtype=kind)
    if len(labels) != len(values) or (labels[1:] <= labels[:-1]).any():
        raise entry.error("'values' is not sorted, or has a label twice")
    return labels
