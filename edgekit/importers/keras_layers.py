"""Keras's layers with weights, its pools and what it does to images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.builder import pair
from edgekit.graph.ir import Array
from edgekit.importers.keras_activations import fused
from edgekit.importers.keras_calls import Call, is_int, short
from edgekit.importers.keras_context import Convert, KerasContext, Value, only_view
from edgekit.importers.keras_model import KerasLayer
from edgekit.importers.onnx_view import View

KERAS_EPSILON = 1e-7
"""keras.backend.epsilon(), which Normalization puts under its division."""


def _convolution(
    context: KerasContext, x: View, kernel: Array, bias: Array | None, attrs: dict[str, Any], suffix: str = ""
) -> View:
    tensor, name = context.image(x), context.unique(context.named(suffix))
    inputs = [tensor, context.add_constant(f"{name}/kernel", kernel)]
    if bias is not None:
        inputs.append(context.add_constant(f"{name}/bias", bias))
    return context.view(context.emit("conv2d", inputs, attrs, name))


def _window(context: KerasContext, layer: KerasLayer, x: View) -> dict[str, Any]:
    """strides, dilation and padding of a convolution, by its settings."""
    kernel, strides = layer.pair("kernel_size"), layer.pair("strides", (1, 1))
    dilation = layer.pair("dilation_rate", (1, 1))
    padding = context.builder.resolve_padding(context.image(x), kernel, strides, _padding(layer), dilation)
    return {"strides": strides, "dilation": dilation, "padding": padding}


def _padding(layer: KerasLayer) -> str:
    padding = layer.text("padding", "valid").lower()
    if padding not in ("same", "valid"):
        raise ImportFileError(f"its setting 'padding' is {padding!r}: it must be same or valid")
    return padding


def conv2d(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Conv2D: any groups, strides and dilations."""
    x = only_view(call)
    attrs, groups = _window(context, layer, x), layer.integer("groups", 1)
    filters, channels = layer.integer("filters"), x.shape[-1]
    if groups < 1 or channels % groups:
        raise ImportFileError(f"its {channels} input channels do not divide into {groups} groups")
    wanted = {"kernel": (*layer.pair("kernel_size"), channels // groups, filters)}
    kernel, bias = _kernel_and_bias(context, layer, wanted, filters)
    return fused(context, layer, _convolution(context, x, kernel, bias, {**attrs, "groups": groups}))


def _kernel_and_bias(
    context: KerasContext, layer: KerasLayer, wanted: Mapping[str, tuple[int, ...]], units: int
) -> tuple[Array, Array | None]:
    with_bias = {**wanted, "bias": (units,)} if layer.flag("use_bias", True) else wanted
    arrays = context.weights(with_bias)
    return arrays[0], arrays[1] if len(arrays) > 1 else None


def depthwise_conv2d(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """DepthwiseConv2D with any depth multiplier."""
    x = only_view(call)
    attrs, multiplier, channels = _window(context, layer, x), layer.integer("depth_multiplier", 1), x.shape[-1]
    wanted = {"kernel": (*layer.pair("kernel_size"), channels, multiplier)}
    kernel, bias = _kernel_and_bias(context, layer, wanted, channels * multiplier)
    attrs["groups"] = channels
    return fused(context, layer, _convolution(context, x, _depthwise(kernel), bias, attrs))


def _depthwise(kernel: Array) -> Array:
    """(kh, kw, C, M) as (kh, kw, 1, C * M)."""
    return kernel.reshape(*kernel.shape[:2], 1, -1)


def separable_conv2d(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """SeparableConv2D: a depthwise and a 1x1 convolution."""
    x = only_view(call)
    attrs, multiplier, channels = _window(context, layer, x), layer.integer("depth_multiplier", 1), x.shape[-1]
    filters = layer.integer("filters")
    wanted: dict[str, tuple[int, ...]] = {
        "kernel": (*layer.pair("kernel_size"), channels, multiplier),
        "pointwise_kernel": (1, 1, channels * multiplier, filters),
    }
    if layer.flag("use_bias", True):
        wanted["bias"] = (filters,)
    depthwise, pointwise, *bias = context.weights(wanted)
    attrs["groups"] = channels
    between = _convolution(context, x, _depthwise(depthwise), None, attrs, "depthwise")
    return fused(context, layer, _convolution(context, between, pointwise, bias[0] if bias else None, {}))


def dense(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Dense: of vectors; over the last axis of larger tensors as a 1x1 convolution."""
    x, units = only_view(call), layer.integer("units")
    if x.rank < 2:
        raise ImportFileError(f"works on a tensor {x.shape}: it must be vectors (N, F)")
    kernel, bias = _kernel_and_bias(context, layer, {"kernel": (x.shape[-1], units)}, units)
    if x.rank != 2:
        rows = x if x.rank == 4 else context.reshape(x, (x.shape[0], 1, math.prod(x.shape[1:-1]), x.shape[-1]), "rows")
        y = _convolution(context, rows, kernel.reshape(1, 1, *kernel.shape), bias, {})
        return fused(context, layer, y if x.rank == 4 else context.reshape(y, (*x.shape[:-1], units), "reshape"))
    tensor, name = context.tensor(x), context.unique()
    inputs = [tensor, context.add_constant(f"{name}/kernel", kernel)]
    if bias is not None:
        inputs.append(context.add_constant(f"{name}/bias", bias))
    return fused(context, layer, context.view(context.emit("dense", inputs, name=name)))


def batch_normalization(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """BatchNormalization over the last axis, with or without scale and centre."""
    x = only_view(call)
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if axis not in (-1, x.rank - 1):
        raise ImportFileError(f"normalizes axis {short(axis)} of {x.shape}: it must be the last (channels_last)")
    channels = (x.shape[-1],)
    given = {"gamma": layer.flag("scale", True), "beta": layer.flag("center", True)}
    roles = [*(role for role, there in given.items() if there), "moving_mean", "moving_variance"]
    arrays = dict(zip(roles, context.weights(dict.fromkeys(roles, channels)), strict=True))
    arrays.setdefault("gamma", np.ones(channels, np.float32))
    arrays.setdefault("beta", np.zeros(channels, np.float32))
    tensor, name = context.tensor(x), context.unique()
    statistics = [
        context.add_constant(f"{name}/{key}", arrays[role])
        for key, role in zip(
            ("gamma", "beta", "mean", "variance"), ("gamma", "beta", "moving_mean", "moving_variance"), strict=True
        )
    ]
    attrs = {"epsilon": layer.number("epsilon", 1e-3)}
    return context.view(context.emit("batch_norm", [tensor, *statistics], attrs, name))


# -- numbers of images -------------------------------------------------------------------------------------------------


def rescaling(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Rescaling: x * scale + offset, each one number or one per channel."""
    scale, offset = _numbers(layer, "scale", 1.0), _numbers(layer, "offset", 0.0)
    return _scaled(context, only_view(call), scale, offset)


def _scaled(context: KerasContext, x: View, scale: Array, offset: Array) -> View:
    scaled, shifted = bool((scale != 1).any()), bool((offset != 0).any())
    if scaled:
        x = context.with_constant("mul", x, scale, "scale" if shifted else "")
    return context.with_constant("add", x, offset) if shifted else x


def _numbers(layer: KerasLayer, key: str, default: float | None) -> Array:
    try:
        value = np.asarray(layer.config.get(key, default), np.float64)
    except (ValueError, TypeError):
        value = np.asarray(np.nan)
    if not np.isfinite(value).all():
        raise ImportFileError(f"its setting {key!r} is {short(layer.config.get(key))}: it must be numbers")
    return value


def normalization(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Normalization with given or adapted statistics: (x - mean) / max(sqrt(variance), epsilon), or its inverse."""
    x = only_view(call)
    axis = layer.config.get("axis", -1)
    axes = [] if axis is None else list(axis) if isinstance(axis, list | tuple) else [axis]
    if not all(is_int(a) and -x.rank <= a < x.rank for a in axes):
        raise ImportFileError(f"its setting 'axis' is {short(axis)}, which does not fit {x.shape}")
    kept = tuple(sorted(a % x.rank for a in axes))
    if layer.config.get("mean") is None:
        shape = tuple(x.shape[a] for a in kept)
        mean, variance = (a.astype(np.float64) for a in context.weights({"mean": shape, "variance": shape}, surplus=1))
    else:
        mean, variance = _numbers(layer, "mean", None), _numbers(layer, "variance", 1.0)
    mean, variance = _aligned(mean, kept, x.rank), _aligned(variance, kept, x.rank)
    deviation = np.maximum(np.sqrt(variance), KERAS_EPSILON)
    if layer.flag("invert", False):
        return _scaled(context, x, deviation, mean)
    return _scaled(context, x, 1 / deviation, -mean / deviation)


def _aligned(value: Array, kept: tuple[int, ...], rank: int) -> Array:
    """Statistics with their axes where the kept axes are, the last at the last."""
    if value.ndim == 0:
        return value
    if value.ndim > len(kept):
        value = value.reshape([d for d in value.shape if d != 1] or [1])
    shape = [1] * rank
    for size, axis in zip(reversed(value.shape), reversed(kept), strict=False):
        shape[axis] = size
    if math.prod(shape) != value.size:
        raise ImportFileError(f"its statistics {value.shape} do not fit the axes {kept}")
    return value.reshape(shape)


# -- pools, padding ----------------------------------------------------------------------------------------------------


def pool(op: str) -> Convert:
    """MaxPooling2D or AveragePooling2D; the padding of "same" is not counted."""

    def convert(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
        x = only_view(call)
        kernel = layer.pair("pool_size", (2, 2))
        return pooled(context, op, x, kernel, layer.pair("strides", kernel), _padding(layer))

    return convert


def pooled(
    context: KerasContext, op: str, x: View, kernel: tuple[int, int], strides: tuple[int, int], padding: str
) -> View:
    """A pool of an image."""
    tensor = context.image(x)
    widths = context.builder.resolve_padding(tensor, kernel, strides, padding, (1, 1))
    return context.make(op, [tensor], {"kernel": kernel, "strides": strides, "padding": widths})


def global_pool(op: str) -> Convert:
    """GlobalAveragePooling2D or GlobalMaxPooling2D."""

    def convert(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
        return pooled_whole(context, op, only_view(call), layer.flag("keepdims", False))

    return convert


def pooled_whole(context: KerasContext, op: str, x: View, keep: bool) -> View:
    """The mean or the maximum of each channel of an image: (N, 1, 1, C), or (N, C)."""
    tensor = context.image(x)
    if op == "max_pool":
        y = context.make(op, [tensor], {"kernel": x.shape[1:3], "strides": (1, 1)})
    else:
        y = context.make("global_avg_pool", [tensor], {"keep_dims": True})
    return y if keep else context.reshape(y, (x.shape[0], x.shape[3]))


def zero_padding2d(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """ZeroPadding2D."""
    (top, bottom), (left, right) = _sides(layer, "padding")
    attrs = {"before": (0, top, left, 0), "after": (0, bottom, right, 0)}
    return context.make("pad", [context.image(only_view(call))], attrs)


def cropping2d(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Cropping2D."""
    x = only_view(call)
    (top, bottom), (left, right) = _sides(layer, "cropping")
    n, h, w, c = context.shape(context.image(x))
    attrs = {"begin": (0, top, left, 0), "end": (n, h - bottom, w - right, c), "strides": (1, 1, 1, 1)}
    return context.make("slice", [context.image(x)], attrs)


def _sides(layer: KerasLayer, key: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """One number, one for height and one for width, or two of each."""
    value: Any = layer.config.get(key, 1 if key == "padding" else 0)
    value = [value, value] if is_int(value) else value
    sides = [[side, side] if is_int(side) else side for side in value] if isinstance(value, list | tuple) else []
    good = len(sides) == 2 and all(
        isinstance(side, list | tuple) and len(side) == 2 and all(is_int(v) and v >= 0 for v in side) for side in sides
    )
    if not good:
        raise ImportFileError(f"its setting {key!r} is {short(value)}: it must be whole numbers, none negative")
    return pair(sides[0]), pair(sides[1])
