"""Steps as programs: one cooperative launch that does what captured launches do."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cuda_host.device import HostDevice
from cuda_host.executor import HostExecutor, cupy_on_host, needs_compiler
from cuda_host.module import HostKernelError
from cuda_host.sanitized import has_sanitizers, run_sanitized
from fastnet_kernels import cuda
from test_cuda_executor import TRAININGS, X, network

from bench.gpu import training
from fastnet import SGD, DivergenceError
from fastnet.execution import codes, cuda_ops, device_executor, numpy_ops, programs
from fastnet.execution.lanes import keeps_order
from fastnet.execution.programs import NoProgramError, Program

pytestmark = needs_compiler

Array = np.ndarray[Any, np.dtype[Any]]
RNG = np.random.default_rng(6)


@pytest.fixture
def devices() -> list[HostDevice]:
    """Every device that the test has made, the last one last."""
    return []


@pytest.fixture(autouse=True)
def _on_host(devices: list[HostDevice]) -> Iterator[None]:
    def make() -> HostDevice:
        # Another schedule and another number of blocks each time.
        devices.append(HostDevice(seed=len(devices), program_blocks=2 + len(devices) % 3))
        return devices[-1]

    with pytest.MonkeyPatch.context() as patch, cupy_on_host(patch, make):
        patch.setattr(HostExecutor, "runs_programs", True)
        patch.setattr(device_executor, "STEPS_OF_A_PROGRAM", 2)
        yield


# -- trainings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_ends_where_numpy_ends(name: str, devices: list[HostDevice]) -> None:
    train = TRAININGS[name]
    (ours, history), (theirs, reference) = train("cupy"), train("numpy")
    room = 1e-12 if ours.dtype == np.float64 else 2e-6
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=room)
    np.testing.assert_allclose(history["train_loss"], reference["train_loss"], rtol=1e-5)
    log = devices[-1].log
    assert "program" in log
    assert "capture" not in log
    assert "adam_step" not in log
    assert "sgd_step" not in log
    assert log.count("gemm") <= 8  # of what is asked besides training


@pytest.mark.parametrize("case", training.QUICK_CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_bench_gpu_compares(case: training.Case, dtype: str) -> None:
    found = training.parity(case, dtype, training.QUICK_STEPS, training.by_programs)
    assert found["passed"], found


@pytest.mark.parametrize("name", ["adam, short last batch", "momentum, log_loss", "float64"])
def test_bits_depend_on_no_schedule_and_no_number_of_blocks(
    name: str, devices: list[HostDevice]
) -> None:
    bits = set()
    for _ in range(4):
        net, history = TRAININGS[name]("cupy")
        bits.add((net.parameters.tobytes(), tuple(history["train_loss"])))
    assert len(bits) == 1
    assert len({one.program_blocks for one in devices}) == 3


@pytest.mark.parametrize("batch_size", [1, 16, 33])
def test_one_launch_has_many_steps(batch_size: int, devices: list[HostDevice]) -> None:
    net, history = network(), []
    for epochs in (1, 2):
        history = net.fit(X, np.arange(70) % 3, epochs=epochs, batch_size=batch_size)
    assert len(history["train_loss"]) == 2
    # A fit begins with one step, then come all of an epoch that can be told to go round, what is
    # left of them, and the short last one.
    steps = 3 * -(-70 // batch_size)
    assert devices[-1].log.count("program") <= min(steps, 2 * 4 + 3)


def test_a_training_that_diverges_says_where() -> None:
    def fit(backend: str) -> str:
        net = network(backend=backend, hidden="relu", loss="mse", end="linear")
        with pytest.raises(DivergenceError) as caught:
            net.fit(1e3 * X, np.eye(3)[np.arange(70) % 3], optimizer=SGD(1e3), batch_size=8)
        return str(caught.value)

    assert fit("cupy") == fit("numpy")


def test_an_epoch_may_be_left_and_gone_on_with(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same bits, also from within an epoch, at whose next step another one is the first."""
    blocks = iter([4] * 3)  # of one GPU, which cuts sums in one way
    monkeypatch.setattr(HostExecutor, "make", lambda: HostDevice(program_blocks=next(blocks)))
    whole = network(7, 500, 3)
    whole.fit(X, np.arange(70) % 3, epochs=4, batch_size=16)
    for epochs in (2, 4):
        net = network(7, 500, 3)
        net.fit(
            *(X, np.arange(70) % 3),
            epochs=epochs,
            batch_size=16,
            checkpoint=tmp_path / "c",
            resume="auto",
        )
    assert net.parameters.tobytes() == whole.parameters.tobytes()


