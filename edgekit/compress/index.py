"""The index of a container: what is in it and where, as bytes. `docs/ekz-format.md` describes it to the bit."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import ContainerError

MAGIC = b"\x89EKZ\r\n\x1a\n"
VERSION = 1
HEADER = struct.Struct("<8sHHIIIQ")
"""Magic, version, 0, bytes of the deflated index, bytes of the index, its CRC-32, bytes of the file."""
DTYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
)
METHODS = ("raw", "deflate", "huffman", "adaptive")
MAX_RANK = 8
MAX_INDEX = 1 << 24
MAX_TENSORS = 1 << 16
"""Also of holes in a file. Such limits keep small, hostile files from filling a decoder's memory."""
MAX_FILES = 16
DEFLATE_RATIO = 1032
"""Deflate cannot shrink more than this."""
FREE_BYTES = 1 << 24
"""What a container restores is at most 1032 times its own size and 16 MiB more."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor. method: one of METHODS; crc: of its little-endian bytes; payload: bytes of its own data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    method: str
    crc: int
    payload: int

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.count * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Hole:
    """Where a file holds a tensor: bytes of skeleton before it, which tensor, and its axes' order (None: as stored)."""

    gap: int
    tensor: int
    axes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file that can be restored: its skeleton (what is no tensor, deflated) and the holes in it."""

    format: str
    size: int
    crc: int
    packed: int
    skeleton: int
    holes: tuple[Hole, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """All of it. tables, stream: bytes of the blobs that adaptive tensors share; graph: canonical JSON or empty."""

    metadata: Mapping[str, Any]
    graph: str
    tables: int
    stream: int
    tensors: tuple[TensorEntry, ...]
    files: tuple[FileEntry, ...]

    def payload_bytes(self) -> int:
        """Bytes that follow the index."""
        own = sum(t.payload for t in self.tensors) + sum(f.packed for f in self.files)
        return self.tables + self.stream + own


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no blanks."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def deflate(data: bytes) -> bytes:
    """A raw deflate stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    return packer.compress(data) + packer.flush()


def inflate(data: bytes, size: int, what: str) -> bytes:
    """`size` bytes out of a raw deflate stream that ends with `data`. Raises ContainerError naming `what`."""
    if size > DEFLATE_RATIO * len(data) + 64:
        raise ContainerError(f"{what}: {len(data)} bytes cannot hold {size}; the file is damaged, copy it again")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        found = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise ContainerError(f"{what}: {error}; the file is damaged, copy it again") from error
    if len(found) != size or not unpacker.eof or unpacker.unused_data:
        raise ContainerError(f"{what}: it has another length than it should; the file is damaged, copy it again")
    return found


def write_head(index: Index) -> bytes:
    """Header and deflated index. Raises ContainerError where there are more entries, or longer ones, than fit."""
    body = _Writer()
    body.text(canonical_json(dict(index.metadata)))
    body.text(index.graph)
    body.number(index.tables)
    body.number(index.stream)
    body.number(len(index.tensors))
    for tensor in index.tensors:
        body.text(tensor.name)
        body.data += bytes([DTYPES.index(tensor.dtype), METHODS.index(tensor.method), len(tensor.shape)])
        for size in tensor.shape:
            body.number(size)
        body.data += tensor.crc.to_bytes(4, "little")
        body.number(tensor.payload)
    body.number(len(index.files))
    for file in index.files:
        body.file(file)
    data = bytes(body.data)
    holes = max((len(file.holes) for file in index.files), default=0)
    if len(data) > MAX_INDEX or max(len(index.tensors), holes) > MAX_TENSORS or len(index.files) > MAX_FILES:
        raise ContainerError(
            f"an .ekz has at most {MAX_TENSORS} tensors, {MAX_FILES} files and {MAX_INDEX} bytes of index"
        )
    packed = deflate(data)
    total = HEADER.size + len(packed) + index.payload_bytes()
    return HEADER.pack(MAGIC, VERSION, 0, len(packed), len(data), zlib.crc32(data), total) + packed


def read_head(data: bytes) -> tuple[Index, int]:
    """The index, and where the payload begins. Raises ContainerError for what is no whole, sound container."""
    if data[:8] != MAGIC:
        raise ContainerError("not an .ekz file (its first bytes are others): `edgekit compress` makes one")
    if len(data) < HEADER.size:
        raise ContainerError("the file ends within its header: copy it again")
    _, version, zero, packed, size, crc, total = HEADER.unpack_from(data)
    if version > VERSION:
        raise ContainerError(f"version {version} of .ekz is newer than this edgekit knows ({VERSION}): update edgekit")
    if version < 1 or zero:
        raise ContainerError("the header is damaged: copy the file again")
    if total != len(data):
        raise ContainerError(f"the file has {len(data)} bytes, not {total} as it says: copy it again")
    if size > MAX_INDEX:
        raise ContainerError(f"an index of {size} bytes cannot be: copy the file again")
    body = inflate(data[HEADER.size : HEADER.size + packed], size, "the index")
    if zlib.crc32(body) != crc:
        raise ContainerError("the index's checksum does not match: copy the file again")
    index = _Reader(body).index()
    begin = HEADER.size + packed
    if begin + index.payload_bytes() != total:
        raise ContainerError("the parts do not add up to the file: copy it again")
    _check_sizes(index, total)
    return index, begin


