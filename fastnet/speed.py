"""How fast the backends train the same network on this machine, measured in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fastnet import checks, training
from fastnet.data.dataset import Dataset
from fastnet.execution import registry
from fastnet.training import Prepared

# A backend finds its pace in the first epochs: caches fill, clocks rise.
WARM_UP_SECONDS = 0.2


@dataclass(frozen=True)
class Speed:
    """Training speed of one backend.

    Attributes
    ----------
    backend, device : str
    threads : int
    samples_per_second : list of float
        One measurement after the other.
    ratio : float
        The median, by that of the slowest backend.
    """

    backend: str
    device: str
    threads: int
    samples_per_second: list[float]
    ratio: float = 1.0

    @property
    def median(self) -> float:
        """Half of the measurements are above it."""
        return statistics.median(self.samples_per_second)

    @property
    def lowest(self) -> float:
        """The slowest measurement."""
        return min(self.samples_per_second)

    @property
    def highest(self) -> float:
        """The fastest measurement."""
        return max(self.samples_per_second)


@dataclass(frozen=True)
class Speeds:
    """What `compare` returns; the fastest backend stands first."""

    title: str
    rows: list[Speed]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        rows = [{**asdict(row), "median": row.median} for row in self.rows]
        return {"network": self.title, "backends": rows}


def compare(
    data: Dataset,
    *,
    hidden: Sequence[int] = (128,),
    preparation: str | None = None,
    task: str = "auto",
    batch_size: int | None = 128,
    backends: Sequence[str] = (),
    seconds: float = 1.0,
    repeats: int = 5,
    dtype: Any = "float32",
    threads: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Speeds:
    """Train the same network on every backend, in turn, and return how fast each is.

    The time is that of the training steps, without compiling, checking and validation.

    Parameters
    ----------
    data : Dataset
    hidden, preparation, task, batch_size, dtype, threads
        As in `fastnet.train`.
    backends : sequence of str, default ()
        By default all that can run here.
    seconds : float
        How long one measurement takes, at least.
    repeats : int
        Measurements of each backend; between two of one, all others have theirs, so that a
        machine that is disturbed for a while disturbs all of them.
    say : callable, optional
        Is told what goes on.

    Raises
    ------
    BackendUnavailableError
        If a backend is named that cannot run here.
    """
    checks.whole_number(repeats, "repeats", at_least=1)
    checks.real_number(seconds, "seconds", above=0)
    available = [name for name, status in registry.backends().items() if status.available]
    chosen = list(dict.fromkeys(registry.choose(name)[0] for name in backends or available))
    tell = say or (lambda text: None)  # noqa: ARG005
    prepared = {}
    for name in chosen:
        tell(f"preparing {name}")
        prepared[name] = training.prepare(
            data,
            None,
            hidden=hidden,
            activation="relu",
            loss=None,
            sample_weight=None,
            backend=name,
            dtype=dtype,
            threads=threads,
            seed=0,
            task=task,
            input_scale=None,
            preparation=preparation,
        )
        _run(prepared[name], batch_size, WARM_UP_SECONDS)
    measured: dict[str, list[float]] = {name: [] for name in chosen}
    for repeat in range(1, repeats + 1):
        tell(f"measurement {repeat} of {repeats}")
        for name in chosen:
            measured[name].append(_run(prepared[name], batch_size, seconds))
    slowest = min(statistics.median(values) for values in measured.values())
    rows = []
    for name, values in measured.items():
        executor = prepared[name].network.executor
        ratio = statistics.median(values) / slowest
        rows.append(Speed(name, executor.device, executor.threads, values, ratio))
    layers = prepared[chosen[0]].network.layers
    sizes = "-".join(map(str, [layers[0].inputs, *(layer.outputs for layer in layers)]))
    batch = "all rows" if batch_size is None else f"{batch_size} rows"
    title = f"{sizes} on {data.name}, {batch} a step, adam, {prepared[chosen[0]].network.dtype}"
    return Speeds(title, sorted(rows, key=lambda row: -row.median))


def _run(prepared: Prepared, batch_size: int | None, seconds: float) -> float:
    """Train for so many seconds at least; return the samples per second of the training steps."""
    network = prepared.network
    epochs, rows, spent = 1, 0, 0.0
    until = time.perf_counter() + seconds
    while rows == 0 or time.perf_counter() < until:
        history = network.fit(
            prepared.X_train,
            prepared.y_train,
            batch_size=batch_size,
            epochs=epochs,
            progress=False,
        )
        rows += history.rows * epochs
        spent += sum(history.seconds)
        left = until - time.perf_counter()
        epochs = max(1, min(2 * epochs, int(left / (spent / (rows / history.rows)))))
    return rows / spent
