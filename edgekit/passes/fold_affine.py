"""Folds a scale and shift into the constants of the node before it or after it, in float64.

Backward, into the node that makes x, is preferred: the scale lands on output channels, which int8 kernels quantize
one by one. Forward is exact only where no zero padding comes between.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.graph.ir import Array
from edgekit.passes.affine import Affine, Vector, read_batch_norm
from edgekit.passes.rewriting import absorb, escapes, put_constant

TARGETS = ("conv2d", "dense", "batch_norm")
"""Ops whose constants can take a scale and shift."""


def fold_affine(graph: Graph, node: Node, affine: Affine) -> str | None:
    """Fold `node`, which computes `affine`, into a neighbour; None, or why neither side takes it."""
    before = _fold_backward(graph, node, affine)
    if before is None:
        return None
    after = _fold_forward(graph, node, affine)
    return None if after is None else f"{before}; {after}"


def _fold_backward(graph: Graph, node: Node, affine: Affine) -> str | None:
    producer = graph.producer(affine.source)
    if producer is None:
        return "no node comes before it"
    if producer.op not in TARGETS:
        return f"{producer.name} before it ({producer.op}) has no weights"
    if producer.attrs.get("activation", "none") != "none":
        return f"{producer.name} has a fused {producer.attrs['activation']}"
    refusal = escapes(graph, affine.source, node) or _locked(graph, producer)
    if refusal:
        return refusal
    if producer.op == "batch_norm":
        if affine.activation != "none":
            return f"{producer.name} cannot fuse a {affine.activation}"
        absorb(graph, _scale_outputs(graph, producer, affine), node)
    else:
        absorb(graph, _scale_outputs(graph, producer, affine), node, activation=affine.activation)
    return None


def _fold_forward(graph: Graph, node: Node, affine: Affine) -> str | None:
    readers = graph.consumers(node.output)
    if not readers:
        return f"{node.output!r} is a graph output"
    consumer = readers[0]
    if consumer.op not in TARGETS:
        return f"{consumer.name} after it ({consumer.op}) has no weights"
    if node.output in consumer.inputs[1:]:
        return f"{consumer.name} reads it as weights"
    if affine.activation != "none":
        return f"{node.name} has a fused {affine.activation} before {consumer.name}"
    if any(consumer.attrs.get("padding", ())) and affine.shift.any():
        return f"{consumer.name} pads with zeros, which a shift would move"
    refusal = escapes(graph, node.output, consumer) or _locked(graph, consumer)
    if refusal:
        return refusal
    consumer = _scale_inputs(graph, consumer, affine)
    graph.replace_node(consumer, replace(consumer, inputs=(affine.source, *consumer.inputs[1:])))
    graph.remove_node(node)
    return None


def _locked(graph: Graph, target: Node) -> str | None:
    """Why the constants of `target` cannot change; None if they can."""
    for name in target.inputs[1:]:
        tensor = graph.tensor(name)
        if not tensor.is_constant:
            return f"{name!r} of {target.name} is computed, not constant"
        if tensor.dtype != "float32":
            return f"{name!r} of {target.name} is stored as {tensor.dtype}"
    kernel = target.inputs[1]
    sharers = [n.name for n in graph.consumers(kernel) if n.name != target.name]
    if sharers and target.op != "batch_norm":
        return f"{kernel!r} of {target.name} is shared with {', '.join(sharers)}"
    return None


def _scale_outputs(graph: Graph, target: Node, affine: Affine) -> Node:
    """Let `target` compute scale * y + shift instead of y."""
    if target.op == "batch_norm":
        gamma, beta = _double(graph, target, 1), _double(graph, target, 2)
        target = put_constant(graph, target, 1, f"{target.name}/gamma", gamma * affine.scale)
        return put_constant(graph, target, 2, f"{target.name}/beta", beta * affine.scale + affine.shift)
    kernel = _double(graph, target, 1) * affine.scale
    return _put_weights(graph, target, kernel, _bias(graph, target) * affine.scale + affine.shift)


def _scale_inputs(graph: Graph, target: Node, affine: Affine) -> Node:
    """Let `target` read x instead of scale * x + shift."""
    if target.op == "batch_norm":
        return _scale_batch_norm_input(graph, target, affine)
    kernel = _double(graph, target, 1)
    if target.op == "dense":
        moved = affine.shift @ kernel
        scaled = kernel * affine.scale[:, None]
    else:
        moved = (kernel * _by_input_channel(affine.shift, kernel, target)).sum(axis=(0, 1, 2))
        scaled = kernel * _by_input_channel(affine.scale, kernel, target)
    return _put_weights(graph, target, scaled, _bias(graph, target) + moved)


def _scale_batch_norm_input(graph: Graph, target: Node, affine: Affine) -> Node:
    after = read_batch_norm(graph, target)
    if after is None:
        return target
    gamma = _double(graph, target, 1) * affine.scale
    target = put_constant(graph, target, 1, f"{target.name}/gamma", gamma)
    target = put_constant(graph, target, 2, f"{target.name}/beta", after.shift + affine.shift * after.scale)
    return put_constant(graph, target, 3, f"{target.name}/mean", np.zeros_like(gamma))


def _by_input_channel(vector: Vector, kernel: Array, node: Node) -> Array:
    """A vector over input channels (C,) spread to (C / groups, O), as a grouped kernel reads them."""
    groups, outputs = node.attrs["groups"], kernel.shape[3]
    spread: Array = np.repeat(vector.reshape(groups, -1), outputs // groups, axis=0).T
    return spread


def _put_weights(graph: Graph, node: Node, kernel: Array, bias: Array) -> Node:
    node = put_constant(graph, node, 1, f"{node.name}/kernel", kernel)
    return put_constant(graph, node, 2, f"{node.name}/bias", bias)


def _bias(graph: Graph, node: Node) -> Array:
    """The bias in float64; zeros where there is none."""
    return _double(graph, node, 2) if len(node.inputs) == 3 else np.zeros(graph.shape(node.inputs[1])[-1])


def _double(graph: Graph, node: Node, position: int) -> Array:
    return graph.tensor(node.inputs[position]).array.astype(np.float64)
