"""Model files: a network comes back as it was, on any backend, and no file does harm."""

from __future__ import annotations

import copy
import errno
import itertools
import json
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fuzz_modelfile as fuzzing
import fuzz_tensorfile as container
import numpy as np
import pytest
from backends import TRAINABLE
from cuda_host.device import HostDevice
from cuda_host.executor import cupy_on_host
from cuda_host.module import has_compiler
from fuzz_modelfile import packed, unpacked
from safetensors.numpy import load_file, save_file
from test_package import python

import fastnet
from fastnet import Dense, ModelFileError, Network, activations, initializers, losses, modelfile
from fastnet.data.columns import Column, Layout
from fastnet.data.preparation import Preparation
from fastnet.data.targets import Codec
from fastnet.tolerances import BASE

DOCUMENT = Path(__file__).parents[1] / "docs" / "model-format.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
X = np.random.default_rng(5).normal(size=(24, 4))
TURNS = np.arange(24) % 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a model.safetensors"


def made(
    last: Dense | None = None,
    loss: str = "categorical_crossentropy",
    *,
    hidden: str = "relu",
    rows: Any = X,
    y: Any = TURNS,
    epochs: int = 2,
    backend: str = "numpy",
    **more: Any,
) -> Network:
    layers = [Dense(4, 5, hidden), last or Dense(5, 3, "softmax")]
    net = Network(layers, loss=loss, backend=backend, **more)
    if epochs:
        net.fit(rows, y, epochs=epochs, batch_size=8, progress=False)
    return net


def back(net: Network, path: Path, **more: Any) -> Network:
    net.save(path)
    return fastnet.load(path, **{"backend": "numpy"} | more)


def answers(ask: Callable[[], Any]) -> Any:
    """Return what comes, or what is said instead."""
    try:
        found = ask()
    except ValueError as error:
        return str(error)
    return (found.dtype, found.shape, found.tobytes()) if hasattr(found, "tobytes") else found


def assert_same(net: Network, other: Network, y: Any = None) -> None:
    assert other is not net
    for name in ("dtype", "layers", "loss", "task", "input_scale", "seed", "epoch", "training"):
        assert getattr(other, name) == getattr(net, name), name
    assert other.layout == net.layout
    assert other.parameters.tobytes() == net.parameters.tobytes()
    for name in ("forward", "predict", "predict_proba"):
        asked = [answers(lambda one=one, name=name: getattr(one, name)(X)) for one in (net, other)]
        assert asked[0] == asked[1], name
    if y is not None:
        assert other.evaluate(X, y) == net.evaluate(X, y)
    mine, its = net.known_codec, other.known_codec
    assert (mine is None) == (its is None)
    if mine is not None and its is not None:
        assert (its.task, its.multilabel, its.vector) == (mine.task, mine.multilabel, mine.vector)
        assert (its.classes is None) == (mine.classes is None)
    if net.classes is not None and other.classes is not None:
        assert other.classes.dtype == net.classes.dtype
        assert other.classes.tolist() == net.classes.tolist()
    assert str(other.preparation) == str(net.preparation)
    assert str(other.target_preparation) == str(net.target_preparation)


def altered(base: bytes, change: Callable[[Any, dict[str, np.ndarray]], Any]) -> bytes:
    """A good file with a change of its metadata or arrays; the rest of it is right."""
    metadata, arrays = unpacked(base)
    change(metadata, arrays)
    return packed(metadata, arrays)


def refusal(path: Path, content: bytes, **more: Any) -> str:
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        fastnet.load(path, **{"backend": "numpy"} | more)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message) < len(str(path)) + 1000
    return message.removeprefix(f"{path}: ")


# -- there and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(activations.ACTIVATIONS.keys() - {"softmax"}))
def test_every_activation_comes_back(path: Path, name: str) -> None:
    net = made(hidden=name)
    assert_same(net, back(net, path), TURNS)


