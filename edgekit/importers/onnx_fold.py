"""Computes nodes whose inputs are all constants, in numpy: shape arithmetic and what exporters leave of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.onnx_model import OnnxNode
from edgekit.importers.onnx_shapes import (
    Arrays,
    as_ints,
    check_axis,
    flattened,
    get,
    read_axes,
    reshaped,
    shape_slice,
    slice_keys,
    split_sizes,
    squeezed,
    unsqueezed,
)

Fold = Callable[[Arrays, OnnxNode], list[Array]]

MAX_ELEMENTS = 2**28
"""A few bytes of a file can ask for a constant of any size; no network for a device has one of a gigabyte."""


def fold(node: OnnxNode, inputs: Arrays) -> list[Array]:
    """The node's outputs. Raises ImportFileError where its inputs or attributes do not fit; KeyError: not foldable."""
    function = FOLDS[node.op]
    try:
        with np.errstate(all="ignore"):
            return [np.asarray(value) for value in function(inputs, node)]
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError, MemoryError) as problem:
        text = (str(problem).splitlines() or [type(problem).__name__])[0]
        raise ImportFileError(f"its constant inputs do not fit: {text}") from None


def _bounded(shape: Sequence[int]) -> tuple[int, ...]:
    if math.prod(shape) > MAX_ELEMENTS:
        raise ImportFileError(f"a constant of shape {tuple(shape)} is too large")
    return tuple(shape)


def _constant(inputs: Arrays, node: OnnxNode) -> list[Array]:
    if len(node.attrs) != 1:
        raise ImportFileError("a Constant has one value")
    name, value = next(iter(node.attrs.items()))
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    if name == "value" and isinstance(value, np.ndarray):
        return [value]
    return [np.asarray(value, kinds[name])]


def _constant_of_shape(inputs: Arrays, node: OnnxNode) -> list[Array]:
    value = node.attrs.get("value", np.zeros(1, np.float32))
    return [np.full(_bounded(as_ints(get(inputs, 0))), np.asarray(value).reshape(-1)[0])]


def _shape(inputs: Arrays, node: OnnxNode) -> list[Array]:
    return [shape_slice(get(inputs, 0).shape, node)]


def _cast(inputs: Arrays, node: OnnxNode) -> list[Array]:
    from onnx.helper import tensor_dtype_to_np_dtype

    return [get(inputs, 0).astype(tensor_dtype_to_np_dtype(node.integer("to", 1)))]


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    return np.asarray((np.abs(a) // np.abs(b)) * np.sign(a) * np.sign(b), a.dtype)  # integers round towards zero


def _expand(inputs: Arrays, node: OnnxNode) -> list[Array]:
    value, shape = get(inputs, 0), as_ints(get(inputs, 1))
    return [np.broadcast_to(value, _bounded(np.broadcast_shapes(value.shape, shape)))]


def _range(inputs: Arrays, node: OnnxNode) -> list[Array]:
    start, limit, step = (get(inputs, i).reshape(()) for i in range(3))
    _bounded((max(math.ceil((limit - start) / step), 0),))
    steps: Any = np.arange  # numpy's types know no arrays without axes here
    return [steps(start, limit, step, start.dtype)]


def _split(inputs: Arrays, node: OnnxNode) -> list[Array]:
    x = get(inputs, 0)
    axis = check_axis(node.integer("axis", 0), x.ndim)
    sizes = split_sizes(node, inputs[1] if len(inputs) > 1 else None, x.shape[axis])
    return np.split(x, np.cumsum(sizes)[:-1], axis=axis)


def _unary(function: Callable[[Array], Any]) -> Fold:
    return lambda inputs, node: [function(get(inputs, 0))]


def _binary(function: Callable[[Array, Array], Any]) -> Fold:
    def run(inputs: Arrays, node: OnnxNode) -> list[Array]:
        left, right = get(inputs, 0), get(inputs, 1)
        _bounded(np.broadcast_shapes(left.shape, right.shape))
        return [function(left, right)]

    return run


def _variadic(function: Callable[[Array, Array], Any]) -> Fold:
    """Of any number of inputs, from the left."""

    def run(inputs: Arrays, node: OnnxNode) -> list[Array]:
        values = [get(inputs, i) for i in range(len(inputs))]
        _bounded(np.broadcast_shapes(*(v.shape for v in values)))
        return [reduce(function, values)]

    return run


def _mean(inputs: Arrays, node: OnnxNode) -> list[Array]:
    total = _variadic(np.add)(inputs, node)[0]
    return [np.asarray(total / len(inputs), total.dtype)]


def _mat_mul(inputs: Arrays, node: OnnxNode) -> list[Array]:
    left, right = get(inputs, 0), get(inputs, 1)
    _bounded((*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), *left.shape[-2:-1], *right.shape[-1:]))
    return [np.matmul(left, right)]


def _tile(inputs: Arrays, node: OnnxNode) -> list[Array]:
    value, repeats = get(inputs, 0), as_ints(get(inputs, 1))
    if len(repeats) != value.ndim or min(repeats, default=1) < 0:
        raise ImportFileError(f"its repeats {repeats} do not fit {value.shape}")
    _bounded([d * r for d, r in zip(value.shape, repeats, strict=True)])
    return [np.tile(value, repeats)]


def _flatten(inputs: Arrays, node: OnnxNode) -> list[Array]:
    value = get(inputs, 0)
    return [value.reshape(flattened(value.shape, node.integer("axis", 1)))]


def _clip(inputs: Arrays, node: OnnxNode) -> list[Array]:
    value = get(inputs, 0)
    for index, limit in ((1, np.maximum), (2, np.minimum)):
        bound = inputs[index] if index < len(inputs) else None
        value = value if bound is None else limit(value, bound)
    return [value]


def _modulo(inputs: Arrays, node: OnnxNode) -> list[Array]:
    left, right = get(inputs, 0), get(inputs, 1)
    _bounded(np.broadcast_shapes(left.shape, right.shape))
    return [np.fmod(left, right) if node.integer("fmod", 0) else np.mod(left, right)]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)), x.dtype)


