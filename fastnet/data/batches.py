"""Rows for a network that is trained, out of a file, so many at a time.

CSV (also from stdin), Parquet and NPY pass through in parts, so that a file may be larger than
memory; NPZ and IDX files are read whole.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fastnet.data import loading, tabular
from fastnet.data.idx import expanded
from fastnet.data.loading import DataDir
from fastnet.data.tabular import Batch, Wanted
from fastnet.execution.executor import BLOCK_ROWS

Array = np.ndarray[Any, np.dtype[Any]]

STDIN = "-"
# Of a batch's features, or of what is made of them, as float64.
BATCH_BYTES = 32 << 20
MOST_ROWS = 1 << 16


class Source(NamedTuple):
    """Rows that are to be read.

    Attributes
    ----------
    name : str
        What to call them.
    unused : tuple of str
        The names of columns that the network has no use for.
    batches : iterator of Batch
    """

    name: str
    unused: tuple[str, ...]
    batches: Iterator[Batch]


@contextlib.contextmanager
def opened(
    source: str, wanted: Wanted, data_dir: DataDir = None, *, outputs: int = 0
) -> Iterator[Source]:
    """Open what holds rows for a network.

    Parameters
    ----------
    source : str
        A CSV, Parquet, NPY, NPZ or IDX file (also ``X,y`` as in `load_data`), ``-`` for CSV on
        stdin, or a data set's name: its rows to test on, if it has some of its own.
    wanted : Wanted
        What the network wants.
    data_dir : path, optional
        As in `load_data`.
    outputs : int, default 0
        How many numbers will be made of a row; where they are many, batches are short.

    Raises
    ------
    OSError, TypeError, ValueError
        As `load_data` does; faults within a file when its batches come there.
    """
    rows = _batch_rows(max(wanted.inputs, outputs))
    path = expanded(source)
    kind = path.suffix.lower()
    unused: tuple[str, ...] = ()
    if path.is_dir():
        raise IsADirectoryError(f"data is {source!r}, a folder; expected a file in it")
    if wanted.header is not None and source != STDIN:
        loading.check_is_csv(source)
    with contextlib.ExitStack() as stack:
        if source == STDIN:
            name, file = "stdin", _stdin()
            stack.callback(file.detach)  # stdin is not ours to close
            (_, _, _, unused), batches = tabular.csv_batches(file, name, wanted, rows)
        elif kind == ".csv":
            name, file = path.name, stack.enter_context(_text(path.open("rb")))
            (_, _, _, unused), batches = tabular.csv_batches(file, path, wanted, rows)
        elif kind in loading.TABLES:
            name = path.name
            (_, _, _, unused), batches = tabular.parquet_batches(path, wanted, rows)
        else:
            name, X, y = _arrays(source, path, kind, wanted, data_dir)
            batches = _parts(X, y, rows)
        yield Source(name, unused, _some(batches, name))


def _batch_rows(width: int) -> int:
    """Return how many rows make a batch.

    Whole blocks: the last bits of a product depend on how many rows it has, and these are the
    bits that come of all rows at once.
    """
    rows = BLOCK_ROWS
    while rows < MOST_ROWS and 2 * rows * 8 * width <= BATCH_BYTES:
        rows *= 2
    return rows


def _some(batches: Iterator[Batch], name: str) -> Iterator[Batch]:
    """Yield the batches; raise if there is no row in them."""
    rows = 0
    for batch in batches:
        rows += len(batch.X)
        yield batch
    if not rows:
        raise ValueError(f"{name} has no rows")


def _text(file: BinaryIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


def _stdin() -> io.TextIOWrapper:
    if sys.stdin is None or sys.stdin.isatty():
        what = "closed" if sys.stdin is None else "a terminal"
        raise ValueError(
            f"data is '-', that is CSV on stdin, and stdin is {what}; expected a file in its "
            f"place: fastnet predict MODEL - < rows.csv"
        )
    return _text(sys.stdin.buffer)


def _arrays(
    source: str, path: Path, kind: str, wanted: Wanted, data_dir: DataDir
) -> tuple[str, Array, Array | None]:
    """Return name, features and, if they are wanted, targets of what is no table."""
    if wanted.label is not None:
        loading.check_is_table(source, "label")
    is_file = path.exists() or bool(kind)
    if is_file and "," not in source and not wanted.needs_label:
        X = loading.features_in(path)
        if not X.ndim:
            raise ValueError(f"{path} has one number; expected rows of features")
        return path.name, X, None
    data = loading.load_data(source, data_dir=data_dir)
    if data.X_test is None:
        return data.name, data.X_train, data.y_train
    return f"{data.name}, test rows", data.X_test, data.y_test


def _parts(X: Array, y: Array | None, rows: int) -> Iterator[Batch]:
    for first in range(0, len(X), rows):
        part = slice(first, first + rows)
        yield Batch(np.asarray(X[part]), None if y is None else y[part])
