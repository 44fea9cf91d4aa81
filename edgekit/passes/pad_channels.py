"""Channel counts rounded up to what a target's kernels run best, with channels that nobody needs.

The layers that make a tensor make some channels more, of zeros; what treats each channel alone treats them too; the
layers that read it meet them with zero weights. A gather before a depthwise layer takes its last channel once more for
them. Gathers and slices of such a tensor take what they took. Nothing else may see it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgekit.graph import Graph, Node, Tensor
from edgekit.passes.pricing import price, shared_weights, widened
from edgekit.passes.target import Target

ROUND_TO = (4, 8, 16, 32)
"""Multiples that are tried."""

FOLLOWERS = frozenset({
    "relu", "relu6", "hard_swish", "sigmoid", "max_pool", "avg_pool", "global_avg_pool", "quantize", "dequantize",
})  # fmt: skip
"""Ops of one input that treat each channel alone."""


@dataclass(frozen=True, slots=True)
class _Family:
    """Tensors that must have the same number of channels: made by `maker`, handed on by `through`, read by `ends`."""

    maker: Node
    through: tuple[Node, ...]
    ends: tuple[Node, ...]

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.maker, *self.through, *self.ends)


def pad_channels(graph: Graph, target: Target) -> list[str]:
    """Widen tensors where the target's price of all layers that see them is lower; one line for each widened.

    Edits in place. Every value that is left keeps its value; a widened tensor is called `NAME/padded`.
    """
    done, readers, nodes = [], graph.consumer_map(), {node.name: node for node in graph.nodes}
    for name in list(nodes):
        node = nodes[name]
        family = _family(graph, node, readers)
        if family is None:
            continue
        channels = graph.shape(node.output)[-1]
        widths = sorted({channels, *(-(-channels // step) * step for step in ROUND_TO)})
        costs = {width: _price(graph, family, width - channels, target) for width in widths}
        best = min(widths, key=costs.__getitem__)
        if best != channels:
            _widen(graph, family, best - channels)
            readers, nodes = graph.consumer_map(), {n.name: n for n in graph.nodes}
            done.append(f"{node.name}: {channels} channels computed as {best}, which costs less")
    return done


def _family(graph: Graph, maker: Node, readers: dict[str, list[Node]]) -> _Family | None:
    """What sees the tensor that a layer makes; None where it cannot be widened."""
    if not (_is_mix(graph, maker) or _picks_channels(graph, maker, ("gather",))):
        return None
    if shared_weights(graph, maker, readers):
        return None
    through: list[Node] = []
    ends: list[Node] = []
    waiting = [maker.output]
    while waiting:
        name = waiting.pop()
        if name in graph.outputs or not readers.get(name):
            return None
        for reader in readers[name]:
            if reader.inputs.count(name) != 1 or reader.inputs[0] != name:
                return None
            if reader.op in FOLLOWERS or _is_depthwise(graph, reader):
                through.append(reader)
                waiting.append(reader.output)
            elif _is_mix(graph, reader) or _picks_channels(graph, reader, ("gather", "slice")):
                ends.append(reader)
            else:
                return None
            if len(reader.inputs) > 1 and shared_weights(graph, reader, readers):
                return None
    depthwise = any(node.op == "conv2d" for node in through)
    return _Family(maker, tuple(through), tuple(ends)) if depthwise else None


def _is_mix(graph: Graph, node: Node) -> bool:
    return node.op in ("conv2d", "dense") and node.attrs.get("groups", 1) == 1


def _picks_channels(graph: Graph, node: Node, ops: tuple[str, ...]) -> bool:
    """Whether a gather or slice takes channels by numbers that count from the first one."""
    last = len(graph.shape(node.inputs[0])) - 1
    return node.op in ops and (node.op == "slice" or node.attrs["axis"] == last)


def _is_depthwise(graph: Graph, node: Node) -> bool:
    channels = graph.shape(node.output)[-1]
    return node.op == "conv2d" and node.attrs["groups"] == graph.shape(node.inputs[0])[-1] == channels


def _wider(graph: Graph, family: _Family, more: int) -> tuple[list[Node], dict[str, Tensor]]:
    """The family's nodes with their attributes, and every tensor that becomes wider, under its old name."""
    nodes, tensors = [], dict[str, Tensor]()
    for node in family.nodes:
        if node in family.through and node.op == "conv2d":
            node = node.with_attrs(groups=node.attrs["groups"] + more)
        elif node is family.maker and node.op == "gather":
            node = node.with_attrs(indices=node.attrs["indices"] + node.attrs["indices"][-1:] * more)
        nodes.append(node)
        if node in family.ends:
            if node.op not in ("conv2d", "dense"):
                continue
            tensors[node.inputs[1]] = widened(graph.tensor(node.inputs[1]), -2, more)
            continue
        for name in (node.output, *node.inputs[1:]):
            tensors[name] = widened(graph.tensor(name), -1, more)
    return nodes, tensors


def _price(graph: Graph, family: _Family, more: int, target: Target) -> float:
    nodes, tensors = _wider(graph, family, more) if more else (list(family.nodes), {})
    return price(target, graph, nodes, tensors)


def _widen(graph: Graph, family: _Family, more: int) -> None:
    nodes, tensors = _wider(graph, family, more)
    names = {name: graph.unique_name(f"{name}/padded") for name in tensors}
    for name, tensor in tensors.items():
        graph.add_tensor(replace(tensor, name=names[name]))
    for old, new in zip(family.nodes, nodes, strict=True):
        inputs = tuple(names.get(n, n) for n in new.inputs)
        outputs = tuple(names.get(n, n) for n in new.outputs)
        graph.replace_node(old, replace(new, inputs=inputs, outputs=outputs))
    graph.drop_unused()
