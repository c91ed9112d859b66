"""Recipes: what they say, what they train on, and that they do what they say."""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastnet import SGD, Adam, Network, cli, recipes
from fastnet.data.published import FILES
from fastnet.history import History
from fastnet.recipes import Recipe, RecipeData, RecipeResult, Training

ROOT = Path(__file__).parents[1]
NAMES = [
    "digits-sigmoid",
    "digits-sigmoid-mse",
    "digits-sigmoid-log-loss",
    "digits-adam",
    "mnist-relu-sigmoid",
    "mnist-relu-softmax",
    "kaggle-16",
]
RNG = np.random.default_rng(6)
LABELS = (np.arange(64) % 10).astype(np.uint8)
# Ten patterns with noise, of MNIST's shape.
PATTERNS = RNG.integers(0, 200, (10, 28, 28))
PICTURES = (PATTERNS[LABELS] + RNG.integers(0, 55, (64, 28, 28))).astype(np.uint8)


def shorter(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, training=replace(recipe.training, **changes))


@pytest.fixture
def small_mnist(tmp_path: Path) -> Path:
    return write_set(tmp_path)


def write_set(folder: Path, test_labels: np.ndarray = LABELS[:20]) -> Path:
    """Write 64 images to train on and 20 others to test on, as MNIST's files."""
    turned = PICTURES[:20] // 2
    for part, array in {
        "X_train": PICTURES,
        "y_train": LABELS,
        "X_test": turned,
        "y_test": test_labels,
    }.items():
        head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (folder / f"{FILES[part]}.gz").write_bytes(gzip.compress(head + array.tobytes(), mtime=0))
    return folder


# -- by name --------------------------------------------------------------------------------------


def test_names() -> None:
    assert recipes.names() == NAMES
    assert [recipes.get(name).name for name in NAMES] == NAMES


def test_an_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"'digit-adam', which is not known; did you mean 'digits"):
        recipes.get("digit-adam")
    with pytest.raises(TypeError, match=r"recipe is 3 \(int\); expected one of digits-sigmoid, "):
        recipes.get(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "parameters", "mark"),
    [
        ("digits-sigmoid", 4_810, 0.915),
        ("digits-sigmoid-mse", 4_810, None),
        ("digits-sigmoid-log-loss", 4_810, None),
        ("digits-adam", 4_810, 0.975),
        ("mnist-relu-sigmoid", 50_890, 0.974),
        ("mnist-relu-softmax", 101_770, 0.978),
        ("kaggle-16", 12_730, 0.87),
    ],
)
def test_a_recipe_describes_itself(name: str, parameters: int, mark: float | None) -> None:
    recipe = recipes.get(name)
    assert (recipe.network.parameter_count, recipe.must_reach) == (parameters, mark)
    network = Network(recipe.network.layers, loss=recipe.network.loss, backend="numpy")
    assert network.parameter_count == parameters
    text = str(recipe)
    assert text.startswith(f"{name}: ")
    headings = ["network", "training", "data", "reported", "wrong", "instead", "mark", "seeds"]
    found = [line.split()[0] for line in text.splitlines()[2:] if not line.startswith(" ")]
    assert [heading for heading in found if heading != "published"] == headings
    assert ("published" in found) == (recipe.published is not None)
    assert max(map(len, text.splitlines())) <= 88
    assert f"{parameters:,} parameters" in " ".join(text.split())


def test_patience_needs_rows_to_watch() -> None:
    with pytest.raises(ValueError, match="patience is 5 and validation is None"):
        Training(Adam(), 32, 10, patience=5)


# -- the rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "seed"), [(1_797, 42), (11, 42), (13, 7), (100, 0)])
def test_the_split_is_scikit_learns(rows: int, seed: int) -> None:
    ours = recipes.scikit_learn_split(rows, seed)
    theirs = train_test_split(np.arange(rows), test_size=0.2, random_state=seed)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])


