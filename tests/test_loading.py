"""Data by name, from files, and from other libraries: what comes out, and what is refused."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pickle
import re
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_iris, load_linnerud
from sklearn.utils import Bunch

import fastnet
from fastnet import cli
from fastnet.data import tabular
from fastnet.data.columns import Column, Layout
from fastnet.data.published import FILES
from fastnet.data.spelling import MISSING
from fastnet.data.tabular import Wanted

REAL = Path(__file__).parents[2] / "shared" / "data" / "mnist"
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (30, 4, 4), dtype=np.uint8)
LABELS = (np.arange(30) % 3).astype(np.uint8)
ROWS = PICTURES.reshape(30, 16)


def idx(array: np.ndarray) -> bytes:
    """Return an array of bytes as an IDX file."""
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


def write_set(folder: Path, *, compress: bool = True, digit: int = 0) -> None:
    """Write the four files of a small set of images."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, name in FILES.items():
        array = PICTURES if part.startswith("X") else (LABELS + digit) % 10
        content = idx(array[:12] if part.endswith("test") else array)
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(content, mtime=0) if compress else content)


# -- images by name -------------------------------------------------------------------------------


def test_images_and_labels_of_different_counts(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[:7])))
    with pytest.raises(ValueError, match=r"images of shape \(30, 4, 4\) and labels of shape \(7,"):
        fastnet.load_data("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("part", "array", "message"),
    [
        (
            "y_train",
            LABELS + 8,
            r"labels-idx1.*10 label\(s\) outside 0 to 9, the first \(10\) at row 2",
        ),
        ("y_test", np.full(12, 255), r"t10k-l.*12 label\(s\) outside 0 to 9, .*255\) at row 0"),
        ("X_test", PICTURES[:12, :3], r"images of shape \(30, 4, 4\) to .* and of \(12, 3, 4\) to"),
        ("X_train", PICTURES[:0], r"images of shape \(0, 4, 4\) and labels of shape \(30,\)"),
        ("X_train", PICTURES[:, :0], r"images of shape \(30, 0, 4\); expected some"),
        ("X_train", LABELS, r"images of shape \(30,\) and"),
        ("y_train", PICTURES, r"labels of shape \(30, 4, 4\); expected one label for each image"),
    ],
)
def test_images_that_are_refused(tmp_path: Path, part: str, array: Any, message: str) -> None:
    write_set(tmp_path, compress=False)
    (tmp_path / FILES[part]).write_bytes(idx(np.asarray(array, np.uint8)))
    with pytest.raises(ValueError, match=message):
        fastnet.load_data("mnist", data_dir=tmp_path)


def test_images_of_numbers_that_are_no_bytes(tmp_path: Path) -> None:
    write_set(tmp_path, compress=False)
    head = struct.pack(">HBBI", 0, 0x0D, 1, 30)
    path = tmp_path / FILES["y_train"]
    path.write_bytes(head + np.full(30, 2.7, ">f4").tobytes())
    with pytest.raises(ValueError, match=r"labels of float32; expected bytes, uint8, for both"):
        fastnet.load_data("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_images_from_a_folder(tmp_path: Path, name: str, compress: bool) -> None:
    write_set(tmp_path, compress=compress)
    data = fastnet.load_data(name, data_dir=tmp_path)
    assert (data.name, data.input_scale, data.X_train.dtype) == (name, 1 / 255, np.uint8)
    np.testing.assert_array_equal(data.X_train, ROWS)
    np.testing.assert_array_equal(data.y_test, LABELS[:12])


def test_a_folder_of_the_sets_name_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path)
    write_set(tmp_path / "fashion_mnist", digit=5)
    monkeypatch.setenv("FASTNET_DATA_DIR", str(tmp_path))
    assert fastnet.load_data("mnist").y_train[0] == 0
    assert fastnet.load_data("fashion_mnist").y_train[0] == 5


