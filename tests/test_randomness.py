"""The random numbers: the generator, what is drawn from it, and where a network gets its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tolerances import assert_close

from fastnet import Dense, Network
from fastnet.initializers import INITIALIZERS, Initializer, initializer
from fastnet.randomness import (
    GRADIENT_CHECK,
    INITIAL_PARAMETERS,
    ROW_ORDER,
    TEST_SPLIT,
    VALIDATION_SPLIT,
    SeedProvider,
    Stream,
    provider,
)

Array = np.ndarray[Any, np.dtype[Any]]

SIZES = [0, 1, 2, 3, 10, 1000]
MODULUS = 2**64


def mixed(x: int) -> int:
    """The finalizer of SplitMix64, in Python's own integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % MODULUS
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % MODULUS
    return x ^ (x >> 31)


def split_mix(state: int, count: int) -> list[int]:
    """SplitMix64 as it is published: a state that steps, and its finalizer."""
    numbers = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % MODULUS
        numbers.append(mixed(state))
    return numbers


def key_of(seed: int, *words: int) -> int:
    key = mixed(seed % MODULUS)
    for word in words:
        key = mixed((key + 0x9E3779B97F4A7C15 + word) % MODULUS)
    return key


# -- the generator --------------------------------------------------------------------------------


def test_the_scalar_generator_gives_the_published_numbers() -> None:
    """Of the seed 1234567, as they are listed for many implementations."""
    assert split_mix(1234567, 5) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_the_stream_of_seed_0_is_the_published_one() -> None:
    """The key of seed 0 is 0, so that the numbers are those of SplitMix64 from 0."""
    assert Stream(0).bits(3).tolist() == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


@pytest.mark.parametrize(
    "words",
    [(0,), (1,), (MODULUS - 1,), (0, 0), (7, 1, 0, 1), (7, ROW_ORDER, 12), (2**63, 5, 4, 3, 2)],
)
def test_every_stream_is_split_mix_from_its_key(words: tuple[int, ...]) -> None:
    bits = Stream(*words).bits(100)
    assert bits.dtype == np.uint64
    assert bits.tolist() == split_mix(key_of(*words), 100)


def test_numbers_drawn_in_parts_are_those_drawn_at_once() -> None:
    stream = Stream(3, 1)
    parts = [stream.bits(count) for count in (0, 1, 2, 0, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), Stream(3, 1).bits(10))


def test_streams_do_not_share_numbers() -> None:
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 2), (2, 1), (1, 2, 0), (1, 2, 0, 0)]
    numbers = np.concatenate([Stream(*key).bits(10_000) for key in keys])
    assert len(np.unique(numbers)) == len(numbers)


def test_streams_are_not_correlated() -> None:
    purposes = [INITIAL_PARAMETERS, ROW_ORDER, TEST_SPLIT, VALIDATION_SPLIT, GRADIENT_CHECK]
    assert len(set(purposes)) == 5
    streams = [(seed, purpose) for seed in (0, 1, 2) for purpose in purposes]
    u = np.array([Stream(*words).uniform(10_000) for words in streams])
    correlation = np.corrcoef(u) - np.eye(len(u))
    assert np.abs(correlation).max() < 5 / math.sqrt(10_000)
    # Nor is a stream with itself, one number later.
    assert abs(np.corrcoef(u[0, 1:], u[0, :-1])[0, 1]) < 5 / math.sqrt(10_000)


# -- distributions --------------------------------------------------------------------------------


def test_uniform_takes_the_upper_53_bits() -> None:
    expected = [(x >> 11) / 2**53 for x in split_mix(key_of(4, 2), 1000)]
    assert Stream(4, 2).uniform(1000).tolist() == expected


def test_uniform_numbers_lie_from_0_to_below_1_and_fill_the_range() -> None:
    u = Stream(0).uniform(100_000)
    assert u.dtype == np.float64
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.bincount((u * 20).astype(int), minlength=20)
    assert ((counts - 5000) ** 2 / 5000).sum() < 60  # chi-square, 19 degrees of freedom


