"""Keeps scales within what the runtimes' fixed-point factors can hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from edgekit.graph.ir import Graph, Node
from edgekit.graph.ops import op_spec
from edgekit.graph.quant_params import QuantParams
from edgekit.quantize.weights import LEVELS, kernel_scales

FINEST = 1 / 64
"""Least step of an output, as a share of the step of the arithmetic that makes it.

A finer one would show only how the inputs were rounded. XNNPACK takes factors below 256, TFLite's hard_swish 128.
"""


def coarsen_scales(graph: Graph, groups: Iterable[Sequence[str]]) -> int:
    """Give activations that are far finer than what they are made from (those of dead layers) a greater scale.

    Activations have their scales, constants are float still; groups: activations that share one. Returns how many
    groups changed.
    """
    partners = {name: group for group in groups for name in group}
    count = 0
    for node in graph.nodes:
        spec, quant = op_spec(node.op), graph.tensor(node.output).quant
        if spec.same_scale or spec.fixed_scale is not None or quant is None:
            continue
        least = FINEST * _source_step(graph, node, quant.scale[0])
        if quant.scale[0] < least:
            coarser = QuantParams.per_tensor(least, quant.zero_point[0])
            for name in partners[node.output]:
                graph.set_tensor(replace(graph.tensor(name), quant=coarser))
            count += 1
    return count


def _source_step(graph: Graph, node: Node, output_scale: float) -> float:
    """What one step of the node's inputs is worth in its result: the greatest over channels and inputs."""
    first = _step(graph, node.inputs[0])
    if node.op in ("conv2d", "dense"):
        kernel, *bias = (np.asarray(graph.tensor(name).array, np.float32) for name in node.inputs[1:])
        bias = bias or [np.zeros(kernel.shape[-1], np.float32)]
        scales = kernel_scales(kernel, bias[0], first, output_scale)
        return first * float(scales.max())
    if len(node.inputs) == 1:
        return first
    second = _step(graph, node.inputs[1])
    return first * second if node.op == "mul" else max(first, second)


def _step(graph: Graph, name: str) -> float:
    """The scale of an activation, or about that of a constant."""
    tensor = graph.tensor(name)
    return float(np.abs(tensor.array).max()) / LEVELS if tensor.quant is None else tensor.quant.scale[0]
