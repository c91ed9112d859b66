"""The ops on NumPy: the readable reference. What each op means stands in ``ops.py``."""

from __future__ import annotations

import math

import numpy as np

from fastnet.activations import ACTIVATIONS
from fastnet.execution import codes
from fastnet.execution.buffers import (
    BATCH,
    HALTED,
    HITS,
    LOSS,
    RATE,
    ROW,
    SCALE,
    STEP,
    TOTAL_HITS,
    TOTAL_LOSS,
    Buffer,
)
from fastnet.losses import LOSSES, CrossEntropy, ElementwiseLoss
from fastnet.optimizers import SGD, Adam

_ACTIVATION = {cls.code: cls for cls in ACTIVATIONS.values()}
_ELEMENTWISE = {cls.code: cls for cls in LOSSES.values() if issubclass(cls, ElementwiseLoss)}
_CROSS_ENTROPY = {cls.code: cls for cls in LOSSES.values() if issubclass(cls, CrossEntropy)}


# -- matmul ---------------------------------------------------------------------------------------


def _product(out: Buffer, a: Buffer, b: Buffer, beta: int) -> None:
    if beta:
        out += a @ b
    else:
        np.matmul(a, b, out=out)


def matmul_nn(out: Buffer, a: Buffer, b: Buffer, beta: int) -> None:
    """out = a b + beta out."""
    _product(out, a, b, beta)


def matmul_tn(out: Buffer, a: Buffer, b: Buffer, first: int, beta: int) -> None:
    """out = a[:, first:first+m]^T b + beta out."""
    _product(out, a[:, first : first + len(out)].T, b, beta)


def matmul_nt(out: Buffer, a: Buffer, b: Buffer, beta: int) -> None:
    """out = a b^T + beta out."""
    _product(out, a, b.T, beta)


# -- bias and activation --------------------------------------------------------------------------


def bias_activation(a: Buffer, z: Buffer, bias: Buffer, activation: int, alpha: float) -> None:
    """z += bias,  a = f(z)."""
    z += bias
    _ACTIVATION[activation].forward(a, z, alpha)


def activation(a: Buffer, z: Buffer, activation: int, alpha: float) -> None:
    """a = f(z)."""
    _ACTIVATION[activation].forward(a, z, alpha)


def activation_backward(d: Buffer, a: Buffer, z: Buffer, activation: int, alpha: float) -> None:
    """d = d * f'(z)."""
    _ACTIVATION[activation].backward(d, a, z, alpha)


def column_sum(out: Buffer, d: Buffer, beta: int) -> None:
    """out_j = sum_i d_ij + beta out_j."""
    if beta:
        out += d.sum(axis=0)
    else:
        np.sum(d, axis=0, out=out)


# -- loss and its gradient ------------------------------------------------------------------------


def elementwise_loss(
    d: Buffer,
    row_loss: Buffer,
    row_hits: Buffer,
    a: Buffer,
    z: Buffer,
    t: Buffer,
    w: Buffer,
    scalars: Buffer,
    loss: int,
    rule: int,
    threshold: float,
) -> None:
    """l_i and dl_i/dA, weighted, with the hits."""
    _ELEMENTWISE[loss].value_and_gradient(d, row_loss, a, t)
    _weigh(d, row_loss, w, scalars)
    _count_hits(row_hits, z, t, w, rule, threshold)


def cross_entropy(
    d: Buffer,
    row_loss: Buffer,
    row_hits: Buffer,
    z: Buffer,
    t: Buffer,
    w: Buffer,
    scalars: Buffer,
    loss: int,
    activation: int,
    rule: int,
    threshold: float,
) -> None:
    """l_i and dl_i/dZ from logits, weighted, with the hits."""
    family = _CROSS_ENTROPY[loss]
    from_logits = family.softmax if activation == codes.SOFTMAX else family.sigmoid
    from_logits(d, row_loss, z, t)
    _weigh(d, row_loss, w, scalars)
    _count_hits(row_hits, z, t, w, rule, threshold)


