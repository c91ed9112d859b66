"""Export to ONNX, for programs that run networks and do not train them.

https://onnx.ai/onnx/intro/concepts.html; the operators are those of version 17 of the standard.

A file begins where `Network.forward` does with an array: at numbers. Texts of a table become
features of zeros and ones before that, and the file does not do it. How is in its metadata
(``metadata_props``), under ``fastnet``, as JSON:

- ``features``: a name for each column of ``X``, in order, such as ``size`` and ``city=Rome``, which
  is 1 where the city is Rome and else 0. Columns without a name are called by their position from
  0. Empty if the network was trained on arrays.
- ``columns``: the table's columns, each with ``name`` and ``categories``, which has no entry for
  a column of numbers.
- ``label``: the heading of the labels' column; empty if there was none.
- ``classes``: the labels as ``prediction`` gives them; null if there are none.

ONNX's texts are UTF-8: labels of bytes become texts with one character, from 0 to 255, for each
byte, which is latin-1, as in model files.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from fastnet import atomic
from fastnet.activations import ELU, Activation, LeakyReLU, Linear, ReLU, Sigmoid, Softmax, Tanh
from fastnet.network import Network
from fastnet.randomness import EXPORT_CHECK, Stream
from fastnet.version import __version__

Array = np.ndarray[Any, np.dtype[Any]]

OPERATORS = 17  # the version of ONNX's standard operators
FILE_VERSION = 8  # that of the file format which belongs to it
INSTALL = "python -m pip install 'fastnet-nn[onnx]'"
# ONNX's operators for activations; alpha is an attribute of those that have one.
ACTIVATIONS = {
    Sigmoid: "Sigmoid",
    Tanh: "Tanh",
    ReLU: "Relu",
    LeakyReLU: "LeakyRelu",
    ELU: "Elu",
    Softmax: "Softmax",
}
KEY = "fastnet"  # of the metadata
# The file is compared with the network on so many rows, by so much of the outputs' size or of 1;
# on fewer where they would be more numbers than that.
ROWS_COMPARED, ALLOWED, MOST_COMPARED = 64, 1e-5, 2**24
# Protobuf counts the bytes of a file in 32 bits with a sign.
LARGEST = 2**31 - 1
ROOM = 4096  # bytes for what a layer takes beside its numbers, with room to spare


def export(network: Network, path: str | os.PathLike[str]) -> float:
    """Write a network as ONNX and return by how much it differs; see `Network.export_onnx`."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"to export to ONNX, {error.name} is needed: {INSTALL}") from None
    atomic.check(path)
    if not network.is_finite():
        raise ValueError(
            "parameters of the network are NaN or infinite; expected finite ones, of which "
            "onnxruntime's outputs can be compared; nothing was written"
        )
    metadata = _metadata(network)
    _check_size(network, metadata)
    content = _Graph(onnx, network, metadata).model().SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    difference = _compare(network, session)
    with atomic.replacing(path) as file:
        file.write(content)
    return difference


def input_dtype(network: Network) -> np.dtype[Any]:
    """Return the dtype that the file takes features in; a preparation works in float64."""
    return network.dtype if network.preparation is None else np.dtype(np.float64)


def labels(network: Network) -> Array | None:
    """Return the classes as the file gives them: those of bytes are texts there."""
    classes = network.classes
    if classes is None or classes.dtype.kind != "S":
        return classes
    return np.array([label.decode("latin-1") for label in classes.tolist()])


def _metadata(network: Network) -> str:
    """Return what stands beside the graph: how tables become ``X``, and the classes."""
    columns, known = network.layout.columns, labels(network)
    names = [column.name or str(position) for position, column in enumerate(columns)]
    features = [
        f"{name}={category}" if column.categories else name
        for name, column in zip(names, columns, strict=True)
        for category in column.categories or ("",)
    ]
    entries = {
        "features": features,
        "columns": [{"name": c.name, "categories": list(c.categories)} for c in columns],
        "label": network.layout.label,
        "classes": None if known is None else known.tolist(),
    }
    text = json.dumps(entries, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"a label or the name of a column has half a character "
            f"({text[error.start : error.end]!a}); expected valid Unicode, which ONNX's texts are"
        ) from None
    return text


