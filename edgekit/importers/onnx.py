"""Imports ONNX files (NCHW, from PyTorch, tf2onnx or Keras) into the NHWC graph.

`onnx_file` reads, `onnx_view` keeps the book of layouts, `onnx_ops` is the table of ops, `onnx_fold` computes what is
constant, `onnx_patterns` puts together what exporters took apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgekit import __version__
from edgekit.errors import GraphError, ImportFileError, UnsupportedOpError
from edgekit.graph.ir import Graph
from edgekit.graph.validate import check_finite, validate
from edgekit.importers.onnx_context import ImportContext, Value
from edgekit.importers.onnx_file import read_onnx
from edgekit.importers.onnx_fold import FOLDS, fold
from edgekit.importers.onnx_inputs import add_inputs
from edgekit.importers.onnx_model import OnnxModel, OnnxNode
from edgekit.importers.onnx_names import clean
from edgekit.importers.onnx_ops import CONVERTERS, remedy
from edgekit.importers.onnx_patterns import recognise_patterns
from edgekit.importers.onnx_view import View


def import_onnx(
    path_or_bytes: Path | str | bytes, *, name: str | None = None, input_shape: Sequence[int] | None = None
) -> Graph:
    """Read a float ONNX file of opset 11 or newer as a graph with float32 weights.

    Images become NHWC, whatever they were (an output that the file makes NHWC stays so); an open batch becomes 1.
    input_shape: the shape of the file's only input, in the file's own layout, where dimensions besides the batch are
    open. name: the graph's (by default the file's).
    Raises ImportFileError for a file that cannot be read or taken, UnsupportedOpError for an op outside the table,
    GraphError for weights that hold NaN or infinity.
    """
    model = read_onnx(path_or_bytes)
    title = name or _title(path_or_bytes, model)
    context = ImportContext(model, title)
    add_inputs(context, input_shape)
    for node in model.nodes:
        _import_node(context, node)
    graph = context.graph
    for output in model.outputs:
        graph.outputs = (*graph.outputs, _output(context, output))
    recognise_patterns(graph)
    file_name = "bytes" if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).name
    graph.metadata = {
        "model": {"name": title},
        "weights": {"source": "file", "name": file_name, "sha256": model.sha256},
        "edgekit": __version__,
    }
    check_finite(graph, model.source)
    return validate(graph, f"importing {model.source}")


def _title(path_or_bytes: Path | str | bytes, model: OnnxModel) -> str:
    return clean(model.graph_name) if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).stem


def _import_node(context: ImportContext, node: OnnxNode) -> None:
    source = context.model.source
    try:
        values = _values(context, node)
    except UnsupportedOpError:
        raise
    except (ImportFileError, GraphError) as problem:
        raise ImportFileError(f"{source}: node {node.label!r} ({node.op}): {problem}") from None
    for output, value in zip(node.outputs, values, strict=False):
        if output in context.values:
            raise ImportFileError(f"{source}: node {node.label!r} ({node.op}): makes {output!r} a second time")
        if output:
            context.values[output] = value


def _values(context: ImportContext, node: OnnxNode) -> list[Value]:
    op = node.op if not node.domain else f"{node.domain}::{node.op}"
    inputs = [context.value(name) if name else None for name in node.inputs]
    if op in FOLDS and not any(isinstance(value, View) for value in inputs):
        return list(fold(node, [None if isinstance(value, View) else value for value in inputs]))
    if op not in CONVERTERS:
        raise UnsupportedOpError(op, node.label, f"{context.model.source}: the ONNX importer", remedy(op))
    context.enter(node)
    with np.errstate(all="ignore"):  # what overflows becomes infinity, which `check_finite` names
        return CONVERTERS[op](context, node)


def _output(context: ImportContext, name: str) -> str:
    """The tensor of a graph output: NHWC for images, in ONNX's order otherwise. Each output has a tensor of its own."""
    where = f"{context.model.source}: output {name!r}"
    value = context.values.get(name)
    if value is None:
        raise ImportFileError(f"{where} is made by no node")
    if not isinstance(value, View):
        raise ImportFileError(f"{where} does not depend on the input")
    if not 1 <= value.rank <= 4:
        raise ImportFileError(f"{where} has shape {value.shape}: edgekit takes up to four dimensions")
    order = context.order_for(value) if value.rank in (2, 4) else tuple(range(value.rank))
    try:
        tensor = context.place(value, order)
    except (ImportFileError, GraphError) as problem:
        raise ImportFileError(f"{where} {problem}") from None
    taken = tensor in (*context.graph.inputs, *context.graph.outputs)
    return tensor if not taken else context.emit("identity", [tensor], name=context.unique(clean(name)))
