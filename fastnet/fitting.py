"""The training loop: epochs, validation, divergence, interrupts."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnet import checks, interrupts, optimizers, progress
from fastnet.callbacks import Callback, EpochEnd
from fastnet.data import splits
from fastnet.data.targets import Codec
from fastnet.errors import DivergenceError, TrainingInterrupted
from fastnet.execution.buffers import Buffer, Data
from fastnet.history import History
from fastnet.optimizers import Optimizer
from fastnet.randomness import VALIDATION_SPLIT, SeedProvider

if TYPE_CHECKING:
    from fastnet.checkpoints.file import Saved
    from fastnet.checkpoints.saving import Saver
    from fastnet.execution.executor import Executor
    from fastnet.network import Network

Array = np.ndarray[Any, np.dtype[Any]]


# How it is said what is kept by the network alone, which is gone with the program.
IN_MEMORY = "the network keeps"


@dataclass(frozen=True)
class Rows:
    """Checked rows: features, targets as the math takes them, and weights or None.

    Features that came on a GPU are buffers there. Where targets were prepared, ``quantities`` are
    those that came.
    """

    features: Buffer
    targets: Array
    weights: Array | None
    quantities: Array | None = None

    def __len__(self) -> int:
        return len(self.features)

    def part(self, index: Array, executor: Executor) -> Rows:
        """Return some of the rows."""
        weights = None if self.weights is None else self.weights[index]
        return Rows(executor.take(self.features, index), self.targets[index], weights)

    @property
    def total_weight(self) -> float:
        """The sum of the row weights."""
        return float(len(self)) if self.weights is None else float(self.weights.sum(dtype=float))


class Split(NamedTuple):
    """The rows of a training.

    Attributes
    ----------
    whole : Rows
        All that ``fit`` was given as X and y.
    training : Rows
        Those of them to train on.
    held : Rows or None
        Those to validate on.
    share : float or None
        Which share of the whole these are; None where they are others, or none.
    """

    whole: Rows
    training: Rows
    held: Rows | None
    share: float | None


def split_validation(network: Network, rows: Rows, codec: Codec, validation: Any) -> Split:
    """Return the raw rows to train on and to validate on, from a share, a pair, or None."""
    if validation is None:
        return Split(rows, rows, None, None)
    if isinstance(validation, tuple | list):
        if len(validation) != 2:
            raise ValueError(
                f"validation has {len(validation)} elements; expected a share such as 0.1, "
                f"a pair (X, y), or None"
            )
        held, _ = network.rows(
            *validation,
            codec=codec,
            training=False,
            raw=True,
            names=("validation X", "validation y"),
        )
        return Split(rows, rows, held, None)
    share = checks.real_number(validation, "validation", above=0, below=1)
    labels = codec.strata(rows.targets)
    kept, held_back = splits.stratified_split(labels, share, network.seed, VALIDATION_SPLIT)
    executor = network.executor
    training, held = rows.part(kept, executor), rows.part(held_back, executor)
    for part, name in ((training, "train"), (held, "validate")):
        if not part.total_weight:
            raise ValueError(
                f"sample_weight is 0 for every row to {name} on, after validation={share:g} of the "
                f"rows was kept back; pass validation rows of your own, or None"
            )
    return Split(rows, training, held, share)


@dataclass(frozen=True)
class Settings:
    """The checked settings of a training."""

    optimizer: Optimizer
    batch_size: int | None
    epochs: int
    shuffle: bool
    callbacks: tuple[Callback, ...]
    progress: bool | None

    @classmethod
    def checked(
        cls,
        *,
        optimizer: str | Optimizer,
        batch_size: int | None,
        epochs: int,
        shuffle: bool = True,
        callbacks: Iterable[Callback] = (),
        progress: bool | None = None,
    ) -> Settings:
        """Return the settings, or raise TypeError or ValueError for the first that is off."""
        if batch_size is not None:
            batch_size = checks.whole_number(batch_size, "batch_size", at_least=1)
        if not isinstance(callbacks, Iterable):
            raise TypeError(
                f"callbacks is {callbacks!r} ({type(callbacks).__name__}); expected a list of "
                f"functions of one argument"
            )
        callbacks = tuple(callbacks)
        for callback in callbacks:
            if not callable(callback):
                raise TypeError(f"callbacks has {callback!r}; expected functions of one argument")
        return cls(
            optimizers.optimizer(optimizer),
            batch_size,
            checks.whole_number(epochs, "epochs", at_least=1),
            checks.truth(shuffle, "shuffle"),
            callbacks,
            checks.truth(progress, "progress", or_none="only on a terminal"),
        )

    def rows_per_step(self, rows: int) -> int:
        """Return how many of so many rows a step takes; the last of an epoch may take fewer."""
        return min(self.batch_size or rows, rows)

    def steps(self, rows: int) -> int:
        """Return how many steps an epoch of so many rows has."""
        return math.ceil(rows / self.rows_per_step(rows))


def train(
    network: Network,
    rows: Rows,
    held: Rows | None,
    settings: Settings,
    saved: Saved | None,
    saver: Saver | None,
) -> History:
    """Train on ``rows`` up to ``settings.epochs`` epochs in all, and return the history.

    The network keeps the last good epoch when the loss stops being finite and when Ctrl-C is
    pressed. Before there is one, it is the caller's to put back what it was.
    """
    executor, optimizer, epochs = network.executor, settings.optimizer, settings.epochs
    batch, steps = settings.rows_per_step(len(rows)), settings.steps(len(rows))
    data = executor.load(rows.features, rows.targets, rows.weights, network.input_scale)
    validation = None
    if held is not None:
        validation = executor.load(held.features, held.targets, held.weights, network.input_scale)
    history = History() if saved is None else saved.history
    history.rows = len(rows)
    position = None if saved is None else saved.position
    stopped = saved is not None and saved.stop_reason is not None
    good = None
    showing = progress.display(settings.progress, epochs, steps)
    with showing as display, contextlib.ExitStack() as stack:
        try:
            display.go_to(len(history.seconds), position.batch if position else 0)
            display.say(executor.preparation)
            stack.callback(executor.end_training)
            executor.begin_training(data, batch, optimizer.update())
            # From here on Ctrl-C waits for the end of a step; before, it acts at once.
            interrupt = stack.enter_context(interrupts.deferred())
            while len(history.seconds) < epochs and not stopped:
                order = _order(network, len(rows), shuffled=settings.shuffle and batch < len(rows))
                rates = np.full(steps, float(optimizer.learning_rate))
                executor.begin_epoch(order, rates, _scales(rows, order, batch, steps))
                end = 0
                if position is not None and position.batch:
                    executor.go_to(position)
                    end = position.batch
                position = None
                began = time.perf_counter()
                while end < steps:
                    begin, end = end, min(end + executor.steps_per_call, steps)
                    executor.run_steps(begin, end)
                    if executor.halted:
                        raise _diverged(network, optimizer, history, steps)
                    if saver is not None and end < steps:
                        saver.within_epoch(history, end, at_once=interrupt.requested)
                    if interrupt.requested:
                        raise interrupt.error()
                    display.steps_done(end - begin)
                seconds = time.perf_counter() - began
                row = _figures(network, rows, held, validation)
                if not (network.is_finite() and all(map(math.isfinite, row.values()))):
                    raise _diverged(network, optimizer, history, steps)
                # All of it is of one epoch, whatever happens: what needs memory comes first.
                with interrupt.undivided():
                    history.append({"epoch": network.epoch + 1, **row}, seconds)
                    summary = _summary(network, settings, history)
                    good = executor.snapshot(good)
                    network.epoch += 1
                    network.training = summary
                display.epoch_done(row)
                reason = _reason_to_stop(network, history, settings.callbacks)
                stopped = reason is not None
                if saver is not None:
                    is_last = stopped or interrupt.requested or len(history.seconds) == epochs
                    saver.epoch_done(history, reason, is_last=is_last)
                if interrupt.requested:
                    raise interrupt.error()
            for callback in settings.callbacks:
                if hasattr(callback, "finish"):
                    callback.finish(network)
        except BaseException as error:
            if good is not None:
                executor.restore(good)
            newest = None if saver is None else saver.newest
            kept = [f"{IN_MEMORY} {network.epoch} finished epoch(s)"]
            if good is None and saved is not None:
                kept = [f"{IN_MEMORY} what {saved.path} has"]
            if newest is not None and newest.exists():
                kept.append(f"resume goes on from {newest}")
            if isinstance(error, KeyboardInterrupt):
                raise TrainingInterrupted(
                    "; ".join(["interrupted", *kept]),
                    network=network,
                    history=history,
                    checkpoint=newest,
                ) from None
            if isinstance(error, MemoryError | OSError):
                for one in kept:
                    error.add_note(one)
            raise
    return history


def _order(network: Network, rows: int, *, shuffled: bool) -> Array:
    if not shuffled:
        return np.arange(rows, dtype=np.int32)
    order = np.asarray(network.provider.order(network.epoch, rows))
    if type(network.provider) is SeedProvider:
        return order  # our own: int32, and a permutation
    if order.shape != (rows,) or order.dtype.kind not in "iu":
        raise ValueError(
            f"the provider's order has shape {order.shape} and dtype {order.dtype}; "
            f"expected ({rows},) integers"
        )
    outside = (order < 0) | (order >= rows)
    if outside.any() or not (np.bincount(order, minlength=rows) == 1).all():
        raise ValueError(f"the provider's order is no permutation of 0 .. {rows - 1}")
    return order.astype(np.int32)


def _scales(rows: Rows, order: Array, batch: int, steps: int) -> Array:
    """1 / (sum of the row weights) of every batch, and 0 where that sum is 0."""
    begins = np.arange(steps) * batch
    if rows.weights is None:
        return 1 / np.minimum(batch, len(rows) - begins)
    sums = np.add.reduceat(rows.weights[order].astype(np.float64), begins)
    return np.divide(1, sums, out=np.zeros(steps), where=sums > 0)


def _figures(
    network: Network, rows: Rows, held: Rows | None, validation: Data | None
) -> dict[str, float]:
    loss, hits = network.executor.epoch_sums()
    row = {"train_loss": loss / rows.total_weight}
    if network.task_in_use == "classification":
        row["train_accuracy"] = hits / rows.total_weight
    if held is not None and validation is not None:
        scores = network.scores(held, validation)
        row |= {f"validation_{name}": value for name, value in scores.items()}
    return row


def _summary(network: Network, settings: Settings, history: History) -> dict[str, Any]:
    """Return what a model file says of the training: the last call of fit, and its figures."""
    return {
        "optimizer": str(settings.optimizer),
        "batch_size": settings.batch_size,
        "rows": history.rows,
        "epochs": len(history.seconds),
        "backend": network.backend,
        "figures": {name: values[-1] for name, values in history.items() if name != "epoch"},
    }


def _reason_to_stop(
    network: Network, history: History, callbacks: Sequence[Callback]
) -> str | None:
    end = EpochEnd(network, history, network.epoch)
    for callback in callbacks:
        callback(end)
    return end.stop_reason


def _diverged(
    network: Network, optimizer: Optimizer, history: History, steps: int
) -> DivergenceError:
    executor = network.executor
    step = min(executor.batches_done + 1, steps)
    layer, what = executor.first_bad_layer()
    where = f"layer {layer} ({network.layers[layer - 1]}): its {what}" if layer else what
    return DivergenceError(
        f"training diverged in epoch {network.epoch + 1}, step {step} of {steps}, at {where} "
        f"became NaN or infinite (learning rate {optimizer.learning_rate:g}). The network keeps "
        f"{network.epoch} good epoch(s). Try a smaller learning rate, or scale the features",
        epoch=network.epoch + 1,
        step=step,
        layer=layer,
        learning_rate=optimizer.learning_rate,
        history=history,
    )
