"""Tables with a column of labels: CSV and Parquet files, read by pandas, and data frames.

`Table` is what a whole table gives to a training; `batches` goes through a file in parts, by the
`Layout` that a network has kept from its training.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np

from fastnet.data.columns import Column, Layout, layout_of
from fastnet.data.gaps import Gap, counted, cut
from fastnet.data.spelling import LONGEST_NUMBER, MISSING, TRUTHS, has_codes, is_plain, meant

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]

# What may stand between fields in place of commas.
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# What a column of labels is called where nobody says.
USUAL_LABELS = ("label", "target", "class", "y")
INSTALL = "python -m pip install 'fastnet-nn[data]'"
# Beyond this, a column of text holds names or sentences, and every row would be a category.
MOST_CATEGORIES = 1000
# How pandas' column of row numbers is called, once it was written to a file and read again.
INDEX_NAMES = ("", "Unnamed: 0")
# Of a number that may be a heading.
WHOLE = re.compile(r"0|[1-9]\d{0,17}", re.ASCII)
# What stands for a gap in some files, and is read as text.
MARKS = ("?", "-", "--", ".", "..", "...")
# What to do about a first line that may be one or the other.
WHICH = "say which with header=True or header=False"
POSITION = re.compile(r"\s*[-+]?\d{1,18}\s*", re.ASCII)
# Up to so many columns, a second look at the labels costs less than a Python text of each.
NARROW = 16


class Table(NamedTuple):
    """Features (rows, features), labels (rows,), and what the columns are."""

    X: Array
    y: Array
    layout: Layout


def read_csv(
    path: Path,
    label: str | int | None,
    one_hot: Sequence[str | int] = (),
    header: bool | None = None,
) -> Table:
    """Return the table in a CSV file: commas between, a header or none, one column of labels.

    Parameters
    ----------
    path : Path
    label : str, int or None
        The label column's name, or its position from 0 (negative from the end), which may be a
        text if no column is called so; by default the one column that is called label, target,
        class or y. Labels become numbers only if all of them are, and none is a code such as 007.
    one_hot : sequence of str or int
        Columns of text, by name or position: each text in one becomes a feature of zeros and ones.
    header : bool, optional
        Whether the first line has the columns' names; by default, unless it has numbers only. One
        that may be a row or a header is refused.

    Raises
    ------
    ValueError
        If there is nothing in it, rows differ in length or have gaps, features are no numbers, or
        a column that is named is not there or not the only one of its name. Lines are counted
        from 1.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        sheet = _Sheet(file, path, header)
        place = _label_place(sheet.names, label, path, no_header=sheet.no_header)
        coded = _places(sheet.names, one_hot, path, "one_hot", no_header=sheet.no_header)
        return _table(sheet.frame(coded, place), place, coded, sheet.names, sheet)


def read_parquet(path: Path, label: str | int | None, one_hot: Sequence[str | int] = ()) -> Table:
    """Return the table in a Parquet file; see `read_csv` for the arguments."""
    file = _parquet(path)
    with _damaged_parquet(path):
        frame = file.read().to_pandas()
    return from_frame(frame, label, str(path), one_hot)


def from_frame(
    frame: pd.DataFrame, label: str | int | None, source: str, one_hot: Sequence[str | int] = ()
) -> Table:
    """Return the table in a data frame; see `read_csv` for the arguments."""
    names = [str(name) for name in frame.columns]
    place = _label_place(names, label, source)
    coded = _places(names, one_hot, source, "one_hot")
    return _table(_numbered(frame), place, coded, names, _Frame(source, names))


def from_features(frame: pd.DataFrame, source: str) -> tuple[Array, Layout]:
    """Return the features in a data frame that has no labels, and what its columns are."""
    X = frame_features(frame, Layout(), frame.shape[1], source)
    return X, layout_of(frame)


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
        Whether there must be labels; else their column is left out, whatever is in it.
    text_labels : bool
        Whether labels are texts, also those that look like numbers.
    header : bool, optional
        Of CSV: whether the first line has the columns' names; by default found out.
    """

    layout: Layout
    inputs: int
    label: str | int | None = None
    needs_label: bool = False
    text_labels: bool = False
    header: bool | None = None


class Reading(NamedTuple):
    """How the columns of a file are read.

    Attributes
    ----------
    places : list of int
        Where the features stand, in their order.
    columns : tuple of Column
        What they are.
    label : int or None
        Where the labels stand that are wanted.
    unused : tuple of str
        The names of the columns that are neither features nor labels, wanted or not.
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
    sheet = _Sheet(file, source, wanted.header, wanted.layout)
    reading = _reading(
        sheet.names, wanted, source, named=sheet.has_header, no_header=sheet.no_header
    )
    columns = zip(reading.places, reading.columns, strict=True)
    texts = [place for place, column in columns if column.categories]
    if reading.label is not None and wanted.text_labels:
        texts.append(reading.label)

    def batches() -> Iterator[Batch]:
        for first, frame in sheet.frames(rows, texts):
            if reading.label is not None and not wanted.text_labels:
                with counted(frame, reading.places, texts, reading.label, sheet, is_part=True):
                    _refuse_missing(frame[reading.label], sheet, reading.label, first)
            yield _batch(frame, reading, sheet, first)

    return reading, batches()


