"""What an NVIDIA GPU needs before CuPy can use it, as a ladder: the first rung that fails says why.

From the bottom: the package, its import, a driver, a driver that is new enough, a device, the
compiler NVRTC, and cuBLAS. Each rung is a function that returns what it found or raises `_Missing`
with a cause and a cure; none allocates memory on a device. Nothing is remembered between calls.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# The distributions that all install a package named cupy, so that only one can be there.
DISTRIBUTIONS = (
    "cupy",
    "cupy-cuda11x",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "cupy-rocm-5-0",
    "cupy-rocm-7-0",
    "cupy-rocm-7-1",
)

# The CUDA versions that there is an extra for, and the first driver that supports each.
DRIVERS = {12: 525, 13: 580}

_NO_DEVICE = 100  # cudaErrorNoDevice

_PIP = "python -m pip install"
_INSTALL = (
    f"{_PIP} 'fastnet-nn[cuda13]', "
    f"or 'fastnet-nn[cuda12]' where the driver is older than {DRIVERS[13]}"
)
_NO_CUDA_HERE = "train with backend='numba', or let fastnet choose with backend='auto'"


@dataclass(frozen=True)
class Rung:
    """One thing that has to be there.

    Attributes
    ----------
    name : str
    passed : bool
    detail : str
        What was found, with versions; where it failed, the error as the library worded it.
    cause : str
        What is wrong; empty where it passed.
    cure : str
        What to do about it; empty where it passed.
    """

    name: str
    passed: bool
    detail: str = ""
    cause: str = ""
    cure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return asdict(self)


class _Missing(Exception):  # noqa: N818  it is a finding, which never leaves this module
    """A rung failed."""

    def __init__(self, cause: str, cure: str, detail: str = "") -> None:
        super().__init__(cause)
        self.cause, self.cure, self.detail = cause, cure, detail


def ladder() -> list[Rung]:
    """Return the rungs from the bottom to the first that fails, or all of them; never raises."""
    rungs = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns while it is imported: the rungs say the same
        for name, check in _RUNGS.items():
            try:
                rungs.append(Rung(name, True, check()))
            except _Missing as missing:
                rungs.append(Rung(name, False, missing.detail, missing.cause, missing.cure))
                break
            except Exception as error:
                cause = f"asking CuPy for its {name} failed: {_first_line(error)}"
                rungs.append(Rung(name, False, repr(error), cause, _reinstall()))
                break
    return rungs


def failure() -> Rung | None:
    """Return the first rung that fails, or None: the GPU can be used."""
    last = ladder()[-1]
    return None if last.passed else last


# -- the rungs ------------------------------------------------------------------------------------


def _package() -> str:
    """Return which distributions of CuPy are installed: exactly one, or one that pip cannot see."""
    if sys.platform == "darwin":
        raise _Missing("there is no CUDA on macOS", _NO_CUDA_HERE)
    found = _distributions()
    if len(found) > 1:
        listed = " ".join(found)
        raise _Missing(
            f"more than one CuPy is installed: {', '.join(found)}",
            f"remove all of them, since they overwrite each other's files, and install one: "
            f"python -m pip uninstall -y {listed}; then {_INSTALL}",
        )
    spec = importlib.util.find_spec("cupy")
    if spec is not None and spec.origin is not None:  # without: a folder that an uninstall left
        return " ".join(f"{name} {version}" for name, version in found.items())
    if found:
        raise _Missing(
            f"the files of {next(iter(found))} are gone, though it counts as installed",
            _reinstall(),
        )
    raise _Missing("the package cupy is not installed", _INSTALL)


def _import() -> str:
    """Return the version of CuPy, and of the CUDA that it is built for."""
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:
        origin = error.__cause__ or error  # CuPy wraps the error in advice
        said = f"{type(origin).__name__}: {_first_line(origin)}"
        raise _Missing(f"CuPy cannot be imported: {said}", _reinstall(), str(error)) from None
    runtime = cupy.cuda.runtime
    if runtime.is_hip:
        raise _Missing("this CuPy is built for AMD's ROCm, not for CUDA", _replace())
    built = runtime.runtimeGetVersion()
    if built // 1000 < min(DRIVERS):
        raise _Missing(
            f"this CuPy is built for CUDA {built // 1000}; fastnet needs CUDA 12 or 13", _replace()
        )
    return f"CuPy {cupy.__version__} for CUDA {_dotted(built)}"


def _driver() -> str:
    """Return the driver's version."""
    if not _runtime().driverGetVersion():
        raise _Missing(
            "no NVIDIA driver is loaded",
            "run nvidia-smi: where it fails, install NVIDIA's driver. A container has one only if "
            "started with docker run --gpus all; WSL takes the one that is installed in Windows",
        )
    try:
        version = Path("/sys/module/nvidia/version").read_text(encoding="utf-8").strip()
    except OSError:  # WSL and Windows
        return "loaded"
    return f"NVIDIA driver {version}"


