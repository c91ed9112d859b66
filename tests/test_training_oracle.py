"""Whole networks against the naive oracle: losses, gradients, traces, and the steps of training.

All in float64, where only the order of sums differs, so that the bounds can be tight.
"""

from __future__ import annotations

import math
from typing import Any

import naive
import numpy as np
import pytest
from backends import TRAINABLE
from tolerances import STEPS, assert_close

from fastnet import SGD, Adam, Dense, Network
from fastnet.execution import executor
from fastnet.randomness import SeedProvider

Array = np.ndarray[Any, np.dtype[Any]]

SEED = 5
OPTIMIZERS: dict[str, SGD | Adam] = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.02, momentum=0.9),
    "nesterov": SGD(0.03, momentum=0.8, nesterov=True),
    "adam": Adam(0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-7),
}
SETTINGS = {
    "sgd": {"learning_rate": 0.1},
    "momentum": {"learning_rate": 0.02, "momentum": 0.9},
    "nesterov": {"learning_rate": 0.03, "momentum": 0.8},
    "adam": {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-7},
}
# Batch size, rows, epochs: twenty steps each; of 22 rows the last batch of 7 has a single row.
TWENTY_STEPS = [(1, 20, 1), (7, 22, 5), (None, 14, 20)]
NETWORKS = {
    "classes": ([(64, 32, "relu"), (32, 10, "softmax")], "categorical_crossentropy"),
    "yes or no": ([(9, 7, "tanh"), (7, 5, "sigmoid"), (5, 3, "sigmoid")], "log_loss"),
    "values": ([(9, 7, "elu(0.8)"), (7, 2, "linear")], "mse"),
}
HIDDEN = ["linear", "sigmoid", "tanh", "relu", "leaky_relu(0.1)", "elu(0.7)"]
LEGAL = [
    *((loss, output) for loss in ("mse", "mae") for output in [*HIDDEN, "softmax"]),
    *(
        (loss, output)
        for loss in ("log_loss", "categorical_crossentropy")
        for output in ("sigmoid", "softmax")
    ),
]
SIZES = {1: [5, 3], 2: [3, 7, 2], 3: [5, 4, 7, 3]}
# Hidden activation and depth; without a hidden layer there is one case alone.
DEPTHS = [("linear", 1), *((hidden, depth) for depth in (2, 3) for hidden in HIDDEN)]
# What the oracle has said: parameters by all that it was asked with.
EXPECTED: dict[tuple[Any, ...], Array] = {}


@pytest.fixture(params=TRAINABLE)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def network_of(
    layers: list[tuple[int, int, str]], loss: str, backend: str, **settings: Any
) -> Network:
    """Return a network in float64 whose biases are not 0."""
    return Network(
        [Dense(i, o, f, biases="uniform(-0.3, 0.3)") for i, o, f in layers],
        loss=loss,
        backend=backend,
        dtype="float64",
        seed=SEED,
        **settings,
    )


def naive_layers(network: Network) -> list[naive.Layer]:
    return [
        naive.Layer(layer.inputs, layer.outputs, layer.activation.name, layer.activation.alpha)
        for layer in network.layers
    ]


def data_for(name: str, rows: int) -> tuple[Array, Array, Array]:
    """Return X, y as a user gives it, and the targets for the oracle."""
    rng = np.random.default_rng([len(name), rows])
    layers = NETWORKS[name][0]
    inputs, outputs = layers[0][0], layers[-1][1]
    X = rng.normal(size=(rows, inputs))
    X[rng.uniform(size=X.shape) < 0.2] = 0
    if name == "classes":
        y = rng.integers(0, outputs, rows)
        y[:2] = 0, 1  # one class alone would be refused
        return X, y, naive.one_hot(y, outputs)
    if name == "yes or no":
        t = rng.integers(0, 2, (rows, outputs)).astype(float)
        return X, t.astype(int), t
    t = rng.normal(size=(rows, outputs))
    return X, t, t


