"""Checkpoints: a training that goes on comes to the bits of one that never ended."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnet
from fastnet import Checkpoints, EarlyStopping, atomic, tensorfile
from fastnet.checkpoints import file, found_in
from fastnet.execution import numba_executor

RNG = np.random.default_rng(11)
X = RNG.normal(size=(83, 5)) * [1, 10, 100, 0.1, 3]
Y = np.array(["no", "yes", "maybe"])[RNG.integers(0, 3, 83)]
BACKENDS = ["numpy", "numba"]
EPOCHS = 6


def network(backend: str = "numpy", **options: Any) -> fastnet.Network:
    layers = [fastnet.Dense(5, 7, "tanh"), fastnet.Dense(7, 3, "softmax")]
    given = {"loss": "categorical_crossentropy", "preparation": "standard", "seed": 4} | options
    return fastnet.Network(layers, backend=backend, **given)


def fit(net: fastnet.Network, **options: Any) -> fastnet.History:
    given = {"epochs": EPOCHS, "batch_size": 8, "validation": 0.2} | options
    return net.fit(
        options.pop("X", X),
        options.pop("y", Y),
        **{name: value for name, value in given.items() if name not in ("X", "y")},
    )


def same(a: fastnet.Network, b: fastnet.Network) -> bool:
    state = [net.executor.optimizer_state for net in (a, b)]
    return (
        np.array_equal(a.parameters, b.parameters)
        and np.array_equal(*state)
        and a.executor.position().step == b.executor.position().step
        and a.epoch == b.epoch
        and np.array_equal(a.forward(X), b.forward(X))
        and a.training == b.training
    )


class Stop(Exception):
    pass


def dies_after(epoch: int) -> Any:
    def die(end: Any) -> None:
        if end.epoch == epoch + 1:  # in the next one, before it is written
            raise Stop

    return die


@pytest.mark.parametrize("optimizer", ["adam", fastnet.SGD(0.05, 0.9, True), "sgd"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_bits(tmp_path: Path, backend: str, dtype: str, optimizer: Any) -> None:
    whole = network(backend, dtype=dtype)
    expected = fit(whole, optimizer=optimizer)
    for ended in (1, 2, EPOCHS - 1):
        folder = tmp_path / str(ended)
        with pytest.raises(Stop):
            fit(
                network(backend, dtype=dtype),
                optimizer=optimizer,
                checkpoint=folder,
                callbacks=[dies_after(ended)],
            )
        resumed = network(backend, dtype=dtype)
        history = fit(resumed, optimizer=optimizer, checkpoint=folder, resume="auto")
        assert history == expected
        assert history.rows == expected.rows
        assert len(history.seconds) == EPOCHS
        assert same(resumed, whole)


@pytest.mark.parametrize("weights", [None, RNG.random(83)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_bits_from_within_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, weights: Any
) -> None:
    monkeypatch.setattr(numba_executor, "SECONDS_PER_CALL", 0)  # a step a call
    options = {"sample_weight": weights, "epochs": 3}
    whole = network(backend)
    expected = fit(whole, **options)
    often = Checkpoints(tmp_path, every_minutes=1e-9, keep=1000)
    written = network(backend)
    assert fit(written, checkpoint=often, **options) == expected
    assert same(written, whole)  # writing changes nothing
    steps = [path for path in found_in(tmp_path) if "step" in path.name]
    assert len(steps) == 3 * 8
    for path in steps[:: max(1, len(steps) // 6)]:
        resumed = network(backend)
        assert fit(resumed, resume=path, **options) == expected
        assert same(resumed, whole)


def test_another_backend_goes_on(tmp_path: Path) -> None:
    whole = network()
    expected = fit(whole)
    with pytest.raises(Stop):
        fit(network(), checkpoint=tmp_path, callbacks=[dies_after(3)])
    resumed = network("numba")
    history = fit(resumed, checkpoint=tmp_path, resume="auto")
    np.testing.assert_allclose(resumed.parameters, whole.parameters, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(history["train_loss"], expected["train_loss"], rtol=1e-5)


def test_a_finished_training_trains_nothing(tmp_path: Path) -> None:
    net = network()
    expected = fit(net, checkpoint=tmp_path)
    content = {path: path.read_bytes() for path in tmp_path.iterdir()}
    again = network()
    assert fit(again, checkpoint=tmp_path, resume="auto") == expected
    assert same(again, net)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == content


def test_a_finished_training_may_get_more_epochs(tmp_path: Path) -> None:
    whole = network()
    expected = fit(whole, epochs=9)
    fit(network(), epochs=4, checkpoint=tmp_path)
    more = network()
    assert fit(more, epochs=9, checkpoint=tmp_path, resume="auto") == expected
    assert same(more, whole)


def test_resume_begins_where_there_is_nothing(tmp_path: Path) -> None:
    whole, fresh = network(), network()
    expected = fit(whole)
    assert fit(fresh, checkpoint=tmp_path / "new" / "one", resume="auto") == expected
    assert same(fresh, whole)


def test_a_trained_network_begins_a_training_with_checkpoints(tmp_path: Path) -> None:
    whole, parts = network(), network()
    for net in (whole, parts):
        fit(net, epochs=2)
    expected = fit(whole, epochs=4)
    with pytest.raises(Stop):
        fit(parts, epochs=4, checkpoint=tmp_path, callbacks=[dies_after(4)])
    resumed = network()
    assert fit(resumed, epochs=4, checkpoint=tmp_path, resume="auto") == expected
    assert same(resumed, whole)


def test_which_remain(tmp_path: Path) -> None:
    fit(network(), checkpoint=Checkpoints(tmp_path, keep=2))
    assert [path.name for path in found_in(tmp_path)] == [
        "epoch-000005.safetensors",
        "epoch-000006.safetensors",
    ]
    assert (tmp_path / "best.safetensors").exists()


def test_every_so_many_epochs_and_the_last(tmp_path: Path) -> None:
    fit(network(), epochs=7, checkpoint=Checkpoints(tmp_path, every_epochs=3, keep=9))
    numbers = [path.name[6:12] for path in found_in(tmp_path)]
    assert numbers == ["000003", "000006", "000007"]
    fit(network(), epochs=2, checkpoint=Checkpoints(tmp_path / "last", every_epochs=None))
    assert [path.name[6:12] for path in found_in(tmp_path / "last")] == ["000002"]


def test_the_best_is_kept(tmp_path: Path) -> None:
    net = network()
    parameters: list[np.ndarray] = []
    history = fit(
        net,
        epochs=30,
        optimizer=fastnet.Adam(0.1),
        checkpoint=Checkpoints(tmp_path, keep=1),
        callbacks=[lambda end: parameters.append(end.network.parameters)],
    )
    losses = history["validation_loss"]
    best = losses.index(min(losses))
    assert best < 29
    loaded = fastnet.load(tmp_path / "best.safetensors", backend="numpy")
    np.testing.assert_array_equal(loaded.parameters, parameters[best])
    fit(network(), checkpoint=Checkpoints(tmp_path / "none", keep_best=False))
    assert not (tmp_path / "none" / "best.safetensors").exists()


@pytest.mark.parametrize("linked", [True, False])
def test_what_the_best_and_the_newest_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    """One file with two names, where there are such; what comes later changes one of them."""
    if not linked:

        def refused(*paths: Any) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refused)
    best = tmp_path / "best.safetensors"
    seen = []

    def look(end: Any) -> None:  # at what the epoch before has left
        if found_in(tmp_path):
            newest, losses = found_in(tmp_path)[-1], end.history["validation_loss"][:-1]
            if losses.index(min(losses)) == len(losses) - 1:
                assert best.samefile(newest) == linked
            seen.append(best.samefile(newest))
            assert fastnet.load(newest, backend="numpy").epoch == end.epoch - 1
            assert fastnet.load(best, backend="numpy").epoch == 1 + losses.index(min(losses))
            assert len(list(tmp_path.iterdir())) <= 1 + 3

    given = {"epochs": 30, "optimizer": fastnet.Adam(0.1)}
    fit(network(), checkpoint=tmp_path, callbacks=[look], **given)
    assert set(seen) == ({True, False} if linked else {False})


def test_a_checkpoint_is_a_model(tmp_path: Path) -> None:
    net = network()
    fit(net, checkpoint=tmp_path)
    for backend in BACKENDS:
        loaded = fastnet.load(found_in(tmp_path)[-1], backend=backend)
        assert (loaded.predict(X) == net.predict(X)).all()


# -- what callbacks remember ----------------------------------------------------------------------


@pytest.mark.parametrize("ended", [1, 4, 9])
def test_early_stopping_goes_on(tmp_path: Path, ended: int) -> None:
    options: dict[str, Any] = {"epochs": 300, "optimizer": fastnet.Adam(0.05)}
    whole, stopping = network(), EarlyStopping(5)
    expected = fit(whole, callbacks=[stopping], **options)
    assert ended < len(expected.seconds) < 300
    with pytest.raises(Stop):
        fit(
            network(),
            checkpoint=tmp_path,
            callbacks=[EarlyStopping(5), dies_after(ended)],
            **options,
        )
    for _ in range(2):  # the second time nothing is left to train
        resumed, other = network(), EarlyStopping(5)
        history = fit(resumed, checkpoint=tmp_path, resume="auto", callbacks=[other], **options)
        assert history == expected
        assert (other.best, other.best_epoch) == (stopping.best, stopping.best_epoch)
        np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    with pytest.raises(ValueError, match="callbacks EarlyStopping remember, and there are none"):
        fit(network(), checkpoint=tmp_path, resume="auto", **options)


# -- what is refused ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    fit(network(), epochs=2, checkpoint=folder)
    return folder


def other_layers() -> fastnet.Network:
    layers = [fastnet.Dense(5, 8, "tanh"), fastnet.Dense(8, 3, "softmax")]
    return fastnet.Network(
        layers,
        loss="categorical_crossentropy",
        preparation="standard",
        seed=4,
        backend="numpy",
    )


@pytest.mark.parametrize(
    ("net", "options", "names"),
    [
        (other_layers, {}, ["layers was Dense(5, 7", "is Dense(5, 8"]),
        (lambda: network(seed=5), {}, ["seed was 4 and is 5"]),
        (lambda: network(dtype="float64"), {}, ["dtype was float32 and is float64"]),
        (lambda: network(preparation="min_max"), {}, ["preparation was standard and is min_max"]),
        (lambda: network(loss="mse"), {}, ["loss was categorical_crossentropy and is mse"]),
        (network, {"batch_size": 9}, ["batch_size was 8 and is 9"]),
        (network, {"optimizer": fastnet.Adam(0.002)}, ["optimizer was adam", "0.002"]),
        (network, {"shuffle": False}, ["shuffle was True and is False"]),
        (network, {"validation": 0.3}, ["validation was 0.2 and is 0.3"]),
        (network, {"validation": None}, ["validation was 0.2 and is None"]),
        (network, {"validation": (X[:9], Y[:9])}, ["validation was 0.2 and is rows"]),
        (network, {"X": X + 1}, ["features of the rows was (83, 5) float64, SHA-256"]),
        (network, {"y": np.roll(Y, 1)}, ["targets of the rows was (83,) int32"]),
        (network, {"y": np.char.add(Y, "!")}, ["targets of the rows"]),
        (network, {"sample_weight": np.ones(83)}, ["weights of the rows was none and is"]),
    ],
)
def test_another_training_is_refused(
    written: Path, net: Any, options: Any, names: list[str]
) -> None:
    made = net()
    before = made.parameters
    with pytest.raises(ValueError, match="is of another training: ") as caught:
        fit(made, checkpoint=written, resume="auto", **options)
    assert all(name in str(caught.value) for name in names), caught.value
    np.testing.assert_array_equal(made.parameters, before)
    assert made.epoch == 0
    assert len(list(written.iterdir())) == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"checkpoint": "X", "resume": None},
            FileExistsError,
            "go on from that one with resume='auto'",
        ),
        ({"resume": "auto"}, ValueError, "there is no checkpoint folder to look in"),
        ({"resume": "nothing.safetensors"}, FileNotFoundError, "and there is no such file"),
        ({"resume": True}, TypeError, "resume is True; expected 'auto', a checkpoint's file"),
        ({"checkpoint": 3}, TypeError, "checkpoint is 3; expected a folder"),
        ({"checkpoint": ""}, TypeError, "checkpoint is ''; expected a folder"),
    ],
)
def test_wrong_arguments(written: Path, options: Any, error: Any, message: str) -> None:
    if options.get("checkpoint") == "X":
        options = {**options, "checkpoint": written}
    net = network()
    with pytest.raises(error, match=message):
        fit(net, **options)
    assert net.epoch == 0


@pytest.mark.parametrize(
    "options",
    [
        {"every_epochs": 0},
        {"every_minutes": 0},
        {"every_minutes": "1"},
        {"keep": 0},
        {"keep_best": 1},
    ],
)
def test_wrong_settings(tmp_path: Path, options: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        Checkpoints(tmp_path, **options)


def test_folders_without_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="a folder without checkpoints"):
        fit(network(), resume=tmp_path)
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(OSError, match="file"):
        fit(network(), checkpoint=path)


def test_a_model_is_no_checkpoint(tmp_path: Path) -> None:
    net = network()
    fit(net, epochs=1)
    net.save(tmp_path / "model.safetensors")
    with pytest.raises(fastnet.ModelFileError, match="is a model and no checkpoint"):
        fit(network(), resume=tmp_path / "model.safetensors")


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    fit(network(), checkpoint=tmp_path)
    newest = found_in(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-10])
    net = network()
    with pytest.raises(fastnet.ModelFileError, match="epoch-000006"):
        fit(net, checkpoint=tmp_path, resume="auto")
    assert net.epoch == 0
    newest.unlink()
    whole = network()
    assert fit(net, checkpoint=tmp_path, resume="auto") == fit(whole)
    assert same(net, whole)


def test_every_byte_of_the_header_flipped(tmp_path: Path) -> None:
    fit(network(), epochs=1, checkpoint=tmp_path)
    path = found_in(tmp_path)[-1]
    content = path.read_bytes()
    of = checkpoint_identity(path)
    end = 8 + int.from_bytes(content[:8], "little")
    for place in range(0, end, 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            saved = file.read(path, of)
        except ValueError:  # damaged, or of another training
            continue
        assert saved.network.parameter_count == network().parameter_count


def edited(path: Path, header: Any = None, tensors: Any = None) -> None:
    """Change entries and arrays of a checkpoint; None takes them out."""
    arrays, metadata = tensorfile.read(path)
    entries = json.loads(metadata[file.KEY]) | (header or {})
    arrays |= tensors or {}
    out = [name for name, value in (header or {}).items() if value is None]
    metadata[file.KEY] = json.dumps({k: v for k, v in entries.items() if k not in out})
    tensorfile.write(path, {k: v for k, v in arrays.items() if v is not None}, metadata)


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        ({"format": 2}, None, "upgrade it"),
        ({"identity": None}, None, "'identity' is missing"),
        ({"identity": 3}, None, "'identity' is 3"),
        ({"rows": 0}, None, "'rows' is 0"),
        ({"optimizer_step": -1}, None, "'optimizer_step' is -1"),
        ({"steps": "1"}, None, "'steps' is '1'"),
        ({"steps": 12}, None, "12 steps of an epoch"),
        ({"stop_reason": 3}, None, "'stop_reason' is 3"),
        ({"history": ["train_loss", "nothing"]}, None, "'training.history.nothing' is missing"),
        ({"callbacks": [3]}, None, "'callbacks'"),
        ({"callbacks": [{"class": "EarlyStopping", "state": {}}]}, None, "there are none"),
        (None, {file.STATE: None}, "'training.optimizer_state' is missing"),
        (None, {file.STATE: np.zeros((2, 3))}, "or of another shape"),
        (None, {file.STATE: np.zeros((3, 66), "f")}, "3 vectors of the optimizer"),
        (None, {file.SECONDS: np.zeros(5)}, "of another shape"),
        (None, {"training.totals": np.zeros(3)}, "'training.totals' is missing, or of another"),
        (None, {"training.history.train_loss": np.array([np.nan])}, "NaN or infinite"),
        (None, {"layer_1.weights": None}, "layer_1.weights"),
    ],
)
def test_what_is_wrong_in_a_checkpoint(
    tmp_path: Path, header: Any, tensors: Any, message: str
) -> None:
    fit(network(), epochs=1, checkpoint=tmp_path)
    edited(found_in(tmp_path)[-1], header, tensors)
    net = network()
    before = net.parameters
    with pytest.raises(ValueError, match=message):
        fit(net, resume=tmp_path)
    np.testing.assert_array_equal(net.parameters, before)
    assert net.epoch == 0


def test_a_callback_that_cannot_use_its_state(tmp_path: Path) -> None:
    fit(network(), epochs=1, checkpoint=tmp_path, callbacks=[EarlyStopping()])
    state = {"settings": EarlyStopping().state_dict()["settings"], "best": 1}
    edited(found_in(tmp_path)[-1], {"callbacks": [{"class": "EarlyStopping", "state": state}]})
    with pytest.raises(fastnet.ModelFileError, match="EarlyStopping cannot use its state"):
        fit(network(), resume=tmp_path, callbacks=[EarlyStopping()])


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ({}, {"monitor": "validation_accuracy"}),
        ({"monitor": "validation_accuracy"}, {}),
        ({"restore_best": False}, {}),
    ],
)
def test_a_callback_of_other_settings_is_refused(tmp_path: Path, then: Any, now: Any) -> None:
    """What it remembers as the best of one figure would be compared with another one."""
    fit(network(), epochs=2, checkpoint=tmp_path, validation=0.2, callbacks=[EarlyStopping(**then)])
    with pytest.raises(ValueError, match=r"the settings of EarlyStopping were .* and are ") as said:
        fit(network(), resume=tmp_path, validation=0.2, callbacks=[EarlyStopping(**now)])
    assert not isinstance(said.value, fastnet.ModelFileError)
    later = EarlyStopping(99, smallest_change=0.5, **then)  # these may be others
    fit(network(), epochs=3, resume=tmp_path, validation=0.2, callbacks=[later])


def test_the_best_network_of_another_training_is_not_replaced(tmp_path: Path) -> None:
    best = tmp_path / "best.safetensors"
    network().save(best)
    before = best.read_bytes()
    for resume in (None, "auto"):
        with pytest.raises(FileExistsError, match="is there already, of another training, and wou"):
            fit(network(), epochs=1, checkpoint=tmp_path, resume=resume)
    best.unlink()
    fit(network(seed=9), epochs=1, checkpoint=tmp_path)
    for path in found_in(tmp_path):
        path.unlink()
    before = best.read_bytes()
    with pytest.raises(FileExistsError, match=r"best\.safetensors is there already"):
        fit(network(), epochs=1, checkpoint=tmp_path)
    assert best.read_bytes() == before
    fit(network(seed=9), epochs=1, checkpoint=tmp_path)  # its own, which it comes to again
    assert best.read_bytes() != b""
    fit(network(), epochs=1, checkpoint=Checkpoints(tmp_path / "other", keep_best=False))


def test_two_trainings_in_one_folder_are_found_out(tmp_path: Path) -> None:
    other = network(seed=9)

    def begin_another(end: Any) -> None:
        if end.epoch == 1:
            fit(other, epochs=2, checkpoint=tmp_path)

    one = network()
    with pytest.raises(FileExistsError, match="another one writes its checkpoints into the same"):
        fit(one, epochs=3, checkpoint=tmp_path, callbacks=[begin_another])
    assert one.epoch == 1
    net = network(seed=9)
    fit(net, epochs=3, checkpoint=tmp_path, resume="auto")  # the other one's are whole
    assert net.epoch == 3


def test_what_has_a_checkpoint_s_name_and_is_no_file_is_passed_over(tmp_path: Path) -> None:
    fit(network(), epochs=1, checkpoint=tmp_path)
    (tmp_path / "epoch-000099.safetensors").mkdir()
    (tmp_path / "epoch-000098.safetensors").symlink_to(tmp_path / "nothing")
    net = network()
    fit(net, epochs=2, checkpoint=tmp_path, resume="auto")
    assert net.epoch == 2


def checkpoint_identity(path: Path) -> Any:
    return json.loads(tensorfile.read(path)[1][file.KEY])["identity"]


# -- Ctrl-C and disks that are full ---------------------------------------------------------------


def test_ctrl_c_within_an_epoch_keeps_its_steps(tmp_path: Path) -> None:
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals go to the main thread")
    whole = network()
    expected = fit(whole)
    net = network()
    run, calls = net.executor.run_steps, []

    def interrupted(begin: int, end: int) -> None:
        run(begin, end)
        calls.append(end)
        if len(calls) == 12:  # of the second epoch's steps, the third
            signal.raise_signal(signal.SIGINT)

    net.executor.run_steps = interrupted  # type: ignore[method-assign]
    with pytest.raises(fastnet.TrainingInterrupted, match="resume goes on from") as caught:
        fit(net, checkpoint=tmp_path)
    assert caught.value.checkpoint == tmp_path / "epoch-000001-step-000003.safetensors"
    assert caught.value.checkpoint == found_in(tmp_path)[-1]
    assert net.epoch == 1
    resumed = network()
    assert fit(resumed, checkpoint=tmp_path, resume="auto") == expected
    assert same(resumed, whole)


def test_a_checkpoint_that_cannot_be_written_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = network()
    expected = fit(whole)
    write = tensorfile.write

    def full(path: Path, *arguments: Any) -> None:
        if "000003" in path.name:
            raise OSError(28, "No space left on device", str(path))
        write(path, *arguments)

    monkeypatch.setattr(tensorfile, "write", full)
    monkeypatch.setattr(atomic, "link", lambda source, path: False)
    net = network()
    kept = r"cannot be written \(No space left on device\); .*epoch-000002.safetensors is whole"
    with pytest.raises(OSError, match=kept):
        fit(net, checkpoint=tmp_path)
    assert net.epoch == 3
    assert found_in(tmp_path)[-1].name == "epoch-000002.safetensors"
    monkeypatch.undo()
    resumed = network()
    assert fit(resumed, checkpoint=tmp_path, resume="auto") == expected
    assert same(resumed, whole)


def interrupted_at(net: fastnet.Network, step: int) -> None:
    """Have Ctrl-C pressed after so many calls of run_steps."""
    run, calls = net.executor.run_steps, []

    def pressed(begin: int, end: int) -> None:
        run(begin, end)
        calls.append(end)
        if len(calls) == step:
            signal.raise_signal(signal.SIGINT)

    net.executor.run_steps = pressed  # type: ignore[method-assign]


@pytest.mark.parametrize("from_within", [False, True])
def test_what_a_resumed_training_leaves_that_ends_at_once(
    tmp_path: Path, from_within: bool
) -> None:
    written = network()
    if from_within:
        interrupted_at(written, 12)
        with pytest.raises(fastnet.TrainingInterrupted):
            fit(written, checkpoint=tmp_path)
    else:
        fit(written, epochs=2, checkpoint=tmp_path)
    newest = found_in(tmp_path)[-1]
    kept = fastnet.load(newest, backend="numpy")
    net = network()
    interrupted_at(net, 2)
    with pytest.raises(
        fastnet.TrainingInterrupted, match=r"the network keeps what .*epoch-00000"
    ) as one:
        fit(net, checkpoint=tmp_path, resume="auto")
    assert one.value.network is net
    np.testing.assert_array_equal(net.parameters, kept.parameters)
    np.testing.assert_array_equal(net.predict(X), kept.predict(X))
    assert set(net.predict(X)) <= {"yes", "no", "maybe"}
    assert net.epoch == kept.epoch
    assert net.training == kept.training
    net.save(tmp_path / "model.safetensors")
    whole, resumed = network(), network()
    assert fit(resumed, checkpoint=tmp_path, resume="auto") == fit(whole)
    assert same(resumed, whole)


def test_what_killed_trainings_left_is_swept(tmp_path: Path) -> None:
    """Also beside names that no training writes again: a step of an epoch at which it ended."""
    fit(network(), epochs=2, checkpoint=tmp_path)
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    owner = f"{atomic._place()}-{int(child.stdout)}-0123abcd"
    names = ["epoch-000002-step-000003.safetensors", "best.safetensors", "a" * 40]
    for name in names:
        (tmp_path / f".{name}.{owner}.fastnet-tmp").write_bytes(b"half")
    alive = tmp_path / f".best.safetensors.{atomic._place()}-{os.getpid()}-0123abcd.fastnet-tmp"
    alive.write_bytes(b"half")
    fit(network(), epochs=3, checkpoint=tmp_path, resume="auto")
    assert [path for path in tmp_path.iterdir() if path.suffix != ".safetensors"] == [alive]


def test_trainings_are_not_mixed(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    fit(network(), epochs=3, checkpoint=one)
    fit(network(), epochs=3, checkpoint=other)
    before = {path: path.read_bytes() for path in one.iterdir()}
    for resume in (found_in(other)[-1], found_in(one)[0], other):
        with pytest.raises(FileExistsError, match="which would be mixed with new ones"):
            fit(network(), checkpoint=one, resume=resume)
    assert {path: path.read_bytes() for path in one.iterdir()} == before
    whole, resumed = network(), network()
    expected = fit(whole)
    assert fit(resumed, checkpoint=one, resume=found_in(one)[-1]) == expected
    third = tmp_path / "third"
    assert fit(network(), checkpoint=third, resume=found_in(other)[-1]) == expected
    assert [path.name[6:12] for path in found_in(third)] == ["000004", "000005", "000006"]


def test_older_checkpoints_beside_a_damaged_one_are_named(tmp_path: Path) -> None:
    fit(network(), checkpoint=tmp_path)
    found_in(tmp_path)[-1].write_bytes(b"nothing")
    with pytest.raises(fastnet.ModelFileError, match="to go on from epoch-000005"):
        fit(network(), checkpoint=tmp_path, resume="auto")


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"

    def remove(end: Any) -> None:
        if end.epoch == 3:
            shutil.rmtree(folder)

    net = network()
    with pytest.raises(FileNotFoundError, match=r"cannot be written .*; there is none before it"):
        fit(net, checkpoint=folder, callbacks=[remove])
    assert net.epoch == 3


def ends_at(epoch: int, disaster: Callable[[], object]) -> Callable[[Any], None]:
    def happen(end: Any) -> None:
        if end.epoch == epoch:
            disaster()

    return happen


def goes_on(folder: Path, net: fastnet.Network) -> None:
    """The network is as after its epoch, the files are whole, and resuming comes to the end."""
    whole, shorter, resumed = network(), network(), network()
    fit(shorter, epochs=net.epoch)
    assert same(net, shorter)
    for path in folder.iterdir():
        assert path.suffix == ".safetensors"
        fastnet.load(path, backend="numpy")
    assert fit(resumed, checkpoint=folder, resume="auto") == fit(whole)
    assert same(resumed, whole)


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    folder, away = tmp_path / "checkpoints", tmp_path / "away"

    def replace() -> None:
        folder.rename(away)
        folder.write_text("")

    net = network()
    with pytest.raises(NotADirectoryError, match=r"the folder to write into is a file"):
        fit(net, checkpoint=folder, callbacks=[ends_at(3, replace)])
    assert net.epoch == 3
    assert found_in(away)[-1].name == "epoch-000002.safetensors"
    goes_on(away, net)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, small."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=28k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_disk_that_is_full(disk: Path) -> None:
    """Until there is room for the file that is new, the older ones stay."""
    net = network()
    given = Checkpoints(disk, keep=100)
    kept = r"No space left on device.*epoch-\d{6}.safetensors is whole: mend the cause and resume"
    with pytest.raises(OSError, match=kept) as caught:
        fit(net, checkpoint=given)
    assert caught.value.errno == errno.ENOSPC
    assert 1 < net.epoch <= EPOCHS
    assert str(found_in(disk)[-1]) in str(caught.value)
    remount(disk, "size=1m")
    goes_on(disk, net)


def test_a_disk_that_may_not_be_written_to_any_more(disk: Path) -> None:
    remount(disk, "size=1m")
    net = network()
    kept = r"cannot be written .*epoch-000002.safetensors is whole: mend the cause and resume"
    with pytest.raises(PermissionError, match=kept):
        fit(net, checkpoint=disk, callbacks=[ends_at(3, lambda: remount(disk, "ro"))])
    assert net.epoch == 3
    remount(disk, "rw")
    goes_on(disk, net)


class Remembers:
    def __init__(self, **state: Any) -> None:
        self.state = state

    def __call__(self, end: Any) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def test_what_callbacks_may_remember(tmp_path: Path) -> None:
    state = {"a": np.int64(3), "b": np.float32(0.5), "c": None, "d": "text", "e": [1, 2.5]}
    given = Remembers(**state, f=np.arange(3.0))
    fit(network(), epochs=1, checkpoint=tmp_path, callbacks=[given])
    other = Remembers()
    fit(network(), epochs=1, checkpoint=tmp_path, resume="auto", callbacks=[other])
    array = other.state.pop("f")
    np.testing.assert_array_equal(array, np.arange(3.0))
    assert other.state == state


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        np.float32("inf"),
        np.arange(3),
        object(),
        "x" * 3_000_000,
        list(range(500_000)),
    ],
    ids=["nan", "inf", "integers", "object", "text", "list"],
)
def test_what_callbacks_may_not_remember(tmp_path: Path, value: Any) -> None:
    net = network()
    with pytest.raises(ValueError, match="callback"):
        fit(net, epochs=1, checkpoint=tmp_path, callbacks=[Remembers(value=value)])
    assert net.epoch == 0  # before anything is trained
    assert found_in(tmp_path) == []


def test_the_summary_is_that_of_the_parameters(tmp_path: Path) -> None:
    net, stopping = network(), EarlyStopping(5)
    history = fit(net, epochs=300, optimizer=fastnet.Adam(0.05), callbacks=[stopping])
    assert net.training is not None
    assert net.training["best_epoch"] == stopping.best_epoch
    assert net.training["figures"]["validation_loss"] == min(history["validation_loss"])
    net.save(tmp_path / "model.safetensors")
