"""What latency samples say: quantiles of one file, and the ratio of two with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Blocks = Sequence[Sequence[int]]
"""Nanoseconds per run, grouped into blocks of consecutive runs."""

Verdict = Literal["faster", "slower", "no difference shown"]

MIN_BLOCKS = 8
"""Fewer blocks than this do not span the machine's moods, and a bootstrap over them is too sure of itself."""

SAME_FILE_SPREAD = 0.02
"""Copies of one file in one measurement differ by up to 1 %, every run of it the same way: where their memory lies."""

_SLOW = 1.5
_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Summary:
    """Quantiles over all runs, nothing trimmed (linear interpolation between runs).

    `slow_share` is the share of runs above 1.5 times the median. `drift` is the last quarter's median over the first's:
    above 1.05, the machine slowed down under the measurement.
    """

    runs: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    slow_share: float
    drift: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """A file's time over the first file's, with a 95 % bootstrap interval; below 1 is faster than the first file."""

    value: float
    low: float
    high: float
    blocks: int

    @property
    def verdict(self) -> Verdict:
        """No ranking where the interval includes 1, the ratio is within 2 % of 1, or there are fewer than 8 blocks."""
        is_shown = abs(self.value - 1.0) > SAME_FILE_SPREAD and not self.low <= 1.0 <= self.high
        if self.blocks < MIN_BLOCKS or not is_shown:
            return "no difference shown"
        return "faster" if self.high < 1.0 else "slower"

    def to_json(self) -> dict[str, Any]:
        """The fields and the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def summarize(blocks: Blocks) -> Summary:
    """Quantiles of all runs of all blocks; there must be at least one."""
    runs = np.concatenate([np.asarray(block, np.float64) for block in blocks]) / _NS_PER_MS
    median, p90, p99 = (float(q) for q in np.quantile(runs, (0.5, 0.9, 0.99)))
    quarter = max(1, runs.size // 4)
    return Summary(
        runs=int(runs.size),
        median_ms=median,
        p90_ms=p90,
        p99_ms=p99,
        min_ms=float(runs.min()),
        slow_share=float((runs > _SLOW * median).mean()),
        drift=float(np.median(runs[-quarter:]) / np.median(runs[:quarter])),
    )


def ratio_to_reference(blocks: Blocks, reference: Blocks, *, resamples: int = 2000, seed: int = 0) -> Ratio:
    """The median, over pairs of neighbouring blocks, of our block's median over the reference's.

    Blocks of one number were measured next to each other, so what the machine did meanwhile (another clock, another
    process) cancels out in their ratio. The interval is the 2.5 to 97.5 % range of a bootstrap over the pairs; single
    runs are not drawn, since runs next to each other are not independent. Both need the same number of blocks.
    """
    ratios = _medians(blocks) / _medians(reference)
    draws = np.random.default_rng(seed).integers(0, ratios.size, (resamples, ratios.size))
    low, high = (float(q) for q in np.quantile(np.median(ratios[draws], axis=1), (0.025, 0.975)))
    return Ratio(float(np.median(ratios)), low, high, int(ratios.size))


def _medians(blocks: Blocks) -> NDArray[np.float64]:
    return np.array([np.median(block) for block in blocks], np.float64)
