"""The state of one import: what the file's tensors stand for so far, and the graph that grows from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.errors import ImportFileError
from edgekit.graph.builder import GraphBuilder
from edgekit.graph.ir import Array, Graph
from edgekit.graph.ops import complete_attrs, infer_shapes
from edgekit.importers.onnx_names import clean
from edgekit.importers.tflite_model import TfliteModel, TfliteOp
from edgekit.importers.tflite_options import ACTIVATION
from edgekit.importers.tflite_shapes import Shape, bounded, whole_numbers

ACTIVATIONS: Mapping[int, tuple[str, ...]] = {0: (), 1: ("relu",), 3: ("relu6",)}
"""Fused activations by the schema's numbers."""
FREE_ELEMENTS, ELEMENTS_PER_BYTE = 2**22, 4
"""An int8 weight is a byte of the file, is computed once or twice, and copied once."""
REFUSED_ACTIVATIONS = {2: "RELU_N1_TO_1", 4: "TANH", 5: "SIGN_BIT"}


@dataclass(frozen=True, slots=True)
class Spread:
    """What SPACE_TO_BATCH_ND makes of an image: every block[i]-th row and column in a batch of its own.

    Only a convolution reads it, which is then a dilated one, and BATCH_TO_SPACE_ND puts the pieces together again.
    tensor: the image before, or the dilated convolution's result; padding: (top, bottom, left, right) that the image
    still lacks, None once it is convolved.
    """

    tensor: str
    block: tuple[int, int]
    padding: tuple[int, int, int, int] | None


Value = str | Array | Spread
"""What a tensor of the file stands for: a tensor of the graph, a constant, or an image between two batch ops."""


@dataclass(frozen=True, slots=True)
class Step:
    """An op of the graph that is still to be emitted; `constants` are its further inputs."""

    op: str
    constants: tuple[str, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)


