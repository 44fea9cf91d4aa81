"""TFLite's layers with weights, and its pools, as nodes of the graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.builder import same_padding
from edgekit.graph.ir import Array
from edgekit.importers.tflite_context import Spread, Step, TfliteContext, Value, fused, reshaped
from edgekit.importers.tflite_model import TfliteOp
from edgekit.importers.tflite_shapes import axis_from_front, whole_numbers

SAME, VALID = 0, 1
PLAIN_WEIGHTS = 0
Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


def conv_2d(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """CONV_2D with an OHWI filter; in groups where the filter has fewer input channels than the image."""
    kernel = _filter(context, op)
    x = _image(context, op)
    channels, per_group = context.shape(x)[3], kernel.shape[3]
    if not per_group or channels % per_group:
        raise ImportFileError(f"its filter {kernel.shape} does not fit {channels} channels")
    return _convolution(context, op, x, kernel.transpose(1, 2, 3, 0), channels // per_group)


def depthwise_conv_2d(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """DEPTHWISE_CONV_2D with a 1HWO filter: output channel o reads input channel o // multiplier."""
    kernel = _filter(context, op)
    x = _image(context, op)
    channels = context.shape(x)[3]
    if kernel.shape[0] != 1 or kernel.shape[3] % channels:
        raise ImportFileError(f"its filter {kernel.shape} does not fit {channels} channels")
    return _convolution(context, op, x, kernel.transpose(1, 2, 0, 3), channels)


def _filter(context: TfliteContext, op: TfliteOp) -> Array:
    kernel = context.weights(op, 1, "filter")
    if kernel.ndim != 4:
        raise ImportFileError(f"its filter has shape {kernel.shape}: four dimensions are needed")
    return kernel


def _image(context: TfliteContext, op: TfliteOp) -> str:
    """The image that a convolution reads, behind a SPACE_TO_BATCH_ND where there is one."""
    value = context.value(op.input(0))
    return value.tensor if isinstance(value, Spread) else context.activation(op, rank=4)


def _convolution(context: TfliteContext, op: TfliteOp, x: str, kernel: Array, groups: int) -> list[Value]:
    """conv2d with an HWIO kernel, and the fused activation."""
    spread = context.value(op.input(0))
    if isinstance(spread, Spread):
        strides, dilation, padding = (1, 1), spread.block, _dilated_padding(context, op, spread)
    else:
        strides, dilation = _pair(op, "Stride{}"), _pair(op, "Dilation{}Factor", 1)
        padding = _padding(op, context.shape(x), kernel.shape, strides, dilation)
    weights = [context.store(op, 1, "kernel", kernel, f"in {groups} groups"), *_bias(context, op, kernel.shape[3])]
    attrs = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
    result = context.chain(x, Step("conv2d", tuple(weights), attrs), *fused(op))
    return [Spread(result, spread.block, None) if isinstance(spread, Spread) else result]


def _bias(context: TfliteContext, op: TfliteOp, units: int) -> list[str]:
    """The bias. Converters write zeros where a layer has none: these are left out."""
    if op.input(2) < 0:
        return []
    bias = context.weights(op, 2, "bias")
    if bias.size != units:
        raise ImportFileError(f"its bias {bias.shape} does not fit {units} outputs")
    return [context.store(op, 2, "bias", bias.reshape(-1))] if bias.any() else []


def _pair(op: TfliteOp, name: str, default: int = 0) -> Pair:
    """An option for H and one for W, both at least 1."""
    found = op.integer(name.format("H"), default), op.integer(name.format("W"), default)
    if min(found) < 1:
        raise ImportFileError(f"has {name.format('H')} and {name.format('W')} {found}: both must be at least 1")
    return found


def _padding(op: TfliteOp, shape: Sequence[int], kernel: Sequence[int], strides: Pair, dilation: Pair) -> Padding:
    """(top, bottom, left, right) of SAME or VALID over an image (N, H, W, C)."""
    mode = op.integer("Padding")
    if mode not in (SAME, VALID):
        raise ImportFileError(f"has padding number {mode}: it must be SAME or VALID")
    if mode == VALID:
        return (0, 0, 0, 0)
    vertical, horizontal = (same_padding(shape[i + 1], kernel[i], strides[i], dilation[i]) for i in (0, 1))
    return (*vertical, *horizontal)


# -- dilated convolutions as TensorFlow's converter writes them where the batch is open --------------------------------


