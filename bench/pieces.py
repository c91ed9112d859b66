"""The pieces of a training step: its products, tile by tile, and its update.

It follows `fastnet.execution.plan`: which products a step is made of, and how the plan cuts them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bench import loops
from bench.loops import ADAM, BACKWARD, FORWARD, GRADIENT, PIECE_SIZE, SGD
from fastnet.execution import plan
from fastnet.execution.buffers import CLOCK, RATE, SCALARS, STEP
from fastnet.execution.plan import Plan
from fastnet.execution.tables import Table

Array = np.ndarray[Any, np.dtype[Any]]
Piece = list[int]

# A small rate: many rounds with one gradient must not carry the parameters away.
RATE_OF_ROUNDS = 1e-9


class Phase(NamedTuple):
    """Tiles of pieces; ``shares`` says where each thread's own tiles begin, None for anyone's."""

    tiles: list[list[Piece]]
    shares: list[int] | None = None


class Pieces(NamedTuple):
    """Phases of tiles of pieces, and the sizes of the buffers that they work on."""

    threads: int
    phases: list[Phase]
    values: int
    deltas: int
    gradients: int

    @property
    def operations(self) -> int:
        """Floating-point operations of the products: two for each multiplication."""
        return sum(
            2 * piece[loops.M] * piece[loops.N] * piece[loops.K]
            for phase in self.phases
            for tile in phase.tiles
            for piece in tile
            if piece[loops.KIND] in (FORWARD, BACKWARD, GRADIENT)
        )


def as_planned(table: Table, batch: int, cores: int) -> Pieces:
    """Return the products of a step in the shapes and the order of the plan on so many cores."""
    made = plan.build(table, batch)
    capacity = plan.capacity(table, batch)
    threads = min(cores, made.most_threads)
    if made.slots:
        return _slots(table, batch, made.slots, capacity, threads)
    phases = []
    for first in range(0, batch, capacity):
        block, beta = min(capacity, batch - first), int(first > 0)
        at_once, tiles, shares = as_executed(made, block, threads)
        rows = [
            [
                *_forward(table, capacity, row, min(row + at_once, block)),
                *_backward(table, capacity, row, min(row + at_once, block)),
            ]
            for row in range(0, block, at_once)
        ]
        gradients = [
            [_gradient(table, capacity, l, block, first_row, last_row, beta)]
            for l, first_row, last_row in tiles
        ]
        phases += [Phase(rows), Phase(gradients, shares)]
    return _pieces(table, threads, phases, capacity, 1)


def as_executed(
    made: Plan, rows: int, threads: int
) -> tuple[int, list[tuple[int, int, int]], list[int]]:
    """Return what the executor makes of a plan on so many threads.

    Returns
    -------
    rows_at_once : int
        Rows of a tile of the first phase.
    tiles : list
        Of the second phase: layer, first and last row of its W.
    shares : list of int
        Where in ``tiles`` each thread's own begin, and the end.
    """
    tiles, borders = made.shares(threads)
    cut = [(int(l), int(first), int(last)) for l, first, last, *_ in tiles]
    return made.rows_at_once(rows, threads), cut, [int(border) for border in borders]


def _slots(table: Table, batch: int, slots: int, capacity: int, threads: int) -> Pieces:
    """Return a tile per slot, which streams its blocks through buffers of its own."""
    tiles = []
    for slot in range(slots):
        values, deltas = slot * capacity * table.values, slot * capacity * table.deltas
        tile = []
        for first in range(slot * capacity, batch, slots * capacity):
            block = min(capacity, batch - first)
            beta = int(first > slot * capacity)
            for piece in (
                *_forward(table, capacity, 0, block),
                *_backward(table, capacity, 0, block),
                *_gradients(table, capacity, block, beta),
            ):
                tile.append(_moved(piece, values, deltas, slot * table.parameters))
        tiles.append(tile)
    return _pieces(table, threads, [Phase(tiles)], slots * capacity, slots)


def _moved(piece: Piece, values: int, deltas: int, gradient: int) -> Piece:
    """Return a piece that works further on in every buffer but theta."""
    moved = list(piece)
    out, a, b = {
        FORWARD: (values, values, 0),
        BACKWARD: (deltas, deltas, 0),
        GRADIENT: (gradient, values, deltas),
    }[piece[loops.KIND]]
    moved[loops.OUT] += out
    moved[loops.A] += a
    moved[loops.B] += b
    return moved


def whole(table: Table, batch: int, threads: int) -> Pieces:
    """Return the products of a step uncut but for one part per thread, without a barrier between.

    What depends on what is left out, so this may be faster than any order that trains.
    """
    tiles = []
    for thread in range(threads):
        begin, end = batch * thread // threads, batch * (thread + 1) // threads
        tile = [*_forward(table, batch, begin, end), *_backward(table, batch, begin, end)]
        for l, layer in _layers(table):
            inputs = int(layer["inputs"])
            first, last = inputs * thread // threads, inputs * (thread + 1) // threads
            tile.append(_gradient(table, batch, l, batch, first, last, 0))
        tiles.append([piece for piece in tile if piece[loops.M] > 0])
    return _pieces(table, threads, [Phase(tiles, list(range(threads + 1)))], batch, 1)


def update(table: Table, optimizer: str, tiles: int, threads: int) -> Pieces:
    """Return the optimizer's step over all parameters, in so many tiles for each thread."""
    kind = ADAM if optimizer == "adam" else SGD
    borders = np.linspace(0, table.parameters, threads * tiles + 1).astype(int).tolist()
    parts = [[_piece(kind, out=begin, m=end - begin)] for begin, end in itertools.pairwise(borders)]
    shares = [thread * tiles for thread in range(threads + 1)]
    return _pieces(table, threads, [Phase(parts, shares)], 1, 1)


