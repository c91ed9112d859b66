"""Checkpoints, resuming and exporting from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import LIMIT, environment

import fastnet
from fastnet import cli
from fastnet.checkpoints import found_in

OPTIONS = ["--backend", "numpy", "--hidden", "8", "--seed", "2"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def trained(
    capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str
) -> tuple[dict[str, Any], np.ndarray]:
    path = folder / f"{len(list(folder.iterdir()))}.safetensors"
    options = ["--json", "--save", str(path)]
    code, out, err = run(capsys, "train", *OPTIONS, *options, *arguments)
    assert code == 0, err
    found = json.loads(out)
    return found, fastnet.load(path, backend="numpy").parameters


def test_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected, parameters = trained(capsys, tmp_path, "--epochs", "5")
    folder = tmp_path / "checkpoints"
    options = ["--checkpoint", str(folder), "--keep", "2"]
    trained(capsys, tmp_path, "--epochs", "3", *options)
    assert [path.name[6:12] for path in found_in(folder)] == ["000002", "000003"]
    found, resumed = trained(capsys, tmp_path, "--epochs", "5", *options, "--resume")
    np.testing.assert_array_equal(resumed, parameters)
    timed = {"seconds", "samples_per_second"}
    assert {k: v for k, v in found.items() if k not in timed} == {
        k: v for k, v in expected.items() if k not in timed
    }


def test_patience(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--epochs", "400", "--learning-rate", "0.05", "--patience", "3"]
    found, parameters = trained(capsys, tmp_path, *options)
    assert found["epochs"] < 400
    best = found["epochs"] - 3
    shorter = ["--epochs", str(best), "--learning-rate", "0.05"]
    np.testing.assert_array_equal(trained(capsys, tmp_path, *shorter)[1], parameters)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--resume"], 2, "--resume needs --checkpoint"),
        (["--patience", "3", "--validation", "0"], 2, "--patience watches validation rows"),
        (["--patience", "0"], 2, "patience is 0"),
        (["--checkpoint", "{full}"], 1, "go on from that one with --resume, or"),
        (["--checkpoint", "{full}", "--resume", "--seed", "3"], 2, "seed was 2 and is 3"),
        (["--checkpoint", "new", "--keep", "0"], 2, "fastnet: --keep is 0"),
        (
            ["--checkpoint", "new", "--checkpoint-epochs", "0"],
            2,
            "fastnet: --checkpoint-epochs is 0",
        ),
        (
            ["--checkpoint", "new", "--checkpoint-minutes", "-1"],
            2,
            "fastnet: --checkpoint-minutes is -1",
        ),
        (["--checkpoint", "{file}"], 1, "file"),
    ],
)
def test_what_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"full": tmp_path / "full", "file": tmp_path / "file"}
    places["file"].write_text("")
    run(capsys, "train", *OPTIONS, "--epochs", "1", "--checkpoint", str(places["full"]))
    given = [one.format(**places) for one in arguments]
    found, _, err = run(capsys, "train", *OPTIONS, "--epochs", "2", *given)
    assert found == code, err
    assert message in err
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("_children_take_ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(tmp_path: Path, number: signal.Signals) -> None:
    folder, model = tmp_path / "checkpoints", tmp_path / "model.safetensors"
    options = ["--checkpoint", str(folder), "--save", str(model), "--epochs", "100000"]
    command = subprocess.Popen(
        [sys.executable, "-m", "fastnet", "train", *OPTIONS, *options],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + LIMIT
    while not found_in(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    command.send_signal(number)
    said = command.communicate(timeout=LIMIT)[1].decode()
    assert command.returncode == 128 + number
    what = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    assert f"fastnet: {what} after " in said
    newest = found_in(folder)[-1]
    assert f"--resume goes on from {newest}" in said
    assert f"saved what was finished in {model}" in said
    kept = fastnet.load(model, backend="numpy")
    assert kept.epoch == fastnet.load(newest, backend="numpy").epoch >= 1
    assert not [path for path in folder.iterdir() if path.suffix != ".safetensors"]


def test_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, file = tmp_path / "m.safetensors", tmp_path / "m.onnx"
    run(capsys, "train", *OPTIONS, "--epochs", "1", "--save", str(model))
    code, out, err = run(capsys, "export", str(model), str(file), "--json")
    assert code == 0, err
    assert json.loads(out)["largest_difference"] < 1e-5
    data = fastnet.load_data("digits")
    session = runtime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["prediction"], {"X": data.X_train.astype("float32")})
    assert (found == fastnet.load(model, backend="numpy").predict(data.X_train)).all()
    code, _, err = run(capsys, "export", str(model), str(file))
    assert code == 1
    assert "which is there already" in err
    assert run(capsys, "export", str(model), str(file), "--force", "--quiet") == (0, "", "")
