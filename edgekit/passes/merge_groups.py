"""Grouped convolutions computed in fewer groups, with zeros between them, where that is faster.

Kernels compute a group's outputs in tiles of some sixteen channels, and some runtimes copy the windows of each group
anew. Groups narrower than a tile cost as much as groups that fill one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.graph.ir import Array
from edgekit.passes.pricing import price, shared_weights
from edgekit.passes.target import Target


def merge_groups(graph: Graph, target: Target) -> tuple[list[str], dict[str, str]]:
    """Merge neighbouring groups where the target's price of the layer is lower.

    Returns a line for each layer changed, and by node that had to be left alone the reason.

    Edits in place. Every value stays the same, to the bit in integers. Depthwise convolutions are left to their own
    kernels.
    """
    done, refused, readers = list[str](), dict[str, str](), graph.consumer_map()
    for node in graph.nodes:
        groups = node.attrs.get("groups", 1)
        if node.op != "conv2d" or groups == 1 or graph.shape(node.inputs[1])[2] == 1:
            continue
        best = min(_counts(groups), key=lambda count: (_price(graph, node, count, target), -count))
        if best == groups:
            continue
        reason = shared_weights(graph, node, readers)
        if reason is not None:
            refused[node.name] = reason
            continue
        _merge(graph, node, best)
        done.append(f"{node.name}: {groups} groups computed as {best}, which costs less")
    return done, refused


def merged_blocks(kernel: Array, groups: int, count: int) -> Array:
    """A kernel of `groups` groups, (kh, kw, in, out), as one of `count` groups with zeros between the merged ones."""
    kh, kw, rows, columns = kernel.shape
    together, width = groups // count, columns // groups
    wide = np.zeros((kh, kw, rows * together, columns), kernel.dtype)
    for g in range(groups):
        part, place = slice(g * width, (g + 1) * width), g % together
        wide[:, :, place * rows : (place + 1) * rows, part] = kernel[..., part]
    return wide


def _counts(groups: int) -> list[int]:
    return [count for count in range(1, groups + 1) if groups % count == 0]


def _price(graph: Graph, node: Node, count: int, target: Target) -> float:
    kernel, groups = graph.tensor(node.inputs[1]), node.attrs["groups"]
    kh, kw, rows, columns = kernel.shape
    merged = replace(kernel, shape=(kh, kw, rows * (groups // count), columns), data=None)
    return price(target, graph, [node.with_attrs(groups=count)], {kernel.name: merged})


def _merge(graph: Graph, node: Node, count: int) -> None:
    kernel = graph.tensor(node.inputs[1])
    wide = merged_blocks(kernel.array, node.attrs["groups"], count)
    name = graph.unique_name(f"{kernel.name}/merged")
    graph.add_tensor(replace(kernel, name=name, shape=tuple(wide.shape), data=wide))
    inputs = (node.inputs[0], name, *node.inputs[2:])
    graph.replace_node(node, replace(node.with_attrs(groups=count), inputs=inputs))
    graph.drop_unused()
