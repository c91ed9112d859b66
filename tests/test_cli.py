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
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.core

import fastnet
from fastnet import cli
from fastnet.cli import screen

ROOT = Path(__file__).parents[1]
LIMIT = 300  # seconds until a command counts as hung

pytestmark = pytest.mark.usefixtures("_children_take_ctrl_c")

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
    assert screen.startswith("fastnet: --activation is 'relo'")
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
    "bad rate": (["train", "--learning-rate", "nan"], "--learning-rate is nan; expected"),
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


# -- options from a file and from variables -------------------------------------------------------
#
# In this process, which saves the start of Python and of all that is imported.

Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture
def inside(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Inside:
    """Run a command in this process and an empty folder: exit code, stdout, stderr."""
    for name in [name for name in os.environ if name.startswith("FASTNET_")]:
        if name != "FASTNET_CACHE_DIR":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def command(*words: str, **variables: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                cli.main([*words])
        assert end.value.code is None or isinstance(end.value.code, int)
        return end.value.code or 0, *capsys.readouterr()

    return command


def config(text: str) -> str:
    Path("options.toml").write_text(text, encoding="utf-8")
    return "options.toml"


@pytest.mark.parametrize(
    ("number", "code", "said"), [(2, 130, "interrupted"), (15, 143, "terminated")]
)
def test_a_signal_that_comes_between_our_functions(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, number: int, code: int, said: str
) -> None:
    """While Typer reads options, say: it has an exit of its own for it, and no word."""
    parse = typer.core.TyperCommand.make_context

    def interrupted(*arguments: Any, **settings: Any) -> Any:
        signal.raise_signal(number)
        return parse(*arguments, **settings)

    monkeypatch.setattr(typer.core.TyperCommand, "make_context", interrupted)
    if threading.current_thread() is threading.main_thread():
        assert inside("train", "--epochs", "1") == (code, "", f"fastnet: {said}\n")


TRAIN = """
[train]
backend = "numpy"
epochs = 2
hidden = [8, 4]
learning-rate = 0.01
validation = 0
json = true
"""


def test_the_command_line_over_variables_over_the_file_over_defaults(inside: Inside) -> None:
    file = config(TRAIN)
    variable = {"FASTNET_TRAIN_EPOCHS": "3"}

    def epochs(*words: str, **variables: str) -> Any:
        code, out, err = inside("--config", file, "train", *words, **variables)
        assert (code, err) == (0, "")
        return json.loads(out)["epochs"]

    assert epochs() == 2
    assert epochs(**variable) == 3
    assert epochs("--epochs", "4", **variable) == 4
    assert epochs(FASTNET_TRAIN_EPOCHS="") == 2
    code, out, _ = inside("train", FASTNET_CONFIG=file)
    assert (code, json.loads(out)["parameters"]) == (0, 64 * 8 + 8 + 8 * 4 + 4 + 4 * 10 + 10)
    expected = fastnet.train(
        epochs=2, hidden=(8, 4), learning_rate=0.01, validation=None, backend="numpy"
    )
    assert json.loads(out)["test_loss"] == expected.to_dict()["test_loss"]


def test_what_is_read_later_counts_before_the_file_too(inside: Inside) -> None:
    file = config(
        "[train]\nbackend = 'numba'\nthreads = 1\ndata_dir = 'file'\nepochs = 1\njson = true\n"
    )
    _, out, _ = inside("--config", file, "train", FASTNET_BACKEND="numpy")
    assert json.loads(out)["backend"] == "numpy"
    for variables in (
        {"FASTNET_BACKEND": "nunpy", "FASTNET_TRAIN_BACKEND": "numpy"},
        {"FASTNET_BACKEND": " ", "FASTNET_TRAIN_BACKEND": "numpy"},
    ):
        _, out, _ = inside("--config", file, "train", **variables)
        assert json.loads(out)["backend"] == "numpy"
    # What is wrong with it shows which was asked.
    _, _, err = inside("--config", file, "train", FASTNET_NUM_THREADS="0", FASTNET_BACKEND="numpy")
    assert "FASTNET_NUM_THREADS" in err
    _, _, err = inside("--config", file, "train", "mnist", FASTNET_DATA_DIR="variable")
    assert "mnist is not in variable (FASTNET_DATA_DIR)" in err
    _, _, err = inside("--config", file, "train", "mnist")
    assert "mnist is not in file (data_dir)" in err
    _, _, err = inside(
        "--config", file, "train", "mnist", "--data-dir", "word", FASTNET_DATA_DIR="variable"
    )
    assert "mnist is not in word (data_dir)" in err


def test_groups_have_tables_and_variables(inside: Inside) -> None:
    file = config("[recipes.run]\nbackend = 'nunpy'\n[recipes.list]\nquiet = true\n")
    code, _, err = inside("--config", file, "recipes", "run", "digits-adam")
    assert code == 2
    assert "'nunpy'" in err
    _, out, _ = inside("--config", file, "recipes", "list")
    assert "digits-adam\n" in out
    code, _, err = inside("recipes", "run", "digits-adam", FASTNET_RECIPES_RUN_BACKEND="nunba")
    assert "'nunba'" in err


def test_a_variable_for_the_version_of_what_is_installed(inside: Inside) -> None:
    code, out, _ = inside("recipes", "list", "-q", FASTNET_VERSION="0.1.0")
    assert code == 0
    assert out.startswith("digits-sigmoid\n")


BAD_CONFIGS = {
    "no TOML": ("[train", "no TOML"),
    "no table": ("epochs = 1", "'epochs' is no table of a command"),
    "no command": ("[trian]", "did you mean 'train'?"),
    "a value for a table": ("train = 1", "'train' is no table of a command"),
    "no option": ("[train]\nepoch = 1", "train: 'epoch' is no option; did you mean 'epochs'?"),
    "a table in a table": ("[train.inner]\nx = 1", "'inner' is no option"),
    "a group's command": ("[recipes.go]", "recipes: 'go' is no table of a command"),
    "a flag that is none": ("[train]\njson = 1", "json is 1; expected true or false"),
    "a flag as text": ("[train]\njson = 'yes'", "json is 'yes'; expected true or false"),
    "a flag as list": ("[train]\njson = [true]", "expected true or false"),
    "no flag": ("[train]\nepochs = true", "epochs is True; expected a text or a number"),
    "a date": ("[train]\nseed = 2020-01-01", "expected a text or a number"),
    "no list": ("[train]\nsave = ['a', 'b']", "save is ['a', 'b']; expected a text or a number"),
    "lists in a list": ("[train]\nhidden = [[1]]", "expected a text or a number, or a list"),
    "flags in a list": ("[train]\nhidden = [true]", "expected a text or a number, or a list"),
    "twice": (
        "[train]\nlearning_rate = 1\nlearning-rate = 2",
        "'learning-rate' stands there twice: as 'learning_rate', too",
    ),
    "no number": ("[train]\nepochs = 'many'", "options.toml: train: epochs is 'many': "),
    "a fraction": ("[train]\nepochs = 1.5", "options.toml: train: epochs is 1.5: "),
    "too small": ("[bench]\nrepeats = 0", "options.toml: bench: repeats is 0: "),
    "not finite": ("[train]\nlearning-rate = nan", "--learning-rate is nan"),
    "help": ("[train]\nhelp = true", "'help' is no option"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_2_for_a_bad_config(inside: Inside, case: str) -> None:
    text, message = BAD_CONFIGS[case]
    code, out, err = inside("--config", config(text), "train")
    assert (code, out) == (2, "")
    assert message in one_line(err)


def test_configs_that_are_no_files(inside: Inside) -> None:
    for name, code, message in (
        ("nowhere.toml", 1, "No such file"),
        (".", 1, "Is a directory"),
        ("bytes.toml", 2, "bytes.toml: no TOML"),
    ):
        Path("bytes.toml").write_bytes(b"\x93\xff")
        found = inside("--config", name, "train")
        assert found[:2] == (code, "")
        assert message in found[2]


def test_a_config_may_begin_with_a_byte_order_mark_and_be_empty(inside: Inside) -> None:
    for text in ("\ufeff[recipes.list]\r\nquiet = true\r\n", "\ufeff", ""):
        assert inside("--config", config(text), "recipes", "list", "-q")[0] == 0


def test_an_empty_list_is_an_empty_text(inside: Inside) -> None:
    _, out, _ = inside("--config", config(TRAIN.replace("[8, 4]", "[]")), "train")
    assert json.loads(out)["parameters"] == 650


def test_an_entry_of_a_list_is_one_name(inside: Inside) -> None:
    names = ["a,x", 'b "c"', " d ", "e"]
    rows = [f"{i % 7},{','.join('uvw'[(i + j) % 3] for j in range(4))}" for i in range(40)]
    text = '"y","a,x","b ""c""",d,e\n' + "\n".join(rows) + "\n"
    Path("t.csv").write_text(text)
    options = f"label = 'y'\none-hot = {json.dumps(names)}\nhidden = [4]\nepochs = 1\njson = true"
    file = config(f"[train]\nbackend = 'numpy'\ntask = 'classification'\n{options}\n")
    code, out, err = inside("--config", file, "train", "t.csv")
    assert code == 0, err
    assert json.loads(out)["parameters"] == 12 * 4 + 4 + 4 * 7 + 7
    file = config(Path(file).read_text().replace(json.dumps(names), "'d,e,\"a,x\"'"))
    _, _, err = inside("--config", file, "train", "t.csv")
    assert "column 'b \"c\"' is" in one_line(err)


# -- what every command has -----------------------------------------------------------------------

COMMANDS = {
    "train": ["train", "--epochs", "1", "--backend", "numpy", "--hidden", "4"],
    "gradcheck": ["gradcheck", "--backend", "numpy", "--hidden", "3", "--rows", "2"],
    "bench": ["bench", "--backends", "numpy", "--seconds", "0.01", "--repeats", "1"],
    "doctor": ["doctor"],
    "list": ["recipes", "list"],
    "show": ["recipes", "show", "digits-adam"],
}


@pytest.mark.parametrize("case", COMMANDS)
def test_json_and_quiet(inside: Inside, case: str) -> None:
    words = COMMANDS[case]
    code, out, err = inside(*words, "--json", "--quiet")
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    json.loads(out)
    code, quiet, err = inside(*words, "-q")
    assert (code, err) == (0, "")
    assert len(inside(*words)[1]) >= len(quiet) > 5


def test_every_command_can_be_quiet_and_speak_json() -> None:
    import typer

    inside_of = [typer.main.get_command(cli.app)]
    seen = []
    for group in inside_of:
        for name, command in getattr(group, "commands", {}).items():
            if hasattr(command, "commands"):
                inside_of.append(command)
                continue
            options = {option for one in command.params for option in one.opts}
            assert {"--json", "--quiet"} <= options, name
            seen.append(name)
    assert {*"train evaluate predict bench parity gradcheck doctor warmup list run".split()} < {
        *seen
    }


def test_bench(inside: Inside) -> None:
    words = "bench --backends numpy,numpy --seconds 0.01 --repeats 2 --hidden 5 --batch-size all"
    code, out, err = inside(*words.split(), "--json")
    assert code == 0
    assert err.splitlines() == ["preparing numpy", "measurement 1 of 2", "measurement 2 of 2"]
    found = json.loads(out)
    assert found["network"] == "64-5-10 on digits, all rows a step, adam, float32"
    (row,) = found["backends"]
    assert (row["backend"], row["ratio"], len(row["samples_per_second"])) == ("numpy", 1, 2)
    code, out, _ = inside(*words.split(), "-q")
    assert out.splitlines()[0] == found["network"]
    assert out.splitlines()[2].split()[0] == "numpy"


def test_bench_of_a_table(inside: Inside) -> None:
    Path("t.csv").write_text("".join(f"{i % 7},{'ab'[i % 2]},{i % 5}\n" for i in range(60)))
    words = "bench t.csv --label 2 --no-header --one-hot 1 --hidden 5 --preparation standard --json"
    short = "--backends numpy --seconds 0.01 --repeats 1".split()
    for task, outputs in (("auto", 5), ("regression", 1)):
        code, out, err = inside(*words.split(), "--task", task, *short)
        assert code == 0, err
        network = json.loads(out)["network"]
        assert network == f"3-5-{outputs} on t.csv, 128 rows a step, adam, float32"
    code, _, err = inside(*words.replace("standard", "standart").split(), *short)
    assert (code, "--preparation is 'standart'" in one_line(err)) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--seconds nan", "--seconds"),
        ("--seconds inf", "seconds is inf"),
        ("--seconds 0", "--seconds"),
        ("--repeats 0", "--repeats"),
        ("--backends nunpy", "did you mean 'numpy'?"),
        ("--batch-size -1", "--batch-size is -1"),
        ("--hidden 99999999999", "hidden is 99999999999"),
        ("--threads 0", "threads is 0"),
    ],
)
def test_2_for_a_misused_bench(inside: Inside, words: str, message: str) -> None:
    code, out, err = inside("bench", *words.split())
    assert (code, out) == (2, "")
    assert message in one_line(err)


# -- what train is given, and keeps ---------------------------------------------------------------


def table(rows: int = 40) -> str:
    lines = [f"{i % 7},{'ab'[i % 2]},{i % 3 * 100},{'no yes'.split()[i % 2]}" for i in range(rows)]
    Path("t.csv").write_text("\n".join(["size,kind,bytes,label", *lines, ""]))
    return "t.csv"


def test_train_saves_what_predict_loads(inside: Inside) -> None:
    words = ["train", table(), *"--one-hot kind --preparation min_max --save m.st".split()]
    words += "--epochs 30 --backend numpy --hidden 8 --learning-rate 0.05".split()
    code, out, err = inside(*words, "--json")
    assert (code, err) == (0, f"saved {Path.cwd() / 'm.st'}\n")
    assert json.loads(out)["epochs"] == 30
    network = fastnet.load("m.st", backend="numpy")
    assert str(network.preparation) == "min_max"
    assert network.layout.columns[1].categories == ("a", "b")
    _, out, _ = inside("evaluate", "m.st", "t.csv", "--json")
    assert json.loads(out)["accuracy"] == 1
    before = Path("m.st").read_bytes()
    code, _, err = inside(*words)
    assert code == 1
    assert "--save is 'm.st', which is there already" in err
    assert Path("m.st").read_bytes() == before
    assert inside(*words, "--force", "-q")[0] == 0
    code, out, err = inside(*words[:-2], "--force", "-q")
    assert err == ""


def test_bytes_that_nobody_scales_are_pointed_out(inside: Inside) -> None:
    words = [*"train t.csv --one-hot kind --epochs 1 --backend numpy --hidden 4".split()]
    table()
    hint = "features go up to 200 and are used as they are"
    assert hint in inside(*words)[2]
    assert hint in inside(*words, "--json")[2]
    for more in (["--quiet"], ["--preparation", "standard"], ["--input-scale", "1/200"]):
        assert inside(*words, *more)[2] == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--input-scale nan", "--input-scale is nan"),
        ("--input-scale 0", "--input-scale is 0.0"),
        ("--input-scale 1/0", "--input-scale is '1/0'; expected a number, or a fraction"),
        ("--input-scale 1/", "--input-scale is '1/'"),
        ("--input-scale /2", "--input-scale is '/2'"),
        ("--input-scale 1/2/3", "--input-scale is '1/2/3'"),
        ("--preparation standart", "did you mean 'standard'?"),
        ("--preparation standard --input-scale 0.5", "expected one of them"),
        ("--one-hot city", "'digits' is none"),
        ("--label city", "'digits' is none"),
        ("--threads 0", "threads is 0"),
        ("--task guess", "task is 'guess'"),
    ],
)
def test_2_for_misused_options_of_train(inside: Inside, words: str, message: str) -> None:
    code, out, err = inside("train", *words.split())
    assert (code, out) == (2, "")
    assert message in one_line(err)


