"""Damaged and hostile tensor files: what reads them has to refuse them, or be right.

``python tests/fuzz_tensorfile.py 60000 [seed]`` makes so many of them, and says what became of
them, in what time and memory.
"""

from __future__ import annotations

import copy
import json
import random
import resource
import struct
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for use as a script

from fastnet import tensorfile
from fastnet.errors import ModelFileError

SLOWEST = 5.0  # seconds that a file may take; the largest of BOMBS need a tenth of it


def packed(header: bytes | str | dict[str, Any], data: bytes = b"", length: int = -1) -> bytes:
    """A file from its parts, whatever they are."""
    if isinstance(header, dict):
        header = json.dumps(header)
    if isinstance(header, str):
        header = header.encode("utf-8", "surrogatepass")
    length = len(header) if length < 0 else length
    return struct.pack("<Q", length) + header + data


def unpacked(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def entry(dtype: str, shape: Any, begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def valid() -> list[bytes]:
    """Some good files."""
    both = {"a": entry("F64", [2], 0, 16), "b": entry("F32", [1, 3], 16, 28)}
    return [
        packed({}),
        packed({"__metadata__": {"format": "fastnet", "Größe": "“3”"}}),
        packed({"x": entry("F32", [], 0, 4)}, b"\0\0\x80?"),
        packed(both, bytes(28)),
        packed({"__metadata__": {"k": "v"}, "empty": entry("F32", [0, 3], 0, 0)} | both, bytes(28)),
        packed(json.dumps(both) + "   ", bytes(range(28))),
        packed({f"layers.{i}.W": entry("F32", [2], 8 * i, 8 * i + 8) for i in range(9)}, bytes(72)),
    ]


# -- mutations ------------------------------------------------------------------------------------

# What stands somewhere in a header instead of what belongs there.
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 8, 16, 28, 2**31, 2**32, 2**53, 2**61, 2**62, 2**63 - 1,
    2**63, 2**64 - 1, 2**64, 10**30, 0.0, 1.0, 2.5, 1e308, float("nan"), float("inf"), "", "F32",
    "F64", "F16", "I64", "BOOL", "a", "b", "x", "\ud800", "\0", "é" * 9, [], [0], [[]], [0, 0],
    [16, 28], [28, 16], [0, 2**62, 2**62], [2**32, 2**32], [1] * 65, {}, {"dtype": "F32"},
    {"": ""}, entry("F32", [0], 0, 0), entry("F64", [1], 0, 8), [[[[]]]],
]  # fmt: skip
LENGTHS = [0, 1, 2, 7, 8, 2**16, 2**22, 2**22 + 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
TEXTS = [
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u0061", b"\\ud800", b"\xff", b"\xf0", b"0",
    b"-0", b"-1", b"1e0", b"1.0", b"9" * 25, b"NaN", b"Infinity", b"null", b"true", b"{}", b"[]",
    b" ", b"\n", b"\0", b'"a":', b'"__metadata__":{},', b"[" * 200, b'{"a":' * 200, b"F16", b"F64",
    "\ufeff".encode(), b"//",
]  # fmt: skip


def flip(content: bytes, chance: random.Random) -> bytes:
    out = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def cut(content: bytes, chance: random.Random) -> bytes:
    first, last = sorted(chance.choices(range(len(content) + 1), k=2))
    return chance.choice([content[:first], content[first:], content[:first] + content[last:]])


def insert(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content) + 1)
    more = chance.choice([chance.choice(TEXTS), chance.randbytes(3), bytes(8), content])
    return content[:at] + more + content[at:]


def splice(content: bytes, chance: random.Random) -> bytes:
    other = chance.choice(valid())
    return content[: chance.randrange(len(content))] + other[chance.randrange(len(other)) :]


def relength(content: bytes, chance: random.Random) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    near = length + chance.choice([-9, -8, -2, -1, 1, 2, 8, 9])
    stated = chance.choice([*LENGTHS, near % 2**64, chance.getrandbits(64)])
    return struct.pack("<Q", stated) + content[8:]


def retext(content: bytes, chance: random.Random) -> bytes:
    """Other text in the header, whose length is right."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = content[8 : 8 + length], content[8 + length :]
    first = chance.randrange(len(header) + 1)
    last = min(len(header), first + chance.choice([0, 0, 1, 2, 5]))
    return packed(header[:first] + chance.choice(TEXTS) + header[last:], data)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container within, with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def revalue(content: bytes, chance: random.Random) -> bytes:
    """Other values, other keys and missing ones in JSON that is right."""
    header, data = unpacked(content)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        found = list(places(header))
        value = copy.deepcopy(chance.choice(ODD))
        if not found:
            header["x"] = value
            continue
        holder, key = chance.choice(found)
        action = chance.randrange(4)
        if action == 0 and isinstance(holder, dict):
            holder[chance.choice(["x", "a", "__metadata__", "dtype", "", "é"])] = holder.pop(key)
        elif action == 1:
            del holder[key]
        elif action == 2 and isinstance(holder, dict):
            holder[chance.choice(["x", "a", "__metadata__", "shape"])] = value
        else:
            holder[key] = value
    return packed(json.dumps(header, ensure_ascii=chance.random() < 0.5), data)


def repeat(content: bytes, chance: random.Random) -> bytes:
    """The same key twice."""
    header, data = unpacked(content)
    pairs = [(key, json.dumps(value)) for key, value in header.items()] or [("x", "{}")]
    pairs.insert(chance.randrange(len(pairs) + 1), chance.choice(pairs))
    return packed("{" + ",".join(f"{json.dumps(key)}:{text}" for key, text in pairs) + "}", data)


def redata(content: bytes, chance: random.Random) -> bytes:
    """Other numbers, sometimes too many or too few."""
    header, data = unpacked(content)
    return packed(header, chance.randbytes(max(0, len(data) + chance.choice([-4, -1, 0, 0, 1, 8]))))


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [
    flip, cut, insert, splice, relength, retext, retext, revalue, revalue, revalue, repeat, redata,
]  # fmt: skip


def mutated(inputs: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    good = valid()
    for _ in range(inputs):
        mutate = chance.choice(MUTATIONS)
        content = mutate(chance.choice(good), chance)
        # Mutations of headers need one that is JSON, so that only these follow another.
        if content and chance.random() < 0.2:
            content = chance.choice([flip, cut, insert])(content, chance)
        yield content


# -- large ones -----------------------------------------------------------------------------------


def filled(begin: str, part: str, end: str, most: int = tensorfile.LONGEST_HEADER) -> bytes:
    """A header as long as may be, or with as many parts as given."""
    room = tensorfile.LONGEST_HEADER - len(begin.encode()) - len(end.encode())
    return packed(begin + part * min(room // len(part.encode()), most) + end)


def texts(last: str = "", wide: str = "") -> bytes:
    keys = [f'"{wide}{i}":"{"t" * 110 if wide else ""}"' for i in range(SOME // 3 - 9)]
    return packed('{"__metadata__":{' + ",".join(keys) + last + "}}")


def arrays(count: int) -> bytes:
    empty = json.dumps(entry("F32", [0], 0, 0))
    return packed("{" + ",".join(f'"{i}":{empty}' for i in range(count)) + "}")


SOME = tensorfile.MOST_VALUES
# Headers as large as they may be, of what takes most memory or time to read.
BOMBS: dict[str, Callable[[], bytes]] = {
    "lists": lambda: filled('{"a":[', "[],", "0]}"),
    "lists, as many as may be": lambda: filled('{"a":[', "[],", "0]}", SOME // 3 - 9),
    "objects": lambda: filled('{"a":[', "{},", "0]}"),
    "objects, as many as may be": lambda: filled('{"a":[', "{},", "0]}", SOME // 3 - 9),
    "lists of lists": lambda: filled('{"a":[', "[" * 100 + "]" * 100 + ",", "0]}"),
    "deep lists": lambda: filled("", "[", ""),
    "deep objects": lambda: filled("", '{"a":', ""),
    "deep, with as many as may be": lambda: packed('{"a":' * (SOME // 2)),
    "ends of lists": lambda: filled("{", "]", "}"),
    "numbers": lambda: filled('{"a":[', "1,", "0]}"),
    "numbers, as many as may be": lambda: filled('{"a":[', "1234567,", "0]}", SOME - 9),
    "digits": lambda: filled('{"a":', "9", "}"),
    "a long name": lambda: filled('{"', "n", '":0}'),
    "a long text": lambda: filled('{"__metadata__":{"k":"', "t", '"}}'),
    "a long text in four bytes": lambda: filled('{"__metadata__":{"k":"𝛛', "t", '"}}'),
    "a long text of escapes": lambda: filled('{"__metadata__":{"k":"𝛛', "\\n", '"}}'),
    "a long text of backslashes": lambda: filled('{"__metadata__":{"k":"', "\\\\", '"}}'),
    "escaped quotation marks": lambda: filled('{"__metadata__":{"k":"', '\\"', '"}}'),
    "surrogates": lambda: filled('{"__metadata__":{"k":"', "\\ud834\\udedb", '"}}'),
    "quotation marks": lambda: filled("{", '"', "}"),
    "empty strings": lambda: filled('{"a":[', '"",', "0]}"),
    "spaces": lambda: filled("{", " ", "}"),
    "commas": lambda: filled("{", ",", "}"),
    "not UTF-8": lambda: packed(b"{" + b"\xff" * (tensorfile.LONGEST_HEADER - 1)),
    "texts, as many as may be": texts,
    "a late duplicate": lambda: texts(last=',"1":""'),
    "wide texts, as many as may be": lambda: texts(wide="𝛛"),
    "arrays, as many as may be": lambda: arrays(SOME // 15 - 1),
    "arrays, more than may be": lambda: arrays(SOME // 6),
    "a huge shape": lambda: packed({"a": entry("F64", [2**60 - 1], 0, 2**63 - 8)}, bytes(8)),
}


# -- trying them ----------------------------------------------------------------------------------


def outcome(path: Path, content: bytes) -> str:
    """Write the file, read it, and return "valid" or "refused"; anything else is an error."""
    path.unlink(missing_ok=True)  # truncating it instead waits for the disk, on ext4
    path.write_bytes(content)
    begin = time.perf_counter()
    try:
        tensors, metadata = tensorfile.read(path)
    except ModelFileError as error:
        message = str(error)
        assert message.startswith(f"{path}: "), message
        assert len(message) < len(str(path)) + 500, f"{len(message)} characters: {message[:500]}"
        return "refused"
    finally:
        seconds = time.perf_counter() - begin
        assert seconds < SLOWEST, f"{seconds:.1f} s for {content[:80]!r}"
    check(tensors, metadata, content)
    return "valid"


def check(tensors: dict[str, np.ndarray], metadata: dict[str, str], content: bytes) -> None:
    """Compare what was read with what stands in the file, found without the code under test."""
    header, data = unpacked(content)
    assert metadata == header.pop("__metadata__", {})
    assert list(tensors) == list(header)
    assert sum(tensor.nbytes for tensor in tensors.values()) == len(data)
    for name, tensor in tensors.items():
        begin, end = header[name]["data_offsets"]
        assert tensor.dtype == {"F32": np.float32, "F64": np.float64}[header[name]["dtype"]]
        assert list(tensor.shape) == header[name]["shape"]
        assert tensor.astype(tensor.dtype.newbyteorder("<")).tobytes() == data[begin:end]
        assert tensor.flags.c_contiguous
        assert tensor.flags.writeable


def fuzz(inputs: int, seed: int) -> Counter[str]:
    """Return how many of so many mutated files were valid, and how many refused."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        for content in mutated(inputs, seed):
            counts[outcome(path, content)] += 1
    return counts


def peak(content: bytes, path: Path) -> int:
    """Return the bytes that Python took at most while it read a file."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        tensorfile.read(path)
    except ModelFileError:
        pass
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return most


def resident() -> float:
    """Return the most MiB that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_bombs(
    bombs: Mapping[str, Callable[[], bytes]],
    outcome: Callable[[Path, bytes], str],
    peak: Callable[[bytes, Path], int],
) -> None:
    """Say of each file that is large or deep what became of it, in what time and memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        before = resident()
        for name, make in bombs.items():
            content = make()
            begin = time.perf_counter()
            result = outcome(path, content)
            seconds = time.perf_counter() - begin
            print(f"{name}: {result} in {seconds:.2f} s,", end=" ")
            print(f"{peak(content, path) / 2**20:.1f} MiB of Python's at most")
        print(f"the process grew by {resident() - before:.1f} MiB, making them included")


def main() -> None:
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    fuzz(100, seed)  # so that what is imported late is there
    before, begin = resident(), time.perf_counter()
    counts = fuzz(inputs, seed)
    seconds = time.perf_counter() - begin
    print(
        f"{inputs} files, seed {seed}: {dict(counts)} in {seconds:.1f} s; the process grew by",
        end="",
    )
    print(f" {resident() - before:.1f} MiB, from {before:.1f}")
    print_bombs(BOMBS, outcome, peak)


if __name__ == "__main__":
    main()
