"""Layers whose results are only cut up: computed piece by piece instead, so that nothing needs to be cut.

Where all that reads a tensor takes slices of it or puts it into concats, the layer that makes it can make the pieces.
Channels that nobody takes are not computed at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from edgekit.graph import Graph, Node, Tensor
from edgekit.graph.ops import complete_attrs
from edgekit.passes.pricing import picked_channels, price, shared_weights
from edgekit.passes.target import Target

NARROWEST = (1, 8, 16, 32)
"""Pieces narrower than one of these stay together with their neighbours; which one is a matter of price."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What takes the place of a layer, its slices and the concats that read it.

    made: pieces, and slices of them. instead: per reader, the node in its place. same: slices that are a piece.
    """

    made: list[Node]
    instead: dict[str, Node]
    same: dict[str, str]
    tensors: dict[str, Tensor]

    @property
    def nodes(self) -> list[Node]:
        return [*self.made, *self.instead.values()]


def split_producers(graph: Graph, target: Target) -> list[str]:
    """Split layers without groups where the target's price is lower; one line for each.

    Edits in place. Every value that is left keeps its name and, to the bit in integers, its value.
    """
    done, readers, nodes = [], graph.consumer_map(), {node.name: node for node in graph.nodes}
    for name in list(nodes):
        node = nodes.get(name)
        if node is None or not _is_mix(node) or node.output in graph.outputs or shared_weights(graph, node, readers):
            continue
        taken = readers.get(node.output, [])
        if not any(n.op == "slice" for n in taken) or not all(_takes_channels(graph, n, target) for n in taken):
            continue
        plans = [_plan(graph, node, taken, least) for least in NARROWEST]
        best = min(plans, key=lambda plan: _cost(graph, plan, target))
        if _cost(graph, best, target) < price(target, graph, [node, *taken], {}):
            _apply(graph, node, taken, best)
            readers, nodes = graph.consumer_map(), {n.name: n for n in graph.nodes}
            made = sum(n.op == node.op for n in best.made)
            done.append(f"{name}: computed in {made} pieces, as they are read, which costs less than cutting them")
    return done


def _is_mix(node: Node) -> bool:
    return node.op in ("conv2d", "dense") and node.attrs.get("groups", 1) == 1


def _takes_channels(graph: Graph, node: Node, target: Target) -> bool:
    shape = graph.shape(node.inputs[0])
    if node.op == "concat":
        return bool(node.attrs["axis"] == len(shape) - 1) and len(node.inputs) <= target.concat_inputs
    whole = graph.shape(node.output)[:-1] == shape[:-1]
    return node.op == "slice" and whole and node.attrs["strides"][-1] == 1 and node.output not in graph.outputs


def _cost(graph: Graph, plan: _Plan, target: Target) -> float:
    if any(len(n.inputs) > target.concat_inputs for n in plan.instead.values()):
        return float("inf")
    return price(target, graph, plan.nodes, plan.tensors)


def _apply(graph: Graph, layer: Node, readers: list[Node], plan: _Plan) -> None:
    for tensor in plan.tensors.values():
        graph.add_tensor(tensor)
    graph.replace_node(layer, *plan.made)
    for reader in readers:
        if reader.name in plan.instead:
            graph.replace_node(reader, plan.instead[reader.name])
        else:
            graph.remove_node(reader)
    for old, new in plan.same.items():
        graph.replace_uses(old, new)
    graph.drop_unused()


def _range(graph: Graph, node: Node) -> tuple[int, int]:
    """Which channels a reader takes."""
    if node.op == "concat":
        return 0, graph.shape(node.inputs[0])[-1]
    return node.attrs["begin"][-1], node.attrs["end"][-1]


def _plan(graph: Graph, node: Node, readers: list[Node], least: int) -> _Plan:
    """The layer in pieces of at least so many channels where readers leave a choice."""
    ends = [_range(graph, n) if n.op == "slice" else (0, graph.shape(node.output)[-1]) for n in readers]
    cuts = sorted({cut for both in ends for cut in both})
    parts = [(a, b) for a, b in pairwise(cuts) if any(begin <= a and b <= end for begin, end in ends)]
    runs: list[tuple[int, int]] = []
    for a, b in parts:
        if runs and runs[-1][1] == a and min(b - a, runs[-1][1] - runs[-1][0]) < least:
            runs[-1] = (runs[-1][0], b)
        else:
            runs.append((a, b))
    draft = _Draft(graph, node)
    pieces = {run: draft.layer(run) for run in runs}
    for reader, (begin, end) in zip(readers, ends, strict=True):
        found = [
            draft.part(pieces[run], run, max(begin, run[0]), min(end, run[1]))
            for run in runs
            if run[0] < end and begin < run[1]
        ]
        draft.read(reader, found)
    return _Plan(draft.nodes, draft.instead, draft.same, draft.tensors)


class _Draft:
    def __init__(self, graph: Graph, layer: Node) -> None:
        self.graph, self.source = graph, layer
        self.nodes: list[Node] = []
        self.instead: dict[str, Node] = {}
        self.same: dict[str, str] = {}
        self.tensors: dict[str, Tensor] = {}
        self._parts: dict[tuple[str, int, int], str] = {}

    def _fresh(self, wish: str) -> str:
        name, number = self.graph.unique_name(wish), 0
        while name in self.tensors:
            name, number = self.graph.unique_name(f"{wish}_{number}"), number + 1
        return name

    def layer(self, run: tuple[int, int]) -> str:
        """The layer's channels of a run."""
        picked = np.arange(*run)
        names = []
        for name in self.source.inputs[1:]:
            tensor = picked_channels(self.graph.tensor(name), picked)
            names.append(self._fresh(f"{name}/{run[0]}"))
            self.tensors[names[-1]] = replace(tensor, name=names[-1])
        like = self.graph.tensor(self.source.output)
        made = self._fresh(f"{like.name}/{run[0]}")
        self.tensors[made] = replace(like, name=made, shape=(*like.shape[:-1], len(picked)))
        self.nodes.append(replace(self.source, name=made, inputs=(self.source.inputs[0], *names), outputs=(made,)))
        return made

    def part(self, piece: str, run: tuple[int, int], begin: int, end: int) -> str:
        """Channels of a piece: itself, or a slice of it."""
        if (begin, end) == run:
            return piece
        if (piece, begin, end) not in self._parts:
            like = self.tensors[piece]
            name = self._fresh(f"{self.source.output}/{begin}_{end}")
            self.tensors[name] = replace(like, name=name, shape=(*like.shape[:-1], end - begin))
            zeros = (0,) * (len(like.shape) - 1)
            bounds = {"begin": (*zeros, begin - run[0]), "end": (*like.shape[:-1], end - run[0])}
            attrs = complete_attrs("slice", {**bounds, "strides": (1,) * len(like.shape)})
            self.nodes.append(Node(name, "slice", (piece,), (name,), attrs))
            self._parts[piece, begin, end] = name
        return self._parts[piece, begin, end]

    def read(self, reader: Node, found: list[str]) -> None:
        """Let a reader of the layer read the parts instead."""
        if reader.op == "concat":
            inputs = tuple(n for name in reader.inputs for n in (found if name == self.source.output else [name]))
            self.instead[reader.name] = replace(reader, inputs=inputs)
        elif len(found) > 1:
            attrs = complete_attrs("concat", {"axis": len(self.graph.shape(reader.output)) - 1})
            self.instead[reader.name] = Node(reader.name, "concat", tuple(found), reader.outputs, attrs)
        else:
            self.same[reader.output] = found[0]
