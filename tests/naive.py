"""Slow float64 reference for dense networks, written straight from the equations.

Plain Python loops do all arithmetic; NumPy only carries arrays in and out.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Rows = list[list[float]]

CROSS_ENTROPIES = ("log_loss", "categorical_crossentropy")


@dataclass(frozen=True)
class Layer:
    """Dense layer: Z = A_prev W + b, A = f(Z)."""

    inputs: int
    outputs: int
    activation: str
    alpha: float = 0.0


def _matrix(values: npt.ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"expected a 2-D array, got {array.ndim}-D")
    return array


def _rows(values: npt.ArrayLike) -> Rows:
    rows: Rows = _matrix(values).tolist()
    return rows


def _flat(values: npt.ArrayLike) -> list[float]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"expected a 1-D array, got {array.ndim}-D")
    flat: list[float] = array.tolist()
    return flat


def _vector(values: Sequence[float]) -> Array:
    return np.array(values, dtype=np.float64)


def _filled(rows: Rows, shape: tuple[int, int]) -> Array:
    # The explicit shape keeps the column count of arrays with no rows.
    return np.array(rows, dtype=np.float64).reshape(shape)


def _same_shape(a: npt.ArrayLike, b: npt.ArrayLike) -> None:
    if _matrix(a).shape != _matrix(b).shape:
        raise ValueError(f"shapes differ: {_matrix(a).shape} and {_matrix(b).shape}")


# Linear algebra and data preparation


def matmul(
    a: npt.ArrayLike, b: npt.ArrayLike, transpose_a: bool = False, transpose_b: bool = False
) -> Array:
    """C_ij = sum_k op(A)_ik op(B)_kj."""
    left, right = _rows(a), _rows(b)
    shape_a, shape_b = _matrix(a).shape, _matrix(b).shape
    n, inner = (shape_a[1], shape_a[0]) if transpose_a else (shape_a[0], shape_a[1])
    inner_b, m = (shape_b[1], shape_b[0]) if transpose_b else (shape_b[0], shape_b[1])
    if inner != inner_b:
        raise ValueError(f"inner sizes differ: {inner} and {inner_b}")
    result: Rows = []
    for i in range(n):
        row = []
        for j in range(m):
            total = 0.0
            for k in range(inner):
                a_ik = left[k][i] if transpose_a else left[i][k]
                b_kj = right[j][k] if transpose_b else right[k][j]
                total += a_ik * b_kj
            row.append(total)
        result.append(row)
    return _filled(result, (n, m))


def column_sum(d: npt.ArrayLike) -> Array:
    """s_j = sum_i D_ij."""
    sums = [0.0] * _matrix(d).shape[1]
    for row in _rows(d):
        for j, value in enumerate(row):
            sums[j] += value
    return _vector(sums)


def gather(
    features: npt.ArrayLike, order: npt.ArrayLike, first: int, rows: int, scale: float
) -> Array:
    """X_ij = features[order[first + i]]_j * scale."""
    source = np.asarray(features)
    positions = np.asarray(order)
    columns = source.shape[1]
    result: Rows = []
    for i in range(rows):
        position = int(positions[first + i])
        result.append([float(source[position, j]) * float(scale) for j in range(columns)])
    return _filled(result, (rows, columns))


def one_hot(labels: npt.ArrayLike, outputs: int) -> Array:
    """T_ij = 1 if j == label_i else 0; with one output, T_i0 = label_i."""
    numbers = [int(label) for label in np.asarray(labels).ravel().tolist()]
    result: Rows = []
    for label in numbers:
        if not 0 <= label < max(outputs, 2):
            raise ValueError(f"label {label} does not fit {outputs} outputs")
        if outputs == 1:
            result.append([float(label)])
        else:
            result.append([1.0 if j == label else 0.0 for j in range(outputs)])
    return _filled(result, (len(numbers), outputs))


# Scalar functions


def _sigmoid(z: float) -> float:
    """1 / (1 + e^-z)."""
    # Only non-positive exponents are taken, so nothing overflows.
    if z >= 0.0:
        return 1.0 / (1.0 + math.exp(-z))
    return math.exp(z) / (1.0 + math.exp(z))


def _softplus(z: float) -> float:
    """log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)."""
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))


def _sign(x: float) -> float:
    """-1, 0 or 1."""
    if x > 0.0:
        return 1.0
    return -1.0 if x < 0.0 else 0.0


def _first_largest(values: Sequence[float]) -> int:
    """Smallest i with values_i = max_k values_k."""
    best = 0
    for i in range(1, len(values)):
        if values[i] > values[best]:
            best = i
    return best


def _log_sum_exp(z: Sequence[float]) -> float:
    """log sum_k e^z_k = z_top + log(1 + sum over k != top of e^(z_k - z_top))."""
    if not z:
        raise ValueError("log(1 - p) of a softmax needs at least two outputs")
    top = _first_largest(z)
    rest = 0.0
    for k, value in enumerate(z):
        if k != top:
            rest += math.exp(value - z[top])
    # log1p keeps the digits of a loss close to zero.
    return z[top] + math.log1p(rest)


def _softmax(z: Sequence[float]) -> list[float]:
    """p_i = e^z_i / sum_k e^z_k."""
    if not z:
        raise ValueError("a softmax needs at least one output")
    top = z[_first_largest(z)]
    powers = [math.exp(value - top) for value in z]
    total = 0.0
    for power in powers:
        total += power
    return [power / total for power in powers]


def _softmax_without(z: Sequence[float], j: int) -> list[float]:
    """q_i = e^z_i / sum over k != j of e^z_k for i != j, and q_j = 0."""
    others = [value for k, value in enumerate(z) if k != j]
    shares = _softmax(others) if others else []
    return [*shares[:j], 0.0, *shares[j:]]


# Activations


def _activate(name: str, z: float, alpha: float) -> float:
    """f(z) of an elementwise activation."""
    if name == "linear":
        return z
    if name == "sigmoid":
        return _sigmoid(z)
    if name == "tanh":
        return math.tanh(z)
    if name == "relu":
        return z if z > 0.0 else 0.0
    if name == "leaky_relu":
        return z if z > 0.0 else alpha * z
    if name == "elu":
        return z if z > 0.0 else alpha * math.expm1(z)
    raise ValueError(f"unknown activation {name!r}")


def _slope(name: str, z: float, alpha: float) -> float:
    """f'(z) of an elementwise activation."""
    if name == "linear":
        return 1.0
    if name == "sigmoid":
        return _sigmoid(z) * _sigmoid(-z)
    if name == "tanh":
        # 1 - tanh(z)^2 in a form that does not cancel for large |z|.
        return 4.0 * _sigmoid(2.0 * z) * _sigmoid(-2.0 * z)
    if name == "relu":
        return 1.0 if z > 0.0 else 0.0
    if name == "leaky_relu":
        return 1.0 if z > 0.0 else alpha
    if name == "elu":
        return 1.0 if z > 0.0 else alpha * math.exp(z)
    raise ValueError(f"unknown activation {name!r}")


