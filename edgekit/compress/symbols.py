"""A tensor as symbols: indices into the sorted list of its distinct leading bits, and the bits below them as they are.

With no bits below, the list is the tensor's codebook. Weights with too many distinct values keep their sign, exponent
and a few bits of the mantissa as symbols; what lies below is noise that no model predicts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.compress.coded import sortable, unsortable
from edgekit.errors import WeightsError
from edgekit.graph.ir import Array

MAX_SYMBOLS = 4096


@dataclass(frozen=True, slots=True)
class Symbols:
    """indices: (n,) int32, into codes; codes: ascending, each `sortable(value) >> low_bits`; lows: (n,) or None.

    dtype is the tensor's; n counts its elements in their order in memory.
    """

    indices: Array
    codes: Array
    lows: Array | None
    low_bits: int
    dtype: np.dtype[np.generic]

    @classmethod
    def of(cls, values: Array, low_bits: int) -> Symbols | None:
        """The tensor with `low_bits` bits of each element set apart; None if there are more than 4096 symbols."""
        keys = sortable(values.ravel())
        codes, indices = _distinct(keys >> keys.dtype.type(low_bits))
        if len(codes) > MAX_SYMBOLS:
            return None
        lows = keys & keys.dtype.type((1 << low_bits) - 1) if low_bits else None
        return cls(indices, codes, lows, low_bits, values.dtype)

    def code_values(self) -> Array:
        """What the codes stand for, as float64: the value with zeros below. NaN and infinities stay."""
        return code_values(self.codes, self.low_bits, self.dtype)


def _distinct(keys: Array) -> tuple[Array, Array]:
    """As np.unique with the inverse, but by counting where the keys are narrow."""
    if keys.dtype.itemsize > 2:
        codes, inverse = np.unique(keys, return_inverse=True)
        return codes, inverse.astype(np.int32)
    present = np.bincount(keys, minlength=1) > 0
    ranks = (np.cumsum(present) - 1).astype(np.int32)
    return np.flatnonzero(present).astype(keys.dtype), ranks[keys]


def code_values(codes: Array, low_bits: int, dtype: np.dtype[np.generic]) -> Array:
    """As `Symbols.code_values`, of the codes alone."""
    keys = codes.astype(f"u{dtype.itemsize}") << np.array(low_bits, f"u{dtype.itemsize}")
    with np.errstate(invalid="ignore"):  # signalling NaNs may be among them
        return unsortable(keys, dtype).astype(np.float64)


def restore(indices: Array, codes: Array, lows: Array | None, low_bits: int, dtype: np.dtype[np.generic]) -> Array:
    """The tensor's elements, (n,). Raises WeightsError for an index outside the codes."""
    if len(indices) and int(indices.max()) >= len(codes):
        raise WeightsError(f"index {int(indices.max())} points outside a codebook of {len(codes)}")
    unsigned = f"u{dtype.itemsize}"
    keys = codes.astype(unsigned)[indices] << np.array(low_bits, unsigned)
    return unsortable(keys if lows is None else keys | lows.astype(unsigned), dtype)
