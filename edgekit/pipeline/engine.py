"""Runs parts of a float graph in onnxruntime, image by image, for what walks through a network layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgekit.export.onnx import onnx_bytes
from edgekit.graph.ir import Array, Graph
from edgekit.runtime.onnx_backend import OnnxBackend


def onnx_engine(threads: int = 1) -> Callable[[Graph], Callable[[Mapping[str, Array]], dict[str, Array]]]:
    """An engine (`compress.walk.Engine`) that writes each graph as ONNX and opens it with that many threads."""

    def engine(graph: Graph) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
        return OnnxBackend(onnx_bytes(graph), label=graph.name, threads=threads, allow_spinning=False).run

    return engine
