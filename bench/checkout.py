"""What a measurement needs around it: this checkout, its packages, and the folder of MNIST."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"

DEFAULT_DATA = ROOT.parent / "shared" / "data" / "mnist"


class CannotMeasureError(RuntimeError):
    """Something that a measurement needs is not here: the message says what and what to do."""


def require_packages() -> None:
    """End the program with a message unless fastnet comes from this checkout.

    Raises
    ------
    SystemExit
        If fastnet, its kernels or the packages of the command line cannot be imported, or if
        ``import fastnet`` finds another copy than the one beside ``bench``.
    """
    advice = 'in the folder of the checkout: python -m pip install -e ".[bench]"'
    for name in ("fastnet", "fastnet_kernels", "typer", "rich"):
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise SystemExit(
                f"bench: cannot import {name} ({error}). bench runs from a checkout of fastnet; "
                f"{advice}"
            ) from error
        if name == "fastnet" and Path(str(module.__file__)).resolve().parents[1] != ROOT:
            raise SystemExit(
                f"bench: fastnet is imported from {Path(str(module.__file__)).parent}, and this "
                f"bench measures the copy in {ROOT}; {advice}"
            )


def mnist_files() -> list[str]:
    """Return the names of MNIST's files, as they are distributed."""
    from fastnet.data.published import FILES

    return [f"{name}.gz" for name in FILES.values()]


def mnist_folder(chosen: Path | None) -> Path:
    """Return the folder that holds the four files of MNIST.

    Parameters
    ----------
    chosen : Path or None
        What the command line says; None for FASTNET_DATA_DIR, or else the default beside the
        checkout.

    Raises
    ------
    CannotMeasureError
        If a file is not there; the message names the folder and who chose it.
    """
    from fastnet.data.images import DATA_VARIABLE  # late: another copy of fastnet is refused first

    by = "--data-dir"
    if chosen is None:
        from_environment = os.environ.get(DATA_VARIABLE, "").strip()
        chosen = Path(from_environment) if from_environment else DEFAULT_DATA
        by = DATA_VARIABLE if from_environment else "the default"
    missing = [name for name in mnist_files() if not (chosen / name).is_file()]
    if missing:
        raise CannotMeasureError(
            f"MNIST is not in {chosen} ({by}): {', '.join(missing)} missing. Put the four files "
            f"there, or name their folder with --data-dir or {DATA_VARIABLE}"
        )
    return chosen
