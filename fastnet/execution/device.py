"""The device seam: everything that the GPU backend asks of a device, and nothing more.

``CupyDevice`` answers with CuPy and cuBLAS; the tests have a device on which the same kernels run
on the host. What both must hold to is checked here, once: what a kernel's arguments are, and what
may not happen while a step is captured.
"""

from __future__ import annotations

import contextlib
import gc
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from fastnet_kernels import cuda

from fastnet.execution.lanes import Span, Work

if TYPE_CHECKING:
    from fastnet.execution.programs import Program

Array = np.ndarray[Any, np.dtype[Any]]
Extent = tuple[int, ...]

# Threads of every block; kernel.cuh says the same.
THREADS = 256
# Room for what one launch leaves to the next, such as partial sums: bytes.
SCRATCH_BYTES = 1 << 21


class CaptureError(RuntimeError):
    """Something was done while a step is captured that a replay could not repeat."""


class DeviceArray:
    """A contiguous array in a device's memory: an address with a shape and a dtype.

    It can be cut into contiguous parts and reshaped, which is address arithmetic, and nothing
    else: the host cannot look into it except through ``device.get``.

    Attributes
    ----------
    device : Device
    memory : object
        What keeps the memory alive.
    address : int
    shape : tuple of int
    dtype : numpy.dtype
    """

    __slots__ = ("address", "device", "dtype", "memory", "shape")

    def __init__(
        self, device: Device, memory: object, address: int, shape: Extent, dtype: np.dtype[Any]
    ) -> None:
        self.device, self.memory, self.address = device, memory, int(address)
        self.shape, self.dtype = tuple(map(int, shape)), dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray({self.shape}, {self.dtype}, {self.device.name})"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.size * self.dtype.itemsize

    def __getitem__(self, index: int | slice) -> DeviceArray:
        """Return a row, or adjacent rows, in the same memory."""
        length = self.shape[0]
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        if isinstance(index, slice):
            begin, end, stride = index.indices(length)
            if stride != 1:
                raise TypeError(f"a device array was cut with stride {stride}; expected 1")
            shape = (max(end - begin, 0), *self.shape[1:])
        else:
            begin, shape = range(length)[index], self.shape[1:]
            if not shape:
                raise TypeError("an element of a device array was read; use device.get")
        return DeviceArray(self.device, self.memory, self.address + begin * row, shape, self.dtype)

    def reshape(self, *shape: int) -> DeviceArray:
        """Return the same memory under another shape of the same size."""
        if math.prod(shape) != self.size:
            raise ValueError(f"a device array of shape {self.shape} cannot become {shape}")
        return DeviceArray(self.device, self.memory, self.address, shape, self.dtype)

    @property
    def span(self) -> Span:
        """The addresses that it covers."""
        return self.address, self.address + self.nbytes

    def in_bytes(self) -> DeviceArray:
        """Return the same memory as bytes."""
        return DeviceArray(
            self.device, self.memory, self.address, (self.nbytes,), np.dtype(np.uint8)
        )

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a device array cannot be iterated over on the host; use device.get")


class Product(NamedTuple):
    """What a matrix product is made of; see `Device.gemm`."""

    sizes: tuple[int, int, int]
    columns: tuple[int, int]
    transposed: tuple[bool, bool]
    beta: int


class Multiplication(NamedTuple):
    """A matrix product that was asked for; see `Device.gemm`."""

    out: DeviceArray
    a: DeviceArray
    b: DeviceArray
    product: Product


class Call(NamedTuple):
    """A launch that was asked for: its arguments as the kernel takes them."""

    kernel: cuda.Kernel
    grid: Extent
    values: list[np.generic]