def _activate_row(name: str, z: Sequence[float], alpha: float) -> list[float]:
    if name == "softmax":
        return _softmax(z)
    return [_activate(name, value, alpha) for value in z]


def _backward_row(name: str, d: Sequence[float], z: Sequence[float], alpha: float) -> list[float]:
    """dL/dz_i = sum_j dL/da_j da_j/dz_i; softmax: da_j/dz_i = p_j (delta_ij - p_i)."""
    if name != "softmax":
        return [d[i] * _slope(name, z[i], alpha) for i in range(len(z))]
    p = _softmax(z)
    result = []
    for i in range(len(z)):
        total = 0.0
        for j in range(len(z)):
            total += d[j] * p[j] * ((1.0 if i == j else 0.0) - p[i])
        result.append(total)
    return result


def activation(name: str, z: npt.ArrayLike, alpha: float = 0.0) -> Array:
    """A = f(Z), elementwise, or row by row for softmax."""
    result = [_activate_row(name, row, alpha) for row in _rows(z)]
    n, m = _matrix(z).shape
    return _filled(result, (n, m))


def activation_backward(name: str, d: npt.ArrayLike, z: npt.ArrayLike, alpha: float = 0.0) -> Array:
    """dL/dZ from d = dL/dA, with the derivative taken at Z."""
    _same_shape(d, z)
    result = [
        _backward_row(name, d_row, z_row, alpha)
        for d_row, z_row in zip(_rows(d), _rows(z), strict=True)
    ]
    n, m = _matrix(z).shape
    return _filled(result, (n, m))


# Losses


def _check_pair(loss: str, activation_name: str) -> None:
    if loss in CROSS_ENTROPIES:
        if activation_name not in ("sigmoid", "softmax"):
            raise ValueError(f"{loss} is not defined for {activation_name} outputs")
    elif loss not in ("mse", "mae"):
        raise ValueError(f"unknown loss {loss!r}")


