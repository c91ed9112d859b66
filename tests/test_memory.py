"""Memory that runs out: what was finished stays, and what ends says from where to go on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import LIMIT, environment

import fastnet
from fastnet import Dense, Network, atomic, cli, exits, fitting, tensorfile
from fastnet.checkpoints import found_in, saving

needs_limits = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs Linux's limits"
)
# Grants a process so much address space more than it has. What is left of it cannot be used up by
# chance: the arrays that are to fail are larger, and all others far smaller.
ALLOW = """
import re, resource

def allow(more):
    now = int(re.search(r"VmSize:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) << 10
    none = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (none if more is None else now + (more << 20), none))
"""


def python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ALLOW + script, *map(str, arguments)],
        env=environment(OPENBLAS_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


# -- real limits ----------------------------------------------------------------------------------

BEGINNING = """
import numpy as np
import fastnet

def network():
    layers = [fastnet.Dense(4, 20_000, "tanh"), fastnet.Dense(20_000, 1)]
    return fastnet.Network(layers, loss="mse", backend="numpy", preparation="standard")

X = np.random.default_rng(0).normal(size=(1024, 4))
net, other = network(), network()
before = net.parameters
allow(50)  # a layer's outputs take 80
try:
    net.fit(X, X[:, 0], batch_size=None, epochs=2)
except MemoryError as error:
    print(error, error.__notes__)
else:
    raise SystemExit("it had enough")
allow(None)
assert (net.parameters == before).all() and net.epoch == 0 and not net.preparation.is_learned
assert net.fit(X[:9], X[:9, 0], epochs=2) == other.fit(X[:9], X[:9, 0], epochs=2)
assert (net.parameters == other.parameters).all()
"""


@needs_limits
def test_too_little_to_begin_with() -> None:
    done = python(BEGINNING)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Unable to allocate" in done.stdout
    assert "the network keeps 0 finished epoch(s)" in done.stdout


MIDWAY = """
import sys
import weakref
import numpy as np
import fastnet

def network():
    layers = [fastnet.Dense(5000, 2000, "tanh"), fastnet.Dense(2000, 1)]  # 40 MB of parameters
    return fastnet.Network(layers, loss="mse", backend="numpy")

def fit(net, **options):
    return net.fit(X, X[:, 0], epochs=4, optimizer=fastnet.SGD(1e-4, 0.9), **options)

X = np.random.default_rng(0).normal(size=(16, 5000))
seen = []
whole, net, resumed = network(), network(), network()
expected = fit(whole, callbacks=[lambda end: seen.append(end.network.parameters)])
checkpoint = fastnet.Checkpoints(sys.argv[1], keep=1)
try:
    fit(net, checkpoint=checkpoint, callbacks=[lambda end: end.epoch == 2 and allow(4)])
except MemoryError as error:
    print(*error.__notes__)
else:
    raise SystemExit("it had enough")
allow(None)
assert net.epoch == 2 and (net.parameters == seen[1]).all()
assert fit(resumed, checkpoint=checkpoint, resume="auto") == expected
assert (resumed.parameters == whole.parameters).all()
"""


@needs_limits
def test_too_little_for_a_checkpoint(tmp_path: Path) -> None:
    done = python(MIDWAY, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    newest = tmp_path / "epoch-000001.safetensors"
    assert f"the network keeps 2 finished epoch(s) resume goes on from {newest}" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "epoch-000004.safetensors",
    ]


COMMAND = """
import sys
import weakref
import pandas  # before there is a limit
from fastnet import cli
from fastnet.checkpoints import saving

parts = saving.parts

def of_third(network, *rest):
    if network.epoch == 3:
        allow(4)
    return parts(network, *rest)

when, more, *arguments = sys.argv[1:]
if when == "at the third":
    saving.parts = of_third
else:
    allow(int(more))
cli.main(arguments)
"""


def ran_out(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command says whose memory ran out."""
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    said = done.stderr.splitlines()[-1]
    assert said.startswith("fastnet: memory ran out: ")
    assert said.endswith("; make room, and try again")
    return said


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of few rows with many features."""
    path = tmp_path_factory.mktemp("wide") / "wide.npz"
    X = np.random.default_rng(0).normal(size=(20, 5000))
    np.savez(path, X=X, y=X[:, 0])
    return path


OPTIONS = ["train", "--backend", "numpy", "--json"]
# 40 MB of parameters.
LARGE = [*OPTIONS, "--hidden", "2000", "--optimizer", "sgd(1e-6)", "--epochs", "4"]


@needs_limits
def test_a_command_without_room_for_a_checkpoint(tmp_path: Path, wide: Path) -> None:
    folder, model, other = tmp_path / "checkpoints", tmp_path / "model", tmp_path / "other"
    options = [*LARGE, str(wide), "--checkpoint", str(folder)]
    said = ran_out(python(COMMAND, "at the third", 0, *options))
    newest = folder / "epoch-000002.safetensors"
    assert f"; resume goes on from {newest};" in said
    assert "the network keeps" not in said  # it is gone with the command
    assert found_in(folder)[-1] == newest
    assert {path.suffix for path in folder.iterdir()} == {".safetensors"}
    # In processes of the same kind: NumPy's BLAS adds up otherwise with other threads.
    for given in ([*options, "--resume", "--save", model], [*LARGE, wide, "--save", other]):
        done = python(COMMAND, "now", 10_000, *given)
        assert done.returncode == 0, done.stderr
    assert (parameters(model) == parameters(other)).all()


@needs_limits
@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_a_command_without_room_for_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    folder, path = tmp_path / "checkpoints", tmp_path / f"rows.{kind}"
    options = [*OPTIONS, "--checkpoint", str(folder), "--epochs"]
    run(capsys, *options, "1")
    content = {file: file.read_bytes() for file in folder.iterdir()}
    rows = np.zeros((200_000, 100), np.float32)
    if kind == "npz":
        np.savez_compressed(path, X=rows, y=rows[:, 0])
    else:
        heading = ",".join(f"c{i}" for i in range(100))
        path.write_text(f"{heading}\n" + f"{'0,' * 99}1\n" * 100_000)
    of_kind = ["--label", "c99"] if kind == "csv" else []
    said = ran_out(python(COMMAND, "now", 40, *options, "2", "--resume", *of_kind, path))
    assert f"; --resume goes on from {folder / 'epoch-000001.safetensors'};" in said
    assert {file: file.read_bytes() for file in folder.iterdir()} == content


@needs_limits
def test_a_command_without_room_to_train(tmp_path: Path) -> None:
    options = ["--hidden", "20000", "--batch-size", "all", "--checkpoint", str(tmp_path / "new")]
    said = ran_out(python(COMMAND, "now", 150, *OPTIONS, *options))
    assert said.endswith("; make room, and try again")
    assert list((tmp_path / "new").iterdir()) == []


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments])
    assert ended.value.code in (0, None), capsys.readouterr().err


def parameters(path: Path) -> np.ndarray:
    return fastnet.load(path, backend="numpy").parameters


# -- every place where it may run out -------------------------------------------------------------

X = np.random.default_rng(5).normal(size=(40, 3))
EPOCHS = 5


def network(backend: str) -> Network:
    layers = [Dense(3, 4, "tanh"), Dense(4, 1)]
    return Network(layers, loss="mse", backend=backend, preparation="standard")


def fit(net: Network, **options: Any) -> fastnet.History:
    stopping = fastnet.EarlyStopping(EPOCHS, restore_best=False)
    callbacks = [*options.pop("callbacks", ()), stopping]
    return net.fit(X, X[:, 0], epochs=EPOCHS, validation=0.2, callbacks=callbacks, **options)


def failing(function: Callable[..., Any], at: int) -> Callable[..., Any]:
    """Let memory run out in the call with this number, counted from 0."""
    calls = []

    def called(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == at + 1:
            raise MemoryError
        return function(*arguments, **options)

    return called


PLACES = [
    (Network, "state_dict"),
    (Network, "is_finite"),
    (Network, "scores"),
    (tensorfile, "write"),
    (atomic, "link"),
    (atomic, "_create"),
    (atomic.os, "fsync"),
    (atomic.os, "replace"),
    (fitting, "_order"),
    (fitting, "_scales"),
    (fitting, "_summary"),
]
OF_EXECUTORS = ["begin_training", "begin_epoch", "run_steps", "epoch_sums", "empty", "snapshot"]


@pytest.mark.parametrize("at", [0, 1, 4, 7])
@pytest.mark.parametrize("place", [*PLACES, *OF_EXECUTORS])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_wherever_it_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, place: Any, at: int
) -> None:
    seen = [network(backend).parameters]
    whole, net, resumed = network(backend), network(backend), network(backend)
    expected = fit(whole, callbacks=[lambda end: seen.append(end.network.parameters)])
    owner, name = (type(net.executor), place) if isinstance(place, str) else place
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, failing(getattr(owner, name), at))
        try:
            fit(net, checkpoint=tmp_path)
        except MemoryError:
            np.testing.assert_array_equal(net.parameters, seen[net.epoch])
            assert (net.training or {"epochs": 0})["epochs"] == net.epoch
            assert net.preparation is not None
            assert net.preparation.is_learned == bool(net.epoch)
        else:  # no such call, or one whose failure is no reason to end
            assert net.epoch == EPOCHS
    assert {path.suffix for path in tmp_path.iterdir()} <= {".safetensors"}
    for path in tmp_path.iterdir():
        epoch = fastnet.load(path, backend="numpy").epoch
        np.testing.assert_array_equal(parameters(path), seen[epoch])
    for found in found_in(tmp_path)[-1:]:
        assert int(found.name[6:12]) >= net.epoch - 1
    assert fit(resumed, checkpoint=tmp_path, resume="auto") == expected
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    newest = found_in(tmp_path)[-1]
    best = tmp_path / "best.safetensors"
    losses = expected["validation_loss"]
    assert newest.name == f"epoch-{EPOCHS:06d}.safetensors"
    assert fastnet.load(best, backend="numpy").epoch == 1 + losses.index(min(losses))


# -- what commands make of it ---------------------------------------------------------------------


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, told: str = "") -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*OPTIONS, "--epochs", "3", *arguments])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    assert out.startswith(told) if told else out == ""
    return err


def none_left(*_: Any, **__: Any) -> Any:
    raise MemoryError


def test_what_is_finished_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = tmp_path / "checkpoints", tmp_path / "model"
    monkeypatch.setattr(saving, "parts", failing(saving.parts, 2))  # the first is tried beforehand
    said = fails(capsys, "--checkpoint", str(folder), "--save", str(model))
    assert f"saved what was finished in {model}\n" in said
    assert fastnet.load(model, backend="numpy").epoch == 2
    assert f"resume goes on from {folder / 'epoch-000001.safetensors'}; make room" in said


def test_what_is_finished_cannot_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = tmp_path / "checkpoints", tmp_path / "model"
    monkeypatch.setattr(Network, "save", none_left)
    monkeypatch.setattr(saving, "parts", failing(saving.parts, 2))
    said = fails(capsys, "--checkpoint", str(folder), "--save", str(model))
    assert "what was finished cannot be saved: memory ran out\n" in said
    assert f"resume goes on from {folder / 'epoch-000001.safetensors'}; make room" in said


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device")])
def test_a_finished_training_that_cannot_be_saved(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    def full(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Network, "save", full)
    folder = tmp_path / "checkpoints"
    told = '{"test_' if isinstance(error, OSError) else ""
    arguments = ("--checkpoint", str(folder), "--save", str(tmp_path / "model"))
    said = fails(capsys, *arguments, told=told)
    assert f"; --resume goes on from {folder / 'epoch-000003.safetensors'}" in said
    assert "instead" not in said


def test_a_network_for_which_there_is_no_place_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save, wanted = Network.save, tmp_path / "full" / "model.safetensors"
    wanted.parent.mkdir()

    def full(net: Network, path: Path) -> None:
        if path == wanted:
            raise OSError(28, "No space left on device", str(path))
        save(net, path)

    monkeypatch.setattr(Network, "save", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = fails(capsys, "--save", str(wanted), told='{"test_')
    [kept] = tmp_path.glob("fastnet-*/model.safetensors")
    assert f"No space left on device: '{wanted}'; the network is in {kept} instead" in said
    assert fastnet.load(kept, backend="numpy").epoch == 3
    kept.unlink()
    monkeypatch.setattr(saving, "parts", failing(saving.parts, 2))
    said = fails(capsys, "--save", str(wanted), "--checkpoint", str(tmp_path / "c"))
    [kept] = tmp_path.glob("fastnet-*/model.safetensors")
    assert (
        f"what was finished cannot be saved: [Errno 28] No space left on device: '{wanted}'" in said
    )
    assert f"; the network is in {kept} instead\n" in said
    assert fastnet.load(kept, backend="numpy").epoch == 2


def test_telling_needs_no_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fastnet.data.loading.load_data", none_left)
    monkeypatch.setattr("rich.console.Console.print", none_left)
    assert fails(capsys) == "fastnet: memory ran out; make room, and try again\n"


def test_what_functions_held_is_let_go() -> None:
    held = []

    def inner() -> None:
        array = np.ones(3)
        held.append(weakref.ref(array))
        try:
            raise KeyError
        finally:
            raise MemoryError

    try:
        inner()
    except MemoryError as error:
        assert held[0]() is not None
        exits.let_go(error)
        assert held[0]() is None
