"""Every way in which a GPU can be missing: told apart by its cause, each with its own cure."""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import pytest

import fastnet
from fastnet import Dense, cli, doctor
from fastnet.execution import cuda_probe, registry

ROOT = Path(__file__).parents[1]
NAMES = ["package", "import", "driver", "driver version", "device", "NVRTC", "cuBLAS"]
DEVICE = {"name": b"NVIDIA H100", "major": 9, "minor": 0, "totalGlobalMem": 80 * 2**30}


class CudaError(RuntimeError):
    """As CuPy's: a RuntimeError with the status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*arguments: object) -> NoReturn:
        raise error

    return fail


REAL_CDLL = ctypes.CDLL
NO_DEVICE = raising(CudaError(100, "cudaErrorNoDevice: no CUDA-capable device is detected"))


class Machine:
    """A machine with a GPU on which everything works, until a test takes something away."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.distributions = {"cupy-cuda13x": "14.2.0"}
        self.files: set[str] = {"libcublasLt.so.13", "libcublas.so.13"}  # that the loader finds
        self.loaded: list[str] = []
        self.runtime = SimpleNamespace(
            is_hip=False,
            runtimeGetVersion=lambda: 13020,
            driverGetVersion=lambda: 13000,
            getDeviceCount=lambda: 1,
            getDevice=lambda: 0,
            getDeviceProperties=lambda number: DEVICE,
        )
        self.nvrtc = SimpleNamespace(
            getVersion=lambda: (13, 2), getSupportedArchs=lambda: (75, 80, 90, 100)
        )
        cupy = ModuleType("cupy")
        cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None, origin="cupy/__init__.py")
        vars(cupy).update(
            __version__="14.2.0", cuda=SimpleNamespace(runtime=self.runtime, nvrtc=self.nvrtc)
        )
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        monkeypatch.setitem(sys.modules, "cuda.pathfinder", None)
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setattr(metadata, "version", self.version)
        monkeypatch.setattr(ctypes, "CDLL", self.load)
        for name in ("CUDA_VISIBLE_DEVICES", "CUDA_PATH", "CUDA_HOME", "FASTNET_BACKEND"):
            monkeypatch.delenv(name, raising=False)

    def version(self, name: str) -> str:
        if name not in self.distributions:
            raise metadata.PackageNotFoundError(name)
        return self.distributions[name]

    def load(self, name: Any, *arguments: Any) -> Any:
        if "libcublas" not in str(name):
            return REAL_CDLL(name, *arguments)
        if name not in self.files:
            raise OSError(f"{name}: cannot open shared object file: No such file or directory")
        self.loaded.append(name)
        return SimpleNamespace(_name=name)

    def built_for(self, version: int, *distributions: str) -> None:
        self.runtime.runtimeGetVersion = lambda: version
        self.distributions = dict.fromkeys(distributions, "14.2.0")

    def driver(self, version: int) -> None:
        self.runtime.driverGetVersion = lambda: version

    def without_package(self) -> None:
        self.distributions = {}
        self.patch.setitem(sys.modules, "cupy", None)

    def lost_files(self) -> None:
        self.patch.setitem(sys.modules, "cupy", None)

    def no_device(self, visible: str | None = None) -> None:
        self.runtime.getDeviceCount = NO_DEVICE
        if visible is not None:
            self.patch.setenv("CUDA_VISIBLE_DEVICES", visible)

    def old_device(self) -> None:
        found = {**DEVICE, "name": b"Tesla V100", "major": 7, "totalGlobalMem": 16 * 2**30}
        self.runtime.getDeviceProperties = lambda number: found


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def old_cupy_old_driver(m: Machine) -> None:
    m.built_for(12090, "cupy-cuda12x")
    m.driver(11040)


def cupy_for_11(m: Machine) -> None:
    m.built_for(11080, "cupy-cuda11x")


def cublas_of_12(m: Machine) -> None:
    m.built_for(12090, "cupy-cuda12x")


def two_cupys(m: Machine) -> None:
    m.distributions = {"cupy-cuda12x": "14.2.0", "cupy-cuda13x": "14.2.0"}


BOTH = "'fastnet-nn[cuda13]', or 'fastnet-nn[cuda12]' where the driver is older than 580"
UNSET = "unset CUDA_VISIBLE_DEVICES, or set it to the number of a GPU"

