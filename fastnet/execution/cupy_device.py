"""The device seam on CuPy and cuBLAS: the only file that touches either.

CuPy gives memory, streams, graphs and launches. Products go to cuBLAS through a handle of our own,
with a workspace of its own: CuPy's refuses to work while a stream is captured.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cupy
import numpy as np
from cupy.cuda import runtime
from fastnet_kernels import cuda

from fastnet.data import arrays
from fastnet.errors import DeviceMemoryError
from fastnet.execution import cuda_probe
from fastnet.execution.device import THREADS, Array, Device, DeviceArray, Extent, Product
from fastnet.execution.lanes import LANES, Work, places

# Bytes that cuBLAS may work in on each lane; it recommends 32 MiB for the newest devices.
WORKSPACE_BYTES = 32 << 20

# cuBLAS's own numbers (library_types.h, cublas_api.h).
_REAL_32, _REAL_64 = 0, 1
_COMPUTE_32, _COMPUTE_64, _COMPUTE_32_BY_TF32 = 68, 70, 77
_ALGORITHM = -1  # its own choice
_ALLOCATION_FAILED = 3


def _mark(stream: Any) -> Any:
    """Return an event that is there once all is done that the stream was asked for until now."""
    event = cupy.cuda.Event(disable_timing=True)
    event.record(stream)
    return event


def fetch(values: Any) -> Array:
    """Return a copy of a GPU's array on the host."""
    result: Array = cupy.asnumpy(cupy.from_dlpack(values))
    return result


_C_NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


@functools.cache
def _module(file: str, real: str) -> Any:
    """Return a file's kernels, compiled at first use and kept on disk by CuPy."""
    options = ("-std=c++17", f"-DREAL={real}")
    return cupy.RawModule(code=cuda.flattened(file), options=options)


@functools.cache
def _program(real: str) -> Any:
    """Return the kernel that runs programs; its launches have all of their blocks at once."""
    options = ("-std=c++17", f"-DREAL={real}")
    code = cuda.flattened(cuda.PROGRAM)
    module = cupy.RawModule(code=code, options=options, enable_cooperative_groups=True)
    return module.get_function("run_program")


@functools.cache
def _function(kernel: cuda.Kernel, real: str) -> Any:
    """Return a kernel that can be launched on any device; CuPy loads it once for each."""
    return _module(kernel.file, real).get_function(kernel.name)


