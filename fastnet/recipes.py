"""Recipes: trainings of known tutorials, what they reported, what was wrong, and what is right.

>>> import fastnet
>>> print(fastnet.recipes.get("digits-sigmoid"))
>>> result = fastnet.recipes.get("digits-sigmoid").run()
>>> result.test_accuracy, result.test_accuracy_per_seed

docs/tutorials.md has the figures that were measured, and the errors of the tutorials.
"""

from __future__ import annotations

import math
import statistics
import textwrap
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastnet import naming
from fastnet.callbacks import Callback, EarlyStopping, EpochEnd
from fastnet.data import loading
from fastnet.data.dataset import Dataset
from fastnet.data.digits import stored
from fastnet.data.loading import DataDir
from fastnet.data.splits import TEST_FRACTION
from fastnet.execution import registry
from fastnet.history import History
from fastnet.layers import Dense
from fastnet.network import Network
from fastnet.optimizers import SGD, Adam, Optimizer

Array = np.ndarray[Any, np.dtype[Any]]
Curve = dict[str, list[float]]

# The digits' split of the tutorials: scikit-learn's train_test_split(..., random_state=42).
SPLIT_SEED = 42
# How many rows the training file of Kaggle's "Digit Recognizer" has.
KAGGLE_ROWS = 42_000


@dataclass(frozen=True)
class Architecture:
    """Layers and the loss that they are trained for."""

    layers: tuple[Dense, ...]
    loss: str

    @property
    def parameter_count(self) -> int:
        """How many numbers training may change."""
        return sum(layer.parameter_count for layer in self.layers)

    def __str__(self) -> str:
        sizes = "-".join(map(str, [self.layers[0].inputs, *(la.outputs for la in self.layers)]))
        activations = ", then ".join(str(layer.activation) for layer in self.layers)
        weights = " and ".join(dict.fromkeys(str(layer.weights) for layer in self.layers))
        biases = " and ".join(dict.fromkeys(str(layer.biases) for layer in self.layers))
        return (
            f"{sizes}, {activations}, loss {self.loss}; weights {weights}, biases {biases}; "
            f"{self.parameter_count:,} parameters"
        )


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes
    ----------
    optimizer : Optimizer
    batch_size : int or None
        Rows per step; None is all of them.
    epochs : int
        The most passes over the rows.
    validation : float or None
        The share of the training rows that is kept back to watch the training.
    patience : int or None
        After so many epochs without a smaller validation loss training ends, and the parameters
        of the smallest are taken. Needs validation rows: the test rows decide nothing.
    curve_every : int
        The test accuracy is noted after every so many epochs; nothing is decided by it.
    """

    optimizer: Optimizer
    batch_size: int | None
    epochs: int
    validation: float | None = None
    patience: int | None = None
    curve_every: int = 10

    def __post_init__(self) -> None:
        if self.patience is not None and self.validation is None:
            raise ValueError(
                f"patience is {self.patience} and validation is None; expected a share such as "
                f"0.1 of the training rows to watch"
            )

    def __str__(self) -> str:
        rows = "all rows at once" if self.batch_size is None else f"batches of {self.batch_size}"
        text = f"{self.optimizer}, {rows}, {self.epochs:,} epochs"
        if self.patience is not None:
            text += (
                f" at most: it ends after {self.patience} without a smaller loss on the "
                f"{self.validation:.0%} of the training rows that are kept back for it"
            )
        return text


@dataclass(frozen=True)
class RecipeData:
    """Which rows a recipe trains and tests on.

    Attributes
    ----------
    name : str
        A name that `fastnet.load_data` knows.
    description : str
    first_rows : int or None
        Only so many rows of the training set are used; None is all.
    """

    name: str
    description: str
    first_rows: int | None = None

    def load(self, data_dir: DataDir = None) -> Dataset:
        """Return the rows; those to test on are never among those to train on."""
        if self.name == "digits":
            return _digits()
        data = loading.load_data(self.name, data_dir=data_dir)
        first = slice(self.first_rows)
        return data._replace(X_train=data.X_train[first], y_train=data.y_train[first])

    def __str__(self) -> str:
        return self.description


def scikit_learn_split(rows: int, seed: int = SPLIT_SEED) -> tuple[Array, Array]:
    """Return the rows to train on and to test on, as scikit-learn splits them.

    The same as ``train_test_split(..., test_size=0.2, random_state=seed)`` without ``stratify``:
    of one permutation the first fifth, rounded up, is for the test. NumPy has frozen the stream of
    RandomState, so that the rows stay the same.
    """
    order = np.random.RandomState(seed).permutation(rows)
    held_back = math.ceil(TEST_FRACTION * rows)
    return order[held_back:], order[:held_back]


def _digits() -> Dataset:
    """Return the digits with the tutorials' split, which is not that of `fastnet.load_data`."""
    images, labels = stored()
    train, test = scikit_learn_split(len(labels))
    return Dataset(
        "digits", images[train], labels[train], images[test], labels[test], input_scale=1 / 16
    )


