"""A backend that computes nothing: it records the ops that the math calls, as a capture would.

Its buffers refuse everything that a captured stream refuses: allocation, reading back, arithmetic,
branching on values. Only slicing into contiguous parts and reshaping are allowed, since these are
address arithmetic.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

from fastnet.execution import ops as contract


class NotCapturable(Exception):
    """The math did something that cannot be recorded."""


class DeviceBuffer:
    """An opaque buffer: a name, a first element, and a shape."""

    def __init__(self, name: str, shape: tuple[int, ...], first: int = 0) -> None:
        self.name, self.shape, self.first = name, tuple(int(n) for n in shape), int(first)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Any) -> DeviceBuffer:
        inner = math.prod(self.shape[1:])
        if isinstance(index, slice):
            begin, end, stride = index.indices(self.shape[0])
            if stride != 1 or end < begin:
                raise NotCapturable(f"{self.name}[{index}] is not contiguous")
            return DeviceBuffer(
                self.name, (end - begin, *self.shape[1:]), self.first + begin * inner
            )
        if isinstance(index, int) and self.ndim > 1:
            return DeviceBuffer(self.name, self.shape[1:], self.first + index * inner)
        raise NotCapturable(f"reads an element: {self.name}[{index!r}]")

    def reshape(self, *shape: int) -> DeviceBuffer:
        if math.prod(shape) != self.size:
            raise NotCapturable(f"{self.name} {self.shape} cannot become {shape}")
        return DeviceBuffer(self.name, shape, self.first)

    def key(self) -> tuple[Any, ...]:
        return (self.name, self.first, self.shape)


def _refuse(operation: str) -> Any:
    def refused(self: DeviceBuffer, *args: object) -> Any:
        raise NotCapturable(f"{operation} on {self.name}")

    return refused


for _operation in (
    "array bool int float index iter setitem add sub mul truediv neg pos abs matmul radd rsub rmul "
    "rtruediv iadd isub imul itruediv lt le gt ge eq ne contains copy deepcopy"
).split():
    setattr(DeviceBuffer, f"__{_operation}__", _refuse(_operation))
for _operation in "copy astype fill sum max min mean dot tolist item any all T".split():
    setattr(DeviceBuffer, _operation, property(_refuse(_operation)))


class Recorder:
    """The ops: each call is checked against the contract and written down."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        if name not in contract.NAMES:
            raise NotCapturable(f"{name} is not an op")
        signature = inspect.signature(getattr(contract.Ops, name))

        def op(*args: Any) -> None:
            signature.bind(*args)
            recorded = []
            for arg in args:
                if isinstance(arg, DeviceBuffer):
                    recorded.append(arg.key())
                elif hasattr(arg, "__array__") and getattr(arg, "ndim", 0) > 0:
                    raise NotCapturable(f"{name} was given a host array")
                else:
                    recorded.append(float(arg))
            self.calls.append((name, *recorded))

        return op
