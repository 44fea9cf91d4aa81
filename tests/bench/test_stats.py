"""Quantiles against numpy's, and a bootstrap that does not see differences that are not there."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.bench.stats import Ratio, ratio_to_reference, summarize


def noisy_blocks(rng: np.random.Generator, base_ns: float, mood: np.ndarray) -> list[list[int]]:
    """Blocks of 8 runs that share a machine's mood, a factor per block, and differ by 3 % among themselves."""
    return [[int(base_ns * m * (1 + abs(rng.normal()) * 0.03)) for _ in range(8)] for m in mood]


def test_summary_is_over_all_runs() -> None:
    runs = np.random.default_rng(0).integers(1_000_000, 5_000_000, 400)
    summary = summarize(runs.reshape(50, 8).tolist())
    in_ms = runs / 1e6
    assert (summary.runs, summary.min_ms) == (400, in_ms.min())
    assert summary.median_ms == pytest.approx(np.median(in_ms))
    assert summary.p90_ms == pytest.approx(np.percentile(in_ms, 90))
    assert summary.p99_ms == pytest.approx(np.percentile(in_ms, 99))
    assert summary.slow_share == (in_ms > 1.5 * np.median(in_ms)).mean()
    assert summary.drift == pytest.approx(np.median(in_ms[300:]) / np.median(in_ms[:100]))


def test_summary_of_one_run() -> None:
    summary = summarize([[2_000_000]])
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
