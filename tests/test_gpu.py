"""The GPU backend on a GPU: what ``python -m bench gpu`` compares, and what users see.

``pytest -m gpu`` runs these alone. What needs no GPU is tested over the host, see ``cuda_host``.
"""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastnet
from bench.gpu import kernels, training
from fastnet import SGD, Adam, Dense, Network
from fastnet.execution import device_executor

Array = np.ndarray[Any, np.dtype[Any]]

STATUS = fastnet.backends()["cupy"]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not STATUS.available, reason=f"no GPU can be used: {STATUS.cause}"),
]

ROWS = 300
X = np.random.default_rng(0).normal(size=(ROWS, 20)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 4, ROWS) + 10


@pytest.fixture(scope="module")
def device() -> Any:
    from fastnet.execution.cupy_device import CupyDevice

    return CupyDevice()


def network(*, backend: str = "cupy", **options: Any) -> Network:
    layers = [Dense(20, 33, "relu"), Dense(33, 4, "softmax")]
    settings: dict[str, Any] = {"loss": "categorical_crossentropy", "seed": 3, **options}
    return Network(layers, backend=backend, **settings)


def fit(net: Network, X: Any = X, y: Any = LABELS, **options: Any) -> Network:
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 32, "optimizer": Adam(1e-2), **options}
    net.fit(X, y, progress=False, **settings)
    return net


def bits(net: Network) -> bytes:
    return net.parameters.tobytes()


# -- kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("op", kernels.NAMES)
def test_an_op_is_numpys(device: Any, op: str, dtype: str) -> None:
    found = [
        kernels.compare(device, case, dtype)
        for case in kernels.cases(kernels.SHAPES)
        if case.op == op
    ]
    wrong = [(one.case.label, one.share, one.wrong) for one in found if not one.passed]
    assert found
    assert not wrong


@pytest.mark.parametrize("op", sorted({case.op for case in kernels.large_cases()}))
def test_an_op_at_the_size_of_a_large_layer(device: Any, op: str) -> None:
    for case in kernels.large_cases():
        if case.op == op:
            found = kernels.compare(device, case, "float32")
            assert found.passed, (case.label, found.share, found.wrong)


def test_no_kernel_spills_registers() -> None:
    for name, by_dtype in kernels.attributes().items():
        for dtype, found in by_dtype.items():
            assert found["registers"] > 0
            assert found["local_bytes"] == 0, (name, dtype)


# -- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("case", training.CASES, ids=lambda case: case.name)
def test_a_hundred_steps_end_where_numpys_end(case: training.Case, dtype: str) -> None:
    found = training.parity(case, dtype)
    assert found["passed"], found


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("case", training.CASES, ids=lambda case: case.name)
def test_replayed_steps_are_eager_steps_to_the_bit(case: training.Case, dtype: str) -> None:
    found = training.same_bits(case, training.eager, dtype=dtype)
    assert found["passed"], found


@pytest.mark.parametrize("options", [{}, {"dtype": "float64"}, {"precision": "tf32"}])
@pytest.mark.parametrize("case", training.CASES, ids=lambda case: case.name)
def test_a_training_repeats_itself_to_the_bit(case: training.Case, options: Any) -> None:
    found = training.same_bits(case, **options)
    assert found["passed"], found


@pytest.mark.parametrize("dtype", kernels.DTYPES)
@pytest.mark.parametrize("case", training.CASES, ids=lambda case: case.name)
def test_programs_end_where_numpy_ends_and_repeat_themselves(
    case: training.Case, dtype: str
) -> None:
    found = training.parity(case, dtype, change=training.by_programs)
    assert found["passed"], found
    found = training.same_bits(case, training.by_programs, first=training.by_programs, dtype=dtype)
    assert found["passed"], found


