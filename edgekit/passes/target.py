"""What ops cost on a target: the seam between fusion's choices and measurements.

The coefficients here are defaults, measured once on a server CPU with one thread; a device's own replace them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from edgekit.graph import Graph, Node, Tensor
from edgekit.graph.ops import op_spec


class Shapes(Protocol):
    """What pricing needs of a graph."""

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape."""
        ...


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Nanoseconds. overhead: an op. byte: a byte read or written. piece: a contiguous piece copied by slice or concat.

    element, block: an element or a longer block moved by a transpose. gather: an element moved by a gather, which costs
    gather_overhead besides (where it leaves a delegate, the delegate starts anew behind it). mac: a multiply-add of a
    convolution or dense layer; depthwise_mac: of a depthwise one. output: an element that a layer makes. weight:
    a byte of a kernel.
    """

    overhead: float
    byte: float
    piece: float
    element: float
    block: float
    gather: float
    gather_overhead: float
    mac: float
    depthwise_mac: float
    output: float
    weight: float


@dataclass(frozen=True, slots=True)
class Target:
    """A runtime on a device. concat_inputs: the most inputs of one concat that it runs fast."""

    name: str
    float32: Coefficients
    int8: Coefficients
    concat_inputs: int

    def coefficients(self, dtype: str) -> Coefficients:
        """Those for tensors of that dtype."""
        return self.int8 if dtype in ("int8", "uint8") else self.float32

    def node_ns(self, graph: Shapes, node: Node) -> float:
        """Nanoseconds of one node; `graph` tells the tensors' shapes."""
        result = graph.tensor(node.output)
        c = self.coefficients(result.dtype)
        activations = [graph.tensor(n) for n in node.inputs if not graph.tensor(n).is_constant]
        moved = sum(t.nbytes for t in activations) + sum(graph.tensor(n).nbytes for n in node.outputs)
        sites = result.size // result.shape[-1] if result.shape else 1
        match node.op:
            case "conv2d" | "dense":
                spec = op_spec(node.op)
                macs = spec.macs([graph.shape(n) for n in node.inputs], [result.shape]) if spec.macs else 0
                each = c.depthwise_mac if node.attrs.get("groups", 1) == activations[0].shape[-1] > 1 else c.mac
                weights = graph.tensor(node.inputs[1]).nbytes * c.weight
                return c.overhead + macs * each + result.size * c.output + weights
            case "slice" | "split":
                return c.overhead * len(node.outputs) + moved * c.byte + sites * len(node.outputs) * c.piece
            case "concat":
                return c.overhead + moved * c.byte + sites * len(node.inputs) * c.piece
            case "gather":
                return c.gather_overhead + result.size * c.gather
            case "channel_shuffle":
                block = int(node.attrs["block"])
                each = c.element if block == 1 else c.block
                return 3 * c.overhead + moved * c.byte + float(result.size) / block * each
            case "transpose":
                return c.overhead + moved * c.byte + result.size * c.element
            case "identity" | "reshape":
                return c.overhead
        return c.overhead + moved * c.byte

    def graph_ns(self, graph: Graph) -> float:
        """Nanoseconds of all nodes."""
        return math.fsum(self.node_ns(graph, node) for node in graph.nodes)


DEFAULT_TFLITE = Target(
    "tflite, default coefficients",
    float32=Coefficients(300, 0.007, 2.0, 0.22, 2.2, 1.7, 15000, 9.3e-3, 0.012, 0.11, 0.05),
    int8=Coefficients(300, 0.007, 2.0, 0.33, 2.2, 1.7, 15000, 1.8e-3, 0.012, 0.10, 0.05),
    concat_inputs=5,
)
DEFAULT_ONNX = Target(
    "onnx, default coefficients",
    float32=Coefficients(1500, 0.007, 0.5, 0.02, 0.02, 0.02, 1500, 7.8e-3, 0.012, 0.08, 0.05),
    int8=Coefficients(1500, 0.012, 0.5, 0.07, 0.07, 0.07, 1500, 0.9e-3, 0.012, 0.36, 0.05),
    concat_inputs=1000,
)
DEFAULT_TARGETS = {"tflite": DEFAULT_TFLITE, "onnx": DEFAULT_ONNX}
"""By file format, until measured coefficients replace them."""
