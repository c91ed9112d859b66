"""``fastnet evaluate`` and ``fastnet predict``: files in, files out."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fastnet
from fastnet import cli, predictions
from fastnet.data import batches
from fastnet.execution.executor import BLOCK_ROWS, Executor

ROOT = Path(__file__).parents[1]
LIMIT = 120  # seconds until a command counts as hung
RNG = np.random.default_rng(7)
X = (RNG.normal(size=(40, 3)) * 64).round().astype(np.float32) / 64  # exact in few digits
SIDE = (X[:, 0] > 0).astype(int)
# Whatever can upset a table: commas, quotes, both line ends, another script, blanks, a number.
AWKWARD = np.array(['a,"b"', "two\nlines", "back\r\nagain", "über 数 🙂", " blank ", "007"])
TEXTS = AWKWARD[np.arange(40) % len(AWKWARD)]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FASTNET_")]:
        if name != "FASTNET_CACHE_DIR":
            monkeypatch.delenv(name)


def trained(rows: Any, targets: Any, *layers: Any, **options: Any) -> fastnet.Network:
    net = fastnet.Network(list(layers), backend="numpy", seed=1, **options)
    net.fit(rows, targets, epochs=2, batch_size=8, progress=False)
    return net


def softmax(rows: Any, targets: Any, classes: int, **options: Any) -> fastnet.Network:
    layers = fastnet.Dense(3, 6, "tanh"), fastnet.Dense(6, classes, "softmax")
    return trained(rows, targets, *layers, loss="categorical_crossentropy", **options)


def made(kind: str) -> fastnet.Network:
    frame = pd.DataFrame(X, columns=["p", "q", "r"])
    match kind:
        case "integers":
            return softmax(X, SIDE * 300 - 7, 2)
        case "texts":
            return softmax(frame, TEXTS, len(AWKWARD))
        case "bytes":
            return softmax(X, np.array([b"x", b"\xe4y"])[SIDE], 2)
        case "booleans":
            return trained(X, SIDE > 0, fastnet.Dense(3, 1, "sigmoid"), loss="log_loss")
        case "sigmoid":
            return trained(X, AWKWARD[SIDE], fastnet.Dense(3, 1, "sigmoid"), loss="log_loss")
        case "multilabel":
            layer = fastnet.Dense(3, 3, "sigmoid")
            return trained(X, (X > 0).astype(int), layer, loss="log_loss", task="classification")
        case "quantity":
            return trained(X, X[:, 0] * 2, fastnet.Dense(3, 1), loss="mse")
        case "column":
            return trained(X, X[:, :1] * 2, fastnet.Dense(3, 1), loss="mse")
        case "quantities":
            return trained(X, X[:, :2] * 2, fastnet.Dense(3, 2), loss="mse")
        case "double":
            return trained(X, X[:, 0] * 2, fastnet.Dense(3, 1), loss="mse", dtype="float64")
    raise AssertionError(kind)


KINDS = """
    integers texts bytes booleans sigmoid multilabel quantity column quantities double
""".split()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for kind in KINDS:
        made(kind).save(folder / f"{kind}.safetensors")
    return folder


ROWS = ("x.csv", "x.npy", "labelled.csv", "link.csv", "y.npy")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs: rows in all forms."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(X, columns=["p", "q", "r"])
    frame.to_csv("x.csv", index=False)
    frame.assign(label=TEXTS).to_csv("labelled.csv", index=False)
    np.save("x.npy", X)
    np.save("y.npy", TEXTS)
    return tmp_path


class Done:
    """How a command ended, and what it wrote."""

    def __init__(self, code: Any, out: bytes, err: bytes) -> None:
        self.code, self.out, self.err = code or 0, out, err.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def table(self) -> list[list[str]]:
        return read_table(self.out)

    @property
    def array(self) -> np.ndarray:
        return np.load(io.BytesIO(self.out), allow_pickle=False)


def read_table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


Run = Any


@pytest.fixture
def run(models: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run a command in this process; the first word after it may be the name of a model."""

    def command(name: str, *words: Any) -> Done:
        first, *rest = map(str, words) if words else [""]
        model = models / f"{first}.safetensors"
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main([name, str(model) if model.exists() else first, *rest])
        return Done(end.value.code, *capfdbinary.readouterr())

    return command


def loaded(models: Path, kind: str) -> fastnet.Network:
    return fastnet.load(models / f"{kind}.safetensors", backend="numpy")


def saved(folder: Path) -> list[str]:
    """What lies in the folder beside the rows, temporary files too."""
    return sorted(one.name for one in folder.iterdir() if one.name not in ROWS)


