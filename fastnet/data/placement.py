"""Where arrays lie: what speaks DLPack says whether its memory is a GPU's.

DLPack is the protocol by which CuPy, PyTorch, JAX and others hand memory to each other:
https://dmlc.github.io/dlpack/latest/python_spec.html
"""

from __future__ import annotations

from typing import Any

from fastnet.execution.device import DeviceArray

# DLPack's numbers of memory that only a GPU reaches as its own: kDLCUDA and kDLCUDAManaged.
GPU_MEMORY = (2, 13)


def is_on_gpu(values: Any) -> bool:
    """Whether ``values`` lie in the memory of a GPU."""
    if isinstance(values, DeviceArray):
        return True
    where = getattr(type(values), "__dlpack_device__", None)
    return where is not None and int(where(values)[0]) in GPU_MEMORY
