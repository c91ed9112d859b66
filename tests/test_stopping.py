"""How a training ends before its last epoch: divergence, Ctrl-C, callbacks."""

from __future__ import annotations

import _thread
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.compiler_lock import global_compiler_lock

import fastnet
from fastnet import SGD, Adam, Dense, DivergenceError, EpochEnd, Network, TrainingInterrupted
from fastnet.execution import compiled
from fastnet.randomness import SeedProvider

ROOT = Path(__file__).parents[1]
X = np.random.default_rng(3).normal(size=(12, 4)).astype(np.float32)
LABELS = np.arange(12) % 3
QUANTITIES = X[:, 0] - X[:, 1]


def classifier(**options: Any) -> Network:
    layers = [Dense(4, 5, "tanh"), Dense(5, 3, "softmax")]
    return Network(layers, loss="categorical_crossentropy", **{"backend": "numpy"} | options)


def linear(*sizes: int, **options: Any) -> Network:
    layers = [Dense(i, o) for i, o in itertools.pairwise(sizes)]
    return Network(layers, **{"backend": "numpy", "loss": "mse"} | options)


def bits(net: Network) -> bytes:
    """Parameters, optimizer state, step and epoch: equal means that training goes on equally."""
    snapshot = net.executor.snapshot()
    counters = f"{snapshot.step} {net.epoch}".encode()
    return b"|".join([snapshot.theta.tobytes(), snapshot.state.tobytes(), counters])


def bits_after(epochs: int, net: Network | None = None, **of_fit: Any) -> bytes:
    net = net or classifier()
    net.fit(X, LABELS, epochs=epochs, **of_fit)
    return bits(net)


# -- divergence -----------------------------------------------------------------------------------


def test_a_huge_learning_rate_at_once() -> None:
    net = linear(4, 1)
    before = bits(net)
    with pytest.raises(DivergenceError) as caught:
        net.fit(X, QUANTITIES, optimizer=SGD(1e30), batch_size=4, epochs=3)
    error = caught.value
    assert isinstance(error, ArithmeticError)
    assert (error.epoch, error.step, error.learning_rate) == (1, 2, 1e30)
    assert len(error.history) == 0
    for words in ("epoch 1, step 2 of 3", "learning rate 1e+30", "smaller learning rate"):
        assert words in str(error)
    assert bits(net) == before


def grow(net: Network, epochs: int) -> None:
    """Train with steps that are too long, so that everything grows from epoch to epoch."""
    optimizer = SGD(20.0, momentum=0.9)
    net.fit(X, QUANTITIES, optimizer=optimizer, batch_size=4, epochs=epochs)


def test_the_last_good_epoch_is_kept() -> None:
    net, shorter = linear(4, 1), linear(4, 1)
    with pytest.raises(DivergenceError) as caught:
        grow(net, 100)
    error = caught.value
    assert 2 < error.epoch < 100
    assert net.epoch == error.epoch - 1
    assert error.history["epoch"] == list(range(1, error.epoch))
    grow(shorter, error.epoch - 1)
    assert bits(net) == bits(shorter)
    assert shorter.executor.snapshot().state.any()


def test_what_came_before_in_another_call_is_kept() -> None:
    net = linear(4, 1)
    grow(net, 2)
    with pytest.raises(DivergenceError) as first:
        grow(net, 100)
    at_once = linear(4, 1)
    with pytest.raises(DivergenceError) as second:
        grow(at_once, 100)
    assert first.value.epoch == second.value.epoch
    assert first.value.step == second.value.step
    assert first.value.history["epoch"] == list(range(3, first.value.epoch))
    assert bits(net) == bits(at_once)


def test_training_can_go_on_afterwards() -> None:
    net, undisturbed = linear(4, 1), linear(4, 1)
    for one in (net, undisturbed):
        one.fit(X, QUANTITIES, optimizer="sgd", epochs=2)
    before = net.parameters
    with pytest.raises(DivergenceError):
        net.fit(X, QUANTITIES, optimizer=SGD(1e30), batch_size=4, epochs=2)
    assert net.parameters.tobytes() == before.tobytes()
    history = net.fit(X, QUANTITIES, optimizer="sgd", epochs=2)
    undisturbed.fit(X, QUANTITIES, epochs=2)
    assert history["epoch"] == [3, 4]
    assert net.parameters.tobytes() == undisturbed.parameters.tobytes()


