"""Ctrl-C and SIGTERM at the worst moments: while files are written, and while the command starts.

Once, the file is finished; twice, it is given up. Either way only whole files are left, and who
goes on comes to the same bits.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from test_cli import LIMIT, environment

import fastnet
from fastnet import interrupts
from fastnet.checkpoints import found_in

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL
EPOCHS = 4
OPTIONS = ["train", "--backend", "numpy", "--hidden", "8", "--epochs", str(EPOCHS)]


@pytest.fixture(autouse=True)
def _children_take_ctrl_c() -> Iterator[None]:
    """A child inherits that SIGINT is ignored, as it is where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# The command, which waits while it writes a file: ``slow`` is in its name, ``which`` counts those
# that have it from 1. What has happened is told by files in the folder ``marks``; it goes on when
# there is one named "go". ``first`` is a signal to itself in a step after the first checkpoint.
WAITING = f"""
import os, signal, sys, time
from pathlib import Path
from fastnet import atomic, cli, interrupts
from fastnet.execution.executor import Executor

slow, which, first, marks, *arguments = sys.argv[1:]
marks, names = Path(marks), []
beside, sync, take = atomic._beside, os.fsync, interrupts.Interrupt.take
run_steps, sent = Executor.run_steps, []

def of(target):
    names.append(target.name)
    return beside(target)

def waits(descriptor):
    if slow in names[-1] and sum(slow in name for name in names) == int(which):
        (marks / "writing").touch()
        end = time.monotonic() + {LIMIT}
        while not (marks / "go").exists() and time.monotonic() < end:
            time.sleep(0.01)
    sync(descriptor)

def noted(interrupt, number):
    (marks / "taken").touch()
    take(interrupt, number)

def signalled(executor, begin, end):
    run_steps(executor, begin, end)
    if int(first) and not sent and any(name.startswith("epoch-") for name in names):
        sent.append(first)
        signal.raise_signal(int(first))

atomic._beside, os.fsync, interrupts.Interrupt.take = of, waits, noted
Executor.run_steps = signalled
cli.main(arguments)
"""


children: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    for child in children:
        child.kill()
        child.communicate()
    children.clear()


def command(script: str, *arguments: object) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    children.append(child)
    return child


