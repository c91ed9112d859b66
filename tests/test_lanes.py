"""Which work of a captured step may overlap: any order that is allowed gives the same result."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from cuda_host.device import HostDevice, any_order
from cuda_host.executor import cupy_on_host, needs_compiler

from fastnet import Dense, Network
from fastnet.execution import lanes
from fastnet.execution.lanes import Work, dependencies, places

CELLS = 12


def random_works(rng: random.Random, count: int) -> list[tuple[Work, Callable[[list[int]], None]]]:
    """Return work on a small memory, and what each does to it: a hash of all that it reads."""

    def spans() -> tuple[tuple[int, int], ...]:
        begins = [rng.randrange(CELLS) for _ in range(rng.randrange(3))]
        return tuple((begin, begin + rng.randrange(1, 4)) for begin in begins)

    made = []
    for number in range(count):
        reads, writes = spans(), spans()

        def act(
            memory: list[int], number: int = number, reads: object = reads, writes: object = writes
        ) -> None:
            seen = [memory[c] for a, b in reads for c in range(a, b)]  # type: ignore[attr-defined]
            for a, b in writes:  # type: ignore[attr-defined]
                for cell in range(a, b):
                    memory[cell] = hash((number, memory[cell], *seen))

        made.append((Work(str(number), reads, writes, lambda lane: None), act))
    return made


@pytest.mark.parametrize("seed", range(20))
def test_every_order_that_is_allowed_gives_the_same(seed: int) -> None:
    rng = random.Random(seed)
    made = random_works(rng, 25)
    waits = dependencies([work for work, _ in made])

    def result(order: list[int]) -> list[int]:
        memory = [0] * (CELLS + 3)
        for j in order:
            made[j][1](memory)
        return memory

    expected = result(list(range(len(made))))
    for _ in range(5):
        order = list(any_order(waits, rng))
        assert sorted(order) == list(range(len(made)))
        assert result(order) == expected


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [1, 2, 4])
def test_lanes_and_waits_keep_every_order(seed: int, count: int) -> None:
    works = [work for work, _ in random_works(random.Random(seed), 25)]
    found = places(works, count)
    before: list[set[int]] = []  # what has surely ended when a piece of work begins
    last: dict[int, int] = {}
    for j, place in enumerate(found):
        known = {*place.waits, *([last[place.lane]] if place.lane in last else [])}
        before.append(known.union(*(before[i] for i in known)))
        last[place.lane] = j
        assert place.lane < count
        for i in range(j):
            assert i in before[j] or not lanes.keeps_order(works[i], works[j])


def test_nothing_is_waited_for_twice() -> None:
    def work(reads: tuple[int, ...], writes: tuple[int, ...]) -> Work:
        spans = [tuple((cell, cell + 1) for cell in cells) for cells in (reads, writes)]
        return Work("", spans[0], spans[1], lambda lane: None)

    chain = [work((), (0,)), work((0,), (1,)), work((0, 1), (2,)), work((), (3,)), work((2, 3), ())]
    assert dependencies(chain) == [[], [0], [1], [], [3, 2]]


@needs_compiler
def test_the_longest_chain_of_a_small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bias gradients, sums and bookkeeping stand beside it, not in it."""
    captured: list[list[Work]] = []

    class Keeping(HostDevice):
        def _replayable(self, works: list[Work]) -> Callable[[], None]:
            captured.append(works)
            return super()._replayable(works)

    X, y = np.zeros((64, 20), np.uint8), np.arange(64) % 10
    with cupy_on_host(monkeypatch, Keeping):
        layers = [Dense(20, 12, "relu"), Dense(12, 10, "softmax")]
        net = Network(layers, loss="categorical_crossentropy", backend="cupy")
        net.fit(X, y, batch_size=32, epochs=1)
    (works,) = captured
    depth: list[int] = []
    for direct in dependencies(works):
        depth.append(1 + max((depth[i] for i in direct), default=0))
    chain = [works[j].name for j in sorted(range(len(works)), key=depth.__getitem__)]
    assert len(works) == 17
    assert max(depth) == 10
    assert chain[-1] == "adam_step"


@needs_compiler
@pytest.mark.parametrize("free", ["gemm", "bias_activation", "activation_backward", "adam_step"])
def test_work_that_does_not_wait_shows(monkeypatch: pytest.MonkeyPatch, free: str) -> None:
    X = np.random.default_rng(0).normal(size=(64, 5))
    y = np.arange(64) % 3

    def trained(seed: int) -> bytes:
        with cupy_on_host(monkeypatch, lambda: HostDevice(seed=seed)):
            layers = [Dense(5, 7, "tanh"), Dense(7, 6, "tanh"), Dense(6, 3, "softmax")]
            net = Network(layers, loss="categorical_crossentropy", backend="cupy")
            net.fit(X, y, batch_size=16, epochs=2)
            return net.parameters.tobytes()

    def wrong(earlier: Work, later: Work) -> bool:
        return later.name != free and rightly(earlier, later)

    right, rightly = {trained(seed) for seed in (0, 1, 2)}, lanes.keeps_order
    assert len(right) == 1
    monkeypatch.setattr(lanes, "keeps_order", wrong)
    assert {trained(seed) for seed in (1, 2, 3, 4)} != right
