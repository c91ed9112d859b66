"""Quantities that are prepared before a network learns them, and come out in their own unit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet
from fastnet.data import splits
from fastnet.data.preparation import Preparation
from fastnet.randomness import VALIDATION_SPLIT

RNG = np.random.default_rng(8)
X = RNG.normal(size=(301, 3))
# Of unlike sizes and far from 0: a price, a share, and what does not vary.
Y = np.column_stack([4e5 + 5e4 * X[:, 0] * X[:, 1], 1e-4 * X[:, 2], np.full(301, 7.25)])
KINDS = ["min_max", "standard"]


def by_hand(kind: str, of: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return shift and spread."""
    of = np.asarray(of, np.longdouble)
    if kind == "min_max":
        shift, spread = of.min(0), of.max(0) - of.min(0)
    else:
        shift, spread = of.mean(0), of.std(0)
    spread[of.min(0) == of.max(0)] = 1
    return shift.astype(np.float64), spread.astype(np.float64)


def network(target_preparation: Any = "standard", outputs: int = 3, **options: Any) -> Any:
    layers = [fastnet.Dense(3, 5, "tanh"), fastnet.Dense(5, outputs)]
    given = {"loss": "mse", "backend": "numpy", "target_preparation": target_preparation}
    return fastnet.Network(layers, **given | options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_it_learns_prepared_targets_and_predicts_raw_ones(
    kind: str, backend: str, loss: str
) -> None:
    net = network(kind, backend=backend, loss=loss)
    weights = RNG.random(301) + 0.5
    history = net.fit(X, Y, epochs=3, validation=(X[:50], Y[:50]), sample_weight=weights)
    shift, spread = by_hand(kind, Y)
    prepared = (Y - shift) / spread
    plain = network(None, backend=backend, loss=loss)
    held = (X[:50], prepared[:50])
    same = plain.fit(X, prepared, epochs=3, validation=held, sample_weight=weights)
    for name, values in same.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4, err_msg=name)
    outputs = plain.forward(X)
    np.testing.assert_allclose(net.forward(X), outputs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.predict(X), outputs * spread + shift, rtol=1e-4, atol=1e-9)
    for name, value in plain.evaluate(X, prepared).items():
        assert net.evaluate(X, Y)[name] == pytest.approx(value, rel=1e-3)
    assert net.loss_and_gradient(X, Y)[0] == pytest.approx(
        plain.loss_and_gradient(X, prepared)[0], rel=1e-4
    )
    found, expected = net.trace(X[:4], Y[:4])[1].dZ, plain.trace(X[:4], prepared[:4])[1].dZ
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_r2_is_that_of_the_raw_targets() -> None:
    net = network(outputs=2)
    net.fit(X, Y[:, :2], epochs=30, optimizer=fastnet.Adam(0.02))
    rows, targets = X[:60], Y[:60, :2]
    residual = ((targets - net.predict(rows)) ** 2).sum(0)
    r2 = 1 - residual / ((targets - targets.mean(0)) ** 2).sum(0)
    assert r2.mean() > 0.3  # something was learned
    assert net.evaluate(rows, targets)["r2"] == pytest.approx(r2.mean(), abs=1e-5)


def test_prices_are_learned_that_are_not_learned_as_they_are() -> None:
    price = 3e5 + 1e5 * (X[:, 0] + np.sin(2 * X[:, 1]))
    options: dict[str, Any] = {"epochs": 60, "hidden": 16, "backend": "numpy", "validation": None}
    options["learning_rate"] = 0.01
    raw = fastnet.train(X, price, **options)
    prepared = fastnet.train(X, price, target_preparation="standard", **options)
    assert raw.test_r2 is not None
    assert prepared.test_r2 is not None
    assert raw.test_r2 < 0
    assert prepared.test_r2 > 0.8
    found = prepared.network.predict(X)
    assert (found.dtype, found.shape) == (np.float64, (301,))
    assert np.corrcoef(found, price)[0, 1] > 0.9


def test_a_target_that_does_not_vary_comes_out_as_it_was() -> None:
    net = network("min_max", outputs=1)
    net.fit(X, np.full(301, 1e6), epochs=20, optimizer=fastnet.Adam(0.05))
    assert np.abs(net.predict(X) - 1e6).max() < 0.5
    # Another value is as far away as it is, not infinitely and not at all.
    assert net.evaluate(X, np.full(301, 1e6 + 3))["loss"] == pytest.approx(9, abs=3)