def test_the_largest_bits_give_finite_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "bits", lambda self, n: np.full(n, MODULUS - 1, np.uint64))
    assert Stream(0).uniform(2).tolist() == [1 - 2.0**-53] * 2
    assert np.isfinite(Stream(0).normal(4)).all()
    monkeypatch.setattr(Stream, "bits", lambda self, n: np.zeros(n, np.uint64))
    assert Stream(0).uniform(2).tolist() == [0, 0]
    assert Stream(0).normal(2).tolist() == [0, 0]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
def test_normal_is_box_and_muller(count: int) -> None:
    u = [(x >> 11) / 2**53 for x in split_mix(key_of(4, 2), 10)]
    expected = []
    for first, second in zip(u[::2], u[1::2], strict=True):
        radius = math.sqrt(-2 * math.log(1 - first))
        expected += [
            radius * math.cos(2 * math.pi * second),
            radius * math.sin(2 * math.pi * second),
        ]
    assert_close(Stream(4, 2).normal(count), expected[:count], "float64", 1e-14)


def test_moments_of_the_normal_distribution() -> None:
    """Within five standard errors for 100,000 numbers."""
    x, n = Stream(1).normal(100_000), 100_000
    assert abs(x.mean()) < 5 * math.sqrt(1 / n)
    assert abs((x**2).mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs((x**3).mean()) < 5 * math.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / n)
    assert abs(np.corrcoef(x[::2], x[1::2])[0, 1]) < 5 / math.sqrt(n / 2)
    assert abs((np.abs(x) < 1).mean() - math.erf(math.sqrt(0.5))) < 5 * 0.5 / math.sqrt(n)


# -- permutations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", SIZES)
def test_a_permutation_has_every_index_once(count: int, seed: int) -> None:
    permutation = Stream(seed).permutation(count)
    assert permutation.dtype == np.int32
    assert permutation.shape == (count,)
    np.testing.assert_array_equal(np.sort(permutation), np.arange(count))


@pytest.mark.parametrize("count", SIZES)
def test_a_permutation_sorts_the_indices_by_their_random_bits(count: int) -> None:
    width = max(count - 1, 0).bit_length()
    bits = [x << width & (MODULUS - 1) for x in split_mix(key_of(2, 3), count)]
    expected = sorted(range(count), key=lambda index: (bits[index], index))
    assert Stream(2, 3).permutation(count).tolist() == expected


def test_equal_bits_leave_the_indices_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "bits", lambda self, n: np.zeros(n, np.uint64))
    assert Stream(0).permutation(10).tolist() == list(range(10))


def test_permutations_are_uniform() -> None:
    """Chi-square with 9 degrees of freedom for places, 23 for whole permutations."""
    permutations = np.array([Stream(key, ROW_ORDER).permutation(4) for key in range(4800)])
    for place in range(4):
        counts = np.bincount(permutations[:, place], minlength=4)
        assert ((counts - 1200) ** 2 / 1200).sum() < 30
    numbers = permutations @ [64, 16, 4, 1]
    kinds, counts = np.unique(numbers, return_counts=True)
    assert len(kinds) == 24
    assert ((counts - 200) ** 2 / 200).sum() < 70


# -- the provider ---------------------------------------------------------------------------------


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    one = SeedProvider(3)
    one.order(0, 50), one.parameters([Dense(4, 3)])
    np.testing.assert_array_equal(one.order(7, 50), SeedProvider(3).order(7, 50))
    np.testing.assert_array_equal(one.order(7, 50), Stream(3, ROW_ORDER, 7).permutation(50))
    orders = [SeedProvider(seed).order(epoch, 50) for seed in (3, 4) for epoch in (0, 1, 2)]
    assert len({order.tobytes() for order in orders}) == 6
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))


