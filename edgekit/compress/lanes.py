"""An interleaved range coder (rANS): many lanes side by side, so that numpy codes a thousand decisions at a time.

Lane j codes every L-th decision of a batch. A state is 32 bits wide and never below 2^16 between decisions; 16-bit
words move between the states and one stream that all lanes share. Coding runs backwards, from the last decision to the
first, so that decoding runs forwards. The states that the encoder begins with are free in their lower 16 bits: they
carry raw words of the caller's, which the decoder finds in its final states; an unintended change of the stream shows
in their upper bits. Source: arXiv:1311.2540 (ANS), arXiv:1402.3392 (interleaving).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from edgekit.errors import WeightsError

LOW = 1 << 16
"""States lie in [2^16, 2^32)."""
FLAG_BITS = 16
SYMBOL_BITS = 12
"""Probabilities are multiples of 2^-16 (flags) or 2^-12 (symbols)."""

Words = npt.NDArray[np.uint16]
Numbers = npt.NDArray[np.integer]


class Coder(Protocol):
    """What the model of a tensor talks to: an encoder, a decoder, or a counter of bits."""

    def flags(self, ones: Numbers, known: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        """Code one batch of flags. ones: probability of True in 2^-16 steps, 1 to 65535; known: what to encode."""
        ...

    def symbols(self, rows: Numbers, freqs: Numbers, known: Numbers | None) -> Numbers:
        """Code one batch of symbols. freqs: (rows, symbols), each row sums to 4096; rows: which row each one uses."""
        ...


@dataclass(slots=True)
class CountingCoder:
    """Adds up the exact information of what is coded, in bits; writes nothing."""

    bits: float = 0.0

    def flags(self, ones: Numbers, known: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        """As `Coder`; `known` must be given."""
        told = _given(known)
        self.bits -= float(np.log2(np.where(told, ones, LOW - ones) / LOW).sum())
        return told

    def symbols(self, rows: Numbers, freqs: Numbers, known: Numbers | None) -> Numbers:
        """As `Coder`; `known` must be given."""
        told = _given(known)
        self.bits -= float(np.log2(freqs[rows, told] / (1 << SYMBOL_BITS)).sum())
        return told


@dataclass(slots=True)
class LaneEncoder:
    """Collects decisions; `finish` turns them into states and words."""

    batches: list[tuple[int, npt.NDArray[np.uint32], npt.NDArray[np.uint32]]] = field(default_factory=list)

    def flags(self, ones: Numbers, known: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        """As `Coder`; `known` must be given."""
        told = _given(known)
        zeros = LOW - ones
        self._add(FLAG_BITS, np.where(told, zeros, 0), np.where(told, ones, zeros))
        return told

    def symbols(self, rows: Numbers, freqs: Numbers, known: Numbers | None) -> Numbers:
        """As `Coder`; `known` must be given."""
        told = _given(known)
        starts = np.cumsum(freqs, axis=1) - freqs
        self._add(SYMBOL_BITS, starts[rows, told], freqs[rows, told])
        return told

    def _add(self, bits: int, starts: Numbers, freqs: Numbers) -> None:
        self.batches.append((bits, starts.astype(np.uint32), freqs.astype(np.uint32)))

    def finish(self, raw: Words) -> tuple[npt.NDArray[np.uint32], Words]:
        """States to begin decoding with, one a lane, and the words to follow. raw: one word a lane to carry along."""
        lanes = len(raw)
        states = raw.astype(np.uint64) + np.uint64(LOW)
        words = []
        for bits, starts, freqs in reversed(self.batches):
            for low in range((len(starts) - 1) // lanes * lanes, -1, -lanes):
                start, freq = starts[low : low + lanes].astype(np.uint64), freqs[low : low + lanes].astype(np.uint64)
                state = states[: len(freq)]
                full = state >= freq << np.uint64(32 - bits)
                words.append(state[full].astype(np.uint16))
                state = np.where(full, state >> np.uint64(16), state)
                quotient = state // freq
                states[: len(freq)] = (quotient << np.uint64(bits)) + (state - quotient * freq) + start
        return states.astype(np.uint32), np.concatenate([np.zeros(0, np.uint16), *reversed(words)])


class LaneDecoder:
    """Decodes batches in the order in which they were coded.

    Raises WeightsError where the words run out; `finish` raises it where the decoded decisions cannot have been coded.
    """

    def __init__(self, states: npt.NDArray[np.uint32], words: Words) -> None:
        if (states < LOW).any():
            raise WeightsError("a state of the range coder is damaged")
        self._states = states.copy()
        self._words = words.astype(np.uint32)
        self._at = 0

    def flags(self, ones: Numbers, known: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        """As `Coder`."""
        found = np.empty(len(ones), np.bool_)
        zeros = (LOW - ones).astype(np.uint32)
        ones = ones.astype(np.uint32)
        lanes = len(self._states)
        for low in range(0, len(ones), lanes):
            zero = zeros[low : low + lanes]
            state = self._states[: len(zero)]
            slot = state & np.uint32(LOW - 1)
            one = slot >= zero
            found[low : low + lanes] = one
            freq = np.where(one, ones[low : low + lanes], zero)
            slot -= zero * one
            self._refill(freq * (state >> np.uint32(FLAG_BITS)) + slot)
        return found

    def symbols(self, rows: Numbers, freqs: Numbers, known: Numbers | None) -> Numbers:
        """As `Coder`."""
        freqs = freqs.astype(np.uint32)
        flat, starts = freqs.ravel(), (np.cumsum(freqs, axis=1, dtype=np.uint32) - freqs).ravel()
        table = np.repeat(np.arange(len(flat), dtype=np.int32), flat)
        found = np.empty(len(rows), np.int32)
        bases = (rows << SYMBOL_BITS).astype(np.uint32)
        lanes = len(self._states)
        for low in range(0, len(rows), lanes):
            base = bases[low : low + lanes]
            state = self._states[: len(base)]
            slot = state & np.uint32((1 << SYMBOL_BITS) - 1)
            entry = table.take(base + slot)
            found[low : low + lanes] = entry
            slot -= starts.take(entry)
            self._refill(flat.take(entry) * (state >> np.uint32(SYMBOL_BITS)) + slot)
        symbols: Numbers = found - rows * freqs.shape[1]
        return symbols

    def _refill(self, states: npt.NDArray[np.uint32]) -> None:
        """Give each state that fell below 2^16 the next word."""
        low = np.flatnonzero(states < LOW)
        if len(low):
            words = self._words[self._at : self._at + len(low)]
            if len(words) < len(low):
                raise WeightsError("the coded data end too early")
            self._at += len(low)
            states[low] = (states[low] << np.uint32(16)) | words
        self._states[: len(states)] = states

    def finish(self) -> Words:
        """The raw words that travelled in the states. Raises WeightsError unless all words are used up exactly."""
        if self._at != len(self._words) or ((self._states >> np.uint32(16)) != 1).any():
            raise WeightsError("the coded data do not end where they should")
        raw: Words = self._states.astype(np.uint16)
        return raw


T = TypeVar("T")


def _given(known: T | None) -> T:
    if known is None:
        raise TypeError("an encoder must be told what to encode")
    return known
