"""Where the GPU backend runs: on the GPU, or, for a look at the command itself, on the host."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from bench.checkout import ROOT, CannotMeasureError
from fastnet.execution import registry
from fastnet.execution.device import Device

GPU, HOST = "gpu", "host"
NAMES = (GPU, HOST)


class Place(NamedTuple):
    """What ``backend="cupy"`` means here; ``new_device`` takes a precision or None."""

    name: str
    new_device: Callable[[str | None], Device]

    @property
    def is_host(self) -> bool:
        """Whether kernels run on the CPU: so slowly that only tiny sizes can be asked."""
        return self.name == HOST


@contextmanager
def place(name: str) -> Iterator[Place]:
    """Give a place, with ``backend="cupy"`` running there meanwhile.

    Raises
    ------
    CannotMeasureError
        If it is not here; the message says why and what to do.
    ValueError
        If there is no such place.
    """
    if name not in NAMES:
        raise ValueError(f"--device is {name!r}; expected one of {', '.join(NAMES)}")
    if name == HOST:
        with _host() as found:
            yield found
        return
    status = registry.backends()["cupy"]
    if not status.available:
        raise CannotMeasureError(
            f"there is no GPU to measure: {status.cause}. What to do: {status.cure}"
        )
    from fastnet.execution.cupy_device import CupyDevice

    yield Place(GPU, CupyDevice)


@contextmanager
def _host() -> Iterator[Place]:
    """Give the stand-in that the tests run the kernels on; it is part of them."""
    folder = str(ROOT / "tests")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        pytest = importlib.import_module("pytest")
        module = importlib.import_module("cuda_host.module")
        device = importlib.import_module("cuda_host.device")
        executor = importlib.import_module("cuda_host.executor")
    except ImportError as error:
        raise CannotMeasureError(
            f"--device host needs the tests of the checkout: {error}"
        ) from None
    if not module.has_compiler():
        raise CannotMeasureError("--device host needs a C++ compiler, on Linux")
    with pytest.MonkeyPatch.context() as patch, executor.cupy_on_host(patch):
        yield Place(HOST, lambda precision: device.HostDevice(precision=precision))
