"""Callbacks: what a user runs at the end of every epoch.

A callback may have more than its call: ``finish(network)`` is called when a training has come to
its end, and ``state_dict()`` and ``load_state_dict(state)`` keep in a checkpoint what it remembers
(finite numbers, texts, None, and arrays of floats). Under ``settings`` stands that without which
the rest would mean nothing: a training goes on only with a callback of the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastnet import checks

if TYPE_CHECKING:
    from fastnet.history import History
    from fastnet.network import Network


@dataclass
class EpochEnd:
    """What a callback is given.

    Attributes
    ----------
    network : Network
        The network, with the parameters of this moment.
    history : History
        The epochs of this training, this one included.
    epoch : int
        The number of the epoch, counted from 1 over all calls of ``fit``.
    stop_reason : str or None
        Why training ends after this epoch; None where it goes on. `stop` sets it.
    """

    network: Network
    history: History
    epoch: int
    stop_reason: str | None = field(default=None, init=False)

    def stop(self, reason: str = "a callback asked for it") -> None:
        """End the training after this epoch."""
        self.stop_reason = reason


Callback: TypeAlias = Callable[[EpochEnd], object]


class EarlyStopping:
    """A callback that ends a training which gets no better, and takes its best parameters.

    Prechelt, "Early stopping, but when?", in "Neural networks: tricks of the trade", 1998; this is
    the plainest of its rules.

    Parameters
    ----------
    patience : int, default 10
        So many epochs without a better figure end the training.
    monitor : str, default "validation_loss"
        The figure of the history to watch: losses should fall, all others rise.
    smallest_change : float, default 0
        By how much a figure must be better to count.
    restore_best : bool, default True
        Whether the network gets the parameters of the best epoch when the training has ended.

    Attributes
    ----------
    best : float
        The best figure so far.
    best_epoch : int
        The epoch it belongs to; 0 before there is one.

    Examples
    --------
    >>> run = fastnet.train(epochs=500, callbacks=[fastnet.EarlyStopping(patience=20)])
    """

    def __init__(
        self,
        patience: int = 10,
        *,
        monitor: str = "validation_loss",
        smallest_change: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        self.patience = checks.whole_number(patience, "patience", at_least=1)
        self.monitor = monitor
        self.smallest_change = checks.real_number(smallest_change, "smallest_change", at_least=0)
        self.restore_best = checks.truth(restore_best, "restore_best")
        self._sign = 1.0 if "loss" in monitor else -1.0
        self._forget()

    def _forget(self) -> None:
        self.best, self.best_epoch = self._sign * math.inf, 0
        self._figures: dict[str, float] = {}
        self._parameters: np.ndarray[Any, np.dtype[Any]] | None = None

    def __call__(self, end: EpochEnd) -> None:
        """Look at the epoch's figure."""
        if self.monitor not in end.history:
            raise ValueError(
                f"monitor is {self.monitor!r}, and the history has {', '.join(end.history)}; name "
                f"one of these, or pass validation rows"
            )
        if len(end.history.seconds) == 1:
            self._forget()  # what an earlier training has left
        figures = {name: values[-1] for name, values in end.history.items() if name != "epoch"}
        figure = figures[self.monitor]
        if self._sign * (self.best - figure) > self.smallest_change:
            self.best, self.best_epoch = figure, end.epoch
            self._figures = figures
            self._parameters = end.network.parameters if self.restore_best else None
        elif end.epoch - self.best_epoch >= self.patience:
            end.stop(f"{self.monitor} is no better than in epoch {self.best_epoch}")

    def finish(self, network: Network) -> None:
        """Give the network the parameters of the best epoch."""
        if self._parameters is None:
            return
        network.parameters = self._parameters
        if network.training is not None:
            network.training |= {"best_epoch": self.best_epoch, "figures": self._figures}

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""
        return {
            "settings": {"monitor": self.monitor, "restore_best": self.restore_best},
            "best": self.best if self.best_epoch else None,
            "best_epoch": self.best_epoch,
            "figures": self._figures,
            "parameters": self._parameters,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember what `state_dict` returned."""
        self.best_epoch = int(state["best_epoch"])
        self.best = float(state["best"]) if self.best_epoch else self._sign * math.inf
        self._figures = dict(state["figures"])
        self._parameters = state["parameters"]
