"""The recipes on several backends: what they reach, and how far the backends are apart."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from bench.results import SCHEMA
from fastnet import recipes
from fastnet.execution import registry
from fastnet.layers import Dense
from fastnet.recipes import Recipe, RecipeResult, Training

BACKENDS = ("numpy", "numba")
DTYPES = ("float32", "float64")
QUICK_SEEDS, QUICK_EPOCHS, QUICK_ROWS = 2, 2, 1_000
# The published steps are repeated with these weights, too: what was reported depends on them.
OTHER_WEIGHTS = {"mnist-relu-sigmoid": ("uniform(-0.5, 0.5)", "normal(1)")}
# Differences of the loss stand for the first so many epochs, too, before rounding has grown.
FIRST_EPOCHS = 10
# In float64 nothing but rounding is looked for, and less of a training shows it. Of one step an
# epoch, all are needed.
FLOAT64_EPOCHS = 50
# About how many points of a loss curve are kept.
POINTS = 20
# What a result repeats of its recipe, or says of this machine.
LEFT_OUT = ("recipe", "must_reach", "backend_reason")

Plain = dict[str, Any]


class Choice(NamedTuple):
    """What to run, and where MNIST is; the other backends are compared with the first."""

    recipes: Sequence[str]
    backends: Sequence[str] = BACKENDS
    dtype: str = "float32"
    quick: bool = False
    folder: Path | None = None

    @property
    def needs_mnist(self) -> bool:
        """Whether a recipe trains on it."""
        return any(recipes.get(name).data.name == "mnist" for name in self.recipes)


def measure_all(
    facts: Plain,
    choice: Choice,
    say: Callable[[str], None],
    after_recipe: Callable[[Plain], None],
) -> Plain:
    """Run the recipes and return, as plain data, what stands in the results.

    Parameters
    ----------
    facts : dict
        Of `machine.facts`.
    choice : Choice
    say : callable
        Told what goes on.
    after_recipe : callable
        Given what there is so far: a run that is interrupted keeps it.

    Raises
    ------
    BackendUnavailableError
        If a backend cannot run here, before anything is trained.
    ValueError
        If the dtype is not known.
    """
    if choice.dtype not in DTYPES:
        raise ValueError(f"--dtype is {choice.dtype!r}; expected one of {', '.join(DTYPES)}")
    for backend in choice.backends:
        registry.choose(backend)
    run: Plain = {
        "schema": SCHEMA,
        "machine": facts,
        "dtype": choice.dtype,
        "backends": list(choice.backends),
        "quick": choice.quick,
        "recipes": {},
        "complete": False,
    }
    for number, name in enumerate(choice.recipes, 1):
        recipe = recipes.get(name)
        run["recipes"][name] = measure(shortened(recipe) if choice.quick else recipe, choice, say)
        run["complete"] = number == len(choice.recipes)
        after_recipe(run)
    return run


def shortened(recipe: Recipe) -> Recipe:
    """Return a recipe with few seeds, epochs and images, of which nothing is expected."""
    return replace(
        recipe,
        seeds=recipe.seeds[:QUICK_SEEDS],
        training=_first_epochs(recipe.training, QUICK_EPOCHS),
        published=recipe.published and _first_epochs(recipe.published, QUICK_EPOCHS),
        data=replace(recipe.data, first_rows=QUICK_ROWS),
        must_reach=None,
        must_span=None,
    )


def _first_epochs(training: Training, epochs: int) -> Training:
    return replace(
        training,
        epochs=min(training.epochs, epochs),
        curve_every=min(training.curve_every, epochs),
    )


def measure(recipe: Recipe, choice: Choice, say: Callable[[str], None]) -> Plain:
    """Run a recipe, and its published steps, on every backend with every seed, and compare."""
    done = _run(recipe, choice, say)
    row: Plain = {
        "title": recipe.title,
        "network": str(recipe.network),
        "training": str(recipe.training),
        "data": str(recipe.data),
        "reported": recipe.reported,
        "must_reach": recipe.must_reach,
        "must_span": recipe.must_span,
        **_plain(done),
    }
    first, *others = choice.backends
    compared = {other: agreement(done[first], done[other]) for other in others}
    if others and choice.dtype == "float32":
        seed = recipe.seeds[0]
        exact = _run(_short_in_float64(recipe, seed), choice._replace(dtype="float64"), say)
        for other in others:
            compared[other][f"float64_seed_{seed}"] = _in_short(exact[first], exact[other])
    row |= {f"{first}_and_{other}": found for other, found in compared.items()}
    row[f"train_loss_curve_seed_{recipe.seeds[0]}"] = _loss_curves(done)
    if recipe.published is not None:
        row["published"] = _published(recipe.as_published(), choice, say)
    return row


def _run(recipe: Recipe, choice: Choice, say: Callable[[str], None]) -> dict[str, RecipeResult]:
    """Return what each backend makes of a recipe with all of its seeds."""
    done = {}
    for backend in choice.backends:
        training, seeds = recipe.training, len(recipe.seeds)
        say(
            f"{recipe.name} on {backend}: {training.optimizer}, {training.epochs:,} epochs, "
            f"{choice.dtype}, {seeds} {'seed' if seeds == 1 else 'seeds'}"
        )
        done[backend] = recipe.run(
            backend, data_dir=choice.folder, progress=False, dtype=choice.dtype
        )
    return done


def _plain(done: dict[str, RecipeResult]) -> Plain:
    return {
        backend: {key: value for key, value in result.to_dict().items() if key not in LEFT_OUT}
        for backend, result in done.items()
    }


def _published(recipe: Recipe, choice: Choice, say: Callable[[str], None]) -> Plain:
    layers = recipe.network.layers
    found: Plain = {
        "training": str(recipe.training),
        "weights": [str(layer.weights) for layer in layers],
        **_plain(_run(recipe, choice, say)),
    }
    if recipe.name in OTHER_WEIGHTS:
        found["other_weights"] = {
            weights: _plain(_run(_with_weights(recipe, weights), choice, say))
            for weights in OTHER_WEIGHTS[recipe.name]
        }
    return found


def _with_weights(recipe: Recipe, weights: str) -> Recipe:
    layers = tuple(
        Dense(layer.inputs, layer.outputs, layer.activation, weights=weights)
        for layer in recipe.network.layers
    )
    return replace(recipe, network=replace(recipe.network, layers=layers))


# -- one backend beside another -------------------------------------------------------------------


def agreement(one: RecipeResult, other: RecipeResult) -> Plain:
    """Return how far two backends are apart, seed by seed.

    Losses are compared in every epoch that both trained, relative to the second one's.
    """
    apart = _apart(one, other)
    accuracies = zip(one.test_accuracy_per_seed, other.test_accuracy_per_seed, strict=True)
    return {
        "seeds": list(one.seeds),
        "epochs_compared": [len(each) for each in apart],
        "largest_relative_difference_of_train_loss": max(map(max, apart)),
        "per_seed": [max(each) for each in apart],
        f"in_the_first_{FIRST_EPOCHS}_epochs": max(max(each[:FIRST_EPOCHS]) for each in apart),
        "largest_difference_of_test_accuracy": max(abs(a - b) for a, b in accuracies),
    }


def _in_short(one: RecipeResult, other: RecipeResult) -> Plain:
    [apart] = _apart(one, other)
    return {
        "epochs_compared": len(apart),
        "largest_relative_difference_of_train_loss": max(apart),
        "in_the_first_epoch": apart[0],
    }


def _apart(one: RecipeResult, other: RecipeResult) -> list[list[float]]:
    """Return, by seed and epoch, the relative difference of the training losses."""
    return [
        [
            abs(a - b) / max(abs(b), sys.float_info.min)
            for a, b in zip(mine["train_loss"], theirs["train_loss"], strict=False)
        ]
        for mine, theirs in zip(one.histories, other.histories, strict=True)
    ]


def _short_in_float64(recipe: Recipe, seed: int) -> Recipe:
    training = recipe.training
    if training.batch_size is not None:
        training = _first_epochs(training, FLOAT64_EPOCHS)
    return replace(recipe, seeds=(seed,), training=training, must_reach=None, must_span=None)


def _loss_curves(done: dict[str, RecipeResult]) -> Plain:
    losses = {backend: result.histories[0]["train_loss"] for backend, result in done.items()}
    every = max(1, min(map(len, losses.values())) // POINTS)
    return {"every": every, **{backend: curve[::every] for backend, curve in losses.items()}}


# -- tables ---------------------------------------------------------------------------------------


def tables(run: Plain) -> list[Table]:
    """Return what was reached, and of several backends how far they are apart."""
    several = len(run["backends"]) > 1
    return [_figures(run), *([_agreement(run)] if several else [])]


def _figures(run: Plain) -> Table:
    table = Table(
        title=f"Test accuracy in %, {run['dtype']}, mean and range of the seeds, and what it must "
        f"reach; seconds of training, all seeds together",
        title_justify="left",
    )
    table.add_column("recipe", no_wrap=True)
    table.add_column("backend")
    for heading in ("mean", "range", "mark", "s"):
        table.add_column(heading, justify="right")
    for name, row in run["recipes"].items():
        for label, results, mark in _variants(name, row):
            for number, backend in enumerate(run["backends"]):
                table.add_row(
                    "" if number else label,
                    backend,
                    *_figures_of(results[backend]),
                    _verdict(mark, results[backend]["reached"]),
                    f"{results[backend]['seconds']:.1f}",
                )
        table.add_section()
    return table


def _variants(name: str, row: Plain) -> Iterator[tuple[str, Plain, float | None]]:
    """Yield label, results by backend and mark: of the recipe, and of what was published."""
    yield name, row, row["must_reach"]
    if "published" in row:
        yield "  as published", row["published"], None
        for weights, results in row["published"].get("other_weights", {}).items():
            yield f"  {weights}", results, None


def _figures_of(result: Plain) -> tuple[str, str]:
    each = [100 * value for value in result["test_accuracy_per_seed"]]
    return f"{100 * result['test_accuracy']:.2f}", f"{min(each):.2f}-{max(each):.2f}"


def _verdict(mark: float | None, reached: bool | None) -> str:
    if mark is None:
        return ""
    verdict = {None: "", True: "met", False: "[bold]missed[/bold]"}[reached]
    return f"{100 * mark:.1f} {verdict}"


def _agreement(run: Plain) -> Table:
    first, *others = run["backends"]
    table = Table(
        title=f"Beside {first} with the same seeds: largest relative difference of the training "
        f"loss",
        title_justify="left",
        caption="Accuracy: largest difference in points. float64: the first seed alone, "
        f"{FLOAT64_EPOCHS} epochs at most where there are batches.",
        caption_justify="left",
    )
    table.add_column("recipe", no_wrap=True)
    table.add_column("backend")
    for heading in (
        f"first {FIRST_EPOCHS}\nepochs",
        "all\nepochs",
        "accuracy",
        "float64",
    ):
        table.add_column(heading, justify="right")
    for name, row in run["recipes"].items():
        for number, other in enumerate(others):
            found = row[f"{first}_and_{other}"]
            exact = [one for key, one in found.items() if key.startswith("float64_")]
            table.add_row(
                "" if number else name,
                other,
                f"{found[f'in_the_first_{FIRST_EPOCHS}_epochs']:.1e}",
                f"{found['largest_relative_difference_of_train_loss']:.1e}",
                f"{100 * found['largest_difference_of_test_accuracy']:.2f}",
                *(f"{one['largest_relative_difference_of_train_loss']:.1e}" for one in exact),
            )
    return table