@pytest.mark.parametrize("path", [".", "nowhere/m.st", "/dev/null"])
def test_1_for_where_nothing_can_be_saved(inside: Inside, path: str) -> None:
    code, out, _ = inside("train", "--save", path, "--force", "--epochs", "10000000")
    assert (code, out) == (1, "")


# -- completion -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("fastnet tr", ["train"]),
        ("fastnet train ", ["digits", "mnist", "fashion_mnist"]),
        ("fastnet train --backend n", ["numba", "numpy"]),
        ("fastnet predict m.st x.csv --format ", ["csv", "json", "npy"]),
        ("fastnet recipes run digits-a", ["digits-adam"]),
        ("fastnet predict --out", ["--output"]),
    ],
)
def test_completion(inside: Inside, words: str, expected: list[str]) -> None:
    count = len(words.split(" ")) - 1
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(count)}
    _, out, _ = inside(**variables, _FASTNET_COMPLETE="complete_bash")
    found = [line for line in out.splitlines() if line.startswith(words.split(" ")[-1])]
    assert sorted(found) == sorted(expected)


def test_the_script_for_completion(inside: Inside) -> None:
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # whatever shell runs the tests
    code, out, err = inside("--show-completion", "bash", **named)
    assert (code, err) == (0, "")
    assert "_FASTNET_COMPLETE=complete_bash" in out


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"loss": 0.12345, "accuracy": 0.98765}, "accuracy 98.77%, loss 0.1235"),
        ({"loss": 86538570444.8, "r2": -4.41147}, "R² -4.4115, loss 8.654e+10"),
    ],
)
def test_scores_are_shown_with_the_digits_that_say_something(
    found: dict[str, float], text: str
) -> None:
    assert screen.scores(found) == text
    assert screen.scores(found, "test ") == "test " + text.replace("loss", "test loss")


