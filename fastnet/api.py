"""What ``fastnet`` offers by its own name, from the modules that say what it is."""

from fastnet import activations, initializers, losses, optimizers, recipes
from fastnet.callbacks import EarlyStopping, EpochEnd
from fastnet.checking import GradientCheck, gradcheck
from fastnet.checkpoints import Checkpoints
from fastnet.comparing import Parity, parity
from fastnet.data.dataset import Dataset
from fastnet.data.loading import load_data
from fastnet.errors import (
    BackendUnavailableError,
    DeviceMemoryError,
    DivergenceError,
    ModelFileError,
    TrainingInterrupted,
)
from fastnet.execution.registry import BackendStatus, backends
from fastnet.history import History
from fastnet.interop import from_sklearn, from_torch, to_sklearn, to_torch
from fastnet.layers import Dense
from fastnet.modelfile import load
from fastnet.network import Network
from fastnet.optimizers import SGD, Adam
from fastnet.training import Report, TrainResult, train
from fastnet.version import __version__
from fastnet.warming import warmup

__all__ = [
    "SGD",
    "Adam",
    "BackendStatus",
    "BackendUnavailableError",
    "Checkpoints",
    "Dataset",
    "Dense",
    "DeviceMemoryError",
    "DivergenceError",
    "EarlyStopping",
    "EpochEnd",
    "GradientCheck",
    "History",
    "ModelFileError",
    "Network",
    "Parity",
    "Report",
    "TrainResult",
    "TrainingInterrupted",
    "__version__",
    "activations",
    "backends",
    "from_sklearn",
    "from_torch",
    "gradcheck",
    "initializers",
    "load",
    "load_data",
    "losses",
    "optimizers",
    "parity",
    "recipes",
    "to_sklearn",
    "to_torch",
    "train",
    "warmup",
]
