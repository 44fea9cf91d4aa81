"""Keep a measurement on the same, fastest processors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")


@contextmanager
def pinned(threads: int) -> Iterator[tuple[int, ...]]:
    """Pin the calling thread, and those it starts, to as many processors as threads; yields their numbers.

    Where the system has no such call or forbids it, nothing is pinned and () is yielded.
    """
    before = _allowed()
    chosen = tuple(sorted(fastest(before)[:threads]))
    if not chosen or not _pin(chosen):
        yield ()
        return
    try:
        yield chosen
    finally:
        _pin(tuple(before))


def fastest(cpus: set[int], root: Path = _CPUS) -> list[int]:
    """Processors by falling top frequency, then by falling number: the first ones serve most interrupts."""
    return sorted(cpus, key=lambda cpu: (_top_frequency_khz(cpu, root), cpu), reverse=True)


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
