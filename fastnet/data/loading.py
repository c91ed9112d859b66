"""`load_data`: a data set by its name, from files, or from what other libraries hand over."""

from __future__ import annotations

import contextlib
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fastnet import naming
from fastnet.data import arrays, images, tabular
from fastnet.data.columns import is_frame
from fastnet.data.dataset import Dataset
from fastnet.data.digits import digits
from fastnet.data.idx import expanded, read_idx

Array = np.ndarray[Any, np.dtype[Any]]
DataDir = str | os.PathLike[str] | None

KNOWN: dict[str, Callable[[DataDir], Dataset]] = {
    "digits": lambda data_dir: digits(),  # noqa: ARG005 - they come with the package
    "mnist": lambda data_dir: images.load(images.MNIST, data_dir),
    "fashion_mnist": lambda data_dir: images.load(images.FASHION_MNIST, data_dir),
}

# How the names of tables end: comma-separated, Parquet.
TABLES = (".csv", ".parquet", ".pq")

# Under which names an archive may hold its arrays: the rows to train on, and those to test on.
TRAINING_KEYS = (
    *(("X_train", "y_train"), ("x_train", "y_train"), ("X", "y"), ("x", "y")),
    *(("images", "labels"), ("data", "target")),
)
TEST_KEYS = (("X_test", "y_test"), ("x_test", "y_test"))

# What reads the header of an NPY file, by its version; the next is for columns that have names
# in other letters than those of Latin-1.
HEADERS: dict[Any, Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# What NumPy and zipfile raise for damaged files; RuntimeError is for those with a password.
DAMAGED = (
    *(ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error),
    *(KeyError, OverflowError, RuntimeError, SyntaxError, tokenize.TokenError),
)


def load_data(
    source: Any,
    *,
    label: str | int | None = None,
    one_hot: Sequence[str | int] = (),
    header: bool | None = None,
    data_dir: DataDir = None,
) -> Dataset:
    """Return a data set.

    Parameters
    ----------
    source : str, path, pair of paths, data frame or bunch
        A name: ``digits``, ``mnist``, ``fashion_mnist``. A file: ``.csv``, ``.parquet``, ``.npz``.
        Two files, features and targets: ``.npy`` or IDX, plain or as ``.gz``; in one string with a
        comma between. A pandas frame. What ``sklearn.datasets.load_*`` returns.
    label : str or int, optional
        Of tables: the label column's name or position; by default the one that is called label,
        target, class or y. In CSV, labels are numbers only if all of them are, and none is a code
        such as 007, which would come back as 7.
    one_hot : sequence of str or int, default ()
        Of tables: columns of text, by name or position. Each text that is in one, also NA or None,
        becomes a feature of zeros and ones.
    header : bool, optional
        Of CSV: True if the first line has the columns' names, False if it is a row; by default it
        is a row if it has numbers only.
    data_dir : path, optional
        Where the files of ``mnist`` and ``fashion_mnist`` are; by default what the environment
        variable FASTNET_DATA_DIR names. Without either they are downloaded once.

    Returns
    -------
    Dataset
        ``X_train`` and ``y_train``, and ``X_test`` and ``y_test`` where the source has rows of its
        own to test on. Bytes stay bytes.

    Raises
    ------
    FileNotFoundError, OSError
        If a file is not there or cannot be read.
    ImportError
        If a package is needed that is not installed.
    TypeError, ValueError
        If the source is none of these, or is damaged; the message says where.

    Examples
    --------
    >>> data = fastnet.load_data("mnist")
    >>> run = fastnet.train("train.csv")
    """
    if header is not None:
        tabular.check_header(header)
        check_is_csv(source)
    if is_frame(source):
        return _of_table("data frame", tabular.from_frame(source, label, "the data frame", one_hot))
    if label is not None or one_hot:
        check_is_table(source, "label" if label is not None else "one_hot")
    if hasattr(source, "data") and hasattr(source, "target"):
        return _of_bunch(source)
    if isinstance(source, str) and source in KNOWN:
        return KNOWN[source](data_dir)
    if isinstance(source, tuple | list):
        if len(source) != 2:
            raise ValueError(f"data has {len(source)} parts; expected two files, X and y")
        for part in source:
            if not isinstance(part, str | os.PathLike):
                raise TypeError(
                    f"data has a {type(part).__name__} in it; expected two files, X and y, or "
                    f"your own arrays: train(X, y)"
                )
        return _of_files(*map(expanded, source))
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"data is a {type(source).__name__}; expected a name, a file, two files, a data frame "
            f"or a bunch"
        )
    path = expanded(source)
    if not path.exists() and isinstance(source, str) and source.count(",") == 1:
        return _of_files(*(expanded(part.strip()) for part in source.split(",")))
    return _of_file(path, str(source), label, one_hot, header)


