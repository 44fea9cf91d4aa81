"""Writes ONNX: float32, float16 weights, or int8 in QDQ form, from one graph. Same graph, same bytes.

Activations of rank 4 are NCHW in the file. Tensors bear the graph's names: files can be compared layer by layer.
"""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from edgekit.errors import GraphError, ImportFileError, ModelError
from edgekit.export.onnx_emitter import Emitter, OnnxNode
from edgekit.export.onnx_layout import onnx_order
from edgekit.export.onnx_ops import write_graph
from edgekit.graph.ir import Graph, Tensor

LOWEST_OPSET = 14
"""HardSwish needs 14, DequantizeLinear per channel 13; onnxruntime runs opset 14 since its version 1.8."""

HIGHEST_OPSET = 21
"""The newest that the oldest supported onnx package (1.16) can check."""

METADATA_KEY = "edgekit"
LAYOUT_KEY = "edgekit.layout"
SCALE_KEY = "edgekit.scale."
ZERO_POINT_KEY = "edgekit.zero_point."


def onnx_bytes(graph: Graph, *, opset: int = LOWEST_OPSET, expose: Sequence[str] = ()) -> bytes:
    """The graph as an ONNX file, checked with shape inference; NCHW, batch as in the graph.

    A quantized graph becomes QDQ: uint8 activations, int8 weights per channel, int32 biases. Inputs and outputs keep
    the graph's dtypes; their scales and zero points stand in the metadata. `expose` names activations that become
    further float32 outputs.
    Raises ModelError for an opset outside 14 to 21, GraphError for an unknown tensor or a graph that makes no valid
    file, UnsupportedOpError for an op that cannot be written.
    """
    if not LOWEST_OPSET <= opset <= HIGHEST_OPSET:
        raise ModelError(f"ONNX opset {opset} cannot be written: choose {LOWEST_OPSET} to {HIGHEST_OPSET}")
    shown = _exposed(graph, expose)
    model = _model(graph, write_graph(graph), shown, opset)
    _check(model, graph.name)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def read_edgekit_metadata(data: bytes) -> dict[str, Any] | None:
    """The metadata of the graph that an ONNX file was written from; None for a file of other origin.

    Raises ImportFileError where the bytes are no ONNX file.
    """
    import onnx

    decode_error: type[Exception] = importlib.import_module("google.protobuf.message").DecodeError
    try:
        model = onnx.load_model_from_string(data)
    except decode_error as error:
        raise ImportFileError(f"not a whole ONNX file ({error}): export or copy it again") from error
    text = next((p.value for p in model.metadata_props if p.key == METADATA_KEY), None)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ImportFileError(
            f"the ONNX file's {METADATA_KEY!r} metadata are damaged ({error}): export it again"
        ) from error
    return found if isinstance(found, dict) else None


def _exposed(graph: Graph, expose: Sequence[str]) -> list[Tensor]:
    """The tensors that become further outputs; inputs and outputs of the graph are at hand already."""
    shown = []
    for name in dict.fromkeys(expose):
        tensor = graph.tensors.get(name)
        if tensor is None or tensor.is_constant:
            near = difflib.get_close_matches(name, [t.name for t in graph.tensors.values() if not t.is_constant], 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise GraphError(f"graph {graph.name!r} has no activation {name!r} to expose{hint}")
        if name not in graph.inputs and name not in graph.outputs:
            shown.append(tensor)
    return shown


def _model(graph: Graph, emitter: Emitter, shown: Sequence[Tensor], opset: int) -> Any:
    from onnx import helper, numpy_helper

    outputs = [graph.tensor(name) for name in graph.outputs]
    nodes = _needed([*graph.outputs, *(t.name for t in shown)], emitter.nodes)
    used = {name for node in nodes for name in node.inputs}
    body = helper.make_graph(
        [helper.make_node(n.op, n.inputs, n.outputs, n.name, **n.attrs) for n in nodes],
        graph.name,
        [_value_info(graph.tensor(name)) for name in graph.inputs],
        [_value_info(tensor) for tensor in outputs] + [_value_info(tensor, "float32") for tensor in shown],
        [numpy_helper.from_array(data, name) for name, data in emitter.initializers.items() if name in used],
    )
    version = helper.make_opsetid("", opset)
    ir_version = helper.find_min_ir_version_for([version])
    model = helper.make_model(body, opset_imports=[version], ir_version=ir_version, producer_name="edgekit")
    helper.set_model_props(model, dict(_metadata(graph)))
    return model


def _needed(outputs: Sequence[str], nodes: Sequence[OnnxNode]) -> list[OnnxNode]:
    """The nodes that the outputs depend on: onnxruntime would run the others too."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]


def _value_info(tensor: Tensor, dtype: str | None = None) -> Any:
    import numpy as np
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype or tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, kind, onnx_order(tensor.shape))


def _metadata(graph: Graph) -> Iterator[tuple[str, str]]:
    yield METADATA_KEY, json.dumps(graph.metadata, sort_keys=True, ensure_ascii=False)
    yield LAYOUT_KEY, "NCHW"
    for name in dict.fromkeys((*graph.inputs, *graph.outputs)):
        quant = graph.tensor(name).quant
        if quant is not None:
            yield SCALE_KEY + name, repr(quant.scale[0])
            yield ZERO_POINT_KEY + name, str(quant.zero_point[0])


def _check(model: Any, name: str) -> None:
    from onnx import checker, shape_inference

    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise GraphError(f"graph {name!r} makes no valid ONNX file: {error}") from error