def test_every_block_of_parameters_has_a_stream_of_its_own() -> None:
    layers = [Dense(4, 3, "tanh", biases="normal"), Dense(3, 2, "relu", biases="normal(0.1)")]
    parameters = SeedProvider(9).parameters(layers)
    assert parameters.dtype == np.float64
    expected = [
        math.sqrt(6 / 7) * (2 * Stream(9, INITIAL_PARAMETERS, 0, 0).uniform(12) - 1),
        Stream(9, INITIAL_PARAMETERS, 0, 1).normal(3),
        math.sqrt(6 / 3) * (2 * Stream(9, INITIAL_PARAMETERS, 1, 0).uniform(6) - 1),
        0.1 * Stream(9, INITIAL_PARAMETERS, 1, 1).normal(2),
    ]
    np.testing.assert_array_equal(parameters, np.concatenate(expected))
    # So a layer more does not change the layers before it.
    more = SeedProvider(9).parameters([*layers, Dense(2, 5)])
    np.testing.assert_array_equal(more[: len(parameters)], parameters)


def test_seeds_give_different_parameters() -> None:
    layers = [Dense(4, 3, "tanh")]
    drawn = {SeedProvider(seed).parameters(layers).tobytes() for seed in range(20)}
    assert len(drawn) == 20


@pytest.mark.parametrize("seed", [0, 1, MODULUS - 1])
def test_a_seed_becomes_a_provider(seed: int) -> None:
    assert provider(seed).seed == seed


@pytest.mark.parametrize("seed", [-1, MODULUS, 0.5, "1", None, True])
def test_other_seeds_are_refused(seed: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="seed"):
        provider(seed)


# -- initializers ---------------------------------------------------------------------------------

INPUTS, OUTPUTS, COUNT = 30, 20, 40_000


def draw(spec: str | Initializer) -> Array:
    return initializer(spec, "weights").sample(Stream(6), COUNT, INPUTS, OUTPUTS)


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        ("glorot_uniform", -math.sqrt(6 / 50), math.sqrt(6 / 50)),
        ("he_uniform", -math.sqrt(6 / 30), math.sqrt(6 / 30)),
        ("uniform", -0.05, 0.05),
        ("uniform(-0.5, 0.25)", -0.5, 0.25),
    ],
)
def test_uniform_initializers(spec: str, low: float, high: float) -> None:
    values = draw(spec)
    assert values.dtype == np.float64
    assert values.shape == (COUNT,)
    assert low <= values.min() < low + 0.001 * (high - low)
    assert high - 0.001 * (high - low) < values.max() < high
    spread = (high - low) / math.sqrt(12)
    assert abs(values.mean() - (low + high) / 2) < 5 * spread / math.sqrt(COUNT)
    assert values.std() == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize(
    ("spec", "deviation"),
    [("he_normal", math.sqrt(2 / 30)), ("normal", 1.0), ("normal(0.25)", 0.25)],
)
def test_normal_initializers(spec: str, deviation: float) -> None:
    values = draw(spec)
    assert values.dtype == np.float64
    assert values.shape == (COUNT,)
    assert abs(values.mean()) < 5 * deviation / math.sqrt(COUNT)
    assert values.std() == pytest.approx(deviation, rel=0.02)
    assert np.abs(values).max() > 3.5 * deviation, "the tails are cut off"


def test_zeros() -> None:
    np.testing.assert_array_equal(draw("zeros"), np.zeros(COUNT))


def test_there_are_six_initializers() -> None:
    known = {"glorot_uniform", "he_normal", "he_uniform", "normal", "uniform", "zeros"}
    assert set(INITIALIZERS) == known


@pytest.mark.parametrize(
    ("activation", "default"),
    [
        ("linear", "glorot_uniform"),
        ("sigmoid", "glorot_uniform"),
        ("tanh", "glorot_uniform"),
        ("softmax", "glorot_uniform"),
        ("relu", "he_uniform"),
        ("leaky_relu", "he_uniform"),
        ("elu", "he_uniform"),
    ],
)
def test_the_initializer_follows_the_activation(activation: str, default: str) -> None:
    layer = Dense(3, 2, activation)
    assert layer.weights == initializer(default, "weights")
    assert layer.biases == initializer("zeros", "biases")


# -- in a network ---------------------------------------------------------------------------------


def small_network(seed: Any, dtype: str = "float64") -> Network:
    layers = [Dense(4, 3, "tanh", biases="normal"), Dense(3, 1, "linear")]
    return Network(layers, loss="mse", backend="numpy", dtype=dtype, seed=seed)


