"""Layers with weights as TFLite operators: CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED with their layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgekit.errors import UnsupportedOpError
from edgekit.export.tflite_model import TfliteModel
from edgekit.export.tflite_padding import add_spatial_pad, padding_name, used_padding
from edgekit.export.tflite_versions import DILATED_DEPTHWISE, GROUPED_CONV
from edgekit.graph.ir import Array, Node, Tensor
from edgekit.graph.quant_params import QuantParams


def write_conv2d(model: TfliteModel, node: Node) -> None:
    """CONV_2D with an OHWI filter, or DEPTHWISE_CONV_2D with a 1HWC one."""
    kernel, in_channels = model.graph.shape(node.inputs[1]), model.graph.shape(node.inputs[0])[3]
    padding = padding_name(model.graph.shape(node.inputs[0]), kernel, node.attrs)
    (down, right), (dilation_h, dilation_w) = node.attrs["strides"], node.attrs["dilation"]
    fields = {
        "padding": model.enum("Padding", padding or "VALID"),
        "strideH": down,
        "strideW": right,
        "dilationHFactor": dilation_h,
        "dilationWFactor": dilation_w,
        "fusedActivationFunction": model.activation(node),
    }
    source = model.tensor(node.inputs[0]) if padding else _padded(model, node, kernel)
    groups = node.attrs["groups"]
    if groups == in_channels > 1:
        fields["depthMultiplier"] = kernel[3] // in_channels
        inputs = [source, *_weights(model, node, "1hwc", _depthwise_filter, 3)]
        dilated = max(dilation_h, dilation_w) > 1 and model.graph.tensor(node.output).quant is None
        version = DILATED_DEPTHWISE if dilated else None
        model.add("DEPTHWISE_CONV_2D", inputs, [model.tensor(node.output)], "DepthwiseConv2DOptions", fields, version)
        return
    inputs = [source, *_weights(model, node, "ohwi", _conv_filter, 0)]
    model.add(
        "CONV_2D", inputs, [model.tensor(node.output)], "Conv2DOptions", fields, GROUPED_CONV if groups > 1 else None
    )


def write_dense(model: TfliteModel, node: Node) -> None:
    """FULLY_CONNECTED with weights (out, in)."""
    inputs = [model.tensor(node.inputs[0]), *_weights(model, node, "oi", np.transpose, 0)]
    fields = {"fusedActivationFunction": model.activation(node)}
    model.add("FULLY_CONNECTED", inputs, [model.tensor(node.output)], "FullyConnectedOptions", fields)


def _padded(model: TfliteModel, node: Node, kernel: Sequence[int]) -> int:
    return add_spatial_pad(model, node, used_padding(model.graph.shape(node.inputs[0]), kernel, node.attrs))


def _conv_filter(kernel: Array) -> Array:
    """HWIO to OHWI."""
    return np.transpose(kernel, (3, 0, 1, 2))


def _depthwise_filter(kernel: Array) -> Array:
    """(kh, kw, 1, channels * multiplier) to (1, kh, kw, channels * multiplier)."""
    return np.transpose(kernel, (2, 0, 1, 3))


def _weights(model: TfliteModel, node: Node, layout: str, arrange: Callable[[Array], Array], axis: int) -> list[int]:
    """Indices of the filter, arranged its channel scales on `axis`, and of the bias, zeros if there is none."""
    kernel = model.graph.tensor(node.inputs[1])
    if not kernel.is_constant:
        raise UnsupportedOpError(node.op, node.name, "TFLite", "its kernel must be a constant")
    quant = kernel.quant
    if quant is not None and quant.axis is not None:
        quant = replace(quant, axis=axis)
    arranged = replace(kernel.with_data(arrange(kernel.array)), quant=quant)
    weights = model.constant(arranged, layout)
    if len(node.inputs) == 3:
        return [weights, model.tensor(node.inputs[2])]
    return [weights, _zero_bias(model, node, kernel)]


def _zero_bias(model: TfliteModel, node: Node, kernel: Tensor) -> int:
    channels, source = kernel.shape[-1], model.graph.tensor(node.inputs[0])
    if kernel.quant is None or source.quant is None:
        return model.new_constant(f"{node.name}/bias", np.zeros(channels, np.float32))
    scales = np.asarray(kernel.quant.scale) * source.quant.scale[0]
    quant = QuantParams.per_channel(scales, 0, "int32")
    if kernel.quant.axis is None:
        quant = QuantParams.per_tensor(scales[0], 0, "int32")
    return model.new_constant(f"{node.name}/bias", np.zeros(channels, np.int32), quant)
