from __future__ import annotations

import numpy as np
import pytest
from equalizable_nets import equalizable_nets
from hypothesis import HealthCheck, given, settings
from integer_rules import assert_int8_rules
from quantize_helpers import (
    images,
    quantized,
    run_litert,
    run_onnx,
    scale_of,
    set_constant,
    sqnr_db,
    statistics_of,
)
from tflite_helpers import mobile_graph, shuffle_graph

from edgekit.errors import QuantizationError
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.graph.text import graph_text
from edgekit.passes import apply_passes
from edgekit.quantize.assign import QuantizeOptions, quantize_graph


def agree(graph: Graph, samples: list[np.ndarray], steps: float, **options: object) -> Graph:
    """Quantize with float ends and check both runtimes against float, in steps of each output."""
    plain = quantized(graph, samples, **options)
    assert_int8_rules(plain)
    int8 = quantized(graph, samples, io="float32", **options)
    want = interpret(graph, {graph.inputs[0]: samples[0]})
    for got in (run_litert(int8, samples[0]), run_onnx(int8, samples[0])):
        assert got.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_allclose(got[name], value, atol=steps * scale_of(plain, name)[0], err_msg=name)
    return plain


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=equalizable_nets())
def test_rules_hold_on_random_graphs(graph):
    int8 = quantized(graph, images(graph, 2))
    assert_int8_rules(int8)
    assert (int8.inputs, int8.outputs) == (graph.inputs, graph.outputs)
    interpret(int8, {"input": int8.tensor("input").quant.quantize(images(graph, 1)[0])})


@pytest.mark.parametrize("build", [mobile_graph, shuffle_graph])
@pytest.mark.parametrize("method", ["min-max", "percentile", "mse"])
def test_rules_hold_on_nets_of_all_ops(build, method):
    graph = build()
    assert_int8_rules(quantized(graph, range_method=method))
    assert_int8_rules(quantized(graph, range_method=method, xnnpack_forms=False))


def test_the_float_graph_is_not_changed():
    graph = mobile_graph()
    before = graph_text(graph)
    quantized(graph)
    assert graph_text(graph) == before


def test_quantizing_is_deterministic():
    graph = mobile_graph()
    first, second = quantized(graph), quantized(graph)
    assert graph_text(first) == graph_text(second)
    for one, other in zip(first.constants(), second.constants(), strict=True):
        np.testing.assert_array_equal(one.array, other.array)


@pytest.mark.parametrize("op", ["swish", "hard_sigmoid", "batch_norm"])
def test_ops_that_passes_lower_are_refused_with_the_remedy(op):
    b = GraphBuilder("g", (1, 4, 4, 2))
    x = b.batch_norm("input", name="left") if op == "batch_norm" else b.activation("input", op, name="left")
    graph = b.finish(x)
    with pytest.raises(QuantizationError, match=f"layer 'left' \\({op}\\) has no int8 form; run the passes before"):
        quantized(graph)
    lowered, _ = apply_passes(graph)
    assert_int8_rules(quantized(lowered))


def test_statistics_of_another_graph():
    graph = mobile_graph()
    seen = statistics_of(graph, images(graph))
    del seen["project"]
    with pytest.raises(QuantizationError, match="no statistics for 'project'; calibrate the graph that is quantized"):
        quantize_graph(graph, seen, QuantizeOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"range_method": "entropy"}, "range method 'entropy' is none of min-max"), ({"io": "int4"}, "io 'int4' is none")],
)
def test_unknown_options(options, message):
    """Even where nothing needs them: all of this graph's ranges are known."""
    b = GraphBuilder("g", (1, 4, 4, 2))
    graph = b.finish(b.pool("input", "max_pool", 2, stride=2, name="y"))
    with pytest.raises(QuantizationError, match=message):
        quantized(graph, input_range=(-1, 1), **options)


def test_scores_are_not_clipped():
    """What no layer reads keeps its extremes; what feeds a layer may lose them."""
    b = GraphBuilder("g", (1, 64, 64, 4))
    x = b.activation(b.conv2d("input", 4, 1, name="a"), "relu", name="r")
    graph = b.finish(b.global_avg_pool(b.conv2d(x, 4, 1, name="scores"), name="pool"))
    samples = images(graph, 2)
    samples[0][0, 0, 0] = 12
    by_mse, by_extrema = (quantized(graph, samples, range_method=m) for m in ("mse", "min-max"))
    assert by_mse.tensor("scores").quant == by_extrema.tensor("scores").quant
    assert by_mse.tensor("r").quant != by_extrema.tensor("r").quant


def test_input_range_is_honoured():
    graph = mobile_graph()
    assert scale_of(quantized(graph, input_range=(-1.0, 1.0)), "input") == (np.float32(2 / 255), 0)
    assert scale_of(quantized(graph, input_range=(0.0, 255.0)), "input") == (1.0, -128)


@pytest.mark.parametrize("gain", [0.01, 30.0])
def test_input_range_joins_with_what_shares_its_scale(gain):
    """The input stands beside a layer's result in a concat: both must fit, whichever is wider."""
    b = GraphBuilder("g", (1, 6, 6, 3))
    x = b.conv2d("input", 2, 1, gain=gain, name="layer")
    graph = b.finish(b.concat(["input", x], name="cat"))
    samples = [np.clip(s, -1, 1) for s in images(graph)]
    int8 = agree(graph, samples, 6.0, input_range=(-1.0, 1.0), range_method="min-max")
    values = np.concatenate([interpret(graph, {"input": s})["cat"] for s in samples])
    width = max(1.0, values.max()) - min(-1.0, values.min())
    assert 255 * scale_of(int8, "cat")[0] == pytest.approx(width, rel=1e-4)
    assert scale_of(int8, "input") == scale_of(int8, "layer") == scale_of(int8, "cat")