@pytest.mark.parametrize("text", ["elu(0.5)", "leaky_relu(0.3)", "leaky_relu(0)", "elu(1e-3)"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_settings_of_activations_come_back(path: Path, text: str, dtype: str) -> None:
    net = made(Dense(5, 1, text), "mse", hidden=text, y=X[:, 0], dtype=dtype)
    other = back(net, path)
    assert_same(net, other, X[:, 0])
    assert str(other.layers[0].activation) == str(activations.activation(text))


PAIRS = [
    (loss, last)
    for loss, last in itertools.product(losses.LOSSES, activations.ACTIVATIONS)
    if losses.is_legal(losses.loss(loss), activations.activation(last))
]


@pytest.mark.parametrize(("loss", "last"), PAIRS)
def test_every_loss_comes_back(path: Path, loss: str, last: str) -> None:
    net = made(Dense(5, 3, last), loss, task="classification")
    assert_same(net, back(net, path), TURNS)


@pytest.mark.parametrize(
    "text", [*initializers.INITIALIZERS, "normal(0.1)", "uniform(-0.25, 1)", "uniform(1, 1e300)"]
)
def test_every_initializer_comes_back(path: Path, text: str) -> None:
    layers = [Dense(4, 3, "tanh", weights=text, biases=text)]
    net = Network(layers, loss="mse", backend="numpy", dtype="float64")
    assert_same(net, back(net, path))


def labels(kind: str) -> np.ndarray:
    if kind == "bool":
        return TURNS > 0
    if kind in ("text", "bytes"):
        texts = np.array(["a", "ß Größe 日本 🙂", ""])
        return (texts if kind == "text" else np.array([b"a", b"\xff\0\x80", b""]))[TURNS]
    limits = np.iinfo(kind)
    return np.array([limits.min, 7, limits.max], kind)[TURNS]


@pytest.mark.parametrize("kind", modelfile.LABEL_TYPES)
def test_every_type_of_labels_comes_back(path: Path, kind: str) -> None:
    y = labels(kind)
    net = made(Dense(5, 2 if kind == "bool" else 3, "softmax"), y=y)
    other = back(net, path)
    assert_same(net, other, y)
    assert other.predict(X).dtype == y.dtype


def test_labels_of_other_byte_orders_come_back_in_the_machine_s(path: Path) -> None:
    y = np.array([-5, 7, 900], ">i2")[TURNS]
    other = back(made(y=y), path)
    assert other.classes is not None
    assert (other.classes.tolist(), other.classes.dtype) == ([-5, 7, 900], np.int16)


BINARY = (X > 0)[:, :3]
TARGETS: dict[str, tuple[Dense, str, Any, dict[str, Any]]] = {
    "two classes, one output": (Dense(5, 1, "sigmoid"), "log_loss", X[:, 0] > 0, {}),
    "texts, one output": (Dense(5, 1, "sigmoid"), "log_loss", np.array(["n", "y"])[TURNS % 2], {}),
    "a column of zeros and ones": (Dense(5, 1, "sigmoid"), "log_loss", BINARY[:, :1], {}),
    "one output of tanh": (Dense(5, 1, "tanh"), "mse", TURNS > 0, {"task": "classification"}),
    "multilabel": (Dense(5, 3, "sigmoid"), "log_loss", BINARY, {}),
    "multilabel under relu": (Dense(5, 3, "relu"), "mse", BINARY, {"task": "classification"}),
    "one-hot": (Dense(5, 3, "softmax"), "log_loss", np.eye(3)[TURNS], {}),
    "a vector of quantities": (Dense(5, 1), "mse", X[:, 0], {}),
    "a column of quantities": (Dense(5, 1), "mse", X[:, :1], {}),
    "columns of quantities": (Dense(5, 2), "mae", X[:, :2], {}),
    "integers as quantities": (Dense(5, 1), "mse", TURNS, {"task": "regression"}),
    "float64": (Dense(5, 3, "softmax"), "log_loss", TURNS, {"dtype": "float64"}),
    "scaled": (Dense(5, 3, "softmax"), "log_loss", TURNS, {"input_scale": 1 / 255}),
    "min_max": (Dense(5, 3, "softmax"), "log_loss", TURNS, {"preparation": "min_max"}),
    "standard": (Dense(5, 1), "mse", X[:, 0], {"preparation": "standard", "dtype": "float64"}),
    "targets from 0 to 1": (Dense(5, 2), "mse", X[:, :2], {"target_preparation": "min_max"}),
    "standard targets": (Dense(5, 1), "mae", X[:, 0], {"target_preparation": "standard"}),
    "the largest seed": (Dense(5, 3, "softmax"), "log_loss", TURNS, {"seed": 2**64 - 1}),
}


@pytest.mark.parametrize("name", TARGETS)
def test_every_kind_of_targets_comes_back(path: Path, name: str) -> None:
    last, loss, y, more = TARGETS[name]
    net = made(last, loss, y=y, **more)
    assert_same(net, back(net, path), y)


@pytest.mark.parametrize("name", TARGETS)
def test_networks_without_training_come_back(path: Path, name: str) -> None:
    last, loss, _, more = TARGETS[name]
    net = made(last, loss, epochs=0, **more)
    other = back(net, path)
    assert_same(net, other)
    assert (other.epoch, other.training, other.known_codec) == (0, None, None)


def test_a_preparation_comes_back_to_the_bit(path: Path) -> None:
    rows = X * [1, 1e-3, 1e9, 0]
    net = made(rows=rows, preparation="standard")
    other = back(net, path)
    assert net.preparation is not None
    assert other.preparation is not None
    for name in ("shift", "scale"):
        mine, its = getattr(net.preparation, name), getattr(other.preparation, name)
        assert (its.dtype, its.tobytes()) == (np.float64, mine.tobytes())
    assert other.forward(rows).tobytes() == net.forward(rows).tobytes()


def test_a_preparation_that_is_known_before_any_training(path: Path) -> None:
    learned = Preparation("min_max").learn(X)
    net = made(epochs=0, preparation=learned)
    assert_same(net, back(net, path))


@pytest.mark.parametrize(
    "layout",
    [
        Layout((Column("a"), Column("b", ("x",)), Column("Größe", ("flat", "round"))), "label"),
        Layout(tuple(Column("") for _ in range(4))),
        Layout(tuple(Column("the same") for _ in range(4)), "the same"),
        Layout((Column("c", ("", "1", "a", "ä")),), "y"),
        Layout((), "label"),
    ],
)
def test_columns_come_back(path: Path, layout: Layout) -> None:
    net = made()
    net.layout = layout
    assert_same(net, back(net, path))


def test_columns_of_a_file_come_back(path: Path, tmp_path: Path) -> None:
    table = tmp_path / "trees.csv"
    rows = [f"{size},{kind},{'ash' if size > 3 else 'elm'}" for size in range(9) for kind in "gh"]
    table.write_text("\n".join(["size,kind,tree", *rows]))
    data = fastnet.load_data(table, label="tree", one_hot=["kind"])
    net = fastnet.train(data, epochs=1, hidden=3, backend="numpy", preparation="min_max").network
    other = back(net, path)
    assert other.layout == net.layout
    assert other.layout.columns == (Column("size"), Column("kind", ("g", "h")))
    assert other.layout.label == "tree"


@pytest.mark.parametrize("backend", TRAINABLE)
def test_it_goes_on_as_if_it_had_not_been_saved(path: Path, backend: str) -> None:
    net = made(backend=backend, seed=7, preparation="standard")
    other = back(net, path, backend=backend)
    for one in (net, other):
        one.fit(X, TURNS, optimizer=fastnet.SGD(0.1), batch_size=8, epochs=2, progress=False)
    assert net.epoch == other.epoch == 4
    assert other.parameters.tobytes() == net.parameters.tobytes()


def test_labels_that_it_does_not_know_are_refused_as_before(path: Path) -> None:
    other = back(made(y=labels("text")), path)
    with pytest.raises(ValueError, match="which the network does not know"):
        other.evaluate(X, np.array(["b"] * 24))


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_network_gives_the_same_bytes(path: Path, tmp_path: Path, name: str) -> None:
    last, loss, y, more = TARGETS[name]
    net, second = made(last, loss, y=y, **more), tmp_path / "second"
    net.save(path)
    net.save(second)
    assert second.read_bytes() == path.read_bytes()
    made(last, loss, y=y, **more).save(second)
    assert second.read_bytes() == path.read_bytes()
    fastnet.load(path, backend="numpy").save(second)
    assert second.read_bytes() == path.read_bytes()


def test_first_values_are_not_drawn_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Network([Dense(4, 3, weights="uniform(1, 1e300)")], loss="mse", dtype="float64")
    net.parameters = np.arange(15.0)
    net.save(path)
    monkeypatch.delattr(initializers.Uniform, "sample")
    other = fastnet.load(path, backend="numpy", dtype="float32")
    assert other.parameters.tolist() == list(range(15))


# -- another backend, another dtype ---------------------------------------------------------------


@pytest.mark.parametrize("backend", TRAINABLE)
@pytest.mark.parametrize("onto", TRAINABLE)
def test_any_backend_opens_it(path: Path, backend: str, onto: str) -> None:
    net = made(backend=backend, y=labels("text"))
    other = back(net, path, backend=onto)
    assert other.backend == onto
    rtol, atol = BASE["float32"]
    np.testing.assert_allclose(other.forward(X), net.forward(X), rtol=rtol, atol=atol)
    np.testing.assert_array_equal(other.predict(X), net.predict(X))


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
def test_the_gpu_s_backend_opens_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = made(y=labels("text"), preparation="standard")
    net.save(path)
    with cupy_on_host(monkeypatch, lambda: HostDevice(seed=1)):
        other = fastnet.load(path, backend="cupy")
        assert other.backend == "cupy"
        assert other.parameters.tobytes() == net.parameters.tobytes()
        rtol, atol = BASE["float32"]
        np.testing.assert_allclose(other.forward(X), net.forward(X), rtol=rtol, atol=atol)
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
        other.save(path)
    assert_same(net, fastnet.load(path, backend="numpy"), labels("text"))


@pytest.mark.skipif("numba" not in TRAINABLE, reason="needs Numba")
@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_it_opens_where_numba_is_not_installed(path: Path, backend: str) -> None:
    net = made(backend="numba", y=labels("text"), preparation="standard")
    net.save(path)
    script = f"""
import json, sys
for name in ("numba", "llvmlite", "cupy"):
    sys.modules[name] = None  # as if it were not installed
import fastnet
net = fastnet.load({str(path)!r}, backend={backend!r})
X = {X.tolist()!r}
print(json.dumps([net.backend, net.forward(X).tolist(), net.predict(X).tolist()]))
"""
    done = python(script)
    assert done.stderr == ""
    found, outputs, predicted = json.loads(done.stdout)
    assert found == "numpy"
    assert predicted == net.predict(X).tolist()
    rtol, atol = BASE["float32"]
    np.testing.assert_allclose(outputs, net.forward(X), rtol=rtol, atol=atol)


def test_a_backend_that_cannot_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = fastnet.BackendStatus("numba", False, "it is not installed", "install it")
    monkeypatch.setitem(fastnet.execution.registry._PROBES, "numba", lambda: missing)
    made().save(path)
    with pytest.raises(fastnet.BackendUnavailableError, match="it is not installed"):
        fastnet.load(path, backend="numba")


@pytest.mark.parametrize(("saved", "wanted"), [("float32", "float64"), ("float64", "float32")])
def test_another_dtype(path: Path, saved: str, wanted: str) -> None:
    net = made(dtype=saved, y=labels("int8"))
    other = back(net, path, dtype=wanted)
    assert other.dtype == wanted
    assert other.parameters.tobytes() == net.parameters.astype(wanted).tobytes()
    np.testing.assert_allclose(other.forward(X), net.forward(X), rtol=1e-5, atol=1e-6)
    assert other.predict(X).dtype == np.int8


def test_what_does_not_fit_a_dtype(path: Path) -> None:
    net = made(dtype="float64")
    net.parameters = np.where(np.arange(net.parameter_count) == 3, 1e39, net.parameters)
    net.save(path)
    assert fastnet.load(path, backend="numpy").parameters[3] == 1e39
    for more in ({}, {"allow_nan": True}):
        with pytest.raises(ValueError, match="do not fit float32; load it with dtype='float64'"):
            fastnet.load(path, backend="numpy", dtype="float32", **more)
    made(dtype="float64", input_scale=1e-300).save(path)
    with pytest.raises(ValueError, match="input_scale is 1e-300, which does not fit float32"):
        fastnet.load(path, backend="numpy", dtype="float32")


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("dtype", "int8", ValueError, "dtype is 'int8'; expected 'float32' or 'float64'"),
        ("dtype", "nonsense", ValueError, "dtype is 'nonsense'"),
        ("threads", 0, ValueError, "threads is 0"),
        ("threads", "2", TypeError, "threads is '2'"),
        ("precision", "half", ValueError, "precision is 'half'"),
        ("precision", "tf32", ValueError, "precision is 'tf32'"),
        ("backend", "torch", ValueError, "backend is 'torch'"),
        ("backend", 3, TypeError, "backend is 3"),
        ("allow_nan", 1, TypeError, "allow_nan is 1"),
        ("path", None, TypeError, "None"),
        ("path", 0, TypeError, "int"),
    ],
)
def test_arguments_that_are_off_are_not_the_file_s_fault(
    path: Path, argument: str, value: Any, error: type[Exception], message: str
) -> None:
    made(epochs=0).save(path)
    arguments = {"path": path, "backend": "numpy"} | {argument: value}
    with pytest.raises(error, match=re.escape(message)) as caught:
        fastnet.load(**arguments)
    assert not isinstance(caught.value, ModelFileError)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fastnet.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        fastnet.load(tmp_path)


