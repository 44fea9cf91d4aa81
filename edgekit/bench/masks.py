"""Which cores to measure on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from edgekit.errors import DeviceError

Threads = int | Literal["big"]
"""How many threads; `big`: as many as there are big cores."""


def fastest(cpus: Iterable[int], top_khz: Mapping[int, int]) -> list[int]:
    """Processors by falling top frequency (0 where unknown), then by falling number: low ones serve interrupts."""
    return sorted(cpus, key=lambda cpu: (top_khz.get(cpu, 0), cpu), reverse=True)


def big_cores(top_khz: Mapping[int, int]) -> tuple[int, ...]:
    """The two fastest cores if they are exactly two, else all but the slowest cluster; all where they are equal.

    Source: the rule of TFLite's own benchmark scripts.
    """
    top, low = max(top_khz.values()), min(top_khz.values())
    at_top = tuple(sorted(cpu for cpu, khz in top_khz.items() if khz == top))
    if len(at_top) == 2 or top == low:
        return at_top
    return tuple(sorted(cpu for cpu, khz in top_khz.items() if khz > low))


def pick_cores(top_khz: Mapping[int, int], threads: Threads) -> tuple[int, tuple[int, ...]]:
    """Threads to run and the cores to pin them to; no cores where the device tells none.

    Raises DeviceError for `big` where the cores are unknown, and for fewer threads than one.
    """
    if threads == "big":
        if not top_khz:
            raise DeviceError("the device does not tell its cores' clock rates: give --threads as a number")
        cores = big_cores(top_khz)
        return len(cores), cores
    if threads < 1:
        raise DeviceError(f"{threads} threads cannot run anything: give at least 1")
    return threads, tuple(sorted(fastest(top_khz, top_khz)[:threads]))


def mask_text(cpus: Iterable[int]) -> str:
    """As `taskset` takes it: hexadecimal, bit n for processor n."""
    return f"{sum(1 << cpu for cpu in cpus):x}"
