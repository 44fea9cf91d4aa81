"""Batch norm that nothing could take: as ops that every runtime runs in int8."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node, Tensor
from edgekit.graph.ops import complete_attrs
from edgekit.passes.affine import Affine, read_batch_norm
from edgekit.passes.refusals import refuse
from edgekit.passes.rewriting import rewrite_each, to_float32


def lower_batch_norm(graph: Graph) -> int:
    """Turn each batch_norm into a depthwise 1x1 convolution with bias; return how many.

    A convolution has one int8 weight scale a channel, where a mul by a constant has one for all: it is closer to
    float and faster, in TFLite and in onnxruntime, and takes the ReLU that follows (pre-activation networks:
    DenseNet, CondenseNet). Tensors that are not (N, H, W, C) get a mul and an add. Computed statistics are refused.
    Raises GraphError for a variance + epsilon that is not positive.
    """
    return rewrite_each(graph, ("batch_norm",), _lower)


def _lower(graph: Graph, node: Node) -> bool:
    affine = read_batch_norm(graph, node)
    if affine is None:
        refuse(node, "its statistics are computed, not constant")
        return False
    if len(graph.shape(node.output)) == 4:
        graph.replace_node(node, _depthwise(graph, node, affine))
    else:
        graph.replace_node(node, *_mul_add(graph, node, affine))
    return True


def _depthwise(graph: Graph, node: Node, affine: Affine) -> Node:
    kernel = _constant(graph, f"{node.name}/kernel", to_float32(affine.scale.reshape(1, 1, 1, -1), node.name))
    bias = _constant(graph, f"{node.name}/bias", to_float32(affine.shift, node.name))
    attrs = complete_attrs("conv2d", {"groups": len(affine.scale)})
    return replace(node, op="conv2d", inputs=(affine.source, kernel, bias), attrs=attrs)


def _mul_add(graph: Graph, node: Node, affine: Affine) -> tuple[Node, Node]:
    factor = _constant(graph, f"{node.name}/factor", to_float32(affine.scale, node.name))
    offset = _constant(graph, f"{node.name}/offset", to_float32(affine.shift, node.name))
    name = graph.unique_name(f"{node.name}/scaled")
    scaled = graph.add_tensor(Tensor(name, graph.shape(node.output))).name
    mul = Node(name, "mul", (affine.source, factor), (scaled,), complete_attrs("mul", {}))
    return mul, replace(node, op="add", inputs=(scaled, offset), attrs=complete_attrs("add", {}))


def _constant(graph: Graph, wish: str, data: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    return graph.add_tensor(Tensor.constant(graph.unique_name(wish), data)).name
