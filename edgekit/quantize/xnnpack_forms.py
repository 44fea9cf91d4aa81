"""Forms that XNNPACK takes, for the int8 ops that it lacks; onnxruntime runs them no slower.

An op outside the delegate runs in TFLite's own kernel, one element at a time, and ends a partition.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.ops import complete_attrs
from edgekit.graph.quant_params import QuantParams

FLOAT_OPS = ("softmax", "hard_swish", "relu", "relu6", "avg_pool")
"""Ops that XNNPACK (of ai-edge-litert 2.3) has in float and not in int8."""

TAP = 64
"""Each weight of an averaging kernel."""

ABOVE_HALF = 1 + 2**-19
"""What averages are multiplied with, so that no runtime's last bit decides where exact halves go: away from zero."""


def use_xnnpack_forms(graph: Graph) -> int:
    """Rewrite what XNNPACK has no int8 kernel for, in a graph whose activations are int8; return how many nodes."""
    return average_by_convolution(graph) + compute_in_float(graph, FLOAT_OPS)


def average_by_convolution(graph: Graph) -> int:
    """Turn average pools that have no padding into depthwise convolutions of equal weights; return how many.

    The quotients are the same, in every runtime; exact halves go away from the zero point.
    """
    pools = [n for n in graph.nodes if n.op == "avg_pool" and graph.tensor(n.output).quant is not None]
    nodes = [n for n in pools if not any(n.attrs["padding"])]
    for node in nodes:
        channels, (height, width) = graph.shape(node.output)[3], node.attrs["kernel"]
        scales = np.full(channels, ABOVE_HALF / (TAP * height * width))
        kernel = np.full((height, width, 1, channels), TAP, np.int8)
        source = graph.tensor(node.inputs[0]).quant
        step = 1.0 if source is None else source.scale[0]
        params = QuantParams.per_channel(scales, axis=3)
        bias_params = QuantParams.per_channel(np.asarray(params.scale) * step, axis=0, dtype="int32")
        names = [graph.unique_name(f"{node.name}/{part}_int8") for part in ("kernel", "bias")]
        graph.add_tensor(Tensor.constant(names[0], kernel, params))
        graph.add_tensor(Tensor.constant(names[1], np.zeros(channels, np.int32), bias_params))
        attrs = complete_attrs("conv2d", {"strides": node.attrs["strides"], "groups": channels})
        graph.replace_node(node, replace(node, op="conv2d", inputs=(node.inputs[0], *names), attrs=attrs))
    return len(nodes)


def compute_in_float(graph: Graph, ops: Collection[str]) -> int:
    """Put each int8 node of these ops between `dequantize` and `quantize`; return how many."""
    nodes = [node for node in graph.nodes if node.op in ops and graph.tensor(node.output).quant is not None]
    floats: dict[str, str] = {}
    for node in nodes:
        (source,) = node.inputs
        before = [] if source in floats else [_dequantize(graph, source, floats)]
        result = graph.unique_name(f"{node.output}_float")
        graph.add_tensor(Tensor(result, graph.shape(node.output)))
        graph.replace_node(
            node,
            *before,
            replace(node, inputs=(floats[source],), outputs=(result,)),
            Node(graph.unique_name(f"{node.output}_quantize"), "quantize", (result,), node.outputs),
        )
    return len(nodes)


def _dequantize(graph: Graph, source: str, floats: dict[str, str]) -> Node:
    """A new node that makes `source` float, noted in `floats`."""
    name = floats[source] = graph.unique_name(f"{source}_float")
    graph.add_tensor(Tensor(name, graph.shape(source)))
    return Node(name, "dequantize", (source,), (name,))
