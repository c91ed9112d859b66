"""Programs: the launches of a captured step as calls that one cooperative launch makes.

A step of a small network is a dozen launches that each take longer to start than to run, also in a
graph. As a program its blocks stay on the device, and between two pieces of work they only wait for
each other (``program.cu``). What is called follows from the launches that the step has asked for:
``backprop.py`` remains the only place in which their order stands.

1. A product and what is done to its elements next become one call.
2. Products are our own, since a BLAS cannot be called from a device; long sums with few tiles are
   cut into slices that more blocks can work on.
3. Calls that do not touch what another one writes share a level, also those of different steps:
   the rows of the next batch are gathered while parameters are updated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from fastnet_kernels import cuda

from fastnet.execution import codes
from fastnet.execution.device import Call, DeviceArray, Extent, Multiplication
from fastnet.execution.lanes import Span, Work, dependencies, keeps_order, overlap

Array = np.ndarray[Any, np.dtype[Any]]

# How the elements of a product end; products.cu says what each does.
ENDS_PLAIN = 0
ENDS_WITH_BIAS = 1
ENDS_WITH_SLOPE = 2

# From a product's result and a number of elements to memory for its slices.
Room = Callable[[DeviceArray, int], DeviceArray]

# Elements of a call's record, and those before its arguments; program.cu has the same.
RECORD, BEFORE_ARGUMENTS = 24, 4
# Rows and columns of the tile of a matrix that a block of `product` has, and of all others.
SIDE = 32
TILE_ROWS = 8
# A sum of so many terms is cut into slices of no fewer than that, if blocks would be idle
# otherwise: a level more costs about as much as going through some hundred terms.
LONG_SUM, SHORTEST_SLICE = 384, 64
MOST_BLOCKS = 65535  # of a grid, down
# Kernels over flat vectors, and over the tiles of a matrix: what each thread has more to do goes on
# from its first element by the size of the grid, and so the grid may be smaller.
FLAT = frozenset({"sgd_step", "momentum_step", "adam_step", "not_finite"})
TILED = frozenset(
    {
        *("bias_activation", "activation", "activation_backward", "sum_slices"),
        *("gather_features", "gather_features_bytes"),
        *("gather_targets", "gather_targets_classes"),
    }
)


def most_slices(products: int, blocks: int) -> int:
    """Return how many elements the slices of so many products take at most."""
    return products * blocks * SIDE * SIDE


class NoProgramError(RuntimeError):
    """Work that a program cannot do."""


class Operation(NamedTuple):
    """A call of a kernel, with the memory that it reads and writes."""

    kernel: str
    grid: Extent
    values: list[np.generic]
    reads: tuple[Span, ...]
    writes: tuple[Span, ...]
    keeps: tuple[Any, ...]


class Program(NamedTuple):
    """What ``run_program`` is given.

    Attributes
    ----------
    first : array
        (levels + 1,) int32, the number of each level's first call.
    calls : array
        (calls, RECORD) int64.
    keeps : tuple
        Whatever holds the memory that the calls point to.
    """

    first: Array
    calls: Array
    keeps: tuple[Any, ...]

    @property
    def levels(self) -> int:
        """How often all blocks wait for each other."""
        return len(self.first) - 1


def build(works: Sequence[Work], blocks: int, empty: Callable[..., DeviceArray]) -> Program:
    """Return the program of recorded work.

    Parameters
    ----------
    works : sequence of Work
        In the order in which they were asked for.
    blocks : int
        How many blocks will run it. Long sums are cut into so many slices as keep these busy; in
        nothing else do results depend on it.
    empty : callable
        Makes device memory, for the slices.

    Raises
    ------
    NoProgramError
        If some of it is neither a launch nor a product.
    """
    slices: dict[int, DeviceArray] = {}

    def room(out: DeviceArray, size: int) -> DeviceArray:
        """Return memory for the slices of a result; those of another step may have been there."""
        if out.address not in slices or slices[out.address].size < size:
            slices[out.address] = empty(size, out.dtype)
        return slices[out.address][:size]

    operations = [
        one for work, ending in joined(works) for one in _calls(work, ending, blocks, room)
    ]
    levels = levels_of(operations)
    ordered: list[Operation] = []
    first, records = [0], []
    numbers = {name: number for number, name in enumerate(cuda.kernels())}
    for level in range(max(levels, default=-1) + 1):
        place = 0
        mine = [one for one, its in zip(operations, levels, strict=True) if its == level]
        # Products first: who has none of their tiles, takes the short work.
        for one in sorted(mine, key=lambda one: one.kernel != "product"):
            across, down = _grid(one, blocks)
            records.append(_record(numbers[one.kernel], place, across, down, one.values))
            place += across * down
            ordered.append(one)
        first.append(len(records))
    calls = np.array(records, np.int64).reshape(len(records), RECORD)
    return Program(np.array(first, np.int32), calls, tuple(one.keeps for one in ordered))


def levels_of(operations: Sequence[Operation]) -> list[int]:
    """Return the level of each operation: the first one behind all that it must wait for."""
    levels: list[int] = []
    for direct in dependencies(operations):
        levels.append(1 + max((levels[i] for i in direct), default=-1))
    return levels


def _grid(operation: Operation, blocks: int) -> tuple[int, int]:
    """Return the grid of a call: no larger than the blocks that there are, where that is possible.

    Every place costs a block two barriers, and `adam_step` two powers.
    """
    across, down = (*operation.grid, 1)[:2]
    if operation.kernel in FLAT:
        return min(across, blocks), 1
    if operation.kernel in TILED:
        return across, min(down, max(blocks // across, 1))
    return across, down


def _record(
    number: int, place: int, across: int, down: int, values: Sequence[np.generic]
) -> list[int]:
    cells = [int(np.asarray(_eight_bytes(value)).view(np.int64)) for value in values]
    record = [number, place, across, down, *cells]
    return record + [0] * (RECORD - len(record))


def _eight_bytes(value: np.generic) -> np.generic:
    """Return an argument in eight bytes: integers as a long long, all else has as many."""
    return np.int64(value) if value.dtype.kind == "i" else value


# -- a product and what is done to it next ---------------------------------------------------------


class Ending(NamedTuple):
    """What becomes of the elements of a product; see products.cu."""

    kind: int
    out: Any
    z: Any
    beside: Any
    activation: Any
    alpha: Any
    work: Work | None


def joined(works: Sequence[Work]) -> list[tuple[Work, Ending | None]]:
    """Return the works with the endings of products, which are left out where they stood."""
    result: list[tuple[Work, Ending | None]] = []
    taken: set[int] = set()
    for i, work in enumerate(works):
        if i in taken:
            continue
        ending = None
        if isinstance(work.what, Multiplication):
            j = _next_to_touch(works, i, work.what.out)
            if j is not None and not _stands_in_between(works, i, j):
                ending = _ending(work, works[j])
                if ending is not None:
                    taken.add(j)
        result.append((work, ending))
    return result


def _next_to_touch(works: Sequence[Work], i: int, out: DeviceArray) -> int | None:
    """Return the first work behind the i-th that reads or writes its result."""
    result = Work("", (), (out.span,), print)
    for j in range(i + 1, len(works)):
        if keeps_order(result, works[j]):
            return j
    return None


def _stands_in_between(works: Sequence[Work], i: int, j: int) -> bool:
    """Whether the j-th work cannot be done right behind the i-th."""
    return any(keeps_order(works[between], works[j]) for between in range(i + 1, j))


def _ending(multiplying: Work, work: Work) -> Ending | None:
    """Return what a piece of work does to the elements of a product, if a product can end so."""
    product: Multiplication = multiplying.what
    if not isinstance(work.what, Call) or product.product.beta:
        return None
    # A tile that ends early must not write what other tiles still multiply.
    if overlap(multiplying.reads, work.writes):
        return None
    values = work.what.values
    m, n, _ = product.product.sizes
    if tuple(map(int, values[-2:])) != (m, n):
        return None
    address = product.out.address
    if work.what.kernel.name == "bias_activation" and int(values[1]) == address:
        out, z, bias, activation, alpha = values[:5]
        return Ending(ENDS_WITH_BIAS, out, z, bias, activation, alpha, work)
    if work.what.kernel.name == "activation_backward" and int(values[0]) == address:
        d, a, activation, alpha = values[:4]
        return Ending(ENDS_WITH_SLOPE, d, d, a, activation, alpha, work)
    return None


# -- calls ----------------------------------------------------------------------------------------


def _calls(work: Work, ending: Ending | None, blocks: int, room: Room) -> list[Operation]:
    what = work.what
    if isinstance(what, Multiplication):
        return _product(work, what, ending, blocks, room)
    if isinstance(what, Call):
        touched = work.reads, work.writes, work.keeps
        return [Operation(what.kernel.name, what.grid, what.values, *touched)]
    raise NoProgramError(f"{work.name} cannot be part of a program: it is no launch and no product")


def _product(
    work: Work,
    what: Multiplication,
    ending: Ending | None,
    blocks: int,
    room: Room,
) -> list[Operation]:
    """Return a product with its ending, or its slices and what adds them up."""
    m, n, k = what.product.sizes
    beta, out = what.product.beta, np.uint64(what.out.address)
    nothing = Ending(ENDS_PLAIN, out, out, out, codes.LINEAR, 0.0, None)
    last = ending or nothing
    reads, writes, keeps = work.reads, work.writes, work.keeps
    if last.work is not None:
        # The product's own result is the ending's to write, or is written by nobody.
        reads, writes = (*reads, *last.work.reads), (*writes, *last.work.writes)
        keeps = (*keeps, *last.work.keeps)
    across, down = -(-n // SIDE), -(-m // SIDE)
    slice_ = _slice(k, across * down, blocks)
    slices = -(-k // slice_)
    if down * slices > MOST_BLOCKS:
        raise NoProgramError(f"a product of {m} rows has more tiles than a grid; use a BLAS")

    def multiply(target: Ending, add: int) -> list[np.generic]:
        pointers = (target.out, target.z, what.a.address, what.b.address, target.beside)
        sizes = (m, n, k, *what.product.columns, *what.product.transposed, add, target.kind)
        return [
            *map(np.uint64, pointers),
            *map(np.int32, (*sizes, target.activation)),
            np.float64(target.alpha),
            np.int32(slice_),
        ]

    if slices == 1:
        values = multiply(last, beta)
        return [Operation("product", (across, down), values, reads, writes, keeps)]
    parts = room(what.out, slices * m * n)
    place = np.uint64(parts.address)
    plain = nothing._replace(out=place, z=place, beside=place)
    add_up: list[np.generic] = [
        *map(np.uint64, (last.out, last.z, place, last.beside)),
        *map(np.int32, (m, n, slices, beta, last.kind, last.activation)),
        np.float64(last.alpha),
    ]
    grid = across, min(-(-m // TILE_ROWS), MOST_BLOCKS)
    factors = (what.a.span, what.b.span) if ending is None else work.reads
    return [
        Operation(
            "product",
            (across, down * slices),
            multiply(plain, 0),
            factors,
            (parts.span,),
            (*work.keeps, parts),
        ),
        Operation("sum_slices", grid, add_up, (*reads, parts.span), writes, (*keeps, parts)),
    ]


def _slice(k: int, tiles: int, blocks: int) -> int:
    """Return how many terms of a sum one block goes through."""
    if k < LONG_SUM or 2 * tiles > blocks:
        return k
    wanted = max(-(-k // (blocks // tiles)), SHORTEST_SLICE)
    return -(-wanted // SIDE) * SIDE
