"""What the GPU can do at most: products, copies, and launches, eager and replayed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import measure
from bench.gpu.places import Place
from fastnet.execution import cuda_ops
from fastnet.execution.buffers import CLOCK, SCALARS
from fastnet.execution.device import Device

SIZE, COPY_BYTES, LAUNCHES = 8192, 1 << 30, 1000
HOST_SIZE, HOST_COPY_BYTES, HOST_LAUNCHES = 32, 1 << 12, 3
REPEATS, HOST_REPEATS = 7, 2
PER_REPEAT = 3  # products or copies between two waits for the device


def examine(place: Place) -> dict[str, Any]:
    """Return medians and spreads: operations, bytes and launches."""
    repeats = HOST_REPEATS if place.is_host else REPEATS
    products = {
        name: _product(place.new_device(precision), place, repeats)
        for name, precision in (("float32", None), ("tf32", "tf32"))
    }
    device = place.new_device(None)
    copied, launched = _copy(device, place, repeats), _launch(device, place, repeats)
    tera = {name: one["operations_per_second"]["median"] / 1e12 for name, one in products.items()}
    said = ", ".join(f"{name} {value:.1f} TFLOP/s" for name, value in tera.items())
    speed = copied["bytes_per_second"]["median"] / 1e9
    return {
        "summary": f"{said}, copies {speed:.0f} GB/s",
        "products": products,
        "copy": copied,
        "launches": launched,
    }


def _timed(device: Device, work: Callable[[], None], count: int, repeats: int) -> list[float]:
    """Return seconds of one piece of work, in every repeat; the first, untimed, loads and warms."""
    work()
    device.synchronize()
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(count):
            work()
        device.synchronize()
        found.append((time.perf_counter() - began) / count)
    return found


def _product(device: Device, place: Place, repeats: int) -> dict[str, Any]:
    size = HOST_SIZE if place.is_host else SIZE
    values = np.random.default_rng(0).standard_normal((size, size), np.float32)
    a, b = device.put(values), device.put(values)
    out = device.empty((size, size), np.float32)
    seconds = _timed(device, lambda: cuda_ops.matmul_nn(out, a, b, 0), PER_REPEAT, repeats)
    speeds = [2 * size**3 / s for s in seconds]
    return {"size": size, "operations_per_second": vars(measure.summary(speeds))}


def _copy(device: Device, place: Place, repeats: int) -> dict[str, Any]:
    """Copied bytes count twice: once read, once written."""
    nbytes = HOST_COPY_BYTES if place.is_host else COPY_BYTES
    source, target = device.empty(nbytes, np.uint8), device.empty(nbytes, np.uint8)
    device.zero(source)
    seconds = _timed(device, lambda: device.copy(target, source), PER_REPEAT, repeats)
    speeds = [2 * nbytes / s for s in seconds]
    return {"bytes": nbytes, "bytes_per_second": vars(measure.summary(speeds))}


def _launch(device: Device, place: Place, repeats: int) -> dict[str, Any]:
    """Seconds for one of many launches of the smallest kernel."""
    count = HOST_LAUNCHES if place.is_host else LAUNCHES
    scalars, clock = device.put(np.zeros(SCALARS)), device.put(np.zeros(CLOCK, np.int64))
    rates = device.put(np.zeros(1))

    def launches() -> None:
        for _ in range(count):
            cuda_ops.begin_step(scalars, clock, rates, rates)

    eager = [s / count for s in _timed(device, launches, 1, repeats)]
    replayed = [s / count for s in _timed(device, device.capture(launches), 1, repeats)]
    return {
        "eager_seconds": vars(measure.summary(eager)),
        "replayed_seconds": vars(measure.summary(replayed)),
    }
