"""For tests of TFLite files: run them in the runtime, and quantize small float graphs by their extreme values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.graph.builder import GraphBuilder
from edgekit.graph.interpret import interpret
from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.ops import op_spec
from edgekit.graph.quant_params import QuantParams
from edgekit.graph.validate import validate

Arrays = dict[str, np.ndarray]


KERNELS = {"xnnpack": "AUTO", "optimized": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
"""The runtime's three sets of kernels, by the names of its resolvers."""


def open_tflite(data: bytes, *, kernels: str = "xnnpack", keep: bool = False) -> Any:
    """The runtime's interpreter over one of its sets of kernels; XNNPACK cannot `keep` what lies between."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=data,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType[KERNELS[kernels]],
        experimental_preserve_all_tensors=keep,
    )
    interpreter.allocate_tensors()
    return interpreter


def run_tflite(data: bytes, feeds: Mapping[str, np.ndarray], *, kernels: str = "xnnpack") -> Arrays:
    """Outputs by their names in the signature."""
    return open_tflite(data, kernels=kernels).get_signature_runner("serving_default")(**feeds)


def all_tensors(data: bytes, feeds: Mapping[str, np.ndarray], *, kernels: str) -> Arrays:
    """Every tensor of the file by name after a run in TFLite's own kernels."""
    interpreter = open_tflite(data, kernels=kernels, keep=True)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], feeds[detail["name"]])
    interpreter.invoke()
    return {d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_tensor_details() if d["name"]}


def activations(graph: Graph) -> list[str]:
    """Names of everything that nodes make."""
    return [name for node in graph.nodes for name in node.outputs]


def random_feeds(graph: Graph, seed: int = 0, spread: float = 1.0) -> Arrays:
    generator = np.random.default_rng(seed)
    return {name: (generator.standard_normal(graph.shape(name)) * spread).astype(np.float32) for name in graph.inputs}


def fill_biases(graph: Graph, seed: int = 0) -> Graph:
    """Give the builder's zero biases random values, so that a forgotten or misplaced bias shows."""
    generator = np.random.default_rng(seed)
    for tensor in graph.constants():
        if tensor.name.endswith("/bias"):
            graph.set_tensor(tensor.with_data(generator.standard_normal(tensor.shape).astype(np.float32)))
    return graph


def op_versions(data: bytes) -> dict[str, int]:
    """Op name -> version."""
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    return {
        names[code.builtinCode]: code.version
        for code in schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0)).operatorCodes
    }


def check_both_kernels(graph: Graph, rtol: float = 1e-5) -> bytes:
    """Compare every output in XNNPACK and in TFLite's own kernels with numpy; return the file."""
    from edgekit.export.tflite import tflite_bytes

    data, feeds = tflite_bytes(graph), random_feeds(graph, 3)
    want = interpret(graph, feeds)
    for kernels in ("xnnpack", "optimized"):
        got = run_tflite(data, feeds, kernels=kernels)
        assert got.keys() == want.keys()
        for name in want:
            np.testing.assert_allclose(got[name], want[name], rtol=rtol, atol=rtol * np.abs(want[name]).max())
    return data


def one_layer(shape: tuple[int, ...], build: Callable[[GraphBuilder], str]) -> Graph:
    """A graph of what `build` adds to an input of that shape."""
    builder = GraphBuilder("one", shape)
    return fill_biases(builder.finish(build(builder)))


# -- min-max quantization ----------------------------------------------------------------------------------------------


def quantize_min_max(graph: Graph, samples: Sequence[Arrays] | None = None) -> Graph:
    """An int8 twin of a float graph, with TFLite's constraints, ranges from `samples` (default: four random ones)."""
    samples = samples or [random_feeds(graph, seed) for seed in range(4)]
    runs = [interpret(graph, feeds, keep=True) for feeds in samples]
    ranges = {
        name: (min(float(run[name].min()) for run in runs), max(float(run[name].max()) for run in runs))
        for name in runs[0]
    }
    shared = _shared_scales(graph)
    params = {name: _params([ranges[member] for member in shared[name]]) for name in ranges}
    for node in graph.nodes:
        fixed = op_spec(node.op).fixed_scale
        if fixed is not None:
            params[node.output] = QuantParams.per_tensor(*fixed)
    # Whatever shares a scale with a fixed one follows it.
    for name, members in shared.items():
        leader = next((m for m in members if _is_fixed(graph, m)), None)
        params[name] = params[leader] if leader else params[name]
    return validate(_rewrite(graph, params), "quantizing")


def _is_fixed(graph: Graph, name: str) -> bool:
    node = graph.producer(name)
    return node is not None and op_spec(node.op).fixed_scale is not None


def _shared_scales(graph: Graph) -> dict[str, set[str]]:
    """By activation: all that must have its scale."""
    groups: dict[str, set[str]] = {name: {name} for name in (*graph.inputs, *activations(graph))}
    for node in graph.nodes:
        if op_spec(node.op).same_scale:
            merged = set().union(*(groups[name] for name in (*node.inputs, *node.outputs)))
            groups.update(dict.fromkeys(merged, merged))
    return groups


