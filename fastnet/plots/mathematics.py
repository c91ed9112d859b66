"""The mathematics as pictures: activations with their derivatives, and gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnet import checks
from fastnet.activations import ACTIVATIONS, Activation, Softmax, activation
from fastnet.callbacks import EpochEnd
from fastnet.errors import DivergenceError
from fastnet.layers import Dense
from fastnet.network import Network
from fastnet.optimizers import SGD
from fastnet.plots import drawing

# The rows of `descent`: y is about 1.5 x - 1. With them a rate above 0.29 diverges.
X = np.array([[-1.0], [0.0], [1.0], [2.0], [3.0]])
Y = np.array([-2.3, -1.2, 0.8, 1.7, 3.6])
# (w, b) where the descent begins, and what the picture shows of w and of b
START = (-0.8, 2.5)
SIGHT = ((-1.5, 4.0), (-3.5, 3.0))


def activations(specs: Sequence[str | Activation] | None = None) -> Any:
    """Draw activations with their derivatives, one panel each.

    The derivative is what the activation's own ``backward`` makes of dL/dA = 1.

    Parameters
    ----------
    specs : sequence of str or Activation, optional
        As in `Dense`, such as ``["tanh", "leaky_relu(0.2)"]``; by default all but softmax, which
        is a function of whole rows and has no curve.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an activation is not known, or has no curve.
    ImportError
        If matplotlib is not installed.
    """
    chosen = _curved(specs)
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = drawing.new_figure("activations", max(3.4 * columns, 4.5), 2.9 * rows + 0.4)
    figure.suptitle("activations f(z) and their derivatives f'(z)")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    z = np.linspace(-4, 4, 801)[None, :]
    for function, axes in zip(chosen, grid, strict=False):
        a, d = np.empty_like(z), np.ones_like(z)
        function.forward(a, z, function.alpha)
        function.backward(d, a, z, function.alpha)
        for kink in function.kinks:
            d[z == kink] = np.nan  # there is no derivative: a gap, not a steep line
        axes.axhline(0, color="0.8", linewidth=0.8)
        axes.axvline(0, color="0.8", linewidth=0.8)
        axes.plot(z[0], a[0], label="f(z)")
        axes.plot(z[0], d[0], label="f'(z)", linestyle="--")
        axes.set_title(str(function))
        axes.set_ylim(-1.6, 2.6)
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("z")
    grid[0].legend(loc="upper left")
    for axes in grid[len(chosen) :]:
        axes.set_axis_off()
    return figure


def _curved(specs: Sequence[str | Activation] | None) -> list[Activation]:
    if specs is None:
        return [cls() for cls in ACTIVATIONS.values() if cls is not Softmax]
    if isinstance(specs, str | Activation) or not isinstance(specs, Sequence) or not specs:
        raise TypeError(
            f"specs is {specs!r}; expected a list of activations, such as ['tanh', 'elu(0.5)']"
        )
    chosen = [activation(spec, "an element of specs") for spec in specs]
    if any(isinstance(function, Softmax) for function in chosen):
        raise ValueError(
            "specs holds softmax, which is a function of whole rows and has no curve; leave it out"
        )
    return chosen


def descent(learning_rates: Sequence[float] = (0.01, 0.1, 0.27, 0.3), steps: int = 25) -> Any:
    """Draw the way of gradient descent over a loss, for several learning rates side by side.

    The loss is the mean squared error of a network of one linear neuron, ``Dense(1, 1)``, on five
    fixed rows; its height lines stand over weight and bias. The points are the parameters of a
    `Network` after every step of `SGD` on all rows: a small rate creeps, a good one arrives, a
    larger one goes to and fro across the valley, and one too large leaves it.

    Parameters
    ----------
    learning_rates : sequence of float
        One panel each.
    steps : int, default 25
        How many steps are taken with each rate.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If an argument is off.
    ImportError
        If matplotlib is not installed.
    """
    if not isinstance(learning_rates, Sequence):
        raise TypeError(
            f"learning_rates is {learning_rates!r}; expected a list of rates, such as [0.01, 0.1]"
        )
    if not learning_rates:
        raise ValueError("learning_rates is empty; expected at least one, such as [0.1]")
    rates = [
        checks.real_number(rate, "an element of learning_rates", above=0) for rate in learning_rates
    ]
    steps = checks.whole_number(steps, "steps", at_least=1)
    columns = min(4, len(rates))
    rows = -(-len(rates) // columns)
    figure = drawing.new_figure("descent", max(3.2 * columns, 5), 4.3 * rows + 0.7)
    title = "gradient descent on the mean squared error", "of one neuron, a = w x + b"
    figure.suptitle((" " if columns > 2 else "\n").join(title))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    w, b = (np.linspace(low, high, 80) for low, high in SIGHT)
    heights = loss_over(w[None, :], b[:, None])
    slope, intercept = np.polyfit(X[:, 0], Y, 1)  # least squares: the lowest point, exactly
    lowest = float(loss_over(slope, intercept))
    # Each line's height above the lowest point is double that of the one inside it.
    levels = lowest + 0.1 * 2.0 ** np.arange(11)
    for rate, axes in zip(rates, grid.flat, strict=False):
        axes.contour(w, b, heights, levels=levels, norm="log", cmap="viridis", linewidths=1)
        path, ended = descend(rate, steps)
        axes.plot(*path.T, color="darkred", marker=".", linewidth=1, label="steps", zorder=3)
        axes.plot(*START, "ks", label="start", zorder=4, linestyle="")
        axes.plot(slope, intercept, "k*", markersize=12, label="lowest", zorder=4, linestyle="")
        end = "no longer finite" if ended else f"loss {float(loss_over(*path[-1])):.3g}"
        plural = "step" if len(path) == 2 else "steps"
        axes.set_title(f"learning rate {rate:g}\n{end} after {len(path) - 1} {plural}", fontsize=10)
        axes.set_xlim(*SIGHT[0])  # one sight for all; a path that diverges leaves it
        axes.set_ylim(*SIGHT[1])
        axes.set_aspect("equal")  # so that steps stand upright on the height lines
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("weight w")
    for axes in grid[:, 0]:
        axes.set_ylabel("bias b")
    for axes in grid.flat[len(rates) :]:
        axes.set_axis_off()
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, [*names[:2], f"lowest: {lowest:.3g}"], loc="outside lower center", ncols=3
    )
    return figure


def loss_over(w: Any, b: Any) -> drawing.Array:
    """Return the mean squared error of a = w x + b on the rows, over weights and biases at once."""
    a = np.multiply.outer(X[:, 0], w) + b
    squares = (a - Y.reshape(-1, *[1] * (a.ndim - 1))) ** 2
    mean: drawing.Array = squares.mean(axis=0)
    return mean


def descend(learning_rate: float, steps: int) -> tuple[drawing.Array, bool]:
    """Return (w, b) at the start and after every step, and whether a step was not finite."""
    network = Network([Dense(1, 1)], loss="mse", backend="numpy", dtype="float64")
    network.parameters = np.array(START)
    path = [network.parameters]

    def note(event: EpochEnd) -> None:
        path.append(event.network.parameters)

    optimizer = SGD(learning_rate)
    try:
        # One batch of all rows: an epoch is a step.
        network.fit(
            X,
            Y,
            optimizer=optimizer,
            batch_size=None,
            epochs=steps,
            callbacks=[note],
            progress=False,
        )
    except DivergenceError:
        return np.array(path), True
    return np.array(path), False
