"""What only the Numba backend has: threads, tiles, streaming, and the cache of compiled code."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastnet_kernels.cpu import product

import fastnet
from fastnet import SGD, Adam, Dense, Network
from fastnet.execution import numba_ops, numba_steps, plan
from fastnet.execution.numba_executor import NumbaExecutor
from fastnet.execution.numba_math import math

ROOT = Path(__file__).parent.parent
RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(300, 20)).astype("float32"), RNG.integers(0, 3, 300)


@pytest.fixture(autouse=True)
def _threads_for_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks here are small, and one thread is all that their work is worth."""
    monkeypatch.setattr(plan, "WORK_PER_THREAD", 1)


def network(backend: str = "numba", threads: int | None = None, **options: Any) -> Network:
    layers = [Dense(20, 33, "relu"), Dense(33, 17, "tanh"), Dense(17, 3, "softmax")]
    loss = "categorical_crossentropy"
    return Network(layers, loss=loss, backend=backend, threads=threads, **options)


def trained(net: Network, **settings: Any) -> bytes:
    net.fit(X, Y, **{"epochs": 2, "optimizer": "adam", "batch_size": 64, **settings})
    return net.parameters.tobytes()


def use_threads(net: Network, threads: int) -> Network:
    """More threads than the machine has, which the argument would clamp."""
    assert isinstance(net.executor, NumbaExecutor)
    net.executor.threads = threads
    return net


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 37, 64, None])
def test_the_same_bits_for_any_number_of_threads(dtype: str, batch_size: int | None) -> None:
    epochs = 1 if batch_size == 1 else 2
    runs = {
        trained(use_threads(network(dtype=dtype), t), batch_size=batch_size, epochs=epochs)
        for t in (1, 2, 3, 5)
    }
    assert len(runs) == 1


@pytest.mark.parametrize("optimizer", [SGD(0.1), SGD(0.1, momentum=0.9, nesterov=True), Adam()])
def test_large_batches_stream_through_slots(
    monkeypatch: pytest.MonkeyPatch, optimizer: fastnet.optimizers.Optimizer
) -> None:
    """With small blocks, 300 rows fill slots several times over, unevenly; NumPy does the same."""
    monkeypatch.setattr(plan, "STREAM_ROWS", 7)
    settings = {"batch_size": None, "epochs": 4, "optimizer": optimizer, "sample_weight": None}
    weights = RNG.uniform(0.1, 2, 300)
    for sample_weight in (None, weights):
        settings["sample_weight"] = sample_weight
        expected = network("numpy", dtype="float64")
        trained(expected, **settings)
        runs = set()
        for threads in (1, 2, 3):
            net = use_threads(network(dtype="float64"), threads)
            runs.add(trained(net, **settings))
            assert net.executor._plan.slots == plan.TILES
            np.testing.assert_allclose(net.parameters, expected.parameters, rtol=0, atol=1e-12)
        assert len(runs) == 1


def test_a_batch_beyond_the_buffers_goes_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_ROWS", 50)
    monkeypatch.setattr(plan, "SLOT_PARAMETERS", 0)
    expected = network("numpy", dtype="float64")
    settings = {"batch_size": 180, "epochs": 3, "validation": 0.2}
    expected.fit(X, Y, **settings)
    for threads in (1, 2):
        net = use_threads(network(dtype="float64"), threads)
        history = net.fit(X, Y, **settings)
        np.testing.assert_allclose(net.parameters, expected.parameters, rtol=0, atol=1e-12)
        assert len(history["train_loss"]) == 3


def test_twenty_steps_agree_with_numpy() -> None:
    for layers, loss in (
        ([Dense(20, 64, "relu"), Dense(64, 10, "softmax")], "categorical_crossentropy"),
        ([Dense(20, 31, "sigmoid"), Dense(31, 1, "linear")], "mse"),
        ([Dense(20, 40, "elu(0.5)"), Dense(40, 5, "sigmoid")], "log_loss"),
    ):
        outputs = layers[-1].outputs
        y = RNG.normal(size=300) if loss == "mse" else Y % outputs
        nets = [Network(layers, loss=loss, backend=b, dtype="float32") for b in ("numpy", "numba")]
        for net in nets:
            net.fit(X[:160], y[:160], batch_size=16, epochs=2, optimizer="adam")
        np.testing.assert_allclose(
            nets[1].parameters, nets[0].parameters, rtol=1e-3, atol=2e-5
        )  # twenty steps of Adam, whose first ones divide rounding by itself


