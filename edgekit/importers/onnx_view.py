"""How an ONNX value lies in a tensor of the graph: transposes and reshapes as book-keeping, not as nodes.

A `View` cuts a tensor's row-major memory into factors and says which factors, major first, make up each ONNX axis. An
NCHW value in an NHWC tensor is a view; so are a flattened one, a transposed one, and ShuffleNet's reshape-transpose-
reshape. Only when an op needs the axes in a certain order is it seen whether the memory has to move at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

Shape = tuple[int, ...]
Order = tuple[int, ...]
"""ONNX's axes in the order in which the graph's tensor has them: (0, 2, 3, 1) is NHWC of NCHW."""

NHWC_OF_NCHW: Order = (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class View:
    """tensor: the graph's tensor; sizes: its factors in memory order, none of them 1; axes: per ONNX axis, its factors.

    Every factor belongs to exactly one axis. label: the name of the ONNX node that made the view, if one did.
    """

    tensor: str
    sizes: Shape
    axes: tuple[tuple[int, ...], ...]
    label: str = ""

    @classmethod
    def of(cls, tensor: str, shape: Sequence[int], order: Order) -> View:
        """The view of a tensor of that shape whose axis k holds ONNX's axis order[k]."""
        axes: list[tuple[int, ...]] = [()] * len(shape)
        sizes: list[int] = []
        for size, axis in zip(shape, order, strict=True):
            if size != 1:
                axes[axis] = (len(sizes),)
                sizes.append(size)
        return cls(tensor, tuple(sizes), tuple(axes))

    @property
    def shape(self) -> Shape:
        """The shape that ONNX sees."""
        return tuple(math.prod(self.sizes[f] for f in axis) for axis in self.axes)

    @property
    def rank(self) -> int:
        """Number of ONNX axes."""
        return len(self.axes)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.sizes)

    def factors(self, order: Sequence[int]) -> list[int]:
        """All factors, with the ONNX axes in that order."""
        return [factor for axis in order for factor in self.axes[axis]]

    def is_free(self, order: Sequence[int]) -> bool:
        """Whether the memory has that order already (a reshape may still be needed, a transpose not)."""
        factors = self.factors(order)
        return factors == sorted(factors)

    def on(self, tensor: str) -> View:
        """The same view of another tensor of the same memory order."""
        return replace(self, tensor=tensor, label="")

    def named(self, label: str) -> View:
        """The same view, made by another ONNX node."""
        return replace(self, label=label)

    def transpose(self, perm: Sequence[int]) -> View:
        """ONNX's Transpose."""
        return replace(self, axes=tuple(self.axes[p] for p in perm))

    def reshape(self, shape: Sequence[int]) -> View | None:
        """ONNX's Reshape to a shape of the same size; None if no cut of the memory gives it."""
        if self.is_free(range(self.rank)):
            return replace(View.of(self.tensor, shape, tuple(range(len(shape)))), label=self.label)
        cut = _cut(self.factors(range(self.rank)), self.sizes, shape)
        if cut is None:
            return None
        pieces, axes = cut
        start = [sum(len(p) for p in pieces[:factor]) for factor in range(len(pieces))]
        return replace(
            self,
            sizes=tuple(size for piece in pieces for size in piece),
            axes=tuple(tuple(start[factor] + i for factor, i in axis) for axis in axes),
        )


Piece = tuple[int, int]
"""A factor and which of its pieces."""


def _cut(
    factors: Sequence[int], sizes: Shape, shape: Sequence[int]
) -> tuple[list[list[int]], list[list[Piece]]] | None:
    """Cut factors (in ONNX's order) so that they fill the axes of `shape`: sizes of their pieces, pieces per axis."""
    pieces: list[list[int]] = [[] for _ in sizes]
    axes: list[list[Piece]] = []
    waiting = [(factor, sizes[factor]) for factor in reversed(factors)]
    for need in shape:
        axis: list[Piece] = []
        while need > 1:
            factor, size = waiting.pop()
            taken = math.gcd(need, size)
            if taken not in (need, size):
                return None
            axis.append((factor, len(pieces[factor])))
            pieces[factor].append(taken)
            if size > taken:
                waiting.append((factor, size // taken))
            need //= taken
        axes.append(axis)
    return pieces, axes


@dataclass(frozen=True, slots=True)
class Move:
    """How to bring memory into another order: reshape to `before`, transpose by `perm`, reshape to the target."""

    before: Shape
    perm: Order


def plan_move(view: View, shape: Shape, order: Order) -> Move:
    """The transpose that brings a view of a tensor of that shape into `order`: of whole axes if it can be."""
    direct = _whole_axes(view, shape, order)
    return direct if direct is not None else _merged_axes(view, order)


def _whole_axes(view: View, shape: Shape, order: Order) -> Move | None:
    """A transpose of the tensor's own axes, each of which is one axis of the target."""
    own = split_factors(view.sizes, shape)
    wanted = [view.axes[axis] for axis in order]
    if own is None or len(own) != len(wanted):
        return None
    empty = [k for k, factors in enumerate(own) if not factors]
    perm = []
    for factors in wanted:
        if factors and factors not in own:
            return None
        if not factors and not empty:
            return None
        perm.append(own.index(factors) if factors else empty.pop(0))
    return Move(shape, tuple(perm))


def split_factors(sizes: Shape, shape: Shape) -> list[tuple[int, ...]] | None:
    """The factors of each axis of a tensor of that shape; None if some factor crosses axes."""
    axes: list[tuple[int, ...]] = []
    position = 0
    for size in shape:
        start = position
        while math.prod(sizes[start:position]) < size and position < len(sizes):
            position += 1
        if math.prod(sizes[start:position]) != size:
            return None
        axes.append(tuple(range(start, position)))
    return axes


def _merged_axes(view: View, order: Order) -> Move:
    """A transpose of the fewest axes: factors that stay neighbours stay one axis."""
    blocks: list[list[int]] = []
    for factor in view.factors(order):
        if blocks and blocks[-1][-1] + 1 == factor:
            blocks[-1].append(factor)
        else:
            blocks.append([factor])
    in_memory = sorted(blocks)
    before = tuple(math.prod(view.sizes[f] for f in block) for block in in_memory)
    perm = tuple(in_memory.index(block) for block in blocks)
    if len(before) == 3:  # images have four axes in every runtime
        return Move((1, *before), (0, *(p + 1 for p in perm)))
    return Move(before, perm)


def shuffle_groups(indices: Sequence[int], channels: int) -> int | None:
    """The groups of the channel shuffle whose result's channel p is the input's channel indices[p]; None if it is none.

    With G groups that is (p mod G) * (channels / G) + p div G. An order that changes nothing is no shuffle.
    """
    step = indices[1] if len(indices) == channels > 1 else 1
    if step < 2 or channels % step:
        return None
    groups = channels // step
    return groups if all(i == p % groups * step + p // groups for p, i in enumerate(indices)) else None


def last_axis_permutation(view: View, shape: Shape, order: Order) -> Shape | None:
    """The channel factors in their new order, if only channels move within the last axis of a tensor of that shape.

    Factors are counted from the first of the last axis. None if anything else moves.
    """
    own = split_factors(view.sizes, shape)
    factors = view.factors(order)
    if own is None or not own[-1]:
        return None
    first = own[-1][0]
    if factors[:first] != list(range(first)) or len(view.axes[order[-1]]) != len(own[-1]):
        return None
    return tuple(f - first for f in factors[first:])
