"""The harness that runs CUDA kernels on the CPU: that it finds what it is there to find.

The kernels are toys, given as text; most are wrong on purpose.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fastnet_kernels.cuda as cuda
import numpy as np
import pytest
from cuda_host import module, sanitized
from cuda_host.module import HostKernelError, HostModule, signature

pytestmark = pytest.mark.skipif(not module.has_compiler(), reason="no C++ compiler for the kernels")

SEEDS = range(1, 9)
KERNEL = 'extern "C" __global__ void '

HEADER = """
#pragma once
#define ALL 0xffffffffu

// The sum over a block; both barriers can be left out.
template <class T>
__device__ __forceinline__ T block_sum(T value) {
  __shared__ T parts[32];
  #pragma unroll
  for (int distance = 16; distance; distance >>= 1) value += __shfl_xor_sync(ALL, value, distance);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();  // first
  T sum = 0;
  for (int i = 0; i < int(blockDim.x / 32); ++i) sum += parts[i];
  __syncthreads();  // second
  return sum;
}
"""

# Everything that is right stands in one file, which is compiled once for each REAL.
RIGHT = r"""
#include "sums.cuh"
#ifndef REAL
#define REAL float
#endif

extern "C" __global__ void __launch_bounds__(1024) positions(int* __restrict__ at) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  const int z = blockIdx.z * blockDim.z + threadIdx.z;
  const int width = gridDim.x * blockDim.x, height = gridDim.y * blockDim.y;
  atomicAdd(&at[(z * height + y) * width + x], x + 100 * y + 10000 * z);
}

extern "C" __global__ void row_sums(const REAL* x, REAL* sums, long long* counts) {
  const REAL sum = block_sum(__ldg(&x[blockIdx.x * blockDim.x + threadIdx.x]));
  const REAL of_threads = block_sum(REAL(threadIdx.x));
  const long long count = block_sum(1ll);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = sum + of_threads;
    counts[blockIdx.x] = count;
  }
}

extern "C" __global__ void shuffles(int* out, int width) {
  const int n = blockDim.x, i = threadIdx.x, v = 100 + i;
  out[i] = __shfl_sync(ALL, v, i + 1, width);
  out[n + i] = __shfl_xor_sync(ALL, v, 5, width);
  out[2 * n + i] = __shfl_down_sync(ALL, v, 3, width);
  out[3 * n + i] = __shfl_up_sync(ALL, v, 3, width);
}

template <class T> __device__ T neighbour(T value) { return __shfl_down_sync(ALL, value, 1); }

extern "C" __global__ void types(double* out) {
  const int i = threadIdx.x;
  out[5 * i] = neighbour(1.5f * i);
  out[5 * i + 1] = neighbour(1.5 * i);
  out[5 * i + 2] = neighbour(-i);
  out[5 * i + 3] = neighbour(4000000000u + i);
  out[5 * i + 4] = double(neighbour(-(1ll << 40) - i));
}

extern "C" __global__ void votes(unsigned* out) {
  const int i = threadIdx.x;
  out[4 * i] = __ballot_sync(ALL, i % 3 == 0);
  out[4 * i + 1] = __any_sync(ALL, i == 3) + 10 * __any_sync(ALL, i == 99);
  out[4 * i + 2] = __all_sync(ALL, i < 99) + 10 * __all_sync(ALL, i != 3);
  out[4 * i + 3] = 0;
  // Both halves of a diverged warp meet, each by itself.
  if (i < 4) out[4 * i + 3] = __ballot_sync(0xfu, 1);
  else out[4 * i + 3] = __ballot_sync(ALL & ~0xfu, 1);
}

extern "C" __global__ void block_votes(int* out) {
  const int i = threadIdx.x;
  out[3 * i] = __syncthreads_count(i % 2);
  out[3 * i + 1] = __syncthreads_or(i == 40);
  out[3 * i + 2] = __syncthreads_and(i != 40);
}

extern "C" __global__ void functions(const REAL* x, REAL* out, int n) {
  const int i = threadIdx.x;
  if (i >= n) return;
  const REAL v = x[i];
  out[i] = exp(v) + expm1(v) + log(v) + log1p(v) + tanh(v) + sqrt(v) + rsqrt(v) + pow(v, REAL(3))
    + fmax(v, REAL(1)) + fabs(-v) + min(2, 3) + max(2u, 3u)
    + (isfinite(v) && !isnan(v) && !isinf(v) ? 1 : 0);
}