def test_a_folder_without_a_file_says_which(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels-idx1-ubyte missing\. Put the"):
        fastnet.load_data("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("folder", [5, b"folder"])
def test_folders_that_are_no_paths(folder: Any) -> None:
    with pytest.raises(TypeError, match=r"data_dir is .*; expected a folder's path"):
        fastnet.load_data("mnist", data_dir=folder)


def test_the_folder_with_some_of_the_files_is_named(tmp_path: Path) -> None:
    write_set(tmp_path / "mnist")
    (tmp_path / "mnist" / f"{FILES['y_test']}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path}/mnist \(data_dir\): t10k-labels"):
        fastnet.load_data("mnist", data_dir=tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real MNIST is not beside the checkout")
def test_the_real_mnist() -> None:
    data = fastnet.load_data("mnist", data_dir=REAL)
    assert data.X_train.shape == (60_000, 784)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_train).tolist() == counts


# -- files ----------------------------------------------------------------------------------------


def test_pairs_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.idx.gz").write_bytes(gzip.compress(idx(PICTURES)))
    (tmp_path / "b.idx").write_bytes(idx(LABELS))
    np.save(tmp_path / "X.npy", ROWS / np.float32(2))
    np.save(tmp_path / "y.npy", np.array(["a", "b", "c"])[LABELS])
    of_idx = fastnet.load_data((tmp_path / "a.idx.gz", tmp_path / "b.idx"))
    np.testing.assert_array_equal(of_idx.X_train, ROWS)
    assert of_idx.X_train.dtype == np.uint8
    of_npy = fastnet.load_data(f"{tmp_path / 'X.npy'}, {tmp_path / 'y.npy'}")
    assert of_npy.X_train.dtype == np.float32
    assert of_npy.y_train[2] == "c"
    assert of_npy.X_test is None
    with pytest.raises(FileNotFoundError, match="is no file; expected features, then targets"):
        fastnet.load_data((tmp_path / "X.npy", tmp_path / "z.npy"))
    with pytest.raises(ValueError, match="has 1 parts"):
        fastnet.load_data((tmp_path / "X.npy",))


@pytest.mark.parametrize("keys", ["X_train y_train X_test y_test", "x_train y_train x_test y_test"])
def test_archives_with_test_rows(tmp_path: Path, keys: str) -> None:
    arrays = (PICTURES, LABELS, PICTURES[:5], LABELS[:5])
    np.savez(tmp_path / "set.npz", **dict(zip(keys.split(), arrays, strict=True)))
    data = fastnet.load_data(tmp_path / "set.npz")
    np.testing.assert_array_equal(data.X_train, ROWS)
    assert data.X_test is not None
    assert data.X_test.shape == (5, 16)


def test_archives_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, a=ROWS, y=LABELS)
    with pytest.raises(ValueError, match="it has a, y; expected X and y"):
        fastnet.load_data(path)
    np.savez(path, X=np.array([{"a": 1}, None]), y=LABELS[:2])
    with pytest.raises(ValueError, match="Python objects, which are not opened"):
        fastnet.load_data(path)
    np.savez(path, X=ROWS, y=LABELS[:2])
    with pytest.raises(ValueError, match="expected as many of one as of the other"):
        fastnet.load_data(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        fastnet.load_data(path)


def npy(shape: str, dtype: Any = "<f8", data: bytes = b"") -> bytes:
    """Return an NPY file whose header states anything."""
    head = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


class Trap:
    """What leaves a trace if it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


# Contents of an NPY file, and what is said of each.
ARRAYS_REFUSED = {
    "huge": (npy(f"({10**12}, 2)"), "expected 16000000000000 bytes"),
    "beyond": (npy(f"({10**30}, 2)"), "has 0 bytes of data; expected 16000"),
    "short": (npy("(4, 2)", data=bytes(63)), "has 63 bytes of data; expected 64 bytes of float64"),
    "long": (npy("(4, 2)", data=bytes(65)), r"65 bytes .* in the shape \(4, 2\), as its header"),
    "negative": (npy("(-4, -2)", data=bytes(64)), "cannot be read|shape"),
    "columns": (npy("(4,)", [("a", "<f8")], bytes(32)), r"columns have names, \('a',\)"),
    "dtype": (npy("(4, 2)", "nonsense", bytes(64)), "descr is not a valid dtype"),
    "header": (npy("(4, 2", data=bytes(64)), "its header is damaged|annot parse header"),
    "version": (b"\x93NUMPY\x09\x00" + npy("(4, 2)")[8:], r"it is of version \(9, 0\)"),
    "other": (b"some other file", "magic string"),
    "nothing": (b"", "EOF"),
}
FOUR = np.array([0, 1, 0, 1])


@pytest.mark.parametrize("kind", ARRAYS_REFUSED)
@pytest.mark.parametrize("form", ["npy", "npz"])
def test_arrays_that_are_refused(tmp_path: Path, kind: str, form: str) -> None:
    content, message = ARRAYS_REFUSED[kind]
    X, y, archive = (tmp_path / name for name in ("X.npy", "y.npy", "set.npz"))
    X.write_bytes(content)
    np.save(y, FOUR)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(X, "X.npy")
        file.write(y, "y.npy")
    source: Any = (X, y) if form == "npy" else archive
    tracemalloc.start()
    with pytest.raises(ValueError, match=message) as caught:
        fastnet.load_data(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(X if form == "npy" else archive) in str(caught.value)
    assert peak < 8 << 20


@pytest.mark.parametrize("form", ["npy", "npz", "pickle"])
def test_nothing_is_unpickled(tmp_path: Path, form: str) -> None:
    objects = np.array([Trap(tmp_path / "trace"), None], dtype=object)
    path = tmp_path / f"X.{'npz' if form == 'pickle' else form}"
    np.save(tmp_path / "y.npy", FOUR[:2])
    if form == "npy":
        np.save(path, objects)
    elif form == "npz":
        np.savez(path, X=objects, y=FOUR[:2])
    else:
        path.write_bytes(pickle.dumps(objects))
    message = "it is no archive" if form == "pickle" else "it holds Python objects, which are not"
    with pytest.raises(ValueError, match=message):
        fastnet.load_data((path, tmp_path / "y.npy") if form == "npy" else path)
    assert not (tmp_path / "trace").exists()


def test_archives_may_be_anything_but_break_nothing(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez_compressed(path, X=np.arange(8.0).reshape(4, 2), y=FOUR)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(600):
        content = bytearray(whole)
        for place in rng.integers(len(whole), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
        path.write_bytes(content[: rng.integers(len(whole))] if rng.random() < 0.1 else content)
        with contextlib.suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's on old dtypes
            fastnet.load_data(path)


@pytest.mark.parametrize(
    ("offset", "value", "message"), [(8, 1, "encrypted"), (10, 99, "compression")]
)
def test_archives_with_a_password_or_packed_otherwise(
    tmp_path: Path, offset: int, value: int, message: str
) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, X=np.zeros((4, 2)), y=FOUR)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + offset] = value
    content[offset - 2] = value
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"set.npz cannot be read: .*{message}"):
        fastnet.load_data(path)


def test_names_with_folders_are_no_names(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as file:
        file.writestr("../X.npy", saved(ROWS))
        file.writestr("/y.npy", saved(LABELS))
    with pytest.raises(ValueError, match=r"it has \.\./X, /y; expected X and y"):
        fastnet.load_data(tmp_path / "set.npz")
    assert not (tmp_path.parent / "X.npy").exists()


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_arrays_of_any_order_give_the_same_network(tmp_path: Path, form: str) -> None:
    X = RNG.normal(size=(40, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int16)
    found = []
    for rows, labels in ((X, y), (np.asfortranarray(X), y), (X.astype(">f4"), y.astype(">i2"))):
        np.save(tmp_path / "X.npy", rows)
        np.save(tmp_path / "y.npy", labels)
        np.savez(tmp_path / "set.npz", X=rows, y=labels)
        source = (tmp_path / "X.npy", tmp_path / "y.npy")
        data = fastnet.load_data(source if form == "npy" else tmp_path / "set.npz")
        np.testing.assert_array_equal(data.X_train, X)
        run = fastnet.train(data, epochs=2, backend="numpy", progress=False)
        found.append(run.network.parameters.tobytes())
    assert len({*found}) == 1


@pytest.mark.parametrize(
    ("arrays", "kind", "message"),
    [
        ({"X": ROWS * 1j, "y": LABELS}, TypeError, "features have dtype complex128; expected real"),
        ({"X": ROWS.astype(str), "y": LABELS}, TypeError, "features have dtype <U"),
        ({"X": ROWS.astype("M8[s]"), "y": LABELS}, TypeError, "features have dtype datetime64"),
        ({"X": ROWS}, ValueError, "it has X; expected X and y"),
        ({}, ValueError, "it has nothing; expected X and y"),
        ({"X": np.array(3.0), "y": LABELS}, ValueError, r"features of shape \(\) and targets"),
    ],
)
def test_archives_of_what_are_no_numbers(
    tmp_path: Path, arrays: Any, kind: type[Exception], message: str
) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(kind, match=rf"set\.npz.*{message}"):
        fastnet.load_data(tmp_path / "set.npz")


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (ROWS[:5, :7], LABELS[:5], r"test: features of shape \(5, 7\) .* \(30, 16\)"),
        (ROWS[:3], [0, 1, 7], "test: y has 7, which is no class of the rows to train on"),
        (ROWS[:3] * [[np.nan]], LABELS[:3], r"test: X has 48 value\(s\) that are NaN"),
        (ROWS[:3], LABELS[:5], r"test: features of shape \(3, 16\) and targets of shape \(5,\)"),
    ],
)
def test_test_rows_are_checked_before_the_training(
    tmp_path: Path, X: Any, y: Any, message: str
) -> None:
    np.savez(tmp_path / "set.npz", X_train=ROWS, y_train=LABELS, X_test=X, y_test=y)
    with pytest.raises(ValueError, match=rf"set\.npz, {message}"):
        fastnet.load_data(tmp_path / "set.npz")


@pytest.mark.parametrize("shape", [(0, 4, 4), (3, 0, 4)])
def test_arrays_without_numbers(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "set.npz", X=np.zeros(shape), y=np.zeros(shape[0], int))
    with pytest.raises(ValueError, match="expected at least one row and one feature"):
        fastnet.load_data(tmp_path / "set.npz")


# -- tables ---------------------------------------------------------------------------------------


def csv_of(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


KAGGLE = "label,pixel0,pixel1\n1,0,255\n0,7,9\n1,3,4\n"


def test_a_table_of_images_stays_bytes(tmp_path: Path) -> None:
    data = fastnet.load_data(csv_of(tmp_path / "train.csv", KAGGLE))
    assert data.X_train.tolist() == [[0, 255], [7, 9], [3, 4]]
    assert (data.X_train.dtype, data.columns) == (np.uint8, ("pixel0", "pixel1"))
    assert data.y_train.tolist() == [1, 0, 1]
    assert (data.X_test, data.input_scale, data.name) == (None, 1.0, "train.csv")


@pytest.mark.parametrize(
    ("text", "label", "X", "y"),
    [
        ("a,b,kind\n1,2.5,x\n3,4,y\n", "kind", [[1, 2.5], [3, 4]], ["x", "y"]),
        ("1,2.5,0\n3,4,1\n", -1, [[1, 2.5], [3, 4]], [0, 1]),
        ("1,2.5,0\n3,4,1\n", 0, [[2.5, 0], [4, 1]], [1, 3]),
        ("\ufeffClass,a\n0,-1\n1,2\n", None, [[-1], [2]], [0, 1]),
        ('"a, b",y\n1,"n"\n2,"m"\n', None, [[1], [2]], ["n", "m"]),
    ],
)
def test_tables(tmp_path: Path, text: str, label: Any, X: Any, y: Any) -> None:
    data = fastnet.load_data(csv_of(tmp_path / "t.csv", text), label=label)
    assert data.X_train.tolist() == X
    assert data.y_train.tolist() == y


@pytest.mark.parametrize(
    ("text", "label", "message"),
    [
        ("", None, "the file is empty"),
        ("label,a\n", None, "no row"),
        ("1,2\n3,4\n", "label", "numbers only, so there is no header"),
        ("a,b\n1,2\n", None, r"which column has the labels\? .* there is none; .* 'a', 'b'"),
        ("label,target,a\n1,2,3\n", None, "there is more than one"),
        ("1,2\n3,4\n", None, "which column has the labels"),
        ("a,b\n1,2\n", "c", "no column is called 'c'; the columns are 'a', 'b'"),
        ("a,a,b\n1,2,3\n", "a", "2 columns are called 'a'"),
        ("a,b\n1,2\n", 2, "label is column 2, and there are 2"),
        ("label,a\n1,2\n1,2,3\n", None, "line 3"),
        ("label,a\n1,2,3\n1,2,3\n", None, "line 2"),
        ("label,a,b\n1,2\n", None, "line 2, column 'b' has no value"),
        ("label,a\n1,2\n\n1,3\n", None, "line 3 is empty"),
        ("label,a\n1,2\n1,zwei\n", None, "line 3, column 'a' is 'zwei', which is no number"),
        ("label;a\n1;2\n", None, "separated by semicolons"),
    ],
)
def test_tables_that_are_refused(tmp_path: Path, text: str, label: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fastnet.load_data(csv_of(tmp_path / "t.csv", text), label=label)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Other separators.
        ("label\ta\n1\t2\n", "fields are separated by tabs; expected commas"),
        ("label|a\n1|2\n", "fields are separated by vertical bars; expected commas"),
        ("label;a\n1,5;2,5\n", "fields are separated by semicolons; expected commas"),
        # Lines are counted, not rows: texts in quotes may have several.
        ('label,a,t\n1,2,"x\n\ny"\n0,zwei,z\n', "line 5, column 'a' is 'zwei'"),
        ('label,"a\nb"\n1,2\n0,x\n', "line 4, column"),
        ('label,"a\nb"\n1,2\n0,3,4\n', "line 4 has 3 fields, and the first line has 2"),
        ('"la\nbel",label,a\n0,1,2\n0,1,\n', "line 4, column 'a' has no value"),
        ("label,a\r1,2\r0,x\r", "line 3, column 'a' is 'x'"),
        ("label,a\r\n1,2\r\n0,x\r\n", "line 3, column 'a' is 'x'"),
        ('label,a\n1,"2\n0,3\n', "cannot be read as a table: EOF inside string"),
        # Empty rows.
        ("label,a\n1,2\n\n", "line 3 is empty"),
        ("label,a\n1,2\n,\n", "line 3 is empty"),
        ("\nlabel,a\n1,2\n", "the file is empty, or its first line is"),
        ("label,a\n1,2\n0\n", "line 3, column 'a' has no value"),
        # Null characters.
        ("label,a\0\n1,2\n", "first line has null characters; expected a table as text in UTF-8"),
        ("label,a\n1,2\n\0\0\0\0", "line 3, column 'a' has no value"),
        ("label,a\n1,2\0\n", "line 2, column 'a' is .*, which is no number"),
        # Which line is the header?
        ("5,3,setosa\n4,9,virginica\n5,1,setosa\n", "line 3 has 'setosa' in column 2"),
        ("0,1,2\n5,6,0\n7,8,1\n", "first line counts the columns, 0 to 2"),
        ("1,,0\n5,6,0\n7,8,1\n", "line 1, column '1' has no value"),
        # What pandas writes beside a table.
        (",a,label\n0,5,1\n1,6,0\n2,7,1\n", "the first column, '', only counts the rows"),
        ("Unnamed: 0,a,label\n0,5,1\n1,6,0\n", r"to_csv\(..., index=False\)"),
        # Too little.
        ("label\n1\n0\n", "expected rows, and a column beside the labels"),
    ],
)
def test_tables_of_another_kind(tmp_path: Path, text: str, message: str) -> None:
    label = None if "label" in text else -1
    with pytest.raises(ValueError, match=rf"t\.csv.*{message}"):
        fastnet.load_data(csv_of(tmp_path / "t.csv", text), label=label)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,a\n1,2\n0,x\n", "line 3, column 'a' is 'x'"),
        ("label,a\n1,2\n\n", "line 3 is empty"),
        ("label,a\n1,2\n0,1,2\n", "line 3"),
        ("label,a\n1,2,3\n0,1,2\n", "a row is longer than the first line of 2 fields"),
    ],
)
def test_what_cannot_be_read_twice(text: str, message: str) -> None:
    read, write = os.pipe()
    with open(write, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(text.encode())
    layout = Layout((Column("a"),), "label")
    with (
        open(read, encoding="utf-8-sig", newline="") as file,  # noqa: PTH123
        pytest.raises(ValueError, match=f"stdin.*{message}"),
    ):
        list(tabular.csv_batches(file, "stdin", Wanted(layout, 1), 5)[1])


def test_a_table_of_one_row_and_one_with_texts_of_several_lines(tmp_path: Path) -> None:
    one = fastnet.load_data(csv_of(tmp_path / "t.csv", "label,a\n1,2\n"))
    assert (one.X_train.tolist(), one.y_train.tolist()) == ([[2]], [1])
    text = 'label,t\r\n1,"x\r\ny"\r\n0,"a, ""b"""\r\n'
    data = fastnet.load_data(csv_of(tmp_path / "t.csv", text), one_hot=["t"])
    assert data.layout.columns[0].categories == ('a, "b"', "x\r\ny")
    assert data.X_train.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *((" 7 ", 7), ("+7", 7), ('"7"', 7), ("\t7", 7), ("7.", 7), (".5", 0.5), ("7e2", 700)),
        *(("1e-400", 0), (str(2**63), 2**63), (str(-(2**63) - 1), -(2.0**63)), (str(10**30), 1e30)),
    ],
)
def test_what_is_a_number(tmp_path: Path, text: str, number: float) -> None:
    data = fastnet.load_data(csv_of(tmp_path / "t.csv", f"label,a\n1,{text}\n0,3\n"))
    assert data.X_train.tolist() == [[number], [3]]


