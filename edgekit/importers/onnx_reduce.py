"""ONNX's means, sums and maxima over height and width as pools."""

from __future__ import annotations

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.importers.onnx_context import ImportContext, Value
from edgekit.importers.onnx_math import with_constant
from edgekit.importers.onnx_model import OnnxNode
from edgekit.importers.onnx_view import Order, Shape, View


def reduce_mean(context: ImportContext, node: OnnxNode) -> list[Value]:
    """ReduceMean over H and W, or one of them."""
    return [_reduced(context, node, "avg_pool")]


def reduce_max(context: ImportContext, node: OnnxNode) -> list[Value]:
    """ReduceMax over H and W, or one of them."""
    return [_reduced(context, node, "max_pool")]


def reduce_sum(context: ImportContext, node: OnnxNode) -> list[Value]:
    """ReduceSum over H and W, or one of them: the mean times the number of values."""
    mean = _reduced(context, node, "avg_pool")
    count = context.view(node).size // mean.size
    return [with_constant(context, "mul", mean, np.full(1, count, np.float32)) if count > 1 else mean]


def _reduced(context: ImportContext, node: OnnxNode, pool: str) -> View:
    x = context.view(node)
    axes = _axes(context, node, x)
    keep = bool(node.integer("keepdims", 1))
    shape = tuple(1 if i in axes else d for i, d in enumerate(x.shape) if keep or i not in axes)
    if x.size == _size(shape):
        return _required(x.reshape(shape))
    if x.rank == 3 and axes == (2,):  # (N, C, H * W) is an image of one column
        x, axes = _required(x.reshape((*x.shape, 1))), (2, 3)
    if x.rank != 4 or not 1 <= len(axes) <= 2 or axes[0] < 1:
        raise ImportFileError(f"reduces axes {axes} of {x.shape}: only height and width can be reduced")
    order = _order(context, x, axes)
    tensor = context.place(x, order)
    if len(axes) == 2 and pool == "avg_pool":
        output = context.emit("global_avg_pool", [tensor], {"keep_dims": len(shape) == 4})
    else:
        height, width = (x.shape[a] if a in axes else 1 for a in order[1:3])
        output = context.emit(pool, [tensor], {"kernel": (height, width), "strides": (1, 1)})
    found = context.shape(output)
    if len(found) == 4:
        return _required(View.of(output, found, order).reshape(shape))
    return _required(View.of(output, found, (0, 1)).reshape(shape))


def _axes(context: ImportContext, node: OnnxNode, x: View) -> Shape:
    """The axes from the front, sorted; without any it is all of them, or with `noop_with_empty_axes` none."""
    given = context.axes(node)
    if not given:
        return () if node.integer("noop_with_empty_axes", 0) else tuple(range(x.rank))
    return tuple(sorted({a % x.rank if -x.rank <= a < x.rank else a for a in given}))


def _order(context: ImportContext, x: View, axes: Shape) -> Order:
    """(N, H, W, C) of the image's axes: H and W are those reduced, wherever they are."""
    if len(axes) == 2 and axes[1] <= 3:
        return (0, *axes, next(a for a in (1, 2, 3) if a not in axes))
    order = context.order_for(x)
    if axes[-1] not in order[1:3]:
        raise ImportFileError(f"reduces axes {axes} of {x.shape}: only height and width can be reduced")
    return order


def _size(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _required(view: View | None) -> View:
    if view is None:
        raise ImportFileError("works on a tensor whose axes cannot be told apart")
    return view
