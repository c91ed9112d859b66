"""Files in the IDX format of the MNIST images and labels, plain or compressed with gzip.

A file is two bytes of zero, a byte that says the type of the numbers, a byte that says how many
dimensions there are, the size of each as a big-endian 32-bit integer, and then the numbers, big
end first, the last dimension running fastest. LeCun, Cortes, Burges, "The MNIST database of
handwritten digits", 1998.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

# The third byte of a file, and what it says of the numbers.
TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
MOST_DIMENSIONS = 64  # of a NumPy array
GZIP = b"\x1f\x8b"  # what every gzip file begins with
CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Return the array in an IDX file.

    Parameters
    ----------
    path : str or path
        A plain file, or one compressed with gzip, whatever its name ends in.

    Returns
    -------
    array
        In the shape that the file states and in the native dtype of its numbers: uint8, int8,
        int16, int32, float32 or float64; C-contiguous, writeable, its own memory.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If it is no IDX file, is shorter or longer than its header states, or if its compressed
        data is damaged.

    Examples
    --------
    >>> read_idx("train-images-idx3-ubyte.gz").shape
    (60000, 28, 28)
    """
    path = expanded(path)
    with path.open("rb") as raw:
        compressed = raw.read(len(GZIP)) == GZIP
        raw.seek(0)
        if not compressed:
            return _read(raw, path)
        try:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _read(unpacked, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path}: the gzip data is damaged or cut off ({error}); expected a whole file, "
                f"so fetch or copy it again"
            ) from error


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder for ``~``, where there is one."""
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:  # ~somebody who has none
        return path


def _read(file: IO[bytes] | io.BufferedIOBase, path: Path) -> Array:
    dtype, shape = _header(file, path)
    expected = math.prod(shape) * dtype.itemsize
    # Chunk by chunk, so that a header that states too much asks for no more memory than there is
    # data, and one byte further than stated, to see what stands behind.
    content = bytearray()
    while len(content) <= expected:
        chunk = file.read(min(CHUNK, expected + 1 - len(content)))
        if not chunk:
            break
        content += chunk
    stated = f"{expected} bytes of {dtype.newbyteorder('=')} in the shape {shape}"
    if len(content) < expected:
        raise ValueError(
            f"{path}: the file ends after {len(content)} bytes of data; expected {stated}, as its "
            f"header states"
        )
    if len(content) > expected:
        raise ValueError(
            f"{path}: there is more in the file than its header states; expected {stated} and "
            f"nothing behind"
        )
    try:
        array = np.frombuffer(content, dtype).reshape(shape)
    except ValueError as error:  # of no number at all, but with sizes that NumPy does not take
        raise ValueError(
            f"{path}: the header states the shape {shape}, which cannot be ({error})"
        ) from None
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(
    file: IO[bytes] | io.BufferedIOBase, path: Path
) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the type of the numbers, as they stand in the file, and the shape."""
    magic = file.read(4)
    if len(magic) < 4:
        raise ValueError(
            f"{path}: the file has {len(magic)} bytes; expected an IDX file, which begins with "
            f"four bytes for its type and dimensions"
        )
    code, dimensions = magic[2], magic[3]
    if magic[:2] != b"\0\0" or code not in TYPES:
        known = ", ".join(
            f"{code:02x} for {dtype.newbyteorder('=')}" for code, dtype in TYPES.items()
        )
        raise ValueError(
            f"{path}: the file begins with the bytes {magic.hex(' ')}; expected an IDX file: "
            f"00 00, then a byte for the type ({known}), then the number of dimensions"
        )
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise ValueError(
            f"{path}: the header states {dimensions} dimensions; expected 1 to {MOST_DIMENSIONS}"
        )
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise ValueError(
            f"{path}: the file ends within its header; expected the sizes of {dimensions} "
            f"dimensions, {4 * dimensions} bytes, and got {len(sizes)}"
        )
    return TYPES[code], struct.unpack(f">{dimensions}I", sizes)
