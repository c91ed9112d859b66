"""``fastnet.train``: from data to a trained and tested network in one call."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from fastnet import activations, checks, losses, optimizers
from fastnet.callbacks import Callback
from fastnet.checkpoints import Checkpoints
from fastnet.data import arrays, columns, loading, placement, splits, targets
from fastnet.data.dataset import Dataset
from fastnet.data.preparation import KINDS, Preparation
from fastnet.execution import registry
from fastnet.history import History
from fastnet.layers import MOST_UNITS, Dense
from fastnet.losses import Loss
from fastnet.network import Network
from fastnet.optimizers import Optimizer
from fastnet.randomness import Provider, provider

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Report:
    """How a training ran.

    ``report["backend"]`` reads the same as ``report.backend``.

    Attributes
    ----------
    backend, reason : str
        Which backend ran, and why that one.
    device : str
        What it ran on.
    threads : int
        How many threads the backend used.
    dtype, precision : str
        The numbers' type, and the arithmetic where it differs from it.
    parameters : int
        How many numbers were trained.
    rows, epochs : int
        Training rows, and epochs that were finished.
    seconds : float
        Wall time of the training steps, validation and start-up not included.
    samples_per_second : float
        rows * epochs / seconds.
    """

    backend: str
    reason: str
    device: str
    threads: int
    dtype: str
    precision: str
    parameters: int
    rows: int
    epochs: int
    seconds: float
    samples_per_second: float

    def __getitem__(self, key: str) -> Any:
        fields = self.to_dict()
        if key not in fields:
            raise KeyError(f"{key!r} is not in this report; it has {', '.join(fields)}")
        return fields[key]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class TrainResult:
    """What `train` returns.

    Attributes
    ----------
    network : Network
        The trained network.
    history : History
        Its figures, epoch by epoch.
    report : Report
        Which backend ran and why, how fast.
    test : dict
        ``loss`` with ``accuracy`` or ``r2``, measured once at the end on rows kept back, each
        counting the same, whatever ``sample_weight`` said of the others.
    """

    network: Network
    history: History
    report: Report
    test: dict[str, float]

    @property
    def test_accuracy(self) -> float | None:
        """The share of test rows that were right; None for regression."""
        return self.test.get("accuracy")

    @property
    def test_r2(self) -> float | None:
        """R2 on the test rows; None for classification."""
        return self.test.get("r2")

    def to_dict(self) -> dict[str, Any]:
        """Return test figures, last training loss and report, as the command's ``--json`` does."""
        return {
            **{f"test_{name}": value for name, value in self.test.items()},
            "train_loss": self.history["train_loss"][-1],
            **self.report.to_dict(),
        }


