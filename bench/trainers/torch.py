"""PyTorch: eager; with the loss compiled; and with the whole step compiled into one graph.

Subnormal numbers are flushed in all three, which is faster as soon as some inputs are dead.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.trainers.base import Array, Float32Trainer, Settings
from bench.workloads import Workload

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # of torch.optim.Adam


class _TorchTrainer(Float32Trainer):
    modules = ("torch",)
    distributions = ("torch", "numpy")

    @classmethod
    def variants(cls, workload: Workload, cores: int) -> list[Settings]:
        """All threads and one; rows taken batch by batch, or put in order once an epoch."""
        orders = ["all at once"] if workload.batch is None else ["by batch", "by epoch"]
        threads = sorted({cores, 1}, reverse=True)
        return [{"threads": count, "rows": order} for order in orders for count in threads]

    def set_up(self) -> None:
        """Make tensors of the rows."""
        import torch

        torch.set_flush_denormal(True)  # before the threads begin, which inherit it
        torch.set_num_threads(self.settings["threads"])
        self.X, self.y = torch.from_numpy(self.data.X_train), torch.from_numpy(self.data.y_train)
        self.X_test = torch.from_numpy(self.data.X_test)
        self.activation = getattr(torch, self.workload.activation)

    def reset(self, seed: int) -> None:
        """Take the first weights of ``torch.nn.Linear``."""
        import torch

        torch.manual_seed(seed)
        sizes = zip(self.workload.layers[:-1], self.workload.layers[1:], strict=True)
        layers = [torch.nn.Linear(i, o) for i, o in sizes]
        values = [p.detach() for layer in layers for p in (layer.weight, layer.bias)]
        if not hasattr(self, "parameters"):
            self.parameters = values
            self.begin()
            return
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)
        self.forget()

    def predict(self, parameters: list[Any], x: Any) -> Any:
        """Return the outputs, logits for classes; without the calls that modules add."""
        from torch.nn.functional import linear

        for i in range(0, len(parameters) - 2, 2):
            x = self.activation(linear(x, parameters[i], parameters[i + 1]))
        return linear(x, parameters[-2], parameters[-1])

    def loss(self, parameters: list[Any], x: Any, y: Any) -> Any:
        """Return the mean loss of a batch."""
        from torch.nn import functional

        outputs = self.predict(parameters, x)
        if self.workload.is_regression:
            return functional.mse_loss(outputs, y)
        return functional.cross_entropy(outputs, y)

    def batches(self) -> Iterator[tuple[Any, Any]]:
        """Yield the batches of an epoch in a new order."""
        import torch

        if not self.shuffles:
            yield self.X, self.y
            return
        order = torch.randperm(len(self.X))[: self.rows_per_epoch]
        if self.settings["rows"] == "by epoch":
            x, y = self.X.index_select(0, order), self.y.index_select(0, order)
            yield from zip(x.split(self.batch), y.split(self.batch), strict=True)
            return
        for rows in order.split(self.batch):
            yield self.X.index_select(0, rows), self.y.index_select(0, rows)

    def train(self, epochs: int) -> float:
        """Train; operations on a CPU are done when they return."""
        import torch

        step = self.step
        for _ in range(epochs):
            mean = torch.stack([step(x, y) for x, y in self.batches()]).mean()
        return float(mean)

    def outputs(self) -> Array:
        """Return the outputs for the test rows."""
        import torch

        with torch.no_grad():
            return np.asarray(self.predict(self.parameters, self.X_test).numpy())

    @abstractmethod
    def begin(self) -> None:
        """Make optimizer and step for the parameters."""

    @abstractmethod
    def forget(self) -> None:
        """Put the optimizer's state back to its beginning."""

    @abstractmethod
    def step(self, x: Any, y: Any) -> Any:
        """Take one step and return its loss."""


class EagerTrainer(_TorchTrainer):
    """Operation by operation, with a fused optimizer; a short last batch is trained on, too."""

    def begin(self) -> None:
        """Make the fused optimizer."""
        import torch

        for parameter in self.parameters:
            parameter.requires_grad_(True)
        kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.workload.optimizer]
        self.optimizer = kind(self.parameters, lr=self.workload.learning_rate, fused=True)
        self.batch_loss = self.loss

    def forget(self) -> None:
        """Let the optimizer make its state anew."""
        self.optimizer.state.clear()

    def step(self, x: Any, y: Any) -> Any:
        """Forward, backward, update."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.batch_loss(self.parameters, x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class CompiledTrainer(EagerTrainer):
    """``torch.compile`` of the network and its loss; only full batches, for one graph."""

    def set_up(self) -> None:
        """Compile within this process: it can be ended without leaving others behind."""
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        super().set_up()
        self.leave_out_short_batch()

    def begin(self) -> None:
        """Compile the loss; its gradient is compiled along with it."""
        import torch

        super().begin()
        self.batch_loss = torch.compile(self.loss, dynamic=False, fullgraph=True)


class CompiledStepTrainer(_TorchTrainer):
    """``torch.compile`` of a whole step, gradient and update written out, in one graph.

    The fastest way that was found: no optimizer object, and no autograd between compiled calls.
    """

    def set_up(self) -> None:
        """Compile within this process, see `CompiledTrainer`."""
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        super().set_up()
        self.leave_out_short_batch()

    def begin(self) -> None:
        """Compile the step; Adam's means and counter are tensors that it changes in place."""
        import torch

        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]
        self.count = torch.zeros(())
        rate = self.workload.learning_rate

        def sgd(x: Any, y: Any) -> Any:
            gradients, loss = torch.func.grad_and_value(self.loss)(self.parameters, x, y)
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.sub_(rate * gradient)
            return loss

        def adam(x: Any, y: Any) -> Any:
            gradients, loss = torch.func.grad_and_value(self.loss)(self.parameters, x, y)
            self.count.add_(1)
            c_1, c_2 = 1 - BETA_1**self.count, (1 - BETA_2**self.count).sqrt()
            for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
                m.mul_(BETA_1).add_(g, alpha=1 - BETA_1)
                v.mul_(BETA_2).add_(g * g, alpha=1 - BETA_2)
                p.sub_(rate / c_1 * m / (v.sqrt() / c_2 + EPSILON))
            return loss

        step = {"adam": adam, "sgd": sgd}[self.workload.optimizer]
        self.compiled_step = torch.compile(step, dynamic=False, fullgraph=True)

    def forget(self) -> None:
        """Put means and counter back to 0."""
        for tensor in (*self.m, *self.v, self.count):
            tensor.zero_()

    def step(self, x: Any, y: Any) -> Any:
        """Call the compiled step."""
        return self.compiled_step(x, y)
