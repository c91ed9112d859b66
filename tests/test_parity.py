"""`fastnet.parity` and `fastnet doctor`: that they tell the truth, and that parity can fail."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import fastnet
from fastnet import Dense, Network, cli, doctor
from fastnet.execution.numba_executor import NumbaExecutor
from fastnet.tolerances import BASE, allowed

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(37, 9)), RNG.integers(0, 4, 37)


def network(dtype: str = "float32") -> Network:
    return Network(
        [Dense(9, 13, "tanh"), Dense(13, 4, "softmax")],
        loss="categorical_crossentropy",
        backend="numpy",
        dtype=dtype,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_available_backend_agrees_with_the_oracle(dtype: str) -> None:
    net = network(dtype)
    before = net.parameters
    report = fastnet.parity(net, X, Y, sample_weight=RNG.uniform(0.5, 2, 37))
    assert report.passed, report
    np.testing.assert_array_equal(net.parameters, before)
    available = {name for name, status in fastnet.backends().items() if status.available}
    assert {row.backend for row in report} == available
    assert set(report.skipped) == set(fastnet.backends()) - available
    # outputs, loss, four blocks of the gradient, the parameters after a step
    assert len(report) == 7 * len(available)
    if dtype == "float64":  # the oracle itself
        assert all(row.error == 0 for row in report if row.backend == "numpy")
    else:
        assert any(row.error > 0 for row in report if row.backend == "numpy")
    assert "passed in " + dtype in str(report)
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("factor", [1.01, np.nan])
def test_a_wrong_gradient_fails(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    right = NumbaExecutor.gradient

    def wrong(self: NumbaExecutor, data: Any, scale: float) -> Any:
        loss, gradient = right(self, data, scale)
        gradient[-1] *= factor
        return loss, gradient

    monkeypatch.setattr(NumbaExecutor, "gradient", wrong)
    report = fastnet.parity(network("float64"), X, Y)
    assert not report.passed
    assert [(r.backend, r.quantity) for r in report if not r.passed] == [
        ("numba", "gradient of layer_2.biases")
    ]
    assert "FAILED" in str(report)


def test_room_grows_with_the_sum_and_the_size() -> None:
    rtol, atol = BASE["float32"]
    assert allowed("float32", 0.0, 10**6) == atol
    assert allowed("float32", 2.0, 1) == pytest.approx(atol + 2 * rtol)
    assert allowed("float32", 2.0, 6400) == pytest.approx(atol + 20 * rtol)
    assert allowed("float64", 2.0, 64) < allowed("float32", 2.0, 64)


def test_parity_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["parity", "--rows", "20", "--hidden", "8", "--json"])
    assert done.value.code == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_doctor_agrees_with_backends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["doctor", "--json"])
    assert done.value.code == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == json.loads(json.dumps(doctor.examine()))
    assert facts["backends"] == {n: s.to_dict() for n, s in fastnet.backends().items()}
    assert facts["automatic"]["backend"] == network().to("auto").backend
    assert facts["fastnet"] == fastnet.__version__
    assert facts["numba"]["blas"]["threads_per_call"] == 1
    assert facts["numba"]["blas"]["source"] in ("scipy-openblas32", "scipy")


def test_warmup(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["warmup", "--dtype", "both", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert list(found["seconds"]) == ["float32", "float64"]
    assert found["compiled_code"] == doctor.examine()["numba"]["compiled_code"]
    with pytest.raises(SystemExit, match="0"):
        cli.main(["warmup"])
    assert "float32: ready after" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        cli.main(["warmup", "--dtype", "float16"])
    assert "expected 'float32' or 'float64'" in capsys.readouterr().err


def test_doctor_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["doctor"])
    assert done.value.code == 0
    shown = capsys.readouterr().out
    for word in ("fastnet", "numba blas source", "backends numpy available", "cores"):
        assert word in shown
