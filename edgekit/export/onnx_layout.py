"""The graph's NHWC order and ONNX's NCHW: only tensors of rank 4 differ, all others are written as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

TO_NCHW = (0, 3, 1, 2)
TO_NHWC = (0, 2, 3, 1)
OIHW_FROM_HWIO = (3, 2, 0, 1)


def onnx_order(per_axis: Sequence[T]) -> tuple[T, ...]:
    """One value an axis (sizes, padding, ...) from the graph's order of axes into the file's."""
    return tuple(per_axis[axis] for axis in TO_NCHW) if len(per_axis) == 4 else tuple(per_axis)


def onnx_axis(axis: int, rank: int) -> int:
    """Where the graph's axis lies in the file."""
    return TO_NCHW.index(axis) if rank == 4 else axis


def onnx_perm(perm: Sequence[int]) -> tuple[int, ...]:
    """A transpose of the graph as a transpose of the tensors in the file."""
    return tuple(onnx_axis(axis, len(perm)) for axis in onnx_order(perm))


def same_order(shape: Sequence[int]) -> bool:
    """Whether both layouts hold the elements in the same order: H * W is 1, C is 1, or the rank is not 4."""
    return len(shape) != 4 or shape[3] == 1 or shape[1] * shape[2] == 1


def reshape_keeps_layout(source: Sequence[int], target: Sequence[int]) -> bool:
    """Whether a reshape in NHWC order is the same plain reshape in the file's order."""
    if len(source) == len(target) == 4 and source[0] == target[0] and source[3] == target[3]:
        return True
    return same_order(source) and same_order(target)


def with_leading_ones(shape: Sequence[int], rank: int) -> tuple[int, ...]:
    """The shape that broadcasting gives a tensor of lower rank."""
    return (1,) * (rank - len(shape)) + tuple(shape)
