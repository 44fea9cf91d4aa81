"""The state of one import: ONNX values seen so far, and the graph that grows from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.ir import Array
from edgekit.importers.onnx_model import OnnxModel, OnnxNode
from edgekit.importers.onnx_names import clean, layer_name
from edgekit.importers.onnx_shapes import as_ints
from edgekit.importers.onnx_view import NHWC_OF_NCHW, Order, Shape, View, last_axis_permutation
from edgekit.importers.view_placer import ViewPlacer

Value = View | Array
"""What an ONNX name stands for: a view of an activation, or a constant in ONNX's own layout."""

ORDERS: Mapping[int, tuple[Order, ...]] = {2: ((0, 1),), 4: (NHWC_OF_NCHW, (0, 1, 2, 3))}


class ImportContext(ViewPlacer):
    """What the functions of `onnx_ops` work with. Problems are ImportFileErrors without place; the driver adds it."""

    def __init__(self, model: OnnxModel, name: str) -> None:
        super().__init__(name)
        self.model = model
        self.opset = model.opset
        self.values: dict[str, Value] = dict(model.constants)
        self._graph_outputs = frozenset(model.outputs)

    def enter(self, node: OnnxNode) -> None:
        """Name what is emitted from here on after this node."""
        self.layer = layer_name(node, self._graph_outputs)

    # -- inputs of ONNX nodes --------------------------------------------------------------------------------------

    def value(self, name: str) -> Value:
        """The value of an ONNX name."""
        try:
            return self.values[name]
        except KeyError:
            raise ImportFileError(f"reads {name!r}, which nothing before it makes") from None

    def view(self, node: OnnxNode, index: int = 0) -> View:
        """An input that must be an activation."""
        if not node.input(index):
            raise ImportFileError(f"its input {index} is missing")
        value = self.value(node.input(index))
        if not isinstance(value, View):
            raise ImportFileError(f"its input {node.input(index)!r} is a constant where an activation is needed")
        return value

    def constant(self, node: OnnxNode, index: int, what: str) -> Array:
        """An input that must be a constant."""
        value = self.optional_constant(node, index, what)
        if value is None:
            raise ImportFileError(f"its {what} is missing")
        return value

    def optional_constant(self, node: OnnxNode, index: int, what: str) -> Array | None:
        """An input that must be a constant if it is there."""
        if not node.input(index):
            return None
        value = self.value(node.input(index))
        if isinstance(value, View):
            raise ImportFileError(f"its {what} {node.input(index)!r} is computed from the input: it must be a constant")
        return value

    def weights(self, node: OnnxNode, index: int, what: str) -> Array:
        """A constant that must be there, as float32."""
        return as_float32(self.constant(node, index, what), what)

    def axes(self, node: OnnxNode) -> tuple[int, ...] | None:
        """Axes from the attribute or, in newer opsets, the second input; None if there are none."""
        if "axes" in node.attrs:
            return node.integers("axes")
        value = self.optional_constant(node, 1, "list of axes")
        return None if value is None else as_ints(value)

    # -- layout ----------------------------------------------------------------------------------------------------

    def order_for(self, *views: View) -> Order:
        """The order of axes in which these views (of one rank) can be used most cheaply: NHWC unless another is."""
        rank = views[0].rank
        if rank not in ORDERS:
            raise ImportFileError(
                f"works on a tensor of {rank} dimensions {views[0].shape}: "
                "edgekit takes images (N, C, H, W) and vectors (N, F)"
            )
        return min(ORDERS[rank], key=lambda order: sum(self._cost(view, order) for view in views))

    def _cost(self, view: View, order: Order) -> int:
        if not view.is_free(order):
            return view.size + 1
        return int(self.shape(view.tensor) != tuple(view.shape[a] for a in order))

    def image(self, view: View) -> str:
        """The tensor of an NCHW value in NHWC."""
        if view.rank != 4:
            raise ImportFileError(f"works on a tensor {view.shape}: edgekit takes it for images (N, C, H, W) only")
        return self.place(view, NHWC_OF_NCHW)

    def columns(self, view: View) -> tuple[str, Array, View]:
        """A 2-D value as a tensor (N, F), which ONNX column each of its columns is, and the value's view of it.

        A flattened image stays in its memory's order: the user's weights are permuted instead.
        """
        if view.rank != 2:
            self.order_for(view)
            raise ImportFileError(f"works on a tensor {view.shape}: edgekit takes it for vectors (N, F) only")
        rows, features = view.axes
        if list(rows) != list(range(len(rows))):
            tensor = self.place(view, (0, 1))
            return tensor, np.arange(view.shape[1]), View.of(tensor, view.shape, (0, 1))
        cut = np.arange(view.shape[1]).reshape([view.sizes[f] for f in features])
        columns = cut.transpose(np.argsort(features, kind="stable")).reshape(-1)
        tensor = self.reshaped(view.tensor, view.shape, view.label)
        return tensor, columns, view.on(tensor)

    def flat(self, view: View) -> View:
        """A fresh view whose memory is in ONNX's own order, so that any reshape fits."""
        everything = View(view.tensor, view.sizes, ((), tuple(view.factors(range(view.rank)))), view.label)
        tensor = self.place(everything, (0, 1))
        return View.of(tensor, (1, view.size), (0, 1))

    def settled(self, view: View) -> View:
        """The view, or where it ends a channel shuffle of an image, one of a tensor that was shuffled.

        So the graph has one shuffle where the network has one, however many ops read it.
        """
        shape = self.shape(view.tensor)
        if view.rank != 4 or any(view.is_free(order) for order in ORDERS[4]):
            return view
        for order in ORDERS[4]:
            if last_axis_permutation(view, shape, order) is not None and shape[-1] == view.shape[order[-1]]:
                tensor = self.place(view, order)
                return View.of(tensor, self.shape(tensor), order)
        return view

    def add_input(self, name: str, shape: Shape, order: Order) -> None:
        """Make a graph input; `shape` and `order` are ONNX's."""
        tensor = self.builder.input(self.unique(clean(name)), tuple(shape[a] for a in order))
        self.values[name] = View.of(tensor, self.shape(tensor), order)


def as_float32(value: Array, what: str) -> Array:
    """A constant as float32. Raises ImportFileError for strings, complex numbers and the like."""
    try:
        return value.astype(np.float32) if value.dtype.kind != "c" else _refuse_kind(value, what)
    except (TypeError, ValueError):
        return _refuse_kind(value, what)


def _refuse_kind(value: Array, what: str) -> Array:
    raise ImportFileError(f"its {what} is of type {value.dtype}: it must be numbers")
