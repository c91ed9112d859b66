"""The executor on a device: steps run once eagerly, are captured once, and replayed from then on.

It knows the device seam only, so that the tests run all of it on the host.
"""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from fastnet.data import arrays
from fastnet.errors import DeviceMemoryError
from fastnet.execution import cuda_ops, mathsource, programs
from fastnet.execution.buffers import CLOCK, SCALARS, TOTALS, Buffer, Control, Data, Update
from fastnet.execution.device import Device, DeviceArray
from fastnet.execution.executor import Executor, View, one_at_a_time
from fastnet.layers import Dense
from fastnet.losses import Loss

Array = np.ndarray[Any, np.dtype[Any]]

# How long one call may run before the caller looks for Ctrl-C: an epoch of up to a second is one
# call, and the device is waited for at its end only.
SECONDS_PER_CALL = 1.0
# Steps of a call before it is known how long they take.
FIRST_STEPS = 16
# Full batches that one captured piece of work takes at once: launching it costs the host about as
# much as a step of a small network costs the device, and the next step's gather need not wait for
# the update. Capturing so many takes a while, too, which only a training of more steps gains back.
STEPS_TOGETHER, STEPS_BEFORE = 8, 256
# Full batches that a program has, which one launch runs many times: the more, the more often the
# gather of a step is done beside the update of the one before. Of networks of up to four layers
# all calls are kept in shared memory then (``program.cu``).
STEPS_OF_A_PROGRAM = 4
# Bytes of what is small: scalars, and what the allocator rounds up.
OTHER_BYTES = 1 << 16
# Rows that pass through the network together outside of training: enough to fill the device.
BLOCK_ROWS = 1 << 14

# Scalars, clock and totals lie in one piece, cells of eight bytes: one copy reads them all.
_CELLS = SCALARS + CLOCK + TOTALS
_CLOCK = slice(SCALARS, SCALARS + CLOCK)

math = mathsource.load("device", cuda_ops)


