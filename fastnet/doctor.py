"""What there is on this machine: versions, processor, backends, GPU, BLAS, cache."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from typing import Any

import numpy as np

from fastnet.errors import BackendUnavailableError
from fastnet.execution import cuda_probe, registry
from fastnet.version import __version__

SETTINGS = (
    "FASTNET_BACKEND",
    "FASTNET_NUM_THREADS",
    "FASTNET_CACHE_DIR",
    "OPENBLAS_CORETYPE",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
)


def examine() -> dict[str, Any]:
    """Return the facts as plain data; nothing is compiled and nothing changed.

    Returns
    -------
    dict
        ``fastnet python numpy platform processor cores``; ``backends``, what `fastnet.backends`
        says, and ``automatic``, the one that is taken by default and why; ``cuda``, what an
        NVIDIA GPU needs, in order up to the first that is missing (``name passed detail cause
        cure``); ``settings``, the environment variables that are set; and where Numba is
        installed, ``numba`` with its versions, the BLAS that compiled code calls (``source
        version core threads_per_call``), and the folder of compiled code with its size.
    """
    try:
        backend, reason = registry.choose("auto")
    except (BackendUnavailableError, ValueError) as error:  # FASTNET_BACKEND names none that runs
        backend, reason = "", str(error)
    facts: dict[str, Any] = {
        "fastnet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": registry.usable_cores(),
        "backends": {name: status.to_dict() for name, status in registry.backends().items()},
        "automatic": {"backend": backend, "reason": reason},
        "cuda": [rung.to_dict() for rung in cuda_probe.ladder()],
        "settings": {name: os.environ[name] for name in SETTINGS if os.environ.get(name)},
    }
    if importlib.util.find_spec("numba") is not None:
        facts["numba"] = _numba()
    return facts


def _numba() -> dict[str, Any]:
    import llvmlite
    import numba

    from fastnet.execution import blas, compiled

    try:
        library = blas.load()
        found = {
            "source": library.source,
            "version": library.version,
            "core": library.core,
            "threads_per_call": 1,
        }
    except ImportError as error:
        found = {"missing": str(error)}
    folder = compiled.folder()
    return {
        "version": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "blas": found,
        "compiled_code": str(folder),
        "compiled_bytes": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
    }


def _processor() -> str:
    """Return the processor's name as the system gives it."""
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
                for line in file:
                    if line.startswith("model name"):
                        return line.split(":", 1)[1].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()
