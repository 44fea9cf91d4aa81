"""Compresses a float network's weights on calibration images, under one price of a bit for the whole network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.compress.codebook import nearest
from edgekit.compress.coded import CodedTensor
from edgekit.compress.drift import Outputs, drift, expected_drop, head_names
from edgekit.compress.layer_problem import LayerProblem, layer_problem
from edgekit.compress.layer_rows import from_maps, weight_layers
from edgekit.compress.scalar import ScalarLayer, balanced_step, entropy_bits, grid, quantize_scalar
from edgekit.compress.sensitivity import Reference, measure_reference
from edgekit.compress.shared import quantize_shared
from edgekit.compress.walk import Engine, State, numpy_engine, walk
from edgekit.errors import DataError, QuantizationError
from edgekit.graph.ir import Array, Graph, Node

POSITIONS = 64
"""Output positions of each image that a layer is fitted on."""
LEAST_SENSITIVITY = 1e-6
"""Of the greatest one: a layer whose error did not show in the few probes still has a price."""

Measure = Callable[[Mapping[str, CodedTensor]], float]
"""Bytes that these tensors, by name, take in the file."""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """bits: taken by the weights, about; error: of the outputs, as a share of their variance; zeros: share of zeros."""

    name: str
    bits: float
    error: float
    levels: int
    zeros: float


@dataclass(frozen=True, slots=True)
class CompressedWeights:
    """graph: the network with its new weights; tensors: kernels and biases by name, as they are to be coded.

    price: drift by bit. drift, expected_drop: against the float network, on the images that were calibrated on.
    """

    graph: Graph
    tensors: dict[str, CodedTensor]
    layers: tuple[LayerReport, ...]
    price: float
    heads: Outputs
    drift: float
    expected_drop: float


class WeightCompressor:
    """Compresses one network on the same images at any price; what does not depend on the price is done once.

    images: (1, H, W, C) float32 each, preprocessed. Raises DataError without images, QuantizationError for a network
    without weights and for one that gives NaN or infinities.
    """

    def __init__(
        self, graph: Graph, images: Sequence[Array], engine: Engine = numpy_engine, positions: int = POSITIONS
    ) -> None:
        if not len(images):
            raise DataError("compression needs at least one calibration image")
        self._layers = weight_layers(graph)
        if not self._layers:
            raise QuantizationError(f"graph {graph.name!r} has no layer with constant float weights to compress")
        self._graph, self._images, self._engine, self._positions = graph, images, engine, positions
        self._heads = head_names(graph)
        self._reference = measure_reference(graph, images, engine, self._heads, positions)
        _require_finite(self._reference)

    @property
    def sensitivities(self) -> dict[str, float]:
        """Drift of the network's outputs by unit of mean square error in a layer's outputs."""
        return dict(self._reference.sensitivities)

    @property
    def heads(self) -> tuple[str, ...]:
        """The activations whose drift is counted."""
        return self._heads

    @property
    def weight_count(self) -> int:
        """Elements of the kernels that are compressed."""
        return sum(self._graph.tensor(node.inputs[1]).size for node in self._layers)

    def at(self, price: float) -> CompressedWeights:
        """The weights at which no bit more or less would pay: price is the drift that a bit is worth."""
        least = LEAST_SENSITIVITY * max(self._reference.sensitivities.values()) or 1.0

        def quantize(node: Node, problem: LayerProblem) -> tuple[ScalarLayer, Array | None]:
            local_price = price / max(self._reference.sensitivities[node.name], least)
            layer = quantize_scalar(problem, local_price)
            bias = problem.bias_for(layer.maps())
            return layer, None if bias is None else grid(_bias_step(bias, local_price), bias.min(), bias.max())

        return self._compress(quantize, price)

    def with_levels(self, levels: int) -> CompressedWeights:
        """At most `levels` values in each kernel, for indices of a fixed number of bits; biases stay as fine as floats.

        Raises ModelError for a number of levels outside 1 to 65536, RuntimeUnavailableError without ckwrap.
        """

        def quantize(node: Node, problem: LayerProblem) -> tuple[ScalarLayer, Array | None]:
            layer = quantize_shared(problem, levels)
            bias = problem.bias_for(layer.maps())
            return layer, None if bias is None else np.unique(bias.astype(np.float32))

        return self._compress(quantize, 0.0)

    def _compress(
        self, quantize: Callable[[Node, LayerProblem], tuple[ScalarLayer, Array | None]], price: float
    ) -> CompressedWeights:
        """quantize gives a layer's weights and its bias's codebook."""
        graph, tensors, reports = self._graph.copy(), dict[str, CodedTensor](), list[LayerReport]()

        def visit(node: Node, state: State) -> None:
            values, reference = state[node.inputs[0]], self._reference.outputs[node.name]
            problem = layer_problem(graph, node, values, reference, self._positions)
            layer, bias_codebook = quantize(node, problem)
            coded = _coded(graph, node, problem, layer, bias_codebook)
            for name, tensor in coded.items():
                graph.set_tensor(graph.tensor(name).with_data(tensor.values()))
            tensors.update(coded)
            reports.append(_report(node, layer, float(reference.var(axis=(0, 2), dtype=np.float64).sum())))

        heads = walk(graph, self._images, self._engine, self._layers, visit, self._heads)
        before = self._reference.heads
        return CompressedWeights(
            graph, tensors, tuple(reports), price, heads, drift(before, heads), expected_drop(before, heads)
        )


def _coded(
    graph: Graph, node: Node, problem: LayerProblem, layer: ScalarLayer, bias_codebook: Array | None
) -> dict[str, CodedTensor]:
    """Kernel and bias as indices into their codebooks."""
    kernel = graph.tensor(node.inputs[1])
    coded = {kernel.name: _narrow(from_maps(layer.indices, kernel.shape), layer.codebook)}
    bias = problem.bias_for(layer.maps())
    if bias is not None and bias_codebook is not None:
        coded[node.inputs[2]] = _narrow(nearest(bias, bias_codebook.astype(np.float64)), bias_codebook)
    return coded


def _bias_step(bias: Array, price: float) -> float:
    """An error of 1 in a bias costs 1; no more steps than 16 bits can count, and none wider than what leaves zeros."""
    reach = float(np.abs(bias).max())
    return max(min(balanced_step(1.0, price), 4 * reach), 2 * reach / 60_000, float(np.finfo(np.float32).tiny))


def _narrow(indices: Array, codebook: Array) -> CodedTensor:
    return CodedTensor(indices.astype(np.uint8 if len(codebook) <= 256 else np.uint16), codebook)


def _report(node: Node, layer: ScalarLayer, power: float) -> LayerReport:
    share = float((layer.codebook == 0)[layer.indices].mean())
    return LayerReport(node.name, layer.bits, layer.error / max(power, 1e-30), len(np.unique(layer.indices)), share)


def mirrored(images: Sequence[Array]) -> list[Array]:
    """The images (1, H, W, C) and their mirror images: twice as many to calibrate on, where left and right are alike.

    Measured on ImageNet SqueezeNet, it is worth about as much as 2 % of the bytes.
    """
    return [*images, *(np.ascontiguousarray(image[:, :, ::-1]) for image in images)]


def estimated_bytes(tensors: Mapping[str, CodedTensor]) -> float:
    """What an adaptive coder without contexts would take, about."""
    return sum(entropy_bits(t.indices.astype(np.int64), len(t.codebook)) + 64 for t in tensors.values()) / 8


def _require_finite(reference: Reference) -> None:
    for name, values in reference.outputs.items():
        if not np.isfinite(values).all():
            raise QuantizationError(
                f"calibration: layer {name!r} gives NaN or infinite values; check the weights and the images"
            )
