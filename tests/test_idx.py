"""The IDX reader: every type and shape, and every way in which a file can be wrong."""

from __future__ import annotations

import contextlib
import gzip
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastnet.data.idx import read_idx

CODES = {
    "uint8": 0x08,
    "int8": 0x09,
    "int16": 0x0B,
    "int32": 0x0C,
    "float32": 0x0D,
    "float64": 0x0E,
}
RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (7, 5, 3)).astype(np.uint8)


def encoded(array: np.ndarray) -> bytes:
    """Return an array as IDX bytes, written element by element."""
    letter = {"uint8": "B", "int8": "b", "int16": "h", "int32": "i", "float32": "f"}
    head = struct.pack(
        f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape
    )
    one = f">{letter.get(array.dtype.name, 'd')}"
    return head + b"".join(struct.pack(one, value) for value in array.ravel().tolist())


def plain(folder: Path, content: bytes) -> Path:
    path = folder / "some-idx"
    path.write_bytes(content)
    return path


def compressed(folder: Path, content: bytes) -> Path:
    return plain(folder, gzip.compress(content))


both = pytest.mark.parametrize("write", [plain, compressed])


@both
@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(1,), (11,), (3, 4), (2, 3, 5), (0,), (4, 0, 2)])
def test_what_was_written_is_read(
    write: Callable[..., Path], dtype: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    array = (RNG.normal(size=shape) * 100).astype(dtype)
    found = read_idx(write(tmp_path, encoded(array)))
    assert found.dtype == np.dtype(dtype)
    assert found.dtype.isnative
    assert found.shape == shape
    assert found.tobytes() == array.tobytes()
    assert found.flags.c_contiguous
    assert found.flags.writeable


def test_big_end_first(tmp_path: Path) -> None:
    content = bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0x01, 0x02, 0xFF, 0xFE])
    assert read_idx(plain(tmp_path, content)).tolist() == [0x0102, -2]


def test_a_name_may_be_a_string_and_end_in_anything(tmp_path: Path) -> None:
    assert (read_idx(str(compressed(tmp_path, encoded(IMAGES)))) == IMAGES).all()


def test_data_of_several_chunks(tmp_path: Path) -> None:
    array = RNG.integers(0, 256, (3, 1_000_003)).astype(np.uint8)
    head = struct.pack(">BBBB2I", 0, 0, 8, 2, *array.shape)
    assert (read_idx(compressed(tmp_path, head + array.tobytes())) == array).all()


@both
@pytest.mark.parametrize("missing", [1, 7, 104])
def test_a_file_that_is_too_short(write: Callable[..., Path], missing: int, tmp_path: Path) -> None:
    path = write(tmp_path, encoded(IMAGES)[:-missing])
    expected = rf"some-idx: the file ends after {105 - missing} bytes of data; expected 105 bytes"
    with pytest.raises(ValueError, match=expected + r" of uint8 in the shape \(7, 5, 3\)"):
        read_idx(path)


@both
@pytest.mark.parametrize("more", [b"\0", b"more", bytes(3_000_000)])
def test_a_file_that_is_too_long(write: Callable[..., Path], more: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, encoded(IMAGES) + more)
    with pytest.raises(
        ValueError, match=r"some-idx: there is more in the file.*expected 105 bytes"
    ):
        read_idx(path)