def _params(ranges: Sequence[tuple[float, float]]) -> QuantParams:
    low, high = min(0.0, *(r[0] for r in ranges)), max(0.0, *(r[1] for r in ranges))
    scale = float(np.float32(max(high - low, 1e-6) / 255))
    return QuantParams.per_tensor(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def _rewrite(graph: Graph, params: Mapping[str, QuantParams]) -> Graph:
    result = graph.copy()
    for name, quant in params.items():
        result.set_tensor(replace(result.tensor(name), dtype="int8", quant=quant))
    for node in result.nodes:
        if node.op in ("conv2d", "dense"):
            _quantize_layer(result, node)
        elif node.op in ("add", "mul"):
            for name in node.inputs:
                _quantize_constant(result, name)
    return result


def _quantize_layer(graph: Graph, node: Node) -> None:
    kernel = graph.tensor(node.inputs[1])
    axis = len(kernel.shape) - 1
    peaks = np.abs(kernel.array).max(axis=tuple(range(axis)))
    quant = QuantParams.per_channel(np.maximum(peaks, 1e-6) / 127, axis)
    data = np.clip(quant.quantize(kernel.array), -127, 127).astype(np.int8)
    graph.set_tensor(Tensor.constant(kernel.name, data, quant))
    if len(node.inputs) == 3:
        source = graph.tensor(node.inputs[0]).quant
        bias = graph.tensor(node.inputs[2])
        scale = QuantParams.per_channel(np.asarray(quant.scale) * source.scale[0], 0, "int32")
        graph.set_tensor(Tensor.constant(bias.name, scale.quantize(bias.array), scale))


def _quantize_constant(graph: Graph, name: str) -> None:
    tensor = graph.tensor(name)
    if tensor.is_constant and tensor.quant is None:
        quant = _params([(float(tensor.array.min()), float(tensor.array.max()))])
        graph.set_tensor(Tensor.constant(name, quant.quantize(tensor.array), quant))


def with_boundaries(graph: Graph, dtype: str) -> Graph:
    """The int8 graph with inputs and outputs of `dtype` (float32 or uint8), by quantize and dequantize nodes."""
    result = graph.copy()
    for name in graph.inputs:
        outer = _outer(result, name, f"{name}_{dtype}", dtype)
        first = result.nodes[0]
        result.inputs = tuple(outer if n == name else n for n in result.inputs)
        result.add_node(Node(f"{name}_in", "quantize", (outer,), (name,)), before=first)
    for name in graph.outputs:
        outer = _outer(result, name, f"{name}_{dtype}", dtype)
        op = "dequantize" if dtype == "float32" else "quantize"
        result.outputs = tuple(outer if n == name else n for n in result.outputs)
        result.add_node(Node(f"{name}_out", op, (name,), (outer,)))
    return validate(result, "adding boundaries")


def _outer(graph: Graph, name: str, new: str, dtype: str) -> str:
    inner = graph.tensor(name)
    quant = None
    if dtype == "uint8":
        quant = QuantParams.per_tensor(inner.quant.scale[0], inner.quant.zero_point[0] + 128, "uint8")
    graph.add_tensor(Tensor(new, inner.shape, dtype, None, quant))
    return new


def quantized_feeds(graph: Graph, feeds: Mapping[str, np.ndarray]) -> Arrays:
    """Float feeds as the integers that the graph's inputs take."""
    return {name: graph.tensor(name).quant.quantize(feeds[name]) for name in graph.inputs}


# -- graphs that together use every op ---------------------------------------------------------------------------------


def mobile_graph(size: int = 17, seed: int = 0) -> Graph:
    """Strided, depthwise and pointwise convolutions, a residual, squeeze-excite and a classifier."""
    b = GraphBuilder("mobile", (1, size, size, 3), seed=seed)
    x = b.conv2d("input", 8, 3, stride=2, padding="same", bias=True, name="stem")
    x = b.activation(x, "relu6", name="stem_relu")
    y = b.depthwise(x, 3, name="depthwise")
    y = b.activation(y, "hard_swish", name="swish")
    gate = b.global_avg_pool(y, keep_dims=True, name="squeeze")
    gate = b.conv2d(gate, 8, 1, bias=True, name="excite")
    gate = b.activation(gate, "sigmoid", name="gate")
    y = b.mul(y, gate, name="scaled")
    y = b.conv2d(y, 8, 1, bias=True, gain=1.0, name="project")
    x = b.add(x, y, name="residual")
    x = b.global_avg_pool(x, name="pool")
    x = b.dense(x, 10, name="logits")
    return fill_biases(b.finish(b.activation(x, "softmax", name="probabilities")), seed)


def shuffle_graph(seed: int = 0) -> Graph:
    """Grouped convolutions, shuffles, splits, slices, gathers, transposes, pads and pools."""
    b = GraphBuilder("shuffle", (1, 14, 14, 8), seed=seed)
    x = b.conv2d("input", 16, 1, groups=4, bias=True, name="grouped")
    x = b.channel_shuffle(x, 4, name="shuffle")
    left, right = b.split(x, (8, 8), name="halves")
    narrow, wide = b.split(right, (3, 5), name="pieces")
    right = b.concat([wide, narrow], name="swapped")
    right = b.depthwise(right, 3, stride=1, name="spatial")
    x = b.concat([left, right], name="joined")
    x = b.gather(x, (3, 1, 2, 0, *range(4, 16)), name="picked")
    x = b.activation(x, "relu", name="positive")
    x = b.pool(x, "max_pool", 3, stride=2, padding="same", name="max")
    x = b.pool(x, "avg_pool", 2, stride=1, padding="same", name="avg")
    x = b.pad(x, (1, 0, 2, 1), name="padded")
    x = b.op("slice", [x], {"begin": (0, 1, 0, 0), "end": (1, 8, 9, 16), "strides": (1, 1, 2, 1)}, name="strided")
    x = b.op("slice", [x], {"begin": (0, 0, 1, 2), "end": (1, 6, 5, 14), "strides": (1, 1, 1, 1)}, name="cut")
    x = b.transpose(x, (0, 2, 1, 3), name="turned")
    shape = b.shape(x)
    x = b.reshape(x, (1, shape[1] * shape[2], shape[3]), name="flat")
    return fill_biases(b.finish(x), seed)