def _log_probabilities(name: str, z: Sequence[float]) -> list[float]:
    """log p_j: -softplus(-z_j) for sigmoid, z_j - logsumexp(z) for softmax."""
    if name == "sigmoid":
        return [-_softplus(-value) for value in z]
    # Softmax sees differences only; shifting first keeps digits at large logits.
    top = z[_first_largest(z)]
    shifted = [value - top for value in z]
    normalizer = _log_sum_exp(shifted)
    return [value - normalizer for value in shifted]


def _log_complement(name: str, z: Sequence[float], j: int) -> float:
    """log(1 - p_j): -softplus(z_j), or logsumexp over k != j minus logsumexp over all."""
    if name == "sigmoid":
        return -_softplus(z[j])
    # Same shift as in the log probabilities, for the same reason.
    top = z[_first_largest(z)]
    shifted = [value - top for value in z]
    others = [value for k, value in enumerate(shifted) if k != j]
    return _log_sum_exp(others) - _log_sum_exp(shifted)


def _row_loss(loss: str, name: str, z: Sequence[float], t: Sequence[float], alpha: float) -> float:
    m = len(z)
    total = 0.0
    if loss in CROSS_ENTROPIES:
        log_p = _log_probabilities(name, z)
        for j in range(m):
            total -= t[j] * log_p[j]
            # A single softmax output has 1 - p = 0; with t = 1 that term is absent.
            if loss == "log_loss" and t[j] != 1.0:
                total -= (1.0 - t[j]) * _log_complement(name, z, j)
        return total / m if loss == "log_loss" else total
    a = _activate_row(name, z, alpha)
    for j in range(m):
        difference = a[j] - t[j]
        total += difference * difference if loss == "mse" else abs(difference)
    return total / m


def _log_loss_delta(name: str, z: Sequence[float], t: Sequence[float]) -> list[float]:
    """dl/dz_i = -(1/m) sum_j [t_j dlog(p_j)/dz_i + (1 - t_j) dlog(1 - p_j)/dz_i]."""
    m = len(z)
    if name == "sigmoid":
        return [-(t[i] * _sigmoid(-z[i]) - (1.0 - t[i]) * _sigmoid(z[i])) / m for i in range(m)]
    if m == 1 and t[0] != 1.0:
        raise ValueError("log(1 - p) of a softmax needs at least two outputs")
    p = _softmax(z)
    result = [0.0] * m
    for j in range(m):
        without_j = _softmax_without(z, j)
        for i in range(m):
            d_log_p = (1.0 if i == j else 0.0) - p[i]
            d_log_complement = without_j[i] - p[i]
            result[i] -= (t[j] * d_log_p + (1.0 - t[j]) * d_log_complement) / m
    return result


def _crossentropy_delta(name: str, z: Sequence[float], t: Sequence[float]) -> list[float]:
    """dl/dz_i = -sum_j t_j dlog(p_j)/dz_i."""
    m = len(z)
    if name == "sigmoid":
        return [-t[i] * _sigmoid(-z[i]) for i in range(m)]
    p = _softmax(z)
    result = []
    for i in range(m):
        total = 0.0
        for j in range(m):
            total -= t[j] * ((1.0 if i == j else 0.0) - p[i])
        result.append(total)
    return result


def _row_delta(
    loss: str, name: str, z: Sequence[float], t: Sequence[float], alpha: float
) -> list[float]:
    """dl/dz_i; mse: dl/da_j = 2 (a_j - t_j) / m, mae: dl/da_j = sign(a_j - t_j) / m."""
    if loss == "log_loss":
        return _log_loss_delta(name, z, t)
    if loss == "categorical_crossentropy":
        return _crossentropy_delta(name, z, t)
    m = len(z)
    a = _activate_row(name, z, alpha)
    if loss == "mse":
        d = [2.0 * (a[j] - t[j]) / m for j in range(m)]
    else:
        d = [_sign(a[j] - t[j]) / m for j in range(m)]
    return _backward_row(name, d, z, alpha)


def _row_weights(weights: npt.ArrayLike | None, rows: int) -> list[float]:
    values = [1.0] * rows if weights is None else _flat(weights)
    if len(values) != rows:
        raise ValueError(f"{len(values)} weights for {rows} rows")
    return values


def _total(values: Sequence[float]) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


def row_losses(
    loss: str, activation_name: str, z: npt.ArrayLike, t: npt.ArrayLike, alpha: float = 0.0
) -> Array:
    """Unweighted l_i of every row, from the logits Z and the targets T."""
    _check_pair(loss, activation_name)
    _same_shape(z, t)
    return _vector(
        [
            _row_loss(loss, activation_name, z_row, t_row, alpha)
            for z_row, t_row in zip(_rows(z), _rows(t), strict=True)
        ]
    )


