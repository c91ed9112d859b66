"""What a long-lived program does with networks: copies, pickles, threads, failures."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet
from fastnet import SGD, Adam, Dense, DivergenceError, EpochEnd, Network
from fastnet.execution import plan

ROOT = Path(__file__).parent.parent
RNG = np.random.default_rng(8)
X, Y = RNG.normal(size=(90, 12)).astype("float32"), RNG.integers(0, 3, 90)
BACKENDS = ["numpy", "numba"]


def network(backend: str, **options: Any) -> Network:
    layers = [Dense(12, 21, "relu"), Dense(21, 3, "softmax")]
    return Network(layers, loss="categorical_crossentropy", backend=backend, **options)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pickle_goes_on_where_the_network_stood(backend: str) -> None:
    net = network(backend, seed=4)
    net.fit(X, np.array(["a", "b", "c"])[Y], epochs=2)
    stored = pickle.dumps(net)
    assert len(stored) < 3 * 4 * net.parameter_count + 5000  # parameters and Adam's two vectors
    other = pickle.loads(stored)
    for one in (net, other, copy.deepcopy(other)):
        one.fit(X, np.array(["a", "b", "c"])[Y], epochs=2)
        assert one.parameters.tobytes() == net.parameters.tobytes()
        assert one.epoch == 4
        assert set(one.predict(X)) <= {"a", "b", "c"}


def test_a_pickled_numba_network_works_in_a_new_process(tmp_path: Path) -> None:
    net = network("numba")
    net.fit(X, Y, epochs=1)
    (tmp_path / "net").write_bytes(pickle.dumps(net))
    np.save(tmp_path / "X.npy", X)
    code = (
        "import pickle, sys, numpy; folder = sys.argv[1];"
        "net = pickle.load(open(folder + '/net', 'rb'));"
        "print(net.predict(numpy.load(folder + '/X.npy', mmap_mode='r')).tolist())"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "kernels")])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(net.predict(X).tolist())


@pytest.mark.parametrize("backend", BACKENDS)
def test_fit_lets_go_of_the_rows(backend: str) -> None:
    net = network(backend)
    rows = X.copy()
    held = sys.getrefcount(rows)
    net.fit(rows, Y, epochs=1)
    assert sys.getrefcount(rows) == held
    rows.flags.writeable = False
    net.predict(rows)
    net.fit(rows, Y, epochs=1)
    assert sys.getrefcount(rows) == held


@pytest.mark.parametrize("backend", BACKENDS)
def test_asking_with_many_sizes_keeps_one_set_of_buffers(backend: str) -> None:
    net = network(backend)
    whole = net.forward(X)
    for count in (1, 3, 90, 7, 64):
        np.testing.assert_allclose(net.forward(X[:count]), whole[:count], rtol=0, atol=1e-6)
    assert net.executor._work is not None
    assert net.executor._work.capacity == 90


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_may_ask_one_network_at_once(backend: str) -> None:
    net = network(backend)
    parts = [X[:41], X[41:]]
    expected = [net.forward(part) for part in parts]
    wrong: list[int] = []

    def ask(i: int) -> None:
        wrong.extend(
            i for _ in range(100) if net.forward(parts[i]).tobytes() != expected[i].tobytes()
        )

    threads = [threading.Thread(target=ask, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fit_within_a_fit_is_refused(backend: str) -> None:
    net = network(backend)
    refused: list[str] = []

    def again(end: EpochEnd) -> None:
        try:
            end.network.fit(X, Y, epochs=1)
        except RuntimeError as error:
            refused.append(str(error))

    net.fit(X, Y, epochs=2, callbacks=[again])
    assert len(refused) == 2
    assert "being trained already" in refused[0]
    alone = network(backend)
    alone.fit(X, Y, epochs=2)
    assert net.parameters.tobytes() == alone.parameters.tobytes()


def test_a_thread_that_cannot_start_leaves_none_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like a limit on threads, or a signal handler that raises between two starts."""
    monkeypatch.setattr(plan, "WORK_PER_THREAD", 1)
    net = network("numba")
    net.fit(X, Y, epochs=1)
    net.executor.threads = 3
    before = net.parameters
    start, started = threading.Thread.start, []

    def fail_at_the_second(self: threading.Thread) -> None:
        if self.name == "fastnet":
            if started:
                raise RuntimeError("can't start new thread")
            started.append(self)
        start(self)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_at_the_second)
        with pytest.raises(RuntimeError, match="can't start"):
            net.fit(X, Y, epochs=1)
    assert started
    assert not started[0].is_alive()
    np.testing.assert_array_equal(net.parameters, before)
    net.fit(X, Y, epochs=1)
    assert not np.array_equal(net.parameters, before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fit_that_fails_at_once_was_never_called(backend: str) -> None:
    net = network(backend)
    before = net.parameters
    with pytest.raises(DivergenceError):
        net.fit(1e30 * X, np.array(["a", "b", "c"])[Y], optimizer=SGD(1e30))
    np.testing.assert_array_equal(net.parameters, before)
    assert net.classes.tolist() == [0, 1, 2]
    history = net.fit(X, Y, epochs=1)  # other classes, and the default optimizer again
    fresh = network(backend)
    assert history.to_dict() == fresh.fit(X, Y, epochs=1).to_dict()


def test_what_training_rows_cannot_tell_of_the_targets() -> None:
    """One row with two labels makes all of them multilabel, wherever the split puts it."""
    targets = np.eye(3)[Y % 3]
    targets[17] = [1, 1, 0]
    for seed in range(4):
        run = fastnet.train(X, targets, hidden=4, epochs=1, seed=seed, backend="numpy")
        assert run.network.classes is None
        assert run.network.predict(X).shape == (90, 3)


def test_r2_of_constant_targets_is_0_or_1() -> None:
    net = Network([Dense(12, 1)], loss="mse", dtype="float64", backend="numpy")
    assert net.evaluate(X, np.full(90, 0.1))["r2"] == 0
    net.parameters = np.zeros(13)
    assert net.evaluate(X, np.zeros(90))["r2"] == 1


@pytest.mark.parametrize(
    ("argument", "make"),
    [
        ("epsilon", lambda: network("numpy").fit(X, Y, optimizer=Adam(epsilon=1e-40))),
        ("learning_rate", lambda: network("numpy").fit(X, Y, optimizer=SGD(1e-50))),
        ("input_scale", lambda: network("numpy", input_scale=1e300)),
        ("sample_weight", lambda: network("numpy").fit(X, Y, sample_weight=np.full(90, 1e-40))),
    ],
)
def test_settings_that_do_not_fit_the_dtype_are_refused(argument: str, make: Any) -> None:
    with pytest.raises(ValueError, match=argument):
        make()
