"""Channel mappings: which channel of which tensor stands at each position.

Every channel of every tensor that is computed gets a number of its own, consecutive within a tensor. A mapping is an
array of such numbers. Channel shuffles, splits, slices, concats, gathers and reshape-transpose-reshape chains compute
nothing: their results are mappings over the tensors that they read.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError
from edgekit.graph.ir import Array, Graph, Node
from edgekit.graph.kernels import shuffle_indices

IntArray = npt.NDArray[np.int64]

MAX_TRACED = 1 << 22
"""Elements of the largest tensor whose reshapes and transposes are followed one by one."""


@dataclass(frozen=True, slots=True)
class Run:
    """`length` consecutive channels from number `first` on, at `position` of a mapping."""

    position: int
    first: int
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class ChannelMap:
    """ids: the number of the channel at each position, (C,)."""

    ids: IntArray

    def __post_init__(self) -> None:
        frozen = np.array(self.ids, np.int64)
        frozen.flags.writeable = False
        object.__setattr__(self, "ids", frozen)

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChannelMap) and np.array_equal(self.ids, other.ids)

    def __hash__(self) -> int:
        return hash(self.ids.tobytes())

    def take(self, positions: Sequence[int] | Array) -> ChannelMap:
        """The mapping whose position i is this one's `positions[i]`. Raises GraphError for a position outside it."""
        wanted = np.asarray(positions, np.int64)
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if outside.size:
            raise GraphError(f"channel {int(outside[0])} is outside a mapping of {len(self)}")
        return ChannelMap(self.ids[wanted])

    @staticmethod
    def join(maps: Sequence[ChannelMap]) -> ChannelMap:
        """The mappings one after another."""
        return ChannelMap(np.concatenate([m.ids for m in maps]))

    @property
    def is_injective(self) -> bool:
        """Whether no channel appears twice."""
        return len(np.unique(self.ids)) == len(self)

    def is_permutation_of(self, other: ChannelMap) -> bool:
        """Whether both hold the same channels, each as often."""
        return len(self) == len(other) and np.array_equal(np.sort(self.ids), np.sort(other.ids))

    def positions_in(self, other: ChannelMap) -> IntArray:
        """p with other.take(p) equal to this mapping; `other` must be injective and hold every channel."""
        order = np.argsort(other.ids, kind="stable")
        found = np.searchsorted(other.ids[order], self.ids)
        if not other.is_injective or found.max(initial=0) >= len(other):
            raise GraphError("the mapping cannot be expressed in the other one")
        positions = order[found]
        if not np.array_equal(other.ids[positions], self.ids):
            raise GraphError("the mapping holds channels that the other one lacks")
        return positions

    def runs(self) -> list[Run]:
        """The longest pieces of consecutive numbers, in order."""
        breaks = np.flatnonzero(np.diff(self.ids) != 1) + 1
        starts = [0, *breaks.tolist()]
        ends = [*breaks.tolist(), len(self)]
        return [Run(s, int(self.ids[s]), e - s) for s, e in zip(starts, ends, strict=True)] if len(self) else []


class ChannelSpace:
    """Numbers the channels of tensors. A gap lies between two tensors, so that no run crosses from one to the next."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._bases: list[int] = []
        self._sizes: dict[str, tuple[int, int]] = {}
        self.size = 0

    def add(self, name: str, channels: int) -> ChannelMap:
        """Number the channels of a new tensor; the mapping that is that tensor. Raises GraphError for a known name."""
        if name in self._sizes:
            raise GraphError(f"the channels of {name!r} are numbered already")
        self._names.append(name)
        self._bases.append(self.size)
        self._sizes[name] = (self.size, channels)
        self.size += channels + 1
        return self.of(name)

    def of(self, name: str) -> ChannelMap:
        """The mapping that is tensor `name` itself."""
        base, channels = self._sizes[name]
        return ChannelMap(np.arange(base, base + channels))

    def base(self, name: str) -> int:
        """Number of the tensor's first channel."""
        return self._sizes[name][0]

    def channels(self, name: str) -> int:
        """How many channels the tensor has."""
        return self._sizes[name][1]

    def owner(self, number: int) -> str:
        """The tensor that a channel belongs to."""
        return self._names[bisect.bisect_right(self._bases, number) - 1]

    def owners(self, mapping: ChannelMap) -> list[str]:
        """The tensors that a mapping reads, in the order in which they were numbered."""
        which = np.unique(np.searchsorted(self._bases, mapping.ids, side="right") - 1)
        return [self._names[int(i)] for i in which]


def block_shuffle(order: IntArray) -> tuple[int, int] | None:
    """(groups, block) of the channel shuffle that reads channels in this `order` (of 0 to C - 1); None if none does.

    Such a shuffle cuts C channels into blocks and interleaves the groups of blocks.
    """
    size, breaks = len(order), np.flatnonzero(np.diff(order) != 1)
    if not len(breaks) or order[0] != 0:
        return None
    block = int(breaks[0]) + 1
    step = int(order[block])
    if step <= 0 or size % block or step % block or size % step:
        return None
    groups = size // step
    return (groups, block) if np.array_equal(order, shuffle_indices(size, groups, block)) else None


def renamed_channels(graph: Graph, node: Node, maps: Mapping[str, ChannelMap]) -> list[ChannelMap] | None:
    """The mappings of the node's outputs, if it only renames channels of inputs whose mappings are known; else None."""
    if any(name not in maps for name in node.inputs):
        return None
    source, shape = maps[node.inputs[0]], graph.shape(node.inputs[0])
    last = len(shape) - 1
    match node.op:
        case "identity" | "dropout":
            return [source]
        case "channel_shuffle":
            return [source.take(shuffle_indices(len(source), node.attrs["groups"], node.attrs["block"]))]
        case "concat" if node.attrs["axis"] == last:
            return [ChannelMap.join([maps[name] for name in node.inputs])]
        case "gather" if node.attrs["axis"] == last:
            return [source.take(node.attrs["indices"])]
        case "split" if node.attrs["axis"] == last:
            ends = np.cumsum(node.attrs["sizes"])
            return [
                source.take(np.arange(end - size, end)) for end, size in zip(ends, node.attrs["sizes"], strict=True)
            ]
        case "slice" if graph.shape(node.output)[:-1] == shape[:-1]:
            begin, end, stride = (node.attrs[key][-1] for key in ("begin", "end", "strides"))
            return [source.take(np.arange(begin, end, stride))]
    return None


class LayoutTracer:
    """Follows chains of reshapes and transposes and sees where one has only permuted the last axis."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._seen: dict[str, tuple[str, Array]] = {}

    def permutation(self, node: Node) -> tuple[str, IntArray] | None:
        """(tensor, p): the node's output is that tensor with channel p[i] at position i; None where it is not."""
        if node.op not in ("reshape", "transpose"):
            return None
        name, shape = node.inputs[0], self.graph.shape(node.inputs[0])
        if self.graph.tensor(name).size > MAX_TRACED:
            return None
        origin, elements = self._seen.get(name) or (name, np.arange(int(np.prod(shape))).reshape(shape))
        if node.op == "reshape":
            elements = elements.reshape(node.attrs["shape"])
        else:
            elements = elements.transpose(node.attrs["perm"])
        self._seen[node.output] = (origin, elements)
        if elements.shape != self.graph.shape(origin) or not elements.ndim:
            return None
        rows = elements.reshape(-1, elements.shape[-1])
        sites = np.arange(len(rows))[:, None] * rows.shape[1]
        return (origin, rows[0].astype(np.int64)) if np.array_equal(rows, sites + rows[0]) else None
