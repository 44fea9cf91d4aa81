"""Which channels of which activations can be scaled together without changing what a graph computes.

Each channel of each activation is a variable s > 0: its values are multiplied by s. An op that commutes with positive
scaling (ReLU, pools, concat, add, ...) ties the variables of its inputs and outputs; a convolution unties them, because
its kernel takes up the difference; every other op fixes them at 1. What remains is a set of classes of channels, each
with one free scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.graph.ir import Array, Graph, Node
from edgekit.graph.kernels import shuffle_indices

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ChannelClasses:
    """classes: activation name -> class of each channel, (C,). fixed: per class, whether its scale must stay 1."""

    classes: Mapping[str, IntArray]
    fixed: npt.NDArray[np.bool_]


def channel_classes(graph: Graph) -> ChannelClasses:
    """Tie the channels of a float graph whose batch norms are folded."""
    solver = _Solver(graph)
    for name in (*graph.inputs, *graph.outputs):
        solver.fix(name)
    for node in graph.nodes:
        _RULES.get(node.op, _fix_all)(solver, node)
    return solver.solve()


class _Solver:
    """Collects ties between channel variables, then finds the connected classes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.ids: dict[str, IntArray] = {}
        self.count = 0
        for name, tensor in graph.tensors.items():
            if not tensor.is_constant:
                width = tensor.shape[-1]
                self.ids[name] = np.arange(self.count, self.count + width, dtype=np.int64)
                self.count += width
        self.ties: list[tuple[IntArray, IntArray]] = []
        self.fixed_ids: list[IntArray] = []

    def tie(self, a: IntArray, b: IntArray) -> None:
        self.ties.append((a, b))

    def fix(self, name: str) -> None:
        if name in self.ids:
            self.fixed_ids.append(self.ids[name])

    def solve(self) -> ChannelClasses:
        label = np.arange(self.count, dtype=np.int64)
        if self.ties:
            a = np.concatenate([t[0] for t in self.ties])
            b = np.concatenate([t[1] for t in self.ties])
            label = _connect(label, a, b)
        fixed = np.zeros(self.count, np.bool_)
        for ids in self.fixed_ids:
            fixed[label[ids]] = True
        return ChannelClasses({name: label[ids] for name, ids in self.ids.items()}, fixed)


def _connect(label: IntArray, a: IntArray, b: IntArray) -> IntArray:
    """Give all variables that ties connect the least label among them."""
    while True:
        before = label.copy()
        least = np.minimum(label[a], label[b])
        np.minimum.at(label, label[a], least)
        np.minimum.at(label, label[b], least)
        label = label[label]
        if np.array_equal(before, label):
            return label


def _fix_all(solver: _Solver, node: Node) -> None:
    for name in (*node.inputs, *node.outputs):
        solver.fix(name)


def _tie_same(solver: _Solver, node: Node) -> None:
    for name in (*node.inputs, *node.outputs):
        if solver.graph.tensor(name).is_constant or len(solver.ids[name]) != len(solver.ids[node.output]):
            _fix_all(solver, node)
            return
    for name in (*node.inputs, *node.outputs[1:]):
        solver.tie(solver.ids[name], solver.ids[node.output])


def _layer(solver: _Solver, node: Node) -> None:
    """A convolution unties its sides, unless its kernel serves others too."""
    if any(len(solver.graph.consumers(name)) > 1 for name in node.inputs[1:]):
        _fix_all(solver, node)


def _mul(solver: _Solver, node: Node) -> None:
    """A gate that multiplies: the gate keeps its scale, the gated hands its own on."""
    gated, gate = sorted(node.inputs, key=lambda n: (solver.graph.tensor(n).is_constant, -solver.graph.tensor(n).size))
    solver.fix(gate)
    if solver.graph.tensor(gated).is_constant or len(solver.ids[gated]) != len(solver.ids[node.output]):
        _fix_all(solver, node)
    else:
        solver.tie(solver.ids[gated], solver.ids[node.output])


def _reshape(solver: _Solver, node: Node) -> None:
    if solver.graph.shape(node.inputs[0])[-1] == solver.graph.shape(node.output)[-1]:
        _tie_same(solver, node)
    else:
        _fix_all(solver, node)


def _transpose(solver: _Solver, node: Node) -> None:
    if node.attrs["perm"][-1] == len(node.attrs["perm"]) - 1:
        _tie_same(solver, node)
    else:
        _fix_all(solver, node)


def _pick(indices: Callable[[Node, tuple[int, ...]], Sequence[Array]]) -> Callable[[_Solver, Node], None]:
    """A rule for ops whose outputs read given channels of the one input; `indices` takes the input's shape."""

    def rule(solver: _Solver, node: Node) -> None:
        source = solver.ids[node.inputs[0]]
        shape = solver.graph.shape(node.inputs[0])
        for name, picked in zip(node.outputs, indices(node, shape), strict=True):
            solver.tie(solver.ids[name], source[picked])

    return rule


def _split_indices(node: Node, shape: tuple[int, ...]) -> Sequence[Array]:
    if node.attrs["axis"] != len(shape) - 1:
        return [np.arange(shape[-1])] * len(node.outputs)
    return np.split(np.arange(shape[-1]), np.cumsum(node.attrs["sizes"])[:-1])


def _slice_indices(node: Node, shape: tuple[int, ...]) -> Sequence[Array]:
    begin, end, stride = (node.attrs[key][-1] for key in ("begin", "end", "strides"))
    return [np.arange(shape[-1])[begin:end:stride]]


def _gather_indices(node: Node, shape: tuple[int, ...]) -> Sequence[Array]:
    along_channels = node.attrs["axis"] == len(shape) - 1
    return [np.asarray(node.attrs["indices"]) if along_channels else np.arange(shape[-1])]


def _concat(solver: _Solver, node: Node) -> None:
    if any(solver.graph.tensor(name).is_constant for name in node.inputs):
        _fix_all(solver, node)
    elif node.attrs["axis"] == len(solver.graph.shape(node.output)) - 1:
        solver.tie(np.concatenate([solver.ids[name] for name in node.inputs]), solver.ids[node.output])
    else:
        _tie_same(solver, node)


def _pad(solver: _Solver, node: Node) -> None:
    before, after = node.attrs["before"][-1], node.attrs["after"][-1]
    if node.attrs["value"] or before or after:
        _fix_all(solver, node)
    else:
        _tie_same(solver, node)


_RULES: dict[str, Callable[[_Solver, Node], None]] = {
    "conv2d": _layer,
    "dense": _layer,
    "mul": _mul,
    "reshape": _reshape,
    "transpose": _transpose,
    "split": _pick(_split_indices),
    "slice": _pick(_slice_indices),
    "gather": _pick(_gather_indices),
    "channel_shuffle": _pick(
        lambda node, shape: [shuffle_indices(shape[-1], node.attrs["groups"], node.attrs["block"])]
    ),
    "concat": _concat,
    "pad": _pad,
    **dict.fromkeys(
        ("relu", "relu6", "add", "max_pool", "avg_pool", "global_avg_pool", "identity", "dropout"), _tie_same
    ),
}