@pytest.fixture
def short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven rows make a batch."""
    monkeypatch.setattr(batches, "_batch_rows", lambda width: 7)


# -- what comes out -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", ["x.csv", "x.npy"])
def test_csv_has_what_predict_returns(run: Run, models: Path, kind: str, data: str) -> None:
    done = run("predict", kind, data, "--quiet")
    assert (done.code, done.err) == (0, "")
    expected = loaded(models, kind).predict(X)
    table = expected.reshape(len(X), -1)
    several = [f"prediction_{j}" for j in range(1, table.shape[1] + 1)]
    assert done.table[0] == (several if len(several) > 1 else ["prediction"])
    for row, line in zip(table, done.table[1:], strict=True):
        if expected.dtype.kind == "f":
            assert [expected.dtype.type(text) for text in line] == row.tolist()
        else:
            assert line == [
                one.decode("latin-1") if isinstance(one, bytes) else str(one)
                for one in row.tolist()
            ]


@pytest.mark.usefixtures("short_batches")
@pytest.mark.parametrize("kind", KINDS)
def test_json_has_what_predict_returns(run: Run, models: Path, kind: str) -> None:
    done = run("predict", kind, "x.npy", "--json")
    assert done.err == ""
    values = loaded(models, kind).predict(X).reshape(len(X), -1)
    found = [list(row.values()) for row in done.json]
    if values.dtype.kind == "S":
        values = np.char.decode(values, "latin-1")
    if values.dtype.kind == "f":
        assert np.array(found, values.dtype).tolist() == values.tolist()
    else:
        assert found == values.tolist()
        assert type(found[0][0]) is type(values[0, 0].item())
    assert len(done.out.splitlines()) == len(X) + 2  # one row a line


@pytest.mark.usefixtures("short_batches")
@pytest.mark.parametrize(
    ("kind", "shares"),
    [(kind, False) for kind in KINDS] + [(kind, True) for kind in KINDS[: KINDS.index("quantity")]],
)
def test_npy_has_what_predict_returns(
    run: Run, models: Path, folder: Path, kind: str, shares: bool
) -> None:
    network = loaded(models, kind)
    more = ["--probabilities"] if shares else []
    assert run("predict", kind, "x.npy", "-o", "out.npy", *more).code == 0
    expected = network.predict_proba(X) if shares else network.predict(X)
    found = np.load(folder / "out.npy", allow_pickle=False)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind == "f":  # other bits, because seven rows are no block
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    else:
        np.testing.assert_array_equal(found, expected)
    piped = run("predict", kind, "x.npy", "--format", "npy", *more).out
    assert piped == (folder / "out.npy").read_bytes()


@pytest.mark.parametrize("kind", ["quantities", "texts"])
def test_several_batches_give_the_bits_of_one(
    run: Run, models: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(batches, "MOST_ROWS", BLOCK_ROWS)
    rows = RNG.normal(size=(3 * BLOCK_ROWS + 1, 3)).astype(np.float32)
    np.save("many.npy", rows)
    expected = loaded(models, kind).predict(rows)
    np.testing.assert_array_equal(
        run("predict", kind, "many.npy", "--format", "npy").array, expected
    )
    pd.DataFrame(rows, columns=["p", "q", "r"]).to_csv("many.csv", index=False)
    np.testing.assert_array_equal(
        run("predict", kind, "many.csv", "--format", "npy").array, expected
    )


@pytest.mark.parametrize("width", [1, 3, 784, 5000, 10**6])
def test_a_batch_is_whole_blocks_of_the_network(width: int) -> None:
    rows = batches._batch_rows(width)
    assert rows % BLOCK_ROWS == 0
    assert rows == BLOCK_ROWS or rows * width * 8 <= batches.BATCH_BYTES
    assert rows <= batches.MOST_ROWS


def test_awkward_labels_survive(run: Run, models: Path, folder: Path) -> None:
    expected = loaded(models, "texts").predict(X).tolist()
    assert len({*expected}) > 2
    assert [row[0] for row in run("predict", "texts", "x.csv").table[1:]] == expected
    assert [
        row["prediction"] for row in run("predict", "texts", "x.csv", "--json").json
    ] == expected
    run("predict", "texts", "x.csv", "-o", "out.csv")
    frame = pd.read_csv(folder / "out.csv", dtype=str, keep_default_na=False)
    assert frame["prediction"].tolist() == expected


def test_probabilities(run: Run, models: Path) -> None:
    expected = loaded(models, "texts").predict_proba(X)
    classes = sorted(AWKWARD.tolist())
    table = run("predict", "texts", "x.csv", "--probabilities", "--numbers", "row").table
    assert table[0] == ["row", "prediction", *(f"probability_{name}" for name in classes)]
    assert [row[0] for row in table[1:]] == [str(i) for i in range(1, 41)]
    found = np.array([row[2:] for row in table[1:]]).astype(np.float32)
    np.testing.assert_array_equal(found, expected)
    rows = run("predict", "texts", "x.csv", "--probabilities", "--json", "--numbers", "row").json
    assert [row["row"] for row in rows] == [*range(1, 41)]
    found = np.array([[row["probabilities"][name] for name in classes] for row in rows])
    np.testing.assert_array_equal(found.astype(np.float32), expected)


@pytest.mark.parametrize(
    ("kind", "headings"),
    [
        ("sigmoid", [f"probability_{name}" for name in sorted(AWKWARD[:2].tolist())]),
        ("booleans", ["probability_False", "probability_True"]),
        ("bytes", ["probability_x", "probability_äy"]),
        ("multilabel", ["probability_1", "probability_2", "probability_3"]),
    ],
)
def test_headings_of_probabilities(run: Run, models: Path, kind: str, headings: list[str]) -> None:
    table = run("predict", kind, "x.npy", "--probabilities").table
    assert table[0][-len(headings) :] == headings
    shares = np.array([row[-len(headings) :] for row in table[1:]]).astype(np.float32)
    np.testing.assert_array_equal(shares, loaded(models, kind).predict_proba(X))


@pytest.mark.usefixtures("short_batches")
@pytest.mark.parametrize("kind", ["integers", "bytes", "booleans", "sigmoid", "multilabel"])
def test_probabilities_take_one_pass(
    run: Run, models: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    plain = run("predict", kind, "x.csv", "--format", "npy")
    shares = run("predict", kind, "x.csv", "--format", "npy", "--probabilities")
    passes = []
    passed = Executor._passed

    def counted(self: Any, *arguments: Any) -> Any:
        passes.append(len(arguments[0]))
        return passed(self, *arguments)

    monkeypatch.setattr(Executor, "_passed", counted)
    done = run("predict", kind, "x.csv", "--probabilities")
    assert sum(passes) == len(X)
    network = loaded(models, kind)
    labels, probabilities = network.predict_both(X)
    assert labels.tolist() == network.predict(X).tolist() == plain.array.tolist()
    assert probabilities.tobytes() == network.predict_proba(X).tobytes() == shares.array.tobytes()
    assert len(done.table) == 1 + len(X)


def test_numbers_go_on_from_batch_to_batch(run: Run) -> None:
    table = run("predict", "integers", "x.csv", "--numbers", "Id", "--name", "Label").table
    assert table[0] == ["Id", "Label"]
    assert [row[0] for row in table[1:]] == [str(i) for i in range(1, 41)]


def test_floats_are_shown_with_the_digits_that_tell_them_apart(tmp_path: Path) -> None:
    values = np.array([0.1, 1 / 3, 1e-30, 2, -0.0], np.float32)
    texts = []
    for writer in (predictions.Csv, predictions.Json):
        with predictions.opened(tmp_path / "out", writer, predictions.Headings(("a",))) as file:
            file.write(values, None)
        texts.append((tmp_path / "out").read_text())
    assert texts[0] == "a\n0.1\n0.33333334\n1e-30\n2.0\n-0.0\n"
    assert [row["a"] for row in json.loads(texts[1])] == [0.1, 0.33333334, 1e-30, 2, -0.0]
    assert "0.33333334}" in texts[1]


def test_json_has_null_for_what_is_not_finite(tmp_path: Path) -> None:
    headings = predictions.Headings(("a",))
    with predictions.opened(tmp_path / "out", predictions.Json, headings) as file:
        file.write(np.array([np.inf, 1, np.nan], np.float32), None)
        file.write(np.array([-np.inf, 2.5]), None)
    rows = json.loads((tmp_path / "out").read_text())
    assert [row["a"] for row in rows] == [None, 1, None, None, 2.5]


def test_rows_become_text_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = RNG.normal(size=(10, 3))
    headings = predictions.Headings(("a", "b", "c"), (), "n")
    contents = []
    for cells in (1 << 16, 7, 1):
        monkeypatch.setattr(predictions, "CELLS", cells)
        for writer in (predictions.Csv, predictions.Json):
            with predictions.opened(tmp_path / "out", writer, headings) as file:
                file.write(values, None)
            assert file.rows == 10
            contents.append((tmp_path / "out").read_text())
    assert len({*contents}) == 2


# -- what goes in ---------------------------------------------------------------------------------


def test_labels_and_other_columns_are_no_features(run: Run, models: Path) -> None:
    plain = run("predict", "texts", "x.csv")
    frame = pd.DataFrame(X, columns=["p", "q", "r"])
    turned = frame.assign(note="free text", label="")[["label", "r", "note", "p", "q"]]
    turned.to_csv("turned.csv", index=False)
    done = run("predict", "texts", "turned.csv")
    assert done.out == plain.out
    assert done.err == "columns that the network does not use: label, note\n"
    assert run("predict", "texts", "turned.csv", "-q").err == ""


def test_a_column_that_is_missing(run: Run, folder: Path) -> None:
    pd.DataFrame(X[:, :2], columns=["p", "q"]).to_csv("two.csv", index=False)
    done = run("predict", "texts", "two.csv", "-o", "out.csv")
    assert (done.code, done.out) == (2, b"")
    assert "no column is called 'r'" in done.err
    assert "out.csv" not in saved(folder)


def test_what_is_missing_is_counted_as_far_as_it_was_read(run: Run, folder: Path) -> None:
    rows = X.astype(object)
    rows[[3, 5, 7], [0, 0, 1]] = None
    frame = pd.DataFrame(rows, columns=["p", "q", "r"]).assign(extra="")
    frame.to_csv("gaps.csv", index=False)
    done = run("predict", "texts", "gaps.csv", "-o", "out.csv")
    assert (done.code, done.out) == (2, b"")
    assert (
        "line 5, column 'p' has no value; missing are at least 3 cell(s): 'p' 2, 'q' 1;" in done.err
    )
    assert ".dropna(subset=['p', 'q']).to_csv('whole.csv', index=False), or fill them" in done.err
    assert "out.csv" not in saved(folder)


def test_what_was_trained_from_arrays_takes_columns_by_position(run: Run, models: Path) -> None:
    expected = loaded(models, "integers").predict(X)
    assert (run("predict", "integers", "x.csv", "--format", "npy").array == expected).all()
    done = run("predict", "integers", "labelled.csv", "--label", "label", "--format", "npy")
    assert (done.array == expected).all()
    done = run("predict", "integers", "labelled.csv")
    assert (done.code, done.out) == (2, b"")
    assert "if one of them has the labels, say which, as in --label name or --label 0" in done.err


def test_a_table_without_headings(run: Run) -> None:
    frame = pd.DataFrame(X).assign(y=SIDE)
    frame.to_csv("plain.csv", index=False, header=False)
    words = "--label 3 --epochs 2 --hidden 4 --backend numpy --save plain.safetensors -q"
    assert run("train", "plain.csv", *words.split()).code == 0
    expected = fastnet.load("plain.safetensors", backend="numpy").predict(X)
    done = run("predict", "plain.safetensors", "plain.csv", "--label", "-1", "--format", "npy")
    assert (done.array == expected).all()
    pd.DataFrame(X).to_csv("rows.csv", index=False, header=False)
    done = run("predict", "plain.safetensors", "rows.csv", "--format", "npy")
    assert (done.array == expected).all()
    done = run("evaluate", "plain.safetensors", "plain.csv", "--label", "3", "--json")
    assert done.json["rows"] == 40


def test_headers_of_numbers(run: Run) -> None:
    """What was a header in training is one afterwards, and what was a row is a row."""
    frame = pd.DataFrame(X).assign(y=SIDE)
    frame.columns = range(4)
    frame.to_csv("numbers.csv", index=False)
    words = "--label 3 --epochs 1 --hidden 4 --backend numpy -q --save n.safetensors".split()
    assert run("train", "numbers.csv", *words).code == 2
    assert run("train", "numbers.csv", "--header", *words).code == 0
    assert fastnet.load("n.safetensors", backend="numpy").layout.label == "3"
    for options in ([], ["--header"]):
        assert (
            run("evaluate", "n.safetensors", "numbers.csv", *options, "--json").json["rows"] == 40
        )
        assert len(run("predict", "n.safetensors", "numbers.csv", *options).table) == 41
    frame.to_csv("rows.csv", index=False, header=False)
    rows = ["predict", "n.safetensors", "rows.csv", "--label", "3"]
    assert len(run(*rows, "--no-header").table) == 41
    done = run(*rows)
    assert (done.code, done.out) == (2, b"")
    assert "'1', '2' is missing" in done.err
    assert "say which with --header or --no-header" in done.err
    done = run("predict", "n.safetensors", "x.npy", "--no-header")
    assert (done.code, done.out) == (2, b"")
    assert "leave header out" in done.err


def test_rows_of_texts_without_a_header(run: Run) -> None:
    lines = [f"{i % 5},{'xyz'[i % 3]},{'ab'[i % 2]}" for i in range(40)]
    Path("rows.csv").write_text("\n".join([*lines, ""]))
    words = "--one-hot 1 --epochs 1 --hidden 4 --backend numpy -q --save t.safetensors".split()
    assert run("train", "rows.csv", "--no-header", "--label", "2", *words).code == 0
    for options in ([], ["--no-header"]):
        done = run("evaluate", "t.safetensors", "rows.csv", "--label", "2", "--json", *options)
        assert done.json["rows"] == 40
        assert (
            len(run("predict", "t.safetensors", "rows.csv", "--label", "2", *options).table) == 41
        )
    done = run("evaluate", "t.safetensors", "rows.csv", "--label", "kind")
    assert done.code == 2
    assert "the first line is a row, as in training, so there is no header" in done.err


def test_headings_that_are_other_years(run: Run) -> None:
    """Headings are no row, of which nonsense would be predicted."""
    Path("t.csv").write_text("2019,2020,price\n" + "53.4,58.2,169\n59.0,54.4,167\n" * 20)
    words = "--label price --epochs 1 --hidden 4 --backend numpy -q --save y.safetensors"
    assert run("train", "t.csv", *words.split()).code == 0
    for headings, missing in (("2020,2021", "'2019'"), ("2021,2022", "'2019', '2020'")):
        Path("next.csv").write_text(f"{headings}\n53.4,58.2\n53.3,36.9\n")
        for command in (["predict"], ["evaluate", "--label", "1"]):
            done = run(command[0], "y.safetensors", "next.csv", *command[1:])
            assert (done.code, done.out) == (2, b"")
            assert f"of which {missing} is missing" in done.err
            assert "--header or --no-header" in done.err
        done = run("predict", "y.safetensors", "next.csv", "--header")
        assert "no column is called '2019'" in done.err
        done = run("predict", "y.safetensors", "next.csv", "--no-header")
        assert len(done.table) == 4  # for whoever says that these are three rows
    for headings in ("2020,2019", " 2019,2020", "other,2020,2019"):
        row = "1,53.4,58.2" if headings.startswith("other") else "53.4,58.2"
        Path("next.csv").write_text(f"{headings}\n{row}\n")
        assert len(run("predict", "y.safetensors", "next.csv").table) == 2
    Path("next.csv").write_text("price,area\n1,2\n")
    assert "no column is called '2019'" in run("predict", "y.safetensors", "next.csv").err


def test_rows_of_nothing_but_texts(run: Run) -> None:
    lines = [f"{('red', 'blue')[i % 2]},{'SML'[i % 3]},{('no', 'yes')[i % 2]}" for i in range(40)]
    Path("t.csv").write_text("\n".join([*lines, ""]))
    words = "--no-header --one-hot 0,1 --label 2 --epochs 1 --hidden 4 --backend numpy -q"
    assert run("train", "t.csv", *words.split(), "--save", "t.safetensors").code == 0
    rows = "red,M\nblue,S\nred,S\nred,L\n"
    for text, options, count in (
        (rows, [], 4),
        (rows, ["--no-header"], 4),
        (f"colour,size\n{rows}", ["--header"], 4),
        (rows.replace("red", "RED", 1), [], 0),  # a row, but of another colour
        (f"colour,size\n{rows}", [], 0),
        (f"?,size\n{rows}", [], 0),
    ):
        Path("new.csv").write_text(text)
        done = run("predict", "t.safetensors", "new.csv", *options)
        assert (done.code, len(done.table)) == ((0, count + 1) if count else (2, 0))
        assert count or "header" in done.err or "line 1, column '0' is" in done.err
    assert run("evaluate", "t.safetensors", "t.csv", "--label", "2", "--json").json["rows"] == 40


def test_a_header_for_a_network_without_headings(run: Run) -> None:
    lines = [f"{i % 5},{'xyz'[i % 3]},{'ab'[i % 2]}" for i in range(40)]
    Path("t.csv").write_text("\n".join([*lines, ""]))
    words = "--no-header --one-hot 1 --label 2 --epochs 1 --hidden 4 --backend numpy -q"
    assert run("train", "t.csv", *words.split(), "--save", "t.safetensors").code == 0
    Path("new.csv").write_text("size,kind\n1,x\n2,y\n")
    assert len(run("predict", "t.safetensors", "new.csv").table) == 3
    for first in ("?,x", "NA,x", "NA,w", ",z", "odd,x"):
        Path("new.csv").write_text(f"{first}\n1,x\n2,y\n")
        done = run("predict", "t.safetensors", "new.csv")
        assert (done.code, done.out) == (2, b"")
        assert "line 1, column '0'" in done.err


def test_columns_of_text(run: Run) -> None:
    text = "size,city,label\n1,Rome,a\n2,Oslo,b\n3,Rome,a\n4,007,b\n"
    Path("cities.csv").write_text(text * 1 + text.split("\n", 1)[1] * 9)
    words = "--one-hot city --epochs 2 --hidden 4 --backend numpy --preparation standard -q"
    done = run("train", "cities.csv", *words.split(), "--save", "c.safetensors", "--json")
    assert done.code == 0, done.err
    network = fastnet.load("c.safetensors", backend="numpy")
    expected = network.predict(np.array([[2, 1, 0, 0], [9, 0, 0, 1]])).tolist()
    Path("new.csv").write_text("city,extra,size\n007,x,2\nRome,y,9\n")
    assert [row[0] for row in run("predict", "c.safetensors", "new.csv").table[1:]] == expected
    Path("new.csv").write_text("city,size\nRome,2\nBern,9\n")
    done = run("predict", "c.safetensors", "new.csv")
    assert (done.code, done.out) == (2, b"")
    assert "line 3, column 'city' is 'Bern', which was not there in training" in done.err


def test_labels_come_back_as_they_were_given(run: Run) -> None:
    lines = [f"{'001' if p > 0 else '002'},{p}" for p in X[:, 0]]
    Path("codes.csv").write_text("\n".join(["label,p", *lines, ""]))
    words = "--epochs 2 --hidden 4 --backend numpy -q --save codes.safetensors"
    assert run("train", "codes.csv", *words.split()).code == 0
    found = [row[0] for row in run("predict", "codes.safetensors", "codes.csv").table[1:]]
    assert {*found} <= {"001", "002"}
    done = run("evaluate", "codes.safetensors", "codes.csv", "--json")
    assert done.code == 0, done.err
    right = sum(one == line.split(",")[0] for one, line in zip(found, lines, strict=True))
    assert done.json["accuracy"] == pytest.approx(right / len(lines))


def test_columns_that_are_called_by_numbers_or_have_commas(run: Run) -> None:
    lines = [f"{'xyz'[i % 3]},{i % 5},{'ab'[i % 2]},{i % 7}" for i in range(40)]
    Path("t.csv").write_text("\n".join(['"a,x",2021,city,n', *lines, ""]))
    words = "--label 2021 --task classification --epochs 1 --hidden 4 --backend numpy -q --force"
    for number, columns in enumerate(['"a,x",city', ' city , "a,x"', '"a,x",2', "0,city"]):
        model = f"{number}.safetensors"
        done = run("train", "t.csv", *words.split(), "--one-hot", columns, "--save", model)
        assert done.code == 0, done.err
        layout = fastnet.load(model, backend="numpy").layout
        assert layout.label == "2021"
        assert [len(column.categories) for column in layout.columns] == [3, 2, 0]
    done = run("evaluate", model, "t.csv", "--label", "2021", "--json")
    assert done.json["rows"] == 40
    done = run("train", "t.csv", *words.split(), "--one-hot", '"a,x')
    assert (done.code, done.out) == (2, b"")
    assert "--one-hot is '\"a,x'" in done.err


def test_the_column_of_labels_is_empty_or_missing(run: Run) -> None:
    frame = pd.DataFrame(X, columns=["p", "q", "r"])
    frame.assign(price=X[:, 0]).to_csv("prices.csv", index=False)
    words = "--label price --epochs 1 --hidden 4 --backend numpy -q --save prices.safetensors"
    assert run("train", "prices.csv", *words.split()).code == 0
    expected = run("predict", "prices.safetensors", "x.csv")
    assert expected.code == 0, expected.err
    frame.assign(price="").to_csv("new.csv", index=False)
    done = run("predict", "prices.safetensors", "new.csv")
    assert (done.code, done.out, done.err) == (0, expected.out, "")
    done = run("evaluate", "prices.safetensors", "new.csv")
    assert (done.code, done.out) == (2, b"")
    assert "line 2, column 'price' has no value" in done.err
    done = run("evaluate", "prices.safetensors", "x.csv")
    assert (done.code, done.out) == (2, b"")
    assert "no column is called 'price'" in done.err
    assert "class, y" not in done.err


def test_csv_on_stdin(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stdin(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    stdin(b"\xef\xbb\xbf" + (folder / "x.csv").read_bytes())
    done = run("predict", "texts", "-")
    assert (done.code, done.err) == (0, "")
    assert done.out == run("predict", "texts", "x.csv").out
    assert not sys.stdin.closed
    stdin((folder / "labelled.csv").read_bytes())
    found = run("evaluate", "texts", "-", "--json").json
    assert found == run("evaluate", "texts", "labelled.csv", "--json").json
    stdin(b"")
    assert "stdin: the file is empty" in run("predict", "texts", "-").err
    stdin(b"p,q,r\n1,2,3\n1,\xff,3\n")
    assert "is no text in UTF-8" in run("predict", "texts", "-").err
    monkeypatch.setattr(sys, "stdin", None)
    done = run("predict", "texts", "-")
    assert done.code == 2
    assert "stdin is closed" in done.err


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("nowhere.csv", 1, "No such file"),
        ("nowhere.npy", 1, "no such file"),
        ("nowhere", 2, "which is no data set"),
        ("", 1, "data is '', a folder"),
        (".", 1, "data is '.', a folder"),
        ("folder.csv", 1, "data is 'folder.csv', a folder"),
        ("empty.csv", 2, "the file is empty"),
        ("header.csv", 2, "there is a header and no row"),
        ("none.npy", 2, "none.npy has no rows"),
        ("none.parquet", 2, "none.parquet has no rows"),
        ("number.npy", 2, "number.npy has one number"),
        ("row.npy", 2, "expected two, (rows, features)"),
        ("wide.npy", 2, "X has 4 feature(s) per row; the network takes 3"),
        ("digits", 2, "the network takes 3"),
    ],
)
def test_rows_that_are_none(run: Run, folder: Path, name: str, code: int, message: str) -> None:
    (folder / "folder.csv").mkdir()
    Path("empty.csv").write_text("")
    Path("header.csv").write_text("p,q,r\n")
    np.save("none.npy", X[:0])
    pd.DataFrame(X[:0], columns=["p", "q", "r"]).to_parquet("none.parquet")
    np.save("number.npy", np.float32(3))
    np.save("row.npy", X[0])
    np.save("wide.npy", X[:, [0, 1, 2, 0]])
    for more in ([], ["-o", "out.csv"], ["--json"]):
        done = run("predict", "texts", name, *more)
        assert done.code == code
        assert done.out == b""
        assert message in done.err
        assert "Traceback" not in done.err
    assert not [one for one in saved(folder) if "out.csv" in one]


def test_models_that_are_none(run: Run, folder: Path) -> None:
    for name, code in (("nowhere", 1), (".", 1), ("x.csv", 2), ("x.npy", 2)):
        done = run("predict", folder / name, "x.csv")
        assert (done.code, done.out) == (code, b"")


# -- where it goes --------------------------------------------------------------------------------


def test_a_file_that_is_there_is_kept(run: Run, folder: Path) -> None:
    Path("out.csv").write_text("precious")
    done = run("predict", "texts", "x.csv", "-o", "out.csv")
    assert (done.code, done.out) == (1, b"")
    assert "--output is 'out.csv', which is there already" in done.err
    assert Path("out.csv").read_text() == "precious"
    done = run("predict", "texts", "x.csv", "-o", "out.csv", "--force")
    assert (done.code, done.out) == (0, b"")
    assert done.err == f"wrote 40 predictions to {folder / 'out.csv'}\n"
    assert read_table(Path("out.csv").read_bytes())[0] == ["prediction"]


@pytest.mark.usefixtures("short_batches")
@pytest.mark.parametrize("name", ["x.csv", "x.npy", "link.csv"])
def test_rows_may_be_replaced_by_their_predictions(run: Run, folder: Path, name: str) -> None:
    Path("link.csv").symlink_to("x.csv")
    form = "npy" if name == "x.npy" else "csv"
    expected = run("predict", "texts", name, "--format", form).out
    assert run("predict", "texts", name, "-o", name, "--force").code == 0
    assert (folder / name).read_bytes() == expected
    assert Path("link.csv").is_symlink()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("-o folder.csv", 1, "a folder has this name"),
        ("-o nowhere/out.csv", 1, "the folder to write into is not there"),
        ("-o x.npy/out.csv", 1, "is a file"),
        ("-o out.txt", 2, "whose ending names no format"),
        ("-o out", 2, "whose ending names no format"),
        ("-o /dev/null --format csv --force", 1, "a device, a pipe or a socket"),
        ("--format jsonl", 2, "did you mean 'json'?"),
        ("--json --format csv", 2, "contradict each other"),
        ("--name n --numbers n", 2, "two columns would be called 'n'"),
        ("--name probability_007 --probabilities", 2, "two columns would be called"),
        ("--name probabilities --probabilities --json", 2, "two columns would be called"),
        ("--numbers n --format npy", 2, "an array has no headings"),
        ("--label 9", 2, "label is column 9, and there are 3"),
        ("--label nowhere", 2, "no column is called 'nowhere'"),
        ("--threads 0", 2, "threads is 0; expected"),
        ("--backend nunpy", 2, "did you mean 'numpy'?"),
    ],
)
def test_what_is_misused(run: Run, folder: Path, words: str, code: int, message: str) -> None:
    (folder / "folder.csv").mkdir()
    before = saved(folder)
    done = run("predict", "texts", "x.csv", *words.split())
    assert (done.code, done.out) == (code, b"")
    assert message in done.err
    assert saved(folder) == before


def test_more_misuse(run: Run) -> None:
    done = run("predict", "quantity", "x.npy", "--probabilities")
    assert (done.code, done.out) == (2, b"")
    assert "the network predicts quantities" in done.err
    done = run("predict", "quantities", "x.npy", "--numbers", "prediction_2")
    assert "two columns would be called 'prediction_2'" in done.err
    assert "--name is empty" in run("predict", "texts", "x.csv", "--name", "").err


def test_scores_are_no_probabilities(run: Run) -> None:
    net = trained(X, np.eye(2)[SIDE], fastnet.Dense(3, 2), loss="mse", task="classification")
    net.save("scores.safetensors")
    assert run("predict", "scores.safetensors", "x.npy").code == 0
    done = run("predict", "scores.safetensors", "x.npy", "--probabilities", "-o", "out.csv")
    assert done.code == 2
    assert "--probabilities: the last activation, linear, gives none" in done.err


@pytest.mark.parametrize("name", ["a b.csv", "zwei\nZeilen.csv", "ü 数.JSON", "-dash.npy"])
def test_names_of_files(run: Run, folder: Path, name: str) -> None:
    rows = folder / f"rows {name}.csv"
    rows.write_bytes((folder / "x.csv").read_bytes())
    done = run("predict", "texts", rows, f"--output={name}")
    assert done.code == 0, done.err
    assert (folder / name).stat().st_size > 100


def test_a_dash_is_stdout(run: Run, folder: Path) -> None:
    assert run("predict", "texts", "x.csv", "-o", "-").out == run("predict", "texts", "x.csv").out
    assert saved(folder) == []


# -- all or nothing -------------------------------------------------------------------------------

LATE = 100_000


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("x", f"line {LATE + 2}, column 'q' is 'x', which is no number"),
        ("", f"line {LATE + 2}, column 'q' has no value"),
        ("1,2", f"{LATE + 2}"),
        ("1e300", "in float32|does not fit float32"),
    ],
)
def test_a_late_error_leaves_nothing(run: Run, folder: Path, field: str, message: str) -> None:
    lines = ["p,q,r", *itertools.repeat("1,2,3", LATE), f"1,{field},3", "1,2,3", ""]
    Path("late.csv").write_text("\n".join(lines))
    done = run("predict", "integers", "late.csv", "-o", "out.csv")
    assert (done.code, done.out) == (2, b"")
    assert any(part in done.err for part in message.split("|"))
    assert saved(folder) == ["late.csv"]


@pytest.mark.usefixtures("short_batches")
def test_a_late_error_in_an_array_says_where(run: Run, folder: Path) -> None:
    rows = X.copy()
    rows[23, 1] = np.nan
    np.save("x.npy", rows)
    Path("out.json").write_text("precious")
    done = run("predict", "integers", "x.npy", "-o", "out.json", "--force")
    assert (done.code, done.out) == (2, b"")
    assert "x.npy, where X begins at row 21: X has 1 value(s) that are NaN" in done.err
    assert "(nan) at row 2, column 1" in done.err
    assert Path("out.json").read_text() == "precious"
    assert saved(folder) == ["out.json"]


@pytest.mark.usefixtures("short_batches")
@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interrupted_or_on_a_full_disk(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    write = predictions.Csv._write

    def fail(self: predictions.Csv, *arguments: Any) -> None:
        if self.rows > 20:
            raise raised
        write(self, *arguments)

    monkeypatch.setattr(predictions.Csv, "_write", fail)
    done = run("predict", "integers", "x.npy", "-o", "out.csv")
    assert done.code == (130 if isinstance(raised, KeyboardInterrupt) else 1)
    assert "interrupted" in done.err or "No space left on device" in done.err
    assert saved(folder) == []


def test_ctrl_c_while_the_rows_are_read(run: Run, folder: Path, monkeypatch: Any) -> None:
    """Pandas would say that the table cannot be read."""

    class Source(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 100_000:
                raise KeyboardInterrupt
            return super().read1(size)

    content = b"p,q,r\n" + b"1,2,3\n" * 200_000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Source(content)))
    done = run("predict", "integers", "-", "-o", "out.csv")
    assert (done.code, done.out) == (130, b"")
    assert done.err == "fastnet: interrupted\n"
    assert saved(folder) == []


# -- evaluate -------------------------------------------------------------------------------------


def test_evaluate(run: Run, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = loaded(models, "texts").evaluate(X, TEXTS)
    done = run("evaluate", "texts", "labelled.csv", "--json")
    assert done.json == {**expected, "rows": 40, "backend": "numpy"}
    assert done.err == ""
    score = f"accuracy {expected['accuracy']:.2%}, loss {expected['loss']:.4f}\n"
    assert run("evaluate", "texts", "labelled.csv", "-q").out.decode() == score
    done = run("evaluate", "texts", "labelled.csv")
    assert done.out.decode() == f"{score}on 40 rows of labelled.csv, by the backend numpy\n"
    monkeypatch.setattr(batches, "_batch_rows", lambda width: 7)
    assert run("evaluate", "texts", "labelled.csv", "-q").out.decode() == score


def test_evaluate_of_arrays(run: Run, models: Path) -> None:
    np.save("y.npy", SIDE * 300 - 7)
    expected = loaded(models, "integers").evaluate(X, SIDE * 300 - 7)
    assert run("evaluate", "integers", "x.npy,y.npy", "--json").json.items() >= expected.items()
    np.save("y.npy", X[:, :2] * 2)
    expected = loaded(models, "quantities").evaluate(X, X[:, :2] * 2)
    assert run("evaluate", "quantities", "x.npy,y.npy", "--json").json.items() >= expected.items()
    assert run("evaluate", "quantities", "x.npy,y.npy", "-q").out.decode().startswith("R² ")
    np.save("y.npy", (X > 0).astype(int))
    assert "accuracy" in run("evaluate", "multilabel", "x.npy,y.npy", "--json").json


def test_evaluate_of_bytes(run: Run, models: Path) -> None:
    labels = np.array(["x", "äy"])[SIDE]
    pd.DataFrame(X).assign(label=labels).to_csv("bytes.csv", index=False)
    expected = loaded(models, "bytes").evaluate(X, np.array([b"x", b"\xe4y"])[SIDE])
    assert run("evaluate", "bytes", "bytes.csv", "--json").json.items() >= expected.items()


def test_evaluate_needs_labels_that_the_network_knows(run: Run) -> None:
    done = run("evaluate", "texts", "x.csv")
    assert (done.code, done.out) == (2, b"")
    assert "which column has the labels?" in done.err
    done = run("evaluate", "texts", "labelled.csv", "--label", "p")
    assert (done.code, done.out) == (2, b"")


def test_a_score_that_is_not_finite_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    from fastnet.cli import screen

    screen.print_json({"loss": float("inf"), "rows": [float("nan"), 1.5, (2,)], "is": True})
    assert json.loads(capsys.readouterr().out) == {
        "loss": None,
        "rows": [None, 1.5, [2]],
        "is": True,
    }


# -- as a process ---------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    paths = os.pathsep.join(map(str, [ROOT, ROOT / "kernels"]))
    return {**os.environ, "PYTHONPATH": paths, **more}


COMMAND = [sys.executable, "-m", "fastnet"]


def shell(line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell in which ``fastnet`` is the command."""
    start = f'fastnet() {{ "{sys.executable}" -m fastnet "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", start + line],
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )


