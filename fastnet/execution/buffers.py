"""What the math works on: bundles of buffers, and the slots of the small ones.

A ``Buffer`` is a NumPy array on the CPU backends and a device array on a GPU. The bundles are
named tuples because these are what compiled code, too, takes as one argument.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Buffer: TypeAlias = Any

# Slots of Control.scalars (float64): what a step reads and writes besides matrices.
RATE = 0  # learning rate of the step
SCALE = 1  # 1 / (sum of the batch's row weights); 0 where that sum is 0
LOSS = 2  # sum over the step's rows of weight * loss
HITS = 3  # sum over the step's rows of weight * hit
HALTED = 4  # 1 from the first step on whose loss is not finite: no update happens any more
SCALARS = 5

# Slots of Control.clock (int64).
STEP = 0  # updates since the optimizer's state began, this one included once it is counted
BATCH = 1  # position of the batch in the epoch: the index into rates and scales
ROW = 2  # position of the batch's first row in the epoch's order of rows
CLOCK = 3

# Slots of Control.totals (float64): sums over the steps since the epoch began.
TOTAL_LOSS = 0
TOTAL_HITS = 1
TOTALS = 2


def matrix(flat: Buffer, rows: int, columns: int) -> Buffer:
    """Return a flat buffer as a matrix (rows, columns), in the same memory."""
    return flat.reshape(rows, columns)


class Data(NamedTuple):
    """Rows to learn from, on the device, as they came.

    ``features`` (rows, inputs) in uint8 or the network's dtype; ``targets`` (rows,) int32 class
    indices or (rows, outputs) in the network's dtype; ``weights`` (rows,) in the network's dtype,
    or (0,) where every row weighs 1; ``order`` (rows,) int32: the order in which rows are visited;
    ``scale``: the factor that the gather multiplies features with.
    """

    features: Buffer
    targets: Buffer
    weights: Buffer
    order: Buffer
    scale: float


class Work(NamedTuple):
    """Room for one block of at most ``capacity`` rows.

    ``values`` and ``deltas`` are flat: the matrix of layer l, (capacity, outputs_l), begins
    ``offset_l * capacity`` into them, with the offsets of the layer table. ``targets``
    (capacity, outputs), ``weights``, ``row_loss``, ``row_hits`` (capacity,).
    """

    capacity: int
    values: Buffer
    deltas: Buffer
    targets: Buffer
    weights: Buffer
    row_loss: Buffer
    row_hits: Buffer


class Parameters(NamedTuple):
    """``theta`` and ``gradient`` (size,); ``state`` (slots, size): what the optimizer remembers."""

    theta: Buffer
    gradient: Buffer
    state: Buffer


class Control(NamedTuple):
    """Scalars that live beside the matrices, so that a captured step can be replayed.

    ``rates`` and ``scales`` (steps of the epoch,) float64 are read at ``clock[BATCH]``.
    """

    scalars: Buffer
    clock: Buffer
    totals: Buffer
    rates: Buffer
    scales: Buffer


class Update(NamedTuple):
    """The optimizer as numbers: its code and its hyperparameters."""

    kind: int
    momentum: float
    nesterov: int
    beta_1: float
    beta_2: float
    epsilon: float
