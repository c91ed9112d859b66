"""Damaged and hostile model files: `fastnet.load` has to refuse them, or make the right network.

``python tests/fuzz_modelfile.py 50000 [seed]`` makes so many of them: first every byte of a header
cut off and flipped, then by chance. It says what became of them, in what time and memory.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import random
import struct
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for use as a script

import fuzz_tensorfile as container

import fastnet
from fastnet import Dense, ModelFileError, Network, modelfile
from fastnet.data.columns import Column, Layout

SLOWEST = 5.0  # seconds that a file may take
ROWS = np.random.default_rng(0).normal(size=(12, 3))
TEXTS = np.array(["ash", "birch", "ürm"])
TABLE = Layout((Column("size"), Column("kind", ("flat", "round"))), "tree")
CODES = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}


def trained(last: Dense, loss: str, y: Any, layout: Layout | None = None, **more: Any) -> Network:
    net = Network([Dense(3, 2, "elu(0.5)"), last], loss=loss, backend="numpy", **more)
    net.fit(ROWS, y, epochs=2, progress=False)
    if layout is not None:
        net.layout = layout
    return net


@functools.cache
def valid() -> list[bytes]:
    """Some good files."""
    turns = np.arange(12) % 3
    softmax, one = Dense(2, 3, "softmax"), Dense(2, 1, "sigmoid", weights="uniform(-1, 1)")
    networks = [
        trained(
            softmax, "log_loss", TEXTS[turns], TABLE, preparation="standard", task="classification"
        ),
        trained(one, "log_loss", turns > 0, dtype="float64", input_scale=0.5, seed=2**64 - 1),
        trained(softmax, "categorical_crossentropy", turns.astype(np.int8)),
        trained(Dense(2, 2, "tanh"), "mae", (ROWS > 0)[:, :2]),
        trained(Dense(2, 1), "mse", ROWS[:, 0]),
        trained(
            Dense(2, 2), "mse", ROWS[:, :2], preparation="min_max", target_preparation="standard"
        ),
        trained(softmax, "mse", np.array([b"\xff", b"a", b""])[turns]),
        Network([Dense(3, 2, "softmax")], loss="mse", backend="numpy", preparation="min_max"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        contents = []
        for network in networks:
            network.save(path)
            contents.append(path.read_bytes())
    return contents


# -- taking files apart, and putting them together ------------------------------------------------


def unpacked(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return metadata and arrays of a good file."""
    header, data = container.unpacked(content)
    metadata = json.loads(header.pop("__metadata__")["fastnet"])
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        dtype = np.float32 if entry["dtype"] == "F32" else np.float64
        arrays[name] = np.frombuffer(data[begin:end], dtype).reshape(entry["shape"])
    return metadata, arrays


