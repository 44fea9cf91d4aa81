"""What a TFLite file says about its images and classes: in the standard's metadata, and in edgekit's own.

The standard is TFLite's metadata schema (file identifier M001), read here by slot numbers, as no schema module of it is
installed. The class names lie in a zip archive behind the flatbuffer.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from edgekit.data.preprocess import Preprocessing
from edgekit.errors import DataError, ImportFileError
from edgekit.graph.ir import Graph
from edgekit.importers.damage import DAMAGE
from edgekit.importers.tflite_file import READING_ERRORS
from edgekit.importers.tflite_model import TfliteModel

STANDARD, EDGEKIT = "TFLITE_METADATA", "edgekit"
MAX_LABEL_BYTES = 4 * 2**20
MAX_ENTRIES = 1_000
_SUBGRAPHS, _INPUTS, _OUTPUTS = 3, 2, 3
_CONTENT, _PROCESS_UNITS, _FILES = 3, 4, 6
_KIND, _VALUE = 0, 1
_NORMALIZATION, _IMAGE_PROPERTIES, _GREY, _AXIS_LABELS = 1, 2, 2, 2


def read_metadata(model: TfliteModel, graph: Graph) -> dict[str, Any]:
    """preprocessing and labels, as far as the file has them and they fit the graph.

    Raises ImportFileError for damaged metadata and for a normalization that makes no sense.
    """
    try:
        found = _own(model) if EDGEKIT in model.metadata else _standard(model, graph)
        described = {key: found[key] for key in ("preprocessing", "labels") if found.get(key)}
        return _fitting(described, graph)
    except ImportFileError:
        raise
    except DataError as problem:
        raise ImportFileError(f"{model.source}: its metadata cannot be used: {problem}") from None
    except (*DAMAGE, *READING_ERRORS) as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0][:160]
        raise ImportFileError(f"{model.source}: its metadata is damaged ({reason}): export or copy it again") from None


def _fitting(described: dict[str, Any], graph: Graph) -> dict[str, Any]:
    """The entries that fit the graph's first input and output."""
    result: dict[str, Any] = {}
    shape = graph.shape(graph.inputs[0])
    if "preprocessing" in described and len(shape) == 4:
        settings = Preprocessing.from_metadata(described["preprocessing"])
        if settings.input_shape[1:] == shape[1:]:
            result["preprocessing"] = settings.to_metadata()
    labels = described.get("labels")
    if isinstance(labels, list) and len(labels) == graph.shape(graph.outputs[0])[-1]:
        result["labels"] = [" ".join(str(label).split()) for label in labels]
    return result


def _own(model: TfliteModel) -> dict[str, Any]:
    found = json.loads(model.metadata[EDGEKIT])
    return found if isinstance(found, dict) else {}


# -- the standard's metadata -------------------------------------------------------------------------------------------


def _standard(model: TfliteModel, graph: Graph) -> dict[str, Any]:
    from flatbuffers import encode, number_types, table

    data = model.metadata.get(STANDARD, b"")
    if not data:
        return {}
    root = table.Table(data, encode.Get(number_types.UOffsetTFlags.packer_type, data, 0))
    found: dict[str, Any] = {}
    for subgraph in list(_tables(root, _SUBGRAPHS))[:1]:
        for tensor in list(_tables(subgraph, _INPUTS))[:1]:
            found["preprocessing"] = _preprocessing(tensor, graph)
        for tensor in list(_tables(subgraph, _OUTPUTS))[:1]:
            found["labels"] = _labels(model, tensor)
    return found


def _preprocessing(tensor: Any, graph: Graph) -> dict[str, Any] | None:
    """The settings of the input's normalization. How images are resized the standard does not say: stretched."""
    shape = graph.shape(graph.inputs[0])
    for unit in _tables(tensor, _PROCESS_UNITS):
        options = _table(unit, _VALUE)
        if _byte(unit, _KIND) != _NORMALIZATION or options is None or len(shape) != 4:
            continue
        mean, std = (_spread(_floats(options, slot), shape[3]) for slot in (0, 1))
        return Preprocessing(height=shape[1], width=shape[2], mean=mean, std=std).to_metadata()
    return None


def _spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value for all channels becomes one for each."""
    return values * channels if len(values) == 1 else values


def _labels(model: TfliteModel, tensor: Any) -> list[str] | None:
    """The lines of the file of class names that the output names."""
    names = [_string(file, 0) for file in _tables(tensor, _FILES) if _byte(file, 2) == _AXIS_LABELS]
    if not names:
        return None
    with zipfile.ZipFile(io.BytesIO(model.data)) as archive:
        if archive.getinfo(names[0]).file_size > MAX_LABEL_BYTES:
            raise ImportFileError(f"{model.source}: its file of labels is larger than {MAX_LABEL_BYTES} bytes")
        text = archive.read(names[0]).decode("utf-8-sig")
    return [line.strip() for line in text.split("\n") if line.strip()]


# -- flatbuffers by slot number ----------------------------------------------------------------------------------------


def _offset(table: Any, slot: int) -> int:
    return int(table.Offset(4 + 2 * slot))


def _byte(table: Any, slot: int) -> int:
    from flatbuffers import number_types

    offset = _offset(table, slot)
    return int(table.Get(number_types.Uint8Flags, table.Pos + offset)) if offset else 0


def _table(table: Any, slot: int) -> Any:
    from flatbuffers.table import Table

    offset = _offset(table, slot)
    return Table(table.Bytes, table.Indirect(table.Pos + offset)) if offset else None


def _tables(table: Any, slot: int) -> Iterator[Any]:
    from flatbuffers.table import Table

    offset = _offset(table, slot)
    if not offset:
        return
    start = table.Vector(offset)
    for i in range(_length(table, offset)):
        yield Table(table.Bytes, table.Indirect(start + 4 * i))


def _floats(table: Any, slot: int) -> tuple[float, ...]:
    from flatbuffers import number_types

    offset = _offset(table, slot)
    if not offset or not _length(table, offset):
        return ()
    return tuple(float(v) for v in table.GetVectorAsNumpy(number_types.Float32Flags, offset))


def _string(table: Any, slot: int) -> str:
    offset = _offset(table, slot)
    _length(table, offset)
    return bytes(table.String(table.Pos + offset)).decode("utf-8") if offset else ""


def _length(table: Any, offset: int) -> int:
    count = int(table.VectorLen(offset)) if offset else 0
    if count > MAX_ENTRIES:
        raise ImportFileError(f"its metadata is damaged (a list of {count} entries): export or copy it again")
    return count
