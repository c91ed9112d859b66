"""Every op of every backend against the naive float64 oracle, and at the edges.

Outputs are full of NaN beforehand and stand between guards inside a larger buffer, as the views of
a network's flat buffers do; inputs are compared bit by bit after the call.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import naive
import numpy as np
import pytest
from backends import OPS
from tolerances import (
    assert_close,
    base,
    base_and_sum,
    slope_bound,
    sum_bound,
)

from fastnet.activations import ACTIVATIONS
from fastnet.execution import codes
from fastnet.execution.buffers import (
    BATCH,
    CLOCK,
    HALTED,
    HITS,
    LOSS,
    RATE,
    ROW,
    SCALARS,
    SCALE,
    STEP,
    TOTAL_HITS,
    TOTAL_LOSS,
    TOTALS,
)
from fastnet.losses import LOSSES

Array = np.ndarray[Any, np.dtype[Any]]

# Rows and columns: one, tails of every vector width, primes, more than one tile.
SHAPES = [
    (1, 1),
    (1, 129),
    (2, 3),
    (3, 2),
    (7, 17),
    (17, 7),
    (33, 33),
    (33, 129),
    (129, 1),
    (129, 2),
    (0, 5),
]
SIZES = [1, 2, 3, 7, 17, 33, 129]
# (m, k, n) of a product (m, k) (k, n).
PRODUCTS = [
    *((size, size, size) for size in SIZES[:-1]),
    (129, 3, 2),
    (2, 129, 3),
    (3, 2, 129),
    (129, 17, 7),
    (7, 129, 33),
    (33, 7, 129),
    (129, 129, 1),
    (1, 129, 129),
    (129, 1, 33),
    (0, 7, 3),
]
FUNCTIONS = [
    ("linear", 0.0),
    ("sigmoid", 0.0),
    ("tanh", 0.0),
    ("relu", 0.0),
    ("leaky_relu", 0.01),
    ("leaky_relu", 0.3),
    ("leaky_relu", 0.0),
    ("elu", 1.0),
    ("elu", 0.7),
    ("softmax", 0.0),
]
RULES = {
    "argmax": codes.ARGMAX_HITS,
    "threshold": codes.THRESHOLD_HITS,
    "none": codes.NO_HITS,
}
CROSS_ENTROPIES = [
    (loss, activation)
    for loss in ("log_loss", "categorical_crossentropy")
    for activation in ("sigmoid", "softmax")
]

VALUE_TESTS: dict[str, list[Callable[..., None]]] = {}


def value_test(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a test as one that compares the values of these ops with the oracle."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        for name in names:
            VALUE_TESTS.setdefault(name, []).append(test)
        return test

    return mark


# -- buffers --------------------------------------------------------------------------------------

GUARD, WIDTH = 77, 5  # an odd width, so that no buffer is aligned better than its elements


class Room:
    """Hands out buffers between guards, and knows afterwards who wrote beside them."""

    def __init__(self) -> None:
        self.flats: list[Array] = []
        self.inputs: list[tuple[Array, bytes]] = []

    def __call__(self, values: Any, dtype: Any = None) -> Array:
        """Return a copy of an array that stands between guards."""
        array = np.asarray(values, dtype)
        flat = np.full(array.size + 2 * WIDTH, GUARD, array.dtype)
        self.flats.append(flat)
        view = flat[WIDTH : WIDTH + array.size].reshape(array.shape)
        view[...] = array
        return view

    def out(self, shape: int | tuple[int, ...], dtype: Any) -> Array:
        """Return an output full of NaN."""
        return self(np.full(shape, np.nan, dtype))

    def read(self, values: Any, dtype: Any = None) -> Array:
        """Return an input that must not change."""
        view = self(values, dtype)
        self.inputs.append((view, view.tobytes()))
        return view

    def check(self) -> None:
        for flat in self.flats:
            guards = np.concatenate([flat[:WIDTH], flat[-WIDTH:]])
            assert (guards == GUARD).all(), "an op wrote beside its output"
        for view, before in self.inputs:
            assert view.tobytes() == before, "an op changed an input"


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    room.check()


@pytest.fixture(params=list(OPS))
def ops(request: pytest.FixtureRequest) -> Iterator[Any]:
    # Ops run under the executor's errstate: what is not finite is found by its value.
    with np.errstate(all="ignore"):
        yield OPS[request.param]


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def spiky(shape: int | tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    """Return values over six decades of both signs, with zeros of both signs among them."""
    rng = np.random.default_rng([seed, *np.atleast_1d(shape)])
    values = np.asarray(rng.choice([-1.0, 1.0], shape) * 10 ** rng.uniform(-3, 3, shape))
    kind = rng.integers(0, 12, shape)
    values[kind == 0] = 0.0
    values[kind == 1] = -0.0
    return values.astype(dtype)


def smooth(shape: int | tuple[int, ...], dtype: str, seed: int = 0) -> Array:
    """Return values of size 1."""
    return np.random.default_rng([seed, *np.atleast_1d(shape)]).normal(size=shape).astype(dtype)


def row_weights(rows: int, dtype: str) -> Array:
    """Return row weights, some of them 0."""
    return np.resize(np.array([1.0, 0.0, 2.5, 0.3, 1e-3]), rows).astype(dtype)


def scalars_with(room: Room, **slots: float) -> Array:
    """Return the scalars, NaN but for HALTED and what is given."""
    names = {"rate": RATE, "scale": SCALE, "loss": LOSS, "hits": HITS, "halted": HALTED}
    scalars = room.out(SCALARS, "float64")
    scalars[HALTED] = 0
    for name, value in slots.items():
        scalars[names[name]] = value
    return scalars


def clock_at(room: Room, *, step: int = 0, batch: int = 0, row: int = 0) -> Array:
    clock = room(np.zeros(CLOCK, np.int64))
    clock[[STEP, BATCH, ROW]] = step, batch, row
    return clock


def code_of(name: str) -> int:
    return ACTIVATIONS[name].code


def absolute(array: Array) -> Array:
    return np.abs(array.astype(np.float64))


def test_the_fixtures_find_a_write_beside_an_output_and_into_an_input() -> None:
    room = Room()
    room.out((2, 3), "float32")
    x = room.read(np.ones(4))
    room.check()
    x[1] = 2
    with pytest.raises(AssertionError, match="changed an input"):
        room.check()
    x[1] = 1
    room.flats[0][WIDTH - 1] = 0
    with pytest.raises(AssertionError, match="beside"):
        room.check()


def test_spiky_values_are_spread() -> None:
    values = spiky((33, 129), "float32")
    assert np.abs(values).max() > 900
    assert 0 < np.abs(values[values != 0]).min() < 2e-3
    assert ((values == 0) & np.signbit(values)).any()
    assert ((values == 0) & ~np.signbit(values)).any()


# -- matmul ---------------------------------------------------------------------------------------


@value_test("matmul_nn")
@pytest.mark.parametrize(("m", "k", "n"), PRODUCTS)
@pytest.mark.parametrize("make", [smooth, spiky])
def test_matmul_nn(ops: Any, room: Room, dtype: str, make: Any, m: int, k: int, n: int) -> None:
    a, b = room.read(make((m, k), dtype, 1)), room.read(make((k, n), dtype, 2))
    product, size = naive.matmul(a, b), absolute(a) @ absolute(b)
    out = room.out((m, n), dtype)
    ops.matmul_nn(out, a, b, 0)
    assert_close(out, product, dtype, sum_bound(k, size, dtype))

    before = make((m, n), dtype, 3)
    out[...] = before
    ops.matmul_nn(out, a, b, 1)
    assert_close(out, before + product, dtype, sum_bound(k + 1, size + absolute(before), dtype))


@value_test("matmul_tn")
@pytest.mark.parametrize(("m", "k", "n"), PRODUCTS)
@pytest.mark.parametrize("make", [smooth, spiky])
def test_matmul_tn(ops: Any, room: Room, dtype: str, make: Any, m: int, k: int, n: int) -> None:
    b = room.read(make((k, n), dtype, 2))
    for first, more in ((0, 0), (1, 0), (0, 2), (5, 3)):
        a = room.read(make((k, first + m + more), dtype, 1))
        used = np.ascontiguousarray(a[:, first : first + m])
        product = naive.matmul(used, b, transpose_a=True)
        size = absolute(used).T @ absolute(b)
        out = room.out((m, n), dtype)
        ops.matmul_tn(out, a, b, first, 0)
        assert_close(out, product, dtype, sum_bound(k, size, dtype))

        before = make((m, n), dtype, 3)
        out[...] = before
        ops.matmul_tn(out, a, b, first, 1)
        assert_close(out, before + product, dtype, sum_bound(k + 1, size + absolute(before), dtype))


def test_matmul_tn_writes_the_rows_of_a_product_one_part_after_the_other(
    ops: Any, room: Room, dtype: str
) -> None:
    a, b = room.read(spiky((17, 33), dtype, 1)), room.read(spiky((17, 7), dtype, 2))
    out = room.out((33, 7), dtype)
    for first, last in ((0, 8), (8, 9), (9, 33)):
        ops.matmul_tn(out[first:last], a, b, first, 0)
    expected = naive.matmul(a, b, transpose_a=True)
    assert_close(out, expected, dtype, sum_bound(17, absolute(a).T @ absolute(b), dtype))


@value_test("matmul_nt")
@pytest.mark.parametrize(("m", "k", "n"), PRODUCTS)
@pytest.mark.parametrize("make", [smooth, spiky])
def test_matmul_nt(ops: Any, room: Room, dtype: str, make: Any, m: int, k: int, n: int) -> None:
    a, b = room.read(make((m, k), dtype, 1)), room.read(make((n, k), dtype, 2))
    product, size = naive.matmul(a, b, transpose_b=True), absolute(a) @ absolute(b).T
    out = room.out((m, n), dtype)
    ops.matmul_nt(out, a, b, 0)
    assert_close(out, product, dtype, sum_bound(k, size, dtype))

    before = make((m, n), dtype, 3)
    out[...] = before
    ops.matmul_nt(out, a, b, 1)
    assert_close(out, before + product, dtype, sum_bound(k + 1, size + absolute(before), dtype))


def test_a_product_over_no_rows_is_zero(ops: Any, room: Room, dtype: str) -> None:
    a, b = room.read(np.empty((0, 3), dtype)), room.read(np.empty((0, 2), dtype))
    out = room.out((3, 2), dtype)
    ops.matmul_tn(out, a, b, 0, 0)
    assert_close(out, np.zeros((3, 2)), dtype, 0)
    out.fill(4)
    ops.matmul_tn(out, a, b, 0, 1)
    assert_close(out, np.full((3, 2), 4), dtype, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_pass_through_products(
    ops: Any, room: Room, dtype: str, bad: float
) -> None:
    """A zero on the other side hides nothing: 0 * inf is NaN."""
    zeros = np.zeros((3, 7), dtype)
    spoilt = np.zeros((7, 2), dtype)
    spoilt[4, 1] = bad
    want = np.zeros((3, 2), bool)
    want[:, 1] = True

    out = room.out((3, 2), dtype)
    ops.matmul_nn(out, room.read(zeros), room.read(spoilt), 0)
    np.testing.assert_array_equal(np.isnan(out), want)

    out = room.out((3, 2), dtype)
    ops.matmul_tn(out, room.read(zeros.T), room.read(spoilt), 0, 0)
    np.testing.assert_array_equal(np.isnan(out), want)

    out = room.out((3, 2), dtype)
    ops.matmul_nt(out, room.read(zeros), room.read(spoilt.T), 0)
    np.testing.assert_array_equal(np.isnan(out), want)


# -- bias and activation --------------------------------------------------------------------------


@value_test("activation")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "alpha"), FUNCTIONS)
def test_activation(
    ops: Any, room: Room, dtype: str, name: str, alpha: float, shape: tuple[int, int]
) -> None:
    for make in (smooth, spiky):
        z = room.read(make(shape, dtype))
        a = room.out(shape, dtype)
        ops.activation(a, z, code_of(name), alpha)
        assert_close(a, naive.activation(name, z, alpha), dtype)

        same = room(z)
        ops.activation(same, same, code_of(name), alpha)
        assert same.tobytes() == a.tobytes(), "in place the values differ"


@value_test("bias_activation")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "alpha"), FUNCTIONS)
def test_bias_activation(
    ops: Any, room: Room, dtype: str, name: str, alpha: float, shape: tuple[int, int]
) -> None:
    before, bias = spiky(shape, dtype, 1), room.read(spiky(shape[1], dtype, 2))
    z, a = room(before), room.out(shape, dtype)
    ops.bias_activation(a, z, bias, code_of(name), alpha)
    expected = before.astype(np.float64) + bias
    assert_close(z, expected, dtype, sum_bound(1, absolute(before) + absolute(bias), dtype))
    assert_close(a, naive.activation(name, z, alpha), dtype)

    same = room(before)
    ops.bias_activation(same, same, bias, code_of(name), alpha)
    assert same.tobytes() == a.tobytes(), "in place the values differ"


@pytest.mark.parametrize(("name", "alpha"), FUNCTIONS)
def test_activation_far_out(ops: Any, room: Room, dtype: str, name: str, alpha: float) -> None:
    z = room.read(
        [[-1e4, 1e4, 0.0], [1e4, 1e4, 1e4], [-1e4, -1e4, -1e4], [-0.0, 0.0, -90.0]], dtype
    )
    a = room.out((4, 3), dtype)
    ops.activation(a, z, code_of(name), alpha)
    assert_close(a, naive.activation(name, z, alpha), dtype)


@pytest.mark.parametrize(
    ("name", "at_minus_infinity", "at_infinity"),
    [
        ("linear", -np.inf, np.inf),
        ("sigmoid", 0.0, 1.0),
        ("tanh", -1.0, 1.0),
        ("relu", 0.0, np.inf),
        ("leaky_relu", -np.inf, np.inf),
        ("elu", -0.7, np.inf),
    ],
)
def test_activation_of_nan_and_infinity(
    ops: Any, room: Room, dtype: str, name: str, at_minus_infinity: float, at_infinity: float
) -> None:
    # Many columns, so that whole vectors and a tail of them are seen.
    z = room.read(np.tile(np.array([np.nan, -np.inf, np.inf], dtype), (2, 7)))
    a, bias = room.out((2, 21), dtype), room.read(np.zeros(21, dtype))
    expected = np.tile([np.nan, at_minus_infinity, at_infinity], (2, 7)).astype(dtype)
    ops.activation(a, z, code_of(name), 0.7)
    np.testing.assert_allclose(a, expected, rtol=1e-6)
    ops.bias_activation(a, room(z), bias, code_of(name), 0.7)
    np.testing.assert_allclose(a, expected, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_softmax_of_nan_and_infinity_spoils_its_row_alone(
    ops: Any, room: Room, dtype: str, bad: float
) -> None:
    z = smooth((5, 17), dtype)
    z[3, 11] = bad
    a = room.out((5, 17), dtype)
    ops.activation(a, room.read(z), codes.SOFTMAX, 0.0)
    if np.isnan(bad):
        assert np.isnan(a[3]).all()
    assert np.isnan(a[3, 11])
    good = [0, 1, 2, 4]
    assert_close(a[good], naive.activation("softmax", z[good]), dtype)


def test_softmax_of_equal_logits_is_uniform(ops: Any, room: Room, dtype: str) -> None:
    for value in (-1e4, -0.0, 3.7, 1e4):
        a = room.out((2, 7), dtype)
        ops.activation(a, room.read(np.full((2, 7), value, dtype)), codes.SOFTMAX, 0.0)
        assert_close(a, np.full((2, 7), 1 / 7), dtype)


@value_test("activation_backward")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "alpha"), FUNCTIONS)
def test_activation_backward(
    ops: Any, room: Room, dtype: str, name: str, alpha: float, shape: tuple[int, int]
) -> None:
    for make in (smooth, spiky):
        z, before = make(shape, dtype, 1), make(shape, dtype, 2)
        a = room.read(naive.activation(name, z, alpha), dtype)
        # Where the activation is not said to need Z, Z must not be looked at.
        unread = np.full(shape, np.nan, dtype)
        d = room(before)
        ops.activation_backward(
            d, a, room.read(z if ACTIVATIONS[name].needs_z else unread), code_of(name), alpha
        )
        expected = naive.activation_backward(name, before, z, alpha)
        if name == "softmax":
            p, size = absolute(a), absolute(before)
            size = p * (size + (p * size).sum(axis=1, keepdims=True))
            allowed = base_and_sum(expected, shape[1] + 8, size, dtype)
        elif name in ("sigmoid", "tanh", "elu"):
            allowed = slope_bound(expected, before, dtype)
        else:
            allowed = base(expected, dtype)
        assert_close(d, expected, dtype, allowed)


def test_linear_backward_changes_nothing(ops: Any, room: Room, dtype: str) -> None:
    d = room.read(spiky((7, 17), dtype, 1))
    a = room.read(spiky((7, 17), dtype, 2))
    ops.activation_backward(d, a, a, codes.LINEAR, 0.0)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_relu_stops_every_gradient_where_it_is_closed(
    ops: Any, room: Room, dtype: str, value: float
) -> None:
    a = room.read(np.tile(np.array([0.0, -0.0, -1.0, 2.0, 1e-30], dtype), (2, 3)))
    d = room(np.full((2, 15), value, dtype))
    ops.activation_backward(d, a, a, codes.RELU, 0.0)
    is_closed = np.asarray(a <= 0)
    assert (d[is_closed] == 0).all()
    np.testing.assert_array_equal(d[~is_closed], value)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "leaky_relu", "elu"])
def test_gradients_that_are_not_finite_pass_through(
    ops: Any, room: Room, dtype: str, name: str, value: float
) -> None:
    z = smooth((3, 17), dtype)
    a = room.read(naive.activation(name, z, 0.3), dtype)
    before = np.ones((3, 17), dtype)
    before[:, 5::3] = value
    d = room(before)
    ops.activation_backward(d, a, a, code_of(name), 0.3)
    np.testing.assert_array_equal(np.isfinite(d), np.isfinite(before))
    np.testing.assert_array_equal(np.isnan(d), np.isnan(before))


def test_a_gradient_of_nan_spoils_its_row_under_softmax(ops: Any, room: Room, dtype: str) -> None:
    a = room.read(naive.activation("softmax", smooth((3, 17), dtype)), dtype)
    d = room(np.ones((3, 17), dtype))
    d[1, 4] = np.nan
    ops.activation_backward(d, a, a, codes.SOFTMAX, 0.0)
    np.testing.assert_array_equal(np.isnan(d).all(axis=1), [False, True, False])
    np.testing.assert_array_equal(np.isnan(d).any(axis=1), [False, True, False])


@value_test("column_sum")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [smooth, spiky])
def test_column_sum(ops: Any, room: Room, dtype: str, make: Any, shape: tuple[int, int]) -> None:
    rows, columns = shape
    d = room.read(make(shape, dtype, 1))
    expected, size = naive.column_sum(d), absolute(d).sum(axis=0)
    out = room.out(columns, dtype)
    ops.column_sum(out, d, 0)
    assert_close(out, expected, dtype, sum_bound(rows, size, dtype))

    before = make(columns, dtype, 2)
    out[...] = before
    ops.column_sum(out, d, 1)
    allowed = sum_bound(rows + 1, size + absolute(before), dtype)
    assert_close(out, expected + before, dtype, allowed)


def test_column_sum_of_nan_and_infinity(ops: Any, room: Room, dtype: str) -> None:
    d = np.ones((7, 17), dtype)
    d[2, 3], d[6, 16] = np.nan, np.inf
    out = room.out(17, dtype)
    ops.column_sum(out, room.read(d), 0)
    expected = np.full(17, 7.0)
    expected[3], expected[16] = np.nan, np.inf
    np.testing.assert_array_equal(out, expected)


# -- loss and its gradient ------------------------------------------------------------------------


def hits_of(z: Array, t: Array, rule: str, threshold: float) -> Array:
    """Return the oracle's hits."""
    return np.zeros(len(z)) if rule == "none" else naive.row_hits(z, t, rule, threshold)


