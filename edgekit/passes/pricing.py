"""What the passes that choose by price share: graphs that do not exist yet, and constants that only one node reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node, Tensor
from edgekit.graph.channels import IntArray
from edgekit.graph.ir import Array
from edgekit.passes.target import Target


class Scratch:
    """Looks like a graph to the cost model: the graph's tensors and some that stand for or beside them."""

    def __init__(self, graph: Graph, more: Mapping[str, Tensor]) -> None:
        self._graph, self._more = graph, more

    def tensor(self, name: str) -> Tensor:
        """A tensor of either."""
        return self._more[name] if name in self._more else self._graph.tensor(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Its shape."""
        return self.tensor(name).shape


def price(target: Target, graph: Graph, nodes: Iterable[Node], more: Mapping[str, Tensor]) -> float:
    """Nanoseconds of the nodes where the tensors of `more` stand in the graph."""
    scratch = Scratch(graph, more)
    return math.fsum(target.node_ns(scratch, node) for node in nodes)


def shared_weights(graph: Graph, node: Node, readers: Mapping[str, list[Node]]) -> str | None:
    """Why a layer's weights cannot be changed for it alone; None if they can."""
    for name in node.inputs[1:]:
        tensor = graph.tensor(name)
        if not tensor.is_constant:
            return "its weights are computed, not constant"
        if len(readers[name]) > 1 or node.inputs.count(name) > 1:
            others = [n.name for n in readers[name] if n.name != node.name]
            return f"its constant {name!r} is shared with {', '.join(others) or 'itself'}"
        if tensor.quant is not None and tensor.quant.axis not in (None, len(tensor.shape) - 1):
            return f"the scales of {name!r} lie along axis {tensor.quant.axis}"
        if tensor.quant is not None and any(tensor.quant.zero_point):
            return f"zero is not 0 in {name!r}"
    return None


def widened(tensor: Tensor, axis: int, more: int) -> Tensor:
    """A constant with `more` zeros at the end of an axis, or an activation with as many channels more.

    Scales along that axis go on with the last one: zeros are zeros at any scale.
    """
    axis %= len(tensor.shape)
    shape = tuple(d + more * (i == axis) for i, d in enumerate(tensor.shape))
    quant = tensor.quant
    if quant is not None and quant.axis == axis:
        scale, zero_point = quant.scale, quant.zero_point
        quant = replace(quant, scale=scale + scale[-1:] * more, zero_point=zero_point + zero_point[-1:] * more)
    data: Array | None = None
    if tensor.is_constant:
        data = np.pad(tensor.array, [(0, more * (i == axis)) for i in range(len(shape))])
    return replace(tensor, shape=shape, data=data, quant=quant)


def picked_channels(tensor: Tensor, picked: IntArray) -> Tensor:
    """A constant with the channels of its last axis picked, scales and all."""
    data = np.ascontiguousarray(tensor.array[..., picked])
    quant = tensor.quant
    if quant is not None and quant.axis is not None:
        quant = replace(
            quant,
            scale=tuple(quant.scale[i] for i in picked.tolist()),
            zero_point=tuple(quant.zero_point[i] for i in picked.tolist()),
        )
    return replace(tensor, data=data, shape=tuple(data.shape), quant=quant)
