"""When a measurement must not be believed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.bench.block import Block
from edgekit.bench.device import DeviceState
from edgekit.bench.stats import Summary

DRIFT = 1.05
CLOCK_LOSS = 0.95

_THROTTLED_NOW = {0: "under-voltage", 1: "clocks are capped", 2: "throttled", 3: "soft temperature limit"}
_SINCE_BOOT = 16
_SEVERITIES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


def device_problems(states: Sequence[DeviceState]) -> tuple[str, ...]:
    """What went wrong with the device between the first state and the last: heat, power supply."""
    problems = []
    thermal = [state.thermal_status for state in states if state.thermal_status is not None]
    if thermal and max(thermal) > thermal[0]:
        problems.append(
            f"the thermal status rose from {_severity(thermal[0])} to {_severity(max(thermal))}: "
            "let the device cool down, and measure again"
        )
    return (*problems, *_throttling([state.throttled for state in states if state.throttled is not None]))


def file_problems(blocks: Sequence[Block], summary: Summary) -> tuple[str, ...]:
    """What went wrong while one file was measured: times or clocks that changed on the way."""
    problems = []
    if summary.drift > DRIFT:
        problems.append(f"the last quarter of the runs took {summary.drift:.2f} times as long as the first")
    clocks = [block.clock_khz for block in blocks if block.clock_khz]
    if clocks:
        quarter = max(1, len(clocks) // 4)
        medians = [float(np.median(clocks[i : i + quarter])) for i in range(0, len(clocks) - quarter + 1, quarter)]
        if min(medians) < CLOCK_LOSS * medians[0]:
            problems.append(f"the core's clock fell from {medians[0] / 1000:.0f} to {min(medians) / 1000:.0f} MHz")
    return tuple(problems)


def _severity(status: int) -> str:
    return f"{status} ({_SEVERITIES[status]})" if 0 <= status < len(_SEVERITIES) else str(status)


def _throttling(words: Sequence[int]) -> list[str]:
    """Bits 0 to 3 say what holds now, 16 to 19 what has happened since the board was started."""
    told = []
    for bit, meaning in _THROTTLED_NOW.items():
        now = any(word >> bit & 1 for word in words)
        between = bool(words) and not words[0] >> (bit + _SINCE_BOOT) & 1 and words[-1] >> (bit + _SINCE_BOOT) & 1
        if now or between:
            told.append(f"the board reports {meaning}: check its power supply and its cooling")
    return told
