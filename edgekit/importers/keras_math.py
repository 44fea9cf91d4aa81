"""Arithmetic of Keras models: the layers that merge, and the operations that they share it with."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.keras_arguments import argument, as_array, view_argument
from edgekit.importers.keras_calls import Call, short
from edgekit.importers.keras_context import Convert, KerasContext, Value, views
from edgekit.importers.keras_model import KerasLayer
from edgekit.importers.onnx_view import View

ENDLESS = 65504.0
"""The largest float16, which stands for infinity in some files."""
Operand = View | Array


# -- layers ------------------------------------------------------------------------------------------------------------


def merge(op: str) -> Convert:
    """The layers Add, Multiply and Subtract."""

    def convert(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
        found = views(call)
        total: Operand = found[0]
        for other in found[1:]:
            total = _binary(context, op, total, _raised(context, other, found[0].rank))
        return total

    return convert


def average(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """The layer Average."""
    found = views(call)
    total = found[0]
    for other in found[1:]:
        total = _with_view(context, "add", total, other, suffix="sum")
    return context.with_constant("mul", total, np.asarray(1 / len(found)))


def scaled_sum(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """keras.applications' CustomScaleLayer: a + b * scale."""
    left, right = views(call, 2)
    scaled = context.with_constant("mul", right, np.asarray(layer.number("scale", 1.0)), "scale")
    return _with_view(context, "add", left, scaled)


def _raised(context: KerasContext, x: View, rank: int) -> View:
    """Keras's merging layers put axes of size 1 behind the batch, not before it."""
    missing = rank - x.rank
    return context.reshape(x, (x.shape[0], *(1,) * missing, *x.shape[1:]), "reshape") if missing > 0 else x


# -- operations --------------------------------------------------------------------------------------------------------


def arithmetic(op: str) -> Convert:
    """add, subtract, multiply, divide or floor_divide of activations and constants."""

    def convert(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
        left = argument(layer, call, 0, "x1", "x")
        right = argument(layer, call, 1, "x2", "y", "bias")
        operands: list[Operand] = [v if isinstance(v, View) else as_array(v, "operand") for v in (left, right)]
        return _binary(context, op, *operands)

    return convert


def _binary(context: KerasContext, op: str, left: Operand, right: Operand) -> Operand:
    if not isinstance(left, View) and not isinstance(right, View):
        return _folded(op, left, right)
    if op == "floor_divide":
        raise ImportFileError("rounds an activation: edgekit has no such op")
    if not isinstance(right, View):
        return _with_constant(context, op, left, right)
    if not isinstance(left, View):
        return _from_constant(context, op, left, right)
    if op == "divide":
        raise ImportFileError("divides by an activation: edgekit divides by constants only")
    if op == "subtract":
        right = context.with_constant("mul", right, np.asarray(-1.0), "negative")
    return _with_view(context, "mul" if op == "multiply" else "add", left, right)


def _folded(op: str, left: Array, right: Array) -> Array:
    functions: dict[str, Any] = {
        "add": np.add,
        "subtract": np.subtract,
        "multiply": np.multiply,
        "divide": np.divide,
        "floor_divide": np.floor_divide,
    }
    if max(left.size, right.size) > 64:
        raise ImportFileError("computes with large constants alone: compute them before the model is saved")
    with np.errstate(all="ignore"):
        return np.asarray(functions[op](left, right))


def _with_constant(context: KerasContext, op: str, x: Any, constant: Array) -> View:
    with np.errstate(all="ignore"):  # what overflows becomes infinity, which `check_finite` names
        if op == "subtract":
            op, constant = "add", np.negative(constant.astype(np.float64))
        elif op == "divide":
            op, constant = "multiply", 1 / constant.astype(np.float64)
        return context.with_constant("mul" if op == "multiply" else "add", x, constant)


def _from_constant(context: KerasContext, op: str, constant: Array, x: View) -> View:
    """constant op x."""
    if op == "divide":
        raise ImportFileError("divides by an activation: edgekit divides by constants only")
    if op == "subtract":
        x = context.with_constant("mul", x, np.asarray(-1.0), "negative")
    return context.with_constant("mul" if op == "multiply" else "add", x, constant)


def _with_view(context: KerasContext, op: str, left: View, right: View, suffix: str = "") -> View:
    rank = max(left.rank, right.rank)
    tensors = [
        context.tensor(x if x.rank == rank else context.reshape(x, (1,) * (rank - x.rank) + x.shape, "reshape"))
        for x in (left, right)
    ]
    return context.make(op, tensors, suffix=suffix)


def negative(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """-x."""
    return context.with_constant("mul", view_argument(layer, call), np.asarray(-1.0))


def clip(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """Clipping to 0..6 or 0..infinity."""
    low = argument(layer, call, 1, "x_min", "clip_value_min")
    high = argument(layer, call, 2, "x_max", "clip_value_max")
    return _clipped(context, view_argument(layer, call), _bound(low, -math.inf), _bound(high, math.inf))


def maximum(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """The greater of x and 0: relu."""
    x, bound = _with_number(layer, call)
    return _clipped(context, x, bound, math.inf)


def minimum(context: KerasContext, layer: KerasLayer, call: Call) -> Value:
    """The lesser of relu(x) and 6: relu6."""
    x, bound = _with_number(layer, call)
    return _clipped(context, x, -math.inf, bound)


def _with_number(layer: KerasLayer, call: Call) -> tuple[View, float]:
    left, right = argument(layer, call, 0, "x1", "x"), argument(layer, call, 1, "x2", "y")
    x, number = (left, right) if isinstance(left, View) else (right, left)
    if not isinstance(x, View) or isinstance(number, View):
        raise ImportFileError("compares activations: edgekit compares with 0 and 6 only")
    return x, _bound(number, 0.0)


def _bound(value: Any, default: float) -> float:
    if value is None:
        return default
    array = as_array(value, "bound")
    if array.size != 1:
        raise ImportFileError(f"has bounds {short(value)}: they must be one number each")
    return float(array.reshape(()))


def _clipped(context: KerasContext, x: View, low: float, high: float) -> View:
    producer = context.graph.producer(x.tensor)
    if low < 0 and producer is not None and producer.op in ("relu", "relu6"):
        low = 0.0  # nothing is below
    if low != 0 or (high != 6 and high < ENDLESS):
        raise ImportFileError(f"clips to {low:g}..{high:g}: edgekit has 0..6 (relu6) and 0..infinity (relu)")
    return context.make("relu6" if high == 6 else "relu", [context.tensor(x)])