def at_the_end(dtype: str = "float32") -> tuple[Network, dict[str, Any]]:
    """Nothing happens until the last step of the epoch, which takes the weights out of range."""
    net = linear(4, 1, dtype=dtype)
    features, targets = np.zeros((12, 4)), np.zeros(12)
    features[8:], targets[8:] = 1, -100
    rate = float(np.finfo(dtype).max) / 10
    options = {"optimizer": SGD(rate), "batch_size": 4, "shuffle": False, "epochs": 1}
    return net, {"X": features, "y": targets, **options}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_overflow_in_the_last_step_of_the_last_epoch(dtype: str) -> None:
    net, arguments = at_the_end(dtype)
    before = bits(net)
    with pytest.raises(DivergenceError, match="epoch 1, step 3 of 3, at layer 1") as caught:
        net.fit(**arguments)
    assert (caught.value.epoch, caught.value.step, caught.value.layer) == (1, 3, 1)
    assert "weights" in str(caught.value)
    assert bits(net) == before


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_overflow_in_the_last_step_with_validation(dtype: str) -> None:
    net, arguments = at_the_end(dtype)
    before = bits(net)
    with pytest.raises(DivergenceError, match="epoch 1, step 3 of 3"):
        net.fit(**arguments, validation=(arguments["X"], arguments["y"]))
    assert bits(net) == before


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e30), ("float64", 1e200)])
def test_validation_rows_that_overflow(dtype: str, size: float) -> None:
    """The training rows are fine; only the loss of the validation rows leaves the range."""
    net = linear(4, 1, dtype=dtype)
    far = (X * np.float64(size), QUANTITIES)
    with pytest.raises(DivergenceError, match="loss") as caught:
        net.fit(X, QUANTITIES, optimizer=SGD(0.01), epochs=1, validation=far)
    assert caught.value.layer is None
    assert net.epoch == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_first_bad_layer_is_named(layer: int, dtype: str) -> None:
    net = linear(4, 5, 6, 3, dtype=dtype, loss="mae")
    half = float(np.finfo(dtype).max) / 2
    vector = np.ones(net.parameter_count)
    _, begin, _ = net.blocks()[2 * (layer - 1)]
    vector[begin] = half
    net.parameters = vector
    with pytest.raises(DivergenceError) as caught:
        net.fit(np.full((12, 4), 10.0), np.zeros((12, 3)), optimizer=SGD(1e-3), epochs=1)
    error = caught.value
    assert (error.epoch, error.step, error.layer) == (1, 1, layer)
    assert f"layer {layer} (Dense({net.layers[layer - 1].inputs}" in str(error)
    assert "its outputs" in str(error)


def test_a_loss_out_of_range_has_no_layer() -> None:
    net = linear(4, 1)
    net.parameters = [1e30, 0, 0, 0, 0]
    with pytest.raises(DivergenceError, match="the loss became") as caught:
        net.fit(np.ones((12, 4)), QUANTITIES, optimizer=SGD(1e-3), epochs=1)
    assert caught.value.layer is None


def test_divergence_with_momentum_and_adam_clears_their_state() -> None:
    for optimizer in (SGD(1e30, momentum=0.9), Adam(1e38)):
        net = linear(4, 5, 1)
        before = net.parameters
        with pytest.raises(DivergenceError):
            net.fit(X, QUANTITIES * 100, optimizer=optimizer, batch_size=4, epochs=5)
        assert net.parameters.tobytes() == before.tobytes()
        assert not net.executor.snapshot().state.any()


def test_train_reports_divergence() -> None:
    with pytest.raises(DivergenceError, match=r"learning rate 1e\+30"):
        fastnet.train(optimizer="sgd", learning_rate=1e30, epochs=1, backend="numpy")


# -- callbacks ------------------------------------------------------------------------------------


def test_a_callback_ends_the_training() -> None:
    seen: list[EpochEnd] = []

    def enough(end: EpochEnd) -> None:
        seen.append(end)
        if end.epoch == 2:
            end.stop("good enough")

    net = classifier()
    history = net.fit(X, LABELS, epochs=5, callbacks=[enough, seen.append])
    assert history["epoch"] == [1, 2]
    assert len(seen) == 4
    assert seen[-1].stop_reason == "good enough"
    assert seen[0].stop_reason is None
    assert bits(net) == bits_after(2)
    net.fit(X, LABELS, epochs=3)
    assert bits(net) == bits_after(5)


def test_a_callback_sees_the_network_of_that_epoch() -> None:
    def look(end: EpochEnd) -> None:
        accuracy = end.network.evaluate(X, LABELS)["accuracy"]
        assert accuracy == end.history["validation_accuracy"][-1]

    net = classifier()
    net.fit(X, LABELS, epochs=3, validation=(X, LABELS), callbacks=[look])
    assert bits(net) == bits_after(3)


def test_a_callback_that_raises_leaves_a_finished_epoch() -> None:
    def fail(end: EpochEnd) -> None:
        if end.epoch == 3:
            raise RuntimeError("no more disk")

    net = classifier()
    with pytest.raises(RuntimeError, match="no more disk"):
        net.fit(X, LABELS, epochs=5, callbacks=[fail])
    assert bits(net) == bits_after(3)
    net.fit(X, LABELS, epochs=2)
    assert bits(net) == bits_after(5)


