"""ONNX files say what the network says, in onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet
from fastnet import onnxfile
from fastnet.activations import ACTIVATIONS
from fastnet.data.columns import Column, Layout

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
        assert names == ["outputs", "prediction"]
        predicted = found["prediction"]
        shape = session.get_outputs()[1].shape
        assert shape == ["rows", *predicted.shape[1:]]
        assert (predicted.dtype, predicted.shape) == (net.dtype, net.predict(rows).shape)
        assert predicted.tobytes() == found["outputs"].tobytes()
        return
    prediction = net.predict(rows)
    if prediction.dtype.kind == "S":
        prediction = np.array([label.decode("latin-1") for label in prediction.tolist()])
    assert found["prediction"].shape == prediction.shape
    assert (found["prediction"] == prediction).all()
    shape = session.get_outputs()[names.index("prediction")].shape
    assert shape == ["rows", *prediction.shape[1:]]
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
        ("softmax", 3, np.array([b"b", b"\xff", b"\xe4"])[NUMBERS]),
        ("sigmoid", 1, np.array([b"\x80", b"a"])[(NUMBERS > 0).astype(int)]),
        ("sigmoid", 1, NUMBERS > 0),
        ("sigmoid", 1, NUMBERS[:, None] > 0),
        ("linear", 1, NUMBERS[:, None] > 0),
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


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("classes", lambda array: array[::-1], r"prediction differs .* in \d+ of 64 row\(s\)"),
        ("threshold", lambda array: array + 0.5, r"prediction differs .* in \d+ of 64 row\(s\)"),
        ("one", lambda array: 2 * array, "probabilities differ from the network's by"),
        ("flat", lambda array: np.array([-1, 1]), r"the shape \(64, 1\), the network's \(64,\)"),
    ],
)
def test_predictions_and_probabilities_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: Any, message: str
) -> None:
    net = trained("sigmoid", 1, np.array(["no", "yes"])[(NUMBERS > 0).astype(int)])
    constant = onnxfile._Graph.constant

    def changed(graph: Any, called: str, array: Any) -> str:
        return constant(graph, called, change(np.asarray(array)) if called == name else array)

    monkeypatch.setattr(onnxfile._Graph, "constant", changed)
    if name == "flat":  # the output's shape is not what the graph says, which is refused, too
        monkeypatch.setattr("onnx.checker.check_model", lambda *_, **__: None)
    with pytest.raises(RuntimeError, match=message):
        net.export_onnx(tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("apart", "is_written"), [(0.0, True), (1e-7, True), (1e-3, False)])
def test_predictions_may_differ_where_logits_are_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apart: float, is_written: bool
) -> None:
    net = fastnet.Network(
        [fastnet.Dense(4, 2, "softmax")], loss="categorical_crossentropy", backend="numpy"
    )
    net.parameters = np.array([0.0] * 8 + [apart, 0.0])
    node = onnxfile._Graph.node

    def changed(graph: Any, operator: str, *arguments: Any, **attributes: Any) -> str:
        operator = "ArgMin" if operator == "ArgMax" else operator
        return node(graph, operator, *arguments, **attributes)

    monkeypatch.setattr(onnxfile._Graph, "node", changed)
    if is_written:
        net.export_onnx(tmp_path / "net.onnx")
    else:
        with pytest.raises(RuntimeError, match=r"prediction differs .* 64 of 64"):
            net.export_onnx(tmp_path / "net.onnx")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    net = trained("sigmoid", 1, NUMBERS > 0, hidden="sigmoid")
    theta = net.parameters
    theta[0] = bad
    net.executor.theta = theta  # as fastnet.load does with allow_nan
    with pytest.raises(ValueError, match="parameters of the network are NaN or infinite"):
        net.export_onnx(tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("last", ["sigmoid", "linear"])
def test_outputs_that_are_not_finite_are_refused(tmp_path: Path, last: str) -> None:
    net = fastnet.Network([fastnet.Dense(4, 2, last)], loss="mse", backend="numpy")
    net.parameters = np.full(net.parameter_count, 3e38)
    with pytest.raises(RuntimeError, match="own outputs for random rows are NaN or infinite"):
        net.export_onnx(tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_protobuf_has_no_room_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert onnxfile.LARGEST == 2**31 - 1
    net = fastnet.Network([fastnet.Dense(50_000, 2)], loss="mse", backend="numpy")
    monkeypatch.setattr(onnxfile, "LARGEST", 500_000)
    net.export_onnx(tmp_path / "net.onnx")
    assert 400_000 < (tmp_path / "net.onnx").stat().st_size < 500_000
    (tmp_path / "net.onnx").unlink()
    message = r"100002 parameters and takes \d+ bytes as ONNX; expected at most 500000.*float32"
    with pytest.raises(ValueError, match=message):
        net.to(dtype="float64").export_onnx(tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_wide_networks_are_compared_on_fewer_rows() -> None:
    net = fastnet.Network([fastnet.Dense(2**20, 1)], loss="mse", backend="numpy")
    assert onnxfile.sample(net).shape == (16, 2**20)


# -- what stands beside the graph -----------------------------------------------------------------


def metadata(net: fastnet.Network, folder: Path) -> Any:
    return json.loads(exported(net, folder).get_modelmeta().custom_metadata_map["fastnet"])


def test_the_metadata_says_how_tables_become_features(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    sizes, cities = np.arange(60) % 7 + 0.5, np.array(["Rome", "Ümeå", "Oslo"])[np.arange(60) % 3]
    kinds = np.where(cities == "Rome", "far", "near")
    lines = [f"{s},{c},{k}" for s, c, k in zip(sizes, cities, kinds, strict=True)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["size,city,kind", *lines]), encoding="utf-8")
    data = fastnet.load_data(str(table), label="kind", one_hot=["city"])
    run = fastnet.train(data, hidden=(4,), epochs=100, backend="numpy")
    found = metadata(run.network, tmp_path)
    assert found == {
        "features": ["size", "city=Oslo", "city=Rome", "city=Ümeå"],
        "columns": [
            {"name": "size", "categories": []},
            {"name": "city", "categories": ["Oslo", "Rome", "Ümeå"]},
        ],
        "label": "kind",
        "classes": ["far", "near"],
    }
    # Rows made by nothing but the metadata.
    raw = {"size": sizes, "city": cities}
    rows = [
        raw[name] == category if category else raw[name]
        for name, _, category in (feature.partition("=") for feature in found["features"])
    ]
    given = np.array(rows, onnxfile.input_dtype(run.network)).T
    (prediction,) = exported(run.network, tmp_path).run(["prediction"], {"X": given})
    frame = pandas.DataFrame(raw)
    assert (prediction == run.network.predict(frame)).all()
    assert len({*prediction}) == 2


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (X[:, 0], None),
        (NUMBERS > 0, [False, True]),
        (np.array([b"\xff", b"a"])[(NUMBERS > 0).astype(int)], ["a", "ÿ"]),
    ],
)
def test_the_metadata_without_a_table(tmp_path: Path, y: Any, classes: Any) -> None:
    net = trained("sigmoid" if classes else "linear", 1, y)
    expected = {"features": [], "columns": [], "label": "", "classes": classes}
    assert metadata(net, tmp_path) == expected


def test_columns_without_names_are_called_by_their_position(tmp_path: Path) -> None:
    net = trained("linear", 1, X[:, 0])
    columns = (Column(""), Column("", ("a=b", "c")), Column("d"))
    net.layout = Layout(columns)
    assert metadata(net, tmp_path)["features"] == ["0", "1=a=b", "1=c", "d"]


def test_half_characters_are_refused(tmp_path: Path) -> None:
    net = trained("softmax", 3, np.array(["a", "b", "\ud800"])[NUMBERS])
    with pytest.raises(ValueError, match=r"half a character \('.ud800'\); expected valid Unicode"):
        net.export_onnx(tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


# -- what is refused ------------------------------------------------------------------------------


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
