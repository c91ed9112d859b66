"""The executor on Numba: many steps per compiled call, on several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from fastnet_kernels.cpu import product
from fastnet_kernels.cpu.threads import BARRIER_SIZE, GIVEN_UP

from fastnet.execution import numba_steps, plan, registry
from fastnet.execution.buffers import HITS, LOSS, SCALARS, Buffer, Control, Data, Update, Work
from fastnet.execution.executor import Executor, one_at_a_time
from fastnet.execution.numba_math import math
from fastnet.execution.numpy_ops import begin_step
from fastnet.execution.tables import Table
from fastnet.layers import Dense
from fastnet.losses import Loss
from fastnet.optimizers import SGD

Array = np.ndarray[Any, np.dtype[Any]]

# How long a compiled call should run: short beside a person's patience with Ctrl-C, long beside the
# start of threads.
SECONDS_PER_CALL = 0.1

# In the place of an optimizer, where no step is taken.
NO_UPDATE = SGD().update()


class NumbaExecutor(Executor):
    """Runs the compiled math; parameters and data stay ordinary NumPy arrays."""

    name: ClassVar[str] = "numba"
    preparation: ClassVar[str] = "compiling, or loading compiled code"

    def __init__(
        self,
        layers: Sequence[Dense],
        loss: Loss,
        dtype: np.dtype[Any],
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        super().__init__(layers, loss, dtype, threads, precision)
        self.threads = threads or registry.usable_cores()
        self._seconds_per_step = 0.0

    @property
    def math(self) -> ModuleType:
        """The compiled functions of ``backprop.py``."""
        self._load_products()
        return math

    def _load_products(self) -> None:
        """Compile or load what compiled code calls by name; before any of it is called itself."""
        product.load(8 * self.dtype.itemsize)

    def put(self, array: Array) -> Buffer:
        """Return the array as compiled code takes it: every kind of array it meets is compiled.

        One that is not writeable would be a kind of its own; it is passed on through its address,
        and nothing writes to it.
        """
        array = np.ascontiguousarray(array)
        return array if array.flags.writeable else np.asarray(_Passed(array))

    def load(self, features: Array, targets: Array, weights: Array | None, scale: float) -> Data:
        """Return rows as the math takes them: features and targets as their bytes.

        Otherwise every kind of features, with every kind of targets, would compile everything
        again; see ``fastnet_kernels/cpu/gather.py``.
        """
        if targets.ndim == 1 and self.table.outputs == 1:
            targets = targets.astype(self.dtype)[:, None]  # as long as a class index in bytes
        return super().load(_bytes_of(features), _bytes_of(targets), weights, scale)

    @property
    def steps_per_call(self) -> int:  # type: ignore[override]
        """How many steps take about SECONDS_PER_CALL; one, until that is known."""
        if not self._seconds_per_step:
            return 1
        return max(1, int(SECONDS_PER_CALL / self._seconds_per_step))

    def begin_training(self, data: Data, batch_size: int, update: Update) -> None:
        """Prepare buffers and the plan of tiles."""
        self._plan = plan.build(self.table, batch_size)
        super().begin_training(data, batch_size, update)
        slots = self._plan.slots
        self._slot_gradients = self.empty((slots, self.table.parameters), self.dtype)
        self._slot_scalars = np.zeros((slots, SCALARS))
        self._shared_out = self._share_out(self._plan, self._training_work.capacity)
        self._seconds_per_step = 0.0
        self.run_steps(0, 0)  # compiles, or loads what was compiled, before any clock runs

    def training_rows(self, batch_size: int) -> int:
        """Return how many rows the buffers of a training hold: a block for every slot."""
        return plan.capacity(self.table, batch_size) * max(self._plan.slots, 1)

    def end_training(self) -> None:
        """Let go of the rows and of the buffers that only training needs."""
        super().end_training()
        for name in ("_slot_gradients", "_slot_scalars"):
            self.__dict__.pop(name, None)

    @one_at_a_time
    def run_steps(self, begin: int, end: int) -> None:
        """Run the steps ``begin`` to ``end`` of the epoch, at most to the first bad one."""
        began = time.perf_counter()
        control, made = self.control, self._plan
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
        if made.slots:
            self._on_threads(
                made,
                numba_steps.run_streamed_steps,
                *(*of_steps, self._slot_gradients, self._slot_scalars, made.ranges),
            )
        else:
            self._on_threads(
                made,
                numba_steps.run_steps,
                *(numba_steps.TRAIN, *of_steps, *self._shared_out),
            )
        if end > begin:
            self._seconds_per_step = (time.perf_counter() - began) / (end - begin)

    @one_at_a_time
    def evaluate(self, data: Data, work: Work | None = None) -> tuple[float, float]:
        """Return the sums of weight * loss and weight * hit over all rows."""
        work = work or self.work(self.block_rows(data))
        control = self._run_once(numba_steps.EVALUATE, self.table, data, work, 1.0)
        return float(control.scalars[LOSS]), float(control.scalars[HITS])

    def _sweep(self, table: Table, data: Data, work: Work, scale: float) -> float:
        control = self._run_once(numba_steps.GRADIENT, table, data, work, scale)
        return float(control.scalars[LOSS])

    def _run_once(self, mode: int, table: Table, data: Data, work: Work, scale: float) -> Control:
        """Take all rows as one step without an update, beside any training."""
        control = self._quiet_control(scale)
        rows = len(data.order)
        made = plan.build(table, min(rows, work.capacity))
        begin_step(control.scalars, control.clock, control.rates, control.scales)
        self._on_threads(
            made,
            numba_steps.run_steps,
            *(mode, 0, 1, rows, table.records, NO_UPDATE, self.parameters, data, work, control),
            *self._share_out(made, min(rows, work.capacity)),
        )
        return control

    def _threads_for(self, made: plan.Plan) -> int:
        return min(self.threads, made.most_threads)

    def _share_out(self, made: plan.Plan, rows: int) -> tuple[int, Array, Array]:
        """Return what the threads share out among them, and how."""
        threads = self._threads_for(made)
        return made.rows_at_once(rows, threads), *made.shares(threads)

    def _on_threads(self, made: plan.Plan, run: Callable[..., None], *arguments: Any) -> None:
        """Run a compiled function on as many threads as the work is worth and wait for them."""
        self._load_products()
        run_on_threads(self._threads_for(made), run, *arguments)


def run_on_threads(threads: int, run: Callable[..., None], *arguments: Any) -> None:
    """Run a compiled function on several threads at once, which meet at a barrier; wait for all.

    ``run`` takes the barrier, the number of threads and the barrier's round as last arguments.
    Whatever interrupts the start of the threads, none is left waiting for one that never comes.
    """
    barrier = np.zeros(BARRIER_SIZE, np.int64)
    started: list[threading.Thread] = []
    try:
        for _ in range(threads - 1):
            helper = threading.Thread(
                target=run, args=(*arguments, barrier, threads, 0), name="fastnet", daemon=True
            )
            started.append(helper)
            helper.start()
        run(*arguments, barrier, threads, 0)
    except BaseException:
        barrier[GIVEN_UP] = 1
        raise
    finally:
        for helper in started:
            if helper.ident is not None:
                helper.join()


def _bytes_of(array: Array) -> Array:
    """Return the bytes of every row, (rows, bytes of a row), without a copy where it can be."""
    width = array[:1].nbytes
    return (
        np.ascontiguousarray(array)
        .reshape(len(array), -1 if len(array) else 1)
        .view(np.uint8)
        .reshape(len(array), width)
    )


class _Passed:
    """An array that is passed on as writeable memory; NumPy keeps this object, and so the array."""

    def __init__(self, array: Array) -> None:
        self._array = array
        address, shape = array.ctypes.data, array.shape
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": shape,
            "typestr": array.dtype.str,
        }
