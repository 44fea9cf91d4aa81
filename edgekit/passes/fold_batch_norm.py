"""Batch norm into the weights beside it."""

from __future__ import annotations

from edgekit.graph import Graph, Node
from edgekit.passes.affine import read_batch_norm
from edgekit.passes.fold_affine import fold_affine
from edgekit.passes.refusals import refuse
from edgekit.passes.rewriting import rewrite_each


def fold_batch_norm(graph: Graph) -> int:
    """Fold each batch_norm into the convolution or dense layer before it, else after it; return how many.

    Before: W' = W * g, b' = (b - mean) * g + beta, with g = gamma / sqrt(var + eps) of shape (out,), in float64.
    After: W' = W * g over input channels, b' = b + sum(W * (beta - mean * g)); exact only without padding.
    Left alone: shared or computed weights, a fused activation between, a result that others read or that is an output.
    Raises GraphError for a variance + epsilon that is not positive. Source: arXiv:1502.03167, inference form.
    """
    return rewrite_each(graph, ("batch_norm",), _fold)


def _fold(graph: Graph, node: Node) -> bool:
    affine = read_batch_norm(graph, node)
    reason = "its statistics are computed, not constant" if affine is None else fold_affine(graph, node, affine)
    if reason:
        refuse(node, reason)
    return reason is None
