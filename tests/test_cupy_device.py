"""What of the CuPy device is our own: which stream waits for which, and how cuBLAS is asked.

CuPy is there, a GPU is not: streams and events are stand-ins that know what they have waited for,
and cuBLAS is one that computes on the host, in order of columns as the real one does.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_host.device import HostDevice

from bench.gpu import kernels
from fastnet.execution import lanes
from fastnet.execution.device import DeviceArray, Product
from fastnet.execution.lanes import Work

pytest.importorskip("cupy", reason="CuPy is not installed")
cupy_device = pytest.importorskip("fastnet.execution.cupy_device")


# -- streams --------------------------------------------------------------------------------------


class Stream:
    """A stream that knows which work is surely done when its next work begins."""

    def __init__(self) -> None:
        self.done: set[object] = set()
        self.ptr = id(self)

    def wait_event(self, event: Event) -> None:
        self.done |= event.done

    def use(self) -> None:
        Stream.current = self

    current: Any = None


class Event:
    def __init__(self, **_: Any) -> None:
        self.done: frozenset[object] = frozenset()

    def record(self, stream: Stream) -> None:
        self.done = frozenset(stream.done)


class Origin(Stream):
    """The stream that captures: at the end it must have waited for all that take part."""

    streams: list[Stream]

    def begin_capture(self, mode: int) -> None:
        self.done.add("begun")

    def end_capture(self) -> Any:
        if any("begun" in s.done and not s.done <= self.done for s in self.streams):
            raise RuntimeError("cudaErrorStreamCaptureUnjoined")
        return SimpleNamespace(upload=lambda stream: None, launch=lambda stream: None)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A CupyDevice with stand-ins for streams, and nothing else."""
    user = Stream()
    user.use()
    cuda = SimpleNamespace(Event=Event, get_current_stream=lambda: Stream.current)
    monkeypatch.setattr(cupy_device, "cupy", SimpleNamespace(cuda=cuda))
    made = cupy_device.CupyDevice.__new__(cupy_device.CupyDevice)
    super(cupy_device.CupyDevice, made).__init__()
    made._device = contextlib.nullcontext()
    origin = Origin()
    made._streams = origin.streams = [origin, *(Stream() for _ in range(lanes.LANES - 1))]
    made._stream = origin
    return made


def random_works(seed: int, streams: list[Stream], wrong: list[tuple[int, int]]) -> list[Work]:
    rng = random.Random(seed)
    works: list[Work] = []

    def spans() -> tuple[tuple[int, int], ...]:
        begins = [rng.randrange(12) for _ in range(rng.randrange(3))]
        return tuple((begin, begin + rng.randrange(1, 4)) for begin in begins)

    def asks(j: int) -> Any:
        def ask(lane: int) -> None:
            stream = streams[lane]
            assert "begun" in stream.done, "the stream takes no part in the capture"
            for i in range(j):
                if lanes.keeps_order(works[i], works[j]) and i not in stream.done:
                    wrong.append((i, j))
            stream.done.add(j)

        return ask

    works += [Work(str(j), spans(), spans(), asks(j)) for j in range(30)]
    return works


@pytest.mark.parametrize("seed", range(30))
def test_lanes_wait_for_what_their_work_needs_and_are_joined(device: Any, seed: int) -> None:
    wrong: list[tuple[int, int]] = []
    device._replayable(random_works(seed, device._streams, wrong))
    assert wrong == []


def test_what_goes_wrong_in_a_capture_comes_out(device: Any) -> None:
    def interrupt(lane: int) -> None:
        raise KeyboardInterrupt

    def note(lane: int) -> None:
        device._streams[lane].done.add(lane)

    works = [Work("a", (), ((0, 1),), note), Work("b", (), ((2, 3),), note)]
    with pytest.raises(KeyboardInterrupt):
        device._replayable([*works, Work("c", (), ((4, 5),), interrupt)])


def test_the_users_stream_is_put_back(device: Any) -> None:
    user = Stream.current
    with device._current(2) as stream:
        assert Stream.current is stream is device._streams[2]
    assert Stream.current is user


