"""Networks of scikit-learn and arrays of PyTorch, both ways."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier, MLPRegressor

import fastnet
from fastnet import interop

RNG = np.random.default_rng(9)
X = RNG.normal(size=(90, 4)) * [1, 30, 0.2, 5] + [0, 100, 0, -3]
LABELS = np.array(["b", "a", "c"])[RNG.integers(0, 3, 90)]
TARGETS: dict[str, Any] = {
    "classes": LABELS,
    "two classes": LABELS == "a",
    "two names": np.where(LABELS == "a", "x", "y"),
    "multilabel": RNG.integers(0, 2, (90, 3)),
    "quantity": X[:, 0],
    "quantities": X[:, :2],
}


def sklearn_model(what: str, **options: Any) -> Any:
    kind = MLPRegressor if what.startswith("quantit") else MLPClassifier
    model = kind(hidden_layer_sizes=(6, 5), max_iter=20, random_state=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged, and need not
        return model.fit(X, TARGETS[what])


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("what", TARGETS)
def test_from_sklearn(what: str, activation: str) -> None:
    model = sklearn_model(what, activation=activation)
    net = fastnet.from_sklearn(model, backend="numpy")
    assert net.dtype == np.float64
    expected = model.predict(X)
    if what.startswith("quantit"):
        np.testing.assert_allclose(net.predict(X), expected, rtol=1e-10)
    else:
        assert (net.predict(X) == expected).all()
        np.testing.assert_allclose(net.predict_proba(X), model.predict_proba(X), atol=1e-12)
    again = fastnet.to_sklearn(net)
    assert type(again) is type(model)
    found = again.predict(X)
    assert found.dtype.kind == np.asarray(expected).dtype.kind
    np.testing.assert_array_equal(found, expected)
    net.fit(X, TARGETS[what], epochs=1)  # it can be trained further


@pytest.mark.parametrize("preparation", [None, "min_max", "standard"])
@pytest.mark.parametrize("one_output", [True, False])
@pytest.mark.parametrize("what", TARGETS)
def test_to_sklearn(what: str, one_output: bool, preparation: Any) -> None:
    scale = 0.01 if preparation is None else None
    run = fastnet.train(
        X,
        TARGETS[what],
        hidden=(7, 6),
        epochs=3,
        loss="log_loss" if what.startswith("two") and one_output else None,
        preparation=preparation,
        input_scale=scale,
        dtype="float64",
        backend="numpy",
    )
    model = fastnet.to_sklearn(run.network)
    found, expected = model.predict(X), run.network.predict(X)
    if what.startswith("quantit"):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    else:
        assert (found == expected).all()
        np.testing.assert_allclose(model.predict_proba(X), run.network.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("preparation", [None, "standard"])
@pytest.mark.parametrize("last", ["sigmoid", "linear"])
def test_to_sklearn_with_targets_of_one_column(last: str, preparation: Any) -> None:
    y = (LABELS == "a").astype(int)[:, None] if last == "sigmoid" else X[:, :1] / 10
    net = fastnet.Network(
        [fastnet.Dense(4, 6, "tanh"), fastnet.Dense(6, 1, last)],
        loss="log_loss" if last == "sigmoid" else "mse",
        preparation=preparation,
        dtype="float64",
        backend="numpy",
    )
    net.fit(X, y, epochs=20)
    model, expected = fastnet.to_sklearn(net), net.predict(X)
    assert expected.shape == (len(X), 1)
    np.testing.assert_allclose(model.predict(X), expected[:, 0], rtol=1e-9, atol=1e-9)
    assert model.predict(X).shape == (len(X),)
    if last == "sigmoid":
        assert len(np.unique(expected)) == 2
        np.testing.assert_allclose(model.predict_proba(X), net.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize(
    ("layers", "loss", "message"),
    [
        ([("relu", 5), ("tanh", 5), ("softmax", 3)], "categorical_crossentropy", "relu, tanh"),
        ([("elu", 5), ("softmax", 3)], "categorical_crossentropy", "have elu"),
        ([("relu", 5), ("sigmoid", 3)], "log_loss", "scikit-learn has softmax there"),
    ],
)
def test_what_sklearn_does_not_have(layers: Any, loss: str, message: str) -> None:
    sizes = [4, *(units for _, units in layers)]
    made = [fastnet.Dense(i, o, f) for i, o, (f, _) in zip(sizes, sizes[1:], layers, strict=False)]
    net = fastnet.Network(made, loss=loss, backend="numpy")
    with pytest.raises(ValueError, match=message):
        fastnet.to_sklearn(net)


def test_what_is_no_model() -> None:
    with pytest.raises(TypeError, match="model is of type int; expected an MLPClassifier"):
        fastnet.from_sklearn(3)
    with pytest.raises(ValueError, match="model is not trained; fit it first"):
        fastnet.from_sklearn(MLPClassifier())


# -- PyTorch --------------------------------------------------------------------------------------


def by_hand(state: dict[str, Any], rows: Any) -> Any:
    """What torch.nn.Sequential(Linear, Tanh, Linear) computes."""
    hidden = np.tanh(rows @ state["0.weight"].T + state["0.bias"])
    return hidden @ state["2.weight"].T + state["2.bias"]


@pytest.mark.parametrize("preparation", [None, "standard"])
def test_to_torch(preparation: Any) -> None:
    net = fastnet.Network(
        [fastnet.Dense(4, 6, "tanh"), fastnet.Dense(6, 2)],
        loss="mse",
        dtype="float64",
        input_scale=0.1 if preparation is None else 1.0,
        preparation=preparation,
        backend="numpy",
    )
    net.fit(X, X[:, :2], epochs=2)
    state = fastnet.to_torch(net)
    assert {name: array.shape for name, array in state.items()} == {
        "0.weight": (6, 4),
        "0.bias": (6,),
        "2.weight": (2, 6),
        "2.bias": (2,),
    }
    assert all(array.flags.c_contiguous for array in state.values())
    np.testing.assert_allclose(by_hand(state, X), net.forward(X), rtol=1e-9, atol=1e-9)


def changing(change: str) -> tuple[fastnet.Network, Any]:
    """Return a trained network that changes features in some way, and rows for it."""
    rows = np.column_stack([X, np.full(len(X), 7.0)])  # of which a preparation makes 0
    net = fastnet.Network(
        [fastnet.Dense(5, 6, "tanh"), fastnet.Dense(6, 2)],
        loss="mse",
        input_scale=0.1 if change == "input_scale" else 1.0,
        preparation=None if change in ("nothing", "input_scale") else change,
        backend="numpy",
    )
    net.fit(rows, X[:, :2] / 100, epochs=2)
    return net, rows


CHANGES = ["nothing", "input_scale", "min_max", "standard"]


@pytest.mark.parametrize("change", CHANGES)
def test_to_torch_and_back(change: str) -> None:
    net, rows = changing(change)
    before, expected = net.parameters, net.forward(rows)
    fastnet.from_torch(net, fastnet.to_torch(net))
    np.testing.assert_allclose(net.parameters, before, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(net.forward(rows), expected, atol=1e-4)
    net.parameters = before
    state = fastnet.to_torch(net, prepared=True)
    np.testing.assert_array_equal(state["0.weight"], net.state_dict()["layer_1.weights"].T)
    net.parameters = np.zeros_like(before)
    fastnet.from_torch(net, state, prepared=True)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("change", CHANGES)
def test_from_torch_computes_what_the_module_does(change: str) -> None:
    net, rows = changing(change)
    state = {
        "0.weight": RNG.normal(size=(6, 5)) / 100,
        "0.bias": RNG.normal(size=6),
        "2.weight": RNG.normal(size=(2, 6)),
        "2.bias": RNG.normal(size=2),
    }
    if net.preparation is not None:
        before = net.parameters
        with pytest.raises(ValueError, match=r"weights for feature 4 .* prepared=True"):
            fastnet.from_torch(net, state)
        np.testing.assert_array_equal(net.parameters, before)
        state["0.weight"][:, 4] = 0
    fastnet.from_torch(net, state)
    np.testing.assert_allclose(net.forward(rows), by_hand(state, rows), rtol=1e-4, atol=1e-4)


def test_a_preparation_that_has_learned_nothing() -> None:
    net = fastnet.Network(
        [fastnet.Dense(4, 2)], loss="mse", preparation="standard", backend="numpy"
    )
    state = fastnet.to_torch(net, prepared=True)
    fastnet.from_torch(net, state, prepared=True)
    with pytest.raises(ValueError, match="has learned nothing yet"):
        fastnet.to_torch(net)
    with pytest.raises(ValueError, match="has learned nothing yet"):
        fastnet.from_torch(net, state)
    with pytest.raises(TypeError, match="prepared is 1 "):
        fastnet.to_torch(net, prepared=1)  # type: ignore[arg-type]


def test_from_torch() -> None:
    net = fastnet.Network(
        [fastnet.Dense(4, 6, "tanh"), fastnet.Dense(6, 2)], loss="mse", backend="numpy"
    )
    state = {
        "body.first.weight": RNG.normal(size=(6, 4)).astype("float32"),
        "body.first.bias": RNG.normal(size=6).astype("float32"),
        "head.weight": RNG.normal(size=(2, 6)).astype("float32"),
        "head.bias": RNG.normal(size=2).astype("float32"),
    }
    fastnet.from_torch(net, state)
    named = dict(zip(["0.weight", "0.bias", "2.weight", "2.bias"], state.values(), strict=True))
    np.testing.assert_allclose(net.forward(X), by_hand(named, X), rtol=1e-4, atol=1e-4)
    back = fastnet.to_torch(net)
    for name, array in named.items():
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"2.bias": None}, "expected weight and bias of 2 layer"),
        ({"3.weight": np.zeros((1, 1))}, "expected weight and bias of 2 layer"),
        ({"2.weight": np.zeros((6, 2))}, r"has '2.weight' of shape \(6, 2\)"),
        ({"0.bias": np.zeros(4)}, r"a bias of shape \(4,\); expected \(6, 4\) and \(6,\)"),
        ({"0.bias": np.full(6, np.nan)}, "NaN"),
    ],
)
def test_other_arrays_are_refused(change: Any, message: str) -> None:
    net = fastnet.Network(
        [fastnet.Dense(4, 6, "tanh"), fastnet.Dense(6, 2)], loss="mse", backend="numpy"
    )
    before = net.parameters
    state = fastnet.to_torch(net) | change
    state = {name: array for name, array in state.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        fastnet.from_torch(net, state)
    np.testing.assert_array_equal(net.parameters, before)


def test_the_first_layer_takes_features_as_they_came() -> None:
    net = fastnet.Network([fastnet.Dense(4, 3)], loss="mse", input_scale=2.0, backend="numpy")
    (W, b), *rest = interop.raw_layers(net)
    assert rest == []
    np.testing.assert_allclose(X @ W + b, net.forward(X), rtol=1e-5, atol=1e-4)
