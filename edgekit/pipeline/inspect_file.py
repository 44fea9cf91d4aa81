"""What is inside a .tflite or .onnx file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgekit.pipeline.deflate import deflated_size
from edgekit.pipeline.file_data import read_file_metadata
from edgekit.runtime.coverage import Coverage, xnnpack_coverage
from edgekit.runtime.io_spec import IoSpec
from edgekit.runtime.session import Session, file_format


@dataclass(frozen=True, slots=True)
class FileDescription:
    """ops: op name -> count, most frequent first. coverage: of XNNPACK, TFLite files only. metadata: edgekit's own."""

    path: Path
    format: str
    runtime: str
    file_bytes: int
    zipped_bytes: int
    inputs: tuple[IoSpec, ...]
    outputs: tuple[IoSpec, ...]
    ops: Mapping[str, int]
    coverage: Coverage | None
    metadata: Mapping[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "path": str(self.path),
            "format": self.format,
            "runtime": self.runtime,
            "file_bytes": self.file_bytes,
            "zipped_bytes": self.zipped_bytes,
            "inputs": [_plain(io) for io in self.inputs],
            "outputs": [_plain(io) for io in self.outputs],
            "ops": dict(self.ops),
            "xnnpack": asdict(self.coverage) if self.coverage else None,
            "metadata": self.metadata,
        }


def inspect_file(path: Path) -> FileDescription:
    """Open a file in its runtime and describe it. Raises ImportFileError where it is missing or damaged."""
    metadata = read_file_metadata(path)
    data = path.read_bytes()
    kind = file_format(path)
    with Session.open(path) as session:
        return FileDescription(
            path=path,
            format=kind,
            runtime=session.runtime,
            file_bytes=len(data),
            zipped_bytes=deflated_size(data),
            inputs=session.inputs,
            outputs=session.outputs,
            ops=dict(Counter(_ops(kind, data)).most_common()),
            coverage=xnnpack_coverage(path) if kind == "tflite" else None,
            metadata=metadata,
        )


def _plain(spec: IoSpec) -> dict[str, Any]:
    return {**{field.name: getattr(spec, field.name) for field in fields(spec)}, "dtype": str(spec.dtype)}


def _ops(kind: str, data: bytes) -> list[str]:
    if kind == "tflite":
        from edgekit.export.tflite import op_names

        return op_names(data)
    import onnx

    return [node.op_type for node in onnx.load_from_string(data).graph.node]
