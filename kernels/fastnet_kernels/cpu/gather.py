"""gather_features and gather_targets: a batch out of the rows, in the epoch's order.

Fused: indexing, conversion from bytes and scaling; one-hot rows are written, never stored for all
rows.
"""

from __future__ import annotations

from typing import Any

from numba.extending import overload

from fastnet.execution.buffers import ROW
from fastnet_kernels.cpu.compile import FAST_MATH, kernel


@kernel
def gather_features(
    x: Any, features: Any, order: Any, clock: Any, first: int, scale: float
) -> None:
    """Compute x_i = scale * features[order[...]]."""
    rows, m = x.shape
    real = x.dtype.type
    factor = real(scale)
    begin = clock[ROW] + first
    for i in range(rows):
        source = features[order[begin + i]]
        for j in range(m):
            x[i, j] = real(source[j]) * factor


def _write_targets(t: Any, targets: Any, order: Any, begin: int) -> None:
    raise NotImplementedError("compiled code only")


@overload(_write_targets, jit_options={"fastmath": set(FAST_MATH), "error_model": "numpy"})
def _write_targets_of_kind(t: Any, targets: Any, order: Any, begin: Any) -> Any:
    """Choose by the kind of target, which is part of the type: classes or rows."""

    def classes(t: Any, targets: Any, order: Any, begin: Any) -> None:
        rows, m = t.shape
        for i in range(rows):
            label = targets[order[begin + i]]
            if m == 1:
                t[i, 0] = label
            else:
                for j in range(m):
                    t[i, j] = 0
                t[i, label] = 1

    def matrix(t: Any, targets: Any, order: Any, begin: Any) -> None:
        rows, m = t.shape
        for i in range(rows):
            source = targets[order[begin + i]]
            for j in range(m):
                t[i, j] = source[j]

    return classes if targets.ndim == 1 else matrix


@kernel
def gather_targets(
    t: Any, w: Any, targets: Any, weights: Any, order: Any, clock: Any, first: int
) -> None:
    """Targets and row weights in the epoch's order."""
    begin = clock[ROW] + first
    _write_targets(t, targets, order, begin)
    for i in range(w.size):
        w[i] = weights[order[begin + i]] if weights.size > 0 else 1
