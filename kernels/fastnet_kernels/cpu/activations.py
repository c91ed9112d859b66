"""bias_activation, activation, activation_backward and column_sum.

Fused: the bias is added and the activation applied in one pass over Z. Never materialised: masks.
The branch on the kind stands outside the loops, so that each loop runs in vector lanes.
"""

from __future__ import annotations

from typing import Any

from fastnet.execution.codes import ELU, LEAKY_RELU, RELU, SIGMOID, SOFTMAX, TANH
from fastnet_kernels.cpu.compile import kernel, piece
from fastnet_kernels.cpu.elementary import exp, expm1, tanh


@piece
def _apply(a: Any, activation: int, alpha: float) -> None:
    """Compute a = f(a) for flat a and every activation but softmax."""
    real = a.dtype.type
    slope = real(alpha)
    if activation == RELU:
        for i in range(a.size):
            a[i] = real(0) if a[i] <= 0 else a[i]  # this way round a NaN stays one
    elif activation == SIGMOID:
        for i in range(a.size):
            a[i] = real(1) / (real(1) + exp(-a[i]))
    elif activation == TANH:
        for i in range(a.size):
            a[i] = tanh(a[i])
    elif activation == LEAKY_RELU:
        for i in range(a.size):
            a[i] = a[i] if a[i] > 0 else slope * a[i]
    elif activation == ELU:
        for i in range(a.size):
            a[i] = a[i] if a[i] > 0 else slope * expm1(min(a[i], real(0)))


@piece
def _softmax(a: Any) -> None:
    """Compute the softmax of every row; the exponentials of all rows in one flat loop."""
    rows, m = a.shape
    for i in range(rows):
        largest = a[i, 0]
        for j in range(1, m):
            largest = a[i, j] if a[i, j] > largest else largest
        for j in range(m):
            a[i, j] -= largest
    flat = a.reshape(a.size)
    for k in range(flat.size):
        flat[k] = exp(flat[k])
    for i in range(rows):
        total = a.dtype.type(0)
        for j in range(m):
            total += a[i, j]
        for j in range(m):
            a[i, j] /= total


@piece
def _activation(a: Any, z: Any, activation: int, alpha: float) -> None:
    """Copy z where it is not the same memory, then work in place.

    A loop that reads one array and writes another is run in vector lanes only where the two do
    not overlap, and here they often are the same.
    """
    flat, source = a.reshape(a.size), z.reshape(z.size)
    if a.ctypes.data != z.ctypes.data:
        for i in range(flat.size):
            flat[i] = source[i]
    if activation == SOFTMAX:
        _softmax(a)
    else:
        _apply(flat, activation, alpha)


@kernel
def bias_activation(a: Any, z: Any, bias: Any, activation: int, alpha: float) -> None:
    """z += bias,  a = f(z)."""
    rows, m = z.shape
    if activation == RELU and a.ctypes.data == z.ctypes.data:
        real = a.dtype.type
        for i in range(rows):
            for j in range(m):
                s = z[i, j] + bias[j]
                z[i, j] = real(0) if s <= 0 else s
    else:
        for i in range(rows):
            for j in range(m):
                z[i, j] += bias[j]
        _activation(a, z, activation, alpha)


@kernel
def activation(a: Any, z: Any, activation: int, alpha: float) -> None:
    """Compute a = f(z)."""
    _activation(a, z, activation, alpha)


@kernel
def activation_backward(d: Any, a: Any, z: Any, activation: int, alpha: float) -> None:
    """d = d * f'(z), from a alone."""
    real = d.dtype.type
    slope = real(alpha)
    flat, out = d.reshape(d.size), a.reshape(a.size)
    if activation == RELU:
        for k in range(flat.size):
            flat[k] = real(0) if out[k] <= 0 else flat[k]
    elif activation == SIGMOID:
        for k in range(flat.size):
            flat[k] *= out[k] * (real(1) - out[k])
    elif activation == TANH:
        for k in range(flat.size):
            flat[k] *= (real(1) - out[k]) * (real(1) + out[k])
    elif activation == LEAKY_RELU:
        for k in range(flat.size):
            flat[k] = flat[k] * slope if out[k] <= 0 else flat[k]
    elif activation == ELU:
        for k in range(flat.size):
            flat[k] = flat[k] * (out[k] + slope) if out[k] <= 0 else flat[k]
    elif activation == SOFTMAX:
        rows, m = d.shape
        for i in range(rows):
            mean = real(0)
            for j in range(m):
                mean += d[i, j] * a[i, j]
            for j in range(m):
                d[i, j] = (d[i, j] - mean) * a[i, j]


@kernel
def column_sum(out: Any, d: Any, beta: int) -> None:
    """Compute out_j = sum_i d_ij + beta out_j, row after row."""
    rows, m = d.shape
    if beta == 0:
        for j in range(m):
            out[j] = 0
    for i in range(rows):
        for j in range(m):
            out[j] += d[i, j]
