"""Seconds per step of a real training with fastnet on Numba."""

from __future__ import annotations

from pathlib import Path

from bench import datasets, workloads
from bench.workloads import Workload

FEWEST_BATCHES = 4  # of a shortened epoch


class Training:
    """A training that goes on from call to call, timed by its own history.

    A step is a full batch: of a short last one, only its share counts.

    Parameters
    ----------
    workload : Workload
    seconds : float
        How long one measurement should take. An epoch that takes more than twice as long is
        shortened to the first of its batches.
    folder : Path or None
        Where MNIST is.
    threads : int or None
        None for all.
    """

    def __init__(
        self, workload: Workload, seconds: float, folder: Path | None, threads: int | None = None
    ) -> None:
        self.workload, self.seconds = workload, seconds
        self.data = datasets.load(workload, folder)
        self.rows = len(self.data.X_train)
        self.batch = workload.batch_of(self.rows)
        self.network = workloads.network(
            workload, backend="numba", input_scale=self.data.input_scale, threads=threads
        )
        self.table = self.network.executor.table
        self.epochs = 1

    def warm_up(self) -> None:
        """Compile, and settle how many epochs of how many rows a measurement takes."""
        whole = self.rows
        self.rows = min(whole, FEWEST_BATCHES * self.batch)
        self.seconds_per_step()
        step = self.seconds_per_step()
        batches = max(FEWEST_BATCHES, round(self.seconds / step))
        self.rows = min(whole, batches * self.batch) if 2 * batches * self.batch < whole else whole
        epoch = step * self.rows / self.batch
        self.epochs = max(1, round(self.seconds / epoch))

    def seconds_per_step(self) -> float:
        """Train for some epochs more and return the seconds of a step."""
        history = self.network.fit(
            self.data.X_train[: self.rows],
            self.data.y_train[: self.rows],
            optimizer=workloads.optimizer(self.workload),
            batch_size=self.batch,
            epochs=self.epochs,
            progress=False,
        )
        return sum(history.seconds) * self.batch / (self.rows * len(history.seconds))