class CupyDevice(Device):
    """A GPU with a stream and a cuBLAS handle of its own.

    Parameters
    ----------
    precision : str, optional
        ``"tf32"`` lets products of float32 round their factors to TF32's 10 bits.
    """

    def __init__(self, precision: str | None = None) -> None:
        super().__init__()
        self._device = cupy.cuda.Device()  # the one that the user has selected
        with self._device:
            properties = runtime.getDeviceProperties(self._device.id)
            # The default stream cannot be captured, and would wait for everybody else's work.
            # Outside of captures everything is asked of the first.
            self._streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(LANES)]
        self._stream = self._streams[0]
        self._multiprocessors = int(properties["multiProcessorCount"])
        self.name = f"{properties['name'].decode()} (cuda:{self._device.id})"
        self._by_tf32 = precision == "tf32"
        self._blas: _Blas | None = None

    @contextlib.contextmanager
    def _current(self, lane: int = 0) -> Iterator[cupy.cuda.Stream]:
        """Make the GPU and one of our streams CuPy's current ones, and put back the user's.

        CuPy's own ``with stream`` puts back the last one entered so, not one set by ``use``.
        """
        with self._device:
            before = cupy.cuda.get_current_stream()
            stream = self._streams[lane]
            stream.use()
            try:
                yield stream
            finally:
                before.use()

    # -- memory -------------------------------------------------------------------------------

    def free_bytes(self) -> int:
        """Return what the driver has left, and what CuPy keeps without using it."""
        with self._device:
            free: int = runtime.memGetInfo()[0]
            return free + int(cupy.get_default_memory_pool().free_bytes())

    def _allocate(self, nbytes: int) -> tuple[object, int]:
        with self._current():
            try:
                memory = cupy.cuda.alloc(nbytes)
            except cupy.cuda.memory.OutOfMemoryError as error:
                raise DeviceMemoryError(
                    f"{self.name} has {self.free_bytes():,} bytes left; {nbytes:,} more were needed"
                ) from error
        return memory, int(memory.ptr)

    def _write(self, target: DeviceArray, array: Array) -> None:
        with self._current():
            kind, stream = runtime.memcpyHostToDevice, self._stream.ptr
            runtime.memcpyAsync(target.address, array.ctypes.data, array.nbytes, kind, stream)
            # From memory that is pinned the copy is made later, and the caller may change it.
            self._stream.synchronize()

    def _read(self, target: Array, array: DeviceArray) -> None:
        with self._current():
            kind, stream = runtime.memcpyDeviceToHost, self._stream.ptr
            runtime.memcpyAsync(target.ctypes.data, array.address, array.nbytes, kind, stream)
            self._stream.synchronize()

    def _copy(self, target: DeviceArray, source: DeviceArray, lane: int) -> None:
        with self._current(lane) as stream:
            kind = runtime.memcpyDeviceToDevice
            runtime.memcpyAsync(target.address, source.address, source.nbytes, kind, stream.ptr)

    def _zero(self, array: DeviceArray, lane: int) -> None:
        with self._current(lane) as stream:
            runtime.memsetAsync(array.address, 0, array.nbytes, stream.ptr)

    # -- other libraries' arrays ------------------------------------------------------------------

    def adopt(self, array: Any, dtype: np.dtype[Any], name: str) -> DeviceArray:
        """Return a CuPy array, or what speaks DLPack, in its own memory if that will do."""
        number = int(array.__dlpack_device__()[1])
        if number != self._device.id:
            raise ValueError(
                f"{name} lies on cuda:{number} and the network on {self.name}; make the network "
                f"under cupy.cuda.Device({number}), or move {name}"
            )
        with self._lock:  # another thread's capture must not take these waits and copies in
            with self._device:  # CuPy's arrays do not know what is still being written to them
                self._stream.wait_event(_mark(cupy.cuda.get_current_stream()))
            with self._current():  # for other libraries' arrays DLPack makes this stream wait
                theirs = cupy.from_dlpack(array)
                arrays.require_real(theirs, name)
                kind = theirs.dtype if theirs.dtype == np.uint8 else dtype
                ours = cupy.ascontiguousarray(theirs, kind)
        return DeviceArray(self, ours, int(ours.data.ptr), ours.shape, ours.dtype)

    def export(self, array: DeviceArray) -> Any:
        """Return a copy as a CuPy array in the memory of the user's stream.

        Ours would be given out again once the user lets go of it, while the user's stream may
        still read it.
        """
        with self._lock:
            with self._device:
                result = cupy.empty(array.shape, array.dtype)
                self._stream.wait_event(_mark(cupy.cuda.get_current_stream()))
            theirs = DeviceArray(self, result, int(result.data.ptr), array.shape, array.dtype)
            self.copy(theirs, array)
            self.synchronize()
            return result

    # -- work ---------------------------------------------------------------------------------

    def _launch(
        self,
        kernel: cuda.Kernel,
        real: np.dtype[Any],
        grid: Extent,
        values: list[np.generic],
        lane: int,
    ) -> None:
        with self._current(lane):
            _function(kernel, _C_NAMES[real])(grid, (THREADS,), tuple(values))

    @property
    def program_blocks(self) -> int:
        """Return one for every multiprocessor, which is always possible."""
        return self._multiprocessors

    def _run_program(
        self,
        real: np.dtype[Any],
        first: DeviceArray,
        calls: DeviceArray,
        arrived: DeviceArray,
        levels: int,
        rounds: int,
    ) -> None:
        pointers = (np.uint64(array.address) for array in (first, calls, arrived))
        with self._current():
            values = (*pointers, np.int32(levels), np.int32(rounds))
            _program(_C_NAMES[real])((self.program_blocks,), (THREADS,), values)

    def _gemm(
        self, out: DeviceArray, a: DeviceArray, b: DeviceArray, product: Product, lane: int
    ) -> None:
        with self._current(lane) as stream:
            self._get_blas().gemm(out, a, b, product, lane, stream.ptr)

    def _get_blas(self) -> _Blas:
        if self._blas is None:
            self._refuse_in_capture("the start of cuBLAS")
            with self._current():
                workspaces = [self._allocate(WORKSPACE_BYTES) for _ in self._streams]
                self._blas = _Blas(workspaces, by_tf32=self._by_tf32)
        return self._blas

    def prepare(self) -> None:
        """Allocate what trainings need beside their buffers, so that what is free is known."""
        super().prepare()
        with self._lock:
            self._get_blas()

    def _replayable(self, works: list[Work]) -> Callable[[], None]:
        """Capture the lanes as streams, which events tie together, into one graph."""
        with self._current() as origin:
            # What other threads allocate meanwhile is their own affair.
            origin.begin_capture(runtime.streamCaptureModeThreadLocal)
            try:
                self._ask_lanes(works)
            except BaseException:
                with contextlib.suppress(Exception):  # the lanes were not joined; nothing is kept
                    origin.end_capture()
                raise
            graph = origin.end_capture()
            graph.upload(origin)
        return functools.partial(self._replay, graph, works)

    def _replay(self, graph: Any, works: list[Work]) -> None:  # noqa: ARG002
        """Launch a graph, for which ``works`` keep the memory: a graph itself keeps none."""
        with self._lock, self._current() as origin:
            graph.launch(origin)

    def _ask_lanes(self, works: list[Work]) -> None:
        """Ask for each piece of work on its lane, behind what it waits for there and elsewhere."""
        found = places(works)
        awaited = {i for place in found for i in place.waits}
        done: dict[int, cupy.cuda.Event] = {}
        begun = {0}
        start = _mark(self._streams[0])
        for j, (work, place) in enumerate(zip(works, found, strict=True)):
            stream = self._streams[place.lane]
            if place.lane not in begun:  # a stream comes into the capture by waiting for it
                begun.add(place.lane)
                stream.wait_event(start)
            for i in place.waits:
                stream.wait_event(done[i])
            work.ask(place.lane)
            if j in awaited:
                done[j] = _mark(stream)
        for lane in begun - {0}:  # and leaves it by being waited for
            self._streams[0].wait_event(_mark(self._streams[lane]))

    def _synchronize(self) -> None:
        with self._current():
            self._stream.synchronize()


