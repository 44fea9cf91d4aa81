"""What ops cost on a target: the seam between fusion's choices and measurements.

A node's time is a sum of counts (multiply-adds, bytes, pieces, ...) times coefficients. `edgekit devices calibrate`
measures them; those here are the defaults, measured on a server's CPU.
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
    multiple of depthwise_step. group: one place of one group of a grouped 1x1 convolution; window_group: a window's
    position there, of a larger one; grouped: an element that a grouped convolution reads. ragged: an element that a
    convolution reads where the channels of a group are not a multiple of inputs_step. output: an element that a layer
    makes. weight: a byte of a kernel.

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
    window_group: float
    grouped: float
    output: float
    ragged: float
    weight: float
    inputs_step: int
    outputs_step: int
    depthwise_step: int


PRICES = tuple(f.name for f in fields(Coefficients) if f.name not in STEPS)
UNPRICED = Coefficients(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1)
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
        counts["group" if layer.taps == 1 else "window_group"] = float(layer.sites * layer.taps * layer.groups)
        counts["grouped"] = float(layer.sites * layer.inputs)
    return counts


def node_counts(graph: Shapes, node: Node, steps: Coefficients) -> Counts:
    """What a node pays for."""
    result = graph.tensor(node.output)
    sites = result.size // result.shape[-1] if result.shape else 1
    counts: Counts = {"overhead": 1}
    match node.op:
        case "conv2d" | "dense":
            return layer_counts(layer_of(graph, node), steps)
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


def layer_of(graph: Shapes, node: Node) -> Layer:
    """A conv2d or dense node as the cost model has it."""
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
        overhead=34.1,
        byte=0.00332,
        piece=2.5,
        element=0.154,
        block=5.0,
        gather=1.8,
        gather_overhead=0.0,
        arithmetic=0.00297,
        average=0.0161,
        mac=0.0081,
        window_mac=0.00668,
        depthwise_mac=0.0239,
        ragged_depthwise_mac=0.0382,
        group=0.646,
        window_group=0.0,
        grouped=0.0,
        output=0.0,
        ragged=0.118,
        weight=0.00607,
        inputs_step=2,
        outputs_step=16,
        depthwise_step=16,
    ),
    int8=Coefficients(
        overhead=36.6,
        byte=0.00377,
        piece=2.0,
        element=0.439,
        block=2.48,
        gather=2.05,
        gather_overhead=0.0,
        arithmetic=0.0241,
        average=0.376,
        mac=0.00177,
        window_mac=0.00181,
        depthwise_mac=0.0162,
        ragged_depthwise_mac=0.0214,
        group=0.756,
        window_group=0.108,
        grouped=0.0,
        output=0.0853,
        ragged=0.0102,
        weight=0.00635,
        inputs_step=8,
        outputs_step=16,
        depthwise_step=16,
    ),
    concat_inputs=1000,
)
DEFAULT_ONNX = Target(
    "onnx, default coefficients",
    float32=Coefficients(
        overhead=349.0,
        byte=0.00749,
        piece=0.0,
        element=0.26,
        block=6.0,
        gather=0.26,
        gather_overhead=0.0,
        arithmetic=0.0,
        average=0.0147,
        mac=0.00787,
        window_mac=0.00805,
        depthwise_mac=0.0145,
        ragged_depthwise_mac=0.164,
        group=3.0,
        window_group=1.19,
        grouped=0.09,
        output=0.0768,
        ragged=0.042,
        weight=0.00765,
        inputs_step=4,
        outputs_step=16,
        depthwise_step=4,
    ),
    int8=Coefficients(
        overhead=255.0,
        byte=0.00328,
        piece=1.42,
        element=0.0642,
        block=0.486,
        gather=0.0813,
        gather_overhead=0.0,
        arithmetic=0.0278,
        average=0.471,
        mac=0.00195,
        window_mac=0.00195,
        depthwise_mac=0.0186,
        ragged_depthwise_mac=0.0786,
        group=3.13,
        window_group=2.51,
        grouped=0.104,
        output=0.106,
        ragged=0.112,
        weight=0.012,
        inputs_step=4,
        outputs_step=32,
        depthwise_step=16,
    ),
    concat_inputs=1000,
)
DEFAULT_TARGETS = {"tflite": DEFAULT_TFLITE, "onnx": DEFAULT_ONNX}
"""By file format, until a device's own replace them.

Measured by `edgekit devices calibrate` on an AMD EPYC of 2025 (Zen 5, AVX-512 with VNNI), one thread, with
ai-edge-litert 2.3.0 and onnxruntime 1.32.0. Whole layers that the fit had not seen were off by 7 % (TFLite float32),
4 % (TFLite int8), 4 % (ONNX float32) and 9 % (ONNX int8) in the median, by 24 % at the most. One concat of 16 inputs
was never slower than a tree of concats of two.

Those errors are of the fit. Of float32 some are set by whole networks instead (decision 0012): in TFLite piece, block
and outputs_step, in ONNX element, block, gather, group and grouped.
"""
