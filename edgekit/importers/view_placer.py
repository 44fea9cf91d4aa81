"""Puts views of tensors into the memory order that a reader needs, with the cheapest op that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Array, Graph
from edgekit.importers.onnx_view import Order, Shape, View, last_axis_permutation, plan_move, shuffle_groups

MAX_RANK = 4


class ViewPlacer:
    """A graph under construction whose values are views. layer: what emitted nodes are called after."""

    def __init__(self, name: str) -> None:
        self.builder = GraphBuilder(name)
        self.layer = ""
        self._placed: dict[tuple[View, Order], str] = {}

    @property
    def graph(self) -> Graph:
        """The graph under construction."""
        return self.builder.graph

    # -- making graph nodes ----------------------------------------------------------------------------------------

    def unique(self, wish: str = "") -> str:
        """A free name: the layer's, or `wish`."""
        return self.graph.unique_name(wish or self.layer)

    def emit(self, op: str, inputs: Sequence[str], attrs: Mapping[str, Any] | None = None, name: str = "") -> str:
        """Add a node of the graph; returns its output."""
        return self.builder.op(op, inputs, attrs, name=name or self.unique())

    def add_constant(self, name: str, data: Array) -> str:
        """Add a constant to the graph under a free name like `name`."""
        return self.builder.constant(self.graph.unique_name(name), np.ascontiguousarray(data))

    def shape(self, tensor: str) -> Shape:
        """Shape of a tensor of the graph."""
        return self.graph.shape(tensor)

    # -- layout ----------------------------------------------------------------------------------------------------

    def place(self, view: View, order: Order) -> str:
        """The tensor that holds the view with its axes in that order; moves memory if it must."""
        key = (view, order)
        if key not in self._placed:
            target = tuple(view.shape[axis] for axis in order)
            moved = view.tensor if view.is_free(order) else self._move(view, order, target)
            self._placed[key] = self.reshaped(moved, target, view.label)
        return self._placed[key]

    def reshaped(self, tensor: str, shape: Shape, label: str = "") -> str:
        """The tensor in another shape of the same memory."""
        if self.shape(tensor) == shape:
            return tensor
        return self.emit("reshape", [tensor], {"shape": shape}, self.unique(label or f"{tensor}/reshape"))

    def pick(self, tensor: str, axis: int, indices: Sequence[int], name: str = "") -> str:
        """The entries of an axis with these numbers: a channel shuffle where they are one, a gather otherwise."""
        shape = self.shape(tensor)
        groups = shuffle_groups(indices, shape[-1]) if axis == len(shape) - 1 else None
        if groups is not None:
            return self.emit("channel_shuffle", [tensor], {"groups": groups}, name)
        return self.emit("gather", [tensor], {"axis": axis, "indices": tuple(indices)}, name)

    def _move(self, view: View, order: Order, target: Shape) -> str:
        shape, label = self.shape(view.tensor), view.label or f"{view.tensor}/transpose"
        channels = last_axis_permutation(view, shape, order)
        if channels is not None and shape[-1] == target[-1]:
            sizes = view.sizes[len(view.sizes) - len(channels) :]
            indices = np.arange(shape[-1]).reshape(sizes).transpose(channels).reshape(-1)
            return self.pick(view.tensor, len(shape) - 1, indices.tolist(), self.unique(label))
        move = plan_move(view, shape, order)
        if len(move.before) > MAX_RANK:
            raise ImportFileError(
                f"needs a transpose of {len(move.before)} axes {move.before}: "
                "edgekit takes reshapes and transposes of images up to a channel shuffle"
            )
        source = self.reshaped(view.tensor, move.before)
        return self.emit("transpose", [source], {"perm": move.perm}, self.unique(label))
