"""ONNX's layers with weights, and its pools, as nodes of the graph."""

from __future__ import annotations

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.onnx_context import ImportContext, Value
from edgekit.importers.onnx_model import OnnxNode
from edgekit.importers.onnx_view import NHWC_OF_NCHW, View
from edgekit.importers.onnx_window import Window, read_window


def conv(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Conv: any groups, strides and dilations, in two dimensions."""
    x = context.view(node)
    kernel = context.weights(node, 1, "kernel")
    if x.rank != 4 or kernel.ndim != 4:
        raise ImportFileError(f"is a convolution of {x.rank - 2} dimensions, kernel {kernel.shape}: it must be of two")
    if node.integers("kernel_shape", kernel.shape[2:]) != kernel.shape[2:]:
        raise ImportFileError(f"attribute 'kernel_shape' contradicts the kernel {kernel.shape}")
    window = read_window(node, kernel.shape[2:], x.shape[2:])
    attrs = {
        "strides": window.strides,
        "dilation": window.dilation,
        "padding": window.padding(),
        "groups": node.integer("group", 1),
    }
    name = context.unique()
    inputs = [context.image(x), context.add_constant(f"{name}/kernel", kernel.transpose(2, 3, 1, 0))]
    if node.input(2):
        bias = context.weights(node, 2, "bias").reshape(-1)
        inputs.append(context.add_constant(f"{name}/bias", bias))
    return [_nchw(context, context.emit("conv2d", inputs, attrs, name))]


def gemm(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Gemm with a constant matrix: alpha, beta and transB are folded into the weights."""
    if node.integer("transA", 0):
        raise ImportFileError("multiplies by a transposed activation (transA=1): only transA=0 can be taken")
    kernel = context.weights(node, 1, "kernel")
    if node.integer("transB", 0):
        kernel = kernel.T
    kernel = kernel * np.float32(node.number("alpha", 1.0))
    bias = None
    if node.input(2):
        bias = context.weights(node, 2, "bias") * np.float32(node.number("beta", 1.0))
    return [_dense(context, context.view(node), kernel, bias)]


def mat_mul(context: ImportContext, node: OnnxNode) -> list[Value]:
    """MatMul of vectors with a constant matrix; of an image whose channels come last, a convolution of one pixel."""
    x, kernel = context.view(node), context.weights(node, 1, "kernel")
    if x.rank == 4 and kernel.ndim == 2 and x.is_free(range(4)):
        name = context.unique()
        inputs = [context.place(x, (0, 1, 2, 3)), context.add_constant(f"{name}/kernel", kernel[None, None])]
        output = context.emit("conv2d", inputs, name=name)
        return [View.of(output, context.shape(output), (0, 1, 2, 3))]
    return [_dense(context, x, kernel, None)]


def _dense(context: ImportContext, x: View, kernel: Array, bias: Array | None) -> View:
    tensor, columns, _ = context.columns(x)
    if kernel.ndim != 2 or kernel.shape[0] != len(columns):
        raise ImportFileError(f"its kernel {kernel.shape} does not fit an input {x.shape}")
    name = context.unique()
    inputs = [tensor, context.add_constant(f"{name}/kernel", kernel[columns])]
    if bias is not None:
        units = kernel.shape[1]
        if bias.size not in (1, units):
            raise ImportFileError(f"its bias {bias.shape} does not fit {units} outputs")
        inputs.append(context.add_constant(f"{name}/bias", np.broadcast_to(bias.reshape(-1), (units,))))
    output = context.emit("dense", inputs, name=name)
    return View.of(output, context.shape(output), (0, 1))


def batch_normalization(context: ImportContext, node: OnnxNode) -> list[Value]:
    """BatchNormalization at inference, on images or vectors."""
    if node.integer("training_mode", 0) or any(node.outputs[1:]):
        raise ImportFileError("is in training mode: call model.eval() before the export")
    x = context.view(node)
    keys = ("gamma", "beta", "mean", "variance")
    statistics = [context.weights(node, i + 1, key).reshape(-1) for i, key in enumerate(keys)]
    if x.rank == 2:
        tensor, columns, view = context.columns(x)
    else:
        tensor = context.image(x)
        columns, view = np.arange(x.shape[1]), _nchw(context, tensor)
    for key, values in zip(keys, statistics, strict=True):
        if len(values) != len(columns):
            raise ImportFileError(f"its {key} has {len(values)} values for {len(columns)} channels")
    name = context.unique()
    constants = [
        context.add_constant(f"{name}/{key}", values[columns]) for key, values in zip(keys, statistics, strict=True)
    ]
    output = context.emit("batch_norm", [tensor, *constants], {"epsilon": node.number("epsilon", 1e-5)}, name)
    return [view.on(output)]


def max_pool(context: ImportContext, node: OnnxNode) -> list[Value]:
    """MaxPool."""
    if any(node.outputs[1:]):
        raise ImportFileError("returns the indices of the maxima: only the values can be taken")
    x = context.view(node)
    window = _pool_window(node, x)
    attrs = {"kernel": window.kernel, "strides": window.strides, "padding": window.padding()}
    return [_nchw(context, context.emit("max_pool", [context.image(x)], attrs))]


def average_pool(context: ImportContext, node: OnnxNode) -> list[Value]:
    """AveragePool; one that counts its padding becomes a pad and a pool.

    What ceil mode adds behind the declared padding is never counted.
    """
    x = context.view(node)
    window = _pool_window(node, x)
    tensor, padding = context.image(x), window.padding()
    if node.integer("count_include_pad", 0):
        (top, bottom, left, right), padding = window.counted_padding()
        if top or bottom or left or right:
            widths = {"before": (0, top, left, 0), "after": (0, bottom, right, 0)}
            tensor = context.emit("pad", [tensor], widths, context.unique(f"{context.layer}/pad"))
    attrs = {"kernel": window.kernel, "strides": window.strides, "padding": padding}
    return [_nchw(context, context.emit("avg_pool", [tensor], attrs))]


def _pool_window(node: OnnxNode, x: View) -> Window:
    if x.rank != 4:
        raise ImportFileError(f"pools a tensor {x.shape}: edgekit pools images (N, C, H, W) only")
    ceil = bool(node.integer("ceil_mode", 0))
    window = read_window(node, node.integers("kernel_shape"), x.shape[2:], ceil=ceil)
    if window.dilation != (1, 1):
        raise ImportFileError(f"is a pool with dilations {window.dilation}: only (1, 1) can be taken")
    return window


def global_average_pool(context: ImportContext, node: OnnxNode) -> list[Value]:
    """GlobalAveragePool."""
    x = context.view(node)
    return [_nchw(context, context.emit("global_avg_pool", [context.image(x)], {"keep_dims": True}))]


def global_max_pool(context: ImportContext, node: OnnxNode) -> list[Value]:
    """GlobalMaxPool: a pool whose window is the image (N, H, W, C)."""
    tensor = context.image(context.view(node))
    attrs = {"kernel": context.shape(tensor)[1:3], "strides": (1, 1)}
    return [_nchw(context, context.emit("max_pool", [tensor], attrs))]


def _nchw(context: ImportContext, tensor: str) -> View:
    return View.of(tensor, context.shape(tensor), NHWC_OF_NCHW)
