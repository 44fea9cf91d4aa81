"""`.ekz` files: made of a model file (the same bytes come back) or of a graph, taken apart again, described."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from edgekit.compress.coded import CodedTensor
from edgekit.compress.container import Content, StoredFile, little_endian, read_container, write_container
from edgekit.compress.graph_json import graph_from_json, graph_to_json
from edgekit.compress.index import METHODS, Hole
from edgekit.compress.lossless import as_one_piece, take_apart
from edgekit.compress.weight_places import Place, find_places
from edgekit.errors import ContainerError, ImportFileError, OutputError
from edgekit.export.files import write_atomically
from edgekit.graph.ir import Array, Graph
from edgekit.pipeline.deflate import deflated_size

FORMATS = ("tflite", "onnx")
ALEXNET_BYTES = 240_000_000
"""The yardstick of SqueezeNet's paper, table 2: AlexNet's float weights, 240 MB."""


@dataclass(frozen=True, slots=True)
class ContainerSizes:
    """In bytes: the file (of a graph: its float TFLite file), that deflated, the container, the weights in memory."""

    file_bytes: int
    zipped_bytes: int
    ekz_bytes: int
    memory_bytes: int

    @property
    def under_alexnet(self) -> float:
        """How many times smaller than AlexNet's 240 MB the container is."""
        return ALEXNET_BYTES / self.ekz_bytes


@dataclass(frozen=True, slots=True)
class CompressResult:
    """What was written. methods: how many tensors are stored by each method."""

    path: Path
    kind: str
    sizes: ContainerSizes
    methods: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            **asdict(self.sizes),
            "under_alexnet": self.sizes.under_alexnet,
            "methods": dict(self.methods),
        }


def compress_file(path: Path, out: Path, methods: Sequence[str] = METHODS) -> CompressResult:
    """Any file into a container that gives the same bytes back, which is tried before it is written.

    Raises ImportFileError where `path` cannot be read, OutputError where `out` cannot be written or is `path` itself.
    """
    data = read_bytes(path)
    _refuse_same(path, out)
    packed = lossless_bytes(data, path.name, methods)
    write_atomically(out, packed)
    return _result(out, packed, len(data), deflated_size(data))


def lossless_bytes(data: bytes, name: str, methods: Sequence[str] = METHODS) -> bytes:
    """A container of any file's bytes: as weights and the rest, or deflated as a whole where that is smaller."""
    whole = write_container(as_one_piece(data, name))
    content = take_apart(data, name)
    if content.tensors:
        with contextlib.suppress(ContainerError):  # so repetitive that only deflate is believed: one piece stays
            whole = min(whole, write_container(content, methods), key=len)
    if read_container(whole).file_bytes(0) != data:
        raise ContainerError(f"{name} does not come back from its container; this is a defect of edgekit")
    return whole


def graph_bytes(
    graph: Graph,
    weights: Mapping[str, CodedTensor] | None = None,
    embed: Sequence[str] = (),
    methods: Sequence[str] = METHODS,
) -> bytes:
    """A container of a graph. weights: constants that are replaced by tensors of few values. embed: formats whose files
    the C decoder shall be able to restore.

    Raises ContainerError for an unknown format or tensor.
    """
    replaced = {name: coded.values() for name, coded in (weights or {}).items()}
    tensors = {t.name: replaced.pop(t.name, t.array) for t in graph.constants()}
    if replaced:
        raise ContainerError(f"graph {graph.name!r} has no constant {next(iter(replaced))!r}")
    twin = graph.copy()
    for name, array in tensors.items():
        twin.set_tensor(twin.tensor(name).with_data(array))
    files = tuple(_embedded(twin, kind) for kind in embed)
    content = Content(tensors, {"name": graph.name, "kind": "graph"}, graph_to_json(twin), files)
    return write_container(content, methods)


def compress_graph(
    graph: Graph, out: Path, weights: Mapping[str, CodedTensor] | None = None, embed: Sequence[str] = ()
) -> CompressResult:
    """As `graph_bytes`, into a file; the sizes beside it are those of the graph's TFLite file.

    Raises OutputError where `out` cannot be written.
    """
    from edgekit.export.tflite import tflite_bytes

    packed = graph_bytes(graph, weights, embed)
    plain = tflite_bytes(content_graph(read_container(packed)))
    write_atomically(out, packed)
    return _result(out, packed, len(plain), deflated_size(plain))


