"""Small nets of several families through calibration by onnxruntime, equalization, int8 and both runtimes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from equalizable_nets import equalizable_nets
from hypothesis import HealthCheck, given, settings
from integer_rules import assert_int8_rules, node_differences
from quantize_helpers import images as noise
from quantize_helpers import quantized, run_litert, run_onnx, set_constant, sqnr_db

from edgekit.data.preprocess import KERAS_TF
from edgekit.data.synthetic import SyntheticSource
from edgekit.graph import Graph, GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Array
from edgekit.passes import apply_passes
from edgekit.pipeline.float_runner import float_runner
from edgekit.quantize.assign import QuantizeOptions, quantize_graph
from edgekit.quantize.calibrate import calibrate, observed_tensors
from edgekit.quantize.equalize import equalize_channels
from edgekit.zoo import build_model

SIZE = 96


def photos(count: int, size: int = SIZE) -> list[Array]:
    """Images with the statistics of photographs, in [-1, 1]."""
    return [s.array for s in SyntheticSource(3).samples(KERAS_TF.with_size(size, size), count)]


def mobilenet() -> Graph:
    """Its logits: what the random classifier's softmax makes of one step says little."""
    graph = build_model("mobilenet_v2", alpha=0.35, resolution=SIZE, classes=20)
    (softmax,) = (n for n in graph.nodes if n.op == "softmax")
    graph.outputs = softmax.inputs
    return apply_passes(graph)[0]


def squeeze_excite() -> Graph:
    b = GraphBuilder("squeeze_excite", (1, SIZE, SIZE, 3), seed=1)
    x = b.activation(b.conv2d("input", 16, 3, stride=2, bias=True, name="stem"), "swish", name="stem_swish")
    for i in range(3):
        y = b.activation(b.depthwise(x, 3, stride=1 + (i == 0), name=f"d{i}"), "relu", name=f"d{i}/relu")
        gate = b.conv2d(b.global_avg_pool(y, keep_dims=True, name=f"s{i}"), 4, 1, bias=True, name=f"r{i}")
        gate = b.conv2d(b.activation(gate, "relu", name=f"r{i}/relu"), 16, 1, bias=True, name=f"e{i}")
        y = b.mul(y, b.activation(gate, "hard_sigmoid" if i else "sigmoid", name=f"g{i}"), name=f"m{i}")
        y = b.conv2d(y, 16, 1, bias=True, gain=1.0, name=f"p{i}")
        x = b.add(x, y, name=f"a{i}") if i else y
    x = b.dense(b.global_avg_pool(x, name="pool"), 20, name="logits")
    return apply_passes(b.finish(x))[0]


def fire() -> Graph:
    """SqueezeNet's blocks: squeeze, two expands, concat, Caffe's ceil-mode pools; a convolution as classifier."""
    b = GraphBuilder("fire", (1, SIZE, SIZE, 3), seed=2)

    def conv(x: str, filters: int, kernel: int, name: str, stride: int = 1) -> str:
        y = b.conv2d(x, filters, kernel, stride=stride, bias=True, name=name)
        return b.activation(y, "relu", name=f"{name}/relu")

    x = b.pool(conv("input", 16, 3, "stem", 2), "max_pool", 3, stride=2, ceil=True, name="pool1")
    for i in (2, 3, 4):
        squeezed = conv(x, 8, 1, f"fire{i}/squeeze")
        pair = [conv(squeezed, 16, 1, f"fire{i}/left"), conv(squeezed, 16, 3, f"fire{i}/right")]
        x = b.concat(pair, name=f"fire{i}")
        if i == 3:
            x = b.pool(x, "max_pool", 3, stride=2, ceil=True, name="pool3")
    x = b.conv2d(x, 20, 1, bias=True, name="classifier")
    return apply_passes(b.finish(b.global_avg_pool(x, name="logits")))[0]


def separable() -> Graph:
    """Depthwise separable units with ReLU."""
    b = GraphBuilder("separable", (1, SIZE, SIZE, 3), seed=3)
    x = b.activation(b.conv2d("input", 16, 3, stride=2, bias=True, name="stem"), "relu", name="stem/relu")
    for i in range(4):
        x = b.activation(b.depthwise(x, 3, stride=1 + i % 2, name=f"d{i}"), "relu", name=f"d{i}/relu")
        x = b.activation(b.conv2d(x, 24, 1, bias=True, name=f"p{i}"), "relu", name=f"p{i}/relu")
    return apply_passes(b.finish(b.dense(b.global_avg_pool(x, name="pool"), 20, name="logits")))[0]


def quantize(graph: Graph, samples: list[Array], *, equalize: bool = True, **options: object) -> Graph:
    """What the export does."""
    seen = calibrate(graph, float_runner(graph, observed_tensors(graph)), samples)
    if equalize:
        graph, seen, _ = equalize_channels(graph, seen)
    return quantize_graph(graph, seen, QuantizeOptions(**options))