def test_streams_that_take_nothing(models: Path) -> None:
    """A closed pipe is silent, a full disk is told once, and Python adds nothing at its end."""
    ask = f"predict '{models}/integers.safetensors' x.npy"
    commands = [f"{ask} --format npy", "recipes list", "--help"]
    for command in commands:
        done = shell(
            f"(fastnet {command}; echo pipe $? >&2) | true; fastnet {command} > /dev/full; "
            f"echo full $? >&2"
        )
        assert done.stdout == ""
        assert done.stderr.splitlines() == [
            "pipe 141",
            "fastnet: OSError: [Errno 28] No space left on device",
            "full 1",
        ], command


def test_streams_that_are_closed(models: Path, folder: Path) -> None:
    model = f"'{models}/texts.safetensors'"
    done = shell(
        f"fastnet predict {model} x.npy >&-; echo $?; fastnet recipes list >&-; echo $?; "
        f"fastnet predict {model} x.npy -o out.csv <&- >&- 2>&-; echo $?; "
        f"fastnet nonsense 2>&-; echo $?; "
        f"fastnet evaluate {model} x.npy,y.npy -q 2>/dev/full; echo $?"
    )
    assert done.stderr == (
        "fastnet: OSError: [Errno 9] stdout is closed; expected an output file, or a pipe\n"
    )
    first, second, third, fourth, score, *rest = done.stdout.splitlines()
    assert (first, second, third, fourth, rest) == ("1", "0", "0", "2", ["0"])
    assert score.startswith("accuracy ")
    assert read_table((folder / "out.csv").read_bytes())[0] == ["prediction"]