def _pieces(table: Table, threads: int, phases: list[Phase], capacity: int, slots: int) -> Pieces:
    return Pieces(
        threads,
        phases,
        capacity * table.values,
        capacity * table.deltas,
        slots * table.parameters,
    )


def _piece(
    kind: int, *, out: int, m: int, a: int = 0, b: int = 0, n: int = 0, k: int = 0,
    columns: int = 0, first: int = 0, beta: int = 0,
) -> Piece:  # fmt: skip
    piece = [0] * PIECE_SIZE
    piece[loops.KIND], piece[loops.OUT], piece[loops.A], piece[loops.B] = kind, out, a, b
    piece[loops.M], piece[loops.N], piece[loops.K] = m, n, k
    piece[loops.COLUMNS], piece[loops.FIRST], piece[loops.BETA] = columns, first, beta
    return piece


def _layers(table: Table) -> Iterator[tuple[int, Any]]:
    for l in range(1, len(table.records) - 1):
        yield l, table.records[l]


def _forward(table: Table, capacity: int, begin: int, end: int) -> Iterator[Piece]:
    """Z_l = A_i W_l of some rows, layer by layer."""
    for _, layer in _layers(table):
        inputs, outputs = int(layer["inputs"]), int(layer["outputs"])
        below = table.records[int(layer["input"])]
        yield _piece(
            FORWARD,
            out=int(layer["z"]) * capacity + begin * outputs,
            a=int(below["a"]) * capacity + begin * inputs,
            b=int(layer["weights"]),
            m=end - begin,
            n=outputs,
            k=inputs,
        )


def _backward(table: Table, capacity: int, begin: int, end: int) -> Iterator[Piece]:
    """dA_i = dZ_l W_l^T of some rows, the last layer first."""
    for _, layer in reversed(list(_layers(table))):
        if layer["input"] == 0:
            continue
        inputs, outputs = int(layer["inputs"]), int(layer["outputs"])
        below = table.records[int(layer["input"])]
        yield _piece(
            BACKWARD,
            out=int(below["d"]) * capacity + begin * inputs,
            a=int(layer["d"]) * capacity + begin * outputs,
            b=int(layer["weights"]),
            m=end - begin,
            n=inputs,
            k=outputs,
        )


def _gradient(
    table: Table, capacity: int, l: int, rows: int, first: int, last: int, beta: int
) -> Piece:
    """dW_l = A_i^T dZ_l: some rows of dW_l, from all rows of the block."""
    layer = table.records[l]
    inputs, outputs = int(layer["inputs"]), int(layer["outputs"])
    below = table.records[int(layer["input"])]
    return _piece(
        GRADIENT,
        out=int(layer["weights"]) + first * outputs,
        a=int(below["a"]) * capacity,
        b=int(layer["d"]) * capacity,
        m=last - first,
        n=outputs,
        k=rows,
        columns=inputs,
        first=first,
        beta=beta,
    )


def _gradients(table: Table, capacity: int, rows: int, beta: int) -> Iterator[Piece]:
    for l, layer in _layers(table):
        yield _gradient(table, capacity, l, rows, 0, int(layer["inputs"]), beta)


class Bench:
    """Buffers for some pieces, filled with ordinary numbers, and the clock around them."""

    def __init__(self, table: Table, pieces: Pieces) -> None:
        random = np.random.default_rng(0)

        def numbers(size: int, scale: float) -> Array:
            return random.standard_normal(size, np.float32) * np.float32(scale)

        self.threads = pieces.threads
        tiles = [tile for phase in pieces.phases for tile in phase.tiles]
        self.pieces = np.array([piece for tile in tiles for piece in tile], np.int64)
        self.tiles = _spans([len(tile) for tile in tiles])
        self.phases = _spans([len(phase.tiles) for phase in pieces.phases])
        nobody = [loops.ANYONE] * (pieces.threads + 1)
        self.shares = np.array(
            [
                nobody if phase.shares is None else [begin + own for own in phase.shares]
                for phase, begin in zip(pieces.phases, self.phases[:, 0], strict=True)
            ],
            np.int64,
        )
        uses_state = any(piece[loops.KIND] == ADAM for tile in tiles for piece in tile)
        state = numbers((2 if uses_state else 0) * table.parameters, 0.01) ** 2
        self.scalars, self.clock = np.zeros(SCALARS), np.zeros(CLOCK, np.int64)
        self.scalars[RATE], self.clock[STEP] = RATE_OF_ROUNDS, 1
        self.buffers = (
            numbers(pieces.values, 1),
            numbers(pieces.deltas, 0.01),
            numbers(table.parameters, 0.05),
            numbers(pieces.gradients, 0.01),
            state.reshape(-1, table.parameters),
        )

    def seconds(self, rounds: int) -> float:
        """Return the seconds of so many rounds through all phases."""
        return loops.seconds_on_threads(
            self.threads,
            loops.run_pieces,
            *(rounds, self.pieces, self.tiles, self.phases, self.shares, *self.buffers),
            *(self.scalars, self.clock),
        )


def _spans(counts: list[int]) -> Array:
    """Return first and last index of consecutive groups of these sizes: (groups, 2)."""
    borders = np.cumsum([0, *counts])
    return np.stack([borders[:-1], borders[1:]], axis=1).astype(np.int64)