def _norm(x: Array, **options: Any) -> Array:
    return np.asarray(np.sqrt(np.square(x).sum(**options)))


def _sum_of_squares(x: Array, **options: Any) -> Array:
    return np.asarray(np.square(x).sum(**options))


def _reduce(function: Callable[..., Any]) -> Fold:
    def run(inputs: Arrays, node: OnnxNode) -> list[Array]:
        x = get(inputs, 0)
        return [function(x, axis=read_axes(inputs, node), keepdims=bool(node.integer("keepdims", 1))).astype(x.dtype)]

    return run


FOLDS: Mapping[str, Fold] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Shape": _shape,
    "Size": _unary(lambda x: np.int64(x.size)),
    "Identity": _unary(lambda x: x),
    "Cast": _cast,
    "CastLike": lambda inputs, node: [get(inputs, 0).astype(get(inputs, 1).dtype)],
    "Neg": _unary(np.negative),
    "Abs": _unary(np.abs),
    "Sqrt": _unary(np.sqrt),
    "Exp": _unary(np.exp),
    "Reciprocal": _unary(np.reciprocal),
    "Log": _unary(np.log),
    "Sign": _unary(np.sign),
    "Round": _unary(np.rint),
    "Sigmoid": _unary(_sigmoid),
    "Tanh": _unary(np.tanh),
    "Floor": _unary(np.floor),
    "Ceil": _unary(np.ceil),
    "Not": _unary(np.logical_not),
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(_divide),
    "Pow": _binary(lambda a, b: np.power(a, b).astype(a.dtype)),
    "Mod": _modulo,
    "Min": _variadic(np.minimum),
    "Max": _variadic(np.maximum),
    "Sum": _variadic(np.add),
    "Mean": _mean,
    "MatMul": _mat_mul,
    "Clip": _clip,
    "Equal": _binary(np.equal),
    "Less": _binary(np.less),
    "Greater": _binary(np.greater),
    "LessOrEqual": _binary(np.less_equal),
    "GreaterOrEqual": _binary(np.greater_equal),
    "And": _binary(np.logical_and),
    "Or": _binary(np.logical_or),
    "Where": lambda inputs, node: [np.where(get(inputs, 0), get(inputs, 1), get(inputs, 2))],
    "Gather": lambda inputs, node: [np.take(get(inputs, 0), get(inputs, 1), axis=node.integer("axis", 0))],
    "Concat": lambda inputs, node: [
        np.concatenate([get(inputs, i) for i in range(len(inputs))], node.integer("axis", 0))
    ],
    "Reshape": lambda inputs, node: [
        get(inputs, 0).reshape(
            reshaped(get(inputs, 0).shape, as_ints(get(inputs, 1)), bool(node.integer("allowzero", 0)))
        )
    ],
    "Squeeze": lambda inputs, node: [get(inputs, 0).reshape(squeezed(get(inputs, 0).shape, read_axes(inputs, node)))],
    "Unsqueeze": lambda inputs, node: [
        get(inputs, 0).reshape(unsqueezed(get(inputs, 0).shape, read_axes(inputs, node) or ()))
    ],
    "Slice": lambda inputs, node: [get(inputs, 0)[tuple(slice_keys(get(inputs, 0).shape, inputs))]],
    "Split": _split,
    "Transpose": lambda inputs, node: [
        get(inputs, 0).transpose(node.integers("perm", tuple(reversed(range(get(inputs, 0).ndim)))))
    ],
    "Expand": _expand,
    "Tile": _tile,
    "Flatten": _flatten,
    "Range": _range,
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "ReduceProd": _reduce(np.prod),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceL2": _reduce(_norm),
    "ReduceSumSquare": _reduce(_sum_of_squares),
}