# What is wrong: how to make it so, the rung that fails, its cause, and words of its cure.
WRONG: dict[str, tuple[Callable[[Machine], object], str, str, list[str]]] = {
    "not installed": (
        Machine.without_package,
        "package",
        "the package cupy is not installed",
        ["python -m pip install", BOTH],
    ),
    "two CuPys": (
        two_cupys,
        "package",
        "more than one CuPy is installed: cupy-cuda12x, cupy-cuda13x",
        ["python -m pip uninstall -y cupy-cuda12x cupy-cuda13x; then", BOTH],
    ),
    "one of two CuPys removed": (
        Machine.lost_files,
        "package",
        "the files of cupy-cuda13x are gone, though it counts as installed",
        ["python -m pip install --force-reinstall cupy-cuda13x"],
    ),
    "macOS": (
        lambda m: m.patch.setattr(sys, "platform", "darwin"),
        "package",
        "there is no CUDA on macOS",
        ["backend='numba'"],
    ),
    "for ROCm": (
        lambda m: setattr(m.runtime, "is_hip", True),
        "import",
        "this CuPy is built for AMD's ROCm, not for CUDA",
        ["uninstall", BOTH],
    ),
    "for CUDA 11": (
        cupy_for_11,
        "import",
        "this CuPy is built for CUDA 11; fastnet needs CUDA 12 or 13",
        ["python -m pip uninstall -y cupy-cuda11x; then", BOTH],
    ),
    "no driver": (
        lambda m: m.driver(0),
        "driver",
        "no NVIDIA driver is loaded",
        ["nvidia-smi", "docker run --gpus all", "WSL"],
    ),
    "for another CUDA": (
        lambda m: m.driver(12080),
        "driver version",
        "the NVIDIA driver supports CUDA 12.8, and this CuPy is built for 13",
        [
            "python -m pip uninstall -y cupy-cuda13x; then python -m pip install",
            "'fastnet-nn[cuda12]'; or update the driver to 580 or newer",
        ],
    ),
    "for a later CUDA than is known": (
        lambda m: m.built_for(14010, "cupy-cuda14x"),
        "driver version",
        "the NVIDIA driver supports CUDA 13.0, and this CuPy is built for 14",
        ["python -m pip install 'fastnet-nn[cuda13]'; or update the driver"],
    ),
    "old driver": (
        lambda m: m.driver(11040),
        "driver version",
        "the NVIDIA driver is too old: it supports CUDA 11.4, and fastnet needs 12 or newer",
        ["525 or newer for 'fastnet-nn[cuda12]'", "580 or newer for 'fastnet-nn[cuda13]'"],
    ),
    "old driver for CUDA 12": (
        old_cupy_old_driver,
        "driver version",
        "the NVIDIA driver is too old: it supports CUDA 11.4, and fastnet needs 12 or newer",
        ["update the driver"],
    ),
    "no device": (
        Machine.no_device,
        "device",
        "the NVIDIA driver finds no GPU",
        ["nvidia-smi -L", "docker run --gpus all"],
    ),
    "no device counted": (
        lambda m: setattr(m.runtime, "getDeviceCount", lambda: 0),
        "device",
        "the NVIDIA driver finds no GPU",
        ["nvidia-smi -L"],
    ),
    "hidden by an empty list": (
        lambda m: m.no_device(""),
        "device",
        "CUDA_VISIBLE_DEVICES is '', which hides every GPU",
        [UNSET],
    ),
    "hidden by -1": (
        lambda m: m.no_device("-1"),
        "device",
        "CUDA_VISIBLE_DEVICES is '-1', which hides every GPU",
        [UNSET],
    ),
    "a device that is not there": (
        lambda m: m.no_device("7,0"),
        "device",
        "CUDA_VISIBLE_DEVICES is '7,0', which names no GPU of this machine with '7'",
        [UNSET],
    ),
    "a driver in trouble": (
        lambda m: setattr(
            m.runtime, "getDeviceCount", raising(CudaError(999, "cudaErrorUnknown: unknown error"))
        ),
        "device",
        "CUDA does not start: cudaErrorUnknown: unknown error",
        ["nvidia-smi", "restart"],
    ),
    "no NVRTC": (
        lambda m: setattr(m.nvrtc, "getVersion", raising(RuntimeError("no libnvrtc.so.13"))),
        "NVRTC",
        "CUDA 13's compiler NVRTC is not found",
        ["python -m pip install 'nvidia-cuda-nvrtc==13.*'", "CUDA_PATH", "CUDA 13 toolkit"],
    ),
    "an old device": (
        Machine.old_device,
        "NVRTC",
        "Tesla V100 (compute capability 7.0, 16 GiB) is too old for CUDA 13, which needs 7.5",
        ["python -m pip uninstall -y cupy-cuda13x; then", "'fastnet-nn[cuda12]'"],
    ),
    "no cuBLAS": (
        lambda m: m.files.clear(),
        "cuBLAS",
        "CUDA 13's library cuBLAS is not found",
        ["python -m pip install 'nvidia-cublas==13.*'", "CUDA_PATH", "CUDA 13 toolkit"],
    ),
    "cuBLAS without its other half": (
        lambda m: m.files.discard("libcublasLt.so.13"),
        "cuBLAS",
        "CUDA 13's library cuBLAS is not found",
        ["nvidia-cublas"],
    ),
    "cuBLAS of another CUDA": (
        cublas_of_12,
        "cuBLAS",
        "CUDA 12's library cuBLAS is not found",
        ["python -m pip install nvidia-cublas-cu12", "CUDA 12 toolkit"],
    ),
    "something else": (
        lambda m: setattr(m.runtime, "driverGetVersion", raising(KeyError("what"))),
        "driver",
        "asking CuPy for its driver failed: 'what'",
        ["--force-reinstall cupy-cuda13x"],
    ),
}