class TfliteContext:
    """What the functions of `tflite_ops` work with. Problems are ImportFileErrors without place; the driver adds it."""

    def __init__(self, model: TfliteModel, name: str) -> None:
        self.model = model
        self.builder = GraphBuilder(name)
        self.values: dict[int, Value] = {}
        self.layer = ""
        self._names: set[str] = set()
        self._stored: dict[tuple[int, str], str] = {}
        self._computed = 0
        self._readers: dict[int, list[TfliteOp]] = {}
        for op in model.ops:
            for index in op.inputs:
                self._readers.setdefault(index, []).append(op)

    @property
    def graph(self) -> Graph:
        """The graph under construction."""
        return self.builder.graph

    # -- what an operator reads ------------------------------------------------------------------------------------

    def value(self, index: int) -> Value:
        """What a tensor of the file stands for."""
        if index < 0:
            raise ImportFileError("lacks an input")
        if index not in self.values:
            tensor = self.model.tensors[index]
            if not tensor.is_constant:
                raise ImportFileError(f"reads {tensor.name!r}, which nothing before it makes")
            value = tensor.array()
            self.values[index] = self.counted(value) if tensor.is_quantized else value
        return self.values[index]

    def counted(self, value: Array) -> Array:
        """A constant that had to be computed or copied: all of them together are a few times the file at most."""
        self._computed += value.size
        limit = FREE_ELEMENTS + ELEMENTS_PER_BYTE * len(self.model.data)
        if self._computed > limit:
            raise ImportFileError(f"makes constants of more than {limit} elements out of {len(self.model.data)} bytes")
        return value

    def activation(self, op: TfliteOp, index: int = 0, rank: int | None = None) -> str:
        """The graph's tensor of an input that must be an activation, of `rank` dimensions where that is given."""
        value = self.value(op.input(index))
        if isinstance(value, Spread):
            raise ImportFileError("works between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, where only a convolution can")
        if not isinstance(value, str):
            name = self.model.tensors[op.input(index)].name
            raise ImportFileError(f"its input {name!r} is a constant where an activation is needed")
        if rank is not None and len(self.shape(value)) != rank:
            raise ImportFileError(f"works on a tensor {self.shape(value)}: {rank} dimensions are needed")
        return value

    def constant(self, op: TfliteOp, index: int, what: str) -> Array:
        """An input that must be a constant."""
        value = self.value(op.input(index))
        if not isinstance(value, np.ndarray):
            raise ImportFileError(f"its {what} is computed from the input: it must be a constant")
        return value

    def integers(self, op: TfliteOp, index: int, what: str) -> tuple[int, ...]:
        """An input that must be a constant list of integers."""
        return whole_numbers(self.constant(op, index, what))

    def weights(self, op: TfliteOp, index: int, what: str) -> Array:
        """An input that must be a constant, as float32."""
        return as_float32(self.constant(op, index, what), what)

    def readers(self, op: TfliteOp) -> list[TfliteOp]:
        """The operators that read an operator's first output."""
        return self._readers.get(op.outputs[0], [])

    def shape(self, tensor: str) -> Shape:
        """Shape of a tensor of the graph."""
        return self.graph.shape(tensor)

    # -- making graph nodes ----------------------------------------------------------------------------------------

    def enter(self, op: TfliteOp) -> None:
        """Name what is emitted from here on after this operator's result."""
        self.layer = self.name_of(op.outputs[0])

    def name_of(self, index: int) -> str:
        """What a tensor of the file is called in the graph (not yet unique)."""
        return clean_name(self.model.tensors[index].name)

    def unique(self, wish: str) -> str:
        """`wish`, or `wish_1`, `wish_2`, ...: the first that is free; it is taken from now on."""
        name, count = wish, 0
        while name in self._names:
            count += 1
            name = f"{wish}_{count}"
        self._names.add(name)
        return name

    def emit(self, op: str, inputs: Sequence[str], attrs: Mapping[str, Any] | None = None, name: str = "") -> str:
        """Add a node of the graph, called `name` or after the operator; returns its output."""
        made = self.builder.op(op, inputs, attrs, name=self.unique(name or self.layer))
        bounded(self.shape(made))
        return made

    def chain(self, tensor: str, *steps: Step) -> str:
        """Add nodes that follow each other; the last one is called after the operator, those before it after their op.

        A reshape to the shape that is there already is left out.
        """
        kept, shape = [], self.shape(tensor)
        for step in steps:
            if step.op == "reshape" and step.attrs["shape"] == shape:
                continue
            shapes = [shape, *(self.shape(constant) for constant in step.constants)]
            shape = infer_shapes(step.op, shapes, complete_attrs(step.op, step.attrs))[0]
            kept.append(step)
        for step in kept:
            name = self.layer if step is kept[-1] else f"{self.layer}/{step.op}"
            tensor = self.emit(step.op, [tensor, *step.constants], step.attrs, name)
        return tensor

    def store(self, op: TfliteOp, index: int, role: str, data: Array, layout: str = "") -> str:
        """Add the constant that an operator's input becomes; operators that share it in one layout share the result."""
        key = (op.input(index), f"{role} {layout}")
        if key not in self._stored:
            self._stored[key] = self.add_constant(role, data)
        return self._stored[key]

    def add_constant(self, role: str, data: Array) -> str:
        """Add a constant called after the operator and what it is."""
        name = self.unique(f"{self.layer}/{role}")
        return self.builder.constant(name, np.ascontiguousarray(self.counted(data), np.float32))

    def add_input(self, index: int, shape: Shape) -> None:
        """Make a graph input of that shape."""
        self.values[index] = self.builder.input(self.unique(self.name_of(index)), shape)


def clean_name(name: str) -> str:
    """The first name where converters joined several of fused layers with `;`, without PyTorch's module paths."""
    parts = [part for part in name.split(";") if part.strip("/ ")]
    printable = re.sub(r"[^\w\-./:+@ ]", "_", parts[0] if parts else "")
    return clean(re.sub(r"\btorch\.nn\.modules\.(\w+\.)*", "", printable))


def fused(op: TfliteOp) -> tuple[Step, ...]:
    """The operator's fused activation as a node of its own, if it has one."""
    number = op.integer(ACTIVATION)
    if number not in ACTIVATIONS:
        name = REFUSED_ACTIVATIONS.get(number, f"number {number}")
        raise ImportFileError(f"has the fused activation {name}: edgekit takes RELU and RELU6; train with one of them")
    return tuple(Step(name) for name in ACTIVATIONS[number])


def reshaped(shape: Sequence[int]) -> Step:
    """A reshape (left out by `chain` where the shape is there already)."""
    return Step("reshape", attrs={"shape": tuple(shape)})


def as_float32(value: Array, what: str) -> Array:
    """A constant as float32. Raises ImportFileError for integers and the like."""
    if value.dtype.kind != "f":
        raise ImportFileError(f"its {what} is of type {value.dtype} without scales: it must be float or quantized")
    return value.astype(np.float32, copy=False)