def rows_of(count: int) -> tuple[Array, Array]:
    return Stream(8, 0).normal(4 * count).reshape(count, 4), Stream(8, 1).normal(count)


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_both_dtypes_start_with_the_same_parameters(seed: int) -> None:
    single, double = small_network(seed, "float32"), small_network(seed)
    assert single.parameters.dtype == np.float32
    np.testing.assert_array_equal(single.parameters, double.parameters.astype(np.float32))
    np.testing.assert_array_equal(double.parameters, SeedProvider(seed).parameters(double.layers))


def test_the_same_seed_gives_the_same_training() -> None:
    X, y = rows_of(20)
    first, second, other = small_network(1), small_network(1), small_network(2)
    for network in (first, second, other):
        network.fit(X, y, batch_size=3, epochs=2, progress=False)
    assert first.parameters.tobytes() == second.parameters.tobytes()
    assert first.parameters.tobytes() != other.parameters.tobytes()


class Reversing:
    """A provider of a user's own: counting parameters, rows from the last to the first."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def parameters(self, layers: Sequence[Dense]) -> Array:
        return np.arange(sum(layer.parameter_count for layer in layers)) / 50

    def order(self, epoch: int, rows: int) -> Array:
        self.asked.append((epoch, rows))
        return np.arange(rows)[::-1]


def test_a_provider_of_ones_own_is_asked_for_parameters_and_orders() -> None:
    X, y = rows_of(10)
    own = Reversing()
    network = small_network(own)
    np.testing.assert_array_equal(network.parameters, np.arange(19) / 50)
    assert network.provider is own
    network.fit(X, y, batch_size=3, epochs=2, progress=False)
    network.fit(X, y, batch_size=3, epochs=1, progress=False)
    assert own.asked == [(0, 10), (1, 10), (2, 10)]

    same = small_network(Reversing())
    same.fit(X[::-1], y[::-1], batch_size=3, epochs=3, shuffle=False, progress=False)
    np.testing.assert_array_equal(network.parameters, same.parameters)


@pytest.mark.parametrize("settings", [{"shuffle": False}, {"batch_size": None}, {"batch_size": 10}])
def test_no_order_is_asked_for_where_rows_are_not_shuffled(settings: dict[str, Any]) -> None:
    X, y = rows_of(10)
    own = Reversing()
    small_network(own).fit(X, y, **{"batch_size": 3} | settings, epochs=2, progress=False)
    assert own.asked == []


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (np.arange(9), "shape"),
        (np.arange(11), "shape"),
        (np.arange(10).reshape(2, 5), "shape"),
        (np.arange(10.0), "float64"),
        (np.ones(10, bool), "bool"),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 8], "no permutation"),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 10], "no permutation"),
        ([-1, 1, 2, 3, 4, 5, 6, 7, 8, 9], "no permutation"),
        ([-1, 0, 1, 2, 3, 4, 5, 6, 7, 8], "no permutation"),
        (np.arange(10, dtype=np.int64) + 2**32, "no permutation"),
    ],
)
def test_a_bad_order_is_refused_and_changes_nothing(order: Any, message: str) -> None:
    class Bad(Reversing):
        def order(self, epoch: int, rows: int) -> Any:
            return order

    X, y = rows_of(10)
    network = small_network(Bad())
    before = network.parameters
    with pytest.raises(ValueError, match=message):
        network.fit(X, y, batch_size=3, epochs=1, progress=False)
    assert network.parameters.tobytes() == before.tobytes()
    assert network.epoch == 0


@pytest.mark.parametrize(
    "parameters", [np.zeros(18), np.zeros((19, 1)), np.full(19, np.nan), np.full(19, "0")]
)
def test_bad_parameters_of_a_provider_are_refused(parameters: Array) -> None:
    class Bad(Reversing):
        def parameters(self, layers: Sequence[Dense]) -> Any:
            return parameters

    with pytest.raises((TypeError, ValueError), match="parameters"):
        small_network(Bad())
