"""elementwise_loss and cross_entropy: losses, gradients and hits of all rows in one pass.

Fused: loss, gradient, row weights and hits. Never materialised: probabilities (they are formed in
place of the gradient) and one-hot differences.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.execution.buffers import SCALE
from fastnet.execution.codes import ARGMAX_HITS, LOG_LOSS, MSE, SOFTMAX, THRESHOLD_HITS
from fastnet_kernels.cpu.compile import kernel, piece
from fastnet_kernels.cpu.elementary import exp


@piece
def _argmax(row: Any) -> int:
    """Return the first position of the largest element."""
    best, largest = 0, row[0]
    for j in range(1, row.size):
        # Two selections, no branch: which element is the largest cannot be predicted.
        is_larger = row[j] > largest
        best = j if is_larger else best
        largest = row[j] if is_larger else largest
    return best


@piece
def _finish(
    d: Any,
    row_loss: Any,
    row_hits: Any,
    z: Any,
    t: Any,
    w: Any,
    scalars: Any,
    rule: int,
    threshold: float,
) -> None:
    """Weigh losses and gradients, and decide the hits."""
    rows, m = d.shape
    real = d.dtype.type
    scale, border = real(scalars[SCALE]), real(threshold)
    for i in range(rows):
        row_loss[i] *= w[i]
        factor = scale * w[i]
        for j in range(m):
            d[i, j] *= factor
        hit = False
        if rule == ARGMAX_HITS:
            hit = _argmax(z[i]) == _argmax(t[i])
        elif rule == THRESHOLD_HITS:
            hit = True
            for j in range(m):
                hit = hit and (z[i, j] > border) == (t[i, j] > real(0.5))
        row_hits[i] = w[i] if hit else real(0)


@kernel
def elementwise_loss(
    d: Any,
    row_loss: Any,
    row_hits: Any,
    a: Any,
    z: Any,
    t: Any,
    w: Any,
    scalars: Any,
    loss: int,
    rule: int,
    threshold: float,
) -> None:
    """mse:  l = 1/m sum (a - t)^2, dl/da = 2 (a - t) / m;  mae: |a - t| and its sign."""
    rows, m = d.shape
    real = d.dtype.type
    one_mth, two_mths = real(1 / m), real(2 / m)
    for i in range(rows):
        total = real(0)
        if loss == MSE:
            for j in range(m):
                difference = a[i, j] - t[i, j]
                total += difference * difference
                d[i, j] = two_mths * difference
        else:
            for j in range(m):
                difference = a[i, j] - t[i, j]
                total += abs(difference)
                d[i, j] = one_mth * np.sign(difference)
        row_loss[i] = total * one_mth
    _finish(d, row_loss, row_hits, z, t, w, scalars, rule, threshold)


@piece
def _sigmoid_log_loss(d: Any, row_loss: Any, z: Any, t: Any) -> None:
    """l = 1/m sum [ softplus(z) - t z ],  dl/dz = (p - t) / m."""
    rows, m = d.shape
    real = d.dtype.type
    one_mth = real(1 / m)
    for i in range(rows):
        total = real(0)
        for j in range(m):
            x = z[i, j]
            # softplus(x) - t x in a form in which nothing large cancels, in whatever order.
            share = real(1) - t[i, j] if x > 0 else t[i, j]
            total += share * abs(x) + np.log1p(exp(-abs(x)))
            d[i, j] = (real(1) / (real(1) + exp(-x)) - t[i, j]) * one_mth
        row_loss[i] = total * one_mth


@piece
def _sigmoid_categorical(d: Any, row_loss: Any, z: Any, t: Any) -> None:
    """l = sum t softplus(-z),  dl/dz = -t sigmoid(-z)."""
    rows, m = d.shape
    real = d.dtype.type
    for i in range(rows):
        total = real(0)
        for j in range(m):
            x = -z[i, j]
            total += t[i, j] * (max(x, real(0)) + np.log1p(exp(-abs(x))))
            d[i, j] = -t[i, j] / (real(1) + exp(-x))
        row_loss[i] = total


@piece
def _softmax_categorical(d: Any, row_loss: Any, z: Any, t: Any) -> None:
    """l = sum t (lse - z),  dl/dz = p sum t - t;  all exponentials in one flat loop."""
    rows, m = d.shape
    real = d.dtype.type
    for i in range(rows):
        largest = z[i, 0]
        for j in range(1, m):
            largest = z[i, j] if z[i, j] > largest else largest
        mass, dot = real(0), real(0)
        for j in range(m):
            shifted = z[i, j] - largest
            d[i, j] = shifted
            mass += t[i, j]
            dot += t[i, j] * shifted
        # Kept for the second pass, where z is no longer at hand: l = mass log(sum) - dot.
        row_loss[i] = -dot
    flat = d.reshape(d.size)
    for k in range(flat.size):
        flat[k] = exp(flat[k])
    for i in range(rows):
        total, mass = real(0), real(0)
        for j in range(m):
            total += d[i, j]
            mass += t[i, j]
        row_loss[i] += mass * np.log(total)
        share = mass / total
        for j in range(m):
            d[i, j] = d[i, j] * share - t[i, j]


@piece
def _softmax_log_loss(d: Any, row_loss: Any, z: Any, t: Any) -> None:
    """Every output under every other: log(1 - p_j) = rest_j - lse; see fastnet/losses.py.

    rest_j is the log-sum-exp over the columns other than j. For the largest logit's column,
    ``top``, it is summed anew around the second largest; for the others the full sum less one
    term is safe, since the largest term, 1, stays in it.
    """
    rows, m = d.shape
    real = d.dtype.type
    one_mth = real(1 / m)
    for i in range(rows):
        top = _argmax(z[i])
        largest = z[i, top]
        second = real(-np.inf)  # of the logits less the largest
        for j in range(m):
            if j != top and z[i, j] - largest > second:
                second = z[i, j] - largest
        total, without_top = real(0), real(0)
        for j in range(m):
            shifted = z[i, j] - largest
            total += exp(shifted)
            if j != top:
                without_top += exp(shifted - second)
        log_total = np.log(total)
        rest_top = second + np.log(without_top)
        # The sum over j != top of (1 - t_j) exp(largest - rest_j), and the loss.
        pull, loss = real(0), real(0)
        for j in range(m):
            log_p = (z[i, j] - largest) - log_total
            if j == top:
                log_q = rest_top - log_total
            else:
                others = total - exp(z[i, j] - largest)
                log_q = np.log(others) - log_total
                pull += (real(1) - t[i, j]) / others
            loss -= t[i, j] * log_p + (real(1) - t[i, j]) * log_q
        row_loss[i] = loss * one_mth
        pull_top = (real(1) - t[i, top]) / without_top
        for j in range(m):
            e = exp(z[i, j] - largest)
            if j == top:
                pulled = e * pull
            else:
                own = (real(1) - t[i, j]) / (total - e)
                pulled = e * (pull - own) + pull_top * exp((z[i, j] - largest) - second)
            d[i, j] = e / total - one_mth * (t[i, j] + pulled)


@kernel
def cross_entropy(
    d: Any,
    row_loss: Any,
    row_hits: Any,
    z: Any,
    t: Any,
    w: Any,
    scalars: Any,
    loss: int,
    activation: int,
    rule: int,
    threshold: float,
) -> None:
    """Compute a cross-entropy and its gradient by Z from logits."""
    if activation == SOFTMAX:
        if loss == LOG_LOSS:
            _softmax_log_loss(d, row_loss, z, t)
        else:
            _softmax_categorical(d, row_loss, z, t)
    elif loss == LOG_LOSS:
        _sigmoid_log_loss(d, row_loss, z, t)
    else:
        _sigmoid_categorical(d, row_loss, z, t)
    _finish(d, row_loss, row_hits, z, t, w, scalars, rule, threshold)
