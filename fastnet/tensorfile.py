"""Named arrays and texts in one file, in the safetensors format.

A file is the length of the header as a little-endian 64-bit integer, the header, and the numbers,
little end first, the last dimension running fastest, one array behind the other without gaps. The
header is JSON: for every array its type, shape, and where its numbers begin and end behind the
header; and, under ``__metadata__``, texts. https://huggingface.co/docs/safetensors

A file may come from anyone. The header is checked here before anything is believed, then the
library reads the numbers: code of the file's is never run, and what a header states takes no memory
that the file does not have.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
import stat
import struct
import sys
from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from fastnet import atomic
from fastnet.errors import ModelFileError

Array = np.ndarray[Any, np.dtype[Any]]

# The types of arrays: what the header calls them, and their numbers in the file.
TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
METADATA = "__metadata__"
KEYS = ("dtype", "shape", "data_offsets")
LENGTH = struct.Struct("<Q")
# Together they keep the memory that a header can take below 100 MB: a character takes up to four
# bytes, twice, and a value some hundred.
LONGEST_HEADER = 4 << 20  # bytes
MOST_VALUES = 100_000  # strings, commas, both ends of objects and lists: 6000 matrices
DEEPEST = 3  # the header, an array's entry, its shape
MOST_DIMENSIONS = 64  # of a NumPy array
MOST_DIGITS = 20  # of a 64-bit integer, its sign included
LONGEST_REAL = 40  # characters; 24 are enough for any float64
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Entry(NamedTuple):
    """What the header says of one array."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


class Limits(NamedTuple):
    """What JSON may be at most, so that it takes neither much memory nor a deep stack to read.

    Attributes
    ----------
    length : int
        Bytes of the text in UTF-8.
    values : int
        Strings, commas, both ends of objects and lists.
    depth : int
        Objects and lists within one another.
    contents : str
        What there is to be less of, for messages.
    """

    length: int
    values: int
    depth: int
    contents: str


HEADER_LIMITS = Limits(LONGEST_HEADER, MOST_VALUES, DEEPEST, "arrays or texts")


# -- writing --------------------------------------------------------------------------------------


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays and texts into a file, which appears whole or not at all.

    The same arrays and texts give the same bytes, in whatever order they come and lie in memory.

    Parameters
    ----------
    path : str or path
        The file; one that is there is replaced.
    tensors : mapping from str to array
        float32 or float64, of any shape, those of no dimension and of no numbers included.
    metadata : mapping from str to str, optional
        Texts.

    Raises
    ------
    TypeError
        If a name or text is no string, or an array none of float32 or float64.
    ValueError
        If a name or text is no valid Unicode, or is used otherwise by the format; as
        ModelFileError, if `read` would refuse the file because there are too many arrays or too
        much text.
    OSError
        If the file cannot be written; see `fastnet.atomic.replacing`.

    Examples
    --------
    >>> tensorfile.write("model.safetensors", {"W": np.ones((2, 3))}, {"made by": "me"})
    """
    codes = {name: _type_of(name, array) for name, array in tensors.items()}
    # The widest numbers first, so that all begin at multiples of their size.
    names = sorted(tensors, key=lambda name: (-TYPES[codes[name]].itemsize, name))
    content: dict[str, Any] = {}
    if metadata:
        content[METADATA] = {key: metadata[key] for key in sorted(_checked_texts(metadata))}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].nbytes
        shape = list(tensors[name].shape)
        content[name] = dict(zip(KEYS, (codes[name], shape, [begin, end]), strict=True))
    header = _encoded(content)
    _parse(header, end, path)  # what cannot be read is not written
    with atomic.replacing(path) as file:
        file.write(LENGTH.pack(len(header)) + header)
        for name in names:
            # One by one, so that no more than one array is there twice.
            numbers = np.asarray(tensors[name], TYPES[codes[name]], order="C")
            file.write(numbers.reshape(-1).view(np.uint8).data)


def _type_of(name: str, array: Array) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of an array is {name!r}; expected a string")
    if name == METADATA:
        raise ValueError(f"an array has the name {name!r}, which the format uses; choose another")
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name!r} is of type {type(array).__name__}; expected a NumPy array")
    for code, dtype in TYPES.items():
        if array.dtype.newbyteorder("<") == dtype:
            return code
    raise TypeError(f"{name!r} is an array of {array.dtype}; expected float32 or float64")


def _checked_texts(metadata: Mapping[str, str]) -> Mapping[str, str]:
    for key, text in metadata.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(
                f"metadata has {reprlib.repr(text)} under {reprlib.repr(key)}; expected strings"
            )
    return metadata


def _encoded(content: dict[str, Any]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    try:
        header = text.encode()
    except UnicodeEncodeError as error:
        around = text[max(error.start - 10, 0) : error.end + 10]
        raise ValueError(
            f"a name or text has half a character, in {around!r}; expected valid Unicode"
        ) from error
    return header + b" " * (-len(header) % LENGTH.size)  # the numbers begin aligned


# -- reading --------------------------------------------------------------------------------------


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays and the texts in a file.

    While it reads, the file is in memory twice. Whether numbers are finite is not looked at.

    Parameters
    ----------
    path : str or path
        A file in the safetensors format, whoever wrote it.

    Returns
    -------
    tensors : dict from str to array
        float32 or float64, in the order of the header; C-contiguous, writeable, their own memory.
    metadata : dict from str to str
        Texts; empty, if there are none.

    Raises
    ------
    ModelFileError
        If it is no such file, is cut off or longer than its header states, is damaged, has types
        other than float32 and float64, or a header of more than 4 MiB or 100 000 values.
    OSError
        If the file cannot be opened.
    ImportError
        If the safetensors library is not installed.

    Examples
    --------
    >>> tensors, metadata = tensorfile.read("model.safetensors")
    """
    path = Path(path)
    with open(path, "rb", opener=_without_waiting) as file:
        size = _size(file, path)
        header = _header(file, size, path)
        entries, metadata = _parse(header, size - LENGTH.size - len(header), path)
        file.seek(0)
        content = file.read(size)
    # Someone may write to the file meanwhile, and then nothing that was checked holds.
    if len(content) != size or content[LENGTH.size : LENGTH.size + len(header)] != header:
        raise ModelFileError(f"{path}: the file changed while it was read; read it again")
    return _arrays(content, entries, path), metadata


