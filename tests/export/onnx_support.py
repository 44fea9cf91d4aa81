"""What the tests of the ONNX writer share: running files, a small min-max quantizer, and a plain integer reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from edgekit.graph import Graph, Node, QuantParams, Tensor, validate
from edgekit.graph.interpret import interpret
from edgekit.graph.ops import op_spec
from edgekit.graph.quant_params import RANGES

Array = np.ndarray[Any, np.dtype[Any]]


def to_nchw(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x


def to_nhwc(x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def open_session(data: bytes, optimized: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run_onnx(data: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Feed NHWC arrays, get NHWC arrays."""
    session = open_session(data)
    names = [o.name for o in session.get_outputs()]
    values = session.run(names, {name: to_nchw(x) for name, x in feeds.items()})
    return {name: to_nhwc(value) for name, value in zip(names, values, strict=True)}


def optimized_ops(data: bytes, folder: Path) -> list[str]:
    """What onnxruntime really runs, without the transposes of its channels-last kernels."""
    path = folder / "optimized.onnx"
    open_session(data, path)
    return [node.op_type for node in onnx.load(str(path)).graph.node if node.op_type != "Transpose"]


def file_ops(data: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_model_from_string(data).graph.node]


def randomize(graph: Graph, rng: np.random.Generator) -> Graph:
    """Random numbers in every float constant; variances positive."""

    def change(tensor: Tensor) -> Tensor:
        if not tensor.is_constant or tensor.dtype != "float32":
            return tensor
        data = rng.standard_normal(tensor.shape).astype(np.float32)
        if tensor.name.endswith("/variance"):
            data = np.abs(data) + np.float32(0.1)
        elif tensor.name.endswith("/kernel"):
            data /= np.float32(np.sqrt(max(np.prod(tensor.shape[:-1]), 1)))
        return tensor.with_data(data)

    graph.map_tensors(change)
    return graph


def random_feeds(graph: Graph, rng: np.random.Generator) -> dict[str, Array]:
    return {name: rng.standard_normal(graph.shape(name)).astype(np.float32) for name in graph.inputs}


# -- quantization by minimum and maximum ---------------------------------------------------------------------------


def quantize_min_max(graph: Graph, feeds: Mapping[str, Array], io: str = "float32") -> Graph:
    """An int8 graph with the ranges seen on `feeds`; `io`: dtype of the graph's inputs and outputs."""
    values = interpret(graph, feeds, keep=True)
    groups = _groups(graph)
    quants: dict[str, QuantParams] = {}
    for name, root in groups.items():
        members = [n for n, r in groups.items() if r == root]
        quants[name] = asymmetric(np.concatenate([values[m].ravel() for m in members]))
    for node in graph.nodes:
        fixed = op_spec(node.op).fixed_scale
        if fixed is not None:
            quants[node.output] = QuantParams.per_tensor(*fixed)
    twin = graph.copy()
    twin.map_tensors(lambda t: t if t.is_constant else replace(t, dtype="int8", quant=quants[t.name]))
    for node in twin.nodes:
        _quantize_constants(twin, node)
    return validate(_with_io(twin, io), "quantizing")


