"""Predictions as a file: CSV, JSON or NPY, batch by batch."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import shutil
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np

from fastnet import atomic, naming

Array = np.ndarray[Any, np.dtype[Any]]

# Of rows that become text together.
CELLS = 1 << 16


class Headings(NamedTuple):
    """What the columns are called.

    Attributes
    ----------
    predictions : tuple of str
        One, or one for each output.
    classes : tuple of str
        One for each class, whose probabilities are asked for; else empty.
    numbers : str
        Of the rows' numbers, which begin with 1; empty for none.
    """

    predictions: tuple[str, ...]
    classes: tuple[str, ...] = ()
    numbers: str = ""

    def check(self, *more: str) -> None:
        """Refuse columns that could not be told apart: these, and ``more``."""
        names = [*([self.numbers] if self.numbers else []), *self.predictions, *more]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f"two columns would be called {twice!r}; choose another heading for the "
                f"predictions or for the rows' numbers"
            )


class Writer(ABC):
    """Writes predictions to a file of bytes.

    Parameters
    ----------
    file : binary file
    headings : Headings
    """

    name: ClassVar[str]
    ending: ClassVar[str]

    def __init__(self, file: BinaryIO, headings: Headings) -> None:
        self.file, self.headings = file, headings
        self.rows = 0

    def write(self, predictions: Array, probabilities: Array | None) -> None:
        """Write the predictions for some rows: (rows,) or (rows, outputs).

        ``probabilities`` (rows, classes) are those of the headings' classes.
        """
        columns = predictions.reshape(len(predictions), -1)
        width = columns.shape[1] + (0 if probabilities is None else probabilities.shape[1])
        rows = max(CELLS // width, 1)
        for first in range(0, len(columns), rows):
            part = slice(first, first + rows)
            self._write(columns[part], None if probabilities is None else probabilities[part])
            self.rows += len(columns[part])

    @abstractmethod
    def _write(self, columns: Array, probabilities: Array | None) -> None: ...

    @abstractmethod
    def end(self) -> None:
        """Write what comes after the last row."""

    def _numbers(self, columns: Array) -> range:
        return range(self.rows + 1, self.rows + 1 + len(columns))


class Csv(Writer):
    """A line of headings, then a line for each row."""

    name, ending = "csv", ".csv"

    def __init__(self, file: BinaryIO, headings: Headings) -> None:
        super().__init__(file, headings)
        shares = [f"probability_{name}" for name in headings.classes]
        headings.check(*shares)
        numbers = [headings.numbers] if headings.numbers else []
        self._lines([[*numbers, *headings.predictions, *shares]])

    def _write(self, columns: Array, probabilities: Array | None) -> None:
        parts = [[*map(str, self._numbers(columns))]] if self.headings.numbers else []
        for matrix in (columns, probabilities):
            if matrix is not None:
                parts += [texts(matrix[:, j]) for j in range(matrix.shape[1])]
        self._lines(zip(*parts, strict=True))

    def _lines(self, rows: Iterable[Iterable[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self.file.write(text.getvalue().encode())

    def end(self) -> None:
        """Nothing comes after the last row."""


class Json(Writer):
    """A list with an object for each row, on a line of its own."""

    name, ending = "json", ".json"

    def __init__(self, file: BinaryIO, headings: Headings) -> None:
        super().__init__(file, headings)
        headings.check(*(["probabilities"] if headings.classes else []))
        self.file.write(b"[")

    def _write(self, columns: Array, probabilities: Array | None) -> None:
        headings = self.headings
        values = [_plain(columns[:, j]) for j in range(columns.shape[1])]
        shares = None
        if probabilities is not None:
            shares = [_plain(probabilities[:, j]) for j in range(probabilities.shape[1])]
        lines = []
        for row, number in enumerate(self._numbers(columns)):
            entry: dict[str, Any] = {headings.numbers: number} if headings.numbers else {}
            for name, column in zip(headings.predictions, values, strict=True):
                entry[name] = column[row]
            if shares is not None:
                names = zip(headings.classes, shares, strict=True)
                entry["probabilities"] = {name: column[row] for name, column in names}
            comma = "," if number > 1 else ""
            lines.append(f"{comma}\n{json.dumps(entry, ensure_ascii=False, allow_nan=False)}")
        self.file.write("".join(lines).encode())

    def end(self) -> None:
        """Close the list."""
        self.file.write(b"\n]\n")


class Npy(Writer):
    """An array: of the predictions, or of the probabilities (rows, classes) where they are asked.

    The number of rows is known at the end alone; NumPy leaves room in the header for it to grow.
    """

    name, ending = "npy", ".npy"

    def __init__(self, file: BinaryIO, headings: Headings) -> None:
        super().__init__(file, headings)
        if headings.numbers:
            raise ValueError(
                f"rows are to be numbered under {headings.numbers!r}, and an array has no "
                f"headings; expected the format csv or json"
            )
        self._begins = file.tell()
        self._like: Array | None = None  # no row of what is written

    def write(self, predictions: Array, probabilities: Array | None) -> None:
        """Write some rows, (rows,) or (rows, outputs), or their probabilities."""
        array = np.ascontiguousarray(predictions if probabilities is None else probabilities)
        if self._like is None:
            self._like = np.empty((0, *array.shape[1:]), array.dtype)
            self._write_header(self._like)
        self.file.write(array.tobytes())
        self.rows += len(array)

    def _write(self, columns: Array, probabilities: Array | None) -> None:
        raise NotImplementedError

    def _write_header(self, like: Array) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(like.dtype),
            "fortran_order": False,
            "shape": (self.rows, *like.shape[1:]),
        }
        np.lib.format.write_array_header_1_0(self.file, header)

    def end(self) -> None:
        """Write the number of rows into the header."""
        if self._like is not None:
            end = self.file.tell()
            self.file.seek(self._begins)
            self._write_header(self._like)
            self.file.seek(end)


WRITERS: dict[str, type[Writer]] = {writer.name: writer for writer in (Csv, Json, Npy)}
DEFAULT = Csv  # on stdout


def writer_for(path: Path | None, format: str | None) -> type[Writer]:  # noqa: A002
    """Return the writer for a file, by the format that is named, else by how its name ends."""
    if format is not None:
        if format not in WRITERS:
            near = naming.suggestion(format, list(WRITERS))
            raise ValueError(f"format is {format!r}{near} Expected one of: {', '.join(WRITERS)}")
        return WRITERS[format]
    if path is None:
        return DEFAULT
    for writer in WRITERS.values():
        if path.suffix.lower() == writer.ending:
            return writer
    endings = ", ".join(writer.ending for writer in WRITERS.values())
    raise ValueError(
        f"output is {str(path)!r}, whose ending names no format; expected one of {endings}, or "
        f"name the format: {', '.join(WRITERS)}"
    )


@contextlib.contextmanager
def opened(path: Path | None, writer: type[Writer], headings: Headings) -> Iterator[Writer]:
    """Open a file for predictions; a file appears whole or not at all.

    Parameters
    ----------
    path : Path or None
        Where to; None is stdout.
    writer : type of Writer
    headings : Headings
    """
    with contextlib.ExitStack() as stack:
        if path is not None:
            file: Any = stack.enter_context(atomic.replacing(path))
        elif writer is Npy:  # which goes back to its header
            if _stdout().isatty():
                raise ValueError(
                    "an array cannot be shown on a terminal; expected an output file, or a pipe"
                )
            file = stack.enter_context(tempfile.TemporaryFile())
        else:
            file = _stdout()
        on = writer(file, headings)
        yield on
        on.end()
        if path is None and writer is Npy:
            file.seek(0)
            shutil.copyfileobj(file, _stdout())
        file.flush()


def _stdout() -> BinaryIO:
    if sys.stdout is None:
        raise OSError(errno.EBADF, "stdout is closed; expected an output file, or a pipe")
    return sys.stdout.buffer


def texts(values: Array) -> list[str]:
    """Return values as texts, numbers with as many digits as tell them apart in their dtype."""
    if values.dtype.kind == "S":
        return [value.decode("latin-1") for value in values.tolist()]
    found: list[str] = values.astype(str).tolist()
    return found


def _plain(values: Array) -> list[Any]:
    """Return values as JSON has them: floats with few digits, null for what is not finite."""
    if values.dtype.kind == "S":
        return texts(values)
    if values.dtype.kind != "f":
        plain: list[Any] = values.tolist()
        return plain
    numbers = map(float, texts(values)) if values.dtype == np.float32 else values.tolist()
    return [number if math.isfinite(number) else None for number in numbers]