def test_the_digits_are_split_as_the_tutorials_did() -> None:
    X, y = load_digits(return_X_y=True)
    data = recipes.get("digits-sigmoid").data.load()
    for ours, theirs in zip(
        (data.X_train, data.X_test, data.y_train, data.y_test),
        train_test_split(X, y, test_size=0.2, random_state=42),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    # Min-max scaling of all pixels is X / 16.
    assert (X.min(), X.max(), data.input_scale) == (0, 16, 1 / 16)


def test_only_the_first_rows(small_mnist: Path) -> None:
    assert recipes.get("kaggle-16").data.first_rows == 42_000
    data = RecipeData("mnist", "", first_rows=23).load(small_mnist)
    np.testing.assert_array_equal(data.X_train, PICTURES[:23].reshape(23, 784))
    np.testing.assert_array_equal(data.y_train, LABELS[:23])
    assert data.X_test is not None
    assert len(data.X_test) == 20


# -- a run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_the_training_that_it_says(name: str, small_mnist: Path) -> None:
    recipe = shorter(recipes.get(name), epochs=4, curve_every=2)
    result = recipe.run("numpy", seed=5, data_dir=small_mnist, progress=False)

    data = recipe.data.load(small_mnist)
    network = Network(
        recipe.network.layers,
        loss=recipe.network.loss,
        backend="numpy",
        seed=5,
        input_scale=data.input_scale,
    )
    training = recipe.training
    history = network.fit(
        data.X_train,
        data.y_train,
        optimizer=training.optimizer,
        batch_size=training.batch_size,
        epochs=4,
        validation=training.validation,
        progress=False,
    )
    assert result.histories == [history]
    assert result.seeds == (5,)
    expected = network.evaluate(data.X_test, data.y_test)["accuracy"]
    assert result.test_accuracy_per_seed == [expected]
    assert result.curves[0]["epoch"] == [2, 4]
    assert result.curves[0]["test_accuracy"][-1] == expected
    assert result.chosen_epochs == [4]
    losses = history["train_loss"]
    assert losses[-1] < losses[0]


def test_all_seeds_are_run_and_their_mean_is_shown() -> None:
    recipe = replace(shorter(recipes.get("digits-sigmoid"), epochs=3), seeds=(3, 1))
    result = recipe.run("numpy", progress=False)
    alone = [recipe.run("numpy", seed=seed, progress=False) for seed in (3, 1)]
    each = [run.test_accuracy for run in alone]
    assert result.test_accuracy_per_seed == each
    assert each[0] != each[1]
    assert result.test_accuracy == pytest.approx(sum(each) / 2)
    assert (result.train_rows, result.test_rows) == (1_437, 360)
    assert result.reached is False
    assert alone[0].reached is None  # of one seed nothing is said
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["test_accuracy_per_seed"] == each
    assert (plain["recipe"], plain["backend"], plain["seeds"]) == (
        "digits-sigmoid",
        "numpy",
        [3, 1],
    )
    assert plain["seconds"] == result.seconds > 0
    for value in each:
        assert f"{value:.2%}" in str(result)
    assert str(result).endswith("best: not reached")


def test_early_stopping_takes_the_best_epoch() -> None:
    recipe = shorter(recipes.get("digits-adam"), optimizer=Adam(0.02), epochs=60, patience=3)
    result = recipe.run("numpy", seed=0, progress=False)
    losses = result.histories[0]["validation_loss"]
    best = int(np.argmin(losses)) + 1
    assert result.chosen_epochs == [best]
    assert len(losses) == best + 3 < 60
    # The network that is tested is that of the best epoch, not the last.
    until_then = shorter(recipe, epochs=best).run("numpy", seed=0, progress=False)
    assert result.test_accuracy == until_then.test_accuracy
    last = shorter(recipe, patience=None, epochs=len(losses)).run("numpy", seed=0, progress=False)
    assert result.test_accuracy != last.test_accuracy


def test_the_test_rows_decide_nothing(tmp_path: Path) -> None:
    recipe = shorter(
        recipes.get("mnist-relu-softmax"), epochs=12, validation=0.2, patience=2, curve_every=1
    )
    runs = []
    for number, shift in enumerate((0, 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_set(folder, ((LABELS[:20] + shift) % 10).astype(np.uint8))
        runs.append(recipe.run("numpy", seed=0, data_dir=folder, progress=False))
    assert runs[0].histories == runs[1].histories
    assert runs[0].chosen_epochs == runs[1].chosen_epochs
    assert runs[0].test_accuracy != runs[1].test_accuracy


def test_what_counts_as_reached() -> None:
    recipe = replace(recipes.get("digits-sigmoid"), seeds=(0, 1))

    def result(*accuracies: float, **changes: Any) -> RecipeResult:
        seeds = tuple(range(len(accuracies)))
        return RecipeResult(
            replace(recipe, **changes), "numpy", "", seeds, 1, 1, list(accuracies), [History()]
        )

    assert result(0.92, 0.94).reached is True
    assert result(0.92, 0.93).reached is False  # 93.06% is outside
    assert result(0.94, 0.95).reached is False
    assert result(0.88, 0.94).reached is False  # the mean is too low
    assert result(0.92, 0.93, must_span=None).reached is True
    assert result(0.93).reached is None
    assert result(0.1, 0.2, must_reach=None).reached is None


# -- the published steps --------------------------------------------------------------------------


def test_the_published_step_in_fastnets_terms(small_mnist: Path) -> None:
    """output - onehot, summed over 32 rows at a rate of 0.001, is log loss at 0.32."""
    published = recipes.get("mnist-relu-sigmoid").as_published()
    network = Network(
        published.network.layers, loss="log_loss", backend="numpy", dtype="float64", seed=2
    )
    X = PICTURES[:32].reshape(32, 784) / 255
    before = network.state_dict()
    A = np.maximum(X @ before["layer_1.weights"] + before["layer_1.biases"], 0)
    Z = A @ before["layer_2.weights"] + before["layer_2.biases"]
    d = 1 / (1 + np.exp(-Z)) - np.eye(10)[LABELS[:32]]
    d_hidden = (d @ before["layer_2.weights"].T) * (A > 0)
    expected = {
        "layer_1.weights": before["layer_1.weights"] - 0.001 * X.T @ d_hidden,
        "layer_1.biases": before["layer_1.biases"] - 0.001 * d_hidden.sum(axis=0),
        "layer_2.weights": before["layer_2.weights"] - 0.001 * A.T @ d,
        "layer_2.biases": before["layer_2.biases"] - 0.001 * d.sum(axis=0),
    }
    assert published.training.batch_size == 32
    network.fit(
        X,
        LABELS[:32].astype(int),
        optimizer=published.training.optimizer,
        batch_size=32,
        epochs=1,
        progress=False,
    )
    for name, value in network.state_dict().items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_as_published() -> None:
    recipe = recipes.get("digits-sigmoid-log-loss")
    published = recipe.as_published()
    assert (recipe.training.optimizer, published.training.optimizer) == (SGD(1.0), SGD(0.1))
    assert published.must_reach is None
    with pytest.raises(ValueError, match="kaggle-16 has no published rate beside its own"):
        recipes.get("kaggle-16").as_published()


# -- backends -------------------------------------------------------------------------------------


def test_numpy_and_numba_agree() -> None:
    recipe = shorter(recipes.get("digits-sigmoid"), epochs=20)
    curves = [
        recipe.run(backend, seed=0, progress=False).histories[0]["train_loss"]
        for backend in ("numpy", "numba")
    ]
    np.testing.assert_allclose(*curves, rtol=1e-4)


def test_a_wrong_backend_shows_before_data_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="backend is 'nimba'"):
        recipes.get("kaggle-16").run("nimba", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError):
        recipes.get("kaggle-16").run("numpy", data_dir=tmp_path)


def test_digits_adam_reaches_its_mark() -> None:
    result = recipes.get("digits-adam").run("numba", progress=False)
    assert result.reached is True, str(result)


# -- the measured figures -------------------------------------------------------------------------


def test_the_figures_in_the_text_are_those_that_were_measured() -> None:
    text = (ROOT / "docs" / "tutorials.md").read_text(encoding="utf-8")
    (path,) = (ROOT / "bench" / "results").glob("recipes-amd-epyc-*.json")
    measured = json.loads(path.read_text(encoding="utf-8"))["recipes"]
    assert list(measured) == NAMES
    for name, row in measured.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` | "))
        each = row["numba"]["test_accuracy_per_seed"]
        for value in (row["numba"]["test_accuracy"], min(each), max(each)):
            assert f"{100 * value:.2f}" in line, (name, value)
        assert row["numba"]["reached"] is not False
        assert row["must_reach"] == recipes.get(name).must_reach


# -- the command ----------------------------------------------------------------------------------


def test_the_command_lists_shows_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["recipes", "list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == recipes.names()
    with pytest.raises(SystemExit, match="0"):
        cli.main(["recipes", "show", "digits-adam"])
    assert capsys.readouterr().out.strip() == str(recipes.get("digits-adam")).strip()
    with pytest.raises(SystemExit, match="0"):
        cli.main(["recipes", "run", "digits-adam", "--seed", "0", "--backend", "numpy", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["test_accuracy_per_seed"] == [found["test_accuracy"]]
    assert found["test_accuracy"] > 0.96
    with pytest.raises(SystemExit, match="2"):
        cli.main(["recipes", "run", "digit-adam"])
    assert "did you mean 'digits-adam'?" in capsys.readouterr().err
