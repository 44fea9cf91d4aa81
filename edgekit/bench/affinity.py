"""Keep a measurement on the same, fastest processors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.bench.masks import Threads, pick_cores

_CPUS = Path("/sys/devices/system/cpu")


@contextmanager
def pinned(threads: Threads) -> Iterator[tuple[int, ...]]:
    """Pin the calling thread, and those it starts, to as many processors as threads; yields their numbers.

    Where the system has no such call or forbids it, nothing is pinned and () is yielded.
    """
    before = _allowed()
    chosen = pick_cores(top_frequencies(before), threads)[1] if before else ()
    if not chosen or not _pin(chosen):
        yield ()
        return
    try:
        yield chosen
    finally:
        _pin(tuple(before))


def top_frequencies(cpus: set[int] | None = None, root: Path = _CPUS) -> dict[int, int]:
    """kHz by processor (those that this process may use, unless others are named); 0 where the system does not tell."""
    return {cpu: _top_frequency_khz(cpu, root) for cpu in sorted(_allowed() if cpus is None else cpus)}


def _top_frequency_khz(cpu: int, root: Path) -> int:
    try:
        return int((root / f"cpu{cpu}" / "cpufreq" / "cpuinfo_max_freq").read_text())
    except (OSError, ValueError):
        return 0


def _allowed() -> set[int]:
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set()


def _pin(cpus: tuple[int, ...]) -> bool:
    try:
        os.sched_setaffinity(0, cpus)
    except OSError:
        return False
    return True
