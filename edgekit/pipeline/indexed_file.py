"""Model files with indices for weights, which the runtime turns into plain weights when it loads them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.compress.indexed_onnx import indexed_onnx
from edgekit.compress.indexed_tflite import indexed_tflite
from edgekit.errors import ImportFileError, ModelError, WeightsError
from edgekit.export.files import write_atomically
from edgekit.pipeline.container_file import read_bytes
from edgekit.pipeline.deflate import deflated_size
from edgekit.runtime.session import Session


@dataclass(frozen=True, slots=True)
class IndexedResult:
    """What was written. four, eight: weights with indices so wide; plain: larger ones that have too many values."""

    path: Path
    file_bytes: int
    indexed_bytes: int
    zipped_bytes: int
    four: int
    eight: int
    plain: int

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**asdict(self), "path": str(self.path)}


def write_indexed(path: Path, out: Path, force: bool = False) -> IndexedResult:
    """A model file with indices for weights; it is opened in its runtime before it is written.

    Raises ModelError for a TFLite file unless `force` is given, ImportFileError and WeightsError as `indexed_onnx`,
    OutputError where `out` cannot be written.
    """
    data = read_bytes(path)
    tflite = data[4:8] == b"TFL3"
    if tflite and not force:
        raise ModelError(
            f"{path}: TFLite looks codebook values up at each inference, which costs more than it saves; `edgekit "
            "export --fp16` makes files whose weights are unpacked once; --force writes it all the same"
        )
    if tflite:
        with Session.open(data):  # refuses damaged files
            pass
    try:
        model = indexed_tflite(data) if tflite else indexed_onnx(data)
    except (ImportFileError, WeightsError) as error:
        raise type(error)(f"{path}: {error}") from error
    with Session.open(model.data):
        pass
    write_atomically(out, model.data)
    sizes = len(data), len(model.data), deflated_size(model.data)
    return IndexedResult(out, *sizes, model.four, model.eight, len(model.plain))
