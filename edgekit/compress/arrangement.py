"""In which order the elements of a tensor are coded.

A kernel is seen as rows (output channels), columns (input channels) and taps (the places of the window). Rows are coded
coarse to fine: every 64th one, then those halfway between, down to the last half, so that most rows have both
neighbours known. All columns of a set of rows at one tap are one step: a batch for the range coder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edgekit.graph.ir import Array

MAX_TAPS = 256
MAX_STRIDE_BITS = 6
STEP_ELEMENTS = 1 << 18
"""No step is longer, unless a single row is: memory stays bounded and the model learns in time."""

FLAT, ROWS_FIRST, ROWS_THEN_TAPS, ROWS_LAST, DEPTHWISE = range(5)
"""Which axes are rows, columns and taps. Axes of size 1 matter like any other.

FLAT: each element is a row. ROWS_FIRST: (rows, columns, taps...), ONNX's kernels. ROWS_THEN_TAPS: (rows, taps...,
columns), TFLite's. ROWS_LAST: (taps..., columns, rows), Keras's kernels and dense ones. DEPTHWISE: (taps..., rows).
"""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """A tensor's shape as rows x columns x taps; tap_width: size of the window's last axis (1 where there is none)."""

    order: int
    rows: int
    columns: int
    taps: int
    tap_width: int

    @classmethod
    def of(cls, shape: tuple[int, ...], order: int) -> Arrangement | None:
        """How `shape` is seen in `order`; None where the order needs more axes or has more than 256 taps."""
        if order == FLAT:
            return cls(order, math.prod(shape), 1, 1, 1)
        if len(shape) < 2:
            return None
        window: tuple[int, ...]
        if order == ROWS_FIRST:
            rows, columns, window = shape[0], shape[1], shape[2:]
        elif order == ROWS_THEN_TAPS:
            rows, columns, window = shape[0], shape[-1], shape[1:-1]
        elif order == ROWS_LAST:
            rows, columns, window = shape[-1], shape[-2], shape[:-2]
        else:
            rows, columns, window = shape[-1], 1, shape[:-1]
        taps = math.prod(window)
        return cls(order, rows, columns, taps, window[-1] if window else 1) if taps <= MAX_TAPS else None

    def to_taps(self, flat: Array) -> Array:
        """The tensor's elements (n,) as (taps, rows, columns), a view."""
        seen: Array = flat.reshape(self._stored()).transpose(self._axes())
        return seen

    def from_taps(self, array: Array) -> Array:
        """What `to_taps` made of the elements, back in their order in memory: (n,)."""
        axes = self._axes()
        inverse = [axes.index(axis) for axis in range(3)]
        flat: Array = array.transpose(inverse).reshape(-1)
        return flat

    def _stored(self) -> tuple[int, int, int]:
        sizes = {"t": self.taps, "r": self.rows, "c": self.columns}
        stored = _STORED[self.order]
        return sizes[stored[0]], sizes[stored[1]], sizes[stored[2]]

    def _axes(self) -> tuple[int, int, int]:
        stored = _STORED[self.order]
        return stored.index("t"), stored.index("r"), stored.index("c")

    def stride_bits(self) -> int:
        """The encoder's choice of the first rows' distance: 64 at most, fewer steps for many taps and few rows."""
        bits = 0
        while bits < MAX_STRIDE_BITS and 4 << bits <= self.rows and (bits + 2) * self.taps <= 128:
            bits += 1
        return bits


_STORED = ("rct", "rct", "rtc", "tcr", "tcr")
"""By order: which axis of the stored array is which."""


@dataclass(frozen=True, slots=True)
class Run:
    """Rows first, first + step, ... (count of them); neighbours `distance` above and below are known (0: none are)."""

    first: int
    step: int
    count: int
    distance: int


def runs(rows: int, columns: int, stride_bits: int) -> Iterator[Run]:
    """All rows in coding order, in runs of at most 2^18 elements a tap."""
    longest = max(1, STEP_ELEMENTS // max(columns, 1))
    step = 1 << stride_bits
    levels = [(0, step, 0)] + [(step >> k, step >> (k - 1), step >> k) for k in range(1, stride_bits + 1)]
    for first, stride, distance in levels:
        total = len(range(first, rows, stride))
        for done in range(0, total, longest):
            yield Run(first + done * stride, stride, min(longest, total - done), distance)
