"""How latency is measured: warm up, then short blocks of each file in turn, there and back."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from edgekit.bench.block import Block
from edgekit.bench.device import Device, DeviceState
from edgekit.errors import DataError

Clock = Callable[[], int]
"""Gives nanoseconds, like `time.perf_counter_ns`."""

_NS = 1_000_000_000
_WINDOW = 10
_STEADY = 0.02
_BLOCK_RUNS = 4
_BLOCKS = 16
_DEAR_PATIENCE = 4
"""Where each block is a process of its own, most of the time may go by between blocks."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure each file: until both `seconds` and `min_runs` are reached, but not beyond `max_seconds`.

    Warming up takes at least 10 runs and `warmup_seconds`, and goes on until the medians of two windows (each of at
    least 10 runs and a tenth of that time, or a third of a block where blocks are dear) agree within 2 %, for at most
    three times as long.
    """

    seconds: float
    min_runs: int
    max_seconds: float
    warmup_seconds: float = 1.0


QUICK = Plan(seconds=10.0, min_runs=128, max_seconds=30.0)
FULL = Plan(seconds=60.0, min_runs=1024, max_seconds=180.0)
"""Source: MLPerf Mobile's SingleStream rules ask for 1024 runs and 60 s; the quick plan is an eighth and a sixth."""


@dataclass
class Measurement:
    """What a run of the protocol has gathered so far: blocks by file, the device's state before and after each round.

    Kept by the caller, so that finished blocks outlive a device that goes away.
    """

    blocks: list[list[Block]]
    states: list[DeviceState] = field(default_factory=list)

    def drop_unpaired(self) -> None:
        """Leave each file as many blocks as the one that has fewest: what a broken-off round leaves has no partner."""
        common = min(map(len, self.blocks), default=0)
        self.blocks = [own[:common] for own in self.blocks]


def make_plan(*, quick: bool, seconds: float | None = None, min_runs: int | None = None) -> Plan:
    """The quick or the full plan with what the caller overrides. Raises DataError for values that measure nothing."""
    plan = QUICK if quick else FULL
    if seconds is not None:
        plan = replace(plan, seconds=seconds, max_seconds=3 * seconds, warmup_seconds=min(1.0, seconds))
    if min_runs is not None:
        plan = replace(plan, min_runs=min_runs)
    if not plan.seconds > 0 or plan.min_runs < 1:
        raise DataError(
            f"{plan.seconds} s and {plan.min_runs} runs measure nothing: give more than 0 s and at least 1 run"
        )
    return plan


def run_protocol(device: Device, measurement: Measurement, plan: Plan, clock: Clock) -> None:
    """Warm every file of the device up, then measure all in interleaved blocks, into `measurement`."""
    files = range(len(measurement.blocks))
    sizes = [block_runs(warm_up(device, index, plan), plan, device.block_seconds) for index in files]
    measure(device, sizes, measurement, plan, clock)


def warm_up(device: Device, index: int, plan: Plan) -> float:
    """Run until the times settle; returns the seconds that one run took at the end (the last window's median)."""
    windows: list[Block] = []
    seconds = max(plan.warmup_seconds / 10, min(device.block_seconds, plan.warmup_seconds) / 3)
    while True:
        windows.append(device.block(index, runs=_WINDOW, seconds=seconds))
        elapsed = sum(window.total_ns for window in windows) / _NS
        tired = elapsed >= 3 * plan.warmup_seconds or len(windows) >= 3 * _WINDOW
        if tired or (elapsed >= plan.warmup_seconds and _is_steady(windows)):
            return windows[-1].center_ns / _NS


def block_runs(seconds_per_run: float, plan: Plan, block_seconds: float) -> int:
    """Runs in a block: about `block_seconds` of them and at least 4, but few enough that a file gets 16 blocks."""
    seconds_per_run = max(seconds_per_run, 1e-9)
    total = max(plan.min_runs, int(plan.seconds / seconds_per_run))
    return max(1, min(max(_BLOCK_RUNS, round(block_seconds / seconds_per_run)), total // _BLOCKS))


def measure(device: Device, sizes: Sequence[int], measurement: Measurement, plan: Plan, clock: Clock) -> None:
    """Measure blocks of `sizes` runs per file, in the same number for each, into `measurement`.

    A round goes through the files and back (A B B A), so that a machine that slows down steadily wrongs none of them.
    With several files, each block begins with one run that is not timed: the file before has emptied the caches.
    """
    blocks = measurement.blocks
    patience = plan.max_seconds * len(sizes) * (_DEAR_PATIENCE if device.block_seconds >= 1 else 1)
    order = [*range(len(sizes)), *reversed(range(len(sizes)))]
    start = clock()
    measurement.states.append(device.state())
    with _no_garbage_collection():
        while not (blocks[0] and (clock() - start >= patience * _NS or all(is_complete(b, plan) for b in blocks))):
            for i in order:
                blocks[i].append(device.block(i, runs=sizes[i], lead=int(len(sizes) > 1)))
            measurement.states.append(device.state())


def is_complete(blocks: Sequence[Block], plan: Plan) -> bool:
    """Whether a file's blocks hold as many runs and as much time as the plan asks."""
    runs = sum(block.runs for block in blocks)
    return runs >= plan.min_runs and sum(block.total_ns for block in blocks) >= plan.seconds * _NS


def _is_steady(windows: Sequence[Block]) -> bool:
    if len(windows) < 2:
        return False
    before, now = windows[-2].center_ns, windows[-1].center_ns
    return abs(now - before) <= _STEADY * before


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
