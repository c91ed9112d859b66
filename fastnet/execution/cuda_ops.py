"""The ops on a device: each call launches the kernel of its name, or the product of a BLAS.

What each op means stands in ``ops.py``; the kernels in ``kernels/fastnet_kernels/cuda``. Nothing
here reads a device value or allocates, so every op can be captured.
"""

from __future__ import annotations

import numpy as np

from fastnet.execution import codes
from fastnet.execution.device import THREADS, DeviceArray, Extent

# A warp works on a row of up to so many columns; a wider one gets a block.
WARP_COLUMNS = 1024
# What a block of a matrix's elements has of it: columns, and rows.
TILE = (32, 8)
# Rows of a matrix whose column sums are left to one block; more are shared out.
CHUNK = 512
# CUDA's limit for all but the first extent of a grid.
MOST_BLOCKS = 65535
# Blocks of a launch over a flat vector: several for every multiprocessor of the largest devices.
FLAT_BLOCKS = 1024


def _tiles(rows: int, columns: int) -> Extent:
    """Return the grid of tiles over a matrix; kernels stride over rows beyond it."""
    return -(-columns // TILE[0]), min(-(-rows // TILE[1]), MOST_BLOCKS)


def _by_rows(name: str, array: DeviceArray, *arguments: object) -> None:
    """Launch a kernel in which every row of ``array`` has a warp, or a block if it is wide."""
    rows, columns = array.shape
    if columns > WARP_COLUMNS:
        array.device.launch(f"{name}_wide", (rows,), *arguments, rows, columns)
    else:
        blocks = -(-rows * 32 // THREADS)
        array.device.launch(name, (blocks,), *arguments, rows, columns)


# -- matmul ---------------------------------------------------------------------------------------


def _product(
    out: DeviceArray,
    a: DeviceArray,
    b: DeviceArray,
    inner: int,
    columns_of_a: int,
    transposed: tuple[bool, bool],
    beta: int,
) -> None:
    m, n = out.shape
    if not out.size:
        return
    if inner:
        out.device.gemm(
            out,
            a,
            b,
            sizes=(m, n, inner),
            columns=(columns_of_a, b.shape[1]),
            transposed=transposed,
            beta=beta,
        )
    elif not beta:
        out.device.zero(out)


def matmul_nn(out: DeviceArray, a: DeviceArray, b: DeviceArray, beta: int) -> None:
    """out = a b + beta out."""
    _product(out, a, b, a.shape[1], a.shape[1], (False, False), beta)


def matmul_tn(out: DeviceArray, a: DeviceArray, b: DeviceArray, first: int, beta: int) -> None:
    """out = a[:, first:first+m]^T b + beta out."""
    inner, columns = a.shape
    from_first = a.reshape(a.size)[first:] if inner else a
    _product(out, from_first, b, inner, columns, (True, False), beta)


def matmul_nt(out: DeviceArray, a: DeviceArray, b: DeviceArray, beta: int) -> None:
    """out = a b^T + beta out."""
    _product(out, a, b, a.shape[1], a.shape[1], (False, True), beta)


# -- bias and activation --------------------------------------------------------------------------


def bias_activation(
    a: DeviceArray, z: DeviceArray, bias: DeviceArray, activation: int, alpha: float
) -> None:
    """z += bias,  a = f(z)."""
    if not z.size:
        return
    rows, columns = z.shape
    by_row = activation == codes.SOFTMAX
    target, kind = (z, codes.LINEAR) if by_row else (a, activation)
    z.device.launch(
        "bias_activation", _tiles(rows, columns), target, z, bias, kind, alpha, rows, columns
    )
    if by_row:
        _by_rows("softmax", z, a, z)


def activation(a: DeviceArray, z: DeviceArray, activation: int, alpha: float) -> None:
    """a = f(z)."""
    if not z.size:
        return
    if activation == codes.SOFTMAX:
        _by_rows("softmax", z, a, z)
        return
    rows, columns = z.shape
    if activation != codes.LINEAR or a.address != z.address:
        z.device.launch("activation", _tiles(rows, columns), a, z, activation, alpha, rows, columns)


def activation_backward(
    d: DeviceArray,
    a: DeviceArray,
    z: DeviceArray,  # noqa: ARG001 - no activation of today needs it
    activation: int,
    alpha: float,
) -> None:
    """d = d * f'(z)."""
    if not d.size or activation == codes.LINEAR:
        return
    if activation == codes.SOFTMAX:
        _by_rows("softmax_backward", d, d, a)
        return
    rows, columns = d.shape
    d.device.launch(
        "activation_backward", _tiles(rows, columns), d, a, activation, alpha, rows, columns
    )


def column_sum(out: DeviceArray, d: DeviceArray, beta: int) -> None:
    """out_j = sum_i d_ij + beta out_j; tall matrices in chunks whose sums are summed."""
    rows, columns = d.shape
    device = d.device
    if not columns:
        return
    across = -(-columns // TILE[0])
    partial = device.scratch(d.dtype)
    chunks = min(-(-rows // CHUNK), partial.size // columns, MOST_BLOCKS)
    if chunks > 1:
        chunk = -(-rows // chunks)
        chunks = -(-rows // chunk)
        partial = partial[: chunks * columns]
        device.launch("column_sum", (across, chunks), partial, d, 0, rows, columns, chunk)
        d, rows = partial, chunks
    device.launch("column_sum", (across, 1), out, d, beta, rows, columns, max(rows, 1))


# -- loss and its gradient ------------------------------------------------------------------------


def elementwise_loss(
    d: DeviceArray,
    row_loss: DeviceArray,
    row_hits: DeviceArray,
    a: DeviceArray,
    z: DeviceArray,
    t: DeviceArray,
    w: DeviceArray,
    scalars: DeviceArray,
    loss: int,
    rule: int,
    threshold: float,
) -> None:
    """l_i and dl_i/dA, weighted, with the hits."""
    if d.size:
        _by_rows(
            "elementwise_loss",
            d,
            *(d, row_loss, row_hits, a, z, t, w, scalars, loss, rule, threshold),
        )


def cross_entropy(
    d: DeviceArray,
    row_loss: DeviceArray,
    row_hits: DeviceArray,
    z: DeviceArray,
    t: DeviceArray,
    w: DeviceArray,
    scalars: DeviceArray,
    loss: int,
    activation: int,
    rule: int,
    threshold: float,
) -> None:
    """l_i and dl_i/dZ from logits, weighted, with the hits."""
    if d.size:
        _by_rows(
            "cross_entropy",
            d,
            *(d, row_loss, row_hits, z, t, w, scalars, loss, activation, rule, threshold),
        )


# -- gather ---------------------------------------------------------------------------------------


def gather_features(
    x: DeviceArray,
    features: DeviceArray,
    order: DeviceArray,
    clock: DeviceArray,
    first: int,
    scale: float,
) -> None:
    """x_i = scale * features[order[...]]."""
    if not x.size:
        return
    rows, columns = x.shape
    name = "gather_features_bytes" if features.dtype == np.uint8 else "gather_features"
    x.device.launch(
        name, _tiles(rows, columns), x, features, order, clock, first, scale, rows, columns
    )


def gather_targets(
    t: DeviceArray,
    w: DeviceArray,
    targets: DeviceArray,
    weights: DeviceArray,
    order: DeviceArray,
    clock: DeviceArray,
    first: int,
) -> None:
    """Targets and row weights in the epoch's order, classes as one-hot rows."""
    if not t.size:
        return
    rows, columns = t.shape
    name = "gather_targets_classes" if targets.ndim == 1 else "gather_targets"
    t.device.launch(
        name,
        _tiles(rows, columns),
        *(t, w, targets, weights, int(weights.size > 0), order, clock, first, rows, columns),
    )


# -- the step's bookkeeping -----------------------------------------------------------------------


def begin_step(
    scalars: DeviceArray, clock: DeviceArray, rates: DeviceArray, scales: DeviceArray
) -> None:
    """Read this step's rate and scale, forget the last step's sums."""
    scalars.device.launch("begin_step", (1,), scalars, clock, rates, scales)


def add_losses(scalars: DeviceArray, row_loss: DeviceArray, row_hits: DeviceArray) -> None:
    """Sum in float64."""
    rows = len(row_loss)
    scalars.device.launch("add_losses", (1,), scalars, row_loss, row_hits, rows)


def count_step(scalars: DeviceArray, clock: DeviceArray, totals: DeviceArray, rows: int) -> None:
    """Count a good step, or halt at the first bad one."""
    scalars.device.launch("count_step", (1,), scalars, clock, totals, rows)


# -- optimizer steps ------------------------------------------------------------------------------


def _over(name: str, theta: DeviceArray, *arguments: object) -> None:
    """Launch a kernel over the elements of a flat vector."""
    if theta.size:
        blocks = min(-(-theta.size // THREADS), FLAT_BLOCKS)
        theta.device.launch(name, (blocks,), theta, *arguments, theta.size)


def sgd_step(theta: DeviceArray, gradient: DeviceArray, scalars: DeviceArray) -> None:
    """theta -= rate g."""
    _over("sgd_step", theta, gradient, scalars)


def momentum_step(
    theta: DeviceArray,
    velocity: DeviceArray,
    gradient: DeviceArray,
    scalars: DeviceArray,
    momentum: float,
    nesterov: int,
) -> None:
    """v = momentum v + g,  theta -= rate v."""
    _over("momentum_step", theta, velocity, gradient, scalars, momentum, nesterov)


def adam_step(
    theta: DeviceArray,
    m: DeviceArray,
    v: DeviceArray,
    gradient: DeviceArray,
    scalars: DeviceArray,
    clock: DeviceArray,
    beta_1: float,
    beta_2: float,
    epsilon: float,
) -> None:
    """One step of Adam."""
    _over("adam_step", theta, m, v, gradient, scalars, clock, beta_1, beta_2, epsilon)


def take_rows(out: DeviceArray, rows: DeviceArray, index: DeviceArray) -> None:
    """out_i = rows[index_i], byte by byte, in any dtype; no op, but a kernel beside."""
    if out.size:
        count, width = len(out), out.nbytes // len(out)
        device, grid = out.device, _tiles(count, width)
        target, source = out.in_bytes(), rows.in_bytes()
        device.launch("take_rows", grid, target, source, index, count, width)


def not_finite(found: DeviceArray, values: DeviceArray) -> None:
    """Set ``found`` (1,) int32 to 1 if a value is NaN or infinite; no op, but a kernel beside."""
    if values.size:
        flat = values.reshape(values.size)
        blocks = min(-(-flat.size // THREADS), FLAT_BLOCKS)
        found.device.launch("not_finite", (blocks,), found, flat, flat.size)
