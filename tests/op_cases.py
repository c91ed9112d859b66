"""Calls of every op at odd sizes, to be compared with the reference and from run to run.

A case is a list of arguments; arrays that the op writes in full begin as NaN. Whatever an op does
shows in its arrays afterwards, those that it must not touch included. ``test_ops.py`` says more
about meaning and edges; this is for asking the same of many devices, schedules and edited kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnet import tolerances
from fastnet.execution import codes, numpy_ops
from fastnet.execution.buffers import CLOCK, HITS, LOSS, RATE, ROW, SCALARS, SCALE, STEP, TOTALS

Array = np.ndarray[Any, np.dtype[Any]]


# Elements before and after every array, and what stands in them: more than a row of any case.
GUARDS, GUARD = 2048, 77


class Case(NamedTuple):
    """A call of an op: what tells it apart, its arguments, and the terms of its longest sum."""

    op: str
    label: str
    arguments: list[Any]
    terms: int

    def __str__(self) -> str:
        return f"{self.op} {self.label}"


# Rows and columns. The last rows take a block each, the last sums several blocks.
SHAPES = ((7, 10), (33, 129), (1, 1), (3, 1100), (1200, 5))


def cases(
    dtype: str, op: str | None = None, shapes: Sequence[tuple[int, int]] = SHAPES
) -> Iterator[Case]:
    """Yield cases of every op, or of one."""
    for shape in shapes:
        for case in _of_shape(np.dtype(dtype), *shape):
            if op is None or case.op == op:
                yield case


def _of_shape(dtype: np.dtype[Any], rows: int, columns: int) -> Iterator[Case]:
    rng = np.random.default_rng(1000 * rows + columns)
    shape, size = f"{rows}x{columns}", rows * columns

    def normal(*extents: int) -> Array:
        return rng.normal(size=extents).astype(dtype)

    def none(*extents: int) -> Array:
        return np.full(extents, np.nan, dtype)

    def case(op: str, label: str, *arguments: Any, terms: int = 1) -> Case:
        return Case(op, f"{label} {shape}".strip(), list(arguments), terms)

    matrix, bias = normal(rows, columns), normal(columns)
    first_of_equals = min(1, columns - 1)
    matrix[0, [first_of_equals, -1]] = 9  # the largest of its row, twice
    inner = 37
    for beta in (0, 1):
        out = normal(rows, columns) if beta else none(rows, columns)
        of_beta = f"beta={beta}"
        yield case(
            "matmul_nn",
            of_beta,
            out,
            normal(rows, inner),
            normal(inner, columns),
            beta,
            terms=inner,
        )
        yield case(
            "matmul_nt",
            of_beta,
            out,
            normal(rows, inner),
            normal(columns, inner),
            beta,
            terms=inner,
        )
        wide = normal(inner, rows + 4)
        yield case("matmul_tn", of_beta, out, wide, normal(inner, columns), 3, beta, terms=inner)
        total = normal(columns) if beta else none(columns)
        yield case("column_sum", of_beta, total, matrix, beta, terms=rows)

    for name, alpha in (
        ("sigmoid", 0.0), ("tanh", 0.0), ("relu", 0.0), ("leaky_relu", 0.3), ("elu", 0.7),
        ("linear", 0.0), ("softmax", 0.0),
    ):  # fmt: skip
        code = getattr(codes, name.upper())
        a = none(rows, columns)
        getattr(numpy_ops, "activation")(a, matrix.copy(), code, alpha)  # noqa: B009 - a parameter
        yield case("activation", name, none(rows, columns), matrix, code, alpha, terms=columns)
        yield case(
            *("bias_activation", name, none(rows, columns), matrix, bias, code, alpha),
            terms=columns,
        )
        yield case("activation_backward", name, normal(rows, columns), a, matrix, code, alpha)

    hot = np.zeros((rows, columns), dtype)
    hot[np.arange(rows), rng.integers(0, columns, rows)] = 1
    hot[0] = np.arange(columns) == first_of_equals
    soft = rng.random((rows, columns)).astype(dtype)
    w = rng.random(rows).astype(dtype)
    scalars = np.zeros(SCALARS)
    scalars[[RATE, SCALE, LOSS, HITS]] = 0.05, 1 / rows, 1.5, 2
    outputs = [none(rows, columns), none(rows), none(rows)]
    for rule in (codes.ARGMAX_HITS, codes.THRESHOLD_HITS, codes.NO_HITS):
        for loss in (codes.MSE, codes.MAE):
            arguments = [*outputs, soft, matrix, hot, w, scalars, loss, rule, 0.1]
            yield case("elementwise_loss", f"{loss} rule={rule}", *arguments, terms=columns)
        for loss in (codes.LOG_LOSS, codes.CATEGORICAL_CROSSENTROPY):
            for end in (codes.SIGMOID, codes.SOFTMAX):
                if columns == 1 and (loss, end) == (codes.LOG_LOSS, codes.SOFTMAX):
                    continue  # one output under all others: there are none
                t = hot if rule == codes.ARGMAX_HITS else soft
                arguments = [*outputs, matrix, t, w, scalars, loss, end, rule, 0.1]
                yield case("cross_entropy", f"{loss} {end} rule={rule}", *arguments, terms=columns)

    everything, first = rows + 11, 2
    order = rng.permutation(everything).astype(np.int32)
    clock = np.zeros(CLOCK, np.int64)
    clock[ROW], clock[STEP] = 5, 3
    features = normal(everything, columns)
    x = none(rows, columns)
    yield case("gather_features", "", x, features, order, clock, first, 0.5)
    images = rng.integers(0, 256, (everything, columns), dtype=np.uint8)
    yield case("gather_features", "bytes", x, images, order, clock, first, 1 / 255)
    classes = rng.integers(0, max(columns, 2), everything).astype(np.int32)
    for label, targets in (("classes", classes), ("quantities", features)):
        for weights in (normal(everything), np.zeros(0, dtype)):
            yield case(
                *("gather_targets", f"{label} {weights.size}", x, none(rows), targets, weights),
                *(order, clock, first),
            )

    clock[1] = 2
    rates, scales = rng.random(4), rng.random(4)
    yield case("begin_step", "", scalars, clock, rates, scales)
    yield case("add_losses", "", scalars, normal(rows), w, terms=rows)
    yield case("count_step", "", scalars, clock, rng.random(TOTALS), rows)
    bad = scalars.copy()
    bad[LOSS] = np.inf
    yield case("count_step", "halting", bad, clock, rng.random(TOTALS), rows)

    theta, m, g = normal(size), normal(size), normal(size)
    v = rng.random(size).astype(dtype)
    yield case("sgd_step", "", theta, g, scalars)
    for nesterov in (0, 1):
        yield case("momentum_step", f"{nesterov}", theta, m, g, scalars, 0.9, nesterov)
    yield case("adam_step", "", theta, m, v, g, scalars, clock, 0.9, 0.999, 1e-8)


def run(ops: Any, case: Case, dtype: str | None = None) -> list[Array]:
    """Call an op on copies of a case's arguments and return the arrays as it leaves them.

    Each array stands between guards, in which nothing may be written. With ``dtype``, floating
    arrays are converted first.
    """
    copies, flats = [], []
    for argument in case.arguments:
        if not isinstance(argument, np.ndarray):
            copies.append(argument)
            continue
        kind = dtype if dtype and argument.dtype.kind == "f" else argument.dtype
        flats.append(np.full(argument.size + 2 * GUARDS, GUARD, kind))
        copies.append(flats[-1][GUARDS : GUARDS + argument.size].reshape(argument.shape))
        copies[-1][...] = argument
    with np.errstate(all="ignore"):
        getattr(ops, case.op)(*copies)
    for flat in flats:
        beside = np.concatenate([flat[:GUARDS], flat[-GUARDS:]])
        assert (beside == GUARD).all(), f"{case}: something was written beside an array"
    return [a for a in copies if isinstance(a, np.ndarray)]


def difference(ops: Any, case: Case) -> str:
    """Return what is wrong with an op beside NumPy in float64; empty if nothing is."""
    expected = run(numpy_ops, case, "float64")
    for place, (actual, wanted) in enumerate(zip(run(ops, case), expected, strict=True)):
        if not np.array_equal(np.isfinite(actual), np.isfinite(wanted)):
            return f"{case}: array {place} is finite elsewhere"
        ok = np.isfinite(wanted)
        largest = float(np.abs(wanted[ok]).max(initial=0))
        kind = "float32" if any(a.dtype == np.float32 for a in _arrays(case)) else "float64"
        room = tolerances.allowed(kind, largest, case.terms)
        error = float(np.abs(actual[ok].astype(np.float64) - wanted[ok]).max(initial=0))
        if error > room:
            return f"{case}: array {place} is off by {error:.3g}, allowed {room:.3g}"
    return ""


def _arrays(case: Case) -> list[Array]:
    return [a for a in case.arguments if isinstance(a, np.ndarray)]
