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
# Half-widths of the differences, tried from the widest on, for inputs of size 1.
WIDTHS = (4e-2, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
# Central differences of eighth order: f'(0) ~ sum_k c_k (f(kh) - f(-kh)) / h.
COEFFICIENTS = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
# Two estimates agree when they differ by no more than this share, or than what rounding explains.
AGREEMENT = 1e-9
ROUNDINGS = 16
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
    """

    block: str
    shape: tuple[int, ...]
    checked: int
    error: float


@dataclass(frozen=True)
class GradientCheck:
    """What `gradcheck` found; iterating gives its rows.

    Attributes
    ----------
    rows : list of BlockCheck
        One per block of parameters.
    tolerance : float
        The largest error that passes.
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
        """Whether every error is within the tolerance."""
        return all(row.error <= self.tolerance for row in self.rows)

    def __iter__(self) -> Iterator[BlockCheck]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {**asdict(self), "error": self.error, "passed": self.passed}

    def __str__(self) -> str:
        lines = [f"{'block':<18} {'shape':<14} {'checked':>8} {'error':>10}"]
        lines += [
            f"{row.block:<18} {row.shape!s:<14} {row.checked:>8} {row.error:>10.2e}"
            for row in self.rows
        ]
        return "\n".join([*lines, self.verdict])

    @property
    def verdict(self) -> str:
        """One line: passed or failed, and by how much."""
        moved = "; the point was moved away from kinks" if self.moved else ""
        return (
            f"{'passed' if self.passed else 'FAILED'}: largest error {self.error:.2e}, "
            f"allowed {self.tolerance:g}{moved}"
        )


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
    comes from eight points, exact up to h^8, so that h can be wide and rounding stays small; h
    shrinks until two estimates agree. A difference that would cross a kink of relu, leaky_relu,
    elu or mae (where a derivative jumps) is not taken: h shrinks, and if that does not help,
    the parameters are moved a little and the check starts anew.

    Parameters
    ----------
    net : Network
    X, y, sample_weight
        As in ``Network.fit``; a few rows are enough.
    tolerance : float, default 1e-6
        The largest error that passes.
    most : int, default 200
        How many elements of a block are compared at most, drawn by a fixed seed.

    Returns
    -------
    GradientCheck
        ``passed``, ``error``, and a row per block; ``print`` shows it as a table.

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
        self.executor.theta = theta
        scale = 1 / self.rows.total_weight
        _, analytic = self.executor.gradient(self.data, scale)
        noise = ROUNDINGS * np.finfo(float).eps * max(abs(self.loss(theta)), 1e-2)
        regions = self.regions()
        parts = self.network.blocks()
        found = []
        for number, (name, begin, shape) in enumerate(parts):
            size = int(np.prod(shape))
            chosen = Stream(0, GRADIENT_CHECK, number).permutation(size)[:most] + begin
            reach = self._input_size(number // 2) if name.endswith("weights") else 1.0
            numeric = np.array(
                [self._difference(theta, int(i), regions, reach, noise) for i in chosen]
            )
            gap = np.abs(analytic[chosen] - numeric).max()
            error = float(gap / max(np.abs(numeric).max(), SMALLEST_SCALE))
            found.append(BlockCheck(name, shape, len(chosen), error))
        return found

    def _input_size(self, layer: int) -> float:
        """Return the largest input of a layer, at least 1: how far a weight's step reaches."""
        record = self.executor.table.records[layer]
        values = backprop.a_of(self.work, record, 0, len(self.rows))
        return max(1.0, float(np.abs(self.executor.get(values)).max()))

    def _difference(
        self, theta: Array, i: int, regions: list[Array], reach: float, noise: float
    ) -> float:
        """Return dL/dtheta_i from differences that cross no kink.

        ``noise`` is how far rounding may shift a loss.
        """
        point = theta.copy()

        def loss_at(offset: float) -> float:
            point[i] = theta[i] + offset
            value = self.loss(point)
            if any((now != then).any() for now, then in zip(self.regions(), regions, strict=True)):
                raise _Kink
            return value

        before, best, best_gap = None, None, np.inf
        for width in WIDTHS:
            h = width / reach
            try:
                estimate = _derivative(loss_at, h)
            except _Kink:
                continue
            if before is not None:
                gap = abs(estimate - before)
                if gap < best_gap:
                    best, best_gap = before, gap
                if gap <= max(AGREEMENT * abs(estimate), noise / h):
                    best = before
                    break
            before = estimate
        point[i] = theta[i]
        if best is None:
            raise _Kink
        return best


def _derivative(f: Callable[[float], float], h: float) -> float:
    """Return f'(0) by central differences of eighth order."""
    return sum(c * (f(k * h) - f(-k * h)) for k, c in enumerate(COEFFICIENTS, 1)) / h
