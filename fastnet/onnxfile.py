"""Export to ONNX, for programs that run networks and do not train them.

https://onnx.ai/onnx/intro/concepts.html; the operators are those of version 17 of the standard.
"""

from __future__ import annotations

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
# The file is compared with the network on so many rows, by so much of the outputs' size or of 1.
ROWS_COMPARED, ALLOWED = 64, 1e-5


def export(network: Network, path: str | os.PathLike[str]) -> float:
    """Write a network as ONNX and return by how much it differs; see `Network.export_onnx`."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"to export to ONNX, {error.name} is needed: {INSTALL}") from None
    atomic.check(path)
    content = _Graph(onnx, network).model().SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    difference = _compare(network, session)
    with atomic.replacing(path) as file:
        file.write(content)
    return difference


def input_dtype(network: Network) -> np.dtype[Any]:
    """Return the dtype that the file takes features in; a preparation works in float64."""
    return network.dtype if network.preparation is None else np.dtype(np.float64)


class _Graph:
    """The nodes of a network, one after the other."""

    def __init__(self, onnx: Any, network: Network) -> None:
        self.onnx, self.network = onnx, network
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

    def decisions(self, z: str, outputs: str) -> list[tuple[str, Any, list[Any]]]:
        """Add classes, which are decided on logits as in `Network.predict`, and probabilities."""
        network = self.network
        last, classes = network.layers[-1], network.classes
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
            chosen = self.node("ArgMax", [z], "largest", axis=1, keepdims=0)
        if classes is None:
            self.node("Identity", [chosen], "prediction")
            return [*results, ("prediction", np.int64, ["rows", last.outputs])]
        if last.outputs == 1:
            chosen = self.node("Reshape", [chosen, self.constant("flat", np.array([-1]))], "index")
        labels = classes.astype(object) if classes.dtype.kind in "US" else classes
        known = self.constant("classes", labels)
        self.node("Gather", [known, chosen], "prediction", axis=0)
        dtype = np.dtype(object) if labels.dtype == object else labels.dtype
        return [*results, ("prediction", dtype, ["rows"])]


def _compare(network: Network, session: Any) -> float:
    """Return by how much the file's outputs differ; raise RuntimeError if it is too much."""
    X = sample(network).astype(input_dtype(network))
    found = session.run(["outputs"], {"X": X})[0]
    expected = network.forward(X)
    size = max(1.0, float(np.abs(expected).max()))
    error = float(np.abs(found.astype(np.float64) - expected).max()) / size
    if not error <= ALLOWED:
        raise RuntimeError(
            f"onnxruntime's outputs differ from the network's by {error:.1e}, {ALLOWED:.0e} is "
            f"allowed; nothing was written"
        )
    return error


def sample(network: Network) -> Array:
    """Return rows for a comparison, of the size that the network is used to."""
    inputs = network.layers[0].inputs
    numbers = Stream(network.seed, EXPORT_CHECK).uniform(ROWS_COMPARED * inputs)
    rows: Array = 2 * numbers.reshape(ROWS_COMPARED, inputs) - 1
    if network.preparation is None:
        return rows / network.input_scale
    shift, scale = network.preparation.numbers
    return rows * np.divide(1, scale, out=np.zeros(inputs), where=scale != 0) + shift
