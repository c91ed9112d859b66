"""How far a backend may be from the float64 oracle: one table for tests and for `parity`."""

from __future__ import annotations

import math

#        dtype      rtol    atol
BASE = {
    "float32": (1.3e-6, 1e-5),
    "float64": (1.0e-7, 1e-7),
}


def allowed(dtype: str, largest: float, terms: int) -> float:
    """Return how far a value may be off.

    Parameters
    ----------
    dtype : str
        ``float32`` or ``float64``.
    largest : float
        The largest absolute value of the block that it stands in.
    terms : int
        The number of terms of the longest sum behind it: rounding adds up like a random walk, so
        the room grows with the square root, from 64 terms on.
    """
    rtol, atol = BASE[dtype]
    return atol + rtol * largest * max(1.0, math.sqrt(terms / 64))
