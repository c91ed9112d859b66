"""Which backends there are, which of them can run here, and why not."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from fastnet import naming
from fastnet.errors import BackendUnavailableError
from fastnet.execution import cuda_probe
from fastnet.execution.executor import Executor

BACKEND_VARIABLE = "FASTNET_BACKEND"


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can run on this machine.

    Attributes
    ----------
    name : str
    available : bool
    cause : str
        Why it cannot run; empty where it can.
    cure : str
        What to do about it; empty where it can.
    """

    name: str
    available: bool
    cause: str = ""
    cure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)


def _numpy() -> BackendStatus:
    return BackendStatus("numpy", True)


def _numba() -> BackendStatus:
    if importlib.util.find_spec("numba") is None:
        return BackendStatus(
            "numba", False, "the package numba is not installed", "python -m pip install numba"
        )
    if importlib.util.find_spec("scipy_openblas32") is None and (
        importlib.util.find_spec("scipy") is None
    ):
        return BackendStatus(
            "numba",
            False,
            "no BLAS is installed for it",
            "python -m pip install scipy-openblas32",
        )
    return BackendStatus("numba", True)


def _cupy() -> BackendStatus:
    failed = cuda_probe.failure()
    if failed is None:
        return BackendStatus("cupy", True)
    return BackendStatus("cupy", False, failed.cause, failed.cure)


_PROBES: dict[str, Callable[[], BackendStatus]] = {
    "cupy": _cupy,
    "numba": _numba,
    "numpy": _numpy,
}

# What "auto" tries, in this order.
AUTOMATIC = ("cupy", "numba", "numpy")


def backends() -> dict[str, BackendStatus]:
    """Return every backend by name: available or not, why not, and what to do.

    Examples
    --------
    >>> fastnet.backends()["numpy"].available
    True
    """
    return {name: probe() for name, probe in _PROBES.items()}


def choose(backend: str | None) -> tuple[str, str]:
    """Return the backend to use and why.

    Parameters
    ----------
    backend : str or None
        A backend's name, or ``"auto"`` (or None): what ``FASTNET_BACKEND`` names, or else the
        first of AUTOMATIC that is available.

    Raises
    ------
    BackendUnavailableError
        If a backend is named that cannot run here.
    ValueError
        If the name is not known.
    """
    said_by, source = "asked for", "backend"
    if backend is None or backend == "auto":
        from_environment = os.environ.get(BACKEND_VARIABLE, "").strip()
        if from_environment:
            backend, said_by = from_environment, f"asked for by {BACKEND_VARIABLE}"
            source = BACKEND_VARIABLE
    if backend is None or backend == "auto":
        skipped: list[str] = []
        for status in (_PROBES[name]() for name in AUTOMATIC):
            if status.available:
                why = f" ({'; '.join(skipped)})" if skipped else ""
                return status.name, f"chosen automatically{why}"
            skipped.append(status.cause)
        raise BackendUnavailableError("no backend is available")
    if not isinstance(backend, str):
        raise TypeError(
            f"backend is {backend!r} ({type(backend).__name__}); expected a name: "
            f"'auto', {', '.join(map(repr, _PROBES))}"
        )
    if backend not in _PROBES:
        near = naming.suggestion(backend, [*_PROBES, "auto"])
        raise ValueError(
            f"{source} is {backend!r}, which is not known{near} "
            f"Expected one of: auto, {', '.join(_PROBES)}"
        )
    status = _PROBES[backend]()
    if not status.available:
        raise BackendUnavailableError(
            f"the backend {backend!r} cannot run here: {status.cause} ({said_by}). "
            f"What to do: {status.cure}."
        )
    return backend, said_by


def usable_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def executor_class(name: str) -> type[Executor]:
    """Return the executor of a backend that `choose` has found available."""
    if name == "numba":
        from fastnet.execution.numba_executor import NumbaExecutor

        return NumbaExecutor
    if name == "cupy":
        from fastnet.execution.cupy_executor import CupyExecutor

        return CupyExecutor
    return Executor
