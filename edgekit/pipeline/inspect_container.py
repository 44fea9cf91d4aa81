"""What is inside an `.ekz` file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.compress.index import MAGIC, read_head
from edgekit.compress.measure import TensorRow, tensor_rows
from edgekit.errors import ContainerError
from edgekit.pipeline.container_file import ContainerSizes, content_graph, open_container
from edgekit.pipeline.deflate import deflated_size


@dataclass(frozen=True, slots=True)
class ContainerDescription:
    """What an `.ekz` file holds. files: sizes by format; nodes: of the graph, 0 where there is none."""

    path: Path
    sizes: ContainerSizes
    metadata: Mapping[str, Any]
    files: Mapping[str, int]
    nodes: int
    rest_bytes: int
    rows: tuple[TensorRow, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "path": str(self.path),
            "format": "ekz",
            **asdict(self.sizes),
            "under_alexnet": self.sizes.under_alexnet,
            "metadata": dict(self.metadata),
            "files": dict(self.files),
            "nodes": self.nodes,
            "rest_bytes": self.rest_bytes,
            "tensors": [{**asdict(row), "bits": row.bits, "ratio": row.ratio} for row in self.rows],
        }


def is_container(path: Path) -> bool:
    """Whether a file is called or begins like a container."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC or path.suffix.lower() == ".ekz"
    except OSError:
        return False


def inspect_container(path: Path) -> ContainerDescription:
    """Read a container whole and describe it. Raises ContainerError where it is damaged."""
    content = open_container(path)
    data = path.read_bytes()
    try:
        index, _ = read_head(data)
    except ContainerError as error:
        raise ContainerError(f"{path}: {error}") from error
    rows = tuple(tensor_rows(data, content))
    largest = max((file.size for file in index.files), default=0)
    memory = sum(row.nbytes for row in rows)
    plain = content.file_bytes(max(range(len(index.files)), key=lambda k: index.files[k].size)) if index.files else b""
    sizes = ContainerSizes(largest or memory, deflated_size(plain) if plain else 0, len(data), memory)
    return ContainerDescription(
        path=path,
        sizes=sizes,
        metadata=index.metadata,
        files={file.format: file.size for file in index.files},
        nodes=len(content_graph(content).nodes) if content.graph else 0,
        rest_bytes=len(data) - round(sum(row.coded_bytes for row in rows)),
        rows=rows,
    )
