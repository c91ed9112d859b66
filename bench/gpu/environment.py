"""What the figures were measured on: GPU, driver, CUDA, libraries, processor."""

from __future__ import annotations

import ctypes
import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

from bench import machine
from bench.gpu.places import Place

# Everything whose version can change a figure; those that are not installed are left out.
DISTRIBUTIONS = (
    *("cupy-cuda13x", "cupy-cuda12x", "cupy", "nvidia-cublas", "nvidia-cuda-nvrtc"),
    *("torch", "triton", "jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin"),
)
# Of a device's properties, under the names that CUDA gives them; some versions lack some.
PROPERTIES = {
    "multiProcessorCount": "multiprocessors",
    "totalGlobalMem": "memory_bytes",
    "l2CacheSize": "l2_cache_bytes",
    "clockRate": "clock_khz",
    "memoryClockRate": "memory_clock_khz",
    "memoryBusWidth": "memory_bus_bits",
}


def examine(place: Place) -> dict[str, Any]:
    """Return the facts; nothing in them names a folder, a user or a host."""
    facts = machine.facts()
    found = {"machine": facts, "versions": _versions()}
    if place.is_host:
        return {**found, "summary": f"no GPU: kernels on {facts['processor']}"}
    gpu = _gpu()
    summary = f"{gpu['name']}, driver {gpu['driver']}, CUDA {gpu['cuda_runtime']}"
    return {**found, "gpu": gpu, "summary": summary}


def gpu_name() -> str:
    """Return the name of the selected GPU."""
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    return str(properties["name"].decode())


def _versions() -> dict[str, str]:
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _gpu() -> dict[str, Any]:
    import cupy

    from fastnet.execution import cuda_probe

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "name": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        **{ours: properties[name] for name, ours in PROPERTIES.items() if name in properties},
        "devices": runtime.getDeviceCount(),
        "driver": _driver(),
        "cuda_of_driver": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "cupy": cupy.__version__,
        "cublas": _cublas_version(cuda_probe.load_cublas()),
    }


def _cublas_version(library: ctypes.CDLL) -> str:
    parts = []
    for which in range(3):  # major, minor, patch
        part = ctypes.c_int()
        if library.cublasGetProperty(which, ctypes.byref(part)):
            return "unknown"
        parts.append(str(part.value))
    return ".".join(parts)


def _driver() -> str:
    """Return the driver's version: the kernel's word, or else that of nvidia-smi."""
    try:
        return Path("/sys/module/nvidia/version").read_text(encoding="utf-8").strip()
    except OSError:
        pass
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (done.stdout.strip().splitlines() or ["unknown"])[0]
