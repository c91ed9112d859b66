"""The executor on NVIDIA GPUs."""

from __future__ import annotations

from fastnet.execution.cupy_device import CupyDevice
from fastnet.execution.device_executor import DeviceExecutor


class CupyExecutor(DeviceExecutor):
    """Runs the math on the GPU that is selected in CuPy when the network is made."""

    @staticmethod
    def new_device(precision: str | None) -> CupyDevice:
        """Return the selected GPU."""
        return CupyDevice(precision)