def unit_delta(loss: str, activation: str, z: Array, t: Array) -> Array:
    """Return dl_i/dz_i of every row for itself."""
    return len(z) * naive.output_delta(loss, activation, z, t, None)


@value_test("elementwise_loss")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize("shape", SHAPES)
def test_elementwise_loss(
    ops: Any, room: Room, dtype: str, shape: tuple[int, int], loss: str, rule: str
) -> None:
    rows, columns = shape
    for make in (smooth, spiky):
        # Logits of their own: the loss is one of the outputs, hits are decided on the logits.
        a, z = room.read(make(shape, dtype, 1)), room.read(make(shape, dtype, 2))
        targets = make(shape, dtype, 3)
        targets[::3] = a[::3]  # rows that are met exactly
        t, w = room.read(targets), room.read(row_weights(rows, dtype))
        d = room.out(shape, dtype)
        row_loss, row_hits = room.out(rows, dtype), room.out(rows, dtype)
        scalars = room.read(scalars_with(room, scale=0.37))
        code = LOSSES[loss].code
        ops.elementwise_loss(d, row_loss, row_hits, a, z, t, w, scalars, code, RULES[rule], 0.5)
        weights = w.astype(np.float64)
        expected = weights * naive.row_losses(loss, "linear", a, t)
        assert_close(row_loss, expected, dtype, base_and_sum(expected, columns, expected, dtype))
        assert_close(row_hits, weights * hits_of(z, t, rule, 0.5), dtype)
        assert_close(d, 0.37 * weights[:, None] * unit_delta(loss, "linear", a, t), dtype)