@pytest.mark.parametrize(
    "text",
    [
        *("1_000", "0x10", "0b1", "1d5", "1f", "1j", "$5", "5%", "1 000", '"1,5"', "True", "yes"),
        *("2024-01-01", "12:30", "\u0661", "\xa01", "\u22121", "1e", "-", "--1", "'1'"),
    ],
)
@pytest.mark.parametrize("before", [1, 5000])
def test_what_is_no_number(tmp_path: Path, text: str, before: int) -> None:
    rows = "1,2\n0,3\n" * before
    path = csv_of(tmp_path / "t.csv", f"label,a\n{rows}1,{text}\n")
    shown = re.escape(repr(text.strip('"')))
    with pytest.raises(ValueError, match=rf"line {2 * before + 2}, column 'a' is {shown}, which"):
        fastnet.load_data(path)


@pytest.mark.parametrize("text", ["inf", "-inf", "Infinity", "1e400", "-1e400"])
@pytest.mark.parametrize("place", [0, 1])
def test_infinite_numbers(tmp_path: Path, text: str, place: int) -> None:
    row = ["0.5", "0.5"]
    row[place] = text
    path = csv_of(tmp_path / "t.csv", f"label,a\n1.5,2\n{','.join(row)}\n")
    name = ("label", "a")[place]
    with pytest.raises(ValueError, match=rf"line 3, column '{name}' is -?inf, too large or inf"):
        fastnet.load_data(path)


