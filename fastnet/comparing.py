"""Parity: the same network and rows on every backend, against a float64 oracle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnet import tolerances
from fastnet.execution import registry
from fastnet.optimizers import SGD

if TYPE_CHECKING:
    from fastnet.network import Network

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Comparison:
    """One quantity on one backend.

    Attributes
    ----------
    backend : str
    quantity : str
        ``outputs``, ``loss``, ``gradient of layer_1.weights``, ..., or ``parameters after a step``.
    error : float
        The largest absolute difference from the oracle.
    allowed : float
        What `fastnet.tolerances.allowed` allows.
    """

    backend: str
    quantity: str
    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the error is a number within what is allowed."""
        return bool(self.error <= self.allowed)


@dataclass(frozen=True)
class Parity:
    """What `parity` found; iterating gives its rows.

    Attributes
    ----------
    rows : list of Comparison
    dtype : str
        What the backends computed in.
    skipped : dict of str to str
        The backends that cannot run here, and why not.
    """

    rows: list[Comparison]
    dtype: str
    skipped: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether every quantity on every backend is within its tolerance."""
        return all(row.passed for row in self.rows)

    def __iter__(self) -> Iterator[Comparison]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        rows = [{**asdict(row), "passed": row.passed} for row in self.rows]
        return {
            "rows": rows, "dtype": self.dtype, "skipped": self.skipped, "passed": self.passed
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"{'backend':<8} {'quantity':<32} {'error':>10} {'allowed':>10}"]
        lines += [
            f"{row.backend:<8} {row.quantity:<32} {row.error:>10.2e} {row.allowed:>10.2e}"
            + ("" if row.passed else "  FAILED")
            for row in self.rows
        ]
        return "\n".join([*lines, self.verdict])

    @property
    def verdict(self) -> str:
        """One line: passed or failed, in which dtype, and who was left out."""
        left_out = "".join(f"; {name} left out: {why}" for name, why in self.skipped.items())
        return f"{'passed' if self.passed else 'FAILED'} in {self.dtype}{left_out}"


def parity(net: Network, X: Any, y: Any, *, sample_weight: Any = None) -> Parity:
    """Compute outputs, loss, gradient and one step on every available backend, and compare.

    The oracle is the NumPy backend in float64, from the same parameters; the backends compute in
    the network's own dtype. The step is one of plain gradient descent at rate 1 over all rows. The
    network itself is left as it is.

    Parameters
    ----------
    net : Network
    X, y, sample_weight
        As in ``Network.fit``.

    Returns
    -------
    Parity
        ``passed``, and a row per backend and quantity; ``print`` shows it as a table.

    Raises
    ------
    TypeError, ValueError
        If the rows do not fit the network.
    """
    oracle = _quantities(net.to("numpy", dtype="float64"), X, y, sample_weight)
    terms = max(max(layer.inputs, layer.outputs) for layer in net.layers)
    rows, skipped = [], {}
    for name, status in registry.backends().items():
        if not status.available:
            skipped[name] = status.cause
            continue
        for quantity, value in _quantities(net.to(name), X, y, sample_weight).items():
            expected = oracle[quantity]
            longest = max(terms, len(oracle["outputs"]))
            allowed = tolerances.allowed(net.dtype.name, float(np.abs(expected).max()), longest)
            error = float(np.abs(value.astype(np.float64) - expected).max())
            rows.append(Comparison(name, quantity, error, allowed))
    return Parity(rows, net.dtype.name, skipped)


def _quantities(net: Network, X: Any, y: Any, sample_weight: Any) -> dict[str, Array]:
    loss, gradient = net.loss_and_gradient(X, y, sample_weight=sample_weight)
    result = {"outputs": net.forward(X), "loss": np.array([loss])}
    for name, begin, shape in net.blocks():
        result[f"gradient of {name}"] = gradient[begin : begin + int(np.prod(shape))]
    net.fit(
        X,
        y,
        sample_weight=sample_weight,
        optimizer=SGD(1.0),
        batch_size=None,
        epochs=1,
        progress=False,
    )
    result["parameters after a step"] = net.parameters
    return result
