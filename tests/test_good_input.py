"""What users may pass, and what they get back for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, r2_score

import fastnet
from fastnet import SGD, Adam, BackendStatus, Dense, Network
from fastnet.execution import registry

ROWS = 60
LABELS = np.arange(ROWS) % 3
CENTERS = np.array([[2, 0, 0, -1], [0, 2, -1, 0], [-1, -1, 2, 2]])
NOISE = np.random.default_rng(5).normal(size=(ROWS, 4))
X = np.round(CENTERS[LABELS] + 0.3 * NOISE, 3).astype(np.float32)
TARGETS = np.stack([X[:, 0] - X[:, 1], X[:, 2] * X[:, 3], np.sin(X[:, 0])], axis=1)


def network(
    outputs: int = 3,
    activation: str = "softmax",
    loss: str = "categorical_crossentropy",
    *,
    inputs: int = 4,
    **options: Any,
) -> Network:
    layers = [Dense(inputs, 8, "tanh"), Dense(8, outputs, activation)]
    return Network(layers, loss=loss, **{"backend": "numpy"} | options)


def bits(net: Network) -> bytes:
    """Parameters, optimizer state, step and epoch: equal means that training goes on equally."""
    snapshot = net.executor.snapshot()
    counters = f"{snapshot.step} {net.epoch}".encode()
    return b"|".join([snapshot.theta.tobytes(), snapshot.state.tobytes(), counters])


def bits_after(features: Any, targets: Any, net: Network | None = None, **of_fit: Any) -> bytes:
    net = net or network()
    net.fit(features, targets, **{"epochs": 2} | of_fit)
    return bits(net)


# -- features -------------------------------------------------------------------------------------

SAME_VALUES: dict[str, Callable[[], Any]] = {
    "lists": lambda: X.tolist(),
    "tuples": lambda: tuple(map(tuple, X.tolist())),
    "a list of arrays": lambda: list(X),
    "Fortran order": lambda: np.asfortranarray(X),
    "every other column": lambda: np.repeat(X, 2, axis=1)[:, ::2],
    "every other row": lambda: np.repeat(X, 2, axis=0)[::2],
    "rows backwards twice": lambda: np.ascontiguousarray(X[::-1])[::-1],
    "float64": lambda: X.astype(np.float64),
    "big-endian float32": lambda: X.astype(">f4"),
    "big-endian float64": lambda: X.astype(">f8"),
    "a frame": lambda: pd.DataFrame(X, index=np.arange(ROWS)[::-1], columns=list("abcd")),
    "a frame of mixed floats": lambda: pd.DataFrame(X).astype({0: "float64"}),
    "a masked array without a mask": lambda: np.ma.array(X),
    "a mask that hides nothing": lambda: np.ma.array(X, mask=np.zeros_like(X, dtype=bool)),
}


@pytest.mark.parametrize("form", SAME_VALUES)
def test_the_same_values_train_to_the_same_bits(form: str) -> None:
    features = SAME_VALUES[form]()
    assert bits_after(features, LABELS) == bits_after(X, LABELS)


def test_read_only_arrays() -> None:
    frozen = [X.copy(), LABELS.copy(), np.ones(ROWS, np.float32)]
    for array in frozen:
        array.flags.writeable = False
    features, labels, weights = frozen
    net = network()
    net.fit(features, labels, sample_weight=weights, validation=(features, labels), epochs=2)
    net.predict(features)
    assert bits(net) == bits_after(X, LABELS)


@pytest.mark.parametrize("dtype", ["u1", "i1", "?", "i4", "i8", "u2", ">i4", "f2", "f4"])
@pytest.mark.parametrize("scale", [1.0, 1 / 16, 1 / 255])
def test_every_real_dtype_trains_like_float32(dtype: str, scale: float) -> None:
    pixels = (np.abs(X) * 50).astype("u1").astype(dtype)
    before = pixels.copy()
    as_given = bits_after(pixels, LABELS, network(input_scale=scale))
    converted = bits_after(pixels.astype(np.float32), LABELS, network(input_scale=scale))
    assert as_given == converted
    assert pixels.dtype == before.dtype
    assert (pixels == before).all()


def test_bytes_predict_like_float32() -> None:
    pixels = (np.abs(X) * 50).astype("u1")
    net = network(input_scale=1 / 255)
    assert net.forward(pixels).tobytes() == net.forward(pixels.astype(np.float32)).tobytes()


def test_input_scale_counts_in_prediction() -> None:
    scaled, plain = network(input_scale=0.25), network()
    assert scaled.forward(X).tobytes() == plain.forward(X * np.float32(0.25)).tobytes()


def test_one_row_is_enough_to_ask() -> None:
    net = network()
    assert net.predict(X[:1]).shape == (1,)
    assert net.forward(X[:1]).shape == (1, 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_have_the_dtype_of_the_network(dtype: str) -> None:
    net = network(1, "linear", "mse", dtype=dtype)
    assert net.forward(X).dtype == dtype
    assert net.predict(X).dtype == dtype
    assert net.parameters.dtype == dtype


def test_user_arrays_are_never_modified() -> None:
    given = {
        "X": X.astype(np.float32),
        "y": np.eye(3, dtype=np.float32)[LABELS],
        "weights": np.linspace(0, 2, ROWS, dtype=np.float32),
        "validation X": X[:20].copy(),
        "validation y": np.eye(3, dtype=np.float32)[LABELS[:20]],
    }
    before = copy.deepcopy(given)
    net = network(input_scale=0.5)
    net.fit(
        given["X"],
        given["y"],
        sample_weight=given["weights"],
        validation=(given["validation X"], given["validation y"]),
        batch_size=7,
        epochs=2,
    )
    net.evaluate(given["X"], given["y"], sample_weight=given["weights"])
    net.predict_proba(given["X"])
    net.loss_and_gradient(given["X"], given["y"])
    net.trace(given["X"], given["y"])
    for name, array in given.items():
        assert array.tobytes() == before[name].tobytes(), name


def test_parameters_are_copied_in_and_out() -> None:
    net = network()
    vector = np.linspace(-1, 1, net.parameter_count).astype(np.float32)
    net.parameters = vector
    vector[:] = 0
    net.parameters[:] = 0
    assert net.parameters[0] == -1


# -- labels ---------------------------------------------------------------------------------------

NAMES = np.array(["ant", "bee", "cicada"])

AS_GIVEN: dict[str, tuple[Any, list[Any]]] = {
    "text": (NAMES[LABELS], NAMES.tolist()),
    "a list of text": (NAMES[LABELS].tolist(), NAMES.tolist()),
    "text as objects": (NAMES[LABELS].astype(object), NAMES.tolist()),
    "a series of text": (pd.Series(NAMES[LABELS], index=np.arange(ROWS)[::-1]), NAMES.tolist()),
    "categories": (pd.Series(pd.Categorical(NAMES[LABELS])), NAMES.tolist()),
    "categories of numbers": (pd.Categorical(LABELS * 10), [0, 10, 20]),
    "a column of a frame": (pd.DataFrame({"kind": LABELS + 5})["kind"], [5, 6, 7]),
    "integers not from 0": (LABELS * 4 + 3, [3, 7, 11]),
    "negative integers": (LABELS - 1, [-1, 0, 1]),
    "small integers": (LABELS.astype(np.int8), [0, 1, 2]),
    "large integers": (LABELS.astype(np.uint64) + 2**63, [2**63, 2**63 + 1, 2**63 + 2]),
    "big-endian integers": ((LABELS * 1000).astype(">i4"), [0, 1000, 2000]),
    "bytes": (LABELS.astype("S1"), [b"0", b"1", b"2"]),
    "whole floats": (LABELS.astype(np.float64), [0.0, 1.0, 2.0]),
    "whole floats not from 0": (LABELS * 2.0 - 7, [-7.0, -5.0, -3.0]),
}


@pytest.mark.parametrize("form", AS_GIVEN)
def test_labels_come_back_as_they_were_given(form: str) -> None:
    labels, classes = AS_GIVEN[form]
    net = network()
    net.fit(X, labels, optimizer=Adam(0.05), epochs=15)
    predicted = net.predict(X)
    assert net.classes.tolist() == classes
    assert predicted.shape == (ROWS,)
    assert predicted.tolist() == np.array(classes)[LABELS].tolist()
    assert bits(net) == bits_after(X, LABELS, optimizer=Adam(0.05), epochs=15)


@pytest.mark.parametrize(
    ("outputs", "activation", "loss"),
    [(1, "sigmoid", "log_loss"), (2, "softmax", "categorical_crossentropy"), (1, "linear", "mse")],
)
@pytest.mark.parametrize(
    "classes", [[False, True], ["no", "yes"], [-1, 1], [0, 1], [2, 9]], ids=str
)
def test_two_classes(classes: list[Any], outputs: int, activation: str, loss: str) -> None:
    labels = np.array(classes)[(LABELS == 2).astype(int)]
    net = network(outputs, activation, loss)
    net.fit(X, labels, optimizer=Adam(0.05), epochs=20)
    predicted = net.predict(X)
    assert net.task_in_use == "classification"
    assert predicted.dtype == labels.dtype
    assert predicted.tolist() == labels.tolist()
    assert net.evaluate(X, labels)["accuracy"] == 1


def test_one_column_for_one_output() -> None:
    column = (LABELS == 1)[:, None]
    for targets in (column, column.astype(int), column.astype(float)):
        net = network(1, "sigmoid", "log_loss")
        as_vector = network(1, "sigmoid", "log_loss")
        assert bits_after(X, targets, net) == bits_after(X, column[:, 0], as_vector)
        assert net.classes.tolist() == [0, 1]
        assert net.predict(X).shape == (ROWS, 1)


def test_one_hot_rows_train_like_labels() -> None:
    net = network()
    assert bits_after(X, np.eye(3)[LABELS], net) == bits_after(X, LABELS)
    assert net.classes.tolist() == [0, 1, 2]
    assert set(net.predict(X)) <= {0, 1, 2}
    with_labels = net.evaluate(X, LABELS)
    assert net.evaluate(X, np.eye(3)[LABELS]) == with_labels


def test_multilabel_targets() -> None:
    targets = (X[:, :3] > 0.5).astype(int)
    assert set(targets.sum(axis=1)) > {1}
    net = network(3, "sigmoid", "log_loss")
    net.fit(X, targets, optimizer=Adam(0.05), epochs=10)
    predicted = net.predict(X)
    assert net.classes is None
    assert predicted.shape == (ROWS, 3)
    assert predicted.dtype == np.int64
    assert np.mean(predicted == targets) > 0.8
    assert net.evaluate(X, targets)["accuracy"] == np.mean((predicted == targets).all(axis=1))


def test_regression_keeps_the_shape_of_the_targets() -> None:
    vector, column, several = (
        network(1, "linear", "mse"),
        *(network(outputs, "linear", "mse") for outputs in (1, 3)),
    )
    assert bits_after(X, TARGETS[:, 0], vector) == bits_after(X, TARGETS[:, :1], column)
    several.fit(X, TARGETS, epochs=1)
    assert vector.predict(X).shape == (ROWS,)
    assert column.predict(X).shape == (ROWS, 1)
    assert several.predict(X).shape == (ROWS, 3)
    assert several.task_in_use == "regression"


def test_frames_of_targets() -> None:
    frame = pd.DataFrame(TARGETS, columns=list("pqr"))
    one, other = (network(3, "linear", "mse") for _ in range(2))
    assert bits_after(X, frame, one) == bits_after(X, TARGETS, other)


@pytest.mark.parametrize("dtype", ["u1", "i8", "?"])
def test_integers_are_quantities_if_the_task_says_so(dtype: str) -> None:
    net = network(1, "linear", "mse", task="regression")
    counts = LABELS.astype(dtype)
    same = network(1, "linear", "mse", task="regression")
    assert bits_after(X, counts, net) == bits_after(X, counts.astype(float), same)
    assert "r2" in net.evaluate(X, counts)


def test_a_class_that_no_row_has() -> None:
    labels = np.where(LABELS == 1, 2, LABELS)
    net = network()
    net.fit(X, labels, optimizer=Adam(0.05), epochs=15)
    assert net.classes.tolist() == [0, 1, 2]
    assert net.predict_proba(X).shape == (ROWS, 3)
    assert net.predict(X).tolist() == labels.tolist()
    net.fit(X, LABELS, epochs=1)  # and it may come later


def test_classes_before_training() -> None:
    assert network().classes.tolist() == [0, 1, 2]
    assert network(1, "sigmoid", "log_loss").classes.tolist() == [0, 1]
    assert network(1, "linear", "mse").classes is None


# -- probabilities --------------------------------------------------------------------------------


def test_probabilities_sum_to_one() -> None:
    net = network(dtype="float64")
    net.fit(X, LABELS, epochs=2)
    p = net.predict_proba(X)
    assert p.shape == (ROWS, 3)
    assert (p >= 0).all()
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-12
    assert (net.classes[p.argmax(axis=1)] == net.predict(X)).all()


def test_a_single_output_gives_two_probabilities() -> None:
    net = network(1, "sigmoid", "log_loss")
    net.fit(X, np.array(["no", "yes"])[LABELS % 2], epochs=2)
    p = net.predict_proba(X)
    assert p.shape == (ROWS, 2)
    assert p[:, 1].tobytes() == net.forward(X)[:, 0].tobytes()
    assert (p[:, 0] == 1 - p[:, 1]).all()
    assert (net.classes[(p[:, 1] > 0.5).astype(int)] == net.predict(X)).all()


# -- scores ---------------------------------------------------------------------------------------

CLASSIFIERS = [
    (3, "softmax", "categorical_crossentropy", LABELS),
    (3, "softmax", "mse", LABELS),
    (3, "softmax", "log_loss", NAMES[LABELS]),
    (3, "sigmoid", "log_loss", LABELS),
    (3, "linear", "mae", LABELS),
    (3, "tanh", "mse", LABELS + 4),
    (1, "sigmoid", "log_loss", LABELS == 0),
    (1, "sigmoid", "categorical_crossentropy", LABELS % 2),
    (1, "linear", "mse", NAMES[LABELS % 2]),
    (1, "tanh", "mse", LABELS % 2),
    (1, "relu", "mae", LABELS % 2),
]


@pytest.mark.parametrize(("outputs", "activation", "loss", "labels"), CLASSIFIERS)
def test_accuracy_is_the_share_of_right_predictions(
    outputs: int, activation: str, loss: str, labels: np.ndarray
) -> None:
    net = network(outputs, activation, loss)
    net.fit(X, labels, epochs=2)
    predicted = net.predict(X)
    weights = np.arange(ROWS) % 5
    assert net.evaluate(X, labels)["accuracy"] == np.mean(predicted == labels)
    assert net.evaluate(X, labels, sample_weight=weights)["accuracy"] == pytest.approx(
        accuracy_score(labels, predicted, sample_weight=weights), rel=1e-12
    )


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "tanh", "relu", "elu"])
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_predictions_and_accuracy_agree_on_the_threshold(activation: str, step: int) -> None:
    """A logit on the threshold or next to it must not be one class here and the other there."""
    net = Network([Dense(1, 1, activation)], loss="mse", backend="numpy", task="classification")
    threshold = np.float32(net.layers[-1].activation.score_threshold)
    logit = np.nextafter(threshold, np.float32(step) * np.inf) if step else threshold
    net.parameters = [0, logit]
    zeros, labels = np.zeros((4, 1)), np.array([0, 1, 0, 0])
    assert net.evaluate(zeros, labels)["accuracy"] == np.mean(net.predict(zeros) == labels)


def test_accuracy_over_several_blocks_of_rows() -> None:
    features, labels = np.tile(X, (40, 1)), np.tile(LABELS, 40)
    assert len(features) > 2048
    net = network()
    net.fit(X, LABELS, epochs=1)
    assert net.evaluate(features, labels)["accuracy"] == np.mean(net.predict(features) == labels)


@pytest.mark.parametrize("weighted", [False, True])
def test_r2_is_that_of_scikit_learn(weighted: bool) -> None:
    weights = np.linspace(0, 3, ROWS) if weighted else None
    net = network(3, "linear", "mse")
    net.fit(X, TARGETS, optimizer=Adam(0.02), epochs=20)
    expected = r2_score(TARGETS, net.predict(X), sample_weight=weights)
    assert 0.2 < expected < 1
    found = net.evaluate(X, TARGETS, sample_weight=weights)["r2"]
    assert found == pytest.approx(expected, abs=1e-5)


def test_r2_of_a_vector_and_of_constant_targets() -> None:
    net = network(1, "linear", "mse")
    net.fit(X, TARGETS[:, 0], epochs=5)
    expected = r2_score(TARGETS[:, 0], net.predict(X))
    assert net.evaluate(X, TARGETS[:, 0])["r2"] == pytest.approx(expected, abs=1e-5)
    assert net.evaluate(X, np.full(ROWS, 7.0))["r2"] == 0
    net.parameters = np.zeros(net.parameter_count)
    assert net.evaluate(X, np.zeros(ROWS))["r2"] == 1


def test_a_weight_of_two_is_a_row_twice() -> None:
    weights = 1 + LABELS % 2
    net = network(dtype="float64")
    net.fit(X, LABELS, epochs=1)
    twice = np.repeat(np.arange(ROWS), weights)
    weighted = net.evaluate(X, LABELS, sample_weight=weights)
    repeated = net.evaluate(X[twice], LABELS[twice])
    assert weighted == pytest.approx(repeated, rel=1e-12)


@pytest.mark.parametrize("form", [list, pd.Series, lambda w: np.array(w, "u1"), np.array])
def test_forms_of_weights(form: Callable[[list[int]], Any]) -> None:
    weights = (LABELS + 1).tolist()
    plain = bits_after(X, LABELS, sample_weight=np.array(weights, np.float32))
    assert bits_after(X, LABELS, sample_weight=form(weights)) == plain
    assert bits_after(X, LABELS) != plain


# -- training goes on -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer", ["sgd", SGD(0.05, momentum=0.9), SGD(0.05, momentum=0.9, nesterov=True), "adam"]
)
@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_two_and_three_epochs_are_five(optimizer: Any, batch_size: int | None) -> None:
    at_once, in_parts = network(), network()
    options = {"optimizer": optimizer, "batch_size": batch_size}
    whole = at_once.fit(X, LABELS, epochs=5, **options)
    first = in_parts.fit(X, LABELS, epochs=2, **options)
    then = in_parts.fit(X, LABELS, epochs=3, **options)
    assert bits(in_parts) == bits(at_once)
    assert {key: first[key] + then[key] for key in first} == whole.to_dict()
    assert then["epoch"] == [3, 4, 5]


@pytest.mark.parametrize("again", [None, "adam", "Adam()", "adam(0.001)", Adam(), Adam(1e-3)])
def test_the_same_settings_in_other_words_go_on(again: Any) -> None:
    net, at_once = network(), network()
    net.fit(X, LABELS, optimizer="adam", epochs=1)
    net.fit(X, LABELS, optimizer=again, epochs=1)
    at_once.fit(X, LABELS, optimizer="adam", epochs=2)
    assert bits(net) == bits(at_once)


@pytest.mark.parametrize("other", [Adam(0.002), Adam(epsilon=1e-7), SGD(0.01, momentum=0.9)])
def test_other_settings_start_anew(other: fastnet.optimizers.Optimizer) -> None:
    options = {"shuffle": False, "epochs": 2}
    net, fresh, going_on = network(), network(), network()
    for trained in (net, going_on):
        trained.fit(X, LABELS, optimizer="adam", **options)
    fresh.parameters = net.parameters
    net.fit(X, LABELS, optimizer=other, **options)
    fresh.fit(X, LABELS, optimizer=other, **options)
    going_on.fit(X, LABELS, **options)
    assert net.parameters.tobytes() == fresh.parameters.tobytes()
    assert net.parameters.tobytes() != going_on.parameters.tobytes()
    assert net.epoch == 4


COPIES: dict[str, Callable[[Network], Network]] = {
    "deepcopy": copy.deepcopy,
    "to": lambda net: net.to(),
    "to the same": lambda net: net.to("numpy", dtype="float32"),
    "to float64 and back": lambda net: net.to(dtype="float64").to(dtype="float32"),
}


@pytest.mark.parametrize("way", COPIES)
def test_copies_are_independent_and_train_on_equally(way: str) -> None:
    net = network()
    net.fit(X, NAMES[LABELS], epochs=2)
    before = bits(net)
    other = COPIES[way](net)
    assert bits(other) == before
    assert other.classes.tolist() == NAMES.tolist()
    other.fit(X, NAMES[LABELS], epochs=2)
    assert bits(net) == before
    assert bits(other) != before
    net.fit(X, NAMES[LABELS], epochs=2)
    assert bits(net) == bits(other)


def test_a_copy_in_float64_goes_on_in_float64() -> None:
    net = network()
    net.fit(X, LABELS, epochs=2)
    one, other = net.to(dtype="float64"), net.to(dtype="float64")
    assert one.dtype == np.float64
    assert (one.parameters == net.parameters).all()
    assert one.epoch == net.epoch == 2
    for wide in (one, other):
        wide.fit(X, LABELS, epochs=2)
    assert bits(one) == bits(other)
    net.fit(X, LABELS, epochs=2)
    assert np.abs(one.parameters - net.parameters).max() < 1e-4


def test_asking_in_between_changes_nothing() -> None:
    net = network()
    net.fit(X, LABELS, epochs=2)
    net.evaluate(X[:7], LABELS[:7])
    net.predict(X[:3])
    net.trace(X[:5], LABELS[:5])
    net.loss_and_gradient(X, LABELS)
    net.fit(X, LABELS, epochs=3)
    assert bits(net) == bits_after(X, LABELS, epochs=5)


# -- seeds ----------------------------------------------------------------------------------------


def test_the_seed_decides_everything() -> None:
    def run(seed: int) -> tuple[bytes, dict[str, list[float]]]:
        net = network(seed=seed)
        history = net.fit(X, LABELS, epochs=3, validation=0.2)
        return bits(net), history.to_dict()

    assert run(7) == run(7)
    assert run(7)[1]["train_loss"] != run(8)[1]["train_loss"]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**64 - 1))
def test_any_seed_gives_finite_parameters_and_a_permutation(seed: int) -> None:
    net = network(seed=seed)
    assert net.is_finite()
    assert net.seed == seed
    assert sorted(net.provider.order(0, 50)) == list(range(50))


def test_train_twice_gives_the_same_history() -> None:
    def run(seed: int) -> fastnet.TrainResult:
        return fastnet.train(X, NAMES[LABELS], hidden=8, epochs=3, seed=seed, backend="numpy")

    one, same, other = run(1), run(1), run(2)
    assert one.history.to_dict() == same.history.to_dict()
    assert one.test == same.test
    assert bits(one.network) == bits(same.network)
    assert one.history.to_dict() != other.history.to_dict()


def test_without_shuffling_the_seed_decides_parameters_alone() -> None:
    one, other = network(seed=1), network(seed=2)
    other.parameters = one.parameters
    for net in (one, other):
        net.fit(X, LABELS, epochs=2, shuffle=False)
    assert bits(one) == bits(other)


# -- validation -----------------------------------------------------------------------------------


def test_validation_by_share() -> None:
    net = network()
    history = net.fit(X, LABELS, epochs=2, validation=0.25)
    assert history.rows == 45
    assert list(history) == [
        "epoch",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
    ]
    shares = np.array(history["validation_accuracy"]) * 15
    assert shares == pytest.approx(np.round(shares), abs=1e-9)


def test_validation_by_pair() -> None:
    net, alone = network(), network()
    history = net.fit(X, LABELS, epochs=2, validation=(X[:10].tolist(), LABELS[:10].tolist()))
    alone.fit(X, LABELS, epochs=2)
    scores = net.evaluate(X[:10], LABELS[:10])
    assert history.rows == ROWS
    assert history["validation_loss"][-1] == scores["loss"]
    assert history["validation_accuracy"][-1] == scores["accuracy"]
    assert bits(net) == bits(alone)


def test_validation_of_a_regression() -> None:
    net = network(3, "linear", "mse")
    history = net.fit(X, TARGETS, epochs=2, validation=(X[:10], TARGETS[:10]))
    assert list(history) == ["epoch", "train_loss", "validation_loss", "validation_r2"]
    assert history["validation_r2"][-1] == net.evaluate(X[:10], TARGETS[:10])["r2"]


def test_no_validation() -> None:
    history = network().fit(X, LABELS, epochs=2, validation=None)
    assert list(history) == ["epoch", "train_loss", "train_accuracy"]
    assert history.rows == ROWS


# -- backends and train ---------------------------------------------------------------------------


def test_the_environment_names_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNET_BACKEND", "numpy")
    net = network(backend="auto")
    assert net.backend == "numpy"
    assert "FASTNET_BACKEND" in net.backend_reason


def test_a_named_backend_outranks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTNET_BACKEND", "nonsense")
    assert network(backend="numpy").backend == "numpy"


def test_auto_takes_an_available_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTNET_BACKEND", raising=False)
    net = network(backend="auto")
    assert fastnet.backends()[net.backend].available
    assert "chosen automatically" in net.backend_reason
    numba_is_missing = BackendStatus("numba", False, "numba is not here", "install it")
    monkeypatch.setitem(registry._PROBES, "cupy", lambda: BackendStatus("cupy", False, "no GPU"))
    assert network(backend="auto").backend == "numba"
    monkeypatch.setitem(registry._PROBES, "numba", lambda: numba_is_missing)
    net = network(backend="auto")
    assert net.backend == "numpy"
    assert "no GPU; numba is not here" in net.backend_reason


def test_train_on_a_frame_with_text_labels() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    run = fastnet.train(
        frame, pd.Series(NAMES[LABELS]), hidden=8, epochs=15, learning_rate=0.05, backend="numpy"
    )
    assert run.network.classes.tolist() == NAMES.tolist()
    assert run.test_accuracy == 1
    assert run.test_r2 is None
    assert run.report.rows == run.history.rows < ROWS * 0.8 + 1


@pytest.mark.parametrize(
    ("targets", "loss", "output", "outputs", "used"),
    [
        (LABELS, None, "softmax", 3, "categorical_crossentropy"),
        (np.eye(3)[LABELS], None, "softmax", 3, "categorical_crossentropy"),
        (LABELS > 0, None, "softmax", 2, "categorical_crossentropy"),
        (LABELS > 0, "log_loss", "sigmoid", 1, "log_loss"),
        (LABELS, "mse", "sigmoid", 3, "mse"),
        ((X[:, :3] > 0.5).astype(int), None, "sigmoid", 3, "log_loss"),
        (TARGETS, None, "linear", 3, "mse"),
        (TARGETS[:, 0], "mae", "linear", 1, "mae"),
    ],
)
def test_train_makes_the_network_that_fits(
    targets: Any, loss: str | None, output: str, outputs: int, used: str
) -> None:
    run = fastnet.train(X, targets, hidden=(), loss=loss, epochs=1, backend="numpy")
    (last,) = run.network.layers
    assert (last.activation.name, last.outputs, run.network.loss.name) == (output, outputs, used)
    assert ("accuracy" in run.test) == (output != "linear")


def test_a_class_of_one_row_is_learned_from() -> None:
    labels = LABELS.copy()
    labels[17] = 9
    for seed in range(5):
        run = fastnet.train(X, labels, hidden=(), epochs=1, seed=seed, backend="numpy")
        assert run.network.classes.tolist() == [0, 1, 2, 9]


def test_several_callbacks_see_every_epoch() -> None:
    seen: list[tuple[str, int, int]] = []
    callbacks = [
        lambda end, who=who: seen.append((who, end.epoch, len(end.history["epoch"])))
        for who in "ab"
    ]
    network().fit(X, LABELS, epochs=2, callbacks=callbacks)
    assert seen == [("a", 1, 1), ("b", 1, 1), ("a", 2, 2), ("b", 2, 2)]