def test_a_machine_on_which_everything_works(machine: Machine) -> None:
    rungs = cuda_probe.ladder()
    assert [rung.name for rung in rungs] == NAMES
    assert all(rung.passed and not rung.cause and not rung.cure for rung in rungs)
    assert cuda_probe.failure() is None
    found = {rung.name: rung.detail for rung in rungs}
    assert found["package"] == "cupy-cuda13x 14.2.0"
    assert found["import"] == "CuPy 14.2.0 for CUDA 13.2"
    assert found["driver version"] == "supports CUDA 13.0"
    assert found["device"] == "NVIDIA H100 (compute capability 9.0, 80 GiB)"
    assert found["NVRTC"] == "NVRTC 13.2"
    assert found["cuBLAS"] == "libcublas.so.13"
    assert fastnet.backends()["cupy"].to_dict() == {
        "name": "cupy",
        "available": True,
        "cause": "",
        "cure": "",
    }
    assert registry.choose("auto") == ("cupy", "chosen automatically")


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_has_a_cause_and_a_cure(machine: Machine, case: str) -> None:
    spoil, name, cause, cure = WRONG[case]
    spoil(machine)
    *below, last = cuda_probe.ladder()
    assert [rung.name for rung in below] + [last.name] == NAMES[: NAMES.index(name) + 1]
    assert all(rung.passed for rung in below)
    assert (last.passed, last.cause) == (False, cause)
    for words in cure:
        assert words in last.cure
    assert cuda_probe.failure() == last


def test_every_cause_is_told_apart() -> None:
    same = {"no device counted", "old driver for CUDA 12", "cuBLAS without its other half"}
    causes = [cause for case, (_, _, cause, _) in WRONG.items() if case not in same]
    assert len(set(causes)) == len(causes)


@pytest.mark.parametrize("case", WRONG)
def test_a_backend_that_is_asked_for_says_it(machine: Machine, case: str) -> None:
    spoil, _, cause, _ = WRONG[case]
    spoil(machine)
    status = fastnet.backends()["cupy"]
    assert (status.available, status.cause) == (False, cause)
    with pytest.raises(fastnet.BackendUnavailableError) as caught:
        fastnet.Network([Dense(2, 1, "linear")], loss="mse", backend="cupy")
    assert str(caught.value) == (
        f"the backend 'cupy' cannot run here: {cause} (asked for). What to do: {status.cure}."
    )
    assert registry.choose("auto")[0] != "cupy"
    assert cause in registry.choose("auto")[1]


def test_the_reason_why_auto_skips_it_is_short(machine: Machine) -> None:
    machine.driver(0)
    assert registry.choose("auto")[1].startswith("chosen automatically (no NVIDIA driver is loaded")
    machine.without_package()
    reason = registry.choose("auto")[1]
    assert reason.startswith("chosen automatically (the package cupy is not installed")


