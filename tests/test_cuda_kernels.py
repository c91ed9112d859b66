"""The CUDA kernels on the host: values, schedules, declarations, and how they are launched."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from backends import on_host
from cuda_host.device import HostDevice
from cuda_host.executor import needs_compiler
from cuda_host.module import HostModule, signature
from cuda_host.sanitized import has_sanitizers, run_sanitized
from fastnet_kernels import cuda

from bench.gpu import kernels
from fastnet.execution import buffers, codes, cuda_ops, programs
from fastnet.execution import device as seam
from fastnet.execution.device import DeviceArray

DTYPES = kernels.DTYPES
# Odd sizes; rows that take a block each; sums that take several.
SHAPES = [(1, 1), (7, 10), (33, 129), (3, 1100), (1200, 5)]
FILES = [name for name in cuda.sources() if name.endswith(".cu")]
SCHEDULES = (0, 1, 2, 3, 4)


# -- values ---------------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", kernels.NAMES)
def test_every_op_is_as_numpy_in_float64(op: str, dtype: str) -> None:
    """Also in rows so wide that they take a block, and sums so tall that they take several."""
    device = HostDevice(seed=7)
    found = [kernels.compare(device, case, dtype) for case in kernels.cases(SHAPES, op)]
    assert found
    assert [finding for finding in found if not finding.passed] == []


@needs_compiler
@pytest.mark.parametrize("op", kernels.NAMES)
def test_every_op_has_the_same_bits_in_every_schedule(op: str) -> None:
    for case in kernels.cases(SHAPES, op):
        bits = {
            tuple(
                array.tobytes()
                for array in kernels.run(
                    HostDevice(seed=seed), op, case.arguments(np.dtype(np.float32))
                )
                if isinstance(array, np.ndarray)
            )
            for seed in SCHEDULES
        }
        assert len(bits) == 1, f"{op} {case.label}"


@needs_compiler
def test_wide_rows_and_tall_sums_take_other_launches() -> None:
    device = HostDevice()
    for case in kernels.cases(SHAPES):
        kernels.run(device, case.op, case.arguments(np.dtype(np.float32)))
    in_programs = {k.name for k in cuda.kernels().values() if k.file == "products.cu"}
    assert set(cuda.kernels()) - set(device.log) - in_programs == {"take_rows"}
    device, tall = HostDevice(), np.ones((1200, 5), np.float32)
    on_host(device).column_sum(np.zeros(5, np.float32), tall, 0)
    assert device.log.count("column_sum") == 2


@needs_compiler
@pytest.mark.parametrize("columns", [1, 5, 8, 9, 16, 17, 40])
def test_column_sums_of_any_width_fit_the_scratch(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(seam, "SCRATCH_BYTES", 64)
    monkeypatch.setattr(cuda_ops, "CHUNK", 2)
    out, ones = np.full(columns, np.nan, np.float32), np.ones((7, columns), np.float32)
    host = HostDevice()
    on_host(host).column_sum(out, ones, 0)
    np.testing.assert_array_equal(out, len(ones))
    assert host.log.count("column_sum") == (2 if 2 * columns * 4 <= 64 else 1)


class Grids(HostDevice):
    """A device that only says how it was launched; its arrays have no memory."""

    def __init__(self) -> None:
        super().__init__()
        self.grids: list[tuple[int, ...]] = []

    def _allocate(self, nbytes: int) -> tuple[object, int]:
        return None, 0

    def _launch(self, kernel: Any, real: Any, grid: Any, *_: Any) -> None:
        self.grids.append((*grid, *(1,) * (3 - len(grid))))


@pytest.mark.parametrize("shape", [(2**26 + 1, 1), (2**31 - 1, 1), (1, 2**31 - 1), (2**20, 2**12)])
def test_grids_of_huge_matrices_are_legal(shape: tuple[int, int]) -> None:
    device = Grids()
    rows, columns = shape
    matrix, row = device.empty(shape, np.float32), device.empty(columns, np.float32)
    column, order = device.empty(rows, np.float32), device.empty(rows, np.int32)
    few, clock = device.empty(5, np.float64), device.empty(3, np.int64)
    for kind in (codes.RELU, codes.SOFTMAX):
        cuda_ops.bias_activation(matrix, matrix, row, kind, 0.0)
        cuda_ops.activation_backward(matrix, matrix, matrix, kind, 0.0)
    cuda_ops.column_sum(row, matrix, 0)
    cuda_ops.gather_features(matrix, matrix, order, clock, 0, 1.0)
    cuda_ops.gather_targets(matrix, column, matrix, column, order, clock, 0)
    cuda_ops.cross_entropy(matrix, column, column, matrix, matrix, column, few, 2, 1, 1, 0.0)
    cuda_ops.add_losses(few, column, column)
    cuda_ops.sgd_step(matrix.reshape(matrix.size), matrix.reshape(matrix.size), few)
    cuda_ops.not_finite(order[:1], matrix)
    for x, y, z in device.grids:
        assert 1 <= x < 2**31
        assert 1 <= y <= 65535
        assert z == 1


@needs_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(dtype: str, bad: float) -> None:
    device, values = HostDevice(seed=1), np.ones(300_001, dtype)
    found = np.zeros(1, np.int32)
    cuda_ops.not_finite(device.wrap(found), device.wrap(values))
    assert found[0] == 0
    values[-1] = bad
    cuda_ops.not_finite(device.wrap(found), device.wrap(values))
    assert found[0] == 1


@needs_compiler
@pytest.mark.parametrize("dtype", ["uint8", *DTYPES])
def test_take_rows(dtype: str) -> None:
    device, rows = HostDevice(seed=1), np.arange(21 * 5).reshape(21, 5).astype(dtype)
    index = np.array([20, 0, 7, 7], np.int32)
    out = np.full((4, 5), 99, dtype)
    cuda_ops.take_rows(device.wrap(out), device.wrap(rows), device.wrap(index))
    np.testing.assert_array_equal(out, rows[index])


@pytest.mark.skipif(not has_sanitizers(), reason="no compiler with sanitizers is installed")
def test_kernels_stay_within_their_buffers_and_alignment() -> None:
    """Every case again, under the address and undefined behaviour sanitizers, in exact buffers."""
    done = run_sanitized(
        """