def test_seconds_since_1970_lose_nothing() -> None:
    seconds = 1.7e9 + RNG.random(64)  # float32 cannot tell them apart
    net = network("min_max", outputs=1)
    net.fit(X[:64], seconds, epochs=1)
    rows, _ = net.rows(X[:64], seconds, codec=net.known_codec, training=False)
    low, high = seconds.min(), seconds.max()
    np.testing.assert_allclose(rows.targets[:, 0], (seconds - low) / (high - low), atol=1e-6)
    assert rows.targets.dtype == np.float32
    net.parameters = np.r_[np.zeros(25), 0.5]
    np.testing.assert_allclose(net.predict(X[:2]), (low + high) / 2, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_weight_teach_nothing(kind: str) -> None:
    """What stands in their place may stand for a missing target, or a missing feature."""
    weights = (np.arange(301) % 10 > 0).astype(float)
    kept = weights > 0
    rows, targets = X.copy(), Y[:, 0].copy()
    rows[~kept], targets[~kept] = 1e9, -1e15
    net, same = (network(kind, outputs=1, preparation=kind) for _ in range(2))
    net.fit(rows, targets, sample_weight=weights, epochs=2)
    same.fit(X[kept], Y[kept, 0], epochs=2)
    for name in ("preparation", "target_preparation"):
        mine, its = (getattr(one, name).numbers for one in (net, same))
        np.testing.assert_array_equal(mine, its)
    net.fit(rows, targets, sample_weight=weights, epochs=60, optimizer=fastnet.Adam(0.02))
    found = net.evaluate(rows, targets, sample_weight=weights)["r2"]
    raw = Y[kept, 0]
    residual = ((raw - net.predict(X[kept])) ** 2).sum()
    assert found == pytest.approx(1 - residual / ((raw - raw.mean()) ** 2).sum(), abs=1e-6)
    assert found > 0.1


def test_r2_far_from_what_was_learned_is_no_rounding_error() -> None:
    net = network("standard", outputs=1)
    net.fit(X, 1.6e9 + X[:, 0], epochs=2)
    near_zero = 5 + X[:, 1]  # in float32 and prepared, all of these are equal
    assert net.evaluate(X, near_zero)["r2"] < -1e15


def test_shapes_of_targets_come_back() -> None:
    for y, shape in ((Y[:, 0], (301,)), (Y[:, :1], (301, 1))):
        net = network(outputs=1)
        net.fit(X, y, epochs=1)
        assert net.predict(X).shape == shape


def test_validation_rows_teach_nothing() -> None:
    net = network()
    net.fit(X, Y, epochs=1, validation=0.25)
    kept, _ = splits.stratified_split(np.zeros(301), 0.25, net.seed, VALIDATION_SPLIT)
    np.testing.assert_allclose(net.target_preparation.shift, Y[kept].mean(axis=0), rtol=1e-12)


def test_the_test_rows_of_train_teach_nothing() -> None:
    run = fastnet.train(
        X, Y[:, 0], epochs=1, target_preparation="min-max", validation=None, backend="numpy"
    )
    kept, _ = splits.stratified_split(np.zeros(301), splits.TEST_FRACTION, 0)
    learned = run.network.target_preparation
    assert learned is not None
    assert learned.numbers[0].tolist() == [Y[kept, 0].min()]


def test_it_is_learned_once_and_put_back_where_nothing_was_learned() -> None:
    net = network()
    with pytest.raises(fastnet.DivergenceError):
        net.fit(X, Y, epochs=1, optimizer=fastnet.SGD(1e38))
    assert not net.target_preparation.is_learned
    with pytest.raises(ValueError, match="'standard' has learned nothing yet; train the network"):
        net.predict(X)
    net.fit(X, Y, epochs=1)
    learned = net.target_preparation
    net.fit(X, Y * 2, epochs=1)
    assert net.target_preparation is learned


def test_copies_files_and_checkpoints_have_it(tmp_path: Path) -> None:
    whole = network()
    whole.fit(X, Y, epochs=3, batch_size=64)
    half = network()
    half.fit(X, Y, epochs=2, batch_size=64, checkpoint=tmp_path / "c")
    net = network()
    net.fit(X, Y, epochs=3, batch_size=64, checkpoint=tmp_path / "c", resume="auto")
    expected = whole.predict(X)
    assert net.predict(X).tobytes() == expected.tobytes()
    net.save(tmp_path / "model.safetensors")
    loaded = fastnet.load(tmp_path / "model.safetensors", backend="numpy")
    for other in (net.to(), pickle.loads(pickle.dumps(net)), loaded):
        assert other.predict(X).tobytes() == expected.tobytes()
        assert other.evaluate(X, Y) == whole.evaluate(X, Y)


def test_another_one_is_another_training(tmp_path: Path) -> None:
    network().fit(X, Y, epochs=1, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="target_preparation was standard and is min_max"):
        network("min_max").fit(X, Y, epochs=2, checkpoint=tmp_path, resume="auto")


def test_gradients_are_those_of_prepared_targets() -> None:
    net = network(dtype="float64")
    net.fit(X, Y, epochs=1)
    assert fastnet.gradcheck(net, X[:20], Y[:20]).passed
    assert fastnet.parity(net, X[:50], Y[:50]).passed


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"target_preparation": "standart"},
            ValueError,
            r"^target_preparation is 'standart'.*mean 'standard'",
        ),
        ({"target_preparation": 3}, TypeError, "^target_preparation is 3 "),
        ({"task": "classification"}, ValueError, "it is for quantities"),
        ({"loss": "log_loss", "last": "sigmoid"}, ValueError, "whose targets are probabilities"),
        (
            {"target_preparation": Preparation("standard").learn(X[:, :2])},
            ValueError,
            r"^target_preparation was learned from columns of shape \(2,\); expected \(3,\)",
        ),
        (
            {"target_preparation": Preparation("standard").learn(Y)},
            ValueError,
            "a scale of 0, which cannot be undone",
        ),
    ],
)
def test_what_is_refused(options: Any, error: Any, message: str) -> None:
    layers = [fastnet.Dense(3, 3, options.pop("last", "linear"))]
    given = {"loss": "mse", "backend": "numpy", "target_preparation": "standard"} | options
    with pytest.raises(error, match=message):
        fastnet.Network(layers, **given)


