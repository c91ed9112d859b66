"""What is done to features and quantities before a network sees them.

It is learned from the rows that the network is trained on. The numbers belong to the network and
are saved with it, so that predictions on raw features prepare them in the same way, and come out
in the targets' own unit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fastnet import naming
from fastnet.data import arrays

Array = np.ndarray[Any, np.dtype[Any]]
Kind = Literal["min_max", "standard"]
KINDS: tuple[Kind, ...] = ("min_max", "standard")

# Rows that are worked on at once: what is beside the features stays small.
BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Preparation:
    """x' = (x - shift) * scale, column by column.

    ``min_max`` brings what the training rows have in a column to 0 .. 1: shift is the smallest
    value, and scale is 1 / (largest - smallest). ``standard`` gives a column the mean 0 and the
    standard deviation 1 over the training rows: shift is the mean, and scale is 1 / deviation,
    the square root of the mean squared distance from the mean. A column whose values are all equal
    becomes 0: as a feature, whatever it is later; as a target, by the shift alone, which can be
    undone.

    Attributes
    ----------
    kind : str
        ``"min_max"`` or ``"standard"``.
    shift, scale : array or None
        (columns,) in float64; None before there were rows to learn from.
    """

    kind: Kind
    shift: Array | None = None
    scale: Array | None = None

    def __post_init__(self) -> None:
        _check_kind(self.kind, "preparation")

    def __str__(self) -> str:
        return self.kind

    @property
    def is_learned(self) -> bool:
        """Whether shift and scale are known."""
        return self.shift is not None

    @property
    def numbers(self) -> tuple[Array, Array]:
        """Shift and scale.

        Raises
        ------
        ValueError
            If nothing was learned yet.
        """
        if self.shift is None or self.scale is None:
            raise ValueError(
                f"the preparation {self.kind!r} has learned nothing yet; train the network first"
            )
        return self.shift, self.scale

    def learn(self, X: Array, name: str = "X", *, invertible: bool = False) -> Preparation:
        """Return the preparation with shift and scale of these rows.

        Parameters
        ----------
        X : array
            (rows, columns) of finite numbers.
        name : str
            What to call the rows in messages.
        invertible : bool
            Whether the scale of a column whose values are all equal is 1 and not 0, as targets
            need it, for what has a scale of 0 cannot be undone.

        Raises
        ------
        ValueError
            If values are farther apart than the largest float.
        """
        low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
        with np.errstate(over="ignore", divide="ignore"):
            if self.kind == "min_max":
                shift, spread = low, high - low
            else:
                shift, spread = _mean_and_deviation(X, low, high)
            scale = 1 / spread
        constant = (low == high) | ~np.isfinite(scale)  # also what no float tells apart
        shift = np.where(low == high, low, shift)  # a mean is rounded
        if not np.isfinite(spread).all():
            column = arrays.first_position(~np.isfinite(spread))[0]
            raise ValueError(
                f"{name} has values from {low[column]:g} to {high[column]:g} in column {column} "
                f"(counted from 0), too far apart for the preparation {self.kind!r}; scale them "
                f"first"
            )
        return replace(self, shift=shift, scale=np.where(constant, float(invertible), scale))

    def apply(self, X: Array, dtype: np.dtype[Any], name: str = "X") -> Array:
        """Return prepared rows in ``dtype``, as a new array.

        Parameters
        ----------
        X : array
            (rows, columns) of finite numbers.
        dtype : numpy.dtype
        name : str
            What to call the rows in messages.

        Raises
        ------
        ValueError
            If nothing was learned yet, or if a result does not fit the dtype.
        """
        shift, scale = self.numbers
        result = np.empty(X.shape, dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            for first in range(0, len(X), BLOCK):
                block = X[first : first + BLOCK].astype(np.float64)
                block -= shift
                block *= scale
                result[first : first + BLOCK] = block
        arrays.require_finite(result, f"{name}, prepared by {self.kind!r},")
        return result

    def undo(self, outputs: Array) -> Array:
        """Return what prepared values stand for, x = x' / scale + shift, in float64.

        Parameters
        ----------
        outputs : array
            (rows, columns); the preparation was learned to be invertible.
        """
        shift, scale = self.numbers
        return outputs / scale + shift


def _mean_and_deviation(X: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of every column, of any finite numbers."""
    size = np.maximum(np.abs(low), np.abs(high))  # sums of larger numbers could be infinite
    size[size == 0] = 1
    rows = len(X)
    mean, square = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for first in range(0, rows, BLOCK):
        mean += (X[first : first + BLOCK] / size).sum(axis=0)
    mean /= rows
    for first in range(0, rows, BLOCK):
        square += ((X[first : first + BLOCK] / size - mean) ** 2).sum(axis=0)
    return mean * size, np.sqrt(square / rows) * size


def preparation(spec: str | Preparation | None, name: str, columns: int) -> Preparation | None:
    """Return the preparation that is meant by the argument of that name, or None for None.

    Raises
    ------
    TypeError, ValueError
        If it is none of the known ones, or was learned from another number of columns.
    """
    if isinstance(spec, Preparation) and spec.is_learned:
        found = spec.numbers[0].shape
        if found != (columns,):
            raise ValueError(
                f"{name} was learned from columns of shape {found}; expected ({columns},), or one "
                f"that has learned nothing yet"
            )
    if spec is None or isinstance(spec, Preparation):
        return spec
    if not isinstance(spec, str):
        raise TypeError(
            f"{name} is {spec!r} ({type(spec).__name__}); expected one of: "
            f"{', '.join(KINDS)}, or None"
        )
    kind = spec.strip().lower().replace("-", "_")
    _check_kind(kind, name)
    return Preparation(kind)  # type: ignore[arg-type]


def _check_kind(kind: str, name: str) -> None:
    if kind not in KINDS:
        near = naming.suggestion(str(kind), list(KINDS))
        raise ValueError(f"{name} is {kind!r}{near} Expected one of: {', '.join(KINDS)}, or None")
