"""Subnormal numbers count as 0 while training.

Adam's running means of a gradient that has become 0 shrink towards 0 for ever, and below about
1e-38 (float32) every operation on them takes a processor some hundred times longer than on other
numbers: an update was measured at 41 us instead of 6. GPUs and other trainers flush them, too.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

# Bits of the x86 control register MXCSR: results (FTZ) and operands (DAZ) below the normal range
# become 0.
FLUSH = 0x8040


def _is_x86(builder: Any) -> bool:
    return str(builder.module.triple).startswith(("x86", "i686", "amd64"))


def _register_function(builder: Any, name: str) -> Any:
    known = builder.module.globals.get(name)
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    return known or ir.Function(builder.module, kind, name)


@intrinsic
def flush_subnormals(typing_context: Any) -> Any:
    """Flush from here on, in this thread; return the register's value for `restore_subnormals`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        if not _is_x86(builder):
            return ir.Constant(word, 0)
        with builder.goto_entry_block():
            place = builder.alloca(word)
        pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
        builder.call(_register_function(builder, "llvm.x86.sse.stmxcsr"), [pointer])
        before = builder.load(place)
        builder.store(builder.or_(before, ir.Constant(word, FLUSH)), place)
        builder.call(_register_function(builder, "llvm.x86.sse.ldmxcsr"), [pointer])
        return before

    return types.uint32(), generate


@intrinsic
def restore_subnormals(typing_context: Any, before: Any) -> Any:
    """Undo `flush_subnormals`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if _is_x86(builder):
            with builder.goto_entry_block():
                place = builder.alloca(ir.IntType(32))
            builder.store(args[0], place)
            pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
            builder.call(_register_function(builder, "llvm.x86.sse.ldmxcsr"), [pointer])
        return context.get_dummy_value()

    return types.void(types.uint32), generate
