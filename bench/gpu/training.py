"""The same training again: on NumPy, without captured steps, and a second time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastnet import SGD, Adam, Dense, Network
from fastnet.optimizers import Optimizer

Array = np.ndarray[Any, np.dtype[Any]]

STEPS, STEPS_PER_EPOCH = 100, 25
QUICK_STEPS = 8  # two epochs of 4

# float64: in 100 steps the orders of summation differ, and nothing else.
ALLOWED_64 = 1e-9
# float32: rounding makes two right trainings drift apart, and by how much depends on the network.
# The measure is NumPy's own drift between float32 and float64 over the same steps; a GPU, which
# sums in another order, may drift so many times as far, and so much in any case.
TIMES, FLOOR_32 = 8.0, 1e-5


class Case(NamedTuple):
    """A network with its rows: ``X`` and ``y`` by the number of rows."""

    name: str
    layers: tuple[int, ...]
    activation: str
    last: str
    loss: str
    batch: int
    optimizer: Optimizer
    kind: str

    @property
    def task(self) -> str:
        """What the targets are."""
        return "regression" if self.loss == "mse" else "classification"


# Rows A and C of the table, a deeper tanh, quantities, and log_loss over a softmax and sigmoids.
CASES = [
    Case("A", (64, 64, 10), "relu", "softmax", "categorical_crossentropy", 32, Adam(1e-3), "bytes"),
    Case(
        "C", (784, 128, 10), "relu", "softmax", "categorical_crossentropy", 128, Adam(1e-3), "bytes"
    ),
    Case(
        "depth 3 tanh",
        (20, 33, 17, 4),
        "tanh",
        "softmax",
        "categorical_crossentropy",
        17,
        SGD(0.05, momentum=0.9),
        "classes",
    ),
    Case("mse", (13, 32, 3), "elu", "linear", "mse", 31, SGD(0.02), "quantities"),
    Case("mse adam", (13, 32, 1), "leaky_relu", "linear", "mse", 31, Adam(1e-3), "quantities"),
    Case("softmax log_loss", (20, 24, 5), "relu", "softmax", "log_loss", 32, SGD(0.1), "classes"),
    Case(
        "sigmoid log_loss",
        (20, 24, 5),
        "sigmoid",
        "sigmoid",
        "log_loss",
        32,
        SGD(0.1, momentum=0.9, nesterov=True),
        "labels",
    ),
]
# Small ones for the host, where a step takes long.
QUICK_CASES = [
    CASES[0]._replace(layers=(9, 7, 4), batch=5),
    CASES[3]._replace(layers=(5, 6, 3), batch=7),
]


def data(case: Case, rows: int) -> tuple[Array, Array]:
    """Return features and targets that a small network can learn: the same ones every time."""
    random = np.random.default_rng([rows, *case.layers])
    inputs, outputs = case.layers[0], case.layers[-1]
    classes = random.integers(0, outputs, rows)
    classes[:outputs] = np.arange(outputs)  # every class is there
    centers = random.normal(size=(outputs, inputs))
    x = centers[classes] + random.normal(size=(rows, inputs))
    if case.kind == "bytes":
        return np.clip(64 * x + 96, 0, 255).astype(np.uint8), classes
    x = x.astype(np.float32)
    if case.kind == "classes":
        return x, classes
    if case.kind == "labels":
        return x, (x[:, :outputs] > 0).astype(np.int64)
    y = np.tanh(x @ random.normal(size=(inputs, outputs)) / math.sqrt(inputs))
    return x, y.astype(np.float32)


def network(case: Case, backend: str, dtype: str = "float32", **more: Any) -> Network:
    """Return the untrained network of a case."""
    pairs = list(itertools.pairwise(case.layers))
    layers = [Dense(i, o, case.activation) for i, o in pairs[:-1]]
    return Network(
        [*layers, Dense(*pairs[-1], case.last)],
        loss=case.loss,
        backend=backend,
        dtype=dtype,
        seed=7,
        task=case.task,
        input_scale=1 / 255 if case.kind == "bytes" else 1.0,
        **more,
    )


def train(net: Network, case: Case, steps: int = STEPS) -> dict[str, Array]:
    """Train for so many steps and return ``parameters`` and the ``losses`` of the epochs.

    The last batch of every epoch is short.
    """
    per_epoch = STEPS_PER_EPOCH if steps == STEPS else steps // 2
    X, y = data(case, per_epoch * case.batch - case.batch // 3)
    history = net.fit(
        X,
        y,
        optimizer=case.optimizer,
        batch_size=case.batch,
        epochs=steps // per_epoch,
        progress=False,
    )
    return {"parameters": net.parameters, "losses": np.array(history["train_loss"])}


def eager(net: Network) -> Network:
    """Let a network on a device launch every step, none captured."""
    executor: Any = net.executor
    executor.captures = False
    return net


# -- against NumPy --------------------------------------------------------------------------------


def by_programs(net: Network) -> Network:
    """Let a network on a device run its steps as programs."""
    executor: Any = net.executor
    executor.runs_programs = True
    return net


def parity(
    case: Case,
    dtype: str,
    steps: int = STEPS,
    change: Callable[[Network], Network] = lambda net: net,
) -> dict[str, Any]:
    """Train on the GPU backend and on NumPy and return how far they are apart."""
    ours = train(change(network(case, "cupy", dtype)), case, steps)
    reference = network(case, "numpy", dtype)
    first = reference.parameters
    theirs = train(reference, case, steps)
    allowed = dict.fromkeys(ours, ALLOWED_64)
    if dtype == "float32":
        exact = network(case, "numpy", "float64")
        exact.parameters = first
        drift = _apart(theirs, train(exact, case, steps))
        allowed = {name: FLOOR_32 + TIMES * value for name, value in drift.items()}
    error = _apart(ours, theirs)
    moved = float(np.abs(theirs["parameters"] - first).max())
    return {
        "passed": all(error[name] <= allowed[name] for name in ours) and moved > 0,
        "case": case.name,
        "dtype": dtype,
        "steps": steps,
        "error": error,
        "allowed": allowed,
        "parameters_moved_by": moved,
    }


def _apart(ours: dict[str, Array], theirs: dict[str, Array]) -> dict[str, float]:
    return {
        name: float(np.abs(ours[name].astype(np.float64) - theirs[name]).max()) for name in ours
    }


# -- to the bit -----------------------------------------------------------------------------------


def same_bits(
    case: Case,
    change: Callable[[Network], Network] = lambda net: net,
    steps: int = STEPS,
    first: Callable[[Network], Network] = lambda net: net,
    **more: Any,
) -> dict[str, Any]:
    """Train twice on the GPU backend, the second time ``change``d, and compare bit by bit."""
    one = train(first(network(case, "cupy", **more)), case, steps)
    two = train(change(network(case, "cupy", **more)), case, steps)
    different = [name for name in one if one[name].tobytes() != two[name].tobytes()]
    return {
        "passed": not different,
        "case": case.name,
        **more,
        "different": different,
        "error": _apart(one, two),
    }


# -- stages ---------------------------------------------------------------------------------------


def check_parity(*, quick: bool) -> dict[str, Any]:
    """Every case in float32 and float64 against NumPy."""
    cases, steps = _size(quick)
    return _summed_up(
        [parity(case, dtype, steps) for case in cases for dtype in ("float32", "float64")]
    )


def check_replay(*, quick: bool) -> dict[str, Any]:
    """Captured and replayed steps against steps launched one by one."""
    return _bits(eager, quick)


def check_repetition(*, quick: bool) -> dict[str, Any]:
    """A training against the same training."""
    return _bits(lambda net: net, quick)


def check_programs(*, quick: bool) -> dict[str, Any]:
    """Steps that run as programs: every case against NumPy, and against themselves."""
    cases, steps = _size(quick)
    dtypes = ("float32", "float64")
    found = [parity(case, dtype, steps, by_programs) for case in cases for dtype in dtypes]
    found += [same_bits(case, by_programs, steps, by_programs) for case in cases]
    return _summed_up(found)


def _bits(change: Callable[[Network], Network], quick: bool) -> dict[str, Any]:
    cases, steps = _size(quick)
    found = [same_bits(case, change, steps) for case in cases]
    found += [same_bits(cases[0], change, steps, dtype="float64")]
    found += [same_bits(cases[0], change, steps, precision="tf32")]
    return _summed_up(found)


def _size(quick: bool) -> tuple[list[Case], int]:
    return (QUICK_CASES, QUICK_STEPS) if quick else (CASES, STEPS)


def _summed_up(found: list[dict[str, Any]]) -> dict[str, Any]:
    wrong = [f"{one['case']} {one.get('dtype', 'float32')}" for one in found if not one["passed"]]
    said = f"{len(found)} trainings" + (f", wrong: {', '.join(wrong)}" if wrong else "")
    return {"passed": not wrong, "summary": said, "trainings": found}
