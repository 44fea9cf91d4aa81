"""Measurements that must not be believed."""

from __future__ import annotations

import pytest

from edgekit.bench.block import Block
from edgekit.bench.device import DeviceState
from edgekit.bench.stats import summarize
from edgekit.bench.validity import device_problems, file_problems


def blocks(times: list[int], clocks: list[int] | None = None) -> list[Block]:
    return [Block.of([time] * 4, clocks[i] if clocks else None) for i, time in enumerate(times)]


def problems(of: list[Block]) -> tuple[str, ...]:
    return file_problems(of, summarize(of))


def test_a_quiet_measurement_has_none() -> None:
    assert device_problems([DeviceState(thermal_status=1, throttled=0x50000)] * 3) == ()
    assert device_problems([DeviceState()] * 3) == ()
    assert problems(blocks([100] * 8, [2_400_000] * 8)) == ()
    assert problems(blocks([100] * 6 + [104] * 2, [2_400_000] * 6 + [2_300_000] * 2)) == ()


def test_heat() -> None:
    (told,) = device_problems([DeviceState(thermal_status=0), DeviceState(thermal_status=2), DeviceState()])
    assert "rose from 0 (none) to 2 (moderate): let the device cool down" in told


def test_a_device_that_was_hot_before_and_cools_down_is_no_worse() -> None:
    assert device_problems([DeviceState(thermal_status=2), DeviceState(thermal_status=1)]) == ()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([0x0, 0x1, 0x0], "under-voltage"),
        ([0x50005, 0x50004], "throttled"),
        ([0x10000, 0x30000], "clocks are capped"),
        ([0x0, 0x80000], "soft temperature limit"),
    ],
)
def test_the_pi_s_throttling_bits(words: list[int], told: str) -> None:
    assert any(
        f"reports {told}: check its power" in p for p in device_problems([DeviceState(throttled=w) for w in words])
    )


def test_times_that_rise() -> None:
    (told,) = problems(blocks([100] * 6 + [106] * 2))
    assert told == "the last quarter of the runs took 1.06 times as long as the first"


def test_clocks_that_fall() -> None:
    (told,) = problems(blocks([100] * 8, [2_400_000] * 4 + [2_200_000] * 2 + [2_400_000] * 2))
    assert told == "the core's clock fell from 2400 to 2200 MHz"
