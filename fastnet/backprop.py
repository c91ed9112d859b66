r"""The math, once: forward, loss and its gradient, backward, and the step that joins them.

The letters are those of the equations. Layer l reads A_i, the output of layer i (the inputs X are
A_0), and has the weights W_l (inputs, outputs) and the biases b_l (outputs,); f_l is its
activation. dZ_l stands for dL/dZ_l and so on; every matrix has one row per sample.

    forward    Z_l  = A_i W_l + b_l            A_l  = f_l(Z_l)
    output     dZ_L = dL/dZ_L                  L = sum_r w_r l(z_r, t_r) / sum_r w_r
    backward   dW_l = A_i^T dZ_l               db_l = column sums of dZ_l
               dA_i = dZ_l W_l^T               dZ_i = dA_i * f_i'(Z_i)

Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", 1986.

Every backend executes these functions, none has a copy. They use the ops of
``fastnet.execution.ops`` and plain integers, and nothing else: no allocation, no reading of device
values, no branch on them. So NumPy runs them as they stand, Numba compiles them whole, and a
stream capture records them. ``fastnet.execution.mathsource`` loads this module once per backend
and puts that backend's ops in the place of ``ops``.
"""

from __future__ import annotations

from typing import Any

import fastnet.execution.numpy_ops as ops
from fastnet.execution import codes
from fastnet.execution.buffers import Buffer, Control, Data, Parameters, Update, Work, matrix

Layers = Any  # the records of a layer table
Layer = Any  # one of them


# -- views into the flat buffers ------------------------------------------------------------------


def weights_of(flat: Buffer, layer: Layer) -> Buffer:
    """W_l in theta, or dW_l in the gradient: (inputs, outputs)."""
    begin = layer["weights"]
    inputs, outputs = layer["inputs"], layer["outputs"]
    return matrix(flat[begin : begin + inputs * outputs], inputs, outputs)


def biases_of(flat: Buffer, layer: Layer) -> Buffer:
    """b_l in theta, or db_l in the gradient: (outputs,)."""
    begin = layer["biases"]
    return flat[begin : begin + layer["outputs"]]


def rows_of(flat: Buffer, offset: int, width: int, capacity: int, begin: int, end: int) -> Buffer:
    """Rows ``begin`` to ``end`` of the matrix (capacity, width) that stands at ``offset``."""
    start = offset * capacity
    return matrix(flat[start + begin * width : start + end * width], end - begin, width)


def a_of(work: Work, layer: Layer, begin: int, end: int) -> Buffer:
    """A_l, the activated outputs of a layer: (rows, outputs)."""
    return rows_of(work.values, layer["a"], layer["outputs"], work.capacity, begin, end)


def z_of(work: Work, layer: Layer, begin: int, end: int) -> Buffer:
    """Z_l: (rows, outputs); the same memory as A_l where f' follows from A."""
    return rows_of(work.values, layer["z"], layer["outputs"], work.capacity, begin, end)


def d_of(work: Work, layer: Layer, begin: int, end: int) -> Buffer:
    """dA_l, which becomes dZ_l in place: (rows, outputs)."""
    return rows_of(work.deltas, layer["d"], layer["outputs"], work.capacity, begin, end)


# -- phases; each works on the rows ``begin`` to ``end`` of a block --------------------------------


def gather(
    layers: Layers, data: Data, work: Work, clock: Buffer, first: int, begin: int, end: int
) -> None:
    """A_0 = scale * X[order];  the block begins ``first`` rows into the batch."""
    X = a_of(work, layers[0], begin, end)
    ops.gather_features(X, data.features, data.order, clock, first + begin, data.scale)


def gather_targets(
    layers: Layers, data: Data, work: Work, clock: Buffer, first: int, begin: int, end: int
) -> None:
    """T and w of the same rows, T one-hot where the targets are classes."""
    T = rows_of(work.targets, 0, layers[len(layers) - 1]["outputs"], work.capacity, begin, end)
    w = work.weights[begin:end]
    ops.gather_targets(T, w, data.targets, data.weights, data.order, clock, first + begin)


