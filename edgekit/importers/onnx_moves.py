"""ONNX's ops that move data without arithmetic: views where they can be, nodes of the graph where they must."""

from __future__ import annotations

import math

from edgekit.errors import ImportFileError
from edgekit.importers.onnx_context import ImportContext, Value
from edgekit.importers.onnx_fold import (
    as_ints,
    check_axis,
    reshaped,
    shape_slice,
    slice_keys,
    split_sizes,
    squeezed,
    unsqueezed,
)
from edgekit.importers.onnx_model import OnnxNode
from edgekit.importers.onnx_view import Order, View


def keep(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Identity, and Dropout at inference."""
    if node.op == "Dropout" and len(node.outputs) > 1 and node.outputs[1]:
        raise ImportFileError(
            "returns its mask, which there is none of at inference: call model.eval() before the export"
        )
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
    """Reshape: a view, wherever the memory can be cut that way."""
    x = context.view(node)
    wanted = as_ints(context.constant(node, 1, "shape"))
    return [_reshape(context, x, reshaped(x.shape, wanted, bool(node.integer("allowzero", 0))))]


def flatten(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Flatten to two dimensions."""
    x = context.view(node)
    axis = node.integer("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise ImportFileError(f"its axis {axis} is outside {x.shape}")
    rows = math.prod(x.shape[: axis if axis >= 0 else x.rank + axis])
    return [_reshape(context, x, (rows, x.size // rows))]


def squeeze(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Squeeze: a view."""
    x = context.view(node)
    return [_reshape(context, x, squeezed(x.shape, context.axes(node)))]


def unsqueeze(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Unsqueeze: a view."""
    x = context.view(node)
    return [_reshape(context, x, unsqueezed(x.shape, context.axes(node) or ()))]


def _reshape(context: ImportContext, x: View, target: tuple[int, ...]) -> View:
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


def split(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Split by sizes or into a number of equal pieces."""
    x = context.view(node)
    axis = check_axis(node.integer("axis", 0), x.rank)
    sizes = split_sizes(node, context.optional_constant(node, 1, "list of sizes"), x.shape[axis])
    if len(sizes) != len(node.outputs):
        raise ImportFileError(f"has {len(node.outputs)} outputs for pieces {sizes}")
    if min(sizes) < 1:
        raise ImportFileError(f"cuts {x.shape} into pieces {sizes}: each must hold something")
    if len(sizes) == 1:
        return [x]
    order = context.order_for(x)
    tensor, name = context.place(x, order), context.unique()
    wishes = [context.unique(f"{name}/{i}") for i in range(len(sizes))]
    attrs = {"axis": order.index(axis), "sizes": sizes}
    made = context.builder.op_many("split", [tensor], attrs, wishes, name=name)
    return [View.of(t, context.shape(t), order) for t in made]


def slice_(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Slice with positive steps."""
    x = context.view(node)
    whats = ("data", "starts", "ends", "axes", "steps")
    bounds = [None, *(context.optional_constant(node, i, whats[i]) for i in range(1, 5))]
    keys = slice_keys(x.shape, bounds)
    if any(k.step < 0 for k in keys):
        raise ImportFileError("reverses an axis: only positive steps can be taken")
    if all((k.start, k.stop, k.step) == (0, d, 1) for k, d in zip(keys, x.shape, strict=True)):
        return [x]
    order = context.order_for(x)
    tensor = context.place(x, order)
    attrs = {
        "begin": tuple(keys[a].start for a in order),
        "end": tuple(keys[a].stop for a in order),
        "strides": tuple(keys[a].step for a in order),
    }
    output = context.emit("slice", [tensor], attrs)
    return [View.of(output, context.shape(output), order)]


def gather(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Gather by constant indices: a list of them, or one, which takes the axis away."""
    x = context.view(node)
    axis = check_axis(node.integer("axis", 0), x.rank)
    indices = context.constant(node, 1, "list of indices")
    if indices.ndim > 1:
        raise ImportFileError(f"has indices of shape {indices.shape}: only a list can be taken")
    chosen = tuple(check_axis(i, x.shape[axis]) for i in as_ints(indices))
    order: Order = context.order_for(x)
    attrs = {"axis": order.index(axis), "indices": chosen}
    tensor = context.emit("gather", [context.place(x, order)], attrs)
    view = View.of(tensor, context.shape(tensor), order)
    if indices.ndim == 1:
        return [view]
    return [_reshape(context, view, (*view.shape[:axis], *view.shape[axis + 1 :]))]


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
