"""JAX on a GPU: an epoch, shuffling included, is one ``lax.scan`` in one compiled call."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from bench.trainers.base import Array, Float32Trainer

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # of optax.adam


class ScanTrainer(Float32Trainer):
    """``settings``: ``unroll``, steps of one turn of the loop, and ``precision``.

    The updates are those of optax, written out, since optax need not be installed. Only full
    batches: all steps of a scan have one shape.
    """

    modules = ("jax",)
    distributions = ("jax", "jaxlib", "numpy")

    def set_up(self) -> None:
        """Put the rows on the device and compile nothing yet."""
        # Before JAX is imported: by default it takes most of the memory, which others need, too.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax
        import jax.numpy as jnp

        self.leave_out_short_batch()
        by_tf32 = self.settings.get("precision") == "tf32"
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if by_tf32 else "highest")
        self.X = jnp.asarray(self.data.X_train)
        self.y = jnp.asarray(self.data.y_train.astype("i4"))
        self.steps = self.rows_per_epoch // self.batch
        self.run_epoch = jax.jit(self._epoch, donate_argnums=0)

    def reset(self, seed: int) -> None:
        """Draw new weights of the size that suits relu."""
        import jax
        import jax.numpy as jnp

        key, *keys = jax.random.split(jax.random.key(seed), len(self.workload.layers))
        sizes = zip(self.workload.layers[:-1], self.workload.layers[1:], strict=True)
        parameters = [
            (jax.random.normal(one, (i, o)) * np.sqrt(2 / i), jnp.zeros(o))
            for one, (i, o) in zip(keys, sizes, strict=True)
        ]
        state: Any = ()
        if self.workload.optimizer == "adam":
            zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
            state = (jnp.zeros((), jnp.int32), *zeros)
        self.carry = (parameters, state, key)

    def _predict(self, parameters: Any, x: Any) -> Any:
        import jax

        activation = getattr(jax.nn, self.workload.activation)
        for W, b in parameters[:-1]:
            x = activation(x @ W + b)
        return x @ parameters[-1][0] + parameters[-1][1]

    def _loss(self, parameters: Any, x: Any, y: Any) -> Any:
        import jax

        z = self._predict(parameters, x)
        # By one-hot rows: the gradient of picking out an element would be a scatter.
        chosen = (z * jax.nn.one_hot(y, z.shape[1])).sum(axis=1)
        return (jax.nn.logsumexp(z, axis=1) - chosen).mean()

    def _step(self, parameters: Any, state: Any, x: Any, y: Any) -> Any:
        import jax
        import jax.numpy as jnp

        rate = self.workload.learning_rate
        loss, gradient = jax.value_and_grad(self._loss)(parameters, x, y)
        if not state:
            return jax.tree.map(lambda p, g: p - rate * g, parameters, gradient), state, loss
        count, m, v = state
        count = count + 1
        m = jax.tree.map(lambda a, g: BETA_1 * a + (1 - BETA_1) * g, m, gradient)
        v = jax.tree.map(lambda a, g: BETA_2 * a + (1 - BETA_2) * g * g, v, gradient)
        c_1, c_2 = 1 - BETA_1**count, 1 - BETA_2**count
        parameters = jax.tree.map(
            lambda p, a, b: p - rate * (a / c_1) / (jnp.sqrt(b / c_2) + EPSILON), parameters, m, v
        )
        return parameters, (count, m, v), loss

    def _epoch(self, carry: Any, X: Any, y: Any) -> Any:
        import jax

        parameters, state, key = carry
        if not self.shuffles:
            parameters, state, loss = self._step(parameters, state, X, y)
            return (parameters, state, key), loss
        key, of_order = jax.random.split(key)
        order = jax.random.permutation(of_order, len(X))[: self.rows_per_epoch]

        def step(now: Any, rows: Any) -> Any:
            x = X.at[rows].get(mode="promise_in_bounds")
            t = y.at[rows].get(mode="promise_in_bounds")
            *now, loss = self._step(*now, x, t)
            return tuple(now), loss

        (parameters, state), losses = jax.lax.scan(
            step,
            (parameters, state),
            order.reshape(self.steps, self.batch),
            unroll=self.settings["unroll"],
        )
        return (parameters, state, key), losses.mean()

    def train(self, epochs: int) -> float:
        """Train and wait for the last epoch's parameters."""
        import jax

        for _ in range(epochs):
            self.carry, loss = self.run_epoch(self.carry, self.X, self.y)
        jax.block_until_ready(self.carry)
        return float(loss)

    def outputs(self) -> Array:
        """Return the outputs for the test rows."""
        return np.asarray(self._predict(self.carry[0], self.data.X_test))
