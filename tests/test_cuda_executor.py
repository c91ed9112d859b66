"""The GPU backend above the device seam: captured steps, trainings, a GPU's arrays, memory."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cuda_host.device import HostDevice, OnDevice
from cuda_host.executor import HostExecutor, cupy_on_host, needs_compiler
from fastnet_kernels import cuda

import fastnet
from fastnet import SGD, Adam, Dense, DivergenceError, Network
from fastnet.execution import cuda_ops, device_executor, registry
from fastnet.execution import device as seam
from fastnet.execution.device import CaptureError, DeviceArray
from fastnet.execution.registry import BackendStatus

pytestmark = needs_compiler

Array = np.ndarray[Any, np.dtype[Any]]
ROWS = 70
X = np.random.default_rng(0).normal(size=(ROWS, 7)).astype(np.float32)
IMAGES = np.random.default_rng(1).integers(0, 256, (ROWS, 7), dtype=np.uint8)
LABELS = np.random.default_rng(2).integers(0, 3, ROWS)
QUANTITIES = np.random.default_rng(3).normal(size=(ROWS, 2)).astype(np.float32)
WEIGHTS = np.random.default_rng(4).random(ROWS)


@pytest.fixture
def devices() -> list[HostDevice]:
    """Every device that the test has made, the last one last."""
    return []


@pytest.fixture(autouse=True)
def _on_host(devices: list[HostDevice]) -> Iterator[None]:
    """With patches of its own: those of a test are taken back before these."""

    def make() -> HostDevice:
        devices.append(HostDevice(seed=len(devices)))
        return devices[-1]

    with pytest.MonkeyPatch.context() as patch, cupy_on_host(patch, make):
        yield


def network(*sizes: int, end: str = "softmax", hidden: str = "relu", **options: Any) -> Network:
    *inner, last = itertools.pairwise(sizes or (7, 9, 3))
    layers = [*(Dense(i, o, hidden) for i, o in inner), Dense(*last, end)]
    return Network(
        layers, **{"loss": "categorical_crossentropy", "backend": "cupy", "seed": 5} | options
    )


Training = Callable[[str], tuple[Network, Any]]


def training(
    X: Any, y: Any, *sizes: int, of_fit: dict[str, Any] | None = None, **options: Any
) -> Training:
    """Return what makes and trains a network on a backend."""

    def train(backend: str) -> tuple[Network, Any]:
        net = network(*sizes, backend=backend, **options)
        history = net.fit(X, y, **{"batch_size": 32, "epochs": 4} | (of_fit or {}))
        return net, history

    return train


TRAININGS: dict[str, Training] = {
    "adam, short last batch": training(X, LABELS),
    "bytes": training(IMAGES, LABELS, input_scale=1 / 255),
    "sgd, deep, tanh": training(
        X, LABELS, 7, 11, 5, 6, 3, hidden="tanh", of_fit={"optimizer": SGD(0.1)}
    ),
    "momentum, log_loss": training(
        X, LABELS, loss="log_loss", end="sigmoid", of_fit={"optimizer": SGD(0.1, momentum=0.9)}
    ),
    "nesterov, softmax under log_loss": training(
        X, LABELS, loss="log_loss", of_fit={"optimizer": SGD(0.1, momentum=0.8, nesterov=True)}
    ),
    "mse, elu, all rows": training(
        *(X, QUANTITIES, 7, 8, 2),
        loss="mse",
        end="linear",
        hidden="elu",
        of_fit={"batch_size": None},
    ),
    "mae, weights": training(
        *(X, QUANTITIES, 7, 2),
        loss="mae",
        end="linear",
        of_fit={"sample_weight": WEIGHTS},
    ),
    "softmax under mse": training(X, LABELS, loss="mse"),
    "float64": training(X, LABELS, dtype="float64"),
    "no shuffling, validation": training(
        X, LABELS, of_fit={"shuffle": False, "validation": (IMAGES, LABELS)}
    ),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_ends_where_numpy_ends(name: str) -> None:
    train = TRAININGS[name]
    (ours, history), (theirs, reference) = train("cupy"), train("numpy")
    room = 1e-12 if ours.dtype == np.float64 else 2e-6
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=room)
    np.testing.assert_allclose(history["train_loss"], reference["train_loss"], rtol=1e-5)


@pytest.mark.parametrize("name", ["adam, short last batch", "momentum, log_loss", "float64"])
def test_replayed_steps_are_eager_steps_to_the_bit(
    name: str, monkeypatch: pytest.MonkeyPatch, devices: list[HostDevice]
) -> None:
    replayed, history = TRAININGS[name]("cupy")
    assert devices[-1].log.count("capture") == 2  # full batches, and the short last one
    monkeypatch.setattr(HostExecutor, "captures", False)
    launched, same = TRAININGS[name]("cupy")
    assert "replay" not in devices[-1].log
    assert replayed.parameters.tobytes() == launched.parameters.tobytes()
    assert history["train_loss"] == same["train_loss"]


@pytest.mark.parametrize(("batch_size", "captures"), [(4, 3), (16, 2)])
def test_steps_that_are_replayed_together_are_the_same_steps(
    batch_size: int,
    captures: int,
    monkeypatch: pytest.MonkeyPatch,
    devices: list[HostDevice],
) -> None:
    """Of seventeen full batches and a short one sixteen go together; of four full ones, none."""

    def trained() -> tuple[bytes, Any]:
        net = network(7, 9, 6, 3)
        history = net.fit(X, LABELS, batch_size=batch_size, epochs=5)
        return net.parameters.tobytes(), history["train_loss"]

    alone = trained()
    monkeypatch.setattr(device_executor, "STEPS_BEFORE", 20)
    assert trained() == alone
    assert devices[0].log.count("capture") == 2
    assert devices[1].log.count("capture") == captures
    fewer = devices[0].log.count("replay") - devices[1].log.count("replay")
    assert (fewer > 0) == (captures == 3)


def test_four_schedules_give_the_same_bits(devices: list[HostDevice]) -> None:
    found = {TRAININGS["adam, short last batch"]("cupy")[0].parameters.tobytes() for _ in range(4)}
    assert [device.seed for device in devices] == [0, 1, 2, 3]
    assert len(found) == 1


def test_an_epoch_is_writes_replays_and_one_read(devices: list[HostDevice]) -> None:
    logs: list[list[str]] = []

    def cut(end: Any) -> None:
        logs.append(list(devices[-1].log))
        devices[-1].log.clear()

    network().fit(X, LABELS, batch_size=16, epochs=4, callbacks=[cut])
    between = [entry for entry in logs[-1] if entry != "copy"]
    steps = ["write", "write", *["replay"] * 5]  # the order of rows, and the clock
    # The read after the steps waits for them; then parameters are looked at for NaN.
    assert between == [*steps, "read", "allocate", "write", "not_finite", "read"]


def test_a_step_is_all_launches(monkeypatch: pytest.MonkeyPatch, devices: list[HostDevice]) -> None:
    monkeypatch.setattr(HostExecutor, "captures", False)
    network().fit(X, LABELS, batch_size=16, epochs=1)
    log = devices[-1].log
    begin = log.index("begin_step", log.index("begin_step") + 1)  # of the second step
    step = log[begin : log.index("read", begin)]
    assert step[0] == "begin_step"
    assert step[-2:] == ["count_step", "adam_step"]
    assert set(step) <= {"gemm", *cuda.kernels()}


# -- rules of a capture -------------------------------------------------------------------------


def plant(monkeypatch: pytest.MonkeyPatch, what: Callable[[DeviceArray], Any]) -> None:
    """Let every step do something else, too."""
    count_step = cuda_ops.count_step

    def both(scalars: DeviceArray, *rest: Any) -> None:
        what(scalars)
        count_step(scalars, *rest)

    monkeypatch.setattr(cuda_ops, "count_step", both)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda a: a.device.empty(3, np.float32), "an allocation within a captured step"),
        (lambda a: a.device.get(a), "a copy to the host within a captured step"),
        (lambda a: a.device.write(a, np.zeros(5)), "a copy from the host within"),
        (lambda a: a.device.synchronize(), "a wait for the device within"),
        (lambda a: a.device.capture(lambda: None), "another capture within"),
    ],
)
def test_what_cannot_be_captured_is_refused(
    monkeypatch: pytest.MonkeyPatch, what: Callable[[DeviceArray], Any], message: str
) -> None:
    plant(monkeypatch, what)
    net = network()
    before = net.parameters
    with pytest.raises(CaptureError, match=message):
        net.fit(X, LABELS, epochs=3)
    assert net.parameters.tobytes() == before.tobytes()
    monkeypatch.undo()


def test_a_number_of_the_host_that_is_captured_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row counted on the host stays what it was at the capture: the results are others."""
    train = TRAININGS["adam, short last batch"]
    right = train("cupy")[0].parameters
    counted = {"rows": 0}
    gather = cuda_ops.gather_features

    def by_host(x: Any, features: Any, order: Any, clock: Any, first: int, scale: float) -> None:
        zero = clock.device.scratch(np.dtype(np.int64))[:3]
        clock.device.zero(zero)
        gather(x, features, order, zero, counted["rows"] % (ROWS - 32), scale)
        counted["rows"] += len(x)

    monkeypatch.setattr(cuda_ops, "gather_features", by_host)
    assert np.abs(train("cupy")[0].parameters - right).max() > 1e-3