@pytest.mark.parametrize("case", ["not installed", "no driver", "hidden by -1"])
def test_doctor_agrees_with_backends(
    machine: Machine, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    WRONG[case][0](machine)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["doctor", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["cuda"] == [rung.to_dict() for rung in cuda_probe.ladder()]
    status = fastnet.backends()["cupy"]
    assert facts["backends"]["cupy"] == status.to_dict()
    assert (facts["cuda"][-1]["cause"], facts["cuda"][-1]["cure"]) == (status.cause, status.cure)
    assert facts["settings"].get("CUDA_VISIBLE_DEVICES") == os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("asked_for", "reason"),
    [("cupy", "no NVIDIA driver is loaded"), ("nmpy", "which is not known")],
)
def test_doctor_examines_where_the_environment_names_no_backend_that_runs(
    monkeypatch: pytest.MonkeyPatch, asked_for: str, reason: str
) -> None:
    missing = registry.BackendStatus("cupy", False, "no NVIDIA driver is loaded", "install one")
    monkeypatch.setitem(registry._PROBES, "cupy", lambda: missing)
    monkeypatch.setenv("FASTNET_BACKEND", asked_for)
    found = doctor.examine()
    assert found["automatic"]["backend"] == ""
    assert reason in found["automatic"]["reason"]
    assert found["backends"]["numpy"]["available"]


def test_doctor_for_people(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(doctor, "_numba", dict)
    two_cupys(machine)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["doctor"])
    shown = capsys.readouterr().out
    assert "cuda package" in shown
    assert shown.count("more than one CuPy is installed: cupy-cuda12x, cupy-cuda13x") >= 2
    assert BOTH in shown  # with its brackets


def test_several_devices_and_an_unknown_distribution(machine: Machine) -> None:
    machine.runtime.getDeviceCount = lambda: 2
    machine.distributions = {}
    found = {rung.name: rung.detail for rung in cuda_probe.ladder()}
    assert found["package"] == ""
    assert found["device"].count("NVIDIA H100 (compute capability 9.0, 80 GiB)") == 2


# -- where cuBLAS is ------------------------------------------------------------------------------


def library_in(folder: Path, name: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    return str(folder / name)


def test_cublas_of_pip_comes_first(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "nvidia" / "cu13" / "lib"
    ours = [library_in(folder, f"lib{name}.so.13") for name in ("cublasLt", "cublas")]
    for name in ("cublasLt", "cublas"):  # PyTorch's, of another version
        machine.files.add(library_in(tmp_path / "nvidia" / "cublas" / "lib", f"lib{name}.so.12"))
    machine.files.update(ours)
    sys.path.append(str(tmp_path))
    assert cuda_probe.load_cublas()._name == ours[1]
    assert machine.loaded == ours


def test_cublas_of_cuda_12_is_in_another_folder(machine: Machine, tmp_path: Path) -> None:
    machine.built_for(12090, "cupy-cuda12x")
    folder = tmp_path / "nvidia" / "cublas" / "lib"
    ours = [library_in(folder, f"lib{name}.so.12") for name in ("cublasLt", "cublas")]
    machine.files.update(ours)
    sys.path.append(str(tmp_path))
    assert cuda_probe.load_cublas()._name == ours[1]


def pathfinder(answers: Mapping[str, str]) -> ModuleType:
    def load_nvidia_dynamic_lib(name: str) -> SimpleNamespace:
        if name not in answers:
            raise RuntimeError(f"Failure finding {name}")
        return SimpleNamespace(abs_path=answers[name])

    module = ModuleType("cuda.pathfinder")
    module.load_nvidia_dynamic_lib = load_nvidia_dynamic_lib  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(
    ("version", "taken"), [("13.1.0", "/conda/libcublas.so.13.1.0"), ("12.9.1", "libcublas.so.13")]
)
def test_cublas_that_pathfinder_finds(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, version: str, taken: str
) -> None:
    answers = {name: f"/conda/lib{name}.so.{version}" for name in ("cublas", "cublasLt")}
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", pathfinder(answers))
    machine.files.update(answers.values())
    assert cuda_probe.load_cublas()._name == taken
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", pathfinder({}))
    assert cuda_probe.load_cublas()._name == "libcublas.so.13"


@pytest.mark.parametrize("variable", ["CUDA_PATH", "CUDA_HOME"])
def test_cublas_of_a_toolkit(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    ours = [library_in(tmp_path / "lib64", f"lib{name}.so.13") for name in ("cublasLt", "cublas")]
    monkeypatch.setenv(variable, str(tmp_path))
    machine.files.update(ours)
    assert cuda_probe.load_cublas()._name == ours[1]
    machine.files.difference_update(ours)  # damaged: the next place is asked
    assert cuda_probe.load_cublas()._name == "libcublas.so.13"


def test_cublas_that_is_missing(machine: Machine) -> None:
    machine.files.clear()
    with pytest.raises(ImportError, match=r"cuBLAS is not found.*What to do: .*nvidia-cublas"):
        cuda_probe.load_cublas()


# -- in a fresh interpreter -----------------------------------------------------------------------


def python(script: str, *more_paths: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(map(str, [*more_paths, ROOT, ROOT / "kernels"]))
    kept = {name: value for name, value in os.environ.items() if name != "FASTNET_BACKEND"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**kept, "PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


ASKING = """
import json, sys
import fastnet
assert "cupy" not in sys.modules
try:
    fastnet.Network([fastnet.Dense(2, 1, "linear")], loss="mse", backend="cupy")
except fastnet.BackendUnavailableError as error:
    print(error)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules} & {"cupy", "numba", "rich"})))
"""

NO_CUPY = """
import importlib.metadata, sys
def no_version(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = no_version
sys.modules["cupy"] = None
"""


def one_cupy(name: str) -> str:
    return f"""
import importlib.metadata
def version(name):
    if name == {name!r}:
        return "14.2.0"
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = version
"""


ON_LINUX = pytest.mark.skipif(sys.platform == "darwin", reason="there is no CUDA on macOS")


@ON_LINUX
def test_asking_loads_nothing_else() -> None:
    done = python(NO_CUPY + ASKING.replace('"cupy" not in sys.modules', "True"))
    assert (done.returncode, done.stderr) == (0, "")
    said, loaded = done.stdout.splitlines()
    assert "the package cupy is not installed (asked for)" in said
    assert json.loads(loaded) == ["cupy"]  # the mark that it is missing


@ON_LINUX
def test_a_folder_that_an_uninstall_left_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "cupy" / "__pycache__").mkdir(parents=True)
    script = f"""
import sys
sys.path[:] = [entry for entry in sys.path if entry == {str(tmp_path)!r}]
from importlib.util import find_spec
assert find_spec("cupy").origin is None
"""
    done = python(script, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    spec = importlib.machinery.ModuleSpec("cupy", None, is_package=True)
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(patch)
        machine.distributions = {}
        patch.setattr(importlib.util, "find_spec", lambda name: spec)
        found = cuda_probe.failure()
    assert found is not None
    assert found.cause == "the package cupy is not installed"


@ON_LINUX
def test_an_import_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text(
        "try:\n"
        "    raise ImportError('libcudart.so.13: cannot open shared object file')\n"
        "except ImportError as error:\n"
        "    raise ImportError('=====\\nFailed to import CuPy.\\n=====') from error\n"
    )
    done = python(one_cupy("cupy-cuda13x") + ASKING, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "CuPy cannot be imported: ImportError: libcudart.so.13: cannot open shared object file"
        in done.stdout
    )
    assert "python -m pip install --force-reinstall cupy-cuda13x." in done.stdout


@ON_LINUX
def test_what_cupy_warns_of_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text(
        "import types, warnings\n"
        "warnings.warn('multiple CuPy packages are installed')\n"
        "__version__ = '14.2.0'\n"
        "runtime = types.SimpleNamespace(\n"
        "    is_hip=False, runtimeGetVersion=lambda: 13020, driverGetVersion=lambda: 0\n"
        ")\n"
        "cuda = types.SimpleNamespace(runtime=runtime)\n"
    )
    done = python(one_cupy("cupy") + ASKING, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    said, loaded = done.stdout.splitlines()
    assert "no NVIDIA driver is loaded" in said
    assert json.loads(loaded) == ["cupy"]


@ON_LINUX
def test_the_real_cupy_without_a_driver() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    if cupy.cuda.runtime.driverGetVersion():
        pytest.skip("there is an NVIDIA driver here")
    done = python(ASKING)
    assert (done.returncode, done.stderr) == (0, "")
    said, loaded = done.stdout.splitlines()
    assert "the backend 'cupy' cannot run here: no NVIDIA driver is loaded" in said
    assert json.loads(loaded) == ["cupy"]
