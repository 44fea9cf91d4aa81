"""Average pools over the whole map as global pools."""

from __future__ import annotations

from dataclasses import replace

from edgekit.graph import Graph, Node
from edgekit.graph.ops import complete_attrs
from edgekit.passes.rewriting import absorb, rewrite_each


def use_global_pooling(graph: Graph) -> int:
    """Turn avg_pool over the whole map into global_avg_pool, and merge a reshape that follows; return how many.

    The reshape is one between (N, 1, 1, C) and (N, C) that alone reads the pool: keep_dims says the same.
    """
    pools = rewrite_each(graph, ("avg_pool",), _make_global)
    return pools + rewrite_each(graph, ("global_avg_pool",), _merge_reshape)


def _make_global(graph: Graph, node: Node) -> bool:
    _, height, width, _ = graph.shape(node.inputs[0])
    (kh, kw), (top, _, left, _) = node.attrs["kernel"], node.attrs["padding"]
    whole = kh - top >= height and kw - left >= width
    if not whole or graph.shape(node.output)[1:3] != (1, 1):
        return False
    attrs = complete_attrs("global_avg_pool", {"keep_dims": True})
    graph.replace_node(node, replace(node, op="global_avg_pool", attrs=attrs))
    return True


def _merge_reshape(graph: Graph, node: Node) -> bool:
    follower = graph.only_consumer(node.output)
    if follower is None or follower.op != "reshape":
        return False
    (n, *_, c), keep = graph.shape(node.output), not node.attrs["keep_dims"]
    if graph.shape(follower.output) != ((n, 1, 1, c) if keep else (n, c)):
        return False
    absorb(graph, node, follower, keep_dims=keep)
    return True