@pytest.mark.parametrize("text", ["nan", "NaN", "NA", "N/A", "null", "None", "", '""', "<NA>"])
@pytest.mark.parametrize("place", [0, 1])
def test_gaps(tmp_path: Path, text: str, place: int) -> None:
    row = ["1", "2"]
    row[place] = text
    path = csv_of(tmp_path / "t.csv", f"label,a\n1,2\n{','.join(row)}\n")
    said = f"is {text!r}, which is no number" if text.strip('"') else "has no value"
    name = ("label", "a")[place]
    with pytest.raises(ValueError, match=rf"line 3, column '{name}' {said}; missing are 1 cell"):
        fastnet.load_data(path)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("gap", [*MISSING, ""])
def test_what_is_missing_is_counted_and_the_line_that_is_offered_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: str, header: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"00{i},{i},{gap if i % 4 == 1 else i},{gap if i % 3 == 1 else 0.5}" for i in range(9)]
    text = "".join(f"{row}\n" for row in ["label,a,b,c", *rows][not header :])
    csv_of(Path("t.csv"), text)
    with pytest.raises(ValueError, match="missing are") as error:
        fastnet.load_data("t.csv", label=0, header=header)
    said = str(error.value)
    names = ("'c'", "'b'") if header else ("'3'", "'2'")
    assert f"; missing are 5 cell(s): {names[0]} 3, {names[1]} 2; drop such rows, as in " in said
    assert said.endswith(", or fill them, with the same values in every table")
    exec(said.split(", as in ")[1].split(", or fill")[0], {"pandas": pd})
    data = fastnet.load_data("whole.csv", label=0, header=header)
    assert data.X_train.tolist() == [[i, i, 0.5] for i in (0, 2, 3, 6, 8)]
    assert data.y_train.tolist() == ["000", "002", "003", "006", "008"]


def test_what_is_missing_in_labels_texts_and_many_columns(tmp_path: Path) -> None:
    def said(source: Any, **options: Any) -> str:
        with pytest.raises(ValueError, match="missing are") as error:
            fastnet.load_data(source, label=0, **options)
        return str(error.value).split("; missing are ")[1]

    path = csv_of(tmp_path / "t.csv", "label,a\n1,2\nNA,3\n,4\n2.5,5\n")
    assert said(path).startswith("2 cell(s): 'label' 2; drop such rows, as in pandas.read_csv(")
    assert said(path).endswith(".to_csv('whole.csv', index=False)")
    path = csv_of(tmp_path / "t.csv", "label,a,city\n1,NA,NA\n2,3,\n3,True,Rome\n")
    filled = "drop such rows, or fill them, with the same values in every table"
    assert said(path, one_hot=["city"]) == f"2 cell(s): 'a' 1, 'city' 1; {filled}"
    wide = "label," + ",".join(f"c{i}" for i in range(20))
    path = csv_of(tmp_path / "t.csv", f"{wide}\n1{',' * 20}\n1{',2' * 20}\n")
    many = ", ".join(f"'c{i}' 1" for i in range(8))
    assert said(path) == f"20 cell(s): {many} and those of 12 more column(s); {filled}"
    frame = pd.DataFrame({"y": [1, 2, 3], "a": [1, None, 3], "b": ["1", "2", None]})
    assert said(frame).startswith("2 cell(s): 'a' 1, 'b' 1; drop such rows, as in frame.dropna(),")
    assert said(frame.astype(object).fillna("NA")) == f"2 cell(s): 'a' 1, 'b' 1; {filled}"


def test_columns_of_true_and_false_are_numbers(tmp_path: Path) -> None:
    text = "label,a,b,c\n1,True,0.5,7\n0,False,1,300\n"
    data = fastnet.load_data(csv_of(tmp_path / "t.csv", text))
    assert data.X_train.dtype == np.float64
    assert data.X_train.tolist() == [[1, 0.5, 7], [0, 1, 300]]


def test_labels_keep_what_they_are(tmp_path: Path) -> None:
    for labels, found in (
        ("7 007 8", ["7", "007", "8"]),
        ("001 002 001", ["001", "002", "001"]),
        ("+1 -1 +1", ["+1", "-1", "+1"]),
        ("1_000 2 3", ["1_000", "2", "3"]),
        ("007 1.5 2", ["007", "1.5", "2"]),
        (f"{10**30} 1 2", [str(10**30), "1", "2"]),
        (f"{2**64 - 1} -1 2", [str(2**64 - 1), "-1", "2"]),
        ("1.50 1e3 -2", [1.5, 1000, -2]),
        ("+1.5 +1 0.5", [1.5, 1, 0.5]),
        ("-3 0 12", [-3, 0, 12]),
        ("TRUE false True", [True, False, True]),
        ("True 1 0", ["True", "1", "0"]),
        ("None NA x", ["None", "NA", "x"]),
        ("NA 007 nan", ["NA", "007", "nan"]),
        ("7 007 x", ["7", "007", "x"]),
        ("1 2.0 x", ["1", "2.0", "x"]),
        (f"{2**64 - 1} 1 2", [2**64 - 1, 1, 2]),
        ("True False True", [True, False, True]),
        ("1.5 2 3", [1.5, 2, 3]),
    ):
        # Far apart: pandas looks at a file in parts.
        between = f"{labels.split()[0]},1\n" * 90_000
        lines = "".join(f"{label},1\n{between}" for label in labels.split())
        labels_found = fastnet.load_data(csv_of(tmp_path / "t.csv", f"label,a\n{lines}")).y_train
        assert labels_found[::90_001].tolist() == found
        assert labels_found.flags.writeable