# -- what a training meets ------------------------------------------------------------------------


def test_divergence_stops_at_the_bad_step_and_keeps_the_last_epoch() -> None:
    found = {}
    for backend in ("cupy", "numpy"):
        net = network(7, 1, loss="mse", end="linear", backend=backend)
        with pytest.raises(DivergenceError) as caught:
            net.fit(X, QUANTITIES[:, :1], optimizer=SGD(15.0), batch_size=16, epochs=60)
        error = caught.value
        found[backend] = (error.epoch, error.step, error.layer, net.epoch)
        assert np.isfinite(net.parameters).all()
    assert found["cupy"] == found["numpy"]
    assert found["cupy"][0] > 2  # captured steps, too


def test_ctrl_c_keeps_the_last_epoch() -> None:
    net = network()

    def press(end: Any) -> None:
        if end.epoch == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(fastnet.TrainingInterrupted):
            net.fit(X, LABELS, epochs=9, callbacks=[press])
    finally:
        signal.signal(signal.SIGINT, before)
    other = network()
    other.fit(X, LABELS, epochs=3)
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_training_goes_on_where_it_ended() -> None:
    at_once, in_parts = network(), network()
    at_once.fit(X, LABELS, batch_size=16, epochs=5)
    for epochs in (1, 3, 1):
        in_parts.fit(X, LABELS, batch_size=16, epochs=epochs)
    assert at_once.parameters.tobytes() == in_parts.parameters.tobytes()


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda net: pickle.loads(pickle.dumps(net)),
        lambda net: net.to(),
        lambda net: net.to("numpy").to("cupy"),
        lambda net: net.to("numba").to("cupy"),
    ],
)
def test_copies_go_on_as_the_network_does(copied: Callable[[Network], Network]) -> None:
    net = network()
    net.fit(X, LABELS, epochs=2)
    other = copied(net)
    net.fit(X, LABELS, epochs=2)
    other.fit(X, LABELS, epochs=2)
    assert net.parameters.tobytes() == other.parameters.tobytes()


