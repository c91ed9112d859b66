"""Memory by address: what kernels that reach below arrays are written with.

Addresses are integers. Each function takes a number ``real`` first, whose type is the type that is
meant and whose value does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, lower_builtin, type_callable
from numba.np.arrayobj import make_array, populate_array

from fastnet.execution.buffers import matrix
from fastnet_kernels.cpu.microkernel import ask, lanes

INT, BYTE = ir.IntType(64), ir.IntType(8)
# Bytes of a cache line: of most processors, and harmless where it is another number.
LINE = 64


def _element(real: Any) -> Any:
    return ir.FloatType() if real.bitwidth == 32 else ir.DoubleType()


def constant(number: Callable[[Any], int]) -> Any:
    """Return an intrinsic whose result is ``number(type)``."""

    @intrinsic
    def value(typing_context: Any, real: Any) -> Any:
        def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return ir.Constant(INT, number(real))

        return types.int64(real), write

    return value


# How many numbers a vector holds, and how many bytes a number takes.
lanes_of = constant(lanes)
size_of = constant(lambda real: real.bitwidth // 8)

# The C library's. ``allocate`` returns 0 where there is no memory.
allocate = types.ExternalFunction("malloc", types.uintp(types.uintp))
release = types.ExternalFunction("free", types.void(types.uintp))


def room(numbers: Callable[[Any], int]) -> Any:
    """Return an intrinsic: the address of room on the stack for ``numbers(type)`` numbers."""

    @intrinsic
    def address(typing_context: Any, real: Any) -> Any:
        def allocate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            # Not by Numba's own means, which fill it with zeros at every call.
            with builder.goto_entry_block():
                place = builder.alloca(ir.ArrayType(BYTE, numbers(real) * real.bitwidth // 8))
                place.align = LINE
            return builder.ptrtoint(place, INT)

        return types.int64(real), allocate

    return address


def _copy(builder: Any, real: Any, kind: Any, args: Any) -> None:
    out, source = (builder.inttoptr(address, kind.as_pointer()) for address in args[1:])
    align = real.bitwidth // 8
    builder.store(builder.load(source, align=align), out, align=align)


@intrinsic
def copy_number(typing_context: Any, real: Any, out: Any, source: Any) -> Any:
    """Copy one number from address to address."""

    def move(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _copy(builder, real, _element(real), args)
        return context.get_dummy_value()

    return types.void(real, types.int64, types.int64), move


@intrinsic
def add_number(typing_context: Any, real: Any, out: Any, source: Any) -> Any:
    """Add one number from address to address."""

    def add(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, align = _element(real).as_pointer(), real.bitwidth // 8
        out, source = (builder.inttoptr(address, kind) for address in args[1:])
        both = (builder.load(place, align=align) for place in (out, source))
        builder.store(builder.fadd(*both), out, align=align)
        return context.get_dummy_value()

    return types.void(real, types.int64, types.int64), add


@intrinsic
def copy_vector(typing_context: Any, real: Any, out: Any, source: Any) -> Any:
    """Copy one vector of numbers from address to address."""

    def move(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _copy(builder, real, ir.VectorType(_element(real), lanes(real)), args)
        return context.get_dummy_value()

    return types.void(real, types.int64, types.int64), move


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address, which may be anywhere."""

    def call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ask(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), call


@intrinsic
def touch(typing_context: Any, address: Any) -> Any:
    """Write four bytes anew, as they are: so that no other core keeps a copy of their line."""

    def call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(args[0], ir.IntType(32).as_pointer())
        # As atomic ones: others would be left out.
        value = builder.load_atomic(place, "monotonic", 4)
        builder.store_atomic(value, place, "monotonic", 4)
        return context.get_dummy_value()

    return types.void(types.int64), call


@type_callable(matrix)
def _type_of_matrix(context: Any) -> Any:
    def typed(flat: Any, rows: Any, columns: Any) -> Any:
        return types.Array(flat.dtype, 2, "C")

    return typed


@lower_builtin(matrix, types.Array, types.Integer, types.Integer)
def _matrix(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Numba's own ``reshape`` calls a function for any change of any shape; here there is none."""
    given = make_array(signature.args[0])(context, builder, args[0])
    made = make_array(signature.return_type)(context, builder)
    shape = [
        context.cast(builder, count, kind, types.int64)
        for count, kind in zip(args[1:], signature.args[1:], strict=True)
    ]
    populate_array(
        made,
        data=given.data,
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(
            builder, [builder.mul(shape[1], given.itemsize), given.itemsize]
        ),
        itemsize=given.itemsize,
        meminfo=given.meminfo,
        parent=given.parent,
    )
    # A view keeps what it is a view of, where references are counted (not here, see compile.py).
    return impl_ret_borrowed(context, builder, signature.return_type, made._getvalue())
