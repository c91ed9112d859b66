"""The pictures: what is drawn in them, what is refused, and what lands in a folder."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import fastnet
from fastnet import Dense, Network, plots
from fastnet.activations import ACTIVATIONS, activation
from fastnet.plots import mathematics, saving

DATA = fastnet.load_data("digits")
assert DATA.X_test is not None
assert DATA.y_test is not None
X, Y = DATA.X_test, DATA.y_test


@pytest.fixture(scope="module")
def run() -> fastnet.TrainResult:
    """Return a training that is good, and not too good to have errors to show."""
    return fastnet.train(DATA, hidden=(12,), epochs=10, backend="numpy", progress=False)


@pytest.fixture(scope="module")
def network(run: fastnet.TrainResult) -> Network:
    return run.network


def classifier(inputs: int, outputs: int = 3, **options: Any) -> Network:
    layers = [Dense(inputs, outputs, "softmax")]
    return Network(layers, loss="categorical_crossentropy", backend="numpy", **options)


def identity(labels: Any) -> tuple[Network, np.ndarray]:
    """Return a network that answers the position of the 1 in a row, and rows for all labels."""
    classes = np.unique(labels)
    rows = np.eye(len(classes))
    net = classifier(len(classes), len(classes))
    net.fit(rows, classes, epochs=1, progress=False)  # to know the labels
    net.parameters = np.concatenate([9 * rows.ravel(), np.zeros(len(classes))])
    return net, rows


def regression() -> Network:
    return Network([Dense(64, 1)], loss="mse", backend="numpy")


def written(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


# -- what came out --------------------------------------------------------------------------------


def test_curves_are_those_of_the_history(run: fastnet.TrainResult) -> None:
    for given in (run, run.history):
        losses, scores = plots.curves(given).axes
        assert [line.get_label() for line in losses.lines] == ["train", "validation"]
        assert list(losses.lines[0].get_ydata()) == run.history["train_loss"]
        assert list(scores.lines[1].get_ydata()) == run.history["validation_accuracy"]


def test_predictions(network: Network) -> None:
    figure = plots.predictions(network, X, Y, rows=6, columns=7)
    said = network.predict(X[:42])
    wrong = said != Y[:42]
    assert 0 < wrong.sum() < 20  # else this shows nothing
    assert len(figure.axes) == 42
    for k, axes in enumerate(figure.axes):
        np.testing.assert_array_equal(axes.images[0].get_array(), X[k].reshape(8, 8))
        assert axes.images[0].get_clim() == (0, 16)
        title = axes.get_title()
        frame = {spine.get_linewidth() for spine in axes.spines.values()}
        if wrong[k]:
            assert title == f"✗ {said[k]}, is {Y[k]}"
            assert frame == {3}
        else:
            assert title == str(Y[k])
            assert frame != {3}
    assert figure.get_suptitle().startswith(f"{42 - wrong.sum()} of 42 right")
    assert written(figure).startswith(b"\x89PNG")


def test_predictions_of_few_images(network: Network) -> None:
    figure = plots.predictions(network, X[:7], Y[:7], columns=3)
    assert [bool(axes.images) for axes in figure.axes] == [True] * 7 + [False] * 2
    assert not any(axes.axison for axes in figure.axes[7:])
    figure = plots.predictions(network, X[:2], Y[:2])
    assert len(figure.axes) == 2


def test_predictions_of_oblong_images() -> None:
    net, pixels = classifier(12), np.arange(24.0).reshape(2, 12)
    figure = plots.predictions(net, pixels, [0, 1], shape=(3, 4))
    assert figure.axes[1].images[0].get_array().shape == (3, 4)
    with pytest.raises(ValueError, match=r"12 pixels.* no square: pass shape=\(height, width\)"):
        plots.predictions(net, pixels, [0, 1])


def test_one_hot_targets_and_a_single_output() -> None:
    net, rows = identity(["a", "b", "c"])
    figure = plots.predictions(net, rows, np.eye(3)[[0, 2, 2]], shape=(1, 3))
    assert [axes.get_title() for axes in figure.axes] == ["a", "✗ b, is c", "c"]
    single = Network([Dense(1, 1, "sigmoid")], loss="log_loss", backend="numpy")
    single.parameters = np.array([1.0, 0.0])
    points = np.array([[-1.0], [1.0], [2.0]])
    for y in ([0, 1, 0], [[0], [1], [0]]):
        cells = plots.confusion(single, points, y).axes[0]
        assert texts(cells) == ["1", "1", "0", "1"]


def test_labels_are_text_not_formulas() -> None:
    labels = ["$x$", "a$b", "a label far too long"]
    net, rows = identity(labels)
    figure = plots.predictions(net, rows, ["a$b", labels[2], "$x$"], shape=(1, 3))
    assert written(figure)
    assert figure.axes[0].get_title() == "✗ \\$x\\$,\nis a\\$b"
    assert figure.axes[1].get_title() == "a label far…"
    assert written(plots.confusion(net, rows, labels))
    assert written(plots.digit(net, rows[1], shape=(1, 3)))


def test_confusion(network: Network) -> None:
    figure = plots.confusion(network, X, Y)
    (axes,) = figure.axes
    said = network.predict(X)
    expected = np.zeros((10, 10), int)
    for true, answer in zip(Y, said, strict=True):
        expected[true, answer] += 1
    assert (expected != expected.T).any()  # else rows and columns might be exchanged
    assert [int(text) for text in texts(axes)] == expected.ravel().tolist()
    for text, (row, column) in zip(axes.texts, np.ndindex(10, 10), strict=True):
        assert text.get_position() == (column, row)
    shares = expected / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(axes.images[0].get_array() ** 2, shares)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert axes.get_title() == f"{expected.trace()} of 360 right ({expected.trace() / 360:.1%})"
    assert [label.get_text() for label in axes.get_xticklabels()] == list("0123456789")


def test_confusion_of_classes_without_rows_and_of_many() -> None:
    net, rows = identity(range(4))
    (axes,) = plots.confusion(net, rows[:2], [0, 3]).axes
    assert texts(axes) == [*"1000", *"0000", *"0000", *"0100"]
    net, rows = identity(range(50))
    (axes,) = plots.confusion(net, rows, range(50)).axes
    assert texts(axes) == []
    assert len(axes.get_xticks()) == 25
    np.testing.assert_array_equal(axes.images[0].get_array(), np.eye(50))


# -- a look inside --------------------------------------------------------------------------------


def test_first_weights(network: Network) -> None:
    figure = plots.first_weights(network)
    W = network.state_dict()["layer_1.weights"]
    images = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert len(images) == 12
    limit = np.abs(W).max()
    for unit, axes in enumerate(images):
        np.testing.assert_array_equal(axes.images[0].get_array(), W[:, unit].reshape(8, 8))
        assert axes.images[0].get_clim() == (-limit, limit)
        assert axes.get_title() == str(unit + 1)
    assert figure.get_suptitle() == "weights of the first layer, 12 units"


def test_some_weights_and_weights_of_zero() -> None:
    net = classifier(6, 5)
    net.parameters = np.zeros(net.parameter_count)
    figure = plots.first_weights(net, shape=(2, 3), units=2)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["1", "2"]
    assert figure.axes[0].images[0].get_clim() == (-1, 1)
    assert figure.get_suptitle() == "weights of the first layer, 2 of 5 units"


def test_a_digit_with_its_probabilities(network: Network) -> None:
    for x in (X[3], X[3:4], X[3].tolist()):
        image, chart = plots.digit(network, x).axes
        np.testing.assert_array_equal(image.images[0].get_array(), X[3].reshape(8, 8))
        assert texts(image) == [str(value) for value in X[3]]
        for text, (row, column) in zip(image.texts, np.ndindex(8, 8), strict=True):
            assert text.get_position() == (column, row)
        expected = network.predict_proba(X[3:4])[0]
        np.testing.assert_allclose([bar.get_width() for bar in chart.patches], expected)
        assert texts(chart) == [f"{p:.1%}" for p in expected]
        assert chart.get_title() == f"prediction: {network.predict(X[3:4])[0]}"
        hatched = [k for k, bar in enumerate(chart.patches) if bar.get_hatch()]
        assert hatched == [expected.argmax()]
        assert chart.yaxis_inverted()


def test_values_are_written_to_be_read(network: Network) -> None:
    image = plots.digit(network, X[3]).axes[0]
    for text, value in zip(image.texts, X[3], strict=True):
        paper = 1 - value / 16
        assert abs(to_rgb(text.get_color())[0] - paper) > 0.4


def test_a_digit_of_many_classes_and_of_many_pixels() -> None:
    net, rows = identity(range(36))
    net.parameters = np.concatenate([np.zeros(36 * 36), np.arange(36)])
    chart = plots.digit(net, rows[0]).axes[1]
    names = [label.get_text() for label in chart.get_yticklabels()]
    assert names == [str(k) for k in range(16, 36)]
    assert [bool(bar.get_hatch()) for bar in chart.patches] == [False] * 19 + [True]
    image, _ = plots.digit(classifier(33 * 33), np.linspace(0, 1, 33 * 33)).axes
    assert texts(image) == []
    image, _ = plots.digit(classifier(4), [0.123456, -2, 1e-9, 0.5]).axes
    assert texts(image) == ["0.12", "-2", "1e-09", "0.5"]


# -- mathematics ----------------------------------------------------------------------------------


def test_activations() -> None:
    figure = plots.activations()
    names = [axes.get_title().partition("(")[0] for axes in figure.axes]
    assert names == [name for name in ACTIVATIONS if name != "softmax"]
    for axes in figure.axes:
        function = activation(axes.get_title())
        lines = {line.get_label(): line for line in axes.lines}
        z, a = lines["f(z)"].get_data()
        derivative = lines["f'(z)"].get_ydata()
        expected = np.empty((1, len(z)))
        function.forward(expected, z[None, :], function.alpha)
        np.testing.assert_array_equal(a, expected[0])
        # By central differences of the curve itself, wherever they do not straddle a kink.
        smooth = np.abs(z[1:-1, None] - np.array([[*function.kinks, 99.0]])).min(axis=1) > 0.02
        slopes = (a[2:] - a[:-2]) / (z[2:] - z[:-2])
        np.testing.assert_allclose(derivative[1:-1][smooth], slopes[smooth], atol=1e-4)
        np.testing.assert_array_equal(np.isnan(derivative), np.isin(z, function.kinks))
    assert written(figure)


def test_chosen_activations() -> None:
    figure = plots.activations(["leaky_relu(0.5)", "tanh"])
    assert [axes.get_title() for axes in figure.axes] == ["leaky_relu(0.5)", "tanh"]
    figure = plots.activations(["tanh"] * 4)
    assert [axes.axison for axes in figure.axes] == [True] * 4 + [False] * 2


def test_descent_takes_the_steps_of_the_equations() -> None:
    figure = plots.descent([0.05, 0.2], steps=7)
    x, y = mathematics.X[:, 0], mathematics.Y
    for rate, axes in zip((0.05, 0.2), figure.axes, strict=True):
        w, b = mathematics.START
        path = [(w, b)]
        for _ in range(7):
            error = w * x + b - y
            w, b = w - rate * 2 * (error * x).mean(), b - rate * 2 * error.mean()
            path.append((w, b))
        drawn = next(line for line in axes.lines if line.get_label() == "steps")
        np.testing.assert_allclose(np.transpose(drawn.get_data()), path, rtol=1e-12)
        loss = ((w * x + b - y) ** 2).mean()
        assert axes.get_title() == f"learning rate {rate:g}\nloss {loss:.3g} after 7 steps"
        assert axes.collections  # the height lines
    assert written(figure)


def test_the_heights_are_those_of_the_network() -> None:
    net = Network([Dense(1, 1)], loss="mse", backend="numpy", dtype="float64")
    w, b = np.array([-1.0, 0.5, 3.0]), np.array([-2.0, 1.0])
    heights = mathematics.loss_over(w[None, :], b[:, None])
    for (row, column), height in np.ndenumerate(heights):
        net.parameters = np.array([w[column], b[row]])
        expected = net.evaluate(mathematics.X, mathematics.Y)["loss"]
        assert height == pytest.approx(expected, rel=1e-12)


def test_the_default_rates_show_what_their_text_says() -> None:
    ends = {}
    for rate in (0.01, 0.1, 0.27, 0.3):
        path, _ = mathematics.descend(rate, 25)
        ends[rate] = mathematics.loss_over(*path.T)
    lowest = min(losses[-1] for losses in ends.values())
    assert ends[0.01][-1] > 50 * lowest  # creeps
    assert ends[0.1][-1] < 1.5 * lowest  # arrives
    assert ends[0.27][-1] < 1.5 * lowest  # to and fro
    assert ends[0.3][-1] > ends[0.3][15] > ends[0.3][10]  # leaves


def test_a_descent_that_ends_early() -> None:
    axes = plots.descent([1e200], steps=9).axes[0]
    assert axes.get_title() == "learning rate 1e+200\nno longer finite after 1 step"


# -- files ----------------------------------------------------------------------------------------


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


ALL = ["curves.png", "predictions.png", "confusion.png", "weights.png"]


def test_all_pictures_of_a_training(run: fastnet.TrainResult, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pictures"
    paths = plots.save_all(run, folder, X[:30], Y[:30])
    assert names(paths) == ALL
    assert sorted(folder.iterdir()) == sorted(paths)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    (folder / "curves.png").write_text("old")
    assert names(plots.save_all(run, str(folder))) == ["curves.png", "weights.png"]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_suits_a_network(run: fastnet.TrainResult, tmp_path: Path) -> None:
    net, rows = identity(range(4))  # rows of 4 features are no images of 2 by 2
    assert names(plots.save_all(net, tmp_path, rows, range(4))) == ["confusion.png"]
    paths = plots.save_all(net, tmp_path, rows, range(4), shape=(2, 2), history=run.history)
    assert names(paths) == ALL
    assert names(plots.save_all(regression(), tmp_path, X[:9], Y[:9] / 2)) == ["weights.png"]
    with pytest.raises(ValueError, match=r"nothing to draw.*history=\.\.\., shape="):
        plots.save_all(net, tmp_path)


def test_a_file_appears_whole_or_not_at_all(
    run: fastnet.TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "curves.png").write_text("old")

    def fails(self: Figure, path: Path, **options: Any) -> None:
        assert path.parent == tmp_path
        path.write_text("half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(OSError, match="No space"):
        plots.save_all(run, tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("curves.png", "old")]


def test_a_file_in_the_folders_place(run: fastnet.TrainResult, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "below"):
        with pytest.raises(NotADirectoryError, match=r"folder is '.*file.*' is a file; expected"):
            plots.save_all(run, folder)
    assert file.read_text() == "mine"


def test_nothing_is_written_after_a_mistake(run: fastnet.TrainResult, tmp_path: Path) -> None:
    for wrong in ({"X": X}, {"y": Y}, {"X": X, "y": Y[:3]}, {"shape": (3, 3)}):
        with pytest.raises(ValueError, match=r"y is missing|X is missing|y has|shape is \(3, 3\)"):
            plots.save_all(run, tmp_path / "new", **wrong)
    for folder in (3, None, ""):
        with pytest.raises(TypeError, match=r"folder is .*expected the path of a folder"):
            plots.save_all(run, folder)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="trained is of type dict; expected the TrainResult"):
        plots.save_all({}, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert saving.SMALLEST_IMAGE > 16


# -- characters -----------------------------------------------------------------------------------


def test_a_curve_of_characters() -> None:
    assert plots.text_curve([0, 1, 2, 3], width=4, height=2, encoding="utf-8").split("\n") == [
        "3 |  ▃█",
        "0 |▁▆██",
        "  +----",
        "   1  4",
    ]
    assert plots.text_curve([4, 1.5], width=6, height=3, encoding="ascii").split("\n") == [
        "  4 |#.",
        "    |###.",
        "1.5 |####:.",
        "    +------",
        "     1    2",
    ]


def test_a_curve_of_more_values_than_columns() -> None:
    text = plots.text_curve(np.repeat([0.0, 4.0], 500), width=10, height=1, encoding="utf-8")
    assert text.split("\n") == ["4 |▁▁▁▁▁█████", "  +----------", "   1     1000"]


def test_curves_at_the_limits() -> None:
    for value in (0.0, 7.0, -7.0, 1e308):
        lines = plots.text_curve([value] * 3, width=3, height=3, encoding="utf-8").split("\n")
        assert [line.partition("|")[2] for line in lines[:3]] == ["", "▅▅▅", "███"]
    lines = plots.text_curve([-1.7e308, 1.7e308], 2, 2, encoding="utf-8").split("\n")
    assert [line.partition("|")[2] for line in lines[:2]] == [" █", "▁█"]
    assert plots.text_curve([3], 1, 1, encoding="utf-8").split("\n") == ["3 |▅", "  +-", "   1"]


def test_an_image_of_characters() -> None:
    image = [0, 4, 8, 12, 16, 16]
    assert plots.text_image(image, (2, 3), "utf-8") == "  ░░▒▒\n▓▓████"
    assert plots.text_image([image], (2, 3), "ascii") == "  ::++\n##@@@@"
    assert plots.text_image([5.0] * 4, encoding="ascii") == "\n"
    assert len(plots.text_image(X[0], encoding="utf-8").split("\n")) == 8


def test_the_encoding_of_stdout_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> str:
        return plots.text_image([0, 1], (1, 2)) + plots.text_curve([1, 2], 1, 1)

    for encoding, has_blocks in (("utf-8", True), ("ascii", False), ("cp1252", False)):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        assert drawn().isascii() is not has_blocks
        drawn().encode(encoding)
    monkeypatch.setattr(sys, "stdout", None)
    assert drawn().isascii()


# -- what is refused ------------------------------------------------------------------------------

NET = classifier(64, 10)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plots.curves([1]), TypeError, "history is of type list; expected the History"),
        (lambda: plots.confusion("net", X, Y), TypeError, "network is of type str; expected a Net"),
        (lambda: plots.confusion(regression(), X, Y), ValueError, "predicts quantities"),
        (lambda: plots.confusion(NET, X, Y[:5]), ValueError, "y has 5"),
        (lambda: plots.confusion(NET, X, ["a"] * 360), ValueError, "y has the label.*'a'"),
        (lambda: plots.confusion(NET, X[:, :5], Y), ValueError, "X has 5 feature"),
        (lambda: plots.predictions(NET, X, Y, rows=0), ValueError, "rows is 0"),
        (lambda: plots.predictions(NET, X, Y, columns=1.5), TypeError, "columns is 1.5"),
        (
            lambda: plots.predictions(NET, X, Y, (4, 4)),
            ValueError,
            r"shape is \(4, 4\), that is 16",
        ),
        (lambda: plots.predictions(NET, X, Y, 8), TypeError, "shape is 8; expected"),
        (lambda: plots.predictions(NET, X, Y, (8, 8, 1)), TypeError, r"shape is \(8, 8, 1\)"),
        (lambda: plots.predictions(NET, X, Y, (-8, -8)), ValueError, "the height in shape is -8"),
        (lambda: plots.predictions(NET, X, Y, (8, "8")), TypeError, "the width in shape is '8'"),
        (lambda: plots.first_weights(None), TypeError, "network is of type NoneType"),
        (lambda: plots.first_weights(NET, units=0), ValueError, "units is 0"),
        (lambda: plots.first_weights(classifier(7)), ValueError, "7 pixels"),
        (lambda: plots.digit(NET, X[:2]), ValueError, r"x has shape \(2, 64\); expected.*X\[0\]"),
        (lambda: plots.digit(NET, X[0][:9]), ValueError, "x has 9 feature"),
        (lambda: plots.digit(NET, [np.nan] * 64), ValueError, "x has 64 value.*NaN"),
        (lambda: plots.digit(regression(), X[0]), ValueError, "no probabilities"),
        (lambda: plots.activations("relu"), TypeError, "specs is 'relu'; expected a list"),
        (lambda: plots.activations([]), TypeError, r"specs is \[\]"),
        (lambda: plots.activations(["rulo"]), ValueError, "an element of specs is 'rulo'"),
        (lambda: plots.activations(["softmax"]), ValueError, "specs holds softmax"),
        (lambda: plots.descent(0.1), TypeError, "learning_rates is 0.1; expected a list"),
        (lambda: plots.descent([]), ValueError, "learning_rates is empty"),
        (lambda: plots.descent([0.1, -1]), ValueError, "an element of learning_rates is -1"),
        (lambda: plots.descent(steps=0), ValueError, "steps is 0"),
        (lambda: plots.text_curve([]), ValueError, r"values has shape \(0,\)"),
        (lambda: plots.text_curve([[1]]), ValueError, r"values has shape \(1, 1\)"),
        (lambda: plots.text_curve([1, np.inf]), ValueError, "values has 1 value.*infinite"),
        (lambda: plots.text_curve(["a"]), TypeError, "values has dtype"),
        (lambda: plots.text_curve([1], width=0), ValueError, "width is 0"),
        (lambda: plots.text_curve([1], height=0), ValueError, "height is 0"),
        (lambda: plots.text_curve([1], encoding="utf-99"), ValueError, "encoding is 'utf-99'"),
        (lambda: plots.text_image([1], encoding=8), TypeError, "encoding is 8"),
        (lambda: plots.text_image([1, 2]), ValueError, "2 pixels.*pass shape="),
        (lambda: plots.text_image([[1], [2]]), ValueError, r"row has shape \(2, 1\)"),
        (lambda: plots.text_image([np.nan]), ValueError, "row has 1 value"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_a_result_where_a_network_belongs(run: fastnet.TrainResult) -> None:
    with pytest.raises(TypeError, match=r"TrainResult; expected a Network: pass result\.network"):
        plots.confusion(run, X, Y)


def test_several_labels_at_once() -> None:
    net = Network([Dense(64, 3, "sigmoid")], loss="log_loss", backend="numpy")
    net.fit(X[:6], np.tile([[1, 1, 0], [0, 1, 0]], (3, 1)), epochs=1, progress=False)
    with pytest.raises(ValueError, match="network predicts several labels at once"):
        plots.confusion(net, X[:2], [[1, 1, 0], [0, 1, 0]])
    untrained = Network(net.layers, loss="log_loss", backend="numpy")
    with pytest.raises(ValueError, match="y has several labels at once in row 1"):
        plots.confusion(untrained, X[:2], [[0, 1, 0], [1, 1, 0]])
    _, chart = plots.digit(net, X[0]).axes
    assert [name.get_text() for name in chart.get_yticklabels()] == [
        "label 1",
        "label 2",
        "label 3",
    ]
    assert not any(bar.get_hatch() for bar in chart.patches)


# -- matplotlib -----------------------------------------------------------------------------------


def test_without_matplotlib(
    run: fastnet.TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    net = run.network
    for picture, call in {
        "curves": lambda: plots.curves(run),
        "predictions": lambda: plots.predictions(net, X, Y),
        "confusion": lambda: plots.confusion(net, X, Y),
        "first_weights": lambda: plots.first_weights(net),
        "digit": lambda: plots.digit(net, X[0]),
        "activations": plots.activations,
        "descent": plots.descent,
    }.items():
        with pytest.raises(ImportError, match=rf"plots\.{picture} needs matplotlib") as caught:
            call()
        assert "python -m pip install 'fastnet-nn[plot]'" in str(caught.value)
    with pytest.raises(ImportError, match="needs matplotlib"):
        plots.save_all(run, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert plots.text_curve([1, 2])


def test_the_users_backend_stays() -> None:
    script = """
import io, sys
from fastnet import plots
print("matplotlib" in sys.modules)
figure = plots.activations(["tanh"])
figure.savefig(io.BytesIO())
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "False\nFalse\n"), done.stderr