def test_two_networks_train_on_two_threads() -> None:
    nets = [network(), network()]
    threads = [threading.Thread(target=net.fit, args=(X, LABELS)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    alone = network()
    alone.fit(X, LABELS)
    assert {net.parameters.tobytes() for net in nets} == {alone.parameters.tobytes()}


def test_other_threads_may_ask_while_steps_are_captured() -> None:
    net, errors = network(), []
    net.fit(X, LABELS, epochs=1)
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                assert np.isfinite(net.parameters).all()
                assert net.is_finite()
                net.evaluate(OnDevice(X), LABELS)
        except BaseException as error:
            errors.append(error)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(5):
            net.fit(X, LABELS, batch_size=16, epochs=2)
    finally:
        done.set()
        for thread in asking:
            thread.join(60)
    assert errors == []
    alone = network()
    alone.fit(X, LABELS, epochs=1)
    for _ in range(5):
        alone.fit(X, LABELS, batch_size=16, epochs=2)
    assert net.parameters.tobytes() == alone.parameters.tobytes()


def test_a_network_that_is_gone_leaves_nothing_on_the_device(devices: list[HostDevice]) -> None:
    gc.collect()
    gc.disable()
    try:
        net = network()
        net.fit(X, LABELS, validation=0.2, epochs=3)
        device = weakref.ref(devices.pop())
        assert device() is not None
        del net
        assert device() is None
    finally:
        gc.enable()


def test_sums_in_chunks_share_their_room_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers' bias gradients go through the same room for partial sums."""
    monkeypatch.setattr(cuda_ops, "CHUNK", 4)
    found = set()
    for _ in range(6):  # six schedules
        net = network(7, 9, 8, 3)
        net.fit(X, LABELS, batch_size=32, epochs=3)
        found.add(net.parameters.tobytes())
    assert len(found) == 1


def test_rates_are_written_when_they_change(devices: list[HostDevice]) -> None:
    """Row weights make another scale of every batch of every epoch."""
    ours, theirs = network(), network(backend="numpy")
    for net in (ours, theirs):
        net.fit(X, LABELS, sample_weight=WEIGHTS, batch_size=16, epochs=3)
        net.fit(X, LABELS, optimizer=SGD(0.5), batch_size=16, epochs=2)
        net.fit(X, LABELS, optimizer=SGD(0.1), batch_size=16, epochs=2)
    np.testing.assert_allclose(ours.parameters, theirs.parameters, atol=2e-6)


def test_a_pickled_network_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    pickled = pickle.dumps(network())
    missing = BackendStatus("cupy", False, "no NVIDIA driver is loaded", "install one")
    monkeypatch.setitem(registry._PROBES, "cupy", lambda: missing)
    with pytest.raises(fastnet.BackendUnavailableError, match=r"no NVIDIA.*net.to\('numpy'\)"):
        pickle.loads(pickled)


def test_longer_epochs_are_looked_at_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    net, calls = network(), []
    run_steps = HostExecutor.run_steps

    def counted(self: HostExecutor, begin: int, end: int) -> None:
        run_steps(self, begin, end)
        calls.append(end - begin)

    monkeypatch.setattr(HostExecutor, "run_steps", counted)
    monkeypatch.setattr(device_executor, "SECONDS_PER_CALL", 1e9)
    net.fit(X, LABELS, batch_size=2, epochs=2)
    assert calls == [1, 1, 16, 17, 35]
    monkeypatch.setattr(device_executor, "SECONDS_PER_CALL", 1e-9)
    calls.clear()
    net.fit(X, LABELS, batch_size=2, epochs=1)
    assert calls[3:] == [1] * 17


def test_precision_reaches_the_device(devices: list[HostDevice]) -> None:
    network(precision="tf32")
    assert devices[-1].precision == "tf32"
    network()
    assert devices[-1].precision is None


# -- asking ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_answers_are_numpys(end: str) -> None:
    net = network(end=end, loss="log_loss")
    reference = net.to("numpy")
    np.testing.assert_allclose(net.forward(X), reference.forward(X), atol=1e-6)
    np.testing.assert_allclose(net.predict_proba(X), reference.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(net.predict(X), reference.predict(X))
    assert net.evaluate(X, LABELS) == pytest.approx(reference.evaluate(X, LABELS))
    loss, gradient = net.loss_and_gradient(X, LABELS)
    expected_loss, expected = reference.loss_and_gradient(X, LABELS)
    assert loss == pytest.approx(expected_loss)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    for ours, theirs in zip(net.trace(X, LABELS), reference.trace(X, LABELS), strict=True):
        for part, wanted in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(part, wanted, atol=1e-6)


def test_rows_beyond_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_executor, "BLOCK_ROWS", 16)
    net = network()
    reference = net.to("numpy")
    np.testing.assert_allclose(net.forward(X), reference.forward(X), atol=1e-6)
    assert net.evaluate(X, LABELS) == pytest.approx(reference.evaluate(X, LABELS))
    _, gradient = net.loss_and_gradient(X, LABELS)
    np.testing.assert_allclose(gradient, reference.loss_and_gradient(X, LABELS)[1], atol=1e-6)


def test_parity_and_gradcheck(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = BackendStatus("numba", False, "left out: it would compile", "nothing")
    monkeypatch.setitem(registry._PROBES, "numba", lambda: left_out)
    net = network()
    parity = fastnet.parity(net, X, LABELS)
    assert parity.passed
    assert {row.backend for row in parity} == {"cupy", "numpy"}
    assert fastnet.gradcheck(net.to(dtype="float64"), X, LABELS).passed


def test_regression_has_its_r2() -> None:
    net = network(7, 2, loss="mse", end="linear")
    expected = net.to("numpy").evaluate(X, QUANTITIES)
    assert net.evaluate(X, QUANTITIES) == pytest.approx(expected)
    assert net.evaluate(OnDevice(X), QUANTITIES) == pytest.approx(expected)


# -- arrays of a GPU ------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [X, IMAGES, X.astype(np.float64), np.asfortranarray(X)])
def test_rows_on_the_device_train_as_rows_on_the_host(features: Array) -> None:
    on_host, on_device = network(), network()
    on_host.fit(features, LABELS, validation=0.2, epochs=3)
    on_device.fit(OnDevice(features), OnDevice(LABELS), validation=0.2, epochs=3)
    assert on_host.parameters.tobytes() == on_device.parameters.tobytes()


def test_rows_on_the_device_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    begin = HostExecutor.begin_training

    def note(self: HostExecutor, data: Any, *rest: Any) -> None:
        seen.append(data.features.address)
        begin(self, data, *rest)

    monkeypatch.setattr(HostExecutor, "begin_training", note)
    network().fit(OnDevice(X), LABELS, epochs=1)
    assert seen == [X.ctypes.data]


@pytest.mark.parametrize("ask", ["forward", "predict", "predict_proba"])
def test_answers_come_back_where_the_rows_were(ask: str) -> None:
    net = network()
    net.fit(X, LABELS + 10, epochs=1)
    on_device = getattr(net, ask)(OnDevice(X))
    assert isinstance(on_device, OnDevice)
    np.testing.assert_array_equal(on_device.array, getattr(net, ask)(X))


def test_labels_of_text_come_back_on_the_host() -> None:
    net, names = network(), np.array(["a", "b", "c"])[LABELS]
    net.fit(OnDevice(X), names, epochs=1)
    np.testing.assert_array_equal(net.predict(OnDevice(X)), net.predict(X))


def test_train_takes_rows_on_the_device() -> None:
    options: dict[str, Any] = {"hidden": (5,), "epochs": 2, "backend": "cupy", "progress": False}
    on_device = fastnet.train(OnDevice(X), OnDevice(LABELS), **options)
    on_host = fastnet.train(X, LABELS, **options)
    assert on_device.network.parameters.tobytes() == on_host.network.parameters.tobytes()
    assert on_host.report.device == "host"


@pytest.mark.parametrize(
    ("features", "kind", "message"),
    [
        (X[:, :5], ValueError, r"X has 5 feature\(s\) per row; the network takes 7"),
        (X[0], ValueError, r"X has 1 dimension\(s\)"),
        (X[:0], ValueError, "X is empty"),
        (X.astype(complex), TypeError, "X has dtype complex128"),
        (np.where(X[3, 2] == X, np.nan, X), ValueError, r"X has 1 value\(s\).*row 3, column 2"),
        (X * np.float64(1e300), ValueError, "which does not fit float32"),
    ],
)
def test_bad_rows_on_the_device(features: Array, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        network().fit(OnDevice(features), LABELS)
    with pytest.raises(kind, match=message):
        network().predict(OnDevice(features))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_rows_of_a_gpu_are_no_rows_for_other_backends(backend: str) -> None:
    net, message = network(backend=backend), r"X is a cuda_host.device.OnDevice in the memory of a"
    for ask in (net.predict, net.forward, lambda X: net.fit(X, LABELS)):
        with pytest.raises(TypeError, match=message):
            ask(OnDevice(X))
    with pytest.raises(TypeError, match=r"y is a cuda_host.*backend='cupy'"):
        net.fit(X, OnDevice(LABELS))
    with pytest.raises(TypeError, match="y is a cuda_host"):
        fastnet.train(X, OnDevice(LABELS), backend=backend)


# -- memory ---------------------------------------------------------------------------------------


def small(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(HostExecutor, "make", staticmethod(lambda: HostDevice(memory=memory)))


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam()])
def test_a_batch_that_does_not_fit_names_the_largest_that_does(
    monkeypatch: pytest.MonkeyPatch, optimizer: Any
) -> None:
    rows = 4000
    many, labels = np.tile(X, (rows // 50, 1))[:rows], np.arange(rows) % 3
    small(monkeypatch, seam.SCRATCH_BYTES + (1 << 19))
    net = network()
    before = net.parameters
    message = (
        r"a batch of 4,000 rows needs [\d,]+ bytes on host, which has [\d,]+ free: the largest"
    )
    with pytest.raises(fastnet.DeviceMemoryError, match=message) as caught:
        net.fit(many, labels, batch_size=None, optimizer=optimizer, epochs=1)
    assert isinstance(caught.value, MemoryError)
    assert net.parameters.tobytes() == before.tobytes()
    fits = int(str(caught.value).rsplit(" ", 1)[1].replace(",", ""))
    assert 1000 < fits < rows
    del caught  # with its frames, and the rows in them
    gc.collect()
    net.fit(many, labels, batch_size=fits, optimizer=optimizer, epochs=2)


def test_not_one_row_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, seam.SCRATCH_BYTES + 8000)
    with pytest.raises(fastnet.DeviceMemoryError, match="not one row of this network fits"):
        network().fit(X, LABELS, epochs=1)


def test_rows_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, 4000)
    with pytest.raises(fastnet.DeviceMemoryError, match=r"3,500 rows of data needs [\d,]+ bytes"):
        network().fit(np.tile(X, (50, 1)), np.tile(LABELS, 50))


def test_a_network_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, 100)
    with pytest.raises(fastnet.DeviceMemoryError, match="bytes left"):
        network()


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.5), Adam()])
def test_a_training_holds_what_the_docs_say(optimizer: Any, devices: list[HostDevice]) -> None:
    net = network(7, 30, 20, 3)
    device, k = devices[-1], optimizer.slots
    net.fit(X, LABELS, batch_size=32, epochs=1, optimizer=optimizer)
    gc.collect()
    after, device.most_allocated = device.allocated, 0
    net.fit(X, LABELS, batch_size=32, epochs=4, optimizer=optimizer)
    gc.collect()
    assert device.allocated == after
    units, outputs, steps = 30 + 20 + 3, 3, 3
    data = X.nbytes + 4 * ROWS  # labels
    expected = net.parameter_count * 4 * (4 + 3 * k)
    expected += 32 * 4 * (7 + 2 * units + 2 * outputs + 3) + 4 * ROWS + 16 * steps
    sums = seam.SCRATCH_BYTES
    few = 500  # scalars, clock, totals
    assert 0 <= device.most_allocated - sums - data - expected + few <= 2 * few
