"""Arguments for every op of the contract, on a few shapes that trainings have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnet.execution import codes
from fastnet.execution.buffers import CLOCK, RATE, SCALARS, SCALE, STEP, TOTALS

Array = np.ndarray[Any, np.dtype[Any]]

PARAMETERS = 101_770  # of 784-128-10
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
# A rate so small that thousands of rounds on the same gradient change nothing much.
RATE_OF_ROUNDS = 1e-9


class Case(NamedTuple):
    """One op on one shape; ``arguments`` makes new buffers of a dtype, outputs first."""

    op: str
    label: str
    arguments: Callable[[np.dtype[Any]], list[Any]]
    dtypes: tuple[str, ...] = ("float32",)

    @property
    def name(self) -> str:
        """Return what the tables call it, without the dtype."""
        return f"{self.op} {self.label}"


class Maker:
    """Buffers with ordinary numbers in them, the same ones every time."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype, self.random = dtype, np.random.default_rng(0)

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        """Return normal numbers."""
        return (scale * self.random.standard_normal(shape)).astype(self.dtype)

    def order(self, rows: int) -> Array:
        """Return a permutation of row numbers."""
        return self.random.permutation(rows).astype(np.int32)

    def one_hot(self, rows: int, classes: int) -> Array:
        """Return one-hot rows."""
        return np.eye(classes, dtype=self.dtype)[self.random.integers(0, classes, rows)]

    def ones(self, size: int) -> Array:
        """Return ones."""
        return np.ones(size, self.dtype)


def _scalars() -> Array:
    scalars = np.zeros(SCALARS)
    scalars[RATE], scalars[SCALE] = RATE_OF_ROUNDS, 1 / 128
    return scalars


def _clock() -> Array:
    clock = np.zeros(CLOCK, np.int64)
    clock[STEP] = 1
    return clock


def _matmul(op: str, m: int, n: int, k: int, *dtypes: str) -> Case:
    """Return a product with m x n results, each a sum of k terms."""

    def arguments(dtype: np.dtype[Any]) -> list[Any]:
        make = Maker(dtype)
        out = make.normal(m, n)
        if op == "matmul_nn":
            return [out, make.normal(m, k), make.normal(k, n), 0]
        if op == "matmul_tn":
            return [out, make.normal(k, m), make.normal(k, n), 0, 0]
        return [out, make.normal(m, k), make.normal(n, k), 0]

    return Case(op, f"{m} x {n} x {k}", arguments, dtypes or ("float32",))


def _activation(op: str, name: str, code: int, rows: int, columns: int) -> Case:
    def arguments(dtype: np.dtype[Any]) -> list[Any]:
        make = Maker(dtype)
        z = make.normal(rows, columns)
        if op == "bias_activation":
            return [np.empty_like(z), z, np.zeros(columns, dtype), code, 0.01]
        if op == "activation":
            return [np.empty_like(z), z, code, 0.01]
        # So near to 0 that round after round multiplies by 1, and never down to subnormals.
        a = np.maximum(make.normal(rows, columns, scale=1e-9), 0)
        return [make.normal(rows, columns), a, z, code, 0.01]

    return Case(op, f"{name} {rows} x {columns}", arguments)


def _column_sum(dtype: np.dtype[Any]) -> list[Any]:
    make = Maker(dtype)
    return [make.normal(128), make.normal(128, 128), 0]


def _elementwise_loss(dtype: np.dtype[Any]) -> list[Any]:
    make, rows, outputs = Maker(dtype), 256, 3
    z = make.normal(rows, outputs)
    results = [make.normal(rows, outputs), make.normal(rows), make.normal(rows)]
    targets = make.normal(rows, outputs)
    return [
        *(*results, z, z, targets, make.ones(rows), _scalars()),
        *(codes.MSE, codes.NO_HITS, 0.0),
    ]


def _cross_entropy(dtype: np.dtype[Any]) -> list[Any]:
    make, rows, outputs = Maker(dtype), 128, 10
    results = [make.normal(rows, outputs), make.normal(rows), make.normal(rows)]
    return [
        *(*results, make.normal(rows, outputs), make.one_hot(rows, outputs), make.ones(rows)),
        *(_scalars(), codes.CATEGORICAL_CROSSENTROPY, codes.SOFTMAX, codes.ARGMAX_HITS, 0.0),
    ]


