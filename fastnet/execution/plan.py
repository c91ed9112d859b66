"""The plan: how a step is cut into tiles that threads share out.

Tiles follow from shapes alone, never from the number of threads, and each tile writes what no other
one writes: the same bits for any number of threads.

**Small batches** (a step's rows fit the work buffers at once): two phases, a barrier after each.

1. Rows: a tile of rows goes all the way from the gather to the deltas of every layer. Where a row's
   bits do not depend on the rows beside it, a thread takes its share of adjacent tiles at once:
   wide layers are then read once per thread, not once per tile.
2. Parameters: a tile is some rows of one layer's W; its gradient is taken over all rows of the
   batch and the optimizer's step for these very elements follows at once. No gradient is ever
   summed over tiles. A thread has the same tiles in every step, so that they stay in its cache;
   adjacent ones are joined as above.

**Large batches on small networks** (the whole set as one batch, say): slots. A slot streams its
blocks of rows from the gather to its own gradient, so that the data is read once and nothing else
leaves the cache; then the slots' gradients are summed in order, tile by tile, and the step follows.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from fastnet_kernels.cpu.matmul import in_blocks, transposed_in_blocks

from fastnet.execution.tables import Table

Array = np.ndarray[Any, np.dtype[Any]]

# Tiles that a phase is cut into where its work allows: enough for eight cores, and for uneven ones.
TILES = 8
# A tile of rows has at least this many, and at least this many multiplications: fewer rows leave
# the microkernels half empty, and less work is over before a tile's own overhead is paid.
FEWEST_ROWS = 8
LEAST_WORK = 1 << 16
# The most rows that a thread takes at once, where it takes several tiles: their activations stay in
# its second-level cache.
ROWS_TOGETHER = 256
# Multiplications of a step that make another thread worth meeting.
WORK_PER_THREAD = 1 << 20
# The most rows that pass through the network together; beyond it, a step streams blocks.
MOST_ROWS = 4096
# Rows of a streamed block: its inputs and activations stay in the second-level cache.
STREAM_ROWS = 256
# Networks up to this many parameters stream large batches in slots; a slot's gradient must stay
# in cache beside a block of rows.
SLOT_PARAMETERS = 1 << 17
# Tiles of all weights together, where threads join them and where each is a product of a BLAS.
JOINED_TILES, BLAS_TILES = 8 * TILES, 2 * TILES
# Elements of theta that make a tile worth its start.
FEWEST_PARAMETERS = 2048
# The most elements of tiles that one thread joins: their gradient is still in cache at the update.
MOST_JOINED = 1 << 19


class Plan(NamedTuple):
    """Tiles of a step, as arrays that compiled code reads.

    ``rows_per_tile``: rows of a tile in the first phase. ``shares_rows``: whether adjacent ones may
    be taken together without a change of bits. ``most_threads``: how many the work is worth.
    ``tiles`` (count, 5) int64: layer, first and last row of W, first and last element of theta that
    the tile updates; the last tile of a layer takes the biases along. ``slots``: 0, or how many
    gradients are accumulated side by side. ``ranges`` (count, 2): elements of theta per tile where
    slots are summed.
    """

    rows_per_tile: int
    shares_rows: bool
    most_threads: int
    tiles: Array
    slots: int
    ranges: Array

    def shares(self, threads: int) -> tuple[Array, Array]:
        """Share the parameters out: tiles, joined where that does not change bits, and borders.

        The tiles of thread t are those from ``borders[t]`` to ``borders[t + 1]``, and every thread
        has about the same number of elements.
        """
        done = np.concatenate([[0], np.cumsum(self.tiles[:, 4] - self.tiles[:, 3])])
        borders = np.abs(done - np.linspace(0, done[-1], threads + 1)[:, None]).argmin(axis=1)
        joined: list[Array] = []
        starts = [0]
        for begin, end in itertools.pairwise(borders):
            for tile in self.tiles[begin:end]:
                before = joined[-1] if len(joined) > starts[-1] else None
                if before is not None and _may_join(before, tile):
                    before[[2, 4]] = tile[[2, 4]]
                else:
                    joined.append(tile.copy())
            starts.append(len(joined))
        return np.array(joined), np.array(starts)

    def rows_at_once(self, rows: int, threads: int) -> int:
        """Return how many of a block's rows a thread takes at once."""
        if not self.shares_rows:
            return self.rows_per_tile
        tiles = -(-rows // self.rows_per_tile)
        joined = self.rows_per_tile * -(-tiles // threads)
        return max(self.rows_per_tile, min(joined, ROWS_TOGETHER))


def capacity(table: Table, batch: int) -> int:
    """Return how many rows the work buffers of a training hold."""
    return STREAM_ROWS if streams(table, batch) else min(batch, MOST_ROWS)


def streams(table: Table, batch: int) -> bool:
    """Whether batches of this size go through slots."""
    return batch >= TILES * STREAM_ROWS and table.parameters <= SLOT_PARAMETERS


def build(table: Table, batch: int) -> Plan:
    """Return the plan for steps of up to ``batch`` rows."""
    rows = min(batch, MOST_ROWS)
    layers = table.records[1:-1]
    per_row = int((layers["inputs"] * layers["outputs"]).sum())
    rows_per_tile = max(FEWEST_ROWS, -(-rows // TILES), -(-LEAST_WORK // per_row))
    return Plan(
        rows_per_tile,
        all(in_blocks(int(layer["inputs"]), int(layer["outputs"])) for layer in layers),
        max(1, 3 * rows * per_row // WORK_PER_THREAD),
        _parameter_tiles(table),
        TILES if streams(table, batch) else 0,
        _ranges(table.parameters),
    )


def _parameter_tiles(table: Table) -> Array:
    """Cut every W into groups of rows of about equal work, finely: shares come out even."""
    layers = table.records[1:-1]
    weights = int((layers["inputs"] * layers["outputs"]).sum())
    tiles = []
    for index, layer in enumerate(layers, 1):
        inputs, outputs = int(layer["inputs"]), int(layer["outputs"])
        # Tiles that threads join may be small; the others are large enough for a BLAS.
        finer = JOINED_TILES if transposed_in_blocks(outputs) else BLAS_TILES
        per_tile = max(FEWEST_PARAMETERS, -(-weights // finer))
        count = min(inputs, max(1, round(inputs * outputs / per_tile)))
        borders = np.linspace(0, inputs, count + 1).astype(int)
        for first, last in itertools.pairwise(borders):
            begin = int(layer["weights"]) + first * outputs
            end = int(layer["weights"]) + last * outputs
            if last == inputs:
                end = int(layer["biases"]) + outputs
            tiles.append((index, first, last, begin, end))
    return np.array(tiles, np.int64)


def _may_join(first: Array, second: Array) -> bool:
    """Whether two tiles are neighbours in a layer whose gradient is computed in blocks."""
    columns = (first[4] - first[3]) // (first[2] - first[1])
    return bool(
        first[0] == second[0]
        and second[4] - first[3] <= MOST_JOINED
        and transposed_in_blocks(int(columns))
    )


def _ranges(parameters: int) -> Array:
    count = max(1, min(TILES, parameters // FEWEST_PARAMETERS))
    borders = np.linspace(0, parameters, count + 1).astype(np.int64)
    return np.stack([borders[:-1], borders[1:]], axis=1)
