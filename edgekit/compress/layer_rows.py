"""Layers with weights as linear maps: what they read as rows of a matrix, their kernels as its counterpart."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from edgekit.graph.ir import Array, Graph, Node

LAYERS = ("conv2d", "dense")


def weight_layers(graph: Graph) -> list[Node]:
    """Convolutions and dense layers whose kernel and bias are float constants of their own, in execution order."""
    readers = graph.consumer_map()

    def is_own(name: str) -> bool:
        tensor = graph.tensor(name)
        alone = len(readers[name]) == 1 and name not in graph.outputs
        return tensor.is_constant and tensor.dtype == "float32" and alone

    return [node for node in graph.nodes if node.op in LAYERS and all(map(is_own, node.inputs[1:]))]


def to_maps(kernel: Array, groups: int) -> Array:
    """A kernel (..., in, out) as linear maps (groups, K, out / groups); K runs over the kernel's axes in order."""
    maps: Array = kernel.reshape(-1, groups, kernel.shape[-1] // groups).swapaxes(0, 1)
    return maps


def from_maps(maps: Array, shape: Sequence[int]) -> Array:
    """The kernel of `shape` that `to_maps` took apart."""
    kernel: Array = maps.swapaxes(0, 1).reshape(tuple(shape))
    return kernel


def groups_of(node: Node) -> int:
    """Independent linear maps that the layer consists of."""
    return int(node.attrs.get("groups", 1))


def sample_positions(graph: Graph, node: Node, image: int, most: int) -> Array:
    """Up to `most` output positions of a layer, drawn for one image: the same ones whenever they are asked for."""
    shape = graph.shape(node.output)
    count = int(np.prod(shape[1:-1], dtype=np.int64))
    random = np.random.default_rng([zlib.crc32(node.name.encode()), image])
    return random.permutation(count)[:most]


def rows_at(graph: Graph, node: Node, value: Array, positions: Array) -> Array:
    """What the layer reads for its outputs at `positions`: (groups, positions, K) float32.

    value: the layer's input of one image, (1, C, H, W), of a dense layer (1, in).
    """
    if node.op == "dense":
        rows: Array = value[positions][None]
        return rows
    kh, kw, per_group, _ = graph.shape(node.inputs[1])
    (sh, sw), (dh, dw) = node.attrs["strides"], node.attrs["dilation"]
    top, bottom, left, right = node.attrs["padding"]
    padded = np.pad(value[0], ((0, 0), (top, bottom), (left, right))) if any(node.attrs["padding"]) else value[0]
    width = padded.shape[2]
    ys, xs = np.divmod(positions, graph.shape(node.output)[2])
    corners = ys * sh * width + xs * sw
    taps = (np.arange(kh)[:, None] * dh * width + np.arange(kw) * dw).ravel()
    found = padded.reshape(len(padded), -1).take(corners[:, None] + taps, axis=1)
    grouped = found.reshape(-1, per_group, len(positions), kh * kw)
    return np.ascontiguousarray(grouped.transpose(0, 2, 3, 1)).reshape(len(grouped), len(positions), -1)
