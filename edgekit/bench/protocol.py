"""How latency is measured: warm up, then short blocks of each file in turn, there and back."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

Inference = Callable[[], object]
Clock = Callable[[], int]
"""Gives nanoseconds, like `time.perf_counter_ns`."""

_NS = 1_000_000_000
_WINDOW = 10
_STEADY = 0.02
_BLOCK_SECONDS = 0.05
_BLOCK_RUNS = 4
_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure each file: until both `seconds` and `min_runs` are reached, but not beyond `max_seconds`.

    Warming up takes at least 10 runs and `warmup_seconds`, and goes on until the medians of two windows (each of at
    least 10 runs and a tenth of that time) agree within 2 %, for at most three times as long.
    """

    seconds: float
    min_runs: int
    max_seconds: float
    warmup_seconds: float = 1.0


QUICK = Plan(seconds=10.0, min_runs=128, max_seconds=30.0)
FULL = Plan(seconds=60.0, min_runs=1024, max_seconds=180.0)
"""Source: MLPerf Mobile's SingleStream rules ask for 1024 runs and 60 s; the quick plan is an eighth and a sixth."""


def warm_up(run: Inference, plan: Plan, clock: Clock) -> float:
    """Run until the times settle; returns the seconds that one run took at the end (the last window's median)."""
    start = clock()
    windows: list[float] = []
    while True:
        windows.append(_window_median(run, plan.warmup_seconds / 10, clock))
        elapsed = (clock() - start) / _NS
        if elapsed >= plan.warmup_seconds and (_is_steady(windows) or elapsed >= 3 * plan.warmup_seconds):
            return windows[-1]


def block_runs(seconds_per_run: float, plan: Plan) -> int:
    """Runs in a block: about 50 ms of them and at least 4, but few enough that a file gets 16 blocks."""
    seconds_per_run = max(seconds_per_run, 1e-9)
    total = max(plan.min_runs, int(plan.seconds / seconds_per_run))
    return max(1, min(max(_BLOCK_RUNS, round(_BLOCK_SECONDS / seconds_per_run)), total // _BLOCKS))


def measure(runs: Sequence[Inference], sizes: Sequence[int], plan: Plan, clock: Clock) -> list[list[list[int]]]:
    """Blocks of run times in nanoseconds, per file and in the same number for each.

    A round goes through the files and back (A B B A), so that a machine that slows down steadily wrongs none of them.
    With several files, each block begins with one run that is not timed: the file before has emptied the caches.
    """
    blocks: list[list[list[int]]] = [[] for _ in runs]
    order = [*range(len(runs)), *reversed(range(len(runs)))]
    start = clock()
    with _no_garbage_collection():
        while not _is_done(blocks, plan, (clock() - start) / _NS):
            for i in order:
                if len(runs) > 1:
                    runs[i]()
                blocks[i].append([_timed(runs[i], clock) for _ in range(sizes[i])])
    return blocks


def is_complete(blocks: Sequence[Sequence[int]], plan: Plan) -> bool:
    """Whether a file's blocks hold as many runs and as much time as the plan asks."""
    runs = sum(len(block) for block in blocks)
    return runs >= plan.min_runs and sum(sum(block) for block in blocks) >= plan.seconds * _NS


def _timed(run: Inference, clock: Clock) -> int:
    before = clock()
    run()
    return clock() - before


def _window_median(run: Inference, seconds: float, clock: Clock) -> float:
    """Median seconds of at least 10 runs that last at least so long together."""
    start = clock()
    times: list[int] = []
    while len(times) < _WINDOW or clock() - start < seconds * _NS:
        times.append(_timed(run, clock))
    return float(np.median(times)) / _NS


def _is_steady(windows: Sequence[float]) -> bool:
    return len(windows) > 1 and abs(windows[-1] - windows[-2]) <= _STEADY * windows[-2]


def _is_done(blocks: Sequence[Sequence[Sequence[int]]], plan: Plan, elapsed: float) -> bool:
    if not blocks[0]:
        return False
    return elapsed >= plan.max_seconds * len(blocks) or all(is_complete(b, plan) for b in blocks)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
