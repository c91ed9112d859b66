"""The CUDA kernels compile for every kind of GPU, without a warning, and stay in registers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import nvrtc
import pytest
from fastnet_kernels import cuda

# The oldest that CUDA 13 knows, and those of the data centres since.
ARCHITECTURES = [75, 80, 90, 100]
REALS = ["float", "double"]

SOURCES = cuda.sources()
HEADERS = {name: text for name, text in SOURCES.items() if name.endswith(".cuh")}
FILES = sorted(set(SOURCES) - set(HEADERS))

pytestmark = pytest.mark.skipif(
    nvrtc.library() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc"
)


def compiled(text: str, name: str, real: str, architecture: int) -> nvrtc.Compiled:
    if architecture not in nvrtc.architectures():
        pytest.skip(f"this NVRTC does not compile for sm_{architecture}")
    options = [f"-arch=sm_{architecture}", f"-DREAL={real}", "-std=c++17", "--ptxas-options=-v"]
    return nvrtc.compile_text(text, name, HEADERS, options)


@pytest.fixture(scope="module")
def table() -> Iterator[dict[tuple[str, str], dict[int, int]]]:
    """Registers by kernel, type and architecture; printed at the end, visible with -s."""
    registers: dict[tuple[str, str], dict[int, int]] = {}
    yield registers
    heads = "".join(f"{f'sm_{number}':>8}" for number in ARCHITECTURES)
    print(f"\n{'registers per thread':<34}{heads}")
    for (kernel, real), found in sorted(registers.items()):
        cells = "".join(f"{found.get(number, ''):>8}" for number in ARCHITECTURES)
        print(f"{kernel:<26}{real:<8}{cells}")


@pytest.fixture(scope="module")
def everything() -> Iterator[dict[tuple[str, str, int], Future[nvrtc.Compiled]]]:
    """All files for all GPUs, compiled on all cores: NVRTC holds no lock of Python's."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {
            wanted: pool.submit(compiled, cuda.flattened(wanted[0]), *wanted)
            for wanted in itertools.product(FILES, REALS, ARCHITECTURES)
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("file", FILES)
def test_kernels_compile_and_stay_in_registers(
    file: str,
    real: str,
    architecture: int,
    record_property: Callable[[str, object], None],
    table: dict[tuple[str, str], dict[int, int]],
    everything: dict[tuple[str, str, int], Future[nvrtc.Compiled]],
) -> None:
    found = everything[file, real, architecture].result()
    assert found.binary, found.log
    assert found.warnings == []
    own = {k.name for k in cuda.kernels().values() if k.file == file}
    assert set(found.usage) == (own or {"run_program"})
    for kernel, usage in found.usage.items():
        record_property(f"registers of {kernel}", usage.registers)
        table.setdefault((kernel, real), {})[architecture] = usage.registers
    spilled = {name: usage.spilled for name, usage in found.usage.items() if usage.spilled}
    assert spilled == {}, f"bytes of {file} that do not fit into registers"


# -- that the check can fail ----------------------------------------------------------------------


def test_a_text_that_is_wrong_is_refused() -> None:
    found = compiled('extern "C" __global__ void f(REAL* x) { *x = y; }', "wrong.cu", "float", 90)
    assert found.binary == b""
    assert 'wrong.cu(1): error: identifier "y" is undefined' in found.log


def test_a_warning_is_seen() -> None:
    text = 'extern "C" __global__ void f(REAL* x) { int unused; *x = 1; }'
    found = compiled(text, "warned.cu", "float", 90)
    assert found.binary
    assert len(found.warnings) == 1
    assert "unused" in found.warnings[0]


def test_a_spill_is_seen() -> None:
    text = """
    extern "C" __global__ void __launch_bounds__(1024) crowded(REAL* x) {
      REAL kept[128];
      #pragma unroll
      for (int i = 0; i < 128; ++i) kept[i] = x[i * 1024 + threadIdx.x];
      __syncthreads();
      #pragma unroll
      for (int i = 0; i < 128; ++i) x[(127 - i) * 1024 + threadIdx.x] = kept[i] * kept[i ^ 5];
    }
    """
    usage = compiled(text, "crowded.cu", "double", 90).usage["crowded"]
    assert usage.spilled > 0
    assert usage.registers <= 64
