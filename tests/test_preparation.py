"""Features prepared by what the training rows say, and tables whose columns have names."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fastnet
from fastnet.data import splits, tabular
from fastnet.data.columns import Column, Layout
from fastnet.data.preparation import BLOCK, Preparation
from fastnet.data.tabular import Wanted
from fastnet.randomness import VALIDATION_SPLIT

RNG = np.random.default_rng(3)
SIZES = np.array([1e6, 1.0, 1e-3])
X = RNG.normal(size=(301, 3)) * SIZES + [5e6, 0, 3]
Y = (X[:, 0] / 1e6 + X[:, 1] + (X[:, 2] - 3) * 1e3 > 5).astype(int)


def by_hand(kind: str, rows: Any, of: Any) -> np.ndarray:
    of, rows = np.asarray(of, np.longdouble), np.asarray(rows, np.longdouble)
    if kind == "min_max":
        shift, spread = of.min(0), of.max(0) - of.min(0)
    else:
        shift, spread = of.mean(0), of.std(0)
    spread[of.min(0) == of.max(0)] = np.inf
    return ((rows - shift) / spread).astype(np.float64)


def network(preparation: Any = "standard", **options: Any) -> fastnet.Network:
    layers = [fastnet.Dense(3, 5, "tanh"), fastnet.Dense(5, 2, "softmax")]
    return fastnet.Network(
        layers,
        loss="categorical_crossentropy",
        **{"backend": "numpy", "preparation": preparation, **options},
    )


@pytest.mark.parametrize("kind", ["min_max", "standard"])
@pytest.mark.parametrize(
    "rows",
    [
        X,
        X.astype(np.float32),
        RNG.integers(0, 256, (2 * BLOCK + 1, 3), dtype=np.uint8),
        RNG.integers(-(2**62), 2**62, (7, 3)),
        RNG.random((9, 3)) < 0.5,
        RNG.normal(size=(50, 3)) * [1e300, 1e-300, 0],
        np.array([[0.1, 2.0, 3.0], [0.1, 2.0, 4.0], [0.1, 2.5, 4.0]]),
    ],
    ids=["float64", "float32", "bytes", "int64", "bool", "extremes", "constant"],
)
def test_every_column_is_shifted_and_scaled(kind: Any, rows: Any) -> None:
    learned = Preparation(kind).learn(rows)
    found = learned.apply(rows, np.dtype("float64"))
    np.testing.assert_allclose(found, by_hand(kind, rows, rows), rtol=1e-9, atol=1e-9)
    assert found.flags.c_contiguous
    if kind == "min_max":
        assert (found >= 0).all()
        assert (found <= 1).all()


def test_a_constant_column_becomes_zero_whatever_comes_later() -> None:
    learned = Preparation("standard").learn(np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]]))
    found = learned.apply(np.array([[1e9, 2.0]]), np.dtype("float32"))
    assert found.tolist() == [[0, 0]]


def test_columns_too_far_apart_are_refused() -> None:
    with pytest.raises(ValueError, match=r"from -1e\+308 to 1e\+308 in column 1"):
        Preparation("min_max").learn(np.array([[0, -1e308], [1, 1e308]]))


def test_what_does_not_fit_is_refused() -> None:
    learned = Preparation("min_max").learn(np.array([[0.0], [1e-30]]))
    with pytest.raises(ValueError, match="X, prepared by 'min_max', has 1 value"):
        learned.apply(np.array([[1e30]]), np.dtype("float32"))


@pytest.mark.parametrize("kind", ["min_max", "standard"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_network_prepares_what_it_is_given(kind: str, backend: str) -> None:
    net = network(kind, backend=backend)
    history = net.fit(X[:200], Y[:200], epochs=3)
    plain = network(None, backend=backend)
    prepared = by_hand(kind, X, X[:200])
    same = plain.fit(prepared[:200], Y[:200], epochs=3)
    np.testing.assert_allclose(history["train_loss"], same["train_loss"], rtol=1e-5)
    np.testing.assert_allclose(net.forward(X), plain.forward(prepared), rtol=1e-4, atol=1e-6)
    assert (net.predict(X) == plain.predict(prepared)).all()
    np.testing.assert_allclose(net.predict_proba(X), plain.predict_proba(prepared), atol=1e-6)
    for name, value in net.evaluate(X, Y).items():
        assert value == pytest.approx(plain.evaluate(prepared, Y)[name], rel=1e-4)
    assert net.loss_and_gradient(X, Y)[0] == pytest.approx(
        plain.loss_and_gradient(prepared, Y)[0], rel=1e-4
    )
    np.testing.assert_allclose(
        net.trace(X[:4], Y[:4])[0].Z, plain.trace(prepared[:4], Y[:4])[0].Z, atol=1e-5
    )


def test_validation_rows_teach_nothing() -> None:
    net = network()
    net.fit(X, Y, epochs=1, validation=0.25)
    kept, _ = splits.stratified_split(Y, 0.25, net.seed, VALIDATION_SPLIT)
    assert net.preparation is not None
    assert net.preparation.shift is not None
    np.testing.assert_allclose(net.preparation.shift, X[kept].mean(axis=0), rtol=1e-12)
    own = network()
    history = own.fit(X[kept], Y[kept], epochs=1, validation=(X[:9], Y[:9]))
    assert own.preparation is not None
    np.testing.assert_array_equal(own.preparation.shift, net.preparation.shift)
    assert history["validation_loss"] == [own.evaluate(X[:9], Y[:9])["loss"]]


def test_the_test_rows_of_train_teach_nothing() -> None:
    run = fastnet.train(X, Y, epochs=1, preparation="min_max", validation=None, backend="numpy")
    kept, _ = splits.stratified_split(Y, splits.TEST_FRACTION, 0)
    assert run.network.preparation is not None
    np.testing.assert_array_equal(run.network.preparation.shift, X[kept].min(axis=0))


def test_large_numbers_lose_nothing_before_they_are_prepared() -> None:
    seconds = 1.7e9 + RNG.random((64, 1))  # float32 cannot tell them apart
    net = fastnet.Network([fastnet.Dense(1, 1)], loss="mse", preparation="min_max", backend="numpy")
    net.fit(seconds, np.zeros(64), epochs=1)
    net.parameters = [1, 0]
    low, high = seconds.min(), seconds.max()
    expected = (seconds[:, 0] - low) / (high - low)
    np.testing.assert_allclose(net.predict(seconds), expected, atol=1e-6)


def test_it_is_learned_once() -> None:
    net = network()
    net.fit(X, Y, epochs=1)
    learned = net.preparation
    net.fit(X * 2, Y, epochs=1)
    assert net.preparation is learned


def test_a_fit_that_is_refused_leaves_nothing_learned() -> None:
    net = network()
    frame = pd.DataFrame(X, columns=list("abc"))
    with pytest.raises(fastnet.DivergenceError):
        net.fit(frame, Y, epochs=1, optimizer=fastnet.SGD(1e38))
    assert net.preparation is not None
    assert not net.preparation.is_learned
    assert net.layout == Layout()
    with pytest.raises(ValueError, match="has learned nothing yet; train the network first"):
        net.predict(X)


def test_copies_have_it() -> None:
    net = network()
    net.fit(X, Y, epochs=2)
    expected = net.forward(X)
    np.testing.assert_array_equal(net.to().forward(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(net)).forward(X), expected)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"preparation": "standart"}, ValueError, "did you mean 'standard'"),
        ({"preparation": 3}, TypeError, "preparation is 3"),
        ({"input_scale": 0.5}, ValueError, "expected one of them"),
    ],
)
def test_what_is_refused(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        network(**options)


def test_a_data_set_is_prepared_instead_of_scaled() -> None:
    run = fastnet.train(epochs=1, preparation="min-max", backend="numpy")
    assert run.network.input_scale == 1
    assert str(run.network.preparation) == "min_max"


# -- columns by name ------------------------------------------------------------------------------


def test_columns_of_frames_are_found_by_their_names() -> None:
    frame = pd.DataFrame(X, columns=list("abc"))
    for net in (network(), network(None)):
        net.fit(frame, Y, epochs=2)
        expected = net.predict(X)
        turned = frame[["c", "a", "b"]].assign(z="text that is not needed")
        np.testing.assert_array_equal(net.predict(turned), expected)
        np.testing.assert_array_equal(net.predict(frame.set_axis([0, 1, 2], axis=1)), expected)
        assert net.evaluate(turned, Y) == net.evaluate(X, Y)
        with pytest.raises(ValueError, match="X: no column is called 'b'; the columns are"):
            net.predict(frame[["a", "c"]])
        with pytest.raises(ValueError, match=r"X: row 2, column 'b' has no value"):
            net.predict(frame.assign(b=frame["b"].where(frame.index != 2)))


def test_frames_without_names_are_known_by_position() -> None:
    net = network(None)
    net.fit(pd.DataFrame(X), Y, epochs=1)
    assert net.layout == Layout()
    net.predict(pd.DataFrame(X, columns=list("xyz")))


CITIES = "size,city,label\n1,Rome,a\n2,Oslo,b\n3,Rome,a\n4,007,b\n"


def write(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_texts_become_features(tmp_path: Path) -> None:
    path = write(tmp_path, CITIES)
    data = fastnet.load_data(path, one_hot=["city"])
    assert data.layout == Layout((Column("size"), Column("city", ("007", "Oslo", "Rome"))), "label")
    assert data.X_train.tolist() == [[1, 0, 0, 1], [2, 0, 1, 0], [3, 0, 0, 1], [4, 1, 0, 0]]
    frame = pd.read_csv(path)
    by_position = fastnet.load_data(frame, label=-1, one_hot=[1])
    np.testing.assert_array_equal(by_position.X_train, data.X_train)
    features = tabular.frame_features(frame[["city", "size"]], data.layout, 4, "X")
    np.testing.assert_array_equal(features, data.X_train)


def test_texts_that_stand_for_gaps_elsewhere_are_texts(tmp_path: Path) -> None:
    text = "size,city,label\n1,None,NA\n2,NA,b\n3,nan,None\n"
    path = write(tmp_path, text)
    data = fastnet.load_data(path, one_hot=["city"])
    assert data.layout.columns[1].categories == ("NA", "None", "nan")
    assert data.X_train.tolist() == [[1, 0, 1, 0], [2, 1, 0, 0], [3, 0, 0, 1]]
    assert data.y_train.tolist() == ["NA", "b", "None"]
    for text_labels in (True, False):
        wanted = Wanted(data.layout, 4, needs_label=True, text_labels=text_labels)
        with path.open(encoding="utf-8-sig", newline="") as file:
            (batch,) = tabular.csv_batches(file, path, wanted, 9)[1]
        assert batch.X.tolist() == data.X_train.tolist()
        assert batch.y is not None
        assert batch.y.tolist() == ["NA", "b", "None"]
    for gap, name in (("4,,b", "city"), ("4,NA,", "label")):
        with pytest.raises(
            ValueError, match=f"line 5, column '{name}' has no value; missing are 1 cell"
        ):
            fastnet.load_data(write(tmp_path, f"{text}{gap}\n"), one_hot=["city"])
    for number in ("NA", "nan", "NULL"):
        path = write(tmp_path, f"size,label\nTrue,1\n{number},2\n")
        said = f"line 3, column 'size' is '{number}', which is no number; missing are "
        with pytest.raises(ValueError, match=said):
            fastnet.load_data(path)


@pytest.mark.parametrize("rows", [1, 100])
@pytest.mark.parametrize("label", ["3", "True", "0.5"])
def test_gaps_among_labels_of_a_file_in_parts(tmp_path: Path, rows: int, label: str) -> None:
    path = write(tmp_path, f"size,city,label\n1,Rome,{label}\n2,Rome,NA\n3,Rome,{label}\n")
    with path.open(encoding="utf-8-sig", newline="") as file:
        batches = tabular.csv_batches(file, path, Wanted(LAYOUT, 4, needs_label=True), rows)[1]
        if rows == 1:
            assert [str(batch.y[0]) for batch in batches if batch.y is not None][1] == "NA"
        else:
            with pytest.raises(ValueError, match="line 3, column 'label' is 'NA', which is no num"):
                list(batches)


@pytest.mark.parametrize("content", ["", "NA", "zwei", "2024-01-01"])
def test_labels_that_are_not_needed_are_not_looked_at(tmp_path: Path, content: str) -> None:
    layout = Layout((Column("size"),), "price")
    path = write(tmp_path, f"price,size\n{content},1\n{content},2\n")
    frame = pd.DataFrame({"price": pd.to_datetime(["2024-01-01"] * 2), "size": [1, 2]})
    for wanted in (Wanted(layout, 1), Wanted(Layout(), 1, label="price")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            reading, batches = tabular.csv_batches(file, path, wanted, 9)
            (batch,) = batches
        assert (batch.X.tolist(), batch.y) == ([[1], [2]], None)
        assert (reading.label, reading.unused) == (None, ())
    assert tabular.frame_features(frame, layout, 1, "X").tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, r"line 2, column 'city' is 'Rome', which is no number; make features"),
        ({"one_hot": ["town"]}, ValueError, "no column is called 'town'"),
        ({"one_hot": "city"}, TypeError, r"expected a list of columns, such as \['city'\]"),
        ({"one_hot": [7]}, ValueError, "one_hot is column 7, and there are 3"),
        ({"one_hot": [True]}, TypeError, "expected a column's name or its position"),
        ({"one_hot": ["label"]}, ValueError, "'label' is in one_hot, too"),
    ],
)
def test_what_texts_are_refused(tmp_path: Path, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fastnet.load_data(write(tmp_path, CITIES), **options)


def test_too_many_texts_are_refused(tmp_path: Path) -> None:
    lines = "".join(f"name {i},{i % 2}\n" for i in range(1001))
    with pytest.raises(ValueError, match="column 'name' has 1,001 different texts"):
        fastnet.load_data(write(tmp_path, f"name,y\n{lines}"), one_hot=["name"])


@pytest.mark.parametrize("options", [{"label": "y"}, {"one_hot": ["y"]}])
def test_columns_of_what_is_no_table_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="names columns of tables, and 'digits' is none"):
        fastnet.load_data("digits", **options)


# -- a file in parts ------------------------------------------------------------------------------

LAYOUT = Layout((Column("size"), Column("city", ("007", "Oslo", "Rome"))), "label")


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 100])
def test_a_file_in_parts(tmp_path: Path, rows: int) -> None:
    # Other columns and another order than in training; the first rows look like numbers.
    text = (
        "\ufeffid,city,label,size\n1,007,a,0.5\n2,007,b,300\n3,Oslo,a,1\n4,Rome,b,2\n5,Rome,a,3\n"
    )
    with write(tmp_path, text).open(encoding="utf-8-sig", newline="") as file:
        wanted = Wanted(LAYOUT, 4, needs_label=True)
        reading, batches = tabular.csv_batches(file, "t.csv", wanted, rows)
        parts = list(batches)
    assert reading.unused == ("id",)
    assert [len(part.X) for part in parts[:-1]] == [rows] * (len(parts) - 1)
    expected = [[0.5, 1, 0, 0], [300, 1, 0, 0], [1, 0, 1, 0], [2, 0, 0, 1], [3, 0, 0, 1]]
    assert np.concatenate([part.X for part in parts]).tolist() == expected
    assert np.concatenate([part.y for part in parts]).tolist() == list("ababa")


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("city,size\nRome,1\nOslo,x\n", "t.csv: line 3, column 'size' is 'x', which is no number"),
        ("city,size\nRome,1\nOslo,\n", "t.csv: line 3, column 'size' has no value"),
        ("city,size\nRome,1\n\nOslo,2\n", "t.csv: line 3 is empty"),
        ("city,size\nRome,1\nBern,2\n", "t.csv: line 3, column 'city' is 'Bern', which was not"),
        ("city,size\nRome,1\nOslo,1,2,3\n", "line 3"),
        ("city\nRome\n", "no column is called 'size'"),
        ("city,size,size\nRome,1,2\n", "2 columns are called 'size'"),
        ("city,size\n", "there is a header and no row"),
        ("", "the file is empty, or its first line is"),
        ("city;size\nRome;1\n", "separated by semicolons"),
    ],
)
def test_lines_are_named(tmp_path: Path, rows: int, text: str, message: str) -> None:
    with (
        write(tmp_path, text).open(encoding="utf-8-sig", newline="") as file,
        pytest.raises(ValueError, match=message),
    ):
        list(tabular.csv_batches(file, "t.csv", Wanted(LAYOUT, 4), rows)[1])


@pytest.mark.parametrize("rows", [1, 100])
def test_a_file_without_names(rows: int, tmp_path: Path) -> None:
    path = write(tmp_path, "1,2,9\n3,4,9\n")

    def read(**given: Any) -> Any:
        wanted = Wanted(**{"layout": Layout(), "inputs": 2} | given)
        with path.open(encoding="utf-8-sig", newline="") as file:
            batches = tabular.csv_batches(file, "t.csv", wanted, rows)[1]
            return np.concatenate([batch.X for batch in batches]).tolist()

    assert read(label=-1) == [[1, 2], [3, 4]]
    assert read(inputs=3) == [[1, 2, 9], [3, 4, 9]]
    assert read(layout=Layout((Column("a"), Column("b")), "y"), label=2) == [[1, 2], [3, 4]]
    with pytest.raises(ValueError, match="if one of them has the labels, say which, as in label='"):
        read()
    with pytest.raises(
        ValueError, match=r"3 column\(s\) of features, and the network was trained on 5"
    ):
        read(inputs=5)