def parquet_batches(path: Path, wanted: Wanted, rows: int) -> tuple[Reading, Iterator[Batch]]:
    """Return how a Parquet file is read for a network, and its rows; see `csv_batches`."""
    file = _parquet(path)
    names = [str(name) for name in file.schema_arrow.names]
    reading = _reading(names, wanted, path, named=True)

    def batches() -> Iterator[Batch]:
        first = 0
        parts = file.iter_batches(batch_size=rows)
        while True:
            with _damaged_parquet(path):
                part = next(parts, None)
                # What pandas calls an index is a column here, as in the names.
                frame = None if part is None else part.to_pandas(ignore_metadata=True)
            if frame is None:
                break
            yield _batch(_numbered(frame), reading, _Frame(str(path), names), first)
            first += len(frame)

    return reading, batches()


def frame_features(frame: pd.DataFrame, layout: Layout, inputs: int, name: str) -> Array:
    """Return the features in a data frame, by the layout's names where its columns have names."""
    names = [str(column) for column in frame.columns]
    has_names = not all(isinstance(column, int) for column in frame.columns)
    reading = _reading(names, Wanted(layout, inputs), name, named=has_names)
    return _batch(_numbered(frame), reading, _Frame(name, names), 0).X


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

    def column(self, place: int) -> str:
        return f"{self.source}: column {cut(self.names[place])}"

    def where(self, row: int, place: int) -> str:
        return f"{self.line(row)}, column {cut(self.names[place])}"

    def without_gaps(self, places: Sequence[int], *, in_words: bool) -> str:  # noqa: ARG002
        """Return a line that drops the rows with gaps; pandas takes no texts in frames for such."""
        return "" if in_words else "frame.dropna()"


