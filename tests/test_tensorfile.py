"""The file of arrays: what goes in comes out, and no file does harm."""

from __future__ import annotations

import json
import os
import re
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import fuzz_tensorfile as fuzzing
import numpy as np
import pytest
from fuzz_tensorfile import entry, packed
from safetensors.numpy import load_file, save_file

import fastnet
from fastnet import ModelFileError, tensorfile
from fastnet.data.idx import read_idx

ROOT = Path(__file__).parents[1]
ONE = np.float32([1.0])
SPIKY = [0.0, -0.0, 1e-45, 1e-310, 3.5, -1e38, np.inf, -np.inf, np.nan, 1 / 3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a file.safetensors"


def put(path: Path, content: bytes) -> Path:
    path.unlink(missing_ok=True)  # truncating it instead waits for the disk, on ext4
    path.write_bytes(content)
    return path


def refusal(path: Path, content: bytes) -> str:
    """What reading such a file is refused with, after the path."""
    with pytest.raises(ModelFileError) as caught:
        tensorfile.read(put(path, content))
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter."""
    paths = os.pathsep.join(map(str, [ROOT, ROOT / "kernels"]))
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# -- there and back -------------------------------------------------------------------------------


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].shape == array.shape
        and found[name].dtype == array.dtype.newbyteorder("=")
        and found[name].tobytes() == np.asarray(array, found[name].dtype).tobytes()
        for name, array in expected.items()
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (3, 0, 2), (7,), (3, 5), (2, 1, 3, 1)])
def test_every_shape_comes_back(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    with np.errstate(over="ignore"):
        array = np.resize(np.array(SPIKY, dtype), shape)
    tensorfile.write(path, {"x": array}, {})
    tensors, metadata = tensorfile.read(path)
    assert same(tensors, {"x": array})
    assert metadata == {}


def test_what_comes_back_is_ones_own(path: Path) -> None:
    tensorfile.write(path, {"x": np.ones((2, 3)), "y": np.zeros((), np.float32)}, {})
    for array in tensorfile.read(path)[0].values():
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.flags.aligned
        assert array.dtype.isnative
        array[...] = 5
    assert tensorfile.read(path)[0]["x"].tolist() == [[1.0] * 3] * 2


def test_arrays_however_they_lie_in_memory(path: Path) -> None:
    square = np.arange(35, dtype=np.float32).reshape(5, 7)
    arrays = {
        "transposed": square.T,
        "strided": square[::2, ::-3],
        "broadcast": np.broadcast_to(np.float64(1.5), (3, 2)),
        "big-endian": square.astype(">f4"),
        "Fortran": np.asfortranarray(square.astype(">f8")),
        "a column": square[:, 3],
    }
    tensorfile.write(path, arrays, {})
    found, _ = tensorfile.read(path)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=False)
        assert found[name].dtype == array.dtype.newbyteorder("=")


def test_any_name_and_text(path: Path) -> None:
    names = [
        "",
        "a",
        "a.b/c\\d",
        '"',
        "\0",
        "\n\t",
        "Größe",
        "日本語 🙂",
        "n" * 100_000,
        "__",
        "x" * 77,
    ]
    tensors = {name: np.float64([i]) for i, name in enumerate(names)}
    texts = {name: name[::-1] for name in names} | {"json": json.dumps({"a": ["}", '"\\']})}
    tensorfile.write(path, tensors, texts)
    found, metadata = tensorfile.read(path)
    assert same(found, tensors)
    assert metadata == texts


def test_nothing_at_all(path: Path) -> None:
    tensorfile.write(path, {})
    assert tensorfile.read(path) == ({}, {})


def test_the_library_reads_what_was_written(path: Path) -> None:
    tensors = {"b": np.ones((2, 3), np.float32), "a": np.arange(3.0), "c": np.float32(4.5)}
    tensors["c"] = np.asarray(tensors["c"])
    tensorfile.write(path, tensors, {"k": "v"})
    assert same(load_file(path), tensors)


def test_what_the_library_wrote_is_read(path: Path) -> None:
    tensors = {"b": np.ones((2, 3), np.float32), "a": np.arange(3.0), "e": np.zeros((0, 4))}
    save_file(tensors, path, metadata={"k": "ü"})
    found, metadata = tensorfile.read(path)
    assert same(found, tensors)
    assert metadata == {"k": "ü"}


def test_the_bytes_of_a_file(path: Path) -> None:
    """By hand, from the description of the format; what is wider comes first."""
    tensorfile.write(path, {"W": np.float32([[1, 2]]), "θ": np.array(-2.0)}, {"k": "v"})
    header = (
        '{"__metadata__":{"k":"v"},"θ":{"dtype":"F64","shape":[],"data_offsets":[0,8]},'
        '"W":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}}'
    ).encode()
    header += b" " * (-len(header) % 8)
    numbers = bytes.fromhex("00000000000000c0 0000803f 00000040")
    assert path.read_bytes() == struct.pack("<Q", len(header)) + header + numbers


def test_equal_content_gives_equal_bytes(path: Path) -> None:
    arrays = {f"a{i}": np.full((3, i), i, ["f4", "f8"][i % 2]) for i in range(20)}
    texts = {f"k{i}": str(i) for i in range(20)}
    contents = set()
    for step in (1, -1, 1):
        names, keys = list(arrays)[::step], list(texts)[::step]
        tensors = {name: np.asfortranarray(arrays[name])[:, ::1] for name in names}
        tensorfile.write(path, tensors, {key: texts[key] for key in keys})
        contents.add(path.read_bytes())
    tensorfile.write(path, *tensorfile.read(path))
    assert contents == {path.read_bytes()}


def test_a_file_is_replaced_by_a_smaller_one(path: Path) -> None:
    tensorfile.write(path, {"x": np.ones(1000)}, {"k": "v" * 1000})
    tensorfile.write(path, {"y": ONE})
    assert same(tensorfile.read(path)[0], {"y": ONE})
    assert list(path.parent.iterdir()) == [path]


def test_the_error_is_a_value_error_and_public() -> None:
    assert issubclass(fastnet.ModelFileError, ValueError)
    assert "ModelFileError" in fastnet.__all__


def test_importing_does_not_load_the_library() -> None:
    code = "import sys, fastnet, fastnet.tensorfile; print('safetensors' in sys.modules)"
    done = python(code)
    assert done.stdout == "False\n", done.stderr


# -- what is not written --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensors", "metadata", "kind", "message"),
    [
        ({3: ONE}, {}, TypeError, r"name of an array is 3; expected a string"),
        ({"__metadata__": ONE}, {}, ValueError, r"'__metadata__', which the format uses"),
        ({"x": [1.0]}, {}, TypeError, r"'x' is of type list; expected a NumPy array"),
        ({"x": np.ones(2, np.float16)}, {}, TypeError, r"'x' .* float16; expected float32 or"),
        ({"x": np.ones(2, int)}, {}, TypeError, r"'x' is an array of int64"),
        ({"x": np.array(["a"])}, {}, TypeError, r"'x' is an array of <U1"),
        ({"x": np.array([None])}, {}, TypeError, r"'x' is an array of object"),
        ({"x": np.ones(1, [("a", "f4")])}, {}, TypeError, r"'x' is an array of"),
        ({"x\ud800": ONE}, {}, ValueError, r"half a character, in .*expected valid Unicode"),
        ({}, {"k": 3}, TypeError, r"metadata has 3 under 'k'; expected strings"),
        ({}, {3: "k"}, TypeError, r"metadata has 'k' under 3; expected strings"),
        ({}, {"k": "\udfff"}, ValueError, r"half a character"),
        ({}, {"k": "v" * 2**22}, ModelFileError, r"header has \d+ bytes; expected at most 4194304"),
        ({str(i): ONE for i in range(9999)}, {}, ModelFileError, r"values or more; expected at m"),
        (
            {"x": np.ones([1] * 64)},
            {str(i): "" for i in range(40_000)},
            ModelFileError,
            "values or",
        ),
    ],
    ids=range(15),
)
def test_what_cannot_be_read_is_not_written(
    path: Path, tensors: Any, metadata: Any, kind: type[Exception], message: str
) -> None:
    put(path, b"old")
    with pytest.raises(kind, match=message):
        tensorfile.write(path, tensors, metadata)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_as_many_as_may_be(path: Path) -> None:
    tensors = {f"layers.{i}": np.full((1, 2), i, np.float32) for i in range(6000)}
    tensorfile.write(path, tensors, {"k": "v" * 2**21})
    assert same(tensorfile.read(path)[0], tensors)
    sizes = np.ones([1] * 64)
    tensorfile.write(path, {"x": sizes})
    assert same(tensorfile.read(path)[0], {"x": sizes})


# -- what is no file ------------------------------------------------------------------------------


def test_what_cannot_be_opened(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(path.name)):
        tensorfile.read(path)
    with pytest.raises(IsADirectoryError):
        tensorfile.read(path.parent)
    with pytest.raises(NotADirectoryError):
        tensorfile.read(put(path, b"") / "x")


def test_a_file_that_one_may_not_read() -> None:
    """In a process that is not root's, because nothing is forbidden to root."""
    code = """
import os, sys
from fastnet import tensorfile
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    tensorfile.read(sys.argv[1])
except PermissionError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as folder:  # not pytest's, which no one else may enter
        Path(folder).chmod(0o755)
        path = put(Path(folder) / "model", packed({}))
        path.chmod(0)
        done = python(code, path)
    assert done.stdout == f"[Errno 13] Permission denied: '{path}'\n", done.stderr


def test_a_pipe_is_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(ModelFileError, match=r"a device, a pipe or a socket; expected a file"):
        tensorfile.read(path)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null"])
def test_a_device_is_not_read(name: str) -> None:
    with pytest.raises(ModelFileError, match=r"a device, a pipe or a socket; expected a file"):
        tensorfile.read(name)


def test_files_of_other_kinds(path: Path, tmp_path: Path) -> None:
    assert "the file has 0 bytes; expected a safetensors file" in refusal(path, b"")
    assert "the file has 7 bytes" in refusal(path, b"\0" * 7)
    assert "header begins with b''" in refusal(path, b"\0" * 8)
    assert "states a header of" in refusal(path, b"\x89PNG\r\n\x1a\n" + b"\0" * 99)
    np.savez(tmp_path / "x.npz", x=ONE)
    assert "states a header of" in refusal(path, (tmp_path / "x.npz").read_bytes())
    code = b"c__builtin__\nexec\n(S'raise SystemExit'\ntR."  # a pickle that would act
    for content in (code, packed(code)):
        refusal(path, content)
    with pytest.raises(ValueError, match="IDX"):
        read_idx(put(path, packed({})))


# -- damaged headers ------------------------------------------------------------------------------

GOOD = {
    "__metadata__": {"k": "v"},
    "e": entry("F32", [0, 3], 0, 0),
    "a": entry("F64", [2], 0, 16),
    "b": entry("F32", [1, 3], 16, 28),
}


def altered(**entries: Any) -> bytes:
    """The good file with other entries, None for no entry."""
    header = {name: value for name, value in (GOOD | entries).items() if value is not None}
    return packed(header, bytes(28))


def test_the_good_file_is_good(path: Path) -> None:
    tensors, metadata = tensorfile.read(put(path, altered()))
    expected = {"e": np.zeros((0, 3), np.float32), "a": np.zeros(2)}
    assert same(tensors, expected | {"b": np.zeros((1, 3), np.float32)})
    assert list(tensors) == ["e", "a", "b"]
    assert metadata == {"k": "v"}


def test_every_truncation_is_refused(path: Path) -> None:
    content = altered()
    for length in range(len(content)):
        refusal(path, content[:length])


def test_every_flipped_bit_of_the_header_is_refused_or_read_rightly(path: Path) -> None:
    content = altered()
    results = set()
    for i in range(len(content) - 28):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[i] ^= 1 << bit
            results.add(fuzzing.outcome(path, bytes(damaged)))
    assert results == {"refused", "valid"}  # in a name any letter is as good


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (2**64 - 1, "states a header of 18446744073709551615 bytes"),
        (2**63, "states a header of 9223372036854775808 bytes"),
        (2**40, "expected a safetensors file whose header has at most 4194304"),
        (2**22 + 1, "states a header of 4194305 bytes; expected a safetensors file whose header"),
        (2**22, "a header of 4194304 bytes, and 22 bytes are left; expected a whole file"),
        (23, "states a header of 23 bytes, and 22 bytes are left"),
        (21, "the header is damaged"),
        (1, "the header is damaged"),
        (0, "the header begins with b''"),
    ],
)
def test_the_length_of_the_header(path: Path, length: int, message: str) -> None:
    content = packed(b'{"__metadata__": { }  }'[:-1], length=length)
    assert message in refusal(path, content)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[]", "the header begins with b'[]'"),
        (b" {}", "the header begins with b' {}'"),
        ("\ufeff{}", "the header begins with"),
        (b"{}}", "the header is damaged (Extra data"),
        (b"{} \0", "the header is damaged (Extra data"),
        (b'{"a"}', "the header is damaged (Expecting ':'"),
        (b"{\"a\": 'b'}", "the header is damaged (Expecting value"),
        (b'{"a\xff": 0}', "the header is damaged ('utf-8' codec can't decode byte 0xff"),
        (b'{"a\xed\xa0\x80": 0}', "the header is damaged ('utf-8' codec"),
        ("{}".encode("utf-16-le"), "the header is damaged"),
        ('{"a": {}, "a": {}}', "'a' is there twice"),
        ('{"a": {}, "\\u0061": {}}', "'a' is there twice"),
        ('{"__metadata__": {}, "__metadata__": {}}', "'__metadata__' is there twice"),
        ('{"__metadata__": {"k": "v", "k": "v"}}', "'k' is there twice"),
        ('{"a": {"dtype": "F32", "dtype": "F32"}}', "'dtype' is there twice"),
        ('{"a": NaN}', "'NaN' is no integer"),
        ('{"a": -Infinity}', "'-Infinity' is no integer"),
        ('{"a": 1.0}', "'1.0' is no integer"),
        ('{"a": 1e3}', "'1e3' is no integer"),
        ('{"a": ' + "9" * 5000 + "}", "a number has 5000 digits"),
        ('{"a": "\t"}', "Invalid control character"),
        ('{"a": [[[0]]]}', "nested 4 deep; expected at most 3"),
        ('{"a":' * 9 + "0" + "}" * 9, "nested 9 deep"),
        ('{"a":' + "[" * 90_000, "nested 90001 deep"),
        (altered(a=entry("F64", [[2]], 0, 16))[8:], "nested 4 deep"),
        (altered(a=entry("F64", [2], [0], [16]))[8:], "nested 4 deep"),
        ('{"[[[[": 1, "{\\"{{{": 1, "\\\\": {}}', "the array '[[[[' is stated as 1"),
    ],
)
def test_headers_that_are_not_as_expected(path: Path, header: str | bytes, message: str) -> None:
    assert message in refusal(path, packed(header))


def test_half_a_character(path: Path) -> None:
    for header in ({"__metadata__": {"k": "\ud800"}}, {"\udfff": entry("F32", [0], 0, 0)}):
        assert "the safetensors library refuses the file" in refusal(path, packed(header))


@pytest.mark.parametrize("metadata", [None, [], "k", 0, True, {"k": 1}, {"k": None}, {"k": {}}])
def test_metadata_is_texts(path: Path, metadata: Any) -> None:
    header = json.dumps(GOOD | {"__metadata__": metadata})
    message = refusal(path, packed(header, bytes(28)))
    assert message.startswith("__metadata__ is ")
    assert "expected an object of texts" in message


@pytest.mark.parametrize(
    "stated",
    [
        0,
        "a",
        [],
        [1, 2],
        {},
        {"dtype": "F64", "shape": [2]},
        entry("F64", [2], 0, 16) | {"more": 1},
    ],
)
def test_an_entry_has_its_keys(path: Path, stated: Any) -> None:
    message = refusal(path, altered(a=stated))
    assert message.startswith("the array 'a' is stated as ")
    assert "expected an object of dtype, shape, data_offsets" in message


@pytest.mark.parametrize(
    "code",
    ["F16", "BF16", "I64", "I32", "U8", "BOOL", "C64", "f32", "F32 ", "", 0, None, [], ["F32"]],
)
def test_other_types(path: Path, code: Any) -> None:
    message = refusal(path, altered(a=entry(code, [2], 0, 16)))
    assert message.startswith("the array 'a' is of type ")
    assert "expected F32 or F64" in message


@pytest.mark.parametrize(
    "shape",
    [None, 2, "2", {}, [-2], [-1, -2], [True, 2], ["2"], [None], {"2": 1}, [1] * 65],
)
def test_shapes_that_are_none(path: Path, shape: Any) -> None:
    message = refusal(path, altered(a=entry("F64", shape, 0, 16)))
    assert message.startswith("the array 'a' has the shape ")
    assert "expected a list of at most 64 integers, none below 0" in message


@pytest.mark.parametrize(
    "shape",
    [
        [2**60],
        [2**61],
        [2**62 + 1, 4],
        [2**32, 2**32],
        [2**63 - 1] * 3,
        [0, 2**62, 2**62],
        [2**62, 0],
    ],
)
def test_shapes_beyond_counting(path: Path, shape: list[int]) -> None:
    message = refusal(path, altered(a=entry("F64", shape, 0, 16)))
    assert "expected one whose bytes can be counted" in message


def test_shapes_that_overflow_to_the_right_size(path: Path) -> None:
    wraps = 2**61 + 2  # times 8 is 16, modulo 2**64
    refusal(path, altered(a=entry("F64", [wraps], 0, 16)))
    refusal(path, altered(a=entry("F64", [2, wraps - 1], 0, 16)))


@pytest.mark.parametrize(
    "offsets",
    [None, 0, "ab", {}, [], [0], [0, 16, 32], [16, 0], [-16, 0], [0, True], [False, 16],
     ["0", "16"], [None, None], {"0": 0, "16": 0}],
)  # fmt: skip
def test_offsets_that_are_none(path: Path, offsets: Any) -> None:
    message = refusal(path, altered(a=entry("F64", [2], 0, 16) | {"data_offsets": offsets}))
    assert message.startswith("the array 'a' has the data_offsets ")
    assert "expected its begin and end, two integers from 0" in message


@pytest.mark.parametrize("number", ["0.0", "1.6e1", "-0.0"])
def test_offsets_that_are_no_integers(path: Path, number: str) -> None:
    header = json.dumps(GOOD).replace("[0, 16]", f"[{number}, 16]")
    assert "is no integer" in refusal(path, packed(header, bytes(28)))


def test_minus_zero(path: Path) -> None:
    header = json.dumps(GOOD).replace("[0, 16]", "[-0, 16]")
    refusal(path, packed(header, bytes(28)))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"a": entry("F64", [2], 0, 12)}, "'a' has 12 bytes; expected 16 of F64 in the shape (2,)"),
        ({"a": entry("F64", [2], 0, 2**62)}, "'a' has 4611686018427387904 bytes; expected 16 of"),
        ({"a": entry("F64", [], 0, 16)}, "'a' has 16 bytes; expected 8 of F64 in the shape ()"),
        ({"e": entry("F32", [0, 3], 0, 4)}, "'e' has 4 bytes; expected 0"),
        ({"b": entry("F32", [1, 3], 12, 24)}, "'b' begins at byte 12; expected 16"),  # overlap
        ({"b": entry("F32", [1, 3], 0, 12)}, "'a' begins at byte 0; expected 12"),
        ({"b": entry("F64", [2], 0, 16)}, "begins at byte 0; expected 16"),  # the same bytes twice
        ({"b": entry("F32", [1, 2], 20, 28)}, "'b' begins at byte 20; expected 16"),  # a gap
        ({"a": None}, "'b' begins at byte 16; expected 0"),
        ({"e": entry("F32", [0], 8, 8)}, "'e' begins at byte 8; expected 16"),
        ({"e": entry("F32", [0], 99, 99)}, "'e' begins at byte 99; expected 28"),
        ({"b": None}, "the file has 28 bytes behind its header; expected 16"),
        ({"c": entry("F32", [1], 28, 32)}, "the file has 28 bytes behind its header; expected 32"),
        ({"c": entry("F64", [2**59], 28, 2**62 + 28)}, "expected 4611686018427387932, as the head"),
    ],
)
def test_offsets_that_do_not_fit(path: Path, entries: dict[str, Any], message: str) -> None:
    assert message in refusal(path, altered(**entries))


def test_bytes_missing_and_behind(path: Path) -> None:
    content = altered()
    assert "has 27 bytes behind its header; expected 28" in refusal(path, content[:-1])
    assert "has 29 bytes behind its header; expected 28" in refusal(path, content + b"\0")


def test_names_are_cut_short_in_messages(path: Path) -> None:
    for content in (packed({"n" * 10**6: 0}), packed({"a": {"x" * 10**6: ["y" * 10**6] * 2}})):
        assert len(refusal(path, content)) < 300


def test_a_file_that_changes_meanwhile(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = tensorfile._parse
    long = {"k": "v" * 2**16}  # more than Python reads ahead
    for other in (altered(__metadata__={"k": "w" * 2**16}), altered(), b""):

        def meanwhile(*args: Any, other: bytes = other) -> Any:
            path.write_bytes(other)
            return original(*args)

        monkeypatch.setattr(tensorfile, "_parse", meanwhile)
        message = refusal(path, altered(__metadata__=long))
        assert "the file changed while it was read" in message


# -- memory, and chance ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", fuzzing.BOMBS)
def test_large_headers_take_little(path: Path, name: str) -> None:
    content = fuzzing.BOMBS[name]()
    before = fuzzing.resident()
    assert fuzzing.peak(content, path) < 50 * 2**20
    assert fuzzing.resident() - before < 100  # MiB; the library's, too


def test_large_arrays_are_there_twice_at_most(path: Path) -> None:
    size = 40 * 2**20
    tensorfile.write(path, {"x": np.zeros(size // 8)})
    code = f"""
import resource
import numpy as np
from fastnet import tensorfile
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
tensorfile.write({str(path)!r} + "2", {{"x": np.zeros(1)}})
tensorfile.read({str(path)!r} + "2")
before = most()
tensorfile.read({str(path)!r})
print(most() - before)
"""
    done = python(code)
    assert int(done.stdout) < 2.2 * size, done.stderr


def test_a_huge_file_is_refused_by_its_header(path: Path) -> None:
    """A terabyte of nothing on the disk: what it does not state is not read."""
    put(path, packed({"a": entry("F64", [2], 0, 16)}))
    os.truncate(path, 2**40)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelFileError, match=r"bytes behind its header; expected 16"):
        tensorfile.read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KiB


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_files_are_refused_or_read_rightly(seed: int) -> None:
    counts = fuzzing.fuzz(2500, seed)
    assert counts.total() == 2500
    assert counts["refused"] > 2000
    assert counts["valid"] > 100
