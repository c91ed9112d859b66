"""The inner loop of a matrix product, written instruction by instruction.

A microkernel computes a block of C of ``height`` rows and ``width`` columns,

    C[i, j] = sum_k A[i, k] B[k, j] + beta C[i, j],

with all of it in vector registers: per k it loads one piece of a row of B, broadcasts ``height``
elements of A, and does height * vectors multiply-adds. A is read through two strides, so that the
same code serves A and its transpose; B is read where it lies.

A block's sum over k runs from the first k to the last in one accumulator per element, so that an
element's bits depend on its row of A and its column of B alone, never on how the matrix is tiled.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

INT = ir.IntType(64)


@cache
def vector_bytes() -> int:
    """Return the size of a vector register of this processor."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    if features.get("avx2") and features.get("fma"):
        return 32
    return 16


@cache
def tallest() -> int:
    """Return how many rows a block may have: two vectors each must leave registers for B and A."""
    has_32_registers = vector_bytes() == 64 or not llvmlite.binding.get_process_triple().startswith(
        ("x86", "i686", "amd64")
    )
    return 14 if has_32_registers else 6


def lanes(real: Any) -> int:
    """Return how many numbers of a Numba float type a vector register holds."""
    return int(vector_bytes() // (real.bitwidth // 8))


@intrinsic
def microkernel(
    typing_context: Any,
    real: Any,
    height: Any,
    width: Any,
    a: Any,
    row_step: Any,
    k_step: Any,
    b: Any,
    b_step: Any,
    c: Any,
    c_step: Any,
    k: Any,
    beta: Any,
    ahead: Any,
) -> Any:
    """Compute one block in the type of the number ``real``.

    Addresses are integers, steps count elements, k is at least 1, beta is 0 or 1, height is 1 to
    `tallest`, and width is 1 to two vectors. Unless ``ahead`` is 0, a block of full width asks,
    row by row, for what lies so many bytes ahead of its part of B.
    """

    def call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = f"fastnet_block_f{real.bitwidth}"
        known = builder.module.globals.get(name)
        builder.call(known or _define_choice(builder.module, name, real), args[1:])
        return context.get_dummy_value()

    return types.void(real, *[types.int64] * 12), call


# Rows of A that are read from one address: it, and it plus one and two steps, which x86 adds up in
# the load itself. The groups' addresses are arguments of a function that is not inlined: else LLVM
# derives each from the one before, and this chain of additions takes longer than the block.
GROUP = 3
# Bytes between a matrix's rows from which on they lie badly: each on a memory page of its own, or
# several in the same few places of the cache.
FAR = 1024
# Where rows of C are so far apart, a block asks for its part of C when so many k are left: asked
# for at the start, it would have left the cache again.
TAIL = 32


def _groups(height: int) -> int:
    return -(-height // GROUP)


# Kinds of block by their vectors: both full, the second one in part, a single one in part.
# The fourth is the first, asking ahead.
BOTH_FULL, SECOND_IN_PART, ONE_IN_PART, ASKING = 0, 1, 2, 3


def _define_choice(module: Any, name: str, real: Any) -> Any:
    """Write the function that jumps to the block of a height and width."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * 12), name)
    function.linkage = "internal"
    entry, other = (function.append_basic_block(label) for label in ("entry", "other"))
    at = ir.IRBuilder(entry)
    height, width, a, row_step, *rest = function.args
    per_vector = lanes(real)
    one = at.icmp_signed("<=", width, ir.Constant(INT, per_vector))
    both = at.icmp_signed("==", width, ir.Constant(INT, 2 * per_vector))
    asks = at.icmp_signed("!=", rest[-1], ir.Constant(INT, 0))
    full = at.select(asks, ir.Constant(INT, ASKING), ir.Constant(INT, BOTH_FULL))
    kind = at.select(
        one,
        ir.Constant(INT, ONE_IN_PART),
        at.select(both, full, ir.Constant(INT, SECOND_IN_PART)),
    )
    in_last = at.select(one, width, at.sub(width, ir.Constant(INT, per_vector)))
    choice = at.switch(at.add(at.mul(kind, ir.Constant(INT, 64)), height), other)
    for k in (BOTH_FULL, SECOND_IN_PART, ONE_IN_PART, ASKING):
        for h in range(1, tallest() + 1):
            block = _define(module, f"{name}_{k}_{h}", real.bitwidth, h, k, per_vector)
            here = function.append_basic_block(f"block_{k}_{h}")
            choice.add_case(ir.Constant(INT, 64 * k + h), here)
            at.position_at_end(here)
            group = at.mul(row_step, ir.Constant(INT, GROUP * real.bitwidth // 8))
            starts = [at.add(a, at.mul(group, ir.Constant(INT, g))) for g in range(_groups(h))]
            at.call(block, [*starts, row_step, *rest, in_last])
            at.ret_void()
    at.position_at_end(other)
    at.unreachable()
    return function


def _define(module: Any, name: str, size: int, height: int, kind: int, per_vector: int) -> Any:
    """Write the function in LLVM's language."""
    element = ir.FloatType() if size == 32 else ir.DoubleType()
    vector, vectors = ir.VectorType(element, per_vector), 1 if kind == ONE_IN_PART else 2
    groups = _groups(height)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * (groups + 10)), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    starts, rest = function.args[:groups], function.args[groups:]
    row_step, k_step, b, b_step, c, c_step, k, beta, ahead, in_last = rest
    bytes_each = ir.Constant(INT, size // 8)

    entry, loop, paused, asking, done, plain, adding, end = (
        function.append_basic_block(label)
        for label in ("entry", "loop", "paused", "asking", "done", "plain", "adding", "end")
    )
    at = ir.IRBuilder(entry)
    row_bytes, k_bytes, b_bytes, c_bytes = (
        at.mul(step, bytes_each) for step in (row_step, k_step, b_step, c_step)
    )
    part = None if kind in (BOTH_FULL, ASKING) else _first_lanes(at, in_last, per_vector)
    access = _Access(module, at, vector, size, per_vector)
    early = at.sub(k, ir.Constant(INT, TAIL))  # where the loop pauses to ask for C
    asks_for_c = at.and_(
        at.icmp_signed(">", early, INT(0)), at.icmp_signed(">=", c_bytes, INT(FAR))
    )
    before_tail = at.select(asks_for_c, early, k)
    at.branch(loop)

    at.position_at_end(loop)
    step, until, b_here, *groups_here = (at.phi(INT) for _ in range(3 + groups))
    first_values = (INT(0), before_tail, b, *starts)
    for phi, start in zip((step, until, b_here, *groups_here), first_values, strict=True):
        phi.add_incoming(start, entry)
    sums = [[at.phi(vector) for _ in range(vectors)] for _ in range(height)]
    zero = ir.Constant(vector, [0.0] * per_vector)
    multiply_add = _multiply_add(module, vector, size, per_vector)
    masks = [None] * (vectors - 1) + [part]

    row_of_b = [access.load(b_here, v, masks[v]) for v in range(vectors)]
    if kind == ASKING:
        for v in range(vectors):
            vector_ahead = at.add(ahead, ir.Constant(INT, v * per_vector * size // 8))
            ask(at, at.add(b_here, vector_ahead))
    updated = []
    for i in range(height):
        within = at.mul(row_bytes, ir.Constant(INT, i % GROUP))
        element_address = at.add(groups_here[i // GROUP], within)
        value = at.load(at.inttoptr(element_address, element.as_pointer()), align=size // 8)
        broadcast = _broadcast(at, value, vector, per_vector)
        updated.append([at.call(multiply_add, [broadcast, row_of_b[v], sums[i][v]])
                        for v in range(vectors)])  # fmt: skip
    next_step = at.add(step, ir.Constant(INT, 1))
    next_b = at.add(b_here, b_bytes)
    next_groups = [at.add(phi, k_bytes) for phi in groups_here]
    at.cbranch(at.icmp_signed("<", next_step, until), loop, paused)
    at.position_at_end(paused)
    at.cbranch(at.icmp_signed("<", next_step, k), asking, done)
    at.position_at_end(asking)
    row = c
    for _ in range(height):
        for v in range(vectors):
            ask(at, at.add(row, ir.Constant(INT, v * per_vector * size // 8)))
        row = at.add(row, c_bytes)
    at.branch(loop)
    for block, limit in ((loop, until), (asking, k)):
        step.add_incoming(next_step, block)
        until.add_incoming(limit, block)
        b_here.add_incoming(next_b, block)
        for phi, following in zip(groups_here, next_groups, strict=True):
            phi.add_incoming(following, block)
        for i in range(height):
            for v in range(vectors):
                sums[i][v].add_incoming(updated[i][v], block)
    for i in range(height):
        for v in range(vectors):
            sums[i][v].add_incoming(zero, entry)

    at.position_at_end(done)
    at.cbranch(at.icmp_signed("==", beta, ir.Constant(INT, 0)), plain, adding)
    for block, adds in ((plain, False), (adding, True)):
        at.position_at_end(block)
        row = c
        for i in range(height):
            for v in range(vectors):
                value = updated[i][v]
                if adds:
                    value = at.fadd(value, access.load(row, v, masks[v]))
                access.store(value, row, v, masks[v])
            row = at.add(row, c_bytes)
        at.branch(end)
    at.position_at_end(end)
    at.ret_void()
    return function


def ask(at: Any, address: Any) -> None:
    """Ask for the cache line at an address, which may be anywhere."""
    i4, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
    function = _declared(at.module, "llvm.prefetch.p0", ir.VoidType(), [pointer, i4, i4, i4])
    reading, first_level, data = (ir.Constant(i4, value) for value in (0, 3, 1))
    at.call(function, [at.inttoptr(address, pointer), reading, first_level, data])


def _first_lanes(at: Any, count: Any, per_vector: int) -> Any:
    """Return a mask of the first ``count`` lanes."""
    numbers = ir.VectorType(INT, per_vector)
    lane = ir.Constant(numbers, list(range(per_vector)))
    return at.icmp_signed("<", lane, _broadcast(at, count, numbers, per_vector))


class _Access:
    """Loads and stores of whole vectors and, with a mask, of a vector's first lanes alone."""

    def __init__(self, module: Any, at: Any, vector: Any, size: int, per_vector: int) -> None:
        self.at, self.vector, self.size = at, vector, size
        self.bytes = size // 8 * per_vector
        mask, pointer, i4 = (
            ir.VectorType(ir.IntType(1), per_vector),
            vector.as_pointer(),
            ir.IntType(32),
        )
        kind = f"v{per_vector}f{size}.p0"
        self._load = _declared(
            module, f"llvm.masked.load.{kind}", vector, [pointer, i4, mask, vector]
        )
        self._store = _declared(
            module, f"llvm.masked.store.{kind}", ir.VoidType(), [vector, pointer, i4, mask]
        )
        self._align = ir.Constant(i4, size // 8)
        self._nothing = ir.Constant(vector, [0.0] * per_vector)

    def _at(self, address: Any, index: int) -> Any:
        place = self.at.add(address, ir.Constant(INT, index * self.bytes))
        return self.at.inttoptr(place, self.vector.as_pointer())

    def load(self, address: Any, index: int, mask: Any) -> Any:
        """Load the vector ``index`` of a row at ``address``."""
        pointer = self._at(address, index)
        if mask is None:
            return self.at.load(pointer, align=self.size // 8)
        return self.at.call(self._load, [pointer, self._align, mask, self._nothing])

    def store(self, value: Any, address: Any, index: int, mask: Any) -> None:
        """Store it there."""
        pointer = self._at(address, index)
        if mask is None:
            self.at.store(value, pointer, align=self.size // 8)
        else:
            self.at.call(self._store, [value, pointer, self._align, mask])


def _declared(module: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    known = module.globals.get(name)
    return known or ir.Function(module, ir.FunctionType(result, arguments), name)


def _multiply_add(module: Any, vector: Any, size: int, per_vector: int) -> Any:
    """Declare a * b + c, fused where the processor can."""
    return _declared(module, f"llvm.fmuladd.v{per_vector}f{size}", vector, [vector] * 3)


def _broadcast(at: Any, value: Any, vector: Any, per_vector: int) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = at.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), per_vector), [0] * per_vector)
    return at.shuffle_vector(first, undefined, mask)
