"""The executor on Numba: many steps per compiled call, on several threads."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from fastnet_kernels.cpu import blocks
from fastnet_kernels.cpu.threads import BARRIER_SIZE, ROUND

from fastnet.execution import numba_steps, plan, registry
from fastnet.execution.buffers import SCALARS, Buffer, Data, Update
from fastnet.execution.executor import Executor
from fastnet.execution.numba_math import math
from fastnet.execution.numba_ops import begin_step
from fastnet.layers import Dense
from fastnet.losses import Loss

Array = np.ndarray[Any, np.dtype[Any]]

# How long a compiled call should run: short beside a person's patience with Ctrl-C, long beside the
# start of threads.
SECONDS_PER_CALL = 0.1


class NumbaExecutor(Executor):
    """Runs the compiled math; parameters and data stay ordinary NumPy arrays."""

    name: ClassVar[str] = "numba"

    def __init__(
        self, layers: Sequence[Dense], loss: Loss, dtype: np.dtype[Any], threads: int | None
    ) -> None:
        blocks.load(8 * dtype.itemsize)
        super().__init__(layers, loss, dtype, threads)
        self.threads = threads or registry.usable_cores()
        self._barrier = np.zeros(BARRIER_SIZE, np.int64)
        self._seconds_per_step = 0.0

    @property
    def math(self) -> ModuleType:
        """The compiled functions of ``backprop.py``."""
        return math

    def put(self, array: Array) -> Buffer:
        """Return the array as compiled code takes it: every kind of array it meets is compiled.

        One that is not writeable would be a kind of its own; it is passed on through its address,
        and nothing writes to it.
        """
        array = np.ascontiguousarray(array)
        if array.flags.writeable:
            return array
        if not array.size:
            return np.empty_like(array)
        self._kept.append(array)
        address = ctypes.cast(array.ctypes.data, ctypes.POINTER(ctypes.c_uint8))
        memory = np.ctypeslib.as_array(address, (array.nbytes,))
        return memory.view(array.dtype).reshape(array.shape)

    @property
    def steps_per_call(self) -> int:  # type: ignore[override]
        """How many steps take about SECONDS_PER_CALL; one, until that is known."""
        if not self._seconds_per_step:
            return 1
        return max(1, int(SECONDS_PER_CALL / self._seconds_per_step))

    def begin_training(self, data: Data, batch_size: int, update: Update) -> None:
        """Prepare buffers and the plan of tiles."""
        super().begin_training(data, batch_size, update)
        self._plan = plan.build(self.table, batch_size)
        slots = self._plan.slots
        self._slot_gradients = self.empty((slots, self.table.parameters), self.dtype)
        self._slot_scalars = np.zeros((slots, SCALARS))
        self._training_work = self.work(plan.capacity(self.table, batch_size) * max(slots, 1))
        self._seconds_per_step = 0.0

    def run_steps(self, begin: int, end: int) -> None:
        """Run the steps ``begin`` to ``end`` of the epoch, at most to the first bad one."""
        began = time.perf_counter()
        control = self.control
        begin_step(control.scalars, control.clock, control.rates, control.scales)
        of_steps = (
            begin,
            end,
            self._batch_size,
            self.table.records,
            self._update,
            self.parameters,
            self._data,
            self._training_work,
            control,
        )
        if self._plan.slots:
            of_plan: tuple[Any, ...] = (self._slot_gradients, self._slot_scalars, self._plan.ranges)
            _on_threads(
                numba_steps.run_streamed_steps, (*of_steps, *of_plan), self._barrier, self.threads
            )
        else:
            of_plan = (self._plan.rows_per_tile, self._plan.tiles)
            _on_threads(numba_steps.run_steps, (*of_steps, *of_plan), self._barrier, self.threads)
        self._seconds_per_step = (time.perf_counter() - began) / (end - begin)


def _on_threads(
    run: Callable[..., None], arguments: tuple[Any, ...], barrier: Array, threads: int
) -> None:
    """Run a compiled function on several threads at once and wait for all of them."""
    barrier[:ROUND] = 0
    barrier[ROUND + 1 :] = 0
    turn = int(barrier[ROUND])
    helpers = [
        threading.Thread(
            target=run, args=(*arguments, barrier, threads, turn), name="fastnet", daemon=True
        )
        for _ in range(threads - 1)
    ]
    for helper in helpers:
        helper.start()
    run(*arguments, barrier, threads, turn)
    for helper in helpers:
        helper.join()