class _Sheet(_Frame):
    """A CSV file that is read from its beginning.

    Parameters
    ----------
    file : text file
    source : str or Path
        What to call it in messages.
    header : bool, optional
        Whether the first line has the columns' names; by default it is found out.
    layout : Layout
        What a network knows of such files.
    """

    def __init__(
        self,
        file: TextIO,
        source: str | Path,
        header: bool | None = None,
        layout: Layout | None = None,
    ) -> None:
        check_header(header)
        self._pandas = _pandas(source)
        self.is_file = isinstance(source, Path)
        self._seen = _Seen(file)
        try:
            first = next(csv.reader(self._seen), [])
        except UnicodeDecodeError as error:
            raise ValueError(_no_text(source, error)) from None
        except csv.Error as error:
            raise ValueError(f"{source} cannot be read as a table: {error}") from None
        known = _known_header(first, layout or Layout(), source) if header is None else header
        self._is_guessed = known is None
        self.has_header = _guessed_header(first, source) if known is None else known
        # What tells, in messages, that there is no header; empty where there is one.
        self.no_header = ""
        if not self.has_header and self._is_guessed:
            has_gaps = not all(map(_is_number, first))
            self.no_header = f"the first line has numbers {'and gaps ' if has_gaps else ''}only"
        elif not self.has_header:
            self.no_header = "the first line is a row" + (
                ", as in training" if header is None else " (header=False)"
            )
        _check_first_line(first, source, is_row=self._is_guessed and not self.has_header)
        names = (
            [name.strip() for name in first]
            if self.has_header
            else list(map(str, range(len(first))))
        )
        super().__init__(str(source), names)

    def line(self, row: int) -> str:
        """Return where a row begins: texts in quotes may have several lines."""
        number = record = row + (1 if self.has_header else 0)
        with contextlib.suppress(csv.Error, UnicodeDecodeError):
            lines = (line for line, _ in self._seen.records())
            number = next(itertools.islice(lines, record, None), number + 1) - 1
        return f"{self.source}: line {number + 1}"

    def without_gaps(self, places: Sequence[int], *, in_words: bool) -> str:  # noqa: ARG002
        """Return a line that writes a file of the other rows, their texts as they are."""
        if not self.is_file or len({*self.names}) < len(self.names):
            return ""
        columns = [self.names[place] for place in places] if self.has_header else [*places]
        read, write = ("", "") if self.has_header else (", header=None", ", header=False")
        return (
            f"pandas.read_csv({self.source!r}, dtype=str{read}).dropna(subset={columns})"
            f".to_csv('whole.csv', index=False{write})"
        )

    def frame(self, texts: Sequence[int], label: int) -> pd.DataFrame:
        """Return all rows; in the columns ``texts``, numbers are texts, too."""
        # To make a text of every label takes longer than all else in a narrow table: there they
        # are read as what they look like, and how they were written is looked up where it matters.
        by_looks = label not in texts and len(self.names) <= NARROW and self._seen.is_seekable
        frame = self._read([*texts] if by_looks else [*texts, label])
        if not len(frame):
            raise ValueError(self._empty())
        labels = frame[label]
        if frame[len(self.names) - 1].isna().all():
            pass  # rows are too short, which will be refused; pandas does not read them by columns
        elif label not in texts and not (by_looks and self._come_back(labels, label)):
            if by_looks and not isinstance(labels.iloc[0], str):
                labels = self._column(label, str, len(frame))
            with counted(frame, [*range(len(self.names))], texts, label, self):
                frame[label] = _as_meant(labels, self, label, 0)
        self._check_header(frame)
        return frame

    def _read(self, texts: Sequence[int], **more: Any) -> pd.DataFrame:
        with self._errors():
            options = self._options(texts) | more
            frame: pd.DataFrame = self._pandas.read_csv(self._seen.again(), **options)
        return frame

    def _column(self, place: int, dtype: Any, rows: int) -> pd.Series[Any]:
        """Return one column of a file that has been read, in another dtype."""
        self._seen.go_back()
        frame = self._read((), usecols=[place], dtype={place: dtype}, nrows=rows)
        return frame[place]

    def _come_back(self, values: pd.Series[Any], place: int) -> bool:
        """Whether labels were read as numbers that come back as they were given; see `meant`."""
        numbers = np.asarray(values)
        kind = numbers.dtype.kind
        if kind not in "iuf":
            return kind == "b"
        whole = np.ones(len(numbers), bool) if kind != "f" else numbers == np.rint(numbers)
        if not whole.any():
            return True
        # Such as 1.0 alone; and versions of pandas differ in what more than 64 bits are.
        if kind == "f" and (whole.all() or np.abs(numbers).max() >= 2**63):
            return False
        texts = np.asarray(self._column(place, f"S{LONGEST_NUMBER}", len(numbers)))
        texts = texts.astype(f"S{LONGEST_NUMBER}", copy=False)  # before pandas 3 they are objects
        return not has_codes(texts[whole], signs=kind != "f")

    def _check_header(self, frame: pd.DataFrame) -> None:
        """Raise ValueError if the first line is, or may be, one of the rows."""
        if not (self._is_guessed and self.has_header):
            return
        numbers = [place for place, name in enumerate(self.names) if _is_number(name)]
        texts = [place for place, dtype in enumerate(frame.dtypes) if not _is_numeric(dtype)]
        if not numbers and len(texts) < len(self.names):
            return  # there are names above numbers
        # Beside numbers, one text that comes again is enough; else every one must.
        for place in texts:
            row = self._again(frame[place], place)
            if row is not None and (numbers or place == texts[-1]):
                beside = "beside numbers" if numbers else "as all of its fields come again"
                raise ValueError(
                    f"{self.line(row)} has {cut(self.names[place])} in column {place} (counted "
                    f"from 0), and so has the first line, {beside}: it seems to be a row and no "
                    f"header; {WHICH}, or put a line with the columns' names before it"
                )
            if row is None and not numbers:
                return
        if not numbers or _is_counted([self.names[place] for place in numbers]):
            return
        below = [place for place in numbers if place not in texts]
        if below and all(_is_like(float(self.names[place]), frame[place]) for place in below):
            raise _doubtful(
                self.names, self.source, f"and {cut(self.names[below[0]])} is like what is below it"
            )

    def _again(self, values: pd.Series[Any], place: int) -> int | None:
        """Return the first row that has in a column what the first line has there."""
        rows = np.flatnonzero(values.astype(str).str.strip() == self.names[place])
        return int(rows[0]) if len(rows) else None

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
                if not first:
                    self._check_header(frame)
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
            "keep_default_na": False,
            "na_values": [""],
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
            said = f"{self.source}: a row is longer than the first line of {len(self.names)} fields"
            raise ValueError(self._long_row(said)) from None
        except UnicodeDecodeError as error:
            raise ValueError(_no_text(self.source, error)) from None
        except errors.ParserError as error:
            cause = self._seen.error
            if isinstance(cause, UnicodeDecodeError):
                raise ValueError(_no_text(self.source, cause)) from None
            if cause is not None:
                raise cause from None
            reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
            if reason == "out of memory":
                raise MemoryError(f"{self.source} takes more memory than there is") from None
            said = f"{self.source} cannot be read as a table: {reason}"
            is_long = reason.startswith("Expected ") and " fields in line " in reason
            raise ValueError(self._long_row(said) if is_long else said) from None

    def _empty(self) -> str:
        return f"{self.source}: there is a header and no row"

    def _long_row(self, otherwise: str) -> str:
        """Return which row has too many fields, if the file can be read once more."""
        columns = len(self.names)
        with contextlib.suppress(csv.Error, UnicodeDecodeError):
            for number, row in self._seen.records():
                if len(row) > columns:
                    return (
                        f"{self.source}: line {number} has {len(row)} fields, and the first line "
                        f"has {columns}"
                    )
        return otherwise


