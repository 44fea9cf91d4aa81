"""What latency samples say: quantiles of one file, and the ratio of two with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekit.bench.block import Block

Verdict = Literal["faster", "slower", "no difference shown"]
Basis = Literal["samples", "quantiles", "means"]

MIN_BLOCKS = 8
"""Fewer blocks than this do not span the machine's moods, and a bootstrap over them is too sure of itself."""

SAME_FILE_SPREAD = 0.02
"""Copies of one file in one measurement differ by up to 1 %, every run of it the same way: where their memory lies."""

_SLOW = 1.5
_NS_PER_MS = 1e6
_GRID = (np.arange(200) + 0.5) / 200


@dataclass(frozen=True, slots=True)
class Summary:
    """Quantiles over all runs, nothing trimmed (linear interpolation between runs).

    `slow_share` is the share of runs above 1.5 times the median. `drift` is the last quarter's median over the first's.

    basis: `samples` where each run is known. `quantiles` where blocks tell some quantiles only: median and p90 are then
    interpolated between these. `means` where blocks tell their mean, minimum and maximum only: `median_ms` is the
    median of the blocks' means. What cannot be known is None.
    """

    runs: int
    median_ms: float
    p90_ms: float | None
    p99_ms: float | None
    min_ms: float
    slow_share: float | None
    drift: float
    basis: Basis = "samples"


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


def summarize(blocks: Sequence[Block]) -> Summary:
    """Quantiles of all runs of all blocks; there must be at least one."""
    if all(block.samples_ns for block in blocks):
        return _of_samples(np.concatenate([np.asarray(block.samples_ns, np.float64) for block in blocks]) / _NS_PER_MS)
    centers = _centers(blocks) / _NS_PER_MS
    basis: Basis = "quantiles" if all(block.has_median for block in blocks) else "means"
    median, p90 = _interpolated(blocks) if basis == "quantiles" else (float(np.median(centers)), None)
    return Summary(
        runs=sum(block.runs for block in blocks),
        median_ms=median,
        p90_ms=p90,
        p99_ms=None,
        min_ms=min(block.min_ns for block in blocks) / _NS_PER_MS,
        slow_share=None,
        drift=quarter_drift(centers),
        basis=basis,
    )


def quarter_drift(values: NDArray[np.float64]) -> float:
    """The last quarter's median over the first's."""
    quarter = max(1, values.size // 4)
    return float(np.median(values[-quarter:]) / np.median(values[:quarter]))


def ratio_to_reference(
    blocks: Sequence[Block], reference: Sequence[Block], *, resamples: int = 2000, seed: int = 0
) -> Ratio:
    """The median, over pairs of neighbouring blocks, of our block's median over the reference's.

    Blocks of one number were measured next to each other, so what the machine did meanwhile (another clock, another
    process) cancels out in their ratio. The interval is the 2.5 to 97.5 % range of a bootstrap over the pairs; single
    runs are not drawn, since runs next to each other are not independent. Both need the same number of blocks.
    """
    ratios = _centers(blocks) / _centers(reference)
    draws = np.random.default_rng(seed).integers(0, ratios.size, (resamples, ratios.size))
    low, high = (float(q) for q in np.quantile(np.median(ratios[draws], axis=1), (0.025, 0.975)))
    return Ratio(float(np.median(ratios)), low, high, int(ratios.size))


def _of_samples(runs: NDArray[np.float64]) -> Summary:
    median, p90, p99 = (float(q) for q in np.quantile(runs, (0.5, 0.9, 0.99)))
    return Summary(
        runs=int(runs.size),
        median_ms=median,
        p90_ms=p90,
        p99_ms=p99,
        min_ms=float(runs.min()),
        slow_share=float((runs > _SLOW * median).mean()),
        drift=quarter_drift(runs),
    )


def _interpolated(blocks: Sequence[Block]) -> tuple[float, float]:
    """Median and p90 of the runs of all blocks together, each block's quantiles joined by straight lines."""
    times = np.concatenate([np.interp(_GRID, *np.array(block.quantiles_ns).T) for block in blocks])
    weights = np.repeat([float(block.runs) for block in blocks], _GRID.size)
    order = np.argsort(times)
    shares = np.cumsum(weights[order]) / weights.sum()
    median, p90 = (float(times[order][np.searchsorted(shares, share)]) / _NS_PER_MS for share in (0.5, 0.9))
    return median, p90


def _centers(blocks: Sequence[Block]) -> NDArray[np.float64]:
    return np.array([block.center_ns for block in blocks], np.float64)
