"""Which activations must share one scale, by TFLite's rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from edgekit.graph.ir import Graph, Node, Tensor
from edgekit.graph.ops import op_spec


def separate_fixed_scales(graph: Graph) -> dict[str, str]:
    """Put a `quantize` node behind each op of prescribed scale whose result is joined with others.

    A softmax or sigmoid has a scale of its own; a concat, even behind a reshape, wants one scale on all its inputs.
    Returns the activations that the new nodes make, each with the name of the result that it repeats.
    """
    repeats = {}
    for node in graph.nodes:
        if op_spec(node.op).fixed_scale is None:
            continue
        for reader in graph.consumers(node.output):
            if _leads_to_join(graph, reader):
                repeats[_insert_requantize(graph, node.output, reader)] = node.output
    return repeats


def _leads_to_join(graph: Graph, reader: Node) -> bool:
    """Whether what `reader` reads comes to stand beside other values at one scale, there or further on."""
    if not op_spec(reader.op).same_scale:
        return False
    further = (after for name in reader.outputs for after in graph.consumers(name))
    return len(reader.inputs) > 1 or any(_leads_to_join(graph, after) for after in further)


def _insert_requantize(graph: Graph, name: str, reader: Node) -> str:
    fresh = graph.unique_name(f"{name}_requantized")
    graph.add_tensor(Tensor(fresh, graph.shape(name)))
    graph.add_node(Node(fresh, "quantize", (name,), (fresh,)), before=reader)
    graph.replace_node(reader, replace(reader, inputs=tuple(fresh if i == name else i for i in reader.inputs)))
    return fresh


def scale_groups(graph: Graph) -> list[tuple[str, ...]]:
    """All activations, in groups that share one scale: tied by ops that hand values on (concat, pools, reshape)."""
    parent = {name: name for name, tensor in graph.tensors.items() if not tensor.is_constant}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for node in graph.nodes:
        if op_spec(node.op).same_scale:
            tied = [n for n in (*node.inputs, *node.outputs) if n in parent]
            for other in tied[1:]:
                parent[root(other)] = root(tied[0])
    groups: dict[str, list[str]] = {}
    for name in parent:
        groups.setdefault(root(name), []).append(name)
    return [tuple(group) for group in groups.values()]


def head_activations(graph: Graph) -> frozenset[str]:
    """Activations that no later convolution or dense layer reads, directly or not: the scores and what becomes of them.

    Their extremes decide the prediction, so they are not worth clipping.
    """
    feeding: set[str] = set()
    for node in reversed(graph.nodes):
        if node.op in ("conv2d", "dense") or feeding.intersection(node.outputs):
            feeding.update(node.inputs)
    return frozenset(name for name, tensor in graph.tensors.items() if not tensor.is_constant and name not in feeding)


def fixed_scale_of(graph: Graph, group: Iterable[str]) -> tuple[float, int] | None:
    """The prescribed (scale, zero point) of a group that a softmax or sigmoid feeds; None where there is none."""
    members = set(group)
    for node in graph.nodes:
        fixed = op_spec(node.op).fixed_scale
        if fixed is not None and members.intersection(node.outputs):
            return fixed
    return None