def test_encodings_that_lack_characters(run: Run, models: Path) -> None:
    more = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    np.save("y.npy", X[:, 0] * 2)
    assert run("predict", "texts", "x.npy", "-o", "out.csv").code == 0
    done = shell(
        f"fastnet predict '{models}/texts.safetensors' x.npy | cmp - out.csv && "
        f"fastnet evaluate '{models}/quantity.safetensors' x.npy,y.npy -q",
        **more,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(r"R\xb2 ")


@pytest.mark.usefixtures("_children_take_ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals(run: Run, models: Path, folder: Path, number: signal.Signals) -> None:
    command = subprocess.Popen(
        [*COMMAND, "predict", str(models / "integers.safetensors"), "-", "-o", "out.csv"],
        env=environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdin is not None
    command.stdin.write(b"p,q,r\n" + b"1,2,3\n" * 200_000)
    command.stdin.flush()  # and it waits for more
    deadline = time.monotonic() + LIMIT
    while not any("out.csv" in one for one in saved(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    command.send_signal(number)
    code, said = command.wait(LIMIT), command.communicate()[1]
    assert not (folder / "out.csv").exists()
    if number == signal.SIGKILL:  # what a killed process leaves behind, the next one removes
        assert code == -number
        assert run("predict", "texts", "x.csv", "-o", "out.csv").code == 0
        assert saved(folder) == ["out.csv"]
    else:
        what = {signal.SIGINT: b"interrupted", signal.SIGTERM: b"terminated"}[number]
        assert (code, said) == (128 + number, b"fastnet: %s\n" % what)
        assert saved(folder) == []


def test_a_limit_on_the_size_of_files(models: Path, folder: Path) -> None:
    np.save("many.npy", np.tile(X, (1000, 1)))
    limited = ["sh", "-c", 'ulimit -f 100 && exec "$@"', "sh"]  # in blocks of 512 or 1024 bytes
    done = subprocess.run(
        [
            *(*limited, *COMMAND, "predict"),
            *(str(models / "quantity.safetensors"), "many.npy", "-o", "out.csv"),
        ],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "File too large; the file was not written, no part of it is left behind" in done.stderr
    assert saved(folder) == ["many.npy"]


# Runs a command in a process that may take only so much memory more than it has, and says first
# that the rows as a whole do not fit.
LIMITED = """
import re, resource, sys
import numpy as np, pandas
from fastnet import cli, fitting, modelfile, predictions
from fastnet.data import batches
limit, field, more, whole, *arguments = sys.argv[1:]
batches.BATCH_BYTES = 1 << 20
status = open("/proc/self/status").read()
now = int(re.search(field + r":\\s+(\\d+) kB", status)[1]) << 10
resource.setrlimit(getattr(resource, limit), (now + int(more), now + int(more)))
try:
    np.ones(int(whole), np.uint8)
except MemoryError:
    cli.main(arguments)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's limits")
@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_a_file_may_be_larger_than_memory(folder: Path, kind: str) -> None:
    features, rows, more = 250, *((50_000, 90 << 20) if kind == "csv" else (300_000, 50 << 20))
    layer = fastnet.Dense(features, 1)
    trained(np.eye(features)[:8], np.arange(8.0), layer, loss="mse").save("wide.safetensors")
    path = folder / f"rows.{kind}"
    if kind == "csv":
        line = ",".join(["7"] * features) + "\n"
        with path.open("w") as file:
            file.write(",".join(f"c{i}" for i in range(features)) + "\n")
            for _ in range(rows // 1000):
                file.write(line * 1000)
        limits = ["RLIMIT_AS", "VmSize"]
    else:  # zeros that take no room on the disk
        np.lib.format.open_memmap(path, "w+", np.uint8, (rows, features)).flush()
        limits = ["RLIMIT_DATA", "VmData"]  # a file that is mapped counts as address space
    whole = rows * features * (8 if kind == "csv" else 1)
    done = subprocess.run(
        [
            *(sys.executable, "-c", LIMITED, *limits, str(more), str(whole)),
            *("predict", "wide.safetensors", str(path), "-o", "out.npy"),
        ],
        env=environment(OPENBLAS_NUM_THREADS="1"),
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"wrote {rows:,} predictions" in done.stderr
    found = np.load(folder / "out.npy")
    assert found.shape == (rows,)
    assert (found == found[0]).all()


def test_messages_leave_paths_and_data(run: Run) -> None:
    """They look like options, and are none."""
    for name in ("label=yes/x.csv", "hidden=3.csv", "my batch_size dir/x.csv", "one_hot"):
        done = run("predict", name, "x.csv")
        assert done.code == 1
        assert name in done.err
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"")
        done = run("train", name)
        assert done.code == 2
        assert name in done.err
    heading = 'it\'s "x" batch_size label=3 '
    Path("t.csv").write_text(f'"{heading.replace(chr(34), 2 * chr(34))}",b\n1,2\n')
    assert repr(heading.strip()) in run("train", "t.csv").err


def test_preparations_of_classes(run: Run) -> None:
    words = "--target-preparation standard --epochs 1 --backend numpy -q".split()
    said = (
        "fastnet: --target-preparation is 'standard' and the targets are classes; expected "
        "quantities: leave it out, or pass --task regression if these are some\n"
    )
    for task in ([], ["--task", "classification"]):
        done = run("train", "labelled.csv", *words, *task)
        assert (done.code, done.err) == (2, said)
    done = run("train", "digits", *words, "--target-preparation", "standart")
    assert "'standart'" in done.err
    assert "classes" not in done.err
