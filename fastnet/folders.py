"""Where fastnet keeps on disk what it can make or fetch again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def base_folder() -> Path:
    """Return where fastnet keeps what it can make again: FASTNET_CACHE_DIR, or the user's cache."""
    chosen = os.environ.get("FASTNET_CACHE_DIR", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", "").strip()
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "fastnet"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastnet"
    return Path(os.environ.get("XDG_CACHE_HOME", "").strip() or Path.home() / ".cache") / "fastnet"