@dataclass(frozen=True)
class RecipeResult:
    """What `Recipe.run` returns; lists have one element per seed.

    Attributes
    ----------
    recipe : Recipe
    backend, backend_reason : str
        What ran, and why.
    seeds : tuple of int
    train_rows, test_rows : int
        How many there were; the validation rows are among the first.
    test_accuracy_per_seed : list of float
        The share of test rows that were right after the training.
    histories : list of History
    curves : list of dict
        ``epoch`` and ``test_accuracy``, during the training.
    chosen_epochs : list of int
        The epoch whose parameters were tested.
    seconds : float
        The training steps of all seeds; start-up, validation and tests are not in it.
    """

    recipe: Recipe
    backend: str
    backend_reason: str
    seeds: tuple[int, ...]
    train_rows: int
    test_rows: int
    test_accuracy_per_seed: list[float] = field(default_factory=list)
    histories: list[History] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    chosen_epochs: list[int] = field(default_factory=list)

    @property
    def test_accuracy(self) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.test_accuracy_per_seed)

    @property
    def seconds(self) -> float:
        """How long the training steps of all seeds took."""
        return math.fsum(second for history in self.histories for second in history.seconds)

    @property
    def reached(self) -> bool | None:
        """Whether it is as good as the recipe must be.

        None where the recipe sets no mark, and where not all of its seeds were run.
        """
        recipe, each = self.recipe, self.test_accuracy_per_seed
        if recipe.must_reach is None or not set(recipe.seeds) <= set(self.seeds):
            return None
        spans = recipe.must_span is None or min(each) <= recipe.must_span <= max(each)
        return self.test_accuracy >= recipe.must_reach and spans

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; of the histories, the last training losses."""
        return {
            "recipe": self.recipe.name,
            "test_accuracy": self.test_accuracy,
            "test_accuracy_per_seed": list(self.test_accuracy_per_seed),
            "must_reach": self.recipe.must_reach,
            "reached": self.reached,
            "seeds": list(self.seeds),
            "backend": self.backend,
            "backend_reason": self.backend_reason,
            "train_rows": self.train_rows,
            "test_rows": self.test_rows,
            "epochs_per_seed": [len(history.seconds) for history in self.histories],
            "chosen_epochs": list(self.chosen_epochs),
            "train_loss_per_seed": [history["train_loss"][-1] for history in self.histories],
            "curves": [{name: list(values) for name, values in c.items()} for c in self.curves],
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        each = self.test_accuracy_per_seed
        text = f"{self.recipe.name} on {self.backend}: test accuracy {self.test_accuracy:.2%}"
        if len(each) > 1:
            text += (
                f", the mean of {len(each)} seeds from {min(each):.2%} to {max(each):.2%} "
                f"({', '.join(f'{value:.2%}' for value in each)})"
            )
        text += f"; {self.seconds:.1f} s of training"
        if self.recipe.must_reach is None or self.reached is None:
            return text
        verdict = "reached" if self.reached else "not reached"
        return f"{text}; {self.recipe.mark}: {verdict}"


@dataclass(frozen=True)
class Recipe:
    """A training of a tutorial, mended.

    ``str(recipe)`` describes it; shorter variants come from `dataclasses.replace`.

    Attributes
    ----------
    name, title : str
    network : Architecture
    training : Training
    data : RecipeData
    reported : str
        What the tutorial reported, and what its published steps gave when they were repeated.
    wrong, instead : str
        What was wrong in the tutorial, and what this recipe does.
    must_reach : float or None
        The smallest mean test accuracy that counts as a success.
    must_span : float or None
        An accuracy that must lie between those of the worst and of the best seed.
    seeds : tuple of int
    published : Training or None
        The training with the tutorial's own rate, in fastnet's terms, where `training` has
        another; see `as_published`.
    """

    name: str
    title: str
    network: Architecture
    training: Training
    data: RecipeData
    reported: str
    wrong: str
    instead: str
    must_reach: float | None
    seeds: tuple[int, ...]
    must_span: float | None = None
    published: Training | None = None

    @property
    def mark(self) -> str:
        """What must be reached, in words."""
        if self.must_reach is None:
            return "no mark"
        text = f"must reach {self.must_reach:.1%}"
        if self.must_span is not None:
            text += f" in the mean, with {self.must_span:.2%} between the worst seed and the best"
        return text

    def __str__(self) -> str:
        parts = [
            ("network", self.network),
            ("training", self.training),
            ("data", self.data),
            ("reported", self.reported),
            ("wrong", self.wrong),
            ("instead", self.instead),
            ("mark", self.mark),
            ("seeds", ", ".join(map(str, self.seeds))),
        ]
        if self.published is not None:
            parts.insert(2, ("published", self.published))
        lines = [f"{self.name}: {self.title}", ""]
        for heading, text in parts:
            lines += textwrap.wrap(
                str(text), 88, initial_indent=f"{heading:<11}", subsequent_indent=" " * 11
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the description as plain data."""
        return {
            "name": self.name,
            "title": self.title,
            "network": str(self.network),
            "training": str(self.training),
            "published": None if self.published is None else str(self.published),
            "data": str(self.data),
            "reported": self.reported,
            "wrong": self.wrong,
            "instead": self.instead,
            "must_reach": self.must_reach,
            "must_span": self.must_span,
            "seeds": list(self.seeds),
        }

    def as_published(self) -> Recipe:
        """Return the recipe with the tutorial's own rate, of which nothing is expected.

        Raises
        ------
        ValueError
            If it has no other training than its own.
        """
        if self.published is None:
            raise ValueError(f"{self.name} has no published rate beside its own")
        return replace(
            self, training=self.published, published=None, must_reach=None, must_span=None
        )

    def run(
        self,
        backend: str = "auto",
        seed: int | None = None,
        data_dir: DataDir = None,
        progress: bool | None = None,
        dtype: Any = "float32",
    ) -> RecipeResult:
        """Train it with each of its seeds, and test each network on rows it never trained on.

        Parameters
        ----------
        backend : str, default "auto"
            As in `fastnet.Network`.
        seed : int, optional
            Run this one instead of the recipe's seeds.
        data_dir : path, optional
            As in `fastnet.load_data`.
        progress : bool, optional
            As in `Network.fit`.
        dtype : str or dtype, default "float32"
            As in `fastnet.Network`.

        Returns
        -------
        RecipeResult

        Raises
        ------
        BackendUnavailableError
            If a backend is named that cannot run here.
        OSError, ImportError
            If the data are not there and cannot be downloaded.
        DivergenceError, TrainingInterrupted
            As in `Network.fit`.
        """
        seeds = self.seeds if seed is None else (seed,)
        chosen, reason = registry.choose(backend)  # an unusable one shows before data are fetched
        data = self.data.load(data_dir)
        if data.X_test is None or data.y_test is None:
            raise ValueError(f"{data.name} has no rows to test on")
        result = RecipeResult(
            self,
            chosen,
            reason,
            seeds,
            len(data.X_train),
            len(data.X_test),
        )
        test = (data.X_test, data.y_test)
        for seed in seeds:
            network = Network(
                self.network.layers,
                loss=self.network.loss,
                backend=chosen,
                dtype=dtype,
                seed=seed,
                input_scale=data.input_scale,
                task="classification",
            )
            curve: Curve = {"epoch": [], "test_accuracy": []}
            patience = self.training.patience
            stopping = [] if patience is None else [EarlyStopping(patience)]
            history = network.fit(
                data.X_train,
                data.y_train,
                optimizer=self.training.optimizer,
                batch_size=self.training.batch_size,
                epochs=self.training.epochs,
                validation=self.training.validation,
                callbacks=[*stopping, _tester(curve, test, self.training.curve_every)],
                progress=progress,
            )
            result.test_accuracy_per_seed.append(network.evaluate(*test)["accuracy"])
            result.histories.append(history)
            result.curves.append(curve)
            best = [callback.best_epoch for callback in stopping]
            result.chosen_epochs.append(*best or [len(history.seconds)])
        return result


