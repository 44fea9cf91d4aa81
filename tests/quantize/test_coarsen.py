from __future__ import annotations

import numpy as np
import pytest
from quantize_helpers import images, quantized, run_litert, run_onnx, scale_of, set_constant
from tflite_helpers import mobile_graph

from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.quantize.coarsen import FINEST
from edgekit.quantize.groups import scale_groups


def dead_convolution() -> Graph:
    """A relu that never opens over great weights, and a layer behind it that still has a bias."""
    b = GraphBuilder("dead", (1, 6, 6, 3))
    x = b.conv2d("input", 4, 3, bias=True, name="dead")
    set_constant(b, "dead/kernel", b.graph.tensor("dead/kernel").array * np.float32(1e5))
    set_constant(b, "dead/bias", np.full(4, -1e8))
    b.graph.replace_node(node := b.graph.nodes[-1], node.with_attrs(activation="relu"))
    x = b.conv2d(x, 4, 1, bias=True, name="behind")
    set_constant(b, "behind/bias", np.arange(4))
    return b.finish(x)


def dead_addition() -> Graph:
    b = GraphBuilder("dead", (1, 6, 6, 3))
    offset = b.constant("offset", np.full((1, 1, 1, 3), -1e6, np.float32))
    x = b.op("add", ["input", offset], {"activation": "relu"}, name="dead")
    x = b.conv2d(x, 4, 1, bias=True, name="behind")
    set_constant(b, "behind/bias", np.arange(4))
    return b.finish(x)


def closed_hard_swish() -> Graph:
    b = GraphBuilder("closed", (1, 6, 6, 3))
    x = b.add("input", b.constant("offset", np.full(3, -4000, np.float32)), name="low")
    return b.finish(b.activation(x, "hard_swish", name="closed"))


@pytest.mark.parametrize("build", [dead_convolution, dead_addition, closed_hard_swish])
@pytest.mark.parametrize("kernels", ["xnnpack", "optimized", "reference"])
def test_dead_layers_run_in_every_kernel(build, kernels):
    """Without the rule XNNPACK refuses the first, TFLite's add aborts, and its hard_swish refuses the third."""
    graph = build()
    samples = images(graph)
    int8 = quantized(graph, samples, io="float32")
    (name,) = graph.outputs
    want = interpret(graph, {"input": samples[0]})[name]
    # One step of the output, and what the bias of the layer behind is rounded by.
    step = scale_of(quantized(graph, samples), name)[0]
    step += max((max(t.quant.scale) for t in int8.constants() if t.dtype == "int32"), default=0) / 2
    for got in (run_litert(int8, samples[0], kernels=kernels), run_onnx(int8, samples[0])):
        np.testing.assert_allclose(got[name], want, atol=step)


def test_outputs_are_no_finer_than_their_sources():
    int8 = quantized(dead_convolution())
    source, kernel = (int8.tensor(name).quant for name in int8.nodes[0].inputs[:2])
    greatest = source.scale[0] * max(kernel.scale)
    assert scale_of(int8, "dead")[0] == pytest.approx(FINEST * greatest, rel=1e-5)


def test_all_partners_of_a_coarsened_scale_follow():
    b = GraphBuilder("group", (1, 4, 4, 2))
    x = b.add("input", b.constant("offset", np.full(2, -500, np.float32)), name="low")
    x = b.activation(x, "relu", name="dead")
    graph = b.finish(b.pool(x, "max_pool", 2, stride=2, name="pool"))
    int8 = quantized(graph)
    assert int8.tensor("dead").quant == int8.tensor("pool").quant
    assert scale_of(int8, "dead")[0] == pytest.approx(FINEST * scale_of(int8, "low")[0], rel=1e-5)


def test_live_networks_keep_their_scales(monkeypatch):
    graph = mobile_graph()
    coarsened = quantized(graph)
    monkeypatch.setattr("edgekit.quantize.assign.coarsen_scales", lambda graph, groups: 0)
    plain = quantized(graph)
    for group in scale_groups(graph):
        assert coarsened.tensor(group[0]).quant == plain.tensor(group[0]).quant