def _check_size(network: Network, metadata: str) -> None:
    """Refuse what protobuf, the format of the file, has no room for."""
    numbers = network.parameter_count * network.dtype.itemsize
    if network.preparation is not None:
        numbers += 2 * 8 * network.layers[0].inputs
    if network.target_preparation is not None:
        numbers += 2 * 8 * network.layers[-1].outputs
    # Labels stand in the graph, too.
    size = numbers + 2 * len(metadata.encode()) + ROOM * (len(network.layers) + 1)
    if size > LARGEST:
        smaller = " or net.to(dtype='float32')," if network.dtype == np.float64 else ""
        raise ValueError(
            f"the network has {network.parameter_count} parameters and takes {size} bytes as ONNX; "
            f"expected at most {LARGEST}, the format's limit: export a smaller one,{smaller} or "
            f"use Network.save"
        )


class _Graph:
    """The nodes of a network, one after the other."""

    def __init__(self, onnx: Any, network: Network, metadata: str) -> None:
        self.onnx, self.network, self.metadata = onnx, network, metadata
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, array: Any) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        node = self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def model(self) -> Any:
        helper, network = self.onnx.helper, self.network
        z = self.logits()
        last = network.layers[-1]
        outputs = self.activation(last.activation, z, "outputs")
        results = [(outputs, network.dtype, ["rows", last.outputs])]
        if network.task_in_use == "classification":
            results += self.decisions(z, outputs)
        else:
            results.append(self.values(outputs))
        info = helper.make_tensor_value_info
        of_dtype = helper.np_dtype_to_tensor_dtype
        graph = helper.make_graph(
            self.nodes,
            "fastnet",
            [info("X", of_dtype(input_dtype(network)), ["rows", network.layers[0].inputs])],
            [info(name, of_dtype(np.dtype(dtype)), shape) for name, dtype, shape in results],
            self.constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPERATORS)],
            ir_version=FILE_VERSION,
            producer_name="fastnet",
            producer_version=__version__,
        )
        helper.set_model_props(model, {KEY: self.metadata})
        self.onnx.checker.check_model(model, full_check=True)
        return model

    def logits(self) -> str:
        """Add everything up to what goes into the last activation."""
        network = self.network
        a = self.prepared()
        state = network.state_dict()
        for number, layer in enumerate(network.layers, 1):
            W = self.constant(f"layer_{number}.weights", state[f"layer_{number}.weights"])
            b = self.constant(f"layer_{number}.biases", state[f"layer_{number}.biases"])
            product = self.node("MatMul", [a, W], f"layer_{number}.product")
            z = self.node("Add", [product, b], f"layer_{number}.z")
            if number < len(network.layers):
                a = self.activation(layer.activation, z, f"layer_{number}.a")
        return z

    def prepared(self) -> str:
        network, a = self.network, "X"
        if network.preparation is not None:
            shift, scale = network.preparation.numbers
            a = self.node("Sub", [a, self.constant("preparation.shift", shift)], "shifted")
            a = self.node("Mul", [a, self.constant("preparation.scale", scale)], "scaled")
            to = self.onnx.helper.np_dtype_to_tensor_dtype(network.dtype)
            return self.node("Cast", [a], "prepared", to=to)
        if network.input_scale == 1:
            return a
        factor = self.constant("input_scale", np.array(network.input_scale, network.dtype))
        return self.node("Mul", [a, factor], "scaled")

    def activation(self, f: Activation, z: str, name: str) -> str:
        if isinstance(f, Linear):
            return self.node("Identity", [z], name)
        if isinstance(f, ELU) and self.network.dtype == np.float64:
            return self.elu(f, z, name)
        alpha = {"alpha": float(f.alpha)} if isinstance(f, LeakyReLU | ELU) else {}
        axis = {"axis": 1} if isinstance(f, Softmax) else {}
        return self.node(ACTIVATIONS[type(f)], [z], name, **alpha, **axis)

    def elu(self, f: ELU, z: str, name: str) -> str:
        """Add alpha (exp(z) - 1) below 0 and z above; onnxruntime's own takes float32 alone."""
        zero = self.constant(f"{name}.zero", np.zeros(1))
        one, alpha = (
            self.constant(f"{name}.one", np.ones(1)),
            self.constant(f"{name}.alpha", [f.alpha]),
        )
        below = self.node("Exp", [self.node("Min", [z, zero], f"{name}.min")], f"{name}.exp")
        below = self.node("Sub", [below, one], f"{name}.difference")
        below = self.node("Mul", [below, alpha], f"{name}.below")
        return self.node(
            "Where", [self.node("Greater", [z, zero], f"{name}.above"), z, below], name
        )

    def values(self, outputs: str) -> tuple[str, Any, list[Any]]:
        """Add quantities as `Network.predict` gives them."""
        network, found, dtype = self.network, outputs, self.network.dtype
        if network.target_preparation is not None:
            shift, scale = network.target_preparation.numbers
            dtype = np.dtype(np.float64)
            to = self.onnx.helper.np_dtype_to_tensor_dtype(dtype)
            found = self.node("Cast", [found], "outputs_in_float64", to=to)
            divisor = self.constant("target_preparation.scale", scale)
            found = self.node("Div", [found, divisor], "unscaled")
            summand = self.constant("target_preparation.shift", shift)
            found = self.node("Add", [found, summand], "unshifted")
        columns = network.layers[-1].outputs
        if network.codec.vector and columns == 1:
            self.node("Reshape", [found, self.constant("flat", np.array([-1]))], "prediction")
            return "prediction", dtype, ["rows"]
        self.node("Identity", [found], "prediction")
        return "prediction", dtype, ["rows", columns]

    def decisions(self, z: str, outputs: str) -> list[tuple[str, Any, list[Any]]]:
        """Add classes, which are decided on logits as in `Network.predict`, and probabilities."""
        network = self.network
        last, classes = network.layers[-1], labels(network)
        is_vector = network.codec.vector
        results: list[tuple[str, Any, list[Any]]] = []
        if isinstance(last.activation, Sigmoid | Softmax):
            shares = outputs
            if last.outputs == 1:
                one = self.constant("one", np.ones(1, network.dtype))
                other = self.node("Sub", [one, outputs], "other")
                shares = self.node("Concat", [other, outputs], "shares", axis=1)
            self.node("Identity", [shares], "probabilities")
            columns = max(last.outputs, 2) if classes is not None else last.outputs
            results.append(("probabilities", network.dtype, ["rows", columns]))
        threshold = np.array(last.activation.score_threshold, network.dtype)
        int64 = self.onnx.TensorProto.INT64
        if classes is None or last.outputs == 1:
            above = self.node("Greater", [z, self.constant("threshold", threshold)], "above")
            chosen = self.node("Cast", [above], "above_as_number", to=int64)
        else:
            chosen = self.node("ArgMax", [z], "largest", axis=1, keepdims=int(not is_vector))
        if classes is None:
            self.node("Identity", [chosen], "prediction")
            return [*results, ("prediction", np.int64, ["rows", last.outputs])]
        if last.outputs == 1 and is_vector:
            chosen = self.node("Reshape", [chosen, self.constant("flat", np.array([-1]))], "index")
        texts = classes.dtype.kind == "U"
        known = self.constant("classes", classes.astype(object) if texts else classes)
        self.node("Gather", [known, chosen], "prediction", axis=0)
        dtype = np.dtype(object) if texts else classes.dtype
        return [*results, ("prediction", dtype, ["rows"] if is_vector else ["rows", 1])]