def _tester(curve: Curve, test: tuple[Array, Array], every: int) -> Callback:
    """Return a callback that notes the test accuracy."""

    def note(end: EpochEnd) -> None:
        if end.epoch % every == 0:
            curve["epoch"].append(end.epoch)
            curve["test_accuracy"].append(end.network.evaluate(*test)["accuracy"])

    return note


def _two_layers(
    sizes: tuple[int, int, int],
    hidden: str,
    output: str,
    loss: str,
    weights: str | None = None,
) -> Architecture:
    inputs, units, outputs = sizes
    layers = (
        Dense(inputs, units, hidden, weights=weights),
        Dense(units, outputs, output, weights=weights),
    )
    return Architecture(layers, loss)


DIGITS = RecipeData(
    "digits",
    "the 1,797 embedded digits, 1,437 to train on and 360 to test on, by scikit-learn's "
    "train_test_split with test_size=0.2 and random_state=42; min-max scaled, which is X / 16, "
    "since the smallest pixel is 0 and the largest 16",
)
MNIST = RecipeData("mnist", "MNIST, 60,000 images to train on and 10,000 to test on, X / 255")
KAGGLE = RecipeData(
    "mnist",
    "the first 42,000 of MNIST's training images, as many as Kaggle's file has, and MNIST's own "
    "10,000 to test on, X / 255",
    first_rows=KAGGLE_ROWS,
)