def test_the_steps_that_should_be_eager_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise eager steps and replayed ones would be compared with themselves."""
    from fastnet.execution.cupy_device import CupyDevice

    captured: list[object] = []
    capture = CupyDevice.capture

    def noted(self: Any, function: Any) -> Any:
        captured.append(function)
        return capture(self, function)

    monkeypatch.setattr(CupyDevice, "capture", noted)
    fit(training.eager(network()))
    assert not captured
    fit(network())
    assert len(captured) == 2  # a full batch and the short one


@pytest.mark.parametrize("rows", [5, 31, 32, 33, 64, 65])
def test_short_last_batches(rows: int) -> None:
    ours, theirs = (
        fit(network(backend=name, dtype="float64"), X[:rows], np.arange(rows) % 4)
        for name in ("cupy", "numpy")
    )
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=1e-10)


@pytest.mark.parametrize("batch_size", [1, 7, None])
def test_batches_of_every_size(batch_size: int | None) -> None:
    ours, theirs = (
        fit(network(backend=name, dtype="float64"), batch_size=batch_size, epochs=2)
        for name in ("cupy", "numpy")
    )
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=1e-10)


def test_bytes_are_scaled_on_the_way_in() -> None:
    images = np.random.default_rng(5).integers(0, 256, (ROWS, 20), np.uint8)
    ours = fit(network(input_scale=1 / 255, dtype="float64"), images)
    theirs = fit(network(dtype="float64"), images / 255)
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=1e-12)


def test_weights_and_validation() -> None:
    weights = np.random.default_rng(6).random(ROWS)
    options = {"sample_weight": weights, "validation": 0.2, "epochs": 4, "batch_size": 32}
    histories = [
        network(backend=name, dtype="float64").fit(X, LABELS, progress=False, **options)
        for name in ("cupy", "numpy")
    ]
    for column in histories[1]:
        np.testing.assert_allclose(histories[0][column], histories[1][column], rtol=1e-9)


def test_the_last_good_epoch_survives_a_divergence() -> None:
    net = Network([Dense(20, 4, "linear")], loss="mse", backend="cupy", task="regression")
    targets = np.random.default_rng(7).normal(size=(ROWS, 4))
    with pytest.raises(fastnet.DivergenceError) as caught:
        net.fit(X, targets, optimizer=SGD(5.0), epochs=200, progress=False)
    assert caught.value.epoch > 1
    assert np.isfinite(net.parameters).all()


def test_training_goes_on_where_it_ended() -> None:
    assert bits(fit(fit(network()))) == bits(fit(network(), epochs=6))
    copy = pickle.loads(pickle.dumps(fit(network())))
    assert bits(fit(copy)) == bits(fit(network(), epochs=6))


def test_tf32_is_near_and_not_the_same() -> None:
    wide = [Dense(20, 256, "tanh"), Dense(256, 256, "tanh"), Dense(256, 4, "softmax")]
    options: dict[str, Any] = {"loss": "categorical_crossentropy", "backend": "cupy"}
    exact, rounded = Network(wide, **options), Network(wide, precision="tf32", **options)
    np.testing.assert_allclose(rounded.forward(X), exact.forward(X), rtol=0, atol=5e-3)
    if has_tf32():
        assert rounded.forward(X).tobytes() != exact.forward(X).tobytes()


def has_tf32() -> bool:
    """Whether the GPU has TF32 at all: from compute capability 8.0 on."""
    import cupy

    return int(cupy.cuda.Device().compute_capability) >= 80


# -- answers --------------------------------------------------------------------------------------


def test_answers_are_numpys() -> None:
    ours = fit(network(dtype="float64"))
    theirs = ours.to("numpy")
    np.testing.assert_allclose(ours.forward(X), theirs.forward(X), rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.evaluate(X, LABELS) == pytest.approx(theirs.evaluate(X, LABELS))


def test_rows_beyond_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    net = fit(network())
    expected = net.forward(X)
    monkeypatch.setattr(device_executor, "BLOCK_ROWS", 64)
    np.testing.assert_allclose(net.forward(X), expected, rtol=0, atol=1e-6)


def test_parity_and_gradcheck() -> None:
    assert fastnet.parity(network(), X, LABELS - 10).passed
    assert fastnet.gradcheck(network(dtype="float64"), X[:20], LABELS[:20] - 10).passed


# -- arrays of the GPU ----------------------------------------------------------------------------


@pytest.fixture
def cupy() -> Any:
    return pytest.importorskip("cupy")


@pytest.mark.parametrize(
    "features",
    [
        X,
        X.astype(np.float64),
        np.asfortranarray(X),
        np.clip(64 * X + 96, 0, 255).astype(np.uint8),
    ],
    ids=["float32", "float64", "by columns", "bytes"],
)
def test_rows_on_the_gpu_train_as_rows_on_the_host(cupy: Any, features: Array) -> None:
    on_gpu = fit(network(), cupy.asarray(features), cupy.asarray(LABELS))
    assert bits(on_gpu) == bits(fit(network(), features))


def test_answers_come_back_where_the_rows_were(cupy: Any) -> None:
    net = fit(network())
    rows = cupy.asarray(X)
    for ask in (net.predict, net.forward, net.predict_proba):
        found = ask(rows)
        assert isinstance(found, cupy.ndarray)
        np.testing.assert_array_equal(cupy.asnumpy(found), ask(X))
    assert net.evaluate(rows, cupy.asarray(LABELS)) == net.evaluate(X, LABELS)


def test_labels_of_text_come_back_on_the_host(cupy: Any) -> None:
    names = np.array(["a", "b", "c", "d"])[LABELS - 10]
    net = fit(network(), cupy.asarray(X), names)
    np.testing.assert_array_equal(net.predict(cupy.asarray(X)), net.predict(X))


def test_an_answer_outlives_its_network(cupy: Any) -> None:
    net = fit(network())
    expected, found = net.forward(X), net.forward(cupy.asarray(X))
    del net
    gc.collect()
    for _ in range(20):
        cupy.full((ROWS, 4), np.nan, np.float32)
    np.testing.assert_array_equal(cupy.asnumpy(found), expected)


def test_rows_that_another_stream_is_still_writing(cupy: Any) -> None:
    """Our stream waits for the work that makes an array."""
    net, expected = network(), None
    for _ in range(5):
        large = cupy.random.standard_normal((4096, 4096), dtype=cupy.float32)
        for _ in range(10):
            large = cupy.tanh(large @ large)
        rows = cupy.asarray(X) + 0 * large[:ROWS, :20]
        found = cupy.asnumpy(net.forward(rows))
        expected = found if expected is None else expected
        np.testing.assert_array_equal(found, net.forward(X))


def test_tensors_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    rows = torch.from_numpy(X).cuda()
    assert bits(fit(network(), rows)) == bits(fit(network()))
    found = network().forward(rows)
    np.testing.assert_array_equal(np.asarray(found.get()), network().forward(X))


# -- memory and devices ---------------------------------------------------------------------------


@pytest.fixture
def little_memory(cupy: Any) -> Iterator[None]:
    """Leave so little that no large batch fits; what others hold is their own."""
    pool = cupy.get_default_memory_pool()
    gc.collect()
    pool.free_all_blocks()
    free, _ = cupy.cuda.runtime.memGetInfo()
    taken = cupy.cuda.alloc(free - (512 << 20))
    yield
    del taken
    gc.collect()
    pool.free_all_blocks()


@pytest.mark.usefixtures("little_memory")
def test_a_batch_that_does_not_fit_names_the_largest_that_does() -> None:
    wide = [Dense(4, 16_384, "relu"), Dense(16_384, 2, "softmax")]
    net = Network(wide, loss="categorical_crossentropy", backend="cupy")
    rows = np.zeros((40_000, 4), np.float32)
    labels, before = np.arange(40_000) % 2, bits(net)
    message = r"a batch of 40,000 rows needs [\d,]+ bytes on .*: the largest batch that fits is "
    with pytest.raises(fastnet.DeviceMemoryError, match=message) as caught:
        net.fit(rows, labels, batch_size=None, optimizer=SGD(0.01), epochs=1, progress=False)
    assert isinstance(caught.value, MemoryError)
    assert bits(net) == before
    fits = int(str(caught.value).rsplit(" ", 1)[1].replace(",", ""))
    assert 1 < fits < 40_000
    # The advice holds, but for what the driver and cuBLAS load at first use.
    net.fit(rows, labels, batch_size=fits * 3 // 4, optimizer=SGD(0.01), epochs=1, progress=False)


@pytest.mark.usefixtures("little_memory")
def test_a_network_that_does_not_fit() -> None:
    huge = [Dense(32_768, 32_768, "relu"), Dense(32_768, 2, "softmax")]
    with pytest.raises(fastnet.DeviceMemoryError, match="bytes left"):
        Network(huge, loss="categorical_crossentropy", backend="cupy")


def test_networks_on_two_gpus(cupy: Any) -> None:
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU")
    first = fit(network())
    with cupy.cuda.Device(1):
        second = fit(network())
        rows = cupy.asarray(X)
    assert "cuda:0" in first.executor.device
    assert "cuda:1" in second.executor.device
    assert bits(first) == bits(second)
    assert isinstance(second.forward(rows), cupy.ndarray)
    with pytest.raises(ValueError, match=r"X lies on cuda:1 and the network on .*cuda:0"):
        first.forward(rows)
