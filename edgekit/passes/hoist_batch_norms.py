"""Batch norms to where the layers before them can take them: in front of channel shuffles and permuting gathers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node, Tensor
from edgekit.graph.channels import IntArray
from edgekit.graph.kernels import shuffle_indices
from edgekit.passes.fold_affine import TARGETS
from edgekit.passes.refusals import refuse
from edgekit.passes.rewriting import escapes, rewrite_each


def hoist_batch_norms(graph: Graph) -> int:
    """Move each batch_norm in front of the permutations of channels that it alone reads; return how many steps.

    Its statistics are permuted with it. It moves only where a layer with weights stands before the permutations, which
    then takes it (`fold_batch_norm`); left behind, it would become a layer of its own. Computed statistics, and gathers
    that leave out or repeat channels, stay.
    """
    count = 0
    while steps := rewrite_each(graph, ("batch_norm",), _hoist):
        count += steps
    return count


def _hoist(graph: Graph, node: Node) -> bool:
    mover = graph.producer(node.inputs[0])
    positions = None if mover is None else _permutation(graph, mover)
    if mover is None or positions is None:
        return False
    reason = _obstacle(graph, node)
    if reason:
        refuse(node, reason)
        return False
    statistics = [_permuted(graph, name, positions) for name in node.inputs[1:]]
    moved = graph.unique_name(f"{mover.inputs[0]}/normalized")
    graph.add_tensor(Tensor(moved, graph.shape(mover.inputs[0])))
    normalized = replace(node, inputs=(mover.inputs[0], *statistics), outputs=(moved,))
    graph.remove_node(node)
    graph.replace_node(mover, normalized, replace(mover, inputs=(moved,), outputs=node.outputs))
    return True


def _permutation(graph: Graph, node: Node) -> IntArray | None:
    """p with output channel i equal to input channel p[i]; None for a node that does anything else."""
    shape = graph.shape(node.output)
    if node.op == "channel_shuffle":
        return np.asarray(shuffle_indices(shape[-1], node.attrs["groups"], node.attrs["block"]), np.int64)
    if node.op != "gather" or node.attrs["axis"] != len(shape) - 1:
        return None
    positions = np.asarray(node.attrs["indices"], np.int64)
    every = np.arange(graph.shape(node.inputs[0])[-1])
    return positions if np.array_equal(np.sort(positions), every) else None


def _obstacle(graph: Graph, node: Node) -> str | None:
    """Why moving `node` up through the permutations before it would not let a layer take it; None if it would."""
    computed = next((name for name in node.inputs[1:] if not graph.tensor(name).is_constant), None)
    if computed is not None:
        return f"its statistics {computed!r} are computed, not constant"
    reader, name = node, node.inputs[0]
    while True:
        reason = escapes(graph, name, reader)
        producer = graph.producer(name)
        if reason or producer is None:
            return reason or "no layer comes before it"
        if producer.op in TARGETS:
            activation = producer.attrs.get("activation", "none")
            return None if activation == "none" else f"{producer.name} has a fused {activation}"
        if _permutation(graph, producer) is None:
            return f"{producer.name} before it ({producer.op}) has no weights"
        reader, name = producer, producer.inputs[0]


def _permuted(graph: Graph, name: str, positions: IntArray) -> str:
    """A constant whose element positions[i] is element i of constant `name`."""
    data = graph.tensor(name).array
    moved = np.empty_like(data)
    moved[positions] = data
    return graph.add_tensor(Tensor.constant(graph.unique_name(f"{name}/permuted"), moved)).name
