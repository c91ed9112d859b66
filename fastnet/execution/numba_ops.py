"""The ops on Numba: compiled kernels, gathered under the names of the contract."""

from __future__ import annotations

from fastnet_kernels.cpu.activations import (
    activation,
    activation_backward,
    bias_activation,
    column_sum,
)
from fastnet_kernels.cpu.bookkeeping import add_losses, begin_step, count_step
from fastnet_kernels.cpu.gather import gather_features, gather_targets
from fastnet_kernels.cpu.losses import cross_entropy, elementwise_loss
from fastnet_kernels.cpu.matmul import matmul_nn, matmul_nt, matmul_tn
from fastnet_kernels.cpu.optimizers import adam_step, momentum_step, sgd_step

from fastnet.execution import blas

__all__ = [
    "activation",
    "activation_backward",
    "adam_step",
    "add_losses",
    "begin_step",
    "bias_activation",
    "column_sum",
    "count_step",
    "cross_entropy",
    "elementwise_loss",
    "gather_features",
    "gather_targets",
    "matmul_nn",
    "matmul_nt",
    "matmul_tn",
    "momentum_step",
    "sgd_step",
]

# Compiled code finds the BLAS by name, so it must be there before anything is compiled.
BLAS = blas.load()
