"""Whether the files of a folder are those of another data set than was named.

Fashion-MNIST has files of the names and sizes of MNIST's. What is trained on the wrong one learns
well, and nobody would see it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# What each part of a set is called; copies may be compressed or not.
FILES = {
    "X_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "X_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
BYTES = 0x08  # in the header of an IDX file: numbers from 0 to 255


class ImageSet(NamedTuple):
    """A set of images.

    Attributes
    ----------
    name : str
    mirrors : tuple of str
        Where copies are.
    hashes : dict of str to str
        Part by part, the SHA-256 of the compressed file that the mirrors have.
    contents : dict of str to str
        The MD5 of what is in it, which is the same in files that somebody has unpacked or packed
        again. Fashion-MNIST's is known in no other form; nobody forges it.
    """

    name: str
    mirrors: tuple[str, ...]
    hashes: dict[str, str]
    contents: dict[str, str]


def sha256(path: Path) -> str:
    """Return the hash of a file as it lies there."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_another(
    named: ImageSet, sets: Sequence[ImageSet], part: str, path: Path, array: Array
) -> None:
    """Raise ValueError if a file is known to be another one; a part of a set may be anybody's.

    Parameters
    ----------
    named : ImageSet
    sets : sequence of ImageSet
        All that are known.
    part : str
        Which of `FILES` it is to be.
    path : Path
    array : array
        What was read from it.
    """
    # Files as they were downloaded are the usual case, and are small beside what is in them: 10 to
    # 20 ms for the four of MNIST (Fashion-MNIST's are three times as large). The MD5 of the content
    # takes 90 ms, and is looked at only for files that somebody has packed otherwise.
    if path.suffix == ".gz" and sha256(path) == named.hashes[part]:
        return
    found = _content(array)
    if found == named.contents[part]:
        return
    for one in sets:
        for other, content in one.contents.items():
            if found == content:
                cure = (
                    "parts of it were exchanged; put each under its own name"
                    if one.name == named.name
                    else f"name {one.name}, or the folder that has {named.name}"
                )
                raise ValueError(
                    f"{path} is {FILES[other]} of {one.name}; expected {FILES[part]} of "
                    f"{named.name}: {cure}"
                )


def _content(array: Array) -> str:
    """Return the MD5 of the IDX file, not compressed, that an array of bytes was read from."""
    if array.dtype != np.uint8:
        return "of no bytes"
    head = struct.pack(f">HBB{array.ndim}I", 0, BYTES, array.ndim, *array.shape)
    digest = hashlib.md5(head, usedforsecurity=False)
    digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return digest.hexdigest()
