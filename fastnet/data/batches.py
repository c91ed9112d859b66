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
from typing import Any, NamedTuple

import numpy as np

from fastnet.data import loading, tabular
from fastnet.data.loading import DataDir
from fastnet.data.tabular import Batch, Wanted

Array = np.ndarray[Any, np.dtype[Any]]

STDIN = "-"
# Of a batch's features, as float64.
BATCH_BYTES = 32 << 20


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
def opened(source: str, wanted: Wanted, data_dir: DataDir = None) -> Iterator[Source]:
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

    Raises
    ------
    OSError, TypeError, ValueError
        As `load_data` does; faults within a file when its batches come there.
    """
    rows = min(max(BATCH_BYTES // (8 * wanted.inputs), 1), 1 << 16)
    path = Path(source).expanduser()
    kind = path.suffix.lower()
    with contextlib.ExitStack() as stack:
        if source == STDIN:
            reading, batches = tabular.csv_batches(_stdin(), "stdin", wanted, rows)
            yield Source("stdin", reading.unused, batches)
        elif kind == ".csv":
            file = stack.enter_context(path.open(encoding="utf-8-sig", newline=""))
            reading, batches = tabular.csv_batches(file, path, wanted, rows)
            yield Source(path.name, reading.unused, batches)
        elif kind in loading.TABLES:
            reading, batches = tabular.parquet_batches(path, wanted, rows)
            yield Source(path.name, reading.unused, batches)
        else:
            name, X, y = _arrays(source, path, kind, wanted, data_dir)
            yield Source(name, (), _parts(X, y, rows))


def _stdin() -> io.TextIOWrapper:
    if sys.stdin is None or sys.stdin.isatty():
        raise ValueError(
            "data is '-', that is CSV on stdin, and stdin is a terminal; expected a file in its "
            "place: fastnet predict MODEL - < rows.csv"
        )
    return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")


def _arrays(
    source: str, path: Path, kind: str, wanted: Wanted, data_dir: DataDir
) -> tuple[str, Array, Array | None]:
    """Return name, features and, if they are wanted, targets of what is no table."""
    if wanted.label is not None:
        loading.check_is_table(source, "label")
    is_file = path.exists() or bool(kind)
    if is_file and "," not in source and not wanted.needs_label:
        return path.name, loading.features_in(path), None
    data = loading.load_data(source, data_dir=data_dir)
    if data.X_test is None:
        return data.name, data.X_train, data.y_train
    return f"{data.name}, test rows", data.X_test, data.y_test


def _parts(X: Array, y: Array | None, rows: int) -> Iterator[Batch]:
    for first in range(0, len(X), rows):
        part = slice(first, first + rows)
        yield Batch(np.asarray(X[part]), None if y is None else y[part])
