"""Neural networks with gradients derived by hand, on several backends.

>>> import fastnet
>>> run = fastnet.train()                    # the embedded digits
>>> run.test_accuracy

The math stands in ``fastnet/backprop.py``. What the package offers is listed in ``fastnet/api.py``
and imported when it is first asked for: the command ``fastnet`` could not take Ctrl-C before.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # type checkers look no further
    from fastnet.api import *  # noqa: F403
    from fastnet.api import __all__ as __all__
else:

    def __getattr__(name: str) -> Any:
        is_public = name.isidentifier() and not name.startswith("_")
        if not (is_public or name in ("__all__", "__version__")):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # A module's name is asked for by ``from fastnet import losses``, too.
        if importlib.util.find_spec(f"{__name__}.{name}") is not None:
            return importlib.import_module(f"{__name__}.{name}")
        offered = importlib.import_module(f"{__name__}.api")
        if name != "__all__" and name not in offered.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = getattr(offered, name)
        return globals()[name]

    def __dir__() -> list[str]:
        special = {name for name in globals() if name.startswith("__")}
        return sorted(special | {*importlib.import_module(f"{__name__}.api").__all__})
