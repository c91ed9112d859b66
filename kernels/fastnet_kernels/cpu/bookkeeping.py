"""begin_step, add_losses and count_step: the scalars of a step."""

from __future__ import annotations

from typing import Any

import numpy as np

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
)
from fastnet_kernels.cpu.compile import exact, kernel


@kernel
def begin_step(scalars: Any, clock: Any, rates: Any, scales: Any) -> None:
    """Read this step's rate and scale, forget the last step's sums."""
    scalars[RATE] = rates[clock[BATCH]]
    scalars[SCALE] = scales[clock[BATCH]]
    scalars[LOSS] = 0
    scalars[HITS] = 0


@kernel
def add_losses(scalars: Any, row_loss: Any, row_hits: Any) -> None:
    """Sum in float64."""
    loss, hits = 0.0, 0.0
    for i in range(row_loss.size):
        loss += np.float64(row_loss[i])
        hits += np.float64(row_hits[i])
    scalars[LOSS] += loss
    scalars[HITS] += hits


@exact  # here a NaN must be seen
def count_step(scalars: Any, clock: Any, totals: Any, rows: int) -> None:
    """Count a good step, or halt at the first bad one."""
    if not np.isfinite(scalars[LOSS]):
        scalars[HALTED] = 1
    if scalars[HALTED] != 0:
        return
    totals[TOTAL_LOSS] += scalars[LOSS]
    totals[TOTAL_HITS] += scalars[HITS]
    clock[STEP] += 1
    clock[BATCH] += 1
    clock[ROW] += rows
