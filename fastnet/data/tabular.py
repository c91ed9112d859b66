"""Tables with a column of labels: CSV and Parquet files, read by pandas, and data frames."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]

# What a column of labels is called where nobody says.
USUAL_LABELS = ("label", "target", "class", "y")
INSTALL = "python -m pip install 'fastnet-nn[data]'"


class Table(NamedTuple):
    """Features (rows, columns), labels (rows,), and the features' names."""

    X: Array
    y: Array
    columns: tuple[str, ...]


def read_csv(path: Path, label: str | int | None) -> Table:
    """Return the table in a CSV file: commas between, a header or none, one column of labels.

    Parameters
    ----------
    path : Path
    label : str, int or None
        The label column's name, or its position from 0 (negative from the end); by default the
        one column that is called label, target, class or y.

    Raises
    ------
    ValueError
        If there is nothing in it, rows differ in length or have gaps, features are no numbers, or
        the label column is not there or not the only one of its name. Lines are counted from 1.
    """
    pandas = _pandas(path)
    first = _first_row(path)
    has_header = not all(map(_is_number, first))
    if not has_header and isinstance(label, str):
        raise ValueError(
            f"{path}: the first line has numbers only, so there is no header in which a column is "
            f"called {label!r}; give the label column's position, as in label=0"
        )
    if len(first) == 1 and ";" in first[0]:
        raise ValueError(f"{path}: fields are separated by semicolons; expected commas between")
    names = first if has_header else [str(place) for place in range(len(first))]
    place = _place_of(names, label, path, has_header=has_header)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pandas.errors.ParserWarning)  # fields would be cut off
            frame = pandas.read_csv(
                path,
                header=None,
                skiprows=1 if has_header else 0,
                names=range(len(names)),
                index_col=False,
                encoding="utf-8-sig",
                skip_blank_lines=False,
                low_memory=False,
            )
    except pandas.errors.EmptyDataError:
        frame = pandas.DataFrame()
    except pandas.errors.ParserWarning:
        raise ValueError(_long_row(path, len(names))) from None
    except (pandas.errors.ParserError, UnicodeDecodeError) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise ValueError(f"{path} cannot be read as a table: {reason}") from None
    if not len(frame):
        raise ValueError(f"{path}: there is a header and no row")
    return _table(frame, place, names, path, 2 if has_header else 1)


def read_parquet(path: Path, label: str | int | None) -> Table:
    """Return the table in a Parquet file; see `read_csv` for ``label``."""
    pandas = _pandas(path)
    try:
        frame = pandas.read_parquet(path)
    except ImportError:
        raise ImportError(
            f"{path}: to read Parquet the package pyarrow is needed: python -m pip install pyarrow"
        ) from None
    return from_frame(frame, label, str(path))


def from_frame(frame: pd.DataFrame, label: str | int | None, source: str) -> Table:
    """Return the table in a data frame; see `read_csv` for ``label``."""
    names = [str(name) for name in frame.columns]
    place = _place_of(names, label, source, has_header=True)
    plain = frame.set_axis(range(len(names)), axis=1).reset_index(drop=True)
    return _table(plain, place, names, source, 0)


def _pandas(path: Path) -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError(
            f"{path}: to read tables the package pandas is needed: {INSTALL}"
        ) from None
    return pandas


def _first_row(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            row = next(csv.reader(file), [])
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no text in UTF-8 ({error.reason}); convert it") from None
    if not row:
        raise ValueError(f"{path}: the file is empty, or its first line is")
    return [name.strip() for name in row]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _place_of(
    names: list[str], label: str | int | None, source: str | Path, *, has_header: bool
) -> int:
    """Return the position of the label column."""
    shown = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
    if isinstance(label, int) and not isinstance(label, bool):
        if not -len(names) <= label < len(names):
            raise ValueError(
                f"{source}: label is column {label}, and there are {len(names)}: {shown}"
            )
        return label % len(names)
    if isinstance(label, str):
        places = [place for place, name in enumerate(names) if name == label]
        if len(places) != 1:
            found = "no column is" if not places else f"{len(places)} columns are"
            raise ValueError(f"{source}: {found} called {label!r}; the columns are {shown}")
        return places[0]
    if label is not None:
        raise TypeError(f"label is {label!r}; expected a column's name, its position, or None")
    usual = [place for place, name in enumerate(names) if name.lower() in USUAL_LABELS]
    if not has_header or len(usual) != 1:
        which = "none" if not usual or not has_header else "more than one"
        raise ValueError(
            f"{source}: which column has the labels? Of {', '.join(USUAL_LABELS)} there is "
            f"{which}; say it with label=, by name or by position. The columns are {shown}"
        )
    return usual[0]


def _long_row(path: Path, columns: int) -> str:
    """Return which row has too many fields."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in (reader := csv.reader(file)):
            if len(row) > columns:
                return (
                    f"{path}: line {reader.line_num} has {len(row)} fields, and the first line "
                    f"has {columns}"
                )
    return f"{path}: rows are longer than the first line, which has {columns} fields"


def _table(
    frame: pd.DataFrame, place: int, names: list[str], source: str | Path, first_line: int
) -> Table:
    """Return features and labels of a frame whose columns are numbered."""

    def where(row: int, column: int) -> str:
        line = f"line {row + first_line}" if first_line else f"row {row}"
        return f"{source}: {line}, column {names[column]!r}"

    if not len(frame) or len(names) < 2:
        raise ValueError(f"{source}: expected rows, and a column beside the labels")
    gaps = frame.select_dtypes(exclude="integer").isna()  # whole numbers have none
    if gaps.to_numpy().any():
        row, place_of_gap = (int(i) for i in np.argwhere(gaps.to_numpy())[0])
        column = int(gaps.columns[place_of_gap])
        if frame.iloc[row].isna().all():
            raise ValueError(f"{where(row, column).rsplit(',', 1)[0]} is empty")
        raise ValueError(f"{where(row, column)} has no value; fill gaps or drop such rows first")
    import pandas

    labels = frame.pop(place).to_numpy()
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    for column in frame.columns:
        if pandas.api.types.is_numeric_dtype(frame[column]):
            continue
        numbers = pandas.to_numeric(frame[column], errors="coerce")
        wrong = np.flatnonzero(numbers.isna())
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(
                f"{where(row, column)} is {frame[column].iloc[row]!r}, which is no number; "
                f"encode text as numbers first"
            )
        frame[column] = numbers
    columns = tuple(name for i, name in enumerate(names) if i != place)
    return Table(_compact(frame.to_numpy()), labels, columns)


def _compact(X: Array) -> Array:
    """Return whole numbers from 0 to 255 as bytes, which they are in tables of images."""
    is_bytes = X.dtype.kind in "iu" and X.min() >= 0 and X.max() <= 255
    return np.ascontiguousarray(X, np.uint8 if is_bytes else None)
