from __future__ import annotations

import numpy as np
import pytest
from quantize_helpers import images, quantized, run_litert, scale_of
from tflite_helpers import mobile_graph

from edgekit.errors import QuantizationError
from edgekit.export.onnx import onnx_bytes
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Array
from edgekit.quantize.assign import QuantizeOptions, quantize_graph
from edgekit.quantize.boundaries import check_io, set_io
from edgekit.quantize.calibrate import calibrate
from edgekit.quantize.xnnpack_forms import compute_in_float


def run_onnx_raw(graph: Graph, image: Array) -> dict[str, Array]:
    """onnxruntime on integers or floats as they are; vectors out."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_bytes(graph), providers=["CPUExecutionProvider"])
    feeds = {graph.inputs[0]: np.ascontiguousarray(image.transpose(0, 3, 1, 2))}
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, feeds), strict=True))


def classifier(softmax: bool = False) -> Graph:
    b = GraphBuilder("net", (1, 8, 8, 3))
    x = b.activation(b.conv2d("input", 8, 3, bias=True, name="conv"), "relu", name="relu")
    x = b.dense(b.global_avg_pool(x, name="pool"), 5, name="logits")
    return b.finish(b.activation(x, "softmax", name="prob") if softmax else x)


def ends(graph: Graph) -> tuple[list[str], list[str]]:
    return [graph.tensor(n).dtype for n in graph.inputs], [graph.tensor(n).dtype for n in graph.outputs]


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("xnnpack_forms", [False, True])
def test_all_io_types_give_the_same_numbers_in_both_runtimes(softmax, xnnpack_forms):
    graph = classifier(softmax)
    samples = images(graph)
    variants = {
        io: quantized(graph, samples, io=io, xnnpack_forms=xnnpack_forms) for io in ("int8", "uint8", "float32")
    }
    (name,) = graph.outputs
    scale, zero = scale_of(variants["int8"], name)
    params = variants["int8"].tensor("input").quant
    integers = params.quantize(samples[0])
    feeds = {"int8": integers, "uint8": (integers.astype(np.int16) + 128).astype(np.uint8), "float32": samples[0]}
    for runner in (run_litert, run_onnx_raw):
        results = {}
        for io, int8 in variants.items():
            assert ends(int8) == ([io], [io])
            assert (int8.inputs, int8.outputs) == (graph.inputs, graph.outputs)
            raw = runner(int8, feeds[io])[name]
            assert raw.dtype == io
            results[io] = raw.astype(np.float64)
        steps = results["int8"] - zero
        np.testing.assert_array_equal(results["uint8"] - zero - 128, steps)
        # A float softmax hands out what it computed; everything else, whole steps.
        unrounded = softmax and xnnpack_forms
        np.testing.assert_allclose(results["float32"] / scale, steps, atol=0.501 if unrounded else 1e-4)


@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_boundary_nodes(io):
    int8 = quantized(classifier(), io=io)
    first, last = int8.nodes[0], int8.nodes[-1]
    assert (first.op, first.inputs) == ("quantize", ("input",))
    assert (last.op, last.outputs) == ("dequantize" if io == "float32" else "quantize", ("logits",))
    if io == "uint8":
        for outer, inner in (("input", first.output), ("logits", last.inputs[0])):
            scale, zero = scale_of(int8, inner)
            assert scale_of(int8, outer) == (scale, zero + 128)


def test_a_softmax_is_between_conversions_and_leaves_without_one():
    ops = {io: [n.op for n in quantized(classifier(softmax=True), io=io).nodes] for io in ("int8", "float32")}
    assert ops["int8"][-3:] == ["dequantize", "softmax", "quantize"]
    assert ops["float32"][-2:] == ["dequantize", "softmax"]
    plain = quantized(classifier(softmax=True), xnnpack_forms=False)
    assert [n.op for n in plain.nodes][-1] == "softmax"
    assert compute_in_float(plain, ["softmax"]) == 1


def test_a_softmax_in_the_middle_keeps_its_integers():
    """Attention-like: the probabilities leave the graph and gate an activation too."""
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.conv2d("input", 3, 1, bias=True, name="conv")
    weights = b.activation(x, "softmax", name="weights")
    graph = b.finish(b.mul(x, weights, name="gated"), weights)
    samples = images(graph)
    int8 = quantized(graph, samples, io="float32")
    want, got = interpret(graph, {"input": samples[0]}), run_litert(int8, samples[0])
    np.testing.assert_allclose(got["weights"], want["weights"], atol=0.02)
    assert set(got) == {"gated", "weights"}


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_an_output_that_is_read_inside_and_one_that_is_not(io):
    b = GraphBuilder("net", (1, 4, 4, 3))
    x = b.conv2d("input", 4, 1, bias=True, name="inner")
    graph = b.finish(x, b.activation(x, "relu", name="outer"))
    samples = images(graph)
    int8 = quantized(graph, samples, io=io)
    assert int8.outputs == ("inner", "outer")
    assert ends(int8) == ([io], [io, io])
    feed = samples[0] if io == "float32" else int8.tensor("input").quant.quantize(samples[0])
    runs = [run_litert(int8, feed), {n: to_last(v) for n, v in run_onnx_raw(int8, feed).items()}]
    for name in int8.outputs:
        quant = int8.tensor(name).quant
        for got in runs:
            real = got[name] if quant is None else quant.dequantize(got[name])
            np.testing.assert_allclose(real, interpret(graph, {"input": samples[0]})[name], atol=0.1)


def to_last(value: Array) -> Array:
    return value.transpose(0, 2, 3, 1)


def test_two_inputs():
    b = GraphBuilder("net")
    one, two = b.input("one", (1, 4, 4, 2)), b.input("two", (1, 4, 4, 2))
    graph = b.finish(b.add(one, two, name="sum"))
    feeds = {n: images(graph, 1, seed=i)[0] for i, n in enumerate(graph.inputs)}
    seen = calibrate(graph, lambda _: interpret(graph, feeds, keep=True), [feeds["one"]], channel_axis=3)
    int8 = quantize_graph(graph, seen, QuantizeOptions(io="float32"))
    assert ends(int8) == (["float32", "float32"], ["float32"])
    np.testing.assert_allclose(interpret(int8, feeds)["sum"], feeds["one"] + feeds["two"], atol=0.06)


def test_unknown_io():
    with pytest.raises(QuantizationError, match="io 'float16' is none of int8, uint8, float32"):
        set_io(mobile_graph(), "float16")
    with pytest.raises(QuantizationError, match="io 'FLOAT32' is none of"):
        check_io("FLOAT32")
