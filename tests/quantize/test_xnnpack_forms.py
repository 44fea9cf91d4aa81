"""Forms of int8 ops that stay inside XNNPACK: same numbers in both runtimes, nothing left outside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from integer_rules import node_differences
from quantize_helpers import images, quantized, run_litert, run_onnx

from edgekit.export.tflite import tflite_bytes
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.passes import apply_passes
from edgekit.quantize.xnnpack_forms import FLOAT_OPS, average_by_convolution, compute_in_float
from edgekit.runtime import xnnpack_coverage
from edgekit.zoo import build_model

Layer = Callable[[GraphBuilder, str], str]

LAYERS: dict[str, Layer] = {
    "relu": lambda b, x: b.add(x, b.activation(x, "relu", name="y"), name="sum"),
    "relu6": lambda b, x: b.add(x, b.activation(x, "relu6", name="y"), name="sum"),
    "hard_swish": lambda b, x: b.activation(x, "hard_swish", name="y"),
    "softmax": lambda b, x: b.activation(x, "softmax", name="y"),
    "average of 2x2": lambda b, x: b.pool(x, "avg_pool", 2, stride=2, name="y"),
    "average of 3x3": lambda b, x: b.pool(x, "avg_pool", 3, stride=1, name="y"),
    "average of 2x3": lambda b, x: b.pool(x, "avg_pool", (2, 3), stride=(2, 1), name="y"),
    "average of 6x5": lambda b, x: b.pool(x, "avg_pool", (6, 5), stride=1, name="y"),
    "average at the edge": lambda b, x: b.pool(x, "avg_pool", 3, stride=2, padding=1, name="y"),
    "average of a padded map": lambda b, x: b.pool(
        b.pad(x, (1, 1, 1, 1), name="pad"), "avg_pool", 3, stride=2, name="y"
    ),
}


def net(layer: str) -> Graph:
    """The layer behind a convolution."""
    b = GraphBuilder("net", (1, 12, 12, 8), seed=1)
    return b.finish(LAYERS[layer](b, b.conv2d("input", 16, 3, bias=True, name="before")))


def least_equal(layer: str) -> float:
    """Share of outputs that must be equal. At a map's edges means of 4 and 6 values are computed in float, and each
    runtime's last bit decides where exact halves go.
    """
    return 0.95 if layer == "average at the edge" else 0.999


@pytest.mark.parametrize("layer", LAYERS)
def test_xnnpack_takes_all_of_it_in_one_piece(layer):
    coverage = xnnpack_coverage(tflite_bytes(quantized(net(layer))))
    assert (coverage.left, coverage.partitions) == ((), 1)


@pytest.mark.parametrize("layer", [name for name in LAYERS if name != "average at the edge"])
def test_without_the_forms_the_op_stays_itself(layer):
    """The rule that the forms answer to: XNNPACK leaves each of these out."""
    plain = quantized(net(layer), xnnpack_forms=False)
    op = "avg_pool" if layer.startswith("average") else layer
    assert [n.op for n in plain.nodes].count(op) == 1
    assert not {n.op for n in plain.nodes} & {"quantize", "dequantize"}
    names = {"avg_pool": "AVERAGE_POOL_2D"}
    assert xnnpack_coverage(tflite_bytes(plain)).left == (names.get(op, op.upper()),)


@pytest.mark.parametrize("layer", LAYERS)
def test_both_runtimes_give_the_same_integers(layer):
    graph = net(layer)
    int8, (name,) = quantized(graph), graph.outputs
    apart = []
    for image in images(graph, 6, seed=9):
        feed = int8.tensor("input").quant.quantize(image)
        results = [run(int8, feed)[name].astype(int) for run in (run_litert, run_onnx)]
        apart.append(np.abs(results[0] - results[1]))
    assert np.max(apart) <= 1
    assert np.mean(np.equal(apart, 0)) >= least_equal(layer)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_interpreter_does_what_xnnpack_does(layer):
    graph = net(layer)
    int8 = quantized(graph)
    for image in images(graph, 2, seed=5):
        for node, difference in node_differences(int8, {"input": int8.tensor("input").quant.quantize(image)}):
            assert (difference == 0).mean() >= least_equal(layer), node.name
            assert difference.max() <= 1, node.name


@pytest.mark.parametrize("layer", LAYERS)
def test_values_stay_near_the_float_graphs(layer):
    graph = net(layer)
    samples = images(graph)
    int8 = quantized(graph, samples, io="float32", range_method="min-max")
    (name,) = graph.outputs
    want = interpret(graph, {"input": samples[0]})[name]
    np.testing.assert_allclose(run_litert(int8, samples[0])[name], want, atol=0.03 * np.ptp(want))


@pytest.mark.parametrize("window", [(2, 2), (2, 4), (4, 4), (1, 6), (2, 3)])
def test_exact_halves_go_away_from_zero_in_every_runtime(window):
    b = GraphBuilder("net", (1, 8, 12, 4))
    graph = b.finish(b.pool("input", "avg_pool", window, stride=window, name="mean"))
    int8, (kh, kw) = quantized(graph), window
    assert [n.op for n in int8.nodes] == ["conv2d"]
    feed = np.random.default_rng(3).integers(-128, 128, (1, 8, 12, 4)).astype(np.int8)
    zero = int8.tensor("mean").quant.zero_point[0]
    sums = (feed.reshape(1, 8 // kh, kh, 12 // kw, kw, 4).astype(int) - zero).sum(axis=(2, 4))
    assert (sums % (kh * kw) * 2 == kh * kw).any()
    want = np.sign(sums) * ((2 * np.abs(sums) + kh * kw) // (2 * kh * kw))
    for run in (run_litert, run_onnx, lambda g, x: interpret(g, {"input": x})):
        np.testing.assert_array_equal(run(int8, feed)["mean"].astype(int) - zero, want)


def test_only_averages_at_the_edge_are_computed_in_float():
    for layer in LAYERS:
        found = [n.op for n in quantized(net(layer)).nodes]
        at_the_edge = layer == "average at the edge"
        assert ("avg_pool" in found) == at_the_edge, layer
        assert found.count("conv2d") == 1 + (layer.startswith("average") and not at_the_edge), layer


def test_readers_of_one_activation_share_its_float_form():
    b = GraphBuilder("net", (1, 6, 6, 4))
    x = b.conv2d("input", 4, 1, bias=True, name="conv")
    y, z = b.activation(x, "relu", name="y"), b.pool(x, "avg_pool", 3, stride=1, padding=1, name="z")
    graph = b.finish(b.add(x, b.add(y, z, name="both"), name="sum"))
    int8 = quantized(graph)
    assert [n.op for n in int8.nodes].count("dequantize") == 1
    assert [n.op for n in int8.nodes].count("quantize") == 2
    assert compute_in_float(int8, FLOAT_OPS) == average_by_convolution(int8) == 0


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_an_output_made_in_float(io):
    b = GraphBuilder("net", (1, 6, 6, 4))
    graph = b.finish(b.activation(b.conv2d("input", 4, 1, bias=True, name="conv"), "hard_swish", name="y"))
    samples = images(graph)
    int8 = quantized(graph, samples, io=io)
    assert int8.tensor("y").dtype == io
    feed = samples[0]
    if io != "float32":
        feed = int8.tensor("input").quant.quantize(feed)
    want = interpret(graph, {"input": samples[0]})["y"]
    for run in (run_litert, run_onnx):
        got = run(int8, feed)["y"]
        quant = int8.tensor("y").quant
        np.testing.assert_allclose(got if quant is None else quant.dequantize(got), want, atol=0.06)


@pytest.mark.parametrize("model", ["shufflenet_v1", "mobilenet_v3_small", "xception", "densenet_cifar"])
def test_networks_that_used_to_be_split_run_in_one_piece(model):
    options = {"densenet_cifar": {"depth": 16}}.get(model, {"resolution": 96 if model == "xception" else 32})
    graph, _ = apply_passes(build_model(model, classes=4, **options))
    samples = images(graph, 1)
    coverage = xnnpack_coverage(tflite_bytes(quantized(graph, samples)))
    assert (coverage.left, coverage.partitions) == ((), 1)


def test_a_relu_is_padded_with_zeros_though_it_shares_its_scale_with_negative_numbers():
    """A dense block: the pooled map stands beside a convolution's output in a concat. XNNPACK takes PAD, not PADV2."""
    b = GraphBuilder("block", (1, 8, 8, 3))
    attrs = {"padding": (1, 1, 1, 1), "activation": "relu"}
    x = b.op("conv2d", ["input", b.random("stem/kernel", (3, 3, 3, 4), 0.3)], attrs, name="stem")
    x = b.pool(x, "max_pool", 3, stride=2, padding=1, name="pool")
    graph = b.finish(b.concat([x, b.conv2d(x, 4, 1, bias=True, name="own")], name="both"))
    int8 = quantized(graph)
    stem = int8.tensor("stem").quant
    assert stem == int8.tensor("both").quant
    assert stem.zero_point[0] > -128
    assert xnnpack_coverage(tflite_bytes(int8)).complete
    feed = int8.tensor("input").quant.quantize(images(graph, 1, seed=4)[0])
    np.testing.assert_array_equal(run_litert(int8, feed)["both"], interpret(int8, {"input": feed})["both"])