def restored_bytes(index: Index) -> int:
    """Bytes of all tensors and files when they are unpacked."""
    return sum(t.nbytes for t in index.tensors) + sum(f.size for f in index.files)


def fits(index: Index, total: int) -> bool:
    """Whether a container of `total` bytes may restore that much."""
    return restored_bytes(index) <= DEFLATE_RATIO * total + FREE_BYTES


def _check_sizes(index: Index, total: int) -> None:
    for tensor in index.tensors:
        sizes = math.prod(max(size, 1) for size in tensor.shape) * np.dtype(tensor.dtype).itemsize
        if sizes > DEFLATE_RATIO * total + FREE_BYTES:
            raise ContainerError(f"tensor {tensor.name!r} cannot have {sizes} bytes: the file is damaged")
    if not fits(index, total):
        raise ContainerError(f"{total} bytes cannot hold {restored_bytes(index)}: the file is damaged")
    for file in index.files:
        filled = sum(index.tensors[h.tensor].nbytes for h in file.holes)
        if file.skeleton + filled != file.size or sum(h.gap for h in file.holes) > file.skeleton:
            raise ContainerError(f"the parts of the {file.format} file do not add up: the file is damaged")


class _Writer:
    """Numbers in LEB128 (7 bits a byte, the lowest first), texts with their length before them."""

    def __init__(self) -> None:
        self.data = bytearray()

    def number(self, value: int) -> None:
        while value > 127:
            self.data.append(value & 127 | 128)
            value >>= 7
        self.data.append(value)

    def text(self, text: str) -> None:
        data = text.encode()
        self.number(len(data))
        self.data += data

    def file(self, file: FileEntry) -> None:
        self.text(file.format)
        self.number(file.size)
        self.data += file.crc.to_bytes(4, "little")
        self.number(file.packed)
        self.number(file.skeleton)
        self.number(len(file.holes))
        for hole in file.holes:
            self.number(hole.gap)
            self.number(hole.tensor)
            self.data += bytes([len(hole.axes), *hole.axes] if hole.axes else [0])


class _Reader:
    """Reads what `_Writer` wrote. Raises ContainerError where it is damaged."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def index(self) -> Index:
        try:
            metadata = json.loads(self._text())
        except (ValueError, RecursionError) as error:
            raise ContainerError(f"the metadata are damaged ({error}): copy the file again") from error
        if not isinstance(metadata, dict):
            raise ContainerError("the metadata are damaged: copy the file again")
        graph = self._text()
        tables, stream = self._number(), self._number()
        tensors = tuple(self._tensor() for _ in range(self._count(MAX_TENSORS)))
        if len({tensor.name for tensor in tensors}) != len(tensors):
            raise ContainerError("two tensors bear one name: the file is damaged")
        files = tuple(self._file(tensors) for _ in range(self._count(MAX_FILES)))
        if self._at != len(self._data):
            raise ContainerError("the index is longer than its content: copy the file again")
        return Index(metadata, graph, tables, stream, tensors, files)

    def _tensor(self) -> TensorEntry:
        name = self._text()
        dtype, method, rank = self._bytes(3)
        if dtype >= len(DTYPES) or method >= len(METHODS) or rank > MAX_RANK:
            raise ContainerError(f"tensor {name!r}: its entry is damaged: copy the file again")
        shape = tuple(self._number() for _ in range(rank))
        crc = int.from_bytes(self._bytes(4), "little")
        return TensorEntry(name, DTYPES[dtype], shape, METHODS[method], crc, self._number())

    def _file(self, tensors: tuple[TensorEntry, ...]) -> FileEntry:
        name, size = self._text(), self._number()
        crc = int.from_bytes(self._bytes(4), "little")
        packed, skeleton = self._number(), self._number()
        return FileEntry(
            name, size, crc, packed, skeleton, tuple(self._hole(tensors) for _ in range(self._count(MAX_TENSORS)))
        )

    def _hole(self, tensors: tuple[TensorEntry, ...]) -> Hole:
        gap, tensor = self._number(), self._number()
        axes = tuple(self._bytes(self._bytes(1)[0]))
        if tensor >= len(tensors) or (axes and sorted(axes) != list(range(len(tensors[tensor].shape)))):
            raise ContainerError("a place for a tensor is damaged: copy the file again")
        return Hole(gap, tensor, axes or None)

    def _count(self, most: int) -> int:
        """How many entries follow."""
        count = self._number()
        if count > most:
            raise ContainerError(f"the index tells of {count} entries where {most} may be: copy the file again")
        return count

    def _number(self) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self._bytes(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ContainerError("the index is damaged: copy the file again")

    def _text(self) -> str:
        found = self._bytes(self._number())
        try:
            text = found.decode()
        except UnicodeDecodeError as error:
            raise ContainerError(f"a name is damaged ({error.reason}): copy the file again") from error
        if "\0" in text:
            raise ContainerError("a name is damaged (a zero byte): copy the file again")
        return text

    def _bytes(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise ContainerError("the index ends too early: copy the file again")
        self._at += count
        return found
