"""Huffman coding as in Deep Compression: gaps between weights that are not zero, and codebook indices.

For comparison with the paper, and for what the adaptive coder does not pay for. A gap counts the zeros before a weight;
where there are too many, a zero is written like a weight after the longest gap. Codes are canonical and at most 15 bits
long.
Source: arXiv:1510.00149, sections 2 and 4.
"""

from __future__ import annotations

import heapq
import itertools

import numpy as np
import numpy.typing as npt

from edgekit.compress.bits import BitReader, BitWriter
from edgekit.compress.model_bits import read_codebook, write_codebook
from edgekit.compress.symbols import Symbols, restore
from edgekit.errors import WeightsError
from edgekit.graph.ir import Array

MAX_LENGTH = 15
MAX_GAP_BITS = 12
GAP_BITS = (5, 8)
"""The paper's widths of gaps, for dense and for convolution layers; the shorter result is kept."""

Lengths = npt.NDArray[np.int64]


def huffman_bytes(values: Array) -> bytes | None:
    """A tensor with at most 4096 distinct values; None for others and for empty ones."""
    symbols = Symbols.of(values, 0) if values.size else None
    if symbols is None:
        return None
    zero = int(np.flatnonzero(symbols.code_values() == 0)[0]) if (symbols.code_values() == 0).sum() == 1 else -1
    choices = [_write(symbols, zero, gap_bits) for gap_bits in GAP_BITS] if zero >= 0 else []
    return min([_write(symbols, -1, 0), *choices], key=len)


def _write(symbols: Symbols, zero: int, gap_bits: int) -> bytes:
    """Tables, then all gaps, then all codes. zero: the zero's code, -1 to code zeros like other weights."""
    codes = symbols.indices
    tables = BitWriter()
    write_codebook(tables, symbols)
    tables.number(zero + 1, 13)
    parts = []
    if zero >= 0:
        gaps, codes = _gaps(codes, zero, gap_bits)
        tables.number(gap_bits, 4)
        tables.number(len(codes), 32)
        parts.append((gaps, 1 << gap_bits))
    parts.append((codes, len(symbols.codes)))
    payload = []
    for numbers, alphabet in parts:
        lengths = code_lengths(np.bincount(numbers, minlength=alphabet))
        for length in lengths:
            tables.number(int(length), 4)
        payload.append(_encode(numbers, lengths))
    head = tables.done()
    packed = np.packbits(np.concatenate(payload), bitorder="little").tobytes()
    return len(head).to_bytes(4, "little") + head + packed


def _gaps(codes: Array, zero: int, gap_bits: int) -> tuple[Array, Array]:
    """Zeros before each weight (at most 2^gap_bits - 1), and its code; after the longest gap it may be the zero's."""
    places = np.flatnonzero(codes != zero)
    zeros = np.diff(places, prepend=-1) - 1
    fillers = zeros >> gap_bits
    last = np.cumsum(fillers + 1) - 1
    gaps = np.full(int(fillers.sum()) + len(places), (1 << gap_bits) - 1, np.int64)
    numbers = np.full(len(gaps), zero, np.int64)
    gaps[last], numbers[last] = zeros & ((1 << gap_bits) - 1), codes[places]
    return gaps, numbers


def huffman_values(data: bytes, count: int, dtype: np.dtype[np.generic]) -> Array:
    """The elements (count,) that `huffman_bytes` wrote. Raises WeightsError for damaged data."""
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 or size > len(data) - 4:
        raise WeightsError("the Huffman tables end too early")
    tables = BitReader(data[4 : 4 + size])
    low_bits, codes = read_codebook(tables, dtype)
    zero = tables.number(13) - 1
    if low_bits or zero >= len(codes):
        raise WeightsError("the Huffman tables are damaged")
    gap_bits, pairs = (tables.number(4), tables.number(32)) if zero >= 0 else (0, count)
    if gap_bits > MAX_GAP_BITS or pairs > count:
        raise WeightsError("the Huffman tables are damaged")
    alphabets = [1 << gap_bits, len(codes)] if zero >= 0 else [len(codes)]
    lengths = [np.array([tables.number(4) for _ in range(alphabet)], np.int64) for alphabet in alphabets]
    tables.finish()
    bits = np.unpackbits(np.frombuffer(data[4 + size :], np.uint8), bitorder="little")
    at, found = 0, []
    for table in lengths:
        numbers, at = _decode(bits, at, table, pairs)
        found.append(numbers)
    if len(bits) - at >= 8 or bits[at:].any():
        raise WeightsError("the Huffman data do not end where they should")
    indices = found[-1]
    if zero >= 0:
        places = np.cumsum(found[0] + 1) - 1
        if pairs and places[-1] >= count:
            raise WeightsError("a gap leads out of the tensor")
        indices = np.full(count, zero, np.int64)
        indices[places] = found[1]
    return restore(indices, codes, None, 0, dtype)


