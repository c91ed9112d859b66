"""Initializers: how the first weights are drawn.

With ``inputs`` and ``outputs`` the numbers of units that a weight matrix joins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastnet import checks, naming

if TYPE_CHECKING:
    from fastnet.randomness import Stream

Vector = np.ndarray[Any, np.dtype[Any]]


class Initializer:
    """A distribution that first values are drawn from."""

    name: ClassVar[str]

    def sample(self, stream: Stream, count: int, inputs: int, outputs: int) -> Vector:
        """Return ``count`` float64 values for a layer of this size."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """Uniform in [-r, r) with r = sqrt(6 / (inputs + outputs)); for sigmoid, tanh and softmax.

    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010, equation 16.
    """

    name = "glorot_uniform"

    def sample(self, stream: Stream, count: int, inputs: int, outputs: int) -> Vector:
        """Draw from [-r, r)."""
        return math.sqrt(6 / (inputs + outputs)) * (2 * stream.uniform(count) - 1)


@dataclass(frozen=True)
class HeNormal(Initializer):
    """Normal with standard deviation sqrt(2 / inputs), not truncated; for relu and its kin.

    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, equation 10.
    """

    name = "he_normal"

    def sample(self, stream: Stream, count: int, inputs: int, outputs: int) -> Vector:  # noqa: ARG002
        """Draw with standard deviation sqrt(2 / inputs)."""
        return math.sqrt(2 / inputs) * stream.normal(count)


@dataclass(frozen=True)
class HeUniform(Initializer):
    """Uniform in [-r, r) with r = sqrt(6 / inputs): the variance of ``he_normal``."""

    name = "he_uniform"

    def sample(self, stream: Stream, count: int, inputs: int, outputs: int) -> Vector:  # noqa: ARG002
        """Draw from [-r, r)."""
        return math.sqrt(6 / inputs) * (2 * stream.uniform(count) - 1)


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal around 0 with standard deviation ``scale``."""

    name = "normal"
    scale: float = 1.0

    def __post_init__(self) -> None:
        checks.real_number(self.scale, "scale of normal", above=0)

    def sample(self, stream: Stream, count: int, inputs: int, outputs: int) -> Vector:  # noqa: ARG002
        """Draw with standard deviation ``scale``."""
        return self.scale * stream.normal(count)

    def __str__(self) -> str:
        return f"normal({self.scale:g})"


@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform in [low, high)."""

    name = "uniform"
    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        checks.real_number(self.low, "low of uniform")
        checks.real_number(self.high, "high of uniform")
        if self.low >= self.high:
            raise ValueError(
                f"uniform({self.low}, {self.high}): low must be below high, "
                f"such as uniform(-0.5, 0.5)"
            )

    def sample(self, stream: Stream, count: int, inputs: int, outputs: int) -> Vector:  # noqa: ARG002
        """Draw from [low, high)."""
        return self.low + (self.high - self.low) * stream.uniform(count)

    def __str__(self) -> str:
        return f"uniform({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Zeros(Initializer):
    """All 0: the usual start of biases, never of weights that should learn different things."""

    name = "zeros"

    def sample(self, stream: Stream, count: int, inputs: int, outputs: int) -> Vector:  # noqa: ARG002
        """Return zeros."""
        return np.zeros(count)


INITIALIZERS: dict[str, type[Initializer]] = {
    cls.name: cls for cls in (GlorotUniform, HeNormal, HeUniform, Normal, Uniform, Zeros)
}


def initializer(spec: str | Initializer, argument: str) -> Initializer:
    """Return the initializer that a name or object stands for; see `fastnet.naming.resolve`."""
    return naming.resolve(spec, INITIALIZERS, Initializer, argument)
