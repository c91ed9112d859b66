"""The GPU backend on the host: what ``backend="cupy"`` is in tests that have no GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from cuda_host.device import HostDevice
from cuda_host.module import has_compiler
from fastnet.execution import registry
from fastnet.execution.device import Array
from fastnet.execution.device_executor import DeviceExecutor
from fastnet.execution.registry import BackendStatus

needs_compiler = pytest.mark.skipif(
    not has_compiler(),
    reason="no C++ compiler is installed, which the CUDA kernels need on the host",
)


class HostExecutor(DeviceExecutor):
    """The GPU backend's executor over a `HostDevice`."""

    make: Callable[[], HostDevice] = HostDevice

    @classmethod
    def new_device(cls, precision: str | None) -> HostDevice:  # type: ignore[override]
        device = cls.make()
        device.precision = precision
        return device

    @staticmethod
    def fetch(values: Any, name: str) -> Array:
        return np.array(values.array)


@contextmanager
def cupy_on_host(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], HostDevice] = HostDevice
) -> Iterator[None]:
    """Let ``backend="cupy"`` be a device on the host."""
    with monkeypatch.context() as patch:
        patch.setattr(HostExecutor, "make", staticmethod(make))
        patch.setitem(registry._PROBES, "cupy", lambda: BackendStatus("cupy", True))
        before = registry.executor_class
        patch.setattr(
            registry,
            "executor_class",
            lambda name: HostExecutor if name == "cupy" else before(name),
        )
        yield