@pytest.mark.parametrize("input_range", [None, (-4.0, 4.0)])
def test_graph_input_straight_into_a_pool(input_range):
    b = GraphBuilder("g", (1, 6, 6, 3))
    x = b.pool("input", "avg_pool", 2, stride=2, name="pool")
    int8 = agree(graph := b.finish(x), images(graph), 1.6, input_range=input_range, range_method="min-max")
    if input_range:
        assert scale_of(int8, "pool") == (np.float32(8 / 255), 0)


def test_constants_of_a_concat_and_of_a_pad_are_within_the_range():
    b = GraphBuilder("g", (1, 4, 4, 2))
    x = b.concat(["input", b.constant("c", np.full((1, 4, 4, 1), 9, np.float32))], name="cat")
    x = b.op("pad", [x], {"before": (0, 1, 1, 0), "after": (0, 1, 1, 0), "value": -8.0}, name="pad")
    agree(graph := b.finish(x), images(graph), 1.1, range_method="min-max")


def test_constants_of_additions_and_products():
    b = GraphBuilder("g", (1, 4, 4, 2))
    x = b.add("input", b.constant("offsets", np.float32([3, -5])), name="sum")
    x = b.mul(x, b.constant("factors", np.float32([-2, 0.5])), name="product")
    x = b.mul(x, b.constant("zeros", np.zeros((1, 4, 1, 1), np.float32)), name="nothing")
    x = b.add(x, b.constant("scalar", np.float32(1.5)), name="shifted")
    agree(graph := b.finish(x, "product"), images(graph), 3.0, range_method="min-max")


def test_layers_without_bias_get_one():
    b = GraphBuilder("g", (1, 4, 4, 3))
    x = b.global_avg_pool(b.conv2d("input", 4, 3, name="conv"), name="pool")
    graph = b.finish(b.dense(x, 2, bias=False, name="dense"))
    int8 = agree(graph, images(graph), 5.0, range_method="min-max")
    assert [len(n.inputs) for n in int8.nodes if n.op in ("conv2d", "dense")] == [3, 3]


def test_a_kernel_shared_by_layers_of_unlike_inputs():
    b = GraphBuilder("g", (1, 4, 4, 3))
    first = b.conv2d("input", 3, 1, bias=True, name="first")
    big = b.mul("input", b.constant("k", np.float32([40.0])), name="big")
    second = b.op("conv2d", [big, "first/kernel", "first/bias"], name="second")
    int8 = agree(graph := b.finish(first, second), images(graph), 3.0, range_method="min-max")
    kernels = [n.inputs[1] for n in int8.nodes if n.op == "conv2d"]
    assert len(set(kernels)) == 2


def test_two_outputs_of_which_one_is_also_read_inside():
    b = GraphBuilder("g", (1, 6, 6, 3))
    x = b.activation(b.conv2d("input", 4, 3, bias=True, name="a"), "relu", name="r")
    y = b.conv2d(x, 2, 1, name="y")
    agree(graph := b.finish(y, x), images(graph), 4.0, range_method="min-max")


def test_dead_channels_and_dead_layers():
    b = GraphBuilder("g", (1, 6, 6, 3))
    x = b.conv2d("input", 4, 3, bias=True, name="a")
    kernel = b.graph.tensor("a/kernel").array.copy()
    kernel[..., :2] = 0
    set_constant(b, "a/kernel", kernel)
    set_constant(b, "a/bias", [0, -1, 0.1, 0.2])
    x = b.activation(x, "relu", name="r")
    zero = b.conv2d(x, 3, 1, bias=True, name="zero")
    set_constant(b, "zero/kernel", np.zeros((1, 1, 4, 3)))
    int8 = agree(graph := b.finish(x, zero), images(graph), 2.0, range_method="min-max")
    assert scale_of(int8, "zero") == (np.float32(1 / 255), -128)


def test_bias_correction_helps_where_weights_are_coarse():
    """One weight per filter is 60 times the others: their rounding has a mean that the bias takes up."""
    b = GraphBuilder("g", (1, 8, 8, 16))
    x = b.activation(b.conv2d("input", 32, 1, bias=True, name="a"), "relu", name="r")
    graph = b.finish(b.global_avg_pool(b.conv2d(x, 16, 1, bias=True, name="b"), name="pool"))
    for layer in ("a", "b"):
        kernel = graph.tensor(f"{layer}/kernel").array.copy()
        kernel[0, 0, 0] *= 60
        set_constant(graph, f"{layer}/kernel", kernel)
    # The first channel, with the great weights, varies little: the small weights carry the signal.
    samples = [np.abs(s) * np.float32([0.02] + [1.0] * 15) for s in images(graph, 16)]
    want = np.concatenate([interpret(graph, {"input": s})["pool"] for s in samples])

    def result(bias_correction: bool) -> float:
        int8 = quantized(graph, samples, io="float32", bias_correction=bias_correction)
        return sqnr_db(want, np.concatenate([interpret(int8, {"input": s})["pool"] for s in samples]))

    assert result(True) > result(False) + 3