class DeviceExecutor(Executor):
    """Runs the math as launches on a device.

    A training's buffers are made when it begins, and kept while captured steps point to them.
    """

    name: ClassVar[str] = "cupy"
    preparation: ClassVar[str] = "compiling kernels, or loading compiled ones"
    # Whether steps are captured and replayed; without, every one is launched anew, to compare.
    captures: bool = True
    # Whether steps run as programs, of which one launch does many, and not as captured launches.
    # Not yet measured on a GPU, and so nowhere the default.
    runs_programs: bool = False

    def __init__(
        self,
        layers: Sequence[Dense],
        loss: Loss,
        dtype: np.dtype[Any],
        threads: int | None = None,
        precision: str | None = None,
    ) -> None:
        self._on = self.new_device(precision)
        self._precision = precision
        self.device = self._on.name
        self._host_control: Control | None = None
        self._rates_and_scales: tuple[Array, Array] = np.zeros(1), np.zeros(1)
        super().__init__(layers, loss, dtype, threads, precision)
        self._forget_steps()

    @staticmethod
    @abstractmethod
    def new_device(precision: str | None) -> Device:
        """Return the device to run on."""

    @property
    def math(self) -> ModuleType:
        """The functions of ``backprop.py`` over launches."""
        return math

    # -- where buffers live ---------------------------------------------------------------------

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> DeviceArray:
        """Return a new buffer with no content to rely on."""
        return self._on.empty(shape, dtype)

    def put(self, array: Array | DeviceArray) -> DeviceArray:
        """Return a device copy of a host array; what is on the device stays where it is."""
        return array if isinstance(array, DeviceArray) else self._on.put(array)

    def get(self, buffer: DeviceArray) -> Array:
        """Return a host copy of a buffer."""
        return self._on.get(buffer)

    def write(self, target: DeviceArray, array: Array) -> None:
        """Copy a host array into a buffer of the same shape."""
        self._on.write(target, array)

    def copy(self, target: DeviceArray, source: DeviceArray) -> None:
        """Copy a buffer into another one of the same shape."""
        self._on.copy(target, source)

    def zero(self, buffer: DeviceArray) -> None:
        """Fill a buffer with zeros."""
        self._on.zero(buffer)

    # -- arrays of a GPU that the user hands over -------------------------------------------------

    def adopt(self, values: Any, name: str) -> DeviceArray:
        """Return features that lie on this device, in their own memory if that will do."""
        if isinstance(values, DeviceArray):  # part of what was adopted before
            return values
        arrays.check_shape(tuple(values.shape), inputs=self.layers[0].inputs, name=name)
        result = self._on.adopt(values, self.dtype, name)
        if result.dtype != np.uint8 and not self.all_finite(result):
            arrays.features(
                self.fetch(values, name), self.dtype, name=name
            )  # says which, and where
            raise ValueError(f"{name} has values that are NaN or infinite; replace or drop them")
        return result

    def export(self, result: Array | DeviceArray) -> Any:
        """Return a result as an array on this device; text stays on the host."""
        if isinstance(result, DeviceArray):
            return self._on.export(result)
        return result if result.dtype.kind in "OSU" else self._on.export(self._on.put(result))

    def on_host(self, result: Array | DeviceArray) -> Array:
        """Return what `predict` returned as a host array."""
        return self.get(result) if isinstance(result, DeviceArray) else result

    def take(self, rows: Buffer, index: Array) -> Buffer:
        """Return some rows of a matrix, in a new one where the matrix is."""
        if not isinstance(rows, DeviceArray):
            return rows[index]
        result = self.empty((len(index), *rows.shape[1:]), rows.dtype)
        cuda_ops.take_rows(result, rows, self.put(index.astype(np.int32)))
        return result

    # -- the few numbers beside them --------------------------------------------------------------

    def new_control(self, rates: Array, scales: Array) -> Control:
        """Return new scalars on the device, of a run that has not begun."""
        cells = self.put(np.zeros(_CELLS))
        clock = cells[_CLOCK]
        clock.dtype = np.dtype(np.int64)
        return Control(
            cells[: _CLOCK.start], clock, cells[_CLOCK.stop :], self.put(rates), self.put(scales)
        )

    def host(self, control: Control) -> Control:
        """Return scalars, clock and totals as host arrays; those of the training are kept."""
        if control is self.control and self._host_control is not None:
            return self._host_control
        cells = self.get(_cells_of(control))
        read = control._replace(
            scalars=cells[: _CLOCK.start],
            clock=cells[_CLOCK].view(np.int64),
            totals=cells[_CLOCK.stop :],
        )
        if control is self.control:
            self._host_control = read
        return read

    @contextlib.contextmanager
    def changing(self, control: Control) -> Iterator[Control]:
        """Give scalars, clock and totals as host arrays and write them back in the end."""
        now = self.host(control)
        yield now
        cells = np.concatenate([now.scalars, now.clock.view(np.float64), now.totals])
        self.write(_cells_of(control), cells)

    # -- parameters -----------------------------------------------------------------------------

    def is_finite(self) -> bool:
        """Whether every parameter is finite."""
        return self.all_finite(self.parameters.theta)

    def all_finite(self, values: DeviceArray) -> bool:
        """Whether every value of a buffer is finite, looked at where it is."""
        found = self.put(np.zeros(1, np.int32))
        cuda_ops.not_finite(found, values)
        return not self.get(found)[0]

    # -- training -------------------------------------------------------------------------------

    def load(self, features: Buffer, targets: Array, weights: Array | None, scale: float) -> Data:
        """Return rows on the device, in the order in which they came."""
        needed = sum(
            array.nbytes for array in (features, targets, weights)
            if array is not None and not isinstance(array, DeviceArray)
        )  # fmt: skip
        self._refuse_too_much(needed, f"{len(features):,} rows of data", "pass fewer at a time")
        return super().load(features, targets, weights, scale)

    def block_rows(self, data: Data) -> int:
        """Return how many of these rows pass through the network together outside of training."""
        return min(len(data.order), BLOCK_ROWS)

    def training_rows(self, batch_size: int) -> int:
        """Return how many rows the buffers of a training hold: a whole batch."""
        return batch_size

    def begin_training(self, data: Data, batch_size: int, update: Update) -> None:
        """Prepare to train on ``data`` in batches, or say what fits instead."""
        self._forget_steps()
        self._on.prepare()
        per_row = self._bytes_per_row()
        beside = self._bytes_beside(len(data.order))
        largest = max(self._on.free_bytes() - beside, 0) // per_row
        self._refuse_too_much(
            per_row * batch_size + beside,
            f"a batch of {batch_size:,} rows",
            f"the largest batch that fits is {largest:,}"
            if largest
            else "not one row of this network fits",
        )
        super().begin_training(data, batch_size, update)

    def _bytes_per_row(self) -> int:
        """Return what `new_work` takes for a row."""
        table = self.table
        return (table.values + table.deltas + table.outputs + 3) * self.dtype.itemsize

    def _bytes_beside(self, rows: int) -> int:
        """Return what a training takes at most beside its batch: rates, a copy to go back to."""
        parameters = int(self.parameters.theta.nbytes + self.parameters.state.nbytes)
        slices = 0
        if self._by_programs:  # forward, backward, and the gradient of every layer
            slices = programs.most_slices(3 * len(self.layers), self._on.program_blocks)
        return parameters + 16 * rows + slices * self.dtype.itemsize + OTHER_BYTES

    def _refuse_too_much(self, needed: int, what: str, cure: str) -> None:
        free = self._on.free_bytes()
        if needed > free:
            raise DeviceMemoryError(
                f"{what} needs {needed:,} bytes on {self.device}, which has {free:,} free: {cure}"
            )

    def end_training(self) -> None:
        """Let go of the captured steps, the rows, and the buffers that only training needs."""
        self._forget_steps()
        super().end_training()

    def _forget_steps(self) -> None:
        self._captured: dict[tuple[int, int], Callable[[int], None]] = {}  # by rows and steps
        self._have_run: set[int] = set()
        self._steps_run = 0
        self._seconds_per_step = 0.0

    def begin_epoch(self, order: Array, rates: Array, scales: Array) -> None:
        """Write the epoch's order, rates and scales where captured steps look for them."""
        self.write(self._data.order, order)
        if self.control.rates.shape != rates.shape:
            self._forget_steps()
            self.control = self.control._replace(rates=self.put(rates), scales=self.put(scales))
            self._rates_and_scales = rates, scales
        elif not all(map(np.array_equal, self._rates_and_scales, (rates, scales))):
            self.write(self.control.rates, rates)
            self.write(self.control.scales, scales)
            self._rates_and_scales = rates, scales
        self._rewind()

    @property
    def steps_per_call(self) -> int:  # type: ignore[override]
        """How many steps take about SECONDS_PER_CALL, once that is known."""
        if self._seconds_per_step:
            return max(1, int(SECONDS_PER_CALL / self._seconds_per_step))
        return FIRST_STEPS if self._captured else 1

    @one_at_a_time
    def run_steps(self, begin: int, end: int) -> None:
        """Run the steps ``begin`` to ``end`` of the epoch; a bad one stops all that follow."""
        began = time.perf_counter()
        self._host_control = None
        known = len(self._captured)
        total, full = len(self._data.order), len(self._data.order) // self._batch_size
        step = begin
        while step < end:
            left = max(min(end, full) - step, 1)  # the short batch at the end is one step
            together = STEPS_TOGETHER if self._steps_run >= STEPS_BEFORE else 1
            if self._by_programs:
                together = STEPS_OF_A_PROGRAM
            if left < together:
                together = 1
            rows = min(self._batch_size, total - step * self._batch_size)
            can_repeat = self._by_programs or rows in self._have_run
            rounds = left // together if can_repeat else 1
            self._run(rows, together, rounds)
            step += together * rounds
        self.host(self.control)  # waits for the device
        if known and len(self._captured) == known and end > begin:
            self._seconds_per_step = (time.perf_counter() - began) / (end - begin)

    def _run(self, rows: int, steps: int, rounds: int) -> None:
        """Run steps of so many rows each, ``rounds`` times; the very first one eagerly.

        Not as a program's: its products are not the BLAS's, and a training that is resumed has
        another first step.
        """
        self._steps_run += steps * rounds
        if not (self._by_programs or (rows in self._have_run and self.captures)):
            self._have_run.add(rows)
            self._launch(rows, steps * rounds)
            return
        if (rows, steps) not in self._captured:
            self._captured[rows, steps] = self._repeatable(lambda: self._launch(rows, steps))
        self._captured[rows, steps](rounds)

    @property
    def _by_programs(self) -> bool:
        """Whether steps run as programs, whose products are those of the dtype alone."""
        return self.runs_programs and self._precision is None

    def _repeatable(self, launch: Callable[[], None]) -> Callable[[int], None]:
        """Return what does all that ``launch`` asks for as often as it is told."""
        if self._by_programs:
            works = self._on.record(launch)
            program = programs.build(works, self._on.program_blocks, self._on.empty)
            return self._on.runnable(program, self.dtype)
        replay = self._on.capture(launch)

        def repeat(rounds: int) -> None:
            for _ in range(rounds):
                replay()

        return repeat

    def _launch(self, rows: int, steps: int) -> None:
        for _ in range(steps):
            self._step(rows)

    # -- without training -----------------------------------------------------------------------

    @one_at_a_time
    def _passed(self, features: Buffer, scale: float, views: Sequence[View]) -> list[Buffer]:
        """Return what the views show; rows on the host come to the device a block at a time."""
        if isinstance(features, DeviceArray):
            return super()._passed(features, scale, views)
        blocks = range(0, len(features), BLOCK_ROWS)
        parts = [features[first : first + BLOCK_ROWS] for first in blocks]
        done = [super(DeviceExecutor, self)._passed(part, scale, views) for part in parts]
        return done[0] if len(done) == 1 else [*map(np.concatenate, zip(*done, strict=True))]

    def _room_for(self, features: Buffer) -> tuple[Buffer, Callable[[Buffer, Buffer], None]]:
        if isinstance(features, DeviceArray):
            return self.empty((len(features), self.table.outputs), self.dtype), self.copy
        return super()._room_for(features)


def _cells_of(control: Control) -> DeviceArray:
    first = control.scalars  # the first of the three
    return DeviceArray(first.device, first.memory, first.address, (_CELLS,), first.dtype)
