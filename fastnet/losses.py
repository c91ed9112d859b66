"""Losses: each class holds the equation, the gradient, and both in NumPy.

A loss is a mean over rows, weighted by one number per row:  L = sum_i w_i l_i / sum_i w_i.
The classes compute l_i and its gradient for a single row i of unit weight; the ops multiply with
w_i / sum w. Targets t of a cross-entropy lie in [0, 1] and need not sum to 1.

``elementwise`` losses work on the outputs A and give dl/dA; the activation's own ``backward``
turns that into dl/dZ. Cross-entropies work on the logits Z and give dl/dZ directly: probabilities
are never formed and clipped, so that no logit up to a thousandth of the dtype's range gives an
infinite loss.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastnet import naming
from fastnet.activations import Sigmoid, Softmax
from fastnet.execution import codes

Matrix = np.ndarray[Any, np.dtype[Any]]
Vector = np.ndarray[Any, np.dtype[Any]]


class Loss:
    """What training makes small.

    Attributes
    ----------
    name, code
        What users call it and what kernels dispatch on.
    elementwise : bool
        True: a function of (a, t) per element, legal under every output activation. False: a
        cross-entropy, legal under sigmoid and softmax.
    kinked : bool
        Whether there is a point a = t without a derivative.
    """

    name: ClassVar[str]
    code: ClassVar[int]
    elementwise: ClassVar[bool]
    kinked: ClassVar[bool] = False

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ElementwiseLoss(Loss):
    """A mean over the m outputs of a function of a and t."""

    elementwise = True

    @staticmethod
    def value_and_gradient(d: Matrix, row_loss: Vector, a: Matrix, t: Matrix) -> None:
        """Write dl/dA to ``d`` and l_i to ``row_loss``."""
        raise NotImplementedError


class MeanSquaredError(ElementwiseLoss):
    """l = 1/m sum_j (a_j - t_j)^2,  dl/da_j = 2 (a_j - t_j) / m."""

    name, code = "mse", codes.MSE

    @staticmethod
    def value_and_gradient(d: Matrix, row_loss: Vector, a: Matrix, t: Matrix) -> None:
        """l = 1/m sum_j (a_j - t_j)^2,  dl/da_j = 2 (a_j - t_j) / m."""
        np.subtract(a, t, out=d)
        np.mean(d * d, axis=1, out=row_loss)
        d *= d.dtype.type(2 / d.shape[1])


class MeanAbsoluteError(ElementwiseLoss):
    """l = 1/m sum_j |a_j - t_j|,  dl/da_j = sign(a_j - t_j) / m, and 0 at a_j = t_j."""

    name, code = "mae", codes.MAE
    kinked = True

    @staticmethod
    def value_and_gradient(d: Matrix, row_loss: Vector, a: Matrix, t: Matrix) -> None:
        """l = 1/m sum_j |a_j - t_j|,  dl/da_j = sign(a_j - t_j) / m."""
        np.subtract(a, t, out=d)
        np.mean(np.abs(d), axis=1, out=row_loss)
        np.sign(d, out=d)
        d *= d.dtype.type(1 / d.shape[1])


class CrossEntropy(Loss):
    """A cross-entropy, computed from logits by the method named after the output activation."""

    elementwise = False

    @staticmethod
    def sigmoid(d: Matrix, row_loss: Vector, z: Matrix, t: Matrix) -> None:
        """Write dl/dZ to ``d`` and l_i to ``row_loss`` for p = sigmoid(z)."""
        raise NotImplementedError

    @staticmethod
    def softmax(d: Matrix, row_loss: Vector, z: Matrix, t: Matrix) -> None:
        """Write dl/dZ to ``d`` and l_i to ``row_loss`` for p = softmax(z)."""
        raise NotImplementedError


class LogLoss(CrossEntropy):
    """l = -1/m sum_j [ t_j log p_j + (1 - t_j) log(1 - p_j) ].

    Each output is a Bernoulli variable of its own; also called binary cross-entropy.
    """

    name, code = "log_loss", codes.LOG_LOSS

    @staticmethod
    def sigmoid(d: Matrix, row_loss: Vector, z: Matrix, t: Matrix) -> None:
        """l = 1/m sum_j [ softplus(z_j) - t_j z_j ],  dl/dz_j = (p_j - t_j) / m.

        softplus(z) - t z is the sum of s |z| and log(1 + exp(-|z|)) with s = 1 - t for z > 0 and
        s = t otherwise: in this form nothing large cancels.
        """
        away = np.abs(z)
        np.mean(away * np.where(z > 0, 1 - t, t) + np.log1p(np.exp(-away)), axis=1, out=row_loss)
        Sigmoid.forward(d, z, 0.0)
        d -= t
        d *= d.dtype.type(1 / d.shape[1])

    @staticmethod
    def softmax(d: Matrix, row_loss: Vector, z: Matrix, t: Matrix) -> None:
        """Every output under every other: 1 - p_j = exp(rest_j - lse).

        With lse = log sum_k exp z_k and rest_j = log sum_{k != j} exp z_k:

            log p_j = z_j - lse,    log(1 - p_j) = rest_j - lse
            dl/dz_i = p_i - 1/m [ t_i + sum_{j != i} (1 - t_j) exp(z_i - rest_j) ]

        ``top`` is the largest logit's column. For j != top, rest_j comes from the full sum less
        one term, which is safe because the largest term, 1, stays in it; for j = top the sum is
        taken anew around the second largest logit.
        """
        rows, m = z.shape
        i = np.arange(rows)
        top = z.argmax(axis=1)
        z = z - z[i, top][:, None]  # only differences count; from here on the largest is 0
        e = np.exp(z)
        total = e.sum(axis=1)
        lse = np.log(total)

        others = np.array(z)
        others[i, top] = -np.inf
        second = others.max(axis=1)
        without_top = np.exp(others - second[:, None])
        total_without_top = without_top.sum(axis=1)
        total_without_each = total[:, None] - e
        total_without_each[i, top] = 1  # a placeholder: this column is treated on its own
        rest = np.log(total_without_each)
        rest[i, top] = second + np.log(total_without_top)

        log_p, log_q = z - lse[:, None], rest - lse[:, None]
        np.mean(-(t * log_p + (1 - t) * log_q), axis=1, out=row_loss)

        share = (1 - t) / total_without_each  # (1 - t_j) exp(-rest_j), j != top
        share[i, top] = 0
        pulled = e * (share.sum(axis=1, keepdims=True) - share)
        # exp(z_i - rest_top) is a softmax over the other columns; its column ``top`` is 0.
        pulled += ((1 - t[i, top]) / total_without_top)[:, None] * without_top
        np.divide(e, total[:, None], out=d)
        d -= (t + pulled) / d.dtype.type(m)


class CategoricalCrossEntropy(CrossEntropy):
    """l = - sum_j t_j log p_j."""

    name, code = "categorical_crossentropy", codes.CATEGORICAL_CROSSENTROPY

    @staticmethod
    def sigmoid(d: Matrix, row_loss: Vector, z: Matrix, t: Matrix) -> None:
        """l = sum_j t_j softplus(-z_j),  dl/dz_j = -t_j sigmoid(-z_j)."""
        np.negative(z, out=d)
        np.sum(t * _softplus(d), axis=1, out=row_loss)
        Sigmoid.forward(d, d, 0.0)
        d *= -t

    @staticmethod
    def softmax(d: Matrix, row_loss: Vector, z: Matrix, t: Matrix) -> None:
        """l = sum_j t_j (lse - z_j),  dl/dz_j = p_j sum_k t_k - t_j."""
        np.subtract(z, z.max(axis=1, keepdims=True), out=d)
        e = np.exp(d)
        total = e.sum(axis=1, keepdims=True)
        np.sum(t * (np.log(total) - d), axis=1, out=row_loss)
        np.multiply(e, t.sum(axis=1, keepdims=True) / total, out=d)
        d -= t


def _softplus(z: Matrix) -> Matrix:
    """Return log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|)), which never overflows."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


LOSSES: dict[str, type[Loss]] = {
    cls.name: cls for cls in (MeanSquaredError, MeanAbsoluteError, LogLoss, CategoricalCrossEntropy)
}
ALIASES: dict[str, type[Loss]] = {"binary_crossentropy": LogLoss}


def loss(spec: str | Loss, argument: str = "loss") -> Loss:
    """Return the loss that a name or object stands for; see `fastnet.naming.resolve`."""
    return naming.resolve(spec, LOSSES | ALIASES, Loss, argument)


def is_legal(loss: Loss, activation: object) -> bool:
    """Whether ``loss`` may stand under an output layer with ``activation``."""
    return loss.elementwise or isinstance(activation, Sigmoid | Softmax)
