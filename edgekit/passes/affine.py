"""Batch norm and constant multiplications or additions as one thing: y = scale * x + shift, a channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError
from edgekit.graph import Graph, Node

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Affine:
    """activation(scale * x + shift): x is the tensor `source` (..., C); scale and shift are float64 of shape (C,)."""

    source: str
    scale: Vector
    shift: Vector
    activation: str = "none"


def read_batch_norm(graph: Graph, node: Node) -> Affine | None:
    """A batch_norm as scale and shift; None if its statistics are not constants.

    scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale, in float64.
    Raises GraphError if a variance + epsilon is not positive. Source: arXiv:1502.03167, inference form.
    """
    tensors = [graph.tensor(name) for name in node.inputs[1:]]
    if not all(t.is_constant for t in tensors):
        return None
    gamma, beta, mean, variance = (t.array.astype(np.float64) for t in tensors)
    spread = variance + node.attrs["epsilon"]
    if not (spread > 0).all():
        channel = int(np.argmin(spread > 0))
        raise GraphError(
            f"batch_norm {node.name!r}: variance + epsilon of channel {channel} is {spread[channel]:g}, "
            "not a positive number; check the model's weights"
        )
    scale = gamma / np.sqrt(spread)
    return Affine(node.inputs[0], scale, beta - mean * scale)


def read_scale_shift(graph: Graph, node: Node) -> Affine | None:
    """A mul or add with one constant that is a number or a vector over channels; None for any other."""
    for x, constant in (node.inputs, node.inputs[::-1]):
        tensor, shape = graph.tensor(constant), graph.shape(x)
        if not tensor.is_constant or graph.shape(node.output) != shape:
            continue
        if tensor.dtype != "float32" or tensor.size not in (1, (tensor.shape or (1,))[-1]):
            continue
        vector = np.broadcast_to(tensor.array.astype(np.float64).reshape(-1), shape[-1:])
        ones, zeros = np.ones(shape[-1:]), np.zeros(shape[-1:])
        scale, shift = (vector, zeros) if node.op == "mul" else (ones, vector)
        return Affine(x, scale, shift, node.attrs["activation"])
    return None
