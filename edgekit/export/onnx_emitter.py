"""Collects the nodes and initializers of an ONNX file: names, constants, and the integer form of each tensor.

Every tensor of the graph has a float value, called as in the graph; a quantized one is also held as integers, called
`<name>_q`. Activations are uint8 (the graph's int8 numbers plus 128), which onnxruntime runs fastest on x86 and Arm;
weights stay int8 with a scale for each output channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgekit.errors import GraphError
from edgekit.export.onnx_layout import TO_NCHW, TO_NHWC, onnx_order, same_order, with_leading_ones
from edgekit.graph.ir import Array, Graph, Tensor
from edgekit.graph.quant_params import QuantParams

FLOAT = 1
"""ONNX's number of float32, for Cast."""


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One node of the file."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]


def file_params(quant: QuantParams) -> QuantParams:
    """The parameters of an activation in the file: int8 becomes uint8. Raises GraphError for other types."""
    if quant.axis is not None or quant.dtype not in ("int8", "uint8"):
        raise GraphError(f"the ONNX writer cannot write activations of {quant.dtype} on axis {quant.axis}")
    if quant.dtype == "uint8":
        return quant
    return replace(quant, dtype="uint8", zero_point=(quant.zero_point[0] + 128,))


class Emitter:
    """Nodes and initializers under construction; methods return names in the file."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[OnnxNode] = []
        self.initializers: dict[str, Array] = {}
        self._taken = set(graph.tensors)
        self._values: dict[str, str] = {}
        self._integers: dict[str, str] = {}
        self._params: dict[str, tuple[str, str]] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bool], str] = {}
        self._named: set[str] = set()
        self._logical: dict[tuple[str, bool], str] = {}
        for name in graph.inputs:
            self._add_input(graph.tensor(name))

    # -- names and nodes -------------------------------------------------------------------------------------------

    def fresh(self, wish: str) -> str:
        """`wish`, or `wish_1`, `wish_2`, ... : the first name that is free in the file, now taken."""
        name, count = wish, 0
        while name in self._taken:
            count += 1
            name = f"{wish}_{count}"
        self._taken.add(name)
        return name

    def emit(
        self, op: str, inputs: Sequence[str], outputs: str | Sequence[str], *, name: str | None = None, **attrs: Any
    ) -> str:
        """Add a node; returns its first output."""
        made = (outputs,) if isinstance(outputs, str) else tuple(outputs)
        self.nodes.append(OnnxNode(name or f"{made[0]}/{op}", op, tuple(inputs), made, attrs))
        return made[0]

    def initializer(self, wish: str, data: Array) -> str:
        """Add constant data under a free name."""
        name = self.fresh(wish)
        self.initializers[name] = data
        return name

    # -- activations -----------------------------------------------------------------------------------------------

    def value(self, name: str) -> str:
        """The float value of a tensor of the graph, in the file's layout."""
        tensor = self.graph.tensor(name)
        if tensor.is_constant:
            return self.constant(name, TO_NCHW if len(tensor.shape) == 4 else (), activation=True)
        return self._values.get(name, name)

    def integers(self, name: str) -> str:
        """The uint8 tensor that stands for a quantized activation of the graph."""
        if name not in self._integers:
            tensor = self.graph.tensor(name)
            self._integers[name] = (
                name if tensor.dtype == "uint8" and self._is_boundary(name) else self.fresh(f"{name}_q")
            )
        return self._integers[name]

    def close(self, name: str) -> None:
        """Add what follows the integers of an activation: its float value and, at the graph's end, its int8 form."""
        self._dequantize(name)
        if name in self.graph.outputs and self.graph.tensor(name).dtype == "int8":
            self.emit("QuantizeLinear", [self._values[name], *self._signed_params(name)], name)

    def quantize(self, raw: str, name: str, output: str) -> str:
        """Turn float `raw` into `output`: the integers of the activation `name`."""
        return self.emit("QuantizeLinear", [raw, *self.params(name)], output)

    def params(self, name: str) -> tuple[str, str]:
        """Names of the scale and the zero point of a quantized activation, as uint8."""
        if name not in self._params:
            quant = file_params(self._quant(name))
            self._params[name] = self._add_params(name, quant)
        return self._params[name]

    def _add_input(self, tensor: Tensor) -> None:
        if tensor.quant is None:
            return
        if tensor.dtype == "int8":
            raw = self.emit("DequantizeLinear", [tensor.name, *self._signed_params(tensor.name)], f"{tensor.name}_raw")
            self.quantize(raw, tensor.name, self.integers(tensor.name))
        self._dequantize(tensor.name)

    def _dequantize(self, name: str) -> None:
        self._values[name] = self.fresh(f"{name}_dq") if self._is_boundary(name) else name
        self.emit("DequantizeLinear", [self.integers(name), *self.params(name)], self._values[name])

    def _signed_params(self, name: str) -> tuple[str, str]:
        return self._add_params(f"{name}_int8", self._quant(name))

    def _add_params(self, name: str, quant: QuantParams) -> tuple[str, str]:
        scale = self.initializer(f"{name}_scale", np.asarray(quant.scale[0], np.float32))
        return scale, self.initializer(f"{name}_zero_point", np.asarray(quant.zero_point[0], quant.dtype))

    def _quant(self, name: str) -> QuantParams:
        quant = self.graph.tensor(name).quant
        if quant is None:
            raise GraphError(f"tensor {name!r} is not quantized")
        return quant

    def _is_boundary(self, name: str) -> bool:
        return name in self.graph.inputs or name in self.graph.outputs

    # -- activations in the graph's own order ----------------------------------------------------------------------

    def logical(self, name: str, *, integers: bool) -> str:
        """A tensor of rank 4 in NHWC order; others as they are."""
        source = self.integers(name) if integers else self.value(name)
        if len(self.graph.shape(name)) != 4:
            return source
        if (name, integers) not in self._logical:
            made = self.emit("Transpose", [source], self.fresh(f"{source}_nhwc"), perm=TO_NHWC)
            self._logical[name, integers] = made
        return self._logical[name, integers]

    def remember_logical(self, name: str, made: str, *, integers: bool) -> None:
        """Note that `made` holds tensor `name` in NHWC order: whoever needs that order need not transpose."""
        self._logical[name, integers] = made

    def aligned(self, name: str, rank: int) -> str:
        """The float value, ready to broadcast against tensors of `rank` in the file's layout."""
        tensor = self.graph.tensor(name)
        if len(tensor.shape) == rank:
            return self.value(name)
        if tensor.is_constant:
            return self.constant(name, TO_NCHW if rank == 4 else (), rank=rank, activation=True)
        quantized = tensor.quant is not None
        x = self.logical(name, integers=quantized)
        if rank == 4:
            x = self._expand(x, with_leading_ones(tensor.shape, 4))
        if not quantized:
            return x
        return self.emit("DequantizeLinear", [x, *self.params(name)], self.fresh(f"{name}_aligned"))

    def _expand(self, x: str, shape: tuple[int, ...]) -> str:
        target = onnx_order(shape) if same_order(shape) else shape
        sizes = self.initializer(f"{x}_shape", np.asarray(target, np.int64))
        x = self.emit("Reshape", [x, sizes], self.fresh(f"{x}_4d"))
        return x if same_order(shape) else self.emit("Transpose", [x], self.fresh(f"{x}_nchw"), perm=TO_NCHW)

    # -- constants -------------------------------------------------------------------------------------------------

    def constant(
        self, name: str, perm: tuple[int, ...] = (), *, rank: int | None = None, activation: bool = False
    ) -> str:
        """The float value of a constant, given leading ones up to `rank`, then transposed by `perm`.

        float16 is stored and cast; integers are stored and dequantized: like an activation (uint8) or like weights.
        """
        tensor = self.graph.tensor(name)
        lead = (rank or len(tensor.shape)) - len(tensor.shape)
        key = (name, (lead, *perm), activation)
        if key not in self._constants:
            data = tensor.array.reshape((1,) * lead + tensor.shape)
            data = np.ascontiguousarray(data.transpose(perm)) if perm else data
            self._constants[key] = self._write_constant(tensor, data, _moved_axis(tensor, lead, perm), activation)
        return self._constants[key]

    def _write_constant(self, tensor: Tensor, data: Array, axis: int | None, activation: bool) -> str:
        value = self.fresh(tensor.name) if tensor.name in self._named else tensor.name
        self._named.add(tensor.name)
        if tensor.quant is not None:
            quant = tensor.quant
            if activation and axis is None and quant.dtype == "int8":
                quant, data = file_params(quant), (data.astype(np.int16) + 128).astype(np.uint8)
            return self._dequantize_constant(value, quant, data, axis)
        if tensor.dtype == "float16":
            return self.emit("Cast", [self.initializer(f"{value}_fp16", data)], value, to=FLOAT)
        self.initializers[value] = data
        return value

    def _dequantize_constant(self, value: str, quant: QuantParams, data: Array, axis: int | None) -> str:
        inputs = [self.initializer(f"{value}_q", data)]
        shape = () if axis is None else (-1,)
        inputs.append(self.initializer(f"{value}_scale", np.asarray(quant.scale, np.float32).reshape(shape)))
        if quant.dtype != "int32":
            zero_point = np.asarray(quant.zero_point, quant.dtype).reshape(shape)
            inputs.append(self.initializer(f"{value}_zero_point", zero_point))
        attrs: dict[str, Any] = {} if axis is None else {"axis": axis}
        return self.emit("DequantizeLinear", inputs, value, **attrs)


def _moved_axis(tensor: Tensor, lead: int, perm: tuple[int, ...]) -> int | None:
    """Where the axis of a constant's scales lies after leading ones and `perm`."""
    if tensor.quant is None or tensor.quant.axis is None:
        return None
    axis = tensor.quant.axis + lead
    return perm.index(axis) if perm else axis