class _Seen:
    """A text file whose first lines are read twice; also if it cannot be gone back in."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: list[str] = []
        self._text = ""
        # What went wrong while pandas read, Ctrl-C too: it says itself only that something did.
        self.error: BaseException | None = None

    def __iter__(self) -> _Seen:
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        if not line:
            raise StopIteration
        self._lines.append(line)
        return line

    @property
    def is_seekable(self) -> bool:
        return self._file.seekable()

    def go_back(self) -> None:
        """Go to the beginning of a file that is seekable, and was opened there."""
        self._file.seek(0)
        self._lines.clear()

    def again(self) -> _Seen:
        """Begin at the beginning, of what was read line by line."""
        self._text = "".join(self._lines)
        return self

    def read(self, size: int = -1) -> str:
        if not self._text:
            try:
                return self._file.read(size)
            except BaseException as error:
                self.error = error
                raise
        end = len(self._text) if size < 0 else size
        part, self._text = self._text[:end], self._text[end:]
        return part

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield first line and fields of all records, or of none if there is no going back."""
        if self._file.seekable():
            self._file.seek(0)
            number = 1
            for row in (reader := csv.reader(self._file)):
                yield number, row
                number = reader.line_num + 1


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
        from pyarrow import parquet
    except ImportError:
        raise ImportError(
            f"{path}: to read Parquet the package pyarrow is needed: python -m pip install pyarrow"
        ) from None
    with path.open("rb"), _damaged_parquet(path):  # a file that is not there says so itself
        return parquet.ParquetFile(path)


@contextlib.contextmanager
def _damaged_parquet(path: Path) -> Iterator[None]:
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{path} cannot be read as Parquet: {reason}") from None


