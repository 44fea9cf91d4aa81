"""The adaptive tables of one tensor's model: how likely zero is, which bin a weight falls into, which code of the bin.

All arithmetic is in integers, the same in every decoder. Counts begin at what the codebook suggests (wide cells of
codebook get many weights, bins follow a bell around the predicted weight) and grow as steps are coded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.compress.lanes import SYMBOL_BITS
from edgekit.graph.ir import Array

Counts = npt.NDArray[np.int64]

BINS = 16
POSITION_LIMIT = 127 << 8
"""Positions are the codes' values in 1/256 levels; weights beyond 127 levels are taken for that large."""
SCALES, LEANINGS, SIZES = 24, 4, 4
"""Contexts: expected magnitude (fine and coarse), and how far the predicted weight leans to one side."""
ZERO_WEIGHT, ZERO_STEP = 6, 16
BIN_WEIGHT, BIN_STEP = 30, 16
CODE_WEIGHT, CODE_STEP = 10, 16
SPREADS = (37, 53, 77, 111)
"""Magnitudes of the coarse classes: the mean one times 2^(-0.8, -0.27, 0.27, 0.8), in 1/64."""
CENTRES = (0, 16, 27, 45)
"""Predicted weight in classes of leaning 0 to 3, in 1/64 of the magnitude."""
BELL = 45
"""Width of the bell, in 1/64 of the magnitude."""


def positions(values: npt.NDArray[np.float64], scale: float) -> Counts:
    """Where values lie, in 1/256 levels: values * scale * 256, rounded half up, within +-127 levels; NaN lies at 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.nan_to_num(values * scale, nan=0.0, posinf=127.0, neginf=-127.0)
    return np.floor(np.clip(scaled, -127.0, 127.0) * 256 + 0.5).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Cells:
    """How the codes that are not zero fall into bins.

    where: (codes,) position; zero: the zero's code or -1; bins: how many there are; bin_of: (codes,), -1 for zero;
    rank: (codes,) place within the bin; code_at: (bins, longest bin), -1 where a bin is shorter.
    """

    where: Counts
    zero: int
    bins: int
    bin_of: Array
    rank: Array
    code_at: Array

    @classmethod
    def of(cls, where: Counts, zero: int) -> Cells:
        """Bins of equal numbers of codes, at most 16."""
        codes = np.flatnonzero(np.arange(len(where)) != zero)
        bins = min(BINS, len(codes))
        bin_of, rank = np.full(len(where), -1, np.int32), np.zeros(len(where), np.int32)
        bin_of[codes] = np.arange(len(codes)) * bins // max(len(codes), 1)
        firsts = np.searchsorted(bin_of[codes], np.arange(bins))
        rank[codes] = np.arange(len(codes)) - firsts[bin_of[codes]] if bins else 0
        code_at = np.full((max(bins, 1), int(rank.max(initial=0)) + 1), -1, np.int32)
        code_at[bin_of[codes], rank[codes]] = codes
        return cls(where, zero, bins, bin_of, rank, code_at)

    def edges(self) -> Counts:
        """Upper ends of the cells of all codes but zero, (codes,), in 1/512 levels; the last has none."""
        where = self.where[np.flatnonzero(self.bin_of >= 0)]
        return where[1:] + where[:-1]


@dataclass(slots=True)
class Tables:
    """Counts that adapt. zeros: (24, 4, 2); bins: (28, bins); codes: (bins, longest bin)."""

    cells: Cells
    zeros: Counts
    bins: Counts
    codes: Counts

    @classmethod
    def of(cls, cells: Cells, share: int, spread: int) -> Tables:
        """share: weights that are not zero, in 1/256 (1 to 255); spread: their mean magnitude in 1/256 levels."""
        zeros = np.empty((SCALES, LEANINGS, 2), np.int64)
        zeros[..., 0], zeros[..., 1] = (
            (256 - share) * ZERO_WEIGHT * ZERO_STEP // 256,
            share * ZERO_WEIGHT * ZERO_STEP // 256,
        )
        return cls(cells, zeros + 1, _first_bins(cells, spread), _first_codes(cells))

    def ones(self) -> Counts:
        """Probability that a weight is not zero, by context, in 2^-16: (24, 4)."""
        ones: Counts = np.clip((self.zeros[..., 1] << 16) // self.zeros.sum(axis=-1), 32, (1 << 16) - 32)
        return ones

    def learn_zeros(self, contexts: Array, flags: Array) -> None:
        """Count flags (n,) under contexts (n,) of the 24 x 4."""
        found = np.bincount(contexts * 2 + flags, minlength=self.zeros.size)
        self.zeros += found.reshape(self.zeros.shape) * ZERO_STEP

    def learn_bins(self, contexts: Array, bins: Array, ranks: Array) -> None:
        """Count bins (n,) under contexts (n,) of the 28, and the places within them."""
        width = self.bins.shape[1]
        self.bins += np.bincount(contexts * width + bins, minlength=self.bins.size).reshape(self.bins.shape) * BIN_STEP
        longest = self.codes.shape[1]
        found = np.bincount(bins * longest + ranks, minlength=self.codes.size)
        self.codes += found.reshape(self.codes.shape) * CODE_STEP


def frequencies(counts: Counts) -> Counts:
    """Each row in proportion, at least 1 where a count is not 0, summing up to 4096; the largest takes the rest."""
    present = counts > 0
    room = (1 << SYMBOL_BITS) - present.sum(axis=1, keepdims=True)
    freqs: Counts = present + counts * room // counts.sum(axis=1, keepdims=True)
    freqs[np.arange(len(freqs)), freqs.argmax(axis=1)] += (1 << SYMBOL_BITS) - freqs.sum(axis=1)
    return freqs


def _first_bins(cells: Cells, spread: int) -> Counts:
    """(28, bins): a bell around the class's predicted weight, over the bins' cells."""
    counts = np.empty(((2 * LEANINGS - 1) * SIZES, max(cells.bins, 1)), np.int64)
    lasts = np.flatnonzero(np.diff(cells.bin_of[cells.bin_of >= 0]))
    ends = cells.edges()[lasts]
    for context in range(len(counts)):
        leaning, size = divmod(context, SIZES)
        wide = spread * SPREADS[size]
        centre = CENTRES[abs(leaning - 3)] * wide // 2048
        bell = np.int64(max(wide * BELL // 2048, 1))
        offsets = ends - (centre if leaning >= 3 else -centre)
        squares = offsets * offsets
        below = squares * np.int64(1 << 15) // (squares + bell * bell)
        reached = np.concatenate([[0], np.where(offsets < 0, (1 << 15) - below, (1 << 15) + below), [1 << 16]])
        counts[context] = 1 + (np.diff(reached) * (BIN_WEIGHT * BIN_STEP) >> 16)
    return counts


def _first_codes(cells: Cells) -> Counts:
    """(bins, longest bin): in proportion to the widths of the codes' cells."""
    codes = np.flatnonzero(cells.bin_of >= 0)
    where = cells.where[codes]
    edges = np.concatenate([2 * where[:1], cells.edges(), 2 * where[-1:]])
    widths = np.maximum(np.diff(edges), 1)
    counts = np.zeros(cells.code_at.shape, np.int64)
    counts[cells.bin_of[codes], cells.rank[codes]] = widths
    lengths, totals = (counts > 0).sum(axis=1, keepdims=True), np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.where(counts > 0, 1 + counts * lengths * (CODE_WEIGHT * CODE_STEP) // totals, 0)
