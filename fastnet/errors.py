"""The errors that fastnet raises beside Python's own ``ValueError`` and ``TypeError``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastnet.history import History


class BackendUnavailableError(ImportError):
    """A backend was asked for by name and cannot run here: the message has cause and cure."""


class DeviceMemoryError(MemoryError):
    """A device has less free memory than a training or a prediction needs."""


class DivergenceError(ArithmeticError):
    """Training met a loss, gradient or parameter that is not finite.

    The network keeps the parameters and the optimizer state of the last good epoch.

    Attributes
    ----------
    epoch : int
        The epoch in which it happened, counted from 1 over all calls of ``fit``.
    step : int
        The step within that epoch, counted from 1.
    layer : int or None
        The first layer with a value that is not finite, counted from 1; None where no layer
        has one (a loss beyond the range of the dtype).
    learning_rate : float
        The learning rate of that step.
    history : History
        The epochs of this call that were finished.
    """

    def __init__(
        self,
        message: str,
        *,
        epoch: int,
        step: int,
        layer: int | None,
        learning_rate: float,
        history: History,
    ) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
        self.layer = layer
        self.learning_rate = learning_rate
        self.history = history


class ModelFileError(ValueError):
    """A model file is damaged, or is none: the message has path, cause and what was expected."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a training; the network holds the last finished epoch.

    Attributes
    ----------
    network : Network
        The network, with parameters and optimizer state of the last finished epoch, or of the
        checkpoint that it went on from, if none was finished since.
    history : History
        The epochs of this training that were finished.
    checkpoint : pathlib.Path or None
        The newest checkpoint, where some are written.
    """

    def __init__(
        self, message: str, *, network: Any, history: History, checkpoint: Path | None = None
    ) -> None:
        super().__init__(message)
        self.network = network
        self.history = history
        self.checkpoint = checkpoint