def packed(metadata: Any, arrays: dict[str, np.ndarray]) -> bytes:
    """A file whose container is right; metadata that is a text stands as it is."""
    text = metadata if isinstance(metadata, str) else json.dumps(metadata, ensure_ascii=False)
    header: dict[str, Any] = {"__metadata__": {"fastnet": text}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = container.entry(CODES[array.dtype], list(array.shape), begin, end)
    data = b"".join(array.tobytes() for array in arrays.values())
    return container.packed(json.dumps(header, ensure_ascii=False), data)


# -- mutations ------------------------------------------------------------------------------------

# What stands somewhere in the metadata instead of what belongs there.
ODD: list[Any] = [
    *container.ODD, -0.0, -0.5, 0.5, 1e-45, 1e-300, 5e-324, 1e39, 4, 5, 12, 64, 128, 256, 2**16,
    2**31 - 1, "dense", "relu", "linear", "softmax", "sigmoid", "elu", "leaky_relu", "normal",
    "uniform", "zeros", "mse", "log_loss", "categorical_crossentropy", "auto", "classification",
    "regression", "min_max", "standard", "float32", "float64", "float16", "bool", "int8", "uint8",
    "int64", "uint64", "text", "bytes", "a\0", ["a", "b"], ["a", "b", "c"], ["a", "a\0"],
    ["b", "a"], [0, 1], [0, 1, 2], [1, 1], [False, True], [-1, 300, 2**63], [0, 1, 2**64 - 1],
    [0.5, 1.5], {"name": "relu"}, {"name": "elu"}, {"name": "elu", "alpha": 0.0},
    {"name": "softmax"},
    {"name": "normal", "scale": -1}, {"name": "uniform", "low": 1, "high": 0}, {"name": []},
    {"name": "mse"}, {"name": "log_loss", "alpha": 1}, {"dtype": "int8", "values": [0, 1]},
    {"dtype": "text", "values": ["a", "b", "a"]}, {"name": "x", "categories": []},
]  # fmt: skip
NAMES = [
    "x", "", "format", "name", "alpha", "kind", "layers", "inputs", "values", "dtype", "classes",
    "é", "\ud800",
]  # fmt: skip
PIECES = [*container.TEXTS, b"1e999", b"-1e999", b"0." + b"1" * 60, b"1e5", b"\\u0000", b"\\udead"]


def revalue(content: bytes, chance: random.Random) -> bytes:
    """Other values, other names, missing and additional ones in the metadata."""
    metadata, arrays = unpacked(content)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        found = list(container.places(metadata))
        if not found:
            break
        holder, key = chance.choice(found)
        other, its = chance.choice(found)
        value = copy.deepcopy(chance.choice([chance.choice(ODD), other[its]]))
        action = chance.randrange(6)
        if action == 0 and isinstance(holder, dict):
            holder[chance.choice(NAMES)] = holder.pop(key)
        elif action == 1:
            del holder[key]
        elif action == 2 and isinstance(holder, dict):
            holder[chance.choice(NAMES)] = value
        elif action == 2:
            holder.insert(key, value)
        else:
            holder[key] = value
    text = json.dumps(metadata, ensure_ascii=chance.random() < 0.5)
    return packed(chance.choice([text, text, text, chance.choice(ODD)]), arrays)


def repeat(content: bytes, chance: random.Random) -> bytes:
    """The same name twice in an object."""
    metadata, arrays = unpacked(content)
    text = json.dumps(metadata)
    place = chance.choice([i for i, letter in enumerate(text) if letter == "{"])
    end = text.find(",", place)
    end = len(text) if end < 0 else end
    return packed(f"{text[:end]},{text[place + 1 : end]}{text[end:]}", arrays)


def retext(content: bytes, chance: random.Random) -> bytes:
    """Other text in the metadata, whose container is right."""
    metadata, arrays = unpacked(content)
    text = json.dumps(metadata).encode()
    first = chance.randrange(len(text) + 1)
    last = min(len(text), first + chance.choice([0, 0, 1, 2, 5]))
    new = text[:first] + chance.choice(PIECES) + text[last:]
    return packed(new.decode("utf-8", "replace"), arrays)


def rearray(content: bytes, chance: random.Random) -> bytes:
    """Other arrays: renamed, turned, missing, more, of another type, of other numbers."""
    metadata, arrays = unpacked(content)
    name = chance.choice([*arrays])
    array = arrays[name]
    action = chance.randrange(7)
    if action == 0:
        others = [*arrays, "x", "layer_3.weights", modelfile.OF_FEATURES[0]]
        arrays[chance.choice(others)] = arrays.pop(name)
    elif action == 1:
        arrays[name] = array.reshape(chance.choice([array.T.shape, (-1,), (1, *array.shape)]))
    elif action == 2:
        del arrays[name]
    elif action == 3:
        prepared = [*modelfile.OF_FEATURES, *modelfile.OF_TARGETS]
        arrays[chance.choice(["layer_0.weights", "layer_3.biases", *prepared, ""])] = array
    elif action == 4:
        arrays[name] = array.astype(chance.choice([np.float32, np.float64]))
    else:
        other = array.copy()
        if other.size:
            odd = chance.choice([np.nan, np.inf, -np.inf, -1.0, 0.0, 3e38, 1e-45])
            other.flat[chance.randrange(other.size)] = odd
        arrays[name] = other
    return packed(metadata, arrays)


def mix(content: bytes, chance: random.Random) -> bytes:
    """The metadata of one file and the arrays of another."""
    return packed(unpacked(content)[0], unpacked(chance.choice(valid()))[1])


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    *[revalue] * 10, *[retext] * 3, *[rearray] * 4, mix, repeat, container.flip, container.cut,
    container.insert, container.splice, container.relength, container.retext,
]  # fmt: skip


def every_byte(content: bytes) -> Iterator[bytes]:
    """The file cut off at, and with one bit flipped in, every byte up to the end of its header."""
    (length,) = struct.unpack("<Q", content[:8])
    for place in range(8 + length):
        yield content[:place]
        for bit in range(8):
            yield content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