def space_to_batch(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """SPACE_TO_BATCH_ND: nothing yet; the convolution behind it becomes a dilated one."""
    x = context.activation(op, rank=4)
    block, pads = context.integers(op, 1, "block"), context.integers(op, 2, "paddings")
    if len(block) != 2 or len(pads) != 4 or min(block) < 1 or min(pads) < 0:
        raise ImportFileError(f"has block {block} and paddings {pads}: two and four numbers are needed")
    (top, bottom, left, right), (_, height, width, _) = pads, context.shape(x)
    if (height + top + bottom) % block[0] or (width + left + right) % block[1]:
        raise ImportFileError(f"cannot cut {height}x{width} with padding {pads} into blocks {block}")
    return [Spread(x, (block[0], block[1]), (top, bottom, left, right))]


def batch_to_space(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """BATCH_TO_SPACE_ND: the dilated convolution's result, which is cropped already."""
    value = context.value(op.input(0))
    if not isinstance(value, Spread) or value.padding is not None:
        raise ImportFileError("reads no convolution of what SPACE_TO_BATCH_ND made: only a dilated one can be taken")
    return [value.tensor]


def _dilated_padding(context: TfliteContext, op: TfliteOp, spread: Spread) -> Padding:
    """Padding of the dilated convolution: that of SPACE_TO_BATCH_ND less the crops of BATCH_TO_SPACE_ND.

    A convolution of the pieces by n positions is one of the image in which n * block positions are cropped or padded.
    """
    readers = context.readers(op)
    plain = (op.integer("StrideH"), op.integer("StrideW"), op.integer("Padding")) == (1, 1, VALID)
    undilated = op.integer("DilationHFactor", 1) == op.integer("DilationWFactor", 1) == 1
    last = readers[0] if len(readers) == 1 else None
    if last is None or last.op != "BATCH_TO_SPACE_ND" or not plain or not undilated or spread.padding is None:
        raise ImportFileError(
            "is no plain dilated convolution between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND: convert the model with "
            "a fixed batch of 1, so that the converter writes the dilation itself"
        )
    block, crops = context.integers(last, 1, "block"), context.integers(last, 2, "crops")
    if (
        block != spread.block
        or len(crops) != 4
        or any(not 0 <= c <= p for c, p in zip(crops, spread.padding, strict=True))
    ):
        raise ImportFileError(f"is cropped by {crops}, which its padding {spread.padding} does not cover")
    top, bottom, left, right = (p - c for p, c in zip(spread.padding, crops, strict=True))
    return top, bottom, left, right


# -- dense layers ------------------------------------------------------------------------------------------------------


def fully_connected(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """FULLY_CONNECTED with weights (out, in), over rows of `in` numbers, whatever the input's dimensions."""
    if op.integer("WeightsFormat") != PLAIN_WEIGHTS:
        raise ImportFileError("has shuffled weights: convert the model again without that option")
    kernel = context.weights(op, 1, "weights")
    return _dense(context, op, kernel.T if kernel.ndim == 2 else kernel, bool(op.integer("KeepNumDims")))


def batch_matmul(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """BATCH_MATMUL with a constant matrix: a dense layer without bias."""
    kernel = context.weights(op, 1, "right factor")
    if op.integer("AdjX"):
        raise ImportFileError("multiplies by a transposed activation: it cannot be taken")
    while kernel.ndim > 2 and kernel.shape[0] == 1:
        kernel = kernel[0]
    return _dense(context, op, kernel.T if op.integer("AdjY") else kernel, keep_dims=True)


def _dense(context: TfliteContext, op: TfliteOp, kernel: Array, keep_dims: bool) -> list[Value]:
    x = context.activation(op)
    shape = context.shape(x)
    if kernel.ndim != 2 or 0 in kernel.shape or math.prod(shape) % kernel.shape[0]:
        raise ImportFileError(f"its weights (in, out) {kernel.shape} do not fit an input {shape}")
    features, units = kernel.shape
    if keep_dims and shape[-1] != features:
        raise ImportFileError(f"its weights (in, out) {kernel.shape} do not fit the last axis of {shape}")
    rows = math.prod(shape) // features
    target = (*shape[:-1], units) if keep_dims else (rows, units)
    bias = _bias(context, op, units) if op.op == "FULLY_CONNECTED" else []
    weights = (context.store(op, 1, "kernel", kernel), *bias)
    activation = fused(op)
    tail = [reshaped(target)] if target != (rows, units) else []
    return [context.chain(x, reshaped((rows, features)), Step("dense", weights), *activation, *tail)]


# -- pools and reductions ----------------------------------------------------------------------------------------------


def max_pool(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """MAX_POOL_2D."""
    return _pool(context, op, "max_pool")


def average_pool(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """AVERAGE_POOL_2D; TFLite's SAME does not count its padding, and neither does the graph."""
    return _pool(context, op, "avg_pool")


def _pool(context: TfliteContext, op: TfliteOp, kind: str) -> list[Value]:
    x = context.activation(op, rank=4)
    strides = _pair(op, "Stride{}")
    kernel = op.integer("FilterHeight"), op.integer("FilterWidth")
    attrs = {
        "kernel": kernel,
        "strides": strides,
        "padding": _padding(op, context.shape(x), kernel, strides, (1, 1)),
    }
    return [context.chain(x, Step(kind, attrs=attrs), *fused(op))]


def mean(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """MEAN over neighbouring axes."""
    x, before, (rows, count, rest), after = _reduction(context, op)
    return [context.chain(x, *before, _average(rows, count, rest, context, x, before), *after)]


def total(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """SUM over neighbouring axes: their mean times their size."""
    x, before, (rows, count, rest), after = _reduction(context, op)
    factor = Step("mul", (context.add_constant("count", np.full(1, count, np.float32)),))
    return [context.chain(x, *before, _average(rows, count, rest, context, x, before), factor, *after)]


def reduce_max(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """REDUCE_MAX over neighbouring axes: a max pool of that size."""
    x, before, (_, count, _), after = _reduction(context, op)
    window = (1, count) if before else context.shape(x)[1:3]
    return [context.chain(x, *before, Step("max_pool", attrs={"kernel": tuple(window)}), *after)]


def _average(rows: int, count: int, rest: int, context: TfliteContext, x: str, before: list[Step]) -> Step:
    """The average over the image that `_reduction` prepared."""
    if not before or rows == 1:
        return Step("global_avg_pool", attrs={"keep_dims": True})
    return Step("avg_pool", attrs={"kernel": (1, count)})


def _reduction(context: TfliteContext, op: TfliteOp) -> tuple[str, list[Step], tuple[int, int, int], list[Step]]:
    """What a reduction of an activation over neighbouring axes reads, and the steps before and after its pool.

    Height and width of an image are reduced as they lie (no step before). Anything else is seen as an image
    (1, rows, count, rest) of which the axis `count` is reduced.
    """
    x = context.activation(op)
    shape = context.shape(x)
    axes = sorted({axis_from_front(a, len(shape)) for a in whole_numbers(context.constant(op, 1, "list of axes"))})
    kept = tuple(1 if i in axes else d for i, d in enumerate(shape))
    target = kept if op.integer("KeepDims") else tuple(d for i, d in enumerate(shape) if i not in axes)
    x, axes = _behind_transpose(context, x, axes)
    shape = context.shape(x)
    real = [a for a in axes if shape[a] > 1]
    if len(shape) == 4 and set(real) <= {1, 2} <= set(axes) and shape[1:3] != (1, 1):
        return x, [], (1, shape[1] * shape[2], shape[3]), [reshaped(target)]
    first, last = (real[0], real[-1]) if real else (0, -1)
    if len(real) != sum(1 for d in shape[first : last + 1] if d > 1) or not target:
        raise ImportFileError(f"reduces axes {tuple(axes)} of {shape}: only neighbouring axes can be reduced, not all")
    parts = math.prod(shape[:first]), math.prod(shape[first : last + 1]), math.prod(shape[last + 1 :])
    return x, [reshaped((1, *parts))], parts, [reshaped(target)]


def _behind_transpose(context: TfliteContext, x: str, axes: list[int]) -> tuple[str, list[int]]:
    """What a transpose before a reduction reads, and the axes there, where the kept ones stay in order.

    PyTorch's networks reduce NCHW images, which the converter makes of NHWC ones.
    """
    node = context.graph.producer(x)
    if node is None or node.op != "transpose":
        return x, axes
    perm = node.attrs["perm"]
    kept = [p for a, p in enumerate(perm) if a not in axes]
    return (node.inputs[0], sorted(perm[a] for a in axes)) if kept == sorted(kept) else (x, axes)