extern "C" __global__ void vectors(float* x, double* y) {
  reinterpret_cast<float4*>(x)[threadIdx.x] = make_float4(1, 2, 3, 4);
  reinterpret_cast<double2*>(y)[threadIdx.x] = make_double2(5, 6);
  const float2 pair = reinterpret_cast<const float2*>(x)[1];
  y[0] += threadIdx.x == 0 ? pair.y : 0;
}

extern "C" __global__ void fresh_shared(REAL* out, int* bits) {
  __shared__ __align__(16) REAL tile[64];
  __shared__ int flags[64];
  out[blockIdx.x * 64 + threadIdx.x] = tile[threadIdx.x];
  bits[blockIdx.x * 64 + threadIdx.x] = flags[threadIdx.x];
  tile[threadIdx.x] = 7;
  flags[threadIdx.x] = 7;
}

extern "C" __global__ void early_exit(int* out) {
  if (threadIdx.x >= 40) return;
  __shared__ int tile[40];
  tile[39 - threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x];
}

#ifndef FASTNET_HOST
__device__ void grid_sync(unsigned* arrived) { this must not be compiled }
#endif

extern "C" __global__ void turns(unsigned* arrived, int* x, int* out) {
  __shared__ int own;
  if (threadIdx.x == 0) own = blockIdx.x;
  x[blockIdx.x * blockDim.x + threadIdx.x] = 1;
  __threadfence();
  grid_sync(arrived);
  int sum = 0;
  for (int i = 0; i < int(gridDim.x * blockDim.x); ++i) sum += x[i];
  grid_sync(arrived);
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum + 1000 * own;
}

extern "C" __global__ void types_of_parameters(
    REAL* a, const REAL* __restrict__ b, const double* c, unsigned char* d, const int e,
    long long f, double g, REAL h) {
  a[0] = b[0] + c[0] + d[0] + e + f + g + h;
}

