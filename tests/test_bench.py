"""The measurements measure what they say; no test looks at how long anything takes."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import json
import math
import re
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench import (
    accuracy,
    calibration,
    checkout,
    cpu,
    datasets,
    limits,
    loops,
    machine,
    measure,
    op_cases,
    ops,
    pieces,
    plan,
    quiet,
    ratios,
    recipes,
    results,
    selection,
    trainers,
    worker,
    workloads,
)
from bench.app import app
from bench.calibration import Options
from bench.checkout import CannotMeasureError
from bench.results import FAILED, MEASURED, MISSING, CpuRun, RowRecord, TrainerRecord
from bench.trainers.base import Settings, Trainer
from bench.workloads import ALL, SHAPES, TABLE, Workload
from fastnet import recipes as known_recipes
from fastnet.data.dataset import Dataset
from fastnet.execution import ops as contract
from fastnet.execution import plan as tiling
from fastnet.execution import registry, tables

SMALL = Workload("small", (64, 8, 10), "digits", 32, "adam", 1e-2, rows=200)
SHORT = Options(seconds=0.01, cores=1, every_variant=False, folder=None)
ROOT = Path(__file__).parents[1]


def silent(_text: str) -> None:
    pass


# -- workloads ------------------------------------------------------------------------------------


def test_the_table_is_that_of_the_requirement() -> None:
    found = {
        w.key: (w.layers, w.data, w.batch, w.optimizer, w.learning_rate, w.rows) for w in TABLE
    }
    assert found == {
        "A": ((64, 64, 10), "digits", 32, "adam", 1e-3, None),
        "B": ((784, 64, 10), "mnist", 32, "sgd", 1e-2, None),
        "C": ((784, 128, 10), "mnist", 128, "adam", 1e-3, None),
        "D": ((784, 512, 512, 10), "mnist", 256, "adam", 1e-3, None),
        "E": ((784, 16, 10), "mnist", None, "sgd", 0.2, 42_000),
        "F": ((784, 2048, 2048, 10), "mnist", 1024, "adam", 1e-3, None),
    }
    for workload in TABLE:
        assert set(workload.floors) == {"best", "PyTorch", "scikit-learn"}


@pytest.mark.parametrize("workload", ALL.values(), ids=ALL)
def test_a_workload_is_well_formed(workload: Workload) -> None:
    assert workload.data in ("digits", "mnist", "synthetic")
    assert workload.is_regression == (workload.data == "synthetic")
    assert workload.layers[0] == {"digits": 64, "mnist": 784}.get(workload.data, workload.layers[0])
    assert workload.batch is None or workload.batch >= 1
    network = workloads.network(workload, backend="numpy")
    assert [layer.outputs for layer in network.layers] == list(workload.layers[1:])
    assert network.layers[0].activation.name == workload.activation or len(network.layers) == 1
    assert workloads.optimizer(workload).learning_rate == workload.learning_rate
    assert str(workload.batch or "all rows") in workload.title


def test_other_shapes_cover_what_they_should() -> None:
    assert len(ALL) == len(TABLE) + len(SHAPES)
    everything = list(ALL.values())
    assert {1, 2, 3, 4, 5} <= {len(w.layers) - 1 for w in everything}
    assert {1, 8, 64, 512, 4096} <= {w.batch for w in everything}
    assert {"relu", "tanh", "sigmoid"} <= {w.activation for w in everything}
    assert {(w.layers[0], w.layers[-1]) for w in SHAPES if w.is_regression} == {(13, 1), (64, 3)}


def test_rows_are_chosen_by_name() -> None:
    assert selection.chosen("--rows", "", ALL) == list(ALL)
    assert selection.chosen("--rows", "", ALL, "AB") == ["A", "B"]
    assert selection.chosen("--rows", "C, A,mse-13,C,", ALL, "AB") == ["C", "A", "mse-13"]
    with pytest.raises(ValueError, match="--rows has G; expected some of A, B"):
        selection.chosen("--rows", "A,G", ALL)
    with pytest.raises(ValueError, match="--trainers has keras; expected some of fastnet-numba"):
        selection.chosen("--trainers", "keras,jax", trainers.TRAINERS)


def test_rows_of_a_workload() -> None:
    data = datasets.load(SMALL, None)
    assert data.X_train.shape == (200, 64)
    assert data.X_train.dtype == np.uint8
    scaled = datasets.in_float32(data)
    assert scaled.X_train.dtype == scaled.X_test.dtype == np.float32
    assert scaled.X_train.max() == 1
    quantities = datasets.load(ALL["mse-64"], None)
    assert quantities.X_train.shape == (20_000, 64)
    assert quantities.y_train.shape == (20_000, 3)
    assert quantities.y_train.dtype == np.float32


# -- arithmetic -----------------------------------------------------------------------------------


def test_the_order_moves_on_with_every_repeat() -> None:
    asked: list[str] = []
    rests: list[int] = []

    def ask(name: str) -> float:
        asked.append(name)
        return float(len(asked))

    found = measure.alternate("abc", 4, ask, rest=lambda: rests.append(len(asked)))
    assert "".join(asked) == "abcbcacababc"
    assert found == {"a": [1, 6, 8, 10], "b": [2, 4, 9, 11], "c": [3, 5, 7, 12]}
    assert rests == list(range(12))
    assert measure.rotated([], 3) == []


def test_what_fails_is_left_out_from_there_on() -> None:
    told: list[str] = []

    def ask(name: str) -> float:
        if name == "b" and len(told) == 0 and calls.append(name) is None and len(calls) == 2:
            raise KeyError("gone")
        return 1.0

    calls: list[str] = []
    found = measure.alternate(
        "ab",
        4,
        ask,
        failures=(KeyError,),
        on_failure=lambda name, error: told.append(f"{name} {error}"),
        rest=lambda: None,
    )
    assert found == {"a": [1.0] * 4, "b": [1.0]}
    assert told == ["b 'gone'"]
    with pytest.raises(ZeroDivisionError):
        measure.alternate("a", 1, lambda _name: 1 / 0, rest=lambda: None)


def test_median_and_quartiles() -> None:
    found = measure.summary([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (found.median, found.low, found.high, found.count) == (3, 1, 5, 5)
    assert (found.quartile_1, found.quartile_3) == (2, 4)
    assert found.spread_percent == pytest.approx(100 * 2 / 3)
    alone = measure.summary([7.0])
    assert (alone.median, alone.quartile_1, alone.quartile_3, alone.spread_percent) == (7, 7, 7, 0)
    with pytest.raises(ValueError, match="nothing to sum up"):
        measure.summary([])


def test_ratios_are_taken_pair_by_pair() -> None:
    found = measure.paired_ratio([2.0, 8.0, 9.0], [1.0, 2.0, 1.0])
    assert (found.median, found.low, found.high) == (4, 2, 9)  # not 8 / 1
    with pytest.raises(ValueError, match="shorter"):
        measure.paired_ratio([1.0, 2.0], [1.0])


def record(*speeds: float, **more: Any) -> TrainerRecord:
    return TrainerRecord(
        samples_per_second=list(speeds), speed=measure.summary(list(speeds)), **more
    )


def test_the_best_member_of_a_family_counts() -> None:
    measured = {
        "fastnet-numba": record(10, 12, 14),
        "fastnet-numpy": record(100, 100, 100),
        "torch": record(2, 3, 4),
        "torch-compile": record(1, 4, 7),
        "torch-step": record(50, 50, 50, state=FAILED),
        "scikit-learn": record(1, 1, 2),
        "jax": TrainerRecord(state=MISSING),
    }
    found = ratios.ratios(measured, {"best": 2.5, "PyTorch": 4, "JAX": 1})
    assert found["best"].peer == found["PyTorch"].peer == "torch-compile"
    assert found["best"].ratio.median == 3  # of 10, 3 and 2
    assert (found["best"].is_met, found["PyTorch"].is_met) == (True, False)
    assert found["scikit-learn"].ratio.median == 10
    assert found["scikit-learn"].is_met is None
    assert found["torch"].ratio.median == 4
    assert set(found) == {
        *("best", "PyTorch", "scikit-learn", "fastnet-numpy", "torch", "torch-compile"),
    }
    measured["fastnet-numba"].state = FAILED
    assert ratios.ratios(measured, {}) == {}


def test_every_peer_belongs_to_a_family() -> None:
    ours = {"fastnet-numba", "fastnet-numpy"}
    assert {*ratios.PEERS, *ours} == set(trainers.TRAINERS)


def test_epochs_of_a_measurement() -> None:
    assert calibration.epochs_for(1.0, 0.3) == 3
    assert calibration.epochs_for(1.0, 8.0) == 1


def test_scores() -> None:
    from bench.trainers.base import score

    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]])
    assert score(outputs, np.array([1, 0, 1]), SMALL) == pytest.approx(2 / 3)
    targets = np.array([[1.0], [2.0], [3.0]])
    assert score(targets[:, 0], targets, ALL["mse-13"]) == 1
    assert score(np.full(3, 2.0), targets, ALL["mse-13"]) == 0


# -- workers, and what goes wrong in them ---------------------------------------------------------


class Raising(Trainer):
    """Fails in the way that its settings name; a process of its own finds it by this name."""

    @classmethod
    def variants(cls, workload: Workload, cores: int) -> list[Settings]:
        return [{"fails in": "prepare"}, {"fails in": "exit"}]

    def prepare(self, workload: Workload, data: Dataset, settings: Settings, seed: int) -> None:
        self.rows_per_epoch, self.settings = len(data.X_train), settings
        if settings["fails in"] == "prepare":
            raise ValueError("cannot read /some/where/file.so: bad\nmore lines")

    def reset(self, seed: int) -> None:
        pass

    def train(self, epochs: int) -> float:
        if self.settings["fails in"] == "exit":
            sys.exit(3)
        return 0.0

    def accuracy(self) -> float:
        return 0.0


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(trainers.TRAINERS, "raising", "test_bench:Raising")
    return "raising"


def test_a_trainer_that_raises_is_reported_and_the_others_go_on(raising: str) -> None:
    told: list[str] = []
    options = SHORT._replace(every_variant=True)
    row = cpu.measure_row(SMALL, [raising, "fastnet-numpy"], 2, options, told.append)
    failed = row.trainers[raising]
    assert failed.state == FAILED
    assert failed.reason == "raising: prepare raised ValueError: cannot read file.so: bad"
    assert failed.tried[1]["error"] == "raising: its process ended during train, exit code 3"
    assert any("raising: prepare raised" in text for text in told)
    assert row.trainers["fastnet-numpy"].state == MEASURED
    assert len(row.trainers["fastnet-numpy"].seconds) == 2


def test_a_trainer_that_dies_between_repeats() -> None:
    row = RowRecord(SMALL, trainers={"numpy": TrainerRecord()})
    one = worker.Worker("numpy", trainers.TRAINERS["fastnet-numpy"])
    try:
        one.prepare(SMALL, {}, 0, None)
        assert one.train(1) > 0
        one._process.kill()
        one._process.join(5)
        with pytest.raises(worker.WorkerError, match="numpy: its process ended during train"):
            one.train(1)
    finally:
        one.stop()
        one.stop()  # a second time does no harm
    assert row.trainers["numpy"].speed is None
    assert not one._process.is_alive()


def test_a_worker_ends_with_its_pipe() -> None:
    one = worker.Worker("numpy", trainers.TRAINERS["fastnet-numpy"])
    one._pipe.close()
    one._process.join(20)
    assert one._process.exitcode == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no such file: /home/me/x.py", "no such file: x.py"),
        ("in '/a/b/c.so', line 3", "in 'c.so', line 3"),
        (r"C:\Users\me\x.dll failed", "x.dll failed"),
        ("1/2 of it, and/or more", "1/2 of it, and/or more"),
    ],
)
def test_results_hold_no_folders(text: str, expected: str) -> None:
    assert worker.without_folders(text) == expected


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "optax" else find(name)
    )
    told: list[str] = []
    row = cpu.measure_row(SMALL, ["jax"], 1, SHORT, told.append)
    if find("jax") is None:
        assert row.trainers["jax"].reason == "not installed: jax, optax"
    else:
        assert row.trainers["jax"].reason == "not installed: optax"
    assert row.trainers["jax"].state == MISSING
    assert any("not installed" in text for text in told)


def test_mnist_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train-labels-idx1-ubyte.gz").touch()
    message = rf"MNIST is not in {re.escape(str(tmp_path))} \(--data-dir\): train-images.*missing"
    with pytest.raises(CannotMeasureError, match=message) as caught:
        checkout.mnist_folder(tmp_path)
    assert "train-labels" not in str(caught.value)
    assert "--data-dir or FASTNET_DATA_DIR" in str(caught.value)
    monkeypatch.setenv("FASTNET_DATA_DIR", str(tmp_path / "elsewhere"))
    with pytest.raises(CannotMeasureError, match=r"elsewhere \(FASTNET_DATA_DIR\)"):
        checkout.mnist_folder(None)
    for name in checkout.mnist_files():
        (tmp_path / name).touch()
    assert checkout.mnist_folder(tmp_path) == tmp_path
    done = CliRunner().invoke(app, ["cpu", "--rows", "C"])
    assert done.exit_code == 1
    assert "bench: MNIST is not in" in done.output


def test_the_command_refuses_unknown_names() -> None:
    done = CliRunner().invoke(app, ["cpu", "--rows", "Z"])
    assert done.exit_code == 2
    assert "--rows has Z" in done.output


# -- from end to end ------------------------------------------------------------------------------


def test_a_small_run(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "run.json"
    arguments = ["cpu", "--rows", "A", "--trainers", "fastnet-numpy,scikit-learn", "--quick"]
    done = CliRunner().invoke(app, [*arguments, "--output", str(path)])
    assert done.exit_code == 0, done.output
    assert "Thousand samples per second" in " ".join(done.output.split())
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]
    text = path.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert str(tmp_path) not in text
    assert sys.prefix not in text
    plain = json.loads(text)
    run = CpuRun.from_dict(plain)
    assert json.loads(json.dumps(run.to_dict())) == plain
    assert run.complete
    assert run.machine["versions"]["numpy"] == np.__version__
    row = run.rows["A"]
    assert row.workload == TABLE[0]
    assert row.ratios == {}  # fastnet-numba was left out
    for name, one in row.trainers.items():
        assert one.state == MEASURED, name
        assert one.rows_per_epoch == 1437
        assert len(one.seconds) == row.repeats == 2
        rows = one.rows_per_epoch * one.epochs
        assert one.samples_per_second == pytest.approx([rows / s for s in one.seconds])
        assert one.accuracy is not None
        assert one.accuracy > 0.7
        assert one.loss is not None
        assert 0 < one.loss < np.log(10)  # as of equal probabilities
        assert one.versions["numpy"] == np.__version__


def test_time_to_an_accuracy() -> None:
    names = ["fastnet-numpy", "scikit-learn"]
    row = RowRecord(
        SMALL,
        trainers={
            "fastnet-numpy": record(1.0),
            "scikit-learn": record(1.0, settings={"threads": 1}),
            "jax": TrainerRecord(state=MISSING),
        },
    )
    found = accuracy.time_to_accuracy(row, SHORT, silent, goal=0.5, seeds=(0, 1), most_epochs=40)
    assert list(found.trainers) == names
    for name in names:
        one = found.trainers[name]
        assert one.state == MEASURED, one.reason
        assert len(one.seconds) == len(one.epochs) == len(one.curves) == 2
        for curve, seconds, epochs in zip(one.curves, one.seconds, one.epochs, strict=True):
            assert len(curve) == epochs
            assert curve[-1][0] == seconds
            assert curve[-1][1] >= 0.5
            assert epochs == 1 or max(score for _, score in curve[:-1]) < 0.5
            assert all(a[0] < b[0] for a, b in itertools.pairwise(curve))
        assert one.median_seconds == pytest.approx(sum(s for s in one.seconds if s) / 2)
    never = accuracy.time_to_accuracy(
        RowRecord(SMALL, trainers={"fastnet-numpy": record(1.0)}),
        SHORT,
        silent,
        goal=2.0,
        seeds=(0,),
        most_epochs=2,
    )
    assert never.trainers["fastnet-numpy"].seconds == [None]
    assert never.trainers["fastnet-numpy"].median_seconds is None


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    """Write 40 random images to train on and 20 to test on, as MNIST's files."""
    random = np.random.default_rng(8)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name in checkout.mnist_files():
        count = 40 if name.startswith("train") else 20
        array = np.arange(count, dtype=np.uint8) % 10
        if "images" in name:
            array = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / name).write_bytes(gzip.compress(head + array.tobytes()))
    return folder