# -- products -------------------------------------------------------------------------------------

SIZES = [(1, 1, 1), (33, 31, 32), (5, 70, 385), (129, 10, 37), (64, 64, 64), (3, 2, 1000)]


def run(device: HostDevice, ask: Callable[[], None], rounds: int = 1) -> Program:
    program = programs.build(device.record(ask), device.program_blocks, device.empty)
    device.runnable(program, np.dtype(np.float32))(rounds)
    return program


def kernels_in(program: Program) -> list[list[str]]:
    """The names of the kernels of every level."""
    names = list(cuda.kernels())
    pairs = itertools.pairwise(program.first.tolist())
    return [[names[int(call[0])] for call in program.calls[a:b]] for a, b in pairs]


def numbers(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("blocks", [1, 3, 16])
@pytest.mark.parametrize("op", ["matmul_nn", "matmul_tn", "matmul_nt"])
@pytest.mark.parametrize("beta", [0, 1])
def test_a_product_is_numpys(sizes: tuple[int, int, int], blocks: int, op: str, beta: int) -> None:
    m, n, k = sizes
    shapes = {"matmul_nn": [(m, k), (k, n)], "matmul_tn": [(k, m + 4), (k, n)]}
    a, b = map(numbers, *zip(*shapes.get(op, [(m, k), (n, k)]), strict=True))
    out = numbers(m, n) if beta else np.full((m, n), np.nan, np.float32)
    first = [3] if op == "matmul_tn" else []
    exact = np.nan_to_num(out.astype(np.float64))
    getattr(numpy_ops, op)(exact, a.astype(np.float64), b.astype(np.float64), *first, beta)
    device = HostDevice(seed=blocks, program_blocks=blocks)
    place = device.wrap(out)
    program = run(
        device, lambda: getattr(cuda_ops, op)(place, device.wrap(a), device.wrap(b), *first, beta)
    )
    np.testing.assert_allclose(out, exact, rtol=1e-5, atol=1e-5 * np.sqrt(k))
    is_sliced = k >= programs.LONG_SUM and blocks >= 2 * -(-m // 32) * -(-n // 32)
    assert kernels_in(program) == ([["product"], ["sum_slices"]] if is_sliced else [["product"]])


@pytest.mark.parametrize("k", [20, 400])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("activation", range(codes.SOFTMAX + 1))
def test_a_bias_and_an_activation_end_a_product(k: int, in_place: bool, activation: int) -> None:
    a, b, bias = numbers(37, k), numbers(k, 33) / 8, numbers(33)
    z = np.full((37, 33), np.nan, np.float32)
    out = z if in_place else z.copy()
    exact_z, exact = np.empty((37, 33)), np.empty((37, 33))
    numpy_ops.matmul_nn(exact_z, a.astype(np.float64), b.astype(np.float64), 0)
    numpy_ops.bias_activation(exact, exact_z, bias.astype(np.float64), activation, 0.3)
    device = HostDevice(seed=2, program_blocks=16)
    on = device.wrap

    def ask() -> None:
        cuda_ops.matmul_nn(on(z), on(a), on(b), 0)
        cuda_ops.bias_activation(on(out), on(z), on(bias), activation, 0.3)

    found = kernels_in(run(device, ask))
    np.testing.assert_allclose(out, exact, rtol=1e-4, atol=1e-5)
    if not in_place:
        np.testing.assert_allclose(z, exact_z, rtol=1e-4, atol=1e-5)
    assert found[: 1 + (k == 400)] == [["product"], ["sum_slices"]][: 1 + (k == 400)]
    assert found[1 + (k == 400) :] == [["softmax"]] * (activation == codes.SOFTMAX)


@pytest.mark.parametrize("k", [20, 400])
@pytest.mark.parametrize("activation", range(1, codes.SOFTMAX))
def test_a_derivative_ends_a_product(k: int, activation: int) -> None:
    d, weights, a = numbers(37, k), numbers(33, k) / 8, RNG.random((37, 33)).astype(np.float32)
    a[a < 0.3] = 0
    out = np.full((37, 33), np.nan, np.float32)
    exact = np.empty((37, 33))
    numpy_ops.matmul_nt(exact, d.astype(np.float64), weights.astype(np.float64), 0)
    numpy_ops.activation_backward(exact, a.astype(np.float64), a, activation, 0.3)
    device = HostDevice(seed=3, program_blocks=16)
    on = device.wrap

    def ask() -> None:
        cuda_ops.matmul_nt(on(out), on(d), on(weights), 0)
        cuda_ops.activation_backward(on(out), on(a), on(a), activation, 0.3)

    found = kernels_in(run(device, ask))
    np.testing.assert_allclose(out, exact, rtol=1e-4, atol=1e-5)
    assert sum(map(len, found)) == 1 + (k == 400)


@pytest.mark.parametrize("between", ["z is read", "the bias is written", "beta"])
def test_what_stands_in_between_keeps_a_product_apart(between: str) -> None:
    a, b, bias, z = numbers(5, 7), numbers(7, 4), numbers(4), np.zeros((5, 4), np.float32)
    copied, start = np.zeros((5, 4), np.float32), bias.copy()
    device = HostDevice(program_blocks=2)
    device.prepare()
    on = device.wrap

    def ask() -> None:
        cuda_ops.matmul_nn(on(z), on(a), on(b), int(between == "beta"))
        if between == "z is read":
            cuda_ops.activation(on(copied), on(z), codes.RELU, 0.0)
        if between == "the bias is written":
            cuda_ops.column_sum(on(bias), on(a[:, :4].copy()), 1)
        cuda_ops.bias_activation(on(z), on(z), on(bias), codes.LINEAR, 0.0)

    found = kernels_in(run(device, ask))
    assert ["bias_activation"] in found
    shift = start + (a[:, :4].sum(axis=0) if between == "the bias is written" else 0)
    np.testing.assert_allclose(z, a @ b + shift, rtol=1e-5, atol=1e-5)


# -- programs -------------------------------------------------------------------------------------


def recorded(steps: int, *sizes: int, blocks: int = 132) -> tuple[list[Any], Program]:
    """What so many steps of row C's kind ask for, and their program."""
    sizes = sizes or (784, 128, 10)
    net = network(*sizes)
    rows, _ = net.rows(numbers(32, sizes[0]), np.arange(32) % sizes[-1], codec=None, training=False)
    executor: Any = net.executor
    executor.reset_state(2)
    from fastnet import Adam

    executor.begin_training(net._load(rows), 32, Adam().update())
    works = executor._on.record(lambda: executor._launch(32, steps))
    return works, programs.build(works, blocks, executor._on.empty)


def test_a_step_of_row_c_is_seven_levels() -> None:
    _, one = recorded(1)
    _, eight = recorded(8)
    assert (one.levels, eight.levels) == (8, 57)
    assert kernels_in(eight)[8:15] == [
        ["product", "begin_step"],
        ["sum_slices"],
        ["product"],
        ["cross_entropy"],
        ["product", "product", "add_losses", "column_sum"],
        ["product", "column_sum", "count_step"],
        ["adam_step", "gather_features", "gather_targets_classes"],
    ]


@pytest.mark.parametrize("sizes", [(7, 9, 3), (784, 128, 10), (7, 11, 5, 6, 3)])
def test_levels_keep_the_order_that_the_data_ask_for(sizes: tuple[int, ...]) -> None:
    works, _ = recorded(3, *sizes)
    device = HostDevice()

    def room(out: Any, size: int) -> Any:
        return device.empty(size, out.dtype)

    operations = [
        one
        for work, ending in programs.joined(works)
        for one in programs._calls(work, ending, 132, room)
    ]
    levels = programs.levels_of(operations)
    for (i, one), (j, other) in itertools.combinations(enumerate(operations), 2):
        if keeps_order(one, other):
            assert levels[i] < levels[j]
    # Nothing was lost: all that was asked for is read and written by some call.
    for what in ("reads", "writes"):
        of_calls = {span for one in operations for span in getattr(one, what)}
        assert {span for work in works for span in getattr(work, what)} <= of_calls


def test_a_program_may_be_larger_than_what_is_kept_of_it(devices: list[HostDevice]) -> None:
    most = int(re.findall(r"#define MOST_KEPT (\d+)", cuda.sources()[cuda.PROGRAM])[0])
    values, gradient = np.zeros(3, np.float32), np.ones(3, np.float32)
    scalars, device = np.array([0.5, 1, 0, 0, 0]), HostDevice(seed=5, program_blocks=2)
    on = device.wrap
    for calls in (most - 1, most, most + 1, 2 * most):
        values[:] = 0

        def ask(calls: int = calls) -> None:
            for _ in range(calls):
                cuda_ops.sgd_step(on(values), on(gradient), on(scalars))

        assert run(device, ask, rounds=2).levels == calls
        assert values.tolist() == [-calls] * 3
    _, four = recorded(device_executor.STEPS_OF_A_PROGRAM, 784, 128, 64, 32, 10)
    assert len(four.calls) <= most


def test_grids_are_as_large_as_the_blocks_that_there_are() -> None:
    _, program = recorded(2, blocks=60)
    names = list(cuda.kernels())
    places = {names[int(call[0])]: int(call[2] * call[3]) for call in program.calls}
    assert places["adam_step"] == 60
    assert places["gather_features"] == 50  # 25 columns of tiles
    assert places["product"] > 1


def test_places_are_counted_through_a_level() -> None:
    _, program = recorded(2)
    for begin, end in itertools.pairwise(program.first.tolist()):
        place = 0
        for call in program.calls[begin:end]:
            assert call[1] == place
            place += call[2] * call[3]


def test_a_product_whose_factor_is_written_next_ends_alone() -> None:
    a, b, bias = numbers(64, 64), numbers(64, 64) / 8, numbers(64)
    exact, z = np.tanh(a @ b + bias), np.empty((64, 64), np.float32)
    device = HostDevice(seed=1, program_blocks=3)
    on = device.wrap

    def ask() -> None:
        cuda_ops.matmul_nn(on(z), on(a), on(b), 0)
        cuda_ops.bias_activation(on(a), on(z), on(bias), codes.TANH, 0.0)

    assert kernels_in(run(device, ask)) == [["product"], ["bias_activation"]]
    np.testing.assert_allclose(a, exact, atol=1e-5)


def test_slices_of_all_steps_share_their_room(devices: list[HostDevice]) -> None:
    recorded(1)
    one = devices[-1].allocated
    recorded(4)
    assert devices[-1].allocated < 1.2 * one
    most = 4 * programs.most_slices(3 * 2, 132)
    assert most < 4 << 20


def test_products_that_may_round_are_no_programs(devices: list[HostDevice]) -> None:
    net = network(precision="tf32")
    net.fit(X, np.arange(70) % 3, epochs=2, batch_size=16)
    assert "program" not in devices[-1].log
    assert "capture" in devices[-1].log


def test_what_is_no_launch_is_refused() -> None:
    device = HostDevice()
    array = device.empty(4, np.float32)
    with pytest.raises(NoProgramError, match="zero cannot be part of a program"):
        programs.build(device.record(lambda: device.zero(array)), 2, device.empty)


def test_programs_may_run_again_and_again() -> None:
    values = np.zeros(5, np.float32)
    gradient, scalars = np.ones(5, np.float32), np.array([0.5, 1, 0, 0, 0])
    device = HostDevice(program_blocks=3)
    on = device.wrap
    ask = device.record(lambda: cuda_ops.sgd_step(on(values), on(gradient), on(scalars)))
    again = device.runnable(programs.build(ask, 3, device.empty), np.dtype(np.float32))
    again(4)
    again(3)
    assert values.tolist() == [-3.5] * 5


# -- the text -------------------------------------------------------------------------------------


def test_every_kernel_can_be_called() -> None:
    text = cuda.sources()[cuda.CALLS]
    for number, (name, kernel) in enumerate(cuda.kernels().items()):
        assert f"    case {number}: return {name}(" in text
        assert programs.BEFORE_ARGUMENTS + len(kernel.parameters) <= programs.RECORD
    assert "run_program" not in cuda.kernels()


def test_the_numbers_are_those_of_the_text() -> None:
    texts = cuda.sources()
    defined = {
        name: int(value)
        for file in (cuda.PROGRAM, "products.cu", "kernel.cuh")
        for name, value in re.findall(r"#define (\w+) (\d+)", texts[file])
    }
    assert defined["RECORD"] == programs.RECORD
    assert defined["ARGUMENTS"] == programs.BEFORE_ARGUMENTS
    assert defined["SIDE"] == programs.SIDE
    assert (defined["TILE_COLUMNS"], defined["TILE_ROWS"]) == cuda_ops.TILE
    assert defined["THREADS"] == cuda_ops.THREADS
    assert cuda_ops.TILE[1] == programs.TILE_ROWS


# -- planted bugs ---------------------------------------------------------------------------------

# None of them makes a block write where nothing of the test lies: the host would not survive it.
BUGS = {
    "levels that do not wait": ("program.cu", "      meet((unsigned*)arrived, ++meetings);\n", ""),
    "a place given out too early": (
        "program.cu",
        "        __syncthreads();  // the place before may still be asked for",
        "        //",
    ),
    "the last place left out": ("program.cu", "at < places;", "at < places - 1;"),
    "one round too few": ("program.cu", "round < rounds;", "round < rounds - 1;"),
    "a piece that is read too late": (
        "products.cu",
        "    __syncthreads();  // the piece before may still be read\n",
        "",
    ),
    "a piece that is read too early": (
        "products.cu",
        "    of_b.store(right, part_b);\n    __syncthreads();",
        "    of_b.store(right, part_b);",
    ),
    "terms behind the end of a slice": ("products.cu", "at_k < end &&", "at_k < k + SIDE &&"),
    "slices in one place": ("products.cu", "out + (long long)number * m * n", "out"),
    "a slice left out": ("products.cu", "number < slices;", "number < slices - 1;"),
    "beta forgotten": ("products.cu", "beta ? out[at] + v : v", "v"),
    "no bias": ("products.cu", "      v += beside[j];\n", ""),
    "logits not kept": ("products.cu", "if (z != out) z[at] = v;", ""),
}


def signs_of(sources: dict[str, str]) -> str:
    """What the checks say of programs that are made from these texts."""
    a, b, bias = numbers(70, 450), numbers(450, 40) / 20, numbers(40)
    weights, start = numbers(33, 40), numbers(70, 33)
    z, logits = a @ b + bias, None
    hidden = np.tanh(z.astype(np.float64))
    exact = [z, hidden, start + 2 * (hidden @ weights.T), hidden.T @ hidden]
    exact += [np.maximum(start, 0), np.maximum(weights, 0)]
    bits = set()
    # So many blocks that sums are cut into slices, and so few that each has several places.
    for seed, blocks in itertools.product(range(3), (13, 4)):
        device = HostDevice(seed=seed, sources=sources, program_blocks=blocks)
        on = device.wrap
        logits, out = np.full((2, 70, 40), np.nan, np.float32)
        added, square = start.copy(), np.full((40, 40), np.nan, np.float32)
        parts = [np.full_like(start, np.nan), np.full_like(weights, np.nan)]

        def ask(
            on: Any = on, logits: Array = logits, out: Array = out, added: Array = added,
            square: Array = square, parts: list[Array] = parts,
        ) -> None:  # fmt: skip
            # Two calls of one level without a barrier in them.
            cuda_ops.activation(on(parts[0]), on(start), codes.RELU, 0.0)
            cuda_ops.activation(on(parts[1]), on(weights), codes.RELU, 0.0)
            cuda_ops.matmul_nn(on(logits), on(a), on(b), 0)
            cuda_ops.bias_activation(on(out), on(logits), on(bias), codes.TANH, 0.0)
            cuda_ops.matmul_nt(on(added), on(out), on(weights), 1)
            cuda_ops.matmul_tn(on(square), on(out), on(out), 0, 0)

        try:
            run(device, ask, rounds=2)
        except HostKernelError as error:
            return str(error)
        found = [logits, out, added, square, *parts]
        if not all(
            np.allclose(x, y, rtol=1e-3, atol=1e-3) for x, y in zip(found, exact, strict=True)
        ):
            return "other numbers"
        bits.add((blocks, *(one.tobytes() for one in found)))
    return "" if len(bits) == 2 else "another schedule gives other bits"


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    file, right, wrong = BUGS[bug]
    sources = dict(cuda.sources())
    assert sources[file].count(right) == 1, f"{file} has no {right!r}, or several"
    sources[file] = sources[file].replace(right, wrong)
    assert signs_of(sources), f"{bug} was not found"


@pytest.mark.skipif(not has_sanitizers(), reason="no compiler with sanitizers is installed")
def test_products_stay_within_their_buffers() -> None:
    done = run_sanitized(
        """
import itertools
import numpy as np
from cuda_host.device import HostDevice
from cuda_host.sanitized import exact
from fastnet.execution import codes, cuda_ops, programs

class Exact(HostDevice):
    def _allocate(self, nbytes):
        memory = exact(np.empty(nbytes, np.uint8))
        return memory, memory.ctypes.data

device, count = Exact(seed=3, program_blocks=13), 0
for (m, n, k), beta in itertools.product([(1, 1, 1), (33, 31, 65), (5, 70, 385)], (0, 1)):
    shapes = {"nn": [(m, k), (k, n)], "tn": [(k, m + 4), (k, n)], "nt": [(m, k), (n, k)]}
    for name, pair in shapes.items():
        a, b = (device.put(np.ones(shape, np.float32)) for shape in pair)
        out, bias = device.put(np.zeros((m, n), np.float32)), device.put(np.ones(n, np.float32))
        def ask():
            first = [4] if name == "tn" else []
            getattr(cuda_ops, f"matmul_{name}")(out, a, b, *first, beta)
            cuda_ops.bias_activation(out, out, bias, codes.RELU, 0.0)
        program = programs.build(device.record(ask), 13, device.empty)
        device.runnable(program, np.dtype(np.float32))(2)
        assert (device.get(out) == (2 * k + 2 if beta else k + 1)).all()
        count += 1
print("ran", count)
"""
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "ran 18\n"


def test_nothing_is_found_where_nothing_was_planted() -> None:
    assert signs_of(dict(cuda.sources())) == ""
