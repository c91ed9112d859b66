"""Early stopping: when it ends a training, and whose parameters remain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fastnet
from fastnet import EarlyStopping, EpochEnd, History

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 3)), np.arange(80) % 2  # nothing to learn: validation gets worse


def play(stopping: EarlyStopping, figures: list[float], monitor: str) -> tuple[int, Any]:
    """Return after how many epochs a training with these figures ends, and its parameters."""
    network: Any = SimpleNamespace(parameters=None, training=None)
    history = History()
    for epoch, figure in enumerate(figures, 1):
        network.parameters = np.array([float(epoch)])
        history.append({monitor: figure}, 0.0)
        end = EpochEnd(network, history, epoch)
        stopping(end)
        if end.stop_reason is not None:
            break
    stopping.finish(network)
    return epoch, network.parameters[0]


@pytest.mark.parametrize(
    ("options", "figures", "epochs", "best"),
    [
        ({"patience": 2}, [3, 2, 4, 2, 1], 4, 2),  # as good is not better
        ({"patience": 3}, [3, 2, 4, 2, 1], 5, 5),
        ({"patience": 1}, [3, 3, 1], 2, 1),
        ({"patience": 2, "smallest_change": 0.5}, [3, 2.8, 2.6, 0], 3, 1),
        ({"patience": 2, "monitor": "validation_accuracy"}, [0.5, 0.7, 0.6, 0.7, 0.9], 4, 2),
        ({"patience": 2, "monitor": "validation_r2"}, [-5, -4, -4.5, -4.2, 1], 4, 2),
        ({"patience": 2, "restore_best": False}, [3, 2, 4, 2, 1], 4, 4),
    ],
)
def test_when_it_ends(options: Any, figures: list[float], epochs: int, best: int) -> None:
    monitor = options.get("monitor", "validation_loss")
    assert play(EarlyStopping(**options), figures, monitor) == (epochs, best)


@pytest.mark.parametrize("cut", range(1, 7))
def test_what_it_remembers_can_be_kept(cut: int) -> None:
    figures = [5.0, 4.0, 6.0, 3.0, 3.5, 3.1, 3.2, 9.0]
    whole, other = EarlyStopping(3), EarlyStopping(3)
    history, network = History(), SimpleNamespace(parameters=None, training=None)
    for epoch, figure in enumerate(figures, 1):
        network.parameters = np.array([float(epoch)])
        history.append({"validation_loss": figure}, 0.0)
        ends = [EpochEnd(network, history, epoch) for _ in range(2)]  # type: ignore[arg-type]
        whole(ends[0])
        if epoch == cut:
            other.load_state_dict(whole.state_dict())
        elif epoch > cut:
            other(ends[1])
            assert ends[0].stop_reason == ends[1].stop_reason
    results = []
    for stopping in (whole, other):
        stopping.finish(network)  # type: ignore[arg-type]
        results.append(network.parameters)
    np.testing.assert_array_equal(*results)


def test_a_training_that_gets_no_better_ends() -> None:
    stopping = EarlyStopping(patience=3)
    run = fastnet.train(
        X, Y, epochs=400, learning_rate=0.05, callbacks=[stopping], backend="numpy", validation=0.3
    )
    losses = run.history["validation_loss"]
    assert len(losses) == stopping.best_epoch + 3 < 400
    assert stopping.best == min(losses) == losses[stopping.best_epoch - 1]
    best = fastnet.train(
        X, Y, epochs=stopping.best_epoch, learning_rate=0.05, backend="numpy", validation=0.3
    )
    np.testing.assert_array_equal(run.network.parameters, best.network.parameters)


def test_another_training_begins_anew() -> None:
    stopping = EarlyStopping(patience=2)
    assert play(stopping, [3, 2, 2, 2], "validation_loss") == (4, 2)
    assert play(stopping, [9, 8, 9, 9, 9], "validation_loss") == (4, 2)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match=r"monitor is 'validation_loss', and the history has"):
        fastnet.train(X, Y, epochs=2, callbacks=[EarlyStopping()], validation=None, backend="numpy")
    with pytest.raises(ValueError, match="patience is 0"):
        EarlyStopping(0)
    with pytest.raises(ValueError, match="smallest_change is -1"):
        EarlyStopping(smallest_change=-1)
