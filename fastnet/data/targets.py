"""From what a user passes as y to targets, and from outputs back to what the user would say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fastnet import naming
from fastnet.activations import Activation, Sigmoid, Softmax
from fastnet.data import arrays
from fastnet.execution import codes
from fastnet.losses import Loss

Array = np.ndarray[Any, np.dtype[Any]]
Task = Literal["classification", "regression"]
# Beyond this, float64 no longer tells neighbouring integers apart.
LARGEST_WHOLE = 2**53
TASKS = ("auto", "classification", "regression")


@dataclass(frozen=True)
class Codec:
    """What a network has learned about its targets.

    Attributes
    ----------
    task : str
        ``"classification"`` or ``"regression"``.
    classes : array or None
        The sorted class labels; None for regression and for multilabel targets.
    multilabel : bool
        Whether any number of the outputs may be 1 at once.
    vector : bool
        Whether the targets of a single output were one-dimensional, so that predictions are, too.
    """

    task: Task
    classes: Array | None
    multilabel: bool = False
    vector: bool = True

    def strata(self, targets: Array) -> Array:
        """Return the class of each row of encoded targets; zeros where there are no classes."""
        if targets.ndim == 1:
            return targets
        if self.classes is None:
            return np.zeros(len(targets), np.int64)
        return targets.argmax(axis=1) if targets.shape[1] > 1 else targets[:, 0] > 0.5

    def rule(self, outputs: int) -> int:
        """Return how rows count as hits."""
        if self.task == "regression":
            return codes.NO_HITS
        return codes.THRESHOLD_HITS if self.multilabel or outputs == 1 else codes.ARGMAX_HITS


@dataclass(frozen=True)
class Survey:
    """What targets say before there is a network for them.

    Attributes
    ----------
    kind : str
        ``labels`` (classes, also as one-hot rows), ``multilabel`` or ``values``.
    outputs : int
        How many outputs a network for them needs.
    targets : array
        The targets as an array.
    strata : array
        (rows,) the class of each row; zeros where there are no classes.
    """

    kind: Literal["labels", "multilabel", "values"]
    outputs: int
    targets: Array
    strata: Array


def check_task(task: str) -> str:
    """Return the task, or raise ValueError with the nearest one."""
    if task not in TASKS:
        near = naming.suggestion(str(task), list(TASKS))
        raise ValueError(f"task is {task!r}{near} Expected one of: {', '.join(TASKS)}")
    return task


def survey(y: Any, rows: int, task: str, name: str = "y") -> Survey:
    """Look at targets and say what kind of network they need.

    Integers, booleans, text and 0-1 matrices are classes, all else are quantities, unless
    ``task`` says otherwise.
    """
    check_task(task)
    array = _checked(y, rows, name, "X")
    none = np.zeros(rows, np.int64)
    is_float = array.dtype.kind == "f"
    if array.ndim == 1:
        if task == "regression" or (task == "auto" and is_float):
            arrays.require_real(array, name)
            return Survey("values", 1, array, none)
        classes, strata = np.unique(_whole(array, name), return_inverse=True)
        if len(classes) == 1:
            raise ValueError(_only_one_class(array, name))
        return Survey("labels", len(classes), array, strata)
    outputs = array.shape[1]
    binary = bool(np.isin(array, (0, 1)).all())
    if task == "regression" or (task == "auto" and not binary):
        if outputs == 1 and not is_float and task == "auto":
            raise ValueError(
                f"{name} has shape {array.shape} and dtype {array.dtype}; class labels are "
                f"expected one-dimensional, as {name}.ravel(); for quantities pass "
                f"task='regression'"
            )
        return Survey("values", outputs, array, none)
    if outputs > 1 and (not binary or bool((array.sum(axis=1) == 1).all())):
        return Survey("labels", outputs, array, array.argmax(axis=1))
    return Survey("multilabel", outputs, array, none)


def untrained_codec(outputs: int, last: Activation, loss: Loss, task: str) -> Codec:
    """Return what can be said of targets before any were seen: classes are 0, 1, ..."""
    probabilities = isinstance(last, Softmax) or (
        isinstance(last, Sigmoid) and not loss.elementwise
    )
    if task == "regression" or (task == "auto" and not probabilities):
        return Codec("regression", None, vector=outputs == 1)
    return Codec("classification", np.arange(max(outputs, 2)))


def encode(
    y: Any,
    rows: int,
    outputs: int,
    last: Activation,
    loss: Loss,
    task: str,
    dtype: np.dtype[Any],
    known: Codec | None,
    *,
    training: bool,
    name: str = "y",
    name_of_x: str = "X",
) -> tuple[Array, Codec]:
    """Return targets as the math takes them, and what they say about the task.

    Parameters
    ----------
    y : array_like
        (rows,) labels or numbers, or (rows, outputs).
    rows, outputs : int
        Rows of X and outputs of the network.
    last, loss
        The network's last activation and its loss.
    task : str
        ``"auto"``, ``"classification"`` or ``"regression"``.
    dtype : numpy.dtype
        The network's dtype.
    known : Codec or None
        What an earlier fit has found; classes must then be among its classes.
    training : bool
        Whether the network is about to learn from y, so that one class alone makes no sense.
    name, name_of_x : str
        What to call the arguments in messages.

    Returns
    -------
    targets : array
        (rows,) int32 class indices, or (rows, outputs) in ``dtype``.
    codec : Codec

    Raises
    ------
    TypeError, ValueError
        If y does not fit.
    """
    array = _checked(y, rows, name, name_of_x)
    chosen = known.task if known else _choose_task(array, last, task)
    if array.ndim == 1 and chosen == "classification":
        return _encode_labels(array, outputs, known, training=training, name=name)
    return _encode_matrix(array, outputs, last, loss, dtype, chosen, known, name)


def _checked(y: Any, rows: int, name: str, name_of_x: str) -> Array:
    """Return targets as an array with one entry or one row per row of X, none missing."""
    array = _as_labels(y, name)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} has {array.ndim} dimension(s), shape {array.shape}; expected one target per "
            f"row, shape ({rows},), or a row of targets, shape ({rows}, outputs)"
        )
    if len(array) != rows:
        raise ValueError(
            f"{name_of_x} has {rows} row(s) and {name} has {len(array)}; "
            f"expected one target per row"
        )
    if array.ndim == 2 and array.dtype.kind in "US":
        raise ValueError(
            f"{name} holds text in shape {array.shape}; labels are expected one-dimensional, "
            f"as {name}.ravel()"
        )
    arrays.require_finite(array, name)
    return array


def _whole(array: Array, name: str) -> Array:
    """Return labels that came as floats as integers."""
    if array.dtype.kind != "f":
        return array
    strange = (array != np.round(array)) | (np.abs(array) > LARGEST_WHOLE)
    if strange.any():
        position = arrays.first_position(strange)
        raise ValueError(
            f"{name} has the value {array[position]} at row {position[0]} (counted from 0), "
            f"which is no class label; expected whole numbers or text, or task='regression'"
        )
    return array.astype(np.int64)


def _only_one_class(array: Array, name: str) -> str:
    return (
        f"{name} has only one class, {array[:1].tolist()[0]!r}, in all {len(array)} row(s); "
        f"expected at least two to learn from"
    )


def _as_labels(y: Any, name: str) -> Array:
    """Return targets as an array of numbers or of text, nothing missing, nothing mixed."""
    arrays.refuse_sparse_and_masked(y, name)
    try:
        array = np.asarray(y)
        # NumPy turns numbers beside text into text; what came tells whether there were any.
        came_mixed = array.dtype.kind in "US" and not hasattr(y, "dtype")
        values = np.asarray(y, dtype=object) if came_mixed else array
    except ValueError as error:
        raise ValueError(
            f"{name} cannot become an array ({error}); expected rows of equal length"
        ) from None
    if values.dtype.kind in "OT":
        array = _of_one_kind(values, name)
    if array.dtype.kind not in "biufUS":
        raise TypeError(
            f"{name} has dtype {array.dtype}; expected integers, booleans, strings or real numbers"
        )
    return array


def _of_one_kind(objects: Array, name: str) -> Array:
    """Return labels that came as Python objects as an array of text or of numbers."""
    values = objects.ravel().tolist()
    is_text = [isinstance(value, str | bytes) for value in values]
    for position, value in enumerate(values):
        missing = value is None or (isinstance(value, float) and value != value)
        number = isinstance(value, bool | int | float | np.bool_ | np.number)
        if missing or not (is_text[position] or number):
            what = "a missing label" if missing else "no label"
            raise TypeError(
                f"{name} holds {value!r} ({type(value).__name__}) at row {position} (counted from "
                f"0), {what}; expected labels that are all text or all numbers, none missing"
            )
    if any(is_text) and not all(is_text):
        raise TypeError(
            f"{name} mixes text and numbers ({sum(is_text)} of {len(values)} are text); "
            f"expected labels of one kind: convert it, as in [str(v) for v in {name}]"
        )
    return np.array(values).reshape(objects.shape)


def _choose_task(array: Array, last: Activation, task: str) -> Task:
    if task != "auto":
        return "regression" if task == "regression" else "classification"
    if array.dtype.kind in "US":
        return "classification"
    if array.ndim == 2:
        binary = bool(np.isin(array, (0, 1)).all())
        if isinstance(last, Softmax) or (isinstance(last, Sigmoid) and binary):
            return "classification"
        return "classification" if array.dtype.kind == "b" else "regression"
    if array.dtype.kind in "biu":
        return "classification"
    whole = bool((array == np.round(array)).all())
    binary = bool(np.isin(array, (0, 1)).all())
    if (isinstance(last, Softmax) and whole) or (isinstance(last, Sigmoid) and binary):
        return "classification"
    return "regression"


def _encode_labels(
    array: Array, outputs: int, known: Codec | None, *, training: bool, name: str
) -> tuple[Array, Codec]:
    array = _whole(array, name)
    present = np.unique(array)
    if known is not None:
        if known.classes is None:
            raise ValueError(
                f"{name} is one-dimensional, but the network was trained on {outputs} separate "
                f"yes-or-no targets; expected shape (rows, {outputs})"
            )
        classes = known.classes
        strange = [label for label in present.tolist() if label not in classes.tolist()]
        if strange:
            raise ValueError(
                f"{name} has the label(s) {_listed(strange)}, which the network does not know; "
                f"its classes are {_listed(classes.tolist())}"
            )
    else:
        if training and len(present) == 1:
            raise ValueError(_only_one_class(array, name))
        classes = _classes(present, outputs, name)
    indices = np.searchsorted(classes, array).astype(np.int32)
    return indices, Codec("classification", classes)


def _classes(present: Array, outputs: int, name: str) -> Array:
    """Return the classes of a network with ``outputs`` outputs, from those that are present.

    Integers from 0 to outputs - 1 name the outputs themselves, so that a class may be absent.
    """
    count = max(outputs, 2)
    if present.dtype.kind == "b" and count == 2:
        return np.array([False, True])
    if present.dtype.kind in "iu" and present.min() >= 0 and present.max() < count:
        return np.arange(count)
    if len(present) == count:
        return present
    raise ValueError(
        f"{name} has {len(present)} classes ({_listed(present.tolist())}), but the network has "
        f"{outputs} output(s), that is {count} classes; give the last layer {len(present)} "
        f"outputs, or pass task='regression' if {name} holds quantities"
    )


def _encode_matrix(
    array: Array,
    outputs: int,
    last: Activation,
    loss: Loss,
    dtype: np.dtype[Any],
    task: Task,
    known: Codec | None,
    name: str,
) -> tuple[Array, Codec]:
    arrays.require_real(array, name)
    vector = array.ndim == 1
    matrix = array.reshape(-1, 1) if vector else array
    if matrix.shape[1] != outputs:
        raise ValueError(
            f"{name} has shape {array.shape}, that is {matrix.shape[1]} target(s) per row; the "
            f"network has {outputs} output(s): expected ({len(array)}, {outputs})"
            + (f", or class labels as {name}.ravel()" if matrix.shape[1] == 1 else "")
        )
    if not loss.elementwise:
        outside = (matrix < 0) | (matrix > 1)
        if outside.any():
            row, column = arrays.first_position(outside)
            raise ValueError(
                f"{name} has {np.count_nonzero(outside)} value(s) outside 0 to 1, the first "
                f"({matrix[row, column]}) at row {row}, column {column} (counted from 0); the "
                f"loss {loss.name} takes probabilities: use the loss 'mse' for quantities"
            )
    targets = arrays.in_dtype(
        matrix.astype(dtype) if matrix.dtype == np.uint8 else matrix, dtype, name
    )
    if task == "regression":
        return targets, Codec("regression", None, vector=vector)
    if outputs == 1:
        classes = np.array([0, 1])
        return targets, known or Codec("classification", classes, vector=vector)
    one_hot = bool(np.isin(targets, (0, 1)).all() and (targets.sum(axis=1) == 1).all())
    multilabel = not isinstance(last, Softmax) and not one_hot
    if known is not None:
        return targets, known
    return targets, Codec(
        "classification", None if multilabel else np.arange(outputs), multilabel=multilabel
    )


def _listed(values: list[Any]) -> str:
    shown = ", ".join(map(repr, values[:8]))
    return f"{shown}, ... ({len(values)} in all)" if len(values) > 8 else shown