// extern "C" __global__ void commented_out(int* x) {}
"""


def right(real: str = "float", **options: Any) -> HostModule:
    return HostModule("right.cu", real, sources={"right.cu": RIGHT, "sums.cuh": HEADER}, **options)


@pytest.fixture(scope="module")
def good() -> HostModule:
    return right()


def toy(text: str, real: str = "float") -> HostModule:
    return HostModule("toy.cu", real, sources={"toy.cu": text, "sums.cuh": HEADER})


def at(array: np.ndarray) -> np.uint64:
    return np.uint64(array.ctypes.data)


# -- what kernels compute -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_thread_runs_once_at_its_place(good: HostModule, seed: int) -> None:
    out = np.zeros((8, 6, 15), np.int32)
    good.launch("positions", (3, 2, 4), (5, 3, 2), [at(out)], seed=seed)
    z, y, x = np.indices(out.shape)
    np.testing.assert_array_equal(out, x + 100 * y + 10000 * z)


@pytest.mark.parametrize("real", ["float", "double"])
def test_sums_over_blocks(real: str) -> None:
    dtype = np.dtype({"float": "f4", "double": "f8"}[real])
    x = np.random.default_rng(1).integers(0, 100, (128, 256)).astype(dtype)
    for seed in (0, 1, 2):
        sums, counts = np.zeros(128, dtype), np.zeros(128, np.int64)
        right(real).launch("row_sums", (128,), (256,), [at(x), at(sums), at(counts)], seed=seed)
        np.testing.assert_array_equal(sums, x.sum(1) + np.arange(256).sum())
        np.testing.assert_array_equal(counts, 256)


def test_shuffles(good: HostModule) -> None:
    lane = np.arange(32)
    for width in (32, 8):
        out = np.zeros((4, 32), np.int32)
        good.launch("shuffles", (1,), (32,), [at(out), np.int32(width)])
        first, last = lane // width * width, lane // width * width + width - 1
        np.testing.assert_array_equal(out[0] - 100, first + (lane + 1) % width)
        np.testing.assert_array_equal(out[1] - 100, lane ^ 5)
        np.testing.assert_array_equal(out[2] - 100, np.where(lane + 3 > last, lane, lane + 3))
        np.testing.assert_array_equal(out[3] - 100, np.where(lane - 3 < first, lane, lane - 3))


def test_shuffles_at_the_last_part_of_a_warp(good: HostModule) -> None:
    """A lane that does not exist may be named; its value, on a GPU anything, is all ones here."""
    out = np.zeros((4, 7), np.int32)
    good.launch("shuffles", (1,), (7,), [at(out), np.int32(32)], seed=3)
    assert out[0].tolist() == [101, 102, 103, 104, 105, 106, -1]
    assert out[1].tolist() == [105, 104, -1, 106, 101, 100, 103]
    assert out[2].tolist() == [103, 104, 105, 106, -1, -1, -1]
    assert out[3].tolist() == [100, 101, 102, 100, 101, 102, 103]


def test_shuffles_of_every_type(good: HostModule) -> None:
    out = np.zeros((33, 5))
    good.launch("types", (1,), (33,), [at(out)], seed=1)
    lane = np.r_[np.arange(1, 32), 31][:, None]
    expected = np.hstack([1.5 * lane, 1.5 * lane, -lane, 4e9 + lane, -(2.0**40) - lane])
    np.testing.assert_array_equal(out[:32], expected)
    assert np.isnan(out[32, :2]).all()  # a warp of one lane, which has no neighbour
    assert out[32, 2:].tolist() == [-1, 2**32 - 1, -1]


@pytest.mark.parametrize("threads", [32, 30])
def test_votes(good: HostModule, threads: int) -> None:
    out = np.zeros((threads, 4), np.uint32)
    good.launch("votes", (1,), (threads,), [at(out)], seed=5)
    every_third = sum(1 << i for i in range(0, threads, 3))
    existing = (1 << threads) - 1
    for i in range(threads):
        half = 0xF if i < 4 else existing & ~0xF
        assert out[i].tolist() == [every_third, 1, 1, half]


def test_votes_of_blocks(good: HostModule) -> None:
    out = np.zeros((50, 3), np.int32)
    good.launch("block_votes", (1,), (50,), [at(out)], seed=1)
    np.testing.assert_array_equal(out, [[25, 1, 0]] * 50)


@pytest.mark.parametrize("real", ["float", "double"])
def test_functions_are_those_of_the_type(real: str) -> None:
    dtype = np.dtype({"float": "f4", "double": "f8"}[real])
    x = np.random.default_rng(2).uniform(0.1, 2, 32).astype(dtype)
    out = np.full(32, -1, dtype)
    right(real).launch("functions", (1,), (32,), [at(x), at(out), np.int32(30)])
    v = x[:30].astype(np.float64)
    expected = np.exp(v) + np.expm1(v) + np.log(v) + np.log1p(v) + np.tanh(v) + np.sqrt(v)
    expected += v**-0.5 + v**3 + np.maximum(v, 1) + v + 2 + 3 + 1
    np.testing.assert_allclose(out[:30], expected, rtol=8 * float(np.finfo(dtype).eps))
    assert out[30:].tolist() == [-1, -1]


def test_vectors(good: HostModule) -> None:
    x, y = np.zeros(8, np.float32), np.zeros(4)
    good.launch("vectors", (1,), (2,), [at(x), at(y)])
    assert x.tolist() == [1, 2, 3, 4] * 2
    assert y.tolist() == [9, 6, 5, 6]


def test_threads_that_exited_are_not_waited_for(good: HostModule) -> None:
    out = np.zeros(40, np.int32)
    good.launch("early_exit", (1,), (64,), [at(out)], seed=2)
    np.testing.assert_array_equal(out, 39 - np.arange(40))


# -- shared memory --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 4])
def test_shared_memory_begins_as_nan_in_every_block(good: HostModule, seed: int) -> None:
    out, bits = np.zeros(192, np.float32), np.zeros(192, np.int32)
    good.launch("fresh_shared", (3,), (64,), [at(out), at(bits)], seed=seed)
    assert np.isnan(out).all()
    assert (bits == -1).all()
    good.launch("fresh_shared", (3,), (64,), [at(out), at(bits)], seed=seed, poison=False)
    assert not out.any()
    assert not bits.any()


# -- missing barriers -----------------------------------------------------------------------------


def with_sum(name: str, header: str) -> str:
    """A kernel that sums over a block by one way or another."""
    return f"""
