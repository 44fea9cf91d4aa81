"""Activations that are made of others: as multiplications, additions, sigmoid and relu6."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node, Tensor
from edgekit.graph.ops import complete_attrs
from edgekit.passes.rewriting import rewrite_each


def lower_composites(graph: Graph) -> int:
    """Write swish as x * sigmoid(x), and hard_sigmoid as relu6(6 slope x + 6 offset) / 6; return how many.

    A factor of 1 and an offset of 0 are left out: the usual hard_sigmoid is relu6(x + 3) * (1 / 6).
    """
    return rewrite_each(graph, ("swish",), _lower_swish) + rewrite_each(graph, ("hard_sigmoid",), _lower_hard_sigmoid)


def _lower_swish(graph: Graph, node: Node) -> bool:
    gate = _step(graph, node, "sigmoid", node.inputs, "sigmoid")
    product = replace(node, op="mul", inputs=(node.inputs[0], gate.output), attrs=complete_attrs("mul", {}))
    graph.replace_node(node, gate, product)
    return True


def _lower_hard_sigmoid(graph: Graph, node: Node) -> bool:
    """clip(s x + o, 0, 1) = clip(6 s x + 6 o, 0, 6) / 6."""
    slope, offset = np.float32(6 * node.attrs["slope"]), np.float32(6 * node.attrs["offset"])
    steps, value = [], node.inputs[0]
    for op, suffix, number, neutral in (("mul", "scaled", slope, 1), ("add", "shifted", offset, 0)):
        if number != neutral:
            steps.append(_step(graph, node, op, (value, _number(graph, node, suffix, number)), suffix))
            value = steps[-1].output
    clipped = _step(graph, node, "relu6", (value,), "clipped")
    sixth = _number(graph, node, "sixth", np.float32(1 / 6))
    last = replace(node, op="mul", inputs=(clipped.output, sixth), attrs=complete_attrs("mul", {}))
    graph.replace_node(node, *steps, clipped, last)
    return True


def _step(graph: Graph, node: Node, op: str, inputs: tuple[str, ...], suffix: str) -> Node:
    """A node whose output has the shape of `node`'s; its name is unique, and its tensor is added."""
    name = graph.unique_name(f"{node.name}/{suffix}")
    graph.add_tensor(Tensor(name, graph.shape(node.output)))
    return Node(name, op, inputs, (name,), complete_attrs(op, {}))


def _number(graph: Graph, node: Node, suffix: str, value: np.float32) -> str:
    name = graph.unique_name(f"{node.name}/{suffix}_by")
    return graph.add_tensor(Tensor.constant(name, np.array([value], np.float32))).name
