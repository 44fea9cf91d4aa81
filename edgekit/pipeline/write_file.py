"""A graph as the bytes of a file, by format."""

from __future__ import annotations

from edgekit.graph import Graph

FORMATS = ("tflite", "onnx")


def file_bytes(fmt: str, graph: Graph) -> bytes:
    """The file's content; `fmt` is one of FORMATS."""
    if fmt == "tflite":
        from edgekit.export.tflite import tflite_bytes

        return tflite_bytes(graph)
    from edgekit.export.onnx import onnx_bytes

    return onnx_bytes(graph)
