"""The metadata in TFLite files, decoded slot by slot, and the attached labels."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types
from tflite_helpers import mobile_graph, quantize_min_max, random_feeds, run_tflite, with_boundaries

from edgekit.data.preprocess import CAFFE, KERAS_TF, TORCH
from edgekit.errors import ImportFileError
from edgekit.export.tflite import tflite_bytes
from edgekit.export.tflite_metadata import read_edgekit_metadata
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Graph

LABELS = [f"class {i}" for i in range(9)] + ["Größe\n10"]


def _graph(preprocessing=KERAS_TF, labels=LABELS) -> Graph:
    graph = mobile_graph()
    graph.metadata = {
        "model": {"name": "mobile", "alpha": 0.5},
        "preprocessing": preprocessing.to_metadata(),
        "weights": {"source": "random", "seed": 3},
        "steps": [{"step": "fold_batch_norm", "rewrites": 7}],
        "edgekit": "0.1.0",
    }
    if labels is not None:
        graph.metadata["labels"] = labels
    return graph


class Table:
    """A flatbuffer table read by slot number, without generated code."""

    def __init__(self, data: bytes, position: int) -> None:
        self._table = flatbuffers.table.Table(bytearray(data), position)
        self._data = data

    @classmethod
    def root(cls, data: bytes) -> Table:
        return cls(data, int.from_bytes(data[:4], "little"))

    def _offset(self, slot: int) -> int:
        return self._table.Offset(4 + 2 * slot)

    def _at(self, slot: int) -> int:
        return self._table.Pos + self._offset(slot)

    def has(self, slot: int) -> bool:
        return self._offset(slot) != 0

    def string(self, slot: int) -> str:
        return self._table.String(self._at(slot)).decode()

    def byte(self, slot: int) -> int:
        return self._data[self._at(slot)] if self.has(slot) else 0

    def table(self, slot: int) -> Table:
        return Table(self._data, self._table.Indirect(self._at(slot)))

    def tables(self, slot: int) -> list[Table]:
        start, count = self._table.Vector(self._offset(slot)), self._table.VectorLen(self._offset(slot))
        return [Table(self._data, self._table.Indirect(start + 4 * i)) for i in range(count)]

    def floats(self, slot: int) -> list[float]:
        return self._table.GetVectorAsNumpy(number_types.Float32Flags, self._offset(slot)).tolist()


def _buffer(data: bytes, name: str) -> bytes:
    model = schema.Model.GetRootAs(data, 0)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    (entry,) = (e for e in entries if e.Name().decode() == name)
    return model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()


def _standard(data: bytes) -> Table:
    buffer = _buffer(data, "TFLITE_METADATA")
    assert buffer[4:8] == b"M001"
    return Table.root(buffer)


def _ends(data: bytes) -> tuple[Table, list[Table]]:
    """Metadata of the input, and of the outputs."""
    (subgraph,) = _standard(data).tables(3)
    (image,) = subgraph.tables(2)
    return image, subgraph.tables(3)


def test_model_table():
    root = _standard(tflite_bytes(_graph()))
    assert root.string(0) == "mobile"
    assert root.string(1) == "Written by edgekit. Weights: random."
    assert root.string(7) == "1.0.0"


@pytest.mark.parametrize(("preset", "color"), [(KERAS_TF, 1), (TORCH, 1), (CAFFE, 0)])
def test_input_image(preset, color):
    image, _ = _ends(tflite_bytes(_graph(preset)))
    assert image.string(0) == "input"
    content = image.table(3)
    assert content.byte(0) == 2
    assert content.table(1).byte(0) == color
    (unit,) = image.tables(4)
    assert unit.byte(0) == 1
    normalization = unit.table(1)
    np.testing.assert_allclose(normalization.floats(0), preset.mean, rtol=1e-6)
    np.testing.assert_allclose(normalization.floats(1), preset.std, rtol=1e-6)
    low, high = preset.value_range()
    assert min(image.table(5).floats(1)) == pytest.approx(low, rel=1e-6)
    assert max(image.table(5).floats(0)) == pytest.approx(high, rel=1e-6)


def test_output_has_range_and_labels():
    _, (scores,) = _ends(tflite_bytes(_graph()))
    assert (scores.table(5).floats(0), scores.table(5).floats(1)) == ([1.0], [0.0])
    (file,) = scores.tables(6)
    assert (file.string(0), file.byte(2)) == ("labels.txt", 2)


@pytest.mark.parametrize(("dtype", "limits"), [("int8", (-128, 127)), ("uint8", (0, 255))])
def test_quantized_ends_have_the_range_of_their_integers(dtype, limits):
    graph = quantize_min_max(_graph())
    image, (scores,) = _ends(tflite_bytes(graph if dtype == "int8" else with_boundaries(graph, dtype)))
    for table in (image, scores):
        assert (table.table(5).floats(1), table.table(5).floats(0)) == ([limits[0]], [limits[1]])


def test_float_boundaries_of_an_int8_graph():
    image, (scores,) = _ends(tflite_bytes(with_boundaries(quantize_min_max(_graph()), "float32")))
    assert image.table(5).floats(0) == [1.0, 1.0, 1.0]
    assert scores.table(5).floats(0) == [1.0]
    assert scores.has(6)


def test_exposed_outputs_have_tables_of_their_own():
    _, outputs = _ends(tflite_bytes(_graph(), expose=["stem", "logits"]))
    assert [table.string(0) for table in outputs] == ["probabilities", "stem", "logits"]
    assert [table.has(6) for table in outputs] == [True, False, False]


def test_labels_are_a_zip_behind_the_model(tmp_path: Path):
    data = tflite_bytes(_graph())
    (tmp_path / "model.tflite").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "model.tflite") as archive:
        assert archive.testzip() is None
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("labels.txt", zipfile.ZIP_STORED)
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)
        assert archive.read("labels.txt").decode().split("\n") == [*LABELS[:9], "Größe 10"]


def test_the_runtime_still_takes_the_file():
    graph = _graph()
    feeds = random_feeds(graph)
    got = run_tflite(tflite_bytes(graph), feeds)["probabilities"]
    np.testing.assert_allclose(got, interpret(graph, feeds)["probabilities"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("labels", [None, [], ["too", "few"]])
def test_without_fitting_labels_there_is_no_zip(labels):
    data = tflite_bytes(_graph(labels=labels))
    assert not zipfile.is_zipfile(io.BytesIO(data))
    assert not _ends(data)[1][0].has(6)


def test_a_graph_without_metadata():
    graph = mobile_graph()
    data = tflite_bytes(graph)
    image, _ = _ends(data)
    assert image.string(0) == "input"
    assert not image.has(3)
    assert read_edgekit_metadata(data) == {}


def test_our_buffer_comes_back():
    graph = _graph()
    data = tflite_bytes(graph)
    assert read_edgekit_metadata(data) == graph.metadata
    assert json.loads(_buffer(data, "edgekit")) == graph.metadata


def test_other_writers_files_have_no_buffer_of_ours():
    builder = flatbuffers.Builder()
    subgraph = schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[])
    model = schema.ModelT(version=3, subgraphs=[subgraph], buffers=[schema.BufferT()], operatorCodes=[])
    builder.Finish(model.Pack(builder), b"TFL3")
    assert read_edgekit_metadata(bytes(builder.Output())) is None


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and so on", b"\x08\0\0\0ONNX"])
def test_what_is_no_tflite_file_is_refused(data):
    with pytest.raises(ImportFileError, match="not a TFLite file: the identifier TFL3 is missing"):
        read_edgekit_metadata(data)


def test_a_damaged_file_is_refused():
    data = tflite_bytes(_graph())
    with pytest.raises(ImportFileError, match="damaged TFLite file"):
        read_edgekit_metadata(data[:64])
