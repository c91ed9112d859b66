"""What is refused, before anything of the network has changed, and in which words."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastnet
from fastnet import SGD, Adam, Dense, Network, activations, losses

X = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
LABELS = np.arange(12) % 3
CUBE = X.reshape(3, 4, 4)

short = settings(deadline=None, max_examples=60)


def network(
    outputs: int = 3,
    activation: str = "softmax",
    loss: str = "categorical_crossentropy",
    **options: Any,
) -> Network:
    layers = [Dense(4, 5, "tanh"), Dense(5, outputs, activation)]
    return Network(layers, loss=loss, **{"backend": "numpy"} | options)


def trained() -> Network:
    net = network()
    net.fit(X, np.array(["a", "b", "c"])[LABELS], epochs=2)
    return net


def state(net: Network) -> list[Any]:
    """Everything that training changes, in comparable form."""
    snapshot = net.executor.snapshot()
    parts = [snapshot.theta.tobytes(), snapshot.state.tobytes(), snapshot.step, net.epoch]
    return [*parts, net.known_codec, net.task_in_use]


@contextlib.contextmanager
def refused(
    kind: type[Exception], *words: str, by: Network | None = None
) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """An error of this kind (not of a subclass) with these words, and ``by`` as it was."""
    before = state(by) if by else None
    with pytest.raises(kind) as caught:
        yield caught
    assert caught.type is kind
    message = str(caught.value)
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"
    if by:
        assert state(by) == before


def must_not_run(end: fastnet.EpochEnd) -> None:
    pytest.fail(f"epoch {end.epoch} was trained before the input was refused")


def with_values(array: np.ndarray, **at: float) -> np.ndarray:
    """A copy with some elements replaced: ``r2c1=nan`` is row 2, column 1."""
    result = np.array(array, dtype=np.float64)
    for place, value in at.items():
        row, _, column = place[1:].partition("c")
        result[(int(row), int(column)) if column else int(row)] = value
    return result


# -- X --------------------------------------------------------------------------------------------

BAD_FEATURES: dict[str, tuple[Any, type[Exception], list[str]]] = {
    "a single number": (
        3.5,
        ValueError,
        ["X has 0 dimension(s)", "shape ()", "expected two", "one row per sample"],
    ),
    "one dimension": (
        X[0],
        ValueError,
        ["X has 1 dimension(s)", "shape (4,)", "expected two", "X.reshape(1, -1)"],
    ),
    "three dimensions": (
        CUBE,
        ValueError,
        ["X has 3 dimension(s)", "(3, 4, 4)", "expected two", "X.reshape(len(X), -1)"],
    ),
    "no rows": (X[:0], ValueError, ["X is empty", "(0, 4)", "at least one row"]),
    "no columns": (X[:, :0], ValueError, ["X is empty", "(12, 0)", "one feature"]),
    "an empty list": ([], ValueError, ["X has", "shape (0,)"]),
    "text": ([["a"] * 4] * 12, TypeError, ["X has dtype <U1", "text", "expected real numbers"]),
    "text that reads as numbers": (X.astype("U9"), TypeError, ["X has dtype <U9", "text"]),
    "bytes": (X.astype("S9"), TypeError, ["X has dtype |S9", "text", "expected real numbers"]),
    "objects": (
        X.astype(object),
        TypeError,
        ["X has dtype object", "Python objects", "real numbers", "X.astype('float32')"],
    ),
    "None": (None, TypeError, ["X has dtype object", "expected real numbers"]),
    "a frame with a text column": (
        pd.DataFrame(X).assign(name="x"),
        TypeError,
        ["X has dtype object", "expected real numbers"],
    ),
    "complex": (X * 1j, TypeError, ["X has dtype complex64", "complex numbers", "real numbers"]),
    "dates": (X.astype("M8[D]"), TypeError, ["X has dtype datetime64[D]", "real numbers"]),
    "durations": (X.astype("m8[s]"), TypeError, ["X has dtype timedelta64[s]", "real numbers"]),
    "ragged rows": (
        [[1, 2, 3, 4], [1, 2]],
        ValueError,
        ["X cannot become", "rows of equal length"],
    ),
    "a sparse matrix": (sparse.csr_matrix(X), TypeError, ["X is a sparse matrix", "X.toarray()"]),
    "a sparse array": (sparse.coo_array(X), TypeError, ["X is a sparse matrix", "X.toarray()"]),
    "masked values": (
        np.ma.array(X, mask=X > 1),
        ValueError,
        ["X has masked values", "fill or drop", "X.filled(0)"],
    ),
    "NaN": (
        with_values(X, r3c2=np.nan, r5c0=np.nan),
        ValueError,
        ["X has 2 value(s)", "NaN or infinite", "(nan)", "row 3, column 2", "counted from 0"],
    ),
    "infinity": (
        with_values(X, r7c1=-np.inf),
        ValueError,
        ["X has 1 value(s)", "(-inf)", "row 7, column 1", "replace them or drop those rows"],
    ),
    "both infinities": (
        with_values(X, r2c3=np.inf, r4c0=-np.inf),
        ValueError,
        ["X has 2 value(s)", "(inf)", "row 2, column 3"],
    ),
    "NaN in half precision": (
        with_values(X, r1c1=np.nan).astype(np.float16),
        ValueError,
        ["X has 1 value(s)", "row 1, column 1"],
    ),
    "beyond float32": (
        with_values(X, r6c2=1e300),
        ValueError,
        ["X has the value", "1e+300", "row 6, column 2", "float32", "dtype='float64'"],
    ),
}


@pytest.mark.parametrize("case", BAD_FEATURES)
def test_features(case: str) -> None:
    features, kind, words = BAD_FEATURES[case]
    net = network()
    with refused(kind, *words, by=net):
        net.fit(features, LABELS)
    with refused(kind, *words, by=net):
        net.evaluate(features, LABELS)
    for ask in (net.predict, net.predict_proba, net.forward):
        with refused(kind, *words, by=net):
            ask(features)
    named = [word.replace("X has", "validation X has") for word in words]
    with refused(kind, *named[:1], by=net):
        net.fit(X, LABELS, validation=(features, LABELS))


@pytest.mark.parametrize("case", [case for case in BAD_FEATURES if case != "beyond float32"])
def test_features_given_to_train(case: str) -> None:
    features, kind, words = BAD_FEATURES[case]
    with refused(kind, *words):
        fastnet.train(features, LABELS, callbacks=[must_not_run], backend="numpy")


def test_values_beyond_float32_fit_a_float64_network() -> None:
    net = network(dtype="float64")
    assert np.isfinite(net.forward(with_values(X, r6c2=1e300))).all()


def test_finite_values_whose_sum_overflows_are_no_infinity() -> None:
    net = Network([Dense(2, 1, "tanh")], loss="mse", backend="numpy")
    assert net.predict(np.full((2, 2), 3e38, np.float32)).shape == (2,)


@pytest.mark.parametrize("columns", [1, 3, 5])
def test_another_number_of_features(columns: int) -> None:
    net = trained()
    wrong = np.zeros((12, columns))
    words = [f"X has {columns} feature(s)", "the network takes 4"]
    for ask in (net.predict, net.predict_proba, net.forward):
        with refused(ValueError, *words, by=net):
            ask(wrong)
    with refused(ValueError, *words, by=net):
        net.evaluate(wrong, ["a"] * 12)
    with refused(ValueError, *words, by=net):
        net.fit(wrong, ["a"] * 12)


BAD_VALUES = st.sampled_from([np.nan, np.inf, -np.inf])


@short
@given(
    bad=st.dictionaries(
        st.tuples(st.integers(0, 11), st.integers(0, 3)), BAD_VALUES, min_size=1, max_size=9
    ),
    dtype=st.sampled_from(["f2", "f4", "f8", ">f8"]),
    order=st.sampled_from("CF"),
)
def test_any_value_that_is_not_finite_is_counted_and_located(
    bad: dict[tuple[int, int], float], dtype: str, order: Any
) -> None:
    features = np.array(X, dtype=dtype, order=order)
    for place, value in bad.items():
        features[place] = value
    row, column = min(bad)
    net = network()
    with refused(
        ValueError,
        f"X has {len(bad)} value(s)",
        f"({bad[row, column]})",
        f"row {row}, column {column} (counted from 0)",
        by=net,
    ):
        net.fit(features, LABELS)


# -- y --------------------------------------------------------------------------------------------

ONE_HOT = np.eye(3)[LABELS]

BAD_LABELS: dict[str, tuple[Any, type[Exception], list[str]]] = {
    "too few": (LABELS[:-2], ValueError, ["X has 12 row(s)", "y has 10", "one target per row"]),
    "too many": (np.r_[LABELS, 0], ValueError, ["X has 12 row(s)", "y has 13"]),
    "one label for all rows": (1, ValueError, ["y has 0 dimension(s)", "shape (12,)"]),
    "three dimensions": (
        np.ones((12, 3, 1)),
        ValueError,
        ["y has 3 dimension(s)", "(12, 3, 1)", "one target per row", "(12, outputs)"],
    ),
    "one column": (
        LABELS[:, None],
        ValueError,
        ["y has shape (12, 1)", "3 output(s)", "expected (12, 3)", "y.ravel()"],
    ),
    "too few columns": (
        ONE_HOT[:, :2],
        ValueError,
        ["y has shape (12, 2)", "2 target(s)", "3 output(s)", "expected (12, 3)"],
    ),
    "above 1": (
        with_values(ONE_HOT, r4c1=1.5),
        ValueError,
        ["y has 1 value(s) outside 0 to 1", "(1.5)", "row 4, column 1", "'mse'"],
    ),
    "below 0": (
        with_values(ONE_HOT, r5c0=-0.25),
        ValueError,
        ["y has 1 value(s) outside 0 to 1", "(-0.25)", "row 5, column 0"],
    ),
    "NaN among probabilities": (
        with_values(ONE_HOT, r2c2=np.nan),
        ValueError,
        ["y has 1 value(s)", "NaN or infinite", "row 2, column 2"],
    ),
    "NaN among numbers": (
        with_values(LABELS, r8=np.nan),
        ValueError,
        ["y has 1 value(s)", "(nan)", "row 8", "counted from 0"],
    ),
    "None among text": (
        ["a", "b", None] * 4,
        TypeError,
        ["y holds None", "row 2", "none missing"],
    ),
    "None among numbers": ([0, 1, None] * 4, TypeError, ["y holds None", "row 2"]),
    "None": (None, TypeError, ["y holds None"]),
    "text and numbers as objects": (
        np.array(["a", 1, "b"] * 4, dtype=object),
        TypeError,
        ["y mixes text and numbers", "8 of 12 are text", "one kind", "str(v)"],
    ),
    "text in two dimensions": (
        np.array(["a", "b", "c"])[LABELS][:, None],
        ValueError,
        ["y holds text in shape (12, 1)", "one-dimensional", "y.ravel()"],
    ),
    "a single class": (
        ["only"] * 12,
        ValueError,
        ["y has only one class", "'only'", "12 row(s)", "at least two"],
    ),
    "more classes than outputs": (
        np.arange(12) % 4,
        ValueError,
        ["y has 4 classes", "0, 1, 2, 3", "3 output(s)", "give the last layer 4 outputs"],
    ),
    "fewer classes than outputs": (
        ["a", "b"] * 6,
        ValueError,
        ["y has 2 classes", "'a', 'b'", "3 output(s)", "give the last layer 2 outputs"],
    ),
    "complex": (LABELS * 1j, TypeError, ["y has dtype complex128", "integers", "strings"]),
    "dates": (LABELS.astype("M8[D]"), TypeError, ["y has dtype datetime64[D]", "integers"]),
    "ragged rows": ([[0, 1], [1]] * 6, ValueError, ["y cannot become", "equal length"]),
    "fractions for a softmax": (LABELS + 0.5, ValueError, ["y has shape (12,)", "(12, 3)"]),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels(case: str) -> None:
    labels, kind, words = BAD_LABELS[case]
    net = network()
    with refused(kind, *words, by=net):
        net.fit(X, labels)


def test_text_and_numbers_in_a_plain_list() -> None:
    """NumPy turns the numbers of such a list into text, so that nobody would notice."""
    net = network(outputs=2)
    with refused(TypeError, "y mixes text and numbers", by=net):
        net.fit(X, ["a", 1] * 6)


def test_a_missing_text_label_in_a_plain_list() -> None:
    net = network(outputs=2)
    with refused(TypeError, "y ", "nan", by=net):
        net.fit(X, ["a", math.nan] * 6)


def test_a_missing_text_label_in_a_series() -> None:
    net = network(outputs=2)
    with refused(TypeError, "y holds nan", "row 2", "none missing", by=net):
        net.fit(X, pd.Series(["a", "b", None] * 4))


@pytest.mark.parametrize("labels", [LABELS, LABELS.astype(float)])
def test_masked_labels(labels: np.ndarray) -> None:
    net = network()
    with refused(ValueError, "y has masked values", by=net):
        net.fit(X, np.ma.array(labels, mask=labels == 2))


def test_sparse_targets() -> None:
    net = network()
    with refused(TypeError, "y ", "sparse", "y.toarray()", by=net):
        net.fit(X, sparse.csr_array(ONE_HOT))


def test_fractional_labels() -> None:
    net = network(task="classification")
    with refused(
        ValueError,
        "y has the value 0.5 at row 0",
        "no class label",
        "whole numbers or text",
        "task='regression'",
        by=net,
    ):
        net.fit(X, LABELS + 0.5)
    with refused(ValueError, "y has the value 0.5 at row 0"):
        fastnet.train(X, LABELS + 0.5, task="classification")


def test_labels_beyond_every_integer() -> None:
    net = network(outputs=2, task="classification")
    with refused(ValueError, "y has the value", "1e+300", "row 0", by=net):
        net.fit(X, [1e300, 0.0] * 6)


def test_text_for_regression() -> None:
    net = network(1, "linear", "mse", task="regression")
    with refused(TypeError, "y has dtype <U1", "text", "real numbers", by=net):
        net.fit(X, ["a", "b"] * 6)


def test_quantities_outside_a_cross_entropy() -> None:
    net = network(1, "sigmoid", "log_loss", task="regression")
    with refused(ValueError, "y has 8 value(s) outside 0 to 1", "(2.0)", "log_loss", by=net):
        net.fit(X, LABELS + 1.0)


def test_quantities_beyond_float32() -> None:
    net = network(1, "linear", "mse")
    with refused(ValueError, "y has the value", "1e+300", "row 3", "float32", by=net):
        net.fit(X, with_values(X[:, 0], r3=1e300))


def test_unknown_labels_when_training_goes_on() -> None:
    net = trained()
    words = ["y has the label(s) 'x', 'z'", "does not know", "'a', 'b', 'c'"]
    labels = np.array(["a", "x", "z"])[LABELS]
    with refused(ValueError, *words, by=net):
        net.fit(X, labels)
    with refused(ValueError, *words, by=net):
        net.evaluate(X, labels)
    with refused(ValueError, "validation " + words[0], *words[1:], by=net):
        net.fit(X, ["a", "b", "c"] * 4, validation=(X, labels))


def test_numbers_for_text_when_training_goes_on() -> None:
    net = trained()
    with refused(ValueError, "y has the label(s) 0, 1, 2", "'a', 'b', 'c'", by=net):
        net.fit(X, LABELS)


def test_many_labels_are_not_all_listed() -> None:
    net = network()
    with refused(ValueError, "y has 12 classes", "(12 in all)") as caught:
        net.fit(X, np.arange(12))
    assert "11" not in str(caught.value)


def test_a_vector_after_multilabel_targets() -> None:
    net = network(3, "sigmoid", "log_loss")
    net.fit(X, X[:, :3] > 0, epochs=1)
    with refused(ValueError, "y is one-dimensional", "expected shape (rows, 3)", by=net):
        net.fit(X, LABELS)


def test_one_class_is_enough_once_the_classes_are_known() -> None:
    net = trained()
    assert len(net.fit(X, ["a"] * 12, epochs=1)["epoch"]) == 1
    assert net.evaluate(X, ["b"] * 12)["accuracy"] == np.mean(net.predict(X) == "b")


def test_one_class_is_enough_in_rows_of_outputs() -> None:
    net = network()
    net.fit(X, np.eye(3)[np.zeros(12, int)], epochs=1)
    assert net.classes.tolist() == [0, 1, 2]


def test_validation_rows_of_another_length_are_named() -> None:
    net = network()
    with refused(ValueError, "validation X has 12 row(s)", "validation y has 11", by=net):
        net.fit(X, LABELS, validation=(X, LABELS[:-1]))


# -- layers ---------------------------------------------------------------------------------------


def test_layers_that_do_not_chain() -> None:
    with refused(
        ValueError, "layer 3 takes 6 inputs", "layer 2 gives 5 outputs", "write Dense(5, 3"
    ):
        Network([Dense(4, 5), Dense(5, 5), Dense(6, 3)], loss="mse")


@pytest.mark.parametrize("size", [0, -1, -(10**20)])
def test_sizes_below_one(size: int) -> None:
    with refused(ValueError, f"inputs of Dense is {size}", "whole number, 1 or larger"):
        Dense(size, 3)
    with refused(ValueError, f"outputs of Dense is {size}", "whole number, 1 or larger"):
        Dense(3, size)


@pytest.mark.parametrize("size", [True, 2.0, 2.5, "3", None, math.nan, np.float32(2), [3]])
def test_sizes_that_are_no_whole_numbers(size: Any) -> None:
    came = f"is {size!r} ({type(size).__name__})"
    with refused(TypeError, f"inputs of Dense {came}", "whole number, 1 or larger"):
        Dense(size, 3)
    with refused(TypeError, f"outputs of Dense {came}", "whole number, 1 or larger"):
        Dense(3, size)


def test_sizes_too_large_for_any_machine() -> None:
    with pytest.raises((ValueError, MemoryError)):
        Network([Dense(10**20, 1)], loss="mse", backend="numpy")


@pytest.mark.parametrize(
    ("layers", "kind", "words"),
    [
        ([], ValueError, ["layers is empty", "at least one Dense"]),
        (None, TypeError, ["layers is None", "expected a list", "Dense(64, 32, 'relu')"]),
        (Dense(4, 3), TypeError, ["layers is Dense", "expected a list"]),
        ([4, 3], TypeError, ["layer 1 is 4 (int)", "expected Dense"]),
        ([Dense(4, 3), "relu"], TypeError, ["layer 2 is 'relu' (str)", "expected Dense"]),
        ([Dense(4, 3), Dense], TypeError, ["layer 2 is", "(type)", "expected Dense"]),
    ],
)
def test_layers_of_the_wrong_kind(layers: Any, kind: type[Exception], words: list[str]) -> None:
    with refused(kind, *words):
        Network(layers, loss="mse")


def test_softmax_before_the_last_layer() -> None:
    with refused(ValueError, "layer 2 of 3", "softmax", "only in the last layer", "use relu"):
        Network([Dense(4, 5), Dense(5, 5, "softmax"), Dense(5, 3)], loss="mse")


def test_softmax_with_one_output() -> None:
    with refused(ValueError, "softmax with 1 output", "always 1", "sigmoid with 1"):
        Network([Dense(4, 1, "softmax")], loss="log_loss")


PAIRS = list(itertools.product(activations.ACTIVATIONS, losses.LOSSES))
ILLEGAL = [
    (output, loss)
    for output, loss in PAIRS
    if loss not in ("mse", "mae") and output not in ("sigmoid", "softmax")
]


@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_pairs_of_output_and_loss(output: str, loss: str) -> None:
    layers = [Dense(4, 3, output)]
    if (output, loss) not in ILLEGAL:
        assert Network(layers, loss=loss, backend="numpy").parameter_count == 15
        return
    with refused(
        ValueError, f"loss is '{loss}'", f"last activation is '{output}", "sigmoid or softmax"
    ):
        Network(layers, loss=loss)


def test_ten_pairs_are_illegal() -> None:
    assert len(PAIRS) == 28
    assert len(ILLEGAL) == 10


ANY_SIZE = st.one_of(
    st.integers(-3, 40), st.booleans(), st.floats(), st.none(), st.text(max_size=3)
)


@short
@example([4, 5, 3])
@example([4, 0, 3])
@example([True, 2])
@given(st.lists(ANY_SIZE, max_size=5))
def test_any_list_of_sizes_makes_a_network_or_is_refused(sizes: list[Any]) -> None:
    legal = len(sizes) > 1 and all(type(size) is int and size > 0 for size in sizes)
    try:
        layers = [Dense(i, o) for i, o in itertools.pairwise(sizes)]
        net = Network(layers, loss="mse", backend="numpy")
    except (TypeError, ValueError):
        assert not legal
    else:
        assert legal
        assert net.parameter_count == sum(i * o + o for i, o in itertools.pairwise(sizes))


# -- names ----------------------------------------------------------------------------------------


def make(**options: Any) -> Network:
    return Network([Dense(4, 3)], **{"loss": "mse", "backend": "numpy"} | options)


UNKNOWN = {
    "activation": (lambda name: Dense(4, 3, name), "rleu", "relu"),
    "weights": (lambda name: Dense(4, 3, weights=name), "glorot", "glorot_uniform"),
    "biases": (lambda name: Dense(4, 3, biases=name), "zero", "zeros"),
    "loss": (lambda name: make(loss=name), "mes", "mse"),
    "optimizer": (lambda name: make().fit(X, X[:, :3], optimizer=name), "adm", "adam"),
    "backend": (lambda name: make(backend=name), "nunpy", "numpy"),
    "data": (lambda name: fastnet.train(name), "digit", "digits"),
}


@pytest.mark.parametrize("argument", UNKNOWN)
def test_unknown_names(argument: str) -> None:
    use, wrong, near = UNKNOWN[argument]
    with refused(ValueError, f"{argument} is {wrong!r}", f"did you mean {near!r}?", "Expected"):
        use(wrong)
    with refused(ValueError, f"{argument} is 'qqqq'", "Expected", near) as caught:
        use("qqqq")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("argument", ["activation", "weights", "biases", "loss", "optimizer"])
def test_names_that_are_no_text(argument: str) -> None:
    use, _, near = UNKNOWN[argument]
    with refused(TypeError, f"{argument} is 7 (int)", "expected one of", near):
        use(7)


@pytest.mark.parametrize("empty", ["", 0, False, [], ()])
def test_an_empty_optimizer_is_no_default(empty: Any) -> None:
    net = network()
    with pytest.raises((TypeError, ValueError), match=r"optimizer is .*[Ee]xpected") as caught:
        net.fit(X, LABELS, optimizer=empty)
    assert repr(empty) in str(caught.value)


@pytest.mark.parametrize("task", ["class", "Regression", 3, None])
def test_unknown_tasks(task: Any) -> None:
    words = [f"task is {task!r}", "Expected one of", "auto, classification, regression"]
    with refused(ValueError, *words):
        network(task=task)
    with refused(ValueError, *words):
        fastnet.train(X, LABELS, task=task)


@pytest.mark.parametrize(
    ("wrong", "near"), [("classificaton", "classification"), ("regresion", "regression")]
)
def test_the_nearest_task_is_suggested(wrong: str, near: str) -> None:
    with refused(ValueError, f"task is {wrong!r}", f"did you mean {near!r}?"):
        network(task=wrong)


@pytest.mark.parametrize(
    ("activation", "words"),
    [
        ("leaky_relu(x)", ["activation is 'leaky_relu(x)'", "numbers between the parentheses"]),
        ("leaky_relu(1", ["activation is 'leaky_relu(1'", "closing parenthesis"]),
        ("leaky_relu(1, 2)", ["activation is 'leaky_relu(1, 2)'", "at most 1 number(s): alpha"]),
        ("leaky_relu(-1)", ["alpha of leaky_relu is -1.0", "0 or larger"]),
        ("leaky_relu(inf)", ["alpha of leaky_relu is inf", "finite number"]),
        ("relu(1)", ["activation is 'relu(1)'", "no arguments"]),
        ("elu(0)", ["alpha of elu is 0.0", "finite number, above 0"]),
        ("elu(nan)", ["alpha of elu is nan", "finite number, above 0"]),
    ],
)
def test_arguments_of_activations(activation: str, words: list[str]) -> None:
    with refused(ValueError, *words):
        Dense(4, 3, activation)


@pytest.mark.parametrize("make_it", [activations.LeakyReLU, activations.ELU])
@pytest.mark.parametrize("alpha", ["0.1", None, True])
def test_alpha_that_is_no_number(make_it: Any, alpha: Any) -> None:
    with refused(TypeError, "alpha of", f"is {alpha!r}", "finite number"):
        make_it(alpha)


@pytest.mark.parametrize(
    ("initializer", "words"),
    [
        ("normal(-1)", ["scale of normal is -1.0", "above 0"]),
        ("normal(0)", ["scale of normal is 0.0", "above 0"]),
        ("uniform(1, 0)", ["uniform(1.0, 0.0)", "low must be below high"]),
        ("uniform(0, inf)", ["high of uniform is inf", "finite"]),
        ("zeros(1)", ["weights is 'zeros(1)'", "no arguments"]),
    ],
)
def test_arguments_of_initializers(initializer: str, words: list[str]) -> None:
    with refused(ValueError, *words):
        Dense(4, 3, weights=initializer)


def test_arguments_of_losses_and_optimizers() -> None:
    with refused(ValueError, "loss is 'mse(1)'", "no arguments"):
        make(loss="mse(1)")
    net = network()
    with refused(ValueError, "optimizer is 'sgd(x)'", "numbers between", by=net):
        net.fit(X, LABELS, optimizer="sgd(x)")
    with refused(ValueError, "learning_rate is -1.0", "above 0", by=net):
        net.fit(X, LABELS, optimizer="sgd(-1)")


# -- settings -------------------------------------------------------------------------------------

NO_NUMBERS = ["0.1", None, True, 1j, [0.1]]


@pytest.mark.parametrize("rate", [0, -1, -1e-9, math.nan, math.inf])
@pytest.mark.parametrize("make_it", [SGD, Adam])
def test_learning_rates_out_of_range(make_it: Any, rate: float) -> None:
    with refused(ValueError, f"learning_rate is {rate!r}", "finite number, above 0"):
        make_it(rate)


@pytest.mark.parametrize("rate", NO_NUMBERS)
def test_learning_rates_that_are_no_numbers(rate: Any) -> None:
    came = f"learning_rate is {rate!r} ({type(rate).__name__})"
    with refused(TypeError, came, "finite number, above 0"):
        SGD(rate)
    if rate is not None:
        with refused(TypeError, came):
            fastnet.train(learning_rate=rate, backend="numpy")


def test_a_learning_rate_beyond_every_float() -> None:
    with refused(ValueError, "learning_rate is 1000", "finite number"):
        SGD(10**400)


@short
@given(st.floats())
def test_any_learning_rate_is_taken_or_refused(rate: float) -> None:
    if math.isfinite(rate) and rate > 0:
        assert SGD(rate).learning_rate == rate
        return
    with refused(ValueError, f"learning_rate is {rate!r}"):
        SGD(rate)


@pytest.mark.parametrize(
    ("argument", "use"),
    [
        ("momentum", lambda value: SGD(0.1, momentum=value)),
        ("beta_1", lambda value: Adam(beta_1=value)),
        ("beta_2", lambda value: Adam(beta_2=value)),
    ],
)
def test_shares_of_optimizers(argument: str, use: Any) -> None:
    for value in (-0.1, 1, 1.5, math.nan):
        with refused(ValueError, f"{argument} is {value!r}", "0 or larger and below 1"):
            use(value)
    for value in NO_NUMBERS:
        with refused(TypeError, f"{argument} is {value!r}", "finite number"):
            use(value)


def test_epsilon() -> None:
    for value in (0, -1e-8, math.inf):
        with refused(ValueError, f"epsilon is {value!r}", "above 0"):
            Adam(epsilon=value)
    with refused(TypeError, "epsilon is 'small' (str)", "above 0"):
        Adam(epsilon="small")


def test_nesterov() -> None:
    with refused(ValueError, "nesterov is True and momentum is 0", "momentum above 0"):
        SGD(0.1, nesterov=True)
    with refused(TypeError, "nesterov is 1 (int)", "True or False"):
        SGD(0.1, momentum=0.9, nesterov=1)


OF_FIT: list[tuple[str, Any, type[Exception], list[str]]] = [
    ("epochs", 0, ValueError, ["epochs is 0", "1 or larger"]),
    ("epochs", -3, ValueError, ["epochs is -3", "1 or larger"]),
    ("epochs", 1.0, TypeError, ["epochs is 1.0 (float)", "whole number"]),
    ("epochs", True, TypeError, ["epochs is True (bool)", "whole number"]),
    ("epochs", "3", TypeError, ["epochs is '3' (str)", "whole number"]),
    ("epochs", None, TypeError, ["epochs is None", "whole number"]),
    ("batch_size", 0, ValueError, ["batch_size is 0", "1 or larger"]),
    ("batch_size", 2.0, TypeError, ["batch_size is 2.0 (float)", "whole number"]),
    ("batch_size", "all", TypeError, ["batch_size is 'all' (str)", "whole number"]),
    ("batch_size", True, TypeError, ["batch_size is True (bool)", "whole number"]),
    ("validation", 0, ValueError, ["validation is 0", "above 0 and below 1"]),
    ("validation", 1.0, ValueError, ["validation is 1.0", "above 0 and below 1"]),
    ("validation", -0.1, ValueError, ["validation is -0.1", "above 0 and below 1"]),
    ("validation", math.nan, ValueError, ["validation is nan", "above 0 and below 1"]),
    ("validation", True, TypeError, ["validation is True (bool)", "above 0 and below 1"]),
    ("validation", "half", TypeError, ["validation is 'half' (str)", "above 0"]),
    ("validation", (X,), ValueError, ["validation has 1 elements", "pair (X, y)"]),
    ("validation", (X, LABELS, 1), ValueError, ["validation has 3 elements", "pair (X, y)"]),
    ("validation", (X[:, :2], LABELS), ValueError, ["validation X has 2 feature(s)", "takes 4"]),
    (
        "sample_weight",
        with_values(np.ones(12), r5=-2),
        ValueError,
        ["sample_weight has the negative value -2.0", "row 5", "0 or larger"],
    ),
    (
        "sample_weight",
        with_values(np.ones(12), r4=math.nan),
        ValueError,
        ["sample_weight has 1 value(s)", "NaN", "row 4"],
    ),
    (
        "sample_weight",
        with_values(np.ones(12), r4=1e300),
        ValueError,
        ["sample_weight has the value", "1e+300", "row 4", "float32"],
    ),
    (
        "sample_weight",
        np.ones(11),
        ValueError,
        ["sample_weight has shape (11,)", "expected (12,)", "one number per row"],
    ),
    ("sample_weight", np.ones((12, 1)), ValueError, ["sample_weight has shape (12, 1)", "(12,)"]),
    ("sample_weight", 1.0, ValueError, ["sample_weight has shape ()", "(12,)"]),
    ("sample_weight", np.zeros(12), ValueError, ["sample_weight is 0 for every row"]),
    ("sample_weight", ["1"] * 12, TypeError, ["sample_weight has dtype <U1", "real numbers"]),
    ("shuffle", 1, TypeError, ["shuffle is 1 (int)", "True or False"]),
    ("shuffle", None, TypeError, ["shuffle is None", "True or False"]),
    ("progress", "yes", TypeError, ["progress is 'yes' (str)", "True or False"]),
    ("progress", 1, TypeError, ["progress is 1 (int)", "True or False"]),
    ("callbacks", [print, 3], TypeError, ["callbacks has 3", "functions of one argument"]),
    ("callbacks", None, TypeError, ["callbacks is None", "functions"]),
    ("callbacks", print, TypeError, ["callbacks is <built-in function print>", "functions"]),
]


@pytest.mark.parametrize(
    ("argument", "value", "kind", "words"),
    OF_FIT,
    ids=[case[0] for case in OF_FIT],
)
def test_settings_of_fit(argument: str, value: Any, kind: type[Exception], words: Any) -> None:
    net = network()
    with refused(kind, *words, by=net):
        net.fit(X, LABELS, **{argument: value})


@pytest.mark.parametrize("setting", ["validation", "sample_weight"])
def test_settings_reach_fit_through_train(setting: str) -> None:
    with refused(TypeError, setting):
        fastnet.train(X, LABELS, backend="numpy", **{setting: "bad"})


def test_callbacks_from_a_generator_are_not_lost() -> None:
    seen: list[int] = []
    callbacks = (lambda end: seen.append(end.epoch) for _ in range(1))
    with contextlib.suppress(TypeError):  # refusing them would be as good
        network().fit(X, LABELS, epochs=2, callbacks=callbacks)
        assert seen == [1, 2]


def test_weights_that_leave_nothing_to_validate_on() -> None:
    """Only one row counts, and the validation share is bound to be without it or to be it."""
    net = network()
    weights = np.zeros(12)
    weights[0] = 1
    with refused(ValueError, "sample_weight", "validation", by=net):
        net.fit(X, LABELS, sample_weight=weights, validation=0.25)


OF_NETWORK: list[tuple[str, Any, type[Exception], list[str]]] = [
    ("seed", -1, ValueError, ["seed is -1", "0 or larger"]),
    ("seed", 2**64, ValueError, ["seed is 18446744073709551616", "from 0 to"]),
    ("seed", 1.0, TypeError, ["seed is 1.0 (float)", "whole number"]),
    ("seed", "0", TypeError, ["seed is '0' (str)", "whole number"]),
    ("seed", None, TypeError, ["seed is None", "whole number"]),
    ("seed", False, TypeError, ["seed is False (bool)", "whole number"]),
    ("input_scale", 0, ValueError, ["input_scale is 0", "above 0"]),
    ("input_scale", -1.5, ValueError, ["input_scale is -1.5", "above 0"]),
    ("input_scale", math.inf, ValueError, ["input_scale is inf", "finite"]),
    ("input_scale", "1/16", TypeError, ["input_scale is '1/16' (str)", "finite number"]),
    ("dtype", "float16", ValueError, ["dtype is 'float16'", "'float32' or 'float64'"]),
    ("dtype", int, ValueError, ["dtype is <class 'int'>", "'float32' or 'float64'"]),
    ("dtype", ">f4", ValueError, ["dtype is '>f4'", "'float32' or 'float64'"]),
    ("dtype", "nonsense", ValueError, ["dtype is 'nonsense'", "'float32' or 'float64'"]),
    ("threads", 0, ValueError, ["threads is 0", "1 or larger"]),
    ("threads", 1.5, TypeError, ["threads is 1.5 (float)", "whole number"]),
    ("threads", True, TypeError, ["threads is True (bool)", "whole number"]),
    ("threads", "2", TypeError, ["threads is '2' (str)", "whole number"]),
    ("precision", "fp8", ValueError, ["precision is 'fp8'", "None or 'tf32'"]),
    ("precision", 32, ValueError, ["precision is 32", "None or 'tf32'"]),
    ("precision", "tf32", ValueError, ["precision is 'tf32'", "'numpy'", "leave precision out"]),
]


@pytest.mark.parametrize(
    ("argument", "value", "kind", "words"),
    OF_NETWORK,
    ids=[case[0] for case in OF_NETWORK],
)
def test_settings_of_a_network(
    argument: str, value: Any, kind: type[Exception], words: Any
) -> None:
    with refused(kind, *words):
        network(**{argument: value})
    with refused(kind, *words):
        fastnet.train(X, LABELS, **{"backend": "numpy", argument: value})


@pytest.mark.parametrize("text", ["two", "0", "-1", "1.5", "²"])
def test_threads_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FASTNET_NUM_THREADS", text)
    with refused(ValueError, "FASTNET_NUM_THREADS is", text, "whole number, 1 or larger"):
        network()


@pytest.mark.parametrize(
    ("hidden", "kind", "words"),
    [
        ("128", TypeError, ["hidden is '128'", "sizes of the hidden layers", "(128, 64)"]),
        (128.0, TypeError, ["hidden is 128.0", "sizes of the hidden layers"]),
        (None, TypeError, ["hidden is None", "sizes of the hidden layers"]),
        (0, ValueError, ["hidden is 0", "1 or larger"]),
        ((8, -3), ValueError, ["hidden is -3", "1 or larger"]),
        ((8, 1.5), TypeError, ["hidden is 1.5 (float)", "whole number"]),
        (True, TypeError, ["hidden is True (bool)", "whole number"]),
        ((8, "relu"), TypeError, ["hidden is 'relu' (str)", "whole number"]),
    ],
)
def test_hidden_layers(hidden: Any, kind: type[Exception], words: list[str]) -> None:
    with refused(kind, *words):
        fastnet.train(hidden=hidden, backend="numpy")


# -- the network as it is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vector", "kind", "words"),
    [
        (np.zeros(42), ValueError, ["parameters has shape (42,)", "expected (43,)"]),
        (np.zeros((43, 1)), ValueError, ["parameters has shape (43, 1)", "expected (43,)"]),
        (
            with_values(np.zeros(43), r7=math.nan),
            ValueError,
            ["parameters has 1 value(s)", "(nan)", "row 7"],
        ),
        (
            with_values(np.zeros(43), r9=1e300),
            ValueError,
            ["parameters has the value", "1e+300", "row 9", "float32"],
        ),
        ("zeros", TypeError, ["parameters has dtype <U5", "text", "real numbers"]),
        (None, TypeError, ["parameters has dtype object", "real numbers"]),
        (np.zeros(43) * 1j, TypeError, ["parameters has dtype complex128", "real numbers"]),
        ([[0.0], [0.0, 1.0]], ValueError, ["parameters"]),
    ],
)
def test_parameters(vector: Any, kind: type[Exception], words: list[str]) -> None:
    net = network()
    with refused(kind, *words, by=net):
        net.parameters = vector


def test_probabilities_of_a_regression() -> None:
    net = network(1, "linear", "mse")
    net.fit(X, X[:, 0], epochs=1)
    with refused(ValueError, "no probabilities", "regression", "linear", "forward(X)", by=net):
        net.predict_proba(X)


def test_probabilities_of_linear_outputs() -> None:
    net = network(3, "linear", "mse")
    net.fit(X, LABELS, epochs=1)
    with refused(ValueError, "no probabilities", "classification", "linear", "forward(X)"):
        net.predict_proba(X)


def test_copies_to_nowhere() -> None:
    net = network()
    with refused(ValueError, "backend is 'nunpy'", "did you mean 'numpy'?", by=net):
        net.to("nunpy")
    with refused(ValueError, "dtype is 'int8'", "'float32' or 'float64'", by=net):
        net.to(dtype="int8")


# -- train ----------------------------------------------------------------------------------------


def test_targets_for_a_data_set_that_has_its_own() -> None:
    with refused(ValueError, "y was given", "'digits'", "leave y out", "pass X and y"):
        fastnet.train("digits", LABELS)


@pytest.mark.parametrize("data", [X, None])
def test_data_without_targets(data: Any) -> None:
    with refused(TypeError, "y is missing", "train(X, y)", "train('digits')"):
        fastnet.train(data)


def test_two_learning_rates() -> None:
    with refused(ValueError, "learning_rate is 0.2", "learning_rate=0.1", "give one of them"):
        fastnet.train(optimizer=SGD(0.1), learning_rate=0.2, backend="numpy")


def test_too_few_rows_for_a_test() -> None:
    with refused(ValueError, "2 row(s) cannot be split", "0.2", "more rows"):
        fastnet.train(X[:2], [0, 1], backend="numpy")


@pytest.mark.parametrize(
    ("labels", "kind", "words"),
    [
        (LABELS[:-1], ValueError, ["X has 12 row(s)", "y has 11"]),
        (np.zeros(12, int), ValueError, ["y has only one class", "0", "12 row(s)"]),
        (["a", None] * 6, TypeError, ["y holds None", "row 1"]),
        (LABELS[:, None], ValueError, ["y has shape (12, 1)", "y.ravel()", "task='regression'"]),
    ],
)
def test_targets_given_to_train(labels: Any, kind: type[Exception], words: list[str]) -> None:
    with refused(kind, *words):
        fastnet.train(X, labels, backend="numpy")


QUANTITIES = np.linspace(0.1, 0.9, 12)


def with_column(row: int) -> np.ndarray:
    return with_values(X, **{f"r{row}c1": 1e300})


def with_quantity(row: int, value: float = 1e300) -> np.ndarray:
    return with_values(QUANTITIES, **{f"r{row}": value})


@pytest.mark.parametrize(
    ("argument", "arguments"),
    [
        ("X", lambda row: {"data": with_column(row)}),
        ("y", lambda row: {"y": with_quantity(row)}),
        ("y", lambda row: {"y": with_quantity(row, 1.5), "loss": "log_loss"}),
        ("sample_weight", lambda row: {"sample_weight": with_quantity(row)}),
    ],
    ids=["X beyond float32", "y beyond float32", "y outside 0 to 1", "weights beyond float32"],
)
def test_train_checks_all_rows_first(
    argument: str, arguments: Callable[[int], dict[str, Any]]
) -> None:
    """Also those that it keeps back for the test, and rows are counted as the user does."""
    always = {"data": X, "y": QUANTITIES, "callbacks": [must_not_run], "backend": "numpy"}
    for row in range(12):
        with refused(ValueError, f"{argument} has", f"row {row}"):
            fastnet.train(**always | arguments(row))


# -- backends -------------------------------------------------------------------------------------


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no package of a backend is found."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("name", ["numba", "cupy"])
def test_a_backend_that_cannot_run(name: str) -> None:
    status = fastnet.backends()[name]
    assert not status.available
    assert status.cause
    assert status.cure
    assert issubclass(fastnet.BackendUnavailableError, ImportError)
    words = [f"'{name}' cannot run here", status.cause, status.cure]
    with refused(fastnet.BackendUnavailableError, *words):
        network(backend=name)
    with refused(fastnet.BackendUnavailableError, *words):
        network().to(name)
    with refused(fastnet.BackendUnavailableError, *words):
        fastnet.train(backend=name)


@pytest.mark.parametrize("backend", [5, ["numpy"], True])
def test_a_backend_that_is_no_name(backend: Any) -> None:
    with refused(TypeError, f"backend is {backend!r}", "expected a name", "'numpy'"):
        network(backend=backend)


def test_an_unknown_backend_in_the_environment_is_traced_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FASTNET_BACKEND", "nunpy")
    with refused(ValueError, "FASTNET_BACKEND", "'nunpy'", "did you mean 'numpy'?"):
        network(backend="auto")


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("name", ["numba", "cupy"])
def test_an_unavailable_backend_in_the_environment_is_traced_to_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("FASTNET_BACKEND", name)
    with refused(fastnet.BackendUnavailableError, "FASTNET_BACKEND", f"'{name}'"):
        network(backend="auto")


@pytest.mark.parametrize("labels", [[3], [0, 1]])
def test_too_few_rows_to_keep_any_back(labels: list[int]) -> None:
    from fastnet.data.splits import stratified_split

    words = [f"{len(labels)} row(s)", "0.5", "empty", "more rows"]
    with refused(ValueError, *words):
        stratified_split(np.array(labels), 0.5, 0)