def train(
    data: Any = "digits",
    y: Any = None,
    *,
    hidden: Sequence[int] | int = (128,),
    activation: str | activations.Activation = "relu",
    loss: str | Loss | None = None,
    optimizer: str | Optimizer = "adam",
    learning_rate: float | None = None,
    batch_size: int | None = 32,
    epochs: int = 30,
    validation: float | tuple[Any, Any] | None = 0.1,
    shuffle: bool = True,
    sample_weight: Any = None,
    backend: str = "auto",
    dtype: Any = "float32",
    seed: int | Provider = 0,
    threads: int | None = None,
    precision: str | None = None,
    input_scale: float | None = None,
    preparation: str | Preparation | None = None,
    target_preparation: str | Preparation | None = None,
    task: str = "auto",
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoints | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> TrainResult:
    """Make a network for the data, train it, and test it on rows that were kept back.

    Parameters
    ----------
    data : str, path, Dataset or array_like, default "digits"
        A data set by its name or file, see `load_data`, or X (rows, features). Where there are no
        test rows, a fifth of the rows is kept back for the test, stratified by class.
    y : array_like, optional
        Labels or quantities, if ``data`` is X.
    hidden : int or sequence of int, default (128,)
        Units of the hidden layers; () for none.
    activation : str or Activation, default "relu"
        Of the hidden layers.
    loss : str or Loss, optional
        By default ``categorical_crossentropy`` with softmax outputs for classes, ``log_loss``
        with sigmoid outputs for multilabel targets, and ``mse`` with linear outputs for
        quantities. Classes with another loss get sigmoid outputs, and two classes a single one.
    optimizer : str or Optimizer, default "adam"
    learning_rate : float, optional
        By default the optimizer's own.
    batch_size, epochs, validation, shuffle, sample_weight, callbacks, progress, checkpoint, resume
        As in `Network.fit`; ``validation`` is taken from the rows that are left to train on.
    backend, dtype, seed, threads, precision, preparation, target_preparation, task
        As in `Network`.
    input_scale : float, optional
        By default what the data set says (digits: 1/16), and 1 for your own rows and with a
        preparation.

    Returns
    -------
    TrainResult

    Raises
    ------
    TypeError, ValueError
        If an argument is off; each message says what was expected.
    BackendUnavailableError
        If a backend is named that cannot run here.
    DivergenceError, TrainingInterrupted
        See `Network.fit`; the interrupt carries the network.

    Examples
    --------
    >>> run = fastnet.train(hidden=(64,), epochs=20)
    >>> run.test_accuracy
    """
    prepared = prepare(
        data,
        y,
        hidden=hidden,
        activation=activation,
        loss=loss,
        sample_weight=sample_weight,
        backend=backend,
        dtype=dtype,
        seed=seed,
        threads=threads,
        precision=precision,
        input_scale=input_scale,
        preparation=preparation,
        target_preparation=target_preparation,
        task=task,
    )
    return run(
        prepared,
        optimizer=resolve_optimizer(optimizer, learning_rate),
        batch_size=batch_size,
        epochs=epochs,
        validation=validation,
        shuffle=shuffle,
        callbacks=callbacks,
        progress=progress,
        checkpoint=checkpoint,
        resume=resume,
    )


class Prepared(NamedTuple):
    """A network that is not trained yet, and its rows."""

    network: Network
    X_train: Array
    y_train: Array
    X_test: Array
    y_test: Array
    weights: Array | None
    codec: targets.Codec


def prepare(
    data: Any,
    y: Any,
    *,
    hidden: Sequence[int] | int,
    activation: str | activations.Activation,
    loss: str | Loss | None,
    sample_weight: Any,
    seed: int | Provider,
    task: str,
    input_scale: float | None,
    preparation: str | Preparation | None = None,
    **of_network: Any,
) -> Prepared:
    """Split the rows and make the network for them; the first half of `train`."""
    of_seed = provider(seed)
    known = _dataset(data, y)
    if known is not None:
        X, targets_ = known.X_train, known.y_train
        layout = known.layout
        if input_scale is None and preparation is None:
            input_scale = known.input_scale
    else:
        if y is None:
            raise TypeError(
                "y is missing: expected train(X, y) with one target per row, or a data set by "
                "its name or file, as in train('digits')"
            )
        X, targets_ = _matrix(data), _on_host(y, of_network["backend"])
        layout = columns.layout_of(data)
    survey = targets.survey(targets_, len(X), task)
    if survey.kind == "labels" and survey.outputs > max(10, len(X) // 2):
        raise ValueError(
            f"y has {survey.outputs} classes in {len(X)} rows, too few of each to learn from and "
            f"to test on; if y holds quantities, pass task='regression'"
        )
    layers, chosen, decided = _layers(X.shape[1], survey, hidden, activation, loss)
    _check_target_preparation(of_network.get("target_preparation"), survey)
    network = Network(
        layers,
        loss=chosen,
        seed=of_seed,
        task=decided,
        input_scale=1.0 if input_scale is None else input_scale,
        preparation=preparation,
        **of_network,
    )
    network.layout = layout
    # All rows are checked here, those kept back for the test as well.
    rows, codec = network.rows(X, targets_, sample_weight, codec=None, training=True, raw=True)
    X, y, weights, take = rows.features, survey.targets, rows.weights, network.executor.take
    if known is not None and known.X_test is not None and known.y_test is not None:
        return Prepared(network, X, y, known.X_test, known.y_test, weights, codec)
    kept, held_back = splits.stratified_split(survey.strata, splits.TEST_FRACTION, network.seed)
    kept_weights = None if weights is None else weights[kept]
    return Prepared(
        network, take(X, kept), y[kept], take(X, held_back), y[held_back], kept_weights, codec
    )


def _check_target_preparation(spec: str | Preparation | None, survey: targets.Survey) -> None:
    """Raise ValueError if classes are to be prepared; `Network` does not know what was found out.

    What is no preparation is left to it.
    """
    kind = spec if isinstance(spec, str) else getattr(spec, "kind", None)
    if kind in KINDS and survey.kind != "values":
        raise ValueError(
            f"target_preparation is {kind!r} and the targets are classes; expected quantities: "
            f"leave it out, or pass task='regression' if these are some"
        )


def _dataset(data: Any, y: Any) -> Dataset | None:
    """Return the data set that is meant, or None for arrays."""
    if not isinstance(data, Dataset | str | os.PathLike):
        return None
    if y is not None:
        raise ValueError(
            f"y was given together with the data set "
            f"{data.name if isinstance(data, Dataset) else data!r}, which has its own targets; "
            f"leave y out, or pass X and y"
        )
    return data if isinstance(data, Dataset) else loading.load_data(data)


def _matrix(X: Any) -> Any:
    """Return rows that are checked; those on a GPU are the network's to check."""
    if not placement.is_on_gpu(X):
        return arrays.matrix(X)
    arrays.check_shape(tuple(X.shape), inputs=None, name="X")
    return X


def _on_host(y: Any, backend: str | None) -> Any:
    """Return targets on the host, from which the network's outputs are decided."""
    if not placement.is_on_gpu(y):
        return y
    return registry.executor_class(registry.choose(backend)[0]).fetch(y, "y")


def run(prepared: Prepared, **of_fit: Any) -> TrainResult:
    """Train and test a prepared network; the second half of `train`."""
    network, X_train, y_train, X_test, y_test, weights, codec = prepared
    network.know(codec)  # what all rows say of the targets, not only those to train on
    history = network.fit(X_train, y_train, sample_weight=weights, **of_fit)
    epochs, seconds = len(history.seconds), sum(history.seconds)
    report = Report(
        backend=network.backend,
        reason=network.backend_reason,
        device=network.executor.device,
        threads=network.executor.threads,
        dtype=network.dtype.name,
        precision=network.precision or network.dtype.name,
        parameters=network.parameter_count,
        rows=history.rows,
        epochs=epochs,
        seconds=seconds,
        samples_per_second=history.rows * epochs / seconds,
    )
    return TrainResult(network, history, report, network.evaluate(X_test, y_test))


def resolve_optimizer(spec: str | Optimizer, learning_rate: float | None) -> Optimizer:
    """Return the optimizer, with the learning rate put in where one is given."""
    settings = optimizers.optimizer(spec)
    has_rate = isinstance(spec, Optimizer) or "(" in str(spec)
    if learning_rate is None:
        return settings
    rate = checks.real_number(learning_rate, "learning_rate", above=0)
    if has_rate and rate != settings.learning_rate:
        raise ValueError(
            f"learning_rate is {rate:g} and optimizer is {settings}, which has a rate of its own; "
            f"give one of them"
        )
    return settings.with_learning_rate(rate)


def _layers(
    inputs: int,
    survey: targets.Survey,
    hidden: Sequence[int] | int,
    activation: str | activations.Activation,
    loss: str | Loss | None,
) -> tuple[list[Dense], Loss, str]:
    """Return layers, loss and task for features and targets of this kind."""
    default_loss, output = {
        "labels": ("categorical_crossentropy", "softmax"),
        "multilabel": ("log_loss", "sigmoid"),
        "values": ("mse", "linear"),
    }[survey.kind]
    chosen = losses.loss(default_loss if loss is None else loss)
    outputs = survey.outputs
    if survey.kind == "labels" and chosen.name != "categorical_crossentropy":
        output = "sigmoid"
        outputs = 1 if outputs == 2 and survey.targets.ndim == 1 else outputs
    if survey.kind == "values" and not chosen.elementwise:
        output = "sigmoid"
    if isinstance(hidden, int | np.integer):
        hidden = (hidden,)
    if not isinstance(hidden, list | tuple):
        raise TypeError(
            f"hidden is {hidden!r} ({type(hidden).__name__}); expected the sizes of the hidden "
            f"layers, such as (128, 64)"
        )
    sizes = [inputs]
    for units in hidden:
        sizes.append(checks.whole_number(units, "hidden", at_least=1, at_most=MOST_UNITS))
    layers = [Dense(i, o, activation) for i, o in itertools.pairwise(sizes)]
    decided = "regression" if survey.kind == "values" else "classification"
    return [*layers, Dense(sizes[-1], outputs, output)], chosen, decided
