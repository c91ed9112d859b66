"""Activations: each class holds the equation, its derivative, and both in NumPy.

``forward`` and ``backward`` are the reference that every other backend is compared with. The
letters are those of the equations: Z goes in, A = f(Z) comes out, D is dL/dA and becomes dL/dZ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from fastnet import checks, naming
from fastnet.execution import codes

Matrix = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Activation:
    """A function applied to every element (softmax: to every row) of Z.

    Attributes
    ----------
    name, code
        What users call it and what kernels dispatch on.
    alpha : float
        The parameter of ``leaky_relu`` and ``elu``; 0 for the others.
    needs_z : bool
        Whether ``backward`` reads Z. It is False where f' follows from A, and then only A is kept.
    score_threshold : float
        The z at which f(z) = 1/2: where a single output decides between two classes.
    kinks : tuple of float
        The z where f has no derivative; gradient checks keep away from them.
    """

    name: ClassVar[str]
    code: ClassVar[int]
    needs_z: ClassVar[bool] = False
    score_threshold: ClassVar[float] = 0.5
    alpha: float = field(default=0.0, init=False)

    @property
    def kinks(self) -> tuple[float, ...]:
        """Points without a derivative."""
        return ()

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def forward(a: Matrix, z: Matrix, alpha: float) -> None:
        """Write f(z) to ``a``, which may be ``z`` itself."""
        raise NotImplementedError

    @staticmethod
    def backward(d: Matrix, a: Matrix, z: Matrix, alpha: float) -> None:
        """Multiply ``d`` by f'(z), in place."""
        raise NotImplementedError


class Linear(Activation):
    """f(z) = z,  f'(z) = 1."""

    name, code = "linear", codes.LINEAR

    @staticmethod
    def forward(a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f(z) = z."""
        if a is not z:
            np.copyto(a, z)

    @staticmethod
    def backward(d: Matrix, a: Matrix, z: Matrix, alpha: float) -> None:
        """f'(z) = 1: nothing to do."""


class Sigmoid(Activation):
    """f(z) = 1 / (1 + exp(-z)),  f'(z) = a (1 - a)."""

    name, code, score_threshold = "sigmoid", codes.SIGMOID, 0.0

    @staticmethod
    def forward(a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f(z) = 1 / (1 + exp(-z))."""
        np.negative(z, out=a)
        with np.errstate(over="ignore"):  # exp(-z) = inf gives 1 / inf = 0, which is right
            np.exp(a, out=a)
        a += 1
        np.reciprocal(a, out=a)

    @staticmethod
    def backward(d: Matrix, a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f'(z) = a (1 - a)."""
        d *= a * (1 - a)


class Tanh(Activation):
    """f(z) = tanh(z),  f'(z) = 1 - a^2."""

    name, code = "tanh", codes.TANH
    score_threshold = math.atanh(0.5)

    @staticmethod
    def forward(a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f(z) = tanh(z)."""
        np.tanh(z, out=a)

    @staticmethod
    def backward(d: Matrix, a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f'(z) = 1 - a^2 = (1 - a) (1 + a), which loses nothing to cancellation."""
        d *= (1 - a) * (1 + a)


class ReLU(Activation):
    """f(z) = max(z, 0),  f'(z) = 1 for z > 0, else 0 (at 0, too: the usual convention)."""

    name, code = "relu", codes.RELU

    @property
    def kinks(self) -> tuple[float, ...]:
        """The corner at 0."""
        return (0.0,)

    @staticmethod
    def forward(a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f(z) = max(z, 0)."""
        np.maximum(z, 0, out=a)

    @staticmethod
    def backward(d: Matrix, a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f'(z) = 0 where a <= 0, else 1."""
        np.copyto(d, 0, where=a <= 0)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """f(z) = z for z > 0, else alpha z;  f'(z) = 1 for z > 0, else alpha.

    Maas, Hannun, Ng, "Rectifier nonlinearities improve neural network acoustic models", 2013.
    ``alpha`` must be 0 or larger, so that the sign of a tells the sign of z.
    """

    name, code = "leaky_relu", codes.LEAKY_RELU
    alpha: float = 0.01

    def __post_init__(self) -> None:
        checks.real_number(self.alpha, "alpha of leaky_relu", at_least=0)

    def __str__(self) -> str:
        return f"leaky_relu({self.alpha:g})"

    @property
    def kinks(self) -> tuple[float, ...]:
        """The corner at 0, unless both slopes are 1."""
        return () if self.alpha == 1 else (0.0,)

    @staticmethod
    def forward(a: Matrix, z: Matrix, alpha: float) -> None:
        """f(z) = z for z > 0, else alpha z."""
        np.copyto(a, np.where(z > 0, z, z * z.dtype.type(alpha)))

    @staticmethod
    def backward(d: Matrix, a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f'(z) = alpha where a <= 0, else 1."""
        np.multiply(d, d.dtype.type(alpha), out=d, where=a <= 0)


@dataclass(frozen=True)
class ELU(Activation):
    """f(z) = z for z > 0, else alpha (exp(z) - 1);  f'(z) = 1 for z > 0, else a + alpha.

    Clevert, Unterthiner, Hochreiter, "Fast and accurate deep network learning by exponential
    linear units (ELUs)", 2016. ``alpha`` must be larger than 0.
    """

    name, code = "elu", codes.ELU
    alpha: float = 1.0

    def __post_init__(self) -> None:
        checks.real_number(self.alpha, "alpha of elu", above=0)

    def __str__(self) -> str:
        return f"elu({self.alpha:g})"

    @property
    def kinks(self) -> tuple[float, ...]:
        """The corner at 0; with alpha = 1 only the second derivative jumps."""
        return (0.0,)

    @staticmethod
    def forward(a: Matrix, z: Matrix, alpha: float) -> None:
        """f(z) = z for z > 0, else alpha (exp(z) - 1)."""
        np.copyto(a, np.where(z > 0, z, z.dtype.type(alpha) * np.expm1(np.minimum(z, 0))))

    @staticmethod
    def backward(d: Matrix, a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f'(z) = alpha exp(z) = a + alpha where a <= 0, else 1."""
        np.multiply(d, a + d.dtype.type(alpha), out=d, where=a <= 0)


class Softmax(Activation):
    """f(z)_j = exp(z_j) / sum_k exp(z_k), row by row; it stands only in the last layer.

    The largest z of the row is subtracted first, which changes nothing but keeps exp in range.
    """

    name, code, score_threshold = "softmax", codes.SOFTMAX, 0.0

    @staticmethod
    def forward(a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """f(z)_j = exp(z_j - max z) / sum_k exp(z_k - max z)."""
        np.subtract(z, z.max(axis=1, keepdims=True), out=a)
        np.exp(a, out=a)
        a /= a.sum(axis=1, keepdims=True)

    @staticmethod
    def backward(d: Matrix, a: Matrix, z: Matrix, alpha: float) -> None:  # noqa: ARG004
        """dL/dz_j = a_j (d_j - sum_k d_k a_k): the Jacobian diag(a) - a a^T times d."""
        d -= (d * a).sum(axis=1, keepdims=True)
        d *= a


ACTIVATIONS: dict[str, type[Activation]] = {
    cls.name: cls for cls in (Linear, Sigmoid, Tanh, ReLU, LeakyReLU, ELU, Softmax)
}


def activation(spec: str | Activation, argument: str = "activation") -> Activation:
    """Return the activation that a name or object stands for; see `fastnet.naming.resolve`."""
    return naming.resolve(spec, ACTIVATIONS, Activation, argument)
