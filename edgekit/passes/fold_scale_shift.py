"""Constant multiplications and additions into the weights beside them."""

from __future__ import annotations

from edgekit.graph import Graph, Node
from edgekit.passes.affine import Affine, read_scale_shift
from edgekit.passes.fold_affine import TARGETS, fold_affine
from edgekit.passes.refusals import refuse
from edgekit.passes.rewriting import rewrite_each


def fold_scale_shift(graph: Graph) -> int:
    """Fold each mul or add of a constant (one, or one a channel) into the layer before or after it; return how many.

    Layers are conv2d, dense and batch_norm; a fused activation of the mul or add moves to the layer before.
    Left alone for the reasons of `fold_batch_norm`.
    """
    return rewrite_each(graph, ("mul", "add"), _fold)


def _fold(graph: Graph, node: Node) -> bool:
    affine = read_scale_shift(graph, node)
    if affine is None or not _beside_layer(graph, node, affine):
        return False
    reason = fold_affine(graph, node, affine)
    if reason:
        refuse(node, reason)
    return reason is None


def _beside_layer(graph: Graph, node: Node, affine: Affine) -> bool:
    neighbours = (graph.producer(affine.source), *graph.consumers(node.output))
    return any(n is not None and n.op in TARGETS for n in neighbours)
