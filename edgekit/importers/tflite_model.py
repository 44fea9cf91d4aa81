"""A TFLite file as plain Python values: what is left after the reader, and all that the rest of the importer sees."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
DTYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(name).newbyteorder("<") for name in ("float32", "float16", "float64", "bool", *INTEGERS)
}
"""Element types that can be read; files are little-endian."""


@dataclass(frozen=True, slots=True)
class TfliteTensor:
    """A tensor of the file. dims: its static shape; -1 marks what the file leaves open.

    dtype: numpy's name, or the schema's in small letters where numpy has none. raw: a constant's bytes, None for
    activations. scale, zero_point: empty unless quantized; along `axis` where there are several.
    """

    index: int
    name: str
    dims: tuple[int, ...]
    dtype: str
    raw: memoryview | None = None
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int = 0

    @property
    def is_constant(self) -> bool:
        """Whether the file holds the value."""
        return self.raw is not None

    @property
    def is_quantized(self) -> bool:
        """Whether integers stand for real numbers."""
        return bool(self.scale) and self.dtype in INTEGERS

    def array(self) -> Array:
        """A constant's value: a read-only view of the file, or real numbers (float32) where it is quantized.

        Raises ImportFileError where its bytes do not fit its shape, or its type is none of numpy's.
        """
        if self.raw is None:
            raise ImportFileError(f"tensor {self.name!r} is no constant")
        if self.dtype not in DTYPES:
            raise ImportFileError(
                f"constant {self.name!r} is of type {self.dtype}: edgekit reads float32, float16 and int8 weights"
            )
        needed = math.prod(self.dims) * DTYPES[self.dtype].itemsize
        if min(self.dims, default=1) < 0 or needed != len(self.raw):
            raise ImportFileError(
                f"constant {self.name!r} holds {len(self.raw)} bytes, where {self.dtype}{self.dims} takes {needed}: "
                "the file is damaged, export or copy it again"
            )
        values = np.frombuffer(self.raw, DTYPES[self.dtype]) if needed else np.empty(0, DTYPES[self.dtype])
        shaped = values.astype(self.dtype, copy=False).reshape(self.dims)
        return self._real(shaped) if self.is_quantized else shaped

    def _real(self, integers: Array) -> Array:
        """(integer - zero point) * scale, in float32."""
        zeros = self.zero_point or (0,)
        along = self.dims[self.axis] if 0 <= self.axis < len(self.dims) else 1
        if len(self.scale) not in (1, along) or len(zeros) not in (1, along):
            raise ImportFileError(
                f"constant {self.name!r} {self.dims} has {len(self.scale)} scales and {len(zeros)} zero points on axis "
                f"{self.axis}: they do not fit"
            )
        centred = integers.astype(np.float32) - self._spread(zeros)
        return np.asarray(centred * self._spread(self.scale), np.float32)

    def _spread(self, values: Sequence[float]) -> Array:
        shape = [1] * len(self.dims)
        if len(values) > 1:
            shape[self.axis] = len(values)
        return np.asarray(values, np.float32).reshape(shape)


@dataclass(frozen=True, slots=True)
class TfliteOp:
    """One operator. op: the schema's name of it, or a custom op's own; inputs, outputs: tensor indices, -1 for none.

    options: what its options table says, by the schema's names; empty where the file has no table of the op's kind.
    """

    op: str
    is_custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]

    def input(self, index: int) -> int:
        """Index of an input's tensor; -1 if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else -1

    def integer(self, name: str, default: int = 0) -> int:
        """An int or bool of the options."""
        return int(self.options.get(name, default))

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of ints of the options; None if it is not there."""
        found: tuple[int, ...] | None = self.options.get(name)
        return found


@dataclass(frozen=True, slots=True)
class TfliteModel:
    """A file's one graph. source: the file for messages; sha256: of its bytes; metadata: buffers by name."""

    source: str
    sha256: str
    tensors: tuple[TfliteTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    ops: tuple[TfliteOp, ...]
    metadata: Mapping[str, bytes]
    data: bytes
