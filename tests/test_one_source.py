"""The math is written once: the same source runs on NumPy, compiles whole, and can be captured."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import recording
from recording import DeviceBuffer, NotCapturable, Recorder

from fastnet import Adam, Dense, Network, backprop, losses
from fastnet.execution import codes, mathsource, tables
from fastnet.execution.buffers import CLOCK, LOSS, SCALARS, TOTALS, Control, Data, Parameters, Work

LAYERS = [Dense(7, 5, "relu"), Dense(5, 4, "elu(0.7)"), Dense(4, 3, "softmax")]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def device_bundles(table: tables.Table, rows: int, capacity: int) -> tuple[Any, ...]:
    def buffer(name: str, *shape: int) -> DeviceBuffer:
        return DeviceBuffer(name, shape)

    n = table.parameters
    return (
        Parameters(buffer("theta", n), buffer("gradient", n), buffer("state", 2, n)),
        Data(
            buffer("features", rows, 7),
            buffer("labels", rows),
            buffer("row weights", 0),
            buffer("order", rows),
            0.5,
        ),
        Work(
            capacity,
            buffer("values", capacity * table.values),
            buffer("deltas", capacity * table.deltas),
            buffer("targets", capacity * table.outputs),
            buffer("weights", capacity),
            buffer("row_loss", capacity),
            buffer("row_hits", capacity),
        ),
        Control(
            buffer("scalars", SCALARS),
            buffer("clock", CLOCK),
            buffer("totals", TOTALS),
            buffer("rates", 9),
            buffer("scales", 9),
        ),
    )


def record_step(math: Any, recorder: Recorder, loss: str, rows: int = 6, capacity: int = 6) -> list:
    table = tables.build(LAYERS, losses.loss(loss), codes.ARGMAX_HITS)
    parameters, data, work, control = device_bundles(table, 60, capacity)
    recorder.calls = []
    math.step(table.records, Adam().update(), parameters, data, work, control, rows)
    return recorder.calls


@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy"])
def test_every_step_is_the_same_list_of_ops(recorder: Recorder, loss: str) -> None:
    math = mathsource.load("recording", recorder)
    first, second, third = (record_step(math, recorder, loss) for _ in range(3))
    assert first == second == third
    names = [call[0] for call in first]
    assert names[0] == "begin_step"
    assert names[-2:] == ["count_step", "adam_step"]
    assert names.count("matmul_nn") == 3
    assert names.count("matmul_tn") == 3
    assert names.count("matmul_nt") == 2


def test_a_batch_in_blocks_adds_its_gradients(recorder: Recorder) -> None:
    math = mathsource.load("recording", recorder)
    calls = record_step(math, recorder, "mse", rows=10, capacity=4)
    betas = [call[-1] for call in calls if call[0] == "column_sum"]
    assert betas == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert [call[-2] for call in calls if call[0] == "gather_features"] == [0, 4, 8]


def test_the_recording_backend_does_refuse(recorder: Recorder) -> None:
    buffer = DeviceBuffer("theta", (6,))
    for forbidden in (
        lambda: np.asarray(buffer),
        lambda: float(buffer),
        lambda: bool(buffer),
        lambda: buffer + 1,
        lambda: buffer[2],
        lambda: buffer[::2],
        lambda: buffer.copy(),
        lambda: buffer > 0,
        lambda: recorder.empty((3,)),
        lambda: recorder.add_losses(np.zeros(3), buffer, buffer),
    ):
        with pytest.raises((NotCapturable, TypeError)):
            forbidden()


@pytest.mark.parametrize(
    "planted",
    [
        "A = ops.empty(Z)",  # allocation
        "Z = Z * 1",  # arithmetic on the host
        "if float(Z[0, 0]) > 0: Z = A",  # a branch on a device value
        "A = Z.copy()",
    ],
)
def test_planted_bugs_in_the_math_are_refused(recorder: Recorder, planted: str) -> None:
    source = inspect.getsource(backprop.forward)
    line = "        ops.matmul_nn("
    assert source.count(line) == 1
    math = mathsource.load("recording", recorder)
    exec(source.replace(line, f"        {planted}\n{line}"), math.__dict__)
    with pytest.raises(NotCapturable):
        record_step(math, recorder, "mse")


def test_the_math_uses_nothing_but_ops() -> None:
    """No name of NumPy or of a backend stands in the source."""
    source = inspect.getsource(backprop)
    code = "\n".join(line.split("#")[0] for line in source.splitlines())
    assert "np." not in code
    assert "numpy as" not in code
    assert recording.contract.NAMES


@pytest.fixture(scope="module")
def compiled_math() -> Any:
    """The functions of backprop.py, compiled whole over the compiled kernels."""
    numba = pytest.importorskip("numba")
    from fastnet.execution import numba_ops

    math = mathsource.load("compiled", numba_ops)
    functions = [
        name
        for name, value in vars(math).items()
        if inspect.isfunction(value) and value.__module__ == math.__name__
    ]
    assert "step" in functions
    for name in functions:
        setattr(math, name, numba.njit(error_model="numpy")(getattr(math, name)))
    return math


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "mse"])
@pytest.mark.parametrize("capacity", [9, 4])
def test_the_source_compiles_whole_and_gives_the_same_gradient(
    compiled_math: Any, loss: str, capacity: int
) -> None:
    rng = np.random.default_rng(1)
    net = Network(LAYERS, loss=loss, dtype="float64", backend="numpy", task="classification")
    X, y = rng.normal(size=(9, 7)), np.arange(9) % 3
    expected_loss, expected = net.loss_and_gradient(X, y, sample_weight=np.arange(1.0, 10))

    rows, _ = net.rows(X, y, np.arange(1.0, 10), codec=None, training=False)
    executor = net.executor
    data = executor.load(rows.features, rows.targets, rows.weights, 1.0)
    gradient = np.full_like(expected, np.nan)
    control = Control(
        np.zeros(SCALARS), np.zeros(CLOCK, np.int64), np.zeros(TOTALS), np.zeros(1), np.ones(1) / 45
    )
    records, theta, work = (
        executor.table.records,
        executor.parameters.theta,
        executor.work(capacity),
    )
    compiled_math.sweep(records, theta, gradient, data, work, control, 9, 1)
    assert compiled_math.sweep.nopython_signatures
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)
    assert control.scalars[LOSS] / 45 == pytest.approx(expected_loss, rel=1e-14)
