"""The stream of all adaptively coded tensors of a container: segments of the range coder, then raw words.

A segment is closed after a run of rows once 2^21 decisions are in it, and at the end; memory stays bounded. The lower
bits of tensors (`Symbols.lows`) are packed into 16-bit words; as many as there are lanes travel inside each segment.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from edgekit.compress.lanes import LaneDecoder, LaneEncoder, Numbers, Words
from edgekit.errors import WeightsError
from edgekit.graph.ir import Array

SEGMENT_DECISIONS = 1 << 21
MAX_LANE_BITS = 10
_PIECE = 1 << 14
"""Numbers whose bits are spread out at a time."""
LANE_SHARE = 768
"""A lane costs about 1 byte, and 2 more where it carries no raw word: there is one for this many bytes of a segment."""
_HEADER = struct.Struct("<BI")
"""Of a segment: binary logarithm of the lanes, number of words. Then the states (uint32), then the words (uint16)."""


class StreamEncoder:
    """A `Coder` that writes segments. raw: all words of lower bits, which must be known beforehand."""

    def __init__(self, raw: Words) -> None:
        self._raw = raw
        self._segments: list[bytes] = []
        self._open = LaneEncoder()
        self._decisions = 0

    def flags(self, ones: Numbers, known: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        """As `Coder`."""
        self._decisions += len(ones)
        return self._open.flags(ones, known)

    def symbols(self, rows: Numbers, freqs: Numbers, known: Numbers | None) -> Numbers:
        """As `Coder`."""
        self._decisions += len(rows)
        return self._open.symbols(rows, freqs, known)

    def between_runs(self) -> None:
        """Close the segment if it is long enough."""
        if self._decisions >= SEGMENT_DECISIONS:
            self._close()

    def finish(self) -> bytes:
        """The whole stream."""
        if self._decisions:
            self._close()
        return b"".join(self._segments) + self._raw.astype("<u2").tobytes()

    def _close(self) -> None:
        expected = sum(float((bits - np.log2(freqs)).sum()) / 8 for bits, _, freqs in self._open.batches)
        lane_bits = 0
        while lane_bits < MAX_LANE_BITS and 2 << lane_bits <= expected / LANE_SHARE:
            lane_bits += 1
        carried, self._raw = self._raw[: 1 << lane_bits], self._raw[1 << lane_bits :]
        states, words = self._open.finish(np.pad(carried, (0, (1 << lane_bits) - len(carried))))
        self._segments.append(_HEADER.pack(lane_bits, len(words)))
        self._segments += [states.astype("<u4").tobytes(), words.astype("<u2").tobytes()]
        self._open, self._decisions = LaneEncoder(), 0


class StreamDecoder:
    """A `Coder` that reads segments. Raises WeightsError where the stream is damaged."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._raw: list[Words] = []
        self._open: LaneDecoder | None = None
        self._decisions = 0

    def flags(self, ones: Numbers, known: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        """As `Coder`."""
        self._decisions += len(ones)
        return self._segment().flags(ones, known) if len(ones) else np.zeros(0, np.bool_)

    def symbols(self, rows: Numbers, freqs: Numbers, known: Numbers | None) -> Numbers:
        """As `Coder`."""
        self._decisions += len(rows)
        return self._segment().symbols(rows, freqs, known) if len(rows) else np.zeros(0, np.int32)

    def between_runs(self) -> None:
        """Close the segment where the encoder did."""
        if self._decisions >= SEGMENT_DECISIONS:
            self._close()

    def finish(self, words: int) -> Words:
        """All raw words, of which there must be `words`; call it when every tensor is decoded."""
        if self._decisions:
            self._close()
        if len(self._data) % 2:
            raise WeightsError("the stream does not end where it should")
        raw: Words = np.concatenate([*self._raw, np.frombuffer(self._data, "<u2")]).astype(np.uint16)
        if len(raw) < words or len(self._data) > 2 * words or raw[words:].any():
            raise WeightsError("the stream does not end where it should")
        return raw[:words]

    def _segment(self) -> LaneDecoder:
        if self._open is None:
            if len(self._data) < _HEADER.size:
                raise WeightsError("the stream ends too early")
            lane_bits, count = _HEADER.unpack_from(self._data)
            middle = _HEADER.size + (4 << lane_bits) if lane_bits <= MAX_LANE_BITS else 0
            if not middle or middle + 2 * count > len(self._data):
                raise WeightsError("the stream ends too early or is damaged")
            states = np.frombuffer(self._data[_HEADER.size : middle], "<u4").astype(np.uint32)
            self._open = LaneDecoder(states, np.frombuffer(self._data[middle : middle + 2 * count], "<u2"))
            self._data = self._data[middle + 2 * count :]
        return self._open

    def _close(self) -> None:
        self._raw.append(self._segment().finish())
        self._open, self._decisions = None, 0


def pack_lows(lows: Array, width: int) -> Words:
    """Numbers of `width` bits, the first in the lowest bits, as 16-bit words; the last is padded with zeros."""
    shifts = np.arange(width, dtype=lows.dtype)
    pieces = [
        np.packbits((lows[low : low + _PIECE, None] >> shifts & lows.dtype.type(1)).astype(np.uint8), bitorder="little")
        for low in range(0, len(lows), _PIECE)
    ]
    packed = np.concatenate([np.zeros(0, np.uint8), *pieces])
    words: Words = np.pad(packed, (0, len(packed) % 2)).view("<u2").astype(np.uint16)
    return words


def words_of_lows(count: int, width: int) -> int:
    """How many words `pack_lows` makes of `count` numbers."""
    return (count * width + 15) // 16


def unpack_lows(words: Words, count: int, width: int) -> npt.NDArray[np.uint64]:
    """What `pack_lows` packed."""
    packed = words.astype("<u2").view(np.uint8)
    lows = np.empty(count, np.uint64)
    for low in range(0, count, _PIECE):
        size = min(_PIECE, count - low)
        bits = np.unpackbits(packed[low * width // 8 :], count=size * width, bitorder="little")
        padded = np.zeros((size, 64), np.uint8)
        padded[:, :width] = bits.reshape(size, width)
        lows[low : low + size] = np.packbits(padded, axis=1, bitorder="little").view("<u8").ravel()
    return lows
