"""Kill a real training again and again: every time it goes on to the same bits.

    python tests/kill_training.py 200 [BACKEND]

A training with a checkpoint after every epoch is killed with SIGKILL at a random moment and started
again with ``resume="auto"``, until it has come to its end; then the next one begins, until there
were so many kills. After every kill the newest checkpoint is loaded. The last parameters, the
optimizer's state and the history must have the bits of a training that was never killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels")]

import fastnet  # noqa: E402
from fastnet.checkpoints import found_in  # noqa: E402

EPOCHS = 40


def train(folder: str | None, backend: str) -> dict[str, Any]:
    """Train on the digits; return what must be the same to the bit."""
    stopping = fastnet.EarlyStopping(patience=EPOCHS)
    checkpoint = None if folder is None else fastnet.Checkpoints(folder, every_minutes=0.002)
    data = fastnet.load_data("digits")
    net = fastnet.Network(
        [fastnet.Dense(64, 96, "tanh"), fastnet.Dense(96, 10, "softmax")],
        loss="categorical_crossentropy",
        backend=backend,
        preparation="standard",
        seed=3,
    )
    history = net.fit(
        data.X_train,
        data.y_train,
        batch_size=8,
        epochs=EPOCHS,
        validation=0.2,
        callbacks=[stopping],
        checkpoint=checkpoint,
        resume=None if folder is None else "auto",
        progress=False,
    )
    arrays = net.parameters.tobytes() + net.executor.optimizer_state.tobytes()
    return {
        "bits": hashlib.sha256(arrays).hexdigest(),
        "history": history.to_dict(),
        "best": stopping.best_epoch,
        "predictions": net.predict(
            data.X_test if data.X_test is not None else data.X_train
        ).tolist(),
    }


def main(kills: int, backend: str, seed: int = 0) -> int:
    """Kill so many times; return how many of the trainings ended otherwise."""
    began = time.monotonic()
    command = [sys.executable, __file__, "train"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:2])}
    with tempfile.TemporaryDirectory() as folder:
        whole = subprocess.run([*command, folder, backend], env=environment, check=True, stdout=-1)
    longest = time.monotonic() - began
    expected = train(None, backend)
    if json.loads(whole.stdout) != expected:
        print("a training with checkpoints ends otherwise than one without")
        return 1
    rng = random.Random(seed)
    done = trainings = wrong = starts_over = steps = 0
    while done < kills:
        folder = Path(tempfile.mkdtemp(prefix="fastnet-kill-"))
        trainings += 1
        while True:
            child = subprocess.Popen(
                [*command, str(folder), backend], stdout=subprocess.PIPE, env=environment
            )
            limit = rng.uniform(0, longest) if done < kills else 600
            try:
                out, _ = child.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                child.communicate()
                done += 1
                if done % 20 == 0:
                    print(f"{done} kills", file=sys.stderr, flush=True)
                known = found_in(folder)
                starts_over += not known
                if known:
                    steps += "step" in known[-1].name
                    fastnet.load(known[-1], backend="numpy")
                continue
            if child.returncode or json.loads(out) != expected:
                wrong += 1
                print(f"training {trainings} ended otherwise, status {child.returncode}")
            break
        shutil.rmtree(folder)
    print(
        f"{done} kills in {trainings} trainings on {backend}: {starts_over} before there was a "
        f"checkpoint, {steps} left one from within an epoch; {wrong} trainings ended otherwise"
    )
    return wrong


if __name__ == "__main__":
    if sys.argv[1] == "train":
        print(json.dumps(train(sys.argv[2], sys.argv[3])))
    else:
        sys.exit(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "numba"))
