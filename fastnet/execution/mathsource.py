"""One source of math, loaded once per backend.

``backprop.py`` finds its ops in a global of its module. A backend gets a module of its own, made
from the same file under another name, in which that global is the backend's ops: functions of a
module are what compilers can cache on disk, closures over ops are not.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

from fastnet import backprop


def load(name: str, ops: Any) -> ModuleType:
    """Return the module ``fastnet.backprop_<name>``: the source of ``backprop`` over ``ops``.

    Parameters
    ----------
    name : str
        The backend's name.
    ops : module or object
        Something with every op of ``fastnet.execution.ops.Ops``.
    """
    full_name = f"fastnet.backprop_{name}"
    spec = importlib.util.spec_from_file_location(full_name, backprop.__file__)
    if spec is None or spec.loader is None:  # the file this very module has imported
        raise ImportError(f"cannot load the math from {backprop.__file__}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module
    spec.loader.exec_module(module)
    module.__dict__["ops"] = ops
    return module