def check_is_table(source: Any, argument: str) -> None:
    """Refuse what would have no effect."""
    path = str(source) if isinstance(source, str | os.PathLike) else ""
    if Path(path).suffix.lower() not in TABLES:
        raise ValueError(
            f"{argument} names columns of tables, and {path or 'data'!r} is none; expected a file "
            f"that ends in {' or '.join(TABLES)}, or a data frame; leave {argument} out"
        )


def check_is_csv(source: Any) -> None:
    """Refuse a header where there is no first line."""
    path = str(source) if isinstance(source, str | os.PathLike) else ""
    if Path(path).suffix.lower() != ".csv":
        raise ValueError(
            f"header is about the first line of CSV files, and {path or 'data'!r} is none; leave "
            f"header out"
        )


def _of_file(
    path: Path,
    said: str,
    label: str | int | None,
    one_hot: Sequence[str | int],
    header: bool | None,
) -> Dataset:
    kind = path.suffix.lower()
    if not path.exists():
        if kind or os.sep in said:
            raise FileNotFoundError(f"data is {said!r}, and there is no such file")
        names = sorted(KNOWN)
        raise ValueError(
            f"data is {said!r}, which is no data set{naming.suggestion(said, names)} "
            f"Expected {', '.join(map(repr, names))}, a file, or your own arrays: train(X, y)"
        )
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file in it")
    if kind == ".csv":
        return _of_table(path.name, tabular.read_csv(path, label, one_hot, header))
    if kind in TABLES[1:]:
        return _of_table(path.name, tabular.read_parquet(path, label, one_hot))
    if kind == ".npz":
        return _of_archive(path)
    raise ValueError(
        f"{path}: files ending in {kind or 'nothing'} are not known; expected .csv, .parquet or "
        f".npz, or two files of .npy or IDX: features, targets"
    )


def _of_table(name: str, table: tabular.Table) -> Dataset:
    return Dataset(name, table.X, table.y, None, None, layout=table.layout)


def _of_bunch(bunch: Any) -> Dataset:
    """Return what scikit-learn hands over: arrays, or a data frame and a series."""
    y = _as_array(bunch.target, "bunch.target")
    if not is_frame(bunch.data):
        return _of_pair("bunch", _as_array(bunch.data, "bunch.data"), y)
    X, layout = tabular.from_features(bunch.data, "bunch.data")
    return _of_pair("bunch", X, y)._replace(layout=layout)


def _of_pair(name: str, X: Array, y: Array) -> Dataset:
    if not X.ndim or not y.ndim or len(X) != len(y):
        raise ValueError(
            f"{name}: features of shape {X.shape} and targets of shape {y.shape}; expected as "
            f"many of one as of the other"
        )
    if not X.size:
        raise ValueError(
            f"{name}: features of shape {X.shape}; expected at least one row and one feature"
        )
    if X.dtype.kind not in "biuf":
        raise TypeError(
            f"{name}: features have dtype {X.dtype}; expected real numbers: encode text as "
            f"numbers, and leave out what is none"
        )
    return Dataset(name, _flat(X), y, None, None)


def _as_array(values: Any, name: str) -> Array:
    arrays.refuse_sparse_and_masked(values, name)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} cannot become an array ({error}); expected rows of equal length"
        ) from None


def _flat(features: Array) -> Array:
    """Return one row per sample: images of several dimensions are laid out flat."""
    if features.ndim <= 2:
        return features
    return features.reshape(len(features), math.prod(features.shape[1:]))


def _of_files(first: Path, second: Path) -> Dataset:
    for path in (first, second):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file; expected features, then targets")
    X, y = _array(first), _array(second)
    return _of_pair(f"{first.name}, {second.name}", X, y)


def features_in(path: Path) -> Array:
    """Return the features in an NPY, NPZ or IDX file, targets or not; NPY stays on the disk."""
    if not path.is_file():
        raise FileNotFoundError(f"data is {str(path)!r}, and there is no such file")
    if path.suffix.lower() == ".npz":
        with _archive(path) as archive:
            names = [*dict(TEST_KEYS), *dict(TRAINING_KEYS)]
            name = next((name for name in names if name in archive.files), None)
            if name is None:
                raise ValueError(
                    f"it has {', '.join(archive.files) or 'nothing'}; expected one of "
                    f"{', '.join(names)}"
                )
            return _flat(_member(archive, name))
    return _flat(_array(path, "r"))


