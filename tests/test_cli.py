"""The command line, run as users run it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fastnet

ROOT = Path(__file__).parents[1]
LIMIT = 300  # seconds until a command counts as hung

# What would change how commands print, or which backend they choose.
UNSET = """
    FASTNET_BACKEND FASTNET_NUM_THREADS NO_COLOR FORCE_COLOR PY_COLORS CLICOLOR_FORCE
    GITHUB_ACTIONS TTY_COMPATIBLE TTY_INTERACTIVE LINES TERM PYTHONWARNINGS
""".split()


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    ours = {
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT, ROOT / "kernels"])),
        "PYTHONUTF8": "1",
        "COLUMNS": "200",
    }
    return kept | ours | more


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its output in pipes, as scripts do."""
    return subprocess.run(
        [sys.executable, "-m", "fastnet", *arguments],
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT,
        check=False,
    )


def run_on_terminal(
    *arguments: str,
    stop_when: Callable[[str], bool] = lambda text: False,
    **more: str,
) -> tuple[int, str, str]:
    """Run a command with stderr on a pseudo-terminal; return exit code, stdout and that screen.

    It is sent SIGINT, once, when ``stop_when`` says so of what is on the screen.
    """
    screen, terminal = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "fastnet", *arguments],
        env=environment(**{"TERM": "xterm-256color"} | more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    shown, asked_to_stop, deadline = b"", False, time.monotonic() + LIMIT
    try:
        while time.monotonic() < deadline:
            if select.select([screen], [], [], 0.1)[0]:
                try:
                    part = os.read(screen, 65536)
                except OSError:  # how Linux says that the other side has closed
                    break
                if not part:
                    break
                shown += part
            if not asked_to_stop and stop_when(shown.decode(errors="replace")):
                command.send_signal(signal.SIGINT)
                asked_to_stop = True
        output, _ = command.communicate(timeout=LIMIT)
    finally:
        os.close(screen)
        if command.poll() is None:
            command.kill()
            command.communicate()
    return command.returncode, output.decode(), shown.decode()


def one_line(text: str) -> str:
    """The text without line breaks and runs of blanks, wherever a table or a panel wrapped it."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.fixture(autouse=True)
def _children_take_ctrl_c() -> Iterator[None]:
    """A child inherits that SIGINT is ignored, as it is where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


SHORT = ["train", "--epochs", "2", "--backend", "numpy"]


# -- train ----------------------------------------------------------------------------------------


def test_json_and_nothing_else() -> None:
    done = run(*SHORT, "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    result = json.loads(done.stdout)
    assert 0.5 < result["test_accuracy"] < 1
    assert result["train_loss"] > 0
    assert result["backend"] == "numpy"
    assert result["samples_per_second"] > 0
    assert (result["epochs"], result["parameters"]) == (2, 64 * 128 + 128 + 128 * 10 + 10)


def test_the_same_command_gives_the_same_result() -> None:
    def figures(*more: str) -> dict[str, Any]:
        result = json.loads(run(*SHORT, "--json", *more).stdout)
        return {name: result[name] for name in ("test_loss", "test_accuracy", "train_loss")}

    assert figures() == figures("--seed", "0")
    assert figures() != figures("--seed", "1")


def test_the_default_training_learns_the_digits() -> None:
    done = run("train", "--json")
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["test_accuracy"] >= 0.97
    assert result["epochs"] == 30
    assert fastnet.backends()[result["backend"]].available


def test_output_for_people() -> None:
    done = run("train", "--epochs", "2", "--backend", "numpy", "--hidden", "32,16")
    assert done.returncode == 0
    assert done.stderr == ""
    rows = [line.split() for line in done.stdout.splitlines()[2:5]]
    assert rows == [
        ["1", "64", "32", "relu", "he_uniform", "2,080"],
        ["2", "32", "16", "relu", "he_uniform", "528"],
        ["3", "16", "10", "softmax", "glorot_uniform", "170"],
    ]
    assert "2,778 parameters in float32, loss categorical_crossentropy" in done.stdout
    assert "backend numpy: asked for" in done.stdout
    assert re.search(r"test accuracy \d\d\.\d\d%, test loss \d\.\d{4}", done.stdout)
    assert re.search(r"2 epochs of 1,\d{3} rows in .*: [\d,]+ samples per second", done.stdout)
    assert "\x1b" not in done.stdout


def test_the_reason_for_the_backend() -> None:
    done = run("train", "--epochs", "1", FASTNET_BACKEND="numpy")
    assert "backend numpy: asked for by FASTNET_BACKEND" in done.stdout


def test_every_option_of_train_arrives() -> None:
    options = {
        "--hidden": "12",
        "--activation": "elu(0.5)",
        "--loss": "log_loss",
        "--optimizer": "sgd(0.1, 0.9)",
        "--batch-size": "all",
        "--epochs": "3",
        "--validation": "0",
        "--backend": "numpy",
        "--dtype": "float64",
        "--seed": "5",
    }
    done = run("train", "digits", *[word for pair in options.items() for word in pair], "--json")
    expected = fastnet.train(
        hidden=12,
        activation="elu(0.5)",
        loss="log_loss",
        optimizer=fastnet.SGD(0.1, momentum=0.9),
        batch_size=None,
        epochs=3,
        validation=None,
        backend="numpy",
        dtype="float64",
        seed=5,
    ).to_dict()
    result = json.loads(done.stdout)
    for name in ("test_loss", "test_accuracy", "train_loss", "dtype", "rows", "parameters"):
        assert result[name] == expected[name], name


def test_no_hidden_layer_and_a_learning_rate() -> None:
    done = run(*SHORT, "--hidden", "", "--learning-rate", "0.01", "--json")
    assert json.loads(done.stdout)["parameters"] == 650


# -- on a terminal --------------------------------------------------------------------------------

COLOURS = re.compile(r"\x1b\[(?:\d+;)*(?:3\d|4\d|9\d|10\d)(?:;\d+)*m")


def test_progress_on_a_terminal() -> None:
    code, output, screen = run_on_terminal("train", "--epochs", "3", "--backend", "numpy", "--json")
    assert code == 0
    assert json.loads(output)["epochs"] == 3
    assert "epoch 3/3" in screen
    assert "━" in screen
    assert re.search(r"loss 0\.\d+  accuracy \d\d\.\d%  validation \d\d\.\d%", screen)
    assert COLOURS.search(screen)


def test_progress_without_colours() -> None:
    code, _, screen = run_on_terminal("train", "--epochs", "3", "--backend", "numpy", NO_COLOR="1")
    assert code == 0
    assert "epoch 3/3" in screen
    assert not COLOURS.search(screen)


def test_errors_on_a_terminal_are_one_message() -> None:
    code, output, screen = run_on_terminal("train", "--activation", "relo", NO_COLOR="1")
    assert code == 2
    assert output == ""
    assert screen.startswith("fastnet: activation is 'relo'")
    assert "Traceback" not in screen


# -- gradcheck ------------------------------------------------------------------------------------


def test_gradcheck() -> None:
    done = run("gradcheck", "--backend", "numpy", "--hidden", "8")
    assert done.returncode == 0
    assert done.stderr == ""
    for block in ("layer_1.weights", "layer_1.biases", "layer_2.weights", "layer_2.biases"):
        assert block in done.stdout
    assert re.search(r"passed: largest error \d\.\d\de-\d\d, allowed 1e-06", done.stdout)


def test_gradcheck_as_json() -> None:
    done = run("gradcheck", "--backend", "numpy", "--hidden", "6,5", "--rows", "3", "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["passed"] is True
    assert result["error"] == max(row["error"] for row in result["rows"]) < 1e-6
    assert [row["shape"] for row in result["rows"]] == [[64, 6], [6], [6, 5], [5], [5, 10], [10]]


# -- exit codes -----------------------------------------------------------------------------------


def test_1_for_a_training_that_diverges() -> None:
    done = run(*SHORT, "--optimizer", "sgd", "--learning-rate", "1e30", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("fastnet: training diverged in epoch 1, step 2 of ")
    assert "learning rate 1e+30" in done.stderr
    assert "Traceback" not in done.stderr


MISUSE = {
    "unknown option": (["train", "--epoch-count", "3"], "No such option"),
    "unknown command": (["teach"], "No such command"),
    "no number": (["train", "--epochs", "many"], "--epochs"),
    "no epochs": (["train", "--epochs", "0"], "epochs is 0; expected a whole number, 1 or larger"),
    "bad share": (["train", "--validation", "2"], "is 2.0; expected"),
    "bad rate": (["train", "--learning-rate", "nan"], "learning_rate is nan; expected"),
    "bad sizes": (["train", "--hidden", "8;8"], "--hidden is '8;8'; expected sizes"),
    "zero size": (["train", "--hidden", "8,0"], "hidden is 0; expected a whole number"),
    "bad batch": (["train", "--batch-size", "half"], "--batch-size is 'half'; expected"),
    "bad seed": (["train", "--seed", "-1"], "seed is -1; expected a whole number"),
    "bad dtype": (["train", "--dtype", "float16"], "dtype is 'float16'; expected 'float32'"),
    "data set": (["train", "digit"], "data is 'digit'"),
    "activation": (["train", "--activation", "rlu"], "did you mean 'relu'?"),
    "loss": (["train", "--loss", "mes"], "did you mean 'mse'?"),
    "optimizer": (["train", "--optimizer", "adm"], "did you mean 'adam'?"),
    "backend": (["train", "--backend", "nunpy"], "did you mean 'numpy'?"),
    "rows": (["gradcheck", "--rows", "0"], "rows is 0; expected a whole number, 1 or larger"),
    "illegal pair": (["gradcheck", "--output", "relu"], "use a sigmoid or softmax output"),
}


@pytest.mark.parametrize("case", MISUSE)
def test_2_for_misuse(case: str) -> None:
    arguments, message = MISUSE[case]
    done = run(*arguments, FASTNET_BACKEND="numpy")
    assert done.returncode == 2
    assert message in one_line(done.stderr)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["cupy"])
def test_3_for_a_backend_that_cannot_run(name: str) -> None:
    status = fastnet.backends()[name]
    if status.available:
        pytest.skip(f"{name} runs here")
    for done in (
        run("train", "--backend", name, "--json"),
        run("gradcheck", "--backend", name),
        run("train", FASTNET_BACKEND=name),
    ):
        assert done.returncode == 3
        assert done.stdout == ""
        assert status.cause in done.stderr
        assert status.cure in done.stderr
        assert "Traceback" not in done.stderr


def test_130_for_ctrl_c() -> None:
    code, output, screen = run_on_terminal(
        *["train", "--epochs", "10000000", "--backend", "numpy", "--json"],
        stop_when=lambda text: re.search(r"epoch [1-9]\d*/10000000", text) is not None,
    )
    assert code == 130
    assert output == ""
    assert re.search(r"fastnet: interrupted after [1-9]\d* finished epoch", screen)
    assert "Traceback" not in screen


# -- help -----------------------------------------------------------------------------------------


def test_help() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    text = one_line(done.stdout)
    for words in ("Usage: fastnet", "train", "gradcheck", "--version", "gradients are derived"):
        assert words in text


def test_help_of_train_names_every_option_and_its_default() -> None:
    done = run("train", "-h")
    assert done.returncode == 0
    text = one_line(done.stdout)
    for option, default in {
        "--hidden": "128",
        "--activation": "relu",
        "--loss": "what fits the targets",
        "--optimizer": "adam",
        "--learning-rate": "the optimizer's own",
        "--batch-size": "32",
        "--epochs": "30",
        "--validation": "0.1",
        "--backend": "auto",
        "--dtype": "float32",
        "--seed": "0",
        "--json": "",
    }.items():
        described = text.split(option, 1)[1].split(" --")[0]
        assert default in described, option
    assert "default: digits" in text


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["fastnet", fastnet.__version__]


def test_without_arguments_it_shows_its_help() -> None:
    done = run()
    assert done.returncode in (0, 2)  # depends on the version of the library below
    text = one_line(done.stdout + done.stderr)
    assert "Usage: fastnet" in text
    assert "gradcheck" in text
    assert "Traceback" not in text
