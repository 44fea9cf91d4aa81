"""ONNX's ops that move data without arithmetic: views where they can be, nodes of the graph where they must."""

from __future__ import annotations

import math

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.importers.onnx_context import ImportContext, Value
from edgekit.importers.onnx_fold import MAX_ELEMENTS
from edgekit.importers.onnx_math import raised, with_constant
from edgekit.importers.onnx_model import OnnxNode
from edgekit.importers.onnx_shapes import (
    as_ints,
    check_axis,
    flattened,
    reshaped,
    shape_slice,
    squeezed,
    unsqueezed,
)
from edgekit.importers.onnx_view import View

MAX_COPIES = 64
"""More would make a node of more inputs than runtimes take."""


def keep(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Identity, and Dropout at inference."""
    if node.op == "Dropout" and len(node.outputs) > 1 and node.outputs[1]:
        raise ImportFileError(
            "returns its mask, which there is none of at inference: call model.eval() before the export"
        )
    training = context.optional_constant(node, 2, "training flag")
    if training is not None and training.any():
        raise ImportFileError("drops values as in training: call model.eval() before the export")
    return [context.view(node)]


def shape(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Shape of an activation: known, hence a constant."""
    return [shape_slice(context.view(node).shape, node)]


def transpose(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Transpose: a view."""
    x = context.view(node)
    perm = node.integers("perm", tuple(reversed(range(x.rank))))
    if sorted(perm) != list(range(x.rank)):
        raise ImportFileError(f"its perm {perm} does not fit {x.shape}")
    return [x.transpose(perm).named(context.layer)]


def reshape(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Reshape: a view, wherever the memory can be cut that way; a shuffle of channels where it ends one."""
    x = context.view(node)
    wanted = as_ints(context.constant(node, 1, "shape"))
    view = reshaped_view(context, x, reshaped(x.shape, wanted, bool(node.integer("allowzero", 0))))
    return [context.settled(view)]


def flatten(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Flatten to two dimensions."""
    x = context.view(node)
    return [reshaped_view(context, x, flattened(x.shape, node.integer("axis", 1)))]


def squeeze(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Squeeze: a view."""
    x = context.view(node)
    return [reshaped_view(context, x, squeezed(x.shape, context.axes(node)))]


def unsqueeze(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Unsqueeze: a view."""
    x = context.view(node)
    return [reshaped_view(context, x, unsqueezed(x.shape, context.axes(node) or ()))]


def reshaped_view(context: ImportContext, x: View, target: tuple[int, ...]) -> View:
    """The value in another shape; moves memory where no cut of it gives that shape."""
    if min(target, default=1) < 1:
        raise ImportFileError(f"makes an empty tensor {target}")
    view = x.reshape(target) or context.flat(x).reshape(target)
    if view is None:
        raise ImportFileError(f"cannot reshape {x.shape} to {target}")
    return view.named(context.layer)


def concat(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Concat of activations."""
    views = [context.view(node, i) for i in range(len(node.inputs))]
    if len({v.rank for v in views}) != 1:
        raise ImportFileError(f"joins tensors of different ranks {[v.shape for v in views]}")
    order = context.order_for(*views)
    axis = order.index(check_axis(node.integer("axis", 1), views[0].rank))
    tensor = context.emit("concat", [context.place(v, order) for v in views], {"axis": axis})
    return [View.of(tensor, context.shape(tensor), order)]


def pad(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Pad with zeros."""
    x = context.view(node)
    mode = node.text("mode", "constant")
    if mode != "constant":
        raise ImportFileError(f"pads by {mode!r}: only zeros can be taken")
    value = context.optional_constant(node, 2, "value")
    if value is not None and value.size and any(value.reshape(-1) != 0):
        raise ImportFileError(f"pads with {value.reshape(-1)[0]}: only zeros can be taken")
    before, after = _pad_widths(context, node, x)
    if not any(before) and not any(after):
        return [x]
    order = context.order_for(x)
    attrs = {"before": tuple(before[a] for a in order), "after": tuple(after[a] for a in order)}
    tensor = context.emit("pad", [context.place(x, order)], attrs)
    return [View.of(tensor, context.shape(tensor), order)]


def _pad_widths(context: ImportContext, node: OnnxNode, x: View) -> tuple[list[int], list[int]]:
    widths = as_ints(context.constant(node, 1, "list of pads"))
    named = context.optional_constant(node, 3, "list of axes")
    axes = [check_axis(a, x.rank) for a in (as_ints(named) if named is not None else range(x.rank))]
    if len(widths) != 2 * len(axes) or min(widths, default=0) < 0:
        raise ImportFileError(f"its pads {widths} do not fit {x.shape}: two numbers an axis, none of them negative")
    before, after = [0] * x.rank, [0] * x.rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = widths[i], widths[i + len(axes)]
    return before, after


def expand(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Expand by broadcasting: a product with ones, which `onnx_patterns` takes away before other arithmetic."""
    x = context.view(node)
    wanted = as_ints(context.constant(node, 1, "shape"))
    try:
        target = np.broadcast_shapes(x.shape, wanted)
    except ValueError:
        raise ImportFileError(f"cannot expand {x.shape} to {wanted}") from None
    return [_stretched(context, x, target)]


def tile(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Tile: axes of size 1 are stretched, others joined with themselves."""
    x = context.view(node)
    repeats = as_ints(context.constant(node, 1, "list of repeats"))
    if len(repeats) != x.rank or min(repeats, default=1) < 1:
        raise ImportFileError(f"its repeats {repeats} do not fit {x.shape}")
    for axis, count in enumerate(repeats):
        if count > 1 and x.shape[axis] > 1:
            order = context.order_for(x)
            if count > MAX_COPIES:
                raise ImportFileError(f"repeats axis {axis} {count} times: at most {MAX_COPIES} can be taken")
            tensor = context.emit("concat", [context.place(x, order)] * count, {"axis": order.index(axis)})
            x = View.of(tensor, context.shape(tensor), order)
    return [_stretched(context, x, tuple(r if d == 1 else d for d, r in zip(x.shape, repeats, strict=True)))]


def _stretched(context: ImportContext, x: View, target: tuple[int, ...]) -> View:
    """The value with its axes of size 1 repeated up to a shape."""
    x = raised(x, len(target))
    if x.shape == target:
        return x
    if math.prod(target) > MAX_ELEMENTS:
        raise ImportFileError(f"makes a tensor {target}, which is too large")
    ones = np.ones([t if d == 1 else 1 for d, t in zip(x.shape, target, strict=True)], np.float32)
    return with_constant(context, "mul", x, ones)
