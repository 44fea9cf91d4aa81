"""TFLite's int8 rules as assertions over a whole graph, and node-by-node comparison with the runtime."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tflite_helpers import activations, run_tflite

from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph, Node
from edgekit.graph.interpret import run_node
from edgekit.graph.ir import Array
from edgekit.graph.ops import op_spec
from edgekit.graph.validate import validate
from edgekit.quantize.xnnpack_forms import FLOAT_OPS

SINGLE_PRECISION = 2e-6
"""Of a few float operations, as a share of the largest value."""


def assert_int8_rules(graph: Graph) -> None:
    """Every activation has one scale, and all rules of the op table hold. io int8; what is float lies between two
    conversions.
    """
    validate(graph, "test")
    floats = {n for node in graph.nodes if node.op == "dequantize" for n in node.outputs}
    floats |= {n for node in graph.nodes if node.op == "quantize" for n in node.inputs}
    floats = {name for name in floats if graph.tensor(name).quant is None}
    assert all(set(node.outputs) <= floats for node in graph.nodes if node.op in FLOAT_OPS and floats & {*node.inputs})
    for name, tensor in graph.tensors.items():
        if not tensor.is_constant and name not in floats:
            assert tensor.dtype == "int8", name
            assert tensor.quant is not None, name
            assert tensor.quant.axis is None, name
    for node in graph.nodes:
        if not floats & {*node.inputs, *node.outputs}:
            _assert_node_rules(graph, node)


def _assert_node_rules(graph: Graph, node: Node) -> None:
    spec = op_spec(node.op)
    quants = [graph.tensor(name).quant for name in (*node.inputs, *node.outputs)]
    if spec.same_scale:
        assert all(q == quants[0] for q in quants), node.name
    result = graph.tensor(node.output).quant
    if spec.fixed_scale is not None and result is not None:
        assert (result.scale[0], result.zero_point[0]) == spec.fixed_scale, node.name
    if node.op in ("conv2d", "dense"):
        x, kernel, bias = (graph.tensor(name) for name in node.inputs)
        assert (kernel.dtype, kernel.quant.axis) == ("int8", len(kernel.shape) - 1), node.name
        assert kernel.array.min() >= -127, node.name
        assert (bias.dtype, bias.quant.axis, bias.shape) == ("int32", 0, (kernel.shape[-1],)), node.name
        product = np.float32(np.asarray(kernel.quant.scale) * x.quant.scale[0])
        np.testing.assert_array_equal(np.float32(bias.quant.scale), product)
    else:
        assert all(graph.tensor(name).dtype == "int8" for name in node.inputs if graph.tensor(name).is_constant)


def node_differences(graph: Graph, feeds: dict[str, Array]) -> Iterator[tuple[Node, Array]]:
    """Each node of an int8 graph with |XNNPACK - numpy| of its outputs, numpy reading the runtime's own tensors.

    Integers in steps; floats as shares of the largest, 0 where they are equal to single precision.
    """
    exposed = [name for name in activations(graph) if name not in graph.outputs]
    seen = {**feeds, **run_tflite(tflite_bytes(graph, expose=exposed), feeds)}
    for node in graph.nodes:
        inputs = [seen[name] if name in seen else graph.tensor(name).array for name in node.inputs]
        for name, value in zip(node.outputs, run_node(graph, node, inputs), strict=True):
            difference = np.abs(seen[name].astype(np.float64) - value)
            if graph.tensor(name).quant is None:
                difference /= max(np.abs(value).max(), 1e-30)
                difference[difference < SINGLE_PRECISION] = 0
            yield node, difference