def code_lengths(counts: npt.NDArray[np.integer]) -> Lengths:
    """Lengths of an optimal prefix code, (n,), 0 where the count is 0; counts are flattened until 15 bits suffice."""
    scaled: npt.NDArray[np.int64] = counts.astype(np.int64)
    while True:
        lengths = _optimal(scaled)
        if lengths.max(initial=0) <= MAX_LENGTH:
            return lengths
        scaled = np.where(scaled > 0, (scaled + 1) // 2, 0)


def _optimal(counts: npt.NDArray[np.int64]) -> Lengths:
    ticket = itertools.count()
    used = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.int64)
    if len(used) == 1:
        lengths[used] = 1
    heap = [(int(counts[symbol]), next(ticket), [int(symbol)]) for symbol in used]
    heapq.heapify(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        merged = first[2] + second[2]
        lengths[merged] += 1
        heapq.heappush(heap, (first[0] + second[0], next(ticket), merged))
    return lengths


def _canonical(lengths: Lengths) -> npt.NDArray[np.int64]:
    """Codes in order of length, then of symbol. Raises WeightsError where the lengths are of no prefix code."""
    used = np.flatnonzero(lengths)
    order = used[np.argsort(lengths[used], kind="stable")]
    steps = 1 << (MAX_LENGTH - lengths[order])
    if steps.sum() > 1 << MAX_LENGTH:
        raise WeightsError("the Huffman tables are damaged")
    codes = np.zeros(len(lengths), np.int64)
    codes[order] = (np.cumsum(steps) - steps) >> (MAX_LENGTH - lengths[order])
    return codes


def _encode(numbers: Array, lengths: Lengths) -> npt.NDArray[np.uint8]:
    """The numbers' codes, one bit an element."""
    codes, sizes = _canonical(lengths)[numbers], lengths[numbers]
    ends = np.cumsum(sizes)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for back in range(MAX_LENGTH):
        longer = sizes > back
        bits[ends[longer] - 1 - back] = codes[longer] >> back & 1
    return bits


def _decode(bits: npt.NDArray[np.uint8], at: int, lengths: Lengths, count: int) -> tuple[npt.NDArray[np.int64], int]:
    """`count` numbers that begin at bit `at`, and where they end.

    What code begins at each bit is looked up for all bits at once; then only the steps from code to code are taken.
    """
    if not count:
        return np.zeros(0, np.int64), at
    padded = np.concatenate([bits[at:], np.zeros(MAX_LENGTH, np.uint8)]).astype(np.int32)
    windows = np.zeros(len(padded) - MAX_LENGTH, np.int32)
    for place in range(MAX_LENGTH):
        windows += padded[place : place + len(windows)] << (MAX_LENGTH - 1 - place)
    symbol_of = np.full(1 << MAX_LENGTH, -1, np.int64)
    codes = _canonical(lengths)
    for symbol in np.flatnonzero(lengths):
        shift = MAX_LENGTH - int(lengths[symbol])
        first = int(codes[symbol]) << shift
        symbol_of[first : first + (1 << shift)] = symbol
    symbols = symbol_of[windows]
    steps = np.where(symbols >= 0, lengths[symbols], 0).tolist()
    places, place = [], 0
    for _ in range(count):
        if place >= len(steps) or not steps[place]:
            raise WeightsError("the Huffman data are damaged or end too early")
        places.append(place)
        place += steps[place]
    if place > len(steps):
        raise WeightsError("the Huffman data end too early")
    return symbols[places], at + place
