"""The ops of every backend, as namespaces whose ops take NumPy arrays.

A new backend is one line here: every test of the ops runs on it, and, once its executor is
registered and available, every test of training.
"""

from __future__ import annotations

from typing import Any

from fastnet.execution import numba_ops, numpy_ops, registry

OPS: dict[str, Any] = {
    "numpy": numpy_ops,
    "numba": numba_ops,
}

# The backends that a Network can be made for here.
TRAINABLE = [name for name in OPS if registry.backends()[name].available]