def weights_for(rows: int) -> Array:
    """Return row weights, some of them 0: with batches of one row whole steps weigh nothing."""
    return np.resize([1.0, 0.0, 2.5, 0.3], rows)


def batches_of(
    rows: int, batch_size: int | None, epochs: int, *, shuffle: bool, first_epoch: int = 0
) -> list[Array]:
    """Return the row numbers of every step; the full batch is never shuffled."""
    size = rows if batch_size is None else batch_size
    result = []
    for epoch in range(first_epoch, first_epoch + epochs):
        order = np.arange(rows)
        if shuffle and size < rows:
            order = SeedProvider(SEED).order(epoch, rows)
        result += [order[begin : begin + size] for begin in range(0, rows, size)]
    return result


def assert_same_training(
    backend: str,
    name: str,
    kind: str,
    batch_size: int | None,
    rows: int,
    epochs: int,
    *,
    shuffle: bool,
    weights: Array | None,
    data: tuple[Array, Array, Array] | None = None,
) -> None:
    network = network_of(*NETWORKS[name], backend)
    before = network.parameters
    X, y, t = data or data_for(name, rows)
    network.fit(
        X,
        y,
        optimizer=OPTIMIZERS[kind],
        batch_size=batch_size,
        epochs=epochs,
        shuffle=shuffle,
        sample_weight=weights,
        progress=False,
    )
    batches = batches_of(rows, batch_size, epochs, shuffle=shuffle)
    layers, loss = naive_layers(network), network.loss.name
    # The oracle is slow, and every backend asks for the same.
    arrays = [array.tobytes() for array in (before, X, t, *batches)]
    asked = name, kind, None if weights is None else weights.tobytes(), *arrays
    if asked not in EXPECTED:
        EXPECTED[asked] = naive.train(
            layers, loss, before, X, t, batches, kind, SETTINGS[kind], weights
        )
    expected = EXPECTED[asked]
    assert 1e-3 < np.abs(expected - before).max() < 10, "the steps are not of a useful size"
    assert_close(network.parameters, expected, "float64", STEPS)


# -- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_settings_of_both_sides_agree(kind: str) -> None:
    optimizer = OPTIMIZERS[kind]
    for setting, value in SETTINGS[kind].items():
        assert getattr(optimizer, setting) == value
    assert getattr(optimizer, "nesterov", False) == (kind == "nesterov")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("batch_size", "rows"), [(1, 1), (7, 7), (None, 14)])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_one_step(
    backend: str, kind: str, batch_size: int | None, rows: int, weighted: bool
) -> None:
    X, y, t = data_for("classes", max(rows, 2))
    assert_same_training(
        backend,
        "classes",
        kind,
        batch_size,
        rows,
        1,
        shuffle=True,
        weights=weights_for(rows) if weighted else None,
        data=(X[:rows], t[:rows], t[:rows]) if rows == 1 else (X, y, t),
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("batch_size", "rows", "epochs"), TWENTY_STEPS)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_twenty_steps(
    backend: str, kind: str, batch_size: int | None, rows: int, epochs: int, weighted: bool
) -> None:
    assert len(batches_of(rows, batch_size, epochs, shuffle=True)) == 20
    weights = weights_for(rows) if weighted else None
    assert_same_training(
        backend, "classes", kind, batch_size, rows, epochs, shuffle=True, weights=weights
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("batch_size", "rows", "epochs"), TWENTY_STEPS)
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", ["yes or no", "values"])
def test_twenty_steps_of_other_networks(
    backend: str,
    name: str,
    kind: str,
    batch_size: int | None,
    rows: int,
    epochs: int,
    shuffle: bool,
    weighted: bool,
) -> None:
    weights = weights_for(rows) if weighted else None
    assert_same_training(
        backend, name, kind, batch_size, rows, epochs, shuffle=shuffle, weights=weights
    )


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_second_fit_goes_on_where_the_first_has_ended(backend: str, kind: str) -> None:
    """Optimizer state, step count and order of rows: two and three epochs make five."""
    X, y, t = data_for("values", 14)
    network = network_of(*NETWORKS["values"], backend)
    before = network.parameters
    network.fit(X, y, optimizer=OPTIMIZERS[kind], batch_size=4, epochs=2, progress=False)
    network.fit(X, y, batch_size=4, epochs=3, progress=False)
    assert network.epoch == 5
    batches = batches_of(14, 4, 5, shuffle=True)
    layers = naive_layers(network)
    expected = naive.train(layers, "mse", before, X, t, batches, kind, SETTINGS[kind])
    assert_close(network.parameters, expected, "float64", STEPS)


