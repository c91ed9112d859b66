"""Every op of the GPU backend against NumPy's in float64, at odd shapes.

Outputs are full of NaN beforehand; all other arguments are compared bit by bit afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from bench.gpu.places import Place
from fastnet import tolerances
from fastnet.execution import codes, cuda_ops, numpy_ops
from fastnet.execution import ops as contract
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
    TOTALS,
)
from fastnet.execution.device import Device, DeviceArray

Array = np.ndarray[Any, np.dtype[Any]]
DTYPES = ("float32", "float64")

# What is launched without being an op of the contract.
BESIDE = ("not_finite",)
NAMES = (*contract.NAMES, *BESIDE)

# Rows and columns: one, tails of warps and tiles, primes; columns that need a block each, and rows
# whose column sums are shared out (see ``cuda_ops``).
SHAPES = [(1, 1), (7, 17), (33, 129), (129, 33), (1025, 31), (3, 1031), (5, 2048), (700, 10)]
SMALL_SHAPES = [(1, 1), (5, 33), (2, 1031), (523, 3)]
# A layer of the largest network that is timed: rows, columns. In float32 alone, and once per op:
# NumPy's float64 takes most of the time.
LARGE = (8192, 2048)
LARGE_OUT = 512  # columns of products there
# So many values are drawn and then repeated: a prime, so that no two rows are alike.
DRAWN = 1_000_003
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8

_FUNCTIONS = [
    (codes.LINEAR, 0.0),
    (codes.SIGMOID, 0.0),
    (codes.TANH, 0.0),
    (codes.RELU, 0.0),
    (codes.LEAKY_RELU, 0.01),
    (codes.ELU, 0.7),
    (codes.SOFTMAX, 0.0),
]
_RULES = (codes.ARGMAX_HITS, codes.THRESHOLD_HITS, codes.NO_HITS)


class Case(NamedTuple):
    """One call of an op: its arguments by dtype, which of them it writes, and the longest sum."""

    op: str
    label: str
    arguments: Callable[[np.dtype[Any]], list[Any]]
    outputs: tuple[int, ...]
    terms: int = 1


class Finding(NamedTuple):
    """How far an op was off: the largest error in multiples of what is allowed; NaN is wrong."""

    case: Case
    dtype: str
    share: float
    wrong: str = ""

    @property
    def passed(self) -> bool:
        """Whether every output is within its tolerance and nothing else was written."""
        return not self.wrong and self.share <= 1


class Maker:
    """Values of size 1, zeros of both signs among them; the same ones every time."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype, self.random = dtype, np.random.default_rng(0)

    def normal(self, *shape: int) -> Array:
        """Return normal numbers."""
        size = int(np.prod(shape))
        values = self.random.standard_normal(min(size, DRAWN), dtype=np.float32)
        values[3::11], values[7::13] = 0.0, -0.0
        return np.resize(values, shape).astype(self.dtype)

    def nan(self, *shape: int) -> Array:
        """Return an output that nothing has been written to."""
        return np.full(shape, np.nan, self.dtype)

    def logits(self, rows: int, columns: int) -> Array:
        """Return logits, the largest of the first row twice."""
        result = self.normal(rows, columns)
        result[0, [min(1, columns - 1), -1]] = 9
        return result

    def targets(self, rows: int, columns: int, rule: int) -> Array:
        """Return one-hot rows, the first one's 1 at the first of the largest logits; or shares."""
        if rule != codes.ARGMAX_HITS:
            drawn = self.random.random(min(rows * columns, DRAWN))
            return np.resize(drawn, (rows, columns)).astype(self.dtype)
        result = np.zeros((rows, columns), self.dtype)
        result[np.arange(rows), self.random.integers(0, columns, rows)] = 1
        result[0] = np.arange(columns) == min(1, columns - 1)
        return result

    def weights(self, rows: int) -> Array:
        """Return row weights, some of them 0."""
        return np.resize(np.array([1.0, 0.0, 2.5, 0.3, 1e-3]), rows).astype(self.dtype)

    def order(self, rows: int) -> Array:
        """Return a permutation of row numbers."""
        return self.random.permutation(rows).astype(np.int32)


