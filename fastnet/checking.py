"""Gradient checks: hand-derived gradients against central differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet import backprop, checks
from fastnet.randomness import GRADIENT_CHECK, Stream

if TYPE_CHECKING:
    from fastnet.network import Network

Array = np.ndarray[Any, np.dtype[Any]]

TOLERANCE = 1e-6
# Below this size of a block's gradient its error counts as absolute.
SMALLEST_SCALE = 1e-8
# The h of the differences, for inputs of size 1: FIRST, then wider or narrower ones.
FIRST = 4e-2
WIDER = (0.1, 0.25, 0.6, 1.5)
NARROWER = (2e-2, 1e-2, 5e-3, 2e-3, 1e-3, 3e-4, 1e-4, 1e-5, 1e-6)
# Inputs smaller than this count as this large; h is then wide enough.
SMALLEST_INPUT = 1e-2
# Central differences of eighth order: f'(0) ~ sum_k c_k (f(kh) - f(-kh)) / h.
COEFFICIENTS = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
# The same of sixth order, from the same points: the two differ by more than the former's error.
SIXTH_ORDER = (3 / 4, -3 / 20, 1 / 60, 0.0)
# An estimate whose doubt is no more than this share of the block's largest derivative, or than that
# share of the smallest scale, needs no better h.
AGREEMENT = 1e-9
NEGLIGIBLE = 1e-7
# A loss is off by up to this many times what its rounding was measured to be, in so many samples.
ROUNDINGS = 2
SAMPLES = 32
EPSILON = float(np.finfo(float).eps)
# How often the point may be moved to get away from kinks.
MOVES = 20


@dataclass(frozen=True)
class BlockCheck:
    """The check of one layer's weights or biases.

    Attributes
    ----------
    block : str
        ``layer_1.weights`` and so on, as in ``Network.state_dict``.
    shape : tuple of int
    checked : int
        How many of its elements were compared.
    error : float
        max |analytic - numeric| / max(max |numeric|, 1e-8).
    floor : float
        The smallest error that can be told from the rounding of the loss and from what the
        differences leave out: how far ``numeric`` may be off, in the units of ``error``.
    size : float
        max |analytic|. Where it is above 0 and below 1e-8, ``error`` is absolute, and a derivative
        that is wrong by more than the tolerance would go unseen.
    """

    block: str
    shape: tuple[int, ...]
    checked: int
    error: float
    floor: float
    size: float

    def outcome(self, tolerance: float) -> str:
        """Return ``passed``, ``FAILED``, or ``too flat`` to be checked to the tolerance."""
        if not self.error <= tolerance + self.floor:
            return "FAILED"
        flat = self.floor > tolerance or 0 < self.size < SMALLEST_SCALE
        return "too flat" if flat else "passed"


@dataclass(frozen=True)
class GradientCheck:
    """What `gradcheck` found; iterating gives its rows.

    Attributes
    ----------
    rows : list of BlockCheck
        One per block of parameters.
    tolerance : float
        The largest error that passes, next to the block's floor.
    moved : bool
        Whether the parameters were moved a little, away from kinks, for the check.
    """

    rows: list[BlockCheck]
    tolerance: float
    moved: bool

    @property
    def error(self) -> float:
        """The largest error of all blocks; NaN if any is NaN."""
        return float(np.max([row.error for row in self.rows]))

    @property
    def passed(self) -> bool:
        """Whether every block was checked to the tolerance and found right.

        False if a block `failed`, and if one is `too_flat`: then nothing wrong was found, but a
        wrong derivative could have gone unseen.
        """
        return not self.failed and not self.too_flat

    @property
    def failed(self) -> list[str]:
        """The blocks whose error is beyond tolerance and floor: their gradients are wrong."""
        return self._blocks("FAILED")

    @property
    def too_flat(self) -> list[str]:
        """The blocks not found wrong whose floor is above the tolerance, or size below 1e-8."""
        return self._blocks("too flat")

    def _blocks(self, outcome: str) -> list[str]:
        return [row.block for row in self.rows if row.outcome(self.tolerance) == outcome]

    def __iter__(self) -> Iterator[BlockCheck]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        rows = [{**asdict(row), "outcome": row.outcome(self.tolerance)} for row in self.rows]
        return {
            **asdict(self),
            "rows": rows,
            "error": self.error,
            "passed": self.passed,
            "failed": self.failed,
            "too_flat": self.too_flat,
        }

    def __str__(self) -> str:
        lines = [f"{'block':<18} {'shape':<14} {'checked':>8} {'error':>10} {'floor':>10}  outcome"]
        lines += [
            f"{row.block:<18} {row.shape!s:<14} {row.checked:>8} {row.error:>10.2e} "
            f"{row.floor:>10.2e}  {row.outcome(self.tolerance)}"
            for row in self.rows
        ]
        return "\n".join([*lines, self.verdict])

    @property
    def verdict(self) -> str:
        """One line: passed, failed or too flat, and by how much."""
        flat = f"too flat to be checked to {self.tolerance:g}: " + ", ".join(
            f"{row.block} (to {row.floor:.1e})"
            if row.floor > self.tolerance
            else f"{row.block} (gradient {row.size:.1e})"
            for row in self.rows
            if row.block in self.too_flat
        )
        found = f"largest error {self.error:.2e}, allowed {self.tolerance:g}"
        if self.failed:
            line = f"FAILED: {found}" + (f"; {flat}" if self.too_flat else "")
        elif self.too_flat:
            line = f"{flat}; nothing wrong was found, largest error {self.error:.2e}"
        else:
            line = f"passed: {found}"
        return line + ("; the point was moved away from kinks" if self.moved else "")


class _Kink(Exception):  # noqa: N818 - a signal within this module
    """No difference around this parameter stays clear of a kink."""


def gradcheck(
    net: Network,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    tolerance: float = TOLERANCE,
    most: int = 200,
) -> GradientCheck:
    """Compare the analytic gradient with central differences in float64, block by block.

    The network is copied to float64 on its own backend; nothing of it changes. Each derivative
    comes from eight points, exact up to h^8, so that h can be wide and rounding stays small: h
    grows while rounding is the larger part of the doubt, and shrinks while the terms left out
    are. A difference that would cross a kink of relu, leaky_relu, elu or mae (where a derivative
    jumps) is not taken: h shrinks, and if that does not help, the parameters are moved a little
    and the check starts anew.

    What doubt is left is the block's floor, and it is added to what is allowed. Where a trained
    network has next to no gradient, the floor may be above the tolerance: such a block is
    reported as too flat to be checked, neither passed nor failed; rows with a larger loss help.

    Parameters
    ----------
    net : Network
    X, y, sample_weight
        As in ``Network.fit``; a few rows are enough.
    tolerance : float, default 1e-6
        The largest error that passes, next to what differences cannot resolve.
    most : int, default 200
        How many elements of a block are compared at most, drawn by a fixed seed.

    Returns
    -------
    GradientCheck
        ``passed``, ``failed``, ``too_flat``, ``error``, and a row per block; ``print`` shows it
        as a table.

    Raises
    ------
    ArithmeticError
        If no point free of kinks is found; pass fewer rows then.
    """
    checks.whole_number(most, "most", at_least=1)
    checks.real_number(tolerance, "tolerance", above=0)
    probe = _Probe(net.to(dtype="float64"), X, y, sample_weight)
    start = probe.network.parameters
    stream = Stream(0, GRADIENT_CHECK)
    for move in range(MOVES):
        theta = start
        if move:
            noise = 2 * stream.uniform(len(start)) - 1
            theta = start + 1e-2 * (np.abs(start) + 0.1) * noise
        try:
            return GradientCheck(probe.check(theta, most), tolerance, move > 0)
        except _Kink:
            continue
    raise ArithmeticError(
        f"gradcheck found no point without kinks near the network's parameters in {MOVES} tries; "
        f"pass fewer rows ({len(probe.rows)} now), or smaller features"
    )


class _Probe:
    """The loss of fixed rows as a function of the parameters."""

    def __init__(self, network: Network, X: Any, y: Any, sample_weight: Any) -> None:
        self.network = network
        self.rows, _ = network.rows(X, y, sample_weight, codec=network.known_codec, training=False)
        self.executor = network.executor
        rows = self.rows
        self.data = self.executor.load(
            rows.features, rows.targets, rows.weights, network.input_scale
        )
        self.work = self.executor.work(len(rows))  # one block, so that its outputs can be read

    def loss(self, theta: Array) -> float:
        self.executor.theta = theta
        return self.executor.evaluate(self.data, self.work)[0] / self.rows.total_weight

    def regions(self) -> list[Array]:
        """Return on which side of every kink the last evaluation was."""
        network = self.network
        records, count = self.executor.table.records, len(self.rows)
        sides = []
        for layer, record in zip(network.layers, records[1:-1], strict=True):
            # A_l has the sign of Z_l for every activation with a kink; the last layer's is Z_L.
            if layer.activation.kinks:
                a = self.executor.get(backprop.a_of(self.work, record, 0, count))
                sides.append(np.sign(a))
        if network.loss.kinked:
            outputs = self.executor.get(backprop.a_of(self.work, records[-1], 0, count))
            width = outputs.shape[1]
            t = self.executor.get(backprop.rows_of(self.work.targets, 0, width, count, 0, count))
            sides.append(np.sign(outputs - t))
        return sides

    def check(self, theta: Array, most: int) -> list[BlockCheck]:
        """Return the comparison at ``theta``, or raise _Kink."""
        noise = self._noise(theta)
        self.executor.theta = theta
        scale = 1 / self.rows.total_weight
        _, analytic = self.executor.gradient(self.data, scale)
        self.loss(theta)
        regions = self.regions()
        parts = self.network.blocks()
        inputs = [self._input_sizes(layer) for layer in range(len(parts) // 2)]
        found = []
        for number, (name, begin, shape) in enumerate(parts):
            size = int(np.prod(shape))
            chosen = Stream(0, GRADIENT_CHECK, number).permutation(size)[:most] + begin
            numeric, doubts = np.zeros(len(chosen)), np.zeros(len(chosen))
            for n, i in enumerate(chosen):
                weights = name.endswith("weights")
                reach = inputs[number // 2][(int(i) - begin) // shape[1]] if weights else 1.0
                so_far = float(np.abs(numeric).max())
                numeric[n], doubts[n] = self._difference(
                    theta, int(i), regions, reach, noise, so_far
                )
            gap = np.abs(analytic[chosen] - numeric).max()
            error = float(gap / max(np.abs(numeric).max(), SMALLEST_SCALE))
            floor = float(doubts.max() / max(np.abs(numeric).max(), SMALLEST_SCALE))
            largest = float(np.abs(analytic[begin : begin + size]).max())
            found.append(BlockCheck(name, shape, len(chosen), error, floor, largest))
        return found

    def _input_sizes(self, layer: int) -> Array:
        """Return the largest values of a layer's inputs: how far a weight's step reaches."""
        record = self.executor.table.records[layer]
        values = backprop.a_of(self.work, record, 0, len(self.rows))
        sizes = np.abs(self.executor.get(values)).max(axis=0)
        return np.where(sizes > 0, np.maximum(sizes, SMALLEST_INPUT), 1.0)

    def _noise(self, theta: Array) -> float:
        """Return how far the rounding inside the network shifts the loss at ``theta``.

        It is measured: with every parameter moved by its last bit or not at all, each sum and each
        logit rounds anew, and what that does to the loss is what rounding does to it. Large logits
        of rows that are decided do not count, then, and those of a row in doubt do. Derivatives by
        hand have no part in it.
        """
        stream = Stream(0, GRADIENT_CHECK, len(self.network.blocks()))
        loss = self.loss(theta)
        shifts = [
            abs(self.loss(theta * (1 + EPSILON * (2 * stream.uniform(len(theta)) - 1))) - loss)
            for _ in range(SAMPLES)
        ]
        return float(np.max(shifts))

    def _grain(self, losses: list[float]) -> float:
        """Return the last bit of the largest loss.

        A cross-entropy of a softmax has the sum of exp(z - max z) in it: 1 or more, with a last bit
        of its own.
        """
        network = self.network
        softmax = network.layers[-1].activation.name == "softmax" and not network.loss.elementwise
        least = 1.0 if softmax else 0.0
        return EPSILON / 2 * (least + float(np.max(np.abs(losses))))

    def _difference(
        self,
        theta: Array,
        i: int,
        regions: list[Array],
        reach: float,
        noise: float,
        largest: float,
    ) -> tuple[float, float]:
        """Return dL/dtheta_i from differences that cross no kink, and how far it may be off.

        ``noise`` is how far rounding may shift a loss, ``largest`` the block's largest derivative
        so far.
        """
        point = theta.copy()
        losses: list[float] = []

        def loss_at(offset: float) -> float:
            point[i] = theta[i] + offset
            losses.append(self.loss(point))
            if any((now != then).any() for now, then in zip(self.regions(), regions, strict=True)):
                raise _Kink
            return losses[-1]

        def estimate(width: float) -> _Estimate | None:
            losses.clear()
            h = width / reach
            try:
                changes = _changes(loss_at, h)
            except _Kink:
                return None
            value = _derivative(changes, h)
            left_out = abs(value - _derivative(changes, h, SIXTH_ORDER))
            grain = self._grain(losses)
            if min(losses) == max(losses):  # not even the widest step changes the last bit
                return _Estimate(value, left_out, grain / (len(COEFFICIENTS) * h))
            spread = float(np.sqrt(2 * np.square(COEFFICIENTS).sum()))  # each loss rounds alone
            return _Estimate(value, left_out, ROUNDINGS * (noise + grain) * spread / h)

        best = estimate(FIRST)
        wider = best is not None and best.rounding > best.left_out
        for width in WIDER if wider else NARROWER:
            enough = max(AGREEMENT * largest, NEGLIGIBLE * SMALLEST_SCALE)
            if best is not None and best.doubt <= max(AGREEMENT * abs(best.value), enough):
                break
            now = estimate(width)
            better = now is not None and (best is None or now.doubt < best.doubt)
            if better:
                best = now
            if wider and not better:
                break
            if not wider and now is not None and now.left_out <= now.rounding:
                break
        if best is None:
            raise _Kink
        return best.value, best.doubt


@dataclass(frozen=True)
class _Estimate:
    """A derivative from differences: what their formula leaves out of it, and their rounding."""

    value: float
    left_out: float
    rounding: float

    @property
    def doubt(self) -> float:
        return self.left_out + self.rounding


def _changes(f: Callable[[float], float], h: float) -> list[float]:
    """Return f(kh) - f(-kh) for k = 1, 2, ..."""
    return [f(k * h) - f(-k * h) for k in range(1, len(COEFFICIENTS) + 1)]


def _derivative(
    changes: list[float], h: float, coefficients: tuple[float, ...] = COEFFICIENTS
) -> float:
    """Return f'(0) by central differences."""
    return sum(c * change for c, change in zip(coefficients, changes, strict=True)) / h
