"""The shape arithmetic of ONNX's ops: what reshapes, splits and slices mean for a shape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.onnx_model import OnnxNode

Arrays = Sequence[Array | None]
"""The inputs' values; None is an absent input."""


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


def flattened(shape: Sequence[int], axis: int) -> tuple[int, int]:
    """The two dimensions that Flatten gives. Raises ImportFileError for an axis outside."""
    rank = len(shape)
    if not -rank <= axis <= rank:
        raise ImportFileError(f"its axis {axis} is outside {tuple(shape)}")
    cut = axis if axis >= 0 else rank + axis
    return math.prod(shape[:cut]), math.prod(shape[cut:])


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


def shape_slice(shape: Sequence[int], node: OnnxNode) -> Array:
    """ONNX's Shape, with its start and end."""
    return np.asarray(shape[node.integer("start", 0) : node.integer("end", len(shape))], np.int64)