def _driver_version() -> str:
    """Return which CUDA the driver supports: any older one runs on it, a newer one does not."""
    driver, built = _runtime().driverGetVersion(), _cuda_major()
    if driver // 1000 >= built:
        return f"supports CUDA {_dotted(driver)}"
    if driver // 1000 < min(DRIVERS):
        choices = " or ".join(
            f"{number} or newer for 'fastnet-nn[cuda{cuda}]'" for cuda, number in DRIVERS.items()
        )
        raise _Missing(
            f"the NVIDIA driver is too old: it supports CUDA {_dotted(driver)}, "
            f"and fastnet needs {min(DRIVERS)} or newer",
            f"update the driver: {choices}",
        )
    enough = f" to {DRIVERS[built]} or newer" if built in DRIVERS else ""
    raise _Missing(
        f"the NVIDIA driver supports CUDA {_dotted(driver)}, and this CuPy is built for {built}",
        f"{_replace(driver // 1000)}; or update the driver{enough}",
    )


def _device() -> str:
    """Return the devices: names, compute capabilities and memory."""
    runtime = _runtime()
    try:
        count = runtime.getDeviceCount()
    except RuntimeError as error:
        if getattr(error, "status", None) != _NO_DEVICE:
            raise _Missing(
                f"CUDA does not start: {_first_line(error)}",
                "run nvidia-smi: where it fails too, restart the container or the machine, and "
                "reinstall NVIDIA's driver if that does not help",
            ) from None
        count = 0
    if count:
        return "; ".join(_described(runtime.getDeviceProperties(i)) for i in range(count))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        raise _Missing(
            "the NVIDIA driver finds no GPU",
            "run nvidia-smi -L, which lists the GPUs; a container has them only if started with "
            "docker run --gpus all",
        )
    # CUDA reads the list up to the first entry that names no GPU.
    first = visible.split(",")[0].strip()
    hides = not first or first.startswith("-")
    what = "hides every GPU" if hides else f"names no GPU of this machine with {first!r}"
    raise _Missing(
        f"CUDA_VISIBLE_DEVICES is {visible!r}, which {what}",
        "unset CUDA_VISIBLE_DEVICES, or set it to the number of a GPU that nvidia-smi -L lists, "
        "such as 0",
    )


def _nvrtc() -> str:
    """Return the version of the compiler, which has to know the device that will be used."""
    nvrtc, runtime, built = importlib.import_module("cupy").cuda.nvrtc, _runtime(), _cuda_major()
    try:
        version = nvrtc.getVersion()
        known = nvrtc.getSupportedArchs()
    except (ImportError, OSError, RuntimeError) as error:
        raise _Missing(
            f"CUDA {built}'s compiler NVRTC is not found",
            _install_library("nvidia-cuda-nvrtc", built),
            _first_line(error),
        ) from None
    found = runtime.getDeviceProperties(runtime.getDevice())
    if known and found["major"] * 10 + found["minor"] < min(known):
        needed = ".".join(map(str, divmod(min(known), 10)))
        raise _Missing(
            f"{_described(found)} is too old for CUDA {version[0]}, which needs {needed}",
            _replace(12) if built > 12 else "use a newer GPU, or train with backend='numba'",
        )
    return f"NVRTC {'.'.join(map(str, version))}"


def _cublas() -> str:
    """Return where cuBLAS is."""
    return str(_find_cublas()._name)


_RUNGS = {
    "package": _package,
    "import": _import,
    "driver": _driver,
    "driver version": _driver_version,
    "device": _device,
    "NVRTC": _nvrtc,
    "cuBLAS": _cublas,
}


