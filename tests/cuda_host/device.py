"""The device seam on the host: the real kernels on the CPU, strict where a GPU would be.

Memory is the host's, launches go to the kernels compiled by `HostModule`, and what was captured is
replayed in any order that its data allow.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from fastnet_kernels import cuda

from cuda_host.module import HostModule
from fastnet.data import arrays
from fastnet.errors import DeviceMemoryError
from fastnet.execution.device import THREADS, Array, Device, DeviceArray, Extent, Product
from fastnet.execution.lanes import Work, dependencies

C_NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


class OnDevice:
    """Somebody else's array on the host device: it tells where it is, as DLPack has it."""

    def __init__(self, array: Array) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)  # kDLCUDA

    def __dlpack__(self, **_: Any) -> Any:
        raise AssertionError("the array was taken to the host")


class HostDevice(Device):
    """A device whose kernels run on the CPU.

    Parameters
    ----------
    seed : int
        Of the order in which threads run; 0 is their natural order.
    memory : int
        Bytes that can be allocated.
    sources : mapping, optional
        Kernels and headers by file name, where they are not the package's own.
    program_blocks : int
        How many blocks run a program.

    Attributes
    ----------
    log : list of str
        What was asked of the device, in order; a replay is one entry.
    replayed : list of str
        What the last replay did.
    allocated, most_allocated : int
        Bytes in use, now and at most until now.
    """

    name = "host"

    def __init__(
        self,
        seed: int = 0,
        memory: int = 1 << 40,
        sources: Mapping[str, str] | None = None,
        precision: str | None = None,
        program_blocks: int = 3,
    ) -> None:
        super().__init__()
        self._program_blocks = program_blocks
        self.seed, self.memory, self.sources, self.precision = seed, memory, sources, precision
        self.allocated = self.most_allocated = 0
        self.log: list[str] = []
        self.replayed: list[str] = []
        self._modules: dict[tuple[str, str], HostModule] = {}

    def wrap(self, array: Array) -> DeviceArray:
        """Return a C-contiguous host array as if it lay on the device, in the same memory."""
        assert array.flags.c_contiguous
        return DeviceArray(self, array, array.ctypes.data, array.shape, array.dtype)

    # -- memory ---------------------------------------------------------------------------------

    def free_bytes(self) -> int:
        return self.memory - self.allocated

    def _allocate(self, nbytes: int) -> tuple[object, int]:
        if nbytes > self.free_bytes():
            raise DeviceMemoryError(f"host has {self.free_bytes()} bytes left; {nbytes} needed")
        self.log.append("allocate")
        self._count(nbytes)
        memory = np.full(nbytes + 64, 0xFF, np.uint8)  # NaN, as far as there are floats
        weakref.finalize(memory, _release, weakref.ref(self), nbytes)
        begin = -memory.ctypes.data % 64
        return memory, memory.ctypes.data + begin

    def _count(self, nbytes: int) -> None:
        self.allocated += nbytes
        self.most_allocated = max(self.most_allocated, self.allocated)

    def _write(self, target: DeviceArray, array: Array) -> None:
        self.log.append("write")
        _view(target)[...] = array

    def _read(self, target: Array, array: DeviceArray) -> None:
        self.log.append("read")
        target[...] = _view(array)

    def _copy(self, target: DeviceArray, source: DeviceArray, lane: int) -> None:
        self.log.append("copy")
        _view(target)[...] = _view(source)

    def _zero(self, array: DeviceArray, lane: int) -> None:
        self.log.append("zero")
        _view(array)[...] = 0

    def adopt(self, array: Any, dtype: np.dtype[Any], name: str) -> DeviceArray:
        arrays.require_real(array, name)
        kind = array.dtype if array.dtype == np.uint8 else dtype
        with np.errstate(over="ignore"):
            return self.wrap(np.ascontiguousarray(array.array, kind))

    def export(self, array: DeviceArray) -> Any:
        return OnDevice(_view(array))

    # -- work -----------------------------------------------------------------------------------

    def _launch(
        self,
        kernel: cuda.Kernel,
        real: np.dtype[Any],
        grid: Extent,
        values: list[np.generic],
        lane: int,
    ) -> None:
        self.log.append(kernel.name)
        module = self._module(kernel.file, real)
        module.launch(kernel.name, grid, (THREADS,), values, seed=self.seed)

    def _module(self, file: str, real: np.dtype[Any]) -> HostModule:
        key = (file, C_NAMES[real])
        if key not in self._modules:
            self._modules[key] = HostModule(*key, sources=self.sources)
        return self._modules[key]

    @property
    def program_blocks(self) -> int:
        return self._program_blocks

    def _run_program(
        self,
        real: np.dtype[Any],
        first: DeviceArray,
        calls: DeviceArray,
        arrived: DeviceArray,
        levels: int,
        rounds: int,
    ) -> None:
        assert not _view(arrived).any()
        pointers = [np.uint64(array.address) for array in (first, calls, arrived)]
        values = [*pointers, np.int32(levels), np.int32(rounds)]
        self.log.append("program")
        self._module(cuda.PROGRAM, real).launch(
            *("run_program", (self.program_blocks,), (THREADS,), values),
            seed=self.seed,
            cooperative=True,
        )

    def _gemm(
        self, out: DeviceArray, a: DeviceArray, b: DeviceArray, product: Product, lane: int
    ) -> None:
        m, n, k = product.sizes
        assert out.shape == (m, n)
        left = _matrix(a, (m, k), product.columns[0], product.transposed[0])
        right = _matrix(b, (k, n), product.columns[1], product.transposed[1])
        result = _view(out)
        assert not np.shares_memory(result, left)
        assert not np.shares_memory(result, right)
        self.log.append("gemm")
        result[...] = result + left @ right if product.beta else left @ right

    def _replayable(self, works: list[Work]) -> Callable[[], None]:
        """Replay in any order that the data allow, another one each time."""
        self.log.append("capture")
        waits = dependencies(works)
        rng = random.Random(self.seed)

        def replay() -> None:
            log, self.log = self.log, []
            for j in any_order(waits, rng if self.seed else None):
                works[j].ask(0)
            self.replayed, self.log = self.log, [*log, "replay"]

        return replay

    def _synchronize(self) -> None:
        self.log.append("synchronize")


