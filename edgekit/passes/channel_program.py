"""A graph as computing steps over channel mappings: everything that only renames channels is gone.

What each step allows: a "mix" (convolution or dense layer without groups) reads its channels in any order and makes
them in any; "grouped" steps keep groups together, in any order of groups and within them; "channelwise" steps make
their channels in the order in which they read them; all others are "fixed".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from edgekit.errors import GraphError
from edgekit.graph import Graph, Node
from edgekit.graph.channels import ChannelMap, ChannelSpace, IntArray, LayoutTracer, renamed_channels
from edgekit.graph.ir import Array

Kind = Literal["mix", "grouped", "channelwise", "fixed"]

UNARY = frozenset({
    "relu", "relu6", "hard_swish", "swish", "sigmoid", "hard_sigmoid", "max_pool", "avg_pool", "global_avg_pool",
    "quantize", "dequantize",
})  # fmt: skip
"""Ops of one input that treat each channel alone and alike."""


@dataclass(frozen=True, slots=True)
class Edge:
    """An activation that a step reads: input number `position` of its node, channels as `map` says."""

    position: int
    map: ChannelMap


@dataclass(frozen=True, slots=True)
class Step:
    """One computing node.

    select: for each channel that is computed, which of the node's own output channels it is (fewer than the node has
    where several are equal). kernel: of a mix or grouped step, in the node's own order. exact: a mix whose inputs must
    come in the node's order all the same.
    """

    node: Node
    kind: Kind
    edges: tuple[Edge, ...]
    select: IntArray
    kernel: Array | None = None
    groups: int = 1
    exact: bool = False

    @property
    def root(self) -> str:
        """The tensor that the step makes."""
        return self.node.output


@dataclass(slots=True)
class Program:
    """Steps in execution order. maps: every activation of the graph, as channels of roots. notes: reasons by node.

    damaged: whether a mapping takes channels that are not there; the node that does so is kept as it is, with a note.
    """

    graph: Graph
    space: ChannelSpace = field(default_factory=ChannelSpace)
    steps: list[Step] = field(default_factory=list)
    maps: dict[str, ChannelMap] = field(default_factory=dict)
    renaming: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    damaged: bool = False


def read_program(graph: Graph) -> Program:
    """Resolve every activation through the nodes that only rename channels."""
    program, tracer = Program(graph), LayoutTracer(graph)
    for name in graph.inputs:
        program.maps[name] = program.space.add(name, _channels(graph, name))
    for node in graph.nodes:
        traced = tracer.permutation(node)
        try:
            renamed = renamed_channels(graph, node, program.maps)
        except GraphError as damage:
            renamed, program.damaged = None, True
            program.notes[node.name] = str(damage)
        if traced is not None and traced[0] in program.maps:
            renamed = [program.maps[traced[0]].take(traced[1])]
        if renamed is not None:
            program.maps.update(zip(node.outputs, renamed, strict=True))
            program.renaming.add(node.name)
            continue
        step = _read_step(program, node)
        program.steps.append(step)
    return program


def _channels(graph: Graph, name: str) -> int:
    shape = graph.shape(name)
    return shape[-1] if shape else 1


def _edges(program: Program, node: Node) -> tuple[Edge, ...]:
    return tuple(Edge(i, program.maps[name]) for i, name in enumerate(node.inputs) if name in program.maps)


def _read_step(program: Program, node: Node) -> Step:
    edges, channels = _edges(program, node), _channels(program.graph, node.output)
    every = np.arange(channels)
    step = Step(node, "fixed", edges, every)
    if node.op in ("conv2d", "dense"):
        step = _read_layer(program, step)
    elif _is_channelwise(program.graph, node):
        step = replace(step, kind="channelwise")
    if step.kind == "channelwise":
        return _without_repeats(program, step)
    for name in node.outputs:
        program.maps[name] = program.space.add(name, _channels(program.graph, name))
    return step


def _read_layer(program: Program, step: Step) -> Step:
    graph, node = program.graph, step.node
    kernel = graph.tensor(node.inputs[1])
    reason = None
    if any(not graph.tensor(name).is_constant for name in node.inputs[1:]):
        reason = "its weights are computed, not constant"
    elif len(graph.consumers(kernel.name)) > 1:
        others = [n.name for n in graph.consumers(kernel.name) if n.name != node.name]
        reason = f"its kernel {kernel.name!r} is shared with {', '.join(others)}"
    elif kernel.quant is not None and kernel.quant.axis not in (None, len(kernel.shape) - 1):
        reason = f"its kernel's scales lie along axis {kernel.quant.axis}"
    if reason:
        program.notes[node.name] = reason
        return step
    groups = node.attrs.get("groups", 1)
    if groups == 1:
        fits = merged_kernel(kernel.array, step.edges[0].map) is not None
        if not fits:
            program.notes[node.name] = "it reads a channel twice, with int8 weights whose sum is no int8"
        return replace(step, kind="mix", kernel=kernel.array, exact=not fits)
    if kernel.shape[2] == 1 and kernel.shape[3] == groups:
        return replace(step, kind="channelwise")
    return replace(step, kind="grouped", kernel=kernel.array, groups=groups)


def merged_kernel(kernel: Array, source: ChannelMap) -> tuple[ChannelMap, Array] | None:
    """The distinct channels of `source` and a kernel that reads each once; None where the sums leave the dtype."""
    distinct, inverse = np.unique(source.ids, return_inverse=True)
    if len(distinct) == len(source):
        positions = np.argsort(source.ids)
        return ChannelMap(distinct), np.take(kernel, positions, axis=-2)
    order = np.argsort(inverse.reshape(-1), kind="stable")
    starts = np.searchsorted(inverse.reshape(-1)[order], np.arange(len(distinct)))
    wide = np.add.reduceat(np.take(kernel, order, axis=-2).astype(np.float64), starts, axis=-2)
    if kernel.dtype.kind != "f" and np.abs(wide).max() > 127:
        return None
    return ChannelMap(distinct), wide.astype(kernel.dtype)


def _is_channelwise(graph: Graph, node: Node) -> bool:
    """Whether output channel c depends on channel c of the inputs alone."""
    shape, result = graph.shape(node.inputs[0]), graph.shape(node.output)
    if not shape or not result or (graph.tensor(node.inputs[0]).is_constant and node.op not in ("add", "mul")):
        return False
    last, same = len(shape) - 1, shape[-1] == result[-1]
    match node.op:
        case "batch_norm":
            return all(graph.tensor(name).is_constant for name in node.inputs[1:])
        case "add" | "mul":
            return all(_is_operand(graph, name, result[-1]) for name in node.inputs)
        case "pad":
            return not (node.attrs["before"][-1] or node.attrs["after"][-1])
        case "slice":
            return same
        case "reshape":
            return same
        case "transpose":
            return bool(node.attrs["perm"][-1] == last)
        case "concat":
            return bool(node.attrs["axis"] != last) and not any(graph.tensor(name).is_constant for name in node.inputs)
        case "gather":
            return bool(node.attrs["axis"] != last)
    return node.op in UNARY and same


def _is_operand(graph: Graph, name: str, channels: int) -> bool:
    """An addend or factor whose last axis is the channels, or that is alike for all of them (a constant)."""
    tensor = graph.tensor(name)
    width = tensor.shape[-1] if tensor.shape else 1
    return width == channels or (width == 1 and tensor.is_constant)


def _without_repeats(program: Program, step: Step) -> Step:
    """Compute equal channels of a channelwise step once: those that read the same with the same parameters."""
    node, channels = step.node, len(step.select)
    columns = [edge.map.ids[:, None] for edge in step.edges]
    for name in node.inputs:
        if name not in program.maps:
            columns += _parameters(program.graph, name, channels)
    rows = np.concatenate(columns, axis=1)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    keep = np.sort(first)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    root = program.space.add(step.root, len(keep))
    program.maps[step.root] = root.take(place[inverse.reshape(-1)])
    edges = tuple(Edge(e.position, e.map.take(keep)) for e in step.edges)
    return replace(step, edges=edges, select=keep)


def _parameters(graph: Graph, name: str, channels: int) -> list[IntArray]:
    """The constant's values and scales for each channel, as integers that are equal where those are, (C, n) each."""
    tensor = graph.tensor(name)
    if tensor.shape[-1:] != (channels,):
        return []
    found: Sequence[Array] = [tensor.array.reshape(-1, channels).T]
    if tensor.quant is not None and tensor.quant.axis is not None:
        found = [*found, np.asarray(tensor.quant.scale, np.float64).reshape(channels, 1)]
    return [np.unique(values, return_inverse=True)[1].reshape(values.shape).astype(np.int64) for values in found]