@both
def test_a_header_that_states_more_than_there_can_be(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    content = struct.pack(">BBBB3I", 0, 0, 0x0E, 3, *[2**32 - 1] * 3) + bytes(80)
    with pytest.raises(ValueError, match="ends after 80 bytes of data"):
        read_idx(write(tmp_path, content))


@contextlib.contextmanager
def memory_below(most: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    # 4 GB behind what the header states, out of 4 MB.
    path = plain(tmp_path, gzip.compress(encoded(IMAGES)) + gzip.compress(bytes(1 << 20)) * 4096)
    with memory_below(8 << 20), pytest.raises(ValueError, match="more in the file than its header"):
        read_idx(path)


def test_a_header_alone_takes_no_memory(tmp_path: Path) -> None:
    head = struct.pack(">BBBB2I", 0, 0, 0x0E, 2, 2**32 - 1, 2**32 - 1)
    with memory_below(8 << 20), pytest.raises(ValueError, match="ends after 1048576 bytes"):
        read_idx(compressed(tmp_path, head + bytes(1 << 20)))


@both
def test_sizes_that_numpy_does_not_take(write: Callable[..., Path], tmp_path: Path) -> None:
    content = struct.pack(">BBBB4I", 0, 0, 0x0E, 4, 0, *[2**32 - 1] * 3)
    with pytest.raises(
        ValueError, match=r"some-idx: the header states the shape \(0, 42949.*canno"
    ):
        read_idx(write(tmp_path, content))


@both
@pytest.mark.parametrize(
    "magic", ["01 00 08 01", "00 01 08 01", "00 00 00 01", "00 00 0a 01", "89 50 4e 47"]
)
def test_a_file_of_another_kind(write: Callable[..., Path], magic: str, tmp_path: Path) -> None:
    path = write(tmp_path, bytes.fromhex(magic) + bytes(40))
    with pytest.raises(
        ValueError, match=f"some-idx: .* bytes {magic}; expected an IDX file: 00 00"
    ):
        read_idx(path)


@both
@pytest.mark.parametrize("dimensions", [0, 65, 255])
def test_a_number_of_dimensions_that_cannot_be(
    write: Callable[..., Path], dimensions: int, tmp_path: Path
) -> None:
    path = write(tmp_path, bytes([0, 0, 8, dimensions]) + bytes(4 * dimensions + 1))
    with pytest.raises(ValueError, match=f"states {dimensions} dimensions; expected 1 to 64"):
        read_idx(path)


@both
@pytest.mark.parametrize(
    ("length", "message"),
    [
        (0, "the file has 0 bytes; expected an IDX file"),
        (3, "the file has 3 bytes; expected an IDX file"),
        (4, "ends within its header; expected the sizes of 3 dimensions, 12 bytes, and got 0"),
        (15, "ends within its header; expected the sizes of 3 dimensions, 12 bytes, and got 11"),
    ],
)
def test_a_file_that_ends_in_its_header(
    write: Callable[..., Path], length: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        read_idx(write(tmp_path, encoded(IMAGES)[:length]))


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


PACKED = gzip.compress(encoded(IMAGES))


@pytest.mark.parametrize(
    "content",
    [
        PACKED[:5],
        PACKED[:40],
        PACKED[:-4],
        PACKED[:-8],
        flipped(PACKED, 3),
        flipped(PACKED, 10),
        flipped(PACKED, -5 % len(PACKED)),
        PACKED + b"anything",
    ],
    ids=["header", "middle", "length", "checksum", "flags", "data", "wrong sum", "behind"],
)
def test_damaged_gzip_data(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="some-idx: the gzip data is damaged or cut off") as caught:
        read_idx(plain(tmp_path, content))
    assert caught.value.__cause__ is not None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="~no-such-user"):
        read_idx("~no-such-user/file")


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    plain(tmp_path, encoded(IMAGES))
    assert read_idx("~/some-idx").shape == IMAGES.shape


def test_a_file_of_gzip_alone_says_what_was_unpacked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="some-idx: the file begins with the bytes 7b 22 61 22"):
        read_idx(compressed(tmp_path, b'{"a": "no IDX file"}'))


def test_a_name_that_ends_in_gz_but_is_plain(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(encoded(IMAGES))
    assert (read_idx(tmp_path / "a.gz") == IMAGES).all()


def test_no_read_leaves_a_file_open(tmp_path: Path, recwarn: Any) -> None:
    for content in (encoded(IMAGES), PACKED, PACKED[:40]):
        try:
            read_idx(plain(tmp_path, content))
        except ValueError:
            continue
    assert not recwarn.list
