"""The executor: owns a network's buffers and runs the math over them.

This class is the NumPy backend and the portable one: another backend replaces where buffers live
(``empty put get write copy zero``), how the few numbers beside them are read and changed
(``host``, ``changing``), and how many steps run in one call (``run_steps``).
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import numpy as np

from fastnet import backprop
from fastnet.execution import codes, tables
from fastnet.execution.buffers import (
    BATCH,
    CLOCK,
    HALTED,
    HITS,
    LOSS,
    ROW,
    SCALARS,
    STEP,
    TOTAL_HITS,
    TOTAL_LOSS,
    TOTALS,
    Buffer,
    Control,
    Data,
    Parameters,
    Update,
    Work,
)
from fastnet.layers import Dense
from fastnet.losses import Loss

Array = np.ndarray[Any, np.dtype[Any]]
F = TypeVar("F", bound=Callable[..., Any])
View = Callable[[Any, Any, int, int], Any]  # of some rows of a record, such as `backprop.a_of`

# Rows that pass through the network together when there is no smaller batch: enough for matrix
# products to run at full speed, few enough for a block's activations to stay in cache.
BLOCK_ROWS = 1024


def one_at_a_time(method: F) -> F:
    """Let one thread at a time run the methods that share an executor's buffers."""

    @functools.wraps(method)
    def alone(self: Executor, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return cast(F, alone)


class LayerTrace(NamedTuple):
    """What one layer computed: ``Z A dZ`` (rows, outputs), ``dW`` (inputs, outputs), ``db``.

    ``layer["dZ"]`` reads the same as ``layer.dZ``.
    """

    Z: Array
    A: Array
    dZ: Array
    dW: Array
    db: Array

    def __getitem__(self, key: Any) -> Any:
        """Return a part by its name or position."""
        return getattr(self, key) if isinstance(key, str) else tuple.__getitem__(self, key)


class Snapshot(NamedTuple):
    """Parameters, optimizer state and step counter at the end of an epoch."""

    theta: Buffer
    state: Buffer
    step: int


class Position(NamedTuple):
    """Where a training stands.

    Attributes
    ----------
    step : int
        Updates since the optimizer's state began.
    batch : int
        Batches of the epoch that are done.
    loss, hits : float
        The sums of weight * loss and weight * hit over these batches.
    """

    step: int
    batch: int
    loss: float
    hits: float


class Executor:
    """Runs the math of one network in one dtype.

    Parameters
    ----------
    layers : sequence of Dense
    loss : Loss
    dtype : numpy.dtype
        float32 or float64.
    threads : int, optional
        How many threads to use; NumPy's loops run in one.
    precision : str, optional
        ``"tf32"`` on GPUs that are told so; other backends compute in ``dtype``.
    """

    name: ClassVar[str] = "numpy"
    # What takes time before the first step, for the progress display.
    preparation: ClassVar[str] = ""
    # How many steps may run before the caller looks for an interrupt or a halt.
    steps_per_call: ClassVar[int] = 1
    device: str = "CPU"

    def __init__(
        self,
        layers: Sequence[Dense],
        loss: Loss,
        dtype: np.dtype[Any],
        threads: int | None = None,  # noqa: ARG002 - NumPy's loops run in one
        precision: str | None = None,  # noqa: ARG002 - see above
    ) -> None:
        self.layers, self.loss, self.dtype, self.threads = tuple(layers), loss, dtype, 1
        self.table = tables.build(layers, loss, codes.NO_HITS)
        size = self.table.parameters
        self.parameters = Parameters(
            self.empty(size, dtype), self.empty(size, dtype), self.empty((0, size), dtype)
        )
        self.control = self.new_control(np.zeros(1), np.zeros(1))
        self._work: Work | None = None
        self.lock = threading.RLock()

    @property
    def math(self) -> ModuleType:
        """The functions of ``backprop.py`` over this backend's ops."""
        return backprop

    # -- where buffers live -------------------------------------------------------------------

    def empty(self, shape: int | tuple[int, ...], dtype: Any) -> Buffer:
        """Return a new buffer with no content to rely on."""
        return np.empty(shape, dtype)

    def put(self, array: Array) -> Buffer:
        """Return a device copy of a host array; on the host, the array itself."""
        return array

    def get(self, buffer: Buffer) -> Array:
        """Return a host copy of a buffer."""
        return np.array(buffer)

    def write(self, target: Buffer, array: Array) -> None:
        """Copy a host array into a buffer of the same shape."""
        target[...] = array

    def copy(self, target: Buffer, source: Buffer) -> None:
        """Copy a buffer into another one of the same shape."""
        target[...] = source

    def zero(self, buffer: Buffer) -> None:
        """Fill a buffer with zeros."""
        buffer.fill(0)

    def copied(self, buffer: Buffer) -> Buffer:
        """Return a new buffer with the same content."""
        result = self.empty(buffer.shape, self.dtype)
        self.copy(result, buffer)
        return result

    # -- arrays of a GPU that the user hands over -------------------------------------------------

    @staticmethod
    def fetch(values: Any, name: str) -> Array:
        """Return a host copy of an array that lies on a GPU, where this backend uses one."""
        raise TypeError(
            f"{name} is a {type(values).__module__}.{type(values).__qualname__} in the memory of a "
            f"GPU, where the network does not run; make the network with backend='cupy', or pass "
            f"a copy on the host, such as cupy.asnumpy({name}) or {name}.cpu()"
        )

    def adopt(self, values: Any, name: str) -> Buffer:
        """Return features that lie on a GPU as a buffer, checked as those on the host are."""
        return self.fetch(values, name)

    def export(self, result: Any) -> Any:
        """Return a result where the user's own arrays are."""
        return result

    def on_host(self, result: Buffer) -> Array:
        """Return what `predict` returned as a host array."""
        array: Array = result
        return array

    def take(self, rows: Buffer, index: Array) -> Buffer:
        """Return some rows of a matrix, in a new one."""
        return rows[index]

    # -- the few numbers beside them ------------------------------------------------------------

    def new_control(self, rates: Array, scales: Array) -> Control:
        """Return new scalars, of a run that has not begun."""
        return Control(
            np.zeros(SCALARS), np.zeros(CLOCK, np.int64), np.zeros(TOTALS), rates, scales
        )

    def host(self, control: Control) -> Control:
        """Return scalars, clock and totals as host arrays, to be read only."""
        return control

    @contextlib.contextmanager
    def changing(self, control: Control) -> Iterator[Control]:
        """Give scalars, clock and totals as host arrays, whose changes count from the end on."""
        yield control

    # -- parameters and state -----------------------------------------------------------------

    @property
    def theta(self) -> Array:
        """The flat parameters, as a copy on the host."""
        return self.get(self.parameters.theta)

    @theta.setter
    def theta(self, vector: Array) -> None:
        self.write(self.parameters.theta, np.ascontiguousarray(vector, self.dtype))

    def is_finite(self) -> bool:
        """Whether every parameter is finite."""
        return bool(np.isfinite(self.parameters.theta).all())

    @one_at_a_time
    def snapshot(self, old: Snapshot | None = None) -> Snapshot:
        """Return a copy of everything that a step changes, in the memory of an old one if given."""
        parameters = self.parameters
        step = int(self.host(self.control).clock[STEP])
        if old is None:
            return Snapshot(self.copied(parameters.theta), self.copied(parameters.state), step)
        self.copy(old.theta, parameters.theta)
        self.copy(old.state, parameters.state)
        return old._replace(step=step)

    @one_at_a_time
    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot."""
        if self.parameters.state.shape != snapshot.state.shape:
            state = self.empty(snapshot.state.shape, self.dtype)
            self.parameters = self.parameters._replace(state=state)
        self.copy(self.parameters.theta, snapshot.theta)
        self.copy(self.parameters.state, snapshot.state)
        with self.changing(self.control) as control:
            control.clock[STEP] = snapshot.step

    @property
    def optimizer_state(self) -> Array:
        """What the optimizer remembers, (slots, parameters), as a copy on the host."""
        return self.get(self.parameters.state)

    @one_at_a_time
    def position(self) -> Position:
        """Return where the training stands."""
        now = self.host(self.control)
        sums = float(now.totals[TOTAL_LOSS]), float(now.totals[TOTAL_HITS])
        return Position(int(now.clock[STEP]), int(now.clock[BATCH]), *sums)

    @one_at_a_time
    def go_to(self, position: Position) -> None:
        """Stand where a training stood, in an epoch that has begun; parameters are not moved."""
        with self.changing(self.control) as now:
            now.clock[STEP] = position.step
            now.clock[BATCH] = position.batch
            now.clock[ROW] = position.batch * self._batch_size
            now.totals[TOTAL_LOSS], now.totals[TOTAL_HITS] = position.loss, position.hits

    def reset_state(self, slots: int) -> None:
        """Forget the optimizer's state and make room for ``slots`` vectors of zeros."""
        state = self.empty((slots, self.table.parameters), self.dtype)
        self.zero(state)
        self.parameters = self.parameters._replace(state=state)
        with self.changing(self.control) as control:
            control.clock[STEP] = 0

    def set_rule(self, rule: int) -> None:
        """Say how rows count as hits; the codes are ``NO_HITS``, ``ARGMAX_HITS`` and so on."""
        self.table.records[-1]["rule"] = rule

    def load(self, features: Array, targets: Array, weights: Array | None, scale: float) -> Data:
        """Return rows as the math takes them, in the order in which they came."""
        none = np.empty(0, self.dtype)
        return Data(
            self.put(features),
            self.put(targets),
            self.put(none if weights is None else weights),
            self.put(np.arange(len(features), dtype=np.int32)),
            scale,
        )

    def work(self, capacity: int) -> Work:
        """Return buffers for blocks of at least ``capacity`` rows, kept for the next use."""
        if self._work is None or self._work.capacity < capacity:
            self._work = self.new_work(capacity, self.table)
        return self._work

    def block_rows(self, data: Data) -> int:
        """Return how many of these rows pass through the network together outside of training."""
        return min(len(data.order), BLOCK_ROWS)

    def new_work(self, capacity: int, table: tables.Table) -> Work:
        """Return new buffers for blocks of ``capacity`` rows."""
        return Work(
            capacity,
            self.empty(capacity * table.values, self.dtype),
            self.empty(capacity * table.deltas, self.dtype),
            self.empty(capacity * table.outputs, self.dtype),
            self.empty(capacity, self.dtype),
            self.empty(capacity, self.dtype),
            self.empty(capacity, self.dtype),
        )

    # -- training -----------------------------------------------------------------------------

    def begin_training(self, data: Data, batch_size: int, update: Update) -> None:
        """Prepare to train on ``data`` in batches; a short last batch is a step of its own."""
        self._data, self._batch_size, self._update = data, batch_size, update
        self._training_work = self.new_work(self.training_rows(batch_size), self.table)
        with self.changing(self.control) as control:
            control.scalars[HALTED] = 0
            control.clock[BATCH:] = 0

    def training_rows(self, batch_size: int) -> int:
        """Return how many rows the buffers of a training hold."""
        return min(batch_size, BLOCK_ROWS)

    def end_training(self) -> None:
        """Let go of the rows and of the buffers that only training needs."""
        for name in ("_data", "_training_work"):
            self.__dict__.pop(name, None)

    def begin_epoch(self, order: Array, rates: Array, scales: Array) -> None:
        """Take the epoch's order of rows and, per step, learning rate and 1 / sum of weights."""
        self._data = self._data._replace(order=self.put(order))
        self.control = self.control._replace(rates=self.put(rates), scales=self.put(scales))
        self._rewind()

    def _rewind(self) -> None:
        """Set clock and totals to the beginning of an epoch; the count of steps goes on."""
        with self.changing(self.control) as now:
            now.clock[BATCH:] = 0
            now.totals.fill(0)

    @one_at_a_time
    def run_steps(self, begin: int, end: int) -> None:
        """Run the steps ``begin`` to ``end`` of the epoch, at most to the first bad one."""
        total = len(self._data.order)
        with np.errstate(all="ignore"):  # what is not finite halts the run and is reported there
            for step in range(begin, end):
                rows = min(self._batch_size, total - step * self._batch_size)
                self._step(rows)
                if self.control.scalars[HALTED]:
                    return

    def _step(self, rows: int) -> None:
        """Take one step on the next ``rows`` rows."""
        self.math.step(
            self.table.records,
            self._update,
            self.parameters,
            self._data,
            self._training_work,
            self.control,
            rows,
        )

    @property
    def halted(self) -> bool:
        """Whether a step had a loss that is not finite."""
        return bool(self.host(self.control).scalars[HALTED])

    @property
    def batches_done(self) -> int:
        """Good steps since the epoch began."""
        return int(self.host(self.control).clock[BATCH])

    def epoch_sums(self) -> tuple[float, float]:
        """Return the sums of weight * loss and weight * hit over the epoch so far."""
        totals = self.host(self.control).totals
        return float(totals[TOTAL_LOSS]), float(totals[TOTAL_HITS])

    # -- without training ---------------------------------------------------------------------

    @one_at_a_time
    def gradient(self, data: Data, scale: float) -> tuple[float, Array]:
        """Return sum of weight * loss, and ``scale`` times its gradient, over all rows."""
        work = self.work(self.block_rows(data))
        with np.errstate(all="ignore"):
            loss = self._sweep(self.table, data, work, scale)
        return loss, self.get(self.parameters.gradient)

    @one_at_a_time
    def evaluate(self, data: Data, work: Work | None = None) -> tuple[float, float]:
        """Return the sums of weight * loss and weight * hit over all rows."""
        rows = len(data.order)
        control = self._quiet_control(1.0)
        work = work or self.work(self.block_rows(data))
        with np.errstate(all="ignore"):
            self.math.evaluate(self.table.records, self.parameters.theta, data, work, control, rows)
        scalars = self.host(control).scalars
        return float(scalars[LOSS]), float(scalars[HITS])

    def predict(self, features: Buffer, scale: float, *, logits: bool = False) -> Buffer:
        """Return the outputs (rows, outputs), or what goes into the last activation.

        They are where the features were: on the host, or in a buffer like theirs.
        """
        return self._passed(features, scale, [backprop.z_of if logits else backprop.a_of])[0]

    def predict_both(self, features: Buffer, scale: float) -> tuple[Buffer, Buffer]:
        """Return what goes into the last activation and what comes out of it, in one pass."""
        z, outputs = self._passed(features, scale, [backprop.z_of, backprop.a_of])
        return z, outputs

    @one_at_a_time
    def _passed(self, features: Buffer, scale: float, views: Sequence[View]) -> list[Buffer]:
        """Return what some views show of the last record for all rows."""
        rows = len(features)
        data = self.load(features, np.empty((0, 0), self.dtype), None, scale)
        work, control = self.work(self.block_rows(data)), self._quiet_control(0.0)
        records, math = self.table.records, self.math
        rooms = [self._room_for(features) for _ in views]
        with np.errstate(all="ignore"):
            for first in range(0, rows, work.capacity):
                block = min(work.capacity, rows - first)
                math.predict(records, self.parameters.theta, data, work, control, first, block)
                for view, (result, keep) in zip(views, rooms, strict=True):
                    keep(result[first : first + block], view(work, records[-1], 0, block))
        return [result for result, _ in rooms]

    def _room_for(self, features: Buffer) -> tuple[Buffer, Callable[[Buffer, Buffer], None]]:
        """Return room for the outputs of rows, and what copies a block of them into it."""
        room = np.empty((len(features), self.table.outputs), self.dtype)
        return room, lambda part, block: np.copyto(part, self.get(block))

    @one_at_a_time
    def trace(self, data: Data, scale: float) -> tuple[float, list[LayerTrace]]:
        """Return sum of weight * loss, and everything every layer computed for all rows at once."""
        rule = int(self.table.records[-1]["rule"])
        table = tables.build(self.layers, self.loss, rule, keep_z=True)
        rows, records, math = len(data.order), table.records, self.math
        work = self.new_work(rows, table)
        with np.errstate(all="ignore"):
            loss = self._sweep(table, data, work, scale)
            math.activate_outputs(records, work, 0, rows)
        gradient = self.parameters.gradient
        traces = [
            LayerTrace(
                self.get(backprop.z_of(work, record, 0, rows)),
                self.get(backprop.a_of(work, records[-1] if is_last else record, 0, rows)),
                self.get(backprop.d_of(work, record, 0, rows)),
                self.get(backprop.weights_of(gradient, record)),
                self.get(backprop.biases_of(gradient, record)),
            )
            for record, is_last in zip(
                records[1:-1], [False] * (len(records) - 3) + [True], strict=True
            )
        ]
        return loss, traces

    def _sweep(self, table: tables.Table, data: Data, work: Work, scale: float) -> float:
        """Leave the gradient of all rows in the buffers; return the sum of weight * loss."""
        control = self._quiet_control(scale)
        theta, gradient = self.parameters.theta, self.parameters.gradient
        rows = len(data.order)
        self.math.sweep(table.records, theta, gradient, data, work, control, rows, 0)
        return float(self.host(control).scalars[LOSS])

    def _quiet_control(self, scale: float) -> Control:
        """Scalars of their own for work beside a training, whose clock must not move."""
        return self.new_control(np.zeros(1), np.full(1, scale))

    def first_bad_layer(self) -> tuple[int | None, str]:
        """Return which layer (from 1) has a value that is not finite, and which value it is.

        Called after a halt: the parameters are those the bad step began with, and the block of
        rows that it stopped at is still in the buffers, or is computed anew.
        """
        records, math, work = self.table.records, self.math, self._training_work
        for l in range(1, len(records) - 1):
            for what, view in (
                ("weights", backprop.weights_of),
                ("biases", backprop.biases_of),
            ):
                if not np.isfinite(self.get(view(self.parameters.theta, records[l]))).all():
                    return l, what
        clock = self.control.clock
        first_row = int(self.host(self.control).clock[ROW])
        rows = min(self._batch_size, len(self._data.order) - first_row)
        with np.errstate(all="ignore"):
            for first in range(0, rows, work.capacity):
                block = min(work.capacity, rows - first)
                math.gather(records, self._data, work, clock, first, 0, block)
                math.forward(records, self.parameters.theta, work, clock, 0, block, 1)
                for l in range(1, len(records) - 1):
                    if not np.isfinite(self.get(backprop.a_of(work, records[l], 0, block))).all():
                        return l, "outputs"
        return None, "the output: the loss"
