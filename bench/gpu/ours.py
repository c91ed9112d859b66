"""fastnet on the GPU, as a user calls it; features there beforehand, as the peers have them."""

from __future__ import annotations

from typing import Any

from bench.trainers.fastnet import FastnetTrainer


class CupyTrainer(FastnetTrainer):
    """The GPU backend; every ``fit`` captures its steps anew, and that is timed with it.

    ``settings``: ``rows``, which is ``device`` or ``host``; ``precision``; and ``steps``, which is
    ``captured`` or ``programs``.
    """

    modules = ("cupy",)
    backend = "cupy"

    def reset(self, seed: int) -> None:
        """Make a new network that runs its steps as the settings say."""
        super().reset(seed)
        executor: Any = self.network.executor
        executor.runs_programs = self.settings.get("steps") == "programs"

    def features(self) -> Any:
        """Put the features where the settings say."""
        if self.settings["rows"] != "device":
            return super().features()
        import cupy

        return cupy.asarray(self.data.X_train)
