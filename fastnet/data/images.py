"""MNIST and Fashion-MNIST: four IDX files each, from a folder, or downloaded once.

LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998; Xiao, Rasul, Vollgraf,
"Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms", 2017.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastnet import atomic
from fastnet.data import published
from fastnet.data.dataset import Dataset
from fastnet.data.idx import expanded, read_idx
from fastnet.data.published import FILES, ImageSet, sha256
from fastnet.folders import base_folder

DATA_VARIABLE = "FASTNET_DATA_DIR"

CLASSES = 10  # of both sets
CHUNK = 1 << 16  # bytes of a download that are written at once

MNIST = ImageSet(
    "mnist",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    {
        "X_train": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "y_train": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "X_test": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "y_test": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    {
        "X_train": "6bbc9ace898e44ae57da46a324031adb",
        "y_train": "a25bea736e30d166cdddb491f175f624",
        "X_test": "2646ac647ad5339dbf082846283269ea",
        "y_test": "27ae3e4e09519cfbb04c329615203637",
    },
)
FASHION_MNIST = ImageSet(
    "fashion_mnist",
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    {
        "X_train": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "y_train": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "X_test": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "y_test": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    {
        "X_train": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "y_train": "9018921c3c673c538a1fc5bad174d6f9",
        "X_test": "8181f5470baa50b63fa0f6fddb340f0a",
        "y_test": "15d484375f8d13e6eb1aabb0c3f46965",
    },
)
SETS = (MNIST, FASHION_MNIST)


def load(images: ImageSet, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Return a set of images as bytes, one row per image.

    Parameters
    ----------
    images : ImageSet
    data_dir : path, optional
        A folder with the four files, or with a folder of the set's name that has them; by default
        what FASTNET_DATA_DIR names. Without either, the files are downloaded once, with pooch.

    Raises
    ------
    FileNotFoundError
        If a folder is named and lacks a file.
    OSError, ImportError
        If the files have to be downloaded and cannot be: the message says what to put where.
    TypeError
        If ``data_dir`` is no path.
    ValueError
        If a file of a folder is damaged or belongs to another set, if images and labels do not
        belong together, or labels are not 0 to 9.
    """
    named, by = _named_folder(data_dir)
    if named is None:
        parts = {part: read_idx(_downloaded(images, part)) for part in FILES}
    else:
        paths = _paths(images, named, by)
        parts = {part: read_idx(path) for part, path in paths.items()}
        for part, path in paths.items():
            published.refuse_another(images, SETS, part, path, parts[part])
        for stage in ("train", "test"):
            _check_pair(images, parts[f"X_{stage}"], parts[f"y_{stage}"], paths[f"y_{stage}"])
        if parts["X_train"].shape[1:] != parts["X_test"].shape[1:]:
            raise ValueError(
                f"{images.name}: images of shape {parts['X_train'].shape} to train on and of "
                f"{parts['X_test'].shape} to test on; expected one size of images"
            )
    return Dataset(
        images.name,
        _flat(parts["X_train"]),
        parts["y_train"].astype(np.int64),
        _flat(parts["X_test"]),
        parts["y_test"].astype(np.int64),
        input_scale=1 / 255,
    )


def _check_pair(images: ImageSet, pictures: Any, labels: Any, path: Path) -> None:
    """Raise ValueError unless there is a class for every image."""
    if pictures.ndim < 2 or labels.ndim != 1 or len(pictures) != len(labels):
        raise ValueError(
            f"{images.name}: images of shape {pictures.shape} and labels of shape "
            f"{labels.shape}; expected one label for each image"
        )
    if not pictures.size:
        raise ValueError(f"{images.name}: images of shape {pictures.shape}; expected some")
    if pictures.dtype != np.uint8 or labels.dtype != np.uint8:
        raise ValueError(
            f"{images.name}: images of {pictures.dtype} and labels of {labels.dtype}; expected "
            f"bytes, uint8, for both"
        )
    outside = np.flatnonzero(labels >= CLASSES)
    if len(outside):
        raise ValueError(
            f"{path}: {len(outside)} label(s) outside 0 to {CLASSES - 1}, the first "
            f"({labels[outside[0]]}) at row {outside[0]} (counted from 0); expected the labels of "
            f"{images.name}"
        )


def _flat(pictures: Any) -> Any:
    return pictures.reshape(len(pictures), -1)


