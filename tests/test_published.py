"""Files of a folder that are taken for a data set by its name: the published ones, or refused."""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
from pathlib import Path

import numpy as np
import pytest

import fastnet
from fastnet.data import images, published
from fastnet.data.published import FILES, ImageSet

REAL = Path(__file__).parents[2] / "shared" / "data" / "mnist"


def idx(array: np.ndarray, code: int = 8) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.tobytes()


def contents(seed: int) -> dict[str, bytes]:
    """The four files of a small set."""
    rng = np.random.default_rng(seed)
    return {
        part: idx(rng.integers(0, 10, (5, 4, 4) if part.startswith("X") else 5, dtype=np.uint8))
        for part in FILES
    }


def known(name: str, files: dict[str, bytes]) -> ImageSet:
    """What is published of a set."""
    return ImageSet(
        name,
        (),
        {
            part: hashlib.sha256(gzip.compress(file, 9, mtime=0)).hexdigest()
            for part, file in files.items()
        },
        {part: hashlib.md5(file).hexdigest() for part, file in files.items()},
    )


ONE, OTHER = contents(1), contents(2)
SETS = known("one", ONE), known("other", OTHER)


@pytest.fixture(autouse=True)
def _small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "SETS", SETS)


def write(folder: Path, files: dict[str, bytes], how: str = "published") -> Path:
    for part, file in files.items():
        path = folder / (FILES[part] if how == "plain" else f"{FILES[part]}.gz")
        packed = gzip.compress(
            file, 9 if how == "published" else 1, mtime=0 if how == "published" else 7
        )
        path.write_bytes(file if how == "plain" else packed)
    return folder


@pytest.mark.parametrize("how", ["published", "packed again", "plain"])
def test_the_published_content_is_taken_however_it_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    write(tmp_path, ONE, how)
    assert images.load(SETS[0], tmp_path).X_train.shape == (5, 16)
    looked_at: list[object] = []
    monkeypatch.setattr(published, "_content", looked_at.append)
    images.load(SETS[0], tmp_path)
    assert len(looked_at) == (0 if how == "published" else 4)


@pytest.mark.parametrize("how", ["published", "packed again", "plain"])
@pytest.mark.parametrize("part", FILES)
def test_a_file_of_another_set_is_named(tmp_path: Path, how: str, part: str) -> None:
    write(tmp_path, {**ONE, part: OTHER[part]}, how)
    said = rf"{FILES[part]}\S* is {FILES[part]} of other; expected {FILES[part]} of one: name other"
    with pytest.raises(ValueError, match=said):
        images.load(SETS[0], tmp_path)


def test_files_that_were_mixed_up_are_named(tmp_path: Path) -> None:
    write(tmp_path, {**ONE, "y_test": ONE["y_train"]}, "plain")
    said = (
        f"t10k-labels-idx1-ubyte is {FILES['y_train']} of one; expected {FILES['y_test']} of one: "
        f"parts of it were exchanged; put each under its own name$"
    )
    with pytest.raises(ValueError, match=said):
        images.load(SETS[0], tmp_path)


OWN = {
    "a byte": idx(np.frombuffer(ONE["X_test"][16:-1] + b"\x0b", np.uint8).reshape(5, 4, 4)),
    "another shape": idx(np.frombuffer(ONE["X_test"][16:], np.uint8).reshape(5, 2, 8)),
    "nothing": idx(np.zeros((0, 4, 4), np.uint8)),
    "floats": idx(np.zeros((5, 4, 4), ">f4"), 0x0D),
}


@pytest.mark.parametrize("kind", OWN)
def test_what_is_nobody_s_is_one_s_own(tmp_path: Path, kind: str) -> None:
    """A part of a set, say; what does not belong together is refused all the same."""
    write(tmp_path, {**ONE, "X_test": OWN[kind]})
    if kind == "a byte":
        assert images.load(SETS[0], tmp_path).X_test.shape == (5, 16)
        return
    with pytest.raises(ValueError, match=r"expected one size|expected one label|expected bytes"):
        images.load(SETS[0], tmp_path)


def test_what_is_known_of_the_real_sets() -> None:
    known = [*images.MNIST.contents.values(), *images.FASHION_MNIST.contents.values()]
    assert len({*known}) == 8
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in known)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real MNIST is not beside the checkout")
def test_the_real_mnist_is_no_fashion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert fastnet.load_data("mnist", data_dir=REAL).name == "mnist"
    with pytest.raises(ValueError, match=r"is train-images-idx3-ubyte of mnist; .* name mnist, or"):
        fastnet.load_data("fashion_mnist", data_dir=REAL)
