"""JAX: an epoch is one ``lax.scan`` inside one compiled call, with donated buffers and optax."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from bench.trainers.base import Array, Float32Trainer, Settings
from bench.workloads import Workload


class JaxTrainer(Float32Trainer):
    """The network and the scan; ``carry`` begins with the parameters.

    Only full batches: all steps of a scan have one shape. ``settings``: ``unroll``, the steps of
    one turn of the loop.
    """

    carry: tuple[Any, ...]

    def set_up(self) -> None:
        """Put the rows where JAX keeps them and compile nothing yet."""
        import jax
        import jax.numpy as jnp

        self.leave_out_short_batch()
        self.X, self.y = jnp.asarray(self.data.X_train), jnp.asarray(self._targets())
        self.steps = self.rows_per_epoch // self.batch
        self.epoch = jax.jit(self._epoch, donate_argnums=0)

    def _targets(self) -> Array:
        return self.data.y_train if self.workload.is_regression else self.data.y_train.astype("i4")

    def first_parameters(self, keys: Any) -> list[tuple[Any, Any]]:
        """Draw weights of the size that suits relu, with a key for each layer."""
        import jax
        import jax.numpy as jnp

        sizes = zip(self.workload.layers[:-1], self.workload.layers[1:], strict=True)
        return [
            (jax.random.normal(key, (i, o)) * np.sqrt(2 / i), jnp.zeros(o))
            for key, (i, o) in zip(keys, sizes, strict=True)
        ]

    def _predict(self, parameters: Any, x: Any) -> Any:
        import jax

        activation = getattr(jax.nn, self.workload.activation)
        for W, b in parameters[:-1]:
            x = activation(x @ W + b)
        return x @ parameters[-1][0] + parameters[-1][1]

    @abstractmethod
    def _loss(self, parameters: Any, x: Any, y: Any) -> Any:
        """Return the mean loss of a batch."""

    @abstractmethod
    def _update(self, parameters: Any, state: Any, gradient: Any) -> Any:
        """Return the parameters and the optimizer's state after a step."""

    def _step(self, carry: Any, x: Any, y: Any) -> Any:
        import jax

        parameters, state = carry
        loss, gradient = jax.value_and_grad(self._loss)(parameters, x, y)
        return self._update(parameters, state, gradient), loss

    def _epoch(self, carry: Any, X: Any, y: Any, order: Any) -> Any:
        import jax

        if order is None:
            return self._step(carry, X, y)

        def step(carry: Any, rows: Any) -> Any:
            x = X.at[rows].get(mode="promise_in_bounds")
            return self._step(carry, x, y.at[rows].get(mode="promise_in_bounds"))

        carry, losses = jax.lax.scan(step, carry, order, unroll=self.settings["unroll"])
        return carry, losses.mean()

    def _order(self) -> Any:
        """Return the rows of every batch; None if all rows are one, or if the epoch draws them."""
        return None

    def train(self, epochs: int) -> float:
        """Train and wait for the last epoch's parameters."""
        import jax

        for _ in range(epochs):
            self.carry, loss = self.epoch(self.carry, self.X, self.y, self._order())
        jax.block_until_ready(self.carry)
        return float(loss)

    def outputs(self) -> Array:
        """Return the outputs for the test rows."""
        return np.asarray(self._predict(self.carry[0], self.data.X_test))


class ScanTrainer(JaxTrainer):
    """The order of rows comes from NumPy, whose permutation is the faster one on a CPU."""

    modules = ("jax", "optax")
    distributions = ("jax", "jaxlib", "optax", "numpy")

    @classmethod
    def variants(cls, workload: Workload, cores: int) -> list[Settings]:
        """How many steps the loop takes at a time, and parameters apart or as one vector."""
        if workload.batch is None:
            return [{"threads": cores, "unroll": 1, "flat": flat} for flat in (False, True)]
        pairs = [(1, False), (2, False), (4, False), (1, True), (2, True)]
        return [{"threads": cores, "unroll": count, "flat": flat} for count, flat in pairs]

    def set_up(self) -> None:
        """Make the optimizer, too."""
        import optax

        super().set_up()
        kind = {"adam": optax.adam, "sgd": optax.sgd}[self.workload.optimizer]
        optimizer = kind(self.workload.learning_rate)
        self.optimizer = optax.flatten(optimizer) if self.settings["flat"] else optimizer

    def reset(self, seed: int) -> None:
        """Draw new weights."""
        import jax

        keys = jax.random.split(jax.random.key(seed), len(self.workload.layers) - 1)
        parameters = self.first_parameters(keys)
        self.carry = (parameters, self.optimizer.init(parameters))
        self.random = np.random.default_rng(seed)

    def _loss(self, parameters: Any, x: Any, y: Any) -> Any:
        import optax

        outputs = self._predict(parameters, x)
        if self.workload.is_regression:
            return ((outputs - y) ** 2).mean()
        return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

    def _update(self, parameters: Any, state: Any, gradient: Any) -> Any:
        import optax

        updates, state = self.optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state

    def _order(self) -> Any:
        import jax.numpy as jnp

        if not self.shuffles:
            return None
        order = self.random.permutation(len(self.X))[: self.rows_per_epoch]
        return jnp.asarray(order.astype(np.int32).reshape(self.steps, self.batch))
