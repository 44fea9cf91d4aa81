"""What ops cost on a target: the seam between fusion's choices and measurements.

A node's time is a sum of counts (multiply-adds, bytes, pieces, ...) times coefficients. `edgekit devices calibrate`
measures them; those here are the defaults.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Protocol

from edgekit.graph import Graph, Node, Tensor

STEPS = ("inputs_step", "outputs_step", "depthwise_step")
"""Fields of Coefficients that are channel counts and not prices."""


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
    """Prices in nanoseconds, and the channel counts at which kernels run best.

    overhead: an op. byte: a byte read or written by slice, split, concat or shuffle. piece: a contiguous piece that
    they copy. element, block: an element or a longer block moved by a shuffle or transpose. gather: an element moved by
    a gather, which costs gather_overhead besides (where it leaves a delegate, the delegate starts anew behind it).
    arithmetic: a byte read or written by add, activations and other ops without weights. average: an element of a
    window that an average pool adds up.

    mac: a multiply-add of a 1x1 convolution or dense layer. window_mac: of one with a larger window. depthwise_mac: of
    a depthwise one (and an element of a maximum pool's window). ragged_depthwise_mac: of one whose channels are not a
    multiple of depthwise_step. group: a window position at one place of one group of a grouped convolution. output: an
    element that a layer makes. ragged: an element that a convolution reads where the channels of a group are not a
    multiple of inputs_step. weight: a byte of a kernel.

    inputs_step, outputs_step: a group's channels are computed as if they were the next multiple of these.
    """

    overhead: float
    byte: float
    piece: float
    element: float
    block: float
    gather: float
    gather_overhead: float
    arithmetic: float
    average: float
    mac: float
    window_mac: float
    depthwise_mac: float
    ragged_depthwise_mac: float
    group: float
    output: float
    ragged: float
    weight: float
    inputs_step: int
    outputs_step: int
    depthwise_step: int


PRICES = tuple(f.name for f in fields(Coefficients) if f.name not in STEPS)
UNPRICED = Coefficients(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1)
"""Everything is free and any number of channels as good as another."""


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
        c = self.coefficients(graph.tensor(node.output).dtype)
        return total_ns(node_counts(graph, node, c), c)

    def layer_ns(self, dtype: str, layer: Layer) -> float:
        """Nanoseconds of one layer with weights."""
        c = self.coefficients(dtype)
        return total_ns(layer_counts(layer, c), c)

    def graph_ns(self, graph: Graph) -> float:
        """Nanoseconds of all nodes."""
        return math.fsum(self.node_ns(graph, node) for node in graph.nodes)


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or dense layer.

    sites: places of its output (H x W). taps: positions of its window (kh x kw). inputs, outputs: channels in all.
    """

    sites: int
    taps: int
    inputs: int
    outputs: int
    groups: int
    weight_bytes: int


Counts = dict[str, float]
"""By the price's name, how often a node pays it."""


def total_ns(counts: Mapping[str, float], prices: Coefficients) -> float:
    """The sum of counts times prices."""
    return math.fsum(count * getattr(prices, name) for name, count in counts.items())


def layer_counts(layer: Layer, steps: Coefficients) -> Counts:
    """What a layer with weights pays for."""
    made = float(layer.sites * layer.outputs)
    counts: Counts = {"overhead": 1, "output": made}
    inside, outside = layer.inputs // layer.groups, layer.outputs // layer.groups
    counts["weight"] = float(layer.taps * inside * layer.outputs * layer.weight_bytes)
    if layer.groups > 1 and layer.groups == layer.inputs:
        ragged = layer.outputs % steps.depthwise_step
        counts["ragged_depthwise_mac" if ragged else "depthwise_mac"] = made * layer.taps
        return counts
    per_group = _up(inside, steps.inputs_step) * _up(outside, steps.outputs_step)
    macs = float(layer.sites * layer.taps * layer.groups * per_group)
    counts["mac" if layer.taps == 1 else "window_mac"] = macs
    if inside % steps.inputs_step:
        counts["ragged"] = float(layer.sites * layer.taps * layer.inputs)
    if layer.groups > 1:
        counts["group"] = float(layer.sites * layer.taps * layer.groups)
    return counts


def node_counts(graph: Shapes, node: Node, steps: Coefficients) -> Counts:
    """What a node pays for."""
    result = graph.tensor(node.output)
    sites = result.size // result.shape[-1] if result.shape else 1
    counts: Counts = {"overhead": 1}
    match node.op:
        case "conv2d" | "dense":
            return layer_counts(_layer(graph, node), steps)
        case "slice" | "split" | "concat":
            parts = len(node.inputs) if node.op == "concat" else len(node.outputs)
            copies = 1 if node.op == "concat" else parts
            return {"overhead": copies, "byte": _moved(graph, node), "piece": sites * parts}
        case "gather":
            return {"gather_overhead": 1, "gather": result.size}
        case "channel_shuffle":
            block = int(node.attrs["block"])
            kind = "element" if block == 1 else "block"
            return {"overhead": 3, "byte": _moved(graph, node), kind: result.size / block}
        case "transpose":
            return {"overhead": 1, "byte": _moved(graph, node), "element": result.size}
        case "identity" | "reshape":
            return counts
        case "avg_pool":
            return {**counts, "average": result.size * math.prod(node.attrs["kernel"])}
        case "max_pool":
            return {**counts, "depthwise_mac": result.size * math.prod(node.attrs["kernel"])}
    return {**counts, "arithmetic": _moved(graph, node)}


def _moved(graph: Shapes, node: Node) -> float:
    """Bytes of activations that a node reads and writes."""
    read = sum(graph.tensor(n).nbytes for n in node.inputs if not graph.tensor(n).is_constant)
    return float(read + sum(graph.tensor(n).nbytes for n in node.outputs))


def _layer(graph: Shapes, node: Node) -> Layer:
    kernel, result = graph.tensor(node.inputs[1]), graph.tensor(node.output)
    return Layer(
        sites=result.size // result.shape[-1],
        taps=math.prod(kernel.shape[:-2]),
        inputs=graph.shape(node.inputs[0])[-1],
        outputs=result.shape[-1],
        groups=int(node.attrs.get("groups", 1)),
        weight_bytes=kernel.nbytes // max(1, kernel.size),
    )


def _up(count: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-count // step) * step


DEFAULT_TFLITE = Target(
    "tflite, default coefficients",
    float32=Coefficients(
        300, 0.007, 2.0, 0.22, 2.2, 1.7, 15000, 0.007, 0.1, 7.5e-3, 7.5e-3, 0.02, 0.02, 1.0, 0.11, 0, 0.05, 1, 32, 1
    ),
    int8=Coefficients(
        300, 0.007, 2.0, 0.33, 2.2, 1.7, 15000, 0.007, 0.1, 1.8e-3, 1.8e-3, 0.012, 0.012, 1.0, 0.10, 0, 0.05, 1, 1, 1
    ),
    concat_inputs=5,
)
DEFAULT_ONNX = Target(
    "onnx, default coefficients",
    float32=Coefficients(
        1500, 0.007, 0.5, 0.02, 0.02, 0.02, 1500, 0.007, 0.1, 7.8e-3, 7.8e-3, 0.012, 0.012, 1.0, 0.08, 0, 0.05, 1, 1, 1
    ),
    int8=Coefficients(
        1500, 0.012, 0.5, 0.07, 0.07, 0.07, 1500, 0.012, 0.1, 0.9e-3, 0.9e-3, 0.012, 0.012, 1.0, 0.36, 0, 0.05, 1, 1, 1
    ),
    concat_inputs=1000,
)
DEFAULT_TARGETS = {"tflite": DEFAULT_TFLITE, "onnx": DEFAULT_ONNX}
"""By file format, until a device's own replace them."""
