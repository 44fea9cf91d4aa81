"""Kernels and biases to integers: per output channel, symmetric, with the mean error folded into the bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.graph.ir import Array
from edgekit.graph.quant_params import QuantParams
from edgekit.quantize.calibrate import FloatArray

LEVELS = 127
BIAS_LIMIT = 2**30
SMALLEST_MULTIPLIER = 2.0**-24
"""Least (input scale * kernel scale / output scale) that every runtime's fixed-point arithmetic can hold."""


@dataclass(frozen=True, slots=True)
class IntegerLayer:
    """kernel int8 with `kernel_params` (last axis); bias int32 (out,) with `bias_params`."""

    kernel: npt.NDArray[np.int8]
    kernel_params: QuantParams
    bias: npt.NDArray[np.int32]
    bias_params: QuantParams


def quantize_layer(
    kernel: FloatArray, bias: FloatArray, input_scale: float, output_scale: float, input_mean: FloatArray | None
) -> IntegerLayer:
    """Quantize one convolution or dense layer.

    kernel: (..., in, out); bias: (out,); input_mean: mean of each input channel, shape (channels of the input,): the
    mean error of the rounded kernel is subtracted from the bias (arXiv:1906.04721, section 4.2, from data); None leaves
    it.
    """
    scales = kernel_scales(kernel, bias, input_scale, output_scale)
    params = QuantParams.per_channel(scales, axis=kernel.ndim - 1)
    integers = np.clip(np.rint(kernel / params.broadcast_scale(kernel.ndim)), -LEVELS, LEVELS).astype(np.int8)
    if input_mean is not None:
        bias = bias - mean_error(params.dequantize(integers) - kernel, input_mean)
    bias_params = QuantParams.per_channel(np.asarray(params.scale, np.float64) * input_scale, axis=0, dtype="int32")
    steps = np.rint(bias.astype(np.float64) / np.asarray(bias_params.scale))
    return IntegerLayer(integers, params, np.clip(steps, -(2**31), 2**31 - 1).astype(np.int32), bias_params)


def kernel_scales(kernel: FloatArray, bias: FloatArray, input_scale: float, output_scale: float) -> Array:
    """Scales (out,): the greatest |weight| on 127, more where the bias or the runtime's multiplier needs it."""
    greatest = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 1))).astype(np.float64)
    for_bias = np.abs(bias).astype(np.float64) / (input_scale * BIAS_LIMIT)
    floor = SMALLEST_MULTIPLIER * output_scale / input_scale
    scales: Array = np.maximum(np.maximum(greatest / LEVELS, for_bias), floor)
    return scales


def mean_error(error: FloatArray, input_mean: FloatArray) -> FloatArray:
    """Mean output error (out,) of a kernel error (..., in / groups, out) under inputs of the given mean (channels,)."""
    per_group, out = error.shape[-2:]
    groups = len(input_mean) // per_group
    by_channel = error.reshape(-1, per_group, groups, out // groups).sum(axis=0, dtype=np.float64)
    means = input_mean.reshape(groups, per_group).astype(np.float64)
    result: FloatArray = np.einsum("igo,gi->go", by_channel, means).reshape(out).astype(np.float32)
    return result