def forward(
    layers: Layers,
    theta: Buffer,
    work: Work,
    clock: Buffer,  # noqa: ARG001 - the counter that layers with random bits draw by
    begin: int,
    end: int,
    training: int,  # noqa: ARG001 - whether such layers draw at all
) -> None:
    """Z_l = A_i W_l + b_l,  A_l = f_l(Z_l);  the last layer stops at its logits, A_L = Z_L."""
    for l in range(1, len(layers) - 1):
        layer = layers[l]
        A_i = a_of(work, layers[layer["input"]], begin, end)
        Z = z_of(work, layer, begin, end)
        A = a_of(work, layer, begin, end)
        ops.matmul_nn(Z, A_i, weights_of(theta, layer), 0)
        ops.bias_activation(A, Z, biases_of(theta, layer), layer["activation"], layer["alpha"])


def activate_outputs(layers: Layers, work: Work, begin: int, end: int) -> None:
    """Y = f_L(Z_L):  the network's outputs."""
    output = layers[len(layers) - 1]
    Z = z_of(work, output, begin, end)
    Y = a_of(work, output, begin, end)
    ops.activation(Y, Z, output["activation"], output["alpha"])


def output_delta(layers: Layers, work: Work, scalars: Buffer, begin: int, end: int) -> None:
    """dZ_L = dL/dZ_L, with the loss and the hits of every row.

    mse, mae:         dY = dL/dY,  dZ_L = dY * f_L'(Z_L)
    cross-entropies:  dZ_L in one pass from the logits, where most of the derivative cancels
    """
    output = layers[len(layers) - 1]
    Z = z_of(work, output, begin, end)
    D = d_of(work, output, begin, end)
    T = rows_of(work.targets, 0, output["outputs"], work.capacity, begin, end)
    w = work.weights[begin:end]
    loss, hits = work.row_loss[begin:end], work.row_hits[begin:end]
    rule, threshold = output["rule"], output["threshold"]
    if output["elementwise"]:
        activate_outputs(layers, work, begin, end)
        Y = a_of(work, output, begin, end)
        ops.elementwise_loss(D, loss, hits, Y, Z, T, w, scalars, output["loss"], rule, threshold)
        ops.activation_backward(D, Y, Z, output["activation"], output["alpha"])
    else:
        ops.cross_entropy(
            D, loss, hits, Z, T, w, scalars, output["loss"], output["activation"], rule, threshold
        )


def delta(layers: Layers, theta: Buffer, work: Work, l: int, begin: int, end: int) -> None:
    """dZ_l = dA_l * f_l'(Z_l),  dA_i = dZ_l W_l^T  (added, where another layer reads A_i too)."""
    layer = layers[l]
    D = d_of(work, layer, begin, end)
    A = a_of(work, layer, begin, end)
    Z = z_of(work, layer, begin, end)
    ops.activation_backward(D, A, Z, layer["activation"], layer["alpha"])
    if layer["input"] > 0:
        D_i = d_of(work, layers[layer["input"]], begin, end)
        ops.matmul_nt(D_i, D, weights_of(theta, layer), layer["adds"])


def weight_gradient(
    layers: Layers,
    gradient: Buffer,
    work: Work,
    l: int,
    rows: int,
    first: int,
    last: int,
    beta: int,
) -> None:
    """dW_l = A_i^T dZ_l:  the rows ``first`` to ``last`` of dW_l, from all rows of the block."""
    layer = layers[l]
    A_i = a_of(work, layers[layer["input"]], 0, rows)
    D = d_of(work, layer, 0, rows)
    ops.matmul_tn(weights_of(gradient, layer)[first:last], A_i, D, first, beta)


def bias_gradient(
    layers: Layers, gradient: Buffer, work: Work, l: int, rows: int, beta: int
) -> None:
    """db_l = column sums of dZ_l."""
    layer = layers[l]
    ops.column_sum(biases_of(gradient, layer), d_of(work, layer, 0, rows), beta)


