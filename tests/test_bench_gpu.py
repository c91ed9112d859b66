"""``python -m bench gpu`` without a GPU: over the host, and what goes around the stages."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_host.executor import needs_compiler
from typer.testing import CliRunner

from bench import datasets, trainers
from bench.app import app
from bench.checkout import CannotMeasureError
from bench.gpu import (
    environment,
    kernels,
    places,
    run,
    sanitized,
    sanitizer,
    stages,
    timing,
    training,
)
from bench.gpu.stages import DONE, FAILED, LEFT_OUT, RAISED, GpuRun, Stage
from bench.trainers.base import Trainer
from bench.worker import WorkerError
from bench.workloads import TABLE, Workload
from fastnet.execution import cuda_ops, registry
from fastnet.execution import ops as contract

ROOT = Path(__file__).parents[1]
ON_HOST = ["gpu", "--device", "host", "--quick"]
DIGITS = Workload("digits", (64, 16, 10), "digits", 30, "adam", 1e-2, rows=200)


def silent(_text: str) -> None:
    pass


# -- from end to end ------------------------------------------------------------------------------


@needs_compiler
def test_everything_runs_on_the_host(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "gpu.json"
    done = CliRunner().invoke(app, [*ON_HOST, "--output", str(path)])
    assert done.exit_code == 0, done.output
    assert "parity: nothing wrong" in done.output
    text = path.read_text(encoding="utf-8")
    for folder in (str(ROOT), str(tmp_path), sys.prefix):
        assert folder not in text
    plain = json.loads(text)
    assert plain["device"] == "host"
    assert plain["complete"]
    named = [name.split()[0] for name in plain["stages"]]
    assert named == list(run.NAMES)
    assert {one["state"] for one in plain["stages"].values()} == {DONE}
    found = plain["stages"]["kernels"]["result"]
    assert set(found["ops"]) == {*contract.NAMES, "not_finite"}
    assert all(one["cases"] for one in found["ops"].values())
    for name in ("training", "replay", "repetition", "programs"):
        assert plain["stages"][name]["result"]["trainings"]
    [timed] = [one for name, one in plain["stages"].items() if name.startswith("timings")]
    ours = timed["result"]["trainers"]["fastnet"]
    assert len(ours["samples_per_second"]) == timing.QUICK_REPEATS
    assert ours["microseconds_per_step"]["median"] > 0


@needs_compiler
def test_a_wrong_kernel_is_a_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = cuda_ops.sgd_step

    def wrong(theta: Any, gradient: Any, scalars: Any) -> None:
        right(theta, gradient, scalars)
        right(theta, gradient, scalars)

    monkeypatch.setattr(cuda_ops, "sgd_step", wrong)
    path = tmp_path / "gpu.json"
    arguments = [*ON_HOST, "--stages", "kernels", "--output", str(path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert "parity: kernels wrong" in done.output
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert list(plain["stages"]) == ["environment", "kernels"]
    record = plain["stages"]["kernels"]
    assert record["state"] == FAILED
    assert {one["op"] for one in record["result"]["wrong"]} == {"sgd_step"}


@needs_compiler
def test_the_host_is_never_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []
    monkeypatch.setattr("bench.results.write", lambda *what: written.append(what))
    arguments = ["gpu", "--device", "host", "--stages", "environment"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert not written
    assert "nothing was written" in done.output


def test_without_a_gpu_the_command_says_why() -> None:
    status = registry.backends()["cupy"]
    if status.available:
        pytest.skip("there is a GPU")
    done = CliRunner().invoke(app, ["gpu", "--quick"])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert f"there is no GPU to measure: {status.cause}" in said
    assert status.cure in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "tpu"], "--device is 'tpu'; expected one of gpu, host"),
        (["--rows", "Z"], "--rows has Z; expected some of A, B, C, D, E, F, large"),
        (["--stages", "all"], "--stages has all; expected some of environment, kernels"),
    ],
)
def test_the_command_refuses_unknown_names(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["gpu", *arguments])
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_the_host_needs_the_tests_and_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cuda_host.module.has_compiler", lambda: False)
    with pytest.raises(CannotMeasureError, match=r"C\+\+ compiler"), places.place("host"):
        pass


# -- stages ---------------------------------------------------------------------------------------


def test_a_stage_that_raises_is_recorded_and_the_rest_goes_on() -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError(f"cannot read {ROOT}/secret.cu")

    states: list[dict[str, Any]] = []
    said: list[str] = []
    done = GpuRun("host", {})
    stages.run_all(
        done,
        [
            Stage("one", 0, lambda: {"summary": "fine", "n": np.float32(2), "bad": np.nan}),
            Stage("two", 0, broken, is_parity=True),
            Stage("three", 0, broken),
            Stage("four", 0, lambda: {"passed": False}, is_parity=True),
            Stage("five", 0, lambda: {"passed": False}),
            Stage("six", 0, lambda: {"passed": True}, is_parity=True),
        ],
        60,
        said.append,
        lambda so_far: states.append(json.loads(json.dumps(so_far.to_dict(), allow_nan=False))),
    )
    assert [one.state for one in done.stages.values()] == [
        DONE,
        RAISED,
        RAISED,
        FAILED,
        FAILED,
        DONE,
    ]
    assert done.wrong == ["two", "four"]
    assert done.stages["one"].result == {"summary": "fine", "n": 2.0, "bad": "nan"}
    error = done.stages["two"].error
    assert error is not None
    assert error["type"] == "RuntimeError"
    assert error["message"] == "RuntimeError: cannot read secret.cu"
    assert "test_bench_gpu.py" in error["where"][-1]
    # Written after every stage: a run that is cut off keeps what it has.
    assert [len(one["stages"]) for one in states] == [1, 2, 3, 4, 5, 6, 6]
    assert [one["complete"] for one in states] == [False] * 6 + [True]
    assert said[0].startswith("one: done in 0.0 s: fine")
    assert "RuntimeError" in said[1]


def test_what_does_not_fit_the_budget_is_left_out() -> None:
    now = itertools.count(0, 10)  # every look at the clock takes ten seconds
    done = GpuRun("host", {})
    stages.run_all(
        done,
        [
            Stage("short", 5, dict, is_parity=True),
            Stage("long", 100, dict, is_parity=True),
            Stage("fits", 5, dict),
        ],
        100,
        silent,
        clock=lambda: float(next(now)),
    )
    assert [one.state for one in done.stages.values()] == [DONE, LEFT_OUT, DONE]
    assert "of 100 s are left; about 100 needed" in done.stages["long"].reason
    assert done.wrong == []


@needs_compiler
def test_the_command_keeps_to_its_budget(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    arguments = ["gpu", "--device", "host", "--budget-seconds", "1", "--output", str(path)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert plain["complete"]
    assert {one["state"] for one in plain["stages"].values()} == {LEFT_OUT}


def test_stages_are_in_the_order_of_their_worth() -> None:
    place = places.Place(places.GPU, lambda precision: None)  # type: ignore[arg-type, return-value]
    choice = run.Choice(run.NAMES, timing.BY_VALUE, False, None)
    with timing.Pool(place) as pool:
        found = run.stages(choice, place, pool)
    names = [stage.name for stage in found]
    assert names[:6] == [
        *("environment", "kernels", "training", "replay", "repetition", "programs")
    ]
    assert [stage.name for stage in found if stage.is_parity] == names[1:6]
    assert {f"timings {key}" for key in timing.ROWS} < set(names)
    assert names.index("timings E") < names.index("tf32 large") < names.index("compiled C")
    assert {name.split()[0] for name in names} == set(run.SECONDS) == set(run.NAMES)
    assert run.needs_mnist(choice, place)
    assert not run.needs_mnist(choice._replace(stages=["kernels"]), place)
    assert not run.needs_mnist(choice._replace(stages=["timings"], rows=["A"]), place)


# -- what is compared -----------------------------------------------------------------------------


def test_rows_and_trainers() -> None:
    assert list(timing.ROWS) == [*(workload.key for workload in TABLE), "large"]
    assert set(timing.BY_VALUE) == set(timing.ROWS)
    assert timing.LARGE.layers == (784, 2048, 2048, 2048, 2048, 10)
    assert (timing.LARGE.batch, timing.LARGE.optimizer) == (8192, "adam")
    peers = {name for family in timing.FAMILIES.values() for name in family}
    assert peers | {timing.OURS, timing.PROGRAMS} == set(timing.TRAINERS)
    for key, workload in timing.ROWS.items():
        has_programs = timing.PROGRAMS in timing.of_size(timing.MAIN, workload)
        assert has_programs == (key not in ("F", "large"))
    assert timing.PROGRAMS not in timing.WITH_TF32
    for entry in timing.TRAINERS.values():
        assert trainers.trainer_class(entry.place).modules


@needs_compiler
def test_a_kernel_that_writes_nothing_or_beside_is_found() -> None:
    with places.place("host") as place:
        device = place.new_device(None)
        case = next(case for case in kernels.cases([(5, 33)]) if case.op == "matmul_nn")
        assert kernels.compare(device, case, "float32").passed
        beside = kernels.compare(device, case._replace(outputs=(1,)), "float32")
        assert beside.wrong == "argument 0 was changed"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cuda_ops, "matmul_nn", lambda *_: None)
            found = kernels.compare(device, case, "float32")
        assert not found.passed
        assert np.isnan(found.share)


def test_large_cases_are_of_every_op_on_matrices() -> None:
    small = {"add_losses", "begin_step", "count_step"}
    assert {case.op for case in kernels.large_cases()} == set(kernels.NAMES) - small


@needs_compiler
def test_a_training_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    [case] = training.QUICK_CASES[:1]
    with places.place("host"):
        assert training.parity(case, "float64", training.QUICK_STEPS)["passed"]

        def nudged(net: Any) -> Any:
            theta = net.parameters
            theta[0] += 0.01
            net.parameters = theta
            return net

        found = training.same_bits(case, nudged, training.QUICK_STEPS)
        assert not found["passed"]
        assert found["different"] == ["parameters", "losses"]
        made = training.network
        monkeypatch.setattr(
            training,
            "network",
            lambda c, backend, *more, **options: (
                nudged(made(c, backend, *more, **options))
                if backend == "cupy"
                else made(c, backend, *more, **options)
            ),
        )
        assert not training.parity(case, "float32", training.QUICK_STEPS)["passed"]


@pytest.mark.parametrize("case", training.CASES, ids=lambda case: case.name)
def test_the_trainings_are_of_a_hundred_steps_with_a_short_batch(case: training.Case) -> None:
    X, y = training.data(case, training.STEPS_PER_EPOCH * case.batch - case.batch // 3)
    assert -(-len(X) // case.batch) == training.STEPS_PER_EPOCH
    assert len(X) % case.batch
    assert training.STEPS % training.STEPS_PER_EPOCH == 0
    assert X.dtype == (np.uint8 if case.kind == "bytes" else np.float32)
    net = training.network(case, "numpy")
    net.fit(X[: case.batch], y[: case.batch], optimizer=case.optimizer, epochs=1, progress=False)


class Sleeper(Trainer):
    """Prepares in no time, and never comes back from training."""

    def prepare(self, workload: Any, data: Any, settings: Any, seed: int) -> None:
        self.rows_per_epoch = 1

    def reset(self, seed: int) -> None:
        pass

    def train(self, epochs: int) -> float:
        time.sleep(60)
        return 0.0

    def accuracy(self) -> float:
        return 0.0


def test_a_trainer_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    place = places.Place(places.GPU, lambda precision: None)  # type: ignore[arg-type, return-value]
    monkeypatch.setitem(timing.TRAINERS, "torch", timing.Entry(f"{__name__}:Sleeper", {}))
    with timing.Pool(place) as pool:
        pool.runner("torch").prepare(DIGITS, {}, 0, None)
        monkeypatch.setattr(timing, "PATIENCE", 0.2)
        with pytest.raises(WorkerError, match=r"torch: train took over 0\.2 s"):
            pool.runner("torch").train(1)
        monkeypatch.setattr(timing, "PATIENCE", 30.0)
        found = timing.measure_row(pool, DIGITS, ["torch"], timing.Effort(0.01, 1, None))
        assert found["trainers"]["torch"]["state"] == "failed"
        pool.forget("torch")
        # The next one is a new process.
        assert pool.runner("torch").prepare(DIGITS, {}, 0, None)["rows_per_epoch"] == 1


# -- ratios and the sanitizer ---------------------------------------------------------------------


def measured(*figures: float) -> dict[str, Any]:
    speeds = list(figures)
    return {
        "state": "measured",
        "samples_per_second": speeds,
        "speed": {"median": float(np.median(speeds))},
    }


def test_ratios_are_taken_within_each_repeat() -> None:
    found = timing.ratios(
        {
            "fastnet": measured(8, 12, 30),
            "torch": measured(4, 3, 5),
            "torch-epoch": measured(8, 6, 5),
            "jax": {"state": "failed", "reason": "some"},
        }
    )
    assert set(found) == {"best", "PyTorch", "PyTorch eager", "PyTorch graphs"}
    assert found["best"]["peer"] == found["PyTorch"]["peer"] == "torch-epoch"
    assert found["best"]["ratio"]["median"] == 2
    assert found["PyTorch eager"]["ratio"]["median"] == 4
    assert timing.ratios({"torch": measured(1)}) == {}


def test_without_the_sanitizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert sanitizer.check()["summary"] == "compute-sanitizer is not on the path"


@pytest.mark.parametrize(
    ("code", "state"), [(0, "found nothing"), (86, "found something"), (1, "broke off")]
)
def test_what_the_sanitizer_says(monkeypatch: pytest.MonkeyPatch, code: int, state: str) -> None:
    def told(command: list[str], **_: Any) -> Any:
        text = f"reading {ROOT}/a.cu\n========= ERROR SUMMARY: 3 errors\n"
        return SimpleNamespace(returncode=code, stdout=text, stderr="")

    monkeypatch.setattr(shutil, "which", lambda _name: "compute-sanitizer")
    monkeypatch.setattr(subprocess, "run", told)
    found = sanitizer.check()
    assert found["passed"] == (code != 86)
    assert found["tools"]["racecheck"]["state"] == state
    assert found["tools"]["memcheck"]["what"] == "ERROR SUMMARY: 3 errors"
    assert str(ROOT) not in json.dumps(found)


@needs_compiler
def test_what_runs_under_the_sanitizer_runs() -> None:
    with places.place("host") as place:
        sanitized.run(place)


def test_a_sanitizer_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(command: list[str], **_: Any) -> Any:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(shutil, "which", lambda _name: "compute-sanitizer")
    monkeypatch.setattr(subprocess, "run", late)
    found = sanitizer.check(1)
    assert {one["state"] for one in found["tools"].values()} == {"took too long"}
    assert found["passed"]


def test_versions_name_no_folders() -> None:
    found = environment._versions()
    assert all("/" not in version for version in found.values())


# -- the peers, as far as they go without a GPU ---------------------------------------------------


def trained(trainer: Any, settings: dict[str, Any], workload: Workload = DIGITS) -> Any:
    trainer.prepare(workload, datasets.load(workload, None), settings, 0)
    first = trainer.train(1)
    assert trainer.train(30) < first / 2
    assert trainer.accuracy() > 0.7
    trainer.reset(1)
    assert trainer.train(1) > first / 2  # begun anew
    return trainer


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("kind", ["EagerTrainer", "StepGraphTrainer", "EpochGraphTrainer"])
def test_pytorch_learns(monkeypatch: pytest.MonkeyPatch, kind: str, optimizer: str) -> None:
    """A graph is stood in for by doing again what it captured."""
    pytest.importorskip("torch")
    from bench.gpu import peers_torch

    def begin(self: Any) -> None:
        self.shuffle()
        self.before_capture()
        self.graph = SimpleNamespace(replay=self.captured)

    monkeypatch.setattr(peers_torch._GraphTrainer, "begin", begin)
    monkeypatch.setattr(peers_torch._GraphTrainer, "capturable", False)
    rate = 1e-2 if optimizer == "adam" else 0.3
    workload = Workload("digits", (64, 16, 10), "digits", 30, optimizer, rate, rows=200)
    trainer = trained(getattr(peers_torch, kind)(), {"device": "cpu"}, workload)
    assert trainer.rows_per_epoch == (180 if kind == "StepGraphTrainer" else 200)
    # The next workload, in the same process.
    trained(trainer, {"device": "cpu"}, Workload("all", (64, 10), "digits", None, "adam", 0.02))


def test_jax_learns() -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    from bench.gpu.peers_jax import ScanTrainer

    trainer = trained(ScanTrainer(), {"unroll": 4})
    assert trainer.rows_per_epoch == 180