class _Blas:
    """A cuBLAS handle, with workspaces that captured work can use: CuPy's has none.

    ``workspaces`` are memory and its address, one for each lane; arrays would hold the device.
    """

    def __init__(self, workspaces: list[tuple[object, int]], *, by_tf32: bool) -> None:
        self._library = library = cuda_probe.load_cublas()
        self._workspaces, self._by_tf32 = workspaces, by_tf32
        handle = ctypes.c_void_p()
        self._check(library.cublasCreate_v2(ctypes.byref(handle)))
        self._handle = handle
        weakref.finalize(self, library.cublasDestroy_v2, handle).atexit = False

    def _use(self, lane: int, stream: int) -> None:
        """Ask the next products of this stream, with a workspace that no other lane works in."""
        _, workspace = self._workspaces[lane]
        self._check(self._library.cublasSetStream_v2(self._handle, ctypes.c_void_p(stream)))
        # After the stream, which resets it.
        address, size = ctypes.c_void_p(workspace), ctypes.c_size_t(WORKSPACE_BYTES)
        self._check(self._library.cublasSetWorkspace_v2(self._handle, address, size))

    def gemm(
        self,
        out: DeviceArray,
        a: DeviceArray,
        b: DeviceArray,
        product: Product,
        lane: int,
        stream: int,
    ) -> None:
        """Rows in order are columns in order of the transposed matrix: out^T = b^T a^T."""
        self._use(lane, stream)
        m, n, k = product.sizes
        is_double = out.dtype == np.float64
        kind = _REAL_64 if is_double else _REAL_32
        single = _COMPUTE_32_BY_TF32 if self._by_tf32 else _COMPUTE_32
        compute = _COMPUTE_64 if is_double else single
        scalar: type[ctypes.c_float | ctypes.c_double]
        scalar = ctypes.c_double if is_double else ctypes.c_float
        one, factor = scalar(1), scalar(product.beta)
        self._check(
            self._library.cublasGemmEx(
                self._handle,
                int(product.transposed[1]),
                int(product.transposed[0]),
                *(n, m, k),
                ctypes.byref(one),
                *(ctypes.c_void_p(b.address), kind, product.columns[1]),
                *(ctypes.c_void_p(a.address), kind, product.columns[0]),
                ctypes.byref(factor),
                *(ctypes.c_void_p(out.address), kind, n),
                *(compute, _ALGORITHM),
            )
        )

    @staticmethod
    def _check(status: int) -> None:
        if status == _ALLOCATION_FAILED:
            raise DeviceMemoryError("cuBLAS could not allocate memory on the device")
        if status:
            raise RuntimeError(f"cuBLAS failed with status {status}")
