"""ONNX files say what the network says, in onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet
from fastnet import onnxfile
from fastnet.activations import ACTIVATIONS

pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

RNG = np.random.default_rng(5)
X = RNG.normal(size=(120, 4)) * [1, 30, 0.2, 5] + [0, 100, 0, -3]
NUMBERS = RNG.integers(0, 3, 120)
REAL = Path(__file__).parents[2] / "shared" / "data" / "mnist"


def exported(net: fastnet.Network, folder: Path) -> Any:
    path = folder / "net.onnx"
    net.export_onnx(path)
    return onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])


def compare(net: fastnet.Network, folder: Path, rows: Any) -> None:
    session = exported(net, folder)
    names = [output.name for output in session.get_outputs()]
    given = np.asarray(rows, onnxfile.input_dtype(net))
    found = dict(zip(names, session.run(names, {"X": given}), strict=True))
    expected = net.forward(rows)
    assert found["outputs"].dtype == net.dtype
    size = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found["outputs"], expected, rtol=0, atol=1e-5 * size)
    if net.task_in_use == "regression":
        assert names == ["outputs"]
        return
    prediction = net.predict(rows)
    assert (found["prediction"].reshape(prediction.shape) == prediction).all()
    if net.layers[-1].activation.name in ("sigmoid", "softmax"):
        np.testing.assert_allclose(found["probabilities"], net.predict_proba(rows), atol=1e-5)


def trained(last: str, outputs: int, y: Any, **options: Any) -> fastnet.Network:
    hidden = options.pop("hidden", "relu")
    layers = [fastnet.Dense(4, 6, hidden), fastnet.Dense(6, outputs, last)]
    given = {"loss": "mse", "preparation": "standard", "backend": "numpy"} | options
    net = fastnet.Network(layers, **given)
    net.fit(X, y, epochs=2)
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", sorted(set(ACTIVATIONS) - {"softmax"}))
def test_every_activation(tmp_path: Path, hidden: str, dtype: str) -> None:
    compare(trained("softmax", 3, NUMBERS, hidden=hidden, dtype=dtype), tmp_path, X)
    compare(trained(hidden, 1, X[:, 0], hidden=hidden, dtype=dtype), tmp_path, X)


@pytest.mark.parametrize("parameter", ["leaky_relu(0.3)", "elu(0.4)"])
def test_parameters_of_activations(tmp_path: Path, parameter: str) -> None:
    compare(trained("softmax", 3, NUMBERS, hidden=parameter), tmp_path, X)


@pytest.mark.parametrize(
    ("last", "outputs", "y"),
    [
        ("softmax", 3, np.array(["b", "a\n", "ü"])[NUMBERS]),
        ("softmax", 3, NUMBERS.astype(np.uint8)),
        ("sigmoid", 1, NUMBERS > 0),
        ("sigmoid", 1, np.array(["no", "yes"])[(NUMBERS > 0).astype(int)]),
        ("sigmoid", 3, NUMBERS),
        ("sigmoid", 3, RNG.random((120, 3)) < 0.5),
        ("linear", 3, NUMBERS),
        ("tanh", 2, NUMBERS > 1),
        ("linear", 2, X[:, :2]),
        ("linear", 1, X[:, :1]),
    ],
)
def test_every_kind_of_target(tmp_path: Path, last: str, outputs: int, y: Any) -> None:
    compare(trained(last, outputs, y), tmp_path, X)


@pytest.mark.parametrize("preparation", [None, "min_max", "standard"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_done_to_features(tmp_path: Path, preparation: Any, dtype: str) -> None:
    scale = 0.01 if preparation is None else 1.0
    net = trained("softmax", 3, NUMBERS, preparation=preparation, dtype=dtype, input_scale=scale)
    compare(net, tmp_path, X)


def test_seconds_since_1970(tmp_path: Path) -> None:
    seconds = 1.7e9 + RNG.random((64, 1))
    net = fastnet.Network([fastnet.Dense(1, 1)], loss="mse", preparation="min_max", backend="numpy")
    net.fit(seconds, seconds[:, 0] - 1.7e9, epochs=20)
    compare(net, tmp_path, seconds)


def test_what_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = trained("softmax", 3, NUMBERS)
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")
    monkeypatch.setitem(onnxfile.ACTIVATIONS, fastnet.activations.ReLU, "Tanh")
    with pytest.raises(RuntimeError, match="outputs differ from the network's by"):
        net.export_onnx(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_has_learned_nothing_is_refused(tmp_path: Path) -> None:
    net = fastnet.Network([fastnet.Dense(4, 1)], loss="mse", preparation="min_max")
    with pytest.raises(ValueError, match="has learned nothing yet"):
        net.export_onnx(tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_folders_are_refused_first(tmp_path: Path) -> None:
    net = fastnet.Network([fastnet.Dense(4, 1)], loss="mse", backend="numpy")
    with pytest.raises(IsADirectoryError):
        net.export_onnx(tmp_path)


@pytest.mark.skipif(not REAL.exists(), reason="MNIST is not beside the checkout")
@pytest.mark.parametrize("hidden", sorted(set(ACTIVATIONS) - {"softmax"}))
def test_the_test_set_of_mnist(tmp_path: Path, hidden: str) -> None:
    data = fastnet.load_data("mnist", data_dir=REAL)
    part = data._replace(X_train=data.X_train[:6000], y_train=data.y_train[:6000])
    run = fastnet.train(part, hidden=(32,), activation=hidden, epochs=1, backend="numpy")
    compare(run.network, tmp_path, data.X_test)