def _scalars(halted: int = 0) -> Array:
    """Return the scalars; with a scale that makes gradients large beside the absolute tolerance."""
    scalars = np.zeros(SCALARS)
    scalars[[RATE, SCALE, LOSS, HITS, HALTED]] = 0.05, 16.0, 1.5, 2.5, halted
    return scalars


def _clock(batch: int = 0, row: int = 0, step: int = 3) -> Array:
    clock = np.zeros(CLOCK, np.int64)
    clock[[STEP, BATCH, ROW]] = step, batch, row
    return clock


# -- cases ----------------------------------------------------------------------------------------


def cases(shapes: list[tuple[int, int]], op: str | None = None) -> Iterator[Case]:
    """Yield the cases of every op, or of one, at these shapes."""
    return (case for case in _all_cases(shapes) if op is None or case.op == op)


def _all_cases(shapes: list[tuple[int, int]]) -> Iterator[Case]:
    for rows, columns in shapes:
        yield from _products(rows, columns, min(max(rows // 3, 1), 40), (0, 1))
        for code, alpha in _FUNCTIONS:
            yield from _activations(rows, columns, code, alpha)
        yield from _sums(rows, columns, (0, 1))
        for rule in _RULES:
            yield from _losses(rows, columns, rule)
        yield from _gathers(rows, columns)
        yield from _over_vectors(rows * columns)
        yield _add_losses(rows)
    yield from _bookkeeping()


def large_cases() -> Iterator[Case]:
    """Yield every op that works on matrices or vectors once, at the size of a large layer."""
    rows, columns = LARGE
    yield from _products(rows, columns, LARGE_OUT, (0,))
    for code in (codes.RELU, codes.TANH, codes.SOFTMAX):
        yield from _activations(rows, columns, code, 0.0)
    yield from _sums(rows, columns, (0,))
    yield from _losses(rows, columns, codes.ARGMAX_HITS)
    yield from _gathers(rows, columns)
    yield from _over_vectors(columns * columns)


def _products(rows: int, columns: int, out: int, betas: tuple[int, ...]) -> Iterator[Case]:
    """Products of a layer: forward, gradient by the weights, gradient by the inputs."""

    def target(make: Maker, beta: int, *shape: int) -> Array:
        return make.normal(*shape) if beta else make.nan(*shape)

    def forward(dtype: np.dtype[Any], beta: int) -> list[Any]:
        make = Maker(dtype)
        a, b = make.normal(rows, columns), make.normal(columns, out)
        return [target(make, beta, rows, out), a, b, beta]

    def by_weights(dtype: np.dtype[Any], beta: int, first: int) -> list[Any]:
        make = Maker(dtype)
        a, b = make.normal(rows, columns), make.normal(rows, out)
        return [target(make, beta, columns - first, out), a, b, first, beta]

    def by_inputs(dtype: np.dtype[Any], beta: int) -> list[Any]:
        make = Maker(dtype)
        a, b = make.normal(rows, out), make.normal(columns, out)
        return [target(make, beta, rows, columns), a, b, beta]

    text = f"{rows} x {columns} x {out}"
    for beta in betas:
        label = f"{text}, beta {beta}"
        yield Case("matmul_nn", label, lambda d, b=beta: forward(d, b), (0,), columns)
        for first in sorted({0, columns // 3}):
            cut = f"{label}, from column {first}"
            yield Case("matmul_tn", cut, lambda d, b=beta, f=first: by_weights(d, b, f), (0,), rows)
        yield Case("matmul_nt", label, lambda d, b=beta: by_inputs(d, b), (0,), out)


def _activations(rows: int, columns: int, code: int, alpha: float) -> Iterator[Case]:
    terms = columns if code == codes.SOFTMAX else 1

    def with_bias(dtype: np.dtype[Any]) -> list[Any]:
        make = Maker(dtype)
        return [
            *(make.nan(rows, columns), make.normal(rows, columns), make.normal(columns)),
            *(code, alpha),
        ]

    def alone(dtype: np.dtype[Any]) -> list[Any]:
        make = Maker(dtype)
        return [make.nan(rows, columns), make.normal(rows, columns), code, alpha]

    def backward(dtype: np.dtype[Any]) -> list[Any]:
        make = Maker(dtype)
        z, a = make.normal(rows, columns), make.nan(rows, columns)
        numpy_ops.activation(a, z, code, alpha)
        # Where the activation does not say that it needs Z, Z must not be looked at.
        return [make.normal(rows, columns), a, make.nan(rows, columns), code, alpha]

    label = f"{_NAMES_OF[code]} {rows} x {columns}"
    yield Case("bias_activation", label, with_bias, (0, 1), terms)
    yield Case("activation", label, alone, (0,), terms)
    yield Case("activation_backward", label, backward, (0,), terms)


_NAMES_OF = {
    getattr(codes, name): name.lower()
    for name in ("LINEAR", "SIGMOID", "TANH", "RELU", "LEAKY_RELU", "ELU", "SOFTMAX")
}


def _sums(rows: int, columns: int, betas: tuple[int, ...]) -> Iterator[Case]:
    def arguments(dtype: np.dtype[Any], beta: int) -> list[Any]:
        make = Maker(dtype)
        out = make.normal(columns) if beta else make.nan(columns)
        return [out, make.normal(rows, columns), beta]

    for beta in betas:
        label = f"{rows} x {columns}, beta {beta}"
        yield Case("column_sum", label, lambda d, b=beta: arguments(d, b), (0,), rows)


def _losses(rows: int, columns: int, rule: int) -> Iterator[Case]:
    def results(make: Maker) -> list[Array]:
        return [make.nan(rows, columns), make.nan(rows), make.nan(rows)]

    def elementwise(dtype: np.dtype[Any], loss: int) -> list[Any]:
        make = Maker(dtype)
        a, z = make.normal(rows, columns), make.logits(rows, columns)
        t = make.targets(rows, columns, rule)
        return [*results(make), a, z, t, make.weights(rows), _scalars(), loss, rule, 0.0]

    def cross_entropy(dtype: np.dtype[Any], loss: int, activation: int) -> list[Any]:
        make = Maker(dtype)
        z, t = make.logits(rows, columns), make.targets(rows, columns, rule)
        return [
            *(*results(make), z, t, make.weights(rows), _scalars()),
            *(loss, activation, rule, 0.0),
        ]

    text = f"{rows} x {columns}, rule {rule}"
    for name, loss in (("mse", codes.MSE), ("mae", codes.MAE)):
        label = f"{name} {text}"
        yield Case(
            "elementwise_loss", label, lambda d, c=loss: elementwise(d, c), (0, 1, 2), columns
        )
    for name, loss in (
        ("log_loss", codes.LOG_LOSS),
        ("categorical_crossentropy", codes.CATEGORICAL_CROSSENTROPY),
    ):
        for activation in (codes.SIGMOID, codes.SOFTMAX):
            if columns == 1 and (loss, activation) == (codes.LOG_LOSS, codes.SOFTMAX):
                continue  # a probability against all others, of which there are none
            label = f"{name} {_NAMES_OF[activation]} {text}"
            yield Case(
                "cross_entropy",
                label,
                lambda d, c=loss, f=activation: cross_entropy(d, c, f),
                (0, 1, 2),
                columns,
            )


def _gathers(rows: int, columns: int) -> Iterator[Case]:
    """Rows out of a few more, from the middle of an order on."""
    stored, row, first = rows + 9, 2, 3

    def features(dtype: np.dtype[Any], as_bytes: bool) -> list[Any]:
        make = Maker(dtype)
        source = make.normal(stored, columns)
        if as_bytes:
            source = make.random.integers(0, 256, (stored, columns), np.uint8)
        order, clock = make.order(stored), _clock(row=row)
        return [make.nan(rows, columns), source, order, clock, first, 1 / 255]

    def targets(dtype: np.dtype[Any], classes: bool, weighted: bool) -> list[Any]:
        make = Maker(dtype)
        source = make.normal(stored, columns)
        if classes:
            source = make.random.integers(0, max(columns, 2), stored).astype(np.int32)
        weights = make.weights(stored) if weighted else np.empty(0, dtype)
        out = [make.nan(rows, columns), make.nan(rows)]
        return [*out, source, weights, make.order(stored), _clock(row=row), first]

    for as_bytes in (False, True):
        label = f"{'bytes' if as_bytes else 'numbers'} {rows} x {columns}"
        yield Case("gather_features", label, lambda d, b=as_bytes: features(d, b), (0,))
    for classes, weighted in ((False, True), (True, False)):
        label = f"{'classes' if classes else 'numbers'} {rows} x {columns}"
        yield Case(
            "gather_targets", label, lambda d, c=classes, w=weighted: targets(d, c, w), (0, 1)
        )


def _over_vectors(size: int) -> Iterator[Case]:
    def vectors(dtype: np.dtype[Any], count: int) -> list[Array]:
        make = Maker(dtype)
        return [make.normal(size) for _ in range(count)]

    def adam(dtype: np.dtype[Any], halted: int) -> list[Any]:
        theta, m, v, gradient = vectors(dtype, 4)
        rest = [BETA_1, BETA_2, EPSILON]
        return [theta, m, np.abs(v), gradient, _scalars(halted), _clock(), *rest]

    def not_finite(dtype: np.dtype[Any], bad: float) -> list[Any]:
        values = vectors(dtype, 1)[0]
        values[-1] = bad
        return [np.zeros(1, np.int32), values]

    text = f"{size:,}"
    yield Case("sgd_step", text, lambda d: [*vectors(d, 2), _scalars()], (0,))
    for nesterov in (0, 1):
        label = f"{text}, nesterov {nesterov}"
        yield Case(
            "momentum_step",
            label,
            lambda d, n=nesterov: [*vectors(d, 3), _scalars(), 0.9, n],
            (0, 1),
        )
    for halted in (0, 1):
        label = f"{text}, halted {halted}"
        yield Case("adam_step", label, lambda d, h=halted: adam(d, h), (0, 1, 2))
    for bad in (1.0, np.inf, np.nan):
        yield Case(
            "not_finite", f"{text}, {bad} at the end", lambda d, b=bad: not_finite(d, b), (0,)
        )


def _add_losses(rows: int) -> Case:
    def arguments(dtype: np.dtype[Any]) -> list[Any]:
        make = Maker(dtype)
        return [_scalars(), make.normal(rows), make.weights(rows)]

    return Case("add_losses", f"{rows} rows", arguments, (0,), rows)


def _bookkeeping() -> Iterator[Case]:
    # All of it is float64.
    def begin(_: np.dtype[Any]) -> list[Any]:
        make = Maker(np.dtype(np.float64))
        return [_scalars(), _clock(batch=2), make.normal(5), make.normal(5)]

    def count(loss: float, halted: int) -> list[Any]:
        scalars = _scalars(halted)
        scalars[LOSS] = loss
        return [scalars, _clock(batch=2, row=64), np.full(TOTALS, 7.0), 32]

    yield Case("begin_step", "", begin, (0,))
    for loss, halted in ((1.5, 0), (np.nan, 0), (np.inf, 0), (1.5, 1)):
        label = f"loss {loss}, halted {halted}"
        yield Case("count_step", label, lambda _, l=loss, h=halted: count(l, h), (0, 1, 2))


# -- comparing ------------------------------------------------------------------------------------


def _reference_of_not_finite(found: Array, values: Array) -> None:
    if not np.isfinite(values).all():
        found[0] = 1


_REFERENCES: dict[str, Any] = {"not_finite": _reference_of_not_finite}


def run(device: Device, op: str, arguments: list[Any]) -> list[Any]:
    """Return the arguments as an op leaves them on the device."""
    put = [device.put(value) if isinstance(value, np.ndarray) else value for value in arguments]
    getattr(cuda_ops, op)(*put)
    return [device.get(value) if isinstance(value, DeviceArray) else value for value in put]


def compare(device: Device, case: Case, dtype: str) -> Finding:
    """Run a case on the device and on NumPy in float64, and compare."""
    arguments = case.arguments(np.dtype(dtype))
    expected = [_in_float64(value) for value in arguments]
    results = run(device, case.op, arguments)
    with np.errstate(all="ignore"):
        _REFERENCES.get(case.op, getattr(numpy_ops, case.op, None))(*expected)
    worst = 0.0
    for index, (before, after) in enumerate(zip(arguments, results, strict=True)):
        if not isinstance(after, np.ndarray):
            continue
        if index not in case.outputs:
            if after.tobytes() != before.tobytes():
                return Finding(case, dtype, np.inf, f"argument {index} was changed")
            continue
        share = _share(after, expected[index], case.terms)
        if not share <= worst:  # NaN counts as the worst
            worst = share
    return Finding(case, dtype, worst, "" if worst <= 1 else "off")


def _in_float64(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return value.astype(np.float64) if value.dtype.kind == "f" else value.copy()


def _share(after: Array, expected: Array, terms: int) -> float:
    """Return the largest error in multiples of what is allowed."""
    if after.dtype.kind != "f":
        return 0.0 if np.array_equal(after, expected) else np.inf
    same = (after == expected) | (np.isnan(after) & np.isnan(expected))
    if same.all():
        return 0.0
    with np.errstate(all="ignore"):
        error = np.where(same, 0.0, np.abs(after.astype(np.float64) - expected)).max()
    largest = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    return float(error) / tolerances.allowed(after.dtype.name, largest, terms)


def check(place: Place, *, quick: bool = False) -> dict[str, Any]:
    """Return, by op, how many cases there were and how far the worst was off."""
    device = place.new_device(None)
    findings = [
        compare(device, case, dtype)
        for case in cases(SMALL_SHAPES if quick or place.is_host else SHAPES)
        for dtype in DTYPES
    ]
    if not (quick or place.is_host):
        findings += [compare(device, case, "float32") for case in large_cases()]
    ops = {name: _of_op([f for f in findings if f.case.op == name]) for name in NAMES}
    wrong = [f for f in findings if not f.passed]
    return {
        "passed": not wrong and all(one["cases"] for one in ops.values()),
        "summary": f"{len(findings)} cases of {len(ops)} ops, {len(wrong)} wrong",
        "ops": ops,
        "wrong": [
            {
                "op": finding.case.op,
                "case": finding.case.label,
                "dtype": finding.dtype,
                "times_allowed": finding.share,
                "what": finding.wrong,
            }
            for finding in wrong[:100]
        ],
        "kernels": {} if place.is_host else attributes(),
    }


def _of_op(findings: list[Finding]) -> dict[str, Any]:
    return {
        "cases": len(findings),
        "times_allowed": max((f.share for f in findings), default=0.0),
    }


def attributes() -> dict[str, dict[str, dict[str, int]]]:
    """Return registers, spilled bytes and shared memory of every kernel, by dtype."""
    from fastnet_kernels import cuda

    from fastnet.execution.cupy_device import _C_NAMES, _function

    names = {
        "num_regs": "registers",
        "local_size_bytes": "local_bytes",
        "shared_size_bytes": "shared_bytes",
        "max_threads_per_block": "most_threads",
    }
    found: dict[str, dict[str, dict[str, int]]] = {}
    for kernel in cuda.kernels().values():
        for dtype, real in _C_NAMES.items():
            of_kernel = _function(kernel, real).attributes
            found.setdefault(kernel.name, {})[dtype.name] = {
                ours: int(of_kernel[name]) for name, ours in names.items() if name in of_kernel
            }
    return found
