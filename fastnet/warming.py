"""Compiling ahead: what the first training on a machine would otherwise wait for."""

from __future__ import annotations

import time

import numpy as np

from fastnet.execution import registry
from fastnet.layers import Dense
from fastnet.network import Network
from fastnet.optimizers import SGD


def warmup(dtype: str = "float32") -> float:
    """Compile everything that the Numba backend needs in one dtype, or find it compiled.

    Compiled code is kept in the user's cache folder (``FASTNET_CACHE_DIR`` moves it), where later
    processes of any network, optimizer and kind of data find it.

    Parameters
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.

    Returns
    -------
    float
        Seconds that it took.

    Raises
    ------
    BackendUnavailableError
        If the Numba backend cannot run here.
    ValueError
        If the dtype is neither.
    """
    registry.choose("numba")
    from fastnet.execution import plan

    began = time.perf_counter()
    for rows in (2, plan.TILES * plan.STREAM_ROWS):  # steps at once, and in a stream of blocks
        X, y = np.zeros((rows, 1)), np.arange(rows) / rows
        net = Network([Dense(1, 1, "linear")], loss="mse", backend="numba", dtype=dtype)
        net.fit(X, y, optimizer=SGD(0.1), batch_size=None, epochs=1, progress=False)
        net.predict(X)
    return time.perf_counter() - began