# -- Ctrl-C in this process -----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c() -> Iterator[None]:
    """Also where the tests run in the background, with the signal ignored; children inherit it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c_after(epoch: int, times: int = 1) -> Callable[[EpochEnd], None]:
    def press(end: EpochEnd) -> None:
        if end.epoch == epoch:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return press


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_between_epochs(times: int) -> None:
    net = classifier()
    with pytest.raises(TrainingInterrupted, match=r"keeps 2 finished epoch\(s\)") as caught:
        net.fit(X, LABELS, epochs=5, callbacks=[ctrl_c_after(2, times)])
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.network is net
    assert caught.value.history["epoch"] == [1, 2]
    assert bits(net) == bits_after(2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    net.fit(X, LABELS, epochs=3)
    assert bits(net) == bits_after(5)


class PressesCtrlC(SeedProvider):
    """Presses Ctrl-C when the third epoch asks for its order of rows."""

    def order(self, epoch: int, rows: int) -> np.ndarray:
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)
        return super().order(epoch, rows)


@pytest.mark.parametrize("epochs", [3, 5])
def test_ctrl_c_within_an_epoch(epochs: int) -> None:
    net = classifier(seed=PressesCtrlC(0))
    with pytest.raises(TrainingInterrupted) as caught:
        net.fit(X, LABELS, epochs=epochs, batch_size=4)
    assert caught.value.history["epoch"] == [1, 2]
    assert bits(net) == bits_after(2, batch_size=4)


def test_ctrl_c_in_the_first_epoch_leaves_the_network_untrained() -> None:
    class AtOnce(SeedProvider):
        def order(self, epoch: int, rows: int) -> np.ndarray:
            signal.raise_signal(signal.SIGINT)
            return super().order(epoch, rows)

    net = classifier(seed=AtOnce(0))
    before = net.parameters
    with pytest.raises(TrainingInterrupted, match=r"keeps 0 finished epoch\(s\)") as caught:
        net.fit(X, LABELS, epochs=2, batch_size=4)
    assert len(caught.value.history) == 0
    assert net.parameters.tobytes() == before.tobytes()


def test_ctrl_c_after_the_last_epoch_is_not_swallowed() -> None:
    net = classifier()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, LABELS, epochs=2, callbacks=[ctrl_c_after(2)])
    assert bits(net) == bits_after(2)


def test_ctrl_c_beside_a_stop_is_not_swallowed() -> None:
    net = classifier()

    def stop_too(end: EpochEnd) -> None:
        if end.epoch == 2:
            end.stop()

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, LABELS, epochs=5, callbacks=[ctrl_c_after(2), stop_too])
    assert bits(net) == bits_after(2)


def test_a_handler_of_the_program_stays_in_place() -> None:
    heard: list[int] = []

    def own(number: int, frame: object) -> None:
        heard.append(number)

    signal.signal(signal.SIGINT, own)
    in_place: list[bool] = []
    net = classifier()
    history = net.fit(
        X,
        LABELS,
        epochs=3,
        callbacks=[
            lambda end: in_place.append(signal.getsignal(signal.SIGINT) is own),
            ctrl_c_after(2),
        ],
    )
    assert history["epoch"] == [1, 2, 3]
    assert heard == [signal.SIGINT]
    assert in_place == [True] * 3
    assert signal.getsignal(signal.SIGINT) is own


def test_a_handler_that_raises_ends_the_training_with_its_own_error() -> None:
    def own(number: int, frame: object) -> None:
        raise LookupError("the program's own way out")

    signal.signal(signal.SIGINT, own)
    net = classifier()
    with pytest.raises(LookupError, match="own way out"):
        net.fit(X, LABELS, epochs=5, callbacks=[ctrl_c_after(2)])
    assert bits(net) == bits_after(2)


def test_the_handler_is_back_after_every_way_out() -> None:
    def fail(end: EpochEnd) -> None:
        raise RuntimeError

    def during(end: EpochEnd) -> None:
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler

    classifier().fit(X, LABELS, epochs=1, callbacks=[during])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(RuntimeError):
        classifier().fit(X, LABELS, epochs=1, callbacks=[fail])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(DivergenceError):
        linear(4, 1).fit(X, QUANTITIES, optimizer=SGD(1e30), epochs=5)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_outside_the_main_thread_touches_no_handler() -> None:
    seen: list[Any] = []

    def work() -> None:
        net = classifier()
        net.fit(X, LABELS, epochs=2, callbacks=[lambda end: seen.append(handler())])
        seen.append(bits(net))

    def handler() -> Any:
        return signal.getsignal(signal.SIGINT)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert seen == [signal.default_int_handler] * 2 + [bits_after(2)]


def test_train_hands_over_the_network() -> None:
    with pytest.raises(TrainingInterrupted) as caught:
        fastnet.train(X, LABELS, hidden=5, epochs=5, backend="numpy", callbacks=[ctrl_c_after(3)])
    net = caught.value.network
    assert net.epoch == 3
    assert caught.value.history["epoch"] == [1, 2, 3]
    assert net.predict(X).shape == (12,)


# -- Ctrl-C in a process of its own ---------------------------------------------------------------

# Presses Ctrl-C from another thread once a training has begun: it has put in its own handler then.
PRESS = """
import os, signal, threading, time

