"""ONNX's arithmetic as nodes of the graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.onnx_context import ImportContext, Value, as_float32
from edgekit.importers.onnx_model import OnnxNode
from edgekit.importers.onnx_view import View

FLOAT_TYPES = (1, 10, 11, 16)
"""ONNX's numbers for float, float16, double and bfloat16."""


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
    negative = with_constant(context, "mul", right, np.full(1, -1.0, np.float32))
    left = context.value(node.input(0))
    if isinstance(left, View):
        return [_with_view(context, "add", left, negative)]
    return [with_constant(context, "add", negative, as_float32(left, "operand"))]


def div(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Quotient by a constant: a product with its reciprocal."""
    context.view(node)
    context.constant(node, 1, "divisor")
    return [_arithmetic(context, node, "mul", _reciprocal)]


def neg(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Negative: a product with -1."""
    return [with_constant(context, "mul", context.view(node), np.full(1, -1.0, np.float32))]


def power(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Pow with the exponent 1 or 2: nothing, or a product with itself."""
    x = context.view(node)
    exponent = as_float32(context.constant(node, 1, "exponent"), "exponent")
    if exponent.size != 1 or float(exponent.reshape(())) not in (1.0, 2.0):
        raise ImportFileError(f"raises to the power {exponent.tolist()}: only 1 and 2 can be taken")
    return [x if float(exponent.reshape(())) == 1.0 else _with_view(context, "mul", x, x)]


def total(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Sum of any number of values."""
    return [_total(context, node)]


def mean(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Mean of any number of values: their sum over their number."""
    found, count = _total(context, node), len(node.inputs)
    return [found if count == 1 else with_constant(context, "mul", found, np.full(1, 1 / count, np.float32))]


def _total(context: ImportContext, node: OnnxNode) -> View:
    values = [context.value(name) for name in node.inputs]
    constants = [as_float32(v, "operand") for v in values if not isinstance(v, View)]
    found = reduce(lambda a, b: _with_view(context, "add", a, b), [v for v in values if isinstance(v, View)])
    return reduce(lambda x, constant: with_constant(context, "add", x, constant), constants, found)


def _reciprocal(constant: Array) -> Array:
    return np.asarray(np.float32(1) / constant)


def _arithmetic(context: ImportContext, node: OnnxNode, op: str, change: Callable[[Array], Array]) -> View:
    left, right = context.value(node.input(0)), context.value(node.input(1))
    if isinstance(left, View) and isinstance(right, View):
        return _with_view(context, op, left, right)
    if isinstance(left, View) and not isinstance(right, View):
        return with_constant(context, op, left, change(as_float32(right, "operand")))
    return with_constant(context, op, context.view(node, 1), change(context.weights(node, 0, "operand")))


def _with_view(context: ImportContext, op: str, left: View, right: View) -> View:
    same_layout = (left.sizes, left.axes) == (right.sizes, right.axes)
    if same_layout and context.shape(left.tensor) == context.shape(right.tensor):
        return left.on(context.emit(op, [left.tensor, right.tensor]))
    rank = max(left.rank, right.rank)
    left, right = raised(left, rank), raised(right, rank)
    order = context.order_for(left, right)
    output = context.emit(op, [context.place(left, order), context.place(right, order)])
    return View.of(output, context.shape(output), order)


def with_constant(context: ImportContext, op: str, x: View, constant: Array) -> View:
    """The sum or product of an activation and a constant, which broadcast."""
    if constant.size == 1 and constant.ndim <= x.rank:
        return x.on(_emit_with(context, op, x.tensor, constant.reshape(1)))
    x = raised(x, constant.ndim)
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


def raised(x: View, rank: int) -> View:
    """The view with leading axes of size 1, as broadcasting adds them."""
    return View(x.tensor, x.sizes, ((),) * (rank - x.rank) + x.axes, x.label)
