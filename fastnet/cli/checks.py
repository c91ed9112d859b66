"""``fastnet gradcheck`` and ``fastnet parity``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from fastnet.cli import options, screen
from fastnet.cli.app import app, guarded
from fastnet.exits import FAILED

if TYPE_CHECKING:
    from fastnet.checking import GradientCheck
    from fastnet.comparing import Parity
    from fastnet.network import Network


@app.command(epilog="Example: fastnet gradcheck --activation tanh --output sigmoid --loss log_loss")
@guarded
def gradcheck(
    hidden: options.HiddenOption = "16",
    activation: options.ActivationOption = "tanh",
    output: options.OutputOption = "softmax",
    loss: options.FixedLossOption = "categorical_crossentropy",
    rows: options.RowsOption = 5,
    backend: options.BackendOption = "auto",
    seed: options.SeedOption = 0,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Compare the hand-derived gradients with central differences on a few digits."""
    from fastnet.checking import gradcheck as check

    network, X, y = _on_digits(hidden, activation, output, loss, rows, backend, "float64", seed)
    result = check(network, X, y)
    lines = [
        (
            row.block,
            str(row.shape),
            f"{row.checked:,}",
            f"{row.error:.2e}",
            f"{row.floor:.2e}",
            row.outcome(result.tolerance),
        )
        for row in result.rows
    ]
    headings = ("block", "shape", "checked", "error", "floor", "outcome")
    title = None if quiet else f"Gradient check of {network}"
    _show_check(result, title, headings, lines, json)


@app.command(epilog="Example: fastnet parity --hidden 128,64 --dtype float64")
@guarded
def parity(
    hidden: options.HiddenOption = "64",
    activation: options.ActivationOption = "relu",
    output: options.OutputOption = "softmax",
    loss: options.FixedLossOption = "categorical_crossentropy",
    rows: options.RowsOption = 200,
    dtype: options.DtypeOption = "float32",
    seed: options.SeedOption = 0,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Compare every backend that can run here with a float64 oracle, on a few digits."""
    from fastnet.comparing import parity as compare

    network, X, y = _on_digits(hidden, activation, output, loss, rows, "numpy", dtype, seed)
    result = compare(network, X, y)
    lines = [(r.backend, r.quantity, f"{r.error:.2e}", f"{r.allowed:.2e}") for r in result.rows]
    headings = ("backend", "quantity", "error", "allowed")
    title = None if quiet else f"Parity of {network}"
    _show_check(result, title, headings, lines, json)


def _show_check(
    result: GradientCheck | Parity,
    title: str | None,
    headings: tuple[str, ...],
    lines: Sequence[tuple[str, ...]],
    json: bool,
) -> None:
    """Print a check as a table with its verdict, or as JSON; exit with FAILED if not passed."""
    if json:
        screen.print_json(result.to_dict())
    else:
        if title is not None:
            numbers = {*headings} - {"block", "backend", "quantity", "outcome"}
            screen.show_table(title, headings, lines, right=numbers)
        screen.say(result.verdict)
    if not result.passed:
        raise typer.Exit(FAILED)


def _on_digits(
    hidden: str,
    activation: str,
    output: str,
    loss: str,
    rows: int,
    backend: str,
    dtype: str,
    seed: int,
) -> tuple[Network, Any, Any]:
    """Return a network for the digits and some of their rows."""
    from fastnet import checks
    from fastnet.data.digits import digits
    from fastnet.layers import Dense
    from fastnet.network import Network

    data = digits()
    rows = checks.whole_number(rows, "rows", at_least=1, at_most=len(data.X_train))
    widths = [data.X_train.shape[1], *options.sizes(hidden)]
    layers = [Dense(i, o, activation) for i, o in itertools.pairwise(widths)]
    network = Network(
        [*layers, Dense(widths[-1], 10, output)],
        loss=loss,
        backend=backend,
        dtype=dtype,
        seed=seed,
        input_scale=data.input_scale,
        task="classification",
    )
    return network, data.X_train[:rows], data.y_train[:rows]
