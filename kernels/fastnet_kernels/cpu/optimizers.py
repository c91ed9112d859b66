"""sgd_step, momentum_step and adam_step on flat vectors: one pass, nothing materialised."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.execution.buffers import HALTED, RATE, STEP
from fastnet_kernels.cpu.compile import kernel


@kernel
def sgd_step(theta: Any, gradient: Any, scalars: Any) -> None:
    """Compute theta -= rate g."""
    if scalars[HALTED] != 0:
        return
    rate = theta.dtype.type(scalars[RATE])
    for i in range(theta.size):
        theta[i] -= rate * gradient[i]


@kernel
def momentum_step(
    theta: Any, velocity: Any, gradient: Any, scalars: Any, momentum: float, nesterov: int
) -> None:
    """v = momentum v + g,  theta -= rate v,  or rate (g + momentum v) with Nesterov."""
    if scalars[HALTED] != 0:
        return
    real = theta.dtype.type
    rate, mu = real(scalars[RATE]), real(momentum)
    for i in range(theta.size):
        v = mu * velocity[i] + gradient[i]
        velocity[i] = v
        theta[i] -= rate * (gradient[i] + mu * v if nesterov != 0 else v)


@kernel
def adam_step(
    theta: Any,
    m: Any,
    v: Any,
    gradient: Any,
    scalars: Any,
    clock: Any,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """theta -= (rate / c_1) m / (sqrt(v) / sqrt(c_2) + epsilon); see fastnet/optimizers.py."""
    if scalars[HALTED] != 0:
        return
    real = theta.dtype.type
    t = float(clock[STEP])
    c_1, c_2 = 1 - beta_1**t, 1 - beta_2**t
    rate, root = real(scalars[RATE] / c_1), real(c_2**-0.5)
    b_1, b_2, e = real(beta_1), real(beta_2), real(epsilon)
    rest_1, rest_2 = real(1 - beta_1), real(1 - beta_2)
    for i in range(theta.size):
        g = gradient[i]
        m_i = b_1 * m[i] + rest_1 * g
        v_i = b_2 * v[i] + rest_2 * (g * g)
        m[i] = m_i
        v[i] = v_i
        theta[i] -= rate * m_i / (np.sqrt(v_i) * root + e)