def wait_until(happened: Callable[[], object], child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT
    while not happened():
        if child.poll() is not None or time.monotonic() > deadline:
            child.kill()
            raise AssertionError(ended(child))
        time.sleep(0.01)


def ended(child: subprocess.Popen[str]) -> str:
    """Return what it said on stderr."""
    said = child.communicate(timeout=LIMIT)[1]
    children.remove(child)
    return said


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The parameters of a training that nothing disturbs."""
    path = tmp_path_factory.mktemp("whole") / "model"
    child = command("from fastnet import cli; cli.main()", *OPTIONS, "--save", path)
    assert "Traceback" not in ended(child)
    return fastnet.load(path, backend="numpy").parameters


class Disturbed:
    """A training that is sent signals while it writes."""

    def __init__(self, folder: Path, slow: str, which: int, first: int = 0) -> None:
        self.folder, self.model = folder / "checkpoints", folder / "model"
        self.marks = folder / "marks"
        self.marks.mkdir()
        self.options = [*OPTIONS, "--checkpoint", self.folder, "--save", self.model]
        self.child = command(WAITING, slow, which, int(first), self.marks, *self.options)
        self.until("writing")
        self.temporary = [path for path in self.files() if path.suffix == ".fastnet-tmp"]
        assert len(self.temporary) == 1

    def until(self, mark: str) -> None:
        wait_until(lambda: (self.marks / mark).exists(), self.child)

    def send(self, *numbers: int) -> None:
        """Send signals, each after the one before was taken note of."""
        for number in numbers:
            (self.marks / "taken").unlink(missing_ok=True)
            self.child.send_signal(number)
            if number != KILL:
                self.until("taken")

    def go(self) -> None:
        (self.marks / "go").touch()

    def files(self) -> list[Path]:
        return [*self.folder.iterdir(), *self.folder.parent.glob(".model*")]

    def check(self, whole: np.ndarray, *, swept: bool = True) -> None:
        """All files are whole, and who goes on comes to the same bits."""
        left = self.files() + ([self.model] if self.model.exists() else [])
        for path in left:
            if path.suffix != ".fastnet-tmp":
                fastnet.load(path, backend="numpy")
        assert not swept or {path.suffix for path in self.files()} <= {".safetensors"}
        child = command("from fastnet import cli; cli.main()", *self.options, "--resume")
        said = ended(child)
        assert child.returncode == 0, said
        resumed = fastnet.load(self.model, backend="numpy")
        np.testing.assert_array_equal(resumed.parameters, whole)
        assert resumed.epoch == EPOCHS
        assert {path.suffix for path in self.files()} == {".safetensors"}


@pytest.mark.parametrize("number", [INT, TERM])
def test_once_while_a_checkpoint_is_written(tmp_path: Path, whole: np.ndarray, number: int) -> None:
    training = Disturbed(tmp_path, "best", 3)  # its first name is that of a check
    training.send(number)
    training.go()
    said = ended(training.child)
    assert training.child.returncode == 128 + number, said
    newest = training.folder / "epoch-000002.safetensors"
    assert "after 2 finished epoch(s) with " in said
    assert said.endswith(f"; --resume goes on from {newest}\n")
    assert found_in(training.folder)[-1] == newest
    training.check(whole)


@pytest.mark.parametrize("numbers", [(INT, INT), (TERM, TERM), (TERM, INT)])
def test_twice_while_a_checkpoint_is_written(
    tmp_path: Path, whole: np.ndarray, numbers: tuple[int, int]
) -> None:
    training = Disturbed(tmp_path, "best", 3)
    training.send(*numbers)
    said = ended(training.child)
    assert training.child.returncode == 128 + numbers[1], said
    assert "Traceback" not in said
    newest = training.folder / "epoch-000001.safetensors"
    assert "after 2 finished epoch(s)" in said
    assert f"--resume goes on from {newest}" in said
    assert found_in(training.folder) == [newest]
    training.check(whole)


def test_again_and_again_while_a_checkpoint_is_written(tmp_path: Path, whole: np.ndarray) -> None:
    """What is said then may be cut short, and Python may be ended while it ends."""
    training = Disturbed(tmp_path, "best", 3)
    training.send(INT, INT)
    while training.child.poll() is None:
        training.child.send_signal(INT)
        time.sleep(0.002)
    said = ended(training.child)
    assert training.child.returncode in (130, -INT), said  # shells say 130 of both
    assert found_in(training.folder) == [training.folder / "epoch-000001.safetensors"]
    if training.model.exists():
        assert fastnet.load(training.model, backend="numpy").epoch == 2
    training.check(whole, swept=False)


@pytest.mark.parametrize("numbers", [(INT, INT), (TERM, TERM)])
def test_twice_the_second_while_the_first_ones_checkpoint_is_written(
    tmp_path: Path, whole: np.ndarray, numbers: tuple[int, int]
) -> None:
    training = Disturbed(tmp_path, "-step-", 1, first=numbers[0])
    training.send(numbers[1])
    said = ended(training.child)
    assert training.child.returncode == 128 + numbers[1], said
    assert "Traceback" not in said
    newest = training.folder / "epoch-000001.safetensors"
    assert said.endswith(f"; --resume goes on from {newest}\n")
    assert found_in(training.folder) == [newest]
    training.check(whole)


@pytest.mark.parametrize("number", [INT, TERM])
def test_once_while_the_model_is_written(tmp_path: Path, whole: np.ndarray, number: int) -> None:
    training = Disturbed(tmp_path, "model", 2)
    training.send(number)
    training.go()
    said = ended(training.child)
    assert training.child.returncode == 128 + number, said
    assert f"saved {training.model}\n" in said
    saved = fastnet.load(training.model, backend="numpy")
    np.testing.assert_array_equal(saved.parameters, whole)
    training.check(whole)


@pytest.mark.parametrize("numbers", [(INT, INT), (TERM, TERM)])
def test_twice_while_the_model_is_written(
    tmp_path: Path, whole: np.ndarray, numbers: tuple[int, int]
) -> None:
    training = Disturbed(tmp_path, "model", 2)
    training.send(*numbers)
    said = ended(training.child)
    assert training.child.returncode == 128 + numbers[1], said
    assert "Traceback" not in said
    newest = training.folder / f"epoch-{EPOCHS:06d}.safetensors"
    assert said.endswith(f"ed; --resume goes on from {newest}\n")
    assert not training.model.exists()
    training.check(whole)


@pytest.mark.parametrize(("slow", "which"), [("best", 3), ("model", 2)])
def test_killed_while_it_is_written(
    tmp_path: Path, whole: np.ndarray, slow: str, which: int
) -> None:
    training = Disturbed(tmp_path, slow, which)
    training.send(KILL)
    ended(training.child)
    assert training.temporary[0].exists()
    assert not training.model.exists()
    training.check(whole, swept=False)


def test_killed_while_it_writes_what_no_one_writes_again(tmp_path: Path, whole: np.ndarray) -> None:
    training = Disturbed(tmp_path, "-step-", 1, first=INT)
    training.send(KILL)
    ended(training.child)
    assert "-step-" in training.temporary[0].name
    training.check(whole, swept=False)


# -- while the command starts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "module", ["typer", "numpy._core.multiarray", "numpy", "rich.console", "fastnet.cli.app"]
)
def test_ctrl_c_while_modules_are_imported(tmp_path: Path, module: str) -> None:
    """Sent when Python says that it has imported one of those that take long, or just after."""
    said = tmp_path / "said"
    with said.open("w") as file:
        child = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "fastnet", *OPTIONS, "--epochs", "100000"],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
        )
    children.append(child)
    wait_until(lambda: f" {module}\n" in said.read_text(), child)
    child.send_signal(INT)
    assert child.wait(LIMIT) == 130
    assert "Traceback" not in said.read_text()


def test_starting_leaves_ctrl_c_as_it_was() -> None:
    with interrupts.ending_at_once():
        assert signal.getsignal(INT) is not signal.default_int_handler
    assert signal.getsignal(INT) is signal.default_int_handler
    before = signal.signal(INT, signal.SIG_IGN)
    try:
        with interrupts.ending_at_once():
            assert signal.getsignal(INT) is signal.SIG_IGN
        assert signal.getsignal(INT) is signal.SIG_IGN
    finally:
        signal.signal(INT, before)


# -- the signals themselves -----------------------------------------------------------------------


def test_the_second_one_acts_and_no_other() -> None:
    acted = []
    with interrupts.deferred() as interrupt:
        assert not interrupt.requested
        for number in range(4):
            try:
                signal.raise_signal(INT)
            except KeyboardInterrupt:
                acted.append(number)
            assert interrupt.requested
    assert acted == [1]
    assert signal.getsignal(INT) is signal.default_int_handler


def test_what_is_undivided_ends_first() -> None:
    done = []
    with interrupts.deferred() as interrupt:
        try:
            with interrupt.undivided():
                for number in range(4):
                    signal.raise_signal(INT)
                    done.append(number)
            done.append("what comes after it")
        except KeyboardInterrupt:
            done.append("interrupted")
    assert done == [0, 1, 2, 3, "interrupted"]


def test_one_signal_does_not_interrupt_what_is_undivided() -> None:
    with interrupts.deferred() as interrupt:
        with interrupt.undivided():
            signal.raise_signal(INT)
        assert interrupt.requested