def test_other_settings_start_with_a_state_of_their_own(backend: str) -> None:
    X, y, t = data_for("values", 14)
    network = network_of(*NETWORKS["values"], backend)
    network.fit(X, y, optimizer=OPTIMIZERS["momentum"], batch_size=4, epochs=2, progress=False)
    before = network.parameters
    network.fit(X, y, optimizer=OPTIMIZERS["adam"], batch_size=4, epochs=1, progress=False)
    batches = batches_of(14, 4, 1, shuffle=True, first_epoch=2)
    layers = naive_layers(network)
    expected = naive.train(layers, "mse", before, X, t, batches, "adam", SETTINGS["adam"])
    assert_close(network.parameters, expected, "float64", STEPS)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_training_loss_is_that_of_the_first_parameters(
    backend: str, name: str, weighted: bool
) -> None:
    X, y, t = data_for(name, 14)
    weights = weights_for(14) if weighted else None
    network = network_of(*NETWORKS[name], backend)
    loss, _ = naive.loss_and_gradient(
        naive_layers(network), network.loss.name, network.parameters, X, t, weights
    )
    history = network.fit(
        X, y, optimizer="sgd", batch_size=None, epochs=1, sample_weight=weights, progress=False
    )
    assert history["train_loss"][0] == pytest.approx(loss, rel=1e-13)


def test_the_input_scale_multiplies_the_features(backend: str) -> None:
    """uint8 features stay as they are until a batch is gathered."""
    X = np.random.default_rng(0).integers(0, 17, (22, 9)).astype(np.uint8)
    t = data_for("values", 22)[1]
    network = network_of(*NETWORKS["values"], backend, input_scale=1 / 16)
    before, layers = network.parameters, naive_layers(network)
    batches = batches_of(22, 7, 5, shuffle=True)
    expected = naive.train(layers, "mse", before, X / 16, t, batches, "sgd", SETTINGS["sgd"])
    network.fit(X, t, optimizer=OPTIMIZERS["sgd"], batch_size=7, epochs=5, progress=False)
    assert_close(network.parameters, expected, "float64", STEPS)
    assert_close(
        network.forward(X), naive.forward(layers, expected, X / 16)[-1][1], "float64", 1e-12
    )


# -- loss, gradient, trace ------------------------------------------------------------------------


def network_for(
    loss: str, output: str, depth: int, hidden: str, backend: str
) -> tuple[Network, Array, Array, Array]:
    """Return a network, X, targets that the loss allows, and row weights."""
    sizes = SIZES[depth]
    names = [*[hidden] * (depth - 1), output]
    network = network_of([(sizes[l], sizes[l + 1], names[l]) for l in range(depth)], loss, backend)
    rng = np.random.default_rng([depth, len(loss), len(output)])
    X, t = rng.normal(size=(13, sizes[0])), rng.uniform(size=(13, sizes[-1]))
    return network, X, t, weights_for(13)


