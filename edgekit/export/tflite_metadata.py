"""The metadata in a TFLite file: the standard's buffer, the labels attached as a zip, and edgekit's own JSON.

The standard is TFLite's metadata schema (file identifier M001): tables of slots, written here with flatbuffers' own
builder. Its associated files are a zip archive behind the flatbuffer, so that the model file is also a valid archive.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekit.export.tflite_reading import opened
from edgekit.graph.ir import Graph, Tensor
from edgekit.graph.quant_params import RANGES

STANDARD = "TFLITE_METADATA"
"""Name of the standard's buffer."""
EDGEKIT = "edgekit"
"""Name of our own buffer: the graph's metadata as JSON."""
LABELS_FILE = "labels.txt"

_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"
_IMAGE_PROPERTIES, _NORMALIZATION, _AXIS_LABELS = 2, 1, 2
_COLORS = {("rgb", 3): 1, ("rgb", 1): 2}
"""ColorSpaceType: RGB, GRAYSCALE. The schema has no word for BGR, which stays UNKNOWN."""
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class _Tables:
    """Writes flatbuffer tables as lists of (slot, value); offsets (strings, vectors, tables) are `_Offset`."""

    def __init__(self) -> None:
        import flatbuffers

        self._builder: Any = flatbuffers.Builder(1024)

    def string(self, text: str) -> _Offset:
        return _Offset(self._builder.CreateString(text))

    def floats(self, values: Sequence[float]) -> _Offset:
        return _Offset(self._builder.CreateNumpyVector(np.asarray(values, np.float32)))

    def vector(self, tables: Sequence[_Offset]) -> _Offset:
        self._builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self._builder.PrependUOffsetTRelative(int(table))
        return _Offset(self._builder.EndVector())

    def table(self, slots: Mapping[int, _Offset | int | None]) -> _Offset:
        """A table from slot number -> offset, or enumerator of one byte; None leaves a slot out."""
        self._builder.StartObject(max(slots, default=-1) + 1)
        for slot, value in slots.items():
            if isinstance(value, _Offset):
                self._builder.PrependUOffsetTRelativeSlot(slot, int(value), 0)
            elif value is not None:
                self._builder.PrependUint8Slot(slot, value, 0)
        return _Offset(self._builder.EndObject())

    def finish(self, root: _Offset) -> bytes:
        self._builder.Finish(int(root), _IDENTIFIER)
        return bytes(self._builder.Output())


class _Offset(int):
    """Where in the buffer a string, vector or table lies."""


def standard_buffer(graph: Graph, outputs: Sequence[str]) -> bytes:
    """The standard's metadata for a file of this graph with these outputs (at least the graph's own)."""
    tables = _Tables()
    inputs = [_input_table(tables, graph, name) for name in graph.inputs]
    results = [_output_table(tables, graph, name) for name in outputs]
    subgraph = tables.table({2: tables.vector(inputs), 3: tables.vector(results)})
    slots: dict[int, _Offset | int | None] = {
        0: tables.string(graph.name),
        1: tables.string(_description(graph)),
        3: tables.vector([subgraph]),
        7: tables.string(_PARSER_VERSION),
    }
    return tables.finish(tables.table(slots))


def _description(graph: Graph) -> str:
    source = graph.metadata.get("weights", {}).get("source")
    return f"Written by edgekit. Weights: {source}." if source else "Written by edgekit."


def _input_table(tables: _Tables, graph: Graph, name: str) -> _Offset:
    """TensorMetadata of an input: an image with normalization where it is the one that preprocessing makes."""
    tensor, settings = graph.tensor(name), graph.metadata.get("preprocessing")
    slots: dict[int, _Offset | int | None] = {0: tables.string(name)}
    if settings and len(tensor.shape) == 4 and name == graph.inputs[0]:
        mean, std = settings["mean"], settings["std"]
        slots[1] = tables.string(f"{settings['channel_order'].upper()} image, normalized by (pixel - mean) / std")
        slots[3] = _image_content(tables, settings["channel_order"], len(mean))
        options = tables.table({0: tables.floats(mean), 1: tables.floats(std)})
        slots[4] = tables.vector([tables.table({0: _NORMALIZATION, 1: options})])
        extremes = [[(value - m) / s for m, s in zip(mean, std, strict=True)] for value in (0.0, 255.0)]
        slots[5] = _stats(tables, tensor, extremes[0], extremes[1])
    return tables.table(slots)


def _image_content(tables: _Tables, channel_order: str, channels: int) -> _Offset:
    properties = tables.table({0: _COLORS.get((channel_order, channels), 0)})
    return tables.table({0: _IMAGE_PROPERTIES, 1: properties})


def _stats(tables: _Tables, tensor: Tensor, low: Sequence[float], high: Sequence[float]) -> _Offset:
    """Range of a tensor's values; that of its integers where it is quantized, as the standard's own writers do."""
    if tensor.quant is not None:
        low, high = ([float(limit)] for limit in RANGES[tensor.quant.dtype])
    return tables.table({0: tables.floats(high), 1: tables.floats(low)})


def _output_table(tables: _Tables, graph: Graph, name: str) -> _Offset:
    """TensorMetadata of an output: the first one has the labels, if they are as many as its last axis."""
    tensor, labels = graph.tensor(name), labels_of(graph)
    slots: dict[int, _Offset | int | None] = {0: tables.string(name)}
    if tensor.quant is not None or _is_probability(graph, name):
        slots[5] = _stats(tables, tensor, [0.0], [1.0])
    if labels and name == graph.outputs[0]:
        slots[1] = tables.string("One score per class")
        fields = {0: tables.string(LABELS_FILE), 1: tables.string("Class names, one a line"), 2: _AXIS_LABELS}
        slots[6] = tables.vector([tables.table(fields)])
    return tables.table(slots)


def _is_probability(graph: Graph, name: str) -> bool:
    node = graph.producer(name)
    while node is not None and node.op in ("dequantize", "quantize", "reshape"):
        node = graph.producer(node.inputs[0])
    return node is not None and node.op in ("softmax", "sigmoid")


def labels_of(graph: Graph) -> list[str]:
    """The class names in the graph's metadata, each on one line; none where they are not as many as the classes."""
    labels = graph.metadata.get("labels") or []
    if len(labels) != graph.shape(graph.outputs[0])[-1]:
        return []
    return [" ".join(str(label).split()) for label in labels]


def append_labels(model: bytes, graph: Graph) -> bytes:
    """The model with its labels in a zip behind it, uncompressed, under a fixed date; unchanged without labels."""
    labels = labels_of(graph)
    if not labels:
        return model
    entry = zipfile.ZipInfo(LABELS_FILE, _ZIP_EPOCH)
    entry.create_system = 3
    entry.external_attr = 0o644 << 16
    file = io.BytesIO()
    file.write(model)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(entry, "\n".join(labels))
    return file.getvalue()


def edgekit_buffer(graph: Graph) -> bytes:
    """The graph's metadata as JSON with sorted keys."""
    return json.dumps(graph.metadata, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def read_edgekit_metadata(data: bytes) -> dict[str, Any] | None:
    """The graph's metadata in a TFLite file that edgekit wrote; None for another writer's.

    Raises ImportFileError for bytes that are no TFLite file, or a damaged one.
    """
    with opened(data) as model:
        for position in range(model.MetadataLength()):
            entry = model.Metadata(position)
            if entry.Name() == EDGEKIT.encode():
                found: dict[str, Any] = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
                return found
    return None
