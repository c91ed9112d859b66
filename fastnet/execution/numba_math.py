"""``backprop.py`` compiled: its functions over the compiled ops, found again on disk.

All of it is compiled into the few functions that a backend calls: a function that is called keeps
its own machine code, and a copy in every caller, and passes its bundles of buffers field by field.
"""

from __future__ import annotations

import inspect

import numba
from fastnet_kernels.cpu.compile import OPTIONS

from fastnet.execution import compiled, mathsource, numba_ops

# What the executor calls from Python; the other entries are in ``numba_steps``.
ENTRIES = {"predict"}

math = mathsource.load("numba", numba_ops)
for _name, _value in list(vars(math).items()):
    if inspect.isfunction(_value) and _value.__module__ == math.__name__:
        is_entry = _name in ENTRIES
        setattr(
            math,
            _name,
            compiled.function(_value)
            if is_entry
            else numba.njit(inline="always", **OPTIONS)(_value),
        )
