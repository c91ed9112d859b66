"""The device seam on the host: the real kernels on the CPU, strict where a GPU would be.

Memory is the host's, launches go to the kernels compiled by `HostModule`, and a capture writes
down what is asked instead of doing it, as CUDA does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from fastnet_kernels import cuda

from cuda_host.module import HostModule
from fastnet.data import arrays
from fastnet.errors import DeviceMemoryError
from fastnet.execution.device import Array, Device, DeviceArray, Extent

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

    Attributes
    ----------
    log : list of str
        What was asked of the device, in order; a replay is one entry.
    """

    name = "host"

    def __init__(
        self,
        seed: int = 0,
        memory: int = 1 << 40,
        sources: Mapping[str, str] | None = None,
        precision: str | None = None,
    ) -> None:
        super().__init__()
        self.seed, self.memory, self.sources, self.precision = seed, memory, sources, precision
        self.allocated = 0
        self.log: list[str] = []
        self._recorded: list[Callable[[], None]] | None = None
        self._modules: dict[tuple[str, str], HostModule] = {}

    def wrap(self, array: Array) -> DeviceArray:
        """Return a C-contiguous host array as if it lay on the device, in the same memory."""
        assert array.flags.c_contiguous
        return DeviceArray(self, array, array.ctypes.data, array.shape, array.dtype)

    def _do(self, what: str, work: Callable[[], None]) -> None:
        self.log.append(what)
        if self._recorded is not None:
            self._recorded.append(work)
        else:
            work()

    # -- memory ---------------------------------------------------------------------------------

    def free_bytes(self) -> int:
        return self.memory - self.allocated

    def _allocate(self, nbytes: int) -> tuple[object, int]:
        if nbytes > self.free_bytes():
            raise DeviceMemoryError(f"host has {self.free_bytes()} bytes left; {nbytes} needed")
        self.log.append("allocate")
        self.allocated += nbytes
        memory = np.full(nbytes + 64, 0xFF, np.uint8)  # NaN, as far as there are floats
        begin = -memory.ctypes.data % 64
        return memory, memory.ctypes.data + begin

    def _write(self, target: DeviceArray, array: Array) -> None:
        self.log.append("write")
        _view(target)[...] = array

    def _read(self, target: Array, array: DeviceArray) -> None:
        self.log.append("read")
        target[...] = _view(array)

    def _copy(self, target: DeviceArray, source: DeviceArray) -> None:
        self._do("copy", lambda: _assign(target, _view(source)))

    def _zero(self, array: DeviceArray) -> None:
        self._do("zero", lambda: _assign(array, 0))

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
        block: Extent,
        values: list[np.generic],
    ) -> None:
        key = (kernel.file, C_NAMES[real])
        if key not in self._modules:
            self._refuse_in_capture("compiling")
            self._modules[key] = HostModule(*key, sources=self.sources)
        module = self._modules[key]
        self._do(
            kernel.name,
            lambda: module.launch(kernel.name, grid, block, values, seed=self.seed),
        )

    def gemm(
        self,
        out: DeviceArray,
        a: DeviceArray,
        b: DeviceArray,
        *,
        sizes: tuple[int, int, int],
        columns: tuple[int, int],
        transposed: tuple[bool, bool],
        beta: int,
    ) -> None:
        m, n, k = sizes
        assert out.shape == (m, n)
        left = _matrix(a, (m, k), columns[0], transposed[0])
        right = _matrix(b, (k, n), columns[1], transposed[1])
        result = _view(out)
        assert not np.shares_memory(result, left)
        assert not np.shares_memory(result, right)

        def multiply() -> None:
            product = left @ right
            result[...] = result + product if beta else product

        self._do("gemm", multiply)

    def _capture(self, function: Callable[[], None]) -> Callable[[], None]:
        self._recorded = recorded = []
        before = len(self.log)
        try:
            function()
        finally:
            self._recorded = None
        self.log[before:] = ["capture"]

        def replay() -> None:
            self.log.append("replay")
            for work in recorded:
                work()

        return replay

    def _synchronize(self) -> None:
        self.log.append("synchronize")


def _view(array: DeviceArray) -> Array:
    """Return the memory of a device array as a NumPy array."""
    interface = {
        "version": 3,
        "data": (array.address, False),
        "shape": array.shape,
        "typestr": array.dtype.str,
    }
    return np.asarray(_Interface(interface, array.memory))


def _assign(target: DeviceArray, value: Any) -> None:
    _view(target)[...] = value


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
