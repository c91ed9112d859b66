"""Where threads meet inside compiled code: a barrier on shared counters.

fastnet's threads are Python's own: each runs the same compiled function with the GIL released, and
they live for one call. So there is no pool that a fork would break or that another program's
threads could enter, and a barrier costs a fraction of a microsecond, not a parallel region.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastnet_kernels.cpu.compile import exact

# Slots of the barrier's memory (int64), a cache line apart so that waiting does not slow arriving.
ARRIVED, ROUND, NEXT, MEMBERS, GIVEN_UP = 0, 8, 16, 24, 32
BARRIER_SIZE = 40

# Turns of the waiting loop before the thread offers its core to others: long enough for any
# phase of a balanced step, short enough to be fair on a busy machine.
PATIENCE = 2000


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    from numba.np.arrayobj import make_array

    data = make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


@intrinsic
def atomic_add(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Add to an element and return what it was before, in one indivisible operation."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.atomic_rmw("add", pointer, args[2], "acq_rel")

    return types.int64(array, types.int64, types.int64), generate


@intrinsic
def atomic_load(typing_context: Any, array: Any, index: Any) -> Any:
    """Read an element that another thread may write, and everything written before it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(array, types.int64), generate


@intrinsic
def atomic_store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write an element so that who reads it sees everything written before it, too."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        builder.store_atomic(args[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), generate


@intrinsic
def _relax(typing_context: Any) -> Any:
    """Tell the processor that this is a waiting loop (nothing, where it has no such hint)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if builder.module.triple.startswith(("x86", "i686", "amd64")):
            name = "llvm.x86.sse2.pause"
            known = builder.module.globals.get(name)
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(known or ir.Function(builder.module, nothing, name), [])
        return context.get_dummy_value()

    return types.void(), generate


_offer_core = types.ExternalFunction(
    "SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32()
)


@exact
def join(barrier: Any) -> int:
    """Count this thread as one of those that meet here, and return its number."""
    return int(atomic_add(barrier, MEMBERS, 1))


@exact
def arrive(barrier: Any, threads: int) -> bool:
    """Count this thread as arrived; True for the last one, which must `release` the others.

    Between the two the last thread is alone: everything before the barrier is done, nothing after
    it has begun.
    """
    return bool(atomic_add(barrier, ARRIVED, 1) == threads - 1)


@exact
def release(barrier: Any) -> None:
    """Let the waiting threads go on, with all tiles to take again."""
    atomic_store(barrier, ARRIVED, 0)
    atomic_store(barrier, NEXT, 0)
    atomic_add(barrier, ROUND, 1)


@exact
def wait(barrier: Any, turn: int) -> bool:
    """Wait until round ``turn`` of the barrier is over; False if somebody has GIVEN_UP."""
    patience = PATIENCE
    while atomic_load(barrier, ROUND) == turn:
        if atomic_load(barrier, GIVEN_UP) != 0:
            return False
        _relax()
        patience -= 1
        if patience < 0:
            _offer_core()
    return True


@exact
def next_tile(barrier: Any) -> int:
    """Take the next tile that no thread has taken yet."""
    return int(atomic_add(barrier, NEXT, 1))
