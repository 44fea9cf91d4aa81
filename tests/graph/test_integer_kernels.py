"""Each op's integer arithmetic against the runtime's, fed with the runtime's own input tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tflite_helpers import (
    activations,
    all_tensors,
    fill_biases,
    mobile_graph,
    quantize_min_max,
    quantized_feeds,
    random_feeds,
    run_tflite,
    shuffle_graph,
    with_boundaries,
)

from edgekit.errors import GraphError
from edgekit.export.tflite import tflite_bytes
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.integer_kernels import KERNELS, exact_matmul, run_integer_node
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.ops import OPS, op_spec
from edgekit.graph.quant_params import QuantParams

Case = Callable[[GraphBuilder], str]


def _op(op: str, **attrs: object) -> Case:
    return lambda b: b.op(op, ["input"], attrs, name="x")


def _with_other(b: GraphBuilder, op: str, activation: str = "none") -> str:
    other = b.conv2d("input", 12, 1, gain=0.2, name="other")
    return b.op(op, ["input", other], {"activation": activation}, name="x")


CASES: dict[str, Case] = {
    "conv": lambda b: b.conv2d("input", 16, 3, bias=True, name="x"),
    "conv without bias": lambda b: b.conv2d("input", 16, (1, 3), name="x"),
    "conv strided, padded": lambda b: b.conv2d("input", 8, 3, stride=2, padding=(1, 2, 0, 1), bias=True, name="x"),
    "conv dilated": lambda b: b.conv2d("input", 8, 3, dilation=2, bias=True, name="x"),
    "conv in groups": lambda b: b.conv2d("input", 24, 3, groups=3, bias=True, name="x"),
    "conv with relu6": lambda b: b.op(
        "conv2d", ["input", b.random("k", (3, 3, 12, 8), 0.25)], {"activation": "relu6"}, name="x"
    ),
    "depthwise": lambda b: b.depthwise("input", 3, stride=2, name="x"),
    "depthwise with multiplier": lambda b: b.conv2d("input", 24, 3, groups=12, bias=True, name="x"),
    "dense": lambda b: b.dense(b.reshape("input", (1, 1188), name="row"), 200, name="x"),
    "relu": _op("relu"),
    "relu6": _op("relu6"),
    "hard_swish": _op("hard_swish"),
    "sigmoid": _op("sigmoid"),
    "softmax": _op("softmax"),
    "add": lambda b: _with_other(b, "add"),
    "add with relu": lambda b: _with_other(b, "add", "relu"),
    "add constant": lambda b: b.add("input", b.random("k", (12,), 1.0), name="x"),
    "mul": lambda b: _with_other(b, "mul"),
    "mul constant": lambda b: b.mul("input", b.random("k", (1, 1, 1, 12), 1.0), name="x"),
    "mul gate": lambda b: b.mul(
        "input", b.activation(b.global_avg_pool("input", keep_dims=True, name="g"), "sigmoid", name="s"), name="x"
    ),
    "max_pool": lambda b: b.pool("input", "max_pool", 3, stride=2, padding="same", name="x"),
    "avg_pool": lambda b: b.pool("input", "avg_pool", 3, stride=2, padding="same", name="x"),
    "global_avg_pool": lambda b: b.global_avg_pool("input", name="x"),
    "concat": lambda b: b.concat(["input", b.conv2d("input", 4, 1, name="other")], name="x"),
    "split": lambda b: b.split("input", (5, 7), name="x")[1],
    "slice": _op("slice", begin=(0, 1, 0, 3), end=(1, 9, 10, 12), strides=(1, 2, 3, 1)),
    "gather": lambda b: b.gather("input", (3, 0, 11, 3), name="x"),
    "pad": lambda b: b.pad("input", (1, 2, 0, 3), name="x"),
    "pad with a value": _op("pad", before=(0, 1, 0, 0), after=(0, 0, 2, 0), value=1.5),
    "reshape": _op("reshape", shape=(1, 99, 12)),
    "transpose": _op("transpose", perm=(0, 3, 1, 2)),
    "channel_shuffle": lambda b: b.channel_shuffle("input", 4, name="x"),
}
REFUSED = ("batch_norm", "swish", "hard_sigmoid")
BY_FLOATS = ("sigmoid", "softmax")
"""Computed in floats: the last bit of the machine's exponential may decide a tie."""
UNTESTED_HERE = {"identity", "dropout", "quantize", "dequantize"}


def _quantized(case: Case, seed: int = 0) -> Graph:
    builder = GraphBuilder("one", (1, 9, 11, 12), seed=seed)
    graph = fill_biases(builder.finish(case(builder)), seed)
    return quantize_min_max(graph, [random_feeds(graph, sample) for sample in range(3)])


