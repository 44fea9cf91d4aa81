"""ReLU and ReLU6 to where the layers before them can fuse them: in front of concats, shuffles and pools."""

from __future__ import annotations

from dataclasses import replace

from edgekit.graph import Graph, Node
from edgekit.graph.ops import complete_attrs, op_spec
from edgekit.graph.signs import is_non_negative
from edgekit.passes.fuse_activations import FUSING
from edgekit.passes.refusals import refuse
from edgekit.passes.rewriting import escapes, rewrite_each


def hoist_activations(graph: Graph) -> int:
    """Move each relu and relu6 in front of the ops before it that only hand values on; return how many steps.

    max(x, 0) commutes with what moves data and with max_pool. A relu or relu6 moves only where every value then comes
    from a layer that can fuse it or, for a relu, is known not to be negative: it costs nothing there, whereas behind a
    concat it takes a pass over memory, and int8 has to spend half of its steps on negative numbers that are cut off.
    """
    return rewrite_each(graph, ("relu", "relu6"), _hoist)


def _hoist(graph: Graph, node: Node) -> bool:
    mover = graph.producer(node.inputs[0])
    if mover is None or not _hands_on(mover):
        return False
    reason = _obstacle(graph, node, node.inputs[0], node)
    if reason:
        refuse(node, reason)
        return False
    inputs = {}
    for name in dict.fromkeys(mover.inputs):
        inputs[name] = name if _settled(graph, node, name) else _activated(graph, mover, node, name)
    graph.remove_node(node)
    graph.replace_node(mover, replace(mover, inputs=tuple(inputs[n] for n in mover.inputs), outputs=node.outputs))
    return True


def _hands_on(node: Node) -> bool:
    """Whether each output value of a node is one of its input values, or 0."""
    if len(node.outputs) > 1 or (node.op == "pad" and node.attrs["value"] != 0):
        return False
    return node.op in ("max_pool", "dropout") or op_spec(node.op).moves_data


def _settled(graph: Graph, activation: Node, name: str) -> bool:
    """Whether the activation changes nothing of tensor `name`."""
    return activation.op == "relu" and is_non_negative(graph, name)


def _obstacle(graph: Graph, activation: Node, name: str, reader: Node) -> str | None:
    """Why the values of `name`, which `reader` reads, cannot be activated where they are made; None if they can."""
    if _settled(graph, activation, name):
        return None
    producer = graph.producer(name)
    if producer is None:
        return f"{name!r} is made by no node"
    if producer.op not in FUSING and not _hands_on(producer):
        return f"{producer.name} ({producer.op}) has no fused activation"
    reason = escapes(graph, name, reader)
    if reason or producer.op in FUSING:
        return reason
    found = (_obstacle(graph, activation, source, producer) for source in producer.inputs)
    return next((reason for reason in found if reason), None)


def _activated(graph: Graph, mover: Node, activation: Node, name: str) -> str:
    """A new tensor that holds the activation of `name`, made just before `mover`."""
    made = graph.unique_name(f"{name}/{activation.op}")
    graph.add_tensor(replace(graph.tensor(name), name=made))
    graph.add_node(Node(made, activation.op, (name,), (made,), complete_attrs(activation.op, {})), before=mover)
    return made
