"""gather_features and gather_targets: a batch out of the rows, in the epoch's order.

Rows are asked for ahead of their turn. Fused: indexing, conversion from bytes and scaling; one-hot
rows are written, never stored for all rows.

Everything that trains is compiled anew for every type among its arguments, so the executor passes
features and targets of every kind as their bytes, (rows, bytes of a row), and the kernels tell what
they are from the length of a row. They take the arrays themselves, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fastnet.execution.buffers import ROW
from fastnet_kernels.cpu.compile import kernel, of_fast_math, piece
from fastnet_kernels.cpu.memory import LINE, prefetch

# How many rows ahead a row is asked for; from 1 to 16 makes little difference, 0 takes 3 times as
# long with MNIST's bytes.
AHEAD = 4


@piece
def _gather(x: Any, features: Any, order: Any, begin: int, scale: float) -> None:
    rows, m = x.shape
    real = x.dtype.type
    factor = real(scale)
    row_bytes = features.shape[1] * features.itemsize
    for i in range(rows):
        # The order is random, so the processor cannot know what comes next; we do.
        if begin + i + AHEAD < order.size:
            ahead = features.ctypes.data + order[begin + i + AHEAD] * row_bytes
            for line in range(0, row_bytes, LINE):
                prefetch(ahead + line)
        source = features[order[begin + i]]
        for j in range(m):
            x[i, j] = real(source[j]) * factor


def _gather_kind(x: Any, features: Any, order: Any, begin: int, scale: float) -> None:
    raise NotImplementedError("compiled code only")


@overload(_gather_kind, jit_options=of_fast_math())
def _gather_of_kind(x: Any, features: Any, order: Any, begin: Any, scale: Any) -> Any:
    def numbers(x: Any, features: Any, order: Any, begin: Any, scale: Any) -> None:
        _gather(x, features, order, begin, scale)

    def numbers_or_bytes(x: Any, features: Any, order: Any, begin: Any, scale: Any) -> None:
        if features.shape[1] == x.shape[1]:
            _gather(x, features, order, begin, scale)
        else:
            _gather(x, features.view(x.dtype), order, begin, scale)

    return numbers_or_bytes if features.dtype == types.uint8 else numbers


@kernel
def gather_features(
    x: Any, features: Any, order: Any, clock: Any, first: int, scale: float
) -> None:
    """Compute x_i = scale * features[order[...]]."""
    _gather_kind(x, features, order, clock[ROW] + first, scale)


@piece
def _one_hot(t: Any, labels: Any, order: Any, begin: int) -> None:
    rows, m = t.shape
    for i in range(rows):
        label = labels[order[begin + i]]
        if m == 1:
            t[i, 0] = label
        else:
            for j in range(m):
                t[i, j] = 0
            t[i, label] = 1


@piece
def _copy_targets(t: Any, targets: Any, order: Any, begin: int) -> None:
    rows, m = t.shape
    for i in range(rows):
        source = targets[order[begin + i]]
        for j in range(m):
            t[i, j] = source[j]


def _write_targets(t: Any, targets: Any, order: Any, begin: int) -> None:
    raise NotImplementedError("compiled code only")


@overload(_write_targets, jit_options=of_fast_math())
def _write_targets_of_kind(t: Any, targets: Any, order: Any, begin: Any) -> Any:
    def classes(t: Any, targets: Any, order: Any, begin: Any) -> None:
        _one_hot(t, targets, order, begin)

    def matrix(t: Any, targets: Any, order: Any, begin: Any) -> None:
        _copy_targets(t, targets, order, begin)

    def in_bytes(t: Any, targets: Any, order: Any, begin: Any) -> None:
        if targets.shape[1] == t.shape[1] * t.itemsize:
            _copy_targets(t, targets.view(t.dtype), order, begin)
        else:
            labels = targets.view(np.int32)
            _one_hot(t, labels.reshape(labels.size), order, begin)

    if targets.dtype == types.uint8:
        return in_bytes
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