namespace {name}_way {{ {header.replace("#pragma once", "")} }}
{KERNEL} {name}(int* out) {{
  const int first = {name}_way::block_sum<int>(1 + threadIdx.x);
  const int second = {name}_way::block_sum<int>(1);
  out[threadIdx.x] = first + 1000000 * second;
}}
"""


RACES = (
    with_sum("right_sum", HEADER)
    + with_sum("without_first", HEADER.replace("__syncthreads();  // first", ""))
    + with_sum("without_second", HEADER.replace("__syncthreads();  // second", ""))
    + KERNEL
    + """reversed(int* out) {
  __shared__ int tile[32];
  tile[31 - threadIdx.x] = threadIdx.x;
  __syncwarp();
  out[threadIdx.x] = tile[threadIdx.x];
}
"""
    + KERNEL
    + """unmet(int* out) {
  __shared__ int tile[32];
  tile[31 - threadIdx.x] = threadIdx.x;
  out[threadIdx.x] = tile[threadIdx.x];
}
"""
    + KERNEL
    + "last(int* out) { if (threadIdx.x == 0) *out = blockIdx.x; }\n"
    + KERNEL
    + "hcreate_r(int* out) { *out = 2; }"
)


def results(name: str, grid: int, block: int, seeds: Iterable[int]) -> list[np.ndarray]:
    found = []
    for seed in seeds:
        out = np.zeros(block, np.int32)
        toy(RACES).launch(name, (grid,), (block,), [at(out)], seed=seed)
        found.append(out)
    return found


def test_a_sum_does_not_depend_on_the_order() -> None:
    for out in results("right_sum", 1, 256, [0, *SEEDS]):
        np.testing.assert_array_equal(out, 256 * 257 // 2 + 256 * 1000000)


@pytest.mark.parametrize("name", ["without_first", "without_second"])
def test_a_missing_barrier_shows(name: str) -> None:
    assert len({out.tobytes() for out in results(name, 1, 256, SEEDS)}) > 1


def test_a_missing_warp_barrier_shows() -> None:
    for out in results("reversed", 1, 32, SEEDS):
        np.testing.assert_array_equal(out, 31 - np.arange(32))
    assert len({out.tobytes() for out in results("unmet", 1, 32, SEEDS)}) == len(SEEDS)


def test_a_race_between_blocks_shows() -> None:
    assert results("last", 16, 32, [0])[0][0] == 15
    assert len({int(out[0]) for out in results("last", 16, 32, SEEDS)}) > 3


# -- what would hang or be undefined --------------------------------------------------------------

WRONG = r"""
#define ALL 0xffffffffu


K deadlock() { if (threadIdx.x != 33) __syncthreads();
  else __shfl_sync(3, 1, 0); }
K not_in_mask() { if (threadIdx.x == 9) __ballot_sync(0xf, 1); }
K exited() { if (threadIdx.x != 5) __syncwarp(); }
K other_lines() { if (threadIdx.x < 7) __syncthreads();
  else __syncthreads(); }
