"""Statistics of a float graph's activations over calibration images: one streaming pass, memory that does not grow."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError, QuantizationError
from edgekit.graph.ir import Array, Graph, Node
from edgekit.graph.ops import op_spec

FloatArray = npt.NDArray[np.float32]
Runner = Callable[[Array], Mapping[str, Array]]
"""Runs the float graph on one image (1, H, W, C) and returns the activations by name."""

KEPT_VALUES = 2**17
"""About how many values are kept per tensor."""
FIRST_SHARE = 8
"""Each image gives one part in this many of a full sample at first; half as much whenever the sample is full."""


def most_positions(channels: int) -> int:
    """Most positions kept of a tensor: each is the vector of all channels at one place of one image."""
    return min(max(KEPT_VALUES // channels, 256), 8192)


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """What calibration saw of one activation with C channels.

    low, high, mean: (C,) exact over all images and positions; low is 0 for what a ReLU makes. positions: (P, C), a
    random sample of the vectors, even over the images, P at most `most_positions(C)`; ranges are searched on it.
    """

    low: FloatArray
    high: FloatArray
    mean: FloatArray
    positions: FloatArray

    def scaled(self, factors: FloatArray) -> TensorStatistics:
        """The statistics after multiplying channel c by factors[c] > 0; factors of shape (C,)."""
        return TensorStatistics(self.low * factors, self.high * factors, self.mean * factors, self.positions * factors)


def observed_tensors(graph: Graph) -> tuple[str, ...]:
    """Activations whose statistics the quantizer needs: all but outputs of ops that only hand on their input's values.

    Inputs of convolutions and dense layers are always among them, for bias correction.
    """
    wanted = dict.fromkeys(graph.inputs)
    for node in graph.nodes:
        if node.op in ("conv2d", "dense"):
            wanted[node.inputs[0]] = None
        if not op_spec(node.op).same_scale or _brings_values(graph, node):
            wanted.update(dict.fromkeys(node.outputs))
    return tuple(wanted)


def _brings_values(graph: Graph, node: Node) -> bool:
    """Whether the node sets values of its own beside those that it hands on: a constant in a concat, a pad's value."""
    return bool(node.attrs.get("value")) or any(graph.tensor(name).is_constant for name in node.inputs)


def calibrate(
    graph: Graph, run: Runner, images: Iterable[Array], *, channel_axis: int = 1
) -> dict[str, TensorStatistics]:
    """Run `images` (each (1, H, W, C) float32) through `run` and gather the statistics of `observed_tensors(graph)`.

    Otherwise as `gather_statistics`.
    """
    return gather_statistics(graph, map(run, images), channel_axis=channel_axis)


def gather_statistics(
    graph: Graph, runs: Iterable[Mapping[str, Array]], *, channel_axis: int = 1
) -> dict[str, TensorStatistics]:
    """Statistics of `observed_tensors(graph)` over runs of the graph: for each image its activations by name.

    channel_axis: where the runs have the channels of 4-D activations (1 for onnxruntime's NCHW, 3 for NHWC).
    Raises DataError where there are no images, QuantizationError naming the first tensor that turned NaN or infinite.
    """
    positive = _made_by_relu(graph)
    observers = {name: _Observer(name, channel_axis, name in positive) for name in observed_tensors(graph)}
    count = 0
    for values in runs:
        for name, observer in observers.items():
            observer.update(values[name])
        count += 1
    if not count:
        raise DataError("calibration needs at least one image")
    return {name: observer.result() for name, observer in observers.items()}


def _made_by_relu(graph: Graph) -> set[str]:
    """Activations that cannot be negative; they are the larger part of most networks, so it pays to know them."""
    rectifiers = ("relu", "relu6")
    return {n.output for n in graph.nodes if n.op in rectifiers or n.attrs.get("activation") in rectifiers}


@functools.lru_cache(maxsize=256)
def _parts(count: int, wanted: int) -> tuple[Array, Array]:
    """First position and length of each of `wanted` nearly equal parts of `count` positions."""
    edges = np.arange(wanted + 1) * count // wanted
    return edges[:-1], np.diff(edges)


class _Observer:
    """Accumulates one tensor: exact extrema and sums, and an even random sample of positions."""

    def __init__(self, name: str, channel_axis: int, is_positive: bool) -> None:
        self.name, self.channel_axis, self.is_positive = name, channel_axis, is_positive
        self.low: Array | None = None
        self.high: Array | None = None
        self.total: Array = np.zeros(1)
        self.rows = 0
        self.random = np.random.default_rng(zlib.crc32(name.encode()))
        self.images = 0
        self.per_image = math.inf
        self.kept: list[Array] = []
        self.kept_count = 0

    def update(self, value: Array) -> None:
        columns = self._columns(value)
        with np.errstate(invalid="ignore", over="ignore"):
            # einsum adds with all lanes of the processor: twice as fast as `sum`.
            high, total = columns.max(axis=1), np.einsum("cp->c", columns)
            low = np.zeros_like(high) if self.is_positive else columns.min(axis=1)
        if not np.isfinite(total).all():
            raise QuantizationError(
                f"calibration: layer {self.name!r} gives NaN or infinite values; check the weights and the images"
            )
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        self.total = self.total + total
        self.rows += columns.shape[1]
        self._keep(columns)

    def _columns(self, value: Array) -> Array:
        """One image's values as (C, positions), a view."""
        channels_first = value.ndim == 4 and self.channel_axis == 1
        columns: Array = value.reshape(value.shape[1], -1) if channels_first else value.reshape(-1, value.shape[-1]).T
        return columns

    def _keep(self, columns: Array) -> None:
        """Keep `per_image` positions, a random one from each of as many parts; below 1, one of some images."""
        channels, count = columns.shape
        most = most_positions(channels)
        self.per_image = min(self.per_image, most / FIRST_SHARE, count)
        wanted = math.floor(self.per_image * (self.images + 1)) - math.floor(self.per_image * self.images)
        self.images += 1
        if not wanted:
            return
        first, length = _parts(count, wanted)
        chosen = first + (self.random.random(wanted) * length).astype(np.int64)
        chosen = chosen[self.random.permutation(wanted)]  # so that thinning favours no place
        self.kept.append(columns.take(chosen, axis=1))
        self.kept_count += wanted
        if self.kept_count > most:
            self.kept = [np.concatenate(self.kept, axis=1)[:, ::2]]
            self.kept_count = self.kept[0].shape[1]
            self.per_image /= 2

    def result(self) -> TensorStatistics:
        if self.low is None or self.high is None:
            raise QuantizationError(f"calibration: layer {self.name!r} was never run")
        mean = (self.total / max(self.rows, 1)).astype(np.float32)
        positions = np.ascontiguousarray(np.concatenate(self.kept, axis=1).T, np.float32)
        return TensorStatistics(self.low.astype(np.float32), self.high.astype(np.float32), mean, positions)