def test_the_gradient_of_mae_is_zero_where_it_is_met(ops: Any, room: Room, dtype: str) -> None:
    a, t = room.read([[1.5, 0.0, -0.0, 2.0]], dtype), room.read([[1.5, -0.0, 0.0, 3.0]], dtype)
    d, loss, hits = room.out((1, 4), dtype), room.out(1, dtype), room.out(1, dtype)
    w, scalars = room.read([1], dtype), scalars_with(room, scale=1)
    ops.elementwise_loss(d, loss, hits, a, a, t, w, scalars, codes.MAE, codes.NO_HITS, 0.0)
    assert_close(d, [[0, 0, 0, -0.25]], dtype, 0)
    assert_close(loss, [0.25], dtype, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_outputs_that_are_not_finite_spoil_the_loss_of_their_row(
    ops: Any, room: Room, dtype: str, loss: str, bad: float
) -> None:
    a, t = smooth((5, 17), dtype, 1), room.read(smooth((5, 17), dtype, 2))
    a[1, 16] = bad
    a = room.read(a)
    w, scalars = room.read(np.ones(5), dtype), scalars_with(room, scale=1)
    d, row_loss, row_hits = room.out((5, 17), dtype), room.out(5, dtype), room.out(5, dtype)
    code = LOSSES[loss].code
    ops.elementwise_loss(d, row_loss, row_hits, a, a, t, w, scalars, code, codes.NO_HITS, 0.0)
    np.testing.assert_array_equal(np.isfinite(row_loss), [True, False, True, True, True])
    assert np.isnan(row_loss[1]) == np.isnan(bad)
    assert np.isnan(d[1, 16]) == np.isnan(bad)
    assert np.isfinite(np.delete(d.ravel(), 33)).all()


def targets_for(shape: tuple[int, int], dtype: str, kind: str) -> Array:
    """Return targets of a cross-entropy: ``hard`` one-hot rows, ``binary`` or ``soft`` values."""
    rows, columns = shape
    rng = np.random.default_rng([9, rows, columns])
    if kind == "soft":
        return rng.uniform(size=shape).astype(dtype)
    if kind == "binary":
        return rng.integers(0, 2, shape).astype(dtype)
    t = np.zeros(shape, dtype)
    t[np.arange(rows), rng.integers(0, columns, rows)] = 1
    return t


def run_cross_entropy(
    ops: Any,
    room: Room,
    dtype: str,
    case: tuple[str, str],
    z: Any,
    t: Any,
    *,
    w: Any = None,
    scale: float = 1.0,
    rule: str = "none",
    threshold: float = 0.0,
) -> tuple[Array, Array, Array]:
    """Return d, row_loss and row_hits of one call with fresh outputs."""
    loss, activation = case
    rows = len(z)
    d, row_loss, row_hits = (
        room.out(np.shape(z), dtype),
        room.out(rows, dtype),
        room.out(rows, dtype),
    )
    ops.cross_entropy(
        d,
        row_loss,
        row_hits,
        room.read(z, dtype),
        room.read(t, dtype),
        room.read(np.ones(rows) if w is None else w, dtype),
        room.read(scalars_with(room, scale=scale)),
        LOSSES[loss].code,
        code_of(activation),
        RULES[rule],
        threshold,
    )
    return d, row_loss, row_hits


def loss_room(case: tuple[str, str], expected: Array, z: Array, t: Array, dtype: str) -> Array:
    """Room for losses: sums over the outputs of terms that are all positive.

    log_loss under sigmoid is looser for targets between 0 and 1: there it is the difference
    softplus(z) - t z, which is rounded like its terms.
    """
    columns = z.shape[1]
    size = expected
    if case == ("log_loss", "sigmoid") and not np.isin(t, (0, 1)).all():
        size = expected + 2 * absolute(z).mean(axis=1)
    return base_and_sum(expected, columns + 4, size, dtype)


@functools.cache
def cross_entropy_of(
    make: Callable[..., Array], shape: tuple[int, int], dtype: str, case: tuple[str, str], kind: str
) -> tuple[Array, Array, Array, Array]:
    """Return logits, targets, and the oracle's losses and deltas, kept: every backend asks anew."""
    z, t = make(shape, dtype, 1), targets_for(shape, dtype, kind)
    found = z, t, naive.row_losses(*case, z, t), unit_delta(*case, z, t)
    for array in found:
        array.flags.writeable = False
    return found


@value_test("cross_entropy")
@pytest.mark.parametrize("kind", ["hard", "binary", "soft"])
@pytest.mark.parametrize("case", CROSS_ENTROPIES, ids="-".join)
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy(
    ops: Any, room: Room, dtype: str, shape: tuple[int, int], case: tuple[str, str], kind: str
) -> None:
    rows, columns = shape
    loss, activation = case
    if activation == "softmax" and columns == 1:
        shape, columns = (rows, 2), 2  # a softmax has two outputs at least
    for make in (smooth, spiky):
        z, t, unweighted, delta = cross_entropy_of(make, shape, dtype, case, kind)
        w = row_weights(rows, dtype)
        d, row_loss, row_hits = room.out(shape, dtype), room.out(rows, dtype), room.out(rows, dtype)
        ops.cross_entropy(
            d,
            row_loss,
            row_hits,
            room.read(z),
            room.read(t),
            room.read(w),
            room.read(scalars_with(room, scale=0.37)),
            LOSSES[loss].code,
            code_of(activation),
            codes.ARGMAX_HITS,
            0.0,
        )
        weights = w.astype(np.float64)
        expected = weights * unweighted
        allowed = weights * loss_room(case, unweighted, z, t, dtype)
        assert_close(row_loss, expected, dtype, allowed)
        assert_close(row_hits, weights * hits_of(z, t, "argmax", 0.0), dtype)
        expected = 0.37 * weights[:, None] * delta
        # dl/dz_j of a cross-entropy under softmax is p_j times the sum of the targets, less t_j.
        size = 0.37 * weights[:, None] * (1 + absolute(t).sum(axis=1, keepdims=True))
        assert_close(d, expected, dtype, base_and_sum(expected, 8, size, dtype))


@pytest.mark.parametrize("case", CROSS_ENTROPIES, ids="-".join)
def test_cross_entropy_is_finite_and_right_at_logits_of_ten_thousand(
    ops: Any, room: Room, dtype: str, case: tuple[str, str]
) -> None:
    loss, activation = case
    z = np.array(list(itertools.product([-1e4, 0.0, 1e4], repeat=3)), dtype)
    for target in itertools.product([0.0, 1.0], repeat=3):
        t = np.tile(np.array(target, dtype), (27, 1))
        d, row_loss, _ = run_cross_entropy(ops, room, dtype, case, z, t)
        assert_close(row_loss, naive.row_losses(loss, activation, z, t), dtype)
        assert_close(d, unit_delta(loss, activation, z, t), dtype)


@pytest.mark.parametrize("case", CROSS_ENTROPIES, ids="-".join)
def test_cross_entropy_of_soft_targets_at_logits_of_ten_thousand(
    ops: Any, room: Room, dtype: str, case: tuple[str, str]
) -> None:
    loss, activation = case
    z = np.array(list(itertools.product([-1e4, 0.0, 1e4], repeat=3)), dtype)
    t = targets_for((27, 3), dtype, "soft")
    d, row_loss, _ = run_cross_entropy(ops, room, dtype, case, z, t)
    expected = naive.row_losses(loss, activation, z, t)
    assert_close(row_loss, expected, dtype, loss_room(case, expected, z, t, dtype))
    assert_close(d, unit_delta(loss, activation, z, t), dtype)


@pytest.mark.parametrize("loss", ["log_loss", "categorical_crossentropy"])
@pytest.mark.parametrize("shift", [-1e4, -300.0, 40.0, 1e4])
def test_cross_entropy_under_softmax_sees_differences_of_logits_only(
    ops: Any, room: Room, dtype: str, loss: str, shift: float
) -> None:
    """The sums z + shift are exact, so that loss and gradient are those of z."""
    z = np.array([[0, 0, 0, 0], [1, 0, 0, -2], [-3, 5, 5, 1], [0, -40, 2, 2]], dtype)
    t = np.eye(4, dtype=dtype)
    case = (loss, "softmax")
    d, row_loss, _ = run_cross_entropy(ops, room, dtype, case, z + np.dtype(dtype).type(shift), t)
    assert_close(row_loss, naive.row_losses(loss, "softmax", z, t), dtype)
    assert_close(d, unit_delta(loss, "softmax", z, t), dtype)


@pytest.mark.parametrize("case", CROSS_ENTROPIES, ids="-".join)
def test_cross_entropy_of_equal_logits(
    ops: Any, room: Room, dtype: str, case: tuple[str, str]
) -> None:
    loss, activation = case
    z, t = np.full((3, 17), -0.0, dtype), targets_for((3, 17), dtype, "hard")
    z[1] = 2.5
    d, row_loss, _ = run_cross_entropy(ops, room, dtype, case, z, t)
    assert_close(row_loss, naive.row_losses(loss, activation, z, t), dtype)
    assert_close(d, unit_delta(loss, activation, z, t), dtype)


@pytest.mark.parametrize("case", CROSS_ENTROPIES, ids="-".join)
def test_equal_rows_have_equal_losses_and_gradients(
    ops: Any, room: Room, dtype: str, case: tuple[str, str]
) -> None:
    z, t = np.tile(smooth((1, 17), dtype), (33, 1)), np.tile(np.eye(1, 17, 4, dtype), (33, 1))
    d, row_loss, _ = run_cross_entropy(ops, room, dtype, case, z, t)
    assert (row_loss == row_loss[0]).all()
    assert (d == d[0]).all()


@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("case", CROSS_ENTROPIES, ids="-".join)
def test_all_mass_on_one_class(
    ops: Any, room: Room, dtype: str, case: tuple[str, str], right: bool
) -> None:
    loss, activation = case
    z = np.full((2, 7), -50.0, dtype)
    z[:, 3] = 50
    t = np.zeros((2, 7), dtype)
    t[:, 3 if right else 6] = 1
    d, row_loss, row_hits = run_cross_entropy(ops, room, dtype, case, z, t, rule="argmax")
    assert_close(row_loss, naive.row_losses(loss, activation, z, t), dtype)
    assert_close(d, unit_delta(loss, activation, z, t), dtype)
    np.testing.assert_array_equal(row_hits, float(right))
    if right:
        assert (row_loss < 1e-6).all()
    else:
        assert (row_loss > 7).all()


@pytest.mark.parametrize("loss", ["log_loss", "categorical_crossentropy"])
def test_one_sigmoid_output(ops: Any, room: Room, dtype: str, loss: str) -> None:
    z = np.array([[-1e4], [-30], [-1], [-0.0], [0.0], [1], [30], [1e4]], dtype)
    for target in (0.0, 1.0):
        t = np.full((8, 1), target, dtype)
        d, row_loss, row_hits = run_cross_entropy(
            ops, room, dtype, (loss, "sigmoid"), z, t, rule="threshold"
        )
        assert_close(row_loss, naive.row_losses(loss, "sigmoid", z, t), dtype)
        assert_close(d, unit_delta(loss, "sigmoid", z, t), dtype)
        np.testing.assert_array_equal(row_hits, (z[:, 0] > 0) == (target == 1))


@pytest.mark.parametrize("case", CROSS_ENTROPIES, ids="-".join)
def test_rows_without_weight_count_nothing(
    ops: Any, room: Room, dtype: str, case: tuple[str, str]
) -> None:
    z, t = smooth((7, 3), dtype), targets_for((7, 3), dtype, "hard")
    results = run_cross_entropy(
        ops, room, dtype, case, z, t, w=np.zeros(7), scale=0.0, rule="argmax"
    )
    for result in results:
        assert (result == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("weight", [1.0, 0.0])
@pytest.mark.parametrize("case", CROSS_ENTROPIES, ids="-".join)
def test_logits_that_are_not_finite_spoil_the_loss_of_their_row(
    ops: Any, room: Room, dtype: str, case: tuple[str, str], weight: float, bad: float
) -> None:
    """Whatever the row weighs: 0 times NaN or infinity is NaN."""
    z, t = smooth((5, 17), dtype), np.full((5, 17), 0.5, dtype)
    z[2, 16] = bad
    if bad == np.inf and case == ("categorical_crossentropy", "sigmoid"):
        z[2, 16] = -bad  # its loss at infinity is 0
    w = np.ones(5)
    w[2] = weight
    d, row_loss, _ = run_cross_entropy(ops, room, dtype, case, z, t, w=w)
    np.testing.assert_array_equal(np.isfinite(row_loss), [True, True, False, True, True])
    if np.isnan(bad):
        assert np.isnan(d[2, 16])
    assert np.isfinite(d[[0, 1, 3, 4]]).all()


# -- hits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("z", "t", "is_hit"),
    [
        ([1, 3, 2], [0, 1, 0], True),
        ([1, 3, 2], [0, 0, 1], False),
        ([3, 3, 2], [1, 0, 0], True),  # of equal logits the first counts
        ([3, 3, 2], [0, 1, 0], False),
        ([2, 3, 3], [0, 0, 1], False),
        ([0.0, -0.0, -1], [1, 0, 0], True),  # both zeros are equal
        ([-0.0, 0.0, -1], [1, 0, 0], True),
        ([-0.0, 0.0, -1], [0, 1, 0], False),
        ([1, 3, 2], [0.2, 0.4, 0.4], True),  # of equal targets, too
        ([1, 2, 3], [0.2, 0.4, 0.4], False),
        ([5, 5, 5], [0, 0, 0], True),
        ([-1e4, -1e4, -9e3], [0, 0, 1], True),
    ],
)
def test_argmax_hits(
    ops: Any, room: Room, dtype: str, z: list[float], t: list[float], is_hit: bool
) -> None:
    assert naive.row_hits([z], [t], "argmax")[0] == is_hit
    check_hits(ops, room, dtype, z, t, "argmax", 0.0, is_hit)


@pytest.mark.parametrize("threshold", [0.0, 0.5, -0.25])
@pytest.mark.parametrize(
    ("above", "t", "is_hit"),
    [
        ([1], [1], True),
        ([-1], [1], False),
        ([-1], [0], True),
        ([1], [0], False),
        ([0], [0], True),  # at the threshold itself it is no
        ([0], [1], False),
        ([-1], [0.5], True),  # a target of one half is no, too
        ([1], [0.5], False),
        ([1], [0.51], True),
        ([1, -1, 1], [1, 0, 1], True),
        ([1, -1, -1], [1, 0, 1], False),  # every output must be right
        ([-1, -1, 1], [1, 0, 1], False),
        ([1, 1, 1], [1, 0, 1], False),
    ],
)
def test_threshold_hits(
    ops: Any,
    room: Room,
    dtype: str,
    threshold: float,
    above: list[float],
    t: list[float],
    is_hit: bool,
) -> None:
    z = [threshold + value / 8 for value in above]
    assert naive.row_hits([z], [t], "threshold", threshold)[0] == is_hit
    check_hits(ops, room, dtype, z, t, "threshold", threshold, is_hit)


@pytest.mark.parametrize("is_right", [True, False])
def test_without_a_rule_nothing_is_hit(ops: Any, room: Room, dtype: str, is_right: bool) -> None:
    check_hits(ops, room, dtype, [1, 3], [0, 1] if is_right else [1, 0], "none", 0.0, False)


def check_hits(
    ops: Any, room: Room, dtype: str, z: Any, t: Any, rule: str, threshold: float, is_hit: bool
) -> None:
    """Both loss ops must agree on hits, and weigh them."""
    expected = np.array([1.0, 0.0, 2.5, 0.25]) * is_hit
    w = [1.0, 0.0, 2.5, 0.25]
    Z, T = np.tile(z, (4, 1)), np.tile(t, (4, 1))
    for case in CROSS_ENTROPIES:
        if case[1] == "sigmoid" or len(z) > 1:
            settings = {"w": w, "rule": rule, "threshold": threshold}
            hits = run_cross_entropy(ops, room, dtype, case, Z, T, **settings)[2]
            assert_close(hits, expected, dtype, 0)
    d, loss, hits = room.out(Z.shape, dtype), room.out(4, dtype), room.out(4, dtype)
    # Outputs that would be judged otherwise than the logits.
    a, T = room.read(-Z, dtype), room.read(T, dtype)
    ops.elementwise_loss(
        d,
        loss,
        hits,
        a,
        room.read(Z, dtype),
        T,
        room.read(w, dtype),
        scalars_with(room, scale=1),
        codes.MSE,
        RULES[rule],
        threshold,
    )
    assert_close(hits, expected, dtype, 0)


# -- gather ---------------------------------------------------------------------------------------


@value_test("gather_features")
@pytest.mark.parametrize("kind", ["uint8", "real"])
@pytest.mark.parametrize("columns", SIZES)
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 17, 33])
def test_gather_features(
    ops: Any, room: Room, dtype: str, rows: int, columns: int, kind: str
) -> None:
    rng = np.random.default_rng([rows, columns])
    total = rows + 11
    if kind == "uint8":
        features = room.read(rng.integers(0, 256, (total, columns)), np.uint8)
    else:
        features = room.read(spiky((total, columns), dtype))
    order = room.read(rng.permutation(total), np.int32)
    for row, first, scale in ((0, 0, 1.0), (4, 0, 1 / 16), (0, 5, 0.3), (4, 7, 1 / 255)):
        clock = room.read(clock_at(room, step=99, batch=98, row=row))
        x = room.out((rows, columns), dtype)
        ops.gather_features(x, features, order, clock, first, scale)
        assert_close(x, naive.gather(features, order, row + first, rows, scale), dtype)
        chosen = features[order[row + first : row + first + rows]].astype(dtype)
        # One product, in the dtype of x: there is nothing to round differently.
        np.testing.assert_array_equal(x, chosen * np.dtype(dtype).type(scale))


