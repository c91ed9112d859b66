"""Compiled loops over single pieces of a step, run on all threads as the executor runs its tiles.

A call from Python costs microseconds, as much as a small product; so the loops are compiled, and
what is measured is a call of many rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from fastnet_kernels.cpu import product
from fastnet_kernels.cpu.threads import arrive, next_tile, release, wait

from fastnet.execution import compiled, numba_ops
from fastnet.execution.numba_executor import run_on_threads

Array = np.ndarray[Any, np.dtype[Any]]

matmul_nn, matmul_tn, matmul_nt = numba_ops.matmul_nn, numba_ops.matmul_tn, numba_ops.matmul_nt
adam_step, sgd_step = numba_ops.adam_step, numba_ops.sgd_step

# Kinds of pieces.
FORWARD = 0  # Z = A W: out in values, a in values, b in theta
BACKWARD = 1  # dA = dZ W^T: out in deltas, a in deltas, b in theta
GRADIENT = 2  # dW = A^T dZ: out in the gradient, a in values, b in deltas
ADAM = 3  # elements ``out`` to ``out + m`` of the flat vectors
SGD = 4

# Columns of a piece: its kind, where its operands begin, its sizes, and more of matmul_tn.
KIND, OUT, A, B, M, N, K, COLUMNS, FIRST, BETA = range(10)
PIECE_SIZE = 10

ANYONE = -1  # in the place of the threads' own tiles of a phase

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # Adam's; their values do not change its time


@compiled.function
def run_pieces(
    rounds: int,
    pieces: Any,
    tiles: Any,
    phases: Any,
    shares: Any,
    values: Any,
    deltas: Any,
    theta: Any,
    gradient: Any,
    state: Any,
    scalars: Any,
    clock: Any,
    barrier: Any,
    threads: int,
    turn: int,
) -> None:
    """Run all phases ``rounds`` times; a barrier stands after every phase.

    ``pieces`` (count, 10); ``tiles`` (count, 2): first and last piece; ``phases`` (count, 2): first
    and last tile; ``shares`` (phases, threads + 1): where in ``tiles`` each thread's own begin, or
    ANYONE where a tile goes to whoever comes first. Sizes of buffers are those of a training.
    """
    me = next_tile(barrier)
    if arrive(barrier, threads):
        release(barrier)
    elif not wait(barrier, turn):
        return
    turn += 1
    for _ in range(rounds):
        for phase in range(len(phases)):
            is_shared_out = shares[phase, 0] != ANYONE
            if is_shared_out:
                tile, end = shares[phase, me], shares[phase, me + 1]
            else:
                tile, end = phases[phase, 0] + next_tile(barrier), phases[phase, 1]
            while tile < end:
                for index in range(tiles[tile, 0], tiles[tile, 1]):
                    piece = pieces[index]
                    out, a, b = piece[OUT], piece[A], piece[B]
                    m, n, k = piece[M], piece[N], piece[K]
                    kind, beta = piece[KIND], piece[BETA]
                    if kind == FORWARD:
                        matmul_nn(
                            values[out : out + m * n].reshape(m, n),
                            values[a : a + m * k].reshape(m, k),
                            theta[b : b + k * n].reshape(k, n),
                            beta,
                        )
                    elif kind == BACKWARD:
                        matmul_nt(
                            deltas[out : out + m * n].reshape(m, n),
                            deltas[a : a + m * k].reshape(m, k),
                            theta[b : b + n * k].reshape(n, k),
                            beta,
                        )
                    elif kind == GRADIENT:
                        columns = piece[COLUMNS]
                        matmul_tn(
                            gradient[out : out + m * n].reshape(m, n),
                            values[a : a + k * columns].reshape(k, columns),
                            deltas[b : b + k * n].reshape(k, n),
                            piece[FIRST],
                            beta,
                        )
                    elif kind == ADAM:
                        adam_step(
                            theta[out : out + m],
                            state[0][out : out + m],
                            state[1][out : out + m],
                            gradient[out : out + m],
                            scalars,
                            clock,
                            BETA_1,
                            BETA_2,
                            EPSILON,
                        )
                    else:
                        sgd_step(theta[out : out + m], gradient[out : out + m], scalars)
                tile = tile + 1 if is_shared_out else phases[phase, 0] + next_tile(barrier)
            if arrive(barrier, threads):
                release(barrier)
            elif not wait(barrier, turn):
                return
            turn += 1


@compiled.function
def read_words(rounds: int, words: Any, sums: Any, barrier: Any, threads: int, turn: int) -> None:
    """Read an array of int64 ``rounds`` times, a part of it by each thread.

    A thread reads four streams at once, of unsigned positions, which need no check: measured, that
    is the fastest way.
    """
    for _ in range(rounds):
        part = next_tile(barrier)
        begin, end = len(words) * part // threads, len(words) * (part + 1) // threads
        quarter = np.uint64((end - begin) // 4)
        half = quarter + quarter
        total = np.int64(0)
        for i in range(np.uint64(begin), np.uint64(begin) + quarter):
            total += words[i] + words[i + quarter] + words[i + half] + words[i + half + quarter]
        sums[part] = total
        if arrive(barrier, threads):
            release(barrier)
        elif not wait(barrier, turn):
            return
        turn += 1


@compiled.function
def copy_words(rounds: int, out: Any, words: Any, barrier: Any, threads: int, turn: int) -> None:
    """Copy an array of int64 ``rounds`` times, a part of it by each thread."""
    for _ in range(rounds):
        part = next_tile(barrier)
        begin, end = len(words) * part // threads, len(words) * (part + 1) // threads
        for i in range(np.uint64(begin), np.uint64(end)):
            out[i] = words[i]
        if arrive(barrier, threads):
            release(barrier)
        elif not wait(barrier, turn):
            return
        turn += 1


def seconds_on_threads(threads: int, run: Callable[..., None], *arguments: Any) -> float:
    """Run a compiled function on so many threads at once and return the seconds until all end."""
    product.load(32)  # compiled code that was kept calls it by name
    began = time.perf_counter()
    run_on_threads(threads, run, *arguments)
    return time.perf_counter() - began


def rounds_for(seconds: float, run: Callable[[int], float]) -> int:
    """Return how many rounds take about so many seconds; ``run`` is called a few times."""
    run(1)  # compiles
    rounds, taken = 1, run(1)
    while taken < seconds / 10 and rounds < 1 << 30:
        rounds = max(2 * rounds, round(rounds * seconds / 4 / max(taken, 1e-6)))
        taken = run(rounds)
    return max(1, round(rounds * seconds / taken))
