"""Computes nodes whose inputs are all constants, in numpy: shape arithmetic and what exporters leave of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.onnx_model import OnnxNode

Arrays = Sequence[Array | None]
"""The inputs' values; None is an absent input."""
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


def get(inputs: Arrays, index: int) -> Array:
    """An input that must be there. Raises ImportFileError where it is not."""
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise ImportFileError(f"input {index} is missing")
    return value


def read_axes(inputs: Arrays, node: OnnxNode) -> tuple[int, ...] | None:
    """Axes from the attribute (older opsets) or the second input; None if there are none."""
    if "axes" in node.attrs:
        return node.integers("axes")
    value = inputs[1] if len(inputs) > 1 else None
    return None if value is None else as_ints(value)


def as_ints(value: Array) -> tuple[int, ...]:
    """A constant as ints. Raises ImportFileError for other kinds."""
    if value.dtype.kind not in "iu":
        raise ImportFileError(f"needs integers, got {value.dtype}")
    return tuple(int(v) for v in value.reshape(-1))


def reshaped(shape: Sequence[int], wanted: Sequence[int], allow_zero: bool) -> tuple[int, ...]:
    """The shape that ONNX's Reshape gives: 0 copies a dimension (unless `allow_zero`), -1 takes what is left.

    Raises ImportFileError where the sizes differ.
    """
    if any(d == 0 and i >= len(shape) for i, d in enumerate(wanted)) and not allow_zero:
        raise ImportFileError(f"cannot reshape {tuple(shape)} to {tuple(wanted)}")
    filled = [shape[i] if d == 0 and not allow_zero else d for i, d in enumerate(wanted)]
    rest = math.prod(d for d in filled if d != -1)
    if filled.count(-1) == 1 and rest and math.prod(shape) % rest == 0:
        filled[filled.index(-1)] = math.prod(shape) // rest
    if min(filled, default=1) < 0 or math.prod(filled) != math.prod(shape):
        raise ImportFileError(f"cannot reshape {tuple(shape)} to {tuple(wanted)}")
    return tuple(filled)


def squeezed(shape: Sequence[int], axes: Sequence[int] | None) -> tuple[int, ...]:
    """The shape without its axes of size 1, or without those named. Raises ImportFileError where one is not 1."""
    rank = len(shape)
    gone = {check_axis(a, rank) for a in axes} if axes is not None else {i for i, d in enumerate(shape) if d == 1}
    if any(shape[a] != 1 for a in gone):
        raise ImportFileError(f"cannot squeeze axes {sorted(gone)} of {tuple(shape)}")
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def unsqueezed(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape with axes of size 1 put in. Raises ImportFileError where they do not fit."""
    rank = len(shape) + len(axes)
    new = {check_axis(a, rank) for a in axes}
    if len(new) != len(axes):
        raise ImportFileError(f"axes {tuple(axes)} repeat")
    rest = iter(shape)
    return tuple(1 if i in new else next(rest) for i in range(rank))


def check_axis(axis: int, rank: int) -> int:
    """The axis, counted from the front. Raises ImportFileError where it lies outside."""
    if not -rank <= axis < rank:
        raise ImportFileError(f"axis {axis} is outside rank {rank}")
    return axis % rank


def split_sizes(node: OnnxNode, given: Array | None, size: int) -> tuple[int, ...]:
    """Sizes of the pieces of Split: listed, or equal ones of which the last may be smaller."""
    if given is not None:
        return as_ints(given)
    if "split" in node.attrs:
        return node.integers("split")
    count = node.integer("num_outputs", len(node.outputs))
    if not 0 < count <= size:
        raise ImportFileError(f"cannot split {size} into {count}")
    piece = math.ceil(size / count)
    return tuple(min(piece, size - i * piece) for i in range(count))


def slice_keys(shape: Sequence[int], inputs: Arrays) -> list[slice]:
    """ONNX's Slice as Python's, clamped to the shape; inputs: data, starts, ends, axes, steps."""
    starts, ends = as_ints(get(inputs, 1)), as_ints(get(inputs, 2))
    axes = inputs[3] if len(inputs) > 3 else None
    steps = inputs[4] if len(inputs) > 4 else None
    named = [check_axis(a, len(shape)) for a in (as_ints(axes) if axes is not None else range(len(starts)))]
    strides = as_ints(steps) if steps is not None else (1,) * len(starts)
    if not len(starts) == len(ends) == len(named) == len(strides):
        raise ImportFileError(f"its starts {starts}, ends {ends}, axes {named} and steps {strides} differ in length")
    keys = [slice(0, d, 1) for d in shape]
    for start, end, axis, step in zip(starts, ends, named, strides, strict=True):
        if step == 0:
            raise ImportFileError("has a step of 0")
        bounds = slice(start, end, step).indices(shape[axis])
        keys[axis] = slice(bounds[0], bounds[1] if bounds[1] >= 0 else None, bounds[2])
    return keys


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


def shape_slice(shape: Sequence[int], node: OnnxNode) -> Array:
    """ONNX's Shape, with its start and end."""
    return np.asarray(shape[node.integer("start", 0) : node.integer("end", len(shape))], np.int64)


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
    return lambda inputs, node: [function(get(inputs, 0), get(inputs, 1))]


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
    "Neg": _unary(np.negative),
    "Abs": _unary(np.abs),
    "Sqrt": _unary(np.sqrt),
    "Exp": _unary(np.exp),
    "Reciprocal": _unary(np.reciprocal),
    "Floor": _unary(np.floor),
    "Ceil": _unary(np.ceil),
    "Not": _unary(np.logical_not),
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(_divide),
    "Pow": _binary(lambda a, b: np.power(a, b).astype(a.dtype)),
    "Min": _binary(np.minimum),
    "Max": _binary(np.maximum),
    "Equal": _binary(np.equal),
    "Less": _binary(np.less),
    "Greater": _binary(np.greater),
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
    "Range": _range,
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "ReduceProd": _reduce(np.prod),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
}