def read_texts(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the texts in a file, whatever is said of arrays, none of which is read.

    Parameters
    ----------
    path : str or path
        A file in the safetensors format, whoever wrote it.

    Returns
    -------
    dict from str to str
        Empty, if there are none.

    Raises
    ------
    ModelFileError
        As by `read`, but for arrays.
    OSError
        If the file cannot be opened.
    """
    path = Path(path)
    with open(path, "rb", opener=_without_waiting) as file:
        header = _header(file, _size(file, path), path)
    return _metadata(_content(header, path), path)


def _without_waiting(name: str, flags: int) -> int:
    """Open a file; a pipe would else wait for someone to write into it."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _size(file: BinaryIO, path: Path) -> int:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise ModelFileError(f"{path}: it is a device, a pipe or a socket; expected a file")
    return found.st_size


def _header(file: BinaryIO, size: int, path: Path) -> bytes:
    first = file.read(LENGTH.size)
    if len(first) < LENGTH.size:
        raise ModelFileError(
            f"{path}: the file has {len(first)} bytes; expected a safetensors file, which begins "
            f"with {LENGTH.size} bytes for the length of its header"
        )
    (length,) = LENGTH.unpack(first)
    if length > LONGEST_HEADER:
        raise ModelFileError(
            f"{path}: the file states a header of {length} bytes; expected a safetensors file "
            f"whose header has at most {LONGEST_HEADER}"
        )
    if length > size - LENGTH.size:
        raise ModelFileError(
            f"{path}: the file states a header of {length} bytes, and {size - LENGTH.size} bytes "
            f"are left; expected a whole file, so copy it again"
        )
    header = file.read(length)
    if not header.startswith(b"{"):
        raise ModelFileError(
            f"{path}: the header begins with {header[:8]!r}; expected a safetensors file, whose "
            f"header begins with {{"
        )
    return header


def _arrays(content: bytes, entries: dict[str, Entry], path: Path) -> dict[str, Array]:
    import safetensors  # here, so that `import fastnet` needs no more than NumPy

    # Its `numpy.load` takes the numbers for native ones in some versions.
    deserialize: Callable[[bytes], list[tuple[str, dict[str, Any]]]] = safetensors.deserialize
    try:
        found = dict(deserialize(content))
    except safetensors.SafetensorError as error:
        raise ModelFileError(
            f"{path}: the safetensors library refuses the file ({error}); expected a valid one"
        ) from error
    arrays = {}
    for name, (dtype, shape, _, _) in entries.items():
        array = np.frombuffer(found[name]["data"], dtype).reshape(shape)
        arrays[name] = array.astype(dtype.newbyteorder("="), copy=False)
    return arrays


# -- the header -----------------------------------------------------------------------------------


def _parse(
    header: bytes, room: int, path: str | os.PathLike[str]
) -> tuple[dict[str, Entry], dict[str, str]]:
    """Return what a header says of arrays in so many bytes, and its texts."""
    content = _content(header, path)
    metadata = _metadata(content, path)
    content.pop(METADATA, None)
    entries = {name: _entry(name, stated, path) for name, stated in content.items()}
    _check_offsets(entries, room, path)
    return entries, metadata


def _content(header: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    # It begins with a brace: what else it may be is no JSON.
    content: dict[str, Any] = parsed(header, f"{path}: the header", HEADER_LIMITS)
    return content


def parsed(text: bytes, where: str, limits: Limits, *, reals: bool = False) -> Any:
    """Return the value of a JSON text that may come from anyone.

    Parameters
    ----------
    text : bytes
        In UTF-8.
    where : str
        What to call it in messages.
    limits : Limits
    reals : bool
        Whether there may be numbers that are no integers.

    Raises
    ------
    ModelFileError
        If it is no JSON, beyond the limits, or has a name twice in an object, an integer beyond 64
        bits, or a number that is infinite or none.
    """
    _check_extent(text, where, limits)
    try:
        return json.loads(
            text.decode(),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_real if reals else _no_integer,
            parse_constant=_no_number if reals else _no_integer,
        )
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{where} is damaged ({error}); expected a JSON object in UTF-8"
        ) from error


def _check_extent(text: bytes, where: str, limits: Limits) -> None:
    if len(text) > limits.length:
        raise ModelFileError(
            f"{where} has {len(text)} bytes; expected at most {limits.length}: fewer or shorter "
            f"{limits.contents}"
        )
    # Strings end at the next quotation mark once escaped ones are gone, so that they are every
    # second part. Each step is one pass over the bytes, and the number of strings is known before
    # they are cut out.
    bare = text.replace(rb"\\", b"").replace(rb"\"", b"")
    values = bare.count(b'"') // 2
    if values <= limits.values:
        bare = b"".join(bare.split(b'"')[::2])
        values += sum(map(bare.count, (b"{", b"}", b"[", b"]", b",")))
    if values > limits.values:
        raise ModelFileError(
            f"{where} has {values} values or more; expected at most {limits.values}: fewer "
            f"{limits.contents}"
        )
    steps = ((byte in b"[{") - (byte in b"]}") for byte in bare.translate(None, NO_BRACKETS))
    depth = max(accumulate(steps), default=0)
    if depth > limits.depth:
        raise ModelFileError(f"{where} is nested {depth} deep; expected at most {limits.depth}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{reprlib.repr(name)} is there twice")
        found[name] = value
    return found


def _integer(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits")
    return int(text)


def _no_integer(text: str) -> Any:
    raise ValueError(f"{reprlib.repr(text)} is no integer")


def _real(text: str) -> float:
    if len(text) > LONGEST_REAL:
        raise ValueError(f"a number has {len(text)} characters")
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is beyond every float64")
    return number


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _metadata(content: dict[str, Any], path: str | os.PathLike[str]) -> dict[str, str]:
    stated = content.get(METADATA, {})
    if not isinstance(stated, dict) or not all(isinstance(text, str) for text in stated.values()):
        raise ModelFileError(
            f"{path}: {METADATA} is {reprlib.repr(stated)}; expected an object of texts"
        )
    return stated


def _entry(name: str, stated: Any, path: str | os.PathLike[str]) -> Entry:
    """Return what the header says of one array, or raise what is wrong with it alone."""
    called = f"{path}: the array {reprlib.repr(name)}"
    if not isinstance(stated, dict) or stated.keys() != set(KEYS):
        raise ModelFileError(
            f"{called} is stated as {reprlib.repr(stated)}; expected an object of {', '.join(KEYS)}"
        )
    code, shape, offsets = (stated[key] for key in KEYS)
    if not isinstance(code, str) or code not in TYPES:
        raise ModelFileError(
            f"{called} is of type {reprlib.repr(code)}; expected {' or '.join(TYPES)}"
        )
    if not _are_sizes(shape) or len(shape) > MOST_DIMENSIONS:
        raise ModelFileError(
            f"{called} has the shape {reprlib.repr(shape)}; expected a list of at most "
            f"{MOST_DIMENSIONS} integers, none below 0"
        )
    dtype = TYPES[code]
    # NumPy multiplies sizes but those of 0, and must not go over.
    if math.prod(size or 1 for size in shape) * dtype.itemsize > sys.maxsize:
        raise ModelFileError(
            f"{called} has the shape {reprlib.repr(shape)}; expected one whose bytes can be counted"
        )
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ModelFileError(
            f"{called} has the data_offsets {reprlib.repr(offsets)}; expected its begin and end, "
            f"two integers from 0"
        )
    needed = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != needed:
        raise ModelFileError(
            f"{called} has {offsets[1] - offsets[0]} bytes; expected {needed} of {code} in the "
            f"shape {tuple(shape)}"
        )
    return Entry(dtype, tuple(shape), *offsets)


def _are_sizes(values: Any) -> bool:
    # type, because True is an int, too.
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _check_offsets(entries: dict[str, Entry], room: int, path: str | os.PathLike[str]) -> None:
    """Refuse arrays that overlap, leave gaps, or do not fill the file."""
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            raise ModelFileError(
                f"{path}: the array {reprlib.repr(name)} begins at byte {entry.begin}; expected "
                f"{position}, where the one before it ends"
            )
        position = entry.end
    if position != room:
        raise ModelFileError(
            f"{path}: the file has {room} bytes behind its header; expected {position}, as the "
            f"header states: a whole file, and nothing behind"
        )
