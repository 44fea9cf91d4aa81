"""Slices of one tensor that make up the whole become one split: PyTorch's `chunk`, as its exporters write it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from edgekit.graph.ir import Graph, Node
from edgekit.graph.ops import complete_attrs


def join_slices(graph: Graph) -> int:
    """Put one split where the first of such slices is; return how many splits were made.

    Slices that overlap, leave something out, skip entries or cut several axes stay as they are.
    """
    groups: dict[tuple[str, int], list[Node]] = {}
    for node in graph.nodes:
        axis = _cut_axis(graph, node) if node.op == "slice" else None
        if axis is not None:
            groups.setdefault((node.inputs[0], axis), []).append(node)
    return sum(_join(graph, name, axis, nodes) for (name, axis), nodes in groups.items())


def _cut_axis(graph: Graph, node: Node) -> int | None:
    """The only axis that is cut, if entries are not skipped."""
    bounds = zip(node.attrs["begin"], node.attrs["end"], graph.shape(node.inputs[0]), strict=True)
    cut = [axis for axis, (begin, end, size) in enumerate(bounds) if (begin, end) != (0, size)]
    return cut[0] if len(cut) == 1 and set(node.attrs["strides"]) == {1} else None


def _join(graph: Graph, name: str, axis: int, nodes: list[Node]) -> bool:
    size = graph.shape(name)[axis]
    pieces = sorted(nodes, key=lambda n: int(n.attrs["begin"][axis]))
    ends = [0, *(int(n.attrs["end"][axis]) for n in pieces)]
    if [int(n.attrs["begin"][axis]) for n in pieces] != ends[:-1] or ends[-1] != size:
        return False
    attrs = {"axis": axis, "sizes": tuple(b - a for a, b in pairwise(ends))}
    outputs = tuple(n.output for n in pieces)
    first = nodes[0]
    graph.replace_node(first, replace(first, op="split", outputs=outputs, attrs=complete_attrs("split", attrs)))
    for node in nodes[1:]:
        graph.remove_node(node)
    return True