# -- writing --------------------------------------------------------------------------------------


def test_an_older_file_is_replaced(path: Path) -> None:
    made(epochs=0).save(path)
    net = made()
    net.save(str(path))
    assert_same(net, fastnet.load(str(path), backend="numpy"))


def test_a_full_disk_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(epochs=0).save(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="the file that was there is as it was"):
        made().save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_where_no_file_can_be(path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        made(epochs=0).save(path.parent)
    with pytest.raises(FileNotFoundError, match="the folder to write into is not there"):
        made(epochs=0).save(path / "x")
    with pytest.raises(TypeError, match="path is None"):
        made(epochs=0).save(None)  # type: ignore[arg-type]


class Mine(initializers.Initializer):
    name = "zeros"

    def sample(self, stream: Any, count: int, inputs: int, outputs: int) -> np.ndarray:
        return np.ones(count)


class Steep(activations.ReLU):
    pass


def test_parts_of_one_s_own_are_refused(path: Path) -> None:
    made(epochs=0).save(path)
    before = path.read_bytes()
    net = Network([Dense(4, 3, weights=Mine())], loss="mse", backend="numpy")
    with pytest.raises(ValueError, match=r"the network has <.*Mine.*, which only the program know"):
        net.save(path)
    with pytest.raises(TypeError, match="of the class Steep, which no backend has code for"):
        Dense(4, 3, Steep())
    net = made(epochs=0)
    object.__setattr__(net.layers[0], "activation", Steep())
    with pytest.raises(ValueError, match=r"Steep.*expected one of: linear, sigmoid"):
        net.save(path)
    assert path.read_bytes() == before


def test_settings_of_other_number_types(path: Path) -> None:
    layers = [
        Dense(4, 3, activations.ELU(np.float32(0.1)), weights=initializers.Normal(np.int64(2)))
    ]
    net = Network(layers, loss="mse", backend="numpy", input_scale=np.float32(0.5))
    assert_same(net, back(net, path))


def with_provider(seed: Any) -> Network:
    class Provider:
        def __init__(self) -> None:
            self.seed = seed

        def parameters(self, layers: Any) -> np.ndarray:
            return np.ones(sum(layer.parameter_count for layer in layers))

        def order(self, epoch: int, rows: int) -> np.ndarray:
            return np.arange(rows)

    return made(seed=Provider())


def know(codec: Codec) -> Network:
    net = made()
    net.know(codec)
    return net


def with_training(summary: Any) -> Network:
    net = made()
    net.training = summary
    return net


def with_layout(*columns: Column) -> Network:
    net = made()
    net.layout = Layout(columns)
    return net


def with_itself() -> Network:
    summary: dict[str, Any] = {}
    summary["it"] = summary
    return with_training(summary)


UNSAVEABLE: dict[str, tuple[Callable[[], Network], str]] = {
    "seed": (lambda: with_provider(-1), "'seed' is -1; expected a whole number from 0"),
    "NaN": (lambda: with_training({"loss": float("nan")}), "cannot be written as JSON (Out of"),
    "object": (lambda: with_training({"net": object()}), "expected texts and finite numbers"),
    "itself": (with_itself, "cannot be written as JSON (Circular"),
    "list": (lambda: with_training([1]), "'training' is [1]; expected an object, or null"),
    "deep": (
        lambda: with_training({"a": [[[[[[[[0]]]]]]]]}),
        "is nested 10 deep; expected at most 8",
    ),
    "twice": (lambda: with_training({1: 2, "1": 3}), "'1' is there twice"),
    "long": (lambda: with_training({"a": "a" * 2**21}), "bytes; expected at most 2097152"),
    "half": (lambda: with_training({"a": "\ud800"}), "has half a character"),
    "columns": (lambda: with_layout(Column("a")), "'columns' make 1 feature(s); expected 4"),
    "categories": (
        lambda: with_layout(Column("a", ("b", "a", "c", "d"))),
        "'categories' is ['b', 'a', 'c', 'd']; expected texts that ascend",
    ),
    "classes": (
        lambda: know(Codec("classification", np.array([1, 2]))),
        "'values' has 2 label(s); expected 3",
    ),
    "floats": (
        lambda: know(Codec("classification", np.array([0.5, 1, 2]))),
        "'dtype' is 'float64'; expected one of: bool, int8",
    ),
    "long labels": (
        lambda: know(Codec("classification", np.array(["a", "b", "c" * 1_400_000]))),
        "'values' takes 4200000 characters",
    ),
    "preparation": (
        lambda: made(epochs=0, preparation=Preparation("min_max", np.ones(4), np.ones(3))),
        "the array 'preparation.scale' is float64(3,); expected, by the metadata, float64(4,)",
    ),
    "scale": (
        lambda: made(epochs=0, preparation=Preparation("min_max", np.ones(4), -np.ones(4))),
        "expected finite numbers, scales from 0",
    ),
}


@pytest.mark.parametrize("name", UNSAVEABLE)
def test_what_could_not_be_loaded_is_not_written(path: Path, name: str) -> None:
    make, message = UNSAVEABLE[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        make().save(path)
    assert list(path.parent.iterdir()) == []


def test_a_summary_of_any_entries(path: Path) -> None:
    summary = {"a": [1, 2.5, None, True, {"ß": []}], "": "text", "large": 2**63, "small": 1e-300}
    assert back(with_training(summary), path).training == summary
    assert "ß".encode() in path.read_bytes()  # as it is: escapes would take more of the limits


def test_an_own_provider_leaves_its_seed_alone(path: Path) -> None:
    assert back(with_provider(9), path).seed == 9


# -- what stands in it ----------------------------------------------------------------------------


def test_other_programs_open_the_arrays(path: Path) -> None:
    net = made(preparation="standard")
    net.save(path)
    arrays = load_file(path)
    names = [f"layer_{n}.{part}" for n in (1, 2) for part in ("weights", "biases")]
    assert sorted(arrays) == sorted([*names, "preparation.shift", "preparation.scale"])
    for name, array in net.state_dict().items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    flat = np.concatenate([arrays[name].ravel() for name in names])
    assert flat.tobytes() == net.parameters.tobytes()


def test_the_metadata_is_what_is_documented(path: Path) -> None:
    net = made(y=labels("bool").astype(np.int8), last=Dense(5, 1, "sigmoid"), loss="log_loss")
    net.save(path)
    metadata, _ = unpacked(path.read_bytes())
    summary = metadata.pop("training")
    assert summary.pop("figures").keys() == {"train_loss", "train_accuracy"}
    assert summary.pop("optimizer").startswith("adam(")
    assert summary == {"batch_size": 8, "rows": 24, "epochs": 2, "backend": "numpy"}
    drawn = {"weights": {"name": "he_uniform"}, "biases": {"name": "zeros"}}
    last = {"weights": {"name": "glorot_uniform"}, "biases": {"name": "zeros"}}
    assert metadata == {
        "format": 2,
        "fastnet_version": fastnet.__version__,
        "dtype": "float32",
        "layers": [
            {"kind": "dense", "inputs": 4, "outputs": 5, "activation": {"name": "relu"}} | drawn,
            {"kind": "dense", "inputs": 5, "outputs": 1, "activation": {"name": "sigmoid"}} | last,
        ],
        "loss": {"name": "log_loss"},
        "task": "auto",
        "input_scale": 1.0,
        "seed": 0,
        "epoch": 2,
        "preparation": None,
        "target_preparation": None,
        "targets": {
            "task": "classification",
            "multilabel": False,
            "vector": True,
            "classes": {"dtype": "int64", "values": [0, 1]},
        },
        "columns": [],
        "label": "",
    }


def test_nothing_is_pickled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    net = made(y=labels("text"), preparation="min_max")
    assert_same(net, back(net, path))


def test_a_pickled_network_is_no_model_file(path: Path) -> None:
    path.write_bytes(pickle.dumps(made(epochs=0)))
    with pytest.raises(ModelFileError, match="expected a safetensors file"):
        fastnet.load(path)


# -- every entry, wrong in every way --------------------------------------------------------------

GOOD = fuzzing.valid()
TEXTS, ONE, INTEGERS, MULTILABEL, REGRESSION, PREPARED, BYTES, UNTRAINED = range(len(GOOD))
NULLABLE = {"preparation", "target_preparation", "targets", "training"}


def entries(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in the metadata, but for those in the summary of the training."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield (*path, key)
        if isinstance(value[key], dict | list) and key != "training":
            yield from entries(value[key], (*path, key))


PLACES = [
    (which, place)
    for which in (TEXTS, ONE, PREPARED)
    for place in entries(unpacked(GOOD[which])[0])
]


def holder_of(metadata: Any, place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        metadata = metadata[key]
    return metadata


def named(place: tuple[Any, ...]) -> str:
    return repr([key for key in place if isinstance(key, str)][-1])


def test_the_places_were_found() -> None:
    assert len(PLACES) > 70
    assert (TEXTS, ("targets", "classes", "values", 2)) in PLACES
    assert (ONE, ("layers", 1, "weights", "low")) in PLACES


@pytest.mark.parametrize(("which", "place"), PLACES)
def test_an_entry_that_is_missing(path: Path, which: int, place: tuple[Any, ...]) -> None:
    def change(metadata: Any, arrays: Any) -> None:
        del holder_of(metadata, place)[place[-1]]

    message = refusal(path, altered(GOOD[which], change))
    if isinstance(place[-1], str):
        assert f"{named(place)} is missing; expected " in message
    else:  # one of a list: what is left contradicts something else
        assert re.search("'columns' make|'values' has|by the metadata|needs p|belongs to", message)


@pytest.mark.parametrize(("which", "place"), PLACES)
def test_an_entry_of_another_type(path: Path, which: int, place: tuple[Any, ...]) -> None:
    others = [None, True, 0, -1, 0.5, "", "nonsense", [], [[]], {}, {"a": None}]
    now = holder_of(unpacked(GOOD[which])[0], place)[place[-1]]
    for other in others:
        is_number = type(now) is float and type(other) is int
        if type(other) is type(now) or is_number or (other is None and place[-1] in NULLABLE):
            continue

        def change(metadata: Any, arrays: Any, other: Any = other) -> None:
            holder_of(metadata, place)[place[-1]] = other

        message = refusal(path, altered(GOOD[which], change))
        assert named(place) in message, message
        assert "expected " in message


@pytest.mark.parametrize(
    "place",
    [
        (),
        ("layers", 0),
        ("layers", 1, "activation"),
        ("layers", 0, "weights"),
        ("loss",),
        ("targets",),
        ("targets", "classes"),
        ("columns", 1),
    ],
)
def test_an_entry_that_is_not_known(path: Path, place: tuple[Any, ...]) -> None:
    def change(metadata: Any, arrays: Any) -> None:
        holder_of(metadata, (*place, ""))["more"] = 1

    message = refusal(path, altered(GOOD[TEXTS], change))
    assert "'more' is not known in this format; expected " in message


LABELS = ("targets", "classes")
WRONG: list[tuple[int, tuple[Any, ...], Any, str]] = [
    (TEXTS, ("format",), 0, "'format' is 0; expected a whole number from 1"),
    (TEXTS, ("dtype",), "float16", "'dtype' is 'float16'; expected one of: float32, float64"),
    (TEXTS, ("dtype",), "float64", "is float32(3, 2); expected, by the metadata, float64(3, 2)"),
    (TEXTS, ("task",), "clustering", "'task' is 'clustering'"),
    (TEXTS, ("task",), "regression", "'task' is 'classification'; expected one of: regression"),
    (TEXTS, ("loss", "name"), "hinge", "'name' is 'hinge'; expected one of: mse, mae"),
    (TEXTS, ("layers",), [], "layers is empty"),
    (TEXTS, ("layers", 0, "kind"), "conv", "'kind' is 'conv'; expected one of: dense"),
    (TEXTS, ("layers", 0, "inputs"), 0, "'inputs' is 0; expected a whole number from 1"),
    (TEXTS, ("layers", 0, "inputs"), 4, "'columns' make 3 feature(s); expected 4"),
    (REGRESSION, ("layers", 0, "inputs"), 4, "is float32(3, 2); expected, by the metadata"),
    (REGRESSION, ("layers", 0, "inputs"), 2**31 - 1, "(2147483647, 2)"),
    (REGRESSION, ("layers", 0, "inputs"), 2**31, "from 1 to 2147483647"),
    (TEXTS, ("layers", 0, "outputs"), 3, "layer 2 takes 2 inputs, but layer 1 gives 3 outputs"),
    (TEXTS, ("layers", 1, "outputs"), 4, "'values' has 3 label(s); expected 4"),
    (TEXTS, ("layers", 0, "activation"), {"name": "softmax"}, "may stand only in the last layer"),
    (TEXTS, ("layers", 0, "activation", "name"), "gelu", "'name' is 'gelu'; expected one of"),
    (TEXTS, ("layers", 0, "activation", "name"), "relu", "'alpha' is not known in this format"),
    (TEXTS, ("layers", 0, "activation", "alpha"), 0, "alpha of elu is 0.0; expected"),
    (TEXTS, ("layers", 0, "activation", "alpha"), -1, "alpha of elu is -1.0; expected"),
    (TEXTS, ("layers", 1, "activation"), {"name": "linear"}, "this loss needs probabilities"),
    (TEXTS, ("layers", 1, "weights", "name"), "orthogonal", "'name' is 'orthogonal'"),
    (ONE, ("layers", 1, "weights", "low"), 1, "low must be below high"),
    (ONE, ("layers", 1, "activation"), {"name": "softmax"}, "softmax with 1 output"),
    (TEXTS, ("input_scale",), 0, "'input_scale' is 0"),
    (TEXTS, ("input_scale",), -0.5, "'input_scale' is -0.5"),
    (TEXTS, ("input_scale",), 0.5, "'input_scale' is 0.5; expected 1 beside a 'preparation'"),
    (REGRESSION, ("input_scale",), 1e-45, "'input_scale' is 1e-45, which does not fit"),
    (REGRESSION, ("input_scale",), 1e39, "which does not fit float32"),
    (ONE, ("input_scale",), 5e-324, "which does not fit float64"),
    (TEXTS, ("seed",), -1, "'seed' is -1; expected a whole number from 0 to 18446744073709551615"),
    (TEXTS, ("seed",), 2**64, "'seed' is 18446744073709551616; expected"),
    (TEXTS, ("epoch",), -1, "'epoch' is -1"),
    (TEXTS, ("epoch",), 2**63, "'epoch' is 9223372036854775808; expected"),
    (TEXTS, ("preparation",), "whiten", "'preparation' is 'whiten'; expected one of: min_max"),
    (TEXTS, ("preparation",), None, "belongs to nothing in the metadata"),
    (REGRESSION, ("preparation",), "standard", "the array 'preparation.shift' is missing"),
    (UNTRAINED, ("epoch",), 1, "the array 'preparation.shift' is missing"),
    (TEXTS, ("target_preparation",), "min_max", "expected null, as of classes and of losses of p"),
    (PREPARED, ("target_preparation",), "whiten", "expected one of: min_max"),
    (PREPARED, ("target_preparation",), None, "belongs to nothing in the metadata"),
    (PREPARED, ("loss", "name"), "log_loss", "this loss needs probabilities"),
    (PREPARED, ("task",), "classification", "'task' is 'regression'; expected one of: classific"),
    (REGRESSION, ("target_preparation",), "standard", "'target_preparation.shift' is missing"),
    (TEXTS, ("targets", "task"), "auto", "'task' is 'auto'"),
    (INTEGERS, ("targets", "task"), "regression", "'classes' are given; expected null"),
    (TEXTS, ("targets", "multilabel"), True, "'multilabel' is true, with the task classification"),
    (ONE, ("targets", "multilabel"), True, "'multilabel' is true"),
    (REGRESSION, ("targets", "multilabel"), True, "'multilabel' is true, with the task regression"),
    (MULTILABEL, ("targets", "task"), "regression", "'multilabel' is true, with the task regress"),
    (MULTILABEL, ("targets", "multilabel"), False, "'classes' is None; expected an object"),
    (TEXTS, LABELS, None, "'classes' is None; expected an object"),
    (MULTILABEL, LABELS, {"dtype": "int8", "values": [0, 1]}, "'classes' are given"),
    (TEXTS, (*LABELS, "dtype"), "float32", "'dtype' is 'float32'; expected one of: bool, int8"),
    (TEXTS, (*LABELS, "dtype"), "int8", "expected a list of int8"),
    (TEXTS, (*LABELS, "values"), ["a", "b"], "'values' has 2 label(s); expected 3"),
    (TEXTS, (*LABELS, "values"), ["a", "c", "b"], "expected labels that ascend, none twice"),
    (TEXTS, (*LABELS, "values"), ["a", "b", "b"], "expected labels that ascend, none twice"),
    (TEXTS, (*LABELS, "values"), ["a", "b\0", "c"], "expected texts without a null at their end"),
    (TEXTS, (*LABELS, "values"), ["\0", "b", "c"], "expected texts without a null at their end"),
    (TEXTS, (*LABELS, "values"), ["a", "b", "c\0\0"], "expected texts without a null"),
    (BYTES, (*LABELS, "values"), ["", "a\0", "b"], "expected texts without a null at their end"),
    (BYTES, (*LABELS, "values"), ["", "a", "\u0100"], "a character from 0 to 255"),
    (INTEGERS, LABELS, {"dtype": "int8", "values": [0, 1, 128]}, "expected a list of int8"),
    (INTEGERS, LABELS, {"dtype": "uint8", "values": [-1, 1, 2]}, "expected a list of uint8"),
    (INTEGERS, LABELS, {"dtype": "uint64", "values": [0, 1, 2**64]}, "expected a list of uint64"),
    (INTEGERS, (*LABELS, "values"), [0, 1, 2.0], "expected a list of int64"),
    (INTEGERS, (*LABELS, "values"), [False, 1, 2], "expected a list of int64"),
    (INTEGERS, (*LABELS, "values"), [0, [1], 2], "expected a list of int64"),
    (ONE, (*LABELS, "values"), [True, False], "expected labels that ascend, none twice"),
    (ONE, (*LABELS, "values"), [0, 1], "expected a list of bool"),
    (TEXTS, ("columns",), [{"name": "x", "categories": []}], "'columns' make 1 feature(s); expect"),
    (TEXTS, ("columns", 1, "categories"), ["b", "a"], "'categories' is ['b', 'a']; expected texts"),
    (TEXTS, ("columns", 1, "categories"), ["a", "a"], "expected texts that ascend, none twice"),
    (TEXTS, ("columns", 1, "categories"), ["a", 1], "expected a list of texts"),
    (TEXTS, ("columns", 1, "categories"), ["a", "b", "c"], "'columns' make 4 feature(s)"),
]  # fmt: skip


@pytest.mark.parametrize(("which", "place", "value", "message"), WRONG)
def test_an_entry_that_is_wrong(
    path: Path, which: int, place: tuple[Any, ...], value: Any, message: str
) -> None:
    def change(metadata: Any, arrays: Any) -> None:
        holder_of(metadata, place)[place[-1]] = value

    assert message in refusal(path, altered(GOOD[which], change))


def test_what_may_be_otherwise(path: Path) -> None:
    """The entries that nothing else depends on, at the ends of their ranges."""

    def change(metadata: Any, arrays: Any) -> None:
        metadata |= {"epoch": 2**63 - 1, "seed": 2**64 - 1, "label": "", "training": None}
        metadata |= {"columns": [], "fastnet_version": "0", "input_scale": 1}
        metadata["layers"][0]["activation"]["alpha"] = 1

    path.write_bytes(altered(GOOD[TEXTS], change))
    net = fastnet.load(path, backend="numpy")
    assert (net.epoch, net.seed, net.training) == (2**63 - 1, 2**64 - 1, None)
    net.fit(fuzzing.ROWS, np.array(["ash", "birch"] * 6), epochs=1, progress=False)


# -- the text of the metadata ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"epoch": 2', '"epoch": 2, "epoch": 2', "'epoch' is there twice"),
        ('"name": "size"', '"name": "size", "name": "size"', "'name' is there twice"),
        ('"epoch": 2', '"epoch": NaN', "NaN is no number"),
        ('"epoch": 2', '"epoch": -Infinity', "-Infinity is no number"),
        ('"input_scale": 1.0', '"input_scale": 1e999', "1e999 is beyond every float64"),
        ('"rows": 12', '"rows": -1e999', "-1e999 is beyond every float64"),
        ('"epoch": 2', '"epoch": 2.0', "'epoch' is 2.0; expected a whole number"),
        ('"epoch": 2', '"epoch": 2e0', "'epoch' is 2.0; expected a whole number"),
        ('"epoch": 2', f'"epoch": {"2" * 21}', "a number has 21 digits"),
        ('"rows": 12', f'"rows": 0.{"2" * 60}', "a number has 62 characters"),
        ('"rows": 12', '"rows": 012', "is damaged"),
        ('"label": "tree"', '"label": "\\ud800"', "has half a character"),
        ('"label": "tree"', '"label": "tree\n"', "is damaged"),
        ('"rows": 12', '"rows": [[[[[[[[0]]]]]]]]', "is nested 10 deep; expected at most 8"),
        ('"rows": 12', f'"rows": {"[" * 100_000}', "is nested "),
        ('"rows": 12', f'"rows": [{"0," * 400_000}0]', "values or more; expected at most 400000"),
        ('"label": "tree"', f'"label": "{"x" * 2**21}"', "bytes; expected at most 2097152"),
        ('"label": "tree",', "", "'label' is missing"),
        ('"label": "tree",', '"label": "tree"', "is damaged"),
    ],
)
def test_json_that_is_wrong(path: Path, before: str, after: str, message: str) -> None:
    metadata, arrays = unpacked(GOOD[TEXTS])
    text = json.dumps(metadata)
    assert before in text
    said = refusal(path, packed(text.replace(before, after, 1), arrays))
    assert said.startswith("the metadata")
    assert message in said


@pytest.mark.parametrize("text", ["", " ", "[]", "null", "1", '"x"', "{", "{}", "\ud800", "\0"])
def test_metadata_that_is_no_network(path: Path, text: str) -> None:
    refusal(path, packed(text, unpacked(GOOD[TEXTS])[1]))


def test_files_of_format_1_are_read(path: Path) -> None:
    """They knew no preparation of targets, and were otherwise the same."""

    def change(metadata: Any, arrays: Any) -> None:
        metadata["format"] = 1
        del metadata["target_preparation"]

    path.write_bytes(altered(GOOD[TEXTS], change))
    old = fastnet.load(path, backend="numpy")
    path.write_bytes(GOOD[TEXTS])
    rows = np.ones((2, 3))
    assert (
        old.forward(rows).tobytes() == fastnet.load(path, backend="numpy").forward(rows).tobytes()
    )
    assert old.target_preparation is None

    def mix(metadata: Any, arrays: Any) -> None:
        metadata["format"] = 1

    said = refusal(path, altered(GOOD[PREPARED], mix))
    assert "'target_preparation' is not known in this format" in said


def test_a_plain_file_of_another_program(path: Path) -> None:
    for metadata in (None, {"format": "pt"}):
        save_file({"weights": np.ones((2, 3), np.float32)}, path, metadata)
        said = refusal(path, path.read_bytes())
        assert said.startswith("there is no network in it, since the metadata 'fastnet' is missing")
        assert "expected what Network.save writes" in said
    save_file({"weights": np.ones((2, 3), np.float16)}, path)
    assert "there is no network in it" in refusal(path, path.read_bytes())


def test_texts_of_others_beside_it(path: Path) -> None:
    header, data = container.unpacked(GOOD[TEXTS])
    header["__metadata__"] |= {"format": "pt", "": "x", "license": "MIT"}
    path.write_bytes(container.packed(header, data))
    fastnet.load(path, backend="numpy")


def later(metadata: Any, arrays: Any) -> None:
    metadata |= {"format": 3, "fastnet_version": "9.1", "layers": {"tree": []}, "more": None}
    del metadata["dtype"]


def test_a_file_of_a_later_version_says_so(path: Path) -> None:
    said = refusal(path, altered(GOOD[TEXTS], later))
    assert "written in format 3 by fastnet '9.1'" in said
    assert f"fastnet {fastnet.__version__} reads up to format 2: upgrade it" in said


def test_a_file_of_a_later_version_with_arrays_of_other_types(path: Path) -> None:
    header, _ = container.unpacked(altered(GOOD[TEXTS], later))
    header["layer_1.weights"] = container.entry("BF16", [3, 2], 0, 12)
    assert "written in format 3 by fastnet '9.1'" in refusal(path, container.packed(header))


def test_a_later_version_that_does_not_say_its_name(path: Path) -> None:
    def change(metadata: Any, arrays: Any) -> None:
        later(metadata, arrays)
        metadata["fastnet_version"] = ["9" * 1000]

    assert "written in format 3 by fastnet ['99" in refusal(path, altered(GOOD[TEXTS], change))


# -- the arrays -----------------------------------------------------------------------------------

W, B = "layer_1.weights", "layer_2.biases"
SHIFT, SCALE = "preparation.shift", "preparation.scale"


def put(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., None]:
    def changing(metadata: Any, arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = change(arrays[name])

    return changing


def add(name: str, array: np.ndarray) -> Callable[..., None]:
    return lambda metadata, arrays: arrays.update({name: array})


def drop(*names: str) -> Callable[..., None]:
    return lambda metadata, arrays: [arrays.pop(name) for name in names]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            drop("target_preparation.scale"),
            "'target_preparation.scale' is missing; expected float6",
        ),
        (
            put("target_preparation.shift", lambda s: s[:1]),
            "expected, by the metadata, float64(2,)",
        ),
        (
            put("target_preparation.scale", lambda s: s * 0),
            "expected finite numbers, scales above 0",
        ),
        (
            put("target_preparation.scale", lambda s: s * 0 + 1e-320),  # 1 / that is infinite
            "expected finite numbers, scales above 0",
        ),
        (
            put("target_preparation.scale", lambda s: s * np.nan),
            "expected finite numbers, scales a",
        ),
        (
            put("target_preparation.shift", lambda s: s / 0),
            "expected finite numbers, scales above 0",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_arrays_of_targets_that_are_off(
    path: Path, change: Callable[..., None], message: str
) -> None:
    assert message in refusal(path, altered(GOOD[PREPARED], change))


ARRAYS: list[tuple[Callable[..., None], str]] = [
    (drop(W), f"the array {W!r} is missing; expected float32(3, 2)"),
    (drop(B), f"the array {B!r} is missing; expected float32(3,)"),
    (drop(SHIFT), f"the array {SHIFT!r} is missing; expected float64(3,)"),
    (drop(SCALE), f"the array {SCALE!r} is missing"),
    (drop(SHIFT, SCALE), f"the array {SHIFT!r} is missing"),
    (put(W, np.transpose), f"{W!r} is float32(2, 3); expected, by the metadata, float32(3, 2)"),
    (put(W, np.ravel), f"{W!r} is float32(6,)"),
    (put(B, lambda b: b[:, None]), f"{B!r} is float32(3, 1)"),
    (put(B, lambda b: b[:2]), f"{B!r} is float32(2,)"),
    (put(B, lambda b: b[:0]), f"{B!r} is float32(0,)"),
    (put(B, np.float64), f"{B!r} is float64(3,); expected, by the metadata, float32(3,)"),
    (put(SHIFT, np.float32), f"{SHIFT!r} is float32(3,); expected, by the metadata, float64(3,)"),
    (put(SCALE, lambda s: s * np.nan), "expected finite numbers, scales from 0"),
    (put(SHIFT, lambda s: s * np.inf), "expected finite numbers, scales from 0"),
    (put(SCALE, lambda s: -s), "expected finite numbers, scales from 0"),
    (add("layer_3.weights", np.ones((3, 3))), "the array 'layer_3.weights' belongs to nothing"),
    (add("layer_0.weights", np.ones(0)), "expected those of 2 layer(s) and of 1 preparation(s)"),
    (add("", np.ones(0)), "the array '' belongs to nothing in the metadata"),
    (add("training", np.ones(1)), "the array 'training' belongs to nothing in the metadata"),
]


@pytest.mark.parametrize(("change", "message"), ARRAYS)
def test_arrays_that_are_not_those_of_the_metadata(
    path: Path, change: Callable[..., None], message: str
) -> None:
    assert message in refusal(path, altered(GOOD[TEXTS], change))


def test_arrays_of_checkpoints_are_passed_over(path: Path) -> None:
    path.write_bytes(altered(GOOD[TEXTS], add("training.state", np.ones((2, 3)))))
    fastnet.load(path, backend="numpy")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_parameters_that_are_no_numbers(path: Path, value: float) -> None:
    def spoil(metadata: Any, arrays: dict[str, np.ndarray]) -> None:
        arrays[W] = arrays[W].copy()
        arrays[W][1, 1] = value

    content = altered(GOOD[TEXTS], spoil)
    assert "NaN or infinite; expected finite ones, or allow_nan=True" in refusal(path, content)
    for dtype in ("float32", "float64"):
        net = fastnet.load(path, backend="numpy", allow_nan=True, dtype=dtype)
        np.testing.assert_array_equal(net.parameters[3], value)
        assert np.count_nonzero(~np.isfinite(net.parameters)) == 1
    net = fastnet.load(path, backend="numpy", allow_nan=True)
    net.save(path)  # as it is, it can be kept
    assert load_file(path)[W].tobytes() == unpacked(content)[1][W].tobytes()


def test_allowing_nan_allows_no_preparation_of_them(path: Path) -> None:
    content = altered(GOOD[TEXTS], put(SCALE, lambda s: s * np.nan))
    refusal(path, content, allow_nan=True)


# -- memory, and chance ---------------------------------------------------------------------------


# Those that take seconds when memory is traced, and less of it than others; the script tries them.
SLOW = {"numbers", "fractions", "lists of one", "many layers"}


@pytest.mark.parametrize("name", sorted(fuzzing.BOMBS.keys() - SLOW))
def test_large_metadata_takes_little(path: Path, name: str) -> None:
    content = fuzzing.BOMBS[name]()
    before = container.resident()
    assert fuzzing.peak(content, path) < 50 * 2**20
    assert container.resident() - before < 100  # MiB; the library's, too


def test_as_many_columns_and_labels_as_may_be(path: Path) -> None:
    """What tables have, comes back: 20 000 columns with names, 10 000 labels of texts."""
    net = Network([Dense(20_000, 1)], loss="mse", backend="numpy")
    net.layout = Layout(tuple(Column(f"gene ENSG{i:011}") for i in range(20_000)), "tissue")
    assert back(net, path).layout == net.layout
    net = Network([Dense(1, 10_000, "softmax")], loss="mse", backend="numpy")
    net.know(Codec("classification", np.array([f"species {i:05} of many" for i in range(10_000)])))
    other = back(net, path)
    assert other.classes is not None
    np.testing.assert_array_equal(other.classes, net.classes)


def test_a_file_of_many_layers(path: Path) -> None:
    net = Network([Dense(1, 1, "tanh") for _ in range(2000)], loss="mse", backend="numpy")
    other = back(net, path)
    assert other.layers == net.layers
    assert other.parameters.tobytes() == net.parameters.tobytes()


def test_some_bytes_of_a_header_cut_off_and_flipped() -> None:
    counts = fuzzing.fuzz(itertools.islice(fuzzing.every_byte(GOOD[ONE]), 3, None, 10))
    assert counts.total() > 1000
    assert counts["refused"] > 0.8 * counts.total()


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_files_are_refused_or_loaded_rightly(seed: int) -> None:
    counts = fuzzing.fuzz(itertools.islice(fuzzing.by_chance(seed), 1500))
    assert counts.total() == 1500
    assert counts["refused"] > 1000
    assert counts["valid"] > 80


# -- the document ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader() -> dict[str, Any]:
    """Run the document's own reader."""
    code = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[-1]
    assert "fastnet." not in code.replace('"fastnet"', "")
    namespace: dict[str, Any] = {}
    exec(compile(code, str(DOCUMENT), "exec"), namespace)
    return namespace


def test_the_reader_of_the_document(path: Path, reader: dict[str, Any]) -> None:
    run = fastnet.train(epochs=2, hidden=(16, 8), backend="numpy")
    run.network.save(path)
    rows = fastnet.data.digits.digits().X_test
    found = reader["predict_proba"](path, rows)
    expected = run.network.predict_proba(rows)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    rtol, atol = BASE["float32"]
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


@pytest.mark.parametrize("hidden", sorted(activations.ACTIVATIONS.keys() - {"softmax"}))
@pytest.mark.parametrize("name", TARGETS)
def test_the_reader_on_other_networks(
    path: Path, reader: dict[str, Any], name: str, hidden: str
) -> None:
    last, loss, y, more = TARGETS[name]
    net = made(last, loss, y=y, hidden=hidden, **more)
    net.save(path)
    rtol, atol = BASE[net.dtype.name]
    if net.task_in_use == "regression":
        found, expected = reader["predict_quantities"](path, X), net.predict(X)
        np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=rtol, atol=atol)
    np.testing.assert_allclose(reader["forward"](path, X), net.forward(X), rtol=rtol, atol=atol)
    if net.task_in_use == "classification" and last.activation.name in ("sigmoid", "softmax"):
        found = reader["predict_proba"](path, X)
        np.testing.assert_allclose(found, net.predict_proba(X), rtol=rtol, atol=atol)


def test_the_reader_refuses_a_later_format(path: Path, reader: dict[str, Any]) -> None:
    path.write_bytes(altered(GOOD[TEXTS], later))
    with pytest.raises(ValueError, match="format 3; expected 1 or 2"):
        reader["predict_proba"](path, X)


def test_the_document_has_every_entry_and_name() -> None:
    words = set(re.findall(r"`([^`\n]+)`", TEXT))
    keys = {
        key
        for content in GOOD
        for place in entries(unpacked(content)[0])
        for key in place
        if isinstance(key, str)
    }
    names = {*activations.ACTIVATIONS, *losses.LOSSES, *initializers.INITIALIZERS}
    tasks = {*modelfile.TASKS, *modelfile.KINDS, *modelfile.DTYPES, "bool", "text", "bytes"}
    assert keys | names | tasks <= words


def test_the_document_has_the_numbers() -> None:
    text = TEXT.replace("\n", " ")
    assert f"This is **format {modelfile.FORMAT}**" in text
    assert modelfile.LIMITS[:3] == (2 << 20, 400_000, 8)
    assert "metadata beyond 2 MiB, 400 000 values or a depth of 8" in text
    limits = fastnet.tensorfile
    assert (limits.LONGEST_HEADER, limits.MOST_VALUES) == (4 << 20, 100_000)
    assert "headers beyond 4 MiB, with more than 100 000 values" in text
    assert (limits.MOST_DIGITS, limits.LONGEST_REAL) == (20, 40)
    assert "integers of more than 20 and other numbers of more than 40 characters" in text
    assert f"{modelfile.MOST_CHARACTERS:,}".replace(",", " ") in text
    for name, cls in activations.ACTIVATIONS.items():
        row = re.search(rf"^\| `{name}` \|.*\|([^|]*)\|$", TEXT, re.MULTILINE)
        assert row is not None
        shown = {"1/2": 0.5, "": 0.0}.get(row[1].strip())
        value = float(row[1].split()[-1]) if shown is None else shown
        assert value == cls.score_threshold


def test_the_document_s_example_is_right(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(epochs=0).save(path.parent / "model.safetensors")
    monkeypatch.chdir(path.parent)
    (code,) = re.findall(r"^```python\n(from safetensors.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    assert set(namespace["arrays"]) == set(made(epochs=0).state_dict())


def test_a_copy_of_a_network_saves_the_same(path: Path, tmp_path: Path) -> None:
    net = made(y=labels("text"))
    net.save(path)
    copy.deepcopy(net).save(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()
