"""Every hand-derived gradient against central differences, and that the check itself can fail."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastnet
from fastnet import Dense, Network
from fastnet.activations import ACTIVATIONS, ReLU, activation
from fastnet.losses import LOSSES, LogLoss, is_legal, loss

PAIRS = [
    (loss_name, output)
    for loss_name, output in itertools.product(LOSSES, ACTIVATIONS)
    if is_legal(loss(loss_name), activation(output))
]
HIDDEN = ["sigmoid", "tanh", "relu", "leaky_relu(0.1)", "elu(0.8)", "linear"]


def network(loss_name: str, output: str, depth: int, **options: object) -> Network:
    hidden = itertools.cycle(HIDDEN[(len(output) + depth) % len(HIDDEN) :] + HIDDEN)
    sizes = [3, 5, 4, 3][-depth - 1 :]
    layers = [
        Dense(i, o, next(hidden), biases="normal(0.3)") for i, o in itertools.pairwise(sizes[:-1])
    ]
    last = Dense(sizes[-2], sizes[-1], output, biases="normal(0.3)")
    return Network([*layers, last], loss=loss_name, dtype="float64", backend="numpy", **options)


def test_all_legal_pairs_are_here() -> None:
    assert len(PAIRS) == 2 * 7 + 2 * 2


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("rows", [1, 5, 8])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("loss_name", "output"), PAIRS)
def test_gradient(loss_name: str, output: str, depth: int, rows: int, weighted: bool) -> None:
    rng = np.random.default_rng(rows + 10 * depth)
    net = network(loss_name, output, depth)
    X = rng.normal(size=(rows, net.layers[0].inputs))
    t = rng.uniform(size=(rows, 3))  # soft targets whose rows do not sum to 1
    weights = rng.uniform(0.5, 2, size=rows) if weighted else None
    result = fastnet.gradcheck(net, X, t, sample_weight=weights)
    assert result.error <= 1e-6, result
    assert result.passed
    assert sum(row.checked for row in result.rows) == net.parameter_count


def test_every_hidden_activation() -> None:
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(6, 5)), np.arange(6) % 3
    for name in HIDDEN:
        net = Network(
            [Dense(5, 7, name), Dense(7, 3, "softmax")],
            loss="categorical_crossentropy",
            dtype="float64",
        )
        assert fastnet.gradcheck(net, X, y).error <= 1e-6


def test_kinks_are_avoided() -> None:
    """All-zero rows put every relu exactly on its kink; the check moves away and says so."""
    net = Network([Dense(4, 6, "relu"), Dense(6, 2, "linear")], loss="mae", dtype="float64")
    result = fastnet.gradcheck(net, np.zeros((3, 4)), np.ones((3, 2)))
    assert result.moved
    assert result.passed, result
    assert "moved away from kinks" in str(result)


def test_inputs_of_any_size() -> None:
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1.0, 255.0):
        net = Network(
            [Dense(6, 5, "tanh", weights=f"normal({0.5 / scale})"), Dense(5, 3, "softmax")],
            loss="categorical_crossentropy",
            dtype="float64",
        )
        assert fastnet.gradcheck(net, scale * rng.normal(size=(5, 6)), [0, 1, 2, 0, 1]).passed


def test_the_network_is_left_alone() -> None:
    net = network("mse", "linear", 2, seed=3)
    before = net.parameters
    fastnet.gradcheck(net, np.ones((2, 5)), np.ones((2, 3)))
    np.testing.assert_array_equal(net.parameters, before)


def broken_relu_backward(d, a, z, alpha):  # the derivative of nothing
    d *= 0.999


def broken_log_loss(d, row_loss, z, t):
    LOG_LOSS_SIGMOID(d, row_loss, z, t)
    d *= 1 / (1 + np.exp(-np.abs(z)))  # the sigmoid's own derivative, left over


LOG_LOSS_SIGMOID = LogLoss.sigmoid


@pytest.mark.parametrize("broken", ["relu", "log_loss", "bias", "factor 2"])
def test_a_broken_derivative_fails(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Among them the errors that tutorials are known for."""
    rng = np.random.default_rng(2)
    net = Network(
        [Dense(4, 5, "relu"), Dense(5, 3, "sigmoid")],
        loss="mse" if broken == "factor 2" else "log_loss",
        dtype="float64",
        backend="numpy",
    )
    X, t = rng.normal(size=(5, 4)), rng.uniform(size=(5, 3))
    assert fastnet.gradcheck(net, X, t).passed

    from fastnet.execution import numpy_ops
    from fastnet.losses import MeanSquaredError

    if broken == "relu":
        monkeypatch.setattr(ReLU, "backward", staticmethod(broken_relu_backward))
    elif broken == "log_loss":
        monkeypatch.setattr(LogLoss, "sigmoid", staticmethod(broken_log_loss))
    elif broken == "bias":  # summed over everything, so that all biases move together
        monkeypatch.setattr(numpy_ops, "column_sum", lambda out, d, beta: out.fill(d.sum()))
    else:
        right = MeanSquaredError.value_and_gradient

        def without_two(d, row_loss, a, t):
            right(d, row_loss, a, t)
            d /= 2

        monkeypatch.setattr(MeanSquaredError, "value_and_gradient", staticmethod(without_two))
    result = fastnet.gradcheck(net, X, t)
    assert not result.passed
    assert result.error > 1e-3
    assert "FAILED" in str(result)
