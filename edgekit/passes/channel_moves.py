"""Makes tensors whose channels stand in a wished order out of tensors that exist, as cheaply as the target can."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgekit.errors import GraphError
from edgekit.graph import Graph, Node, Tensor
from edgekit.graph.channels import ChannelMap, IntArray, block_shuffle
from edgekit.graph.ops import complete_attrs
from edgekit.passes.pricing import price
from edgekit.passes.target import Target

PLACES = 32
"""Bits of a channel's place in a tensor."""
MOST_PIECES = 128
"""Slices and concats of more pieces than this are not considered."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Channels `start` to `stop` of a tensor."""

    tensor: str
    start: int
    stop: int


class Mover:
    """Adds data movement to a graph under construction.

    name_of: wishes a name for a mapping's tensor. taken: names that nodes of the finished graph will bear.
    """

    def __init__(
        self, graph: Graph, target: Target, name_of: Callable[[ChannelMap], str | None], taken: Collection[str]
    ) -> None:
        self.taken = taken
        self.graph, self.target, self.name_of = graph, target, name_of
        self._tensors: dict[str, IntArray] = {}
        self._numbers: dict[str, list[int]] = {}
        self._names: list[str] = []
        self._where: defaultdict[int, list[int]] = defaultdict(list)  # number of the tensor << PLACES | place in it
        self._made: dict[bytes, str] = {}
        self.added: list[Node] = []
        self.otherwise: dict[str, tuple[str, float]] = {}
        """By node that was added: the op of the next cheapest way to do what it does, and how much dearer that is."""

    def offer(self, name: str, mapping: ChannelMap) -> None:
        """Tell that tensor `name` exists and holds these channels."""
        self._tensors[name] = mapping.ids
        self._made.setdefault(mapping.ids.tobytes(), name)
        where, first = self._where, len(self._numbers) << PLACES
        self._numbers[name] = mapping.ids.tolist()
        self._names.append(name)
        for spot, number in enumerate(self._numbers[name], first):
            where[number].append(spot)

    def _spots(self, number: int) -> list[tuple[str, int]]:
        """The tensors that hold a channel, and where."""
        return [(self._names[spot >> PLACES], spot & ((1 << PLACES) - 1)) for spot in self._where[number]]

    def has(self, mapping: ChannelMap) -> bool:
        """Whether a tensor with exactly these channels exists."""
        return mapping.ids.tobytes() in self._made

    def tensor(self, mapping: ChannelMap, wish: str, reason: str = "") -> str:
        """The name of a tensor that holds exactly these channels; nodes that make it are added where there is none."""
        made = self._made.get(mapping.ids.tobytes())
        if made is not None:
            return made
        nodes, tensors, holds = self._best(mapping, wish)
        for tensor in tensors:
            self.graph.add_tensor(tensor)
        for node in nodes:
            self.graph.add_node(node)
            self.added.append(node)
        for name, ids in holds:
            self.offer(name, ChannelMap(ids))
        return nodes[-1].output

    def _best(self, mapping: ChannelMap, wish: str) -> _Plan:
        candidates = (self._by_pieces, self._by_shuffle, self._by_gather)
        plans = [plan for plan in (make(mapping, wish) for make in candidates) if plan is not None]
        best, *others = sorted(plans, key=self._price)
        if others:
            other = others[0][0][-1].op, self._price(others[0]) - self._price(best)
            self.otherwise.update({node.name: other for node in best[0]})
        return best

    def _price(self, plan: _Plan) -> float:
        return price(self.target, self.graph, plan[0], {t.name: t for t in plan[1]})

    # -- ways --------------------------------------------------------------------------------------------------------

    def _by_pieces(self, mapping: ChannelMap, wish: str) -> _Plan | None:
        """Slices of tensors, joined by concats of as many inputs as the target takes."""
        pieces = self.pieces(mapping.ids)
        if pieces is None:
            return None
        plan = _Draft(self, wish)
        names: list[tuple[str, IntArray]] = []
        for piece in pieces:
            ids = self._tensors[piece.tensor][piece.start : piece.stop]
            whole = len(ids) == len(self._tensors[piece.tensor])
            names.append((piece.tensor if whole else plan.slice(piece, ids), ids))
        plan.join(names)
        return plan.finish(mapping, self.name_of(mapping))

    def _by_shuffle(self, mapping: ChannelMap, wish: str) -> _Plan | None:
        found = self._single_source(mapping)
        if found is None:
            return None
        name, positions = found
        form = block_shuffle(positions) if len(positions) == len(self._tensors[name]) else None
        if form is None:
            return None
        plan = _Draft(self, wish)
        attrs = {"groups": form[0], "block": form[1]}
        plan.node("channel_shuffle", (name,), attrs, mapping.ids, "shuffle")
        return plan.finish(mapping, self.name_of(mapping))

    def _by_gather(self, mapping: ChannelMap, wish: str) -> _Plan | None:
        """One gather, of one tensor, or of the concat of whole tensors."""
        plan = _Draft(self, wish)
        found = self._single_source(mapping)
        if found is None:
            owners = list(dict.fromkeys(self._spots(n)[0][0] for n in np.unique(mapping.ids).tolist()))
            name, ids = plan.join([(name, self._tensors[name]) for name in owners])
            first = {number: i for i, number in reversed(list(enumerate(ids.tolist())))}
            found = name, np.array([first[n] for n in mapping.ids.tolist()])
        name, positions = found
        attrs = {"axis": plan.axis(name), "indices": tuple(positions.tolist())}
        plan.node("gather", (name,), attrs, mapping.ids, "gather")
        return plan.finish(mapping, self.name_of(mapping))

    def _single_source(self, mapping: ChannelMap) -> tuple[str, IntArray] | None:
        """The smallest tensor that holds every channel, and where."""
        wanted = mapping.ids.tolist()
        channels = set(wanted)
        holders = {name for name, _ in self._spots(wanted[0]) if len(self._numbers[name]) >= len(channels)}
        for name in sorted(holders, key=lambda n: (len(self._numbers[n]), n)):
            first = {number: i for i, number in reversed(list(enumerate(self._numbers[name])))}
            if channels <= first.keys():
                return name, np.array([first[n] for n in wanted])
        return None

    def pieces(self, ids: IntArray) -> list[Piece] | None:
        """The longest matches, one after another, preferably whole tensors; None where they are too many."""
        found: list[Piece] = []
        at, wanted = 0, ids.tolist()
        while at < len(wanted):
            if len(found) == MOST_PIECES:
                return None
            best, rank = None, (0, False)
            for name, offset in self._spots(wanted[at]):
                held = self._numbers[name]
                length = _common(held, offset, wanted, at)
                whole = length == len(held)
                if (length, whole) > rank:
                    best, rank = Piece(name, offset, offset + length), (length, whole)
            if best is None:
                raise GraphError(f"no tensor holds channel {wanted[at]}")
            found.append(best)
            at += rank[0]
        return found