def press():
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press, daemon=True).start()
"""


def python(script: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(map(str, [ROOT, ROOT / "kernels"]))
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths, "FASTNET_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_ctrl_c_ends_a_program() -> None:
    done = python(
        PRESS
        + """
import fastnet
try:
    fastnet.train(epochs=10**7, progress=False)
except fastnet.TrainingInterrupted as error:
    finished = len(error.history["epoch"])
    print(error.network.epoch == finished, error.network.is_finite())
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    raise
"""
    )
    assert done.stdout.split() == ["True", "True", "True"]
    assert "TrainingInterrupted: interrupted; the network keeps" in done.stderr
    assert done.returncode != 0


def test_ctrl_c_ends_the_command_with_130() -> None:
    done = python(PRESS + "from fastnet.cli import main; main(['train', '--epochs', '10000000'])")
    assert done.returncode == 130
    assert done.stderr.startswith("fastnet: interrupted after")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


# -- while the compiler runs ----------------------------------------------------------------------


def test_ctrl_c_does_not_wait_for_the_compiler() -> None:
    may_end, ended = threading.Event(), threading.Event()

    def compile_something() -> None:
        _thread.interrupt_main()
        may_end.wait(60)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        compiled._interruptibly(compile_something)
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(60)  # it goes on by itself


def test_what_the_compiler_returns_or_raises_comes_back() -> None:
    assert compiled._interruptibly(lambda: threading.current_thread().name) == "fastnet compiler"
    with pytest.raises(TimeoutError, match="of its own"):
        compiled._interruptibly(raise_timeout)
    with global_compiler_lock:  # another thread would wait for this one, for ever
        assert compiled._interruptibly(threading.current_thread) is threading.main_thread()


def raise_timeout() -> None:
    raise TimeoutError("of its own")


# Compiles for so long, as far as anybody can see, and presses Ctrl-C at once.
COMPILE = """
import _thread, sys, time
from fastnet.execution import compiler_thread

def compile_for(seconds):
    _thread.interrupt_main()
    time.sleep(seconds)
    print("compiled", flush=True)
"""


def test_a_program_ends_by_ctrl_c_beside_the_compiler() -> None:
    done = python(COMPILE + "compiler_thread.interruptibly(lambda: compile_for(100))")
    assert done.stdout == ""
    assert "KeyboardInterrupt" in done.stderr
    assert done.returncode == (-signal.SIGINT if os.name == "posix" else 130)


def test_a_command_ends_with_130_beside_the_compiler() -> None:
    done = python(
        COMPILE
        + """
from fastnet.exits import INTERRUPTED, with_exit_codes

@with_exit_codes("fastnet", lambda error: (INTERRUPTED, "interrupted"))
def command():
    print("begun")
    compiler_thread.interruptibly(lambda: compile_for(100))

command()
"""
    )
    assert (done.stdout, done.stderr) == ("begun\n", "fastnet: interrupted\n")
    assert done.returncode == 130


def test_a_program_that_goes_on_ends_with_its_own_code() -> None:
    done = python(
        COMPILE
        + """
try:
    compiler_thread.interruptibly(lambda: compile_for(1))
except KeyboardInterrupt:
    print("caught", compiler_thread.is_running(), flush=True)
sys.exit(5)
"""
    )
    assert done.stdout.split() == ["caught", "True", "compiled"]
    assert done.returncode == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_waits_for_the_compiler_of_another_thread() -> None:
    done = python(
        """
import os, threading, time
from numba.core.compiler_lock import global_compiler_lock
from fastnet.execution import compiled

def compile_on_this_thread():
    with global_compiler_lock:
        compiling.set()
        time.sleep(1)

compiling = threading.Event()
threading.Thread(target=compile_on_this_thread).start()
compiling.wait()
child = os.fork()
if not child:
    os._exit(0 if global_compiler_lock._lock.acquire(timeout=5) else 1)
print(os.waitpid(child, 0)[1], global_compiler_lock._lock.acquire(timeout=5))
"""
    )
    assert done.stdout.split() == ["0", "True"], done.stderr
