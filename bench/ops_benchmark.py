"""Every op on NumPy and on Numba under pytest-benchmark; ``python -m bench ops`` runs it.

The normal test run does not collect this file: its name is no test's. Each op runs on one thread,
as fastnet's own threads call it; NumPy's BLAS is held to one for the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bench.op_cases import CASES, Case
from fastnet.execution import numba_ops, numpy_ops

BACKENDS = {"numba": numba_ops, "numpy": numpy_ops}
GROUPS = [(case, dtype) for case in CASES for dtype in case.dtypes]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Hold thread pools to one thread."""
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("case", "dtype"), GROUPS, ids=[f"{case.name} {dtype}" for case, dtype in GROUPS]
)
def test_op(benchmark: Any, case: Case, dtype: str, backend: str) -> None:
    op = getattr(BACKENDS[backend], case.op)
    arguments = case.arguments(np.dtype(dtype))
    op(*arguments)  # compiles
    benchmark.group = f"{case.name} {dtype}".replace("  ", " ")
    benchmark.extra_info.update(op=case.op, shape=case.label, dtype=dtype, backend=backend)
    benchmark.name = backend
    benchmark(op, *arguments)