@pytest.mark.parametrize(
    ("text", "label", "header", "names", "rows"),
    [
        ("0,1,2\n5,6,7\n8,9,1\n", "2", True, ("0", "1"), [[5, 6], [8, 9]]),
        ("10,3,red,white\n1,2,3,0\n", -1, True, ("10", "3", "red"), [[1, 2, 3]]),
        ("5,6,x\n5,6,y\n", 2, True, ("5", "6"), [[5, 6]]),
        ("0,1,2\n5,6,7\n", 2, False, (), [[0, 1], [5, 6]]),
        ("5,x,1\n6,y,2\n", 1, False, (), [[5, 1], [6, 2]]),
        ("5,6,y\n5,6,y\n", "2", False, (), [[5, 6], [5, 6]]),
        ("5,6,1\n5,6,2\n", 2, None, (), [[5, 6], [5, 6]]),
        ("a,b,c\n5,6,1\n", "c", None, ("a", "b"), [[5, 6]]),
    ],
)
def test_headers_that_are_said_or_found_out(
    tmp_path: Path, text: str, label: Any, header: bool | None, names: Any, rows: Any
) -> None:
    path = csv_of(tmp_path / "t.csv", text)
    data = fastnet.load_data(path, label=label, header=header)
    assert (data.columns, data.X_train.tolist()) == (names, rows)


# Twelve rows of numbers from 0 to 11, and others from 100 to 1200.
BELOW = "".join(f"{i},{11 - i},{100 + 100 * i},{i % 2}\n" for i in range(12))


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ("0.26290,?,0.66805,1", "'[?]' is no name"),
        ("7,NA,x,1", "'NA' is no name"),
        ("0.26290,nan.,0.66805,1", "'0.26290' is hardly a name"),
        ("-4,x,5,1", "'-4' is hardly a name"),
        ("4,x,007,1", "'007' is hardly a name"),
        ("1e3,x,y,z", "'1e3' is hardly a name"),
        ("5,x,5,1", "has '5' twice"),
        ("5,x,200,1", "'5' is like what is below it"),
        # A little larger than all there is, as one of few rows is.
        ("id,12,1300,2", "'12' is like what is below it"),
    ],
)
def test_a_first_line_that_may_be_a_row(tmp_path: Path, first: str, reason: str) -> None:
    path = csv_of(tmp_path / "t.csv", f"{first}\n{BELOW}")
    said = f"t.csv: the first line has numbers beside texts, .*{reason}.* with header=True or head"
    with pytest.raises(ValueError, match=said):
        fastnet.load_data(path, label=3)
    assert len(fastnet.load_data(path, label=3, header=True).X_train) == 12
    rows = fastnet.load_data(path, label=3, one_hot=[0, 1, 2], header=False).X_train
    assert len(rows) == 13


@pytest.mark.parametrize(
    "first",
    [
        "id,2019,2020,label",
        "2019,2020,2021,label",
        "2021,2020,price,label",
        "1,2,3,label",
        "country,1990,2000,2010",
        "EU,NA,None,label",
        "a,red,?,label",
    ],
)
def test_a_first_line_of_names(tmp_path: Path, first: str) -> None:
    path = csv_of(tmp_path / "t.csv", f"{first}\n{BELOW}")
    data = fastnet.load_data(path, label=3)
    assert data.columns == tuple(first.split(",")[:3])
    assert len(data.X_train) == 12


@pytest.mark.parametrize("gap", ["NA", "n/a", "NULL", " N/A ", "", " "])
def test_a_first_row_with_a_gap_is_a_row(tmp_path: Path, gap: str) -> None:
    path = csv_of(tmp_path / "t.csv", f"0.26290,{gap},0.66805,1\n{BELOW}")
    with pytest.raises(ValueError, match=r"t\.csv: line 1, column '1' "):
        fastnet.load_data(path, label=3)
    with pytest.raises(ValueError, match="the first line has numbers and gaps only, so there is"):
        fastnet.load_data(path, label="price")


def test_rows_of_texts_alone(tmp_path: Path) -> None:
    rows = "red,S,no\nblue,L,no\nred,M,yes\nred,S,yes\n"
    path = csv_of(tmp_path / "t.csv", rows)
    said = r"t\.csv: line 2 has 'no' in column 2 .* as all of its fields come again: it seems to be"
    with pytest.raises(ValueError, match=said):
        fastnet.load_data(path, label=2, one_hot=[0, 1])
    assert len(fastnet.load_data(path, label=2, one_hot=[0, 1], header=False).X_train) == 4
    # A heading may be one of the texts below it.
    data = fastnet.load_data(csv_of(path, f"red,size,no\n{rows}"), label=2, one_hot=[0, 1])
    assert len(data.X_train) == 4


