"""``fastnet train``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from fastnet import interrupts
from fastnet.cli import options, screen
from fastnet.cli.app import app, guarded
from fastnet.exits import let_go

if TYPE_CHECKING:
    from fastnet.checkpoints import Checkpoints
    from fastnet.network import Network
    from fastnet.training import Prepared, TrainResult

# Features up to here need no scaling.
SMALL = 20
# Of the drawings at the end.
CURVE_WIDTH, CURVE_HEIGHT = 60, 8
WIDEST_DIGIT = 32  # pixels; each takes two columns


@app.command(
    epilog="Examples: fastnet train mnist --hidden 128 --epochs 10\n\n"
    "fastnet train train.csv --label digit --save digits.safetensors"
)
@guarded
def train(
    data: options.TrainingData = "digits",
    label: options.LabelOption = None,
    one_hot: options.OneHotOption = "",
    header: options.HeaderOption = None,
    data_dir: options.DataDirOption = None,
    hidden: options.HiddenOption = "128",
    activation: options.ActivationOption = "relu",
    loss: options.LossOption = None,
    input_scale: options.ScaleOption = None,
    preparation: options.PreparationOption = None,
    target_preparation: options.TargetPreparationOption = None,
    task: options.TaskOption = "auto",
    optimizer: options.OptimizerOption = "adam",
    learning_rate: Annotated[
        float | None,
        options.Option(help="The size of steps.", show_default="the optimizer's own"),
    ] = None,
    batch_size: Annotated[str, options.Option(help="Rows per step, or 'all'.")] = "32",
    epochs: Annotated[int, options.Option(help="Passes over the training rows.")] = 30,
    validation: Annotated[
        float, options.Option(help="Share of the training rows to validate on; 0 for none.")
    ] = 0.1,
    patience: Annotated[
        int | None,
        options.Option(
            help="End after so many epochs without a smaller validation loss, and take the "
            "parameters of the smallest.",
            show_default="train all epochs",
        ),
    ] = None,
    backend: options.BackendOption = "auto",
    dtype: options.DtypeOption = "float32",
    threads: options.ThreadsOption = None,
    seed: options.SeedOption = 0,
    save: Annotated[
        Path | None,
        options.Option(help="Write the trained network into this file.", show_default="none"),
    ] = None,
    force: options.ForceOption = False,
    checkpoint: Annotated[
        Path | None,
        options.Option(
            help="Write checkpoints into this folder, to go on from.", show_default="none"
        ),
    ] = None,
    checkpoint_epochs: Annotated[int, options.Option(help="Write one after so many epochs.")] = 1,
    checkpoint_minutes: Annotated[
        float | None,
        options.Option(
            help="Write one after so many minutes, also within an epoch.", show_default="none"
        ),
    ] = None,
    keep: Annotated[int, options.Option(help="How many of the newest checkpoints remain.")] = 3,
    resume: Annotated[
        bool, options.Option("--resume", help="Go on from the newest checkpoint, if there is one.")
    ] = False,
    plot: Annotated[
        Path | None,
        options.Option(help="Write pictures into this folder.", show_default="none"),
    ] = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Train a network and test it on rows that it has never seen."""
    from fastnet import checkpoints, checks, training
    from fastnet.callbacks import EarlyStopping
    from fastnet.data import loading
    from fastnet.fitting import Settings

    settings: dict[str, Any] = {
        "optimizer": training.resolve_optimizer(optimizer, learning_rate),
        "batch_size": options.batch_size(batch_size),
        "epochs": epochs,
        "progress": False if quiet else None,
        "callbacks": [] if patience is None else [EarlyStopping(patience)],
    }
    Settings.checked(**settings)  # before anything is shown
    if validation != 0:
        checks.real_number(validation, "validation (0 for none)", above=0, below=1)
    elif patience is not None:
        raise ValueError("--patience watches validation rows, and --validation is 0; give a share")
    if resume and checkpoint is None:
        raise ValueError("--resume needs --checkpoint, the folder in which to look")
    if checkpoint is None and (checkpoint_epochs != 1 or checkpoint_minutes or keep != 3):
        raise ValueError(
            "--checkpoint-epochs, --checkpoint-minutes and --keep need --checkpoint, a folder"
        )
    where = newest = None
    if checkpoint is not None:
        # By the names that these have here.
        checks.whole_number(checkpoint_epochs, "--checkpoint-epochs", at_least=1)
        if checkpoint_minutes is not None:
            checks.real_number(checkpoint_minutes, "--checkpoint-minutes", above=0)
        where = checkpoints.Checkpoints(checkpoint, checkpoint_epochs, checkpoint_minutes, keep)
        newest = checkpoints.chosen(where, "auto" if resume else None)
    if plot is not None:
        from fastnet import plots

        plots.check_folder(plot)  # and matplotlib: before an hour of training, not after it
    if save is not None:
        # Whoever goes on has saved before what the training had come to.
        save = options.output_file(save, "--save", force=force or resume)
    with _naming_the_newest(where):
        prepared = training.prepare(
            loading.load_data(
                data,
                label=options.column(label),
                one_hot=options.columns(one_hot),
                header=header,
                data_dir=data_dir,
            ),
            None,
            hidden=options.sizes(hidden),
            activation=activation,
            loss=loss,
            sample_weight=None,
            backend=backend,
            dtype=dtype,
            threads=threads,
            seed=seed,
            task=task,
            input_scale=options.scale(input_scale),
            preparation=preparation,
            target_preparation=target_preparation,
        )
        if not (json or quiet):
            _show_network(prepared.network, data)
        if not quiet:
            _hint_at_scale(prepared)
        if resume and not quiet:
            _say_where(newest)
        try:
            result = training.run(
                prepared,
                **settings,
                validation=validation or None,
                checkpoint=where,
                resume="auto" if resume else None,
            )
        except (Exception, KeyboardInterrupt) as error:
            _save_what_is_finished(prepared.network, save, error)
            raise
        failed = None
        if save is not None:
            try:
                _save(result.network, save)
            except OSError as error:  # what has been found out is told all the same
                failed = error
        if json:
            screen.print_json(result.to_dict())
        else:
            _show_result(result, quiet=quiet)
            if not (quiet or plot or screen.is_plain()):
                _draw(result, prepared)
        if failed is not None:
            raise failed
        if save is not None and not quiet:
            screen.note(f"saved {save}")
        if plot is not None:
            for path in plots.save_all(result, plot, prepared.X_test, prepared.y_test):
                screen.note(f"wrote {path}")


