"""Where the weights lie inside the bytes of a `.tflite` or `.onnx` file: whatever the file, it is only taken apart.

Nothing here trusts the file. What is found is used as places of bytes, and the file is put together again from them, so
that a wrong guess costs compression, never correctness.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MIN_BYTES, MIN_SCALES = 128, 128
"""Smaller tensors stay with the rest of the file: an entry of their own would cost more than it saves."""

TFLITE_DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    6: "uint8",
    7: "int16",
    9: "int8",
    10: "float64",
    12: "uint64",
    15: "uint32",
    16: "uint16",
}
"""By TensorType in the schema."""
ONNX_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "uint8",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "uint16",
}
"""By TensorProto.DataType; bfloat16 is taken for uint16."""
_READING_ERRORS = (
    *(struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, AssertionError, MemoryError),
    RecursionError,
)
"""What flatbuffers, the schema's classes and our walk through protobuf raise over bytes that make no sense."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor's bytes: where they begin, and what they are."""

    name: str
    start: int
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """How many bytes there are."""
        return math.prod(self.shape) * item_bytes(self.dtype)


def item_bytes(dtype: str) -> int:
    """Bytes of one element."""
    return int("".join(filter(str.isdigit, dtype))) // 8


def file_kind(data: bytes) -> str:
    """`tflite` by its identifier, `onnx` where a protobuf with a graph can be walked through, or `file`."""
    if data[4:8] == b"TFL3":
        return "tflite"
    return "onnx" if any(True for _ in _onnx_tensors(data)) else "file"


def find_places(data: bytes, kind: str) -> list[Place]:
    """Tensors of at least 128 bytes, in order, none overlapping another; empty where nothing can be made out."""
    try:
        found = list(_tflite_places(data)) if kind == "tflite" else []
    except _READING_ERRORS:
        found = []
    if kind == "onnx":
        found = [place for place in _onnx_tensors(data) if place is not None]
    kept: list[Place] = []
    for place in sorted(found, key=lambda p: (p.start, -p.nbytes)):
        after = kept[-1].start + kept[-1].nbytes if kept else 0
        if place.nbytes >= MIN_BYTES and after <= place.start and place.start + place.nbytes <= len(data):
            kept.append(place)
    return kept


def _tflite_places(data: bytes) -> Iterator[Place]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    used: dict[int, tuple[str, str, tuple[int, ...]]] = {}
    for number in range(model.SubgraphsLength()):
        subgraph = model.Subgraphs(number)
        for position in range(subgraph.TensorsLength()):
            tensor = subgraph.Tensors(position)
            shape = tuple(int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength()))
            name = (tensor.Name() or b"").decode(errors="replace")
            used.setdefault(tensor.Buffer(), (name, TFLITE_DTYPES.get(tensor.Type(), "uint8"), shape))
            quantization = tensor.Quantization()
            if quantization is not None and quantization.ScaleLength() >= MIN_SCALES:
                start = quantization._tab.Vector(quantization._tab.Offset(_SCALE_FIELD))
                yield Place(f"{name} scales", start, "float32", (quantization.ScaleLength(),))
    for number in range(model.BuffersLength()):
        buffer = model.Buffers(number)
        start, size = _buffer_place(buffer)
        name, dtype, shape = used.get(number, (f"buffer {number}", "uint8", (size,)))
        yield _place(name, start, size, dtype, shape)


_SCALE_FIELD = 8
"""Of QuantizationParameters' table."""


def _buffer_place(buffer: Any) -> tuple[int, int]:
    """Where a flatbuffer's Buffer keeps its data, inside the flatbuffer or (files over 2 GB) behind it."""
    field = buffer._tab.Offset(4)
    if field:
        return int(buffer._tab.Vector(field)), int(buffer.DataLength())
    return int(buffer.Offset()), int(buffer.Size())


def _place(name: str, start: int, size: int, dtype: str, shape: tuple[int, ...]) -> Place:
    """A place of `size` bytes; where the shape says otherwise (packed or sparse weights) they are taken as bytes."""
    if len(shape) > 8 or min(shape, default=0) < 0 or math.prod(shape) * item_bytes(dtype) != size:
        return Place(name, start, "uint8", (max(size, 0),))
    return Place(name, start, dtype, shape)


_GRAPH, _INITIALIZER, _NODE, _ATTRIBUTE, _TENSOR, _SUBGRAPH = 7, 5, 1, 5, 5, 6
"""Fields of ModelProto, GraphProto (two), NodeProto and AttributeProto (two)."""
_DIMS, _DATA_TYPE, _FLOATS, _NAME, _RAW = 1, 2, 4, 8, 9
"""Fields of TensorProto."""
_MAX_DEPTH = 20


def _onnx_tensors(data: bytes) -> Iterator[Place | None]:
    """Places of raw data, None for a graph (so that any graph shows that this is ONNX); stops at the first damage."""
    try:
        for field, start, end in _fields(data, 0, len(data)):
            if field == _GRAPH and end is not None:
                yield from _graph_tensors(data, start, end, 0)
    except _READING_ERRORS:
        return


def _graph_tensors(data: bytes, start: int, end: int, depth: int) -> Iterator[Place | None]:
    if depth > _MAX_DEPTH:
        return
    yield None
    for field, begin, stop in _fields(data, start, end):
        if stop is None:
            continue
        if field == _INITIALIZER:
            yield _tensor_place(data, begin, stop)
        elif field == _NODE:
            for attribute, first, last in _fields(data, begin, stop):
                if attribute == _ATTRIBUTE and last is not None:
                    yield from _attribute_tensors(data, first, last, depth)


def _attribute_tensors(data: bytes, start: int, end: int, depth: int) -> Iterator[Place | None]:
    for field, begin, stop in _fields(data, start, end):
        if stop is not None and field == _TENSOR:
            yield _tensor_place(data, begin, stop)
        elif stop is not None and field == _SUBGRAPH:
            yield from _graph_tensors(data, begin, stop, depth + 1)


def _tensor_place(data: bytes, start: int, end: int) -> Place | None:
    dims: list[int] = []
    name, kind, raw = "", 0, None
    for field, begin, stop in _fields(data, start, end):
        if field == _DIMS and stop is None:
            dims.append(_varint(data, begin, end)[0])
        elif field == _DIMS and stop is not None:
            while begin < stop:
                size, begin = _varint(data, begin, stop)
                dims.append(size)
        elif field == _DATA_TYPE and stop is None:
            kind = _varint(data, begin, end)[0]
        elif field == _NAME and stop is not None:
            name = data[begin:stop].decode(errors="replace")
        elif field in (_RAW, _FLOATS) and stop is not None:
            raw = (begin, stop)
    if raw is None:
        return None
    return _place(name, raw[0], raw[1] - raw[0], ONNX_DTYPES.get(kind, "uint8"), tuple(dims))


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int | None]]:
    """(field, begin, end) of a message's fields; end is None for numbers. Raises ValueError where it is no message."""
    while start < end:
        tag, start = _varint(data, start, end)
        kind = tag & 7
        if kind == 0:
            yield tag >> 3, start, None
            _, start = _varint(data, start, end)
        elif kind in (1, 5):
            start += 8 if kind == 1 else 4
        elif kind == 2:
            size, start = _varint(data, start, end)
            if size > end - start:
                raise ValueError("a field is longer than its message")
            yield tag >> 3, start, start + size
            start += size
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if start >= end:
            break
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, start
    raise ValueError("a number does not end")
