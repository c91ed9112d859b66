"""A trainer in a process of its own, asked through a pipe and timed inside.

Thread pools of different libraries never meet, and a trainer that fails takes nothing along.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench import datasets, trainers
from bench.trainers.base import Settings, Trainer
from bench.workloads import Workload

PATIENCE = 5.0  # seconds that an ending process is given
LONGEST_MESSAGE = 400


class WorkerError(RuntimeError):
    """A trainer raised, or its process ended: the message names it and says what happened."""


class Worker:
    """The parent's side of one trainer.

    Parameters
    ----------
    name : str
        What messages call it.
    place : str
        Where its class is, such as ``bench.trainers.jax:ScanTrainer``.
    """

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.loss: float | None = None  # the mean of the last epoch that was trained
        # "spawn": a fresh interpreter, without the parent's threads and open libraries.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(theirs, place), name=f"bench {name}", daemon=True
        )
        self._process.start()
        theirs.close()  # so that the end of the process is seen as the end of the pipe

    def prepare(
        self, workload: Workload, settings: Settings, seed: int, folder: Path | None
    ) -> dict[str, Any]:
        """Load rows and library; return ``rows_per_epoch`` and ``versions``."""
        result: dict[str, Any] = self._ask("prepare", workload, settings, seed, folder)
        return result

    def reset(self, seed: int) -> None:
        """Begin anew with other first weights."""
        self._ask("reset", seed)

    def train(self, epochs: int) -> float:
        """Train and return the seconds that it took, by the worker's own clock."""
        seconds, self.loss = self._ask("train", epochs)
        return float(seconds)

    def accuracy(self) -> float:
        """Return the accuracy on the test rows, or R2."""
        return float(self._ask("accuracy"))

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        with contextlib.suppress(OSError):
            self._pipe.close()  # an idle worker leaves
        self._process.join(0.2)
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(PATIENCE)

    def _ask(self, what: str, *arguments: Any) -> Any:
        try:
            self._pipe.send((what, arguments))
            state, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(PATIENCE)
            raise WorkerError(
                f"{self.name}: its process ended during {what}, exit code {self._process.exitcode}"
            ) from error
        if state != "done":
            raise WorkerError(f"{self.name}: {what} raised {answer}")
        return answer


def serve(pipe: Connection, place: str) -> None:
    """Answer one question after the other until the pipe is closed; the worker's side."""
    # Ctrl-C reaches the whole group of processes; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    trainer: Trainer | None = None
    while True:
        try:
            what, arguments = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            if trainer is None:
                trainer = trainers.trainer_class(place)()
            answer = ("done", _ANSWERS[what](trainer, *arguments))
        except Exception as error:
            answer = ("raised", described(error))
        try:
            pipe.send(answer)
        except OSError:
            return


def _prepare(
    trainer: Trainer, workload: Workload, settings: Settings, seed: int, folder: Path | None
) -> dict[str, Any]:
    trainer.prepare(workload, datasets.load(workload, folder), settings, seed)
    return {"rows_per_epoch": trainer.rows_per_epoch, "versions": trainer.versions()}


def _train(trainer: Trainer, epochs: int) -> tuple[float, float]:
    began = time.perf_counter()
    loss = trainer.train(epochs)
    return time.perf_counter() - began, loss


_ANSWERS: dict[str, Callable[..., Any]] = {
    "prepare": _prepare,
    "reset": lambda trainer, seed: trainer.reset(seed),
    "train": _train,
    "accuracy": lambda trainer: trainer.accuracy(),
}


def described(error: BaseException) -> str:
    """Return an error's type and the first line of its message, without folders."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {without_folders(first)}"[:LONGEST_MESSAGE]


def without_folders(text: str) -> str:
    """Return a text in which every absolute path is its last part alone: results are published."""
    return re.sub(r"(?<![\w.])(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\":,;()]+)+", _last_part, text)


def _last_part(path: re.Match[str]) -> str:
    return re.split(r"[\\/]", path.group())[-1]