def _named_folder(data_dir: str | os.PathLike[str] | None) -> tuple[Path | None, str]:
    """Return the folder that is named, and by what."""
    named, by = data_dir, "data_dir"
    if named is None:
        named, by = os.environ.get(DATA_VARIABLE, "").strip() or None, DATA_VARIABLE
    if named is not None and not isinstance(named, str | os.PathLike):
        raise TypeError(f"data_dir is {named!r} ({type(named).__name__}); expected a folder's path")
    return None if named is None else expanded(named), by


def _paths(images: ImageSet, folder: Path, by: str) -> dict[str, Path]:
    for place in (folder / images.name, folder):
        found = {part: _in(place, name) for part, name in FILES.items()}
        if any(found.values()):
            break
    missing = [name for part, name in FILES.items() if found[part] is None]
    if missing:
        raise FileNotFoundError(
            f"{images.name} is not in {place} ({by}): {', '.join(missing)} missing. Put the four "
            f"IDX files there, plain or as .gz, or into {folder / images.name}; or name no folder, "
            f"and they are downloaded"
        )
    return {part: path for part, path in found.items() if path is not None}


def _in(folder: Path, name: str) -> Path | None:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


# -- downloading ----------------------------------------------------------------------------------


def _downloaded(images: ImageSet, part: str) -> Path:
    """Return a file of the user's cache, which is fetched from the first mirror that has it.

    What lies in the cache is checked each time: a damaged file is fetched again.
    """
    path = base_folder() / "data" / images.name / f"{FILES[part]}.gz"
    try:
        was_there = path.is_file()
        if was_there and sha256(path) == images.hashes[part]:
            return path
    except OSError as error:
        raise _unusable(error, images) from error
    by_hand = (
        f"Download {', '.join(f'{one}.gz' for one in FILES.values())} elsewhere, for example from "
        f"{images.mirrors[0]}, put them into a folder, and name it with data_dir or {DATA_VARIABLE}"
    )
    try:
        import pooch
    except ImportError:
        raise ImportError(
            f"{images.name} has to be downloaded, for which the package pooch is not installed: "
            f"python -m pip install 'fastnet-nn[data]'. {by_hand}."
        ) from None
    _make_folder(images, path.parent)
    failures = [f"{path} was there and is damaged"] if was_there else []
    for mirror in images.mirrors:
        try:
            with _progress(f"{images.name}: {path.name}") as bar:
                fetch = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK)
                _fetch(fetch, mirror + path.name, path, images.hashes[part])
        except (OSError, ValueError) as error:  # no network, refused, or a wrong hash
            if isinstance(error, OSError) and error.filename is not None:  # the disk
                raise _unusable(error, images) from error
            failures.append(f"{mirror}: {_short(error)}")
        else:
            return path
    raise OSError(f"{images.name} could not be downloaded: {'; '.join(failures)}. {by_hand}.")


def _fetch(fetch: Callable[..., Any], address: str, path: Path, expected: str) -> None:
    """Download a file, which appears whole and with the right hash, or not at all."""
    with atomic.replacing(path) as file:
        fetch(address, file, None)
        file.flush()
        found = sha256(Path(file.name))
        if found != expected:
            raise ValueError(
                f"what came has the wrong hash, SHA-256 {found}, expected {expected}; it is not "
                f"kept"
            )


def _make_folder(images: ImageSet, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(error, images) from error


def _unusable(error: OSError, images: ImageSet) -> OSError:
    """Return an error, of the same class, for a cache that cannot be read or written."""
    advice = (
        f"{images.name} is kept in fastnet's cache folder: make room or allow writing there, name "
        f"another folder with FASTNET_CACHE_DIR, or one that has the files with {DATA_VARIABLE}"
    )
    return OSError(error.errno, f"{error.strerror}. {advice}", error.filename)


def _short(error: Exception) -> str:
    """Return the first line of an error, which for those of the network is the last cause."""
    reason: BaseException = error
    while reason.__context__ is not None:
        reason = reason.__context__
    return str(reason).strip().split("\n")[0][:200] or type(reason).__name__


@contextlib.contextmanager
def _progress(title: str) -> Iterator[Any]:
    """Yield a bar on stderr for pooch to move on, or False where nobody watches."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield False
        return
    bar = _Bar(title)
    try:
        yield bar
    finally:
        bar.close()


class _Bar:
    """What pooch asks of a progress bar."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(title, total=None)
        self._progress.start()

    @property
    def total(self) -> float | None:
        """Bytes of the whole file."""
        return self._progress.tasks[0].total

    @total.setter
    def total(self, size: float) -> None:
        self._progress.update(self._task, total=size)

    def update(self, size: int) -> None:
        """So many bytes more are there."""
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        """Begin again; pooch does so before it moves to the end."""
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._progress.stop()
