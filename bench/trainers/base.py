"""What every trainer can do, and what most of them share."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from bench import datasets
from bench.workloads import Workload
from fastnet.data.dataset import Dataset

Array = np.ndarray[Any, np.dtype[Any]]

# How a trainer runs: threads, and whatever else calibration chooses between.
Settings = dict[str, Any]


class Trainer(ABC):
    """Trains one workload in one process.

    A subclass imports its library in its methods, so that the class itself can be asked for its
    ``modules`` and ``variants`` where the library is not installed.
    """

    # The modules that must be there, and the distributions whose versions are recorded.
    modules: ClassVar[tuple[str, ...]] = ()
    distributions: ClassVar[tuple[str, ...]] = ()
    # Settings that make `train` go on where it stood, of a trainer that otherwise begins anew.
    resuming: ClassVar[Settings] = {}

    # Rows that an epoch trains on: fewer than there are where a short last batch is left out.
    rows_per_epoch: int

    @classmethod
    def variants(cls, workload: Workload, cores: int) -> list[Settings]:
        """Return the settings that calibration tries; the first is what one would try first."""
        raise NotImplementedError

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return the version of every distribution that the trainer runs on."""
        return {name: importlib.metadata.version(name) for name in cls.distributions}

    @abstractmethod
    def prepare(self, workload: Workload, data: Dataset, settings: Settings, seed: int) -> None:
        """Take the rows and make an untrained network; nothing is trained yet."""

    @abstractmethod
    def reset(self, seed: int) -> None:
        """Begin anew with other first weights; what was compiled stays compiled."""

    @abstractmethod
    def train(self, epochs: int) -> float:
        """Train for some epochs more and return the mean loss of the last one, over its steps.

        Every epoch has its loss taken, by all trainers: a compiler would leave out what nobody
        asks for.
        """

    @abstractmethod
    def accuracy(self) -> float:
        """Return the accuracy on the test rows; R2 where targets are quantities."""


class Float32Trainer(Trainer):
    """A trainer whose rows are float32 matrices."""

    def prepare(self, workload: Workload, data: Dataset, settings: Settings, seed: int) -> None:
        """Scale the rows once, before any clock runs."""
        self.workload, self.settings, self.seed = workload, settings, seed
        self.data = datasets.in_float32(data)
        self.rows_per_epoch = len(self.data.X_train)
        self.batch = workload.batch_of(self.rows_per_epoch)
        self.shuffles = self.batch < self.rows_per_epoch
        self.set_up()
        self.reset(seed)

    def leave_out_short_batch(self) -> None:
        """Train on full batches alone, and count no other rows."""
        self.rows_per_epoch -= self.rows_per_epoch % self.batch

    @abstractmethod
    def set_up(self) -> None:
        """Make of the rows what the library trains on, and what no reset changes."""

    @abstractmethod
    def outputs(self) -> Array:
        """Return the network's outputs for the test rows, (rows, outputs)."""

    def accuracy(self) -> float:
        """Return the accuracy on the test rows; R2 where targets are quantities."""
        return score(self.outputs(), self.data.y_test, self.workload)


def score(outputs: Array, targets: Array, workload: Workload) -> float:
    """Return accuracy or R2, the mean over outputs."""
    if not workload.is_regression:
        return float((outputs.argmax(axis=1) == targets).mean())
    residual = ((targets - outputs.reshape(targets.shape)) ** 2).sum(axis=0)
    return float((1 - residual / ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)).mean())