def _mean_loss(losses: Sequence[float], weights: Sequence[float]) -> float:
    """L = sum_i w_i l_i / sum_i w_i, and 0 if the weights sum to 0."""
    weight_sum = _total(weights)
    if weight_sum == 0.0:
        return 0.0
    return _total([w * l_i for w, l_i in zip(weights, losses, strict=True)]) / weight_sum


def output_delta(
    loss: str,
    activation_name: str,
    z: npt.ArrayLike,
    t: npt.ArrayLike,
    weights: npt.ArrayLike | None,
    alpha: float = 0.0,
) -> Array:
    """dL/dZ_ij = w_i / sum_k w_k * dl_i/dZ_ij, and 0 if the weights sum to 0."""
    _check_pair(loss, activation_name)
    _same_shape(z, t)
    n, m = _matrix(z).shape
    w = _row_weights(weights, n)
    weight_sum = _total(w)
    result: Rows = []
    for w_i, z_row, t_row in zip(w, _rows(z), _rows(t), strict=True):
        if weight_sum == 0.0:
            result.append([0.0] * m)
        else:
            delta = _row_delta(loss, activation_name, z_row, t_row, alpha)
            result.append([w_i * value / weight_sum for value in delta])
    return _filled(result, (n, m))


def row_hits(z: npt.ArrayLike, t: npt.ArrayLike, rule: str, threshold: float = 0.0) -> Array:
    """1 where the row is right: equal first argmax, or (z_j > threshold) == (t_j > 0.5)."""
    _same_shape(z, t)
    hits = []
    for z_row, t_row in zip(_rows(z), _rows(t), strict=True):
        if rule == "argmax":
            hit = _first_largest(z_row) == _first_largest(t_row)
        elif rule == "threshold":
            hit = all(
                (z_j > threshold) == (t_j > 0.5) for z_j, t_j in zip(z_row, t_row, strict=True)
            )
        else:
            raise ValueError(f"unknown rule {rule!r}")
        hits.append(1.0 if hit else 0.0)
    return _vector(hits)


# Networks


def _unpack(layers: Sequence[Layer], theta: npt.ArrayLike) -> list[tuple[Array, list[float]]]:
    """(W_l, b_l) of every layer: W row-major (inputs, outputs), then b, no padding."""
    values = _flat(theta)
    parameters = []
    position = 0
    for number, layer in enumerate(layers):
        if number > 0 and layer.inputs != layers[number - 1].outputs:
            raise ValueError(f"layer {number} does not fit the one before it")
        if layer.activation == "softmax" and number != len(layers) - 1:
            raise ValueError("softmax is allowed on the last layer only")
        w: Rows = []
        for _ in range(layer.inputs):
            w.append(values[position : position + layer.outputs])
            position += layer.outputs
        b = values[position : position + layer.outputs]
        position += layer.outputs
        if position > len(values):
            raise ValueError("too few parameters")
        parameters.append((_filled(w, (layer.inputs, layer.outputs)), b))
    if position != len(values):
        raise ValueError("too many parameters")
    return parameters


def forward(
    layers: Sequence[Layer], theta: npt.ArrayLike, x: npt.ArrayLike
) -> list[tuple[Array, Array]]:
    """Z_l = A_{l-1} W_l + b_l and A_l = f_l(Z_l), with A_0 = X."""
    result = []
    a = _matrix(x)
    for layer, (w, b) in zip(layers, _unpack(layers, theta), strict=True):
        product = matmul(a, w)
        rows = [[value + b[j] for j, value in enumerate(row)] for row in _rows(product)]
        z = _filled(rows, (a.shape[0], layer.outputs))
        a = activation(layer.activation, z, layer.alpha)
        result.append((z, a))
    return result