K other_calls() { if (threadIdx.x < 16) __syncwarp(); else __any_sync(ALL, 1); }
K other_masks() { __syncwarp(threadIdx.x % 32 < 16 ? ALL : ALL - 1); }
K bad_width() { __shfl_sync(ALL, 1, 0, 12); }
K meets_all(int* counter) { grid_sync(counter); }
K no_turns(int* x, int* out) { x[blockIdx.x] = 1; out[blockIdx.x] = x[0] + x[1] + x[2] + x[3]; }
K meets_some(int* counter) { if (blockIdx.x != 1) grid_sync(counter); }
K fine(int* out) { __syncthreads(); if (threadIdx.x == 0) *out = 1; }
K hcreate_r(int* out) { *out = 1; }
K other_types(unsigned* a, bool b, unsigned long long c, short* d) {}
""".replace("K ", KERNEL)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deadlock", "63 wait at toy.cu:5: __syncthreads, 1 wait at toy.cu:6: __shfl_sync"),
        ("not_in_mask", "toy.cu:7: __ballot_sync has a mask without its own lane 9"),
        ("exited", "toy.cu:8: __syncwarp waits for lane 5, which has exited"),
        ("other_lines", "different barriers: toy.cu:9: __syncthreads and toy.cu:10"),
        ("other_calls", "different calls: toy.cu:11: __syncwarp with mask 0xffffffff, and"),
        ("other_masks", "with mask 0xfffffffe"),
        ("bad_width", "__shfl_sync has a width that is no power of two up to 32: 12"),
    ],
)
@pytest.mark.parametrize("seed", [0, 7])
def test_what_would_hang_is_named(name: str, words: str, seed: int) -> None:
    wrong, out = toy(WRONG), np.zeros(1, np.int32)
    with pytest.raises(HostKernelError) as caught:
        wrong.launch(name, (2,), (64,), [], seed=seed)
    assert str(caught.value).startswith(f"{name}: ")
    assert words in str(caught.value)
    wrong.launch("fine", (2,), (64,), [at(out)], seed=seed)  # the next launch is not affected
    assert out == 1


def test_launches_that_no_gpu_takes(good: HostModule) -> None:
    out = np.zeros(1, np.int32)
    for grid, block in (((1,), (1025,)), ((1,), (0,)), ((0,), (1,)), ((1, 65536), (1,))):
        with pytest.raises(HostKernelError, match="a GPU takes"):
            good.launch("early_exit", grid, block, [at(out)])
    for bad in ((), (1, 1, 1, 1), (-1,)):
        with pytest.raises(ValueError, match="one to three extents"):
            good.launch("early_exit", bad, (1,), [at(out)])
    with pytest.raises(HostKernelError, match="a cooperative launch of 131072 threads"):
        good.launch("early_exit", (128,), (1024,), [at(out)], cooperative=True)


# -- cooperative launches -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_whole_grid_meets(good: HostModule, seed: int) -> None:
    arrived, x, out = np.zeros(1, np.uint32), np.zeros(320, np.int32), np.zeros(320, np.int32)
    values = [at(arrived), at(x), at(out)]
    good.launch("turns", (5,), (64,), values, seed=seed, cooperative=True)
    np.testing.assert_array_equal(out, 320 + 1000 * np.repeat(np.arange(5), 64))


def test_a_missing_meeting_of_the_grid_shows() -> None:
    wrong, found = toy(WRONG), set()
    for seed in SEEDS:
        x, out = np.zeros(5, np.int32), np.zeros(5, np.int32)
        wrong.launch("no_turns", (5,), (32,), [at(x), at(out)], seed=seed, cooperative=True)
        found.add(tuple(out.tolist()))
    assert len(found) > 3


def test_meetings_of_the_grid_that_cannot_be() -> None:
    wrong, counter = toy(WRONG), np.zeros(1, np.int32)
    with pytest.raises(HostKernelError, match="grid_sync in a launch that is not cooperative"):
        wrong.launch("meets_all", (3,), (32,), [at(counter)])
    wrong.launch("meets_all", (3,), (32,), [at(counter)], cooperative=True)
    with pytest.raises(HostKernelError, match=r"64 wait at .*: grid_sync, 32 have exited"):
        wrong.launch("meets_some", (3,), (32,), [at(counter)], cooperative=True)


# -- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("real", "code"), [("float", "f4"), ("double", "f8")])
def test_signatures(real: str, code: str) -> None:
    found = right(real).kernels["types_of_parameters"]
    assert found == f"{code}*, const {code}*, const f8*, u1*, i4, i8, f8, {code}"
    parameters = RIGHT.partition("void types_of_parameters")[2]
    (declared,) = cuda.kernels_in("right.cu", "KERNEL types_of_parameters" + parameters)
    assert found == signature(declared, real)


def test_signatures_of_other_types_and_of_none() -> None:
    kernels = toy(WRONG).kernels
    assert kernels["other_types"] == "u4*, b1, u8, i2*"
    assert kernels["deadlock"] == ""
    assert "commented_out" not in right().kernels


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], r"shuffles takes 2 arguments \(i4\*, i4\), not 0"),
        ([np.uint64(0)], "not 1"),
        ([np.uint64(0), np.int64(1)], "argument 1 of shuffles is i4: expected i4, not i8"),
        ([np.uint64(0), np.uint32(1)], "not u4"),
        ([np.uint64(0), np.float32(1)], "not f4"),
        ([np.uint64(0), 1], "not int"),
        ([np.int64(0), np.int32(1)], r"argument 0 of shuffles is i4\*: expected u8, not i8"),
    ],
)
def test_arguments_that_do_not_fit(good: HostModule, values: list[Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        good.launch("shuffles", (1,), (32,), values)


# -- compiling ------------------------------------------------------------------------------------


def test_nothing_to_warn_about(good: HostModule) -> None:
    assert good.warnings == ""


def test_a_text_that_does_not_compile() -> None:
    with pytest.raises(HostKernelError, match=r"toy\.cu:2:.*error"):
        toy("\n" + KERNEL + "wrong(int* x) { *x = nobody; }")
    with pytest.raises(HostKernelError, match=r"frame size of .* is larger than 32768"):
        toy(KERNEL + "deep(int* x) { volatile int frame[9999]; frame[*x] = 0; }")
    with pytest.raises(ValueError, match=r"toy\.cu has no kernel"):
        toy("__device__ int two() { return 2; }")


def test_an_edit_is_another_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module.base_folder.cache_clear()
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    try:
        out = np.zeros(1, np.int32)
        for number in (1, 2, 1):
            header = f"#define NUMBER {number}"
            text = '#include "number.cuh"\n' + KERNEL + "number(int* x) { *x = NUMBER; }"
            sources = {"a.cu": text, "number.cuh": header}
            HostModule("a.cu", "float", sources=sources).launch("number", (1,), (1,), [at(out)])
            assert out == number
        assert len(list(tmp_path.iterdir())) == 2
    finally:
        module.base_folder.cache_clear()


def test_libraries_keep_to_themselves() -> None:
    """Two have kernels of one name, which is also that of a function in C's own library."""
    out, libraries = np.zeros(1, np.int32), [toy(WRONG), toy(RACES)]
    for number, library in enumerate(libraries, 1):
        library.launch("hcreate_r", (1,), (1,), [at(out)])
        assert out == number