def test_a_quick_look_at_all_recipes(tmp_path: Path, small_mnist: Path) -> None:
    path = tmp_path / "recipes.json"
    arguments = ["recipes", "--quick", "--backends", "numpy", "--data-dir", str(small_mnist)]
    done = CliRunner().invoke(app, [*arguments, "--output", str(path)])
    assert done.exit_code == 0, done.output
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert (plain["schema"], plain["dtype"], plain["quick"]) == (1, "float32", True)
    assert plain["complete"]
    assert plain["machine"]["versions"]["numpy"] == np.__version__
    assert list(plain["recipes"]) == known_recipes.names()
    for name, row in plain["recipes"].items():
        recipe = known_recipes.get(name)
        assert ("published" in row) == (recipe.published is not None)
        for results_of in (row, row.get("published", row)):
            found = results_of["numpy"]
            assert found["seeds"] == [0, 1]
            assert found["epochs_per_seed"] == [2, 2]
            assert found["reached"] is None
            assert found["train_rows"] == (1437 if recipe.data.name == "digits" else 40)
            assert f"{100 * found['test_accuracy']:.2f}" in done.output
        assert not [key for key in row if "_and_" in key]
        assert len(row["train_loss_curve_seed_0"]["numpy"]) == 2
    other = plain["recipes"]["mnist-relu-sigmoid"]["published"]["other_weights"]
    assert list(other) == ["uniform(-0.5, 0.5)", "normal(1)"]
    assert "Beside" not in done.output


