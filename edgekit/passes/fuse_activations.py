"""ReLU and ReLU6 into the layer before them."""

from __future__ import annotations

from edgekit.graph import Graph, Node
from edgekit.passes.refusals import refuse
from edgekit.passes.rewriting import absorb, escapes, rewrite_each

FUSING = ("conv2d", "dense", "add", "mul")
"""Ops with an `activation` attribute."""


def fuse_activations(graph: Graph) -> int:
    """Fuse each relu and relu6 into the conv2d, dense, add or mul that only it reads; return how many.

    Left alone where the value before the activation is read elsewhere or is a graph output.
    """
    return rewrite_each(graph, ("relu", "relu6"), _fuse)


def _fuse(graph: Graph, node: Node) -> bool:
    reason = _blocked(graph, node)
    if reason:
        refuse(node, reason)
    return reason is None


def _blocked(graph: Graph, node: Node) -> str | None:
    """Fuse `node`; None, or why it cannot be."""
    source = node.inputs[0]
    producer = graph.producer(source)
    if producer is None:
        return "no node comes before it"
    if producer.op not in FUSING:
        return f"{producer.name} before it ({producer.op}) has no fused activation"
    reason = escapes(graph, source, node)
    if reason is None:
        both = (producer.attrs["activation"], node.op)
        absorb(graph, producer, node, activation="relu6" if "relu6" in both else "relu")
    return reason