def _gather_bytes(dtype: np.dtype[Any]) -> list[Any]:
    make, rows = Maker(dtype), 60_000
    features = make.random.integers(0, 256, (rows, 784)).astype(np.uint8)
    return [
        make.normal(128, 784),
        features,
        make.order(rows),
        np.zeros(CLOCK, np.int64),
        0,
        1 / 255,
    ]


def _gather_floats(dtype: np.dtype[Any]) -> list[Any]:
    make, rows = Maker(dtype), 20_000
    clock = np.zeros(CLOCK, np.int64)
    return [make.normal(256, 64), make.normal(rows, 64), make.order(rows), clock, 0, 1.0]


def _gather_targets(dtype: np.dtype[Any]) -> list[Any]:
    make, rows = Maker(dtype), 60_000
    classes = make.random.integers(0, 10, rows).astype(np.int32)
    clock = np.zeros(CLOCK, np.int64)
    out = [make.normal(128, 10), make.normal(128)]
    return [*out, classes, np.empty(0, dtype), make.order(rows), clock, 0]


def _begin_step(dtype: np.dtype[Any]) -> list[Any]:  # noqa: ARG001 - all of it is float64
    return [_scalars(), np.zeros(CLOCK, np.int64), np.zeros(1), np.zeros(1)]


def _add_losses(dtype: np.dtype[Any]) -> list[Any]:
    make = Maker(dtype)
    return [_scalars(), make.normal(1024), make.ones(1024)]


def _count_step(dtype: np.dtype[Any]) -> list[Any]:  # noqa: ARG001 - all of it is float64
    return [_scalars(), np.zeros(CLOCK, np.int64), np.zeros(TOTALS), 128]


def _sgd(dtype: np.dtype[Any]) -> list[Any]:
    make = Maker(dtype)
    return [make.normal(PARAMETERS), make.normal(PARAMETERS), _scalars()]


def _momentum(dtype: np.dtype[Any]) -> list[Any]:
    make = Maker(dtype)
    vectors = [make.normal(PARAMETERS) for _ in range(3)]
    return [*vectors, _scalars(), 0.9, 0]


def _adam(dtype: np.dtype[Any]) -> list[Any]:
    make = Maker(dtype)
    theta, m, gradient = (make.normal(PARAMETERS) for _ in range(3))
    v = np.abs(make.normal(PARAMETERS))
    return [theta, m, v, gradient, _scalars(), _clock(), BETA_1, BETA_2, EPSILON]


BOTH = ("float32", "float64")
CASES = [
    _matmul("matmul_nn", 32, 64, 784),
    _matmul("matmul_nn", 128, 128, 784, *BOTH),
    _matmul("matmul_nn", 256, 512, 512),
    _matmul("matmul_tn", 98, 128, 128, *BOTH),
    _matmul("matmul_tn", 784, 64, 32),
    _matmul("matmul_nt", 128, 128, 10, *BOTH),
    _matmul("matmul_nt", 256, 512, 512),
    _activation("bias_activation", "relu", codes.RELU, 128, 128),
    _activation("bias_activation", "sigmoid", codes.SIGMOID, 128, 128),
    _activation("bias_activation", "tanh", codes.TANH, 256, 512),
    _activation("activation", "softmax", codes.SOFTMAX, 128, 10),
    _activation("activation_backward", "relu", codes.RELU, 128, 128),
    _activation("activation_backward", "tanh", codes.TANH, 128, 128),
    Case("column_sum", "128 x 128", _column_sum, BOTH),
    Case("elementwise_loss", "mse 256 x 3", _elementwise_loss),
    Case("cross_entropy", "softmax 128 x 10", _cross_entropy, BOTH),
    Case("gather_features", "bytes 128 x 784", _gather_bytes),
    Case("gather_features", "floats 256 x 64", _gather_floats),
    Case("gather_targets", "classes 128 x 10", _gather_targets),
    Case("begin_step", "", _begin_step),
    Case("add_losses", "1024 rows", _add_losses),
    Case("count_step", "", _count_step),
    Case("sgd_step", f"{PARAMETERS:,}", _sgd),
    Case("momentum_step", f"{PARAMETERS:,}", _momentum),
    Case("adam_step", f"{PARAMETERS:,}", _adam, BOTH),
]