def test_recipes_on_two_backends(tmp_path: Path, small_mnist: Path) -> None:
    path = tmp_path / "recipes.json"
    arguments = ["recipes", "--recipes", "mnist-relu-sigmoid", "--quick", "--output", str(path)]
    done = CliRunner().invoke(app, [*arguments, "--data-dir", str(small_mnist)])
    assert done.exit_code == 0, done.output
    assert "Beside numpy" in done.output
    row = json.loads(path.read_text(encoding="utf-8"))["recipes"]["mnist-relu-sigmoid"]
    found = row["numpy_and_numba"]
    assert found["seeds"] == [0, 1]
    assert found["epochs_compared"] == [2, 2]
    assert found["largest_relative_difference_of_train_loss"] == max(found["per_seed"]) < 1e-3
    assert found["in_the_first_10_epochs"] == max(found["per_seed"])
    exact = found["float64_seed_0"]
    assert exact["epochs_compared"] == 2
    assert exact["largest_relative_difference_of_train_loss"] < 1e-12
    curves = row["train_loss_curve_seed_0"]
    np.testing.assert_allclose(curves["numpy"], curves["numba"], rtol=1e-3)
    assert set(row["published"]) == {"training", "weights", "numpy", "numba", "other_weights"}


def test_what_is_written_of_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, with all seeds, a mark, and patience that ends the seeds at different epochs."""
    known = known_recipes.get("digits-adam")
    training = replace(known.training, epochs=30, patience=2)
    recipe = replace(known, training=training, seeds=(4, 7), must_reach=0.5)
    monkeypatch.setitem(known_recipes.RECIPES, known.name, recipe)
    choice = recipes.Choice([known.name], dtype="float64")
    states: list[str] = []
    run = recipes.measure_all({}, choice, silent, lambda so_far: states.append(json.dumps(so_far)))
    assert [json.loads(state) for state in states] == [run]
    row = run["recipes"][known.name]
    expected = recipe.run("numpy", progress=False)
    assert row["numpy"]["reached"]
    # The same training, but for the digits that float32 leaves out.
    assert row["numpy"]["test_accuracy"] == pytest.approx(expected.test_accuracy, abs=0.01)
    losses = [history["train_loss"][0] for history in expected.histories]
    assert row["train_loss_curve_seed_4"]["numpy"][0] == pytest.approx(losses[0], rel=1e-5)
    assert row["train_loss_curve_seed_4"]["numpy"][0] != losses[0]
    found = row["numpy_and_numba"]
    assert found["seeds"] == [4, 7]
    assert found["epochs_compared"] == row["numpy"]["epochs_per_seed"]
    assert found["largest_relative_difference_of_train_loss"] < 1e-9
    assert not [key for key in found if key.startswith("float64")]  # it was compared in it
    assert "50.0 met" in _text(recipes.tables(run)[0])
    missed = {**row, "must_reach": 0.9, "numpy": {**row["numpy"], "reached": False}}
    text = _text(recipes.tables({**run, "recipes": {known.name: missed}})[0])
    assert "90.0 missed" in text


def test_backends_that_differ_are_seen() -> None:
    recipe = replace(known_recipes.get("digits-sigmoid"), seeds=(0, 1))
    short = recipes.shortened(recipe)
    one = short.run("numpy", progress=False)
    other = replace(short, seeds=(0, 2)).run("numpy", progress=False)
    found = recipes.agreement(one, other)
    a, b = one.histories[1]["train_loss"], other.histories[1]["train_loss"]
    assert found["per_seed"] == [0, max(abs(x - y) / y for x, y in zip(a, b, strict=True))]
    assert found["largest_relative_difference_of_train_loss"] == found["per_seed"][1] > 1e-3
    apart = abs(one.test_accuracy_per_seed[1] - other.test_accuracy_per_seed[1])
    assert found["largest_difference_of_test_accuracy"] == apart


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipes", "digit-adam"], "--recipes has digit-adam; expected some of digits-sigmoid"),
        (["--backends", "nimba"], "--backends has nimba; expected some of cupy, numba, numpy"),
        (["--dtype", "half"], "--dtype is 'half'; expected one of float32, float64"),
    ],
)
def test_recipes_refuse_unknown_names(arguments: list[str], words: str) -> None:
    command = ["recipes", "--quick", "--recipes", "digits-adam", *arguments]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_a_backend_that_cannot_run_shows_before_anything_is_trained() -> None:
    status = registry.backends()["cupy"]
    if status.available:
        pytest.skip("there is a GPU")
    wanted = ["recipes", "--recipes", "digits-adam", "--quick"]  # which need no MNIST
    done = CliRunner().invoke(app, [*wanted, "--backends", "numpy,cupy"])
    assert done.exit_code == 1
    assert " ".join(status.cause.split()) in " ".join(done.output.split())
    assert "epochs" not in done.output


def test_a_run_with_everything_in_it_goes_to_json_and_back() -> None:
    measured = {"fastnet-numba": record(3, 4), "jax": record(1, 2, settings={"unroll": 2})}
    run = CpuRun({"processor": "some"}, {"seconds": 1.0})
    floors = ratios.ratios(measured, TABLE[0].floors)
    run.rows["A"] = RowRecord(TABLE[0], 2, [0.1], measured, floors)
    run.time_to_accuracy = results.TimeToAccuracy(
        TABLE[2], 0.975, [0], {"jax": results.AccuracyRecord(curves=[[[1.0, 0.5]]])}
    )
    again = CpuRun.from_dict(json.loads(json.dumps(run.to_dict())))
    assert again == run
    with pytest.raises(ValueError, match="schema is 99; expected 1"):
        CpuRun.from_dict({**run.to_dict(), "schema": 99})


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    results.write(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        results.write(path, {"a": math.nan})
    with pytest.raises(TypeError):
        results.write(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["one.json"]


def test_results_never_overwrite_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    facts = {"processor": "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz", "date": "2026-11-21T08:00"}
    first = results.default_path("cpu", facts)
    assert first.name == "cpu-intel-xeon-gold-6130-2026-11-21.json"
    first.touch()
    assert results.default_path("cpu", facts).name == f"{first.stem}-2.json"


# -- the machine ----------------------------------------------------------------------------------


def test_the_machine_is_described_without_names_of_folders_or_hosts() -> None:
    facts = machine.facts()
    assert facts["cores"] >= 1
    assert facts["git"].keys() == {"commit", "dirty"}
    text = json.dumps(facts, allow_nan=False)
    assert str(ROOT) not in text
    assert str(Path.home()) + "/" not in text


def test_the_names_of_processors() -> None:
    assert machine.slug("AMD EPYC 9B45 96-Core Processor") == "amd-epyc-9b45-96-core-processor"
    assert machine.slug("Intel(R) Core(TM) i7-9700 CPU @ 3.00GHz") == "intel-core-i7-9700"
    assert machine.slug("") == sys.platform


def test_other_programs_are_noticed() -> None:
    assert quiet.warning([]) == ""
    assert quiet.warning([0.0, 0.1]) == ""
    assert "used 50% of the processors" in quiet.warning([0.4, 0.6])
    shares = quiet.pause(0.02)
    assert all(0 <= share <= 1 for share in shares)


# -- pieces, plans and ops ------------------------------------------------------------------------


def table_of(workload: Workload) -> tables.Table:
    return workloads.network(workload, backend="numpy").executor.table


def step_operations(workload: Workload, batch: int) -> int:
    """2 m n k of every product: forward, weight gradient, and delta but for the first layer."""
    sizes = list(zip(workload.layers[:-1], workload.layers[1:], strict=True))
    return sum(2 * batch * i * o * (2 if l == 0 else 3) for l, (i, o) in enumerate(sizes))


@pytest.mark.parametrize(
    "workload", [*TABLE, ALL["batch-4096"], ALL["depth-5"]], ids=lambda w: w.key
)
def test_pieces_make_up_the_whole_step(workload: Workload) -> None:
    batch = workload.batch or 42_000
    table = table_of(workload)
    expected = step_operations(workload, batch)
    planned = pieces.as_planned(table, batch, 8)
    assert planned.operations == expected
    for threads in (1, 2, 3):
        assert pieces.whole(table, batch, threads).operations == expected
    updated = pieces.update(table, workload.optimizer, 8, 2)
    [phase] = updated.phases
    spans = [(piece[1], piece[1] + piece[4]) for [piece] in phase.tiles]
    assert spans[0][0] == 0
    assert spans[-1][1] == table.parameters
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    counts = plan.tiles_by_phase(table, batch)
    assert min(counts.values()) >= 1
    for some in (planned, pieces.whole(table, batch, 2), updated):
        assert_within_buffers(some, table)
    for phase in (*planned.phases, *updated.phases):
        if phase.shares is not None:
            assert phase.shares[0] == 0
            assert phase.shares[-1] == len(phase.tiles)
            assert phase.shares == sorted(phase.shares)


def assert_within_buffers(some: pieces.Pieces, table: tables.Table) -> None:
    values, deltas, gradients = some.values, some.deltas, some.gradients
    rooms = {  # of out, a and b
        loops.FORWARD: (values, values, table.parameters),
        loops.BACKWARD: (deltas, deltas, table.parameters),
        loops.GRADIENT: (gradients, values, deltas),
    }
    for phase in some.phases:
        for piece in itertools.chain.from_iterable(phase.tiles):
            kind, out, a, b, m, n, k, columns, first, beta = piece
            assert beta in (0, 1)
            assert m > 0
            if kind not in rooms:
                assert out + m <= table.parameters
                continue
            assert first + m <= columns or kind != loops.GRADIENT
            size_of_a = k * columns if kind == loops.GRADIENT else m * k
            for begin, size, room in zip(
                (out, a, b), (m * n, size_of_a, k * n), rooms[kind], strict=True
            ):
                assert 0 <= begin <= begin + size <= room


def test_training_is_put_beside_its_limit() -> None:
    table = table_of(TABLE[3])
    planned = pieces.as_planned(table, 256, 2)
    taken = {
        limits.TRAINING: [11.0, 12.0, 30.0],
        limits.PLANNED: [9.0, 9.0, 9.0],
        limits.WHOLE: [8.0, 8.0, 8.0],
        limits.UPDATE: [2.0, 2.0, 2.0],
        limits.READ: [20.0, 1.0, 1.0],
    }
    of_sum = limits.summed_up(TABLE[3], planned, 7, taken, [])
    assert (of_sum.products, of_sum.limit, of_sum.bound) == (limits.WHOLE, limits.SUM, 1.12)
    assert of_sum.ratio.median == pytest.approx(1.2)
    assert of_sum.is_met is False
    of_larger = limits.summed_up(TABLE[4], planned, 7, taken, [])
    assert of_larger.ratio.median == pytest.approx(1.5)  # of 11 / 20, 12 / 8, 30 / 8
    assert of_larger.is_met is True
    assert limits.summed_up(TABLE[0], planned, 7, taken, []).is_met is None
    assert "1.200" in _text(limits.table_of_rows([of_sum], peaks()))
    assert json.loads(json.dumps(limits.to_dict({}, peaks(), [of_sum], {})))["rows"]["D"]


def peaks() -> limits.Peaks:
    one = measure.summary([1.0])
    return limits.Peaks(2, one, one, one, 1 << 20)


@pytest.mark.parametrize("key", ["C", "D", "E", "F"])
def test_two_tile_plans_cover_every_parameter(key: str) -> None:
    workload = ALL[key]
    table, batch = table_of(workload), workload.batch or 42_000
    built = tiling.build
    plans = plan.two_tile_plans(batch)
    assert {"constants", "halves"} < set(plans)
    for name, replaced in plans.items():
        with plan.planned(**replaced):
            made = tiling.build(table, batch)
            assert tiling.capacity(table, batch) >= 1
        if made.slots:
            assert made.slots == 2, name
            assert made.ranges[0][0] == 0
            assert made.ranges[-1][1] == table.parameters
        if name == "halves":
            assert -(-batch // made.rows_per_tile) == 2 or batch > tiling.MOST_ROWS
            spans = sorted((int(tile[3]), int(tile[4])) for tile in made.tiles)
            assert spans[0][0] == 0
            assert spans[-1][1] == table.parameters
            assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert tiling.build is built


def test_every_op_of_the_contract_has_a_case() -> None:
    assert {case.op for case in op_cases.CASES} == set(contract.NAMES)
    names = [(case.name, dtype) for case in op_cases.CASES for dtype in case.dtypes]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", op_cases.CASES, ids=lambda case: case.name)
def test_the_arguments_of_a_case_suit_the_op(case: op_cases.Case) -> None:
    from fastnet.execution import numpy_ops

    for dtype in case.dtypes:
        arguments = case.arguments(np.dtype(dtype))
        for _ in range(3):
            getattr(numpy_ops, case.op)(*arguments)
        for argument in arguments:
            if isinstance(argument, np.ndarray) and argument.dtype.kind == "f":
                assert np.isfinite(argument).all()


def test_the_ops_are_timed_on_both_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest-benchmark measures nothing beside other tests, and takes its child for one of them.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    found = ops.measure_ops("begin_step", quick=True, show=False)
    assert [one["op"] for one in found] == ["begin_step"]
    assert found[0]["numba"]["median"] > 0
    assert found[0]["numpy"]["median"] > 0
    with pytest.raises(CannotMeasureError, match="whose name contains 'no such op'"):
        ops.measure_ops("no such op", quick=True, show=False)


def test_benchmarks_are_paired() -> None:
    def one(backend: str, median: float) -> dict[str, Any]:
        info = {"op": "sgd_step", "shape": "7", "dtype": "float32", "backend": backend}
        return {"extra_info": info, "stats": {"median": median, "iqr": 0.1, "rounds": 5, "x": 1}}

    [found] = ops.paired([one("numba", 2.0), one("numpy", 6.0)])
    assert found["ratio"] == 3
    assert (found["op"], found["numba"]["rounds"]) == ("sgd_step", 5)
    assert "x" not in found["numba"]
    assert "3.00" in _text(ops.table([found]))


def _text(renderable: Any) -> str:
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as captured:
        console.print(renderable)
    return captured.get()


def test_loops_load_the_products_that_kept_code_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code out of the cache calls them by name, in a process that has compiled nothing."""
    from bench import loops

    done: list[Any] = []
    monkeypatch.setattr(loops.product, "load", done.append)
    loops.seconds_on_threads(1, lambda barrier, threads, turn: done.append("run"))
    assert done == [32, "run"]