def _say_where(newest: Path | None) -> None:
    if newest is None:
        screen.note("there is no checkpoint yet: the training begins")
    else:
        screen.note(f"going on from {newest}")


@contextlib.contextmanager
def _naming_the_newest(where: Checkpoints | None) -> Iterator[None]:
    """Have what ends the command say from which checkpoint to go on, unless it does already."""
    from fastnet.checkpoints import found_in

    try:
        yield
    except (MemoryError, OSError, KeyboardInterrupt) as error:
        found = [] if where is None else found_in(where.path)
        said = [str(error), *getattr(error, "__notes__", [])]
        if found and not any(str(found[-1]) in one for one in said):
            error.add_note(f"--resume goes on from {found[-1]}")
        raise


def _save(network: Network, path: Path) -> None:
    """Save what a training has come to; one signal waits until that is done."""
    with interrupts.deferred() as interrupt:
        try:
            network.save(path)
        except OSError as error:
            _save_elsewhere(network, path, error)
            raise
    if interrupt.requested:
        screen.note(f"saved {path}")
        raise interrupt.error()


def _save_elsewhere(network: Network, path: Path, error: OSError) -> None:
    """Keep a network for which there was no place, and have the error say where."""
    import tempfile

    with contextlib.suppress(OSError), contextlib.ExitStack() as undoing:
        folder = Path(tempfile.mkdtemp(prefix="fastnet-"))
        undoing.callback(folder.rmdir)
        network.save(folder / path.name)
        undoing.pop_all()
        error.add_note(f"the network is in {folder / path.name} instead")


