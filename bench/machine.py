"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.checkout import ROOT
from fastnet import doctor

# Settings of thread pools and kernels that change what is measured.
VARIABLES = (
    "FASTNET_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "XLA_FLAGS",
)
BYTES_PER_UNIT = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def facts() -> dict[str, Any]:
    """Return processor, memory, system, versions of fastnet's own packages, commit and date.

    Nothing in it names a folder, a user or a host.
    """
    found = doctor.examine()
    compiled = found.get("numba", {})
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": found["processor"],
        "processor_model": processor_model(),
        "cores": found["cores"],
        "memory_bytes": memory_bytes(),
        "last_level_cache_bytes": last_level_cache_bytes(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "system": system(),
        "python": found["python"],
        "versions": {
            "fastnet": found["fastnet"],
            "numpy": found["numpy"],
            **{name: compiled[key] for name, key in _COMPILED if key in compiled},
        },
        "blas": {**compiled.get("blas", {})},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "git": git(),
    }


_COMPILED = (("numba", "version"), ("llvmlite", "llvmlite"))


def system() -> str:
    """Return the system's name and version, without what its builder calls this copy of it."""
    version = re.match(r"\d+(\.\d+)?", platform.release())
    return " ".join([platform.system(), version[0] if version else "", platform.machine()])


def processor_model() -> str:
    """Return family, model and stepping, which tell processors apart that share a name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    pairs = [
        (name, re.search(rf"^{key}\s*:\s*(\d+)", text, re.MULTILINE))
        for name, key in (("family", "cpu family"), ("model", "model"), ("stepping", "stepping"))
    ]
    return ", ".join(f"{name} {found[1]}" for name, found in pairs if found) or platform.machine()


def memory_bytes() -> int | None:
    """Return the size of the memory, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def last_level_cache_bytes() -> int | None:
    """Return the size of the largest cache, or None where the system does not tell."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        found = re.fullmatch(r"(\d+)([KMG]?)", path.read_text(encoding="ascii").strip())
        if found:
            sizes.append(int(found[1]) * BYTES_PER_UNIT.get(found[2], 1))
    return max(sizes, default=None)


def git() -> dict[str, Any]:
    """Return the commit, and whether files under version control differ from it."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def slug(processor: str) -> str:
    """Return a processor's name as a part of a file's name."""
    text = re.sub(r"\((r|tm)\)|\bcpu\b|@.*", " ", processor.lower())
    return re.sub(r"[^a-z0-9]+", "-", text).strip("-") or sys.platform
