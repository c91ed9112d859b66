"""fastnet, as a user calls it: features as they came, every setting left alone."""

from __future__ import annotations

from typing import Any, ClassVar

import fastnet
from bench import workloads
from bench.trainers.base import Settings, Trainer
from bench.workloads import Workload
from fastnet.data.dataset import Dataset


class FastnetTrainer(Trainer):
    """What the backends share."""

    backend: ClassVar[str]

    @classmethod
    def variants(cls, workload: Workload, cores: int) -> list[Settings]:  # noqa: ARG003
        """There is nothing to choose: the backend decides on threads and plan."""
        return [{}]

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return fastnet's own version, and those of the packages it runs on."""
        return {"fastnet": fastnet.__version__, **super().versions()}

    def prepare(self, workload: Workload, data: Dataset, settings: Settings, seed: int) -> None:
        """Keep the rows; ``fit`` checks them in every call."""
        self.workload, self.data, self.settings = workload, data, settings
        self.rows_per_epoch = len(data.X_train)
        self.X = self.features()
        self.reset(seed)

    def features(self) -> Any:
        """Return what ``fit`` is given: the rows as they came."""
        return self.data.X_train

    def reset(self, seed: int) -> None:
        """Make a new network."""
        self.network = workloads.network(
            self.workload,
            backend=self.backend,
            seed=seed,
            precision=self.settings.get("precision"),
            input_scale=self.data.input_scale,
        )

    def train(self, epochs: int) -> float:
        """Call ``fit``; a short last batch is trained on, too."""
        history = self.network.fit(
            self.X,
            self.data.y_train,
            optimizer=workloads.optimizer(self.workload),
            batch_size=self.workload.batch,
            epochs=epochs,
            progress=False,
        )
        return history["train_loss"][-1]

    def accuracy(self) -> float:
        """Return the accuracy on the test rows, or R2."""
        found = self.network.evaluate(self.data.X_test, self.data.y_test)
        return found["r2" if self.workload.is_regression else "accuracy"]


class NumbaTrainer(FastnetTrainer):
    """The compiled backend."""

    modules = ("numba",)
    distributions = ("numba", "llvmlite", "scipy-openblas32", "numpy")
    backend = "numba"


class NumpyTrainer(FastnetTrainer):
    """The NumPy backend; NumPy's BLAS minds its threads."""

    distributions = ("numpy",)
    backend = "numpy"