def trace(
    layers: Sequence[Layer],
    loss: str,
    theta: npt.ArrayLike,
    x: npt.ArrayLike,
    t: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> list[dict[str, Array]]:
    """Z, A, dZ, dW = A_{l-1}^T dZ_l, db = column sums of dZ_l, for every layer.

    dZ_{l-1} = (dZ_l W_l^T) * f'_{l-1}(Z_{l-1}).
    """
    parameters = _unpack(layers, theta)
    values = forward(layers, theta, x)
    last = len(layers) - 1
    steps: list[dict[str, Array]] = [{} for _ in layers]
    d_z = output_delta(
        loss, layers[last].activation, values[last][0], t, weights, layers[last].alpha
    )
    for index in range(last, -1, -1):
        if index < last:
            d_a = matmul(d_z, parameters[index + 1][0], transpose_b=True)
            d_z = activation_backward(
                layers[index].activation, d_a, values[index][0], layers[index].alpha
            )
        before = values[index - 1][1] if index > 0 else _matrix(x)
        steps[index] = {
            "Z": values[index][0],
            "A": values[index][1],
            "dZ": d_z,
            "dW": matmul(before, d_z, transpose_a=True),
            "db": column_sum(d_z),
        }
    return steps


def loss_and_gradient(
    layers: Sequence[Layer],
    loss: str,
    theta: npt.ArrayLike,
    x: npt.ArrayLike,
    t: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> tuple[float, Array]:
    """L = sum_i w_i l_i / sum_i w_i and dL/dtheta, laid out like theta."""
    steps = trace(layers, loss, theta, x, t, weights)
    output = layers[-1]
    losses = row_losses(loss, output.activation, steps[-1]["Z"], t, output.alpha)
    gradient: list[float] = []
    for step in steps:
        for row in _rows(step["dW"]):
            gradient.extend(row)
        gradient.extend(_flat(step["db"]))
    value = _mean_loss(_flat(losses), _row_weights(weights, len(losses)))
    return value, _vector(gradient)


def numeric_gradient(
    function: Callable[[Array], float], theta: npt.ArrayLike, h: float = 1e-6
) -> Array:
    """g_i = (F(theta + h e_i) - F(theta - h e_i)) / (2 h)."""
    point = _flat(theta)
    gradient = []
    for i in range(len(point)):
        above, below = list(point), list(point)
        above[i] += h
        below[i] -= h
        rise = float(function(_vector(above))) - float(function(_vector(below)))
        gradient.append(rise / (2.0 * h))
    return _vector(gradient)


# Training


def optimizer_step(
    name: str,
    theta: npt.ArrayLike,
    gradient: npt.ArrayLike,
    state: dict[str, Any],
    settings: Mapping[str, float],
) -> Array:
    """One step; `state` keeps v, m and the step number t, all 0 at the start.

    sgd:      theta -= lr g
    momentum: v = mu v + g; theta -= lr v
    nesterov: v = mu v + g; theta -= lr (g + mu v)
    adam:     m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
              theta -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    """
    if name not in ("sgd", "momentum", "nesterov", "adam"):
        raise ValueError(f"unknown optimizer {name!r}")
    result = _flat(theta)
    g = _flat(gradient)
    if len(g) != len(result):
        raise ValueError(f"{len(g)} gradient entries for {len(result)} parameters")
    v = _flat(state.get("v", [0.0] * len(g)))
    m = _flat(state.get("m", [0.0] * len(g)))
    t = int(state.get("t", 0)) + 1
    lr = float(settings["learning_rate"])
    for i in range(len(g)):
        if name == "sgd":
            result[i] -= lr * g[i]
        elif name == "momentum":
            v[i] = settings["momentum"] * v[i] + g[i]
            result[i] -= lr * v[i]
        elif name == "nesterov":
            v[i] = settings["momentum"] * v[i] + g[i]
            result[i] -= lr * (g[i] + settings["momentum"] * v[i])
        else:
            b1, b2 = settings["beta_1"], settings["beta_2"]
            m[i] = b1 * m[i] + (1.0 - b1) * g[i]
            v[i] = b2 * v[i] + (1.0 - b2) * g[i] * g[i]
            m_hat = m[i] / (1.0 - b1**t)
            v_hat = v[i] / (1.0 - b2**t)
            result[i] -= lr * m_hat / (math.sqrt(v_hat) + settings["epsilon"])
    state["v"], state["m"], state["t"] = _vector(v), _vector(m), t
    return _vector(result)


def train(
    layers: Sequence[Layer],
    loss: str,
    theta: npt.ArrayLike,
    x: npt.ArrayLike,
    t: npt.ArrayLike,
    batches: Sequence[Sequence[int]],
    optimizer: str,
    settings: Mapping[str, float],
    weights: npt.ArrayLike | None = None,
) -> Array:
    """Final theta after one optimizer step per batch of row numbers."""
    features, targets = _matrix(x), _matrix(t)
    w = _vector(_row_weights(weights, features.shape[0]))
    state: dict[str, Any] = {}
    point = _vector(_flat(theta))
    for batch in batches:
        # The integer type matters for a batch with no rows.
        rows = np.array(batch, dtype=np.int64)
        _, gradient = loss_and_gradient(layers, loss, point, features[rows], targets[rows], w[rows])
        point = optimizer_step(optimizer, point, gradient, state, settings)
    return point