def _common(a: list[int], i: int, b: list[int], j: int) -> int:
    """How many numbers are equal from a[i] and b[j] on."""
    most = min(len(a) - i, len(b) - j)
    if most > 1 and a[i + 1] != b[j + 1]:
        return 1
    if a[i : i + most] == b[j : j + most]:
        return most
    return next(k for k in range(most) if a[i + k] != b[j + k])


_Plan = tuple[list[Node], list[Tensor], list[tuple[str, IntArray]]]
"""Nodes, their tensors, and which channels each of those holds."""


class _Draft:
    """Nodes that are not in the graph yet."""

    def __init__(self, mover: Mover, wish: str) -> None:
        self.mover, self.wish = mover, wish
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.holds: list[tuple[str, IntArray]] = []
        self.slices: dict[Piece, str] = {}

    def _tensor(self, name: str) -> Tensor:
        return self.tensors[name] if name in self.tensors else self.mover.graph.tensor(name)

    def axis(self, name: str) -> int:
        return len(self._tensor(name).shape) - 1

    def node(self, op: str, inputs: tuple[str, ...], attrs: Mapping[str, object], ids: IntArray, label: str) -> str:
        name, number = f"{self.wish}/{label}", 1
        while name in self.tensors or name in self.mover.graph.tensors:
            name, number = f"{self.wish}/{label}_{number}", number + 1
        like = self._tensor(inputs[0])
        self.tensors[name] = replace(like, name=name, shape=(*like.shape[:-1], len(ids)), data=None)
        self.nodes.append(Node(name, op, inputs, (name,), complete_attrs(op, attrs)))
        self.holds.append((name, ids))
        return name

    def slice(self, piece: Piece, ids: IntArray) -> str:
        shape = self._tensor(piece.tensor).shape
        known = self.slices.get(piece)
        if known is not None:
            return known
        zeros = (0,) * (len(shape) - 1)
        attrs = {
            "begin": (*zeros, piece.start),
            "end": (*shape[:-1], piece.stop),
            "strides": (1,) * len(shape),
        }
        self.slices[piece] = self.node("slice", (piece.tensor,), attrs, ids, "slice")
        return self.slices[piece]

    def concat(self, parts: list[tuple[str, IntArray]]) -> tuple[str, IntArray]:
        ids = np.concatenate([i for _, i in parts])
        names = tuple(n for n, _ in parts)
        return self.node("concat", names, {"axis": self.axis(names[0])}, ids, "concat"), ids

    def join(self, parts: list[tuple[str, IntArray]]) -> tuple[str, IntArray]:
        """All parts in one tensor: a tree of concats of as many inputs as the target takes."""
        while len(parts) > 1:
            count = -(-len(parts) // self.mover.target.concat_inputs)
            groups = [parts[i * len(parts) // count : (i + 1) * len(parts) // count] for i in range(count)]
            parts = [self.concat(group) if len(group) > 1 else group[0] for group in groups]
        return parts[0]

    def finish(self, mapping: ChannelMap, name: str | None) -> _Plan | None:
        """The plan; its last tensor bears `name` where one is wished."""
        if not self.nodes:
            return None
        last = self.nodes[-1]
        if name is not None and name not in self.mover.graph.tensors:
            tensor = replace(self.tensors.pop(last.output), name=name)
            self.tensors[name] = tensor
            node = f"{name}/moved" if name in self.mover.taken else name
            self.nodes[-1] = replace(last, name=node, outputs=(name,))
            self.holds[-1] = (name, self.holds[-1][1])
        return self.nodes, list(self.tensors.values()), self.holds
