"""Expose the activations of an ONNX model as graph outputs, so that onnxruntime hands them out."""

from __future__ import annotations

import importlib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit.errors import ImportFileError
from edgekit.runtime.backend import Source, label_of, reason

if TYPE_CHECKING:
    import onnx

_KEEPS_QUANTIZATION = ("Relu", "Clip")


def expose_activations(source: Source) -> tuple[bytes, tuple[str, ...]]:
    """The model with its activations as further outputs, and their names.

    A tensor that is quantized next is left out, and its DequantizeLinear result stands for it: exposing the float value
    would keep the runtime from fusing the integer kernel, and so change what is measured. Constants are left out too.
    Raises ImportFileError where the file cannot be parsed.
    """
    model = _parse(source)
    graph = model.graph
    consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            consumers[name].append(node)
    known = _constants(graph) | {output.name for output in graph.output}
    names = [
        name
        for node in graph.node
        if node.op_type != "QuantizeLinear"
        for name in node.output
        if name and name not in known and not _is_quantized_next(name, consumers)
    ]
    for name in names:
        graph.output.add().name = name
    return model.SerializeToString(), tuple(names)


def _parse(source: Source) -> onnx.ModelProto:
    import onnx

    decode_error: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    try:
        return onnx.load(str(source)) if isinstance(source, Path) else onnx.load_from_string(source)
    except decode_error as error:
        raise ImportFileError(f"{label_of(source)} is not a whole ONNX file ({reason(error)})") from error


def _constants(graph: onnx.GraphProto) -> set[str]:
    """Names of initializers and of everything computed from them alone."""
    names = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if all(name in names for name in node.input if name):
            names.update(node.output)
    return names


def _is_quantized_next(name: str, consumers: dict[str, list[onnx.NodeProto]]) -> bool:
    return any(
        node.op_type == "QuantizeLinear"
        or (node.op_type in _KEEPS_QUANTIZATION and _is_quantized_next(node.output[0], consumers))
        for node in consumers.get(name, ())
    )
