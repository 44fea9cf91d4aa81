"""Normalization and class names: from edgekit's own metadata and from the standard's."""

from __future__ import annotations

from typing import Any

import pytest
from tflite_files import edited

from edgekit.data.preprocess import CAFFE, TORCH, UNIT, Preprocessing
from edgekit.errors import ImportFileError
from edgekit.export.tflite import tflite_bytes
from edgekit.graph.builder import GraphBuilder
from edgekit.importers.tflite import import_tflite

NAME = b"\x07\0\0\0edgekit"


def written(preprocessing: Preprocessing, labels: list[str] | None = None, channels: int = 3) -> bytes:
    b = GraphBuilder("net", (1, 8, 9, channels))
    x = b.global_avg_pool(b.conv2d("input", 4, 3, name="conv"), name="pool")
    graph = b.finish(b.dense(x, 2, name="dense"))
    graph.metadata = {"preprocessing": preprocessing.with_size(8, 9).to_metadata(), "labels": labels or []}
    return tflite_bytes(graph)


def foreign(data: bytes) -> bytes:
    """The file without edgekit's own metadata: only the standard's is left."""
    assert data.count(NAME) == 1
    return data.replace(NAME, b"\x07\0\0\0another")


@pytest.mark.parametrize("preset", [UNIT, TORCH, CAFFE])
def test_edgekits_own_metadata_comes_back_whole(preset: Preprocessing) -> None:
    metadata = import_tflite(written(preset, ["cat", "small dog"])).metadata
    assert Preprocessing.from_metadata(metadata["preprocessing"]) == preset.with_size(8, 9)
    assert metadata["labels"] == ["cat", "small dog"]
    assert metadata["weights"]["source"] == "file"


def test_the_standards_metadata_says_mean_std_and_labels() -> None:
    metadata = import_tflite(foreign(written(TORCH, ["cat", "small dog"]))).metadata
    found = Preprocessing.from_metadata(metadata["preprocessing"])
    assert found.mean == pytest.approx(TORCH.mean, rel=1e-6)
    assert found.std == pytest.approx(TORCH.std, rel=1e-6)
    assert (found.height, found.width, found.resize) == (8, 9, "stretch")
    assert metadata["labels"] == ["cat", "small dog"]


def test_files_that_do_not_say() -> None:
    metadata = import_tflite(edited(written(UNIT), lambda model: setattr(model, "metadata", []))).metadata
    assert not {"preprocessing", "labels"} & set(metadata)
    assert "labels" not in import_tflite(foreign(written(UNIT))).metadata


def test_what_does_not_fit_the_network_is_left_out() -> None:
    data = written(UNIT, ["cat", "small dog"])
    metadata = import_tflite(data.replace(b'"height":8', b'"height":7').replace(b'"cat",', b"      ")).metadata
    assert not {"preprocessing", "labels"} & set(metadata)


def _buffer(name: bytes, content: bytes) -> Any:
    def edit(model: Any) -> None:
        entry = next(m for m in model.metadata if m.name == name)
        model.buffers[entry.buffer].data = list(content)

    return edit


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (
            edited(written(UNIT), _buffer(b"edgekit", b"{no json")),
            "its metadata is damaged .*: export or copy it again",
        ),
        (written(UNIT).replace(b'"std":[255', b'"std":[  0'), r"its metadata cannot be used: .*std .*positive"),
        (edited(foreign(written(UNIT)), _buffer(b"TFLITE_METADATA", b"\xff" * 40)), "its metadata is damaged"),
        (foreign(written(UNIT, ["a", "b"])).replace(b"PK\x01\x02", b"PK\x09\x09"), "its metadata is damaged"),
    ],
)
def test_damaged_metadata_is_one_line(data: bytes, match: str) -> None:
    with pytest.raises(ImportFileError, match=match):
        import_tflite(data)