def test_a_position_that_is_a_heading_of_numbers(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", "2019,2020,2021\n1,2,3\n")
    for label in ("2021", 2021):
        with pytest.raises(ValueError, match="numbers only: if it has the names, say header=True"):
            fastnet.load_data(path, label=label)
    assert fastnet.load_data(path, label="2021", header=True).y_train.tolist() == [3]


@pytest.mark.parametrize(
    ("text", "options", "kind", "message"),
    [
        (
            KAGGLE,
            {"header": False, "label": "label"},
            ValueError,
            r"the first line is a row \(head",
        ),
        ("a,b\n1,2\n", {"header": False, "label": 0, "one_hot": ["b"]}, ValueError, "called 'b'"),
        (KAGGLE, {"header": False}, ValueError, "which column has the labels"),
        (KAGGLE, {"header": False, "label": 0}, ValueError, "line 1, column '1' is 'pixel0'"),
        ("1,2\n3,4\n", {"header": True}, ValueError, "which column has the labels"),
        ("1,2\n", {"header": True, "label": 0}, ValueError, "a header and no row"),
        (KAGGLE, {"header": 0}, TypeError, "header is 0; expected True if the first line"),
        ("1,2\n3,4\n", {"label": "y"}, ValueError, "numbers only, so there is no header .* header"),
        ("0,1,2\n3,4,5\n", {"label": 0}, ValueError, "with header=True or header=False"),
        ("1,x\n1,x\n", {"label": "x"}, ValueError, "say which with header=True or header=False"),
    ],
)
def test_headers_that_contradict(
    tmp_path: Path, text: str, options: Any, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        fastnet.load_data(csv_of(tmp_path / "t.csv", text), **options)


def test_only_csv_has_headers(tmp_path: Path) -> None:
    for source in ("digits", tmp_path / "t.parquet", pd.DataFrame({"y": [1, 2]}), ("a", "b")):
        with pytest.raises(ValueError, match="header is about the first line of CSV files"):
            fastnet.load_data(source, header=True)


def test_columns_of_one_name_are_known_by_position(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", "a,a,label\n1,2,0\n3,4,1\n" + "5,6,0\n7,8,1\n" * 10)
    data = fastnet.load_data(path)
    assert data.X_train[:2].tolist() == [[1, 2], [3, 4]]
    assert data.columns == ("a", "a")
    assert not data.layout.is_named
    with path.open(encoding="utf-8-sig", newline="") as file:
        wanted = Wanted(data.layout, 2, needs_label=True)
        reading, batches = tabular.csv_batches(file, path, wanted, 5)
        found = np.concatenate([batch.X for batch in batches])
    assert (reading.places, reading.label) == ([0, 1], 2)
    np.testing.assert_array_equal(found, data.X_train)


@pytest.mark.parametrize(
    ("trained", "given", "message"),
    [
        ("a,a,b,label", "b,a,a,label", r"column 0 .* is called 'b', and in training 'a' stood"),
        ("a,a,b,label", "a,label,a,c", r"column 3 .* is called 'c', and in training 'b' stood"),
        ("a,,b,label", "a,b,,label", r"column 1 .* is called 'b', and in training '' stood"),
    ],
)
def test_headings_are_compared_where_columns_are_known_by_position(
    tmp_path: Path, trained: str, given: str, message: str
) -> None:
    rows = "\n1,2,3,0\n4,5,6,1\n"
    layout = fastnet.load_data(csv_of(tmp_path / "t.csv", trained + rows)).layout

    def read(text: str) -> Any:
        path = csv_of(tmp_path / "new.csv", text)
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(tabular.csv_batches(file, path, Wanted(layout, 3), 5)[1]).X.tolist()

    assert read(trained + rows) == [[1, 2, 3], [4, 5, 6]]
    assert read("1,2,3\n") == [[1, 2, 3]]
    with pytest.raises(ValueError, match=message):
        read(given + rows)
    frame = pd.DataFrame([[1, 2, 3]], columns=given.replace("label,", "").split(",")[:3])
    with pytest.raises(ValueError, match=message.replace("column 3", "column 2")):
        tabular.frame_features(frame, layout, 3, "X")


def test_names_come_before_positions(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", "2021,1,n\nx,y,5\nz,w,6\n")

    def read(label: Any, one_hot: Any) -> Any:
        data = fastnet.load_data(path, label=label, one_hot=one_hot)
        return data.layout.label, [column.name for column in data.layout.columns]

    assert read("2021", ["1"]) == ("2021", ["1", "n"])
    assert read("1", ["2021"]) == ("1", ["2021", "n"])
    assert read(1, [0]) == ("1", ["2021", "n"])
    assert read("-2", ["0"]) == ("1", ["2021", "n"])
    with pytest.raises(ValueError, match="label is column 3, and there are 3: '2021', '1', 'n'"):
        read("3", [])
    with pytest.raises(ValueError, match="no column is called '2_1'"):
        read("2_1", [])
    plain = csv_of(tmp_path / "plain.csv", "1,2,9\n3,4,9\n")
    assert fastnet.load_data(plain, label="-1").y_train.tolist() == [9, 9]


def test_the_label_twice(tmp_path: Path) -> None:
    layout = Layout((Column("a"),), "label")
    path = csv_of(tmp_path / "t.csv", "a,label,label\n1,2,0\n")
    with (
        path.open(encoding="utf-8-sig", newline="") as file,
        pytest.raises(ValueError, match="2 columns are called 'label'"),
    ):
        tabular.csv_batches(file, path, Wanted(layout, 1, needs_label=True), 5)


def test_long_texts_and_names_are_not_shown_whole(tmp_path: Path) -> None:
    long = "9" * 3_000_000
    for text in (
        f"label,a\n1,{long}x\n",
        f"label,{'a' * 100_000}\n1,x\n",
        f"{'a' * 100_000},b\n1,2\n",
        f"label,{long}\n1,2\n",
        f"label,a\n1,{long}\n1,2,3\n",
    ):
        with pytest.raises(ValueError, match=r"t\.csv") as caught:
            fastnet.load_data(csv_of(tmp_path / "t.csv", text))
        assert len(str(caught.value)) < 600


def test_very_many_columns(tmp_path: Path) -> None:
    count = 20_000
    names = [f"p{i}" for i in range(count)]
    text = f"label,{','.join(names)}\n" + "".join(f"{i},{'7,' * (count - 1)}8\n" for i in (0, 1))
    data = fastnet.load_data(csv_of(tmp_path / "t.csv", text))
    assert data.X_train.shape == (2, count)
    assert data.X_train.dtype == np.uint8
    frame = pd.DataFrame(data.X_train, columns=names)[names[::-1]]
    found = tabular.frame_features(frame, data.layout, count, "X")
    np.testing.assert_array_equal(found, data.X_train)


def test_bytes_are_made_column_by_column() -> None:
    frame = pd.DataFrame(np.tile(np.arange(200), (5000, 1)))  # 8 MB, of which 1 MB is needed
    tracemalloc.start()
    data = fastnet.load_data(frame, label=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data.X_train.dtype == np.uint8
    assert data.X_train[[0, -1]].tolist() == [[*range(1, 200)]] * 2
    assert peak < 4 << 20


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_text_of_another_encoding(tmp_path: Path, encoding: str) -> None:
    path = csv_of(tmp_path / "t.csv", "label,höhe\n1,2\n", encoding)
    with pytest.raises(ValueError, match=r"t\.csv.*UTF-8.*(convert|save)"):
        fastnet.load_data(path)


def test_text_of_another_encoding_far_behind(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"label,a\n" + b"1,2\n" * 300_000 + b"1,\xe9\n")
    with pytest.raises(ValueError, match=r"t\.csv is no text in UTF-8 \(.*e9\); convert it"):
        fastnet.load_data(path)


@pytest.mark.parametrize(
    "content",
    [bytes(100), bytes(range(256)) * 9, gzip.compress(b"label,a")],
    ids=["zeros", "all bytes", "gzip"],
)
def test_tables_that_are_no_text(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.csv.*UTF-8"):
        fastnet.load_data(path)


@pytest.mark.parametrize("name", ["a b.csv", "ü, ö.csv", "a,b.csv", "~a.csv", "UPPER.CSV"])
@pytest.mark.parametrize("kind", [str, Path])
def test_names_of_files(
    tmp_path: Path, name: str, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    csv_of(tmp_path / name, KAGGLE)
    assert fastnet.load_data(kind(name)).X_train.shape == (3, 2)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert fastnet.load_data(kind(f"~/{name}")).name == name


# -- Parquet --------------------------------------------------------------------------------------


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1, 2, 3], "t": list("xyx"), "label": [0, 1, 0]}, index=[5, 7, 9])
    frame.to_parquet(tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def test_parquet_files(parquet: Path) -> None:
    data = fastnet.load_data(parquet, one_hot=["t"])
    assert data.X_train.tolist() == [[1, 1, 0], [2, 0, 1], [3, 1, 0]]
    assert data.columns == ("a", "t")
    wanted = Wanted(data.layout, 3, needs_label=True)
    _, batches = tabular.parquet_batches(parquet, wanted, 2)
    parts = list(batches)
    np.testing.assert_array_equal(np.concatenate([part.X for part in parts]), data.X_train)
    assert [part.y.tolist() for part in parts if part.y is not None] == [[0, 1], [0]]


def test_parquet_files_that_are_refused(parquet: Path) -> None:
    with pytest.raises(ValueError, match=r"t\.parquet: row 0, column 't' is 'x', which is no num"):
        fastnet.load_data(parquet)
    layout = fastnet.load_data(parquet, one_hot=["t"]).layout
    whole = parquet.read_bytes()
    damaged = whole[:4] + bytes(len(whole) // 3) + whole[4 + len(whole) // 3 :]
    for content in (whole[:-20], whole[:50], b"", b"no such thing", damaged):
        parquet.write_bytes(content)
        with pytest.raises(ValueError, match=r"t\.parquet cannot be read as Parquet: "):
            fastnet.load_data(parquet, one_hot=["t"])
        with pytest.raises(ValueError, match=r"t\.parquet cannot be read as Parquet: "):
            list(tabular.parquet_batches(parquet, Wanted(layout, 3), 2)[1])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        tabular.parquet_batches(parquet.with_name("nowhere.parquet"), Wanted(layout, 3), 2)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1, None, 3], "row 1, column 'a' has no value"),
        (pd.array([1, None, 3], dtype="Int64"), "row 1, column 'a' has no value"),
        (pd.to_datetime(["2024-01-01"] * 3), "column 'a' has dates or times"),
        ([[1], [2], [3]], "row 0, column 'a' is .*, which is no number"),
        ([0.5, np.inf, 1], "row 1, column 'a' is inf"),
    ],
)
def test_parquet_columns_that_are_refused(tmp_path: Path, column: Any, message: str) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": column, "label": [0, 1, 0]}).to_parquet(path)
    with pytest.raises(ValueError, match=rf"t\.parquet: {message}"):
        fastnet.load_data(path)


# -- what pandas and scikit-learn hand over -------------------------------------------------------


def test_frames_and_bunches() -> None:
    frame = pd.DataFrame({"a": [1.5, 2.5], "target": ["x", "y"], "b": [1, 2]})
    data = fastnet.load_data(frame)
    assert data.X_train.tolist() == [[1.5, 1], [2.5, 2]]
    assert data.y_train.tolist() == ["x", "y"]
    assert data.columns == ("a", "b")
    iris = fastnet.load_data(load_iris())
    assert iris.X_train.shape == (150, 4)
    with pytest.raises(ValueError, match="row 1, column 'a' has no value"):
        fastnet.load_data(pd.DataFrame({"a": [1, None], "label": [0, 1]}))


def frame_of(column: Any, **others: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": column, **others, "label": [0, 1, 0]})


@pytest.mark.parametrize(
    ("frame", "X"),
    [
        (frame_of(pd.array([1, 2, 3], dtype="Int64"), b=[0.5, 1, 2]), [[1, 0.5], [2, 1], [3, 2]]),
        (frame_of(pd.array([1.5, 2, 3], dtype="Float64")), [[1.5], [2], [3]]),
        (frame_of(pd.array([True, False, True], dtype="boolean")), [[1], [0], [1]]),
        (frame_of([True, False, True], b=[0.5, 1, 2]), [[1, 0.5], [0, 1], [1, 2]]),
        (frame_of([True, False, True], b=[300, 1, 2]), [[1, 300], [0, 1], [1, 2]]),
        (frame_of(pd.Categorical([3, 1, 3])), [[3], [1], [3]]),
        (frame_of(pd.arrays.SparseArray([0, 0, 1.5]), b=[1, 2, 3]), [[0, 1], [0, 2], [1.5, 3]]),
        (frame_of(pd.Series([1, 2.5, "3"], dtype=object)), [[1], [2.5], [3]]),
        (frame_of(["1", " 2", "3e1"]), [[1], [2], [30]]),
        (
            frame_of(np.array([2**64 - 1, 1, 2], "u8"), b=[-1, 2, 3]),
            [[2.0**64, -1], [1, 2], [2, 3]],
        ),
        (frame_of([1, 2, 3]).set_index(pd.Index([7, 7, 9])), [[1], [2], [3]]),
    ],
    ids=[
        *("Int64", "Float64", "boolean", "bool float", "bool int", "category", "sparse", "objects"),
        *("text", "uint64", "index"),
    ],
)
def test_frames_of_every_kind(frame: pd.DataFrame, X: Any) -> None:
    data = fastnet.load_data(frame)
    assert data.X_train.dtype.kind in "uif"
    assert data.X_train.tolist() == X
    assert data.y_train.tolist() == [0, 1, 0]
    features = frame.drop(columns="label")
    found = tabular.frame_features(features, data.layout, features.shape[1], "X")
    assert found.tolist() == X


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.array([1, None, 3], dtype="Int64"), "row 1, column 'a' has no value"),
        (pd.array([True, None, True], dtype="boolean"), "row 1, column 'a' has no value"),
        (pd.Categorical(["x", None, "x"]), "row 1, column 'a' has no value"),
        (pd.arrays.SparseArray([0.5, np.nan, 0]), "row 1, column 'a' has no value"),
        (pd.Categorical(["x", "y", "x"]), "row 0, column 'a' is 'x', which is no number"),
        (pd.to_datetime(["2024-01-01"] * 3), r"'a' has dates or times \(datetime64"),
        (pd.to_datetime(["2024-01-01"] * 3).tz_localize("UTC"), "'a' has dates or times"),
        (pd.to_timedelta([1, 2, 3], unit="s"), "'a' has dates or times"),
        (pd.period_range("2024", periods=3, freq="M"), "'a' has dates or times"),
        (pd.interval_range(0, 3), "row 0, column 'a' is Interval"),
        ([1j, 2, 3], "row 0, column 'a' is 1j, which is no number"),
        ([[1], [2], [3]], r"row 0, column 'a' is \[1\], which is no number"),
        ([1, np.inf, 2], "row 1, column 'a' is inf"),
        (pd.Series([1, "x", True], dtype=object), "row 1, column 'a' is 'x', which is no number"),
    ],
)
def test_frames_that_are_refused(column: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"the data frame: .*{message}"):
        fastnet.load_data(frame_of(column))


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (pd.array([1, 0, 1], dtype="Int64"), [1, 0, 1]),
        (pd.Series([1, 0, 1], dtype=object), [1, 0, 1]),
        (pd.Categorical(list("xyx")), ["x", "y", "x"]),
        (pd.Categorical([5, 7, 5]), [5, 7, 5]),
        (pd.array(list("xyx"), dtype="string"), ["x", "y", "x"]),
        (pd.arrays.SparseArray([0, 1, 0]), [0, 1, 0]),
        (pd.array([True, False, True], dtype="boolean"), [True, False, True]),
    ],
)
def test_labels_of_every_kind(labels: Any, found: Any) -> None:
    data = fastnet.load_data(pd.DataFrame({"a": [1, 2, 3], "label": labels}))
    assert data.y_train.tolist() == found
    assert data.y_train.dtype.kind in "biuU"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (pd.array([1, None, 1], dtype="Int64"), "row 1, column 'label' has no value"),
        (pd.Series([1, "x", 1], dtype=object), "'label' mixes text and numbers"),
        (pd.to_datetime(["2024-01-01"] * 3), "'label' has dates or times"),
        (pd.Series([[1], [0], [1]], dtype=object), r"column 'label' is \[1\]"),
        ([0.5, np.inf, 1], "row 1, column 'label' is inf"),
        ([1j, 0, 1], "'label' has complex numbers"),
    ],
)
def test_labels_that_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"the data frame: .*{message}"):
        fastnet.load_data(pd.DataFrame({"a": [1, 2, 3], "label": labels}))


