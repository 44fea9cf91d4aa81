"""TFLite's activations and arithmetic as nodes of the graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.tflite_context import Step, TfliteContext, Value, as_float32, fused
from edgekit.importers.tflite_model import TfliteOp

Convert = Callable[[TfliteContext, TfliteOp], list[Value]]


def elementwise(op_name: str, **attrs: float) -> Convert:
    """A function for an operator of one input that is op `op_name` of the graph."""

    def convert(context: TfliteContext, op: TfliteOp) -> list[Value]:
        return [context.chain(context.activation(op), Step(op_name, attrs=attrs))]

    return convert


def softmax(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """SOFTMAX over the last axis; a beta other than 1 is a factor before it."""
    x, beta = context.activation(op), float(op.options.get("Beta", 0.0))
    if beta == 1.0:
        return [context.chain(x, Step("softmax"))]
    if beta == 0.0 or not np.isfinite(beta):
        raise ImportFileError(f"has beta {beta:g}: it must be a number other than 0")
    factor = context.add_constant("beta", np.full(1, beta, np.float32))
    return [context.chain(x, Step("mul", (factor,)), Step("softmax"))]


def add(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """Broadcasting sum."""
    return [_arithmetic(context, op, "add")]


def mul(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """Broadcasting product."""
    return [_arithmetic(context, op, "mul")]


def sub(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """Broadcasting difference: a - c = a + (-c), and a - b = a + (-1) b."""
    right = context.value(op.input(1))
    if isinstance(right, np.ndarray):
        return [_with_constant(context, op, "add", context.activation(op), -as_float32(right, "operand"))]
    minus = context.add_constant("minus_one", np.full(1, -1, np.float32))
    left = context.value(op.input(0))
    if isinstance(left, np.ndarray):
        offset = context.add_constant("constant", _trimmed(as_float32(left, "operand")))
        return [context.chain(context.activation(op, 1), Step("mul", (minus,)), Step("add", (offset,)), *fused(op))]
    left = context.activation(op)
    negative = context.emit("mul", [context.activation(op, 1), minus], name=f"{context.layer}/negative")
    return [context.chain(left, Step("add", (negative,)), *fused(op))]


def neg(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """NEG: a product with -1."""
    return [_with_constant(context, op, "mul", context.activation(op), np.full(1, -1, np.float32))]


def div(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """Quotient by a constant: a product with its reciprocal."""
    divisor = context.weights(op, 1, "divisor")
    return [_with_constant(context, op, "mul", context.activation(op), np.float32(1) / divisor)]


def maximum(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """MAXIMUM with 0 is relu."""
    x, bound = _bounded(context, op)
    if bound != 0:
        raise ImportFileError(f"limits to {bound:g} from below: only 0 (a ReLU) can be taken")
    return [context.chain(x, Step("relu"))]


def minimum(context: TfliteContext, op: TfliteOp) -> list[Value]:
    """MINIMUM with 6 is relu6 where a ReLU comes right before or after it."""
    x, bound = _bounded(context, op)
    if bound != 6 or not (_is_rectified(context, x) or _is_read_by_relu(context, op)):
        raise ImportFileError(f"limits to {bound:g} from above: only 6 together with a ReLU (a ReLU6) can be taken")
    return [context.chain(x, Step("relu6"))]


def _bounded(context: TfliteContext, op: TfliteOp) -> tuple[str, float]:
    """The activation and the one constant number of a MINIMUM or MAXIMUM."""
    side = 0 if isinstance(context.value(op.input(0)), np.ndarray) else 1
    bound = context.weights(op, side, "bound")
    if bound.size != 1:
        raise ImportFileError(f"limits by {bound.shape} numbers: only by one can be taken")
    return context.activation(op, 1 - side), float(bound.reshape(()))


def _is_rectified(context: TfliteContext, tensor: str) -> bool:
    node = context.graph.producer(tensor)
    return node is not None and node.op == "relu"


def _is_read_by_relu(context: TfliteContext, op: TfliteOp) -> bool:
    """Whether all that reads it is RELU, or MAXIMUM (which takes 0 alone)."""
    readers = context.readers(op)
    return bool(readers) and all(r.op in ("RELU", "MAXIMUM") for r in readers) and not _leaves(context, op)


def _leaves(context: TfliteContext, op: TfliteOp) -> bool:
    return op.outputs[0] in context.model.outputs


def _arithmetic(context: TfliteContext, op: TfliteOp, kind: str) -> str:
    for side in (0, 1):
        if isinstance(context.value(op.input(side)), np.ndarray):
            constant = context.weights(op, side, "operand")
            return _with_constant(context, op, kind, context.activation(op, 1 - side), constant)
    return context.chain(context.activation(op), Step(kind, (context.activation(op, 1),)), *fused(op))


def _with_constant(context: TfliteContext, op: TfliteOp, kind: str, x: str, constant: Array) -> str:
    return context.chain(x, Step(kind, (context.add_constant("constant", _trimmed(constant)),)), *fused(op))


def _trimmed(constant: Array) -> Array:
    """Without leading axes of size 1, which broadcasting adds anyway; at least one axis."""
    while constant.ndim > 1 and constant.shape[0] == 1:
        constant = constant[0]
    return constant.reshape(1) if constant.ndim == 0 else constant
