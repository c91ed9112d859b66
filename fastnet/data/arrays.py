"""From what a user passes as X to a checked array: bytes stay bytes, all else becomes the dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# Rows are indexed by int32 in every backend's gather.
MOST_ROWS = 2**31 - 1


def features(X: Any, dtype: np.dtype[Any], *, inputs: int | None = None, name: str = "X") -> Array:
    """Return ``X`` as a C-contiguous matrix, uint8 as it came, everything else in ``dtype``.

    It is ``X`` itself where that is such a matrix already.

    Parameters
    ----------
    X : array_like
        (rows, features) of real numbers: an array, a list of rows, a data frame.
    dtype : numpy.dtype
        The network's dtype.
    inputs : int, optional
        How many features the network takes.
    name : str
        What to call the argument in messages.

    Raises
    ------
    TypeError
        If the elements are not real numbers.
    ValueError
        If the shape is wrong, if there is nothing in it, or if values are not finite.
    """
    return in_dtype(matrix(X, inputs=inputs, name=name), dtype, name)


def matrix(X: Any, *, inputs: int | None = None, name: str = "X") -> Array:
    """Return ``X`` as a checked matrix of finite real numbers, in whatever dtype it has."""
    array = as_array(X, name)
    check_shape(array.shape, inputs=inputs, name=name)
    require_finite(array, name)
    return array


def check_shape(shape: tuple[int, ...], *, inputs: int | None, name: str) -> None:
    """Raise ValueError unless it is (rows, features) with neither of them 0."""
    if len(shape) != 2:
        hint = {
            1: f"one sample is {name}.reshape(1, -1), one feature is {name}.reshape(-1, 1)",
            0: "pass one row per sample, one column per feature",
        }.get(len(shape), f"flatten each sample with {name}.reshape(len({name}), -1)")
        raise ValueError(
            f"{name} has {len(shape)} dimension(s), shape {shape}; expected two, "
            f"(rows, features): {hint}"
        )
    rows, columns = shape
    if rows == 0 or columns == 0:
        raise ValueError(
            f"{name} is empty, shape {shape}; expected at least one row and one feature"
        )
    if rows > MOST_ROWS:
        raise ValueError(f"{name} has {rows} rows; expected at most {MOST_ROWS}: train in parts")
    if inputs is not None and columns != inputs:
        raise ValueError(
            f"{name} has {columns} feature(s) per row; the network takes {inputs}: "
            f"pass the same features it was made for"
        )


def in_dtype(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    """Return a finite array in ``dtype`` (uint8 as it is); what does not fit it is refused."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(array, dtype)
    if converted is not array and not np.isfinite(converted).all():
        position = first_position(~np.isfinite(converted))
        raise ValueError(
            f"{name} has the value {array[position]} at {_where(position)}, which does not fit "
            f"{dtype}; scale {name}, or use dtype='float64'"
        )
    return converted


def as_array(X: Any, name: str) -> Array:
    """Return what came as a NumPy array of real numbers."""
    refuse_sparse_and_masked(X, name)
    try:
        # A frame of several number types, or of types with room for missing values, has no common
        # dtype in NumPy, yet every column is a number.
        kinds = {getattr(t, "kind", "O") for t in X.dtypes} if hasattr(X, "columns") else set()
        array = np.asarray(X)
        if array.dtype.kind == "O" and kinds and kinds <= set("biuf"):
            array = np.asarray(X, dtype=np.float64)
    except ValueError as error:
        raise ValueError(
            f"{name} cannot become an array ({error}); expected rows of equal length"
        ) from None
    except TypeError as error:  # missing values of a nullable column
        raise TypeError(
            f"{name} cannot become numbers ({error}); fill or drop missing values first"
        ) from None
    require_real(array, name)
    return array


def refuse_sparse_and_masked(values: Any, name: str) -> None:
    """Raise for what NumPy would silently turn into something else."""
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        raise TypeError(f"{name} is a sparse matrix; expected a dense one: pass {name}.toarray()")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(
            f"{name} has masked values; fill or drop them first, as in {name}.filled(0)"
        )


def require_real(array: Any, name: str) -> None:
    """Raise TypeError unless the elements are booleans, integers or real floats."""
    if array.dtype.kind not in "biuf":
        kind = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text"}.get(
            array.dtype.kind, "no numbers"
        )
        raise TypeError(
            f"{name} has dtype {array.dtype}, that is {kind}; expected real numbers in every "
            f"column: encode text as numbers, and convert with {name}.astype('float32')"
        )


def require_finite(array: Array, name: str) -> None:
    """Raise ValueError with the count and the first position of values that are not finite."""
    # The sum is finite if all values are, and costs one pass without a temporary array; it may
    # overflow although all values are finite, and then the exact test decides.
    if array.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):
            return
    bad = ~np.isfinite(array)
    count = int(np.count_nonzero(bad))
    if count:
        position = first_position(bad)
        raise ValueError(
            f"{name} has {count} value(s) that are NaN or infinite, the first ({array[position]}) "
            f"at {_where(position)}; replace them or drop those rows"
        )


def first_position(mask: Array) -> tuple[int, ...]:
    """Return the index of the first True."""
    return tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))


def _where(position: tuple[int, ...]) -> str:
    row = f"row {position[0]}"
    return (
        f"{row}, column {position[1]} (counted from 0)"
        if len(position) > 1
        else (f"{row} (counted from 0)")
    )


def sample_weights(weights: Any, rows: int, dtype: np.dtype[Any]) -> Array | None:
    """Return one weight per row in ``dtype``, or None for None.

    Raises
    ------
    TypeError, ValueError
        If they are not ``rows`` finite numbers from 0 on, with at least one above 0.
    """
    if weights is None:
        return None
    name = "sample_weight"
    array = as_array(weights, name)
    if array.shape != (rows,):
        raise ValueError(
            f"{name} has shape {array.shape}; expected ({rows},), one number per row of X"
        )
    require_finite(array, name)
    if array.dtype == np.uint8:
        array = array.astype(dtype)
    largest = float(array.max(initial=0))
    array = in_dtype(array, dtype, name)
    if largest and not 1e-20 < largest < 1e20:
        raise ValueError(
            f"{name} has {largest:g} as its largest value; expected something nearer to 1: only "
            f"the relation of weights matters, so divide them by their mean"
        )
    if (array < 0).any():
        position = first_position(array < 0)
        raise ValueError(
            f"{name} has the negative value {array[position]} at {_where(position)}; "
            f"expected 0 or larger"
        )
    if not array.any():
        raise ValueError(f"{name} is 0 for every row; at least one row must count")
    return array
