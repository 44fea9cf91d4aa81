"""TFLite's rules for shapes, axes and slices: the same for constants and for activations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.tflite_model import TfliteOp

Shape = tuple[int, ...]

MAX_ELEMENTS = 2**26
"""A few bytes of a file can ask for a tensor of any size; no network for a device makes one of this size."""


def bounded(shape: Sequence[int]) -> Shape:
    """The shape. Raises ImportFileError for a tensor of more than MAX_ELEMENTS."""
    if math.prod(shape) > MAX_ELEMENTS:
        raise ImportFileError(f"makes a tensor of shape {tuple(shape)}: edgekit takes up to {MAX_ELEMENTS} elements")
    return tuple(shape)


def whole_numbers(value: Array) -> tuple[int, ...]:
    """A constant as ints. Raises ImportFileError for other kinds."""
    if value.dtype.kind not in "iu":
        raise ImportFileError(f"needs integers, got {value.dtype}")
    if value.size > MAX_ELEMENTS // 2**6:
        raise ImportFileError(f"lists {value.size} integers: that is no list of axes, sizes or channels")
    return tuple(int(v) for v in value.reshape(-1))


def axis_from_front(axis: int, rank: int) -> int:
    """The axis, counted from the front. Raises ImportFileError where it lies outside."""
    if not -rank <= axis < rank:
        raise ImportFileError(f"axis {axis} lies outside {rank} dimensions")
    return axis % rank


def filled_shape(shape: Shape, wanted: Sequence[int]) -> Shape:
    """The shape that RESHAPE makes: -1 takes what is left. Raises ImportFileError where the sizes differ."""
    filled, size = list(wanted), math.prod(shape)
    rest = math.prod(d for d in filled if d != -1)
    if filled.count(-1) == 1 and rest > 0 and size % rest == 0:
        filled[filled.index(-1)] = size // rest
    if min(filled, default=1) < 0 or math.prod(filled) != size:
        raise ImportFileError(f"cannot reshape {shape} to {tuple(wanted)}")
    return tuple(filled)


def squeezed_shape(shape: Shape, axes: Sequence[int]) -> Shape:
    """The shape without these axes of size 1; without all of them where none are named."""
    gone = {axis_from_front(a, len(shape)) for a in axes} or {i for i, d in enumerate(shape) if d == 1}
    if any(shape[a] != 1 for a in gone):
        raise ImportFileError(f"cannot squeeze axes {sorted(gone)} of {shape}")
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def expanded_shape(shape: Shape, axis: int) -> Shape:
    """The shape with one more axis of size 1."""
    position = axis_from_front(axis, len(shape) + 1)
    return (*shape[:position], 1, *shape[position:])


def plain_slices(shape: Shape, begin: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """SLICE as Python's slices; a size of -1 takes what is left."""
    if not len(begin) == len(size) == len(shape):
        raise ImportFileError(f"slices {shape} from {tuple(begin)} by {tuple(size)}: one number an axis is needed")
    ends = [d if s == -1 else b + s for b, s, d in zip(begin, size, shape, strict=True)]
    if any(not 0 <= b <= e <= d for b, e, d in zip(begin, ends, shape, strict=True)):
        raise ImportFileError(f"slices {shape} from {tuple(begin)} by {tuple(size)}, which lies outside")
    return tuple(slice(b, e, 1) for b, e in zip(begin, ends, strict=True))


def strided_slices(
    shape: Shape, op: TfliteOp, begin: Sequence[int], end: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[slice, ...], Shape]:
    """STRIDED_SLICE as Python's slices, and which of the axes they leave are to be dropped."""
    if op.integer("EllipsisMask") or op.integer("NewAxisMask"):
        raise ImportFileError("slices with an ellipsis or new axes: write begin, end and strides for each axis")
    if not len(begin) == len(end) == len(strides) <= len(shape):
        raise ImportFileError(f"slices {shape} with {len(begin)} begins, {len(end)} ends, {len(strides)} strides")
    slices, dropped = [slice(0, d, 1) for d in shape], []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = 1 << axis
        if step == 0:
            raise ImportFileError("slices with a stride of 0")
        if op.integer("Offset"):
            last += first
        if op.integer("ShrinkAxisMask") & bit:
            position = axis_from_front(first, shape[axis])
            slices[axis] = slice(position, position + 1, 1)
            dropped.append(axis)
            continue
        start = None if op.integer("BeginMask") & bit else first
        stop = None if op.integer("EndMask") & bit else last
        low, high, _ = slice(start, stop, step).indices(shape[axis])
        slices[axis] = slice(low, high if high >= 0 else None, step)
    return tuple(slices), tuple(dropped)


def piece_sizes(size: int, count: int, sizes: Sequence[int] | None) -> Shape:
    """Sizes of the pieces of SPLIT (count equal ones) or SPLIT_V (listed; one -1 takes what is left)."""
    if sizes is None:
        sizes = (size // count,) * count if count and size % count == 0 else ()
    filled = list(sizes)
    if filled.count(-1) == 1:
        filled[filled.index(-1)] = size - sum(s for s in filled if s != -1)
    if len(filled) != count or sum(filled) != size or min(filled, default=0) < 1:
        raise ImportFileError(f"cannot split {size} into {count} pieces {tuple(sizes)}")
    return tuple(filled)