def test_gather_features_lets_nan_and_infinity_pass(ops: Any, room: Room, dtype: str) -> None:
    features = room.read([[1.0, np.nan], [np.inf, -np.inf]], dtype)
    order, clock = room.read([1, 0], np.int32), clock_at(room)
    x = room.out((2, 2), dtype)
    ops.gather_features(x, features, order, clock, 0, 2.0)
    np.testing.assert_array_equal(x, np.array([[np.inf, -np.inf], [2.0, np.nan]], dtype))


@value_test("gather_targets")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 2, 3, 10, 129])
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 17, 33])
def test_gather_targets_of_classes(
    ops: Any, room: Room, dtype: str, rows: int, outputs: int, weighted: bool
) -> None:
    rng = np.random.default_rng([rows, outputs])
    total = rows + 11
    labels = room.read(rng.integers(0, max(outputs, 2), total), np.int32)
    weights = room.read(rng.uniform(size=total) if weighted else [], dtype)
    order = room.read(rng.permutation(total), np.int32)
    for row, first in ((0, 0), (4, 0), (0, 5), (4, 7)):
        clock = room.read(clock_at(room, step=99, batch=98, row=row))
        t, w = room.out((rows, outputs), dtype), room.out(rows, dtype)
        ops.gather_targets(t, w, labels, weights, order, clock, first)
        chosen = order[row + first : row + first + rows]
        assert_close(t, naive.one_hot(labels[chosen], outputs), dtype, 0)
        assert_close(w, weights[chosen] if weighted else np.ones(rows), dtype, 0)