def test_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="y has classes; leave it out, or pass task='regression'"):
        network(outputs=2).fit(X, np.arange(301) % 2, epochs=1)
    with pytest.raises(ValueError, match="target_preparation is 'standard'"):
        fastnet.train(target_preparation="standard", epochs=1)


def test_targets_too_far_apart_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^y has values from -1e\+308 to 1e\+308 in column 0"):
        network("min_max", outputs=1).fit(X[:2], np.array([-1e308, 1e308]), epochs=1)


# -- other programs -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", ["vector", "column", "columns"])
def test_onnx_predicts_the_same(tmp_path: Path, dtype: str, shape: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    y = {"vector": Y[:, 0], "column": Y[:, :1], "columns": Y}[shape]
    net = network(outputs=3 if shape == "columns" else 1, dtype=dtype)
    net.fit(X, y, epochs=2)
    net.export_onnx(tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    names = [output.name for output in session.get_outputs()]
    outputs, found = session.run(["outputs", "prediction"], {"X": X.astype(dtype)})
    expected = net.predict(X)
    assert names == ["outputs", "prediction"]
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    shift, spread = by_hand("standard", y.reshape(301, -1))
    found, expected = ((one.reshape(301, -1) - shift) / spread for one in (found, expected))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(outputs, net.forward(X), atol=1e-5)


def test_quantities_that_are_not_prepared_have_a_prediction_too(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    net = network(None, outputs=1)
    net.fit(X, X[:, 0], epochs=2)
    net.export_onnx(tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    (found,) = session.run(["prediction"], {"X": X.astype(np.float32)})
    assert (found.dtype, found.shape) == (np.float32, (301,))
    np.testing.assert_allclose(found, net.predict(X), atol=1e-5)


@pytest.mark.parametrize("preparation", [None, "standard"])
def test_to_sklearn(preparation: Any) -> None:
    pytest.importorskip("sklearn")
    net = network(dtype="float64", preparation=preparation)
    net.fit(X, Y, epochs=2)
    np.testing.assert_allclose(fastnet.to_sklearn(net).predict(X), net.predict(X), rtol=1e-9)


def test_sklearn_has_the_digits_for_seconds_since_1970() -> None:
    pytest.importorskip("sklearn")
    net = network(outputs=1)
    net.fit(X, 1.6e9 + 100 * X[:, 0], epochs=2)
    found = fastnet.to_sklearn(net)
    assert np.abs(found.predict(X) - net.predict(X)).max() < 1e-3  # float32 has steps of 128
    assert np.abs(fastnet.from_sklearn(found).predict(X) - net.predict(X)).max() < 1e-3


@pytest.mark.parametrize("layers", [1, 2])
def test_pytorch_s_arrays_both_ways(layers: int) -> None:
    net = network(dtype="float64", preparation="standard")
    if layers == 1:  # the first is the last
        given: Any = {"preparation": "min_max", "target_preparation": "standard"}
        net = fastnet.Network(
            [fastnet.Dense(3, 3)], loss="mse", backend="numpy", dtype="float64", **given
        )
    net.fit(X, Y, epochs=2)
    found = fastnet.to_torch(net)
    a = X @ found["0.weight"].T + found["0.bias"]
    if layers == 2:
        a = np.tanh(a) @ found["2.weight"].T + found["2.bias"]
    np.testing.assert_allclose(a, net.predict(X), rtol=1e-9)
    before, other = net.parameters, net.to()
    other.parameters = np.zeros(net.parameter_count)
    fastnet.from_torch(other, found)
    np.testing.assert_allclose(other.parameters, before, rtol=1e-6, atol=1e-9)
    fastnet.from_torch(other, fastnet.to_torch(net, prepared=True), prepared=True)
    assert other.parameters.tobytes() == before.tobytes()


def test_a_last_layer_that_cannot_take_it_up() -> None:
    net = fastnet.Network(
        [fastnet.Dense(3, 1, "sigmoid")],
        loss="mse",
        backend="numpy",
        task="regression",
        target_preparation="min_max",
    )
    net.fit(X, Y[:, 0], epochs=1)
    state = fastnet.to_torch(net, prepared=True)
    before = net.parameters
    for turn in (lambda: fastnet.to_torch(net), lambda: fastnet.from_torch(net, state)):
        with pytest.raises(ValueError, match="which only a linear last layer can take up"):
            turn()
    np.testing.assert_array_equal(net.parameters, before)
