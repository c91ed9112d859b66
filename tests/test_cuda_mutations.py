"""Bugs planted in the CUDA kernels: the checks on the host must find every one of them.

A kernel is edited, compiled, and asked what ``test_cuda_kernels.py`` asks: is it NumPy's result,
are the bits the same in every schedule, does it end at all. Bugs above the kernels are planted in
``test_cuda_executor.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from cuda_host.device import HostDevice
from cuda_host.executor import needs_compiler
from cuda_host.module import HostKernelError, compile_at_once
from fastnet_kernels import cuda

from bench.gpu import kernels

pytestmark = needs_compiler

SCHEDULES = range(6)
SHAPES = [(7, 10), (33, 129), (3, 1100), (600, 5)]


class Guarded(HostDevice):
    """A device that notices what is written beside its arrays: more than a row of any case."""

    GUARD = 8192

    def __init__(self, seed: int, sources: dict[str, str]) -> None:
        super().__init__(seed=seed, sources=sources)
        self._memories: list[np.ndarray] = []

    def _allocate(self, nbytes: int) -> tuple[object, int]:
        memory = np.full(nbytes + 2 * self.GUARD, 0xFF, np.uint8)
        self._memories.append(memory)
        return memory, memory.ctypes.data + self.GUARD

    def is_whole(self) -> bool:
        """Whether all guards are as they were."""
        return all(
            (part == 0xFF).all()
            for memory in self._memories
            for part in (memory[: self.GUARD], memory[-self.GUARD :])
        )


class Bug(NamedTuple):
    """One edit of one file, and an op that it breaks."""

    what: str
    file: str
    op: str
    right: str
    wrong: str
    first: int = 0  # which of several places


BUGS = [
    Bug(
        "barrier removed before shared memory is read",
        "activations.cu",
        "column_sum",
        "  __syncthreads();\n  if (tile_row() == 0",
        "  if (tile_row() == 0",
    ),
    Bug(
        "barrier removed before shared memory is written again",
        "teams.cuh",
        "cross_entropy",
        "    __syncthreads();  // what the last call left here may still be read\n",
        "",
    ),
    Bug(
        "barrier removed after shared memory is written",
        "teams.cuh",
        "add_losses",
        "shared[warp] = double(value);\n    __syncthreads();",
        "shared[warp] = double(value);",
    ),
    Bug(
        "barrier removed before what one thread computed for all",
        "optimizers.cu",
        "adam_step",
        "  __syncthreads();\n  const REAL rate",
        "  const REAL rate",
    ),
    Bug(
        "barrier within a branch",
        "activations.cu",
        "column_sum",
        "  __syncthreads();\n  if (tile_row() == 0 && j < columns) {",
        "  if (tile_row()) {\n    __syncthreads();\n  } else {\n    __syncthreads();\n  }\n"
        "  if (tile_row() == 0 && j < columns) {",
    ),
    Bug("mask of half a warp", "teams.cuh", "activation", "0xffffffffu", "0xffffu"),
    Bug(
        "half of a warp left out of a sum",
        "teams.cuh",
        "cross_entropy",
        "distance = 16;",
        "distance = 8;",
    ),
    Bug(
        "lanes that leave before the others ask them",
        "losses.cu",
        "cross_entropy",
        "  if (i >= rows) return;\n  from_logits(",
        "  if (i >= rows || thread() % 32 >= columns) return;\n  from_logits(",
    ),
    Bug(
        "sum of spare lanes",
        "teams.cuh",
        "add_losses",
        "return is_spare ? T(0) : value;",
        "return value;",
    ),
    Bug(
        "last column left out",
        "losses.cu",
        "cross_entropy",
        "j < row.columns; j += team.size()) {\n    const REAL below",
        "j < row.columns - 1; j += team.size()) {\n    const REAL below",
    ),
    Bug(
        "last row left out", "gather.cu", "gather_features", "i < rows; i +=", "i < rows - 1; i +="
    ),
    Bug(
        "tail beyond the grid left out",
        "activations.cu",
        "bias_activation",
        "if (j >= columns) return;\n  const REAL shift",
        "if (j >= columns / 32 * 32) return;\n  const REAL shift",
    ),
    Bug(
        "row beyond the matrix",
        "losses.cu",
        "elementwise_loss",
        "  if (i >= rows) return;\n  elementwise(",
        "  if (i > rows) return;\n  elementwise(",
    ),
    Bug(
        "chunk of rows counted twice",
        "activations.cu",
        "column_sum",
        "begin = block_y() * chunk;",
        "begin = block_y() * (chunk - 1);",
    ),
    Bug(
        "coefficients swapped",
        "optimizers.cu",
        "adam_step",
        "keep_m * m[i] + add_m * g",
        "add_m * m[i] + keep_m * g",
    ),
    Bug(
        "correction of the first steps left out",
        "optimizers.cu",
        "adam_step",
        "REAL(scalars[RATE] / (1 - pow(beta_1, t)))",
        "REAL(scalars[RATE])",
    ),
    Bug(
        "epsilon within the root",
        "optimizers.cu",
        "adam_step",
        "(sqrt(square) * root + small)",
        "sqrt(square * root * root + small * 1000)",
    ),
    Bug(
        "velocity before its update",
        "optimizers.cu",
        "momentum_step",
        "(nesterov ? g + mu * v : v)",
        "(nesterov ? g + mu * g : v)",
    ),
    Bug(
        "derivative from the wrong side",
        "functions.cuh",
        "activation_backward",
        "case ELU: return a <= REAL(0) ? d * (a + alpha) : d;",
        "case ELU: return a <= REAL(0) ? d * a : d;",
    ),
    Bug(
        "tanh's derivative without its square",
        "functions.cuh",
        "activation_backward",
        "((REAL(1) - a) * (REAL(1) + a))",
        "(REAL(1) - a)",
    ),
    Bug(
        "largest logit not taken away",
        "losses.cu",
        "cross_entropy",
        "return mass * log(total) - dot;",
        "return log(total) - dot;",
    ),
    Bug(
        "row weight left out of the loss",
        "losses.cu",
        "elementwise_loss",
        "row_loss[i] = loss * w;",
        "row_loss[i] = loss;",
    ),
    Bug(
        "last of equals counts",
        "teams.cuh",
        "cross_entropy",
        "position : columns, Smaller()",
        "position : 0, Larger()",
    ),
    Bug(
        "order read from its beginning",
        "gather.cu",
        "gather_targets",
        "order + clock[ROW] + first;",
        "order + first;",
        1,
    ),
    Bug(
        "bytes not scaled",
        "gather.cu",
        "gather_features",
        "REAL(value) * REAL(scale)",
        "REAL(value)",
    ),
    Bug(
        "loss set, not added",
        "bookkeeping.cu",
        "add_losses",
        "scalars[LOSS] += loss;",
        "scalars[LOSS] = loss;",
    ),
    Bug(
        "bad step counted",
        "bookkeeping.cu",
        "count_step",
        "  if (scalars[HALTED] != 0) return;\n",
        "",
    ),
    Bug("rate of another step", "bookkeeping.cu", "begin_step", "rates[batch]", "rates[0]"),
]


def planted(bug: Bug) -> dict[str, str]:
    """Return the sources with the bug in them."""
    texts = dict(cuda.sources())
    parts = texts[bug.file].split(bug.right)
    assert len(parts) > 1 + bug.first, f"{bug.file} has no {bug.right!r}"
    before, after = parts[: bug.first + 1], parts[bug.first + 1 :]
    texts[bug.file] = bug.right.join(before) + bug.wrong + bug.right.join(after)
    return texts


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_at_once((cuda.kernels()[bug.op].file, "float", planted(bug)) for bug in BUGS)


def finding(op: str, sources: dict[str, str]) -> str:
    """Return what the checks say of an op whose kernels are made from ``sources``."""
    for case in kernels.cases(SHAPES, op):
        bits = set()
        for seed in SCHEDULES:
            device = Guarded(seed, sources)
            try:
                found = kernels.compare(device, case, "float32")
                results = kernels.run(device, op, case.arguments(np.dtype(np.float32)))
            except HostKernelError as error:
                return str(error)
            if not found.passed:
                return str(found)
            if not device.is_whole():
                return f"{case.label}: something was written beside an array"
            bits.add(tuple(a.tobytes() for a in results if isinstance(a, np.ndarray)))
            if len(bits) > 1:
                return f"{case.label}: schedule {seed} gives other bits"
    return ""


@pytest.mark.parametrize("bug", BUGS, ids=[bug.what for bug in BUGS])
def test_a_planted_bug_is_found(bug: Bug) -> None:
    assert finding(bug.op, planted(bug)), f"{bug.what}, in {bug.file}, was not found"


@pytest.mark.parametrize("op", sorted({bug.op for bug in BUGS}))
def test_nothing_is_found_where_nothing_was_planted(op: str) -> None:
    assert finding(op, dict(cuda.sources())) == ""
