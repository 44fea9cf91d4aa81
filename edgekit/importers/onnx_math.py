"""ONNX's activations and arithmetic as nodes of the graph."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.onnx_context import ImportContext, Value, as_float32
from edgekit.importers.onnx_model import OnnxNode
from edgekit.importers.onnx_view import Order, View

FLOAT_TYPES = (1, 10, 11, 16)
"""ONNX's numbers for float, float16, double and bfloat16."""
ENDLESS = 3e38
"""Exporters write the largest float where they mean infinity."""
OneInput = Callable[[ImportContext, OnnxNode], list[Value]]


def elementwise(op: str) -> OneInput:
    """A function for an ONNX op of one input that is op `op` of the graph, on values of any layout."""

    def convert(context: ImportContext, node: OnnxNode) -> list[Value]:
        x = context.view(node)
        return [x.on(context.emit(op, [x.tensor]))]

    return convert


def clip(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Clip(0, 6) is relu6, Clip(0, inf) is relu, a Clip without bounds nothing."""
    x = context.view(node)
    low, high = _bound(context, node, 1, "min", -math.inf), _bound(context, node, 2, "max", math.inf)
    if low <= -ENDLESS and high >= ENDLESS:
        return [x]
    if low == 0 and high == 6:
        return [x.on(context.emit("relu6", [x.tensor]))]
    if low == 0 and high >= ENDLESS:
        return [x.on(context.emit("relu", [x.tensor]))]
    raise ImportFileError(f"clips to {low:g}..{high:g}: only 0..6 (relu6) and 0..inf (relu) can be taken")


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
    slope, offset = node.number("alpha", 0.2), node.number("beta", 0.5)
    if math.isclose(slope, 1 / 6, rel_tol=1e-6):
        slope = 1 / 6
    return [x.on(context.emit("hard_sigmoid", [x.tensor], {"slope": slope, "offset": offset}))]


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


def cast(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Cast of an activation to a float type: nothing, since all activations are float32."""
    kind = node.integer("to", 1)
    if kind not in FLOAT_TYPES:
        raise ImportFileError(f"casts an activation to ONNX type {kind}: only float types can be taken")
    return [context.view(node)]


def add(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Broadcasting sum."""
    return [_arithmetic(context, node, "add", lambda constant: constant)]


def mul(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Broadcasting product."""
    return [_arithmetic(context, node, "mul", lambda constant: constant)]


def sub(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Broadcasting difference: a - c = a + (-c), and a - b = a + (-1) b."""
    right = context.value(node.input(1))
    if not isinstance(right, View):
        return [_arithmetic(context, node, "add", np.negative)]
    negative = _with_constant(context, "mul", right, np.full(1, -1.0, np.float32))
    left = context.value(node.input(0))
    if isinstance(left, View):
        return [_with_view(context, "add", left, negative)]
    return [_with_constant(context, "add", negative, as_float32(left, "operand"))]


def div(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Quotient by a constant: a product with its reciprocal."""
    context.view(node)
    context.constant(node, 1, "divisor")
    return [_arithmetic(context, node, "mul", _reciprocal)]


def _reciprocal(constant: Array) -> Array:
    return np.asarray(np.float32(1) / constant)


def _arithmetic(context: ImportContext, node: OnnxNode, op: str, change: Callable[[Array], Array]) -> View:
    left, right = context.value(node.input(0)), context.value(node.input(1))
    if isinstance(left, View) and isinstance(right, View):
        return _with_view(context, op, left, right)
    if isinstance(left, View) and not isinstance(right, View):
        return _with_constant(context, op, left, change(as_float32(right, "operand")))
    return _with_constant(context, op, context.view(node, 1), change(context.weights(node, 0, "operand")))


def _with_view(context: ImportContext, op: str, left: View, right: View) -> View:
    same_layout = (left.sizes, left.axes) == (right.sizes, right.axes)
    if same_layout and context.shape(left.tensor) == context.shape(right.tensor):
        return left.on(context.emit(op, [left.tensor, right.tensor]))
    rank = max(left.rank, right.rank)
    left, right = _raised(left, rank), _raised(right, rank)
    order = context.order_for(left, right)
    output = context.emit(op, [context.place(left, order), context.place(right, order)])
    return View.of(output, context.shape(output), order)


def _with_constant(context: ImportContext, op: str, x: View, constant: Array) -> View:
    if constant.size == 1 and constant.ndim <= x.rank:
        return x.on(_emit_with(context, op, x.tensor, constant.reshape(1)))
    x = _raised(x, constant.ndim)
    constant = _raised_constant(constant, x.rank)
    if x.rank == 2 and constant.size == constant.shape[-1] == x.shape[1]:
        tensor, columns, view = context.columns(x)
        return view.on(_emit_with(context, op, tensor, constant[0, columns]))
    order = context.order_for(x)
    constant = constant.transpose(order)
    while constant.ndim > 1 and constant.shape[0] == 1:
        constant = constant[0]
    output = _emit_with(context, op, context.place(x, order), constant)
    return View.of(output, context.shape(output), order)


def _emit_with(context: ImportContext, op: str, tensor: str, constant: Array) -> str:
    name = context.unique()
    return context.emit(op, [tensor, context.add_constant(f"{name}/constant", constant)], name=name)


def _raised_constant(constant: Array, rank: int) -> Array:
    return constant.reshape((1,) * (rank - constant.ndim) + constant.shape)


def _raised(x: View, rank: int) -> View:
    """The view with leading axes of size 1, as broadcasting adds them."""
    return View(x.tensor, x.sizes, ((),) * (rank - x.rank) + x.axes, x.label)