def logits(graph: Graph, samples: list[Array], run: Callable[[Graph, Array], dict[str, Array]]) -> Array:
    return np.concatenate([run(graph, s)[graph.outputs[0]].reshape(1, -1) for s in samples])


def by_numpy(graph: Graph, image: Array) -> dict[str, Array]:
    return interpret(graph, {graph.inputs[0]: image})


@pytest.mark.parametrize("build", [mobilenet, separable, squeeze_excite, fire])
def test_both_files_agree_with_each_other_and_with_float(build):
    graph = build()
    samples = photos(28)
    int8 = quantize(graph, samples[:24], io="float32", input_range=(-1.0, 1.0))
    lite, onnx = (logits(int8, samples[24:], run) for run in (run_litert, run_onnx))
    want = logits(graph, samples[24:], run_onnx)
    assert min(sqnr_db(want, lite), sqnr_db(want, onnx)) > 24
    # Of the 52 layers of a random MobileNet, each may round one step apart; a few layers hardly differ.
    assert sqnr_db(lite, onnx) > (24 if build is mobilenet else 38)


@pytest.mark.parametrize("build", [mobilenet, separable, squeeze_excite, fire])
def test_every_node_is_what_the_numpy_interpreter_says(build):
    graph = build()
    samples = photos(3)
    int8 = quantize(graph, samples)
    assert_int8_rules(int8)
    feeds = {"input": int8.tensor("input").quant.quantize(samples[0])}
    for node, difference in node_differences(int8, feeds):
        if node.op in ("softmax", "dequantize"):
            assert difference.max() < 1e-6, node.name
        else:
            assert (difference == 0).mean() >= 0.99, node.name
            assert difference.max() <= 1, node.name


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=equalizable_nets())
def test_nodes_of_random_graphs(graph):
    int8 = quantized(graph, noise(graph, 2))
    feeds = {"input": int8.tensor("input").quant.quantize(noise(graph, 1, seed=5)[0])}
    sizes, equal = Counter(), Counter()
    for node, difference in node_differences(int8, feeds):
        sizes[node.op] += difference.size
        equal[node.op] += int((difference == 0).sum())
        assert difference.max() <= (2 if node.op == "quantize" else 1), node.name
    assert all(equal[op] >= 0.99 * sizes[op] - 2 for op in sizes if op != "quantize"), (equal, sizes)


def badly_scaled(graph: Graph) -> Graph:
    """The same function with channels between layers scaled by up to 30: what folding a batch norm often leaves."""
    rng = np.random.default_rng(0)
    result = graph.copy()
    for node in result.nodes:
        readers = result.consumers(node.output)
        if node.op != "conv2d" or node.attrs["activation"] == "relu6" or any(r.op != "conv2d" for r in readers):
            continue
        factors = np.exp(rng.uniform(0, np.log(30), result.shape(node.output)[-1])).astype(np.float32)
        for name in node.inputs[1:]:
            set_constant(result, name, result.tensor(name).array / factors)
        for reader in readers:
            kernel = result.tensor(reader.inputs[1])
            depthwise = reader.attrs["groups"] > 1
            set_constant(result, kernel.name, kernel.array * (factors if depthwise else factors[:, None]))
    return result


def test_equalization_helps_where_channels_are_badly_scaled():
    samples = photos(28)
    graph = badly_scaled(separable())
    want = logits(graph, samples[24:], by_numpy)
    np.testing.assert_allclose(want, logits(separable(), samples[24:], by_numpy), rtol=1e-3, atol=1e-3)
    plain, evened = (
        sqnr_db(want, logits(quantize(graph, samples[:24], equalize=e, io="float32"), samples[24:], run_litert))
        for e in (False, True)
    )
    assert evened > plain + 6
    assert evened > 30


@pytest.mark.parametrize("build", [mobilenet, squeeze_excite, fire])
def test_equalization_does_no_harm_elsewhere(build):
    samples = photos(20)
    graph = build()
    want = logits(graph, samples[16:], by_numpy)
    plain, evened = (
        sqnr_db(want, logits(quantize(graph, samples[:16], equalize=e, io="float32"), samples[16:], run_litert))
        for e in (False, True)
    )
    assert evened > plain - 1.5


@pytest.mark.parametrize("io", ["int8", "uint8", "float32"])
def test_softmax_models_with_any_ends(io):
    b = GraphBuilder("net", (1, 32, 32, 3), seed=4)
    x = b.activation(b.conv2d("input", 8, 3, stride=2, bias=True, name="conv"), "relu6", name="relu6")
    x = b.activation(b.dense(b.global_avg_pool(x, name="pool"), 6, name="logits"), "softmax", name="prob")
    graph = apply_passes(b.finish(x))[0]
    samples = photos(6, 32)
    int8 = quantize(graph, samples, io=io)
    quant, out = int8.tensor("input").quant, int8.tensor("prob").quant
    feed = samples[0] if quant is None else quant.quantize(samples[0])
    raw = run_litert(int8, feed)["prob"]
    got = raw if out is None else out.dequantize(raw)
    np.testing.assert_allclose(got, run_onnx(graph, samples[0])["prob"], atol=0.03)
