"""The ops contract: one name, one argument order, one meaning on every backend.

Arguments stand in the order outputs, inputs, scalars. Outputs are written in full unless ``beta``
is 1 (then added to) or the text says otherwise; their content before is never read. Matrices are
C-contiguous, two-dimensional and of one floating dtype, float32 or float64; no output overlaps
an input, except where the text allows it. Sizes of zero rows are legal and write nothing but
sums (of nothing, 0). NaN and infinity travel: no op hides one, and -0.0 counts as 0.

``backprop.py`` calls these ops and nothing else. A backend is a module that has all of them;
``tests/test_contract.py`` holds every backend against these signatures and against a naive
float64 oracle.
"""

from __future__ import annotations

from typing import Protocol

from fastnet.execution.buffers import Buffer


class Ops(Protocol):
    """All ops, as a protocol that a backend's module fulfils."""

    # -- matmul ---------------------------------------------------------------------------------

    @staticmethod
    def matmul_nn(out: Buffer, a: Buffer, b: Buffer, beta: int) -> None:
        """Compute ``out = a b + beta out``; a (m, k), b (k, n), out (m, n), beta 0 or 1."""

    @staticmethod
    def matmul_tn(out: Buffer, a: Buffer, b: Buffer, first: int, beta: int) -> None:
        """Compute ``out = a[:, first:first+m]^T b + beta out``; a (k, >= first+m), b (k, n).

        ``out`` is (m, n): whole rows of a product, so that its tiles can be shared out.
        """

    @staticmethod
    def matmul_nt(out: Buffer, a: Buffer, b: Buffer, beta: int) -> None:
        """Compute ``out = a b^T + beta out``; a (m, k), b (n, k), out (m, n), beta 0 or 1."""

    # -- bias and activation --------------------------------------------------------------------

    @staticmethod
    def bias_activation(a: Buffer, z: Buffer, bias: Buffer, activation: int, alpha: float) -> None:
        """Compute ``z += bias`` in every row, then ``a = f(z)``; ``a`` may be ``z`` itself."""

    @staticmethod
    def activation(a: Buffer, z: Buffer, activation: int, alpha: float) -> None:
        """Compute ``a = f(z)``, softmax row by row; ``a`` may be ``z`` itself."""

    @staticmethod
    def activation_backward(d: Buffer, a: Buffer, z: Buffer, activation: int, alpha: float) -> None:
        """Turn ``d``, in place, from the gradient by A into the gradient by Z.

        Reads ``a`` alone unless the activation says that it ``needs_z``. Where the derivative is
        0 by a case (relu at a <= 0) the result is 0 whatever ``d`` is, an infinity included.
        """

    @staticmethod
    def column_sum(out: Buffer, d: Buffer, beta: int) -> None:
        """Compute ``out_j = sum_i d_ij + beta out_j``; d (m, n), out (n,)."""

    # -- loss and its gradient, in one pass -----------------------------------------------------

    @staticmethod
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
        """Compute mse or mae of the outputs ``a`` and its gradient by A.

        For row i with loss l_i: ``row_loss_i = w_i l_i``, ``row_hits_i = w_i hit_i``,
        ``d_i = scalars[SCALE] w_i dl_i/da_i``. Hits are decided on ``z`` by ``rule``: argmax
        (the first of equals) or ``z > threshold`` against ``t > 1/2``; the rule NO_HITS writes 0.
        The hit of a row with NaN is not defined; its loss is NaN.
        """

    @staticmethod
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
        """Compute a cross-entropy from the logits ``z`` and its gradient by Z.

        ``loss`` is log_loss or categorical_crossentropy under sigmoid or softmax; finite for
        every ``z`` up to a thousandth of the dtype's range. Otherwise as ``elementwise_loss``.
        """

    # -- gather ---------------------------------------------------------------------------------

    @staticmethod
    def gather_features(
        x: Buffer, features: Buffer, order: Buffer, clock: Buffer, first: int, scale: float
    ) -> None:
        """Compute ``x_i = scale * features[order[clock[ROW] + first + i]]`` in the dtype of x.

        ``features`` is uint8 or of x's dtype; the product is taken in x's dtype.
        """

    @staticmethod
    def gather_targets(
        t: Buffer,
        w: Buffer,
        targets: Buffer,
        weights: Buffer,
        order: Buffer,
        clock: Buffer,
        first: int,
    ) -> None:
        """Gather targets ``t`` (rows, outputs) and row weights ``w`` (rows,) in the same order.

        One-dimensional int32 ``targets`` are class indices: they become one-hot rows, or, with
        one output, the index itself (0 or 1). ``weights`` of size 0 stand for ones.
        """

    # -- the step's bookkeeping -----------------------------------------------------------------

    @staticmethod
    def begin_step(scalars: Buffer, clock: Buffer, rates: Buffer, scales: Buffer) -> None:
        """Set RATE and SCALE from the vectors at ``clock[BATCH]``, LOSS and HITS to 0."""

    @staticmethod
    def add_losses(scalars: Buffer, row_loss: Buffer, row_hits: Buffer) -> None:
        """Add the sums of both vectors, taken in float64 in a fixed order, to LOSS and HITS."""

    @staticmethod
    def count_step(scalars: Buffer, clock: Buffer, totals: Buffer, rows: int) -> None:
        """Add LOSS and HITS to the totals and move the clock on by a step of ``rows`` rows.

        If LOSS is not finite, set HALTED instead and leave clock and totals as they are; once
        HALTED is set this op does nothing.
        """

    # -- optimizer steps on flat vectors; none of them does anything once HALTED is set ---------

    @staticmethod
    def sgd_step(theta: Buffer, gradient: Buffer, scalars: Buffer) -> None:
        """Compute ``theta -= rate * gradient``."""

    @staticmethod
    def momentum_step(
        theta: Buffer,
        velocity: Buffer,
        gradient: Buffer,
        scalars: Buffer,
        momentum: float,
        nesterov: int,
    ) -> None:
        """Compute ``v = momentum v + g`` and ``theta -= rate v``, or with Nesterov's look-ahead.

        With ``nesterov`` 1: ``theta -= rate (g + momentum v)``, v being the new velocity.
        """

    @staticmethod
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
        """Compute one step of Adam with t = ``clock[STEP]``, which is 1 at the first step."""


NAMES = tuple(name for name in vars(Ops) if not name.startswith("_"))