@pytest.mark.parametrize(
    ("rows", "options", "hint"),
    [
        (["a,label", *(f"{i % 200},{i % 2}" for i in range(80))], [], "features go up to 79"),
        (["a,label", *(f"{i % 200},{i % 2}" for i in range(80))], ["--input-scale", "1/199"], ""),
        (
            ["a,label", *(f"{i % 200},{i % 2}" for i in range(80))],
            ["--preparation", "standard"],
            "",
        ),
        (["a,label", *(f"{i % 9},{i % 2}" for i in range(80))], [], ""),
        (["a,y", *(f"{i % 9},{i + 0.5}" for i in range(80))], [], "quantities go up to 79.5"),
        (["a,y", *(f"{i % 9},{i + 0.5}" for i in range(80))], [], "to 1: --target-prep"),
        (
            ["a,y", *(f"{i % 9},{i + 0.5}" for i in range(80))],
            ["--target-preparation", "standard"],
            "",
        ),
        (["a,y", *(f"{i % 9},{i / 80}" for i in range(80))], [], ""),
    ],
)
def test_numbers_that_networks_hardly_learn_from_are_named(
    tmp_path: Path, inside: Inside, rows: list[str], options: list[str], hint: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    wanted = ["train", str(path), "--epochs", "1", "--validation", "0", "--backend", "numpy"]
    code, _, err = inside(*wanted, *options, "--learning-rate", "1e-9")
    assert code == 0
    assert (hint in err) if hint else (err == "")
    assert inside(*wanted, *options, "--learning-rate", "1e-9", "--quiet")[2] == ""


@pytest.mark.parametrize(
    ("package", "arguments"),
    [("pandas", ["train", "t.csv"]), ("matplotlib", ["train", "--plot", "pictures"])],
)
def test_packages_of_extras_that_are_not_installed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    package: str,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("a,b\n1,2\n")
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert package in said
    assert "python -m pip install" in said
