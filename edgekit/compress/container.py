"""Writes and reads `.ekz`: tensors, each in the smallest of four forms, and the files that are made of them."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.compress.adaptive import code_tensor
from edgekit.compress.bits import BitReader, BitWriter
from edgekit.compress.estimate import AdaptivePlan, plan_adaptive
from edgekit.compress.huffman import huffman_bytes, huffman_values
from edgekit.compress.index import (
    DTYPES,
    METHODS,
    FileEntry,
    Hole,
    Index,
    TensorEntry,
    deflate,
    fits,
    inflate,
    read_head,
    write_head,
)
from edgekit.compress.model_bits import read_codebook, read_model, write_codebook, write_model
from edgekit.compress.stream import StreamDecoder, StreamEncoder, pack_lows, unpack_lows, words_of_lows
from edgekit.compress.symbols import code_values, restore
from edgekit.errors import ContainerError, WeightsError
from edgekit.graph.ir import Array

HUFFMAN_MAY_WIN = 1.02
"""Huffman is tried where the adaptive coder needs more than the plain entropy divided by this."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in pieces: `skeleton` is what is left when the tensors in `holes` are taken out."""

    format: str
    skeleton: bytes
    holes: tuple[Hole, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """What a container holds. tensors: by name, in order; graph: canonical JSON of the structure, or empty."""

    tensors: Mapping[str, Array]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    graph: str = ""
    files: tuple[StoredFile, ...] = ()

    def file_bytes(self, position: int) -> bytes:
        """The file at `position` in `files`, whole."""
        stored, arrays = self.files[position], list(self.tensors.values())
        pieces, at = [], 0
        for hole in stored.holes:
            array = arrays[hole.tensor]
            pieces.append(stored.skeleton[at : at + hole.gap])
            pieces.append(little_endian(array if hole.axes is None else array.transpose(hole.axes)))
            at += hole.gap
        return b"".join([*pieces, stored.skeleton[at:]])


def little_endian(array: Array) -> bytes:
    """The elements' bytes in row-major order."""
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


@dataclass(slots=True)
class _Choice:
    """How a tensor is stored: its method, and its own data or its plan for the stream."""

    method: str
    payload: bytes = b""
    plan: AdaptivePlan | None = None


def write_container(content: Content, methods: Collection[str] = METHODS) -> bytes:
    """The container's bytes: the same content gives the same bytes.

    methods: which ones may be used; raw always may. Raises ContainerError where a tensor's dtype has no code, or where
    so little is left of the content that no reader would believe it.
    """
    for name, array in content.tensors.items():
        if array.dtype.name not in DTYPES:
            raise ContainerError(f"tensor {name!r}: .ekz has no dtype {array.dtype.name}")
    choices = [_choose(array, methods) for array in content.tensors.values()]
    plans = [(c.plan, array.shape) for c, array in zip(choices, content.tensors.values(), strict=True) if c.plan]
    tables, stream = _write_plans(plans)
    skeletons = [deflate(stored.skeleton) for stored in content.files]
    index = Index(
        metadata=content.metadata,
        graph=content.graph,
        tables=len(tables),
        stream=len(stream),
        tensors=tuple(
            TensorEntry(name, array.dtype.name, array.shape, c.method, zlib.crc32(little_endian(array)), len(c.payload))
            for c, (name, array) in zip(choices, content.tensors.items(), strict=True)
        ),
        files=tuple(_file_entry(content, k, len(skeletons[k])) for k in range(len(content.files))),
    )
    data = b"".join([write_head(index), tables, stream, *(c.payload for c in choices), *skeletons])
    if not fits(index, len(data)):
        raise ContainerError("the content is so repetitive that its container would look damaged: deflate it instead")
    return data


def _choose(array: Array, methods: Collection[str]) -> _Choice:
    raw = little_endian(array)
    choices = [_Choice("raw", raw)]
    if "deflate" in methods:
        choices.append(_Choice("deflate", deflate(raw)))
    best = min(choices, key=lambda choice: len(choice.payload))
    plan = plan_adaptive(array) if "adaptive" in methods else None
    if "huffman" in methods and _huffman_may_win(plan):
        coded = huffman_bytes(array)
        if coded is not None and len(coded) < len(best.payload):
            best = _Choice("huffman", coded)
    return _Choice("adaptive", plan=plan) if plan and plan.size.bits < 8 * len(best.payload) else best


def _huffman_may_win(plan: AdaptivePlan | None) -> bool:
    if plan is None:
        return True
    counts = np.bincount(plan.symbols.indices)
    counts = counts[counts > 0]
    entropy = float((counts * -np.log2(counts / counts.sum())).sum())
    return plan.symbols.low_bits == 0 and plan.size.element_bits * HUFFMAN_MAY_WIN > entropy


def _write_plans(plans: Sequence[tuple[AdaptivePlan, tuple[int, ...]]]) -> tuple[bytes, bytes]:
    """Tables and stream of the tensors that are coded adaptively."""
    tables, raw = BitWriter(), [np.zeros(0, np.uint16)]
    for plan, _ in plans:
        write_codebook(tables, plan.symbols)
        write_model(tables, plan.model)
        if plan.symbols.lows is not None:
            raw.append(pack_lows(plan.symbols.lows, plan.symbols.low_bits))
    stream = StreamEncoder(np.concatenate(raw))
    for plan, shape in plans:
        symbols = plan.symbols
        code_tensor(shape, plan.model, symbols.code_values(), stream, symbols.indices, stream.between_runs)
    return tables.done(), stream.finish()


def _file_entry(content: Content, position: int, packed: int) -> FileEntry:
    stored, data = content.files[position], content.file_bytes(position)
    return FileEntry(stored.format, len(data), zlib.crc32(data), packed, len(stored.skeleton), stored.holes)


def read_container(data: bytes) -> Content:
    """Everything in a container. Raises ContainerError, naming the tensor, where anything does not hold."""
    index, at = read_head(data)
    tables, at = data[at : at + index.tables], at + index.tables
    stream, at = data[at : at + index.stream], at + index.stream
    arrays: dict[str, Array] = _read_adaptive(index, tables, stream)
    for entry in index.tensors:
        payload, at = data[at : at + entry.payload], at + entry.payload
        if entry.method != "adaptive":
            arrays[entry.name] = _read_alone(entry, payload)
    files = []
    for file in index.files:
        skeleton = inflate(data[at : at + file.packed], file.skeleton, f"the {file.format} file")
        files.append(StoredFile(file.format, skeleton, file.holes))
        at += file.packed
    tensors = {entry.name: _checked(entry, arrays[entry.name]) for entry in index.tensors}
    content = Content(tensors, index.metadata, index.graph, tuple(files))
    for position, file in enumerate(index.files):
        if zlib.crc32(content.file_bytes(position)) != file.crc:
            raise ContainerError(f"the {file.format} file's checksum does not match: copy the container again")
    return content


def _checked(entry: TensorEntry, array: Array) -> Array:
    if zlib.crc32(little_endian(array)) != entry.crc:
        raise ContainerError(f"tensor {entry.name!r}: its checksum does not match; copy the file again")
    return array


def _read_alone(entry: TensorEntry, payload: bytes) -> Array:
    what = f"tensor {entry.name!r}"
    dtype = np.dtype(entry.dtype)
    if entry.method == "huffman":
        try:
            return huffman_values(payload, entry.count, dtype).reshape(entry.shape)
        except WeightsError as error:
            raise ContainerError(f"{what}: {error}; the file is damaged, copy it again") from error
    if entry.method == "deflate":
        payload = inflate(payload, entry.nbytes, what)
    if len(payload) != entry.nbytes:
        raise ContainerError(f"{what}: it has {len(payload)} bytes, not {entry.nbytes}; copy the file again")
    return np.frombuffer(payload, dtype.newbyteorder("<")).astype(dtype).reshape(entry.shape)


def _read_adaptive(index: Index, tables: bytes, stream: bytes) -> dict[str, Array]:
    """All adaptively coded tensors: models first, then symbols, then the bits below them."""
    entries = [entry for entry in index.tensors if entry.method == "adaptive"]
    bits, decoder = BitReader(tables), StreamDecoder(stream)
    heads = []
    for entry in entries:
        with _naming(entry):
            low_bits, codes = read_codebook(bits, np.dtype(entry.dtype))
            heads.append((low_bits, codes, read_model(bits, entry.shape, len(codes))))
    found = []
    for entry, (low_bits, codes, model) in zip(entries, heads, strict=True):
        with _naming(entry):
            values = code_values(codes, low_bits, np.dtype(entry.dtype))
            found.append(code_tensor(entry.shape, model, values, decoder, between_runs=decoder.between_runs))
    return _add_lows(entries, heads, found, bits, decoder)


def _add_lows(
    entries: list[TensorEntry],
    heads: list[tuple[int, Array, Any]],
    found: list[Array],
    bits: BitReader,
    decoder: StreamDecoder,
) -> dict[str, Array]:
    counts = [words_of_lows(entry.count, head[0]) for entry, head in zip(entries, heads, strict=True)]
    try:
        bits.finish()
        words = decoder.finish(sum(counts))
    except WeightsError as error:
        raise ContainerError(f"the coded tensors: {error}; the file is damaged, copy it again") from error
    arrays = {}
    for entry, (low_bits, codes, _), indices, count in zip(entries, heads, found, counts, strict=True):
        lows = unpack_lows(words[:count], entry.count, low_bits) if low_bits else None
        words = words[count:]
        with _naming(entry):
            arrays[entry.name] = restore(indices, codes, lows, low_bits, np.dtype(entry.dtype)).reshape(entry.shape)
    return arrays


@contextmanager
def _naming(entry: TensorEntry) -> Iterator[None]:
    """Turns a WeightsError inside into a ContainerError that names the tensor."""
    try:
        yield
    except WeightsError as error:
        raise ContainerError(f"tensor {entry.name!r}: {error}; the file is damaged, copy it again") from error
