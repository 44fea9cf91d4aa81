"""How a tensor's codebook and model are written among the tables of a container."""

from __future__ import annotations

import struct

import numpy as np

from edgekit.compress.adaptive import Model
from edgekit.compress.arrangement import DEPTHWISE, MAX_STRIDE_BITS, Arrangement
from edgekit.compress.bits import BitReader, BitWriter, read_sorted, write_sorted
from edgekit.compress.predict import MAX_MEAN, coefficient_counts
from edgekit.compress.symbols import MAX_SYMBOLS, Symbols
from edgekit.errors import WeightsError
from edgekit.graph.ir import Array

COEFFICIENT_BITS = 2
"""Bits of a coefficient that are written as they are; the rest is counted."""


def write_codebook(bits: BitWriter, symbols: Symbols) -> None:
    """low_bits (6 bits), number of codes - 1 (12 bits), trimmed bits (6 bits), the codes without them.

    Trimmed are bits that end all values as zeros: in sorted codes they are zeros, or ones where a float is negative.
    """
    width = 8 * symbols.dtype.itemsize - symbols.low_bits
    codes = [int(code) for code in symbols.codes]
    trim = _trimmed(codes, width, symbols.dtype)
    bits.number(symbols.low_bits, 6)
    bits.number(len(codes) - 1, 12)
    bits.number(trim, 6)
    write_sorted(bits, [code >> trim for code in codes], width - trim)


def _trimmed(codes: list[int], width: int, dtype: np.dtype[np.generic]) -> int:
    top = 1 << (width - 1)
    ends = 0
    for code in codes:
        ends |= ~code if dtype.kind == "f" and not code & top else code
    return min((ends & -ends).bit_length() - 1, width - 1) if ends & (top - 1) else width - 1


def read_codebook(bits: BitReader, dtype: np.dtype[np.generic]) -> tuple[int, Array]:
    """low_bits and the codes. Raises WeightsError where they are damaged."""
    low_bits = bits.number(6)
    width = 8 * dtype.itemsize - low_bits
    if width < 1:
        raise WeightsError(f"{low_bits} bits are set apart of a number of {8 * dtype.itemsize}")
    count, trim = bits.number(12) + 1, bits.number(6)
    if trim >= width:
        raise WeightsError(f"{trim} bits of codes that have {width} are trimmed")
    ones, top = (1 << trim) - 1 if dtype.kind == "f" else 0, 1 << (width - trim - 1)
    codes = [code << trim | (0 if code & top else ones) for code in read_sorted(bits, count, width - trim)]
    return low_bits, np.array(codes, f"u{dtype.itemsize}")


def write_model(bits: BitWriter, model: Model) -> None:
    """Fixed fields, then by class of taps whether it has coefficients and these: 2 bits, a count of the rest."""
    bits.number(model.order, 3)
    bits.number(model.stride_bits, 3)
    bits.number(model.zero + 1, 13)
    bits.number(struct.unpack("<I", struct.pack("<f", model.scale))[0], 32)
    bits.number(model.mean, 13)
    bits.number(model.share, 8)
    bits.number(model.spread, 16)
    for leaning, size in model.coefficients:
        bits.number(int(any(leaning + size)), 1)
        for coefficient in leaning + size if any(leaning + size) else ():
            folded = 2 * coefficient if coefficient >= 0 else -2 * coefficient - 1
            bits.number(folded & 3, COEFFICIENT_BITS)
            bits.count(folded >> COEFFICIENT_BITS)


def read_model(bits: BitReader, shape: tuple[int, ...], codes: int) -> Model:
    """The model of a tensor of `shape` with `codes` codes. Raises WeightsError where a field cannot be."""
    order, stride_bits, zero = bits.number(3), bits.number(3), bits.number(13) - 1
    scale = struct.unpack("<f", struct.pack("<I", bits.number(32)))[0]
    mean, share, spread = bits.number(13), bits.number(8), bits.number(16)
    arrangement = Arrangement.of(shape, order) if order <= DEPTHWISE else None
    sound = (
        arrangement is not None
        and stride_bits <= MAX_STRIDE_BITS
        and (stride_bits == 0 or 2 << stride_bits <= arrangement.rows)
        and zero < codes <= MAX_SYMBOLS
        and 0 < scale < float("inf")
        and 0 < mean <= MAX_MEAN
        and share > 0
        and spread > 0
    )
    if not sound or arrangement is None:
        raise WeightsError("the model is damaged")
    pairs = []
    for leaning, size in coefficient_counts(arrangement):
        given = bits.number(1)
        numbers = [_read_coefficient(bits) if given else 0 for _ in range(leaning + size)]
        pairs.append((tuple(numbers[:leaning]), tuple(numbers[leaning:])))
    return Model(order, stride_bits, zero, scale, mean, share, spread, tuple(pairs))


def _read_coefficient(bits: BitReader) -> int:
    folded = bits.number(COEFFICIENT_BITS) | bits.count() << COEFFICIENT_BITS
    if folded > 254:
        raise WeightsError("a coefficient is damaged")
    return -((folded + 1) // 2) if folded % 2 else folded // 2
