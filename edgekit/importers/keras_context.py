"""The state of one Keras import: the graph that grows, the layer at work, and the weights not yet read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError, UnsupportedOpError, WeightsError
from edgekit.graph.ir import Array
from edgekit.importers.keras_calls import Call, short
from edgekit.importers.keras_model import KerasLayer
from edgekit.importers.keras_source import Address, KerasSource
from edgekit.importers.onnx_names import clean
from edgekit.importers.onnx_view import Shape, View
from edgekit.importers.view_placer import MAX_RANK, ViewPlacer

Value = Any
"""What a call gives: a View of an activation, an array of numbers, or a list of these."""
MAX_ELEMENTS = 2**31 - 1
"""Runtimes count elements in 32 bits; a file can declare any shape in a few bytes."""
MAX_CALLS = 5_000
"""Models that call models inside that call models inside multiply; the largest of keras.applications has 1,100."""
MAX_PIECES = 2**20
"""Channels of a shuffle, or pieces of a split, which become lists."""


class KerasContext(ViewPlacer):
    """What the functions of the tables work with. Problems are ImportFileErrors without place; the driver adds it."""

    def __init__(self, source: KerasSource) -> None:
        super().__init__(source.title)
        self.source = source
        self.address: Address = ()
        self._read: dict[Address, list[Array]] = {}
        self._bytes = self._calls = 0

    def enter(self, address: Address) -> None:
        """Name what is emitted from here on after this layer."""
        self.address, self.layer = address, clean("/".join(address))

    def count_call(self) -> None:
        """Note a call of a layer or a model. Raises ImportFileError for more than any network has."""
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise ImportFileError(f"{self.source.label}: calls more than {MAX_CALLS} layers")

    def refuse(self, layer: KerasLayer, remedy: str, kind: str = "") -> UnsupportedOpError:
        """The error for a layer that cannot be taken."""
        return UnsupportedOpError(kind or layer.kind, self.layer, f"{self.source.label}: the Keras importer", remedy)

    # -- activations -----------------------------------------------------------------------------------------------

    def tensor(self, view: View) -> str:
        """The tensor that holds a view just as Keras sees it; moves memory if it must."""
        if not 1 <= view.rank <= MAX_RANK:
            raise ImportFileError(
                f"works on a tensor of {view.rank} dimensions {view.shape}: edgekit takes up to {MAX_RANK}, "
                "and more only between a reshape and the reshape that ends it"
            )
        order = tuple(range(view.rank))
        if view.shape[-1] > MAX_PIECES and not view.is_free(order):
            raise ImportFileError(f"moves the channels of a tensor {view.shape}: they are more than {MAX_PIECES}")
        return self.place(view, order)

    def image(self, view: View) -> str:
        """The tensor of an image (N, H, W, C)."""
        if view.rank != 4:
            raise ImportFileError(f"works on a tensor {view.shape}: it must be an image (N, H, W, C)")
        return self.tensor(view)

    def view(self, tensor: str) -> View:
        """A tensor of the graph as a value."""
        return View.of(tensor, self.shape(tensor), tuple(range(len(self.shape(tensor)))))

    def make(self, op: str, inputs: Sequence[str], attrs: Mapping[str, Any] | None = None, suffix: str = "") -> View:
        """Add a node called after the layer, with a suffix if it is not the layer itself."""
        return self.view(self.emit(op, inputs, attrs, self.unique(self.named(suffix))))

    def emit(self, op: str, inputs: Sequence[str], attrs: Mapping[str, Any] | None = None, name: str = "") -> str:
        """Add a node of the graph; returns its output. Raises ImportFileError for one larger than any device."""
        return self._bounded(super().emit(op, inputs, attrs, name))

    def make_many(self, op: str, x: View, attrs: Mapping[str, Any], count: int) -> list[View]:
        """Add a node with several outputs."""
        if count > MAX_PIECES:
            raise ImportFileError(f"splits {x.shape} into more than {MAX_PIECES} pieces")
        tensor, name = self.tensor(x), self.unique()
        outputs = [f"{name}/{i}" for i in range(count)]
        return [self.view(t) for t in self.builder.op_many(op, [tensor], attrs, outputs, name=name)]

    def named(self, suffix: str = "") -> str:
        """The layer's name, with a suffix for a node that is not the layer itself."""
        return f"{self.layer}/{suffix}" if suffix else self.layer

    def reshape(self, view: View, shape: Sequence[int], suffix: str = "") -> View:
        """The same elements in another shape, which must be of the same size; nothing moves yet."""
        reshaped = view.reshape(tuple(shape))
        if reshaped is None:  # transposed in a way that this shape cuts across
            reshaped = self.view(self.tensor(view)).reshape(tuple(shape))
        assert reshaped is not None
        return reshaped.named(self.named(suffix))

    def with_constant(self, op: str, x: View, constant: Array, suffix: str = "") -> View:
        """add or mul with a constant that broadcasts, as float32."""
        constant = np.asarray(constant, np.float32)
        if constant.ndim > x.rank:
            x = self.reshape(x, (1,) * (constant.ndim - x.rank) + x.shape, "reshape")
        while constant.ndim > 1 and constant.shape[0] == 1:
            constant = constant[0]
        tensor, name = self.tensor(x), self.unique(self.named(suffix))
        value = self.add_constant(f"{name}/constant", constant.reshape(constant.shape or (1,)))
        return self.view(self.emit(op, [tensor, value], name=name))

    def add_input(self, name: str, shape: Shape) -> View:
        """Make a graph input."""
        return self.view(self._bounded(self.builder.input(self.unique(clean(name)), shape)))

    def _bounded(self, tensor: str) -> str:
        if math.prod(self.shape(tensor)) > MAX_ELEMENTS:
            raise ImportFileError(f"makes a tensor {self.shape(tensor)}, which is too large for any device")
        return tensor

    # -- weights ---------------------------------------------------------------------------------------------------

    def weights(self, wanted: Mapping[str, Shape], surplus: int = 0) -> list[Array]:
        """The layer's arrays as float32, by role where the source names the roles, else in Keras's order.

        wanted: role -> shape, in Keras's order. surplus: how many more the layer may have. Raises WeightsError where
        they do not fit.
        """
        if self.address not in self._read:
            self._read[self.address] = self._load(wanted, surplus)
        return self._read[self.address]

    def _load(self, wanted: Mapping[str, Shape], surplus: int) -> list[Array]:
        where = f"{self.source.label}: layer {self.layer!r}"
        stored = self.source.find(self.address)
        tensors = stored.tensors if stored is not None else ()
        by_role = {tensor.role: tensor for tensor in tensors if tensor.role}
        chosen = [by_role.get(role) for role in wanted] if by_role else list(tensors[: len(wanted)])
        if len(chosen) < len(wanted) or None in chosen or len(tensors) > len(wanted) + surplus:
            raise WeightsError(f"{where} needs {', '.join(wanted)}; the weights hold {len(tensors)} arrays for it")
        arrays = []
        for (role, shape), tensor in zip(wanted.items(), chosen, strict=True):
            assert tensor is not None
            if tensor.shape != shape:
                raise WeightsError(f"{where}: its {role} has shape {tensor.shape}, its settings need {shape}")
            self._bytes += 4 * math.prod(shape)
            if self._bytes > self.source.limit_bytes:
                raise WeightsError(f"{where}: its {role} {shape} is more than a file of this size can hold; not read")
            with np.errstate(over="ignore"):
                array = np.asarray(tensor.read(), np.float32)
            if "variance" in role and float(array.min(initial=0)) < 0:
                raise WeightsError(f"{where}: its {role} holds a negative variance")
            arrays.append(array)
        return arrays


# -- what a call was given ---------------------------------------------------------------------------------------------


def flat(value: Any) -> list[Any]:
    """The values in nested lists and dictionaries, dictionaries by key."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    return [item for inner in value for item in flat(inner)] if isinstance(value, list | tuple) else [value]


def only_view(call: Call) -> View:
    """The only input of a layer."""
    (view,) = views(call, 1)
    return view


def views(call: Call, count: int | None = None) -> list[View]:
    """The inputs of a layer: the views in its first argument."""
    found = flat(call.args[0] if call.args else list(call.kwargs.values())[:1])
    for value in found:
        if not isinstance(value, View):
            raise ImportFileError(f"its input is {short(value)} where an activation is needed")
    if not found or (count is not None and len(found) != count):
        raise ImportFileError(f"has {len(found)} inputs; it takes {count or 'one or more'}")
    return found


Convert = Callable[[KerasContext, KerasLayer, Call], Value]
"""A row of the tables: what a layer or an operation makes of what it is called with."""