def by_chance(seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    while True:
        content = chance.choice(MUTATIONS)(chance.choice(valid()), chance)
        if content and chance.random() < 0.05:
            content = chance.choice([container.flip, container.cut])(content, chance)
        yield content


# -- large ones -----------------------------------------------------------------------------------


def filled(begin: str, part: str, end: str, most: int = 10**9) -> str:
    """A text of metadata as long as may be, or with as many parts as given."""
    room = modelfile.LIMITS.length - len(begin.encode()) - len(end.encode())
    return begin + part * min(room // len(part.encode()), most) + end


def bomb(**entries: Any) -> bytes:
    metadata, arrays = unpacked(valid()[0])
    return packed(metadata | entries, arrays)


def with_training(begin: str, part: str, end: str, most: int = 10**9) -> bytes:
    """A good network, with so much said of its training."""
    metadata, arrays = unpacked(valid()[4])
    before, after = json.dumps(metadata | {"training": {"a": 0}}).rsplit('"a": 0', 1)
    return packed(filled(before + begin, part, end + after, most), arrays)


def with_labels(longest: str) -> bytes:
    """As many classes as there are outputs, one of them with a long name."""
    outputs = 2000
    metadata, _ = unpacked(valid()[2])
    layer = metadata["layers"][0] | {
        "inputs": 1,
        "outputs": outputs,
        "activation": {"name": "tanh"},
    }
    values = [*sorted(f"{i:04}" for i in range(outputs - 1)), longest]
    targets = metadata["targets"] | {"classes": {"dtype": "text", "values": values}}
    arrays = {
        "layer_1.weights": np.zeros((1, outputs), np.float32),
        "layer_1.biases": np.zeros(outputs, np.float32),
    }
    metadata |= {"loss": {"name": "mse"}, "layers": [layer], "targets": targets}
    return packed(metadata, arrays)


MOST = modelfile.LIMITS.values
# Files as large as they may be, of what takes most memory or time to read.
BOMBS: dict[str, Callable[[], bytes]] = {
    "deep lists": lambda: packed("[" * 10**6, {}),
    "deep objects": lambda: packed('{"a":' * 300_000, {}),
    "deep, within the training": lambda: with_training('"a":', "[" * 9 + "]" * 9, "", 1),
    "lists": lambda: with_training('"a":[', "[],", "0]", MOST // 3 - 99),
    "lists of one": lambda: with_training('"a":[', "[0],", "0]", MOST // 3 - 99),
    "objects": lambda: with_training('"a":[', "{},", "0]", MOST // 3 - 99),
    "objects of one": lambda: with_training('"a":[', '{"":0},', "0]", MOST // 4 - 99),
    "texts": lambda: with_training('"a":[', '"ab",', "0]", MOST // 2 - 99),
    "numbers": lambda: with_training('"a":[', "123456,", "0]", MOST - 999),
    "fractions": lambda: with_training('"a":[', "1.5,", "0]", MOST - 999),
    "too many numbers": lambda: with_training('"a":[', "1,", "0]"),
    "a long text": lambda: with_training('"a":"', "t", '"'),
    "a long text in four bytes": lambda: with_training('"a":"', "𝛛", '"'),
    "a long number": lambda: with_training('"a":', "9", ""),
    "a long fraction": lambda: with_training('"a":0.', "9", ""),
    "a long name": lambda: bomb(**{"n" * 10**6: 0}),
    "a long activation": lambda: bomb(loss={"name": "x" * 10**6}),
    "many layers": lambda: bomb(layers=unpacked(valid()[0])[0]["layers"][:1] * 10_000),
    "a huge layer": lambda: bomb(
        layers=[
            one | {"inputs": 2**31 - 1, "outputs": 2**31 - 1}
            for one in unpacked(valid()[4])[0]["layers"]
        ]
    ),
    "many labels": lambda: bomb(
        targets=unpacked(valid()[0])[0]["targets"]
        | {"classes": {"dtype": "int32", "values": list(range(200_000))}}
    ),
    "a long label": lambda: with_labels("z" * 2000),
    "a label too long": lambda: with_labels("z" * 10**6),
    "many columns": lambda: bomb(columns=[{"name": "x", "categories": []}] * 40_000),
    "many categories": lambda: bomb(columns=[{"name": "x", "categories": ["x"] * 100_000}]),
}


# -- trying them ----------------------------------------------------------------------------------


def outcome(path: Path, content: bytes) -> str:
    """Write the file, load it, and return "valid" or "refused"; anything else is an error."""
    path.unlink(missing_ok=True)  # truncating it instead waits for the disk, on ext4
    path.write_bytes(content)
    begin = time.perf_counter()
    try:
        network = fastnet.load(path, backend="numpy")
    except ModelFileError as error:
        message = str(error)
        assert message.startswith(f"{path}: "), message
        assert len(message) < len(str(path)) + 1000, f"{len(message)} characters: {message[:999]}"
        return "refused"
    finally:
        seconds = time.perf_counter() - begin
        assert seconds < SLOWEST, f"{seconds:.1f} s for {content[:80]!r}"
    check(network, content)
    return "valid"


def check(network: Network, content: bytes) -> None:
    """Compare a network with what stands in the file, found without the code under test."""
    metadata, arrays = unpacked(content)
    assert network.dtype == metadata["dtype"]
    for layer, entry in zip(network.layers, metadata["layers"], strict=True):
        assert (layer.inputs, layer.outputs) == (entry["inputs"], entry["outputs"])
        for what in ("activation", "weights", "biases"):
            thing, settings = getattr(layer, what), entry[what]
            assert thing.name == settings.pop("name")
            assert all(getattr(thing, name) == float(x) for name, x in settings.items())
    assert network.loss.name == metadata["loss"]["name"]
    assert (network.task, network.seed) == (metadata["task"], metadata["seed"])
    assert (network.epoch, network.training) == (metadata["epoch"], metadata["training"])
    assert network.input_scale == float(metadata["input_scale"])
    found = network.state_dict()
    assert all(np.array_equal(array, arrays.pop(name)) for name, array in found.items())
    prepared, of_targets = network.preparation, network.target_preparation
    for name, one in (("preparation", prepared), ("target_preparation", of_targets)):
        assert metadata.get(name) == (None if one is None else one.kind)
    for name, array in arrays.items():
        owner, _, part = name.partition(".")
        np.testing.assert_array_equal(getattr(getattr(network, owner), part), array)
    codec, targets = network.known_codec, metadata["targets"]
    assert (codec is None) == (targets is None)
    if codec is not None:
        assert codec.task == targets["task"]
        assert (codec.multilabel, codec.vector) == (targets["multilabel"], targets["vector"])
        if codec.classes is None:
            assert targets["classes"] is None
        else:
            labels = codec.classes.tolist()
            if targets["classes"]["dtype"] == "bytes":
                labels = [label.decode("latin-1") for label in labels]
            assert labels == targets["classes"]["values"]
    columns = [(one["name"], tuple(one["categories"])) for one in metadata["columns"]]
    assert network.layout == Layout(tuple(Column(*one) for one in columns), metadata["label"])
    if any(one is not None and not one.is_learned for one in (prepared, of_targets)):
        return
    rows = np.zeros((2, network.layers[0].inputs))
    if prepared is not None and prepared.shift is not None:
        rows += prepared.shift  # what is far from it can become infinite
    with np.errstate(all="ignore"):
        assert network.forward(rows).shape == (2, network.layers[-1].outputs)
        assert len(network.predict(rows)) == 2


def fuzz(files: Iterator[bytes]) -> Counter[str]:
    """Return how many of these files were valid, and how many refused."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / "file"
        for content in files:
            counts[outcome(path, content)] += 1
    return counts


def peak(content: bytes, path: Path) -> int:
    """Return the bytes that Python took at most while it loaded a file."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    tracemalloc.start()
    try:
        fastnet.load(path, backend="numpy")
    except ModelFileError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


def main() -> None:
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    fuzz(itertools.islice(by_chance(seed), 200))  # so that what is imported late is there
    before, begin = container.resident(), time.perf_counter()
    systematic = fuzz(itertools.islice(every_byte(valid()[0]), inputs))
    counts = fuzz(itertools.islice(by_chance(seed), inputs - systematic.total()))
    seconds = time.perf_counter() - begin
    print(f"{systematic.total()} files, every byte of a header: {dict(systematic)}")
    print(f"{counts.total()} files by chance, seed {seed}: {dict(counts)}")
    grown = container.resident() - before
    print(f"in {seconds:.1f} s; the process grew by {grown:.1f} MiB, from {before:.1f}")
    container.print_bombs(BOMBS, outcome, peak)


if __name__ == "__main__":
    main()
