"""Nodes that change nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from edgekit.graph import Graph, Node
from edgekit.graph.ops import complete_attrs
from edgekit.graph.signs import is_non_negative
from edgekit.passes.refusals import refuse
from edgekit.passes.rewriting import bypass, rewrite_each

Test = Callable[[Graph, Node], bool]


def remove_identities(graph: Graph) -> int:
    """Remove nodes that change nothing, and merge reshapes and transposes that follow each other; return how many.

    Inverse transposes cancel out; a transpose that moves only axes of size 1 becomes a reshape. A node stays where a
    graph output would become a graph input or a second name of another output.
    """
    merged = rewrite_each(graph, ("transpose",), _merge_transposes)
    merged += rewrite_each(graph, ("transpose",), _as_reshape)
    merged += rewrite_each(graph, ("reshape",), _merge_reshapes)
    return merged + rewrite_each(graph, CHANGES_NOTHING, _remove)


def _remove(graph: Graph, node: Node) -> bool:
    if not CHANGES_NOTHING[node.op](graph, node):
        return False
    reason = bypass(graph, node)
    if reason:
        refuse(node, reason)
    return reason is None


def _merge_transposes(graph: Graph, node: Node) -> bool:
    first = graph.producer(node.inputs[0])
    if first is None or first.op != "transpose":
        return False
    perm = tuple(first.attrs["perm"][p] for p in node.attrs["perm"])
    graph.replace_node(node, replace(node.with_attrs(perm=perm), inputs=first.inputs))
    return True


def _merge_reshapes(graph: Graph, node: Node) -> bool:
    first = graph.producer(node.inputs[0])
    if first is None or first.op != "reshape":
        return False
    graph.replace_node(node, replace(node, inputs=first.inputs))
    return True


def _as_reshape(graph: Graph, node: Node) -> bool:
    shape, perm = graph.shape(node.inputs[0]), node.attrs["perm"]
    moved = [axis for axis in perm if shape[axis] > 1]
    if moved != sorted(moved) or _keeps_order(graph, node):
        return False
    attrs = complete_attrs("reshape", {"shape": graph.shape(node.output)})
    graph.replace_node(node, replace(node, op="reshape", attrs=attrs))
    return True


def _always(graph: Graph, node: Node) -> bool:
    return True


def _keeps_shape(graph: Graph, node: Node) -> bool:
    return graph.shape(node.inputs[0]) == graph.shape(node.output)


def _keeps_order(graph: Graph, node: Node) -> bool:
    return tuple(node.attrs["perm"]) == tuple(range(len(node.attrs["perm"])))


def _pads_nothing(graph: Graph, node: Node) -> bool:
    return not any((*node.attrs["before"], *node.attrs["after"]))


def _has_one_piece(graph: Graph, node: Node) -> bool:
    return len(node.inputs) == len(node.outputs) == 1


def _gathers_in_order(graph: Graph, node: Node) -> bool:
    size = graph.shape(node.inputs[0])[node.attrs["axis"]]
    return tuple(node.attrs["indices"]) == tuple(range(size))


def _shuffles_nothing(graph: Graph, node: Node) -> bool:
    return node.attrs["groups"] in (1, graph.shape(node.output)[-1] // node.attrs["block"])


def _clips_nothing(graph: Graph, node: Node) -> bool:
    return is_non_negative(graph, node.inputs[0])


def _pools_one(graph: Graph, node: Node) -> bool:
    settings = (tuple(node.attrs[key]) for key in ("kernel", "strides", "padding"))
    return tuple(settings) == ((1, 1), (1, 1), (0, 0, 0, 0))


CHANGES_NOTHING: Mapping[str, Test] = {
    "identity": _always,
    "dropout": _always,
    "reshape": _keeps_shape,
    "slice": _keeps_shape,
    "transpose": _keeps_order,
    "pad": _pads_nothing,
    "split": _has_one_piece,
    "concat": _has_one_piece,
    "gather": _gathers_in_order,
    "channel_shuffle": _shuffles_nothing,
    "relu": _clips_nothing,
    "max_pool": _pools_one,
    "avg_pool": _pools_one,
}
"""Ops that may change nothing, and when they do."""
