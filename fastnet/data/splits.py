"""Keeping rows back: stratified by class where there are classes, by seed, in the rows' order.

scikit-learn's splitters do this and more; fastnet trains without scikit-learn, hence these lines.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnet.randomness import TEST_SPLIT, Stream

Array = np.ndarray[Any, np.dtype[Any]]

# The share of rows that a data set without test rows of its own keeps back for the test.
TEST_FRACTION = 0.2


def stratified_split(
    labels: Array, fraction: float, seed: int, purpose: int = TEST_SPLIT
) -> tuple[Array, Array]:
    """Return the indices of rows to train on and of rows to keep back, both ascending.

    The number of rows kept back is rounded up, as scikit-learn does it. Each class gives its share,
    rounded so that the total is right (largest remainders first);
    a class with a single row keeps it for training.

    Parameters
    ----------
    labels : array
        (rows,) the class of each row; one class for all gives a plain random split.
    fraction : float
        The share of rows to keep back, between 0 and 1.
    seed, purpose : int
        The stream of random numbers to use.

    Raises
    ------
    ValueError
        If one of the two parts would be empty.
    """
    rows = len(labels)
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    wanted = math.ceil(rows * fraction - 1e-9)  # not one more for a share such as 0.1 * 30
    exact = counts * (wanted / rows)
    shares = np.floor(exact).astype(int)
    room = counts - 1 if len(classes) > 1 else counts
    for c in np.argsort(shares - exact, kind="stable"):
        if shares.sum() < wanted and shares[c] < room[c]:
            shares[c] += 1
    if shares.sum() == 0 or shares.sum() == rows:
        raise ValueError(
            f"{rows} row(s) cannot be split with a share of {fraction:g} kept back: one part "
            f"would be empty; pass more rows, or another share"
        )
    shuffled = Stream(seed, purpose).permutation(rows)
    kept_back = np.zeros(rows, bool)
    for c in range(len(classes)):
        kept_back[shuffled[index[shuffled] == c][: shares[c]]] = True
    return np.flatnonzero(~kept_back), np.flatnonzero(kept_back)