def open_container(path: Path) -> Content:
    """Read a container. Raises ImportFileError where it is missing, ContainerError where it is damaged."""
    try:
        return read_container(read_bytes(path))
    except ContainerError as error:
        raise ContainerError(f"{path}: {error}") from error


def content_graph(content: Content) -> Graph:
    """The graph in a container. Raises ContainerError where it holds only files."""
    if not content.graph:
        raise ContainerError("the container holds a file, no graph: `edgekit decompress` restores the file")
    return graph_from_json(content.graph, content.tensors)


def decompress(path: Path, to: str | None, out: Path | None) -> Path:
    """Restore a file from a container; returns where it was written.

    to: tflite or onnx; None takes the only file that there is. A graph is exported where its file is not embedded. out:
    where to; None puts it beside the container under the name that the container tells, but over no other file.
    Raises ContainerError where the container has no such file, OutputError where `out` cannot be written.
    """
    content = open_container(path)
    kinds = [stored.format for stored in content.files]
    if not kinds and not content.graph:
        raise ContainerError(f"{path} holds tensors alone, no file and no graph: `edgekit inspect` shows them")
    if to is None and (content.graph or len(kinds) > 1):
        held = [f"a {kind} file" for kind in kinds] + (["a graph"] if content.graph else [])
        raise ContainerError(f"{path} holds {' and '.join(held)}: say --to tflite or --to onnx")
    wanted = to or kinds[0]
    if wanted in kinds:
        data = content.file_bytes(kinds.index(wanted))
    elif content.graph:
        data = _exported(content_graph(content), wanted)
    else:
        raise ContainerError(f"{path} holds a {kinds[0]} file, no {wanted} file: leave --to out")
    target = out or path.with_name(_restored_name(path, content, wanted))
    _refuse_same(path, target)
    if out is None and target.exists() and (target.is_dir() or read_bytes(target) != data):
        raise OutputError(f"{target} is there already and is another file: give --out, or move it away")
    write_atomically(target, data)
    return target


def _refuse_same(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target} would be written over the file that is read: give another --out")


def _restored_name(path: Path, content: Content, kind: str) -> str:
    """The file's own name where the container tells one, without any folder."""
    told = PureWindowsPath(str(content.metadata.get("name", ""))).name  # knows both kinds of slashes, and drives
    sound = told.isprintable() and told not in ("", "..") and not content.graph
    return told if sound else f"{path.stem}.{kind}"


def _exported(graph: Graph, kind: str) -> bytes:
    if kind == "tflite":
        from edgekit.export.tflite import tflite_bytes

        return tflite_bytes(graph)
    if kind == "onnx":
        from edgekit.export.onnx import onnx_bytes

        return onnx_bytes(graph)
    raise ContainerError(f"format {kind!r} is none of {', '.join(FORMATS)}")


def _embedded(graph: Graph, kind: str) -> StoredFile:
    """The graph's file with the constants taken out that it holds, in whatever order of axes."""
    data = _exported(graph, kind)
    constants = list(graph.constants())
    holes, pieces, at = [], [], 0
    for place in find_places(data, kind):
        raw = data[place.start : place.start + place.nbytes]
        hole = next((found for k, t in enumerate(constants) if (found := _match(k, t.array, place, raw))), None)
        if hole is not None:
            holes.append(replace(hole, gap=place.start - at))
            pieces.append(data[at : place.start])
            at = place.start + place.nbytes
    return StoredFile(kind, b"".join([*pieces, data[at:]]), tuple(holes))


def _match(position: int, array: Array, place: Place, raw: bytes) -> Hole | None:
    """The hole where the bytes are this constant's, as they are or with the axes in another order."""
    if array.nbytes != place.nbytes or array.dtype.name != place.dtype:
        return None
    if little_endian(array) == raw:
        return Hole(0, position)
    for axes in itertools.permutations(range(array.ndim)):
        if little_endian(array.transpose(axes)) == raw:
            return Hole(0, position, axes)
    return None


def read_bytes(path: Path) -> bytes:
    """A whole file. Raises ImportFileError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror}; give the path of a file") from None


def _result(out: Path, packed: bytes, file_bytes: int, zipped_bytes: int) -> CompressResult:
    from edgekit.compress.index import read_head

    index, _ = read_head(packed)
    memory = sum(t.nbytes for t in index.tensors)
    methods = {m: sum(t.method == m for t in index.tensors) for m in METHODS}
    kind = str(index.metadata.get("kind", "file"))
    return CompressResult(out, kind, ContainerSizes(file_bytes, zipped_bytes, len(packed), memory), methods)
