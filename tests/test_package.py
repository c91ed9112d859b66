"""The package itself: what importing it loads, its data, its names, and histories."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fastnet
from fastnet import History, progress, training
from fastnet.data import splits
from fastnet.data.digits import digits

ROOT = Path(__file__).parents[1]


def python(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh interpreter."""
    paths = os.pathsep.join(map(str, [ROOT, ROOT / "kernels"]))
    kept = {name: value for name, value in os.environ.items() if name != "FASTNET_BACKEND"}
    return subprocess.run(
        [sys.executable, *options, "-c", script],
        env={**kept, "PYTHONPATH": paths, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def blocking(*packages: str) -> str:
    """Return the beginning of a script in which these packages are not installed."""
    return f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""


# -- importing ------------------------------------------------------------------------------------

HEAVY = [
    *("numba", "cupy", "sklearn", "matplotlib", "pandas", "scipy", "rich", "typer"),
    *("safetensors", "onnx", "onnxruntime", "pyarrow", "pooch"),
]
LOADED = f"""
import json, sys
print(json.dumps(sorted({set(HEAVY)!r} & {{name.split(".")[0] for name in sys.modules}})))
"""


def test_importing_loads_nothing_heavy() -> None:
    done = python("import fastnet; fastnet.Network" + LOADED)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == []


def test_names_are_imported_when_they_are_asked_for() -> None:
    done = python("import sys, fastnet; assert 'numpy' not in sys.modules; print(fastnet.Adam())")
    assert (done.returncode, done.stdout.split("(")[0]) == (0, "adam"), done.stderr
    assert set(fastnet.__all__) <= set(dir(fastnet))
    names: dict[str, object] = {}
    exec("from fastnet import *", names)
    assert set(fastnet.__all__) <= set(names)
    for name in ("nothing", "_nothing", "__nothing__"):
        with pytest.raises(AttributeError, match=f"module 'fastnet' has no attribute '{name}'"):
            getattr(fastnet, name)


def test_training_with_numpy_loads_nothing_heavy() -> None:
    done = python("import fastnet; fastnet.train(epochs=1, backend='numpy')" + LOADED)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == []


def test_importing_warns_of_nothing() -> None:
    done = python("import fastnet, fastnet.checking, fastnet.data.digits", "-W", "error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_trains_without_the_packages_of_the_command_line() -> None:
    script = """
import fastnet
run = fastnet.train(epochs=2, backend="numpy", progress=True)
print(run.test_accuracy > 0.5)
"""
    done = python(blocking("rich", "typer") + script)
    assert done.returncode == 0
    assert done.stdout == "True\n"
    assert [line.split("  ")[0] for line in done.stderr.splitlines()] == ["epoch 1/2", "epoch 2/2"]


@pytest.mark.parametrize("package", ["rich", "typer"])
def test_the_command_says_which_package_it_needs(package: str) -> None:
    done = python(blocking(package) + "from fastnet.cli import main; main([])")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "the fastnet command needs the package" in done.stderr
    assert "pip install typer rich" in done.stderr
    assert "Traceback" not in done.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    for name in ("rich", "rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    assert type(progress.display(None, 1, 1)) is progress.Silent
    with pytest.raises(ImportError, match=r"progress=True needs the package rich.*pip install"):
        progress.display(True, 1, 1)


def test_progress_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert type(progress.display(None, 1, 1)) is progress.Silent
    assert type(progress.display(False, 1, 1)) is progress.Silent
    assert type(progress.display(True, 1, 1)) is progress.Lines
    monkeypatch.setattr(sys, "stderr", None)
    assert type(progress.display(None, 1, 1)) is progress.Silent


# -- names ----------------------------------------------------------------------------------------


def test_the_version_is_that_of_the_distribution() -> None:
    try:
        installed = importlib.metadata.version("fastnet-nn")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fastnet runs from its source tree here")
    assert fastnet.__version__ == installed


def test_the_version_reads_as_one() -> None:
    assert [part.isdigit() for part in fastnet.__version__.split(".")[:2]] == [True, True]


@pytest.mark.parametrize("name", fastnet.__all__)
def test_every_public_name_is_there_and_described(name: str) -> None:
    thing = getattr(fastnet, name)
    if name == "__version__":
        return
    first = (thing.__doc__ or "").strip().splitlines()[0]
    assert len(first) > 10
    assert not first.startswith(f"{name}(")  # what a dataclass without a docstring gets


CLASSES = [name for name in fastnet.__all__ if isinstance(getattr(fastnet, name), type)]


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_method_is_described(name: str) -> None:
    cls = getattr(fastnet, name)
    public = {key: value for key, value in vars(cls).items() if not key.startswith("_")}
    bare = [
        key
        for key, value in public.items()
        if (callable(value) or isinstance(value, property)) and not value.__doc__
    ]
    assert bare == []


def test_the_list_of_public_names() -> None:
    assert len(set(fastnet.__all__)) == len(fastnet.__all__)
    assert {"train", "Network", "Dense", "History", "gradcheck"} <= set(fastnet.__all__)


def test_the_backends_say_what_they_are() -> None:
    found = fastnet.backends()
    assert list(found) == ["cupy", "numba", "numpy"]
    assert found["numpy"].to_dict() == {
        "name": "numpy",
        "available": True,
        "cause": "",
        "cure": "",
    }
    for status in found.values():
        assert bool(status.cause) == bool(status.cure) == (not status.available)


# -- the digits -----------------------------------------------------------------------------------

ORIGINAL = load_digits()


def as_rows(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
    table = np.column_stack([images, labels]).astype(np.uint8)
    return [row.tobytes() for row in table]


def test_the_digits_are_those_of_scikit_learn() -> None:
    data = digits()
    ours = as_rows(data.X_train, data.y_train) + as_rows(data.X_test, data.y_test)
    theirs = as_rows(ORIGINAL.data, ORIGINAL.target)
    assert Counter(ours) == Counter(theirs)
    assert data.X_train.dtype == data.X_test.dtype == np.uint8
    assert data.X_train.max() * data.input_scale == 1
    # In the same order, too: the rows of both parts ascend in the original.
    position = {row: i for i, row in enumerate(theirs)}
    for images, labels in ((data.X_train, data.y_train), (data.X_test, data.y_test)):
        positions = [position[row] for row in as_rows(images, labels)]
        assert positions == sorted(positions)


def test_the_split_of_the_digits_has_its_sizes() -> None:
    data = digits()
    assert data.X_train.shape == (1437, 64)
    assert data.X_test.shape == (360, 64)
    assert (len(data.y_train), len(data.y_test)) == (1437, 360)


def test_the_split_of_the_digits_is_disjoint() -> None:
    data = digits()
    theirs = as_rows(ORIGINAL.data, ORIGINAL.target)
    assert len(set(theirs)) == len(theirs)  # no image occurs twice, so that rows can be told apart
    training_rows = set(as_rows(data.X_train, data.y_train))
    assert training_rows.isdisjoint(as_rows(data.X_test, data.y_test))


def test_the_split_of_the_digits_is_stratified() -> None:
    data = digits()
    share = len(data.y_test) / len(ORIGINAL.target)
    exact = share * np.bincount(ORIGINAL.target)
    assert np.abs(np.bincount(data.y_test) - exact).max() < 1


def test_the_split_of_the_digits_is_fixed() -> None:
    first = digits()
    for seed in (0, 1):
        prepared = training.prepare(
            "digits",
            None,
            hidden=(),
            activation="relu",
            loss=None,
            sample_weight=None,
            seed=seed,
            task="auto",
            input_scale=None,
            backend="numpy",
        )
        assert prepared.X_test.tobytes() == first.X_test.tobytes()
        assert prepared.y_train.tobytes() == first.y_train.tobytes()


def test_digits_are_handed_out_anew() -> None:
    first = digits()
    first.X_train[:] = 0
    assert digits().X_train.any()


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_splits_are_complete_disjoint_and_stratified(fraction: float, seed: int) -> None:
    labels = np.repeat([0, 1, 2], [50, 31, 12])
    kept, held_back = splits.stratified_split(labels, fraction, seed)
    assert sorted([*kept, *held_back]) == list(range(93))
    assert abs(len(held_back) - 93 * fraction) < 1
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held_back) > 0).all()
    exact = np.array([50, 31, 12]) * len(held_back) / 93
    assert np.abs(np.bincount(labels[held_back], minlength=3) - exact).max() < 1


def test_splits_depend_on_the_seed() -> None:
    labels = np.zeros(50, int)
    one, again, other = (splits.stratified_split(labels, 0.2, seed)[1] for seed in (3, 3, 4))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()


# -- histories ------------------------------------------------------------------------------------


@pytest.fixture
def history() -> History:
    result = History(rows=40)
    for epoch, loss in enumerate([1.5, 0.75, 0.5], 1):
        result.append(
            {
                "epoch": epoch,
                "train_loss": loss,
                "train_accuracy": 1 - loss / 2,
                "validation_loss": loss + 0.25,
                "validation_accuracy": 0.5,
            },
            seconds=0.25,
        )
    return result


def test_a_history_is_a_mapping(history: History) -> None:
    assert isinstance(history, Mapping)
    assert history["train_loss"] == [1.5, 0.75, 0.5]
    assert history["epoch"] == [1, 2, 3]
    assert len(history) == len(list(history)) == 5
    assert "validation_loss" in history
    assert "seconds" not in history
    assert dict(history) == history.to_dict()
    assert history.seconds == [0.25] * 3


def test_a_history_gives_copies(history: History) -> None:
    copy = history.to_dict()
    copy["train_loss"].append(9.0)
    copy["more"] = []
    assert history["train_loss"] == [1.5, 0.75, 0.5]
    assert "more" not in history


def test_a_history_as_json(history: History) -> None:
    assert json.loads(history.to_json()) == history.to_dict()
    assert "\n" in history.to_json(indent=2)


def test_a_history_names_what_it_has(history: History) -> None:
    with pytest.raises(KeyError, match=r"'loss' is not in this history; it has epoch, train_loss"):
        history["loss"]
    with pytest.raises(KeyError, match="nothing yet"):
        History()["loss"]
    assert history.get("loss") is None


def test_curves(history: History) -> None:
    from matplotlib.figure import Figure

    figure = history.plot()
    assert isinstance(figure, Figure)
    losses, accuracies = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch", "epoch"]
    for axes, quantity in ((losses, "loss"), (accuracies, "accuracy")):
        assert [line.get_label() for line in axes.lines] == ["train", "validation"]
        for line in axes.lines:
            assert list(line.get_xdata()) == [1, 2, 3]
            assert list(line.get_ydata()) == history[f"{line.get_label()}_{quantity}"]
        assert [text.get_text() for text in axes.get_legend().texts] == ["train", "validation"]
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")


def test_curves_of_a_regression() -> None:
    history = History()
    for epoch in (1, 2):
        row = {"epoch": epoch, "train_loss": 1.0, "validation_loss": 1.0, "validation_r2": 0.5}
        history.append(row, 0.1)
    losses, scores = history.plot().axes
    assert [line.get_label() for line in losses.lines] == ["train", "validation"]
    assert [line.get_label() for line in scores.lines] == ["validation"]
    assert scores.get_ylabel() == "R²"


def test_curves_of_a_training_that_was_stopped_at_once() -> None:
    figure = History().plot()
    assert figure.axes[0].lines[:] == []


def test_curves_need_no_display() -> None:
    script = """
import os, sys
for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
    os.environ.pop(name, None)
import fastnet
run = fastnet.train(epochs=2, backend="numpy")
figure = run.history.plot()
print([len(axes.lines) for axes in figure.axes], "matplotlib.pyplot" in sys.modules)
"""
    done = python(script)
    assert (done.returncode, done.stdout) == (0, "[2, 2] False\n")


def test_curves_without_matplotlib(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"plots\.curves needs matplotlib") as caught:
        history.plot()
    assert "pip install 'fastnet-nn[plot]'" in str(caught.value)


# -- results --------------------------------------------------------------------------------------


def test_a_report_reads_both_ways() -> None:
    run = fastnet.train(epochs=2, hidden=4, backend="numpy")
    assert run.report["backend"] == run.report.backend == "numpy"
    assert run.report.rows == run.history.rows
    assert run.report.epochs == 2
    assert run.report.parameters == run.network.parameter_count
    expected = run.history.rows * 2 / sum(run.history.seconds)
    assert run.report.samples_per_second == pytest.approx(expected)
    assert run.to_dict()["test_accuracy"] == run.test_accuracy == run.test["accuracy"]
    assert run.to_dict()["train_loss"] == run.history["train_loss"][-1]
    with pytest.raises(KeyError, match="speed"):
        run.report["speed"]
