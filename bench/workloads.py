"""What is trained: the rows of the table that fastnet is measured by, and other shapes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from fastnet import SGD, Adam, Dense, Network
from fastnet.optimizers import Optimizer

RATES = {"adam": 1e-3, "sgd": 1e-2}


@dataclass(frozen=True)
class Workload:
    """A network, its data and its optimizer: the same for every trainer.

    Attributes
    ----------
    key : str
        What the command line and the results call it.
    layers : tuple of int
        Units: inputs, hidden layers, outputs.
    data : str
        ``digits``, ``mnist``, or ``synthetic`` (quantities made from random numbers).
    batch : int or None
        Rows per step; None for all rows in one.
    optimizer : str
        ``adam`` or ``sgd`` (plain).
    learning_rate : float
    activation : str
        Of the hidden layers.
    loss : str
        ``categorical_crossentropy`` with softmax outputs, or ``mse`` with linear ones.
    rows : int or None
        Train on the first so many rows only; None for all.
    floors : dict
        What fastnet's speed must be in multiples of a peer's, by family (see ``ratios.py``).
    """

    key: str
    layers: tuple[int, ...]
    data: str
    batch: int | None
    optimizer: str
    learning_rate: float
    activation: str = "relu"
    loss: str = "categorical_crossentropy"
    rows: int | None = None
    floors: dict[str, float] = field(default_factory=dict)

    @property
    def is_regression(self) -> bool:
        """Whether targets are quantities."""
        return self.loss == "mse"

    @property
    def title(self) -> str:
        """One line that says it all."""
        units = "-".join(map(str, self.layers))
        rows = f", first {self.rows:,} rows" if self.rows else ""
        batch = "all rows in one batch" if self.batch is None else f"batch {self.batch}"
        return f"{units} {self.activation}, {self.data}{rows}, {batch}, {self.optimizer}"

    def batch_of(self, rows: int) -> int:
        """Return how many rows a full step takes out of ``rows``."""
        return min(self.batch or rows, rows)


def _workload(
    key: str, layers: tuple[int, ...], data: str, batch: int | None, optimizer: str, **more: Any
) -> Workload:
    rate = more.pop("learning_rate", RATES[optimizer])
    return Workload(key, layers, data, batch, optimizer, rate, **more)


def _floors(best: float, pytorch: float, sklearn: float) -> dict[str, float]:
    return {"best": best, "PyTorch": pytorch, "scikit-learn": sklearn}


TABLE = [
    _workload("A", (64, 64, 10), "digits", 32, "adam", floors=_floors(2, 15, 15)),
    _workload("B", (784, 64, 10), "mnist", 32, "sgd", floors=_floors(1.7, 5, 7)),
    _workload("C", (784, 128, 10), "mnist", 128, "adam", floors=_floors(1.5, 2.7, 5)),
    _workload("D", (784, 512, 512, 10), "mnist", 256, "adam", floors=_floors(1.03, 2, 3.4)),
    _workload(
        "E",
        (784, 16, 10),
        "mnist",
        None,
        "sgd",
        learning_rate=0.2,
        rows=42_000,
        floors=_floors(4, 6, 4),
    ),
    _workload("F", (784, 2048, 2048, 10), "mnist", 1024, "adam", floors=_floors(1.0, 1.9, 2.3)),
]

# Fewer rows where an epoch of all of them would only take longer.
SHAPES = [
    _workload("width-33", (784, 33, 10), "mnist", 128, "adam"),
    _workload("width-100", (784, 100, 10), "mnist", 128, "adam"),
    _workload("width-1024", (784, 1024, 10), "mnist", 128, "adam", rows=20_000),
    _workload("depth-1", (784, 10), "mnist", 128, "adam"),
    _workload("depth-3", (784, 300, 100, 10), "mnist", 128, "adam"),
    _workload("depth-4", (784, 128, 64, 32, 10), "mnist", 128, "adam"),
    _workload("depth-5", (784, 256, 128, 128, 64, 10), "mnist", 128, "adam"),
    _workload("batch-1", (784, 64, 10), "mnist", 1, "sgd", rows=4_000),
    _workload("batch-8", (784, 64, 10), "mnist", 8, "adam", rows=20_000),
    _workload("batch-64", (784, 128, 10), "mnist", 64, "adam"),
    _workload("batch-512", (784, 128, 10), "mnist", 512, "adam"),
    _workload("batch-4096", (784, 128, 10), "mnist", 4096, "adam"),
    _workload("tanh", (784, 128, 10), "mnist", 128, "adam", activation="tanh"),
    _workload("sigmoid", (784, 128, 64, 10), "mnist", 128, "sgd", activation="sigmoid"),
    _workload("mse-13", (13, 32, 1), "synthetic", 32, "adam", loss="mse", rows=5_000),
    _workload(
        "mse-64",
        (64, 128, 64, 3),
        "synthetic",
        256,
        "adam",
        loss="mse",
        activation="tanh",
        rows=20_000,
    ),
]

ALL = {workload.key: workload for workload in [*TABLE, *SHAPES]}


def network(workload: Workload, **options: Any) -> Network:
    """Return fastnet's network for a workload; ``options`` go to `fastnet.Network`."""
    sizes = list(itertools.pairwise(workload.layers))
    layers = [Dense(i, o, workload.activation) for i, o in sizes[:-1]]
    last = "linear" if workload.is_regression else "softmax"
    return Network(
        [*layers, Dense(*sizes[-1], last)],
        loss=workload.loss,
        task="regression" if workload.is_regression else "classification",
        **options,
    )


def optimizer(workload: Workload) -> Optimizer:
    """Return fastnet's optimizer for a workload."""
    kind: type[Optimizer] = Adam if workload.optimizer == "adam" else SGD
    return kind(workload.learning_rate)
