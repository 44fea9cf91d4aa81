"""Kernels as half-precision constants."""

from __future__ import annotations

import numpy as np

from edgekit.errors import QuantizationError
from edgekit.graph import Graph, Node, Tensor
from edgekit.passes.refusals import refuse

LEAST_ELEMENTS = 16
"""Smaller kernels stay float32: the node that converts them back costs more bytes than they save."""


def store_half(graph: Graph) -> int:
    """Store float32 kernels of conv2d and dense as float16; return how many constants.

    Activations and biases stay float32. Left alone: fewer than 16 elements, kernels that another op reads as well.
    Raises QuantizationError naming the constant if a value overflows float16 (beyond 65504) or is not finite.
    """
    count = 0
    for node in graph.nodes:
        if node.op in ("conv2d", "dense"):
            count += _store(graph, node, graph.tensor(node.inputs[1]))
    return count


def _store(graph: Graph, node: Node, kernel: Tensor) -> bool:
    if kernel.dtype == "float16" or kernel.quant is not None:
        return False
    reason = _blocked(graph, kernel)
    if reason:
        refuse(node, reason)
        return False
    with np.errstate(over="ignore"):
        half = kernel.array.astype(np.float16)
    if not np.isfinite(half).all():
        worst = float(np.abs(kernel.array).max())
        raise QuantizationError(
            f"{kernel.name!r} holds {worst:g}, which float16 cannot (at most 65504); export it as float32 or int8"
        )
    graph.set_tensor(kernel.with_data(half))
    return True


def _blocked(graph: Graph, kernel: Tensor) -> str | None:
    """Why this kernel stays float32; None if it need not."""
    if not kernel.is_constant:
        return f"{kernel.name!r} is computed, not constant"
    if kernel.size < LEAST_ELEMENTS:
        return f"{kernel.name!r} has {kernel.size} elements, fewer than {LEAST_ELEMENTS}"
    other = next((n for n in graph.consumers(kernel.name) if not _only_as_kernel(n, kernel.name)), None)
    return f"{kernel.name!r} is read by {other.name} ({other.op}) too" if other is not None else None


def _only_as_kernel(node: Node, name: str) -> bool:
    others = (node.inputs[0], *node.inputs[2:])
    return node.op in ("conv2d", "dense") and name not in others
