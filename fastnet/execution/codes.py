"""The integers that stand for kinds inside the layer table and the kernels of every backend.

Compiled code and CUDA kernels dispatch on integers; each of them has its one place here.
"""

from __future__ import annotations

# Records of the layer table.
INPUT = 0
DENSE = 1
OUTPUT = 2

# Activations.
LINEAR = 0
SIGMOID = 1
TANH = 2
RELU = 3
LEAKY_RELU = 4
ELU = 5
SOFTMAX = 6

# Losses.
MSE = 0
MAE = 1
LOG_LOSS = 2
CATEGORICAL_CROSSENTROPY = 3

# How a row of outputs counts as a hit.
NO_HITS = 0  # regression
ARGMAX_HITS = 1  # the largest output stands where the largest target stands
THRESHOLD_HITS = 2  # every output is on its target's side of the threshold

# Optimizers.
SGD = 0
MOMENTUM = 1
ADAM = 2
