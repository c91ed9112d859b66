"""Many steps in one compiled call, shared out among threads; see ``plan.py`` for the tiles.

Here stands who does which tile and when the threads meet, and no math: the phases are functions of
``backprop.py``. Every thread runs the same function; who computes a tile never changes what it is.
"""

from __future__ import annotations

from typing import Any

from fastnet_kernels.cpu.subnormals import flush_subnormals, restore_subnormals
from fastnet_kernels.cpu.threads import arrive, join, next_tile, release, wait

from fastnet.execution import compiled, numba_ops
from fastnet.execution.buffers import HALTED, HITS, LOSS, Control, Data, Parameters, Work
from fastnet.execution.numba_math import math

losses, deltas, gradients, update = math.losses, math.deltas, math.gradients, math.update
weight_gradient, bias_gradient = math.weight_gradient, math.bias_gradient
add_losses, count_step = numba_ops.add_losses, numba_ops.count_step
begin_step = numba_ops.begin_step


# What a call of `run_steps` is for.
EVALUATE = 0  # loss and hits
GRADIENT = 1  # and the gradient, over all rows
TRAIN = 2  # and the steps


@compiled.function
def run_steps(
    mode: int,
    begin: int,
    end: int,
    batch: int,
    layers: Any,
    optimizer: Any,
    parameters: Parameters,
    data: Data,
    work: Work,
    control: Control,
    rows_at_once: int,
    tiles: Any,
    shares: Any,
    barrier: Any,
    threads: int,
    turn: int,
) -> None:
    """Run the steps ``begin`` to ``end`` of an epoch as one of ``threads`` threads.

    Rows first: from the gather to the deltas. Then parameters: gradient and step, tile by tile. A
    batch beyond the work buffers goes through them in blocks, whose gradients add up.

    ``mode`` leaves out the later parts; one function for all three because each would be compiled
    with all of the math in it. ``turn`` is the barrier's round at the start, the same for every
    thread. A thread that waits in vain, because another was never started, returns at once.
    """
    before = flush_subnormals()
    theta, gradient, scalars = parameters.theta, parameters.gradient, control.scalars
    me = join(barrier)
    for step in range(begin, end):
        rows = min(batch, len(data.order) - step * batch)
        for first in range(0, rows, work.capacity):
            block = min(work.capacity, rows - first)
            is_last = first + block == rows
            row = next_tile(barrier) * rows_at_once
            while row < block:
                stop = min(row + rows_at_once, block)
                losses(layers, theta, data, work, control, first, row, stop, mode == TRAIN)
                if mode != EVALUATE:
                    deltas(layers, theta, work, row, stop)
                row = next_tile(barrier) * rows_at_once
            if arrive(barrier, threads):
                add_losses(scalars, work.row_loss[:block], work.row_hits[:block])
                if is_last and mode == TRAIN:
                    count_step(scalars, control.clock, control.totals, rows)
                release(barrier)
            elif not wait(barrier, turn):
                return
            turn += 1

            for tile in range(shares[me], shares[me + 1] if mode != EVALUATE else shares[me]):
                l, first_row, last_row = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]
                beta = 1 if first > 0 else 0
                weight_gradient(layers, gradient, work, l, block, first_row, last_row, beta)
                if last_row == layers[l]["inputs"]:
                    bias_gradient(layers, gradient, work, l, block, beta)
                if is_last and mode == TRAIN:
                    update(optimizer, parameters, control, tiles[tile, 3], tiles[tile, 4])
            if arrive(barrier, threads):
                if is_last and step + 1 < end and scalars[HALTED] == 0:
                    begin_step(scalars, control.clock, control.rates, control.scales)
                release(barrier)
            elif not wait(barrier, turn):
                return
            turn += 1
        if scalars[HALTED] != 0:
            break
    restore_subnormals(before)


@compiled.function
def slot_gradient(
    slot: int,
    slots: int,
    rows: int,
    layers: Any,
    theta: Any,
    gradient: Any,
    data: Data,
    work: Work,
    control: Control,
) -> None:
    """Gradient and loss of every ``slots``-th block of a batch, from block ``slot`` on."""
    begin_step(control.scalars, control.clock, control.rates, control.scales)
    beta = 0
    for first in range(slot * work.capacity, rows, slots * work.capacity):
        block = min(work.capacity, rows - first)
        losses(layers, theta, data, work, control, first, 0, block, 1)
        add_losses(control.scalars, work.row_loss[:block], work.row_hits[:block])
        deltas(layers, theta, work, 0, block)
        gradients(layers, gradient, work, block, beta)
        beta = 1
    if beta == 0:
        gradient[:] = 0


@compiled.function
def sum_slots(out: Any, parts: Any, begin: int, end: int) -> None:
    """Sum the rows of ``parts``, the first one first, over the elements ``begin`` to ``end``."""
    part = parts[0]
    for i in range(begin, end):
        out[i] = part[i]
    for slot in range(1, len(parts)):
        part = parts[slot]
        for i in range(begin, end):
            out[i] += part[i]


@compiled.function
def run_streamed_steps(
    begin: int,
    end: int,
    batch: int,
    layers: Any,
    optimizer: Any,
    parameters: Parameters,
    data: Data,
    work: Work,
    control: Control,
    slot_gradients: Any,
    slot_scalars: Any,
    ranges: Any,
    barrier: Any,
    threads: int,
    turn: int,
) -> None:
    """Run steps whose batch streams through slots; ``work`` has room for one block per slot.

    Slot s works in the s-th part of the buffers, with the s-th row of gradients and scalars.
    """
    before = flush_subnormals()
    slots = len(slot_gradients)
    capacity = work.capacity // slots
    values, deltas_ = len(work.values) // slots, len(work.deltas) // slots
    targets = len(work.targets) // slots
    scalars = control.scalars
    for step in range(begin, end):
        rows = min(batch, len(data.order) - step * batch)
        slot = next_tile(barrier)
        while slot < slots:
            own_work = Work(
                capacity,
                work.values[slot * values : (slot + 1) * values],
                work.deltas[slot * deltas_ : (slot + 1) * deltas_],
                work.targets[slot * targets : (slot + 1) * targets],
                work.weights[slot * capacity : (slot + 1) * capacity],
                work.row_loss[slot * capacity : (slot + 1) * capacity],
                work.row_hits[slot * capacity : (slot + 1) * capacity],
            )
            own_control = Control(
                slot_scalars[slot], control.clock, control.totals, control.rates, control.scales
            )
            slot_gradient(
                slot, slots, rows, layers, parameters.theta, slot_gradients[slot], data,
                own_work, own_control,
            )  # fmt: skip
            slot = next_tile(barrier)
        if arrive(barrier, threads):
            for slot in range(slots):
                scalars[LOSS] += slot_scalars[slot, LOSS]
                scalars[HITS] += slot_scalars[slot, HITS]
            count_step(scalars, control.clock, control.totals, rows)
            release(barrier)
        elif not wait(barrier, turn):
            return
        turn += 1

        tile = next_tile(barrier)
        while tile < len(ranges):
            sum_slots(parameters.gradient, slot_gradients, ranges[tile, 0], ranges[tile, 1])
            update(optimizer, parameters, control, ranges[tile, 0], ranges[tile, 1])
            tile = next_tile(barrier)
        if arrive(barrier, threads):
            if step + 1 < end and scalars[HALTED] == 0:
                begin_step(scalars, control.clock, control.rates, control.scales)
            release(barrier)
        elif not wait(barrier, turn):
            return
        turn += 1
        if scalars[HALTED] != 0:
            break
    restore_subnormals(before)
