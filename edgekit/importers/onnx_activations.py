"""ONNX's activations as nodes of the graph."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.importers.onnx_context import ImportContext, Value, as_float32
from edgekit.importers.onnx_math import with_constant
from edgekit.importers.onnx_model import OnnxNode
from edgekit.importers.onnx_patterns import near_sixth
from edgekit.importers.onnx_view import Order, View

ENDLESS = 65504.0
"""Exporters write the largest float or float16 where they mean infinity."""
WIDEST = 1000.0
"""Bounds of a clip between other numbers; beyond, float32 loses what lies between."""
OneInput = Callable[[ImportContext, OnnxNode], list[Value]]


def elementwise(op: str) -> OneInput:
    """A function for an ONNX op of one input that is op `op` of the graph, on values of any layout."""

    def convert(context: ImportContext, node: OnnxNode) -> list[Value]:
        x = context.view(node)
        return [x.on(context.emit(op, [x.tensor]))]

    return convert


def clip(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Clip: relu6, relu, nothing, or between other numbers a stretched hard sigmoid."""
    x = context.view(node)
    low, high = _bound(context, node, 1, "min", -math.inf), _bound(context, node, 2, "max", math.inf)
    return [_clipped(context, x, low, high)]


def maximum(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Max with 0: relu."""
    x, bound = _with_number(context, node)
    return [_clipped(context, x, bound, math.inf)]


def minimum(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Min with 6 after relu: relu6."""
    x, bound = _with_number(context, node)
    return [_clipped(context, x, -math.inf, bound)]


def _with_number(context: ImportContext, node: OnnxNode) -> tuple[View, float]:
    values = [context.value(name) for name in node.inputs]
    views = [v for v in values if isinstance(v, View)]
    numbers = [as_float32(v, "bound") for v in values if not isinstance(v, View)]
    if len(views) != 1 or len(numbers) != 1 or numbers[0].size != 1 or numbers[0].ndim > views[0].rank:
        raise ImportFileError("compares tensors: only one activation and one number can be taken")
    return views[0], float(numbers[0].reshape(()))


def _clipped(context: ImportContext, x: View, low: float, high: float) -> View:
    if low <= -ENDLESS and high >= ENDLESS:
        return x
    producer = context.graph.producer(x.tensor)
    if low < 0 and producer is not None and producer.op in ("relu", "relu6"):
        low = 0.0  # nothing is below
    if low == 0 and high == 6:
        return x.on(context.emit("relu6", [x.tensor]))
    if low == 0 and high >= ENDLESS:
        return x.on(context.emit("relu", [x.tensor]))
    if not -WIDEST <= low < high <= WIDEST:
        raise ImportFileError(
            f"clips to {low:g}..{high:g}: only 0..6 (relu6), 0..inf (relu) and two bounds up to {WIDEST:g} can be taken"
        )
    width = high - low
    y = x.on(context.emit("hard_sigmoid", [x.tensor], {"slope": 1 / width, "offset": -low / width}))
    y = y if width == 1 else with_constant(context, "mul", y, np.full(1, width, np.float32))
    return y if low == 0 else with_constant(context, "add", y, np.full(1, low, np.float32))


def _bound(context: ImportContext, node: OnnxNode, index: int, name: str, default: float) -> float:
    value = context.optional_constant(node, index, name)
    if value is None:
        return node.number(name, default)
    if value.size != 1:
        raise ImportFileError(f"its {name} has shape {value.shape}: it must be one number")
    return float(as_float32(value, name).reshape(()))


def hard_sigmoid(context: ImportContext, node: OnnxNode) -> list[Value]:
    """HardSigmoid; a slope that is 1/6 in float32 becomes 1/6."""
    x = context.view(node)
    attrs = {"slope": near_sixth(node.number("alpha", 0.2)), "offset": node.number("beta", 0.5)}
    return [x.on(context.emit("hard_sigmoid", [x.tensor], attrs))]


def swish(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Swish (opset 24) with alpha 1."""
    if node.number("alpha", 1.0) != 1.0:
        raise ImportFileError(f"has alpha {node.number('alpha', 1.0):g}: only 1 can be taken")
    return elementwise("swish")(context, node)


def softmax(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Softmax over one axis; before opset 13 over all axes from `axis` on."""
    x = context.view(node)
    axis = node.integer("axis", 1 if context.opset < 13 else -1)
    if not -x.rank <= axis < x.rank:
        raise ImportFileError(f"its axis {axis} is outside {x.shape}")
    axis %= x.rank
    if context.opset < 13 and any(d != 1 for d in x.shape[axis + 1 :]):
        rows = math.prod(x.shape[:axis])
        flat = x.reshape((rows, x.size // rows))
        if flat is None:
            raise ImportFileError(f"is over axes {axis}.. of {x.shape}, which cannot be joined: export with opset 13")
        return [_shaped(_softmax_columns(context, flat), x.shape)]
    context.order_for(x)
    if x.rank == 2 and axis == 1:
        return [_softmax_columns(context, x)]
    order: Order = (*(a for a in range(x.rank) if a != axis), axis)
    tensor = context.emit("softmax", [context.place(x, order)])
    return [View.of(tensor, context.shape(tensor), order)]


def _softmax_columns(context: ImportContext, x: View) -> View:
    tensor, _, view = context.columns(x)
    return view.on(context.emit("softmax", [tensor]))


def _shaped(view: View, shape: tuple[int, ...]) -> View:
    reshaped = view.reshape(shape)
    if reshaped is None:
        raise ImportFileError(f"makes a tensor {shape} whose axes cannot be told apart")
    return reshaped
