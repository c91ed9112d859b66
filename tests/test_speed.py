"""`speed.compare`: backends measured in turn."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

import fastnet
from fastnet import speed
from fastnet.data.dataset import Dataset

RNG = np.random.default_rng(5)
DATA = Dataset("rows", RNG.normal(size=(50, 4)), np.arange(50) % 3, None, None)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def measured(monkeypatch: pytest.MonkeyPatch, found: dict[str, list[float]]) -> list[Any]:
    """Have measurements come out as told; return who was measured, in order, for how long."""
    calls: list[Any] = []
    left = {name: [0.0, *values] for name, values in found.items()}  # the first is the warm-up

    def run(prepared: Any, batch_size: int | None, seconds: float) -> float:
        name = prepared.network.backend
        calls.append((name, seconds))
        return left[name].pop(0)

    monkeypatch.setattr(speed, "_run", run)
    return calls


def test_backends_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"numpy": [10.0, 30.0, 20.0], "numba": [90.0, 50.0, 60.0]}
    calls = measured(monkeypatch, found)
    said: list[str] = []
    result = speed.compare(
        DATA, backends=["numpy", "numba", "numpy"], seconds=0.5, repeats=3, say=said.append
    )
    warm = [("numpy", speed.WARM_UP_SECONDS), ("numba", speed.WARM_UP_SECONDS)]
    assert calls == warm + [("numpy", 0.5), ("numba", 0.5)] * 3
    assert said == [
        *("preparing numpy", "preparing numba"),
        *(f"measurement {repeat} of 3" for repeat in (1, 2, 3)),
    ]
    fast, slow = result.rows
    assert (fast.backend, fast.samples_per_second, fast.ratio) == ("numba", found["numba"], 3)
    assert (fast.lowest, fast.median, fast.highest) == (50, 60, 90)
    assert (slow.backend, slow.samples_per_second, slow.ratio) == ("numpy", found["numpy"], 1)
    assert result.title == "4-128-3 on rows, 128 rows a step, adam, float32"


def test_it_is_plain_data(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, {"numpy": [4.0, 8.0]})
    result = speed.compare(
        DATA, backends=["numpy"], repeats=2, hidden=(), batch_size=None, dtype="float64"
    )
    expected = {
        "network": "4-3 on rows, all rows a step, adam, float64",
        "backends": [
            {
                "backend": "numpy",
                "device": "CPU",
                "threads": result.rows[0].threads,
                "samples_per_second": [4.0, 8.0],
                "ratio": 1.0,
                "median": 6.0,
            }
        ],
    }
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False)) == expected


def test_by_default_all_that_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name, status in fastnet.backends().items() if status.available]
    measured(monkeypatch, {name: [1.0] for name in names})
    result = speed.compare(DATA, repeats=1)
    assert {row.backend for row in result.rows} == {*names}


def test_a_measurement_is_long_enough_and_counts_training_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(speed.time, "perf_counter", clock)
    asked = []

    class History:
        rows = 50

        def __init__(self, epochs: int) -> None:
            self.seconds = [0.1] * epochs  # of training

    class Network:
        def fit(self, X: Any, y: Any, *, epochs: int, batch_size: int, progress: bool) -> History:
            assert (batch_size, progress) == (16, False)
            asked.append(epochs)
            clock.now += 0.125 * epochs  # and of all the rest
            return History(epochs)

    class Prepared:
        network, X_train, y_train = Network(), DATA.X_train, DATA.y_train

    found = speed._run(Prepared(), 16, 2.0)  # type: ignore[arg-type]
    assert found == pytest.approx(500)
    assert asked[0] == 1
    assert all(later <= 2 * before for before, later in itertools.pairwise(asked))
    assert 2 <= clock.now < 2.3


def test_a_measurement_is_at_least_one_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = speed.training.prepare(
        DATA,
        None,
        hidden=(),
        activation="relu",
        loss=None,
        sample_weight=None,
        backend="numpy",
        dtype="float32",
        threads=None,
        seed=0,
        task="auto",
        input_scale=None,
    )
    assert speed._run(prepared, None, 1e-9) > 0
    assert prepared.network.epoch >= 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"repeats": 0}, ValueError, "repeats is 0"),
        ({"repeats": 1.5}, TypeError, r"repeats is 1\.5"),
        ({"seconds": 0}, ValueError, "seconds is 0"),
        ({"seconds": float("inf")}, ValueError, "seconds is inf"),
        ({"seconds": float("nan")}, ValueError, "seconds is nan"),
        ({"backends": ["nunpy"]}, ValueError, "did you mean 'numpy'"),
    ],
)
def test_what_is_refused(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        speed.compare(DATA, **{"backends": ["numpy"], "seconds": 1e-3, "repeats": 1} | options)
