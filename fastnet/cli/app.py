"""The application: what all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastnet.cli import configuration, options, screen, wording
from fastnet.errors import BackendUnavailableError, TrainingInterrupted
from fastnet.exits import FAILED, INTERRUPTED, MISUSED, NO_BACKEND, TERMINATED, with_exit_codes
from fastnet.interrupts import Terminated

CONTEXT = {"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "FASTNET"}

app = typer.Typer(
    name="fastnet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
    rich_markup_mode=None if screen.is_plain() else "rich",
)


def _meaning(error: BaseException) -> tuple[int, object] | None:
    """Return the exit code and message of an error that is no defect."""
    match error:
        case TrainingInterrupted():
            from fastnet.progress import describe

            last = {name: values[-1] for name, values in error.history.items()}
            figures = f" with {describe(last)}" if last else ""
            kept = f" after {error.network.epoch} finished epoch(s){figures}"
            if error.checkpoint is not None:
                kept += f"; --resume goes on from {error.checkpoint}"
            code, what = _ended(error.__context__)
            return code, what + kept
        case KeyboardInterrupt():
            code, what = _ended(error)
            return code, _with_notes(error, what)
        case BackendUnavailableError():
            return NO_BACKEND, error
        case ImportError() if type(error) is ImportError:  # a package of an extra, said by us
            return FAILED, error
        case ArithmeticError():  # a divergence, or kinks that cannot be avoided
            return FAILED, error
        case MemoryError():
            what = f"memory ran out: {error}" if str(error) else "memory ran out"
            return FAILED, f"{_with_notes(error, what)}; make room, and try again"
        case OSError():
            return FAILED, _with_notes(error, f"{type(error).__name__}: {error}")
        case ValueError() | TypeError():
            return MISUSED, error
    return None


def _ended(error: BaseException | None) -> tuple[int, str]:
    is_terminated = isinstance(error, Terminated)
    return (TERMINATED, "terminated") if is_terminated else (INTERRUPTED, "interrupted")


def _with_notes(error: BaseException, text: str) -> str:
    """Return what an error says together with what was added to it and outlasts the command."""
    from fastnet.fitting import IN_MEMORY

    notes = [one for one in getattr(error, "__notes__", []) if not one.startswith(IN_MEMORY)]
    return "; ".join([text, *notes])


guarded = with_exit_codes("fastnet", _meaning, wording.with_options)


def _version(wanted: bool) -> None:
    if wanted:
        from fastnet.version import __version__

        print(f"fastnet {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Every option may also come from a variable, as FASTNET_TRAIN_EPOCHS=20, or from the "
    "file that --config names; the command line counts before variables, variables before the file."
)
@guarded
def fastnet(
    context: typer.Context,
    config: Annotated[
        Path | None,
        options.Option(
            help="A TOML file with a table for each command, such as [train] with epochs = 20.",
            show_default="none",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001
        bool,
        options.Option(
            "--version",
            callback=_version,
            is_eager=True,
            allow_from_autoenv=False,  # FASTNET_VERSION says what someone has installed
            help="Print the version.",
        ),
    ] = False,
) -> None:
    """Train neural networks whose gradients are derived by hand."""
    if config is not None:
        context.default_map = configuration.read(config, context)