def _save_what_is_finished(network: Network, path: Path | None, ended: BaseException) -> None:
    """Save what a training that has failed leaves; what ended it is told, whatever happens here."""
    if path is None or not network.epoch:
        return
    if isinstance(ended, MemoryError):
        let_go(ended)
    try:
        with interrupts.deferred():  # the command ends anyway
            network.save(path)
    except (OSError, ValueError, MemoryError) as error:
        if isinstance(error, OSError):
            _save_elsewhere(network, path, error)
        said = "; ".join([str(error) or "memory ran out", *getattr(error, "__notes__", [])])
        screen.note(f"what was finished cannot be saved: {said}")
    else:
        screen.note(f"saved what was finished in {path}")


def _hint_at_scale(prepared: Prepared) -> None:
    """Say so if numbers are used as they are that networks hardly learn from: nobody asked."""
    network, X, y = prepared.network, prepared.X_train, prepared.y_train
    if X.dtype == np.uint8 and network.input_scale == 1 and network.preparation is None:
        most = int(X.max())
        if most > SMALL:
            screen.note(
                f"features go up to {most} and are used as they are; networks learn better from 0 "
                f"to 1: --input-scale 1/{most}, or --preparation min_max"
            )
    if network.task_in_use == "regression" and network.target_preparation is None:
        largest = float(np.abs(y).max())
        if largest > SMALL:
            screen.note(
                f"quantities go up to {largest:g} and are learned as they are; networks learn "
                f"better from about -1 to 1: --target-preparation standard"
            )


def _show_network(network: Network, data: str) -> None:
    headings = ("layer", "inputs", "outputs", "activation", "first weights", "parameters")
    lines = [
        (
            number,
            f"{layer.inputs:,}",
            f"{layer.outputs:,}",
            layer.activation,
            layer.weights,
            f"{layer.parameter_count:,}",
        )
        for number, layer in enumerate(network.layers, 1)
    ]
    numbers = {*headings} - {"activation", "first weights"}
    screen.show_table(f"Network for {data}", headings, lines, right=numbers)
    prepared = "".join(
        f", {what} {one}"
        for what, one in (
            ("preparation", network.preparation),
            ("target preparation", network.target_preparation),
        )
        if one
    )
    screen.say(
        f"{network.parameter_count:,} parameters in {network.dtype.name}, loss {network.loss}"
        f"{prepared}"
    )
    screen.say(f"backend {network.backend}: {network.backend_reason}")


def _show_result(result: TrainResult, *, quiet: bool) -> None:
    screen.say(screen.scores(result.test, "test "))
    if not quiet:
        report = result.report
        screen.say(
            f"{report.epochs} epochs of {report.rows:,} rows in {report.seconds:.2f} s: "
            f"{report.samples_per_second:,.0f} samples per second"
        )


def _draw(result: TrainResult, prepared: Prepared) -> None:
    """Draw the loss and one image of the test rows with characters, where there is room."""
    from fastnet import plots
    from fastnet.plots.drawing import image_shape
    from fastnet.plots.saving import SMALLEST_IMAGE

    if result.report.epochs > 1:
        print("\ntraining loss by epoch")
        print(plots.text_curve(result.history["train_loss"], CURVE_WIDTH, CURVE_HEIGHT))
    inputs = result.network.layers[0].inputs
    try:
        shape = image_shape(None, inputs)
    except ValueError:  # no image
        return
    if result.network.classes is None or not SMALLEST_IMAGE <= inputs <= WIDEST_DIGIT**2:
        return
    found = result.network.predict(prepared.X_test[:1])[0]
    print(f"\na test image: predicted {found}, labelled {prepared.y_test[0]}")
    print(plots.text_image(prepared.X_test[0], shape, encoding=sys.stdout.encoding))