def _round_scales(graph: Graph) -> Graph:
    """The graph with all scales of activations rounded to powers of two: then ties are common."""
    result = graph.copy()
    for name in (*graph.inputs, *activations(graph)):
        node, tensor = graph.producer(name), graph.tensor(name)
        if node is None or op_spec(node.op).fixed_scale is None:
            scale = 2.0 ** round(math.log2(tensor.quant.scale[0]))
            result.set_tensor(replace(tensor, quant=QuantParams.per_tensor(scale, tensor.quant.zero_point[0])))
    for node in graph.nodes:
        if node.op in ("conv2d", "dense") and len(node.inputs) == 3:
            bias, kernel = graph.tensor(node.inputs[2]), graph.tensor(node.inputs[1])
            scales = np.asarray(kernel.quant.scale) * result.tensor(node.inputs[0]).quant.scale[0]
            result.set_tensor(replace(bias, quant=QuantParams.per_channel(scales, 0, "int32")))
    return result


def _tensors(graph: Graph, kernels: str, seed: int) -> dict[str, np.ndarray]:
    feeds = quantized_feeds(graph, random_feeds(graph, 10 + seed))
    if kernels == "xnnpack":
        return feeds | run_tflite(tflite_bytes(graph, expose=activations(graph)), feeds)
    return all_tensors(tflite_bytes(graph), feeds, kernels=kernels)


def _differences(graph: Graph, node: Node, values: dict[str, np.ndarray], ours: str) -> np.ndarray:
    """|numpy - runtime| in steps over all outputs of a node that is fed with the runtime's inputs."""
    constants = {tensor.name: tensor.array for tensor in graph.constants()}
    outputs = run_integer_node(graph, node, [(values | constants)[name] for name in node.inputs], kernels=ours)
    pairs = zip(outputs, (values[name] for name in node.outputs), strict=True)
    return np.concatenate([np.abs(got.astype(np.int64) - want).ravel() for got, want in pairs])


