"""Optimizers: settings as objects, the equation of a step, and the step in NumPy.

An optimizer works on the one flat vector of all parameters, theta, its gradient g, and as many
flat vectors of state as it has ``slots``. The objects hold settings only; the network holds the
state. t counts the steps and is 1 in the first.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from fastnet import checks, naming
from fastnet.execution import codes
from fastnet.execution.buffers import Update

Vector = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Optimizer:
    """Settings of an optimizer.

    Attributes
    ----------
    learning_rate : float
        The length of a step, above 0.
    """

    name: ClassVar[str]
    learning_rate: float

    @property
    def slots(self) -> int:
        """Flat vectors of state, each as long as theta."""
        raise NotImplementedError

    def update(self) -> Update:
        """Return the settings as the numbers that the backends take."""
        raise NotImplementedError

    def check_dtype(self, dtype: np.dtype[Any]) -> None:
        """Raise ValueError if a setting vanishes or overflows in the network's dtype."""
        for name in ("learning_rate", "epsilon"):
            if hasattr(self, name):
                checks.fits(getattr(self, name), name, dtype)

    def with_learning_rate(self, learning_rate: float) -> Optimizer:
        """Return the same optimizer with another learning rate."""
        return replace(self, learning_rate=learning_rate)

    def __str__(self) -> str:
        settings = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields(self))
        return f"{self.name}({settings})"


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, plain, with momentum, or with Nesterov's look-ahead.

    Plain:     theta <- theta - rate g
    Momentum:  v <- momentum v + g,   theta <- theta - rate v
    Nesterov:  v <- momentum v + g,   theta <- theta - rate (g + momentum v)

    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
    learning", 2013, in the form in which the rate multiplies v when it is used, not when it is
    gathered; with a constant rate both give the same steps. Nesterov's theta is the point that is
    looked ahead to, the paper's theta + momentum v (docs/math.md). How many rows make a gradient
    is the batch size of ``fit``: 1 is one sample at a time, None the whole set.

    Parameters
    ----------
    learning_rate : float, default 0.01
    momentum : float, default 0
        From 0 to below 1.
    nesterov : bool, default False
        Needs a momentum above 0.
    """

    name: ClassVar[str] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        checks.real_number(self.learning_rate, "learning_rate", above=0)
        checks.real_number(self.momentum, "momentum", at_least=0, below=1)
        checks.truth(self.nesterov, "nesterov")
        if self.nesterov and not self.momentum:
            raise ValueError(
                "nesterov is True and momentum is 0; Nesterov's look-ahead needs a momentum "
                "above 0, such as SGD(0.01, momentum=0.9, nesterov=True)"
            )

    @property
    def slots(self) -> int:
        """The velocity, where there is momentum."""
        return 1 if self.momentum else 0

    def update(self) -> Update:
        """Return the settings as numbers."""
        kind = codes.MOMENTUM if self.momentum else codes.SGD
        return Update(kind, float(self.momentum), int(self.nesterov), 0.0, 0.0, 0.0)

    @staticmethod
    def step(theta: Vector, gradient: Vector, rate: float) -> None:
        """Plain:  theta <- theta - rate g."""
        theta -= theta.dtype.type(rate) * gradient

    @staticmethod
    def momentum_step(
        theta: Vector, v: Vector, gradient: Vector, rate: float, momentum: float, nesterov: int
    ) -> None:
        """Momentum:  v <- momentum v + g,  theta <- theta - rate v; see the class for Nesterov."""
        real = theta.dtype.type
        v *= real(momentum)
        v += gradient
        if nesterov:
            theta -= real(rate) * (gradient + real(momentum) * v)
        else:
            theta -= real(rate) * v


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: a step scaled by running means of the gradient and of its square.

    m <- beta_1 m + (1 - beta_1) g
    v <- beta_2 v + (1 - beta_2) g^2
    theta <- theta - rate m' / (sqrt(v') + epsilon)
    with m' = m / (1 - beta_1^t) and v' = v / (1 - beta_2^t)

    Kingma, Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1: epsilon stands
    outside the root, and beside the corrected v, as there.

    Parameters
    ----------
    learning_rate : float, default 0.001
    beta_1, beta_2 : float, default 0.9 and 0.999
        From 0 to below 1.
    epsilon : float, default 1e-8
        Above 0.
    """

    name: ClassVar[str] = "adam"
    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        checks.real_number(self.learning_rate, "learning_rate", above=0)
        checks.real_number(self.beta_1, "beta_1", at_least=0, below=1)
        checks.real_number(self.beta_2, "beta_2", at_least=0, below=1)
        checks.real_number(self.epsilon, "epsilon", above=0)

    @property
    def slots(self) -> int:
        """The vectors m and v."""
        return 2

    def update(self) -> Update:
        """Return the settings as numbers."""
        return Update(codes.ADAM, 0.0, 0, float(self.beta_1), float(self.beta_2), self.epsilon)

    @staticmethod
    def step(
        theta: Vector,
        m: Vector,
        v: Vector,
        gradient: Vector,
        t: int,
        rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
    ) -> None:
        """One step; the corrections are taken in float64 and applied to scalars, not vectors.

        rate m' / (sqrt(v') + epsilon) = (rate / c_1) m / (sqrt(v) / sqrt(c_2) + epsilon)
        with c_1 = 1 - beta_1^t and c_2 = 1 - beta_2^t.
        """
        real = theta.dtype.type
        m *= real(beta_1)
        m += real(1 - beta_1) * gradient
        v *= real(beta_2)
        v += real(1 - beta_2) * (gradient * gradient)
        c_1, c_2 = 1 - beta_1**t, 1 - beta_2**t
        theta -= real(rate / c_1) * m / (np.sqrt(v) * real(c_2**-0.5) + real(epsilon))


OPTIMIZERS: dict[str, type[Optimizer]] = {cls.name: cls for cls in (SGD, Adam)}


def optimizer(spec: str | Optimizer, argument: str = "optimizer") -> Optimizer:
    """Return the optimizer that a name or object stands for; see `fastnet.naming.resolve`."""
    return naming.resolve(spec, OPTIMIZERS, Optimizer, argument)