# -- the comparison -------------------------------------------------------------------------------


def _compare(network: Network, session: Any) -> float:
    """Return by how much the file's outputs differ.

    Raises
    ------
    RuntimeError
        If outputs or probabilities differ by too much, or predictions where logits are not as
        near to another decision as that.
    """
    X = sample(network).astype(input_dtype(network))
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"X": X}), strict=True))
    with np.errstate(over="ignore", invalid="ignore"):
        z, outputs = _logits(network, X), network.forward(X)
    if not (np.isfinite(z).all() and np.isfinite(outputs).all()):
        raise RuntimeError(
            "the network's own outputs for random rows are NaN or infinite, or those of its last "
            "layer before the activation; expected finite ones, which can be compared; nothing "
            "was written"
        )
    difference = _difference("outputs", found["outputs"], outputs)
    if "probabilities" in found:
        _difference("probabilities", found["probabilities"], network.predict_proba(X))
    if network.task_in_use == "classification":
        _compare_classes(network, X, z, found["prediction"])
    else:
        _compare_values(network, X, found["prediction"])
    return difference


def _difference(name: str, found: Array, expected: Array) -> float:
    """Return by how much numbers differ; raise RuntimeError if it is too much."""
    _compare_shapes(name, found, expected)
    size = max(1.0, float(np.abs(expected).max()))
    error = float(np.abs(found.astype(np.float64) - expected).max()) / size
    if not error <= ALLOWED:  # NaN is too much, too
        raise RuntimeError(
            f"onnxruntime's {name} differ from the network's by {error:.1e}, {ALLOWED:.0e} is "
            f"allowed; nothing was written"
        )
    return error


