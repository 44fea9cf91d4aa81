"""ONNX's ops that take parts of an axis: Split, Slice, Gather."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.errors import ImportFileError
from edgekit.importers.onnx_context import ImportContext, Value
from edgekit.importers.onnx_model import OnnxNode
from edgekit.importers.onnx_moves import reshaped_view
from edgekit.importers.onnx_shapes import as_ints, check_axis, slice_keys, split_sizes
from edgekit.importers.onnx_view import Order, Shape, View, split_factors


@dataclass(frozen=True, slots=True)
class Ranked:
    """A value laid out such that parts of one of its axes can be taken.

    axis: the tensor's axis; inner: how many of its entries belong to one entry of the ONNX axis; view: the value on
    `tensor`; order: set where the view is a plain one.
    """

    tensor: str
    axis: int
    inner: int
    view: View
    order: Order | None
    factor: int

    def part(self, context: ImportContext, tensor: str) -> View:
        """The view of a tensor that holds some entries of the axis."""
        if self.order is not None:
            return View.of(tensor, context.shape(tensor), self.order)
        count = context.shape(tensor)[self.axis] // self.inner
        if count != 1:
            sizes = tuple(count if f == self.factor else s for f, s in enumerate(self.view.sizes))
            return View(tensor, sizes, self.view.axes)
        sizes = tuple(s for f, s in enumerate(self.view.sizes) if f != self.factor)
        axes = tuple(tuple(f - (f > self.factor) for f in a if f != self.factor) for a in self.view.axes)
        return View(tensor, sizes, axes)


def _lay_out(context: ImportContext, x: View, axis: int) -> Ranked:
    """Place an image or a vector as it is cheapest; of other ranks, put the axis first among the channels.

    The latter is half a channel shuffle: ShuffleNet V2's own code makes (2, N, C / 2, H, W) and takes its two halves.
    """
    if x.rank in (2, 4):
        order = context.order_for(x)
        return Ranked(context.place(x, order), order.index(axis), 1, x, order, -1)
    shape, chosen = context.shape(x.tensor), x.axes[axis]
    own = split_factors(x.sizes, shape)
    if own is None or not chosen or not set(chosen) <= set(own[-1]):
        context.order_for(x)  # refuses the rank
        raise ImportFileError(f"takes parts of axis {axis} of {x.shape}, which are no channels")
    others = tuple(f for f in x.factors(range(x.rank)) if f in own[-1] and f not in chosen)
    as_image = View(x.tensor, x.sizes, (*own[:-1], (*chosen, *others)), x.label)
    tensor = context.place(as_image, tuple(range(len(shape))))
    return Ranked(
        tensor, len(shape) - 1, math.prod(x.sizes[f] for f in others), *_renumbered(x, own[-1], chosen, others)
    )


def _renumbered(
    x: View, channels: Sequence[int], chosen: Sequence[int], others: Sequence[int]
) -> tuple[View, None, int]:
    """The view after its channels were put in the order chosen, others; the chosen ones are one factor."""
    first = channels[0]
    new = {f: f for f in range(first)} | dict.fromkeys(chosen, first) | {f: first + 1 + i for i, f in enumerate(others)}
    sizes = (*x.sizes[:first], math.prod(x.sizes[f] for f in chosen), *(x.sizes[f] for f in others))
    axes = tuple(tuple(dict.fromkeys(new[f] for f in axis)) for axis in x.axes)
    return View("", sizes, axes), None, first


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
    ranked, name = _lay_out(context, x, axis), context.unique()
    wishes = [context.unique(f"{name}/{i}") for i in range(len(sizes))]
    attrs = {"axis": ranked.axis, "sizes": tuple(size * ranked.inner for size in sizes)}
    made = context.builder.op_many("split", [ranked.tensor], attrs, wishes, name=name)
    return [ranked.part(context, t) for t in made]


def slice_(context: ImportContext, node: OnnxNode) -> list[Value]:
    """Slice; an axis that is reversed is a gather."""
    x = context.view(node)
    whats = ("data", "starts", "ends", "axes", "steps")
    bounds = [None, *(context.optional_constant(node, i, whats[i]) for i in range(1, 5))]
    keys = slice_keys(x.shape, bounds)
    for axis, key in enumerate(keys):
        chosen = tuple(range(x.shape[axis])[key])
        if key.step < 0 and chosen:
            x = _take(context, x, axis, chosen)
            keys[axis] = slice(0, len(chosen), 1)
    cut = [a for a, (k, d) in enumerate(zip(keys, x.shape, strict=True)) if (k.start, k.stop, k.step) != (0, d, 1)]
    if not cut:
        return [x]
    if x.rank not in (2, 4) and len(cut) == 1 and keys[cut[0]].step == 1:
        return [_range(context, x, cut[0], keys[cut[0]].start, keys[cut[0]].stop)]
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
    if not chosen:
        raise ImportFileError("has an empty list of indices: it must take something")
    one = indices.ndim == 0
    if chosen == tuple(range(x.shape[axis])):
        view = x
    elif one or (x.rank not in (2, 4) and len(chosen) == 1):
        view = _range(context, x, axis, chosen[0], chosen[0] + 1)
    else:
        view = _take(context, x, axis, chosen)
    return [reshaped_view(context, view, (*view.shape[:axis], *view.shape[axis + 1 :])) if one else view]


def _take(context: ImportContext, x: View, axis: int, chosen: Shape) -> View:
    """The entries of an axis with these numbers."""
    ranked = _lay_out(context, x, axis)
    indices = tuple(i * ranked.inner + j for i in chosen for j in range(ranked.inner))
    return ranked.part(context, context.pick(ranked.tensor, ranked.axis, indices))


def _range(context: ImportContext, x: View, axis: int, start: int, stop: int) -> View:
    """The entries of an axis from start to stop."""
    ranked = _lay_out(context, x, axis)
    shape = context.shape(ranked.tensor)
    begin, end = [0] * len(shape), list(shape)
    begin[ranked.axis], end[ranked.axis] = start * ranked.inner, stop * ranked.inner
    attrs = {"begin": tuple(begin), "end": tuple(end), "strides": (1,) * len(shape)}
    return ranked.part(context, context.emit("slice", [ranked.tensor], attrs))