def _reach(columns: int, shape: tuple[int, int]) -> int:
    """Return how many elements lie from the first to the last one of rows that far apart."""
    rows, width = shape
    return (rows - 1) * columns + width


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the collector away: what it frees may be another device's, which a capture forbids."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Device(ABC):
    """A device: what is asked of it happens in order, and perhaps later.

    What is asked within a capture is written down as pieces of work; see ``lanes.py``. One thread
    at a time may ask, and until a capture has ended only the one that captures.
    """

    name: str

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._recorded: list[Work] | None = None
        # Memory and its address: an array would hold the device that holds it.
        self._scratch: tuple[object, int] | None = None

    # -- memory -------------------------------------------------------------------------------

    def empty(self, shape: int | Extent, dtype: Any) -> DeviceArray:
        """Return new memory with no content to rely on."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        kind = np.dtype(dtype)
        with self._lock:
            self._refuse_in_capture("an allocation")
            memory, address = self._allocate(math.prod(shape) * kind.itemsize)
        return DeviceArray(self, memory, address, shape, kind)

    def put(self, array: Array) -> DeviceArray:
        """Return a copy of a host array."""
        result = self.empty(array.shape, array.dtype)
        self.write(result, array)
        return result

    def write(self, target: DeviceArray, array: Array) -> None:
        """Copy a host array of the same shape and dtype into device memory."""
        if target.shape != array.shape or target.dtype != array.dtype:
            raise TypeError(
                f"a host array {array.shape} of {array.dtype} was written to a device array "
                f"{target.shape} of {target.dtype}; expected the same"
            )
        with self._lock:
            self._refuse_in_capture("a copy from the host")
            if array.size:
                self._write(target, np.ascontiguousarray(array))

    def get(self, array: DeviceArray) -> Array:
        """Return a copy on the host, once all that was asked before is done."""
        result = np.empty(array.shape, array.dtype)
        with self._lock:
            self._refuse_in_capture("a copy to the host")
            if array.size:
                self._read(result, array)
        return result

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Copy on the device."""
        if target.shape != source.shape or target.dtype != source.dtype:
            raise TypeError(f"{source} was copied to {target}; expected the same shape and dtype")
        if source.size:
            self._do("copy", [source], [target], lambda lane: self._copy(target, source, lane))

    def zero(self, array: DeviceArray) -> None:
        """Fill with zeros."""
        if array.size:
            self._do("zero", [], [array], lambda lane: self._zero(array, lane))

    def scratch(self, dtype: np.dtype[Any]) -> DeviceArray:
        """Return room that one launch may fill for the next one."""
        with self._lock:
            if self._scratch is None:
                self._refuse_in_capture("an allocation")
                self._scratch = self._allocate(SCRATCH_BYTES)
            return DeviceArray(self, *self._scratch, (SCRATCH_BYTES // dtype.itemsize,), dtype)

    def prepare(self) -> None:
        """Allocate what trainings need beside their buffers, so that what is free is known."""
        self.scratch(np.dtype(np.uint8))

    # -- work ---------------------------------------------------------------------------------

    def launch(self, name: str, grid: Extent, *arguments: Any) -> None:
        """Launch a kernel with arguments checked against its declaration.

        Parameters
        ----------
        name : str
            A kernel of ``fastnet_kernels.cuda``.
        grid : tuple of int
            Blocks, of THREADS each.
        *arguments
            A `DeviceArray` for every pointer, a number for every scalar.

        Raises
        ------
        TypeError
            If their number, a dtype or a device is not what the kernel takes.
        """
        kernel = cuda.kernels()[name]
        real, values = self._checked(kernel, arguments)
        pairs = list(zip(kernel.parameters, arguments, strict=True))
        self._do(
            name,
            [array for parameter, array in pairs if parameter.is_pointer],
            [
                array
                for parameter, array in pairs
                if parameter.is_pointer and not parameter.is_constant
            ],
            lambda lane: self._launch(kernel, real, grid, values, lane),
            Call(kernel, grid, values),
        )

    def _checked(
        self, kernel: cuda.Kernel, arguments: tuple[Any, ...]
    ) -> tuple[np.dtype[Any], list[np.generic]]:
        """Return the floating type of a launch and its arguments as the kernel takes them."""
        if len(arguments) != len(kernel.parameters):
            raise TypeError(
                f"{kernel.name} was launched with {len(arguments)} arguments; "
                f"expected {len(kernel.parameters)}"
            )
        pairs = list(zip(kernel.parameters, arguments, strict=True))
        reals = [
            value.dtype
            for parameter, value in pairs
            if parameter.dtype == "real" and isinstance(value, DeviceArray)
        ]
        real = reals[0] if reals else np.dtype(np.float32)
        return real, [self._value(kernel.name, part, value, real) for part, value in pairs]

    def _value(
        self, kernel: str, parameter: cuda.Parameter, value: Any, real: np.dtype[Any]
    ) -> np.generic:
        wanted = real if parameter.dtype == "real" else np.dtype(parameter.dtype)
        if not parameter.is_pointer:
            if not isinstance(value, int | float | np.number):
                raise TypeError(
                    f"{parameter.name} of {kernel} is a {type(value).__name__}; expected a number"
                )
            if wanted.kind == "i" and int(value) != value:
                raise TypeError(f"{parameter.name} of {kernel} is {value}; expected an integer")
            number: np.generic = wanted.type(value)
            return number
        if not isinstance(value, DeviceArray):
            raise TypeError(
                f"{parameter.name} of {kernel} is a {type(value).__name__}; expected a DeviceArray"
            )
        if value.device is not self:
            raise TypeError(f"{parameter.name} of {kernel} is {value}; expected one of {self.name}")
        if value.dtype != wanted:
            raise TypeError(f"{parameter.name} of {kernel} is {value}; expected {wanted}")
        return np.uint64(value.address)

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
        """Compute ``out = a b + beta out`` for matrices in row order.

        Parameters
        ----------
        out, a, b : DeviceArray
            Flat or not: they are taken from their first element on.
        sizes : (m, n, k)
            ``out`` is (m, n), k is what is summed over.
        columns : (int, int)
            How many elements of a and of b lie from one row to the next, as they lie in memory.
        transposed : (bool, bool)
            Whether a lies in memory as (k, m), and b as (n, k).
        beta : int
            1 adds to ``out``, 0 never reads it.

        Raises
        ------
        TypeError
            If dtypes or devices differ, or an array has fewer elements than are read.
        """
        m, n, k = sizes
        product = Product(sizes, columns, transposed, beta)
        spans = (
            ("out", out, m * n),
            ("a", a, _reach(columns[0], (k, m) if transposed[0] else (m, k))),
            ("b", b, _reach(columns[1], (n, k) if transposed[1] else (k, n))),
        )
        for name, array, reach in spans:
            if array.device is not self or array.dtype != out.dtype or array.size < reach:
                raise TypeError(
                    f"{name} of a product {m}x{n}x{k} is {array}; expected {reach} elements of "
                    f"{out.dtype} on {self.name}"
                )
        reads = [array.reshape(array.size)[:reach] for _, array, reach in spans[1:]]
        self._do(
            "gemm",
            [*reads, out] if beta else reads,
            [out],
            lambda lane: self._gemm(out, a, b, product, lane),
            Multiplication(out, a, b, product),
        )

    def _do(
        self,
        name: str,
        reads: Sequence[DeviceArray],
        writes: Sequence[DeviceArray],
        ask: Callable[[int], None],
        what: Call | Multiplication | None = None,
    ) -> None:
        """Ask for work now, or write it down within a capture."""
        with self._lock:
            if self._recorded is None:
                ask(0)
                return
            read = tuple(array.span for array in reads)
            written = tuple(array.span for array in writes)
            self._recorded.append(Work(name, read, written, ask, (*reads, *writes), what))

    # -- order --------------------------------------------------------------------------------

    def capture(self, function: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats all work that ``function`` asks for; nothing is done now.

        ``function`` must have run before, since a first run may load and allocate. The buffers
        that it works on must be kept while the result is in use.
        """
        with self._lock, _no_collection():
            return self._replayable(self.record(function))

    def record(self, function: Callable[[], None]) -> list[Work]:
        """Return all work that ``function`` asks for; nothing is done now."""
        works: list[Work] = []
        with self._lock:
            self._refuse_in_capture("another capture")
            self._recorded = works
            try:
                function()
            finally:
                self._recorded = None
        return works

    def runnable(self, program: Program, dtype: np.dtype[Any]) -> Callable[[int], None]:
        """Return what runs a program as often as it is told, by one launch; it keeps its memory.

        Parameters
        ----------
        program : Program
            For ``program_blocks`` blocks of this device; see ``programs.py``.
        dtype : numpy.dtype
            Of the floating numbers that it works on.
        """
        first, calls = self.put(program.first), self.put(program.calls)
        arrived = self.empty(1, np.int32)

        def run(rounds: int) -> None:
            with self._lock:
                self._refuse_in_capture("a program")
                self._zero(arrived, 0)
                self._run_program(dtype, first, calls, arrived, program.levels, rounds)

        return run

    def synchronize(self) -> None:
        """Wait until all that was asked is done."""
        with self._lock:
            self._refuse_in_capture("a wait for the device")
            self._synchronize()

    def _refuse_in_capture(self, what: str) -> None:
        if self._recorded is not None:
            raise CaptureError(f"{what} within a captured step; do it before the epoch begins")

    # -- what a device must do -----------------------------------------------------------------

    @property
    @abstractmethod
    def program_blocks(self) -> int:
        """How many blocks of a program run at the same time."""

    @abstractmethod
    def free_bytes(self) -> int:
        """Return how much memory can still be allocated."""

    @abstractmethod
    def adopt(self, array: Any, dtype: np.dtype[Any], name: str) -> DeviceArray:
        """Return somebody else's array on this device, C-contiguous, as uint8 or ``dtype``.

        It is the same memory where it is such an array already. ``name`` is the argument's.
        """

    @abstractmethod
    def export(self, array: DeviceArray) -> Any:
        """Return an array as the user's library knows it, without a copy, its work done."""

    @abstractmethod
    def _allocate(self, nbytes: int) -> tuple[object, int]:
        """Return what keeps new memory alive, and its address."""

    @abstractmethod
    def _write(self, target: DeviceArray, array: Array) -> None: ...

    @abstractmethod
    def _read(self, target: Array, array: DeviceArray) -> None: ...

    @abstractmethod
    def _copy(self, target: DeviceArray, source: DeviceArray, lane: int) -> None: ...

    @abstractmethod
    def _zero(self, array: DeviceArray, lane: int) -> None: ...

    @abstractmethod
    def _launch(
        self,
        kernel: cuda.Kernel,
        real: np.dtype[Any],
        grid: Extent,
        values: list[np.generic],
        lane: int,
    ) -> None: ...

    @abstractmethod
    def _gemm(
        self, out: DeviceArray, a: DeviceArray, b: DeviceArray, product: Product, lane: int
    ) -> None: ...

    @abstractmethod
    def _run_program(
        self,
        real: np.dtype[Any],
        first: DeviceArray,
        calls: DeviceArray,
        arrived: DeviceArray,
        levels: int,
        rounds: int,
    ) -> None:
        """Launch ``run_program`` with all of its blocks on the device at the same time."""

    @abstractmethod
    def _replayable(self, works: list[Work]) -> Callable[[], None]:
        """Return what does all of this work, in an order that its data allow, on every call."""

    @abstractmethod
    def _synchronize(self) -> None: ...
