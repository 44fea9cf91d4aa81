"""What the weights coded so far say about the next ones: a predicted weight and an expected magnitude, in integers.

Both are weighted sums of neighbours: the same place in the rows above and below, earlier taps of the same kernel, and
the column's mean over the rows so far. The encoder fits the weights of the sums; they travel with the tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.compress.arrangement import Arrangement, Run
from edgekit.compress.tables import LEANINGS, SCALES, SIZES

Scores = npt.NDArray[np.int32]

TAP_CLASSES = 9
"""Taps 0 to 7 have sums of their own, later ones share the ninth."""
ONE = 64
"""Coefficients are in 1/64; those of column means (in quarter levels) in 1/16; the constant's in 16/64 levels."""
MAX_MEAN = 127 * ONE
FINE = tuple(round(256 * 2 ** (k / 5 - 2.4)) for k in range(1, SCALES))
"""Where the classes of magnitude begin, as shares of the mean magnitude in 1/256: five classes an octave."""
COARSE = (9, 12, 15)
"""Fine classes at which the coarse ones begin."""


def tap_neighbours(arrangement: Arrangement, tap: int) -> tuple[int, ...]:
    """The earlier taps of the kernel that tap `tap` is predicted from; negative ones do not exist and count as 0."""
    if arrangement.taps <= TAP_CLASSES:
        return tuple(range(tap))
    width = arrangement.tap_width
    return tuple(tap - back for back in (1, 2, width - 1, width, width + 1, 2 * width))


def coefficient_counts(arrangement: Arrangement) -> list[tuple[int, int]]:
    """By class of taps: how many coefficients the predicted weight and the expected magnitude have."""
    near = [len(tap_neighbours(arrangement, tap)) for tap in range(min(arrangement.taps, TAP_CLASSES))]
    return [(count + 2, count + 4) for count in near]


@dataclass(slots=True)
class Known:
    """Levels (taps, rows + padding, columns) of what is coded so far, zeros elsewhere, and sums by tap and column."""

    levels: npt.NDArray[np.int16]
    sums: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    rows: int

    @classmethod
    def none(cls, arrangement: Arrangement, padding: int) -> Known:
        """Nothing is coded yet."""
        shape = (arrangement.taps, arrangement.columns)
        levels = np.zeros((arrangement.taps, arrangement.rows + padding, arrangement.columns), np.int16)
        return cls(levels, np.zeros(shape, np.int64), np.zeros(shape, np.int64), 0)

    def of_run(self, tap: int, run: Run, offset: int = 0) -> npt.NDArray[np.int16]:
        """Levels (count, columns) of a run's rows at a tap, or of their neighbours `offset` rows away."""
        first = run.first + offset
        return self.levels[tap, first : first + (run.count - 1) * run.step + 1 : run.step]

    def finish(self, run: Run) -> None:
        """Take a run's rows, all taps of which are coded, into the columns' sums."""
        for tap in range(len(self.levels)):
            levels = self.of_run(tap, run)
            self.sums[tap] += levels.sum(axis=0, dtype=np.int64)
            self.sizes[tap] += np.abs(levels).sum(axis=0, dtype=np.int64)
        self.rows += run.count


def column_means(known: Known, tap: int) -> tuple[Scores, Scores, Scores]:
    """In quarter levels, by column: mean weight at the tap, mean magnitude at all taps, mean magnitude at the tap."""
    rows, taps = max(known.rows, 1), len(known.levels)
    mean = 4 * known.sums[tap] // rows
    everywhere = 4 * known.sizes.sum(axis=0) // (rows * taps)
    return mean.astype(np.int32), everywhere.astype(np.int32), (4 * known.sizes[tap] // rows).astype(np.int32)


def scores(
    known: Known, run: Run, tap: int, near: Sequence[int], leaning: Sequence[int], size: Sequence[int]
) -> tuple[Scores, Scores]:
    """Predicted weight and expected magnitude (at least 1) in 1/64 levels, both (count, columns).

    near: taps of the same kernel; leaning, size: the coefficients, in the order rows, near taps, column means (one and
    two), constant (of the magnitude alone).
    """
    mean, everywhere, here = column_means(known, tap)
    predicted = np.empty((run.count, len(mean)), np.int32)
    expected = np.empty_like(predicted)
    predicted[:] = mean * np.int32(leaning[-1])
    expected[:] = everywhere * np.int32(size[-3]) + here * np.int32(size[-2]) + np.int32(size[-1] * 16)
    sources = [(known.of_run(other, run), leaning[k + 1], size[k + 1]) for k, other in enumerate(near) if other >= 0]
    if run.distance:
        sources += [(known.of_run(tap, run, d), leaning[0], size[0]) for d in (-run.distance, run.distance)]
    for levels, lean, weight in sources:
        wide = levels.astype(np.int32)
        if lean:
            predicted += wide * np.int32(lean)
        if weight:
            expected += np.abs(wide, out=wide) * np.int32(weight)
    return predicted, np.maximum(expected, 1, out=expected)


@dataclass(frozen=True, slots=True)
class Classes:
    """Turns scores into contexts. fine: class of magnitude by expected magnitude, up to its last entry."""

    fine: npt.NDArray[np.int8]

    @classmethod
    def of(cls, mean: int) -> Classes:
        """mean: the tensor's mean magnitude in 1/64 levels, zeros included."""
        starts = [max(mean * share >> 8, 1) for share in FINE]
        table = np.zeros(starts[-1] + 1, np.int8)
        for start in starts:
            table[start:] += 1
        return cls(table)

    def contexts(self, predicted: Scores, expected: Scores) -> tuple[Scores, Scores]:
        """Contexts of zeros (below 96) and of bins (below 28)."""
        fine = self.fine[np.minimum(expected, len(self.fine) - 1)].astype(np.int32)
        six = np.abs(predicted) * np.int32(6)
        leans = (six >= expected).astype(np.int32)
        leans += six >= 2 * expected
        leans += six >= 3 * expected
        coarse = COARSE_OF[fine]
        signed = np.where(predicted < 0, -leans, leans) + np.int32(LEANINGS - 1)
        return fine * np.int32(LEANINGS) + leans, signed * np.int32(SIZES) + coarse


COARSE_OF = np.searchsorted(COARSE, np.arange(SCALES), side="right").astype(np.int32)