def _is_numeric(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_gap(text: str) -> bool:
    return not text.strip() or text.strip() in (*MISSING, *MARKS)


def _is_of_numbers(fields: list[str]) -> bool:
    """Whether a line is a row of numbers, some of which may be missing."""
    return all(
        _is_number(field) or not field.strip() or field.strip() in MISSING for field in fields
    ) and any(map(_is_number, fields))


def _guessed_header(fields: list[str], source: str | Path) -> bool:
    """Return whether a first line of which nothing is known is a header.

    Raises
    ------
    ValueError
        If it has numbers beside texts, and is not as headings are.
    """
    numbers = [field.strip() for field in fields if _is_number(field)]
    if _is_of_numbers(fields):
        return False
    if not numbers:
        return True
    # Headings that are numbers are years, or count columns: whole, without a sign, none twice, and
    # no column is called NA beside them. Wavelengths such as 400.5 are refused, too: it is one
    # option more for those who have them, and a row less for all others. `_Sheet._check_header`
    # looks at what is below the rest.
    gap = next((field for field in fields if field.strip() and _is_gap(field)), None)
    if gap is not None:
        raise _doubtful(fields, source, f"and {cut(gap)} is no name")
    odd = next((one for one in numbers if not WHOLE.fullmatch(one)), None)
    if odd is not None:
        raise _doubtful(fields, source, f"and {cut(odd)} is hardly a name")
    twice = next((one for one, count in Counter(numbers).items() if count > 1), None)
    if twice is not None:
        raise _doubtful(fields, source, f"and has {cut(twice)} twice")
    return True


def _doubtful(fields: list[str], source: str | Path, why: str) -> ValueError:
    return ValueError(
        f"{source}: the first line has numbers beside texts, {why}: {_shown(fields)}; it may be a "
        f"row or a header: {WHICH}"
    )


def _is_counted(names: list[str]) -> bool:
    """Whether names count on, as years do and what pandas calls columns without a name.

    Two may do so by chance.
    """
    numbers = [int(name) for name in names]
    return len(numbers) > 2 and numbers == [*range(numbers[0], numbers[0] + len(numbers))]


def _is_like(number: float, values: pd.Series[Any]) -> bool:
    """Whether a number may be one of these, though it is not among them."""
    least, most = float(values.min()), float(values.max())
    # Beside few rows, one more may well be smaller or larger than all of them.
    return 2 * least - most <= number <= 2 * most - least


def check_header(header: Any) -> None:
    """Raise TypeError unless it says whether there is a header, or nothing."""
    if header is not None and not isinstance(header, bool):
        raise TypeError(
            f"header is {header!r}; expected True if the first line of a CSV file has the columns' "
            f"names, False if it is a row, or None to have it found out"
        )


def _known_header(fields: list[str], layout: Layout, source: str | Path) -> bool | None:
    """Return whether a first line is a header, by what a network knows; None if it knows nothing.

    Names may be numbers, and rows may have texts: one or the other would be a row too many or too
    few, and nobody would see it.

    Raises
    ------
    ValueError
        If it may be one or the other.
    """
    if not layout.columns:
        return None
    has_numbers = any(map(_is_number, fields))
    if layout.has_names:
        names = [column.name for column in layout.columns]
        there = {*map(str.strip, fields)}
        missing = [name for name in names if name not in there]
        if missing and has_numbers and any(map(_is_number, names)):
            raise ValueError(
                f"{source}: the first line is {_shown(fields)}; expected the names that columns "
                f"had in training, of which {_shown(missing)} is missing, or a row, which cannot "
                f"be told from names that are numbers: {WHICH}"
            )
        return None if missing else True
    # What has no name was learned from a file without a header: another one has hardly got one,
    # unless no field can be one of a row.
    known = {text for column in layout.columns for text in column.categories}
    if has_numbers or any(_is_gap(field) or field in known for field in fields):
        return False
    if all(column.categories for column in layout.columns):
        raise ValueError(
            f"{source}: the first line is {_shown(fields)}; expected a row with texts that were "
            f"there in training, which had no header, or the columns' names: {WHICH}"
        )
    return None


def _check_first_line(fields: list[str], source: str | Path, *, is_row: bool) -> None:
    """Raise ValueError if the first line of a file is not that of a table.

    ``is_row`` says whether it is taken for a row because it has numbers only.
    """
    if not fields:
        raise ValueError(f"{source}: the file is empty, or its first line is")
    if any("\0" in field for field in fields):
        raise ValueError(
            f"{source}: the first line has null characters; expected a table as text in UTF-8: "
            f"save or convert it so"
        )
    for mark, name in SEPARATORS.items():
        if len(fields) == 1 and mark in fields[0]:
            raise ValueError(f"{source}: fields are separated by {name}; expected commas between")
    if is_row and len(fields) > 2 and fields == list(map(str, range(len(fields)))):
        raise ValueError(
            f"{source}: the first line counts the columns, 0 to {len(fields) - 1}, as pandas names "
            f"columns that have no name; say whether they are names or a row with header=True or "
            f"header=False"
        )


def _no_text(source: str | Path, error: UnicodeDecodeError) -> str:
    wrong = error.object[error.start : error.end].hex(" ")
    return (
        f"{source} is no text in UTF-8 ({error.reason}: {wrong}); convert it, or save it as UTF-8"
    )


# -- which column is which ------------------------------------------------------------------------


def _label_place(
    names: list[str], label: str | int | None, source: str | Path, *, no_header: str = ""
) -> int:
    """Return the position of the label column; ``no_header`` tells why there are no names."""
    if label is not None:
        return _place(names, label, source, "label", no_header=no_header)
    usual = [place for place, name in enumerate(names) if name.lower() in USUAL_LABELS]
    if no_header or len(usual) != 1:
        which = "none" if not usual or no_header else "more than one"
        raise ValueError(
            f"{source}: which column has the labels? Of {', '.join(USUAL_LABELS)} there is "
            f"{which}; say it, as in label='name' or label=0; the columns are {_shown(names)}"
        )
    return usual[0]


def _places(
    names: list[str],
    wanted: Sequence[str | int],
    source: str | Path,
    argument: str,
    *,
    no_header: str = "",
) -> list[int]:
    if isinstance(wanted, str | int):
        raise TypeError(
            f"{argument} is {wanted!r}; expected a list of columns, such as [{wanted!r}]"
        )
    return [_place(names, one, source, argument, no_header=no_header) for one in wanted]


def _place(
    names: list[str], wanted: Any, source: str | Path, argument: str, *, no_header: str = ""
) -> int:
    """Return where a column stands that is named, or else whose position is given."""
    if no_header and isinstance(wanted, str) and not POSITION.fullmatch(wanted):
        raise ValueError(
            f"{source}: {no_header}, so there is no header in which a column is called "
            f"{cut(wanted)}; give its position from 0 in {argument}, or say header=True"
        )
    if isinstance(wanted, str) and wanted not in names and POSITION.fullmatch(wanted):
        wanted = int(wanted)
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        if not -len(names) <= wanted < len(names):
            raise ValueError(
                f"{source}: {argument} is column {wanted}, and there are {len(names)}: "
                f"{_shown(names)}"
                + (f"; {no_header}: if it has the names, say header=True" if no_header else "")
            )
        return wanted % len(names)
    if not isinstance(wanted, str):
        raise TypeError(f"{argument} is {wanted!r}; expected a column's name or its position")
    if names.count(wanted) != 1:
        raise _not_the_only(wanted, names, source)
    return names.index(wanted)


def _not_the_only(wanted: str, names: list[str], source: str | Path) -> ValueError:
    count = names.count(wanted)
    found = "no column is" if not count else f"{count} columns are"
    return ValueError(f"{source}: {found} called {cut(wanted)}; the columns are {_shown(names)}")


def _named_places(names: list[str], wanted: Sequence[Column], source: str | Path) -> list[int]:
    """Return where the columns stand; fast also for very many."""
    counts = Counter(names)
    where = {name: place for place, name in enumerate(names) if counts[name] == 1}
    for column in wanted:
        if column.name not in where:
            raise _not_the_only(column.name, names, source)
    return [where[column.name] for column in wanted]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(cut, names[:8])) + (", ..." if len(names) > 8 else "")


