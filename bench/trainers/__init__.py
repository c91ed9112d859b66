"""The trainers: fastnet and its peers, one file per library, each imported late."""

from __future__ import annotations

import importlib
import importlib.util

from bench.trainers.base import Trainer

# By name: module and class. The order is that of the tables.
TRAINERS = {
    "fastnet-numba": "bench.trainers.fastnet:NumbaTrainer",
    "fastnet-numpy": "bench.trainers.fastnet:NumpyTrainer",
    "scikit-learn": "bench.trainers.sklearn:SklearnTrainer",
    "torch": "bench.trainers.torch:EagerTrainer",
    "torch-compile": "bench.trainers.torch:CompiledTrainer",
    "torch-step": "bench.trainers.torch:CompiledStepTrainer",
    "jax": "bench.trainers.jax:ScanTrainer",
}
# The trainer whose speed is compared with that of all others.
OURS = "fastnet-numba"


def trainer_class(place: str) -> type[Trainer]:
    """Return the class at a place such as ``bench.trainers.jax:ScanTrainer``."""
    module, _, name = place.partition(":")
    found: type[Trainer] = getattr(importlib.import_module(module), name)
    return found


def missing_packages(trainer: type[Trainer]) -> list[str]:
    """Return which packages of a trainer are not installed."""
    return [name for name in trainer.modules if importlib.util.find_spec(name) is None]
