"""Chooses the order in which each tensor's channels lie in memory, so that readers find theirs side by side.

Tensors that channelwise steps tie together form a component with one order. Backward through the graph, each component
gets an ordered partition of its channels: the groups of the grouped convolutions that make it, which must stay
together, then what its readers take, the first reader first. Forward, what is still free follows the order of what a
component reads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from edgekit.graph.channels import ChannelMap, IntArray
from edgekit.passes.channel_program import Edge, Program, Step

UNREAD = np.iinfo(np.int64).max // 4


@dataclass(slots=True)
class Component:
    """channels: per root, the component's number of each of its channels. blocks: labels that must stay together.

    forward: what readers like does not count.
    """

    size: int
    channels: dict[str, IntArray]
    blocks: list[IntArray] = field(default_factory=list)
    fixed: IntArray | None = None
    steps: list[int] = field(default_factory=list)
    rank: IntArray | None = None
    order: IntArray | None = None
    forward: bool = False


@dataclass(frozen=True, slots=True)
class _Reader:
    """A step (None: the graph's end), its number, what it reads, and the tensors that this comes from."""

    index: int
    step: Step | None
    edge: Edge
    owners: list[str]


@dataclass(slots=True)
class Orders:
    """order: per root, which channel lies at each place. place: per channel number, the number of its place.

    component: per root of a step, the number of the component whose order it shares.
    """

    order: dict[str, IntArray]
    place: IntArray
    component: dict[str, int]

    def sorted(self, ids: IntArray) -> IntArray:
        """Channels in the order in which they lie in memory, tensor by tensor."""
        result: IntArray = ids[np.argsort(self.place[ids], kind="stable")]
        return result

    def demand(self, step: Step, edge: Edge) -> ChannelMap:
        """The order in which a step wants to read an edge (for a mix: each channel once, as they lie)."""
        ids = edge.map.ids
        if step.kind == "channelwise":
            return edge.map.take(self.order[step.root])
        if step.kind == "mix" and not step.exact:
            return ChannelMap(self.sorted(np.unique(ids)))
        if step.kind == "grouped":
            blocks = ids.reshape(step.groups, -1)
            return ChannelMap(np.concatenate([self.sorted(blocks[g]) for g in self.group_order(step)]))
        return edge.map

    def group_order(self, step: Step) -> IntArray:
        """The groups of a grouped step in the order in which its output holds them."""
        order = self.order[step.root]
        groups = order // (len(order) // step.groups)
        result: IntArray = groups[:: len(order) // step.groups]
        return result


def choose_orders(program: Program, forward: Collection[str] = ()) -> Orders:
    """An order for every root.

    forward: roots whose components follow the order of what they read, whatever their readers would like.
    """
    solver = _Solver(program)
    for name in forward:
        solver.of[name].forward = True
    for component in sorted(solver.components(), key=lambda c: -max(c.steps, default=-1)):
        solver.partition(component)
    place = np.arange(program.space.size)
    order: dict[str, IntArray] = {}
    for component in sorted(solver.components(), key=lambda c: min(c.steps, default=-1)):
        solver.settle(component, place)
        for name, channels in component.channels.items():
            position = np.empty(component.size, np.int64)
            position[component.order] = np.arange(component.size)
            order[name] = np.argsort(position[channels], kind="stable")
            base = program.space.base(name)
            place[base + order[name]] = base + np.arange(component.size)
    return Orders(order, place, {name: component.steps[0] for name, component in solver.of.items() if component.steps})


class _Solver:
    def __init__(self, program: Program) -> None:
        self.program, self.space = program, program.space
        self.of: dict[str, Component] = {}
        outputs = {n for n in program.graph.outputs if program.maps[n] == self._own(n)}
        for name in program.graph.inputs:
            size = self.space.channels(name)
            self.of[name] = Component(size, {name: np.arange(size)}, fixed=np.arange(size))
        for index, step in enumerate(program.steps):
            for name in step.node.outputs:
                self._start(index, step, name, fixed=step.kind == "fixed" or name in outputs)
            if step.kind == "channelwise":
                for edge in step.edges:
                    self._tie(step, edge)
        self.readers: dict[str, list[_Reader]] = {}
        for index, step in enumerate(program.steps):
            for edge in step.edges:
                if not self.is_tied(step, edge):
                    self._add_reader(index, step, edge)
        for name in program.graph.outputs:
            self._add_reader(len(program.steps), None, Edge(0, program.maps[name]))

    def _add_reader(self, index: int, step: Step | None, edge: Edge) -> None:
        reader = _Reader(index, step, edge, self.space.owners(edge.map))
        for name in reader.owners:
            self.readers.setdefault(name, []).append(reader)

    def _own(self, name: str) -> ChannelMap | None:
        try:
            return self.space.of(name)
        except KeyError:
            return None

    def components(self) -> list[Component]:
        return list({id(c): c for c in self.of.values()}.values())

    def _start(self, index: int, step: Step, name: str, *, fixed: bool) -> None:
        size = self.space.channels(name)
        blocks = [np.arange(size) // (size // step.groups)] if step.kind == "grouped" else []
        every = np.arange(size)
        self.of[name] = Component(size, {name: every}, blocks, every if fixed else None, [index])

    def _source(self, edge: Edge) -> tuple[str, IntArray] | None:
        """(root, which of its channels) where an edge reads all channels of one root, each once."""
        name = self.space.owner(int(edge.map.ids[0]))
        own = self.space.of(name)
        return (name, edge.map.ids - self.space.base(name)) if edge.map.is_permutation_of(own) else None

    def is_tied(self, step: Step, edge: Edge) -> bool:
        source = self._source(edge) if step.kind == "channelwise" else None
        if source is None or self.of[source[0]] is not self.of[step.root]:
            return False
        channels = self.of[step.root].channels
        return np.array_equal(channels[source[0]][source[1]], channels[step.root])

    def _tie(self, step: Step, edge: Edge) -> None:
        """Merge the components on both sides of a channelwise step, if one order can serve both."""
        source = self._source(edge)
        if source is None or self.of[source[0]] is self.of[step.root]:
            return
        into, other = self.of[source[0]], self.of[step.root]
        translate = np.empty(other.size, np.int64)
        translate[other.channels[step.root]] = into.channels[source[0]][source[1]]
        blocks = [_moved(labels, translate) for labels in other.blocks]
        fixed = None if other.fixed is None else translate[other.fixed]
        if into.fixed is not None and fixed is not None and not np.array_equal(into.fixed, fixed):
            return
        pinned = into.fixed if fixed is None else fixed
        merged = [*into.blocks, *blocks]
        if not _nested(merged) or (pinned is not None and not all(_together(b, pinned) for b in merged)):
            return
        into.blocks, into.fixed, into.steps = merged, pinned, [*into.steps, *other.steps]
        for name, channels in other.channels.items():
            into.channels[name] = translate[channels]
            self.of[name] = into

    # -- backward ----------------------------------------------------------------------------------------------------

    def partition(self, component: Component) -> None:
        """Rank the component's channels; equal ranks are free among themselves."""
        if component.fixed is not None:
            component.rank = np.empty(component.size, np.int64)
            component.rank[component.fixed] = np.arange(component.size)
            return
        keys = [] if component.forward else sorted(self._keys(component), key=lambda k: k[:2])
        soft = _rank([key for *_, key in keys], component.size)
        hard = []
        for labels in sorted(component.blocks, key=lambda b: len(np.unique(b))):
            score = soft * component.size + np.arange(component.size)
            best = np.full(labels.max() + 1, np.iinfo(np.int64).max)
            np.minimum.at(best, labels, score)
            hard.append(best[labels])
        component.rank = _rank([*hard, soft], component.size)

    def _keys(self, component: Component) -> list[tuple[int, int, IntArray]]:
        found = []
        readers = {id(reader): reader for name in component.channels for reader in self.readers.get(name, [])}
        for reader in readers.values():
            key, ids = np.full(component.size, UNREAD), reader.edge.map.ids
            priority, ranks = self._wish(reader.step, reader.edge)
            for name in reader.owners:
                if name in component.channels:
                    base = self.space.base(name)
                    inside = (ids >= base) & (ids < base + component.size)
                    np.minimum.at(key, component.channels[name][ids[inside] - base], ranks[inside])
            if (key != key[0]).any():
                found.append((priority, reader.index, key))
        return found

    def _wish(self, step: Step | None, edge: Edge) -> tuple[int, IntArray]:
        """How urgent a reader's wish is (0 first), and the rank that it gives to each position."""
        every = np.arange(len(edge.map))
        if step is None or step.kind == "fixed" or step.exact:
            return 0, every
        if step.kind == "mix":
            return 3, np.zeros_like(every)
        component = self.of[step.root]
        if step.kind == "channelwise":
            rank = component.rank
            return 2, np.zeros_like(every) if rank is None else rank[component.channels[step.root]]
        size = self.space.channels(step.root) // step.groups
        group = every // (len(every) // step.groups)
        if component.rank is None:
            return 1, group
        ranks = component.rank[component.channels[step.root]].reshape(step.groups, size).min(axis=1)
        return 1, np.argsort(np.argsort(ranks, kind="stable"), kind="stable")[group]

    # -- forward -----------------------------------------------------------------------------------------------------

    def settle(self, component: Component, place: IntArray) -> None:
        """The exact order: by rank, and where that leaves it open, as the channels that are read lie."""
        ties = [np.arange(component.size)]
        for index in component.steps:
            step = self.program.steps[index]
            for edge in step.edges if step.kind == "channelwise" else ():
                if not self.is_tied(step, edge):
                    tie = np.empty(component.size, np.int64)
                    tie[component.channels[step.root]] = place[edge.map.ids]
                    ties.append(tie)
        component.order = np.lexsort((*ties, np.asarray(component.rank)))


def _rank(keys: list[IntArray], size: int) -> IntArray:
    if not keys:
        return np.zeros(size, np.int64)
    result: IntArray = np.unique(np.stack(keys, axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return result


def _moved(labels: IntArray, translate: IntArray) -> IntArray:
    result = np.empty_like(labels)
    result[translate] = labels
    return result


def _nested(partitions: list[IntArray]) -> bool:
    """Whether of each two partitions one refines the other."""
    for i, p in enumerate(partitions):
        for q in partitions[:i]:
            pairs = len(np.unique(np.stack([p, q]), axis=1).T)
            if pairs != max(len(np.unique(p)), len(np.unique(q))):
                return False
    return True


def _together(labels: IntArray, order: IntArray) -> bool:
    """Whether each block lies together in that order."""
    along = labels[order]
    return int((np.diff(along) != 0).sum()) + 1 == len(np.unique(labels))
