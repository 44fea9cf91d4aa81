"""What each tensor of a container takes: the rows of a table like the one in SqueezeNet's paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.compress.adaptive import code_tensor
from edgekit.compress.bits import BitReader
from edgekit.compress.coded import sortable
from edgekit.compress.container import Content
from edgekit.compress.index import Index, TensorEntry, read_head
from edgekit.compress.lanes import CountingCoder
from edgekit.compress.model_bits import read_codebook, read_model
from edgekit.compress.symbols import Symbols
from edgekit.errors import ContainerError
from edgekit.graph.ir import Array


@dataclass(frozen=True, slots=True)
class TensorRow:
    """sparsity: share of zeros; distinct: how many different values; coded_bytes: what it takes in the container."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    method: str
    sparsity: float
    distinct: int
    nbytes: int
    coded_bytes: float

    @property
    def bits(self) -> int:
        """Bits of a plain index into the distinct values."""
        return max(self.distinct - 1, 0).bit_length()

    @property
    def ratio(self) -> float:
        """How many times smaller the tensor has become."""
        return self.nbytes / self.coded_bytes if self.coded_bytes else 1.0


def tensor_rows(data: bytes, content: Content) -> list[TensorRow]:
    """A row a tensor of the container `data`, which has been read into `content`."""
    index, begin = read_head(data)
    sizes = _adaptive_bytes(index, data[begin : begin + index.tables], content)
    return [_row(entry, content.tensors[entry.name], sizes.get(entry.name, entry.payload)) for entry in index.tensors]


def _row(entry: TensorEntry, array: Array, coded_bytes: float) -> TensorRow:
    zeros = int((array == 0).sum()) / array.size if array.size else 0.0
    distinct = len(np.unique(sortable(array.ravel())))
    return TensorRow(entry.name, entry.shape, entry.dtype, entry.method, zeros, distinct, entry.nbytes, coded_bytes)


def _adaptive_bytes(index: Index, tables: bytes, content: Content) -> dict[str, float]:
    """Information of the elements as their models see it, and the bits of codebook and model."""
    bits, sizes = BitReader(tables), {}
    for entry in index.tensors:
        if entry.method != "adaptive":
            continue
        before, array = bits.at, content.tensors[entry.name]
        low_bits, codes = read_codebook(bits, array.dtype)
        model = read_model(bits, entry.shape, len(codes))
        symbols, counter = Symbols.of(array, low_bits), CountingCoder()
        if symbols is None:
            raise ContainerError(f"tensor {entry.name!r} has more values than its codebook")
        code_tensor(entry.shape, model, symbols.code_values(), counter, symbols.indices)
        sizes[entry.name] = (bits.at - before + counter.bits + low_bits * entry.count) / 8
    return sizes
