"""Streams of bits, the most significant bit of each byte first, and the two number codes that the container uses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edgekit.errors import WeightsError

MAX_ZEROS = 63
"""No code of a valid file begins with more zero bits."""


class BitWriter:
    """Collects bits; `done` pads the last byte with zeros."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def number(self, value: int, width: int) -> None:
        """`value` as `width` bits."""
        if width:
            self._text.append(format(value, f"0{width}b"))

    def count(self, value: int) -> None:
        """A number of 0 or more in Elias's gamma code of `value + 1`: short for small ones."""
        width = (value + 1).bit_length()
        self._text.append("0" * (width - 1) + format(value + 1, "b"))

    def signed(self, value: int) -> None:
        """A signed number: 0, -1, 1, -2, 2, ... as the counts 0, 1, 2, 3, 4."""
        self.count(2 * value if value >= 0 else -2 * value - 1)

    def done(self) -> bytes:
        """All bits."""
        text = "".join(self._text)
        size = (len(text) + 7) // 8
        return int(text.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")


class BitReader:
    """Reads what a `BitWriter` wrote. Raises WeightsError where the bits run out."""

    def __init__(self, data: bytes) -> None:
        self._text = format(int.from_bytes(data, "big"), f"0{8 * len(data)}b") if data else ""
        self.at = 0

    def number(self, width: int) -> int:
        """`width` bits."""
        if self.at + width > len(self._text):
            raise WeightsError("the tables end too early")
        text = self._text[self.at : self.at + width]
        self.at += width
        return int(text, 2) if width else 0

    def count(self) -> int:
        """A number in Elias's gamma code."""
        one = self._text.find("1", self.at, self.at + MAX_ZEROS + 1)
        if one < 0:
            raise WeightsError("the tables are damaged")
        zeros = one - self.at
        self.at = one
        return self.number(zeros + 1) - 1

    def signed(self) -> int:
        """A signed number."""
        value = self.count()
        return -((value + 1) // 2) if value % 2 else value // 2

    def finish(self) -> None:
        """Raises WeightsError unless nothing but the padding is left."""
        if len(self._text) - self.at >= 8 or "1" in self._text[self.at :]:
            raise WeightsError("the tables do not end where they should")


def write_sorted(bits: BitWriter, keys: Sequence[int], width: int) -> None:
    """Distinct numbers in ascending order, below 2^width: the first as it is, then the gaps.

    A gap (less 1) is told by how its bit length differs from the one before, and its bits below the leading one.
    """
    bits.number(keys[0], width)
    length = 0
    for before, key in pairwise(keys):
        gap = key - before - 1
        bits.signed(gap.bit_length() - length)
        length = gap.bit_length()
        if length > 1:
            bits.number(gap - (1 << (length - 1)), length - 1)


def read_sorted(bits: BitReader, count: int, width: int) -> list[int]:
    """What `write_sorted` wrote. Raises WeightsError where the numbers leave the range."""
    keys = [bits.number(width)]
    length = 0
    for _ in range(count - 1):
        length += bits.signed()
        if not 0 <= length <= width:
            raise WeightsError("the codebook is damaged")
        gap = (1 << (length - 1)) + bits.number(length - 1) if length else 0
        keys.append(keys[-1] + gap + 1)
    if keys[-1] >> width:
        raise WeightsError("the codebook is damaged")
    return keys