def _array(path: Path, memory: Literal["r"] | None = None) -> Array:
    if path.suffix.lower() != ".npy":
        return read_idx(path)
    try:
        with path.open("rb") as file:
            _check_size(file, path.stat().st_size)
        array: Array = np.load(path, mmap_mode=memory, allow_pickle=False)
    except MemoryError as error:
        raise _too_large(path, error) from None
    except DAMAGED as error:
        raise ValueError(f"{path} cannot be read as an array: {_plain(error)}") from None
    return array


def _check_size(file: Any, size: int) -> None:
    """Raise ValueError unless an NPY file of ``size`` bytes has what its header states.

    NumPy makes room for the array before it reads: a few bytes could ask for any amount.
    """
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"it is of version {version} of the format; expected (1, 0) or (2, 0)")
    shape, _, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError(
            "it holds Python objects, which are not opened; save numbers or text instead"
        )
    if dtype.names is not None:
        raise ValueError(f"its columns have names, {dtype.names}; expected numbers or text alone")
    begins = file.tell()
    stated = math.prod(shape) * dtype.itemsize
    if size - begins != stated:
        raise ValueError(
            f"it has {size - begins} bytes of data; expected {stated} bytes of {dtype} in the "
            f"shape {shape}, as its header states"
        )


def _of_archive(path: Path) -> Dataset:
    with _archive(path) as archive:
        train = _pair_in(archive, TRAINING_KEYS)
        if train is None:
            raise ValueError(
                f"it has {', '.join(archive.files) or 'nothing'}; expected X and y, or "
                f"X_train, y_train, X_test and y_test"
            )
        test = _pair_in(archive, TEST_KEYS)
    whole = _of_pair(path.name, *train)
    if test is None:
        return whole
    held = _of_pair(f"{path.name}, test", *test)
    _check_test(whole, held)
    return whole._replace(X_test=held.X_train, y_test=held.y_train)


def _check_test(train: Dataset, test: Dataset) -> None:
    """Raise before the training what would else come up after it, when rows are tested."""
    X, y = test.X_train, test.y_train
    if X.shape[1:] != train.X_train.shape[1:] or y.shape[1:] != train.y_train.shape[1:]:
        raise ValueError(
            f"{test.name}: features of shape {X.shape} and targets of shape {y.shape}; expected "
            f"columns as in those to train on, {train.X_train.shape} and {train.y_train.shape}"
        )
    arrays.require_finite(X, f"{test.name}: X")
    if y.ndim > 1 or {y.dtype.kind, train.y_train.dtype.kind} & {"f", "O"}:
        return
    strange = np.setdiff1d(y, train.y_train)
    if len(strange):
        raise ValueError(
            f"{test.name}: y has {strange[0].item()!r}, which is no class of the rows to train on; "
            f"expected the same classes in both"
        )


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[Any]:
    """Open an NPZ file; what is wrong with it is said with its name."""
    with path.open("rb") as file:
        try:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no archive of arrays; expected what numpy.savez writes")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                yield archive
        except MemoryError as error:
            raise _too_large(path, error) from None
        except (*DAMAGED, OSError) as error:
            raise ValueError(f"{path} cannot be read: {_plain(error)}") from None


def _pair_in(archive: Any, known: tuple[tuple[str, str], ...]) -> tuple[Array, Array] | None:
    for X, y in known:
        if X in archive.files and y in archive.files:
            return _member(archive, X), _member(archive, y)
    return None


def _member(archive: Any, name: str) -> Array:
    """Return an array of an archive whose sizes were compared first."""
    entries = archive.zip.namelist()
    entry = archive.zip.getinfo(f"{name}.npy" if f"{name}.npy" in entries else name)
    try:
        with archive.zip.open(entry) as file:
            _check_size(file, entry.file_size)
        array: Array = archive[name]
    except DAMAGED as error:
        raise ValueError(f"{name}: {_plain(error)}") from None
    return array


def _too_large(path: Path, error: MemoryError) -> MemoryError:
    return MemoryError(f"{path} takes more than there is ({error})")


def _plain(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, SyntaxError | tokenize.TokenError):
        return f"its header is damaged ({text})"
    return text.split("\n")[0]
