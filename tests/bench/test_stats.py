"""Quantiles against numpy's, and a bootstrap that does not see differences that are not there."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.bench.block import Block
from edgekit.bench.stats import Ratio, ratio_to_reference, summarize


def noisy_blocks(rng: np.random.Generator, base_ns: float, mood: np.ndarray) -> list[Block]:
    """Blocks of 8 runs that share a machine's mood, a factor per block, and differ by 3 % among themselves."""
    return [Block.of([int(base_ns * m * (1 + abs(rng.normal()) * 0.03)) for _ in range(8)]) for m in mood]


def test_summary_is_over_all_runs() -> None:
    runs = np.random.default_rng(0).integers(1_000_000, 5_000_000, 400)
    summary = summarize([Block.of(own) for own in runs.reshape(50, 8).tolist()])
    in_ms = runs / 1e6
    assert (summary.runs, summary.min_ms) == (400, in_ms.min())
    assert summary.median_ms == pytest.approx(np.median(in_ms))
    assert summary.p90_ms == pytest.approx(np.percentile(in_ms, 90))
    assert summary.p99_ms == pytest.approx(np.percentile(in_ms, 99))
    assert summary.slow_share == (in_ms > 1.5 * np.median(in_ms)).mean()
    assert summary.drift == pytest.approx(np.median(in_ms[300:]) / np.median(in_ms[:100]))


def test_summary_of_one_run() -> None:
    summary = summarize([Block.of([2_000_000])])
    assert (summary.runs, summary.median_ms, summary.p90_ms, summary.drift, summary.slow_share) == (
        1,
        2.0,
        2.0,
        1.0,
        0.0,
    )


def test_a_real_difference_shows_through_a_machine_that_changes_pace() -> None:
    rng = np.random.default_rng(3)
    mood = rng.uniform(1.0, 2.0, 32)
    ratio = ratio_to_reference(noisy_blocks(rng, 0.9e6, mood), noisy_blocks(rng, 1.0e6, mood))
    assert ratio.low < 0.9 < ratio.high
    assert ratio.high - ratio.low < 0.02
    assert ratio.verdict == "faster"
    assert Ratio(1 / ratio.value, 1 / ratio.high, 1 / ratio.low, ratio.blocks).verdict == "slower"


def test_the_interval_misses_the_truth_about_one_time_in_twenty() -> None:
    rng = np.random.default_rng(4)
    misses = 0
    for seed in range(300):
        mood = rng.uniform(1.0, 1.2, 24)
        ratio = ratio_to_reference(noisy_blocks(rng, 1e6, mood), noisy_blocks(rng, 1e6, mood), resamples=400, seed=seed)
        misses += not ratio.low <= 1.0 <= ratio.high
    assert 3 <= misses <= 30


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Ratio(0.90, 0.80, 1.01, 20), "no difference shown"),
        (Ratio(0.90, 0.85, 0.95, 7), "no difference shown"),
        (Ratio(0.985, 0.98, 0.99, 20), "no difference shown"),
        (Ratio(1.015, 1.01, 1.02, 20), "no difference shown"),
        (Ratio(0.90, 0.85, 0.95, 8), "faster"),
        (Ratio(1.10, 1.05, 1.15, 8), "slower"),
    ],
)
def test_verdict(ratio: Ratio, verdict: str) -> None:
    assert ratio.verdict == verdict
    assert ratio.to_json()["verdict"] == verdict


def test_the_same_samples_give_the_same_interval() -> None:
    rng = np.random.default_rng(5)
    mood = np.ones(10)
    a, b = noisy_blocks(rng, 1e6, mood), noisy_blocks(rng, 1e6, mood)
    assert ratio_to_reference(a, b) == ratio_to_reference(a, b)


def told(samples: np.ndarray, shares: tuple[float, ...]) -> Block:
    """What a tool that gives only these quantiles says of the runs."""
    quantiles = tuple((share, float(np.quantile(samples, share))) for share in shares)
    center = float(np.median(samples) if 0.5 in shares else samples.mean())
    return Block(samples.size, float(samples.sum()), center, quantiles_ns=quantiles)


def test_quantiles_of_blocks_are_joined() -> None:
    rng = np.random.default_rng(6)
    runs = [rng.gamma(4.0, 0.2e6, size) + 5e6 for size in (300, 500, 200)]
    summary = summarize([told(own, (0.0, 0.05, 0.5, 0.95, 1.0)) for own in runs])
    together = np.concatenate(runs) / 1e6
    assert (summary.basis, summary.runs, summary.p99_ms, summary.slow_share) == ("quantiles", 1000, None, None)
    assert summary.min_ms == together.min()
    assert summary.median_ms == pytest.approx(np.median(together), rel=0.002)
    true_p90 = np.percentile(together, 90)
    assert true_p90 < summary.p90_ms < 1.03 * true_p90  # straight lines lie above a long tail's quantiles


def test_means_stand_in_for_medians_and_say_so() -> None:
    runs = [np.array([1.0, 2.0, 6.0]) * 1e6, np.array([2.0, 2.0, 5.0]) * 1e6, np.array([1.5, 1.5, 3.0]) * 1e6]
    summary = summarize([told(own, (0.0, 1.0)) for own in runs])
    assert (summary.basis, summary.median_ms, summary.p90_ms, summary.min_ms) == ("means", 3.0, None, 1.0)


def test_blocks_tell_what_the_device_told() -> None:
    assert Block.of([3, 1, 2], 1000).to_json() == {"runs": 3, "clock_khz": 1000, "samples_ns": [3, 1, 2]}
    block = told(np.array([1.0, 2.0, 3.0]), (0.0, 0.5, 1.0))
    assert block.to_json()["quantiles_ns"] == {"0.0": 1.0, "0.5": 2.0, "1.0": 3.0}
    assert (block.has_median, block.min_ns, Block(2, 4.0, 2.0).has_median) == (True, 1.0, False)
