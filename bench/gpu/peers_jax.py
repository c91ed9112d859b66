"""JAX on a GPU: an epoch, shuffling included, is one ``lax.scan`` in one compiled call."""

from __future__ import annotations

import os
from typing import Any

from bench.trainers.jax import JaxTrainer

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # of optax.adam


class ScanTrainer(JaxTrainer):
    """``settings``: ``unroll``, steps of one turn of the loop, and ``precision``.

    The updates are those of optax, written out, since optax need not be installed.
    """

    modules = ("jax",)
    distributions = ("jax", "jaxlib", "numpy")

    def set_up(self) -> None:
        """Set memory and precision beforehand."""
        # Before JAX is imported: by default it takes most of the memory, which others need, too.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax

        by_tf32 = self.settings.get("precision") == "tf32"
        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if by_tf32 else "highest")
        super().set_up()

    def reset(self, seed: int) -> None:
        """Draw new weights; what is left of the key is for the orders of rows."""
        import jax
        import jax.numpy as jnp

        key, *keys = jax.random.split(jax.random.key(seed), len(self.workload.layers))
        parameters = self.first_parameters(keys)
        state: Any = ()
        if self.workload.optimizer == "adam":
            zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
            state = (jnp.zeros((), jnp.int32), *zeros)
        self.carry = (parameters, state, key)

    def _loss(self, parameters: Any, x: Any, y: Any) -> Any:
        import jax

        z = self._predict(parameters, x)
        # By one-hot rows: the gradient of picking out an element would be a scatter.
        chosen = (z * jax.nn.one_hot(y, z.shape[1])).sum(axis=1)
        return (jax.nn.logsumexp(z, axis=1) - chosen).mean()

    def _update(self, parameters: Any, state: Any, gradient: Any) -> Any:
        import jax
        import jax.numpy as jnp

        rate = self.workload.learning_rate
        if not state:
            return jax.tree.map(lambda p, g: p - rate * g, parameters, gradient), state
        count, m, v = state
        count = count + 1
        m = jax.tree.map(lambda a, g: BETA_1 * a + (1 - BETA_1) * g, m, gradient)
        v = jax.tree.map(lambda a, g: BETA_2 * a + (1 - BETA_2) * g * g, v, gradient)
        c_1, c_2 = 1 - BETA_1**count, 1 - BETA_2**count
        parameters = jax.tree.map(
            lambda p, a, b: p - rate * (a / c_1) / (jnp.sqrt(b / c_2) + EPSILON), parameters, m, v
        )
        return parameters, (count, m, v)

    def _epoch(self, carry: Any, X: Any, y: Any, order: Any) -> Any:
        import jax

        parameters, state, key = carry
        if self.shuffles:
            key, of_order = jax.random.split(key)
            order = jax.random.permutation(of_order, len(X))[: self.rows_per_epoch]
            order = order.reshape(self.steps, self.batch)
        (parameters, state), loss = super()._epoch((parameters, state), X, y, order)
        return (parameters, state, key), loss
