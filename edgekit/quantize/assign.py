"""Turns a float graph and its statistics into an int8 graph by TFLite's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgekit.errors import QuantizationError
from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.ops import op_spec
from edgekit.graph.quant_params import QuantParams
from edgekit.graph.validate import validate
from edgekit.quantize.boundaries import IoType, check_io, set_io
from edgekit.quantize.calibrate import FloatArray, TensorStatistics
from edgekit.quantize.coarsen import coarsen_scales
from edgekit.quantize.groups import fixed_scale_of, head_activations, scale_groups, separate_fixed_scales
from edgekit.quantize.ranges import activation_params, check_method, choose_range
from edgekit.quantize.weights import quantize_layer
from edgekit.quantize.xnnpack_forms import use_xnnpack_forms

_FLOAT_ONLY = ("batch_norm", "swish", "hard_sigmoid")


@dataclass(frozen=True, slots=True)
class QuantizeOptions:
    """range_method: min-max, percentile or mse. io: type of the graph's inputs and outputs.

    xnnpack_forms: write ops that XNNPACK lacks in int8 (softmax, hard_swish, average pools, relus that could not be
    fused) in forms that it takes; NPUs want the ops themselves.
    input_range: least and greatest value that the graph's input can take, where that is known (None: as calibrated).
    """

    range_method: str = "mse"
    bias_correction: bool = True
    io: IoType = "int8"
    xnnpack_forms: bool = True
    input_range: tuple[float, float] | None = None


def quantize_graph(graph: Graph, statistics: Mapping[str, TensorStatistics], options: QuantizeOptions) -> Graph:
    """An int8 copy of a float graph on which the passes have run.

    statistics: by activation name, from `calibrate`. Raises QuantizationError for an op without integer arithmetic and
    for unknown options.
    """
    check_method(options.range_method)
    check_io(options.io)
    for node in graph.nodes:
        if node.op in _FLOAT_ONLY:
            raise QuantizationError(
                f"layer {node.name!r} ({node.op}) has no int8 form; run the passes before quantizing"
            )
    quantized = graph.copy()
    repeats = separate_fixed_scales(quantized)
    repeated = {name: statistics[origin] for name, origin in repeats.items() if origin in statistics}
    _assign_activations(quantized, {**statistics, **repeated}, options)
    for node in quantized.nodes:
        if node.op in ("conv2d", "dense"):
            _quantize_layer(quantized, node, statistics if options.bias_correction else {})
        else:
            _quantize_constants(quantized, node)
    if options.xnnpack_forms:
        use_xnnpack_forms(quantized)
    set_io(quantized, options.io)
    quantized.drop_unused()
    return validate(quantized, "quantization")


def _assign_activations(graph: Graph, statistics: Mapping[str, TensorStatistics], options: QuantizeOptions) -> None:
    head, groups = head_activations(graph), scale_groups(graph)
    for group in groups:
        method = "min-max" if head.issuperset(group) else options.range_method
        params = _group_params(graph, group, statistics, replace(options, range_method=method))
        for name in group:
            graph.set_tensor(replace(graph.tensor(name), dtype="int8", quant=params))
    coarsen_scales(graph, groups)


def _group_params(
    graph: Graph, group: Sequence[str], statistics: Mapping[str, TensorStatistics], options: QuantizeOptions
) -> QuantParams:
    fixed = fixed_scale_of(graph, group)
    if fixed is not None:
        return QuantParams.per_tensor(*fixed)
    known = options.input_range if set(group).intersection(graph.inputs) else None
    members = [statistics[name] for name in group if name in statistics and (known is None or name not in graph.inputs)]
    ranges = [choose_range(options.range_method, members)] if members else []
    if known is not None:
        ranges.append(known)
    if not ranges:
        raise QuantizationError(f"no statistics for {group[0]!r}; calibrate the graph that is quantized")
    return activation_params(min(low for low, _ in ranges), max(high for _, high in ranges))


def _quantize_layer(graph: Graph, node: Node, statistics: Mapping[str, TensorStatistics]) -> None:
    x, y = _params(graph, node.inputs[0]), _params(graph, node.output)
    kernel = graph.tensor(node.inputs[1])
    bias = graph.tensor(node.inputs[2]).array if len(node.inputs) == 3 else np.zeros(kernel.shape[-1], np.float32)
    seen = statistics.get(node.inputs[0])
    layer = quantize_layer(
        np.asarray(kernel.array, np.float32), bias, x.scale[0], y.scale[0], None if seen is None else seen.mean
    )
    names = [graph.unique_name(f"{node.name}/{part}_int8") for part in ("kernel", "bias")]
    graph.add_tensor(Tensor.constant(names[0], layer.kernel, layer.kernel_params))
    graph.add_tensor(Tensor.constant(names[1], layer.bias, layer.bias_params))
    graph.replace_node(node, replace(node, inputs=(node.inputs[0], *names)))


def _quantize_constants(graph: Graph, node: Node) -> None:
    """Constants of add, mul and concat become int8, per tensor."""
    inputs = []
    for name in node.inputs:
        tensor = graph.tensor(name)
        if tensor.is_constant and tensor.quant is None:
            tensor = _integer_constant(graph, node, tensor)
        inputs.append(tensor.name)
    graph.replace_node(node, replace(node, inputs=tuple(inputs)))


def _integer_constant(graph: Graph, node: Node, tensor: Tensor) -> Tensor:
    values: FloatArray = np.asarray(tensor.array, np.float32)
    if op_spec(node.op).same_scale:
        params = _params(graph, node.output)
    else:
        params = activation_params(float(values.min()), float(values.max()))
    name = graph.unique_name(f"{tensor.name}_int8")
    return graph.add_tensor(Tensor.constant(name, params.quantize(values), params))


def _params(graph: Graph, name: str) -> QuantParams:
    params = graph.tensor(name).quant
    if params is None:
        raise QuantizationError(f"activation {name!r} has no scale")
    return params
