"""Callbacks: what a user runs at the end of every epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

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
        The epochs of this call of ``fit``, this one included.
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