@pytest.mark.parametrize(("hidden", "depth"), DEPTHS)
@pytest.mark.parametrize(("loss", "output"), LEGAL)
def test_loss_gradient_and_trace(
    backend: str, loss: str, output: str, depth: int, hidden: str
) -> None:
    network, X, t, weights = network_for(loss, output, depth, hidden, backend)
    layers, theta = naive_layers(network), network.parameters
    for w in (None, weights):
        value, gradient = network.loss_and_gradient(X, t, sample_weight=w)
        expected, slope = naive.loss_and_gradient(layers, loss, theta, X, t, w)
        assert value == pytest.approx(expected, rel=1e-13)
        assert_close(gradient, slope, "float64", STEPS)
        traces = network.trace(X, t, sample_weight=w)
        wanted = naive.trace(layers, loss, theta, X, t, w)
        assert len(traces) == len(wanted) == depth
        for trace, step in zip(traces, wanted, strict=True):
            assert set(step) == set(trace._fields)
            for part, values in step.items():
                assert_close(trace[part], values, "float64", STEPS)
    assert network.parameters.tobytes() == theta.tobytes(), "looking has changed the network"


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    ("loss", "output"), [("mse", "tanh"), ("mae", "linear"), ("log_loss", "sigmoid")]
)
def test_networks_of_single_units(backend: str, loss: str, output: str, rows: int) -> None:
    network = network_of([(1, 1, "elu"), (1, 1, output)], loss, backend)
    X, t = np.array([[0.7], [-1.2]])[:rows], np.array([[0.3], [1.0]])[:rows]
    value, gradient = network.loss_and_gradient(X, t)
    layers = naive_layers(network)
    expected, slope = naive.loss_and_gradient(layers, loss, network.parameters, X, t)
    assert value == pytest.approx(expected, rel=1e-13)
    assert_close(gradient, slope, "float64", STEPS)


@pytest.mark.parametrize("output", [*HIDDEN, "softmax"])
def test_forward(backend: str, output: str) -> None:
    network, X, _, _ = network_for("mse", output, 3, "tanh", backend)
    expected = naive.forward(naive_layers(network), network.parameters, X)[-1][1]
    assert_close(network.forward(X), expected, "float64", 1e-13)


# -- blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch_size", [None, 11])
def test_batches_may_pass_in_blocks(
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    batch_size: int | None,
    weighted: bool,
) -> None:
    """Blocks of 4 rows: batches of 14, and of 11 and 3, in a new order."""
    monkeypatch.setattr(executor, "BLOCK_ROWS", 4)
    weights = weights_for(14) if weighted else None
    assert_same_training(backend, name, kind, batch_size, 14, 3, shuffle=True, weights=weights)


@pytest.mark.parametrize(("loss", "output"), LEGAL)
def test_losses_and_gradients_do_not_depend_on_blocks(
    backend: str, monkeypatch: pytest.MonkeyPatch, loss: str, output: str
) -> None:
    network, X, t, weights = network_for(loss, output, 3, "tanh", backend)
    whole_loss, whole_gradient = network.loss_and_gradient(X, t, sample_weight=weights)
    outputs = network.forward(X)
    scores = network.evaluate(X, t, sample_weight=weights)

    monkeypatch.setattr(executor, "BLOCK_ROWS", 4)
    network = network.to()  # with buffers of its own
    loss_in_blocks, gradient = network.loss_and_gradient(X, t, sample_weight=weights)
    assert loss_in_blocks == pytest.approx(whole_loss, rel=1e-13)
    assert_close(gradient, whole_gradient, "float64", STEPS)
    assert_close(network.forward(X), outputs, "float64", 1e-14)
    for figure, value in network.evaluate(X, t, sample_weight=weights).items():
        assert value == pytest.approx(scores[figure], rel=1e-12)
    assert network.executor._work.capacity == 4, "the rows did not pass in blocks"


def test_evaluate_in_blocks_counts_hits_of_every_block(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "BLOCK_ROWS", 4)
    X, y, t = data_for("classes", 14)
    weights = weights_for(14)
    network = network_of(*NETWORKS["classes"], backend)
    scores = network.evaluate(X, y, sample_weight=weights)
    z = naive.forward(naive_layers(network), network.parameters, X)[-1][0]
    hits = naive.row_hits(z, t, "argmax")
    assert 0 < hits.sum() < 14
    assert math.isclose(scores["accuracy"], hits @ weights / weights.sum(), rel_tol=1e-13)
