"""Layers: what a network is made of, as descriptions without parameters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from fastnet import checks
from fastnet.activations import ELU, Activation, LeakyReLU, ReLU, Softmax, activation
from fastnet.initializers import Initializer, initializer
from fastnet.losses import Loss, is_legal

# Columns are counted in 32 bits by every BLAS and kernel.
MOST_UNITS = 2**31 - 1


@dataclass(frozen=True, init=False)
class Dense:
    """A fully connected layer: Z = A W + b, then f(Z).

    Parameters
    ----------
    inputs, outputs : int
        Units before and after, 1 or more.
    activation : str or Activation, default "linear"
        One of ``linear sigmoid tanh relu leaky_relu elu softmax``; a parameter stands in
        parentheses, as in ``"leaky_relu(0.1)"``.
    weights, biases : str or Initializer, optional
        How the first W (inputs, outputs) and b (outputs,) are drawn: ``glorot_uniform he_normal
        he_uniform normal(scale) uniform(low, high) zeros``. By default W is ``he_uniform`` before
        relu, leaky_relu and elu and ``glorot_uniform`` before the others, and b is ``zeros``.

    Raises
    ------
    TypeError, ValueError
        For sizes that are not whole numbers from 1 on, and for unknown names.
    """

    inputs: int
    outputs: int
    activation: Activation
    weights: Initializer
    biases: Initializer

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str | Activation = "linear",
        *,
        weights: str | Initializer | None = None,
        biases: str | Initializer = "zeros",
    ) -> None:
        f = _activation(activation)
        if weights is None:
            weights = "he_uniform" if isinstance(f, ReLU | LeakyReLU | ELU) else "glorot_uniform"
        for name, value in {
            "inputs": _units(inputs, "inputs of Dense"),
            "outputs": _units(outputs, "outputs of Dense"),
            "activation": f,
            "weights": initializer(weights, "weights"),
            "biases": initializer(biases, "biases"),
        }.items():
            object.__setattr__(self, name, value)

    @property
    def parameter_count(self) -> int:
        """Weights and biases together."""
        return self.inputs * self.outputs + self.outputs

    def __str__(self) -> str:
        return f"Dense({self.inputs}, {self.outputs}, {str(self.activation)!r})"


def _units(value: int, argument: str) -> int:
    return checks.whole_number(value, argument, at_least=1, at_most=MOST_UNITS)


_activation = activation  # Dense.__init__ has an argument of that name


def check_network(layers: Sequence[Dense], loss: Loss) -> tuple[Dense, ...]:
    """Return the layers as a tuple, or raise: they must chain and end in a legal pair."""
    if isinstance(layers, Dense) or not isinstance(layers, Sequence):
        raise TypeError(
            f"layers is {layers!r}; expected a list such as "
            f"[Dense(64, 32, 'relu'), Dense(32, 10, 'softmax')]"
        )
    if not layers:
        raise ValueError("layers is empty; a network needs at least one Dense layer")
    for number, layer in enumerate(layers, 1):
        if not isinstance(layer, Dense):
            raise TypeError(f"layer {number} is {layer!r} ({type(layer).__name__}); expected Dense")
    for number, (before, layer) in enumerate(itertools.pairwise(layers), 2):
        if before.outputs != layer.inputs:
            raise ValueError(
                f"layer {number} takes {layer.inputs} inputs, but layer {number - 1} gives "
                f"{before.outputs} outputs; write Dense({before.outputs}, {layer.outputs}, ...)"
            )
        if isinstance(before.activation, Softmax):
            raise ValueError(
                f"layer {number - 1} of {len(layers)} has the activation softmax, which may stand "
                f"only in the last layer; use relu, tanh or sigmoid there"
            )
    last = layers[-1]
    if isinstance(last.activation, Softmax) and last.outputs == 1:
        raise ValueError(
            "the last layer is softmax with 1 output, which is always 1; use softmax with 2 "
            "outputs, or sigmoid with 1"
        )
    if not is_legal(loss, last.activation):
        raise ValueError(
            f"loss is {loss.name!r} and the last activation is {str(last.activation)!r}: this "
            f"loss needs probabilities; use a sigmoid or softmax output, or the loss 'mse' or 'mae'"
        )
    return tuple(layers)
