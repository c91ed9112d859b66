"""`load_data`: a data set by its name, from files, or from what other libraries hand over."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fastnet import naming
from fastnet.data import images, tabular
from fastnet.data.columns import is_frame
from fastnet.data.dataset import Dataset
from fastnet.data.digits import digits
from fastnet.data.idx import read_idx

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


def load_data(
    source: Any,
    *,
    label: str | int | None = None,
    one_hot: Sequence[str | int] = (),
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
        target, class or y.
    one_hot : sequence of str or int, default ()
        Of tables: columns of text, by name or position. Each text that is in one becomes a feature
        of zeros and ones.
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
    if is_frame(source):
        return _of_table("data frame", tabular.from_frame(source, label, "the data frame", one_hot))
    if label is not None or one_hot:
        check_is_table(source, "label" if label is not None else "one_hot")
    if hasattr(source, "data") and hasattr(source, "target"):
        return _of_pair("bunch", source.data, source.target)
    if isinstance(source, str) and source in KNOWN:
        return KNOWN[source](data_dir)
    if isinstance(source, tuple | list):
        if len(source) != 2:
            raise ValueError(f"data has {len(source)} parts; expected two files, X and y")
        return _of_files(*(Path(part).expanduser() for part in source))
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"data is a {type(source).__name__}; expected a name, a file, two files, a data frame "
            f"or a bunch"
        )
    path = Path(source).expanduser()
    if not path.exists() and isinstance(source, str) and source.count(",") == 1:
        return _of_files(*(Path(part.strip()).expanduser() for part in source.split(",")))
    return _of_file(path, str(source), label, one_hot)


def check_is_table(source: Any, argument: str) -> None:
    """Refuse what would have no effect."""
    path = str(source) if isinstance(source, str | os.PathLike) else ""
    if Path(path).suffix.lower() not in TABLES:
        raise ValueError(
            f"{argument} names columns of tables, and {path or 'data'!r} is none; expected a file "
            f"that ends in {' or '.join(TABLES)}, or a data frame; leave {argument} out"
        )


def _of_file(
    path: Path, said: str, label: str | int | None, one_hot: Sequence[str | int]
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
        return _of_table(path.name, tabular.read_csv(path, label, one_hot))
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


def _of_pair(name: str, X: Any, y: Any) -> Dataset:
    features, targets = np.asarray(X), np.asarray(y)
    if not features.ndim or not targets.ndim or len(features) != len(targets):
        raise ValueError(
            f"{name}: features of shape {features.shape} and targets of shape {targets.shape}; "
            f"expected as many of one as of the other"
        )
    return Dataset(name, _flat(features), targets, None, None)


def _flat(features: Array) -> Array:
    """Return one row per sample: images of several dimensions are laid out flat."""
    return features.reshape(len(features), -1) if features.ndim > 2 else features


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
            return _flat(archive[name])
    return _flat(_array(path, "r"))


def _array(path: Path, memory: Literal["r"] | None = None) -> Array:
    if path.suffix.lower() != ".npy":
        return read_idx(path)
    try:
        array: Array = np.load(path, mmap_mode=memory, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as an array: {_plain(error)}") from None
    return array


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
    return whole._replace(X_test=held.X_train, y_test=held.y_train)


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[Any]:
    """Open an NPZ file; what is wrong with it is said with its name."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            yield archive
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read: {_plain(error)}") from None


def _pair_in(archive: Any, known: tuple[tuple[str, str], ...]) -> tuple[Array, Array] | None:
    for X, y in known:
        if X in archive.files and y in archive.files:
            return archive[X], archive[y]
    return None


def _plain(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "allow_pickle" in text:
        return "it holds Python objects, which are not opened; save numbers or text instead"
    return text
