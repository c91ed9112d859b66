"""Tables with a column of labels: CSV and Parquet files, read by pandas, and data frames.

`Table` is what a whole table gives to a training; `batches` goes through a file in parts, by the
`Layout` that a network has kept from its training.
"""

from __future__ import annotations

import contextlib
import csv
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np

from fastnet.data.columns import Column, Layout

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]

# What a column of labels is called where nobody says.
USUAL_LABELS = ("label", "target", "class", "y")
INSTALL = "python -m pip install 'fastnet-nn[data]'"
# Beyond this, a column of text holds names or sentences, and every row would be a category.
MOST_CATEGORIES = 1000


class Table(NamedTuple):
    """Features (rows, features), labels (rows,), and what the columns are."""

    X: Array
    y: Array
    layout: Layout


def read_csv(path: Path, label: str | int | None, one_hot: Sequence[str | int] = ()) -> Table:
    """Return the table in a CSV file: commas between, a header or none, one column of labels.

    Parameters
    ----------
    path : Path
    label : str, int or None
        The label column's name, or its position from 0 (negative from the end); by default the
        one column that is called label, target, class or y.
    one_hot : sequence of str or int
        Columns of text, by name or position: each text in one becomes a feature of zeros and ones.

    Raises
    ------
    ValueError
        If there is nothing in it, rows differ in length or have gaps, features are no numbers, or
        a column that is named is not there or not the only one of its name. Lines are counted
        from 1.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        sheet = _Sheet(file, path)
        place = _label_place(sheet.names, label, path, has_header=sheet.has_header)
        coded = _places(sheet.names, one_hot, path, "one_hot")
        return _table(sheet.frame(coded), place, coded, sheet.names, sheet)


def read_parquet(path: Path, label: str | int | None, one_hot: Sequence[str | int] = ()) -> Table:
    """Return the table in a Parquet file; see `read_csv` for the arguments."""
    return from_frame(_parquet(path).read().to_pandas(), label, str(path), one_hot)


def from_frame(
    frame: pd.DataFrame, label: str | int | None, source: str, one_hot: Sequence[str | int] = ()
) -> Table:
    """Return the table in a data frame; see `read_csv` for the arguments."""
    names = [str(name) for name in frame.columns]
    place = _label_place(names, label, source, has_header=True)
    coded = _places(names, one_hot, source, "one_hot")
    return _table(_numbered(frame), place, coded, names, _Frame(source, names))


class Batch(NamedTuple):
    """Some rows of a file: features, and labels where there are any."""

    X: Array
    y: Array | None


class Wanted(NamedTuple):
    """What a network wants of a file.

    Attributes
    ----------
    layout : Layout
        What it knows of its tables.
    inputs : int
        How many features it takes.
    label : str, int or None
        The label column's name or position, where the layout does not say it.
    needs_label : bool
        Whether there must be labels.
    text_labels : bool
        Whether labels are texts, also those that look like numbers.
    """

    layout: Layout
    inputs: int
    label: str | int | None = None
    needs_label: bool = False
    text_labels: bool = False


class Reading(NamedTuple):
    """How the columns of a file are read.

    Attributes
    ----------
    places : list of int
        Where the features stand, in their order.
    columns : tuple of Column
        What they are.
    label : int or None
        Where the labels stand.
    unused : tuple of str
        The names of the columns that are neither.
    """

    places: list[int]
    columns: tuple[Column, ...]
    label: int | None
    unused: tuple[str, ...]


def csv_batches(
    file: TextIO, source: str | Path, wanted: Wanted, rows: int
) -> tuple[Reading, Iterator[Batch]]:
    """Return how a CSV file is read for a network, and its rows, so many at a time.

    Parameters
    ----------
    file : text file
        Open, in UTF-8, without translation of line ends; it need not be seekable.
    source : str or Path
        What to call it in messages.
    wanted : Wanted
    rows : int
        The most rows of a batch.

    Raises
    ------
    ValueError
        If a column is missing, or as `read_csv` does; the iterator raises when it comes there.
    """
    sheet = _Sheet(file, source)
    reading = _reading(sheet.names, wanted, source, named=sheet.has_header)
    columns = zip(reading.places, reading.columns, strict=True)
    texts = [place for place, column in columns if column.categories]
    if reading.label is not None and wanted.text_labels:
        texts.append(reading.label)

    def batches() -> Iterator[Batch]:
        for first, frame in sheet.frames(rows, texts):
            yield _batch(frame, reading, sheet, first)

    return reading, batches()


def parquet_batches(path: Path, wanted: Wanted, rows: int) -> tuple[Reading, Iterator[Batch]]:
    """Return how a Parquet file is read for a network, and its rows; see `csv_batches`."""
    file = _parquet(path)
    names = [str(name) for name in file.schema_arrow.names]
    reading = _reading(names, wanted, path, named=True)

    def batches() -> Iterator[Batch]:
        first = 0
        for part in file.iter_batches(batch_size=rows):
            frame = part.to_pandas()
            yield _batch(_numbered(frame), reading, _Frame(str(path), names), first)
            first += len(frame)

    return reading, batches()


def frame_features(frame: pd.DataFrame, layout: Layout, inputs: int, name: str) -> Array:
    """Return the features in a data frame, by the layout's names where its columns have names."""
    names = [str(column) for column in frame.columns]
    has_names = not all(isinstance(column, int) for column in frame.columns)
    reading = _reading(names, Wanted(layout, inputs), name, named=has_names)
    return _batch(_numbered(frame), reading._replace(label=None), _Frame(name, names), 0).X


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose rows and columns are called by their positions."""
    return frame.set_axis(range(frame.shape[1]), axis=1).reset_index(drop=True)


# -- from a file to frames ------------------------------------------------------------------------


class _Frame:
    """Where values stand in a data frame."""

    def __init__(self, source: str, names: list[str]) -> None:
        self.source, self.names = source, names

    def line(self, row: int) -> str:
        return f"{self.source}: row {row}"

    def where(self, row: int, column: int) -> str:
        return f"{self.line(row)}, column {self.names[column]!r}"


class _Sheet(_Frame):
    """A CSV file that is read from its beginning."""

    def __init__(self, file: TextIO, source: str | Path) -> None:
        self._pandas = _pandas(source)
        self._seen = _Seen(file)
        try:
            first = next(csv.reader(self._seen), [])
        except UnicodeDecodeError as error:
            raise ValueError(f"{source} is no text in UTF-8 ({error.reason}); convert it") from None
        except csv.Error as error:
            raise ValueError(f"{source} cannot be read as a table: {error}") from None
        if not first:
            raise ValueError(f"{source}: the file is empty, or its first line is")
        if len(first) == 1 and ";" in first[0]:
            raise ValueError(
                f"{source}: fields are separated by semicolons; expected commas between"
            )
        self.has_header = not all(map(_is_number, first))
        names = (
            [name.strip() for name in first]
            if self.has_header
            else list(map(str, range(len(first))))
        )
        super().__init__(str(source), names)

    def line(self, row: int) -> str:
        return f"{self.source}: line {row + (2 if self.has_header else 1)}"

    def frame(self, texts: Sequence[int]) -> pd.DataFrame:
        """Return all rows; in the columns ``texts``, numbers are texts, too."""
        with self._errors():
            frame = self._pandas.read_csv(self._seen.again(), **self._options(texts))
        if not len(frame):
            raise ValueError(self._empty())
        return frame

    def frames(self, rows: int, texts: Sequence[int]) -> Iterator[tuple[int, pd.DataFrame]]:
        """Yield the position of the first row and the rows, so many at a time; see `frame`."""
        first = 0
        options = self._options(texts)
        with self._errors():
            reader = self._pandas.read_csv(self._seen.again(), **options, chunksize=rows)
        with reader:
            while True:
                with self._errors():
                    frame = next(reader, None)
                if frame is None or not len(frame):
                    break
                yield first, frame.reset_index(drop=True)
                first += len(frame)
        if not first:
            raise ValueError(self._empty())

    def _options(self, texts: Sequence[int]) -> dict[str, Any]:
        return {
            "header": None,
            "dtype": dict.fromkeys(texts, str),
            "skiprows": 1 if self.has_header else 0,
            "names": range(len(self.names)),
            "index_col": False,
            "skip_blank_lines": False,
            "low_memory": False,
        }

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        errors = self._pandas.errors
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", errors.ParserWarning)  # fields would be cut off
                yield
        except errors.EmptyDataError:
            raise ValueError(self._empty()) from None
        except errors.ParserWarning:
            raise ValueError(self._long_row()) from None
        except (errors.ParserError, UnicodeDecodeError) as error:
            reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
            raise ValueError(f"{self.source} cannot be read as a table: {reason}") from None

    def _empty(self) -> str:
        return f"{self.source}: there is a header and no row"

    def _long_row(self) -> str:
        """Return which row has too many fields, if the file can be read once more."""
        columns = len(self.names)
        for number, row in self._seen.records():
            if len(row) > columns:
                return (
                    f"{self.source}: line {number} has {len(row)} fields, and the first line has "
                    f"{columns}"
                )
        return f"{self.source}: a row is longer than the first line, which has {columns} fields"


class _Seen:
    """A text file whose first lines are read twice; also if it cannot be gone back in."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: list[str] = []
        self._text = ""

    def __iter__(self) -> _Seen:
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        self._lines.append(line)
        return line

    def again(self) -> _Seen:
        """Begin at the beginning."""
        self._text = "".join(self._lines)
        return self

    def read(self, size: int = -1) -> str:
        if not self._text:
            return self._file.read(size)
        end = len(self._text) if size < 0 else size
        part, self._text = self._text[:end], self._text[end:]
        return part

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield line number and fields of all records, or of none if there is no going back."""
        if self._file.seekable():
            self._file.seek(0)
            for row in (reader := csv.reader(self._file)):
                yield reader.line_num, row


def _pandas(source: str | Path) -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError(
            f"{source}: to read tables the package pandas is needed: {INSTALL}"
        ) from None
    return pandas


def _parquet(path: Path) -> Any:
    _pandas(path)
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ImportError(
            f"{path}: to read Parquet the package pyarrow is needed: python -m pip install pyarrow"
        ) from None
    try:
        return parquet.ParquetFile(path)
    except ArrowException as error:
        raise ValueError(f"{path} cannot be read as Parquet: {error}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# -- which column is which ------------------------------------------------------------------------


def _label_place(
    names: list[str], label: str | int | None, source: str | Path, *, has_header: bool
) -> int:
    """Return the position of the label column."""
    if label is not None:
        if not has_header and isinstance(label, str):
            raise ValueError(
                f"{source}: the first line has numbers only, so there is no header in which a "
                f"column is called {label!r}; give the label column's position, as in label=0"
            )
        return _place(names, label, source, "label")
    usual = [place for place, name in enumerate(names) if name.lower() in USUAL_LABELS]
    if not has_header or len(usual) != 1:
        which = "none" if not usual or not has_header else "more than one"
        raise ValueError(
            f"{source}: which column has the labels? Of {', '.join(USUAL_LABELS)} there is "
            f"{which}; say it with label=, by name or by position. The columns are {_shown(names)}"
        )
    return usual[0]


def _places(
    names: list[str], wanted: Sequence[str | int], source: str | Path, argument: str
) -> list[int]:
    if isinstance(wanted, str | int):
        raise TypeError(
            f"{argument} is {wanted!r}; expected a list of columns, such as [{wanted!r}]"
        )
    return [_place(names, one, source, argument) for one in wanted]


def _place(names: list[str], wanted: Any, source: str | Path, argument: str) -> int:
    """Return where a column stands that is named, or whose position is given."""
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        if not -len(names) <= wanted < len(names):
            raise ValueError(
                f"{source}: {argument} is column {wanted}, and there are {len(names)}: "
                f"{_shown(names)}"
            )
        return wanted % len(names)
    if not isinstance(wanted, str):
        raise TypeError(f"{argument} is {wanted!r}; expected a column's name or its position")
    places = [place for place, name in enumerate(names) if name == wanted]
    if len(places) != 1:
        found = "no column is" if not places else f"{len(places)} columns are"
        raise ValueError(f"{source}: {found} called {wanted!r}; the columns are {_shown(names)}")
    return places[0]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")


def _reading(names: list[str], wanted: Wanted, source: str | Path, *, named: bool) -> Reading:
    """Return where features and labels stand in a file; ``named`` says whether it has headings."""
    layout = wanted.layout
    label_place = None
    if wanted.label is None and named and layout.label in names:
        label_place = names.index(layout.label)
    elif wanted.label is not None or wanted.needs_label:
        label_place = _label_place(names, wanted.label, source, has_header=named)
    columns = layout.columns or (Column(""),) * wanted.inputs
    if named and layout.is_named:
        places = [_place(names, column.name, source, "a feature") for column in columns]
    else:
        places = [place for place in range(len(names)) if place != label_place]
        if len(places) != len(columns):
            hint = (
                "; if one of them has the labels, say which with label"
                if label_place is None and len(places) == len(columns) + 1
                else ""
            )
            raise ValueError(
                f"{source}: there are {len(places)} column(s) of features, and the network was "
                f"trained on {len(columns)}{hint}"
            )
    used = {*places, label_place}
    unused = tuple(name for place, name in enumerate(names) if place not in used)
    return Reading(places, columns, label_place, unused)


# -- from frames to numbers -----------------------------------------------------------------------


def _table(
    frame: pd.DataFrame, label: int, coded: list[int], names: list[str], at: _Frame
) -> Table:
    """Return the table in a frame whose columns are numbered."""
    if not len(frame) or len(names) < 2:
        raise ValueError(f"{at.source}: expected rows, and a column beside the labels")
    if label in coded:
        raise ValueError(f"{at.source}: the labels' column {names[label]!r} is in one_hot, too")
    places = [place for place in range(len(names)) if place != label]
    _refuse_gaps(frame, at, 0)
    is_nameless = isinstance(at, _Sheet) and not at.has_header
    columns = tuple(
        Column("" if is_nameless else names[place], _categories(frame[place], at, place))
        if place in coded
        else Column("" if is_nameless else names[place])
        for place in places
    )
    X, y = _batch(frame, Reading(places, columns, label, ()), at, 0)
    assert y is not None
    return Table(X, y, Layout(columns, "" if is_nameless else names[label]))


def _categories(values: pd.Series[Any], at: _Frame, place: int) -> tuple[str, ...]:
    found = sorted(values.astype(str).unique())
    if len(found) > MOST_CATEGORIES:
        raise ValueError(
            f"{at.source}: column {at.names[place]!r} has {len(found):,} different texts; expected "
            f"at most {MOST_CATEGORIES:,} to make a feature of each: drop it, or join some"
        )
    return tuple(found)


def _batch(frame: pd.DataFrame, reading: Reading, at: _Frame, first: int) -> Batch:
    """Return features and labels of rows whose columns are numbered; ``first`` is the first row."""
    places, label = reading.places, reading.label
    used = places if label is None else [*places, label]
    _refuse_gaps(frame[used] if len(used) < frame.shape[1] else frame, at, first)
    y = None if label is None else frame[label].to_numpy()
    if y is not None and y.dtype.kind == "O":
        y = y.astype(str)
    for place, column in zip(places, reading.columns, strict=True):
        if not column.categories:
            _make_numbers(frame, place, at, first)
    if not any(column.categories for column in reading.columns):
        return Batch(_compact(frame[places].to_numpy()), y)
    parts = [
        _coded(frame[place], column.categories, at, place, first)
        if column.categories
        else frame[[place]].to_numpy()
        for place, column in zip(places, reading.columns, strict=True)
    ]
    return Batch(_compact(np.hstack(parts)), y)


def _refuse_gaps(frame: pd.DataFrame, at: _Frame, first: int) -> None:
    gaps = frame.select_dtypes(exclude="integer").isna()  # whole numbers have none
    mask = gaps.to_numpy()
    if not mask.any():
        return
    row, place = (int(i) for i in np.argwhere(mask)[0])
    if frame.iloc[row].isna().all():
        raise ValueError(f"{at.line(first + row)} is empty")
    raise ValueError(
        f"{at.where(first + row, int(gaps.columns[place]))} has no value; fill gaps or drop such "
        f"rows first"
    )


def _make_numbers(frame: pd.DataFrame, place: int, at: _Frame, first: int) -> None:
    """Turn a column of texts into the numbers that they are."""
    import pandas

    if pandas.api.types.is_numeric_dtype(frame[place]):
        return
    numbers = pandas.to_numeric(frame[place], errors="coerce")
    wrong = np.flatnonzero(numbers.isna())
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(
            f"{at.where(first + row, place)} is {frame[place].iloc[row]!r}, which is no number; "
            f"make features of its texts with one_hot, or drop the column"
        )
    frame[place] = numbers


def _coded(
    values: pd.Series[Any], categories: tuple[str, ...], at: _Frame, place: int, first: int
) -> Array:
    """Return (rows, categories): 1 where a row has the text, else 0."""
    texts = values.astype(str).to_numpy(dtype=object)
    known = {text: number for number, text in enumerate(categories)}
    codes = np.fromiter((known.get(text, -1) for text in texts), np.intp, len(texts))
    strange = np.flatnonzero(codes < 0)
    if len(strange):
        row = int(strange[0])
        raise ValueError(
            f"{at.where(first + row, place)} is {texts[row]!r}, which was not there in training; "
            f"it knows {_shown(categories)}"
        )
    return np.eye(len(categories), dtype=np.uint8)[codes]


def _compact(X: Array) -> Array:
    """Return whole numbers from 0 to 255 as bytes, which they are in tables of images."""
    is_bytes = X.dtype.kind in "biu" and X.min() >= 0 and X.max() <= 255
    return np.ascontiguousarray(X, np.uint8 if is_bytes else None)
