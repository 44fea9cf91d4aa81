"""Every invariant of the graph, in one place. Runs after building, importing, each pass, and before export."""

from __future__ import annotations

import numpy as np

from edgekit.errors import GraphError, ShapeError
from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.ops import OPS, complete_attrs, infer_shapes
from edgekit.graph.quant_params import RANGES

DTYPES = ("float32", "float16", "bool", "int64", *RANGES)


def validate(graph: Graph, step: str = "building") -> Graph:
    """Return `graph` if every invariant holds. Raises GraphError "after STEP: PROBLEM"."""
    try:
        _check_tensors(graph)
        _check_nodes(graph)
        _check_ends(graph)
    except GraphError as problem:
        raise type(problem)(f"after {step}: {problem}") from None
    return graph


def check_finite(graph: Graph, source: str) -> None:
    """Raise GraphError naming the first constant that holds NaN or infinity; `source` says where it came from."""
    for tensor in graph.constants():
        if tensor.array.dtype.kind == "f" and not np.isfinite(tensor.array).all():
            count = int((~np.isfinite(tensor.array)).sum())
            raise GraphError(
                f"{source}: {tensor.name!r} holds {count} NaN or infinite values; export needs finite weights"
            )


def _check_tensors(graph: Graph) -> None:
    for name, tensor in graph.tensors.items():
        if name != tensor.name:
            raise GraphError(f"tensor {tensor.name!r} is filed under {name!r}")
        if tensor.dtype not in DTYPES:
            raise GraphError(f"tensor {name!r} has dtype {tensor.dtype!r}")
        if any(not isinstance(d, int) or d < 1 for d in tensor.shape):
            raise GraphError(f"tensor {name!r} has shape {tensor.shape}; every dimension must be a positive integer")
        if tensor.data is not None and (tensor.data.shape != tensor.shape or tensor.data.dtype.name != tensor.dtype):
            raise GraphError(f"constant {name!r} holds {tensor.data.dtype}{tensor.data.shape}")
        if tensor.quant is not None:
            _check_quant(tensor)


def _check_quant(tensor: Tensor) -> None:
    quant = tensor.quant
    if quant is None:
        return
    if quant.dtype != tensor.dtype:
        raise GraphError(f"tensor {tensor.name!r} is {tensor.dtype} but quantized as {quant.dtype}")
    if quant.axis is not None and (
        not 0 <= quant.axis < len(tensor.shape) or tensor.shape[quant.axis] != len(quant.scale)
    ):
        raise GraphError(f"{len(quant.scale)} scales on axis {quant.axis} do not fit {tensor.name!r} {tensor.shape}")
    if tensor.data is None and quant.axis is not None:
        raise GraphError(f"activation {tensor.name!r} has per-channel scales")


def _check_nodes(graph: Graph) -> None:
    made = {*graph.inputs, *(t.name for t in graph.constants())}
    names: set[str] = set()
    for node in graph.nodes:
        if node.name in names:
            raise GraphError(f"two nodes are called {node.name!r}")
        names.add(node.name)
        _check_node(graph, node)
        for name in node.inputs:
            if name not in made:
                raise GraphError(f"node {node.name!r} reads {name!r} before it is made")
        for name in node.outputs:
            if name in made:
                raise GraphError(f"tensor {name!r} is made twice, the second time by node {node.name!r}")
            made.add(name)


def _check_node(graph: Graph, node: Node) -> None:
    where = f"node {node.name!r} ({node.op})"
    if node.op not in OPS:
        raise GraphError(f"{where}: no such op in the table")
    if complete_attrs(node.op, node.attrs) != dict(node.attrs):
        raise GraphError(f"{where}: attributes are not complete")
    try:
        shapes = infer_shapes(node.op, [graph.shape(i) for i in node.inputs], node.attrs)
    except ShapeError as problem:
        raise ShapeError(f"{where}: {problem}") from None
    if len(shapes) != len(node.outputs):
        raise GraphError(f"{where}: makes {len(shapes)} tensors, names {len(node.outputs)}")
    for name, shape in zip(node.outputs, shapes, strict=True):
        if graph.shape(name) != shape:
            raise GraphError(f"{where}: output {name!r} is {graph.shape(name)}, should be {shape}")
    _check_dtypes(graph, node, where)


def _check_dtypes(graph: Graph, node: Node, where: str) -> None:
    source, result = graph.tensor(node.inputs[0]), graph.tensor(node.output)
    if node.op == "quantize" and result.quant is None:
        raise GraphError(f"{where}: output {result.name!r} has no quantization")
    if node.op == "dequantize" and (source.quant is None or result.quant is not None):
        raise GraphError(f"{where}: goes from quantized to float")
    if node.op not in ("quantize", "dequantize") and source.dtype != result.dtype:
        raise GraphError(f"{where}: turns {source.dtype} into {result.dtype}")


def _check_ends(graph: Graph) -> None:
    if not graph.inputs or not graph.outputs:
        raise GraphError(f"graph {graph.name!r} needs inputs and outputs")
    made = {*graph.inputs, *(o for n in graph.nodes for o in n.outputs)}
    for name in graph.outputs:
        if name not in made:
            raise GraphError(f"graph output {name!r} is made by no node")
    for name in graph.inputs:
        if graph.tensor(name).is_constant:
            raise GraphError(f"graph input {name!r} is a constant")