def cover_once(tiles: Any, table: Any) -> None:
    covered = np.zeros(table.parameters, int)
    for layer, first, last, begin, end in tiles:
        record = table.records[layer]
        assert begin == record["weights"] + first * record["outputs"]
        assert end - begin == (last - first) * record["outputs"] + (
            record["outputs"] if last == record["inputs"] else 0
        )
        covered[begin:end] += 1
    assert (covered == 1).all()


def test_tiles_cover_everything_once() -> None:
    for sizes in ([3, 2], [784, 128, 10], [784, 512, 512, 10], [7, 1, 9, 300, 2]):
        layers = [Dense(i, o) for i, o in itertools.pairwise(sizes)]
        net = Network(layers, loss="mse", backend="numba")
        table = net.executor.table
        for batch in (1, 5, 128, 5000):
            made = plan.build(table, batch)
            cover_once(made.tiles, table)
            for threads in (1, 2, 3, 16):
                joined, borders = made.shares(threads)
                cover_once(joined, table)
                assert len(borders) == threads + 1
                assert borders[0] == 0
                assert borders[-1] == len(joined)
                assert (np.diff(borders) >= 0).all()
            assert made.ranges[0, 0] == 0
            assert made.ranges[-1, 1] == table.parameters
            assert (made.ranges[1:, 0] == made.ranges[:-1, 1]).all()


