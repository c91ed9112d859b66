"""Examples worked by hand, with every number written out."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from fastnet import Dense, Network
from fastnet.activations import ACTIVATIONS, activation
from fastnet.losses import LOSSES, is_legal, loss


def test_cross_entropy_of_three_rows() -> None:
    """-log of the probability at the true class, averaged: classes 1, 0, 2."""
    p = np.array([[0.1, 0.5, 0.2, 0.2], [0.3, 0.4, 0.2, 0.1], [0.2, 0.3, 0.4, 0.1]])
    net = Network(
        [Dense(4, 4, "softmax")], loss="categorical_crossentropy", dtype="float64", backend="numpy"
    )
    net.parameters = np.concatenate([np.eye(4).ravel(), np.zeros(4)])  # logits = inputs
    expected = (log(2) + log(10 / 3) + log(2.5)) / 3
    got = net.evaluate(np.log(p), [1, 0, 2])
    assert got["loss"] == pytest.approx(expected, rel=1e-14)
    assert got["accuracy"] == 2 / 3  # row 1 is taken for class 1


def test_parameters_of_64_64_10() -> None:
    net = Network(
        [Dense(64, 64, "relu"), Dense(64, 10, "softmax")], loss="categorical_crossentropy"
    )
    assert net.parameter_count == 64 * 64 + 64 + 64 * 10 + 10 == 4810
    assert net.parameters.shape == (4810,)


def test_one_step_of_2_2_1() -> None:
    """A relu layer and a sigmoid output under log_loss, two rows, one step of plain descent.

    W1 = [[1, -1], [0.5, 2]], b1 = [0, 0.5], W2 = [[2], [-1]], b2 = [0.25]

    row 1: x = (1, 2), t = 1
        Z1 = (1*1 + 2*0.5 + 0, 1*(-1) + 2*2 + 0.5) = (2, 3.5), A1 = (2, 3.5)
        Z2 = 2*2 - 3.5 + 0.25 = 0.75
    row 2: x = (2, -1), t = 0
        Z1 = (2 - 0.5, -2 - 2 + 0.5) = (1.5, -3.5), A1 = (1.5, 0): the second unit is off
        Z2 = 3 - 0 + 0.25 = 3.25
    """
    net = Network(
        [Dense(2, 2, "relu"), Dense(2, 1, "sigmoid")],
        loss="log_loss",
        dtype="float64",
        backend="numpy",
    )
    net.parameters = [1, -1, 0.5, 2, 0, 0.5, 2, -1, 0.25]
    X, y = [[1.0, 2.0], [2.0, -1.0]], [1, 0]
    p1, p2 = 1 / (1 + exp(-0.75)), 1 / (1 + exp(-3.25))
    hidden, output = net.trace(X, y)

    np.testing.assert_array_equal(hidden.Z, [[2, 3.5], [1.5, -3.5]])
    np.testing.assert_array_equal(hidden.A, [[2, 3.5], [1.5, 0]])
    np.testing.assert_array_equal(output.Z, [[0.75], [3.25]])
    np.testing.assert_allclose(output.A, [[p1], [p2]], rtol=1e-15)

    # dZ2 = (p - t) / rows;  dW2 = A1^T dZ2;  db2 = their sum
    e1, e2 = (p1 - 1) / 2, p2 / 2
    np.testing.assert_allclose(output.dZ, [[e1], [e2]], rtol=1e-15)
    np.testing.assert_allclose(output.dW, [[2 * e1 + 1.5 * e2], [3.5 * e1]], rtol=1e-15)
    np.testing.assert_allclose(output.db, [e1 + e2], rtol=1e-15)
    # dA1 = dZ2 W2^T = (2 e, -e);  the unit that is off passes nothing on
    np.testing.assert_allclose(hidden.dZ, [[2 * e1, -e1], [2 * e2, 0]], rtol=1e-15)
    np.testing.assert_allclose(
        hidden.dW, [[2 * e1 + 4 * e2, -e1], [4 * e1 - 2 * e2, -2 * e1]], rtol=1e-15
    )
    np.testing.assert_allclose(hidden.db, [2 * e1 + 2 * e2, -e1], rtol=1e-15)
    assert hidden["dW"] is hidden.dW

    value, gradient = net.loss_and_gradient(X, y)
    assert value == pytest.approx((log(1 + exp(-0.75)) + log(1 + exp(3.25))) / 2, rel=1e-15)
    before = net.parameters
    net.fit(X, y, optimizer="sgd(0.5)", batch_size=None, epochs=1)
    np.testing.assert_allclose(net.parameters, before - 0.5 * gradient, rtol=1e-15)
    assert net.parameters[6] == pytest.approx(2 - 0.5 * (2 * e1 + 1.5 * e2), rel=1e-15)


EXTREMES = {
    "huge logits": np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]]),
    "identical rows": np.full((3, 3), 0.7),
    "one row": np.array([[3.0, -2.0, 0.5]]),
    "one row of equals": np.zeros((1, 3)),
}
TARGETS = {
    "soft": lambda rows: np.full((rows, 3), [0.2, 0.5, 0.3]),
    "one class": lambda rows: np.tile([1.0, 0.0, 0.0], (rows, 1)),
    "all": lambda rows: np.ones((rows, 3)),
    "none": lambda rows: np.zeros((rows, 3)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", EXTREMES)
@pytest.mark.parametrize("targets", TARGETS)
def test_extremes_are_finite_for_every_legal_pair(rows: str, targets: str, dtype: str) -> None:
    X = EXTREMES[rows]
    t = TARGETS[targets](len(X))
    for loss_name in LOSSES:
        for output in ACTIVATIONS:
            if not is_legal(loss(loss_name), activation(output)):
                continue
            net = Network([Dense(3, 3, output)], loss=loss_name, dtype=dtype, task="regression")
            net.parameters = np.concatenate([np.eye(3).ravel(), np.zeros(3)])
            value, gradient = net.loss_and_gradient(X, t)
            assert np.isfinite(value), (loss_name, output)
            assert np.isfinite(gradient).all(), (loss_name, output)
