"""Every hand-derived gradient against central differences, and that the check itself can fail."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastnet
from fastnet import Adam, Dense, Network
from fastnet.activations import ACTIVATIONS, ReLU, activation
from fastnet.checking import BlockCheck, GradientCheck
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
    assert not result.failed
    assert sum(row.checked for row in result.rows) == net.parameter_count
    # One row that mae pulls the same way at every output of a softmax has a gradient of 0: whether
    # its differences, all rounding, resolve 1e-14 is chance.
    if any(row.size > 0 for row in result):
        assert result.passed, result
        assert max(row.floor for row in result) < 1e-7, result  # it hides nothing ordinary


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
    assert result.failed


# -- trained networks, whose gradients are small --------------------------------------------------


def trained_on_few_features() -> tuple[Network, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = (X @ [1, -2, 0.5] > 0).astype(int)
    net = Network(
        [Dense(3, 16, "relu"), Dense(16, 2, "softmax")],
        loss="categorical_crossentropy",
        dtype="float64",
        backend="numba",  # trains faster than NumPy
        seed=1,
    )
    net.fit(X, y, optimizer=Adam(1e-2), batch_size=32, epochs=2_000, progress=False)
    return net.to("numpy"), X[:5], y[:5]


def trained_on_bytes() -> tuple[Network, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    X = rng.integers(0, 256, size=(400, 100), dtype=np.uint8)
    X[:, rng.random(100) < 0.3] = 0
    y = (X[:, :50] @ rng.normal(size=(50, 4))).argmax(axis=1)
    net = Network(
        [Dense(100, 32, "relu"), Dense(32, 4, "softmax")],
        loss="categorical_crossentropy",
        dtype="float64",
        backend="numba",  # trains faster than NumPy
        seed=0,
    )
    net.fit(X, y, optimizer=Adam(1e-3), batch_size=32, epochs=60, progress=False)
    return net.to("numpy"), X[:5], y[:5]


@pytest.fixture(scope="module", params=[trained_on_few_features, trained_on_bytes])
def trained(request: pytest.FixtureRequest) -> tuple[Network, np.ndarray, np.ndarray]:
    return request.param()


def test_right_gradients_of_a_trained_network_do_not_fail(trained) -> None:
    net, X, y = trained
    result = fastnet.gradcheck(net, X, y)
    assert not result.failed, result
    for row in result:
        assert row.error <= 1e-6 + row.floor
        assert row.outcome(1e-6) == ("too flat" if row.block in result.too_flat else "passed")
    assert result.too_flat, result
    assert not result.passed
    assert result.verdict.startswith("too flat to be checked to 1e-06: layer_1.weights (to ")
    assert "FAILED" not in str(result)
    assert "passed" not in result.verdict
    plain = result.to_dict()
    assert plain["passed"] is False
    assert plain["failed"] == []
    assert plain["too_flat"] == result.too_flat
    assert [row["floor"] for row in plain["rows"]] == [row.floor for row in result]
    assert {row["outcome"] for row in plain["rows"]} <= {"passed", "too flat"}
    # Where it is checked at all, it is checked well: a tolerance that the floor allows is met.
    loose = fastnet.gradcheck(net, X, y, tolerance=2 * max(row.floor for row in result))
    assert loose.passed or all(row.size < 1e-8 for row in loose if row.block in loose.too_flat)


def test_a_wrong_gradient_of_a_trained_network_fails(
    monkeypatch: pytest.MonkeyPatch, trained
) -> None:
    net, X, y = trained
    monkeypatch.setattr(ReLU, "backward", staticmethod(nearly_right_relu_backward))
    result = fastnet.gradcheck(net, X, y)
    assert not result.passed
    if result.rows[0].size >= 1e-8:  # else nothing can be told, and the verdict says so
        assert "layer_1.weights" in result.failed, result
        assert result.verdict.startswith("FAILED: largest error ")
    else:
        assert "layer_1.weights" in result.too_flat, result


def nearly_right_relu_backward(d, a, z, alpha):
    np.copyto(d, 0, where=a <= 0)
    d *= 0.99


@pytest.mark.parametrize("factor", [3, 30, 300])
def test_next_to_no_gradient_is_never_called_passed(
    monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    """Logits so far apart that the loss does not change: right or wrong, nothing was checked."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(5, 4)), np.zeros(5, dtype=int)
    last = Dense(6, 3, "softmax")
    net = Network([Dense(4, 6, "relu"), last], loss="categorical_crossentropy", backend="numpy").to(
        dtype="float64"
    )
    parameters = net.parameters
    parameters[-3:] = [10.0 * factor, 0, 0]
    net.parameters = parameters
    result = fastnet.gradcheck(net, X, y)
    assert not result.failed, result
    if factor == 3:
        assert result.too_flat
    monkeypatch.setattr(ReLU, "backward", staticmethod(nearly_right_relu_backward))
    assert not fastnet.gradcheck(net, X, y).passed or not net.loss_and_gradient(X, y)[1].any()


def test_a_floor_does_not_pass_what_is_not_a_number() -> None:
    row = BlockCheck("layer_1.weights", (1, 1), 1, float("nan"), float("inf"), 1.0)
    assert row.outcome(1e-6) == "FAILED"
    assert GradientCheck([row], 1e-6, False).failed == ["layer_1.weights"]
