"""Cores to measure on, for the phones and boards whose masks are known."""

from __future__ import annotations

import pytest

from edgekit.bench.masks import big_cores, mask_text, pick_cores
from edgekit.errors import DeviceError


def clusters(*counts_and_khz: tuple[int, int]) -> dict[int, int]:
    frequencies = [khz for count, khz in counts_and_khz for _ in range(count)]
    return dict(enumerate(frequencies))


PIXEL_4 = clusters((4, 1785), (3, 2419), (1, 2841))
PIXEL_6 = clusters((4, 1803), (2, 2253), (2, 2802))
PIXEL_8 = clusters((4, 1704), (4, 2367), (1, 2914))
PI_5 = clusters((4, 2400))


@pytest.mark.parametrize(
    ("phone", "big", "one"), [(PIXEL_4, "f0", "80"), (PIXEL_6, "c0", "80"), (PIXEL_8, "1f0", "100"), (PI_5, "f", "8")]
)
def test_masks_of_known_devices(phone: dict[int, int], big: str, one: str) -> None:
    threads, cpus = pick_cores(phone, "big")
    assert (mask_text(big_cores(phone)), mask_text(cpus), threads) == (big, big, len(cpus))
    assert mask_text(pick_cores(phone, 1)[1]) == one


def test_threads_take_the_fastest_cores() -> None:
    assert pick_cores(PIXEL_4, 2) == (2, (6, 7))
    assert pick_cores(PI_5, 9) == (9, (0, 1, 2, 3))
    assert pick_cores({}, 3) == (3, ())


def test_refused() -> None:
    with pytest.raises(DeviceError, match="does not tell its cores' clock rates: give --threads as a number"):
        pick_cores({}, "big")
    with pytest.raises(DeviceError, match="0 threads cannot run anything: give at least 1"):
        pick_cores(PI_5, 0)