def _compare_values(network: Network, X: Array, found: Array) -> None:
    """Compare quantities in the unit of the network's outputs: a shift may dwarf what varies."""
    expected = network.predict(X)
    if network.target_preparation is not None:
        _compare_shapes("prediction", found, expected)
        columns = (len(X), network.layers[-1].outputs)
        apply = network.target_preparation.apply
        float64 = np.dtype(np.float64)
        found = apply(found.reshape(columns), float64, "prediction")
        expected = apply(expected.reshape(columns), float64, "prediction")
    _difference("prediction", found, expected)


def _compare_classes(network: Network, X: Array, z: Array, found: Array) -> None:
    expected = network.predict(X)
    _compare_shapes("prediction", found, expected)
    if expected.dtype.kind == "S":
        expected = np.char.decode(expected, "latin-1")
    is_near = _margins(network, z) <= ALLOWED * max(1.0, float(np.abs(z).max()))
    differs = (found != expected).reshape(is_near.shape)
    if (differs & ~is_near).any():
        raise RuntimeError(
            f"onnxruntime's prediction differs from the network's in "
            f"{np.count_nonzero((differs & ~is_near).any(axis=1))} of {len(X)} row(s), in which "
            f"no two logits are near; nothing was written"
        )


def _compare_shapes(name: str, found: Array, expected: Array) -> None:
    if found.shape != expected.shape:
        raise RuntimeError(
            f"{name!r} of onnxruntime has the shape {found.shape}, the network's {expected.shape}; "
            f"nothing was written"
        )


def _margins(network: Network, z: Array) -> Array:
    """Return how far logits are from another decision: (rows, decisions)."""
    last = network.layers[-1]
    if network.classes is None or last.outputs == 1:
        margins: Array = np.abs(z - last.activation.score_threshold)
        return margins
    two: Array = np.partition(z, -2, axis=1)[:, -2:]
    return np.diff(two, axis=1)


def _logits(network: Network, X: Array) -> Array:
    """Return what goes into the last activation, for features as they came."""
    executor = network.executor
    if network.preparation is not None:
        X = network.preparation.apply(X, network.dtype)
    z: Array = executor.on_host(executor.predict(X, network.input_scale, logits=True))
    return z


def sample(network: Network) -> Array:
    """Return rows for a comparison, of the size that the network is used to."""
    inputs = network.layers[0].inputs
    count = max(1, min(ROWS_COMPARED, MOST_COMPARED // inputs))
    numbers = Stream(network.seed, EXPORT_CHECK).uniform(count * inputs)
    rows: Array = 2 * numbers.reshape(count, inputs) - 1
    if network.preparation is None:
        return rows / network.input_scale
    shift, scale = network.preparation.numbers
    return rows * np.divide(1, scale, out=np.zeros(inputs), where=scale != 0) + shift
