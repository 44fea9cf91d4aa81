"""Writes a program back as a graph: each step with its weights in the chosen orders, and the moves that remain."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from edgekit.graph import Graph, Node, Tensor
from edgekit.graph.channels import ChannelMap, IntArray
from edgekit.graph.ir import Array
from edgekit.graph.ops import complete_attrs
from edgekit.passes.channel_moves import Mover
from edgekit.passes.channel_orders import Orders
from edgekit.passes.channel_program import Edge, Program, Step, merged_kernel
from edgekit.passes.pricing import picked_channels
from edgekit.passes.target import Target


@dataclass(frozen=True, slots=True)
class Written:
    """The graph, and for each node that moves channels the node that wants it so. otherwise: as `Mover` tells."""

    graph: Graph
    wanted_by: dict[str, str]
    price_of: dict[tuple[str, int], float]
    otherwise: dict[str, tuple[str, float]]


def write_program(program: Program, orders: Orders, target: Target) -> Written:
    """The graph of a program whose roots lie in these orders."""
    return _Writer(program, orders, target).write()


class _Writer:
    def __init__(self, program: Program, orders: Orders, target: Target) -> None:
        self.program, self.orders, self.target, self.source = program, orders, target, program.graph
        self.graph = Graph(self.source.name, self.source.inputs, self.source.outputs)
        self.graph.metadata = self.source.copy().metadata
        names = {mapping: name for name, mapping in reversed(program.maps.items()) if self._is_renamed(name)}
        names |= {program.maps[name]: name for name in reversed(self.source.outputs)}
        self.live = _live_steps(program)
        self.mover = Mover(self.graph, target, names.get, {step.node.name for step in self.live})
        self.wanted_by: dict[str, str] = {}
        self.price_of: dict[tuple[str, int], float] = {}
        self.exact = self._exact_demands()

    def _is_renamed(self, name: str) -> bool:
        producer = self.source.producer(name)
        return producer is not None and producer.name in self.program.renaming

    def _exact_demands(self) -> dict[bytes, ChannelMap]:
        """By set of channels, an order in which some step must read them."""
        found: dict[bytes, ChannelMap] = {}
        for step in self.live:
            for edge in step.edges:
                if step.kind != "mix" or step.exact:
                    wanted = self.orders.demand(step, edge)
                    found.setdefault(np.unique(wanted.ids).tobytes(), wanted)
        return found

    def write(self) -> Written:
        for name in self.source.inputs:
            self.graph.add_tensor(self.source.tensor(name))
            self.mover.offer(name, self.program.maps[name])
        for step in self.live:
            self._write_step(step)
        for name in self.source.outputs:
            self._write_output(name)
        self.graph.drop_unused()
        return Written(self.graph, self.wanted_by, self.price_of, self.mover.otherwise)

    def _write_output(self, name: str) -> None:
        made = self._read(self.program.maps[name], name, f"graph output {name!r}")
        if made == name:
            return
        self.graph.add_tensor(replace(self.source.tensor(name), data=None))
        self.graph.add_node(Node(self.graph.unique_name(f"{name}/copy"), "identity", (made,), (name,)))

    def _read(self, mapping: ChannelMap, wish: str, reader: str) -> str:
        before = len(self.mover.added)
        name = self.mover.tensor(mapping, wish)
        self.wanted_by.update({node.name: reader for node in self.mover.added[before:]})
        return name

    def _write_step(self, step: Step) -> None:
        node, names = step.node, list(step.node.inputs)
        demands = {edge.position: self._demand(step, edge) for edge in step.edges}
        for edge in step.edges:
            demand = demands[edge.position]
            before = len(self.mover.added)
            names[edge.position] = self._read(demand, f"{node.name}/input", node.name)
            moves = self.mover.added[before:]
            self.price_of[node.name, edge.position] = math.fsum(self.target.node_ns(self.graph, m) for m in moves)
        order = self.orders.order[step.root]
        if step.kind in ("mix", "grouped"):
            names[1:] = self._weights(step, demands[0], order)
        else:
            picked = step.select[order] if step.kind == "channelwise" else None
            for i, name in enumerate(names):
                if name in self.source.tensors and self.source.tensor(name).is_constant:
                    names[i] = self._constant(name, picked, len(step.select), self.source.shape(node.output))
        outputs = [self._output(step, name) for name in node.outputs]
        attrs = _attrs(step, len(order))
        self.graph.add_node(replace(node, inputs=tuple(names), outputs=tuple(outputs), attrs=attrs))

    def _demand(self, step: Step, edge: Edge) -> ChannelMap:
        demand = self.orders.demand(step, edge)
        if step.kind == "mix" and not step.exact:
            other = self.exact.get(np.unique(demand.ids).tobytes())
            return other if other is not None and other.is_injective else self._filled(step, edge, demand)
        return demand

    def _filled(self, step: Step, edge: Edge, demand: ChannelMap) -> ChannelMap:
        """The demand with gaps between its runs filled by channels that meet zero weights, where that is cheaper."""
        shape = self.source.shape(step.node.inputs[edge.position])
        out = self.source.shape(step.node.output)
        kernel = step.kernel
        if kernel is None or self.mover.has(demand):
            return demand
        c = self.target.coefficients(self.source.tensor(step.root).dtype)
        size = self.source.tensor(step.node.inputs[edge.position]).nbytes // max(1, int(np.prod(shape)))
        sites = int(np.prod(shape[:-1]))
        macs = int(np.prod(out)) * int(np.prod(kernel.shape[:-2]))
        row = kernel.nbytes // kernel.shape[-2]
        each = macs * c.mac + row * c.weight + 2 * sites * size * c.byte
        saved = 2 * sites * c.piece + c.overhead
        return ChannelMap(fill_gaps(self.program, self.orders, demand.ids, saved, each))

    # -- constants -----------------------------------------------------------------------------------------------------

    def _constant(self, name: str, picked: IntArray | None, channels: int, shape: tuple[int, ...]) -> str:
        """The constant with its channels (last axis) picked and put in order."""
        tensor = self.source.tensor(name)
        width = shape[-1] if shape else 1
        if picked is None or tensor.shape[-1:] != (width,) or width == 1 or np.array_equal(picked, np.arange(width)):
            if name not in self.graph.tensors:
                self.graph.add_tensor(tensor)
            return name
        return self._add_constant(name, picked_channels(tensor, picked))

    def _add_constant(self, name: str, tensor: Tensor) -> str:
        fresh = self._fresh(name)
        return self.graph.add_tensor(replace(tensor, name=fresh)).name

    def _fresh(self, name: str) -> str:
        taken = self.source.tensors.keys() | self.graph.tensors.keys()
        wish, number = f"{name}/reordered", 1
        while wish in taken:
            wish, number = f"{name}/reordered_{number}", number + 1
        return wish

    def _weights(self, step: Step, demand: ChannelMap, order: IntArray) -> list[str]:
        node, edge = step.node, step.edges[0]
        kernel = _arranged_kernel(self.orders, step, edge, demand)
        original = self.source.tensor(node.inputs[1])
        tensor = picked_channels(replace(original, data=kernel, shape=tuple(kernel.shape)), order)
        same = tensor.shape == original.shape and np.array_equal(tensor.array, original.array)
        if same and tensor.quant == original.quant:
            names = [self._constant(node.inputs[1], None, 0, ())]
        else:
            names = [self._add_constant(node.inputs[1], tensor)]
        return [*names, *(self._constant(n, order, len(order), original.shape) for n in node.inputs[2:])]

    def _output(self, step: Step, name: str) -> str:
        """Add the tensor; it keeps its name if it holds the same value."""
        tensor, own = self.source.tensor(name), self.program.space.of(name)
        order = self.orders.order[name]
        ids = own.take(order)
        if ids != self.program.maps[name]:
            fresh = self._fresh(name)
            tensor = replace(tensor, name=fresh, shape=(*tensor.shape[:-1], len(order)))
        self.graph.add_tensor(tensor)
        self.mover.offer(tensor.name, ids)
        return tensor.name


def fill_gaps(program: Program, orders: Orders, ids: IntArray, saved: float, each: float) -> IntArray:
    """Channels sorted as they lie, with those gaps filled whose channels cost less (`each`) than what a run saves.

    A gap at either end of a tensor counts too: a whole tensor needs no slice.
    """
    filled: list[IntArray] = []
    for name in program.space.owners(ChannelMap(ids)):
        base, order = program.space.base(name), orders.order[name]
        places = np.sort(orders.place[ids[(ids >= base) & (ids < base + len(order))]] - base)
        kept = [int(places[0])]
        for place in places[1:].tolist():
            gap = place - kept[-1] - 1
            if 0 < gap * each < saved:
                kept.extend(range(kept[-1] + 1, place))
            kept.append(place)
        missing = len(order) - len(kept)
        if 0 < missing * each < saved * (1 + int((np.diff(kept) > 1).sum())):
            kept = list(range(len(order)))
        filled.append(base + order[np.array(kept)])
    return np.concatenate(filled)


def _arranged_kernel(orders: Orders, step: Step, edge: Edge, demand: ChannelMap) -> Array:
    """The kernel with its input channels in the demanded order, its outputs still in the node's."""
    kernel = step.kernel
    if kernel is None:
        raise ValueError(f"step {step.node.name!r} has no kernel")
    if step.kind == "grouped":
        rows, columns = kernel.shape[2], kernel.shape[3] // step.groups
        arranged: Array = kernel.copy()
        for g in range(step.groups):
            block = edge.map.ids[g * rows : (g + 1) * rows]
            inside = np.argsort(orders.place[block], kind="stable")
            part = slice(g * columns, (g + 1) * columns)
            arranged[..., part] = kernel[:, :, inside, part]
        return arranged
    if step.exact:
        return kernel
    merged = merged_kernel(kernel, edge.map)
    if merged is None:
        raise ValueError(f"step {step.node.name!r} cannot read its channels once")
    source, weights = merged
    wide: Array = np.zeros((*kernel.shape[:-2], len(demand), kernel.shape[-1]), kernel.dtype)
    wide[..., source.positions_in(demand), :] = weights
    return wide


def _attrs(step: Step, channels: int) -> dict[str, object]:
    """The node's attributes for that many channels."""
    attrs = dict(step.node.attrs)
    if step.node.op == "conv2d":
        attrs["groups"] = channels if step.kind == "channelwise" else step.groups
    elif step.kind == "channelwise" and step.node.op == "slice":
        attrs["end"] = (*attrs["end"][:-1], channels)
    elif step.kind == "channelwise" and step.node.op == "reshape":
        attrs["shape"] = (*attrs["shape"][:-1], channels)
    return complete_attrs(step.node.op, attrs) if step.node.op not in ("quantize", "dequantize") else attrs


def _live_steps(program: Program) -> list[Step]:
    """The steps that outputs depend on."""
    needed = {owner for name in program.graph.outputs for owner in program.space.owners(program.maps[name])}
    kept = []
    for step in reversed(program.steps):
        if needed.intersection(step.node.outputs):
            kept.append(step)
            needed.update(owner for edge in step.edges for owner in program.space.owners(edge.map))
    return kept[::-1]
