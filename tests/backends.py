"""The ops of every backend, as namespaces whose ops take NumPy arrays.

A new backend is one line here: every test of the ops runs on it, and, once its executor is
registered and available, every test of training. The CUDA kernels run on the host.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_host.device import HostDevice
from cuda_host.module import has_compiler

from fastnet.execution import cuda_ops, numba_ops, numpy_ops, registry
from fastnet.execution.ops import NAMES


def on_host(device: HostDevice) -> SimpleNamespace:
    """Return the ops of the GPU backend over the memory of NumPy arrays."""

    def taking_arrays(op: Any) -> Any:
        @functools.wraps(op)
        def called(*arguments: Any) -> None:
            if not has_compiler():
                pytest.skip("no C++ compiler is installed, which the CUDA kernels need on the host")
            op(*(device.wrap(a) if isinstance(a, np.ndarray) else a for a in arguments))

        return called

    return SimpleNamespace(**{name: taking_arrays(getattr(cuda_ops, name)) for name in NAMES})


OPS: dict[str, Any] = {
    "numpy": numpy_ops,
    "numba": numba_ops,
    "cuda": on_host(HostDevice(seed=1)),
}

# The backends that a Network can be made for here.
TRAINABLE = [name for name, status in registry.backends().items() if status.available]
