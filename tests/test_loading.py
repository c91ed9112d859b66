"""Data by name, from files, and from other libraries: what comes out, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

import fastnet
from fastnet import cli
from fastnet.data import images
from fastnet.data.images import FASHION_MNIST, FILES, MNIST

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


def test_images_and_labels_of_different_counts(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[:7])))
    with pytest.raises(ValueError, match=r"images of shape \(30, 4, 4\) and labels of shape \(7,"):
        fastnet.load_data("mnist", data_dir=tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real MNIST is not beside the checkout")
def test_the_real_mnist() -> None:
    data = fastnet.load_data("mnist", data_dir=REAL)
    assert data.X_train.shape == (60_000, 784)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.y_train).tolist() == counts


# -- downloading ----------------------------------------------------------------------------------


class Server:
    """A mirror on this machine, which counts what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, directory=str(folder), **options)

            def log_message(self, *_: Any) -> None:
                outer.asked.append(self.path)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    write_set(tmp_path / "served")
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("FASTNET_DATA_DIR", raising=False)
    server = Server(tmp_path / "served")
    hashes = {
        part: hashlib.sha256((tmp_path / "served" / f"{name}.gz").read_bytes()).hexdigest()
        for part, name in FILES.items()
    }
    small = MNIST._replace(mirrors=("http://127.0.0.1:9/", server.address), hashes=hashes)
    monkeypatch.setattr(images, "MNIST", small)
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_images_are_downloaded_once_from_the_first_mirror_that_answers(mirror: Server) -> None:
    first = fastnet.load_data("mnist")
    np.testing.assert_array_equal(first.X_train, ROWS)
    assert len(mirror.asked) == 4
    again = fastnet.load_data("mnist")
    np.testing.assert_array_equal(again.X_test, first.X_test)
    assert len(mirror.asked) == 4


def test_a_wrong_hash_is_refused_and_not_kept(
    mirror: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = images.MNIST
    wrong = right._replace(hashes={**right.hashes, "y_test": "0" * 64})
    monkeypatch.setattr(images, "MNIST", wrong)
    with pytest.raises(OSError, match=r"could not be downloaded.*hash.*Download.*FASTNET_DATA_DIR"):
        fastnet.load_data("mnist")
    kept = {path.name for path in (tmp_path / "cache" / "data" / "mnist").iterdir()}
    assert kept == {f"{name}.gz" for part, name in FILES.items() if part != "y_test"}
    monkeypatch.setattr(images, "MNIST", right)
    assert len(fastnet.load_data("mnist").X_test) == 12  # goes on with what is missing
    assert len([path for path in mirror.asked if "t10k-labels" in path]) == 2


@pytest.mark.parametrize("gone", ["404", "no network"])
def test_no_mirror_says_what_to_put_where(
    mirror: Server, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    address = mirror.address + "nowhere/" if gone == "404" else "http://127.0.0.1:9/"
    monkeypatch.setattr(images, "MNIST", images.MNIST._replace(mirrors=(address,)))
    with pytest.raises(OSError, match=r"mnist could not be downloaded: .*put them into a folder"):
        fastnet.load_data("mnist")


def test_the_hashes_are_of_sixty_four_digits_and_all_different() -> None:
    found = [*MNIST.hashes.values(), *FASHION_MNIST.hashes.values()]
    assert len(set(found)) == 8
    assert all(len(one) == 64 and int(one, 16) for one in found)


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


def test_text_of_another_encoding(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "t.csv", "label,höhe\n1,2\n", "latin-1")
    with pytest.raises(ValueError, match="is no text in UTF-8"):
        fastnet.load_data(path)


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


# -- what is nothing of it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("mnst", ValueError, r"no data set; did you mean 'mnist'\?"),
        ("nowhere.csv", FileNotFoundError, "there is no such file"),
        ("/", IsADirectoryError, "is a folder"),
        (7, TypeError, "data is a int"),
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