def test_frames_with_headings_of_several_levels() -> None:
    columns = pd.MultiIndex.from_tuples([("a", "b"), ("label", "")])
    frame = pd.DataFrame([[1, 2], [3, 4]], columns=columns)
    with pytest.raises(ValueError, match=r"the columns are \"\('a', 'b'\)\""):
        fastnet.load_data(frame)
    assert fastnet.load_data(frame, label=1).y_train.tolist() == [2, 4]


def test_bunches_of_frames() -> None:
    iris = load_iris(as_frame=True)
    data = fastnet.load_data(iris)
    assert data.columns == tuple(iris.feature_names)
    np.testing.assert_array_equal(data.X_train, load_iris().data)
    mixed = pd.DataFrame({"a": [True, False, True], "b": pd.array([1, 2, 3], dtype="Int64")})
    found = fastnet.load_data(Bunch(data=mixed, target=pd.Series([0, 1, 0])))
    assert found.X_train.tolist() == [[1, 1], [0, 2], [1, 3]]
    several = fastnet.load_data(load_linnerud(as_frame=True))
    assert several.y_train.shape == (20, 3)


@pytest.mark.parametrize(
    ("X", "y", "kind", "message"),
    [
        (sparse.csr_matrix(np.eye(3)), [0, 1, 0], TypeError, r"bunch\.data is a sparse matrix"),
        (np.eye(3), None, ValueError, r"features of shape \(3, 3\) and targets of shape \(\)"),
        (np.eye(3), [0, 1], ValueError, r"and targets of shape \(2,\); expected as many"),
        ([[1], [1, 2]], [0, 1], ValueError, r"bunch\.data cannot become an array"),
        (["a", "b"], [0, 1], TypeError, "bunch: features have dtype <U1; expected real numbers"),
        (np.ma.masked_array(np.eye(2), np.eye(2)), [0, 1], ValueError, "has masked values"),
        (pd.DataFrame({"a": ["x", "y"]}), [0, 1], ValueError, r"bunch\.data: row 0, column 'a'"),
    ],
)
def test_bunches_that_are_refused(X: Any, y: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        fastnet.load_data(Bunch(data=X, target=y))


# -- what is nothing of it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("mnst", ValueError, r"no data set; did you mean 'mnist'\?"),
        ("nowhere.csv", FileNotFoundError, "there is no such file"),
        ("/", IsADirectoryError, "is a folder"),
        ("~no-such-user/t.csv", FileNotFoundError, "there is no such file"),
        ("a\0b.csv", FileNotFoundError, "there is no such file"),
        ("no,thing", FileNotFoundError, "no is no file; expected features, then targets"),
        (7, TypeError, "data is a int"),
        (b"t.csv", TypeError, "data is a bytes"),
        ((b"a.npy", b"b.npy"), TypeError, "data has a bytes in it; expected two files"),
        ((ROWS, LABELS), TypeError, r"your own arrays: train\(X, y\)"),
        ("pyproject.toml", ValueError, "files ending in .toml are not known"),
    ],
)
def test_sources_that_are_refused(
    source: Any, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    with pytest.raises(kind, match=message):
        fastnet.load_data(source)


# -- training on it -------------------------------------------------------------------------------


def table_of_iris(path: Path) -> Path:
    iris = load_iris(as_frame=True)
    frame = iris.frame.assign(target=iris.target_names[iris.target])
    frame.to_csv(path, index=False)
    return path


def test_train_takes_a_file_and_a_dataset(tmp_path: Path) -> None:
    path = table_of_iris(tmp_path / "iris.csv")
    options: dict[str, Any] = {
        "hidden": (32,),
        "epochs": 100,
        "backend": "numpy",
        "progress": False,
    }
    by_path = fastnet.train(path, **options)
    by_set = fastnet.train(fastnet.load_data(path), **options)
    assert by_path.network.parameters.tobytes() == by_set.network.parameters.tobytes()
    assert by_path.network.classes.tolist() == ["setosa", "versicolor", "virginica"]
    assert by_path.test_accuracy > 0.8
    with pytest.raises(ValueError, match="y was given together with the data set"):
        fastnet.train(fastnet.load_data(path), [1])


def test_the_command_trains_on_a_table_and_on_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table_of_iris(tmp_path / "iris.csv")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", str(path), "--label", "target", "--backend", "numpy", "--json"])
    assert json.loads(capsys.readouterr().out)["test_accuracy"] > 0.8
    write_set(tmp_path / "images")
    pictures = tmp_path / "pictures"
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--backend", "numpy", "--epochs", "1", "--plot", str(pictures)])
    shown = capsys.readouterr()
    names = {"curves.png", "predictions.png", "confusion.png", "weights.png"}
    assert {path.name for path in pictures.iterdir()} == names
    assert shown.err.count("wrote ") == 4
    with pytest.raises(SystemExit, match="1"):
        cli.main(["train", "--plot", str(path)])
    assert "is a file; expected a folder" in capsys.readouterr().err
    options = ["--data-dir", str(tmp_path / "images"), "--backend", "numpy", "--epochs", "2"]
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "mnist", *options])
    assert "Network for mnist" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        cli.main(["train", "nothing"])


def test_ctrl_c_while_a_table_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,label\n" + "1,2\n" * 200_000, encoding="utf-8")
    read, calls = tabular._Seen.read, []

    def pressed(self: Any, size: int = -1) -> str:
        calls.append(size)
        if len(calls) == 2:
            self._file = SimpleNamespace(read=press)
        return read(self, size)

    def press(size: int) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(tabular._Seen, "read", pressed)
    with pytest.raises(KeyboardInterrupt):
        fastnet.load_data(path)


def test_a_table_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,label\n1,2\n3,4\n", encoding="utf-8")

    def full(*arguments: Any, **options: Any) -> None:
        raise pd.errors.ParserError("Error tokenizing data. C error: out of memory")

    monkeypatch.setattr(pd, "read_csv", full)
    with pytest.raises(MemoryError, match=r"t.csv takes more memory than there is"):
        fastnet.load_data(path)
