"""One node of the graph on its way into an ONNX file: its inputs, its main node, and what has to follow that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.errors import UnsupportedOpError
from edgekit.export.onnx_emitter import Emitter, file_params
from edgekit.graph.ir import Node, Tensor
from edgekit.graph.quant_params import QuantParams

Step = tuple[str, list[str]]
"""An op that follows the main one: its name and its further inputs."""


@dataclass(slots=True)
class OpWriter:
    """One node of the graph being written. `on_integers`: inputs and results are uint8 tensors, no arithmetic."""

    emitter: Emitter
    node: Node
    on_integers: bool = False

    @property
    def attrs(self) -> Mapping[str, Any]:
        """The node's attributes."""
        return self.node.attrs

    def tensor(self, index: int = 0) -> Tensor:
        """An input tensor of the graph."""
        return self.emitter.graph.tensor(self.node.inputs[index])

    @property
    def rank(self) -> int:
        """Rank of the first input."""
        return len(self.tensor().shape)

    def work_on_integers(self) -> None:
        """Read and write the integers themselves, if all activations of the node have the same parameters."""
        names = (*self.node.inputs, *self.node.outputs)
        found = [self.emitter.graph.tensor(name) for name in names]
        self.on_integers = not any(t.is_constant or t.quant is None or t.quant != found[0].quant for t in found)

    def input(self, index: int = 0) -> str:
        """Name of an input: its integers with `on_integers`, otherwise its float value."""
        name = self.node.inputs[index]
        return self.emitter.integers(name) if self.on_integers else self.emitter.value(name)

    def inputs(self) -> list[str]:
        """Names of all inputs."""
        return [self.input(index) for index in range(len(self.node.inputs))]

    def weight(self, index: int, perm: tuple[int, ...] = ()) -> str:
        """Name of a constant input. Raises UnsupportedOpError where it is computed in the graph."""
        if not self.tensor(index).is_constant:
            raise UnsupportedOpError(
                self.node.op, self.node.name, "the ONNX writer", f"{self.node.inputs[index]!r} must be a constant"
            )
        return self.emitter.constant(self.node.inputs[index], perm)

    def numbers(self, label: str, values: Sequence[int]) -> str:
        """Name of a new int64 vector."""
        return self.emitter.initializer(f"{self.node.name}/{label}", np.asarray(values, np.int64))

    def step(self, op: str, inputs: Sequence[str], label: str, **attrs: Any) -> str:
        """Add a node before the main one; returns its output."""
        return self.emitter.emit(op, inputs, self.emitter.fresh(f"{self.node.output}_{label}"), **attrs)

    def result(self, op: str, inputs: Sequence[str], *, tail: Sequence[Step] = (), **attrs: Any) -> None:
        """Add the main node, what the fused activation and quantization need after it, and `tail`."""
        outputs = self.node.outputs
        tails = [[*self._activation(name), *tail] for name in outputs]
        raws = [self._raw_name(name, steps) for name, steps in zip(outputs, tails, strict=True)]
        self.emitter.emit(op, inputs, raws, name=self.node.name, **attrs)
        for name, raw, steps in zip(outputs, raws, tails, strict=True):
            self.finish(raw, name, steps)

    def finish(self, raw: str, name: str, steps: Sequence[Step]) -> None:
        """Lead `raw` through quantization and `steps` to the tensor `name`."""
        emitter = self.emitter
        if emitter.graph.tensor(name).quant is None:
            self._chain(raw, name, name, steps)
            return
        final = emitter.integers(name)
        if not self.on_integers:
            stored = emitter.fresh(f"{name}_unclipped_q") if steps else final
            raw = emitter.quantize(raw, name, stored)
        self._chain(raw, name, final, steps)
        emitter.close(name)

    def _chain(self, start: str, name: str, final: str, steps: Sequence[Step]) -> None:
        for position, (op, extra) in enumerate(steps, 1):
            made = final if position == len(steps) else self.emitter.fresh(f"{name}_{op.lower()}")
            start = self.emitter.emit(op, [start, *extra], made)

    def _raw_name(self, name: str, steps: Sequence[Step]) -> str:
        if self.on_integers:
            return self.emitter.integers(name)
        if self.emitter.graph.tensor(name).quant is None and not steps:
            return name
        return self.emitter.fresh(f"{name}_raw")

    def _activation(self, name: str) -> list[Step]:
        activation = self.attrs.get("activation", "none")
        quant = self.emitter.graph.tensor(name).quant
        if activation == "none":
            return []
        if quant is not None:
            return self._clamp(activation, quant)
        return [("Relu", [])] if activation == "relu" else [("Clip", self.six())]

    def _clamp(self, activation: str, quant: QuantParams) -> list[Step]:
        """The fused activation on the integers: nothing where they cannot leave its range anyway."""
        low, high = activation_range(activation, file_params(quant))
        if (low, high) == (0, 255):
            return []
        emitter, name = self.emitter, self.node.output
        bounds = {"low": low, "high": high}
        return [("Clip", [emitter.initializer(f"{name}_{k}", np.asarray(v, np.uint8)) for k, v in bounds.items()])]

    def six(self) -> list[str]:
        """Names of ReLU6's bounds."""
        bounds = {"min": 0.0, "max": 6.0}
        return [self.emitter.initializer(f"{self.node.name}/{k}", np.asarray(v, np.float32)) for k, v in bounds.items()]


def activation_range(activation: str, quant: QuantParams) -> tuple[int, int]:
    """The uint8 numbers that a fused relu or relu6 leaves, as TFLite clamps: zero point to zero point + 6 / scale."""
    zero_point = quant.zero_point[0]
    if activation == "relu":
        return zero_point, 255
    return zero_point, min(255, zero_point + math.floor(6 / quant.scale[0] + 0.5))