import numpy as np
from bench.gpu import kernels
from cuda_host.device import HostDevice
from cuda_host.module import compile_at_once
from cuda_host.sanitized import exact
from fastnet.execution import cuda_ops
from fastnet_kernels import cuda

compile_at_once({(kernel.file, "float", None) for kernel in cuda.kernels().values()})

class Exact(HostDevice):
    def _allocate(self, nbytes):
        memory = exact(np.empty(nbytes, np.uint8))
        return memory, memory.ctypes.data

cuda_ops.CHUNK = 2  # so that few rows are many to a column sum
device, count = Exact(seed=3), 0
for case in kernels.cases([(7, 10), (2, 1025)]):
    arguments = case.arguments(np.dtype(np.float32))
    kernels.run(device, case.op, arguments)
    count += 1
    if case.op == "cross_entropy":
        arguments[3][0] = np.nan  # what diverges must not read elsewhere
        arguments[3][1, -1] = np.nan
        results = kernels.run(device, case.op, arguments)
        assert np.isnan(results[1][:2]).all()
print("ran", count)
"""
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.fullmatch(r"ran \d{3}\n", done.stdout), done.stdout


# -- declarations ---------------------------------------------------------------------------------


@needs_compiler
@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("file", FILES)
def test_declarations_are_read_as_the_compiler_reads_them(file: str, real: str) -> None:
    module = HostModule(file, real)
    assert not module.warnings
    if file == cuda.PROGRAM:
        assert list(module.kernels) == ["run_program"]
        return
    declared = {k.name: k for k in cuda.kernels().values() if k.file == file}
    assert module.kernels == {name: signature(k, real) for name, k in declared.items()}


def test_a_type_that_is_not_known_is_refused() -> None:
    text = "KERNEL f(const short* x, int n) {}"
    with pytest.raises(ValueError, match=r"f takes 'const short\* x'"):
        cuda.kernels_in("x.cu", text)


@pytest.mark.parametrize("module", [codes, buffers, programs])
def test_the_numbers_are_those_of_python(module: Any) -> None:
    """The header has them again so that kernels compile without Python."""
    text = cuda.sources()["codes.cuh"]
    defined = {name: int(value) for name, value in re.findall(r"#define (\w+) (\d+)", text)}
    sizes = {"SCALARS", "CLOCK", "TOTALS"}  # of buffers; and what kernels need not tell apart
    beside = {"INPUT", "DENSE", "OUTPUT", "SGD", "MOMENTUM", "ADAM"} | sizes
    if module is programs:  # whose other numbers the kernels do not need, or say elsewhere
        beside = {name for name in vars(programs) if not name.startswith("ENDS_")}
    python = {
        name: value
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int) and name not in beside
    }
    assert python
    assert {name: defined.get(name) for name in python} == python
    both = {**vars(codes), **vars(buffers), **vars(programs)}
    assert all(both[name] == value for name, value in defined.items())


@pytest.mark.parametrize("file", FILES)
def test_every_file_says_what_it_fuses_and_needs_nothing_else(file: str) -> None:
    text = cuda.sources()[file]
    opening = text[: text.index("#include")]
    assert "Fused:" in opening or "live in device memory" in opening
    includes = re.findall(r"#include (\S+)", text)
    assert {f'"{name}"' for name in cuda.sources()} >= set(includes)
    assert "asm" not in text
    # Results must not depend on who is first; blocks only count themselves so.
    meeting = ["atomicAdd("] if file == cuda.PROGRAM else []
    assert re.findall(r"atomic\w*\(", text) == meeting


@pytest.mark.parametrize("file", FILES)
def test_flattened_text_has_every_header_once(file: str) -> None:
    text = cuda.flattened(file)
    assert "#include" not in text
    assert text.count("#define REAL float") == 1


# -- launches -------------------------------------------------------------------------------------


def launch(device: HostDevice, **other: Any) -> None:
    """Launch a kernel with one argument in the place of a right one."""
    arguments: dict[str, Any] = {
        "theta": device.empty(5, np.float32),
        "gradient": device.empty(5, np.float32),
        "scalars": device.empty(5, np.float64),
        "size": 5,
    }
    arguments |= other
    device.launch("sgd_step", (1,), *arguments.values())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gradient", np.zeros(5, np.float32), "gradient of sgd_step is a ndarray; expected a Dev"),
        ("gradient", "float64", "gradient of sgd_step is DeviceArray.*expected float32"),
        ("scalars", "float32", "scalars of sgd_step is DeviceArray.*expected float64"),
        ("scalars", "other", "expected one of host"),
        ("size", 5.5, "size of sgd_step is 5.5; expected an integer"),
        ("size", None, "size of sgd_step is a NoneType; expected a number"),
        ("extra", 1, "sgd_step was launched with 5 arguments; expected 4"),
    ],
)
def test_arguments_that_a_kernel_does_not_take(name: str, value: Any, message: str) -> None:
    device = HostDevice()
    if isinstance(value, str) and value == "other":
        value = HostDevice().empty(5, np.float64)
    elif isinstance(value, str):
        value = device.empty(5, value)
    with pytest.raises(TypeError, match=message):
        launch(device, **{name: value})


@needs_compiler
def test_numbers_are_converted_to_what_the_kernel_takes() -> None:
    launch(HostDevice(), size=np.int64(5))
    launch(HostDevice(), size=5.0)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda a: a[::2], "stride 2"),
        (lambda a: a[0][0], "device.get"),
        (lambda a: list(a), "iterated"),
        (lambda a: a + a, "unsupported operand"),
        (lambda a: np.asarray(a, float), "to sequence"),
        (lambda a: a.reshape(5, 5), "cannot become"),
    ],
)
def test_the_host_cannot_look_into_a_device_array(what: Any, message: str) -> None:
    array = HostDevice().empty((4, 3), np.float32)
    with pytest.raises((TypeError, ValueError), match=message):
        what(array)


def test_parts_of_a_device_array_are_addresses() -> None:
    array = HostDevice().empty((4, 3), np.float64)
    part = array[1:3]
    assert (part.shape, part.address - array.address, part.nbytes) == ((2, 3), 24, 48)
    assert array[-1].address - array.address == 72
    assert array[5:].shape == (0, 3)
    assert array.reshape(12)[4:].size == 8
    assert isinstance(part, DeviceArray)
    assert part.memory is array.memory
