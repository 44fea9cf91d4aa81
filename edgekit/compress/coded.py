"""A weight tensor whose elements share few values: small integers that point into a codebook."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.errors import WeightsError
from edgekit.graph.ir import Array

MAX_CODES = 1 << 16
"""Indices are at most 16 bits wide."""


@dataclass(frozen=True, slots=True)
class CodedTensor:
    """indices: uint8 or uint16 of the tensor's shape; codebook: (codes,), of the tensor's dtype, 1 to 65536 long.

    The tensor is `codebook[indices]`, to the bit. A codebook need neither be sorted nor free of repetitions, but coders
    take neighbouring indices for near values, so sorted ones take fewer bytes. Both arrays are made read-only.
    Raises WeightsError for other dtypes and shapes, and for indices outside the codebook.
    """

    indices: Array
    codebook: Array

    def __post_init__(self) -> None:
        if self.codebook.ndim != 1 or not 0 < self.codebook.size <= MAX_CODES:
            raise WeightsError(f"a codebook has 1 to {MAX_CODES} values in one row, this one is {self.codebook.shape}")
        if self.indices.dtype not in (np.uint8, np.uint16):
            raise WeightsError(f"codebook indices are uint8 or uint16, not {self.indices.dtype}")
        if self.indices.size and int(self.indices.max()) >= self.codebook.size:
            raise WeightsError(f"index {int(self.indices.max())} points outside a codebook of {self.codebook.size}")
        for name in ("indices", "codebook"):
            array = getattr(self, name)
            if array.flags.writeable:
                array = array.copy()
                array.flags.writeable = False
                object.__setattr__(self, name, array)

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape."""
        return tuple(self.indices.shape)

    def values(self) -> Array:
        """The tensor itself, of the codebook's dtype."""
        return np.take(self.codebook, self.indices)

    @classmethod
    def of_values(cls, values: Array, limit: int = 256) -> CodedTensor | None:
        """The tensor's distinct bit patterns, sorted by value, as its codebook; None if there are more than `limit`.

        0.0 and -0.0, and NaNs of different payload, are different values here. Floats sort as -NaN, -inf, ..., -0.0,
        0.0, ..., inf, NaN.
        """
        if not values.size:
            return None
        keys, inverse = np.unique(sortable(values), return_inverse=True)
        if len(keys) > limit:
            return None
        dtype = np.uint8 if len(keys) <= 256 else np.uint16
        return cls(inverse.reshape(values.shape).astype(dtype), unsortable(keys, values.dtype))


def sortable(values: Array) -> Array:
    """Unsigned integers of the same width that sort as the values do: a bijection over all bit patterns."""
    bits = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
    top = bits.dtype.type(1 << (8 * values.dtype.itemsize - 1))
    if values.dtype.kind == "f":
        return np.where(bits & top, ~bits, bits | top)
    return bits ^ top if values.dtype.kind == "i" else bits


def unsortable(keys: Array, dtype: np.dtype[np.generic]) -> Array:
    """The values of `dtype` that `sortable` gave these keys."""
    top = keys.dtype.type(1 << (8 * dtype.itemsize - 1))
    if dtype.kind == "f":
        return np.where(keys & top, keys ^ top, ~keys).view(dtype)
    return (keys ^ top if dtype.kind == "i" else keys).view(dtype)
