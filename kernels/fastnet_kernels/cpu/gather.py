"""gather_features and gather_targets: a batch out of the rows, in the epoch's order.

Rows are asked for ahead of their turn. Fused: indexing, conversion from bytes and scaling; one-hot
rows are written, never stored for all rows.
"""

from __future__ import annotations

from typing import Any

from numba.extending import overload

from fastnet.execution.buffers import ROW
from fastnet_kernels.cpu.compile import kernel, of_fast_math
from fastnet_kernels.cpu.memory import LINE, prefetch

# How many rows ahead a row is asked for; from 1 to 16 makes little difference, 0 takes 3 times as
# long with MNIST's bytes.
AHEAD = 4


@kernel
def gather_features(
    x: Any, features: Any, order: Any, clock: Any, first: int, scale: float
) -> None:
    """Compute x_i = scale * features[order[...]]."""
    rows, m = x.shape
    real = x.dtype.type
    factor = real(scale)
    begin = clock[ROW] + first
    row_bytes = m * features.itemsize
    for i in range(rows):
        # The order is random, so the processor cannot know what comes next; we do.
        if begin + i + AHEAD < order.size:
            ahead = features.ctypes.data + order[begin + i + AHEAD] * row_bytes
            for line in range(0, row_bytes, LINE):
                prefetch(ahead + line)
        source = features[order[begin + i]]
        for j in range(m):
            x[i, j] = real(source[j]) * factor


def _write_targets(t: Any, targets: Any, order: Any, begin: int) -> None:
    raise NotImplementedError("compiled code only")


@overload(_write_targets, jit_options=of_fast_math())
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