# -- cuBLAS ---------------------------------------------------------------------------------------


def load_cublas() -> ctypes.CDLL:
    """Return cuBLAS, of the CUDA version that CuPy is built for.

    CuPy refuses to call its own while a stream is captured, so the backend calls it directly.

    Raises
    ------
    ImportError
        If it is not found, or CuPy is not.
    """
    try:
        return _find_cublas()
    except _Missing as missing:
        raise ImportError(f"{missing.cause}. What to do: {missing.cure}.") from None


def _find_cublas() -> ctypes.CDLL:
    built = _cuda_major()
    try:
        _load("cublasLt", built)  # cuBLAS needs it, and may not find it by itself
        return _load("cublas", built)
    except OSError as error:
        raise _Missing(
            f"CUDA {built}'s library cuBLAS is not found",
            _install_library("nvidia-cublas", built),
            str(error),
        ) from None


def _load(name: str, cuda: int) -> ctypes.CDLL:
    """Load a library of CUDA from the first place that has it.

    Raises
    ------
    OSError
        If none has: the message of the last, the system's loader.
    """
    *places, last = _places(name, cuda)
    for place in places:
        try:
            return ctypes.CDLL(place)
        except OSError:  # a damaged file, or one for another processor
            continue
    return ctypes.CDLL(last)


def _places(name: str, cuda: int) -> Iterator[str]:
    """Yield where a library may be: pip's packages, what CuPy would take, CUDA_PATH, the system.

    The version is in the name, since others may be installed beside it: PyTorch brings its own.
    """
    file = f"{name}64_{cuda}.dll" if sys.platform == "win32" else f"lib{name}.so.{cuda}"
    package = f"cu{cuda}" if cuda >= 13 else "cublas"
    folders = [Path(entry, "nvidia", package, "lib") for entry in sys.path]
    yield from (str(folder / file) for folder in folders if (folder / file).is_file())
    try:
        pathfinder = importlib.import_module("cuda.pathfinder")
        found = Path(pathfinder.load_nvidia_dynamic_lib(name).abs_path)
        if found.name.startswith(file):
            yield str(found)
    except (ImportError, OSError, RuntimeError):  # CuPy 13 has no pathfinder; it finds nothing
        pass
    for root in filter(None, map(os.environ.get, ("CUDA_PATH", "CUDA_HOME"))):
        folders = [Path(root, part) for part in ("lib64", "lib", "bin")]
        yield from (str(folder / file) for folder in folders if (folder / file).is_file())
    yield file


# -- words and small questions --------------------------------------------------------------------


def _distributions() -> dict[str, str]:
    """Return the installed distributions of CuPy with their versions."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _runtime() -> Any:
    return importlib.import_module("cupy").cuda.runtime


def _cuda_major() -> int:
    """Return the major version of the CUDA that CuPy is built for."""
    return int(_runtime().runtimeGetVersion()) // 1000


def _dotted(version: int) -> str:
    """Return a version of CUDA as people write it: 13.2 for 13020."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _described(found: dict[str, Any]) -> str:
    """Return a device in words, from its properties."""
    capability, memory = f"{found['major']}.{found['minor']}", found["totalGlobalMem"] / 2**30
    return f"{found['name'].decode()} (compute capability {capability}, {memory:.0f} GiB)"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _reinstall() -> str:
    found = [name for name in _distributions() if name != "cupy"]
    if len(found) != 1:  # from conda, or built here
        return "reinstall CuPy the way it was installed"
    return f"{_PIP} --force-reinstall {found[0]}"


def _replace(cuda: int | None = None) -> str:
    """Return how to put another CuPy in place of this one, for a CUDA version if that is known."""
    installed = " ".join(_distributions()) or "cupy"
    wanted = _INSTALL if cuda is None else f"{_PIP} 'fastnet-nn[cuda{min(cuda, max(DRIVERS))}]'"
    return f"python -m pip uninstall -y {installed}; then {wanted}"


def _install_library(package: str, cuda: int) -> str:
    """Return how to get a library of CUDA; up to CUDA 12 its packages carry the version."""
    wanted = f"'{package}=={cuda}.*'" if cuda >= 13 else f"{package}-cu{cuda}"
    return f"{_PIP} {wanted}, or set CUDA_PATH to the folder of a CUDA {cuda} toolkit"
