"""What onnxruntime makes of int8 files: integer kernels, and float only where they have none."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_cases import CASES, build_case, small_net
from onnx_support import check_steps, file_ops, optimized_ops, quantize_min_max, random_feeds, run_onnx

from edgekit.export.onnx import onnx_bytes
from edgekit.graph import Graph, GraphBuilder, QuantParams

FLOAT_IN_THE_MIDDLE = ("relu", "relu6", "hard_swish")
"""Ops without an integer kernel, where they are not fused into the op before them."""

FUSED = {
    "conv2d": "QLinearConv",
    "conv2d_depthwise": "QLinearConv",
    "conv2d_relu": "QLinearConv",
    "conv2d_relu6": "QLinearConv",
    "dense": "QGemm",
    "dense_relu": "QGemm",
    "dense_no_bias": "QGemm",
    "sigmoid": "QLinearSigmoid",
    "softmax": "QLinearSoftmax",
    "add": "QLinearAdd",
    "add_relu": "QLinearAdd",
    "mul": "QLinearMul",
    "mul_relu6": "QLinearMul",
    "avg_pool": "QLinearAveragePool",
    "global_avg_pool": "QLinearGlobalAveragePool",
    "concat": "QLinearConcat",
}


def quantized_case(name: str, seed: int = 0) -> tuple[Graph, dict[str, np.ndarray]]:
    graph = build_case(name, seed)
    feeds = random_feeds(graph, np.random.default_rng(seed))
    return quantize_min_max(graph, feeds, "uint8"), feeds


@pytest.mark.parametrize("name", FUSED)
def test_op_runs_in_its_integer_kernel(name: str, tmp_path: Path) -> None:
    quantized, _ = quantized_case(name)
    ops = optimized_ops(onnx_bytes(quantized), tmp_path)
    assert FUSED[name] in ops
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(ops)


MOVING = [name for name, (op, _) in CASES.items() if op in ("max_pool", "split", "slice", "gather", "pad")]
MOVING += [name for name, (op, _) in CASES.items() if op in ("reshape", "transpose", "channel_shuffle", "identity")]


@pytest.mark.parametrize("name", MOVING)
def test_moves_run_on_the_integers(name: str, tmp_path: Path) -> None:
    quantized, _ = quantized_case(name)
    ops = optimized_ops(onnx_bytes(quantized), tmp_path)
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(ops)


@pytest.mark.parametrize("name", FLOAT_IN_THE_MIDDLE)
def test_ops_without_an_integer_kernel_stay_float(name: str, tmp_path: Path) -> None:
    """If this fails, onnxruntime has learned something: the row can lose its exception."""
    quantized, _ = quantized_case(name, seed=1)
    ops = optimized_ops(onnx_bytes(quantized), tmp_path)
    assert {"QuantizeLinear", "DequantizeLinear"} <= set(ops)


def test_a_whole_net_runs_on_integers(tmp_path: Path) -> None:
    graph = small_net()
    quantized = quantize_min_max(graph, random_feeds(graph, np.random.default_rng(0)))
    ops = Counter(optimized_ops(onnx_bytes(quantized), tmp_path))
    assert (ops["QuantizeLinear"], ops["DequantizeLinear"]) == (1, 1)
    assert (ops["QLinearConv"], ops["QGemm"], ops["Conv"], ops["Gemm"]) == (5, 1, 0, 0)


def test_exposing_every_layer_keeps_the_kernels(tmp_path: Path) -> None:
    graph = small_net()
    quantized = quantize_min_max(graph, random_feeds(graph, np.random.default_rng(0)))
    plain = Counter(optimized_ops(onnx_bytes(quantized), tmp_path))
    names = [node.output for node in quantized.nodes]
    exposed = Counter(optimized_ops(onnx_bytes(quantized, expose=names), tmp_path))
    assert plain.keys() == exposed.keys()
    assert {k: v for k, v in plain.items() if k != "DequantizeLinear"} == {
        k: v for k, v in exposed.items() if k != "DequantizeLinear"
    }


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_an_activation_that_the_range_does_not_imply_is_clamped_on_integers(activation: str, tmp_path: Path) -> None:
    quantized, feeds = quantized_case(f"conv2d_{activation}")
    assert "Clip" not in file_ops(onnx_bytes(quantized))
    wide = QuantParams.per_tensor(0.06, -20)
    name = "y_int8"
    quantized.set_tensor(replace(quantized.tensor(name), quant=wide))
    quantized.set_tensor(replace(quantized.tensor("y"), quant=QuantParams.per_tensor(0.06, 108, "uint8")))
    data = onnx_bytes(quantized, expose=[name, "input_int8"])
    ops = optimized_ops(onnx_bytes(quantized), tmp_path)
    assert sorted(ops) == ["Clip", "QLinearConv"]
    source = quantized.tensor("input").quant
    assert source is not None
    got = run_onnx(data, {"input": source.quantize(feeds["input"])})
    assert got[name].min() == 0.0
    assert (got[name] == 0).mean() > 0.1
    quantized = replace_ends(quantized)
    check_steps(quantized, got)


def replace_ends(graph: Graph) -> Graph:
    """Without the boundary nodes, whose values are no floats."""
    twin = graph.copy()
    for node in graph.nodes:
        if node.op == "quantize":
            twin.remove_node(node)
    return twin


def test_requantization_is_one_pair() -> None:
    b = GraphBuilder("requantize", (1, 4, 4, 3))
    graph = b.finish(b.op("identity", ["input"], name="y"))
    first, second = QuantParams.per_tensor(0.05, 3), QuantParams.per_tensor(0.0813, -7)
    graph.map_tensors(lambda t: replace(t, dtype="int8", quant=first if t.name == "input" else second))
    [node] = graph.nodes
    graph.replace_node(node, replace(node, op="quantize"))
    x = np.random.default_rng(0).integers(-128, 128, (1, 4, 4, 3)).astype(np.int8)
    got = run_onnx(onnx_bytes(graph), {"input": x})["y"]
    np.testing.assert_array_equal(got, second.quantize(first.dequantize(x)))


def test_concat_of_unequal_scales_is_requantized(tmp_path: Path) -> None:
    b = GraphBuilder("unequal")
    x, y = b.input("x", (1, 3, 3, 4)), b.input("y", (1, 3, 3, 2))
    graph = b.finish(b.concat([x, y], name="z"))
    quants = {name: QuantParams.per_tensor(scale, 5) for name, scale in (("x", 0.05), ("y", 0.02), ("z", 0.06))}
    graph.map_tensors(lambda t: replace(t, dtype="int8", quant=quants[t.name]))
    rng = np.random.default_rng(0)
    feeds = {name: rng.integers(-128, 128, graph.shape(name)).astype(np.int8) for name in ("x", "y")}
    data = onnx_bytes(graph)
    assert "QLinearConcat" in optimized_ops(data, tmp_path)
    wanted = quants["z"].quantize(np.concatenate([quants[n].dequantize(feeds[n]) for n in ("x", "y")], axis=3))
    assert np.abs(run_onnx(data, feeds)["z"].astype(int) - wanted).max() <= 1


def test_needless_transposes_are_not_written() -> None:
    """Reshapes of vectors and 1 x 1 images, and within H and W, need none; others one for each image."""
    expected = {"reshape_0": 1, "reshape_1": 0, "reshape_2": 0, "reshape_4": 0, "reshape_7": 0, "reshape_9": 1}
    for name, count in expected.items():
        assert file_ops(onnx_bytes(build_case(name, 0))).count("Transpose") == count, name
    chain = onnx_bytes(build_case("reshape_chain", 0))
    # To NHWC at the start, the swap itself, to NCHW for the images in the middle, and to NHWC for the vector.
    assert file_ops(chain).count("Transpose") == 4


def test_initializers_are_all_used() -> None:
    graph = small_net()
    for net in (graph, quantize_min_max(graph, random_feeds(graph, np.random.default_rng(0)))):
        body = onnx.load_model_from_string(onnx_bytes(net)).graph
        used = {name for node in body.node for name in node.input}
        assert {tensor.name for tensor in body.initializer} <= used
        assert all(used.intersection(n.output) or n.output[0] == "probabilities" for n in body.node)
