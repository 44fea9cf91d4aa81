"""How each op of the graph is written in ONNX: one row and one small function an op.

Quantized nodes are written between DequantizeLinear and QuantizeLinear, the form that onnxruntime fuses into integer
kernels. What it does not fuse, but is exact on the integers themselves (pad, slice, clamp, several moves in a row), is
written on the integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgekit.errors import UnsupportedOpError
from edgekit.export.onnx_emitter import Emitter, file_params
from edgekit.export.onnx_layout import (
    OIHW_FROM_HWIO,
    TO_NCHW,
    onnx_axis,
    onnx_order,
    onnx_perm,
    reshape_keeps_layout,
    same_order,
)
from edgekit.export.onnx_op_writer import OpWriter
from edgekit.graph.ir import Array, Graph
from edgekit.graph.kernels import shuffle_indices


def _conv2d(w: OpWriter) -> None:
    kernel = w.tensor(1).shape
    inputs = [w.input(), w.weight(1, OIHW_FROM_HWIO), *(w.weight(i) for i in range(2, len(w.node.inputs)))]
    w.result(
        "Conv",
        inputs,
        kernel_shape=kernel[:2],
        strides=w.attrs["strides"],
        pads=_pads(w),
        dilations=w.attrs["dilation"],
        group=w.attrs["groups"],
    )


def _pads(w: OpWriter) -> tuple[int, ...]:
    top, bottom, left, right = w.attrs["padding"]
    return (top, left, bottom, right)


def _dense(w: OpWriter) -> None:
    # (out, in) with transB is what onnxruntime multiplies fastest for one row of float32; int8 is indifferent.
    inputs = [w.input(), w.weight(1, (1, 0)), *(w.weight(i) for i in range(2, len(w.node.inputs)))]
    w.result("Gemm", inputs, transB=1)


def _batch_norm(w: OpWriter) -> None:
    if w.rank in (2, 4):
        statistics = [w.weight(index) for index in range(1, 5)]
        w.result("BatchNormalization", [w.input(), *statistics], epsilon=w.attrs["epsilon"])
        return
    # ONNX takes axis 1 for the channels; in the other ranks they are last, where a plain product and sum broadcast.
    for index in range(1, 5):
        w.weight(index)
    gamma, beta, mean, variance = (w.tensor(index).array.astype(np.float64) for index in range(1, 5))
    factor = gamma / np.sqrt(variance + w.attrs["epsilon"])
    emitter, name = w.emitter, w.node.name
    scaled = w.step("Mul", [w.input(), emitter.initializer(f"{name}/factor", factor.astype(np.float32))], "scaled")
    offset = (beta - mean * factor).astype(np.float32)
    w.result("Add", [scaled, emitter.initializer(f"{name}/offset", offset)])


def _plain(op: str) -> Callable[[OpWriter], None]:
    """An op without attributes."""

    def write(w: OpWriter) -> None:
        w.result(op, w.inputs())

    return write


def _moving(op: str) -> Callable[[OpWriter], None]:
    """An op without attributes or arithmetic."""

    def write(w: OpWriter) -> None:
        w.work_on_integers()
        w.result(op, w.inputs())

    return write


def _relu6(w: OpWriter) -> None:
    w.result("Clip", [w.input(), *w.six()])


def _swish(w: OpWriter) -> None:
    x = w.input()
    w.result("Mul", [x, w.step("Sigmoid", [x], "sigmoid")])


def _hard_sigmoid(w: OpWriter) -> None:
    w.result("HardSigmoid", [w.input()], alpha=w.attrs["slope"], beta=w.attrs["offset"])


def _softmax(w: OpWriter) -> None:
    w.result("Softmax", [w.input()], axis=onnx_axis(w.rank - 1, w.rank))


def _broadcasting(op: str) -> Callable[[OpWriter], None]:
    def write(w: OpWriter) -> None:
        rank = len(w.emitter.graph.shape(w.node.output))
        w.result(op, [w.emitter.aligned(name, rank) for name in w.node.inputs])

    return write


def _pool(op: str, **attrs: Any) -> Callable[[OpWriter], None]:
    def write(w: OpWriter) -> None:
        w.result(op, [w.input()], kernel_shape=w.attrs["kernel"], strides=w.attrs["strides"], pads=_pads(w), **attrs)

    return write


def _global_avg_pool(w: OpWriter) -> None:
    n, _, _, c = w.tensor().shape
    tail = [] if w.attrs["keep_dims"] else [("Reshape", [w.numbers("shape", (n, c))])]
    w.result("GlobalAveragePool", [w.input()], tail=tail)


def _concat(w: OpWriter) -> None:
    w.result("Concat", w.inputs(), axis=onnx_axis(w.attrs["axis"], w.rank))


def _split(w: OpWriter) -> None:
    sizes = w.numbers("sizes", w.attrs["sizes"])
    w.result("Split", [w.input(), sizes], axis=onnx_axis(w.attrs["axis"], w.rank))


def _slice(w: OpWriter) -> None:
    w.work_on_integers()  # onnxruntime 1.18 would run it in float between DequantizeLinear and QuantizeLinear
    begin, end, strides = (onnx_order(w.attrs[key]) for key in ("begin", "end", "strides"))
    shape = onnx_order(w.tensor().shape)
    axes = [a for a in range(w.rank) if (begin[a], end[a], strides[a]) != (0, shape[a], 1)]
    if not axes:
        w.result("Identity", [w.input()])
        return
    values = {"starts": begin, "ends": end, "axes": range(w.rank), "steps": strides}
    w.result("Slice", [w.input(), *(w.numbers(label, [v[a] for a in axes]) for label, v in values.items())])


def _gather(w: OpWriter) -> None:
    indices = w.numbers("indices", w.attrs["indices"])
    w.result("Gather", [w.input(), indices], axis=onnx_axis(w.attrs["axis"], w.rank))


def _channel_shuffle(w: OpWriter) -> None:
    # One Gather: onnxruntime's integer kernels keep channels last, and its Reshape-Transpose-Reshape of uint8 takes
    # many times as long there; in float32 both forms take the same time.
    order = shuffle_indices(w.tensor().shape[-1], w.attrs["groups"], w.attrs["block"])
    indices = w.numbers("indices", order.tolist())
    w.result("Gather", [w.input(), indices], axis=onnx_axis(w.rank - 1, w.rank))


def _pad(w: OpWriter) -> None:
    w.work_on_integers()
    pads = w.numbers("pads", [*onnx_order(w.attrs["before"]), *onnx_order(w.attrs["after"])])
    fill: Array = np.asarray(w.attrs["value"], np.float32)
    quant = w.tensor().quant
    if w.on_integers and quant is not None:
        fill = np.asarray(file_params(quant).quantize(fill))
    w.result("Pad", [w.input(), pads, w.emitter.initializer(f"{w.node.name}/value", fill)])


def _reshape(w: OpWriter) -> None:
    source, target = w.tensor().shape, w.attrs["shape"]
    if reshape_keeps_layout(source, target):
        w.result("Reshape", [w.input(), w.numbers("shape", onnx_order(target))])
        return
    w.work_on_integers()
    x = w.input() if same_order(source) else w.emitter.logical(w.node.inputs[0], integers=w.on_integers)
    if same_order(target):
        w.result("Reshape", [x, w.numbers("shape", onnx_order(target))])
        return
    x = w.step("Reshape", [x, w.numbers("shape", target)], "nhwc")
    if w.on_integers or w.tensor().quant is None:
        w.emitter.remember_logical(w.node.output, x, integers=w.on_integers)
    w.result("Transpose", [x], perm=TO_NCHW)


def _transpose(w: OpWriter) -> None:
    w.result("Transpose", [w.input()], perm=onnx_perm(w.attrs["perm"]))


def _quantize(w: OpWriter) -> None:
    source, result = w.tensor().quant, w.emitter.graph.tensor(w.node.output).quant
    if source is not None and result is not None and file_params(source) == file_params(result):
        w.on_integers = True
        w.result("Identity", [w.input()])
        return
    w.finish(w.input(), w.node.output, ())


def _dequantize(w: OpWriter) -> None:
    name = w.node.inputs[0]
    if w.tensor().is_constant:
        w.result("Identity", [w.input()])
        return
    w.result("DequantizeLinear", [w.emitter.integers(name), *w.emitter.params(name)])


ROWS: Mapping[str, Callable[[OpWriter], None]] = {
    "conv2d": _conv2d,
    "dense": _dense,
    "batch_norm": _batch_norm,
    "relu": _plain("Relu"),
    "relu6": _relu6,
    "hard_swish": _plain("HardSwish"),
    "swish": _swish,
    "sigmoid": _plain("Sigmoid"),
    "hard_sigmoid": _hard_sigmoid,
    "softmax": _softmax,
    "add": _broadcasting("Add"),
    "mul": _broadcasting("Mul"),
    "max_pool": _pool("MaxPool"),
    "avg_pool": _pool("AveragePool", count_include_pad=0),
    "global_avg_pool": _global_avg_pool,
    "concat": _concat,
    "split": _split,
    "slice": _slice,
    "gather": _gather,
    "pad": _pad,
    "reshape": _reshape,
    "transpose": _transpose,
    "channel_shuffle": _channel_shuffle,
    "identity": _moving("Identity"),
    "dropout": _moving("Identity"),
    "quantize": _quantize,
    "dequantize": _dequantize,
}


def write_graph(graph: Graph) -> Emitter:
    """Write every node. Raises UnsupportedOpError for a node that ONNX cannot take in this form."""
    emitter = Emitter(graph)
    for node in graph.nodes:
        row = ROWS.get(node.op)
        if row is None:
            raise UnsupportedOpError(node.op, node.name, "the ONNX writer", "rewrite it with other ops")
        row(OpWriter(emitter, node))
    return emitter
