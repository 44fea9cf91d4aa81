"""What the tests of channel fusion share: integer forms, exact comparison, targets with extreme prices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Array
from edgekit.passes.target import DEFAULT_TFLITE, Shapes, Target
from edgekit.quantize.assign import QuantizeOptions, quantize_graph
from edgekit.quantize.calibrate import calibrate


def feeds_of(graph: Graph, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.integers(-128, 128, graph.shape(name)).astype(np.int8)
        if graph.tensor(name).dtype == "int8"
        else rng.normal(0, 1, graph.shape(name)).astype(np.float32)
        for name in graph.inputs
    }


def int8_of(graph: Graph) -> Graph:
    samples = [feeds_of(graph, seed)["input"] for seed in range(2)]
    statistics = calibrate(graph, lambda x: interpret(graph, {"input": x}, keep=True), samples, channel_axis=3)
    return quantize_graph(graph, statistics, QuantizeOptions())


def assert_exact(before: Graph, after: Graph, seed: int = 3) -> None:
    """Same ends; integers equal to the bit, floats within 1e-5 of the largest."""
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    feeds = feeds_of(before, seed)
    expected, actual = interpret(before, feeds, keep=True), interpret(after, feeds, keep=True)
    for name in expected.keys() & actual.keys():
        if expected[name].dtype.kind == "f":
            atol = 1e-5 * float(np.abs(expected[name]).max())
            np.testing.assert_allclose(actual[name], expected[name], rtol=1e-5, atol=atol, err_msg=name)
        else:
            np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


def retargeted(*, mac: float = 0.0, gather: float = 1e4, concat_inputs: int = 3) -> Target:
    """A target on which data movement is dear and, by default, arithmetic is free."""
    both = replace(DEFAULT_TFLITE.int8, mac=mac, depthwise_mac=mac, output=mac, gather_overhead=gather)
    return Target("test", both, both, concat_inputs)


class TiledTarget(Target):
    """Computes each group's outputs in tiles of 8 channels; depthwise layers of other multiples than 8 are dear."""

    def node_ns(self, graph: Shapes, node: Node) -> float:
        if node.op != "conv2d":
            return super().node_ns(graph, node)
        size, channels = graph.tensor(node.output).size, graph.shape(node.output)[-1]
        groups, taps = node.attrs["groups"], int(np.prod(graph.shape(node.inputs[1])[:2]))
        if groups == graph.shape(node.inputs[0])[-1] > 1:
            return size * taps * (10.0 if channels % 8 else 1.0)
        width = channels // groups
        lanes = size // width * (-(-width // 8) * 8)
        return lanes * taps * graph.shape(node.inputs[1])[2] * 0.1 + groups


def tiled(base: Target = DEFAULT_TFLITE) -> Target:
    return TiledTarget("tiled", base.float32, base.int8, base.concat_inputs)
