"""All randomness: one seed, one documented generator, the same numbers on every backend.

The generator is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
generators", 2014), used by position: number i of the stream with key k is

    mix(k + (i + 1) * 0x9E3779B97F4A7C15),   all modulo 2^64
    mix(x):  x ^= x >> 30;  x *= 0xBF58476D1CE4E5B9;
             x ^= x >> 27;  x *= 0x94D049BB133111EB;  x ^= x >> 31

so that any backend can compute any number alone. Libraries keep the right to change how they draw
from a distribution; bits, uniform numbers and permutations here do not change with a library's
version (normal numbers go through its logarithm and cosine, whose last digit may).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastnet import checks

if TYPE_CHECKING:
    from fastnet.layers import Dense

Vector = np.ndarray[Any, np.dtype[Any]]

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1

# What a stream is for; the number is part of its key.
INITIAL_PARAMETERS = 1
ROW_ORDER = 2
TEST_SPLIT = 3
VALIDATION_SPLIT = 4
GRADIENT_CHECK = 5
EXPORT_CHECK = 6


def _mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


class Stream:
    """The numbers of one key: ``Stream(seed, purpose, ...)``; each call draws the next ones.

    The key is built by mixing the seed and the further words one after the other.
    """

    def __init__(self, seed: int, *words: int) -> None:
        key = _mix(seed & MASK)
        for word in words:
            key = _mix((key + GOLDEN + word) & MASK)
        self._key = key
        self._position = 0

    def bits(self, count: int) -> Vector:
        """Return the next ``count`` numbers of 64 random bits, uint64."""
        position = np.arange(self._position + 1, self._position + count + 1, dtype=np.uint64)
        self._position += count
        x = position * np.uint64(GOLDEN) + np.array([self._key], np.uint64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

    def uniform(self, count: int) -> Vector:
        """Return float64 from [0, 1): the upper 53 bits of each number times 2^-53."""
        return (self.bits(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> Vector:
        """Return float64 from the standard normal distribution.

        Box and Muller, "A note on the generation of random normal deviates", 1958: from u, v
        uniform, sqrt(-2 log(1 - u)) times cos(2 pi v) and sin(2 pi v); the pairs stand side by
        side.
        """
        pairs = (count + 1) // 2
        u = self.uniform(2 * pairs).reshape(pairs, 2)
        radius, angle = np.sqrt(-2 * np.log1p(-u[:, 0])), 2 * np.pi * u[:, 1]
        both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return both.reshape(-1)[:count]

    def permutation(self, count: int) -> Vector:
        """Return a permutation of 0 .. count-1, int32.

        Every index is put behind random bits in one 64-bit number; sorted by those bits, the
        indices stand in random order. The index itself settles the rare equal bits, so that the
        result does not depend on how the sort treats equals.
        """
        width = np.uint64(max(count - 1, 0).bit_length())
        keys = self.bits(count) << width | np.arange(count, dtype=np.uint64)
        keys.sort()
        return (keys & ((np.uint64(1) << width) - np.uint64(1))).astype(np.int32)


class Provider(Protocol):
    """Where initial parameters and the order of rows come from."""

    def parameters(self, layers: Sequence[Dense]) -> Vector:
        """Return the initial parameters of all layers as one flat float64 vector."""

    def order(self, epoch: int, rows: int) -> Vector:
        """Return the order of rows in an epoch (counted from 0), (rows,) int32."""


class SeedProvider:
    """The default provider: everything from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __repr__(self) -> str:
        return f"SeedProvider({self.seed})"

    def parameters(self, layers: Sequence[Dense]) -> Vector:
        """Return the initial parameters, each block from a stream of its own."""
        blocks = []
        for number, layer in enumerate(layers):
            for part, (initializer, shape) in enumerate(
                [
                    (layer.weights, (layer.inputs, layer.outputs)),
                    (layer.biases, (layer.outputs,)),
                ]
            ):
                stream = Stream(self.seed, INITIAL_PARAMETERS, number, part)
                count = int(np.prod(shape))
                blocks.append(initializer.sample(stream, count, layer.inputs, layer.outputs))
        return np.concatenate(blocks)

    def order(self, epoch: int, rows: int) -> Vector:
        """Return a permutation that depends on the seed and the epoch alone."""
        return Stream(self.seed, ROW_ORDER, epoch).permutation(rows)


def provider(seed: int | Provider) -> Provider:
    """Return the provider for a seed, or the given provider itself."""
    if hasattr(seed, "parameters") and hasattr(seed, "order"):
        return seed
    return SeedProvider(checks.whole_number(seed, "seed", at_least=0, at_most=MASK))
