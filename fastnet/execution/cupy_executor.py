"""The executor on NVIDIA GPUs."""

from __future__ import annotations

from typing import Any

from fastnet.execution import cupy_device
from fastnet.execution.cupy_device import CupyDevice
from fastnet.execution.device import Array
from fastnet.execution.device_executor import DeviceExecutor


class CupyExecutor(DeviceExecutor):
    """Runs the math on the GPU that is selected in CuPy when the network is made."""

    @staticmethod
    def new_device(precision: str | None) -> CupyDevice:
        """Return the selected GPU."""
        return CupyDevice(precision)

    @staticmethod
    def fetch(values: Any, name: str) -> Array:  # noqa: ARG004 - nothing is refused here
        """Return a copy of a GPU's array on the host."""
        return cupy_device.fetch(values)
