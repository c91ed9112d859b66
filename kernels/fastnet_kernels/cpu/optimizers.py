"""sgd_step, momentum_step and adam_step on flat vectors: one pass, nothing materialised."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnet.execution.buffers import HALTED, RATE, STEP
from fastnet_kernels.cpu.compile import kernel, piece
from fastnet_kernels.cpu.memory import LINE, touch

# Elements that are updated at a time, and how far ahead parameters are touched.
CHUNK, AHEAD = 256, 512


@piece
def _own_ahead(theta: Any, begin: int) -> None:
    """Write the parameters that come two chunks later, one in each cache line, as they are.

    Other threads have read them since, and a store waits until their cores have let go of its line.
    Stores leave in order; with those of the update between them, one line would be waited for after
    the other. (Asking by a prefetch made no difference: measured on Zen 4.)
    """
    address, size = theta.ctypes.data, theta.itemsize
    until = min(begin + AHEAD + CHUNK, theta.size)
    for place in range(address + (begin + AHEAD) * size, address + until * size, LINE):
        touch(place)


@kernel
def sgd_step(theta: Any, gradient: Any, scalars: Any) -> None:
    """Compute theta -= rate g."""
    if scalars[HALTED] != 0:
        return
    rate = theta.dtype.type(scalars[RATE])
    for begin in range(0, theta.size, CHUNK):
        _own_ahead(theta, begin)
        p, g = theta[begin : begin + CHUNK], gradient[begin : begin + CHUNK]
        for i in range(p.size):
            p[i] -= rate * g[i]


@kernel
def momentum_step(
    theta: Any, velocity: Any, gradient: Any, scalars: Any, momentum: float, nesterov: int
) -> None:
    """v = momentum v + g,  theta -= rate v,  or rate (g + momentum v) with Nesterov."""
    if scalars[HALTED] != 0:
        return
    real = theta.dtype.type
    rate, mu = real(scalars[RATE]), real(momentum)
    for begin in range(0, theta.size, CHUNK):
        _own_ahead(theta, begin)
        p, g = theta[begin : begin + CHUNK], gradient[begin : begin + CHUNK]
        velocities = velocity[begin : begin + CHUNK]
        for i in range(p.size):
            v = mu * velocities[i] + g[i]
            velocities[i] = v
            p[i] -= rate * (g[i] + mu * v if nesterov != 0 else v)


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
    for begin in range(0, theta.size, CHUNK):
        _own_ahead(theta, begin)
        end = begin + CHUNK
        p, g, means, squares = theta[begin:end], gradient[begin:end], m[begin:end], v[begin:end]
        for i in range(p.size):
            m_i = b_1 * means[i] + rest_1 * g[i]
            v_i = b_2 * squares[i] + rest_2 * (g[i] * g[i])
            means[i] = m_i
            squares[i] = v_i
            p[i] -= rate * m_i / (np.sqrt(v_i) * root + e)
