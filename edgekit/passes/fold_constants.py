"""Nodes whose inputs are all known: computed once, now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.graph.interpret import run_node
from edgekit.graph.ops import OPS
from edgekit.passes.refusals import refuse
from edgekit.passes.rewriting import rewrite_each


def fold_constants(graph: Graph) -> int:
    """Replace each node that reads only constants by its results; return how many.

    Left alone: a node that makes a graph output (a node has to make those), and results that are not finite.
    """
    return rewrite_each(graph, OPS, _fold)


def _fold(graph: Graph, node: Node) -> bool:
    tensors = [graph.tensor(name) for name in node.inputs]
    if not all(t.is_constant for t in tensors):
        return False
    output = next((name for name in node.outputs if name in graph.outputs), None)
    if output is not None:
        refuse(node, f"{output!r} is a graph output")
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        results = run_node(graph, node, [t.array for t in tensors])
    if not all(np.isfinite(r).all() for r in results):
        refuse(node, "its result is not finite")
        return False
    for name, result in zip(node.outputs, results, strict=True):
        tensor = graph.tensor(name)
        graph.set_tensor(replace(tensor, data=np.ascontiguousarray(result, tensor.dtype).reshape(tensor.shape)))
    graph.remove_node(node)
    return True
