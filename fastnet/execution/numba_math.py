"""``backprop.py`` compiled: its functions over the compiled ops, found again on disk."""

from __future__ import annotations

import inspect

from fastnet.execution import compiled, mathsource, numba_ops

math = mathsource.load("numba", numba_ops)
for _name, _value in list(vars(math).items()):
    if inspect.isfunction(_value) and _value.__module__ == math.__name__:
        setattr(math, _name, compiled.function(_value))