TEN, THREE = tuple(range(10)), tuple(range(3))
BLIND = Training(SGD(0.1), None, 1_000, curve_every=100)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="digits-sigmoid",
            title="64-64-10 with a sigmoid and a softmax, all rows at once",
            network=_two_layers(
                (64, 64, 10), "sigmoid", "softmax", "categorical_crossentropy", "normal(1)"
            ),
            training=BLIND,
            data=DIGITS,
            reported="93.06% in one run. The published steps repeated with ten seeds: 92.4 to "
            "92.6% in the mean, from 89.7 to 94.7%.",
            wrong="One run is shown where ten differ by five points. The parameters are given as "
            "4,170; there are 4,810 (64 * 64 + 64 + 64 * 10 + 10).",
            instead="The same network and steps with ten seeds, all ten shown.",
            must_reach=0.915,
            must_span=0.9306,
            seeds=TEN,
        ),
        Recipe(
            name="digits-sigmoid-mse",
            title="the same with sigmoid outputs and the mean squared error",
            network=_two_layers((64, 64, 10), "sigmoid", "sigmoid", "mse", "normal(1)"),
            training=replace(BLIND, optimizer=SGD(20.0)),
            published=BLIND,
            data=DIGITS,
            reported="nothing.",
            wrong="The gradient leaves out the sigmoid's derivative, and its factor is not that "
            "of the loss.",
            instead="The gradient of the loss as it is defined, the mean over rows and outputs: "
            "2 (a - t) a (1 - a) / 10 by each logit. It is never above 0.03, where a "
            "cross-entropy's goes up to 1, so that a rate of 0.1 hardly moves anything; 20 was "
            "the best of 1, 2, 5, 10 and 20 on validation rows. Outputs that start saturated, as "
            "with normal(1) weights many do, have next to no gradient: much is left to the seed.",
            must_reach=None,
            seeds=TEN,
        ),
        Recipe(
            name="digits-sigmoid-log-loss",
            title="the same with sigmoid outputs and log loss",
            network=_two_layers((64, 64, 10), "sigmoid", "sigmoid", "log_loss", "normal(1)"),
            training=replace(BLIND, optimizer=SGD(1.0)),
            published=BLIND,
            data=DIGITS,
            reported="nothing.",
            wrong="The gradient leaves out the sigmoid's derivative, which would cancel the "
            "loss's denominator: (a - t) / (a (1 - a)) stands where a - t belongs.",
            instead="The gradient of the loss as it is defined, the mean over rows and outputs: "
            "(a - t) / 10 by each logit. A rate of 0.1 on a sum over the ten outputs is a rate of "
            "1 on their mean.",
            must_reach=None,
            seeds=TEN,
        ),
        Recipe(
            name="digits-adam",
            title="64-64-10 with relu and a softmax, Adam, stopped early",
            network=_two_layers((64, 64, 10), "relu", "softmax", "categorical_crossentropy"),
            training=Training(Adam(), 32, 300, validation=0.1, patience=20),
            data=DIGITS,
            reported="nothing; compare digits-sigmoid.",
            wrong="1,000 epochs are trained blindly, whatever becomes of rows that are not "
            "trained on.",
            instead="He's weights before relu, Adam on batches of 32, and an end when rows that "
            "are kept back for it stop improving; the test rows decide nothing.",
            must_reach=0.975,
            seeds=TEN,
        ),
        Recipe(
            name="mnist-relu-sigmoid",
            title="784-64-10 with relu and sigmoid outputs",
            network=_two_layers((784, 64, 10), "relu", "sigmoid", "log_loss"),
            training=Training(SGD(1.0), 32, 10, curve_every=1),
            published=Training(SGD(0.32), 32, 10, curve_every=1),
            data=MNIST,
            reported="The published step, repeated, gives 89 to 97% depending on the initial "
            "weights.",
            wrong="Its step, output - onehot summed over the batch, at a rate of 0.001, is that of "
            "log loss summed over outputs, not of the categorical cross-entropy.",
            instead="The loss is called log_loss, which it is. fastnet's is the mean over rows and "
            "outputs, so that their 0.001 on a sum over 32 rows and 10 outputs is 0.001 * 32 * 10 "
            "= 0.32; the rate here is 1, from he_uniform and glorot_uniform weights.",
            must_reach=0.974,
            seeds=THREE,
        ),
        Recipe(
            name="mnist-relu-softmax",
            title="784-128-10 with relu and a softmax",
            network=_two_layers((784, 128, 10), "relu", "softmax", "categorical_crossentropy"),
            training=Training(SGD(0.1), 16, 10, curve_every=1),
            data=MNIST,
            reported="nothing that fixes batch and rate; they are chosen here.",
            wrong="Among the tutorials, one softmax overflows, because the largest logit is not "
            "taken off first, and one cross-entropy averages over classes too.",
            instead="The loss is computed from logits less the largest, and is a sum over classes "
            "and a mean over rows.",
            must_reach=0.978,
            seeds=THREE,
        ),
        Recipe(
            name="kaggle-16",
            title="784-16-10 with relu and a softmax on 42,000 rows at once",
            network=_two_layers(
                (784, 16, 10),
                "relu",
                "softmax",
                "categorical_crossentropy",
                "uniform(-0.5, 0.5)",
            ),
            training=Training(SGD(0.2), None, 350, curve_every=10),
            data=KAGGLE,
            reported="The published steps, repeated, give 88.1 to 88.7%.",
            wrong="Among the tutorials, one sums bias gradients over everything (np.sum without "
            "an axis), so that all biases of a layer move together, and one is tested on rows "
            "[1:5000], which leaves out the first image.",
            instead="A gradient for each bias; every one of 10,000 rows that were never trained "
            "on is tested, every 10 steps.",
            must_reach=0.87,
            seeds=THREE,
        ),
    )
}


def names() -> list[str]:
    """Return the names of all recipes."""
    return list(RECIPES)


def get(name: str) -> Recipe:
    """Return the recipe of a name.

    Raises
    ------
    TypeError
        If the name is no string.
    ValueError
        If there is none of that name; the message has the nearest one.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"recipe is {name!r} ({type(name).__name__}); expected one of {', '.join(names())}"
        )
    if name not in RECIPES:
        raise ValueError(
            f"recipe is {name!r}, which is not known{naming.suggestion(name, names())} "
            f"Expected one of: {', '.join(names())}"
        )
    return RECIPES[name]
