"""Runs a graph in numpy: the oracle of the tests and of every pass.

Float graphs run through the op table's references; quantized graphs through `integer_kernels`, which follow TFLite's
integer arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.errors import GraphError
from edgekit.graph.integer_kernels import run_integer_node
from edgekit.graph.ir import Array, Graph, Node
from edgekit.graph.ops import op_spec


def interpret(graph: Graph, feeds: Mapping[str, Array], *, keep: bool = False) -> dict[str, Array]:
    """Run the graph on `feeds` (input name -> array of the input's shape and dtype).

    Returns the outputs by name, with `keep` every activation. Raises GraphError where a feed is missing or misshapen.
    """
    values: dict[str, Array] = {}
    for name in graph.inputs:
        tensor = graph.tensor(name)
        if name not in feeds or feeds[name].shape != tensor.shape or feeds[name].dtype != tensor.dtype:
            given = f"{feeds[name].dtype}{feeds[name].shape}" if name in feeds else "nothing"
            raise GraphError(f"input {name!r} takes {tensor.dtype}{tensor.shape}, got {given}")
        values[name] = feeds[name]
    for node in graph.nodes:
        arrays = [_value(graph, values, name) for name in node.inputs]
        values.update(zip(node.outputs, run_node(graph, node, arrays), strict=True))
    return values if keep else {name: values[name] for name in graph.outputs}


def run_node(graph: Graph, node: Node, inputs: list[Array]) -> list[Array]:
    """Run one node on given input arrays (constants included)."""
    quantized = any(graph.tensor(name).quant for name in (*node.inputs, *node.outputs))
    if quantized:
        return run_integer_node(graph, node, inputs)
    reference = op_spec(node.op).reference
    if reference is None:
        raise GraphError(f"node {node.name!r}: op {node.op} needs quantized tensors")
    return reference([a.astype("float32") if a.dtype == "float16" else a for a in inputs], node.attrs)


def _value(graph: Graph, values: Mapping[str, Array], name: str) -> Array:
    return values[name] if name in values else graph.tensor(name).array
