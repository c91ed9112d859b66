"""fastnet on the GPU, as a user calls it; features there beforehand, as the peers have them."""

from __future__ import annotations

from typing import Any, ClassVar

import fastnet
from bench import workloads
from bench.trainers.base import Settings, Trainer
from bench.workloads import Workload
from fastnet.data.dataset import Dataset


class CupyTrainer(Trainer):
    """The GPU backend; every ``fit`` captures its steps anew, and that is timed with it."""

    modules = ("cupy",)
    backend: ClassVar[str] = "cupy"

    @classmethod
    def versions(cls) -> dict[str, str]:
        """Return fastnet's own version."""
        return {"fastnet": fastnet.__version__}

    def prepare(self, workload: Workload, data: Dataset, settings: Settings, seed: int) -> None:
        """Put the features where the settings say: ``rows`` is ``device`` or ``host``."""
        self.workload, self.data, self.settings = workload, data, settings
        self.rows_per_epoch = len(data.X_train)
        self.X = data.X_train
        if settings["rows"] == "device":
            import cupy

            self.X = cupy.asarray(self.X)
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Make a new network."""
        options: dict[str, Any] = {"backend": self.backend, "seed": seed}
        self.network = workloads.network(
            self.workload,
            **options,
            precision=self.settings.get("precision"),
            input_scale=self.data.input_scale,
        )

    def train(self, epochs: int) -> float:
        """Call ``fit``, which waits for the GPU; a short last batch is trained on, too."""
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
        """Return the accuracy on the test rows."""
        return self.network.evaluate(self.data.X_test, self.data.y_test)["accuracy"]
