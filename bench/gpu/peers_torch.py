"""PyTorch on a GPU: eager, a captured step, a captured epoch, and compiled.

Rows are put in the epoch's order once an epoch, by one gather, except where a captured step
gathers its own: batches are slices then, and cost no launch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.trainers.base import Array, Float32Trainer

WARM_UP = 3  # steps before a capture, on a stream of their own, as PyTorch asks for


class _TorchTrainer(Float32Trainer):
    """``settings``: ``device``, and ``precision`` ``"tf32"`` or none."""

    modules = ("torch",)
    distributions = ("torch", "numpy")
    capturable = False

    def set_up(self) -> None:
        """Put the rows on the device; whatever an earlier workload left there goes."""
        import torch

        for name in ("parameters", "optimizer", "graph", "batch_loss"):
            self.__dict__.pop(name, None)
        self.device = torch.device(self.settings.get("device", "cuda"))
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        by_tf32 = self.settings.get("precision") == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = by_tf32
        torch.backends.cudnn.allow_tf32 = by_tf32
        self.X = torch.from_numpy(self.data.X_train).to(self.device)
        self.y = torch.from_numpy(self.data.y_train).to(self.device)
        self.X_test = torch.from_numpy(self.data.X_test).to(self.device)
        self.activation = getattr(torch, self.workload.activation)
        # The epoch's rows in order; all rows in one batch are not shuffled.
        self.order = torch.arange(len(self.X), device=self.device)
        self.x_epoch, self.y_epoch = self.X, self.y

    def reset(self, seed: int) -> None:
        """Take the first weights of ``torch.nn.Linear``; in place, where a graph knows them."""
        import torch

        torch.manual_seed(seed)
        sizes = zip(self.workload.layers[:-1], self.workload.layers[1:], strict=True)
        layers = [torch.nn.Linear(i, o, device=self.device) for i, o in sizes]
        values = [p.detach() for layer in layers for p in (layer.weight, layer.bias)]
        if not hasattr(self, "parameters"):
            self.parameters = [value.clone().requires_grad_(True) for value in values]
            options = {"capturable": True} if self.capturable and self._is_adam else {}
            kind = torch.optim.Adam if self._is_adam else torch.optim.SGD
            self.optimizer = kind(
                self.parameters, lr=self.workload.learning_rate, fused=True, **options
            )
            self.batch_loss: Callable[..., Any] = self.loss
            self.begin()
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)
            for state in self.optimizer.state.values():
                for tensor in state.values():
                    if torch.is_tensor(tensor):
                        tensor.zero_()

    @property
    def _is_adam(self) -> bool:
        return self.workload.optimizer == "adam"

    def predict(self, x: Any) -> Any:
        """Return the outputs, logits for classes; without the calls that modules add."""
        from torch.nn.functional import linear

        parameters = self.parameters
        for i in range(0, len(parameters) - 2, 2):
            x = self.activation(linear(x, parameters[i], parameters[i + 1]))
        return linear(x, parameters[-2], parameters[-1])

    def loss(self, x: Any, y: Any) -> Any:
        """Return the mean loss of a batch."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(self.predict(x), y)

    def step(self, x: Any, y: Any) -> Any:
        """Forward, backward, update; returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.batch_loss(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def shuffle(self) -> None:
        """Draw a new order and put the rows in it, into the memory of the last epoch's."""
        import torch

        if not self.shuffles:
            return
        if self.x_epoch is self.X:
            self.x_epoch, self.y_epoch = torch.empty_like(self.X), torch.empty_like(self.y)
        torch.randperm(len(self.X), out=self.order, device=self.device)
        torch.index_select(self.X, 0, self.order, out=self.x_epoch)
        torch.index_select(self.y, 0, self.order, out=self.y_epoch)

    def train(self, epochs: int) -> float:
        """Train and wait for the device."""
        import torch

        for _ in range(epochs):
            mean = self.epoch()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return float(mean)

    def outputs(self) -> Array:
        """Return the outputs for the test rows."""
        import torch

        with torch.no_grad():
            return np.asarray(self.predict(self.X_test).cpu().numpy())

    def begin(self) -> None:
        """Make what the parameters need besides the optimizer."""

    @abstractmethod
    def epoch(self) -> Any:
        """Train for an epoch and return its mean loss, still on the device."""