def _release(device: weakref.ref[HostDevice], nbytes: int) -> None:
    found = device()
    if found is not None:
        found._count(-nbytes)


def _view(array: DeviceArray) -> Array:
    """Return the memory of a device array as a NumPy array."""
    interface = {
        "version": 3,
        "data": (array.address, False),
        "shape": array.shape,
        "typestr": array.dtype.str,
    }
    return np.asarray(_Interface(interface, array.memory))


def any_order(waits: list[list[int]], rng: random.Random | None) -> Iterator[int]:
    """Yield all pieces of work, each after those that it waits for; without ``rng`` as recorded."""
    left = dict(enumerate(waits))
    while left:
        ready = [j for j, direct in left.items() if not any(i in left for i in direct)]
        chosen = rng.choice(ready) if rng else ready[0]
        del left[chosen]
        yield chosen


def _matrix(array: DeviceArray, shape: tuple[int, int], columns: int, transposed: bool) -> Array:
    """Return op(array) as the BLAS would read it: rows that lie ``columns`` elements apart."""
    rows, across = (shape[1], shape[0]) if transposed else shape
    last = (rows - 1) * columns + across
    owner = DeviceArray(array.device, array.memory, array.address, (last,), array.dtype)
    size = array.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(
        _view(owner), (rows, across), (columns * size, size), writeable=False
    )
    return view.T if transposed else view


class _Interface:
    def __init__(self, interface: dict[str, Any], memory: object) -> None:
        self.__array_interface__, self.memory = interface, memory
