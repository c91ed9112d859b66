"""compute-sanitizer over a few steps of training, tool by tool."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from typing import Any

from bench.checkout import ROOT
from bench.worker import without_folders

PROGRAM = "compute-sanitizer"
TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
SECONDS = 30.0  # for each tool
FOUND = 86  # the exit code that a tool is told to end with when it finds something
LINES = 40


def check(seconds: float = SECONDS) -> dict[str, Any]:
    """Return what every tool found; what takes too long is ended and says so."""
    program = shutil.which(PROGRAM)
    if program is None:
        return {"summary": f"{PROGRAM} is not on the path", "tools": {}}
    tools = {tool: _run(program, tool, seconds) for tool in TOOLS}
    said = ", ".join(f"{tool} {one['state']}" for tool, one in tools.items())
    passed = not any(one["state"] == "found something" for one in tools.values())
    return {"passed": passed, "summary": said, "tools": tools}


def _run(program: str, tool: str, seconds: float) -> dict[str, Any]:
    command = [
        *(program, "--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "5"),
        *(sys.executable, "-m", "bench.gpu.sanitized"),
    ]
    folders = [str(ROOT), str(ROOT / "kernels"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"state": "took too long", "seconds": seconds}
    except OSError as error:
        return {"state": "did not start", "what": type(error).__name__}
    text = done.stdout + done.stderr
    state = {0: "found nothing", FOUND: "found something"}.get(done.returncode, "broke off")
    summary = re.findall(r"ERROR SUMMARY: .*|RACECHECK SUMMARY: .*", text)
    return {
        "state": state,
        "exit_code": done.returncode,
        "seconds": time.perf_counter() - began,
        "what": summary[-1] if summary else "",
        "lines": [] if done.returncode == 0 else _last(text),
    }


def _last(text: str) -> list[str]:
    """Return the beginning of what was said, without folders: results are published."""
    return [without_folders(line)[:200] for line in text.splitlines()[:LINES]]