@pytest.mark.parametrize(
    ("sizes", "batch"), [([784, 128, 10], 128), ([784, 512, 512, 10], 256), ([784, 16, 10], 42000)]
)
def test_at_least_eight_tiles_where_the_work_allows(sizes: list[int], batch: int) -> None:
    layers = [Dense(i, o) for i, o in itertools.pairwise(sizes)]
    table = Network(layers, loss="mse", backend="numba").executor.table
    made = plan.build(table, batch)
    if made.slots:
        assert made.slots >= 8
        assert len(made.ranges) >= 6
    else:
        assert -(-batch // made.rows_per_tile) >= 8
        assert len(made.tiles) >= 8


def in_blocks(kind: str, a: Any, b: Any, out: Any, beta: int) -> None:
    """out = A B + beta out, where A or B is given by its transpose in ``tn`` and ``nt``."""
    m, n = out.shape
    k = b.shape[1] if kind == "nt" else b.shape[0]
    a_steps = (1, a.shape[1]) if kind == "tn" else (a.shape[1], 1)
    b_steps = (1, b.shape[1]) if kind == "nt" else (b.shape[1], 1)
    whole, narrow = product.load(8 * out.itemsize)
    if kind == "narrow tn":
        narrow.ctypes(m, n, k, a.ctypes.data, m, b.ctypes.data, out.ctypes.data, beta)
        return
    whole.ctypes(
        m, n, k, a.ctypes.data, *a_steps, b.ctypes.data, *b_steps, out.ctypes.data, n, beta
    )


def operands(kind: str, m: int, n: int, k: int, dtype: str) -> tuple[Any, Any, Any]:
    """A and B as the kind of product takes them, and A B from them in extended precision."""
    a, b = (RNG.normal(size=s).astype(dtype) for s in ((m, k), (k, n)))
    exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
    a_given = np.ascontiguousarray(a.T) if kind.endswith("tn") else a
    b_given = np.ascontiguousarray(b.T) if kind == "nt" else b
    return a_given, b_given, (exact, np.abs(a) @ np.abs(b))


# Heights and widths of blocks; then sums and sides beyond one stretch or part, and what is copied.
SHAPES = [
    *itertools.product([*range(1, 18), 29], [1, 2, 3, 7, 10, 16, 31, 32, 47], [1, 9]),
    *[(5, 33, 257), (141, 40, 300), (300, 20, 520), (60, 300, 70), (48, 513, 259), (3, 1024, 5)],
    *[(60, 300, 1100), (300, 260, 530), (520, 301, 20)],
]


@pytest.mark.parametrize("kind", ["nn", "tn", "nt", "narrow tn"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_in_blocks_of_every_height_and_width(dtype: str, kind: str) -> None:
    unit = np.finfo(dtype).eps
    for m, n, k in SHAPES:
        if kind == "narrow tn" and n > product.NARROW:
            continue
        a, b, (exact, size) = operands(kind, m, n, k, dtype)
        room = 2 * unit * (k + 2) * (size + 1)
        guarded = np.full(m * n + 64, np.nan, dtype)
        out = guarded[32:-32].reshape(m, n)
        in_blocks(kind, a, b, out, 0)
        assert (np.abs(out - exact) <= room).all(), (m, n, k)
        in_blocks(kind, a, b, out, 1)
        assert (np.abs(out - 2 * exact) <= 2 * room).all(), (m, n, k)
        assert np.isnan(guarded[:32]).all()
        assert np.isnan(guarded[-32:]).all()


@pytest.mark.parametrize("kind", ["nn", "nt"])
def test_a_row_has_the_same_bits_beside_any_other_rows(kind: str) -> None:
    """What lets threads share rows out in any way."""
    for m, n, k in ((150, 40, 300), (70, 300, 600), (33, 10, 50), (300, 513, 30), (60, 256, 1100)):
        a, b, _ = operands(kind, m, n, k, "float32")
        whole = np.empty((m, n), "float32")
        in_blocks(kind, a, b, whole, 0)
        for begin, end in ((0, 1), (1, 30), (3, m), (m - 2, m)):
            part = np.empty((end - begin, n), "float32")
            in_blocks(kind, a[begin:end], b, part, 0)
            assert part.tobytes() == whole[begin:end].tobytes()


WITHOUT_MEMORY = """
import ctypes, resource
import numpy as np
from fastnet_kernels.cpu import product
whole, _ = product.load(32)
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
m, n, k = 60, 300, 600
a, b = (np.random.default_rng(0).normal(size=s).astype("float32") for s in ((m, k), (k, n)))
runs = [np.full((m, n), np.nan, "float32") for _ in range(2)]
for out in runs:
    whole.ctypes(m, n, k, a.ctypes.data, k, 1, b.ctypes.data, n, 1, out.ctypes.data, n, 0)
    if out is runs[0]:
        resource.setrlimit(resource.RLIMIT_AS, (1, resource.RLIM_INFINITY))
        while libc.malloc(1 << 16):
            pass
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert np.isfinite(runs[0]).all()
assert runs[0].tobytes() == runs[1].tobytes()
print("equal")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by setrlimit")
def test_a_product_without_memory_for_copies_has_the_same_bits() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEMORY], capture_output=True, text=True, check=False
    )
    assert done.stdout == "equal\n", done.stderr


def test_rows_taken_together_have_the_same_bits() -> None:
    """A network whose rows are shared out by the number of threads, one that has other blocks."""
    sizes = [20, 300, 257, 3]
    runs = set()
    for threads in (1, 2, 3, 5, 8):
        layers = [Dense(i, o, "tanh" if o > 3 else "softmax") for i, o in itertools.pairwise(sizes)]
        net = Network(layers, loss="categorical_crossentropy", backend="numba")
        runs.add(trained(use_threads(net, threads), batch_size=150))
        made = plan.build(net.executor.table, 150)
        assert made.shares_rows
        assert (made.rows_at_once(150, threads) > made.rows_per_tile) == (threads < 8)
    assert len(runs) == 1


def test_small_steps_stay_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    small = [Dense(64, 64, "relu"), Dense(64, 10, "softmax")]
    table = Network(small, loss="categorical_crossentropy", backend="numba").executor.table
    assert plan.build(table, 32).most_threads == 1
    assert plan.build(table, 4096).most_threads > 8


def test_read_only_rows_are_not_another_kind_to_compile() -> None:
    frozen = X.copy()
    frozen.flags.writeable = False
    assert trained(network()) == bytes_of(lambda net: net.fit(
        frozen, Y, epochs=2, optimizer="adam", batch_size=64))  # fmt: skip
    kinds = len(fastnet.execution.numba_steps.run_steps.signatures)
    network().fit(frozen, Y, epochs=1)
    network().fit(X, Y, epochs=1)
    assert len(fastnet.execution.numba_steps.run_steps.signatures) == kinds


def bytes_of(fit: Any) -> bytes:
    net = network()
    fit(net)
    return net.parameters.tobytes()


def test_several_python_threads_train_at_once() -> None:
    expected = trained(network())
    found: list[bytes] = []
    workers = [
        threading.Thread(target=lambda: found.append(trained(network(threads=2)))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [expected] * 4


def _train_in_child(queue: Any) -> None:
    queue.put(trained(network(threads=2)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_children_train_after_the_parent_has(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    expected = trained(network(threads=2))
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_train_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=120) == expected
    child.join(60)
    assert child.exitcode == 0


def test_memory_does_not_grow() -> None:
    """What 1,000 epochs leave behind in arrays is nothing.

    Python's own objects are not counted: it keeps freed ones for the next use.
    """
    only_arrays = [tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)]

    def held() -> int:
        gc.collect()
        traces = tracemalloc.take_snapshot().filter_traces(only_arrays).traces
        return sum(trace.size for trace in traces)

    tracemalloc.start()
    net = network()
    net.fit(X, Y, epochs=10)
    before = held()
    net.fit(X, Y, epochs=1000)
    after = held()
    tracemalloc.stop()
    assert before > 4 * net.parameter_count  # the parameters themselves are seen
    assert after - before < 1000


def stated_bytes(net: Network, optimizer: Any, rows: int, batch: int) -> tuple[int, int]:
    """The formula of docs/design.md, "Memory", and what is small beside it."""
    s, p, k = net.dtype.itemsize, net.parameter_count, optimizer.slots
    units, outputs = sum(layer.outputs for layer in net.layers), net.layers[-1].outputs
    streams = batch >= 2048 and p <= 131_072
    c = 2048 if streams else min(batch, 4096)
    total = p * (s * (4 + 3 * k) + 1) + (8 * p * s if streams else 0)
    total += c * s * (net.layers[0].inputs + 2 * units + 2 * outputs + 3) + 40 * rows
    return total, 65_536


@pytest.mark.parametrize(
    ("sizes", "rows", "batch", "optimizer"),
    [
        ([64, 2000, 10], 100, 32, Adam()),  # parameters and their copies
        ([64, 2000, 10], 100, 32, SGD()),
        ([64, 2000, 10], 100, 32, SGD(0.01, momentum=0.9)),
        ([4, 8, 10], 50_000, 32, Adam()),  # the order of rows
        ([64, 16, 10], 10_000, 10_000, Adam()),  # blocks in slots
        ([64, 2500, 10], 6000, 5000, SGD()),  # blocks
    ],
)
def test_memory_is_what_the_docs_state(
    sizes: list[int], rows: int, batch: int, optimizer: fastnet.optimizers.Optimizer
) -> None:
    layers = [Dense(i, o, "relu") for i, o in itertools.pairwise(sizes[:-1])]
    last = Dense(sizes[-2], sizes[-1], "softmax")
    net = Network([*layers, last], loss="categorical_crossentropy", backend="numba")
    x = RNG.random((rows, sizes[0]), dtype=np.float32)
    y = RNG.integers(0, sizes[-1], rows)
    settings: dict[str, Any] = {"optimizer": optimizer, "batch_size": batch, "epochs": 2}
    net.fit(x, y, **settings)
    tracemalloc.start()
    net.fit(x, y, **settings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stated, small = stated_bytes(net, optimizer, rows, batch)
    held_already = net.dtype.itemsize * net.parameter_count * (1 + optimizer.slots)
    assert 0.6 * stated < peak + held_already < stated + small


# What a process does that has no compiled code, and what others do that may have it.
TRAIN_THEN_WARM_UP = """
import time, fastnet
began = time.perf_counter()
run = fastnet.train(epochs=1, hidden=4, backend="numba")
print(run.report.seconds < 0.1 * (time.perf_counter() - began))
print(fastnet.warmup() > 0)
"""
WARM_UP = "import fastnet; fastnet.warmup()"
TRAIN = """
import fastnet, numpy as np
X = np.random.default_rng(0).normal(size=(40, 5)).astype("float32")
net = fastnet.Network([fastnet.Dense(5, 4, "relu"), fastnet.Dense(4, 2, "softmax")],
                      loss="categorical_crossentropy", backend="numba")
net.fit(X, np.arange(40) % 2, epochs=1)
net.fit(np.tile((X > 0).astype("uint8"), (60, 1)), np.arange(2400) % 2, epochs=1, batch_size=None)
net.predict(X)
"""
TELL_USE = """
from fastnet.execution import numba_steps
from fastnet.execution.numba_math import math
for entry in (numba_steps.run_steps, numba_steps.run_streamed_steps, math.predict):
    print(*(sum(found.values()) for found in (entry.stats.cache_hits, entry.stats.cache_misses)))
    print(entry.signatures)
"""


def run_python(code: str, **environment: str) -> str:
    paths = os.pathsep.join([environment.pop("root", str(ROOT)), str(ROOT / "kernels")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def first_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """A folder of compiled code, and what the process said that found it empty.

    Compiling takes long, so that all tests of a first process are about this one.
    """
    folder = str(tmp_path_factory.mktemp("compiled"))
    return folder, run_python(TRAIN_THEN_WARM_UP, FASTNET_CACHE_DIR=folder).splitlines()


def test_compiling_is_not_training_time(first_process: tuple[str, list[str]]) -> None:
    """In a process without compiled code, the report's seconds leave the compiler out."""
    assert first_process[1] == ["True", "True"]


def test_a_second_process_finds_the_compiled_code(first_process: tuple[str, list[str]]) -> None:
    """`warmup` compiles everything, for any network and data; nothing is compiled after it.

    The first process has trained, too; but a warm-up alone asks for the same code as a training.
    """
    folder, _ = first_process
    warmed, trained = (
        run_python(code + TELL_USE, FASTNET_CACHE_DIR=folder).splitlines()
        for code in (WARM_UP, TRAIN)
    )
    assert trained[::2] == ["1 0", "1 0", "1 0"]
    assert warmed == trained


def test_no_kind_of_data_is_compiled_anew() -> None:
    entries = (numba_steps.run_steps, numba_steps.run_streamed_steps, math.predict)
    fastnet.warmup()
    before = [len(entry.signatures) for entry in entries]
    for x in (X, (X > 0).astype("uint8"), X.astype("float64"), np.asfortranarray(X)):
        for outputs, y in ((3, Y), (3, np.eye(3)[Y]), (1, X[:, 0]), (1, Y > 1)):
            net = Network([Dense(20, outputs, "sigmoid")], loss="mse", backend="numba")
            net.fit(x, y, sample_weight=np.ones(300), validation=0.2, epochs=1)
            net.evaluate(x, y)
            net.predict(x)
    assert [len(entry.signatures) for entry in entries] == before


def test_rows_given_as_bytes_are_the_rows() -> None:
    numbers, labels = RNG.normal(size=(9, 5)), RNG.integers(0, 4, 9, dtype=np.int32)
    order, clock = RNG.permutation(9).astype(np.int32), np.zeros(3, np.int64)
    for dtype in ("float32", "float64"):
        typed = numbers.astype(dtype)
        for given in (typed, typed.view(np.uint8)):
            x = np.full((4, 5), np.nan, dtype)
            numba_ops.gather_features(x, given, order, clock, 3, 1.0)
            np.testing.assert_array_equal(x, typed[order[3:7]])
        for given, expected in (
            (typed.view(np.uint8), typed),
            (labels.reshape(-1, 1).view(np.uint8), np.eye(4)[labels]),
        ):
            t, w = np.full((4, expected.shape[1]), np.nan, dtype), np.full(4, np.nan, dtype)
            numba_ops.gather_targets(t, w, given, np.empty(0, dtype), order, clock, 3)
            np.testing.assert_array_equal(t, expected[order[3:7]])


def test_an_edited_kernel_has_another_folder(tmp_path: Path) -> None:
    """The folder's name follows from the content of every source; an edit changes it."""
    import shutil

    copy = tmp_path / "tree"
    shutil.copytree(ROOT / "fastnet", copy / "fastnet")
    shutil.copytree(ROOT / "kernels", copy / "kernels")
    code = "from fastnet.execution import compiled; print(compiled.folder().name)"

    def folder() -> str:
        paths = os.pathsep.join([str(copy), str(copy / "kernels")])
        return run_python(code, PYTHONPATH=paths, FASTNET_CACHE_DIR=str(tmp_path / "cache"))

    first = folder()
    assert first == folder()
    kernel = copy / "kernels" / "fastnet_kernels" / "cpu" / "optimizers.py"
    source = kernel.read_text()
    assert "p[i] -= rate * g[i]" in source
    kernel.write_text(source.replace("p[i] -= rate * g[i]", "p[i] += rate * g[i]"))
    assert folder() != first


def test_a_folder_that_cannot_be_written_is_replaced(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code = "from fastnet.execution import compiled; print(compiled.folder())"
    found = run_python(code, FASTNET_CACHE_DIR=str(blocked), TMPDIR=str(tmp_path))
    assert Path(found).is_relative_to(tmp_path)
    assert Path(found).is_dir()


def test_the_users_numba_settings_stay() -> None:
    import numba

    network()
    assert "compiled-" not in numba.config.CACHE_DIR


def test_scipys_blas_where_the_wheel_is_missing() -> None:
    pytest.importorskip("scipy")
    code = """
import sys
sys.modules["scipy_openblas32"] = None
import numpy as np
from fastnet.execution import blas, numba_ops as ops
assert blas.load().source == "scipy", blas.load()
rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    a, b = rng.normal(size=(5, 7)).astype(dtype), rng.normal(size=(7, 3)).astype(dtype)
    for out, call in (
        (np.full((5, 3), 1, dtype), lambda out: ops.matmul_nn(out, a, b, 1)),
        (np.full((5, 3), 1, dtype), lambda out: ops.matmul_nt(out, a, b.T.copy(), 1)),
        (np.full((5, 3), 1, dtype), lambda out: ops.matmul_tn(out, a.T.copy(), b, 0, 1)),
    ):
        call(out)
        assert np.allclose(out, a @ b + 1, atol=1e-5), dtype
print("same")
"""
    assert run_python(code) == "same"


def test_compiled_code_that_nothing_uses_is_removed(tmp_path: Path) -> None:
    old, young = tmp_path / "compiled-old", tmp_path / "compiled-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "code").write_text("")
    os.utime(old, (0, 0))
    code = "from fastnet.execution import compiled; print(compiled.folder())"
    current = Path(run_python(code, FASTNET_CACHE_DIR=str(tmp_path)))
    assert current.is_dir()
    assert young.is_dir()
    assert not old.exists()


def test_a_second_training_does_not_begin_where_the_first_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call that compiles reads the vectors at the clock's position, which must be inside."""
    net = network()
    net.fit(X, Y, epochs=1)
    run_steps, positions = NumbaExecutor.run_steps, []

    def look(self: NumbaExecutor, begin: int, end: int) -> None:
        positions.append((begin, end, *self.control.clock[1:].tolist()))
        run_steps(self, begin, end)

    monkeypatch.setattr(NumbaExecutor, "run_steps", look)
    net.fit(X, Y, epochs=1)
    assert positions[0] == (0, 0, 0, 0)
    assert len(positions) > 1