def _weigh(d: Buffer, row_loss: Buffer, w: Buffer, scalars: Buffer) -> None:
    row_loss *= w
    d *= (d.dtype.type(scalars[SCALE]) * w)[:, None]


def _count_hits(
    row_hits: Buffer, z: Buffer, t: Buffer, w: Buffer, rule: int, threshold: float
) -> None:
    if rule == codes.ARGMAX_HITS:
        np.multiply(w, z.argmax(axis=1) == t.argmax(axis=1), out=row_hits)
    elif rule == codes.THRESHOLD_HITS:
        np.multiply(w, ((z > z.dtype.type(threshold)) == (t > 0.5)).all(axis=1), out=row_hits)
    else:
        row_hits.fill(0)


# -- gather ---------------------------------------------------------------------------------------


def gather_features(
    x: Buffer, features: Buffer, order: Buffer, clock: Buffer, first: int, scale: float
) -> None:
    """x_i = scale * features[order[...]]."""
    begin = clock[ROW] + first
    np.multiply(features[order[begin : begin + len(x)]], x.dtype.type(scale), out=x)


def gather_targets(
    t: Buffer, w: Buffer, targets: Buffer, weights: Buffer, order: Buffer, clock: Buffer, first: int
) -> None:
    """Targets and row weights in the epoch's order, classes as one-hot rows."""
    begin = clock[ROW] + first
    rows = order[begin : begin + len(t)]
    if targets.ndim == 2:
        np.take(targets, rows, axis=0, out=t)
    elif t.shape[1] == 1:
        t[:, 0] = targets[rows]
    else:
        t.fill(0)
        t[np.arange(len(t)), targets[rows]] = 1
    if weights.size:
        np.take(weights, rows, out=w)
    else:
        w.fill(1)


# -- the step's bookkeeping -----------------------------------------------------------------------


def begin_step(scalars: Buffer, clock: Buffer, rates: Buffer, scales: Buffer) -> None:
    """Read this step's rate and scale, forget the last step's sums."""
    scalars[RATE] = rates[clock[BATCH]]
    scalars[SCALE] = scales[clock[BATCH]]
    scalars[LOSS] = 0
    scalars[HITS] = 0


def add_losses(scalars: Buffer, row_loss: Buffer, row_hits: Buffer) -> None:
    """Sum in float64."""
    scalars[LOSS] += row_loss.sum(dtype=np.float64)
    scalars[HITS] += row_hits.sum(dtype=np.float64)


def count_step(scalars: Buffer, clock: Buffer, totals: Buffer, rows: int) -> None:
    """Count a good step, or halt at the first bad one."""
    if not math.isfinite(scalars[LOSS]):
        scalars[HALTED] = 1
    if scalars[HALTED]:
        return
    totals[TOTAL_LOSS] += scalars[LOSS]
    totals[TOTAL_HITS] += scalars[HITS]
    clock[STEP] += 1
    clock[BATCH] += 1
    clock[ROW] += rows


# -- optimizer steps ------------------------------------------------------------------------------


def sgd_step(theta: Buffer, gradient: Buffer, scalars: Buffer) -> None:
    """theta -= rate g."""
    if not scalars[HALTED]:
        SGD.step(theta, gradient, scalars[RATE])


def momentum_step(
    theta: Buffer,
    velocity: Buffer,
    gradient: Buffer,
    scalars: Buffer,
    momentum: float,
    nesterov: int,
) -> None:
    """v = momentum v + g,  theta -= rate v."""
    if not scalars[HALTED]:
        SGD.momentum_step(theta, velocity, gradient, scalars[RATE], momentum, nesterov)


def adam_step(
    theta: Buffer,
    m: Buffer,
    v: Buffer,
    gradient: Buffer,
    scalars: Buffer,
    clock: Buffer,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """One step of Adam."""
    if not scalars[HALTED]:
        t = int(clock[STEP])
        Adam.step(theta, m, v, gradient, t, scalars[RATE], beta_1, beta_2, epsilon)