@value_test("gather_targets")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("outputs", [1, 2, 3, 10, 129])
@pytest.mark.parametrize("rows", [0, 1, 7, 33])
def test_gather_targets_of_values(
    ops: Any, room: Room, dtype: str, rows: int, outputs: int, weighted: bool
) -> None:
    rng = np.random.default_rng([rows, outputs])
    total = rows + 11
    values = room.read(spiky((total, outputs), dtype))
    weights = room.read(rng.uniform(size=total) if weighted else [], dtype)
    order = room.read(rng.permutation(total), np.int32)
    for row, first in ((0, 0), (4, 0), (0, 5), (4, 7)):
        clock = room.read(clock_at(room, step=99, batch=98, row=row))
        t, w = room.out((rows, outputs), dtype), room.out(rows, dtype)
        ops.gather_targets(t, w, values, weights, order, clock, first)
        chosen = order[row + first : row + first + rows]
        assert_close(t, naive.gather(values, order, row + first, rows, 1.0), dtype, 0)
        assert_close(w, weights[chosen] if weighted else np.ones(rows), dtype, 0)


def test_rows_may_be_visited_more_than_once(ops: Any, room: Room, dtype: str) -> None:
    order, clock = room.read([2, 2, 0, 2], np.int32), clock_at(room)
    x, t, w = room.out((4, 1), dtype), room.out((4, 3), dtype), room.out(4, dtype)
    ops.gather_features(x, room.read([[5], [6], [7]], np.uint8), order, clock, 0, 1.0)
    assert_close(x, [[7], [7], [5], [7]], dtype, 0)
    labels, weights = room.read([0, 2, 1], np.int32), room.read([0.5, 0, 2], dtype)
    ops.gather_targets(t, w, labels, weights, order, clock, 0)
    assert_close(t, [[0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype, 0)
    assert_close(w, [2, 2, 0.5, 2], dtype, 0)


# -- the step's bookkeeping -----------------------------------------------------------------------


@value_test("begin_step")
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("halted", [0.0, 1.0])
def test_begin_step(ops: Any, room: Room, batch: int, halted: float) -> None:
    rates, scales = room.read([0.1, 0.2, 0.3, 0.4]), room.read([1.0, 0.5, 0.25, 0.0])
    scalars = scalars_with(room, loss=3.0, hits=np.nan, halted=halted)
    clock = room.read(clock_at(room, step=2, batch=batch, row=1))
    ops.begin_step(scalars, clock, rates, scales)
    expected = np.zeros(SCALARS)
    expected[[RATE, SCALE, HALTED]] = rates[batch], scales[batch], halted
    assert_close(scalars, expected, "float64", 0)


@value_test("add_losses")
@pytest.mark.parametrize("rows", [0, *SIZES, 1000])
def test_add_losses(ops: Any, room: Room, dtype: str, rows: int) -> None:
    loss, hits = room.read(spiky(rows, dtype, 1)), room.read(row_weights(rows, dtype))
    scalars = scalars_with(room, rate=7, scale=8, loss=0.5, hits=2.0)
    ops.add_losses(scalars, loss, hits)
    expected = [7, 8, 0.5 + sum(loss.tolist()), 2 + sum(hits.tolist()), 0]
    size = 2 + absolute(loss).sum() + absolute(hits).sum()
    assert_close(scalars, expected, "float64", sum_bound(rows + 1, size, "float64"))


def test_losses_are_summed_in_float64(ops: Any, room: Room) -> None:
    """In float32 2^24 + 1 is 2^24: a thousand ones would be lost."""
    loss = room.read([2.0**24, *[1.0] * 1000], "float32")
    scalars = scalars_with(room, loss=0, hits=0)
    ops.add_losses(scalars, loss, loss)
    assert scalars[LOSS] == scalars[HITS] == 2.0**24 + 1000


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_losses_that_are_not_finite_are_not_lost(
    ops: Any, room: Room, dtype: str, bad: float
) -> None:
    loss, hits = np.ones(33, dtype), room.read(np.ones(33, dtype))
    loss[32] = bad
    scalars = scalars_with(room, loss=0, hits=0)
    ops.add_losses(scalars, room.read(loss), hits)
    np.testing.assert_array_equal(scalars[[LOSS, HITS]], [bad, 33])


@value_test("count_step")
def test_count_step(ops: Any, room: Room) -> None:
    scalars = room.read(scalars_with(room, rate=1, scale=1, loss=1.5, hits=2.25))
    clock, totals = clock_at(room, step=10, batch=3, row=96), room([100.0, 200.0])
    for count, rows in enumerate((32, 7), 1):
        ops.count_step(scalars, clock, totals, rows)
        expected = {STEP: 10 + count, BATCH: 3 + count, ROW: (128, 135)[count - 1]}
        np.testing.assert_array_equal(clock, [expected[slot] for slot in range(CLOCK)])
        expected_totals = np.empty(TOTALS)
        expected_totals[TOTAL_LOSS] = 100 + 1.5 * count
        expected_totals[TOTAL_HITS] = 200 + 2.25 * count
        assert_close(totals, expected_totals, "float64", 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_count_step_halts_for_good_at_a_loss_that_is_not_finite(
    ops: Any, room: Room, bad: float
) -> None:
    scalars = scalars_with(room, rate=1, scale=1, loss=bad, hits=2.0)
    clock = room.read(clock_at(room, step=10, batch=3, row=96))
    totals = room.read([100.0, 200.0])
    ops.count_step(scalars, clock, totals, 32)
    np.testing.assert_array_equal(scalars[HALTED], 1)
    np.testing.assert_array_equal(scalars[[LOSS, HITS]], [bad, 2])
    room.check()

    scalars[LOSS] = 1.5  # a good step after a bad one does not count
    ops.count_step(scalars, clock, totals, 32)
    np.testing.assert_array_equal(scalars[[RATE, SCALE, LOSS, HITS, HALTED]], [1, 1, 1.5, 2, 1])


# -- optimizer steps ------------------------------------------------------------------------------

SETTINGS = {
    "learning_rate": 0.05,
    "momentum": 0.9,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-8,
}


def gradients_of(size: int, dtype: str, steps: int) -> list[Array]:
    """Return gradients of size 1, among them exact zeros."""
    gradients = [smooth(size, dtype, 50 + step) for step in range(steps)]
    for gradient in gradients:
        gradient[3::7] = 0
    return gradients


@value_test("sgd_step")
@pytest.mark.parametrize("size", [0, *SIZES, 1000])
def test_sgd_step(ops: Any, room: Room, dtype: str, size: int) -> None:
    theta = room(smooth(size, dtype, 1))
    scalars = room.read(scalars_with(room, rate=SETTINGS["learning_rate"]))
    expected, state = theta.astype(np.float64), {}
    for gradient in gradients_of(size, dtype, 5):
        ops.sgd_step(theta, room.read(gradient), scalars)
        expected = naive.optimizer_step("sgd", expected, gradient, state, SETTINGS)
        assert_close(theta, expected, dtype)


@value_test("momentum_step")
@pytest.mark.parametrize("nesterov", [0, 1])
@pytest.mark.parametrize("size", [0, *SIZES, 1000])
def test_momentum_step(ops: Any, room: Room, dtype: str, size: int, nesterov: int) -> None:
    theta, v = room(smooth(size, dtype, 1)), room(np.zeros(size, dtype))
    scalars = room.read(scalars_with(room, rate=SETTINGS["learning_rate"]))
    expected, state = theta.astype(np.float64), {}
    name = "nesterov" if nesterov else "momentum"
    for gradient in gradients_of(size, dtype, 5):
        g = room.read(gradient)
        ops.momentum_step(theta, v, g, scalars, SETTINGS["momentum"], nesterov)
        expected = naive.optimizer_step(name, expected, gradient, state, SETTINGS)
        assert_close(theta, expected, dtype)
        assert_close(v, state["v"], dtype)


@value_test("adam_step")
@pytest.mark.parametrize("size", [0, *SIZES, 1000])
def test_adam_step(ops: Any, room: Room, dtype: str, size: int) -> None:
    theta = room(smooth(size, dtype, 1))
    m, v = room(np.zeros(size, dtype)), room(np.zeros(size, dtype))
    scalars = room.read(scalars_with(room, rate=SETTINGS["learning_rate"]))
    expected, state = theta.astype(np.float64), {}
    for step, gradient in enumerate(gradients_of(size, dtype, 5), 1):
        clock, g = room.read(clock_at(room, step=step, batch=40, row=50)), room.read(gradient)
        ops.adam_step(theta, m, v, g, scalars, clock, 0.9, 0.999, 1e-8)
        expected = naive.optimizer_step("adam", expected, gradient, state, SETTINGS)
        assert_close(theta, expected, dtype)
        assert_close(m, state["m"], dtype)
        assert_close(v, state["v"], dtype)


@pytest.mark.parametrize("step", [1, 2, 1000, 10**6])
@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
def test_adam_step_at_any_count_of_steps(
    ops: Any, room: Room, dtype: str, step: int, epsilon: float
) -> None:
    """Also with other settings, and where epsilon counts beside the corrected root."""
    theta, gradient = room(smooth(17, dtype, 1)), room.read(0.1 * smooth(17, dtype, 2))
    m, v = room(0.1 * smooth(17, dtype, 3)), room(0.01 * smooth(17, dtype, 4) ** 2)
    settings = {"learning_rate": 0.02, "beta_1": 0.7, "beta_2": 0.95, "epsilon": epsilon}
    state = {"m": np.array(m, float), "v": np.array(v, float), "t": step - 1}
    expected = naive.optimizer_step("adam", np.array(theta, float), gradient, state, settings)
    scalars, clock = scalars_with(room, rate=0.02), room.read(clock_at(room, step=step))
    ops.adam_step(theta, m, v, gradient, scalars, clock, 0.7, 0.95, epsilon)
    assert_close(theta, expected, dtype)
    assert_close(m, state["m"], dtype)
    assert_close(v, state["v"], dtype)


def test_a_large_gradient_makes_a_step_that_is_right_to_its_digits(
    ops: Any, room: Room, dtype: str
) -> None:
    """Sums of a few terms each, which are as exact as the largest of them."""
    gradient, before = room.read(spiky(129, dtype, 1)), spiky(129, dtype, 2)
    velocity, rate = spiky(129, dtype, 3), SETTINGS["learning_rate"]
    size = absolute(before) + 2 * rate * (absolute(gradient) + absolute(velocity))
    scalars = room.read(scalars_with(room, rate=rate))
    for name in ("sgd", "momentum", "nesterov"):
        theta, v = room(before), room(velocity)
        state = {"v": velocity.astype(np.float64)}
        expected = naive.optimizer_step(name, before, gradient, state, SETTINGS)
        if name == "sgd":
            ops.sgd_step(theta, gradient, scalars)
        else:
            ops.momentum_step(theta, v, gradient, scalars, 0.9, int(name == "nesterov"))
            size_of_v = absolute(gradient) + absolute(velocity)
            assert_close(v, state["v"], dtype, sum_bound(3, size_of_v, dtype))
        assert_close(theta, expected, dtype, sum_bound(5, size, dtype))


def test_a_halted_run_does_not_move(ops: Any, room: Room, dtype: str) -> None:
    theta, m, v = (room.read(smooth(33, dtype, seed)) for seed in range(3))
    gradient = room.read(np.full(33, np.nan, dtype))
    scalars = room.read(scalars_with(room, rate=0.1, halted=1))
    clock = room.read(clock_at(room, step=1))
    ops.sgd_step(theta, gradient, scalars)
    ops.momentum_step(theta, v, gradient, scalars, 0.9, 0)
    ops.momentum_step(theta, v, gradient, scalars, 0.9, 1)
    ops.adam_step(theta, m, v, gradient, scalars, clock, 0.9, 0.999, 1e-8)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_reaches_theta(
    ops: Any, room: Room, dtype: str, bad: float
) -> None:
    gradient = np.ones(33, dtype)
    gradient[[4, 32]] = bad
    gradient = room.read(gradient)
    scalars, clock = scalars_with(room, rate=0.1), clock_at(room, step=1)
    expected = np.isfinite(gradient)
    steps: list[Callable[[Array, Array, Array], None]] = [
        lambda theta, m, v: ops.sgd_step(theta, gradient, scalars),
        lambda theta, m, v: ops.momentum_step(theta, v, gradient, scalars, 0.9, 0),
        lambda theta, m, v: ops.momentum_step(theta, v, gradient, scalars, 0.9, 1),
        lambda theta, m, v: ops.adam_step(theta, m, v, gradient, scalars, clock, 0.9, 0.999, 1e-8),
    ]
    for step in steps:
        theta, m, v = room(np.ones(33, dtype)), room(np.zeros(33, dtype)), room(np.zeros(33, dtype))
        step(theta, m, v)
        np.testing.assert_array_equal(np.isfinite(theta), expected)


@pytest.mark.parametrize("first", [3, 30])
def test_optimizer_steps_work_on_parts_of_a_vector(
    ops: Any, room: Room, dtype: str, first: int
) -> None:
    """Threads and tiles step over parts of theta; the parts make the whole."""
    before, gradient = smooth(33, dtype, 1), room.read(smooth(33, dtype, 2))
    scalars, clock = scalars_with(room, rate=0.1), clock_at(room, step=1)
    whole, parts = [
        [room(before), room(np.zeros(33, dtype)), room(np.zeros(33, dtype))] for _ in "ab"
    ]
    ops.adam_step(*whole, gradient, scalars, clock, 0.9, 0.999, 1e-8)
    for part in (slice(0, first), slice(first, 33)):
        views = [vector[part] for vector in parts]
        ops.adam_step(*views, gradient[part], scalars, clock, 0.9, 0.999, 1e-8)
    for one, other in zip(whole, parts, strict=True):
        assert one.tobytes() == other.tobytes()