def _reading(
    names: list[str], wanted: Wanted, source: str | Path, *, named: bool, no_header: str = ""
) -> Reading:
    """Return where features and labels stand in a file; ``named`` says whether it has headings."""
    layout = wanted.layout
    label_place = None
    if wanted.label is None and named and layout.label:
        if layout.label in names:
            label_place = _place(names, layout.label, source, "label")
        elif wanted.needs_label:
            raise ValueError(
                f"{source}: no column is called {cut(layout.label)}, as that of the labels was in "
                f"training; say which one has them, as in label='name'; the columns are "
                f"{_shown(names)}"
            )
    elif wanted.label is not None or wanted.needs_label:
        label_place = _label_place(names, wanted.label, source, no_header=no_header)
    columns = layout.columns or (Column(""),) * wanted.inputs
    if named and layout.is_named:
        places = _named_places(names, columns, source)
    else:
        places = [place for place in range(len(names)) if place != label_place]
        if len(places) != len(columns):
            hint = (
                "; if one of them has the labels, say which, as in label='name' or label=0"
                if label_place is None and len(places) == len(columns) + 1
                else ""
            )
            raise ValueError(
                f"{source}: there are {len(places)} column(s) of features, and the network was "
                f"trained on {len(columns)}{hint}"
            )
        if named and layout.has_names:
            _compare_names(names, places, columns, source)
    used = {*places, label_place}
    unused = tuple(name for place, name in enumerate(names) if place not in used)
    return Reading(places, columns, label_place if wanted.needs_label else None, unused)


def _compare_names(
    names: list[str], places: list[int], columns: Sequence[Column], source: str | Path
) -> None:
    """Raise ValueError where columns that are known by position have other headings."""
    for place, column in zip(places, columns, strict=True):
        if names[place] != column.name:
            raise ValueError(
                f"{source}: column {place} (counted from 0) is called {cut(names[place])}, and in "
                f"training {cut(column.name)} stood there; where headings are empty or the same, "
                f"columns are known by position: expected the order of the training"
            )


# -- from frames to numbers -----------------------------------------------------------------------