def asymmetric(values: Array) -> QuantParams:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = max(high - low, 1e-6) / 255
    return QuantParams.per_tensor(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def _groups(graph: Graph) -> dict[str, str]:
    """Tensors that must share a scale, each with the name of its group's first member."""
    root = {t.name: t.name for t in graph.tensors.values() if not t.is_constant}
    for node in graph.nodes:
        if not op_spec(node.op).same_scale:
            continue
        names = [n for n in (*node.inputs, *node.outputs) if n in root]
        joined = {root[n] for n in names}
        root = {n: (root[names[0]] if r in joined else r) for n, r in root.items()}
    return root


def _quantize_constants(graph: Graph, node: Node) -> None:
    if node.op in ("conv2d", "dense"):
        kernel = graph.tensor(node.inputs[1])
        scales = np.maximum(np.abs(kernel.array).max(axis=tuple(range(kernel.array.ndim - 1))), 1e-6) / 127
        weights = QuantParams.per_channel(scales, kernel.array.ndim - 1)
        graph.set_tensor(Tensor.constant(kernel.name, weights.quantize(kernel.array), weights))
        if len(node.inputs) == 3:
            source = graph.tensor(node.inputs[0]).quant
            assert source is not None
            bias = graph.tensor(node.inputs[2])
            params = QuantParams.per_channel(np.asarray(weights.scale) * source.scale[0], 0, "int32")
            graph.set_tensor(Tensor.constant(bias.name, params.quantize(bias.array), params))
        return
    for name in node.inputs:
        tensor = graph.tensor(name)
        if tensor.is_constant and tensor.quant is None:
            params = asymmetric(tensor.array)
            graph.set_tensor(Tensor.constant(name, params.quantize(tensor.array), params))


def _with_io(graph: Graph, io: str) -> Graph:
    """Put boundary nodes around an int8 graph: its ends keep their names and take the dtype `io`."""
    if io == "int8":
        return graph
    for name in graph.inputs:
        inner, outer = graph.tensor(name), f"{name}_int8"
        graph.rename_tensor(name, outer)
        graph.add_tensor(_boundary(name, inner, io))
        graph.inputs = tuple(name if i == outer else i for i in graph.inputs)
        graph.add_node(Node(f"{name}_quantize", "quantize", (name,), (outer,)), before=graph.nodes[0])
    for name in graph.outputs:
        inner, outer = graph.tensor(name), f"{name}_int8"
        graph.rename_tensor(name, outer)
        graph.add_tensor(_boundary(name, inner, io))
        graph.outputs = tuple(name if o == outer else o for o in graph.outputs)
        op = "dequantize" if io == "float32" else "quantize"
        graph.add_node(Node(f"{name}_{op}", op, (outer,), (name,)))
    return graph


def _boundary(name: str, inner: Tensor, io: str) -> Tensor:
    if io == "float32":
        return Tensor(name, inner.shape)
    assert inner.quant is not None
    zero_point = inner.quant.zero_point[0] + 128
    return Tensor(name, inner.shape, "uint8", quant=QuantParams.per_tensor(inner.quant.scale[0], zero_point, "uint8"))


def reference_node(graph: Graph, node: Node, real: list[Array]) -> list[Array]:
    """One quantized node in float64 on dequantized inputs: the real values of its outputs, neither rounded nor clipped.

    `real` holds the values of its activation inputs.
    """
    arrays, waiting = [], list(real)
    for name in node.inputs:
        tensor = graph.tensor(name)
        if not tensor.is_constant:
            arrays.append(waiting.pop(0).astype(np.float64))
        else:
            arrays.append(tensor.array if tensor.quant is None else tensor.quant.dequantize(tensor.array))
    reference = op_spec(node.op).reference
    return arrays if reference is None else reference(arrays, node.attrs)


def check_steps(graph: Graph, values: Mapping[str, Array], slack: float = 0.01) -> None:
    """Every integer must be a rounding of the exact value of its node, fed with the file's own values.

    values: float values of all activations of the graph. slack: error of the runtime's arithmetic, in steps; with it,
    either neighbour of a tie may be taken.
    """
    for node in graph.nodes:
        real = [values[name] for name in node.inputs if not graph.tensor(name).is_constant]
        for name, exact in zip(node.outputs, reference_node(graph, node, real), strict=True):
            quant = graph.tensor(name).quant
            if quant is None:
                np.testing.assert_allclose(values[name], exact, rtol=1e-5, atol=1e-6, err_msg=name)
                continue
            low, high = RANGES[quant.dtype]
            steps = np.clip(exact / quant.scale[0] + quant.zero_point[0], low, high)
            error = np.abs(quant.quantize(values[name]) - steps).max()
            assert error <= 0.5 + slack, f"{node.op} {name}: {error} steps from the exact value"
