"""The inner loop of a matrix product, written instruction by instruction.

A microkernel computes a block of C of ``height`` rows and ``width`` columns,

    C[i, j] = sum_k A[i, k] B[k, j] + beta C[i, j],

with all of it in vector registers: per k it loads one piece of a row of B, broadcasts ``height``
elements of A, and does height * vectors multiply-adds. Nothing is packed or copied, which pays in
products of medium size, where a general BLAS spends much of its time on that. A is read
through two strides, so that the same code serves A and its transpose.

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


def widths(real: Any) -> list[int]:
    """Return the widths that there are blocks for: two vectors, one, and its halves down to 1."""
    result, width = [2 * lanes(real)], lanes(real)
    while width:
        result.append(width)
        width //= 2
    return result


def heights(real: Any, width: int) -> list[int]:
    """Return the heights that there are blocks for: all of them where most of the work is."""
    if width >= lanes(real):
        return list(range(1, tallest() + 1))
    return [h for h in (1, 2, 4, 8) if h <= tallest()]


@cache
def microkernel(real: Any) -> Any:
    """Return an intrinsic that computes one block.

    ``block(height, width, a, row_step, k_step, b, b_step, c, c_step, k, beta)``: addresses are
    integers, steps count elements, k is at least 1, beta is 0 or 1, and height and width are among
    `heights` and `widths`.
    """
    size = real.bitwidth

    @intrinsic
    def block(
        typing_context: Any,
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
    ) -> Any:
        def call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            module = builder.module
            name = f"fastnet_block_f{size}"
            chosen = module.globals.get(name)
            if chosen is None:
                chosen = _define_choice(module, name, real)
            builder.call(chosen, args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11), call

    return block


def _define_choice(module: Any, name: str, real: Any) -> Any:
    """Write the function that jumps to the block of a height and width."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * 11), name)
    function.linkage = "internal"
    entry, other = (function.append_basic_block(label) for label in ("entry", "other"))
    at = ir.IRBuilder(entry)
    height, width, *rest = function.args
    choice = at.switch(at.add(at.mul(width, ir.Constant(INT, 64)), height), other)
    for w in widths(real):
        per_vector = min(w, lanes(real))
        for h in heights(real, w):
            block = _define(
                module, f"{name}_{h}x{w}", real.bitwidth, h, w // per_vector, per_vector
            )
            here = function.append_basic_block(f"block_{h}x{w}")
            choice.add_case(ir.Constant(INT, 64 * w + h), here)
            at.position_at_end(here)
            at.call(block, rest)
            at.ret_void()
    at.position_at_end(other)
    at.unreachable()
    return function


def _define(module: Any, name: str, size: int, height: int, vectors: int, per_vector: int) -> Any:
    """Write the function in LLVM's language."""
    element = ir.FloatType() if size == 32 else ir.DoubleType()
    vector = ir.VectorType(element, per_vector) if per_vector > 1 else element
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * 9), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    a, row_step, k_step, b, b_step, c, c_step, k, beta = function.args
    bytes_each = ir.Constant(INT, size // 8)

    entry, loop, done, plain, adding, end = (
        function.append_basic_block(label)
        for label in ("entry", "loop", "done", "plain", "adding", "end")
    )
    at = ir.IRBuilder(entry)
    row_bytes, k_bytes, b_bytes, c_bytes = (
        at.mul(step, bytes_each) for step in (row_step, k_step, b_step, c_step)
    )
    at.branch(loop)

    at.position_at_end(loop)
    step, a_here, b_here = at.phi(INT), at.phi(INT), at.phi(INT)
    step.add_incoming(ir.Constant(INT, 0), entry)
    a_here.add_incoming(a, entry)
    b_here.add_incoming(b, entry)
    sums = [[at.phi(vector) for _ in range(vectors)] for _ in range(height)]
    zero = ir.Constant(vector, [0.0] * per_vector if per_vector > 1 else 0.0)
    multiply_add = _multiply_add(module, vector, size, per_vector)

    def piece(address: Any, index: int) -> Any:
        offset = ir.Constant(INT, index * per_vector * size // 8)
        return at.inttoptr(at.add(address, offset), vector.as_pointer())

    row_of_b = [at.load(piece(b_here, v), align=size // 8) for v in range(vectors)]
    element_address, updated = a_here, []
    for i in range(height):
        value = at.load(at.inttoptr(element_address, element.as_pointer()), align=size // 8)
        broadcast = _broadcast(at, value, vector, per_vector)
        updated.append([at.call(multiply_add, [broadcast, row_of_b[v], sums[i][v]])
                        for v in range(vectors)])  # fmt: skip
        element_address = at.add(element_address, row_bytes)
    next_step = at.add(step, ir.Constant(INT, 1))
    for phi, value in ((step, next_step), (a_here, at.add(a_here, k_bytes)),
                       (b_here, at.add(b_here, b_bytes))):  # fmt: skip
        phi.add_incoming(value, loop)
    for i in range(height):
        for v in range(vectors):
            sums[i][v].add_incoming(zero, entry)
            sums[i][v].add_incoming(updated[i][v], loop)
    at.cbranch(at.icmp_signed("<", next_step, k), loop, done)

    at.position_at_end(done)
    at.cbranch(at.icmp_signed("==", beta, ir.Constant(INT, 0)), plain, adding)
    for block, adds in ((plain, False), (adding, True)):
        at.position_at_end(block)
        row = c
        for i in range(height):
            for v in range(vectors):
                pointer = piece(row, v)
                value = updated[i][v]
                if adds:
                    value = at.fadd(value, at.load(pointer, align=size // 8))
                at.store(value, pointer, align=size // 8)
            row = at.add(row, c_bytes)
        at.branch(end)
    at.position_at_end(end)
    at.ret_void()
    return function


def _multiply_add(module: Any, vector: Any, size: int, per_vector: int) -> Any:
    """Declare a * b + c, fused where the processor can."""
    suffix = f"v{per_vector}f{size}" if per_vector > 1 else f"f{size}"
    name = f"llvm.fmuladd.{suffix}"
    known = module.globals.get(name)
    return known or ir.Function(module, ir.FunctionType(vector, [vector] * 3), name)


def _broadcast(at: Any, value: Any, vector: Any, per_vector: int) -> Any:
    if per_vector == 1:
        return value
    undefined = ir.Constant(vector, ir.Undefined)
    first = at.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), per_vector), [0] * per_vector)
    return at.shuffle_vector(first, undefined, mask)