def test_two_at_once_make_one_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module.base_folder.cache_clear()
    monkeypatch.setenv("FASTNET_CACHE_DIR", str(tmp_path))
    text, errors = KERNEL + "add(int* x) { atomicAdd(x, 1); }", []

    def work() -> None:
        try:
            changed, x = toy(text), np.zeros(1, np.int32)
            for seed in range(20):
                changed.launch("add", (4,), (64,), [at(x)], seed=seed)
            assert x == 20 * 4 * 64
        except BaseException as error:
            errors.append(error)

    try:
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not errors
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        module.base_folder.cache_clear()


# -- sanitizers -----------------------------------------------------------------------------------

SANITIZED = r"""
import sys
import numpy as np
from cuda_host.module import HostModule
from cuda_host.sanitized import exact

TEXT = r'''
extern "C" __global__ void twice(const float* x, float* y, int n) {
  __shared__ float tile[64];
  const int i = threadIdx.x;
  tile[i] = i < n ? x[i] : 0;
  __syncthreads();
  if (i < n) y[i] = 2 * __shfl_xor_sync(0xffffffffu, tile[i], 0);
}
extern "C" __global__ void fours(const float* x, float* y, int n) {
  reinterpret_cast<float4*>(y)[threadIdx.x] = reinterpret_cast<const float4*>(x)[threadIdx.x];
}
extern "C" __global__ void beyond_shared(const float* x, float* y, int n) {
  __shared__ float first[64], second[64];
  float* tile = n > 64 ? second : first;
  tile[threadIdx.x] = x[0];
  __syncthreads();
  y[0] = tile[n];
}
'''
module = HostModule("toy.cu", "float", sources={"toy.cu": TEXT})
x, y = exact(np.arange(64, dtype=np.float32)), exact(np.zeros(64, np.float32))

def launch(name, shift=0, n=64, threads=64):
    values = [np.uint64(x.ctypes.data + shift), np.uint64(y.ctypes.data), np.int32(n)]
    for seed in (0, 1):
        module.launch(name, (2,), (threads,), values, seed=seed)

launch("twice")
assert (y == 2 * np.arange(64)).all()
launch("fours", threads=16)
assert (y == x).all()
print("fine", flush=True)
"""

needs_sanitizers = pytest.mark.skipif(not sanitized.has_sanitizers(), reason="no sanitizers")


@needs_sanitizers
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("", ""),
        ("launch('twice', shift=4)", "heap-buffer-overflow"),
        ("launch('fours', shift=4, threads=15)", "misaligned address"),
        ("launch('beyond_shared')", "insufficient space"),
    ],
)
def test_the_sanitizers_find(call: str, words: str) -> None:
    done = sanitized.run_sanitized(SANITIZED + call)
    assert done.stdout == "fine\n", done.stderr
    assert words in done.stderr
    assert (done.returncode == 0) == (not words)
    assert ("toy.cu:" in done.stderr) == bool(words)