def test_an_array_handed_over_by_another_thread_waits_for_a_capture(
    device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # While a step is captured the device is locked, and the origin's waits become part of it.
    asked = threading.Event()
    waits: list[bool] = []
    locked = threading.Event()
    origin = device._stream
    monkeypatch.setattr(origin, "wait_event", lambda event: waits.append(locked.is_set()))
    device._device = _Selected()
    theirs = np.ones((2, 3), np.float32)
    handed = SimpleNamespace(__dlpack_device__=lambda: (2, 0), data=SimpleNamespace(ptr=0))
    stand_in = SimpleNamespace(
        shape=theirs.shape, dtype=theirs.dtype, data=SimpleNamespace(ptr=theirs.ctypes.data)
    )
    cupy_device.cupy.from_dlpack = lambda array: stand_in
    cupy_device.cupy.ascontiguousarray = lambda array, dtype: array

    def hand_over() -> None:
        asked.set()
        device.adopt(handed, np.dtype("float32"), "X")

    other = threading.Thread(target=hand_over)
    with device._lock:
        locked.set()
        other.start()
        assert asked.wait(10)
        other.join(0.2)
        assert other.is_alive()
        assert waits == []
        locked.clear()
    other.join(10)
    assert waits == [False]


class _Selected(contextlib.nullcontext[None]):
    """A GPU that can be selected, and has a number."""

    id = 0


# -- cuBLAS ---------------------------------------------------------------------------------------


class Library:
    """cuBLAS on the host: matrices in order of columns, a workspace set after every stream."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:  # noqa: N802
        self.calls.append(("stream", stream.value))
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, address: Any, size: Any) -> int:  # noqa: N802
        self.calls.append(("workspace", address.value))
        return 0

    def cublasGemmEx(  # noqa: N802
        self, handle: Any, transpose_a: int, transpose_b: int, m: int, n: int, k: int, one: Any,
        a: Any, kind: int, lda: int, b: Any, kind_b: int, ldb: int, beta: Any,
        c: Any, kind_c: int, ldc: int, compute: int, algorithm: int,
    ) -> int:  # fmt: skip
        assert kind == kind_b == kind_c
        assert compute == {0: 68, 1: 70}[kind]
        real = ctypes.c_double if kind else ctypes.c_float

        def matrix(pointer: Any, rows: int, columns: int, leading: int) -> Any:
            assert leading >= rows
            size = (columns - 1) * leading + rows
            flat = np.ctypeslib.as_array((real * size).from_address(pointer.value))
            step = ctypes.sizeof(real)
            return np.lib.stride_tricks.as_strided(flat, (rows, columns), (step, leading * step))

        left = matrix(a, k, m, lda).T if transpose_a else matrix(a, m, k, lda)
        right = matrix(b, n, k, ldb).T if transpose_b else matrix(b, k, n, ldb)
        result = matrix(c, m, n, ldc)
        factor = beta._obj.value
        before = factor * result if factor else 0
        result[...] = one._obj.value * (left @ right) + before
        self.calls.append(("gemm",))
        return 0


class ByCublas(HostDevice):
    """A host device whose products are asked of cuBLAS as the CuPy device asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.blas = cupy_device._Blas.__new__(cupy_device._Blas)
        self.library = self.blas._library = Library()
        self.blas._workspaces = [(None, 1000 + lane) for lane in range(lanes.LANES)]
        self.blas._by_tf32, self.blas._handle = False, ctypes.c_void_p()

    def _gemm(
        self, out: DeviceArray, a: DeviceArray, b: DeviceArray, product: Product, lane: int
    ) -> None:
        self.blas.gemm(out, a, b, product, lane, 7 + lane)


@pytest.fixture
def by_cublas() -> ByCublas:
    return ByCublas()


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("op", ["matmul_nn", "matmul_tn", "matmul_nt"])
def test_products_are_asked_for_in_order_of_columns(
    by_cublas: ByCublas, op: str, dtype: str
) -> None:
    shapes = [(1, 1), (7, 17), (33, 5), (5, 33), (1, 40), (40, 1)]
    found = [kernels.compare(by_cublas, case, dtype) for case in kernels.cases(shapes, op)]
    assert found
    assert [finding for finding in found if not finding.passed] == []
    assert by_cublas.library.calls


@pytest.mark.parametrize("lane", range(lanes.LANES))
def test_every_lane_has_a_workspace_of_its_own(by_cublas: ByCublas, lane: int) -> None:
    one = by_cublas.put(np.ones((1, 1), np.float32))
    out = by_cublas.put(np.zeros((1, 1), np.float32))
    product = Product((1, 1, 1), (1, 1), (False, False), 0)
    by_cublas._gemm(out, one, one, product, lane)
    # Setting the stream resets the workspace, so that comes first.
    assert by_cublas.library.calls == [("stream", 7 + lane), ("workspace", 1000 + lane), ("gemm",)]
    assert by_cublas.get(out)[0, 0] == 1