def update(
    optimizer: Update, parameters: Parameters, control: Control, begin: int, end: int
) -> None:
    """theta <- theta - step:  the elements ``begin`` to ``end`` of the flat vectors."""
    theta, gradient = parameters.theta[begin:end], parameters.gradient[begin:end]
    state, scalars = parameters.state, control.scalars
    if optimizer.kind == codes.SGD:
        ops.sgd_step(theta, gradient, scalars)
    elif optimizer.kind == codes.MOMENTUM:
        v = state[0][begin:end]
        ops.momentum_step(theta, v, gradient, scalars, optimizer.momentum, optimizer.nesterov)
    else:
        m, v = state[0][begin:end], state[1][begin:end]
        beta_1, beta_2, epsilon = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
        ops.adam_step(theta, m, v, gradient, scalars, control.clock, beta_1, beta_2, epsilon)


# -- the phases joined ----------------------------------------------------------------------------


def losses(
    layers: Layers,
    theta: Buffer,
    data: Data,
    work: Work,
    control: Control,
    first: int,
    begin: int,
    end: int,
    training: int,
) -> None:
    """Gather, forward and loss of the rows ``begin`` to ``end`` of the block at ``first``."""
    gather(layers, data, work, control.clock, first, begin, end)
    gather_targets(layers, data, work, control.clock, first, begin, end)
    forward(layers, theta, work, control.clock, begin, end, training)
    output_delta(layers, work, control.scalars, begin, end)


def deltas(layers: Layers, theta: Buffer, work: Work, begin: int, end: int) -> None:
    """dZ of every layer, the last layer first."""
    for l in range(len(layers) - 2, 0, -1):
        delta(layers, theta, work, l, begin, end)


def gradients(layers: Layers, gradient: Buffer, work: Work, rows: int, beta: int) -> None:
    """dW and db of every layer; with ``beta`` 1 they are added to."""
    for l in range(1, len(layers) - 1):
        weight_gradient(layers, gradient, work, l, rows, 0, layers[l]["inputs"], beta)
        bias_gradient(layers, gradient, work, l, rows, beta)


def sweep(
    layers: Layers,
    theta: Buffer,
    gradient: Buffer,
    data: Data,
    work: Work,
    control: Control,
    rows: int,
    training: int,
) -> None:
    """L and dL/dtheta over ``rows`` rows, block by block, without an update."""
    ops.begin_step(control.scalars, control.clock, control.rates, control.scales)
    for first in range(0, rows, work.capacity):
        block = min(work.capacity, rows - first)
        losses(layers, theta, data, work, control, first, 0, block, training)
        ops.add_losses(control.scalars, work.row_loss[:block], work.row_hits[:block])
        deltas(layers, theta, work, 0, block)
        gradients(layers, gradient, work, block, 1 if first > 0 else 0)


def step(
    layers: Layers,
    optimizer: Update,
    parameters: Parameters,
    data: Data,
    work: Work,
    control: Control,
    rows: int,
) -> None:
    """One step of training on the next ``rows`` rows of the epoch's order."""
    theta, gradient = parameters.theta, parameters.gradient
    sweep(layers, theta, gradient, data, work, control, rows, 1)
    ops.count_step(control.scalars, control.clock, control.totals, rows)
    update(optimizer, parameters, control, 0, len(theta))


def evaluate(
    layers: Layers, theta: Buffer, data: Data, work: Work, control: Control, rows: int
) -> None:
    """L and hits over ``rows`` rows, block by block, without a gradient."""
    ops.begin_step(control.scalars, control.clock, control.rates, control.scales)
    for first in range(0, rows, work.capacity):
        block = min(work.capacity, rows - first)
        losses(layers, theta, data, work, control, first, 0, block, 0)
        ops.add_losses(control.scalars, work.row_loss[:block], work.row_hits[:block])


def predict(
    layers: Layers,
    theta: Buffer,
    data: Data,
    work: Work,
    control: Control,
    first: int,
    rows: int,
) -> None:
    """Y = f_L(Z_L) of one block of rows; targets are not read."""
    gather(layers, data, work, control.clock, first, 0, rows)
    forward(layers, theta, work, control.clock, 0, rows, 0)
    activate_outputs(layers, work, 0, rows)