class EagerTrainer(_TorchTrainer):
    """Operation by operation; a short last batch is trained on, too."""

    def epoch(self) -> Any:
        """Take the batches out of the ordered rows."""
        import torch

        self.shuffle()
        batches = zip(self.x_epoch.split(self.batch), self.y_epoch.split(self.batch), strict=True)
        return torch.stack([self.step(x, y) for x, y in batches]).mean()


class CompiledTrainer(EagerTrainer):
    """``torch.compile`` of the network and its loss, which it captures itself; full batches."""

    def set_up(self) -> None:
        """Leave out the short batch: a graph has one shape."""
        self.leave_out_short_batch()
        super().set_up()

    def begin(self) -> None:
        """Compile the loss; its gradient is compiled along with it."""
        import torch

        torch.compiler.reset()
        for parameter in self.parameters:  # or each step would copy them into its graph's inputs
            torch._dynamo.mark_static_address(parameter)
        self.batch_loss = torch.compile(
            self.loss, mode="reduce-overhead", dynamic=False, fullgraph=True
        )

    def epoch(self) -> Any:
        """Copy every loss: the next step writes its own to the same place."""
        import torch

        self.shuffle()
        losses = []
        for first in range(0, self.rows_per_epoch, self.batch):
            torch.compiler.cudagraph_mark_step_begin()
            rows = slice(first, first + self.batch)
            losses.append(self.step(self.x_epoch[rows], self.y_epoch[rows]).clone())
        return torch.stack(losses).mean()


class _GraphTrainer(_TorchTrainer):
    """Whole steps, optimizer included, in a CUDA graph."""

    capturable = True

    def begin(self) -> None:
        """Run some steps on a stream of their own, then capture."""
        import torch

        self.shuffle()  # so that the rows lie where a graph will look for them
        self.before_capture()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.warm_up()
                self.before_capture()
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)  # gradients come from the graph's memory
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.captured()

    def before_capture(self) -> None:
        """Make, or put back, the buffers that the graph works on."""

    def warm_up(self) -> None:
        """Do once what will be captured: it loads, and makes the optimizer's state."""
        self.captured()

    @abstractmethod
    def captured(self) -> None:
        """Do what the graph repeats."""


class StepGraphTrainer(_GraphTrainer):
    """One step is the graph, replayed for every batch: it gathers its rows by a counter."""

    def set_up(self) -> None:
        """Leave out the short batch: a graph has one shape."""
        import torch

        self.leave_out_short_batch()
        super().set_up()
        self.steps = self.rows_per_epoch // self.batch
        self.losses = torch.zeros(self.steps, device=self.device)
        self.count = torch.zeros(1, dtype=torch.int64, device=self.device)

    def shuffle(self) -> None:
        """Draw a new order alone."""
        import torch

        if self.shuffles:
            torch.randperm(len(self.X), out=self.order, device=self.device)

    def before_capture(self) -> None:
        """Begin at the first batch."""
        self.count.zero_()

    def captured(self) -> None:
        """Gather, step, keep the loss, count."""
        x, y = self.X, self.y
        if self.shuffles:
            batches = self.order[: self.rows_per_epoch].view(self.steps, self.batch)
            rows = batches.index_select(0, self.count).view(-1)
            x, y = self.X.index_select(0, rows), self.y.index_select(0, rows)
        self.losses.index_copy_(0, self.count, self.step(x, y).view(1))
        self.count.add_(1)

    def epoch(self) -> Any:
        """Replay the step."""
        self.shuffle()
        self.count.zero_()
        for _ in range(self.steps):
            self.graph.replay()
        return self.losses.mean()


class EpochGraphTrainer(_GraphTrainer):
    """All steps of an epoch are one graph, replayed once; a short last batch included."""

    def captured(self) -> None:
        """Take every batch out of the ordered rows."""
        import torch

        batches = zip(self.x_epoch.split(self.batch), self.y_epoch.split(self.batch), strict=True)
        self.mean = torch.stack([self.step(x, y) for x, y in batches]).mean()

    def warm_up(self) -> None:
        """Take one step: an epoch of them would load nothing more."""
        self.step(self.x_epoch[: self.batch], self.y_epoch[: self.batch])

    def epoch(self) -> Any:
        """Order the rows and replay."""
        self.shuffle()
        self.graph.replay()
        return self.mean