def _table(
    frame: pd.DataFrame, label: int, coded: list[int], names: list[str], at: _Frame
) -> Table:
    """Return the table in a frame whose columns are numbered."""
    if not len(frame) or len(names) < 2:
        raise ValueError(f"{at.source}: expected rows, and a column beside the labels")
    if label in coded:
        raise ValueError(f"{at.source}: the labels' column {cut(names[label])} is in one_hot, too")
    places = [place for place in range(len(names)) if place != label]
    if label:
        _refuse_index(frame, at)
    with counted(frame, places, coded, label, at):
        _refuse_gaps(frame, [*places, label], at, 0)
        is_nameless = isinstance(at, _Sheet) and not at.has_header
        texts = {place: _categories(frame[place], at, place) for place in coded}
        columns = tuple(
            Column("" if is_nameless else names[place], texts.get(place, ())) for place in places
        )
        X = _features(frame, Reading(places, columns, label, ()), at, 0)
        y = _labels(frame[label], at, label, 0)
        return Table(X, y, Layout(columns, "" if is_nameless else names[label]))


def _categories(values: pd.Series[Any], at: _Frame, place: int) -> tuple[str, ...]:
    found = sorted(values.astype(str).unique())
    if len(found) > MOST_CATEGORIES:
        raise ValueError(
            f"{at.column(place)} has {len(found):,} different texts; expected "
            f"at most {MOST_CATEGORIES:,} to make a feature of each: drop it, or join some"
        )
    return tuple(found)


def _batch(frame: pd.DataFrame, reading: Reading, at: _Frame, first: int) -> Batch:
    """Return features and labels of rows whose columns are numbered; ``first`` is the first row."""
    label = reading.label
    columns = zip(reading.places, reading.columns, strict=True)
    coded = [place for place, column in columns if column.categories]
    with counted(frame, reading.places, coded, label, at, is_part=True):
        _refuse_gaps(
            frame, reading.places if label is None else [*reading.places, label], at, first
        )
        y = None if label is None else _labels(frame[label], at, label, first)
        return Batch(_features(frame, reading, at, first), y)


def _refuse_index(frame: pd.DataFrame, at: _Frame) -> None:
    """Raise ValueError for a first column that came of writing a frame with its row numbers."""
    if at.names[0] not in INDEX_NAMES or not is_plain(frame[0].dtype):
        return
    if np.array_equal(frame[0], np.arange(len(frame))):
        raise ValueError(
            f"{at.source}: the first column, {cut(at.names[0])}, only counts the rows, as pandas "
            f"writes it: write the table with to_csv(..., index=False), or remove the column"
        )


def _refuse_gaps(frame: pd.DataFrame, places: list[int], at: _Frame, first: int) -> None:
    kinds = dict(enumerate(frame.dtypes))
    suspects = [place for place in places if not is_plain(kinds[place])]
    suspects = [place for place in suspects if not _is_finite(frame[place])]
    mask = frame[suspects].isna().to_numpy(dtype=bool)
    if not mask.any():
        return
    row, place = (int(i) for i in np.argwhere(mask)[0])
    if frame.iloc[row].isna().all():
        raise ValueError(f"{at.line(first + row)} is empty")
    raise Gap(f"{at.where(first + row, suspects[place])} has no value")


def _is_finite(values: pd.Series[Any]) -> bool:
    """Whether these are floats, none of them NaN or infinite; a finite sum tells it."""
    if not isinstance(values.dtype, np.dtype) or values.dtype.kind != "f":
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.to_numpy().sum()))


def _features(frame: pd.DataFrame, reading: Reading, at: _Frame, first: int) -> Array:
    """Return (rows, features): whole numbers from 0 to 255 as bytes, as in tables of images."""
    parts = [
        _coded(frame[place], column.categories, at, place, first)
        if column.categories
        else _numbers(frame[place], at, place, first)[np.newaxis]
        for place, column in zip(reading.places, reading.columns, strict=True)
    ]
    dtype = np.dtype(np.uint8) if all(map(_fits_bytes, parts)) else np.result_type(*parts)
    # Column by column, as they lie in the frame: a frame as a whole would be copied twice.
    across = np.empty((sum(map(len, parts)), len(frame)), dtype)
    end = 0
    for part in parts:
        across[end : end + len(part)] = part
        end += len(part)
    return np.ascontiguousarray(across.T)


def _fits_bytes(part: Array) -> bool:
    if part.dtype == np.uint8:
        return True
    return part.dtype.kind in "biu" and bool(part.min() >= 0 and part.max() <= 255)


