"""A block: consecutive runs of one file, as exactly as the device tells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Block:
    """Times in nanoseconds.

    samples_ns: each run, where the device tells them. Otherwise () and `quantiles_ns` holds what it does tell, as pairs
    (share of runs, time). center_ns: the median, or the mean where the device tells no median. clock_khz: of the pinned
    core as the last run ended, None where it cannot be read.
    """

    runs: int
    total_ns: float
    center_ns: float
    samples_ns: tuple[int, ...] = ()
    quantiles_ns: tuple[tuple[float, float], ...] = ()
    clock_khz: int | None = None

    @classmethod
    def of(cls, samples_ns: Sequence[int], clock_khz: int | None = None) -> Block:
        """A block of known runs, at least one."""
        samples = tuple(samples_ns)
        return cls(len(samples), sum(samples), float(np.median(samples)), samples, clock_khz=clock_khz)

    @property
    def has_median(self) -> bool:
        """Whether `center_ns` is the median."""
        return bool(self.samples_ns) or any(share == 0.5 for share, _ in self.quantiles_ns)

    @property
    def min_ns(self) -> float:
        """The fastest run."""
        return float(min(self.samples_ns or [time for _, time in self.quantiles_ns] or [self.center_ns]))

    def to_json(self) -> dict[str, Any]:
        """What the device told, as plain values."""
        told: dict[str, Any] = {"runs": self.runs, "clock_khz": self.clock_khz}
        if self.samples_ns:
            return {**told, "samples_ns": list(self.samples_ns)}
        quantiles = {str(share): time for share, time in self.quantiles_ns}
        return {**told, "total_ns": self.total_ns, "center_ns": self.center_ns, "quantiles_ns": quantiles}
