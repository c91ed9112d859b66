"""Every op of the contract on Numba beside NumPy; the work behind ``python -m bench ops``."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.checkout import ROOT, CannotMeasureError

NEEDED = {
    "pytest": "pytest",
    "pytest_benchmark": "pytest-benchmark",
    "threadpoolctl": "threadpoolctl",
}
# Seconds that pytest-benchmark spends on one op, in full and in a quick look.
SECONDS, QUICK_SECONDS = 0.5, 0.02
ROUNDS = 5


def measure_ops(
    select: str = "", *, quick: bool = False, show: bool = True
) -> list[dict[str, Any]]:
    """Run pytest-benchmark over the ops and return what it found.

    Parameters
    ----------
    select : str
        Only ops whose name contains this.
    quick : bool
        A look at whether everything runs.
    show : bool
        Whether pytest's own tables go to stdout; they go nowhere otherwise.

    Returns
    -------
    list of dict
        ``op shape dtype``, ``numba`` and ``numpy`` with ``median`` and ``iqr`` in seconds, and
        ``ratio``: NumPy's median in multiples of Numba's.

    Raises
    ------
    CannotMeasureError
        If a package is missing, or pytest fails.
    """
    missing = [name for module, name in NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        raise CannotMeasureError(
            f"not installed: {', '.join(missing)}; python -m pip install -e '.[bench]'"
        )
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "ops.json"
        done = subprocess.run(
            _command(select, report, quick),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdout=None if show else subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0 or not report.is_file():
            raise CannotMeasureError(
                f"pytest ended with {done.returncode} over the ops"
                + (f" whose name contains {select!r}" if select else "")
            )
        found = json.loads(report.read_text(encoding="utf-8"))
    return paired(found["benchmarks"])


def _command(select: str, report: Path, quick: bool) -> list[str]:
    return [
        *(sys.executable, "-m", "pytest", str(ROOT / "bench" / "ops_benchmark.py")),
        *("-q", "--no-header", "-p", "no:cacheprovider", "--rootdir", str(ROOT)),
        *(("-k", select) if select else ()),
        *("--benchmark-only", "--benchmark-group-by=group", "--benchmark-sort=name"),
        *("--benchmark-columns=median,iqr,min,rounds", "--benchmark-disable-gc"),
        f"--benchmark-max-time={QUICK_SECONDS if quick else SECONDS}",
        f"--benchmark-min-rounds={ROUNDS}",
        f"--benchmark-json={report}",
    ]


def paired(benchmarks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one record per op, shape and dtype out of pytest-benchmark's list."""
    records: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in benchmarks:
        info = one["extra_info"]
        key = (info["op"], info["shape"], info["dtype"])
        record = records.setdefault(key, dict(zip(("op", "shape", "dtype"), key, strict=True)))
        record[info["backend"]] = {name: one["stats"][name] for name in ("median", "iqr", "rounds")}
    for record in records.values():
        if "numba" in record and "numpy" in record:
            record["ratio"] = record["numpy"]["median"] / record["numba"]["median"]
    return list(records.values())


def table(records: list[dict[str, Any]]) -> Table:
    """Return the ratios as a short table."""
    result = Table(
        title="Microseconds per call from Python, one thread (medians)", title_justify="left"
    )
    for heading in ("op", "shape", "dtype"):
        result.add_column(heading)
    for heading in ("numba", "numpy", "numpy : numba"):
        result.add_column(heading, justify="right")
    for record in records:
        result.add_row(
            record["op"],
            record["shape"],
            record["dtype"],
            *(f"{1e6 * record[name]['median']:.3g}" for name in ("numba", "numpy")),
            f"{record['ratio']:.2f}",
        )
    return result