def _as_meant(values: pd.Series[Any], at: _Frame, place: int, first: int) -> pd.Series[Any]:
    """Return labels that were read as texts as numbers, if all of them can come back as given."""
    if values.isna().any():
        return values  # which will be refused
    _refuse_missing(values, at, place, first)
    numbers = meant(values)
    return values if numbers is None else type(values)(numbers, index=values.index)


def _refuse_missing(values: pd.Series[Any], at: _Frame, place: int, first: int) -> None:
    """Raise ValueError if labels are numbers beside NA or the like, which would make them texts."""
    if is_plain(values.dtype) or values.dtype.kind == "f":
        return
    gaps = values.isin(MISSING)
    if gaps.any() and not gaps.all() and meant(values[~gaps].dropna()) is not None:
        row = int(np.flatnonzero(gaps)[0])
        raise _no_number(at.where(first + row, place), values.iloc[row])


def _labels(values: pd.Series[Any], at: _Frame, place: int, first: int) -> Array:
    """Return labels as numbers or as text, in an array of their own."""
    _refuse_times(values, at, place)
    labels = np.array(values)
    if labels.dtype.kind != "O":
        return _finite(labels, at, place, first)
    kinds = {isinstance(label, str | bytes) for label in labels}
    if len(kinds) > 1:
        raise ValueError(
            f"{at.column(place)} mixes text and numbers; expected labels of "
            f"one kind: convert them, as in frame[{cut(at.names[place])}].astype(str)"
        )
    if True in kinds:
        return labels.astype(str)
    return _numbers(values, at, place, first)


def _numbers(values: pd.Series[Any], at: _Frame, place: int, first: int) -> Array:
    """Return the numbers in a column, also those that are written as text."""
    _refuse_times(values, at, place)
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "biuf":
        numbers = _parsed(values, at, place, first)
    return _finite(numbers, at, place, first)


def _parsed(values: pd.Series[Any], at: _Frame, place: int, first: int) -> Array:
    import pandas

    objects = pandas.Series(np.asarray(values, dtype=object))
    numbers = pandas.to_numeric(objects, errors="coerce")
    wrong = np.flatnonzero(numbers.isna())
    if len(wrong) or numbers.dtype.kind not in "biuf":
        # Beside NA, True and False are texts, too, and what is amiss is NA.
        amiss = (int(row) for row in wrong if str(objects.iloc[row]) not in TRUTHS)
        row = next(amiss, int(wrong[0]) if len(wrong) else 0)
        raise _no_number(at.where(first + row, place), objects.iloc[row])
    parsed: Array = numbers.to_numpy()
    return parsed


def _no_number(where: str, value: object) -> ValueError:
    said = f"{where} is {cut(value)}, which is no number"
    if isinstance(value, str) and value in MISSING:
        return Gap(said)
    return ValueError(f"{said}; make features of its texts with one_hot, or drop the column")


def _refuse_times(values: pd.Series[Any], at: _Frame, place: int) -> None:
    """Raise ValueError for dates and times, whose numbers would depend on their unit."""
    dtype: Any = values.dtype
    if getattr(dtype, "kind", "") in ("M", "m") or str(dtype).startswith("period"):
        raise ValueError(
            f"{at.column(place)} has dates or times ({dtype}); make numbers "
            f"of them, such as days since the first, or drop the column"
        )


def _finite(numbers: Array, at: _Frame, place: int, first: int) -> Array:
    if numbers.dtype.kind == "c":
        raise ValueError(f"{at.column(place)} has complex numbers; expected real ones")
    if numbers.dtype.kind == "f":
        infinite = np.flatnonzero(np.isinf(numbers))
        if len(infinite):
            row = int(infinite[0])
            raise ValueError(
                f"{at.where(first + row, place)} is {numbers[row]}, too large or infinite; replace "
                f"it or drop such rows"
            )
    return numbers


def _coded(
    values: pd.Series[Any], categories: tuple[str, ...], at: _Frame, place: int, first: int
) -> Array:
    """Return (categories, rows): 1 where a row has the text, else 0."""
    texts = values.astype(str).to_numpy(dtype=object)
    known = {text: number for number, text in enumerate(categories)}
    codes = np.fromiter((known.get(text, -1) for text in texts), np.intp, len(texts))
    strange = np.flatnonzero(codes < 0)
    if len(strange):
        row = int(strange[0])
        raise ValueError(
            f"{at.where(first + row, place)} is {cut(texts[row])}, which was not there in "
            f"training; it knows {_shown(categories)}"
        )
    return np.eye(len(categories), dtype=np.uint8)[:, codes]
