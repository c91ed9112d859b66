"""scikit-learn's MLPClassifier and MLPRegressor."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from bench.trainers.base import Array, Float32Trainer, Settings
from bench.workloads import Workload

NEVER = 10**9  # epochs without improvement after which it would stop early


class SklearnTrainer(Float32Trainer):
    """The epochs of a measurement are those of one ``fit``, which begins with new weights.

    With ``stepwise`` in the settings, every epoch is a ``partial_fit``, which keeps weights and
    Adam's state.
    """

    modules = ("sklearn", "threadpoolctl")
    distributions = ("scikit-learn", "numpy", "scipy", "threadpoolctl")
    resuming: ClassVar[Settings] = {"stepwise": True}

    @classmethod
    def variants(cls, workload: Workload, cores: int) -> list[Settings]:  # noqa: ARG003
        """One thread, and all of them, for the BLAS below."""
        return [{"threads": threads} for threads in sorted({cores, 1}, reverse=True)]

    def set_up(self) -> None:
        """Limit the threads of every thread pool, for as long as the process lives."""
        import threadpoolctl

        self.limits = threadpoolctl.threadpool_limits(self.settings["threads"])
        self.targets = self.data.y_train
        if self.workload.is_regression and self.targets.shape[1] == 1:
            self.targets = self.targets[:, 0]

    def reset(self, seed: int) -> None:
        """Make a new model."""
        self.seed = seed
        self.model = self._model(epochs=1)

    def _model(self, epochs: int) -> Any:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        workload = self.workload
        kind = MLPRegressor if workload.is_regression else MLPClassifier
        return kind(
            hidden_layer_sizes=workload.layers[1:-1],
            activation="logistic" if workload.activation == "sigmoid" else workload.activation,
            solver=workload.optimizer,
            learning_rate_init=workload.learning_rate,
            batch_size=self.batch,
            max_iter=epochs,
            shuffle=self.shuffles,
            random_state=self.seed,
            alpha=0,
            momentum=0,
            nesterovs_momentum=False,
            tol=0,
            n_iter_no_change=NEVER,
            early_stopping=False,
        )

    def train(self, epochs: int) -> float:
        """Fit anew for so many epochs, or go on where it stood if ``stepwise``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of not having converged
            if not self.settings.get("stepwise"):
                self.model = self._model(epochs).fit(self.data.X_train, self.targets)
                return self._loss()
            classes = {} if self.workload.is_regression else {"classes": np.unique(self.targets)}
            for _ in range(epochs):
                self.model.partial_fit(self.data.X_train, self.targets, **classes)
        return self._loss()

    def _loss(self) -> float:
        """Return the loss that it took; half a squared error where targets are quantities."""
        return float(self.model.loss_) * (2 if self.workload.is_regression else 1)

    def outputs(self) -> Array:
        """Return probabilities or quantities."""
        if self.workload.is_regression:
            return np.asarray(self.model.predict(self.data.X_test))
        return np.asarray(self.model.predict_proba(self.data.X_test))
