"""fastnet on the GPU, as a user calls it; features there beforehand, as the peers have them."""

from __future__ import annotations

from typing import Any

from bench.trainers.fastnet import FastnetTrainer


class CupyTrainer(FastnetTrainer):
    """The GPU backend; every ``fit`` captures its steps anew, and that is timed with it.

    ``settings``: ``rows``, which is ``device`` or ``host``, and ``precision``.
    """

    modules = ("cupy",)
    backend = "cupy"

    def features(self) -> Any:
        """Put the features where the settings say."""
        if self.settings["rows"] != "device":
            return super().features()
        import cupy

        return cupy.asarray(self.data.X_train)
