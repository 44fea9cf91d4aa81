"""What the passes share: visiting nodes, taking one out, and letting one take over another's output.

A tensor's name stands for its value. So a node that absorbs its follower keeps its own name and writes the follower's
tensor: names in the float graph and in the rewritten one can be compared, and graph outputs keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from edgekit.errors import GraphError
from edgekit.graph import Graph, Node, Tensor
from edgekit.graph.ir import Array, Attr

Rewrite = Callable[[Graph, Node], bool]
"""Looks at one node; rewrites the graph around it and returns True, or leaves the graph as it is."""


def rewrite_each(graph: Graph, ops: Collection[str], rewrite: Rewrite) -> int:
    """Offer every node of these ops, in order, to `rewrite`; drop what is left over; return how many it rewrote."""
    count = 0
    for name in [n.name for n in graph.nodes if n.op in ops]:
        node = next((n for n in graph.nodes if n.name == name), None)
        if node is not None and node.op in ops:
            count += rewrite(graph, node)
    if count:
        graph.drop_unused()
    return count


def bypass(graph: Graph, node: Node) -> str | None:
    """Take out a node whose output equals its first input; None, or why it must stay.

    A graph output keeps its name: the node before writes it.
    """
    source, result = node.inputs[0], node.output
    if result not in graph.outputs:
        graph.remove_node(node)
        graph.replace_uses(result, source)
        return None
    maker = graph.producer(source)
    if maker is None:
        return f"graph output {result!r} would be {source!r}, which no node makes"
    if source in graph.outputs:
        return f"graph outputs {source!r} and {result!r} would be one tensor"
    graph.remove_node(node)
    graph.replace_node(maker, replace(maker, outputs=tuple(result if o == source else o for o in maker.outputs)))
    graph.replace_uses(source, result)
    return None


def absorb(graph: Graph, producer: Node, follower: Node, **attrs: Attr) -> Node:
    """Remove `follower`, the only reader of `producer`, which takes over its output and some changed attributes."""
    merged = replace(producer.with_attrs(**attrs), outputs=follower.outputs)
    graph.remove_node(follower)
    graph.replace_node(producer, merged)
    return merged


def escapes(graph: Graph, name: str, reader: Node) -> str | None:
    """Why `reader` is not the only one that sees tensor `name`; None if it is."""
    if name in graph.outputs:
        return f"{name!r} is a graph output"
    others = [n.name for n in graph.consumers(name) if n.name != reader.name]
    return f"{name!r} is read by {', '.join(others)} too" if others else None


def put_constant(graph: Graph, node: Node, position: int, name: str, value: Array) -> Node:
    """Give `node` a new float32 constant as input `position` (appended if it has none there); return the new node.

    The old constant is overwritten where nobody else reads it; otherwise `name` (made unique) is added.
    Raises GraphError if a float64 value does not fit float32.
    """
    data = to_float32(value, node.name)
    if position < len(node.inputs):
        old = graph.tensor(node.inputs[position])
        alone = len(graph.consumers(old.name)) == 1 and node.inputs.count(old.name) == 1
        if old.is_constant and old.dtype == "float32" and alone:
            graph.set_tensor(old.with_data(data))
            return node
    added = graph.add_tensor(Tensor.constant(graph.unique_name(name), data)).name
    changed = replace(node, inputs=(*node.inputs[:position], added, *node.inputs[position + 1 :]))
    graph.replace_node(node, changed)
    return changed


def to_float32(value: Array, node: str) -> Array:
    """`value` rounded to float32. Raises GraphError if it holds NaN or overflows."""
    with np.errstate(over="ignore"):
        rounded: Array = np.ascontiguousarray(value, np.float32)
    if not np.isfinite(rounded).all():
        count = int((~np.isfinite(rounded)).sum())
        raise GraphError(f"folding into node {node!r} gives {count} NaN or infinite weights; check the model's weights")
    return rounded
