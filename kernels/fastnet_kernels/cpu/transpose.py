"""A small transpose in registers: how rows become the columns that a microkernel reads.

``matmul_nt`` needs B^T, whose rows lie across memory. A square of as many rows as a vector has
lanes is loaded row by row; each of log2(lanes) rounds of shuffles exchanges halves between rows a
power of two apart, and then it is transposed.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastnet_kernels.cpu.microkernel import INT, lanes


@intrinsic
def transpose(
    typing_context: Any, real: Any, out: Any, out_step: Any, source: Any, source_step: Any
) -> Any:
    """out[j, i] = source[i, j] for i, j below `lanes`, in the type of the number ``real``.

    Addresses are integers, steps count elements.
    """

    def call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name = f"fastnet_transpose_f{real.bitwidth}"
        known = builder.module.globals.get(name)
        builder.call(known or _define(builder.module, name, real), args[1:])
        return context.get_dummy_value()

    return types.void(real, *[types.int64] * 4), call


def _define(module: Any, name: str, real: Any) -> Any:
    count, bytes_each = lanes(real), real.bitwidth // 8
    element = ir.FloatType() if real.bitwidth == 32 else ir.DoubleType()
    vector = ir.VectorType(element, count)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * 4), name)
    function.linkage = "internal"
    at = ir.IRBuilder(function.append_basic_block("entry"))
    out, out_step, source, source_step = function.args

    def address(base: Any, step: Any, index: int) -> Any:
        place = at.add(base, at.mul(step, ir.Constant(INT, index * bytes_each)))
        return at.inttoptr(place, vector.as_pointer())

    rows = [at.load(address(source, source_step, i), align=bytes_each) for i in range(count)]
    half = count // 2
    while half:
        # Rows i and i + half exchange the lanes that differ from theirs in the bit ``half``.
        low = [lane if not lane & half else count + lane - half for lane in range(count)]
        high = [lane + half if not lane & half else count + lane for lane in range(count)]
        for i in range(count):
            if not i & half:
                pair = rows[i], rows[i + half]
                rows[i], rows[i + half] = (_shuffled(at, *pair, mask) for mask in (low, high))
        half //= 2
    for i in range(count):
        at.store(rows[i], address(out, out_step, i), align=bytes_each)
    at.ret_void()
    return function


def _shuffled(at: Any, first: Any, second: Any, mask: list[int]) -> Any:
    kind = ir.VectorType(ir.IntType(32), len(mask))
    return at.shuffle_vector(first, second, ir.Constant(kind, mask))