def _check_close(difference: np.ndarray, name: str) -> None:
    """At least 99 % equal (one value may always differ), and none by more than a step."""
    assert difference.max() <= 1, name
    assert np.count_nonzero(difference) <= max(1, difference.size // 100), name


def test_every_op_has_a_case():
    cased = {node.op for case in CASES.values() for node in _quantized(case).nodes}
    assert cased | set(REFUSED) | UNTESTED_HERE == set(OPS)
    assert set(KERNELS) <= set(OPS)


@pytest.mark.parametrize("scales", ["measured", "powers of two"])
@pytest.mark.parametrize("name", CASES)
def test_reference_kernels_bit_by_bit(name, scales):
    for seed in range(2):
        graph = _quantized(CASES[name], seed)
        graph = _round_scales(graph) if scales == "powers of two" else graph
        values = _tensors(graph, "reference", seed)
        for node in graph.nodes:
            steps = 1 if node.op in BY_FLOATS else 0
            assert _differences(graph, node, values, "reference").max() <= steps, node.name


@pytest.mark.parametrize("scales", ["measured", "powers of two"])
@pytest.mark.parametrize("name", CASES)
def test_xnnpack_to_one_step(name, scales):
    for seed in range(2):
        graph = _quantized(CASES[name], seed)
        graph = _round_scales(graph) if scales == "powers of two" else graph
        values = _tensors(graph, "xnnpack", seed)
        for node in graph.nodes:
            _check_close(_differences(graph, node, values, "xnnpack"), node.name)


@pytest.mark.parametrize("name", CASES)
def test_optimized_kernels_to_one_step(name):
    """TFLite's optimized convolutions round the last shift's halves up, the reference ones away from zero."""
    graph = _quantized(CASES[name])
    values = _tensors(graph, "optimized", 0)
    for node in graph.nodes:
        difference = _differences(graph, node, values, "reference")
        if node.op == "global_avg_pool" and node.attrs["keep_dims"]:
            # The optimized MEAN that keeps dimensions cuts the fraction off its offset: a step off for any value.
            assert difference.max() <= 1, node.name
        else:
            _check_close(difference, node.name)


@pytest.mark.parametrize("make", [mobile_graph, shuffle_graph])
@pytest.mark.parametrize("kernels", ["reference", "xnnpack"])
def test_whole_networks_node_by_node(make, kernels):
    graph = quantize_min_max(make())
    values = _tensors(graph, kernels, 0)
    for node in graph.nodes:
        _check_close(_differences(graph, node, values, kernels), node.name)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_boundaries(dtype):
    inner = quantize_min_max(mobile_graph())
    graph = with_boundaries(inner, dtype)
    feeds = random_feeds(inner, 5)
    if dtype == "uint8":
        feeds = {f"{k}_uint8": graph.tensor(f"{k}_uint8").quant.quantize(v) for k, v in feeds.items()}
    else:
        feeds = {f"{k}_float32": v for k, v in feeds.items()}
    for kernels in ("xnnpack", "reference"):
        values = feeds | run_tflite(tflite_bytes(graph, expose=activations(graph)), feeds, kernels=kernels)
        for node in (graph.nodes[0], graph.nodes[-1]):
            outputs = run_integer_node(graph, node, [values[node.inputs[0]]], kernels=kernels)
            np.testing.assert_array_equal(outputs[0], values[node.output])


def test_quantizing_floats_saturates_and_rounds():
    graph = Graph("q", ("x",), ("y",))
    graph.add_tensor(Tensor("x", (6,)))
    graph.add_tensor(Tensor("y", (6,), "int8", None, QuantParams.per_tensor(0.5, 10)))
    node = graph.add_node(Node("q", "quantize", ("x",), ("y",)))
    x = np.array([1e6, -1e6, 0.25, 0.75, -0.25, 3.0], np.float32)
    for kernels, expected in (("reference", [127, -128, 11, 12, 9, 16]), ("xnnpack", [127, -128, 10, 12, 10, 16])):
        (got,) = run_integer_node(graph, node, [x], kernels=kernels)
        assert got.tolist() == expected
        np.testing.assert_array_equal(got, run_tflite(tflite_bytes(graph), {"x": x}, kernels=kernels)["y"])


def test_interpreting_a_quantized_graph_stays_near_the_float_one():
    graph = mobile_graph()
    quantized = quantize_min_max(graph)
    feeds = random_feeds(graph, 1)
    want = interpret(graph, feeds)["probabilities"]
    got = interpret(quantized, quantized_feeds(quantized, feeds))["probabilities"]
    np.testing.assert_allclose(quantized.tensor("probabilities").quant.dequantize(got), want, atol=0.05)


def test_products_are_exact_where_single_precision_is_not_enough():
    x, y = np.full((1, 4000), 255), np.full((4000, 1), -127)
    assert exact_matmul(x, y).tolist() == [[-255 * 127 * 4000]]
    odd = np.where(np.arange(4000) % 2, 255, 254)
    assert exact_matmul(odd[None], y).tolist() == [[int((odd * -127).sum())]]


@pytest.mark.parametrize("op", REFUSED)
def test_ops_without_integer_form_are_refused(op):
    builder = GraphBuilder("one", (1, 4, 4, 3))
    result = builder.batch_norm("input", name="x") if op == "batch_norm" else builder.activation("input", op, name="x")
    graph = builder.finish(result)
    graph.map_tensors(lambda t: t if t.is_constant else replace(t, dtype="int8", quant=QuantParams.per_tensor(0.1, 0)))
    with pytest.raises(GraphError, match=f"node 'x': op {op} has no integer arithmetic; run the passes before"):
        run_integer_node(graph, graph.nodes[0], [np.zeros((1, 4, 4, 3), np.int8)])


def test_unequal_scales_are_refused_where_the_op_keeps_the_scale():
    graph = _quantized(CASES["max_pool"])
    tensor = graph.tensor("x")
    graph.set_tensor(replace(tensor, quant=QuantParams.per_tensor(tensor.quant.scale[0] * 2, 0)))
    with pytest.raises(GraphError, match="'x' must have the scale of 'input'"):
        run_integer_node(graph, graph.nodes[0], [np.zeros(graph.shape("input"), np.int8)])


def test_a_missing_quantization_is_named():
    graph = _quantized(CASES["relu"])
    graph.set_tensor(replace(graph.tensor("x"), quant=None))
    with pytest.raises(GraphError, match=r"node 'x' \(relu\): tensor 'x' has no quantization"):
        run_integer_node(graph, graph.nodes[0], [np.zeros(graph.shape("input"), np.int8)])


def test_unknown_kernels_are_refused():
    graph = _quantized(CASES["relu"])
    with pytest.raises(GraphError, match="kernels 'gpu' are none of xnnpack, reference"):
        run_integer_node(graph, graph.nodes[0], [np.zeros(graph.shape("input"), np.int8)], kernels="gpu")


def test_hard_swish_refuses_what_the_runtime_refuses():
    graph = _quantized(CASES["hard_swish"])
    tiny = QuantParams.per_tensor(graph.tensor("input").quant.scale[0] / 1000, 0)
    graph.set_tensor(replace(graph.tensor("x"), quant=tiny))
    with pytest.raises(GraphError, match="needs an output scale above input scale / 128"):
        run_integer_node(graph, graph.nodes[0], [np.zeros(graph.shape("input"), np.int8)])
